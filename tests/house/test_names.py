"""One name for one idea in every public signature: seed, batch size, device, untrained."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("core", "neuro_data_analysis", "figure_reproduction", "source_data_export", "examples")

#: Of the published code: the optimisers, batches of the scorer, of generators and of receptive
#: fields, and where fetched features are kept.
PUBLISHED = {
    "random_seed": "core/utils/",
    "B": "core/utils/",
    "batch": "core/utils/grad_RF_estim.py",
    "store_device": "core/utils/layers/fetchers.py",
}
#: Part of a name → the names it may have.
OURS = {
    "seed": {"seed", "seeds"},
    "rng": {"rng"},
    "random_state": set(),
    "batch": {"batch_size"},
    "device": {"device", "devices"},
    "cuda": set(),
    # Asked for in a call; what a network is; in settings of commands, which are their flags.
    "trained": {"pretrained", "trained", "untrained"},
}
#: What is counted or told, not chosen.
OTHER_IDEAS = {"n_seeds"}


def public_arguments() -> Iterator[tuple[str, str, str]]:
    """Yield file, name and annotation of every public parameter and field."""
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            place = path.relative_to(ROOT).as_posix()
            for name, annotation in _arguments(ast.parse(path.read_text(encoding="utf-8")).body):
                yield place, name, annotation


def _arguments(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    for node in body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef):
            continue
        if node.name.startswith("_") and node.name != "__init__":
            continue
        if isinstance(node, ast.ClassDef):
            yield from _arguments(node.body)
            given = [part for part in node.body if isinstance(part, ast.AnnAssign)]
            yield from ((ast.unparse(part.target), ast.unparse(part.annotation)) for part in given)
            continue
        for part in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
            yield part.arg, ast.unparse(part.annotation) if part.annotation else ""


def has_one_name(place: str, name: str, annotation: str) -> bool:
    """Tell whether a parameter is called as everywhere, or as published."""
    if place.startswith(PUBLISHED.get(name, "nowhere")) or name in OTHER_IDEAS:
        return True
    if name == "rng":  # something that is drawn from; a seed may also be a number
        return annotation == "np.random.Generator"
    return all(name in allowed for part, allowed in OURS.items() if part in name.lower())


def test_an_idea_has_one_name_in_every_public_signature():
    found = list(public_arguments())
    assert [one for one in found if not has_one_name(*one)] == []
    names = [name for _, name, _ in found]
    assert min(names.count(name) for name in ("seed", "batch_size", "device", "pretrained")) > 5


@pytest.mark.parametrize(
    ("name", "annotation"),
    [
        ("untrained_seed", "int"), ("random_seed", "int"), ("rng", "Seed"), ("batch", "int"),
("n_batch", "int"), ("cuda_device", "str"), ("is_trained", "bool"),
    ],
)  # fmt: skip
def test_another_name_is_found(name, annotation):
    assert not has_one_name("neuro_data_analysis/x.py", name, annotation)

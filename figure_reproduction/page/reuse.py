"""Figures that need not be made again: of the same tables, by the same code, files untouched."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

from core.errors import MalformedDataError
from core.files import read_json, sha256_of, write_json
from core.versions import software_versions
from figure_reproduction.page.page import Printed, PrintJob

#: Beside the figures: what each was made of, and the digests of its files.
MADE_FILE = ".made.json"

_ROOT = Path(__file__).resolve().parents[2]

#: What pictures and numbers depend on, beside the tables.
_CODE = ("core", "neuro_data_analysis", "figure_reproduction")
_CODE_SUFFIXES = frozenset({".py", ".mplstyle", ".csv", ".json", ".ttf"})


def ingredients(folder: str, job: PrintJob) -> str:
    """Return one digest of all that a figure is made of.

    Parameters
    ----------
    folder : str
        Folder of its tables, ``"Fig4"``.
    job : PrintJob
        With the source data that were chosen.

    Returns
    -------
    str
        Another one whenever a file of the tables or of the code, a version of a package, or what
        is asked for differs.
    """
    asked_for = [
        f"{field.name} {getattr(job, field.name)}"
        for field in fields(job)
        if field.name not in ("source_data", "output")
    ]
    asked_for += [f"{package} {version}" for package, version in software_versions().items()]
    tables = _digests(sorted((job.source_data / folder).rglob("*")), job.source_data)
    return hashlib.sha256("\n".join((*asked_for, _code(), *tables)).encode()).hexdigest()


def remember(output: Path, figure: str, made_of: str, printed: Printed) -> None:
    """Note what a figure was made of; one with a problem is forgotten.

    Parameters
    ----------
    output : pathlib.Path
        Folder of the figures.
    figure : str
        ``"Figure4"``.
    made_of : str
        From `ingredients`.
    printed : Printed
        What came of it.
    """
    made = _made(output)
    made.pop(figure, None)
    if not printed.problems:
        files = [*printed.pictures, output / f"{figure}.json"]
        made[figure] = {
            "made_of": made_of, "files": {path.name: sha256_of(path) for path in files}
        }
    write_json(output / MADE_FILE, made)


def made_before(output: Path, figure: str, made_of: str) -> Printed | None:
    """Return what came of a figure if the same was made before and no file of it has changed."""
    made = _made(output).get(figure)
    try:
        if made is None or made["made_of"] != made_of:
            return None
        if any(sha256_of(output / name) != digest for name, digest in made["files"].items()):
            return None
        panels = read_json(output / f"{figure}.json")["panels"]
        pictures = [output / name for name in made["files"] if not name.endswith(".json")]
        return Printed(pictures, panels)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, MalformedDataError):
        return None


def _made(output: Path) -> dict[str, Any]:
    try:
        found = read_json(output / MADE_FILE)
        return dict(found) if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}


@cache
def _code() -> str:
    paths = sorted(path for room in _CODE for path in (_ROOT / room).rglob("*"))
    chosen = [path for path in paths if path.suffix in _CODE_SUFFIXES]
    return hashlib.sha256("\n".join(_digests(chosen, _ROOT)).encode()).hexdigest()


def _digests(paths: Iterable[Path], below: Path) -> Iterator[str]:
    for path in paths:
        if path.is_file():
            yield f"{path.relative_to(below).as_posix()} {sha256_of(path)}"

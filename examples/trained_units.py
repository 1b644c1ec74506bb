"""Evolve images for units of a trained network in two spaces, with controls.

``python -m examples.trained_units --output DIR`` evolves images for seven class units of
EfficientNet-Lite0 (ImageNet): three in a Fourier space, four in the space of a face GAN (`UNITS`;
add your own). Beside each evolution stand random images of the same space, photographs, and images
that were evolved in the same way for the same unit of an untrained twin of the network. Success is
tested as in the paper: the last two generations against the first two.

It writes ``table.csv``, ``table.md``, and pictures of what was evolved.
"""

from __future__ import annotations

import sys

from core import start

if __name__ == "__main__":
    sys.exit(start.run("examples.trained_units"))

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from scipy import stats

from core.command_line import a_path, command_parser, require_writable
from core.errors import MissingDataError, UsageError, exit_code_of
from core.files import atomic_write
from core.utils import FaceGAN, FourierSpace, TorchScorer, evolve, objectives
from core.utils.evolution.result import EvolutionResult, first_and_last
from core.utils.generators.protocol import ImageGenerator

#: Network, and the layer of its class units (logits).
NETWORK, LAYER = "efficientnet_lite0", "classifier"

#: Class units by space: name → number among ImageNet's 1,000 classes.
UNITS = {
    "Fourier": {"Egyptian cat": 285, "espresso": 967, "daisy": 985},
    "faces": {"sunglass": 836, "wig": 903, "bow tie": 457, "sweatshirt": 841},
}

#: The optimiser: CMA-ES that updates its covariance in every generation.
OPTIMIZER = "CholCMA_standard"

#: Photographs by package and file, each the picture's own licence (both packages are BSD).
PHOTOGRAPHS = {
    "sklearn": ("datasets/images/china.jpg", "datasets/images/flower.jpg"),
    "skimage": (
        "data/astronaut.png", "data/chelsea.png", "data/coffee.png", "data/rocket.jpg",
    ),
}  # fmt: skip

#: Evolutions whose end beats their start at this level have succeeded (the paper's 4A).
P_SUCCESS = 0.01


@dataclass(frozen=True)
class Size:
    """How much is run.

    Attributes
    ----------
    generations, population : int
    seeds : int
        Evolutions of each trained unit; the twin's units have one each.
    side : int
        Of Fourier images, pixels.
    cycles : int
        Highest frequency of the Fourier space.
    """

    generations: int = 25
    population: int = 12
    seeds: int = 3
    side: int = 96
    cycles: int = 7


def spaces(size: Size, device: str = "cpu") -> dict[str, ImageGenerator]:
    """Return the two spaces."""
    return {
        "Fourier": FourierSpace(size.side, size.cycles, device=device),
        "faces": FaceGAN(device=device),
    }


def photographs() -> list[torch.Tensor]:
    """Return the photographs that installed packages bring, squares (1, 3, side, side) in 0 to 1.

    Raises
    ------
    MissingDataError
        If there is none.
    """
    found = []
    for package, files in PHOTOGRAPHS.items():
        spec = find_spec(package)
        folder = None if spec is None or spec.origin is None else Path(spec.origin).parent
        for path in (folder / file for file in files if folder is not None):
            if path.is_file():
                with Image.open(path) as image:
                    found.append(_square(image.convert("RGB")))
    if not found:
        raise MissingDataError("no photograph was found; install scikit-learn or scikit-image.")
    return found


def run(
    output: str | Path,
    size: Size | None = None,
    device: str = "cpu",
    only: Sequence[str] = (),
) -> pd.DataFrame:
    """Run all evolutions and their controls.

    Parameters
    ----------
    output : path-like
        Folder of what is written; finished blocks in it are gone on with.
    size : Size, optional
    device : str, default "cpu"
    only : sequence of str
        Names of units; by default all of `UNITS`.

    Returns
    -------
    pandas.DataFrame
        One row per unit and space: ``first`` and ``last`` (means of the first and last two
        generations over seeds), ``best``, ``random best`` (of as many random images as one
        evolution shows), ``photograph best``, ``twin best`` (the trained unit's answer to images
        evolved for the untrained twin's), ``successes`` (of the seeds).
    """
    size, output = size or Size(), Path(output)
    trained = TorchScorer(NETWORK, device=device)
    twin = TorchScorer(NETWORK, device=device, pretrained=False)
    generators, shown = spaces(size, device), photographs()
    rows = []
    for space, units in UNITS.items():
        for name, number in units.items():
            if only and name not in only:
                continue
            unit = objectives.unit(trained, LAYER, number)
            folder = output / space / name.replace(" ", "_")
            evolved = _evolved(unit, generators[space], size, folder / "trained")
            of_twin = _evolved(
                objectives.unit(twin, LAYER, number),
                generators[space],
                replace(size, seeds=1),
                folder / "twin",
            )
            rows.append(_row(name, space, unit, generators[space], evolved, of_twin, shown))
            _draw(folder, f"{name} ({space})", evolved)
            _write(output, pd.DataFrame(rows))
    return pd.DataFrame(rows)


def _evolved(
    unit: Any, generator: ImageGenerator, size: Size, folder: Path
) -> list[EvolutionResult]:
    return [
        evolve(
            unit,
            generator,
            OPTIMIZER,
            size.generations,
            seed=seed,
            population=size.population,
            save=folder / f"seed{seed}",
            resume=True,
            progress=False,
        )
        for seed in range(size.seeds)
    ]


def _row(
    name: str,
    space: str,
    unit: Any,
    generator: ImageGenerator,
    evolved: Sequence[EvolutionResult],
    of_twin: Sequence[EvolutionResult],
    shown: Sequence[torch.Tensor],
) -> dict[str, Any]:
    ends = [first_and_last(result) for result in evolved]
    n_images = evolved[0].n_images
    with torch.no_grad():
        random = unit(generator.visualize(generator.sample_vector(n_images, seed=99)))
        best_of_twin = np.stack([result.best_code for result in of_twin])
        transferred = unit(generator.visualize(torch.from_numpy(best_of_twin)))
    return {
        "unit": name,
        "space": space,
        "images": n_images,
        "first": np.mean([first.mean() for first, _ in ends]),
        "last": np.mean([last.mean() for _, last in ends]),
        "best": max(result.best_score for result in evolved),
        "random best": float(random.max()),
        "photograph best": max(float(unit(image)[0]) for image in shown),
        "twin best": float(transferred.max()),
        "successes": sum(succeeded(first, last) for first, last in ends),
        "seeds": len(evolved),
    }


def succeeded(first: np.ndarray, last: np.ndarray) -> bool:
    """Tell whether the last blocks exceed the first (two-sided pooled t test, p < 0.01, t > 0)."""
    t, p = stats.ttest_ind(last, first)
    return bool(p < P_SUCCESS and t > 0)


def _draw(folder: Path, title: str, evolved: Sequence[EvolutionResult]) -> None:
    """Draw curves of all seeds, and write the best image and the montage of the first seed."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(4, 3), layout="constrained")
    for seed, result in enumerate(evolved):
        result.plot(axes, label=f"seed {seed}")
    axes.set_title(title)
    axes.set_ylabel("response of the unit (logit)")
    axes.legend(frameon=False)
    with atomic_write(folder / "curves.png") as unfinished:
        figure.savefig(unfinished, format="png", dpi=150)
    plt.close(figure)
    with atomic_write(folder / "montage.png") as unfinished:
        evolved[0].montage().save(unfinished, "PNG")
    best = max(evolved, key=lambda result: result.best_score)
    with atomic_write(folder / "best.png") as unfinished:
        Image.fromarray(np.rint(best.best_image * 255).astype(np.uint8)).save(unfinished, "PNG")


def _write(output: Path, table: pd.DataFrame) -> None:
    write_text(output / "table.csv", table.to_csv(index=False))
    write_text(output / "table.md", as_markdown(table) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a small file whole."""
    with atomic_write(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def as_markdown(table: pd.DataFrame) -> str:
    """Return the table as README prints it."""
    lines = [
        "| unit | space | first | last | best | random | photograph | twin's | success |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in table.to_dict("records"):
        numbers = (
            row[key]
            for key in ("first", "last", "best", "random best", "photograph best", "twin best")
        )
        shown = " | ".join(f"{number:.1f}" for number in numbers)
        lines.append(
            f"| {row['unit']} | {row['space']} | {shown} | {row['successes']} of {row['seeds']} |"
        )
    return "\n".join(lines)


def _square(image: Image.Image) -> torch.Tensor:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    pixels = np.asarray(image.crop((left, top, left + side, top + side)), dtype=np.float32) / 255
    return torch.from_numpy(pixels.transpose(2, 0, 1)[np.newaxis])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 done, 3 a package is missing."""
    parser = command_parser(
        "python -m examples.trained_units",
        "Evolve images for trained units.",
        "python -m examples.trained_units --output trained_units",
    )
    parser.add_argument("--output", required=True, type=a_path, metavar="DIR")
    parser.add_argument("--generations", type=int, default=Size.generations, metavar="N")
    parser.add_argument("--seeds", type=int, default=Size.seeds, metavar="N")
    known = [name for units in UNITS.values() for name in units]
    parser.add_argument(
        "--unit", action="append", default=[], choices=known, help="may be given for several; "
        "default: all",
    )  # fmt: skip
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args(arguments)

    def work() -> None:
        if given.generations < 4:
            raise UsageError("a test of the first against the last blocks needs 4 generations.")
        require_writable(given.output)
        size = Size(generations=given.generations, seeds=given.seeds)
        sys.stdout.write(as_markdown(run(given.output, size, given.device, given.unit)) + "\n")

    return exit_code_of(work)

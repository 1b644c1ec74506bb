"""The whole paper in silico: paired evolutions of trained units, through the paper's own figures.

``python -m examples.paper_in_silico --output DIR`` takes units of three layers of a trained network
(EfficientNet-Lite0, ImageNet) for neurons of V1, V4 and IT. Each unit spikes as a fake neuron at a
rig, and images are evolved for it in two spaces at once: Fourier amplitudes in the place of
DeePSim's textures, a GAN of faces in the place of BigGAN's objects. The sessions become recordings
in the layout of the paper, the recordings become tables, and the tables Figures 2, 4 and 5, marked
IN SILICO, with the names of these spaces.

Beside them stand controls, in ``controls.csv`` and, as means over sessions, ``controls.md``: what
the unit answers, without the neuron's noise, to as many random images, to photographs, and to
images evolved in the same way for the same unit of an untrained twin of the network. The first unit
of each layer has the twin, and is run with several seeds. Whether an evolution succeeded is tested
as in the paper.
"""

from __future__ import annotations

import sys

from core import start

if __name__ == "__main__":
    sys.exit(start.run("examples.paper_in_silico"))

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image

from core.command_line import a_path, command_parser, require_writable
from core.errors import exit_code_of
from core.files import atomic_write
from core.rig import FakeNeurons, FakeRig, SessionInfo
from core.utils import TorchScorer, evolve, objectives
from core.utils.evolution.objectives import JointObjectives, Objective
from core.utils.evolution.result import EvolutionResult, first_and_last
from core.utils.generators.protocol import ImageGenerator
from examples.trained_units import (
    NETWORK,
    OPTIMIZER,
    Size,
    photographs,
    spaces,
    succeeded,
    write_text,
)
from neuro_data_analysis.rig_recordings import write_recordings
from source_data_export.exports import run as export_tables

#: Layer of the network → visual area whose place it takes, from early to late.
LAYERS = {"blocks.1": "V1", "blocks.3": "V4", "blocks.6": "IT"}

#: Names in the recordings → spaces of `examples.trained_units.spaces`, as figures name them.
THREADS = {"fc6": "Fourier", "BigGAN": "faces"}

NOTE = (
    "IN SILICO: units of EfficientNet-Lite0; 'fc6' is a Fourier space, 'BigGAN' a face GAN; areas "
    "stand for layers"
)

#: Folders in the output.
SESSIONS, MATROOT, TABLES, REFERENCES = "sessions", "matroot", "source_data", "references"


@dataclass(frozen=True)
class Course:
    """How much is run.

    Attributes
    ----------
    units : int
        Of each layer.
    seeds : int
        Sessions of the first unit of each layer; the others have one.
    blocks : int
        More than 14, the paper's rule for a session that counts.
    population : int
        Images of each thread in a block.
    references : int
        Photographs in every block.
    pixels : int
        Side of the network's input. It was trained on 224; 112 is four times as fast.
    """

    units: int = 3
    seeds: int = 2
    blocks: int = 20
    population: int = 16
    references: int = 2
    pixels: int = 112

    @property
    def images(self) -> int:
        """Images that one thread shows."""
        return self.blocks * self.population


def run(output: str | Path, course: Course | None = None, device: str = "cpu") -> Path:
    """Run all sessions and their controls, and export the tables.

    Parameters
    ----------
    output : path-like
        Folder; sessions that are in it are gone on with.
    course : Course, optional
    device : str, default "cpu"

    Returns
    -------
    pathlib.Path
        The folder of tables, for the figure scripts.
    """
    course, output = course or Course(), Path(output)
    trained = TorchScorer(NETWORK, device=device, imgpix=course.pixels)
    twin = TorchScorer(NETWORK, device=device, imgpix=course.pixels, pretrained=False)
    generators = {name: spaces(Size(), device)[space] for name, space in THREADS.items()}
    references = _references(output / REFERENCES, course.references)
    sessions: list[Path] = []
    rows: list[dict[str, Any]] = []
    for layer, area in LAYERS.items():
        units = _units(trained, layer, course.units)
        drives = [objectives.unit(trained, layer, unit) for unit in units]
        answers = _random(drives, generators, course.images)
        for place, (unit, drive, random) in enumerate(zip(units, drives, answers, strict=True)):
            of_twin = None
            if not place:
                same = objectives.unit(twin, layer, unit)
                of_twin = _evolve(same, generators, course, 0, output / "twin" / area)
            controls = _controls(drive, random, of_twin)
            for seed in range(1 if place else course.seeds):
                folder = output / SESSIONS / f"{area}_{unit}_seed{seed}"
                info = _info(len(sessions), unit, area)
                neuron = _neuron(drive, random, info.number)
                rig = FakeRig(neuron, folder / "session", info, references=references, seed=seed)
                found = _evolve(rig.channel(0), generators, course, seed, folder)
                sessions.append(folder / "session")
                rows += _rows(found, drive, controls, f"{layer} ({area})", unit, seed)
                _write(output, pd.DataFrame(rows))
    write_recordings(sessions[::-1], output / MATROOT)  # the first, IT, is drawn in Figure 2
    tables = output / TABLES
    export_tables(output / MATROOT, tables, ["Fig2", "Fig4", "Fig5"])
    return tables


def _evolve(
    objective: Any,
    generators: dict[str, ImageGenerator],
    course: Course,
    seed: int,
    folder: Path,
) -> dict[str, EvolutionResult]:
    """Evolve in both spaces at once, from random images."""
    return evolve(
        dict.fromkeys(generators, objective),
        generators,
        OPTIMIZER,
        course.blocks,
        seed=seed,
        population=course.population,
        founders=course.population,
        save=folder / f"evolution_{seed}",
        resume=True,
        progress=False,
    )


def _random(
    drives: Sequence[Objective], generators: dict[str, ImageGenerator], n: int
) -> list[dict[str, NDArray[np.float64]]]:
    """Return what units answer to random images of each space, in passes that they share."""
    panel = JointObjectives(drives)
    found: list[dict[str, NDArray[np.float64]]] = [{} for _ in drives]
    with torch.no_grad():
        for name, generator in generators.items():
            codes = generator.sample_vector(n, seed=99)
            parts = [torch.stack(panel(generator.visualize(part))) for part in codes.split(40)]
            for of_unit, answers in zip(found, torch.cat(parts, dim=1), strict=True):
                of_unit[name] = answers.double().cpu().numpy()
    return found


def _neuron(
    drive: Objective, random: dict[str, NDArray[np.float64]], seed: int
) -> FakeNeurons:
    """Let a unit spike: 25 events/s for a random image of the space that it answers less."""
    means = [answers.mean() for answers in random.values()]
    eight_sd = 8 * np.sqrt(np.mean([answers.var() for answers in random.values()]))
    # 95 events/s more for an image eight standard deviations better; below 250 in either space
    gain = min(95 / eight_sd, 225 / (max(means) - min(means) + eight_sd))
    return FakeNeurons([drive], [min(means) - 25 / gain], [gain], lost=0.05, seed=seed)


def _controls(
    drive: Objective,
    random: dict[str, NDArray[np.float64]],
    of_twin: dict[str, EvolutionResult] | None,
) -> dict[str, dict[str, float]]:
    """Return, by thread, what the unit answers to images that were not evolved for it."""
    with torch.no_grad():
        photograph = max(float(drive(image)[0]) for image in photographs())
    return {
        name: {
            "random": float(answers.mean()),
            "random best": float(answers.max()),
            "photograph best": photograph,
            "twin's": float(_answers(drive, of_twin[name]).mean()) if of_twin else np.nan,
        }
        for name, answers in random.items()
    }


def _answers(drive: Objective, found: EvolutionResult) -> torch.Tensor:
    """Return what a unit answers to the last generation of an evolution."""
    with torch.no_grad():
        return drive(found.generator.visualize(torch.from_numpy(found.codes[-1])))


def _rows(
    found: dict[str, EvolutionResult],
    drive: Objective,
    controls: dict[str, dict[str, float]],
    layer: str,
    unit: int,
    seed: int,
) -> list[dict[str, Any]]:
    rows = []
    for name, result in found.items():
        first, last = first_and_last(result)
        answers = _answers(drive, result)
        rows.append(
            {
                "layer": layer,
                "unit": unit,
                "seed": seed,
                "space": THREADS[name],
                "first events/s": first.mean(),
                "last events/s": last.mean(),
                "success": succeeded(first, last),
                "evolved": float(answers.mean()),
                "evolved best": float(answers.max()),
                **controls[name],
            }
        )
    return rows


def _write(output: Path, table: pd.DataFrame) -> None:
    write_text(output / "controls.csv", table.to_csv(index=False))
    write_text(output / "controls.md", as_markdown(table))


def as_markdown(table: pd.DataFrame) -> str:
    """Return means over the sessions of each layer and space, and how many succeeded."""
    names = [name for name in table if table[name].dtype == float]
    lines = [
        f"| layer | space | success | {' | '.join(map(str, names))} |",
        "|---" * (len(names) + 3) + "|",
    ]
    for (layer, space), group in table.groupby(["layer", "space"], sort=False):
        shown = " | ".join(f"{mean:.1f}" for mean in group[names].mean())
        success = f"{int(group['success'].sum())} of {len(group)}"
        lines.append(f"| {layer} | {space} | {success} | {shown} |")
    return "\n".join(lines) + "\n"


def _units(scorer: TorchScorer, layer: str, n: int) -> list[int]:
    """Return channels of a layer, evenly spread."""
    n_channels = scorer.layer_shape(layer)[0]
    return np.linspace(0, n_channels, n, endpoint=False).astype(int).tolist()


def _info(number: int, unit: int, area: str) -> SessionInfo:
    return SessionInfo(
        animal="Network",
        date="2024-01-01",
        number=number + 1,
        channel=unit + 1,
        area=area,
        spaces=tuple(THREADS),
        shown_as=tuple(THREADS.values()),
        note=NOTE,
    )


def _references(folder: Path, n: int) -> list[Path]:
    paths = []
    for number, image in enumerate(photographs()[:n]):
        path = folder / f"photograph_{number}.png"
        if not path.is_file():
            pixels = np.rint(image[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
            with atomic_write(path) as unfinished:
                Image.fromarray(pixels).resize((128, 128)).save(unfinished, "PNG")
        paths.append(path)
    return paths


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 done, 3 a package is missing."""
    parser = command_parser(
        "python -m examples.paper_in_silico",
        "Paired evolutions of trained units, from spikes to Figures 2, 4 and 5.",
        "python -m examples.paper_in_silico --output paper_in_silico",
    )
    parser.add_argument("--output", required=True, type=a_path, metavar="DIR")
    parser.add_argument("--units", type=int, default=Course.units, metavar="N", help="a layer")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args(arguments)

    def work() -> None:
        require_writable(given.output)
        tables = run(given.output, Course(units=given.units), given.device)
        sys.stdout.write(
            f"tables are in {tables}; draw them with\n"
            f"python -m figure_reproduction --source-data {tables} --output {given.output}/figures "
            "--figure Figure2 --figure Figure4 --figure Figure5\n"
        )

    return exit_code_of(work)

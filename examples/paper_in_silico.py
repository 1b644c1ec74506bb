"""The whole paper in silico: paired evolutions of trained units, through the paper's own figures.

``python -m examples.paper_in_silico --output DIR`` takes units of three layers of a trained network
(EfficientNet-Lite0, ImageNet) for neurons of V1, V4 and IT. Each unit spikes as a fake neuron at a
rig, and images are evolved for it in two spaces at once: Fourier amplitudes in the place of
DeePSim's textures, a GAN of faces in the place of BigGAN's objects. The sessions become recordings
in the layout of the paper, the recordings become tables, and the tables Figures 2, 4 and 5, marked
IN SILICO.
"""

from __future__ import annotations

import sys

from core import start

if __name__ == "__main__":
    sys.exit(start.run("examples.paper_in_silico"))

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from core.command_line import a_path, command_parser, require_writable
from core.errors import exit_code_of
from core.files import atomic_write
from core.rig import FakeNeurons, FakeRig, SessionInfo
from core.utils import TorchScorer, evolve, objectives
from core.utils.generators.protocol import ImageGenerator
from examples.trained_units import NETWORK, Size, photographs, spaces
from neuro_data_analysis.rig_recordings import write_recordings
from source_data_export.exports import run as export_tables

#: Layer of the network → visual area whose place it takes, from early to late.
LAYERS = {"blocks.1": "V1", "blocks.3": "V4", "blocks.6": "IT"}

#: Names in the recordings → spaces of `examples.trained_units.spaces`.
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
    blocks : int
        More than 14, the paper's rule for a session that counts.
    population : int
        Images of each thread in a block.
    references : int
        Photographs in every block.
    """

    units: int = 3
    blocks: int = 18
    population: int = 10
    references: int = 2


def run(output: str | Path, course: Course | None = None, device: str = "cpu") -> Path:
    """Run all sessions and export their tables.

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
    scorer = TorchScorer(NETWORK, device=device)
    generators = spaces(Size(), device)
    references = _references(output / REFERENCES, course.references)
    sessions = []
    for layer, area in LAYERS.items():
        for unit in _units(scorer, layer, course.units):
            folder = output / SESSIONS / f"{area}_{unit}"
            info = _info(len(sessions), unit, area)
            _session(folder, info, scorer, layer, unit, generators, references, course)
            sessions.append(folder / "session")
    write_recordings(sessions[::-1], output / MATROOT)  # the first, IT, is drawn in Figure 2
    tables = output / TABLES
    export_tables(output / MATROOT, tables, ["Fig2", "Fig4", "Fig5"])
    return tables


def _session(
    folder: Path,
    info: SessionInfo,
    scorer: TorchScorer,
    layer: str,
    unit: int,
    generators: dict[str, ImageGenerator],
    references: Sequence[Path],
    course: Course,
) -> None:
    """Evolve in both spaces for one unit, and record every spike."""
    drive = objectives.unit(scorer, layer, unit)
    with torch.no_grad():
        random = [drive(g.visualize(g.sample_vector(12, seed=unit))) for g in generators.values()]
    responses = torch.cat(random).double().cpu().numpy()
    # 25 events/s for a random image, 95 more for one that is eight standard deviations better
    gain = 95 / (8 * responses.std())
    neurons = FakeNeurons(
        [drive], [responses.mean() - 25 / gain], [gain], lost=0.05, seed=info.number
    )
    rig = FakeRig(neurons, folder / "session", info, references=references, seed=info.number)
    evolve(
        rig.channel(0),
        {name: generators[space] for name, space in THREADS.items()},
        "CholCMA_standard",
        course.blocks,
        seed=info.number,
        population=course.population,
        founders=course.population,
        save=folder / "evolution",
        resume=True,
        progress=False,
    )


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

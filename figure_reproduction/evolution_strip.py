"""``python -m figure_reproduction.evolution_strip``: one evolution in pictures and rates (2C).

Not a panel of the paper's released scripts. It needs the pictures that the authors publish beside
their block means.
"""

from __future__ import annotations

import sys

from core import start

if __name__ == "__main__":
    sys.exit(start.run("figure_reproduction.evolution_strip"))

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import FigureBase
from numpy.typing import NDArray

from core.command_line import a_path, command_parser, require_writable
from core.errors import MissingDataError, UsageError, choose_from, exit_code_of
from core.files import write_json
from core.source_tables.block_means import data_files, kept_archive
from core.source_tables.provenance import Provenance
from core.source_tables.reader import DEFAULT_FOLDER
from core.source_tables.registry import EXAMPLE_EXPI
from core.spaces import BySpace, Space
from figure_reproduction.page.drawing import draw_curve
from figure_reproduction.page.groups import Curve
from figure_reproduction.page.page import DEFAULT_OUTPUT, save_picture
from figure_reproduction.page.sheet import Drawing, Place, print_sheet, style
from neuro_data_analysis.block_means.evolutions import DecodedEvolution, decode_evolutions
from neuro_data_analysis.block_means.pictures import read_pictures
from neuro_data_analysis.block_means.published import read_evolution
from neuro_data_analysis.block_means.tables import block_means_origin
from neuro_data_analysis.experiment_list import listed_experiments

#: Columns of the strip.
MOST_PICTURES = 12

_PICTURE_MM = 13.5


@dataclass(frozen=True)
class Strip:
    """One evolution, block by block.

    Attributes
    ----------
    evolution : DecodedEvolution
        Its block means.
    blocks : tuple of int
        1-based blocks that are shown in pictures.
    pictures : mapping
        Space and block → (256, 256, 3) picture, where there is one.
    """

    evolution: DecodedEvolution
    blocks: tuple[int, ...]
    pictures: Mapping[tuple[Space, int], NDArray[np.uint8]]

    @property
    def rates(self) -> BySpace[NDArray[np.float64]]:
        """Mean response of each block, (n_blocks,) events/s."""
        return {space: self.evolution.thread(space).response for space in Space}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 done, 2 usage, 3 no block means or no pictures."""
    parser = command_parser(
        "python -m figure_reproduction.evolution_strip",
        "Draw the best picture of each block of one evolution, with its rates.",
        "python -m figure_reproduction.evolution_strip --expi 155",
    )
    parser.add_argument("--expi", type=int, default=EXAMPLE_EXPI, help="default: %(default)s")
    parser.add_argument("--source-data", type=a_path, default=DEFAULT_FOLDER, metavar="DIR")
    parser.add_argument("--output", type=a_path, default=DEFAULT_OUTPUT, metavar="DIR")
    given = parser.parse_args(arguments)
    mpl.use("Agg")
    return exit_code_of(lambda: _run(given.expi, given.source_data, given.output))


def read_strip(source_data: Path, expi: int) -> Strip:
    """Read one evolution and its pictures from the kept block means.

    Raises
    ------
    UsageError
        If there is no such experiment.
    MissingDataError
        If no block means were fetched, or no picture of it came with them.
    """
    if expi not in listed_experiments().index:
        raise UsageError(choose_from(expi, listed_experiments().index, "experiment"))
    archive = kept_archive(source_data)
    if not archive.is_file():
        raise MissingDataError(
            f"{archive} does not exist; `python -m core.source_data fetch` brings it."
        )
    with data_files(archive) as files:
        published = read_evolution(files, expi)
        pictures = read_pictures(files, published.folder, published.n_blocks)
    if not pictures:
        raise MissingDataError(
            f"{archive} holds no picture of experiment {expi}; the whole archive of the authors "
            "has them (`python -m core.source_data fetch --source block-means`)."
        )
    [evolution] = decode_evolutions([published])
    there = sorted({block for _, block in pictures})
    chosen = np.unique(np.linspace(0, len(there) - 1, MOST_PICTURES).round().astype(int))
    return Strip(evolution, tuple(there[i] for i in chosen), pictures)


def _run(expi: int, source_data: Path, output: Path) -> int:
    require_writable(output)
    strip = read_strip(source_data, expi)
    width = _PICTURE_MM * len(strip.blocks) + 20
    drawing = Drawing(partial(draw_strip, strip), (width, 4.6 * _PICTURE_MM + 20))
    path = output / f"2C_Exp{expi:03d}.png"
    origin = Provenance("block means", block_means_origin())
    with style():
        figure = print_sheet([Place(drawing, origin=origin.line)])
        save_picture(figure, path)
        plt.close(figure)
    write_json(path.with_suffix(".json"), numbers_of(strip))
    sys.stdout.write(f"{path}\n{path.with_suffix('.json')}\n")
    return 0


def numbers_of(strip: Strip) -> dict[str, Any]:
    """Return every number of the strip, in plain JSON."""
    threads = {space: strip.evolution.thread(space) for space in Space}
    return {
        "experiment": strip.evolution.info.title,
        "panel": "2C, not a panel of the paper's released scripts",
        "provenance": {"kind": "block means", "details": dict(block_means_origin())},
        "blocks in pictures": list(strip.blocks),
        **{
            f"{space} {what}": np.round(values, 4).tolist()
            for space, thread in threads.items()
            for what, values in (
                ("mean response, events/s", thread.response),
                ("SEM, events/s", thread.response_sem()),
                ("images", thread.n_images),
            )
        },
    }


def draw_strip(strip: Strip, canvas: FigureBase) -> None:
    """Draw the rates above, and a row of pictures for each space."""
    grid = canvas.subplots(
        3, len(strip.blocks), squeeze=False, gridspec_kw={"height_ratios": [1.6, 1, 1]}
    )
    spec = grid[0, 0].get_gridspec()
    for axes in grid[0]:
        axes.remove()
    _draw_rates(strip, canvas.add_subplot(spec[0, :]))
    for row, space in zip(grid[1:], Space, strict=True):
        for axes, block in zip(row, strip.blocks, strict=True):
            axes.set(xticks=[], yticks=[])
            for spine in axes.spines.values():
                spine.set(visible=True, color=space.colour)
            if (space, block) in strip.pictures:
                axes.imshow(strip.pictures[space, block])
            else:
                axes.text(0.5, 0.5, "–", ha="center", va="center", transform=axes.transAxes)
            axes.set_xlabel(f"{strip.rates[space][block - 1]:.0f}", color=space.colour)
            axes.set_box_aspect(1)
        row[0].set_ylabel(space, color=space.colour)
    for axes, block in zip(grid[1], strip.blocks, strict=True):
        axes.set_title(f"block {block}", fontsize="small")
    canvas.suptitle(strip.evolution.info.title, fontsize="medium", parse_math=False)


def _draw_rates(strip: Strip, axes: Any) -> None:
    for space in Space:
        thread = strip.evolution.thread(space)
        blocks = np.arange(1, strip.evolution.n_blocks + 1)
        curve = Curve(thread.response, thread.response_sem(), len(blocks))
        draw_curve(axes, blocks, curve, space, label=space)
    axes.set(ylabel="Response\n(events/s)", xlabel="Block", ylim=(0, None))
    axes.legend(loc="lower right")

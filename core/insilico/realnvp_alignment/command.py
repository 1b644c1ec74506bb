"""Alignment as inversion: a hill is climbed through random networks (Extended Figure 5C).

A random invertible network hides a quadratic hill; Adam, which sees the gradient, and CMA-ES, which
sees scores alone as an evolution does, climb it from a random start. The more layers and
dimensions, the less of the hill is reached.

``python -m core.insilico.realnvp_alignment --output DIR`` computes the grid of the paper.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from core.errors import UsageError
from core.files import writes_alone
from core.insilico.commands import ResumableExperiment, flag
from core.insilico.extended_figure5_tables import save_tables
from core.insilico.realnvp_alignment.climbs import OPTIMIZERS, Climbs, GridCell, cell_path, climb
from core.insilico.resumable import claim_folder, unfinished
from core.source_tables.provenance import Provenance
from core.source_tables.reader import Table
from core.versions import software_versions

logger = logging.getLogger(__name__)

#: The grid of the paper.
DIMENSIONS = (2, 4, 8, 16, 32, 64, 128, 256)
DEPTHS = (0, 2, 4, 8, 16, 32, 48, 64)
SEEDS = tuple(range(40, 50))

#: Folder of finished cells below an output folder.
CELLS = "cells"


def grid(
    dimensions: Iterable[int] = DIMENSIONS,
    depths: Iterable[int] = DEPTHS,
    seeds: Iterable[int] = SEEDS,
    optimizers: Iterable[str] = OPTIMIZERS,
) -> list[GridCell]:
    """Return the cells of a grid; those of the paper by default.

    Raises
    ------
    UsageError
        If there can be no such cell, or no cell at all.
    """
    seeds = tuple(seeds)
    cells = [GridCell(*axes, seeds) for axes in product(optimizers, dimensions, depths)]
    if not cells:
        raise UsageError("there is nothing to run; give optimisers, dimensions and depths.")
    return list(dict.fromkeys(cells))


@writes_alone("output")
def run(
    cells: Sequence[GridCell], output: str | Path, resume: bool = False, n_jobs: int = 1
) -> list[Path]:
    """Run the cells that are not finished yet, and write the tables of all that are.

    Every cell is a file of its own below ``output/cells``, written when it is finished.

    Parameters
    ----------
    cells : sequence of GridCell
        What to run, all with the same seeds.
    output : path-like
        Folder of the results; tables go to ``ExtendedFig5`` below it, as figures read them.
    resume : bool, default False
        Whether cells of an earlier run may be there, and are kept.
    n_jobs : int
        Processes. Results do not depend on their number.

    Returns
    -------
    list of pathlib.Path
        The tables.

    Raises
    ------
    UsageError
        If the folder holds cells and `resume` is not set, or they are of other seeds.
    CannotWriteError
        If the folder cannot be written.
    """
    folder = Path(output) / CELLS
    claim_folder(folder, {"seeds": cells[0].seeds}, resume)
    left = unfinished(cells, lambda cell: cell_path(folder, cell))
    for n_done, climbs in enumerate(_climb_all(left, n_jobs), start=1):
        climbs.save(folder)
        told = (n_done, len(left), climbs.cell.name, climbs.score.mean())
        logger.info("%d of %d: %s, mean score %.3f", *told)
    return save_tables(output, alignment_tables(folder), _origin(cells[0].seeds))


def alignment_tables(folder: Path) -> Iterator[Table]:
    """Yield the tables of all finished cells in a folder, and their pickled twins.

    Rows are in the published order: dimension, depth, seed.
    """
    climbs = [Climbs.load(path) for path in folder.glob("*.npz")]
    climbs.sort(key=lambda c: (c.cell.dimension, c.cell.depth))
    for optimizer in OPTIMIZERS:
        rows = [row for c in climbs if c.cell.optimizer == optimizer for row in _rows(c)]
        if rows:
            table = pd.DataFrame(rows)
            yield Table(f"ExtendedFig5/alignment_{optimizer}", table)
            yield Table(f"ExtendedFig5/alignment_{optimizer}_pickle", table)


@dataclass(frozen=True)
class GridSettings:
    """Axes of the grid, as `grid` takes them."""

    dimensions: tuple[int, ...] = flag(
        default=DIMENSIONS, type=int, nargs="+", metavar="N", help="even, up to 256"
    )
    depths: tuple[int, ...] = flag(
        default=DEPTHS, type=int, nargs="+", metavar="N", help="numbers of layers"
    )
    seeds: tuple[int, ...] = flag(
        default=SEEDS, type=int, nargs="+", metavar="N", help="one run each"
    )
    optimizers: tuple[str, ...] = flag(
        default=OPTIMIZERS, nargs="+", choices=OPTIMIZERS, help="default: both"
    )


def _run(settings: GridSettings, given: argparse.Namespace) -> list[Path]:
    if given.jobs < 1:
        raise UsageError(f"--jobs is {given.jobs}; it must be 1 or more.")
    cells = grid(settings.dimensions, settings.depths, settings.seeds, settings.optimizers)
    return run(cells, given.output, given.resume, given.jobs)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, metavar="N",
        help="processes (default: one per core, %(default)s)",
    )  # fmt: skip


def _climb_all(cells: Sequence[GridCell], n_jobs: int) -> Iterator[Climbs]:
    """Yield the climbs of cells as they finish; with several processes the largest come first."""
    if n_jobs == 1:
        yield from map(climb, cells)
        return
    largest_first = sorted(cells, key=lambda c: c.depth * c.dimension**2, reverse=True)
    pool = ProcessPoolExecutor(n_jobs, multiprocessing.get_context("spawn"))
    try:
        for future in as_completed([pool.submit(climb, cell) for cell in largest_first]):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _rows(climbs: Climbs) -> Iterator[dict[str, object]]:
    cell = climbs.cell
    for i, seed in enumerate(cell.seeds):
        yield {
            "dimension": cell.dimension,
            "stack_size": cell.depth,
            "seed": seed,
            "gaussian_value": climbs.score[i],
            "input_space_optimum": climbs.reached[i : i + 1],
            "transformed_space_optimum": climbs.reached_output[i : i + 1],
            "desired_x_optimum": climbs.top[i : i + 1],
            "desired_transformed_optimum": np.ones(cell.dimension),
        }


def _origin(seeds: Sequence[int]) -> Provenance:
    return Provenance(
        "computed",
        {
            "command": "python -m core.insilico.realnvp_alignment",
            "seeds": ", ".join(map(str, seeds)),
            **software_versions(("torch", "numpy")),
        },
    )


main = ResumableExperiment(
    module="core.insilico.realnvp_alignment",
    does="Climb a hill through random invertible networks, by Adam and by CMA-ES: the tables of "
    "Extended Figure 5C. The whole grid takes a few minutes.",
    example="--output my_alignment --dimensions 2 16 --depths 0 8 --optimizers Adam",
    settings=GridSettings,
    run=_run,
    arguments=_add_arguments,
    device=False,
).main

"""Extended Figure 5C: seeds in one batch against one run at a time, as ratios within one run.

``python -m benchmarks.realnvp``; all climb the same networks from the same points with the same
noise, in one thread. One run at a time is timed twice: with torch modules and a dense CMA-ES, as
one would write it down, and with our own code on batches of one. The last line is the command as
it is used, one process per core, by the clock.
"""

from __future__ import annotations

import sys

from core import start

if __name__ == "__main__":
    sys.exit(start.run("benchmarks.realnvp"))

import argparse
import os
import time
from collections.abc import Callable
from tempfile import TemporaryDirectory

import numpy as np
import torch

from core.insilico.realnvp_alignment.climbs import GridCell, climb
from core.insilico.realnvp_alignment.command import DEPTHS, DIMENSIONS, grid, run
from core.insilico.realnvp_alignment.philox import cuda_normal
from tests.textbook_realnvp import TextbookRealNVP, adam_run, cma_run

#: Every second dimension and depth of the grid; ``--all`` takes the whole grid.
SOME_DIMENSIONS, SOME_DEPTHS = DIMENSIONS[::2], DEPTHS[1::2]


def textbook(cell: GridCell) -> None:
    """Climb seed after seed with torch modules."""
    for seed in cell.seeds:
        network = TextbookRealNVP(cell.dimension, cell.depth, seed)
        start = cuda_normal(seed, cell.dimension)
        if cell.optimizer == "Adam":
            adam_run(network, start)
        else:
            cma_run(network, start, np.random.default_rng((seed, cell.dimension, cell.depth)))


def one_by_one(cell: GridCell) -> None:
    """Climb seed after seed with batches of one."""
    for seed in cell.seeds:
        climb(GridCell(cell.optimizer, cell.dimension, cell.depth, (seed,)))


CONTESTANTS: dict[str, Callable[[GridCell], object]] = {
    "batched": climb,
    "modules, one by one": textbook,
    "ours, one by one": one_by_one,
}


def cpu_seconds(function: Callable[[GridCell], object], cell: GridCell) -> float:
    """Return the CPU time of a call: other programs on the machine count less."""
    start = time.process_time()
    function(cell)
    return time.process_time() - start


def main(arguments: list[str] | None = None) -> int:
    """Print one line per cell, and one per optimiser and over all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.realnvp", description=__doc__)
    parser.add_argument("--all", action="store_true", help="the whole grid (about 20 minutes)")
    given = parser.parse_args(arguments)
    dimensions = DIMENSIONS if given.all else SOME_DIMENSIONS
    depths = DEPTHS if given.all else SOME_DEPTHS
    torch.set_num_threads(1)
    for function in CONTESTANTS.values():  # first calls load libraries
        function(GridCell("Adam", 2, 1, (0,)))
    print(f"{'CPU seconds, 10 seeds':22}" + "".join(f"{name:>28}" for name in CONTESTANTS))
    totals = np.zeros(len(CONTESTANTS))
    cells, start = grid(dimensions, depths), time.perf_counter()
    for cell in cells:
        seconds = np.array([cpu_seconds(function, cell) for function in CONTESTANTS.values()])
        totals += seconds
        print(f"{cell.name:22}{_shown(seconds)}", flush=True)
    print(f"{'all':22}{_shown(totals)}")
    one_by_one_s = (time.perf_counter() - start) * totals[1] / totals.sum()
    n_jobs, start = os.cpu_count() or 1, time.perf_counter()
    with TemporaryDirectory() as folder:
        run(cells, folder, n_jobs=n_jobs)
    command_s = time.perf_counter() - start
    print(
        f"by the clock: the command with {n_jobs} processes {command_s:.0f} s, modules one by one "
        f"{one_by_one_s:.0f} s (x {one_by_one_s / command_s:.1f})"
    )
    return 0


def _shown(seconds: np.ndarray) -> str:
    return "".join(f"{s:19.2f}  (x {s / seconds[0]:4.1f})" for s in seconds)

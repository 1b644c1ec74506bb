"""How fast: one table of ours, a peer, the limit and their ratios, all from one run.

``python -m benchmarks`` takes a few minutes. Contestants take turns, so that a busy machine hits
all alike; ratios mean more than times. Weights are untrained: no time depends on them. The modules
of this package measure the same things at length.
"""

from __future__ import annotations

import sys

from core import start

if __name__ == "__main__":
    sys.exit(start.run("benchmarks.__main__"))

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from benchmarks import evolution, hessians, optimizers, realnvp, recordings, scoring, tuning_fits
from core.insilico.realnvp_alignment.climbs import GridCell
from core.utils.device import one_thread
from core.versions import software_versions
from neuro_data_analysis.evolution.population import collect
from neuro_data_analysis.neural_data_lib import load_neural_data
from neuro_data_analysis.simulation.matroot import simulate_matroot
from neuro_data_analysis.simulation.tuning import simulate_tuning_sessions
from neuro_data_analysis.tuning.tables import collect_sites


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes
    ----------
    what, unit : str
        What was measured, and in which unit of time.
    ours : float
        Our time.
    peer, limit : tuple of (str, float), optional
        Name and time of what others do, and of what cannot be left out.
    """

    what: str
    unit: str
    ours: float
    peer: tuple[str, float] | None = None
    limit: tuple[str, float] | None = None

    def __str__(self) -> str:
        peer = f"{self.peer[1]:9.2f} {self.peer[1] / self.ours:7.1f}x" if self.peer else " " * 18
        limit = f"{self.limit[1]:9.2f} {self.ours / self.limit[1]:7.2f}x" if self.limit else ""
        names = "; ".join(name for name, _ in filter(None, (self.peer, self.limit)))
        return f"{self.what:46} {self.unit:3} {self.ours:9.2f} {peer} {limit:18} {names}".rstrip()


def optimiser_steps() -> Iterator[Row]:
    """Compare steps in 4,096 dimensions, float32 codes, with a peer and with drawing normals."""
    hessian = optimizers.ours_along_hessian(4096, 500, dtype=np.float32)
    contestants = {
        "normals": (optimizers.normals(4096, 40), 40),
        "ours": (optimizers.ours(4096, 40, dtype=np.float32), 40),
        "SepCMA": (optimizers.sep_cma(4096, 40), 10),
        "Hessian": (hessian, 40),
        "dense": (optimizers.textbook_along_hessian(4096, 500), 10),
        "product": (optimizers.axes_and_normals(4096, 500, 30), 40),
    }
    with threadpool_limits(1):
        taken = optimizers.take_turns(contestants, 40)
    ms = {name: 1e3 * median(seconds.cpu) for name, seconds in taken.items()}
    yield Row("CMA-ES step, N = 4096, population 40, CPU", "ms", ms["ours"],
              ("cmaes.SepCMA", ms["SepCMA"]), ("drawing the normals", ms["normals"]))  # fmt: skip
    yield Row("Hessian CMA-ES step, 500 axes, CPU", "ms", ms["Hessian"],
              ("dense textbook", ms["dense"]), ("normals times axes", ms["product"]))  # fmt: skip
    n, ways = 60, {"together": True, "one after another": False}
    contestants = {way: (optimizers.many(n, 4096, 40, at), 8) for way, at in ways.items()}
    contestants["normals"] = (optimizers.normals(4096, 40, n), 8)
    taken = optimizers.take_turns(contestants, 8)
    each = {name: 1e3 * median(seconds.wall) / n for name, seconds in taken.items()}
    yield Row(f"a step of {n} optimisers side by side, by the clock", "ms", each["together"],
              ("one after another", each["one after another"]),
              ("drawing normals in one thread", each["normals"]))  # fmt: skip


def scoring_passes() -> Iterator[Row]:
    """Compare the scores of 20 images by units of ResNet50 with torchvision and the plain route."""
    images = list(np.random.default_rng(0).random((20, 256, 256, 3), dtype=np.float32))
    for layer in scoring.TARGETS:
        taken, _ = scoring.measure(layer, images, 3)
        ms = {name: 1e3 * median(seconds.wall) / len(images) for name, seconds in taken.items()}
        yield Row(f"an image by ResNet50 {layer}", "ms", ms["ours"],
                  ("torchvision extractor", ms["torchvision"]))  # fmt: skip
        yield Row(f"an image by ResNet50 {layer}", "ms", ms["ours"],
                  ("published route", ms["plain"]))  # fmt: skip


def evolutions() -> Iterator[Row]:
    """Compare 8 units that evolve together with one after another, and with the networks alone."""
    options = evolution.parser().parse_args(["--generations", "2"])
    taken, _, _ = evolution.measure(options)
    n_images = options.units * options.population * options.generations
    ms = {name: 1e3 * sum(seconds.whole) / n_images for name, seconds in taken.items()}
    alone = 1e3 * sum(taken["together"].networks) / n_images
    yield Row("an image of 8 units that evolve together", "ms", ms["together"],
              ("one after another", ms["one after another"]),
              ("generator and network alone", alone))  # fmt: skip


def hessian_rows() -> Iterator[Row]:
    """Compare rows of the exact Hessian of fc6 with rows that are backpropagated twice."""
    for distance in ("MSE", "LPIPS"):
        ours, theirs = hessians.measure(distance, numbers=160, rows=10)
        yield Row(f"a row of fc6's Hessian, {distance}, CPU", "ms", 1e3 * ours,
                  ("two backpropagations", 1e3 * theirs))  # fmt: skip


def realnvp_climbs() -> Iterator[Row]:
    """Compare climbs in batches with torch modules one by one (Extended Figure 5C)."""
    for optimizer in ("Adam", "CMAES"):
        cell = GridCell(optimizer, 32, 4, tuple(range(5)))
        with one_thread():
            for function in (realnvp.CONTESTANTS["batched"], realnvp.textbook):
                function(GridCell(optimizer, 2, 1, (0,)))  # first calls load libraries
            ours = realnvp.cpu_seconds(realnvp.CONTESTANTS["batched"], cell)
            theirs = realnvp.cpu_seconds(realnvp.textbook, cell)
        yield Row(f"5 RealNVP climbs by {optimizer}, CPU", "s", ours, ("torch modules", theirs))


def tuning_curves() -> Iterator[Row]:
    """Compare the fits of Figure 6 with the libraries of the paper."""
    with tempfile.TemporaryDirectory() as folder:
        simulate_tuning_sessions(folder, 0, 3)
        sites = collect_sites(folder).sites
    axes = [axis for site in sites for axis in site.axes() if axis.levels.n > 5][:8]
    with threadpool_limits(1):
        for name, (peer, ours) in tuning_fits.CONTESTS.items():
            ours(axes[0])
            (peer_s, _), (our_s, _) = tuning_fits.timed(peer, axes), tuning_fits.timed(ours, axes)
            what, _, library = name.partition(", ")
            yield Row(f"{what} of a tuning axis, CPU", "ms", 1e3 * our_s, (library, 1e3 * peer_s))


def reading() -> Iterator[Row]:
    """Compare one experiment with the whole file, and one process that summarises with all."""
    with tempfile.TemporaryDirectory() as folder:
        small, full = (
            simulate_matroot(Path(folder) / f"{n}", seed=0, n_experiments=n) for n in (4, 170)
        )
        path = small / recordings.MAT_FILE
        ours = _best(lambda: load_neural_data(path)[recordings.EXAMPLE_EXPI])
        theirs = _best(lambda: recordings.read_with_pymatreader(path), 1)
        yield Row("one experiment of 4 from MATLAB v7.3", "ms", 1e3 * ours,
                  ("pymatreader, whole file", 1e3 * theirs))  # fmt: skip
        n_cpus = os.cpu_count() or 1
        alone, shared = (
            _best(lambda n=n: collect(load_neural_data(full), workers=n), 1)  # type: ignore[misc]
            for n in (1, n_cpus)
        )
        yield Row(f"170 experiments summarised, {n_cpus} processes", "s", shared,
                  ("one process", alone), ("one process, shared out", alone / n_cpus))  # fmt: skip


#: In the order of the table.
MEASURES: dict[str, Callable[[], Iterator[Row]]] = {
    "optimizers": optimiser_steps,
    "scoring": scoring_passes,
    "evolution": evolutions,
    "hessians": hessian_rows,
    "realnvp": realnvp_climbs,
    "tuning": tuning_curves,
    "recordings": reading,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="How fast: ours, a peer, the limit, and their ratios, from one run.",
        epilog="example: python -m benchmarks --only scoring --only evolution",
    )
    parser.add_argument("--only", action="append", choices=MEASURES, help="may be repeated")
    given = parser.parse_args(arguments)
    print(_machine())
    print(f"{'':46} {'':3} {'ours':>9} {'peer':>9} {'faster':>8} {'limit':>9} {'ours is':>8}")
    begin = time.perf_counter()
    for name in given.only or MEASURES:
        for row in MEASURES[name]():
            print(row, flush=True)
    print(f"{time.perf_counter() - begin:.0f} s, load now {os.getloadavg()[0]:.1f}")
    if not torch.cuda.is_available():
        print("GPU: not measured (none here)")
    return 0


def _machine() -> str:
    versions = ", ".join(f"{name} {v}" for name, v in software_versions(("numpy", "torch")).items())
    return (
        f"{platform.machine()}, {os.cpu_count()} processors, {torch.get_num_threads()} threads of "
        f"torch, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}, {versions}"
    )


def _best(measured: Callable[[], object], repeats: int = 3) -> float:
    """Return the shortest time of some calls, in seconds: what else runs only adds."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        measured()
        times.append(time.perf_counter() - begin)
    return min(times)

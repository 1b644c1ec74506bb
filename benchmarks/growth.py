"""How cost grows: seconds of processor against units, population, code length, and so on.

``python -m benchmarks.growth --output docs/growth.svg`` doubles one quantity at a time, fits an
exponent to each curve and draws them. Processor time, of one thread: other programs hardly count.
"""

from __future__ import annotations

import sys

from core import start

if __name__ == "__main__":
    sys.exit(start.run("benchmarks.growth"))

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.ticker import NullFormatter, NullLocator
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from benchmarks import evolution, optimizers
from neuro_data_analysis.evolution.stats import summarize
from neuro_data_analysis.neural_data_lib import load_neural_data
from neuro_data_analysis.simulation.matroot import simulate_matroot
from tests.evolutions import make_experiment


@dataclass(frozen=True)
class Curve:
    """What one quantity costs.

    Attributes
    ----------
    quantity, task : str
        What was doubled, and what was done.
    sizes, seconds : numpy.ndarray
        (n,) its values, and the processor time of each.
    """

    quantity: str
    task: str
    sizes: NDArray[np.float64]
    seconds: NDArray[np.float64]

    @property
    def exponent(self) -> float:
        """Slope of the line through the logarithms."""
        return float(np.polyfit(np.log(self.sizes), np.log(self.seconds), 1)[0])

    def __str__(self) -> str:
        pairs = zip(self.sizes, self.seconds, strict=True)
        points = ", ".join(f"{n:g}: {s:.3g} s" for n, s in pairs)
        return f"{self.quantity:12} {self.task:36} exponent {self.exponent:5.2f}   {points}"


def curves() -> Iterator[Curve]:
    """Measure one curve after the other."""
    dimensions, populations = (256, 512, 1024, 2048, 4096), (10, 20, 40, 80, 160)
    yield _curve("code length", "100 CMA-ES generations of 40 codes", dimensions,
                 lambda n: _generations(n, 40, 100))  # fmt: skip
    yield _curve("population", "100 CMA-ES generations, N = 4096", populations,
                 lambda n: _generations(4096, n, 100))  # fmt: skip
    yield _curve("generations", "CMA-ES, 40 codes, N = 4096", (25, 50, 100, 200, 400),
                 lambda n: _generations(4096, 40, n))  # fmt: skip
    yield _curve("units", "2 generations of 10 codes a unit", (1, 2, 4, 8), _units)
    yield _curve("trials", "30 blocks of so many images", (10, 20, 40, 80), _trials)
    with tempfile.TemporaryDirectory() as folder:
        matroot = simulate_matroot(Path(folder) / "matroot", seed=0, n_experiments=40)
        yield _curve("experiments", "read and summarised", (5, 10, 20, 40),
                     lambda n: _experiments(matroot, n))  # fmt: skip


def draw(measured: Sequence[Curve], path: Path) -> None:
    """Draw all curves on logarithmic axes, each with its exponent and a line of slope 1."""
    mpl.rcParams["svg.hashsalt"] = "growth"
    figure, axes = plt.subplots(2, 3, figsize=(8.5, 5.2), layout="constrained")
    for panel, curve in zip(axes.flat, measured, strict=True):
        panel.loglog(curve.sizes, curve.seconds, "o-", color="black")
        proportional = curve.seconds[0] * curve.sizes / curve.sizes[0]
        panel.loglog(curve.sizes, proportional, ":", color="grey", label="proportional")
        panel.set(xlabel=curve.quantity, ylabel="CPU seconds")
        panel.set_xticks(curve.sizes, [f"{n:g}" for n in curve.sizes])
        panel.set_ylim(curve.seconds[0] / 2, proportional[-1] * 2)
        panel.xaxis.set_minor_locator(NullLocator())
        panel.yaxis.set_minor_formatter(NullFormatter())
        panel.set_title(f"{curve.task}\nexponent {curve.exponent:.2f}", fontsize=8)
    axes.flat[0].legend(fontsize=8)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the curves, and draw them where a file is given."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--output", type=Path, metavar="FILE", help="picture, such as growth.svg")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    measured = []
    with threadpool_limits(1):
        for curve in curves():
            print(curve, flush=True)
            measured.append(curve)
    if given.output:
        draw(measured, given.output)
        print(given.output)
    return 0


def _curve(quantity: str, task: str, sizes: Sequence[int], cost: Callable[[int], float]) -> Curve:
    cost(sizes[0])  # first calls load libraries
    return Curve(quantity, task, np.array(sizes, float), np.array([cost(n) for n in sizes]))


def _least(run: Callable[[], object], repeats: int) -> float:
    """Return the least processor time of some runs: what else uses the caches only adds."""
    taken = []
    for _ in range(repeats):
        begin = time.process_time()
        run()
        taken.append(time.process_time() - begin)
    return min(taken)


def _generations(dimension: int, population: int, n: int) -> float:
    def run() -> None:
        generation = optimizers.ours(dimension, population)
        for _ in range(n):
            generation()

    return _least(run, 3)


def _units(n: int) -> float:
    options = ["--units", str(n), "--population", "10", "--generations", "2", "--device", "cpu"]
    seconds, _, _ = evolution.measure(evolution.parser().parse_args(options))
    return sum(seconds["together"].processors)


def _trials(n: int) -> float:
    experiment = make_experiment(np.random.default_rng(0), [[n] * 30] * 2)
    return _least(lambda: summarize(experiment), 10)


def _experiments(matroot: Path, n: int) -> float:
    def run() -> None:
        with load_neural_data(matroot) as recordings:
            for expi in islice(recordings, n):
                summarize(recordings[expi])

    return _least(run, 3)

"""Time per generation of the optimisers and their peers, as ratios within one run.

``python -m benchmarks.optimizers``; scores are random numbers, so that only the optimiser counts.
All contestants take turns generation by generation, so that noise of the machine hits all alike.
"""

from __future__ import annotations

import sys

from core import start

if __name__ == "__main__":
    sys.exit(start.run("benchmarks.optimizers"))

import argparse
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from statistics import mean, median
from typing import Any

import numpy as np

from core.utils.device import side_by_side
from core.utils.Optimizers import CholeskyCMAES, HessCMAES
from tests.textbook_cma import TextbookCMAES

SIGMA = 3.0

#: One generation: ask for codes, hand in scores.
Generation = Callable[[], Any]


@dataclass
class Seconds:
    """Time of each generation: by the clock, and on all processors together."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def normals(dimension: int, population: int, n_runs: int = 1) -> Generation:
    """Draw the normals of one generation: what every evolution strategy has to do."""
    random = np.random.default_rng(0)

    def generation() -> None:
        for _ in range(n_runs):
            random.standard_normal((population, dimension))

    return generation


def ours(dimension: int, population: int, **settings: Any) -> Generation:
    """Return ask and tell of `CholeskyCMAES`."""
    optimizer = CholeskyCMAES(
        dimension, population, SIGMA, np.zeros(dimension), random_seed=0, **settings
    )
    return _ask_and_tell(optimizer)


def ours_along_hessian(dimension: int, cutoff: int, **settings: Any) -> Generation:
    """Return ask and tell of `HessCMAES` along random orthonormal axes."""
    axes = np.linalg.qr(np.random.default_rng(1).standard_normal((dimension, cutoff)))[0]
    optimizer = HessCMAES(
        dimension, cutoff=cutoff, init_code=np.zeros(dimension), random_seed=0, **settings
    )
    optimizer.set_Hessian(np.geomspace(1, 1e-4, cutoff), axes, expon=1 / 5)
    return _ask_and_tell(optimizer)


def axes_and_normals(dimension: int, cutoff: int, population: int) -> Generation:
    """Draw normals and multiply them with axes: what a step along axes cannot leave out."""
    random = np.random.default_rng(0)
    axes = random.standard_normal((cutoff, dimension)).astype(np.float32)
    return lambda: random.standard_normal((population, cutoff)).astype(np.float32) @ axes


def many(n_runs: int, dimension: int, population: int, together: bool) -> Generation:
    """Return `ours` of many optimisers, in as many threads as torch has or in one."""
    steps = [ours(dimension, population, dtype=np.float32) for _ in range(n_runs)]
    each: Callable[..., Iterable[Any]] = side_by_side if together else map
    return lambda: list(each(lambda step: step(), steps))


def textbook(dimension: int, Aupdate_freq: float = 10) -> Generation:
    """Return a step of the same algorithm with dense matrices."""
    start = np.zeros(dimension)
    optimizer = TextbookCMAES(
        np.eye(dimension), np.eye(dimension), start, SIGMA, Aupdate_freq=Aupdate_freq
    )
    return _stepper(optimizer.step, start[np.newaxis])


def textbook_along_hessian(dimension: int, cutoff: int) -> Generation:
    """Return a step of the dense algorithm along random orthonormal axes."""
    axes = np.linalg.qr(np.random.default_rng(1).standard_normal((dimension, cutoff)))[0]
    scales = np.geomspace(1, 1e-4, cutoff) ** (-1 / 5)
    start = np.zeros(dimension)
    optimizer = TextbookCMAES(scales[:, None] * axes.T, axes / scales, start, SIGMA)
    return _stepper(optimizer.step, start[np.newaxis])


def pycma(dimension: int, population: int, diagonal: bool) -> Generation:
    """Return ask and tell of pycma, with the full or a diagonal covariance."""
    import cma

    options = {"popsize": population, "verbose": -9, "seed": 1, "CMA_diagonal": diagonal}
    strategy = cma.CMAEvolutionStrategy(np.zeros(dimension), SIGMA, options)
    scores = _random_scores(population)

    def generation() -> None:
        strategy.tell(strategy.ask(), list(next(scores)))

    return generation


def sep_cma(dimension: int, population: int) -> Generation:
    """Return ask and tell of cmaes.SepCMA."""
    from cmaes import SepCMA

    strategy = SepCMA(np.zeros(dimension), SIGMA, population_size=population, seed=1)
    scores = _random_scores(population)

    def generation() -> None:
        codes = [strategy.ask() for _ in range(population)]
        strategy.tell(list(zip(codes, map(float, next(scores)), strict=True)))

    return generation


def _ask_and_tell(optimizer: CholeskyCMAES | HessCMAES) -> Generation:
    random = np.random.default_rng(3)
    return lambda: optimizer.tell(random.standard_normal(len(optimizer.ask())))


def _stepper(step: Callable[[Any, Any], Any], codes: Any) -> Generation:
    random = np.random.default_rng(3)
    population = [codes]

    def generation() -> None:
        population[0] = step(random.standard_normal(len(population[0])), population[0])

    return generation


def _random_scores(population: int) -> Iterator[Any]:
    random = np.random.default_rng(3)
    while True:
        yield random.standard_normal(population)


def take_turns(
    contestants: dict[str, tuple[Generation, int]], generations: int
) -> dict[str, Seconds]:
    """Run every contestant for its number of generations, spread evenly among the rounds.

    Parameters
    ----------
    contestants : dict of name to (generation, number of generations)
    generations : int
        Number of rounds.
    """
    seconds = {name: Seconds() for name in contestants}
    for turn in range(generations):
        for name, (generation, wanted) in contestants.items():
            if turn * wanted // generations != (turn + 1) * wanted // generations:
                start, start_cpu = time.perf_counter(), time.process_time()
                generation()
                seconds[name].wall.append(time.perf_counter() - start)
                seconds[name].cpu.append(time.process_time() - start_cpu)
    return seconds


def report(title: str, seconds: dict[str, Seconds], unit: str) -> None:
    """Print times of a generation, and their ratios to those of the contestant `unit`."""
    print(f"\n{title}")
    print(
        f"{'':32s}{'runs':>5s}{'median wall ms':>16s}{'ratio':>9s}{'mean CPU ms':>13s}{'ratio':>9s}"
    )
    for name, taken in seconds.items():
        wall, wall_unit = median(taken.wall), median(seconds[unit].wall)
        cpu, cpu_unit = mean(taken.cpu), mean(seconds[unit].cpu)
        print(
            f"{name:32s}{len(taken.wall):5d}{1e3 * wall:16.3f}{wall / wall_unit:9.2f}"
            f"{1e3 * cpu:13.3f}{cpu / cpu_unit:9.2f}"
        )


def state_size(dimension: int, generations: int) -> tuple[float, float]:
    """Return the megabytes of a saved state and of two dense factors."""
    optimizer = CholeskyCMAES(dimension, init_code=np.zeros(dimension), random_seed=0)
    generation = _ask_and_tell(optimizer)
    for _ in range(generations):
        generation()
    saved = sum(np.asarray(value).nbytes for value in optimizer.state_dict().values())
    return saved / 1e6, 2 * dimension**2 * 8 / 1e6


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generations", type=int, default=100)
    parser.add_argument("--full-peers", action="store_true", help="pycma full too (half a minute)")
    arguments = parser.parse_args()
    n = arguments.generations
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    print(f"{os.cpu_count()} cores, load {load}; on a busy machine look at CPU time")
    contestants = {
        "drawing the normals": (normals(4096, 40), n),
        "CholeskyCMAES": (ours(4096, 40), n),
        "the same, float32 codes": (ours(4096, 40, dtype=np.float32), n),
        "the same, Aupdate_freq=1": (ours(4096, 40, Aupdate_freq=1), n),
        "dense textbook": (textbook(4096), max(n // 4, 1)),
        "pycma, diagonal": (pycma(4096, 40, diagonal=True), n // 2),
        "cmaes.SepCMA": (sep_cma(4096, 40), n // 2),
    }
    if arguments.full_peers:
        contestants["pycma, full"] = (pycma(4096, 40, diagonal=False), 25)
    report("N = 4096, population 40", take_turns(contestants, n), "drawing the normals")
    contestants = {
        "drawing the normals": (normals(256, 28), n),
        "CholeskyCMAES": (ours(256, 28), n),
        "dense textbook": (textbook(256), n),
        "CholeskyCMAES, Aupdate_freq=1": (ours(256, 28, Aupdate_freq=1), n),
        "dense textbook, Aupdate_freq=1": (textbook(256, Aupdate_freq=1), n),
        "pycma, full": (pycma(256, 28, diagonal=False), n // 2),
        "pycma, diagonal": (pycma(256, 28, diagonal=True), n // 2),
        "cmaes.SepCMA": (sep_cma(256, 28), n // 2),
    }
    report("N = 256, population 28", take_turns(contestants, n), "CholeskyCMAES")
    contestants = {
        "HessCMAES": (ours_along_hessian(4096, 500), n),
        "the same, float32 codes": (ours_along_hessian(4096, 500, dtype=np.float32), n),
        "dense textbook": (textbook_along_hessian(4096, 500), n // 2),
    }
    report("500 Hessian axes of 4096, population 30", take_turns(contestants, n), "HessCMAES")
    saved, dense = state_size(4096, n)
    print(f"\nsaved state after {n} generations: {saved:.2f} MB; two dense factors: {dense:.0f} MB")

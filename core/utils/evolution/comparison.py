"""Several optimisers on one objective in one space, with one budget of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from core.errors import UsageError
from core.utils.evolution.loop import evolve
from core.utils.evolution.result import UNTRAINED_MARK, EvolutionResult
from core.utils.evolution.scoring import answers_of, as_objective
from core.utils.evolution.stopping import FloatArray, Stop
from core.utils.evolution.threads import Thread
from core.utils.generators.named import generator_named
from core.utils.generators.protocol import checked

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: How the control of random codes is called.
RANDOM = "random codes"


@dataclass(frozen=True)
class Comparison:
    """What came of a comparison.

    Attributes
    ----------
    results : dict of str to list of EvolutionResult
        Optimiser → one result per seed.
    random : list of numpy.ndarray
        Per seed, scores of as many random codes as the budget allows.
    images : int
        The budget.
    maximize : bool
    """

    results: dict[str, list[EvolutionResult]]
    random: list[FloatArray]
    images: int
    maximize: bool

    @property
    def table(self) -> pd.DataFrame:
        """One row per optimiser and seed.

        Returns
        -------
        pandas.DataFrame
            ``optimizer``, ``seed`` (its place in the list), ``images``, ``first`` and ``last``
            (means of the first and last generation), ``best``. Random codes have one generation.
        """
        rows = [
            (name, seed, result.n_images, *result.history["mean"].iloc[[0, -1]], result.best_score)
            for name, results in self.results.items()
            for seed, result in enumerate(results)
        ]
        best = np.nanmax if self.maximize else np.nanmin
        rows += [
            (RANDOM, seed, len(scores), *[np.nanmean(scores)] * 2, best(scores))
            for seed, scores in enumerate(self.random)
        ]
        columns = ["optimizer", "seed", "images", "first", "last", "best"]
        return pd.DataFrame(rows, columns=columns)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the best score so far against the number of images, one colour per optimiser.

        Thin lines are seeds, the thick line is their mean; the dashed line is the best of as many
        random codes.
        """
        from matplotlib import pyplot as plt

        ax = ax or plt.gca()
        grid = np.unique(np.geomspace(1, self.images, 200).round())
        colours = iter(plt.rcParams["axes.prop_cycle"].by_key()["color"] * 3)
        for name, results in self.results.items():
            colour, curves = next(colours), np.stack([_best_by(r, grid) for r in results])
            ax.plot(grid, curves.T, color=colour, linewidth=0.7, alpha=0.5)
            ax.plot(grid, curves.mean(0), color=colour, linewidth=2, label=name)
        accumulate = np.fmax.accumulate if self.maximize else np.fmin.accumulate
        random = np.stack([accumulate(scores) for scores in self.random])
        n = np.arange(1, random.shape[1] + 1)
        ax.plot(n, random.mean(0), color="0.4", linestyle="--", label=RANDOM)
        ax.set_xlabel("images shown")
        ax.set_ylabel("best score so far")
        ax.set_xlim(1, self.images)
        ax.legend(frameon=False)
        if any(result.untrained for results in self.results.values() for result in results):
            ax.set_title(UNTRAINED_MARK, loc="right", fontsize="small", color="firebrick")
        return ax


def compare(
    objective: Any,
    generator: Any,
    optimizers: Sequence[str] | Mapping[str, Any],
    images: int = 1000,
    *,
    seeds: Sequence[int] = (0, 1),
    maximize: bool = True,
    population: int | None = None,
    hessian: Any = None,
    progress: bool = True,
) -> Comparison:
    """Run several optimisers on one objective with one budget of images.

    Parameters
    ----------
    objective, generator
        As for `evolve`, one of each.
    optimizers : sequence of str, or mapping
        Labels; or names → labels, or functions of (generator, random generator) that make an
        optimiser, such as one of another library in `ask_tell_peer`. A gradient counts as one
        image.
    images : int, default 1000
        Budget of every run.
    seeds : sequence of int, default (0, 1)
        One run of each optimiser per seed; all optimisers begin at the same codes.
    maximize, population, hessian
        As for `evolve`.
    progress : bool, default True

    Returns
    -------
    Comparison

    Raises
    ------
    UsageError
        As `evolve`, or if no optimisers or seeds are given.
    """
    if isinstance(generator, str):
        generator = generator_named(generator)
    named = optimizers if isinstance(optimizers, Mapping) else {one: one for one in optimizers}
    if not named or not len(seeds) or images < 2:
        raise UsageError(
            f"{len(named)} optimisers, {len(seeds)} seeds and {images} images were given; give at "
            "least one, one, and two."
        )
    results: dict[str, list[EvolutionResult]] = {name: [] for name in named}
    runs = [(name, seed) for name in named for seed in seeds]
    for name, seed in tqdm(runs, disable=not progress, unit="run"):
        found = evolve(
            objective, generator, named[name], images, seed=seed, maximize=maximize,
            population=population, hessian=hessian, stop=Stop(images=images), progress=False,
        )  # fmt: skip
        results[name].append(found)
    random = [_random_scores(objective, generator, images, seed) for seed in seeds]
    return Comparison(results, random, images, maximize)


def _random_scores(objective: Any, generator: Any, images: int, seed: int) -> FloatArray:
    """Score random codes of the generator: what a budget finds without a search."""
    made = checked(generator)
    thread = Thread(RANDOM, as_objective(objective, RANDOM), made, None)
    codes = made.sample_vector(images, seed=seed).cpu().numpy()
    return answers_of([thread], [codes], 0, 40)[0].scores


def _best_by(result: EvolutionResult, grid: FloatArray) -> FloatArray:
    """Return the best score after each number of images."""
    scores = result.table["score"].to_numpy()
    accumulate = np.fmax.accumulate if result.maximize else np.fmin.accumulate
    best = accumulate(scores)
    return best[np.minimum(grid, len(best)).astype(int) - 1]

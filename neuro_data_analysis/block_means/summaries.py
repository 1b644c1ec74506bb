"""Block means in the form that the tables are made of, without a single trial.

A Student test of pooled variance needs of each block only its number of images n, its mean m and
its standard error s: over the blocks of a group, N = Σ n, M = Σ n m / N and the sum of squares
SS = Σ (n − 1) n s² + Σ n (m − M)², within the blocks and between them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from core.source_tables.registry import EXTENDED_4C_WINDOWS
from core.spaces import BySpace, Space
from neuro_data_analysis.block_means.evolutions import Counts, DecodedEvolution, DecodedThread
from neuro_data_analysis.block_means.published import Floats
from neuro_data_analysis.evolution.population import P_LEVELS, Population
from neuro_data_analysis.evolution.stats import (
    BASELINE_MS,
    COMPARISONS,
    BlockResponses,
    EvolutionSummary,
    ShownPsths,
    Trajectory,
    best_block,
    compared_blocks,
)


@dataclass(frozen=True)
class Moments:
    """Number of images, mean response and standard error of some blocks, all (n_blocks,)."""

    n: Counts
    mean: Floats
    sem: Floats

    @classmethod
    def of(cls, thread: DecodedThread, end: int = 0) -> Moments:
        """Take those of a thread; `end` as in `DecodedThread.response_sem`."""
        return cls(thread.n_images, thread.response, thread.response_sem(end))

    def pooled(self, blocks: Sequence[int]) -> tuple[float, float, int]:
        """Mean, standard deviation (ddof 1) and number of all images of some blocks."""
        n, mean, sem = (values[list(blocks)] for values in (self.n, self.mean, self.sem))
        total = int(n.sum())
        grand = float((n * mean).sum() / total)
        squares = ((n - 1) * n * sem**2).sum() + (n * (mean - grand) ** 2).sum()
        return grand, float(np.sqrt(squares / (total - 1))), total


def summarize_block_means(evolution: DecodedEvolution) -> EvolutionSummary:
    """Reduce an experiment to what the tables of Figures 4, 5 and Extended 4 need.

    Parameters
    ----------
    evolution : DecodedEvolution
        One paired evolution.

    Returns
    -------
    EvolutionSummary
        As `evolution.stats.summarize` makes it from trials. The SEMs of its windows are NaN: they
        need the covariance between milliseconds, which only trials have.
    """
    threads = {space: evolution.thread(space) for space in Space}
    moments = {space: Moments.of(thread) for space, thread in threads.items()}
    return EvolutionSummary(
        info=evolution.info,
        trajectory=Trajectory(
            mean={space: blocks.mean for space, blocks in moments.items()},
            sem={space: blocks.sem for space, blocks in moments.items()},
            baseline={space: t.window_means(*BASELINE_MS) for space, t in threads.items()},
        ),
        windows=_windows(threads),
        psths={
            space: ShownPsths.among(thread.psth, moments[space].mean)
            for space, thread in threads.items()
        },
        tests=moment_tests(moments),
        activations=_activations(moments),
        references={space: t.published.references.mean for space, t in threads.items()},
    )


def block_means_population(evolutions: Iterable[DecodedEvolution]) -> Population:
    """Summarise all experiments; the optimisers are not published with the block means."""
    return Population(tuple(summarize_block_means(evolution) for evolution in evolutions), {})


def moment_tests(moments: BySpace[Moments]) -> dict[str, float]:
    """Student tests between the first, best and last two blocks, from the moments of the blocks.

    Returns
    -------
    dict
        As `evolution.stats.block_tests`.
    """
    groups = {
        (space, name): blocks.pooled(chosen)
        for space, blocks in moments.items()
        for name, chosen in compared_blocks(blocks.mean).items()
    }
    results: dict[str, float] = {}
    for name, (first, second) in COMPARISONS.items():
        t, p = _student(groups.get(first), groups.get(second))
        results |= {f"t_{name}": t, f"p_{name}": p}
    return results


@dataclass(frozen=True)
class Interval:
    """Between which bounds the rounding of the published SEMs leaves a p value."""

    expi: int
    space: Space
    low: float
    high: float

    def holds(self, limit: float) -> bool:
        """Whether the rounding could move the p value over a limit."""
        return self.low < limit <= self.high


def success_intervals(evolutions: Iterable[DecodedEvolution]) -> Iterator[Interval]:
    """Yield the interval of p (best against first two blocks) of every thread.

    p rises with every SEM, so that its bounds are those of all SEMs lowest and all highest.
    """
    for evolution in evolutions:
        ends = [
            moment_tests({space: Moments.of(evolution.thread(space), end) for space in Space})
            for end in (-1, 1)
        ]
        for space in Space:
            low, high = (tests[f"p_maxinit_{space.thread}"] for tests in ends)
            yield Interval(evolution.info.expi, space, low, high)


def describe_intervals(intervals: Iterable[Interval]) -> Mapping[str, str]:
    """Say, for the note of origin, whether any success depends on the rounding."""
    intervals = [interval for interval in intervals if not np.isnan(interval.low)]
    undecided = [
        f"Expi {i.expi} {i.space.prefix} ({i.low:.5f} to {i.high:.5f} around {limit})"
        for i in intervals
        for limit in P_LEVELS.values()
        if i.holds(limit)
    ]
    widest = max(i.high - i.low for i in intervals)
    told = "; ".join(undecided) or (
        f"none of {len(intervals)}: no interval that the rounding of the SEMs leaves to p holds "
        f"{' or '.join(map(str, P_LEVELS.values()))}"
    )
    return {"successes undecided by rounding": told, "widest interval of p": f"{widest:.2g}"}


def _windows(threads: BySpace[DecodedThread]) -> BlockResponses:
    """Responses in the 42 windows, (42, n_blocks) events/s, SEMs NaN."""
    mean = {
        space: np.stack([thread.window_means(*window) for window in EXTENDED_4C_WINDOWS])
        for space, thread in threads.items()
    }
    return BlockResponses(mean, {space: np.full_like(m, np.nan) for space, m in mean.items()})


def _activations(moments: BySpace[Moments]) -> dict[str, float]:
    """Response of the best, last and first block, as `evolution.stats.block_activations`."""
    values: dict[str, float] = {}
    for name in ("maxrsp", "endrsp", "initrsp"):
        for space, blocks in moments.items():
            index = {"maxrsp": int(best_block(blocks.mean)), "endrsp": -1, "initrsp": 0}[name]
            mean, sem, n = blocks.mean[index], blocks.sem[index], blocks.n[index]
            # The published std has ddof 0: √(n − 1) times the SEM, which has ddof 1.
            told = {"mean": mean, "std": sem * np.sqrt(n - 1), "sem": sem}
            values |= {f"{name}_{space.thread}_{key}": float(told[key]) for key in told}
    return values


def _student(
    first: tuple[float, float, int] | None, second: tuple[float, float, int] | None
) -> tuple[float, float]:
    if first is None or second is None or max(first[1], second[1]) == 0:
        return np.nan, np.nan
    t, p = scipy.stats.ttest_ind_from_stats(*first, *second)
    return float(t), float(p)

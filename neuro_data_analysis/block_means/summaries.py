"""Block means in the form that the tables are made of, without a single trial.

A Student test of pooled variance needs of each block only its number of images n, its mean m and
its standard error s: over the blocks of a group, N = Σ n, M = Σ n m / N and the sum of squares
SS = Σ (n − 1) n s² + Σ n (m − M)², within the blocks and between them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from core.source_tables.registry import EXTENDED_4C_WINDOWS, SHOWN_BLOCKS
from neuro_data_analysis.block_means.evolutions import Counts, DecodedEvolution, DecodedThread
from neuro_data_analysis.block_means.published import Floats
from neuro_data_analysis.evolution.population import P_LEVELS, Population
from neuro_data_analysis.evolution.stats import (
    BASELINE_MS,
    COMPARISONS,
    EvolutionSummary,
    compared_blocks,
    pad_blocks,
    time_constants,
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
    threads = evolution.threads
    psths = np.stack([thread.psth for thread in threads])  # (thread, block, ms)
    moments = [Moments.of(thread) for thread in threads]
    trajectory = np.stack(
        [m.mean for m in moments]
        + [m.sem for m in moments]
        + [thread.window_means(*BASELINE_MS) for thread in threads],
        axis=1,
    )
    best = trajectory[:, :2].argmax(axis=0)
    late = SHOWN_BLOCKS[-1]
    return EvolutionSummary(
        info=evolution.info,
        n_blocks=evolution.n_blocks,
        trajectory=trajectory,
        windows=_windows(threads),
        first_psth=psths[:, 0],
        late_psth=np.stack([pad_blocks(psth, late + 1)[late] for psth in psths]),
        psth_rise=psths[[0, 1], best] - psths[:, 0],
        tests=moment_tests(moments),
        activations=_activations(moments),
        time_constants=time_constants(trajectory),
    )


def block_means_population(evolutions: Iterable[DecodedEvolution]) -> Population:
    """Summarise all experiments; the optimisers are not published with the block means."""
    return Population(tuple(summarize_block_means(evolution) for evolution in evolutions), {})


def moment_tests(moments: Sequence[Moments]) -> dict[str, float]:
    """Student tests between the first, best and last two blocks, from the moments of the blocks.

    Returns
    -------
    dict
        As `evolution.stats.block_tests`.
    """
    groups = {
        (thread, name): blocks.pooled(chosen)
        for thread, blocks in enumerate(moments)
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
    space: str
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
            moment_tests([Moments.of(thread, end) for thread in evolution.threads])
            for end in (-1, 1)
        ]
        for thread, space in enumerate(("FC", "BG")):
            low, high = (tests[f"p_maxinit_{thread}"] for tests in ends)
            yield Interval(evolution.info.expi, space, low, high)


def describe_intervals(intervals: Iterable[Interval]) -> Mapping[str, str]:
    """Say, for the note of origin, whether any success depends on the rounding."""
    intervals = [interval for interval in intervals if not np.isnan(interval.low)]
    undecided = [
        f"Expi {i.expi} {i.space} ({i.low:.5f} to {i.high:.5f} around {limit})"
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


def _windows(threads: Sequence[DecodedThread]) -> Floats:
    """(42 windows, n_blocks, 4 slices) events/s, SEMs NaN."""
    means = np.stack(
        [[thread.window_means(*window) for thread in threads] for window in EXTENDED_4C_WINDOWS]
    )
    return np.concatenate([means, np.full_like(means, np.nan)], axis=1).transpose(0, 2, 1)


def _activations(moments: Sequence[Moments]) -> dict[str, float]:
    """Response of the best, the last and the first block, as `evolution.stats.block_activations`."""
    chosen = {
        (name, thread): (blocks, index)
        for thread, blocks in enumerate(moments)
        for name, index in (("maxrsp", int(blocks.mean.argmax())), ("endrsp", -1), ("initrsp", 0))
    }
    values: dict[str, float] = {}
    for name in ("maxrsp", "endrsp", "initrsp"):
        for thread in (0, 1):
            blocks, index = chosen[name, thread]
            mean, sem, n = blocks.mean[index], blocks.sem[index], blocks.n[index]
            # The published std has ddof 0: √(n − 1) times the SEM, which has ddof 1.
            for statistic, value in (("mean", mean), ("std", sem * np.sqrt(n - 1)), ("sem", sem)):
                values[f"{name}_{thread}_{statistic}"] = float(value)
    return values


def _student(
    first: tuple[float, float, int] | None, second: tuple[float, float, int] | None
) -> tuple[float, float]:
    if first is None or second is None or max(first[1], second[1]) == 0:
        return np.nan, np.nan
    t, p = stats.ttest_ind_from_stats(*first, *second)
    return float(t), float(p)

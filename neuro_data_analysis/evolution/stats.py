"""Statistics of one paired evolution: trajectories, PSTHs, tests, time constants, attribution."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.brief import brief
from core.errors import MalformedDataError, UsageError
from core.source_tables.registry import EXTENDED_4C_WINDOWS, FIGURE_5A_BLOCKS
from core.spaces import BySpace, Space
from core.utils.statistics.t_tests import student
from neuro_data_analysis.matlab.values import PSTH_MS
from neuro_data_analysis.neural_data_lib import Block, Experiment, ExperimentInfo

logger = logging.getLogger(__name__)

Window = tuple[int, int]

#: Evoked response: mean rate 50 to 200 ms after image onset (Methods).
EVOKED_MS: Window = (50, 200)

#: Baseline: mean rate in the first 45 ms, before the response arrives (Methods).
BASELINE_MS: Window = (0, 45)

#: A last block with fewer images than this in either thread is dropped from both.
MIN_IMAGES_LAST_BLOCK = 10

#: Block means closer than this, relative to the largest, are tied; the first of them is the best.
TIE = 1e-9

#: Fraction of the maximal rise at which an evolution counts as having climbed (Figure 4D).
RISE_FRACTION = 0.8

#: Baselines of the time constants: suffix of the column → what is subtracted.
TIME_CONSTANT_BASELINES = ("", "_bsl0", "_bslinit")

#: Comparisons of Student tests: name → (space, blocks) against (space, blocks).
COMPARISONS = {
    f"{first}{second}_{space.thread}": ((space, first), (space, second))
    for first, second in (("end", "init"), ("max", "init"), ("max", "end"))
    for space in Space
} | {
    f"FCBG_{blocks}_01": ((Space.DEEPSIM, blocks), (Space.BIGGAN, blocks))
    for blocks in ("end", "max", "init")
}


@dataclass(frozen=True)
class Trials:
    """All presentations of one thread in order, and how many belong to each block.

    Attributes
    ----------
    psth : numpy.ndarray
        (200 ms, n_trials) events/s.
    block_sizes : numpy.ndarray of int
        (n_blocks,) presentations per block.
    """

    psth: NDArray[np.float64]
    block_sizes: NDArray[np.intp]

    __repr__ = brief

    @classmethod
    def of(cls, blocks: Sequence[Block]) -> Trials:
        """Join the presentations of some blocks."""
        psths = [block.psth for block in blocks] or [np.zeros((PSTH_MS, 0))]
        sizes = np.array([block.n_images for block in blocks], dtype=np.intp)
        return cls(np.concatenate(psths, axis=1), sizes)

    def first(self, n_blocks: int) -> Trials:
        """Return the presentations of the first blocks."""
        if n_blocks >= len(self.block_sizes):
            return self
        sizes = self.block_sizes[:n_blocks]
        return Trials(self.psth[:, : sizes.sum()], sizes)

    def window_means(self, windows: Iterable[Window]) -> NDArray[np.float64]:
        """Mean rate of every trial in every window.

        Parameters
        ----------
        windows : iterable of (start, stop)
            In whole ms from image onset, stop excluded.

        Returns
        -------
        numpy.ndarray
            (n_windows, n_trials) events/s.
        """
        chosen = np.array(list(windows))
        starts, stops = chosen.T
        wrong = (starts < 0) | (starts >= stops) | (stops > PSTH_MS)
        if wrong.any():
            raise UsageError(
                f"time window {tuple(chosen[wrong][0].tolist())} does not lie within 0 to "
                f"{PSTH_MS} ms"
            )
        sums = self._sums_until[stops] - self._sums_until[starts]
        return sums / (stops - starts)[:, np.newaxis]

    @cached_property
    def _sums_until(self) -> NDArray[np.float64]:
        """(201, n_trials) sum of each trial before every ms; a window is a difference of two."""
        sums = np.zeros((PSTH_MS + 1, self.psth.shape[1]))
        np.cumsum(self.psth, axis=0, out=sums[1:])
        return sums

    def responses(self, window: Window = EVOKED_MS) -> NDArray[np.float64]:
        """Mean rate of every trial in one window, (n_trials,) events/s."""
        return self.window_means([window])[0]

    @property
    def block_number(self) -> NDArray[np.intp]:
        """1-based block (generation) of every trial, (n_trials,)."""
        return np.repeat(np.arange(1, len(self.block_sizes) + 1), self.block_sizes)

    def per_block(self, values: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        """Split values, last axis over trials, into one array per block."""
        return np.split(values, np.cumsum(self.block_sizes)[:-1], axis=-1)

    def block_means(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Average over the trials of each block: (..., n_trials) → (..., n_blocks)."""
        return self._block_sums(values) / self.block_sizes

    def block_sems(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the standard error (ddof 1) over the trials of each block; NaN for one trial."""
        centred = values - np.repeat(self.block_means(values), self.block_sizes, axis=-1)
        with np.errstate(invalid="ignore"):  # 0/0 where a block has one trial
            variance = self._block_sums(centred**2) / (self.block_sizes - 1)
        return np.sqrt(variance / self.block_sizes)

    def _block_sums(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        if (self.block_sizes == 0).any():
            empty = (np.flatnonzero(self.block_sizes == 0) + 1).tolist()
            raise MalformedDataError(f"no image was shown in block {empty}")
        starts = np.concatenate(([0], np.cumsum(self.block_sizes)[:-1]))
        return np.add.reduceat(values, starts, axis=-1)


@dataclass(frozen=True)
class BlockResponses:
    """Mean response of the trials of each block, by space.

    Attributes
    ----------
    mean, sem : dict of Space to numpy.ndarray
        (..., n_blocks) events/s. The standard error is over trials (ddof 1), NaN for one trial.
    """

    mean: BySpace[NDArray[np.float64]]
    sem: BySpace[NDArray[np.float64]]

    __repr__ = brief

    def at(self, places: list[int]) -> BlockResponses:
        """Take those at some places of the first axis."""
        return BlockResponses(
            mean={space: values[places] for space, values in self.mean.items()},
            sem={space: values[places] for space, values in self.sem.items()},
        )


@dataclass(frozen=True)
class Trajectory(BlockResponses):
    """The evoked response (50–200 ms) block by block, and the rate before it.

    Attributes
    ----------
    baseline : dict of Space to numpy.ndarray
        (n_blocks,) mean rate of the first 45 ms, events/s.
    """

    baseline: BySpace[NDArray[np.float64]]

    __repr__ = brief


@dataclass(frozen=True)
class ShownPsths:
    """The mean PSTHs of one thread that tables need, (200 ms,) events/s each.

    Attributes
    ----------
    of_block : dict of int to numpy.ndarray
        0-based block, one of `FIGURE_5A_BLOCKS` → its PSTH, see `pad_blocks`.
    best : numpy.ndarray
        Of the block of largest evoked response, see `best_block`.
    """

    of_block: dict[int, NDArray[np.float64]]
    best: NDArray[np.float64]

    __repr__ = brief

    @property
    def rise(self) -> NDArray[np.float64]:
        """The best minus the first."""
        return self.best - self.of_block[0]

    @classmethod
    def among(cls, psths: NDArray[np.float64], responses: NDArray[np.float64]) -> ShownPsths:
        """Choose from (n_blocks, 200 ms) PSTHs by the (n_blocks,) evoked responses.

        What is chosen is copied: an experiment has ten times as much.
        """
        shown = {b: pad_blocks(psths, b + 1)[b].copy() for b in FIGURE_5A_BLOCKS}
        return cls(shown, psths[best_block(responses)].copy())


@dataclass(frozen=True)
class EvolutionSummary:
    """What the tables keep of one experiment, of its blocks after the last-block rule.

    Attributes
    ----------
    info : ExperimentInfo
        What the experiment was.
    trajectory : Trajectory
        Evoked responses and baselines, (n_blocks,).
    windows : BlockResponses
        (42 windows of Extended Figure 4C, n_blocks).
    psths : dict of Space to ShownPsths
        Mean PSTHs of a few blocks.
    tests : dict
        ``t_…`` and ``p_…`` of `block_tests`.
    activations : dict
        ``maxrsp_0_mean`` … of `block_activations`.
    references : dict of Space to numpy.ndarray
        (n_blocks,) mean response to the reference pictures shown in each block, events/s; NaN where
        none was shown.
    """

    info: ExperimentInfo
    trajectory: Trajectory
    windows: BlockResponses
    psths: BySpace[ShownPsths]
    tests: dict[str, float]
    activations: dict[str, float]
    references: BySpace[NDArray[np.float64]]

    __repr__ = brief

    @property
    def n_blocks(self) -> int:
        """Number of blocks kept ("blockN")."""
        return len(self.trajectory.mean[Space.DEEPSIM])

    @property
    def normalizer(self) -> float:
        """Largest block-mean response of both threads, events/s; the padding never exceeds it."""
        return float(max(mean.max() for mean in self.trajectory.mean.values()))


def summarize(experiment: Experiment) -> EvolutionSummary:
    """Reduce an experiment to what the tables of Figures 3, 4, 5 and Extended 4 need.

    Parameters
    ----------
    experiment : Experiment
        One paired evolution.

    Returns
    -------
    EvolutionSummary

    Raises
    ------
    MalformedDataError
        If it has no blocks, no spikes, or a block other than the last one without images.
    """
    recorded = recorded_trials(experiment)
    n_blocks = count_kept_blocks(experiment)
    trials = {space: t.first(n_blocks) for space, t in recorded.items()}
    if n_blocks == 0:
        raise MalformedDataError(f"experiment {experiment.info.expi} holds no block")
    _warn_of_little(experiment.info.expi, trials)
    trajectory = block_trajectory(trials)
    summary = EvolutionSummary(
        info=experiment.info,
        trajectory=trajectory,
        windows=block_windows(trials),
        psths={
            space: ShownPsths.among(t.block_means(t.psth).T, trajectory.mean[space])
            for space, t in trials.items()
        },
        tests=block_tests(trials),
        activations=block_activations(recorded),
        references={space: _reference_means(experiment, space) for space in Space},
    )
    if summary.normalizer == 0:
        raise MalformedDataError("no spike was recorded after any image")
    return summary


def _warn_of_little(expi: int, trials: BySpace[Trials]) -> None:
    """Say of an experiment that its tests are defined, but rest on next to nothing."""
    n_blocks = len(trials[Space.DEEPSIM].block_sizes)
    if n_blocks == 3:
        logger.warning(
            "experiment %d has 3 blocks: its best two are its first two, so that t = 0 and p = 1",
            expi,
        )
    if min(size for t in trials.values() for size in t.block_sizes) == 1:
        logger.warning(
            "experiment %d has a block of one image: it has no standard error, and tests count it",
            expi,
        )


def _reference_means(experiment: Experiment, space: Space) -> NDArray[np.float64]:
    blocks = experiment.thread(space).references[: count_kept_blocks(experiment)]
    means = [
        block.psth[slice(*EVOKED_MS)].mean() if block.n_images else np.nan for block in blocks
    ]
    missing = count_kept_blocks(experiment) - len(means)
    return np.array([*means, *[np.nan] * missing])


def kept_trials(experiment: Experiment) -> BySpace[Trials]:
    """Return the trials of both spaces in the blocks that the last-block rule keeps."""
    n_blocks = count_kept_blocks(experiment)
    return {space: t.first(n_blocks) for space, t in recorded_trials(experiment).items()}


def recorded_trials(experiment: Experiment) -> BySpace[Trials]:
    """Return the trials of both spaces in all blocks."""
    return {space: Trials.of(experiment.thread(space).blocks) for space in Space}


def count_kept_blocks(experiment: Experiment) -> int:
    """Count the blocks that remain when a last block with too few images in a thread is dropped."""
    last = [thread.blocks[-1].n_images for thread in experiment.threads if thread.blocks]
    return experiment.n_blocks - (bool(last) and min(last) < MIN_IMAGES_LAST_BLOCK)


def block_trajectory(trials: BySpace[Trials]) -> Trajectory:
    """Evoked response and baseline of both spaces, block by block."""
    evoked = {space: t.responses() for space, t in trials.items()}
    return Trajectory(
        mean={space: t.block_means(evoked[space]) for space, t in trials.items()},
        sem={space: t.block_sems(evoked[space]) for space, t in trials.items()},
        baseline={space: t.block_means(t.responses(BASELINE_MS)) for space, t in trials.items()},
    )


def block_windows(
    trials: BySpace[Trials], windows: Sequence[Window] = EXTENDED_4C_WINDOWS
) -> BlockResponses:
    """Response of both spaces in many windows, (n_windows, n_blocks), from one pass over trials."""
    rates = {space: t.window_means(windows) for space, t in trials.items()}
    return BlockResponses(
        mean={space: t.block_means(rates[space]) for space, t in trials.items()},
        sem={space: t.block_sems(rates[space]) for space, t in trials.items()},
    )


def block_psths(trials: BySpace[Trials]) -> BlockResponses:
    """Mean and standard error over the trials of each block, (200 ms, n_blocks) (Figure 2D)."""
    return BlockResponses(
        mean={space: t.block_means(t.psth) for space, t in trials.items()},
        sem={space: t.block_sems(t.psth) for space, t in trials.items()},
    )


def block_tests(trials: BySpace[Trials]) -> dict[str, float]:
    """Student tests between the first, best and last two blocks of both spaces.

    All are two-sided with pooled variance, on the responses of single images. The best two blocks
    begin at the block m of largest mean; m is moved to n − 3 when it is one of the last two, as in
    the published tables. A positive t means that the first named is larger.

    Returns
    -------
    dict
        ``t_endinit_0``, ``p_endinit_0``, … in the order of the published table, and the two spaces
        at their first blocks, ``t_FCBG_init_01``, which no published table holds; NaN below 3
        blocks.
    """
    responses = {space: t.responses() for space, t in trials.items()}
    blocks = {space: t.per_block(responses[space]) for space, t in trials.items()}
    groups = {
        (space, name): np.concatenate([blocks[space][i] for i in chosen])
        for space, t in trials.items()
        for name, chosen in compared_blocks(t.block_means(responses[space])).items()
    }
    results: dict[str, float] = {}
    for name, (first, second) in COMPARISONS.items():
        test = student(groups.get(first, ()), groups.get(second, ()))
        results |= {f"t_{name}": float(test.t), f"p_{name}": float(test.p)}
    return results


def best_block(means: ArrayLike) -> NDArray[np.intp]:
    """Return the first block whose mean is the largest, ties within rounding included.

    Parameters
    ----------
    means : array_like
        (..., n_blocks) block means.

    Returns
    -------
    numpy.ndarray of int
        (...) 0-based block: the first within a relative `TIE` of the maximum.
        Tests, attribution and activations all take this block.
    """
    values = np.asarray(means, dtype=np.float64)
    largest = values.max(axis=-1, keepdims=True)
    return np.asarray(np.argmax(values >= largest - TIE * abs(largest), axis=-1))


def compared_blocks(means: ArrayLike) -> dict[str, tuple[int, int]]:
    """Return the 0-based first, best and last two blocks of a thread; none below three blocks.

    Parameters
    ----------
    means : array_like
        (n_blocks,) mean responses. The best two blocks begin at the largest, see `block_tests`.
    """
    n = len(np.asarray(means))
    if n < 3:
        return {}
    best = int(best_block(means))
    best = n - 3 if best >= n - 2 else best
    return {"init": (0, 1), "max": (best, best + 1), "end": (n - 2, n - 1)}


def block_activations(trials: BySpace[Trials]) -> dict[str, float]:
    """Response of single blocks: the best, the last and the first of each thread.

    Here, as in the published table, the last-block rule is applied to each thread on its own and
    the best block may be any.

    Parameters
    ----------
    trials : dict of Space to Trials
        Of all recorded blocks.

    Returns
    -------
    dict
        ``maxrsp_0_mean``, ``maxrsp_0_std`` (ddof 0), ``maxrsp_0_sem`` (ddof 1), and so on.
    """
    chosen = {}
    for space, recorded in trials.items():
        sizes = recorded.block_sizes
        kept = recorded.first(len(sizes) - int(sizes[-1] < MIN_IMAGES_LAST_BLOCK))
        responses = kept.responses()
        blocks = kept.per_block(responses)
        best = int(best_block(kept.block_means(responses)))
        for name, block in (("maxrsp", best), ("endrsp", -1), ("initrsp", 0)):
            chosen[name, space] = blocks[block]
    return {
        f"{name}_{space.thread}_{statistic}": value
        for name in ("maxrsp", "endrsp", "initrsp")
        for space in Space
        for statistic, value in _moments(chosen[name, space]).items()
    }


def time_constants(trajectory: Trajectory) -> dict[str, int]:
    """Blocks that each thread takes to climb, by counting (Figure 4D; no curve is fitted).

    With r the block means and b the baseline, y = r − b and θ = 0.8 max(y): ``tc0`` is the 0-based
    index of the first block with y > θ (0 if there is none), ``tc_cnt`` the number of blocks with
    y < θ. b is the mean baseline rate (no suffix), 0 (``_bsl0``) or the first block
    (``_bslinit``).

    Parameters
    ----------
    trajectory : Trajectory
        Neither padded nor smoothed.

    Returns
    -------
    dict
        ``FC_tc0``, ``FC_tc_cnt``, ``BG_tc0``, … then the same with each suffix.
    """
    counts = {}
    for suffix in TIME_CONSTANT_BASELINES:
        for space in Space:
            rate, spontaneous = trajectory.mean[space], trajectory.baseline[space].mean()
            baseline = {"": spontaneous, "_bsl0": 0.0, "_bslinit": rate[0]}[suffix]
            rise = rate - baseline
            threshold = RISE_FRACTION * rise.max()
            counts[f"{space.prefix}_tc0{suffix}"] = int(np.argmax(rise > threshold))
            counts[f"{space.prefix}_tc_cnt{suffix}"] = int(np.sum(rise < threshold))
    return counts


def attributed_fractions(psth_rise: NDArray[np.float64], bin_ms: int) -> NDArray[np.float64]:
    """Share of the rise in rate that falls into each time bin (Extended Figure 4B).

    Parameters
    ----------
    psth_rise : numpy.ndarray
        (..., 200 ms) best minus first block, events/s.
    bin_ms : int
        Width of the bins, a divisor of 200.

    Returns
    -------
    numpy.ndarray
        (..., 200 // bin_ms) shares that sum to 1, those before 50 ms included. NaN where the first
        block is the best one, for then there is no rise to share.
    """
    bins = psth_rise.reshape(*psth_rise.shape[:-1], -1, bin_ms).mean(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return bins / bins.sum(axis=-1, keepdims=True)


def pad_blocks(values: NDArray[np.float64], n_blocks: int) -> NDArray[np.float64]:
    """Extend a session to `n_blocks` by repeating the mean of its last two blocks.

    Parameters
    ----------
    values : numpy.ndarray
        (blocks, ...) anything block by block, SEM included.
    n_blocks : int
        Length to reach; a longer session is returned as it is.

    Returns
    -------
    numpy.ndarray
        (max(blocks, n_blocks), ...)
    """
    missing = n_blocks - len(values)
    if missing <= 0:
        return values
    padding = np.broadcast_to(values[-2:].mean(axis=0), (missing, *values.shape[1:]))
    return np.concatenate([values, padding])


def _moments(values: NDArray[np.float64]) -> dict[str, float]:
    sem = values.std(ddof=1) / np.sqrt(values.size) if values.size > 1 else np.nan
    return {"mean": float(values.mean()), "std": float(values.std()), "sem": float(sem)}

"""Statistics of one paired evolution: trajectories, PSTHs, tests, time constants, attribution.

Throughout, thread 0 (FC) evolves in DeePSim and thread 1 (BG) in BigGAN. Arrays over the four
slices keep the order of the published files: FC mean, BG mean, FC SEM, BG SEM.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from core.errors import MalformedDataError, UsageError
from core.source_tables.registry import EXTENDED_4C_WINDOWS
from neuro_data_analysis.matlab.values import PSTH_MS
from neuro_data_analysis.neural_data_lib import Block, Experiment, ExperimentInfo

Window = tuple[int, int]

#: Evoked response: mean rate 50 to 200 ms after image onset (Methods).
EVOKED_MS: Window = (50, 200)

#: Baseline: mean rate in the first 45 ms, before the response arrives (Methods).
BASELINE_MS: Window = (0, 45)

#: A last block with fewer images than this in either thread is dropped from both.
MIN_IMAGES_LAST_BLOCK = 10

#: Fraction of the maximal rise at which an evolution counts as having climbed (Figure 4D).
RISE_FRACTION = 0.8

#: Baselines of the time constants: suffix of the column → what is subtracted.
TIME_CONSTANT_BASELINES = ("", "_bsl0", "_bslinit")

#: Comparisons of Student tests: name → (thread, blocks) against (thread, blocks).
COMPARISONS = {
    "endinit_0": ((0, "end"), (0, "init")),
    "endinit_1": ((1, "end"), (1, "init")),
    "maxinit_0": ((0, "max"), (0, "init")),
    "maxinit_1": ((1, "max"), (1, "init")),
    "maxend_0": ((0, "max"), (0, "end")),
    "maxend_1": ((1, "max"), (1, "end")),
    "FCBG_end_01": ((0, "end"), (1, "end")),
    "FCBG_max_01": ((0, "max"), (1, "max")),
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

    @classmethod
    def of(cls, blocks: Sequence[Block]) -> Trials:
        """Join the presentations of some blocks."""
        psths = [block.psth for block in blocks] or [np.zeros((PSTH_MS, 0))]
        sizes = np.array([block.n_images for block in blocks], dtype=np.intp)
        return cls(np.concatenate(psths, axis=1), sizes)

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
        # The mean over [start, stop) is a difference of cumulative sums: one pass for all windows.
        chosen = [_checked(window) for window in windows]
        starts, stops = np.array(chosen).T
        so_far = np.zeros((PSTH_MS + 1, self.psth.shape[1]))
        np.cumsum(self.psth, axis=0, out=so_far[1:])
        return (so_far[stops] - so_far[starts]) / (stops - starts)[:, np.newaxis]

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
class EvolutionSummary:
    """What the tables keep of one experiment, of its blocks after the last-block rule.

    Attributes
    ----------
    info : ExperimentInfo
        What the experiment was.
    n_blocks : int
        Blocks kept ("blockN").
    trajectory : numpy.ndarray
        (n_blocks, 6) events/s: FC mean, BG mean, FC SEM, BG SEM, FC baseline, BG baseline.
    windows : numpy.ndarray
        (42 windows of Extended Figure 4C, n_blocks, 4 slices) events/s.
    first_psth, late_psth : numpy.ndarray
        (2 threads, 200 ms) mean PSTH of the first and of the late shown block (index 55, padded).
    psth_rise : numpy.ndarray
        (2 threads, 200 ms) mean PSTH of the best block minus that of the first block, events/s.
    tests : dict
        ``t_…`` and ``p_…`` of `block_tests`.
    activations : dict
        ``maxrsp_0_mean`` … of `block_activations`.
    time_constants : dict
        ``FC_tc0`` … of `time_constants`.
    """

    info: ExperimentInfo
    n_blocks: int
    trajectory: NDArray[np.float64]
    windows: NDArray[np.float64]
    first_psth: NDArray[np.float64]
    late_psth: NDArray[np.float64]
    psth_rise: NDArray[np.float64]
    tests: dict[str, float]
    activations: dict[str, float]
    time_constants: dict[str, int]

    @property
    def normalizer(self) -> float:
        """Largest block-mean response of both threads, events/s; the padding never exceeds it."""
        return float(self.trajectory[:, :2].max())


def summarize(experiment: Experiment, late_block: int) -> EvolutionSummary:
    """Reduce an experiment to what the tables of Figures 4, 5 and Extended 4 need.

    Parameters
    ----------
    experiment : Experiment
        One paired evolution.
    late_block : int
        0-based block whose PSTH Figure 5A shows; beyond the last block, the padding.

    Returns
    -------
    EvolutionSummary

    Raises
    ------
    MalformedDataError
        If it has no blocks, no spikes, or a block other than the last one without images.
    """
    n_blocks = count_kept_blocks(experiment)
    if n_blocks == 0:
        raise MalformedDataError(f"experiment {experiment.info.expi} holds no block")
    trials = [Trials.of(thread.blocks[:n_blocks]) for thread in experiment.threads]
    trajectory = block_trajectory(trials)
    if trajectory[:, :2].max() == 0:
        raise MalformedDataError("no spike was recorded after any image")
    psths = np.stack([t.block_means(t.psth).T for t in trials])  # (thread, block, ms)
    best = psths[:, :, slice(*EVOKED_MS)].mean(axis=2).argmax(axis=1)
    return EvolutionSummary(
        info=experiment.info,
        n_blocks=n_blocks,
        trajectory=trajectory,
        windows=block_windows(trials),
        first_psth=psths[:, 0],
        late_psth=np.stack([pad_blocks(psth, late_block + 1)[late_block] for psth in psths]),
        psth_rise=psths[[0, 1], best] - psths[:, 0],
        tests=block_tests(trials),
        activations=block_activations(experiment),
        time_constants=time_constants(trajectory),
    )


def count_kept_blocks(experiment: Experiment) -> int:
    """Count the blocks that remain when a last block with too few images in a thread is dropped."""
    last = [thread.blocks[-1].n_images for thread in experiment.threads if thread.blocks]
    return experiment.n_blocks - (bool(last) and min(last) < MIN_IMAGES_LAST_BLOCK)


def block_trajectory(trials: Sequence[Trials]) -> NDArray[np.float64]:
    """Evoked response and baseline of both threads, block by block.

    Returns
    -------
    numpy.ndarray
        (n_blocks, 6) events/s: FC mean, BG mean, FC SEM, BG SEM, FC baseline, BG baseline.
    """
    evoked = [t.responses() for t in trials]
    baseline = [t.responses(BASELINE_MS) for t in trials]
    columns = [t.block_means(r) for t, r in zip(trials, evoked, strict=True)]
    columns += [t.block_sems(r) for t, r in zip(trials, evoked, strict=True)]
    columns += [t.block_means(r) for t, r in zip(trials, baseline, strict=True)]
    return np.stack(columns, axis=1)


def block_windows(
    trials: Sequence[Trials], windows: Sequence[Window] = EXTENDED_4C_WINDOWS
) -> NDArray[np.float64]:
    """Response of both threads in many windows from one pass over the trials.

    Returns
    -------
    numpy.ndarray
        (n_windows, n_blocks, 4 slices) events/s; the SEM is that of the window means of the trials.
    """
    responses = [t.window_means(windows) for t in trials]
    slices = [t.block_means(r) for t, r in zip(trials, responses, strict=True)]
    slices += [t.block_sems(r) for t, r in zip(trials, responses, strict=True)]
    return np.stack(slices, axis=-1)


def block_psths(experiment: Experiment) -> NDArray[np.float64]:
    """Mean and SEM over the trials of each kept block, per ms (Figure 2D).

    Returns
    -------
    numpy.ndarray
        (n_blocks, 4 slices, 200 ms) events/s.
    """
    n_blocks = count_kept_blocks(experiment)
    trials = [Trials.of(thread.blocks[:n_blocks]) for thread in experiment.threads]
    slices = [t.block_means(t.psth) for t in trials] + [t.block_sems(t.psth) for t in trials]
    return np.stack(slices).transpose(2, 0, 1)


def block_tests(trials: Sequence[Trials]) -> dict[str, float]:
    """Student tests between the first, best and last two blocks of both threads.

    All are two-sided with pooled variance, on the responses of single images. The best two blocks
    begin at the block m of largest mean; m is moved to n − 3 when it is one of the last two, as in
    the published tables. A positive t means that the first named is larger.

    Returns
    -------
    dict
        ``t_endinit_0``, ``p_endinit_0``, … in the order of the published table; NaN below 3 blocks.
    """
    responses = [t.per_block(t.responses()) for t in trials]
    groups = {
        (thread, name): np.concatenate([blocks[i] for i in chosen])
        for thread, blocks in enumerate(responses)
        for name, chosen in compared_blocks([block.mean() for block in blocks]).items()
    }
    results: dict[str, float] = {}
    for name, (first, second) in COMPARISONS.items():
        t, p = pooled_t_test(groups.get(first, ()), groups.get(second, ()))
        results |= {f"t_{name}": t, f"p_{name}": p}
    return results


def compared_blocks(means: ArrayLike) -> dict[str, tuple[int, int]]:
    """Return the 0-based first, best and last two blocks of a thread; none below three blocks.

    Parameters
    ----------
    means : array_like
        (n_blocks,) mean responses; the best two begin at the largest, moved to n − 3 when it is one
        of the last two.
    """
    n = len(np.asarray(means))
    if n < 3:
        return {}
    best = int(np.argmax(means))
    best = n - 3 if best >= n - 2 else best
    return {"init": (0, 1), "max": (best, best + 1), "end": (n - 2, n - 1)}


def pooled_t_test(first: ArrayLike, second: ArrayLike) -> tuple[float, float]:
    """Two-sided Student test with pooled variance; NaN where it is not defined."""
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if min(a.size, b.size) < 1 or a.size + b.size < 3 or max(np.ptp(a), np.ptp(b)) == 0:
        return np.nan, np.nan
    t, p = stats.ttest_ind_from_stats(*_sample(a), *_sample(b))
    return float(t), float(p)


def block_activations(experiment: Experiment) -> dict[str, float]:
    """Response of single blocks: the best, the last and the first of each thread.

    Here, as in the published table, the last-block rule is applied to each thread on its own and
    the best block may be any.

    Returns
    -------
    dict
        ``maxrsp_0_mean``, ``maxrsp_0_std`` (ddof 0), ``maxrsp_0_sem`` (ddof 1), and so on.
    """
    chosen = {}
    for thread, evolution in enumerate(experiment.threads):
        trials = Trials.of(evolution.blocks)
        blocks = trials.per_block(trials.responses())
        if len(blocks[-1]) < MIN_IMAGES_LAST_BLOCK:
            blocks = blocks[:-1]
        best = int(np.argmax([block.mean() for block in blocks]))
        for name, block in (("maxrsp", best), ("endrsp", -1), ("initrsp", 0)):
            chosen[f"{name}_{thread}"] = blocks[block]
    return {
        f"{name}_{thread}_{statistic}": value
        for name in ("maxrsp", "endrsp", "initrsp")
        for thread in (0, 1)
        for statistic, value in _moments(chosen[f"{name}_{thread}"]).items()
    }


def time_constants(trajectory: NDArray[np.float64]) -> dict[str, int]:
    """Blocks that each thread takes to climb, by counting (Figure 4D; no curve is fitted).

    With r the block means and b the baseline, y = r − b and θ = 0.8 max(y): ``tc0`` is the 0-based
    index of the first block with y > θ (0 if there is none), ``tc_cnt`` the number of blocks with
    y < θ. b is the mean baseline rate (no suffix), 0 (``_bsl0``) or the first block
    (``_bslinit``).

    Parameters
    ----------
    trajectory : numpy.ndarray
        (n_blocks, 6), see `block_trajectory`; neither padded nor smoothed.

    Returns
    -------
    dict
        ``FC_tc0``, ``FC_tc_cnt``, ``BG_tc0``, … then the same with each suffix.
    """
    counts = {}
    for suffix in TIME_CONSTANT_BASELINES:
        for thread, space in enumerate(("FC", "BG")):
            rate, spontaneous = trajectory[:, thread], trajectory[:, 4 + thread].mean()
            baseline = {"": spontaneous, "_bsl0": 0.0, "_bslinit": rate[0]}[suffix]
            rise = rate - baseline
            threshold = RISE_FRACTION * rise.max()
            counts[f"{space}_tc0{suffix}"] = int(np.argmax(rise > threshold))
            counts[f"{space}_tc_cnt{suffix}"] = int(np.sum(rise < threshold))
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
        Length to reach; a longer session stays as it is.

    Returns
    -------
    numpy.ndarray
        (max(blocks, n_blocks), ...)
    """
    missing = max(n_blocks - len(values), 0)
    padding = np.broadcast_to(values[-2:].mean(axis=0), (missing, *values.shape[1:]))
    return np.concatenate([values, padding])


def _sample(values: NDArray[np.float64]) -> tuple[float, float, int]:
    """Mean, standard deviation (ddof 1; one value has no spread of its own) and size."""
    return values.mean(), values.std(ddof=1) if values.size > 1 else 0.0, values.size


def _moments(values: NDArray[np.float64]) -> dict[str, float]:
    sem = values.std(ddof=1) / np.sqrt(values.size) if values.size > 1 else np.nan
    return {"mean": float(values.mean()), "std": float(values.std()), "sem": float(sem)}


def _checked(window: Window) -> Window:
    start, stop = window
    if not 0 <= start < stop <= PSTH_MS:
        raise UsageError(f"time window {window} does not lie within 0 to {PSTH_MS} ms")
    return window

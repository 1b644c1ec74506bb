"""The population of paired evolutions that the simulator gives spikes to.

Names, channels and spaces are those of the 170 real experiments. What a site does is drawn from
`simulation_assumptions`: how its response unfolds in time, which of its two threads climbs, how
fast and how far.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import scipy
from numpy.typing import NDArray

from core.published import EXAMPLE_EXPI
from neuro_data_analysis.evolution.stats import EVOKED_MS, MIN_IMAGES_LAST_BLOCK, RISE_FRACTION
from neuro_data_analysis.experiment_list import listed_experiments
from neuro_data_analysis.matlab.values import PSTH_MS
from neuro_data_analysis.neural_data_utils import SHORT_BLOCKS
from neuro_data_analysis.simulation.assumptions import (
    AREA_MODELS,
    BLOCK_SIZES,
    CLEAR_T,
    CLIMB_LOG_SD,
    DELAY_SD_MS,
    EXAMPLE_CLIMB_BLOCKS,
    EXAMPLE_RATES,
    EXAMPLE_SPONTANEOUS_RATE,
    FIRST_BLOCK_IMAGES,
    FIRST_BLOCK_REPEATS,
    IMAGE_CV,
    KNOWN_BLOCK_SIZES,
    KNOWN_BLOCKS,
    KNOWN_FIRST_BLOCK,
    KNOWN_LAST_BLOCK,
    KNOWN_OUTCOMES,
    LATE_SHARE_LOGIT_SD,
    LENGTH_RANK_SD,
    LEVELS,
    OUTCOMES,
    PEAK_LOG_SD,
    PEAK_RATE_LIMITS,
    SESSION_BLOCKS,
    SESSION_BLOCKS_LIMITS,
    SHORT_AND_WRONG_SPACE,
    SHORT_SESSION_BLOCKS,
    SHORT_SESSIONS,
    SPONTANEOUS_CONCENTRATION,
    START_CORRELATION,
    START_IMAGE_CV,
    TINY_LAST_BLOCK_CHANCE,
    UNFINISHED_LAST_BLOCK_CHANCE,
    WEAK_T,
    AreaModel,
    PlannedSuccess,
    StartLevels,
)


@dataclass(frozen=True)
class ThreadPlan:
    """What one thread of a simulated experiment does.

    Attributes
    ----------
    climb : {"clear", "weak", "none"}
        How far it climbs.
    first_rate, last_rate : float
        Expected response (50-200 ms, spontaneous rate included) of the first and of the last block
        that counts, events/s.
    climb_blocks : float
        Time constant of the climb, blocks.
    first_late_share, gained_late_share : float
        Share of the late hump in the evoked response of the first block and in the gain.
    """

    climb: str
    first_rate: float
    last_rate: float
    climb_blocks: float
    first_late_share: float
    gained_late_share: float

    def progress(self, n_blocks: int) -> NDArray[np.float64]:
        """Share of the gain that each block has: 0 in the first, 1 in the last, exponential."""
        return progress(self.climb_blocks, n_blocks)

    def blocks_to_climb(self, n_blocks: int) -> int:
        """Index of the first block above 0.8 of the gain, as Figure 4D counts, without noise."""
        return int(np.argmax(self.progress(n_blocks) > RISE_FRACTION))


@dataclass(frozen=True)
class ExperimentPlan:
    """One simulated experiment, before its spikes.

    Attributes
    ----------
    expi : int
        1-based number.
    listed : mapping
        Its row of the list of real experiments.
    area : AreaModel
        How sites of its area respond.
    threads : tuple of ThreadPlan
        DeePSim, BigGAN.
    block_sizes : numpy.ndarray of int
        (2 threads, recorded blocks) evolved images.
    n_counted : int
        Blocks that remain after the last-block rule.
    spontaneous_rate : float
        Events/s without a stimulus.
    delay_ms : float
        By how much the site's response comes later than the model of its area.
    seed : tuple of int
        Of the generator that draws its spikes.
    """

    expi: int
    listed: Mapping[str, Any]
    area: AreaModel
    threads: tuple[ThreadPlan, ThreadPlan]
    block_sizes: NDArray[np.intp]
    n_counted: int
    spontaneous_rate: float
    delay_ms: float
    seed: tuple[int, ...]

    @property
    def n_blocks(self) -> int:
        """Recorded blocks, a last one too small to count included."""
        return self.block_sizes.shape[1]

    def without_climb(self) -> ExperimentPlan:
        """Return the same experiment with the responses of the first block in all blocks."""
        first, second = (
            replace(t, climb="none", last_rate=t.first_rate, gained_late_share=t.first_late_share)
            for t in self.threads
        )
        return replace(self, threads=(first, second))

    def progress(self, thread: int) -> NDArray[np.float64]:
        """Share of a thread's gain that each recorded block has, (n_blocks,)."""
        counted = self.threads[thread].progress(self.n_counted)
        return np.pad(counted, (0, self.n_blocks - self.n_counted), mode="edge")

    def image_cv(self, thread: int) -> NDArray[np.float64]:
        """Return how evoked responses vary from image to image in each recorded block, relative."""
        climbs = self.threads[thread].climb != "none"
        return START_IMAGE_CV + climbs * (IMAGE_CV - START_IMAGE_CV) * self.progress(thread)

    def evoked_rates(self, thread: int, time_ms: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the expected evoked rate of a thread, (n_blocks, len(time_ms)) events/s."""
        plan = self.threads[thread]
        humps = _humps_of_unit_response(self.area, self.delay_ms, time_ms)
        first = (plan.first_rate - self.spontaneous_rate) * _split(plan.first_late_share) @ humps
        gain = (plan.last_rate - plan.first_rate) * _split(plan.gained_late_share) @ humps
        return first + np.outer(self.progress(thread), gain)

    def latency_ms(self, thread: int) -> float:
        """When the evoked response of the last block that counts reaches half its maximum."""
        time_ms = np.arange(0, PSTH_MS, 0.1)
        evoked = self.evoked_rates(thread, time_ms)[self.n_counted - 1]
        return float(time_ms[np.argmax(evoked >= evoked.max() / 2)])

    def natural_course(self, time_ms: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how the response to natural images unfolds, with a mean of 1 over 50-200 ms."""
        late_share = float(np.mean([thread.first_late_share for thread in self.threads]))
        return _split(late_share) @ _humps_of_unit_response(self.area, self.delay_ms, time_ms)


def plan_population(seed: int) -> tuple[ExperimentPlan, ...]:
    """Decide what each of the 170 experiments does.

    Parameters
    ----------
    seed : int
        The same seed gives the same population; experiments do not depend on how many are then
        simulated.

    Returns
    -------
    tuple of ExperimentPlan
        Ascending by Expi.
    """
    listed = listed_experiments()
    rng = np.random.default_rng([seed])
    counted = _draw_session_lengths(listed, rng)
    outcomes = _draw_outcomes(listed, counted, rng)
    rows = zip(listed.index.tolist(), listed.to_dict("records"), strict=True)
    return tuple(
        _plan_experiment(expi, row, counted[expi], outcomes[expi], seed) for expi, row in rows
    )


def progress(climb_blocks: float, n_blocks: int) -> NDArray[np.float64]:
    """Saturating climb from 0 in the first block to 1 in the last, (n_blocks,).

    1 − exp(−k/τ), divided by its value in the last block, with τ the time constant `climb_blocks`.
    """
    climbed = -np.expm1(-np.arange(n_blocks) / climb_blocks)
    return climbed / climbed[-1]


def _draw_session_lengths(listed: pd.DataFrame, rng: np.random.Generator) -> dict[int, int]:
    """Draw the number of blocks that count; short sessions are as many as published."""
    mean, sd = np.array([SESSION_BLOCKS[area] for area in listed["visual_area"]]).T
    lengths = np.rint(rng.normal(mean, sd)).clip(*SESSION_BLOCKS_LIMITS)
    counted = dict(zip(listed.index, lengths.astype(int), strict=True)) | KNOWN_BLOCKS
    otherwise_valid = listed[(listed["bsl_unstable"] == 0) & (listed["fc6_BigGAN_pair"] == 1)]
    short = [SHORT_AND_WRONG_SPACE]
    for area, n_short in SHORT_SESSIONS.items():
        candidates = otherwise_valid.index[otherwise_valid["visual_area"] == area]
        candidates = candidates.difference([*KNOWN_BLOCKS, *KNOWN_OUTCOMES])
        short += rng.choice(candidates, n_short, replace=False).tolist()
    for expi in short:
        counted[expi] = int(rng.integers(*SHORT_SESSION_BLOCKS))
    return counted


def _draw_outcomes(
    listed: pd.DataFrame, counted: Mapping[int, int], rng: np.random.Generator
) -> dict[int, PlannedSuccess]:
    """Deal the outcomes of each area to its valid experiments, and draw those of the others."""
    is_long = np.array([counted[expi] > SHORT_BLOCKS for expi in listed.index])
    valid = is_long & (listed["bsl_unstable"] == 0) & (listed["fc6_BigGAN_pair"] == 1)
    outcomes: dict[int, PlannedSuccess] = {}
    for area, how_many in OUTCOMES.items():
        in_area = listed.index[listed["visual_area"] == area]
        known = {expi: KNOWN_OUTCOMES[expi] for expi in in_area if expi in KNOWN_OUTCOMES}
        left = Counter(how_many) - Counter(known.values())
        dealt = rng.permutation(len(list(left.elements())))
        by_climbs = sorted((list(left.elements())[i] for i in dealt), key=_n_climbing)
        unknown = [expi for expi in in_area if valid[expi] and expi not in known]
        rank = {e: counted[e] + LENGTH_RANK_SD * rng.standard_normal() for e in unknown}
        by_length = sorted(unknown, key=lambda expi: rank[expi])
        outcomes |= known | dict(zip(by_length, by_climbs, strict=True))
        others = [expi for expi in in_area if not valid[expi]]
        drawn = rng.choice(len(how_many), len(others), p=_shares(how_many.values()))
        outcomes |= {e: list(how_many)[i] for e, i in zip(others, drawn, strict=True)}
    return outcomes


def _n_climbing(outcome: PlannedSuccess) -> int:
    return sum(climb != "none" for climb in outcome)


def _plan_experiment(
    expi: int, listed: dict[Any, Any], n_counted: int, outcome: PlannedSuccess, seed: int
) -> ExperimentPlan:
    rng = np.random.default_rng([seed, expi])
    area = AREA_MODELS[listed["visual_area"]]
    sizes = _draw_block_sizes(expi, listed, n_counted, rng)
    threads = _draw_threads(listed["visual_area"], outcome, sizes, n_counted, rng)
    weaker = min(rate for thread in threads for rate in (thread.first_rate, thread.last_rate))
    spontaneous = weaker * _draw_share(area.spontaneous_share, SPONTANEOUS_CONCENTRATION, rng)
    if expi == EXAMPLE_EXPI:
        threads, spontaneous = _as_published(threads), EXAMPLE_SPONTANEOUS_RATE
    return ExperimentPlan(
        expi=expi,
        listed=listed,
        area=area,
        threads=threads,
        block_sizes=sizes,
        n_counted=n_counted,
        spontaneous_rate=spontaneous,
        delay_ms=DELAY_SD_MS * rng.standard_normal(),
        seed=(seed, expi, 1),
    )


def _draw_block_sizes(
    expi: int, listed: Mapping[str, Any], n_counted: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Draw the evolved images of each block; a block too small to count comes on top."""
    ending = rng.random()
    usual = [_usual_block_size(listed[name], listed["expdate"]) for name in ("space1", "space2")]
    later = np.array(KNOWN_BLOCK_SIZES.get(expi, usual))
    repeats = rng.choice(len(FIRST_BLOCK_REPEATS), 2, p=_shares(FIRST_BLOCK_REPEATS))
    sizes = np.tile(later[:, np.newaxis], n_counted)
    sizes[:, 0] = KNOWN_FIRST_BLOCK.get(expi, FIRST_BLOCK_IMAGES + repeats)
    last = sizes[:, -1]
    if ending < TINY_LAST_BLOCK_CHANCE:
        last = rng.integers(1, MIN_IMAGES_LAST_BLOCK, 2)
    elif ending < TINY_LAST_BLOCK_CHANCE + UNFINISHED_LAST_BLOCK_CHANCE:
        last = rng.integers(MIN_IMAGES_LAST_BLOCK, later)
    last = np.array(KNOWN_LAST_BLOCK.get(expi, last))
    counts = last.min() >= MIN_IMAGES_LAST_BLOCK
    return np.column_stack([sizes[:, :-1] if counts else sizes, last])


def _usual_block_size(space: str, date: str) -> int:
    """Return the images of a block of a space at a date (YYYY-MM-DD)."""
    return [size for since, size in BLOCK_SIZES[space] if since <= date][-1]


def _draw_threads(
    area_name: str,
    outcome: PlannedSuccess,
    sizes: NDArray[np.intp],
    n_counted: int,
    rng: np.random.Generator,
) -> tuple[ThreadPlan, ThreadPlan]:
    area = AREA_MODELS[area_name]
    deepsim_climbs, biggan_climbs = (climb != "none" for climb in outcome)
    levels = LEVELS[area_name][deepsim_climbs, biggan_climbs]
    best = np.clip(area.peak_rate * np.exp(PEAK_LOG_SD * rng.standard_normal()), *PEAK_RATE_LIMITS)
    log_ratio = rng.normal(levels.log_ratio, levels.log_ratio_sd)
    last = best * np.exp(np.minimum(0, [log_ratio, -log_ratio]))
    first = best * _draw_start_shares(levels, rng)
    climb_blocks = area.climb_blocks * np.exp(CLIMB_LOG_SD * rng.standard_normal(2))
    shares = np.stack([area.first_late_share, area.gained_late_share])
    # Half of the variance is common to all shares of a site, half is each one's own.
    spread = LATE_SHARE_LOGIT_SD * np.sqrt(0.5) * rng.standard_normal((2, 2))
    spread += LATE_SHARE_LOGIT_SD * np.sqrt(0.5) * rng.standard_normal()
    first_late, gained_late = scipy.special.expit(scipy.special.logit(shares) + spread)
    plans = []
    for thread, climb in enumerate(outcome):
        gain_per_t = _gain_per_t(best, climb_blocks[thread], sizes[thread], n_counted)
        rates = first[thread], _last_rate(climb, first[thread], last[thread], gain_per_t)
        late_shares = (first_late[thread], (gained_late if climb != "none" else first_late)[thread])
        plans.append(ThreadPlan(climb, *rates, climb_blocks[thread], *late_shares))
    return plans[0], plans[1]


def _draw_start_shares(levels: StartLevels, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw first responses as shares of the best: beta laws joined by a Gaussian copula."""
    common, own = rng.standard_normal(), rng.standard_normal(2)
    z = np.sqrt(START_CORRELATION) * common + np.sqrt(1 - START_CORRELATION) * own
    a = np.array(levels.start) * levels.concentration
    return np.asarray(scipy.special.betaincinv(a, levels.concentration - a, scipy.special.ndtr(z)))


def _last_rate(climb: str, first: float, last: float, gain_per_t: float) -> float:
    """Return the last rate of a thread: as drawn if it climbs clearly, else by its first one."""
    if climb == "none":
        return first
    if climb == "weak":
        return first + WEAK_T * gain_per_t
    return max(last, first + CLEAR_T * gain_per_t)


def _gain_per_t(rate: float, climb_blocks: float, sizes: NDArray[np.intp], n_counted: int) -> float:
    """Gain over the session that adds 1 to the expected t of the best against the first blocks.

    Trials differ by the number of spikes (Poisson, over 150 ms) and by their images; the second
    of the first two blocks has already climbed a little.
    """
    window_s = (EVOKED_MS[1] - EVOKED_MS[0]) / 1000
    trial_sd = np.sqrt(rate / window_s + (IMAGE_CV * rate) ** 2)
    standard_error = trial_sd * np.sqrt(1 / sizes[:2].sum() + 1 / (2 * np.median(sizes)))
    return float(standard_error / (1 - progress(climb_blocks, n_counted)[1] / 2))


def _draw_share(mean: float, concentration: float, rng: np.random.Generator) -> float:
    return float(rng.beta(mean * concentration, (1 - mean) * concentration))


def _as_published(threads: tuple[ThreadPlan, ThreadPlan]) -> tuple[ThreadPlan, ThreadPlan]:
    """Give the threads of the example experiment the rates of Figure 2B."""
    deepsim, biggan = (
        replace(thread, first_rate=first, last_rate=last, climb_blocks=blocks)
        for thread, (first, last), blocks in zip(
            threads, EXAMPLE_RATES, EXAMPLE_CLIMB_BLOCKS, strict=True
        )
    )
    return deepsim, biggan


def _humps_of_unit_response(
    area: AreaModel, delay_ms: float, time_ms: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Early and late hump, each scaled to a mean of 1 over 50-200 ms, (2, len(time_ms))."""
    evoked = np.arange(*EVOKED_MS)
    return np.stack(
        [hump.at(time_ms, delay_ms) / hump.at(evoked, delay_ms).mean()
         for hump in (area.early, area.late)]
    )  # fmt: skip


def _split(late_share: float) -> NDArray[np.float64]:
    return np.array([1 - late_share, late_share])


def _shares(counts: Iterable[int]) -> NDArray[np.float64]:
    weights = np.array(list(counts), dtype=np.float64)
    return weights / weights.sum()

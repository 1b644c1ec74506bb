"""The population of paired evolutions that the simulator gives spikes to.

Names, channels and spaces are those of the 170 real experiments. What a site does is made up: how
its response unfolds in time, which of its two threads climbs, how fast and how far. The numbers
below are tuned so that the population passes for the published one (Figures 4, 5, Extended 4).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit, ndtr
from scipy.stats import beta

from neuro_data_analysis.evolution_stats import EVOKED_MS, MIN_IMAGES_LAST_BLOCK, RISE_FRACTION
from neuro_data_analysis.neural_data_utils import SHORT_BLOCKS
from neuro_data_analysis.recorded_values import PSTH_MS

#: Experiment of Figure 2, and the one that is made as long as the longest published session.
EXAMPLE_EXPI = 155
LONGEST_EXPI = 120

#: Number of blocks where it is printed or follows from printed counts, and of the two V1 sessions
#: of Figure 4C, whose curves are flat from block 22.
KNOWN_BLOCKS = {
    6: 38, 12: 33, 65: 41, LONGEST_EXPI: 56, 149: 35, EXAMPLE_EXPI: 23, 156: 31, 188: 23, 190: 22,
}  # fmt: skip

#: Length of the other sessions: mean and SD of a normal law, and its limits.
SESSION_BLOCKS = (34.0, 8.0)
SESSION_BLOCKS_LIMITS = (18, 54)
SHORT_SESSION_BLOCKS = (7, SHORT_BLOCKS + 1)

#: Images per block in (DeePSim first block, later blocks, BigGAN first block, later blocks).
BLOCK_SIZES = ((30, 40, 30, 25), (30, 30, 30, 28), (31, 40, 34, 25))
#: Which of them, where it is printed.
KNOWN_BLOCK_SIZES = {6: 0, 12: 0, 65: 1, LONGEST_EXPI: 1, 149: 2, EXAMPLE_EXPI: 0, 156: 1}
#: Chance that a repeated or lost presentation makes a block larger or smaller by one or two.
ODD_BLOCK_CHANCE = 0.08

#: Chances that a session ends in a block too small to count, and in another unfinished block.
TINY_LAST_BLOCK_CHANCE = 0.25
UNFINISHED_LAST_BLOCK_CHANCE = 0.35
#: Last blocks that are fixed (printed for Expi 156; Expi 3 shows the smallest that can happen):
#: images in DeePSim, in BigGAN.
KNOWN_LAST_BLOCK = {3: (1, 4), LONGEST_EXPI: (30, 28), EXAMPLE_EXPI: (40, 25), 156: (12, 15)}

#: Sessions too short to count besides one that does not count anyway (published counts).
SHORT_SESSIONS = {"IT": 4, "V4": 3}
#: The one that is short and excluded for its spaces as well.
SHORT_AND_WRONG_SPACE = 8


class Component(NamedTuple):
    """One hump of a response: Gaussian onset times Gaussian offset, 1 in between.

    Times in ms from image onset: when it has half come and half gone, and how sharply.
    """

    onset_ms: float
    onset_sd_ms: float
    offset_ms: float
    offset_sd_ms: float

    def at(self, time_ms: ArrayLike, delay_ms: float = 0.0) -> NDArray[np.float64]:
        """Return the height of the hump at some times, when it comes later by `delay_ms`."""
        time = np.asarray(time_ms, dtype=np.float64) - delay_ms
        rising = ndtr((time - self.onset_ms) / self.onset_sd_ms)
        return rising * ndtr((self.offset_ms - time) / self.offset_sd_ms)


@dataclass(frozen=True)
class AreaModel:
    """How the sites of one area respond; pairs are (DeePSim, BigGAN).

    Attributes
    ----------
    early, late : Component
        The two humps of the response.
    first_late_share, gained_late_share : pair of float
        Share of the late hump in the evoked response of the first block, and in what climbing
        threads gain.
    climb_blocks : pair of float
        Median time constant of the climb, blocks.
    peak_rate : float
        Median of the best response (50-200 ms) of the two threads, events/s.
    spontaneous_share : float
        Mean spontaneous rate as a share of the weaker response.
    """

    early: Component
    late: Component
    first_late_share: tuple[float, float]
    gained_late_share: tuple[float, float]
    climb_blocks: tuple[float, float]
    peak_rate: float
    spontaneous_share: float


#: Humps fitted to the mean PSTHs of Figures 5A and 5C, shares to these and Extended Figure 4B.
AREA_MODELS = {
    "V1": AreaModel(
        early=Component(57, 8, 119, 16),
        late=Component(130, 14, 188, 32),
        first_late_share=(0.37, 0.37),
        gained_late_share=(0.26, 0.40),
        climb_blocks=(3.8, 6.0),
        peak_rate=240,
        spontaneous_share=0.42,
    ),
    "V4": AreaModel(
        early=Component(59, 7, 117, 18),
        late=Component(119, 25, 185, 50),
        first_late_share=(0.54, 0.56),
        gained_late_share=(0.52, 0.68),
        climb_blocks=(8.0, 13.0),
        peak_rate=150,
        spontaneous_share=0.38,
    ),
    "IT": AreaModel(
        early=Component(60, 5, 125, 19),
        late=Component(98, 16, 209, 14),
        first_late_share=(0.77, 0.87),
        gained_late_share=(0.60, 0.72),
        climb_blocks=(22.0, 11.0),
        peak_rate=140,
        spontaneous_share=0.55,
    ),
}


class Outcome(NamedTuple):
    """How far the two threads of an experiment climb: ``"clear"``, ``"weak"`` or ``"none"``."""

    deepsim: str
    biggan: str


#: How many valid experiments of each area end how. The sums are the published counts of success:
#: clear = p < 0.01 (10/37/67 in DeePSim, 0/20/65 in BigGAN), weak = 0.01 ≤ p < 0.05.
OUTCOMES = {
    "V1": {Outcome("clear", "none"): 8, Outcome("clear", "weak"): 2},
    "V4": {
        Outcome("clear", "clear"): 20,
        Outcome("clear", "weak"): 4,
        Outcome("clear", "none"): 13,
        Outcome("none", "none"): 1,
    },
    "IT": {
        Outcome("clear", "clear"): 52,
        Outcome("clear", "weak"): 2,
        Outcome("weak", "clear"): 7,
        Outcome("clear", "none"): 13,
        Outcome("weak", "none"): 4,
        Outcome("none", "clear"): 6,
        Outcome("none", "weak"): 2,
        Outcome("none", "none"): 20,
    },
}

#: Outcomes that are printed for single experiments.
KNOWN_OUTCOMES = {
    3: Outcome("clear", "clear"),
    5: Outcome("clear", "clear"),
    6: Outcome("clear", "clear"),
    7: Outcome("clear", "weak"),
    149: Outcome("clear", "none"),
    EXAMPLE_EXPI: Outcome("clear", "clear"),
    186: Outcome("clear", "clear"),
    187: Outcome("clear", "none"),
    188: Outcome("clear", "weak"),
    189: Outcome("clear", "none"),
    190: Outcome("clear", "weak"),
}


class Levels(NamedTuple):
    """Responses of one kind of experiment.

    ``start`` is the mean first response of each thread (DeePSim, BigGAN) as a share of the site's
    best one, ``concentration`` that of the beta law of the starts; ``log_ratio`` and its SD are
    ln(DeePSim / BigGAN) of the last responses of threads that climb clearly.
    """

    start: tuple[float, float]
    log_ratio: float
    log_ratio_sd: float
    concentration: float = 6.0


#: Area → which threads climb (DeePSim, BigGAN) → levels, tuned to Figures 4B and 4C.
LEVELS = {
    "V1": {
        (True, False): Levels((0.58, 0.74), 0.3, 0.20),
        (True, True): Levels((0.73, 0.83), 0.3, 0.10, concentration=60.0),
    },
    "V4": {
        (True, True): Levels((0.56, 0.65), 0.22, 0.22),
        (True, False): Levels((0.54, 0.64), 0.3, 0.20),
        (False, False): Levels((0.9, 0.9), 0.0, 0.0),
    },
    "IT": {
        (True, True): Levels((0.54, 0.63), 0.10, 0.46),
        (True, False): Levels((0.61, 0.72), -0.08, 0.25),
        (False, True): Levels((0.50, 0.66), -0.3, 0.25),
        (False, False): Levels((0.85, 0.90), 0.0, 0.0),
    },
}

#: How much the first responses of the two threads correlate (Gaussian copula).
START_CORRELATION = 0.8

#: A thread that does not climb loses this share of its first response over the session, as sites
#: adapt; it offsets that the best of many blocks is what the first two are compared with.
ADAPTATION = 0.05

#: t of the best against the first two blocks that a clear climb reaches at least, and that a weak
#: one aims at, before the gain that comes from picking the best block.
CLEAR_T = 4.2
WEAK_T = 0.8

#: Spreads from site to site: log (natural) time constants and peak rates, logit late shares.
CLIMB_LOG_SD = 0.45
PEAK_LOG_SD = 0.40
PEAK_RATE_LIMITS = (45.0, 330.0)
LATE_SHARE_LOGIT_SD = 0.45
DELAY_SD_MS = 2.5
SPONTANEOUS_CONCENTRATION = 10.0

#: Variation from image to image, relative to the evoked response.
IMAGE_CV = 0.12

#: Expi 155 as Figure 2B shows it: peak rate, and first and last responses, events/s.
EXAMPLE_RATES = ((134.0, 262.0), (203.0, 255.0))
EXAMPLE_CLIMB_BLOCKS = (6.5, 4.5)
EXAMPLE_SPONTANEOUS_RATE = 65.0


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

    def progress(self, thread: int) -> NDArray[np.float64]:
        """Share of a thread's gain that each recorded block has, (n_blocks,)."""
        counted = self.threads[thread].progress(self.n_counted)
        return np.pad(counted, (0, self.n_blocks - self.n_counted), mode="edge")

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


def listed_experiments() -> pd.DataFrame:
    """Read the list of the 170 real experiments, index Expi (package data)."""
    table = resources.files("neuro_data_analysis").joinpath("data/experiments.csv")
    with resources.as_file(table) as path:
        return pd.read_csv(path, index_col="Expi")


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
    lengths = np.rint(rng.normal(*SESSION_BLOCKS, size=len(listed))).clip(*SESSION_BLOCKS_LIMITS)
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
) -> dict[int, Outcome]:
    """Deal the outcomes of each area to its valid experiments, and draw those of the others."""
    is_long = np.array([counted[expi] > SHORT_BLOCKS for expi in listed.index])
    valid = is_long & (listed["bsl_unstable"] == 0) & (listed["fc6_BigGAN_pair"] == 1)
    outcomes: dict[int, Outcome] = {}
    for area, how_many in OUTCOMES.items():
        in_area = listed.index[listed["visual_area"] == area]
        known = {expi: KNOWN_OUTCOMES[expi] for expi in in_area if expi in KNOWN_OUTCOMES}
        left = Counter(how_many) - Counter(known.values())
        dealt = list(left.elements())
        order = rng.permutation(len(dealt))
        unknown = [expi for expi in in_area if valid[expi] and expi not in known]
        outcomes |= known | {e: dealt[i] for e, i in zip(unknown, order, strict=True)}
        others = [expi for expi in in_area if not valid[expi]]
        drawn = rng.choice(len(how_many), len(others), p=_shares(how_many.values()))
        outcomes |= {e: list(how_many)[i] for e, i in zip(others, drawn, strict=True)}
    return outcomes


def _plan_experiment(
    expi: int, listed: dict[Any, Any], n_counted: int, outcome: Outcome, seed: int
) -> ExperimentPlan:
    rng = np.random.default_rng([seed, expi])
    area = AREA_MODELS[listed["visual_area"]]
    sizes = _draw_block_sizes(expi, n_counted, rng)
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


def _draw_block_sizes(expi: int, n_counted: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw the evolved images of each block; a block too small to count comes on top."""
    drawn_scheme, ending = rng.integers(len(BLOCK_SIZES)), rng.random()
    scheme = BLOCK_SIZES[KNOWN_BLOCK_SIZES.get(expi, drawn_scheme)]
    first, later = np.array(scheme).reshape(2, 2).T
    sizes = np.tile(later[:, np.newaxis], n_counted)
    sizes[:, 0] = first
    is_odd = rng.random(sizes.shape) < ODD_BLOCK_CHANCE
    sizes += is_odd * rng.integers(-2, 3, sizes.shape)
    last = sizes[:, -1]
    if ending < TINY_LAST_BLOCK_CHANCE:
        last = rng.integers(1, MIN_IMAGES_LAST_BLOCK, 2)
    elif ending < TINY_LAST_BLOCK_CHANCE + UNFINISHED_LAST_BLOCK_CHANCE:
        last = rng.integers(MIN_IMAGES_LAST_BLOCK, later)
    last = np.array(KNOWN_LAST_BLOCK.get(expi, last))
    counts = last.min() >= MIN_IMAGES_LAST_BLOCK
    return np.column_stack([sizes[:, :-1] if counts else sizes, last])


def _draw_threads(
    area_name: str,
    outcome: Outcome,
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
    first_late, gained_late = expit(logit(shares) + spread)
    plans = []
    for thread, climb in enumerate(outcome):
        gain_per_t = _gain_per_t(best, climb_blocks[thread], sizes[thread], n_counted)
        rates = first[thread], _last_rate(climb, first[thread], last[thread], gain_per_t)
        late_shares = (first_late[thread], (gained_late if climb != "none" else first_late)[thread])
        plans.append(ThreadPlan(climb, *rates, climb_blocks[thread], *late_shares))
    return plans[0], plans[1]


def _draw_start_shares(levels: Levels, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw first responses as shares of the best: beta laws joined by a Gaussian copula."""
    common, own = rng.standard_normal(), rng.standard_normal(2)
    z = np.sqrt(START_CORRELATION) * common + np.sqrt(1 - START_CORRELATION) * own
    a = np.array(levels.start) * levels.concentration
    return np.asarray(beta.ppf(ndtr(z), a, levels.concentration - a))


def _last_rate(climb: str, first: float, last: float, gain_per_t: float) -> float:
    """Return the last rate of a thread: as drawn if it climbs clearly, else by its first one."""
    if climb == "none":
        return first * (1 - ADAPTATION)
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

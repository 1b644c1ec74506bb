"""What the simulator of recordings assumes, as tables.

Facts known about single sessions are taken over; everything else is tuned so that the population
passes for the real one (the block means that the authors publish).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from core.published import EXAMPLE_EXPI
from neuro_data_analysis.neural_data_utils import SHORT_BLOCKS

#: The longest session.
LONGEST_EXPI = 79

#: Number of blocks of single sessions, where it is printed or shown.
KNOWN_BLOCKS = {
    6: 38, 12: 34, 65: 41, LONGEST_EXPI: 56, 149: 35, EXAMPLE_EXPI: 23, 156: 31, 188: 22, 190: 19,
}  # fmt: skip

#: Length of the other sessions of an area: mean and SD of a normal law, and its limits.
SESSION_BLOCKS = {"V1": (22.6, 8.0), "V4": (28.4, 10.0), "IT": (30.8, 8.0)}
#: Sites that climb in more threads were followed longer; SD of what else decides, blocks.
LENGTH_RANK_SD = 6.0
SESSION_BLOCKS_LIMITS = (SHORT_BLOCKS + 1, 55)
SHORT_SESSION_BLOCKS = (6, SHORT_BLOCKS + 1)

#: Images of every block after the first, by space: (from this day on, images), ascending.
BLOCK_SIZES = {
    "fc6": (("2020-07-01", 40), ("2021-02-01", 30)),
    "BigGAN": (("2020-07-01", 25), ("2020-12-01", 28)),
    "BigGAN_class": (("2020-07-01", 25),),
}
#: Sessions that differ from that, (DeePSim, BigGAN).
KNOWN_BLOCK_SIZES = {156: (30, 28)}

#: The first block shows the 30 images that start every evolution, some of them again: in how many
#: of 340 threads 0, 1, … 5 were repeated.
FIRST_BLOCK_IMAGES = 30
FIRST_BLOCK_REPEATS = (212, 42, 42, 32, 10, 2)
KNOWN_FIRST_BLOCK = {6: (30, 30), 149: (31, 34), 156: (30, 30)}

#: Chances that a session ends in a block too small to count, and in another unfinished block.
TINY_LAST_BLOCK_CHANCE = 0.25
UNFINISHED_LAST_BLOCK_CHANCE = 0.14
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
        rising = scipy.special.ndtr((time - self.onset_ms) / self.onset_sd_ms)
        return rising * scipy.special.ndtr((self.offset_ms - time) / self.offset_sd_ms)


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
        climb_blocks=(5.0, 6.0),
        peak_rate=180,
        spontaneous_share=0.42,
    ),
    "V4": AreaModel(
        early=Component(59, 7, 117, 18),
        late=Component(119, 25, 185, 50),
        first_late_share=(0.54, 0.56),
        gained_late_share=(0.52, 0.68),
        climb_blocks=(9.0, 12.0),
        peak_rate=135,
        spontaneous_share=0.38,
    ),
    "IT": AreaModel(
        early=Component(60, 5, 125, 19),
        late=Component(98, 16, 209, 14),
        first_late_share=(0.77, 0.87),
        gained_late_share=(0.60, 0.72),
        climb_blocks=(30.0, 11.0),
        peak_rate=110,
        spontaneous_share=0.55,
    ),
}


class PlannedSuccess(NamedTuple):
    """How far the two threads of an experiment climb: ``"clear"``, ``"weak"`` or ``"none"``."""

    deepsim: str
    biggan: str


#: How many valid experiments of each area are made to climb how: clear ones pass at p < 0.01,
#: weak ones sometimes. The numbers are chosen so that, with the flat threads that pass by chance,
#: as many pass as in the real data (10/37/67 in DeePSim and 0/20/65 in BigGAN at p < 0.01).
OUTCOMES = {
    "V1": {PlannedSuccess("clear", "none"): 8, PlannedSuccess("clear", "weak"): 2},
    "V4": {
        PlannedSuccess("clear", "clear"): 18,
        PlannedSuccess("clear", "weak"): 6,
        PlannedSuccess("clear", "none"): 13,
        PlannedSuccess("none", "none"): 1,
    },
    "IT": {
        PlannedSuccess("clear", "clear"): 48,
        PlannedSuccess("clear", "weak"): 13,
        PlannedSuccess("clear", "none"): 3,
        PlannedSuccess("weak", "weak"): 1,
        PlannedSuccess("none", "clear"): 11,
        PlannedSuccess("none", "weak"): 8,
        PlannedSuccess("none", "none"): 22,
    },
}

#: Outcomes that are printed for single experiments.
KNOWN_OUTCOMES = {
    3: PlannedSuccess("clear", "clear"),
    5: PlannedSuccess("clear", "clear"),
    6: PlannedSuccess("clear", "clear"),
    7: PlannedSuccess("clear", "weak"),
    149: PlannedSuccess("clear", "none"),
    EXAMPLE_EXPI: PlannedSuccess("clear", "clear"),
    186: PlannedSuccess("clear", "clear"),
    187: PlannedSuccess("clear", "none"),
    188: PlannedSuccess("clear", "weak"),
    189: PlannedSuccess("clear", "none"),
    190: PlannedSuccess("clear", "weak"),
}


class StartLevels(NamedTuple):
    """Responses of one kind of experiment.

    ``start`` is the mean first response of each thread (DeePSim, BigGAN) as a share of the site's
    best one, ``concentration`` that of the beta law of the starts; ``log_ratio`` and its SD are
    ln(DeePSim / BigGAN) of the last responses of threads that climb clearly.
    """

    start: tuple[float, float]
    log_ratio: float
    log_ratio_sd: float
    concentration: float = 6.0


#: Area → which threads climb (DeePSim, BigGAN) → levels, those of the real experiments whose
#: threads passed at p < 0.05.
LEVELS = {
    "V1": {
        (True, False): StartLevels((0.62, 0.79), 0.30, 0.25, concentration=20.0),
        (True, True): StartLevels((0.70, 0.72), 0.16, 0.11, concentration=60.0),
    },
    "V4": {
        (True, True): StartLevels((0.54, 0.60), 0.13, 0.21),
        (True, False): StartLevels((0.54, 0.65), 0.37, 0.33),
        (False, False): StartLevels((0.9, 0.9), 0.0, 0.0),
    },
    "IT": {
        (True, True): StartLevels((0.51, 0.60), 0.01, 0.34),
        (True, False): StartLevels((0.55, 0.70), 0.20, 0.35),
        (False, True): StartLevels((0.64, 0.75), -0.40, 0.27),
        (False, False): StartLevels((0.75, 0.90), 0.0, 0.0),
    },
}

#: How much the first responses of the two threads correlate (Gaussian copula).
START_CORRELATION = 0.8

#: t of the best against the first two blocks that a clear climb reaches at least, and that a weak
#: one aims at, before the gain that comes from picking the best block.
CLEAR_T = 4.2
WEAK_T = 0.8

#: Spreads from site to site: log (natural) time constants and peak rates, logit late shares.
CLIMB_LOG_SD = 0.45
PEAK_LOG_SD = 0.60
PEAK_RATE_LIMITS = (25.0, 330.0)
LATE_SHARE_LOGIT_SD = 0.45
DELAY_SD_MS = 2.5
SPONTANEOUS_CONCENTRATION = 10.0

#: Variation from image to image, relative to the evoked response: of the images that start an
#: evolution, and of those that a climb ends with. Real spike counts vary more in first blocks.
START_IMAGE_CV = 0.4
IMAGE_CV = 0.12

#: Expi 155 as Figure 2B shows it (DeePSim, BigGAN): first and last responses and spontaneous rate
#: in events/s, time constants in blocks.
EXAMPLE_RATES = ((134.0, 262.0), (203.0, 255.0))
EXAMPLE_CLIMB_BLOCKS = (6.5, 4.5)
EXAMPLE_SPONTANEOUS_RATE = 65.0

"""How many threads would pass the published test of success if none of them climbed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import scipy
from numpy.typing import ArrayLike, NDArray

from core.spaces import BySpace, Space
from neuro_data_analysis.robustness.block_sums import BlockSums, compare_with_flat

#: Flat threads that recorded ones are held against: standard deviation (share of the rate) and
#: memory of their excitability. The second is assumed, as in the simulator.
FLAT_KINDS = {
    "independent trials": (0.0, 0.0),
    "excitability AR(1), SD 3 % of an evoked 55 % of the rate, memory 0.5": (0.0165, 0.5),
}

#: Flat threads drawn for each recorded one; the sum over an area is then known to some tenths.
N_FLAT = 200

#: First entry of the seed of every draw.
SEED = 44

#: Degrees of freedom among which those of a test are sought: four blocks of 4 to 100 images.
_FREEDOM = np.arange(14, 399)

_TESTS = ("maxinit", "endinit", "maxend")


def degrees_of_freedom(t: float, p: float) -> int:
    """Degrees of freedom at which a Student t has a two-sided p; tables keep both to 15 digits."""
    expected = np.asarray(2 * scipy.special.stdtr(_FREEDOM, -abs(t)))
    return int(_FREEDOM[np.argmin(abs(expected - p))])


def images_per_block(tests: Mapping[Any, float], thread: int) -> float:
    """Mean number of images of the four blocks that a test of a thread compares.

    Tables do not tell it, but the degrees of freedom, of the test with the largest t, are four
    blocks of images less two.

    Parameters
    ----------
    tests : mapping
        ``t_maxinit_0``, ``p_maxinit_0``, … of one experiment.
    thread : int
        0 DeePSim, 1 BigGAN.

    Returns
    -------
    float
        NaN without a test.
    """
    found = [(tests[f"t_{name}_{thread}"], tests[f"p_{name}_{thread}"]) for name in _TESTS]
    known = [(t, p) for t, p in found if np.isfinite(t) and 0 < p < 1]
    if not known:
        return np.nan
    return (degrees_of_freedom(*max(known, key=lambda test: abs(test[0]))) + 2) / 4


def expected_false_positives(
    tests: pd.DataFrame,
    mean: BySpace[NDArray[np.float64]],
    sem: BySpace[NDArray[np.float64]],
    recorded: ArrayLike,
    level: float = 0.01,
) -> dict[str, BySpace[NDArray[np.float64]]]:
    """Chance of every thread to pass the published test if it did not climb.

    Flat threads have the number of blocks, the mean and the variance within blocks of the recorded
    thread, and equally many images in each block.

    Parameters
    ----------
    tests : pandas.DataFrame
        (n_experiments,) rows of published tests, with ``Expi``.
    mean, sem : dict of Space to numpy.ndarray
        (n_experiments, n_blocks) response and its standard error over images.
    recorded : array_like of bool
        (n_experiments, n_blocks)
    level : float, default 0.01
        Of the test (Figure 4A), with t above 0.

    Returns
    -------
    dict
        Kind of flat threads → space → (n_experiments,) chance; NaN where there is no test.
    """
    lengths = np.asarray(recorded, dtype=bool).sum(axis=1)
    rows = tests.to_dict("records")
    return {
        kind: {
            space: np.array([
                _chance(row, space, mean[space][i, :n], sem[space][i, :n], excitability, level)
                for i, (row, n) in enumerate(zip(rows, lengths, strict=True))
            ])
            for space in Space
        }
        for kind, excitability in FLAT_KINDS.items()
    }  # fmt: skip


def _chance(
    tests: Mapping[Any, float],
    space: Space,
    mean: NDArray[np.float64],
    sem: NDArray[np.float64],
    excitability: tuple[float, float],
    level: float,
) -> float:
    images = images_per_block(tests, space.thread)
    if np.isnan(images):
        return np.nan
    thread = BlockSums.from_moments(np.full(len(mean), images), mean, sem)
    rng = np.random.default_rng([SEED, int(tests["Expi"]), space.thread])
    return compare_with_flat(thread, rng, excitability, level, N_FLAT).published_rate

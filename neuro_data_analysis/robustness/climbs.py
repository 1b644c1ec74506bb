"""Other ways to tell how many blocks a climb takes, less moved by the noise of the largest block.

Figure 4D counts blocks until 0.8 of the largest rise; the largest of many noisy means is too large,
and the count comes too late where the curve is flat for long.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy
from numpy.typing import NDArray

from neuro_data_analysis.evolution.courses import smoothed
from neuro_data_analysis.evolution.stats import RISE_FRACTION

#: Blocks in the running mean of a smoothed trajectory.
SMOOTHED_BLOCKS = 5


def first_above(rate: NDArray[np.float64]) -> float:
    """First block above 0.8 of the rise over the first block (Figure 4D), 0 where none is.

    Parameters
    ----------
    rate : numpy.ndarray
        (n_blocks,) block means, smoothed or not.
    """
    return float(np.argmax(rate > rate[0] + RISE_FRACTION * (rate.max() - rate[0])))


def running_mean(rate: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of five neighbouring blocks, of those that are there near the ends."""
    kernel = np.ones(SMOOTHED_BLOCKS)
    return np.convolve(rate, kernel, "same") / np.convolve(np.ones_like(rate), kernel, "same")


def fitted_blocks(rate: NDArray[np.float64]) -> float:
    """First block above 0.8 of the rise of a saturating exponential fitted to the block means.

    r(k) = a + g (1 − exp(−k/τ)), least squares with g ≥ 0 and τ between 0.3 blocks and twice the
    session; the rise is that from the first to the last block.
    """
    block = np.arange(len(rate), dtype=np.float64)

    def rise(tau: float) -> NDArray[np.float64]:
        return np.asarray(-np.expm1(-block / tau))

    def squares(log_tau: float) -> float:
        design = np.stack([np.ones_like(block), rise(np.exp(log_tau))], axis=1)
        return float(scipy.optimize.nnls(design, rate)[1])

    limits = np.log([0.3, 2.0 * len(rate)])
    tau = np.exp(scipy.optimize.minimize_scalar(squares, bounds=tuple(limits), method="bounded").x)
    climbed = rise(tau)
    return float(np.argmax(climbed > RISE_FRACTION * climbed[-1]))


#: Estimates of the time constant, blocks from (n_blocks,) means. The first is the published one;
#: the exponential has the form that simulated climbs truly have.
ESTIMATES: dict[str, Callable[[NDArray[np.float64]], float]] = {
    "published count": first_above,
    "count on a running mean": lambda rate: first_above(running_mean(rate)),
    "count on a Gaussian process": lambda rate: first_above(smoothed(rate)),
    "fitted exponential": fitted_blocks,
}

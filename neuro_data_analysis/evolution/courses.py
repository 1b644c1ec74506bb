"""How responses unfold beyond the published figures: centres of PSTHs, smoothed climbs.

The authors name these analyses and publish no definition with their data, so that the definitions
are ours.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from core.source_tables.registry import SITE_COLUMNS
from core.spaces import Space
from neuro_data_analysis.evolution.population import Population
from neuro_data_analysis.evolution.stats import (
    BASELINE_MS,
    EVOKED_MS,
    EvolutionSummary,
    time_constants,
)
from neuro_data_analysis.similarity.response_differences import difference_table

#: Share of the rise of a smoothed trajectory that counts as climbed: 1 − 1/e, as of an exponential.
SMOOTHED_RISE = 0.632

#: Length scales (blocks) and ratios of noise to signal variance among which a process is chosen.
LENGTH_SCALES = tuple(np.geomspace(2, 60, 12))
NOISE_RATIOS = np.geomspace(0.01, 100, 17)


def psth_centre_ms(psth: ArrayLike) -> float:
    """Centre of mass of what a mean PSTH has above its baseline between 50 and 200 ms.

    Σ t max(r(t) − b, 0) / Σ max(r(t) − b, 0), with b the mean rate of the first 45 ms.

    Parameters
    ----------
    psth : array_like
        (200 ms,) events/s.

    Returns
    -------
    float
        ms from image onset; NaN where nothing rises above the baseline.
    """
    rate = np.asarray(psth, dtype=float)
    time_ms = np.arange(*EVOKED_MS)
    above = np.maximum(rate[slice(*EVOKED_MS)] - rate[slice(*BASELINE_MS)].mean(), 0)
    return float((time_ms * above).sum() / above.sum()) if above.any() else np.nan


def smoothed_time_constant(responses: ArrayLike) -> float:
    """Blocks that a smoothed trajectory takes to climb.

    Parameters
    ----------
    responses : array_like
        (n_blocks,) mean responses, events/s.

    Returns
    -------
    float
        Blocks from the first one until the smoothed trajectory has risen by `SMOOTHED_RISE` of its
        largest rise, linearly between blocks; NaN where it never rises.
    """
    rise = smoothed(responses)
    rise = rise - rise[0]
    threshold = SMOOTHED_RISE * rise.max()
    if not threshold > 0:
        return np.nan
    after = int(np.argmax(rise >= threshold))
    before = after - 1
    return before + float((threshold - rise[before]) / (rise[after] - rise[before]))


def smoothed(values: ArrayLike) -> NDArray[np.float64]:
    """Smooth evenly spaced values by a Gaussian process of squared-exponential covariance.

    With K = QΛQᵀ the covariance of one length scale, g the ratio of noise to signal and z = Qᵀ y
    of the values about their mean, the signal variance that maximises the likelihood is
    C = Σ zᵢ² / (λᵢ + g) / n, and −2 log L = n log C + Σ log(λᵢ + g) + const.

    Parameters
    ----------
    values : array_like
        (n,)

    Returns
    -------
    numpy.ndarray
        (n,) mean of the likeliest of `LENGTH_SCALES` × `NOISE_RATIOS`.
    """
    y = np.asarray(values, dtype=float)
    best, smooth = np.inf, np.full(len(y), y.mean())
    if np.ptp(y) == 0:
        return smooth
    for eigenvalues, axes in _covariances(len(y)):
        z = axes.T @ (y - y.mean())
        spread = eigenvalues + NOISE_RATIOS[:, np.newaxis]
        variance = (z**2 / spread).mean(axis=1)
        loss = len(y) * np.log(variance) + np.log(spread).sum(axis=1)
        if loss.min() < best:
            best, kept = loss.min(), eigenvalues / spread[loss.argmin()]
            smooth = y.mean() + axes @ (kept * z)
    return smooth


@cache
def _covariances(n: int) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]], ...]:
    """Return eigenvalues and axes of the covariance of n blocks at each length scale."""
    distance = np.subtract.outer(np.arange(n), np.arange(n))
    found = (np.linalg.eigh(np.exp(-0.5 * (distance / length) ** 2)) for length in LENGTH_SCALES)
    return tuple((np.maximum(each.eigenvalues, 0), each.eigenvectors) for each in found)


def site_table(population: Population) -> pd.DataFrame:
    """Tell of every experiment how its responses unfold, one row each.

    Returns
    -------
    pandas.DataFrame
        Index Expi, columns `SITE_COLUMNS`: area, inclusion, success; by space the centres of the
        first and of the best block's PSTH (ms), time constants of Figure 4D and smoothed (blocks);
        differences of the responses to both prototypes, see `response_differences`.
    """
    masks = population.masks
    courses = pd.DataFrame(
        {summary.info.expi: _course(summary) for summary in population.summaries}
    ).T
    table = pd.concat(
        [population.meta["visual_area"], masks, courses, difference_table(population)], axis=1
    )
    return table[list(SITE_COLUMNS)].rename_axis("Expi")


def reference_responses(population: Population, space: Space) -> NDArray[np.float64]:
    """Stack the responses to the reference pictures, (n_experiments, n_blocks), NaN beyond the end.

    Over the largest block-mean response of both threads, as trajectories are.
    """
    stacked = np.full((len(population.summaries), population.n_blocks), np.nan)
    for row, summary in zip(stacked, population.summaries, strict=True):
        row[: summary.n_blocks] = summary.references[space] / summary.normalizer
    return stacked


def _course(summary: EvolutionSummary) -> dict[str, float]:
    found: dict[str, float] = {}
    counted = time_constants(summary.trajectory)
    for space in Space:
        found[f"{space.prefix}_centre_first"] = psth_centre_ms(summary.psths[space].of_block[0])
        found[f"{space.prefix}_centre_best"] = psth_centre_ms(summary.psths[space].best)
        found[f"{space.prefix}_tc_counted"] = counted[f"{space.prefix}_tc0_bslinit"]
        response = summary.trajectory.mean[space]
        found[f"{space.prefix}_tc_smoothed"] = smoothed_time_constant(response)
    return found

"""How differently a site responds to the two prototypes of a paired evolution (Figure 3).

The responses compared are the mean PSTHs of the best block of each thread, over the largest
block-mean response of both threads.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.errors import UsageError
from core.source_tables.registry import SIMILARITY_COLUMNS
from core.spaces import Space
from neuro_data_analysis.evolution.population import Population
from neuro_data_analysis.evolution.stats import EVOKED_MS

#: Width of the boxcar of the smoothed differences, ms; only full overlaps count.
SMOOTHING_MS = 25


def response_differences(
    psths: NDArray[np.float64], normalizer: float, smoothing_ms: int = SMOOTHING_MS
) -> dict[str, float]:
    """Compare the mean PSTHs of two prototypes between 50 and 200 ms.

    With m₀, m₁ the two PSTHs over the normaliser: ``MAE = mean |m₀ − m₁|``,
    ``MSE = mean (m₀ − m₁)²``,
    corr = Pearson correlation, all over the ms of the evoked window; the same of PSTHs smoothed by
    a boxcar; ``act_MAE = |mean m₀ − mean m₁|``, which never exceeds the MAE.

    Parameters
    ----------
    psths : numpy.ndarray
        (2 threads, 200 ms) mean PSTH of the best block of each thread, events/s.
    normalizer : float
        Largest block-mean response of both threads, events/s.
    smoothing_ms : int, default 25
        Width of the boxcar.

    Returns
    -------
    dict
        ``psth_MAE``, ``psth_MSE``, ``psth_corr``, the same with ``_smooth``, ``act_MAE``,
        ``normalizer``. A correlation with a flat PSTH is NaN.

    Raises
    ------
    UsageError
        If the normaliser is not positive.
    """
    if not normalizer > 0:
        raise UsageError(f"PSTHs cannot be divided by {normalizer} events/s; it must be positive.")
    evoked = psths[:, slice(*EVOKED_MS)] / normalizer
    boxcar = np.full(smoothing_ms, 1 / smoothing_ms)
    smooth = np.stack([np.convolve(psth, boxcar, mode="valid") for psth in evoked])
    means = evoked.mean(axis=1)
    return {
        **_differences(evoked, ""),
        **_differences(smooth, "_smooth"),
        "act_MAE": float(abs(means[0] - means[1])),
        "normalizer": float(normalizer),
    }


def difference_table(population: Population) -> pd.DataFrame:
    """Compare the responses to both prototypes of every experiment.

    Returns
    -------
    pandas.DataFrame
        Index Expi, columns of `response_differences`.
    """
    rows = {
        summary.info.expi: response_differences(
            np.stack([summary.psths[space].best for space in Space]), summary.normalizer
        )
        for summary in population.summaries
    }
    columns = list(SIMILARITY_COLUMNS["differences of responses"])
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("Expi")


def _differences(psths: NDArray[np.float64], suffix: str) -> dict[str, float]:
    first, second = psths
    varies = min(np.ptp(first), np.ptp(second)) > 0
    return {
        f"psth_MAE{suffix}": float(np.abs(first - second).mean()),
        f"psth_MSE{suffix}": float(((first - second) ** 2).mean()),
        f"psth_corr{suffix}": float(np.corrcoef(first, second)[0, 1]) if varies else np.nan,
    }

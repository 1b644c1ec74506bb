"""Where tuned axes have their peak, as the published tables count it, from the pickled trials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

#: Peaks this close to the origin, in perceptual distance, count as at the origin.
ORIGIN_BIN = 0.08

#: Ends of the axes that all recent sessions share, in perceptual distance from the origin.
COMMON_END = 0.4


def peaks_of_shapes(shapes: pd.DataFrame, member: Mapping[str, Any]) -> pd.DataFrame:
    """Find where each axis has its peak from the single trials in the pickle of the shapes.

    Parameters
    ----------
    shapes : pandas.DataFrame
        One row per axis, with its trials: ``x_values`` positions, ``y_values`` responses.
    member : mapping
        Empty.

    Returns
    -------
    pandas.DataFrame
        ``p_value``, ``max_resp_lin_dist_bin``, ``is_BigGAN_evol_success`` of the axes that end at
        `COMMON_END`.
    """
    trials = zip(shapes["x_values"], shapes["y_values"], strict=True)
    levels = [_level_means(distance, response) for distance, response in trials]
    peaks = pd.DataFrame(
        {
            "p_value": shapes["anova_p_value"],
            "max_resp_lin_dist_bin": peak_bin([place[mean.argmax()] for place, mean in levels]),
            "is_BigGAN_evol_success": shapes["is_BigGAN_evol_success"],
        }
    )
    return peaks[[bool(place[-1] == COMMON_END) for place, _ in levels]]


def peak_bin(distance: ArrayLike) -> NDArray[np.float64]:
    """Put peaks within `ORIGIN_BIN` of the origin at the origin, leaving others where they are."""
    x = np.asarray(distance, dtype=float)
    return np.where(np.abs(x) <= ORIGIN_BIN, 0.0, x)


def _level_means(
    distance: ArrayLike, response: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the positions of some trials, ascending, and the mean response at each."""
    x, y = np.asarray(distance, dtype=float), np.asarray(response, dtype=float)
    places, place, count = np.unique(x, return_inverse=True, return_counts=True)
    return places, np.bincount(place, y, len(places)) / count

"""Groups of experiments: which count, their mean curves, and the tests between the two spaces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy
from numpy.typing import NDArray

from core.spaces import BySpace, Space
from core.utils.statistics.t_tests import StudentTest, student
from neuro_data_analysis.neural_data_utils import AREAS

#: False-discovery rate of every corrected comparison (Benjamini-Hochberg).
FDR = 0.05


@dataclass(frozen=True)
class Curve:
    """Mean of a group of experiments and its standard error, point by point.

    Attributes
    ----------
    mean, sem : numpy.ndarray
        (n_points,); NaN for an empty group. The standard error is ``std(ddof=0) / sqrt(n)``, as
        published.
    n : int
        Number of experiments.
    """

    mean: NDArray[np.float64]
    sem: NDArray[np.float64]
    n: int

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Curve:
        """Average (n_experiments, n_points) over the experiments."""
        if len(values) == 0:
            nothing = np.full(values.shape[1], np.nan)
            return cls(nothing, nothing, 0)
        return cls(values.mean(axis=0), values.std(axis=0) / np.sqrt(len(values)), len(values))


def compare_spaces(
    values: Mapping[Space, NDArray[np.float64]], *, paired: bool = False
) -> StudentTest:
    """Test DeePSim against BigGAN, point by point; t > 0 where DeePSim is larger, see `student`."""
    return student(values[Space.DEEPSIM], values[Space.BIGGAN], paired=paired)


def larger_by(
    t: NDArray[np.float64], significant: NDArray[np.bool_]
) -> BySpace[NDArray[np.bool_]]:
    """Say at which significant points which space is larger, from `compare_spaces`."""
    return {Space.DEEPSIM: significant & (t > 0), Space.BIGGAN: significant & (t < 0)}


def significant_after_fdr(p: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Mark the p values that survive Benjamini-Hochberg at `FDR`; a missing one never does."""
    survives = np.zeros(p.shape, dtype=bool)
    known = np.isfinite(p)
    survives[known] = scipy.stats.false_discovery_control(p[known]) <= FDR
    return survives


def pearson(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Return Pearson's r and its two-sided p; NaN below three pairs or where nothing varies."""
    if np.size(x) < 3 or min(np.ptp(x), np.ptp(y)) == 0:
        return np.nan, np.nan
    found = scipy.stats.pearsonr(x, y)
    return float(found.statistic), float(found.pvalue)


def basis_of_paired(test: StudentTest) -> dict[str, Any]:
    """Tell what a paired comparison of the two spaces rests on, for `Statistic.basis`."""
    return {
        "test": "paired Student test over experiments, DeePSim minus BigGAN",
        "sided": "two-sided",
        "df": test.n - 1,
        "n": test.n,
        "unit": "experiments; sites repeat among them",
    }


def basis_of_curve(n: int) -> dict[str, Any]:
    """Tell what a mean curve and its band rest on: the published SD divides by n, not n − 1."""
    return {
        "n": n,
        "unit": "experiments; sites repeat among them",
        "band": "mean ± standard error, standard deviation with ddof 0 (as published)",
    }


def members(
    masks: pd.DataFrame, success: str | None = None
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield the valid and successful experiments of each area, in the order of the hierarchy.

    Parameters
    ----------
    masks : pandas.DataFrame
        A mask table of the source data.
    success : str, optional
        Its column of success, such as ``"bothsucc005"``; without one all valid experiments count.

    Yields
    ------
    area : str
    chosen : numpy.ndarray of bool
        (n_experiments,)
    """
    counted = masks["valid"] & (masks[success] if success else True)
    for area in AREAS:
        yield area, (counted & masks[f"{area}msk"]).to_numpy()

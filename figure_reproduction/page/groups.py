"""Groups of experiments: which count, their mean curves, and the tests between the two spaces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.multitest import multipletests

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


@dataclass(frozen=True)
class StudentTest:
    """A Student test of DeePSim against BigGAN; t > 0 where DeePSim is larger.

    Attributes
    ----------
    t, p : float
        NaN where the test is not defined (fewer than two values, or no spread).
    n : int
        Pairs, or values in both groups together.
    """

    t: float
    p: float
    n: int

    def __str__(self) -> str:
        """As the figures print it: three decimals, two significant digits."""
        return f"t={self.t:.3f}, P={self.p:.1e}\nN={self.n}"


def paired_test(deepsim: NDArray[np.float64], biggan: NDArray[np.float64]) -> StudentTest:
    """Two-sided paired Student test."""
    n = len(deepsim)
    if n < 2 or np.ptp(deepsim - biggan) == 0:
        return StudentTest(np.nan, np.nan, n)
    result = stats.ttest_rel(deepsim, biggan)
    return StudentTest(float(result.statistic), float(result.pvalue), n)


def unpaired_tests(
    deepsim: NDArray[np.float64], biggan: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two-sided Student tests with pooled variance, point by point.

    Parameters
    ----------
    deepsim, biggan : numpy.ndarray
        (n_experiments, n_points); the groups may differ in size.

    Returns
    -------
    t, p : numpy.ndarray
        (n_points,); NaN where a group has fewer than two experiments or nothing varies.
    """
    return _tests(deepsim, biggan, paired=False)


def paired_tests(
    deepsim: NDArray[np.float64], biggan: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two-sided paired Student tests, point by point, see `unpaired_tests`."""
    return _tests(deepsim, biggan, paired=True)


def significant_after_fdr(p: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Mark the p values that survive Benjamini-Hochberg at `FDR`; a missing one never does."""
    survives = np.zeros(p.shape, dtype=bool)
    known = np.isfinite(p)
    if known.any():
        survives[known] = multipletests(p[known], alpha=FDR, method="fdr_bh")[0]
    return survives


def members(masks: pd.DataFrame, success: str) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield the valid and successful experiments of each area, in the order of the hierarchy.

    Parameters
    ----------
    masks : pandas.DataFrame
        A mask table of the source data.
    success : str
        Its column of success, such as ``"bothsucc005"``.

    Yields
    ------
    area : str
    chosen : numpy.ndarray of bool
        (n_experiments,)
    """
    counted = masks["valid"] & masks[success]
    for area in AREAS:
        yield area, (counted & masks[f"{area}msk"]).to_numpy()


def _tests(
    deepsim: NDArray[np.float64], biggan: NDArray[np.float64], paired: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    t, p = np.full((2, deepsim.shape[1]), np.nan)
    if min(len(deepsim), len(biggan)) < 2:
        return t, p
    if paired:
        varies = np.ptp(deepsim - biggan, axis=0) > 0
        paired_result = stats.ttest_rel(deepsim[:, varies], biggan[:, varies])
        t[varies], p[varies] = paired_result.statistic, paired_result.pvalue
    else:
        varies = (np.ptp(deepsim, axis=0) > 0) | (np.ptp(biggan, axis=0) > 0)
        samples = *_samples(deepsim[:, varies]), *_samples(biggan[:, varies])
        t[varies], p[varies] = stats.ttest_ind_from_stats(*samples)
    return t, p


def _samples(
    values: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    return values.mean(axis=0), values.std(axis=0, ddof=1), len(values)

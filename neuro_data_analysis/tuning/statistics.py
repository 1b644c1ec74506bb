"""Is a site tuned along an axis, and where does it respond most? (Figure 6)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

#: Criterion of a tuned axis in Figure 6E.
TUNED_P_BELOW = 0.01


@dataclass(frozen=True)
class Levels:
    """Responses grouped by position on the axis.

    Attributes
    ----------
    distance : numpy.ndarray
        (n_levels,) positions, ascending.
    mean : numpy.ndarray
        (n_levels,) mean response, events/s.
    count : numpy.ndarray of int
        (n_levels,) trials.
    variance : numpy.ndarray
        (n_levels,) variance (ddof 1) over trials; NaN for one trial.
    """

    distance: NDArray[np.float64]
    mean: NDArray[np.float64]
    count: NDArray[np.intp]
    variance: NDArray[np.float64]

    @classmethod
    def of(cls, distance: ArrayLike, response: ArrayLike) -> Levels:
        """Group single trials, both (n_trials,)."""
        x, y = np.asarray(distance, dtype=float), np.asarray(response, dtype=float)
        levels, level, count = np.unique(x, return_inverse=True, return_counts=True)
        mean = np.bincount(level, y, len(levels)) / count
        squares = np.bincount(level, (y - mean[level]) ** 2, len(levels))
        degrees = np.where(count > 1, count - 1, np.nan)
        return cls(levels, mean, count, squares / degrees)

    @property
    def n(self) -> int:
        """Number of levels."""
        return len(self.distance)

    @property
    def peak(self) -> int:
        """Level of the largest mean, the first of equals."""
        return int(self.mean.argmax())

    @property
    def within(self) -> float:
        """Sum of squares around the means of the levels."""
        return float(np.nansum(self.variance * (self.count - 1)))

    @property
    def pooled_variance(self) -> float:
        """Mean over levels of the variance over trials; NaN where no level has two trials."""
        known = self.variance[np.isfinite(self.variance)]
        return float(known.mean()) if known.size else np.nan


@dataclass(frozen=True)
class Anova:
    """One-way analysis of variance over the levels of an axis.

    Attributes
    ----------
    f, p : float
        NaN where they are not defined.
    df_between, df_within : int
        Degrees of freedom.
    r2 : float
        Share of the sum of squares that lies between levels; NaN if nothing varies.
    problem : str
        Why F and p are missing; empty if they are not.
    """

    f: float
    p: float
    df_between: int
    df_within: int
    r2: float
    problem: str = ""

    def __str__(self) -> str:
        """In one line, ``F(8, 64) = 4.41, p = 2.7e-04``."""
        if self.problem:
            return f"no F: {self.problem}"
        return f"F({self.df_between}, {self.df_within}) = {self.f:.2f}, p = {self.p:.1e}"


def one_way_anova(distance: ArrayLike, response: ArrayLike) -> Anova:
    """Analyse the variance of single-trial responses between the levels of an axis.

    With one factor this is the type II analysis that was published.

    Parameters
    ----------
    distance, response : array_like
        (n_trials,) position on the axis; response in events/s.

    Returns
    -------
    Anova
        With a `problem` instead of F and p for one level, one trial per level, or responses that
        do not vary within levels.
    """
    y = np.asarray(response, dtype=float)
    levels = Levels.of(distance, y)
    df_between, df_within = levels.n - 1, len(y) - levels.n
    total = float(((y - y.mean()) ** 2).sum()) if y.size else 0.0
    between = float((levels.count * (levels.mean - y.mean()) ** 2).sum()) if y.size else 0.0
    within = levels.within
    r2 = between / total if total > 0 else np.nan
    problem = _why_no_f(levels.n, df_within, within)
    if problem:
        return Anova(np.nan, np.nan, df_between, df_within, r2, problem)
    f = (between / df_between) / (within / df_within)
    return Anova(f, float(scipy.stats.f.sf(f, df_between, df_within)), df_between, df_within, r2)


def explained_variance(response: NDArray[np.float64], residual: NDArray[np.float64]) -> float:
    """1 − var(residual)/var(response); NaN where the responses do not vary."""
    variance = response.var()
    return float(1 - residual.var() / variance) if variance > 0 else np.nan


def _why_no_f(n_levels: int, df_within: int, within: float) -> str:
    if n_levels < 2:
        return "one level"
    if df_within < 1:
        return "one trial per level"
    return "no variance within levels" if within <= 0 else ""

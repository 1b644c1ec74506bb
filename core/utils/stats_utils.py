"""Summaries by generation and comparisons of correlations; t tests and drawings beside them.

Everything of `t_tests` and `stats_plots` can be imported from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from core.errors import UsageError
from core.published_names import door
from core.utils.statistics.plots import (
    paired_strip_plot,
    scatter_corr,
    shaded_errorbar,
    shaded_errorbar_arr,
)
from core.utils.statistics.t_tests import (
    latexify_tststs,
    ttest_1samp_print,
    ttest_ind_df,
    ttest_ind_print,
    ttest_ind_print_df,
    ttest_rel_df,
    ttest_rel_print,
    ttest_rel_print_df,
)

__all__ = [
    "CorrelationDifference",
    "TrivariateCorrelation",
    "correlation_difference",
    "independent_correlation_difference",
    "latexify_tststs",
    "paired_strip_plot",
    "scatter_corr",
    "shaded_errorbar",
    "shaded_errorbar_arr",
    "summary_by_block",
    "trivariate_corr",
    "ttest_1samp_print",
    "ttest_ind_df",
    "ttest_ind_print",
    "ttest_ind_print_df",
    "ttest_rel_df",
    "ttest_rel_print",
    "ttest_rel_print_df",
]

FloatArray = NDArray[np.float64]

#: Variables that correlate more than this are one variable but for rounding.
HIGHEST_CORRELATION = 1 - 1e-14


def summary_by_block(
    scores: ArrayLike,
    gens: ArrayLike,
    maxgen: int = 100,
    sem: bool = True,
    *,
    ddof: int = 0,
    single: bool = False,
) -> tuple[FloatArray, FloatArray, NDArray[np.intp]]:
    """Mean and spread of the scores of each generation, by default as in the published code.

    Parameters
    ----------
    scores : array-like, shape (n_images,)
    gens : array-like of int, shape (n_images,)
        Generation of each score.
    maxgen : int, default 100
        Last generation of the summary.
    sem : bool, default True
        Standard error; False gives the standard deviation.
    ddof : int, default 0
        Of the standard deviation; 1 gives the usual estimate.
    single : bool, default False
        Keep generations of one score, such as the first of an evolution.

    Returns
    -------
    means, spreads : numpy.ndarray, shape (n_generations,)
        A generation of `ddof` scores or fewer has the spread NaN, one without scores both NaN.
    generations : numpy.ndarray of int, shape (n_generations,)
        From the lowest generation to the highest, or to `maxgen`, those of one score left out.

    Raises
    ------
    UsageError
        If there is not one whole-numbered generation per score, or none up to `maxgen`.
    """
    values, numbers = np.asarray(scores, dtype=np.float64), np.asarray(gens)
    if values.ndim != 1 or values.shape != numbers.shape or (numbers != np.rint(numbers)).any():
        raise UsageError(
            f"scores of shape {values.shape} and generations of shape {numbers.shape} do not go "
            "together; give one whole number per score."
        )
    counted = numbers <= maxgen
    if not counted.any():
        raise UsageError(f"none of {len(values)} scores belongs to generation {maxgen} or before.")
    values, numbers = values[counted], numbers[counted].astype(np.intp)
    generations = np.arange(numbers.min(), numbers.max() + 1)
    group = numbers - numbers.min()
    n = np.bincount(group)
    with np.errstate(invalid="ignore", divide="ignore"):  # 0/0 where there are too few scores
        means = np.bincount(group, values) / n
        variances = np.bincount(group, (values - means[group]) ** 2) / (n - ddof)
        variances[n <= ddof] = np.nan
        spreads = np.sqrt(variances / n if sem else variances)
    kept = (n != 1) | single
    return means[kept], spreads[kept], generations[kept]


@dataclass(frozen=True)
class TrivariateCorrelation:
    """Three variables: Pearson correlations of pairs, and of two with the third held constant.

    Attributes
    ----------
    xy, xz, yz : float
        Pearson correlations.
    xy_given_z, xz_given_y, yz_given_x : float
        Partial correlations.
    p_xy_given_z, p_xz_given_y, p_yz_given_x : float
        Their two-sided p values, t with ``n - 3`` degrees of freedom.
    n : int
        Triples without NaN.
    """

    xy: float
    xz: float
    yz: float
    xy_given_z: float
    xz_given_y: float
    yz_given_x: float
    p_xy_given_z: float
    p_xz_given_y: float
    p_yz_given_x: float
    n: int


def trivariate_corr(x: ArrayLike, y: ArrayLike, z: ArrayLike) -> TrivariateCorrelation:
    """Correlate three variables, each pair also with the third one held constant.

    Parameters
    ----------
    x, y, z : array-like, shape (n,)
        Triples by position; those with a NaN are left out.

    Returns
    -------
    TrivariateCorrelation

    Raises
    ------
    UsageError
        If lengths differ, fewer than 4 triples are left, a variable is constant, or two are the
        same up to scale.
    """
    triples = _complete([x, y, z], at_least=4)
    n = triples.shape[1]
    xy, xz, yz = _three_correlations(triples)
    partial = {
        "xy_given_z": _partial(xy, xz, yz),
        "xz_given_y": _partial(xz, xy, yz),
        "yz_given_x": _partial(yz, xy, xz),
    }
    p_values = {f"p_{name}": _p_of_correlation(r, n - 3) for name, r in partial.items()}
    return TrivariateCorrelation(xy, xz, yz, **partial, **p_values, n=n)


@dataclass(frozen=True)
class CorrelationDifference:
    """Whether two correlations differ.

    Attributes
    ----------
    z : float
        Difference of the Fisher-transformed correlations over its standard error; positive where
        the first one is higher. Standard normal where they are equal.
    p : float
        Two-sided p value.
    difference : float
        Of the Fisher-transformed correlations.
    standard_error : float
        Of that difference.
    """

    z: float
    p: float
    difference: float
    standard_error: float


def correlation_difference(A: ArrayLike, B: ArrayLike, C: ArrayLike) -> CorrelationDifference:
    """Test whether A correlates with B as it does with C, all measured on the same cases.

    The two correlations depend on each other through A and through the correlation of B with C
    (Meng, Rosenthal & Rubin 1992, Psychological Bulletin 111, equations 1 to 3).

    Parameters
    ----------
    A, B, C : array-like, shape (n,)
        Triples by position; those with a NaN are left out.

    Returns
    -------
    CorrelationDifference

    Raises
    ------
    UsageError
        If lengths differ, fewer than 4 triples are left, a variable is constant, or two are the
        same up to scale.
    """
    triples = _complete([A, B, C], at_least=4)
    ab, ac, bc = _three_correlations(triples)
    mean_square = (ab**2 + ac**2) / 2
    f = min((1 - bc) / (2 * (1 - mean_square)), 1.0)
    h = (1 - f * mean_square) / (1 - mean_square)
    error = np.sqrt(2 * (1 - bc) * h / (triples.shape[1] - 3))
    return _difference(ab, ac, float(error))


def independent_correlation_difference(
    r1: float, n1: int, r2: float, n2: int
) -> CorrelationDifference:
    """Test whether the correlations of two separate samples differ (Fisher).

    Parameters
    ----------
    r1, r2 : float
        Pearson correlations.
    n1, n2 : int
        Cases of the samples.

    Returns
    -------
    CorrelationDifference
        Its standard error is ``sqrt(1/(n1-3) + 1/(n2-3))``.

    Raises
    ------
    UsageError
        If a correlation is not between -1 and 1 or a sample smaller than 4.
    """
    if not (abs(r1) < 1 and abs(r2) < 1 and n1 >= 4 and n2 >= 4):
        raise UsageError(
            f"correlations {r1} of {n1} cases and {r2} of {n2} cannot be compared; they must lie "
            "between -1 and 1 and come from at least 4 cases."
        )
    return _difference(r1, r2, float(np.sqrt(1 / (n1 - 3) + 1 / (n2 - 3))))


def _complete(variables: list[ArrayLike], at_least: int) -> FloatArray:
    """Return the cases in which every variable is known, shape (n_variables, n)."""
    columns = [np.asarray(variable, dtype=np.float64).reshape(-1) for variable in variables]
    lengths = [len(column) for column in columns]
    if len(set(lengths)) != 1:
        raise UsageError(f"variables have {lengths} values; give the same cases for each.")
    cases = np.stack(columns)
    cases = cases[:, ~np.isnan(cases).any(axis=0)]
    if cases.shape[1] < at_least:
        raise UsageError(f"{cases.shape[1]} complete cases are too few; {at_least} are needed.")
    if (np.ptp(cases, axis=1) == 0).any():
        raise UsageError("a variable is constant; it correlates with nothing.")
    return cases


def _three_correlations(triples: FloatArray) -> tuple[float, float, float]:
    """Return the Pearson correlations of variables 0 and 1, 0 and 2, 1 and 2."""
    matrix = np.atleast_2d(np.corrcoef(triples))
    first, second, third = matrix[np.triu_indices(3, k=1)].tolist()
    if max(abs(first), abs(second), abs(third)) > HIGHEST_CORRELATION:
        raise UsageError("two of the variables are the same up to scale; nothing can be tested.")
    return first, second, third


def _partial(target: float, first: float, second: float) -> float:
    """Correlate two variables with a third held constant, from the correlations with it."""
    return float((target - first * second) / np.sqrt((1 - first**2) * (1 - second**2)))


def _p_of_correlation(r: float, dof: int) -> float:
    t = r * np.sqrt(dof / (1 - r**2))
    return float(2 * stats.t.sf(abs(t), dof))


def _difference(r1: float, r2: float, error: float) -> CorrelationDifference:
    difference = float(np.arctanh(r1) - np.arctanh(r2))
    z = difference / error
    return CorrelationDifference(z, float(2 * stats.norm.sf(abs(z))), difference, error)


if not TYPE_CHECKING:
    __getattr__ = door(__name__)

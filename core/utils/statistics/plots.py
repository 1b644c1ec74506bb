"""Drawings that carry their statistics: paired strips, bands of error, scatter with correlation."""

from __future__ import annotations

from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.typing import ColorType
from numpy.typing import ArrayLike
from scipy import stats

from core.errors import UsageError, choose_from
from core.utils.statistics.t_tests import Mask, masked_column, ttest_rel_df

#: Standard deviation of the horizontal scatter of the points of a strip.
JITTER = 0.1

#: Seed of that scatter; not one that data are likely to be drawn with (equal seeds, equal numbers).
JITTER_SEED = 706_174_740

_CORRELATIONS: dict[str, Any] = {"pearson": stats.pearsonr, "spearman": stats.spearmanr}


def paired_strip_plot(
    df: pd.DataFrame,
    msk: Mask,
    col1: str,
    col2: str,
    ax: Axes | None = None,
    seed: np.random.Generator | int = JITTER_SEED,
) -> Axes:
    """Draw two columns as strips of points, pairs joined by lines, titled with their paired t test.

    Parameters
    ----------
    df : pandas.DataFrame
    msk : boolean array-like, shape (n_rows,), or None
        Rows to draw; None takes all. Rows with a NaN in either column are left out.
    col1, col2 : str
        Names of the columns.
    ax : matplotlib Axes, optional
        Where to draw; new axes by default.
    seed : numpy.random.Generator or int, optional
        Scatters the points sideways (or the seed of that); the same way each time by default.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    UsageError
        As `ttest_rel_df`.
    """
    result = ttest_rel_df(df, msk, col1, col2)
    pairs = np.stack([masked_column(df, msk, col1), masked_column(df, msk, col2)])
    pairs = pairs[:, ~np.isnan(pairs).any(axis=0)]
    jitter = JITTER * np.random.default_rng(seed).standard_normal(pairs.shape)
    places = np.array([[0.0], [1.0]]) + jitter
    ax = _axes(ax)
    ax.plot(places, pairs, color="grey", linewidth=0.6, alpha=0.5, zorder=1)
    for x, y in zip(places, pairs, strict=True):
        ax.scatter(x, y, s=16, alpha=0.8, zorder=2)
    ax.set_xticks([0, 1], [col1, col2])
    ax.set_title(f"paired t({result.df:g})={result.statistic:.2f}, p={result.pvalue:.1e}")
    return ax


def shaded_errorbar(
    x: ArrayLike,
    y: ArrayLike,
    yerr: ArrayLike,
    color: ColorType | None = None,
    alpha: float = 0.3,
    ax: Axes | None = None,
    **line_options: Any,
) -> Line2D:
    """Draw a line and a band of error around it.

    Parameters
    ----------
    x, y, yerr : array-like, shape (n,)
        The band goes from ``y - yerr`` to ``y + yerr``, and has a gap where `yerr` is NaN.
    color : matplotlib colour, optional
        The next one of the cycle by default.
    alpha : float, default 0.3
        Opacity of the band.
    ax : matplotlib Axes, optional
        Where to draw; the current axes by default.
    **line_options
        Passed to ``ax.plot``, such as ``label``.

    Returns
    -------
    matplotlib.lines.Line2D
    """
    ax = plt.gca() if ax is None else ax
    middle, error = np.asarray(y, dtype=np.float64), np.asarray(yerr, dtype=np.float64)
    (line,) = ax.plot(x, middle, color=color, **line_options)
    ax.fill_between(
        x, middle - error, middle + error, color=line.get_color(), alpha=alpha, linewidth=0
    )
    return line


def shaded_errorbar_arr(
    arr: ArrayLike,
    color: ColorType | None = None,
    alpha: float = 0.3,
    errtype: Literal["sem", "std"] = "sem",
    ax: Axes | None = None,
    *,
    x: ArrayLike | None = None,
    **line_options: Any,
) -> Line2D:
    """Draw the mean of the rows of an array, and a band of their standard error or deviation.

    Parameters
    ----------
    arr : array-like, shape (n_repeats, n)
        NaN is left out; the number of repeats of a column is that of its known values, ddof is 1.
    color, alpha
        As for `shaded_errorbar`.
    errtype : "sem" or "std", default "sem"
    ax, **line_options
        As for `shaded_errorbar`.
    x : array-like, shape (n,), optional
        0, 1, 2, … by default.

    Returns
    -------
    matplotlib.lines.Line2D

    Raises
    ------
    UsageError
        If `arr` is not two-dimensional or `errtype` unknown.
    """
    rows = np.asarray(arr, dtype=np.float64)
    if rows.ndim != 2:
        raise UsageError(f"arr has shape {rows.shape}; give (n_repeats, n).")
    if errtype not in ("sem", "std"):
        raise UsageError(choose_from(errtype, ("sem", "std"), "errtype"))
    n_known = (~np.isnan(rows)).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):  # NaN for a column of no or one value
        mean = np.nansum(rows, axis=0) / n_known
        error = np.sqrt(np.nansum((rows - mean) ** 2, axis=0) / (n_known - 1))
        error[n_known < 2] = np.nan
        if errtype == "sem":
            error /= np.sqrt(n_known)
    places = np.arange(rows.shape[1]) if x is None else x
    return shaded_errorbar(places, mean, error, color, alpha, ax, **line_options)


def scatter_corr(
    df: pd.DataFrame,
    x: str,
    y: str,
    ax: Axes | None = None,
    corrtype: Literal["pearson", "spearman"] = "pearson",
    **scatter_options: Any,
) -> tuple[Axes, float, float]:
    """Scatter two columns and title them with their correlation.

    Parameters
    ----------
    df : pandas.DataFrame
    x, y : str
        Names of the columns; rows with a NaN in either are left out.
    ax : matplotlib Axes, optional
        Where to draw; new axes by default.
    corrtype : "pearson" or "spearman", default "pearson"
    **scatter_options
        Passed to `seaborn.scatterplot`, such as ``hue="visual_area"``.

    Returns
    -------
    ax : matplotlib Axes
    rho, p : float
        The correlation and its two-sided p value.

    Raises
    ------
    UsageError
        If a column does not exist, `corrtype` is unknown, or fewer than 3 rows are left.
    """
    if corrtype not in _CORRELATIONS:
        raise UsageError(choose_from(corrtype, _CORRELATIONS, "corrtype"))
    points = np.stack([masked_column(df, None, x), masked_column(df, None, y)])
    points = points[:, ~np.isnan(points).any(axis=0)]
    n = points.shape[1]
    if n < 3:
        raise UsageError(f"{n} rows have both {x!r} and {y!r}; a correlation needs 3.")
    rho, p = _CORRELATIONS[corrtype](*points)
    ax = _axes(ax)
    options: dict[str, Any] = {"s": 16, "alpha": 0.7} | scatter_options
    sns.scatterplot(data=df.dropna(subset=[x, y]), x=x, y=y, ax=ax, **options)
    ax.set(xlabel=x, ylabel=y, title=f"corr={rho:.3f} p={p:.1e} n={n}")
    return ax, float(rho), float(p)


def _axes(ax: Axes | None) -> Axes:
    return plt.subplots(layout="constrained")[1] if ax is None else ax

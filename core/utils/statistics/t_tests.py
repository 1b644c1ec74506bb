"""Student's t tests: `student` for the analyses of the paper, the others worded for a text.

`student` takes whole samples and is NaN where it is not defined. The worded tests omit NaN, from a
paired test in pairs, refuse samples that are too small, and tell n and the degrees of freedom of
what was counted. Spreads are sample standard deviations (ddof 1).
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import scipy
from numpy.typing import ArrayLike, NDArray

from core.errors import UsageError, choose_from
from core.utils.published_keywords import published_keywords

NanPolicy = Literal["omit", "propagate", "raise"]
Mask = ArrayLike | None
#: t, p and the sentence; with the degrees of freedom before it where they were asked for.
Printed = tuple[float, float, str] | tuple[float, float, float, str]
Sample = NDArray[np.float64]

#: Values that differ by less than this, relative to the largest, are equal: means of 150 samples
#: are rounded some 1e-15, and a test of rounding errors would find anything.
ROUNDING = 1e-13

_NAN_POLICIES = ("omit", "propagate", "raise")


@dataclass(frozen=True)
class StudentTest:
    """Student tests of one or many pairs of samples; t > 0 where the first is larger.

    Attributes
    ----------
    t, p : numpy.ndarray
        Of the shape of the points tested (0-dimensional for one pair); p is two-sided. NaN where
        the test is not defined.
    df : numpy.ndarray
        Degrees of freedom of each; NaN where the test is not defined.
    n : int
        Pairs, or values in both samples together.
    """

    t: NDArray[np.float64]
    p: NDArray[np.float64]
    df: NDArray[np.float64]
    n: int


def student(
    first: ArrayLike, second: ArrayLike, *, paired: bool = False, equal_variances: bool = True
) -> StudentTest:
    """Two-sided Student test, with pooled variance or of the differences of pairs, point by point.

    Parameters
    ----------
    first, second : array_like
        (n, ...) values, one test for each point of the axes after the first. Unpaired samples may
        differ in size.
    paired : bool, default False
        Whether value i of one sample belongs to value i of the other.
    equal_variances : bool, default True
        False for Welch's test of unpaired samples, with the degrees of freedom of Satterthwaite.

    Returns
    -------
    StudentTest
        NaN where a sample has fewer than two values or a NaN, or where nothing varies: neither
        sample, or not the differences of the pairs, by more than the rounding of the values.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    t, p, df = (np.full(a.shape[1:], np.nan) for _ in range(3))
    varies: NDArray[np.bool_] = np.array(False)
    if min(len(a), len(b)) > 1:
        scale = np.maximum(abs(a).max(axis=0), abs(b).max(axis=0))
        varies = _varies([a - b] if paired else [a, b], scale)
    if varies.any():
        a, b = (x[:, varies] if x.ndim > 1 else x for x in (a, b))
        # t has no unit; by a power of two, exactly, no square of 1e200 overflows.
        exponent = np.frexp(scale[varies] if scale.ndim else scale)[1]
        a, b = np.ldexp(a, -exponent), np.ldexp(b, -exponent)
        result = _of_differences(a, b) if paired else _of_moments(a, b, equal_variances)
        t[varies], p[varies], df[varies] = result
    n = len(a) if paired else len(a) + len(b)
    return StudentTest(t, p, np.where(np.isnan(t), np.nan, df), n)


@published_keywords(col1="c1", col2="c2")
def ttest_rel_df(df: pd.DataFrame, msk: Mask, c1: str, c2: str) -> Any:
    """Paired t test of two columns.

    Parameters
    ----------
    df : pandas.DataFrame
    msk : boolean array-like, shape (n_rows,), or None
        Rows that count; None takes all. Rows with a NaN in either column never count.
    c1, c2 : str
        Names of the columns; t is positive where `c1` is larger.

    Returns
    -------
    scipy TtestResult
        Unpacks into (t, p); has ``df`` and ``confidence_interval()`` of the mean difference.

    Raises
    ------
    UsageError
        If a column does not exist, the mask does not fit, or fewer than 2 pairs are left.
    """
    return _paired(*_pairs(masked_column(df, msk, c1), masked_column(df, msk, c2), "omit"))


def ttest_ind_df(df: pd.DataFrame, msk1: Mask, msk2: Mask, col: str, equal_var: bool = True) -> Any:
    """Two-sample t test of one column between two sets of rows.

    Parameters
    ----------
    df : pandas.DataFrame
    msk1, msk2 : boolean array-like, shape (n_rows,), or None
        The two sets of rows; None takes all. NaN never counts.
    col : str
        Name of the column; t is positive where the first set is larger.
    equal_var : bool, default True
        Student's test; False is Welch's.

    Returns
    -------
    scipy TtestResult
        Unpacks into (t, p); has ``df`` and ``confidence_interval()`` of the difference of means.

    Raises
    ------
    UsageError
        If the column does not exist, a mask does not fit, or a set has fewer than 2 values.
    """
    first, second = (_known(masked_column(df, msk, col), "omit") for msk in (msk1, msk2))
    return _two_samples(first, second, equal_var)


def ttest_rel_print(
    seq1: ArrayLike,
    seq2: ArrayLike,
    sem: bool = False,
    latex: bool = False,
    nan_policy: NanPolicy = "omit",
    output_dof: bool = False,
    names: tuple[str, str] = ("1", "2"),
) -> Printed:
    """Paired t test, printed as a sentence.

    Parameters
    ----------
    seq1, seq2 : array-like, shape (n,)
        Pairs by position (the index of a Series is ignored).
    sem : bool, default False
        Print means with standard errors instead of standard deviations.
    latex : bool, default False
        Word it for LaTeX.
    nan_policy : "omit", "propagate" or "raise", default "omit"
        Leave out pairs with a NaN, let them make t and p NaN, or refuse them.
    output_dof : bool, default False
        Return the degrees of freedom too.
    names : (str, str), default ("1", "2")
        What the samples are called in the sentence.

    Returns
    -------
    (t, p[, df], sentence)

    Raises
    ------
    UsageError
        If lengths differ, fewer than 2 pairs are left, or a NaN is refused.
    """
    first, second = _pairs(_sample(seq1), _sample(seq2), nan_policy)
    result = _paired(first, second)
    means = _against(first, second, names, sem)
    return _printed(result, f"{means} (n={len(first)} pairs)", latex, output_dof)


def ttest_ind_print(
    seq1: ArrayLike,
    seq2: ArrayLike,
    sem: bool = False,
    latex: bool = False,
    nan_policy: NanPolicy = "omit",
    output_dof: bool = False,
    names: tuple[str, str] = ("1", "2"),
    equal_var: bool = True,
) -> Printed:
    """Two-sample t test, printed as a sentence.

    Parameters
    ----------
    seq1, seq2 : array-like, shapes (n1,) and (n2,)
    sem, latex, nan_policy, output_dof, names
        As for `ttest_rel_print`.
    equal_var : bool, default True
        Student's test; False is Welch's.

    Returns
    -------
    (t, p[, df], sentence)

    Raises
    ------
    UsageError
        If a sample has fewer than 2 values, or a NaN is refused.
    """
    first, second = (_known(_sample(seq), nan_policy) for seq in (seq1, seq2))
    result = _two_samples(first, second, equal_var)
    means = _against(first, second, names, sem)
    return _printed(result, f"{means} (n={len(first)}, {len(second)})", latex, output_dof)


def ttest_1samp_print(
    seq: ArrayLike,
    scalar: float,
    sem: bool = False,
    latex: bool = False,
    nan_policy: NanPolicy = "omit",
    output_dof: bool = False,
) -> tuple[float, float] | Printed:
    """One-sample t test against a number, printed as a sentence.

    Parameters
    ----------
    seq : array-like, shape (n,)
    scalar : float
        The mean to be tested against.
    sem, latex, nan_policy, output_dof
        As for `ttest_rel_print`.

    Returns
    -------
    (t, p), or (t, p, df, sentence) with `output_dof`

    Raises
    ------
    UsageError
        If fewer than 2 values are left, or a NaN is refused.
    """
    sample = _known(_sample(seq), nan_policy)
    _require_two(sample)
    result = scipy.stats.ttest_1samp(sample, scalar)
    subject = f"{_mean_and_spread(sample, sem)} vs {scalar:.3f} (n={len(sample)})"
    printed = _printed(result, subject, latex, output_dof)
    return printed if output_dof else printed[:2]


@published_keywords(col1="c1", col2="c2")
def ttest_rel_print_df(
    df: pd.DataFrame,
    msk: Mask,
    c1: str,
    c2: str,
    sem: bool = False,
    latex: bool = False,
    **options: Any,
) -> Printed:
    """`ttest_rel_print` of two columns; `msk` as for `ttest_rel_df`."""
    columns = masked_column(df, msk, c1), masked_column(df, msk, c2)
    return ttest_rel_print(*columns, sem, latex, names=(c1, c2), **options)


def ttest_ind_print_df(
    df: pd.DataFrame,
    msk1: Mask,
    msk2: Mask,
    col: str,
    sem: bool = False,
    latex: bool = False,
    **options: Any,
) -> Printed:
    """`ttest_ind_print` of one column between two sets of rows; masks as for `ttest_ind_df`."""
    columns = masked_column(df, msk1, col), masked_column(df, msk2, col)
    return ttest_ind_print(*columns, sem, latex, **options)


def latexify_tststs(text: str | float, p: float | None = None, df: float | None = None) -> str:
    r"""Turn the sentence of a t test into LaTeX, or t, p and the degrees of freedom.

    Parameters
    ----------
    text : str or float
        The sentence, or t.
    p, df : float, optional
        With t: its p value and degrees of freedom.

    Examples
    --------
    >>> print(latexify_tststs("1.50±0.20: t(9)=2.31, p=4.6e-02"))
    $1.50\pm0.20$: $t_{9}=2.31$, $p=4.6\times10^{-2}$
    """
    if not isinstance(text, str):
        if p is None:
            raise UsageError(f"t={text} was given without p; give the sentence, or t, p and df.")
        text = f"t({df:.4g})={text:.3f}, p={p:.1e}" if df is not None else f"p={p:.1e}"
    number = r"(-?(?:\d+\.?\d*|nan|inf))"
    for pattern, replacement in (
        (rf"{number}±{number}", r"$\1\\pm\2$"),
        (rf"\bt\({number}\)={number}", r"$t_{\1}=\2$"),
        (r"\bp=(-?\d+\.?\d*)e([+-])0*(\d+)", r"$p=\1\\times10^{\2\3}$"),
    ):
        text = re.sub(pattern, replacement, text)
    return text.replace("10^{+", "10^{")


def _varies(samples: list[Sample], scale: Sample) -> NDArray[np.bool_]:
    """Tell at which points any of some samples holds values that differ by more than rounding."""
    return np.any([np.ptp(sample, axis=0) > ROUNDING * scale for sample in samples], axis=0)


def _of_differences(first: Sample, second: Sample) -> tuple[ArrayLike, ArrayLike, ArrayLike]:
    result = scipy.stats.ttest_rel(first, second)
    return result.statistic, result.pvalue, len(first) - 1


def _of_moments(
    first: Sample, second: Sample, equal_variances: bool
) -> tuple[ArrayLike, ArrayLike, ArrayLike]:
    (a, var_a, n), (b, var_b, m) = (
        (x.mean(axis=0), np.square(x.std(axis=0, ddof=1)), len(x)) for x in (first, second)
    )
    if equal_variances:
        df: Any = n + m - 2
        pooled = ((n - 1) * var_a + (m - 1) * var_b) / df
        standard_error = np.sqrt(pooled * (1 / n + 1 / m))
    else:
        of_a, of_b = var_a / n, var_b / m  # squared standard errors
        df = (of_a + of_b) ** 2 / (of_a**2 / (n - 1) + of_b**2 / (m - 1))
        standard_error = np.sqrt(of_a + of_b)
    t = (a - b) / standard_error
    return t, 2 * scipy.special.stdtr(df, -abs(t)), df


def _sample(given: ArrayLike) -> Sample:
    return np.asarray(given, dtype=np.float64).reshape(-1)


def masked_column(df: pd.DataFrame, msk: Mask, name: str) -> Sample:
    """Return the values of a column in the rows of a mask."""
    if name not in df.columns:
        raise UsageError(choose_from(name, df.columns, "column"))
    values = df[name].to_numpy(dtype=np.float64, na_value=np.nan)
    if msk is None:
        return values
    mask = np.asarray(msk)
    if mask.shape != values.shape or mask.dtype != np.bool_:
        raise UsageError(
            f"a mask of {mask.dtype} and shape {mask.shape} selects no rows of {len(values)}; "
            "give one True or False per row."
        )
    return values[mask]


def _known(sample: Sample, nan_policy: NanPolicy) -> Sample:
    """Treat NaN as the policy says."""
    if nan_policy not in _NAN_POLICIES:
        raise UsageError(choose_from(nan_policy, _NAN_POLICIES, "nan_policy"))
    missing = np.isnan(sample)
    if nan_policy == "raise" and missing.any():
        raise UsageError(f"{missing.sum()} of {len(sample)} values are NaN.")
    return sample[~missing] if nan_policy == "omit" else sample


def _pairs(first: Sample, second: Sample, nan_policy: NanPolicy) -> tuple[Sample, Sample]:
    """Treat NaN in either member of a pair as the policy says."""
    if len(first) != len(second):
        raise UsageError(
            f"{len(first)} and {len(second)} values make no pairs; give samples of one length, or "
            "use the two-sample test."
        )
    differences = first - second
    _known(differences, nan_policy)
    counted = ~np.isnan(differences) if nan_policy == "omit" else np.ones(len(first), bool)
    return first[counted], second[counted]


def _paired(first: Sample, second: Sample) -> Any:
    _require_two(first)
    return scipy.stats.ttest_rel(first, second)


def _two_samples(first: Sample, second: Sample, equal_var: bool) -> Any:
    _require_two(first)
    _require_two(second)
    return scipy.stats.ttest_ind(first, second, equal_var=equal_var)


def _require_two(sample: Sample) -> None:
    if len(sample) < 2:
        raise UsageError(f"{len(sample)} known values are too few for a t test; it needs 2.")


def _mean_and_spread(sample: Sample, sem: bool) -> str:
    spread = sample.std(ddof=1) / (np.sqrt(len(sample)) if sem else 1)
    return f"{sample.mean():.3f}±{spread:.3f}"


def _against(first: Sample, second: Sample, names: tuple[str, str], sem: bool) -> str:
    return " vs ".join(
        f"{name} {_mean_and_spread(sample, sem)}"
        for name, sample in zip(names, (first, second), strict=True)
    )


def _printed(result: Any, subject: str, latex: bool, output_dof: bool) -> Printed:
    """Word, print and return a result."""
    t, p, dof = float(result.statistic), float(result.pvalue), float(result.df)
    sentence = f"{subject}: t({dof:.4g})={t:.3f}, p={p:.1e}"
    if latex:
        sentence = latexify_tststs(sentence)
    sys.stdout.write(f"{sentence}\n")
    return (t, p, dof, sentence) if output_dof else (t, p, sentence)

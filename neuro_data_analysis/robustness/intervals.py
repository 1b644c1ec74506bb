"""Intervals and effect sizes that know of sites: rates, paired differences, correlations.

Experiments repeat sites and sites belong to two animals. Resampling draws sites within animals and
keeps all their experiments together.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy
from numpy.typing import ArrayLike, NDArray

#: Coverage of every interval here.
COVERAGE = 0.95

#: Resamples of a cluster bootstrap.
N_RESAMPLES = 2000

#: Below so many sites the bootstrap is too narrow; the t interval of site means is preferred.
FEW_CLUSTERS = 15

Interval = tuple[float, float]
Statistic = Callable[[NDArray[np.intp]], float]


def wilson_interval(successes: int, total: int, coverage: float = COVERAGE) -> Interval:
    """Score interval of a rate (Wilson 1927); NaN without trials."""
    return _proportion_interval(successes, total, coverage, "wilson")


def jeffreys_interval(successes: int, total: int, coverage: float = COVERAGE) -> Interval:
    """Credible interval of a rate under Beta(½, ½), ends closed: it holds 0 at k = 0, 1 at k = n.

    Brown, Cai & DasGupta (2001), section 4.1.
    """
    return _proportion_interval(successes, total, coverage, "jeffreys")


def _proportion_interval(successes: int, total: int, coverage: float, method: str) -> Interval:
    if total == 0:
        return np.nan, np.nan
    # Takes as long to import as all else of a figure, most of which have no such interval.
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(successes, total, alpha=1 - coverage, method=method)
    # Both ends close on the estimate, Wilson's but for rounding.
    return (0.0 if successes == 0 else float(low)), (1.0 if successes == total else float(high))


@dataclass(frozen=True)
class ClusterBootstrap:
    """An estimate with intervals from resampled sites.

    Attributes
    ----------
    estimate : float
        The statistic of the data.
    percentile, bca : (float, float)
        95 % intervals: plain quantiles, and those corrected for bias and acceleration (Efron 1987,
        acceleration from leaving one site out).
    n_clusters : int
        Sites.
    """

    estimate: float
    percentile: Interval
    bca: Interval
    n_clusters: int


def cluster_bootstrap(
    statistic: Statistic,
    clusters: Sequence[Hashable],
    rng: np.random.Generator,
    strata: Sequence[Hashable] | None = None,
    n_resamples: int = N_RESAMPLES,
) -> ClusterBootstrap:
    """Resample whole clusters within strata and recompute a statistic.

    Parameters
    ----------
    statistic : callable
        Row numbers, repeated as drawn → a number; NaN where it is not defined.
    clusters : sequence
        (n_rows,) which cluster, such as a site, each row belongs to.
    rng : numpy.random.Generator
        Draws the clusters.
    strata : sequence, optional
        (n_rows,) within what clusters are drawn, such as an animal, so that each keeps its number
        of clusters.
    n_resamples : int, default 2000
        Resamples.

    Returns
    -------
    ClusterBootstrap
        Intervals NaN below two clusters.
    """
    rows = _rows_of_clusters(clusters, strata)
    members = [group for stratum in rows for group in stratum]
    estimate = statistic(np.arange(len(clusters)))
    if len(members) < 2:
        return ClusterBootstrap(estimate, (np.nan, np.nan), (np.nan, np.nan), len(members))
    drawn = np.array([statistic(_drawn_rows(rows, rng)) for _ in range(n_resamples)])
    left_out = np.array(
        [statistic(np.concatenate(members[:i] + members[i + 1 :])) for i in range(len(members))]
    )
    tails = np.array([(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return ClusterBootstrap(
        estimate,
        _quantiles(drawn, tails),
        _quantiles(drawn, _bca_tails(estimate, drawn, left_out, tails)),
        len(members),
    )


def _rows_of_clusters(
    clusters: Sequence[Hashable], strata: Sequence[Hashable] | None
) -> list[list[NDArray[np.intp]]]:
    rows: dict[Hashable, dict[Hashable, list[int]]] = {}
    for row, (cluster, stratum) in enumerate(
        zip(clusters, strata if strata is not None else [""] * len(clusters), strict=True)
    ):
        rows.setdefault(stratum, {}).setdefault(cluster, []).append(row)
    return [[np.array(members) for members in stratum.values()] for stratum in rows.values()]


def _drawn_rows(
    strata: list[list[NDArray[np.intp]]], rng: np.random.Generator
) -> NDArray[np.intp]:
    return np.concatenate(
        [stratum[i] for stratum in strata for i in rng.integers(len(stratum), size=len(stratum))]
    )


def _bca_tails(
    estimate: float,
    drawn: NDArray[np.float64],
    left_out: NDArray[np.float64],
    tails: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the tails of a BCa interval (Efron & Tibshirani 1993, equations 14.9 to 14.15)."""
    below = np.nanmean((drawn < estimate) + 0.5 * (drawn == estimate))
    deviation = np.nanmean(left_out) - left_out
    spread = np.nansum(deviation**2)
    if not 0 < below < 1 or spread == 0:
        return tails
    bias = scipy.stats.norm.ppf(below)
    acceleration = np.nansum(deviation**3) / (6 * spread**1.5)
    z = bias + scipy.stats.norm.ppf(tails)
    return np.asarray(scipy.stats.norm.cdf(bias + z / (1 - acceleration * z)))


def _quantiles(drawn: NDArray[np.float64], tails: NDArray[np.float64]) -> Interval:
    known = drawn[np.isfinite(drawn)]
    if not len(known):
        return np.nan, np.nan
    low, high = np.quantile(known, tails)
    return float(low), float(high)


@dataclass(frozen=True)
class MeanTest:
    """A one-sample Student test with the interval of the mean.

    Attributes
    ----------
    mean : float
        Of the values.
    interval : (float, float)
        95 % interval of the mean.
    t, p : float
        Against 0, two-sided.
    df, n : int
        Degrees of freedom, number of values.
    """

    mean: float
    interval: Interval
    t: float
    p: float
    df: int
    n: int


def mean_test(values: ArrayLike) -> MeanTest:
    """Test the mean of independent values, such as those of sites, against 0."""
    x = np.asarray(values, dtype=np.float64)
    mean = float(x.mean()) if len(x) else np.nan
    if len(x) < 2 or np.ptp(x) == 0:
        return MeanTest(mean, (np.nan, np.nan), np.nan, np.nan, max(len(x) - 1, 0), len(x))
    result = scipy.stats.ttest_1samp(x, 0)
    interval = result.confidence_interval(COVERAGE)
    return MeanTest(
        mean,
        (float(interval.low), float(interval.high)),
        float(result.statistic),
        float(result.pvalue),
        len(x) - 1,
        len(x),
    )


def cluster_means(values: ArrayLike, clusters: Sequence[Hashable]) -> NDArray[np.float64]:
    """Mean of every cluster, in the order of their first rows."""
    frame = pd.DataFrame({"value": np.asarray(values, dtype=np.float64), "cluster": list(clusters)})
    return frame.groupby("cluster", sort=False)["value"].mean().to_numpy()


def intraclass_correlation(values: ArrayLike, clusters: Sequence[Hashable]) -> float:
    """ICC of a one-way layout: (MSB − MSW) / (MSB + (m̄ − 1) MSW), m̄ the mean cluster size."""
    frame = pd.DataFrame({"value": np.asarray(values, dtype=np.float64), "cluster": list(clusters)})
    groups = frame.groupby("cluster")["value"]
    sizes, means = groups.size().to_numpy(), groups.mean().to_numpy()
    n, k = len(frame), len(sizes)
    if k < 2 or n == k:
        return np.nan
    between = (sizes * (means - frame["value"].mean()) ** 2).sum() / (k - 1)
    within = ((frame["value"] - groups.transform("mean")) ** 2).sum() / (n - k)
    total = between + (n / k - 1) * within
    return float((between - within) / total) if total else np.nan


def design_effect(values: ArrayLike, clusters: Sequence[Hashable]) -> float:
    """1 + (m̄ − 1) ICC: by how much clustering inflates the variance of a mean (Kish 1965)."""
    mean_size = len(clusters) / len(set(clusters))
    return 1 + (mean_size - 1) * intraclass_correlation(values, clusters)


@dataclass(frozen=True)
class EffectSize:
    """A standardised effect with its 95 % interval, from the noncentral t distribution.

    Attributes
    ----------
    name : str
        Which.
    value : float
        NaN where it is not defined.
    interval : (float, float)
        95 %.
    """

    name: str
    value: float
    interval: Interval


def paired_effect(differences: ArrayLike) -> EffectSize:
    """d_z: mean of the differences over their standard deviation (ddof 1)."""
    x = np.asarray(differences, dtype=np.float64)
    if len(x) < 2 or np.ptp(x) == 0:
        return EffectSize("d_z", np.nan, (np.nan, np.nan))
    d = float(x.mean() / x.std(ddof=1))
    low, high = _noncentrality(d * np.sqrt(len(x)), len(x) - 1)
    return EffectSize("d_z", d, (low / np.sqrt(len(x)), high / np.sqrt(len(x))))


def unpaired_effect(first: ArrayLike, second: ArrayLike) -> EffectSize:
    """Hedges' g = J (x̄₁ − x̄₂) / s_p, J = 1 − 3 / (4 df − 1) (Hedges 1981)."""
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    df = len(a) + len(b) - 2
    if min(len(a), len(b)) < 2 or max(np.ptp(a), np.ptp(b)) == 0:
        return EffectSize("Hedges g", np.nan, (np.nan, np.nan))
    pooled = np.sqrt(((len(a) - 1) * a.var(ddof=1) + (len(b) - 1) * b.var(ddof=1)) / df)
    correction, scale = 1 - 3 / (4 * df - 1), np.sqrt(1 / len(a) + 1 / len(b))
    d = float((a.mean() - b.mean()) / pooled)
    low, high = _noncentrality(d / scale, df)
    return EffectSize(
        "Hedges g", correction * d, (correction * low * scale, correction * high * scale)
    )


def correlation_interval(r: float, n: int, coverage: float = COVERAGE) -> Interval:
    """Interval of a Pearson correlation by Fisher's z; NaN below 4 pairs."""
    if n < 4 or not abs(r) < 1:
        return np.nan, np.nan
    reach = scipy.stats.norm.ppf((1 + coverage) / 2) / np.sqrt(n - 3)
    return float(np.tanh(np.arctanh(r) - reach)), float(np.tanh(np.arctanh(r) + reach))


def _noncentrality(t: float, df: int) -> Interval:
    """Noncentralities under which the seen t lies just at either tail."""
    low, high = scipy.special.nctdtrinc(df, [(1 + COVERAGE) / 2, (1 - COVERAGE) / 2], t)
    return float(low), float(high)

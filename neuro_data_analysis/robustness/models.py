"""Tests that respect sites and animals: mixed models, sign flips of sites, families of tests."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats
from scipy.special import expit, logsumexp
from statsmodels.regression.mixed_linear_model import MixedLM
from statsmodels.tools.numdiff import approx_hess
from statsmodels.tools.sm_exceptions import ConvergenceWarning

from core.errors import UsageError

#: A variance of sites below this share of the residual variance counts as none.
SINGULAR = 1e-4


#: The fit in which sites do not differ; it is an ordinary regression.
NO_SITE_VARIANCE = "singular: the variance of sites is zero"

NOT_CONVERGED = "not converged"


@dataclass(frozen=True)
class MixedModel:
    """A fixed effect of a linear model with a random intercept of sites.

    Attributes
    ----------
    formula : str
        The model, in words of its columns.
    estimate, standard_error : float
        Of the effect, by restricted maximum likelihood.
    interval : (float, float)
        95 % Wald interval.
    p : float
        Likelihood-ratio test of leaving the effect out, both models by maximum likelihood.
    site_variance, residual_variance : float
        By restricted maximum likelihood.
    n, n_sites : int
        Rows and sites.
    problem : str
        Why the fit is not to be trusted, empty where it is: not converged, or singular (the
        variance of sites is zero, so that the model is an ordinary regression).
    """

    formula: str
    estimate: float
    standard_error: float
    interval: tuple[float, float]
    p: float
    site_variance: float
    residual_variance: float
    n: int
    n_sites: int
    problem: str


def mixed_model(
    values: ArrayLike,
    effect: ArrayLike,
    sites: Sequence[Hashable],
    animals: Sequence[Hashable],
    covariates: Mapping[str, ArrayLike] | None = None,
    formula: str = "value ~ effect + animal + (1 | site)",
) -> MixedModel:
    """Fit a fixed effect beside the animal, with a random intercept of sites.

    Two animals are too few for a random effect; they enter as one fixed contrast, ±1, so that a
    constant `effect` estimates the mean of both.

    Parameters
    ----------
    values : array_like
        (n,) what was measured.
    effect : array_like
        (n,) the column in question; all ones tests the mean itself.
    sites, animals : sequence
        (n,) which site and which animal.
    covariates : mapping, optional
        More fixed columns, name → (n,).
    formula : str
        What to call the model.

    Returns
    -------
    MixedModel
        NaN, with the problem told, where sites do not repeat or there are too few rows.

    Raises
    ------
    UsageError
        If there are more than two animals.
    """
    given = np.asarray(values, dtype=np.float64)
    unit = given.std() or 1.0  # the optimiser expects numbers near 1
    y = given / unit
    fixed = {"effect": np.broadcast_to(np.asarray(effect, dtype=np.float64), y.shape)}
    names = sorted(set(animals), key=str)
    if len(names) > 1:
        fixed["animal"] = np.where(np.array([a == names[0] for a in animals]), 1.0, -1.0)
    if len(names) > 2:
        raise UsageError(f"{len(names)} animals ({', '.join(map(str, names))}); give two at most.")
    for name, column in (covariates or {}).items():
        fixed[name] = np.asarray(column, dtype=np.float64)
    needs_intercept = np.ptp(fixed["effect"]) > 0
    exog = pd.DataFrame(({"intercept": np.ones_like(y)} if needs_intercept else {}) | fixed)
    codes, known = pd.factorize(pd.Series(list(sites)))
    if len(known) >= len(y) or len(known) < 2 or len(y) < exog.shape[1] + 3:
        return unfitted(formula, len(y), len(known), "no site repeats, or too few rows")
    try:
        reml, problem_reml = _fitted(y, exog, codes, reml=True)
        full, problem_full = _log_likelihood(y, exog, codes)
        reduced, problem_reduced = _log_likelihood(y, exog.drop(columns="effect"), codes)
    except np.linalg.LinAlgError:
        return unfitted(formula, len(y), len(known), "columns or values do not vary enough")
    ratio = 2 * (full - reduced)
    problems = (problem_reml, problem_full, problem_reduced)
    with np.errstate(invalid="ignore"):  # columns that determine each other have no errors
        estimate, error = (unit * float(of["effect"]) for of in (reml.fe_params, reml.bse_fe))
    if not np.isfinite(error):
        return unfitted(formula, len(y), len(known), "columns or values do not vary enough")
    reach = float(stats.norm.ppf(0.975)) * error
    return MixedModel(
        formula=formula,
        estimate=estimate,
        standard_error=error,
        interval=(estimate - reach, estimate + reach),
        p=float(stats.chi2.sf(max(ratio, 0.0), 1)),
        site_variance=unit**2 * float(np.asarray(reml.cov_re).item()),
        residual_variance=unit**2 * float(reml.scale),
        n=len(y),
        n_sites=len(known),
        problem=next((p for p in problems if p == NOT_CONVERGED), problems[0]),
    )


def _fitted(
    y: NDArray[np.float64], exog: pd.DataFrame, groups: NDArray[np.intp], reml: bool
) -> tuple[Any, str]:
    """Fit, and say in words whether it can be trusted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # told by `converged` and the variance
        # Without derivatives: a variance of zero lies at the edge, where gradients do not vanish.
        fit = MixedLM(y, exog, groups).fit(reml=reml, method="powell")
    if not fit.converged:
        return fit, NOT_CONVERGED
    return fit, NO_SITE_VARIANCE if np.asarray(fit.cov_re).item() < SINGULAR * fit.scale else ""


def _log_likelihood(
    y: NDArray[np.float64], exog: pd.DataFrame, groups: NDArray[np.intp]
) -> tuple[float, str]:
    """Return the largest log-likelihood of a model, and what the fit complained of."""
    if exog.shape[1]:
        fit, problem = _fitted(y, exog, groups, reml=False)
        return float(fit.llf), problem
    return _log_likelihood_of_zero_mean(y, groups), ""


def _log_likelihood_of_zero_mean(y: NDArray[np.float64], groups: NDArray[np.intp]) -> float:
    """Return the largest log-likelihood without any fixed effect, which statsmodels cannot fit.

    With ψ the variance of sites over that of residuals, site i of n_i rows and sum S_i has
    determinant 1 + ψ n_i and quadratic form Σ y² − ψ S_i² / (1 + ψ n_i).
    """
    sizes, sums = np.bincount(groups), np.bincount(groups, weights=y)

    def minus_log_likelihood(psi: float) -> float:
        variance = ((y**2).sum() - (psi * sums**2 / (1 + psi * sizes)).sum()) / len(y)
        determinant = np.log1p(psi * sizes).sum()
        return float((len(y) * (np.log(2 * np.pi * variance) + 1) + determinant) / 2)

    best = optimize.minimize_scalar(lambda s: minus_log_likelihood(s**2), bracket=(0.0, 1.0))
    return -min(float(best.fun), minus_log_likelihood(0.0))


@dataclass(frozen=True)
class LogisticModel:
    """A fixed effect on the odds of success, with a random intercept of sites.

    Attributes
    ----------
    formula : str
        The model, in words of its columns.
    estimate, standard_error : float
        Of the effect, in log odds, by maximum likelihood.
    interval : (float, float)
        95 % Wald interval.
    p : float
        Likelihood-ratio test of leaving the effect out; of an intercept, of a rate of one half.
    site_sd : float
        Standard deviation of the sites' intercepts, in log odds.
    rate, rate_interval : float, (float, float)
        Estimate and interval as a rate, that of an average site, where the effect is the intercept.
    n, n_sites : int
        Rows and sites.
    problem : str
        Why the fit is not to be trusted, empty where it is.
    """

    formula: str
    estimate: float
    standard_error: float
    interval: tuple[float, float]
    p: float
    site_sd: float
    rate: float
    rate_interval: tuple[float, float]
    n: int
    n_sites: int
    problem: str


#: Nodes of the Gauss-Hermite rule that integrates over the sites' intercepts.
N_NODES = 31

#: Log odds beyond this are a rate of 0 or 1: the likelihood has no maximum.
ENDLESS = 12.0


def logistic_model(
    success: ArrayLike,
    effect: ArrayLike,
    sites: Sequence[Hashable],
    animals: Sequence[Hashable],
    formula: str = "success ~ effect + animal + (1 | site)",
) -> LogisticModel:
    """Fit the odds of success by an effect beside the animal, with a random intercept of sites.

    The likelihood of site i is ∫ Π_j expit(±(x_ij β + σ u)) φ(u) du, by Gauss-Hermite quadrature.

    Parameters
    ----------
    success : array_like of bool
        (n,)
    effect : array_like
        (n,) the column in question; all ones estimates the rate itself, of the mean of both
        animals.
    sites, animals : sequence
        (n,) which site and which animal.
    formula : str
        What to call the model.

    Returns
    -------
    LogisticModel
        NaN, with the problem told, where no site repeats, or where all or none succeed, in one
        group or altogether.
    """
    y = np.asarray(success, dtype=np.float64)
    column = np.broadcast_to(np.asarray(effect, dtype=np.float64), y.shape)
    columns = {"effect": column}
    names = sorted(set(animals), key=str)
    if len(names) > 1:
        columns["animal"] = np.where(np.array([a == names[0] for a in animals]), 1.0, -1.0)
    if np.ptp(column) > 0:
        columns["intercept"] = np.ones_like(y)
    codes, known = pd.factorize(pd.Series(list(sites)))
    if len(known) == len(y):
        return _no_odds(formula, len(y), len(known), "no site repeats")
    alike = [value for value in np.unique(column) if np.ptp(y[column == value]) == 0]
    if alike:
        problem = "all or none succeed" + ("" if np.ptp(column) == 0 else " in one group")
        return _no_odds(formula, len(y), len(known), problem)
    exog = np.stack(list(columns.values()), axis=1)
    full, reduced = _fit_odds(y, exog, codes), _fit_odds(y, exog[:, 1:], codes)
    beta, error = float(full.x[0]), float(full.errors[0])
    reach = float(stats.norm.ppf(0.975)) * error
    interval = beta - reach, beta + reach
    is_rate = np.ptp(column) == 0
    problem = "" if full.converged and reduced.converged else NOT_CONVERGED
    if abs(full.x[:-1]).max() > ENDLESS:
        problem = f"{NOT_CONVERGED}: a rate of 0 or 1 fits best"
    nothing = (np.nan, np.nan)
    return LogisticModel(
        formula, beta, error, interval,
        float(stats.chi2.sf(max(0.0, 2 * (reduced.loss - full.loss)), 1)),
        abs(float(full.x[-1])), float(expit(beta)) if is_rate else np.nan,
        (float(expit(interval[0])), float(expit(interval[1]))) if is_rate else nothing,
        len(y), len(known), problem,
    )  # fmt: skip


@dataclass(frozen=True)
class _Odds:
    x: NDArray[np.float64]
    errors: NDArray[np.float64]
    loss: float
    converged: bool


def _fit_odds(y: NDArray[np.float64], exog: NDArray[np.float64], codes: NDArray[np.intp]) -> _Odds:
    """Maximise the likelihood over the fixed effects and the standard deviation of sites."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(N_NODES)
    log_weights = np.log(weights / weights.sum())
    sign = (2 * y - 1)[:, np.newaxis]

    def loss(x: NDArray[np.float64]) -> float:
        log_p = -np.logaddexp(0, -sign * ((exog @ x[:-1])[:, np.newaxis] + x[-1] * nodes))
        by_site = np.zeros((codes.max() + 1, N_NODES))
        np.add.at(by_site, codes, log_p)
        return -float(logsumexp(by_site + log_weights, axis=1).sum())

    starts = [np.r_[np.zeros(exog.shape[1]), sd] for sd in (0.3, 1.5)]
    found = min((optimize.minimize(loss, x, method="BFGS") for x in starts), key=lambda f: f.fun)
    # Only the fixed effects: where the sites do not differ, σ = 0 lies at the edge.
    hessian = approx_hess(found.x[:-1], lambda beta: loss(np.r_[beta, found.x[-1]]))
    errors = np.sqrt(np.abs(np.diag(np.linalg.pinv(hessian)))) if exog.shape[1] else np.empty(0)
    settled = found.success or abs(found.jac).max() < 1e-3
    return _Odds(found.x, errors, float(found.fun), bool(settled))


def _no_odds(formula: str, n: int, n_sites: int, problem: str) -> LogisticModel:
    nothing, none = np.nan, (np.nan, np.nan)
    return LogisticModel(
        formula, nothing, nothing, none, nothing, nothing, nothing, none, n, n_sites,
        f"not fitted: {problem}",
    )  # fmt: skip


def unfitted(formula: str, n: int, n_sites: int, problem: str) -> MixedModel:
    """Return the model of data that allow none, and why."""
    nothing = np.nan
    return MixedModel(
        formula, nothing, nothing, (nothing, nothing), nothing, nothing, nothing, n, n_sites,
        f"not fitted: {problem}",
    )  # fmt: skip


def sign_flip_p(
    differences: ArrayLike,
    sites: Sequence[Hashable],
    rng: np.random.Generator,
    n_flips: int = 9999,
) -> float:
    """Two-sided p of a mean difference when the signs of whole sites are flipped at random.

    Under no difference the two threads of a site can be exchanged, all its experiments together.

    Parameters
    ----------
    differences : array_like
        (n,) first minus second thread.
    sites : sequence
        (n,)
    rng : numpy.random.Generator
        Draws the flips.
    n_flips : int, default 9999
        How many.

    Returns
    -------
    float
        ``(1 + #{|mean*| ≥ |mean|}) / (1 + n_flips)``; NaN without differences.
    """
    x = np.asarray(differences, dtype=np.float64)
    if not len(x):
        return np.nan
    sums = pd.Series(x).groupby(list(sites)).sum().to_numpy()
    signs = rng.choice((-1.0, 1.0), size=(n_flips, len(sums)))
    as_large = abs(signs @ sums) >= abs(sums.sum()) * (1 - 1e-12)
    return float((1 + as_large.sum()) / (1 + n_flips))


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Correct a family of p values by Holm (1979); a missing one stays missing, uncounted."""
    p = np.asarray(p_values, dtype=np.float64)
    rising = np.argsort(p)[: np.isfinite(p).sum()]  # missing ones come last
    stepped = np.maximum.accumulate(p[rising] * np.arange(len(rising), 0, -1))
    corrected = np.full(p.shape, np.nan)
    corrected[rising] = np.minimum(stepped, 1)
    return corrected

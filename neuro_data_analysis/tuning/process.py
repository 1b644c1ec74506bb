"""A Gaussian process through the single trials of one axis, and the shape of its mean (Figure 6E).

The model is C · RBF(ℓ) + white noise around zero. An axis has some 9 positions with several trials
each, and trials at one position differ by noise only, so that the likelihood of N trials at m
positions needs matrices of m × m, not of N × N: rotate the n_j trials at position j into √n_j times
their mean ȳ_j and n_j − 1 contrasts. With D = diag(√n) and S the sum of squares within positions,

    log p(y) = log N(Dȳ | 0, D K D + σ²I) − ½ [(N − m) log 2πσ² + S/σ²].
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from core.brief import brief
from core.utils.products import products_in_one_thread
from neuro_data_analysis.tuning.statistics import Levels, explained_variance

#: Bounds of the length scale, in units of the axis; its start is the range of the axis over 10.
LENGTH_BOUNDS, LENGTH_START = (0.01, 100.0), 0.1

#: Bounds of the variance of the process, and its start, over the variance of the responses.
SIGNAL_BOUNDS, SIGNAL_START = (0.01, 100.0), 1.0

#: Bounds of the noise, and its start, over the variance within positions.
NOISE_BOUNDS, NOISE_START = (0.01, 10.0), 0.1

#: Seeded restarts of the search for the parameters.
N_RESTARTS = 10

#: Points at which the process is evaluated, evenly from one end of the axis to the other.
N_POINTS = 100

#: A step of the mean below this counts as none, events/s per point (published, absolute).
FLAT_STEP = 0.01

_PARAMETERS = ("amplitude", "length_scale", "noise")


@dataclass(frozen=True)
class CurveShape:
    """Classes of a curve; neither exclusive nor exhaustive.

    Attributes
    ----------
    unimodal : bool
        It rises up to its maximum and falls after it.
    monotonic : bool
        It never falls, or never rises.
    bellshaped : bool
        It is unimodal and its maximum lies within.
    """

    unimodal: bool
    monotonic: bool
    bellshaped: bool

    @classmethod
    def of(cls, curve: ArrayLike) -> CurveShape:
        """Classify evenly spaced values in events/s; steps below `FLAT_STEP` go both ways."""
        y = np.asarray(curve, dtype=float)
        steps, peak = np.diff(y), int(y.argmax())
        rises, falls = steps >= -FLAT_STEP, steps <= FLAT_STEP
        unimodal = bool(rises[:peak].all() and falls[peak:].all())
        return cls(
            unimodal=unimodal,
            monotonic=bool(rises.all() or falls.all()),
            bellshaped=unimodal and 0 < peak < len(y) - 1,
        )


@dataclass(frozen=True)
class ProcessFit:
    """A fitted Gaussian process.

    Attributes
    ----------
    amplitude, length_scale, noise : float
        √C in events/s, ℓ in units of the axis, variance σ² of the noise; NaN where there is no fit.
    log_likelihood : float
        Log marginal likelihood of the trials; NaN where there is no fit.
    r2 : float
        Explained variance of the single trials.
    x, mean, std : numpy.ndarray
        (100,) points, mean and standard deviation (noise included) in events/s; empty where there
        is no fit.
    n_unconverged : int
        Searches, of 1 + `N_RESTARTS`, that stopped before they converged.
    at_bound : tuple of str
        Parameters that ended at a bound.
    problem : str
        Why there is no fit; empty if there is one.
    """

    amplitude: float = np.nan
    length_scale: float = np.nan
    noise: float = np.nan
    log_likelihood: float = np.nan
    r2: float = np.nan
    x: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    mean: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    std: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    n_unconverged: int = 0
    at_bound: tuple[str, ...] = ()
    problem: str = ""

    __repr__ = brief

    @property
    def shape(self) -> CurveShape:
        """Class of the mean curve; none where there is no fit."""
        return CurveShape.of(self.mean) if self.mean.size else CurveShape(False, False, False)


def fit_process(distance: ArrayLike, response: ArrayLike, seed: int) -> ProcessFit:
    """Fit a Gaussian process to single trials by maximum marginal likelihood.

    With v the variance of the responses (ddof 0), n the mean over positions of the variance within
    positions (v where no position has two trials) and R the range of the axis: C starts from v in
    [0.01 v, 100 v], ℓ from R/10 in [0.01, 100], noise from 0.1 n in [0.01 n, 10 n]. `N_RESTARTS`
    further starts are drawn, uniformly in the logarithms.

    Parameters
    ----------
    distance, response : array_like
        (n_trials,) position on the axis; response in events/s.
    seed : int
        Of the restarts.

    Returns
    -------
    ProcessFit
        With a `problem` for one position, or responses that do not vary at all or within positions.
    """
    x, y = np.asarray(distance, dtype=float), np.asarray(response, dtype=float)
    levels = Levels.of(x, y)
    variance = float(y.var())
    noise = levels.pooled_variance if np.isfinite(levels.pooled_variance) else variance
    problem = _why_no_process(levels.n, variance, noise)
    if problem:
        return ProcessFit(problem=problem)
    likelihood = LevelLikelihood.of(levels, len(y))
    scale = np.array([variance, 1.0, noise])
    low, high = np.log(scale * np.transpose([SIGNAL_BOUNDS, LENGTH_BOUNDS, NOISE_BOUNDS]))
    start = np.log(scale * (SIGNAL_START, LENGTH_START * np.ptp(x), NOISE_START))
    drawn = np.random.default_rng(seed).uniform(low, high, (N_RESTARTS, len(start)))
    bounds = scipy.optimize.Bounds(low, high)
    with products_in_one_thread():  # of matrices of 9 × 9
        searches = [
            scipy.optimize.minimize(
                likelihood.negative_log, theta, jac=True, method="L-BFGS-B", bounds=bounds
            )
            for theta in (start, *drawn)
        ]
    best = min(searches, key=lambda search: search.fun)
    if not np.isfinite(best.fun):
        return ProcessFit(problem="the covariance is singular")
    at_bound = np.isclose(best.x, low) | np.isclose(best.x, high)
    points = np.linspace(x.min(), x.max(), N_POINTS)
    mean, std = likelihood.predict(best.x, points)
    fitted, _ = likelihood.predict(best.x, x)
    signal, length, white = np.exp(best.x)
    return ProcessFit(
        amplitude=float(np.sqrt(signal)),
        length_scale=float(length),
        noise=float(white),
        log_likelihood=-float(best.fun),
        r2=explained_variance(y, y - fitted),
        x=points,
        mean=mean,
        std=std,
        n_unconverged=sum(not search.success for search in searches),
        at_bound=tuple(np.array(_PARAMETERS)[at_bound].tolist()),
    )


@dataclass(frozen=True)
class LevelLikelihood:
    """Likelihood of a process given the means and the scatter of the trials at each position.

    Attributes
    ----------
    position : numpy.ndarray
        (m,)
    root_count : numpy.ndarray
        (m,) √n_j.
    mean : numpy.ndarray
        (m,) ȳ_j, events/s.
    n_contrasts : int
        N − m.
    within : float
        S, sum of squares within positions.
    """

    position: NDArray[np.float64]
    root_count: NDArray[np.float64]
    mean: NDArray[np.float64]
    n_contrasts: int
    within: float

    @classmethod
    def of(cls, levels: Levels, n_trials: int) -> LevelLikelihood:
        """Take what the likelihood needs from grouped trials."""
        root = np.sqrt(levels.count)
        return cls(levels.distance, root, levels.mean, n_trials - levels.n, levels.within)

    def negative_log(
        self, log_parameters: NDArray[np.float64]
    ) -> tuple[float, NDArray[np.float64]]:
        """Return −log p(y) and its gradient by log C, log ℓ and log σ²; infinite if singular."""
        signal, length, noise = np.exp(log_parameters)
        squared = (self.position[:, np.newaxis] - self.position) ** 2 / length**2
        smooth = np.outer(self.root_count, self.root_count) * signal * np.exp(-squared / 2)
        covariance = smooth + noise * np.eye(len(smooth))
        try:
            factor = np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError:
            return np.inf, np.zeros(3)
        inverse = np.linalg.inv(covariance)
        scaled_mean = self.root_count * self.mean
        weights = inverse @ scaled_mean
        cost = (
            scaled_mean @ weights / 2
            + np.log(np.diag(factor)).sum()
            + (self.n_contrasts * np.log(noise) + self.within / noise) / 2
            + (len(smooth) + self.n_contrasts) * np.log(2 * np.pi) / 2
        )
        # ∂ log N/∂θ = ½ tr[(wwᵀ − Σ⁻¹) ∂Σ/∂θ], w = Σ⁻¹Dȳ
        sensitivity = np.outer(weights, weights) - inverse
        slope = np.array(
            [
                (sensitivity * smooth).sum(),
                (sensitivity * smooth * squared).sum(),
                noise * np.trace(sensitivity) - self.n_contrasts + self.within / noise,
            ]
        )
        return float(cost), -slope / 2

    def predict(
        self, log_parameters: NDArray[np.float64], x: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation (noise included) of a response at some positions."""
        signal, length, noise = np.exp(log_parameters)
        here = self._kernel(self.position, signal, length) * self.root_count[:, np.newaxis]
        there = self._kernel(x, signal, length)
        covariance = here + noise * np.eye(len(here))
        mean = there @ np.linalg.solve(covariance, self.root_count * self.mean)
        explained = (there * np.linalg.solve(covariance, there.T).T).sum(axis=1)
        return mean, np.sqrt(signal + noise - explained)

    def _kernel(self, x: NDArray[np.float64], signal: float, length: float) -> NDArray[np.float64]:
        """Return √n_j cov(f(x), f(x_j)), (n_points, m)."""
        squared = (x[:, np.newaxis] - self.position) ** 2
        return signal * np.exp(-squared / (2 * length**2)) * self.root_count


def _why_no_process(n_levels: int, variance: float, noise: float) -> str:
    if n_levels < 2:
        return "one level"
    if variance <= 0:
        return "the responses do not vary"
    return "no variance within levels" if noise <= 0 else ""

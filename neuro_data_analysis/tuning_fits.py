"""Curves through the single trials of one axis, and the shape of the tuning (Figure 6C, 6E).

A line, a Gaussian and a Gaussian process; the class of shape is read from the process.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from neuro_data_analysis.tuning_statistics import Levels

#: Smallest width of a Gaussian, in units of the axis (published bound).
MIN_SIGMA = 0.01

#: Bounds of the length scale of the process, in units of the axis.
LENGTH_BOUNDS = (0.01, 100.0)

#: Bounds of the variance of the process, over the variance of the responses.
SIGNAL_BOUNDS = (0.01, 100.0)

#: Bounds and start of the noise, over the variance within levels.
NOISE_BOUNDS, NOISE_START = (0.01, 10.0), 0.1

#: Seeded restarts of the search for the parameters of the process.
N_RESTARTS = 10

#: Points at which the process is evaluated, evenly from one end of the axis to the other.
N_POINTS = 100

#: A step of the process below this counts as none, events/s per point (published, absolute).
FLAT_STEP = 0.01


@dataclass(frozen=True)
class GaussianFit:
    """A Gaussian on an offset: A exp(−(x − μ)²/2σ²) + b.

    Attributes
    ----------
    amplitude, center, sigma, offset : float
        A and b in events/s, μ and σ in units of the axis; NaN where there is no fit.
    r2 : float
        Explained variance, 1 − var(residual)/var(response).
    problem : str
        Why there is no fit; empty if there is one.
    """

    amplitude: float = np.nan
    center: float = np.nan
    sigma: float = np.nan
    offset: float = np.nan
    r2: float = np.nan
    problem: str = ""

    def __call__(self, distance: ArrayLike) -> NDArray[np.float64]:
        """Evaluate the curve, events/s."""
        return _gaussian(np.array([self.amplitude, self.center, self.sigma, self.offset]), distance)


@dataclass(frozen=True)
class LineFit:
    """A line by least squares; slope and intercept in events/s, NaN where there is no fit."""

    slope: float = np.nan
    intercept: float = np.nan
    r2: float = np.nan
    problem: str = ""

    def __call__(self, distance: ArrayLike) -> NDArray[np.float64]:
        """Evaluate the line, events/s."""
        return self.intercept + self.slope * np.asarray(distance, dtype=float)


@dataclass(frozen=True)
class ProcessFit:
    """A Gaussian process, C · RBF(ℓ) + white noise, around zero.

    Attributes
    ----------
    amplitude, length_scale, noise : float
        √C in events/s, ℓ in units of the axis, variance of the noise; NaN where there is no fit.
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
    r2: float = np.nan
    x: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    mean: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    std: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    n_unconverged: int = 0
    at_bound: tuple[str, ...] = ()
    problem: str = ""

    @property
    def shape(self) -> CurveShape:
        """Class of the mean curve; none where there is no fit."""
        return CurveShape.of(self.mean) if self.mean.size else CurveShape(False, False, False)


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


def fit_line(distance: ArrayLike, response: ArrayLike) -> LineFit:
    """Fit a line through single trials, both (n_trials,)."""
    x, y = np.asarray(distance, dtype=float), np.asarray(response, dtype=float)
    if np.ptp(x) == 0:
        return LineFit(problem="one level")
    fit = stats.linregress(x, y)
    r2 = float(fit.rvalue**2) if np.ptp(y) > 0 else np.nan
    return LineFit(float(fit.slope), float(fit.intercept), r2)


def fit_gaussian(distance: ArrayLike, response: ArrayLike) -> GaussianFit:
    """Fit a Gaussian on an offset to single trials, by bounded least squares.

    Start and bounds follow the level means ȳ and the range R of the axis: A from max ȳ − min ȳ in
    [0, 1.25 max ȳ], μ from the level of max ȳ within the axis, σ from R/4 in [0.01, 2R], b from
    min ȳ in [0, max ȳ].

    Parameters
    ----------
    distance, response : array_like
        (n_trials,) position on the axis; response in events/s.

    Returns
    -------
    GaussianFit
        With a `problem` for one level, no spikes, bounds that leave no room, or no convergence.
    """
    x, y = np.asarray(distance, dtype=float), np.asarray(response, dtype=float)
    levels = Levels.of(x, y)
    if levels.n < 2:
        return GaussianFit(problem="one level")
    top, bottom, span = levels.mean.max(), levels.mean.min(), float(np.ptp(x))
    start = np.array([top - bottom, levels.distance[levels.peak], span / 4, bottom])
    low = np.array([0.0, x.min(), MIN_SIGMA, 0.0])
    high = np.array([1.25 * top, x.max(), 2 * span, top])
    if top <= 0:
        return GaussianFit(problem="no spikes")
    if not np.all((low <= start) & (start <= high)):
        return GaussianFit(problem="the start lies outside the bounds")
    fit = optimize.least_squares(
        _gaussian_residual, start, _gaussian_slopes, bounds=(low, high), args=(x, y)
    )
    if not fit.success:
        return GaussianFit(problem="no convergence")
    amplitude, center, sigma, offset = map(float, fit.x)
    return GaussianFit(amplitude, center, sigma, offset, explained_variance(y, -fit.fun))


def fit_process(distance: ArrayLike, response: ArrayLike, seed: int) -> ProcessFit:
    """Fit a Gaussian process to single trials by maximum marginal likelihood.

    With v the variance of the responses (ddof 0) and n the mean over levels of the variance within
    levels (v where no level has two trials): C from v in [0.01 v, 100 v], ℓ from R/10 in
    [0.01, 100], noise from 0.1 n in [0.01 n, 10 n]; `N_RESTARTS` further starts are drawn.

    Parameters
    ----------
    distance, response : array_like
        (n_trials,) position on the axis; response in events/s.
    seed : int
        Of the restarts.

    Returns
    -------
    ProcessFit
        With a `problem` for one level, or responses that do not vary at all or within levels.
    """
    x, y = np.asarray(distance, dtype=float), np.asarray(response, dtype=float)
    levels = Levels.of(x, y)
    variance = float(y.var())
    noise = levels.pooled_variance if np.isfinite(levels.pooled_variance) else variance
    problem = _why_no_process(levels.n, variance, noise)
    if problem:
        return ProcessFit(problem=problem)
    kernel = ConstantKernel(variance, _scaled(SIGNAL_BOUNDS, variance)) * RBF(
        float(np.ptp(x)) / 10, LENGTH_BOUNDS
    ) + WhiteKernel(NOISE_START * noise, _scaled(NOISE_BOUNDS, noise))
    process = GaussianProcessRegressor(
        kernel, alpha=0.0, n_restarts_optimizer=N_RESTARTS, random_state=seed
    )
    try:
        n_unconverged = _search(process, x, y)
    except np.linalg.LinAlgError:
        return ProcessFit(problem="the covariance is singular")
    points = np.linspace(x.min(), x.max(), N_POINTS)
    mean, std = process.predict(points[:, np.newaxis], return_std=True)
    log_c, log_length, log_noise = process.kernel_.theta
    return ProcessFit(
        amplitude=float(np.exp(log_c / 2)),
        length_scale=float(np.exp(log_length)),
        noise=float(np.exp(log_noise)),
        r2=explained_variance(y, y - process.predict(x[:, np.newaxis])),
        x=points,
        mean=mean,
        std=std,
        n_unconverged=n_unconverged,
        at_bound=_at_bound(process),
    )


def explained_variance(response: NDArray[np.float64], residual: NDArray[np.float64]) -> float:
    """1 − var(residual)/var(response); NaN where the responses do not vary."""
    variance = response.var()
    return float(1 - residual.var() / variance) if variance > 0 else np.nan


def _gaussian(parameters: NDArray[np.float64], distance: ArrayLike) -> NDArray[np.float64]:
    amplitude, center, sigma, offset = parameters
    z = (np.asarray(distance, dtype=float) - center) / sigma
    return amplitude * np.exp(-(z**2) / 2) + offset


def _gaussian_residual(
    parameters: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float64]:
    return _gaussian(parameters, x) - y


def _gaussian_slopes(
    parameters: NDArray[np.float64], x: NDArray[np.float64], _: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the derivatives of the residual by A, μ, σ and b, (n_trials, 4)."""
    amplitude, center, sigma, _ = parameters
    z = (x - center) / sigma
    bump = np.exp(-(z**2) / 2)
    slope = amplitude * bump * z / sigma
    return np.stack([bump, slope, slope * z, np.ones_like(x)], axis=1)


def _why_no_process(n_levels: int, variance: float, noise: float) -> str:
    if n_levels < 2:
        return "one level"
    if variance <= 0:
        return "the responses do not vary"
    return "no variance within levels" if noise <= 0 else ""


def _scaled(bounds: tuple[float, float], by: float) -> tuple[float, float]:
    return bounds[0] * by, bounds[1] * by


def _search(
    process: GaussianProcessRegressor, x: NDArray[np.float64], y: NDArray[np.float64]
) -> int:
    """Fit the parameters; return how many of the searches warned that they did not converge."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        process.fit(x[:, np.newaxis], y)
    n_unconverged = 0
    for warning in caught:
        if not issubclass(warning.category, ConvergenceWarning):
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
        elif "failed to converge" in str(warning.message):  # the others tell of bounds
            n_unconverged += 1
    return n_unconverged


def _at_bound(process: GaussianProcessRegressor) -> tuple[str, ...]:
    names = ("amplitude", "length_scale", "noise")
    near = np.isclose(process.kernel_.theta[:, np.newaxis], process.kernel_.bounds).any(axis=1)
    return tuple(name for name, is_near in zip(names, near, strict=True) if is_near)

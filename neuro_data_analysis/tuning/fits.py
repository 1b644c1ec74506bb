"""A line and a Gaussian through the single trials of one axis (Figure 6C)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from neuro_data_analysis.tuning.statistics import Levels, explained_variance

#: Smallest width of a Gaussian, in units of the axis (published bound).
MIN_SIGMA = 0.01


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


def fit_line(distance: ArrayLike, response: ArrayLike) -> LineFit:
    """Fit a line through single trials, both (n_trials,)."""
    x, y = np.asarray(distance, dtype=float), np.asarray(response, dtype=float)
    if np.ptp(x) == 0:
        return LineFit(problem="one level")
    fit = scipy.stats.linregress(x, y)
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
    fit = scipy.optimize.least_squares(
        _gaussian_residual, start, _gaussian_slopes, bounds=(low, high), args=(x, y)
    )
    if not fit.success:
        return GaussianFit(problem="no convergence")
    amplitude, center, sigma, offset = map(float, fit.x)
    return GaussianFit(amplitude, center, sigma, offset, explained_variance(y, -fit.fun))


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

"""From a map of gradient amplitude to a receptive field: a box, or a two-dimensional Gaussian.

Maps are indexed (row, column). ``Xlim`` of a box are columns and ``Ylim`` rows. In the published
Gaussian, and so in `twoD_Gaussian` and the keys of `fit_2dgauss`, **x is the row and y the
column**: xo and yo must be swapped to draw over an image.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import scipy
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from core.errors import UsageError, UserError, choose_from
from core.reading.array_files import write_arrays
from core.utils.plot_utils import saveallforms, showimg
from core.utils.published_keywords import published_keywords

FloatArray = NDArray[np.float64]
Limits = tuple[int, int]

#: Names of the parameters of the Gaussian, in the order of ``popt``.
GAUSSIAN_PARAMETERS = ("amplitude", "xo", "yo", "sigma_x", "sigma_y", "theta", "offset")

#: The fit starts from this share of the spread of the map, whose tails are wider than its peak.
START_SPREAD = 1 / 4

#: Contours that are drawn of a Gaussian, in standard deviations.
CONTOURS_SD = (2, 1)

_MAX_EVALUATIONS = 10_000


@published_keywords(gradAmpmap_="gradAmpmap")
def gradmap2RF_square(
    gradAmpmap: ArrayLike,
    absthresh: float | None = None,
    relthresh: float = 0.01,
    square: bool = True,
) -> tuple[Limits, Limits]:
    """Bounding box of the part of a map above a threshold.

    Parameters
    ----------
    gradAmpmap : array-like, shape (height, width)
        Gradient amplitude.
    absthresh : float, optional
        Threshold in units of the map, where it is above the relative one.
    relthresh : float, default 0.01
        Threshold as a share of the maximum.
    square : bool, default True
        Grow the shorter side to the length of the longer one, to both sides alike (an odd pixel
        goes after), moved where the border is in the way, and cut where the map is too small.

    Returns
    -------
    Xlim, Ylim : (int, int)
        First column and the one after the last, first row and the one after the last.

    Raises
    ------
    UsageError
        If nothing is above the threshold, or the map is not one of known numbers.
    """
    amplitude = _checked_map(gradAmpmap)
    threshold = max(relthresh * amplitude.max(), -np.inf if absthresh is None else absthresh)
    above = amplitude > threshold
    if not above.any():
        raise UsageError(
            f"nothing in the map is above {threshold:.3g}; its maximum is {amplitude.max():.3g}. "
            "Lower absthresh or relthresh."
        )
    Xlim, Ylim = _extent(above.any(axis=0)), _extent(above.any(axis=1))
    if not square:
        return Xlim, Ylim
    side = max(Xlim[1] - Xlim[0], Ylim[1] - Ylim[0])
    height, width = amplitude.shape
    return _grown(Xlim, side, width), _grown(Ylim, side, height)


@published_keywords(XYstack="XY")
def twoD_Gaussian(
    XY: Any,
    amplitude: float,
    xo: float,
    yo: float,
    sigma_x: float,
    sigma_y: float,
    theta: float,
    offset: float,
) -> FloatArray:
    """Elliptic Gaussian over the plane.

    ``offset + amplitude exp(-(a dx² + 2b dx dy + c dy²))``, where
    ``a = cos²θ/2sx² + sin²θ/2sy²``, ``b = sin2θ (1/4sy² - 1/4sx²)`` and
    ``c = sin²θ/2sx² + cos²θ/2sy²``. The axis of `sigma_x` points to (x, y) = (cos θ, -sin θ).

    Parameters
    ----------
    XY : (array-like, array-like)
        x and y of the points; of a map, its rows and columns: ``np.indices(map.shape)``.
    amplitude, xo, yo, sigma_x, sigma_y, theta, offset : float
        Height, centre, standard deviations, angle (radians), and value far away.

    Returns
    -------
    numpy.ndarray, of the shape of the points
    """
    dx, dy = np.asarray(XY[0]) - xo, np.asarray(XY[1]) - yo
    along_x = (np.cos(theta) * dx - np.sin(theta) * dy) / sigma_x
    along_y = (np.sin(theta) * dx + np.cos(theta) * dy) / sigma_y
    return offset + amplitude * np.exp(-(along_x**2 + along_y**2) / 2)


class EllipseFit(dict[str, Any]):
    """A fit of `fit_2dgauss`: its entries are also attributes, ``fit.xo`` is ``fit["xo"]``."""

    def __getattr__(self, name: str) -> Any:
        if name not in self:
            raise AttributeError(choose_from(name, self, "entry of the fit"))
        return self[name]


@published_keywords(gradAmpmap_="gradAmpmap")
def fit_2dgauss(
    gradAmpmap: ArrayLike,
    pop_str: str = "",
    outdir: str | os.PathLike[str] | None = None,
    plot: bool = False,
) -> EllipseFit:
    """Fit an elliptic Gaussian to a map by least squares.

    Parameters
    ----------
    gradAmpmap : array-like, shape (height, width)
    pop_str : str
        Name of the unit or population, for titles and files.
    outdir : path-like, optional
        Write ``<pop_str>_gradAmpMap_GaussianFit.npz``, the result, into this folder (and the
        picture, with `plot`).
    plot : bool, default False
        Draw the map and the fit.

    Returns
    -------
    EllipseFit
        ``amplitude``, ``xo``, ``yo``, ``sigma_x``, ``sigma_y``, ``theta``, ``offset`` and, all in
        one array, ``popt``: as in `twoD_Gaussian`, pixels and radians, **xo the row and yo the
        column of the centre** (also as ``row`` and ``column``). θ is between -π/4 and π/4, so that
        sigma_x is the standard deviation of the more vertical axis. ``gradAmpmap`` is the map,
        ``fitmap`` the fit, both (height, width).

    Raises
    ------
    UsageError
        If the map is flat or not one of known numbers.
    UserError
        If no Gaussian is found.
    """
    amplitude = _checked_map(gradAmpmap)
    scale = np.ptp(amplitude)
    if scale == 0:
        raise UsageError(f"the map is {amplitude.flat[0]:.3g} everywhere; there is no peak to fit.")
    points = np.indices(amplitude.shape)
    # In units of its range: the stopping rules of the fit are absolute.
    popt = _canonical(_fitted(amplitude / scale, points))
    popt[[0, 6]] *= scale
    result = EllipseFit(
        zip(GAUSSIAN_PARAMETERS, popt.tolist(), strict=True), popt=popt, row=float(popt[1]),
        column=float(popt[2]), gradAmpmap=amplitude, fitmap=twoD_Gaussian(points, *popt),
    )  # fmt: skip
    name = f"{pop_str}_gradAmpMap_GaussianFit"
    if outdir is not None:
        write_arrays(Path(outdir) / f"{name}.npz", result)
    if plot:
        figure = _draw_fit(result, pop_str)
        if outdir is not None:
            saveallforms(outdir, name, figure)
    return result


@published_keywords(gradAmpmap_="gradAmpmap")
def show_gradmap(gradAmpmap: ArrayLike, title: str = "", ax: Axes | None = None) -> Figure:
    """Draw a map with its colour bar, in a new figure or in given axes; return the figure."""
    ax = plt.subplots(layout="constrained")[1] if ax is None else ax
    showimg(ax, _checked_map(gradAmpmap), cbar=True)
    ax.set_title(title)
    return ax.get_figure(root=True)  # type: ignore[return-value]


def _checked_map(given: ArrayLike) -> FloatArray:
    amplitude = np.asarray(given, dtype=np.float64)
    if amplitude.ndim != 2 or amplitude.size == 0 or not np.isfinite(amplitude).all():
        raise UsageError(
            f"a map of shape {amplitude.shape} was given; give (height, width), all numbers finite."
        )
    return amplitude


def _extent(above: NDArray[np.bool_]) -> Limits:
    """Return the first place that is true and the one after the last."""
    places = np.flatnonzero(above)
    return int(places[0]), int(places[-1]) + 1


def _grown(limits: Limits, side: int, length: int) -> Limits:
    """Grow limits to a side, within 0 to length."""
    side = min(side, length)
    start = limits[0] - (side - (limits[1] - limits[0])) // 2
    start = min(max(start, 0), length - side)
    return start, start + side


def _fitted(amplitude: FloatArray, points: NDArray[Any]) -> FloatArray:
    """Return the parameters of the least-squares Gaussian, in the order of the published popt."""
    height, width = amplitude.shape
    lower = [0, 0, 0, 0, 0, -2 * np.pi, -np.inf]
    upper = [np.inf, height, width, 2 * height, 2 * width, 2 * np.pi, np.inf]
    flat: Any = points.reshape(2, -1)
    start = [amplitude.max(), *_start_ellipse(amplitude, flat), 0, 0]
    try:
        popt, _ = scipy.optimize.curve_fit(
            twoD_Gaussian, flat, amplitude.ravel(), p0=np.clip(start, lower, upper),
            bounds=(lower, upper), max_nfev=_MAX_EVALUATIONS,
        )  # fmt: skip
    except RuntimeError as error:
        raise UserError(f"no Gaussian fits this map: {error}") from error
    return popt


def _start_ellipse(amplitude: FloatArray, points: NDArray[Any]) -> FloatArray:
    """Return centre and standard deviations of the upper half of a map, as the fit's start."""
    mass = (amplitude - np.median(amplitude)).clip(min=0).ravel()
    mass = mass if mass.any() else (amplitude == amplitude.max()).astype(np.float64).ravel()
    centre = points @ mass / mass.sum()
    spread = np.sqrt((points - centre[:, np.newaxis]) ** 2 @ mass / mass.sum())
    return np.concatenate([centre, (START_SPREAD * spread).clip(min=0.5)])


def _canonical(popt: FloatArray) -> FloatArray:
    """Write the same Gaussian with an angle from -π/4 to π/4, swapping the axes if need be."""
    amplitude, xo, yo, sigma_x, sigma_y, theta, offset = popt
    quarter_turns = np.rint(theta / (np.pi / 2))
    if quarter_turns % 2:
        sigma_x, sigma_y = sigma_y, sigma_x
    theta -= quarter_turns * np.pi / 2
    return np.array([amplitude, xo, yo, sigma_x, sigma_y, theta, offset])


def _draw_fit(result: dict[str, Any], title: str) -> Figure:
    figure, axes = plt.subplots(1, 2, layout="constrained", figsize=(8, 3.5))
    figure.suptitle(title)
    show_gradmap(result["gradAmpmap"], "gradient amplitude", axes[0])
    show_gradmap(result["fitmap"], "Gaussian fit", axes[1])
    levels = [result["offset"] + result["amplitude"] * np.exp(-(sd**2) / 2) for sd in CONTOURS_SD]
    if result["amplitude"] > 0:
        axes[0].contour(result["fitmap"], levels=levels, colors="white", linewidths=0.8)
        axes[0].plot(result["column"], result["row"], "+", color="white")
    return figure

"""What the pictures share: colours of the spaces, curves with bands, dots of significance."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from core.source_tables.registry import SPACES
from figure_reproduction.page.groups import Curve

#: Colour of each generative space in every figure.
SPACE_COLOURS = dict(zip(SPACES, ("#0000ff", "#ff0000"), strict=True))

#: Long curves of single experiments are drawn as pixels inside vector files.
RASTERIZED_BELOW = 0


def draw_curve(
    axes: Axes,
    x: NDArray[Any],
    curve: Curve,
    space: str,
    label: str | None = None,
    band_alpha: float = 0.25,
    **line: Any,
) -> None:
    """Draw the mean of a group in the colour of its space, with a band of one standard error."""
    if curve.n == 0:
        axes.plot([], [], color=SPACE_COLOURS[space], label=label, **line)
        return
    colour = SPACE_COLOURS[space]
    axes.plot(x, curve.mean, color=colour, label=label, zorder=3, **line)
    low, high = curve.mean - curve.sem, curve.mean + curve.sem
    axes.fill_between(x, low, high, color=colour, alpha=band_alpha, linewidth=0, zorder=2)


def draw_experiments(
    axes: Axes, x: NDArray[Any], values: NDArray[np.float64], space: str, **line: Any
) -> None:
    """Draw one thin curve per experiment, (n_experiments, n_points).

    They are pixels in vector files: thousands of thin lines make a page that no viewer can turn.
    """
    style: dict[str, Any] = {"color": SPACE_COLOURS[space], "linewidth": 0.7, "alpha": 0.2} | line
    axes.set_rasterization_zorder(RASTERIZED_BELOW)
    axes.plot(x, values.T, zorder=RASTERIZED_BELOW - 1, **style)


def draw_dots(
    axes: Axes,
    x: NDArray[Any],
    deepsim_larger: NDArray[np.bool_],
    biggan_larger: NDArray[np.bool_],
    height: float,
    size: float = 2.5,
) -> None:
    """Mark significant points, in the colour of the space that is larger there."""
    for space, larger in zip(SPACES, (deepsim_larger, biggan_larger), strict=True):
        if larger.any():
            axes.plot(
                x[larger],
                np.full(larger.sum(), height),
                "o",
                color=SPACE_COLOURS[space],
                markersize=size,
                clip_on=False,
            )

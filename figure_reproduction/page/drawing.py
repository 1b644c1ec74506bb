"""What the pictures share: curves with bands, single experiments, dots of significance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from core.spaces import Space
from figure_reproduction.page.groups import Curve

#: Long curves of single experiments are drawn as pixels inside vector files.
RASTERIZED_BELOW = 0


def draw_curve(
    axes: Axes,
    x: NDArray[Any],
    curve: Curve,
    space: Space,
    label: str | None = None,
    band_alpha: float = 0.25,
    **line: Any,
) -> None:
    """Draw the mean of a group in the colour of its space, with a band of one standard error."""
    if curve.n == 0:
        axes.plot([], [], color=space.colour, label=label, **line)
        return
    axes.plot(x, curve.mean, color=space.colour, label=label, zorder=3, **line)
    low, high = curve.mean - curve.sem, curve.mean + curve.sem
    axes.fill_between(x, low, high, color=space.colour, alpha=band_alpha, linewidth=0, zorder=2)


def draw_experiments(
    axes: Axes, x: NDArray[Any], values: NDArray[np.float64], space: Space, **line: Any
) -> None:
    """Draw one thin curve per experiment, (n_experiments, n_points).

    They are pixels in vector files: thousands of thin lines make a page that no viewer can turn.
    """
    style: dict[str, Any] = {"color": space.colour, "linewidth": 0.7, "alpha": 0.2} | line
    axes.set_rasterization_zorder(RASTERIZED_BELOW)
    axes.plot(x, values.T, zorder=RASTERIZED_BELOW - 1, **style)


def draw_dots(
    axes: Axes,
    x: NDArray[Any],
    larger: Mapping[Space, NDArray[np.bool_]],
    height: float,
    size: float = 2.5,
) -> None:
    """Mark significant points in the colour of the space that is larger there, see `larger_by`."""
    for space, marked in larger.items():
        if marked.any():
            axes.plot(
                x[marked],
                np.full(marked.sum(), height),
                "o",
                color=space.colour,
                markersize=size,
                clip_on=False,
            )

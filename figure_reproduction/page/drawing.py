"""What the pictures share: curves with bands, single experiments, dots of significance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from core.spaces import Space
from figure_reproduction.page.groups import Curve

#: Long curves of single experiments are drawn as pixels inside vector files.
RASTERIZED_BELOW = 0

#: Group means, single experiments, zero lines and frames, pt; journals print nothing below 0.25.
MEAN_PT, SINGLE_PT, ZERO_PT, FRAME_PT = 1.1, 0.3, 0.4, 0.5

#: Colours that stay apart in every kind of colour vision (two of Okabe and Ito 2008, and grey).
SAFE_COLOURS = ("#0072b2", "#e69f00", "#999999")
HATCHES = ("", "/////", ".....")


def draw_curve(
    axes: Axes,
    x: NDArray[Any],
    curve: Curve,
    space: Space,
    label: str | None = None,
    band_alpha: float = 0.25,
    **line: Any,
) -> None:
    """Draw the mean of a group in colour and dash of its space, in a band of one standard error."""
    look: dict[str, Any] = {"linestyle": space.dash, "linewidth": MEAN_PT} | line
    if curve.n == 0:
        axes.plot([], [], color=space.colour, label=label, **look)
        return
    axes.plot(x, curve.mean, color=space.colour, label=label, zorder=3, **look)
    low, high = curve.mean - curve.sem, curve.mean + curve.sem
    axes.fill_between(x, low, high, color=space.colour, alpha=band_alpha, linewidth=0, zorder=2)


def mostly_padding(n_recorded: NDArray[np.intp], n: int) -> NDArray[np.bool_]:
    """Tell in which blocks fewer than half of n experiments still recorded, (n_blocks,)."""
    return np.asarray(2 * n_recorded < n)


def draw_padded_mean(
    axes: Axes,
    x: NDArray[Any],
    curve: Curve,
    space: Space,
    is_padding: NDArray[np.bool_],
    **look: Any,
) -> None:
    """Draw the mean of a group as `draw_curve` does, dotted where most of it is padding.

    Parameters
    ----------
    axes, x, curve, space
        As for `draw_curve`.
    is_padding : numpy.ndarray of bool
        (n_points,); the dots begin at the last point before.
    **look
        Further arguments of `draw_curve`.
    """
    dotted = is_padding | np.append(is_padding[1:], False)
    for there, dash in ((~is_padding, {}), (dotted, {"linestyle": ":"})):
        if there.any():
            piece = Curve(np.where(there, curve.mean, np.nan), curve.sem, curve.n)
            draw_curve(axes, x, piece, space, **look | dash)


def padding_handle() -> Line2D:
    """Return what a legend shows of the dotted part of means and of single experiments."""
    look: dict[str, Any] = {"color": "k", "linestyle": ":", "linewidth": MEAN_PT}
    return Line2D([], [], label="padding, or most of it", **look)


def draw_experiments(
    axes: Axes, x: NDArray[Any], values: NDArray[np.float64], space: Space, **line: Any
) -> None:
    """Draw one thin curve per experiment, (n_experiments, n_points).

    They are pixels in vector files: thousands of thin lines make a page that no viewer can turn.
    """
    style: dict[str, Any] = {"color": space.colour, "linewidth": SINGLE_PT, "alpha": 0.25} | line
    axes.set_rasterization_zorder(RASTERIZED_BELOW)
    axes.plot(x, values.T, zorder=RASTERIZED_BELOW - 1, **style)


def draw_dots(
    axes: Axes,
    x: NDArray[Any],
    larger: Mapping[Space, NDArray[np.bool_]],
    height: float,
    size: float = 1.2,
    hollow: bool = False,
) -> None:
    """Mark significant points in the colour of the space that is larger there, see `larger_by`.

    Those of BigGAN are squares and lie a little higher; hollow ones rest on little.
    """
    look = {"mfc": "none", "markeredgewidth": 0.25} if hollow else {"markeredgewidth": 0}
    bottom, top = axes.get_ylim()
    for space, marked in larger.items():
        if marked.any():
            raised = height + 0.02 * (top - bottom) * space.thread
            axes.plot(
                x[marked],
                np.full(marked.sum(), raised),
                space.marker,
                color=space.colour,
                markersize=size,
                clip_on=False,
                **look,
            )


def space_handles() -> list[Line2D]:
    """Return what a legend shows of the two spaces."""
    looks: list[dict[str, Any]] = [
        {"color": space.colour, "linestyle": space.dash, "label": str(space)} for space in Space
    ]
    return [Line2D([], [], linewidth=MEAN_PT, **look) for look in looks]

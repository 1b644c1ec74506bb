"""Responses in time windows, block by block: Figure 5C and Extended Figure 4C are the same plot."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from core.published import Statistic
from core.spaces import BySpace, Space
from core.utils.statistics.t_tests import StudentTest
from figure_reproduction.page.drawing import FRAME_PT, draw_curve, draw_dots, space_handles
from figure_reproduction.page.groups import (
    FDR,
    Curve,
    basis_of_curve,
    basis_of_paired,
    compare_spaces,
    larger_by,
    members,
    significant_after_fdr,
)
from figure_reproduction.page.sheet import PAGE_MM, Drawing

Window = tuple[int, int]

#: Areas shown: in V1 no more than two experiments climbed in both spaces.
SHOWN_AREAS = ("V4", "IT")

#: Last block on the axis; tests are corrected over all (padded) blocks.
LAST_SHOWN_BLOCK = 45

#: Where the dots of significance lie, and the top of the axis.
DOT_HEIGHT, TOP = 1.35, 1.5

#: Windows side by side, the height of a row of them, and what title and legend add, mm.
PLOTS_PER_ROW, ROW_MM, TITLE_MM = 10, 24, 17


#: Mean responses, (n_experiments, n_blocks), by window and space, as `SourceData.read_all` reads
#: them. All windows are divided by one number per experiment: its largest 50-200 ms response.
WindowResponses: TypeAlias = Mapping[tuple[Window, Space], NDArray[np.float64]]


@dataclass(frozen=True)
class WindowComparison:
    """Both spaces in one window and area: group means and block-wise paired tests.

    Attributes
    ----------
    curves : dict of Space to Curve
        Group means.
    larger : dict of Space to numpy.ndarray of bool
        (n_blocks,) significant after correction over the blocks, by the sign of t.
    test : StudentTest
        Paired, DeePSim against BigGAN, block by block.
    """

    curves: BySpace[Curve]
    larger: BySpace[NDArray[np.bool_]]
    test: StudentTest

    @property
    def n(self) -> int:
        """Number of experiments."""
        return self.curves[Space.DEEPSIM].n


def compare_windows(
    responses: WindowResponses, masks: pd.DataFrame, success: str
) -> dict[tuple[str, Window], WindowComparison]:
    """Compare the spaces in every window, among experiments with a given success.

    Parameters
    ----------
    responses : mapping
        By window and space.
    masks : pandas.DataFrame
        Mask table: ``valid``, success and areas, in the order of the experiments.
    success : str
        Its column of success.

    Returns
    -------
    dict
        By area and window, areas outermost.
    """
    windows = dict.fromkeys(window for window, _ in responses)
    return {
        (area, window): _compared({space: responses[window, space][chosen] for space in Space})
        for area, chosen in members(masks, success)
        if area in SHOWN_AREAS
        for window in windows
    }


def tell_windows(
    comparisons: Mapping[tuple[str, Window], WindowComparison],
) -> Iterator[Statistic]:
    """List group sizes, significant blocks and mean curves."""
    told = set()
    for (area, (start, stop)), found in comparisons.items():
        if area not in told:
            yield Statistic("n", found.n, area=area)
            told.add(area)
        name = f"{start}-{stop} ms"
        basis = basis_of_paired(found.test) | {
            "correction": f"Benjamini-Hochberg at {FDR} over all blocks of the window, padding "
            "included (as published)"
        }
        for space, curve in found.curves.items():
            significant = np.flatnonzero(found.larger[space]).tolist()
            where: dict[str, Any] = {"area": area, "space": space}
            name_of_blocks = f"blocks where larger, {name}"
            yield Statistic(name_of_blocks, significant, **where, basis=basis)
            yield Statistic(
                f"mean_by_block, {name}", curve.mean, **where, basis=basis_of_curve(found.n)
            )
        yield Statistic(f"paired_t_by_block, {name}", found.test.t, area=area, basis=basis)
        yield Statistic(f"paired_p_by_block, {name}", found.test.p, area=area, basis=basis)


def windows_drawing(
    comparisons: Mapping[tuple[str, Window], WindowComparison],
    windows: Sequence[Window],
    title: str,
) -> Drawing:
    """Return a picture of the width of a page: areas under each other, windows in rows of ten.

    Parameters
    ----------
    comparisons : mapping
        As `compare_windows` gives it.
    windows : sequence of (start, stop)
        The windows, ms.
    title : str
        Title of the whole.
    """
    n_rows = len(SHOWN_AREAS) * math.ceil(len(windows) / PLOTS_PER_ROW)
    draw = partial(_draw_windows, comparisons, windows, title)
    return Drawing(draw, (PAGE_MM, ROW_MM * n_rows + TITLE_MM))


def _draw_windows(
    comparisons: Mapping[tuple[str, Window], WindowComparison],
    windows: Sequence[Window],
    title: str,
    canvas: FigureBase,
) -> None:
    lines = [windows[i : i + PLOTS_PER_ROW] for i in range(0, len(windows), PLOTS_PER_ROW)]
    shown = [(area, line) for area in SHOWN_AREAS for line in lines]
    rows = canvas.subplots(len(shown), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    starts = _STRIDE * np.arange(len(lines[0]))
    rows[0].set(xlim=(-0.5, starts[-1] + LAST_SHOWN_BLOCK + 0.5), ylim=(0, TOP))  # settled
    ticks = np.add.outer(starts, _TICKS).ravel()
    rows[0].set_xticks(ticks, [str(block) for block in _TICKS] * len(starts))
    for (area, line), axes in zip(shown, rows, strict=True):
        _draw_row(axes, [comparisons[area, window] for window in line], starts[: len(line)])
        for (start, stop), left in zip(line, starts, strict=False):
            axes.text(
                left + LAST_SHOWN_BLOCK / 2, 1.02 * TOP, f"{start}–{stop} ms",
                fontsize="medium", ha="center", va="bottom",
            )  # fmt: skip
        axes.set_ylabel(f"{area} ($n$ = {comparisons[area, line[0]].n})")
    rows[-1].set_xlabel("Block")
    canvas.supylabel("Response / maximum of both threads")
    if title:
        canvas.suptitle(title)
    dots = Line2D([], [], color="k", marker="o", linestyle="", label=f"different (FDR {FDR})")
    canvas.legend(handles=[*space_handles(), dots], loc="outside lower center", ncols=3)


#: The windows of a row share one pair of axes, each this many blocks right of the one before: a
#: pair for every window would take ten times as long to draw.
_STRIDE = LAST_SHOWN_BLOCK + 7
_TICKS = (0, 20, 40)


def _draw_row(
    axes: Axes, row: Sequence[WindowComparison], starts: NDArray[np.int64]
) -> None:
    """Draw windows side by side, with a frame of two lines for each."""
    shown = np.arange(LAST_SHOWN_BLOCK + 1)
    end = np.full(1, np.nan)  # lines do not go on from one window to the next
    x = np.concatenate([np.append(start + shown, np.nan) for start in starts])
    for space in Space:
        curves = [found.curves[space] for found in row]
        mean, sem = (
            np.concatenate([part for values in which for part in (values[shown], end)])
            for which in ([c.mean for c in curves], [c.sem for c in curves])
        )
        draw_curve(axes, x, Curve(mean, sem, curves[0].n), space, linewidth=0.8)
    larger = {
        space: np.concatenate([np.append(found.larger[space][shown], False) for found in row])
        for space in Space
    }
    draw_dots(axes, x, larger, DOT_HEIGHT)
    axes.spines[["left", "bottom"]].set_visible(False)
    frame: dict[str, Any] = {"color": "k", "linewidth": FRAME_PT, "clip_on": False}
    axes.hlines(np.zeros(len(starts)), starts - 0.5, starts + LAST_SHOWN_BLOCK + 0.5, **frame)
    axes.vlines(starts - 0.5, 0, TOP, **frame)


def _compared(responses: BySpace[NDArray[np.float64]]) -> WindowComparison:
    test = compare_spaces(responses, paired=True)
    return WindowComparison(
        curves={space: Curve.of(values) for space, values in responses.items()},
        larger=larger_by(test.t, significant_after_fdr(test.p)),
        test=test,
    )

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
from figure_reproduction.page.drawing import draw_curve, draw_dots, space_handles
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
    rows = canvas.subplots(
        len(SHOWN_AREAS) * len(lines), len(lines[0]), sharex=True, sharey=True, squeeze=False
    )
    rows[0, 0].set(xlim=(-0.5, LAST_SHOWN_BLOCK + 0.5), ylim=(0, TOP))  # shared, and settled
    shown = [(area, line) for area in SHOWN_AREAS for line in lines]
    for (area, line), row in zip(shown, rows, strict=True):
        for window, axes in zip(line, row, strict=False):
            _draw_window(axes, comparisons[area, window])
            axes.set_title(f"{window[0]}–{window[1]} ms", fontsize="medium", pad=1.5)
        for axes in row[len(line) :]:
            axes.set_visible(False)
        row[0].set_ylabel(f"{area} ($n$ = {comparisons[area, line[0]].n})")
    rows[-1, len(rows[-1]) // 2].set_xlabel("Block")
    canvas.supylabel("Response / maximum of both threads")
    if title:
        canvas.suptitle(title)
    dots = Line2D([], [], color="k", marker="o", linestyle="", label=f"different (FDR {FDR})")
    canvas.legend(handles=[*space_handles(), dots], loc="outside lower center", ncols=3)


def _draw_window(axes: Axes, found: WindowComparison) -> None:
    blocks = np.arange(len(found.larger[Space.DEEPSIM]))
    for space, curve in found.curves.items():
        draw_curve(axes, blocks, curve, space, linewidth=0.8)
    shown = blocks <= LAST_SHOWN_BLOCK
    larger = {space: marked & shown for space, marked in found.larger.items()}
    draw_dots(axes, blocks, larger, DOT_HEIGHT)


def _compared(responses: BySpace[NDArray[np.float64]]) -> WindowComparison:
    test = compare_spaces(responses, paired=True)
    return WindowComparison(
        curves={space: Curve.of(values) for space, values in responses.items()},
        larger=larger_by(test.t, significant_after_fdr(test.p)),
        test=test,
    )

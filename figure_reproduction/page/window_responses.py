"""Responses in time windows, block by block: Figure 5C and Extended Figure 4C are the same plot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from core.published import Statistic
from core.source_tables.reader import SourceData
from core.source_tables.registry import SPACES
from figure_reproduction.page.drawing import SPACE_COLOURS, draw_curve, draw_dots
from figure_reproduction.page.groups import FDR, Curve, members, paired_tests, significant_after_fdr

Window = tuple[int, int]

#: Areas shown: in V1 no more than two experiments climbed in both spaces.
SHOWN_AREAS = ("V4", "IT")

#: Last block on the axis; tests are corrected over all (padded) blocks.
LAST_SHOWN_BLOCK = 45

#: Where the dots of significance lie, and the top of the axis.
DOT_HEIGHT, TOP = 1.35, 1.5


@dataclass(frozen=True)
class WindowResponses:
    """Mean responses, (n_experiments, n_blocks), by window and space; and which experiments count.

    All windows are divided by one number per experiment: its largest 50-200 ms response.
    """

    mean: dict[tuple[Window, str], NDArray[np.float64]]
    masks: pd.DataFrame


@dataclass(frozen=True)
class WindowComparison:
    """Both spaces in one window and area: group means and block-wise paired tests.

    Attributes
    ----------
    curves : dict of str to Curve
        By space.
    deepsim_larger, biggan_larger : numpy.ndarray of bool
        (n_blocks,) significant after correction over the blocks, by the sign of t.
    """

    curves: dict[str, Curve]
    deepsim_larger: NDArray[np.bool_]
    biggan_larger: NDArray[np.bool_]


def load_windows(
    source: SourceData, key: str, windows: Sequence[Window], masks: pd.DataFrame
) -> WindowResponses:
    """Read the mean responses of some windows.

    Parameters
    ----------
    source : SourceData
        Where from.
    key : str
        Key of the family of tables, such as ``"Fig5/window_response_mean"``.
    windows : sequence of (start, stop)
        In ms.
    masks : pandas.DataFrame
        Mask table: ``valid``, success and areas, in the order of the experiments.
    """
    means = {
        (window, space): source.read(key, window=window, space=space)
        for window in windows
        for space in SPACES
    }
    return WindowResponses(means, masks)


def compare_windows(
    data: WindowResponses, success: str
) -> dict[tuple[str, Window], WindowComparison]:
    """Compare the spaces in every window, among experiments with a given success.

    Returns
    -------
    dict
        By area and window, areas outermost.
    """
    windows = dict.fromkeys(window for window, _ in data.mean)
    return {
        (area, window): _compared(*(data.mean[window, space][chosen] for space in SPACES))
        for area, chosen in members(data.masks, success)
        if area in SHOWN_AREAS
        for window in windows
    }


def tell_windows(
    comparisons: Mapping[tuple[str, Window], WindowComparison], n_name: str = "n"
) -> Iterator[Statistic]:
    """List group sizes, significant blocks and mean curves."""
    told = set()
    for (area, (start, stop)), found in comparisons.items():
        if area not in told:
            yield Statistic(n_name, found.curves["DeePSim"].n, area=area)
            told.add(area)
        name = f"{start}-{stop} ms"
        for space, blocks in zip(SPACES, (found.deepsim_larger, found.biggan_larger), strict=True):
            significant = np.flatnonzero(blocks).tolist()
            yield Statistic(f"blocks where larger, {name}", significant, area=area, space=space)
            curve = found.curves[space]
            yield Statistic(f"mean_by_block, {name}", curve.mean, area=area, space=space)


def draw_windows(
    comparisons: Mapping[tuple[str, Window], WindowComparison],
    windows: Sequence[Window],
    title: str,
    panel_size: tuple[float, float],
) -> Figure:
    """Draw one row per area and one column per window.

    Parameters
    ----------
    comparisons : mapping
        As `compare_windows` gives it.
    windows : sequence of (start, stop)
        The columns, ms.
    title : str
        Title of the whole.
    panel_size : (float, float)
        Width and height of one small plot, inches.
    """
    width, height = panel_size
    figure, rows = plt.subplots(
        len(SHOWN_AREAS), len(windows), sharex=True, sharey=True, squeeze=False,
        figsize=(width * len(windows), height * len(SHOWN_AREAS) + 0.5),
    )  # fmt: skip
    for area, row in zip(SHOWN_AREAS, rows, strict=True):
        for window, axes in zip(windows, row, strict=True):
            found = comparisons[area, window]
            blocks = np.arange(len(found.deepsim_larger))
            for space in SPACES:
                draw_curve(axes, blocks, found.curves[space], space, linewidth=3)
            shown = blocks <= LAST_SHOWN_BLOCK
            draw_dots(
                axes, blocks, found.deepsim_larger & shown, found.biggan_larger & shown, DOT_HEIGHT
            )
            axes.set_title(f"{window[0]}–{window[1]} ms")
        n = comparisons[area, windows[0]].curves["DeePSim"].n
        row[0].set_ylabel(f"Normalised response\n{area} (N={n})")
    rows[0, 0].set(xlim=(-0.5, LAST_SHOWN_BLOCK + 0.5), ylim=(0, TOP))
    figure.supxlabel("Block", fontsize="medium")
    figure.suptitle(title, fontsize=min(16, 1.1 * figure.get_figwidth()))
    for space, colour in SPACE_COLOURS.items():
        rows[0, 0].plot([], [], color=colour, linewidth=3, label=space)
    rows[0, 0].plot([], [], "ko", markersize=2.5, label=f"FDR p<{FDR}")
    rows[0, 0].legend(loc="upper right", fontsize="small", bbox_to_anchor=(1, 0.9))
    return figure


def _compared(deepsim: NDArray[np.float64], biggan: NDArray[np.float64]) -> WindowComparison:
    t, p = paired_tests(deepsim, biggan)
    significant = significant_after_fdr(p)
    return WindowComparison(
        curves=dict(zip(SPACES, (Curve.of(deepsim), Curve.of(biggan)), strict=True)),
        deepsim_larger=significant & (t > 0),
        biggan_larger=significant & (t < 0),
    )

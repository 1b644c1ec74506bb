"""Responses in time windows, block by block: Figure 5C and Extended Figure 4C are the same plot."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import scipy
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from core.published import Statistic
from core.spaces import BySpace, Space
from core.utils.statistics.t_tests import StudentTest
from figure_reproduction.page.drawing import (
    FRAME_PT,
    draw_dots,
    draw_padded_mean,
    mostly_padding,
    padding_handle,
    space_handles,
)
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

#: Where fewer experiments than this still recorded, a dot is hollow; over recorded blocks alone
#: such a block is not tested.
MIN_RECORDED = 5

#: Blocks at which the number of experiments that still recorded stands under the axis.
TICK_BLOCKS = (0, 15, 30, 45)

#: Two values that differ by less, relative to the larger, are one: tables keep 15 digits or more.
SAME = 1e-9

#: Title of what `compare_recorded` finds.
RECORDED_ONLY = "Recorded blocks only, FDR over all windows together (not published)"

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
    n_recorded : numpy.ndarray of int
        (n_blocks,) experiments that recorded the block; the others are padding there.
    padded : bool
        Whether padding counts.
    """

    curves: BySpace[Curve]
    larger: BySpace[NDArray[np.bool_]]
    test: StudentTest
    n_recorded: NDArray[np.intp]
    padded: bool = True

    @property
    def n(self) -> int:
        """Number of experiments."""
        return self.curves[Space.DEEPSIM].n

    @property
    def is_mostly_padding(self) -> NDArray[np.bool_]:
        """(n_blocks,) where fewer than half of the experiments recorded; the mean is dotted."""
        return mostly_padding(self.n_recorded, self.n) & self.padded

    @property
    def rests_on_few(self) -> NDArray[np.bool_]:
        """(n_blocks,) shown and significant, though fewer than `MIN_RECORDED` recorded the block.

        Their dots are hollow.
        """
        few = self.n_recorded < MIN_RECORDED
        shown = np.arange(len(few)) <= LAST_SHOWN_BLOCK
        return np.asarray(few & shown & np.logical_or(*self.larger.values()))


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
    recorded = recorded_blocks(responses)
    found = {}
    for area, chosen in members(masks, success):
        for window in windows_of(responses) if area in SHOWN_AREAS else ():
            values = {space: responses[window, space][chosen] for space in Space}
            test = compare_spaces(values, paired=True)
            found[area, window] = WindowComparison(
                curves={space: Curve.of(of_space) for space, of_space in values.items()},
                larger=larger_by(test.t, significant_after_fdr(test.p)),
                test=test,
                n_recorded=recorded[chosen].sum(axis=0),
            )
    return found


def windows_of(responses: WindowResponses) -> list[Window]:
    """List the windows, in the order of the tables."""
    return list(dict.fromkeys(window for window, _ in responses))


def recorded_blocks(responses: WindowResponses) -> NDArray[np.bool_]:
    """Tell recorded blocks from padding, (n_experiments, n_blocks).

    Padding repeats the mean of the last two recorded blocks in every window and both spaces at
    once, which no two recorded blocks do.
    """
    values = np.stack(list(responses.values()))
    padded = np.asarray(_same(values, values[..., -1:]).all(axis=0))
    padded = np.minimum.accumulate(padded[:, ::-1], axis=1)[:, ::-1].astype(bool)
    before = (values[..., :-2] + values[..., 1:-1]) / 2
    padded[:, 2:] &= (padded[:, 1:-1] | _same(values[..., 2:], before).all(axis=0))
    padded[:, :2] = False
    return ~padded


def _same(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray(abs(one - other) <= SAME * np.maximum(abs(one), abs(other)))


def compare_recorded(
    responses: WindowResponses, masks: pd.DataFrame, success: str
) -> dict[tuple[str, Window], WindowComparison]:
    """Compare the spaces as `compare_windows`, among experiments that recorded the block alone.

    Chosen here, not by the authors: padding does not count, a block that fewer than `MIN_RECORDED`
    experiments recorded is not tested, and the false-discovery rate is that of all windows and
    blocks of an area together.
    """
    recorded, windows = recorded_blocks(responses), windows_of(responses)
    found = {}
    for area, chosen in members(masks, success):
        if area in SHOWN_AREAS:
            values = {
                space: np.stack([responses[window, space][chosen] for window in windows])
                for space in Space
            }
            counted = recorded[chosen] & (recorded[chosen].sum(axis=0) >= MIN_RECORDED)
            tests = paired_tests(values[Space.DEEPSIM] - values[Space.BIGGAN], counted)
            larger = larger_by(tests.t, significant_after_fdr(tests.p))
            for place, window in enumerate(windows):
                found[area, window] = WindowComparison(
                    curves={s: _counted_curve(v[place], counted) for s, v in values.items()},
                    larger={space: marked[place] for space, marked in larger.items()},
                    test=StudentTest(tests.t[place], tests.p[place], tests.df, int(chosen.sum())),
                    n_recorded=recorded[chosen].sum(axis=0),
                    padded=False,
                )
    return found


@dataclass(frozen=True)
class PairedTests:
    """Paired Student tests of DeePSim against BigGAN, window by window and block by block.

    Attributes
    ----------
    t, p : numpy.ndarray
        (n_windows, n_blocks) two-sided; NaN below two experiments.
    n : numpy.ndarray of int
        (n_blocks,) experiments.
    """

    t: NDArray[np.float64]
    p: NDArray[np.float64]
    n: NDArray[np.intp]

    @property
    def df(self) -> NDArray[np.float64]:
        """(n_blocks,) degrees of freedom; NaN without a test."""
        return np.where(self.n > 1, self.n - 1.0, np.nan)


def paired_tests(difference: NDArray[np.float64], counted: NDArray[np.bool_]) -> PairedTests:
    """Test the mean difference of every window and block among the experiments that count there.

    Parameters
    ----------
    difference : numpy.ndarray
        (n_windows, n_experiments, n_blocks) DeePSim minus BigGAN.
    counted : numpy.ndarray of bool
        (n_experiments, n_blocks)

    Returns
    -------
    PairedTests
    """
    n = counted.sum(axis=0)
    x = np.where(counted, difference, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = x.sum(axis=1) / n
        around = np.where(counted, difference - mean[:, np.newaxis], 0.0)
        error = np.sqrt((around**2).sum(axis=1) / (n - 1) / n)
        t = np.where(error > 0, mean / error, np.nan)  # no error, no test
    return PairedTests(t, 2 * scipy.stats.t.sf(abs(t), n - 1), n)


def _counted_curve(values: NDArray[np.float64], counted: NDArray[np.bool_]) -> Curve:
    """Average each block over the experiments that count there; NaN where none does."""
    n = counted.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(counted, values, 0).sum(axis=0) / n
        variance = (np.where(counted, values - mean, 0) ** 2).sum(axis=0) / n
        return Curve(mean, np.sqrt(variance / n), len(values))


#: What the p values of all blocks of a window are corrected for.
PUBLISHED_CORRECTION = (
    f"Benjamini-Hochberg at {FDR} over all blocks of the window, padding included (as published)"
)

#: The same of `compare_recorded`.
RECORDED_CORRECTION = (
    f"Benjamini-Hochberg at {FDR} over all windows and blocks of the area together; experiments "
    f"that recorded the block, {MIN_RECORDED} at least; not published"
)


def tell_recorded(
    comparisons: Mapping[tuple[str, Window], WindowComparison],
) -> Iterator[Statistic]:
    """List what `compare_recorded` found, under names of its own."""
    for statistic in tell_windows(comparisons):
        area = statistic.area
        basis = dict(statistic.basis)
        if "test" in basis:
            n = next(c.n_recorded for (a, _), c in comparisons.items() if a == area)
            basis |= {"correction": RECORDED_CORRECTION, "df": n - 1, "n": n}
        elif basis:
            basis |= {"n": "experiments that recorded the block"}
        yield replace(statistic, quantity=f"{statistic.quantity}_recorded_only", basis=basis)


def tell_windows(
    comparisons: Mapping[tuple[str, Window], WindowComparison],
) -> Iterator[Statistic]:
    """List group sizes, significant blocks and mean curves."""
    told = set()
    for (area, (start, stop)), found in comparisons.items():
        if area not in told:
            yield Statistic("n", found.n, area=area)
            yield Statistic("n_recorded_by_block", found.n_recorded, area=area)
            told.add(area)
        name = f"{start}-{stop} ms"
        basis = basis_of_paired(found.test) | {"correction": PUBLISHED_CORRECTION}
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
    ticks = np.add.outer(starts, TICK_BLOCKS).ravel()
    rows[0].set_xticks(ticks, [str(block) for block in TICK_BLOCKS] * len(starts))
    for (area, line), axes in zip(shown, rows, strict=True):
        _draw_row(axes, [comparisons[area, window] for window in line], starts[: len(line)])
        for (start, stop), left in zip(line, starts, strict=False):
            axes.text(
                left + LAST_SHOWN_BLOCK / 2, 1.02 * TOP, f"{start}–{stop} ms",
                fontsize="medium", ha="center", va="bottom",
            )  # fmt: skip
        axes.set_ylabel(f"{area} ($n$ = {comparisons[area, line[0]].n})")
        _write_recorded(axes, comparisons[area, line[0]].n_recorded, axes is rows[-1])
    rows[-1].set_xlabel("Block")
    canvas.supylabel("Response / maximum of both threads")
    if title:
        canvas.suptitle(title)
    look: dict[str, Any] = {"color": "k", "marker": "o", "linestyle": "", "markersize": 3}
    dots = [Line2D([], [], label=f"different (FDR {FDR})", markeredgewidth=0, **look)]
    if any(found.rests_on_few.any() for found in comparisons.values()):
        few = f"where fewer than {MIN_RECORDED} still recorded"
        dots.append(Line2D([], [], label=few, mfc="none", markeredgewidth=0.5, **look))
    padding = [padding_handle()] if any(found.padded for found in comparisons.values()) else []
    canvas.legend(
        handles=[*space_handles(), *padding, *dots], loc="outside lower center", ncols=5
    )


def _write_recorded(axes: Axes, n_recorded: NDArray[np.intp], below_ticks: bool) -> None:
    """Write under the axis how many experiments recorded some of the blocks."""
    for block in TICK_BLOCKS:
        if block < len(n_recorded):
            axes.annotate(
                f"{'$n$ = ' * (block == 0)}{n_recorded[block]}", (block, 0),
                (5 if block == 0 else 0, -11 if below_ticks else -3),
                xycoords=axes.get_xaxis_transform(), textcoords="offset points",
                ha="right" if block == 0 else "center", va="top", fontsize=5, color="0.4",
                annotation_clip=False,
            )  # fmt: skip


#: The windows of a row share one pair of axes, each this many blocks right of the one before: a
#: pair for every window would take ten times as long to draw.
_STRIDE = LAST_SHOWN_BLOCK + 9


def _draw_row(
    axes: Axes, row: Sequence[WindowComparison], starts: NDArray[np.int64]
) -> None:
    """Draw windows side by side, with a frame of two lines for each."""
    shown = np.arange(min(LAST_SHOWN_BLOCK + 1, len(row[0].n_recorded)))
    end = np.full(1, np.nan)  # lines do not go on from one window to the next
    x = np.concatenate([np.append(start + shown, np.nan) for start in starts])
    padding = np.concatenate(
        [np.append(found.is_mostly_padding[shown], False) for found in row]
    )
    for space in Space:
        curves = [found.curves[space] for found in row]
        mean, sem = (
            np.concatenate([part for values in which for part in (values[shown], end)])
            for which in ([c.mean for c in curves], [c.sem for c in curves])
        )
        curve = Curve(mean, sem, curves[0].n)
        draw_padded_mean(axes, x, curve, space, padding, linewidth=0.8)
    few = np.concatenate([np.append(found.rests_on_few[shown], False) for found in row])
    for hollow in (False, True):
        larger = {
            space: np.concatenate([np.append(found.larger[space][shown], False) for found in row])
            & (few == hollow)
            for space in Space
        }
        draw_dots(axes, x, larger, DOT_HEIGHT, hollow=hollow)
    axes.spines[["left", "bottom"]].set_visible(False)
    frame: dict[str, Any] = {"color": "k", "linewidth": FRAME_PT, "clip_on": False}
    axes.hlines(np.zeros(len(starts)), starts - 0.5, starts + LAST_SHOWN_BLOCK + 0.5, **frame)
    axes.vlines(starts - 0.5, 0, TOP, **frame)

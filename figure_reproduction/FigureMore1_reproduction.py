"""More from the recordings: analyses that the authors name, and that no released script draws."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core import start

if __name__ == "__main__":
    sys.exit(start.run("figure_reproduction.FigureMore1_reproduction"))

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import FigureBase
from numpy.typing import NDArray
from scipy import stats

from core.published import Statistic
from core.spaces import BySpace, Space
from core.utils.statistics.t_tests import student
from figure_reproduction.page.drawing import draw_curve
from figure_reproduction.page.groups import AREAS, Curve, members
from figure_reproduction.page.page import Drawing, FigureScript, Shown

FIGURE = FigureScript(
    "FigureMore1", "Evolutions", "more from the recordings; not panels of the released scripts"
)

#: Blocks that are drawn of the responses to reference pictures.
REFERENCE_BLOCKS = 30

#: How the axis tells the two PSTHs whose centres are compared.
_FIRST_AND_BEST = ("first", "best")


def in_area(sites: pd.DataFrame, success: str) -> dict[str, NDArray[np.bool_]]:
    """Return the valid and successful experiments of each area, (n_experiments,)."""
    return dict(members(sites, success))


@FIGURE.panel("More1A", reads=("reference_responses", "sites"))
def show_references(responses: BySpace[NDArray[np.float64]], sites: pd.DataFrame) -> Shown:
    """Adaptation to the reference pictures, block by block.

    Mean response to the pictures that were shown again in every block of the DeePSim (blue) and the
    BigGAN (red) thread, over the largest response of both threads; valid experiments of each area,
    one standard error. Not a panel of the paper's released scripts.
    """
    valid = sites.assign(everything=True)
    groups = {
        (area, space): responses[space][chosen]
        for area, chosen in in_area(valid, "everything").items()
        for space in Space
    }
    drawing = Drawing(partial(draw_references, groups), (180, 60))
    return Shown(tell_references(groups), {"More1A": drawing})


def tell_references(
    groups: Mapping[tuple[str, Space], NDArray[np.float64]],
) -> Iterator[Statistic]:
    """Compare the first two and the last two blocks of each session."""
    for (area, space), values in groups.items():
        first, last = np.array([_ends(row) for row in values]).reshape(-1, 2).T
        about: dict[str, Any] = {"area": area, "space": space}
        yield Statistic("reference pictures, n", len(first), **about)
        if len(first) < 2:
            continue
        test = student(last, first, paired=True)
        yield Statistic("reference pictures, last over first two blocks",
                        float(np.mean(last) / np.mean(first)), **about)  # fmt: skip
        yield Statistic("reference pictures, last against first, paired t", test.t, **about)
        yield Statistic("reference pictures, last against first, p", test.p, **about)


def _ends(row: NDArray[np.float64]) -> tuple[float, float]:
    known = row[np.isfinite(row)]
    return known[:2].mean(), known[-2:].mean()


def draw_references(
    groups: Mapping[tuple[str, Space], NDArray[np.float64]], canvas: FigureBase
) -> None:
    """Draw mean and standard error over the experiments that reached each block."""
    panels = canvas.subplots(1, len(AREAS), sharex=True, sharey=True)
    blocks = np.arange(REFERENCE_BLOCKS)
    for axes, area in zip(panels, AREAS, strict=True):
        for space in Space:
            values = groups[area, space][:, :REFERENCE_BLOCKS]
            n = np.isfinite(values).sum(axis=0)
            seen = n >= 3
            curve = Curve(
                np.nanmean(values[:, seen], axis=0),
                np.nanstd(values[:, seen], axis=0) / np.sqrt(n[seen]),
                len(values),
            )
            draw_curve(axes, blocks[seen] + 1, curve, space, label=space)
        axes.set_title(f"{area} (N={len(groups[area, Space.DEEPSIM])})")
        axes.set_xlabel("Block")
    panels[0].set(ylim=(0, None), ylabel="Response to reference\npictures (normalised)")
    panels[0].legend()


@FIGURE.panel("More1B", reads=("sites",))
def show_centres(sites: pd.DataFrame) -> Shown:
    """Centre of mass of the PSTHs of the first and the best block.

    Centre of what rises above the baseline between 50 and 200 ms (our definition); threads that
    climbed (P<0.01), mean and standard error. Not a panel of the paper's released scripts.
    """
    groups = {
        (area, space): sites.loc[
            chosen, [f"{space.prefix}_centre_{which}" for which in _FIRST_AND_BEST]
        ].dropna().to_numpy()
        for space in Space
        for area, chosen in in_area(sites, f"{space.prefix}succ001").items()
    }  # fmt: skip
    drawing = Drawing(partial(draw_centres, groups), (85, 65))
    return Shown(tell_centres(groups), {"More1B": drawing})


def tell_centres(groups: Mapping[tuple[str, Space], NDArray[np.float64]]) -> Iterator[Statistic]:
    """List means, and compare the best block with the first."""
    for (area, space), centres in groups.items():
        about: dict[str, Any] = {"area": area, "space": space}
        yield Statistic("centre of PSTH, n", len(centres), **about)
        if len(centres) < 2:
            continue
        test = student(centres[:, 1], centres[:, 0], paired=True)
        for which, values in zip(_FIRST_AND_BEST, centres.T, strict=True):
            yield Statistic(f"centre of PSTH of {which} block, ms", values.mean(), **about)
        yield Statistic("centre of PSTH, best against first, paired t", test.t, **about)
        yield Statistic("centre of PSTH, best against first, p", test.p, **about)


def draw_centres(
    groups: Mapping[tuple[str, Space], NDArray[np.float64]], canvas: FigureBase
) -> None:
    """Draw first and best side by side in each area."""
    axes = canvas.subplots()
    for position, area in enumerate(AREAS):
        for space in Space:
            centres = groups[area, space]
            if len(centres) < 2:
                continue
            x = position + np.array([-0.2, 0.2]) + 0.04 * (2 * space.thread - 1)
            axes.errorbar(
                x, centres.mean(axis=0), stats.sem(centres), color=space.colour,
                linestyle=space.dash, marker=space.marker, markersize=3, linewidth=1,
                label=space if area == "IT" else None,
            )  # fmt: skip
    axes.set_xticks(
        np.add.outer(np.arange(len(AREAS)), [-0.2, 0.2]).ravel(), list(_FIRST_AND_BEST) * len(AREAS)
    )
    for position, area in enumerate(AREAS):
        axes.annotate(
            area, (position, 0), (0, -18), xycoords=("data", "axes fraction"),
            textcoords="offset points", ha="center", va="top",
        )  # fmt: skip
    axes.set_ylabel("Centre of PSTH (ms)")
    axes.legend(loc="lower right")


@FIGURE.panel("More1C", reads=("sites",))
def show_time_constants(sites: pd.DataFrame) -> Shown:
    """Time constants of trajectories smoothed by a Gaussian process, beside those of Figure 4D.

    Counted: first block above 0.8 of the largest rise (Figure 4D). Smoothed: blocks until 0.632 of
    the rise of the smoothed trajectory. Threads that climbed (P<0.01), one point each. Not a panel
    of the paper's released scripts.
    """
    groups = {
        (area, space): sites.loc[
            chosen, [f"{space.prefix}_tc_{how}" for how in ("counted", "smoothed")]
        ].dropna().to_numpy()
        for space in Space
        for area, chosen in in_area(sites, f"{space.prefix}succ001").items()
    }  # fmt: skip
    drawing = Drawing(partial(draw_time_constants, groups), (180, 65))
    return Shown(tell_time_constants(groups), {"More1C": drawing})


def tell_time_constants(
    groups: Mapping[tuple[str, Space], NDArray[np.float64]],
) -> Iterator[Statistic]:
    """List means and how the two agree."""
    for (area, space), found in groups.items():
        about: dict[str, Any] = {"area": area, "space": space}
        yield Statistic("time constant, n", len(found), **about)
        if len(found) < 3:
            continue
        counted, smooth = found.T
        yield Statistic("counted time constant, mean, blocks", counted.mean(), **about)
        yield Statistic("smoothed time constant, mean, blocks", smooth.mean(), **about)
        yield Statistic("smoothed time constant, SEM, blocks", stats.sem(smooth), **about)
        rank = stats.spearmanr(counted, smooth)
        yield Statistic("counted and smoothed, Spearman r", rank.statistic, **about)


def draw_time_constants(
    groups: Mapping[tuple[str, Space], NDArray[np.float64]], canvas: FigureBase
) -> None:
    """Draw smoothed against counted, one point per thread."""
    panels = canvas.subplots(1, len(AREAS), sharex=True, sharey=True)
    for axes, area in zip(panels, AREAS, strict=True):
        for space in Space:
            counted, smooth = groups[area, space].reshape(-1, 2).T
            axes.plot(
                counted, smooth, space.marker, color=space.colour, alpha=0.4, markersize=3,
                markeredgewidth=0, label=f"{space} (n={len(counted)})",
            )  # fmt: skip
        axes.axline((0, 0), slope=1, color="0.7", linewidth=0.5, zorder=0)
        axes.set_title(area)
        axes.set_xlabel("Counted, to 0.8 (blocks)")
        axes.legend(loc="upper left", fontsize="small")
    panels[0].set_ylabel("Smoothed, to 0.632 (blocks)")


@FIGURE.panel("More1D", reads=("sites",))
def show_differences(sites: pd.DataFrame) -> Shown:
    """Differences of the responses to the two prototypes, for all valid experiments.

    The measures of Figure 3 without the similarity of pictures: mean absolute difference of the
    best blocks' PSTHs and of their rates (50-200 ms), over the largest response; experiments in
    which either thread climbed (P<0.05). Not a panel of the paper's released scripts.
    """
    groups = {
        (area, measure): sites.loc[chosen, measure].dropna().to_numpy()
        for area, chosen in in_area(sites, "anysucc005").items()
        for measure in ("psth_MAE", "act_MAE")
    }
    drawing = Drawing(partial(draw_differences, groups), (110, 65))
    return Shown(tell_differences(groups), {"More1D": drawing})


def tell_differences(groups: Mapping[tuple[str, str], NDArray[np.float64]]) -> Iterator[Statistic]:
    """List n, mean and standard error of both measures in each area."""
    for (area, measure), values in groups.items():
        yield Statistic(f"{measure}, n", len(values), area=area)
        if len(values) > 1:
            yield Statistic(f"{measure}, mean", values.mean(), area=area)
            yield Statistic(f"{measure}, SEM", stats.sem(values), area=area)


def draw_differences(
    groups: Mapping[tuple[str, str], NDArray[np.float64]], canvas: FigureBase
) -> None:
    """Draw sorted experiments and their mean, one column per area."""
    titles = {"psth_MAE": "Difference of PSTHs", "act_MAE": "Difference of rates"}
    panels = canvas.subplots(1, len(titles), sharey=True)
    for axes, (measure, title) in zip(panels, titles.items(), strict=True):
        for position, area in enumerate(AREAS):
            values = np.sort(groups[area, measure])
            x = position + np.linspace(-0.3, 0.3, len(values))
            axes.plot(x, values, "o", color="0.5", markersize=2, markeredgewidth=0, alpha=0.6)
            if len(values) > 1:
                axes.errorbar(position, values.mean(), stats.sem(values), color="k", marker="_")
        axes.set_xticks(
            range(len(AREAS)), [f"{a}\n(n={len(groups[a, measure])})" for a in AREAS]
        )
        axes.set_title(title)
    panels[0].set(ylim=(0, None), ylabel="Over the largest response")


main = FIGURE.main

"""More from the recordings: analyses that the authors name, and that no released script draws."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core import start

if __name__ == "__main__":
    sys.exit(start.run("figure_reproduction.FigureMore1_reproduction"))

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import scipy
from matplotlib.figure import FigureBase
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from core.published import Statistic
from core.spaces import BySpace, Space
from core.utils.statistics.t_tests import student
from figure_reproduction.Figure3_reproduction import AREA_COLOURS, AREA_MARKERS
from figure_reproduction.page.drawing import draw_curve
from figure_reproduction.page.groups import AREAS, Curve, members, pearson
from figure_reproduction.page.page import Drawing, FigureScript, Shown
from figure_reproduction.page.words import number, p_value

FIGURE = FigureScript(
    "FigureMore1", "Evolutions", "more from the recordings; not panels of the released scripts"
)

#: Blocks that are drawn of the responses to reference pictures.
REFERENCE_BLOCKS = 30

#: How the axis tells the two PSTHs whose centres are compared.
_FIRST_AND_BEST = ("first", "best")


#: Values of the threads that climbed (P<0.01), (n_threads, 2), by area and space.
Pairs: TypeAlias = Mapping[tuple[str, Space], NDArray[np.float64]]


def pairs_of_climbs(sites: pd.DataFrame, first: str, second: str) -> Pairs:
    """Collect two columns of the threads that climbed; a thread that lacks either is left out."""
    return {
        (area, space): sites.loc[chosen, [f"{space.prefix}_{first}", f"{space.prefix}_{second}"]]
        .dropna()
        .to_numpy()
        for space in Space
        for area, chosen in members(sites, f"{space.prefix}succ001")
    }


#: Responses to the reference pictures by area and space, (n_experiments, n_blocks).
References: TypeAlias = Mapping[tuple[str, Space], NDArray[np.float64]]


@FIGURE.panel("More1A", reads=("reference_responses", "sites"))
def show_references(responses: BySpace[NDArray[np.float64]], sites: pd.DataFrame) -> Shown:
    """Adaptation to the reference pictures, block by block.

    Mean response to the pictures that were shown again in every block of the DeePSim (blue) and the
    BigGAN (red) thread, over the largest response of both threads; valid experiments of each area,
    one standard error. Not a panel of the paper's released scripts.
    """
    groups = {
        (area, space): responses[space][chosen]
        for area, chosen in members(sites)
        for space in Space
    }
    drawing = Drawing(partial(draw_references, groups), (180, 60))
    return Shown(tell_references(groups), {"More1A": drawing})


def tell_references(groups: References) -> Iterator[Statistic]:
    """Compare the first two and the last two blocks of each session."""
    for (area, space), values in groups.items():
        first, last = np.array([_ends(row) for row in values]).reshape(-1, 2).T
        about: dict[str, Any] = {"area": area, "space": space}
        yield Statistic("reference pictures, n", len(first), **about)
        if len(first) < 2:
            continue
        test = student(last, first, paired=True)
        about["basis"] = _basis("last minus first two blocks", "experiments", len(first))
        yield Statistic("reference pictures, last over first two blocks",
                        float(np.mean(last) / np.mean(first)), **about)  # fmt: skip
        yield Statistic("reference pictures, last against first, paired t", test.t, **about)
        yield Statistic("reference pictures, last against first, p", test.p, **about)


def _basis(difference: str, unit: str, n: int) -> dict[str, Any]:
    """Tell what a paired test rests on."""
    return {
        "test": f"paired Student test, {difference}", "sided": "two-sided", "df": n - 1, "n": n,
        "unit": f"{unit}; sites repeat among them", "correction": "none",
    }  # fmt: skip


def _ends(row: NDArray[np.float64]) -> tuple[float, float]:
    known = row[np.isfinite(row)]
    return known[:2].mean(), known[-2:].mean()


def draw_references(groups: References, canvas: FigureBase) -> None:
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
        axes.set_title(f"{area} ($n$ = {len(groups[area, Space.DEEPSIM])})")
        axes.set_xlabel("Block")
    panels[0].set(ylim=(0, None), ylabel="Response to reference\npictures (normalised)")
    panels[0].legend()


@FIGURE.panel("More1B", reads=("sites",))
def show_centres(sites: pd.DataFrame) -> Shown:
    """Centre of mass of the PSTHs of the first and the best block.

    Centre of what rises above the baseline between 50 and 200 ms (our definition); threads that
    climbed (P<0.01), mean and standard error. Not a panel of the paper's released scripts.
    """
    groups = pairs_of_climbs(sites, "centre_first", "centre_best")
    drawing = Drawing(partial(draw_centres, groups), (85, 65))
    return Shown(tell_centres(groups), {"More1B": drawing})


def tell_centres(groups: Pairs) -> Iterator[Statistic]:
    """List means, and compare the best block with the first."""
    for (area, space), centres in groups.items():
        about: dict[str, Any] = {"area": area, "space": space}
        yield Statistic("centre of PSTH, n", len(centres), **about)
        if len(centres) < 2:
            continue
        test = student(centres[:, 1], centres[:, 0], paired=True)
        about["basis"] = _basis("best minus first block", "threads that climbed", len(centres))
        for which, values in zip(_FIRST_AND_BEST, centres.T, strict=True):
            yield Statistic(f"centre of PSTH of {which} block, ms", values.mean(), **about)
        yield Statistic("centre of PSTH, best against first, paired t", test.t, **about)
        yield Statistic("centre of PSTH, best against first, p", test.p, **about)


def draw_centres(groups: Pairs, canvas: FigureBase) -> None:
    """Draw first and best side by side in each area."""
    axes = canvas.subplots()
    for position, area in enumerate(AREAS):
        for space in Space:
            centres = groups[area, space]
            if len(centres) < 2:
                continue
            x = position + np.array([-0.2, 0.2]) + 0.04 * (2 * space.thread - 1)
            axes.errorbar(
                x, centres.mean(axis=0), scipy.stats.sem(centres), color=space.colour,
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
    groups = pairs_of_climbs(sites, "tc_counted", "tc_smoothed")
    drawing = Drawing(partial(draw_time_constants, groups), (180, 65))
    return Shown(tell_time_constants(groups), {"More1C": drawing})


def tell_time_constants(groups: Pairs) -> Iterator[Statistic]:
    """List means and how the two agree."""
    for (area, space), found in groups.items():
        about: dict[str, Any] = {"area": area, "space": space}
        yield Statistic("time constant, n", len(found), **about)
        if len(found) < 3:
            continue
        counted, smooth = found.T
        yield Statistic("counted time constant, mean, blocks", counted.mean(), **about)
        yield Statistic("smoothed time constant, mean, blocks", smooth.mean(), **about)
        yield Statistic("smoothed time constant, SEM, blocks", scipy.stats.sem(smooth), **about)
        rank = scipy.stats.spearmanr(counted, smooth)
        yield Statistic("counted and smoothed, Spearman r", rank.statistic, **about)


def draw_time_constants(groups: Pairs, canvas: FigureBase) -> None:
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


@FIGURE.panel("More1D", reads=("sites", "picture_similarity?"))
def show_differences(sites: pd.DataFrame, pictures: pd.DataFrame | None) -> Shown:
    """Differences of the responses to the two prototypes, for all experiments.

    Mean absolute difference of the best blocks' PSTHs and of their rates (50-200 ms), over the
    largest response, as in Figure 3; filled where the experiment is valid and both threads climbed
    (P<0.05), which Figure 3 asks for. Where a network has compared the best pictures of the two
    best blocks, the same against the cosine of its features (higher is more alike), with Pearson
    correlations; the network is not that of Figure 3 unless the axis says so, and the pictures are
    single evolved images. Not a panel of the paper's released scripts.
    """
    as_figure_3 = (sites["valid"] & sites["bothsucc005"]).to_numpy(dtype=bool)
    groups = {
        (area, measure): (
            sites.loc[here, measure].to_numpy(dtype=float), as_figure_3[here.to_numpy()]
        )
        for area, here in ((area, sites["visual_area"] == area) for area in AREAS)
        for measure in MEASURES
    }  # fmt: skip
    drawings = {"More1D": Drawing(partial(draw_differences, groups), (110, 65))}
    statistics = list(tell_differences(groups))
    if pictures is None:
        note = "not compared: run `python -m source_data_export.picture_similarity`"
        return Shown([*statistics, Statistic("similarity of best pictures", note)], drawings)
    likeness = _likeness(sites, pictures, as_figure_3)
    drawings["More1D_pictures"] = Drawing(partial(draw_likeness, likeness), (150, 72))
    return Shown([*statistics, *tell_likeness(likeness)], drawings)


#: What is compared of the responses, as Figure 3 names it.
MEASURES = {"psth_MAE": "Difference of PSTHs", "act_MAE": "Difference of rates"}

#: Responses that differ, and whether Figure 3 would draw the experiment, both (n_experiments,).
Differences = tuple[NDArray[np.float64], NDArray[np.bool_]]

_FIGURE_3 = "valid, both threads climbed"


@dataclass(frozen=True)
class Likeness:
    """How alike the best pictures look, beside how differently the sites respond.

    Attributes
    ----------
    network : str
        The network and its layer, for an axis.
    points : pandas.DataFrame
        Columns ``visual_area``, ``cosine``, those of `MEASURES`, and ``as_figure_3``; experiments
        with both pictures.
    correlations : mapping
        Measure and group → Pearson correlation with the cosine, its p, and n; NaN where undefined.
    """

    network: str
    points: pd.DataFrame
    correlations: Mapping[tuple[str, str], tuple[float, float, int]]


def _likeness(
    sites: pd.DataFrame, pictures: pd.DataFrame, as_figure_3: NDArray[np.bool_]
) -> Likeness:
    compared = sites[["visual_area", *MEASURES]].assign(as_figure_3=as_figure_3)
    points = compared.join(pictures["cosine"]).dropna(subset=["cosine", *MEASURES])
    chosen = {"all experiments": points, _FIGURE_3: points[points["as_figure_3"]]}
    correlations = {
        (measure, group): (*pearson(rows["cosine"].to_numpy(), rows[measure].to_numpy()), len(rows))
        for measure in MEASURES
        for group, rows in chosen.items()
    }
    network = f"{pictures['network'].iloc[0]}, {pictures['layer'].iloc[0]}"
    return Likeness(network, points, correlations)


def tell_differences(groups: Mapping[tuple[str, str], Differences]) -> Iterator[Statistic]:
    """List n, mean and standard error of both measures in each area."""
    for (area, measure), (values, as_figure_3) in groups.items():
        for group, chosen in (("all experiments", values), (_FIGURE_3, values[as_figure_3])):
            known = chosen[np.isfinite(chosen)]
            yield Statistic(f"{measure}, {group}, n", len(known), area=area)
            if len(known) > 1:
                yield Statistic(f"{measure}, {group}, mean", known.mean(), area=area)
                yield Statistic(f"{measure}, {group}, SEM", scipy.stats.sem(known), area=area)


def tell_likeness(likeness: Likeness) -> Iterator[Statistic]:
    """List the network and the correlations of its cosines with both differences."""
    yield Statistic("network that compares best pictures", likeness.network)
    for (measure, group), (r, p, n) in likeness.correlations.items():
        yield Statistic(f"{measure} vs cosine, {group}, n", n)
        yield Statistic(f"{measure} vs cosine, {group}, Pearson r", r)
        yield Statistic(f"{measure} vs cosine, {group}, p", p)


def draw_differences(groups: Mapping[tuple[str, str], Differences], canvas: FigureBase) -> None:
    """Draw sorted experiments, and the mean of those of Figure 3, one column per area."""
    panels = canvas.subplots(1, len(MEASURES), sharey=True)
    for axes, (measure, title) in zip(panels, MEASURES.items(), strict=True):
        for position, area in enumerate(AREAS):
            values, as_figure_3 = groups[area, measure]
            order = np.argsort(values)
            x = position + np.linspace(-0.35, 0.35, len(values))
            filled = as_figure_3[order]
            axes.plot(x[~filled], values[order][~filled], "o", color="0.55", **_HOLLOW)
            axes.plot(x[filled], values[order][filled], "o", color="0.3", **_FILLED)
            if filled.sum() > 1:
                chosen = values[as_figure_3]
                error = scipy.stats.sem(chosen)
                axes.errorbar(position, chosen.mean(), error, color="k", marker="_", zorder=4)
        axes.set_xticks(
            range(len(AREAS)),
            [f"{a}\n({groups[a, measure][1].sum()} of {len(groups[a, measure][0])})"
             for a in AREAS],
        )  # fmt: skip
        axes.set_title(title)
    panels[0].set(ylim=(0, None), ylabel="Over the largest response")


def draw_likeness(likeness: Likeness, canvas: FigureBase) -> None:
    """Draw both differences against the cosine of the pictures, one point per experiment."""
    panels = canvas.subplots(1, len(MEASURES), sharey=True)
    points = likeness.points
    for axes, (measure, title) in zip(panels, MEASURES.items(), strict=True):
        for area in AREAS:
            for look, filled in ((_HOLLOW, False), (_FILLED, True)):
                here = points[
                    (points["visual_area"] == area) & (points["as_figure_3"] == filled)
                ]
                axes.plot(
                    here["cosine"], here[measure], AREA_MARKERS[area], color=AREA_COLOURS[area],
                    **look,
                )  # fmt: skip
        told = [
            f"{group}: $r$ = {number(r)}, {p_value(p)}, n = {n}"
            for (of, group), (r, p, n) in likeness.correlations.items()
            if of == measure
        ]
        axes.set_title("\n".join([title, *told]))
        axes.set_xlabel(f"Likeness of best pictures, cosine\n({likeness.network})")
    handles = [
        Line2D([], [], linestyle="", marker=AREA_MARKERS[a], color=AREA_COLOURS[a], label=a,
               markersize=3)
        for a in AREAS
    ]  # fmt: skip
    panels[0].set(ylim=(0, None), ylabel="Over the largest response")
    panels[1].legend(handles=handles, loc="upper right", handletextpad=0)


_HOLLOW: dict[str, Any] = {"markersize": 2.2, "markerfacecolor": "none", "markeredgewidth": 0.4}
_FILLED: dict[str, Any] = {"markersize": 2.6, "markeredgewidth": 0, "alpha": 0.7}


main = FIGURE.main

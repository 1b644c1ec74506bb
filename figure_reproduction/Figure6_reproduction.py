"""Figure 6: tuning along the axes to which BigGAN's images are most and least sensitive.

6C one tuning curve and what is fitted to it; 6D all axes of a session after a successful and after
a failed evolution; 6E shapes and peak locations of the tuned axes of all sessions.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core import start

if __name__ == "__main__":
    sys.exit(start.run("figure_reproduction.Figure6_reproduction"))

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import scipy
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from numpy.typing import NDArray

from core.errors import MalformedDataError
from core.published import Statistic
from figure_reproduction.page.page import FigureScript, Shown
from figure_reproduction.page.sheet import Drawing
from figure_reproduction.page.words import as_it_is, number, p_value, tick
from neuro_data_analysis.neural_tuning_analysis_lib import AxisFit, TuningAxis, axes_of, fit_axis
from neuro_data_analysis.robustness.intervals import (
    ClusterBootstrap,
    cluster_bootstrap,
    design_effect,
    wilson_interval,
)
from neuro_data_analysis.tuning.sessions import published_session
from neuro_data_analysis.tuning.statistics import TUNED_P_BELOW
from neuro_data_analysis.tuning.tables import EXAMPLE_6C

FIGURE = FigureScript(
    "Figure6", "Fig6", "tuning along Hessian axes of BigGAN",
    pages=(
        (("6C", "6D_success"), ("6D_failed_class", "6E_shapes", "6E_peaks")),
    ),
)

#: The axis of Figure 6C.
SHOWN_AXIS = ("class", 0)

#: Seed of the restarts of the Gaussian process of Figure 6C.
SEED = 0

#: Colours of a heat map end at these quantiles of the responses of all axes of both spaces.
COLOUR_QUANTILES = (0.02, 0.98)

#: Perceptually uniform and free; the published picture has MathWorks' parula.
COLOUR_MAP = "viridis"

#: Eigenvectors of the class space shown of the failed evolution.
SHOWN_EIGENVECTORS = (0, 1, 2, 3, 6, 9, 13, 21, 30, 60)

#: Group of sessions → what the paired evolution was.
GROUPS = {"successful": True, "non_successful": False}
GROUP_LABELS = {"successful": "Successful", "non_successful": "Not successful"}

#: Shape → colour, label, and the direction of the test, successful against not.
SHAPES = {
    "bellshaped": ("#2f6db3", "bell-shaped", "larger"),
    "monotonic": ("#c8702a", "monotonic", "smaller"),
}

#: Resamples of sessions in Figure 6E, and their seed.
N_RESAMPLES, SESSION_SEED = 1000, 65

#: Coverage of all intervals of Figure 6E.
COVERAGE = 0.95


@dataclass(frozen=True)
class TuningCurve:
    """One axis: single trials, level means ± SD (ddof 1), and the fits; events/s."""

    axis: TuningAxis
    fit: AxisFit
    level_sd: NDArray[np.float64]
    x: NDArray[np.float64]
    curves: Mapping[str, NDArray[np.float64]]
    title: str


@dataclass(frozen=True)
class HeatMap:
    """Mean responses in one space.

    Attributes
    ----------
    space : {"class", "noise"}
    eig_ids : list of int
        Rows.
    distances : numpy.ndarray
        Columns.
    responses : numpy.ndarray
        (rows, columns) events/s; NaN where nothing was shown.
    is_dark : numpy.ndarray of bool
        Cells on which text must be light.
    """

    space: str
    eig_ids: list[int]
    distances: NDArray[np.float64]
    responses: NDArray[np.float64]
    is_dark: NDArray[np.bool_]


@dataclass(frozen=True)
class HeatMaps:
    """The heat maps of a session, with the ends of their common colour scale, events/s."""

    session: str
    maps: tuple[HeatMap, ...]
    low: float
    high: float


@dataclass(frozen=True)
class Proportion:
    """k of n axes, with a 95 % interval of the proportion; NaN for none."""

    count: int
    total: int
    low: float
    high: float

    @property
    def ratio(self) -> float:
        """The proportion itself, k/n."""
        return self.count / self.total if self.total else np.nan


@dataclass(frozen=True)
class ZTest:
    """One-sided test of two proportions with pooled variance; NaN where it is not defined."""

    z: float
    p: float


@dataclass(frozen=True)
class Shapes:
    """(group, shape) → proportion among tuned axes; shape → test between the groups.

    And (group, shape) → the proportion with sessions, not axes, as its units.
    """

    proportions: Mapping[tuple[str, str], Proportion]
    tests: Mapping[str, ZTest]
    by_session: Mapping[tuple[str, str], SessionProportion]


@dataclass(frozen=True)
class SessionProportion:
    """A proportion of axes that come about ten to a session.

    Attributes
    ----------
    resampled : ClusterBootstrap
        With intervals of resampled sessions.
    design_effect : float
        By how much sessions inflate the variance of the proportion.
    """

    resampled: ClusterBootstrap
    design_effect: float


@dataclass(frozen=True)
class Peaks:
    """Positions, and for each group the proportion of tuned axes that peak there."""

    distances: NDArray[np.float64]
    proportions: Mapping[str, list[Proportion]]
    totals: Mapping[str, int]


@FIGURE.panel("6C", reads=("trials",))
def show_6c(trials: pd.DataFrame) -> Shown:
    """Responses of one site to images along the first class axis.

    Single trials (dots), means and SD (diamonds), and a Gaussian, a line and a Gaussian process
    (band: one SD, noise included) fitted to the trials.
    """
    curve = compute_6c(trials)
    return Shown(tell_6c(curve), {"6C": Drawing(partial(draw_6c, curve), (76, 66))})


def compute_6c(trials: pd.DataFrame) -> TuningCurve:
    """Fit the shown axis."""
    axes = {(axis.space, axis.eig_id): axis for axis in axes_of(trials)}
    if SHOWN_AXIS not in axes:
        raise MalformedDataError(
            f"the trials of {EXAMPLE_6C} hold no {SHOWN_AXIS[0]} axis {SHOWN_AXIS[1]}; Figure 6C "
            "shows that axis."
        )
    axis = axes[SHOWN_AXIS]
    fit = fit_axis(axis, SEED)
    x = np.linspace(axis.distance.min(), axis.distance.max(), 100)
    process = fit.process
    curves = {"Gaussian": fit.gaussian(x), "line": fit.line(x)}
    if process.mean.size:
        curves |= {
            "process": process.mean,
            "process low": process.mean - process.std,
            "process high": process.mean + process.std,
        }
    return TuningCurve(axis, fit, np.sqrt(axis.levels.variance), x, curves, _title_6c(axis, fit))


def tell_6c(curve: TuningCurve) -> Iterator[Statistic]:
    """List the parameters of all fits."""
    gaussian, line, process = curve.fit.gaussian, curve.fit.line, curve.fit.process
    yield Statistic("n_trials", len(curve.axis.response))
    for quantity, value in {
        "gauss_amplitude": gaussian.amplitude, "gauss_mean": gaussian.center,
        "gauss_std": gaussian.sigma, "gauss_baseline": gaussian.offset, "gauss_R2": gaussian.r2,
        "ols_slope": line.slope, "ols_intercept": line.intercept, "ols_R2": line.r2,
        "gpr_amplitude": process.amplitude, "gpr_length_scale": process.length_scale,
        "gpr_noise": process.noise, "gpr_R2": process.r2,
    }.items():  # fmt: skip
        yield Statistic(quantity, value)
    n_levels, n_trials = len(curve.axis.levels.distance), len(curve.axis.response)
    basis = {
        "test": "one-way analysis of variance over the positions on the axis",
        "df": [n_levels - 1, n_trials - n_levels],
        "n": n_trials,
        "unit": "trials",
    }
    yield Statistic("anova_F", curve.axis.anova.f, basis=basis)
    yield Statistic("anova_p", curve.axis.anova.p, basis=basis)


def draw_6c(curve: TuningCurve, canvas: FigureBase) -> None:
    """Draw trials, level means and the three fits."""
    axes = canvas.subplots()
    axis, levels, curves = curve.axis, curve.axis.levels, curve.curves
    axes.plot(axis.distance, axis.response, "o", color="0.55", markeredgewidth=0, label="trials")
    axes.errorbar(
        levels.distance, levels.mean, curve.level_sd, fmt="D", color="#d55e00", markersize=2.8,
        capsize=1.5, linewidth=0.7, label="mean ± SD",
    )  # fmt: skip
    axes.plot(curve.x, curves["Gaussian"], color="k", label="Gaussian")
    axes.plot(curve.x, curves["line"], "--", color="#cc79a7", label="line")
    if "process" in curves:
        axes.plot(curve.x, curves["process"], "-.", color="#0072b2", label="Gaussian process")
        axes.fill_between(
            curve.x, curves["process low"], curves["process high"], color="#0072b2", alpha=0.18,
            linewidth=0, label="± SD of the process",
        )  # fmt: skip
    axes.set(xlabel="Distance along the axis", ylabel="Response (events/s)")
    axes.xaxis.set_major_formatter(lambda value, _: tick(value))
    axes.set_title(curve.title)
    canvas.legend(loc="outside lower center", ncols=3)


@FIGURE.panel("6D_success", reads=("responses_successful",))
def show_6d_success(responses: pd.DataFrame) -> Shown:
    """Mean responses of one site after a successful BigGAN evolution.

    At nine distances from the evolved image along axes of the class and noise spaces; colours end
    at the 2 and 98 % quantiles.
    """
    maps = compute_6d(responses)
    drawing = Drawing(partial(draw_6d, maps, True), (107, 66))
    return Shown(tell_6d(maps), {"6D_success": drawing})


@FIGURE.panel("6D_failed", reads=("responses_failed",))
def show_6d_failed(responses: pd.DataFrame) -> Shown:
    """The same of a site after a BigGAN evolution that failed, axes of the class space.

    Colours end at the 2 and 98 % quantiles of both spaces.
    """
    maps = compute_6d_failed(responses)
    drawing = Drawing(partial(draw_6d, maps, False), (55, 62))
    return Shown(tell_6d(maps), {"6D_failed_class": drawing})


def compute_6d(table: pd.DataFrame) -> HeatMaps:
    """Lay out the responses as eigenvectors × distances and find the ends of the colours."""
    sessions = table[["ephysFN", "prefchan_str"]].drop_duplicates()
    if len(sessions) != 1:
        raise MalformedDataError(
            f"the mean responses are of {len(sessions)} sites "
            f"({', '.join(sessions['ephysFN'].astype(str))}); a heat map shows one."
        )
    low, high = (float(q) for q in np.nanquantile(table["pref_unit_resp"], COLOUR_QUANTILES))
    maps = tuple(
        _heat_map(str(space), part, (low + high) / 2) for space, part in table.groupby("space_name")
    )
    name, site = sessions.iloc[0]
    return HeatMaps(f"{name}, site {site}", maps, low, high)


def compute_6d_failed(table: pd.DataFrame) -> HeatMaps:
    """Do the same, then keep the shown eigenvectors of the class space."""
    whole = compute_6d(table)
    shown = []
    for found in (m for m in whole.maps if m.space == "class"):
        rows = [row for row, eig_id in enumerate(found.eig_ids) if eig_id in SHOWN_EIGENVECTORS]
        eig_ids, responses = [found.eig_ids[row] for row in rows], found.responses[rows]
        shown.append(
            replace(found, eig_ids=eig_ids, responses=responses, is_dark=found.is_dark[rows])
        )
    return replace(whole, maps=tuple(shown))


def tell_6d(computed: HeatMaps) -> Iterator[Statistic]:
    """List the ends of the colours and the size of each map."""
    yield Statistic("colour_low", computed.low)
    yield Statistic("colour_high", computed.high)
    for heat_map in computed.maps:
        yield Statistic("n_axes", len(heat_map.eig_ids), space=heat_map.space)
        largest = float(np.nanmax(heat_map.responses)) if heat_map.responses.size else np.nan
        yield Statistic("largest_response", largest, space=heat_map.space)


def draw_6d(computed: HeatMaps, numbers: bool, canvas: FigureBase) -> None:
    """Draw the heat map of each space, with numbers in the cells where asked for."""
    panels = canvas.subplots(1, len(computed.maps), squeeze=False)
    for axes, heat_map in zip(panels[0], computed.maps, strict=True):
        image = axes.imshow(
            heat_map.responses, vmin=computed.low, vmax=computed.high, cmap=COLOUR_MAP,
            aspect="auto", interpolation="nearest",
        )  # fmt: skip
        axes.set_xticks(
            range(len(heat_map.distances)),
            labels=[tick(d) for d in heat_map.distances],
            rotation=60,
        )
        axes.set_yticks(range(len(heat_map.eig_ids)), labels=[str(e) for e in heat_map.eig_ids])
        axes.set_title(f"{heat_map.space} space")
        axes.spines[:].set_visible(False)
        if numbers:
            _write_numbers(axes, heat_map)
    panels[0, 0].set_ylabel("Eigenvector")
    canvas.supxlabel("Distance along the axis")
    canvas.colorbar(
        image, ax=list(panels[0]), label="Response (events/s)", extend=_clipped(computed), pad=0.02
    ).outline.set_linewidth(0.4)
    canvas.suptitle(f"Site {as_it_is(computed.session.rpartition(' ')[2])}")


def _clipped(computed: HeatMaps) -> str:
    """Say at which ends of the colours responses go on beyond them."""
    responses = np.concatenate([found.responses.ravel() for found in computed.maps])
    below = bool(np.nanmin(responses) < computed.low)
    above = bool(np.nanmax(responses) > computed.high)
    return ("both" if above else "min") if below else ("max" if above else "neither")


@FIGURE.panel("6E_shapes", reads=("shapes",))
def show_shapes(table: pd.DataFrame) -> Shown:
    """Fraction of tuned axes whose curve is bell-shaped or monotonic.

    After successful and failed BigGAN evolutions; bars are 95 % bootstrap intervals (in the limit
    of many draws), tests are one-sided z tests of two proportions. Both take axes as independent,
    as published; they come about ten to a session, and the JSON file has intervals of resampled
    sessions, design effects and two-sided P beside.
    """
    shapes = compute_shapes(table)
    drawing = Drawing(partial(draw_shapes, shapes), (56, 62))
    return Shown(tell_shapes(shapes), {"6E_shapes": drawing})


def compute_shapes(table: pd.DataFrame) -> Shapes:
    """Count bell-shaped and monotonic curves among the tuned common axes, and compare."""
    tuned = table[(table["anova_p_value"] < TUNED_P_BELOW) & table["is_common_axis"]]
    counted, by_session = {}, {}
    for place, (group, success) in enumerate(GROUPS.items()):
        members = tuned[tuned["is_BigGAN_evol_success"] == success]
        for shape in (*SHAPES, "unimodal"):
            column = f"gpr_y_is_{shape}"
            counted[group, shape] = _bootstrapped(int(members[column].sum()), len(members))
            by_session[group, shape] = _by_session(members, column, place)
    tests = {
        shape: _z_test(counted["successful", shape], counted["non_successful", shape], direction)
        for shape, (_, _, direction) in SHAPES.items()
    }
    return Shapes(counted, tests, by_session)


def _by_session(axes: pd.DataFrame, column: str, seed: int) -> SessionProportion:
    """Resample the sessions of a group, and tell how alike their axes are."""
    hit, session = axes[column].to_numpy(dtype=float), axes["Exp_id"].tolist()

    def share(rows: NDArray[np.intp]) -> float:
        return float(hit[rows].mean()) if len(rows) else np.nan

    rng = np.random.default_rng([SESSION_SEED, seed])
    resampled = cluster_bootstrap(share, session, rng, n_resamples=N_RESAMPLES)
    return SessionProportion(resampled, design_effect(hit, session) if session else np.nan)


def tell_shapes(shapes: Shapes) -> Iterator[Statistic]:
    """List counts, proportions and tests."""
    for (group, shape), proportion in shapes.proportions.items():
        yield Statistic(f"{shape}_count {group}", proportion.count)
        yield Statistic(f"{shape}_total {group}", proportion.total)
        yield Statistic(f"{shape}_ratio {group}", proportion.ratio)
        interval = {"interval": "95 %, bootstrap of axes in the limit", "unit": "axes"}
        ends = [proportion.low, proportion.high]
        yield Statistic(f"{shape}_interval {group}", ends, basis=interval)
        of_sessions = shapes.by_session[group, shape]
        beside: dict[str, Any] = {
            "interval": f"95 %, {N_RESAMPLES} resamples of whole sessions, BCa",
            "n": of_sessions.resampled.n_clusters,
            "unit": "sessions",
            "chosen": "here, not by the authors",
        }
        name = f"{shape}_interval_of_sessions {group}"
        yield Statistic(name, list(of_sessions.resampled.bca), basis=beside)
        kish = {"formula": "1 + (m - 1) ICC, m axes to a session", "unit": "sessions"}
        yield Statistic(f"{shape}_design_effect {group}", of_sessions.design_effect, basis=kish)
    for shape, test in shapes.tests.items():
        direction = SHAPES[shape][2]
        basis = {
            "test": "two-proportion z test, pooled variance",
            "sided": f"one-sided ({direction} in successful)",
            "n": [shapes.proportions[group, shape].total for group in GROUPS],
            "unit": "axes, about ten a session",
        }
        yield Statistic(f"{shape} z, {direction} in successful", test.z, basis=basis)
        yield Statistic(f"{shape} p, {direction} in successful", test.p, basis=basis)
        two_sided = 2 * min(test.p, 1 - test.p)
        yield Statistic(f"{shape} p, two-sided", two_sided, basis=basis | {"sided": "two-sided"})


def draw_shapes(shapes: Shapes, canvas: FigureBase) -> None:
    """Draw one bar for each group and shape."""
    axes = canvas.subplots()
    for place, (shape, (colour, label, _)) in enumerate(SHAPES.items()):
        for position, group in enumerate(GROUPS):
            proportion = shapes.proportions[group, shape]
            x = position + 0.4 * (place - 0.5)
            _draw_bar(axes, x, proportion, 0.38, colour, "0.2", hatch=place * "///")
            if proportion.total:
                told = f"{proportion.ratio:.2f}\n{proportion.count}/{proportion.total}"
                _write_above(axes, x, proportion, told)
        axes.bar(0, 0, color=colour, edgecolor="w", hatch=place * "///", label=label)
    axes.set_xticks(range(len(GROUPS)), labels=[GROUP_LABELS[group] for group in GROUPS])
    axes.set(xlabel="Evolution in BigGAN", ylabel="Fraction of tuned axes")
    axes.set_title(
        "\n".join(
            f"{SHAPES[shape][1]}: $z$ = {number(test.z)}, {p_value(test.p)}"
            for shape, test in shapes.tests.items()
        ),
    )
    canvas.legend(loc="outside lower center", ncols=2)


@FIGURE.panel("6E_peaks", reads=("peaks",))
def show_peaks(table: pd.DataFrame) -> Shown:
    """Location of the largest mean response along tuned axes.

    After successful and failed BigGAN evolutions; counts above, whiskers are 95 % Wilson
    intervals.
    """
    peaks = compute_peaks(table)
    drawing = Drawing(partial(draw_peaks, peaks), (72, 62))
    return Shown(tell_peaks(peaks), {"6E_peaks": drawing})


def compute_peaks(table: pd.DataFrame) -> Peaks:
    """Count the tuned axes that peak at each position."""
    place = table["max_resp_lin_dist_bin"].round(6)
    distances = np.unique(place)
    tuned = table["p_value"] < TUNED_P_BELOW
    totals, proportions = {}, {}
    for group, success in GROUPS.items():
        members = place[tuned & (table["is_BigGAN_evol_success"] == success)]
        totals[group] = len(members)
        counts = [int((members == distance).sum()) for distance in distances]
        proportions[group] = [
            Proportion(count, len(members), *wilson_interval(count, len(members), COVERAGE))
            for count in counts
        ]
    return Peaks(distances, proportions, totals)


def tell_peaks(peaks: Peaks) -> Iterator[Statistic]:
    """List counts and intervals."""
    for group, proportions in peaks.proportions.items():
        yield Statistic(f"peak_total {group}", peaks.totals[group])
        for distance, proportion in zip(peaks.distances, proportions, strict=True):
            yield Statistic(f"peak_count {group} at {distance}", proportion.count)
            interval = [proportion.low, proportion.high]
            basis = {"interval": "95 %, Wilson", "unit": "axes", "n": peaks.totals[group]}
            yield Statistic(f"peak_interval {group} at {distance}", interval, basis=basis)


def draw_peaks(peaks: Peaks, canvas: FigureBase) -> None:
    """Draw a histogram for each group, counts above the whiskers."""
    panels = canvas.subplots(1, len(GROUPS), sharey=True)
    for axes, (group, proportions) in zip(panels, peaks.proportions.items(), strict=True):
        for place, proportion in enumerate(proportions):
            _draw_bar(axes, place, proportion, 0.8, "0.25", "#d55e00", capsize=1.2)
            if proportion.total:
                _write_above(axes, place, proportion, str(proportion.count))
        axes.set_xticks(
            range(len(peaks.distances)), labels=[tick(d) for d in peaks.distances], rotation=60
        )
        axes.set_title(f"{GROUP_LABELS[group]} ($n$ = {peaks.totals[group]})")
    panels[0].set_ylabel("Fraction of tuned axes")
    canvas.supxlabel("Location of the largest response on the axis")


def _title_6c(axis: TuningAxis, fit: AxisFit) -> str:
    site = published_session(EXAMPLE_6C).unit_label
    r2 = ", ".join(
        f"{name} {number(found.r2)}"
        for name, found in (
            ("Gaussian", fit.gaussian), ("line", fit.line), ("process", fit.process)
        )
    )  # fmt: skip
    return (
        f"Site {site}, {axis.space} axis {axis.eig_id}: ANOVA {p_value(axis.anova.p)}\n$R$²: {r2}"
    )


def _heat_map(space: str, table: pd.DataFrame, middle: float) -> HeatMap:
    cells = table.assign(eig_id=table["eig_id"].astype(float).astype(int))
    cells = cells.pivot_table(index="eig_id", columns="lin_dist", values="pref_unit_resp")
    responses = cells.to_numpy(dtype=float)
    return HeatMap(
        space=space,
        eig_ids=[int(str(eig_id)) for eig_id in cells.index],
        distances=cells.columns.to_numpy(dtype=float),
        responses=responses,
        is_dark=responses < middle,
    )


def _write_numbers(axes: Axes, heat_map: HeatMap) -> None:
    for (row, column), response in np.ndenumerate(heat_map.responses):
        if np.isfinite(response):
            colour = "w" if heat_map.is_dark[row, column] else "k"
            axes.text(
                column, row, f"{response:.0f}", ha="center", va="center", color=colour, fontsize=5
            )


def _draw_bar(
    axes: Axes,
    x: float,
    proportion: Proportion,
    width: float,
    colour: str,
    bar_colour: str,
    capsize: float = 0,
    hatch: str = "",
) -> None:
    if proportion.total:
        axes.bar(x, proportion.ratio, width, color=colour, edgecolor="w", hatch=hatch)
        below, above = proportion.ratio - proportion.low, proportion.high - proportion.ratio
        axes.errorbar(
            x, proportion.ratio, [[below], [above]], color=bar_colour, capsize=capsize,
            linewidth=0.8,
        )  # fmt: skip


def _write_above(axes: Axes, x: float, proportion: Proportion, told: str) -> None:
    """Write above the whisker of a bar; the axis ends above it."""
    axes.annotate(
        told, (x, proportion.high), (0, 1.5), textcoords="offset points", ha="center", va="bottom",
        fontsize=5,
    )  # fmt: skip
    axes.set_ylim(0, max(axes.get_ylim()[1], 1.15 * proportion.high + 0.03))


def _bootstrapped(count: int, total: int) -> Proportion:
    """Give a proportion the percentile-bootstrap interval that infinitely many draws would give.

    A resample of n axes with k hits has Binomial(n, k/n) hits.
    """
    if not total:
        return Proportion(count, total, np.nan, np.nan)
    tail = (1 - COVERAGE) / 2
    low, high = scipy.stats.binom.ppf(np.array([tail, 1 - tail]), total, count / total) / total
    return Proportion(count, total, float(low), float(high))


def _z_test(first: Proportion, second: Proportion, direction: str) -> ZTest:
    hits, totals = first.count + second.count, first.total + second.total
    if not first.total or not second.total or hits in (0, totals):
        return ZTest(np.nan, np.nan)
    # Takes as long to import as all else of this figure.
    from statsmodels.stats.proportion import proportions_ztest

    z, p = proportions_ztest(
        [first.count, second.count], [first.total, second.total], alternative=direction
    )
    return ZTest(float(z), float(p))


main = FIGURE.main

"""Extended Figure 5: alignment through random networks (5C), linearity of latent codes (5D, 5E)."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core import start

if __name__ == "__main__":
    sys.exit(start.run("figure_reproduction.FigureExt5_reproduction"))

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import scipy
from matplotlib.axes import Axes
from matplotlib.cbook import boxplot_stats
from matplotlib.figure import FigureBase
from matplotlib.patches import Patch
from numpy.typing import NDArray

from core.insilico.latent_linearity.caffenet_layers import LAYER_INDEX, NON_RELU_LAYERS, RELU_LAYERS
from core.published import Statistic
from core.spaces import Space
from figure_reproduction.page.drawing import HATCHES, SAFE_COLOURS, ZERO_PT
from figure_reproduction.page.page import FigureScript, Shown
from figure_reproduction.page.sheet import Drawing
from figure_reproduction.page.words import number

FIGURE = FigureScript(
    "FigureExt5",
    "ExtendedFig5",
    "alignment through random networks, and linearity of latent codes",
    pages=((("Ext5C",), ("Ext5D",), ("Ext5E",)),),
)

OPTIMIZERS = {"CMAES": "CMA-ES", "Adam": "Adam"}

#: Bands of 5C are 95 % bootstrap intervals of the mean over seeds, as seaborn draws them.
N_RESAMPLES, COVERAGE_PERCENT = 1000, 95

#: Units of each layer that a rank correlation of 5D and 5E is over, those of the smallest layer,
#: and how often they are drawn.
UNITS_PER_LAYER, N_DRAWS = 96, 100

#: Resamples of units behind the interval of a rank correlation.
N_RESAMPLED_UNITS = 400

#: Seeds of what the published figures left unseeded: bootstrap, draws and resamples of units.
BOOTSTRAP_SEED, DRAW_SEED, UNIT_SEED = 53, 54, 55

#: Widest range of R² that is shown.
SHOWN_R2 = (-0.3, 1.05)

#: Margins above the highest point, which the legend takes.
LEGEND_MARGINS = 6

#: Metrics that are drawn, by space: column and label.
METRICS = {
    Space.BIGGAN: {
        "Test_R2": "whole code (256)",
        "Test_R2_class": "class part (128)",
        "Test_R2_noise": "noise part (128)",
    },
    Space.DEEPSIM: {
        "Test_R2": "whole code (4096)",
        "Test_R2_top_Hess512": "top 512 Hessian axes",
        "Test_R2_null_Hess512": "null 512 Hessian axes",
    },
}

#: Layers that are shown apart, as statistics and titles call them.
GROUPS = {"non-ReLU": NON_RELU_LAYERS, "ReLU": RELU_LAYERS}

_MARKERS = "oXsPD^vp"


@dataclass(frozen=True)
class DepthCurve:
    """Scores that one optimiser reaches in one dimension, by depth.

    Attributes
    ----------
    depth : numpy.ndarray of int
        (n_depths,) layers of the network.
    mean, low, high : numpy.ndarray
        (n_depths,) mean over seeds, and its 95 % bootstrap interval.
    n_seeds : int
        Runs behind each point.
    """

    depth: NDArray[np.int_]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    n_seeds: int


@FIGURE.panel("Ext5C", reads=("alignment_CMAES", "alignment_Adam"))
def show_5c(*scores: pd.DataFrame) -> Shown:
    """Score that CMA-ES and Adam reach in 100 steps from a random start.

    On a hill seen through a random invertible network, by depth and dimension of the network;
    mean over seeds with 95 % bootstrap interval.
    """
    curves = compute_5c(dict(zip(OPTIMIZERS, scores, strict=True)))
    return Shown(tell_5c(curves), {"Ext5C": Drawing(partial(draw_5c, curves), (183, 58))})


def compute_5c(data: dict[str, pd.DataFrame]) -> dict[tuple[str, int], DepthCurve]:
    """Average the scores over seeds."""
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    return {
        (optimizer, dimension): _depth_curve(table[table["dimension"] == dimension], rng)
        for optimizer, table in data.items()
        for dimension in sorted(map(int, table["dimension"].unique()))
    }


def _depth_curve(rows: pd.DataFrame, rng: np.random.Generator) -> DepthCurve:
    by_depth = rows.groupby("stack_size")["gaussian_value"]
    scores = [values.to_numpy() for _, values in by_depth]
    means = [v[rng.integers(len(v), size=(N_RESAMPLES, len(v)))].mean(axis=1) for v in scores]
    outside = (100 - COVERAGE_PERCENT) / 2
    low, high = np.percentile(means, (outside, 100 - outside), axis=1)
    mean = by_depth.mean()
    return DepthCurve(
        mean.index.to_numpy(dtype=int), mean.to_numpy(), low, high, min(map(len, scores))
    )


def tell_5c(computed: Mapping[tuple[str, int], DepthCurve]) -> Iterator[Statistic]:
    """List the curves."""
    for (optimizer, dimension), curve in computed.items():
        for quantity, value in (
            ("depths", curve.depth), ("mean_score_by_depth", curve.mean),
            ("ci95_low_by_depth", curve.low), ("ci95_high_by_depth", curve.high),
            ("n_seeds", curve.n_seeds),
        ):  # fmt: skip
            yield Statistic(f"{quantity} {optimizer} d={dimension}", value)


def draw_5c(computed: Mapping[tuple[str, int], DepthCurve], canvas: FigureBase) -> None:
    """Draw one plot per optimiser, one curve per dimension."""
    panels = canvas.subplots(1, len(OPTIMIZERS), sharey=True)
    for axes, (optimizer, title) in zip(panels, OPTIMIZERS.items(), strict=True):
        curves = {d: curve for (name, d), curve in computed.items() if name == optimizer}
        ramp = mpl.colormaps["viridis"](np.linspace(0, 0.92, len(curves)))
        for i, (dimension, curve) in enumerate(curves.items()):
            colour, marker = ramp[i], _MARKERS[i % len(_MARKERS)]
            axes.fill_between(curve.depth, curve.low, curve.high, color=colour, alpha=0.2, lw=0)
            axes.plot(
                curve.depth, curve.mean, color=colour, marker=marker, markersize=3.5,
                markeredgecolor="w", markeredgewidth=0.3, label=str(dimension),
                clip_on=False, zorder=3,
            )  # fmt: skip
        axes.set(title=title, xlabel="Depth of the network (layers)", ylim=(0, 1.02))
        axes.set_xticks(sorted({int(depth) for curve in curves.values() for depth in curve.depth}))
    n_seeds = min(curve.n_seeds for curve in computed.values())
    panels[0].set_ylabel("Score after 100 steps")
    handles, labels = panels[-1].get_legend_handles_labels()
    canvas.legend(
        handles, labels, title=f"Dimension\n({n_seeds} seeds)", loc="outside right upper"
    )


@dataclass(frozen=True)
class LayerBoxes:
    """Test R² of the units of a group of layers, for one metric.

    Attributes
    ----------
    boxes : list of dict
        One per layer, what `matplotlib.axes.Axes.bxp` draws; units that never change are left out.
    r, r_sd : float
        Rank correlation of R² with the depth of the layer: mean and standard deviation over draws.
    r_live : float
        The same over all units that change, whatever their number in a layer; NaN for none.
    r_interval : tuple of float
        95 % bootstrap interval of r, as many units of each layer resampled.
    """

    boxes: list[dict[str, Any]]
    r: float
    r_sd: float
    r_live: float
    r_interval: tuple[float, float]


@dataclass(frozen=True)
class Linearity:
    """What 5D or 5E shows.

    Attributes
    ----------
    space : Space
        The generative space.
    groups : dict of (str, str) to LayerBoxes
        By group of layers and metric.
    n_units, n_dead : dict of str to int
        Units of each layer, and those of them that are the same for every image.
    n_drawn : int
        Units of each layer in a draw.
    limits : tuple of float
        Range of R² that is shown.
    """

    space: Space
    groups: dict[tuple[str, str], LayerBoxes]
    n_units: dict[str, int]
    n_dead: dict[str, int]
    n_drawn: int
    limits: tuple[float, float]


@FIGURE.panel("Ext5D", reads=("linearity_BigGAN",))
def show_5d(table: pd.DataFrame) -> Shown:
    """How well BigGAN codes, or their class or noise part, predict the units of CaffeNet.

    Ridge regression, R² of each unit on held-out images by layer; units that are the same for
    every image are not drawn.
    """
    return _linearity_shown("Ext5D", compute_linearity(Space.BIGGAN, table))


@FIGURE.panel("Ext5E", reads=("linearity_DeePSim",))
def show_5e(table: pd.DataFrame) -> Shown:
    """The same for DeePSim codes, and for their projections on Hessian axes.

    Projections on the 512 axes along which images change most and least.
    """
    return _linearity_shown("Ext5E", compute_linearity(Space.DEEPSIM, table))


def _linearity_shown(name: str, found: Linearity) -> Shown:
    drawing = Drawing(partial(draw_linearity, found), (183, 66))
    return Shown(tell_linearity(found), {name: drawing})


def compute_linearity(space: Space, table: pd.DataFrame) -> Linearity:
    """Summarise R² by layer, and correlate it with the depth of the layer.

    Correlations are over all units, dead ones too, as published.
    """
    metrics = list(METRICS[space])
    rng = np.random.default_rng(DRAW_SEED)
    table = table.assign(depth=table["Layer"].map(LAYER_INDEX), is_dead=dead_units(table, metrics))
    n_units = {str(layer): len(rows) for layer, rows in table.groupby("Layer", sort=False)}
    n_drawn = min(UNITS_PER_LAYER, *n_units.values())
    groups = {}
    for group, layers in GROUPS.items():
        rows = table[table["Layer"].isin(layers)]
        live = rows[~rows["is_dead"]]
        draws = _draw_correlations(rows, metrics, n_drawn, rng)
        r, r_sd, r_live = draws.mean(axis=0), draws.std(axis=0), rank_correlations(live, metrics)
        intervals = _resampled_correlations(rows, metrics, n_drawn)
        for i, metric in enumerate(metrics):
            boxes = [_box(layer, live.loc[live["Layer"] == layer, metric]) for layer in layers]
            groups[group, metric] = LayerBoxes(boxes, r[i], r_sd[i], r_live[i], intervals[i])
    return Linearity(
        space=space,
        groups=groups,
        n_units=n_units,
        n_dead={
            layer: int(table.loc[table["Layer"] == layer, "is_dead"].sum()) for layer in n_units
        },
        n_drawn=n_drawn,
        limits=_limits(groups),
    )


def dead_units(table: pd.DataFrame, metrics: list[str]) -> pd.Series:
    """Tell which units are the same for every image; their R² is no signal.

    Published tables do not mark them; an R² of exactly 1 for every metric gives them away.
    """
    return table["dead"] if "dead" in table else (table[metrics] == 1).all(axis=1)


def rank_correlations(rows: pd.DataFrame, metrics: list[str]) -> NDArray[np.float64]:
    """Return Spearman's correlation of each metric with the depth of the layer; NaN if constant."""
    values = [rows[name].to_numpy() for name in ("depth", *metrics)]
    if len(rows) < 2 or any(np.ptp(column) == 0 for column in values):
        return np.full(len(metrics), np.nan)
    return np.array([scipy.stats.spearmanr(values[0], column).statistic for column in values[1:]])


def _draw_correlations(
    rows: pd.DataFrame, metrics: list[str], n_drawn: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Correlate over equal numbers of units of each layer, (n_draws, n_metrics)."""
    layers = _units_by_layer(rows)
    if not layers:
        return np.full((N_DRAWS, len(metrics)), np.nan)
    drawn = [
        np.concatenate([rng.choice(units, n_drawn, replace=False) for units in layers])
        for _ in range(N_DRAWS)
    ]
    return _drawn_correlations(rows, metrics, np.array(drawn))


def _resampled_correlations(
    rows: pd.DataFrame, metrics: list[str], n_drawn: int
) -> list[tuple[float, float]]:
    """Bootstrap each correlation over units, `n_drawn` of each layer with replacement."""
    rng = np.random.default_rng(UNIT_SEED)
    layers = _units_by_layer(rows)
    if not layers:
        return [(np.nan, np.nan)] * len(metrics)
    drawn = np.concatenate(
        [rng.choice(units, (N_RESAMPLED_UNITS, n_drawn)) for units in layers], axis=1
    )
    ends = []
    for r in _drawn_correlations(rows, metrics, drawn).T:
        known = r[np.isfinite(r)]
        low, high = np.quantile(known, (0.025, 0.975)) if len(known) else (np.nan, np.nan)
        ends.append((float(low), float(high)))
    return ends


def _units_by_layer(rows: pd.DataFrame) -> list[NDArray[np.intp]]:
    return [np.flatnonzero(rows["Layer"] == layer) for layer in rows["Layer"].unique()]


def _drawn_correlations(
    rows: pd.DataFrame, metrics: list[str], drawn: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Return Spearman's correlation with depth of each draw of rows, (n_draws, n_metrics)."""
    x, *columns = (_centred_ranks(rows[name].to_numpy()[drawn]) for name in ("depth", *metrics))
    with np.errstate(invalid="ignore"):
        r = [(x * y).sum(axis=1) / np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
             for y in columns]  # fmt: skip
    return np.stack(r, axis=1)


def _centred_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    ranks = scipy.stats.rankdata(values, axis=1)
    return np.asarray(ranks - ranks.mean(axis=1, keepdims=True))


def _box(layer: str, values: pd.Series) -> dict[str, Any]:
    """Return quartiles, whiskers and outliers of one box, as matplotlib defines them."""
    if values.empty:
        nothing = dict.fromkeys(("med", "q1", "q3", "whislo", "whishi"), np.nan)
        return {**nothing, "fliers": np.empty(0), "label": layer}
    return boxplot_stats(values.to_numpy(), labels=[layer])[0]


def _limits(groups: dict[tuple[str, str], LayerBoxes]) -> tuple[float, float]:
    drawn = [box for found in groups.values() for box in found.boxes]
    ends = np.concatenate([[*box["fliers"], box["whislo"], box["whishi"]] for box in drawn])
    low, high = max(SHOWN_R2[0], np.nanmin(ends)), min(SHOWN_R2[1], np.nanmax(ends))
    margin = 0.05 * (high - low)
    return max(SHOWN_R2[0], low - margin), min(SHOWN_R2[1], high + LEGEND_MARGINS * margin)


def tell_linearity(computed: Linearity) -> Iterator[Statistic]:
    """List correlations, medians and numbers of units."""
    yield Statistic("units_per_layer_drawn", computed.n_drawn)
    for (group, metric), found in computed.groups.items():
        which = f"{metric} {group}"
        yield Statistic(f"mean_spearman_r {which}", found.r)
        interval = {
            "interval": f"95 %, percentiles of {N_RESAMPLED_UNITS} resamples of as many units of "
            "each layer; networks and images are one each",
            "n": computed.n_drawn,
            "unit": "units of each layer",
        }
        yield Statistic(f"spearman_r_ci95 {which}", list(found.r_interval), basis=interval)
        yield Statistic(f"sd_spearman_r {which}", found.r_sd)
        yield Statistic(f"spearman_r_live_units {which}", found.r_live)
        yield Statistic(f"median_by_layer {which}", [box["med"] for box in found.boxes])
    for layer, n_units in computed.n_units.items():
        yield Statistic(f"n_units {layer}", n_units)
        yield Statistic(f"n_dead_units {layer}", computed.n_dead[layer])


def draw_linearity(computed: Linearity, canvas: FigureBase) -> None:
    """Draw boxes by layer and metric; layers with and without rectifier apart."""
    panels = canvas.subplots(1, len(GROUPS), sharey=True, width_ratios=(1.5, 1))
    metrics = METRICS[computed.space]
    for axes, (group, layers) in zip(panels, GROUPS.items(), strict=True):
        axes.axhline(0, color="0.5", linewidth=ZERO_PT, zorder=0)
        for i, metric in enumerate(metrics):
            found = computed.groups[group, metric]
            offset = (i - 1) * 0.27
            _draw_boxes(axes, found.boxes, offset, SAFE_COLOURS[i], HATCHES[i])
        axes.set_xticks(
            range(len(layers)), labels=layers, rotation=45, ha="right", rotation_mode="anchor"
        )
        axes.set(title=f"{group} layers", xlabel="Layer of CaffeNet", ylim=computed.limits)
        handles = [
            Patch(
                facecolor=colour, edgecolor="w", hatch=2 * hatch,
                label=f"{label}: $r$ = {number(computed.groups[group, metric].r, 3)}",
            )
            for colour, hatch, (metric, label) in zip(
                SAFE_COLOURS, HATCHES, metrics.items(), strict=True
            )
        ]
        axes.legend(handles=handles, loc="upper left")
    panels[0].set_ylabel("R² on test images")
    canvas.suptitle(
        f"{computed.space} codes; $r$: rank correlation of R² with depth"
        + (", whiskers go on beyond the axis" if _is_cut(computed) else "")
    )


def _is_cut(computed: Linearity) -> bool:
    """Tell whether a whisker ends outside the shown range."""
    low, high = computed.limits
    boxes = [box for found in computed.groups.values() for box in found.boxes]
    return any(box["whislo"] < low or box["whishi"] > high for box in boxes)


def _draw_boxes(
    axes: Axes, boxes: list[dict[str, Any]], offset: float, colour: str, hatch: str
) -> None:
    """Draw one box per layer; outliers, thousands of them, are pixels in vector files."""
    drawn = axes.bxp(
        boxes,
        positions=np.arange(len(boxes)) + offset,
        widths=0.25,
        patch_artist=True,
        manage_ticks=False,
        boxprops={"facecolor": colour, "edgecolor": "0.2", "linewidth": 0.4, "hatch": 2 * hatch},
        medianprops={"color": "0.2", "linewidth": 0.8},
        whiskerprops={"color": "0.2", "linewidth": 0.4},
        capprops={"color": "0.2", "linewidth": 0.4},
        flierprops={"marker": ".", "markersize": 1.5, "color": colour, "alpha": 0.5,
                    "markeredgewidth": 0, "markerfacecolor": colour},
    )  # fmt: skip
    for outliers in drawn["fliers"]:
        outliers.set_rasterized(True)


main = FIGURE.main

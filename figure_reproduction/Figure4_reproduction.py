"""Figure 4: how often, how far and how fast evolutions climb in V1, V4 and IT (4A to 4D)."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core import start

if __name__ == "__main__":
    sys.exit(start.run("figure_reproduction.Figure4_reproduction"))

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import scipy
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from numpy.typing import NDArray

from core.published import Statistic
from core.spaces import BySpace, Space
from core.utils.statistics.t_tests import StudentTest
from figure_reproduction.page.drawing import (
    MEAN_PT,
    SINGLE_PT,
    draw_experiments,
    draw_padded_mean,
    mostly_padding,
    padding_handle,
    space_handles,
)
from figure_reproduction.page.groups import (
    Curve,
    basis_of_curve,
    basis_of_paired,
    compare_spaces,
    members,
)
from figure_reproduction.page.page import FigureScript, Shown
from figure_reproduction.page.sheet import Drawing
from figure_reproduction.page.words import t_test
from neuro_data_analysis.neural_data_utils import AREAS, inclusion_masks
from neuro_data_analysis.robustness.false_positives import expected_false_positives
from neuro_data_analysis.robustness.intervals import jeffreys_interval, mean_test, paired_effect

FIGURE = FigureScript(
    "Figure4", "Fig4", "success, response and speed of evolutions across the visual hierarchy",
    pages=((("4A", "4B_initial", "4B_last"), ("4C", "4D")),),
)

#: Normalised responses by space, (n_experiments, n_blocks).
Responses: TypeAlias = Mapping[Space, NDArray[np.float64]]

#: Success of a thread in Figure 4D: best two blocks against first two.
P_SUCCESS_4D = 0.01

#: Blocks shown in Figure 4C.
LAST_SHOWN_BLOCK = 40

#: Seeds of what the published figures left unseeded: jitter and bootstrap.
JITTER_SEED, BOOTSTRAP_SEED = 4, 40

#: How far the points of a space lie beside their area in Figure 4D, not to cover each other.
DODGE = {Space.DEEPSIM: -0.18, Space.BIGGAN: 0.18}

#: Resamples and coverage of the bootstrap in Figure 4D, seaborn's defaults.
N_RESAMPLES, COVERAGE = 1000, 0.95


@FIGURE.panel(
    "4A",
    reads=("success_rate", "time_constants?", "masks?", "response_mean?", "response_sem?",
           "recorded_blocks?"),
)  # fmt: skip
def show_4a(success_rate: pd.DataFrame, *of_flat_threads: Any) -> Shown:
    """Fraction of valid evolutions whose response rose in V1, V4 and IT.

    Best two blocks above the first two (Student test, P < 0.01, t > 0; the choice of the best
    block is not corrected for), for DeePSim (blue) and BigGAN (red, dashed). Bands are 90 %
    credible intervals under a uniform prior, which leave out the estimate where none or all
    climbed.
    """
    table = compute_4a(success_rate)
    drawings = {"4A": Drawing(partial(draw_4a, table), (54, 62))}
    if any(given is None for given in of_flat_threads):
        return Shown(tell_4a(table), drawings)
    expected = compute_false_positives(*of_flat_threads)
    statistics = [*tell_4a(table), *tell_false_positives(expected)]
    return Shown(statistics, drawings, _said_of_false_positives(expected))


def compute_4a(success_rate: pd.DataFrame) -> pd.DataFrame:
    """Put the areas in the order of the hierarchy; rates and intervals are part of the table."""
    return success_rate.set_index("label").reindex(list(AREAS))


#: What a rate of 4A rests on.
BASIS_4A = {
    "criterion": "Student test of the best two against the first two blocks, pooled variance, "
    "two-sided p < 0.01 and t > 0; the choice of the best block is not corrected for",
    "interval": "central 90 % of Beta(k + 1, n - k + 1), a credible interval under a uniform "
    "prior; it leaves out the estimate at k = 0 and k = n",
    "unit": "threads; sites repeat among them",
}


#: The interval that stands beside the published one.
JEFFREYS = (
    "central 90 % of Beta(k + 1/2, n - k + 1/2), closed at k = 0 and k = n so that it holds the "
    "estimate; chosen here"
)


def tell_4a(table: pd.DataFrame) -> Iterator[Statistic]:
    """List counts and 90 % intervals."""
    for area, row in table.iterrows():
        yield Statistic("n_valid", int(row["total"]), area=str(area))
        for space in Space:
            where: dict[str, Any] = {"area": str(area), "space": space}
            where["basis"] = BASIS_4A | {"n": int(row["total"])}
            yield Statistic("n_success_p01", int(row[f"{space.prefix}_suc"]), **where)
            yield Statistic("success_rate", row[f"{space.prefix}_rate"], **where)
            yield Statistic("ci90_low", row[f"{space.prefix}_CI_1"], **where)
            yield Statistic("ci90_high", row[f"{space.prefix}_CI_2"], **where)
            closed = jeffreys_interval(int(row[f"{space.prefix}_suc"]), int(row["total"]), 0.9)
            where["basis"] = BASIS_4A | {"n": int(row["total"]), "interval": JEFFREYS}
            yield Statistic("jeffreys_ci90", list(closed), **where)


@dataclass(frozen=True)
class FalsePositives:
    """Threads of one area and space that would pass 4A's test if none climbed.

    Attributes
    ----------
    n : int
        Valid threads.
    expected : dict
        Kind of flat threads → how many of them.
    """

    n: int
    expected: dict[str, float]


def compute_false_positives(
    table: pd.DataFrame,
    masks: pd.DataFrame,
    mean: Responses,
    sem: Responses,
    recorded: NDArray[np.float64],
) -> dict[tuple[str, Space], FalsePositives]:
    """Add up the chances of the valid threads of each area to pass the test without a climb."""
    chosen = {area: valid for area, valid in members(masks) if valid.any()}
    counted = np.any(list(chosen.values()), axis=0)
    chances = expected_false_positives(
        table[counted],
        {space: values[counted] for space, values in mean.items()},
        {space: values[counted] for space, values in sem.items()},
        recorded[counted] == 1,
    )
    return {
        (area, space): FalsePositives(
            int(valid.sum()),
            {kind: float(np.nansum(of[space][valid[counted]])) for kind, of in chances.items()},
        )
        for area, valid in chosen.items()
        for space in Space
    }


def tell_false_positives(
    expected: Mapping[tuple[str, Space], FalsePositives],
) -> Iterator[Statistic]:
    """List how many threads of each area and space would pass if none climbed."""
    for (area, space), found in expected.items():
        for kind, number in found.expected.items():
            basis = {
                "test": "that of the panel, on flat threads with the blocks, mean and variance "
                "within blocks of each valid thread",
                "flat threads": kind,
                "n": found.n,
                "unit": "threads",
                "chosen": "here, not by the authors",
            }
            quantity = f"expected_false_positives, {kind.split(',')[0]}"
            yield Statistic(quantity, number, area=area, space=space, basis=basis)


def _said_of_false_positives(expected: Mapping[tuple[str, Space], FalsePositives]) -> str:
    areas = []
    for area in dict.fromkeys(area for area, _ in expected):
        found = [expected[area, space] for space in Space]
        ends = np.mean([list(each.expected.values()) for each in found], axis=0)
        areas.append(f"{ends[0]:.1f} to {ends[-1]:.1f} of {found[0].n} in {area}")
    return (
        f"If no thread climbed, {', '.join(areas)} would pass this test in either space (computed "
        "here from flat threads with the blocks and the scatter of the recorded ones: independent "
        "trials, and an excitability that varies by 3 % of the evoked rate)."
    )


def draw_4a(table: pd.DataFrame, canvas: FigureBase) -> None:
    """Draw the rate of success over the hierarchy, with counts and credible bands."""
    axes = canvas.subplots()
    x = range(len(table))
    for space, offset_points in zip(Space, (4, -4), strict=True):
        rate, low, high = (table[f"{space.prefix}_{column}"] for column in ("rate", "CI_1", "CI_2"))
        axes.plot(
            x, rate, marker=space.marker, linestyle=space.dash, color=space.colour, label=space,
            clip_on=False, zorder=3,
        )  # fmt: skip
        axes.fill_between(x, low, high, color=space.colour, alpha=0.3, lw=0)
        counts = zip(table[f"{space.prefix}_suc"], table["total"], rate, strict=True)
        for position, (count, total, height) in enumerate(counts):
            above = offset_points > 0 or height < 0.1
            axes.annotate(
                f"{count:.0f}/{total:.0f}",
                (position, height),
                (0, abs(offset_points) if above else offset_points),
                textcoords="offset points",
                ha="center",
                va="bottom" if above else "top",
                annotation_clip=False,
                bbox={"boxstyle": "round,pad=0.1", "fc": "w", "ec": "none", "alpha": 0.75},
                zorder=4,
            )
    axes.set_xticks(x, labels=table.index)
    axes.set(xlim=(-0.3, 2.3), ylim=(0, 1.05), xlabel="Visual area", ylabel="Success rate")
    axes.set_title("Evolutions that climbed\n($P$ < 0.01, 90 % interval)", pad=9)
    canvas.legend(loc="outside lower center", ncols=2)


@dataclass(frozen=True)
class PairedBlock:
    """One block of both threads in the successful experiments of one area."""

    mean: BySpace[NDArray[np.float64]]
    sem: BySpace[NDArray[np.float64]]
    test: StudentTest
    jitter: NDArray[np.float64]


#: Which block → name in file names and titles, index among the padded blocks.
COMPARED_BLOCKS = {"initial": 0, "last": -1}


#: Limits of the axis of each of them.
LIMITS_4B = {"initial": (-0.03, 1.04), "last": (0.05, 1.16)}


@FIGURE.panel("4B", reads=("response_mean", "response_sem", "masks"))
def show_4b(mean: Responses, sem: Responses, masks: pd.DataFrame) -> Shown:
    """Normalised response of both threads in the first and in the last block.

    One pair of dots per experiment, standard error over images; two-sided paired t tests over
    experiments. The last block is the mean of a session's last two where it was shorter than the
    longest, as published.
    """
    pairs = compute_4b(mean, sem, masks)
    size = (64.5, 62)
    drawings = {
        f"4B_{block}": Drawing(partial(draw_4b, pairs, block), size) for block in COMPARED_BLOCKS
    }
    return Shown(tell_4b(pairs), drawings)


def compute_4b(
    mean: Responses, sem: Responses, masks: pd.DataFrame
) -> dict[tuple[str, str], PairedBlock]:
    """Compare the threads in the first and the last (padded) block of each area."""
    rng = np.random.default_rng(JITTER_SEED)
    computed = {}
    for block, index in COMPARED_BLOCKS.items():
        for area, chosen in members(masks, "anysucc005"):
            means = {space: mean[space][chosen, index] for space in Space}
            computed[block, area] = PairedBlock(
                mean=means,
                sem={space: sem[space][chosen, index] for space in Space},
                test=compare_spaces(means, paired=True),
                jitter=rng.normal(scale=0.15, size=(len(Space), chosen.sum())),
            )
    return computed


def tell_4b(computed: Mapping[tuple[str, str], PairedBlock]) -> Iterator[Statistic]:
    """List the paired tests."""
    for (block, area), pair in computed.items():
        basis = basis_of_paired(pair.test)
        yield Statistic(f"{block}_paired_t", pair.test.t, area=area, basis=basis)
        yield Statistic(f"{block}_p", pair.test.p, area=area, basis=basis)
        yield Statistic(f"{block}_n", pair.test.n, area=area)
        difference = pair.mean[Space.DEEPSIM] - pair.mean[Space.BIGGAN]
        found, effect = mean_test(difference), paired_effect(difference)
        yield Statistic(f"{block}_mean_difference", found.mean, area=area, basis=basis)
        interval = basis | {"interval": "95 %, Student, experiments taken as independent"}
        yield Statistic(f"{block}_difference_ci95", found.interval, area=area, basis=interval)
        interval = basis | {"interval": "95 %, noncentral t"}
        yield Statistic(f"{block}_d_z", effect.value, area=area, basis=basis)
        yield Statistic(f"{block}_d_z_ci95", effect.interval, area=area, basis=interval)


def draw_4b(
    computed: Mapping[tuple[str, str], PairedBlock], block: str, canvas: FigureBase
) -> None:
    """Draw a pair of columns per area for one block."""
    axes = canvas.subplots()
    for position, area in enumerate(AREAS):
        _draw_pairs(axes, 2 * position, computed[block, area])
    axes.set_xticks(range(2 * len(AREAS)), labels=[space for _ in AREAS for space in Space])
    groups = [f"\n{area}, $n$ = {computed[block, area].test.n}" for area in AREAS]
    axes.set_xticks(2 * np.arange(len(AREAS)) + 0.5, labels=groups, minor=True)
    axes.tick_params(axis="x", which="minor", length=0)
    axes.set(ylabel="Response / maximum of both threads", ylim=LIMITS_4B[block])
    axes.set_title(f"{block.capitalize()} block: DeePSim − BigGAN", pad=19)


def _draw_pairs(axes: Axes, left: int, pair: PairedBlock) -> None:
    x = np.array([[left], [left + 1]]) + pair.jitter
    y = np.stack([pair.mean[space] for space in Space])
    axes.plot(x, y, color="k", alpha=0.15, linewidth=SINGLE_PT, zorder=1)
    for column, space in enumerate(Space):
        axes.errorbar(
            x[column], y[column], pair.sem[space], fmt=space.marker, color=space.colour,
            alpha=0.35, markersize=1.8, markeredgewidth=0, elinewidth=0.4,
        )  # fmt: skip
    told = t_test(float(pair.test.t), float(pair.test.df), float(pair.test.p))
    above_axes = axes.get_xaxis_transform()
    axes.text(left + 0.5, 1.01, told, transform=above_axes, ha="center", va="bottom", fontsize=6)


@dataclass(frozen=True)
class Trajectories:
    """Trajectories of the successful experiments of one area, by space.

    Attributes
    ----------
    recorded, padded : dict of Space to numpy.ndarray
        (n_experiments, n_blocks), NaN outside the recorded and outside the padded blocks; the
        padding begins at the last recorded block, so that the two join.
    curves : dict of Space to Curve
        Group means.
    """

    recorded: BySpace[NDArray[np.float64]]
    padded: BySpace[NDArray[np.float64]]
    curves: BySpace[Curve]

    @property
    def n_recorded(self) -> NDArray[np.intp]:
        """(n_blocks,) experiments that recorded each block."""
        return np.isfinite(self.recorded[Space.DEEPSIM]).sum(axis=0)

    @property
    def n(self) -> int:
        """Number of experiments."""
        return self.curves[Space.DEEPSIM].n


@FIGURE.panel("4C", reads=("response_mean", "recorded_blocks", "masks"))
def show_4c(mean: Responses, recorded: NDArray[np.float64], masks: pd.DataFrame) -> Shown:
    """Normalised response block by block where both threads climbed.

    Single experiments (thin; dotted where a session is padded with its last two blocks) and mean
    with standard error (its standard deviation divides by n, as published). Padding counts in mean
    and error: means are dotted where fewer than half of the sessions still recorded.
    """
    areas = compute_4c(mean, recorded == 1, masks)
    return Shown(tell_4c(areas), {"4C": Drawing(partial(draw_4c, areas), (126, 60))})


def compute_4c(
    mean: Responses, recorded: NDArray[np.bool_], masks: pd.DataFrame
) -> dict[str, Trajectories]:
    """Split the trajectories of each area into recorded and padded blocks, and average them."""
    joins = np.roll(recorded, -1, axis=1)  # true up to the last but one recorded block
    joins[:, -1] = recorded[:, -1]
    computed = {}
    for area, chosen in members(masks, "bothsucc005"):
        means = {space: mean[space][chosen] for space in Space}
        is_recorded, is_joined = recorded[chosen], joins[chosen]
        computed[area] = Trajectories(
            recorded={space: np.where(is_recorded, m, np.nan) for space, m in means.items()},
            padded={space: np.where(is_joined, np.nan, m) for space, m in means.items()},
            curves={space: Curve.of(m) for space, m in means.items()},
        )
    return computed


def tell_4c(computed: Mapping[str, Trajectories]) -> Iterator[Statistic]:
    """List the group sizes and mean curves."""
    for area, trajectories in computed.items():
        yield Statistic("n", trajectories.n, area=area)
        for space, curve in trajectories.curves.items():
            where: dict[str, Any] = {"area": area, "space": space}
            basis = basis_of_curve(trajectories.n)
            yield Statistic("mean_by_block", curve.mean, **where, basis=basis)
            yield Statistic("sem_by_block", curve.sem, **where, basis=basis)
        yield Statistic("n_recorded_by_block", trajectories.n_recorded, area=area)


def draw_4c(computed: Mapping[str, Trajectories], canvas: FigureBase) -> None:
    """Draw trajectories of single experiments (dotted where padded) and group means."""
    panels = canvas.subplots(1, len(AREAS), sharey=True)
    for axes, (area, trajectories) in zip(panels, computed.items(), strict=True):
        for space, curve in trajectories.curves.items():
            blocks = np.arange(len(curve.mean))
            draw_experiments(axes, blocks, trajectories.recorded[space], space)
            draw_experiments(axes, blocks, trajectories.padded[space], space, linestyle=":")
            draw_padded_mean(
                axes, blocks, curve, space,
                mostly_padding(trajectories.n_recorded, trajectories.n),
                band_alpha=0.25 if curve.n > 2 else 0.0,  # two have no spread that deserves one
            )  # fmt: skip
        axes.set(xlim=(0, LAST_SHOWN_BLOCK), ylim=(0, 1.05), xlabel="Block")
        axes.set_title(f"{area} ($n$ = {trajectories.n})")
    panels[0].set_ylabel("Response / maximum of both threads")
    canvas.legend(
        handles=[*space_handles(), padding_handle()], loc="outside lower center", ncols=3
    )


@dataclass(frozen=True)
class TimeConstants:
    """Blocks that the successful threads of one area and space took to climb.

    Attributes
    ----------
    blocks : numpy.ndarray
        (n,) 0-based block at which 80 % of the maximal rise is passed.
    mean, low, high : float
        Mean and its 95 % bootstrap interval.
    jitter : numpy.ndarray
        (n,) horizontal scatter of the points.
    """

    blocks: NDArray[np.float64]
    mean: float
    low: float
    high: float
    jitter: NDArray[np.float64]


@FIGURE.panel("4D", reads=("time_constants", "masks"))
def show_4d(table: pd.DataFrame, masks: pd.DataFrame) -> Shown:
    """Number of blocks that climbing threads need to pass 80 % of their maximal rise.

    The rise is above the first block. Single threads, mean and 95 % bootstrap interval.
    """
    groups = compute_4d(table, masks["valid"])
    return Shown(tell_4d(groups), {"4D": Drawing(partial(draw_4d, groups), (57, 60))})


def compute_4d(table: pd.DataFrame, valid: pd.Series) -> dict[tuple[Space, str], TimeConstants]:
    """Collect the time constants of the threads that climbed, with their means."""
    jitter = np.random.default_rng(JITTER_SEED)
    resampling = np.random.default_rng(BOOTSTRAP_SEED)
    computed = {}
    for space in Space:
        climbed = valid.to_numpy() & (table[f"p_maxinit_{space.thread}"] < P_SUCCESS_4D)
        for area in AREAS:
            chosen = climbed & (table["visual_area"] == area)
            blocks = table.loc[chosen, f"{space.prefix}_tc0_bslinit"].to_numpy(dtype=float)
            scatter = jitter.uniform(-0.25, 0.25, len(blocks))
            computed[space, area] = _time_constants(blocks, scatter, resampling)
    return computed


def _time_constants(
    blocks: NDArray[np.float64], jitter: NDArray[np.float64], rng: np.random.Generator
) -> TimeConstants:
    if len(blocks) == 0 or np.ptp(blocks) == 0:
        mean = float(blocks.mean()) if len(blocks) else np.nan
        return TimeConstants(blocks, mean, np.nan, np.nan, jitter)
    interval = scipy.stats.bootstrap(
        (blocks,), np.mean, n_resamples=N_RESAMPLES, confidence_level=COVERAGE,
        method="percentile", rng=rng,
    ).confidence_interval  # fmt: skip
    return TimeConstants(
        blocks, float(blocks.mean()), float(interval.low), float(interval.high), jitter
    )


def tell_4d(computed: Mapping[tuple[Space, str], TimeConstants]) -> Iterator[Statistic]:
    """List group sizes, means and intervals."""
    for (space, area), found in computed.items():
        where: dict[str, Any] = {"area": area, "space": space}
        yield Statistic("n", len(found.blocks), **where)
        if len(found.blocks):
            where["basis"] = {
                "n": len(found.blocks),
                "unit": "threads; sites repeat among them",
                "interval": f"95 %, percentiles of {N_RESAMPLES} resamples of threads",
                "test": "none printed",
            }
            yield Statistic("mean_time_constant_blocks", found.mean, **where)
            yield Statistic("ci95_low_blocks", found.low, **where)
            yield Statistic("ci95_high_blocks", found.high, **where)


def draw_4d(computed: Mapping[tuple[Space, str], TimeConstants], canvas: FigureBase) -> None:
    """Draw one dot per climbing thread, and group means with their intervals."""
    axes = canvas.subplots()
    for space in Space:
        groups = [computed[space, area] for area in AREAS]
        for position, found in enumerate(groups):
            axes.plot(
                position + DODGE[space] + 0.5 * found.jitter, found.blocks, space.marker,
                color=space.colour, alpha=0.35, markersize=1.8, markeredgewidth=0,
            )  # fmt: skip
        mean, low, high = np.array([(g.mean, g.low, g.high) for g in groups]).T
        axes.errorbar(
            np.arange(len(AREAS)) + DODGE[space], mean, [mean - low, high - mean],
            marker=space.marker, linestyle=space.dash, color=space.colour, linewidth=MEAN_PT,
            elinewidth=0.7, capsize=2, label=space,
        )  # fmt: skip
    axes.set(
        xlim=(-0.5, 2.5), xlabel="Visual area; threads of DeePSim, BigGAN",
        ylabel="Blocks to 80 % of the maximal rise"
    )
    labels = [
        f"{area}\n" + ", ".join(str(len(computed[space, area].blocks)) for space in Space)
        for area in AREAS
    ]
    axes.set_xticks(range(len(AREAS)), labels=labels)
    axes.set_title("Threads that climbed ($P$ < 0.01)")
    canvas.legend(loc="outside lower center", ncols=2)


@FIGURE.panel("recordings", reads=("time_constants", "masks", "recorded_blocks"))
def show_recordings(
    table: pd.DataFrame, masks: pd.DataFrame, recorded: NDArray[np.float64]
) -> Shown:
    """Experiments that the figures rest on, and how many each rule excludes; numbers only."""
    counts = count_recordings(table, masks, recorded.shape[1])
    return Shown([Statistic(quantity, count) for quantity, count in counts.items()])


def count_recordings(table: pd.DataFrame, masks: pd.DataFrame, n_blocks: int) -> dict[str, int]:
    """Count the experiments, and those that each rule excludes."""
    rules = inclusion_masks(table)
    return {
        "n_elements": int(table["Expi"].max()),  # the last element of the file is filled
        "n_experiments": len(table),
        "n_valid": int(masks["valid"].sum()),
        "n_valid_any_success_p05": int((masks["valid"] & masks["anysucc005"]).sum()),
        "n_short": int((~rules["long_enough"]).sum()),
        "n_unstable_baseline": int((~rules["stable"]).sum()),
        "n_not_fc6_BigGAN": int((~rules["fc6_and_BigGAN"]).sum()),
        "max_blocks": n_blocks,
    }


main = FIGURE.main

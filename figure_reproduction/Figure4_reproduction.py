"""Figure 4: how often, how far and how fast evolutions climb in V1, V4 and IT (4A to 4D)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import stats

from core.published import Statistic
from core.source_tables.reader import SourceData
from core.source_tables.registry import SPACES
from figure_reproduction.page.drawing import SPACE_COLOURS, draw_curve, draw_experiments
from figure_reproduction.page.groups import Curve, StudentTest, members, paired_test
from figure_reproduction.page.page import FigureScript, Panel, main
from neuro_data_analysis.neural_data_utils import AREAS, inclusion_masks

#: Column prefix of each space in the tables of success and of time constants.
PREFIXES = dict(zip(SPACES, ("FC", "BG"), strict=True))

#: Success of a thread in Figure 4D: best two blocks against first two.
P_SUCCESS_4D = 0.01

#: Blocks shown in Figure 4C.
LAST_SHOWN_BLOCK = 40

#: Seeds of what the published figures left unseeded: jitter and bootstrap.
JITTER_SEED, BOOTSTRAP_SEED = 4, 40

#: Resamples and coverage of the bootstrap in Figure 4D, seaborn's defaults.
N_RESAMPLES, COVERAGE = 1000, 0.95


def load_4a(source: SourceData) -> pd.DataFrame:
    """Read the counts of successful evolutions."""
    return source.read("Fig4/success_rate").set_index("label").reindex(list(AREAS))


def compute_4a(data: pd.DataFrame) -> pd.DataFrame:
    """Take the table as it is: rates and intervals are part of it."""
    return data


def tell_4a(table: pd.DataFrame) -> Iterator[Statistic]:
    """List counts and 90 % intervals."""
    for area, row in table.iterrows():
        yield Statistic("n_valid", int(row["total"]), area=str(area))
        for space, prefix in PREFIXES.items():
            where = {"area": str(area), "space": space}
            yield Statistic("n_success_p01", int(row[f"{prefix}_suc"]), **where)
            yield Statistic("success_rate", row[f"{prefix}_rate"], **where)
            yield Statistic("ci90_low", row[f"{prefix}_CI_1"], **where)
            yield Statistic("ci90_high", row[f"{prefix}_CI_2"], **where)


def draw_4a(data: pd.DataFrame, table: pd.DataFrame) -> dict[str, Figure]:
    """Draw the rate of success over the hierarchy, with counts and credible bands."""
    figure, axes = plt.subplots(figsize=(3.6, 3.6))
    x = range(len(table))
    for (space, prefix), offset_points in zip(PREFIXES.items(), (7, -7), strict=True):
        colour, rate = SPACE_COLOURS[space], table[f"{prefix}_rate"]
        axes.plot(x, rate, "o-", color=colour, label=space, clip_on=False, zorder=3)
        axes.fill_between(
            x, table[f"{prefix}_CI_1"], table[f"{prefix}_CI_2"], color=colour, alpha=0.3, lw=0
        )
        for position, (_, row) in enumerate(table.iterrows()):
            above = offset_points > 0 or row[f"{prefix}_rate"] < 0.1
            axes.annotate(
                f"{row[f'{prefix}_suc']:.0f}/{row['total']:.0f}",
                (position, row[f"{prefix}_rate"]),
                (0, abs(offset_points) if above else offset_points),
                textcoords="offset points",
                ha="center",
                va="bottom" if above else "top",
                annotation_clip=False,
            )
    axes.set_xticks(x, labels=table.index)
    axes.set(xlim=(-0.3, 2.3), ylim=(0, 1.05), xlabel="Visual area", ylabel="Success rate")
    figure.suptitle("Success rate of the evolutions\nmax > init, P<0.01, 90 % CI")
    axes.legend(loc="lower right", bbox_to_anchor=(1.02, 0.1))
    return {"4A": figure}


@dataclass(frozen=True)
class Responses:
    """Normalised responses, experiments × blocks, by space; and which experiments count."""

    mean: dict[str, NDArray[np.float64]]
    sem: dict[str, NDArray[np.float64]]
    masks: pd.DataFrame


@dataclass(frozen=True)
class PairedBlock:
    """One block of both threads in the successful experiments of one area."""

    mean: dict[str, NDArray[np.float64]]
    sem: dict[str, NDArray[np.float64]]
    test: StudentTest
    jitter: NDArray[np.float64]


#: Which block → name in file names and titles, index among the padded blocks.
COMPARED_BLOCKS = {"initial": 0, "last": -1}


def load_4b(source: SourceData) -> Responses:
    """Read normalised responses with their standard errors."""
    means, sems = (
        {s: source.read(f"Fig4/response_{kind}", space=s) for s in SPACES}
        for kind in ("mean", "sem")
    )
    return Responses(means, sems, source.read("Fig4/masks"))


def compute_4b(data: Responses) -> dict[tuple[str, str], PairedBlock]:
    """Compare the threads in the first and the last (padded) block of each area."""
    rng = np.random.default_rng(JITTER_SEED)
    computed = {}
    for block, index in COMPARED_BLOCKS.items():
        for area, chosen in members(data.masks, "anysucc005"):
            mean = {space: data.mean[space][chosen, index] for space in SPACES}
            sem = {space: data.sem[space][chosen, index] for space in SPACES}
            computed[block, area] = PairedBlock(
                mean=mean,
                sem=sem,
                test=paired_test(mean["DeePSim"], mean["BigGAN"]),
                jitter=rng.normal(scale=0.15, size=(len(SPACES), chosen.sum())),
            )
    return computed


def tell_4b(computed: dict[tuple[str, str], PairedBlock]) -> Iterator[Statistic]:
    """List the paired tests."""
    for (block, area), pair in computed.items():
        yield Statistic(f"{block}_paired_t", pair.test.t, area=area)
        yield Statistic(f"{block}_p", pair.test.p, area=area)
        yield Statistic(f"{block}_n", pair.test.n, area=area)


def draw_4b(data: Responses, computed: dict[tuple[str, str], PairedBlock]) -> dict[str, Figure]:
    """Draw a pair of columns per area for the first and for the last block."""
    limits = {"initial": (-0.03, 1.04), "last": (0.05, 1.16)}
    figures = {}
    for block in COMPARED_BLOCKS:
        figure, axes = plt.subplots(figsize=(8, 5.5))
        for position, area in enumerate(AREAS):
            _draw_pairs(axes, 2 * position, computed[block, area])
        columns = [f"{area}\n{space}" for area in AREAS for space in SPACES]
        axes.set_xticks(range(len(columns)), labels=columns)
        axes.set(ylabel="Response / maximum of both threads", ylim=limits[block])
        figure.suptitle(
            f"{block.capitalize()} block: DeePSim against BigGAN in each area\n"
            "valid experiments in which either thread climbed (P<0.05)"
        )
        figures[f"4B_{block}"] = figure
    return figures


def _draw_pairs(axes: Axes, left: int, pair: PairedBlock) -> None:
    x = np.array([[left], [left + 1]]) + pair.jitter
    y = np.stack([pair.mean[space] for space in SPACES])
    axes.plot(x, y, color="k", alpha=0.1, linewidth=0.9, zorder=1)
    for thread, space in enumerate(SPACES):
        axes.errorbar(
            x[thread], y[thread], pair.sem[space], fmt="o", color=SPACE_COLOURS[space], alpha=0.3
        )
    above_axes = axes.get_xaxis_transform()
    axes.text(left + 0.5, 1.01, str(pair.test), transform=above_axes, ha="center", va="bottom")


@dataclass(frozen=True)
class Trajectories:
    """Trajectories of the successful experiments of one area, by space.

    Attributes
    ----------
    recorded, padded : dict of str to numpy.ndarray
        (n_experiments, n_blocks), NaN outside the recorded and outside the padded blocks; the
        padding begins at the last recorded block, so that the two join.
    curves : dict of str to Curve
        Group means.
    """

    recorded: dict[str, NDArray[np.float64]]
    padded: dict[str, NDArray[np.float64]]
    curves: dict[str, Curve]


@dataclass(frozen=True)
class RecordedResponses:
    """Normalised responses by space, which blocks were recorded, which experiments count."""

    mean: dict[str, NDArray[np.float64]]
    recorded: NDArray[np.bool_]
    masks: pd.DataFrame


def load_4c(source: SourceData) -> RecordedResponses:
    """Read normalised responses."""
    return RecordedResponses(
        {space: source.read("Fig4/response_mean", space=space) for space in SPACES},
        source.read("Fig4/recorded_blocks") == 1,
        source.read("Fig4/masks"),
    )


def compute_4c(data: RecordedResponses) -> dict[str, Trajectories]:
    """Split the trajectories of each area into recorded and padded blocks, and average them."""
    joins = np.roll(data.recorded, -1, axis=1)  # true up to the last but one recorded block
    joins[:, -1] = data.recorded[:, -1]
    computed = {}
    for area, chosen in members(data.masks, "bothsucc005"):
        means = {space: data.mean[space][chosen] for space in SPACES}
        recorded, joined = data.recorded[chosen], joins[chosen]
        computed[area] = Trajectories(
            recorded={space: np.where(recorded, m, np.nan) for space, m in means.items()},
            padded={space: np.where(joined, np.nan, m) for space, m in means.items()},
            curves={space: Curve.of(m) for space, m in means.items()},
        )
    return computed


def tell_4c(computed: dict[str, Trajectories]) -> Iterator[Statistic]:
    """List the group sizes and mean curves."""
    for area, trajectories in computed.items():
        yield Statistic("n", trajectories.curves["DeePSim"].n, area=area)
        for space, curve in trajectories.curves.items():
            yield Statistic("mean_by_block", curve.mean, area=area, space=space)
            yield Statistic("sem_by_block", curve.sem, area=area, space=space)


def draw_4c(data: RecordedResponses, computed: dict[str, Trajectories]) -> dict[str, Figure]:
    """Draw trajectories of single experiments (dotted where padded) and group means."""
    figure, panels = plt.subplots(1, len(AREAS), figsize=(9, 3.4), sharey=True)
    for axes, (area, trajectories) in zip(panels, computed.items(), strict=True):
        for space in SPACES:
            blocks = np.arange(trajectories.recorded[space].shape[1])
            draw_experiments(axes, blocks, trajectories.recorded[space], space)
            draw_experiments(axes, blocks, trajectories.padded[space], space, linestyle=":")
            draw_curve(axes, blocks, trajectories.curves[space], space, space, linewidth=3)
        axes.set(xlim=(0, LAST_SHOWN_BLOCK), ylim=(0, 1.05), xlabel="Block")
        axes.set_title(f"{area} (N={trajectories.curves['DeePSim'].n})")
    panels[0].set_ylabel("Response / maximum of both threads")
    panels[0].legend(loc="lower right")
    figure.suptitle(
        "Normalised response across blocks, valid experiments in which both threads climbed "
        "(max > init, P<0.05)"
    )
    return {"4C": figure}


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


@dataclass(frozen=True)
class ClimbingTable:
    """Time constants and tests of each experiment, and which of them are valid."""

    table: pd.DataFrame
    valid: NDArray[np.bool_]


def load_4d(source: SourceData) -> ClimbingTable:
    """Read the time constants."""
    table = source.read("Fig4/time_constants")
    return ClimbingTable(table, source.read("Fig4/masks")["valid"].to_numpy())


def compute_4d(data: ClimbingTable) -> dict[tuple[str, str], TimeConstants]:
    """Collect the time constants of the threads that climbed, with their means."""
    jitter = np.random.default_rng(JITTER_SEED)
    resampling = np.random.default_rng(BOOTSTRAP_SEED)
    computed = {}
    for thread, (space, prefix) in enumerate(PREFIXES.items()):
        climbed = data.valid & (data.table[f"p_maxinit_{thread}"] < P_SUCCESS_4D)
        for area in AREAS:
            chosen = climbed & (data.table["visual_area"] == area)
            blocks = data.table.loc[chosen, f"{prefix}_tc0_bslinit"].to_numpy(dtype=float)
            scatter = jitter.uniform(-0.25, 0.25, len(blocks))
            computed[space, area] = _time_constants(blocks, scatter, resampling)
    return computed


def _time_constants(
    blocks: NDArray[np.float64], jitter: NDArray[np.float64], rng: np.random.Generator
) -> TimeConstants:
    if len(blocks) < 2 or np.ptp(blocks) == 0:
        mean = float(blocks.mean()) if len(blocks) else np.nan
        return TimeConstants(blocks, mean, np.nan, np.nan, jitter)
    interval = stats.bootstrap(
        (blocks,), np.mean, n_resamples=N_RESAMPLES, confidence_level=COVERAGE,
        method="percentile", rng=rng,
    ).confidence_interval  # fmt: skip
    return TimeConstants(
        blocks, float(blocks.mean()), float(interval.low), float(interval.high), jitter
    )


def tell_4d(computed: dict[tuple[str, str], TimeConstants]) -> Iterator[Statistic]:
    """List group sizes, means and intervals."""
    for (space, area), found in computed.items():
        where = {"area": area, "space": space}
        yield Statistic("n", len(found.blocks), **where)
        if len(found.blocks):
            yield Statistic("mean_time_constant_blocks", found.mean, **where)
            yield Statistic("ci95_low_blocks", found.low, **where)
            yield Statistic("ci95_high_blocks", found.high, **where)


def draw_4d(
    data: ClimbingTable, computed: dict[tuple[str, str], TimeConstants]
) -> dict[str, Figure]:
    """Draw one dot per climbing thread, and group means with their intervals."""
    figure, axes = plt.subplots(figsize=(4, 5.5))
    for space, colour in SPACE_COLOURS.items():
        groups = [computed[space, area] for area in AREAS]
        for position, found in enumerate(groups):
            axes.plot(
                position + found.jitter, found.blocks, "o", color=colour, alpha=0.4, markersize=4,
                markeredgewidth=0,
            )  # fmt: skip
        mean, low, high = np.array([(g.mean, g.low, g.high) for g in groups]).T
        axes.errorbar(
            range(len(AREAS)), mean, [mean - low, high - mean], fmt="o-", color=colour,
            linewidth=2.5, elinewidth=1.2, capsize=8, label=space,
        )  # fmt: skip
    axes.set_xticks(range(len(AREAS)), labels=AREAS)
    axes.set(
        xlim=(-0.5, 2.5), xlabel="Visual area", ylabel="Blocks to reach 80 % of the maximal rise"
    )
    axes.set_title("Time constant of the evolution\nthreads that climbed (P<0.01)")
    axes.legend(loc="upper left")
    return {"4D": figure}


@dataclass(frozen=True)
class Experiments:
    """What each experiment was, which blocks were recorded, which experiments count."""

    table: pd.DataFrame
    masks: pd.DataFrame
    n_blocks: int


def load_recordings(source: SourceData) -> Experiments:
    """Read what each experiment was."""
    return Experiments(
        source.read("Fig4/time_constants"),
        source.read("Fig4/masks"),
        source.read("Fig4/recorded_blocks").shape[1],
    )


def compute_recordings(data: Experiments) -> dict[str, int]:
    """Count the experiments, and those that each rule excludes."""
    rules = inclusion_masks(data.table)
    return {
        "n_elements": int(data.table["Expi"].max()),  # the last element of the file is filled
        "n_experiments": len(data.table),
        "n_valid": int(data.masks["valid"].sum()),
        "n_valid_any_success_p05": int((data.masks["valid"] & data.masks["anysucc005"]).sum()),
        "n_short": int((~rules["long_enough"]).sum()),
        "n_unstable_baseline": int((~rules["stable"]).sum()),
        "n_not_fc6_BigGAN": int((~rules["fc6_and_BigGAN"]).sum()),
        "max_blocks": data.n_blocks,
    }


def tell_recordings(counts: dict[str, int]) -> Iterator[Statistic]:
    """List the counts."""
    for quantity, count in counts.items():
        yield Statistic(quantity, count)


FIGURE = FigureScript(
    name="Figure4",
    folder="Fig4",
    title="success, response and speed of evolutions across the visual hierarchy",
    panels=(
        Panel(
            name="4A",
            caption="Fraction of valid evolutions whose response rose (best two blocks above the "
            "first two, P<0.01) in V1, V4 and IT, for DeePSim (blue) and BigGAN (red); bands are "
            "90 % credible intervals.",
            load=load_4a,
            compute=compute_4a,
            tell=tell_4a,
            draw=draw_4a,
        ),
        Panel(
            name="4B",
            caption="Normalised response of both threads in the first and in the last block, one "
            "pair of dots per experiment, standard error over images; paired t tests.",
            load=load_4b,
            compute=compute_4b,
            tell=tell_4b,
            draw=draw_4b,
        ),
        Panel(
            name="4C",
            caption="Normalised response block by block where both threads climbed: single "
            "experiments (thin; dotted where a session is padded with its last two blocks) and "
            "mean with standard error.",
            load=load_4c,
            compute=compute_4c,
            tell=tell_4c,
            draw=draw_4c,
        ),
        Panel(
            name="4D",
            caption="Blocks that climbing threads need to pass 80 % of their maximal rise above "
            "the first block: single threads, mean and 95 % bootstrap interval.",
            load=load_4d,
            compute=compute_4d,
            tell=tell_4d,
            draw=draw_4d,
        ),
        Panel(
            name="recordings",
            caption="Experiments that the figures rest on, and how many each rule excludes; "
            "numbers only.",
            load=load_recordings,
            compute=compute_recordings,
            tell=tell_recordings,
            draw=lambda data, counts: {},
        ),
    ),
)

if __name__ == "__main__":
    sys.exit(main(FIGURE))

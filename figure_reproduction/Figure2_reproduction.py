"""Figure 2: one site climbs in both spaces at once (2B responses, 2D PSTHs, block by block)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from core.published import Statistic
from core.source_tables.reader import ExamplePsth, SourceData, read_example_psth
from core.source_tables.registry import SPACES
from figure_reproduction.page.drawing import SPACE_COLOURS, draw_curve
from figure_reproduction.page.groups import Curve
from figure_reproduction.page.page import FigureScript, Panel, main

#: Kind of response → (kind of trials, column, line style) of Figure 2B.
RESPONSES = {
    "evoked response": ("evol", "resp", "-"),
    "reference images": ("natref", "resp", "-."),
    "baseline": ("evol", "bsl", ":"),
}

#: The pickled twin names trials by thread.
_PICKLED_TRIALS = {
    ("DeePSim", "evol"): "thread0_resp_df",
    ("BigGAN", "evol"): "thread1_resp_df",
    ("DeePSim", "natref"): "thread0_natref_resp_df",
    ("BigGAN", "natref"): "thread1_natref_resp_df",
}


@dataclass(frozen=True)
class ExampleTrials:
    """Every presentation of the example: (space, kind) → table of resp, bsl, gen; and its title."""

    tables: dict[tuple[str, str], pd.DataFrame]
    title: str


@dataclass(frozen=True)
class Trajectory:
    """Mean rate over the presentations of each generation, events/s."""

    generation: NDArray[np.int64]
    curve: Curve


@dataclass(frozen=True)
class StackedPsths:
    """PSTHs with block b moved up by b offsets; (n_blocks, 4 slices, 200 ms) events/s."""

    psths: NDArray[np.float64]
    offset: float

    @property
    def base(self) -> NDArray[np.float64]:
        """(n_blocks + 2,) zero line of each block, and of two more above them."""
        return self.offset * np.arange(len(self.psths) + 2, dtype=float)


def load_2b(source: SourceData) -> ExampleTrials:
    """Read the trials of the example evolution."""
    title = source.read("Fig2/example_psth_meta")["expstr"]
    if source.form == "pkl":
        pickled = source.read("Fig2/example_trials_pickle")
        tables = {which: pickled[key] for which, key in _PICKLED_TRIALS.items()}
    else:
        tables = {
            (space, kind): source.read("Fig2/example_trials", trials=f"{space}_thread_{kind}")
            for space, kind in _PICKLED_TRIALS
        }
    return ExampleTrials(tables, title)


def compute_2b(data: ExampleTrials) -> dict[tuple[str, str], Trajectory]:
    """Average each kind of response over the presentations of each generation."""
    return {
        (space, response): _trajectory(data.tables[space, kind], column)
        for space in SPACES
        for response, (kind, column, _) in RESPONSES.items()
    }


def tell_2b(computed: dict[tuple[str, str], Trajectory]) -> Iterator[Statistic]:
    """List the first and last points of the curves."""
    for (space, response), trajectory in computed.items():
        yield Statistic(f"{response}, generations", len(trajectory.generation), space=space)
        yield Statistic(f"{response}, mean of first", trajectory.curve.mean[0], space=space)
        yield Statistic(f"{response}, mean of last", trajectory.curve.mean[-1], space=space)


def draw_2b(data: ExampleTrials, computed: dict[tuple[str, str], Trajectory]) -> dict[str, Figure]:
    """Draw six curves: three kinds of response in each space."""
    figure, axes = plt.subplots(figsize=(7, 4.6))
    for (space, response), trajectory in computed.items():
        draw_curve(
            axes,
            trajectory.generation,
            trajectory.curve,
            space,
            label=f"{space} {response}",
            linestyle=RESPONSES[response][2],
        )
    axes.set(xlabel="Generation", ylabel="Firing rate (events/s)")
    axes.set_title(f"{data.title}\nEvolution trajectory")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return {"2B": figure}


def load_2d(source: SourceData) -> ExamplePsth:
    """Read the PSTHs of the example evolution."""
    return read_example_psth(source)


def compute_2d(data: ExamplePsth) -> StackedPsths:
    """Stack the mean PSTHs; their standard errors stay as they are."""
    values = data.psth.copy()
    values[:, :2] += data.offset * np.arange(len(values))[:, np.newaxis, np.newaxis]
    return StackedPsths(values, data.offset)


def tell_2d(computed: StackedPsths) -> Iterator[Statistic]:
    """List the shape of the data and the distance between blocks."""
    yield Statistic("n_blocks", len(computed.psths))
    yield Statistic("offset_events_per_s", computed.offset)
    yield Statistic("psth_shape", "x".join(map(str, computed.psths.shape)))


def draw_2d(data: ExamplePsth, computed: StackedPsths) -> dict[str, Figure]:
    """Draw the PSTH of both threads of every block, the first at the bottom."""
    n_blocks, _, n_ms = computed.psths.shape
    base = computed.base
    figure, axes = plt.subplots(figsize=(4, 0.5 * n_blocks + 1))
    axes.hlines(base[:n_blocks], 0, n_ms, colors="k", linestyles="--", linewidth=0.8, alpha=0.6)
    axes.hlines(base[n_blocks:], 0, n_ms, colors="k", linestyles=":", linewidth=0.8, alpha=0.3)
    time_ms = np.arange(n_ms)
    for thread, space in enumerate(SPACES):
        for block in computed.psths:
            curve = Curve(block[thread], block[2 + thread], 1)
            draw_curve(axes, time_ms, curve, space, band_alpha=0.3, linewidth=1.2)
        axes.plot([], [], color=SPACE_COLOURS[space], label=space)
    axes.set_yticks(
        base[:n_blocks] + data.offset / 2, labels=[str(block + 1) for block in range(n_blocks)]
    )
    axes.set_ylim(0, computed.psths[-1, :2].max())
    axes.set(
        xlabel="Time after image onset (ms)",
        ylabel=f"Firing rate in each block ({data.offset:g} events/s between dashed lines)",
    )
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="outside lower center", ncols=2)
    figure.suptitle(data.title, fontsize=8)
    return {"2D": figure}


def _trajectory(trials: pd.DataFrame, column: str) -> Trajectory:
    by_generation = trials.groupby("gen")[column].agg(["mean", "sem"])
    mean, sem = by_generation.to_numpy(dtype=np.float64).T
    return Trajectory(by_generation.index.to_numpy(dtype=np.int64), Curve(mean, sem, len(trials)))


FIGURE = FigureScript(
    name="Figure2",
    folder="Fig2",
    title="one site climbs in both generative spaces",
    panels=(
        Panel(
            name="2B",
            caption="Firing rate of the example site, generation by generation: evolved images of "
            "DeePSim (blue) and BigGAN (red), reference images shown in the same blocks "
            "(dash-dotted) and baseline (dotted); mean and standard error over presentations.",
            load=load_2b,
            compute=compute_2b,
            tell=tell_2b,
            draw=draw_2b,
        ),
        Panel(
            name="2D",
            caption="Mean PSTH of the example site in every block, first block at the bottom, for "
            "images of DeePSim (blue) and BigGAN (red); bands are one standard error over "
            "presentations.",
            load=load_2d,
            compute=compute_2d,
            tell=tell_2d,
            draw=draw_2d,
        ),
    ),
)

if __name__ == "__main__":
    sys.exit(main(FIGURE))

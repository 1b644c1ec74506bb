"""Figure 2: one site climbs in both spaces at once (2B responses, 2D PSTHs, block by block)."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core import start

if __name__ == "__main__":
    sys.exit(start.run("figure_reproduction.Figure2_reproduction"))

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from matplotlib.figure import FigureBase
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from core.published import Statistic
from core.source_tables.reader import ExamplePsth
from core.spaces import BySpace, Space
from figure_reproduction.page.drawing import ZERO_PT, draw_curve, space_handles
from figure_reproduction.page.groups import Curve
from figure_reproduction.page.page import FigureScript, Shown
from figure_reproduction.page.sheet import Drawing
from figure_reproduction.page.words import as_it_is

FIGURE = FigureScript(
    "Figure2", "Fig2", "one site climbs in both generative spaces",
    pages=((("2B",), ("2D",)),),
)

#: Kind of response → (kind of trials, column, line style) of Figure 2B.
RESPONSES = {
    "evoked response": ("evol", "resp", "-"),
    "reference images": ("natref", "resp", "-."),
    "baseline": ("evol", "bsl", ":"),
}

#: Every presentation of the example: (space, kind of trials) → table of resp, bsl, gen.
ExampleTrials: TypeAlias = Mapping[tuple[Space, str], pd.DataFrame]


@dataclass(frozen=True)
class RateCurve:
    """Mean rate over the presentations of each generation, events/s."""

    generation: NDArray[np.int64]
    curve: Curve


@dataclass(frozen=True)
class StackedPsths:
    """Mean PSTHs by space, block b moved up by b offsets, and their standard errors.

    Attributes
    ----------
    curves : dict of Space to list of Curve
        One per block, (200 ms,) events/s.
    offset : float
        Distance between blocks, events/s.
    """

    curves: BySpace[list[Curve]]
    offset: float

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return len(self.curves[Space.DEEPSIM])

    @property
    def n_ms(self) -> int:
        """Length of a PSTH."""
        return len(self.curves[Space.DEEPSIM][0].mean)

    @property
    def base(self) -> NDArray[np.float64]:
        """(n_blocks + 2,) zero line of each block, and of two more above them."""
        return self.offset * np.arange(self.n_blocks + 2, dtype=float)


@FIGURE.panel("2B", reads=("example_trials|example_block_means", "example_psth_meta"))
def show_2b(responses: ExampleTrials | pd.DataFrame, meta: Mapping[str, Any]) -> Shown:
    """Firing rate of the example site, block by block.

    Evolved images of DeePSim (blue) and BigGAN (red), reference images shown in the same blocks
    (dash-dotted) and baseline (dotted); mean and standard error over presentations. Where single
    presentations are not known, means and standard errors are those of the published blocks, and
    the baseline, whose standard error is not published, has none.
    """
    if isinstance(responses, pd.DataFrame):
        curves, made_of = curves_of_blocks(responses), "published block means ± SEM"
    else:
        curves, made_of = compute_2b(responses), "presentations ± SEM"
    title = f"{site_in_words(meta['expstr'])}: {made_of}"
    drawing = Drawing(partial(draw_2b, curves, title), (89, 64))
    return Shown(tell_2b(curves), {"2B": drawing})


def compute_2b(trials: ExampleTrials) -> dict[tuple[Space, str], RateCurve]:
    """Average each kind of response over the presentations of each generation."""
    return {
        (space, response): _rate_curve(trials[space, kind], column)
        for space in Space
        for response, (kind, column, _) in RESPONSES.items()
    }


def curves_of_blocks(blocks: pd.DataFrame) -> dict[tuple[Space, str], RateCurve]:
    """Take each kind of response from the means and standard errors of blocks, as published."""
    generation = blocks["gen"].to_numpy(dtype=np.int64)
    columns = {"evoked response": "evol", "reference images": "natref", "baseline": "bsl"}
    curves = {}
    for space in Space:
        for response, column in columns.items():
            mean = blocks[f"{space}_{column}_mean"].to_numpy(dtype=np.float64)
            known = f"{space}_{column}_sem" in blocks
            sem = blocks[f"{space}_{column}_sem"].to_numpy(np.float64) if known else 0 * mean
            curves[space, response] = RateCurve(generation, Curve(mean, sem, len(mean)))
    return curves


def tell_2b(computed: Mapping[tuple[Space, str], RateCurve]) -> Iterator[Statistic]:
    """List the first and last points of the curves."""
    for (space, response), found in computed.items():
        yield Statistic(f"{response}, generations", len(found.generation), space=space)
        yield Statistic(f"{response}, mean of first", found.curve.mean[0], space=space)
        yield Statistic(f"{response}, mean of last", found.curve.mean[-1], space=space)


def draw_2b(
    computed: Mapping[tuple[Space, str], RateCurve], title: str, canvas: FigureBase
) -> None:
    """Draw six curves: three kinds of response in each space."""
    axes = canvas.subplots()
    for (space, response), found in computed.items():
        draw_curve(
            axes, found.generation, found.curve, space, label=f"{space}, {response}",
            linestyle=RESPONSES[response][2], marker=space.marker, markevery=3,
        )  # fmt: skip
    axes.set(xlabel="Block", ylabel="Rate (events/s)")
    axes.set_title(title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    canvas.legend(loc="outside lower center", ncols=2)


@FIGURE.panel("2D", reads=("example_psth", "example_psth_meta"))
def show_2d(slices: Mapping[str, NDArray[np.float64]], meta: Mapping[str, Any]) -> Shown:
    """Mean PSTH of the example site in every block, first block at the bottom.

    Images of DeePSim (blue) and BigGAN (red); bands are one standard error over presentations.
    """
    example = ExamplePsth.of(slices, meta)
    stacked = compute_2d(example)
    size = (89, 6 * stacked.n_blocks + 22)
    return Shown(tell_2d(stacked), {"2D": Drawing(partial(draw_2d, stacked, example.title), size)})


def compute_2d(example: ExamplePsth) -> StackedPsths:
    """Stack the mean PSTHs; their standard errors stay as they are."""
    curves = {
        space: [
            Curve(mean + example.offset * block, sem, 1)
            for block, (mean, sem) in enumerate(
                zip(example.mean[space], example.sem[space], strict=True)
            )
        ]
        for space in Space
    }
    return StackedPsths(curves, example.offset)


def tell_2d(computed: StackedPsths) -> Iterator[Statistic]:
    """List the shape of the data and the distance between blocks."""
    n_slices = 2 * len(Space)  # means and standard errors
    yield Statistic("n_blocks", computed.n_blocks)
    yield Statistic("offset_events_per_s", computed.offset)
    yield Statistic("psth_shape", f"{computed.n_blocks}x{n_slices}x{computed.n_ms}")


def draw_2d(computed: StackedPsths, title: str, canvas: FigureBase) -> None:
    """Draw the PSTH of both threads of every block, the first at the bottom."""
    n_blocks, base = computed.n_blocks, computed.base
    time_ms = np.arange(computed.n_ms)
    axes = canvas.subplots()
    zeros: dict[str, Any] = {"xmin": 0, "xmax": computed.n_ms, "colors": "k", "linewidth": ZERO_PT}
    axes.hlines(base[:n_blocks], linestyles="--", alpha=0.6, **zeros)
    axes.hlines(base[n_blocks:], linestyles=":", alpha=0.3, **zeros)
    for space, curves in computed.curves.items():
        for curve in curves:
            draw_curve(axes, time_ms, curve, space, band_alpha=0.3, linewidth=0.7)
    axes.set_yticks(
        base[:n_blocks] + computed.offset / 2, labels=[str(block + 1) for block in range(n_blocks)]
    )
    every = (curve for curves in computed.curves.values() for curve in curves)
    axes.set_ylim(0, max((curve.mean + curve.sem).max() for curve in every))
    axes.set(
        xlabel="Time from image onset (ms)",
        xlim=(0, computed.n_ms),
        ylabel=f"Block ({computed.offset:g} events/s between dashed lines)",
    )
    axes.tick_params(axis="y", length=0)
    axes.set_title(site_in_words(title))
    canvas.legend(handles=space_handles(), loc="outside lower center", ncols=2)


def site_in_words(title: str) -> str:
    """Say whose responses these are, from the title that the laboratory gave the experiment.

    >>> site_in_words("Exp 155 Alfa-25112020-003 Pref chan12 U1")
    'Experiment 155, channel 12, unit 1'
    """
    found = re.match(r"Exp (\d+) \S+ Pref chan(\d+) U(\d+)", title)
    if found is None:
        return as_it_is(title.partition("\n")[0])
    return "Experiment {}, channel {}, unit {}".format(*found.groups())


def _rate_curve(trials: pd.DataFrame, column: str) -> RateCurve:
    by_generation = trials.groupby("gen")[column].agg(["mean", "sem"])
    mean, sem = by_generation.to_numpy(dtype=np.float64).T
    return RateCurve(by_generation.index.to_numpy(dtype=np.int64), Curve(mean, sem, len(trials)))


main = FIGURE.main

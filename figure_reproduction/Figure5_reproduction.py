"""Figure 5: when in time the two spaces differ (5A PSTHs, 5C responses in 10-ms windows)."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from core.published import Statistic
from core.source_tables.reader import SourceData
from core.source_tables.registry import FIGURE_5C_WINDOWS, SHOWN_BLOCKS, SPACES
from figure_reproduction.page.drawing import draw_curve, draw_experiments
from figure_reproduction.page.groups import Curve, members
from figure_reproduction.page.page import FigureScript, Panel, main
from figure_reproduction.page.window_responses import (
    Window,
    WindowComparison,
    WindowResponses,
    compare_windows,
    draw_windows,
    load_windows,
    tell_windows,
)
from neuro_data_analysis.neural_data_utils import AREAS

#: How titles call the shown blocks; block 55 is padding in nearly every session.
BLOCK_NAMES = dict(zip(SHOWN_BLOCKS, ("first block", "last block"), strict=True))


@dataclass(frozen=True)
class Psths:
    """Normalised PSTHs, (n_experiments, 200 ms), by block and space; which experiments count."""

    psths: dict[tuple[int, str], NDArray[np.float64]]
    masks: pd.DataFrame


@dataclass(frozen=True)
class GroupPsth:
    """The PSTHs of one group of experiments and their mean."""

    experiments: NDArray[np.float64]
    curve: Curve


def load_5a(source: SourceData) -> Psths:
    """Read the PSTHs of the first and the last block."""
    values = {
        (block, space): source.read("Fig5/psth", block=block, space=space)
        for block in SHOWN_BLOCKS
        for space in SPACES
    }
    return Psths(values, source.read("Fig5/masks"))


def compute_5a(data: Psths) -> dict[tuple[int, str, str], GroupPsth]:
    """Average the PSTHs of the experiments in which either thread climbed, per area."""
    return {
        (block, area, space): GroupPsth(psth[chosen], Curve.of(psth[chosen]))
        for (block, space), psth in data.psths.items()
        for area, chosen in members(data.masks, "anysucc005")
    }


def tell_5a(computed: dict[tuple[int, str, str], GroupPsth]) -> Iterator[Statistic]:
    """List group sizes and mean PSTHs."""
    for area in AREAS:
        yield Statistic("n", computed[SHOWN_BLOCKS[0], area, SPACES[0]].curve.n, area=area)
    for (block, area, space), found in computed.items():
        name = f"mean_psth, block {block}"
        yield Statistic(name, found.curve.mean, area=area, space=space)


def draw_5a(data: Psths, computed: dict[tuple[int, str, str], GroupPsth]) -> dict[str, Figure]:
    """Draw single experiments and group means, one picture per block."""
    figures = {}
    for block in SHOWN_BLOCKS:
        figure, panels = plt.subplots(1, len(AREAS), figsize=(9, 3.3), sharex=True, sharey=True)
        for axes, area in zip(panels, AREAS, strict=True):
            for space in SPACES:
                found = computed[block, area, space]
                time_ms = np.arange(found.experiments.shape[1])
                draw_experiments(axes, time_ms, found.experiments, space, alpha=0.15)
                draw_curve(axes, time_ms, found.curve, space, space, linewidth=3)
            axes.set_title(f"{area} (N={found.curve.n})")
            axes.set_xlabel("Time after image onset (ms)")
        panels[0].set(ylim=(0, 2), ylabel="Rate / maximal response\nof both threads")
        panels[0].legend(loc="upper right")
        figure.suptitle(
            f"Normalised PSTH in the {BLOCK_NAMES[block]}, valid experiments in which either "
            "thread climbed (P<0.05)"
        )
        figures[f"5A_block{block}"] = figure
    return figures


def load_5c(source: SourceData) -> WindowResponses:
    """Read the responses in 10-ms windows."""
    masks = source.read("Fig5/masks")
    return load_windows(source, "Fig5/window_response_mean", FIGURE_5C_WINDOWS, masks)


def compute_5c(data: WindowResponses) -> dict[tuple[str, Window], WindowComparison]:
    """Compare the spaces where both threads climbed."""
    return compare_windows(data, "bothsucc005")


def draw_5c(
    data: WindowResponses, computed: Mapping[tuple[str, Window], WindowComparison]
) -> dict[str, Figure]:
    """Draw V4 and IT, one column per window."""
    title = (
        "Response in 10-ms windows across blocks, valid experiments in which both threads climbed "
        "(P<0.05)"
    )
    return {"5C": draw_windows(computed, FIGURE_5C_WINDOWS, title, panel_size=(1.5, 3))}


FIGURE = FigureScript(
    name="Figure5",
    folder="Fig5",
    title="dynamics of responses to evolved textures and objects",
    panels=(
        Panel(
            name="5A",
            caption="PSTHs of the first and the last block in V1, V4 and IT for DeePSim (blue) and "
            "BigGAN (red): single experiments (thin) and mean with standard error.",
            load=load_5a,
            compute=compute_5a,
            tell=tell_5a,
            draw=draw_5a,
        ),
        Panel(
            name="5C",
            caption="Response in each 10-ms window, block by block, in V4 and IT; dots mark blocks "
            "where DeePSim (blue) or BigGAN (red) drives the larger response (paired t tests, "
            "false-discovery rate 0.05 over blocks).",
            load=load_5c,
            compute=compute_5c,
            tell=tell_windows,
            draw=draw_5c,
        ),
    ),
)

if __name__ == "__main__":
    sys.exit(main(FIGURE))

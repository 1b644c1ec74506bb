"""Figure 5: when in time the two spaces differ (5A PSTHs, 5C responses in 10-ms windows)."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core import start

if __name__ == "__main__":
    sys.exit(start.run("figure_reproduction.Figure5_reproduction"))

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
import pandas as pd
from matplotlib.figure import FigureBase
from numpy.typing import NDArray

from core.published import Statistic
from core.spaces import Space
from figure_reproduction.page.drawing import draw_curve, draw_experiments, space_handles
from figure_reproduction.page.groups import Curve, basis_of_curve, members
from figure_reproduction.page.page import FigureScript, Shown
from figure_reproduction.page.sheet import Drawing
from figure_reproduction.page.window_responses import (
    RECORDED_ONLY,
    WindowResponses,
    compare_recorded,
    compare_windows,
    tell_recorded,
    tell_windows,
    windows_drawing,
    windows_of,
)
from neuro_data_analysis.neural_data_utils import AREAS

FIGURE = FigureScript(
    "Figure5", "Fig5", "dynamics of responses to evolved textures and objects",
    pages=((("5A_block0", "5A_block55"), ("5C",)),),
)

#: How titles call the shown blocks; block 55 is padding in nearly every session.
BLOCK_NAMES = {0: "first block", 55: "last block"}

#: Normalised PSTHs, (n_experiments, 200 ms), by block and space.
Psths: TypeAlias = Mapping[tuple[int, Space], NDArray[np.float64]]


@dataclass(frozen=True)
class GroupPsth:
    """The PSTHs of one group of experiments and their mean."""

    experiments: NDArray[np.float64]
    curve: Curve


#: By block, area and space.
GroupPsths: TypeAlias = Mapping[tuple[int, str, Space], GroupPsth]


@FIGURE.panel("5A", reads=("psth", "masks"))
def show_5a(psths: Psths, masks: pd.DataFrame) -> Shown:
    """PSTHs of the first and the last block in V1, V4 and IT.

    DeePSim (blue) and BigGAN (red): single experiments (thin) and mean with standard error (its
    standard deviation divides by n, as published). The last block is the mean of a session's last
    two in nearly every session.
    """
    groups = compute_5a(psths, masks)
    drawings = {
        f"5A_block{block}": Drawing(partial(draw_5a, groups, block), (91.5, 50))
        for block in BLOCK_NAMES
    }
    return Shown(tell_5a(groups), drawings)


def compute_5a(psths: Psths, masks: pd.DataFrame) -> dict[tuple[int, str, Space], GroupPsth]:
    """Average the PSTHs of the experiments in which either thread climbed, per area."""
    return {
        (block, area, space): GroupPsth(psth[chosen], Curve.of(psth[chosen]))
        for (block, space), psth in psths.items()
        for area, chosen in members(masks, "anysucc005")
    }


def tell_5a(computed: GroupPsths) -> Iterator[Statistic]:
    """List group sizes and mean PSTHs."""
    for area in AREAS:
        yield Statistic("n", computed[0, area, Space.DEEPSIM].curve.n, area=area)
    for (block, area, space), found in computed.items():
        name = f"mean_psth, block {block}"
        basis = basis_of_curve(found.curve.n)
        yield Statistic(name, found.curve.mean, area=area, space=space, basis=basis)


def draw_5a(computed: GroupPsths, block: int, canvas: FigureBase) -> None:
    """Draw single experiments and group means of one block."""
    panels = canvas.subplots(1, len(AREAS), sharex=True, sharey=True)
    panels[0].set(xlim=(0, 200), ylim=(0, 2))
    for axes, area in zip(panels, AREAS, strict=True):
        for space in Space:
            found = computed[block, area, space]
            time_ms = np.arange(found.experiments.shape[1])
            draw_experiments(axes, time_ms, found.experiments, space, alpha=0.15)
            draw_curve(axes, time_ms, found.curve, space)
        axes.set_title(f"{area} ($n$ = {found.curve.n})")
    panels[0].set_ylabel("Rate / maximal response of both threads")
    panels[1].set_xlabel("Time from image onset (ms)")
    canvas.suptitle(BLOCK_NAMES[block].capitalize())
    canvas.legend(handles=space_handles(), loc="outside lower center", ncols=2)


@FIGURE.panel("5C", reads=("window_response_mean", "masks"))
def show_5c(
    responses: WindowResponses, masks: pd.DataFrame, *, recorded_only: bool = False
) -> Shown:
    """Response in each 10-ms window, block by block, in V4 and IT.

    Dots mark blocks where DeePSim (blue) or BigGAN (red) drives the larger response (paired t
    tests, false-discovery rate 0.05 over blocks). A session that has ended counts in every later
    block as the mean of its last two, as published: small numbers under the axes are experiments
    that still recorded, means are dotted where fewer than half of them did, and dots hollow where
    fewer than five did.
    """
    comparisons = compare_windows(responses, masks, "bothsucc005")
    windows = sorted(windows_of(responses))
    statistics = [*tell_windows(comparisons)]
    drawings = {"5C": windows_drawing(comparisons, windows, "")}
    if recorded_only:
        alone = compare_recorded(responses, masks, "bothsucc005")
        statistics += tell_recorded(alone)
        drawings["5C_recorded_only"] = windows_drawing(alone, windows, RECORDED_ONLY)
    return Shown(statistics, drawings)


main = FIGURE.main

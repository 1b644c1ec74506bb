"""Extended Figure 4: which moments carry the rise (4B), and windows of all widths (4C)."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core import start

if __name__ == "__main__":
    sys.exit(start.run("figure_reproduction.FigureExt4_reproduction"))

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from numpy.typing import NDArray

from core.published import Statistic
from core.source_tables.registry import ATTRIBUTION_BINS_MS
from core.spaces import BySpace, Space
from figure_reproduction.page.drawing import ZERO_PT, draw_curve, draw_dots, space_handles
from figure_reproduction.page.groups import (
    Curve,
    basis_of_curve,
    compare_spaces,
    larger_by,
    members,
    significant_after_fdr,
)
from figure_reproduction.page.page import FigureScript, Shown
from figure_reproduction.page.sheet import Drawing
from figure_reproduction.page.window_responses import (
    RECORDED_ONLY,
    Window,
    WindowComparison,
    WindowResponses,
    compare_recorded,
    compare_windows,
    tell_recorded,
    tell_windows,
    windows_drawing,
)
from neuro_data_analysis.neural_data_utils import AREAS, success_masks

FIGURE = FigureScript(
    "FigureExt4",
    "ExtendedFig4",
    "moments of the response that carry the rise, and windows of all widths",
    pages=(
        (
            ("Ext4B_5ms", "Ext4B_10ms"),
            ("Ext4B_20ms", "Ext4B_25ms"),
            ("Ext4B_50ms",),
            ("Ext4C_50ms_p05",),
        ),
        (("Ext4C_10ms_p05",), ("Ext4C_20ms_p05",), ("Ext4C_25ms_p05",)),
    ),
)

#: Success of a thread in Extended Figure 4B.
P_SUCCESS_4B = 0.01

#: Published both ways: with 0.05 in the figure, with 0.01 in the authors' check and script.
P_SUCCESS_4C = {"p05": 0.05, "p01": 0.01}

#: Where dots lie, as a share of the highest point of a plot: uncorrected, and corrected.
DOTS_AT, FDR_DOTS_AT = 1.15, 1.25

#: A share of one bin that is larger than the whole rise, either way, tells of a rise near zero.
LARGEST_SHARE = 1.0

#: Widths of the windows of 4C, ms.
WINDOW_WIDTHS_MS = (10, 20, 25, 50)


#: Shares of the rise per time bin, by space: (n_experiments, n_bins).
Shares: TypeAlias = Mapping[Space, NDArray[np.float64]]


@dataclass(frozen=True)
class Attribution:
    """When the rise happens in the threads that climbed, one area and bin width.

    Attributes
    ----------
    centre_ms : numpy.ndarray
        (n_bins,) middle of each bin.
    curves : dict of Space to Curve
        Mean share by space.
    n_climbed : dict of Space to int
        Threads that climbed by space; those whose first block was the best have no rise to share
        and are not averaged.
    t, p : numpy.ndarray
        (n_bins,) unpaired tests of DeePSim against BigGAN.
    significant, significant_fdr : numpy.ndarray of bool
        (n_bins,) p < 0.05, and after correction over the bins.
    top : float
        Highest point of the mean curves.
    """

    centre_ms: NDArray[np.float64]
    curves: BySpace[Curve]
    n_climbed: BySpace[int]
    t: NDArray[np.float64]
    p: NDArray[np.float64]
    significant: NDArray[np.bool_]
    significant_fdr: NDArray[np.bool_]
    top: float


#: By bin width and area.
Attributions: TypeAlias = Mapping[tuple[int, str], Attribution]


@FIGURE.panel("Ext4B", reads=("meta", *(f"attribution_{ms}ms" for ms in ATTRIBUTION_BINS_MS)))
def show_4b(meta: pd.DataFrame, *shares: Shares) -> Shown:
    """Share of the rise in rate (best block minus first block) that falls into each time bin.

    Bins of 5 to 50 ms; mean and standard error over climbing threads (its standard deviation
    divides by n, as published); dots mark bins in which the spaces differ (two-sided unpaired t
    tests, as published, though most experiments are in both groups).
    """
    by_width = dict(zip(ATTRIBUTION_BINS_MS, shares, strict=True))
    attributions = compute_4b(by_width, meta)
    drawings = {
        f"Ext4B_{bin_ms}ms": Drawing(partial(draw_4b, attributions, bin_ms), (91.5, 46))
        for bin_ms in ATTRIBUTION_BINS_MS
    }
    return Shown([*tell_4b(attributions), *tell_small_rises(by_width, meta)], drawings)


def tell_small_rises(shares: Mapping[int, Shares], meta: pd.DataFrame) -> Iterator[Statistic]:
    """List the experiments of the table whose rise is too near zero to be shared out.

    Parameters
    ----------
    shares : mapping of int to mapping
        By bin width, ms, and space: (n_experiments, n_bins).
    meta : pandas.DataFrame
        Its index is the number of each experiment.
    """
    basis = {"rule": f"a share of some bin lies beyond ±{LARGEST_SHARE:g}", "unit": "experiments"}
    for space in Space:
        largest = np.max(
            [np.nan_to_num(abs(of_space[space])).max(axis=1) for of_space in shares.values()],
            axis=0,
        )
        small = meta.index[largest > LARGEST_SHARE].tolist()
        yield Statistic("experiments whose rise is near zero", small, space=space, basis=basis)
        climbed = success_masks(meta, P_SUCCESS_4B)[f"{space.prefix}succ"] & meta["valid"]
        among = [expi for expi in small if climbed[expi]]
        yield Statistic("such experiments drawn", among, space=space, basis=basis)


def compute_4b(
    shares: Mapping[int, Shares], meta: pd.DataFrame
) -> dict[tuple[int, str], Attribution]:
    """Average and compare the shares of climbing threads, by bin width and area.

    Parameters
    ----------
    shares : mapping of int to mapping
        By bin width, ms, and space: (n_experiments, n_bins).
    meta : pandas.DataFrame
        ``valid``, tests and area of each experiment.
    """
    masks = experiment_masks(meta, P_SUCCESS_4B)
    climbed = {space: dict(members(masks, f"{space.prefix}succ")) for space in Space}
    return {
        (bin_ms, area): _attribution(
            {space: of_space[space][climbed[space][area]] for space in Space}, bin_ms
        )
        for bin_ms, of_space in shares.items()
        for area in AREAS
    }


def _attribution(shares: Shares, bin_ms: int) -> Attribution:
    known = {space: share[np.isfinite(share).all(axis=1)] for space, share in shares.items()}
    curves = {space: Curve.of(share) for space, share in known.items()}
    test = compare_spaces(known)
    means = np.concatenate([curve.mean for curve in curves.values() if curve.n] or [np.ones(1)])
    return Attribution(
        centre_ms=bin_ms * (np.arange(len(test.t), dtype=float) + 0.5),
        curves=curves,
        n_climbed={space: len(share) for space, share in shares.items()},
        t=test.t,
        p=test.p,
        significant=test.p < 0.05,
        significant_fdr=significant_after_fdr(test.p),
        top=float(means.max()),
    )


FDR_BASIS = {"correction": "Benjamini-Hochberg at 0.05 over the bins of one width and area"}


def basis_of_bins(found: Attribution) -> dict[str, Any]:
    """Tell what the tests between the spaces rest on; the groups overlap."""
    n = {space: curve.n for space, curve in found.curves.items()}
    return {
        "test": "unpaired Student test, DeePSim against BigGAN, though most experiments are in "
        "both groups (as published)",
        "sided": "two-sided",
        "df": sum(n.values()) - 2,
        "n": n,
        "unit": "threads; sites repeat among them",
        "correction": "none",
    }


def tell_4b(computed: Attributions) -> Iterator[Statistic]:
    """List group sizes, mean shares and the significant bins."""
    for area in AREAS:
        for space, n in computed[ATTRIBUTION_BINS_MS[0], area].n_climbed.items():
            yield Statistic("n", n, area=area, space=space)
    for (bin_ms, area), found in computed.items():
        for space, curve in found.curves.items():
            basis = basis_of_curve(curve.n)
            name = f"mean_fraction_bin{bin_ms}ms"
            yield Statistic(name, curve.mean, area=area, space=space, basis=basis)
        for bin_ in np.flatnonzero(found.significant):
            name = f"bin{bin_ms}ms_at_{found.centre_ms[bin_]:g}ms"
            basis = basis_of_bins(found)
            yield Statistic(f"unpaired_t_{name}", found.t[bin_], area=area, basis=basis)
            yield Statistic(f"unpaired_p_{name}", found.p[bin_], area=area, basis=basis)
            survives = bool(found.significant_fdr[bin_])
            yield Statistic(f"fdr_{name}", survives, area=area, basis=basis | FDR_BASIS)


def draw_4b(computed: Attributions, bin_ms: int, canvas: FigureBase) -> None:
    """Draw one plot per area, for one bin width."""
    panels = canvas.subplots(1, len(AREAS), sharex=True, sharey=True)
    for axes, area in zip(panels, AREAS, strict=True):
        _draw_attribution(axes, computed[bin_ms, area])
        counts = ", ".join(str(n) for n in computed[bin_ms, area].n_climbed.values())
        axes.set_title(f"{area} ($n$ = {counts})")
        axes.set(xlim=(0, 200))
    panels[0].margins(y=0.15)
    panels[0].set_ylabel("Fraction of the rise in rate")
    panels[1].set_xlabel("Time from image onset (ms)")
    canvas.suptitle(f"{bin_ms}-ms bins; dots: $P$ < 0.05, upper row after FDR")
    canvas.legend(handles=space_handles(), loc="outside lower center", ncols=2)


def _draw_attribution(axes: Axes, found: Attribution) -> None:
    axes.axhline(0, color="0.5", linewidth=ZERO_PT)
    for space, curve in found.curves.items():
        draw_curve(axes, found.centre_ms, curve, space, space, band_alpha=0.3)
    for marked, height in (
        (found.significant, DOTS_AT * found.top),
        (found.significant_fdr, FDR_DOTS_AT * found.top),
    ):
        draw_dots(axes, found.centre_ms, larger_by(found.t, marked), height)


#: Name of the threshold of success → what `compare_windows` gives.
AllComparisons: TypeAlias = Mapping[str, Mapping[tuple[str, Window], WindowComparison]]


@FIGURE.panel("Ext4C", reads=("window_response_mean", "meta"))
def show_4c(
    responses: WindowResponses, meta: pd.DataFrame, *, recorded_only: bool = False
) -> Shown:
    """Response in windows of 10, 20, 25 and 50 ms, block by block, in V4 and IT.

    Dots mark blocks where one space drives the larger response (paired t tests, false-discovery
    rate 0.05 over blocks; a session that has ended counts on as the mean of its last two blocks, as
    published). Small numbers under the axes are experiments that still recorded; means are dotted
    where fewer than half of them did, dots hollow where fewer than five did. Drawn for both
    published thresholds of success.
    """
    comparisons = compute_4c(responses, meta)
    statistics, drawings = [*tell_4c(comparisons)], drawings_4c(comparisons)
    if recorded_only:
        alone = compute_4c(responses, meta, compare_recorded)
        statistics += tell_4c(alone, tell_recorded)
        drawings |= drawings_4c(alone, "_recorded_only", RECORDED_ONLY)
    return Shown(statistics, drawings)


def compute_4c(
    responses: WindowResponses,
    meta: pd.DataFrame,
    compare: Callable[..., dict[tuple[str, Window], WindowComparison]] = compare_windows,
) -> dict[str, dict[tuple[str, Window], WindowComparison]]:
    """Compare the spaces where both threads climbed, at both thresholds."""
    return {
        name: compare(responses, experiment_masks(meta, p_below), "bothsucc")
        for name, p_below in P_SUCCESS_4C.items()
    }


def tell_4c(
    computed: AllComparisons,
    tell: Callable[[Mapping[tuple[str, Window], WindowComparison]], Iterator[Statistic]] = (
        tell_windows
    ),
) -> Iterator[Statistic]:
    """List group sizes, significant blocks and mean curves at both thresholds."""
    for name, comparisons in computed.items():
        for statistic in tell(comparisons):
            yield replace(statistic, quantity=f"{statistic.quantity}_{name}")


def drawings_4c(
    computed: AllComparisons, suffix: str = "", remark: str = ""
) -> dict[str, Drawing]:
    """Return the pictures of all widths at both thresholds of success."""
    return {
        f"Ext4C_{width_ms}ms_{name}{suffix}": draw_4c(comparisons, width_ms, name, remark)
        for name, comparisons in computed.items()
        for width_ms in WINDOW_WIDTHS_MS
    }


def draw_4c(
    comparisons: Mapping[tuple[str, Window], WindowComparison],
    width_ms: int,
    name: str,
    remark: str = "",
) -> Drawing:
    """Return the picture of the windows of one width at one threshold of success."""
    windows = sorted({w for _, w in comparisons if w[1] - w[0] == width_ms})
    title = f"{width_ms}-ms windows, both threads climbed ($P$ < {P_SUCCESS_4C[name]})"
    return windows_drawing(comparisons, windows, f"{title}\n{remark}".strip())


def experiment_masks(meta: pd.DataFrame, p_below: float) -> pd.DataFrame:
    """Return inclusion, success and area of each experiment, for a threshold of success."""
    areas = {f"{area}msk": meta["visual_area"] == area for area in AREAS}
    return success_masks(meta, p_below).assign(valid=meta["valid"], **areas)


main = FIGURE.main

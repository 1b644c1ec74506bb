"""Dots of Figure 5C and Extended Figure 4C: as drawn, and over recorded blocks alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from core.source_tables.reader import SourceData
from core.source_tables.registry import EXTENDED_4C_WINDOWS, FIGURE_5C_WINDOWS
from core.spaces import Space
from figure_reproduction.robustness.experiments import Experiments
from neuro_data_analysis.robustness.models import benjamini_hochberg

Window = tuple[int, int]

#: Areas and last block of the plots.
SHOWN_AREAS, LAST_SHOWN_BLOCK = ("V4", "IT"), 45

#: A block that fewer experiments recorded is not tested where padding does not count.
MIN_RECORDED = 5

#: False-discovery rate of the dots.
FDR = 0.05

#: The plots: figure, key of the means, windows, columns of success.
PLOTS = (
    ("5C", "Fig5/window_response_mean", FIGURE_5C_WINDOWS, "bothsucc005"),
    ("Ext 4C, success p<.05", "ExtendedFig4/window_response_mean", EXTENDED_4C_WINDOWS,
     "bothsucc005"),
    ("Ext 4C, success p<.01", "ExtendedFig4/window_response_mean", EXTENDED_4C_WINDOWS,
     "bothsucc001"),
)  # fmt: skip


@dataclass(frozen=True)
class PairedTests:
    """Paired Student tests of DeePSim against BigGAN, window by window and block by block.

    Attributes
    ----------
    t, p : numpy.ndarray
        (n_windows, n_blocks) two-sided; NaN below two experiments.
    n : numpy.ndarray of int
        (n_blocks,) experiments.
    """

    t: NDArray[np.float64]
    p: NDArray[np.float64]
    n: NDArray[np.intp]


def paired_tests(difference: NDArray[np.float64], counted: NDArray[np.bool_]) -> PairedTests:
    """Test the mean difference of every window and block among the experiments that count there.

    Parameters
    ----------
    difference : numpy.ndarray
        (n_windows, n_experiments, n_blocks) DeePSim minus BigGAN.
    counted : numpy.ndarray of bool
        (n_experiments, n_blocks)

    Returns
    -------
    PairedTests
    """
    n = counted.sum(axis=0)
    x = np.where(counted, difference, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = x.sum(axis=1) / n
        around = np.where(counted, difference - mean[:, np.newaxis], 0.0)
        error = np.sqrt((around**2).sum(axis=1) / (n - 1) / n)
        t = np.where((n > 1) & (error > 0), mean / error, np.nan)
    return PairedTests(t, 2 * stats.t.sf(abs(t), np.maximum(n - 1, 1)), n)


def count_dots(experiments: Experiments, source: SourceData) -> dict[str, Any]:
    """Count significant blocks with padded sessions, without, and corrected over all windows.

    Returns
    -------
    dict
        Plot → area → numbers of dots among blocks 0 to 45 by rule, by space where it is larger;
        ``n_by_block``, the experiments that recorded each block.
    """
    return {
        plot: {
            area: _count(experiments, source, key, windows, experiments.group(area, success))
            for area in SHOWN_AREAS
        }
        for plot, key, windows, success in PLOTS
    }


def _count(
    experiments: Experiments,
    source: SourceData,
    key: str,
    windows: Sequence[Window],
    rows: NDArray[np.intp],
) -> dict[str, Any]:
    fc, bg = (
        np.stack([source.read(key, window=window, space=space)[rows] for window in windows])
        for space in Space
    )
    recorded = experiments.recorded[rows]
    published = paired_tests(fc - bg, np.ones_like(recorded))
    alone = paired_tests(fc - bg, recorded & (recorded.sum(axis=0) >= MIN_RECORDED))
    return {
        "as_drawn": _dots(published, _each_window(published.p)),
        "as_drawn_one_family": _dots(published, benjamini_hochberg(published.p)),
        "recorded_only": _dots(alone, _each_window(alone.p)),
        "recorded_only_one_family": _dots(alone, benjamini_hochberg(alone.p)),
        "n": len(rows),
        "n_by_block": recorded.sum(axis=0).tolist(),
        "test": "paired t test over experiments, two-sided, df n - 1, Benjamini-Hochberg at 0.05",
        "fewest_recorded": MIN_RECORDED,
    }


def _each_window(p: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([benjamini_hochberg(window) for window in p])


def _dots(tests: PairedTests, corrected: NDArray[np.float64]) -> dict[str, int]:
    shown = np.arange(corrected.shape[1]) <= LAST_SHOWN_BLOCK
    marked = (corrected <= FDR) & shown
    return {
        "dots": int(marked.sum()),
        **{
            f"{space} larger": int((marked & (sign * tests.t > 0)).sum())
            for space, sign in zip(Space, (1, -1), strict=True)
        },
    }

"""Dots of Figure 5C and Extended Figure 4C: as drawn, and over recorded blocks alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.source_tables.reader import SourceData
from core.source_tables.registry import EXTENDED_4C_WINDOWS, FIGURE_5C_WINDOWS
from core.spaces import Space
from figure_reproduction.page.groups import larger_by, significant_after_fdr
from figure_reproduction.page.window_responses import (
    LAST_SHOWN_BLOCK,
    MIN_RECORDED,
    SHOWN_AREAS,
    PairedTests,
    Window,
    paired_tests,
)
from figure_reproduction.robustness.experiments import Experiments

#: The plots: figure, key of the means, windows, columns of success.
PLOTS = (
    ("5C", "Fig5/window_response_mean", FIGURE_5C_WINDOWS, "bothsucc005"),
    ("Ext 4C, success p<.05", "ExtendedFig4/window_response_mean", EXTENDED_4C_WINDOWS,
     "bothsucc005"),
    ("Ext 4C, success p<.01", "ExtendedFig4/window_response_mean", EXTENDED_4C_WINDOWS,
     "bothsucc001"),
)  # fmt: skip


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
        "as_drawn": _dots(published),
        "as_drawn_one_family": _dots(published, one_family=True),
        "recorded_only": _dots(alone),
        "recorded_only_one_family": _dots(alone, one_family=True),
        "n": len(rows),
        "n_by_block": recorded.sum(axis=0).tolist(),
        "test": "paired t test over experiments, two-sided, df n - 1, Benjamini-Hochberg at 0.05",
        "fewest_recorded": MIN_RECORDED,
    }


def _dots(tests: PairedTests, one_family: bool = False) -> dict[str, int]:
    """Count the blocks that survive the correction over each window, or over all together."""
    families = [tests.p] if one_family else tests.p
    survive = np.vstack([significant_after_fdr(p) for p in families])[:, : LAST_SHOWN_BLOCK + 1]
    larger = larger_by(tests.t[:, : LAST_SHOWN_BLOCK + 1], survive)
    told = {f"{space} larger": int(marked.sum()) for space, marked in larger.items()}
    return {"dots": int(survive.sum()), **told}

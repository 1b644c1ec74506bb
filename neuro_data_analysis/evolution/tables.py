"""The source-data tables of Figures 2, 4, 5 and Extended Figure 4, from recordings."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from core.source_tables.reader import Table
from core.source_tables.registry import (
    ATTRIBUTION_BINS_MS,
    EXTENDED_4C_WINDOWS,
    FIGURE_5C_WINDOWS,
    SHOWN_BLOCKS,
    SLICES,
    SPACES,
)
from neuro_data_analysis.evolution.population import P_LEVELS, Population, success_rates
from neuro_data_analysis.evolution.stats import (
    BASELINE_MS,
    TIME_CONSTANT_BASELINES,
    EvolutionSummary,
    Trials,
    Window,
    attributed_fractions,
    block_psths,
    pooled_t_test,
)
from neuro_data_analysis.neural_data_lib import Block, Experiment
from neuro_data_analysis.neural_data_utils import AREAS

#: The largest mean PSTH of the example takes this many distances between blocks (Figure 2D).
_PEAK_IN_OFFSETS = 2.2


def figure2_tables(experiment: Experiment) -> Iterator[Table]:
    """Yield the tables of Figure 2: PSTHs of every block, responses of every presentation.

    The four PSTH files hold what their names say; the published ones have two labels swapped.
    """
    psth = block_psths(experiment)
    meta = {
        "Expi": experiment.info.expi,
        "offset": psth_offset(psth),
        "expstr": experiment.info.title,
    }
    note = {"labels": "each file holds what its name says"}
    for position, name in enumerate(SLICES):
        yield Table("Fig2/example_psth", psth[:, position], {"slice": name})
    yield Table("Fig2/example_psth_meta", meta | note)
    yield Table("Fig2/example_psth_pickle", meta | {"psth_arr": psth})

    trials = {
        f"{space}_thread_{kind}": trial_table(getattr(thread, blocks))
        for kind, blocks in (("evol", "blocks"), ("natref", "references"))
        for space, thread in zip(SPACES, experiment.threads, strict=True)
    }
    for name, table in trials.items():
        yield Table("Fig2/example_trials", table, {"trials": name})
    pickled = (
        "thread0_resp_df",
        "thread1_resp_df",
        "thread0_natref_resp_df",
        "thread1_natref_resp_df",
    )
    yield Table("Fig2/example_trials_pickle", dict(zip(pickled, trials.values(), strict=True)))


def figure4_tables(population: Population) -> Iterator[Table]:
    """Yield the tables of Figure 4: success rates, normalised trajectories, time constants."""
    yield Table("Fig4/success_rate", success_rates(population))
    yield Table(
        "Fig4/success_labels",
        {"sucs_criterion_label": f"max > init, P<{P_LEVELS['001']}", "sucs_label": "maxinit"},
    )
    normalizer = population.normalizer[:, np.newaxis, np.newaxis]
    trajectory = population.padded(lambda summary: summary.trajectory) / normalizer
    for thread, space in enumerate(SPACES):
        yield Table("Fig4/response_mean", trajectory[..., thread], {"space": space})
        yield Table("Fig4/response_sem", trajectory[..., 2 + thread], {"space": space})
    yield Table("Fig4/masks", population.masks.astype(int))
    yield Table("Fig4/recorded_blocks", population.recorded().astype(int))
    yield Table(
        "Fig4/time_constants", population.meta.join(population.time_constants).reset_index()
    )


def figure5_tables(population: Population) -> Iterator[Table]:
    """Yield the tables of Figure 5: normalised PSTHs of two blocks, responses in 10-ms windows."""
    normalizer = population.normalizer[:, np.newaxis]
    for position, block in enumerate(SHOWN_BLOCKS):
        for thread, space in enumerate(SPACES):
            psth = np.stack(
                [(s.first_psth, s.late_psth)[position][thread] for s in population.summaries]
            )
            yield Table("Fig5/psth", psth / normalizer, {"block": block, "space": space})
    yield Table("Fig5/masks", population.masks.astype(int))
    yield from _window_tables("Fig5", population, FIGURE_5C_WINDOWS)


def extended_figure4_tables(population: Population) -> Iterator[Table]:
    """Yield the tables of Extended Figure 4: attribution to time bins, responses in all windows."""
    meta = population.meta.join(population.activations)
    yield Table("ExtendedFig4/meta", meta.assign(valid=population.inclusion["valid"]))
    rises = np.stack([summary.psth_rise for summary in population.summaries])
    for bin_ms in ATTRIBUTION_BINS_MS:
        fractions = attributed_fractions(rises, bin_ms)
        for thread, space in enumerate(SPACES):
            yield Table(
                f"ExtendedFig4/attribution_{bin_ms}ms", fractions[:, thread], {"space": space}
            )
    yield from _window_tables("ExtendedFig4", population, EXTENDED_4C_WINDOWS)


def summary_tables(population: Population) -> Iterator[Table]:
    """Yield the tables that no figure reads but that the lab works with."""
    meta = population.meta
    yield Table("Tables/meta_stats", meta.rename_axis(None))
    yield Table("Tables/meta_activation_stats", meta.join(population.activations).reset_index())
    for criterion in ("maxinit", "endinit", "endinitdecrs"):
        yield Table(
            "Tables/success_rate", success_rates(population, criterion), {"criterion": criterion}
        )
    yield Table("Tables/time_constants", population.time_constants.rename_axis(None))
    yield Table("Tables/time_constant_synopsis", time_constant_synopsis(population))


def trial_table(blocks: tuple[Block, ...]) -> pd.DataFrame:
    """Response and baseline of every presentation (Figure 2B).

    Returns
    -------
    pandas.DataFrame
        ``resp`` (50–200 ms) and ``bsl`` (0–45 ms) in events/s, ``gen`` from 1. All blocks count, a
        short last one too.
    """
    trials = Trials.of(blocks)
    return pd.DataFrame(
        {
            "resp": trials.responses(),
            "bsl": trials.responses(BASELINE_MS),
            "gen": trials.block_number,
        }
    )


def psth_offset(psth: NDArray[np.float64]) -> float:
    """Distance between blocks in Figure 2D, events/s: a round number below half the largest peak.

    Parameters
    ----------
    psth : numpy.ndarray
        (n_blocks, 4 slices, 200 ms).
    """
    return float(np.ceil(psth[:, :2].max() / _PEAK_IN_OFFSETS / 10) * 10)


def time_constant_synopsis(population: Population) -> pd.DataFrame:
    """Compare the time constants of successful threads (p < 0.01) between areas and spaces.

    Returns
    -------
    pandas.DataFrame
        For each column of the time constants without its space: mean, SEM and n of each area and
        space; IT against V4 and V1 in DeePSim (unpaired); DeePSim against BigGAN in IT where both
        succeeded (paired).
    """
    constants, masks = population.time_constants, population.masks
    areas = population.meta["visual_area"]

    def values(space: str, suffix: str, area: str, success: str) -> NDArray[np.float64]:
        chosen = masks["valid"] & masks[f"{success}succ001"] & (areas == area)
        return constants.loc[chosen, f"{space}_{suffix}"].to_numpy(dtype=float)

    rows: list[dict[str, object]] = []
    for suffix in (f"{count}{b}" for b in TIME_CONSTANT_BASELINES for count in ("tc0", "tc_cnt")):
        for space in ("FC", "BG"):
            for area in AREAS:
                found = values(space, suffix, area, success=space)
                rows.append({"column": suffix, "group": f"{area} {space}", **_mean_sem(found)})
        for other in ("V4", "V1"):
            first, second = (values("FC", suffix, a, success="FC") for a in ("IT", other))
            t, p = pooled_t_test(first, second)
            group = f"FC IT - {other}, unpaired"
            rows.append(
                {"column": suffix, "group": group, "n": len(first) + len(second), "t": t, "p": p}
            )
        first, second = (values(space, suffix, "IT", success="both") for space in ("FC", "BG"))
        t, p = _paired_t_test(first, second)
        group = "IT FC - BG, paired"
        rows.append({"column": suffix, "group": group, "n": len(first), "t": t, "p": p})
    return pd.DataFrame(rows)


def _window_tables(
    figure: str, population: Population, windows: tuple[Window, ...]
) -> Iterator[Table]:
    normalizer = population.normalizer[:, np.newaxis, np.newaxis]
    for window in windows:
        take = partial(_window_of, window=window)
        slices = population.padded(take) / normalizer
        for thread, space in enumerate(SPACES):
            member = {"window": window, "space": space}
            yield Table(f"{figure}/window_response_mean", slices[..., thread], member)
            yield Table(f"{figure}/window_response_sem", slices[..., 2 + thread], member)


def _window_of(summary: EvolutionSummary, window: Window) -> NDArray[np.float64]:
    return summary.windows[EXTENDED_4C_WINDOWS.index(window)]


def _mean_sem(values: NDArray[np.float64]) -> dict[str, float]:
    if len(values) == 0:
        return {"mean": np.nan, "sem": np.nan, "n": 0}
    sem = float(stats.sem(values)) if len(values) > 1 else np.nan
    return {"mean": float(values.mean()), "sem": sem, "n": len(values)}


def _paired_t_test(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[float, float]:
    if len(first) < 2 or np.ptp(first - second) == 0:
        return np.nan, np.nan
    result = stats.ttest_rel(first, second)
    return float(result.statistic), float(result.pvalue)

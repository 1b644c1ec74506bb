"""The source-data tables of Figures 2, 4, 5 and Extended Figure 4, from recordings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import scipy
from numpy.typing import NDArray

from core.source_tables.reader import Table
from core.source_tables.registry import (
    ATTRIBUTION_BINS_MS,
    EXTENDED_4C_WINDOWS,
    PICKLED_TRIALS,
    PSTH_SLICES,
    TABLES,
)
from core.spaces import BySpace, Space
from core.utils.statistics.t_tests import StudentTest, student
from neuro_data_analysis.evolution.courses import reference_responses, site_table
from neuro_data_analysis.evolution.population import P_LEVELS, Population, success_rates
from neuro_data_analysis.evolution.stats import (
    BASELINE_MS,
    TIME_CONSTANT_BASELINES,
    BlockResponses,
    Trials,
    attributed_fractions,
    block_psths,
    kept_trials,
)
from neuro_data_analysis.neural_data_lib import Block, Experiment, ExperimentInfo
from neuro_data_analysis.neural_data_utils import AREAS

#: The largest mean PSTH of the example takes this many distances between blocks (Figure 2D).
_PEAK_IN_OFFSETS = 2.2

#: Windows whose responses are laid out together: as few as memory, as many as time asks for.
_WINDOWS_AT_ONCE = 3


def figure2_tables(experiment: Experiment) -> Iterator[Table]:
    """Yield the tables of Figure 2: PSTHs of every block, responses of every presentation."""
    yield from example_psth_tables(experiment.info, block_psths(kept_trials(experiment)))
    kinds = {"evol": "blocks", "natref": "references"}
    trials = {
        (space, kind): trial_table(getattr(experiment.thread(space), blocks))
        for kind, blocks in kinds.items()
        for space in Space
    }
    for (space, kind), table in trials.items():
        yield Table("Fig2/example_trials", table, {"space": space, "kind": kind})
    pickled = {PICKLED_TRIALS[which]: table for which, table in trials.items()}
    yield Table("Fig2/example_trials_pickle", pickled)


def example_psth_tables(info: ExperimentInfo, psths: BlockResponses) -> Iterator[Table]:
    """Yield the tables of Figure 2D.

    The four PSTH files hold what their names say; the published ones have two labels swapped.

    Parameters
    ----------
    info : ExperimentInfo
        The example.
    psths : BlockResponses
        Mean and SEM of each block, (200 ms, n_blocks) events/s.
    """
    slices = {name: getattr(psths, kind)[space] for name, (space, kind) in PSTH_SLICES.items()}
    meta = {"Expi": info.expi, "offset": psth_offset(psths.mean), "expstr": info.title}
    note = {"labels": "each file holds what its name says"}
    for name, psth in slices.items():
        yield Table("Fig2/example_psth", psth.T, {"slice": name})
    yield Table("Fig2/example_psth_meta", meta | note)
    together = np.stack(list(slices.values())).transpose(2, 0, 1)
    yield Table("Fig2/example_psth_pickle", meta | {"psth_arr": together})


def figure4_tables(population: Population) -> Iterator[Table]:
    """Yield the tables of Figure 4: success rates, normalised trajectories, time constants."""
    yield Table("Fig4/success_rate", success_rates(population))
    yield Table(
        "Fig4/success_labels",
        {"sucs_criterion_label": f"max > init, P<{P_LEVELS['001']}", "sucs_label": "maxinit"},
    )
    trajectories = [summary.trajectory for summary in population.summaries]
    mean, sem = (_normalised(population, trajectories, kind) for kind in ("mean", "sem"))
    for space in Space:
        yield Table("Fig4/response_mean", mean[space], {"space": space})
        yield Table("Fig4/response_sem", sem[space], {"space": space})
    yield Table("Fig4/masks", population.masks.astype(int))
    yield Table("Fig4/recorded_blocks", population.recorded().astype(int))
    yield Table(
        "Fig4/time_constants", population.meta.join(population.time_constants).reset_index()
    )


def figure5_tables(population: Population) -> Iterator[Table]:
    """Yield the tables of Figure 5: normalised PSTHs of two blocks, responses in 10-ms windows."""
    normalizer, summaries = population.normalizer[:, np.newaxis], population.summaries
    for member in TABLES["Fig5/psth"].members:
        block, space = member["block"], member["space"]
        psths = [summary.psths[space].of_block[block] for summary in summaries]
        yield Table("Fig5/psth", np.stack(psths) / normalizer, member)
    yield Table("Fig5/masks", population.masks.astype(int))
    yield from _window_tables("Fig5/window_response", population)


def extended_figure4_tables(population: Population) -> Iterator[Table]:
    """Yield the tables of Extended Figure 4: attribution to time bins, responses in all windows."""
    meta = population.meta.join(population.activations)
    yield Table("ExtendedFig4/meta", meta.assign(valid=population.inclusion["valid"]))
    rises = {
        space: np.stack([s.psths[space].rise for s in population.summaries])
        for space in Space
    }
    for bin_ms in ATTRIBUTION_BINS_MS:
        for space, rise in rises.items():
            fractions = attributed_fractions(rise, bin_ms)
            yield Table(f"ExtendedFig4/attribution_{bin_ms}ms", fractions, {"space": space})
    yield from _window_tables("ExtendedFig4/window_response", population)


def course_tables(population: Population) -> Iterator[Table]:
    """Yield what the recordings tell beyond the published figures."""
    yield Table("Evolutions/sites", site_table(population))
    for space in Space:
        found = reference_responses(population, space)
        yield Table("Evolutions/reference_responses", found, {"space": space})


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


def psth_offset(psths: BySpace[NDArray[np.float64]]) -> float:
    """Distance between blocks in Figure 2D, events/s: a round number below half the largest peak.

    Parameters
    ----------
    psths : dict of Space to numpy.ndarray
        Mean PSTHs of all blocks, events/s.
    """
    largest = max(psth.max() for psth in psths.values())
    return float(np.ceil(largest / _PEAK_IN_OFFSETS / 10) * 10)


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

    def values(space: Space, column: str, area: str, success: str) -> NDArray[np.float64]:
        chosen = masks["valid"] & masks[f"{success}succ001"] & (areas == area)
        return constants.loc[chosen, f"{space.prefix}_{column}"].to_numpy(dtype=float)

    fc, bg = (space.prefix for space in Space)
    rows: list[dict[str, object]] = []
    for column in (f"{count}{b}" for b in TIME_CONSTANT_BASELINES for count in ("tc0", "tc_cnt")):
        for space in Space:
            for area in AREAS:
                found = values(space, column, area, success=space.prefix)
                group = f"{area} {space.prefix}"
                rows.append({"column": column, "group": group, **_mean_sem(found)})
        for other in ("V4", "V1"):
            samples = [values(Space.DEEPSIM, column, a, success=fc) for a in ("IT", other)]
            group = f"{fc} IT - {other}, unpaired"
            rows.append({"column": column, "group": group, **_tested(student(*samples))})
        pairs = [values(space, column, "IT", success="both") for space in Space]
        group = f"IT {fc} - {bg}, paired"
        rows.append({"column": column, "group": group, **_tested(student(*pairs, paired=True))})
    return pd.DataFrame(rows)


def _window_tables(key: str, population: Population) -> Iterator[Table]:
    """Yield the responses in every window of a family of tables."""
    windows = list(dict.fromkeys(member["window"] for member in TABLES[f"{key}_mean"].members))
    for start in range(0, len(windows), _WINDOWS_AT_ONCE):
        some = windows[start : start + _WINDOWS_AT_ONCE]
        places = [EXTENDED_4C_WINDOWS.index(window) for window in some]
        responses = [summary.windows.at(places) for summary in population.summaries]
        mean, sem = (_normalised(population, responses, kind) for kind in ("mean", "sem"))
        for position, window in enumerate(some):
            for space in Space:
                member = {"window": window, "space": space}
                yield Table(f"{key}_mean", mean[space][..., position], member)
                yield Table(f"{key}_sem", sem[space][..., position], member)


def _normalised(
    population: Population, responses: Sequence[BlockResponses], kind: str
) -> BySpace[NDArray[np.float64]]:
    """Mean or SEM of each experiment, padded, over its normaliser: (n_experiments, n_blocks, …)."""
    normalised = {}
    for space in Space:
        values = population.padded(getattr(found, kind)[space].T for found in responses)
        values.T[...] /= population.normalizer  # in place: they are large
        normalised[space] = values
    return normalised


def _mean_sem(values: NDArray[np.float64]) -> dict[str, float]:
    if len(values) == 0:
        return {"mean": np.nan, "sem": np.nan, "n": 0}
    sem = float(scipy.stats.sem(values)) if len(values) > 1 else np.nan
    return {"mean": float(values.mean()), "sem": sem, "n": len(values)}


def _tested(test: StudentTest) -> dict[str, float]:
    return {"n": test.n, "t": float(test.t), "p": float(test.p)}

"""Many paired evolutions together: collected one by one, masked, counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import scipy
from joblib import Parallel, cpu_count, delayed  # type: ignore[import-untyped]
from numpy.typing import ArrayLike, NDArray

from core.brief import brief
from core.errors import MalformedDataError, MissingDataError
from core.progress import progress
from core.source_tables.registry import META_COLUMNS
from core.spaces import Space
from neuro_data_analysis.evolution.stats import (
    EvolutionSummary,
    pad_blocks,
    summarize,
    time_constants,
)
from neuro_data_analysis.neural_data_lib import Recordings, load_neural_data
from neuro_data_analysis.neural_data_utils import AREAS, inclusion_masks, success_masks

#: Blocks of the longest published session, to which all others are padded.
PADDED_BLOCKS = 56

#: Criteria of success of Figure 4A and its variants: test, and the sign that its t must have.
SUCCESS_CRITERIA = {
    "maxinit": ("maxinit", +1),
    "endinit": ("endinit", +1),
    "endinitdecrs": ("endinit", -1),
}

#: From so many experiments on, reading them in several processes is worth starting these.
MANY_EXPERIMENTS = 100

#: The two significance levels of the paper, and how column names write them.
P_LEVELS = {"005": 0.05, "001": 0.01}


@dataclass(frozen=True)
class Population:
    """The summaries of some experiments, ascending by Expi.

    Attributes
    ----------
    summaries : tuple of EvolutionSummary
        One per experiment that could be summarised.
    left_out : mapping of int to str
        Expi → why an experiment could not be.
    optimizers : pandas.DataFrame or None
        Names of optimisers by Expi, for recordings that do not tell them.
    """

    summaries: tuple[EvolutionSummary, ...]
    left_out: Mapping[int, str]
    optimizers: pd.DataFrame | None = None

    __repr__ = brief

    @cached_property
    def n_blocks(self) -> int:
        """Length to which sessions are padded: 56 blocks, or the longest session if it has more."""
        return max(PADDED_BLOCKS, *(summary.n_blocks for summary in self.summaries))

    @cached_property
    def normalizer(self) -> NDArray[np.float64]:
        """(n_experiments,) largest block-mean response of both threads, events/s."""
        return np.array([summary.normalizer for summary in self.summaries])

    @cached_property
    def meta(self) -> pd.DataFrame:
        """What each experiment was, and its Student tests; index Expi, columns `META_COLUMNS`."""
        rows = {summary.info.expi: _meta_row(summary) for summary in self.summaries}
        meta = pd.DataFrame.from_dict(rows, orient="index", columns=list(META_COLUMNS))
        if self.optimizers is not None:
            meta = meta.fillna(self.optimizers)
        return meta.rename_axis("Expi")

    @cached_property
    def inclusion(self) -> pd.DataFrame:
        """Which experiments count, see `inclusion_masks`."""
        return inclusion_masks(self.meta)

    @cached_property
    def masks(self) -> pd.DataFrame:
        """Inclusion, success at both levels and area of each experiment, all boolean."""
        columns = {"valid": self.inclusion["valid"]}
        for level, p_below in P_LEVELS.items():
            success = success_masks(self.meta, p_below)
            columns |= {f"{name}{level}": success[name] for name in success}
        for area in AREAS:
            columns[f"{area}msk"] = self.meta["visual_area"] == area
        return pd.DataFrame(columns)

    @cached_property
    def activations(self) -> pd.DataFrame:
        """Responses of single blocks by Expi, see `block_activations`."""
        return self._by_expi(lambda summary: summary.activations)

    @cached_property
    def time_constants(self) -> pd.DataFrame:
        """Time constants by Expi, see `evolution_stats.time_constants`."""
        return self._by_expi(lambda summary: time_constants(summary.trajectory))

    def padded(self, values: Iterable[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Stack one array over blocks per experiment, padded: (n_experiments, n_blocks, …)."""
        return np.stack([pad_blocks(of_one, self.n_blocks) for of_one in values])

    def recorded(self) -> NDArray[np.bool_]:
        """Tell recorded blocks (True) from padding: (n_experiments, n_blocks)."""
        lengths = np.array([summary.n_blocks for summary in self.summaries])
        return np.arange(self.n_blocks) < lengths[:, np.newaxis]

    def _by_expi(self, take: Callable[[EvolutionSummary], Mapping[str, float]]) -> pd.DataFrame:
        rows = {summary.info.expi: take(summary) for summary in self.summaries}
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("Expi")


def collect(
    recordings: Recordings,
    optimizers: pd.DataFrame | None = None,
    workers: int | None = None,
    show_progress: bool = False,
) -> Population:
    """Summarise every experiment of a recording file, one in the memory of a process at a time.

    Parameters
    ----------
    recordings : Recordings
        An open recording file.
    optimizers : pandas.DataFrame, optional
        ``optim_names1`` and ``optim_names2`` by Expi, for recordings that do not tell them.
    workers : int, optional
        Processes that read a MATLAB file; default one per CPU where there are many experiments.
    show_progress : bool, default False
        Whether to say how far it is.

    Returns
    -------
    Population
        Experiments that cannot be read or summarised are left out, with the reason. The number of
        workers changes nothing in it.

    Raises
    ------
    MissingDataError
        If no experiment is left.
    """
    outcomes: Iterable[EvolutionSummary | str] = _outcomes(recordings, workers)
    if show_progress:
        outcomes = progress(outcomes, "reading experiments", "experiments", len(recordings))
    by_expi = dict(zip(recordings, outcomes, strict=True))
    left_out = {expi: outcome for expi, outcome in by_expi.items() if isinstance(outcome, str)}
    summaries = tuple(one for one in by_expi.values() if isinstance(one, EvolutionSummary))
    if not summaries:
        reasons = "; ".join(left_out.values()) or "all elements are empty"
        raise MissingDataError(f"{recordings.path} holds no usable experiment: {reasons}.")
    return Population(summaries, left_out, optimizers)


def _outcomes(recordings: Recordings, workers: int | None) -> Iterator[EvolutionSummary | str]:
    """Yield the summary of each experiment, or why there is none; in order."""
    if recordings.on_disk and workers is None:
        workers = cpu_count() if len(recordings) >= MANY_EXPERIMENTS else 1
    if not recordings.on_disk or workers == 1:
        yield from (_outcome(recordings, expi) for expi in recordings)
        return
    tasks = (delayed(_outcome_of_file)(recordings.path, expi) for expi in recordings)
    yield from Parallel(n_jobs=workers, return_as="generator")(tasks)


def _outcome(recordings: Recordings, expi: int) -> EvolutionSummary | str:
    try:
        return summarize(recordings[expi])
    except MalformedDataError as error:
        return str(error)


def _outcome_of_file(path: Path, expi: int) -> EvolutionSummary | str:
    return _outcome(_opened(path), expi)


@lru_cache(maxsize=1)
def _opened(path: Path) -> Recordings:
    """Open a file once in each process that reads it."""
    return load_neural_data(path)


def success_rates(population: Population, criterion: str = "maxinit") -> pd.DataFrame:
    """Count the threads that climbed, per area (Figure 4A).

    Success asks for p < 0.01 and for the sign of t, unlike the masks. Only valid experiments count.

    Parameters
    ----------
    population : Population
        The experiments.
    criterion : {"maxinit", "endinit", "endinitdecrs"}
        Best against first two blocks, last against first two, or last below first two.

    Returns
    -------
    pandas.DataFrame
        Rows V1, V4, IT: ``label``, ``FC_suc``, ``BG_suc``, ``total``, rates, 90 % intervals.
    """
    test, sign = SUCCESS_CRITERIA[criterion]
    meta = population.meta[population.inclusion["valid"]]
    successes = {
        space: (meta[f"p_{test}_{space.thread}"] < P_LEVELS["001"])
        & (sign * meta[f"t_{test}_{space.thread}"] > 0)
        for space in Space
    }
    areas = meta["visual_area"]
    counts = {
        space: [int((success & (areas == area)).sum()) for area in AREAS]
        for space, success in successes.items()
    }
    return success_rate_table(counts, [int((areas == area).sum()) for area in AREAS])


def success_rate_table(
    successes: Mapping[Space, ArrayLike], totals: ArrayLike
) -> pd.DataFrame:
    """Lay out counts of success in V1, V4 and IT with their rates and intervals.

    Parameters
    ----------
    successes : mapping of Space to array_like of int
        (3,) threads that climbed in V1, V4, IT.
    totals : array_like of int
        (3,) experiments in V1, V4, IT.

    Returns
    -------
    pandas.DataFrame
        As `success_rates`; rates are NaN in an area without experiments.
    """
    total = np.asarray(totals)
    counts = {space.prefix: np.asarray(successes[space]) for space in Space}
    with np.errstate(invalid="ignore"):
        rates = {f"{prefix}_rate": count / total for prefix, count in counts.items()}
    intervals = {
        f"{prefix}_CI_{bound + 1}": credible_interval(count, total)[bound]
        for prefix, count in counts.items()
        for bound in (0, 1)
    }
    count_columns = {f"{prefix}_suc": count for prefix, count in counts.items()}
    table = {"label": list(AREAS), **count_columns, "total": total}
    return pd.DataFrame(table | rates | intervals)


def credible_interval(
    successes: ArrayLike, totals: ArrayLike, coverage: float = 0.9
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Central credible interval of a rate under a uniform prior (Methods, success rates).

    The posterior of k successes in n is Beta(k + 1, n − k + 1).

    Parameters
    ----------
    successes, totals : array_like of int
        k and n.
    coverage : float, default 0.9
        Posterior probability between the bounds.

    Returns
    -------
    low, high : numpy.ndarray
        The (1 ∓ coverage)/2 quantiles.
    """
    k, n = np.asarray(successes), np.asarray(totals)
    tail = (1 - coverage) / 2
    low, high = (scipy.special.betaincinv(k + 1, n - k + 1, p) for p in (tail, 1 - tail))
    return np.asarray(low), np.asarray(high)


def _meta_row(summary: EvolutionSummary) -> dict[str, object]:
    info = summary.info
    return {
        "Animal": info.session.animal,
        "expdate": info.session.date.isoformat(),
        "ephysFN": info.ephys_name,
        "prefchan": info.pref_channel,
        "prefunit": info.pref_unit,
        "visual_area": info.area,
        "space1": info.spaces[0],
        "space2": info.spaces[1],
        "optim_names1": info.optimizers[0],
        "optim_names2": info.optimizers[1],
        "blockN": summary.n_blocks,
        **summary.tests,
    }

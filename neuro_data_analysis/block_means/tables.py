"""The source-data tables that block means allow, and what their note of origin must say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
from numpy.typing import ArrayLike

from core.errors import MissingDataError
from core.source_tables.block_means import COMMIT, REPOSITORY
from core.source_tables.provenance import Provenance
from core.source_tables.reader import Table
from core.source_tables.registry import EXAMPLE_EXPI
from core.spaces import Space
from core.versions import PROJECT, software_versions
from neuro_data_analysis.block_means.evolutions import DecodedEvolution, decode_evolutions
from neuro_data_analysis.block_means.published import read_block_means
from neuro_data_analysis.block_means.summaries import (
    block_means_population,
    describe_intervals,
    success_intervals,
)
from neuro_data_analysis.evolution.population import Population
from neuro_data_analysis.evolution.stats import BASELINE_MS, BlockResponses
from neuro_data_analysis.evolution.tables import (
    course_tables,
    example_psth_tables,
    extended_figure4_tables,
    figure4_tables,
    figure5_tables,
    summary_tables,
)

#: Tables that need single trials; no figure draws the SEMs of windows.
_NEED_TRIALS = ("window_response_sem", "example_trials", "example_trials_pickle")

#: What the note of origin says of each folder.
_LIMITS: dict[str, dict[str, str]] = {
    "Fig2": {
        "exact": "mean PSTHs, decoded to whole spikes; their SEMs to .01 events/s",
        "approximate": "SEMs of block responses, to .005 events/s",
        "not made": "single presentations, SEMs of baselines, baselines of reference pictures",
    },
    "Fig4": {
        "exact": "counts of success, masks, mean responses, time constants",
        "approximate": "SEMs of block responses, to .005 events/s; t and p that follow from them",
        "not made": "names of optimisers",
    },
    "Fig5": {
        "exact": "mean PSTHs, masks, mean responses of all windows",
        "not made": "SEMs of windows, which need single trials",
    },
    "ExtendedFig4": {
        "exact": "shares of the rise, mean responses of all windows and blocks, numbers of blocks",
        "approximate": "t, p, std and SEM of block responses, from SEMs known to .005 events/s",
        "not made": "SEMs of windows, names of optimisers; endrsp_0 of the 25 experiments whose "
        "DeePSim thread had one more block than BigGAN's is of the block before",
    },
    "Evolutions": {
        "exact": "all: only means are used",
    },
    "Tables": {
        "exact": "counts, means, time constants",
        "approximate": "t, p, std and SEM, from SEMs known to .005 events/s",
        "not made": "names of optimisers",
    },
}


@dataclass(frozen=True)
class BlockMeans:
    """All evolutions as their block means tell them.

    Attributes
    ----------
    evolutions : tuple of DecodedEvolution
        Ascending by Expi.
    """

    evolutions: tuple[DecodedEvolution, ...]

    @classmethod
    def read(
        cls,
        path: str | Path,
        cache: Path | None = None,
        progress: Callable[[Iterable[int]], Iterable[int]] = iter,
    ) -> BlockMeans:
        """Read and decode the published block means, see `read_block_means`, `decode_evolutions`.

        Parameters
        ----------
        path : path-like
            Archive, unpacked folder or clone.
        cache : pathlib.Path, optional
            Keeps what was decoded.
        progress : callable, optional
            Wraps the iteration over experiments, such as ``tqdm``.
        """
        published = read_block_means(path, progress=progress)
        return cls(decode_evolutions(published, cache))

    def __getitem__(self, expi: int) -> DecodedEvolution:
        """Return one experiment; `MissingDataError` if it is not there."""
        for evolution in self.evolutions:
            if evolution.info.expi == expi:
                return evolution
        raise MissingDataError(f"there is no experiment {expi} among the block means.")

    @cached_property
    def population(self) -> Population:
        """Their summaries."""
        return block_means_population(self.evolutions)

    def tables(self, figure: str) -> Iterator[Table]:
        """Yield the tables of a folder of the source data that need no single trials."""
        makers: dict[str, Callable[[], Iterator[Table]]] = {
            "Fig2": lambda: figure2_tables(self[EXAMPLE_EXPI]),
            "Fig4": lambda: figure4_tables(self.population),
            "Fig5": lambda: figure5_tables(self.population),
            "ExtendedFig4": lambda: extended_figure4_tables(self.population),
            "Evolutions": lambda: course_tables(self.population),
            "Tables": lambda: summary_tables(self.population),
        }
        if figure not in makers:
            raise MissingDataError(
                f"block means make no table of {figure}, only of {', '.join(makers)}."
            )
        yield from (
            table
            for table in makers[figure]()
            if table.key.partition("/")[2] not in _NEED_TRIALS
        )

    def provenance(self, figure: str) -> Provenance:
        """Return the origin of the tables of a folder: what is exact, what not, what is missing."""
        return Provenance("block means", {**self._origin, **_LIMITS[figure]})

    @cached_property
    def _origin(self) -> Mapping[str, str]:
        threads = [t for evolution in self.evolutions for t in evolution.threads]
        certain = sum(int(t.certain.sum()) for t in threads)
        n_blocks = sum(len(t.n_images) for t in threads)
        return {
            **block_means_origin(),
            "numbers of images": f"decoded: certain in {certain} of {n_blocks} blocks, likely in "
            f"{n_blocks - certain} that hold no spike",
            **describe_intervals(success_intervals(self.evolutions)),
        }


def block_means_origin() -> Mapping[str, str]:
    """Say where the block means come from, and what reads them."""
    return {
        "from": f"{REPOSITORY.rpartition('/')[2]} {COMMIT[:8]}",
        "address": f"https://{REPOSITORY}/tree/{COMMIT}",
        "software": f"{PROJECT} {software_versions()[PROJECT]}",
    }


def figure2_tables(evolution: DecodedEvolution) -> Iterator[Table]:
    """Yield the tables of Figure 2 that need no single presentation."""
    threads = {space: evolution.thread(space) for space in Space}
    psths = BlockResponses(
        mean={space: thread.psth.T for space, thread in threads.items()},
        sem={space: thread.published.psth_sem.T for space, thread in threads.items()},
    )
    yield from example_psth_tables(evolution.info, psths)
    yield Table("Fig2/example_block_means", block_table(evolution))


def block_table(evolution: DecodedEvolution) -> pd.DataFrame:
    """Responses of every block (Figure 2B without trials).

    Returns
    -------
    pandas.DataFrame
        ``gen`` from 1; for each space mean and SEM of the responses to evolved images (``evol``)
        and to reference pictures (``natref``), and the mean baseline (``bsl``), events/s.
    """
    columns: dict[str, ArrayLike] = {"gen": range(1, evolution.n_blocks + 1)}
    for space in Space:
        thread = evolution.thread(space)
        references = thread.published.references
        columns |= {
            f"{space}_evol_mean": thread.response,
            f"{space}_evol_sem": thread.response_sem(),
            f"{space}_bsl_mean": thread.window_means(*BASELINE_MS),
            f"{space}_natref_mean": references.mean,
            f"{space}_natref_sem": references.sem,
        }
    return pd.DataFrame(columns)

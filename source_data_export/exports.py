"""What is exported for each figure, and how an export runs.

Every export turns what a MATROOT holds into tables of the registry; `run` writes them, figure by
figure, and says what had to be left out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import pandas as pd
from tqdm import tqdm

from core.errors import MissingDataError, UserError
from core.files import sha256_of
from core.provenance import Provenance
from core.source_data import Table, write_tables
from core.table_registry import EXAMPLE_EXPI, FIGURES
from core.versions import PROJECT, software_versions
from neuro_data_analysis.evolution_population import Population, collect
from neuro_data_analysis.evolution_tables import (
    extended_figure4_tables,
    figure2_tables,
    figure4_tables,
    figure5_tables,
    summary_tables,
)
from neuro_data_analysis.neural_data_lib import Recordings, load_neural_data

logger = logging.getLogger(__name__)

Item = TypeVar("Item")

#: Optimiser names by Expi, beside the recordings, for recordings that do not tell them.
OPTIMIZER_FILE = "meta_optimizer_info.csv"


class MatRoot:
    """The recordings that an export starts from, opened and summarised when first asked for.

    Parameters
    ----------
    folder : path-like
        MATROOT, or one recording file of it.

    Raises
    ------
    MissingDataError
        If there is no such folder or file.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder)
        if not self.path.exists():
            raise MissingDataError(
                f"there is no folder {self.path}; give the one that holds the recordings."
            )
        self.folder = self.path.parent if self.path.is_file() else self.path

    @cached_property
    def recordings(self) -> Recordings:
        """The paired evolutions."""
        return load_neural_data(self.path)

    @cached_property
    def population(self) -> Population:
        """Summaries of all paired evolutions, from one pass over the recordings."""
        optimizers = self.folder / OPTIMIZER_FILE
        known = (
            pd.read_csv(optimizers, index_col="Expi")[["optim_names1", "optim_names2"]]
            if optimizers.is_file()
            else None
        )
        return collect(self.recordings, known, _progress("reading experiments"))

    @cached_property
    def provenance(self) -> Provenance:
        """The origin of tables made from the paired evolutions."""
        left_out = {f"experiment {e}": why for e, why in self.population.left_out.items()}
        return Provenance(
            "simulated" if self.recordings.simulated else "recordings",
            {
                "recording": self.recordings.path.name,
                "sha256": sha256_of(self.recordings.path),
                "software": f"{PROJECT} {software_versions()[PROJECT]}",
                **{f"left out: {what}": why for what, why in left_out.items()},
            },
        )


@dataclass(frozen=True)
class Export:
    """How the tables of one folder are made.

    Attributes
    ----------
    tables : callable
        MATROOT → tables.
    provenance : callable
        MATROOT → their origin.
    """

    tables: Callable[[MatRoot], Iterable[Table]]
    provenance: Callable[[MatRoot], Provenance]


def _figure2(matroot: MatRoot) -> Iterator[Table]:
    if EXAMPLE_EXPI not in matroot.recordings:
        raise MissingDataError(
            f"{matroot.recordings.path} lacks experiment {EXAMPLE_EXPI}, the example of Figure 2."
        )
    return figure2_tables(matroot.recordings[EXAMPLE_EXPI])


def _from_evolutions(tables: Callable[[Population], Iterable[Table]]) -> Export:
    return Export(lambda matroot: tables(matroot.population), lambda matroot: matroot.provenance)


#: By folder of the source data.
EXPORTS: dict[str, Export] = {
    "Fig2": Export(_figure2, lambda matroot: matroot.provenance),
    "Fig4": _from_evolutions(figure4_tables),
    "Fig5": _from_evolutions(figure5_tables),
    "ExtendedFig4": _from_evolutions(extended_figure4_tables),
    "Tables": _from_evolutions(summary_tables),
}


@dataclass
class Report:
    """What an export did.

    Attributes
    ----------
    written : dict of str to list of pathlib.Path
        Figure → files.
    left_out : dict of str to UserError
        Figure → why it could not be exported.
    experiments_left_out : mapping of int to str
        Expi → why an experiment is in no table.
    """

    written: dict[str, list[Path]] = field(default_factory=dict)
    left_out: dict[str, UserError] = field(default_factory=dict)
    experiments_left_out: Mapping[int, str] = field(default_factory=dict)


def run(
    matroot: str | Path,
    output: str | Path,
    figures: Iterable[str] = FIGURES,
    force: bool = False,
) -> Report:
    """Export the source data of some figures; one that cannot be exported does not stop the rest.

    Parameters
    ----------
    matroot : path-like
        Folder of the recordings.
    output : path-like
        Folder of the source data; ``Fig2``, ``Fig4``, … are made in it.
    figures : iterable of str
        Folders to export, of `EXPORTS`; all by default.
    force : bool, default False
        Whether tables of another origin may be replaced.

    Returns
    -------
    Report

    Raises
    ------
    MissingDataError
        If there is no MATROOT.
    CannotWriteError
        If the output cannot be written.
    """
    source, report = MatRoot(matroot), Report()
    for figure in (name for name in figures if name in EXPORTS):
        export = EXPORTS[figure]
        logger.info("exporting %s", figure)
        try:
            tables = tqdm(export.tables(source), desc=figure, unit="table", disable=None)
            provenance = export.provenance(source)
            report.written[figure] = write_tables(output, figure, tables, provenance, force)
        except MissingDataError as error:
            report.left_out[figure] = error
    if "population" in vars(source):
        report.experiments_left_out = source.population.left_out
    return report


def _progress(what: str) -> Callable[[Iterable[Item]], Iterable[Item]]:
    """Return a wrapper that shows a bar where someone is watching."""
    return lambda items: tqdm(items, desc=what, unit="exp", disable=None)

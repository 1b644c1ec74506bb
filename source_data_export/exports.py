"""What is exported for each figure, and how an export runs.

Every export turns what a MATROOT holds into tables of the registry; `run` writes them, figure by
figure, and says what had to be left out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
from joblib import Parallel, cpu_count, delayed  # type: ignore[import-untyped]

from core.command_line import require_writable
from core.errors import MalformedDataError, MissingDataError, UserError
from core.files import sha256_of
from core.insilico.extended_figure5_tables import (
    export_extended_figure5,
    extended_figure5_provenance,
)
from core.progress import progress
from core.published import EXAMPLE_EXPI
from core.source_tables.provenance import Provenance, shown_as
from core.source_tables.reader import Table, write_tables
from core.spaces import Space
from core.versions import PROJECT, software_versions
from neuro_data_analysis.evolution.population import MANY_EXPERIMENTS, Population, collect
from neuro_data_analysis.evolution.tables import (
    course_tables,
    extended_figure4_tables,
    figure2_tables,
    figure4_tables,
    figure5_tables,
    summary_tables,
)
from neuro_data_analysis.neural_data_lib import OPTIMIZER_FILE, Recordings, load_neural_data
from neuro_data_analysis.similarity.tables import (
    DEMONSTRATION_FEATURES,
    FeatureSettings,
    export_figure3,
    figure3_provenance,
)
from neuro_data_analysis.simulation.packaged_similarities import packaged_similarities
from neuro_data_analysis.tuning.tables import (
    Success,
    TuningPopulation,
    collect_sites,
    figure6_tables,
)

logger = logging.getLogger(__name__)

#: Folder of the prototype montages, beside the recordings.
PROTOTYPE_FOLDER = "prototypes"

#: Tables that are held in memory while processes write them.
_TABLES_AT_ONCE = 12

_SOFTWARE = f"{PROJECT} {software_versions()[PROJECT]}"


@dataclass(frozen=True)
class Options:
    """What an export may be told beyond where the recordings are.

    Attributes
    ----------
    prototypes : pathlib.Path or None
        Folder of the prototype montages of Figure 3; by default ``prototypes`` in MATROOT.
    features : FeatureSettings or None
        Networks and weights that compare them. By default published weights, or those of the
        demonstration where the recordings are simulated.
    success : {"published", "computed"}
        Where the success flags of Figure 6 come from.
    results : tuple of pathlib.Path
        Output folders of in-silico runs for Extended Figure 5; what they lack comes from this
        package.
    """

    prototypes: Path | None = None
    features: FeatureSettings | None = None
    success: Success = "published"
    results: tuple[Path, ...] = ()


class MatRoot:
    """The recordings that an export starts from, opened and summarised when first asked for.

    Parameters
    ----------
    folder : path-like
        MATROOT, or one recording file of it.
    options : Options, optional
        What else the export was told.

    Raises
    ------
    MissingDataError
        If there is no such folder or file.
    """

    def __init__(self, folder: str | Path, options: Options | None = None) -> None:
        self.options = options or Options()
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
        optimizers = _optimizers(self.folder / OPTIMIZER_FILE)
        return collect(self.recordings, optimizers, show_progress=True)

    @property
    def is_large(self) -> bool:
        """Whether the paired evolutions were summarised by processes, which may write as well."""
        return "population" in vars(self) and len(self.recordings) >= MANY_EXPERIMENTS

    @property
    def prototypes(self) -> Path:
        """Folder of the prototype montages."""
        return self.options.prototypes or self.folder / PROTOTYPE_FOLDER

    @property
    def features(self) -> FeatureSettings:
        """Networks and weights that compare the prototypes."""
        default = DEMONSTRATION_FEATURES if self.recordings.simulated else FeatureSettings()
        return self.options.features or default

    @cached_property
    def tuning(self) -> TuningPopulation:
        """The sites of all tuning sessions."""
        return collect_sites(self.folder, self.options.success, show_progress=True)

    @property
    def provenance(self) -> Provenance:
        """The origin of tables made from all paired evolutions."""
        left_out = _left_out("experiment", self.population.left_out)
        origin = self.recording_provenance
        return replace(origin, details={**origin.details, **left_out})

    @cached_property
    def recording_provenance(self) -> Provenance:
        """The origin of tables made from the recording file, whatever else it holds."""
        recordings = self.recordings
        kinds = {"simulated": recordings.simulated, "in_silico": recordings.in_silico}
        note = {"note": recordings.note} if recordings.note else {}
        names = zip(Space, recordings.shown_as, strict=False)
        note |= {shown_as(space): name for space, name in names}
        return Provenance(
            next((kind for kind, is_so in kinds.items() if is_so), "recordings"),
            {
                "recording": recordings.path.name,
                "sha256": sha256_of(recordings.path),
                "software": _SOFTWARE,
                **note,
            },
        )

    @property
    def tuning_provenance(self) -> Provenance:
        """The origin of tables made from the tuning sessions."""
        return Provenance(
            "simulated" if self.tuning.simulated else "recordings",
            {
                "sessions": f"{len(self.tuning.sites)} tuning sessions",
                "software": _SOFTWARE,
                **_left_out("session", self.tuning.left_out),
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


def _figure3(matroot: MatRoot) -> Iterator[Table]:
    shown = partial(progress, what="comparing prototypes", unit="experiments")
    similarities = packaged_similarities if _lacks_torch() else None
    return export_figure3(
        matroot.population, matroot.prototypes, matroot.features, shown, similarities
    )


def _lacks_torch() -> bool:
    """Whether features cannot be computed, so that only the packaged ones are left."""
    return find_spec("torch") is None


def _from_evolutions(tables: Callable[[Population], Iterable[Table]]) -> Export:
    return Export(lambda matroot: tables(matroot.population), lambda matroot: matroot.provenance)


#: By folder of the source data.
EXPORTS: dict[str, Export] = {
    "Fig2": Export(_figure2, lambda matroot: matroot.recording_provenance),
    "Fig3": Export(
        _figure3,
        lambda matroot: figure3_provenance(matroot.provenance, matroot.features, _lacks_torch()),
    ),
    "Fig4": _from_evolutions(figure4_tables),
    "Fig5": _from_evolutions(figure5_tables),
    "Fig6": Export(
        lambda matroot: figure6_tables(matroot.tuning, show_progress=True),
        lambda matroot: matroot.tuning_provenance,
    ),
    "ExtendedFig4": _from_evolutions(extended_figure4_tables),
    "ExtendedFig5": Export(
        lambda matroot: export_extended_figure5(matroot.options.results),
        lambda matroot: extended_figure5_provenance(matroot.options.results),
    ),
    "Evolutions": _from_evolutions(course_tables),
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
    figures: Iterable[str] | None = None,
    force: bool = False,
    options: Options | None = None,
) -> Report:
    """Export the source data of some figures; one that cannot be exported does not stop the rest.

    Parameters
    ----------
    matroot : path-like
        Folder of the recordings.
    output : path-like
        Folder of the source data; ``Fig2``, ``Fig4``, … are made in it.
    figures : iterable of str, optional
        Folders to export, of `EXPORTS`; all by default.
    force : bool, default False
        Whether tables of another origin may be replaced.
    options : Options, optional
        What else there is to tell.

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
    source, report = MatRoot(matroot, options), Report()
    require_writable(output)
    for figure in EXPORTS if figures is None else figures:
        export = EXPORTS[figure]
        logger.info("exporting %s", figure)
        try:
            tables = progress(export.tables(source), figure, "tables")
            provenance = export.provenance(source)
            each = _in_processes if source.is_large else map
            report.written[figure] = write_tables(output, figure, tables, provenance, force, each)
        except MissingDataError as error:
            report.left_out[figure] = error
    if "population" in vars(source):
        report.experiments_left_out = source.population.left_out
    return report


def _in_processes(write: Callable[[Table], Path], tables: Iterable[Table]) -> Iterator[Path]:
    """Share some tables after the other out between the processes that have read the recordings.

    Tables are made while none is being written: those of Figure 6 wait for the same processes.
    """
    left = iter(tables)
    while some := list(islice(left, _TABLES_AT_ONCE)):
        yield from Parallel(n_jobs=cpu_count())(delayed(write)(table) for table in some)


def _optimizers(path: Path) -> pd.DataFrame | None:
    if not path.is_file():
        return None
    try:
        return pd.read_csv(path, index_col="Expi")[["optim_names1", "optim_names2"]]
    except OSError as error:
        raise MissingDataError(
            f"{path} cannot be read ({error.strerror or error}); change its permissions, or move "
            "it away."
        ) from error
    except Exception as error:  # pandas raises many kinds for a damaged table
        raise MalformedDataError(
            f"{path} is not a table of Expi, optim_names1 and optim_names2 ({error}); correct it, "
            "or move it away."
        ) from error


def _left_out(what: str, reasons: Mapping[Any, str]) -> dict[str, str]:
    return {f"left out: {what} {which}": reason for which, reason in reasons.items()}

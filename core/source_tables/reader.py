"""The contract between what writes source data and what reads it.

Every table of every figure has one `TableSpec` in the registry: its file name, what it holds, its
units and its layout. `SourceData` reads and `write_table` writes by these specs, and nothing else
touches a file, so that a download of the published files and an export of our own are
interchangeable.

``python -m core.source_data check [FOLDER]`` says which tables are there.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from core.errors import CannotWriteError, MalformedDataError, MissingDataError
from core.files import UNFINISHED_SUFFIX, atomic_write, move_into, sha256_of
from core.source_tables.provenance import (
    PROVENANCE_FILE,
    Provenance,
    read_provenance,
    write_provenance,
)
from core.source_tables.registry import FIGURES, SLICES, TABLES, TableSpec, spec_of

#: Where a user's source data lie: one folder per figure.
DEFAULT_FOLDER = Path(__file__).resolve().parents[2] / "source_data"

#: Where the simulated source data are built; never among the user's.
SIMULATED_FOLDER = DEFAULT_FOLDER / "simulated"


#: Lies in a folder while its tables are being replaced.
HALF_REPLACED_FILE = f".tables{UNFINISHED_SUFFIX}"


@dataclass(frozen=True)
class Table:
    """One table to write: its key in the registry, its content, and which member it is."""

    key: str
    value: Any
    member: Mapping[str, Any] = field(default_factory=dict)


class SourceData:
    """A folder of source data, read table by table.

    Tables that share a length (the experiments of a figure, the blocks of a session) are compared
    as they are read, and every file read is remembered for the figure's list of inputs.

    Parameters
    ----------
    folder : path-like
        Holds ``Fig2``, ``Fig4``, ….
    form : {"csv", "pkl"}, default "csv"
        Which twin to read where the published set has a table in both forms; figures ask.

    Raises
    ------
    MissingDataError
        If there is no such folder.
    """

    def __init__(self, folder: str | Path, form: str = "csv") -> None:
        self.folder = Path(folder)
        self.form = form
        if not self.folder.is_dir():
            raise MissingDataError(
                f"there is no source-data folder {self.folder}. Download the source data into it "
                "(OSF project pre96), or run `make figures` for simulated data."
            )
        self.inputs: dict[Path, str] = {}
        self._lengths: dict[tuple[str, str], tuple[int, Path]] = {}

    def read(self, key: str, **member: Any) -> Any:
        """Read one table.

        Parameters
        ----------
        key : str
            Key of the table, such as ``"Fig4/masks"``.
        **member
            Which member of a family, such as ``slice="BigGAN_mean"``.

        Returns
        -------
        numpy.ndarray, pandas.DataFrame or dict
            As the layout of the table says.

        Raises
        ------
        MissingDataError
            If the file does not exist.
        MalformedDataError
            If it does not hold what the spec promises, or disagrees in length with a table read
            before.
        """
        spec = spec_of(key)
        path = spec.find(self.folder, member)
        if not path.is_file():
            raise MissingDataError(
                f"{path} is missing ({spec.meaning}). Put the source data of {spec.figure} there, "
                "or see `python -m core.source_data check`."
            )
        if (path.parent / HALF_REPLACED_FILE).exists():
            raise MalformedDataError(
                f"{path.parent} holds tables of two exports: one was interrupted while it replaced "
                "the other. Export again, or remove the folder."
            )
        try:
            value = spec.layout.read(path)
            spec.layout.check(value, partial(self._bind, spec.figure, path))
        except MalformedDataError as error:
            told = str(error)
            raise MalformedDataError(told if str(path) in told else f"{path}: {told}.") from error
        self.inputs[path] = sha256_of(path)
        return value

    def read_slices(self, key: str, **member: Any) -> NDArray[np.float64]:
        """Read the four slices of a response or PSTH, stacked along a last axis (`SLICES`)."""
        return np.stack([self.read(key, slice=name, **member) for name in SLICES], axis=-1)

    def provenance(self, figure: str) -> Provenance:
        """Return where the tables of a figure that were read come from; all, if none was read."""
        folder = self.folder / figure
        read = [path.name for path in self.inputs if path.parent == folder]
        return read_provenance(folder).of(read)

    def _bind(self, figure: str, path: Path, name: str, length: int) -> None:
        known, where = self._lengths.setdefault((figure, name), (length, path))
        if length != known:
            raise MalformedDataError(
                f"it has {length} {name}, but {where.name} has {known}; both must come from one "
                "export"
            )


def write_table(folder: str | Path, key: str, value: Any, **member: Any) -> Path:
    """Write one table of a source-data folder.

    Parameters
    ----------
    folder : path-like
        Holds ``Fig2``, ``Fig4``, …; made if need be.
    key, **member
        Which table, see `SourceData.read`.
    value : array, table or dictionary
        What the spec promises; checked before anything is written.

    Returns
    -------
    pathlib.Path
        The file, complete; an earlier one is replaced only at the end.

    Raises
    ------
    MalformedDataError
        If the value does not fit the spec.
    CannotWriteError
        If the file cannot be written.
    """
    spec = spec_of(key)
    path = spec.path(Path(folder), member)
    try:
        spec.layout.check(value, lambda name, length: None)
    except MalformedDataError as error:
        raise MalformedDataError(f"{path} is not written: {error}.") from error
    spec.layout.write(path, value)
    return path


def write_tables(
    folder: str | Path,
    figure: str,
    tables: Iterable[Table],
    provenance: Provenance,
    force: bool = False,
) -> list[Path]:
    """Write all tables of a figure; what was there before is replaced when the last one is done.

    Simulated tables never mix with others, and tables of another origin are replaced only when
    `force` says so.

    Parameters
    ----------
    folder : path-like
        Holds ``Fig2``, ``Fig4``, …; made if need be.
    figure : str
        ``"Fig4"``.
    tables : iterable of Table
        Tables of that figure.
    provenance : Provenance
        Their origin.
    force : bool, default False
        Whether tables of another origin may be replaced.

    Returns
    -------
    list of pathlib.Path
        The files, in the order of the tables.

    Raises
    ------
    CannotWriteError
        If the folder holds tables of another origin, or cannot be written.
    MalformedDataError
        If a table does not fit its spec; then nothing has changed.
    """
    folder = Path(folder)
    _refuse_other_origin(folder / figure, provenance, force)
    staging = folder / f".{figure}{UNFINISHED_SUFFIX}"
    shutil.rmtree(staging, ignore_errors=True)  # of a run that was killed
    try:
        written = [write_table(staging, table.key, table.value, **table.member) for table in tables]
        write_provenance(staging / figure, provenance)
        return _replace(folder / figure, [*written, staging / figure / PROVENANCE_FILE])[:-1]
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _replace(target: Path, paths: list[Path]) -> list[Path]:
    """Move a complete set of tables into its place; while that goes on, a mark keeps readers off.

    A process that is killed in between leaves tables of two exports side by side, and the mark.
    """
    with atomic_write(target / HALF_REPLACED_FILE):
        pass
    moved = move_into(target, paths)
    (target / HALF_REPLACED_FILE).unlink()
    return moved


def _refuse_other_origin(target: Path, provenance: Provenance, force: bool) -> None:
    if not target.is_dir() or all(path.name.startswith(".") for path in target.iterdir()):
        return
    there = read_provenance(target)
    simulated = "simulated" in (there.kind, provenance.kind)
    if there.kind != provenance.kind and (simulated or not force):
        advice = "give another folder" if simulated else "give another folder, or --force"
        raise CannotWriteError(
            f"{target} holds tables of another origin ({there.explanation}); {advice}."
        )


@dataclass(frozen=True)
class ExamplePsth:
    """The PSTHs of the example evolution (Figure 2D).

    Attributes
    ----------
    psth : numpy.ndarray
        (n_blocks, 4 slices, 200 ms) events/s, slices as in `SLICES`.
    offset : float
        Distance between blocks in the figure, events/s.
    title : str
        Three lines that say what the experiment was.
    labels : {"truthful", "legacy"}
        Whether the files held what their names say, or had two labels swapped.
    """

    psth: NDArray[np.float64]
    offset: float
    title: str
    labels: Literal["truthful", "legacy"]


def read_example_psth(source: SourceData) -> ExamplePsth:
    """Read Figure 2D from its pickle, or from its four CSVs in either of two label layouts.

    In the published files ``DeePSim_sem`` holds the BigGAN mean and ``BigGAN_mean`` the DeePSim
    SEM. A standard error is far smaller than a mean, which tells the layouts apart.
    """
    if source.form == "pkl":
        pickled = source.read("Fig2/example_psth_pickle")
        psth, offset = np.asarray(pickled["psth_arr"]), float(pickled["offset"])
        return ExamplePsth(psth, offset, pickled["expstr"], "truthful")
    meta = source.read("Fig2/example_psth_meta")
    stored = source.read_slices("Fig2/example_psth")  # (blocks, ms, files in the order of SLICES)
    biggan_mean, deepsim_sem = stored[..., 1], stored[..., 2]
    legacy = deepsim_sem.mean() > biggan_mean.mean()
    if legacy:
        stored = stored[..., [0, 2, 1, 3]]
    return ExamplePsth(
        psth=stored.transpose(0, 2, 1),
        offset=float(meta["offset"]),
        title=meta["expstr"],
        labels="legacy" if legacy else "truthful",
    )


@dataclass(frozen=True)
class TableStatus:
    """What `check_folder` found of one file."""

    spec: TableSpec
    path: Path
    state: Literal["present", "missing", "malformed"]
    problem: str = ""


def check_folder(folder: str | Path, figures: Iterable[str] | None = None) -> Iterator[TableStatus]:
    """Look at every file of every table below a folder.

    Parameters
    ----------
    folder : path-like
        Holds ``Fig2``, ``Fig4``, ….
    figures : iterable of str, optional
        Only these.

    Yields
    ------
    TableStatus
        One per file, in the order of the registry.
    """
    source = SourceData(folder)
    wanted = set(FIGURES if figures is None else figures)
    for spec in (spec for spec in TABLES.values() if spec.figure in wanted):
        for member in spec.members:
            path = spec.find(source.folder, member)
            try:
                source.read(spec.key, **member)
                yield TableStatus(spec, path, "present")
            except MissingDataError:
                yield TableStatus(spec, path, "missing")
            except MalformedDataError as error:
                yield TableStatus(spec, path, "malformed", str(error))

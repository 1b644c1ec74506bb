"""The contract between what writes source data and what reads it.

Every table of every figure has one `TableSpec` in the registry: its file name, what it holds, its
units and its layout. `SourceData` reads and `write_table` writes by these specs, and nothing else
touches a file, so that a download of the published files and an export of our own are
interchangeable (the four CSVs of Figure 2D excepted, whose published labels are swapped).

``python -m core.source_data check [FOLDER]`` says which tables are there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from core.brief import brief
from core.errors import CannotWriteError, MalformedDataError, MissingDataError
from core.files import (
    UNFINISHED_SUFFIX,
    atomic_write,
    locked,
    move_into,
    sha256_of,
    staging_folder,
)
from core.source_tables.provenance import (
    PROVENANCE_FILE,
    Provenance,
    read_provenance,
    write_provenance,
)
from core.source_tables.registry import FIGURES, PSTH_SLICES, TABLES, TableSpec, spec_of
from core.spaces import BySpace, Space

#: Where a user's source data lie: one folder per figure.
DEFAULT_FOLDER = Path(__file__).resolve().parents[2] / "source_data"

#: Where the simulated source data are built; never among the user's.
SIMULATED_FOLDER = DEFAULT_FOLDER / "simulated"

#: Stands for the origin of the tables of a panel among their names.
ORIGIN = "origin"

#: Held beside the figures' folders by whoever replaces tables.
TABLES_LOCK = "tables"

#: Lies in a folder while its tables are being replaced.
HALF_REPLACED_FILE = f".tables{UNFINISHED_SUFFIX}"


@dataclass(frozen=True)
class Table:
    """One table to write: its key in the registry, its content, and which member it is."""

    key: str
    value: Any
    member: Mapping[str, Any] = field(default_factory=dict)

    __repr__ = brief


@dataclass(frozen=True)
class Reading:
    """What was read for one panel.

    Attributes
    ----------
    tables : tuple
        One for each name that was asked for, see `SourceData.gather`.
    inputs : dict of str to str
        Path of each file below the folder → its SHA-256.
    provenance : Provenance
        Origin of those files taken together.
    """

    tables: tuple[Any, ...]
    inputs: dict[str, str]
    provenance: Provenance


class SourceData:
    """A folder of source data, read table by table, each file once.

    Tables that share a length (the experiments of a figure, the blocks of a session) are compared
    as they are read. What is read is kept and given again: do not change it.

    Parameters
    ----------
    folder : path-like
        Holds ``Fig2``, ``Fig4``, ….
    form : {"csv", "pkl"}, default "csv"
        Which twin to read where the published set has a table in both forms.

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
        self._values: dict[Path, Any] = {}
        self._origins: dict[str, Provenance] = {}
        self._lengths: dict[tuple[str, str], tuple[int, Path]] = {}

    def __repr__(self) -> str:
        return f"SourceData({str(self.folder)!r}, form={self.form!r})"

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
        if spec.twin is None or self.form == "csv":
            return self._read_file(spec, path)
        pickled, (path,) = self.read(spec.twin.key), self._files(key)
        with _named_in_errors(path):
            try:
                value = spec.twin.part(pickled, member)
            except (LookupError, TypeError, ValueError) as error:
                raise MalformedDataError(f"it holds no {spec.meaning} ({error})") from error
            self._check(spec, path, value)
        return value

    def read_all(self, key: str) -> Any:
        """Read a table, or all members of a family of tables.

        Returns
        -------
        object
            As `read`; of a family a dictionary, from what tells the members apart (a space, a
            tuple of window and space) to the member.
        """
        members = spec_of(key).members
        if members == ({},):
            return self.read(key)
        read = {tuple(member.values()): self.read(key, **member) for member in members}
        return {name[0] if len(name) == 1 else name: value for name, value in read.items()}

    def gather(self, figure: str, names: Iterable[str]) -> Reading:
        """Read what a panel draws.

        Parameters
        ----------
        figure : str
            Folder of the tables, ``"Fig4"``.
        names : iterable of str
            Names of tables in that folder, each as `read_all` gives it; None for a missing one that
            the panel can be drawn without (``"a?"``). ``"a|b"`` is the first of some tables that is
            there. `ORIGIN` stands for the origin of the others.

        Raises
        ------
        MissingDataError, MalformedDataError
            As `read`.
        """
        names, read = list(names), set[Path]()
        given: dict[str, Any] = {}
        for name in names:
            if name == ORIGIN:
                continue
            keys = [f"{figure}/{each}" for each in name.removesuffix("?").split("|")]
            there = (key for key in keys if all(path.is_file() for path in self._files(key)))
            key = next(there, keys[0])
            try:
                given[name] = self.read_all(key)
            except MissingDataError:
                if not name.endswith("?"):
                    raise
                given[name] = None
            read |= self.inputs.keys() & self._files(key)
        inputs = {p.relative_to(self.folder).as_posix(): self.inputs[p] for p in sorted(read)}
        given[ORIGIN] = self._origin(figure).of(sorted(path.name for path in read))
        return Reading(tuple(given[name] for name in names), inputs, given[ORIGIN])

    def provenance(self, figure: str) -> Provenance:
        """Return where the tables of a figure that were read come from; all, if none was read."""
        folder = self.folder / figure
        return self._origin(figure).of([path.name for path in self.inputs if path.parent == folder])

    def _origin(self, figure: str) -> Provenance:
        """Read the note of origin of a folder once: tables that are kept stay of that origin."""
        if figure not in self._origins:
            self._origins[figure] = read_provenance(self.folder / figure)
        return self._origins[figure]

    def _files(self, key: str) -> list[Path]:
        """List the files that a table, or a family of tables, is read from."""
        spec = spec_of(key)
        if spec.twin is not None and self.form == "pkl":
            spec = spec_of(spec.twin.key)
        return [spec.find(self.folder, member) for member in spec.members]

    def _read_file(self, spec: TableSpec, path: Path) -> Any:
        if path in self._values:
            return self._values[path]
        if not path.is_file():
            raise MissingDataError(
                f"{path} is missing ({spec.meaning}). Put the source data of {spec.figure} there, "
                "or see `python -m core.source_data check`."
            )
        if (path.parent / HALF_REPLACED_FILE).exists():
            raise MalformedDataError(
                f"{path.parent} holds tables of two exports: one is replacing the other, or was "
                "interrupted there. Wait for it or export again, or remove the folder."
            )
        with _named_in_errors(path):
            digest = sha256_of(path)
            value = spec.layout.read(path)
            self._check(spec, path, value)
            if sha256_of(path) != digest:
                raise MalformedDataError("it changed while it was read; run this again")
        self.inputs[path], self._values[path] = digest, value
        return value

    def _check(self, spec: TableSpec, path: Path, value: Any) -> None:
        """Hold a value to its spec, and to the lengths that the figure's tables share."""
        for name, length in spec.layout.check(value).items():
            known, where = self._lengths.setdefault((spec.figure, name), (length, path))
            if length != known:
                raise MalformedDataError(
                    f"it has {length} {name}, but {where.name} has {known}; both must come from "
                    "one export"
                )


@contextmanager
def _named_in_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MissingDataError(
            f"{path} cannot be read ({error.strerror or error}); change its permissions, or get it "
            "again."
        ) from error
    except MalformedDataError as error:
        told = str(error)
        raise MalformedDataError(told if str(path) in told else f"{path}: {told}.") from error


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
        spec.layout.check(value)
    except MalformedDataError as error:
        raise MalformedDataError(f"{path} is not written: {error}.") from error
    with atomic_write(path) as unfinished:
        spec.layout.write(unfinished, value)
    return path


def write_tables(
    folder: str | Path,
    figure: str,
    tables: Iterable[Table],
    provenance: Provenance,
    force: bool = False,
    each: Callable[[Callable[[Table], Path], Iterable[Table]], Iterable[Path]] = map,
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
    each : callable, default map
        Calls a function with every table, such as in several processes, and keeps their order.

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
    refuse_other_origin(folder / figure, provenance, force)
    with staging_folder(folder / figure) as staging:
        written = list(each(partial(_write_into, staging), tables))
        write_provenance(staging / figure, provenance)
        complete = [*written, staging / figure / PROVENANCE_FILE]
        with locked(folder / TABLES_LOCK):
            refuse_other_origin(folder / figure, provenance, force)  # again: hours may lie between
            return replace_tables(folder / figure, complete)[:-1]


def _write_into(folder: Path, table: Table) -> Path:
    return write_table(folder, table.key, table.value, **table.member)


def replace_tables(target: Path, paths: list[Path]) -> list[Path]:
    """Move a complete set of tables into its place, whose lock is held.

    While that goes on, a mark keeps readers off. A process that is killed in between leaves tables
    of two origins side by side, and the mark, which the next complete set removes.

    Raises
    ------
    CannotWriteError
        If the folder cannot be written; the mark stays where some tables were replaced already.
    """
    mark = target / HALF_REPLACED_FILE
    was_marked = mark.exists()
    with atomic_write(mark):
        pass
    try:
        moved = move_into(target, paths)
    except CannotWriteError:
        if not was_marked and all(path.exists() for path in paths):  # nothing was moved
            mark.unlink(missing_ok=True)
        raise
    mark.unlink(missing_ok=True)
    return moved


def refuse_other_origin(
    target: Path, origin: Provenance, force: bool, may_go: Collection[str] = ()
) -> None:
    """Refuse to put tables of one origin among, or in place of, those of another.

    Parameters
    ----------
    target : pathlib.Path
        Folder of a figure.
    origin : Provenance
        Of the tables that come.
    force : bool
        Whether others may be replaced; simulated and other tables never take each other's place.
    may_go : collection of str
        Kinds of provenance that are replaced without `force`.

    Raises
    ------
    CannotWriteError
        If `target` holds such tables.
    """
    if not target.is_dir() or all(path.name.startswith(".") for path in target.iterdir()):
        return
    there = read_provenance(target)
    simulated = (there.kind == "simulated") != (origin.kind == "simulated")
    if simulated or not (force or there.kind in (origin.kind, *may_go)):
        advice = "" if simulated else ", or replace them with --force"
        raise CannotWriteError(
            f"{target} holds tables of another origin ({there.explanation}) than those given "
            f"({origin.explanation}); give another folder{advice}."
        )


@dataclass(frozen=True)
class ExamplePsth:
    """The PSTHs of the example evolution (Figure 2D).

    Attributes
    ----------
    mean, sem : dict of Space to numpy.ndarray
        (n_blocks, 200 ms) events/s; the standard error is over presentations.
    offset : float
        Distance between blocks in the figure, events/s.
    title : str
        Three lines that say what the experiment was.
    labels : {"truthful", "legacy"}
        Whether the files held what their names say, or had two labels swapped.
    """

    mean: BySpace[NDArray[np.float64]]
    sem: BySpace[NDArray[np.float64]]
    offset: float
    title: str
    labels: Literal["truthful", "legacy"]

    __repr__ = brief

    @classmethod
    def of(
        cls, slices: Mapping[str, NDArray[np.float64]], meta: Mapping[str, Any]
    ) -> ExamplePsth:
        """Sort out the four PSTH tables, whichever of two layouts their labels have.

        In the published files ``DeePSim_sem`` holds the BigGAN mean and ``BigGAN_mean`` the DeePSim
        SEM. A standard error is far smaller than a mean, which tells the layouts apart.
        """
        psths = {PSTH_SLICES[name]: psth for name, psth in slices.items()}
        swapped = (Space.DEEPSIM, "sem"), (Space.BIGGAN, "mean")
        legacy = bool(psths[swapped[0]].mean() > psths[swapped[1]].mean())
        if legacy:
            psths |= {swapped[0]: psths[swapped[1]], swapped[1]: psths[swapped[0]]}
        return cls(
            mean={space: psths[space, "mean"] for space in Space},
            sem={space: psths[space, "sem"] for space in Space},
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

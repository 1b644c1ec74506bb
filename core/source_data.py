"""The contract between what writes source data and what reads it.

Every table of every figure has one `TableSpec` in the registry: its file name, what it holds, its
units and its layout. `SourceData` reads and `write_table` writes by these specs, and nothing else
touches a file, so that a download of the published files and an export of our own are
interchangeable.

``python -m core.source_data check [FOLDER]`` says which tables are there.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from core import osf
from core.errors import CannotWriteError, MalformedDataError, MissingDataError, exit_code_of
from core.files import UNFINISHED_SUFFIX, atomic_write, move_into, sha256_of
from core.placement import choose_files, figure_of, files_of, place
from core.provenance import PROVENANCE_FILE, Provenance, read_provenance, write_provenance
from core.table_registry import FIGURES, SLICES, TABLES, TableSpec, spec_of

#: Where a user's source data lie: one folder per figure.
DEFAULT_FOLDER = Path(__file__).resolve().parents[1] / "source_data"

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


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 all there, 1 something malformed, 2 usage, 3 something missing."""
    parser = argparse.ArgumentParser(
        prog="python -m core.source_data",
        description="Look after the source data that the figures read.",
        epilog="example: python -m core.source_data check source_data --figure Fig4",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    check = commands.add_parser("check", help="say which tables are present, missing or malformed")
    check.add_argument("folder", nargs="?", default=DEFAULT_FOLDER, help="default: %(default)s")
    check.add_argument(
        "--figure", action="append", choices=sorted({s.figure for s in TABLES.values()})
    )
    check.set_defaults(run=lambda given: _print_check(given.folder, given.figure))
    _add_fetch(commands)
    given = parser.parse_args(arguments)
    return exit_code_of(lambda: given.run(given))


def _add_fetch(commands: Any) -> None:
    fetch = commands.add_parser(
        "fetch",
        help="download the source data from OSF, or take them from a folder or zip archive",
        epilog="example: python -m core.source_data fetch --from ~/Downloads/osfstorage.zip",
    )
    fetch.add_argument(
        "--output", type=Path, default=DEFAULT_FOLDER, metavar="DIR", help="default: %(default)s"
    )
    fetch.add_argument(
        "--from",
        dest="given_by_hand",
        type=Path,
        metavar="PATH",
        help="a folder or zip archive that you downloaded yourself; no network is used",
    )
    fetch.add_argument("--figure", action="append", choices=FIGURES, help="only this")
    fetch.add_argument(
        "--force", action="store_true", help="replace files that are there with other content"
    )
    fetch.set_defaults(run=_fetch)


def _fetch(given: argparse.Namespace) -> int:
    """Fetch source data; 1 if files of other content were kept."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if given.given_by_hand is None:
        with tqdm(unit="B", unit_scale=True, disable=None, desc="OSF") as bar:
            placed = osf.fetch(
                given.output, given.figure, given.force, progress=lambda n, of: _show(bar, n, of)
            )
    else:
        with files_of(given.given_by_hand) as found:
            chosen, unknown = choose_files(found)
            wanted = given.figure or FIGURES
            chosen = {name: file for name, file in chosen.items() if figure_of(name) in wanted}
            if not chosen:
                raise MissingDataError(
                    f"{given.given_by_hand} holds no file that a figure reads; expected names such "
                    "as Fig4A_SuccessRate_maxinit.csv."
                )
            origin = Provenance("found", {"from": given.given_by_hand.name})
            placed = place(chosen, given.output, origin, given.force)
            placed.unknown = unknown
    out = sys.stdout
    out.write(
        f"{len(placed.written)} files written, {len(placed.unchanged)} there already, "
        f"{len(placed.unknown)} that no figure reads; in {given.output}\n"
    )
    for path in placed.kept:
        sys.stderr.write(f"kept {path}: it has other content; --force replaces it\n")
    return 1 if placed.kept else 0


def _show(bar: Any, received: int, total: int | None) -> None:
    bar.total = total
    bar.update(received - bar.n)


def _print_check(folder: str | Path, figures: list[str] | None) -> int:
    out = sys.stdout
    statuses = list(check_folder(folder, figures))
    for spec, group in itertools.groupby(statuses, key=lambda status: status.spec):
        files = list(group)
        present = sum(status.state == "present" for status in files)
        state = "present" if present == len(files) else "missing"
        state = "malformed" if any(status.state == "malformed" for status in files) else state
        note = " (optional)" if spec.optional else ""
        out.write(f"{state:9}  {present:3}/{len(files):<3}  {spec.key}: {spec.meaning}{note}\n")
        out.writelines(f"{'':11}{status.problem}\n" for status in files if status.problem)
        absent = [status.path.name for status in files if status.state == "missing"]
        if 0 < len(absent) < len(files):
            more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
            out.write(f"{'':11}missing: {', '.join(absent[:3])}{more}\n")
    changed = list(osf.changed_since_fetch(Path(folder)))
    out.writelines(f"changed    {path}: no longer what was fetched from OSF\n" for path in changed)
    if changed or any(status.state == "malformed" for status in statuses):
        return 1
    needed = [status for status in statuses if not status.spec.optional]
    return MissingDataError.exit_code if any(s.state == "missing" for s in needed) else 0


if __name__ == "__main__":
    sys.exit(main())

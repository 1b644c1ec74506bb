"""Put source-data files from anywhere into their places.

A file is known by its name, whatever folder it lies in; names are those of the table registry. What
cannot be placed safely is refused before anything is written.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from core.errors import CannotWriteError, MalformedDataError, MissingDataError, UserError
from core.files import LARGEST_JSON_BYTES, locked, sha256_of, staging_folder
from core.source_tables.layouts import LARGEST_TABLE_BYTES
from core.source_tables.provenance import (
    PROVENANCE_FILE,
    Provenance,
    provenance_of_note,
    read_provenance,
    write_provenance,
)
from core.source_tables.reader import TABLES_LOCK, refuse_other_origin, replace_tables
from core.source_tables.registry import TABLES

#: Bounds of an archive: all files together, number of entries, and how far it may have been packed.
LARGEST_ARCHIVE_BYTES = 8 << 30
MOST_ENTRIES = 50_000
LARGEST_RATIO = 1000

_CHUNK_BYTES = 1 << 20
_FIGURE_IN_FOLDER = re.compile(
    r"(?P<extended>ext(ended)?[ _-]*)?fig(ure)?[ _-]*0*(?P<number>\d+)", re.I
)

#: What browsers and editors add to a name: " (1)", " - Copy", ".txt" after ".csv".
_ADDED_TO_NAME = re.compile(
    r"( ?\(\d+\)| - Copy| copy)(?=\.)|(?<=\.csv)\.txt$|(?<=\.txt)\.txt$", re.I
)

#: What is given in place of a zip archive, by its first bytes.
_OTHER_FILES = {
    b"\x1f\x8b": "compressed by gzip, maybe a tar archive; unpack it and give the folder",
    b"BZh": "compressed by bzip2; unpack it and give the folder",
    b"\xfd7zXZ": "compressed by xz; unpack it and give the folder",
    b"7z": "a 7z archive; unpack it and give the folder",
    b"Rar!": "a RAR archive; unpack it and give the folder",
    b"<": "a web page, such as that of a log-in, not the archive behind it; download it again",
}


@dataclass(frozen=True)
class FoundFile:
    """One file on offer.

    Attributes
    ----------
    path : str
        Where it lies in the folder, archive or storage it comes from, with ``/``.
    size : int
        Bytes.
    open : callable
        Opens its bytes.
    sha256 : str or None
        What they should be, where the source says it.
    origin : Provenance or None
        What the note of origin beside it says of it.
    url : str
        Where its bytes are, of a file that has not been fetched.
    """

    path: str
    size: int
    open: Callable[[], BinaryIO]
    sha256: str | None = None
    origin: Provenance | None = None
    url: str = ""

    @property
    def name(self) -> str:
        """Name without folders."""
        return PurePosixPath(self.path).name


@dataclass
class Placed:
    """What came of placing some files.

    Attributes
    ----------
    written, unchanged, kept : list of pathlib.Path
        New or replaced; there already with the same bytes; there with other bytes and kept.
    unknown : list of str
        Files that no figure reads.
    renamed : list of str
        Files whose names were nearly those of tables, and what they were placed as.
    hashes : dict of pathlib.Path to str
        SHA-256 of every file written or found unchanged.
    """

    written: list[Path] = field(default_factory=list)
    unchanged: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    renamed: list[str] = field(default_factory=list)
    hashes: dict[Path, str] = field(default_factory=dict)


@cache
def _figures_of_names() -> dict[str, str]:
    return {
        spec.path(Path(), member).name: spec.figure
        for spec in TABLES.values()
        for member in spec.members
    }


@cache
def _names_of_any_case() -> dict[str, str]:
    return {name.casefold(): name for name in _figures_of_names()}


@cache
def figure_of(name: str) -> str | None:
    """Return the folder that a file of this name belongs to; None if no figure reads it."""
    patterns = ((spec.also, spec.figure) for spec in TABLES.values() if spec.also)
    by_pattern = (figure for pattern, figure in patterns if fnmatchcase(name, pattern))
    return _figures_of_names().get(name) or next(by_pattern, None)


def table_name(name: str) -> str | None:
    """Return the name of the table that a file's name means: itself, or nearly so; None of others.

    Browsers and editors change names: ``X (1).csv``, ``X.csv.txt``, ``x.CSV``.
    """
    if figure_of(name) is not None:
        return name
    return _names_of_any_case().get(_ADDED_TO_NAME.sub("", name).casefold())


def target_of(folder: Path, name: str) -> Path:
    """Return where a file that a figure reads belongs below a source-data folder."""
    return folder / str(figure_of(name)) / name


def choose_files(found: Iterable[FoundFile]) -> tuple[dict[str, FoundFile], list[str]]:
    """Pick one file for each name that a figure reads.

    A file of the very name goes before one that is nearly called so; where a name occurs in several
    folders with different content, the one whose folder is named after the figure wins.

    Parameters
    ----------
    found : iterable of FoundFile
        All that is on offer.

    Returns
    -------
    chosen : dict
        Name of the table's file → file, with its origin where a note beside it tells it.
    unknown : list of str
        Paths of files that no figure reads.

    Raises
    ------
    MalformedDataError
        If one name occurs several times and nothing tells which is meant, or a note of origin
        cannot be read.
    """
    candidates: dict[str, list[FoundFile]] = {}
    unknown, notes = [], dict[PurePosixPath, FoundFile]()
    for file in found:
        if file.name == PROVENANCE_FILE:
            notes[PurePosixPath(file.path).parent] = file
        elif name := table_name(file.name):
            candidates.setdefault(name, []).append(file)
        else:
            unknown.append(file.path)
    chosen = {}
    for name, files in candidates.items():
        file = _the_one(name, [f for f in files if f.name == name] or files)
        note = notes.get(PurePosixPath(file.path).parent)
        chosen[name] = replace(file, origin=_noted(note).of([file.name])) if note else file
    return chosen, unknown


def place(
    chosen: Mapping[str, FoundFile],
    folder: Path,
    origin: Provenance,
    force: bool = False,
) -> Placed:
    """Copy files into ``folder/Fig2``, ``folder/Fig4``, …; all are verified before one is placed.

    Parameters
    ----------
    chosen : mapping
        Name → file, see `choose_files`.
    folder : pathlib.Path
        The source-data folder.
    origin : Provenance
        Of the files that have none of their own; noted in every figure's folder that gets a file.
    force : bool, default False
        Whether a file that is there with other bytes is replaced.

    Returns
    -------
    Placed

    Raises
    ------
    MalformedDataError
        If a file is not what its source promises; then nothing was placed.
    CannotWriteError
        If the folder cannot be written, or holds tables that were exported here, which a download
        never replaces without `force`, or if simulated tables would lie among others.
    """
    origins = {name: file.origin or origin for name, file in chosen.items()}
    placed = Placed(renamed=[f"{f.path} as {n}" for n, f in chosen.items() if f.name != n])
    try:
        with staging_folder(folder / "fetch") as staging, locked(folder / TABLES_LOCK):
            for name, own in origins.items():
                target = target_of(folder, name).parent
                refuse_other_origin(target, own, force, may_go=("found", "published"))
            digests = {name: _staged(chosen[name], target_of(staging, name)) for name in chosen}
            for name, digest in digests.items():
                _sort_out(target_of(folder, name), digest, force, placed)
            for figure in sorted({path.parent for path in placed.hashes}):
                here = {p.name: origins[p.name] for p in placed.hashes if p.parent == figure}
                new = [staging / figure.name / p.name for p in placed.written if p.parent == figure]
                noted = _joined(figure, here)
                if noted != read_provenance(figure) or not (figure / PROVENANCE_FILE).is_file():
                    write_provenance(staging / figure.name, noted)
                    new.insert(0, staging / figure.name / PROVENANCE_FILE)  # never tables without
                if new:
                    replace_tables(figure, new)
    except OSError as error:
        raise CannotWriteError(
            f"cannot write {str(folder)[:200]}: {error.strerror}; give another folder."
        ) from error
    return placed


@contextmanager
def files_of(path: Path) -> Iterator[list[FoundFile]]:
    """List the files of a folder or of a zip archive, which stays open for the block; or one table.

    Folders that are links are followed, each once.

    Raises
    ------
    MissingDataError
        If there is none of them at `path`, or a folder cannot be read.
    MalformedDataError
        If the archive is damaged, or holds entries that an honest archive does not.
    """
    if path.is_dir():
        yield list(_of_folder(path))
        return
    if not path.is_file():
        raise MissingDataError(f"there is neither a folder nor a zip archive at {path}.")
    if table_name(path.name) is not None:
        beside = (path, path.with_name(PROVENANCE_FILE))
        yield [_on_disk(path.parent, file) for file in beside if file.is_file()]
        return
    with _opened(path) as archive:
        _refuse_unsafe(path, archive)
        yield [_of_archive(archive, entry) for entry in archive.infolist() if not entry.is_dir()]


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except Exception as error:  # a damaged archive can raise anything
        with path.open("rb") as file:
            head = file.read(300)
        told = next((told for start, told in _OTHER_FILES.items() if head.startswith(start)), None)
        if head[257:262] == b"ustar":
            told = "a tar archive; unpack it and give the folder"
        if not head:
            told = "empty; download it again"
        raise MalformedDataError(
            f"{path} is {told}." if told
            else f"{path} is not a whole zip archive ({error}); fetch it again."
        ) from error  # fmt: skip


def _of_folder(folder: Path) -> Iterator[FoundFile]:
    def cannot(error: OSError) -> None:
        raise MissingDataError(
            f"{error.filename} cannot be read ({error.strerror}); change its permissions."
        ) from error

    seen, n_files = set[tuple[int, int]](), 0
    for place, folders, names in os.walk(folder, onerror=cannot, followlinks=True):
        state = Path(place).stat()
        if (state.st_dev, state.st_ino) in seen:  # reached by a link before
            folders.clear()
            continue
        seen.add((state.st_dev, state.st_ino))
        folders.sort()
        n_files += len(names)
        if n_files > MOST_ENTRIES:
            raise MalformedDataError(f"{folder} holds more than {MOST_ENTRIES} files.")
        paths = (Path(place) / name for name in sorted(names))
        yield from (_on_disk(folder, file) for file in paths if file.is_file())


def _on_disk(folder: Path, file: Path) -> FoundFile:
    return FoundFile(
        file.relative_to(folder).as_posix(), file.stat().st_size, lambda: file.open("rb")
    )


def _of_archive(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> FoundFile:
    return FoundFile(
        _path_of(entry),
        entry.file_size,
        lambda: archive.open(entry),  # type: ignore[return-value, arg-type]
    )


def _path_of(entry: zipfile.ZipInfo) -> str:
    """Return where an entry lies; some programs of Windows write backslashes."""
    return entry.filename.replace("\\", "/")


def _noted(note: FoundFile) -> Provenance:
    """Read a note of origin on offer."""
    if note.size > LARGEST_JSON_BYTES:
        raise MalformedDataError(f"{note.path} has {note.size} bytes; no note of origin has.")
    try:
        return provenance_of_note(json.loads(b"".join(_chunks(note))))
    except (ValueError, RecursionError, MalformedDataError) as error:
        raise MalformedDataError(
            f"{note.path} says nothing readable of the origin of the tables beside it "
            f"({error!s:.200}); get them again, with their note."
        ) from error


def _refuse_unsafe(path: Path, archive: zipfile.ZipFile) -> None:
    entries = archive.infolist()
    for entry in entries:
        if reason := _why_unsafe(entry):
            raise MalformedDataError(
                f"{path} was refused: its entry {entry.filename!r} {reason}. Nothing was unpacked."
            )
    total = sum(entry.file_size for entry in entries)
    if len(entries) > MOST_ENTRIES or total > LARGEST_ARCHIVE_BYTES:
        raise MalformedDataError(
            f"{path} was refused: {len(entries)} entries of {total} bytes in all are more than the "
            f"source data can be ({MOST_ENTRIES} entries, {LARGEST_ARCHIVE_BYTES} bytes)."
        )


def _why_unsafe(entry: zipfile.ZipInfo) -> str | None:
    path = _path_of(entry)
    parts = PurePosixPath(path).parts
    if not parts:
        return "has no name"
    if ".." in parts or path.startswith("/") or ":" in parts[0]:
        return "points outside the archive's folder"
    mode = entry.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a special file"
    if entry.flag_bits & 1:
        return "is encrypted"
    if entry.file_size > LARGEST_TABLE_BYTES:
        return f"would unpack to {entry.file_size} bytes"
    if entry.file_size > LARGEST_RATIO * max(entry.compress_size, 1):
        return f"is packed {entry.file_size // max(entry.compress_size, 1)} times, as bombs are"
    return None


def _the_one(name: str, files: list[FoundFile]) -> FoundFile:
    if len(files) == 1:
        return files[0]
    figure = str(figure_of(name))
    named = [file for file in files if _folder_names(file.path, figure)]
    if len(named) == 1:
        return named[0]
    files = named or files
    if len({file.size for file in files}) == 1 and len({_digest(file) for file in files}) == 1:
        return files[0]
    raise MalformedDataError(
        f"{name} occurs several times ({', '.join(file.path for file in files)}), and it is not "
        f"clear which belongs to {figure}; keep one of them."
    )


def _folder_names(path: str, figure: str) -> bool:
    """Whether a parent folder is called after a figure: Fig4_Source_data, ExtendedFig5_…."""
    for parent in PurePosixPath(path).parent.parts:
        if match := _FIGURE_IN_FOLDER.search(parent):
            prefix = "ExtendedFig" if match["extended"] else "Fig"
            if f"{prefix}{match['number']}" == figure:
                return True
    return False


def _digest(file: FoundFile) -> str:
    return file.sha256 or hashlib.sha256(b"".join(_chunks(file))).hexdigest()


def _staged(file: FoundFile, copy: Path) -> str:
    """Copy a file and return its SHA-256; refuse one that is not what its source promises."""
    if file.size > LARGEST_TABLE_BYTES:
        raise MalformedDataError(f"{file.path} has {file.size} bytes; no table is that large.")
    copy.parent.mkdir(exist_ok=True)
    digest = _copy(file, copy)
    if file.sha256 not in (None, digest):
        raise MalformedDataError(
            f"{file.path} arrived with SHA-256 {digest} instead of {file.sha256}; nothing was "
            "placed. Fetch it again."
        )
    return digest


def _sort_out(target: Path, digest: str, force: bool, placed: Placed) -> None:
    there = sha256_of(target) if target.is_file() else None
    if there not in (None, digest) and not force:
        placed.kept.append(target)
        return
    placed.hashes[target] = digest
    (placed.unchanged if there == digest else placed.written).append(target)


def _copy(file: FoundFile, target: Path) -> str:
    """Copy at most the announced bytes, and return their SHA-256."""
    digest, copied = hashlib.sha256(), 0
    with target.open("wb") as copy:
        for chunk in _chunks(file):
            copied += len(chunk)
            if copied > file.size:
                break
            digest.update(chunk)
            copy.write(chunk)
    if copied != file.size:
        raise MalformedDataError(
            f"{file.path} is not as long as announced ({file.size} bytes); nothing was placed."
        )
    return digest.hexdigest()


def _chunks(file: FoundFile) -> Iterator[bytes]:
    """Read a file; trouble with it is told apart from trouble with its copy."""
    try:
        with file.open() as source:
            while chunk := source.read(_CHUNK_BYTES):
                yield chunk
    except UserError:
        raise
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise MissingDataError(f"{file.path} cannot be read: {reason}.") from error
    except Exception as error:  # a damaged archive can raise anything
        raise MalformedDataError(f"{file.path} is damaged in its archive ({error}).") from error


def _joined(figure: Path, origins: Mapping[str, Provenance]) -> Provenance:
    """Return the origin of a folder with files of some origins beside what else is there."""
    others = [
        path for path in (figure.iterdir() if figure.is_dir() else ())
        if path.name not in (*origins, PROVENANCE_FILE) and not path.name.startswith(".")
    ]  # fmt: skip
    base = read_provenance(figure) if others else replace(next(iter(origins.values())), files={})
    kept = {name: origin for name, origin in base.files.items() if name not in origins}
    plain = replace(base, files={})
    differing = {name: origin for name, origin in origins.items() if origin != plain}
    return replace(base, files=kept | differing)

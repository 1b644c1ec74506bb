"""Put source-data files from anywhere into their places.

A file is known by its name, whatever folder it lies in; names are those of the table registry. What
cannot be placed safely is refused before anything is written.
"""

from __future__ import annotations

import hashlib
import re
import stat
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from core.errors import CannotWriteError, MalformedDataError, MissingDataError, UserError
from core.files import atomic_write, sha256_of
from core.source_tables.layouts import LARGEST_TABLE_BYTES
from core.source_tables.provenance import Provenance, read_provenance, write_provenance
from core.source_tables.registry import TABLES

#: Bounds of an archive: all files together, number of entries, and how far it may have been packed.
LARGEST_ARCHIVE_BYTES = 8 << 30
MOST_ENTRIES = 50_000
LARGEST_RATIO = 1000

_CHUNK_BYTES = 1 << 20
_FIGURE_IN_FOLDER = re.compile(
    r"(?P<extended>ext(ended)?[ _-]*)?fig(ure)?[ _-]*0*(?P<number>\d+)", re.I
)


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
    """

    path: str
    size: int
    open: Callable[[], BinaryIO]
    sha256: str | None = None

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
    hashes : dict of pathlib.Path to str
        SHA-256 of every file written or found unchanged.
    """

    written: list[Path] = field(default_factory=list)
    unchanged: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    hashes: dict[Path, str] = field(default_factory=dict)


@cache
def figure_of(name: str) -> str | None:
    """Return the folder that a file of this name belongs to; None if no figure reads it."""
    for spec in TABLES.values():
        names = {spec.path(Path(), member).name for member in spec.members}
        if name in names or (spec.also and fnmatchcase(name, spec.also)):
            return spec.figure
    return None


def target_of(folder: Path, name: str) -> Path:
    """Return where a file that a figure reads belongs below a source-data folder."""
    return folder / str(figure_of(name)) / name


def choose_files(found: Iterable[FoundFile]) -> tuple[dict[str, FoundFile], list[str]]:
    """Pick one file for each name that a figure reads.

    Where a name occurs in several folders, the one whose folder is named after the figure wins.

    Parameters
    ----------
    found : iterable of FoundFile
        All that is on offer.

    Returns
    -------
    chosen : dict
        Name → file.
    unknown : list of str
        Paths of files that no figure reads.

    Raises
    ------
    MalformedDataError
        If one name occurs several times and nothing tells which is meant.
    """
    candidates: dict[str, list[FoundFile]] = {}
    unknown = []
    for file in found:
        if figure_of(file.name) is not None:
            candidates.setdefault(file.name, []).append(file)
        else:
            unknown.append(file.path)
    return {name: _the_one(name, files) for name, files in candidates.items()}, unknown


def place(
    chosen: Mapping[str, FoundFile],
    folder: Path,
    origin: Provenance,
    force: bool = False,
    progress: Callable[[Iterable[str]], Iterable[str]] = iter,
) -> Placed:
    """Copy files into ``folder/Fig2``, ``folder/Fig4``, …; each is verified before it is placed.

    Parameters
    ----------
    chosen : mapping
        Name → file, see `choose_files`.
    folder : pathlib.Path
        The source-data folder.
    origin : Provenance
        Noted in every figure's folder that gets a file.
    force : bool, default False
        Whether a file that is there with other bytes is replaced.
    progress : callable, optional
        Wraps the iteration over names.

    Returns
    -------
    Placed

    Raises
    ------
    MalformedDataError
        If a file is not what its source promises.
    CannotWriteError
        If the folder cannot be written, or holds tables that were exported here, which a download
        never replaces without `force`.
    """
    placed = Placed()
    figures = sorted({target_of(folder, name).parent.name for name in chosen})
    for figure in figures:
        _refuse_our_own(folder / figure, origin, force)
    for name in progress(chosen):
        _place_one(chosen[name], target_of(folder, name), force, placed)
    for figure in figures:
        if any(path.parent.name == figure for path in placed.hashes):
            write_provenance(folder / figure, origin)
    return placed


@contextmanager
def files_of(path: Path) -> Iterator[list[FoundFile]]:
    """List the files of a folder or of a zip archive, which stays open for the block.

    Raises
    ------
    MissingDataError
        If there is neither at `path`.
    MalformedDataError
        If the archive is damaged, or holds entries that an honest archive does not.
    """
    if path.is_dir():
        yield [_of_folder(path, file) for file in sorted(path.rglob("*")) if file.is_file()]
        return
    if not path.is_file():
        raise MissingDataError(f"there is neither a folder nor a zip archive at {path}.")
    with _opened(path) as archive:
        _refuse_unsafe(path, archive)
        yield [_of_archive(archive, entry) for entry in archive.infolist() if not entry.is_dir()]


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except Exception as error:  # a damaged archive can raise anything
        raise MalformedDataError(
            f"{path} is not a whole zip archive ({error}); fetch it again."
        ) from error


def _of_folder(folder: Path, file: Path) -> FoundFile:
    return FoundFile(
        file.relative_to(folder).as_posix(), file.stat().st_size, lambda: file.open("rb")
    )


def _of_archive(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> FoundFile:
    return FoundFile(
        entry.filename,
        entry.file_size,
        lambda: archive.open(entry),  # type: ignore[return-value, arg-type]
    )


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
    parts = PurePosixPath(entry.filename.replace("\\", "/")).parts
    if ".." in parts or entry.filename.startswith(("/", "\\")) or ":" in (parts or ("",))[0]:
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


def _place_one(file: FoundFile, target: Path, force: bool, placed: Placed) -> None:
    if file.size > LARGEST_TABLE_BYTES:
        raise MalformedDataError(f"{file.path} has {file.size} bytes; no table is that large.")
    there = sha256_of(target) if target.is_file() else None
    with suppress(_NotNeededError), atomic_write(target) as unfinished:
        digest = _copy(file, unfinished)
        if file.sha256 not in (None, digest):
            raise MalformedDataError(
                f"{file.path} arrived with SHA-256 {digest} instead of {file.sha256}; it is not "
                "placed. Fetch it again."
            )
        if there not in (None, digest) and not force:
            placed.kept.append(target)
            raise _NotNeededError
        placed.hashes[target] = digest
        if there == digest:
            placed.unchanged.append(target)
            raise _NotNeededError
        placed.written.append(target)


class _NotNeededError(Exception):
    """Leaves a file as it is."""


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
            f"{file.path} is not as long as announced ({file.size} bytes); it is not placed."
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


def _refuse_our_own(target: Path, origin: Provenance, force: bool) -> None:
    there = read_provenance(target)
    if target.is_dir() and there.kind not in ("found", "published", origin.kind) and not force:
        raise CannotWriteError(
            f"{target} holds tables {there.explanation}; move them away, give another folder, or "
            "replace them with --force."
        )

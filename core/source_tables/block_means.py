"""The block means that the authors publish of all 170 paired evolutions: fetch, check, keep.

They are data of a web site, pinned to one commit of its repository. All its JSON files together
have one digest; whatever an archive, a folder or a clone says about itself, they count only if they
have it. They are kept as one archive beside the source data, with the pictures that came with them.
The repository has no licence, so that nothing of it is part of this software.
"""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from core.errors import MalformedDataError, MissingDataError
from core.files import UNFINISHED_SUFFIX, atomic_write, locked
from core.reading.download import Progress, download
from core.source_tables.placement import FoundFile, files_of

REPOSITORY = "github.com/Animadversio/NeuralEvolutionExplorer"
COMMIT = "4a8fb317f3c765d381ef814f5cda644bb45985d6"
ARCHIVE_URL = f"https://{REPOSITORY}/archive/{COMMIT}.zip"

#: Files of that commit: JSON with all numbers, and pictures, which may be missing.
N_NUMBERS, N_PICTURES = 10_297, 9_811

#: SHA-256 of the lines "git blob, path" of all JSON files, sorted by path.
DIGEST = "1b34951833c17940916637bb59912058927ef5dffac2d82527ffd8373d33e9d8"

#: Folders of the source data whose tables can be made of block means.
FIGURES_MADE = ("Fig2", "Fig4", "Fig5", "ExtendedFig4", "Evolutions")

#: Lists all experiments; the folder that holds it holds everything else.
INDEX_FILE = "experiments.json"

#: The archive has about 209 MB; more than this is something else.
LARGEST_ARCHIVE_BYTES = 420 << 20
LARGEST_FILE_BYTES = 4 << 20

_DATA_FOLDER = "neural-evolution-explorer/public/data"
_TIME = (2026, 2, 14, 0, 0, 0)
_BY_HAND = (
    f"By hand: download {ARCHIVE_URL} with a browser, then "
    "`python -m core.source_data fetch --from ZIP`."
)


def kept_archive(folder: str | Path) -> Path:
    """Return where the block means are kept below a source-data folder."""
    return Path(folder) / "block_means" / "block_means.zip"


@contextmanager
def data_files(path: str | Path) -> Iterator[Mapping[str, FoundFile]]:
    """List the data files of an archive, an unpacked folder or a clone, by path below the index.

    Raises
    ------
    MissingDataError
        If there is nothing at `path`, or nothing that holds ``experiments.json``.
    MalformedDataError
        If the archive is damaged or unsafe, or holds the data twice.
    """
    with files_of(Path(path)) as found:
        roots = _roots(found)
        if len(roots) != 1:
            what = f"holds it in {', '.join(sorted(roots))}" if roots else "does not"
            error = MalformedDataError if roots else MissingDataError
            raise error(
                f"{path} {what}: block means have one {INDEX_FILE} beside the folders of the "
                "experiments."
            )
        root = roots.pop()
        start = "" if root == "." else f"{root}/"
        yield {file.path[len(start) :]: file for file in found if file.path.startswith(start)}


def are_block_means(found: Iterable[FoundFile]) -> bool:
    """Whether some files are block means rather than tables."""
    return bool(_roots(found))


def _roots(found: Iterable[FoundFile]) -> set[str]:
    roots = {str(PurePosixPath(file.path).parent) for file in found if file.name == INDEX_FILE}
    return {root for root in roots if root.endswith("public/data")} or roots


def fetch(folder: Path, url: str = ARCHIVE_URL, progress: Progress | None = None) -> bool:
    """Download the block means and keep them below a source-data folder.

    Parameters
    ----------
    folder : pathlib.Path
        The source-data folder.
    url : str, optional
        Where from; another address than the authors' serves mirrors and tests.
    progress : callable, optional
        Told the bytes received.

    Returns
    -------
    bool
        False if they were there already, pictures included.

    Raises
    ------
    MissingDataError
        If the address cannot be reached.
    MalformedDataError
        If what arrives are not the block means of the pinned commit.
    CannotWriteError
        If the folder cannot be written.
    """
    scratch = folder / f".block_means{UNFINISHED_SUFFIX}"  # kept when interrupted
    with locked(kept_archive(folder)):
        if _n_files(kept_archive(folder)) == N_NUMBERS + N_PICTURES:
            return False
        try:
            archive = download(
                url, scratch / "archive.zip", max_size=LARGEST_ARCHIVE_BYTES, progress=progress
            )
        except MissingDataError as error:
            raise MissingDataError(f"{error} {_BY_HAND}") from error
        try:
            return keep(archive, folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def keep(path: Path, folder: Path, digest: str = DIGEST) -> bool:
    """Check the block means in an archive, folder or clone, and keep them below a folder.

    Parameters
    ----------
    path : pathlib.Path
        What holds them.
    folder : pathlib.Path
        The source-data folder.
    digest : str, optional
        What `digest_of` must give for their numbers.

    Returns
    -------
    bool
        False if as many or more files are kept already; then nothing is written.

    Raises
    ------
    MissingDataError, MalformedDataError
        If they are not those of the pinned commit; then nothing is written.
    CannotWriteError
        If the folder cannot be written.
    """
    target = kept_archive(folder)
    with data_files(path) as files:
        numbers = {name: file for name, file in files.items() if name.endswith(".json")}
        pictures = {name: file for name, file in files.items() if name.endswith(".webp")}
        if _n_files(target) >= len(numbers) + len(pictures):
            return False
        with atomic_write(target) as unfinished:
            blobs = _pack(unfinished, {**numbers, **pictures})
            if (found := _digest({name: blobs[name] for name in numbers})) != digest:
                raise MalformedDataError(
                    f"{path} does not hold the block means of commit {COMMIT[:8]}: its "
                    f"{len(numbers)} JSON files (expected {N_NUMBERS}) have the digest "
                    f"{found[:8]} instead of {digest[:8]}. {_BY_HAND}"
                )
    return True


def digest_of(numbers: Mapping[str, bytes]) -> str:
    """Return the SHA-256 of the lines "git blob, path" of some files, sorted by path."""
    return _digest({name: _git_blob(content) for name, content in numbers.items()})


def _digest(blobs: Mapping[str, str]) -> str:
    lines = "".join(f"{blobs[name]} {name}\n" for name in sorted(blobs))
    return hashlib.sha256(lines.encode()).hexdigest()


def _git_blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _pack(target: Path, files: Mapping[str, FoundFile]) -> dict[str, str]:
    """Pack files, the same bytes for the same content; returns their git blobs."""
    blobs = {}
    with zipfile.ZipFile(target, "w") as archive:
        archive.comment = COMMIT.encode()
        for name in sorted(files):
            content = _content(files[name])
            entry = zipfile.ZipInfo(f"{_DATA_FOLDER}/{name}", _TIME)
            packed = zipfile.ZIP_DEFLATED if name.endswith(".json") else zipfile.ZIP_STORED
            archive.writestr(entry, content, packed)
            blobs[name] = _git_blob(content)
    return blobs


def _content(file: FoundFile) -> bytes:
    if file.size > LARGEST_FILE_BYTES:
        raise MalformedDataError(f"{file.path} has {file.size} bytes; no block mean is that long.")
    try:
        with file.open() as stream:
            return stream.read()
    except Exception as error:  # a damaged archive can raise anything
        raise MalformedDataError(f"{file.path} cannot be read ({error}).") from error


def _n_files(archive: Path) -> int:
    """Count the files of a kept archive, which was checked when it was written."""
    try:
        with zipfile.ZipFile(archive) as packed:
            return len(packed.infolist())
    except (OSError, zipfile.BadZipFile):
        return 0

"""The authors' source data on OSF: list them, fetch them, put them in place.

OSF lists a storage folder by folder and allows about a hundred requests an hour without a login, so
that many files are fetched as one archive and few of them one by one; either way every file is held
against the checksum that OSF lists.
"""

from __future__ import annotations

import io
import logging
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from core.errors import MalformedDataError, MissingDataError
from core.files import UNFINISHED_SUFFIX, locked, read_json, sha256_of, write_json
from core.reading.download import Progress, download
from core.source_tables.placement import (
    LARGEST_ARCHIVE_BYTES,
    FoundFile,
    Placed,
    choose_files,
    figure_of,
    files_of,
    place,
    target_of,
)
from core.source_tables.provenance import Provenance, read_provenance, write_provenance

logger = logging.getLogger(__name__)

#: The project that holds the source data, and where OSF lists and packs its storage.
PROJECT = "pre96"
LISTING_URL = f"https://api.osf.io/v2/nodes/{PROJECT}/files/osfstorage/"
ARCHIVE_URL = f"https://files.osf.io/v1/resources/{PROJECT}/providers/osfstorage/?zip="

#: Up to so many missing files are fetched one by one; more come as one archive.
MOST_SINGLE_FILES = 40

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")

#: Bounds of a listing: pages read, and bytes of one page.
MOST_PAGES = 80
LARGEST_PAGE_BYTES = 16 << 20

#: Beside the figures' folders: what was fetched, with checksums.
LOCK_FILE = "osf.lock.json"


@dataclass(frozen=True)
class Addresses:
    """Where the storage is listed and packed; others than OSF's serve tests and mirrors."""

    listing: str = LISTING_URL
    archive: str = ARCHIVE_URL


def fetch(
    folder: Path,
    figures: Iterable[str] | None = None,
    force: bool = False,
    addresses: Addresses | None = None,
    progress: Progress | None = None,
) -> Placed:
    """Download the source data that the figures read into a folder.

    Parameters
    ----------
    folder : pathlib.Path
        The source-data folder; ``Fig2``, ``Fig4``, … are made in it.
    figures : iterable of str, optional
        Only these folders.
    force : bool, default False
        Whether files that are there with other bytes are replaced.
    addresses : Addresses, optional
        Where from.
    progress : callable, optional
        Told the bytes received of each download.

    Returns
    -------
    Placed
        Files that are there already are not fetched again.

    Raises
    ------
    MissingDataError
        If OSF cannot be reached, or has none of the files.
    MalformedDataError
        If what arrives is not what OSF lists.
    CannotWriteError
        If the folder cannot be written.
    """
    with locked(folder / "osf"):
        return _fetch(folder, figures, force, addresses or Addresses(), progress)


def _fetch(
    folder: Path,
    figures: Iterable[str] | None,
    force: bool,
    addresses: Addresses,
    progress: Progress | None,
) -> Placed:
    remote = {file.path: file for file in list_storage(addresses.listing)}
    chosen, unknown = choose_files(remote.values())
    if figures is not None:
        chosen = {name: file for name, file in chosen.items() if figure_of(name) in set(figures)}
    if not chosen:
        raise MissingDataError(
            f"{addresses.listing} lists {len(remote)} files, none of which a figure reads. "
            f"{_BY_HAND}"
        )
    missing = {name: file for name, file in chosen.items() if not _is_there(folder, file, force)}
    origin = Provenance("published", {"from": f"OSF project {PROJECT}"})
    scratch = folder / f".osf{UNFINISHED_SUFFIX}"  # kept when interrupted: the next call goes on
    try:
        if len(missing) <= MOST_SINGLE_FILES:
            local = _one_by_one(missing, scratch, progress)
            placed = place(local, folder, origin, force)
        else:
            archive = download(
                addresses.archive,
                scratch / "storage.zip",
                max_size=LARGEST_ARCHIVE_BYTES,
                progress=progress,
            )
            with files_of(archive) as packed:
                placed = place(_verified(packed, missing), folder, origin, force)
    except MalformedDataError:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    shutil.rmtree(scratch, ignore_errors=True)
    for name in chosen.keys() - missing.keys():
        path = target_of(folder, name)
        placed.unchanged.append(path)
        placed.hashes[path] = sha256_of(path)
    for figure in {path.parent for path in placed.hashes}:
        if read_provenance(figure).kind == "found":  # placed by a call that was interrupted
            write_provenance(figure, origin)
    placed.unknown = unknown
    _write_lock(folder, placed)
    return placed


def list_storage(listing_url: str = LISTING_URL) -> Iterator[FoundFile]:
    """List every file of the storage, folder by folder and page by page.

    Raises
    ------
    MissingDataError
        If OSF cannot be reached.
    MalformedDataError
        If what it answers is not a listing, or does not end.
    """
    todo, seen = [listing_url], set[str]()
    while todo:
        url = todo.pop(0)
        if url in seen or len(seen) >= MOST_PAGES:
            raise MalformedDataError(
                f"the listing of {listing_url} does not end (page {len(seen)}: {url})."
            )
        seen.add(url)
        page = _read_page(url)
        try:
            for item in page["data"]:
                if item["attributes"]["kind"] == "folder":
                    todo.append(
                        _same_server(
                            url, item["relationships"]["files"]["links"]["related"]["href"]
                        )
                    )
                else:
                    yield _remote_file(item)
            if following := page["links"].get("next"):
                todo.insert(0, _same_server(url, following))
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            raise MalformedDataError(
                f"{url} did not answer with a listing of files ({error!r}). {_BY_HAND}"
            ) from error


def changed_since_fetch(folder: Path) -> Iterator[Path]:
    """Yield the files that no longer have the bytes that were fetched.

    Raises
    ------
    MalformedDataError
        If the lock file is not one that `fetch` writes.
    """
    for name, entry in _read_lock(folder).items():
        path = folder / name
        if path.is_file() and sha256_of(path) != entry["sha256"]:
            yield path


#: Folders above the files of the source data, in an archive of them.
_DEEPEST_FOLDER = 20

_BY_HAND = (
    f"By hand: download https://osf.io/{PROJECT}/ as a zip with a browser, then "
    "`python -m core.source_data fetch --from ZIP`."
)


def _read_page(url: str) -> Any:
    with tempfile.TemporaryDirectory(prefix="osf-") as scratch:
        try:
            page = download(url, Path(scratch) / "page.json", max_size=LARGEST_PAGE_BYTES)
        except MissingDataError as error:
            raise MissingDataError(f"{error} {_BY_HAND}") from error
        try:
            return read_json(page, LARGEST_PAGE_BYTES)
        except ValueError as error:
            raise MalformedDataError(f"{url} did not answer with JSON ({error}).") from error


def _remote_file(item: Mapping[str, Any]) -> FoundFile:
    attributes = item["attributes"]
    hashes = (attributes.get("extra") or {}).get("hashes") or {}
    path, url = attributes.get("materialized_path") or attributes["name"], item["links"]["download"]
    size, sha256 = attributes["size"], hashes.get("sha256")
    if not isinstance(path, str) or not isinstance(url, str) or type(size) is not int or size < 0:
        raise ValueError(f"a file {path!r:.60} of size {size!r:.20} at {url!r:.60}")
    if sha256 is not None and not (isinstance(sha256, str) and _SHA256.fullmatch(sha256)):
        raise ValueError(f"a checksum {sha256!r:.80}")
    return FoundFile(path, size, partial(_not_here, path), sha256, url=url)


def _same_server(page: str, url: Any) -> str:
    """Return an address of the listing, which never leads to another server."""
    if not isinstance(url, str):
        raise ValueError(f"an address {url!r:.60}")
    if urlsplit(url)[:2] != urlsplit(page)[:2]:
        raise MalformedDataError(f"{page} sends on to another server ({url}); not followed.")
    return url


def _not_here(path: str) -> NoReturn:
    raise MissingDataError(f"{path} has not been fetched.")


def _is_there(folder: Path, file: FoundFile, force: bool) -> bool:
    path = target_of(folder, file.name)
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    return sha256_of(path) == file.sha256 if file.sha256 else not force


def _one_by_one(
    missing: Mapping[str, FoundFile], scratch: Path, progress: Progress | None
) -> dict[str, FoundFile]:
    local = {}
    for name, file in missing.items():
        path = download(
            file.url, scratch / name, sha256=file.sha256, expected_size=file.size,
            progress=progress,
        )  # fmt: skip
        local[name] = replace(file, open=partial(io.FileIO, path))
    return local


def _verified(
    packed: Iterable[FoundFile], missing: Mapping[str, FoundFile]
) -> dict[str, FoundFile]:
    """Find the missing files in the archive, by their path in the storage."""
    by_end = {end: file for file in packed for end in _ends(file.path.lstrip("/"))}
    found = {}
    for name, listed in missing.items():
        wanted = listed.path.lstrip("/")
        if wanted not in by_end:
            raise MissingDataError(f"OSF's archive lacks {wanted}, which its listing has.")
        found[name] = replace(by_end[wanted], sha256=listed.sha256)
    return found


def _ends(path: str) -> list[str]:
    """Return a path in an archive without its first folders, however many those are."""
    parts = path.split("/")
    return ["/".join(parts[first:]) for first in range(min(len(parts), _DEEPEST_FOLDER))]


def _write_lock(folder: Path, placed: Placed) -> None:
    entries = _read_lock(folder) | {
        path.relative_to(folder).as_posix(): {"sha256": digest, "size": path.stat().st_size}
        for path, digest in placed.hashes.items()
    }
    content = {"project": PROJECT, "files": dict(sorted(entries.items()))}
    write_json(folder / LOCK_FILE, content)


def _read_lock(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / LOCK_FILE
    if not path.is_file():
        return {}
    try:
        entries = read_json(path)["files"]
        return {
            str(name): {"sha256": str(e["sha256"]), "size": int(e["size"])}
            for name, e in entries.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise MalformedDataError(
            f"{path} is not a lock file of this software ({error!r:.200}); remove it and fetch "
            "again."
        ) from error

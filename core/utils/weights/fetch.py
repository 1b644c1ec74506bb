"""Find, fetch and check files of weights; `core.utils.weights.state_dicts` reads them."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from core.errors import CannotWriteError, MalformedDataError, MissingDataError
from core.files import UNFINISHED_SUFFIX, atomic_write, git_blob_of, locked, sha256_of
from core.reading.download import Progress, download
from core.utils.weights.registry import Address, Repository, Weights, weights_named

logger = logging.getLogger(__name__)

#: The environment variable that names the folder of the weights.
FOLDER_VARIABLE = "NEURON_GAN_WEIGHTS"
#: The variable by which users of the Hugging Face hub say that there is no network.
OFFLINE_VARIABLE = "HF_HUB_OFFLINE"
#: Beside each fetched file, its checksum in the format of ``sha256sum``.
CHECKSUM_SUFFIX = ".sha256"
_SHA256_DIGITS = 64
#: What the system says when a folder is full or closed to the user.
_CANNOT_WRITE = {errno.EACCES, errno.EDQUOT, errno.ENOSPC, errno.EPERM, errno.EROFS}
#: The command that the errors below name.
FETCH_COMMAND = "python -m core.utils.GAN_utils fetch"


def weights_folder() -> Path:
    """Return the folder of the weights: ``$NEURON_GAN_WEIGHTS``, or torch hub's checkpoints.

    The default is where the published code and torchvision keep theirs (``$TORCH_HOME`` moves
    it), so that files which are already there are used.
    """
    if given := os.environ.get(FOLDER_VARIABLE):
        return Path(given).expanduser()
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints"


def locate(name: str, folder: str | os.PathLike[str] | None = None) -> Path | None:
    """Find a file of weights on this machine.

    Parameters
    ----------
    name : str
        A name of `core.utils.weights.registry.REGISTRY`.
    folder : path-like, optional
        Default: `weights_folder`.

    Returns
    -------
    pathlib.Path or None
        The file in the folder, or where the published code kept it; None if it is nowhere.
    """
    weights = weights_named(name)
    folder = weights_folder() if folder is None else Path(folder)
    places = (folder / place for place in (weights.file, *weights.other_places))
    return next((place for place in places if place.is_file()), None)


@contextmanager
def required(name: str, path: str | os.PathLike[str] | None = None) -> Iterator[Path]:
    """Yield a checked file of weights to be read; fetch published ones at their first use.

    Parameters
    ----------
    name : str
        A name of `core.utils.weights.registry.REGISTRY`.
    path : path-like, optional
        A file to take instead of the published one. It needs no checksum.

    Yields
    ------
    pathlib.Path

    Raises
    ------
    MissingDataError
        If `path` does not exist, or if the weights are not here and cannot be fetched. The
        message names the file, the folder, and the command for a machine with network.
    MalformedDataError
        If the file is not the one whose checksum is known, or is another one after the block.
    """
    if path is not None and not Path(path).is_file():
        raise MissingDataError(f"there is no file of weights {path}.")
    found = Path(path) if path is not None else locate(name) or fetch(name)
    with unchanging(found):
        if path is None:
            check(name, found)
        yield found


@contextmanager
def unchanging(path: Path) -> Iterator[None]:
    """Refuse a file that is written or replaced in the block, in which it is checked and read.

    Raises
    ------
    MalformedDataError
        If it is another one after the block.
    """
    before = _version_of(path)
    yield
    if _version_of(path) != before:
        raise MalformedDataError(f"{path} changed while it was read; run this again.")


def _version_of(path: Path) -> tuple[int, ...]:
    """Return what a file that is written or replaced cannot keep."""
    state = path.stat()
    return state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


def fetch(
    name: str,
    folder: str | os.PathLike[str] | None = None,
    *,
    force: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Download a file of weights, unless it is there, and note its checksum beside it.

    Parameters
    ----------
    name : str
        A name of `core.utils.weights.registry.REGISTRY`.
    folder : path-like, optional
        Default: `weights_folder`. It can be copied to a machine without network as it is.
    force : bool, default False
        Download it even if it is there.
    progress : callable, optional
        As in `core.reading.download.download`. The hub shows a bar of its own.

    Returns
    -------
    pathlib.Path
        The file. An earlier one is replaced only by one that is complete and checked.

    Raises
    ------
    MissingDataError
        If the source cannot be reached.
    MalformedDataError
        If what arrived, or (without `force`) what is there, is not what its checksum says.
    CannotWriteError
        If the folder cannot be written.
    """
    weights = weights_named(name)
    folder = weights_folder() if folder is None else Path(folder)
    if not force and (found := locate(name, folder)) is not None:
        check(name, found)
        return found
    path = folder / weights.file
    try:
        require_network()
    except MissingDataError as error:
        raise _unavailable(weights, folder, str(error)) from error
    staging = folder / f".{name}{UNFINISHED_SUFFIX}"
    try:
        with locked(path):
            if not force and path.is_file():  # fetched while we waited
                return path
            logger.warning("fetching %s (about %d MB) to %s", path.name, weights.about_mb, folder)
            staging.mkdir(exist_ok=True)
            try:
                most_bytes = 2 * weights.about_mb << 20
                staged, stated = _download(weights.source, most_bytes, staging, progress)
                _place(weights, staged, stated, path)
                shutil.rmtree(staging)
            finally:
                with suppress(OSError):  # keeps what has arrived, for the next call to go on
                    staging.rmdir()
    except MissingDataError as error:
        raise _unavailable(weights, folder, str(error)) from error
    except (OSError, CannotWriteError) as error:
        reason = getattr(error, "strerror", None) or f"{error or type(error).__name__}"
        raise CannotWriteError(
            f"cannot write {path}: {reason} Free the space, or let ${FOLDER_VARIABLE} name "
            "another folder."
        ) from error
    return path


def require_network() -> None:
    """Refuse to download where the user has said that there is no network.

    Raises
    ------
    MissingDataError
        If ``$HF_HUB_OFFLINE`` is set.
    """
    if os.environ.get(OFFLINE_VARIABLE, "").upper() in {"1", "ON", "YES", "TRUE"}:
        raise MissingDataError(f"{OFFLINE_VARIABLE} is set")


def check(name: str, path: Path) -> str:
    """Compare a file with what is known of it.

    Parameters
    ----------
    name : str
        A name of `core.utils.weights.registry.REGISTRY`.
    path : pathlib.Path
        The file.

    Returns
    -------
    str
        Its SHA-256, or an empty text if nothing is known that it could be compared with.

    Raises
    ------
    MalformedDataError
        If it differs.
    """
    weights = weights_named(name)
    expected = _recorded_sha256(path) or weights.sha256_start
    if not expected:
        logger.info("%s: no checksum is known, taken as it is", path)
        return ""
    found = sha256_of(path)
    if not found.startswith(expected):
        raise MalformedDataError(
            f"{path} is damaged or another file: its SHA-256 is {found} instead of {expected}… "
            f"Fetch it again: {FETCH_COMMAND} {name} --force"
        )
    return found


def _download(
    source: Repository | Address, most_bytes: int, staging: Path, progress: Progress | None
) -> tuple[Path, str]:
    """Fetch one file into a folder; return it and the SHA-256 that its server states, or none."""
    if isinstance(source, Address):
        path = staging / source.url.rpartition("/")[2]
        return download(source.url, path, max_size=most_bytes, progress=progress), ""
    try:
        from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    except ImportError as error:
        raise MissingDataError(f"{error}; run: pip install huggingface_hub") from error
    try:
        # Asked first: it fails at once where there is no network, the download after 20 s.
        stated = get_hf_file_metadata(hf_hub_url(source.repository, source.file))
        file = hf_hub_download(source.repository, source.file, local_dir=staging)
    except Exception as error:  # the hub's HTTP library, and so its errors, change with its version
        if isinstance(error, OSError) and error.errno in _CANNOT_WRITE:
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise MissingDataError(f"{source}: {reason}") from error
    etag = stated.etag or ""  # the SHA-256 of large files; small ones have a git hash
    return Path(file), etag if len(etag) == _SHA256_DIGITS else ""


def _place(weights: Weights, staged: Path, stated_sha256: str, path: Path) -> None:
    """Give a fetched file its name, its checksum first; remove it if it is the wrong one."""
    sha256 = sha256_of(staged)
    if not sha256.startswith(expected := stated_sha256 or weights.sha256_start):
        staged.unlink()
        raise MalformedDataError(
            f"{weights.source} sent a {weights.file} whose SHA-256 is {sha256} instead of "
            f"{expected}…; nothing was kept. Try again later."
        )
    if weights.git_blob and (blob := git_blob_of(staged)) != weights.git_blob:
        staged.unlink()
        raise MalformedDataError(
            f"{weights.source} sent a {weights.file} that git calls {blob} instead of "
            f"{weights.git_blob}; nothing was kept. Get that version, or give the path of yours."
        )
    with atomic_write(_checksum_file(path)) as unfinished:
        unfinished.write_text(f"{sha256}  {path.name}\n", encoding="ascii")
    staged.replace(path)


def _recorded_sha256(path: Path) -> str:
    """Read the checksum beside a file; empty if there is none."""
    beside = _checksum_file(path)
    if not beside.is_file():
        return ""
    words = beside.read_text(encoding="ascii", errors="replace").split()
    if not words or len(words[0]) != _SHA256_DIGITS:
        raise MalformedDataError(f"{beside} does not hold a SHA-256; remove it.")
    return words[0].lower()


def _checksum_file(path: Path) -> Path:
    return path.with_name(path.name + CHECKSUM_SUFFIX)


def _unavailable(weights: Weights, folder: Path, reason: str) -> MissingDataError:
    return MissingDataError(
        f"{weights.file} (weights {weights.name!r}, about {weights.about_mb} MB) is not in "
        f"{folder} and cannot be fetched ({reason.rstrip('.')}). On a machine with network run "
        f"'{FETCH_COMMAND} {weights.name}', then copy the file and its {CHECKSUM_SUFFIX} into "
        f"that folder (${FOLDER_VARIABLE} names another one)."
    )

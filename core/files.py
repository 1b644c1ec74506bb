"""Writing files so that a reader never sees half of one, naming them by content, reading JSON."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from core.errors import CannotWriteError

if sys.platform != "win32":
    import fcntl

#: Files under this suffix are unfinished; no reader of this project ever opens one.
UNFINISHED_SUFFIX = ".unfinished"

#: No JSON file of this project comes near this.
LARGEST_JSON_BYTES = 16 << 20

#: An empty unfinished file may be one that another process has just made.
_NEW_FOR_S = 60


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends well.

    What a killed process left of the same file is removed; what another one is writing is not.

    Parameters
    ----------
    path : path-like
        The file to write. Its folder is made when it does not exist.

    Yields
    ------
    pathlib.Path
        Where to write. It exists, is empty, and is removed if the block raises, so that an
        earlier file at `path` stays as it was.

    Raises
    ------
    CannotWriteError
        If the folder or the file cannot be written (permission, full disk, a folder in the way).
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name}.", suffix=UNFINISHED_SUFFIX
        )
    except OSError as error:
        raise _cannot_write(path, error) from error
    unfinished = Path(name)
    try:
        with _held(handle):
            yield unfinished
            unfinished.chmod(0o666 & ~_umask())  # mkstemp makes private files; results are shared
            unfinished.replace(path)
        _remove_leftovers(path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        unfinished.unlink(missing_ok=True)


def move_into(folder: str | os.PathLike[str], paths: Iterable[Path]) -> list[Path]:
    """Move finished files of the same file system into a folder, replacing those of their name.

    Raises
    ------
    CannotWriteError
        If the folder cannot be made or written.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [path.replace(folder / path.name) for path in paths]
    except OSError as error:
        raise _cannot_write(folder, error) from error


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def git_blob_of(path: str | os.PathLike[str]) -> str:
    """Return the SHA-1 by which git knows a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        started = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        return hashlib.file_digest(file, lambda: started).hexdigest()


def read_json(path: str | os.PathLike[str], largest_bytes: int = LARGEST_JSON_BYTES) -> Any:
    """Read a JSON file that may come from anywhere.

    Raises
    ------
    ValueError
        If it is too large or nested too deep, holds NaN, or is no JSON at all. The caller knows
        what should have been there, and says so.
    """
    path = Path(path)
    if (size := path.stat().st_size) > largest_bytes:
        raise ValueError(f"{size} bytes; at most {largest_bytes} are read")
    try:
        return json.loads(path.read_bytes(), parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def _remove_leftovers(path: Path) -> None:
    """Remove the unfinished files of `path` whose processes are gone: nothing holds their locks."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*{UNFINISHED_SUFFIX}"):
        with suppress(OSError), left.open("rb") as file:
            state = os.fstat(file.fileno())
            is_old = state.st_size > 0 or time.time() - state.st_mtime > _NEW_FOR_S
            if is_old and _lock(file.fileno()):
                left.unlink()


@contextmanager
def _held(handle: int) -> Iterator[None]:
    """Keep a new file open and locked, so that other processes know that it is being written."""
    if sys.platform == "win32":  # no advisory locks, and no renaming of an open file
        os.close(handle)
        yield
        return
    try:
        _lock(handle)
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> bool:
    """Lock an open file until it is closed; False if another process has, or none can."""
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _cannot_write(path: Path, error: OSError) -> CannotWriteError:
    reason = error.strerror or type(error).__name__
    return CannotWriteError(
        f"cannot write {path}: {reason}. Nothing there was changed; "
        "free the space or give another folder that you may write to."
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

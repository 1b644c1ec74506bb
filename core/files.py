"""Writing files so that a reader never sees half of one, naming them by content, reading JSON."""

from __future__ import annotations

import functools
import glob
import hashlib
import inspect
import json
import logging
import math
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, NoReturn, ParamSpec, TypeVar

from core.errors import BusyError, CannotWriteError

if sys.platform != "win32":
    import fcntl

logger = logging.getLogger(__name__)

Given = ParamSpec("Given")
Result = TypeVar("Result")

#: Files under this suffix are unfinished; no reader of this project ever opens one.
UNFINISHED_SUFFIX = ".unfinished"

#: No JSON file of this project comes near this.
LARGEST_JSON_BYTES = 16 << 20


@contextmanager
def atomic_write(path: str | os.PathLike[str], durable: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends well.

    What a killed process left of the same file is removed; what another one is writing is not.

    Parameters
    ----------
    path : path-like
        The file to write. Its folder is made when it does not exist.
    durable : bool, default False
        Return only when file and name are on the disk, so that a reboot does not lose them; for
        what cannot be made again, such as responses of an animal.

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
        with _scratch(path, tempfile.mkstemp) as unfinished:
            yield unfinished
            mask = os.umask(0)
            os.umask(mask)
            unfinished.chmod(0o666 & ~mask)  # mkstemp makes private files; results are shared
            if durable:
                flush_to_disk(unfinished)
            unfinished.replace(path)
        if durable:
            flush_to_disk(path.parent)
        _remove_leftovers(path)
    except OSError as error:
        raise _cannot_write(path, error, "Nothing there was changed; ") from error


def flush_to_disk(path: str | os.PathLike[str]) -> None:
    """Wait until a file, or the names in a folder, are on the disk (Windows: files only)."""
    path = Path(path)
    if sys.platform == "win32" and path.is_dir():
        return
    handle = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(
    path: str | os.PathLike[str], content: Any, indent: int = 1, durable: bool = False
) -> None:
    """Write content in plain JSON (see `plain_json`), in UTF-8; an earlier file is replaced.

    Raises
    ------
    CannotWriteError
        If the file cannot be written.
    """
    text = json.dumps(plain_json(content), indent=indent, ensure_ascii=False, allow_nan=False)
    with atomic_write(path, durable) as unfinished:
        unfinished.write_text(text + "\n", encoding="utf-8")


def plain_json(value: Any) -> Any:
    """Return what JSON can hold of a value: of dataclasses their fields, of arrays lists.

    Numbers that are not finite, which JSON has no word for, become null.
    """
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def staging_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a new folder beside `path`, of this process alone, which is gone after the block.

    What killed processes left of the same name is removed.

    Raises
    ------
    CannotWriteError
        If the folder cannot be made.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _scratch(path, tempfile.mkdtemp) as folder:
            yield folder
        _remove_leftovers(path)
    except OSError as error:
        raise _cannot_write(path, error, "Nothing there was changed; ") from error


@contextmanager
def locked(path: str | os.PathLike[str], wait: bool = True) -> Iterator[None]:
    """Hold the right to write a file or folder; the system lets go of it when the process ends.

    The lock is the file ``.NAME.lock`` beside `path`, which is gone when nobody holds it. Without
    advisory locks (Windows) nothing is held.

    Parameters
    ----------
    path : path-like
        What is written; it need not exist.
    wait : bool, default True
        For a process that holds it, rather than be refused.

    Raises
    ------
    BusyError
        If another process holds it, and `wait` is false.
    CannotWriteError
        If no lock can be made beside `path`, or a link is in the way.
    """
    path = Path(path).absolute()
    lock = path.with_name(f".{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = _take(lock, path, wait)
    except OSError as error:
        raise _cannot_write(path, error, "Nothing there was changed; ") from error
    try:
        yield
    finally:
        with suppress(OSError):
            lock.unlink()
        os.close(handle)


def writes_alone(
    argument: str, wait: bool = False
) -> Callable[[Callable[Given, Result]], Callable[Given, Result]]:
    """Let a function hold the folder that one of its arguments names, see `locked`, while it runs.

    Parameters
    ----------
    argument : str
        Its name.
    wait : bool, default False
        For another process that writes there, rather than be refused.
    """

    def decorate(function: Callable[Given, Result]) -> Callable[Given, Result]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def held(*given: Given.args, **named: Given.kwargs) -> Result:
            with locked(signature.bind(*given, **named).arguments[argument], wait):
                return function(*given, **named)

        return held

    return decorate


def move_into(folder: str | os.PathLike[str], paths: Iterable[Path]) -> list[Path]:
    """Move finished files of the same file system into a folder, replacing those of their name.

    Raises
    ------
    CannotWriteError
        If the folder cannot be made or written; the message says how many files were moved.
    """
    folder, paths = Path(folder), list(paths)
    moved: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in paths:
            moved.append(path.replace(folder / path.name))  # noqa: PERF401 -- counted in the error
    except OSError as error:
        so_far = f"{len(moved)} of {len(paths)} files there were replaced already; run this again, "
        state = so_far if moved else "Nothing there was changed; "
        raise _cannot_write(folder, error, state) from error
    return moved


def open_own(path: Path, flags: int) -> int:
    """Open a regular file of a name that others may guess, and never what a link there points to.

    Raises
    ------
    OSError
        If it cannot be opened, is a link, has other names, or is no regular file.
    """
    guard = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    handle = os.open(path, flags | guard | getattr(os, "O_CLOEXEC", 0), 0o666)
    state = os.fstat(handle)
    if not stat.S_ISREG(state.st_mode) or state.st_nlink > 1:
        os.close(handle)
        raise OSError(0, "a link or a special file is in the way; remove it")
    return handle


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


@contextmanager
def _scratch(path: Path, make: Any) -> Iterator[Path]:
    """Make a file or folder of an unpredictable name beside `path`, locked until it is done."""
    while True:
        made = make(dir=path.parent, prefix=f".{path.name}.", suffix=UNFINISHED_SUFFIX)
        handle, name = made if isinstance(made, tuple) else (os.open(made, os.O_RDONLY), made)
        unfinished = Path(name)
        if sys.platform == "win32":  # no advisory locks, and no renaming of an open file
            os.close(handle)
            break
        if _lock(handle) and unfinished.exists():  # else taken for a leftover before it was locked
            break
        os.close(handle)
    try:
        yield unfinished
    finally:
        if unfinished.is_dir():
            shutil.rmtree(unfinished, ignore_errors=True)
        else:
            unfinished.unlink(missing_ok=True)
        if sys.platform != "win32":
            os.close(handle)


def _remove_leftovers(path: Path) -> None:
    """Remove the unfinished files of `path` whose processes are gone: nothing holds their locks."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*{UNFINISHED_SUFFIX}"):
        with suppress(OSError):
            handle = os.open(left, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
            try:
                if _lock(handle):
                    shutil.rmtree(left) if left.is_dir() else left.unlink()
            finally:
                os.close(handle)


def _take(lock: Path, path: Path, wait: bool) -> int:
    """Open and lock a file; where its holder has removed it meanwhile, take the next one."""
    while True:
        handle = open_own(lock, os.O_RDWR | os.O_CREAT)
        if sys.platform == "win32":
            return handle
        try:
            if not _lock(handle):
                if not wait:
                    raise BusyError(
                        f"another process is writing {path}; wait for it, or give another folder."
                    )
                logger.info("waiting for another process that is writing %s", path)
                fcntl.flock(handle, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(handle), lock.lstat()):
                return handle
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(handle)
            raise
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


def _cannot_write(path: Path, error: OSError, state: str) -> CannotWriteError:
    reason = error.strerror or type(error).__name__
    return CannotWriteError(
        f"cannot write {path}: {reason}. {state}"
        "free the space or give another folder that you may write to."
    )

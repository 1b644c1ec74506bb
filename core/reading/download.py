"""Fetch one file over HTTP; a half, wrong or changed file never takes the name of the whole one.

An interrupted download goes on where it stopped, in the same call or in the next one.
"""

from __future__ import annotations

import http.client
import json
import logging
import os
import socket
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import BinaryIO

from core.errors import CannotWriteError, MalformedDataError, MissingDataError, UsageError
from core.files import UNFINISHED_SUFFIX, sha256_of

if sys.platform != "win32":
    import fcntl

logger = logging.getLogger(__name__)

#: Called with the bytes received so far and, where the server told it, the bytes in all.
Progress = Callable[[int, int | None], None]

#: Answers that a server may take back: time-out, too many requests, and its own failures.
_PASSING_STATUS = frozenset({408, 429, 500, 502, 503, 504})
_RANGE_NOT_SATISFIABLE = 416
_CHUNK_BYTES = 1 << 18
#: A connection that brings less than this over a whole time-out window counts as dead.
_DEAD_BELOW_BYTES_PER_S = 1024


def download(
    url: str,
    path: str | os.PathLike[str],
    *,
    sha256: str | None = None,
    expected_size: int | None = None,
    max_size: int | None = None,
    progress: Progress | None = None,
    attempts: int = 5,
    timeout_s: float = 30.0,
    backoff_s: float = 1.0,
    longest_wait_s: float = 120.0,
) -> Path:
    """Fetch `url` into `path`, unless a file that meets `sha256` and `expected_size` is there.

    The bytes go to ``.<name>.unfinished`` beside `path` and take its name only when they are
    complete and verified. After a failure the unfinished file stays, and the next attempt or the
    next call asks the server for the rest, provided that the server still has the same file (its
    ETag or date says so). Processes that fetch the same file wait for each other.

    Parameters
    ----------
    url : str
        An http or https address. Redirects are followed.
    path : path-like
        Where the file goes; folders are made. An earlier file is replaced only by a verified one.
    sha256 : str, optional
        Checksum that the file must have, in hexadecimal.
    expected_size : int, optional
        Length in bytes that the file must have.
    max_size : int, optional
        Length in bytes at which the download is given up.
    progress : callable, optional
        Called as ``progress(received_bytes, total_bytes_or_None)`` while bytes arrive.
    attempts : int, default 5
        Connections tried before giving up on passing trouble (dropped connections, HTTP 429, 5xx).
    timeout_s : float, default 30
        Seconds without an answer, or with less than 1 kB/s, after which a connection is dropped.
    backoff_s : float, default 1
        Wait before the second attempt; doubled each time. A ``Retry-After`` of the server goes
        before it.
    longest_wait_s : float, default 120
        If the server asks for a longer wait than this, the call ends with an error that says so.

    Returns
    -------
    pathlib.Path
        `path`.

    Raises
    ------
    UsageError
        If `url` is not an http address.
    MissingDataError
        If the address has no such file, or cannot be reached after all attempts.
    MalformedDataError
        If what arrives is not what `sha256` or `expected_size` promise or exceeds `max_size`, or if
        neither the server nor the caller says how long the file is.
    CannotWriteError
        If the folder cannot be written.
    """
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"cannot fetch {url!r}: only http:// and https:// addresses are known.")
    path = Path(path)
    promise = _Promise(sha256.lower() if sha256 else None, expected_size, max_size)
    if path.is_file() and promise.broken_by(path) is None:
        return path
    unfinished = _Unfinished(path.with_name(f".{path.name}{UNFINISHED_SUFFIX}"), url)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _held(unfinished):
            if path.is_file() and promise.broken_by(path) is None:  # fetched while we waited
                unfinished.discard()
                return path
            connection = _Connection(url, unfinished, promise, timeout_s, progress)
            _persist(connection, attempts, backoff_s, longest_wait_s)
            broken = promise.broken_by(unfinished.path)
            if broken is not None:
                unfinished.discard()
                raise MalformedDataError(
                    f"{url} sent a file that {broken}; nothing was kept. Try again later, or "
                    f"fetch it by hand and put it at {path}."
                )
            unfinished.become(path)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CannotWriteError(
            f"cannot write {path}: {reason}. Free the space or give another folder."
        ) from error
    return path


@dataclass(frozen=True)
class _Promise:
    """What is known of a file before it is fetched."""

    sha256: str | None
    size: int | None
    max_size: int | None

    def broken_by(self, path: Path) -> str | None:
        """Say how the file differs from what was promised, or return None."""
        size = path.stat().st_size
        if self.size is not None and size != self.size:
            return f"has {size} bytes instead of {self.size}"
        if self.sha256 is not None and (found := sha256_of(path)) != self.sha256:
            return f"has SHA-256 {found} instead of {self.sha256}"
        return None


@dataclass(frozen=True)
class _Unfinished:
    """The bytes received so far, and beside them which version of which file they belong to."""

    path: Path
    url: str

    @property
    def origin(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    def resume_point(self) -> tuple[int, str]:
        """Return how many bytes can be kept and the validator they depend on; 0 for none."""
        try:
            origin = json.loads(self.origin.read_text(encoding="utf-8"))
            if origin["url"] == self.url and origin["validator"]:
                return self.path.stat().st_size, origin["validator"]
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return 0, ""

    def remember(self, headers: http.client.HTTPMessage) -> None:
        """Note which version the bytes come from: a strong ETag, or else the date."""
        etag = headers.get("ETag", "")
        validator = headers.get("Last-Modified", "") if etag[:2] in ("", "W/") else etag
        self.origin.write_text(
            json.dumps({"url": self.url, "validator": validator}), encoding="utf-8"
        )

    def become(self, path: Path) -> None:
        """Take the name of the finished file."""
        self.path.replace(path)
        self.origin.unlink(missing_ok=True)

    def restart(self) -> None:
        """Keep the file (another process may wait for it) but none of its bytes."""
        self.origin.unlink(missing_ok=True)
        os.truncate(self.path, 0)

    def discard(self) -> None:
        """Leave nothing behind."""
        self.path.unlink(missing_ok=True)
        self.origin.unlink(missing_ok=True)


class _PassingTrouble(Exception):
    """Something that may be over at the next attempt."""

    def __init__(self, what: str, wait_s: float | None = None) -> None:
        super().__init__(what)
        self.wait_s = wait_s


def _persist(
    connection: _Connection, attempts: int, backoff_s: float, longest_wait_s: float
) -> None:
    """Connect until the file is complete; wait longer after each failure."""
    for attempt in range(1, attempts + 1):
        try:
            connection.receive()
        except _PassingTrouble as trouble:
            wait_s = backoff_s * 2 ** (attempt - 1) if trouble.wait_s is None else trouble.wait_s
            kept = f"{connection.unfinished.path.stat().st_size} bytes are kept"
            if attempt == attempts:
                raise MissingDataError(
                    f"cannot fetch {connection.url}: {trouble}, after {attempts} attempts. "
                    f"{kept}; call again to go on from there."
                ) from trouble
            if wait_s > longest_wait_s:
                raise MissingDataError(
                    f"{connection.url}: {trouble}, and the server asks to wait {wait_s:.0f} s. "
                    f"{kept}; call again after that."
                ) from trouble
            logger.warning("%s: %s; trying again in %.1f s", connection.url, trouble, wait_s)
            time.sleep(wait_s)
        else:
            return


@dataclass(frozen=True)
class _Connection:
    """One address, and how to take one connection's worth of bytes from it."""

    url: str
    unfinished: _Unfinished
    promise: _Promise
    timeout_s: float
    progress: Progress | None

    def receive(self) -> None:
        """Fetch what is still missing; return only when the server's file is complete."""
        offset, validator = self.unfinished.resume_point()
        headers = {"User-Agent": "dynamic-neuron-gan-alignment", "Accept-Encoding": "identity"}
        if offset:
            headers |= {"Range": f"bytes={offset}-", "If-Range": validator}
        with self._open(headers) as response:
            if response.status != http.client.PARTIAL_CONTENT:
                offset = 0
            elif not response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
                self.unfinished.restart()
                raise _PassingTrouble("the server sent another part than was asked for")
            total = self._announced_size(response, offset)
            self.unfinished.remember(response.headers)
            received = self._append(response, offset, total)
        if total is not None and received != total:
            raise _PassingTrouble(f"the connection closed after {received} of {total} bytes")

    def _open(self, headers: dict[str, str]) -> http.client.HTTPResponse:
        request = urllib.request.Request(self.url, headers=headers)
        try:
            return urllib.request.urlopen(request, timeout=self.timeout_s)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == _RANGE_NOT_SATISFIABLE:
                self.unfinished.restart()
                raise _PassingTrouble("the server's file became shorter") from error
            if error.code in _PASSING_STATUS:
                raise _PassingTrouble(f"HTTP {error.code}", _retry_after_s(error)) from error
            reason = " ".join(str(error.reason).split())
            raise MissingDataError(f"{self.url} answers HTTP {error.code}: {reason}.") from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, (socket.gaierror, ssl.SSLCertVerificationError)):
                raise MissingDataError(
                    f"cannot reach {self.url}: {error.reason}. Is this machine without network?"
                ) from error
            raise _PassingTrouble(str(error.reason)) from error
        except (OSError, http.client.HTTPException) as error:
            raise _PassingTrouble(str(error) or type(error).__name__) from error

    def _announced_size(self, response: http.client.HTTPResponse, offset: int) -> int | None:
        """Return the whole file's length; None where only the end of a chunked body will tell."""
        if (length := response.headers.get("Content-Length")) is not None:
            total = offset + int(length)
            if self.promise.size not in (None, total):
                self.unfinished.discard()
                raise MalformedDataError(
                    f"{self.url} offers a file of {total} bytes instead of {self.promise.size}."
                )
            return total
        if not response.chunked and self.promise.sha256 is None and self.promise.size is None:
            raise MalformedDataError(
                f"{self.url} does not say how long its file is, so that a cut one could not be "
                "told from a whole one; give sha256= or expected_size=."
            )
        return self.promise.size

    def _append(self, response: http.client.HTTPResponse, received: int, total: int | None) -> int:
        window_start, window_bytes = time.monotonic(), 0
        with self.unfinished.path.open("r+b") as file:
            file.truncate(received)
            file.seek(received)
            while chunk := _read(response):
                file.write(chunk)
                received += len(chunk)
                if self.promise.max_size is not None and received > self.promise.max_size:
                    self.unfinished.discard()
                    raise MalformedDataError(
                        f"{self.url} sends more than the {self.promise.max_size} bytes that were "
                        "expected at most; nothing was kept."
                    )
                window_bytes += len(chunk)
                if self.progress is not None:
                    self.progress(received, total)
                if time.monotonic() - window_start >= self.timeout_s:
                    if window_bytes < _DEAD_BELOW_BYTES_PER_S * self.timeout_s:
                        raise _PassingTrouble(f"{window_bytes} bytes in {self.timeout_s:.0f} s")
                    window_start, window_bytes = time.monotonic(), 0
        return received


def _read(response: http.client.HTTPResponse) -> bytes:
    """Read what has arrived; network trouble is told apart from a full disk."""
    try:
        return response.read1(_CHUNK_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise _PassingTrouble(str(error) or type(error).__name__) from error


def _retry_after_s(error: urllib.error.HTTPError) -> float | None:
    """Return the wait that a server asks for, given in seconds or as a date."""
    asked = error.headers.get("Retry-After", "").strip()
    if asked.isdigit():
        return float(asked)
    try:
        return max(0.0, (parsedate_to_datetime(asked) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


@contextmanager
def _held(unfinished: _Unfinished) -> Iterator[None]:
    """Hold an unfinished file (made when absent) while other processes that want it wait."""
    path = unfinished.path
    while True:
        with path.open("ab") as file:
            if sys.platform == "win32":  # no advisory locks, and no renaming of an open file
                file.close()
            else:
                fcntl.flock(file, fcntl.LOCK_EX)
                if not _is_open_at(file, path):  # whoever held it finished and renamed it
                    continue
            try:
                yield
            finally:
                if path.exists() and path.stat().st_size == 0:
                    unfinished.discard()
            return


def _is_open_at(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False

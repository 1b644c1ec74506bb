"""Fetch one file over HTTP; a half, wrong or changed file never takes the name of the whole one.

An interrupted download goes on where it stopped, in the same call or in the next one.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import logging
import os
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from core.errors import (
    BusyError,
    CannotWriteError,
    MalformedDataError,
    MissingDataError,
    UsageError,
)
from core.files import UNFINISHED_SUFFIX, locked, open_own, sha256_of, write_json

logger = logging.getLogger(__name__)

#: Called with the bytes received so far and, where the server told it, the bytes in all.
Progress = Callable[[int, int | None], None]

#: Answers that a server may take back: time-out, too many requests, and its own failures.
_PASSING_STATUS = frozenset({408, 429, 500, 502, 503, 504})
_RANGE_NOT_SATISFIABLE = 416
_CHUNK_BYTES = 1 << 18
#: Longest note of where an unfinished file comes from, and longest number in a header.
_LONGEST_NOTE, _MOST_DIGITS = 10_000, 16
#: How long a finished answer must be silent.
_SILENCE_S = 0.2
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
    unfinished = _Unfinished(path.with_name(f".{path.name}{UNFINISHED_SUFFIX}"), url)
    if path.is_file() and promise.broken_by(path) is None:
        if unfinished.is_left:  # by a killed process, unless another one is at it
            with suppress(BusyError, CannotWriteError, OSError), locked(path, wait=False):
                unfinished.discard()
        return path
    try:
        with locked(path):
            try:
                if path.is_file() and promise.broken_by(path) is None:  # fetched while we waited
                    unfinished.discard()
                    return path
                unfinished.open().close()
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
            finally:
                unfinished.discard_if_empty()
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

    @property
    def is_left(self) -> bool:
        """Whether there is anything of it."""
        return any(os.path.lexists(path) for path in (self.path, self.origin))

    def resume_point(self) -> tuple[int, str]:
        """Return how many bytes can be kept and the validator they depend on; 0 for none."""
        try:
            with os.fdopen(open_own(self.origin, os.O_RDONLY), encoding="utf-8") as file:
                origin = json.loads(file.read(_LONGEST_NOTE))
            url, validator = origin["url"], origin["validator"]
            if url == self.url and isinstance(validator, str) and validator:
                return self.path.lstat().st_size, validator
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            pass
        return 0, ""

    def open(self) -> BinaryIO:
        """Open the file for reading and writing; make it when it is absent, follow no link."""
        return os.fdopen(open_own(self.path, os.O_RDWR | os.O_CREAT), "r+b")

    def remember(self, headers: http.client.HTTPMessage) -> None:
        """Note which version the bytes come from: a strong ETag, or else the date."""
        etag = headers.get("ETag", "")
        validator = headers.get("Last-Modified", "") if etag[:2] in ("", "W/") else etag
        write_json(self.origin, {"url": self.url, "validator": validator})

    def become(self, path: Path) -> None:
        """Take the name of the finished file."""
        self.path.replace(path)
        self.origin.unlink(missing_ok=True)

    def restart(self) -> None:
        """Keep none of the bytes."""
        self.origin.unlink(missing_ok=True)
        with self.open() as file:
            file.truncate()

    def discard_if_empty(self) -> None:
        """Leave nothing behind of which nothing has arrived."""
        with suppress(OSError):
            if self.path.lstat().st_size == 0:
                self.discard()

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
        watch = _Watch(self.timeout_s)
        with watch, self._open(headers, watch) as response:
            watch.restart()
            if response.status != http.client.PARTIAL_CONTENT:
                offset = 0
            elif not response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
                self.unfinished.restart()
                raise _PassingTrouble("the server sent another part than was asked for")
            total = self._announced_size(response, offset)
            self.unfinished.remember(response.headers)
            received = self._append(response, offset, total, watch)
        if total is not None and received != total:
            raise _PassingTrouble(f"the connection closed after {received} of {total} bytes")

    def _open(self, headers: dict[str, str], watch: _Watch) -> http.client.HTTPResponse:
        try:
            request = urllib.request.Request(self.url, headers=headers)
            opener = urllib.request.build_opener(_Http(watch), _Https(watch), _Redirects(self.url))
            return opener.open(request, timeout=self.timeout_s)
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
            raise _PassingTrouble(watch.told or str(error) or type(error).__name__) from error
        except ValueError as error:  # UnicodeError is one
            raise MalformedDataError(
                f"{self.url} leads to an address that cannot be ({error!s:.100})."
            ) from error

    def _announced_size(self, response: http.client.HTTPResponse, offset: int) -> int | None:
        """Return the whole file's length; None where only the end of a chunked body will tell."""
        lengths = set(response.headers.get_all("Content-Length") or ())
        if lengths and not response.chunked:
            (length,) = lengths if len(lengths) == 1 else ("",)
            if not (length.isascii() and length.isdigit() and len(length) < _MOST_DIGITS):
                self.unfinished.discard()
                raise MalformedDataError(
                    f"{self.url} says that its file is {' and '.join(sorted(lengths))!r:.80} bytes "
                    "long; try again later, or fetch it by hand."
                )
            total = offset + int(length)
            if self.promise.size not in (None, total):
                self.unfinished.discard()
                raise MalformedDataError(
                    f"{self.url} offers a file of {total} bytes instead of {self.promise.size}."
                )
            self._require_below_limit(total)
            return total
        if not response.chunked and self.promise.sha256 is None and self.promise.size is None:
            raise MalformedDataError(
                f"{self.url} does not say how long its file is, so that a cut one could not be "
                "told from a whole one; give sha256= or expected_size=."
            )
        return self.promise.size

    def _require_below_limit(self, n_bytes: int) -> None:
        limits = [n for n in (self.promise.size, self.promise.max_size) if n is not None]
        if limits and n_bytes > min(limits):
            self.unfinished.discard()
            raise MalformedDataError(
                f"{self.url} sends more than the {min(limits)} bytes that were expected at most; "
                "nothing was kept."
            )

    def _append(
        self,
        response: http.client.HTTPResponse,
        received: int,
        total: int | None,
        watch: _Watch,
    ) -> int:
        with self.unfinished.open() as file:
            file.truncate(received)
            file.seek(received)
            if not response.chunked:
                response.length = None  # else it would hide what comes after the announced end
            while chunk := _read(response, watch):
                self._require_below_limit(received + len(chunk))
                file.write(chunk)
                received += len(chunk)
                if self.progress is not None:
                    self.progress(received, total)
                if received == total and not response.chunked and not watch.more_comes(response):
                    break
        if total is not None and received > total:
            self.unfinished.discard()
            raise MalformedDataError(
                f"{self.url} sends more than the {total} bytes that it announced; nothing was "
                "kept. Try again later, or fetch it by hand."
            )
        return received


def _read(response: http.client.HTTPResponse, watch: _Watch) -> bytes:
    """Read what has arrived; network trouble is told apart from a full disk."""
    try:
        chunk = response.read1(_CHUNK_BYTES)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _PassingTrouble(watch.told or str(error) or type(error).__name__) from error
    if watch.told:
        raise _PassingTrouble(watch.told)
    watch.n_bytes += len(chunk)
    return chunk


class _Watch:
    """Closes a connection over which too little comes, whether of a head, a chunk or a body."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.told = ""
        self.n_bytes = 0
        self._sockets: list[socket.socket] = []
        self._ended = threading.Event()
        self.restart()

    def __enter__(self) -> None:
        threading.Thread(target=self._look, daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for connected in self._sockets:  # close() would wait for answers that nobody holds
            if (descriptor := connected.detach()) >= 0:
                socket.close(descriptor)

    def restart(self) -> None:
        """Begin a new time-out window."""
        self._until, self.n_bytes = time.monotonic() + self.timeout_s, 0

    def add(self, connected: socket.socket) -> None:
        """Watch one more connection; redirects make several."""
        self._sockets.append(connected)

    def more_comes(self, response: http.client.HTTPResponse) -> bool:
        """Whether bytes come after the announced end; a connection may stay open without any."""
        with suppress(OSError, http.client.HTTPException, ValueError):
            self._sockets[-1].settimeout(_SILENCE_S)
            return bool(response.peek(1))
        return False

    def _look(self) -> None:
        while not self._ended.wait(self.timeout_s / 10):
            if time.monotonic() < self._until:
                continue
            if self.n_bytes < _DEAD_BELOW_BYTES_PER_S * self.timeout_s:
                slow = f"only {self.n_bytes} bytes in {self.timeout_s:g} s"
                self.told = slow if self.n_bytes else "timed out"
                for connected in self._sockets:
                    with suppress(OSError):
                        connected.shutdown(socket.SHUT_RDWR)
                return
            self.restart()


def _watched(kind: type[http.client.HTTPConnection], watch: _Watch) -> Any:
    class Watched(kind):  # type: ignore[misc, valid-type]
        def connect(self) -> None:
            super().connect()
            watch.add(self.sock)

    return Watched


class _Http(urllib.request.HTTPHandler):
    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        self._watch = watch

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_watched(http.client.HTTPConnection, self._watch), req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        self._watch = watch

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        context = ssl.create_default_context()
        return self.do_open(
            _watched(http.client.HTTPSConnection, self._watch), req, context=context
        )


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https, and from outside never to a private address."""

    def __init__(self, url: str) -> None:
        self._from_inside = _is_private(url)

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if not newurl.startswith(("http://", "https://")):
            raise MalformedDataError(f"{req.full_url} redirects to {newurl!r:.100}; not followed.")
        if not self._from_inside and _is_private(newurl):
            raise MalformedDataError(
                f"{req.full_url} redirects to {newurl!r:.100}, an address of this machine or its "
                "network; not followed."
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _is_private(url: str) -> bool:
    """Whether a host is this machine, or of a network that others do not reach."""
    host = urlsplit(url).hostname or ""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False  # connecting to it says why
    addresses = {str(one[4][0]).partition("%")[0] for one in found}
    return any(not ipaddress.ip_address(address).is_global for address in addresses)


def _retry_after_s(error: urllib.error.HTTPError) -> float | None:
    """Return the wait that a server asks for, given in seconds or as a date."""
    asked = error.headers.get("Retry-After", "").strip()
    if asked.isascii() and asked.isdigit() and len(asked) < _MOST_DIGITS:
        return float(asked)
    try:
        return max(0.0, (parsedate_to_datetime(asked) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None

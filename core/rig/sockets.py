"""A rig behind a local TCP socket: one line of JSON out, one line of JSON back, per block.

Out: ``experiment``, ``block``, ``attempt``, ``trials`` (names in order), ``pictures`` (name → PNG
in base64). Back: ``block``, ``attempt``, ``stimulusID``, ``tEvokedResp`` (trials × channels) and,
where there are spike densities, ``psth`` (trials × ms × channels); null is a lost trial. MATLAB
speaks this with ``tcpclient``, ``jsondecode`` and ``matlab.net.base64decode``.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import MalformedDataError, MissingDataError, UsageError
from core.rig.blocks import BlockResponses, Request, responses_from
from core.rig.session import Rig, SessionInfo

#: No block of pictures comes near this.
LARGEST_LINE_BYTES = 256 << 20

#: Pause before a connection is tried again.
_PAUSE_S = 0.1


class SocketRig(Rig):
    """A rig that listens on a port of this computer.

    Parameters
    ----------
    address : tuple of (str, int)
        Host and port; the host must be this computer ("127.0.0.1", "::1" or "localhost").
    session, info, references, repeats, seed
        As for `Rig`.
    timeout_s : float, default 1800
        How long to wait for the responses to a block, connections that failed included.

    Raises
    ------
    UsageError
        If the address is not local.
    """

    def __init__(
        self,
        address: tuple[str, int],
        session: str | Path,
        info: SessionInfo,
        *,
        references: Sequence[str | Path] = (),
        repeats: int = 1,
        seed: int = 0,
        timeout_s: float = 1800,
    ) -> None:
        self.address, self.timeout_s = local_address(address), timeout_s
        super().__init__(session, info, references=references, repeats=repeats, seed=seed)

    def exchange(self, request: Request) -> BlockResponses:
        """Send a block and wait for its responses; connect again if the rig went away.

        Raises
        ------
        MissingDataError
            If no responses come in time.
        MalformedDataError
            If they are those of another block, or unreadable.
        """
        deadline = time.monotonic() + self.timeout_s
        reason = "nobody listens"
        while (left := deadline - time.monotonic()) > 0:
            try:
                with socket.create_connection(self.address, timeout=left) as connection:
                    connection.sendall(_request_line(request))
                    line = _line_from(connection, deadline)
                if line:
                    return responses_of(line, request, f"rig at {self.address[0]}")
                reason = "the rig closed the connection"
            except OSError as error:
                reason = error.strerror or str(error)
            time.sleep(min(_PAUSE_S, max(left, 0)))
        raise MissingDataError(
            f"no responses to {request.label} came within {self.timeout_s:g} s from "
            f"{self.address[0]}:{self.address[1]} ({reason}); start the rig and go on with "
            "resume=True."
        )


def serve(
    answer: Callable[[Request], BlockResponses],
    port: int = 0,
    *,
    ready: Callable[[int], None] = lambda port: None,
) -> None:
    """Answer blocks on a local port until interrupted.

    Parameters
    ----------
    answer : callable
        From a block to its responses.
    port : int, default 0
        0 takes a free one.
    ready : callable
        Told the port when it listens.
    """
    with socket.create_server(("127.0.0.1", port)) as server:
        ready(server.getsockname()[1])
        while True:
            connection, _ = server.accept()
            with connection:
                _serve_one(connection, answer)


def local_address(address: tuple[str, int]) -> tuple[str, int]:
    """Return an address of this computer.

    Raises
    ------
    UsageError
        If it is another computer's, or no port.
    """
    host, port = address
    try:
        is_local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_local = False
    if not is_local or not 0 < int(port) < 1 << 16:
        raise UsageError(
            f"address {host}:{port} was given; a rig is reached at 127.0.0.1 and a port from 1 to "
            "65535. Forward the port, or use a FolderRig, for another computer."
        )
    return host, int(port)


def _serve_one(connection: socket.socket, answer: Callable[[Request], BlockResponses]) -> None:
    try:
        line = _line_from(connection, float("inf"))
        if line:
            connection.sendall(_response_line(answer(_request(line)), _request(line)))
    except OSError:  # the other side was killed; it will ask again
        return


def _line_from(connection: socket.socket, deadline: float) -> bytes:
    """Read up to a line's end; nothing if the other side went away before it."""
    parts, size = [], 0
    while True:
        if deadline < float("inf"):
            connection.settimeout(max(deadline - time.monotonic(), 0.01))
        part = connection.recv(1 << 20)
        parts.append(part)
        size += len(part)
        if part.endswith(b"\n"):
            return b"".join(parts)
        if not part:
            return b""
        if size > LARGEST_LINE_BYTES:
            raise MalformedDataError(f"a message of more than {LARGEST_LINE_BYTES} bytes came.")


def _request_line(request: Request) -> bytes:
    pictures = {name: base64.b64encode(png).decode() for name, png in request.pictures.items()}
    return _line(
        {
            "experiment": request.experiment,
            "block": request.block,
            "attempt": request.attempt,
            "trials": list(request.trials),
            "pictures": pictures,
        }
    )


def _request(line: bytes) -> Request:
    found = json.loads(line)
    pictures = {name: base64.b64decode(text) for name, text in found["pictures"].items()}
    trials = tuple(found["trials"])
    return Request(found["experiment"], found["block"], found["attempt"], pictures, trials)


def _response_line(responses: BlockResponses, request: Request) -> bytes:
    message: dict[str, Any] = {
        "block": request.block,
        "attempt": request.attempt,
        "stimulusID": list(responses.names),
        "tEvokedResp": _with_null(responses.evoked),
    }
    if responses.psth is not None:
        message["psth"] = _with_null(responses.psth)
    return _line(message)


def responses_of(line: bytes, request: Request, source: str) -> BlockResponses:
    """Return the responses to a block that a line of JSON holds, in the order of its trials.

    Raises
    ------
    MalformedDataError
        If they are unreadable, or those of another block.
    """
    try:
        found = json.loads(line)
        label = (found["block"], found["attempt"])
        arrays = {
            name: found[name] if name == "stimulusID" else np.array(found[name], np.float64)
            for name in ("stimulusID", "tEvokedResp", "psth")
            if name in found
        }  # null becomes NaN
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise MalformedDataError(f"the {source} sent no responses ({error!s:.200}).") from error
    if label != (request.block, request.attempt):
        raise MalformedDataError(
            f"the {source} sent the responses to block {label[0]!s:.40}; this is block "
            f"{request.block}."
        )
    return responses_from(arrays, source).in_order_of(request.trials, source)


def _with_null(values: Any) -> Any:
    array = np.asarray(values, dtype=object)
    array[np.isnan(np.asarray(values, dtype=np.float64))] = None
    return array.tolist()


def _line(message: Any) -> bytes:
    return json.dumps(message, allow_nan=False).encode() + b"\n"

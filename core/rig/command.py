"""Fake neurons behind an exchange folder or a local port: ``python -m core.rig``."""

from __future__ import annotations

import argparse
import sys

from core.command_line import a_path, command_parser
from core.errors import UsageError, exit_code_of
from core.rig.fake import FakeNeurons, serve_folder
from core.rig.sockets import serve
from core.utils.generators.named import object_named


def main(arguments: list[str] | None = None) -> int:
    """Answer blocks until interrupted."""
    parser = command_parser(
        "python -m core.rig",
        "Answer the blocks of a FolderRig or a SocketRig by fake neurons.",
        "python -m core.rig --neurons my_neurons:make --folder exchange",
    )
    parser.add_argument(
        "--neurons", required=True, metavar="MODULE:OBJECT",
        help="a FakeNeurons, or a function that returns one",
    )  # fmt: skip
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--folder", type=a_path, metavar="DIR", help="exchange folder of a FolderRig"
    )
    where.add_argument("--port", type=int, metavar="N", help="local port of a SocketRig; 0: any")
    given = parser.parse_args(arguments)
    return exit_code_of(lambda: _run(given))


def _run(given: argparse.Namespace) -> None:
    found = object_named(given.neurons, "fake neurons")
    neurons = found if isinstance(found, FakeNeurons) else found()
    if not isinstance(neurons, FakeNeurons):
        raise UsageError(f"{given.neurons} returned {type(neurons).__name__}, not FakeNeurons.")
    if given.folder is not None:
        sys.stdout.write(f"answering in {given.folder}\n")
        sys.stdout.flush()
        serve_folder(neurons, given.folder, form="h5")
    else:
        serve(neurons, given.port, ready=_say_port)


def _say_port(port: int) -> None:
    sys.stdout.write(f"listening on 127.0.0.1:{port}\n")
    sys.stdout.flush()

"""The command line of the weights: ``python -m core.utils.GAN_utils list`` and ``fetch``."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from tqdm import tqdm

from core.command_line import a_path, command_parser
from core.errors import MalformedDataError, exit_code_of
from core.utils.weights.fetch import FOLDER_VARIABLE, check, fetch, locate, weights_folder
from core.utils.weights.registry import REGISTRY, Weights, weights_named

_PROGRAM = "python -m core.utils.GAN_utils"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 done, 1 failed, 2 usage, 3 something missing."""
    parser = command_parser(
        _PROGRAM,
        "Look after the weights of generators and networks.",
        f"{_PROGRAM} fetch fc6 biggan-deep-256",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    listing = commands.add_parser("list", help="say which weights are here, with size and licence")
    listing.add_argument(
        "--verify", action="store_true", help="compare checksums (reads each file)"
    )
    listing.set_defaults(run=lambda given: _list(_folder(given), given.verify))
    fetching = commands.add_parser(
        "fetch",
        help="download weights",
        epilog="The folder, with the checksums in it, can be copied to a machine without network.",
    )
    fetching.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="as in the list, or 'all'; by default what the paper uses",
    )
    fetching.add_argument("--force", action="store_true", help="download again what is there")
    fetching.set_defaults(run=lambda given: _fetch(given.names, _folder(given), given.force))
    for command in (listing, fetching):
        command.add_argument(
            "--folder",
            type=a_path,
            metavar="DIR",
            help=f"default: ${FOLDER_VARIABLE}, or the checkpoints of torch hub",
        )
    given = parser.parse_args(arguments)
    return exit_code_of(lambda: given.run(given))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def _folder(given: argparse.Namespace) -> Path:
    return weights_folder() if given.folder is None else given.folder


def _list(folder: Path, verify: bool) -> int:
    """Print one line per file; 1 if a file is not what its checksum says."""
    damaged = False
    for row in REGISTRY.values():
        path = locate(row.name, folder)
        state, complaint = _state(row, path, verify)
        damaged |= bool(complaint)
        _say(f"{row.name:26}{row.about_mb:5} MB  {state:12}{path or folder / row.file}")
        _say(f"{'':36}{row.licence}{'; ' if row.used_for else ''}{row.used_for}{complaint}")
    return int(damaged)


def _state(row: Weights, path: Path | None, verify: bool) -> tuple[str, str]:
    """Say whether a file is there, and what is wrong with it."""
    if path is None:
        return "absent", ""
    if not verify:
        return "present", ""
    try:
        return ("verified" if check(row.name, path) else "no checksum"), ""
    except MalformedDataError as error:
        return "DAMAGED", f"\n{'':36}{error}"


def _fetch(names: list[str], folder: Path, force: bool) -> int:
    """Download files one after the other; go on after a failure and return the worst exit code."""
    rows = _chosen(names)
    absent = [row for row in rows if force or locate(row.name, folder) is None]
    _say(f"{len(absent)} of {len(rows)} to fetch, about {sum(r.about_mb for r in absent)} MB")
    worst = 0
    for row in rows:
        worst = max(worst, exit_code_of(partial(_fetch_one, row, folder, force)))
    return worst


def _chosen(names: list[str]) -> list[Weights]:
    """Return rows by name; without any, what the paper uses."""
    if names and names != ["all"]:
        return [weights_named(name) for name in names]
    return [row for row in REGISTRY.values() if row.used_for or names]


def _fetch_one(row: Weights, folder: Path, force: bool) -> int:
    bar = tqdm(unit="B", unit_scale=True, desc=row.name, disable=not sys.stderr.isatty())

    def show(received: int, total: int | None) -> None:
        bar.total = total
        bar.update(received - bar.n)

    with bar:
        path = fetch(row.name, folder, force=force, progress=show)
    _say(f"{row.name:26}{path}")
    return 0

"""``python -m core.source_data``: check and fetch source data."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from core.command_line import a_path, command_parser, help_texts, some_of
from core.errors import MissingDataError, UserError, exit_code_of, log_to_terminal, say
from core.source_tables import block_means, osf
from core.source_tables.placement import (
    FoundFile,
    Placed,
    choose_files,
    figure_of,
    files_of,
    place,
)
from core.source_tables.provenance import Provenance, read_provenance
from core.source_tables.reader import DEFAULT_FOLDER, TableStatus, check_folder
from core.source_tables.registry import FIGURE_NAMES, FIGURES, TABLES


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 all there, 1 something malformed, 2 usage, 3 something missing."""
    parser = command_parser(
        "python -m core.source_data",
        "Look after the source data that the figures read.",
        "python -m core.source_data check source_data --figure Fig4",
        "python -m core.source_data fetch --from ~/Downloads/osfstorage.zip",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    checked = "Say which tables are present, missing or malformed."
    example = "python -m core.source_data check source_data --figure Fig4,Fig5"
    check = commands.add_parser("check", help=checked, **help_texts(checked, example))
    check.add_argument(
        "folder", nargs="?", type=a_path, default=DEFAULT_FOLDER, help="default: %(default)s"
    )
    _add_figure(check)
    check.set_defaults(run=lambda given: _print_check(given.folder, given.figure))
    _add_fetch(commands)
    given = parser.parse_args(arguments)
    return exit_code_of(lambda: given.run(given))


def _add_fetch(commands: Any) -> None:
    fetched = "Download the authors' source data, or take them from a folder or zip archive."
    fetch = commands.add_parser(
        "fetch",
        help=fetched,
        **help_texts(
            f"{fetched} The tables of all figures are on OSF; the block means of all 170 "
            "evolutions give Figures 2, 4, 5 and Extended 4. Both are fetched by default.",
            "python -m core.source_data fetch --from ~/Downloads/osfstorage.zip",
        ),
    )
    fetch.add_argument(
        "--source", action="append", choices=_SOURCES, help="only this; may be repeated"
    )
    fetch.add_argument(
        "--output", type=a_path, default=DEFAULT_FOLDER, metavar="DIR", help="default: %(default)s"
    )
    fetch.add_argument(
        "--from",
        dest="given_by_hand",
        type=a_path,
        metavar="PATH",
        help="a folder or zip archive that you downloaded yourself; no network is used",
    )
    _add_figure(fetch)
    fetch.add_argument(
        "--force", action="store_true", help="replace files that are there with other content"
    )
    fetch.set_defaults(run=_fetch)


def _add_figure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--figure",
        action="extend",
        type=some_of(FIGURES, "figure", FIGURE_NAMES),
        metavar="NAME",
        help=f"only these, separated by commas, of {', '.join(FIGURES)}",
    )


def _fetch(given: argparse.Namespace) -> int:
    """Fetch source data; 1 if files of other content were kept."""
    log_to_terminal()
    if given.given_by_hand is None:
        return _fetch_from(given, given.source or list(_SOURCES))
    with files_of(given.given_by_hand) as found:
        if not block_means.are_block_means(found):
            return _place(given, found)
    _tell_block_means(given.output, block_means.keep(given.given_by_hand, given.output))
    return 0


def _fetch_from(given: argparse.Namespace, sources: list[str]) -> int:
    """Fetch one source after the other; what fails is told, and does not stop the others."""
    came, failed = [], []
    for source in sources:
        try:
            came.append(_SOURCES[source](given))
        except UserError as error:
            if len(sources) == 1:
                raise
            say(f"{source}: {error}\n", sys.stderr)
            failed.append(error.exit_code)
    return max(came) if came else min(failed)


def _fetch_osf(given: argparse.Namespace) -> int:
    with tqdm(unit="B", unit_scale=True, disable=None, desc="OSF") as bar:
        return _tell(
            given,
            osf.fetch(
                given.output, given.figure, given.force, progress=lambda n, of: _show(bar, n, of)
            ),
        )


def _fetch_block_means(given: argparse.Namespace) -> int:
    if given.figure and not set(given.figure) & set(block_means.FIGURES_MADE):
        raise MissingDataError(
            f"block means make no table of {', '.join(given.figure)}, only of "
            f"{', '.join(block_means.FIGURES_MADE)}."
        )
    with tqdm(unit="B", unit_scale=True, disable=None, desc="block means") as bar:
        is_new = block_means.fetch(given.output, progress=lambda n, of: _show(bar, n, of))
    _tell_block_means(given.output, is_new)
    return 0


_SOURCES = {"osf": _fetch_osf, "block-means": _fetch_block_means}


def _tell_block_means(folder: Path, is_new: bool) -> None:
    state = "checked and kept" if is_new else "there already"
    say(
        f"block means of all 170 evolutions {state} in {block_means.kept_archive(folder)}; real "
        "data for Figures 2, 4, 5 and Extended 4, without single trials\n"
    )


def _place(given: argparse.Namespace, found: list[FoundFile]) -> int:
    """Place the tables of a folder or archive that was downloaded by hand."""
    chosen, unknown = choose_files(found)
    wanted = given.figure or FIGURES
    chosen = {name: file for name, file in chosen.items() if figure_of(name) in wanted}
    if not chosen:
        raise MissingDataError(
            f"{given.given_by_hand} holds no file that a figure reads; expected names such "
            f"as Fig4A_SuccessRate_maxinit.csv, or block means with their {block_means.INDEX_FILE}."
        )
    origin = Provenance("found", {"from": given.given_by_hand.name})
    placed = place(chosen, given.output, origin, given.force)
    placed.unknown = unknown
    return _tell(given, placed)


def _tell(given: argparse.Namespace, placed: Placed) -> int:
    say(
        f"{len(placed.written)} files written, {len(placed.unchanged)} there already, "
        f"{len(placed.unknown)} that no figure reads; in {given.output}\n"
    )
    say("".join(f"placed {renamed}\n" for renamed in placed.renamed))
    for path in placed.kept:
        say(f"kept {path}: it has other content; --force replaces it\n", sys.stderr)
    if placed.kept:
        return 1
    reached = {path.parent.name for path in placed.hashes}
    missing = list(_needed_and_missing(given.output, given.figure or reached))
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise MissingDataError(
            f"tables that figures need are still missing in {given.output}: "
            f"{', '.join(missing[:5])}{more}; `python -m core.source_data check` lists them."
        )
    return 0


def _needed_and_missing(folder: Path, figures: Iterable[str]) -> Iterator[str]:
    for spec in (spec for spec in TABLES.values() if spec.figure in figures and not spec.optional):
        paths = [spec.find(folder, member) for member in spec.members]
        yield from (path.name for path in paths if not path.is_file())


def _origins(folder: Path, figures: Iterable[str]) -> Iterator[str]:
    """Say where the tables of each figure come from, those of one origin together."""
    there = {name: read_provenance(folder / name) for name in figures if (folder / name).is_dir()}
    for origin in dict.fromkeys((found.mark, found.explanation) for found in there.values()):
        names = [name for name, found in there.items() if (found.mark, found.explanation) == origin]
        yield f"{', '.join(names)}: {f'{origin[0]}, ' if origin[0] else ''}{origin[1]}"


def _total(statuses: list[TableStatus]) -> str:
    """Count the files, those that a figure needs first."""
    counts = Counter((status.spec.optional, status.state) for status in statuses)
    needed, optional = (
        f"{counts[kind, 'present']} of {sum(n for (k, _), n in counts.items() if k is kind)}"
        for kind in (False, True)
    )
    malformed = counts[False, "malformed"] + counts[True, "malformed"]
    return f"in all: {needed} needed files present, {optional} optional; {malformed} malformed"


def _show(bar: Any, received: int, total: int | None) -> None:
    bar.total = total
    bar.update(received - bar.n)


def _print_check(folder: str | Path, figures: list[str] | None) -> int:
    statuses = list(check_folder(folder, figures))
    say("".join(f"{line}\n" for line in _origins(Path(folder), figures or FIGURES)))
    for spec, group in itertools.groupby(statuses, key=lambda status: status.spec):
        files = list(group)
        present = sum(status.state == "present" for status in files)
        state = "present" if present == len(files) else "missing"
        state = "malformed" if any(status.state == "malformed" for status in files) else state
        note = " (optional)" if spec.optional else ""
        say(f"{state:9}  {present:3}/{len(files):<3}  {spec.key}: {spec.meaning}{note}\n")
        say("".join(f"{'':11}{status.problem}\n" for status in files if status.problem))
        absent = [status.path.name for status in files if status.state == "missing"]
        if 0 < len(absent) < len(files):
            more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
            say(f"{'':11}missing: {', '.join(absent[:3])}{more}\n")
    say(f"{_total(statuses)}\n")
    changed = list(osf.changed_since_fetch(Path(folder)))
    say("".join(f"changed    {path}: no longer what was fetched from OSF\n" for path in changed))
    if changed or any(status.state == "malformed" for status in statuses):
        return 1
    needed = [status for status in statuses if not status.spec.optional]
    return MissingDataError.exit_code if any(s.state == "missing" for s in needed) else 0

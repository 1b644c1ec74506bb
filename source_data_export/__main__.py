"""``python -m source_data_export``: source data of all figures from recordings."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from core.errors import MissingDataError, exit_code_of
from core.source_data import DEFAULT_FOLDER
from neuro_data_analysis.neural_data_lib import MATROOT_VARIABLE
from source_data_export.exports import EXPORTS, Report, run


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Returns
    -------
    int
        0 exported (what could not be is listed), 1 failed, 2 usage, 3 nothing to export, or a
        figure that was asked for by name is missing its recordings.
    """
    parser = argparse.ArgumentParser(
        prog="python -m source_data_export",
        description="Export the source data of the figures from recordings.",
        epilog="example: python -m source_data_export --matroot /data/Mat_Statistics "
        "--output my_source_data --figure Fig4",
    )
    parser.add_argument(
        "--matroot",
        type=Path,
        metavar="DIR",
        help=f"folder of the recordings (default: the environment variable {MATROOT_VARIABLE})",
    )
    parser.add_argument(
        "--output", type=Path, default=DEFAULT_FOLDER, metavar="DIR", help="default: %(default)s"
    )
    parser.add_argument(
        "--figure", action="append", choices=list(EXPORTS), help="only this; may be repeated"
    )
    parser.add_argument(
        "--force", action="store_true", help="replace tables that another source has put there"
    )
    given = parser.parse_args(arguments)
    return exit_code_of(lambda: _run(given))


def _run(given: argparse.Namespace) -> int:
    matroot = given.matroot or os.environ.get(MATROOT_VARIABLE)
    if not matroot:
        raise MissingDataError(
            f"no recordings were given: use --matroot DIR, or set {MATROOT_VARIABLE}."
        )
    report = run(matroot, given.output, given.figure or EXPORTS, given.force)
    _print(report)
    missing = report.left_out and (given.figure or not report.written)
    return MissingDataError.exit_code if missing else 0


def _print(report: Report) -> None:
    for figure, paths in report.written.items():
        sys.stdout.write(f"{figure:13} {len(paths):4} files in {paths[0].parent}\n")
    for figure, error in report.left_out.items():
        sys.stderr.write(f"{figure:13} left out: {error}\n")
    for expi, reason in report.experiments_left_out.items():
        sys.stderr.write(f"experiment {expi} is in no table: {reason}\n")


if __name__ == "__main__":
    sys.exit(main())

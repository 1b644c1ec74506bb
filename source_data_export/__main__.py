"""``python -m source_data_export``: source data of all figures from recordings."""

from __future__ import annotations

import sys

from core import start

if __name__ == "__main__":
    sys.exit(start.run("source_data_export.__main__"))

import argparse

from core.command_line import a_path, command_parser, some_of
from core.errors import MissingDataError, exit_code_of, log_to_terminal
from core.source_tables.reader import DEFAULT_FOLDER
from core.source_tables.registry import FIGURE_NAMES
from neuro_data_analysis.neural_data_lib import MATROOT_VARIABLE, matroot
from neuro_data_analysis.similarity.tables import NETWORKS, FeatureSettings
from neuro_data_analysis.tuning.tables import SUCCESS_SOURCES
from source_data_export.exports import EXPORTS, Options, Report, run


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Returns
    -------
    int
        0 exported (what could not be is listed), 1 failed, 2 usage, 3 nothing to export, or a
        figure that was asked for by name is missing its recordings.
    """
    parser = command_parser(
        "python -m source_data_export",
        "Export the source data of the figures from recordings.",
        "python -m source_data_export --matroot simulated_matroot --output my_source_data \\\n"
        "    --figure Fig4",
    )
    parser.add_argument(
        "--matroot",
        type=a_path,
        metavar="DIR",
        help=f"folder of the recordings (default: the environment variable {MATROOT_VARIABLE})",
    )
    parser.add_argument(
        "--output", type=a_path, default=DEFAULT_FOLDER, metavar="DIR", help="default: %(default)s"
    )
    parser.add_argument(
        "--figure",
        action="extend",
        type=some_of(EXPORTS, "figure", FIGURE_NAMES),
        metavar="NAME",
        help=f"only these, separated by commas, of {', '.join(EXPORTS)}",
    )
    parser.add_argument(
        "--force", action="store_true", help="replace tables that another source has put there"
    )
    figure3 = parser.add_argument_group("Figure 3")
    figure3.add_argument(
        "--prototypes", type=a_path, metavar="DIR", help="prototype montages (default: in MATROOT)"
    )
    figure3.add_argument(
        "--network",
        action="append",
        choices=NETWORKS,
        help="compare prototypes by this network; may be repeated (default: the one that is drawn)",
    )
    figure3.add_argument(
        "--weights",
        action="append",
        default=[],
        type=_weights,
        metavar="NETWORK=FILE",
        help="state dict of a network, such as resnet50_linf8=imagenet_linf_8_pure.pt",
    )
    figure3.add_argument(
        "--untrained", action="store_true", help="compare by untrained networks, marked as such"
    )
    parser.add_argument(
        "--success",
        choices=SUCCESS_SOURCES,
        default="published",
        help="success flags of Figure 6: published, or computed from recorded evolutions",
    )
    parser.add_argument(
        "--results",
        action="append",
        default=[],
        type=a_path,
        metavar="DIR",
        help="output of an in-silico run for Extended Figure 5 (default: the packaged tables)",
    )
    given = parser.parse_args(arguments)
    return exit_code_of(lambda: _run(given))


def _run(given: argparse.Namespace) -> int:
    log_to_terminal()
    report = run(
        given.matroot or matroot(), given.output, given.figure, given.force, _options(given)
    )
    _print(report)
    missing = report.left_out and (given.figure or not report.written)
    return MissingDataError.exit_code if missing else 0


def _options(given: argparse.Namespace) -> Options:
    features = FeatureSettings(
        networks=tuple(given.network or NETWORKS[:1]),
        weights=dict(given.weights),
        pretrained=not given.untrained,
    )
    told = given.network or given.weights or given.untrained
    return Options(
        given.prototypes, features if told else None, given.success, tuple(given.results)
    )


def _weights(text: str) -> tuple[str, str]:
    network, separator, file = text.partition("=")
    if not separator or network not in NETWORKS or not file:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not NETWORK=FILE with NETWORK one of {', '.join(NETWORKS)}"
        )
    return network, file


def _print(report: Report) -> None:
    for figure, paths in report.written.items():
        sys.stdout.write(f"{figure:13} {len(paths):4} files in {paths[0].parent}\n")
    for figure, error in report.left_out.items():
        sys.stderr.write(f"{figure:13} left out: {error}\n")
    for expi, reason in report.experiments_left_out.items():
        sys.stderr.write(f"experiment {expi} is in no table: {reason}\n")

"""``python -m figure_reproduction``: all figures, and a page that shows them."""

from __future__ import annotations

import sys

from core import start

if __name__ == "__main__":
    sys.exit(start.run("figure_reproduction.__main__"))

import argparse
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import matplotlib as mpl
from joblib import Parallel, cpu_count, delayed  # type: ignore[import-untyped]

from core.command_line import a_path, command_parser, require_writable, some_of
from core.errors import MissingDataError, UserError, exit_code_of, log_to_terminal, say
from core.files import write_json
from core.source_tables.provenance import read_provenance
from core.source_tables.registry import FIGURE_NAMES
from figure_reproduction.page.page import (
    FigureScript,
    Printed,
    PrintJob,
    add_print_arguments,
    print_figure,
    print_job,
    with_data,
)
from figure_reproduction.page.report import SINGLE_FILE, write_report
from figure_reproduction.page.reuse import ingredients, made_before, remember
from figure_reproduction.page.runs import record_run
from figure_reproduction.page.verification import verify

#: The figures of the paper, in its order.
SCRIPTS = (
    "Figure2", "Figure3", "Figure4", "Figure5", "Figure6", "FigureExt4", "FigureExt5",
    "FigureMore1",
)  # fmt: skip

#: Figures of many pictures, which are begun first.
_LARGE = ("FigureExt4", "Figure4", "Figure5")

#: Figures that are made at the same time, at most: each takes some 300 MB.
MOST_JOBS = 4

#: How the folders of their tables call them.
_OTHER_NAMES = {folder: name for name, folder in FIGURE_NAMES.items() if name in SCRIPTS}


logger = logging.getLogger(__name__)


@dataclass
class MadeFigure:
    """A figure, what it is made of, and what came of it.

    Attributes
    ----------
    script : FigureScript
        The figure.
    job : PrintJob
        With the data that were chosen.
    origin : str
        Kind of the data.
    printed : Printed
        What came of it: a problem, or the same figure made before; empty as long as it is not made.
    made_of : str
        Digest of all that it is made of, where it has to be made.
    seconds : float
        How long that took.
    """

    script: FigureScript
    job: PrintJob
    origin: str
    printed: Printed
    made_of: str = ""
    seconds: float = 0.0


def figure_script(name: str) -> FigureScript:
    """Return the figure of a script, such as ``"Figure4"``."""
    return import_module(f"figure_reproduction.{name}_reproduction").FIGURE


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Returns
    -------
    int
        0 all made, 1 something failed or (with --verify) differs from the paper, 2 usage, 3 source
        data are missing.
    """
    parser = command_parser(
        "python -m figure_reproduction",
        "Make all figures, their numbers and a page that shows them.",
        "python -m figure_reproduction --figure Figure4,Figure5 --simulate-missing",
    )
    parser.add_argument(
        "--figure",
        action="extend",
        type=some_of(SCRIPTS, "figure", _OTHER_NAMES),
        metavar="NAME",
        help=f"only these, separated by commas, of {', '.join(SCRIPTS)}",
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="end with PASS, FAIL (1) or INCOMPLETE (3): do the numbers printed in the paper, and "
        "the dots of 5C and Extended 4C, come out of real data?",
    )
    parser.add_argument(
        "--json", type=a_path, metavar="FILE", help="write the verdict of --verify to a file, too"
    )
    parser.add_argument(
        "--robustness",
        action="store_true",
        help="hold every claim against tests that respect sites, animals and the choice of the "
        "best block, and put the table on the page; figures are made only where --figure names "
        "them",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help=f"figures made at the same time (default: as many as processors, at most {MOST_JOBS})",
    )
    parser.add_argument(
        "--single-file",
        action="store_true",
        help=f"also write {SINGLE_FILE}: the page with its pictures inside, to be sent or kept",
    )
    parser.add_argument(
        "--paper-pictures",
        type=a_path,
        metavar="DIR",
        help="folder of the paper's own pictures (4A.png, 4B_last.png, …), to stand beside these",
    )
    add_print_arguments(parser)
    given = parser.parse_args(arguments)
    log_to_terminal()
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # tells of every glyph of a PDF
    mpl.use("Agg")
    return exit_code_of(lambda: _run(given))


def _run(given: argparse.Namespace) -> int:
    job = print_job(given)
    require_writable(job.output)
    if given.paper_pictures and not given.paper_pictures.is_dir():
        raise MissingDataError(f"there is no folder {given.paper_pictures} of pictures.")
    if given.json:
        require_writable(given.json.parent)
    names = given.figure or (() if given.robustness else SCRIPTS)
    judged = given.verify or given.json
    outcomes = [_ordered(name, job, given.simulate_missing, reuse=not judged) for name in names]
    _make(outcomes, given.jobs)
    if given.robustness:
        _robustness(with_data(figure_script("Figure4"), job, given.simulate_missing))
    write_report(
        job.output, _not_made(outcomes),
        paper_pictures=given.paper_pictures, single_file=given.single_file,
    )  # fmt: skip
    _print_summary(outcomes, job.output)
    if given.single_file:
        sys.stdout.write(f"{job.output / SINGLE_FILE} is the page in one file.\n")
    codes = [outcome.printed.exit_code for outcome in outcomes]
    if judged:
        codes.append(_verify(outcomes, given.json))
    return min((code for code in codes if code), default=0)


def _ordered(name: str, job: PrintJob, simulate_missing: bool, reuse: bool) -> MadeFigure:
    """Choose the data of a figure; look whether it was made of them before."""
    script = figure_script(name)
    try:
        chosen = with_data(script, job, simulate_missing)
        origin = read_provenance(chosen.source_data / script.folder).kind
    except UserError as error:
        return MadeFigure(script, job, "none", Printed(problems={name: error}))
    made_of = ingredients(script.folder, chosen)
    if reuse and (done := made_before(chosen.output, name, made_of)):
        return MadeFigure(script, chosen, origin, done)
    return MadeFigure(script, chosen, origin, Printed(), made_of)


def _make(figures: Iterable[MadeFigure], jobs: int | None) -> None:
    """Make what is not done yet, several figures at a time; what stops one stays its own."""
    ordered = [figure for figure in figures if figure.made_of]
    largest_first = sorted(ordered, key=lambda figure: figure.script.name not in _LARGE)
    if ordered:
        logger.info("making %s", ", ".join(figure.script.name for figure in largest_first))
    n_jobs = min(jobs or cpu_count(), MOST_JOBS, max(len(ordered), 1))
    made = Parallel(n_jobs=n_jobs)(
        delayed(_print)(figure.script.name, figure.job) for figure in largest_first
    )
    for figure, outcome in zip(largest_first, made, strict=True):
        figure.printed, figure.seconds = outcome
    for figure in ordered:
        name, job = figure.script.name, figure.job
        if name not in figure.printed.problems:
            record_run(job.output, name, job.arguments, job.source_data)
        remember(job.output, name, figure.made_of, figure.printed)


def _print(name: str, job: PrintJob) -> tuple[Printed, float]:
    """Make one figure, maybe in a process of its own; what stops it becomes part of the outcome."""
    begun = time.monotonic()
    mpl.use("Agg")
    try:
        printed = print_figure(figure_script(name), job)
    except UserError as error:
        printed = Printed(problems={name: error})
    except Exception as error:  # a defect in one figure must not take the others with it
        logger.exception("%s failed", name)
        told = UserError(f"{type(error).__name__}: {error}; the log above has the details.")
        printed = Printed(problems={name: told})
    return printed, time.monotonic() - begun


def _not_made(outcomes: Iterable[MadeFigure]) -> dict[str, str]:
    """Return why figures could not be made at all."""
    return {
        outcome.script.name: str(problem)
        for outcome in outcomes
        for name, problem in outcome.printed.problems.items()
        if name == outcome.script.name
    }


def _verify(outcomes: Iterable[MadeFigure], as_json: Path | None) -> int:
    """Say how the numbers of this run compare with the paper; the exit code of the verdict."""
    panels: dict[str, Any] = {}
    problems: dict[str, str] = {}
    asked_for: list[str] = []
    for outcome in outcomes:
        names = [panel.name for panel in outcome.script.panels]
        asked_for += names
        panels |= outcome.printed.panels
        for name, problem in outcome.printed.problems.items():
            whole_figure = name == outcome.script.name
            problems |= dict.fromkeys(names if whole_figure else [name], str(problem))
    verification = verify(panels, problems, asked_for)
    if as_json:
        write_json(as_json, verification.as_json())
    say("".join(f"{line}\n" for line in verification.lines()))
    return verification.exit_code


def _robustness(job: PrintJob) -> None:
    # Mixed models take as long to import as all figures together, and no figure needs them.
    from figure_reproduction.robustness.report import analyse, told, write_robustness

    found = analyse(job.source_data)
    write_robustness(found, job.output)
    say(told(found))


def _print_summary(outcomes: Iterable[MadeFigure], output: Path) -> None:
    out = sys.stdout
    if outcomes:
        out.write(f"\n{'figure':12} {'data':12} {'files':>5} {'seconds':>8}  problems\n")
    for outcome in outcomes:
        printed = outcome.printed
        out.write(
            f"{outcome.script.name:12} {outcome.origin:12} {len(printed.pictures):5} "
            f"{outcome.seconds:8.1f}  {len(printed.problems) or 'none'}\n"
        )
        for panel, problem in printed.problems.items():
            out.write(f"{'':12} {panel}: {problem}\n")
    out.write(f"\n{output / 'index.html'} shows everything.\n")


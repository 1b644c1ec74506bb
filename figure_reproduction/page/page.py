"""The page that every figure is printed on: its panels, command line, marks and files.

A figure script makes one `FigureScript` and hangs its panels on it: functions that take the tables
they declare, and give all numbers drawn together with drawings that do no arithmetic.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from core.command_line import a_path, command_parser, require_writable, some_of
from core.errors import MalformedDataError, MissingDataError, UserError, exit_code_of
from core.files import atomic_write, locked, plain_json, read_json, write_json
from core.published import Statistic, compare
from core.source_tables.reader import DEFAULT_FOLDER, SIMULATED_FOLDER, Reading, SourceData
from core.versions import software_versions
from figure_reproduction.page.choice import choose_data
from figure_reproduction.page.runs import record_run
from figure_reproduction.page.sheet import (
    FONT,
    Drawing,
    Place,
    in_rows,
    letters_of,
    print_sheet,
    style,
)

#: Where pictures and numbers go by default.
DEFAULT_OUTPUT = Path(__file__).resolve().parents[2] / "figures"

_ROOT = Path(__file__).resolve().parents[2]

FORMATS = ("png", "pdf", "svg")

#: Keeps the time of day and the name of the program out of the files: same data, same bytes.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
    "svg": {"Date": None, "Creator": None},
}

#: Tables of a font that choose and move glyphs while text is set; here it is set already.
_TYPESETTING = ("GDEF", "GPOS", "GSUB")

@dataclass(frozen=True)
class Shown:
    """What a panel shows.

    Attributes
    ----------
    statistics : iterable of Statistic
        Its numbers, for the JSON file and for comparison with the paper.
    drawings : mapping of str to Drawing
        Its pictures, by the names of their files; none for a panel of numbers only.
    note : str
        A sentence of the caption that depends on the data.
    """

    statistics: Iterable[Statistic]
    drawings: Mapping[str, Drawing] = field(default_factory=dict)
    note: str = ""


#: Takes the tables that a panel reads, one argument for each.
Show: TypeAlias = Callable[..., Shown]


@dataclass(frozen=True)
class Panel:
    """One panel of a figure.

    Attributes
    ----------
    name : str
        As the paper calls it, such as ``"4A"``.
    reads : tuple of str
        Its tables, by their names within the figure, see `SourceData.gather`.
    show : callable
        The tables in that order → what is shown. Its docstring is the caption. With a keyword
        argument ``recorded_only`` it is told whether blocks are to be tested once more without
        padding.
    """

    name: str
    reads: tuple[str, ...]
    show: Show

    @property
    def caption(self) -> str:
        """What it shows, in our words; also the alternative text of its pictures."""
        return " ".join((inspect.getdoc(self.show) or "").split())

    def read(
        self, source: SourceData, folder: str, recorded_only: bool = False
    ) -> tuple[Reading, Shown, dict[str, Place]]:
        """Read the tables of the panel and compute what it shows.

        Parameters
        ----------
        source : SourceData
            Where the tables are.
        folder : str
            That of the figure, ``"Fig4"``.
        recorded_only : bool, default False
            Whether blocks are tested once more without padding, where the panel can.

        Returns
        -------
        reading : Reading
        shown : Shown
        places : dict of str to Place
            Its pictures by name, with the mark of the data, not yet on a sheet.

        Raises
        ------
        MissingDataError, MalformedDataError
            As `SourceData.gather`.
        """
        reading = source.gather(folder, self.reads)
        knows = "recorded_only" in inspect.signature(self.show).parameters
        shown = self.show(*reading.tables, **({"recorded_only": recorded_only} if knows else {}))
        origin = reading.provenance
        return reading, shown, {
            name: Place(
                drawing, panel=self.name, mark=origin.mark, origin=origin.line,
                names=origin.space_names,
            )
            for name, drawing in shown.drawings.items()
        }  # fmt: skip


@dataclass
class FigureScript:
    """One figure of the paper.

    Attributes
    ----------
    name : str
        ``"Figure4"``; names the JSON file.
    folder : str
        Folder of its tables below the source data, ``"Fig4"``.
    title : str
        What the figure is about.
    pages : tuple of pages
        How the pictures are put together for print: each page is a tuple of rows, each row a tuple
        of names of pictures, as the paper arranges them.
    panels : list of Panel
        In the order of the paper.
    """

    name: str
    folder: str
    title: str
    pages: tuple[tuple[tuple[str, ...], ...], ...] = ()
    panels: list[Panel] = field(default_factory=list)

    def panel(self, name: str, reads: Sequence[str]) -> Callable[[Show], Show]:
        """Make a function the next panel of the figure.

        Parameters
        ----------
        name, reads
            See `Panel`.

        Examples
        --------
        >>> figure = FigureScript("Figure4", "Fig4", "success and speed of evolutions")
        >>> @figure.panel("4A", reads=("success_rate",))
        ... def success(success_rate):
        ...     '''Fraction of evolutions that climbed.'''
        ...     return Shown([Statistic("n", len(success_rate))])
        >>> figure.panels[0].caption
        'Fraction of evolutions that climbed.'
        """

        def hang(show: Show) -> Show:
            self.panels.append(Panel(name, tuple(reads), show))
            return show

        return hang

    @property
    def command(self) -> str:
        """What remakes the figure."""
        return f"python figure_reproduction/{self.name}_reproduction.py"

    def main(self, arguments: list[str] | None = None) -> int:
        """Run the command line of the script, see `main`."""
        return main(self, arguments)


@dataclass(frozen=True)
class PrintJob:
    """What to make of a figure, and where.

    Attributes
    ----------
    source_data : pathlib.Path
        Folder of the source data.
    output : pathlib.Path
        Where pictures and JSON go.
    formats : tuple of str
        Of `FORMATS`.
    form : {"csv", "pkl"}
        Which twin of a table to read where the published set has two.
    panels : tuple of str
        Names of panels; empty for all.
    recorded_only : bool
        Whether blocks of Figure 5C and Extended Figure 4C are also tested without padding.
    """

    source_data: Path = DEFAULT_FOLDER
    output: Path = DEFAULT_OUTPUT
    formats: tuple[str, ...] = ("png", "pdf")
    form: str = "csv"
    panels: tuple[str, ...] = ()
    recorded_only: bool = False

    @property
    def arguments(self) -> str:
        """What a command line needs, beyond its defaults, to draw the same."""
        given = []
        if self.source_data == SIMULATED_FOLDER:
            given.append("--simulate-missing")
        elif self.source_data != DEFAULT_FOLDER:
            given.append(f"--source-data {shlex.quote(str(self.source_data))}")
        if self.form != "csv":
            given.append(f"--from {self.form}")
        if self.recorded_only:
            given.append("--recorded-only")
        return "".join(f" {argument}" for argument in given)


@dataclass
class Printed:
    """What came of a print job.

    Attributes
    ----------
    pictures : list of pathlib.Path
        Files written.
    panels : dict of str to dict
        Panel → what the JSON file says of it.
    problems : dict of str to UserError
        Panel → why it could not be made.
    """

    pictures: list[Path] = field(default_factory=list)
    panels: dict[str, Any] = field(default_factory=dict)
    problems: dict[str, UserError] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0, or the code of the gravest problem: 1 (failed) before 3 (missing)."""
        codes = {problem.exit_code for problem in self.problems.values()}
        return min(codes, default=0)


def print_figure(script: FigureScript, job: PrintJob, show: bool = False) -> Printed:
    """Make the panels of a figure; one that cannot be made does not stop the others.

    Parameters
    ----------
    script : FigureScript
        The figure.
    job : PrintJob
        What to make of it, and where.
    show : bool, default False
        Whether to open windows at the end.

    Returns
    -------
    Printed

    Raises
    ------
    MissingDataError
        If there is no source-data folder.
    CannotWriteError
        If the output cannot be written.
    """
    source = SourceData(job.source_data, job.form)
    require_writable(job.output)
    printed, places = Printed(), dict[str, Place]()
    with locked(job.output / script.name), style():
        for panel in script.panels:
            if job.panels and panel.name not in job.panels:
                continue
            try:
                reading, shown, drawn = panel.read(source, script.folder, job.recorded_only)
                pictures = {name: _print([place], name, job, show) for name, place in drawn.items()}
                printed.panels[panel.name] = _entry(panel, reading, shown, pictures)
            except (MissingDataError, MalformedDataError) as problem:
                printed.problems[panel.name] = problem
            else:
                places |= drawn
                printed.pictures += [path for paths in pictures.values() for path in paths]
        _tell_unpickled(printed.panels, job.form)
        composed = {} if job.panels else {
            name: _print(page, name, job, keep_open=False)
            for name, page in composed_pages(script, places)
        }  # fmt: skip
        printed.pictures += [path for paths in composed.values() for path in paths]
        _write_json(script, printed, composed, job)
        if show:
            plt.show()
    return printed


def main(script: FigureScript, arguments: list[str] | None = None) -> int:
    """Run the command line of a figure script.

    Returns
    -------
    int
        0 done, 1 a panel failed, 2 usage, 3 data are missing.
    """
    panels = [panel.name for panel in script.panels]
    parser = command_parser(
        script.command,
        f"{script.name}: {script.title}.",
        f"{script.command} --panel {panels[0]} --format png,svg",
    )
    parser.add_argument(
        "--panel",
        action="extend",
        default=[],
        type=some_of(panels, "panel"),
        metavar="NAME",
        help=f"only these, separated by commas, of {', '.join(panels)}",
    )
    parser.add_argument("--show", action="store_true", help="also open windows")
    add_print_arguments(parser)
    given = parser.parse_args(arguments)
    if not given.show:
        mpl.use("Agg")
    return exit_code_of(lambda: _run(script, given))


def add_print_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that all figures share."""
    parser.add_argument(
        "--source-data",
        type=a_path,
        default=DEFAULT_FOLDER,
        metavar="DIR",
        help="folder that holds Fig2, Fig4, … (default: %(default)s)",
    )
    parser.add_argument(
        "--output", type=a_path, default=DEFAULT_OUTPUT, metavar="DIR", help="default: %(default)s"
    )
    parser.add_argument(
        "--format",
        type=some_of(FORMATS, "format"),
        default=("png", "pdf"),
        metavar="LIST",
        help=f"separated by commas, of {', '.join(FORMATS)} (default: png,pdf)",
    )
    parser.add_argument(
        "--from",
        dest="form",
        choices=("csv", "pkl"),
        default="csv",
        help="read tables from CSV or from their pickled twins where there are any",
    )
    parser.add_argument(
        "--simulate-missing",
        action="store_true",
        help="draw simulated source data, marked as such, where there are none",
    )
    parser.add_argument(
        "--recorded-only",
        action="store_true",
        help="draw and test 5C and Extended 4C once more over experiments that recorded the block, "
        "corrected over all windows together (not published)",
    )


def print_job(given: argparse.Namespace, panels: Iterable[str] = ()) -> PrintJob:
    """Turn the parsed arguments of `add_print_arguments` into a print job."""
    return PrintJob(
        given.source_data, given.output, given.format, given.form, tuple(panels),
        given.recorded_only,
    )  # fmt: skip


def with_data(script: FigureScript, job: PrintJob, simulate_missing: bool) -> PrintJob:
    """Let a figure be drawn from the best data that are there; one line says which and why.

    Raises
    ------
    MissingDataError
        If there are none.
    """
    choice = choose_data(job.source_data, script.folder, simulate_missing)
    sys.stderr.write(f"{script.name}: {choice.why}\n")
    return replace(job, source_data=choice.folder)


def _run(script: FigureScript, given: argparse.Namespace) -> int:
    require_writable(given.output)
    job = with_data(script, print_job(given, given.panel), given.simulate_missing)
    printed = print_figure(script, job, given.show)
    record_run(job.output, script.name, job.arguments, job.source_data)
    sys.stdout.writelines(f"{path}\n" for path in printed.pictures)
    for panel, problem in printed.problems.items():
        sys.stderr.write(f"error: panel {panel}: {problem}\n")
    return printed.exit_code


def _tell_unpickled(entries: Mapping[str, Any], form: str) -> None:
    """Say which tables came as CSV though pickles were asked for; the JSON names every file."""
    files = dict.fromkeys(file for entry in entries.values() for file in entry["inputs"])
    plain = [file for file in files if file.endswith(".csv")]
    if form == "pkl" and plain:
        more = f" and {len(plain) - 3} more" if len(plain) > 3 else ""
        sys.stderr.write(f"no pickled twin, read as CSV: {', '.join(plain[:3])}{more}\n")


def composed_pages(
    script: FigureScript, places: Mapping[str, Place]
) -> Iterator[tuple[str, list[Place]]]:
    """Arrange the pictures that there are as the paper does; every page has its letters.

    Parameters
    ----------
    script : FigureScript
        The figure.
    places : mapping of str to Place
        Pictures by name, with their marks.

    Yields
    ------
    name : str
        Of the page, such as ``"Figure4"`` or ``"FigureExt4_page2"``.
    page : list of Place
        For `print_sheet`.
    """
    for number, page in enumerate(script.pages, start=1):
        rows = [[name for name in row if name in places] for row in page]
        letters = letters_of((name, places[name].panel) for row in rows for name in row)
        if any(rows):
            name = script.name if number == 1 else f"{script.name}_page{number}"
            lettered = [[replace(places[n], letter=letters.get(n, "")) for n in r] for r in rows]
            yield name, list(in_rows(lettered))


def _print(places: Sequence[Place], name: str, job: PrintJob, keep_open: bool) -> list[Path]:
    figure = print_sheet(places)
    files = [job.output / f"{name}.{kind}" for kind in job.formats]
    for path in files:
        save_picture(figure, path)
    if not keep_open:
        plt.close(figure)
    return files


def _entry(
    panel: Panel,
    reading: Reading,
    shown: Shown,
    pictures: Mapping[str, Iterable[Path]],
) -> dict[str, Any]:
    """Return what the JSON file says of a panel, beside published values for real data."""
    origin = reading.provenance
    statistics = []
    for statistic in shown.statistics:
        told = asdict(statistic)
        if not statistic.basis:
            del told["basis"]
        if origin.is_real:
            comparison = compare(panel.name, statistic)
            told |= {"published": comparison.published, "verdict": str(comparison)}
        statistics.append(told)
    entry = {
        "caption": f"{panel.caption} {shown.note}".strip(),
        "code": _code(panel.show),
        "pictures": {name: [path.name for path in paths] for name, paths in pictures.items()},
        "provenance": asdict(origin) | {"explanation": origin.explanation},
        "inputs": reading.inputs,
        "statistics": statistics,
    }
    return plain_json(entry)


def _code(show: Show) -> dict[str, Any]:
    """Say which function computes and draws a panel, and where it stands."""
    function = inspect.unwrap(show.func if isinstance(show, partial) else show)
    file = Path(inspect.getsourcefile(function) or "").resolve()
    return {
        "file": file.relative_to(_ROOT).as_posix() if file.is_relative_to(_ROOT) else file.name,
        "function": function.__name__,
        "line": inspect.getsourcelines(function)[1],
    }


def save_picture(figure: Figure, path: Path) -> None:
    """Write a figure in the format of the path's suffix; same figure, same bytes."""
    kind = path.suffix.removeprefix(".")
    fonts = _fonts_without_typesetting() if kind == "pdf" else contextlib.nullcontext()
    with atomic_write(path) as unfinished, fonts:
        figure.savefig(unfinished, format=kind, metadata=_METADATA[kind])


@contextlib.contextmanager
def _fonts_without_typesetting() -> Iterator[None]:
    """Leave those tables out of embedded fonts; to cut them down is most of the work of a PDF.

    Matplotlib makes the options itself and offers no way to give others.
    """
    from fontTools.subset import Options  # type: ignore[import-untyped]  # slow to import

    usual = Options._drop_tables_default
    Options._drop_tables_default = [*usual, *_TYPESETTING]
    try:
        yield
    finally:
        Options._drop_tables_default = usual


def _write_json(
    script: FigureScript, printed: Printed, composed: Mapping[str, Iterable[Path]], job: PrintJob
) -> None:
    path = job.output / f"{script.name}.json"
    panels = {}
    if job.panels:  # those of an earlier run stay, where its file can be read
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            panels = dict(read_json(path)["panels"])
    panels |= printed.panels
    order = [panel.name for panel in script.panels]
    content = {
        "figure": script.name,
        "title": script.title,
        "command": script.command,
        "software": software_versions(),
        "font": FONT,
        "missing": {name: str(problem) for name, problem in printed.problems.items()},
        "composed": {name: [path.name for path in paths] for name, paths in composed.items()},
        "panels": {name: panels[name] for name in order if name in panels},
    }
    write_json(path, content)

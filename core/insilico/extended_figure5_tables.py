"""Tables of Extended Figure 5: those of the package, and those of the user's own runs.

``python -m core.insilico.extended_figure5_tables`` puts them among the source data. The package
holds 5C in full, and a small 5D and 5E of untrained networks that only show how the figure is made.
"""

from __future__ import annotations

import sys

from core import start

if __name__ == "__main__":
    sys.exit(start.run("core.insilico.extended_figure5_tables"))

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from core.command_line import a_path, command_parser, require_writable
from core.errors import MissingDataError, exit_code_of
from core.source_tables.provenance import Provenance, read_provenance
from core.source_tables.reader import DEFAULT_FOLDER, SourceData, Table, write_tables
from core.source_tables.registry import TABLES, TableSpec

#: Folder of the tables, below a source-data folder and below the output of a run.
FIGURE = "ExtendedFig5"

#: Tables that come with the package.
PACKAGED = Path(__file__).parent / "data"

Folders = Sequence[str | Path]


def export_extended_figure5(results: Folders = ()) -> Iterator[Table]:
    """Yield the tables of Extended Figure 5.

    Parameters
    ----------
    results : sequence of path-like
        Output folders of the commands of `core.insilico`. A table is taken from the first of them
        that has it, and from the package where none has.

    Yields
    ------
    Table

    Raises
    ------
    MissingDataError
        If a results folder does not exist, or holds no table of the figure.
    MalformedDataError
        If a table does not hold what it should.
    """
    for spec, folder in _chosen(results):
        yield Table(spec.key, SourceData(folder).read(spec.key))


def extended_figure5_provenance(results: Folders = ()) -> Provenance:
    """Return the origin of what `export_extended_figure5` yields, table by table."""
    return _by_table(
        {
            spec.file: read_provenance(folder / FIGURE).of([spec.file])
            for spec, folder in _chosen(results)
        }
    )


def save_tables(output: str | Path, tables: Iterable[Table], origin: Provenance) -> list[Path]:
    """Write tables of a run into its output folder, which is laid out like source data.

    Tables that other runs have left there stay, and so does the note of their origin.

    Parameters
    ----------
    output : path-like
        The tables go to ``ExtendedFig5`` below it.
    tables : iterable of Table
        Tables of the figure.
    origin : Provenance
        What made them.

    Returns
    -------
    list of pathlib.Path
        The files.

    Raises
    ------
    CannotWriteError
        If the folder cannot be written, or holds tables that no run of `core.insilico` made.
    """
    tables = list(tables)
    origins = dict(read_provenance(Path(output) / FIGURE).files)
    origins |= {TABLES[table.key].file: origin for table in tables}
    return write_tables(output, FIGURE, tables, _by_table(origins))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 written, 1 failed, 2 usage, 3 results are missing."""
    parser = command_parser(
        "python -m core.insilico.extended_figure5_tables",
        "Put the tables of Extended Figure 5 among the source data.",
        "python -m core.insilico.extended_figure5_tables --results my_alignment \\\n"
        "    --results my_linearity --output my_source_data",
    )
    parser.add_argument(
        "--results", action="append", default=[], type=a_path, metavar="DIR",
        help="output folder of a run; may be repeated (default: the tables of the package)",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=a_path, default=DEFAULT_FOLDER, metavar="DIR", help="default: %(default)s"
    )
    parser.add_argument(
        "--force", action="store_true", help="replace tables that another source has put there"
    )
    given = parser.parse_args(arguments)
    return exit_code_of(lambda: _run(given.results, given.output, given.force))


def _run(results: Folders, output: Path, force: bool) -> None:
    require_writable(output)
    tables, origins = export_extended_figure5(results), extended_figure5_provenance(results)
    for path in write_tables(output, FIGURE, tables, origins, force):
        sys.stdout.write(f"{path}  ({origins.of([path.name]).explanation})\n")


def _chosen(results: Folders) -> Iterator[tuple[TableSpec, Path]]:
    """Yield the tables that there are, each with the folder to take it from."""
    specs = [spec for spec in TABLES.values() if spec.figure == FIGURE]
    for folder in results:
        if not any(spec.find(Path(folder), {}).is_file() for spec in specs):
            raise MissingDataError(
                f"{folder} holds no table of Extended Figure 5; give the output folder of a "
                "finished run of core.insilico."
            )
    for spec in specs:
        folders = [Path(f) for f in (*results, PACKAGED) if spec.find(Path(f), {}).is_file()]
        if folders:
            yield spec, folders[0]


def _by_table(origins: Mapping[str, Provenance]) -> Provenance:
    return Provenance("computed", {"made by": "core.insilico"}, dict(sorted(origins.items())))

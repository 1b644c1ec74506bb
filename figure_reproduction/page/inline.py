"""Composed figures as pictures in memory, for notebooks."""

from __future__ import annotations

import io
from importlib import import_module
from pathlib import Path

import matplotlib.pyplot as plt

from core.source_tables.reader import SourceData
from figure_reproduction.page.page import FigureScript
from figure_reproduction.page.sheet import Place, in_rows, print_sheet, style

#: Enough for a screen.
DPI = 130


def composed_figure(name: str, source_data: str | Path) -> list[bytes]:
    """Draw a figure as it is printed, page by page.

    Parameters
    ----------
    name : str
        Such as ``"Figure4"``.
    source_data : path-like
        Folder of the source data.

    Returns
    -------
    list of bytes
        One PNG per page; ``IPython.display.Image`` shows it.

    Raises
    ------
    MissingDataError, MalformedDataError
        If a table of it is not there, or is not what it should be.
    """
    script: FigureScript = import_module(f"figure_reproduction.{name}_reproduction").FIGURE
    source = SourceData(source_data)
    with style():
        places = {}
        for panel in script.panels:
            reading = source.gather(script.folder, panel.reads)
            found = reading.provenance
            for picture, drawing in panel.show(*reading.tables).drawings.items():
                places[picture] = Place(
                    drawing, mark=found.mark, origin=found.line, names=found.space_names
                )
        return [
            _png([[places[picture] for picture in row if picture in places] for row in page])
            for page in script.pages
        ]


def _png(rows: list[list[Place]]) -> bytes:
    figure = print_sheet(in_rows(rows))
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI)
    plt.close(figure)
    return file.getvalue()

"""Composed figures as pictures in memory, for notebooks."""

from __future__ import annotations

import io
from importlib import import_module
from pathlib import Path

import matplotlib.pyplot as plt

from core.source_tables.reader import SourceData
from figure_reproduction.page.page import FigureScript, composed_pages
from figure_reproduction.page.sheet import Place, print_sheet, style

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
        places: dict[str, Place] = {}
        for panel in script.panels:
            places |= panel.read(source, script.folder)[-1]
        return [_png(page) for _, page in composed_pages(script, places)]


def _png(page: list[Place]) -> bytes:
    figure = print_sheet(page)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI)
    plt.close(figure)
    return file.getvalue()

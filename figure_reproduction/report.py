"""``index.html``: one page, no network needed, that shows every panel and what is behind it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from core.files import atomic_write
from core.provenance import KINDS
from figure_reproduction.verification import is_compared, read_figure, unanswered

PAGE = "index.html"

#: Formats that a browser shows inside a page, in order of preference.
_SHOWN_FORMATS = (".png", ".svg")

_PAPER = {
    "title": "Neuronal tuning aligns dynamically with object and texture manifolds across the "
    "visual hierarchy",
    "authors": "Wang & Ponce, Nature Neuroscience (2026)",
    "doi": "10.1038/s41593-026-02207-1",
}


def write_report(folder: Path) -> Path:
    """Write the page for all figures whose JSON lies in a folder.

    Parameters
    ----------
    folder : pathlib.Path
        Output folder of the figures.

    Returns
    -------
    pathlib.Path
        The page; an earlier one is replaced.

    Raises
    ------
    MalformedDataError
        If a JSON file there is not one of a figure.
    CannotWriteError
        If the page cannot be written.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shown_value"] = shown_value
    paths = _in_order(folder.glob("Figure*[0-9].json"))
    figures = [_with_view(read_figure(path), path) for path in paths]
    page = environment.get_template("report.html").render(
        paper=_PAPER,
        figures=figures,
        kinds=KINDS,
        origins=Counter(
            panel["provenance"]["kind"] for figure in figures for panel in figure["panels"].values()
        ),
        verdicts=count_verdicts(figures),
    )
    with atomic_write(folder / PAGE) as unfinished:
        unfinished.write_text(page, encoding="utf-8")
    return folder / PAGE


def count_verdicts(figures: list[dict[str, Any]]) -> Counter[str]:
    """Count how the numbers of real data compare with the paper: equal, differs, not published."""
    return Counter(
        statistic["verdict"].partition(" by ")[0]
        for figure in figures
        for panel in figure["panels"].values()
        for statistic in panel["statistics"]
        if "verdict" in statistic
    )


def shown_value(value: Any) -> str:
    """Write a statistic for reading: four digits, long lists by their ends."""
    if value is None:
        return "–"
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, list):
        shown = [shown_value(item) for item in value]
        if len(shown) > 8:
            return f"{shown[0]}, {shown[1]}, … {shown[-1]} ({len(shown)} values)"
        return ", ".join(shown) or "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _in_order(paths: Iterator[Path]) -> list[Path]:
    """Sort figures by number, those of the extended data last."""
    return sorted(paths, key=lambda path: ("Ext" in path.stem, int(re.sub(r"\D", "", path.stem))))


def _with_view(figure: dict[str, Any], path: Path) -> dict[str, Any]:
    """Add what the page shows of each panel."""
    for name, panel in figure["panels"].items():
        panel["shown"] = [
            _shown_picture(picture, files) for picture, files in panel["pictures"].items()
        ]
        panel["mark"] = KINDS[panel["provenance"]["kind"]][0]
        panel["compared"] = is_compared(panel)
        panel["not_computed"] = unanswered(name, panel) if panel["compared"] else []
    return figure | {"json": path.name}


def _shown_picture(name: str, files: list[str]) -> dict[str, Any]:
    shown = [f for kind in _SHOWN_FORMATS for f in files if f.endswith(kind)]
    return {"name": name, "image": shown[0] if shown else None, "files": files}

"""``index.html``: one page, no network needed, that shows every panel and what is behind it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from core.errors import MalformedDataError
from core.files import atomic_write
from core.source_tables.provenance import KINDS
from figure_reproduction.page.verification import (
    discrepancies_of,
    is_compared,
    read_figure,
    unanswered,
)

PAGE = "index.html"

#: Formats that a browser shows inside a page, in order of preference.
_SHOWN_FORMATS = (".png", ".svg")

#: What a figure script calls its files; anything else in its JSON does not become a link.
_PICTURE_FILE = re.compile(r"[\w-]+\.(png|pdf|svg)")

#: Height of a picture on the page, in CSS pixels; a click shows it in full size.
_THUMBNAIL_HEIGHT = 416

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

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
    figures = [_figure_view(path) for path in paths]
    page = environment.get_template("report.html").render(
        paper=_PAPER,
        figures=figures,
        kinds=KINDS,
        origins=Counter(
            panel["provenance"]["kind"] for figure in figures for panel in figure["panels"].values()
        ),
        verdicts=count_verdicts(figures),
        discrepancies=discrepancies_of(
            {name: panel for figure in figures for name, panel in figure["panels"].items()}
        ),
        anchors={
            name: f"{figure['figure']}-{name}" for figure in figures for name in figure["panels"]
        },
    )
    with atomic_write(folder / PAGE) as unfinished:
        unfinished.write_text(page, encoding="utf-8")
    return folder / PAGE


def count_verdicts(figures: list[dict[str, Any]]) -> Counter[str]:
    """Count how the published numbers compare with those of real data: equal, differs."""
    return Counter(
        statistic["verdict"].partition(" by ")[0]
        for figure in figures
        for panel in figure["panels"].values()
        for statistic in panel["statistics"]
        if statistic.get("verdict", "not published") != "not published"
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


#: What figures are called, by a part of their script's name.
_KINDS_OF_FIGURE = {
    "Ext": "Extended Data Figure",
    "More": "Beyond the released scripts",
    "Figure": "Figure",
}


def _in_order(paths: Iterator[Path]) -> list[Path]:
    """Sort figures by number, those of the extended data and others last."""
    return sorted(
        paths,
        key=lambda path: (
            "More" in path.stem, "Ext" in path.stem, int(re.sub(r"\D", "", path.stem))
        ),
    )  # fmt: skip


def _figure_view(path: Path) -> dict[str, Any]:
    """Return a figure with what the page shows of each panel."""
    figure = read_figure(path)
    number = re.sub(r"\D", "", path.stem)
    for panel in figure["panels"].values():
        panel["shown"] = [
            _picture_view(picture, files, path) for picture, files in panel["pictures"].items()
        ]
        panel["mark"] = KINDS[panel["provenance"]["kind"]][0]
        panel["compared"] = is_compared(panel)
    kind = next(kind for kind in _KINDS_OF_FIGURE if kind in path.stem)
    title = f"{_KINDS_OF_FIGURE[kind]} {number}"
    return figure | {
        "json": path.name,
        "figure": path.stem,
        "called": title,
        "not_computed": unanswered(figure["panels"]),
    }


def _picture_view(name: str, files: list[str], told_by: Path) -> dict[str, Any]:
    """Return the files of a picture that are there, and the one that the page shows."""
    if odd := [file for file in files if not _PICTURE_FILE.fullmatch(file)]:
        raise MalformedDataError(
            f"{told_by} tells of a picture {odd[0]!r:.80}, which no figure script writes; remove "
            "it and run again."
        )
    folder = told_by.parent
    there = [file for file in files if (folder / file).is_file()]
    shown = [file for kind in _SHOWN_FORMATS for file in there if file.endswith(kind)]
    image = shown[0] if shown else None
    size = _thumbnail_size(folder / image) if image else None
    return {"name": name, "image": image, "size": size, "files": there}


def _thumbnail_size(path: Path) -> tuple[int, int] | None:
    """Return width and height of a PNG on the page, so that it keeps its place while it loads."""
    with path.open("rb") as file:
        head = file.read(24)  # signature, length and name of the first chunk, width, height
    if not head.startswith(_PNG_SIGNATURE) or len(head) < 24:
        return None
    width, height = (int.from_bytes(head[start : start + 4]) for start in (16, 20))
    scale = min(1.0, _THUMBNAIL_HEIGHT / max(height, 1))
    return round(width * scale), round(height * scale)

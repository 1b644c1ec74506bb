"""``index.html``: one page, no network needed, that shows every panel and what is behind it."""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, Template

from core.errors import MalformedDataError
from core.files import atomic_write, read_json
from core.source_tables.layouts import Columns, Grid
from core.source_tables.provenance import KINDS
from core.source_tables.registry import TABLES, TableSpec
from figure_reproduction.page.runs import read_runs
from figure_reproduction.page.thumbnails import embedded, thumbnail
from figure_reproduction.page.verification import (
    discrepancies_of,
    is_compared,
    read_figure,
    unanswered,
)

PAGE = "index.html"

#: The same with its pictures inside, to be sent or kept alone.
SINGLE_FILE = "figures.html"

#: All numbers of all figures, in one table.
NUMBERS = "numbers.csv"

#: The second opinion on the claims of the paper, where it was asked for.
ROBUSTNESS = "robustness.json"

#: The simulator held against the real evolutions, where that was asked for.
CALIBRATION = "calibration.json"

#: Formats that a browser shows inside a page, in order of preference.
_SHOWN_FORMATS = (".png", ".svg")

#: What a figure script calls its files; anything else in its JSON does not become a link.
_PICTURE_FILE = re.compile(r"[\w-]+\.(png|pdf|svg)")

#: Height of a picture on the page, in CSS pixels; a click shows it in full size.
_THUMBNAIL_HEIGHT = 416

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

_ROOT = Path(__file__).resolve().parents[2]

_PAPER = {
    "title": "Neuronal tuning aligns dynamically with object and texture manifolds across the "
    "visual hierarchy",
    "authors": "Wang & Ponce, Nature Neuroscience (2026)",
    "doi": "10.1038/s41593-026-02207-1",
}

#: Names of quantities that reading alone does not explain.
_WORDS = {
    "n_success_p01": "evolutions that climbed (P < 0.01)",
    "n_valid": "valid evolutions",
    "success_rate": "share that climbed",
    "ci90_low": "90 % interval, lower end",
    "ci90_high": "90 % interval, upper end",
    "ci95_low_blocks": "95 % interval, lower end, blocks",
    "ci95_high_blocks": "95 % interval, upper end, blocks",
    "mean_time_constant_blocks": "mean time constant, blocks",
    "initial_paired_t": "first block, paired t",
    "initial_p": "first block, P",
    "initial_n": "first block, pairs",
    "last_paired_t": "last block, paired t",
    "last_p": "last block, P",
    "last_n": "last block, pairs",
    "mean_by_block": "mean of each block",
    "sem_by_block": "standard error of each block",
    "n": "experiments",
}


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"shown_value": shown_value, "in_words": in_words}
    return environment.get_template("report.html")


def write_report(
    folder: Path,
    not_made: Mapping[str, str] | None = None,
    *,
    paper_pictures: Path | None = None,
    single_file: bool = False,
) -> Path:
    """Write the page for all figures whose JSON lies in a folder, and the table of their numbers.

    Parameters
    ----------
    folder : pathlib.Path
        Output folder of the figures.
    not_made : mapping of str to str, optional
        Figure → why it could not be made.
    paper_pictures : pathlib.Path, optional
        Folder of the paper's own pictures, ``4A.png``, ``4B_last.png``, …, to stand beside ours.
    single_file : bool, default False
        Whether to write `SINGLE_FILE` too, which needs no other file and links to none.

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
    runs = read_runs(folder)
    figures = [_figure_view(path, runs) for path in _in_order(folder.glob("Figure*[0-9].json"))]
    _write_numbers(folder / NUMBERS, figures)
    for figure in figures:
        _add_pictures_of_paper(figure, paper_pictures, folder)
    render = partial(
        _template().render,
        paper=_PAPER,
        kinds=KINDS,
        not_made=not_made or {},
        robustness=_robustness(folder),
        calibration=_calibration(folder),
        origins=Counter(
            panel["provenance"]["kind"] for figure in figures for panel in figure["panels"].values()
        ),
        areas=("V1", "V4", "IT"),
        verdicts=count_verdicts(figures),
        discrepancies=discrepancies_of(
            {name: panel for figure in figures for name, panel in figure["panels"].items()}
        ),
        anchors={
            name: f"{figure['figure']}-{name}" for figure in figures for name in figure["panels"]
        },
    )
    with atomic_write(folder / PAGE) as unfinished:
        unfinished.write_text(render(figures=figures, numbers=NUMBERS), encoding="utf-8")
    if single_file:
        with atomic_write(folder / SINGLE_FILE) as unfinished:
            alone = [_alone(figure, folder) for figure in figures]
            unfinished.write_text(render(figures=alone, numbers=""), encoding="utf-8")
    return folder / PAGE


def _alone(figure: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return a figure for a page without other files: pictures inside, links to files left out."""

    def inside(pictures: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            picture | {"src": embedded(folder / picture["src"]), "image": None, "files": []}
            for picture in pictures
            if picture["src"]
        ]

    panels = {
        name: panel
        | {
            "shown": inside(panel["shown"]),
            "of_paper": inside(panel["of_paper"]),
            "tables": [table | {"size": None} for table in panel["tables"]],
            "code": panel["code"] and panel["code"] | {"link": ""},
        }
        for name, panel in figure["panels"].items()
    }
    return {**figure, "panels": panels, "whole": inside(figure["whole"]), "json": ""}


def _add_pictures_of_paper(figure: dict[str, Any], pictures: Path | None, folder: Path) -> None:
    """Find the paper's pictures of each panel by their names: 4B.png, 4B_last.png, Ext4C_10ms.png.

    One that stands for a picture of ours stands beside it, the others at the end of their panel.
    """
    found = sorted(pictures.glob("*.png")) if pictures else []
    for name, panel in figure["panels"].items():
        panel["of_paper"] = []
        for path in found:
            if f"{path.stem}_".casefold().startswith(f"{name}_".casefold()):
                panel["of_paper"] += _paper_view(path, folder)
        panel["shown"] = [ours | {"beside": _beside(ours, panel)} for ours in panel["shown"]]


def _paper_view(path: Path, folder: Path) -> list[dict[str, Any]]:
    """Return one of the paper's pictures for the page; nothing where it cannot be read."""
    small, size = thumbnail(path, folder, f"paper-{path.stem}"), _thumbnail_size(path)
    view: dict[str, Any] = {
        "name": path.stem, "image": None, "src": small, "size": size, "files": [],
    }  # fmt: skip
    return [view] if small else []


def _beside(ours: Mapping[str, Any], panel: Mapping[str, Any]) -> str:
    """Name the paper's picture that stands for one of ours."""
    same = [
        theirs["name"]
        for theirs in panel["of_paper"]
        if f"{ours['name']}_".casefold().startswith(f"{theirs['name']}_".casefold())
    ]
    return str(same[-1]) if same else ""


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
    """Write a statistic for reading: four digits, true minus signs, long lists by their ends."""
    if value is None:
        return "–"
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, list):
        shown = [shown_value(item) for item in value]
        if len(shown) > 8:
            return f"{shown[0]}, {shown[1]}, … {shown[-1]} ({len(shown)} values)"
        return ", ".join(shown) or "none"
    return (f"{value:.4g}" if isinstance(value, float) else str(value)).replace("-", "−")


def in_words(quantity: str) -> str:
    """Write the name of a quantity for reading.

    >>> in_words("n_valid"), in_words("mean_score_by_depth Adam d=2")
    ('valid evolutions', 'mean score by depth Adam d=2')
    """
    return _WORDS.get(quantity, quantity.replace("_", " "))


def _write_numbers(path: Path, figures: Iterable[dict[str, Any]]) -> None:
    """Write every number of every figure, a list as its items separated by blanks."""
    head = ("figure", "panel", "quantity", "area", "space", "value", "published", "verdict",
            "origin", "tables")  # fmt: skip
    with atomic_write(path) as unfinished, unfinished.open("w", encoding="utf-8", newline="") as f:
        writer = csv.writer(f, lineterminator="\n")
        writer.writerow(head)
        for figure in figures:
            for name, panel in figure["panels"].items():
                origin, tables = panel["provenance"]["kind"], " ".join(panel["inputs"])
                for s in panel["statistics"]:
                    value = s["value"]
                    shown = " ".join(map(str, value)) if isinstance(value, list) else value
                    writer.writerow(
                        (figure["figure"], name, s["quantity"], s["area"], s["space"], shown,
                         s.get("published"), s.get("verdict"), origin, tables)
                    )  # fmt: skip


def _calibration(folder: Path) -> dict[str, Any] | None:
    """Return the simulated beside the real evolutions, where that was asked for and can be read."""
    try:
        found = read_json(folder / CALIBRATION)
        return found if found["compared"] and found["families"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


#: How dots are counted in ``robustness.json``.
_RULES_OF_DOTS = (
    "as_drawn", "as_drawn_one_family", "recorded_only", "recorded_only_one_family",
)  # fmt: skip


def _robustness(folder: Path) -> dict[str, Any] | None:
    """Return the claims with their robust tests, where they were computed and can be read."""
    try:
        found = read_json(folder / ROBUSTNESS)
        if not found["claims"]:
            return None
        pictures = [name for names in found.get("pictures", {}).values() for name in names]
        dots = [
            {"plot": plot, "area": area, "n": of["n"], "n_by_block": of["n_by_block"]}
            | {rule: of[rule]["dots"] for rule in _RULES_OF_DOTS}
            for plot, areas in found.get("dots", {}).items()
            for area, of in areas.items()
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    shown = [name for name in pictures if _PICTURE_FILE.fullmatch(name)]
    return found | {"shown": [name for name in shown if (folder / name).is_file()], "counted": dots}


#: What figures are called, by a part of their script's name.
_KINDS_OF_FIGURE = {
    "Ext": "Extended Data Figure",
    "More": "Beyond the released scripts",
    "Figure": "Figure",
}


#: No file system of ours has a name of more letters.
_LONGEST_NAME = 200


def _in_order(paths: Iterator[Path]) -> list[Path]:
    """Sort figures by number, those of the extended data and others last."""
    return sorted(
        paths,
        key=lambda path: (
            "More" in path.stem, "Ext" in path.stem, int(re.sub(r"\D", "", path.stem))
        ),
    )  # fmt: skip


def _figure_view(path: Path, runs: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Return a figure with what the page shows of each panel."""
    figure = read_figure(path)
    run = runs.get(path.stem, {})
    command = figure["command"] + run.get("arguments", "")
    for name, panel in figure["panels"].items():
        panel["shown"] = _pictures_view(panel["pictures"], path)
        panel["mark"] = KINDS[panel["provenance"]["kind"]][0]
        panel["compared"] = is_compared(panel)
        panel["command"] = f"{command} --panel {name}"
        panel["tables"] = [
            _table_view(file, digest, path.parent / run["source_data"] if run else None)
            for file, digest in panel["inputs"].items()
        ]
        panel["code"] = _code_view(panel.get("code"), path.parent)
    number = re.sub(r"\D", "", path.stem)
    kind = next(kind for kind in _KINDS_OF_FIGURE if kind in path.stem)
    title = f"{_KINDS_OF_FIGURE[kind]} {number}"
    return figure | {
        "json": path.name,
        "figure": path.stem,
        "called": title,
        "command": command,
        "run": run,
        "whole": _pictures_view(figure.get("composed", {}), path),
        "missing": figure.get("missing", {}),
        "not_computed": unanswered(figure["panels"]),
    }


def _table_view(file: str, digest: str, source_data: Path | None) -> dict[str, Any]:
    """Return a table that a panel read: where it is, what it means, its units and columns."""
    there = source_data is not None and (source_data / file).is_file()
    spec = _spec_of_file(file)
    return {
        "file": file,
        "digest": digest,
        "size": source_data.joinpath(file).stat().st_size if there and source_data else None,
        "meaning": spec.meaning if spec else "",
        "units": spec.units if spec else "",
        "columns": _columns(spec),
    }


def _spec_of_file(file: str) -> TableSpec | None:
    folder, _, name = file.partition("/")
    for spec in TABLES.values():
        if spec.figure == folder and any(name == spec.file.format(**m) for m in spec.members):
            return spec
    return None


def _columns(spec: TableSpec | None) -> str:
    match spec.layout if spec else None:
        case Columns() as layout:
            return ", ".join(layout.names)
        case Grid() as layout:
            return f"{layout.rows} × {layout.columns}"
    return ""


def _code_view(code: Any, folder: Path) -> dict[str, Any] | None:
    """Return where a panel is computed; a link where the file lies in this checkout."""
    if not isinstance(code, dict) or not {"file", "function", "line"} <= code.keys():
        return None
    there = (_ROOT / str(code["file"])).is_file()
    link = Path(os.path.relpath(_ROOT / str(code["file"]), folder)).as_posix() if there else ""
    return {key: code[key] for key in ("file", "function", "line")} | {"link": link}


def _pictures_view(pictures: Mapping[str, list[str]], told_by: Path) -> list[dict[str, Any]]:
    return [_picture_view(name, files, told_by) for name, files in pictures.items()]


def _picture_view(name: str, files: list[str], told_by: Path) -> dict[str, Any]:
    """Return the files of a picture that are there, and the one that the page shows."""
    if odd := [f for f in files if not _PICTURE_FILE.fullmatch(f) or len(f) > _LONGEST_NAME]:
        raise MalformedDataError(
            f"{told_by} tells of a picture {odd[0]!r:.80}, which no figure script writes; remove "
            "it and run again."
        )
    folder = told_by.parent
    there = [file for file in files if (folder / file).is_file()]
    shown = [file for kind in _SHOWN_FORMATS for file in there if file.endswith(kind)]
    image = shown[0] if shown else None
    size = _thumbnail_size(folder / image) if image else None
    small = thumbnail(folder / image, folder) if image and size else None
    return {"name": name, "image": image, "src": small or image, "size": size, "files": there}


def _thumbnail_size(path: Path) -> tuple[int, int] | None:
    """Return width and height of a PNG on the page, so that it keeps its place while it loads."""
    with path.open("rb") as file:
        head = file.read(24)  # signature, length and name of the first chunk, width, height
    if not head.startswith(_PNG_SIGNATURE) or len(head) < 24:
        return None
    width, height = (int.from_bytes(head[start : start + 4]) for start in (16, 20))
    scale = min(1.0, _THUMBNAIL_HEIGHT / max(height, 1))
    return round(width * scale), round(height * scale)

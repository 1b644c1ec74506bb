"""Pages that are made from the code, so that they cannot fall behind it."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import core
import figure_reproduction
import neuro_data_analysis
import source_data_export
from core.published import published_values
from core.source_tables.layouts import Columns, Grid, JsonObject, PickledDict, PickledTable
from core.source_tables.registry import FIGURES, TABLES, TableSpec
from figure_reproduction.__main__ import SCRIPTS, figure_script

PACKAGES = (core, neuro_data_analysis, figure_reproduction, source_data_export)


def write_pages(folder: Path) -> None:
    """Write the pages of tables, of figures and of the library into a folder."""
    pages = {"tables": tables_page(), "figures": figures_page(), **dict(api_pages())}
    folder.mkdir(exist_ok=True)
    for name, text in pages.items():
        path = folder / f"{name}.md"
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def tables_page() -> str:
    """Describe every file of the source data by its entry in the registry."""
    return "\n".join(
        [
            "# Every table",
            "",
            "All files that the figures read, folder by folder. Names, columns and conventions are",
            "those of the authors' published files, so that a download and an export are",
            "interchangeable. This page is made from `core/source_tables/registry.py`.",
            *(line for figure in FIGURES for line in _folder_lines(figure)),
            "",
        ]
    )


def figures_page() -> str:
    """Describe every panel by its caption, and list the published numbers that belong to it."""
    return "\n".join(["# Every panel", "", *(x for name in SCRIPTS for x in _figure_lines(name))])


def api_pages() -> Iterator[tuple[str, str]]:
    """Yield one page per package with the public names of its modules."""
    for package in PACKAGES:
        rooms = [package, *(m for m in _modules(package) if hasattr(m, "__path__"))]
        for room in rooms:
            if lines := list(_room_lines(room)):
                yield f"api-{room.__name__}", "\n".join([f"# `{room.__name__}`", "", *lines, ""])


def _folder_lines(figure: str) -> Iterator[str]:
    yield from ("", f"## {figure}", "")
    for spec in (spec for spec in TABLES.values() if spec.figure == figure):
        yield from _table_lines(spec)


def _table_lines(spec: TableSpec) -> Iterator[str]:
    files = [spec.file.format(**member) for member in spec.members]
    count = f" and {len(files) - 1} more like it" if len(files) > 1 else ""
    optional = " No figure needs it." if spec.optional else ""
    yield f"**`{files[0]}`**{count}"
    yield f": {_sentence(spec.meaning)} {_shape(spec.layout)}{optional}"
    if spec.units:
        yield f"  Units: {spec.units}."
    if spec.members[0]:
        axes = {name: dict.fromkeys(m[name] for m in spec.members) for name in spec.members[0]}
        for name, values in axes.items():
            yield f"  {name.capitalize()}: {_ends([_plain(value) for value in values])}."
    yield ""


def _shape(layout: Any) -> str:
    match layout:
        case Grid():
            header = "a line of column numbers first" if layout.header else "no header"
            return f"Numbers, {layout.rows} × {layout.columns}; {header}."
        case Columns():
            return f"Columns: {', '.join(f'`{name}`' for name in layout.names)}."
        case JsonObject():
            return "JSON."
        case PickledTable() | PickledDict():
            return "A pickle; read through an allow-list, never written by hand."
    raise TypeError(f"{type(layout).__name__} has no description")


def _figure_lines(name: str) -> Iterator[str]:
    script = figure_script(name)
    yield from (f"## {name}: {script.title}", "", f"`{script.command}`", "")
    for panel in script.panels:
        yield f"**{panel.name}**"
        yield f": {panel.caption}"
        printed = [key for key in published_values() if key[0] == panel.name]
        if printed:
            yield f"  {len(printed)} numbers of it are printed in the paper or in its outputs."
        yield ""


def _room_lines(room: ModuleType) -> Iterator[str]:
    for module in [room, *_modules(room, deep=False)]:
        if module is not room and hasattr(module, "__path__"):
            continue
        if any(_is_own(module, name) for name in vars(module)):
            yield from (f"## {module.__name__}", "", "```{eval-rst}")
            yield from (f".. automodule:: {module.__name__}", "   :members:", "```", "")


def _is_own(module: ModuleType, name: str) -> bool:
    member = getattr(module, name)
    return not name.startswith("_") and getattr(member, "__module__", "") == module.__name__


def _modules(package: ModuleType, deep: bool = True) -> Iterator[ModuleType]:
    walk = pkgutil.walk_packages if deep else pkgutil.iter_modules
    for found in walk(package.__path__, f"{package.__name__}."):
        if not found.name.endswith("__main__"):
            yield import_module(found.name)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _plain(value: Any) -> str:
    return "–".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _ends(values: list[str]) -> str:
    return ", ".join(values if len(values) < 8 else [*values[:3], "…", values[-1]])

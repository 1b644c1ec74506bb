"""The documentation is in step with the code: generated pages, examples, code blocks, links."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PACKAGES = ("core", "neuro_data_analysis", "figure_reproduction", "source_data_export")

MODULES = sorted(
    path.relative_to(ROOT).with_suffix("")
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)

PAGES = sorted(path for path in (ROOT / "docs").rglob("*.md") if "reference" not in path.parts)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.as_posix())
def test_examples_in_docstrings_give_what_they_say(module):
    found = doctest.testmod(importlib.import_module(".".join(module.parts)), verbose=False)
    assert found.failed == 0


@pytest.fixture
def generated_pages(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    yield importlib.import_module("generated_pages")
    sys.modules.pop("generated_pages", None)


def test_the_list_of_tables_is_that_of_the_registry(generated_pages):
    """``source_data/README.md`` is written by `tables_page`; every file name is in it."""
    page = (ROOT / "source_data" / "README.md").read_text(encoding="utf-8")
    assert page == generated_pages.tables_page()
    assert "Fig4A_SuccessRate_maxinit.csv" in page


def test_every_panel_has_its_place_in_the_documentation(generated_pages):
    page = generated_pages.figures_page()
    assert all(f"**{panel}**" in page for panel in ("2B", "4D", "5C", "6C", "Ext4B", "Ext5E"))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_code_of_a_page_can_be_read_and_imports_what_exists(page):
    """Python blocks parse, and every name that they import is there."""
    for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names), node.module


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_of_a_page_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        made = target.startswith(("examples/", "reference/"))
        assert made or (page.parent / target).exists(), target

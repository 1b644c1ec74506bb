"""JSON files of figures that no script wrote end in a sentence of the page, not in a traceback."""

from __future__ import annotations

import copy
import json

import pytest

from core.errors import MalformedDataError
from figure_reproduction.page.report import write_report

FIGURE = {
    "figure": "Figure4", "title": "t", "command": "c", "software": {"numpy": "2"},
    "panels": {
        "4A": {
            "caption": "c", "pictures": {"4A": ["4A.png"]}, "inputs": {"Fig4/a.csv": "0" * 64},
            "provenance": {"kind": "found", "details": {"from": "x"}, "explanation": "e"},
            "statistics": [],
        },
    },
}  # fmt: skip


@pytest.mark.parametrize(("key", "value"), [("command", None), ("title", 3), ("command", ["c"])])
def test_a_title_or_command_that_is_no_text_is_refused(tmp_path, key, value):
    (tmp_path / "Figure4.json").write_text(json.dumps(FIGURE | {key: value}))
    with pytest.raises(MalformedDataError, match=r"Figure4\.json is not what a figure script"):
        write_report(tmp_path)


def test_a_picture_of_a_name_that_no_file_can_have_is_refused(tmp_path):
    text = json.dumps(FIGURE).replace("4A.png", "A" * 5_000 + ".png")
    (tmp_path / "Figure4.json").write_text(text)
    with pytest.raises(MalformedDataError, match="which no figure script writes"):
        write_report(tmp_path)


def test_a_quantity_that_is_no_text_is_refused(tmp_path):
    figure = copy.deepcopy(FIGURE)
    number = {"quantity": -1, "value": 3, "area": "", "space": "", "published": None, "verdict": ""}
    figure["panels"]["4A"]["statistics"] = [number]
    (tmp_path / "Figure4.json").write_text(json.dumps(figure))
    with pytest.raises(MalformedDataError, match=r"Figure4\.json is not what a figure script"):
        write_report(tmp_path)

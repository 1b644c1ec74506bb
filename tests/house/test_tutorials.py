"""The tutorial notebooks run at small size, and show what they promise."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.notebooks import cells_of, run_here

ROOT = Path(__file__).resolve().parents[2]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.ipynb"))


def test_there_is_a_notebook_for_every_user():
    assert [path.stem for path in TUTORIALS] == ["compare_optimizers", "own_network", "rig"]


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_its_pictures_are_kept(path, monkeypatch):
    """Executed anew at small size; the stored outputs hold a picture and no error."""
    if path.stem == "compare_optimizers":
        pytest.importorskip("cma")
    small = {"TUTORIAL_GENERATIONS": "3", "TUTORIAL_BLOCKS": "3", "TUTORIAL_IMAGES": "24"}
    outputs = [output for cell in cells_of(path) for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert all(output["output_type"] != "error" for output in outputs)
    run_here(path, monkeypatch, **small)

"""Same seed, same bytes: the whole simulated path, twice, in two processes."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from core.files import sha256_of
from figure_reproduction.__main__ import figure_script
from figure_reproduction.page.page import FORMATS, PrintJob, print_figure
from figure_reproduction.page.report import write_report

ROOT = Path(__file__).resolve().parents[2]

FIGURES = ("Figure2", "Figure4")
FOLDERS = ("Fig2", "Fig4", "Fig5", "ExtendedFig4", "Tables")

#: The second run, from the seed of the session's MATROOT to the page of the figures.
SECOND_RUN = f"""
import sys
from pathlib import Path
from neuro_data_analysis.simulation.matroot import simulate_matroot
from source_data_export.exports import run
from tests.figures.test_determinism import print_figures
folder = Path(sys.argv[1])
simulate_matroot(folder / "matroot", seed=3, n_experiments=12)
assert run(folder / "matroot", folder / "source_data", {FOLDERS}).left_out == {{}}
print_figures(folder / "source_data", folder / "figures")
"""


def print_figures(source_data: Path, output: Path) -> None:
    """Make some figures in every format, and their page."""
    for name in FIGURES:
        job = PrintJob(source_data, output, FORMATS)
        assert print_figure(figure_script(name), job).problems == {}
    write_report(output)


def hashes(folder: Path) -> dict[str, str]:
    """Return path → SHA-256 of every file below a folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): _digest(path) for path in files}


def _digest(path: Path) -> str:
    """Return the SHA-256 of a file; of a page without its links, which tell where it lies."""
    if path.suffix != ".html":
        return sha256_of(path)
    return hashlib.sha256(re.sub(rb'href="[^"]*"', b"", path.read_bytes())).hexdigest()


@pytest.fixture(scope="module")
def second_run(tmp_path_factory):
    """Run everything again where the time, its zone, the hash of texts and the folder differ."""
    folder = tmp_path_factory.mktemp("second")
    elsewhere = {"PYTHONHASHSEED": "4711", "TZ": "Asia/Tokyo", "LC_ALL": "C", "MPLBACKEND": "agg"}
    environment = os.environ | elsewhere | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", "-c", SECOND_RUN, str(folder)]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def test_recordings_are_the_same_bytes(small_matroot, second_run):
    """HDF5 keeps times of creation unless it is told not to."""
    first = hashes(small_matroot)
    assert any(name.endswith(".mat") for name in first)
    assert first == hashes(second_run / "matroot")


def test_tables_are_the_same_bytes(small_source_data, second_run):
    """CSV, pickle and JSON; a pickle's bytes depend on which texts are one object."""
    first = hashes(small_source_data)
    assert {Path(name).suffix for name in first} == {".csv", ".pkl", ".txt", ".json"}
    assert first == hashes(second_run / "source_data")


def test_figures_their_numbers_and_their_page_are_the_same_bytes(small_figures, second_run):
    first = hashes(small_figures)
    assert {Path(name).suffix for name in first} == {
        ".csv", ".html", ".json", ".pdf", ".png", ".svg", ".webp",
    }  # fmt: skip
    assert first == hashes(second_run / "figures")

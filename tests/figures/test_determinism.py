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
from neuro_data_analysis.simulation.matroot import simulate_matroot

ROOT = Path(__file__).resolve().parents[2]

#: Seed and number of simulated experiments, folders and figure that are made twice.
SIMULATED = {"seed": 3, "n_experiments": 2}
FOLDERS = ("Fig2", "Fig4")
FIGURE = "Figure2"

#: The second run: a simulation, and what the session's own leads to, up to the page of a figure.
SECOND_RUN = f"""
import sys
from pathlib import Path
from figure_reproduction.page.report import write_report
from neuro_data_analysis.simulation.matroot import simulate_matroot
from source_data_export.exports import run
from tests.figures.test_determinism import FIGURE, print_figures
folder = Path(sys.argv[1])
simulate_matroot(folder / "matroot", **{SIMULATED})
assert run(sys.argv[2], folder / "source_data", {FOLDERS}).left_out == {{}}
print_figures(folder / "source_data", folder / "figures", FIGURE)
write_report(folder / "figures")
"""


def print_figures(source_data: Path, output: Path, name: str, formats=FORMATS) -> None:
    """Make a figure, in every format unless told otherwise."""
    job = PrintJob(source_data, output, formats)
    assert print_figure(figure_script(name), job).problems == {}


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
def second_run(small_matroot, tmp_path_factory):
    """Run everything again where the time, its zone, the hash of texts and the folder differ."""
    folder = tmp_path_factory.mktemp("second")
    elsewhere = {"PYTHONHASHSEED": "4711", "TZ": "Asia/Tokyo", "LC_ALL": "C", "MPLBACKEND": "agg"}
    environment = os.environ | elsewhere | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", "-c", SECOND_RUN, folder, small_matroot]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def test_recordings_are_the_same_bytes(tmp_path, second_run):
    """HDF5 keeps times of creation unless it is told not to."""
    first = hashes(simulate_matroot(tmp_path / "matroot", **SIMULATED))
    assert any(name.endswith(".mat") for name in first)
    assert first == hashes(second_run / "matroot")


def test_tables_are_the_same_bytes(small_source_data, second_run):
    """CSV, pickle and JSON; a pickle's bytes depend on which texts are one object."""
    first, second = hashes(small_source_data), hashes(second_run / "source_data")
    assert {Path(name).suffix for name in second} == {".csv", ".pkl", ".txt", ".json"}
    assert second == {name: first[name] for name in second}


def test_figures_their_numbers_and_their_page_are_the_same_bytes(small_figures, second_run):
    """The first run's page is older than the other figures that lie beside it."""
    first, second = hashes(small_figures), hashes(second_run / "figures")
    assert {Path(name).suffix for name in second} == {
        ".csv", ".html", ".json", ".pdf", ".png", ".svg", ".webp",
    }  # fmt: skip
    assert second == {name: first[name] for name in second}

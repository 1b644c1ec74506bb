"""Commands never surprise: names in any case, ``~``, Ctrl-C, missing packages, plain terminals."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core import progress as progress_module
from core.command_line import command_parser, one_of, path, require_writable, some_of
from core.errors import CannotWriteError
from core.progress import progress
from core.start import missing_package

ROOT = Path(__file__).resolve().parents[1]

PANELS = ("4A", "4B", "4C")


@pytest.mark.parametrize(
    ("given", "understood"),
    [("4a", ("4A",)), ("4A,4b", ("4A", "4B")), (" 4C , 4C", ("4C",)), ("4B,", ("4B",))],
)
def test_panels_are_taken_in_any_case_and_by_commas(given, understood):
    assert some_of(PANELS, "panel")(given) == understood


def test_a_misspelt_name_is_answered_with_its_neighbours():
    with pytest.raises(argparse.ArgumentTypeError, match=r"'Figur4'. Did you mean 'Figure4'"):
        some_of(("Figure4", "FigureExt4"), "figure")("FigureExt4,Figur4")


def test_both_names_of_a_figure_mean_the_same():
    parse = one_of(("Figure4",), "figure", {"Fig4": "Figure4"})
    assert {parse(name) for name in ("Figure4", "figure4", "FIG4")} == {"Figure4"}


def test_a_tilde_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert path("~/out") == tmp_path / "out"


def test_examples_of_a_help_are_not_wrapped(capsys):
    example = "python -m core.something " + "--option value " * 12
    with pytest.raises(SystemExit):
        command_parser("python -m core.something", "Do it.", example).parse_args(["--help"])
    assert f"  {example}" in capsys.readouterr().out


def test_a_folder_that_cannot_be_written_is_refused_and_nothing_is_left(tmp_path):
    """A file stands where a folder would have to be."""
    in_the_way = tmp_path / "file"
    in_the_way.write_text("here")
    with pytest.raises(CannotWriteError, match="give another folder"):
        require_writable(in_the_way / "below")
    require_writable(tmp_path / "new" / "below")
    assert list(tmp_path.iterdir()) == [in_the_way]


def test_a_log_gets_a_line_now_and_then(monkeypatch, capsys):
    """Six items of one second each, a line every two seconds, on a clock of our own."""
    clock = iter(range(100))
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(progress_module, "LINE_EVERY_S", 2.0)
    assert list(progress("abcdef", "reading", "letters")) == list("abcdef")
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "reading: 1 of 6 letters in 2 s, about 10 s left"
    assert len(told) == 3


def test_what_is_done_soon_is_done_silently(capsys):
    assert list(progress(iter(range(5)), "counting")) == [0, 1, 2, 3, 4]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("package", "target"), [("torch", "environment"), ("matplotlib.pyplot", "base")]
)
def test_a_missing_package_is_told_with_its_environment(package, target):
    told = missing_package(package)
    assert f"`make {target}`" in told
    assert sys.executable in told


def _run(code, **options):
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False,
        timeout=60, **options,
    )  # fmt: skip


def test_a_command_without_its_packages_is_refused_in_one_sentence():
    code = (
        "import sys; sys.modules['numpy'] = None\n"
        "from core.start import run; sys.exit(run('core.source_tables.command'))"
    )
    done = _run(code)
    assert done.returncode == 1
    assert done.stderr.startswith("error: numpy is not installed for ")
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("delay_s", [0.05, 0.3])
def test_ctrl_c_while_packages_are_imported_is_one_line(tmp_path, delay_s):
    """The command imports a module that takes ten seconds."""
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(10)\nmain = int\n")
    code = "import sys; from core.start import run; print('on', flush=True); sys.exit(run('slow'))"
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
    )  # fmt: skip
    assert process.stdout.readline() == "on\n"
    time.sleep(delay_s)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert told.startswith("interrupted")
    assert told.count("\n") == 1


def test_a_terminal_of_ascii_shows_plain_letters():
    code = "from core.start import write_plainly; write_plainly(); print('50–200 ms … 4 × 3 ü')"
    done = _run(code, env=os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert done.stdout == "50-200 ms ... 4 x 3 ?\n"

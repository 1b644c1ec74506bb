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
from core.command_line import a_path, command_parser, one_of, require_writable, some_of
from core.errors import CannotWriteError, MissingDataError
from core.progress import progress
from core.source_tables.command import main as check
from core.start import missing_package
from neuro_data_analysis.neural_data_lib import MAT_FILE, MERGE_PICKLE, matroot
from neuro_data_analysis.simulation.command import main as simulate
from source_data_export import exports
from source_data_export.__main__ import main as export

ROOT = Path(__file__).resolve().parents[2]

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
    assert a_path("~/out") == tmp_path / "out"


def test_every_path_of_a_command_line_knows_the_tilde():
    """No argument is read by ``pathlib.Path``, which takes ``~`` for a name."""
    folders = ("core", "neuro_data_analysis", "figure_reproduction", "source_data_export",
               "examples")  # fmt: skip
    sources = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    assert [p.name for p in sources if "type=Path" in p.read_text(encoding="utf-8")] == []


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
    ("package", "target"),
    [("torch", "environment"), ("cma", "environment"), ("matplotlib.pyplot", "base")],
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


def test_the_simulator_replaces_nothing_but_a_simulation(tmp_path, capsys):
    """A file of recordings, a list of optimisers or a README of somebody else stays as it was."""
    arguments = ["--output", str(tmp_path), "--experiments", "1"]
    for name in (MAT_FILE, MERGE_PICKLE, "meta_optimizer_info.csv", "README.md"):
        theirs = tmp_path / name
        theirs.write_text("theirs")
        assert simulate(arguments) == 1
        assert name in capsys.readouterr().err
        assert theirs.read_text() == "theirs"
        theirs.unlink()
    assert list(tmp_path.iterdir()) == []
    assert simulate(arguments) == 0
    assert simulate(arguments) == 0
    (tmp_path / MAT_FILE).write_text("theirs, beside the notes of an earlier simulation")
    assert simulate(arguments) == 1


def test_figure_2_is_exported_from_one_experiment(small_matroot, tmp_path, monkeypatch):
    monkeypatch.setattr(exports, "collect", lambda *given: pytest.fail("read all experiments"))
    report = exports.run(small_matroot, tmp_path, ["Fig2"])
    assert len(report.written["Fig2"]) > 8


def test_an_export_asks_first_whether_it_can_write(small_matroot, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(exports, "collect", lambda *given: pytest.fail("worked before asking"))
    (tmp_path / "file").write_text("in the way")
    command = ["--matroot", str(small_matroot), "--output", str(tmp_path / "file" / "out")]
    assert export(command) == 1
    assert "cannot write" in capsys.readouterr().err


def test_matroot_that_is_not_set_is_told_in_a_sentence(monkeypatch, tmp_path):
    monkeypatch.delenv("MATROOT", raising=False)
    with pytest.raises(MissingDataError, match="set MATROOT to the folder"):
        matroot()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MATROOT", "~")
    assert matroot() == tmp_path
    monkeypatch.setenv("MATROOT", "~/nowhere")
    with pytest.raises(MissingDataError, match="MATROOT is ~/nowhere"):
        matroot()


def test_a_check_says_where_the_tables_come_from_and_how_many_there_are(small_source_data, capsys):
    """Nine needed files of each figure; pickles and block means of Figure 2 are optional."""
    assert check(["check", str(small_source_data), "--figure", "figure2,FIG4"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("Fig2, Fig4: SIMULATED")
    assert told[-1] == "in all: 18 of 18 needed files present, 2 of 3 optional; 0 malformed"

"""A figure is made again only when its tables, its code, its files or the question changed."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace

import pytest
from joblib import parallel_config

import core.insilico
from core.errors import UserError
from core.files import write_json
from figure_reproduction import __main__ as figures
from figure_reproduction.page import reuse
from figure_reproduction.page.page import Printed, PrintJob
from figure_reproduction.page.reuse import ingredients, made_before, remember


@pytest.fixture
def job(tmp_path):
    """Give a figure one table, and the files that it was printed to."""
    table = tmp_path / "source_data/Fig2/table.csv"
    table.parent.mkdir(parents=True)
    table.write_text("1,2\n")
    output = tmp_path / "out"
    output.mkdir()
    (output / "2D.png").write_bytes(b"picture")
    write_json(output / "Figure2.json", {"panels": {"2D": {"statistics": []}}})
    return PrintJob(tmp_path / "source_data", output, ("png",))


@pytest.fixture
def made(job):
    """Remember the figure; return whether it need not be made again for a job."""
    printed = Printed([job.output / "2D.png"], {"2D": {"statistics": []}})
    remember(job.output, "Figure2", ingredients("Fig2", job), printed)
    return lambda job=job: made_before(job.output, "Figure2", ingredients("Fig2", job))


def test_the_same_figure_is_found_with_its_pictures_and_numbers(job, made):
    found = made()
    assert found.pictures == [job.output / "2D.png"]
    assert found.panels == {"2D": {"statistics": []}}
    assert found.exit_code == 0


def test_another_question_another_code_or_another_table_is_another_figure(job, made, monkeypatch):
    """A new table counts as well: an optional one changes a figure by being there."""
    assert made(replace(job, formats=("svg",))) is None
    assert made(replace(job, form="pkl")) is None
    with monkeypatch.context() as patched:
        patched.setattr(reuse, "_code", lambda: "other code")
        assert made() is None
    assert made() is not None
    optional = job.source_data / "Fig2/optional.csv"
    optional.write_text("3\n")
    assert made() is None
    optional.unlink()
    (job.source_data / "Fig2/table.csv").write_text("1,3\n")
    assert made() is None


@pytest.mark.parametrize("file", ["2D.png", "Figure2.json"])
def test_a_file_that_was_changed_or_removed_is_made_again(job, made, file):
    before = (job.output / file).read_bytes()
    (job.output / file).write_bytes(before + b" ")
    assert made() is None
    (job.output / file).unlink()
    assert made() is None
    (job.output / file).write_bytes(before)
    assert made() is not None


@pytest.mark.parametrize("note", ["[", "[]", '{"Figure2": {"made_of": 3}}', '{"Figure2": 1}'])
def test_an_unreadable_note_only_means_more_work(job, made, note):
    (job.output / ".made.json").write_text(note)
    assert made() is None


def test_a_figure_with_a_problem_is_forgotten(job, made):
    failed = Printed(problems={"2D": UserError("no such table.")})
    remember(job.output, "Figure2", ingredients("Fig2", job), failed)
    assert made() is None


@pytest.fixture
def source_data(tmp_path):
    """Take the packaged tables of Extended Figure 5."""
    packaged = next(iter(core.insilico.__path__)) + "/data/ExtendedFig5"
    shutil.copytree(packaged, tmp_path / "source_data/ExtendedFig5")
    return tmp_path / "source_data"


def test_the_command_makes_a_figure_once_but_never_judges_an_earlier_run(
    source_data, tmp_path, monkeypatch
):
    """The page stays; `--verify` draws again. One panel stands for the figure."""
    drawn, print_figure = [], figures.print_figure

    def print_a_panel(script, job):
        drawn.append(script.name)
        return print_figure(script, replace(job, panels=("Ext5C",)))

    monkeypatch.setattr(figures, "print_figure", print_a_panel)
    arguments = ["--source-data", str(source_data), "--output", str(tmp_path / "out")]
    arguments += ["--figure", "FigureExt5", "--format", "png", "--jobs", "1"]
    assert figures.main(arguments) == 0
    page = (tmp_path / "out/index.html").read_bytes()
    assert figures.main(arguments) == 0
    assert len(drawn) == 1
    assert (tmp_path / "out/index.html").read_bytes() == page
    figures.main([*arguments, "--verify"])
    assert len(drawn) == 2


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_figures_in_processes_of_their_own_are_gathered_in_order(
    small_source_data, tmp_path, monkeypatch, capsys
):
    """A figure without data does not stop its neighbour; what is missing is told and coded."""
    print_figure = figures.print_figure

    def print_less(script, job):
        return print_figure(script, replace(job, panels=("2B",) * (script.name == "Figure2")))

    monkeypatch.setattr(figures, "print_figure", print_less)
    source_data = tmp_path / "source_data"
    shutil.copytree(small_source_data / "Fig2", source_data / "Fig2")
    (source_data / "Fig6").mkdir()
    arguments = ["--source-data", str(source_data), "--output", str(tmp_path / "out")]
    chosen = ["--figure", "Figure6,Figure3,Figure2", "--format", "png", "--jobs", "2"]
    with parallel_config(backend="multiprocessing"):  # forks need not import everything anew
        assert figures.main([*arguments, *chosen]) == 3
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    made = [line[0] for line in lines if line and re.fullmatch(r"Figure\w+", line[0])]
    assert made == ["Figure6", "Figure3", "Figure2"]
    assert (tmp_path / "out/2B.png").is_file()
    kept = json.loads((tmp_path / "out/.made.json").read_text())
    assert list(kept) == ["Figure2"]

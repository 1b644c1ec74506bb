"""From a MATROOT to source data and figures: the command, the notebooks, what is missing."""

from __future__ import annotations

import shutil
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from core.errors import CannotWriteError, MissingDataError
from core.source_tables.reader import SourceData, check_folder
from figure_reproduction.__main__ import figure_script
from figure_reproduction.Figure4_reproduction import compute_4c
from figure_reproduction.page import inline
from figure_reproduction.page.page import PrintJob, print_figure
from neuro_data_analysis.neural_data_lib import MAT_FILE
from source_data_export import exports
from source_data_export.__main__ import main
from source_data_export.exports import MatRoot, run
from tests.golden import pictures_in_memory
from tests.notebooks import cells_of, code_of, run_here, run_in_kernel
from tests.panels import drawn, show

ROOT = Path(__file__).resolve().parents[2]

NOTEBOOKS = sorted((ROOT / "source_data_export").glob("*.ipynb"))

EVOLUTION_FIGURES = ("Fig2", "Fig4", "Fig5", "ExtendedFig4")


@pytest.fixture(scope="module")
def read_once(small_matroot):
    """Read the recordings once for all that export them here."""
    return MatRoot(small_matroot)


def test_the_export_of_simulated_recordings_is_complete_and_says_simulated(small_source_data):
    statuses = list(check_folder(small_source_data, EVOLUTION_FIGURES))
    absent = {s.spec.name: s.problem or s.state for s in statuses if s.state != "present"}
    assert absent == {"example_block_means": "missing"}  # stands in where trials are not known
    source = SourceData(small_source_data)
    assert {source.provenance(figure).kind for figure in EVOLUTION_FIGURES} == {"simulated"}
    psths, meta = source.gather("Fig2", ("example_psth", "example_psth_meta")).tables
    assert {psth.shape for psth in psths.values()} == {(23, 200)}
    assert meta["expstr"].startswith("Exp 155 Alfa-25112020-003 Pref chan12 U1\n")


def test_figure_2_is_the_same_from_both_forms(small_source_data, tmp_path):
    """Byte by byte: its pickles hold what its other tables do."""
    for form in ("csv", "pkl"):
        job = PrintJob(small_source_data, tmp_path / form, ("svg",), form, panels=("2B", "2D"))
        printed = print_figure(figure_script("Figure2"), job)
        assert printed.problems == {}
        assert all("SIMULATED" in path.read_text() for path in printed.pictures)
    for picture in ("2B.svg", "2D.svg"):
        one, two = (tmp_path / form / picture for form in ("csv", "pkl"))
        assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("name", ["Figure4", "Figure5", "FigureExt4"])
def test_every_panel_is_drawn_from_the_export(small_source_data, tmp_path, name):
    """All panels are made, and every picture is marked."""
    script = figure_script(name)
    panels = tuple(panel.name for panel in script.panels)
    with pictures_in_memory() as pictures:
        printed = print_figure(script, PrintJob(small_source_data, tmp_path, panels=panels))
    assert printed.problems == {}
    assert list(printed.panels) == list(panels)
    assert {path.stem for path in printed.pictures} == set(pictures)
    for figure in pictures.values():
        assert "SIMULATED" in {text.get_text() for text in figure.texts}


def test_figure_4b_draws_the_numbers_of_its_table(small_source_data):
    """Dots, pair lines and tests of the first block against the table itself."""
    source = SourceData(small_source_data)
    axes = drawn(show(figure_script("Figure4"), "4B", source).drawings["4B_initial"].draw).axes[0]
    masks, mean = source.read("Fig4/masks"), source.read("Fig4/response_mean", space="DeePSim")
    chosen = masks["valid"] & masks["anysucc005"]
    heights = np.concatenate([c.lines[0].get_ydata() for c in axes.containers[::2]])
    ordered = [mean[chosen & masks[f"{area}msk"], 0] for area in ("V1", "V4", "IT")]
    np.testing.assert_allclose(heights, np.concatenate(ordered))


def test_padded_and_recorded_parts_of_4c_join(small_source_data):
    """Each experiment's dotted padding begins where its solid line ends."""
    names = ("response_mean", "recorded_blocks", "masks")
    mean, recorded, masks = SourceData(small_source_data).gather("Fig4", names).tables
    for found in compute_4c(mean, recorded == 1, masks).values():
        for space in found.curves:
            padded = np.isfinite(found.padded[space])
            both = np.isfinite(found.recorded[space]) & padded
            assert (both.sum(axis=1) == padded.any(axis=1)).all()


def test_a_matroot_without_the_example_exports_the_rest_and_says_so(
    small_matroot, tmp_path, capsys
):
    """A copy of the recordings with two experiments, neither of which is 155."""
    import h5py

    matroot = tmp_path / "matroot"
    matroot.mkdir()
    shutil.copy(small_matroot / MAT_FILE, matroot)
    with h5py.File(matroot / MAT_FILE, "r+") as file:
        group = file["BFEStats"]
        references = group["evol"][()]
        references.flat[[i for i in range(190) if i not in (2, 4)]] = references.flat[0]  # empty
        group["evol"][...] = references
    assert main(["--matroot", str(matroot), "--output", str(tmp_path / "out")]) == 0
    captured = capsys.readouterr()
    assert "Fig2          left out" in captured.err
    assert "experiment 155" in captured.err
    assert "Fig4             9 files" in captured.out
    arguments = ["--matroot", str(matroot), "--output", str(tmp_path / "out"), "--figure", "Fig2"]
    assert main(arguments) == 3


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--matroot", "/nowhere"], 3, "no folder /nowhere"),
        ([], 3, "set MATROOT"),
        (["--figure", "Fig99"], 2, "unknown figure 'Fig99'"),
    ],
)
def test_bad_arguments_are_one_sentence(arguments, code, told, capsys, monkeypatch, tmp_path):
    monkeypatch.delenv("MATROOT", raising=False)
    try:
        found = main([*arguments, "--output", str(tmp_path)])
    except SystemExit as stop:
        found = stop.code
    assert found == code
    assert told in capsys.readouterr().err


def test_an_empty_matroot_is_missing_data_not_a_traceback(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    arguments = [
        "--matroot",
        str(tmp_path / "empty"),
        "--output",
        str(tmp_path),
        "--figure",
        "Fig4",
    ]
    assert main(arguments) == 3
    assert "holds none of Both_BigGAN_FC6_Evol_Stats.mat" in capsys.readouterr().err


def test_an_export_never_replaces_tables_of_another_origin(
    read_once, small_matroot, tmp_path, monkeypatch
):
    monkeypatch.setattr(exports, "MatRoot", lambda *given: read_once)
    found = tmp_path / "Fig4"
    found.mkdir()
    (found / "Fig4A_SuccessRate_maxinit.csv").write_text("downloaded\n")
    with pytest.raises(CannotWriteError, match="another origin"):
        run(small_matroot, tmp_path, ["Fig4"])
    assert [path.name for path in found.iterdir()] == ["Fig4A_SuccessRate_maxinit.csv"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem.partition("_")[0])
def test_kept_outputs_of_notebooks_end_with_the_figure_and_say_what_they_are(path):
    """No error, no path of the machine that made them, and words that nothing here was found."""
    cells = cells_of(path)
    outputs = [output for cell in cells for output in cell.outputs]
    assert "image/png" in outputs[-1]["data"]
    assert {output["output_type"] for output in outputs} <= {
        "stream", "display_data", "execute_result"
    }
    text = "".join(str(output.get("text", output.get("data", {}))) for output in outputs)
    assert "simulated" in text or "untrained" in text
    assert str(ROOT) not in text
    assert "outputs kept in this file were made of" in cells[0].source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem.partition("_")[0])
def test_a_notebook_without_its_recordings_ends_in_one_sentence(path, monkeypatch, capsys):
    """Its first cell is run as it is, with MATROOT unset."""
    monkeypatch.delenv("MATROOT", raising=False)
    monkeypatch.chdir(path.parent)
    monkeypatch.setattr(sys, "path", list(sys.path))
    code = code_of(path)[0]
    if "MATROOT" in code:
        with pytest.raises(MissingDataError, match="set MATROOT to the folder"):
            exec(code, {})
    monkeypatch.chdir(path.anchor)
    with pytest.raises(SystemExit, match="open this notebook in a checkout"):
        exec(code, {})


def _assert_exported(figure, folder, source_data):
    name = figure.replace("FigureExt", "ExtendedFig").replace("Figure", "Fig")
    made = {p.name: p.read_bytes() for p in (folder / name).iterdir()}
    assert made == {p.name: p.read_bytes() for p in (source_data / name).iterdir()}


def _notebook(figure):
    name = figure.replace("FigureExt", "FigureExtended")
    return ROOT / "source_data_export" / f"{name}_source_data_export.ipynb"


def test_a_notebook_exports_the_same_files_as_the_command(
    small_matroot, small_source_data, tmp_path
):
    """In a kernel of its own, from its own folder, with its figure."""
    given = {"MATROOT": str(small_matroot), "SOURCE_DATA": str(tmp_path)}
    run_in_kernel(_notebook("Figure2"), **given)
    _assert_exported("Figure2", tmp_path, small_source_data)


@pytest.mark.parametrize("figure", ["Figure4", "Figure5", "FigureExt4"])
def test_notebooks_export_the_same_files_as_the_command(
    figure, read_once, small_matroot, small_source_data, tmp_path, monkeypatch
):
    """They end with their figure, of what they wrote, which is drawn elsewhere."""
    asked = []
    monkeypatch.setattr(inline, "composed_figure", lambda *given: asked.append(given) or [])
    monkeypatch.setattr(exports, "MatRoot", {small_matroot: read_once}.__getitem__)
    given = {"MATROOT": str(small_matroot), "SOURCE_DATA": str(tmp_path)}
    run_here(_notebook(figure), monkeypatch, **given)
    _assert_exported(figure, tmp_path, small_source_data)
    assert asked == [(figure, str(tmp_path))]


def test_tables_that_wait_for_processes_themselves_are_made_before_they_are_shared_out():
    """A thread that hands out work to processes must not make them: it would wait for ever."""
    made_by = []

    def tables():
        for number in range(12):
            made_by.append(threading.current_thread())
            yield number

    assert list(exports._in_processes(str, tables())) == [str(number) for number in range(12)]
    assert set(made_by) == {threading.main_thread()}

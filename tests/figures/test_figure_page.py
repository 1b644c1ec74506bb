"""The page of the figures: command line, marks, files, numbers, and going on past trouble."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import beta

from core.published import Statistic, compare, not_computed, published_values
from core.source_tables.provenance import Provenance
from core.source_tables.reader import Table, write_table, write_tables
from core.spaces import Space
from figure_reproduction.Figure4_reproduction import FIGURE, compute_4a, draw_4a
from figure_reproduction.page.groups import Curve, significant_after_fdr
from figure_reproduction.page.page import PrintJob, main, print_figure
from figure_reproduction.page.report import write_report
from figure_reproduction.page.sheet import Drawing, Place, print_sheet
from neuro_data_analysis.evolution.population import success_rate_table
from tests.panels import drawn

ROOT = Path(__file__).resolve().parents[2]

#: Counts of Figure 4A: successes in DeePSim and BigGAN, valid experiments (V1, V4, IT).
PUBLISHED_COUNTS = (
    {Space.DEEPSIM: [10, 37, 67], Space.BIGGAN: [0, 20, 65]},
    [10, 38, 106],
)


@pytest.fixture
def published_4a(tmp_path):
    folder = tmp_path / "source_data"
    write_table(folder, "Fig4/success_rate", success_rate_table(*PUBLISHED_COUNTS))
    return folder


def test_the_published_panel_4a_comes_out_of_its_counts(published_4a, tmp_path, capsys):
    """Every statistic of 4A equals the paper's, bands and labels are drawn from the table."""
    job = ["--panel", "4A", "--source-data", str(published_4a), "--output", str(tmp_path / "out")]
    assert main(FIGURE, [*job, "--format", "png,pdf,svg"]) == 0
    printed = [Path(line).name for line in capsys.readouterr().out.splitlines()]
    assert printed == ["4A.png", "4A.pdf", "4A.svg"]
    panel = json.loads((tmp_path / "out" / "Figure4.json").read_text())["panels"]["4A"]
    ours = ("success_rate", "jeffreys_ci90")
    verdicts = {s["verdict"] for s in panel["statistics"] if s["quantity"] not in ours}
    assert verdicts == {"equal"}
    told = [
        ("4A", Statistic(s["quantity"], s["value"], s["area"], s["space"]))
        for s in panel["statistics"]
    ]
    assert list(not_computed(["4A"], told)) == []
    closed = {(s["area"], s["space"]): s["value"] for s in panel["statistics"]
              if s["quantity"] == "jeffreys_ci90"}  # fmt: skip
    assert closed["V1", "DeePSim"] == [pytest.approx(beta.ppf(0.05, 10.5, 0.5)), 1]
    assert closed["IT", "BigGAN"] == pytest.approx(beta.ppf([0.05, 0.95], 65.5, 41.5))


def test_axis_of_4a_names_the_areas_and_counts():
    axes = drawn(draw_4a, compute_4a(success_rate_table(*PUBLISHED_COUNTS))).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["V1", "V4", "IT"]
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["10/10", "37/38", "67/106", "0/10", "20/38", "65/106"]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [1, 37 / 38, 67 / 106])


def test_same_data_give_the_same_bytes(published_4a, tmp_path):
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        job = PrintJob(published_4a, folder, ("png", "pdf", "svg"), panels=("4A",))
        print_figure(FIGURE, job)
        write_report(folder)
    files = (path for path in folders[0].rglob("*") if path.is_file())
    names = sorted(path.relative_to(folders[0]).as_posix() for path in files)
    expected = ["4A.pdf", "4A.png", "4A.svg", "Figure4.json", "index.html", "numbers.csv"]
    assert [name for name in names if not name.startswith("thumbnails/")] == expected
    for name in names:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name


def test_a_panel_without_data_does_not_stop_the_others(published_4a, tmp_path, capsys):
    job = ["--source-data", str(published_4a), "--output", str(tmp_path / "out")]
    assert main(FIGURE, job) == 3
    captured = capsys.readouterr()
    assert "4A.png" in captured.out
    assert "error: panel 4B" in captured.err
    assert "Figure4_src_maxnorm_resp_stats" in captured.err


def test_a_single_panel_keeps_what_the_file_says_of_the_others(published_4a, tmp_path):
    path = tmp_path / "Figure4.json"
    path.write_text(json.dumps({"panels": {"4D": {"caption": "earlier"}}}))
    print_figure(FIGURE, PrintJob(published_4a, tmp_path, ("png",), panels=("4A",)))
    panels = json.loads(path.read_text())["panels"]
    assert list(panels) == ["4A", "4D"]
    assert panels["4D"] == {"caption": "earlier"}


def test_simulated_data_are_marked_and_never_compared(tmp_path):
    table = Table("Fig4/success_rate", success_rate_table(*PUBLISHED_COUNTS))
    write_tables(tmp_path, "Fig4", [table], Provenance("simulated"))
    print_figure(FIGURE, PrintJob(tmp_path, tmp_path / "out", ("svg",), panels=("4A",)))
    assert "SIMULATED" in (tmp_path / "out" / "4A.svg").read_text()
    panel = json.loads((tmp_path / "out" / "Figure4.json").read_text())["panels"]["4A"]
    assert panel["provenance"]["kind"] == "simulated"
    assert all("verdict" not in statistic for statistic in panel["statistics"])
    page = write_report(tmp_path / "out").read_text()
    assert "SIMULATED" in page
    assert "would prove nothing" in page


@pytest.mark.parametrize("kind", ["published", "recordings", "block means", "found", "computed"])
def test_real_data_carry_no_mark_but_one_small_line_of_origin(kind):
    origin = Provenance(kind, {"from": "somewhere"})
    drawing = Drawing(lambda canvas: None, (120, 40))
    [line] = print_sheet([Place(drawing, mark=origin.mark, origin=origin.line)]).texts
    assert line.get_text().startswith("Data: ")
    assert line.get_text().endswith("somewhere")
    assert line.get_fontsize() < 6


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--format", "gif"], 2, "unknown format 'gif'"),
        (["--panel", "9Z"], 2, "unknown panel '9Z'"),
        (["--source-data", "/nowhere"], 3, "/nowhere/Fig4 does not exist"),
    ],
)
def test_bad_arguments_are_one_sentence(arguments, code, told, capsys):
    try:
        found = main(FIGURE, arguments)
    except SystemExit as stop:
        found = stop.code
    assert found == code
    assert told in capsys.readouterr().err


def test_scripts_run_from_any_folder_without_torch_and_without_installation(
    bare, tmp_path, published_4a
):
    """The script finds the project by its own place, and loads no torch on the way."""
    code = (
        "import runpy, sys; sys.argv = sys.argv[1:]\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as stop: assert not stop.code, stop.code\n"
        "assert not {'torch', 'torchvision'} & set(sys.modules)"
    )
    script = ROOT / "figure_reproduction" / "Figure4_reproduction.py"
    arguments = ["--panel", "4A", "--format", "svg", "--source-data", published_4a]
    done = bare.run(code, script, *arguments, "--output", tmp_path / "out", where=tmp_path, path=())
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "4A.svg").is_file()


def test_no_permission_to_write_leaves_what_was_there(published_4a, tmp_path):
    """A file where a folder should be stops the figure with one sentence, nothing half-written."""
    (tmp_path / "out").write_text("in the way")
    job = ["--panel", "4A", "--source-data", str(published_4a), "--output", str(tmp_path / "out")]
    assert main(FIGURE, job) == 1
    assert (tmp_path / "out").read_text() == "in the way"


def test_published_numbers_compare_within_their_printed_digits():
    assert compare("4B", Statistic("initial_paired_t", -3.4908, "V1")).verdict == "equal"
    differs = compare("4B", Statistic("initial_paired_t", -3.50, "V1"))
    assert str(differs) == "differs by -0.009"
    assert compare("4B", Statistic("initial_p", 0.00675, "V1")).verdict == "equal"
    assert compare("4B", Statistic("initial_p", np.nan, "V1")).verdict == "differs"
    assert compare("2D", Statistic("psth_shape", "23x4x200")).verdict == "equal"
    assert compare("2D", Statistic("psth_shape", "22x4x200")).verdict == "differs"
    assert compare("3G_act", Statistic("n", 61, "IT")).verdict == "equal"
    assert compare("4A", Statistic("colour", "blue")).verdict == "not published"
    assert ("4A", "n_valid", "IT", "") in set(not_computed(["4A"], []))
    assert len(published_values()) == 171


def test_group_curves_use_the_published_standard_error(rng):
    values = rng.normal(size=(7, 5))
    curve = Curve.of(values)
    np.testing.assert_allclose(curve.sem, np.std(values, axis=0) / np.sqrt(7))
    empty = Curve.of(values[:0])
    assert empty.n == 0
    assert np.isnan(empty.mean).all()


def test_a_missing_p_is_never_significant():
    p = np.array([0.001, np.nan, 0.9, 0.02])
    assert significant_after_fdr(p).tolist() == [True, False, False, True]
    assert not significant_after_fdr(np.full(3, np.nan)).any()

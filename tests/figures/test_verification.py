"""The verdict: over all published numbers and dots, of this run only."""

from __future__ import annotations

import pytest

import source_data_export.block_means
import source_data_export.demonstration
from core.errors import MissingDataError
from core.published import Statistic, compare, published_dots, published_values
from core.source_tables.block_means import kept_archive
from core.source_tables.provenance import Provenance
from core.source_tables.reader import Table, write_tables
from figure_reproduction import __main__ as command
from figure_reproduction.page.choice import choose_data
from figure_reproduction.page.verification import discrepancies_of, verify
from neuro_data_analysis.evolution.population import success_rate_table
from tests.figures.test_figure_page import PUBLISHED_COUNTS

ALL = sorted({key[0] for key in published_values()})


def panel(statistics, kind="published"):
    """Make the entry of one panel as a figure script writes it."""
    origin = Provenance(kind)
    return {
        "provenance": {"kind": kind, "explanation": origin.explanation},
        "statistics": [
            {"quantity": s.quantity, "value": s.value, "area": s.area, "space": s.space}
            | (
                {"published": compare(name, s).published, "verdict": str(compare(name, s))}
                if origin.is_real
                else {}
            )
            for name, s in statistics
        ],
    }


def as_published(name, change=None):
    """Make a panel that tells every published number as printed, but for one."""
    told = []
    for (whole, quantity, area, space), value in published_values().items():
        if whole == name:
            shown = value.value if quantity != change else float(value.value) + 5
            told.append((name, Statistic(quantity, shown, area, space)))
    for plot in published_dots():
        if plot.panel == name:
            for space, blocks in plot.blocks.items():
                told.append((name, Statistic(plot.quantity, sorted(blocks), plot.area, space)))
    return panel(told)


def test_a_published_count_is_told_as_a_count():
    """65 of 106 threads in IT, never 65.0; a mean keeps its decimals."""
    told = panel([("4A", Statistic("n_success_p01", 66, "IT", "BigGAN"))])
    [line] = [str(d) for d in discrepancies_of({"4A": told}) if "differs" in str(d)]
    assert line.endswith("published 65, computed 66, differs by +1")
    assert isinstance(published_values()["4B", "initial_paired_t", "IT", ""].value, float)


def test_the_dots_are_those_of_all_small_plots():
    """168 plots with two sides of 46 blocks; facts read from the published pictures."""
    dots = published_dots()
    assert len(dots) * 2 * 46 == 15_456
    [plot] = [d for d in dots if (d.panel, d.area, d.start_ms) == ("5C", "V4", 110)]
    assert plot.blocks == {"DeePSim": {13}, "BigGAN": set()}
    [plot] = [
        d for d in dots
        if (d.panel, d.success_p, d.area, d.start_ms, d.stop_ms) == ("Ext4C", 0.05, "IT", 150, 200)
    ]  # fmt: skip
    assert plot.blocks["BigGAN"] == {*range(23), 26, 28, *range(30, 46)}
    assert plot.quantity == "blocks where larger, 150-200 ms_p05"


def test_all_as_printed_passes():
    """171 numbers and all dots; none is missing."""
    found = verify({name: as_published(name) for name in ALL}, {}, ALL)
    assert found.outcome == "PASS"
    assert found.exit_code == 0
    assert (found.n_equal, found.n_unreached, found.n_dots) == (171, 0, 15_456)
    assert list(found.lines()) == [
        "PASS: of 171 published numbers 171 as printed, 0 differing, 0 not reached; "
        "of 15456 dots compared 0 differing"
    ]


def test_one_number_that_differs_fails_and_says_by_how_much():
    """And the totals count it."""
    panels = {name: as_published(name) for name in ALL} | {"5A": as_published("5A", "n")}
    found = verify(panels, {}, ALL)
    assert (found.outcome, found.exit_code) == ("FAIL", 1)
    *differing, last = found.lines()
    assert len(differing) == 3  # V1, V4 and IT
    assert differing[0].endswith("differs by +5")
    assert last.startswith("FAIL: of 171 published numbers 168 as printed, 3 differing")


def test_a_number_that_a_made_panel_does_not_tell_fails():
    """A panel may not pass by keeping silent."""
    short = as_published("4C")
    short["statistics"].pop()
    found = verify({"4C": short}, {}, ["4C"])
    assert found.outcome == "FAIL"
    assert "not computed" in next(found.lines())


def test_one_dot_that_differs_fails():
    """Where, in which space, which block."""
    changed = as_published("5C")
    for s in changed["statistics"]:
        if (s["quantity"], s["area"], s["space"]) == (
            "blocks where larger, 110-120 ms", "V4", "DeePSim",
        ):  # fmt: skip
            s["value"] = [13, 14]
    found = verify({"5C": changed}, {}, ["5C"])
    assert (found.outcome, found.n_different_dots) == ("FAIL", 1)
    assert "V4 DeePSim: blocks [14]" in next(found.lines())
    assert "0 differing, " in list(found.lines())[-1]


def test_blocks_beyond_the_drawn_axis_bear_no_dot():
    """The published pictures end at block 45."""
    changed = as_published("5C")
    for s in changed["statistics"]:
        if s["quantity"].startswith("blocks where"):
            s["value"] = [*s["value"], 50]
    assert verify({"5C": changed}, {}, ["5C"]).outcome == "PASS"


def test_what_was_not_reached_is_said_with_its_reason():
    """Failed, simulated, not asked for: three reasons; what was asked for makes it incomplete."""
    panels = {"4A": as_published("4A"), "5C": panel([], "simulated")}
    found = verify(panels, {"4B": "Fig4 lacks a table."}, ["4A", "4B", "5C"])
    assert (found.outcome, found.exit_code) == ("INCOMPLETE", 3)
    assert found.unreached["4B"] == "Fig4 lacks a table."
    assert "simulated" in found.unreached["5C"]
    assert found.unreached["6C"] == "not asked for"
    assert found.n_equal + found.n_unreached == 171


def test_only_what_was_asked_for_decides():
    """One figure as printed passes though others were not asked for."""
    found = verify({"4A": as_published("4A")}, {}, ["4A"])
    assert found.outcome == "PASS"
    assert f"{found.n_unreached} not reached" in list(found.lines())[-1]


def test_json_files_of_an_earlier_run_are_not_judged(tmp_path, capsys):
    """A wrong Figure 4 of an earlier run lies in the output folder; now Figure 2 is asked for."""
    counts, totals = PUBLISHED_COUNTS
    wrong = success_rate_table({space: [1, 1, 1] for space in counts}, totals)
    write_tables(
        tmp_path, "Fig4", [Table("Fig4/success_rate", wrong)], Provenance("published")
    )
    where = ["--source-data", str(tmp_path), "--output", str(tmp_path / "out"), "--format", "svg"]
    assert command.main(["--figure", "Figure4", "--verify", *where]) == 1
    assert "differs by" in capsys.readouterr().out
    assert command.main(["--figure", "Figure2", "--verify", *where]) == 3
    told = capsys.readouterr().out
    assert "differs by" not in told
    assert "INCOMPLETE: of 171 published numbers 0 as printed, 0 differing" in told


def test_the_users_own_tables_come_first_then_block_means_then_a_simulation(tmp_path, monkeypatch):
    """One phrase says which and why."""
    made = tmp_path / "block_means"

    def ensure(folder):
        write_tables(made, "Fig4", [], Provenance("block means"))
        return made

    monkeypatch.setattr(source_data_export.block_means, "ensure_block_means", ensure)
    monkeypatch.setattr(
        source_data_export.demonstration, "ensure_demonstration", lambda folder: folder
    )
    simulated = choose_data(tmp_path, "Fig4", simulate_missing=True)
    assert simulated.folder == tmp_path / "simulated"
    assert "simulated" in simulated.why

    kept_archive(tmp_path).parent.mkdir(parents=True)
    kept_archive(tmp_path).write_bytes(b"")
    means = choose_data(tmp_path, "Fig4", simulate_missing=True)
    assert means.folder == made
    assert "block means" in means.why
    assert choose_data(tmp_path, "Fig6", simulate_missing=True).folder == tmp_path / "simulated"

    write_tables(tmp_path, "Fig4", [], Provenance("recordings"))
    own = choose_data(tmp_path, "Fig4", simulate_missing=True)
    assert own.folder == tmp_path
    assert "recordings" in own.why


@pytest.mark.parametrize(
    ("figure", "told"), [("Fig4", "block_means.zip"), ("Fig6", "no table of it")]
)
def test_without_any_data_the_error_says_how_to_get_some(tmp_path, figure, told):
    """Real ones by a fetch, or simulated ones by an argument."""
    with pytest.raises(MissingDataError) as error:
        choose_data(tmp_path, figure, simulate_missing=False)
    for words in (told, "core.source_data fetch", "--simulate-missing"):
        assert words in str(error.value)

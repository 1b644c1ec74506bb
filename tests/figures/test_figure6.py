"""Figure 6: published numbers drawn and recomputed, the simulated export, bad tables."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from core.errors import MalformedDataError
from core.published import compare
from core.source_tables.reader import SourceData, check_folder, write_table
from figure_reproduction.Figure6_reproduction import (
    FIGURE,
    compute_6c,
    compute_6d,
    compute_6d_failed,
    compute_peaks,
    compute_shapes,
    draw_6c,
    draw_6d,
    draw_peaks,
    draw_shapes,
    tell_6c,
    tell_6d,
    tell_peaks,
    tell_shapes,
)
from figure_reproduction.page.page import PrintJob, main, print_figure
from neuro_data_analysis.neural_tuning_analysis_lib import SHAPE_COLUMNS, SYNOPSIS_COLUMNS
from neuro_data_analysis.simulation.tuning import simulate_tuning_sessions
from neuro_data_analysis.tuning.tables import collect_sites, figure6_tables
from tests.golden import pictures_in_memory
from tests.panels import drawn, told
from tests.paper_constants import FIGURE6_GROUPS

DATA = Path(__file__).parents[1] / "data"

EXAMPLES = {"successful": "tuning_responses_caos.csv", "failed": "tuning_responses_alfa.csv"}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Return a source-data folder with the published 6D tables, written through the registry."""
    folder = tmp_path_factory.mktemp("published")
    for evolution, file in EXAMPLES.items():
        table = pd.read_csv(DATA / file)
        for unknown in {"bsl_mean", "bsl_sem", "n_repeats"} - set(table):
            table[unknown] = np.nan
        write_table(folder, f"Fig6/responses_{evolution}", table)
        write_table(folder, f"Fig6/responses_{evolution}_pickle", table)
    return folder


def drawn_map(figure, space):
    """Return the array that a panel of a heat map shows, and the texts on it by (row, column)."""
    axes = next(a for a in figure.axes if a.get_title() == f"{space} space")
    texts = {(round(t.get_position()[1]), round(t.get_position()[0])): t.get_text()
             for t in axes.texts}  # fmt: skip
    return axes, np.asarray(axes.images[0].get_array(), dtype=float), texts


@pytest.mark.parametrize("form", ["csv", "pkl"])
def test_6d_success_draws_the_annotated_responses(published, form):
    """The 171 cells have the published values, and the whole number written on them."""
    source = SourceData(published, form=form)
    figure = drawn(draw_6d, compute_6d(source.read("Fig6/responses_successful")), True)
    annotated = pd.read_csv(DATA / EXAMPLES["successful"])
    for space, rows in (("class", 10), ("noise", 9)):
        expected = annotated[annotated["space_name"] == space].pivot_table(
            index="eig_id", columns="lin_dist", values="pref_unit_resp_annot"
        )
        axes, values, texts = drawn_map(figure, space)
        assert values.shape == (rows, 9)
        np.testing.assert_allclose(values, expected.to_numpy(), atol=0.0501)
        assert texts == {cell: f"{value:.0f}" for cell, value in np.ndenumerate(values)}
        assert [label.get_text() for label in axes.get_yticklabels()] == [
            str(eig_id) for eig_id in expected.index
        ]
        assert [
            float(label.get_text().replace("−", "-")) for label in axes.get_xticklabels()
        ] == list(expected)


@pytest.mark.parametrize(
    ("evolution", "low", "high"), [("successful", 34.3, 121.5), ("failed", 111.5, 215.0)]
)
def test_colours_of_6d_end_where_the_published_ones_do(published, evolution, low, high):
    data = SourceData(published).read(f"Fig6/responses_{evolution}")
    statistics = told(tell_6d(compute_6d(data)))
    assert statistics["colour_low"] == pytest.approx(low, abs=0.06)
    assert statistics["colour_high"] == pytest.approx(high, abs=0.06)


def test_6d_failed_draws_ten_class_axes_without_numbers(published):
    """The colours still end at the quantiles of all 25 axes of both spaces."""
    data = SourceData(published).read("Fig6/responses_failed")
    computed = compute_6d_failed(data)
    figure = drawn(draw_6d, computed, False)
    axes, values, texts = drawn_map(figure, "class")
    annotated = pd.read_csv(DATA / EXAMPLES["failed"])
    shown = annotated[
        (annotated["space_name"] == "class")
        & annotated["eig_id"].isin((0, 1, 2, 3, 6, 9, 13, 21, 30, 60))
    ].pivot_table(index="eig_id", columns="lin_dist", values="pref_unit_resp_annot")
    np.testing.assert_allclose(values, shown.to_numpy())
    assert texts == {}
    assert [len(m.eig_ids) for m in computed.maps] == [10]
    whole = compute_6d(data)
    assert axes.images[0].get_clim() == (whole.low, whole.high)
    assert whole.maps[0].responses.shape == (13, 9)
    assert whole.maps[1].responses.shape == (12, 9)


def shape_table(counts):
    """Return a table of shapes that has some published counts, with axes that do not count."""
    parts = []
    for group, success in FIGURE6_GROUPS.items():
        of_group = counts[counts["group"] == group].set_index("metric")
        total = int(of_group["total"].iloc[0])
        session = [f"{group}-{axis % 34}" for axis in range(total)]
        table = pd.DataFrame({"is_BigGAN_evol_success": [success] * total, "Exp_id": session})
        for metric, row in of_group.iterrows():
            table[metric] = np.arange(total) < row["true_count"]
        counted = table.assign(anova_p_value=0.009, is_common_axis=True)
        parts += [
            counted,
            counted.assign(anova_p_value=0.01),
            counted.assign(anova_p_value=np.nan),
            counted.assign(is_common_axis=False),
        ]
    return pd.concat(parts, ignore_index=True)


def test_shapes_give_the_published_counts_and_z_tests():
    """178/342 and 41/342 against 26/103 and 37/103; z = 4.79 and -5.60."""
    counts = pd.read_csv(DATA / "tuning_shape_counts.csv")
    table = shape_table(counts[counts["subset"] == "anova_p<0.01 & common axis"])
    computed = compute_shapes(table)
    statistics = told(tell_shapes(computed))
    assert statistics["bellshaped_count successful"] == 178
    assert statistics["bellshaped_total successful"] == 342
    assert statistics["monotonic_count non_successful"] == 37
    assert statistics["unimodal_count successful"] == 217
    assert statistics["unimodal_count non_successful"] == 63
    assert statistics["bellshaped z, larger in successful"] == pytest.approx(4.79, abs=0.005)
    assert statistics["bellshaped p, larger in successful"] == pytest.approx(8.50e-07, rel=1e-3)
    assert statistics["monotonic z, smaller in successful"] == pytest.approx(-5.60, abs=0.005)
    assert statistics["monotonic p, smaller in successful"] == pytest.approx(1.07e-08, rel=5e-3)
    verdicts = [compare("6E_shapes", s).verdict for s in tell_shapes(computed)]
    assert verdicts.count("equal") == 8
    assert "differs" not in verdicts


def test_bars_of_shapes_are_annotated_from_their_counts():
    """Each bar is as high as its proportion and carries its own numbers."""
    counts = pd.read_csv(DATA / "tuning_shape_counts.csv")
    table = shape_table(counts[counts["subset"] == "anova_p<0.01 & common axis"])
    axes = drawn(draw_shapes, compute_shapes(table)).axes[0]
    bars = {bar.get_x() + bar.get_width() / 2: bar.get_height() for bar in axes.patches}
    texts = {t.xy[0]: t.get_text() for t in axes.texts}
    for x, text in texts.items():
        count, total = map(int, text.split("\n")[1].split("/"))
        height = next(h for centre, h in bars.items() if centre == pytest.approx(x))
        assert height == pytest.approx(count / total)
    assert sorted(t.split("\n")[1] for t in texts.values()) == [
        "178/342", "26/103", "37/103", "41/342",
    ]  # fmt: skip


def test_bootstrap_interval_is_the_limit_of_many_resamples(rng):
    """Resampling the 342 axes many times gives the interval that is drawn."""
    counts = pd.read_csv(DATA / "tuning_shape_counts.csv")
    table = shape_table(counts[counts["subset"] == "anova_p<0.01 & common axis"])
    interval = told(tell_shapes(compute_shapes(table)))["bellshaped_interval successful"]
    resampled = rng.choice(np.arange(342) < 178, (20000, 342)).mean(axis=1)
    np.testing.assert_allclose(interval, np.quantile(resampled, [0.025, 0.975]), atol=1.01 / 342)


def test_sessions_that_are_alike_widen_the_interval_of_a_share():
    """Ten axes of a session that all have the shape, or none, are one axis; others are ten."""
    shapes = dict.fromkeys(("gpr_y_is_bellshaped", "gpr_y_is_monotonic", "gpr_y_is_unimodal"))
    session = np.repeat(np.arange(30), 10)
    told_by = {}
    for name, hit in (("alike", session % 3 == 0), ("mixed", np.resize([1, 0, 0], 300) == 1)):
        table = pd.DataFrame({"is_BigGAN_evol_success": True, "Exp_id": session.astype(str),
                              "anova_p_value": 0.001, "is_common_axis": True,
                              **dict.fromkeys(shapes, hit)})  # fmt: skip
        told_by[name] = told(tell_shapes(compute_shapes(table)))
    effect, interval = (f"bellshaped_{what} successful" for what in
                        ("design_effect", "interval_of_sessions"))  # fmt: skip
    assert told_by["alike"][effect] == pytest.approx(10)
    assert told_by["mixed"][effect] < 1
    low, high = told_by["alike"][interval]
    expected = np.array(binom.ppf([0.025, 0.975], 30, 1 / 3)) / 30
    np.testing.assert_allclose([low, high], expected, atol=0.05)


def peak_rows(counts):
    """Return a table of peaks with the published counts of tuned and of untuned axes."""
    rows = [
        (row.max_resp_lin_dist_bin, p, FIGURE6_GROUPS[row.group])
        for row in counts.itertuples()
        for p, n in ((0.0099, row.count_sig), (0.2, row.count_nonsig_from_bars))
        for _ in range(n)
    ]
    columns = ["max_resp_lin_dist_bin", "p_value", "is_BigGAN_evol_success"]
    return pd.DataFrame(rows, columns=columns)


def test_peaks_give_the_published_counts_and_wilson_intervals(tmp_path):
    """Written and read through the registry, the 1096 axes give 18 counts and intervals."""
    counts = pd.read_csv(DATA / "tuning_peak_counts.csv")
    write_table(tmp_path, "Fig6/peaks", peak_rows(counts))
    table = SourceData(tmp_path).read("Fig6/peaks")
    assert len(table) == 1096
    computed = compute_peaks(table)
    assert computed.totals == {"successful": 342, "non_successful": 103}
    for group in FIGURE6_GROUPS:
        expected = counts[counts["group"] == group]
        found = computed.proportions[group]
        np.testing.assert_allclose(computed.distances, expected["max_resp_lin_dist_bin"])
        assert [p.count for p in found] == expected["count_sig"].tolist()
        np.testing.assert_allclose([p.low for p in found], expected["wilson_low"], rtol=1e-9)
        np.testing.assert_allclose([p.high for p in found], expected["wilson_high"], rtol=1e-9)
    verdicts = [compare("6E_peaks", s).verdict for s in tell_peaks(computed)]
    assert verdicts.count("equal") == 18
    assert "differs" not in verdicts
    figure = drawn(draw_peaks, computed)
    successful = figure.axes[0]
    assert [int(t.get_text()) for t in successful.texts] == [9, 17, 40, 53, 86, 53, 41, 25, 18]
    heights = [bar.get_height() for bar in successful.patches]
    np.testing.assert_allclose(heights, [p.ratio for p in computed.proportions["successful"]])


def test_a_group_without_tuned_axes_is_empty_not_a_crash():
    """Only failed sessions: proportions and tests of the others are missing."""
    counts = pd.read_csv(DATA / "tuning_shape_counts.csv")
    table = shape_table(counts[counts["subset"] == "anova_p<0.01 & common axis"])
    table = table[~table["is_BigGAN_evol_success"]]
    computed = compute_shapes(table)
    assert np.isnan(computed.proportions["successful", "bellshaped"].ratio)
    assert np.isnan(computed.tests["bellshaped"].z)
    drawn(draw_shapes, computed)
    peaks = peak_rows(pd.read_csv(DATA / "tuning_peak_counts.csv"))
    peaks = peaks[~peaks["is_BigGAN_evol_success"]]
    assert compute_peaks(peaks).totals["successful"] == 0
    drawn(draw_peaks, compute_peaks(peaks))


@pytest.fixture(scope="module")
def exported(golden_source_data):
    """Return MATROOT and source data of four simulated sessions."""
    return golden_source_data.parent / "tuning", golden_source_data


def test_the_export_is_complete_and_has_the_published_layout(exported):
    """Names, columns and rows of the five published files and of the peak table."""
    _, folder = exported
    states = {s.spec.name: s.state for s in check_folder(folder, ("Fig6",))}
    assert set(states.values()) == {"present"}
    trials = pd.read_csv(folder / "Fig6" / "Figure6C_src_B07092020_sgtr_resp_df.csv")
    assert trials.columns[0] == "Unnamed: 0"
    source = SourceData(folder)
    shapes = source.read("Fig6/shapes")
    assert shapes.shape[1] == 21
    pickled = pd.read_pickle(  # our own file
        folder / "Fig6" / "Figure6E_src_tuning_shape_fitting_stats_synopsis_sel.pkl"
    )
    assert tuple(pickled) == SHAPE_COLUMNS
    assert pickled["gpr_y_mean"].map(len).eq(100).all()
    assert len(shapes) == len(pickled) == len(source.read("Fig6/peaks"))
    assert set(SYNOPSIS_COLUMNS) - set(source.read("Fig6/synopsis")) == {
        "max_resp_lin_dist_bin", "is_BigGAN_evol_success",
    }  # fmt: skip


def test_the_examples_of_6d_have_as_many_rows_as_the_published(tmp_path):
    simulate_tuning_sessions(tmp_path, seed=1, n_sessions=3)
    examples = islice(figure6_tables(collect_sites(tmp_path)), 6)  # before anything is fitted
    rows = {table.key: len(table.value) for table in examples}
    assert rows["Fig6/responses_successful"] == rows["Fig6/responses_successful_pickle"] == 171
    assert rows["Fig6/responses_failed"] == rows["Fig6/responses_failed_pickle"] == 225


def test_the_export_is_the_same_again(exported, tmp_path):
    matroot, folder = exported
    for table in figure6_tables(collect_sites(matroot), seed=0, workers=1):
        again = write_table(tmp_path, table.key, table.value, **table.member)
        first = folder / "Fig6" / again.name
        if again.suffix == ".pkl":
            frames = pd.read_pickle(first), pd.read_pickle(again)
            pd.testing.assert_frame_equal(*frames, check_exact=True)
        else:
            assert again.read_bytes() == first.read_bytes(), again.name


def test_the_tuning_that_was_simulated_is_found(exported):
    """The example of 6C is fitted where its truth is: centre .05, width .21, 195 at the origin."""
    _, folder = exported
    curve = compute_6c(SourceData(folder).read("Fig6/trials"))
    statistics = told(tell_6c(curve))
    assert statistics["gauss_mean"] == pytest.approx(0.05, abs=0.05)
    assert statistics["gauss_std"] == pytest.approx(0.21, abs=0.06)
    assert statistics["anova_p"] < 1e-4
    assert curve.title.startswith("Site 5B, class axis 0")
    figure = drawn(draw_6c, curve)
    points = figure.axes[0].lines[0]
    np.testing.assert_array_equal(points.get_xdata(), curve.axis.distance)
    np.testing.assert_array_equal(points.get_ydata(), curve.axis.response)


@pytest.mark.parametrize(
    ("name", "compute", "tell"),
    [("shapes", compute_shapes, tell_shapes), ("peaks", compute_peaks, tell_peaks)],
)
def test_pickled_twins_tell_the_same(exported, name, compute, tell):
    """The pickled shapes also hold what the peak table says."""
    tables = [SourceData(exported[1], form).read(f"Fig6/{name}") for form in ("csv", "pkl")]
    csv, pkl = (json.dumps(told(tell(compute(table))), default=float) for table in tables)
    assert csv == pkl


def test_the_script_draws_every_panel(exported, tmp_path):
    """All pictures and all published quantities of 6C, with the mark of simulated sessions."""
    _, folder = exported
    arguments = ["--source-data", str(folder), "--output", str(tmp_path), "--format", "svg"]
    with pictures_in_memory() as pictures:
        assert main(FIGURE, arguments) == 0
    assert set(pictures) == {path.stem for path in tmp_path.glob("*.svg")} == {
        "6C", "6D_success", "6D_failed_class", "6E_shapes", "6E_peaks", "Figure6",
    }  # fmt: skip
    for picture in pictures.values():
        assert "SIMULATED" in {text.get_text() for text in picture.texts}
    panels = json.loads((tmp_path / "Figure6.json").read_text())["panels"]
    assert list(panels) == ["6C", "6D_success", "6D_failed", "6E_shapes", "6E_peaks"]
    quantities = {s["quantity"] for s in panels["6C"]["statistics"]}
    assert quantities >= {"gauss_amplitude", "ols_slope", "gpr_R2", "anova_F", "anova_p"}


def test_pickles_make_the_panels_too(exported, tmp_path):
    """Whatever has a pickled twin is read from it."""
    names = ("6D_success", "6D_failed", "6E_shapes", "6E_peaks")
    job = PrintJob(exported[1], tmp_path, ("svg",), "pkl", panels=names)
    with pictures_in_memory():
        printed = print_figure(FIGURE, job)
    assert printed.problems == {}
    inputs = {file for entry in printed.panels.values() for file in entry["inputs"]}
    assert inputs
    assert not any(file.endswith(".csv") for file in inputs)


def without(table, *columns):
    return table.drop(columns=list(columns))


@pytest.mark.parametrize(
    ("file", "spoil", "panel", "message"),
    [
        ("Figure6C_src_B07092020_sgtr_resp_df.csv", lambda t: without(t, "pref_unit_resp"),
         "6C", "missing column pref_unit_resp"),
        ("Figure6C_src_B07092020_sgtr_resp_df.csv", lambda t: t[t["eig_id"] != 0],
         "6C", "hold no class axis 0"),
        ("Figure6C_src_B07092020_sgtr_resp_df.csv", lambda t: t.assign(lin_dist="far"),
         "6C", "column 'lin_dist' holds 'far'"),
        ("Figure6D_src_prefchan_avgresp_df.csv", lambda t: without(t, "eig_id", "lin_dist"),
         "6D_success", "missing columns eig_id, lin_dist"),
        ("Figure6D_src_prefchan_avgresp_df.csv",
         lambda t: pd.concat([t, t.assign(ephysFN="Caos-2")]),
         "6D_success", "are of 2 sites"),
        ("Figure6D_src_prefchan_avgresp_df_failevol.csv", lambda t: t.assign(pref_unit_resp=np.nan),
         "6D_failed", "column 'pref_unit_resp' is empty in row 0"),
        ("Figure6E_src_tuning_shape_fitting_stats_synopsis_selcolumn.csv",
         lambda t: without(t, "is_common_axis"), "6E_shapes", "missing column is_common_axis"),
        ("Figure6E_src_tuning_shape_fitting_stats_synopsis_selcolumn.csv",
         lambda t: t.assign(gpr_y_is_bellshaped="maybe"), "6E_shapes", "'maybe'; expected 0/1"),
        ("Figure6E_src_tuning_stats_synopsis_selcolumn.csv",
         lambda t: without(t, "max_resp_lin_dist_bin"), "6E_peaks",
         "missing column max_resp_lin_dist_bin"),
    ],
)  # fmt: skip
def test_a_bad_table_is_one_sentence(exported, tmp_path, capsys, file, spoil, panel, message):
    """The panel fails with exit code 1 and a sentence that names file and problem."""
    table = spoil(pd.read_csv(exported[1] / "Fig6" / file, index_col=0))
    (tmp_path / "Fig6").mkdir()
    table.to_csv(tmp_path / "Fig6" / file)
    arguments = ["--source-data", str(tmp_path), "--output", str(tmp_path / "out")]
    assert main(FIGURE, [*arguments, "--panel", panel]) == 1
    told_on_screen = capsys.readouterr().err
    assert message in told_on_screen
    assert told_on_screen.splitlines()[-1].startswith(f"error: panel {panel}: ")
    assert "Traceback" not in told_on_screen


def test_a_table_with_only_what_is_drawn_is_enough(tmp_path):
    """The published peak table may hold no more than three columns; repeats may be unknown."""
    counts = pd.read_csv(DATA / "tuning_peak_counts.csv")
    (tmp_path / "Fig6").mkdir()
    path = tmp_path / "Fig6" / "Figure6E_src_tuning_stats_synopsis_selcolumn.csv"
    peak_rows(counts).to_csv(path, index=False)
    assert list(SourceData(tmp_path).read("Fig6/peaks")) == [
        "p_value", "max_resp_lin_dist_bin", "is_BigGAN_evol_success",
    ]  # fmt: skip


def test_a_pickle_that_is_no_table_is_refused(tmp_path):
    (tmp_path / "Fig6").mkdir()
    path = tmp_path / "Fig6" / "Figure6D_src_prefchan_avgresp_df.pkl"
    pd.to_pickle({"not": "a table"}, path)
    with pytest.raises(MalformedDataError, match="a dict; expected a table"):
        SourceData(tmp_path, form="pkl").read("Fig6/responses_successful")


def test_missing_examples_leave_the_rest_of_the_export(exported, tmp_path, caplog):
    """Without the session of 6C its table is not written, and the log says so."""
    matroot, _ = exported
    for path in matroot.iterdir():
        if path.suffix != ".pkl" or path.stem == "Caos-12102024-003":
            (tmp_path / path.name).symlink_to(path)
    keys, missing = [], None
    for table in figure6_tables(collect_sites(tmp_path), workers=1):
        keys.append(table.key)
        missing = table.value
    assert "Fig6/trials" not in keys
    assert {"Fig6/responses_successful", "Fig6/shapes", "Fig6/peaks"} <= set(keys)
    assert "session Beto-07092020-003 is not there" in caplog.text
    told = missing.iloc[:, :4].to_numpy().tolist()
    assert ["Beto-07092020-003", None, None, "session"] in told

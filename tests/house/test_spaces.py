"""The two spaces by all their names, the one t test of the analyses, and one reading per figure."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from core.source_tables import layouts, reader
from core.source_tables.reader import ORIGIN, SourceData, write_table
from core.source_tables.registry import TABLES
from core.spaces import Space
from core.utils.statistics.t_tests import student
from figure_reproduction.page.page import (
    FigureScript,
    PrintJob,
    Shown,
    print_figure,
)
from figure_reproduction.page.sheet import Drawing, Place, print_sheet


def test_each_space_has_the_names_of_the_paper_and_of_its_files():
    """Thread 0 is FC, fc6, DeePSim, blue; thread 1 is BG, BigGAN, red."""
    assert [
        (space.thread, space.prefix, space.generator, str(space), space.colour) for space in Space
    ] == [(0, "FC", "fc6", "DeePSim", "#0000ff"), (1, "BG", "BigGAN", "BigGAN", "#ff0000")]
    assert len({(space.dash, space.marker) for space in Space}) == 2


def test_a_space_is_its_label_in_texts_files_and_dictionaries():
    assert json.dumps({"space": Space.BIGGAN}) == '{"space": "BigGAN"}'
    assert f"{Space.DEEPSIM}_{Space.BIGGAN!r}" == "DeePSim_'BigGAN'"
    assert {Space.DEEPSIM: 1}["DeePSim"] == 1
    assert Space("BigGAN") is Space.BIGGAN
    spec = TABLES["Fig4/response_mean"]
    assert [spec.file.format(**member) for member in spec.members] == [
        f"Figure4_src_maxnorm_resp_stats_all_exps_{label}_mean_data.csv"
        for label in ("DeePSim", "BigGAN")
    ]


def test_student_is_scipys_test_at_every_point(rng):
    first, second = rng.normal(size=(9, 4)), rng.normal(0.5, 2, size=(7, 4))
    pooled, expected = student(first, second), stats.ttest_ind(first, second)
    np.testing.assert_allclose(pooled.t, expected.statistic)
    np.testing.assert_allclose(pooled.p, expected.pvalue)
    assert (pooled.n, pooled.df.tolist()) == (16, [14] * 4)
    paired = student(first[:7], second, paired=True)
    differences = stats.ttest_rel(first[:7], second)
    np.testing.assert_allclose(paired.t, differences.statistic)
    np.testing.assert_allclose(paired.p, differences.pvalue)
    assert (paired.n, paired.df.tolist()) == (7, [6] * 4)
    welch, expected = (
        student(first, second, equal_variances=False),
        stats.ttest_ind(first, second, equal_var=False),
    )
    for name, value in (("t", expected.statistic), ("p", expected.pvalue), ("df", expected.df)):
        np.testing.assert_allclose(getattr(welch, name), value)
    alone = student(first[:, 0], second[:, 0])
    assert (alone.t.shape, float(alone.t)) == ((), pytest.approx(float(pooled.t[0])))


@pytest.mark.parametrize("paired", [False, True])
def test_student_is_nan_only_where_it_is_not_defined(paired):
    """Columns: nothing varies, only one sample varies, a NaN, all well."""
    first = np.array([[1.0, 1, np.nan, 1], [1, 2, 2, 2], [1, 4, 4, 5]])
    second = np.array([[2.0, 2, 3, 7], [2, 2, 9, 3], [2, 2, 4, 4]])
    test = student(first, second, paired=paired)
    for found in (test.t, test.p, test.df):
        assert np.isnan(found).tolist() == [True, False, True, False]
    assert np.isnan(student(first[:1], second[:1], paired=paired).t).all()
    assert np.isnan(student([], [], paired=paired).t)


def test_pairs_that_differ_by_a_constant_have_no_test():
    steps = np.arange(5.0)
    assert np.isnan(student(steps, steps + 1, paired=True).t)
    assert np.isfinite(student(steps, steps + 1).t)


@pytest.fixture
def folder(tmp_path):
    """Five experiments of four blocks in each space, with their masks."""
    values = np.linspace(0, 1, 20).reshape(5, 4)
    for space in Space:
        write_table(tmp_path, "Fig4/response_mean", values + space.thread, space=space)
    names = TABLES["Fig4/masks"].layout.names
    write_table(tmp_path, "Fig4/masks", pd.DataFrame(1, index=range(5), columns=names))
    return tmp_path


def test_a_family_is_read_by_what_tells_its_members_apart(folder):
    responses, masks, origin = (
        SourceData(folder).gather("Fig4", ("response_mean", "masks", ORIGIN)).tables
    )
    assert [values[0, 0] for values in responses.values()] == [0, 1]
    assert list(responses) == [Space.DEEPSIM, Space.BIGGAN]
    assert len(masks) == 5
    assert origin.kind == "found"


def _figure():
    """Make a figure of three panels that read the same two tables, and one more."""
    figure = FigureScript("Figure4", "Fig4", "three panels")

    @figure.panel("a", reads=("response_mean", "masks"))
    @figure.panel("b", reads=("masks", "response_mean"))
    def show(*tables):
        """Two tables."""
        return Shown([])

    @figure.panel("c", reads=("recorded_blocks",))
    def show_more(recorded):
        """One more table.

        And what it means.
        """
        return Shown([], {"c": Drawing(lambda canvas: canvas.text(0, 0, "c"), (50.8, 25.4))})

    return figure


def test_a_figure_reads_and_hashes_each_file_once(folder, tmp_path, monkeypatch):
    opened, hashed = [], []
    sha256_of = reader.sha256_of
    for kind in (layouts.Grid, layouts.Columns):
        monkeypatch.setattr(
            kind, "read", lambda self, path, read=kind.read: opened.append(path) or read(self, path)
        )
    monkeypatch.setattr(reader, "sha256_of", lambda p: (hashed.append(p), sha256_of(p))[1])
    printed = print_figure(_figure(), PrintJob(folder, tmp_path / "out", ("svg",)))
    assert list(printed.problems) == ["c"]  # its table is missing
    assert len(opened) == len(set(opened)) == 3
    assert Counter(hashed) == dict.fromkeys(opened, 2)  # before and after it is read
    panels = json.loads((tmp_path / "out" / "Figure4.json").read_text())["panels"]
    assert panels["a"]["inputs"] == panels["b"]["inputs"]
    assert len(panels["a"]["inputs"]) == 3


def test_tables_of_two_panels_must_come_from_one_export(folder, tmp_path):
    write_table(folder, "Fig4/recorded_blocks", np.ones((6, 4), dtype=int))
    printed = print_figure(_figure(), PrintJob(folder, tmp_path / "out", ("svg",)))
    assert "6 experiments" in str(printed.problems["c"])
    assert "both must come from one export" in str(printed.problems["c"])


def test_a_table_that_is_refused_sets_no_length_for_the_others(folder):
    path = folder / "Fig4" / "Figure4_src_extrapolation_mask_arr.csv"
    path.write_text("1,1,1,1\n" * 6 + "1,2,1,1\n")
    source = SourceData(folder)
    with pytest.raises(reader.MalformedDataError, match="other values than 0 and 1"):
        source.read("Fig4/recorded_blocks")
    assert len(source.read("Fig4/masks")) == 5


def test_the_docstring_is_the_caption_and_the_size_is_in_millimetres(folder, tmp_path):
    figure = _figure()
    assert figure.panels[2].caption == "One more table. And what it means."
    shown = figure.panels[2].show(np.ones((5, 4)))
    figure = print_sheet([Place(shown.drawings["c"])])
    np.testing.assert_allclose(figure.get_size_inches(), [2, 1])

"""What a change of the recordings must do to every table: exchange, permute, shift, scale, repeat.

None of these needs to know a number: the two spaces exchanged in the recordings must be exchanged
in all tables, and so on.
"""

from __future__ import annotations

import copy
import csv
import itertools
import re

import numpy as np
import pandas as pd
import pytest

from core.source_data import SourceData
from tests import golden
from tests import paper_constants as paper
from tests.golden import recordings

#: Areas, kinds of climb, lengths of the last block and reasons of exclusion, without the longest.
EXPIS = (4, 5, 34, 40, 63, 65, 88, 109, 155, 160, 188)

FOLDERS = ("Fig2", "Fig4", "Fig5", "ExtendedFig4", "Tables")

#: Tables with a space in their name: 8 of Figure 2, 4, 84, and 10 + 168.
N_WITH_A_SPACE = 8 + 4 + 84 + 178

#: The example is needed by Figure 2 under its number.
OTHERS = [expi for expi in EXPIS if expi != paper.EXAMPLE_EXPI]


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """Return a function that exports changed recordings: element → element."""
    elements = recordings.elements(EXPIS)

    def run(change=lambda element: element, order=EXPIS, folders=FOLDERS):
        made = list(elements)
        for expi, source in zip(EXPIS, order, strict=True):
            made[expi - 1] = change(copy.deepcopy(elements[source - 1]))
        folder = tmp_path_factory.mktemp("changed")
        golden.export_tables(recordings.write(folder / "m", made), folder / "tables", folders)
        return folder / "tables"

    return run


@pytest.fixture(scope="module")
def plain(export):
    return export()


@pytest.fixture(scope="module")
def exchanged(export):
    return export(_exchange_threads)


def _exchange_threads(element):
    for shown in ("evol", "ref"):
        for field in ("psth", "idx_seq"):
            element[shown][field] = element[shown][field][::-1]
    return element


def _each_psth(element, change):
    """Change the PSTHs of all blocks of both threads."""
    for shown in ("evol", "ref"):
        element[shown]["psth"] = [[change(p) for p in blocks] for blocks in element[shown]["psth"]]
    return element


def _other_space(name):
    """Exchange the names of the spaces in the name of a file or column."""
    pairs = [("DeePSim", "BigGAN"), ("FC_", "BG_"), ("FCsucc", "BGsucc"), ("rsp_0", "rsp_1")]
    pairs += [(f"{test}_0", f"{test}_1") for test in ("endinit", "maxinit", "maxend")]
    for one, two in pairs:
        if (one in name or two in name) and "FCBG" not in name:
            return name.replace(one, "§").replace(two, one).replace("§", two)
    return name


def test_names_of_the_other_space():
    for one, two in [
        ("a_DeePSim_b", "a_BigGAN_b"), ("p_maxinit_0", "p_maxinit_1"), ("FC_suc", "BG_suc"),
        ("maxrsp_0_sem", "maxrsp_1_sem"), ("FC_tc0_bslinit", "BG_tc0_bslinit"),
    ]:  # fmt: skip
        assert (_other_space(one), _other_space(two)) == (two, one)


def test_exchanged_threads_exchange_the_spaces_of_every_table(plain, exchanged):
    """Byte by byte: the table of one space becomes that of the other."""
    names = [path.relative_to(plain) for path in sorted(plain.rglob("*.csv"))]
    with_a_space = [n for n in names if "DeePSim" in n.name or "BigGAN" in n.name]
    assert len(with_a_space) == N_WITH_A_SPACE
    for name in with_a_space:
        other = name.with_name(_other_space(name.name))
        assert (exchanged / other).read_bytes() == (plain / name).read_bytes(), name
        assert (plain / other).read_bytes() != (plain / name).read_bytes(), name


@pytest.mark.parametrize(
    "name",
    [
        "Fig4/Fig4A_SuccessRate_maxinit.csv",
        "Fig4/Figure4_src_exp_masks_and_succ_labels.csv",
        "Fig4/Figure4_src_evol_traj_time_constant_w_meta.csv",
        "Fig5/Figure5_src_exp_masks_and_succ_labels.csv",
        "ExtendedFig4/FigureExt4_meta_df.csv",
        "Tables/meta_stats.csv",
        "Tables/meta_activation_stats.csv",
        "Tables/Evol_traj_time_constant.csv",
        "Tables/SuccessRate_maxinit.csv",
        "Tables/SuccessRate_endinit.csv",
        "Tables/SuccessRate_endinitdecrs.csv",
    ],
)
def test_exchanged_threads_exchange_the_columns_of_every_table(plain, exchanged, name):
    """Columns of one thread become those of the other; t of DeePSim against BigGAN turns round."""
    before, now = pd.read_csv(plain / name), pd.read_csv(exchanged / name)
    before = before.rename(columns=_other_space)[list(now.columns)]
    for column in now.columns[now.columns.str.startswith("t_FCBG")]:
        before[column] = -before[column]
    pd.testing.assert_frame_equal(before, now, check_exact=False, rtol=1e-12, atol=1e-12)


def test_exchanged_threads_exchange_the_synopsis(plain, exchanged):
    name = "Tables/Evol_traj_time_constant_stats_synopsis_export.csv"
    before, now = (pd.read_csv(f / name).set_index(["column", "group"]) for f in (plain, exchanged))
    for (column, group), row in before.iterrows():
        if "unpaired" in group:  # of DeePSim alone
            continue
        sign = -1 if "paired" in group else 1
        other = group if "paired" in group else _other_space(f"{group}_")[:-1]
        expected = row.to_numpy(dtype=float) * [1, 1, 1, sign, 1]
        assert before.columns.tolist() == ["mean", "sem", "n", "t", "p"]
        np.testing.assert_allclose(now.loc[(column, other)].to_numpy(dtype=float), expected)


def test_exchanged_threads_exchange_the_pickles_of_the_example(plain, exchanged):
    before, now = SourceData(plain, "pkl"), SourceData(exchanged, "pkl")
    psths = [source.read("Fig2/example_psth_pickle")["psth_arr"] for source in (before, now)]
    np.testing.assert_array_equal(psths[0][:, [1, 0, 3, 2]], psths[1])
    trials = [source.read("Fig2/example_trials_pickle") for source in (before, now)]
    for kind in ("resp_df", "natref_resp_df"):
        for one, two in (("thread0", "thread1"), ("thread1", "thread0")):
            pd.testing.assert_frame_equal(trials[0][f"{one}_{kind}"], trials[1][f"{two}_{kind}"])


@pytest.mark.parametrize(
    ("figure", "panels"), [("Figure2", ["2B"]), ("Figure4", ["4A", "4B", "4C"])]
)
def test_exchanged_threads_exchange_what_the_figures_tell(
    plain, exchanged, tmp_path, figure, panels
):
    """Each statistic of one space becomes that of the other; t tests between them turn round."""
    before = golden.by_name(golden.run_script(figure, plain, tmp_path / "before", panels))
    now = golden.by_name(golden.run_script(figure, exchanged, tmp_path / "now", panels))
    for panel, statistics in before.items():
        expected = {}
        for name, value in statistics.items():
            expected[_other_space(name)] = _turned(value) if _SIGNED.search(name) else value
        found, expected = (_not_drawn(statistics) for statistics in (now[panel], expected))
        assert golden.differences({panel: expected}, {panel: found}) == []


#: Statistics of a difference, DeePSim − BigGAN, and intervals of one.
_SIGNED = re.compile(r"paired_t|_difference|_d_z")


def _not_drawn(statistics):
    """Leave out what random threads say, which are others for every thread."""
    return {n: value for n, value in statistics.items() if "expected_false_positives" not in n}


def _turned(value):
    if isinstance(value, list):
        return [_turned(item) for item in reversed(value)]
    return value if value is None else -value


def test_experiments_in_another_order_are_rows_in_another_order(plain, export):
    """Each experiment gets the trials and the name of another; no row depends on its neighbours."""
    order = [*OTHERS[1:], OTHERS[0]]
    order.insert(EXPIS.index(paper.EXAMPLE_EXPI), paper.EXAMPLE_EXPI)
    permuted = export(order=order)
    rows = [EXPIS.index(source) for source in order]
    for path in plain.rglob("*.csv"):
        name = path.relative_to(plain)
        if "SuccessRate" in name.name or "synopsis" in name.name or name.parts[0] == "Fig2":
            assert (permuted / name).read_bytes() == path.read_bytes(), name
            continue
        before, now = (_lines(f / name) for f in (plain, permuted))
        header = range(len(now[0]))
        if "extrapolation" not in name.name:
            header = now.pop(0)
            assert before.pop(0) == header
        kept = [i for i, column in enumerate(header) if column not in OF_THE_NUMBER]
        for row, source in enumerate(rows):
            assert [now[row][i] for i in kept] == [before[source][i] for i in kept], name


#: Columns that follow the number of an experiment, not its trials.
OF_THE_NUMBER = ("", "Expi", "optim_names1", "optim_names2")


def _lines(path):
    """Return the cells of a table, line by line, as they stand in its file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_rates_four_times_as_large_leave_all_that_is_normalised(plain, export):
    """A power of two is exact: t, p, shares and time constants are the same to the last digit."""
    scaled = export(lambda element: _each_psth(element, lambda psth: 4 * psth))
    n_scaled = 0
    for path in plain.rglob("*.csv"):
        name = path.relative_to(plain)
        (header, *before), (same, *now) = (_lines(f / name) for f in (plain, scaled))
        assert header == same
        in_events = [
            "rsp_" in c or c in ("resp", "bsl") or "src_psth" in name.name for c in header
        ]
        for one, other in zip(before, now, strict=True):
            for value, found, scales in zip(one, other, in_events, strict=True):
                if scales and value:
                    n_scaled += 1
                    assert float(found) == 4 * float(value), name
                else:
                    assert found == value, name
    assert n_scaled > 1000


def test_a_response_10_ms_later_moves_into_the_next_windows(export):
    """Nothing fires before 60 and after 180 ms, so that the normaliser stays what it is."""

    def within(element, shift):
        def cut(psth):
            psth = psth.copy()
            psth[:60] = psth[180:] = 0
            return np.roll(psth, shift, axis=0)

        return _each_psth(element, cut)

    folders = ("Fig5", "ExtendedFig4", "Tables")
    early, late = (
        export(lambda e, s=shift: within(e, s), folders=folders) for shift in (0, 10)
    )
    meta = [pd.read_csv(folder / "Tables/meta_stats.csv") for folder in (early, late)]
    pd.testing.assert_frame_equal(*meta, check_exact=False, rtol=1e-9)
    windows = [("Fig5/Figure5C", paper.WINDOWS_5C)]
    windows += [("ExtendedFig4/FigureExtended4C", paper.WINDOWS_5C)]
    for space in paper.SPACES:
        for stem, bins in windows:
            for (start, stop), (later, end) in itertools.pairwise(bins):
                for statistic in ("mean", "sem"):
                    name = "{}_src_normresp_wdw_{}-{}_{}_{}.csv"
                    before = pd.read_csv(early / name.format(stem, start, stop, space, statistic))
                    now = pd.read_csv(late / name.format(stem, later, end, space, statistic))
                    np.testing.assert_allclose(now, before, atol=1e-12)
        for bin_ms in (5, 10):
            name = f"ExtendedFig4/FigureExt4B_{space}_diff_attrib_norm_bin_tsr_{bin_ms}ms.csv"
            before, now = (pd.read_csv(f / name, index_col=0) for f in (early, late))
            n = 10 // bin_ms
            np.testing.assert_allclose(now.to_numpy()[:, n:], before.to_numpy()[:, :-n], atol=1e-9)
        for block in paper.SHOWN_BLOCKS:
            stem = "Fig5/Figure5A_src_all_exps_maxnorm_mean_psth_per_block"
            before, now = (
                pd.read_csv(f / f"{stem}{block:02d}_{space}_mean.csv").to_numpy()
                for f in (early, late)
            )
            np.testing.assert_allclose(now[:, 10:], before[:, :-10], atol=1e-12)


def test_every_image_shown_twice_changes_only_the_standard_errors(export):
    """SEM² is S/(n (n - 1)) with n images, and 2S/(2n (2n - 1)) with each of them twice."""
    expis = [5, 63, 88, 155, 188]  # no last block that doubling would save from being dropped
    chosen = [expi if expi in expis else 5 for expi in EXPIS]
    once = export(order=chosen, folders=("Fig4", "Tables"))
    twice = export(_show_twice, chosen, ("Fig4", "Tables"))
    elements = recordings.elements(tuple(expis))
    for thread, space in enumerate(paper.SPACES):
        stem = f"Fig4/Figure4_src_maxnorm_resp_stats_all_exps_{space}"
        means, sems = (
            [pd.read_csv(f / f"{stem}_{kind}_data.csv").to_numpy() for f in (once, twice)]
            for kind in ("mean", "sem")
        )
        np.testing.assert_allclose(*means)
        for row, expi in enumerate(chosen):
            sizes = [b.shape[1] for b in recordings.shown_blocks(elements[expi - 1], thread)]
            n = np.array(sizes, dtype=float)
            expected = sems[0][row, : len(n)] * np.sqrt((n - 1) / (2 * n - 1))
            np.testing.assert_allclose(sems[1][row, : len(n)], expected)
    table = "Tables/Evol_traj_time_constant.csv"
    assert (once / table).read_bytes() == (twice / table).read_bytes()


def _show_twice(element):
    for shown in ("evol", "ref"):
        cells = element[shown]
        cells["psth"] = [[np.repeat(p, 2, axis=1) for p in blocks] for blocks in cells["psth"]]
        cells["idx_seq"] = [[np.repeat(i, 2) for i in blocks] for blocks in cells["idx_seq"]]
    return element

"""Rules at their edge: > against ≥, ties of the best block, the best block at the end."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from neuro_data_analysis.neural_data_utils import area_of_channel, parse_session, success_masks
from tests import golden
from tests import paper_constants as paper
from tests.golden import recordings
from tests.loops import sites


@pytest.fixture
def export(tmp_path):
    """Return a function that exports some elements as experiments 155, …, and reads a table."""

    def run(elements, folder="Tables"):
        content = recordings.elements(())
        for expi, element in elements.items():
            content[expi - 1] = element
        matroot = recordings.write(tmp_path / "m", content)
        golden.export_tables(matroot, tmp_path / "tables", (folder,))
        return lambda name, **how: pd.read_csv(tmp_path / "tables" / name, **how)

    return run


def element_of(blocks, expi=155):
    """Return the element of an experiment with other PSTHs: thread → block → (200 ms, images)."""
    element = recordings.elements((expi,))[expi - 1]
    counts = [[np.arange(psth.shape[1]) + 1.0 for psth in thread] for thread in blocks]
    element["evol"] |= {"psth": blocks, "idx_seq": counts}
    return element


def constant(rates, n_images=12):
    """Return one thread whose evoked rate is the same in every image of a block; no baseline."""
    psth = np.zeros((200, n_images))
    psth[50:] = 1.0
    return [rate * psth for rate in rates]


def noisy(rates, seed=1, spread=2.0, n_images=12):
    """Return one thread whose block means are exactly these rates."""
    rng = np.random.default_rng(seed)
    blocks = []
    for rate in rates:
        deviation = np.round(spread * rng.standard_normal(n_images // 2) * 8) / 8
        psth = np.zeros((200, n_images))
        psth[50:] = rate + np.concatenate([deviation, -deviation])
        blocks.append(psth)
    return blocks


def test_a_block_at_the_threshold_is_neither_above_nor_below(export):
    """A climb to 10 ends at the first block above 8; blocks of exactly 8 count on neither side."""
    rates = [0, 4, 8, 8, 10, 9, 8, 10, 8, 7, 8, 9, 10, 8, 8, 10]
    table = export({155: element_of([constant(rates), constant(rates[::-1])])})
    row = table("Tables/Evol_traj_time_constant.csv").iloc[0]
    for baseline in ("", "_bsl0", "_bslinit"):
        assert row[f"FC_tc0{baseline}"] == 4
        assert row[f"FC_tc_cnt{baseline}"] == 3
    assert row["BG_tc0_bsl0"] == 0
    assert row["BG_tc_cnt_bslinit"] == 12  # the first block is the best: θ is 0, none above it


def test_of_two_equally_good_blocks_the_first_is_the_best(export):
    """Blocks 4 and 9 have the same mean to the last bit, and other images."""
    rates = [20, 22, 24, 26, 40, 30, 30, 28, 26, 40, 30, 30, 28, 26, 24, 22]
    threads = [noisy(rates, seed=2), noisy(rates, seed=3)]
    element = element_of(threads)
    assert threads[0][4].mean() == threads[0][9].mean()
    table = export({155: element}, "ExtendedFig4")
    site = sites([element])[0]
    row = table("ExtendedFig4/FigureExt4_meta_df.csv").iloc[0]
    for thread in (0, 1):
        first, other = (np.std(threads[thread][block][60]) for block in (4, 9))
        assert first != pytest.approx(other)
        assert row[f"maxrsp_{thread}_std"] == pytest.approx(first)
        assert row[f"t_maxinit_{thread}"] == pytest.approx(site.tests[f"t_maxinit_{thread}"])


@pytest.mark.parametrize("best", [11, 12, 13, 14, 15])
def test_the_best_window_is_moved_only_from_the_last_two_blocks(export, best):
    """Of 16 blocks 0 to 15, 14 and 15 become 13; 12 and 13 stay."""
    rates = [20 + (2.0 if block % 3 else 0.0) + (10 if block == best else 0) for block in range(16)]
    threads = [noisy(rates, seed=4), noisy(rates[::-1], seed=5)]
    table = export({155: element_of(threads)})
    row = table("Tables/meta_stats.csv").iloc[0]
    window = 13 if best >= 14 else best
    pools = [np.concatenate([threads[0][b][60] for b in (m, m + 1)]) for m in (window, 0)]
    assert row["t_maxinit_0"] == pytest.approx(stats.ttest_ind(*pools).statistic)
    reverse = {11: 4, 12: 3, 13: 2, 14: 1, 15: 0}[best]
    pools = [np.concatenate([threads[1][b][60] for b in (m, m + 1)]) for m in (reverse, 0)]
    assert row["t_maxinit_1"] == pytest.approx(stats.ttest_ind(*pools).statistic)


def test_a_rise_that_is_moved_below_the_start_does_not_count_as_a_success(export):
    """The last block is the best; the window moved before it lies below the first two blocks."""
    rates = [60, 60, *[20] * 13, 70]
    table = export({155: element_of([noisy(rates), noisy([20] * 16)])}, "Fig4")
    masks = table("Fig4/Figure4_src_exp_masks_and_succ_labels.csv").iloc[0]
    rate = table("Fig4/Fig4A_SuccessRate_maxinit.csv").set_index("label").loc["IT"]
    assert masks[["valid", "FCsucc005", "FCsucc001"]].tolist() == [1, 1, 1]
    assert rate[["FC_suc", "total"]].tolist() == [0, 1]


@pytest.mark.parametrize(("last", "kept"), [((10, 10), 16), ((9, 10), 15), ((10, 9), 15)])
def test_ten_images_keep_the_last_block(export, last, kept):
    threads = [noisy([20.0] * 15 + [30.0], seed) for seed in (6, 7)]
    for thread, n in zip(threads, last, strict=True):
        thread[-1] = thread[-1][:, :n]
    table = export({155: element_of(threads)})
    assert table("Tables/meta_stats.csv").iloc[0]["blockN"] == kept


@pytest.mark.parametrize(("n_blocks", "counts"), [(14, 0), (15, 1)])
def test_more_than_fourteen_blocks_are_long_enough(export, n_blocks, counts):
    threads = [noisy(np.arange(20.0, 20 + n_blocks), seed) for seed in (8, 9)]
    table = export({155: element_of(threads)}, "Fig4")
    masks = table("Fig4/Figure4_src_exp_masks_and_succ_labels.csv")
    assert masks.loc[0, "valid"] == counts


def test_a_longer_session_than_any_published_sets_the_length(export):
    """58 blocks: nothing is cut off, and a session of 56 is padded to 58."""
    long = element_of([noisy(np.arange(20.0, 78), 1), noisy(np.arange(30.0, 88), 2)], 155)
    other = element_of([noisy(np.arange(20.0, 76), 3), noisy(np.arange(20.0, 76), 4)], 188)
    table = export({155: long, 188: other}, "Fig4")
    recorded = table("Fig4/Figure4_src_extrapolation_mask_arr.csv", header=None)
    assert recorded.sum(axis=1).tolist() == [58, 56]
    means = table("Fig4/Figure4_src_maxnorm_resp_stats_all_exps_DeePSim_mean_data.csv")
    assert means.iloc[0].to_numpy() * 87 == pytest.approx(np.arange(20.0, 78))
    assert means.iloc[1, 56:].to_numpy() * 75 == pytest.approx(74.5)


def test_p_at_the_level_is_no_success():
    meta = pd.DataFrame({"p_maxinit_0": [0.05, 0.0499], "p_maxinit_1": [np.nan, 0.05]})
    found = success_masks(meta, 0.05)
    assert found["FCsucc"].tolist() == [False, True]
    assert found["BGsucc"].tolist() == [False, False]
    assert found["nonesucc"].tolist() == [True, False]
    assert found["anysucc"].tolist() == [False, True]


@pytest.mark.parametrize(("p", "counts"), [(0.01, False), (np.nextafter(0.01, 0), True)])
def test_figure_4d_counts_threads_below_the_level_only(golden_source_data, tmp_path, p, counts):
    """One thread of V1 gets a p of just 0.01, and the largest number just below it."""
    copy = _copied(golden_source_data, tmp_path, "Fig4")
    path = copy / "Fig4/Figure4_src_evol_traj_time_constant_w_meta.csv"
    table = pd.read_csv(path)
    row = table.index[table["Expi"] == 188][0]
    table.loc[row, "p_maxinit_0"] = p
    table.to_csv(path, index=False)
    before = golden.read("Figure4")["4D"]["n | V1 | DeePSim"]
    told = golden.by_name(golden.run_script("Figure4", copy, tmp_path / "out", ["4D"]))
    assert told["4D"]["n | V1 | DeePSim"] == before - (not counts)


@pytest.mark.parametrize(("p", "counts"), [(0.05, False), (np.nextafter(0.05, 0), True)])
def test_figure_3_selects_experiments_below_the_level_only(golden_source_data, tmp_path, p, counts):
    copy = _copied(golden_source_data, tmp_path, "Fig3")
    path = copy / "Fig3/Fig3_meta_df.csv"
    table = pd.read_csv(path, index_col=0)
    table.loc[table["Expi"] == 190, "p_maxinit_1"] = p
    table.to_csv(path)
    told = golden.by_name(
        golden.run_script("Figure3", copy, tmp_path / "out", ["3G_experiments"])
    )
    before = golden.read("Figure3")["3G_experiments"]["n | V1"]
    assert told["3G_experiments"]["n | V1"] == before - (not counts)


@pytest.mark.parametrize(
    ("name", "channel", "area"),
    [
        ("Alfa-25112020-003", 32, "IT"),
        ("Alfa-25112020-003", 33, "V1"),
        ("Alfa-25112020-003", 48, "V1"),
        ("Alfa-25112020-003", 49, "V4"),
        ("Alfa-02092022-003", 32, "IT"),
        ("Beto-01092021-001", 32, "IT"),
        ("Beto-01092021-001", 16, "IT"),
        ("Beto-01092021-001", 49, "V4"),
        ("Beto-02092021-001", 1, "V4"),
        ("Beto-02092021-001", 16, "V4"),
        ("Beto-02092021-001", 17, "V1"),
        ("Beto-02092021-001", 32, "V1"),
        ("Beto-02092021-001", 33, "IT"),
    ],
)
def test_areas_begin_and_end_at_their_channels(name, channel, area):
    """Beto's array was wired anew after 2021-09-01, that day excluded."""
    assert area_of_channel(parse_session(name, None), channel) == area


@pytest.mark.parametrize("name", sorted(paper.UNSTABLE_BASELINE))
def test_unstable_sessions_are_excluded(export, name):
    element = recordings.elements((155,))[154]
    element["meta"] |= {"ephysFN": name, "expControlFN": ""}
    table = export({155: element}, "Fig4")
    assert table("Fig4/Figure4_src_exp_masks_and_succ_labels.csv").loc[0, "valid"] == 0


def _copied(source_data, tmp_path, folder):
    """Copy the tables of a figure, without the hashes that would tell that they were edited."""
    shutil.copytree(source_data / folder, tmp_path / "tables" / folder)
    return tmp_path / "tables"

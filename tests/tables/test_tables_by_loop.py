"""Every family of tables of the evolutions, cell by cell, against plain loops over the trials."""

from __future__ import annotations

import json
from math import ceil

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests import paper_constants as paper
from tests.golden import WITH_PROTOTYPES, recordings
from tests.loops import Site, padded, rates, sites

#: Experiments of which all windows are compared: of each length of the last block, the longest.
SOME = (26, 34, 40, 63, 65, 155)


@pytest.fixture(scope="module")
def element():
    elements = recordings.elements()
    return lambda expi: elements[expi - 1]


@pytest.fixture(scope="module")
def population():
    return sites(recordings.elements())


@pytest.fixture
def table(golden_source_data):
    return lambda name, **options: pd.read_csv(golden_source_data / name, **options)


def assert_grid(found, expected):
    """Compare a grid of floats; the files keep all digits."""
    np.testing.assert_allclose(found.to_numpy(dtype=float), np.array(expected), rtol=1e-9)


@pytest.mark.parametrize("thread", [0, 1])
def test_example_psths_are_means_and_sems_over_the_images(table, element, thread):
    """Figure 2D: 23 blocks of experiment 155, in files that hold what their names say."""
    site = sites([element(155)])[0]
    space = paper.SPACES[thread]
    means = table(f"Fig2/Figure2D_src_psth_Exp155_{space}_mean.csv")
    sems = table(f"Fig2/Figure2D_src_psth_Exp155_{space}_sem.csv")
    assert_grid(means, [site.psth(thread, block) for block in range(23)])
    assert_grid(sems, [stats.sem(psth, axis=1) for psth in site.blocks[thread]])


def test_the_example_has_its_offset_and_title(golden_source_data, element):
    """The offset is the largest mean rate over 2.2, rounded up to tens."""
    site = sites([element(155)])[0]
    meta = json.loads((golden_source_data / "Fig2/Figure2D_src_psth_Exp155_meta.txt").read_text())
    largest = max(max(site.psth(t, b)) for t in (0, 1) for b in range(23))
    assert meta["offset"] == ceil(largest / 2.2 / 10) * 10
    assert meta["Expi"] == paper.EXAMPLE_EXPI
    assert meta["expstr"] == (
        "Exp 155 Alfa-25112020-003 Pref chan12 U1\nimage size [3. 3.] deg  pos [ 0.  -0.8]\n"
        "Evol thr0: fc6   thr1: BigGAN_class"
    )


@pytest.mark.parametrize("kind", ["evol", "natref"])
@pytest.mark.parametrize("thread", [0, 1])
def test_example_trials_are_all_presentations_in_order(table, element, thread, kind):
    """Figure 2B: response 50-200 ms, baseline 0-45 ms, generation from 1."""
    site = sites([element(155)])[0]
    blocks = (site.all_blocks if kind == "evol" else site.all_references)[thread]
    found = table(f"Fig2/Figure2B_src_resp_Exp155_{paper.SPACES[thread]}_thread_{kind}.csv")
    for column, window in (("resp", paper.EVOKED_MS), ("bsl", paper.BASELINE_MS)):
        expected = np.concatenate([rates(psth, window) for psth in blocks])
        np.testing.assert_allclose(found[column], expected, rtol=1e-9)
    assert found["gen"].tolist() == [
        number for number, psth in enumerate(blocks, 1) for _ in range(psth.shape[1])
    ]


@pytest.mark.parametrize("thread", [0, 1])
def test_normalised_responses_are_padded_and_share_one_scale(table, population, thread):
    """Figure 4B and 4C: over the largest block mean of both threads, SEM alike."""
    name = f"Fig4/Figure4_src_maxnorm_resp_stats_all_exps_{paper.SPACES[thread]}"
    expected = [np.array(padded(site.means(thread))) / site.normalizer for site in population]
    assert_grid(table(f"{name}_mean_data.csv"), expected)
    expected = [np.array(padded(site.sems(thread))) / site.normalizer for site in population]
    assert_grid(table(f"{name}_sem_data.csv"), expected)


def test_recorded_blocks_are_those_that_count(table, population):
    """1 for a real block, 0 for padding; the file has no header."""
    found = table("Fig4/Figure4_src_extrapolation_mask_arr.csv", header=None)
    assert found.shape == (31, 56)
    for row, site in zip(found.to_numpy(), population, strict=True):
        assert row.tolist() == [1] * site.n_blocks + [0] * (56 - site.n_blocks)


@pytest.mark.parametrize("file", ["Fig4/Figure4", "Fig5/Figure5"])
def test_masks_say_who_counts_and_who_succeeds(table, population, file):
    found = table(f"{file}_src_exp_masks_and_succ_labels.csv")
    for level, p_below in paper.P_LEVELS.items():
        fc, bg = ([s.succeeds(thread, p_below) for s in population] for thread in (0, 1))
        expected = {
            "FC": fc,
            "BG": bg,
            "both": [a and b for a, b in zip(fc, bg, strict=True)],
            "none": [not a and not b for a, b in zip(fc, bg, strict=True)],
            "any": [a or b for a, b in zip(fc, bg, strict=True)],
        }
        for name, flags in expected.items():
            assert found[f"{name}succ{level}"].tolist() == [int(f) for f in flags], (name, level)
    assert found["valid"].tolist() == [int(site.valid) for site in population]
    for area in paper.AREAS:
        assert found[f"{area}msk"].tolist() == [int(s.area == area) for s in population]


def test_the_levels_of_success_select_differently(population):
    """Otherwise the tests of the masks could not tell 0.05 from 0.01."""
    for thread in (0, 1):
        flags = [[s.succeeds(thread, p) for s in population] for p in (0.05, 0.01)]
        assert flags[0] != flags[1]


@pytest.mark.parametrize(
    ("file", "test", "sign"),
    [
        ("Fig4/Fig4A_SuccessRate_maxinit.csv", "maxinit", 1),
        ("Tables/SuccessRate_maxinit.csv", "maxinit", 1),
        ("Tables/SuccessRate_endinit.csv", "endinit", 1),
        ("Tables/SuccessRate_endinitdecrs.csv", "endinit", -1),
    ],
)
def test_success_rates_count_valid_threads_by_level_and_sign(table, population, file, test, sign):
    """Success is p < 0.01 and the sign of t; Beta(k + 1, n - k + 1) quantiles."""
    found = table(file).set_index("label")
    assert found.index.tolist() == list(paper.AREAS)
    signs_decide = 0
    for area in paper.AREAS:
        counted = [site for site in population if site.valid and site.area == area]
        row = found.loc[area]
        assert row["total"] == len(counted)
        for thread, prefix in enumerate(paper.PREFIXES):
            small = [s for s in counted if s.tests[f"p_{test}_{thread}"] < 0.01]
            k = sum(sign * s.tests[f"t_{test}_{thread}"] > 0 for s in small)
            signs_decide += len(small) - k
            assert row[f"{prefix}_suc"] == k
            assert row[f"{prefix}_rate"] == pytest.approx(k / len(counted))
            for bound, tail in ((1, 0.05), (2, 0.95)):
                posterior = stats.beta(k + 1, len(counted) - k + 1)
                assert posterior.cdf(row[f"{prefix}_CI_{bound}"]) == pytest.approx(tail)
    assert signs_decide > 0  # some thread passes the level with the other sign


def test_the_labels_of_success_name_its_test_and_its_level(golden_source_data):
    labels = json.loads((golden_source_data / "Fig4/Fig4A_sucs_labels.txt").read_text())
    assert labels == {"sucs_criterion_label": "max > init, P<0.01", "sucs_label": "maxinit"}


def test_time_constants_and_tests_stand_beside_what_each_experiment_was(table, population):
    """Figure 4D, and the tables of the lab."""
    found = table("Fig4/Figure4_src_evol_traj_time_constant_w_meta.csv").set_index("Expi")
    alone = table("Tables/Evol_traj_time_constant.csv", index_col=0)
    meta = table("Tables/meta_stats.csv", index_col=0)
    assert found.index.tolist() == alone.index.tolist() == [s.expi for s in population]
    for site in population:
        row = found.loc[site.expi]
        assert row["ephysFN"] == site.name
        assert row["visual_area"] == site.area
        assert row["blockN"] == site.n_blocks
        assert [row["space1"], row["space2"]] == site.spaces
        for name, value in site.time_constants.items():
            assert row[name] == alone.loc[site.expi, name] == value, (site.expi, name)
        for name, value in site.tests.items():
            assert row[name] == pytest.approx(value, rel=1e-7, abs=1e-12), (site.expi, name)
            assert meta.loc[site.expi, name] == pytest.approx(value, rel=1e-7, abs=1e-12)


def test_names_of_optimisers_come_from_the_recording_or_else_from_the_list(table):
    meta = table("Tables/meta_stats.csv", index_col=0)
    assert meta.loc[78, ["optim_names1", "optim_names2"]].tolist() == ["CMAES", "Concat CMAES"]
    assert meta.loc[155, ["optim_names1", "optim_names2"]].tolist() == ["CMAES 155", "ZOHA 155"]
    assert meta.loc[155, ["Animal", "expdate"]].tolist() == ["Alfa", "2020-11-25"]


@pytest.mark.parametrize(
    ("file", "index"),
    [
        ("ExtendedFig4/FigureExt4_meta_df.csv", "Expi"),
        ("Tables/meta_activation_stats.csv", "Expi"),
    ],
)
def test_responses_of_single_blocks(table, population, file, index):
    """The best, last and first block of each thread; a short last block falls per thread."""
    found = table(file).set_index(index)
    for site in population:
        for name, value in site.activations.items():
            assert found.loc[site.expi, name] == pytest.approx(value), (site.expi, name)
        if "valid" in found:
            assert found.loc[site.expi, "valid"] == site.valid


@pytest.mark.parametrize("thread", [0, 1])
@pytest.mark.parametrize("block", paper.SHOWN_BLOCKS)
def test_shown_psths_are_those_of_the_first_and_of_the_padded_last_block(
    table, population, block, thread
):
    """Figure 5A; experiment 26 has a block 55 of its own."""
    space = paper.SPACES[thread]
    name = f"Fig5/Figure5A_src_all_exps_maxnorm_mean_psth_per_block{block:02d}_{space}_mean.csv"
    expected = [
        np.array(site.psth(thread, 0) if block == 0 else site.late_psth(thread)) / site.normalizer
        for site in population
    ]
    assert max(site.n_blocks for site in population) == 56
    assert_grid(table(name), expected)


@pytest.mark.parametrize("thread", [0, 1])
@pytest.mark.parametrize(
    ("stem", "windows"),
    [
        ("Fig5/Figure5C_src_normresp_wdw", paper.WINDOWS_5C),
        ("ExtendedFig4/FigureExtended4C_src_normresp_wdw", paper.WINDOWS_EXT4C),
    ],
    ids=["5C", "Ext 4C"],
)
def test_windows_hold_their_own_milliseconds(table, population, stem, windows, thread):
    """Every window, over the one scale of 50-200 ms; all files of some experiments."""
    rows = [row for row, site in enumerate(population) if site.expi in SOME]
    for start, stop in windows:
        name = f"{stem}_{start}-{stop}_{paper.SPACES[thread]}"
        means, sems = table(f"{name}_mean.csv"), table(f"{name}_sem.csv")
        for found, of_blocks in ((means, Site.means), (sems, Site.sems)):
            expected = [
                np.array(padded(of_blocks(population[row], thread, (start, stop))))
                / population[row].normalizer
                for row in rows
            ]
            np.testing.assert_allclose(found.loc[rows], expected, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("thread", [0, 1])
@pytest.mark.parametrize("bin_ms", paper.BINS_MS)
def test_shares_of_the_rise_are_those_of_the_best_block(table, population, bin_ms, thread):
    """Extended Figure 4B: no clamp; nothing to share where the first block is the best."""
    space = paper.SPACES[thread]
    name = f"ExtendedFig4/FigureExt4B_{space}_diff_attrib_norm_bin_tsr_{bin_ms}ms.csv"
    found = table(name, index_col=0)
    expected = [site.fractions(thread, bin_ms) for site in population]
    np.testing.assert_allclose(found.to_numpy(), expected, rtol=1e-6, atol=1e-9)
    best = [site.best_block(1) for site in population]
    assert min(best) == 0  # some thread has no rise
    assert any(b == s.n_blocks - 1 for b, s in zip(best, population, strict=True))


def test_synopsis_compares_areas_and_spaces(table, population):
    """Mean, SEM and n of the climbing threads; t tests of IT against V4 and V1, FC against BG."""
    found = table("Tables/Evol_traj_time_constant_stats_synopsis_export.csv")
    found = found.set_index(["column", "group"])

    def chosen(area, *threads):
        counted = [s for s in population if s.valid and s.area == area]
        return [s for s in counted if all(s.succeeds(thread, 0.01) for thread in threads)]

    def constants(column, thread, selected):
        count, _, baseline = column.partition("_bsl")
        name = f"{paper.PREFIXES[thread]}_{count}{'_bsl' + baseline if baseline else ''}"
        return np.array([s.time_constants[name] for s in selected], dtype=float)

    columns = [f"{c}{b}" for b in ("", "_bsl0", "_bslinit") for c in ("tc0", "tc_cnt")]
    assert list(dict.fromkeys(found.index.get_level_values(0))) == columns
    for column in columns:
        for thread, prefix in enumerate(paper.PREFIXES):
            for area in paper.AREAS:
                values = constants(column, thread, chosen(area, thread))
                row = found.loc[column, f"{area} {prefix}"]
                assert row["n"] == len(values)
                assert row["mean"] == pytest.approx(values.mean())
                if len(values) > 1:
                    assert row["sem"] == pytest.approx(stats.sem(values))
                else:
                    assert np.isnan(row["sem"])
        for other in ("V4", "V1"):
            pair = [constants(column, 0, chosen(area, 0)) for area in ("IT", other)]
            row, result = found.loc[column, f"FC IT - {other}, unpaired"], stats.ttest_ind(*pair)
            assert row["n"] == len(pair[0]) + len(pair[1])
            assert row[["t", "p"]].tolist() == pytest.approx([result.statistic, result.pvalue])
        both = chosen("IT", 0, 1)
        row = found.loc[column, "IT FC - BG, paired"]
        result = stats.ttest_rel(constants(column, 0, both), constants(column, 1, both))
        assert row["n"] == len(both)
        assert row[["t", "p"]].tolist() == pytest.approx([result.statistic, result.pvalue])


def test_differences_of_the_two_best_psths(table, population):
    """Figure 3: MAE, MSE and correlation, plain and smoothed, where there are prototypes."""
    found = table("Fig3/Fig3G_proto_imdist_psth_covstr_sim_df.csv").set_index("Expi")
    assert sorted(found.index) == sorted(WITH_PROTOTYPES)
    for site in population:
        if site.expi in WITH_PROTOTYPES:
            for name, value in site.response_differences().items():
                assert found.loc[site.expi, name] == pytest.approx(value), (site.expi, name)
            assert found.loc[site.expi, "visual_area"] == site.area

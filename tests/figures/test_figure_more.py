"""The panels beyond the released scripts, on a table of sites that the test makes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from core.source_tables.registry import SITE_COLUMNS
from core.spaces import Space
from figure_reproduction import FigureMore1_reproduction as more
from figure_reproduction.page.page import PrintJob, print_figure
from tests.panels import drawn

N = 12


@pytest.fixture
def sites(rng):
    """Make twelve IT experiments, of which one is not valid and one did not climb in BigGAN."""
    table = pd.DataFrame(index=pd.RangeIndex(N, name="Expi"), columns=list(SITE_COLUMNS))
    table["visual_area"] = "IT"
    for name in table:
        if name.startswith(("valid", "any", "both", "none", "FCs", "BGs", "IT")):
            table[name] = True
        elif name.endswith("msk"):
            table[name] = False
        elif name != "visual_area":
            table[name] = rng.uniform(1, 30, N)
    table.loc[0, "valid"] = False
    table.loc[1, "BGsucc001"] = False
    return table


def told(shown):
    """Return the statistics of a panel by quantity, area and space."""
    return {(s.quantity, s.area, str(s.space)): s.value for s in shown.statistics}


def test_centres_count_valid_threads_that_climbed_and_compare_best_with_first(sites):
    numbers = told(more.show_centres(sites))
    assert numbers["centre of PSTH, n", "IT", "DeePSim"] == 11
    assert numbers["centre of PSTH, n", "IT", "BigGAN"] == 10
    assert numbers["centre of PSTH, n", "V4", "DeePSim"] == 0
    kept = sites.iloc[2:]
    test = stats.ttest_rel(kept["BG_centre_best"], kept["BG_centre_first"])
    t = numbers["centre of PSTH, best against first, paired t", "IT", "BigGAN"]
    assert t == pytest.approx(test.statistic)


def test_time_constants_are_told_side_by_side(sites):
    numbers = told(more.show_time_constants(sites))
    kept = sites.iloc[1:]
    mean = numbers["smoothed time constant, mean, blocks", "IT", "DeePSim"]
    assert mean == pytest.approx(kept["FC_tc_smoothed"].mean())
    r = stats.spearmanr(kept["FC_tc_counted"], kept["FC_tc_smoothed"]).statistic
    assert numbers["counted and smoothed, Spearman r", "IT", "DeePSim"] == pytest.approx(r)


def test_differences_are_told_of_all_experiments_and_of_those_of_figure_3(sites):
    """An experiment that is not valid is one of all; without pictures a command is named."""
    shown = more.show_differences(sites, None)
    numbers = told(shown)
    assert numbers["act_MAE, all experiments, n", "IT", ""] == 12
    assert numbers["act_MAE, valid, both threads climbed, n", "IT", ""] == 11
    mean = numbers["act_MAE, valid, both threads climbed, mean", "IT", ""]
    assert mean == pytest.approx(sites["act_MAE"].iloc[1:].mean())
    assert "source_data_export.picture_similarity" in numbers["similarity of best pictures", "", ""]
    assert list(shown.drawings) == ["More1D"]


def test_likeness_of_pictures_is_correlated_and_its_network_is_on_the_axis(sites, rng):
    """Pearson over experiments that have both pictures, by hand."""
    pictures = pd.DataFrame(
        {"network": "net7", "weights": "w.pt", "layer": "pool", "cosine": rng.uniform(0, 1, N)},
        index=sites.index,
    )
    pictures.loc[5, "cosine"] = np.nan
    shown = more.show_differences(sites, pictures)
    numbers = told(shown)
    assert numbers["psth_MAE vs cosine, all experiments, n", "", ""] == 11
    kept = sites.index.difference([0, 5])
    difference = sites.loc[kept, "psth_MAE"].astype(float)
    by_hand = stats.pearsonr(pictures.loc[kept, "cosine"], difference)
    for what, value in (("Pearson r", by_hand.statistic), ("p", by_hand.pvalue)):
        name = f"psth_MAE vs cosine, valid, both threads climbed, {what}"
        assert numbers[name, "", ""] == pytest.approx(value)
    figure = drawn(shown.drawings["More1D_pictures"].draw)
    assert all("net7, pool" in axes.get_xlabel() for axes in figure.axes)


def test_references_compare_the_last_two_blocks_with_the_first_two(sites):
    """Sessions of different lengths; what lies beyond the end is no block."""
    responses = np.full((N, 9), np.nan)
    responses[:, :4] = [8.0, 6.0, 5.0, 2.0]
    responses[3, 4:6] = 4.0
    found = told(more.show_references(dict.fromkeys(Space, responses), sites))
    ratio = found["reference pictures, last over first two blocks", "IT", "DeePSim"]
    assert ratio == pytest.approx((10 * 3.5 + 4.0) / 11 / 7.0)
    assert found["reference pictures, last against first, paired t", "IT", "DeePSim"] < 0


def test_a_panel_without_its_table_is_told_by_the_name_of_the_file(tmp_path):
    """The others are not kept from being made; here there is none at all."""
    (tmp_path / "Evolutions").mkdir()
    printed = print_figure(more.FIGURE, PrintJob(tmp_path, tmp_path / "figures"))
    assert list(printed.problems) == ["More1A", "More1B", "More1C", "More1D"]
    assert "Evolutions_reference_responses_DeePSim.csv" in str(printed.problems["More1A"])
    assert "Evolutions_sites.csv" in str(printed.problems["More1D"])

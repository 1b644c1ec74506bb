"""The table of claims: sizes of blocks found again, dots without padding, verdicts, the command."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy import stats
from statsmodels.stats.proportion import proportions_ztest

from core.source_tables.reader import SourceData
from core.spaces import Space
from figure_reproduction.__main__ import main
from figure_reproduction.FigureExt4_reproduction import tell_small_rises
from figure_reproduction.page.window_responses import (
    compare_recorded,
    compare_windows,
    paired_tests,
    recorded_blocks,
    tell_recorded,
    windows_drawing,
)
from figure_reproduction.robustness import tuning_claims
from figure_reproduction.robustness.claims import Claim, judged, paired_claim, unsaid
from figure_reproduction.robustness.experiments import Experiments
from figure_reproduction.robustness.tuning_claims import (
    _permuted_partial,
    _permuted_sessions,
    shape_claims,
    similarity_claims,
)
from neuro_data_analysis.neural_data_lib import load_neural_data
from neuro_data_analysis.robustness.intervals import cluster_bootstrap, cluster_means, mean_test
from neuro_data_analysis.robustness.models import sign_flip_p
from tests.golden import pictures_in_memory

#: What the page reads of every claim.
AGREED = {
    "claim", "figure", "published_test", "published_p", "robust_test", "robust_p", "effect",
    "effect_ci95", "n", "unit", "verdict", "reason",
}  # fmt: skip

CLAIM = Claim(
    claim="a exceeds b", figure="4B", expected=1, published_test="t", published_p=0.001,
    robust_test="mixed model", robust_p=0.001, effect_name="difference", effect=0.2,
    effect_ci95=(0.1, 0.3), n=40, unit="experiments", n_sites=30,
    per_animal={"A": {"n": 20, "effect": 0.1}, "B": {"n": 20, "effect": 0.3}},
)  # fmt: skip


@pytest.fixture(scope="module")
def experiments(small_source_data):
    return Experiments.read(SourceData(small_source_data))


def test_block_sizes_are_found_again_from_the_published_columns(experiments, small_matroot):
    """First and last block exactly, those between up to a repeated presentation."""
    with load_neural_data(small_matroot) as recordings:
        for row, expi in enumerate(experiments.table["Expi"]):
            for space, thread in zip(Space, recordings[expi].threads, strict=True):
                found = experiments.sizes[space][row]
                true = np.array([block.n_images for block in thread.blocks[: len(found)]])
                assert found[0] == true[0]
                assert abs(found[1:-1] - true[1:-1]).max() <= 2
                assert np.median(abs(found - true)) == 0


def test_t_from_block_sums_is_that_of_the_published_table(experiments):
    for space in Space:
        assert experiments.rebuilt_difference(space) < 0.3


def test_every_thread_has_its_own_seed(experiments, small_source_data):
    """The p of a thread does not depend on which threads come before it."""
    again = Experiments.read(SourceData(small_source_data))
    fewer = replace(
        again, table=again.table.iloc[3:].reset_index(drop=True), recorded=again.recorded[3:],
        response={s: r[3:] for s, r in again.response.items()},
        sem={s: r[3:] for s, r in again.sem.items()},
    )  # fmt: skip
    for space in Space:
        kept = [test.t for test in fewer.permuted[space]]
        same = np.isclose(kept, [test.t for test in experiments.permuted[space][3:]])
        p = np.array([[a.p, b.p] for a, b in
                      zip(fewer.permuted[space], experiments.permuted[space][3:], strict=True)])
        np.testing.assert_array_equal(p[same, 0], p[same, 1])
        assert same.sum() > 5


def test_tests_without_padding_count_the_experiments_that_recorded_a_block():
    rng = np.random.default_rng(0)
    difference = rng.standard_normal((2, 7, 4)) + 0.5
    counted = np.arange(4) < np.array([4, 4, 3, 3, 2, 1, 1])[:, np.newaxis]
    found = paired_tests(difference, counted)
    assert found.n.tolist() == [7, 5, 4, 2]
    for window in range(2):
        for block in range(4):
            one = stats.ttest_1samp(difference[window, counted[:, block], block], 0)
            assert found.t[window, block] == pytest.approx(one.statistic)
            assert found.p[window, block] == pytest.approx(one.pvalue)


def test_a_block_that_one_experiment_recorded_has_no_test():
    found = paired_tests(np.ones((1, 3, 1)), np.array([[True], [False], [False]]))
    assert np.isnan(found.t).all()
    assert np.isnan(found.p).all()


@pytest.mark.parametrize(
    ("changed", "verdict", "said"),
    [
        ({}, "holds", "significant after Holm"),
        ({"effect": -0.2, "effect_ci95": (-0.3, -0.1)}, "fails", "other sign"),
        ({"robust_p": 0.2}, "fails", "robust p is 0.2"),
        ({"effect_ci95": (-0.01, 0.3)}, "weaker", "holds 0"),
        ({"per_animal": {"A": {"n": 9, "effect": -0.1}, "B": {"n": 9, "effect": 0.3}}},
         "weaker", "animals differ"),
        ({"per_animal": {"A": {"n": 9, "effect": np.nan}, "B": {"n": 9, "effect": 0.3}}},
         "holds", "significant"),
        ({"robust_p": np.nan}, "cannot be said from these data", "not defined"),
        ({"expected": 0, "robust_p": 0.3, "effect_ci95": (-0.1, 0.2)}, "holds", "-0.1 to 0.2"),
        ({"expected": 0}, "fails", "there is a difference"),
    ],
)  # fmt: skip
def test_verdicts_follow_from_p_interval_and_animals(changed, verdict, said):
    found = judged([replace(CLAIM, **changed)])[0]
    assert found.verdict == verdict
    assert said in found.reason


def test_p_values_are_corrected_within_a_figure_only():
    claims = [replace(CLAIM, robust_p=p, figure=f) for p, f in
              ((0.03, "4B"), (0.02, "4B"), (0.03, "5C"))]  # fmt: skip
    found = judged(claims)
    assert [claim.robust_p_holm for claim in found] == pytest.approx([0.04, 0.04, 0.03])
    beyond = judged([replace(CLAIM, robust_p=0.03), replace(CLAIM, robust_p=0.04)])
    assert [claim.verdict for claim in beyond] == ["weaker", "weaker"]
    assert "0.06 after Holm" in beyond[0].reason


def test_a_paired_claim_counts_sites_not_experiments():
    """Ten sites, each four times: the interval is that of ten values, not of forty."""
    rng = np.random.default_rng(1)
    site = np.repeat(np.arange(10), 4)
    rows = pd.DataFrame({"site": site, "Animal": np.where(site < 5, "A", "B")})
    values = rng.standard_normal(10)[site] + 0.3
    found = paired_claim("a", "4B", 1, ("t", None), values, rows, rng, "difference")
    assert found.robust_test.startswith("Student test of 10 site means, df 9")
    assert found.robust_p == pytest.approx(stats.ttest_1samp(values[::4], 0).pvalue)
    low, high = found.effect_ci95
    expected = stats.t.interval(0.95, 9, values.mean(), stats.sem(values[::4]))
    assert (low, high) == pytest.approx(expected)
    assert (found.n, found.n_sites) == (40, 10)
    assert {a: own["n"] for a, own in found.per_animal.items()} == {"A": 20, "B": 20}


def test_sites_that_all_differ_alike_are_tested_by_their_signs():
    rows = pd.DataFrame({"site": range(9), "Animal": "A"})
    found = paired_claim(
        "a", "4A", 1, ("t", None), np.ones(9), rows, np.random.default_rng(0), "difference"
    )
    assert "sign of 9 sites" in found.robust_test
    assert found.robust_p == pytest.approx(2 / 2**9, abs=0.003)


def test_claims_of_figures_without_tables_cannot_be_said(tmp_path):
    """The printed p stands there; nothing is made up beside it."""
    source = SourceData(tmp_path)
    claims = judged([*similarity_claims(source), *shape_claims(source)])
    assert {claim.verdict for claim in claims} == {"cannot be said from these data"}
    assert [claim.published_p for claim in claims] == pytest.approx(
        [1.4e-05, 6.0e-03, 4.6e-02, 0.37, 8.50e-07, 1.07e-08], rel=0.01
    )
    assert judged([unsaid("a", "4B", "no data")])[0].reason == "no data"


@pytest.fixture(scope="module")
def few_resamples():
    """Take a tenth of the resamples of clusters, whose number decides no more than precision."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cluster_bootstrap, "__defaults__", (None, 200))
        yield


@pytest.fixture(scope="module")
def robust(few_resamples, small_source_data, tmp_path_factory):
    """Run the command once; return what it wrote and what it printed."""
    folder = tmp_path_factory.mktemp("robust")
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert main(["--source-data", str(small_source_data), "--output", str(folder),
                     "--robustness"]) == 0  # fmt: skip
    assert (folder / "index.html").is_file()
    assert (folder / "robustness_4A.png").stat().st_size > 5_000
    page = (folder / "index.html").read_text()
    assert 'src="robustness_4A.png"' in page
    assert "n that recorded blocks" in page
    record = json.loads((folder / "robustness.json").read_text())
    threads = pd.read_csv(folder / "robustness_threads.csv").set_index(["Expi", "thread"])
    for space in Space:
        for one in record["threads"][space]:
            row = threads.loc[one["Expi"], space.thread]
            p = [one["maxinit_permutation_p"], one["p_maxinit"]]
            known = row[["maxinit_permutation_p", "p_maxinit"]].to_list()
            assert known == pytest.approx([np.nan if x is None else x for x in p], nan_ok=True)
    return (folder / "robustness.json").read_text(), said.getvalue()


def test_the_command_writes_the_agreed_record_and_prints_the_table(robust):
    written = json.loads(robust[0])
    assert written["provenance"]["kind"] == "simulated"
    assert len(written["claims"]) == 31
    for claim in written["claims"]:
        assert claim.keys() >= AGREED
        assert claim["verdict"] in ("holds", "weaker", "fails", "cannot be said from these data")
        assert claim["reason"]
    assert written["pictures"] == {"4A by permutation of blocks": ["robustness_4A.png"]}
    said = robust[1]
    assert "DeePSim is below BigGAN in the initial block in IT" in said
    assert "dots as drawn" in said
    assert "SIMULATED" in said


def test_the_same_again_and_published_p_are_those_of_the_figures(
    small_source_data, robust, tmp_path
):
    """The claims compute the published tests anew; the figure's own numbers must agree."""
    arguments = ["--source-data", str(small_source_data), "--output", str(tmp_path), "--robustness"]
    with pictures_in_memory():
        assert main([*arguments, "--figure", "Figure4", "--format", "png"]) == 0
    text = (tmp_path / "robustness.json").read_text()
    assert text == robust[0]
    claims = json.loads(text)["claims"]
    panels = json.loads((tmp_path / "Figure4.json").read_text())["panels"]
    assert "If no thread climbed, " in panels["4A"]["caption"]
    foretold = {(s["area"], s["space"]): s["value"] for s in panels["4A"]["statistics"]
                if s["quantity"] == "expected_false_positives, independent trials"}  # fmt: skip
    for claim in claims:
        if claim["figure"] == "4A" and "more often" not in claim["claim"] and claim["n"] > 1:
            place = claim["claim"][-2:], claim["claim"].split()[0]
            if place in foretold and "expected_false_positives" in claim["details"]:
                exact = claim["details"]["expected_false_positives"]["independent trials"]
                assert foretold[place] == pytest.approx(exact, abs=0.03 * claim["n"])
    panel = panels["4B"]["statistics"]
    printed = {(s["quantity"], s["area"]): s["value"] for s in panel}
    compared = 0
    for claim in claims:
        if claim["figure"] == "4B":
            block, area = ("initial", "last")["last" in claim["claim"]], claim["claim"][-2:]
            expected = printed[f"{block}_p", area]
            assert claim["published_p"] == (expected and pytest.approx(expected, rel=1e-9))
            compared += expected is not None
    assert compared >= 4


def made_windows(rng, lengths, n_blocks, windows=((50, 60), (60, 70))):
    """Responses of sessions of some lengths, padded by the mean of their last two blocks."""
    responses = {}
    for window in windows:
        for space in Space:
            values = rng.uniform(0.2, 1.0, size=(len(lengths), n_blocks))
            for row, length in zip(values, lengths, strict=True):
                row[length:] = row[length - 2 : length].mean()
            responses[window, space] = values
    return responses


def test_padding_is_found_in_the_responses_themselves(small_source_data):
    """Sessions of every length, one block short of the longest among them; and an export."""
    lengths = [12, 11, 10, 7, 2]
    found = recorded_blocks(made_windows(np.random.default_rng(0), lengths, 12))
    np.testing.assert_array_equal(found, np.arange(12) < np.array(lengths)[:, np.newaxis])
    source = SourceData(small_source_data)
    found = recorded_blocks(source.read_all("Fig5/window_response_mean"))
    np.testing.assert_array_equal(found, source.read("Fig4/recorded_blocks") == 1)


def masks_of(n):
    table = pd.DataFrame({"valid": [True] * n, "bothsucc005": [True] * n, "V1msk": [False] * n})
    return table.assign(V4msk=table["V1msk"], ITmsk=table["valid"])


def test_recorded_only_is_the_test_of_the_recorded_blocks_corrected_over_all_windows():
    """Against scipy's test, block by block, and Benjamini-Hochberg's rule by hand."""
    rng = np.random.default_rng(3)
    lengths = [14, 14, 13, 12, 12, 11, 9, 8, 8]
    responses = made_windows(rng, lengths, 14)
    windows = [(50, 60), (60, 70)]
    responses[windows[0], Space.DEEPSIM] += 0.8
    found = compare_recorded(responses, masks_of(len(lengths)), "bothsucc005")
    p = np.full((2, 14), np.nan)
    for i, window in enumerate(windows):
        for block in range(12):  # five sessions and more have so many blocks
            rows = np.array(lengths) > block
            pair = [responses[window, space][rows, block] for space in Space]
            p[i, block] = stats.ttest_rel(*pair).pvalue
        np.testing.assert_allclose(found["IT", window].test.p, p[i])
    ranked = np.sort(p[np.isfinite(p)])
    passing = ranked[ranked <= 0.05 * np.arange(1, len(ranked) + 1) / len(ranked)]
    assert 0 < len(passing) < len(ranked)
    for i, window in enumerate(windows):
        marked = np.logical_or(*found["IT", window].larger.values())
        np.testing.assert_array_equal(marked, p[i] <= passing.max())


def test_dots_of_blocks_that_few_recorded_are_hollow():
    """DeePSim is larger everywhere; five sessions of nine go beyond block 6, three beyond 10."""
    rng = np.random.default_rng(5)
    responses = made_windows(rng, [14, 13, 13, 10, 10, 6, 6, 6, 6], 14)
    for window in ((50, 60), (60, 70)):
        responses[window, Space.DEEPSIM] += 2
    comparisons = compare_windows(responses, masks_of(9), "bothsucc005")
    alone = compare_recorded(responses, masks_of(9), "bothsucc005")
    figure = Figure()
    shown = {(area, w): comparisons["IT", w] for area, w in comparisons}
    windows_drawing(shown, [(50, 60), (60, 70)], "").draw(figure)
    dots = [line for line in figure.axes[0].lines if line.get_linestyle() == "None"]
    hollow = {
        line.get_markerfacecolor() == "none": [x for x in line.get_xdata() if x < 46]
        for line in dots
    }  # the second window lies further right
    assert hollow == {False: list(range(10)), True: list(range(10, 14))}
    numbers = {s.quantity: s for s in tell_recorded(alone)}
    assert list(numbers["n_recorded_by_block_recorded_only"].value[:7]) == [9] * 6 + [5]
    assert all(name.endswith("_recorded_only") for name in numbers)
    told = numbers["blocks where larger, 50-60 ms_recorded_only"]
    assert list(told.basis["df"][:7]) == [8] * 6 + [4]


def test_rises_near_zero_are_told_by_their_experiments():
    """Shares of 3 and -2 are of a rise that is next to nothing; one of .9 is of a plain one."""
    shares = {space: np.full((3, 4), 0.25) for space in Space}
    shares[Space.BIGGAN][1] = [3.0, -2.0, 0.0, 0.0]
    shares[Space.BIGGAN][2] = [0.9, 0.1, 0.0, 0.0]
    shares[Space.DEEPSIM][0] = np.nan
    p = {f"p_maxinit_{thread}": [0.001, 0.001, 0.5] for thread in (0, 1)}
    meta = pd.DataFrame({**p, "valid": True}, index=[11, 12, 13])
    found = {(s.quantity, s.space): s.value for s in tell_small_rises({50: shares}, meta)}
    assert found["experiments whose rise is near zero", "BigGAN"] == [12]
    assert found["such experiments drawn", "BigGAN"] == [12]
    assert found["experiments whose rise is near zero", "DeePSim"] == []


def test_two_hundred_populations_without_effect_hold_the_level_of_what_is_reported(monkeypatch):
    """Sites and sessions that differ from each other, but not by space, success or similarity.

    The published tests of the same populations find twice what they should.
    """
    monkeypatch.setattr(tuning_claims, "N_PERMUTATIONS", 199)
    rng = np.random.default_rng(20)
    p = {}
    for _ in range(200):
        site = np.r_[np.arange(25), rng.integers(25, size=35)]
        x, y = (0.7 * rng.standard_normal(25)[site] + 0.7 * rng.standard_normal(60) for _ in "xy")
        groups = np.where(site < 12, 0, 1)
        session = np.repeat(np.arange(30), 10)
        success = np.arange(30) < 20
        hit = (rng.random(300) < rng.beta(1.5, 6, 30)[session]).astype(float)
        counts = [hit[success[session]].sum(), hit[~success[session]].sum()]
        for name, value in (
            ("site means", mean_test(cluster_means(x, site.tolist())).p),
            ("signs of sites", sign_flip_p(x, site.tolist(), rng, 199)),
            ("pairs within groups", _permuted_partial(
                rng.standard_normal(60), y, groups, rng)[1]),
            ("sessions", _permuted_sessions(hit, session, success, rng)),
            ("published, experiments", mean_test(x).p),
            ("published, axes", proportions_ztest(counts, [200, 100])[1]),
        ):  # fmt: skip
            p.setdefault(name, []).append(value)
    found = {name: int(np.sum(np.array(values) <= 0.05)) for name, values in p.items()}
    for name, count in found.items():
        if name.startswith("published"):
            assert count > 20, found
        else:
            assert stats.binomtest(count, 200, 0.05).pvalue > 0.001, found

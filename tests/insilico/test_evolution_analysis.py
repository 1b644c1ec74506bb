"""The table of runs, its normalisation, pairs and tests."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from core.errors import MissingDataError, UsageError
from core.insilico.evolution_analysis import (
    gather,
    layer_tests,
    layershort,
    main,
    normalised,
    paired_table,
    paired_tests,
    summary,
)

#: A network with three layers, the names of their units' folders.
FOLDERS = {
    ".layer1.Bottleneck1": "_28_28",
    ".layer10.Bottleneck0": "_7_7_RFrsz",
    ".Linearfc": "",
}


def write_scores(folder, name, generations, **more):
    """Write an archive as the published runs did: each score is its image's number."""
    folder.mkdir(parents=True, exist_ok=True)
    generations = np.asarray(generations)
    scores = more.pop("scores_all", np.arange(len(generations), dtype=np.float32))
    np.savez(folder / name, generations=generations, scores_all=scores, **more)


@pytest.fixture
def published(tmp_path):
    """Write a folder as the published runs left it: one unit, three runs."""
    folder = tmp_path / "resnet50_linf8_.layer3.Bottleneck5_7_14_15"
    for name, codes in (("CholCMA_00007", "codes_all"), ("HessCMA500_1_fc6_12345", "codes_fin")):
        write_scores(folder, f"scores{name}.npz", [0, 1, 1, 2, 2, 2], **{codes: np.ones((6, 4))})
        (folder / f"traj{name}_score4.0.jpg").write_bytes(b"picture")
    write_scores(
        tmp_path / "alexnet_fc8_3_RFrsz", "scoresHessCMA_00001.npz", [5, 5, 6, 7],
        scores_all=np.array([1.0, 9.0, 2.0, -4.0]),
    )  # fmt: skip
    return tmp_path


@pytest.fixture
def simulated(rng):
    """Return runs of 12 units in two layers with a known advantage of one generator."""
    rows = [
        {
            "netname": "net", "layer": layer, "unitid": unit, "x": 7, "y": 7, "RFresize": False,
            "optimmethod": method, "RND": int(rng.integers(100_000)),
            "GANname": "fc6" if method.endswith("fc6") else "BigGAN",
            "score": score, "maxscore": score + 1, "maxstep": 3, "initscore": score / 4,
            "untrained": False, "true_maxscore": score + 1,
        }
        for layer, advantage in ((".layer2.Bottleneck0", 4.0), (".layer10.Bottleneck0", 1.0))
        for unit in range(6)
        for method, mean in (("CholCMA_fc6", 10 + advantage), ("CholCMA", 10.0), ("HessCMA", 11.0))
        for score in rng.normal(mean, 1, 3)
    ]  # fmt: skip
    runs = pd.DataFrame(rows)
    # both optimisers of a call share their numbers
    chol, hess = (runs["optimmethod"] == name for name in ("CholCMA", "HessCMA"))
    runs.loc[hess, "RND"] = runs.loc[chol, "RND"].to_numpy()
    return runs


def test_table_of_published_runs(published):
    """Names and archives of the published runs give the published columns."""
    table = gather(published).runs
    assert table.columns[:13].tolist() == [
        "netname", "layer", "unitid", "x", "y", "RFresize", "optimmethod", "RND", "GANname",
        "score", "maxscore", "maxstep", "initscore",
    ]  # fmt: skip
    alexnet, chol, hess = (table.iloc[i].to_dict() for i in range(3))
    assert chol["netname"] == "resnet50_linf8"
    assert chol["layer"] == ".layer3.Bottleneck5"
    assert (chol["unitid"], chol["x"], chol["y"], chol["RND"]) == (7, 14, 15, 7)
    assert (chol["optimmethod"], chol["GANname"]) == ("CholCMA", "BigGAN")
    assert (hess["optimmethod"], hess["GANname"]) == ("HessCMA500_1_fc6", "fc6")
    assert not chol["RFresize"]
    assert (chol["score"], chol["maxscore"], chol["maxstep"]) == (4.0, 5.0, 5)
    assert chol["initscore"] == 1.0  # images 0, 1, 2 of generations 0 and 1
    assert (alexnet["netname"], alexnet["layer"], alexnet["unitid"]) == ("alexnet", "fc8", 3)
    assert alexnet["RFresize"]
    assert pd.isna(alexnet["x"])
    assert (alexnet["score"], alexnet["maxscore"], alexnet["maxstep"]) == (-4.0, 9.0, 1)
    assert alexnet["initscore"] == 4.0
    assert not table["untrained"].any()


def test_broken_files_are_named(published, capsys):
    """Files that cannot be used are left out, each with the reason; the others count."""
    folder = published / "resnet50_linf8_.layer3.Bottleneck5_7_14_15"
    (folder / "scoresCholCMA_00008.npz").write_bytes(b"half an arch")
    np.savez(folder / "scoresCholCMA_00009.npz", scores_all=np.ones(3))
    write_scores(folder, "scoresCholCMA_00010.npz", [0, 1, 1], scores_all=np.array([1.0]))
    write_scores(folder, "scoresCholCMA_00011.npz", [0, 1], scores_all=np.array([1.0, np.nan]))
    write_scores(folder, "scoresCholCMA.npz", [0, 1])
    write_scores(published / "elsewhere", "scoresCholCMA_00012.npz", [0, 1])
    gathered = gather(published)
    assert len(gathered.runs) == 3
    reasons = {path.name[6:-4]: reason for path, reason in gathered.left_out.items()}
    assert sorted(reasons) == [
        "CholCMA", "CholCMA_00008", "CholCMA_00009", "CholCMA_00010", "CholCMA_00011",
        "CholCMA_00012",
    ]  # fmt: skip
    assert "generations" in reasons["CholCMA_00009"]
    assert "1 scores" in reasons["CholCMA_00010"]
    assert "1 of them finite" in reasons["CholCMA_00011"]
    assert "five digits" in reasons["CholCMA"]
    assert "'elsewhere' is not named" in reasons["CholCMA_00012"]
    assert main([str(published), "--output", str(published / "runs.csv")]) == 1
    assert capsys.readouterr().err.count("left out: ") == 6
    assert len(pd.read_csv(published / "runs.csv")) == 3


def test_nothing_to_gather(tmp_path, capsys):
    """A folder that is missing or holds no runs is named."""
    with pytest.raises(MissingDataError, match="no folder"):
        gather(tmp_path / "nowhere")
    assert main([str(tmp_path)]) == 3
    assert "no run of an evolution" in capsys.readouterr().err


def test_normalisation(simulated):
    """Scores are shares of the highest score in any run of the unit; silent units have none."""
    scores = ["score", "maxscore", "initscore", "true_maxscore"]
    simulated.loc[simulated["unitid"] == 5, scores] = 0.0
    runs = normalised(simulated)
    for (_, unit), part in runs.groupby(["layer", "unitid"]):
        highest = part["maxscore"].max()
        if unit == 5:
            assert part["score_norm"].isna().all()
        else:
            np.testing.assert_allclose(part["score_norm"], part["score"] / highest)
            np.testing.assert_allclose(part["initscore_norm"], part["initscore"] / highest)
            assert part["maxscore_norm"].max() == 1


def test_noise_does_not_divide(tmp_path):
    """The unit answers 2 at most; noise of many images lifts the highest score to 4."""
    folder = tmp_path / "alexnet_fc8_3"
    noisy, without = np.array([1.5, -0.5, 4.0, 1.0]), np.array([1.0, 1.0, 2.0, 1.5])
    write_scores(
        folder, "scoresCholCMA_00001.npz", [0, 1, 2, 3], scores_all=noisy,
        scores_without_noise=without,
    )  # fmt: skip
    write_scores(folder, "scoresCholCMA_00002.npz", [0, 1], scores_all=np.array([0.5, 1.0]))
    first, second = normalised(gather(tmp_path).runs).to_dict("records")
    assert (first["maxscore"], first["true_maxscore"], second["true_maxscore"]) == (4.0, 2.0, 1.0)
    assert first["score_norm"] == 1.0 / 2.0
    assert first["maxscore_norm"] == 2.0
    assert second["maxscore_norm"] == 0.5


def test_responses_without_noise_that_do_not_fit_are_refused(tmp_path):
    folder = tmp_path / "alexnet_fc8_3"
    for number, wrong in enumerate(([1.0], [1.0, np.nan])):
        write_scores(
            folder, f"scoresCholCMA_0000{number}.npz", [0, 1],
            scores_without_noise=np.array(wrong),
        )  # fmt: skip
    reasons = gather(tmp_path).left_out.values()
    assert [("2 of" in r, "1 of" in r, "without noise" in r) for r in reasons] == [
        (False, True, True)
    ] * 2


def test_pairs_in_order_of_numbers(simulated):
    """Runs of a unit are paired by their order; optimisers of one call stay together."""
    pairs = paired_table(simulated, "score")
    assert len(pairs) == 12 * 3
    for (layer, unit), part in pairs.groupby(["layer", "unitid"]):
        own = simulated[(simulated["layer"] == layer) & (simulated["unitid"] == unit)]
        for method, number in (("CholCMA_fc6", "RND_fc6"), ("HessCMA", "RND_BigGAN")):
            expected = own[own["optimmethod"] == method].sort_values("RND")
            np.testing.assert_array_equal(part[method], expected["score"])
            np.testing.assert_array_equal(part[number], expected["RND"])


def test_every_pair(simulated):
    """Each run in one generator with each in the other, within the unit."""
    pairs = paired_table(simulated, "score", every_pair=True)
    assert len(pairs) == 12 * 3 * 3
    assert not pairs.duplicated(["layer", "unitid", "RND_fc6", "RND_BigGAN"]).any()


def test_runs_without_partner(simulated):
    """A run without partner stays alone; without any, nothing is compared."""
    fewer = simulated.drop(simulated.index[simulated["optimmethod"] == "CholCMA_fc6"][0])
    pairs = paired_table(fewer, "score")
    assert len(pairs) == 12 * 3
    assert pairs["CholCMA_fc6"].isna().sum() == pairs["RND_fc6"].isna().sum() == 1
    alone = simulated[simulated["GANname"] == "fc6"]
    for every_pair in (False, True):
        pairs = paired_table(alone, "score", every_pair)
        assert paired_tests(pairs).empty
        assert layer_tests(pairs).empty
    assert "18 runs" in summary(normalised(alone.head(18)))


def test_units_are_what_paired_tests_count(simulated):
    """One row a unit, the mean of its runs: six units, five degrees of freedom."""
    pairs = paired_table(simulated, "score")
    tests = paired_tests(pairs)
    assert tests["layer"].unique().tolist() == [".layer2.Bottleneck0", ".layer10.Bottleneck0"]
    assert tests["layershort"].unique().tolist() == ["block2B0", "block10B0"]
    assert len(tests) == 2 * 3
    for test in tests.itertuples():
        own = simulated[simulated["layer"] == test.layer]
        first, second = (
            own[own["optimmethod"] == method].groupby("unitid")["score"].mean()
            for method in (test.first, test.second)
        )
        direct = stats.ttest_rel(first, second)
        assert (test.t, test.p, test.dof) == pytest.approx(
            (direct.statistic, direct.pvalue, 5), rel=1e-9
        )
        assert test.fraction_second_higher == (second > first).mean()
        assert (test.n, test.of) == (6, "units")
    assert tests.iloc[0]["t"] > 5
    assert tests.iloc[0]["fraction_second_higher"] < 0.2


def test_runs_are_counted_as_published_only_when_asked_for(simulated):
    pairs = paired_table(simulated, "score")
    for test in paired_tests(pairs, runs_as_rows=True).itertuples():
        part = pairs[pairs["layer"] == test.layer]
        direct = stats.ttest_rel(part[test.first], part[test.second])
        assert (test.t, test.p, test.dof) == pytest.approx(
            (direct.statistic, direct.pvalue, 17), rel=1e-9
        )
        assert (test.n, test.of) == (18, "runs")


def test_units_without_a_difference_pass_at_the_nominal_level():
    """Runs share what their unit and generator have in common: counting runs finds too much."""
    rng = np.random.default_rng(2)
    found = {False: 0, True: 0}
    for _ in range(60):
        unit = np.repeat(np.arange(12), 5)
        own = rng.standard_normal((2, 12))  # of a unit in a generator
        table = pd.DataFrame(
            {"netname": "net", "layer": "l", "RFresize": False, "unitid": unit,
             "RND_fc6": 1, "RND_BigGAN": 1}
        ).assign(**{
            name: own[i, unit] + rng.standard_normal(60)
            for i, name in enumerate(("CholCMA_fc6", "CholCMA"))
        })  # fmt: skip
        for rows in found:
            found[rows] += paired_tests(table, rows)["p"].item() < 0.05
    assert found[False] <= 9  # P(> 9 of 60 | .05) = .001
    assert found[True] > 9


def test_layer_tests(simulated):
    """The advantage of DeePSim differs between layers as it was made to."""
    pairs = paired_table(simulated, "score")
    tests = layer_tests(pairs)
    assert len(tests) == 2
    first = tests.iloc[0]
    assert (first["layer"], first["later"]) == (".layer2.Bottleneck0", ".layer10.Bottleneck0")
    assert first["difference"] == pytest.approx(4, abs=1.2)
    difference = pairs["CholCMA_fc6"] - pairs["CholCMA"]
    early = pairs["layer"] == ".layer2.Bottleneck0"
    by_unit = [difference[rows].groupby(pairs["unitid"][rows]).mean() for rows in (early, ~early)]
    direct = stats.ttest_ind(*by_unit)
    assert (first["t"], first["dof"]) == pytest.approx((direct.statistic, 10), rel=1e-9)
    assert (first["n"], first["of"]) == (12, "units")
    runs = layer_tests(pairs, runs_as_rows=True).iloc[0]
    direct = stats.ttest_ind(difference[early], difference[~early])
    assert (runs["t"], runs["dof"], runs["n"]) == pytest.approx((direct.statistic, 34, 36))
    turned = layer_tests(pairs, [".layer10.Bottleneck0", ".layer2.Bottleneck0"]).iloc[0]
    assert turned["t"] == pytest.approx(-first["t"], rel=1e-9)
    with pytest.raises(UsageError, match=r"Did you mean '\.layer2\.Bottleneck0'"):
        layer_tests(pairs, [".layer2.Bottlenec0"])


def test_tables_that_cannot_be_paired(simulated):
    """An unknown column, and runs that were gathered twice, are refused."""
    with pytest.raises(UsageError, match="Did you mean 'score'"):
        paired_table(simulated, "scor")
    with pytest.raises(UsageError, match="108 runs are there twice"):
        paired_table(pd.concat([simulated, simulated]), "score")


def test_summary(published, capsys):
    """The command line tells the comparison in a table, and marks untrained networks."""
    folder = published / "resnet50_linf8_.layer3.Bottleneck5_8_14_15"
    write_scores(folder, "scoresCholCMA_00007.npz", [0, 1, 1, 2], untrained=True)
    assert main([str(published)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("4 runs of 3 units  UNTRAINED networks")
    assert "block3B5 HessCMA500_1_fc6 CholCMA" in " ".join(said.split())


@pytest.mark.parametrize(
    ("layer", "short"),
    [(".layer3.Bottleneck5", "block3B5"), (".Linearfc", "fc"), ("conv5", "conv5")],
)
def test_layershort(layer, short):
    """Names of layers are shortened for axes."""
    assert layershort(layer) == short

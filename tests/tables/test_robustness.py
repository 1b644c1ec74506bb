"""Sites, animals and chosen blocks: the tools that stand beside the published tests."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, optimize, special, stats
from statsmodels.stats.multitest import multipletests

from core.spaces import Space
from neuro_data_analysis.evolution.stats import best_block
from neuro_data_analysis.robustness.block_sums import (
    BlockSums,
    autoregressive,
    compare_with_flat,
    flat_threads,
    permutation_test,
)
from neuro_data_analysis.robustness.false_positives import (
    degrees_of_freedom,
    expected_false_positives,
    images_per_block,
)
from neuro_data_analysis.robustness.intervals import (
    cluster_bootstrap,
    cluster_means,
    correlation_interval,
    design_effect,
    intraclass_correlation,
    jeffreys_interval,
    mean_test,
    paired_effect,
    unpaired_effect,
    wilson_interval,
)
from neuro_data_analysis.robustness.models import (
    holm,
    logistic_model,
    mixed_model,
    sign_flip_p,
)

#: Yield of dyestuff, 6 batches of 5 (Davies 1947), and what lme4 in R prints of
#: ``lmer(Yield ~ 1 + (1 | Batch))``.
DYESTUFF = (
    1545, 1440, 1440, 1520, 1580, 1540, 1555, 1490, 1560, 1495, 1595, 1550, 1605, 1510, 1560,
    1445, 1440, 1595, 1465, 1545, 1595, 1630, 1515, 1635, 1625, 1520, 1455, 1450, 1480, 1445,
)  # fmt: skip
#: The same layout with less variance between batches than chance gives (Box & Tiao 1973).
DYESTUFF2 = (
    7.298, 3.846, 2.434, 9.566, 7.990, 5.220, 6.556, 0.608, 11.788, -0.892, 0.110, 10.386, 13.434,
    5.510, 8.166, 2.212, 4.852, 7.092, 9.288, 4.980, 0.282, 9.014, 4.458, 9.446, 7.198, 1.722,
    4.782, 8.106, 0.758, 3.758,
)  # fmt: skip
BATCH = np.repeat(list("ABCDEF"), 5)
ONE_ANIMAL = ["x"] * 30


def blocks_of(n_blocks, rng, climb=0.0):
    """Responses of single images, sizes between 20 and 40."""
    return [
        rng.normal(100 + climb * block, 30, size=rng.integers(20, 41)) for block in range(n_blocks)
    ]


def t_by_hand(blocks):
    """Return the published test of the best two against the first two blocks."""
    means = [block.mean() for block in blocks]
    best = means.index(max(means))
    best = len(blocks) - 3 if best >= len(blocks) - 2 else best
    return stats.ttest_ind(np.r_[blocks[best], blocks[best + 1]], np.r_[blocks[0], blocks[1]])


def test_the_first_of_tied_blocks_is_the_best_and_a_clear_later_one_still_wins():
    assert best_block([1.0, 3.0, 3.0 * (1 + 1e-12), 2.0]) == 1
    assert best_block([1.0, 3.0, 3.0 * (1 + 1e-6), 2.0]) == 2
    assert best_block([[0.0, 0.0], [-2.0, -1.0]]).tolist() == [0, 1]


@pytest.mark.parametrize("n_blocks", [3, 4, 17, 40])
def test_t_from_block_sums_is_that_of_the_single_images(n_blocks):
    rng = np.random.default_rng(n_blocks)
    for _ in range(20):
        blocks = blocks_of(n_blocks, rng)
        expected = t_by_hand(blocks)
        sums = BlockSums.of(blocks)
        assert sums.best_against_first() == pytest.approx(expected.statistic, abs=1e-9)
        assert sums.best_p() == pytest.approx(expected.pvalue, abs=1e-9)
        last = stats.ttest_ind(np.r_[blocks[-2], blocks[-1]], np.r_[blocks[0], blocks[1]])
        assert sums.last_against_first() == pytest.approx(last.statistic, abs=1e-9)
        assert sums.last_p() == pytest.approx(last.pvalue, abs=1e-9)


def test_sizes_means_and_standard_errors_hold_what_the_images_hold():
    blocks = [*blocks_of(12, np.random.default_rng(5)), np.array([88.0])]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # one image has no standard error
        sems = [stats.sem(block) if len(block) > 1 else np.nan for block in blocks]
    moments = BlockSums.from_moments([len(b) for b in blocks], [b.mean() for b in blocks], sems)
    images = BlockSums.of(blocks)
    np.testing.assert_allclose(moments.sums, images.sums)
    np.testing.assert_allclose(moments.squares, images.squares)


def test_scaling_every_response_changes_no_test():
    sums = BlockSums.of(blocks_of(20, np.random.default_rng(6)))
    scaled = BlockSums(sums.sizes, sums.sums / 263.1, sums.squares / 263.1**2)
    one, other = (permutation_test(s, np.random.default_rng(0), 99) for s in (sums, scaled))
    assert other.p == one.p
    assert other.t == pytest.approx(one.t)


@pytest.mark.parametrize("blocks", [[[1.0, 2.0], [3.0]], [[5.0] * 3] * 9])
def test_two_blocks_or_constant_responses_have_no_permutation_p(blocks):
    assert np.isnan(permutation_test(BlockSums.of(blocks), np.random.default_rng(0)).p)


def test_the_permutation_p_is_that_of_all_orders_of_the_blocks():
    blocks = blocks_of(5, np.random.default_rng(8), climb=6)
    seen = t_by_hand(blocks).statistic
    orders = itertools.permutations(range(5))
    exact = np.mean([t_by_hand([blocks[i] for i in o]).statistic >= seen - 1e-9 for o in orders])
    found = permutation_test(BlockSums.of(blocks), np.random.default_rng(1), 20_000)
    assert found.p == pytest.approx(exact, abs=0.01)
    shifts = [[(i + s) % 5 for i in range(5)] for s in range(5)]
    exact = np.mean([t_by_hand([blocks[i] for i in o]).statistic >= seen - 1e-9 for o in shifts])
    assert found.p_shift == pytest.approx(exact)


def test_same_seed_same_permutation_p():
    sums = BlockSums.of(blocks_of(20, np.random.default_rng(2)))
    assert permutation_test(sums, np.random.default_rng(3)) == permutation_test(
        sums, np.random.default_rng(3)
    )


def test_the_permutation_test_keeps_its_level_where_the_published_test_does_not():
    """Six hundred threads that do not climb: 5 % pass the one, three times as many the other."""
    rng = np.random.default_rng(12)
    template = BlockSums.of(blocks_of(30, rng))
    flat = flat_threads(template, 600, rng)
    threads = [
        BlockSums(*(part[i] for part in (flat.sizes, flat.sums, flat.squares))) for i in range(600)
    ]
    passed = sum(permutation_test(thread, rng, 199).p <= 0.05 for thread in threads)
    assert stats.binomtest(passed, 600, 0.05).pvalue > 0.001
    published = (flat.best_p() < 0.05) & (flat.best_against_first() > 0)
    assert published.mean() > 0.10


def test_threads_against_flat_ones_keep_the_level_of_their_own_model():
    """Uniform p where nothing climbs, small p where it does."""
    rng = np.random.default_rng(14)
    template = BlockSums.of(blocks_of(25, rng))
    flat = flat_threads(template, 300, rng)
    threads = [
        BlockSums(*(part[i] for part in (flat.sizes, flat.sums, flat.squares))) for i in range(300)
    ]
    found = [compare_with_flat(thread, rng, n_threads=199) for thread in threads]
    passed = sum(one.p <= 0.05 for one in found)
    assert stats.binomtest(passed, 300, 0.05).pvalue > 0.001
    assert np.mean([one.published_rate for one in found]) > 0.02  # at a level of 0.01
    climbing = BlockSums.of(blocks_of(25, rng, climb=2))
    assert compare_with_flat(climbing, rng).p == 1 / 1000


def test_more_excitability_of_flat_threads_makes_a_thread_less_surprising():
    thread = BlockSums.of(blocks_of(25, np.random.default_rng(3), climb=0.5))
    p = [
        compare_with_flat(thread, np.random.default_rng(0), (sd, 0.5)).p for sd in (0.0, 0.03, 0.1)
    ]
    assert p[0] < p[1] < p[2]


def test_a_clear_climb_is_found_by_the_permutation_test():
    climbing = BlockSums.of(blocks_of(30, np.random.default_rng(9), climb=3))
    assert permutation_test(climbing, np.random.default_rng(0)).p <= 0.01


def test_flat_threads_have_the_mean_and_spread_of_their_model():
    rng = np.random.default_rng(10)
    blocks = blocks_of(25, rng)
    images = np.concatenate(blocks)
    flat = flat_threads(BlockSums.of(blocks), 2000, rng)
    assert flat.means.mean() == pytest.approx(images.mean(), rel=2e-3)
    variance = (flat.squares - flat.sums**2 / flat.sizes).sum() / (flat.sizes - 1).sum()
    within = sum(((b - b.mean()) ** 2).sum() for b in blocks) / (len(images) - len(blocks))
    assert variance == pytest.approx(within, rel=5e-3)


def test_excitability_is_remembered_from_block_to_block():
    series = autoregressive((4000, 12), 0.5, np.random.default_rng(4))
    assert series.std() == pytest.approx(1, abs=0.02)
    lag = [np.corrcoef(series[:, i], series[:, i + 1])[0, 1] for i in range(11)]
    assert np.mean(lag) == pytest.approx(0.5, abs=0.02)


def test_a_mixed_model_gives_what_r_prints():
    found = mixed_model(DYESTUFF, 1.0, BATCH, ONE_ANIMAL)
    assert found.problem == ""
    assert (found.n, found.n_sites) == (30, 6)
    assert found.estimate == pytest.approx(1527.5)
    assert found.standard_error == pytest.approx(19.38, abs=0.005)
    assert found.site_variance == pytest.approx(1764, abs=1)
    assert found.residual_variance == pytest.approx(2451, abs=1)


def test_a_variance_of_sites_of_zero_is_told_and_r_finds_it_too():
    found = mixed_model(DYESTUFF2, 1.0, BATCH, ONE_ANIMAL)
    assert found.problem == "singular: the variance of sites is zero"
    assert found.estimate == pytest.approx(5.6656, abs=1e-4)
    assert found.standard_error == pytest.approx(0.6784, abs=1e-4)


def test_sites_that_do_not_repeat_are_told_and_not_fitted():
    found = mixed_model(np.arange(30.0), 1.0, range(30), ONE_ANIMAL)
    assert "no site repeats" in found.problem
    assert np.isnan(found.p)


def test_the_effect_is_the_mean_of_both_animals():
    """In a balanced layout the fixed effects are those of the cell means."""
    rng = np.random.default_rng(3)
    sites, animals = np.repeat(np.arange(12), 4), np.repeat(["A", "B"], [24, 24])
    values = rng.standard_normal(48) + rng.standard_normal(12)[sites] + 2.0 * (animals == "A")
    found = mixed_model(values, 1.0, sites, animals)
    cell_means = [values[animals == name].mean() for name in "AB"]
    assert found.estimate == pytest.approx(np.mean(cell_means), abs=1e-6)


@pytest.mark.parametrize("n_animals", [1, 2])
def test_the_likelihood_ratio_is_that_of_the_normal_law_itself(n_animals):
    """Both models maximised over their covariance matrices, without any code for mixed models."""
    rng = np.random.default_rng(n_animals)
    sites = np.repeat(np.arange(9), [1, 2, 3, 1, 4, 2, 2, 3, 2])
    values = rng.standard_normal(20) + rng.standard_normal(9)[sites] + 0.4
    animals = np.where(sites < 5, "A", "B") if n_animals == 2 else np.repeat("A", 20)
    contrast = np.where(animals == "A", 1.0, -1.0)

    def largest(columns):
        def minus(parameters):
            site, residual, *effects = parameters
            covariance = np.exp(residual) * np.eye(20) + site**2 * np.equal.outer(sites, sites)
            mean = sum((e * c for e, c in zip(effects, columns, strict=True)), np.zeros(20))
            return -stats.multivariate_normal(mean, covariance).logpdf(values)

        start = [0.8, 0.0, *(0.0 for _ in columns)]
        return -optimize.minimize(minus, start, method="BFGS").fun

    nuisance = [contrast] if n_animals == 2 else []
    ratio = 2 * (largest([np.ones(20), *nuisance]) - largest(nuisance))
    found = mixed_model(values, 1.0, sites, animals)
    assert found.p == pytest.approx(stats.chi2.sf(ratio, 1), rel=2e-3)


def made_successes():
    """Forty threads of fifteen sites in two animals, each site with its own odds."""
    rng = np.random.default_rng(11)
    sites = np.r_[np.arange(15), rng.integers(15, size=25)]
    odds = 0.6 + 1.3 * rng.standard_normal(15)[sites]
    return rng.random(40) < special.expit(odds), sites, np.where(sites < 8, "A", "B")


@pytest.mark.parametrize("kind", ["rate", "difference"])
def test_the_logistic_model_is_the_maximum_of_the_likelihood_by_other_means(kind):
    """Integrated by the trapezoidal rule site by site, maximised without derivatives."""
    success, sites, animals = made_successes()
    effect = np.ones(40) if kind == "rate" else np.resize([1.0, 0.0], 40)
    columns = [effect, np.where(animals == "A", 1.0, -1.0)]
    columns += [np.ones(40)] if kind == "difference" else []
    design, sign = np.stack(columns, axis=1), np.where(success, 1, -1)

    u = np.linspace(-8, 8, 201)

    def minus(x):
        log_p = -np.logaddexp(0, -sign[:, None] * ((design @ x[:-1])[:, None] + x[-1] * u))
        density = stats.norm.pdf(u)
        parts = [
            integrate.trapezoid(np.exp(log_p[sites == i].sum(axis=0)) * density, u)
            for i in range(15)
        ]
        return -np.log(parts).sum()

    found = logistic_model(success, effect, sites, animals)
    best = optimize.minimize(minus, np.r_[np.zeros(len(columns)), 1.0], method="Nelder-Mead",
                             options={"xatol": 1e-4, "fatol": 1e-7})  # fmt: skip
    assert found.problem == ""
    assert found.estimate == pytest.approx(best.x[0], abs=0.02)
    assert found.site_sd == pytest.approx(abs(best.x[-1]), abs=0.02)
    if kind == "rate":
        assert found.rate == pytest.approx(special.expit(found.estimate))
        assert 0 < found.rate_interval[0] < found.rate < found.rate_interval[1] < 1
    else:
        assert np.isnan(found.rate)


def test_without_sites_that_differ_the_logistic_model_is_the_rate_itself():
    """Sites of two, alike less often than chance: the odds of 27 in 36, and the usual errors."""
    success = np.r_[np.ones(18), np.resize([1, 0], 18)]
    found = logistic_model(success, 1.0, np.repeat(range(18), 2), ["A"] * 36)
    assert found.site_sd == pytest.approx(0, abs=0.02)
    assert found.rate == pytest.approx(0.75, abs=1e-3)
    assert found.standard_error == pytest.approx(np.sqrt(1 / 27 + 1 / 9), rel=1e-2)
    ratio = 2 * (27 * np.log(27 / 18) + 9 * np.log(9 / 18))
    assert found.p == pytest.approx(stats.chi2.sf(ratio, 1), rel=1e-2)


def test_a_rate_of_one_has_no_odds_and_says_so():
    found = logistic_model([True] * 9, 1.0, [1, 1, *range(7)], ["A"] * 9)
    assert found.problem == "not fitted: all or none succeed"
    both = logistic_model([True] * 5 + [False, True], [1] * 5 + [0] * 2, [1] * 7, ["A"] * 7)
    assert "in one group" in both.problem
    assert "no site repeats" in logistic_model([True, False] * 4, 1.0, range(8), ["A"] * 8).problem
    assert np.isnan(both.p)


def test_the_cluster_bootstrap_is_that_of_all_draws_of_four_sites():
    values = np.array([3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0])
    sites = list("abbcddd")
    groups = [values[[s == name for s in sites]] for name in "abcd"]
    every = [
        np.concatenate([groups[i] for i in drawn]).mean()
        for drawn in itertools.product(range(4), repeat=4)
    ]
    found = cluster_bootstrap(
        lambda rows: float(values[rows].mean()), sites, np.random.default_rng(0), n_resamples=8000
    )
    assert found.estimate == pytest.approx(25 / 7)
    assert found.n_clusters == 4
    assert found.percentile == pytest.approx(np.quantile(every, [0.025, 0.975]), abs=0.05)
    assert found.percentile == pytest.approx((1.6, 4.9), abs=0.05)


def test_the_corrected_interval_is_scipys_where_every_site_is_one_value():
    values = np.random.default_rng(5).exponential(size=40)
    found = cluster_bootstrap(
        lambda rows: float(values[rows].mean()), range(40), np.random.default_rng(1),
        n_resamples=6000,
    )  # fmt: skip
    for method, ours in (("percentile", found.percentile), ("BCa", found.bca)):
        theirs = stats.bootstrap(
            (values,), np.mean, n_resamples=6000, method=method, rng=np.random.default_rng(2)
        ).confidence_interval
        assert ours == pytest.approx((theirs.low, theirs.high), abs=0.02)


def test_animals_keep_their_number_of_sites_in_every_resample():
    animal = np.array(["A"] * 6 + ["B"] * 3)
    shares = []

    def share(rows):
        shares.append(float((animal[rows] == "A").mean()))
        return shares[-1]

    cluster_bootstrap(share, range(9), np.random.default_rng(0), strata=animal, n_resamples=50)
    assert set(shares[1:51]) == {6 / 9}


def test_repeated_sites_widen_the_interval():
    """Every value four times is no more evidence than once."""
    values = np.random.default_rng(4).standard_normal(25)
    repeated = np.repeat(values, 4)
    interval = {}
    for name, sites in (("site", np.repeat(np.arange(25), 4)), ("row", np.arange(100))):
        found = cluster_bootstrap(
            lambda rows: float(repeated[rows].mean()), sites, np.random.default_rng(0)
        )
        interval[name] = found.percentile[1] - found.percentile[0]
    assert interval["site"] == pytest.approx(2 * interval["row"], rel=0.15)


def test_intraclass_correlation_of_the_textbook():
    """Davies prints mean squares of 11272 between and 2451 within batches."""
    expected = (11271.5 - 2451.25) / (11271.5 + 4 * 2451.25)
    assert intraclass_correlation(DYESTUFF, BATCH) == pytest.approx(expected, abs=1e-4)
    assert design_effect(DYESTUFF, BATCH) == pytest.approx(1 + 4 * expected, abs=1e-3)


def test_wilson_is_that_of_the_published_bars():
    """The first bar of Figure 6E: 9 of 342."""
    assert wilson_interval(9, 342) == pytest.approx((0.0139053869, 0.0492491548), abs=1e-9)


@pytest.mark.parametrize(("k", "closed"), [(10, 1), (0, 0)])
def test_jeffreys_holds_its_own_estimate_at_the_ends(k, closed):
    interval = jeffreys_interval(k, 10)
    assert interval[closed] == k / 10
    assert interval[1 - closed] == pytest.approx(abs(closed - 0.2172), abs=1e-4)


def test_an_effect_size_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(3)
    paired = unpaired = 0
    for _ in range(250):
        low, high = paired_effect(rng.normal(0.6, 1, 12)).interval
        paired += low < 0.6 < high
        low, high = unpaired_effect(rng.normal(0.6, 1, 12), rng.normal(0, 1, 9)).interval
        unpaired += low < 0.6 < high
    for covered in (paired, unpaired):
        assert stats.binomtest(covered, 250, 0.95).pvalue > 0.001


def test_effect_sizes_of_a_small_sample_by_hand():
    differences = np.array([1.0, 2.0, 3.0, 6.0])
    assert paired_effect(differences).value == pytest.approx(3 / np.sqrt(14 / 3))
    g = unpaired_effect([1.0, 2.0, 3.0], [3.0, 5.0, 7.0])
    assert g.value == pytest.approx((1 - 3 / 15) * (2 - 5) / np.sqrt((2 + 8) / 4))


def test_interval_of_a_correlation_is_scipys():
    x, y = np.random.default_rng(1).standard_normal((2, 30))
    result = stats.pearsonr(x, y)
    expected = result.confidence_interval(0.95)
    assert correlation_interval(result.statistic, 30) == pytest.approx(
        (expected.low, expected.high)
    )


def test_signs_of_sites_flip_together():
    differences, sites = np.array([1.0, 2.0, -1.0, 4.0, 0.5]), list("aabcc")
    sums = np.array([3.0, -1.0, 4.5])
    signs = np.array(list(itertools.product((-1, 1), repeat=3)))
    exact = np.mean(abs(signs @ sums) >= abs(sums.sum()) - 1e-9)
    assert sign_flip_p(differences, sites, np.random.default_rng(0)) == pytest.approx(
        exact, abs=0.02
    )


def test_the_mean_of_sites_is_tested_with_one_value_a_site():
    found = mean_test(cluster_means([1.0, 3.0, 4.0, 6.0, 5.0], list("aabbc")))
    assert (found.mean, found.df, found.n) == (pytest.approx(4.0), 2, 3)
    assert found.t == pytest.approx(4 / np.sqrt(3 / 3))


def test_a_family_is_corrected_as_in_the_textbook():
    assert holm([0.01, 0.04, np.nan, 0.03, 0.005]) == pytest.approx(
        [0.03, 0.06, np.nan, 0.06, 0.02], nan_ok=True
    )
    assert holm([np.nan, 0.7, 0.7]) == pytest.approx([np.nan, 1, 1], nan_ok=True)
    assert holm([]).shape == (0,)
    p = np.round(np.random.default_rng(3).random(40) ** 3, 2)  # with ties
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1])


def test_images_of_a_block_are_told_by_t_and_p():
    """From scipy's own p: 4 blocks of 31, 40, 40 and 25 images are 34 each."""
    rng = np.random.default_rng(2)
    for t in (0.4, 3.0, 11.0):
        assert degrees_of_freedom(-t, 2 * stats.t.sf(t, 134)) == 134
    first, best = rng.normal(90, 30, 71), rng.normal(110, 30, 65)
    test = stats.ttest_ind(best, first)
    tests = {f"{kind}_{name}_1": np.nan for kind in "tp" for name in ("endinit", "maxend")}
    known = {"t_maxinit_1": test.statistic, "p_maxinit_1": test.pvalue}
    assert images_per_block(tests | known, 1) == 34
    assert np.isnan(images_per_block(tests | {"t_maxinit_1": np.nan, "p_maxinit_1": np.nan}, 1))


def test_expected_false_positives_are_those_of_threads_that_do_not_climb():
    """Hundreds of flat threads: as many pass the published test as their own tables foretell."""
    rng = np.random.default_rng(7)
    n_threads, n_blocks, n_images = 100, 20, 32
    mean, sem, tests = {}, {}, pd.DataFrame({"Expi": range(n_threads)})
    for space in Space:
        images = rng.normal(100, 30, size=(n_threads, n_blocks, n_images))
        mean[space], sem[space] = images.mean(axis=2), stats.sem(images, axis=2)
        first, last = (x.reshape(n_threads, -1) for x in (images[:, :2], images[:, -2:]))
        best = [t_by_hand(list(thread)) for thread in images]
        end = stats.ttest_ind(last, first, axis=1)
        for name, t, p in (
            ("maxinit", [b.statistic for b in best], [b.pvalue for b in best]),
            ("endinit", end.statistic, end.pvalue),
            ("maxend", np.nan, np.nan),
        ):
            tests[f"t_{name}_{space.thread}"], tests[f"p_{name}_{space.thread}"] = t, p
    recorded = np.ones((n_threads, n_blocks), bool)
    expected = expected_false_positives(tests, mean, sem, recorded, level=0.05)
    rate = np.mean(list(expected["independent trials"].values()))
    passed = sum(
        int(((tests[f"p_maxinit_{i}"] < 0.05) & (tests[f"t_maxinit_{i}"] > 0)).sum())
        for i in (0, 1)
    )
    assert rate > 0.08  # the level is 0.05
    assert stats.binomtest(passed, 2 * n_threads, rate).pvalue > 0.001


def test_columns_that_determine_each_other_are_told_and_not_fitted():
    rng = np.random.default_rng(1)
    effect, sites = np.resize([0.0, 1.0], 24), np.resize(range(6), 24)
    found = mixed_model(
        rng.standard_normal(24), effect, sites, ["x"] * 24, {"same": effect, "again": 2 * effect}
    )
    assert "do not vary enough" in found.problem
    assert np.isnan(found.p)

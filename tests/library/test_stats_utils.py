"""Statistics and their drawings, against scipy, statsmodels, and simulation."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from core.errors import UsageError
from core.utils import stats_utils
from core.utils.statistics.t_tests import student


@pytest.fixture
def paired(rng):
    """Thirty pairs, four of them incomplete."""
    first = rng.standard_normal(30)
    second = first - 0.4 + rng.standard_normal(30)
    first[[2, 5]] = np.nan
    second[[5, 9, 20]] = np.nan
    return first, second


@pytest.fixture
def table(paired):
    """Return the pairs in a table whose index is no row number, with a group of its own."""
    first, second = paired
    return pd.DataFrame(
        {"DeePSim": first, "BigGAN": second, "group": np.arange(30) % 3},
        index=np.arange(100, 70, -1),
    )


def test_summary_of_generations_is_that_of_a_groupby(rng):
    """Mean, sample standard deviation and standard error of every generation."""
    generations = rng.permutation(np.repeat(np.arange(3, 10), rng.integers(2, 9, 7)))
    scores = rng.standard_normal(len(generations))
    grouped = pd.Series(scores).groupby(generations)
    means, sems, numbers = stats_utils.summary_by_block(scores, generations, ddof=1)
    np.testing.assert_array_equal(numbers, np.arange(3, 10))
    np.testing.assert_allclose(means, grouped.mean())
    np.testing.assert_allclose(sems, grouped.sem())
    np.testing.assert_allclose(
        stats_utils.summary_by_block(scores, generations, sem=False)[1], grouped.std(ddof=0)
    )


def test_summary_drops_the_first_generation_of_one_score_unless_it_is_asked_for():
    """As the published function; a generation without scores is a gap in both."""
    scores, generations = [7, 1, 3, 5, 6, 9], [0, 1, 1, 3, 3, 4]
    means, sems, numbers = stats_utils.summary_by_block(scores, generations, maxgen=3)
    np.testing.assert_array_equal(numbers, [1, 2, 3])
    np.testing.assert_array_equal(means, [2, np.nan, 5.5])
    np.testing.assert_allclose(sems, [1 / np.sqrt(2), np.nan, 0.5 / np.sqrt(2)])
    means, sems, numbers = stats_utils.summary_by_block(
        scores, generations, maxgen=3, ddof=1, single=True
    )
    np.testing.assert_array_equal(numbers, [0, 1, 2, 3])
    np.testing.assert_array_equal(means, [7, 2, np.nan, 5.5])
    np.testing.assert_allclose(sems, [np.nan, 1, np.nan, 0.5])


def test_paired_test_counts_complete_pairs_only(paired, capsys):
    """Degrees of freedom, n, means and spreads are all those of the complete pairs."""
    first, second = paired
    complete = ~np.isnan(first) & ~np.isnan(second)
    expected = stats.ttest_rel(first[complete], second[complete])
    t, p, dof, sentence = stats_utils.ttest_rel_print(
        pd.Series(first, index=range(30, 0, -1)), pd.Series(second), output_dof=True
    )
    assert (t, p, dof) == (expected.statistic, expected.pvalue, 25)
    assert sentence == (
        f"1 {first[complete].mean():.3f}±{first[complete].std(ddof=1):.3f} vs "
        f"2 {second[complete].mean():.3f}±{second[complete].std(ddof=1):.3f} (n=26 pairs): "
        f"t(25)={t:.3f}, p={p:.1e}"
    )
    assert capsys.readouterr().out == sentence + "\n"


def test_paired_test_and_interval_agree_with_statsmodels(table):
    """Also in a subset of rows, and the interval of the mean difference."""
    mask = table["group"] != 0
    result = stats_utils.ttest_rel_df(table, mask, "DeePSim", "BigGAN")
    t, p, _ = stats_utils.ttest_rel_print_df(table, mask, "DeePSim", "BigGAN")
    differences = DescrStatsW((table["DeePSim"] - table["BigGAN"])[mask].dropna())
    assert (t, p) == pytest.approx(differences.ttest_mean()[:2])
    assert tuple(result.confidence_interval(0.95)) == pytest.approx(differences.tconfint_mean())
    everything = stats_utils.ttest_rel_df(table, None, "DeePSim", "BigGAN")
    assert everything.df == 25


def test_two_sample_tests_agree_with_statsmodels(table):
    """Student and Welch, sizes without NaN, and the interval of the difference."""
    first, second = table["group"] == 0, (table["group"] == 1).to_numpy()
    samples = [table["BigGAN"][mask].dropna() for mask in (first, second)]
    compared = CompareMeans(*map(DescrStatsW, samples))
    for equal_var, usevar in ((True, "pooled"), (False, "unequal")):
        expected = compared.ttest_ind(usevar=usevar)
        t, p, dof, sentence = stats_utils.ttest_ind_print_df(
            table, first, second, "BigGAN", output_dof=True, equal_var=equal_var
        )
        assert (t, p, dof) == pytest.approx(expected)
        assert f"n={len(samples[0])}, {len(samples[1])}" in sentence
        result = stats_utils.ttest_ind_df(table, first, second, "BigGAN", equal_var)
        assert tuple(result.confidence_interval()) == pytest.approx(
            compared.tconfint_diff(usevar=usevar)
        )


def test_one_sample_test_agrees_with_statsmodels(paired):
    known = paired[0][~np.isnan(paired[0])]
    t, p, dof, sentence = stats_utils.ttest_1samp_print(paired[0], 0.3, sem=True, output_dof=True)
    assert (t, p, dof) == pytest.approx(DescrStatsW(known).ttest_mean(0.3))
    assert sentence.startswith(f"{known.mean():.3f}±{stats.sem(known):.3f} vs 0.300 (n=28)")


def test_missing_values_are_treated_as_asked(paired):
    first, second = paired
    for test, arguments in (
        (stats_utils.ttest_rel_print, (first, second)),
        (stats_utils.ttest_ind_print, (first, second)),
        (stats_utils.ttest_1samp_print, (first, 0)),
    ):
        assert np.isnan(test(*arguments, nan_policy="propagate")[:2]).all()
        with pytest.raises(UsageError, match="are NaN"):
            test(*arguments, nan_policy="raise")


def test_latex_sentence(capsys):
    sentence = stats_utils.ttest_1samp_print([1.0, 2.0, 4.0], 0, latex=True, output_dof=True)[-1]
    assert sentence == (r"$2.333\pm1.528$ vs 0.000 (n=3): $t_{2}=2.646$, $p=1.2\times10^{-1}$")
    assert stats_utils.latexify_tststs("p=1.0e+00") == r"$p=1.0\times10^{0}$"


def test_partial_correlations_are_those_of_residuals_and_of_regression(rng):
    """The correlation from residuals, its p value from the coefficient of a multiple regression."""
    z = rng.standard_normal(40)
    x, y = z + rng.standard_normal(40), 0.5 * z + rng.standard_normal(40)
    y[3] = np.nan
    found = stats_utils.trivariate_corr(x, y, z)
    data = np.stack([x, y, z])[:, ~np.isnan(y)]
    assert found.n == 39
    assert (found.xy, found.xz, found.yz) == pytest.approx(
        tuple(np.corrcoef(data)[[0, 0, 1], [1, 2, 2]])
    )
    for name, (first, second, held) in {
        "xy_given_z": (0, 1, 2),
        "xz_given_y": (0, 2, 1),
        "yz_given_x": (1, 2, 0),
    }.items():
        design = sm.add_constant(data[held])
        residuals = [sm.OLS(data[i], design).fit().resid for i in (first, second)]
        assert getattr(found, name) == pytest.approx(np.corrcoef(residuals)[0, 1])
        full = sm.OLS(data[first], np.column_stack([design, data[second]])).fit()
        assert getattr(found, f"p_{name}") == pytest.approx(full.pvalues[-1])


def _steiger_z(ab, ac, bc, n):
    """Steiger 1980, equation 14: another test of the same hypothesis, written independently."""
    mean = (ab + ac) / 2
    psi = bc * (1 - 2 * mean**2) - 0.5 * mean**2 * (1 - 2 * mean**2 - bc**2)
    covariance = psi / (1 - mean**2) ** 2
    return (np.arctanh(ab) - np.arctanh(ac)) * np.sqrt((n - 3) / (2 - 2 * covariance))


@pytest.mark.parametrize(("ab", "ac", "bc"), [(0.5, 0.4, 0.3), (0.7, 0.65, 0.6), (0.1, 0.2, -0.5)])
def test_difference_of_dependent_correlations_agrees_with_steiger(ab, ac, bc):
    """Two published tests agree to a few per cent on data of exactly these correlations."""
    n = 60
    target = np.array([[1, ab, ac], [ab, 1, bc], [ac, bc, 1]])
    noise = np.random.default_rng(0).standard_normal((n, 3))
    noise -= noise.mean(axis=0)
    white = np.linalg.qr(noise)[0]
    A, B, C = np.linalg.cholesky(target) @ white.T
    found = stats_utils.correlation_difference(A, B, C)
    assert found.z == pytest.approx(_steiger_z(ab, ac, bc, n), rel=0.03)
    assert found.p == pytest.approx(2 * stats.norm.sf(abs(found.z)))
    assert found.difference == pytest.approx(np.arctanh(ab) - np.arctanh(ac))


def test_difference_of_equal_dependent_correlations_is_standard_normal(rng):
    """Simulated under the null; the published z has a standard deviation of 1.4 here."""
    covariance = [[1, 0.5, 0.5], [0.5, 1, 0.6], [0.5, 0.6, 1]]
    samples = rng.multivariate_normal(np.zeros(3), covariance, size=(1500, 40))
    z = [stats_utils.correlation_difference(*sample.T).z for sample in samples]
    assert np.mean(z) == pytest.approx(0, abs=0.1)
    assert np.std(z) == pytest.approx(1, abs=0.08)


def test_difference_of_independent_correlations_is_fishers():
    """Standard errors 1/sqrt(n - 3) add in squares; equal n give sqrt(2/(n - 3))."""
    found = stats_utils.independent_correlation_difference(0.6, 28, 0.3, 53)
    assert found.z == pytest.approx((np.arctanh(0.6) - np.arctanh(0.3)) / np.sqrt(1 / 25 + 1 / 50))
    assert stats_utils.independent_correlation_difference(
        0.6, 28, 0.3, 28
    ).standard_error == pytest.approx(np.sqrt(2 / 25))
    assert stats_utils.independent_correlation_difference(0.4, 9, 0.4, 30).p == 1


def test_paired_strips_show_the_pairs_and_their_test(table):
    """Every complete pair is drawn once, in place but for the jitter, the same each time."""
    ax = stats_utils.paired_strip_plot(table, None, "DeePSim", "BigGAN")
    complete = table.dropna()
    points = [collection.get_offsets() for collection in ax.collections]
    for place, (column, drawn) in enumerate(zip(("DeePSim", "BigGAN"), points, strict=True)):
        np.testing.assert_array_equal(drawn[:, 1], complete[column])
        assert np.abs(drawn[:, 0] - place).max() < 0.5
    assert len(ax.lines) == len(complete)
    t, p = stats.ttest_rel(complete["DeePSim"], complete["BigGAN"])
    assert ax.get_title() == f"paired t(25)={t:.2f}, p={p:.1e}"
    again = stats_utils.paired_strip_plot(table, None, "DeePSim", "BigGAN")
    np.testing.assert_array_equal(again.collections[0].get_offsets(), points[0])


def test_band_of_the_rows_is_their_standard_error(rng):
    """NaN is left out column by column; one known value has a mean and no band."""
    rows = rng.standard_normal((6, 5))
    rows[0, 1] = rows[:5, 3] = np.nan
    for errtype, spread in (("sem", stats.sem), ("std", lambda c: c.std(ddof=1))):
        _, ax = plt.subplots()
        line = stats_utils.shaded_errorbar_arr(rows, errtype=errtype, ax=ax, label="a")
        known = [column[~np.isnan(column)] for column in rows.T]
        np.testing.assert_allclose(line.get_ydata(), [column.mean() for column in known])
        band = ax.collections[0].get_paths()
        assert len(band) == 2  # a gap at column 3
        top = {x: y for path in band for x, y in path.vertices if y > line.get_ydata()[int(x)]}
        for x in (0, 1, 2, 4):
            error = top[x] - line.get_ydata()[x]
            assert error == pytest.approx(spread(known[x]))


def test_scatter_is_titled_with_its_correlation(table):
    complete = table.dropna()
    for corrtype, correlate in (("pearson", stats.pearsonr), ("spearman", stats.spearmanr)):
        expected = correlate(complete["DeePSim"], complete["BigGAN"])
        ax, rho, p = stats_utils.scatter_corr(table, "DeePSim", "BigGAN", corrtype=corrtype)
        assert (rho, p) == pytest.approx((expected.statistic, expected.pvalue))
        assert ax.get_title() == f"corr={rho:.3f} p={p:.1e} n=26"
        assert len(ax.collections[0].get_offsets()) == 26


_TWO = pd.DataFrame({"a": [1.0, 2.0], "b": [2.0, 1.0]})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stats_utils.summary_by_block([1, 2], [1]), "do not go together"),
        (lambda: stats_utils.summary_by_block([1, 2], [1, 1.5]), "whole number"),
        (lambda: stats_utils.summary_by_block([1, 2], [101, 102]), "generation 100 or before"),
        (lambda: stats_utils.ttest_rel_print([1, 2], [1, 2, 3]), "make no pairs"),
        (lambda: stats_utils.ttest_rel_print([1, np.nan], [1, 2]), "1 known values"),
        (lambda: stats_utils.ttest_ind_print([1], [1, 2]), "1 known values"),
        (lambda: stats_utils.ttest_1samp_print([1], 0), "1 known values"),
        (lambda: stats_utils.ttest_1samp_print([1, 2], 0, nan_policy="skip"), "nan_policy"),
        (lambda: stats_utils.ttest_rel_df(_TWO, None, "a", "c"), "unknown column 'c'"),
        (lambda: stats_utils.ttest_rel_df(_TWO, [0, 1], "a", "b"), "True or False"),
        (lambda: stats_utils.ttest_ind_df(_TWO, [True], None, "a"), "True or False"),
        (lambda: stats_utils.trivariate_corr([1, 2, 3], [1, 2, 3], [1, 2, 3]), "4 are needed"),
        (lambda: stats_utils.trivariate_corr(range(5), range(5), range(4)), "same cases"),
        (lambda: stats_utils.trivariate_corr(range(5), [1] * 5, range(5)), "constant"),
        (
            lambda: stats_utils.correlation_difference(range(5), range(0, 10, 2), [1, 3, 2, 5, 4]),
            "up to scale",
        ),
        (lambda: stats_utils.independent_correlation_difference(1, 9, 0, 9), "between -1 and 1"),
        (lambda: stats_utils.independent_correlation_difference(0, 3, 0, 9), "at least 4"),
        (lambda: stats_utils.shaded_errorbar_arr([1, 2]), "n_repeats"),
        (lambda: stats_utils.shaded_errorbar_arr([[1, 2]], errtype="se"), "errtype"),
        (lambda: stats_utils.scatter_corr(_TWO, "a", "b"), "needs 3"),
        (lambda: stats_utils.scatter_corr(_TWO, "a", "b", corrtype="kendall"), "corrtype"),
    ],
)
def test_input_without_an_answer_is_refused_with_a_reason(call, message):
    with pytest.raises(UsageError, match=message):
        call()


def test_the_module_loads_no_torch(bare):
    code = "import sys, core.utils.stats_utils; sys.exit(any('torch' in m for m in sys.modules))"
    assert bare.run(code).returncode == 0


@pytest.mark.parametrize("scale", [1e-170, 1e12, 1e200, 3e307])
@pytest.mark.parametrize("options", [{}, {"paired": True}, {"equal_variances": False}])
def test_a_t_test_does_not_know_the_unit(rng, scale, options):
    """No square overflows or vanishes; at the last point nothing varies."""
    first, second = rng.normal(0.3, 0.1, (20, 3)), rng.normal(0.25, 0.1, (20, 3))
    first[:, 2], second[:, 2] = 0.4, 0.4
    plain = student(first, second, **options)
    scaled = student(first * scale, second * scale, **options)
    for name in ("t", "p", "df"):
        np.testing.assert_allclose(getattr(scaled, name), getattr(plain, name), rtol=1e-9)
    assert np.isnan(scaled.t[2])
    one = student(first[:, 0] * scale, second[:, 0] * scale, **options)
    assert one.t == pytest.approx(plain.t[0])

"""Statistics and fits of one axis: real numbers, closed forms, other libraries, degenerate axes."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from threadpoolctl import threadpool_limits

from core.source_tables.peaks import peak_bin
from neuro_data_analysis.neural_tuning_analysis_lib import (
    AxisFit,
    TunedSite,
    TuningAxis,
    axis_seed,
    fit_axes,
    fit_axis,
    tuning_synopsis,
)
from neuro_data_analysis.tuning.fits import fit_gaussian, fit_line
from neuro_data_analysis.tuning.process import CurveShape, LevelLikelihood, fit_process
from neuro_data_analysis.tuning.sessions import published_session
from neuro_data_analysis.tuning.statistics import Levels, one_way_anova

DATA = Path(__file__).parents[1] / "data"
STEPS = (-0.4, -0.32, -0.24, -0.16, 0.0, 0.16, 0.24, 0.32, 0.4)


def real_trials():
    return pd.read_csv(DATA / "tuning_trials_alfa27102020.csv")


def real_axis(eig_id, origins=False):
    """Return positions and responses of one of the two real axes."""
    trials = real_trials()
    chosen = trials["eig_id"] == eig_id
    if origins:
        chosen |= trials["lin_dist"] == 0
    return trials.loc[chosen, "lin_dist"].to_numpy(), trials.loc[
        chosen, "pref_unit_resp"
    ].to_numpy()


def noisy_bell(rng, repeats=6, amplitude=80.0, center=0.05, sigma=0.2, offset=40.0, sd=12.0):
    x = np.repeat(STEPS, repeats)
    bell = offset + amplitude * np.exp(-((x - center) ** 2) / (2 * sigma**2))
    return x, bell + rng.normal(0, sd, x.size)


def test_anova_of_the_real_trials_is_the_printed_one():
    """Class axis 1 of Alfa-27102020-007 without origin: F = 2.214328, p = .04714012, 54 df."""
    anova = one_way_anova(*real_axis(1))
    assert anova.f == pytest.approx(2.214328, abs=5e-7)
    assert anova.p == pytest.approx(0.04714012, abs=5e-9)
    assert (anova.df_between, anova.df_within) == (7, 54)


@pytest.mark.parametrize(("eig_id", "origins"), [(0, False), (1, False), (1, True)])
def test_anova_equals_type_ii_of_statsmodels(eig_id, origins):
    x, y = real_axis(eig_id, origins)
    table = anova_lm(ols("y ~ C(x)", pd.DataFrame({"x": x, "y": y})).fit(), typ=2)
    anova = one_way_anova(x, y)
    assert anova.f == pytest.approx(table["F"].iloc[0], rel=1e-10)
    assert anova.p == pytest.approx(table["PR(>F)"].iloc[0], rel=1e-9)
    squares = table["sum_sq"]
    assert anova.r2 == pytest.approx(squares.iloc[0] / squares.sum(), rel=1e-10)


@pytest.mark.parametrize("row", range(19))
def test_anova_rows_of_the_successful_session(row):
    """Trials with the published means, repeats and scatter give the printed F and p.

    Of 74 of the 171 level means three or more decimals are known, of the others one; the printed
    p tests the degrees of freedom to all its digits.
    """
    printed = pd.read_csv(DATA / "tuning_anova_caos.csv").iloc[row]
    cells = pd.read_csv(DATA / "tuning_responses_caos.csv")
    axis = cells[
        (cells["space_name"] == printed["space_name"]) & (cells["eig_id"] == printed["eig_id"])
    ]
    repeats = [int(n) for n in printed["repeat_per_lin_dist"].split()]
    assert repeats == axis["n_repeats"].tolist()
    x = np.repeat(axis["lin_dist"].to_numpy(), repeats)
    contrasts = np.concatenate([stats.zscore(np.arange(n)) for n in repeats])
    scatter = printed["implied_resid_sd"] * np.sqrt(printed["df_resid"] / len(x))
    y = np.repeat(axis["pref_unit_resp"].to_numpy(), repeats) + scatter * contrasts
    anova = one_way_anova(x, y)
    assert anova.df_within == printed["df_resid"]
    assert anova.f == pytest.approx(printed["F_value"], rel=2e-2)
    p = stats.f.sf(printed["F_value"], anova.df_between, anova.df_within)
    assert p == pytest.approx(printed["p_value"], rel=1e-5)
    levels = Levels.of(x, y)
    assert levels.distance[levels.peak] == printed["max_resp_lin_dist"]
    assert levels.mean[levels.peak] == pytest.approx(printed["max_resp_val"], abs=0.06)


@pytest.mark.parametrize(
    ("peak", "place"), [(-0.4, -0.4), (-0.08, 0), (0.0, 0), (0.05, 0), (0.08, 0), (0.16, 0.16)]
)
def test_peaks_close_to_the_origin_count_as_at_the_origin(peak, place):
    assert peak_bin(peak) == place


@pytest.mark.parametrize(
    ("curve", "unimodal", "monotonic", "bellshaped"),
    [
        (np.full(100, 5.0), True, True, False),
        (np.linspace(0, 9, 100), True, True, False),
        (np.linspace(9, 0, 100), True, True, False),
        (np.sin(np.linspace(0, np.pi, 100)), True, False, True),
        (-np.sin(np.linspace(0, np.pi, 100)), False, False, False),
        ([0, 1, 2, 1.991, 3, 2, 1], True, False, True),  # a dip of .009 before the peak
        ([0, 1, 2, 1.989, 3, 2, 1], False, False, False),  # a dip of .011
        ([0, 1, 3, 2, 2.009, 1], True, False, True),
        ([0, 1, 3, 2, 2.011, 1], False, False, False),
        ([0, 1, 2, 3, 2.995], True, True, True),  # falls less than a step: bell and monotonic
    ],
)
def test_shapes_of_known_curves(curve, unimodal, monotonic, bellshaped):
    assert CurveShape.of(curve) == CurveShape(unimodal, monotonic, bellshaped)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-20, 20), min_size=3, max_size=12))
def test_shapes_of_any_curve(values):
    """Bell-shaped implies unimodal; mirrored curves are in the same classes if the peak is one."""
    curve = np.array(values)
    shape = CurveShape.of(curve)
    assert shape.unimodal or not shape.bellshaped
    if (curve == curve.max()).sum() == 1:
        assert CurveShape.of(curve[::-1]) == shape


def test_gaussian_recovers_what_the_trials_were_made_of():
    """Without noise the parameters come back."""
    x = np.repeat(STEPS, 2)
    y = 50 + 90 * np.exp(-((x - 0.07) ** 2) / (2 * 0.15**2))
    fit = fit_gaussian(x, y)
    found = (fit.amplitude, fit.center, fit.sigma, fit.offset)
    np.testing.assert_allclose(found, (90, 0.07, 0.15, 50), rtol=1e-5)
    assert fit.r2 == pytest.approx(1)
    np.testing.assert_allclose(fit(x), y, rtol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_gaussian_equals_curve_fit_with_the_same_bounds(seed):
    """The published fit is scipy's curve_fit."""
    x, y = noisy_bell(np.random.default_rng(seed))
    means = pd.Series(y).groupby(x).mean()
    low = [0, x.min(), 0.01, 0]
    high = [1.25 * means.max(), x.max(), 2 * np.ptp(x), means.max()]
    start = [means.max() - means.min(), means.idxmax(), np.ptp(x) / 4, means.min()]
    expected, _ = optimize.curve_fit(
        lambda x, a, m, s, b: a * np.exp(-((x - m) ** 2) / (2 * s**2)) + b,
        x, y, start, bounds=(low, high),
    )  # fmt: skip
    fit = fit_gaussian(x, y)
    found = (fit.amplitude, fit.center, fit.sigma, fit.offset)
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-3)
    assert fit.r2 == pytest.approx(1 - np.var(y - fit(x)) / np.var(y))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 60), st.floats(-0.4, 0.4))
def test_gaussian_stays_within_its_bounds(seed, amplitude, center):
    x, y = noisy_bell(np.random.default_rng(seed), 3, amplitude, center, sd=6.0)
    fit = fit_gaussian(x, y)
    top = Levels.of(x, y).mean.max()
    if not fit.problem:
        assert 0 <= fit.amplitude <= 1.25 * top
        assert -0.4 <= fit.center <= 0.4
        assert 0.01 <= fit.sigma <= 1.6
        assert 0 <= fit.offset <= top


def test_line_equals_least_squares(rng):
    x, y = noisy_bell(rng)
    slope, intercept = np.polyfit(x, y, 1)
    fit = fit_line(x, y)
    assert (fit.slope, fit.intercept) == pytest.approx((slope, intercept))
    assert fit.r2 == pytest.approx(np.corrcoef(x, y)[0, 1] ** 2)
    np.testing.assert_allclose(fit([0.0, 1.0]), [intercept, intercept + slope])


def scikit_learn_process(x, y, seed):
    """Fit the published model by the library that was used."""
    variances = pd.Series(y).groupby(x).var()
    v = y.var()
    n = v if variances.isna().all() else variances.mean()
    kernel = ConstantKernel(v, (0.01 * v, 100 * v)) * RBF(np.ptp(x) / 10, (0.01, 100))
    kernel += WhiteKernel(0.1 * n, (0.01 * n, 10 * n))
    process = GaussianProcessRegressor(kernel, alpha=0, n_restarts_optimizer=4, random_state=seed)
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")  # parameters at a bound
        return process.fit(x[:, np.newaxis], y)


@pytest.mark.parametrize(
    "axis",
    [
        real_axis(0),
        real_axis(1),
        real_axis(1, origins=True),
        noisy_bell(np.random.default_rng(1)),
        noisy_bell(np.random.default_rng(2), repeats=1),
        noisy_bell(np.random.default_rng(3), amplitude=0.0),
    ],
    ids=["real 0", "real 1", "real 1 filled", "bell", "one trial per level", "flat"],
)
def test_process_equals_scikit_learn(axis):
    """The same likelihood at the optimum, and the same curve."""
    x, y = axis
    peer = scikit_learn_process(x, y, 0)
    fit = fit_process(x, y, 0)
    assert fit.log_likelihood == pytest.approx(peer.log_marginal_likelihood_value_, abs=1e-6)
    mean, std = peer.predict(fit.x[:, np.newaxis], return_std=True)
    np.testing.assert_allclose(fit.mean, mean, rtol=2e-4)
    np.testing.assert_allclose(fit.std, std, rtol=2e-4)
    residual = y - peer.predict(x[:, np.newaxis])
    assert fit.r2 == pytest.approx(1 - residual.var() / y.var(), abs=1e-4)
    assert len(fit.x) == 100


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(2, 9), st.floats(-3, 3), st.floats(2, 8))
def test_likelihood_by_levels_is_that_of_the_single_trials(seed, signal, length, noise):
    """It equals the dense normal density of all trials, and its gradient the differences."""
    rng = np.random.default_rng(seed)
    x = rng.choice(STEPS, 30)
    y = rng.normal(60, 20, 30)
    theta = np.array([signal, length, noise])
    c, scale, white = np.exp(theta)
    dense = c * np.exp(-((x[:, np.newaxis] - x) ** 2) / (2 * scale**2)) + white * np.eye(30)
    expected = -stats.multivariate_normal(np.zeros(30), dense).logpdf(y)
    likelihood = LevelLikelihood.of(Levels.of(x, y), 30)
    value, gradient = likelihood.negative_log(theta)
    assert value == pytest.approx(expected, rel=1e-8)
    numeric = optimize.approx_fprime(theta, lambda t: likelihood.negative_log(t)[0], 1e-6)
    np.testing.assert_allclose(gradient, numeric, rtol=2e-3, atol=2e-3)


def test_process_depends_on_its_seed_only(rng):
    x, y = noisy_bell(rng)
    first, again, other = (fit_process(x, y, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.mean, again.mean)
    assert other.log_likelihood == pytest.approx(first.log_likelihood, abs=1e-6)
    assert first.n_unconverged == 0


def test_a_flat_axis_ends_at_the_longest_length(rng):
    """Parameters at a bound are told, not warned of."""
    x = np.repeat(STEPS, 8)
    fit = fit_process(x, rng.normal(100, 20, x.size), 0)
    assert fit.at_bound == ("length_scale",)
    assert fit.length_scale == pytest.approx(100)


DEGENERATE = {
    "one level": ([0.0] * 5, [1, 2, 3, 4, 5], "one level", "one level", "one level"),
    "all zero": (STEPS * 2, [0.0] * 18, "no variance within levels", "no spikes",
                 "the responses do not vary"),
    "constant": (STEPS * 2, [7.0] * 18, "no variance within levels", None,
                 "the responses do not vary"),
    "no scatter": (STEPS * 2, list(np.arange(9.0)) * 2, "no variance within levels", None,
                   "no variance within levels"),
    "one trial per level": (STEPS, np.arange(9.0) ** 2, "one trial per level", None, None),
    "two close levels": ([0, 0, 0.02, 0.02], [1.0, 2.0, 8.0, 9.0], None,
                         "the start lies outside the bounds", None),
}  # fmt: skip


@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_axes_give_missing_values_with_a_reason(case):
    """Nothing raises; what cannot be computed is NaN and says why."""
    x, y, no_f, no_gaussian, no_process = DEGENERATE[case]
    axis = TuningAxis("class", 0, np.array(x, dtype=float), np.array(y, dtype=float))
    fit = fit_axis(axis, 0)
    assert axis.anova.problem == (no_f or "")
    assert np.isnan(axis.anova.f) == np.isnan(axis.anova.p) == bool(no_f)
    if no_gaussian is not None:
        assert fit.gaussian.problem == no_gaussian
    assert np.isnan(fit.gaussian.amplitude) == bool(fit.gaussian.problem)
    assert fit.process.problem == (no_process or "")
    assert np.isnan(fit.process.noise) == bool(no_process)
    if no_process:
        assert fit.process.shape == CurveShape(False, False, False)


def two_sites(rng):
    """Return two sites: one ordinary, one whose axes are degenerate."""
    x, y = noisy_bell(rng, 3)
    ordinary = pd.DataFrame({"lin_dist": x, "pref_unit_resp": y, "space_name": "class"})
    ordinary = pd.concat([ordinary.assign(eig_id=e) for e in (0, 1)])
    dead = ordinary.assign(pref_unit_resp=0.0)
    lone = pd.DataFrame({"lin_dist": [0.0], "pref_unit_resp": 3.0, "space_name": "noise",
                         "eig_id": 0})  # fmt: skip
    names = ("Caos-12102024-003", "Alfa-08092020-004")
    trials = (ordinary, pd.concat([dead, lone]))
    return [
        TunedSite(published_session(name), table, 1.0, 0.1)
        for name, table in zip(names, trials, strict=True)
    ]


def test_degenerate_axes_do_not_stop_the_tables(rng):
    """The one-level axis is in the synopsis only; the dead axes are listed with their reasons."""
    sites = two_sites(rng)
    synopsis = tuning_synopsis(sites)
    assert len(synopsis) == 5
    assert synopsis["F_value"].notna().tolist() == [True, True, False, False, False]
    assert synopsis["stats_str"].iloc[-1] == "no F: one level"
    shapes, missing = fit_axes(sites, seed=0, workers=1)
    assert len(shapes) == 4
    dead = shapes[shapes["ephysFN"] == "Alfa-08092020-004"]
    assert dead[["gauss_fit_sigma", "gpr_R2", "anova_p_value"]].isna().all(axis=None)
    assert not dead["gpr_y_is_unimodal"].any()
    reasons = missing.groupby("quantity")["reason"].unique().map(list).to_dict()
    assert reasons == {
        "anova": ["no variance within levels"],
        "gauss": ["no spikes"],
        "gpr": ["the responses do not vary"],
    }


def test_the_number_of_workers_changes_nothing(rng):
    """The same seed gives the same table in one process and in two, and with other sessions."""
    sites = two_sites(rng)
    alone, _ = fit_axes(sites[:1], seed=4, workers=1)
    together, _ = fit_axes(sites, seed=4, workers=2)
    together = together[together["ephysFN"] == "Caos-12102024-003"]
    pd.testing.assert_frame_equal(alone, together, check_exact=True)
    first, second = sites[0].axes()
    assert axis_seed(4, sites[0], first) != axis_seed(4, sites[0], second)


def test_fits_of_a_real_axis_agree_with_each_other():
    """A fit explains no more variance than the level means do."""
    axis = TuningAxis("class", 0, *real_axis(0))
    fit = fit_axis(axis, 0)
    assert isinstance(fit, AxisFit)
    assert list(fit.problems()) == []
    for r2 in (fit.line.r2, fit.gaussian.r2, fit.process.r2):
        assert r2 <= axis.anova.r2

"""The rank-one CMA-ES: constants, updates, equality with the dense equations, invariances."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import UsageError
from core.utils.Optimizers import CholeskyCMAES, HessCMAES, rankweight
from core.utils.optimizers.cholesky_factor import (
    DiagonalPlusOuter,
    as_array,
    rank_one_update,
    samples,
)
from core.utils.optimizers.rank_one_cma import CMAConstants
from tests.textbook_cma import TextbookCMAES


def bumpy(codes):
    """Score codes by a quadratic with unequal curvatures around a point that is not zero."""
    curvature = np.linspace(0.5, 2, codes.shape[1])
    return -(curvature * (codes - 1) ** 2).sum(axis=1)


def orthonormal(rng, n_rows, n_columns):
    return np.linalg.qr(rng.standard_normal((n_rows, n_columns)))[0]


def run(optimizer, generations, score=bumpy, codes=None):
    """Return all codes of a run, generation 0 first."""
    populations = [optimizer.get_init_pop() if codes is None else codes]
    for _ in range(generations):
        populations.append(optimizer.step_simple(score(populations[-1]), populations[-1]))
    return populations


def assert_same_run(optimizer, textbook, first, sign=1.0):
    """Run both for 100 generations, each on its own codes, and compare everything."""
    ours = theirs = first
    for generation in range(100):
        ours = optimizer.step_simple(sign * bumpy(ours), ours)
        theirs = textbook.step(sign * bumpy(theirs), theirs)
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10, err_msg=str(generation))
    np.testing.assert_allclose(optimizer.xmean, textbook.x, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(optimizer.sigma, textbook.sigma, rtol=1e-10)
    np.testing.assert_allclose(optimizer.ps, textbook.ps, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(optimizer.A, textbook.A, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(optimizer.Ainv, textbook.Ainv, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dimension", [2, 24, 128])
@pytest.mark.parametrize("frequency", [10, 1])
@pytest.mark.parametrize("maximize", [True, False])
def test_cholesky_run_equals_the_dense_equations(rng, dimension, frequency, maximize):
    """100 generations agree to 1e-10, before and after the factor has become dense."""
    start = rng.standard_normal(dimension)
    optimizer = CholeskyCMAES(
        dimension,
        init_sigma=0.5,
        init_code=start,
        Aupdate_freq=frequency,
        maximize=maximize,
        random_seed=7,
    )
    eye = np.eye(dimension)
    textbook = TextbookCMAES(eye, eye, start, 0.5, frequency, maximize, seed=7)
    assert_same_run(optimizer, textbook, start[np.newaxis], 1.0 if maximize else -1.0)
    updates = 99 // (frequency + 1)
    assert isinstance(optimizer._A, DiagonalPlusOuter) == (2 * updates <= dimension)


@pytest.mark.parametrize("maximize", [True, False])
def test_a_run_with_lost_trials_equals_the_dense_equations(rng, maximize):
    """In every generation another number of codes is lost, from none to all but two."""
    start, sign = rng.standard_normal(9), 1.0 if maximize else -1.0
    optimizer = CholeskyCMAES(
        9, init_sigma=0.5, init_code=start, Aupdate_freq=1, maximize=maximize, random_seed=3
    )
    textbook = TextbookCMAES(np.eye(9), np.eye(9), start, 0.5, 1, maximize, seed=3)
    ours = theirs = start[np.newaxis]
    for _ in range(60):
        lost = rng.permutation(len(ours)) < rng.integers(0, max(len(ours) - 1, 1))
        ours = optimizer.step_simple(np.where(lost, np.nan, sign * bumpy(ours)), ours)
        theirs = textbook.step(np.where(lost, np.nan, sign * bumpy(theirs)), theirs)
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(optimizer.sigma, textbook.sigma, rtol=1e-9)
    assert any(generation.n_lost == 11 for generation in optimizer.history)


@pytest.mark.parametrize("n_first", [3, 40])
def test_first_mean_without_init_code_equals_the_dense_equations(rng, n_first):
    """Generation 0 may have any number of codes; weights are cut to it and renormalised."""
    first = rng.standard_normal((n_first, 12))
    optimizer = CholeskyCMAES(12, init_sigma=0.5, random_seed=7)
    textbook = TextbookCMAES(np.eye(12), np.eye(12), None, 0.5, seed=7)
    assert_same_run(optimizer, textbook, first)


@pytest.mark.parametrize(("cutoff", "frequency"), [(60, 10), (60, 1), (10, 1)])
def test_hessian_run_equals_the_dense_equations(rng, cutoff, frequency):
    """The search in k coordinates is the k × N search; what lies outside the span stays."""
    dimension, expon = 80, 1 / 2.5
    eigvals = np.geomspace(10, 1e-3, dimension)
    eigvects = orthonormal(rng, dimension, dimension)
    start = rng.standard_normal(dimension)
    optimizer = HessCMAES(
        dimension,
        cutoff=cutoff,
        init_sigma=0.3,
        init_code=start,
        Aupdate_freq=frequency,
        random_seed=7,
    )
    optimizer.set_Hessian(eigvals, eigvects, expon=expon)
    scales, axes = eigvals[:cutoff] ** -expon, eigvects[:, :cutoff]
    textbook = TextbookCMAES(
        scales[:, np.newaxis] * axes.T, axes / scales, start, 0.3, frequency, seed=7
    )
    assert_same_run(optimizer, textbook, start[np.newaxis])
    outside = eigvects[:, cutoff:]
    np.testing.assert_allclose(optimizer.xmean @ outside, start @ outside, atol=1e-9)


def test_factor_times_inverse_is_the_identity_and_makes_the_covariance(rng):
    """One update gives (1 - c1) AᵀA + c1 pathᵀpath, whether or not the factor is dense."""
    A = DiagonalPlusOuter.of(rng.uniform(0.5, 2, 6))
    Ainv = DiagonalPlusOuter.of(1 / A.diagonal)
    covariance = np.diag(A.diagonal**2)
    for update in range(6):
        path = rng.standard_normal(6)
        A, Ainv = rank_one_update(A, Ainv, path, c1=0.2)
        covariance = 0.8 * covariance + 0.2 * np.outer(path, path)
        assert isinstance(A, np.ndarray) == (update >= 3)
        np.testing.assert_allclose(as_array(A).T @ as_array(A), covariance, atol=1e-12)
        np.testing.assert_allclose(as_array(A) @ as_array(Ainv), np.eye(6), atol=1e-12)


@pytest.mark.parametrize("n_rows", [1, 40])
@pytest.mark.parametrize("rank", [0, 1, 3, 40, 200])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_samples_in_blocks_equal_dense_products(rng, n_rows, rank, dtype):
    """Rows are drawn once, in their order, whether products are cut into pieces or left whole."""
    left, right = rng.standard_normal((2, rank, 500))
    matrix = DiagonalPlusOuter(rng.uniform(1, 2, 500), left, right, scale=0.7)
    mean, seed = rng.standard_normal(500), int(rng.integers(100))
    source, normals = np.random.default_rng(seed), np.empty((n_rows, 500))
    rows = np.empty(normals.shape, dtype)
    samples(matrix, 0.3, mean, normals, lambda z: source.standard_normal(out=z), rows)
    drawn = np.random.default_rng(seed).standard_normal((n_rows, 500))
    np.testing.assert_array_equal(normals, drawn)
    expected = mean + 0.3 * drawn @ matrix.dense()
    np.testing.assert_allclose(rows, expected, atol=1e-9 if dtype == "float64" else 1e-3)
    np.testing.assert_allclose(drawn[0] @ matrix, drawn[0] @ matrix.dense(), atol=1e-9)
    np.testing.assert_allclose(matrix @ drawn[0], matrix.dense() @ drawn[0], atol=1e-9)


def test_codes_in_float32_are_those_of_float64_rounded(rng):
    """Of the same random numbers; along a Hessian they are also multiplied in float32."""
    axes = orthonormal(rng, 60, 20)
    for make in (
        lambda dtype: CholeskyCMAES(60, init_code=np.ones(60), random_seed=1, dtype=dtype),
        lambda dtype: HessCMAES(60, cutoff=20, init_code=np.ones(60), random_seed=1, dtype=dtype,
                                eigvals=np.geomspace(1, 0.01, 20), eigvects=axes),
    ):  # fmt: skip
        wide, narrow = make(np.float64), make(np.float32)
        for _ in range(30):
            codes = wide.ask()
            rounded = narrow.ask()
            np.testing.assert_allclose(rounded, codes, atol=1e-6 * np.abs(codes).max())
            wide.tell(bumpy(codes))
            narrow.tell(bumpy(codes))
        np.testing.assert_array_equal(wide.xmean, narrow.xmean)


@pytest.mark.parametrize(
    ("dimension", "lambda_", "cc", "cs", "c1", "damps"),
    [
        (2, 7, 0.667, 0.515, 0.172, 1.515),
        (10, 13, 0.286, 0.387, 0.015, 1.387),
        (256, 28, 0.015, 0.151, 0.000, 1.151),
    ],
)
def test_constants_are_those_printed_by_the_paper_s_notebook(dimension, lambda_, cc, cs, c1, damps):
    """Printed with three decimals in the alignment experiment (Extended Data Figure 5C)."""
    constants = CMAConstants.of(dimension)
    assert constants.lambda_ == lambda_
    assert constants.mu == lambda_ // 2
    printed = [round(value, 3) for value in (constants.cc, constants.cs, constants.c1)]
    assert printed == [cc, cs, c1]
    assert round(constants.damps, 3) == damps


@pytest.mark.parametrize(
    ("dimension", "population"), [(128, 25), (256, 28), (500, 30), (800, 32), (4096, 40)]
)
def test_population_grows_with_the_logarithm_of_the_dimension(dimension, population):
    assert CholeskyCMAES(dimension).lambda_ == population


def test_optim_params_replace_rates_and_are_not_kept():
    """The rates that are given count; the mapping stays the caller's."""
    rates = {"cc": 0.5, "c1": 0.01}
    constants = CholeskyCMAES(8, optim_params=rates).constants
    rates["cc"] = 0.9
    assert (constants.cc, constants.c1) == (0.5, 0.01)
    assert constants.cs == CMAConstants.of(8).cs


@pytest.mark.parametrize(
    ("frequency", "steps_with_update"), [(0, [1, 2, 3, 4]), (1, [2, 4, 6]), (10, [11, 22, 33])]
)
def test_covariance_is_updated_every_frequency_plus_one_steps(frequency, steps_with_update):
    """The comparison is strict: more than `Aupdate_freq` populations since the last update."""
    optimizer = CholeskyCMAES(64, init_code=np.zeros(64), Aupdate_freq=frequency, random_seed=0)
    codes, changed = optimizer.get_init_pop(), []
    for step in range(steps_with_update[-1] + 1):
        factor = optimizer._A
        codes = optimizer.step_simple(bumpy(codes), codes)
        if optimizer._A is not factor:
            changed.append(step)
    assert changed == steps_with_update


def test_update_by_learning_rate_when_the_frequency_is_none():
    constants = CMAConstants.of(100, Aupdate_freq=None)
    assert constants.update_crit == pytest.approx(constants.lambda_ / (constants.c1 * 100 * 10))


def test_generation_0_moves_the_mean_only():
    """With an init_code, scores and codes of generation 0 count for nothing."""
    optimizer = CholeskyCMAES(5, init_sigma=2, init_code=np.arange(5.0), random_seed=3)
    codes = optimizer.step_simple([9.0, 1.0], np.ones((2, 5)))
    np.testing.assert_array_equal(optimizer.xmean, np.arange(5))
    assert optimizer.sigma == 2
    expected = np.arange(5) + 2 * np.random.default_rng(3).standard_normal((10, 5))
    np.testing.assert_allclose(codes, expected, rtol=1e-14)


@pytest.mark.parametrize(
    "make",
    [
        np.random.default_rng,
        np.random.RandomState,
        lambda s: np.random.Generator(np.random.MT19937(s)),
    ],
    ids=["Generator", "RandomState", "MT19937"],
)
def test_one_draw_a_generation_from_the_generator_given(make):
    """After four generations the generator is where four draws leave it."""
    source, reference = make(11), make(11)
    optimizer = CholeskyCMAES(6, init_code=np.zeros(6), random_seed=source)
    run(optimizer, 4)
    for _ in range(4):
        reference.standard_normal((optimizer.lambda_, 6))
    assert source.standard_normal() == reference.standard_normal()


@pytest.mark.parametrize("seed", [0, 1, 2**40])
def test_a_run_is_a_function_of_its_seed(seed):
    """Equal seeds give equal runs, bit for bit, 0 included; global state plays no part."""
    runs = []
    for offset in (0, 0, 1):
        optimizer = CholeskyCMAES(6, init_code=np.zeros(6), random_seed=seed + offset)
        runs.append(run(optimizer, 15)[-1])
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([np.exp, np.cbrt, lambda s: 3 * s - 5, np.arctan]), st.integers(0, 1000))
def test_only_the_ranks_of_scores_count(transform, seed):
    """A strictly monotone transform of the scores leaves the run as it is."""
    plain, transformed = (
        CholeskyCMAES(5, init_sigma=0.3, init_code=np.full(5, 0.5), random_seed=seed)
        for _ in range(2)
    )
    run_plain = run(plain, 8, lambda codes: bumpy(codes) / 50)
    run_transformed = run(transformed, 8, lambda codes: transform(bumpy(codes) / 50))
    np.testing.assert_array_equal(run_plain[-1], run_transformed[-1])


def test_minimising_is_maximising_the_negative():
    start = np.zeros(7)
    up = CholeskyCMAES(7, init_code=start, random_seed=5)
    down = CholeskyCMAES(7, init_code=start, random_seed=5, maximize=False)
    codes = run(up, 12)[-1]
    np.testing.assert_array_equal(codes, run(down, 12, lambda codes: -bumpy(codes))[-1])


def test_equal_scores_keep_their_order(rng):
    """Ties are broken by position, not by the sorting algorithm of the machine."""
    first = rng.standard_normal((50, 4))
    optimizer = CholeskyCMAES(4, random_seed=0)
    optimizer.step_simple(np.zeros(50), first)
    weights = optimizer.weights
    np.testing.assert_allclose(optimizer.xmean, weights @ first[: len(weights)])


def test_cholesky_finds_the_top_of_a_ridge():
    """The covariance adapts: a ridge of condition 1000 is climbed to within 1e-6."""
    curvature = np.geomspace(1, 1000, 6)
    optimizer = CholeskyCMAES(
        6, init_sigma=0.5, init_code=np.full(6, 3.0), Aupdate_freq=1, random_seed=0
    )
    run(optimizer, 1500, lambda codes: -(curvature * codes**2).sum(axis=1))
    assert np.abs(optimizer.xmean).max() < 1e-6


def test_hessian_exploration_follows_the_eigenvalues(rng):
    """Generation 1 spreads by sigma · eigenvalue^(-expon) along each eigenvector, and no other."""
    eigvals, eigvects = np.array([100.0, 1.0, 0.01]), orthonormal(rng, 20, 3)
    optimizer = HessCMAES(
        20,
        4000,
        cutoff=3,
        init_sigma=0.5,
        init_code=np.zeros(20),
        random_seed=1,
        eigvals=eigvals,
        eigvects=eigvects,
        expon=0.25,
    )
    codes = optimizer.step_simple([0.0], optimizer.get_init_pop())
    spread = (codes @ eigvects).std(axis=0)
    np.testing.assert_allclose(spread, 0.5 * eigvals**-0.25, rtol=0.05)
    np.testing.assert_allclose(codes @ eigvects @ eigvects.T, codes, atol=1e-12)


def test_eigenpairs_may_come_in_any_order(rng):
    """Stored ascending or reversed, the largest ones are taken; the tail may be negative."""
    eigvals = np.array([-1e-9, 0.1, 3.0, 7.0])
    eigvects = orthonormal(rng, 4, 4)
    factors = []
    for order in (slice(None), slice(None, None, -1)):
        optimizer = HessCMAES(4, cutoff=2)
        optimizer.set_Hessian(eigvals[order], eigvects[:, order])
        factors.append(optimizer.A)
    np.testing.assert_array_equal(*factors)
    np.testing.assert_allclose(np.linalg.norm(factors[0], axis=1), [7**-0.4, 3**-0.4])


@pytest.mark.parametrize(
    ("eigvals", "eigvects", "message"),
    [
        ([2.0, 1.0, 0.0], np.eye(3), "eigenvalue 3 of the 3 largest is 0"),
        ([2.0, -1.0, 1.0], np.eye(3), "cutoff of at most 2"),
        ([2.0, np.nan, 1.0], np.eye(3), "NaN or infinite"),
        ([2.0, 1.0], np.eye(3)[:, :2], "at least 3 eigenvalues"),
        ([3.0, 2.0, 1.0], np.eye(4)[:, :3], "vectors of 3"),
        ([3.0, 2.0, 1.0], np.ones((3, 3)), "not orthonormal"),
        ([3.0, 2.0, 1.0], np.full((3, 3), np.nan), "not orthonormal"),
    ],
)
def test_unusable_eigenpairs_are_refused(eigvals, eigvects, message):
    with pytest.raises(UsageError, match=message):
        HessCMAES(3, eigvals=eigvals, eigvects=eigvects)


def test_hessian_comes_before_the_search_and_only_then():
    """Stepping, reading A or saving without one is refused; so is changing it on the way."""
    optimizer = HessCMAES(3, init_code=np.zeros(3), random_seed=0)
    for attempt in (
        lambda: optimizer.A,
        lambda: optimizer.Ainv,
        optimizer.state_dict,
        lambda: optimizer.step_simple([1.0], np.zeros((1, 3))),
    ):
        with pytest.raises(UsageError, match="call set_Hessian"):
            attempt()
    with pytest.raises(UsageError, match="cutoff is 2 here and 3"):
        optimizer.set_Hessian(np.ones(3), np.eye(3), cutoff=2)
    optimizer.set_Hessian(np.ones(3), np.eye(3), cutoff=3)
    optimizer.step_simple([1.0], np.zeros((1, 3)))
    with pytest.raises(UsageError, match="the search has begun"):
        optimizer.set_Hessian(np.ones(3), np.eye(3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"space_dimen": 0}, "space_dimen is 0"),
        ({"space_dimen": 2.5}, "whole number"),
        ({"population_size": 1}, "population_size is 1"),
        ({"init_sigma": 0}, "init_sigma is 0"),
        ({"init_sigma": float("nan")}, "init_sigma is nan"),
        ({"init_sigma": "big"}, "init_sigma is 'big'"),
        ({"init_code": np.zeros(5)}, "one code of 4"),
        ({"init_code": [0, 0, np.nan, 0]}, "NaN or infinite"),
        ({"Aupdate_freq": -1}, "Aupdate_freq is -1"),
        ({"Aupdate_freq": "often"}, "Aupdate_freq is 'often'"),
        ({"random_seed": -1}, "random_seed is -1"),
        ({"random_seed": "seed"}, "random_seed is 'seed'"),
        ({"optim_params": {"c2": 0.1}}, "unknown key of optim_params 'c2'"),
        ({"optim_params": {"cc": 1.0}}, "between 0 and 1"),
        ({"dtype": "int32"}, "float32 or float64"),
        ({"dtype": "fast"}, "float32 or float64"),
    ],
)
def test_unusable_arguments_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        CholeskyCMAES(**{"space_dimen": 4, **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cutoff": 5}, "only 4 dimensions"),
        ({"cutoff": 0}, "cutoff is 0"),
        ({"eigvals": np.ones(4)}, "come together"),
        ({"eigvals": np.ones(4), "eigvects": np.eye(4), "expon": -1}, "expon is -1"),
    ],
)
def test_unusable_hessian_arguments_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        HessCMAES(4, **arguments)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.data())
def test_rankweight_is_positive_decreasing_and_sums_to_one(lambda_, data):
    """For any population and any mu; beyond mu there is no weight."""
    mu = data.draw(st.none() | st.floats(1, lambda_))
    weights = rankweight(lambda_, mu)
    n_weighted = max(int(lambda_ / 2 if mu is None else mu), 1)
    assert weights.shape == (lambda_,)
    assert weights.sum() == pytest.approx(1)
    assert (np.diff(weights[:n_weighted]) < 0).all()
    assert (weights[:n_weighted] > 0).all()
    assert not weights[n_weighted:].any()


@pytest.mark.parametrize(
    ("lambda_", "mu", "message"),
    [
        (0, None, "lambda_ is 0"),
        (4, 5, "between 1 and 4"),
        (4, 0.5, "between 1 and 4"),
        (4, float("nan"), "between 1 and 4"),
    ],
)
def test_rankweight_refuses_impossible_populations(lambda_, mu, message):
    with pytest.raises(UsageError, match=message):
        rankweight(lambda_, mu)

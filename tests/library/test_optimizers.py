"""All optimisers behind one interface: labels, wrappers, sphere search, ask and tell, state."""

from __future__ import annotations

import doctest
import logging
from importlib import import_module

import numpy as np
import pytest

from core.errors import MalformedDataError, MissingDataError, UsageError
from core.utils.Optimizers import (
    CholeskyCMAES,
    HessCMAES,
    ZOHA_Sphere_lr_euclid,
    concat_wrapper,
    fix_param_wrapper,
    founder_wrapper,
    hessian_cutoff,
    label2optimizer,
    optimizer_from_state,
    optimizer_labels,
    rankweight,
    suggested_sigma,
)

START = np.linspace(-1, 1, 12)


def cholesky(seed=1, **arguments):
    return CholeskyCMAES(12, init_sigma=0.4, init_code=START, random_seed=seed, **arguments)


def dense_cholesky(seed=1):
    """Make one whose factor becomes dense within a few generations."""
    return CholeskyCMAES(4, init_sigma=0.4, init_code=START[:4], Aupdate_freq=0, random_seed=seed)


def hessian(seed=1):
    eigvects = np.linalg.qr(np.random.default_rng(0).standard_normal((12, 5)))[0]
    optimizer = HessCMAES(12, cutoff=5, init_sigma=0.4, init_code=START, random_seed=seed)
    optimizer.set_Hessian(np.geomspace(5, 0.1, 5), eigvects)
    return optimizer


def sphere(seed=1, **arguments):
    optimizer = ZOHA_Sphere_lr_euclid(
        12, population_size=10, select_size=5, sphere_norm=3, random_seed=seed, **arguments
    )
    optimizer.lr_schedule(n_gen=20, mode="exp")
    return optimizer


def side_by_side(seed=1):
    source = np.random.default_rng(seed)
    first = CholeskyCMAES(4, 9, 0.4, START[:4], random_seed=source)
    return concat_wrapper(first, CholeskyCMAES(8, 9, 0.2, START[4:], random_seed=source))


def partly_fixed(seed=1):
    free = CholeskyCMAES(8, init_sigma=0.4, init_code=START[:8], random_seed=seed)
    return fix_param_wrapper(free, START[8:], pre=False)


def with_founders(seed=1):
    founders = START + np.random.default_rng(7).standard_normal((9, 12))
    return founder_wrapper(CholeskyCMAES(12, init_sigma=0.4, random_seed=seed), founders)


MAKERS = [with_founders, cholesky, dense_cholesky, hessian, sphere, side_by_side, partly_fixed]
every_optimizer = pytest.mark.parametrize("make", MAKERS)


def score(codes):
    """Score by the distance from a point away from the start; highest there."""
    return -((codes - np.linspace(1, 2, codes.shape[1])) ** 2).sum(axis=1)


def advance(optimizer, codes, generations):
    for _ in range(generations):
        codes = optimizer.step_simple(score(codes), codes)
    return codes


@every_optimizer
def test_scores_rise(make):
    """Every optimiser does better after 100 generations than at the start."""
    optimizer = make()
    first = optimizer.get_init_pop()
    assert score(advance(optimizer, first, 100)).mean() > score(first).max() + 1


@every_optimizer
def test_ask_and_tell_is_step_simple(make):
    """Both ways of running give the same codes, bit for bit; asking twice changes nothing."""
    published, other = make(), make()
    codes = published.get_init_pop()
    for _ in range(8):
        asked = other.ask()
        np.testing.assert_array_equal(asked, codes)
        np.testing.assert_array_equal(asked, other.ask())
        assert other.n_asked == len(asked)
        other.tell(score(asked))
        codes = published.step_simple(score(codes), codes)


@every_optimizer
def test_no_array_changes_hands(make):
    """Read-only input is enough, and scribbling over output does not reach the optimiser."""
    plain, scribbled = make(), make()
    codes, other = plain.get_init_pop(), scribbled.get_init_pop()
    for _ in range(6):
        scores = score(codes)
        scores.setflags(write=False)
        given = codes.copy()
        given.setflags(write=False)
        codes = plain.step_simple(scores, given)
        handed_out = scribbled.step_simple(score(other), other)
        other = handed_out.copy()
        handed_out[:] = np.nan
    np.testing.assert_array_equal(codes, other)


def test_the_caller_s_init_code_keeps_its_shape_and_values():
    """The published class reshaped it in place; and a later change of it is no change of ours."""
    given = START.copy()
    optimizer = CholeskyCMAES(12, init_code=given)
    assert given.shape == (12,)
    given[:] = 99
    np.testing.assert_array_equal(optimizer.get_init_pop(), START[np.newaxis])


@every_optimizer
def test_codes_that_went_through_float32_change_nothing(make):
    """Generators work in float32; the run is that of float64 codes with the same scores."""
    exact, rounded = make(), make()
    codes, _ = exact.get_init_pop(), rounded.get_init_pop()
    for _ in range(8):
        scores = score(codes)
        following = exact.step_simple(scores, codes)
        np.testing.assert_array_equal(
            following, rounded.step_simple(scores.astype(np.float32), codes.astype(np.float32))
        )
        codes = following


def test_float32_codes_on_request():
    """`dtype` is the type of what is returned; the search is the same."""
    for make in (cholesky, sphere):
        single, double = make(dtype=np.float32), make()
        codes = double.get_init_pop()
        assert single.get_init_pop().dtype == np.float32
        following = single.step_simple(score(codes), codes)
        assert following.dtype == np.float32
        expected = double.step_simple(score(codes), codes).astype(np.float32)
        np.testing.assert_array_equal(following, expected)


@every_optimizer
@pytest.mark.parametrize("generation", [0, 1, 9])
def test_a_resumed_run_is_the_uninterrupted_run(make, generation, tmp_path):
    """Saved to a file, read by a new optimiser with another seed: equal codes, bit for bit."""
    uninterrupted = make()
    codes = advance(uninterrupted, uninterrupted.get_init_pop(), generation)
    uninterrupted.save_state(tmp_path / "run.npz")
    resumed = make(seed=99)
    resumed.load_state(tmp_path / "run.npz")
    np.testing.assert_array_equal(resumed.ask(), codes)
    for _ in range(12):
        following = uninterrupted.step_simple(score(codes), codes)
        np.testing.assert_array_equal(resumed.step_simple(score(codes), codes), following)
        codes = following


@every_optimizer
def test_a_state_is_arrays_numbers_and_strings_of_its_own(make):
    """It holds nothing that needs a pickle, and later generations do not reach into it."""
    optimizer = make()
    codes = advance(optimizer, optimizer.get_init_pop(), 7)
    state = optimizer.state_dict()
    assert {type(value) for value in state.values()} <= {np.ndarray, int, float, str}
    following = advance(optimizer, codes, 5)
    resumed = make(seed=99)
    resumed.load_state_dict(state)
    np.testing.assert_array_equal(advance(resumed, codes, 5), following)
    resumed.load_state_dict(state)
    np.testing.assert_array_equal(advance(resumed, codes, 5), following)


def test_a_sphere_search_takes_the_saved_schedule_over():
    """The schedule is part of the state, as it may have been set at any time."""
    state, other = sphere().state_dict(), sphere()
    other.lr_schedule(n_gen=3, mode="lin")
    other.load_state_dict(state)
    np.testing.assert_array_equal(other.mulist, state["mulist"])


@pytest.mark.parametrize(
    "make_source",
    [
        np.random.RandomState,
        *(
            lambda seed, kind=kind: np.random.Generator(kind(seed))
            for kind in (np.random.MT19937, np.random.Philox, np.random.SFC64, np.random.PCG64DXSM)
        ),
    ],
)
def test_every_kind_of_generator_can_be_resumed(make_source):
    """Also RandomState with half of a pair of normals drawn; the generator given is set."""
    source = make_source(5)
    source.standard_normal()
    optimizer = cholesky(seed=source)
    codes = advance(optimizer, optimizer.get_init_pop(), 3)
    state = optimizer.state_dict()
    following = advance(optimizer, codes, 3)
    other_source = make_source(6)
    resumed = cholesky(seed=other_source)
    resumed.load_state_dict(state)
    np.testing.assert_array_equal(advance(resumed, codes, 3), following)
    assert source.standard_normal() == other_source.standard_normal()


def test_a_state_stays_small():
    """After 100 generations at N = 4096 under 4 MB; two dense factors would take 268 MB."""
    optimizer = CholeskyCMAES(4096, init_code=np.zeros(4096), random_seed=0)
    advance(optimizer, optimizer.get_init_pop(), 100)
    assert sum(np.asarray(value).nbytes for value in optimizer.state_dict().values()) < 4e6


def test_settings_may_be_numpy_numbers():
    """A state is the same whether numbers came as Python's or numpy's."""
    state = cholesky(Aupdate_freq=np.int64(10), population_size=np.int32(14)).state_dict()
    cholesky().load_state_dict(state)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: CholeskyCMAES(13), "space_dimen was 12 and is 13"),
        (lambda: cholesky(maximize=False), "maximize was True and is False"),
        (lambda: cholesky(Aupdate_freq=3), "Aupdate_freq was 10.0 and is 3.0"),
        (lambda: CholeskyCMAES(12, init_sigma=0.4), "init_code was"),
        (hessian, "optimizer was 'CholeskyCMAES' and is 'HessCMAES'"),
        (sphere, "optimizer was 'CholeskyCMAES' and is 'ZOHA_Sphere_lr_euclid'"),
        (lambda: cholesky(seed=np.random.RandomState(0)), r"pass such a generator as random_seed"),
    ],
)
def test_a_state_of_another_optimiser_is_refused(other, message):
    with pytest.raises(UsageError, match=message):
        other().load_state_dict(cholesky().state_dict())


def test_a_state_along_another_hessian_is_refused():
    optimizer = hessian()
    state = optimizer.state_dict()
    optimizer.set_Hessian(np.geomspace(5, 0.2, 5), np.eye(12)[:, :5], expon=0.2)
    with pytest.raises(UsageError, match=r"expon was 0\.4 and is 0\.2; hessian was"):
        optimizer.load_state_dict(state)


def test_a_state_with_another_fixed_block_is_refused():
    other = fix_param_wrapper(partly_fixed().optimizer, np.zeros(4), pre=False)
    with pytest.raises(UsageError, match="another fixed_code"):
        other.load_state_dict(partly_fixed().state_dict())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mean": None}, "no entry 'mean'"),
        ({"mean": np.zeros(5)}, r"'mean' .* shape \(5,\)"),
        ({"drawn_from": "{}"}, "random state of the saved optimiser is unreadable"),
        ({"A.left": np.zeros((2, 7))}, "'A.left'"),
        ({"sigma": "big"}, "'sigma'"),
        ({"settings": "{"}, "settings of the saved optimiser are unreadable"),
        ({"random": "{}"}, "random state of the saved optimiser is unreadable"),
    ],
)
def test_a_damaged_state_is_refused_and_changes_nothing(changes, message):
    optimizer = cholesky()
    codes = advance(optimizer, optimizer.get_init_pop(), 5)
    state = {**optimizer.state_dict(), **changes}
    state = {key: value for key, value in state.items() if value is not None}
    with pytest.raises(MalformedDataError, match=message):
        optimizer.load_state_dict(state)
    np.testing.assert_array_equal(optimizer.ask(), codes)


@pytest.mark.parametrize("counter", [np.inf, np.nan, 1e300, 0.5, -7.0])
@pytest.mark.parametrize("column", [0, 1])
def test_counters_of_a_history_are_whole_numbers(counter, column):
    optimizer = cholesky()
    advance(optimizer, optimizer.get_init_pop(), 3)
    state = optimizer.state_dict()
    state["history"] = state["history"].copy()
    state["history"][1, column] = counter
    with pytest.raises(MalformedDataError, match="'history' of the saved optimiser holds"):
        cholesky().load_state_dict(state)


@pytest.mark.parametrize("make", [np.random.default_rng, np.random.RandomState])
def test_a_state_holds_where_a_population_was_drawn_from_instead_of_the_population(make):
    """It is smaller than the normals of one; the generator stands where it stood all the same."""
    one, other = (CholeskyCMAES(500, init_code=np.zeros(500), random_seed=make(4)) for _ in "ab")
    advance(one, one.get_init_pop(), 3)
    state = one.state_dict()
    assert sum(np.asarray(value).nbytes for value in state.values()) < one.lambda_ * 500 * 8
    other.load_state_dict(state)
    np.testing.assert_array_equal(other.ask(), one.ask())
    assert other._random.standard_normal() == one._random.standard_normal()


def test_files_that_are_no_saved_optimiser_are_refused(tmp_path):
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "pickled.npz", settings=np.array([{}], dtype=object))
    with pytest.raises(MissingDataError, match="no saved optimiser at"):
        cholesky().load_state(tmp_path / "none.npz")
    for name in ("text.npz", "pickled.npz"):
        with pytest.raises(MalformedDataError, match=name):
            cholesky().load_state(tmp_path / name)


@every_optimizer
@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (lambda codes: score(codes)[:-1], "one score per code"),
        (lambda codes: score(codes)[:, np.newaxis], "one score per code"),
        (lambda codes: np.where(np.arange(len(codes)) == 2, np.inf, 1), "1 .* infinite.* index 2"),
        (lambda codes: ["3.5"] * len(codes), "real numbers"),
        (lambda codes: score(codes) + 1j, "real numbers"),
        (lambda codes: [["3.5", None][i % 2] for i in range(len(codes))], "real numbers"),
        (lambda codes: [[1.0]] + [[1.0, 2.0]] * (len(codes) - 1), "not an array of numbers"),
        (lambda codes: np.full(len(codes), np.nan), "0 of the .* Show it again"),
        (lambda codes: np.where(np.arange(len(codes)) == 1, 1, np.nan), "1 of the .* were shown"),
    ],
)
def test_unusable_scores_are_refused_and_change_nothing(make, scores, message):
    optimizer = make()
    codes = advance(optimizer, optimizer.get_init_pop(), 2)
    for attempt in (optimizer.tell, lambda given: optimizer.step_simple(given, codes)):
        with pytest.raises(UsageError, match=message):
            attempt(scores(codes))
    np.testing.assert_array_equal(optimizer.ask(), codes)


@every_optimizer
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda codes: codes[:, :-1], "codes are float64 of shape"),
        (lambda codes: codes[0], "codes are float64 of shape"),
        (lambda codes: codes.astype(str), "codes are <U"),
        (lambda codes: [[1.0], [1.0, 2.0]], "not an array of numbers"),
        (lambda codes: codes[::-1], "score|as they were"),
        (lambda codes: codes[:-1] + 1e-3, "as they were"),
        (lambda codes: codes[-2::-1], "as they were"),
        (lambda codes: codes + 1e-3, "as they were"),
        (lambda codes: np.where(codes == codes[1, 1], np.nan, codes), "as they were"),
    ],
)
def test_codes_that_were_not_asked_for_are_refused_and_change_nothing(make, change, message):
    """A row is matched with the normals that made it, so they come in their order."""
    optimizer = make()
    codes = advance(optimizer, optimizer.get_init_pop(), 2)
    given = change(codes)
    with pytest.raises(UsageError, match=message):
        optimizer.step_simple(np.arange(float(len(given))), given)
    np.testing.assert_array_equal(optimizer.ask(), codes)


@every_optimizer
def test_rows_that_are_missing_and_scores_that_are_nan_mean_the_same(make):
    """A fixation break: eleven of twelve images were seen."""
    with_nan, with_rows, with_none = make(), make(), make()
    for optimizer in (with_nan, with_rows, with_none):
        codes = advance(optimizer, optimizer.get_init_pop(), 3)
    scores = score(codes)
    lost = scores.copy()
    lost[[1, len(scores) - 1]] = np.nan
    kept = np.delete(np.arange(len(codes)), [1, len(codes) - 1])
    first = with_nan.step_simple(lost, codes)
    second = with_rows.step_simple(scores[kept], codes[kept].astype(np.float32))
    with_none.tell([None if np.isnan(s) else s for s in lost])
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, with_none.ask())
    assert with_nan.history[-1].n_lost == 2


def test_founders_make_the_first_mean(rng):
    """The weighted mean of the best half of them, whatever the population is later."""
    optimizer = with_founders()
    scores = score(optimizer.ask())
    best = np.argsort(-scores)[:7]
    weights = np.log(7.5) - np.log(np.arange(1, 8))
    optimizer.tell(scores)
    expected = (weights / weights.sum()) @ optimizer.founders[best]
    np.testing.assert_allclose(optimizer.optimizer.xmean, expected)
    with pytest.raises(UsageError, match="without init_code"):
        founder_wrapper(cholesky(), np.zeros((4, 12)))


def test_a_lost_code_counts_for_nothing_in_the_sphere_search():
    """Whatever its place, the others are weighed as if it had never been asked for."""
    optimizer = sphere()
    codes = advance(optimizer, optimizer.get_init_pop(), 2)
    scores = score(codes)
    scores[4] = np.nan
    optimizer.tell(scores)
    shown = [i for i in range(1, len(codes)) if i != 4]
    best = sorted(shown, key=lambda i: -scores[i])[:5]
    weights = np.log(5.5) - np.log(np.arange(1, 6))
    mean = (weights / weights.sum()) @ codes[best]
    target = 3 * mean / np.linalg.norm(mean)
    angle = np.arccos(codes[0] @ target / 9)
    expected = (np.sin(-0.5 * angle) * codes[0] + np.sin(1.5 * angle) * target) / np.sin(angle)
    np.testing.assert_allclose(optimizer.ask()[0], expected, atol=1e-9)


def test_a_sphere_search_by_differences_needs_its_basis():
    optimizer = sphere(rankweight=False)
    codes = advance(optimizer, optimizer.get_init_pop(), 2)
    with pytest.raises(UsageError, match=r"basis code .* was not shown"):
        optimizer.tell(np.where(np.arange(len(codes)) == 0, np.nan, score(codes)))
    lost = np.where(np.arange(len(codes)) == 3, np.nan, score(codes))
    optimizer.tell(lost)
    assert np.isfinite(optimizer.ask()).all()


@every_optimizer
def test_a_state_alone_makes_the_optimiser_again(make, tmp_path):
    """No argument of the constructor is needed; the codes go on bit for bit."""
    optimizer = make()
    codes = advance(optimizer, optimizer.get_init_pop(), 5)
    optimizer.save_state(tmp_path / "state.npz")
    restored = optimizer_from_state(tmp_path / "state.npz")
    np.testing.assert_array_equal(restored.ask(), codes)
    np.testing.assert_array_equal(advance(restored, codes, 12), advance(optimizer, codes, 12))
    assert str(restored.history) == str(optimizer.history)
    assert restored.best.score == optimizer.best.score


def test_a_state_without_its_hessian_is_not_whole():
    optimizer = hessian()
    advance(optimizer, optimizer.get_init_pop(), 2)
    with pytest.raises(MalformedDataError, match="eigvals"):
        optimizer_from_state(optimizer.state_dict())


@pytest.mark.parametrize("maximize", [True, False])
@pytest.mark.parametrize("make", [cholesky, sphere])
def test_history_and_best_follow_the_direction(make, maximize):
    optimizer = make(maximize=maximize)
    codes, seen = optimizer.get_init_pop(), []
    for _ in range(6):
        scores = score(codes)
        seen += [(s, tuple(code)) for s, code in zip(scores, codes, strict=True)]
        codes = optimizer.step_simple(scores, codes)
        assert optimizer.history[-1].mean == pytest.approx(scores.mean())
        assert optimizer.history[-1].best == (scores.max() if maximize else scores.min())
    best = (max if maximize else min)(seen)
    assert optimizer.best.score == best[0]
    assert tuple(optimizer.best.code) == best[1]
    assert len(optimizer.history) == 6


def test_the_share_of_the_trace_decides_how_many_eigenvectors_are_searched():
    eigvals = [0.0, 90.0, -1e-9, 9.0, 1.0]
    shares = (0.5, 0.9, 0.95, 0.99, 1.0)
    assert [hessian_cutoff(eigvals, share) for share in shares] == [1, 1, 2, 2, 3]
    with pytest.raises(UsageError, match="0 of 2 eigenvalues are positive"):
        hessian_cutoff([0.0, -1.0])


def test_the_suggested_sigma_makes_a_step_half_a_code_long(rng):
    """Measured on 4,000 codes of generation 1, eigenvalues over four decades."""
    eigvals = np.geomspace(1e2, 1e-2, 6)
    eigvects = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    sigma = suggested_sigma(eigvals, code_norm=10.0, cutoff=5)
    optimizer = HessCMAES(6, 4000, 5, sigma, np.zeros(6), random_seed=1)
    optimizer.set_Hessian(eigvals, eigvects)
    optimizer.tell([0.0])
    assert np.sqrt((optimizer.ask() ** 2).sum(1).mean()) == pytest.approx(5.0, rel=0.05)


@pytest.mark.parametrize(
    "label", ["CholCMA", "CholCMA_noA", "CholCMA_standard", "Sphere", "HessCMA", "HessCMA3"]
)
def test_labels_fit_a_generator_of_any_length(label, rng):
    """A label asks for codes of the generator's length, at its usual size."""

    class Eight:
        codelen = 8

        def sample_vector(self, n, seed=None):
            import torch

            return torch.from_numpy(3 * np.random.default_rng(seed).standard_normal((n, 8)))

    eigvects = np.linalg.qr(rng.standard_normal((8, 8)))[0]
    pairs = {"eigvals": np.geomspace(5, 0.1, 8), "eigvects": eigvects}
    optimizer = label2optimizer(label, np.zeros(8), Eight(), pairs, random_seed=0)
    optimizer.tell(np.arange(float(optimizer.n_asked)))
    assert optimizer.ask().shape[1] == 8
    assert 0.5 < np.sqrt((optimizer.ask() ** 2).mean()) < 4
    assert label.rstrip("3") in optimizer_labels(Eight())
    with pytest.raises(UsageError, match=r"label 'CholCMAX'\. Did you mean 'CholCMA'"):
        label2optimizer("CholCMAX", np.zeros(8), Eight())


@every_optimizer
def test_a_silent_unit_is_told_of_once_and_is_a_reason_to_stop(make, caplog):
    optimizer = make()
    codes = advance(optimizer, optimizer.get_init_pop(), 2)
    assert "flat" not in optimizer.stop_reasons()
    for _ in range(12):
        codes = optimizer.step_simple(np.zeros(len(codes)), codes)
    assert "in the last 12 generations" in optimizer.stop_reasons()["flat"]
    assert [m for m in caplog.messages if "all scores were equal in 10" in m]
    assert len(caplog.messages) == 1


def test_a_search_that_has_converged_says_so():
    optimizer = CholeskyCMAES(2, 6, 1.0, np.ones(2), Aupdate_freq=0, random_seed=2)
    codes = optimizer.get_init_pop()
    for _ in range(400):
        codes = optimizer.step_simple(-(codes**2).sum(1), codes)
    assert "sigma fell" in optimizer.stop_reasons()["converged"]


def test_the_standard_schedule_solves_what_the_published_one_does_not():
    """Rosenbrock's function in 6 dimensions, 600 generations, all four seeds."""

    def rosenbrock(x):
        return (100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2).sum(1)

    def last(seed, schedule):
        optimizer = CholeskyCMAES(6, 10, 0.5, np.zeros(6), schedule, False, seed)
        for _ in range(600):
            optimizer.tell(rosenbrock(optimizer.ask()))
        return optimizer.best.score

    assert max(last(seed, 0) for seed in range(4)) < 1e-8
    assert min(last(seed, 10) for seed in range(4)) > 1e-5


def test_truth_values_are_no_seed():
    with pytest.raises(UsageError, match="random_seed is True"):
        cholesky(seed=True)


def test_generation_0_needs_a_start():
    """Without init_code the first codes are the caller's, and must be finite."""
    optimizer = CholeskyCMAES(3)
    for attempt in (optimizer.get_init_pop, optimizer.ask, lambda: optimizer.tell([1.0])):
        with pytest.raises(UsageError, match="no init_code"):
            attempt()
    with pytest.raises(UsageError, match="NaN or infinite"):
        optimizer.step_simple([1.0], [[1.0, np.nan, 0.0]])


def test_one_line_a_generation_goes_to_the_log_unless_verbosity_is_0(caplog):
    optimizer = cholesky()
    with caplog.at_level(logging.INFO, logger="core.utils.optimizers.ask_tell"):
        codes = optimizer.step_simple([2.5], optimizer.get_init_pop())
        optimizer.step_simple(score(codes), codes, verbosity=0)
    assert caplog.messages == ["CholeskyCMAES: score 2.5 ± 0, best 2.5; generation 0, sigma 0.4"]


@pytest.mark.parametrize("name", ["Optimizers", "optimizers.cma", "optimizers.rank_weights"])
def test_examples_in_the_documentation_hold(name):
    failed, attempted = doctest.testmod(import_module(f"core.utils.{name}"))
    assert attempted
    assert not failed


def test_optimisers_need_no_torch(bare):
    code = "import sys; from core.utils import CholeskyCMAES; sys.exit('torch' in sys.modules)"
    assert bare.run(code).returncode == 0


# The table of labels: (generator, label) → blocks of dimensions, step sizes, populations.
LABELS = {
    ("BigGAN", "CholCMA"): [(slice(0, 256), 0.2, 28)],
    ("BigGAN", "CholCMA_noA"): [(slice(0, 256), 0.2, 28)],
    ("BigGAN", "CholCMA_class"): [(slice(128, 256), 0.06, 25)],
    ("BigGAN", "CholCMA_noise"): [(slice(0, 128), 0.3, 25)],
    ("BigGAN", "CholCMA_prod"): [(slice(0, 128), 0.1, 25), (slice(128, 256), 0.06, 25)],
    ("BigGAN", "HessCMA"): [(slice(0, 256), 0.2, 28)],
    ("BigGAN", "HessCMA_noA"): [(slice(0, 256), 0.2, 28)],
    ("BigGAN", "HessCMA_class"): [(slice(128, 256), 0.2, 25)],
    ("fc6", "CholCMA"): [(slice(0, 4096), 3.0, 40)],
    ("fc6", "CholCMA_noA"): [(slice(0, 4096), 3.0, 40)],
    ("fc6", "HessCMA800"): [(slice(0, 4096), 0.8, 32)],
    ("fc6", "HessCMA500"): [(slice(0, 4096), 0.8, 30)],
    ("fc6", "HessCMA500_1"): [(slice(0, 4096), 0.4, 30)],
}
EXPONENTS = {"HessCMA800": 1 / 5, "HessCMA500": 1 / 5, "HessCMA500_1": 1 / 4}


@pytest.fixture(scope="module")
def published_hessians():
    """Eigenpairs under their published names, ascending; axis-aligned, so exploration is plain."""
    return {
        "BigGAN": {
            "eigvals_avg": np.geomspace(1e-3, 10, 256),
            "eigvects_avg": np.eye(256),
            "eigvals_clas_avg": np.geomspace(1e-3, 10, 128),
            "eigvects_clas_avg": np.eye(128),
        },
        "fc6": {
            "eigv_avg": np.concatenate([np.full(4096 - 900, -1e-6), np.geomspace(1e-3, 10, 900)]),
            "eigvect_avg": np.eye(4096, dtype=np.float32),
        },
    }


def parts_of(optimizer):
    if isinstance(optimizer, concat_wrapper):
        return [optimizer.first, optimizer.second]
    return [optimizer.optimizer if isinstance(optimizer, fix_param_wrapper) else optimizer]


def test_the_labels_are_those_of_the_paper_and_two_more():
    for gan in ("BigGAN", "fc6"):
        published = tuple(label for of_gan, label in LABELS if of_gan == gan)
        assert optimizer_labels(gan) == (*published, "CholCMA_standard", "Sphere")


@pytest.mark.parametrize(("gan", "label"), LABELS)
def test_labels_make_the_optimisers_of_the_paper(gan, label, published_hessians, rng):
    """Class, dimensions, step size, population, frequency; the other dimensions stay."""
    start = rng.standard_normal((1, 256 if gan == "BigGAN" else 4096))
    optimizer = label2optimizer(label, start, gan, published_hessians[gan], random_seed=0)
    codes = optimizer.step_simple([0.0], optimizer.get_init_pop())
    fixed = np.ones(start.shape[1], dtype=bool)
    expected = LABELS[gan, label]
    for part, (block, sigma, population) in zip(parts_of(optimizer), expected, strict=True):
        assert isinstance(part, HessCMAES if label.startswith("Hess") else CholeskyCMAES)
        assert part.sigma == sigma
        assert part.lambda_ == population
        frequency = 102 if label.endswith("_noA") else 10
        assert part.constants.update_crit == frequency * population
        np.testing.assert_array_equal(part.init_code, start[0, block])
        fixed[block] = False
    assert codes.shape == (expected[0][2], start.shape[1])
    assert (codes[:, fixed] == start[:, fixed]).all()


@pytest.mark.parametrize("label", ["HessCMA800", "HessCMA500", "HessCMA500_1"])
def test_fc6_hessian_labels_use_the_largest_eigenvalues(label, published_hessians, rng):
    """The last columns of the ascending file, with the exponent of the label."""
    optimizer = label2optimizer(
        label, np.zeros(4096), "fc6", published_hessians["fc6"], random_seed=0
    )
    cutoff = 500 if "500" in label else 800
    scales = published_hessians["fc6"]["eigv_avg"][::-1][:cutoff] ** -EXPONENTS[label]
    expected = np.zeros(4096)
    expected[::-1][:cutoff] = scales
    np.testing.assert_allclose(np.abs(optimizer.A).sum(axis=0), expected)


def test_biggan_hessian_labels_use_their_own_eigenpairs(published_hessians):
    for label, eigvals in (("HessCMA", "eigvals_avg"), ("HessCMA_class", "eigvals_clas_avg")):
        optimizer = label2optimizer(label, np.zeros(256), hessian=published_hessians["BigGAN"])
        scales = published_hessians["BigGAN"][eigvals][::-1] ** (-1 / 2.5)
        part = parts_of(optimizer)[0]
        np.testing.assert_allclose(np.linalg.norm(part.A, axis=1), scales)


def test_no_covariance_update_falls_into_100_generations_of_noA(rng):
    optimizer = label2optimizer("CholCMA_noA", np.zeros(256), random_seed=0)
    advance(optimizer, optimizer.get_init_pop(), 100)
    np.testing.assert_array_equal(optimizer.A, np.eye(256))


def test_the_product_label_searches_both_blocks_independently():
    """The blocks have different normals, and the run is a function of one seed."""
    runs = []
    for _ in range(2):
        optimizer = label2optimizer("CholCMA_prod", np.zeros(256), random_seed=4)
        runs.append(advance(optimizer, optimizer.get_init_pop(), 5))
    np.testing.assert_array_equal(*runs)
    noise, class_ = runs[0][:, :128], runs[0][:, 128:]
    assert abs(np.corrcoef(noise.ravel(), class_.ravel())[0, 1]) < 0.1


def test_a_hessian_may_be_a_file(tmp_path, published_hessians):
    arrays = published_hessians["BigGAN"]
    np.savez(tmp_path / "H_avg_1000cls.npz", H_avg=np.zeros((2, 2)), **arrays)
    from_file, from_mapping = (
        label2optimizer("HessCMA", np.zeros(256), hessian=source, random_seed=0)
        for source in (tmp_path / "H_avg_1000cls.npz", arrays)
    )
    np.testing.assert_array_equal(from_file.A, from_mapping.A)


def test_label2optimizer_passes_direction_and_dtype_on():
    optimizer = label2optimizer("CholCMA_prod", np.zeros(256), maximize=False, dtype=np.float32)
    assert not optimizer.maximize
    assert optimizer.get_init_pop().dtype == np.float32


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"label": "CholCma"}, UsageError, "Did you mean 'CholCMA"),
        ({"label": "HessCMA500"}, UsageError, "optimiser label for BigGAN"),
        ({"GAN": "StyleGAN"}, UsageError, "unknown generator 'StyleGAN'"),
        ({"init_code": np.zeros(4096)}, UsageError, "one code of 256"),
        ({"label": "HessCMA"}, UsageError, "needs hessian=.*eigvals_avg and eigvects_avg"),
        (
            {"label": "HessCMA", "hessian": {"eigvals": 1}},
            UsageError,
            "unknown entry 'eigvals_avg'",
        ),
        ({"label": "HessCMA", "hessian": "nowhere.npz"}, MissingDataError, "no Hessian at nowhere"),
        ({"label": "HessCMA", "hessian": __file__}, MalformedDataError, "no .npz file of arrays"),
    ],
)
def test_label2optimizer_refuses_what_it_cannot_make(arguments, error, message):
    with pytest.raises(error, match=message):
        label2optimizer(**{"label": "CholCMA", "init_code": np.zeros(256), **arguments})


def test_parts_of_a_concatenation_must_fit():
    up, down = CholeskyCMAES(3), CholeskyCMAES(3, maximize=False)
    with pytest.raises(UsageError, match="one direction"):
        concat_wrapper(up, down)
    parts = [CholeskyCMAES(3, size, init_code=np.zeros(3)) for size in (5, 6)]
    uneven = concat_wrapper(*parts)
    with pytest.raises(UsageError, match="5 and 6 codes a generation"):
        uneven.step_simple([1.0], uneven.get_init_pop())


def test_a_concatenation_is_its_parts(rng):
    """Each part sees its own block of the codes and all of the scores."""
    whole = side_by_side()
    source = np.random.default_rng(1)
    first = CholeskyCMAES(4, 9, 0.4, START[:4], random_seed=source)
    second = CholeskyCMAES(8, 9, 0.2, START[4:], random_seed=source)
    codes = whole.get_init_pop()
    for _ in range(15):
        scores = score(codes)
        expected = [
            first.step_simple(scores, codes[:, :4]),
            second.step_simple(scores, codes[:, 4:]),
        ]
        codes = whole.step_simple(scores, codes)
        np.testing.assert_array_equal(codes, np.hstack(expected))


@pytest.mark.parametrize("pre", [True, False])
def test_a_fixed_block_stays_in_its_place(pre):
    free = CholeskyCMAES(2, init_code=np.zeros(2), random_seed=0)
    optimizer = fix_param_wrapper(free, [[7.0, 8.0, 9.0]], pre=pre)
    codes = advance(optimizer, optimizer.get_init_pop(), 3)
    assert codes.shape == (free.lambda_, 5)
    np.testing.assert_array_equal(codes[:, :3] if pre else codes[:, 2:], [[7, 8, 9]] * len(codes))
    moved = codes + 1e-3 * (codes == 8)
    with pytest.raises(UsageError, match="fixed block"):
        optimizer.step_simple(score(codes), moved)


def test_the_schedules_of_exploration_are_those_of_the_paper():
    """Angles in radians per coordinate: degrees · π / 180 / sqrt(N)."""
    optimizer = ZOHA_Sphere_lr_euclid(16)
    degrees = {}
    for mode in ("inv", "lin", "exp"):
        optimizer.lr_schedule(n_gen=100, mode=mode)
        degrees[mode] = optimizer.mulist * 180 / np.pi * 4
    np.testing.assert_allclose(degrees["inv"][0], 15 + 1 / 0.0163)
    np.testing.assert_allclose(degrees["inv"][99], 15 + 1 / 0.1846)
    np.testing.assert_allclose(degrees["lin"], np.linspace(50, 7.33, 100))
    np.testing.assert_allclose(np.diff(np.log(degrees["exp"])), np.log(7.33 / 50) / 99)


def test_sphere_search_follows_its_equations(rng):
    """Two steps by hand: weighted mean, then 1.5 times the angle to the mean, basis excluded."""
    optimizer = sphere()
    first = optimizer.get_init_pop()
    random = np.random.default_rng(1)
    drawn = random.standard_normal((10, 12))
    np.testing.assert_allclose(first, 3 * drawn / np.linalg.norm(drawn, axis=1, keepdims=True))

    mean = rankweight(10) @ first[np.argsort(-score(first))]
    basis = 3 * mean / np.linalg.norm(mean)
    second = optimizer.step_simple(score(first), first)
    angle = optimizer.mulist[0]
    for row, normals in zip(second[1:], random.standard_normal((10, 12)), strict=True):
        tangent = angle * (normals - normals @ basis / 9 * basis)
        length = np.linalg.norm(tangent)
        expected = np.cos(length) * basis + 3 * np.sin(length) * tangent / length
        np.testing.assert_allclose(row, expected, atol=1e-12)
    np.testing.assert_allclose(second[0], basis)

    scores = score(second)
    mean = rankweight(10, 5) @ second[1:][np.argsort(-scores[1:])]
    mean *= 3 / np.linalg.norm(mean)
    turn = np.arccos(mean @ basis / 9)
    expected = (np.sin(-0.5 * turn) * basis + np.sin(1.5 * turn) * mean) / np.sin(turn)
    third = optimizer.step_simple(scores, second)
    np.testing.assert_allclose(third[0], expected, atol=1e-12)
    np.testing.assert_allclose(optimizer.xcur, basis)
    np.testing.assert_allclose(optimizer.xnew, expected)


def test_sphere_search_never_leaves_the_sphere_and_its_angles_follow_the_schedule():
    """All norms are `sphere_norm`; angles from the basis scatter around the schedule's."""
    optimizer = ZOHA_Sphere_lr_euclid(400, sphere_norm=300, random_seed=0)
    optimizer.lr_schedule(n_gen=3, mode="lin", lim=(50, 10))
    codes = optimizer.get_init_pop()
    for degrees in (50, 30, 10, 10, 10):
        codes = optimizer.step_simple(score(codes), codes)
        assert codes.shape == (41, 400)
        np.testing.assert_allclose(np.linalg.norm(codes, axis=1), 300)
        angles = np.degrees(np.arccos(codes[1:] @ codes[0] / 300**2))
        assert angles.mean() == pytest.approx(degrees, rel=0.03)


@pytest.mark.parametrize("maximize", [True, False])
def test_sphere_weights_by_score_difference(maximize):
    """Without ranks a code weighs (its score - that of the basis) / population."""
    optimizer = sphere(rankweight=False, maximize=maximize)
    first = optimizer.get_init_pop()
    told = np.arange(10.0)[::-1] ** 2
    second = optimizer.step_simple(told, first)
    sum_of_gains = (1 if maximize else -1) * (told - told[0]) @ first  # also in the first step
    np.testing.assert_allclose(
        second[0], 3 * sum_of_gains / np.linalg.norm(sum_of_gains), atol=1e-12
    )
    gains = (1 if maximize else -1) * np.arange(11.0) / 10
    target = gains @ second
    target *= 3 / np.linalg.norm(target)
    turn = np.arccos(target @ second[0] / 9)
    expected = (np.sin(-0.5 * turn) * second[0] + np.sin(1.5 * turn) * target) / np.sin(turn)
    third = optimizer.step_simple(np.arange(11.0), second)
    np.testing.assert_allclose(third[0], expected, atol=1e-12)
    fourth = optimizer.step_simple(np.ones(11), third)
    np.testing.assert_allclose(fourth[0], third[0], atol=1e-12)


def test_sphere_ranks_the_basis_on_request():
    """With rankbasis a basis that is the best code keeps a weight; lr 1 goes to the mean."""
    optimizer = sphere(rankbasis=True, lr=1)
    first = optimizer.get_init_pop()
    second = optimizer.step_simple(score(first), first)
    scores = -np.arange(11.0)
    mean = rankweight(11, 5) @ second
    third = optimizer.step_simple(scores, second)
    np.testing.assert_allclose(third[0], 3 * mean / np.linalg.norm(mean))


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda: ZOHA_Sphere_lr_euclid(1), "space_dimen is 1"),
        (lambda: ZOHA_Sphere_lr_euclid(5, population_size=0), "population_size is 0"),
        (lambda: ZOHA_Sphere_lr_euclid(5, select_size=41), "only 40 codes"),
        (lambda: ZOHA_Sphere_lr_euclid(5, lr=0), "lr is 0"),
        (lambda: ZOHA_Sphere_lr_euclid(5, sphere_norm=-1), "sphere_norm is -1"),
        (lambda: sphere().lr_schedule(mode="cos"), "unknown mode of lr_schedule 'cos'"),
        (lambda: sphere().lr_schedule(mode="exp", lim=(50, 0)), "lim is 0"),
        (lambda: sphere().lr_schedule(n_gen=0), "n_gen is 0"),
        (lambda: ZOHA_Sphere_lr_euclid(2).step_simple([1.0], [[1.0, 0.0]]), r"lr_schedule\(\)"),
        (lambda: ZOHA_Sphere_lr_euclid(2).state_dict(), r"lr_schedule\(\)"),
        (lambda: sphere().step_simple([1.0], np.zeros((1, 12))), "all zero"),
        (lambda: sphere().step_simple([1.0], np.full((1, 12), np.inf)), "NaN or infinite"),
    ],
)
def test_unusable_sphere_arguments_are_refused(attempt, message):
    with pytest.raises(UsageError, match=message):
        attempt()


def test_sphere_hands_out_its_first_codes_once_begun_no_more():
    optimizer = sphere()
    np.testing.assert_array_equal(optimizer.get_init_pop(), optimizer.get_init_pop())
    advance(optimizer, optimizer.get_init_pop(), 1)
    with pytest.raises(UsageError, match="the search has begun"):
        optimizer.get_init_pop()

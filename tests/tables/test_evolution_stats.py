"""Statistics of one paired evolution against plain loops, scipy and printed numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from core.errors import MalformedDataError, MissingDataError, UsageError
from core.spaces import Space
from core.utils.statistics.t_tests import student
from neuro_data_analysis.evolution import population as populations
from neuro_data_analysis.evolution.population import (
    Population,
    collect,
    credible_interval,
    success_rate_table,
    success_rates,
)
from neuro_data_analysis.evolution.stats import (
    Trajectory,
    Trials,
    attributed_fractions,
    best_block,
    block_activations,
    block_psths,
    block_tests,
    block_trajectory,
    block_windows,
    count_kept_blocks,
    kept_trials,
    pad_blocks,
    recorded_trials,
    summarize,
    time_constants,
)
from neuro_data_analysis.evolution.tables import _mean_sem, psth_offset
from neuro_data_analysis.neural_data_lib import Block, Experiment, Thread, load_neural_data
from neuro_data_analysis.neural_data_utils import inclusion_masks, success_masks
from tests.evolutions import make_experiment, make_info
from tests.paper_constants import WINDOWS_EXT4C


def _shown(summary, space):
    return [*summary.psths[space].of_block.values(), summary.psths[space].best]


def _rates(block, window):
    return np.array([trial[slice(*window)].mean() for trial in block.psth.T])


def test_trajectory_is_mean_and_sem_of_trial_means(rng):
    """Every column against a loop over blocks with scipy's standard error."""
    experiment = make_experiment(rng, [[30, 28, 12], [25, 31, 15]])
    trajectory = block_trajectory(kept_trials(experiment))
    for thread, space in enumerate(("DeePSim", "BigGAN")):
        for number, block in enumerate(experiment.threads[thread].blocks):
            evoked, baseline = _rates(block, (50, 200)), _rates(block, (0, 45))
            assert trajectory.mean[space][number] == pytest.approx(evoked.mean())
            assert trajectory.sem[space][number] == pytest.approx(stats.sem(evoked))
            assert trajectory.baseline[space][number] == pytest.approx(baseline.mean())


def test_all_windows_from_one_pass_equal_one_extraction_each(rng):
    """The product with window weights is the mean of the slice, for each of the 42 windows."""
    experiment = make_experiment(rng, [[10, 12], [11, 14]])
    windows = block_windows(kept_trials(experiment))
    for thread, space in enumerate(("DeePSim", "BigGAN")):
        assert windows.mean[space].shape == windows.sem[space].shape == (42, 2)
        for position, window in enumerate(WINDOWS_EXT4C):
            for number, block in enumerate(experiment.threads[thread].blocks):
                rates = _rates(block, window)
                assert windows.mean[space][position, number] == pytest.approx(rates.mean())
                assert windows.sem[space][position, number] == pytest.approx(stats.sem(rates))


def test_psth_means_give_back_the_trajectory(rng):
    """The 50-200 ms mean of a mean PSTH is the mean of the trials' means (spec: to 1e-13)."""
    experiment = make_experiment(rng, [[10, 12, 11]] * 2)
    trials = kept_trials(experiment)
    trajectory = block_trajectory(trials)
    for space, psths in block_psths(trials).mean.items():
        assert psths.shape == (200, 3)
        np.testing.assert_allclose(psths[50:].mean(axis=0), trajectory.mean[space], rtol=1e-12)


def test_the_best_psth_is_that_of_the_block_of_largest_response(rng):
    """Block 2 of DeePSim, block 3 of BigGAN; the first of equal ones."""
    gains = [[1, 3, 2], [1, 2, 4]]
    experiment = make_experiment(rng, [[12, 11, 13], [10, 12, 14]], gains)
    summary = summarize(experiment)
    for space, thread, best in (("DeePSim", 0, 1), ("BigGAN", 1, 2)):
        expected = experiment.threads[thread].blocks[best].psth.mean(axis=1)
        np.testing.assert_allclose(summary.psths[Space(space)].best, expected)
        assert all(psth.base is None for psth in _shown(summary, Space(space)))  # they hold no more


@pytest.mark.parametrize(
    ("sizes", "kept"),
    [
        ([[30, 30, 9], [30, 30, 30]], 2),
        ([[30, 30, 30], [30, 30, 9]], 2),
        ([[30, 30, 10], [30, 30, 10]], 3),
        ([[30, 9, 30], [30, 30, 30]], 3),
        ([[], []], 0),
    ],
    ids=["short FC", "short BG", "ten is enough", "only the last counts", "nothing"],
)
def test_last_block_with_few_images_is_dropped_from_both_threads(rng, sizes, kept):
    assert count_kept_blocks(make_experiment(rng, sizes)) == kept


def test_padding_repeats_the_mean_of_the_last_two_blocks():
    padded = pad_blocks(np.array([[1.0], [2.0], [4.0]]), 5)
    np.testing.assert_array_equal(padded[:, 0], [1, 2, 4, 3, 3])
    np.testing.assert_array_equal(pad_blocks(padded, 2), padded)


def test_tests_pool_two_blocks_and_clamp_the_best(rng):
    """Degrees of freedom and values of every comparison against scipy on hand-picked blocks."""
    gains = [[1, 1.1, 1.6, 1.2, 1.3], [1, 1, 1, 1.1, 1.9]]
    experiment = make_experiment(rng, [[20, 21, 22, 23, 24], [15, 16, 17, 18, 19]], gains)
    tests = block_tests(kept_trials(experiment))
    responses = [[_rates(b, (50, 200)) for b in t.blocks] for t in experiment.threads]
    pool = [lambda i, j, r=r: np.concatenate([r[i], r[j]]) for r in responses]
    fc_max, bg_max = pool[0](2, 3), pool[1](2, 3)  # BG peaks in the last block: m becomes n - 3
    expected = {
        "endinit_0": (pool[0](3, 4), pool[0](0, 1)),
        "maxinit_0": (fc_max, pool[0](0, 1)),
        "maxinit_1": (bg_max, pool[1](0, 1)),
        "maxend_1": (bg_max, pool[1](3, 4)),
        "FCBG_end_01": (pool[0](3, 4), pool[1](3, 4)),
        "FCBG_max_01": (fc_max, bg_max),
        "FCBG_init_01": (pool[0](0, 1), pool[1](0, 1)),
    }
    for name, (first, second) in expected.items():
        result = stats.ttest_ind(first, second)
        assert tests[f"t_{name}"] == pytest.approx(result.statistic), name
        assert tests[f"p_{name}"] == pytest.approx(result.pvalue), name


def test_best_block_at_the_start_is_no_rise(rng):
    """With the best block first, the first two blocks meet themselves: t = 0, p = 1."""
    experiment = make_experiment(rng, [[20] * 5] * 2, [[2, 1, 1, 1, 1]] * 2)
    tests = block_tests(kept_trials(experiment))
    assert tests["t_maxinit_0"] == 0
    assert tests["p_maxinit_0"] == 1


def test_activation_moments_use_both_degrees_of_freedom(rng):
    """Std has ddof 0 and sem ddof 1, so std/sem = sqrt(n - 1); the short block falls per thread."""
    experiment = make_experiment(rng, [[30, 25, 9], [20, 21, 22]], [[1, 2, 9], [1, 1, 3]])
    found = block_activations(recorded_trials(experiment))
    assert found["maxrsp_0_std"] / found["maxrsp_0_sem"] == pytest.approx(np.sqrt(24))
    last = _rates(experiment.threads[1].blocks[2], (50, 200))
    assert found["endrsp_1_mean"] == pytest.approx(last.mean())
    assert found["maxrsp_1_mean"] == found["endrsp_1_mean"]


def test_time_constants_count_blocks_above_and_below_the_threshold():
    """A staircase whose answers can be read off, for each baseline."""
    means = {
        Space.DEEPSIM: np.array([10.0, 20, 60, 100, 110, 105]),
        Space.BIGGAN: np.full(6, 50.0),
    }
    baselines = {Space.DEEPSIM: np.full(6, 10.0), Space.BIGGAN: np.full(6, 50.0)}
    found = time_constants(Trajectory(means, means, baselines))
    assert found["FC_tc0"] == 3  # first above 10 + 0.8 * 100 = 90
    assert found["FC_tc_cnt"] == 3
    assert found["FC_tc0_bsl0"] == 3  # above 88
    assert found["FC_tc0_bslinit"] == 3
    assert found["BG_tc0"] == 0  # never above: the maximal rise is 0
    assert found["BG_tc0_bsl0"] == 0
    assert found["BG_tc_cnt_bsl0"] == 0
    assert list(found) == [
        "FC_tc0", "FC_tc_cnt", "BG_tc0", "BG_tc_cnt",
        "FC_tc0_bsl0", "FC_tc_cnt_bsl0", "BG_tc0_bsl0", "BG_tc_cnt_bsl0",
        "FC_tc0_bslinit", "FC_tc_cnt_bslinit", "BG_tc0_bslinit", "BG_tc_cnt_bslinit",
    ]  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), bin_ms=st.sampled_from([5, 10, 20, 25, 50]))
def test_fractions_sum_to_one_and_coarse_bins_add_up_fine_ones(seed, bin_ms):
    rise = np.random.default_rng(seed).normal(1, 0.5, (3, 200))
    fractions = attributed_fractions(rise, bin_ms)
    assert fractions.shape == (3, 200 // bin_ms)
    np.testing.assert_allclose(fractions.sum(axis=1), 1)
    fine = attributed_fractions(rise, 1).reshape(3, -1, bin_ms).sum(axis=2)
    np.testing.assert_allclose(fractions, fine, atol=1e-9)


def test_no_rise_has_no_fractions():
    assert np.isnan(attributed_fractions(np.zeros((1, 200)), 20)).all()


@pytest.mark.parametrize("window", [(50, 50), (-1, 20), (150, 201), (90, 80)])
def test_impossible_windows_are_refused(rng, window):
    with pytest.raises(UsageError, match="does not lie within 0 to 200 ms"):
        Trials.of([Block(np.ones((200, 2)), np.arange(2))]).responses(window)


def test_an_empty_block_inside_a_session_is_named(rng):
    experiment = make_experiment(rng, [[12, 0, 12], [12, 12, 12]])
    with pytest.raises(MalformedDataError, match=r"no image was shown in block \[2\]"):
        summarize(experiment)


def test_credible_intervals_are_those_of_the_paper():
    """Counts of Figure 4A give the published bands (published_values.csv)."""
    counts = {Space.DEEPSIM: [10, 37, 67], Space.BIGGAN: [0, 20, 65]}
    table = success_rate_table(counts, [10, 38, 106])
    np.testing.assert_allclose(table["FC_CI_1"], [0.7616, 0.8840, 0.5522], atol=5e-5)
    np.testing.assert_allclose(table["FC_CI_2"], [0.9953, 0.9908, 0.7044], atol=5e-5)
    np.testing.assert_allclose(table["BG_CI_1"], [0.0047, 0.3958, 0.5331], atol=5e-5)
    np.testing.assert_allclose(table["BG_CI_2"], [0.2384, 0.6528, 0.6868], atol=5e-5)


def test_credible_interval_covers_its_share_of_the_posterior(rng):
    low, high = credible_interval(7, 20)
    draws = rng.beta(8, 14, 200_000)
    assert ((draws > low) & (draws < high)).mean() == pytest.approx(0.9, abs=0.005)


def _meta(**columns):
    row = {"ephysFN": "Alfa-25112020-003", "blockN": 20, "space1": "fc6", "space2": "BigGAN_class"}
    return pd.DataFrame([row | columns])


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({}, ""),
        ({"blockN": 14}, "14 blocks or fewer"),
        ({"blockN": 15}, ""),
        ({"space1": "BigGAN"}, "not an fc6 and BigGAN pair"),
        ({"ephysFN": "Beto-18082020-002"}, "unstable baseline"),
        (
            {"ephysFN": "Beto-18082020-002", "blockN": 3},
            "14 blocks or fewer; unstable baseline",
        ),
    ],
)
def test_masks_say_which_rule_excluded_what(columns, reason):
    masks = inclusion_masks(_meta(**columns))
    assert masks["excluded_because"].tolist() == [reason]
    assert masks["valid"].tolist() == [reason == ""]


def test_success_asks_for_p_only_and_a_missing_p_is_no_success():
    meta = pd.DataFrame({"p_maxinit_0": [0.03, np.nan, 0.2], "p_maxinit_1": [0.2, 0.001, 0.9]})
    masks = success_masks(meta, 0.05)
    assert masks["FCsucc"].tolist() == [True, False, False]
    assert masks["anysucc"].tolist() == [True, True, False]
    assert masks["bothsucc"].tolist() == [False, False, False]
    assert masks["nonesucc"].tolist() == [False, False, True]


def test_success_rates_ask_for_the_sign(rng):
    """A thread that falls significantly counts in the masks but not in Figure 4A.

    Its best block is the last, so that its best window is moved to blocks far below the first two.
    """
    falling = make_experiment(rng, [[30] * 16] * 2, [[3, 3, *[1] * 13, 4], [1, 1, *[2] * 14]])
    summary = summarize(falling)
    population = Population((summary,), {})
    rates = success_rates(population).set_index("label")
    assert population.masks[["valid", "FCsucc001"]].to_numpy().tolist() == [[True, True]]
    assert rates.loc["IT", "BG_suc"] == 1
    assert rates.loc["IT", "FC_suc"] == 0
    decreases = success_rates(population, "endinitdecrs").set_index("label")
    assert decreases.loc["IT", "FC_suc"] == 1


@pytest.mark.parametrize(
    ("p", "below"),
    [
        (0.05, [False, False]),
        (np.nextafter(0.05, 0), [True, False]),
        (0.01, [True, False]),
        (np.nextafter(0.01, 0), [True, True]),
    ],
)
def test_levels_of_success_are_005_and_001_and_are_not_reached_by_p_itself(rng, p, below):
    summary = summarize(make_experiment(rng, [[12] * 15] * 2))
    summary = replace(summary, tests=summary.tests | {"p_maxinit_0": p, "t_maxinit_0": 3.0})
    population = Population((summary,), {})
    assert population.masks.loc[1, ["FCsucc005", "FCsucc001"]].tolist() == below
    assert success_rates(population).set_index("label").at["IT", "FC_suc"] == below[1]


@pytest.mark.parametrize(("t", "climbed", "fell"), [(0.5, 1, 0), (0.0, 0, 0), (-0.5, 0, 1)])
def test_the_sign_of_t_decides_and_not_its_size(rng, t, climbed, fell):
    summary = summarize(make_experiment(rng, [[12] * 15] * 2))
    told = {"p_maxinit_1": 0.001, "t_maxinit_1": t, "p_endinit_1": 0.001, "t_endinit_1": t}
    population = Population((replace(summary, tests=summary.tests | told),), {})
    for criterion, expected in (("maxinit", climbed), ("endinitdecrs", fell)):
        table = success_rates(population, criterion).set_index("label")
        assert table.at["IT", "BG_suc"] == expected


class _Few(dict):
    path, on_disk = "memory", False


class _OnDisk(dict):
    path, on_disk = "file", True


@pytest.mark.parametrize(
    ("n", "workers", "started"), [(99, None, []), (100, None, [7]), (2, 2, [2]), (100, 1, [])]
)
def test_from_a_hundred_experiments_on_a_file_is_read_by_a_process_per_cpu(
    rng, monkeypatch, n, workers, started
):
    """Joblib is replaced by a loop that keeps the number of processes that were asked for."""
    asked = []

    class Serial:
        def __init__(self, n_jobs, return_as):
            asked.append(n_jobs)

        def __call__(self, tasks):
            return (function(*given, **named) for function, given, named in tasks)

    recordings = _OnDisk(
        {expi: make_experiment(rng, [[2] * 3] * 2, expi=expi) for expi in range(1, n + 1)}
    )
    monkeypatch.setattr(populations, "Parallel", Serial)
    monkeypatch.setattr(populations, "cpu_count", lambda: 7)
    monkeypatch.setattr(populations, "_opened", {"file": recordings}.get)
    found = collect(recordings, workers=workers)
    assert asked == started
    assert [summary.info.expi for summary in found.summaries] == list(recordings)


@pytest.mark.parametrize(("asked", "told"), [({}, []), ({"show_progress": True}, [2])])
def test_progress_is_told_when_it_is_asked_for(rng, monkeypatch, asked, told):
    """With the number of experiments; the function that tells it is replaced."""
    totals = []

    def progress(outcomes, doing, unit, total):
        totals.append(total)
        return outcomes

    monkeypatch.setattr(populations, "progress", progress)
    made = {expi: make_experiment(rng, [[2] * 3] * 2, expi=expi) for expi in (3, 7)}
    assert len(collect(_Few(made), **asked).summaries) == 2
    assert totals == told


@pytest.mark.parametrize(
    ("sizes", "reason"), [({}, "all elements are empty"), ({7: [12, 0, 12]}, r"shown in block")]
)
def test_recordings_without_a_usable_experiment_say_why(rng, sizes, reason):
    made = {expi: make_experiment(rng, [blocks] * 2) for expi, blocks in sizes.items()}
    with pytest.raises(MissingDataError, match=f"memory holds no usable experiment: .*{reason}"):
        collect(_Few(made))


def test_collect_leaves_out_what_it_cannot_use_and_says_why(rng):
    good = make_experiment(rng, [[12] * 3] * 2, expi=3)
    recordings = _Few({3: good, 7: make_experiment(rng, [[12, 0, 12]] * 2, expi=7)})
    population = collect(recordings)
    assert population.meta.index.tolist() == [3]
    assert "block [2]" in population.left_out[7]
    assert population.recorded().sum() == 3
    assert population.recorded().shape == (1, 56)


def test_optimisers_come_from_a_side_table_where_recordings_do_not_tell(rng):
    experiment = make_experiment(rng, [[12] * 3] * 2)
    silent = type(experiment)(
        type(experiment.info)(**vars(make_info()) | {"optimizers": (None, None)}),
        experiment.threads,
    )
    table = pd.DataFrame({"optim_names1": ["CMAES"], "optim_names2": ["ZOHA"]}, index=[1])
    population = Population((summarize(silent),), {}, table)
    assert population.meta.loc[1, "optim_names2"] == "ZOHA"


@pytest.mark.parametrize("seed", range(12))
def test_tied_blocks_are_one_block_for_tests_attribution_and_activations(seed):
    """Two blocks hold the same rates in another order: their means differ by rounding alone."""
    rng = np.random.default_rng(seed)
    blocks = [rng.random((200, 12)) * 3 for _ in range(9)]
    best = 7.3 + rng.random((200, 12))
    for place in (3, 5):
        order = np.concatenate([np.arange(50), 50 + rng.permutation(150)])
        blocks[place] = best[order][:, rng.permutation(12)]
    threads = tuple(
        Thread(space, None, tuple(Block(b, np.arange(12)) for b in blocks), ())
        for space in ("fc6", "BigGAN")
    )
    experiment = Experiment(make_info(), threads)
    summary = summarize(experiment)
    for space in Space:
        best = block_psths(kept_trials(experiment)).mean[space][:, 3]
        np.testing.assert_array_equal(summary.psths[space].best, best)
        first = blocks[3][50:200].mean(axis=0)
        assert summary.activations[f"maxrsp_{space.thread}_mean"] == pytest.approx(first.mean())
        rates = [b[50:200].mean(axis=0) for b in blocks]
        pooled = [np.concatenate(rates[i : i + 2]) for i in (3, 0)]
        expected = stats.ttest_ind(*pooled).statistic
        assert summary.tests[f"t_maxinit_{space.thread}"] == pytest.approx(expected)


def test_rounding_is_no_difference_between_samples():
    """Means of constant PSTHs differ in the last digit; a test of that would find anything."""
    rounded = 7.3 + 1e-15 * np.arange(10)
    assert np.isnan(student(rounded, rounded[::-1]).t)
    assert np.isnan(student(rounded, rounded[::-1], paired=True).t)
    assert np.isfinite(student(7.3 + 1e-9 * np.arange(10), rounded).t)


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ([[30, 30, 30], [25, 25, 25]], "has 3 blocks"),
        ([[30, 1, 30, 30], [25, 25, 25, 25]], "block of one image"),
        ([[30, 30, 30, 30], [25, 25, 25, 25]], None),
    ],
)
def test_tests_that_rest_on_next_to_nothing_say_so(sizes, said, caplog):
    """Three blocks leave the best two no other place than the first two: t = 0, p = 1."""
    summary = summarize(make_experiment(np.random.default_rng(0), sizes, expi=77))
    told = " ".join(record.getMessage() for record in caplog.records)
    assert told == "" if said is None else "experiment 77" in told and said in told
    if len(sizes[0]) == 3:
        assert (summary.tests["t_maxinit_0"], summary.tests["p_maxinit_0"]) == (0, 1)


def test_the_number_of_workers_changes_nothing(small_matroot):
    with load_neural_data(small_matroot) as recordings:
        one, two = (collect(recordings, workers=n) for n in (1, 2))
    assert one.left_out == two.left_out
    for table in ("meta", "activations", "time_constants"):
        pd.testing.assert_frame_equal(getattr(one, table), getattr(two, table), check_exact=True)
    for alone, shared in zip(one.summaries, two.summaries, strict=True):
        for space in Space:
            for one_psth, other in zip(_shown(alone, space), _shown(shared, space), strict=True):
                np.testing.assert_array_equal(one_psth, other)
            np.testing.assert_array_equal(alone.windows.sem[space], shared.windows.sem[space])


@pytest.mark.parametrize(
    ("means", "best"),
    [
        ([1, 1 + 0.9e-9, 0], 0),
        ([1, 1 + 1.1e-9, 0], 1),
        ([-1, 0, -2], 1),
        ([-2, -1 - 0.9e-9, -1], 1),
        ([3, 5, 5], 1),
    ],
)
def test_means_within_a_billionth_of_the_largest_are_tied(means, best):
    assert best_block(means) == best
    assert best_block([means, means[::-1]])[0] == best


def test_no_block_and_no_spike_are_refused(rng):
    with pytest.raises(MalformedDataError, match="experiment 1 holds no block"):
        summarize(make_experiment(rng, [[], []]))
    silent = Thread("fc6", None, (Block(np.zeros((200, 12)), np.arange(12)),) * 3, ())
    with pytest.raises(MalformedDataError, match="no spike was recorded"):
        summarize(Experiment(make_info(), (silent, silent)))


def test_a_thread_without_blocks_has_no_trials():
    trials = Trials.of([])
    assert trials.psth.shape == (200, 0)
    assert trials.block_number.tolist() == []


def test_values_of_many_windows_are_split_by_trials(rng):
    sizes = (2, 3)
    trials = Trials.of([Block(rng.random((200, n)), np.arange(n)) for n in sizes])
    found = trials.per_block(trials.psth)
    assert [one.shape for one in found] == [(200, 2), (200, 3)]


def test_two_blocks_have_no_tests(rng):
    tests = block_tests(kept_trials(make_experiment(rng, [[12, 12]] * 2)))
    assert np.isnan(list(tests.values())).all()


def test_a_block_of_one_image_has_a_mean_but_no_error(rng):
    experiment = make_experiment(rng, [[1, 12, 12], [2, 12, 12]], [[1, 3, 2]] * 2)
    found = block_activations(recorded_trials(experiment))
    assert found["initrsp_0_std"] == 0
    assert np.isnan(found["initrsp_0_sem"])
    two = _rates(experiment.threads[1].blocks[0], (50, 200))
    assert found["initrsp_1_sem"] == pytest.approx(abs(two[0] - two[1]) / 2)


def test_references_are_means_of_kept_blocks_and_missing_where_none_was_shown(rng):
    """Four blocks, the last too short; of the references of three, one block shows none."""
    experiment = make_experiment(rng, [[12, 12, 12, 12, 9]] * 2)
    shown = np.zeros((200, 3))
    shown[50:] = [10.0, 20, 60]
    nothing = Block(np.zeros((200, 0)), np.arange(0))
    rates = [Block(shown, np.arange(3)), nothing, Block(2 * shown, np.arange(3))]
    longer = [*rates, Block(3 * shown, np.arange(3)), Block(4 * shown, np.arange(3))]
    threads = tuple(
        replace(thread, references=tuple(references))
        for thread, references in zip(experiment.threads, (rates, longer), strict=True)
    )
    found = summarize(replace(experiment, threads=threads)).references
    np.testing.assert_allclose(found[Space.DEEPSIM], [30, np.nan, 60, np.nan])
    np.testing.assert_allclose(found[Space.BIGGAN], [30, np.nan, 60, 90])


@pytest.mark.parametrize(
    ("values", "mean", "sem"), [([], np.nan, np.nan), ([4.0], 4, np.nan), ([1.0, 3.0], 2, 1)]
)
def test_groups_of_time_constants_have_an_error_from_two_threads_on(values, mean, sem):
    found = _mean_sem(np.array(values))
    assert found == pytest.approx({"mean": mean, "sem": sem, "n": len(values)}, nan_ok=True)


@pytest.mark.parametrize(("largest", "offset"), [(219.0, 100), (221.0, 110), (20.0, 10)])
def test_the_offset_of_2d_is_the_largest_rate_over_two_and_a_fifth_in_tens(largest, offset):
    psths = {Space.DEEPSIM: np.array([[1.0, 5]]), Space.BIGGAN: np.array([[largest, 3]])}
    assert psth_offset(psths) == offset


def test_shares_of_a_rise_are_those_of_its_bins_whatever_the_axes_before():
    """One curve, and several by two axes: a rise of 3 and then 1 events/s, 100 ms each."""
    rise = np.repeat([3.0, 1.0], 100)
    np.testing.assert_allclose(attributed_fractions(rise, 100), [0.75, 0.25])
    several = attributed_fractions(np.broadcast_to(rise, (2, 3, 200)), 100)
    np.testing.assert_allclose(several, np.broadcast_to([0.75, 0.25], (2, 3, 2)))

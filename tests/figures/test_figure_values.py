"""What the figures compute, on inputs so small that every number can be written down."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from core.source_tables.registry import SIMILARITY_COLUMNS
from core.spaces import Space
from core.utils.statistics.t_tests import StudentTest
from figure_reproduction import Figure2_reproduction as figure2
from figure_reproduction import Figure3_reproduction as figure3
from figure_reproduction import Figure4_reproduction as figure4
from figure_reproduction import Figure5_reproduction as figure5
from figure_reproduction import Figure6_reproduction as figure6
from figure_reproduction import FigureExt4_reproduction as extended4
from figure_reproduction import FigureExt5_reproduction as extended5
from figure_reproduction.page import window_responses as windows
from figure_reproduction.page.groups import Curve
from neuro_data_analysis.robustness.intervals import cluster_bootstrap

DEEPSIM, BIGGAN = Space


def both(values):
    """Give both spaces the same values."""
    return dict.fromkeys(Space, np.asarray(values, dtype=float))


def masks_of(n, **columns):
    """Let n experiments of IT be valid and successful."""
    table = pd.DataFrame(False, index=range(n), columns=["V1msk", "V4msk", "ITmsk", "valid"])
    success = {f"{which}succ005": True for which in ("any", "both")}
    return table.assign(**{"valid": True, "ITmsk": True, **success, **columns})


def climbing_meta(n):
    """Let n experiments of IT climb in both spaces."""
    return pd.DataFrame(
        {"valid": True, "visual_area": "IT", "p_maxinit_0": 0.001, "p_maxinit_1": 0.001},
        index=range(n),
    )


def test_blocks_of_2d_are_moved_up_one_offset_each():
    """Two blocks of three ms; the standard errors stay."""
    mean = {DEEPSIM: np.array([[1.0, 2, 3], [4, 5, 6]]), BIGGAN: np.zeros((2, 3))}
    sem = {DEEPSIM: np.full((2, 3), 0.5), BIGGAN: np.ones((2, 3))}
    example = figure2.ExamplePsth(mean=mean, sem=sem, offset=40.0, title="", labels="truthful")
    stacked = figure2.compute_2d(example)
    assert [c.mean.tolist() for c in stacked.curves[DEEPSIM]] == [[1, 2, 3], [44, 45, 46]]
    assert [c.sem.tolist() for c in stacked.curves[BIGGAN]] == [[1, 1, 1], [1, 1, 1]]
    assert {c.n for c in stacked.curves[DEEPSIM]} == {1}
    assert stacked.base.tolist() == [0, 40, 80, 120]
    assert (stacked.n_blocks, stacked.n_ms) == (2, 3)
    alone = replace(example, mean=both([[1, 2, 3]]), sem=both([[1, 1, 1]]))
    assert figure2.compute_2d(alone).n_ms == 3


def test_points_of_2b_are_means_and_standard_errors_of_a_generation():
    """Presentations 1 and 3, then 4, 4, 10: the error is over presentations, with ddof 1."""
    table = pd.DataFrame({"gen": [1, 1, 2, 2, 2], "resp": [1.0, 3, 4, 4, 10], "bsl": 0.5})
    trials = {(space, kind): table for space in Space for kind in ("evol", "natref")}
    found = figure2.compute_2b(trials)[BIGGAN, "reference images"]
    assert found.generation.tolist() == [1, 2]
    assert found.curve.mean.tolist() == [2, 6]
    assert found.curve.sem.tolist() == pytest.approx([1, 2])


def test_published_block_means_of_2b_are_taken_as_they_are():
    """The baseline has no standard error."""
    columns = {"gen": [1, 2]}
    for number, space in enumerate(Space):
        for column in ("evol", "natref"):
            columns[f"{space}_{column}_mean"] = [10.0 + number, 20.0]
            columns[f"{space}_{column}_sem"] = [1.0, 2.0 + number]
        columns[f"{space}_bsl_mean"] = [0.0, 4.0 + number]
    found = figure2.curves_of_blocks(pd.DataFrame(columns))
    for number, space in enumerate(Space):
        for response in ("evoked response", "reference images"):
            curve = found[space, response].curve
            assert curve.mean.tolist() == [10 + number, 20]
            assert curve.sem.tolist() == [1, 2 + number]
        baseline = found[space, "baseline"]
        assert baseline.generation.tolist() == [1, 2]
        assert baseline.curve.mean.tolist() == [0, 4 + number]
        assert baseline.curve.sem.tolist() == [0, 0]


def test_the_caption_of_4a_tells_the_mean_of_both_spaces():
    """The first and the last kind of flat threads; three kinds, of which one is not told."""
    flat = {
        DEEPSIM: figure4.FalsePositives(10, {"a": 1.0, "b": 9.0, "c": 3.0}),
        BIGGAN: figure4.FalsePositives(10, {"a": 2.0, "b": 9.0, "c": 5.0}),
    }
    said = figure4._said_of_false_positives({("IT", space): found for space, found in flat.items()})
    assert said.startswith("If no thread climbed, 1.5 to 4.0 of 10 in IT would pass")


def test_points_of_4b_scatter_as_ever(rng):
    """The published scatter has no seed; ours is 4, blocks outermost, then areas."""
    mean, sem = both(rng.random((3, 5))), both(rng.random((3, 5)))
    found = figure4.compute_4b(mean, sem, masks_of(3))
    scatter = np.random.default_rng(4)
    for block, column in (("initial", 0), ("last", 4)):
        expected = scatter.normal(scale=0.15, size=(2, 3))
        np.testing.assert_array_equal(found[block, "IT"].jitter, expected)
        np.testing.assert_array_equal(found[block, "IT"].mean[BIGGAN], mean[BIGGAN][:, column])
        np.testing.assert_array_equal(found[block, "IT"].sem[BIGGAN], sem[BIGGAN][:, column])


def test_trajectories_of_4c_join_their_padding_at_the_last_recorded_block():
    recorded = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 0]], dtype=bool)
    mean = both(np.arange(15.0).reshape(3, 5))
    found = figure4.compute_4c(mean, recorded, masks_of(3))["IT"]
    nan = np.nan
    np.testing.assert_array_equal(found.recorded[DEEPSIM][0], [0, 1, 2, nan, nan])
    np.testing.assert_array_equal(found.padded[DEEPSIM][0], [nan, nan, 2, 3, 4])
    np.testing.assert_array_equal(found.recorded[BIGGAN][1], [5, 6, 7, 8, 9])
    np.testing.assert_array_equal(found.padded[BIGGAN][1], [nan] * 5)
    np.testing.assert_array_equal(found.padded[BIGGAN][2], [nan, nan, nan, 13, 14])
    assert found.n_recorded.tolist() == [3, 3, 3, 2, 1]


def time_constants(blocks, p=0.001):
    """Return what 4D makes of threads of IT, the same in both spaces."""
    columns = {"visual_area": "IT", "p_maxinit_0": p, "p_maxinit_1": p}
    counts = {f"{space.prefix}_tc0_bslinit": np.array(blocks) for space in Space}
    table = pd.DataFrame({**counts, **columns}, index=range(len(blocks)))
    return figure4.compute_4d(table, pd.Series([True] * len(blocks), dtype=bool))


def test_points_of_4d_scatter_as_ever():
    """Seed 4, the spaces outermost."""
    found = time_constants([3, 5])
    scatter = np.random.default_rng(4)
    for space in Space:
        expected = scatter.uniform(-0.25, 0.25, 2)
        np.testing.assert_array_equal(found[space, "IT"].jitter, expected)


@pytest.mark.parametrize(("blocks", "mean"), [([], np.nan), ([7], 7), ([6, 6, 6], 6)])
def test_threads_that_do_not_differ_have_no_interval(blocks, mean):
    found = time_constants(blocks)[DEEPSIM, "IT"]
    np.testing.assert_equal([found.mean, found.low, found.high], [mean, np.nan, np.nan])


def test_two_threads_have_the_interval_of_their_resamples():
    """A quarter of the resamples are twice the one, and a quarter twice the other."""
    found = time_constants([4, 5])[BIGGAN, "IT"]
    assert (found.low, found.mean, found.high) == (4, 4.5, 5)


@pytest.mark.parametrize(("p", "n"), [(0.01, 0), (np.nextafter(0.01, 0), 2)])
def test_threads_of_4d_lie_below_the_level(p, n):
    assert len(time_constants([4, 8], p)[BIGGAN, "IT"].blocks) == n


def made_windows(rng, n=6, n_blocks=8):
    """Make responses of n experiments in the windows of all widths, the last two blocks padded."""
    made = {}
    for width in (10, 20, 25, 50):
        for space in Space:
            values = rng.random((n, n_blocks)) + space.thread
            values[:, -2:] = values[:, [-4, -3]].mean(axis=1, keepdims=True)
            made[(0, width), space] = values
    return made


#: Names of the sizes of groups.
SIZES = ("n", "n_recorded_only")


@pytest.mark.parametrize("recorded_only", [False, True])
def test_recorded_blocks_alone_are_shown_beside_the_published_way_when_asked(rng, recorded_only):
    """Every statistic and picture of 5C and Extended 4C once more, under a name of its own."""
    responses = made_windows(rng)
    climbed = [True] * 5 + [False]
    meta = climbing_meta(6).assign(p_maxinit_1=np.where(climbed, 0.001, 0.9))
    masks = masks_of(6, bothsucc005=climbed)
    for show, table in ((figure5.show_5c, masks), (extended4.show_4c, meta)):
        published = show(responses, table)
        shown = show(responses, table, recorded_only=recorded_only)
        names = [one.quantity for one in shown.statistics]
        sizes = [one.value for one in shown.statistics if one.quantity.split("_p0")[0] in SIZES]
        assert set(sizes) == {0, 5}
        factor = 2 if recorded_only else 1
        assert sum("_recorded_only" in name for name in names) == len(names) // 2 * (factor - 1)
        assert len(names) == factor * len(list(published.statistics))
        assert len(shown.drawings) == factor * len(published.drawings)
        assert sum("_recorded_only" in name for name in shown.drawings) == (
            len(published.drawings) * recorded_only
        )


def test_a_share_beyond_the_whole_rise_tells_of_a_small_one():
    """Exactly the whole rise does not, nor a missing share; the largest of all widths counts."""
    wide = np.array([[1.0, 0.0], [-1.5, 2.5], [np.nan, np.nan], [0.5, 0.5], [0.5, 0.5]])
    narrow = np.array([[0.5, 0.5], [0.5, 0.5], [np.nan, np.nan], [-1.01, 0.9], [0.5, 0.5]])
    meta = pd.DataFrame(
        {"valid": [True, True, True, False, True], "p_maxinit_0": 0.001, "p_maxinit_1": 0.01},
        index=[11, 12, 13, 14, 15],
    )
    told = [
        (one.quantity, one.space, one.value)
        for one in extended4.tell_small_rises({25: both(narrow), 50: both(wide)}, meta)
    ]
    near_zero, drawn = "experiments whose rise is near zero", "such experiments drawn"
    assert told == [
        (near_zero, DEEPSIM, [12, 14]), (drawn, DEEPSIM, [12]),
        (near_zero, BIGGAN, [12, 14]), (drawn, BIGGAN, []),
    ]  # fmt: skip


def test_shares_of_extended_4b_are_averaged_and_compared_where_there_is_a_rise():
    """Four experiments, one with an unknown share in BigGAN, so left out; nobody climbed in V1."""
    deepsim = np.array([[0.1, 0.9], [0.3, 0.7], [0.2, 0.8], [0.2, 0.8]])
    biggan = np.array([[0.5, 0.5], [0.6, 0.4], [0.7, 0.3], [np.nan, 0.4]])
    shares = {100: {DEEPSIM: deepsim, BIGGAN: biggan}}
    computed = extended4.compute_4b(shares, climbing_meta(4))
    found = computed[100, "IT"]
    assert found.centre_ms.tolist() == [50, 150]
    assert found.n_climbed == {DEEPSIM: 4, BIGGAN: 4}
    assert found.curves[DEEPSIM].mean == pytest.approx([0.2, 0.8])
    assert found.curves[BIGGAN].mean == pytest.approx([0.6, 0.4])
    assert found.top == pytest.approx(0.8)
    expected = stats.ttest_ind(deepsim, biggan[:3])
    assert found.t == pytest.approx(expected.statistic)
    assert found.p == pytest.approx(expected.pvalue)
    assert extended4.basis_of_bins(found)["df"] == 5
    assert extended4.basis_of_bins(found)["n"] == {DEEPSIM: 4, BIGGAN: 3}
    assert computed[100, "V1"].top == 1


def test_a_bin_at_the_level_is_not_marked(monkeypatch):
    p = np.array([0.05, np.nextafter(0.05, 0)])
    test = StudentTest(np.ones(2), p, np.full(2, 4.0), 6)
    monkeypatch.setattr(extended4, "compare_spaces", lambda shares: test)
    shares = {100: both([[0.5, 0.5]] * 3)}
    found = extended4.compute_4b(shares, climbing_meta(3))[100, "IT"]
    assert found.significant.tolist() == [False, True]


@pytest.mark.parametrize(
    ("p", "at_005", "at_001"),
    [(0.05, 5, 5), (np.nextafter(0.05, 0), 6, 5), (0.01, 6, 5), (np.nextafter(0.01, 0), 6, 6)],
)
def test_windows_are_compared_where_both_threads_lie_below_either_level(rng, p, at_005, at_001):
    meta = climbing_meta(6).assign(p_maxinit_1=[p] + [0.001] * 5)
    found = extended4.compute_4c(made_windows(rng), meta)
    n = {level: compared["IT", (0, 10)].n for level, compared in found.items()}
    assert n == {"p05": at_005, "p01": at_001}


def box(low, high, *outliers):
    return {"med": 0.1, "whislo": low, "whishi": high, "fliers": np.array(outliers)}


def groups_of(*boxes):
    return {("ReLU", "Test_R2"): extended5.LayerBoxes(list(boxes), 0.5, 0.1, 0.5, (0.4, 0.6))}


@pytest.mark.parametrize(
    ("boxes", "limits"),
    [
        ([box(0.1, 0.4), box(0, 0.2, 0.6, 0.1)], (-0.03, 0.78)),  # 1 and 6 twentieths of the range
        ([box(0, 0.4, 0.5), box(np.nan, np.nan)], (-0.025, 0.65)),
        ([box(-0.28, 0.2)], (-0.3, 0.344)),
        ([box(0, 0.95)], (-0.0475, 1.05)),
        ([box(0, 0.2, -250, 7)], (-0.3, 1.05)),
    ],
)
def test_the_axis_of_r2_reaches_the_outliers_but_not_beyond_its_widest_range(boxes, limits):
    assert extended5._limits(groups_of(*boxes)) == pytest.approx(limits)


@pytest.mark.parametrize(
    ("low", "high", "is_cut"),
    [(-0.3, 1.05, False), (-0.31, 0.5, True), (0, 1.06, True), (0.5, 0.5, False)],
)
def test_whiskers_beyond_the_axis_are_told(low, high, is_cut):
    groups = groups_of(box(0, 0.2), box(low, high), box(np.nan, np.nan))
    found = extended5.Linearity(DEEPSIM, groups, {}, {}, 96, (-0.3, 1.05))
    assert extended5._is_cut(found) == is_cut


def comparison(n_recorded, larger, padded=True):
    """Return what is known of a window of nine experiments, one space larger in some blocks."""
    nothing = np.zeros(len(larger))
    curve = Curve(nothing, nothing, 9)
    sides = {DEEPSIM: np.array(larger), BIGGAN: np.zeros(len(larger), dtype=bool)}
    test = StudentTest(nothing, nothing, nothing, 9)
    return windows.WindowComparison(
        dict.fromkeys(Space, curve), sides, test, np.array(n_recorded), padded=padded
    )


def test_means_are_dotted_where_fewer_than_half_recorded_unless_padding_does_not_count():
    counts = [9, 5, 4, 0]
    found = comparison(counts, [False] * 4)
    assert found.is_mostly_padding.tolist() == [False, False, True, True]
    assert not comparison(counts, [False] * 4, padded=False).is_mostly_padding.any()


def test_a_significant_block_up_to_45_rests_on_few_where_four_recorded_it():
    n_recorded = np.full(48, 4)
    n_recorded[[0, 1]] = 9, 5
    marked = np.ones(48, dtype=bool)
    marked[2] = False
    found = comparison(n_recorded, marked).rests_on_few
    assert np.flatnonzero(found).tolist() == list(range(3, 46))


def test_means_over_recorded_blocks_divide_by_those_that_recorded(rng):
    """Seven experiments of 9, 9, 8, 8, 8, 7 and 2 blocks; blocks below five have no mean."""
    lengths = np.array([9, 9, 8, 8, 8, 7, 2])
    values = {space: rng.random((7, 9)) for space in Space}
    for of_space in values.values():
        for row, length in zip(of_space, lengths, strict=True):
            row[length:] = row[length - 2 : length].mean()
    responses = {((0, 10), space): of_space for space, of_space in values.items()}
    found = windows.compare_recorded(responses, masks_of(7), "bothsucc005")["IT", (0, 10)]
    assert found.n_recorded.tolist() == [7, 7, 6, 6, 6, 6, 6, 5, 2]
    assert (found.n, found.padded) == (7, False)
    for space, of_space in values.items():
        for block in range(9):
            rates = of_space[lengths > block, block]
            expected = (rates.mean(), rates.std() / np.sqrt(len(rates)))
            curve = found.curves[space]
            shown = (curve.mean[block], curve.sem[block])
            assert shown == pytest.approx(expected if block < 8 else (np.nan,) * 2, nan_ok=True)
    np.testing.assert_array_equal(found.test.df, [6, 6, 5, 5, 5, 5, 5, 4, np.nan])
    assert found.test.n == 7
    published = windows.compare_windows(responses, masks_of(7), "bothsucc005")["IT", (0, 10)]
    assert published.padded
    assert published.n_recorded.tolist() == found.n_recorded.tolist()


@pytest.mark.parametrize(("difference", "is_padding"), [(0.9e-9, True), (1.1e-9, False)])
def test_padding_is_told_by_nine_digits_and_in_silent_windows_too(difference, is_padding):
    """Blocks 3 and 4 repeat the mean of 1 and 2; no spike falls into the second window."""
    row = np.array([[1.0, 2, 4, 3, 3]])
    other = row * np.array([1, 1, 1, 1, 1 + difference])
    responses = {((0, 10), DEEPSIM): row, ((0, 10), BIGGAN): other}
    responses |= {((10, 20), space): 0 * row for space in Space}
    found = windows.recorded_blocks(responses)
    assert found.tolist() == [[True, True, True, not is_padding, not is_padding]]


@pytest.mark.parametrize(
    ("rows", "recorded"),
    [
        ([[1, 2, 4, 3, 3], [1, 2, 6, 3, 3]], [1, 1, 1, 1, 0]),  # 3 is not the mean of 2 and 6
        ([[5, 5, 5, 5, 5]], [1, 1, 0, 0, 0]),  # a session has two blocks at least
        ([[1, 2, 3, 4, 5]], [1, 1, 1, 1, 1]),
    ],
)
def test_padding_repeats_the_mean_of_two_blocks_in_all_windows_at_once(rows, recorded):
    responses = {((10 * i, 10), DEEPSIM): np.array([row]) for i, row in enumerate(rows)}
    assert windows.recorded_blocks(responses)[0].tolist() == recorded


def test_experiments_that_all_differ_alike_have_no_test():
    """Nor has a single one, or none."""
    counted = np.arange(3)[:, np.newaxis] < np.array([3, 2, 1, 0])
    found = windows.paired_tests(np.full((1, 3, 4), 0.5), counted)
    assert np.isnan(found.t).all()
    assert np.isnan(found.p).all()
    np.testing.assert_array_equal(found.df, [2, 1, np.nan, np.nan])


def test_intervals_of_sessions_are_those_of_a_thousand_resamples_with_their_seed(rng):
    """Seed 65 and the place of the group: 0 for successful sessions, 1 for the others."""
    n = 120
    table = pd.DataFrame(
        {
            "anova_p_value": 0.001,
            "is_common_axis": True,
            "is_BigGAN_evol_success": np.arange(n) < 70,
            "Exp_id": [f"session {axis // 7}" for axis in range(n)],
            **{f"gpr_y_is_{shape}": rng.random(n) < 0.4 for shape in SHAPES_OF_6E},
        }
    )
    found = figure6.compute_shapes(table).by_session
    for place, group in enumerate(("successful", "non_successful")):
        rows = table[table["is_BigGAN_evol_success"] == (group == "successful")]
        for shape in SHAPES_OF_6E[:1]:
            hit = rows[f"gpr_y_is_{shape}"].to_numpy(dtype=float)
            expected = cluster_bootstrap(
                lambda chosen, hit=hit: hit[chosen].mean(), rows["Exp_id"].tolist(),
                np.random.default_rng([65, place]), n_resamples=1000,
            )  # fmt: skip
            assert found[group, shape].resampled.bca == pytest.approx(expected.bca)
            n_sessions = rows["Exp_id"].nunique()
            assert found[group, shape].resampled.n_clusters == n_sessions


SHAPES_OF_6E = ("bellshaped", "monotonic", "unimodal")


def test_peaks_are_counted_where_p_lies_below_001():
    """Places are equal to six digits; axes that are not tuned give places, but no counts."""
    table = pd.DataFrame(
        {
            "max_resp_lin_dist_bin": [0.1, 0.1 + 1e-9, 0.3, 0.3, -0.5, 0.1],
            "p_value": [0.001, 0.0099, 0.01, np.nan, 0.5, 0.001],
            "is_BigGAN_evol_success": [True, True, True, True, False, False],
        }
    )
    found = figure6.compute_peaks(table)
    assert found.distances.tolist() == [-0.5, 0.1, 0.3]
    assert found.totals == {"successful": 2, "non_successful": 1}
    counts = {group: [p.count for p in of] for group, of in found.proportions.items()}
    assert counts == {"successful": [0, 2, 0], "non_successful": [0, 1, 0]}
    assert {p.total for p in found.proportions["successful"]} == {2}


def prototypes_of(x, y, networks="", **columns):
    table = pd.DataFrame({"x": x, "y": y, "visual_area": "IT", **columns})
    return figure3.Prototypes(table, np.ones(len(x), dtype=bool), "all", networks)


@pytest.mark.parametrize(
    ("x", "y", "r", "n"),
    [
        ([1.0, 2, 3], [1.0, 3, 2], 0.5, 3),
        ([1.0, 2, 3, np.nan], [1.0, 3, 2, 9], 0.5, 3),
        ([1.0, 2], [1.0, 3], np.nan, 2),
        ([1.0, 1, 1], [1.0, 3, 2], np.nan, 3),
        ([1.0, 2, 3], [0.0, 0, 0], np.nan, 3),
    ],
)
def test_correlations_of_figure_3_need_three_experiments_that_differ(x, y, r, n):
    found = figure3.correlate(prototypes_of(x, y), "x", "y")
    assert (found.r, found.n) == (pytest.approx(r, nan_ok=True), n)
    assert np.isnan(found.p) == np.isnan(r)
    told = {one.quantity: one for one in figure3.tell_correlation(found, "x", "y")}
    assert told["pearson_r y vs x"].basis["df"] == n - 2
    assert found.points["IT"].shape == (2, n)


@pytest.mark.parametrize(("networks", "told"), [("", "not told"), ("ResNet50", "ResNet50")])
def test_networks_and_missing_columns_of_figure_3_are_told(networks, told):
    columns = dict.fromkeys(name for names in SIMILARITY_COLUMNS.values() for name in names)
    whole = prototypes_of([1.0], [2.0], networks, **columns)
    values = {one.quantity: one.value for one in figure3.count_experiments(whole)}
    assert (values["networks"], values["columns_missing"]) == (told, "none")
    group, names = next(iter(SIMILARITY_COLUMNS.items()))
    lacking = figure3.missing_columns(whole.table.drop(columns=names[0]))
    assert lacking == f"1 of {len(names)} columns of {group}"

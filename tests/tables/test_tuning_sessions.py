"""Tuning sessions: reading them, naming units and images, filling origins, success flags."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import stats

from core.errors import MalformedDataError, MissingDataError, UsageError, UserError
from neuro_data_analysis.matlab.v73_writer import write_v73
from neuro_data_analysis.neural_tuning_analysis_lib import (
    TunedSite,
    axes_of,
    load_site,
    tuning_synopsis,
)
from neuro_data_analysis.simulation.tuning import (
    CHANCES,
    SIMULATED_MARKER,
    _chances_of_session,
    axis_set,
    choose_sessions,
    simulate_session,
    simulate_tuning_sessions,
)
from neuro_data_analysis.tuning.sessions import (
    SESSION_LIST_FILE,
    SessionRecord,
    infer_units,
    parse_stimulus_names,
    published_session,
    published_sessions,
    read_session,
    read_session_list,
    unit_label,
)
from neuro_data_analysis.tuning.success import compare_ends, with_computed_success
from neuro_data_analysis.tuning.tables import collect_sites

DATA = Path(__file__).parents[1] / "data"

#: Levels per axis of the 1245 published axes, before and after filling.
PUBLISHED_LEVELS = {1: 4, 3: 1, 4: 2, 5: 4, 6: 10, 7: 5, 8: 309, 9: 738, 11: 172}
PUBLISHED_LEVELS_FILLED = {1: 4, 4: 1, 5: 2, 6: 5, 7: 9, 8: 17, 9: 1035, 11: 172}

NAMES = [f"class_eig{eig}_lin{step:.2f}" for eig in (0, 1) for step in (-0.4, 0.0, 0.4)] * 4


def make_session(rng, **changes):
    """Return a session of 24 trials and 4 units as its pickle holds it; `changes` go into meta."""
    rasters = rng.random((len(NAMES), 200, 4)).astype(np.float32) * 40
    rasters[:, :, 2] *= 0.01
    meta = {"spikeID": np.array([[7.0, 9.0, 9.0, 9.0]]), "unitID": np.array([[1.0, 1.0, 0.0, 2.0]])}
    images = np.array(NAMES, dtype=object)[np.newaxis]
    return {"rasters": rasters, "meta": meta | changes, "Trials": {"imageName": images}}


def save(folder, session, name="Caos-01012024-001"):
    (folder / f"{name}.pkl").write_bytes(pickle.dumps(session))
    return name


def test_pickle_and_matlab_file_hold_the_same_session(tmp_path, rng):
    """MATLAB keeps rasters as units × ms × trials, the pickle the other way round."""
    session = make_session(rng)
    save(tmp_path, session, "pickled")
    with write_v73(tmp_path / "matlab_formatted.mat", "test") as file:
        file.save("rasters", session["rasters"].T)
        file.save("meta", session["meta"] | {"ephysFN": "matlab", "unused": None})
        file.save("Trials", {"imageName": NAMES, "B": {"deep": [1, 2]}})
        file.save("lfps", np.zeros((4, 200, len(NAMES))))
    pickled, matlab = (read_session(tmp_path, name) for name in ("pickled", "matlab"))
    np.testing.assert_array_equal(pickled.rasters, matlab.rasters)
    np.testing.assert_array_equal(pickled.channels, matlab.channels)
    np.testing.assert_array_equal(pickled.units, matlab.units)
    assert pickled.image_names == matlab.image_names == NAMES


def test_response_and_baseline_are_means_of_their_windows(tmp_path, rng):
    """The response is that of 50 to 200 ms of the right column, the baseline that of 0 to 45 ms."""
    session = make_session(rng)
    site = load_site(tmp_path, SessionRecord("Caos", 1, save(tmp_path, session), 9, 2))
    column = session["rasters"][:, :, 3].astype(float)
    np.testing.assert_allclose(site.trials["pref_unit_resp"], column[:, 50:200].mean(axis=1))
    baseline = column[:, :45].mean(axis=1)
    assert site.baseline_mean == pytest.approx(baseline.mean())
    n, around = len(NAMES), baseline - baseline.mean()
    assert site.baseline_sem == pytest.approx(np.sqrt((around**2).sum() / (n - 1) / n), rel=1e-6)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda s: [s], "holds a list; expected a dictionary"),
        (lambda s: {"BFEStats": 1}, "holds BFEStats; expected rasters"),
        (lambda s: s | {"rasters": s["rasters"][:, :, :3]}, r"rasters of shape \(24, 200, 3\)"),
        (lambda s: s | {"rasters": s["rasters"][:, :100]}, r"expected \(trials, 200 ms, units\)"),
        (lambda s: s | {"rasters": s["rasters"][:20]}, "for 24 image names"),
        (lambda s: s | {"meta": {}}, "there is no field 'spikeID'"),
        (lambda s: s | {"Trials": {}}, "there is no field 'imageName'"),
        (lambda s: s | {"Trials": {"imageName": [["a", "b"], [3]]}}, "expected one text"),
        (lambda s: s | {"meta": s["meta"] | {"unitID": [1, 1, 1, 1]}}, "0 columns are unit 2"),
        (lambda s: s | {"meta": s["meta"] | {"unitID": [1, 2, 0, 2]}}, "2 columns are unit 2"),
        (lambda s: s | {"rasters": s["rasters"] * np.nan}, "rasters of unit 9B hold NaN"),
        (lambda s: s | {"Trials": {"imageName": ["cat"] * 24}}, "no image name has the form"),
    ],
)
def test_a_wrong_pickle_is_one_sentence(spoil, told, tmp_path, rng):
    """Whatever is wrong with a session, the file is named and the problem told."""
    record = SessionRecord("Caos", 1, "Caos-12022024-003", 9, 2)
    path = tmp_path / f"{save(tmp_path, spoil(make_session(rng)), record.ephys_name)}.pkl"
    with pytest.raises(MalformedDataError, match=told) as caught:
        load_site(tmp_path, record)
    assert str(path) in str(caught.value)


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(print))
    with pytest.raises(MalformedDataError, match="refused"):
        read_session(tmp_path, "evil")


def test_a_cut_pickle_of_a_session_is_not_said_to_have_a_csv(tmp_path):
    (tmp_path / "s.pkl").write_bytes(pickle.dumps({"rasters": np.zeros(99)})[:-50])
    told = "get it again, or read the MATLAB file of the session"
    with pytest.raises(MalformedDataError, match=told):
        read_session(tmp_path, "s")


def test_a_missing_session_names_both_files(tmp_path):
    with pytest.raises(MissingDataError, match=r"neither Caos-1\.pkl nor Caos-1_formatted\.mat"):
        read_session(tmp_path, "Caos-1")


def test_a_matlab_file_of_something_else_is_one_sentence(tmp_path):
    with write_v73(tmp_path / "other_formatted.mat", "test") as file:
        file.save("BFEStats", 1)
    with pytest.raises(MalformedDataError, match="holds no rasters, meta, Trials"):
        read_session(tmp_path, "other")


def test_units_are_numbered_among_the_active_columns_of_a_channel():
    """Columns at 1.25 events/s or less are unit 0; the rest count from 1 on each channel."""
    rates = np.array([2.0, 1.25, 1.3, 50.0, 0.0, 9.0])
    rasters = np.broadcast_to(rates, (3, 200, 6))
    units = infer_units(rasters, np.array([4, 4, 4, 5, 5, 4]))
    np.testing.assert_array_equal(units, [1, 0, 2, 1, 0, 3])


@settings(max_examples=25, deadline=None)
@given(npst.arrays(float, 8, elements=st.floats(0, 4)), npst.arrays(int, 8, elements=st.just(3)))
def test_inferred_units_of_one_channel_are_one_to_n(rates, channels):
    """The active columns of a channel get every number from 1 to their count, in order."""
    units = infer_units(np.broadcast_to(rates, (2, 200, 8)), channels)
    active = units[rates > 1.25]
    np.testing.assert_array_equal(active, np.arange(1, len(active) + 1))
    assert (units[rates <= 1.25] == 0).all()


@pytest.mark.parametrize(
    ("channel", "unit", "label"), [(68, 2, "68B"), (57, 1, "57A"), (5, 2, "5B"), (9, 0, "9U")]
)
def test_labels_are_those_of_the_paper(channel, unit, label):
    assert unit_label(channel, unit) == label


def test_a_unit_without_a_letter_is_refused():
    with pytest.raises(UsageError, match="unknown unit number '9'"):
        unit_label(1, 9)


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("class_eig0_lin0.16", ("class", 0, 0.16)),
        ("noise_eig20_lin-0.40", ("noise", 20, -0.4)),
        ("class_eig3_lin-0.00", ("class", 3, 0.0)),
        ("class_eig3_lin5_extra.bmp", ("class", 3, 5.0)),
    ],
)
def test_present_names_are_read_from_their_start(name, parsed):
    table = parse_stimulus_names([name, "a_class_eig0_lin0.16"])
    assert tuple(table.loc[0, ["space_name", "eig_id", "lin_dist"]]) == parsed
    assert table["hessian_img"].tolist() == [True, False]
    assert table.loc[1, ["space_name", "eig_id", "lin_dist"]].isna().all()
    assert "exp_value" not in table


def test_older_names_are_read_where_no_name_has_the_present_form():
    """One present name is enough to leave older ones unread."""
    older = "class_eig4_exp2.5_lin-1.0"
    table = parse_stimulus_names([older, "other"])
    row = table.loc[0, ["space_name", "eig_id", "exp_value", "lin_dist"]].tolist()
    assert row == ["class", 4.0, 2.5, -1.0]
    mixed = parse_stimulus_names([older, "class_eig0_lin0.16"])
    assert mixed["hessian_img"].tolist() == [False, True]


def test_the_packaged_list_has_the_published_sessions_and_flags():
    """55 sessions of 52 evolutions, 32 of them successful in BigGAN."""
    records = published_sessions()
    assert Counter(record.animal for record in records) == {
        "Caos": 7, "Diablito": 5, "Alfa": 29, "Beto": 14,
    }  # fmt: skip
    flags = {record.exp_id: record.success for record in records}
    assert Counter(flags.values()) == {True: 32, False: 20}
    failed = {int(e.split("_")[1]) for e, s in flags.items() if e.startswith("Alfa") and not s}
    assert failed == {1, 2, 4, 6, *range(8, 16), 22}
    assert published_session("Caos-12102024-003").unit_label == "68B"
    assert published_session("Alfa-27102020-009").evolution_name == "Alfa-27102020-004"
    with pytest.raises(UsageError, match=r"Did you mean .*'Caos-12102024-003'"):
        published_session("Caos-12102024-030")


def test_a_list_in_matroot_is_preferred_and_gets_the_published_flags(tmp_path):
    """Flags follow the session, else the experiment; an unknown experiment has none."""
    rows = [
        ("Alfa", 3, "Alfa-12082020-004", 29, 1),
        ("Beto", 2, "Beto-01012020-001", 4, 1),
        ("Beto", 77, "Beto-02012020-001", 4, 1),
    ]
    table = pd.DataFrame(rows, columns=["Animal", "Expi", "ephysFN", "pref_chan", "pref_unit"])
    table.to_csv(tmp_path / SESSION_LIST_FILE)
    records = read_session_list(tmp_path)
    assert [record.ephys_name for record in records] == [row[2] for row in rows]
    assert [record.success for record in records] == [True, False, None]
    assert records[0].evolution_name == "Alfa-12082020-003"
    assert records[2].evolution_name == ""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "not a readable CSV"),
        ("Animal,Expi\nAlfa,1\n", "lacks column ephysFN, pref_chan, pref_unit"),
        ("Animal,Expi,ephysFN,pref_chan,pref_unit\nAlfa,1,a,x,1\n", "pref_chan must hold a number"),
        ("Animal,Expi,ephysFN,pref_chan,pref_unit\nAlfa,,a,3,1\n", "Expi must hold a number"),
    ],
)
def test_a_malformed_list_is_one_sentence(text, told, tmp_path):
    (tmp_path / SESSION_LIST_FILE).write_text(text)
    with pytest.raises(MalformedDataError, match=told):
        read_session_list(tmp_path)


def real_trials():
    return pd.read_csv(DATA / "tuning_trials_alfa27102020.csv")


def test_real_axis_takes_over_the_origin_trials_of_the_session():
    """Class axis 1 of Alfa-27102020-007 lacks the origin; axis 0 has 7 such trials."""
    trials = real_trials()
    filled, bare = list(axes_of(trials)), list(axes_of(trials, "none"))
    assert [len(axis.response) for axis in bare] == [69, 62]
    assert [len(axis.response) for axis in filled] == [69, 69]
    origin = trials.loc[trials["lin_dist"] == 0, "pref_unit_resp"].to_numpy()
    np.testing.assert_array_equal(filled[1].response[62:], origin)
    assert filled[1].levels.n == 9
    assert filled[1].is_common


@pytest.mark.parametrize(("fill", "n_origin"), [("both spaces", 3), ("same space", 1), ("none", 0)])
def test_filling_follows_its_rule(fill, n_origin):
    """Two class and one noise origin: a noise axis takes over three, one or none."""
    rows = [("class", 0, 0.0), ("class", 0, 0.0), ("noise", 0, 0.0), ("noise", 2, -0.4),
            ("noise", 2, 0.4), (None, np.nan, np.nan)]  # fmt: skip
    trials = pd.DataFrame(rows, columns=["space_name", "eig_id", "lin_dist"])
    trials["pref_unit_resp"] = np.arange(6.0)
    axis = list(axes_of(trials, fill))[-1]
    assert (axis.space, axis.eig_id) == ("noise", 2)
    assert (axis.distance == 0).sum() == n_origin


def test_an_axis_with_origin_is_left_alone_and_order_does_not_matter():
    """Filling changes no axis that has the origin; shuffled trials give the same levels."""
    trials = real_trials()
    shuffled = trials.sample(frac=1, random_state=1)
    first, again = next(axes_of(trials)), next(axes_of(shuffled))
    assert len(first.response) == len(again.response) == 69
    np.testing.assert_allclose(first.levels.mean, again.levels.mean)


def test_unknown_fill_rules_are_refused():
    with pytest.raises(UsageError, match="rule for missing origins"):
        list(axes_of(real_trials(), "interpolate"))


@pytest.mark.parametrize("kind", [int, float, str])
def test_eigenvectors_sort_as_numbers_whatever_their_type(kind):
    """Text such as '10.0' must not sort before '2.0'."""
    eig_ids = [10, 2, 0]
    trials = pd.DataFrame({"space_name": "class", "lin_dist": 0.0, "pref_unit_resp": 1.0,
                           "eig_id": [kind(float(e)) for e in eig_ids]})  # fmt: skip
    assert [axis.eig_id for axis in axes_of(trials)] == [0, 2, 10]


def test_the_simulated_axes_have_the_published_numbers_of_levels():
    """1245 axes; 714 after success; 1096 end at 0.4 (660 and 436), 1088 run from -0.4 to 0.4."""
    before, after, flags, ends, common = Counter(), Counter(), Counter(), Counter(), 0
    for record in published_sessions():
        shown = axis_set(record)
        names = [shown.image_name(*image) for image in shown.images()]
        trials = parse_stimulus_names(names).assign(pref_unit_resp=1.0)
        before.update(axis.levels.n for axis in axes_of(trials, "none"))
        axes = list(axes_of(trials))
        after.update(axis.levels.n for axis in axes)
        flags[record.success] += len(axes)
        ends[record.success] += sum(axis.reaches_common_end for axis in axes)
        common += sum(axis.is_common for axis in axes)
    assert before == PUBLISHED_LEVELS
    assert after == PUBLISHED_LEVELS_FILLED
    assert flags == {True: 714, False: 531}
    assert ends == {True: 660, False: 436}
    assert common == 1088


def test_a_simulation_is_reproducible_and_says_so(tmp_path):
    """The same seed gives the same sessions, whatever their number; files tell what they are."""
    few, more = tmp_path / "few", tmp_path / "more"
    simulate_tuning_sessions(few, seed=3, n_sessions=3)
    simulate_tuning_sessions(more, seed=3, n_sessions=4)
    for path in few.glob("*.pkl"):
        assert path.read_bytes() == (more / path.name).read_bytes()
    sites = collect_sites(few).sites
    assert [site.record.ephys_name for site in sites] == [r.ephys_name for r in choose_sessions(3)]
    assert all(site.simulated for site in sites)


def test_simulated_spikes_have_the_shape_of_recorded_ones():
    """A spike adds 998.96 events/s x ms, its highest bin 199.47 (published signal model)."""
    session, truth = simulate_session(published_session("Alfa-08092020-004"), seed=1)
    assert session["rasters"].dtype == np.float32
    density = session["rasters"][:, :, 2].astype(float)  # the unit that is hardly active
    assert density.shape[1] == 200
    whole = (density[:, :6] == 0).all(axis=1) & (density[:, -6:] == 0).all(axis=1)
    spikes = density[whole].sum(axis=1) / 998.96
    assert set(np.rint(spikes)) >= {0.0, 1.0}
    np.testing.assert_allclose(spikes, np.rint(spikes), atol=1e-4)
    one = density[whole][np.rint(spikes) == 1][0]
    assert one.max() == pytest.approx(199.4711, abs=1e-3)
    assert len(truth) == 25


def test_numbers_of_simulated_sessions_are_checked():
    with pytest.raises(UsageError, match="give 3 to 55"):
        choose_sessions(2)


def test_sessions_that_cannot_be_read_are_left_out_with_a_reason(tmp_path, caplog):
    """One file is cut off, one is missing; the third still counts."""
    simulate_tuning_sessions(tmp_path, seed=0, n_sessions=3)
    first, second, _ = choose_sessions(3)
    path = tmp_path / f"{first.ephys_name}.pkl"
    path.write_bytes(path.read_bytes()[:1000])
    (tmp_path / f"{second.ephys_name}.pkl").unlink()
    population = collect_sites(tmp_path)
    assert len(population.sites) == 1
    assert list(population.left_out) == [first.ephys_name, second.ephys_name]
    assert "cut off" in population.left_out[first.ephys_name]
    assert first.ephys_name in caplog.text


def test_simulated_and_recorded_sessions_do_not_mix(tmp_path):
    simulate_tuning_sessions(tmp_path, seed=0, n_sessions=3)
    path = tmp_path / "Beto-07092020-003.pkl"
    session = pickle.loads(path.read_bytes())
    session["meta"]["simulated"] = False
    path.write_bytes(pickle.dumps(session))
    with pytest.raises(MalformedDataError, match="mixes simulated and recorded"):
        collect_sites(tmp_path)


def test_a_folder_without_sessions_is_missing_data(tmp_path):
    with pytest.raises(MissingDataError, match="no tuning session that can be read"):
        collect_sites(tmp_path)
    with pytest.raises(UserError, match="source of success flags"):
        collect_sites(tmp_path, success="guessed")


def test_real_synopsis_row_of_an_axis():
    """The synopsis of the real trials: levels, repeats, peak and F of the filled axis."""
    record = published_session("Alfa-27102020-007")
    synopsis = tuning_synopsis([TunedSite(record, real_trials(), 20.0, 1.0)], "none")
    row = synopsis.iloc[1]
    assert row["F_value"] == pytest.approx(2.214328, abs=5e-7)
    assert row["p_value"] == pytest.approx(0.04714012, abs=5e-9)
    assert row["stats_str"] == "F(7, 54) = 2.21, p = 4.7e-02"
    assert row["repeat_per_lin_dist"] == [9, 9, 9, 7, 6, 7, 7, 8]
    assert row["lin_dist_num"] == 8
    assert (row["Exp_id"], row["prefchan_str"]) == ("Alfa_15", "9A")
    assert row["is_BigGAN_evol_success"] == np.False_
    filled = tuning_synopsis([TunedSite(record, real_trials(), 20.0, 1.0)]).iloc[1]
    assert filled["lin_dist_num"] == 9
    assert filled["stats_str"].startswith("F(8, 60)")


def evolution_names(n_blocks, per_block):
    """Return image names of an evolution of two threads."""
    return [
        f"block{block:03d}_thread{thread:03d}_gen_gen{block - 1:03d}_{image:06d}"
        for block in range(1, n_blocks + 1)
        for thread in (0, 1)
        for image in range(per_block)
    ]


def test_success_is_computed_from_a_recorded_evolution(tmp_path, rng):
    """Thread 1 climbs, thread 0 does not: a failed flag turns into a success."""
    record = published_session("Alfa-08092020-004")
    names = evolution_names(6, 12)
    gain = np.array([1 + int(n[5:8]) if "_thread001_" in n else 1 for n in names], dtype=float)
    rasters = np.zeros((len(names), 200, 1), dtype=np.float32)
    rasters[:, :, 0] = (10 * gain + rng.normal(0, 3, len(names)))[:, np.newaxis]
    save(tmp_path, {"rasters": rasters, "meta": {"spikeID": 57.0, "unitID": 1.0},
                    "Trials": {"imageName": names}}, record.evolution_name)  # fmt: skip
    others = [r for r in published_sessions() if r.animal == "Caos"]
    flagged = with_computed_success(tmp_path, [record, *others])
    assert record.success is False
    assert flagged[0].success is True
    assert flagged[1:] == others


def test_success_compares_the_last_two_blocks_with_the_first_two(rng):
    """A last block of fewer than 10 images in either thread is dropped; the sign does not count."""
    flat = [rng.normal(10, 1, 20) for _ in range(5)]
    falling = [block - 4 * number for number, block in enumerate(flat)]
    test = compare_ends([flat, falling])
    assert test.t < 0
    assert test.success
    short = [*flat[:-1], flat[-1][:5]]
    expected = stats.ttest_ind(np.concatenate(falling[2:4]), np.concatenate(falling[:2]))
    assert compare_ends([short, falling]).t == pytest.approx(expected.statistic)
    assert not compare_ends([flat[:3], flat[:3]]).success
    assert np.isnan(compare_ends([flat[:3], flat[:3]]).p)


def test_the_marker_tells_seed_and_size(tmp_path):
    simulate_tuning_sessions(tmp_path, seed=5, n_sessions=3)
    note = json.loads((tmp_path / SIMULATED_MARKER).read_text())
    assert note == {"simulated": True, "seed": 5, "n_sessions": 3}


def test_success_is_computed_from_the_file_of_all_evolutions(tmp_path, rng):
    """The evolution is found by its name; the thread in BigGAN rises, so the flag becomes true."""
    record = published_session("Alfa-08092020-004")
    levels = ([20] * 6, [20, 20, 24, 30, 40, 45])
    psth = [[rng.normal(level, 3, (1, 15)) + np.zeros((200, 1)) for level in t] for t in levels]
    evolved = {
        "psth": psth,
        "idx_seq": [[np.arange(1.0, 16.0)] * 6] * 2,
        "space_names": ["fc6", "BigGAN"],
        "pref_chan": np.array([57.0, 57.0]),
        "unit_in_pref_chan": np.array([1.0, 1.0]),
        "imgsize": np.array([3.0, 3.0]),
        "imgpos": np.zeros((2, 2)),
    }
    meta = {"ephysFN": record.evolution_name, "expControlFN": "", "stimuli": "N:\\Stimuli"}
    path = tmp_path / "Both_BigGAN_FC6_Evol_Stats_expsep.pkl"
    path.write_bytes(pickle.dumps([{"evol": None}, {"evol": evolved, "meta": meta}]))
    other = published_session("Alfa-01092020-004")
    flagged = with_computed_success(tmp_path, [record, other])
    assert record.success is False
    assert flagged[0].success is True
    assert flagged[1] == other


def test_axes_of_a_session_are_as_alike_as_asked():
    """Intraclass correlation of bell-shaped axes over sessions of forty axes; none by default."""
    records = published_sessions()
    found = {}
    for icc in (0.0, 0.3):
        chances = [
            _chances_of_session(bool(record.success), icc, [seed, i])
            for i, record in enumerate(records) if record.success for seed in range(40)
        ]  # fmt: skip
        p = np.array(chances)[:, 0]
        mean = CHANCES[True][0]
        found[icc] = p.var() / (mean * (1 - mean))
        assert p.mean() == pytest.approx(mean, abs=0.02)
    assert found[0.0] == pytest.approx(0)
    assert found[0.3] == pytest.approx(0.3, abs=0.03)
    with pytest.raises(UsageError, match="between 0 and 1"):
        _chances_of_session(True, 1.5, [0])

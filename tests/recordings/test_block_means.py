"""Published block means: read, checked against each other, decoded, summarised."""

from __future__ import annotations

import json
import shutil
import zipfile

import numpy as np
import pytest
from scipy import stats

from core.errors import MalformedDataError, MissingDataError
from core.spaces import Space
from neuro_data_analysis.block_means.evolutions import decode_evolutions
from neuro_data_analysis.block_means.published import read_block_means
from neuro_data_analysis.block_means.summaries import (
    Interval,
    Moments,
    describe_intervals,
    moment_tests,
    success_intervals,
    summarize_block_means,
)
from neuro_data_analysis.evolution.stats import Trials, block_tests
from tests.made_block_means import density, make

EXPIS = (6, 155)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Make two experiments of four blocks once."""
    return make(tmp_path_factory.mktemp("made"), np.random.default_rng(5), EXPIS)


@pytest.fixture(scope="module")
def decoded(made):
    """Decode them once."""
    return decode_evolutions(read_block_means(made.folder, EXPIS))


@pytest.fixture
def copied(made, tmp_path):
    """Copy them, for a test that damages one file."""
    return shutil.copytree(made.folder, tmp_path / "public/data")


def edit(path, change):
    """Change one JSON file."""
    content = json.loads(path.read_text())
    path.write_text(json.dumps(change(content) or content))


def archive_of(folder, path, top="NeuralEvolutionExplorer-abc/neural-evolution-explorer/"):
    """Pack a folder as the archive of a repository."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("NeuralEvolutionExplorer-abc/README.md", "a site")
        for file in folder.rglob("*.json"):
            archive.write(file, f"{top}public/data/{file.relative_to(folder)}")
    return path


def test_every_number_is_read_where_it_belongs(made):
    """Experiment, thread, block: against the spikes that were written."""
    evolutions = read_block_means(made.folder, EXPIS)
    assert [e.info.expi for e in evolutions] == list(EXPIS)
    assert [e.folder for e in evolutions] == ["Exp006-B", "Exp155-A"]
    for evolution in evolutions:
        assert evolution.n_blocks == 4
        for thread, published in enumerate(evolution.threads):
            for block in range(4):
                trials = density(made.spikes[evolution.info.expi, thread, block])
                rates = trials[:, 50:].mean(axis=1)
                np.testing.assert_allclose(published.psth[block], trials.mean(axis=0), atol=0.0051)
                np.testing.assert_allclose(
                    published.psth_sem[block], stats.sem(trials, axis=0), atol=0.0051
                )
                assert published.response.mean[block] == pytest.approx(rates.mean(), abs=0.0051)
                assert published.response.sem[block] == pytest.approx(stats.sem(rates), abs=0.0051)
                assert 60 < published.references.mean[block] < 100


def test_an_archive_reads_like_its_folder(made, tmp_path):
    """Zip of the repository, with other files around the data."""
    packed = archive_of(made.folder, tmp_path / "explorer.zip")
    from_zip, from_folder = (read_block_means(path, EXPIS) for path in (packed, made.folder))
    for ours, theirs in zip(from_zip, from_folder, strict=True):
        for a, b in zip(ours.threads, theirs.threads, strict=True):
            np.testing.assert_array_equal(a.psth, b.psth)


def test_pictures_are_not_needed_and_a_surplus_one_is_no_block(made, copied):
    """In 25 experiments one more folder holds a picture alone."""
    surplus = copied / "Exp006-B" / "gen_05"
    surplus.mkdir()
    (surplus / "deepsim_img.webp").write_bytes(b"RIFF")
    assert [e.n_blocks for e in read_block_means(copied, EXPIS)] == [4, 4]


def _set(field, value):
    return lambda content: content.update({field: value})


def _without(*keys):
    """Drop what the last key names, below the others."""

    def change(content):
        for key in keys[:-1]:
            content = content[key]
        content.pop(keys[-1])

    return change


def _set_item(field, i, value):
    return lambda content: content[field].__setitem__(i, value)


PSTH = "Exp006-B/gen_03/deepsim_psth.json"


@pytest.mark.parametrize(
    ("file", "change", "told"),
    [
        (PSTH, _set_item("mean_rate", 7, float("nan")), ["NaN"]),
        (PSTH, _set_item("mean_rate", 7, "61.2"), ["mean_rate", "numbers"]),
        (PSTH, _set_item("mean_rate", 7, None), ["mean_rate", "numbers"]),
        (PSTH, _set_item("mean_rate", 7, True), ["mean_rate", "numbers"]),
        (PSTH, _set_item("mean_rate", 7, -1.0), ["mean_rate", "outside"]),
        (PSTH, _set_item("sem", 7, 1e9), ["sem", "outside"]),
        (PSTH, _without("sem", -1), ["sem", "199", "expected 200"]),
        (PSTH, lambda c: c["mean_rate"].append(1.0), ["mean_rate", "201", "expected 200"]),
        (PSTH, _set_item("time_ms", 199, 200.0), ["time_ms"]),
        (PSTH, _without("sem"), ["no field 'sem'"]),
        (PSTH, lambda c: [c], ["does not hold an object"]),
        (PSTH, _set_item("mean_rate", 70, 500.0), ["mean_rate", "evol_traj.json"]),
        (PSTH, _set("evoked_rate", 1.0), ["evoked_rate"]),
        ("Exp006-B/evol_traj.json", lambda c: c[1].update(gen=3), ["block 2", "'gen' is 3"]),
        ("Exp006-B/evol_traj.json", _without(1, "biggan_low"), ["block 2", "biggan_low"]),
        (
            "Exp006-B/evol_traj.json",
            lambda c: c[1].update(ref_biggan_high=900.0),
            ["block 2", "ref_biggan", "middle"],
        ),
        ("Exp006-B/evol_traj.json", lambda c: {"blocks": c}, ["list of blocks"]),
        ("Exp006-B/summary_stats.json", _set("biggan_final_rate", 3.0), ["biggan_final_rate"]),
        ("Exp006-B/summary_stats.json", _set("deepsim_rate_increase", 3.0), ["rate_increase"]),
        ("Exp006-B/summary_stats.json", _set("num_generations", 5), ["num_generations"]),
        ("Exp006-B/meta.json", _set("tags", ["x"]), ["experiments.json", "Exp006-B"]),
        ("Exp006-B/meta.json", _set("date", "2020-07-22"), ["date"]),
        ("Exp006-B/meta.json", _set("unit", "Ch1U1"), ["unit", "Ch1U1"]),
        ("Exp006-B/meta.json", _set("image_pos_deg", [9, 9, 9, 9]), ["image_pos_deg"]),
        ("experiments.json", _without(-1), ["lacks", "Exp155-A"]),
        ("experiments.json", lambda c: c.append(dict(c[0])), ["Exp006-B twice"]),
        ("experiments.json", lambda c: c.append({"id": "Exp001-B"}), ["Exp001-B"]),
    ],
)
def test_what_does_not_fit_is_refused_by_file_and_field(copied, file, change, told):
    """One damaged value per kind; the message names where it lies."""
    edit(copied / file, change)
    with pytest.raises((MalformedDataError, MissingDataError)) as refused:
        read_block_means(copied, EXPIS)
    for words in (file.split("/")[-1], *told):
        assert words in str(refused.value)


@pytest.mark.parametrize(
    "missing",
    [
        "Exp006-B/gen_02/biggan_psth.json",
        "Exp006-B/gen_04/deepsim_psth.json",
        "Exp006-B/evol_traj.json",
        "Exp155-A/meta.json",
        "Exp155-A/summary_stats.json",
    ],
)
def test_a_missing_file_is_named(copied, missing):
    """A block without its pair, a block in the middle, an experiment without its list."""
    (copied / missing).unlink()
    with pytest.raises(MissingDataError, match=missing):
        read_block_means(copied, EXPIS)


def test_a_trajectory_of_another_length_than_the_experiment_is_refused(copied):
    """One block was cut from its end."""
    edit(copied / "Exp006-B/evol_traj.json", _without(-1))
    with pytest.raises(MalformedDataError, match=r"Exp006-B/meta\.json.*'num_generations' is 4"):
        read_block_means(copied, EXPIS)


def test_a_block_beyond_the_trajectory_is_refused(copied):
    """More PSTHs than blocks: one of the two is of another experiment."""
    shutil.copytree(copied / "Exp006-B/gen_04", copied / "Exp006-B/gen_05")
    with pytest.raises(MalformedDataError, match=r"gen_05/deepsim_psth\.json"):
        read_block_means(copied, EXPIS)


def test_two_experiments_that_were_exchanged_are_noticed(copied):
    """Their sites are known."""
    one, two, spare = copied / "Exp006-B", copied / "Exp155-A", copied / "spare"
    one.rename(spare), two.rename(one), spare.rename(two)
    with pytest.raises(MalformedDataError, match=r"Exp006-B/meta\.json says 'id' is 'Exp155-A'"):
        read_block_means(copied, EXPIS)


def test_a_file_that_is_no_json_is_named(copied):
    """Half a file, as a broken copy leaves it."""
    path = copied / PSTH
    path.write_text(path.read_text()[:300])
    with pytest.raises(MalformedDataError, match=f"{PSTH} is no JSON"):
        read_block_means(copied, EXPIS)


def test_a_truncated_archive_and_an_empty_folder_are_refused(made, tmp_path):
    """Nothing to read is said, not half read."""
    packed = archive_of(made.folder, tmp_path / "explorer.zip")
    packed.write_bytes(packed.read_bytes()[:-2000])
    with pytest.raises(MalformedDataError, match="not a whole zip archive"):
        read_block_means(packed, EXPIS)
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingDataError, match=r"experiments\.json"):
        read_block_means(tmp_path / "empty", EXPIS)


def test_decoding_gives_back_the_spikes_and_images_of_every_block(made, decoded):
    """Against the spikes that were written; all certain."""
    for evolution in decoded:
        for thread, blocks in enumerate(evolution.threads):
            written = [made.spikes[evolution.info.expi, thread, block] for block in range(4)]
            assert blocks.n_images.tolist() == [(30, 25)[thread]] * 4
            assert blocks.certain.all()
            np.testing.assert_array_equal(blocks.spikes, [s.sum(axis=0) for s in written])
            exact = [density(s)[:, 50:].mean() for s in written]
            np.testing.assert_allclose(blocks.response, exact, atol=1e-9)


def test_the_bounds_of_a_sem_hold_the_true_one_and_are_narrow(made, decoded):
    """Known to at most one unit of the last digit, the middle in the middle."""
    for evolution in decoded:
        for thread, blocks in enumerate(evolution.threads):
            true = [
                stats.sem(density(made.spikes[evolution.info.expi, thread, b])[:, 50:].mean(axis=1))
                for b in range(4)
            ]
            low, middle, high = (blocks.response_sem(end) for end in (-1, 0, 1))
            assert (low <= true).all()
            assert (high >= true).all()
            assert (high - low <= 0.0101).all()
            np.testing.assert_allclose((low + high) / 2, middle, atol=1e-9)


def test_the_cache_is_used_for_the_same_means_only(made, tmp_path, monkeypatch):
    """Kept by content: another mean, or a damaged cache, is decoded anew."""
    from neuro_data_analysis.block_means import decoding

    published, cache = read_block_means(made.folder, EXPIS), tmp_path / "decoded.npz"
    first = decode_evolutions(published, cache)
    calls = []
    decode = decoding.decode
    monkeypatch.setattr(decoding, "decode", lambda means: calls.append(1) or decode(means))
    again = decode_evolutions(published, cache)
    assert calls == []
    np.testing.assert_array_equal(first[0].threads[0].spikes, again[0].threads[0].spikes)
    decode_evolutions(published[:1], cache)
    assert calls == [1]
    cache.write_bytes(b"no archive")
    decode_evolutions(published[:1], cache)
    assert calls == [1, 1]


@pytest.mark.parametrize(
    ("field", "told"), [("mean_rate", "no mean of whole spikes"), ("sem", "single spike")]
)
def test_a_sample_that_whole_spikes_do_not_explain_is_refused(tmp_path, rng, field, told):
    """One sample of a sparse block changed so little that its means still agree."""
    made = make(tmp_path, rng, (6,), rate=2)
    path = made.folder / PSTH
    content = json.loads(path.read_text())
    alone = np.convolve(made.spikes[6, 0, 2].sum(axis=0), np.ones(13), "valid") == 1
    sample = int(alone.argmax())
    content[field][sample] = round(content[field][sample] + 0.07, 2)
    path.write_text(json.dumps(content))
    with pytest.raises(MalformedDataError, match=rf"gen_03/deepsim_psth\.json: '{field}'.*{told}"):
        decode_evolutions(read_block_means(made.folder, (6,)))


def test_pooled_tests_from_moments_are_those_from_trials(rng):
    """T and p of every comparison, against scipy on the trials."""
    trials = {}
    for space, scale in zip(Space, (1, 2), strict=True):
        sizes = np.array([30, 40, 41, 39, 12])
        means = np.repeat([50, 70, 90, 80, 75], sizes)
        psth = np.broadcast_to(rng.normal(scale * means, 30), (200, sizes.sum()))
        trials[space] = Trials(psth, sizes)
    moments = {
        space: Moments(t.block_sizes, t.block_means(t.responses()), t.block_sems(t.responses()))
        for space, t in trials.items()
    }
    ours, theirs = moment_tests(moments), block_tests(trials)
    assert list(ours) == list(theirs)
    for name in theirs:
        assert ours[name] == pytest.approx(theirs[name], rel=1e-9), name


def test_too_few_blocks_leave_tests_undefined():
    """As from trials: below three blocks there is nothing to compare."""
    two = Moments(np.array([30, 30]), np.array([1.0, 2.0]), np.array([0.1, 0.1]))
    assert np.isnan(list(moment_tests(dict.fromkeys(Space, two)).values())).all()


def test_a_summary_from_block_means_is_that_from_trials(made, decoded):
    """Trajectory, windows, PSTHs and counts, against the trials that were written."""
    summary = summarize_block_means(decoded[0])
    trials = [[density(made.spikes[6, thread, b]) for b in range(4)] for thread in (0, 1)]
    for space in Space:
        blocks = trials[space.thread]
        evoked = [t[:, 50:].mean() for t in blocks]
        baseline = [t[:, :45].mean() for t in blocks]
        sems = [stats.sem(t[:, 50:].mean(axis=1)) for t in blocks]
        np.testing.assert_allclose(summary.trajectory.mean[space], evoked, atol=1e-9)
        np.testing.assert_allclose(summary.trajectory.baseline[space], baseline, atol=1e-9)
        np.testing.assert_allclose(summary.trajectory.sem[space], sems, atol=0.0051)
        np.testing.assert_allclose(
            summary.psths[space].best, blocks[int(np.argmax(evoked))].mean(axis=0), atol=1e-9
        )
        window = [t[:, 60:70].mean() for t in blocks]
        np.testing.assert_allclose(summary.windows.mean[space][6], window, atol=1e-9)
        assert np.isnan(summary.windows.sem[space]).all()
        first = blocks[0][:, 50:].mean(axis=1)
        assert summary.activations[f"initrsp_{space.thread}_std"] == pytest.approx(
            first.std(), abs=0.03
        )


def test_an_interval_that_holds_a_limit_is_told(decoded):
    """The note of origin names what rounding leaves open, or says that it leaves nothing."""
    wide = Interval(49, Space.BIGGAN, 0.0499, 0.0502)
    left_open = describe_intervals([wide, Interval(3, Space.DEEPSIM, 0.1, 0.2)])
    assert "Expi 49 BG" in left_open["successes undecided by rounding"]
    closed = describe_intervals(success_intervals(decoded))
    assert closed["successes undecided by rounding"].startswith("none of 4")

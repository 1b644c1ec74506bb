"""Evolution of images for units: the engine, its files, resumption, places of images, bad input."""

from __future__ import annotations

import json
import resource
import signal
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from core.errors import CannotWriteError, MalformedDataError, MissingDataError, UsageError
from core.insilico.paired_evolution import command as paired_evolution
from core.insilico.paired_evolution import files
from core.insilico.paired_evolution.command import Networks, evolve_pairs, main
from core.insilico.paired_evolution.files import Checkpoint, SaveEvery
from core.insilico.paired_evolution.folders import (
    EvolvedUnit,
    generator_of,
    read_archive,
    run_label,
    run_of_archive,
    unit_of_folder,
)
from core.insilico.paired_evolution.plan import initial_code
from core.insilico.paired_evolution.runs import Evolution, Field, Run
from core.insilico.paired_evolution.settings import EvolutionSettings, Noise, unit_of_text
from core.reading.array_files import read_arrays
from core.utils import GAN_utils
from core.utils.CNN_scorers import TorchScorer
from core.utils.device import one_thread
from core.utils.generators.named import generator_named
from core.utils.Optimizers import CholeskyCMAES
from tests.closeness import assert_same_pass
from tests.forks import die, forked
from tests.tiny_networks import INPUT_SIDE, TinyGenerator, tiny_networks, tiny_scorer

ROOT = Path(__file__).parents[2]

#: Units of layer conv2 of the tiny network.
UNITS = [(1, 4, 4), (6, 4, 4), (3, 2, 5)]

#: A whole experiment of a second or so.
SMALL = EvolutionSettings("tiny", "conv2", (2, 4), steps=5, repetitions=1, population=6)


def make_run(unit, seed=0, **options):
    optimizer = CholeskyCMAES(
        20,
        init_sigma=0.5,
        init_code=np.random.default_rng(seed).standard_normal(20),
        random_seed=seed,
        dtype=np.float32,
        population_size=options.pop("population", 12),
    )
    return Run(f"unit {unit}, seed {seed}", unit, optimizer, **options)


def evolved(runs, units=UNITS, generations=6, batch_size=40, generator=None):
    scorer = tiny_scorer()
    scorer.set_units("conv2", units)
    evolution = Evolution(generator or TinyGenerator(20), scorer, runs, batch_size)
    for _ in range(generations):
        evolution.advance()
    return evolution


def all_bytes(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module", autouse=True)
def _as_in_forks():
    """Compute in one thread: runs that are killed here have no other, and sums keep their order."""
    with one_thread():
        yield


def _curve_alone(scores, generations, title_str):
    figure = plt.figure(figsize=(1, 1))
    axes = figure.add_axes((0, 0, 1, 1), frame_on=False, xticks=[], yticks=[])
    axes.plot(generations, scores, label=title_str)
    return figure


@pytest.fixture(scope="module", autouse=True)
def _plain_trajectories():
    """Draw trajectories without a word, and words are most of the work of runs so small."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(files, "visualize_trajectory", _curve_alone)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Run the small experiment without interruption."""
    folder = tmp_path_factory.mktemp("evolution") / "whole"
    evolve_pairs(SMALL, folder, networks=tiny_networks())
    return folder


@pytest.mark.numerics
def test_together_as_alone():
    """Runs of several units and repetitions evolve together as they do one after another."""
    seeds = [(unit, seed) for unit in range(3) for seed in (0, 1)]
    together = evolved([make_run(unit, seed) for unit, seed in seeds], batch_size=17).runs
    for (unit, seed), run in zip(seeds, together, strict=True):
        alone = evolved([make_run(0, seed)], [UNITS[unit]]).runs[0]
        np.testing.assert_allclose(alone.codes[1], run.codes[1], rtol=1e-6, atol=1e-6)
        for ours, theirs in zip(run.scores, alone.scores, strict=True):
            assert_same_pass(ours, theirs)


@pytest.mark.numerics
def test_scores_are_responses_of_own_unit():
    """A score is what the network responds to the image of the code, in the run's own unit."""
    runs = evolved([make_run(unit) for unit in range(3)], generations=3).runs
    for run in runs:
        scorer = TorchScorer(tiny_scorer().model, "conv2", UNITS[run.unit], INPUT_SIDE)
        direct = scorer.score_tsr(TinyGenerator(20).visualize(run.codes[-1]))
        assert_same_pass(run.scores[-1], direct)


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 10_000))
def test_scores_climb(seed):
    """Over 20 generations the mean score of each unit rises, whatever the seed."""
    for run in evolved([make_run(unit, seed) for unit in range(3)], generations=20).runs:
        assert run.scores[-1].mean() > run.scores[1].mean()


class MeanAndLog(torch.nn.Module):
    """Unit 0 is the mean of red, unit 1 its logarithm, which dark pictures do not have."""

    def forward(self, images):
        red = images.mean((2, 3))[:, 0]
        return torch.stack([red, torch.log(red)], 1)


class EightNumbers:
    """Pictures of 4 x 4 pixels whose mean falls below grey for half of the codes."""

    codelen, latent_shape, trained, device = 8, (8,), True, torch.device("cpu")
    weights = torch.linspace(-1, 1, 8 * 48).reshape(8, 48).sin()

    def visualize(self, codes, scale=1.0):
        return torch.sigmoid(torch.as_tensor(codes).float() @ self.weights).reshape(-1, 3, 4, 4)


def one_of_two(unit, **options):
    options = {"init_sigma": 0.3, "random_seed": unit, **options}
    return Run(f"unit {unit}", unit, CholeskyCMAES(8, 6, init_code=np.zeros(8), **options))


def two_units(network=None):
    return TorchScorer(torch.nn.Sequential(network or MeanAndLog()), "0", [0, 1], 4, device="cpu")


def test_a_unit_that_does_not_answer_some_images_goes_on_with_the_others():
    evolution = Evolution(EightNumbers(), two_units(), [one_of_two(0), one_of_two(1)])
    for _ in range(4):
        evolution.advance()
    assert [run.generation for run in evolution.runs] == [4, 4]
    assert any(np.isnan(scores).any() for scores in evolution.runs[1].scores)


class SilentAfter(torch.nn.Module):
    """Unit 1 answers with NaN, or infinity, from a number of passes on."""

    def __init__(self, passes, answer):
        super().__init__()
        self.left, self.answer = passes, answer

    def forward(self, images):
        red = images.mean((2, 3))[:, 0]
        self.left -= 1
        return torch.stack([red, red if self.left >= 0 else red * self.answer], 1)


@pytest.mark.parametrize("answer", [float("nan"), float("inf")])
def test_one_bad_unit_is_named_and_leaves_the_others_as_if_they_were_alone(answer, caplog):
    """The healthy run goes on, both stay resumable, and the failed one stands where it was."""
    network = SilentAfter(4, answer)
    evolution = Evolution(EightNumbers(), two_units(network), [one_of_two(0), one_of_two(1)])
    network.left = 2
    for _ in range(5):
        evolution.advance()
    healthy, bad = evolution.runs
    assert [healthy.generation, bad.generation] == [5, 2]
    assert [m for m in caplog.messages if m.startswith("unit 1 failed in generation 2")]
    alone = Evolution(EightNumbers(), two_units(), [one_of_two(0)])
    resumed = Evolution(EightNumbers(), two_units(), [one_of_two(0), one_of_two(1)])
    resumed.load_state_dict(evolution.state_dict())
    for _ in range(6):
        alone.advance()
    resumed.advance()
    assert_same_pass(resumed.runs[0].scores[5], alone.runs[0].scores[5])
    assert resumed.runs[1].failed == bad.failed != ""


def test_advance_is_all_or_nothing(monkeypatch):
    """A generator that breaks leaves every run where it stood."""
    evolution = Evolution(EightNumbers(), two_units(), [one_of_two(0), one_of_two(1)])
    evolution.advance()
    before = evolution.state_dict()
    monkeypatch.setattr(EightNumbers, "visualize", lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        evolution.advance()
    for key, value in evolution.state_dict().items():
        np.testing.assert_array_equal(value, before[key])


def test_the_best_code_is_that_of_the_lowest_score_when_minimising():
    evolution = Evolution(EightNumbers(), two_units(), [one_of_two(0, maximize=False)])
    for _ in range(3):
        evolution.advance()
    run = evolution.runs[0]
    for codes, scores, best in zip(run.codes, run.scores, run.best_codes, strict=True):
        np.testing.assert_array_equal(best, codes[np.argmin(scores)])


def own_generator():
    """Make the generator that ``tests.insilico.test_evolution:own_generator`` names."""
    return TinyGenerator(20)


def test_a_generator_of_ones_own_runs_by_its_name(tmp_path):
    """Named module:object, with labels that fit all; its files tell its name."""
    name = f"{__name__}:own_generator"
    own = EvolutionSettings(
        "tiny", "conv2", (0, 2), (name,), ("CholCMA_standard",), steps=3, repetitions=1,
        population=6,
    )  # fmt: skip
    loaded = Networks(tiny_scorer(), {name: generator_named(name)})
    folder, _ = evolve_pairs(own, tmp_path, networks=loaded)
    (archive,) = folder.glob("scores*.npz")
    label, _ = run_of_archive(archive.name)
    assert generator_of(label) == name
    assert np.load(archive)["codes_all"].shape[1] == 20
    with pytest.raises(UsageError, match="knows none of the optimisers Adam"):
        replace(own, labels=("Adam",))
    with pytest.raises(MissingDataError, match="cannot be imported"):
        generator_named("no_such_module:make")


def test_a_list_of_units_is_evolved_for_as_each_alone(tmp_path, finished):
    """Channels at their centres, places in a map; a channel's run is that of a range."""
    listed = replace(SMALL, channels=(), units=((3,), (6, 1, 2)), generators=("fc6",))
    folders = evolve_pairs(listed, tmp_path, networks=tiny_networks())
    assert [folder.name for folder in folders] == ["tiny_conv2_3_4_4", "tiny_conv2_6_1_2"]
    (archive,) = folders[0].glob("scores*.npz")
    same = np.load(finished / folders[0].name / archive.name)
    np.testing.assert_allclose(np.load(archive)["scores_all"], same["scores_all"], rtol=1e-5)
    assert unit_of_text("6,1,2") == (6, 1, 2)
    for units, words in (
        (((6, 99, 0),), "unit 6,99,0 was asked for; layer 'conv2' has conv2: 8 channels"),
        (((3,), (3, 4, 4)), "takes each unit once"),
        (((3, 4),), "CHANNEL,ROW,COLUMN"),
        ((), "neither came"),
    ):
        with pytest.raises(UsageError, match=words):
            evolve_pairs(
                replace(listed, units=units), tmp_path / "other", networks=tiny_networks()
            )
    with pytest.raises(UsageError, match="both came"):
        replace(SMALL, units=((1,),))


def test_a_generator_is_named_short_or_whole():
    """Parameters that a function has for weights, device and seed are handed to it."""
    own = EvolutionSettings("tiny", "conv2", (0, 1), ("PixelSpace",), ("CholCMA_standard",))
    assert own.generators == ("core.utils:PixelSpace",)
    assert generator_named("PixelSpace").codelen == generator_named(own.generators[0]).codelen
    assert not generator_named("fc8", pretrained=False, device="cpu").trained
    assert generator_named(f"{__name__}:seeded_generator", seed=7).codelen == 7
    with pytest.raises(UsageError, match="unknown generator 'PixelSpaces'"):
        generator_named("PixelSpaces")


def seeded_generator(seed=3, **_):
    return TinyGenerator(seed)


def test_memory_is_bounded():
    """No batch is larger than asked for, however many runs there are."""
    generator = TinyGenerator(20)
    runs = [make_run(unit, seed) for unit in range(3) for seed in range(4)]
    evolved(runs, batch_size=10, generator=generator)
    assert max(generator.batches) == 10
    assert sum(generator.batches) == 12 * (1 + 5 * 12)


@pytest.mark.parametrize("kind", ["gaussian", "poisson"])
def test_noise_is_seeded_and_apart(kind):
    """The optimiser is told noisy scores; the true ones are kept; a seed decides the noise."""
    noise = Noise(kind, 0.3)
    first, again, other = (
        evolved([replace(make_run(2, noise=noise), seed=seed)]).runs[0] for seed in ([1], [1], [2])
    )
    np.testing.assert_array_equal(np.concatenate(first.scores), np.concatenate(again.scores))
    assert (first.scores[1] != first.true_scores[1]).all()
    assert (first.scores[1] != other.scores[1]).any()
    np.testing.assert_array_equal(first.true_scores[1], other.true_scores[1])


def test_noise_has_its_moments(rng):
    """Gaussian noise has the given deviation; Poisson variance is scale times the response."""
    responses = np.full(40_000, 4.0)
    assert Noise("none").on(responses, rng) is responses
    gaussian = Noise("gaussian", 0.5).on(responses, rng)
    assert gaussian.std() == pytest.approx(0.5, rel=0.03)
    poisson = Noise("poisson", 0.25).on(responses, rng)
    assert poisson.mean() == pytest.approx(4, rel=0.02)
    assert poisson.var() == pytest.approx(0.25 * 4, rel=0.05)
    assert (Noise("poisson").on(np.array([-3.0]), rng) == 0).all()


def test_last_codes_are_kept():
    """At least as many codes as asked for stay, the last ones, and the best of each generation."""
    run = evolved([make_run(0, codes_kept=20)], generations=7).runs[0]
    assert [len(codes) for codes in run.codes] == [12, 12]
    everything = evolved([make_run(0)], generations=7).runs[0]
    assert sum(map(len, everything.codes)) == 1 + 6 * 12
    np.testing.assert_array_equal(run.codes[-1], everything.codes[-1])
    best = [c[np.argmax(s)] for c, s in zip(everything.codes, everything.scores, strict=True)]
    np.testing.assert_array_equal(run.best_codes, best)


@pytest.mark.parametrize("noise", [Noise(), Noise("gaussian", 0.2)])
def test_state_goes_round(noise):
    """An evolution goes on from its state bit for bit, at any generation."""

    def runs():
        return [make_run(unit, codes_kept=20, noise=noise) for unit in range(3)]

    whole = evolved(runs(), generations=7)
    for generation in (0, 1, 4):
        half, rest = evolved(runs(), generations=generation), evolved(runs(), generations=0)
        rest.load_state_dict(half.state_dict())
        for _ in range(generation, 7):
            rest.advance()
        for key, value in whole.state_dict().items():
            np.testing.assert_array_equal(rest.state_dict()[key], value, err_msg=key)


def test_state_of_another_is_refused():
    """A state of other runs, or one that lacks entries, is refused by name."""
    evolution = evolved([make_run(0)], generations=2)
    state = evolution.state_dict()
    with pytest.raises(MalformedDataError, match="unit 1, seed 0 lacks"):
        evolved([make_run(1)], generations=0).load_state_dict(state)
    with pytest.raises(UsageError, match="population_size"):
        evolved([make_run(0, population=9)], generations=0).load_state_dict(state)


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        ([], "at least one"),
        ([make_run(0), make_run(0)], "name of its own"),
        ([make_run(0), make_run(1, place=Field((9, 9), (0, 0), 24))], "different sizes"),
    ],
)
def test_runs_that_cannot_go_together(runs, words):
    """An evolution refuses no runs, runs of one name, and images of different sizes."""
    with pytest.raises(UsageError, match=words):
        evolved(runs)


def test_image_lies_in_its_field():
    """An image is shown at (row, column) of its field, resized to it; grey is around it."""
    field = Field(size=(8, 5), offset=(3, 12), canvas=24)
    shown = field.show(torch.ones((2, 3, 16, 16)))
    assert shown.shape == (2, 3, 24, 24)
    assert (shown[..., 3:11, 12:17] == 1).all()
    shown[..., 3:11, 12:17] = 0.5
    assert (shown == 0.5).all()


@pytest.mark.numerics
def test_each_run_has_its_own_field():
    """Runs of one batch are shown in fields of their own, across the borders of batches."""
    fields = [Field((7, 7), (0, 0), 24), Field((9, 9), (10, 6), 24), Field((5, 5), (8, 19), 24)]
    places = list(enumerate(fields))
    runs = evolved([make_run(u, place=f) for u, f in places], generations=3, batch_size=7).runs
    for run in runs:
        scorer = TorchScorer(tiny_scorer().model, "conv2", UNITS[run.unit], INPUT_SIDE)
        images = fields[run.unit].show(TinyGenerator(20).visualize(run.codes[-1]))
        assert_same_pass(run.scores[-1], scorer.score_tsr(images))


class OffCentre(torch.nn.Module):
    """A map whose unit of row r and column c sees input rows from 2r and columns from 8 + c."""

    def __init__(self):
        super().__init__()
        self.seen = torch.nn.Conv2d(3, 2, (4, 4), stride=(2, 1))

    def forward(self, images):
        return self.seen(images[..., 8:])


@pytest.mark.parametrize(
    ("placement", "expected"),
    [
        ("field", Field(size=(4, 4), offset=(10, 14), canvas=24)),
        ("published", Field(size=(4, 4), offset=(14, 10), canvas=32)),
    ],
)
def test_receptive_field_placement(monkeypatch, tmp_path, placement, expected):
    """Fields lie at (row, column) on the input; as published, at (x, y) on a larger canvas."""
    torch.manual_seed(0)
    scorer = TorchScorer(OffCentre(), imgpix=24, device="cpu")
    generator = TinyGenerator(4096)
    monkeypatch.setattr("tests.tiny_networks.IMAGE_SIDE", 32)
    generator.weights = torch.ones((4096, 3 * 32**2))
    seen = []
    monkeypatch.setattr(paired_evolution, "write_run", lambda files, run, *_: seen.append(run))
    evolve_pairs(
        replace(SMALL, layer="seen", channels=(1, 2), generators=("fc6",), steps=1,
                placement=placement),
        tmp_path,
        networks=Networks(scorer, {"fc6": generator}),
    )  # fmt: skip
    assert scorer.layer_shape("seen") == (2, 11, 13)  # its centre is row 5, column 6
    assert seen[0].place == expected


def test_published_placement_needs_a_large_canvas(tmp_path):
    """Where the generator's images are too small for the field, the published way is refused."""
    with pytest.raises(UsageError, match="canvas of the generator's 16"):
        evolve_pairs(replace(SMALL, layer="conv1", placement="published", channels=(0, 1)),
                     tmp_path, networks=far_field())  # fmt: skip
    assert not list(tmp_path.iterdir())


def far_field():
    networks = tiny_networks()
    shift = torch.nn.Sequential()
    shift.add_module("pad", torch.nn.ZeroPad2d((0, 0, 0, 0)))
    shift.add_module("conv1", torch.nn.Conv2d(3, 2, 20))
    return Networks(TorchScorer(shift, imgpix=24, device="cpu"), networks.generators)


def test_files_are_named_as_published(finished):
    """Folders and files have the published names; archives the published keys."""
    assert sorted(path.name for path in finished.iterdir()) == [
        "experiment.json",
        "threads.json",
        "tiny_conv2_2_4_4",
        "tiny_conv2_3_4_4",
    ]
    folder = finished / "tiny_conv2_2_4_4"
    archives = {run_of_archive(path.name): path for path in folder.glob("scores*.npz")}
    assert {label for label, _ in archives} == {"CholCMA", "CholCMA_fc6"}
    for (label, number), path in archives.items():
        last = f"{archive_of(path)['scores_all'][-6:].mean():.1f}"
        for name in (
            f"besteachgen{label}_{number:05d}.jpg",
            f"lastgen{label}_{number:05d}_score{last}.jpg",
            f"traj{label}_{number:05d}_score{last}.jpg",
            f"init_code_{number:05d}.npy",
        ):
            assert (folder / name).is_file()
    assert len(list(folder.iterdir())) == 2 * 5


def archive_of(path):
    with np.load(path) as saved:
        return dict(saved)


def test_archives(finished):
    """Archives hold all scores, their generations, all codes (BigGAN) or the last ones (fc6)."""
    folder = finished / "tiny_conv2_3_4_4"
    biggan, fc6 = (
        next(
            (path, archive_of(path))
            for path in folder.glob("scores*.npz")
            if generator_of(run_of_archive(path.name)[0]) == name
        )
        for name in ("BigGAN", "fc6")
    )
    generations = np.repeat(np.arange(5), [1, 6, 6, 6, 6])
    for path, archive in (biggan, fc6):
        np.testing.assert_array_equal(archive["generations"], generations)
        np.testing.assert_array_equal(archive["scores_all"], archive["scores_without_noise"])
        first = np.load(folder / f"init_code_{run_of_archive(path.name)[1]:05d}.npy")
        np.testing.assert_array_equal(first[0], next(iter(archive_codes(archive))))
        scorer = TorchScorer(tiny_scorer().model, "conv2", (3, 4, 4), INPUT_SIDE)
        images = TinyGenerator(first.shape[1]).visualize(archive_codes(archive))
        assert_same_pass(archive["scores_all"], scorer.score_tsr(images))
        assert archive["untrained"]
        assert read_archive(path).untrained
    assert biggan[1]["codes_all"].shape == (25, 256)
    assert fc6[1]["codes_fin"].shape == (25, 4096)


def archive_codes(archive):
    return archive["codes_all"] if "codes_all" in archive else archive["codes_fin"]


def test_last_80_codes_of_fc6(tmp_path):
    """Of DeePSim the last 80 codes are kept, of BigGAN all."""
    evolve_pairs(replace(SMALL, channels=(2, 3), steps=4, population=30), tmp_path,
                 networks=tiny_networks())  # fmt: skip
    shapes = [archive_codes(archive_of(path)).shape for path in tmp_path.rglob("scores*.npz")]
    assert sorted(shapes) == [(80, 4096), (91, 256)]


def test_pictures_of_untrained_networks_say_so(finished):
    """Grids of untrained generators have a strip below them that says so."""
    picture = Image.open(next(finished.rglob("lastgenCholCMA_fc6*.jpg")))
    assert picture.size == (6 * 18 + 2, 18 + 2 + 14)
    strip = np.asarray(picture)[-13:]
    assert strip.max() > 200 > 100 > strip.mean()


def test_labels_of_a_repetition_share_the_first_code(tmp_path):
    """Optimisers of one repetition start from one code; repetitions and units from others."""
    labels = ("CholCMA", "CholCMA_noA")
    evolve_pairs(
        replace(SMALL, generators=("BigGAN",), labels=labels, repetitions=2, steps=2),
        tmp_path,
        networks=tiny_networks(),
    )
    first = {
        (path.parent.name, *run_of_archive(path.name)): archive_of(path)["codes_all"]
        for path in tmp_path.rglob("scores*.npz")
    }
    assert len(first) == 8
    assert len({codes[0].tobytes() for codes in first.values()}) == 4
    assert len({codes[1].tobytes() for codes in first.values()}) == 8
    for (folder, _, number), codes in first.items():
        np.testing.assert_array_equal(first[folder, "CholCMA", number][0], codes[0])


@pytest.mark.numerics
def test_runs_do_not_depend_on_their_company(tmp_path, finished):
    """A unit evolves the same whichever units run beside it."""
    evolve_pairs(replace(SMALL, channels=(3, 4)), tmp_path, networks=tiny_networks())
    for path in tmp_path.rglob("scores*.npz"):
        alone, together = archive_of(path), archive_of(finished / path.relative_to(tmp_path))
        assert_same_pass(alone["scores_all"], together["scores_all"])


def test_initial_codes(rng):
    """BigGAN begins with cut noise and no class, DeePSim with normal numbers."""
    codes = np.stack([initial_code("BigGAN", rng) for _ in range(200)])
    assert codes.shape == (200, 256)
    assert (codes[:, 128:] == 0).all()
    assert np.abs(codes).max() <= 0.7 * 2
    assert codes[:, :128].std() == pytest.approx(0.7 * 0.8796, rel=0.02)
    assert initial_code("fc6", rng).std() == pytest.approx(1, rel=0.05)


def _dies_after_generation_3(steps):
    for step in steps:
        if step == 3:
            die()
        yield step


def _dies_while_a_checkpoint_is_written(steps):
    save, count = np.savez, []

    def savez(file, **arrays):
        count.append(file)
        if len(count) == 4:
            file.write(b"half of it")
            file.flush()
            die()
        save(file, **arrays)

    np.savez = savez
    return steps


def _dies_while_files_are_written(steps):
    write = paired_evolution.write_run

    def write_run(files, *rest):
        write(files, *rest)
        if "fc6" not in files.label:
            die()

    paired_evolution.write_run = write_run
    return steps


#: Moments at which a process dies, by what goes through its generations.
_KILLED = {
    "after generation 3": _dies_after_generation_3,
    "while a checkpoint is written": _dies_while_a_checkpoint_is_written,
    "while files are written": _dies_while_files_are_written,
}


def test_killed_runs_resume_to_the_same_bytes(tmp_path, finished):
    """Killed at any moment, an experiment goes on and ends with the files of an unbroken one."""
    for moment, dying_at in _KILLED.items():
        begin = partial(evolve_pairs, networks=tiny_networks(), progress=dying_at)
        assert forked(begin, SMALL, tmp_path / moment) == -signal.SIGKILL
    for moment in _KILLED:
        folder = tmp_path / moment
        unfinished = list(folder.rglob("*.unfinished"))
        assert bool(unfinished) == (moment == "while a checkpoint is written")
        assert list(folder.glob(".*.checkpoint.npz"))
        evolve_pairs(SMALL, folder, networks=tiny_networks(), resume=True)
        assert not any(leftover.exists() for leftover in unfinished)
        assert all_bytes(folder) == all_bytes(finished), moment


def dying(step):
    """Return what goes through generations and breaks before one of them."""

    def progress(steps):
        for number in steps:
            if number == step:
                raise ZeroDivisionError
            yield number

    return progress


def test_what_is_lost_is_no_more_than_was_asked_for(tmp_path):
    """Broken off before generation 4, a run has kept what it was to keep, and ends alike."""
    one = replace(SMALL, generators=("BigGAN",), channels=(2, 3))
    evolve_pairs(one, tmp_path / "whole", networks=tiny_networks())
    for every, lost in ((SaveEvery(3), 1), (SaveEvery(None, 1e-9), 0), (SaveEvery(9, 1e9), 4)):
        folder, begun = tmp_path / f"{lost} lost", []
        with pytest.raises(ZeroDivisionError):
            evolve_pairs(
                one, folder, networks=tiny_networks(), save_every=every, progress=dying(4)
            )
        evolve_pairs(
            one,
            folder,
            networks=tiny_networks(),
            save_every=every,
            resume=True,
            progress=lambda steps, begun=begun: begun.append(steps) or steps,
        )
        assert begun == [range(4 - lost, 5)]
        assert all_bytes(folder) == all_bytes(tmp_path / "whole")


def test_history_is_appended(tmp_path):
    """Files of history hold new generations only, and nobody touches them again."""
    evolution = evolved([make_run(0, codes_kept=20), make_run(1)], generations=0)
    checkpoint = Checkpoint(tmp_path / ".x.checkpoint.npz", evolution, SaveEvery(2))
    before = {}
    for generation in range(1, 7):
        evolution.advance()
        checkpoint.save_if_due()
        pieces = {path.name: path.read_bytes() for path in tmp_path.glob(".x.history*")}
        assert len(pieces) == generation // 2
        assert pieces.items() >= before.items()
        before = pieces
    sizes = [len(read_arrays(tmp_path / name)["unit 1, seed 0/sizes"]) for name in sorted(before)]
    assert sizes == [2, 2, 2]
    resumed = evolved([make_run(0, codes_kept=20), make_run(1)], generations=0)
    Checkpoint(checkpoint.path, resumed).load()
    for key, value in evolution.state_dict().items():
        np.testing.assert_array_equal(resumed.state_dict()[key], value, err_msg=key)
    (tmp_path / ".x.history00002.npz").unlink()
    with pytest.raises(MissingDataError, match="history00002"):
        Checkpoint(checkpoint.path, resumed).load()
    checkpoint.remove()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("limits", [(None, None), (0, None), (None, -1.0), (3, 0.0)])
def test_checkpoints_need_a_limit(limits):
    with pytest.raises(UsageError, match="give one of them, above 0"):
        SaveEvery(*limits)


def test_codes_and_scores_travel_once_a_generation(monkeypatch):
    """Codes go to the device, and scores come back, in one piece, however many the batches."""
    evolution = evolved([make_run(0), make_run(1)], generations=1, batch_size=5)
    went, came = [], []
    from_numpy, cpu = torch.from_numpy, torch.Tensor.cpu
    monkeypatch.setattr(torch, "from_numpy", lambda a: went.append(a.shape) or from_numpy(a))
    monkeypatch.setattr(torch.Tensor, "cpu", lambda t: came.append(tuple(t.shape)) or cpu(t))
    evolution.advance()
    assert went == [(24, 20), (24,)]
    assert came == [(24,)]


def test_a_silent_unit_is_told(tmp_path, caplog):
    """A unit that answers every image alike is named; there was nothing to optimise."""
    networks = tiny_networks()
    networks.scorer.model.conv2.weight.data.zero_()
    evolve_pairs(replace(SMALL, generators=("BigGAN",)), tmp_path, networks=networks)
    assert caplog.text.count("answered every image alike") == 2


def test_a_finished_experiment_is_not_run_again(finished):
    """Resuming what is finished generates nothing and changes nothing."""
    networks, before = tiny_networks(), all_bytes(finished)
    (finished / ".fc6.history00001.npz").touch()  # left by one that was killed at its very end
    for generator in networks.generators.values():
        generator.batches.clear()
    folders = evolve_pairs(SMALL, finished, networks=networks, resume=True)
    assert [folder.name for folder in folders] == ["tiny_conv2_2_4_4", "tiny_conv2_3_4_4"]
    assert all(not generator.batches for generator in networks.generators.values())
    assert all_bytes(finished) == before


@contextmanager
def no_space_beyond(n_bytes):
    """Let no file of this process grow beyond a size, as on a full disk."""
    earlier = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, earlier[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, earlier)


def test_full_disk(tmp_path, finished):
    """On a full disk one sentence says so; nothing is lost, and the run goes on afterwards."""
    with (
        no_space_beyond(700_000),
        pytest.raises(CannotWriteError, match=r"cannot write .*\.fc6\.checkpoint\.npz: File too"),
    ):
        evolve_pairs(SMALL, tmp_path, networks=tiny_networks())
    assert (tmp_path / ".fc6.checkpoint.npz").is_file()
    assert not list(tmp_path.rglob("*.unfinished"))
    evolve_pairs(SMALL, tmp_path, networks=tiny_networks(), resume=True)
    assert all_bytes(tmp_path) == all_bytes(finished)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"channels": (3, 3)}, "A < B"),
        ({"channels": (-1, 3)}, "A < B"),
        ({"steps": 0}, "0 steps"),
        ({"repetitions": 0}, "0 repetitions"),
        ({"population": 1}, "population"),
        ({"seed": -1}, "seed"),
        ({"placement": "centre"}, "unknown placement 'centre'"),
        ({"generators": ("fc7",)}, "unknown generator 'fc7'.*fc6"),
        ({"generators": ()}, "at least one"),
        ({"generators": ("fc6", "fc6")}, "each generator once"),
        ({"labels": ("ChloCMA",)}, "Did you mean 'CholCMA'"),
        ({"labels": ("HessCMA",)}, "'fc6' knows none"),
        ({"layer": "conv3"}, "Did you mean 'conv2'"),
        ({"channels": (6,)}, "give A B with 0 <= A < B"),
        ({"channels": (6, 9)}, "channels 6 to 8 were asked for; layer 'conv2' has 8"),
        ({"labels": ("CholCMA", "HessCMA")}, "needs the average Hessian of BigGAN"),
    ],
)
def test_settings_that_cannot_be(tmp_path, options, words):
    """What does not exist is refused with what does, and no folder is claimed for it."""
    with pytest.raises(UsageError, match=words):
        evolve_pairs(replace(SMALL, **options), tmp_path / "out", networks=tiny_networks())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("write", "error", "words"),
    [
        (lambda path: None, MissingDataError, "no Hessian"),
        (lambda path: path.write_bytes(b"text"), MalformedDataError, "no .npz file"),
        (lambda path: np.savez(path, eigvals=[1]), UsageError, "unknown entry 'eigvals_avg'"),
    ],
)
def test_hessians_that_cannot_be_used(tmp_path, write, error, words):
    """A Hessian that is missing, damaged or under other keys is named."""
    write(tmp_path / "hessian.npz")
    with pytest.raises(error, match=words):
        evolve_pairs(
            replace(SMALL, generators=("BigGAN",), labels=("HessCMA",)),
            tmp_path / "out",
            networks=tiny_networks(),
            hessians={"BigGAN": str(tmp_path / "hessian.npz")},
        )
    assert not (tmp_path / "out").exists()


def test_hessian_guides_the_search(tmp_path, rng):
    """With a Hessian, codes leave the first one along its eigenvectors only, scaled by them."""
    values = np.geomspace(1, 100, 256)
    path = tmp_path / "hessian.npz"
    np.savez(path, eigvals_avg=values, eigvects_avg=np.eye(256))
    evolve_pairs(
        replace(SMALL, generators=("BigGAN",), labels=("HessCMA",), population=200, steps=2),
        tmp_path / "out",
        networks=tiny_networks(),
        hessians={"BigGAN": str(path)},
    )
    codes = archive_of(next((tmp_path / "out").rglob("scores*.npz")))["codes_all"]
    spread = (codes[1:] - codes[0]).std(axis=0)
    np.testing.assert_allclose(spread, 0.2 * values ** (-1 / 2.5), rtol=0.3)


def test_folder_of_another_experiment(tmp_path, finished):
    """A folder with results is not written over, and not mixed with those of other settings."""
    before = all_bytes(finished)
    with pytest.raises(UsageError, match="--resume"):
        evolve_pairs(SMALL, finished, networks=tiny_networks())
    with pytest.raises(UsageError, match="another experiment: noise, steps differ"):
        evolve_pairs(replace(SMALL, steps=6, noise=Noise("poisson")), finished, resume=True,
                     networks=tiny_networks())  # fmt: skip
    assert all_bytes(finished) == before
    (tmp_path / "experiment.json").write_text("{")
    with pytest.raises(MalformedDataError, match="cannot be read"):
        evolve_pairs(SMALL, tmp_path, resume=True, networks=tiny_networks())


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--net", "resnet81"], 2, "unknown network 'resnet81'. Did you mean 'resnet18'"),
        (["--layer", ".layer2.BasicBlock9"], 2, "Did you mean '.layer2.BasicBlock"),
        (["--chans", "500", "600"], 2, "channels 500 to 599 were asked for; layer"),
        (["--optim", "CholCMA_nA"], 2, "Did you mean 'CholCMA_noA'"),
        (["--noise", "poisson", "--noise-scale", "0"], 2, "scale 0.0"),
        (["--device", "cpuu"], 2, "Did you mean 'cpu'"),
    ],
)
def test_command_line_refuses(tmp_path, capsys, monkeypatch, arguments, code, words):
    """Mistakes on the command line end in one sentence and an exit code, without results."""
    monkeypatch.setattr(GAN_utils, "upconvGAN", lambda *_, **__: TinyGenerator(4096))
    given = ["--net", "resnet18", "--layer", ".layer1.BasicBlock0", "--chans", "0", "1",
             "--G", "fc6", "--untrained", "--output", f"{tmp_path}/out", *arguments]  # fmt: skip
    assert main(given) == code
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_generator_without_weights(tmp_path, capsys, monkeypatch):
    """Without network, weights that are not here are named with the way to bring them."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    monkeypatch.setattr(paired_evolution, "TorchScorer", lambda *_, **__: tiny_scorer())
    code = main(["--net", "tiny", "--layer", "conv2", "--chans", "0", "1", "--G", "fc6",
                 "--output", str(tmp_path / "out")])  # fmt: skip
    assert code == 3
    assert "upconvGAN_fc6.pt" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_command_line_runs(tmp_path, capsys, monkeypatch):
    """The command line runs an experiment, says where it is, and notes what it was."""
    monkeypatch.setattr(paired_evolution, "load_networks", tiny_networks)
    arguments = ["--net", "tiny", "--layer", "conv2", "--chans", "2", "4", "--steps", "5",
                 "--reps", "1", "--population", "6", "--output", str(tmp_path)]  # fmt: skip
    assert main([*arguments, "--G", "BigGAN", "--noise", "gaussian"]) == 0
    assert capsys.readouterr().out.split() == [
        str(tmp_path / "tiny_conv2_2_4_4"),
        str(tmp_path / "tiny_conv2_3_4_4"),
    ]
    note = json.loads((tmp_path / "experiment.json").read_text())
    assert note["noise"] == {"kind": "gaussian", "scale": 1.0}
    archive = archive_of(next(tmp_path.rglob("scores*.npz")))
    assert (archive["scores_all"] != archive["scores_without_noise"]).all()
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])


@pytest.mark.parametrize(
    ("unit", "name"),
    [
        (EvolvedUnit("resnet50_linf8", ".layer3.Bottleneck5", 7, (7, 7)),
         "resnet50_linf8_.layer3.Bottleneck5_7_7_7"),
        (EvolvedUnit("resnet50", ".Linearfc", 19), "resnet50_.Linearfc_19"),
        (EvolvedUnit("alexnet", "conv5", 3, (7, 7), True), "alexnet_conv5_3_7_7_RFrsz"),
        (EvolvedUnit("vgg16-face", ".classifier.Linear6", 0, (), True),
         "vgg16-face_.classifier.Linear6_0_RFrsz"),
        (EvolvedUnit("resnet50.a1_in1k", ".layer2.Bottleneck0", 3, (14, 14)),
         "resnet50%2Ea1_in1k_.layer2.Bottleneck0_3_14_14"),
        (EvolvedUnit("vit_base", ".patch_embed.Conv2dproj", 3, (7, 7)),
         "vit_base_.patch%5Fembed.Conv2dproj_3_7_7"),
        (EvolvedUnit("net_3", "4", 5), "net_3_%34_5"),
    ],
)  # fmt: skip
def test_folder_names(unit, name):
    """Folders are named as published, and every name is read back as the unit that it names."""
    assert unit.folder == name
    assert unit_of_folder(name) == unit


@settings(max_examples=60, deadline=None)
@given(
    net=st.from_regex(r"[A-Za-z0-9_.%/:-]{1,12}", fullmatch=True),
    layer=st.from_regex(r"[A-Za-z0-9_.%-]{1,12}", fullmatch=True),
    numbers=st.sampled_from([(3,), (3, 7, 7)]),
    in_field=st.booleans(),
)
def test_any_name_reads_back(net, layer, numbers, in_field):
    """Whatever net and layer are called, their folder's name tells them."""
    unit = EvolvedUnit(net, layer, numbers[0], numbers[1:], in_field)
    assert unit_of_folder(unit.folder) == unit
    assert "/" not in unit.folder


@pytest.mark.parametrize("name", ["resnet50", "resnet50_.Linearfc", "a.b_conv1_3", "_1_2"])
def test_other_folders(name):
    """Folders of other things are not taken for those of units."""
    with pytest.raises(MalformedDataError, match="is not named"):
        unit_of_folder(name)


def test_run_labels():
    """Labels of DeePSim end in _fc6, in archives too."""
    assert run_label("CholCMA", "fc6") == "CholCMA_fc6"
    assert run_label("CholCMA", "BigGAN") == "CholCMA"
    assert run_of_archive("scoresHessCMA500_1_fc6_00042.npz") == ("HessCMA500_1_fc6", 42)
    assert run_of_archive("scoresCholCMA_123.npz") is None
    assert (generator_of("CholCMA_fc6"), generator_of("HessCMA")) == ("fc6", "BigGAN")

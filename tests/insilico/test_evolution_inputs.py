"""Paired evolutions of networks of one's own: channels, sizes, weights, scorers that are rigs."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from core.errors import UsageError
from core.insilico.paired_evolution import command
from core.insilico.paired_evolution.command import Networks, evolve_pairs, load_networks, main
from core.insilico.paired_evolution.plan import place_of, receptive_field, units_of
from core.insilico.paired_evolution.runs import Evolution, Run
from core.insilico.paired_evolution.settings import EvolutionSettings
from core.insilico.sweeps.command import run_sweep
from core.insilico.sweeps.file import read_sweep
from core.utils import Channel, CholeskyCMAES, Direction, WeightedSum
from core.utils.CNN_scorers import TorchScorer
from core.utils.weights.digest import weights_digest
from tests.tiny_networks import tiny_generator, tiny_networks


class ChannelsLast(nn.Module):
    """Maps of (rows, columns, 6 channels), as in Swin, and a sequence of tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.maps, self.tokens = nn.Conv2d(3, 6, 3, 2), nn.Identity(), nn.Identity()

    def forward(self, images):
        maps = self.maps(self.conv(images).permute(0, 2, 3, 1))
        return self.tokens(maps.flatten(1, 2)).mean(1)


@pytest.fixture
def scorer():
    torch.manual_seed(0)
    return TorchScorer(ChannelsLast(), imgpix=(17, 25), device="cpu")


def settings_of(layer="maps", channels=(2, 4), **options):
    return EvolutionSettings("last", layer, channels, generators=("fc6",), **options)


def test_channels_are_channels_wherever_they_lie(scorer):
    units = list(units_of(settings_of(), scorer))
    assert [unit.index for unit in units] == [(2, 4, 6), (3, 4, 6)]
    with pytest.raises(UsageError, match=r"channels 5 to 8 .*has 6, numbered from 0"):
        list(units_of(settings_of(channels=(5, 9)), scorer))
    with pytest.raises(UsageError, match=r"shape \(96, 6\), \(token, channel\)"):
        list(units_of(settings_of("tokens"), scorer))


def test_fields_of_an_input_that_is_not_square_lie_on_its_canvas(scorer):
    """Unit (2, 4, 6) of a stride of 2 and a kernel of 3 sees rows 8 to 10, columns 12 to 14."""
    settings = settings_of(placement="field")
    unit = next(units_of(settings, scorer))
    box = receptive_field(settings, scorer, unit)
    assert (box.top, box.bottom, box.left, box.right) == (8, 11, 12, 15)
    place = place_of(settings, box, tiny_generator(4096), scorer)
    assert place.show(torch.zeros(1, 3, 16, 16)).shape == (1, 3, 17, 25)


def test_a_whole_evolution_of_channels_that_come_last(scorer, tmp_path):
    """The archive's scores are those of the channel, not of a row."""
    generator = tiny_generator(4096)
    networks = Networks(scorer, {"fc6": generator})
    settings = settings_of(steps=2, repetitions=1, population=4)
    folders = evolve_pairs(settings, tmp_path / "out", networks=networks)
    assert [folder.name for folder in folders] == ["last_maps_2_4_6", "last_maps_3_4_6"]
    (archive,) = folders[1].glob("scores*.npz")
    run = np.load(archive)
    plain = TorchScorer(scorer.model, "conv", (3, 4, 6), imgpix=(17, 25), device="cpu")
    images = generator.visualize(run["codes_fin"])
    np.testing.assert_allclose(plain.score(images), run["scores_all"], rtol=1e-4, atol=1e-5)


def test_the_size_of_the_input_reaches_the_network(monkeypatch, tmp_path):
    """By the command, by a sweep, and by default that of the network."""
    asked = []

    def spy(name, **options):
        asked.append((options["imgpix"], options["channel_axis"]))
        raise UsageError("far enough")

    monkeypatch.setattr(command, "TorchScorer", spy)
    call = ["--net", "vit_b_16", "--layer", "x", "--chans", "0", "1", "--output", str(tmp_path)]
    assert main([*call, "--input-pixels", "224", "--channel-axis", "-1"]) == 2
    assert main(call) == 2
    sweep = tmp_path / "sweep.toml"
    sweep.write_text(
        'nets = ["vit_b_16"]\nlayers = ["x"]\nchannels = [0, 1]\ninput_pixels = 384\n'
        "channel_axis = 0\n"
    )
    for cell in read_sweep(sweep).cells(tmp_path):
        with pytest.raises(UsageError, match="far enough"):
            load_networks(cell.settings)
    assert asked == [(224, -1), (None, None), (384, 0), (384, 0)]
    with pytest.raises(UsageError, match="input of 0 pixels"):
        settings_of(input_pixels=0)


def test_runs_of_directions_channels_and_units_go_together(scorer):
    """A run's unit is whatever the scorer reads for it: here each is compared with the maps."""
    weights = np.random.default_rng(0).standard_normal((8, 12, 6))
    difference = Direction([1, -1], [(0, 1, 1), (1, 1, 1)])
    objectives = [WeightedSum(weights), Channel(2), (3, 4, 6), difference]
    scorer.set_units("maps", objectives)
    runs = [
        Run(f"run {i}", i, CholeskyCMAES(256, population_size=5, init_code=np.zeros(256),
                                         random_seed=i, dtype=np.float32))
        for i in range(len(objectives))
    ]  # fmt: skip
    generator = tiny_generator(256)
    evolution = Evolution(generator, scorer, runs)
    for _ in range(2):
        evolution.advance()
    whole = TorchScorer(scorer.model, imgpix=(17, 25), device="cpu")
    whole.set_recording("maps")
    for run, by_hand in zip(
        runs,
        (
            lambda maps: (maps * weights).sum((1, 2, 3)),
            lambda maps: maps[..., 2].mean((1, 2)),
            lambda maps: maps[:, 4, 6, 3],
            lambda maps: (maps[:, 1, 1, 0] - maps[:, 1, 1, 1]) / 2**0.5,
        ),
        strict=True,
    ):
        maps = whole.respond(generator.visualize(run.codes[-1])).recordings["maps"]
        np.testing.assert_allclose(run.scores[-1], by_hand(maps), rtol=1e-4, atol=1e-4)


def retrained_networks(settings, device):
    """Return the tiny networks; of another training once a file says so."""
    networks = tiny_networks(settings, device)
    scorer = TorchScorer(type(networks.scorer.model)(), imgpix=24, device=device)
    state = dict(networks.scorer.model.state_dict())
    state["fc.bias"] = state["fc.bias"] + RETRAINED["by"]
    scorer.model.load_state_dict(state)
    return Networks(scorer, networks.generators)


RETRAINED = {"by": 0.0}
OWN = "tests.insilico.test_evolution_inputs:retrained_networks"
CALL = ["--net", "tiny", "--layer", "conv2", "--chans", "2", "3", "--G", "BigGAN", "--steps", "2",
        "--reps", "1", "--population", "4", "--device", "cpu", "--networks", OWN]  # fmt: skip


@pytest.fixture
def retrain(monkeypatch):
    """Let one's own network of the next calls have other weights."""
    monkeypatch.setitem(RETRAINED, "by", 0.0)
    return lambda: monkeypatch.setitem(RETRAINED, "by", 1e-6)


def test_a_network_of_ones_own_runs_by_its_name_and_does_not_go_on_retrained(
    tmp_path, capsys, retrain
):
    """Its digest is noted; other weights are another experiment, even in a unit not read."""
    call = [*CALL, "--output", str(tmp_path / "out")]
    assert main(call) == 0
    assert (tmp_path / "out" / "tiny_conv2_2_4_4").is_dir()
    noted = json.loads((tmp_path / "out" / "experiment.json").read_text())
    assert noted["weights of TinyNet"] == weights_digest(
        retrained_networks(None, "cpu").scorer.model
    )
    assert len(noted["weights of BigGAN"]) == 64
    assert main([*call, "--resume"]) == 0
    retrain()
    capsys.readouterr()
    assert main([*call, "--resume"]) == 2
    assert "another experiment: weights of TinyNet differ" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tests.insilico.test_evolution_inputs:nothing", "cannot be imported"),
        ("tests.tiny_networks:tiny_scorer_of", "returned a TorchScorer; it returns Networks"),
        ("no_colon", "name your own as module:object"),
    ],
)
def test_names_that_are_no_networks_of_ones_own(tmp_path, capsys, monkeypatch, name, words):
    from tests import tiny_networks as module

    scorer = module.tiny_scorer()
    monkeypatch.setattr(module, "tiny_scorer_of", lambda *_: scorer, raising=False)
    assert main([*CALL[:-1], name, "--output", str(tmp_path / "out")]) in (2, 3)
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


class Here:
    """Runs jobs of a sweep in this process."""

    def __init__(self, logs, resources):
        pass

    def submit(self, function, folder):
        function(folder)
        return self

    def done(self):
        return True

    def exception(self):
        return None


def test_cells_of_a_sweep_have_the_same_weights(tmp_path, retrain):
    """A sweep that grows after its network was retrained is refused by name."""
    text = (
        'nets = ["tiny"]\nlayers = ["conv2"]\nchannels = [2, 3]\ngenerators = ["BigGAN"]\n'
        'steps = 1\nrepetitions = 1\npopulation = 4\ndevice = "cpu"\n'
    )
    file = tmp_path / "sweep.toml"
    file.write_text(text)
    options = {"networks": OWN, "make_executor": Here}
    assert len(run_sweep(read_sweep(file), tmp_path / "out", **options).done) == 1
    retrain()
    file.write_text(text.replace("[2, 3]", "[2, 4]"))
    with pytest.raises(UsageError, match=r"cells .*-2_whole.* and .*-3_.* weights of TinyNet"):
        run_sweep(read_sweep(file), tmp_path / "out", **options)


def test_a_digest_is_of_values_names_types_and_shapes():
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).bfloat16()
    first = weights_digest(network)
    assert len(first) == 64
    assert weights_digest(network) == first
    assert weights_digest(network.float()) != first
    network[1].running_mean += 1
    assert weights_digest(network) not in (first, "")
    assert weights_digest(object()) == weights_digest(nn.Flatten()) == ""
    spaces = [type("Space", (), {})() for _ in range(2)]
    spaces[0].basis, spaces[1].basis = np.eye(2), np.eye(2)[::-1]
    assert weights_digest(spaces[0]) != weights_digest(spaces[1])


class RigOfTwelve:
    """Shows at most twelve images at a time and counts what it showed."""

    images_at_once = 12

    def __init__(self):
        self.shown = []

    def score_tsr(self, images, **options):
        self.shown.append(len(images))
        return images.mean((1, 2, 3))[:, None]


def run_of(population):
    optimizer = CholeskyCMAES(
        256, population_size=population, init_code=np.zeros(256), random_seed=0
    )
    return Run("only", 0, optimizer)


def test_a_scorer_of_ones_own_says_how_many_images_it_takes(monkeypatch):
    """Whole calls, none of them twice, also when memory runs out while images are made."""
    generator, rig = tiny_generator(256), RigOfTwelve()
    evolution = Evolution(generator, rig, [run_of(28)], batch_size=10)
    visualize, refused = generator.visualize, []

    def too_little_memory(codes, scale=1.0):
        if len(codes) > 5:
            refused.append(len(codes))
            raise torch.OutOfMemoryError("out of memory")
        return visualize(codes, scale)

    monkeypatch.setattr(generator, "visualize", too_little_memory)
    for at_once in (12, 12, 1000):
        rig.images_at_once = at_once
        evolution.advance()
    assert refused
    assert rig.shown == [1, 12, 12, 4, 28]

"""Paired evolutions of networks whose channels come last, or whose input has its own size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from core.errors import UsageError
from core.insilico.paired_evolution import command
from core.insilico.paired_evolution.command import Networks, evolve_pairs, load_networks, main
from core.insilico.paired_evolution.plan import place_of, receptive_field, units_of
from core.insilico.paired_evolution.settings import EvolutionSettings
from core.insilico.sweeps.file import read_sweep
from core.utils.CNN_scorers import TorchScorer
from tests.tiny_networks import tiny_generator


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

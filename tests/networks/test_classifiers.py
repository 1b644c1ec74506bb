"""The networks that score, by name: where their weights come from."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import shufflenet_v2_x0_5

from core.errors import MalformedDataError, MissingDataError, UsageError
from core.utils import TorchScorer
from core.utils.scoring import classifiers
from core.utils.scoring.classifiers import load_classifier, plain_state


def test_untrained_networks_come_from_a_seed_and_say_so():
    """The same seed gives the same weights; torch's own generator is where it was."""
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    first, again, other = (
        load_classifier("shufflenet_v2_x0_5", pretrained=False, seed=seed)
        for seed in (1, 1, np.random.default_rng(1))
    )
    assert torch.equal(torch.random.get_rng_state(), state)
    weights = [net.network.conv1[0].weight for net in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert (first.trained, first.origin) == (False, "untrained, seed 1")
    assert not first.network.training
    scorer = TorchScorer("shufflenet_v2_x0_5", pretrained=False, device="cpu")
    assert scorer.trained is False


@pytest.mark.parametrize("form", ["plain", "parallel", "robustness"])
def test_weights_by_path_lose_the_prefixes_of_wrappers(tmp_path, form):
    """Checkpoints of torch.nn.DataParallel and of the robustness library load strictly."""
    torch.manual_seed(3)
    donor = shufflenet_v2_x0_5(weights=None)
    state = donor.state_dict()
    if form == "parallel":
        state = {"state_dict": {f"module.{key}": value for key, value in state.items()}, "epoch": 3}
    elif form == "robustness":
        state = {f"module.model.{key}": value for key, value in state.items()} | {
            f"module.attacker.model.{key}": value + 1 for key, value in state.items()
        }
        state = {"model": state | {"module.normalizer.new_mean": torch.zeros(3)}, "epoch": 3}
    path = tmp_path / "weights.pt"
    torch.save(state, path)
    loaded = load_classifier("shufflenet_v2_x0_5", pretrained=False, weights=path)
    assert (loaded.trained, loaded.origin) == (True, str(path))
    for key, value in loaded.network.state_dict().items():
        assert torch.equal(value, donor.state_dict()[key])


def test_prefixes_that_a_network_has_itself_are_kept():
    network = nn.Module()
    network.model, network.normalizer = nn.Linear(2, 2), nn.Linear(1, 1)
    state = network.state_dict()
    assert (
        plain_state({f"module.{key}": v for key, v in state.items()}, network).keys()
        == state.keys()
    )


def test_weights_of_another_network_or_none_are_said(tmp_path):
    path = tmp_path / "weights.pt"
    torch.save({"conv1.weight": torch.zeros(2)}, path)
    with pytest.raises(MalformedDataError, match=r"missing: .*not known: conv1.weight"):
        load_classifier("shufflenet_v2_x0_5", weights=path)
    with pytest.raises(MissingDataError, match="no file of weights"):
        load_classifier("shufflenet_v2_x0_5", weights=tmp_path / "nowhere.pt")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet50_linf_4", "no public address.*MadryLab/robustness.*weights=PATH"),
        ("resnet50-face_ft", "no public address.*torchvision's keys"),
        ("cornet_s", "needs the package CORnet; install it with"),
    ],
)
def test_networks_that_need_something_by_hand_say_what(monkeypatch, name, message):
    monkeypatch.setitem(sys.modules, "cornet", None)
    with pytest.raises(MissingDataError, match=message):
        load_classifier(name)


def test_unknown_networks_name_their_neighbours():
    with pytest.raises(UsageError, match="Did you mean 'resnet50_linf8'"):
        load_classifier("resnet50_linf9")


def test_weights_without_network_say_where_to_put_them(monkeypatch, tmp_path):
    """A file that is there but damaged is not used."""

    def unreachable(url, path, max_size):
        assert 5.5e6 < max_size < 20e6  # the file has 5.6 MB
        raise MissingDataError(f"cannot reach {url}.")

    monkeypatch.setattr(classifiers, "download", unreachable)
    monkeypatch.setenv("NEURON_GAN_WEIGHTS", str(tmp_path))
    with pytest.raises(
        MissingDataError, match=r"shufflenetv2_x0.5-f707e7126e.pth is not in .* put"
    ):
        load_classifier("shufflenet_v2_x0_5")
    (tmp_path / "shufflenetv2_x0.5-f707e7126e.pth").write_text("cut")
    with pytest.raises(MalformedDataError, match="does not begin with f707e7126e"):
        load_classifier("shufflenet_v2_x0_5")


def test_cornet_is_taken_out_of_its_wrapper(monkeypatch):
    """A stand-in with the interface of the package: a data-parallel network."""
    package = ModuleType("cornet")
    package.cornet_s = lambda pretrained, map_location: nn.DataParallel(
        nn.Sequential(nn.Conv2d(3, 2, 3))
    )
    monkeypatch.setitem(sys.modules, "cornet", package)
    loaded = load_classifier("cornet_s")
    assert isinstance(loaded.network, nn.Sequential)
    assert loaded.trained
    assert not load_classifier("cornet_s", pretrained=False).trained


def test_timm_names_are_known():
    pytest.importorskip("timm")
    scorer = TorchScorer("resnet10t", ".Linearfc", 7, imgpix=64, pretrained=False, device="cpu")
    assert scorer.score_tsr(torch.rand(2, 3, 32, 32)).shape == (2,)


def test_no_network_asks_the_network_where_there_is_none(monkeypatch, tmp_path):
    """HF_HUB_OFFLINE holds for torchvision's addresses as for those of the registry."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("NEURON_GAN_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(classifiers, "download", lambda *_: pytest.fail("it asked"))
    with pytest.raises(MissingDataError, match=r"resnet18-\w+\.pth.*HF_HUB_OFFLINE is set"):
        load_classifier("resnet18")
    with pytest.raises(MissingDataError, match=r"alexnet.*HF_HUB_OFFLINE is set"):
        load_classifier("alexnet")

"""Networks in fewer bits: the same scores up to rounding, and nothing is left changed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from core.errors import UsageError
from core.insilico.paired_evolution import command
from core.insilico.paired_evolution.settings import EvolutionSettings
from core.utils import Direction, TorchScorer, upconvGAN
from core.utils.precision import computing_in, require_precision

CPU = torch.device("cpu")

#: Largest rounding of a number in bfloat16, whose mantissa has 8 bits.
ROUNDING = 2.0**-9


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 32, 5, 2), nn.BatchNorm2d(32), nn.ReLU(inplace=True), nn.Conv2d(32, 8, 3, 2),
        nn.ReLU(), nn.Flatten(), nn.Linear(200, 4),
    ).eval()  # fmt: skip


@pytest.fixture(scope="module")
def images():
    return torch.rand((60, 3, 25, 25), generator=torch.Generator().manual_seed(1))


def scorer_in(precision, network, layer="6", unit=1):
    return TorchScorer(network, layer, unit, imgpix=25, device="cpu", precision=precision)


def test_scores_in_bfloat16_rank_images_as_in_float32(network, images):
    """They differ, by rounding, and come as numbers of full length."""
    plain = scorer_in("float32", network).score(images)
    scorer = scorer_in("bfloat16", network)
    rounded = scorer.score(images)
    assert rounded.dtype == np.float64
    assert 0 < np.abs(rounded - plain).max() < 0.1 * np.ptp(plain)
    assert spearmanr(rounded, plain).statistic > 0.99
    assert "cpu in bfloat16" in repr(scorer)
    assert "in float32" not in repr(scorer_in("float32", network))


def test_the_network_stays_as_it_was(network, images):
    before = {key: weight.clone() for key, weight in network.state_dict().items()}
    scorer_in("bfloat16", network).score(images[:4])
    assert all(torch.equal(weight, before[key]) for key, weight in network.state_dict().items())
    assert network(images[:2]).dtype == torch.float32
    assert not torch.is_autocast_enabled("cpu")


def test_units_are_read_and_summed_in_float32(network, images):
    """A direction of many units is no sum of rounded products."""
    weights = np.random.default_rng(0).standard_normal((8, 5, 5))
    scorer = scorer_in("bfloat16", network, "3", Direction(weights))
    scorer.set_recording("3")
    scores, recordings = scorer.respond(images)
    maps = recordings["3"]
    assert maps.dtype == np.float32
    by_hand = (maps.astype(float) * weights).sum((1, 2, 3)) / np.linalg.norm(weights)
    np.testing.assert_allclose(scores, by_hand, rtol=1e-5, atol=1e-6)
    gradient = scorer.score_tsr_wgrad(images[:2].clone().requires_grad_())
    assert gradient.dtype == torch.float32


def test_images_in_bfloat16_are_those_of_float32_up_to_rounding():
    options = {"pretrained": False, "device": "cpu", "seed": 2}
    plain, rounded = (upconvGAN("norm1", **options, precision=p) for p in ("float32", "bfloat16"))
    codes = plain.sample_vector(1, seed=0)
    first, second = plain.visualize(codes), rounded.visualize(codes)
    assert second.dtype == torch.float32
    assert 0 < float((first - second).abs().mean()) < 4 * ROUNDING


def test_commands_hand_the_precision_on(monkeypatch):
    asked = {}

    def spy(name, **options):
        asked[name] = options["precision"]

    monkeypatch.setattr(command, "TorchScorer", spy)
    monkeypatch.setattr(command, "generator_named", spy)
    settings = EvolutionSettings("net", "layer", (0, 1), ("fc6",), precision="bfloat16")
    command.load_networks(settings, "cpu")
    assert asked == {"net": "bfloat16", "fc6": "bfloat16"}
    with pytest.raises(UsageError, match=r"unknown precision 'float16'\. Did you mean 'bfloat16'"):
        EvolutionSettings("net", "layer", (0, 1), precision="float16")


def test_precisions_that_a_device_has_not_are_refused():
    with pytest.raises(UsageError, match="tf32 is a precision of CUDA devices; on cpu take"):
        require_precision("tf32", CPU)
    with pytest.raises(UsageError, match="unknown precision 'half'"):
        require_precision("half", CPU)
    assert require_precision("tf32", torch.device("cuda")) == "tf32"


def test_tf32_is_set_for_a_block_alone():
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32
    with pytest.raises(ZeroDivisionError), computing_in("tf32", torch.device("cuda")):
        assert matmul.allow_tf32
        raise ZeroDivisionError
    assert matmul.allow_tf32 == before

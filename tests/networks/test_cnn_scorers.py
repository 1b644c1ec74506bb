"""Scores of units, the images that are scored, and the networks that score."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torchvision.models.vgg import cfgs, make_layers

from core.errors import UsageError
from core.utils import (
    CNN_scorers,
    TorchScorer,
    load_featnet,
)
from core.utils.batching import DoesNotFitError
from core.utils.layers.record import record
from core.utils.scoring.classifiers import load_classifier
from core.utils.scoring.readable_layers import readable_layers
from tests.closeness import assert_same_pass
from tests.paper_constants import IMAGENET_MEAN, IMAGENET_SD

pytestmark = pytest.mark.numerics

SIDE = 12


class SmallNet(nn.Module):
    """A map of 4 channels and 10 rows and columns; an in-place rectifier; a flat layer of 5."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.relu = nn.ReLU(inplace=True)
        self.deep = nn.Conv2d(4, 2, 3)
        self.fc = nn.Linear(2, 5)
        self.batches = []

    def forward(self, images):
        self.batches.append(len(images))
        return self.fc(self.deep(self.relu(self.conv(images))).mean(dim=(2, 3)))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return SmallNet()


@pytest.fixture
def scorer(net):
    scorer = TorchScorer(net, imgpix=SIDE, device="cpu")
    scorer.layer_shape("conv")
    net.batches.clear()
    return scorer


@pytest.fixture
def images():
    return torch.rand(6, 3, 15, 13, generator=torch.Generator().manual_seed(1))


def seen(images, side=SIDE):
    """Return what the network sees of images in [0, 1], (n, 3, height, width), by the spec."""
    mean, sd = (torch.tensor(rgb).view(3, 1, 1) for rgb in (IMAGENET_MEAN, IMAGENET_SD))
    normalised = (images - mean) / sd
    return functional.interpolate(normalised, (side, side), mode="bilinear", align_corners=True)


def conv_maps(net, images):
    """Return the output of the first layer, before the rectifier."""
    return functional.conv2d(seen(images), net.conv.weight, net.conv.bias).detach()


def hooks_of(network):
    return sum(
        len(layer._forward_hooks) + len(layer._forward_pre_hooks) for layer in network.modules()
    )


def test_a_uniform_image_has_the_score_of_its_colour(scorer, net):
    """Closed form: a uniform image stays uniform, so that the unit is sum(w)(c - mean)/sd + b."""
    colour = np.array([0.2, 0.9, 0.4])
    normalised = (colour - IMAGENET_MEAN) / IMAGENET_SD
    weights = net.conv.weight.detach().double().numpy()
    expected = weights.sum(axis=(2, 3)) @ normalised + net.conv.bias.detach().double().numpy()
    for channel in range(4):
        scorer.select_unit(("any", ".Conv2dconv", channel, 3, 8))
        (score,) = scorer.score([np.broadcast_to(colour, (20, 30, 3))])
        assert score == pytest.approx(expected[channel], rel=1e-5)


def test_scores_are_float64_arrays_of_the_layers_own_output(scorer, net, images):
    """The in-place rectifier that follows changes nothing: negative responses stay."""
    scorer.select_unit(("net", "conv", 2, 7, 1))
    scores = scorer.score_tsr(images)
    assert scores.dtype == np.float64
    assert_same_pass(scores, conv_maps(net, images)[:, 2, 7, 1])
    scorer.set_units("conv", [(c, 7, 1) for c in range(4)])
    assert (scorer.score_tsr(images) < 0).any()


def test_alexnet_and_vgg16_units_are_read_before_their_rectifiers():
    """Every convolution of both networks, at once, against a pass without anything in place."""
    torch.manual_seed(0)
    vgg16 = nn.Sequential()
    vgg16.features = make_layers(cfgs["D"])
    alexnet = load_classifier("alexnet", pretrained=False, seed=1).network
    images = torch.rand(2, 3, 64, 64)
    for network, side in ((vgg16, 32), (alexnet, 64)):
        scorer = TorchScorer(network, imgpix=side, device="cpu")
        convolutions = [
            f"features.{number}"
            for number, layer in enumerate(network.features)
            if isinstance(layer, nn.Conv2d)
        ]
        scorer.set_recording(convolutions)
        _, recorded = scorer.respond(images)
        maps, expected = seen(images, side), {}
        with torch.no_grad():
            for number, layer in enumerate(network.features):
                maps = functional.relu(maps) if isinstance(layer, nn.ReLU) else layer(maps)
                expected[f"features.{number}"] = maps
        for layer in convolutions:
            assert (recorded[layer] < 0).any()
            assert_same_pass(recorded[layer], expected[layer])
            channel, row, column = (n // 2 for n in recorded[layer].shape[1:])
            scorer.cleanup()
            scorer.select_unit(("net", layer, channel, row, column))
            scale = np.abs(recorded[layer]).max()
            scores = scorer.score_tsr(images)
            assert_same_pass(scores, recorded[layer][:, channel, row, column], scale)


def test_the_pass_ends_at_the_deepest_layer_that_is_read(images):
    """Scores of ResNet50 are those of a whole pass; nothing after the layer runs."""
    scorer = TorchScorer("resnet50", ".layer2.Bottleneck1", (5, 2, 3), 40, pretrained=False)
    with torch.no_grad(), record(scorer.model, ["layer2.1", "layer1.0.relu"]) as whole:
        scorer.model(scorer.preprocess(images, input_scale=1))
    ran = []
    for name in ("layer1", "layer2.1", "layer2.2", "fc"):
        scorer.model.get_submodule(name).register_forward_hook(lambda *_, n=name: ran.append(n))
    scale = whole["layer2.1"].abs().max().item()
    assert_same_pass(scorer.score_tsr(images), whole["layer2.1"][:, 5, 2, 3], scale)
    assert ran == ["layer1", "layer2.1"]
    scorer.set_recording(".layer1.0.ReLUrelu")  # runs three times; the last counts
    _, recorded = scorer.respond(images)
    assert_same_pass(recorded[".layer1.0.ReLUrelu"], whole["layer1.0.relu"])


def test_gradients_are_those_of_the_direct_path(scorer, net, images):
    """Through normalisation, resizing and the unit, in any batches; none for the weights."""
    images.requires_grad_()
    direct = functional.conv2d(seen(images), net.conv.weight, net.conv.bias)[:, 2, 7, 1]
    (expected,) = torch.autograd.grad(direct.square().sum(), images)
    scorer.select_unit(("net", "conv", 2, 7, 1), allow_grad=True)
    for B in (1, 4, 10):
        scores = scorer.score_tsr_wgrad(images, B=B)
        assert_same_pass(scores, direct)
        (gradient,) = torch.autograd.grad(scores.square().sum(), images)
        assert_same_pass(gradient, expected)
    assert scorer.score(images, with_grad=True).requires_grad
    assert not scorer.score_tsr(images, as_tensor=True).requires_grad
    scorer.score(images, with_grad=True).sum().backward()
    assert all(weight.grad is None for weight in net.parameters())
    assert all(weight.requires_grad for weight in net.parameters())


def test_units_as_one_many_and_masks(scorer, net, images):
    """Lists keep their order; masks have the order of the flattened layer."""
    maps = conv_maps(net, images)
    many = [(3, 0, 9), (0, 5, 5), (3, 0, 9)]
    mask = torch.rand(4, 10, 10, generator=torch.Generator().manual_seed(3)) > 0.9
    numbers = np.array([[399, 0], [17, 17]])
    cases = [
        (lambda: scorer.set_unit("score", "conv", (1, 2, 3)), maps[:, 1, 2, 3]),
        (lambda: scorer.set_unit("score", "fc", 4), None),
        (lambda: scorer.set_units("conv", many), maps[:, [3, 0, 3], [0, 5, 0], [9, 5, 9]]),
        (lambda: scorer.set_units_by_mask("score", "conv", mask), maps[:, mask]),
        (lambda: scorer.set_units_by_mask("score", "conv", mask.numpy().ravel()), maps[:, mask]),
        (
            lambda: scorer.set_units_by_mask("score", "conv", numbers),
            maps.flatten(1)[:, numbers.ravel()],
        ),
    ]
    for select, expected in cases:
        select()
        scores = scorer.score_tsr(images, B=4)
        if expected is None:
            expected = net(seen(images))[:, 4].detach()
        assert_same_pass(scores, expected)


@pytest.mark.parametrize(
    ("unit", "shape"), [((1, 2, 3), ()), ([(1, 2, 3), (0, 0, 0)], (2,)), (np.eye(400) > 0, None)]
)
def test_units_can_be_given_at_birth(net, images, unit, shape):
    """A tuple is a unit, a list is several, an array of booleans is a mask."""
    if shape is None:
        unit, shape = np.resize(unit[7], (4, 10, 10)), (1,)
    scorer = TorchScorer(net, "conv", unit, imgpix=SIDE, device="cpu")
    assert scorer.score_tsr(images).shape == (6, *shape)


def test_recordings_come_with_the_scores(scorer, net, images):
    """Whole layers, populations and further units, in one pass, batch by batch."""
    mask = np.zeros((4, 10, 10), bool)
    mask[:, 5, 5] = True
    scorer.set_recording(["fc", ".ReLUrelu"])
    scores, recorded = scorer.respond(images, B=4)
    assert scores.shape == (6, 0)
    scorer.select_unit(("net", "conv", 1, 2, 3))
    scorer.set_popul_recording("conv", mask)
    scorer.set_unit("other", "fc", 2)
    scores, recorded = scorer.respond(list(images), B=4)
    maps = conv_maps(net, images)
    assert_same_pass(scores, maps[:, 1, 2, 3])
    assert_same_pass(recorded["conv"], maps[:, :, 5, 5])
    assert_same_pass(recorded[".ReLUrelu"], functional.relu(maps))
    np.testing.assert_array_equal(recorded["other"], recorded["fc"][:, 2])
    assert set(recorded) == {"conv", ".ReLUrelu", "fc", "other"}
    assert_same_pass(scorer.score(list(images), B=4), scores)
    scores, recorded = scorer.respond(images, as_tensor=True)
    assert isinstance(scores, torch.Tensor)
    assert isinstance(recorded["fc"], torch.Tensor)


@pytest.mark.parametrize(
    ("select", "message"),
    [
        (lambda s: s.select_unit(("n", "conv", 3)), r"shape \(4, 10, 10\).*such as \(2, 5, 5\)"),
        (lambda s: s.select_unit(("n", "fc", 3, 0, 0)), r"shape \(5,\); give \(channel,\)"),
        (lambda s: s.select_unit(("n", "conv", 4, 0, 0)), r"unit \(4, 0, 0\).*\(4, 10, 10\)"),
        (lambda s: s.select_unit(("n", "conv", 0, 0, -1)), r"unit \(0, 0, -1\)"),
        (lambda s: s.select_unit(("n", "conv", 0.5, 1, 1)), "whole"),
        (lambda s: s.select_unit(("n", "conv")), r"expected \(network, layer, channel\)"),
        (lambda s: s.select_unit(("n", "cnov", 0, 0, 0)), "Did you mean 'conv'"),
        (lambda s: s.set_unit("score", "fc", 5), r"unit 5 .*shape \(5,\)"),
        (lambda s: s.set_units("fc", []), "at least one"),
        (lambda s: s.set_units("fc", [0, 5]), "unit 5"),
        (lambda s: s.set_units_by_mask("score", "conv", np.ones((10, 10), bool)), "of that shape"),
        (lambda s: s.set_units_by_mask("score", "conv", np.zeros((4, 10, 10), bool)), "0 units"),
        (lambda s: s.set_units_by_mask("score", "conv", [0, 400]), "numbered 0 to 400.*has 400"),
        (lambda s: s.set_units_by_mask("score", "conv", np.ones((4, 10, 10))), "type float64"),
        (lambda s: s.set_recording(["fc", "nothing"]), "unknown layer"),
        (lambda s: s.set_popul_recording("fc", [7]), "has 5"),
        (lambda s: s.score_tsr(torch.rand(1, 3, 9, 9)), "no unit was selected"),
    ],
)
def test_bad_selections_are_said(scorer, select, message):
    with pytest.raises(UsageError, match=message):
        select(scorer)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": "conv"}, r"without a unit; its output has shape \(4, 10, 10\)"),
        ({"rawlayername": False}, "unknown network with readable layer names 'SmallNet'"),
        ({"device": "abacus"}, "unknown device"),
        ({"imgpix": 1, "layer": "conv", "unit": 0}, "cannot run on an input of shape"),
    ],
)
def test_bad_arguments_are_said(net, arguments, message):
    with pytest.raises(UsageError, match=message):
        TorchScorer(net, **{"imgpix": SIDE, "device": "cpu", **arguments})
    assert hooks_of(net) == 0


def test_layers_that_do_not_run_or_return_no_tensor_are_said():
    class Odd(SmallNet):
        def __init__(self):
            super().__init__()
            self.never = nn.Linear(2, 2)
            self.rnn = nn.LSTM(5, 2)

        def forward(self, images):
            return self.rnn(super().forward(images))[0]

    scorer = TorchScorer(Odd(), imgpix=SIDE, device="cpu")
    with pytest.raises(UsageError, match="'never' exists, but does not run"):
        scorer.set_recording(["never"])
    with pytest.raises(UsageError, match=r"'rnn\[1\]' does not return a tensor"):
        scorer.set_unit("score", "rnn[1]", 0)


def test_no_hook_stays_on_the_network(scorer, net, images):
    """Neither after selecting, nor after scoring, nor after a failure in the network."""
    scorer.select_unit(("net", "fc", 1))
    scorer.set_recording(["conv"])
    assert hooks_of(net) == 0
    scorer.score_tsr(images)
    assert hooks_of(net) == 0
    net.fc.forward = lambda features: 1 / 0
    with pytest.raises(ZeroDivisionError):
        scorer.score_tsr(images)
    assert hooks_of(net) == 0


def test_the_newest_selection_counts_and_cleanup_forgets_it(scorer, net, images):
    scorer.select_unit(("net", "conv", 1, 2, 3))
    scorer.select_unit(("net", "conv", 0, 5, 5))
    assert_same_pass(scorer.score_tsr(images), conv_maps(net, images)[:, 0, 5, 5])
    scorer.set_recording(["fc", "conv", "relu"])
    scorer.cleanup()
    with pytest.raises(UsageError, match="no unit was selected"):
        scorer.score_tsr(images)


def test_batches_shrink_when_memory_runs_out(scorer, net, images):
    """The scores are those of full batches; one image that does not fit is a sentence."""
    scorer.select_unit(("net", "fc", 1))
    expected, convolve, room = scorer.score_tsr(images), net.conv.forward, 2

    def scarce(batch):
        if len(batch) > room:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return convolve(batch)

    net.conv.forward = scarce
    assert_same_pass(scorer.score_tsr(images), expected)
    room = 0
    with pytest.raises(DoesNotFitError, match="out of memory for a single input"):
        scorer.score_tsr(images)
    assert hooks_of(net) == 0


def test_batches_are_as_large_as_asked_unless_maps_outgrow_the_cache(
    scorer, net, images, monkeypatch
):
    """The largest map here is the input of 3 · 12 · 12 or the first output, 4 · 10 · 10 floats."""
    scorer.select_unit(("net", "fc", 1))
    scorer.score_tsr(images, B=4)
    scorer.score_tsr(images)
    monkeypatch.setattr(CNN_scorers, "CPU_MAP_BYTES", 5 * 400 * 4)
    scorer.score_tsr(images)
    monkeypatch.setattr(CNN_scorers, "CPU_MAP_BYTES", 1)
    scorer.score_tsr(images)
    assert net.batches == [4, 2, 6, 5, 1, 4, 2]


def test_a_network_of_ones_own_keeps_its_mode_and_its_weights_may_learn(net, scorer, images):
    scorer.select_unit(("net", "fc", 1))
    scorer.score_tsr(images)
    assert net.training
    assert all(weight.requires_grad for weight in net.parameters())
    assert (scorer.trained, scorer.name) == (None, "SmallNet")


def test_images_in_every_form_are_seen_alike(scorer, images):
    """Lists, arrays and tensors, whatever their memory looks like, and what was given is kept."""
    arrays = images.permute(0, 2, 3, 1).numpy()
    frozen = arrays.copy()
    frozen.flags.writeable = False
    flipped = np.ascontiguousarray(arrays[:, ::-1])[:, ::-1]
    expected = seen(images)
    for given_images in (
        images, images.double(), list(images), list(arrays), tuple(arrays), arrays, frozen,
        list(frozen), flipped, arrays.astype(">f4"), arrays.astype(np.float64),
        [*arrays[:3], *images[3:]],
    ):  # fmt: skip
        torch.testing.assert_close(scorer.preprocess(given_images, input_scale=1), expected)
    torch.testing.assert_close(scorer.preprocess(255 * images), expected)
    for single in (images[2], arrays[2], [arrays[2]]):
        torch.testing.assert_close(scorer.preprocess(single, 1), expected[2:3])
    np.testing.assert_array_equal(arrays, frozen)


def test_uint8_images_are_white_at_255_whatever_scale_is_named(scorer, images):
    from PIL import Image

    bytes_ = (255 * images).round().to(torch.uint8)
    expected = seen(bytes_ / 255)
    arrays = bytes_.permute(0, 2, 3, 1).numpy()
    pictures = [Image.fromarray(array) for array in arrays]
    for given_images in (bytes_, arrays, list(arrays), pictures):
        for scale in (1.0, 255):
            torch.testing.assert_close(scorer.preprocess(given_images, scale), expected)
    torch.testing.assert_close(scorer.preprocess(arrays.astype(int), 255), expected)


def test_grey_images_have_three_equal_channels(scorer, images):
    grey = images[:, :1]
    expected = seen(grey.expand(-1, 3, -1, -1))
    channel_last = grey.permute(0, 2, 3, 1).numpy()
    for given_images in (grey, channel_last, list(channel_last), list(grey[:, 0].numpy())):
        torch.testing.assert_close(scorer.preprocess(given_images, 1), expected)
    torch.testing.assert_close(scorer.preprocess(grey[0, 0], 1), expected[:1])


def test_images_of_several_sizes_are_scored_together(scorer, images):
    """Each is resized by itself."""
    scorer.select_unit(("net", "conv", 1, 2, 3))
    mixed = [images[0], images[1, :, :9], images[2, :, :, 2:].double()]
    scores = scorer.score(mixed, B=2)
    expected = [scorer.score([image])[0] for image in mixed]
    assert_same_pass(scores, expected)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([], "no images"),
        (torch.rand(2, 4, 9, 9), r"shape \(2, 4, 9, 9\)"),
        (np.zeros((3, 9, 9)), r"shape \(3, 9, 9\)"),
        (np.zeros((2, 2, 9, 9, 3)), r"shape \(2, 2, 9, 9, 3\)"),
        ([np.zeros(9)], r"shape \(9,\)"),
        ([np.zeros((9, 9, 3)), np.zeros((9, 9, 4))], r"shape \(9, 9, 4\)"),
        ([None], r"shape \(\)"),
        (torch.rand(2, 3, 9, 9) > 0, "torch.bool"),
        (np.full((9, 9, 3), "a"), "<U1"),
        (np.full((9, 9, 3), 200.0), "values from 200 to 200.*white is said to be 1"),
    ],
)
def test_bad_images_are_said(scorer, bad, message):
    scorer.set_recording("fc")
    with pytest.raises(UsageError, match=message):
        scorer.score(bad)
    assert hooks_of(scorer.model) == 0


def test_readable_names_stand_for_the_published_layers(images):
    """conv5_relu of AlexNet is its last rectifier of the features."""
    scorer = TorchScorer(
        "alexnet", "conv5", (3, 1, 1), imgpix=64, rawlayername=False, pretrained=False, device="cpu"
    )
    readable = scorer.score_tsr(images)
    scorer.select_unit(("alexnet", ".features.Conv2d10", 3, 1, 1))
    assert_same_pass(readable, scorer.score_tsr(images))
    kinds = {name: type(scorer.model.get_submodule(path)).__name__ for name, path in
             readable_layers("alexnet").items()}  # fmt: skip
    for name, kind in kinds.items():
        expected = "ReLU" if name.endswith("_relu") else {
            "c": "Conv2d", "f": "Linear", "p": "MaxPool2d", "d": "Dropout"
        }[name[0]]  # fmt: skip
        assert kind == expected
    assert list(readable_layers("vgg16"))[-1] == "fc3"
    assert readable_layers("vgg16")["conv13_relu"] == "features.29"


def test_featnets():
    """AlexNet's features are its convolutional part, those of other networks all of it."""
    featnet, net = load_featnet("alexnet", pretrained=False, device="cpu")
    assert featnet is net.features
    featnet, net = load_featnet("shufflenet_v2_x0_5", pretrained=False, device="cpu")
    assert featnet is net


def test_examples_of_the_module():
    assert doctest.testmod(CNN_scorers).failed == 0

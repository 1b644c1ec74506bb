"""Which axis of a layer means what, and one grammar of units for everything that reads them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from core.errors import UsageError
from core.utils import grad_RF_estim as rf
from core.utils.CNN_scorers import TorchScorer
from core.utils.layer_hook_utils import get_module_names, register_hook_by_module_name
from core.utils.layers.names import find_layer, published_name
from core.utils.layers.outputs import LayerOutput, channel_axis_of
from core.utils.layers.probe import LayerProbe
from core.utils.layers.record import record
from core.utils.scoring.units import (
    Centre,
    Channel,
    Cosine,
    Direction,
    Mean,
    WeightedSum,
    select,
    select_many,
)

#: A map of 4 channels, 3 rows and 5 columns, of two images, once with channels last.
MAPS = torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(0))
FIRST, LAST = LayerOutput("map", (4, 3, 5)), LayerOutput("map", (3, 5, 4), channel_axis=2)
OUTPUTS = [(FIRST, MAPS), (LAST, MAPS.permute(0, 2, 3, 1))]

WEIGHTS = np.array([2.0, -1.0, 0.5, 3.0])


@pytest.mark.parametrize(("output", "maps"), OUTPUTS, ids=["channels first", "channels last"])
@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ((3, 1, 4), MAPS[:, 3, 1, 4]),
        ([3, 1, 4], MAPS[:, 3, 1, 4]),
        (np.array([3, 1, 4]), MAPS[:, 3, 1, 4]),
        (torch.tensor([3, 1, 4]), MAPS[:, 3, 1, 4]),
        ((np.int64(3), 1, 4), MAPS[:, 3, 1, 4]),
        ([(3, 1, 4), (0, 0, 0)], MAPS[:, [3, 0], [1, 0], [4, 0]]),
        (np.array([[3, 1, 4], [0, 0, 0]]), MAPS[:, [3, 0], [1, 0], [4, 0]]),
        (torch.tensor([[3, 1, 4], [0, 0, 0]]), MAPS[:, [3, 0], [1, 0], [4, 0]]),
        ((3, slice(None), slice(None)), MAPS[:, 3].mean((1, 2))),
        ((3, ...), MAPS[:, 3].mean((1, 2))),
        ((slice(None), 1, 4), MAPS[:, :, 1, 4].mean(1)),
        ((slice(1, 3), 1, slice(0, 2)), MAPS[:, 1:3, 1, 0:2].mean((1, 2))),
        (Centre(2), MAPS[:, 2, 1, 2]),
        (Centre(), MAPS[:, :, 1, 2]),
        (Channel(2), MAPS[:, 2].mean((1, 2))),
        (Mean([(0, 0, 0), (1, 2, 3)]), (MAPS[:, 0, 0, 0] + MAPS[:, 1, 2, 3]) / 2),
        (WeightedSum(WEIGHTS, Centre()), MAPS[:, :, 1, 2] @ torch.tensor(WEIGHTS).float()),
        (
            Direction(WEIGHTS, Centre()),
            MAPS[:, :, 1, 2] @ torch.tensor(WEIGHTS / np.sqrt(14.25)).float(),
        ),
        (
            Cosine(WEIGHTS, Centre()),
            functional.cosine_similarity(MAPS[:, :, 1, 2], torch.tensor(WEIGHTS).float()[None]),
        ),
        (
            [Channel(0), (3, 1, 4), WeightedSum([1, -1], [(0, 0, 0), (0, 0, 1)])],
            torch.stack(
                [MAPS[:, 0].mean((1, 2)), MAPS[:, 3, 1, 4], MAPS[:, 0, 0, 0] - MAPS[:, 0, 0, 1]], 1
            ),
        ),
    ],
)
def test_units_mean_the_same_wherever_the_channels_lie(output, maps, units, expected):
    reader = select(units, output)
    torch.testing.assert_close(reader.read(maps), expected, rtol=1e-5, atol=1e-6)
    assert reader.count == (None if expected.ndim == 1 else expected.shape[1])


@pytest.mark.parametrize(("output", "maps"), OUTPUTS, ids=["channels first", "channels last"])
def test_arrays_look_like_the_output(output, maps):
    """Masks, whole-layer weights and patterns have the axes of what the layer returns."""
    mask = np.zeros(output.shape, bool)
    mask.flat[[7, 20, 33]] = True
    torch.testing.assert_close(select(mask, output).read(maps), maps.flatten(1)[:, [7, 20, 33]])
    weights = np.random.default_rng(0).standard_normal(output.shape)
    expected = (maps * torch.tensor(weights)).sum((1, 2, 3)).float()
    torch.testing.assert_close(select(WeightedSum(weights), output).read(maps), expected)
    torch.testing.assert_close(
        select(Cosine(weights), output).read(maps),
        functional.cosine_similarity(maps.flatten(1), torch.tensor(weights).float().view(1, -1)),
    )


def test_units_of_vectors_and_of_tokens():
    flat, vectors = LayerOutput("fc", (10,)), torch.randn(2, 10)
    for units, expected in (
        (3, vectors[:, 3]), ((3,), vectors[:, 3]), (np.int64(3), vectors[:, 3]),
        (torch.tensor(3), vectors[:, 3]), ([3], vectors[:, [3]]), ([3, 5], vectors[:, [3, 5]]),
        (np.array([3, 5]), vectors[:, [3, 5]]), (slice(2, 4), vectors[:, 2:4].mean(1)),
        (Centre(3), vectors[:, 3]), (Channel(3), vectors[:, 3]), (Centre(), vectors),
    ):  # fmt: skip
        torch.testing.assert_close(select(units, flat).read(vectors), expected)
    tokens, values = LayerOutput("block", (7, 6), channel_axis=1), torch.randn(2, 7, 6)
    torch.testing.assert_close(select((2, 5), tokens).read(values), values[:, 2, 5])
    torch.testing.assert_close(select(Channel(5), tokens).read(values), values[:, :, 5].mean(1))
    turned = LayerOutput("block", (6, 7), channel_axis=0)
    torch.testing.assert_close(select((2, 5), turned).read(values.mT), values[:, 2, 5])
    with pytest.raises(UsageError, match="7 tokens of 6 channels and no centre"):
        select(Centre(5), tokens)


@pytest.mark.parametrize(
    ("units", "message"),
    [
        (3, r"unit 3 .*shape \(4, 3, 5\).*\(channel, row, column\).*Centre\(channel\)"),
        ((4, 0, 0), r"within \(4, 3, 5\)"),
        ((-1, 0, 0), "within"),
        ((1.5, 0, 0), "whole ones"),
        ("conv", "whole ones"),
        ([], "at least one"),
        ((9, slice(None), 0), r"has shape \(4, 3, 5\)"),
        ((0, slice(3, 3), 0), r"has shape \(4, 3, 5\)"),
        (Centre(4), "has 4, numbered from 0"),
        (Channel(-1), "has 4, numbered from 0"),
        (WeightedSum([1, 2], Centre()), "4 units were chosen"),
        (WeightedSum(np.ones(7)), r"has shape \(4, 3, 5\)"),
        (WeightedSum([np.nan] * 4, Centre()), "NaN"),
        (WeightedSum([1.0], (1, 1, 1)), "several units"),
        (Direction(np.zeros(4), Centre()), "zeros"),
        (Cosine(np.zeros(4), Centre()), "zeros"),
        (np.ones((4, 3, 6), bool), "mask of shape"),
        ([Centre(), (1, 1, 1)], "several again"),
    ],
)
def test_units_that_a_layer_has_not_are_said(units, message):
    with pytest.raises(UsageError, match=message):
        select(units, FIRST)


def test_a_sequence_has_one_response_an_entry():
    assert select_many([5], LayerOutput("fc", (10,))).count == 1
    assert select_many([(3, 1, 4)], FIRST).read(MAPS).shape == (2, 1)


def test_channels_that_cannot_be_told_are_asked_for():
    unknown = LayerOutput("cube", (5, 5, 5), channel_axis=None)
    with pytest.raises(UsageError, match=r"cannot be told; give channel_axis=0"):
        select((1, 2, 3), unknown)
    assert select(np.ones((5, 5, 5), bool), unknown).count == 125


@pytest.mark.parametrize(
    ("shape", "layer", "sides", "axis"),
    [
        ((10,), nn.Linear(2, 2), (32, 32), 0),
        ((197, 192), nn.Identity(), (32, 32), 1),
        ((64, 8, 8), nn.Identity(), (32, 32), 0),
        ((8, 8, 64), nn.Identity(), (32, 32), 2),
        ((64, 4, 8), nn.Identity(), (32, 64), 0),
        ((4, 8, 64), nn.Identity(), (32, 64), 2),
        ((8, 8, 8), nn.Conv2d(2, 2, 1), (32, 32), 0),
        ((8, 8, 8), nn.LayerNorm(8), (32, 32), 2),
        ((8, 8, 8), nn.Identity(), (32, 32), None),
        ((3, 5, 7), nn.Identity(), (32, 32), None),
        ((512, 1, 1), nn.Identity(), (32, 32), 0),
    ],
)
def test_channels_follow_from_class_and_proportions(shape, layer, sides, axis):
    assert channel_axis_of(shape, layer, sides) == axis


class Cube(nn.Module):
    """A map with as many channels as rows and columns, channels first or last."""

    def __init__(self, last: bool) -> None:
        super().__init__()
        self.conv, self.out, self.last = nn.Conv2d(3, 16, 3, padding=1), nn.Identity(), last

    def forward(self, images):
        maps = self.conv(images)
        return self.out(maps.permute(0, 2, 3, 1) if self.last else maps)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_where_shapes_leave_it_open_a_change_that_moves_tells_the_channels(last, seed):
    torch.manual_seed(seed)
    output = LayerProbe(Cube(last), (3, 16, 16)).output("out")
    assert output.channel_axis == (2 if last else 0)


def test_the_channel_axis_can_be_given(images):
    scorer = TorchScorer(Cube(last=True), imgpix=16, device="cpu", channel_axis={"out": 0})
    assert scorer.layer("out").channel_axis == 0
    assert scorer.layer("conv").channel_axis == 0
    assert TorchScorer(Cube(True), imgpix=16, channel_axis=-1).layer("out").channel_axis == 2
    with pytest.raises(UsageError, match=r"channel_axis 3 was given.*\(16, 16, 16\)"):
        TorchScorer(Cube(True), imgpix=16, channel_axis=3).layer("out")


@pytest.fixture
def images():
    return torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(2))


class TokensFirst(nn.Module):
    """16 tokens on the first axis, images on the second, as in CLIP."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.norm = nn.Conv2d(3, 6, 8, 8), nn.LayerNorm(6)

    def forward(self, images):
        return self.norm(self.patch(images).flatten(2).permute(2, 0, 1)).mean(0)


class Folded(nn.Module):
    """Windows of all images on one axis."""

    def __init__(self) -> None:
        super().__init__()
        self.window, self.none, self.fc = nn.Identity(), nn.Identity(), nn.Linear(48, 4)

    def forward(self, images):
        windows = self.window(images.unfold(2, 4, 4).unfold(3, 4, 4).reshape(-1, 48))
        answers = self.fc(windows).reshape(len(images), -1, 4).mean(1)
        return answers + self.none(answers.mean())


@pytest.mark.parametrize("B", [1, 2, 42])
def test_images_are_found_on_a_later_axis(images, B):
    network = TokensFirst()
    scorer = TorchScorer(network, "norm", (7, 2), imgpix=32, device="cpu")
    scorer.set_recording("norm")
    scores, recorded = scorer.respond(images, B=B)
    with torch.no_grad():
        tokens = network.patch(scorer.preprocess(images, 1)).flatten(2).permute(2, 0, 1)
        expected = network.norm(tokens)
    np.testing.assert_allclose(scores, expected[7, :, 2], atol=1e-5)
    np.testing.assert_allclose(recorded["norm"], expected.transpose(0, 1), atol=1e-5)
    assert scorer.layer_shape("norm") == (16, 6)


def test_answers_that_cannot_be_told_apart_are_refused():
    scorer = TorchScorer(Folded(), imgpix=32, device="cpu")
    for layer in ("window", "none"):
        for call in (scorer.layer_shape, scorer.set_recording):
            with pytest.raises(UsageError, match="no axis counts the images"):
                call(layer)


def test_a_layer_that_loses_an_image_later_is_refused(images):
    """The trace saw nothing wrong; each pass is counted."""

    class Sulky(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 2)

        def forward(self, given):
            kept = given if len(given) < 4 else given[1:]
            return self.fc(kept.mean((2, 3)))

    scorer = TorchScorer(Sulky(), "fc", 1, imgpix=8, device="cpu")
    assert scorer.score(images, B=3).shape == (5,)
    with pytest.raises(UsageError, match="'score' has 4 answers to 5 images"):
        scorer.score(images)


class Twice(nn.Module):
    """One rectifier, called with 4 and then with 8 channels, as in ResNet50."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.relu = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 8, 1), nn.ReLU()

    def forward(self, images):
        return self.relu(self.second(self.relu(self.first(images))))


@pytest.mark.parametrize("channel", [1, 6])
def test_of_a_layer_that_runs_twice_the_last_call_is_read(images, channel):
    """In scores, lists, gradients and receptive fields alike."""
    torch.manual_seed(0)
    network = Twice()
    network.second.bias.data += 2
    scorer = TorchScorer(network, "relu", (channel, 4, 4), imgpix=32, device="cpu")
    seen = scorer.preprocess(images, 1)
    expected = network(seen)[:, channel, 4, 4].detach()
    np.testing.assert_allclose(scorer.score(images), expected, atol=1e-5)
    np.testing.assert_allclose(scorer.score_tsr_wgrad(images).detach(), expected, atol=1e-5)
    scorer.set_units("relu", [(channel, 4, 4), (0, 0, 0)])
    np.testing.assert_allclose(scorer.score(images)[:, 0], expected, atol=1e-5)
    field = rf.grad_RF_estimate(network, "relu", (channel, 4, 4), (3, 32, 32), reps=3)
    assert np.flatnonzero(field).tolist() == [4 * 32 + 4]
    with record(network, ["relu"], read={"relu": lambda maps: maps[:, 6]}) as activations:
        activations.run(seen)
    assert activations["relu"].shape == (5, 32, 32)


class Attending(nn.Module):
    """A layer that returns two values, one that returns a mapping, and one that returns none."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 1, batch_first=True)
        self.named, self.fc = _Named(), nn.Linear(4, 3)

    def forward(self, images):
        tokens = images.mean(3).transpose(1, 2)
        tokens = torch.cat([tokens, tokens[..., :1]], 2)
        return self.fc(self.named(self.attention(tokens, tokens, tokens)[0])["mean"])


class _Named(nn.Module):
    def forward(self, tokens):
        return {"mean": tokens.mean(1), "max": tokens.amax(1), "phase": torch.fft.fft(tokens)}


def test_elements_of_tuples_and_mappings_are_the_first_or_the_named_one(images):
    network = Attending()
    scorer = TorchScorer(network, "attention", (31, 2), imgpix=32, device="cpu")
    scorer.set_recording(["attention", "attention[1]", "named['max']"])
    scores, recorded = scorer.respond(images)
    outputs = {}
    network.attention.register_forward_hook(lambda m, i, o: outputs.update(attention=o))
    network.named.register_forward_hook(lambda m, i, o: outputs.update(named=o))
    network(scorer.preprocess(images, 1))
    tokens, weights = (part.detach().numpy() for part in outputs["attention"])
    np.testing.assert_allclose(scores, tokens[:, 31, 2], atol=1e-5)
    np.testing.assert_allclose(recorded["attention"], tokens, atol=1e-5)
    np.testing.assert_allclose(recorded["attention[1]"], weights, atol=1e-5)
    largest = outputs["named"]["max"].detach()
    np.testing.assert_allclose(recorded["named['max']"], largest, atol=1e-5)
    with pytest.raises(UsageError, match=r"no element '2'; its elements: 0, 1"):
        scorer.set_recording("attention[2]")
    scorer.cleanup()
    scorer.set_recording("named[phase]")
    with pytest.raises(UsageError, match="complex"):
        scorer.respond(images)


def watched():
    return nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )  # fmt: skip


def test_a_network_that_trains_is_measured_as_it_would_be_used(images):
    """Dropout and batch statistics stay out, running means are the user's, the mode comes back."""
    network = watched()
    scorer = TorchScorer(network, "4", 1, imgpix=32, device="cpu")
    network.eval()
    before, mean = scorer.score(images), network[1].running_mean.clone()
    network.train()
    network[0].eval()
    modes = [layer.training for layer in network.modules()]
    for call in (scorer.score, lambda x: scorer.score_tsr_wgrad(x).detach().numpy()):
        np.testing.assert_allclose(call(images), before, atol=1e-6)
    with record(network, ["4"]) as activations:
        activations.run(scorer.preprocess(images, 1))
    np.testing.assert_allclose(activations["4"][:, 1], before, atol=1e-6)
    assert torch.equal(network[1].running_mean, mean)
    assert [layer.training for layer in network.modules()] == modes
    assert all(weight.requires_grad for weight in network.parameters())
    scorer.model.train()
    network[4].forward = lambda maps: 1 / 0
    with pytest.raises(ZeroDivisionError):
        scorer.score(images)
    assert network.training


class View(nn.Module):
    """A convolution, then ``view``, which wants weights as they were."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(512, 10)

    def forward(self, images):
        maps = functional.max_pool2d(functional.relu(self.conv(images)), 4)
        return self.fc(maps.view(images.size(0), -1))


class FiveAxes(nn.Module):
    """A weight of five axes in a network of images."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv3d(3, 4, (1, 3, 3), padding=(0, 1, 1)), nn.Linear(4, 5)

    def forward(self, images):
        return self.fc(self.conv(images[:, :, None]).mean((2, 3, 4)))


@pytest.mark.parametrize(
    "network", [View(), FiveAxes(), nn.Sequential(nn.Conv2d(3, 2, 1), nn.Flatten())]
)
def test_weights_lie_in_memory_as_the_user_laid_them(network, images):
    strides = [weight.stride() for weight in network.parameters()]
    layer = "fc" if hasattr(network, "fc") else "1"
    scorer = TorchScorer(network, layer, 1, imgpix=32, device="cpu")
    expected = network(scorer.preprocess(images, 1))[:, 1].detach()
    np.testing.assert_allclose(scorer.score(images), expected, atol=1e-5)
    assert [weight.stride() for weight in network.parameters()] == strides


def test_networks_by_name_that_use_view_are_laid_out_as_they_need(monkeypatch, images):
    """Channels-last is tried first, on the CPU."""
    from core.utils import CNN_scorers
    from core.utils.scoring.classifiers import Classifier

    monkeypatch.setattr(
        CNN_scorers, "load_classifier", lambda name, **_: Classifier(name, View(), False, "here")
    )
    scorer = TorchScorer("view", "fc", 3, imgpix=32, device="cpu")
    assert scorer.score(images).shape == (5,)
    assert scorer.model.conv.weight.is_contiguous()


@pytest.mark.parametrize("autocast", [False, True])
def test_bfloat16_is_scored_and_recorded(images, autocast):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3))
    plain = TorchScorer(network, "2", (1, 2, 3), imgpix=32, device="cpu").score(images)
    if not autocast:
        network = network.bfloat16()
    scorer = TorchScorer(network, "2", (1, 2, 3), imgpix=32, device="cpu")
    scorer.set_recording("0")
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        scores, recorded = scorer.respond(images)
    np.testing.assert_allclose(scores, plain, atol=0.02)
    assert recorded["0"].dtype == np.float32


def test_units_chosen_in_inference_mode_have_gradients_outside(images):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    with torch.inference_mode():
        scorer = TorchScorer(network, "0", [(1, 2, 3), (0, 4, 4)], imgpix=32, device="cpu")
        scorer.score(images)
        by_name = TorchScorer("alexnet", "features.3", (0, 1, 1), imgpix=64, pretrained=False)
        scorer.set_unit("sum", "1", WeightedSum(np.ones((4, 30, 30))))
    images.requires_grad_()
    for one in (scorer, by_name):
        scores = one.score_tsr_wgrad(images)
        (gradient,) = torch.autograd.grad(scores.sum(), images)
        assert gradient.abs().sum() > 0


def test_published_names_hold_for_subclasses_of_containers():
    """The names that the published rule gives, typed in; names with the class stay as aliases."""
    from torchvision.models import densenet121, mobilenet_v2

    for build, path, name, alias in (
        (densenet121, "features.transition1", ".features.transition1",
         ".features._Transitiontransition1"),
        (mobilenet_v2, "features.0", ".features.0", ".features.Conv2dNormActivation0"),
    ):  # fmt: skip
        with torch.device("meta"):
            network = build()
        assert published_name(path, network.get_submodule(path)) == name
        assert [find_layer(network, known) for known in (name, alias, path)] == [path] * 3


def test_a_name_of_two_layers_is_refused_with_both():
    class Block(nn.Module):
        pass

    class Block1(nn.Module):
        pass

    network = nn.ModuleList([Block1(), *[nn.Identity() for _ in range(9)], Block()])
    with pytest.raises(UsageError, match=r"'\.Block10' may be '0' or '10'"):
        find_layer(network, ".Block10")
    assert find_layer(network, ".Identity3") == "3"


def test_the_name_of_a_layer_is_a_text():
    with pytest.raises(UsageError, match="layer 0 was given; the name of a layer is a text"):
        TorchScorer(nn.Sequential(nn.Flatten()), device="cpu", imgpix=4).set_unit("score", 0, 1)
    with pytest.raises(UsageError, match="layer 0 was given; the name of a layer is a text"):
        TorchScorer(nn.Sequential(nn.Flatten()), 0, 1, device="cpu", imgpix=4)


@pytest.mark.filterwarnings("ignore:.*is deprecated")
@pytest.mark.parametrize(
    "how", [torch.jit.script, lambda network: torch.jit.trace(network, torch.rand(1, 3, 8, 8))]
)
def test_scripted_and_traced_networks_are_one_sentence(how):
    hidden = how(nn.Sequential(nn.Conv2d(3, 2, 1)))
    for call in (
        lambda: TorchScorer(hidden, "0", (0, 0, 0), imgpix=8),
        lambda: get_module_names(hidden, (3, 8, 8), show=False),
        lambda: record(hidden, ["0"]),
    ):
        with pytest.raises(UsageError, match="scripted or traced"):
            call()


def test_a_compiled_network_has_the_names_of_its_original(images):
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Flatten())
    compiled = torch.compile(network, backend="eager")
    scorer = TorchScorer(compiled, "1", 5, imgpix=32, device="cpu")
    expected = network(scorer.preprocess(images, 1))[:, 5].detach()
    np.testing.assert_allclose(scorer.score(images), expected, atol=1e-6)
    names, _, _ = get_module_names(compiled, (3, 8, 8), show=False)
    assert names["1"] == ".Conv2d0"
    assert scorer.layers == (".Conv2d0", ".Flatten1", ".Sequential")
    with register_hook_by_module_name(compiled, ".Conv2d0") as activations:
        network(images)
    assert activations[".Conv2d0"].shape == (5, 2, 32, 32)


def test_scores_do_not_depend_on_what_was_recorded_before(images):
    """One type whatever the history; recordings have a call of their own."""
    scorer = TorchScorer(Twice(), "relu", (1, 4, 4), imgpix=32, device="cpu")
    before = scorer.score(images)
    scorer.set_recording(["first", "second"])
    after = scorer.score(images)
    np.testing.assert_array_equal(before, after)
    scores, recordings = scorer.respond(images)
    np.testing.assert_array_equal(scores, after)
    assert set(recordings) == {"first", "second"}
    assert "score: one unit of relu; first: all of first" in repr(scorer)


@pytest.mark.parametrize("unit", [(1, 4, 4), Channel(1), (1, slice(3, 6), 4), Centre(1)])
def test_scorers_and_receptive_fields_share_the_grammar(images, unit):
    """The map is the gradient of what the scorer scores."""
    torch.manual_seed(1)
    network = nn.Sequential(nn.Conv2d(3, 2, 3, padding=1))
    scorer = TorchScorer(network, "0", unit, imgpix=(8, 9), device="cpu", mean=[0] * 3, std=[1] * 3)
    image = torch.rand(1, 3, 8, 9, requires_grad=True)
    (gradient,) = torch.autograd.grad(scorer.score_tsr_wgrad(image).sum(), image)
    field = rf.grad_RF_estimate(network, "0", unit, (3, 8, 9), reps=1)
    np.testing.assert_allclose(field, gradient[0].abs().mean(0), atol=1e-6)

"""Layers by name, and what is recorded of them."""

from __future__ import annotations

import doctest
import gc
from itertools import chain, combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from core.errors import UsageError
from core.utils.layer_hook_utils import (
    featureFetcher,
    featureFetcher_module,
    featureFetcher_recurrent,
    get_layer_names,
    get_module_name_shapes,
    get_module_names,
    named_apply,
    print_specific_layer,
    recursive_named_apply_w_depth,
    recursive_print,
    register_hook_by_module_name,
    register_hook_by_module_names,
)
from core.utils.layers import record as recording
from core.utils.layers.names import find_layer, published_name
from core.utils.layers.record import record
from core.utils.scoring.classifiers import load_classifier

pytestmark = pytest.mark.numerics

ALEXNET_NAMES = [
    "Image",
    *(".features.Conv2d0", ".features.ReLU1", ".features.MaxPool2d2"),
    *(".features.Conv2d3", ".features.ReLU4", ".features.MaxPool2d5"),
    *(".features.Conv2d6", ".features.ReLU7", ".features.Conv2d8", ".features.ReLU9"),
    *(".features.Conv2d10", ".features.ReLU11", ".features.MaxPool2d12", ".features"),
    *(".AdaptiveAvgPool2davgpool", ".classifier.Dropout0", ".classifier.Linear1"),
    *(".classifier.ReLU2", ".classifier.Dropout3", ".classifier.Linear4", ".classifier.ReLU5"),
    *(".classifier.Linear6", ".classifier", ".AlexNet"),
]


class Residual(nn.Module):
    """A block whose rectifier runs twice, in place, and whose sum is in place, as in a ResNet."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 2, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(2, 2, 3, padding=1)

    def forward(self, maps):
        out = self.conv2(self.relu(self.conv1(maps)))
        out += maps
        return self.relu(out)


class SmallNet(nn.Module):
    """Blocks, a layer that never runs, one that hands its input on, and two heads."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 2, 3)
        self.keep = nn.Dropout()
        self.blocks = nn.Sequential(Residual(), Residual())
        self.late = nn.Linear(2, 4)
        self.early = nn.Linear(2, 4)
        self.unused = nn.Linear(2, 4)

    def forward(self, images):
        flat = self.blocks(self.keep(self.stem(images))).mean(dim=(2, 3))
        return self.early(flat) + self.late(flat)


LAYERS = (
    "stem", "keep", "blocks.0.conv1", "blocks.0.relu", "blocks.0.conv2", "blocks.0",
    "blocks.1.relu", ".blocks.Residual1", ".blocks", "late", ".Linearearly", ".SmallNet",
)  # fmt: skip
#: The layer that runs last of each of the above and therefore ends the pass.
ORDER = [
    "stem", "keep", "blocks.0.conv1", "blocks.0.relu", "blocks.0.conv2", "blocks.0.relu",
    "blocks.0", "blocks.1.conv1", "blocks.1.relu", "blocks.1.conv2", "blocks.1.relu", "blocks.1",
    "blocks", "early", "late", "",
]  # fmt: skip


@pytest.fixture
def net():
    torch.manual_seed(0)
    return SmallNet().eval()


@pytest.fixture
def images():
    return torch.rand(3, 3, 9, 7, generator=torch.Generator().manual_seed(1)) - 0.5


@pytest.fixture(scope="module")
def resnet50():
    return load_classifier("resnet50", pretrained=False).network


@pytest.fixture(scope="module")
def alexnet():
    return load_classifier("alexnet", pretrained=False).network


def hooks_of(network):
    return sum(
        len(hooks)
        for layer in network.modules()
        for hooks in (layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks)
    )


def by_hand(net, images):
    """Compute every layer of `SmallNet` without hooks and without operations in place."""
    found = {"stem": net.stem(images)}
    maps = found["keep"] = found["stem"]
    for number, block in enumerate(net.blocks):
        first = found[f"blocks.{number}.conv1"] = block.conv1(maps)
        second = found[f"blocks.{number}.conv2"] = block.conv2(functional.relu(first))
        maps = found[f"blocks.{number}"] = functional.relu(second + maps)
        found[f"blocks.{number}.relu"] = maps  # its last call
    found["blocks"] = maps
    flat = maps.mean(dim=(2, 3))
    found["early"], found["late"] = net.early(flat), net.late(flat)
    found[""] = found["early"] + found["late"]
    return found


def test_alexnet_has_the_published_names_in_order_of_execution(alexnet):
    """Twenty-four layers and the image; shapes without the batch."""
    names, types, spec = get_module_names(alexnet, (3, 227, 227), show=False)
    assert list(names.values()) == ALEXNET_NAMES
    assert list(names) == list(types) == list(spec) == [str(n) for n in range(25)]
    assert spec["0"] == {"inshape": (3, 227, 227), "outshape": (3, 227, 227)}
    assert spec["1"] == {"inshape": (3, 227, 227), "outshape": (64, 56, 56)}
    assert spec["17"] == {"inshape": (9216,), "outshape": (4096,)}
    assert types["1"] == "Conv2d"


def test_resnet50_has_the_published_names(resnet50):
    """The examples of the paper's code; a layer comes after those inside it; reuse is listed."""
    names, _, spec = get_module_names(resnet50, (3, 64, 64), show=False)
    order = list(names.values())
    assert order[:4] == ["Image", ".Conv2dconv1", ".BatchNorm2dbn1", ".ReLUrelu"]
    inner, block, stage = map(
        order.index, (".layer2.3.Conv2dconv1", ".layer2.Bottleneck3", ".layer2")
    )
    assert inner < block < stage
    assert order[-2:] == [".Linearfc", ".ResNet"]
    assert order.count(".layer2.3.ReLUrelu") == 3
    assert spec[str(block)]["outshape"] == (512, 8, 8)


def test_every_layer_answers_to_both_of_its_names(resnet50):
    """Published and dotted names lead to the same place."""
    for path, layer in resnet50.named_modules():
        assert find_layer(resnet50, published_name(path, layer)) == path
        if path:
            assert find_layer(resnet50, path) == path


@pytest.mark.parametrize(
    ("given_name", "neighbour"),
    [
        (".layer2.Botleneck3", "'.layer2.Bottleneck3'"),
        ("layer2.3.cov1", "'layer2.3.conv1'"),
        (".fc", "'fc'"),
        ("", "Known: conv1"),
    ],
)
def test_unknown_layers_name_their_neighbours(resnet50, given_name, neighbour):
    with pytest.raises(UsageError, match=neighbour):
        find_layer(resnet50, given_name)
    with pytest.raises(UsageError, match="unknown layer of ResNet"):
        record(resnet50, ["layer1", given_name])
    with pytest.raises(UsageError, match="unknown layer of ResNet"):
        register_hook_by_module_names(given_name, print, resnet50, (3, 64, 64))
    assert hooks_of(resnet50) == 0


def test_the_table_leaves_a_network_as_it_was(capsys):
    """Mode, running statistics and hooks stay; the table is printed."""
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2).eval(), nn.Dropout())
    before = {key: value.clone() for key, value in network.state_dict().items()}
    get_module_names(network, (3, 8, 8))
    assert [layer.training for layer in network] == [True, False, True]
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert hooks_of(network) == 0
    assert ".BatchNorm2d1" in capsys.readouterr().out


def test_a_size_that_the_network_cannot_take_is_said(net):
    with pytest.raises(
        UsageError, match=r"SmallNet cannot run on an input of shape \(2, 4, 9, 9\)"
    ):
        get_module_names(net, (4, 9, 9), show=False)
    assert hooks_of(net) == 0


def test_several_inputs_and_outputs_that_are_no_tensor():
    """Two sizes for two inputs; a recurrent layer returns a tuple."""

    class TwoInputs(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.LSTM(3, 4, batch_first=True)

        def forward(self, first, second):
            return self.rnn(first + second)[0]

    names, _, spec = get_module_names(TwoInputs(), [(5, 3), (5, 3)], show=False)
    assert names == {"0": "Image", "1": ".LSTMrnn", "2": ".TwoInputs"}
    assert spec["1"] == {"inshape": (5, 3), "outshape": (None,)}


def test_shapes_down_to_a_depth_in_a_part_of_the_network(net, images):
    """Plain names with the prefix, shapes with the batch."""
    names, types, spec = get_module_name_shapes(
        net, [images], net.blocks, "blocks/", deepest=1, show=False
    )
    assert list(names.values()) == ["Image", "blocks/0", "blocks/1", "blocks/"]
    assert list(types.values()) == ["Input", "Residual", "Residual", "Sequential"]
    assert spec["1"] == {"inshape": (3, 2, 7, 5), "outshape": (3, 2, 7, 5)}
    names, _, _ = get_module_name_shapes(net, [images], show=False)
    assert "blocks.0.conv1" in names.values()


def test_shapes_are_printed_with_or_without_inputs(net, images, capsys):
    get_module_name_shapes(net, [images], deepest=1)
    assert "input" in capsys.readouterr().out
    get_module_name_shapes(net, [images], deepest=1, show_input=False)
    assert "input" not in capsys.readouterr().out


@given(layers=st.lists(st.sampled_from(LAYERS), min_size=1, unique=True))
@settings(max_examples=20, deadline=None)
def test_recorded_layers_are_their_own_output_however_far_the_pass_goes(layers):
    """Any set of layers, reused ones too: to the end, to the deepest one, and by hand, alike."""
    torch.manual_seed(0)
    net, images = SmallNet().eval(), torch.rand(2, 3, 8, 6) - 0.5
    expected = by_hand(net, images)
    paths = {layer: find_layer(net, layer) for layer in layers}
    with torch.no_grad(), record(net, layers) as whole:
        net(images)
    calls = {layer: ORDER.count(path) for layer, path in paths.items()}
    ran = []
    watch = [
        layer.register_forward_hook(lambda module, inputs, output, path=path: ran.append(path))
        for path, layer in net.named_modules()
    ]
    with record(net, layers, calls=calls) as stopped:
        stopped.run(images)
    for handle in watch:
        handle.remove()
    for layer, path in paths.items():
        torch.testing.assert_close(whole[layer], expected[path])
        assert torch.equal(stopped[layer], whole[layer])
    last = max(len(ORDER) - ORDER[::-1].index(path) for path in paths.values())
    assert ran == ORDER[:last]
    assert hooks_of(net) == 0


def test_without_counts_the_first_pass_goes_to_the_end_to_count(net, images):
    """The second call of a rectifier is recorded in both passes, and ends only the second one."""
    reached = []
    net.blocks[1].register_forward_hook(lambda *_: reached.append("blocks.1"))
    with record(net, ["blocks.0.relu"]) as activations:
        first = activations.run(images)["blocks.0.relu"]
        second = activations.run(images)["blocks.0.relu"]
    assert reached == ["blocks.1"]
    assert torch.equal(first, second)
    torch.testing.assert_close(first, by_hand(net, images)["blocks.0.relu"].detach())


def test_every_call_is_kept_on_demand_and_only_of_the_latest_pass(net, images):
    with torch.no_grad(), record(net, ["blocks.0.relu"], every_call=True) as activations:
        net(images)
        net(images)
    first, second = activations["blocks.0.relu"]
    expected = by_hand(net, images)
    torch.testing.assert_close(first, functional.relu(expected["blocks.0.conv1"]).detach())
    torch.testing.assert_close(second, expected["blocks.0"].detach())


def test_keys_modules_and_readings(net, images):
    """A mapping names what is recorded; a reading keeps a part of it."""
    with record(
        net, {"a": net.stem, "b": ".Conv2dstem"}, read={"b": lambda maps: maps[:, 1, 2, 3]}
    ) as activations:
        found = activations.run(images)
    assert list(activations) == ["a", "b"]
    assert len(activations) == 2
    assert torch.equal(found["a"][:, 1, 2, 3], found["b"])


def test_activations_are_detached_unless_the_graph_is_kept(net, images):
    """The gradient through a recorded unit is that of a direct computation."""
    images.requires_grad_()
    direct = by_hand(net, images)["blocks.0.conv2"][:, 1, 3, 2].sum()
    (expected,) = torch.autograd.grad(direct, images)
    with record(net, ["blocks.0.conv2"], keep_graph=True) as activations:
        for run in (net, activations.run, activations.run):
            run(images)
            unit = activations["blocks.0.conv2"][:, 1, 3, 2].sum()
            torch.testing.assert_close(torch.autograd.grad(unit, images)[0], expected)
    with record(net, ["blocks.0.conv2"]) as activations:
        net(images)
        assert not activations["blocks.0.conv2"].requires_grad
        assert not activations.run(images)["blocks.0.conv2"].requires_grad


def test_a_layer_that_hands_its_input_on_is_recorded_apart_from_it(images):
    """Changing the images afterwards does not change the activation."""
    network = nn.Sequential(nn.Identity(), nn.ReLU())
    with record(network, ["0"], calls={"0": 1}) as activations:
        activations.run(images)
    before = images.clone()
    images.zero_()
    assert torch.equal(activations["0"], before)


def test_no_exception_handler_inside_a_network_stops_the_early_end(images):
    class Careful(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 3)

        def forward(self, images):
            try:
                return self.conv(images)
            except Exception as error:
                raise AssertionError("swallowed") from error

    with record(Careful(), ["conv"], calls={"conv": 1}) as activations:
        assert activations.run(images)["conv"].shape == (3, 2, 7, 5)


def _first(maps):
    return maps[:, 0]


def test_tuples_are_recorded_and_units_are_those_of_the_first_element():
    network = nn.Sequential(nn.LSTM(3, 4))
    steps = torch.rand(5, 2, 3)
    with record(network, ["0"]) as activations:
        output, (hidden, cell) = activations.run(steps)["0"]
    expected, (expected_hidden, expected_cell) = network(steps)
    torch.testing.assert_close((output, hidden, cell), (expected, expected_hidden, expected_cell))
    assert not cell.requires_grad
    with record(network, {"first": "0", "whole": "0[0]"}, read={"first": _first}) as activations:
        found = activations.run(steps)
    torch.testing.assert_close((found["first"], found["whole"]), (expected[:, 0], expected))
    for name, message in (("0[1]", "returns a tuple, not a tensor"), ("0[2]", "without element")):
        with pytest.raises(UsageError, match=message), record(network, [name]) as activations:
            activations.run(steps)
    assert hooks_of(network) == 0


def test_a_layer_that_never_runs_is_said(net, images):
    activations = record(net, ["stem", "unused"])
    with pytest.raises(UsageError, match="'unused' does not run"), activations:
        activations.run(images)
    with pytest.raises(UsageError, match="not attached"):
        activations.run(images)


@pytest.mark.parametrize("stage", ["in the block", "in the network", "in a stopped pass"])
def test_no_hook_survives_an_exception(net, images, stage):
    """Whatever fails, the network is as before, and the recorder can be used again."""
    broken = torch.rand(1, 5, 9, 7)
    recorder = record(net, ["stem", "blocks.0"], calls={"stem": 1, "blocks.0": 1})
    with pytest.raises((RuntimeError, ZeroDivisionError)), recorder:
        if stage == "in the block":
            raise ZeroDivisionError
        (net if stage == "in the network" else recorder.run)(broken)
    assert hooks_of(net) == 0
    with recorder:
        assert recorder.run(images)["blocks.0"].shape == (3, 2, 7, 5)
    assert hooks_of(net) == 0


def test_a_single_layer_by_name(net, images):
    """Without a hook the output is recorded; with one, torch's handle comes back."""
    with register_hook_by_module_name(net, ".Conv2dstem") as activations:
        net(images)
    torch.testing.assert_close(activations[".Conv2dstem"], net.stem(images).detach())
    seen = []
    handle = register_hook_by_module_name(net, "blocks.0.relu", lambda *_: seen.append(1))
    net(images)
    handle.remove()
    assert len(seen) == 2
    assert hooks_of(net) == 0


def test_a_reused_layer_gets_one_hook(net, images):
    """The published code attached one for each of its calls."""
    seen = []
    handles, names, types = register_hook_by_module_names(
        ".blocks.0.ReLUrelu", lambda *_: seen.append(1), net, (3, 9, 7)
    )
    net(images)
    assert len(handles) == 1
    assert len(seen) == 2
    assert names["1"] == ".Conv2dstem"
    assert types["1"] == "Conv2d"
    handles[0].remove()
    assert hooks_of(net) == 0


def test_fetcher_by_name(net, images, capsys):
    """Outputs and inputs are what they were when the layer ran, not after an in-place rectifier."""
    with featureFetcher(net, (3, 9, 7)) as fetcher:
        assert ".Conv2dstem" in capsys.readouterr().out
        fetcher.record(".blocks.0.Conv2dconv1", "conv")
        fetcher.record("blocks.0.relu", "given", return_input=True)
        fetcher.record(".blocks.0.Conv2dconv2", ingraph=True, store_device="cpu")
        net(images.requires_grad_())
        expected = by_hand(net, images)
        torch.testing.assert_close(fetcher["conv"], expected["blocks.0.conv1"].detach())
        torch.testing.assert_close(
            fetcher["given"], (expected["blocks.0.conv2"] + expected["stem"]).detach()
        )
        kept = fetcher[".blocks.0.Conv2dconv2"].sum()
        (gradient,) = torch.autograd.grad(kept, images)
    (direct,) = torch.autograd.grad(by_hand(net, images)["blocks.0.conv2"].sum(), images)
    torch.testing.assert_close(gradient, direct)
    assert not fetcher.activations
    assert hooks_of(net) == 0


def test_fetchers_replace_and_drop_their_hooks(net, images):
    """A name has one hook; a fetcher that is gone has none."""
    fetcher = featureFetcher_module()
    fetcher.record_module(net.stem, "layer")
    fetcher.record_module(net.early, "layer")
    assert hooks_of(net) == 1
    net(images)
    assert fetcher["layer"].shape == (3, 4)
    del fetcher
    gc.collect()
    assert hooks_of(net) == 0
    with pytest.raises(ZeroDivisionError), featureFetcher(net, print_module=False) as fetcher:
        fetcher.record("stem")
        raise ZeroDivisionError
    assert hooks_of(net) == 0
    with pytest.raises(UsageError, match="unknown layer of SmallNet"):
        featureFetcher(net, print_module=False).record("stom")


def test_recurrent_fetcher_appends_every_call(net, images):
    """One entry per call until the caller empties the list; the hook can go before the values."""
    fetcher = featureFetcher_recurrent(net)
    fetcher.record("blocks", "0.relu")
    fetcher.record(net.blocks, "1", key="block")
    net(images)
    net(images)
    assert [len(fetcher["score"]), len(fetcher["block"])] == [4, 2]
    fetcher.remove_hook()
    assert hooks_of(net) == 0
    assert len(fetcher["score"]) == 4
    fetcher.cleanup()
    assert not fetcher.activations


def test_walks_over_the_modules(net):
    """Innermost first, with the published prefix and the depth."""
    walked, depths = [], []
    named_apply(net, "net", lambda module, name, prefix: walked.append(f"{prefix}/{name}"))
    recursive_named_apply_w_depth(
        net, "net", lambda module, name, prefix, depth: depths.append((name, depth))
    )
    assert walked[2:6] == [".blocks.0/conv1", ".blocks.0/relu", ".blocks.0/conv2", ".blocks/0"]
    assert walked[-1] == "/net"
    assert depths[2:6] == [("conv1", 3), ("relu", 3), ("conv2", 3), ("0", 2)]
    assert get_layer_names(net)[:4] == ["stem", "keep", "blocks", "blocks.0"]


def test_trees_are_printed_down_to_a_depth(net, capsys):
    recursive_print(net, deepest=2)
    assert capsys.readouterr().out.splitlines()[:5] == [
        "[SmallNet]",
        f"(stem): {net.stem}",
        f"(keep): {net.keep}",
        "(blocks): Sequential",
        "  (0): Residual",
    ]
    print_specific_layer(net, ".blocks.Residual1")
    assert capsys.readouterr().out.startswith("[Residual]\n(conv1): Conv2d(2, 2")


def test_examples_of_the_module():
    assert doctest.testmod(recording).failed == 0


def test_pairs_of_layers_in_resnet50_are_unchanged_by_the_early_end(resnet50):
    """In a real network with in-place rectifiers and sums, in any order of asking."""
    layers = (".layer1.0.ReLUrelu", ".layer1.0.BatchNorm2dbn3", ".layer2.Bottleneck0")
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), record(resnet50, layers) as activations:
        resnet50(images)
    whole = dict(activations)
    calls = dict(zip(layers, (3, 1, 1), strict=True))
    for asked in chain(combinations(layers[::-1], 2), [layers]):
        with record(resnet50, asked, calls={layer: calls[layer] for layer in asked}) as stopped:
            found = stopped.run(images)
        assert all(torch.equal(found[layer], whole[layer]) for layer in asked)
    assert hooks_of(resnet50) == 0

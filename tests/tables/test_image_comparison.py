"""Masks, features and similarities of pictures, prototype montages, and their simulation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from core.errors import MalformedDataError, MissingDataError, UsageError
from core.utils.scoring.perception import (
    FeatureNetwork,
    layer_features,
)
from neuro_data_analysis.image_comparison_lib import (
    READOUTS,
    cosine_matrix,
    embed,
    load_lpips,
    load_network,
    lpips_matrix,
    readouts_of,
)
from neuro_data_analysis.similarity.masks import MASKED_LAYERS, WITHIN_BORDER, ring_mask
from neuro_data_analysis.similarity.montages import (
    CELL,
    PROTOTYPES,
    THREADS,
    WHITE_CELLS,
    cut_cell,
    montage_file,
    read_montage,
    write_montage,
)
from neuro_data_analysis.simulation.prototypes import (
    LocalContent,
    draw_prototypes,
    read_truth,
    simulate_prototypes,
)
from tests.paper_constants import IMAGENET_MEAN, IMAGENET_SD


def test_focus_of_layer4_has_the_published_rings():
    expected = [
        [0, 0, 0, 0, 0, 0, 0],
        [0, 0.25, 0.25, 0.25, 0.25, 0.25, 0],
        [0, 0.25, 0.5, 0.5, 0.5, 0.25, 0],
        [0, 0.25, 0.5, 1, 0.5, 0.25, 0],
        [0, 0.25, 0.5, 0.5, 0.5, 0.25, 0],
        [0, 0.25, 0.25, 0.25, 0.25, 0.25, 0],
        [0, 0, 0, 0, 0, 0, 0],
    ]
    np.testing.assert_array_equal(MASKED_LAYERS["RNrobust_L4"].mask("focus"), expected)


def _squares(size, **weights):
    """Return a map with centred squares of the given sides, the smallest on top."""
    mask = np.zeros((size, size))
    for side, weight in sorted(weights.items(), key=lambda item: -int(item[0][4:])):
        start = (size - int(side[4:])) // 2
        mask[start : size - start, start : size - start] = weight
    return mask


@pytest.mark.parametrize(
    ("layer", "focus", "cent"),
    [
        ("RNrobust_L4", _squares(7, side5=0.25, side3=0.5, side1=1), _squares(7, side1=1)),
        ("RNrobust_L3", _squares(14, side10=0.25, side6=0.5, side2=1), _squares(14, side2=1)),
        ("alex_conv4", _squares(13, side7=0.5, side3=1), _squares(13, side1=1)),
        ("alex_conv5", _squares(13, side7=0.5, side3=1), _squares(13, side1=1)),
        ("vgg_conv5", _squares(14, side8=0.5, side2=1), _squares(14, side2=1)),
        ("vgg_conv4", _squares(28, side16=0.5, side4=1), _squares(28, side4=1)),
    ],
)
def test_masks_are_centred_squares(layer, focus, cent):
    """The squares of the published masks, drawn another way."""
    np.testing.assert_array_equal(MASKED_LAYERS[layer].mask("focus"), focus)
    np.testing.assert_array_equal(MASKED_LAYERS[layer].mask("cent"), cent)
    np.testing.assert_array_equal(MASKED_LAYERS[layer].mask("all"), np.ones(focus.shape))


def test_masks_within_the_border_keep_the_inner_cells():
    np.testing.assert_array_equal(ring_mask(7, WITHIN_BORDER), _squares(7, side5=1))
    np.testing.assert_array_equal(ring_mask(7, WITHIN_BORDER, 2), _squares(14, side10=1))


def test_an_unknown_mask_lists_the_known_ones():
    with pytest.raises(UsageError, match="focus, cent, all"):
        MASKED_LAYERS["vgg_conv4"].mask("center")


class TinyNet(nn.Module):
    """Two layers with the names and map sizes of a ResNet50, and an in-place ReLU."""

    def __init__(self):
        super().__init__()
        self.layer3 = nn.Conv2d(3, 4, 16, 16)
        self.relu = nn.ReLU(inplace=True)
        self.layer4 = nn.Conv2d(4, 5, 2, 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x):
        return self.avgpool(self.layer4(self.relu(self.layer3(x))))


@pytest.fixture(scope="module")
def tiny():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = TinyNet().eval().requires_grad_(False)
    return FeatureNetwork("resnet50_linf8", module, torch.device("cpu"), "untrained, seed 0")


@pytest.fixture
def pictures(rng):
    return rng.random((3, 224, 224, 3)).astype(np.float32)


def _explicit_features(tiny, picture):
    """Layer 3 before its ReLU, and layer 4, by loops over the patches of one picture."""
    normalised = (picture - IMAGENET_MEAN) / IMAGENET_SD
    weights = {name: value.numpy() for name, value in tiny.module.state_dict().items()}
    layer3 = np.empty((14, 14, 4))
    for row in range(14):
        for column in range(14):
            patch = normalised[16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
            sums = np.einsum("ochw,hwc->o", weights["layer3.weight"], patch)
            layer3[row, column] = sums + weights["layer3.bias"]
    rectified, layer4 = np.maximum(layer3, 0), np.empty((7, 7, 5))
    for row in range(7):
        for column in range(7):
            patch = rectified[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            sums = np.einsum("ochw,hwc->o", weights["layer4.weight"], patch)
            layer4[row, column] = sums + weights["layer4.bias"]
    return layer3, layer4


def _cosine(a, b):
    return np.sum(a * b, axis=-1) / np.sqrt(np.sum(a * a, axis=-1) * np.sum(b * b, axis=-1))


def test_cosines_agree_with_explicit_numpy(tiny, pictures):
    """Every kind of readout of a ResNet, on features computed by loops."""
    (first3, first4), (second3, second4) = (_explicit_features(tiny, p) for p in pictures[:2])
    focus = MASKED_LAYERS["RNrobust_L4"].mask("focus")[..., np.newaxis]
    expected = {
        "resnet_L3_m": _cosine(first3, second3).mean(),
        "resnet_L4_m": _cosine(first4, second4).mean(),
        "resnet_avgpool": _cosine(first4.mean((0, 1)), second4.mean((0, 1))),
        "resnet_L4": _cosine(first4[1:6, 1:6].mean((0, 1)), second4[1:6, 1:6].mean((0, 1))),
        "resnet_L3": _cosine(first3[2:12, 2:12].mean((0, 1)), second3[2:12, 2:12].mean((0, 1))),
        "RNrobust_L4focus": _cosine(
            (first4 * focus).sum((0, 1)) / focus.sum(), (second4 * focus).sum((0, 1)) / focus.sum()
        ),
        "RNrobust_L4cent": _cosine(first4[3, 3], second4[3, 3]),
        "RNrobust_L3cent": _cosine(first3[6:8, 6:8].mean((0, 1)), second3[6:8, 6:8].mean((0, 1))),
    }
    for readout, value in expected.items():
        found = cosine_matrix(pictures[:1], pictures[1:2], tiny, readout).item()
        assert found == pytest.approx(value, abs=2e-6), readout


@pytest.mark.numerics
def test_matrices_hold_the_single_pairs_whatever_the_batch(tiny, pictures):
    for readout in ("resnet_L4_m", "RNrobust_L3focus"):
        matrix = cosine_matrix(pictures, pictures[:2], tiny, readout, batch_size=2)
        pairs = [
            [cosine_matrix(a[None], b[None], tiny, readout).item() for b in pictures[:2]]
            for a in pictures
        ]
        np.testing.assert_allclose(matrix, pairs, atol=1e-6)
        np.testing.assert_allclose(np.diag(matrix), 1, atol=1e-6)
        assert (np.abs(matrix) <= 1 + 1e-6).all()


def test_average_pool_is_the_mask_that_keeps_all(tiny, pictures):
    embedded = embed(tiny, ["resnet_avgpool", "RNrobust_L4all"], pictures)
    torch.testing.assert_close(embedded["resnet_avgpool"], embedded["RNrobust_L4all"])


def test_arrays_and_tensors_give_the_same(tiny, pictures):
    tensor = torch.from_numpy(pictures).permute(0, 3, 1, 2)
    of_array, of_tensor = (layer_features(tiny, p, ["layer3"]) for p in (pictures, tensor))
    torch.testing.assert_close(of_array["layer3"], of_tensor["layer3"])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda p: p[0], r"shape \(224, 224, 3\)"),
        (lambda p: p[..., :1], r"expected \(n, rows, columns, 3\)"),
        (lambda p: torch.from_numpy(p), r"expected \(n, 3, rows, columns\)"),
        (lambda p: 255 * p, "from 0 to 1"),
        (lambda p: (255 * p).astype(np.uint8), "divide 8-bit pictures by 255"),
        (lambda p: p - 0.5, "from 0 to 1"),
        (lambda p: np.full_like(p, np.nan), "from 0 to 1"),
        (lambda p: p[:, :192, :192], "224 × 224"),
    ],
    ids=["one", "grey", "order", "0-255", "uint8", "negative", "NaN", "small"],
)
def test_pictures_of_another_kind_are_refused(tiny, pictures, change, problem):
    with pytest.raises(UsageError, match=problem):
        embed(tiny, ["RNrobust_L4focus"], change(pictures))


def test_unknown_names_list_what_there_is(tiny, pictures):
    with pytest.raises(UsageError, match=r"Did you mean 'RNrobust_L4focus'"):
        embed(tiny, ["RNrobust_L4focused"], pictures)
    with pytest.raises(UsageError, match="readout of resnet50_linf8"):
        embed(tiny, ["vgg_conv5focus"], pictures)
    with pytest.raises(UsageError, match="unknown layer"):
        layer_features(tiny, pictures, ["layer5"])
    with pytest.raises(UsageError, match="Did you mean 'resnet50_linf8'"):
        load_network("resnet50_linf9", pretrained=False)
    with pytest.raises(UsageError, match="Known: squeeze, alex, vgg"):
        load_lpips("resnet")


def test_no_hook_stays_after_a_failure(tiny, pictures):
    with pytest.raises(RuntimeError):
        layer_features(tiny, pictures[:, :10, :10], ["layer3"])
    assert not any(module._forward_hooks for module in tiny.module.modules())


def test_alexnet_reads_fc6_after_and_fc7_before_the_relu(rng):
    """The in-place ReLU after fc7 must not reach the recorded values."""
    network = load_network("alexnet", pretrained=False, seed=3, device="cpu")
    pictures = rng.random((1, 224, 224, 3)).astype(np.float32)
    layers = {READOUTS[name].layer for name in readouts_of("alexnet")}
    features = layer_features(network, pictures, layers)
    assert features["classifier.2"].min() == 0
    assert features["classifier.4"].min() < 0
    assert features["features.9"].shape == (1, 256, 13, 13)
    assert features["features.11"].shape == (1, 256, 13, 13)
    assert features["features.11"].min() == 0
    again = load_network("alexnet", pretrained=False, seed=3, device="cpu")
    repeated = layer_features(again, pictures, ["classifier.4"])["classifier.4"]
    torch.testing.assert_close(repeated, features["classifier.4"], rtol=0, atol=0)
    assert network.origin == "untrained, seed 3"


def test_transformer_tokens_are_compared_one_by_one():
    """Token 0 is the class, the others are patches; made-up activations."""
    tokens = torch.zeros(1, 3, 2)
    tokens[0, 0] = torch.tensor([3.0, 4.0])
    assert READOUTS["vit_cls"].reduction(tokens).shape == (1, 1, 2)
    assert READOUTS["vit_token_m"].reduction(tokens).shape == (1, 2, 2)


def test_weights_that_are_not_there_are_named(tmp_path):
    with pytest.raises(MissingDataError, match="there is no file of weights"):
        load_network("resnet50_linf8", tmp_path / "nowhere.pt")


@pytest.fixture(scope="module")
def squeeze():
    return load_lpips("squeeze", pretrained=False, device="cpu")


def test_lpips_agrees_with_its_package(squeeze, rng):
    """The matrix from one pass per picture, against lpips on every pair."""
    pictures = rng.random((3, 64, 64, 3)).astype(np.float32)
    matrix = lpips_matrix(pictures, pictures[:2], squeeze, batch_size=2)
    tensors = torch.from_numpy(pictures).permute(0, 3, 1, 2)
    for row in range(3):
        for column in range(2):
            with torch.no_grad():
                of_package = squeeze.module(tensors[[row]], tensors[[column]], normalize=True)
            assert matrix[row, column] == pytest.approx(of_package.item(), abs=1e-6)
    assert np.diag(matrix).tolist() == [0, 0]


def test_lpips_tells_its_input_range(squeeze, rng):
    """Without rescaling it is what the package gives for pictures fed as they are."""
    first, second = rng.random((2, 1, 64, 64, 3)).astype(np.float32)
    older = load_lpips("squeeze", pretrained=False, rescale=False, device="cpu")
    tensors = [torch.from_numpy(p).permute(0, 3, 1, 2) for p in (first, second)]
    with torch.no_grad():
        expected = older.module(*tensors).item()
    assert lpips_matrix(first, second, older)[0, 0] == pytest.approx(expected, abs=1e-6)
    assert lpips_matrix(first, second, squeeze)[0, 0] != pytest.approx(expected, rel=0.01)


def test_the_trunk_of_lpips_takes_the_weights_of_torchvision(tmp_path, squeeze):
    from torchvision.models import squeezenet1_1

    state = squeezenet1_1(weights=None).state_dict()
    torch.save(state, tmp_path / "squeezenet.pth")
    loaded = load_lpips("squeeze", tmp_path / "squeezenet.pth", device="cpu")
    torch.testing.assert_close(
        loaded.module.net.slice2[0 + 1].squeeze.weight, state["features.3.squeeze.weight"]
    )
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(MalformedDataError, match="does not fit the network"):
        load_lpips("squeeze", tmp_path / "other.pth")


@pytest.fixture(scope="module")
def cells():
    shades = iter(np.linspace(0.1, 0.9, 10))
    return {
        (thread, prototype): np.full((CELL, CELL, 3), next(shades), dtype=np.float32)
        for thread in THREADS
        for prototype in PROTOTYPES
        if (thread, prototype) not in WHITE_CELLS
    }


def test_montages_are_cut_where_the_published_ones_are(tmp_path, cells):
    """Cell (r, c) is pixels [224 r : 224 r + 224, 224 c : 224 c + 224]."""
    path = tmp_path / montage_file(7)
    assert path.name == "Exp7_proto_attr_montage.jpg"
    write_montage(path, cells, quality=95)
    montage = read_montage(path)
    assert montage.shape == (672, 896, 3)
    assert montage.dtype == np.float32
    for (thread, prototype), picture in cells.items():
        row, column = THREADS.index(thread), PROTOTYPES.index(prototype)
        cut = cut_cell(montage, thread, prototype)
        by_hand = montage[224 * row : 224 * row + 224, 224 * column : 224 * column + 224]
        np.testing.assert_array_equal(cut, by_hand)
        np.testing.assert_allclose(cut, picture, atol=0.02)
    np.testing.assert_allclose(montage[448:, :448], 1, atol=0.01)  # the white cells


@pytest.mark.parametrize(
    ("thread", "prototype", "problem"),
    [("FC6", "maxblk", "unknown thread"), ("FC", "reevol", "unknown prototype"),
     ("both", "maxblk", "left white")],
)  # fmt: skip
def test_cells_that_are_not_there_are_refused(thread, prototype, problem):
    with pytest.raises(UsageError, match=problem):
        cut_cell(np.ones((672, 896, 3), np.float32), thread, prototype)


def _cut_off(path):
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


@pytest.mark.parametrize(
    ("spoil", "error", "problem"),
    [
        (lambda path: path.unlink(), MissingDataError, "there is no prototype montage"),
        (lambda path: path.write_bytes(b"no picture"), MalformedDataError, "not a readable"),
        (_cut_off, MalformedDataError, "not a readable picture"),
        (lambda path: Image.new("RGB", (906, 682)).save(path), MalformedDataError, "906 × 682"),
    ],
    ids=["missing", "text", "cut off", "padded"],
)
def test_montages_that_cannot_be_used_say_why(tmp_path, cells, spoil, error, problem):
    path = tmp_path / montage_file(7)
    write_montage(path, cells)
    spoil(path)
    with pytest.raises(error, match=problem) as caught:
        read_montage(path)
    assert str(path) in str(caught.value)


def test_contents_meet_half_way():
    """Orientations turn the short way round, colours mix, frequencies by octaves."""
    first = LocalContent(0.1, 8.0, np.zeros((3, 3)))
    second = LocalContent(np.pi - 0.1, 32.0, np.ones((3, 3)))
    half = first.towards(second, 0.5)
    assert half.orientation == pytest.approx(0, abs=1e-12)
    assert half.cycles == pytest.approx(16)
    assert (half.palette == 0.5).all()


def test_simulated_prototypes_depend_on_seed_and_experiment_alone(tmp_path):
    truth = simulate_prototypes(tmp_path / "a", 5, [3, 155])
    assert truth.index.tolist() == [3, 155]
    assert truth["shared_content"].between(0, 1).all()
    pd.testing.assert_frame_equal(read_truth(tmp_path / "a"), truth)
    alone = simulate_prototypes(tmp_path / "b", 5, [155])
    pd.testing.assert_frame_equal(alone, truth.loc[[155]])
    files = [(tmp_path / folder / montage_file(155)).read_bytes() for folder in ("a", "b")]
    assert files[0] == files[1]
    with pytest.raises(UsageError, match="no experiment 2 "):
        simulate_prototypes(tmp_path / "c", 5, [2])


def test_prototypes_that_share_more_are_more_alike():
    """Mean colours of the two reconstructions move together as the shared content grows."""
    distances = []
    for shared in (0.0, 0.5, 1.0):
        found = []
        for seed in range(4):
            cells = draw_prototypes(shared, np.random.default_rng(seed))
            means = [cells[thread, "reevol_pix"].mean((0, 1)) for thread in ("FC", "BG")]
            found.append(np.abs(means[0] - means[1]).mean())
        distances.append(np.mean(found))
    assert distances[0] > distances[1] > distances[2]

"""Every layer and a unit of it against a plain cloning hook: a fast cut of `benchmarks.zoo`."""

from __future__ import annotations

import pytest
from torchvision.models import (
    ConvNeXt,
    DenseNet,
    MaxVit,
    MNASNet,
    MobileNetV2,
    RegNet,
    ResNet,
    ShuffleNetV2,
    SqueezeNet,
    SwinTransformer,
    VisionTransformer,
    mobilenet_v3_small,
)
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.regnet import BlockParams
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.models.swin_transformer import (
    PatchMergingV2,
    SwinTransformerBlockV2,
)

from benchmarks.zoo import compare
from core.utils.CNN_scorers import TorchScorer

#: A small network of each family that need not be built at full size, and its input.
SMALL = {
    "resnet, basic": (lambda: ResNet(BasicBlock, [1, 1, 1, 1], num_classes=5), 32),
    "resnet, bottleneck": (lambda: ResNet(Bottleneck, [1, 2, 1, 1], num_classes=5), 32),
    "densenet": (lambda: DenseNet(4, (2, 2), 8, num_classes=5), 32),
    "squeezenet": (lambda: SqueezeNet("1_1", num_classes=5), 32),
    "shufflenet": (lambda: ShuffleNetV2([1, 1, 1], [8, 16, 16, 16, 16], num_classes=5), 32),
    "mobilenet_v2": (
        lambda: MobileNetV2(5, 0.25, [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 1, 2]]), 32,
    ),
    "mnasnet": (lambda: MNASNet(0.1, num_classes=5), 32),
    "regnet": (
        lambda: RegNet(BlockParams([1, 1], [16, 32], [8, 8], [1.0, 1.0], [2, 2], 0.25), 5), 32,
    ),
    "convnext": (
        lambda: ConvNeXt([CNBlockConfig(8, 16, 1), CNBlockConfig(16, None, 1)], num_classes=5), 32,
    ),
    "swin": (lambda: SwinTransformer([4, 4], 16, [2, 2], [2, 4], [4, 4], num_classes=5), 32),
    "swin, second": (
        lambda: SwinTransformer(
            [4, 4], 16, [2, 2], [2, 4], [4, 4], num_classes=5, block=SwinTransformerBlockV2,
            downsample_layer=PatchMergingV2,
        ),
        32,
    ),
    "vit": (lambda: VisionTransformer(32, 16, 2, 2, 16, 32, num_classes=5), 32),
    "maxvit": (
        lambda: MaxVit((64, 64), 8, 4, [8, 16], [1, 1], 8, 0.1, num_classes=5), 64,
    ),
}  # fmt: skip


@pytest.mark.parametrize("family", SMALL)
def test_every_layer_and_a_unit_of_it_is_that_of_a_hook(family):
    """In batches of two and of three; what has no answer to each image is refused, never wrong."""
    build, side = SMALL[family]
    found = compare(TorchScorer(build().eval(), imgpix=side, device="cpu"))
    assert found.wrong == []
    read = found.counts["recordings"]
    assert read == found.counts["units"] > 10
    refused = found.counts["refused: images cannot be told apart"]
    assert read + refused + found.counts["never ran"] == found.counts["layers"]
    assert (refused > 0) == (family == "swin, second")  # windows of all images on one axis


def test_a_comparison_finds_a_layer_that_is_read_wrong(monkeypatch):
    """The comparison itself can fail: an output one row off is noticed."""
    from core.utils.layers.outputs import LayerOutput

    monkeypatch.setattr(LayerOutput, "index", lambda self, unit: tuple(n - 1 for n in self.shape))
    network = mobilenet_v3_small().features[:2]
    assert compare(TorchScorer(network.eval(), imgpix=32, device="cpu")).wrong


@pytest.mark.parametrize(
    ("build", "layer", "channels"),
    [
        (SMALL["swin"][0], "features.1", 16),
        (SMALL["swin"][0], "features.0", 16),
        (SMALL["convnext"][0], "features.1", 8),
        (SMALL["convnext"][0], "features.1.0.block.2", 8),
        (SMALL["resnet, bottleneck"][0], "layer2", 512),
        (SMALL["vit"][0], "encoder.layers.encoder_layer_0", 16),
    ],
)
def test_channels_are_found_where_they_lie(build, layer, channels):
    assert TorchScorer(build(), imgpix=32, device="cpu").layer(layer).channels == channels

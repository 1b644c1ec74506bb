"""The nine DeePSim generators (Dosovitskiy & Brox 2016) as one table, and the builder of it.

Each inverts one layer of CaffeNet: from that layer's activation to the image that caused it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from core.errors import UsageError, choose_from

LEAK = 0.3
#: Range of the generators that end in a tanh, in grey levels.
TANH_SCALE = 255.0

Kind = Literal["linear", "reshape", "conv", "transposed", "tanh", "scaling"]


@dataclass(frozen=True)
class Layer:
    """One row of the table: a layer and whether a leaky rectifier follows it."""

    name: str
    kind: Kind
    channels: int = 0
    kernel: int = 0
    stride: int = 1
    padding: int = 0
    rectified: bool = True


@dataclass(frozen=True)
class GeneratorSpec:
    """Shape of the code, and the layers from code to image."""

    latent_shape: tuple[int, ...]
    layers: tuple[Layer, ...]


def _linear(name: str) -> Layer:
    return Layer(name, "linear", channels=4096)


def _conv(
    name: str,
    channels: int,
    kernel: int = 3,
    stride: int = 1,
    padding: int = 1,
    rectified: bool = True,
) -> Layer:
    """Convolution; as it stands, one that keeps the size of the map."""
    return Layer(name, "conv", channels, kernel, stride, padding, rectified)


def _refine(name: str, channels: int) -> Layer:
    """Transposed convolution that keeps the size of the map."""
    return Layer(name, "transposed", channels, kernel=3, stride=1, padding=1)


def _double(name: str, channels: int, rectified: bool = True) -> Layer:
    """Transposed convolution that doubles the size of the map."""
    return Layer(name, "transposed", channels, kernel=4, stride=2, padding=1, rectified=rectified)


_TO_MAP = Layer("reshape", "reshape", channels=256, rectified=False)  # 4096 = 256 x 4 x 4
_TANH_255 = (
    _conv("conv1_1", 3, rectified=False),
    Layer("tanh", "tanh", rectified=False),
    Layer("scaling", "scaling", rectified=False),
)
_FROM_8_TO_256 = (
    _double("deconv4", 256),
    _refine("conv4_1", 256),
    _double("deconv3", 128),
    _refine("conv3_1", 128),
    _double("deconv2", 64),
    _double("deconv1", 32),
    _double("deconv0", 3, rectified=False),
)
_FC = (
    *(_linear(name) for name in ("defc7", "defc6", "defc5")),
    _TO_MAP,
    _double("deconv5", 256),
    _refine("conv5_1", 512),
    *_FROM_8_TO_256,
)
_POOL5 = (
    _conv("Rconv6", 512),
    _conv("Rconv7", 512),
    _conv("Rconv8", 512, padding=0),
    _double("deconv5", 256),
    _refine("conv5_1", 512),
    *_FROM_8_TO_256,
)
_CONV = (
    _conv("Rconv6", 384, padding=0),
    _conv("Rconv7", 512, padding=0),
    _conv("Rconv8", 512, kernel=2, padding=0),
    _double("deconv5", 256),
    _refine("conv5_1", 256),
    _double("deconv4", 128),
    _refine("conv4_1", 128),
    _double("deconv3", 128),
    _refine("conv3_1", 128),
    _double("deconv2", 64),
    _conv("conv2_1", 32),
    _double("deconv1", 16),
    *_TANH_255,
)
_FROM_15_TO_240 = (
    _double("deconv4", 128),
    _conv("conv4_1", 128),
    _double("deconv3", 64),
    _conv("conv3_1", 64),
    _double("deconv2", 32),
    _conv("conv2_1", 32),
    _double("deconv1", 16, rectified=False),
    *_TANH_255,
)
_NORM2 = (
    _conv("Rconv6", 256, padding=2),
    _conv("Rconv7", 128),
    _conv("Rconv8", 128),
    *_FROM_15_TO_240,
)
_NORM1 = (
    _conv("Rconv6", 128, stride=2, padding=2),
    _conv("Rconv7", 128),
    _conv("Rconv8", 128),
    *_FROM_15_TO_240,
)

#: By the CaffeNet layer that is inverted; fc6_eucl was trained with a Euclidean loss alone.
GENERATORS = {
    "fc6": GeneratorSpec((4096,), _FC),
    "fc6_eucl": GeneratorSpec((4096,), _FC),
    "fc7": GeneratorSpec((4096,), _FC),
    "fc8": GeneratorSpec((1000,), _FC),
    "pool5": GeneratorSpec((256, 6, 6), _POOL5),
    "conv3": GeneratorSpec((384, 13, 13), _CONV),
    "conv4": GeneratorSpec((384, 13, 13), _CONV),
    "norm1": GeneratorSpec((96, 27, 27), _NORM1),
    "norm2": GeneratorSpec((256, 13, 13), _NORM2),
}


def generator_spec(name: str) -> GeneratorSpec:
    """Return one row of `GENERATORS`; a `UsageError` lists them all."""
    if name not in GENERATORS:
        raise UsageError(choose_from(name, GENERATORS, "generator"))
    return GENERATORS[name]


def build(spec: GeneratorSpec) -> nn.Sequential:
    """Make the network of a row: a Sequential whose children carry the published names."""
    children: OrderedDict[str, nn.Module] = OrderedDict()
    channels = spec.latent_shape[0]
    for layer in spec.layers:
        children[layer.name] = _module(layer, channels)
        channels = layer.channels or channels
        if layer.rectified:
            children[_rectifier_name(layer.name)] = nn.LeakyReLU(LEAK, inplace=True)
    return nn.Sequential(children)


def _module(layer: Layer, channels: int) -> nn.Module:
    window = (layer.kernel, layer.stride, layer.padding)
    match layer.kind:
        case "linear":
            return nn.Linear(channels, layer.channels)
        case "reshape":
            return nn.Unflatten(1, (layer.channels, 4, 4))
        case "conv":
            return nn.Conv2d(channels, layer.channels, *window)
        case "transposed":
            return nn.ConvTranspose2d(channels, layer.channels, *window)
        case "tanh":
            return nn.Tanh()
        case "scaling":
            return Scaling(TANH_SCALE)


def _rectifier_name(layer: str) -> str:
    """Rconv6 is followed by Rrelu6, every other layer by relu_<layer>."""
    return layer.replace("Rconv", "Rrelu") if layer.startswith("Rconv") else f"relu_{layer}"


class Scaling(nn.Module):
    """Multiply by a constant."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return ``factor * maps``."""
        return self.factor * maps

    def extra_repr(self) -> str:
        """Show the factor when the network is printed."""
        return f"{self.factor:g}"

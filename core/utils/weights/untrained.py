"""Initial weights for networks that nobody trained: for demonstrations, tests and controls.

Each weight of a convolution is ``gain / sqrt(inputs) * sum over j of a_j B_j``: random numbers a
of variance 1, and a basis B of kernels. The gain makes up for the power that a (leaky) rectifier
takes away (He et al. 2015). Biases are zero, so that the output grows in proportion to the input.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import nn

#: A seed, or a generator that goes on from where it is.
Seed = int | np.random.Generator
State = dict[str, torch.Tensor]
Convolution = nn.Conv2d | nn.ConvTranspose2d
#: From a convolution to its kernels, shape (kernels, height, width).
KernelBasis = Callable[[Convolution], np.ndarray]

#: Share of edges in the kernels of `smooth_and_edges`, by eye: images look like textures.
_EDGE = 0.5


def initial_state(
    network: nn.Sequential, seed: Seed, output_sd: float, kernels: KernelBasis
) -> State:
    """Draw initial weights.

    Parameters
    ----------
    network : torch.nn.Sequential
        Linear layers, convolutions, rectifiers and layers without weights; it may be on torch's
        ``meta`` device.
    seed : int or numpy.random.Generator
        The same seed gives the same weights on every machine.
    output_sd : float
        Standard deviation to aim at for the output, when that of the input is 1.
    kernels : callable
        `independent_taps` or `smooth_and_edges`.

    Returns
    -------
    dict of str to torch.Tensor
        A state dict.
    """
    rng = np.random.default_rng(seed)
    layers = list(network.named_children())
    gains = {name: _gain(follower) for (name, _), (_, follower) in pairwise(layers)}
    weighted = [
        (name, layer)
        for name, layer in layers
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)
    ]
    gains[weighted[-1][0]] = output_sd
    state: State = {}
    for name, layer in weighted:
        weight = _linear(layer, rng) if isinstance(layer, nn.Linear) else _conv(layer, kernels, rng)
        state[f"{name}.weight"] = gains[name] * weight
        state[f"{name}.bias"] = torch.zeros(weight.shape[_output_axis(layer)])
    return state


def independent_taps(layer: Convolution) -> np.ndarray:
    """Return one kernel per tap: He's initial weights, best for a network that takes images."""
    height, width = layer.kernel_size
    return np.eye(height * width).reshape(-1, height, width) / math.sqrt(_taps_of_one_output(layer))


def smooth_and_edges(layer: Convolution) -> np.ndarray:
    """Return a blur and the edges along both axes, best for a network that makes images.

    Independent taps would make white noise of every layer that doubles the size. Of a transposed
    convolution with stride s, each output pixel sees every s-th tap per axis.
    """
    taps = layer.kernel_size[0]
    seen = layer.stride[0] if isinstance(layer, nn.ConvTranspose2d) else 1
    blur = np.array([math.comb(taps - 1, tap) for tap in range(taps)]) * seen / 2 ** (taps - 1)
    edge = np.sign((taps - 1) / 2 - np.arange(taps))
    return np.stack(
        [np.outer(blur, blur), *(_EDGE * np.outer(*ab) for ab in ((blur, edge), (edge, blur)))]
    )


def _gain(follower: nn.Module) -> float:
    match follower:
        case nn.LeakyReLU():
            return math.sqrt(2 / (1 + follower.negative_slope**2))
        case nn.ReLU():
            return math.sqrt(2)
        case _:
            return 1.0


def _linear(layer: nn.Linear, rng: np.random.Generator) -> torch.Tensor:
    return _unit_variance((layer.out_features, layer.in_features), rng) / math.sqrt(
        layer.in_features
    )


def _conv(layer: Convolution, kernels: KernelBasis, rng: np.random.Generator) -> torch.Tensor:
    basis = torch.from_numpy(kernels(layer)).float()
    amplitudes = _unit_variance((*layer.weight.shape[:2], len(basis)), rng)
    inputs = layer.in_channels // layer.groups
    return torch.einsum("oij,jhw->oihw", amplitudes, basis) / math.sqrt(inputs)


def _taps_of_one_output(layer: Convolution) -> float:
    skipped = math.prod(layer.stride) if isinstance(layer, nn.ConvTranspose2d) else 1
    return math.prod(layer.kernel_size) / skipped


def _output_axis(layer: nn.Module) -> int:
    return 1 if isinstance(layer, nn.ConvTranspose2d) else 0


def _unit_variance(shape: tuple[int, ...], rng: np.random.Generator) -> torch.Tensor:
    """Return uniform numbers of mean 0 and variance 1."""
    return torch.from_numpy(rng.random(shape, np.float32)).sub_(0.5).mul_(math.sqrt(12))

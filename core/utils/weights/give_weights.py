"""What the networks of this project share: published or untrained weights, frozen, eval mode."""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
from torch import nn

from core.utils.weights.fetch import required
from core.utils.weights.state_dicts import load_strictly, read_state_dict
from core.utils.weights.untrained import State


def give_weights(
    network: nn.Module,
    name: str,
    *,
    pretrained: bool,
    weights: str | os.PathLike[str] | None,
    untrained: Callable[[], State],
    rename: Callable[[str], str] = str,
    surplus: bool = False,
) -> bool:
    """Fill a network that was built on the meta device, and freeze it.

    Parameters
    ----------
    network : torch.nn.Module
    name : str
        Its weights in `core.utils.weights.registry.REGISTRY`.
    pretrained : bool
        Whether to read weights at all.
    weights : path-like or None
        A file to read instead of the published one; it counts as ``pretrained``.
    untrained : callable
        Makes the state dict of a network that is not to be trained.
    rename : callable
        From the keys of the file to those of the network.
    surplus : bool
        As in `load_strictly`.

    Returns
    -------
    bool
        Whether the weights were read from a file.
    """
    trained = pretrained or weights is not None
    if trained:
        with required(name, weights) as path:
            state = {rename(key): tensor for key, tensor in read_state_dict(path).items()}
        load_strictly(network, state, path, surplus=surplus)
    else:
        load_strictly(network, untrained(), f"untrained {name}")
    freeze(network)
    return trained


def flat_key(key: str) -> str:
    """Return a key of the published DeePSim files as the network has it.

    >>> flat_key("deconv5.1.weight")
    'deconv5.weight'
    """
    return key.replace(".1.", ".")


def freeze(network: nn.Module) -> None:
    """Set eval mode and ask for no gradient of any weight; those of the input still flow."""
    network.eval().requires_grad_(False)


def lay_out(network: nn.Module, memory_format: torch.memory_format) -> None:
    """Lay out the convolutions of a network; on a CPU they are faster where channels come last."""
    with torch.inference_mode(False):
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                layer.to(memory_format=memory_format)

"""A digest of the weights of a network or generator, so that a retrained one is noticed."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def weights_digest(network: Any) -> str:
    """Return the SHA-256 of all weights and buffers, with their names, types and shapes.

    Parameters
    ----------
    network : torch.nn.Module or object
        Of an object, the modules, tensors and arrays that are its attributes.

    Returns
    -------
    str
        64 hexadecimal digits; empty if it has no weights.
    """
    digest, weights = sha256(), dict(_weights(network))
    for name, weight in sorted(weights.items()):
        plain = weight.detach().cpu().contiguous().reshape(-1)
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        digest.update(plain.view(torch.uint8).numpy().data if plain.numel() else b"")
    return digest.hexdigest() if weights else ""


def _weights(network: Any) -> Iterator[tuple[str, Tensor]]:
    if isinstance(network, nn.Module):
        yield from network.state_dict().items()
        return
    for name, value in getattr(network, "__dict__", {}).items():
        if isinstance(value, nn.Module):
            yield from ((f"{name}.{key}", weight) for key, weight in _weights(value))
        elif isinstance(value, Tensor):
            yield name, value
        elif isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
            yield name, torch.from_numpy(np.array(value, value.dtype.newbyteorder("=")))

"""From many codes to many images: checks, batches and arrays that all generators share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from core.errors import UsageError
from core.utils.batching import map_batches
from core.utils.precision import widened

#: Latent codes, one per row.
Codes = torch.Tensor | np.ndarray

#: No number of a code comes near this; products of larger ones overflow inside the networks.
LARGEST_NUMBER = 1e8


def codes_like(
    codes: Codes, shapes: tuple[tuple[int, ...], ...], like: torch.Tensor
) -> torch.Tensor:
    """Return codes as a tensor of a network's device and precision; gradients flow through.

    Parameters
    ----------
    codes : tensor or array, n rows
    shapes : tuple of tuples
        The shapes that one code may have.
    like : torch.Tensor
        A weight of the network.

    Raises
    ------
    UsageError
        If the codes have another shape, or hold numbers that make no image.
    """
    tensor = torch.as_tensor(codes)
    if tuple(tensor.shape[1:]) not in shapes or not tensor.ndim:
        allowed = " or ".join(
            f"(n, {', '.join(map(str, shape))})" for shape in dict.fromkeys(shapes)
        )
        raise UsageError(
            f"codes of shape {tuple(tensor.shape)} were given; this generator takes {allowed}."
        )
    if tensor.device.type == "cpu":  # elsewhere the check would wait for the device
        _require_finite(tensor)
    return tensor.to(like.dtype).to(like.device)  # in this order: MPS has no double precision


def _require_finite(codes: torch.Tensor) -> None:
    largest = float(codes.detach().abs().max()) if codes.numel() else 0.0
    if not largest <= LARGEST_NUMBER:
        raise UsageError(
            f"codes with a number of size {largest:g} were given; a code holds finite numbers, up "
            f"to {LARGEST_NUMBER:g}."
        )


def images_of(
    visualize: Callable[[Codes], torch.Tensor], codes: Codes, batch_size: int, to_cpu: bool
) -> torch.Tensor:
    """Generate images batch by batch, without the means to take gradients."""
    with torch.no_grad():
        return map_batches(visualize, codes, batch_size, to_cpu=to_cpu)


def normal_codes(n: int, codelen: int, seed: int | np.random.Generator | None) -> torch.Tensor:
    """Return codes (n, codelen) of independent standard normal numbers, float32."""
    numbers = np.random.default_rng(seed).standard_normal((n, codelen), np.float32)
    return torch.from_numpy(numbers)


def as_arrays(images: torch.Tensor) -> list[np.ndarray]:
    """Return images (n, 3, height, width) as a list of arrays (height, width, 3)."""
    return list(widened(images).permute(0, 2, 3, 1).numpy())  # numpy has no bfloat16

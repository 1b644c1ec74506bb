"""From the images that people have (lists, arrays, tensors, uint8, grey) to network input."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from core.errors import UsageError

#: Mean and SD of the colours of ImageNet, by which torchvision's classifiers were trained.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_SD = (0.229, 0.224, 0.225)

#: White of images of type uint8, whatever scale is named for the others.
UINT8_WHITE = 255
#: Images brighter than white by more than this factor are taken for images of another scale.
_TOO_BRIGHT = 10

#: (height, width[, 3]) arrays, a (n, height, width, 3) array, or (n, 3, height, width) tensors.
Images = Sequence[Any] | NDArray[Any] | Tensor


def as_batch(images: Images) -> Tensor | Sequence[Any]:
    """Return images so that their length is their number: a tensor, or a list of unlike images.

    Parameters
    ----------
    images : tensor, array, or sequence of them
        Tensors have their channels first: (n, 3, height, width) or one (3, height, width). Arrays
        have them last: (n, height, width, 3) or one (height, width, 3). A sequence holds single
        images, whose sizes may differ. Grey images have one channel or, alone or in a sequence,
        none.

    Returns
    -------
    tensor, shape (n, channels, height, width), or list
        A tensor shares the memory of what was given where it can.

    Raises
    ------
    UsageError
        If there is no image, or one of another shape.
    """
    if isinstance(images, Tensor | np.ndarray) and images.ndim == 4:
        return _channels_first(images, n_axes=4)
    if not isinstance(images, Sequence):
        return _channels_first(images, n_axes=3)[None]
    if not images:
        raise UsageError("no images were given; give at least one.")
    tensors = [_channels_first(image, n_axes=3) for image in images]
    if len({(tensor.shape, tensor.dtype, tensor.device) for tensor in tensors}) > 1:
        return tensors
    if isinstance(images[0], Tensor):
        return torch.stack(tensors)
    # Stacked as they lie in memory, channels last.
    return torch.stack([tensor.movedim(0, 2) for tensor in tensors]).movedim(3, 1)


def network_input(
    images: Tensor | Sequence[Any],
    side: int,
    input_scale: float,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Normalise images as ImageNet's are, then resize them; gradients flow through.

    Parameters
    ----------
    images : tensor (n, 1 or 3, height, width), or list of tensors (1 or 3, height, width)
        As `as_batch` returns them.
    side : int
        Pixels of each side of the result; bilinear, with the corners aligned.
    input_scale : float
        White of the images; 255 for those of type uint8, whatever is given.
    device, dtype
        Of the result.

    Returns
    -------
    torch.Tensor, shape (n, 3, side, side)

    Raises
    ------
    UsageError
        If the images are far brighter than `input_scale`.
    """
    if not isinstance(images, Tensor):
        return torch.cat(
            [network_input(image[None], side, input_scale, device, dtype) for image in images]
        )
    white = UINT8_WHITE if images.dtype == torch.uint8 else input_scale
    if images.device.type == "cpu" and images.numel():  # elsewhere it would wait for the device
        _require_scale(images, white)
    pixels = images.to(device, dtype)
    mean, sd = _colours(device, dtype)
    normalised = (pixels - white * mean) / (white * sd)
    if normalised.shape[-2:] == (side, side):
        return normalised
    return functional.interpolate(normalised, (side, side), mode="bilinear", align_corners=True)


@lru_cache
def _colours(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return mean and SD of ImageNet's colours, each (3, 1, 1)."""
    mean, sd = torch.tensor([IMAGENET_MEAN, IMAGENET_SD], device=device, dtype=dtype)
    return mean.view(3, 1, 1), sd.view(3, 1, 1)


def _channels_first(images: Any, n_axes: int) -> Tensor:
    """Return an image as (channels, height, width), or with a batch before these for 4 axes."""
    values = images if isinstance(images, Tensor) else np.asarray(images)
    is_tensor = isinstance(values, Tensor)
    if values.ndim == 2 == n_axes - 1:
        values = values[None] if is_tensor else values[:, :, None]
    if values.ndim != n_axes or values.shape[-3 if is_tensor else -1] not in (1, 3):
        raise UsageError(
            f"images of shape {tuple(values.shape)} were given; give arrays (height, width, 3) or "
            "(n, height, width, 3), tensors (n, 3, height, width), or grey images with one channel."
        )
    if isinstance(values, np.ndarray):
        return _as_tensor(values).movedim(-1, -3)
    if values.dtype == torch.bool or values.is_complex():
        raise _mistyped(values.dtype)
    return values


def _as_tensor(array: NDArray[Any]) -> Tensor:
    if array.dtype.kind not in "uif":
        raise _mistyped(array.dtype)
    if array.dtype.kind == "f":
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
    elif array.dtype != np.uint8:
        array = array.astype(np.float32)
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))  # else torch refuses, warns


def _mistyped(dtype: Any) -> UsageError:
    return UsageError(f"images of type {dtype} were given; give uint8 or float ones.")


def _require_scale(images: Tensor, white: float) -> None:
    brightest = float(images.detach().amax())
    if brightest > _TOO_BRIGHT * white:
        raise UsageError(
            f"images with values up to {brightest:g} were given, but white is said to be "
            f"{white:g}; give input_scale=255 (or what white is in them)."
        )

"""From the images that people have (lists, arrays, tensors, PIL, uint8, grey) to one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.errors import UsageError

#: Modes of PIL whose numbers are not colours or grey levels, and those that it can turn into RGB.
_CONVERTED_MODES = frozenset({"P", "YCbCr", "HSV"})
_PLAIN_MODES = frozenset({"RGB", "L"})

#: (height, width[, 3]) arrays, a (n, height, width, 3) array, or (n, 3, height, width) tensors.
Images = Sequence[Any] | NDArray[Any] | Tensor


def as_batch(images: Images, channels: int = 3) -> Tensor | Sequence[Any]:
    """Return images so that their length is their number: a tensor, or a list of unlike images.

    Parameters
    ----------
    images : tensor, array, or sequence of them
        Tensors have their channels first: (n, 3, height, width) or one (3, height, width). Arrays
        have them last: (n, height, width, 3) or one (height, width, 3). A sequence holds single
        images, whose sizes may differ. Grey images have one channel or, alone or in a sequence,
        none. PIL images are RGB or grey; those with a palette, or in YCbCr or HSV, are converted.
    channels : int, default 3
        Of an image; where it is 3, an image may also be grey.

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
        return _channels_first(images, 4, channels)
    if not isinstance(images, Sequence):
        return _channels_first(images, 3, channels)[None]
    if not images:
        raise UsageError("no images were given; give at least one.")
    tensors = [_channels_first(image, 3, channels) for image in images]
    if len({(tensor.shape, tensor.dtype, tensor.device) for tensor in tensors}) > 1:
        return tensors
    if isinstance(images[0], Tensor):
        return torch.stack(tensors)
    # Stacked as they lie in memory, channels last.
    return torch.stack([tensor.movedim(0, 2) for tensor in tensors]).movedim(3, 1)


def _channels_first(images: Any, n_axes: int, channels: int) -> Tensor:
    """Return an image as (channels, height, width), or with a batch before these for 4 axes."""
    values = images if isinstance(images, Tensor) else np.asarray(_in_colour(images))
    is_tensor = isinstance(values, Tensor)
    if values.ndim == 2 == n_axes - 1:
        values = values[None] if is_tensor else values[:, :, None]
    allowed = (1, 3) if channels == 3 else (channels,)
    found = values.shape[-3 if is_tensor else -1] if values.ndim == n_axes else None
    if found not in allowed or 0 in values.shape[n_axes - 3 :]:
        raise UsageError(
            f"images of shape {tuple(values.shape)} were given; give arrays (height, width, "
            f"{channels}) or (n, height, width, {channels}), tensors (n, {channels}, height, width)"
            + (", or grey images with one channel." if channels == 3 else ".")
        )
    if isinstance(values, np.ndarray):
        return _as_tensor(values).movedim(-1, -3)
    if values.dtype == torch.bool or values.is_complex():
        raise _mistyped(values.dtype)
    return values


def _in_colour(image: Any) -> Any:
    """Return a PIL image as RGB or grey, and anything else as it is."""
    mode = getattr(image, "mode", None)
    if not hasattr(image, "getbands") or mode in _PLAIN_MODES:
        return image
    if mode in _CONVERTED_MODES:
        return image.convert("RGB")
    raise UsageError(
        f"a PIL image of mode {mode!r} was given; convert it with image.convert('RGB') or "
        "image.convert('L')."
    )


def _as_tensor(array: NDArray[Any]) -> Tensor:
    if array.dtype.kind not in "uif":
        raise _mistyped(array.dtype)
    if array.dtype == np.longdouble:
        array = array.astype(np.float64)
    if array.dtype.kind == "f":
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
    elif array.dtype != np.uint8:
        array = array.astype(np.float32)
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))  # else torch refuses, warns


def _mistyped(dtype: Any) -> UsageError:
    return UsageError(f"images of type {dtype} were given; give uint8 or float ones.")

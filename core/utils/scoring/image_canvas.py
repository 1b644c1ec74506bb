"""Put an image at a place of a grey canvas, such as the receptive field of a unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from core.errors import UsageError

#: Side of the network input in the paper, pixels.
CANVAS_SIZE = (227, 227)
#: Grey of the canvas, as a share of white.
GREY = 0.5


def resize_and_pad(
    img_list: Sequence[NDArray[Any]],
    size: tuple[int, int],
    offset: tuple[int, int],
    canvas_size: tuple[int, int] = CANVAS_SIZE,
    scale: float = 1.0,
) -> list[NDArray[Any]]:
    """Resize images and put each on a grey canvas.

    Parameters
    ----------
    img_list : sequence of numpy.ndarray, each (height, width, channels)
        Images whose white is `scale`. One that has the canvas's size already is copied as it is,
        without placing, as in the published code.
    size : tuple of int
        Rows and columns of the image on the canvas; bilinear, with the corners aligned.
    offset : tuple of int
        Row and column of its upper left corner.
    canvas_size : tuple of int, default (227, 227)
        Rows and columns of the canvas.
    scale : float, default 1
        White; the canvas is half of it.

    Returns
    -------
    list of numpy.ndarray, each (rows, columns, channels)
        New arrays of floating-point type.

    Raises
    ------
    UsageError
        If the image would not lie on the canvas.
    """
    _require_inside(size, offset, canvas_size)
    placed = []
    for image in img_list:
        pixels = np.asarray(image)
        is_canvas = pixels.shape[:2] == tuple(canvas_size)
        if pixels.ndim != 3:
            raise UsageError(
                f"an image of shape {pixels.shape} was given; expected (height, width, channels)."
            )
        floating = pixels.astype(np.result_type(pixels, np.float32))  # always a copy
        tensor = torch.from_numpy(floating).permute(2, 0, 1)[None]
        if not is_canvas:
            tensor = resize_and_pad_tsr(tensor, size, offset, canvas_size, scale)
        placed.append(tensor[0].permute(1, 2, 0).numpy())
    return placed


def resize_and_pad_tsr(
    img_tsr: Tensor,
    size: tuple[int, int],
    offset: tuple[int, int],
    canvas_size: tuple[int, int] = CANVAS_SIZE,
    scale: float = 1.0,
) -> Tensor:
    """Resize images and put each on a grey canvas; gradients flow through.

    Parameters
    ----------
    img_tsr : torch.Tensor, shape (n, channels, height, width) or (channels, height, width)
        Images whose white is `scale`, of any size, also that of the canvas; they are not changed.
    size, offset, canvas_size, scale
        As in `resize_and_pad`.

    Returns
    -------
    torch.Tensor, shape (n, channels, rows, columns)

    Raises
    ------
    UsageError
        If the images would not lie on the canvas, or are not images.
    """
    _require_inside(size, offset, canvas_size)
    images = img_tsr[None] if img_tsr.ndim == 3 else img_tsr
    if images.ndim != 4 or not images.is_floating_point():
        raise UsageError(
            f"a tensor of shape {tuple(img_tsr.shape)} and type {img_tsr.dtype} was given; "
            "expected floating-point images (n, channels, height, width)."
        )
    return place_on_canvas(images, size, offset, canvas_size, scale)


def place_on_canvas(
    images: Tensor,
    size: tuple[int, int],
    offset: tuple[int, int],
    canvas_size: tuple[int, int],
    scale: float = 1.0,
) -> Tensor:
    """Resize images (n, channels, height, width), of whatever size, and put each on the canvas.

    Arguments as for `resize_and_pad_tsr`, which checks the images.
    """
    _require_inside(size, offset, canvas_size)
    resized = functional.interpolate(images, tuple(size), mode="bilinear", align_corners=True)
    below = canvas_size[0] - offset[0] - size[0]
    right = canvas_size[1] - offset[1] - size[1]
    return functional.pad(resized, (offset[1], right, offset[0], below), value=GREY * scale)


def _require_inside(
    size: tuple[int, int], offset: tuple[int, int], canvas_size: tuple[int, int]
) -> None:
    fits = all(
        start >= 0 and length >= 1 and start + length <= whole
        for start, length, whole in zip(offset, size, canvas_size, strict=True)
    )
    if not fits:
        raise UsageError(
            f"an image of {tuple(size)} (rows, columns) at {tuple(offset)} (row, column) does not "
            f"lie on a canvas of {tuple(canvas_size)}; make it smaller or move it."
        )

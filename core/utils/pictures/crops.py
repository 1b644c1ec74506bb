"""Take single images out of a montage that `make_grid_T`, `make_grid_np` or `save_imgrid` made."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from core.errors import UsageError

#: JPEG compression brightens black pixels this near to an image: a 16-pixel block of halved
#: chroma, and 2 pixels of its interpolation.
JPEG_REACH_PX = 18

#: Sides of the images in the published montages, pixels.
USUAL_SIZES = (256, 512)


def crop_from_montage(
    img: Any,
    imgid: tuple[int, int] | int | Literal["rand"] = (0, 0),
    imgsize: int | None = None,
    pad: int = 2,
    seed: np.random.Generator | int | None = None,
) -> NDArray[Any]:
    """Cut one image out of a montage.

    Parameters
    ----------
    img : array-like, shape (height, width[, 3]), or PIL image
        The montage: images of `imgsize` with `pad` pixels between and around them.
    imgid : (row, column), int or "rand", default (0, 0)
        Which image: its place; its number, row by row from 0; or any. Negative numbers count from
        the last image: blank places after it do not count.
    imgsize : int, optional
        Height and width of an image, pixels; by default 256 or 512, whichever the montage consists
        of.
    pad : int, default 2
        Pixels between images.
    seed : numpy.random.Generator or int, optional
        Draws the image (or the seed of that draw); needed with ``imgid="rand"``.

    Returns
    -------
    numpy.ndarray, shape (imgsize, imgsize[, 3])
        A copy.

    Raises
    ------
    UsageError
        If the montage is not made of such images, has no such image, or `seed` is missing.
    """
    cells = _cells(img, imgsize, pad)
    rows, columns = cells.shape[:2]
    row, column = imgid if isinstance(imgid, tuple) else _place(cells, imgid, seed)
    if not (-rows <= row < rows and -columns <= column < columns):
        raise UsageError(
            f"image {imgid!r} was asked for; the montage has {rows} rows of {columns} images."
        )
    return cells[row, column].copy()


def crop_all_from_montage(
    img: Any,
    totalnum: int | None = None,
    imgsize: int | None = None,
    pad: int = 2,
    autostop: bool = True,
) -> list[NDArray[Any]]:
    """Cut all images out of a montage, row by row.

    Parameters
    ----------
    img : array-like, shape (height, width[, 3]), or PIL image
        The montage: images of `imgsize` with `pad` pixels between and around them.
    totalnum : int, optional
        Take only the first so many.
    imgsize : int, optional
        As for `crop_from_montage`.
    pad : int, default 2
        Pixels between images.
    autostop : bool, default True
        Stop at the first blank place: one that is black, apart from the traces that JPEG leaves
        near its edges.

    Returns
    -------
    list of numpy.ndarray, shape (imgsize, imgsize[, 3])

    Raises
    ------
    UsageError
        If the montage is not made of such images, or has fewer than `totalnum`.
    """
    cells = _in_order(_cells(img, imgsize, pad))
    if totalnum is not None and not 0 <= totalnum <= len(cells):
        raise UsageError(f"{totalnum} images were asked for; the montage has {len(cells)} places.")
    crops: list[NDArray[Any]] = []
    for cell in cells[:totalnum]:
        if autostop and _is_blank(cell):
            break
        crops.append(cell.copy())
    return crops


def _cells(img: Any, imgsize: int | None, pad: int) -> NDArray[Any]:
    """Return views of all places, shape (rows, columns, imgsize, imgsize[, 3])."""
    montage = np.asarray(img)
    if imgsize is None:
        fitting = [
            size
            for size in USUAL_SIZES
            if all((length - pad) % (size + pad) == 0 for length in montage.shape[:2])
        ]
        imgsize = fitting[0] if fitting else USUAL_SIZES[0]
    inner = montage[pad:, pad:] if montage.ndim in (2, 3) and imgsize > 0 and pad >= 0 else None
    period = imgsize + pad
    if inner is None or inner.size == 0 or inner.shape[0] % period or inner.shape[1] % period:
        raise UsageError(
            f"a montage of shape {montage.shape} does not consist of images of {imgsize} pixels "
            f"with {pad} pixels between and around them; give its imgsize and pad."
        )
    rows, columns = (length // period for length in inner.shape[:2])
    tiles = inner.reshape(rows, period, columns, period, *montage.shape[2:])
    return tiles[:, :imgsize, :, :imgsize].swapaxes(1, 2)


def _place(
    cells: NDArray[Any], imgid: int | str, seed: np.random.Generator | int | None
) -> tuple[int, int]:
    """Return (row, column) of an image that is given by number, or of any."""
    columns = cells.shape[1]
    if isinstance(imgid, str):
        if imgid != "rand" or seed is None:
            raise UsageError(
                f'imgid is {imgid!r}, seed {seed!r}; give a place, a number, or "rand" and a seed.'
            )
        n_images = _count_images(cells)
        if n_images == 0:
            raise UsageError("the montage is blank; there is no image to draw.")
        return divmod(int(np.random.default_rng(seed).integers(n_images)), columns)
    number = imgid + _count_images(cells) if imgid < 0 else imgid
    if number < 0:
        raise UsageError(
            f"image {imgid} was asked for; the montage has {number - imgid} images that are not "
            "blank."
        )
    return divmod(number, columns)


def _count_images(cells: NDArray[Any]) -> int:
    """Count the places up to the last one that is not blank."""
    drawn = [not _is_blank(cell) for cell in _in_order(cells)]
    return int(np.max(np.flatnonzero(drawn) + 1, initial=0))


def _in_order(cells: NDArray[Any]) -> list[NDArray[Any]]:
    return [cell for row in cells for cell in row]


def _is_blank(cell: NDArray[Any]) -> bool:
    margin = min(JPEG_REACH_PX, len(cell) // 3)
    inner = slice(margin, len(cell) - margin)
    return not cell[inner, inner].any()

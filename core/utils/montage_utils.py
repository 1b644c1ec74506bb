"""Many images on one canvas, with frames coloured by score; `montage_crops` takes them apart again.

An image is an array (height, width) or (height, width, 3), or a PIL image. Whole numbers are grey
levels from 0 to 255, floats run from 0 to 1; montages and framed images are floats.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import Colormap, Normalize, to_rgb
from matplotlib.typing import ColorType
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageOps

from core.errors import UsageError
from core.published_names import door
from core.utils.pictures.crops import crop_all_from_montage, crop_from_montage
from core.utils.published_keywords import published_keywords

if TYPE_CHECKING:
    import torch

__all__ = [
    "PIL_array_to_montage",
    "PIL_array_to_montage_score_frame",
    "build_montages",
    "color_frame",
    "color_framed_montages",
    "crop_all_from_montage",
    "crop_from_montage",
    "get_first_non_none_image_size",
    "make_grid_T",
    "make_grid_np",
]

FloatImage = NDArray[np.float64]
ImageArray = NDArray[Any] | Sequence[Sequence[Image.Image | None]]

#: Scores that are all equal still need a range; this is the smallest one.
SMALLEST_SCORE_RANGE = 0.001

#: A float image may leave 0 to 1 by this much (interpolation) before it is refused.
OVERSHOOT = 1e-3

#: `make_grid_T` divides by no smaller range (as torchvision does).
SMALLEST_PIXEL_RANGE = 1e-5


def build_montages(
    image_list: Sequence[Any],
    image_shape: tuple[int, int],
    montage_shape: tuple[int, int],
    transpose: bool = True,
) -> list[FloatImage]:
    """Lay images out on as many pages as they need, each image brought to the same size.

    Parameters
    ----------
    image_list : sequence of images
        See the head of this module.
    image_shape : (width, height)
        Pixels of one image on the page. Images of another size are resized (bilinear, antialiased).
    montage_shape : (columns, rows)
        Images on a page.
    transpose : bool, default True
        Fill a page row by row; False fills it column by column. `montage_shape` means the same
        either way (the published code then takes it for (rows, columns)).

    Returns
    -------
    list of numpy.ndarray, shape (rows · height, columns · width, 3)
        Values 0 to 1; places without an image are black. An empty list gives one black page.

    Raises
    ------
    UsageError
        If an image is none (see above), or a shape is not two positive whole numbers.
    """
    width, height = _two_positive(image_shape, "image_shape", "(width, height)")
    columns, rows = _two_positive(montage_shape, "montage_shape", "(columns, rows)")
    images = [_resized(_rgb(image), width, height) for image in image_list]
    per_page = columns * rows
    pages = []
    for first in range(0, max(len(images), 1), per_page):
        page = np.zeros((rows * height, columns * width, 3))
        for number, image in enumerate(images[first : first + per_page]):
            row, column = divmod(number, columns) if transpose else divmod(number, rows)[::-1]
            page[row * height :, column * width :][:height, :width] = image
        pages.append(page)
    return pages


def color_framed_montages(
    image_list: Sequence[Any],
    image_shape: tuple[int, int],
    montage_shape: tuple[int, int],
    scores: ArrayLike | None,
    cmap: Colormap | str = "summer",
    pad: int = 24,
    vmin: float | None = None,
    vmax: float | None = None,
) -> list[FloatImage]:
    """Lay images out as `build_montages` does, each in a frame whose colour is its score.

    Parameters
    ----------
    image_list, image_shape, montage_shape
        As for `build_montages`. Image and frame together fill `image_shape`.
    scores : array-like, shape (n_images,), or None
        None draws no frames. A NaN gives a black frame.
    cmap : matplotlib colormap or its name, default "summer"
    pad : int, default 24
        Width of a frame, in pixels of the image as it was given.
    vmin, vmax : float, optional
        Scores at the ends of the colormap; the lowest and highest score by default.

    Returns
    -------
    list of numpy.ndarray
        As for `build_montages`.

    Raises
    ------
    UsageError
        As `build_montages` and `color_frame`; also if there is not one score per image.
    """
    if scores is None:
        return build_montages(image_list, image_shape, montage_shape)
    values = np.asarray(scores, dtype=np.float64).reshape(-1)
    if len(values) != len(image_list):
        raise UsageError(f"{len(values)} scores for {len(image_list)} images; give one per image.")
    colours = _score_colours(values, cmap, vmin, vmax)
    framed = [
        color_frame(image, colour, pad) for image, colour in zip(image_list, colours, strict=True)
    ]
    return build_montages(framed, image_shape, montage_shape)


def color_frame(img: Any, color: ColorType, pad: int = 10) -> FloatImage:
    """Put an image into a frame of one colour.

    Parameters
    ----------
    img : image
        See the head of this module.
    color : matplotlib colour
        A name, a hexadecimal string, or red, green and blue from 0 to 1.
    pad : int, default 10
        Width of the frame in pixels; 0 adds none.

    Returns
    -------
    numpy.ndarray, shape (height + 2 pad, width + 2 pad, 3)
        Values 0 to 1.

    Raises
    ------
    UsageError
        If `img` is no image, `color` no colour, or `pad` negative.
    """
    image = _rgb(img)
    if pad < 0:
        raise UsageError(f"pad is {pad}; the width of a frame is 0 or more pixels.")
    try:
        colour = to_rgb(color)
    except ValueError as error:
        raise UsageError(f"{color!r} is no colour of matplotlib: {error}") from error
    height, width, _ = image.shape
    framed = np.empty((height + 2 * pad, width + 2 * pad, 3))
    framed[...] = colour
    framed[pad : pad + height, pad : pad + width] = image
    return framed


def make_grid_np(
    img_arr: Sequence[ArrayLike] | NDArray[Any],
    nrow: int = 8,
    padding: int = 2,
    pad_value: float = 0,
    rowfirst: bool = True,
) -> NDArray[Any]:
    """Lay arrays of one size out in a grid, values and type as they are.

    Parameters
    ----------
    img_arr : sequence of (height, width[, 3]) arrays, or array (height, width, 3, n)
        Images of the same shape; also an array (n, height, width, 3). A three-dimensional array is
        one image.
    nrow : int, default 8
        Images in a row of the grid, whichever way it is filled.
    padding : int, default 2
        Pixels between images and around the grid.
    pad_value : float, default 0
        Their value, and that of places without an image.
    rowfirst : bool, default True
        Fill the grid row by row; False fills it column by column.

    Returns
    -------
    numpy.ndarray
        (grid height, grid width[, 3]).

    Raises
    ------
    UsageError
        If there is no image, shapes differ, or `nrow` or `padding` cannot be.
    """
    images = _equal_arrays(img_arr)
    height, width = images[0].shape[:2]
    columns, rows = _along_and_across(len(images), nrow, padding)
    size, cells = _grid(len(images), rows, columns, padding, height, width, rowfirst)
    grid = np.full((*size, *images[0].shape[2:]), pad_value, dtype=images[0].dtype)
    for image, cell in zip(images, cells, strict=True):
        grid[cell] = image
    return grid


def make_grid_T(
    tensor: Any,
    nrow: int = 8,
    padding: int = 2,
    normalize: bool = False,
    value_range: tuple[float, float] | None = None,
    scale_each: bool = False,
    pad_value: float = 0.0,
    rowfirst: bool = True,
) -> torch.Tensor:
    """Lay image tensors out in a grid, as `torchvision.utils.make_grid`, or column by column.

    Parameters
    ----------
    tensor : tensor (n, 3 or 1, height, width), or a list of (3 or 1, height, width) tensors
        Also one image, (height, width) or (3 or 1, height, width). Grey images become RGB.
    nrow : int, default 8
        Images in a row of the grid; in a column of it, where `rowfirst` is False.
    padding : int, default 2
        Pixels between images and around the grid.
    normalize : bool, default False
        Map the values to 0 to 1.
    value_range : (low, high), optional
        What `normalize` maps to 0 and 1; lowest and highest value by default.
    scale_each : bool, default False
        Take lowest and highest value of each image instead of all.
    pad_value : float, default 0
        Value of the padding and of places without an image.
    rowfirst : bool, default True
        Fill the grid row by row; False fills it column by column.

    Returns
    -------
    torch.Tensor, shape (3, grid height, grid width)
        On the device of the images. A single image comes back without padding.

    Raises
    ------
    UsageError
        If there is no image, shapes differ, or `nrow` or `padding` cannot be.
    """
    images = _image_batch(tensor)
    if normalize:
        images = _normalized(images, value_range, scale_each)
    if len(images) == 1:
        return images[0]
    height, width = images.shape[2:]
    along, across = _along_and_across(len(images), nrow, padding)
    rows, columns = (across, along) if rowfirst else (along, across)
    size, cells = _grid(len(images), rows, columns, padding, height, width, rowfirst)
    grid = images.new_full((images.shape[1], *size), pad_value)
    for image, (of_rows, of_columns) in zip(images, cells, strict=True):
        grid[:, of_rows, of_columns] = image
    return grid


def get_first_non_none_image_size(image_array: ImageArray) -> tuple[int, int]:
    """Return (width, height) of the first PIL image in an array with holes (None).

    Raises
    ------
    UsageError
        If the array holds no image.
    """
    for image in _rows_of_images(image_array).flat:
        if image is not None:
            return image.size
    raise UsageError("the array holds no image, only None.")


def PIL_array_to_montage(image_array: ImageArray) -> Image.Image:
    """Lay PIL images out as they lie in an array.

    Parameters
    ----------
    image_array : array of object, shape (rows, columns), or list of rows
        PIL images of one size, or None where a place stays black.

    Returns
    -------
    PIL.Image.Image
        RGB, (columns · width, rows · height).

    Raises
    ------
    UsageError
        If this is not an array of rows, holds no image, or images differ in size.
    """
    images = _rows_of_images(image_array)
    width, height = get_first_non_none_image_size(images)
    montage = Image.new("RGB", (images.shape[1] * width, images.shape[0] * height))
    for (row, column), image in np.ndenumerate(images):
        if image is None:
            continue
        if image.size != (width, height):
            raise UsageError(
                f"the image in row {row}, column {column} has (width, height) {image.size}, the "
                f"first one {(width, height)}; resize them to one size."
            )
        montage.paste(image, (column * width, row * height))
    return montage


@published_keywords(score_array="scores")
def PIL_array_to_montage_score_frame(
    image_array: ImageArray,
    scores: ArrayLike,
    colormap: Colormap | str = "viridis",
    border_size: int = 10,
    clim: tuple[float, float] | None = None,
) -> Image.Image:
    """Lay PIL images out as they lie in an array, each in a frame whose colour is its score.

    Parameters
    ----------
    image_array : array of object, shape (rows, columns), or list of rows
        PIL images of one size, or None where a place stays black.
    scores : array-like, shape (rows, columns)
        NaN gives a black frame; those of empty places are ignored.
    colormap : matplotlib colormap or its name, default "viridis"
    border_size : int, default 10
        Width of a frame, pixels.
    clim : (low, high), optional
        Scores at the ends of the colormap; lowest and highest score by default.

    Returns
    -------
    PIL.Image.Image
        RGB, (columns · (width + 2 border), rows · (height + 2 border)).

    Raises
    ------
    UsageError
        As `PIL_array_to_montage`; also if there is not one score per place.
    """
    images = _rows_of_images(image_array)
    values = np.array(scores, dtype=np.float64)
    if values.shape != images.shape:
        raise UsageError(
            f"scores have shape {values.shape}, the images {images.shape}; give one score a place."
        )
    values[np.array([[image is None for image in row] for row in images])] = np.nan
    colours = _score_colours(values.reshape(-1), colormap, *(clim or (None, None)))
    for place, colour in zip(np.ndindex(images.shape), colours, strict=True):
        image: Any = images[place]
        if image is not None:
            fill = tuple(int(level) for level in np.rint(255 * colour))
            images[place] = ImageOps.expand(image.convert("RGB"), border_size, fill)
    return PIL_array_to_montage(images)


def _rgb(given: Any) -> FloatImage:
    """Return an image as (height, width, 3) floats from 0 to 1."""
    if isinstance(given, Image.Image):
        given = given.convert("RGB")
    image = np.asarray(given)
    if image.ndim == 2:
        image = np.repeat(image[..., np.newaxis], 3, axis=2)
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise UsageError(
            f"an image has shape {np.shape(given)}; give (height, width) or (height, width, 3)."
        )
    full_scale = 255 if np.issubdtype(image.dtype, np.integer) else 1
    scaled = image.astype(np.float64) / full_scale
    low, high = scaled.min(), scaled.max()
    if not (low >= -OVERSHOOT and high <= 1 + OVERSHOOT):
        raise UsageError(
            f"an image of type {image.dtype} has values from {image.min():g} to {image.max():g}; "
            "whole numbers must lie in 0 to 255, floats in 0 to 1."
        )
    return scaled.clip(0, 1)


def _resized(image: FloatImage, width: int, height: int) -> FloatImage:
    """Resize with antialiasing; an image of the right size is left untouched."""
    if image.shape[:2] == (height, width):
        return image
    channels = [
        np.asarray(Image.fromarray(channel).resize((width, height), Image.Resampling.BILINEAR))
        for channel in np.moveaxis(image.astype(np.float32), 2, 0)
    ]
    return np.stack(channels, axis=2).astype(np.float64).clip(0, 1)


def _score_colours(
    scores: NDArray[np.float64], cmap: Colormap | str, vmin: float | None, vmax: float | None
) -> NDArray[np.float64]:
    """Return one colour (red, green, blue) a score."""
    try:
        colormap = mpl.colormaps[cmap] if isinstance(cmap, str) else cmap
    except KeyError as error:
        raise UsageError(f"unknown colormap {cmap!r}; see matplotlib.colormaps.") from error
    known = scores[np.isfinite(scores)] if np.isfinite(scores).any() else np.zeros(1)
    low = known.min() if vmin is None else vmin
    high = known.max() if vmax is None else vmax
    norm = Normalize(low, max(high, low + SMALLEST_SCORE_RANGE))
    return colormap(np.ma.masked_invalid(norm(scores)))[:, :3]


def _along_and_across(n_images: int, nrow: int, padding: int) -> tuple[int, int]:
    """Return how many images lie in a line of a grid, and how many lines there are."""
    if n_images < 1 or nrow < 1 or padding < 0:
        raise UsageError(
            f"a grid of {n_images} images, {nrow} in a row, {padding} pixels apart cannot be; give "
            "at least one image, nrow of 1 or more and padding of 0 or more."
        )
    along = min(nrow, n_images)
    return along, -(-n_images // along)


def _grid(
    n_images: int,
    rows: int,
    columns: int,
    padding: int,
    height: int,
    width: int,
    rowfirst: bool,
) -> tuple[tuple[int, int], Iterator[tuple[slice, slice]]]:
    """Return (height, width) of a grid and the place of each image in it."""

    def cells() -> Iterator[tuple[slice, slice]]:
        for number in range(n_images):
            row, column = divmod(number, columns) if rowfirst else divmod(number, rows)[::-1]
            top = padding + row * (height + padding)
            left = padding + column * (width + padding)
            yield slice(top, top + height), slice(left, left + width)

    return (padding + rows * (height + padding), padding + columns * (width + padding)), cells()


def _equal_arrays(given: Sequence[ArrayLike] | NDArray[Any]) -> list[NDArray[Any]]:
    """Return the images of `make_grid_np` as a list of arrays of one shape."""
    if isinstance(given, np.ndarray) and given.ndim == 4:
        if 3 not in given.shape[2:]:
            raise UsageError(
                f"an array of shape {given.shape} was given; expected images (height, width, 3, n) "
                "or (n, height, width, 3)."
            )
        images = list(np.moveaxis(given, -1, 0) if given.shape[2] == 3 else given)
    elif isinstance(given, np.ndarray) and given.ndim == 3:
        images = [given]
    else:
        images = [np.asarray(image) for image in given]
    shapes = {image.shape for image in images}
    if len(shapes) != 1 or images[0].ndim not in (2, 3):
        raise UsageError(
            f"images have the shapes {sorted(shapes)}; give at least one, all (height, width) or "
            "all (height, width, 3) of one size. build_montages resizes."
        )
    return images


def _image_batch(given: Any) -> torch.Tensor:
    """Return the images of `make_grid_T` as (n, channels, height, width), grey ones as RGB."""
    import torch

    if not isinstance(given, torch.Tensor):
        images = [torch.as_tensor(image) for image in given]
        shapes = {tuple(image.shape) for image in images}
        if len(shapes) != 1:
            raise UsageError(
                f"images have the shapes {sorted(shapes)}; give at least one, all of one shape."
            )
        given = torch.stack(images)
    batch = given[None] if given.ndim == 2 else given
    batch = batch[None] if batch.ndim == 3 else batch
    if batch.ndim != 4 or len(batch) == 0:
        raise UsageError(
            f"images have shape {tuple(given.shape)}; give (n, channels, height, width)."
        )
    return batch.expand(-1, 3, -1, -1) if batch.shape[1] == 1 else batch


def _normalized(
    images: torch.Tensor, value_range: tuple[float, float] | None, scale_each: bool
) -> torch.Tensor:
    """Map values to 0 to 1, those outside the range to its ends."""
    if value_range is not None:
        low, high = images.new_tensor(value_range[0]), images.new_tensor(value_range[1])
    elif scale_each:
        low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
    else:
        low, high = images.min(), images.max()
    return (images.clamp(low, high) - low) / (high - low).clamp(min=SMALLEST_PIXEL_RANGE)


def _two_positive(given: tuple[int, int], name: str, meaning: str) -> tuple[int, int]:
    if len(given) != 2 or any(number < 1 or number != int(number) for number in given):
        raise UsageError(f"{name} is {given!r}; give {meaning}, two positive whole numbers.")
    return int(given[0]), int(given[1])


def _rows_of_images(given: ImageArray) -> NDArray[Any]:
    """Return (rows, columns) of objects; numpy left alone would take PIL images for numbers."""
    shape = given.shape if isinstance(given, np.ndarray) else (len(given), len(given[0]))
    if len(shape) != 2 or any(len(row) != shape[1] for row in given):
        raise UsageError(
            f"the array of images has shape {shape}; give (rows, columns), rows of equal length, "
            "with None where there is no image."
        )
    images = np.empty(shape, dtype=object)
    for row, column in np.ndindex(shape):
        images[row, column] = given[row][column]
    return images


if not TYPE_CHECKING:
    __getattr__ = door(__name__)

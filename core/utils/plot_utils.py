"""Show and save grids of image tensors, and save figures in several formats.

Importing this module changes no setting of matplotlib; fonts in saved files stay editable text.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from PIL import Image

from core.errors import UsageError, choose_from
from core.files import atomic_write
from core.published_names import door
from core.utils.montage_utils import make_grid_T
from core.utils.published_keywords import published_keywords

if TYPE_CHECKING:
    import torch

#: Letters stay letters in PDF (TrueType) and SVG, so that an editor can change them.
EDITABLE_TEXT: dict[Any, Any] = {"pdf.fonttype": 42, "ps.fonttype": 42, "svg.fonttype": "none"}

PathLike = str | os.PathLike[str]


def to_imgrid(img_tsr: Any, *args: Any, **kwargs: Any) -> Image.Image:
    """Lay image tensors out in a grid and return it as a picture.

    Parameters
    ----------
    img_tsr : tensor (n, 3 or 1, height, width), or list of (3 or 1, height, width) tensors
        Floats from 0 to 1 (what is beyond is clipped) or uint8.
    *args, **kwargs
        Further arguments of `core.utils.montage_utils.make_grid_T`: ``nrow=8, padding=2,
        normalize=False, value_range=None, scale_each=False, pad_value=0.0, rowfirst=True``.

    Returns
    -------
    PIL.Image.Image
        RGB.

    Raises
    ------
    UsageError
        As `make_grid_T`, or if the images have neither one nor three channels.
    """
    grid = make_grid_T(img_tsr, *args, **kwargs)
    if grid.shape[0] != 3:
        raise UsageError(f"images have {grid.shape[0]} channels; a picture has 3 or 1.")
    return Image.fromarray(_grey_levels(grid))


def show_imgrid(img_tsr: Any, *args: Any, **kwargs: Any) -> Figure:
    """Draw a grid of image tensors in a new figure; arguments and errors as for `to_imgrid`."""
    figure, ax = plt.subplots(layout="constrained")
    ax.imshow(to_imgrid(img_tsr, *args, **kwargs))
    ax.axis("off")
    return figure


def save_imgrid(img_tsr: Any, path: PathLike, *args: Any, **kwargs: Any) -> Path:
    """Save a grid of image tensors as one picture.

    Parameters
    ----------
    img_tsr, *args, **kwargs
        As for `to_imgrid`.
    path : path-like
        The file; its ending decides the format (``.png``, ``.jpg``, …).

    Returns
    -------
    pathlib.Path
        The file, complete.

    Raises
    ------
    UsageError
        As `to_imgrid`, or if the ending is no format of pictures.
    CannotWriteError
        If the file cannot be written.
    """
    return _save_picture(to_imgrid(img_tsr, *args, **kwargs), Path(path))


def save_imgrid_by_row(
    img_tsr: Any, path: PathLike, n_row: int = 5, *args: Any, **kwargs: Any
) -> list[Path]:
    """Save image tensors as one picture a row.

    Parameters
    ----------
    img_tsr : tensor or list of tensors
        As for `to_imgrid`.
    path : path-like
        ``folder/stem.png`` gives ``folder/stem_0.png``, ``folder/stem_1.png``, …
    n_row : int, default 5
        Images in a row. The last row holds those that are left.
    *args, **kwargs
        Further arguments of `make_grid_T` after its `nrow`.

    Returns
    -------
    list of pathlib.Path
        The files, top row first.

    Raises
    ------
    UsageError, CannotWriteError
        As `save_imgrid`.
    """
    path = Path(path)
    if n_row < 1 or len(img_tsr) < 1:
        raise UsageError(
            f"{len(img_tsr)} images, {n_row} in a row, make no row; give at least one of each."
        )
    return [
        save_imgrid(
            img_tsr[first : first + n_row], path.with_name(f"{path.stem}_{row}{path.suffix}"),
            n_row, *args, **kwargs,
        )
        for row, first in enumerate(range(0, len(img_tsr), n_row))
    ]


@published_keywords(figdirs="dirs", fignm="name")
def saveallforms(
    dirs: PathLike | Iterable[PathLike],
    name: str,
    figh: Figure | None = None,
    fmts: Sequence[str] = ("png", "pdf"),
) -> list[Path]:
    """Save a figure in several folders and formats, cut to what is drawn.

    Parameters
    ----------
    dirs : path-like or several
        Folders; made when they do not exist.
    name : str
        File name without its ending.
    figh : matplotlib Figure, optional
        The current figure of pyplot by default.
    fmts : sequence of str, default ("png", "pdf")

    Returns
    -------
    list of pathlib.Path
        The files, complete, folder by folder.

    Raises
    ------
    UsageError
        If a format is not one of matplotlib's, or there is no figure.
    CannotWriteError
        If a file cannot be written.
    """
    figure = _current_figure() if figh is None else figh
    known = figure.canvas.get_supported_filetypes()
    for fmt in fmts:
        if fmt not in known:
            raise UsageError(choose_from(fmt, known, "format"))
    folders = [dirs] if isinstance(dirs, (str, os.PathLike)) else list(dirs)
    paths = [Path(folder) / f"{name}.{fmt}" for folder in folders for fmt in fmts]
    for path in paths:
        with atomic_write(path) as unfinished, mpl.rc_context(EDITABLE_TEXT):
            figure.savefig(unfinished, format=path.name.rpartition(".")[2], bbox_inches="tight")
    return paths


@published_keywords(imgarr="img")
def showimg(ax: Axes, img: Any, cbar: bool = False, ylabel: str | None = None) -> AxesImage:
    """Draw an image or a map into axes, without ticks.

    Parameters
    ----------
    ax : matplotlib Axes
    img : array-like, shape (height, width[, 3]), or PIL image
    cbar : bool, default False
        Add a colour bar.
    ylabel : str, optional
        Label at the left.

    Returns
    -------
    matplotlib.image.AxesImage
    """
    drawn = ax.imshow(img)
    ax.set_xticks([])
    ax.set_yticks([])
    if ylabel is not None:
        ax.set_ylabel(ylabel)
    if cbar:
        plt.colorbar(drawn, ax=ax, fraction=0.046, pad=0.04)  # as high as a square image
    return drawn


def off_axes(axs: Any) -> None:
    """Hide frame, ticks and labels of axes: one, an array, or any nesting of sequences."""
    for ax in np.ravel(np.asarray(axs, dtype=object)):
        ax.axis("off")


def _grey_levels(grid: torch.Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return (3, height, width) floats from 0 to 1, or uint8, as (height, width, 3) uint8."""
    pixels = grid.detach().cpu().numpy().transpose(1, 2, 0)
    if pixels.dtype != np.uint8:
        pixels = np.rint(255 * pixels.clip(0, 1)).astype(np.uint8)
    return np.ascontiguousarray(pixels)


def _save_picture(picture: Image.Image, path: Path) -> Path:
    formats = Image.registered_extensions()
    if path.suffix.lower() not in formats:
        raise UsageError(choose_from(path.suffix, sorted(formats), "ending of a picture file"))
    with atomic_write(path) as unfinished:
        picture.save(unfinished, format=formats[path.suffix.lower()])
    return path


def _current_figure() -> Figure:
    if not plt.get_fignums():
        raise UsageError("there is no current figure to save; give one as figh.")
    return plt.gcf()


if not TYPE_CHECKING:
    __getattr__ = door(__name__)

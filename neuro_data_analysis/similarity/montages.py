"""Pictures of the prototypes: one montage of twelve cells per experiment.

Rows are the DeePSim thread (FC), the BigGAN thread (BG) and both pooled; columns are the best image
of the best block (``maxblk``), the mean image of that block (``maxblk_avg``), and reconstructions
from the covariance of features and responses by a generator (``reevol_G``) or pixel by pixel
(``reevol_pix``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.errors import MalformedDataError, MissingDataError, UsageError, choose_from
from core.files import atomic_write
from core.spaces import Space

#: Rows and columns of a montage.
THREADS = (*(space.prefix for space in Space), "both")
PROTOTYPES = ("maxblk", "maxblk_avg", "reevol_G", "reevol_pix")

#: Rows and columns of a cell, pixels; there is nothing between cells.
CELL = 224

#: Cells that are left white.
WHITE_CELLS = frozenset({("both", "maxblk"), ("both", "maxblk_avg")})

#: What a montage may be stored as. Other readers of Pillow start programs, such as Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP")

#: (224, 224, 3) intensities from 0 to 1.
Picture = NDArray[np.float32]


def montage_file(expi: int) -> str:
    """Return the name of the montage of an experiment."""
    return f"Exp{expi}_proto_attr_montage.jpg"


def read_montage(path: str | os.PathLike[str]) -> Picture:
    """Read a montage.

    Returns
    -------
    numpy.ndarray
        (672, 896, 3) intensities from 0 to 1.

    Raises
    ------
    MissingDataError
        If there is no such file.
    MalformedDataError
        If it is no picture, is cut off, or has another size.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingDataError(f"there is no prototype montage {path}.")
    width, height = len(PROTOTYPES) * CELL, len(THREADS) * CELL
    try:
        with Image.open(path, formats=FORMATS) as picture:
            if picture.size != (width, height):  # before anything is unpacked
                raise MalformedDataError(
                    f"{path} has {picture.width} × {picture.height} pixels; a montage has "
                    f"{width} × {height}."
                )
            pixels = np.asarray(picture.convert("RGB"))
    except MalformedDataError:
        raise
    except Exception as error:  # a damaged picture can raise anything
        reason = str(error).partition("<")[0].strip() or type(error).__name__
        raise MalformedDataError(
            f"{path} is not a readable picture ({reason}); make it again, or remove it to leave "
            "its experiment out."
        ) from error
    return pixels.astype(np.float32) / np.float32(255)


def cut_cell(montage: Picture, thread: str, prototype: str) -> Picture:
    """Cut one prototype from a montage.

    Parameters
    ----------
    montage : numpy.ndarray
        (672, 896, 3), see `read_montage`.
    thread : {"FC", "BG", "both"}
        Row.
    prototype : {"maxblk", "maxblk_avg", "reevol_G", "reevol_pix"}
        Column.

    Returns
    -------
    numpy.ndarray
        (224, 224, 3) intensities from 0 to 1.

    Raises
    ------
    UsageError
        If there is no such cell, or it is left white.
    """
    return montage[_place(thread, prototype)]


def write_montage(
    path: str | os.PathLike[str], cells: Mapping[tuple[str, str], Picture], quality: int = 80
) -> None:
    """Write a montage as JPEG.

    Parameters
    ----------
    path : path-like
        The file; an earlier one is replaced.
    cells : mapping
        (thread, prototype) → (224, 224, 3) picture, all but the cells that are left white.
    quality : int, default 80
        Of the JPEG, up to 95.

    Raises
    ------
    CannotWriteError
        If the file cannot be written.
    """
    montage = np.ones((len(THREADS) * CELL, len(PROTOTYPES) * CELL, 3), dtype=np.float32)
    for (thread, prototype), picture in cells.items():
        montage[_place(thread, prototype)] = picture
    pixels = np.rint(255 * montage.clip(0, 1)).astype(np.uint8)
    with atomic_write(path) as unfinished:
        Image.fromarray(pixels).save(unfinished, format="JPEG", quality=quality)


def _place(thread: str, prototype: str) -> tuple[slice, slice]:
    for given, allowed, what in ((thread, THREADS, "thread"), (prototype, PROTOTYPES, "prototype")):
        if given not in allowed:
            raise UsageError(choose_from(given, allowed, what))
    if (thread, prototype) in WHITE_CELLS:
        raise UsageError(f"the cell of thread {thread!r} and prototype {prototype!r} is left white")
    row, column = CELL * THREADS.index(thread), CELL * PROTOTYPES.index(prototype)
    return slice(row, row + CELL), slice(column, column + CELL)

"""The best picture of each block, as published beside the block means."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.errors import MalformedDataError
from core.source_tables.placement import FoundFile
from core.spaces import Space
from neuro_data_analysis.block_means.published import THREAD_NAMES

#: Width and height of the published pictures.
PICTURE_SIZE = (256, 256)

#: No published picture comes near this.
LARGEST_PICTURE_BYTES = 1 << 20


def read_pictures(
    files: Mapping[str, FoundFile], folder: str, n_blocks: int
) -> dict[tuple[Space, int], NDArray[np.uint8]]:
    """Read the pictures of one experiment that are there; any may be missing.

    Parameters
    ----------
    files : mapping of str to FoundFile
        Data files, see `core.source_tables.block_means.data_files`.
    folder : str
        Folder of the experiment, ``"Exp155-A"``.
    n_blocks : int
        Blocks that count.

    Returns
    -------
    dict
        Space and 1-based block → (256, 256, 3) picture: the one with the largest single response.

    Raises
    ------
    MalformedDataError
        If one is damaged, or no WebP picture of that size.
    """
    found = {}
    for block in range(1, n_blocks + 1):
        for space in Space:
            picture = read_picture(files, folder, space, block)
            if picture is not None:
                found[space, block] = picture
    return found


def read_picture(
    files: Mapping[str, FoundFile], folder: str, space: Space, block: int
) -> NDArray[np.uint8] | None:
    """Read the picture of one block (from 1) and thread, see `read_pictures`; None if missing."""
    path = f"{folder}/gen_{block:02d}/{THREAD_NAMES[space.thread]}_img.webp"
    return _picture(files[path], path) if path in files else None


def _picture(file: FoundFile, path: str) -> NDArray[np.uint8]:
    if file.size > LARGEST_PICTURE_BYTES:
        raise MalformedDataError(f"{path} has {file.size} bytes; no published picture is so large.")
    try:
        with file.open() as stream, Image.open(
            io.BytesIO(stream.read()), formats=("WEBP",)
        ) as picture:
            if picture.size != PICTURE_SIZE:
                raise MalformedDataError(f"{path} is {picture.size} pixels; expected 256 × 256.")
            return np.asarray(picture.convert("RGB"))
    except MalformedDataError:
        raise
    except Exception as error:  # a damaged picture can raise anything
        raise MalformedDataError(f"{path} is no WebP picture ({error!s:.100}).") from error

"""Read .npz files of arrays that may come from anywhere; write them whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.files import atomic_write

#: No result of this project comes near this, all arrays of a file together.
LARGEST_ARRAYS_BYTES = 8 << 30

#: Compressed arrays of numbers shrink a few times; a small file may be of zeros, and shrink more.
LARGEST_RATIO, SMALL_BYTES = 20, 64 << 20


def read_arrays(
    path: str | os.PathLike[str], names: Iterable[str] | None = None
) -> dict[str, NDArray[Any]]:
    """Read arrays of numbers and text; arrays of objects, which could run code, are refused.

    Parameters
    ----------
    path : path-like
        An ``.npz`` file.
    names : iterable of str, optional
        Only these; by default all.

    Returns
    -------
    dict of str to numpy.ndarray

    Raises
    ------
    ValueError
        If the file is absent, damaged, too large or no .npz file, or if an array is missing or
        holds objects. The caller knows what should have been there, and says so.
    """
    try:
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as archive:
            packed = os.fstat(file.fileno()).st_size
            most = min(LARGEST_ARRAYS_BYTES, SMALL_BYTES + LARGEST_RATIO * packed)
            if (size := sum(e.file_size for e in archive.zip.infolist())) > most:
                raise ValueError(f"{size} bytes of arrays; at most {most} are read")
            arrays = {name: archive[name] for name in (archive if names is None else names)}
        for name, array in arrays.items():
            if not isinstance(array, np.ndarray):  # numpy returns the bytes of any other member
                raise ValueError(f"{name} is no array")
        return arrays
    except KeyError as error:
        raise ValueError(f"there is no array {error}") from error
    except Exception as error:  # a damaged archive can raise anything
        raise ValueError(f"{type(error).__name__}: {error}") from error


def write_arrays(
    path: str | os.PathLike[str], arrays: Mapping[str, Any], durable: bool = False
) -> None:
    """Write arrays, numbers and text into one .npz file, which replaces an earlier one at once.

    `durable`: return only when it is on the disk, see `core.files.atomic_write`.

    Raises
    ------
    CannotWriteError
        If the file cannot be written.
    """
    with atomic_write(path, durable) as unfinished, unfinished.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)

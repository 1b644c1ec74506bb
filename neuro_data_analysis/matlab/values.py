"""One form for values that MATLAB, mat73 and squeezing tools hold in several.

A block with one image may come as a vector, an empty array as None or as its own shape, a cell as a
list, a list of one-element lists or an object array. The rules are those of the recordings.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import MalformedDataError

#: Length of a peri-stimulus time histogram: 1-ms bins from image onset.
PSTH_MS = 200

#: Thread 0 evolves in DeePSim, thread 1 in BigGAN.
N_THREADS = 2

#: Beyond it, doubles do not hold every whole number.
_LARGEST_INTEGER = 2**53


def flat(value: Any) -> list[Any]:
    """Unwrap nested cells, lists and object arrays into one list of what they hold."""
    if value is None:
        return []
    if isinstance(value, np.ndarray) and value.dtype == object:
        value = value.ravel(order="F").tolist()
    if isinstance(value, list | tuple):
        return [item for part in value for item in flat(part)]
    return [] if isinstance(value, np.ndarray) and value.size == 0 else [value]


def as_text(value: Any) -> str:
    """Return the one string that a cell or char holds; empty for an empty one.

    Raises
    ------
    MalformedDataError
        If it holds anything but text, or several texts.
    """
    texts = [item for item in flat(value) if not _is_shape_of_empty(item)]
    if len(texts) > 1 or any(not isinstance(text, str) for text in texts):
        raise MalformedDataError(f"expected one text, found {reprlib.repr(value)}")
    return texts[0] if texts else ""


def as_numbers(value: Any, name: str) -> NDArray[np.float64]:
    """Return real numbers as an array of their shape; `MalformedDataError` for anything else."""
    try:
        array = np.asarray(value)
    except ValueError as error:  # rows of different length
        raise MalformedDataError(f"field {name!r} is no array ({error})") from error
    if array.size == 0:
        return np.zeros(array.shape)
    if array.dtype.kind not in "biuf":
        raise MalformedDataError(f"field {name!r} holds {reprlib.repr(value)}; expected numbers")
    return array.astype(np.float64, copy=False)


def as_integers(value: Any, name: str) -> NDArray[np.intp]:
    """Return whole numbers as a vector; `MalformedDataError` if it is empty or holds others."""
    numbers = as_vector(value, name)
    if not (np.abs(numbers) <= _LARGEST_INTEGER).all() or (numbers != np.rint(numbers)).any():
        raise MalformedDataError(f"the values of field {name!r} are not whole numbers")
    return numbers.astype(np.intp)


def as_vector(value: Any, name: str) -> NDArray[np.float64]:
    """Return a scalar, row or column as a vector; `MalformedDataError` if it is empty."""
    numbers = _numbers_if_any(value, name)
    if numbers is None:
        raise MalformedDataError(f"field {name!r} is empty")
    return numbers.ravel()


def as_positions(value: Any) -> NDArray[np.float64]:
    """Return positions as (n, 2); `MalformedDataError` if they are no pairs of numbers."""
    positions = as_vector(value, "imgpos")
    if positions.size % 2:
        raise MalformedDataError(f"field 'imgpos' holds {positions.size} numbers; expected pairs")
    return positions.reshape(-1, 2)


def as_struct(value: Any, name: str) -> Mapping[str, Any]:
    """Return a struct; `MalformedDataError` if it is none."""
    if not isinstance(value, Mapping):
        raise MalformedDataError(f"field {name!r} is a {type(value).__name__}; expected a struct")
    return value


def as_psth(value: Any) -> NDArray[np.float64]:
    """Return the spike densities of a block as (200 ms, n_images).

    Raises
    ------
    MalformedDataError
        If the array has another length in time or more than two axes.
    """
    psth = _numbers_if_any(value, "psth")
    if psth is None:
        return np.zeros((PSTH_MS, 0))
    if psth.ndim == 1:  # one image, squeezed
        psth = psth[:, np.newaxis]
    if psth.ndim == 3 and psth.shape[0] == 1:
        psth = psth[0]
    if psth.ndim != 2 or psth.shape[0] != PSTH_MS:
        raise MalformedDataError(
            f"a PSTH has shape {np.shape(value)}; expected ({PSTH_MS}, number of images)"
        )
    return psth


def as_image_index(value: Any) -> NDArray[np.intp]:
    """Return MATLAB's 1-based positions of a block's images as a 0-based vector."""
    index = _numbers_if_any(value, "idx_seq")
    if index is None:
        return np.zeros(0, dtype=np.intp)
    if index.ndim > 1 and max(index.shape) != index.size:
        raise MalformedDataError(f"image positions have shape {index.shape}; expected a vector")
    return as_integers(index, "idx_seq") - 1


def per_thread(cells: Any) -> list[list[Any]]:
    """Return the blocks of each thread from a 2 × n cell, or from a cell of two cells.

    Raises
    ------
    MalformedDataError
        If they do not belong to two threads of equal length.
    """
    if isinstance(cells, np.ndarray) and cells.ndim == 2 and cells.shape[0] == N_THREADS:
        threads = [list(row) for row in cells]
    elif isinstance(cells, np.ndarray) and cells.dtype == object:
        threads = cells.ravel().tolist()
    else:
        threads = list(cells) if isinstance(cells, list | tuple) else []
    if len(threads) == N_THREADS and all(_holds_cells(thread) for thread in threads):
        threads = [_unnested(thread) for thread in threads]
        if len(threads[0]) == len(threads[1]):
            return threads
    raise MalformedDataError(
        f"expected {N_THREADS} threads with the same number of blocks, found "
        f"{[len(t) if isinstance(t, list) else type(t).__name__ for t in threads]}"
    )


def _holds_cells(thread: Any) -> bool:
    return isinstance(thread, list) or (isinstance(thread, np.ndarray) and thread.dtype == object)


def _unnested(thread: Any) -> list[Any]:
    """Return the blocks of one thread, whether or not it is a cell within a cell."""
    blocks = thread.ravel().tolist() if isinstance(thread, np.ndarray) else list(thread)
    if len(blocks) == 1 and _holds_cells(blocks[0]):
        return _unnested(blocks[0])
    return blocks


def _numbers_if_any(value: Any, name: str) -> NDArray[np.float64] | None:
    """Return numbers, or None for what stands for an empty array."""
    if value is None or _is_shape_of_empty(value):
        return None
    numbers = as_numbers(value, name)
    return numbers if numbers.size else None


def _is_shape_of_empty(value: Any) -> bool:
    """Recognise the uint64 shape ([200, 0], say) that old mat73 gave instead of an empty array."""
    return (
        isinstance(value, np.ndarray)
        and value.dtype == np.uint64
        and value.ndim == 1
        and value.size > 0
        and int(np.prod(value)) == 0
    )

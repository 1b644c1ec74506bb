"""One form for values that MATLAB, mat73 and squeezing tools hold in several.

A block with one image may come as a vector, an empty array as None or as its own shape, a cell as a
list, a list of one-element lists or an object array. The rules are those of the recordings.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import MalformedDataError

#: Length of a peri-stimulus time histogram: 1-ms bins from image onset.
PSTH_MS = 200

#: Thread 0 evolves in DeePSim, thread 1 in BigGAN.
N_THREADS = 2


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
        raise MalformedDataError(f"expected one text, found {value!r:.80}")
    return texts[0] if texts else ""


def as_vector(value: Any, name: str) -> NDArray[np.float64]:
    """Return a scalar, row or column as a vector; `MalformedDataError` if it is empty."""
    is_empty = value is None or _is_shape_of_empty(value) or np.size(value) == 0
    if is_empty:
        raise MalformedDataError(f"field {name!r} is empty")
    return np.asarray(value, dtype=np.float64).ravel()


def as_psth(value: Any) -> NDArray[np.float64]:
    """Return the spike densities of a block as (200 ms, n_images).

    Raises
    ------
    MalformedDataError
        If the array has another length in time or more than two axes.
    """
    if value is None or _is_shape_of_empty(value) or np.size(value) == 0:
        return np.zeros((PSTH_MS, 0))
    psth = np.asarray(value, dtype=np.float64)
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
    if value is None or _is_shape_of_empty(value) or np.size(value) == 0:
        return np.zeros(0, dtype=np.intp)
    index = np.asarray(value, dtype=np.float64)
    if index.ndim > 1 and max(index.shape) != index.size:
        raise MalformedDataError(f"image positions have shape {index.shape}; expected a vector")
    if not np.array_equal(index, np.rint(index)):
        raise MalformedDataError("image positions are not whole numbers")
    return index.ravel().astype(np.intp) - 1


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
        f"{[np.shape(thread)[:2] or type(thread).__name__ for thread in threads]}"
    )


def _holds_cells(thread: Any) -> bool:
    return isinstance(thread, list) or (isinstance(thread, np.ndarray) and thread.dtype == object)


def _unnested(thread: Any) -> list[Any]:
    """Return the blocks of one thread, whether or not it is a cell within a cell."""
    blocks = thread.ravel().tolist() if isinstance(thread, np.ndarray) else list(thread)
    if len(blocks) == 1 and _holds_cells(blocks[0]):
        return _unnested(blocks[0])
    return blocks


def _is_shape_of_empty(value: Any) -> bool:
    """Recognise the uint64 shape ([200, 0], say) that old mat73 gave instead of an empty array."""
    return (
        isinstance(value, np.ndarray)
        and value.dtype == np.uint64
        and value.ndim == 1
        and value.size > 0
        and int(np.prod(value)) == 0
    )

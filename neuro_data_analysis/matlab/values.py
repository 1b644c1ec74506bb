"""What recordings hold in MATLAB's arrays, cells, texts and structs, in one form.

Python tools that read MATLAB files leave values in other forms: cells as lists, a column as a
vector, an empty array as None or as its own shape. `as_matlab` undoes that once, at the door.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
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


def as_matlab(value: Any, _known: dict[int, Any] | None = None) -> Any:
    """Return what mat73 and EasyDict made of a MATLAB value as what it was.

    Parameters
    ----------
    value : object
        A mapping is a struct, a list a cell of one row, None an empty array, and so is the uint64
        shape ([200, 0], say) that old mat73 gave instead of one; object arrays hold such values.
        All else stays as it is. What is referred to twice is made once.
    """
    known: dict[int, Any] = {} if _known is None else _known
    if id(value) in known:
        return known[id(value)]
    if value is None or _is_shape_of_empty(value):
        return np.zeros((0, 0))
    if isinstance(value, Mapping):
        struct = known.setdefault(id(value), {})
        struct |= {field: as_matlab(content, known) for field, content in value.items()}
        return struct
    if not _is_cell(value) and not isinstance(value, list | tuple):
        return value
    parts = value if isinstance(value, np.ndarray) else row_of_cells(value)
    cells = known[id(value)] = np.empty_like(parts)
    for position, part in np.ndenumerate(parts):
        cells[position] = as_matlab(part, known)
    return cells


def flat(cells: Any) -> list[Any]:
    """Unwrap nested cells into one list of what they hold; an empty array is nothing."""
    if not isinstance(cells, np.ndarray):
        return [cells]
    if cells.dtype == object:
        return [item for part in cells.ravel(order="F") for item in flat(part)]
    return [cells] if cells.size else []


def as_text(value: Any) -> str:
    """Return the one string that a cell or char holds; empty for an empty one.

    Raises
    ------
    MalformedDataError
        If it holds anything but text, or several texts.
    """
    texts = flat(value)
    if len(texts) > 1 or any(not isinstance(text, str) for text in texts):
        raise MalformedDataError(f"expected one text, found {reprlib.repr(value)}")
    return texts[0] if texts else ""


def as_numbers(value: Any, name: str) -> NDArray[np.float64]:
    """Return real numbers as an array of their shape; `MalformedDataError` for anything else."""
    try:
        array = np.array(value.tolist()) if _is_cell(value) else np.asarray(value)
    except ValueError as error:  # cells of different shapes
        raise MalformedDataError(f"field {name!r} is no array ({error})") from error
    if array.size and array.dtype.kind not in "biuf":
        raise MalformedDataError(f"field {name!r} holds {reprlib.repr(value)}; expected numbers")
    return array.astype(np.float64, copy=False)


def as_vector(value: Any, name: str) -> NDArray[np.float64]:
    """Return a scalar, row or column as a vector; `MalformedDataError` if it is empty."""
    numbers = as_numbers(value, name)
    if numbers.size == 0:
        raise MalformedDataError(f"field {name!r} is empty")
    return numbers.ravel()


def as_integers(value: Any, name: str) -> NDArray[np.intp]:
    """Return whole numbers as a vector; `MalformedDataError` if it is empty or holds others."""
    return _whole(as_vector(value, name), name)


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
    psth = as_numbers(value, "psth")
    if psth.size == 0:
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
    index = as_numbers(value, "idx_seq")
    if index.ndim > 1 and index.size and max(index.shape) != index.size:
        raise MalformedDataError(f"image positions have shape {index.shape}; expected a vector")
    return _whole(index.ravel(), "idx_seq") - 1


def per_thread(cells: Any) -> list[list[Any]]:
    """Return the blocks of each thread from a 2 × n cell, or from a cell of two cells.

    Raises
    ------
    MalformedDataError
        If they do not belong to two threads of equal length.
    """
    threads: list[Any] = []
    if _is_cell(cells):
        rows = cells if cells.ndim == 2 and len(cells) == N_THREADS else cells.ravel()
        threads = [_blocks_of(row) if _is_cell(row) else row for row in rows]
    lengths = [len(t) if isinstance(t, list) else type(t).__name__ for t in threads]
    if len(lengths) != N_THREADS or len({*lengths}) != 1 or isinstance(lengths[0], str):
        raise MalformedDataError(
            f"expected {N_THREADS} threads with the same number of blocks, found {lengths}"
        )
    return threads


def _blocks_of(thread: Any) -> list[Any]:
    """Return the blocks of one thread, whether or not it is a cell within a cell."""
    while thread.size == 1 and _is_cell(thread.flat[0]):
        thread = thread.flat[0]
    return thread.ravel().tolist()


def _is_cell(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == object


def row_of_cells(values: Sequence[Any]) -> NDArray[np.object_]:
    """Return a cell of one row."""
    cells = np.empty((1, len(values)), dtype=object)
    for column, value in enumerate(values):  # one by one: numpy would look inside lists
        cells[0, column] = value
    return cells


def _whole(numbers: NDArray[np.float64], name: str) -> NDArray[np.intp]:
    if not (np.abs(numbers) <= _LARGEST_INTEGER).all() or (numbers != np.rint(numbers)).any():
        raise MalformedDataError(f"the values of field {name!r} are not whole numbers")
    return numbers.astype(np.intp)


def _is_shape_of_empty(value: Any) -> bool:
    return (
        isinstance(value, np.ndarray)
        and value.dtype == np.uint64
        and value.ndim == 1
        and value.size > 0
        and 0 in value
    )

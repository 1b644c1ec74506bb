"""Columns that pandas keeps in Arrow, decoded without pyarrow: numbers, truth values and text.

Pandas 3 keeps text so wherever pyarrow is installed. Buffers follow the Arrow Columnar Format 1.4:
one bit per value that is there, then numbers, or the ends of texts and the UTF-8 of all of them.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

#: Types of Arrow, and the numpy type of their numbers or of the ends of their texts.
_TYPES = {
    "string": "<i4", "large_string": "<i8", "bool": "u1", "float": "<f4", "double": "<f8",
    **{f"{sign}int{8 * n}": f"<{sign or 'i'}{n}" for sign in ("", "u") for n in (1, 2, 4, 8)},
}  # fmt: skip


class PendingArray:
    """Stands for an array of pandas that is kept in Arrow, or of intervals, until it is filled."""

    array: Any = None

    def update(self, state: Any) -> None:
        """Take the state of the pickled array: its parts decoded, and its dtype."""
        if isinstance(state, tuple):
            (parts,) = state
            left, right = unwrapped(parts["_left"]), unwrapped(parts["_right"])
            closed = parts["_dtype"].closed
            self.array = pd.arrays.IntervalArray.from_arrays(left, right, closed=closed)
            return
        values, dtype = state.get("_pa_array", state.get("_data")), state.get("_dtype")
        if isinstance(values, np.ndarray):
            missing = dtype.na_value if isinstance(dtype, pd.StringDtype) else pd.NA
            values = pd.array(values, dtype=pd.StringDtype(na_value=missing))
        self.array = values


def unwrapped(value: Any) -> Any:
    """Return the array of pandas that a value stands for, or the value."""
    return value.array if isinstance(value, PendingArray) else value


def decode_arrow(stored: tuple[Any, ...]) -> Any:
    """Decode one pickled array of Arrow.

    Parameters
    ----------
    stored : tuple
        Type, length, number of missing values, offset, buffers, children, dictionary.

    Returns
    -------
    numpy.ndarray of object, or an array of pandas with a mask
        Texts with None for missing ones; numbers or truth values.

    Raises
    ------
    ValueError
        If the array is of another type, or its buffers do not hold what it promises.
    """
    kind, length, _, offset, buffers, children, dictionary = stored
    if kind not in _TYPES or children or dictionary is not None or length < 0 or offset < 0:
        raise ValueError(f"an Arrow array of type {kind!s:.40}")
    present, first, *texts = buffers
    chosen = slice(offset, offset + length)
    missing = np.zeros(length, dtype=bool) if present is None else ~_bits(present, chosen)
    if texts:
        ends = np.frombuffer(first, _TYPES[kind])[offset : offset + length + 1].tolist()
        cut = [(texts[0] or b"")[a:b].decode() for a, b in itertools.pairwise(ends)]
        pairs = zip(cut, missing, strict=True)
        return np.array([None if gone else text for text, gone in pairs], dtype=object)
    if kind == "bool":
        return pd.arrays.BooleanArray(_bits(first, chosen), missing)
    values = np.frombuffer(first, _TYPES[kind])[chosen].copy()
    make = pd.arrays.FloatingArray if values.dtype.kind == "f" else pd.arrays.IntegerArray
    return make(values, missing)


def _bits(packed: bytes, chosen: slice) -> NDArray[np.bool_]:
    return np.unpackbits(np.frombuffer(packed, "u1"), bitorder="little")[chosen].astype(bool)

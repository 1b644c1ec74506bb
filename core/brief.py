"""One line for objects that hold arrays, where the last line of a notebook cell would print them.

>>> from dataclasses import dataclass
>>> import numpy as np
>>> @dataclass
... class Rates:
...     values: np.ndarray
...     unit: str
...     __repr__ = brief
>>> Rates(np.zeros((200, 30)), "events/s")
Rates(values=(200, 30) float64, unit='events/s')
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

#: Longer texts are cut, and longer sequences counted.
LONGEST_TEXT, LONGEST_SEQUENCE = 60, 3


def brief(record: Any) -> str:
    """Return a dataclass in one line: arrays as their shapes, long sequences as their lengths."""
    told = ", ".join(f"{f.name}={_told(getattr(record, f.name))}" for f in fields(record) if f.repr)
    return f"{type(record).__name__}({told})"


def _told(value: Any) -> str:
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape:
        kind = getattr(value, "dtype", type(value).__name__)
        return f"{tuple(shape)} {str(kind).removeprefix('torch.')}"
    if isinstance(value, Mapping) and value:
        return f"{len(value)} entries"
    if isinstance(value, tuple | list) and len(value) > LONGEST_SEQUENCE:
        return f"{len(value)} {type(value[0]).__name__}"
    if isinstance(value, tuple | list) and value:
        return f"({', '.join(_told(part) for part in value)})"
    text = " ".join(repr(value).split())
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"

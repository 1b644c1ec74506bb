"""Read pickles of arrays and tables without letting them run code.

A pickle is a program. It gets the names of `_CALLS` and `_BLANK` only, whatever module it looks for
them in, and nothing is imported for it. Before it runs, its instructions are counted; while it
runs, the states that numpy and pandas would trust are checked; afterwards, how much it holds.
"""

from __future__ import annotations

import datetime as dt
import itertools
import math
import mmap
import os
import pickle
import pickletools
import re
import reprlib
import zoneinfo
from pathlib import Path
from types import FunctionType
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from pandas._libs.internals import _unpickle_block  # type: ignore[import-not-found]
from pandas._libs.sparse import IntIndex
from pandas.core.internals.managers import (  # type: ignore[import-not-found]
    BlockManager,
    SingleBlockManager,
)

from core.errors import MalformedDataError, MissingDataError
from core.reading.arrow_values import PendingArray, decode_arrow, unwrapped

#: Bounds of what a pickle may hold: instructions, tables and their columns, axes that no data stand
#: behind, bytes that are copied, depth, and items where shared parts count each time.
MOST_INSTRUCTIONS, MOST_TABLES, MOST_COLUMNS = 5_000_000, 2_000, 20_000
LONGEST_AXIS, MOST_COPIED_BYTES = 1_000_000, 1 << 30
DEEPEST_NESTING, MOST_ITEMS = 50, 10_000_000

_LARGEST_KEY = 1 << 53

_PLAIN_DTYPE = re.compile(r"b1|[iu][1248]|f(2|4|8|16)|c(8|16|32)|[mM]8|O[48]?|[SU][1-9]\d{0,5}")
_KNOWN = {ord(known.code): known for known in pickletools.opcodes}
_REFUSED = {"INST", "OBJ", "NEWOBJ_EX", "PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4", "DUP",
            "EMPTY_SET", "ADDITEMS", "FROZENSET", "NEXT_BUFFER", "READONLY_BUFFER"}  # fmt: skip

#: Bytes of each instruction's argument; below 0 where that has to be looked up.
_LENGTHS = {
    code: -100 if known.name in (*_REFUSED, "FRAME") else known.arg.n if known.arg else 0
    for code, known in _KNOWN.items()
}
_WIDTHS = {-100: 8, pickletools.TAKEN_FROM_ARGUMENT1: 1, pickletools.TAKEN_FROM_ARGUMENT8U: 8}

#: What else is found under the name of a pickle, by its first bytes.
_OTHERS = {
    b"\x1f\x8b": "gzip-compressed", **dict.fromkeys((b"x\x01", b"x\x9c", b"x\xda"), "compressed"),
    b"PK": "a zip archive", b"\x93NUMPY": "an array of NumPy", b"MATLAB": "a MATLAB file",
    b"\x89HDF": "an HDF5 file", b"<": "a web page",
}  # fmt: skip


class RefusedError(pickle.UnpicklingError):
    """A pickle wants something that no array or table needs; the message goes on "its pickle …"."""


class AttributeDict(dict[str, Any]):
    """What an EasyDict of the authors' files becomes: a plain dictionary."""


def load_pickle(path: str | os.PathLike[str], instead: str = "use its CSV twin") -> Any:
    """Read a pickle that may hold only arrays, tables, plain containers and EasyDicts.

    Parameters
    ----------
    path : path-like
        The file.
    instead : str
        What a user can do where the file cannot be read, for the message.

    Returns
    -------
    object
        What was pickled; every EasyDict is a dictionary (`AttributeDict`).

    Raises
    ------
    MissingDataError
        If there is no such file, or it cannot be read.
    MalformedDataError
        If the file is cut off, is no pickle, wants anything that arrays and tables do not need, or
        would take more time or memory than any of them. Nothing of such a file has been run.
    """
    path, head = Path(path), b""
    if not path.is_file():
        raise MissingDataError(f"there is no file {path}.")
    try:
        with path.open("rb") as file:
            head = file.read(8)
            _require_bounded_program(file.fileno())
            file.seek(0)
            content = _Reader(file).load()
        _Size().of(content)
        return content
    except RefusedError as refused:
        raise MalformedDataError(
            f"{path} was refused: its pickle {refused}, which no table or array needs. Such files "
            f"can run code or exhaust the memory; nothing was run. Get it again from its source, "
            f"or {instead}."
        ) from None
    except OSError as error:
        raise MissingDataError(f"{path} cannot be read: {error.strerror or error}.") from error
    except Exception as error:  # a broken pickle can raise anything while it is rebuilt
        other = next((told for start, told in _OTHERS.items() if head.startswith(start)), "")
        reason = f"it is {other}" if other else f"{type(error).__name__}: {error!s:.200}"
        raise MalformedDataError(
            f"{path} is not a readable pickle ({reason}). It may be cut off; get it again, or "
            f"{instead}."
        ) from error


def _require_bounded_program(handle: int) -> None:
    """Go through the instructions without doing them; none may promise more than there is."""
    with mmap.mmap(handle, 0, access=mmap.ACCESS_READ) as code:
        at, end, stop = 0, len(code), pickle.STOP[0]
        for _ in range(MOST_INSTRUCTIONS):
            if at >= end:
                raise EOFError(f"{at} bytes are promised in a file of {end}")
            kind = code[at]
            length = _LENGTHS[kind]
            at = at + 1 + length if length >= 0 else _end_of(code, kind, at + 1)
            if kind == stop:
                return
    raise RefusedError(f"has more than {MOST_INSTRUCTIONS} instructions")


def _end_of(code: mmap.mmap, kind: int, at: int) -> int:
    known = _KNOWN[kind]
    if known.name in _REFUSED:
        raise RefusedError(f"has the instruction {known.name}")
    if _LENGTHS[kind] == pickletools.UP_TO_NEWLINE:
        for _ in range(2 if known.name == "GLOBAL" else 1):
            at = code.find(b"\n", at) + 1 or len(code) + 1
        return at
    width = _WIDTHS.get(_LENGTHS[kind], 4)
    end = at + width + int.from_bytes(code[at : at + width], "little")
    return at + width if known.name == "FRAME" and end <= len(code) else end


class _Reader(pickle._Unpickler):
    """The standard library's unpickler in Python, which unlike the one in C shows every step."""

    stack: list[Any]

    def load(self) -> Any:
        self._unfilled: dict[int, Any] = {}
        self._n_tables = self._n_copied = 0
        return super().load()

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] not in _PACKAGES or name not in _NAMES:
            raise RefusedError(f"asks for {module}.{name}")
        return _NAMES[name]

    def _call(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if id(function) not in _CALLABLE or not isinstance(arguments, tuple):
            raise RefusedError(f"calls {_told(function)} with {_told(arguments)}")
        part = _CALLABLE[id(function)](*arguments)
        self._n_copied += len(part) if isinstance(part, bytes | bytearray) else 0
        if self._n_copied > MOST_COPIED_BYTES:
            raise RefusedError(f"copies more than {MOST_COPIED_BYTES} bytes")
        if function is _blank_array:
            self._unfilled[id(part)] = part
        self.stack.append(part)

    def _make(self) -> None:
        arguments, kind = self.stack.pop(), self.stack.pop()
        if kind not in _BLANK or arguments != ():
            raise RefusedError(f"makes {_told(kind)} of {reprlib.repr(arguments)}")
        self._n_tables += kind in (pd.DataFrame, pd.Series)
        if self._n_tables > MOST_TABLES:
            raise RefusedError(f"makes more than {MOST_TABLES} tables")
        self.stack.append(kind.__new__(kind))

    def _fill(self) -> None:
        state, part = self.stack.pop(), self.stack[-1]
        if isinstance(part, np.ndarray):
            if self._unfilled.pop(id(part), None) is None:  # it frees memory that others use
                raise RefusedError("fills an array twice")
            _require_fit(state[4], state[2], state[1])
        elif isinstance(part, dict) and not isinstance(state, dict):
            raise RefusedError(f"fills a dictionary with {_told(state)}")
        elif isinstance(part, dict | PendingArray):
            part.update(state)  # an EasyDict's instance dictionary repeats its items
            return
        elif not isinstance(part, (np.dtype, *_BLANK)) or isinstance(part, pd.Index):
            raise RefusedError(f"fills {_told(part)} with state")
        _require_sound(part, state)
        if hasattr(part, "__setstate__"):
            part.__setstate__(state)
        else:
            vars(part).update(state)
        if isinstance(part, pd.Categorical):
            pd.Categorical.from_codes(part.codes, dtype=part.dtype)

    def _recall(self, place: int) -> None:
        part = self.memo[place]  # type: ignore[attr-defined]
        if id(part) in self._unfilled:
            raise RefusedError("uses an array that it has not filled yet")
        self.stack.append(part)

    def _append(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise RefusedError(f"appends to {_told(self.stack[-1])}")
        self.stack[-1].extend(items)

    def _set_items(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], dict):
            raise RefusedError(f"sets items of {_told(self.stack[-1])}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str | bytes | int | None) or (
                isinstance(key, int) and abs(key) > _LARGEST_KEY  # larger ones could share a hash
            ):
                raise RefusedError(f"has {_told(key)} for a key")
            self.stack[-1][key] = value

    def _dictionary(self) -> None:
        items = self.pop_mark()  # type: ignore[attr-defined]
        self.stack.append({})
        self._set_items(items)

    dispatch: ClassVar[dict[int, Any]] = {
        **pickle._Unpickler.dispatch,
        pickle.REDUCE[0]: _call,
        pickle.NEWOBJ[0]: _make,
        pickle.BUILD[0]: _fill,
        pickle.DICT[0]: _dictionary,
        pickle.GET[0]: lambda self: self._recall(int(self.readline())),
        pickle.BINGET[0]: lambda self: self._recall(self.read(1)[0]),
        pickle.LONG_BINGET[0]: lambda self: self._recall(int.from_bytes(self.read(4), "little")),
        pickle.APPEND[0]: lambda self: self._append([self.stack.pop()]),
        pickle.APPENDS[0]: lambda self: self._append(self.pop_mark()),
        pickle.SETITEM[0]: lambda self: self._set_items([self.stack.pop(-2), self.stack.pop()]),
        pickle.SETITEMS[0]: lambda self: self._set_items(self.pop_mark()),
    }


def _require_sound(part: Any, state: Any) -> None:
    """Refuse states that numpy and pandas would take for pointers, or for places of memory."""
    if isinstance(part, np.dtype):
        own = part.__reduce__()[2]
        if (state[0], *state[2:8]) != (own[0], *own[2:8]) or state[1] not in tuple("<>=|"):
            raise RefusedError(f"alters the dtype {part.str} by {reprlib.repr(state)}")
    elif isinstance(part, BlockManager | SingleBlockManager):
        content = state[3]["0.14.1"]
        for block in content["blocks"]:
            block["values"] = unwrapped(block["values"])
            _require_places(block["values"], block["mgr_locs"], len(content["axes"]))
            if block["values"].shape[-1] != len(content["axes"][-1]):
                raise RefusedError("fills a column with values for another index")
    elif isinstance(part, tuple(_ON_NUMPY)):
        values = state[1] if isinstance(state[1], np.ndarray) else state[0]
        if values.dtype.kind not in _ON_NUMPY[type(part)]:
            raise RefusedError(f"makes a {type(part).__name__} of {values.dtype}")


def _require_fit(data: Any, dtype: Any, shape: Any) -> None:
    wanted = list if getattr(dtype, "kind", "") == "O" else bytes | bytearray
    if not isinstance(dtype, np.dtype) or not isinstance(data, wanted):
        raise RefusedError(f"fills an array with {_told(data)} as {_told(dtype)}")
    if any(type(n) is not int or n < 0 for n in shape):
        raise RefusedError(f"makes an array of shape {reprlib.repr(shape)}")
    if 0 in shape and max(shape) > LONGEST_AXIS:
        raise RefusedError(f"makes an empty array of shape {reprlib.repr(shape)}")
    if math.prod(shape) * (1 if wanted is list else dtype.itemsize) != len(data):
        raise RefusedError(f"fills an array of shape {shape} with {len(data)} items or bytes")


def _require_places(values: Any, places: Any, n_axes: int) -> None:
    """Compare the values of a block with its places on the first axis of a table."""
    if isinstance(places, slice):
        places = range(places.start, places.stop, places.step or 1)
    n_rows = values.shape[0] if values.ndim == n_axes else 1
    if len(places) != n_rows or (n_axes == 2 and not all(0 <= p < MOST_COLUMNS for p in places)):
        raise RefusedError(f"has {n_rows} rows of values for {len(places)} places of a table")


def _blank_array(kind: Any, shape: Any, code: Any) -> np.ndarray:
    if kind is not _ndarray or shape != (0,) or code not in (b"b", "b"):
        raise RefusedError(f"makes {_told(kind)} of shape {reprlib.repr(shape)}")
    return np.empty(0, dtype=np.int8)


def _array_of_bytes(data: Any, dtype: Any, shape: Any, order: Any, axes: Any = None) -> np.ndarray:
    if getattr(dtype, "kind", "O") == "O":
        raise RefusedError("makes objects of bytes")
    _require_fit(data, dtype, shape)
    array = np.ndarray(shape, dtype, data, order="C" if order == "K" else order).copy(order="K")
    return array.transpose(axes) if order == "K" else array


def _scalar(dtype: Any, data: Any) -> Any:
    return _array_of_bytes(data, dtype, (1,), "C")[0]


def _dtype(code: Any, align: Any = False, copy: Any = True) -> np.dtype:
    if align or not _PLAIN_DTYPE.fullmatch(code):
        raise RefusedError(f"describes a dtype {reprlib.repr(code)}")
    return np.dtype(code, copy=True)  # not the one that all arrays of the kind share


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise RefusedError(f"encodes text as {reprlib.repr(encoding)}")
    return text.encode("latin1")


def _bytes(data: Any = b"", encoding: Any = "latin1") -> bytes:
    # never of a number, which would be a length
    return _encode(data, encoding) if isinstance(data, str) else bytes(memoryview(data))


def _bytearray(data: Any = b"", encoding: Any = "latin1") -> bytearray:
    return bytearray(_bytes(data, encoding))


def _index(kind: Any, content: Any) -> pd.Index:
    if kind is pd.RangeIndex:
        numbers = range(content["start"], content["stop"], content["step"])
        if len(numbers) > LONGEST_AXIS:
            raise RefusedError(f"numbers {len(numbers)} rows")
        return pd.RangeIndex(numbers, name=content["name"])
    if kind is pd.MultiIndex:
        return pd.MultiIndex(content["levels"], content["codes"], names=content["names"])
    if not isinstance(kind, type) or not issubclass(kind, pd.Index):
        raise RefusedError(f"makes an index as {_told(kind)}")
    data, name = unwrapped(content["data"]), content.get("name")
    index = pd.Index(data, dtype=data.dtype, name=name, tupleize_cols=False)
    freq = content.get("freq")
    return index if freq is None else pd.DatetimeIndex(index, freq=freq, name=name)


def _block(values: Any, places: Any, ndim: Any) -> Any:
    _require_places(unwrapped(values), places, ndim)
    return _unpickle_block(unwrapped(values), places, ndim)


def _manager(blocks: Any, axes: Any) -> BlockManager:
    items, index = axes
    places = [place for block in blocks for place in block.mgr_locs.as_array.tolist()]
    if sorted(places) != list(range(min(len(items), MOST_COLUMNS))):
        raise RefusedError(f"fills {len(places)} of the {len(items)} columns of a table")
    if any(block.shape[-1] != len(index) for block in blocks):
        raise RefusedError("fills a column with values for another index")
    return BlockManager(blocks, axes)


def _backed(kind: Any, checksum: Any, state: Any) -> Any:
    if kind not in _ON_NUMPY or state is not None:
        raise RefusedError(f"makes an array of {_told(kind)}")
    return kind.__new__(kind)


def _string_dtype(storage: Any = "python", na_value: Any = pd.NA) -> pd.StringDtype:
    return pd.StringDtype(None if storage == "pyarrow" else storage, na_value=na_value)


def _timestamp(value: Any, freq: Any, zone: Any, resolution: Any = 10) -> Any:
    moment = pd.Timestamp(value, unit=_RESOLUTIONS[resolution])
    return moment if zone is None else moment.tz_localize("UTC").tz_convert(zone)


class _Size:
    """Refuses what would grow without bound, or never end, when it is written out or walked."""

    def __init__(self) -> None:
        self._known: dict[int, int] = {}

    def of(self, value: Any, depth: int = 0) -> int:
        if not isinstance(value, _CONTAINERS):
            return 1
        if depth > DEEPEST_NESTING:
            raise RefusedError(f"nests more than {DEEPEST_NESTING} deep")
        if id(value) not in self._known:
            size = 1
            for item in _items(value):
                size += self.of(item, depth + 1)
                if size > MOST_ITEMS:
                    raise RefusedError(f"holds more than {MOST_ITEMS} items")
            self._known[id(value)] = size
        return self._known[id(value)]


_CONTAINERS = (dict, list, tuple, np.ndarray, pd.DataFrame, pd.Series, pd.Index)


def _items(value: Any) -> Any:
    """Go through what a container holds; arrays of numbers hold nothing that matters here."""
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, pd.DataFrame):
        columns = (value.iloc[:, place] for place in range(value.shape[1]))
        return itertools.chain([value.columns, value.index], columns)
    if isinstance(value, pd.Series | pd.Index):
        if not isinstance(value.name, str | int | float | np.generic | tuple | None):
            raise RefusedError(f"names a column or an index by {_told(value.name)}")
        if not isinstance(value, pd.MultiIndex) and len(value.isna()) != len(value):
            raise RefusedError("fills a column with values for another index")
    if isinstance(value, np.ndarray | pd.Series | pd.Index):
        return np.asarray(value).flat if value.dtype == object else ()
    return value


def _told(thing: Any) -> str:
    is_named = isinstance(thing, type | FunctionType)
    return thing.__name__.strip("_") if is_named else f"a {type(thing).__name__}"


class _ndarray:
    """The name of numpy.ndarray, which is never made by itself."""


def _zone(name: Any, *_: Any) -> Any:
    return zoneinfo.ZoneInfo(name)


_PACKAGES = ("builtins", "__builtin__", "_codecs", "datetime", "easydict", "numpy", "pandas",
             "pyarrow", "pytz", "zoneinfo")  # fmt: skip
_RESOLUTIONS: dict[int, Any] = {7: "s", 8: "ms", 9: "us", 10: "ns"}
_ON_NUMPY: dict[Any, str] = {
    pd.Categorical: "i", pd.arrays.DatetimeArray: "M", pd.arrays.TimedeltaArray: "m",
    pd.arrays.PeriodArray: "i", pd.arrays.StringArray: "O",
}  # fmt: skip

_NUMBERS = (
    *(f"{kind}{8 * n}Dtype" for kind in ("Int", "UInt") for n in (1, 2, 4, 8)),
    "Float32Dtype", "Float64Dtype", "BooleanDtype",
)  # fmt: skip
_OFFSETS = ("Day", "Hour", "Minute", "Second", "Milli", "Micro", "Nano", "MonthBegin", "MonthEnd",
            "QuarterEnd", "YearEnd")  # fmt: skip

#: What may be called, by the name that pickles know it by.
_CALLS: dict[str, Any] = {
    "bytes": _bytes, "bytearray": _bytearray, "encode": _encode, "complex": complex, "slice": slice,
    "date": dt.date, "datetime": dt.datetime, "timedelta": dt.timedelta, "timezone": dt.timezone,
    "dtype": _dtype, "_reconstruct": _blank_array, "scalar": _scalar,
    "_frombuffer": _array_of_bytes, "_new_Index": _index, "_new_DatetimeIndex": _index,
    "_unpickle_block": _block, "BlockManager": _manager, "__pyx_unpickle_NDArrayBacked": _backed,
    "__pyx_unpickle_IntervalMixin": lambda *_: PendingArray(),
    "_restore_array": decode_arrow, "py_buffer": _bytes, "type_for_alias": str,
    "PeriodDtype": pd.PeriodDtype, "_unpickle_timestamp": _timestamp,
    "_timedelta_unpickle": lambda value, unit: pd.Timedelta(value, unit=_RESOLUTIONS[unit]),
    "_nat_unpickle": lambda _: pd.NaT, "__nat_unpickle": lambda _: pd.NaT, "IntIndex": IntIndex,
    "_UTC": lambda: dt.UTC, "_p": _zone, "getattr": lambda *_: _zone, "ZoneInfo": _zone,
    **{name: getattr(pd.offsets, name) for name in _OFFSETS},
}  # fmt: skip

#: What may be made without a call, to be filled.
_BLANK: tuple[Any, ...] = (
    AttributeDict, PendingArray, pd.DataFrame, pd.Series, SingleBlockManager,
    pd.CategoricalDtype, pd.DatetimeTZDtype, pd.IntervalDtype, pd.SparseDtype, pd.StringDtype,
    *_ON_NUMPY, pd.arrays.BooleanArray, pd.arrays.FloatingArray,
    pd.arrays.IntegerArray, pd.arrays.SparseArray, *(getattr(pd, name) for name in _NUMBERS),
)  # fmt: skip

_NAMES: dict[str, Any] = {
    **{kind.__name__: kind for kind in _BLANK},
    **{kind.__name__: kind for kind in (pd.Index, pd.RangeIndex, pd.MultiIndex, pd.CategoricalIndex,
       pd.DatetimeIndex, pd.TimedeltaIndex, pd.PeriodIndex, pd.IntervalIndex,
       pd.arrays.IntervalArray)},
    **dict.fromkeys(("Int64Index", "UInt64Index", "Float64Index"), pd.Index),
    **dict.fromkeys(("ArrowStringArray", "ArrowStringArrayNumpySemantics", "ArrowExtensionArray",
                     "ArrowDtype"), PendingArray),
    **_CALLS, "ndarray": _ndarray, "EasyDict": AttributeDict, "NA": pd.NA,
}  # fmt: skip
_CALLABLE = {id(function): function for function in _CALLS.values()}
_CALLABLE[id(pd.StringDtype)] = _string_dtype

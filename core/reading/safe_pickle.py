"""Read pickles of arrays and tables without letting them run code.

A pickle is a program. This one runs in the standard library's unpickler, but every name that it
asks for becomes an inert part that only notes what it is called and filled with; names off the list
are refused at once, and nothing is imported. Arrays and tables are then built of the parts by the
public constructors of numpy and pandas, which check what they are given.
"""

from __future__ import annotations

import datetime as dt
import itertools
import math
import os
import pickle
import re
import reprlib
import zoneinfo
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np
import pandas as pd

from core.errors import MalformedDataError, MissingDataError

#: Bounds of what a pickle may take: steps of reading; bytes of what is built beyond those of the
#: file (a column, or another part of a table, counts as `COLUMN_BYTES` for its time); depth; items
#: where shared parts count each time.
MOST_STEPS, MOST_BYTES, COLUMN_BYTES = 10_000_000, 1 << 30, 1 << 15
DEEPEST_NESTING, MOST_ITEMS = 50, 10_000_000

#: Larger numbers could be chosen to share one hash, which makes a dictionary quadratic.
_LARGEST_KEY = 1 << 53

_PLAIN_DTYPE = re.compile(r"b1|[iu][1248]|f(2|4|8|16)|c(8|16|32)|[mM]8|O[48]?|[SU][1-9]\d{0,5}")
_PACKAGES = ("builtins", "__builtin__", "_codecs", "datetime", "easydict", "numpy", "pandas",
             "pyarrow", "pytz", "zoneinfo")  # fmt: skip

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
            file.seek(0)
            steps = _Steps(file)
            return _Builder(steps.n_bytes).of([_Reader(steps).load()])[0][0]
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


class _Steps:
    """A file of which the unpickler reads each instruction by itself, so that reads are steps."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.readline = file, file.readline
        self.n_bytes, self._n_steps = os.fstat(file.fileno()).st_size, 0

    def read(self, size: int) -> bytes:
        self._n_steps += 1
        if self._n_steps > MOST_STEPS:
            raise RefusedError(f"takes more than {MOST_STEPS} steps")
        return self._file.read(min(size, self.n_bytes))  # or memory is taken for all it promises


class _Part:
    """A name of the list, and what it was called and filled with; `arguments` None: not called."""

    def __init__(self, name: str, arguments: tuple[Any, ...] | None = None) -> None:
        self.name, self.arguments, self.state = name, arguments, None


class _Reader(pickle._Unpickler):
    """The standard library's unpickler in Python, which takes no memory before it has the bytes."""

    stack: list[Any]

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] not in _PACKAGES or name not in _NAMES:
            raise RefusedError(f"asks for {module}.{name}")
        return pd.NA if name == "NA" else _Part(name)

    def _call(self) -> None:
        arguments, part = self.stack.pop(), self.stack.pop()
        if isinstance(part, _Part) and part.name == "getattr" and part.arguments:
            part = _Part("ZoneInfo")  # its method of unpickling: getattr(ZoneInfo, "_unpickle")
        is_free = isinstance(part, _Part) and part.arguments is None
        if not is_free or not isinstance(arguments, tuple):
            raise RefusedError(f"calls {_told(part)} with {_told(arguments)}")
        is_easy = part.name == "EasyDict"
        self.stack.append(AttributeDict() if is_easy else _Part(part.name, arguments))

    def _fill(self) -> None:
        state, part = self.stack.pop(), self.stack[-1]
        if isinstance(part, AttributeDict):
            return  # the attributes of an EasyDict repeat its items
        if not isinstance(part, _Part) or part.arguments is None or part.state is not None:
            raise RefusedError(f"fills {_told(part)} with state, or twice")
        part.state = state

    def _set_items(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], dict):
            raise RefusedError(f"sets items of {_told(self.stack[-1])}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str | bytes | int | None) or (
                isinstance(key, int) and abs(key) > _LARGEST_KEY
            ):
                raise RefusedError(f"has {_told(key)} for a key")
            self.stack[-1][key] = value

    def _dictionary(self) -> None:
        items = self.pop_mark()  # type: ignore[attr-defined]
        self.stack.append({})
        self._set_items(items)

    def _set(self) -> None:
        raise RefusedError("makes a set")

    def _bytearray(self) -> None:
        read = self.read  # type: ignore[attr-defined]
        self.stack.append(bytearray(read(int.from_bytes(read(8), "little"))))

    dispatch: ClassVar[dict[int, Any]] = {
        **pickle._Unpickler.dispatch,
        pickle.REDUCE[0]: _call,
        pickle.NEWOBJ[0]: _call,
        pickle.BUILD[0]: _fill,
        pickle.DICT[0]: _dictionary,
        pickle.SETITEM[0]: lambda self: self._set_items([self.stack.pop(-2), self.stack.pop()]),
        pickle.SETITEMS[0]: lambda self: self._set_items(self.pop_mark()),
        pickle.EMPTY_SET[0]: _set,
        pickle.FROZENSET[0]: _set,
        pickle.BYTEARRAY8[0]: _bytearray,
        pickle.FRAME[0]: lambda self: self.read(8),  # a frame would be read in one step
    }


class _Builder:
    """Builds arrays and tables of what a pickle noted, from the inside out, each part once."""

    def __init__(self, n_given: int) -> None:
        self._done: dict[int, tuple[Any, int]] = {}
        self._left = 2 * n_given + MOST_BYTES

    def of(self, value: Any, depth: int = 0) -> tuple[Any, int]:
        """Return what a value stands for, and how many items it holds when written out."""
        if not isinstance(value, dict | list | tuple | _Part):
            return value, 1
        if depth > DEEPEST_NESTING:
            raise RefusedError(f"nests more than {DEEPEST_NESTING} deep")
        if id(value) not in self._done:
            inner, size = [], 1
            for item in _inside(value):
                part, n_items = self.of(item, depth + 1)
                inner.append(part)
                size += n_items
                if size > MOST_ITEMS:
                    raise RefusedError(f"holds more than {MOST_ITEMS} items")
            self._done[id(value)] = self._made(value, inner), size
        return self._done[id(value)]

    def _made(self, value: Any, inner: list[Any]) -> Any:
        if isinstance(value, _Part):
            if value.arguments is None:
                return value
            *arguments, state = inner
            if value.name in _CALLED:
                return _CALLED[value.name](*arguments)
            if value.name in _ARRAYS:
                return _ARRAYS[value.name](self, state, *arguments)
            self._take(COLUMN_BYTES)
            if value.name in _FILLED:
                return _FILLED[value.name](state)
            if value.name not in _TABLES:
                raise RefusedError(f"calls {value.name}")
            return _TABLES[value.name](self, state, *arguments)
        if any(isinstance(item, _Part) for item in inner):
            raise RefusedError("holds a name in place of a value")
        return type(value)(zip(value, inner, strict=True) if isinstance(value, dict) else inner)

    def _take(self, n_bytes: int) -> None:
        self._left -= n_bytes
        if self._left < 0:
            raise RefusedError(f"makes arrays, texts or columns of more than {MOST_BYTES} bytes")

    def _bytes(self, _: Any, data: Any = b"", encoding: Any = "latin1") -> bytes:
        if encoding not in ("latin1", "latin-1") or isinstance(data, int):  # which is a length
            raise RefusedError(f"makes bytes of {reprlib.repr(data)} as {reprlib.repr(encoding)}")
        self._take(len(data))
        return data.encode("latin1") if isinstance(data, str) else bytes(data)

    def _bytearray(self, _: Any, *arguments: Any) -> bytearray:
        return bytearray(self._bytes(_, *arguments))

    def _dtype(self, state: Any, code: Any, align: Any = False, copy: Any = True) -> np.dtype:
        if align or not _PLAIN_DTYPE.fullmatch(code):
            raise RefusedError(f"describes a dtype {reprlib.repr(code)}")
        if state is None:
            return np.dtype(code)
        unit = f"[{state[8][1][0].decode()}]" if len(state) > 8 else ""
        dtype = np.dtype(code + unit).newbyteorder(state[1])
        if dtype.__reduce__()[2] != state:
            raise RefusedError(f"alters the dtype {dtype.str} by {reprlib.repr(state)}")
        return dtype

    def _filled(self, data: Any, dtype: Any, shape: Any, order: Any) -> Any:
        if not isinstance(dtype, np.dtype) or any(type(n) is not int or n < 0 for n in shape):
            raise RefusedError(f"makes an array of shape {reprlib.repr(shape)}")
        is_objects = dtype.kind == "O"
        if not isinstance(data, list if is_objects else bytes | bytearray):
            raise RefusedError(f"fills an array of {dtype} with {_told(data)}")
        if math.prod(shape) * (1 if is_objects else dtype.itemsize) != len(data):
            raise RefusedError(f"fills an array of shape {shape} with {len(data)} items or bytes")
        self._take(max(len(data) * (8 if is_objects else 1), *shape, 0))
        if isinstance(data, list):
            return np.fromiter(data, dtype=object, count=len(data)).reshape(shape, order=order)
        return np.ndarray(shape, dtype, data, order=order).copy(order="K")

    def _array(self, state: Any, *_: Any) -> np.ndarray:
        _version, shape, dtype, is_fortran, data = state
        return self._filled(data, dtype, shape, "F" if is_fortran else "C")

    def _array_of_buffer(
        self, _: Any, data: Any, dtype: Any, shape: Any, order: str, axes: Any = None
    ) -> np.ndarray:
        array = self._filled(data, dtype, shape, "C" if order == "K" else order)
        return array.transpose(axes) if order == "K" else array

    def _scalar(self, _: Any, dtype: Any, data: Any) -> Any:
        return self._filled(data, dtype, (1,), "C")[0]

    def _index(self, _: Any, kind: Any, content: Any) -> pd.Index:
        name = content.get("name")
        if kind.name == "RangeIndex":
            numbers = range(content["start"], content["stop"], content["step"])
            self._take(8 * len(numbers))
            return pd.RangeIndex(numbers, name=name)
        if kind.name == "MultiIndex":
            return pd.MultiIndex(content["levels"], content["codes"], names=content["names"])
        data = content["data"]
        index = pd.Index(data, dtype=data.dtype, name=name, tupleize_cols=False)
        freq = content.get("freq")
        return index if freq is None else pd.DatetimeIndex(index, freq=freq, name=name)

    def _block(self, _: Any, values: Any, places: Any, ndim: Any) -> list[tuple[int, Any]]:
        rows = values if isinstance(values, list) or values.ndim == 2 else [values]
        self._take(len(rows) * COLUMN_BYTES)
        if isinstance(places, slice):
            places = range(places.start, places.stop, places.step or 1)
        return list(zip(places, rows, strict=True))

    def _table(self, _: Any, blocks: Any, axes: Any) -> pd.DataFrame:
        items, index = axes
        columns = dict(itertools.chain(*blocks))
        if len(columns) != len(items) or sum(map(len, blocks)) != len(items):
            raise RefusedError(f"fills {len(columns)} of the {len(items)} columns of a table")
        content = {place: _series(columns[place], index) for place in range(len(items))}
        return pd.DataFrame(content, index=index).set_axis(items, axis=1)

    def _sparse_index(self, _: Any, length: int, places: Any) -> tuple[int, Any]:
        self._take(8 * length)
        return length, places

    def _arrow(self, _: Any, stored: Any) -> Any:
        """Decode numbers, truth values or text of the Arrow Columnar Format 1.4.

        Buffers hold one bit per value that is there, then numbers, or the ends of texts and the
        UTF-8 of all of them.
        """
        kind, length, _, offset, (present, first, *texts), children, dictionary = stored
        if kind not in _ARROW or children or dictionary is not None or length < 0 or offset < 0:
            raise ValueError(f"an Arrow array of type {kind!s:.40}")
        self._take(length)
        chosen = slice(offset, offset + length)
        gone = np.zeros(length, bool) if present is None else ~_bits(present)[chosen]
        if kind == "bool":
            return pd.arrays.BooleanArray(_bits(first)[chosen], gone)
        values = np.frombuffer(first, _ARROW[kind])
        if not texts:
            is_real = values.dtype.kind == "f"
            make = pd.arrays.FloatingArray if is_real else pd.arrays.IntegerArray
            return make(values[chosen].copy(), gone)
        ends = values[offset : offset + length + 1]
        if (np.diff(ends) < 0).any():
            raise RefusedError("lets texts of Arrow overlap")
        cut = ((texts[0] or b"")[a:b].decode() for a, b in itertools.pairwise(ends.tolist()))
        pairs = zip(cut, gone, strict=True)
        return np.array([None if is_gone else text for text, is_gone in pairs], dtype=object)


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, _Part):
        return () if value.arguments is None else (*value.arguments, value.state)
    return value.values() if isinstance(value, dict) else value


def _told(thing: Any) -> str:
    return thing.name if isinstance(thing, _Part) else f"a {type(thing).__name__}"


def _bits(packed: bytes) -> np.ndarray:
    return np.unpackbits(np.frombuffer(packed, "u1"), bitorder="little").astype(bool)


def _series(values: Any, index: Any, name: Any = None) -> pd.Series:
    return pd.Series(values, index=index, dtype=values.dtype, name=name)


def _backed(_: Any, state: Any, kind: Any, *__: Any) -> Any:
    """Make an extension array that pandas keeps in one of numpy; one row each where that is 2-D."""
    dtype, values = state[:2] if isinstance(state[1], np.ndarray) else state[1::-1]
    rows = [_BACKED[kind.name](row, dtype) for row in np.atleast_2d(values)]
    return rows if values.ndim == 2 else rows[0]


def _moments(values: Any, dtype: Any) -> Any:
    zone, moments = getattr(dtype, "tz", None), pd.DatetimeIndex(values)
    return (moments if zone is None else moments.tz_localize("UTC").tz_convert(zone)).array


def _timestamp(value: Any, _: Any, zone: Any, resolution: Any = 10) -> Any:
    moment = pd.Timestamp(value, unit=_RESOLUTIONS[resolution])
    return moment if zone is None else moment.tz_localize("UTC").tz_convert(zone)


def _intervals(state: Any) -> Any:
    left, right, dtype = (state[0][name] for name in ("_left", "_right", "_dtype"))
    return pd.arrays.IntervalArray.from_arrays(left, right, closed=dtype.closed)


def _of_arrow(state: Any) -> Any:
    values, dtype = state.get("_pa_array", state.get("_data")), state.get("_dtype")
    return pd.array(values, dtype=dtype) if isinstance(values, np.ndarray) else values


def _sparse(state: Any) -> Any:
    (length, places), dtype = state["_sparse_index"], state["_dtype"]
    values = np.full(length, dtype.fill_value, dtype.subtype)
    values[places] = state["_sparse_values"]
    return pd.arrays.SparseArray(values, dtype=dtype)


def _text_dtype(_: Any, state: Any, storage: Any = None, na_value: Any = pd.NA) -> Any:
    is_python = "python" in (storage, (state or {}).get("storage"))  # pyarrow may be missing here
    return pd.StringDtype("python" if is_python else None, na_value=na_value)


_RESOLUTIONS: dict[int, Any] = {7: "s", 8: "ms", 9: "us", 10: "ns"}

#: Types of Arrow, and the numpy type of their numbers or of the ends of their texts.
_ARROW = {
    "string": "<i4", "large_string": "<i8", "bool": "u1", "float": "<f4", "double": "<f8",
    **{f"{sign}int{8 * n}": f"<{sign or 'i'}{n}" for sign in ("", "u") for n in (1, 2, 4, 8)},
}  # fmt: skip

#: What may be called, with the arguments that a pickle gives.
_CALLED: dict[str, Callable[..., Any]] = {
    "complex": complex, "slice": slice, "date": dt.date, "datetime": dt.datetime,
    "timedelta": dt.timedelta, "timezone": dt.timezone, "type_for_alias": str,
    "PeriodDtype": pd.PeriodDtype, "_unpickle_timestamp": _timestamp,
    "_timedelta_unpickle": lambda value, unit: pd.Timedelta(value, unit=_RESOLUTIONS[unit]),
    "_nat_unpickle": lambda _: pd.NaT, "__nat_unpickle": lambda _: pd.NaT, "_UTC": lambda: dt.UTC,
    **dict.fromkeys(("_p", "ZoneInfo"), lambda name, *_: zoneinfo.ZoneInfo(name)),
    **{f"{kind}{bits}Dtype": getattr(pd, f"{kind}{bits}Dtype")
       for kind in ("Int", "UInt", "Float") for bits in (8, 16, 32, 64)
       if hasattr(pd, f"{kind}{bits}Dtype")},
    "BooleanDtype": pd.BooleanDtype,
    **{name: getattr(pd.offsets, name) for name in (
        "Day", "Hour", "Minute", "Second", "Milli", "Micro", "Nano", "MonthBegin", "MonthEnd",
        "QuarterEnd", "YearEnd")},
}  # fmt: skip

#: What is made of its state alone.
_FILLED: dict[str, Callable[[Any], Any]] = {
    "DataFrame": lambda state: state["_mgr"],
    "Series": lambda state: state["_mgr"].rename(state.get("_name", state.get("name"))),
    "SingleBlockManager": lambda state: _series(state[1][0], state[0][0]),
    "CategoricalDtype": lambda state: pd.CategoricalDtype(state["categories"], state["ordered"]),
    "DatetimeTZDtype": lambda state: pd.DatetimeTZDtype(state["unit"], state["tz"]),
    "IntervalDtype": lambda state: pd.IntervalDtype(state["subtype"], state["closed"]),
    "SparseDtype": lambda state: pd.SparseDtype(state["_dtype"], state["_fill_value"]),
    "ArrowDtype": lambda _: None, "SparseArray": _sparse, "ArrowStringArray": _of_arrow,
    "ArrowStringArrayNumpySemantics": _of_arrow, "ArrowExtensionArray": _of_arrow,
    "__pyx_unpickle_IntervalMixin": _intervals,
    "BooleanArray": lambda state: pd.arrays.BooleanArray(state["_data"], state["_mask"]),
    "FloatingArray": lambda state: pd.arrays.FloatingArray(state["_data"], state["_mask"]),
    "IntegerArray": lambda state: pd.arrays.IntegerArray(state["_data"], state["_mask"]),
}  # fmt: skip

#: What is built of a state and arguments: bytes and arrays; parts of tables.
_ARRAYS: dict[str, Callable[..., Any]] = {
    "bytes": _Builder._bytes, "encode": _Builder._bytes, "py_buffer": _Builder._bytes,
    "bytearray": _Builder._bytearray, "dtype": _Builder._dtype, "_reconstruct": _Builder._array,
    "scalar": _Builder._scalar, "_frombuffer": _Builder._array_of_buffer,
}  # fmt: skip
_TABLES: dict[str, Callable[..., Any]] = {
    "_restore_array": _Builder._arrow, "_new_Index": _Builder._index,
    "_new_DatetimeIndex": _Builder._index, "_unpickle_block": _Builder._block,
    "BlockManager": _Builder._table, "IntIndex": _Builder._sparse_index, "StringDtype": _text_dtype,
    "__pyx_unpickle_NDArrayBacked": _backed,
}  # fmt: skip

#: Arrays of pandas that stand on one of numpy, made of that and the dtype.
_BACKED: dict[str, Callable[[Any, Any], Any]] = {
    "Categorical": lambda codes, dtype: pd.Categorical.from_codes(codes, dtype=dtype),
    "DatetimeArray": _moments,
    "TimedeltaArray": lambda values, _: pd.TimedeltaIndex(values).array,
    "PeriodArray": lambda ordinals, dtype: pd.arrays.PeriodArray(ordinals, dtype=dtype),
    "StringArray": lambda texts, dtype: pd.array(texts, dtype=dtype),
}

_NAMES = frozenset((
    *_CALLED, *_FILLED, *_ARRAYS, *_TABLES, *_BACKED, "NA", "ndarray", "getattr", "EasyDict",
    "IntervalArray", "Index", "RangeIndex", "MultiIndex", "CategoricalIndex", "DatetimeIndex",
    "TimedeltaIndex", "PeriodIndex", "IntervalIndex", "Int64Index", "UInt64Index", "Float64Index",
))  # fmt: skip

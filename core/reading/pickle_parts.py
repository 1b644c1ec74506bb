"""The parts of pickled arrays and tables, each checked before it is made.

Pickles name functions and classes, call the ones and fill the others with state. numpy and pandas
trust such state: a dtype with altered flags turns bytes into pointers, a category code out of range
reads foreign memory. So the names stay names here, a call makes its part through a public
constructor that checks what it is given, and only a part that is still blank can be filled.
"""

from __future__ import annotations

import datetime as dt
import math
import pickle
import re
import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import singledispatch
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

#: dtypes of plain numbers, truth values, text and objects; no structures, no dates.
_PLAIN_DTYPE = re.compile(r"b1|[iu][1248]|f(2|4|8|16)|c(8|16|32)|O[48]?|[SU][1-9]\d{0,5}")

#: Axes that no data stand behind, of an empty array or an index of row numbers, are bounded.
LONGEST_AXIS_WITHOUT_DATA = 1_000_000


class RefusedError(pickle.UnpicklingError):
    """A pickle wants something that no array or table needs; the message goes on "its pickle …"."""


@dataclass(frozen=True)
class Name:
    """A name that a pickle looks up. It is never imported."""

    text: str


class AttributeDict(dict[str, Any]):
    """What an EasyDict of the authors' files becomes: a plain dictionary."""


@dataclass
class _Category:
    """A dtype of categories, to be filled."""

    categories: pd.Index | None = None
    ordered: bool = False


@dataclass
class _Backed:
    """A pandas array of strings or categories, to be filled."""

    kind: str
    array: Any = None


@dataclass
class _Blocks:
    """The axes of a table, and the blocks of values with their positions on the first axis."""

    blocks: Sequence[tuple[Any, Any]] = ()
    axes: Sequence[pd.Index] = field(default_factory=list)


def look_up(module: str, name: str) -> Any:
    """Return what a pickle gets for a name: a `Name`, or a constant.

    Raises
    ------
    RefusedError
        If no array or table needs the name.
    """
    if (module, name) in _CONSTANTS:
        return _CONSTANTS[module, name]
    if (module, name) not in _NAMES:
        raise RefusedError(f"asks for {module}.{name}")
    return Name(name)


def call(function: Any, arguments: Any) -> Any:
    """Do what a call in a pickle is there for.

    Raises
    ------
    RefusedError
        If it is no call that rebuilds arrays or tables.
    """
    if not isinstance(function, Name) or function.text not in _CALLS:
        raise RefusedError(f"calls {_told(function)}")
    if not isinstance(arguments, tuple):
        raise RefusedError(f"calls {function.text} with {_told(arguments)}")
    return _CALLS[function.text](*arguments)


def blank(kind: Any, arguments: Any) -> Any:
    """Make an object that a pickle is about to fill.

    Raises
    ------
    RefusedError
        If it is none that arrays or tables are made of.
    """
    if not isinstance(kind, Name) or kind.text not in _BLANK or arguments != ():
        raise RefusedError(f"makes {_told(kind)} of {reprlib.repr(arguments)}")
    return _BLANK[kind.text]()


@singledispatch
def fill(part: Any, state: Any) -> None:
    """Give a part the state that a pickle holds for it.

    Raises
    ------
    RefusedError
        If the part takes none, or not this one.
    """
    raise RefusedError(f"fills {_told(part)} with state")


@fill.register
def _(part: np.dtype, state: Any) -> None:
    own = part.__reduce__()[2]
    if (state[0], *state[2:]) != (own[0], *own[2:]) or state[1] not in tuple("<>=|"):
        raise RefusedError(f"alters the dtype {part.str} by {reprlib.repr(state)}")
    part.__setstate__(state)  # type: ignore[attr-defined]


@fill.register
def _(part: np.ndarray, state: Any) -> None:
    _, shape, dtype, _, data = state
    _require_shape(shape)
    needed = math.prod(shape)
    if not isinstance(dtype, np.dtype) or isinstance(data, list) != (dtype.kind == "O"):
        raise RefusedError(f"fills an array with {_told(data)} as {_told(dtype)}")
    if not isinstance(data, list):
        needed *= dtype.itemsize
    if len(data) != needed:
        raise RefusedError(f"fills an array of shape {shape} with {len(data)} items or bytes")
    part.__setstate__(state)


@fill.register
def _(part: AttributeDict, state: Any) -> None:
    if not isinstance(state, dict):  # an EasyDict's instance dictionary repeats its items
        raise RefusedError(f"fills a dictionary with {_told(state)}")
    part.update(state)


@fill.register
def _(part: _Category, state: Any) -> None:
    part.categories, part.ordered = state["categories"], bool(state["ordered"])


@fill.register
def _(part: _Backed, state: Any) -> None:
    dtype, array = state[:2]
    if isinstance(dtype, np.ndarray):
        dtype, array = array, dtype
    if part.kind == "Categorical":
        part.array = pd.Categorical.from_codes(array, dtype.categories, ordered=dtype.ordered)
    elif isinstance(dtype, pd.StringDtype):
        part.array = pd.array(array, dtype=dtype)
    else:
        raise RefusedError(f"fills an array of strings as {_told(dtype)}")


@fill.register
def _(part: _Blocks, state: Any) -> None:
    content = state[3]["0.14.1"]
    part.axes = content["axes"]
    part.blocks = [(block["values"], block["mgr_locs"]) for block in content["blocks"]]


@fill.register
def _(part: pd.DataFrame, state: Any) -> None:
    stored = state["_mgr"] if "_mgr" in state else state["_data"]
    items, index = stored.axes
    columns = dict(_columns(stored, len(items)))
    if len(columns) != len(items):
        raise RefusedError(f"fills {len(columns)} of the {len(items)} columns of a table")
    series = {position: _series(columns[position], index) for position in range(len(items))}
    table = pd.DataFrame(series, index=index)
    table.columns = items
    pd.DataFrame.__init__(part, table)  # type: ignore[call-arg]


@fill.register
def _(part: pd.Series, state: Any) -> None:
    stored = state["_mgr"] if "_mgr" in state else state["_data"]
    (index,), ((values, _),) = stored.axes, stored.blocks
    series = _series(values, index).rename(_label(state.get("_name", state.get("name"))))
    pd.Series.__init__(part, series)  # type: ignore[call-arg]


def _columns(stored: _Blocks, n_columns: int) -> Iterator[tuple[int, Any]]:
    for values, places in stored.blocks:
        positions = range(n_columns)[places] if isinstance(places, slice) else places.tolist()
        values = _array(values)
        rows = values if values.ndim == 2 else [values]
        yield from zip(positions, rows, strict=True)


def _series(values: Any, index: pd.Index) -> pd.Series:
    array = _array(values)
    return pd.Series(array, index=index, dtype=array.dtype)


def _array(values: Any) -> Any:
    """Return the array of a block or an index."""
    array = values.array if isinstance(values, _Backed) else values
    if not isinstance(array, np.ndarray | pd.api.extensions.ExtensionArray):
        raise RefusedError(f"holds {_told(values)} in place of an array")
    return array


def _label(name: Any) -> Any:
    if not isinstance(name, str | int | float | np.generic | None):
        raise RefusedError(f"names a column or an index by {_told(name)}")
    return name


def _require_shape(shape: Any) -> None:
    if any(type(length) is not int or length < 0 for length in shape):
        raise RefusedError(f"makes an array of shape {reprlib.repr(shape)}")
    if 0 in shape and max(shape) > LONGEST_AXIS_WITHOUT_DATA:
        raise RefusedError(f"makes an empty array of shape {reprlib.repr(shape)}")


def _dtype(name: str, align: bool = False, copy: bool = True) -> np.dtype:
    if align or not _PLAIN_DTYPE.fullmatch(name):
        raise RefusedError(f"describes a dtype {reprlib.repr(name)}")
    return np.dtype(name, copy=True)


def _blank_array(kind: Any, shape: Any, code: Any) -> NDArray[np.int8]:
    if kind != Name("ndarray") or shape != (0,) or code not in (b"b", "b"):
        raise RefusedError(f"makes {_told(kind)} of shape {reprlib.repr(shape)}")
    return np.empty(0, dtype=np.int8)


def _scalar(dtype: np.dtype, data: bytes) -> Any:
    if dtype.kind == "O" or len(data) != dtype.itemsize:
        raise RefusedError(f"makes one {dtype} of {len(data)} bytes")
    return np.frombuffer(data, dtype)[0]


def _array_of_bytes(
    data: bytes, dtype: np.dtype, shape: Any, order: Any, axes: Any = None
) -> NDArray[Any]:
    _require_shape(shape)
    if math.prod(shape) * dtype.itemsize != len(data):
        raise RefusedError(f"fills an array of shape {shape} with {len(data)} bytes")
    if order == "K":
        return np.frombuffer(data, dtype).reshape(shape).transpose(axes)
    return np.frombuffer(data, dtype).reshape(shape, order=order)


def _bytes_of_text(text: str, encoding: str) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise RefusedError(f"encodes text as {reprlib.repr(encoding)}")
    return text.encode("latin-1")


def _bytearray(data: bytes | str = b"", encoding: str = "latin-1") -> bytearray:
    # never of a number, which would be a length
    return bytearray(_bytes_of_text(data, encoding) if isinstance(data, str) else memoryview(data))


def _index(kind: Any, content: Mapping[str, Any]) -> pd.Index:
    name = _label(content.get("name"))
    if kind == Name("RangeIndex"):
        numbers = range(content["start"], content["stop"], content["step"])
        if len(numbers) > LONGEST_AXIS_WITHOUT_DATA:
            raise RefusedError(f"numbers {len(numbers)} rows")
        return pd.RangeIndex(numbers, name=name)
    if not isinstance(kind, Name) or kind.text not in _INDEX_NAMES:
        raise RefusedError(f"makes an index as {_told(kind)}")
    data = _array(content["data"])
    if data.dtype == object:
        data = np.array([_label(label) for label in data.tolist()], dtype=object)
    return pd.Index(data, dtype=data.dtype, name=name, tupleize_cols=False)


def _backed(kind: Any, checksum: Any, state: Any) -> _Backed:
    if kind not in (Name("StringArray"), Name("Categorical")) or state is not None:
        raise RefusedError(f"makes an array of {_told(kind)}")
    return _Backed(kind.text)


def _string_dtype(storage: str, na_value: Any = pd.NA) -> Any:
    if storage != "python":
        raise RefusedError(f"keeps text as {reprlib.repr(storage)}")
    return pd.StringDtype("python", na_value=na_value)


def _told(thing: Any) -> str:
    return thing.text if isinstance(thing, Name) else f"a {type(thing).__name__}"


#: What may be called, by the last part of its name.
_CALLS: Mapping[str, Callable[..., Any]] = {
    "bytes": lambda: b"",
    "bytearray": _bytearray,
    "complex": complex,
    "slice": slice,
    "encode": _bytes_of_text,
    "date": dt.date,
    "datetime": dt.datetime,
    "timedelta": dt.timedelta,
    "dtype": _dtype,
    "_reconstruct": _blank_array,
    "scalar": _scalar,
    "_frombuffer": _array_of_bytes,
    "_new_Index": _index,
    "_unpickle_block": lambda values, places, ndim: (values, places),
    "__pyx_unpickle_NDArrayBacked": _backed,
    "BlockManager": _Blocks,
    "StringDtype": _string_dtype,
}

#: What may be made without a call, to be filled.
_BLANK: Mapping[str, Callable[[], Any]] = {
    "EasyDict": AttributeDict,
    "DataFrame": pd.DataFrame,
    "Series": lambda: pd.Series(dtype=float),
    "BlockManager": _Blocks,
    "SingleBlockManager": _Blocks,
    "CategoricalDtype": _Category,
}

#: What may be made an index of, all as one kind since pandas 2.
_INDEX_NAMES = ("Index", "Int64Index", "UInt64Index", "Float64Index")

#: Values that are pickled by name.
_CONSTANTS = {("pandas", "NA"): pd.NA, ("pandas._libs.missing", "NA"): pd.NA}

#: Every name that may be looked up, where numpy 1 and 2 and pandas 1 to 3 keep it.
_NAMES = frozenset(
    (module, name)
    for modules, names in (
        (("builtins", "__builtin__"), ("bytes", "bytearray", "complex", "slice")),
        (("_codecs",), ("encode",)),
        (("datetime",), ("date", "datetime", "timedelta")),
        (("easydict",), ("EasyDict",)),
        (("numpy",), ("dtype", "ndarray")),
        (("numpy.core.multiarray", "numpy._core.multiarray"), ("_reconstruct", "scalar")),
        (("numpy.core.numeric", "numpy._core.numeric"), ("_frombuffer",)),
        (("pandas", "pandas.core.frame"), ("DataFrame",)),
        (("pandas", "pandas.core.series"), ("Series",)),
        (("pandas.core.internals.managers",), ("BlockManager", "SingleBlockManager")),
        (("pandas._libs.internals",), ("_unpickle_block",)),
        (("pandas.core.indexes.base",), ("_new_Index",)),
        (("pandas", "pandas.core.indexes.base"), ("Index",)),
        (("pandas", "pandas.core.indexes.range"), ("RangeIndex",)),
        (("pandas.core.indexes.numeric",), _INDEX_NAMES[1:]),
        (("pandas._libs.arrays",), ("__pyx_unpickle_NDArrayBacked",)),
        (("pandas.arrays", "pandas.core.arrays.string_"), ("StringArray",)),
        (("pandas", "pandas.core.arrays.string_"), ("StringDtype",)),
        (("pandas", "pandas.core.arrays.categorical"), ("Categorical",)),
        (("pandas", "pandas.core.dtypes.dtypes"), ("CategoricalDtype",)),
    )
    for module in modules
    for name in names
)

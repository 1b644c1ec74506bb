"""Read pickles of arrays and tables without letting them run code.

A pickle is a program. This reader executes only the instructions that plain data need, resolves
only the names that numpy arrays, pandas tables and EasyDict structs are rebuilt from, and imports,
calls or fills nothing by itself: `core.reading.pickle_parts` does, with checks.
"""

from __future__ import annotations

import os
import pickle
import pickletools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np
import pandas as pd

from core.errors import MalformedDataError, MissingDataError
from core.reading.pickle_parts import AttributeDict, Name, RefusedError, blank, call, fill, look_up

#: Bounds of what a pickle may hold: how deep, and how much where shared parts count each time.
DEEPEST_NESTING = 50
MOST_ITEMS = 10_000_000

#: Instructions that only push, pop, name and gather plain values.
_PLAIN = (
    pickle.PROTO, pickle.FRAME, pickle.STOP, pickle.MARK, pickle.POP, pickle.POP_MARK,
    pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE,
    pickle.INT, pickle.BININT, pickle.BININT1, pickle.BININT2,
    pickle.LONG, pickle.LONG1, pickle.LONG4, pickle.FLOAT, pickle.BINFLOAT,
    pickle.STRING, pickle.BINSTRING, pickle.SHORT_BINSTRING,
    pickle.UNICODE, pickle.BINUNICODE, pickle.SHORT_BINUNICODE, pickle.BINUNICODE8,
    pickle.BINBYTES, pickle.SHORT_BINBYTES, pickle.BINBYTES8,
    pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3,
    pickle.EMPTY_LIST, pickle.LIST, pickle.EMPTY_DICT,
    pickle.GLOBAL, pickle.STACK_GLOBAL,
    pickle.PUT, pickle.BINPUT, pickle.LONG_BINPUT, pickle.MEMOIZE,
)  # fmt: skip


def load_pickle(path: str | os.PathLike[str]) -> Any:
    """Read a pickle that may hold only arrays, tables, plain containers and EasyDicts.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    object
        What was pickled; every EasyDict is a dictionary (`AttributeDict`).

    Raises
    ------
    MissingDataError
        If there is no such file.
    MalformedDataError
        If the file is cut off, is no pickle, or wants anything that arrays and tables do not need.
        Nothing of such a file has been run.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingDataError(f"there is no file {path}.")
    try:
        with path.open("rb") as file:
            content = _Reader(_Bounded(file)).load()
        _require_bounded(content)
        return content
    except RefusedError as refused:
        raise MalformedDataError(
            f"{path} was refused: its pickle {refused}, which no table or array needs. Such files "
            "can run code or exhaust the memory; nothing was run. Use the CSV twin of the file, or "
            "get it again from its source."
        ) from None
    except Exception as error:  # a broken pickle can raise anything while it is rebuilt
        raise MalformedDataError(
            f"{path} is not a readable pickle ({type(error).__name__}: {error!s:.200}). It may be "
            "cut off; get it again, or use its CSV twin."
        ) from error


class _Bounded:
    """A file of which no more is asked than it holds: what a pickle promises costs no memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = os.fstat(file.fileno()).st_size

    def read(self, size: int) -> bytes:
        if size > self._size:
            raise EOFError(f"{size} bytes are promised in a file of {self._size}")
        return self._file.read(size)

    def readline(self) -> bytes:
        return self._file.readline()


def _refusal(instruction: str) -> Callable[[Any], None]:
    def refuse(reader: Any) -> None:
        raise RefusedError(f"has the instruction {instruction}")

    return refuse


class _Reader(pickle._Unpickler):
    """The standard library's unpickler in Python, which unlike the one in C shows every step."""

    stack: list[Any]
    memo: dict[int, Any]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]
    read: Callable[[int], bytes]

    def load(self) -> Any:
        self._unfilled: dict[int, Any] = {}
        return super().load()

    def find_class(self, module: str, name: str) -> Any:
        return look_up(module, name)

    def _call(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        part = call(function, arguments)
        if function == Name("_reconstruct"):
            self._unfilled[id(part)] = part
        self.append(part)

    def _make(self) -> None:
        arguments, kind = self.stack.pop(), self.stack.pop()
        self.append(blank(kind, arguments))

    def _fill(self) -> None:
        state, part = self.stack.pop(), self.stack[-1]
        # Filling an array frees its memory, which others may use by now.
        if isinstance(part, np.ndarray) and self._unfilled.pop(id(part), None) is None:
            raise RefusedError("fills an array twice")
        fill(part, state)

    def _recall(self, number: int) -> None:
        part = self.memo[number]
        if id(part) in self._unfilled:
            raise RefusedError("uses an array that it has not filled yet")
        self.append(part)

    def _append(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise RefusedError(f"appends to a {type(self.stack[-1]).__name__}")
        self.stack[-1].extend(items)

    def _set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) not in (dict, AttributeDict):
            raise RefusedError(f"sets items of a {type(target).__name__}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str | bytes | int | float | None):
                raise RefusedError(f"has a {type(key).__name__} for a key")
            target[key] = value

    def _read_bytearray(self) -> None:
        self.append(bytearray(self.read(int.from_bytes(self.read(8), "little"))))

    def _read_dict(self) -> None:
        items = self.pop_mark()
        self.append({})
        self._set_items(items)

    dispatch: ClassVar[dict[int, Any]] = {
        **{ord(known.code): _refusal(known.name) for known in pickletools.opcodes},
        **{code[0]: pickle._Unpickler.dispatch[code[0]] for code in _PLAIN},
        pickle.REDUCE[0]: _call,
        pickle.NEWOBJ[0]: _make,
        pickle.BUILD[0]: _fill,
        pickle.GET[0]: lambda self: self._recall(int(self.readline())),
        pickle.BINGET[0]: lambda self: self._recall(self.read(1)[0]),
        pickle.LONG_BINGET[0]: lambda self: self._recall(int.from_bytes(self.read(4), "little")),
        pickle.APPEND[0]: lambda self: self._append([self.stack.pop()]),
        pickle.APPENDS[0]: lambda self: self._append(self.pop_mark()),
        pickle.SETITEM[0]: lambda self: self._set_items([self.stack.pop(-2), self.stack.pop()]),
        pickle.SETITEMS[0]: lambda self: self._set_items(self.pop_mark()),
        pickle.DICT[0]: _read_dict,
        pickle.BYTEARRAY8[0]: _read_bytearray,
    }


def _require_bounded(content: Any) -> None:
    """Refuse what would grow without bound, or never end, when it is written out or walked."""
    sizes: dict[int, int] = {}

    def size_of(value: Any, depth: int) -> int:
        if depth > DEEPEST_NESTING:
            raise RefusedError(f"nests more than {DEEPEST_NESTING} deep")
        if id(value) not in sizes:
            size = 1
            for item in _items(value):
                size += size_of(item, depth + 1) if isinstance(item, _CONTAINERS) else 1
                if size > MOST_ITEMS:
                    raise RefusedError(f"holds more than {MOST_ITEMS} items")
            sizes[id(value)] = size
        return sizes[id(value)]

    size_of(content, 0)


_CONTAINERS = (dict, list, tuple, np.ndarray, pd.DataFrame, pd.Series)


def _items(value: Any) -> Iterator[Any]:
    """Go through what a container holds; arrays of numbers hold nothing that matters here."""
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list | tuple):
        yield from value
    elif isinstance(value, np.ndarray) and value.dtype == object:
        yield from value.flat
    elif isinstance(value, pd.Series) and value.dtype == object:
        yield from value.to_numpy()
    elif isinstance(value, pd.DataFrame):
        for position in range(value.shape[1]):
            yield from _items(value.iloc[:, position])

"""Matrices, texts and cells of MATLAB v5 files.

Every length in such a file is checked against the bytes that are there; the reader of scipy (1.17)
trusts some of them, and a damaged file brings the process down.
"""

from __future__ import annotations

import math
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import MalformedDataError, MissingDataError, UserError

_HEADER_BYTES = 128
_V4_HEADER_BYTES = 20
_BYTE_ORDERS = {b"IM": "<", b"MI": ">"}

#: Codes of the data types in which values are stored (MAT-File Format, table 1-1).
_STORED_AS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8",
              13: "u8"}  # fmt: skip
_MATRIX, _COMPRESSED = 14, 15
_ENCODINGS = {1: "ascii", 2: "ascii", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}

#: Codes of the array classes (table 1-3); numbers are returned in the type of their class.
_CELL, _CHAR = 1, 4
_NUMBERS = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8",
            15: "u8"}  # fmt: skip
_COMPLEX, _LOGICAL = 0x0800, 0x0200

#: No latent codes and no block of responses unpack to more.
_LARGEST_VARIABLE_BYTES = 1 << 30
_DEEPEST_CELL = 8


def read_v5(path: str | os.PathLike[str], names: Iterable[str]) -> dict[str, Any]:
    """Read some variables of a v5 file.

    Parameters
    ----------
    path : path-like
        The file.
    names : iterable of str
        The variables; others may be there, of any class.

    Returns
    -------
    dict of str to numpy.ndarray or str
        Those of the variables that are there. Real numbers and logicals keep MATLAB's shape; a char
        row is a str, a char matrix an object array of rows, a cell an object array.

    Raises
    ------
    MissingDataError
        If there is no such file.
    MalformedDataError
        If it is no v5 file, is damaged, or holds a variable of another class under such a name.
    """
    path, wanted = Path(path), set(names)
    if not path.is_file():
        raise MissingDataError(f"there is no file {path}.")
    content = path.read_bytes()
    if told := _other_version(content[:_HEADER_BYTES]):
        raise MalformedDataError(
            f"{path} is a MATLAB {told} file; in MATLAB load it and save(file, "
            f"{', '.join(map(repr, sorted(wanted)))}, '-v7')."
        )
    try:
        order = _BYTE_ORDERS[content[_HEADER_BYTES - 2 : _HEADER_BYTES]]
        variables = {}
        for kind, body in _elements(memoryview(content)[_HEADER_BYTES:], order):
            if kind == _COMPRESSED:
                ((kind, body),) = _elements(_inflated(body), order)
            parts = _parts(kind, body, order)
            if (name := bytes(parts[2][1]).decode("ascii")) in wanted:
                variables[name] = _value(parts, order)
        return variables
    except UserError:
        raise
    except Exception as error:  # a damaged file can raise anything
        raise MalformedDataError(
            f"{path} is not a readable MATLAB v5 file ({type(error).__name__}: {error}); copy it "
            "again."
        ) from error


def _other_version(head: bytes) -> str:
    """Tell MATLAB's other formats by their first bytes: text, or v4's machine and type."""
    if head.startswith((b"MATLAB 7.3", b"\x89HDF")):
        return "v7.3"
    if len(head) >= _V4_HEADER_BYTES and not head.startswith(b"MATLAB"):
        kind, rows, columns, imaginary, name = struct.unpack_from("<5I", head)
        if kind < 5000 and rows and columns and imaginary < 2 and 1 < name < 64:
            return "v4"
    return ""


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Go through data elements: type, then bytes. Small ones hold both in their tag."""
    at = 0
    while at < len(data):
        kind, size = struct.unpack_from(f"{order}II", data, at)
        if kind >> 16:
            kind, size, start, end = kind & 0xFFFF, kind >> 16, at + 4, at + 8
            body = data[start : min(start + size, end)]
        else:
            body = data[at + 8 : at + 8 + size]
            end = at + 8 + size
            end += 0 if kind == _COMPRESSED else -size % 8  # elements begin at multiples of 8
        if len(body) != size:
            raise ValueError(f"{size} bytes are promised, {len(body)} are there")
        yield kind, body
        at = end


def _inflated(body: memoryview) -> memoryview:
    unpacker = zlib.decompressobj()
    content = unpacker.decompress(body, _LARGEST_VARIABLE_BYTES)
    if not unpacker.eof:
        raise ValueError(f"cut off, or more than {_LARGEST_VARIABLE_BYTES} bytes")
    return memoryview(content)


def _parts(kind: int, body: memoryview, order: str) -> list[tuple[int, memoryview]]:
    """Return the elements of a matrix: flags, dimensions, name, data."""
    if kind != _MATRIX:
        raise ValueError(f"an element of type {kind} in place of a matrix")
    return list(_elements(body, order))


def _value(parts: list[tuple[int, memoryview]], order: str, depth: int = 0) -> Any:
    if depth > _DEEPEST_CELL:
        raise ValueError(f"cells nested more than {_DEEPEST_CELL} deep")
    flags = int(_numbers(*parts[0], order)[0])
    shape = tuple(int(length) for length in _numbers(*parts[1], order))
    if min(shape) < 0 or len(shape) < 2:
        raise ValueError(f"a matrix of shape {shape}")
    array_class, data = flags & 0xFF, parts[3:]
    if array_class == _CELL:
        return _cell(data, shape, order, depth)
    if array_class == _CHAR:
        return _text(*data[0], shape, order)
    if array_class not in _NUMBERS or flags & _COMPLEX:
        raise ValueError(
            f"a variable of class {array_class}, flags {flags:#x}; real numbers, text and cells "
            "are read"
        )
    values = _shaped(_numbers(*data[0], order), shape).astype(_NUMBERS[array_class])
    return values.astype(bool) if flags & _LOGICAL else values


def _cell(
    data: list[tuple[int, memoryview]], shape: tuple[int, ...], order: str, depth: int
) -> NDArray[np.object_]:
    values = np.empty(len(data), dtype=object)
    for place, (kind, body) in enumerate(data):
        values[place] = _value(_parts(kind, body, order), order, depth + 1)
    return _shaped(values, shape)


def _text(kind: int, body: memoryview, shape: tuple[int, ...], order: str) -> Any:
    if 0 in shape:
        return ""
    encoding = _ENCODINGS[kind]
    if encoding in ("utf-16", "utf-32"):
        encoding += "-le" if order == "<" else "-be"
    letters = np.array(list(bytes(body).decode(encoding)), dtype=object)
    rows = ["".join(row) for row in _shaped(letters, shape).reshape(shape[0], -1)]
    return rows[0] if len(rows) == 1 else np.array(rows, dtype=object)


def _numbers(kind: int, body: memoryview, order: str) -> NDArray[Any]:
    return np.frombuffer(body, np.dtype(order + _STORED_AS[kind]))


def _shaped(values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    if len(values) != math.prod(shape):
        raise ValueError(f"{len(values)} values for a matrix of shape {shape}")
    return values.reshape(shape, order="F")

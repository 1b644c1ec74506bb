"""Write MATLAB v7.3 files (HDF5), the counterpart of `v73`.

Values go to disk as they come, so a struct array of any length needs the memory of one element;
texts in cells are kept, and equal ones are stored once in a file. The file carries no time of day:
the same values give the same bytes.
"""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5d, h5p, h5r, h5s, h5t
from numpy.typing import NDArray

from core.files import atomic_write
from neuro_data_analysis.matlab.values import row_of_cells

#: MATLAB's own text in front of the HDF5 data: 116 characters, then version and byte order.
_HEADER_BYTES = 512
_HEADER_TEXT_BYTES = 116
_HEADER_TAIL = bytes(8) + b"\x00\x02IM"

#: Arrays of this size and more are compressed, in one chunk, at MATLAB's level.
_COMPRESS_FROM_BYTES = 2000
_DEFLATE_LEVEL = 3

_CLASS_NAMES = {"float64": "double", "float32": "single", "bool": "logical"}
#: Stored integers that are another class: attribute ``MATLAB_int_decode``, the width in bytes.
_DECODED_WIDTHS = {"char": 2, "logical": 1}


@dataclass(frozen=True)
class Deflated:
    """A matrix of numbers that is compressed already, as another process can do.

    Attributes
    ----------
    dtype, shape
        Of the array in the file, which is the transposed matrix.
    content : bytes
        The array, deflated.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    content: bytes


def deflated(matrix: NDArray[Any]) -> NDArray[Any] | Deflated:
    """Compress a matrix that is large enough to be kept compressed."""
    if matrix.nbytes < _COMPRESS_FROM_BYTES:
        return matrix
    content = zlib.compress(np.ascontiguousarray(matrix.T).data, _DEFLATE_LEVEL)
    return Deflated(matrix.dtype, matrix.shape[::-1], content)


class MatlabV73Writer:
    """An open v7.3 file; made by `write_v73`.

    Python values become MATLAB values as follows: a mapping a struct, a str a char row, a list a
    1 × n cell, an object array a cell of its shape, a numeric or boolean array a matrix of its
    class, a number a 1 × 1 matrix, None an empty 0 × 0 double, `Deflated` what it was made of.
    Vectors become columns. Arrays and cells without elements keep their shape.

    Parameters
    ----------
    disk : DiskBelowHdf5
        Where to write.
    """

    def __init__(self, disk: DiskBelowHdf5) -> None:
        self._disk = disk
        self._file = h5py.File(disk, "w", userblock_size=_HEADER_BYTES)
        self._referenced = self._file.create_group("#refs#").id
        self._n_referenced = 0
        self._texts: dict[str, h5py.Reference] = {}

    def __enter__(self) -> MatlabV73Writer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(RuntimeError) if kind else nullcontext():  # the first error counts
            self._file.close()
        self._disk.raise_failure()

    def mark(self, attribute: str, value: str | bool | int) -> None:
        """Set an attribute of the root of the file, which MATLAB ignores."""
        self._file.attrs[attribute] = value

    def save(self, name: str, value: Any) -> None:
        """Write one variable."""
        self._write(self._file.id, name, value)
        self._disk.raise_failure()

    def save_struct_array(
        self, name: str, fields: Sequence[str], elements: Iterable[Mapping[str, Any] | None]
    ) -> None:
        """Write a 1 × n struct array, taking its elements one by one.

        Parameters
        ----------
        name : str
            Name of the variable.
        fields : sequence of str
            Fields of every element.
        elements : iterable of mapping or None
            Field → value. A field that is missing, and every field of an element that is None, is
            stored as MATLAB stores fields that were never assigned.
        """
        never_assigned = self._reference_to_never_assigned()
        rows = []
        for element in elements:
            values = {} if element is None else element
            rows.append(
                [
                    self._reference_to(values[field]) if field in values else never_assigned
                    for field in fields
                ]
            )
            self._disk.raise_failure()
        group = self._file.create_group(name)
        _set_class(group.id, "struct")
        _set_field_order(group.id, fields)
        columns = np.array(rows, dtype=object).reshape(len(rows), len(fields)).T
        for field, column in zip(fields, columns, strict=True):
            self._store(group.id, field, column[:, np.newaxis].astype(h5py.ref_dtype))

    def _write(self, parent: Any, name: str, value: Any) -> Any:
        """Write a value as a named child; return the id of what was made."""
        if isinstance(value, str):
            codes = np.frombuffer(value.encode("utf-16-le"), dtype=np.uint16)
            return self._write_matrix(parent, name, codes[np.newaxis, :], "char")
        if isinstance(value, Mapping):
            return self._write_struct(parent, name, value)
        if isinstance(value, list | tuple):
            return self._write_cell(parent, name, row_of_cells(value))
        if isinstance(value, Deflated):
            item = self._store(parent, name, value)
            _set_class(item, _class_of(value.dtype))
            return item
        matrix: NDArray[Any] = np.zeros((0, 0)) if value is None else np.asarray(value)
        if matrix.ndim < 2:  # MATLAB knows no vectors
            matrix = matrix.reshape(-1, 1)
        if matrix.dtype == object:
            return self._write_cell(parent, name, matrix)
        return self._write_matrix(parent, name, matrix, _class_of(matrix.dtype))

    def _write_struct(self, parent: Any, name: str, fields: Mapping[str, Any]) -> Any:
        group = h5py.h5g.create(parent, name.encode())
        _set_class(group, "struct")
        _set_field_order(group, list(fields))
        for field, value in fields.items():
            self._write(group, field, value)
        return group

    def _write_cell(self, parent: Any, name: str, cells: NDArray[np.object_]) -> Any:
        if cells.size == 0:
            return self._write_empty(parent, name, cells.shape, "cell")
        references = np.empty(cells.shape, dtype=h5py.ref_dtype)
        references.ravel()[:] = [
            self._reference_to_text(value) if isinstance(value, str) else self._reference_to(value)
            for value in cells.ravel().tolist()
        ]
        item = self._store(parent, name, references.T)
        _set_class(item, "cell")
        return item

    def _write_matrix(self, parent: Any, name: str, matrix: NDArray[Any], matlab_class: str) -> Any:
        if matrix.size == 0:
            return self._write_empty(parent, name, matrix.shape, matlab_class)
        stored = deflated(matrix.astype(np.uint8) if matlab_class == "logical" else matrix)
        item = self._store(parent, name, stored.T if isinstance(stored, np.ndarray) else stored)
        _set_class(item, matlab_class)
        return item

    def _write_empty(
        self, parent: Any, name: str, shape: tuple[int, ...], matlab_class: str
    ) -> Any:
        item = self._store(parent, name, np.array(shape, dtype=np.uint64))
        _set_class(item, matlab_class)
        _set_attribute(item, b"MATLAB_empty", np.array(1, dtype=np.uint8))
        return item

    def _store(self, parent: Any, name: str, stored: NDArray[Any] | Deflated) -> Any:
        in_file, in_memory = _types_of(stored.dtype)
        space, layout = _space_of(stored.shape), _layout_of(stored)
        item = h5d.create(parent, name.encode(), in_file, space, layout)
        if isinstance(stored, Deflated):
            item.write_direct_chunk((0,) * len(stored.shape), stored.content)
        else:
            item.write(h5s.ALL, h5s.ALL, np.ascontiguousarray(stored), in_memory)
        return item

    def _reference_to(self, value: Any) -> h5py.Reference:
        self._n_referenced += 1
        return _reference(self._write(self._referenced, f"{self._n_referenced:x}", value))

    def _reference_to_text(self, text: str) -> h5py.Reference:
        if text not in self._texts:
            self._texts[text] = self._reference_to(text)
        return self._texts[text]

    def _reference_to_never_assigned(self) -> h5py.Reference:
        self._n_referenced += 1
        name = f"{self._n_referenced:x}"
        return _reference(self._write_empty(self._referenced, name, (0, 0), "canonical empty"))


@contextmanager
def write_v73(path: str | os.PathLike[str], note: str) -> Iterator[MatlabV73Writer]:
    """Open a v7.3 file for writing; it takes its name only when the block ends well.

    Parameters
    ----------
    path : path-like
        The file; its folder is made when it does not exist.
    note : str
        Goes into the text at the head of the file, where MATLAB writes platform and date; cut to
        what fits (97 characters).

    Yields
    ------
    MatlabV73Writer

    Raises
    ------
    CannotWriteError
        If the file cannot be written; an earlier file stays as it was.
    """
    with atomic_write(path) as unfinished, unfinished.open("w+b", buffering=0) as file:
        with MatlabV73Writer(DiskBelowHdf5(file)) as writer:
            yield writer
        file.seek(0)
        file.write(_header(note))


class DiskBelowHdf5(io.RawIOBase):
    """The file that HDF5 writes to, which never fails as long as HDF5 is looking.

    HDF5 cannot close a file that it failed to write, and brings the process down when it ends. So
    the first failure (a full disk) is kept for `raise_failure`, and what follows is dropped.

    Parameters
    ----------
    file : io.FileIO
        Open for writing and reading.
    """

    def __init__(self, file: io.FileIO) -> None:
        super().__init__()
        self._file = file
        self._position = self._size = self._place = 0
        self._failure: OSError | None = None

    def raise_failure(self) -> None:
        """Raise what went wrong, if anything did."""
        if self._failure is not None:
            raise self._failure

    def write(self, data: Any) -> int:
        """Write all bytes at the present position."""
        rest = memoryview(data)
        length = len(rest)
        try:
            if self._place != self._position:
                self._file.seek(self._position)
            while rest and self._failure is None:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self._failure = error
        self._position += length
        self._place = self._position
        self._size = max(self._size, self._position)
        return length

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer from the present position; with zeros where nothing could be written."""
        view = memoryview(buffer).cast("B")
        self._file.seek(self._position)
        found = self._file.readinto(view) or 0
        view[found:] = bytes(len(view) - found)
        self._position += len(view)
        self._place = -1
        return len(view)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to an offset from the start, the present position or the end."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        """Return the present position."""
        return self._position

    def truncate(self, size: int | None = None) -> int:
        """Set the length of the file."""
        self._size = self._position if size is None else size
        try:
            if self._failure is None:
                self._file.truncate(self._size)
        except OSError as error:
            self._failure = error
        return self._size

    def flush(self) -> None:
        """Do nothing: the file has no buffer."""


def _header(note: str) -> bytes:
    text = f"MATLAB 7.3 MAT-file, {note}".encode("ascii", "replace")
    return text[:_HEADER_TEXT_BYTES].ljust(_HEADER_TEXT_BYTES) + _HEADER_TAIL


@cache
def _class_of(dtype: np.dtype[Any]) -> str:
    return _CLASS_NAMES.get(dtype.name, dtype.name)


def _set_class(item: Any, matlab_class: str) -> None:
    for name, value in _class_attributes(matlab_class):
        _set_attribute(item, name, value)


def _set_field_order(struct: Any, fields: Sequence[str]) -> None:
    # HDF5 sorts the members of a group; MATLAB keeps its own order as arrays of single characters.
    names = np.empty(len(fields), dtype=h5py.vlen_dtype(np.dtype("S1")))
    for position, field in enumerate(fields):
        names[position] = np.frombuffer(field.encode(), dtype="S1")
    _set_attribute(struct, b"MATLAB_fields", names)


def _set_attribute(item: Any, name: bytes, value: NDArray[Any]) -> None:
    in_file, in_memory = _types_of(value.dtype)
    h5a.create(item, name, in_file, _space_of(value.shape)).write(value, in_memory)


# What describes arrays is made once: a file holds hundreds of thousands of small ones.
@cache
def _class_attributes(matlab_class: str) -> tuple[tuple[bytes, NDArray[Any]], ...]:
    name = (b"MATLAB_class", np.array(matlab_class.encode()))
    if matlab_class not in _DECODED_WIDTHS:
        return (name,)
    return name, (b"MATLAB_int_decode", np.array(_DECODED_WIDTHS[matlab_class], dtype=np.int32))


def _types_of(dtype: np.dtype[Any]) -> tuple[Any, Any]:
    """Return how values are kept in the file and in memory; that of objects is in `metadata`."""
    return _types_of_objects(dtype) if dtype.hasobject else _types_of_numbers(dtype)


def _types_of_objects(dtype: np.dtype[Any]) -> tuple[Any, Any]:
    return h5t.py_create(dtype, logical=True), h5t.py_create(dtype)


_types_of_numbers = cache(_types_of_objects)


def _layout_of(stored: NDArray[Any] | Deflated) -> Any:
    if isinstance(stored, Deflated):
        return _deflated_layout(stored.shape)
    return _layout(h5d.COMPACT if stored.nbytes < _COMPRESS_FROM_BYTES else h5d.CONTIGUOUS)


@cache
def _layout(kind: int) -> Any:
    layout = h5p.create(h5p.DATASET_CREATE)
    layout.set_obj_track_times(False)
    layout.set_layout(kind)
    return layout


@lru_cache(maxsize=1024)
def _deflated_layout(shape: tuple[int, ...]) -> Any:
    layout = _layout(h5d.CONTIGUOUS).copy()
    layout.set_chunk(shape)
    layout.set_deflate(_DEFLATE_LEVEL)
    return layout


@lru_cache(maxsize=1024)
def _space_of(shape: tuple[int, ...]) -> Any:
    return h5s.create_simple(shape) if shape else h5s.create(h5s.SCALAR)


def _reference(item: Any) -> h5py.Reference:
    return h5r.create(item, b".", h5r.OBJECT)

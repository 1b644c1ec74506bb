"""Values of MATLAB v7.3 files (HDF5), decoded one at a time.

MATLAB stores arrays transposed, cells as arrays of references, structs as groups, and an empty
array as its shape. Opening a file reads nothing but its head; a value is decoded when asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.sparse

from core.errors import MalformedDataError, MissingDataError, UserError

#: HDF5 keeps what it has read of a file's structure, by default 32 MiB by its own count, which is
#: ten times that in memory; a value that is read once needs none of it again.
_METADATA_CACHE_BYTES = 1 << 20

#: Classes whose value lives in MATLAB's object store, which no reader outside MATLAB can rebuild.
_OPAQUE_CLASSES = frozenset(
    {"string", "table", "timetable", "datetime", "categorical", "FileWrapper__"}
)


#: A value that takes so many times its place in the file was not written by MATLAB, whose only
#: filter, deflate, reaches 1032.
_LARGEST_RATIO = 2000
_MANY_VALUES = 100_000


class Struct(Mapping[str, Any]):
    """One MATLAB struct: field name → value, each decoded at every look-up.

    Parameters
    ----------
    file : h5py.File
        Where the struct is stored.
    fields : mapping of str to h5py object or reference
        The undecoded fields.
    """

    def __init__(self, file: h5py.File, fields: Mapping[str, Any]) -> None:
        self._file = file
        self._fields = fields

    def __getitem__(self, field: str) -> Any:
        return decode(self._stored(field))

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def shape(self, field: str) -> tuple[int, ...]:
        """Return the MATLAB shape of a field without reading it."""
        stored = self._stored(field)
        if isinstance(stored, h5py.Group):
            return (1, 1)
        return _shape_of_empty(stored) if _is_empty(stored) else stored.shape[::-1]

    def _stored(self, field: str) -> h5py.Dataset | h5py.Group:
        with reading(self._file.filename):
            stored = self._fields.get(field)
            if isinstance(stored, h5py.Reference):
                stored = self._file[stored]
        if stored is None:
            raise KeyError(field)
        return stored


class StructArray(Sequence[Struct]):
    """A MATLAB struct array as a flat sequence of structs, in MATLAB's (column-major) order.

    Row arrays (1 × n), column arrays (n × 1) and a single struct read alike.

    Parameters
    ----------
    group : h5py.Group
        Where the array is stored.
    """

    def __init__(self, group: h5py.Group) -> None:
        self._group = group
        self._is_single = not _is_struct_array(group)
        self._references = (
            {} if self._is_single else {name: group[name][()].ravel() for name in group}
        )
        lengths = {len(references) for references in self._references.values()} or {1}
        if len(lengths) > 1:
            raise MalformedDataError(
                f"{group.file.filename}: the fields of struct array {group.name} differ in length "
                f"({sorted(lengths)}); the file is damaged."
            )
        self._length = lengths.pop()

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"element {index} of a struct array of {len(self)}")
        if self._is_single:
            return Struct(self._group.file, self._group)
        fields = {name: references[index] for name, references in self._references.items()}
        return Struct(self._group.file, fields)


class Opaque(str):
    """Stands for a value that only MATLAB can rebuild; reads as the name of its class."""


def open_v73(path: str | os.PathLike[str]) -> h5py.File:
    """Open a MATLAB v7.3 file for reading, without locking it.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    h5py.File
        Close it when done; the values of this module read from it.

    Raises
    ------
    MissingDataError
        If there is no such file.
    MalformedDataError
        If it is an older MAT-file, no MAT-file, or cut off.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingDataError(f"there is no file {path}.")
    try:
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        raise MalformedDataError(_why_not_v73(path, error)) from error
    cache = file.id.get_mdc_config()
    cache.set_initial_size = True
    cache.initial_size = cache.min_size = cache.max_size = _METADATA_CACHE_BYTES
    file.id.set_mdc_config(cache)
    return file


@contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[None]:
    """Say of whatever goes wrong in the block that the file is damaged; h5py raises anything.

    Raises
    ------
    MalformedDataError
        If the block raises anything but a `UserError`.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise MalformedDataError(f"{path} is damaged: {error}. Copy the file again.") from error


def decode(item: h5py.Dataset | h5py.Group) -> Any:
    """Decode one MATLAB value.

    Parameters
    ----------
    item : h5py.Dataset or h5py.Group
        Where the value is stored.

    Returns
    -------
    numpy.ndarray, str, Struct, StructArray, scipy.sparse.csc_array or Opaque
        Numbers and logicals keep MATLAB's shape, singleton axes included; an empty array keeps the
        shape it was stored with. A char row is a str, a char matrix an object array of rows, a cell
        an object array of decoded values.

    Raises
    ------
    MalformedDataError
        If the stored data cannot be read (a file damaged in the middle).
    """
    try:
        return _decode(item)
    except UserError:
        raise
    except Exception as error:
        raise MalformedDataError(
            f"{item.file.filename} is damaged at {item.name}: {error}. Copy the file again."
        ) from error


def _decode(item: h5py.Dataset | h5py.Group) -> Any:
    if isinstance(item, h5py.Group):
        return _decode_group(item)
    matlab_class = _matlab_class(item)
    if _is_empty(item):
        return _decode_empty(matlab_class, item)
    if "MATLAB_object_decode" in item.attrs or matlab_class in _OPAQUE_CLASSES:
        return Opaque(matlab_class)
    if item.size > _MANY_VALUES:
        stored_bytes = item.id.get_storage_size()
        if item.nbytes > _LARGEST_RATIO * stored_bytes:
            raise ValueError(f"{item.nbytes} bytes are promised, {stored_bytes} are stored")
    if item.dtype == h5py.ref_dtype:
        return _decode_references(item)
    values = item[()]
    if matlab_class == "char":
        return _text(values)
    if matlab_class == "logical":
        values = values.astype(bool)
    if values.dtype.names == ("real", "imag"):
        values = values["real"] + 1j * values["imag"]
    return np.asarray(values).T


def _decode_group(group: h5py.Group) -> Any:
    if "MATLAB_sparse" in group.attrs:
        rows = int(group.attrs["MATLAB_sparse"])
        columns = len(group["jc"]) - 1
        if "data" not in group:
            return scipy.sparse.csc_array((rows, columns))
        parts = (group["data"][()], group["ir"][()], group["jc"][()])
        matrix = scipy.sparse.csc_array(parts, shape=(rows, columns))
        matrix.check_format(full_check=True)  # indices out of range would reach foreign memory
        return matrix
    return StructArray(group) if _is_struct_array(group) else Struct(group.file, group)


def _decode_references(item: h5py.Dataset) -> np.ndarray:
    references = item[()]
    cells = np.empty(references.shape, dtype=object)
    for position, reference in np.ndenumerate(references):
        cells[position] = decode(item.file[reference])
    return cells.T


def _decode_empty(matlab_class: str, item: h5py.Dataset) -> Any:
    if matlab_class == "char":
        return ""
    kinds = {"cell": object, "struct": object, "logical": bool}
    shape = _shape_of_empty(item)
    if 0 not in shape:
        raise ValueError(f"an empty array of shape {shape}")
    return np.zeros(shape, dtype=kinds.get(matlab_class, np.float64))


def _text(codes: np.ndarray) -> str | np.ndarray:
    rows = codes.T if codes.ndim == 2 else codes.reshape(1, -1)
    texts = [row.astype("<u2").tobytes().decode("utf-16-le") for row in rows]
    return texts[0] if len(texts) == 1 else np.array(texts, dtype=object)


def _matlab_class(item: h5py.Dataset | h5py.Group) -> str:
    stored = item.attrs.get("MATLAB_class", b"")
    return stored.decode() if isinstance(stored, bytes) else str(stored)


def _is_empty(item: h5py.Dataset) -> bool:
    return bool(item.attrs.get("MATLAB_empty", 0))


def _shape_of_empty(item: h5py.Dataset) -> tuple[int, ...]:
    return tuple(int(length) for length in np.ravel(item[()]))


def _is_struct_array(group: h5py.Group) -> bool:
    # A struct array keeps one dataset of references per field, which (unlike a cell) has no class.
    fields = [group[name] for name in group]
    return bool(fields) and all(
        isinstance(field, h5py.Dataset)
        and field.dtype == h5py.ref_dtype
        and "MATLAB_class" not in field.attrs
        for field in fields
    )


def _why_not_v73(path: Path, error: OSError) -> str:
    head = path.read_bytes()[:128]
    if head.startswith(b"MATLAB 5.0"):
        return (
            f"{path} is a MATLAB v5 file, not v7.3. In MATLAB: load it and "
            "save(file, 'BFEStats', '-v7.3')."
        )
    if head.startswith(b"MATLAB 7.3") or head.startswith(b"\x89HDF"):
        return f"{path} is a MATLAB v7.3 file that cannot be opened; it may be cut off ({error})."
    return f"{path} is not a MATLAB v7.3 file (it starts with {head[:16]!r})."

"""Values of MATLAB v7.3 files (HDF5), decoded one at a time.

MATLAB stores arrays transposed, cells as arrays of references, structs as groups, and an empty
array as its shape. Opening a file reads nothing but its head; a value is decoded when asked for.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy
from h5py import h5a, h5d, h5g, h5r, h5t

from core.errors import MalformedDataError, MissingDataError, UserError
from core.reading.hdf5 import (
    MOST_BYTES,
    bounded_memory,
    file_of,
    member,
    names_in,
    read_array,
)
from core.reading.plain_hdf5 import PlainArrays

#: HDF5 keeps what it has read of a file's structure, by default 32 MiB by its own count, which is
#: ten times that in memory; a value that is read once needs none of it again.
_METADATA_CACHE_BYTES = 1 << 20

#: Classes that can be rebuilt outside MATLAB; none is written by other programs.
_NUMBERS = frozenset(
    {"double", "single", *(f"{sign}int{8 * n}" for sign in ("", "u") for n in (1, 2, 4, 8))}
)
_CLASSES = _NUMBERS | {"logical", "char", "cell", "struct", "canonical empty", ""}

#: What to do in MATLAB about values that only MATLAB can rebuild.
_ADVICE = {
    "string": "convert it with char or cellstr",
    "table": "convert it with table2struct",
    "timetable": "convert it with timetable2table and table2struct",
    "categorical": "convert it with cellstr",
    "datetime": "convert it with datestr",
    "function_handle": "convert it with func2str",
}

#: What one value may take, its parts and what they refer to together: bytes as doubles, and items
#: that are stored one by one. Attributes and descriptions of arrays are far smaller.
MOST_ITEMS = 30_000
_LARGEST_ATTRIBUTE = 4096
_MOST_AXES = 32

#: Beginning of the name of a class: what is cut off was none that is known.
_CLASS_NAME = np.dtype("S64")
_CLASS_NAME_IN_MEMORY = h5t.py_create(_CLASS_NAME, logical=True)


class _Budget:
    """What is left for one value."""

    def __init__(self) -> None:
        self.bytes, self.items = MOST_BYTES, MOST_ITEMS

    def spend(self, n_bytes: int = 0, n_items: int = 0) -> None:
        self.bytes -= n_bytes
        self.items -= n_items
        if self.bytes < 0 or self.items < 0:
            raise ValueError(
                f"it holds more than {MOST_BYTES} bytes or {MOST_ITEMS} parts, as no value does"
            )


class Struct(Mapping[str, Any]):
    """One MATLAB struct: field name → value, each decoded at every look-up.

    Parameters
    ----------
    place : h5py.h5g.GroupID
        Where the struct, or the array that it is an element of, is stored.
    references : mapping of str to h5py.Reference, optional
        The fields, of an element of a struct array; by default they are the members of the group.
    """

    def __init__(
        self, place: h5g.GroupID, references: Mapping[str, h5r.Reference] | None = None
    ) -> None:
        self._place = place
        self._references = references

    def __getitem__(self, field: str) -> Any:
        stored = self._stored(field)
        if stored is None:
            raise KeyError(field)
        return _decoded(stored, field, self._place)

    def __iter__(self) -> Iterator[str]:
        return iter(names_in(self._place) if self._references is None else self._references)

    def __len__(self) -> int:
        if self._references is not None:
            return len(self._references)
        with reading(file_of(self._place)):
            return self._place.get_num_objs()

    def has_struct(self, field: str) -> bool:
        """Tell whether a field is a struct of fields, without reading it."""
        return isinstance(self._stored(field), h5g.GroupID)

    def shape(self, field: str) -> tuple[int, ...]:
        """Return the MATLAB shape of a field without reading it; of a struct, that of one."""
        stored = self._stored(field)
        if not isinstance(stored, h5d.DatasetID):
            return (1, 1)
        with reading(file_of(self._place)):
            return _shape_of_empty(stored) if _is_empty(stored) else stored.shape[::-1]

    def _stored(self, field: str) -> Any:
        """Return the id of what is stored of a field, None if there is no such field."""
        with reading(file_of(self._place)):
            if self._references is None:
                return member(self._place, field)
            reference = self._references.get(field)
            return None if reference is None else h5r.dereference(reference, self._place)


class StructArray(Sequence[Struct]):
    """A MATLAB struct array as a flat sequence of structs, in MATLAB's (column-major) order.

    Row arrays (1 × n), column arrays (n × 1) and a single struct read alike.

    Parameters
    ----------
    group : h5py.h5g.GroupID
        Where the array is stored.
    """

    def __init__(self, group: h5g.GroupID) -> None:
        self._group = group
        self._references: dict[str, Any] = {}
        budget = _Budget()
        if _is_struct_array(group):
            for name in names_in(group):
                self._references[name] = read_array(member(group, name), budget.spend).ravel()
                budget.spend(n_items=self._references[name].size)
        lengths = {len(references) for references in self._references.values()} or {1}
        if len(lengths) > 1:
            raise MalformedDataError(
                f"{file_of(group)}: the fields of a struct array differ in length "
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
        fields = {name: references[index] for name, references in self._references.items()}
        return Struct(self._group, fields or None)


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
        with bounded_memory():
            file = h5py.File(path, "r", locking=False)
    except OSError as error:
        raise MalformedDataError(_why_not_v73(path, error)) from error
    cache = file.id.get_mdc_config()
    cache.set_initial_size = True
    cache.initial_size = cache.min_size = cache.max_size = _METADATA_CACHE_BYTES
    file.id.set_mdc_config(cache)
    return file


@contextmanager
def reading(path: str | os.PathLike[str], place: str = "") -> Iterator[None]:
    """Say of whatever goes wrong in the block that the file is damaged; h5py raises anything.

    Parameters
    ----------
    path : path-like
        The file.
    place : str, optional
        What of it is read.

    Raises
    ------
    MalformedDataError
        If the block raises anything but a `UserError`.
    """
    try:
        with bounded_memory():
            yield
    except UserError:
        raise
    except Exception as error:
        at = f" at {place}" if place else ""
        raise MalformedDataError(f"{path} is damaged{at}: {error}. Copy the file again.") from error


def variable(file: h5py.File, name: str) -> Any:
    """Decode a variable of a file.

    Parameters
    ----------
    file : h5py.File
        An open file, see `open_v73`.
    name : str
        Name of the variable.

    Returns
    -------
    numpy.ndarray, str, Struct, StructArray or scipy.sparse.csc_array
        Numbers and logicals keep MATLAB's shape, singleton axes included; an empty array keeps the
        shape it was stored with. A char row is a str, a char matrix an object array of rows, a cell
        an object array of decoded values. A struct without fields has none.

    Raises
    ------
    MalformedDataError
        If there is none, or the stored data cannot be read (a file damaged in the middle), lie in
        another file, are more than a value can be (`MOST_BYTES`, `MOST_ITEMS`), or are of a class
        that only MATLAB can rebuild.
    """
    stored = member(file.id, name)
    if stored is None:
        raise MalformedDataError(f"{file.filename} holds no variable {name}.")
    return _decoded(stored, name, file.id)


def _decoded(item: Any, name: str, group: h5g.GroupID) -> Any:
    """Decode one value, which a group of its file holds or refers to."""
    with reading(file_of(group), name):
        return _decode(item, name, _Budget())


def _decode(item: Any, name: str, budget: _Budget) -> Any:
    matlab_class = _matlab_class(item)
    has_more = h5a.get_num_attrs(item) > bool(matlab_class)  # to be asked for one by one
    if matlab_class not in _CLASSES or (has_more and h5a.exists(item, b"MATLAB_object_decode")):
        raise MalformedDataError(_only_matlab_reads(item, matlab_class, name))
    if isinstance(item, h5g.GroupID):
        return _decode_group(item, matlab_class, budget)
    if has_more and _is_empty(item):
        return _decode_empty(item, matlab_class, budget)
    if item.get_type().equal(h5t.STD_REF_OBJ):
        return _decode_references(item, name, budget)
    values = read_array(item, budget.spend)
    if matlab_class == "char":
        return _text(values, budget)
    return _numbers(values, matlab_class).T


def _only_matlab_reads(item: Any, matlab_class: str, name: str) -> str:
    advice = _ADVICE.get(matlab_class, "convert it to numbers, char, cell or struct")
    return (
        f"{file_of(item)}: field {name!r} is a MATLAB {matlab_class[:40] or 'object'} "
        f"{'' if matlab_class in ('function_handle', 'table') else 'object'}".rstrip()
        + f", which only MATLAB can read; there, {advice} and save again."
    )


def _matlab_class(item: Any) -> str:
    """Return the class that is told of a stored value, empty if none is."""
    if not h5a.exists(item, b"MATLAB_class"):
        return ""
    stored = h5a.open(item, b"MATLAB_class")
    kind, n_bytes = stored.get_type(), stored.get_storage_size()
    if not isinstance(kind, h5t.TypeStringID) or kind.is_variable_str():
        raise ValueError("its MATLAB_class is no text of fixed length, as MATLAB's is")
    if kind.get_size() != n_bytes or n_bytes > _LARGEST_ATTRIBUTE:  # another buffer would overflow
        raise ValueError(f"its MATLAB_class has {n_bytes} bytes")
    name = np.empty((), _CLASS_NAME)
    stored.read(name, _CLASS_NAME_IN_MEMORY)
    return name.item().decode("utf-8", "replace")


def _number(item: Any, attribute: bytes) -> int:
    """Return a whole number that is an attribute, 0 if there is none."""
    if not h5a.exists(item, attribute):
        return 0
    stored = h5a.open(item, attribute)
    if not 0 < stored.get_storage_size() <= _LARGEST_ATTRIBUTE:
        raise ValueError(f"an attribute of {stored.get_storage_size()} bytes")
    numbers = np.empty(stored.shape, np.int64)
    stored.read(numbers)
    return int(numbers.flat[0])


def _numbers(values: Any, matlab_class: str) -> np.ndarray:
    """Return stored numbers as what they are: truth values, complex or real."""
    if matlab_class == "logical":
        return values.astype(bool)
    if values.dtype.names == ("real", "imag"):
        return values["real"] + 1j * values["imag"]
    return values


def _decode_group(group: h5g.GroupID, matlab_class: str, budget: _Budget) -> Any:
    if h5a.exists(group, b"MATLAB_sparse"):
        rows = _number(group, b"MATLAB_sparse")
        budget.spend(8 * rows)
        ends = read_array(member(group, "jc"), budget.spend)
        if member(group, "data") is None:
            return scipy.sparse.csc_array((rows, len(ends) - 1))
        values = _numbers(read_array(member(group, "data"), budget.spend), matlab_class)
        parts = (values, read_array(member(group, "ir"), budget.spend), ends)
        matrix = scipy.sparse.csc_array(parts, shape=(rows, len(ends) - 1))
        matrix.check_format(full_check=True)  # indices out of range would reach foreign memory
        return matrix
    return StructArray(group) if _is_struct_array(group) else Struct(group)


def _decode_references(item: h5d.DatasetID, name: str, budget: _Budget) -> np.ndarray:
    references = cache(lambda: read_array(item, budget.spend).ravel())
    budget.spend(n_items=math.prod(item.shape))
    cells = np.empty(math.prod(item.shape), dtype=object)
    plain = PlainArrays(item)
    for position in range(cells.size):
        numbers = plain[position]
        if numbers is None:
            stored = h5r.dereference(references()[position], item)
            cells[position] = _decode(stored, name, budget)
        else:
            budget.spend(numbers.nbytes)
            cells[position] = numbers.T
    return cells.reshape(item.shape).T


def _decode_empty(item: h5d.DatasetID, matlab_class: str, budget: _Budget) -> Any:
    shape = _shape_of_empty(item)
    if matlab_class == "struct" and 0 not in shape:  # structs without fields
        budget.spend(n_items=math.prod(shape))
        structs = np.array([{} for _ in range(math.prod(shape))], dtype=object)
        return structs[0] if structs.size == 1 else structs.reshape(shape)
    if 0 not in shape:
        raise ValueError(f"an empty array of shape {shape}")
    if matlab_class == "char":
        return ""
    kinds = {"cell": object, "struct": object, "logical": bool}
    return np.zeros(shape, dtype=kinds.get(matlab_class, np.float64))


def _text(codes: np.ndarray, budget: _Budget) -> str | np.ndarray:
    rows = codes.T if codes.ndim == 2 else codes.reshape(1, -1)
    budget.spend(n_items=len(rows))
    texts = [row.astype("<u2").tobytes().decode("utf-16-le", "replace") for row in rows]
    return texts[0] if len(texts) == 1 else np.array(texts, dtype=object)


def _is_empty(item: h5d.DatasetID) -> bool:
    return _number(item, b"MATLAB_empty") != 0


def _shape_of_empty(item: h5d.DatasetID) -> tuple[int, ...]:
    if math.prod(item.shape) > _MOST_AXES:
        raise ValueError(f"an array of {math.prod(item.shape)} axes")
    return tuple(int(length) for length in np.ravel(read_array(item)))


def _is_struct_array(group: h5g.GroupID) -> bool:
    # A struct array keeps one dataset of references per field, which (unlike a cell) has no class.
    names = names_in(group)
    return bool(names) and all(_is_column(member(group, name)) for name in names)


def _is_column(field: Any) -> bool:
    is_array = isinstance(field, h5d.DatasetID) and field.dtype == h5py.ref_dtype
    return is_array and not h5a.exists(field, b"MATLAB_class")


def _why_not_v73(path: Path, error: OSError) -> str:
    head = path.read_bytes()[:128]
    if head.startswith(b"MATLAB 5.0"):
        return (
            f"{path} is a MATLAB v5 file, not v7.3. In MATLAB: load it and "
            "save(file, names of the variables, '-v7.3')."
        )
    if head.startswith(b"MATLAB 7.3") or head.startswith(b"\x89HDF"):
        return f"{path} is a MATLAB v7.3 file that cannot be opened; it may be cut off ({error})."
    return f"{path} is not a MATLAB v7.3 file (it starts with {head[:16]!r})."

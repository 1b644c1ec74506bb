"""Values of MATLAB v7.3 files (HDF5), decoded one at a time.

MATLAB stores arrays transposed, cells as arrays of references, structs as groups, and an empty
array as its shape. Opening a file reads nothing but its head; a value is decoded when asked for.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy
from h5py import h5a, h5d, h5r, h5t

from core.errors import MalformedDataError, MissingDataError, UserError
from core.reading.hdf5 import (
    MOST_BYTES,
    bounded_memory,
    is_on_heap,
    member,
    names_in,
    read_array,
    read_numbers,
)

#: HDF5 keeps what it has read of a file's structure, by default 32 MiB by its own count, which is
#: ten times that in memory; a value that is read once needs none of it again.
_METADATA_CACHE_BYTES = 1 << 20

#: Classes that can be rebuilt outside MATLAB; none is written by other programs.
_NUMBERS = frozenset(
    {"double", "single", *(f"{sign}int{8 * n}" for sign in ("", "u") for n in (1, 2, 4, 8))}
)
_PLAIN_CLASSES = {name.encode(): name for name in (*_NUMBERS, "logical", "char")}
_SHORT_TEXT = h5t.py_create(np.dtype("S16"), logical=True)
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


class _Budget:
    """What is left for one value."""

    def __init__(self) -> None:
        self.bytes, self.items = MOST_BYTES, MOST_ITEMS

    def spend_array(self, n_values: int, dtype: np.dtype[Any]) -> None:
        """Count an array as one part and its values, small ones as if they were doubles."""
        self.spend(n_values * max(1, dtype.itemsize // 8))

    def spend(self, n_values: int = 0, n_items: int = 1) -> None:
        self.bytes -= 8 * n_values
        self.items -= n_items
        if self.bytes < 0 or self.items < 0:
            raise ValueError(
                f"it holds more than {MOST_BYTES} bytes or {MOST_ITEMS} parts, as no value does"
            )


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
        return decode(self._stored(field), field)

    def __iter__(self) -> Iterator[str]:
        is_group = isinstance(self._fields, h5py.Group)
        return iter(names_in(self._fields) if is_group else self._fields)

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
            if isinstance(self._fields, h5py.Group):
                stored = member(self._fields, field)
            else:
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
        self._references = {} if self._is_single else _references_of(group)
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
def reading(path: str | os.PathLike[str]) -> Iterator[None]:
    """Say of whatever goes wrong in the block that the file is damaged; h5py raises anything.

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
        raise MalformedDataError(f"{path} is damaged: {error}. Copy the file again.") from error


def variable(file: h5py.File, name: str) -> Any:
    """Decode a variable of a file, see `decode`; `MalformedDataError` if there is none."""
    stored = member(file, name)
    if stored is None:
        raise MalformedDataError(f"{file.filename} holds no variable {name}.")
    return decode(stored, name)


def decode(item: h5py.Dataset | h5py.Group, name: str = "") -> Any:
    """Decode one MATLAB value.

    Parameters
    ----------
    item : h5py.Dataset or h5py.Group
        Where the value is stored.
    name : str, optional
        What to call it in errors.

    Returns
    -------
    numpy.ndarray, str, Struct, StructArray or scipy.sparse.csc_array
        Numbers and logicals keep MATLAB's shape, singleton axes included; an empty array keeps the
        shape it was stored with. A char row is a str, a char matrix an object array of rows, a cell
        an object array of decoded values. A struct without fields has none.

    Raises
    ------
    MalformedDataError
        If the stored data cannot be read (a file damaged in the middle), lie in another file, are
        more than a value can be (`MOST_BYTES`, `MOST_ITEMS`), or are of a class that only MATLAB
        can rebuild.
    """
    try:
        with bounded_memory():
            return _decode(item, name or str(item.name), _Budget())
    except UserError:
        raise
    except Exception as error:
        raise MalformedDataError(
            f"{item.file.filename} is damaged at {item.name}: {error}. Copy the file again."
        ) from error


def _decode(item: h5py.Dataset | h5py.Group, name: str, budget: _Budget) -> Any:
    budget.spend()
    matlab_class = _matlab_class(item)
    _require_known_class(item, matlab_class, name)
    if isinstance(item, h5py.Group):
        return _decode_group(item, matlab_class, budget)
    if _is_empty(item):
        return _decode_empty(matlab_class, item, budget)
    values = _read(item, budget)
    if item.dtype == h5py.ref_dtype:
        return _decode_references(item, values, name, budget)
    return _of_class(values, matlab_class, budget)


def _require_known_class(item: h5py.Dataset | h5py.Group, matlab_class: str, name: str) -> None:
    if matlab_class not in _CLASSES or "MATLAB_object_decode" in item.attrs:
        advice = _ADVICE.get(matlab_class, "convert it to numbers, char, cell or struct")
        raise MalformedDataError(
            f"{item.file.filename}: field {name!r} is a MATLAB {matlab_class[:40] or 'object'} "
            f"{'' if matlab_class in ('function_handle', 'table') else 'object'}".rstrip()
            + f", which only MATLAB can read; there, {advice} and save again."
        )


def _read(item: h5py.Dataset, budget: _Budget) -> Any:
    budget.spend_array(item.size, item.dtype)
    return read_array(item)


def _of_class(values: Any, matlab_class: str, budget: _Budget) -> Any:
    """Return what is stored in MATLAB's shape, as what it is: text, or numbers of a kind."""
    if matlab_class == "char":
        return _text(values, budget)
    return np.asarray(_numbers_of_class(values, matlab_class)).T


def _numbers_of_class(values: Any, matlab_class: str) -> Any:
    """Return stored numbers as what they are: truth values, complex or real."""
    if matlab_class == "logical":
        return values.astype(bool)
    if values.dtype.names == ("real", "imag"):
        return values["real"] + 1j * values["imag"]
    return values


def _decode_group(group: h5py.Group, matlab_class: str, budget: _Budget) -> Any:
    if "MATLAB_sparse" in group.attrs:
        rows, jc = int(_attribute(group, "MATLAB_sparse")), member(group, "jc")
        budget.spend(rows)
        ends = _read(jc, budget)
        if member(group, "data") is None:
            return scipy.sparse.csc_array((rows, len(ends) - 1))
        values = _numbers_of_class(_read(member(group, "data"), budget), matlab_class)
        parts = (values, _read(member(group, "ir"), budget), ends)
        matrix = scipy.sparse.csc_array(parts, shape=(rows, len(ends) - 1))
        matrix.check_format(full_check=True)  # indices out of range would reach foreign memory
        return matrix
    return StructArray(group) if _is_struct_array(group) else Struct(group.file, group)


def _decode_references(
    item: h5py.Dataset, references: Any, name: str, budget: _Budget
) -> np.ndarray:
    budget.spend(n_items=references.size)
    cells = np.empty(references.shape, dtype=object)
    file = item.file
    for position, reference in np.ndenumerate(references):
        plain = _decode_plain(h5r.dereference(reference, file.id), budget)
        cells[position] = _decode(file[reference], name, budget) if plain is None else plain
    return cells.T


def _decode_plain(dataset: Any, budget: _Budget) -> str | np.ndarray | None:
    """Decode what cells are full of, numbers and text; None for anything else."""
    if not isinstance(dataset, h5d.DatasetID):
        return None
    matlab_class = _plain_class(dataset)
    values = None if matlab_class is None else read_numbers(dataset)
    if matlab_class is None or values is None:
        return None
    budget.spend_array(values.size, values.dtype)
    return _of_class(values, matlab_class, budget)


def _plain_class(dataset: h5d.DatasetID) -> str | None:
    """Return the class of a dataset with no attribute but its class and how it is decoded."""
    n_attributes = 1 + h5a.exists(dataset, b"MATLAB_int_decode")
    if h5a.get_num_attrs(dataset) != n_attributes or not h5a.exists(dataset, b"MATLAB_class"):
        return None
    attribute = h5a.open(dataset, b"MATLAB_class")
    kind = attribute.get_type()
    if kind.get_class() != h5t.STRING or kind.is_variable_str() or attribute.shape:
        return None
    if kind.get_size() > _SHORT_TEXT.get_size():
        return None
    stored = np.empty((), dtype="S16")
    attribute.read(stored, _SHORT_TEXT)
    return _PLAIN_CLASSES.get(bytes(stored[()]))


def _references_of(group: h5py.Group) -> dict[str, Any]:
    """Return the references of a struct array, field by field."""
    budget = _Budget()
    fields = {name: _read(member(group, name), budget).ravel() for name in names_in(group)}
    budget.spend(n_items=sum(map(len, fields.values())))
    return fields


def _decode_empty(matlab_class: str, item: h5py.Dataset, budget: _Budget) -> Any:
    shape = _shape_of_empty(item)
    if matlab_class == "struct" and 0 not in shape:  # structs without fields
        budget.spend(n_items=math.prod(shape))
        structs = [Struct(item.file, {}) for _ in range(math.prod(shape))]
        return structs[0] if len(structs) == 1 else np.array(structs, dtype=object).reshape(shape)
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


def _matlab_class(item: h5py.Dataset | h5py.Group) -> str:
    stored = _attribute(item, "MATLAB_class", b"")
    return stored.decode("utf-8", "replace") if isinstance(stored, bytes) else str(stored)


def _attribute(item: h5py.Dataset | h5py.Group, name: str, absent: Any = None) -> Any:
    if name not in item.attrs:
        return absent
    stored = item.attrs.get_id(name)
    if stored.get_storage_size() > _LARGEST_ATTRIBUTE:
        raise ValueError(f"attribute {name} has {stored.get_storage_size()} bytes")
    if is_on_heap(stored.dtype):
        raise ValueError(f"attribute {name} has no fixed length, as MATLAB's has")
    return item.attrs[name]


def _is_empty(item: h5py.Dataset) -> bool:
    return bool(_attribute(item, "MATLAB_empty", 0))


def _shape_of_empty(item: h5py.Dataset) -> tuple[int, ...]:
    if item.size > _MOST_AXES:
        raise ValueError(f"an array of {item.size} axes")
    return tuple(int(length) for length in np.ravel(_read(item, _Budget())))


def _is_struct_array(group: h5py.Group) -> bool:
    # A struct array keeps one dataset of references per field, which (unlike a cell) has no class.
    names = names_in(group)
    return bool(names) and all(_is_column(member(group, name)) for name in names)


def _is_column(field: Any) -> bool:
    return (
        isinstance(field, h5py.Dataset)
        and field.dtype == h5py.ref_dtype
        and "MATLAB_class" not in field.attrs
    )


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

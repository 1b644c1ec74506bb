"""Foreign HDF5 files, which may promise more than they hold, or point to other files.

The HDF5 library follows what a damaged file says about itself: chains of free places that lead
back to themselves grow in memory without an end, and a free place of no bytes is looked at for
ever. What it may take here is bounded, and such places are looked for first.
"""

from __future__ import annotations

import math
import mmap
import os
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5f, h5g, h5i, h5l, h5o, h5s, h5t
from numpy.typing import NDArray

from core.errors import MalformedDataError

if sys.platform != "win32":
    import resource

#: What one array may take, and what the process may grow by while HDF5 reads arrays, or only looks
#: up where they are.
MOST_BYTES = 1 << 30
MOST_GROWTH_BYTES = 3 << 29
MOST_GROWTH_BY_NAMES = 1 << 28

#: A value that takes so many times its place in the file was written by no filter of HDF5's own
#: but deflate, which reaches 1032.
_LARGEST_RATIO = 2000
_MANY_VALUES = 100_000
_MOST_CHUNKS = 1 << 20

#: The system's own words for the size of a process, which are asked for at every value.
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
_LONGEST_STATM = 256

_DOUBLE = np.dtype("<f8")

#: A heap begins so; its objects begin with an index (0 is free space), two counts and a length.
_HEAP = b"GCOL\x01"
_HEAP_OBJECT = struct.Struct("<H6xQ")


@contextmanager
def bounded_memory(growth_bytes: int = MOST_GROWTH_BYTES) -> Iterator[None]:
    """Let the process grow by so many bytes in the block; HDF5 then raises, and all goes on.

    Blocks may be nested. Nothing is bounded where the system does not tell how large a process is
    (anything but Linux).

    Raises
    ------
    RuntimeError, OSError or MemoryError
        Whatever HDF5 or NumPy say when memory cannot be had.
    """
    size = _address_space_bytes()
    if size is None:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    known = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min([size + growth_bytes, *known]), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def member(group: h5g.GroupID, name: str) -> Any:
    """Return the id of what lies in a group under a name, None if there is nothing.

    Raises
    ------
    MalformedDataError
        If the name is a link to another place or file.
    """
    with bounded_memory(MOST_GROWTH_BY_NAMES):
        key = name.encode("utf-8", "surrogateescape")
        if not group.links.exists(key):
            return None
        if group.links.get_info(key).type != h5l.TYPE_HARD:
            target = group.links.get_val(key)
            led_to = _text(target[0] if isinstance(target, tuple) else target)
            raise MalformedDataError(
                f"{file_of(group)} was refused: {_text(h5i.get_name(group))}/{name} is a link to "
                f"{led_to!r}; save what it leads to in the file."
            )
        return h5o.open(group, key)


def names_in(group: h5g.GroupID) -> list[str]:
    """Return the names in a group."""
    with bounded_memory(MOST_GROWTH_BY_NAMES):
        return [name.decode("utf-8", "surrogateescape") for name in group]


def file_of(item: Any) -> str:
    """Return the path of the file that an HDF5 object lies in."""
    return os.fsdecode(h5f.get_name(item))


def read_array(
    dataset: h5d.DatasetID, spend: Callable[[int], None] = lambda n_bytes: None
) -> NDArray[Any]:
    """Read an array that lies in this file and is no larger than what is stored of it can be.

    Parameters
    ----------
    dataset : h5py.h5d.DatasetID
        The array; h5py's own objects cost more than reading a small one.
    spend : callable, optional
        Told before it is read how many bytes it takes, values of few bytes as if they were
        doubles; may raise.

    Raises
    ------
    MalformedDataError
        If it lies in another file.
    ValueError
        If it promises more than is stored, or more than `MOST_BYTES`, or is kept in a damaged heap.
    """
    kind, shape = dataset.get_type(), dataset.shape
    dtype = _DOUBLE if kind.equal(h5t.IEEE_F64LE) else kind.dtype  # h5py takes long to say so
    _require_bounded(dataset, dtype, shape)
    spend(math.prod(shape) * max(8, dtype.itemsize))
    if dtype.kind in "fiu" and shape:
        values = np.empty(shape, dtype)
        dataset.read(h5s.ALL, h5s.ALL, values, _type_in_memory(dtype))
        return values
    if is_on_heap(dtype):
        _require_sound_heaps(dataset)
    return np.asarray(h5py.Dataset(dataset)[()])


_type_in_memory = cache(h5t.py_create)


def _require_bounded(
    dataset: h5d.DatasetID, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> None:
    stored = dataset.get_create_plist()
    layout = stored.get_layout()
    if layout == h5d.VIRTUAL or stored.get_external_count():
        raise MalformedDataError(
            f"{file_of(dataset)} was refused: {_text(h5i.get_name(dataset))} is kept in another "
            "file; save it in this one."
        )
    n_values = math.prod(shape)
    n_bytes = n_values * dtype.itemsize
    if n_bytes > MOST_BYTES:
        raise ValueError(f"it holds {n_bytes} bytes; at most {MOST_BYTES} are read")
    if n_values > _MANY_VALUES:
        stored_bytes = dataset.get_storage_size()
        if n_bytes > _LARGEST_RATIO * stored_bytes:
            raise ValueError(f"{n_bytes} bytes are promised, {stored_bytes} are stored")
    if layout == h5d.CHUNKED:
        chunks = stored.get_chunk()
        n_chunks = math.prod(-(-n // c) for n, c in zip(shape, chunks, strict=True))
        if math.prod(chunks) * dtype.itemsize > MOST_BYTES or n_chunks > _MOST_CHUNKS:
            raise ValueError(f"an array of shape {shape} in chunks of shape {chunks}")


def _text(name: bytes | None) -> str:
    return (name or b"a value").decode("utf-8", "replace")


def is_on_heap(dtype: np.dtype[Any]) -> bool:
    """Tell whether values of a type have lengths of their own, and lie in a heap of the file."""
    return bool(dtype.hasobject) and h5py.check_ref_dtype(dtype) is None


def _require_sound_heaps(item: Any) -> None:
    """Refuse heaps on whose chain of objects the library would not get on (format spec., III.E)."""
    if h5i.get_file_id(item).get_create_plist().get_sizes() != (8, 8):
        raise ValueError("its lengths do not have eight bytes")
    with (
        Path(file_of(item)).open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        at = -1
        while (at := content.find(_HEAP, at + 1)) >= 0:
            (size,) = struct.unpack_from("<Q", content, at + 8)
            place, end = at + _HEAP_OBJECT.size, min(at + size, len(content))
            while place + _HEAP_OBJECT.size <= end:
                index, length = _HEAP_OBJECT.unpack_from(content, place)
                step = _HEAP_OBJECT.size + length + -length % 8 if index else length
                if not 0 < step <= end - place:
                    raise ValueError(f"an object of {length} bytes at {place} of a heap")
                place += step


def _address_space_bytes() -> int | None:
    try:
        handle = os.open("/proc/self/statm", os.O_RDONLY)
        try:
            pages = int(os.read(handle, _LONGEST_STATM).split()[0])
        finally:
            os.close(handle)
    except (OSError, ValueError, IndexError):
        return None
    return pages * _PAGE_BYTES

"""Small arrays of HDF5 files, read without the HDF5 library where they are stored plainly.

The library takes ten times as long to open a small array as to hand over what it holds, and an
experiment has 240 of them. Taken here is only what is, byte by byte, an array of doubles or of
references as MATLAB stores a small one (format specification, III.A.1 and IV.A): within its header,
in one piece, or in one deflated chunk. Nothing else is followed: it is left to the library, and so
is whatever is wrong with it.
"""

from __future__ import annotations

import math
import os
import re
import struct
import sys
import zlib
from typing import Any

import numpy as np
from h5py import h5d, h5i, h5o
from numpy.typing import NDArray

#: What is looked at of a header, and the largest array.
_HEADER_BYTES = 4096
_LARGEST_BYTES = 1 << 20

#: Version, number of messages and length of a header; kind, length and flags of a message.
_HEADER, _MESSAGE = struct.Struct("<BxH4xI4x"), struct.Struct("<HHB3x")
_SHAPE, _TYPE, _LAYOUT, _FILTERS, _ATTRIBUTE = 0x01, 0x03, 0x08, 0x0B, 0x0C
_IS_CONSTANT = 0x01

#: A tree of one leaf.
_LEAF = b"TREE\x01\x00\x01\x00"


def _messages(kind: str, matlab_class: bytes) -> dict[int, re.Pattern[bytes]]:
    """Return how messages begin in the header of a plain array, by their kind."""
    length = re.escape(bytes([len(matlab_class), 0, 0, 0]))
    begin = {
        _SHAPE: rb"\x01[\x01-\x20]",
        _TYPE: re.escape(bytes.fromhex(kind)),
        _LAYOUT: rb"\x03[\0-\x02]",
        _FILTERS: rb"\x01\x01\0{6}\x01\0\x08\0[\0\x01]\0\x01\0deflate\0",
        _ATTRIBUTE: rb"\x01\0\r\0\x08\0\x08\0MATLAB_class\0{4}\x13[\0-\x02]\0\0"
        + length + rb"\x01\0{7}" + matlab_class,
    }  # fmt: skip
    of_no_meaning = dict.fromkeys((0x00, 0x04, 0x05, 0x12), b"")  # gaps, fill values, a time
    return {message: re.compile(start) for message, start in (begin | of_no_meaning).items()}


_OF_DOUBLES = _messages("11203f00 08000000 00004000 340b0034 ff030000", b"double")
_OF_REFERENCES = _messages("17000000 08000000", b"cell")


class PlainArrays:
    """The arrays of doubles that a cell leads to, those of them that are stored plainly.

    Parameters
    ----------
    cell : h5py.h5d.DatasetID
        An array of references, in an open file.
    """

    def __init__(self, cell: h5d.DatasetID) -> None:
        file = h5i.get_file_id(cell)
        self._start = file.get_create_plist().get_userblock()
        self._handle = file.get_vfd_handle()
        addresses = self._read(h5o.get_info(cell).addr, _OF_REFERENCES, "<u8")
        self._addresses = [] if addresses is None else addresses.ravel().tolist()

    def __getitem__(self, position: int) -> NDArray[np.float64] | None:
        """Read one of them as it is stored; None if it takes the library to do so."""
        if position >= len(self._addresses):
            return None
        return self._read(self._addresses[position], _OF_DOUBLES, "<f8")

    def _read(
        self, address: int, messages: dict[int, re.Pattern[bytes]], dtype: str
    ) -> NDArray[Any] | None:
        try:
            shape, content = self._stored(address, messages)
            return np.frombuffer(bytearray(content), dtype).reshape(shape)
        except (LookupError, ValueError, OverflowError, OSError, struct.error, zlib.error):
            return None

    def _stored(
        self, address: int, messages: dict[int, re.Pattern[bytes]]
    ) -> tuple[tuple[int, ...], bytes]:
        header = self._bytes(address, _HEADER_BYTES)
        places = _places(header, messages)
        space, layout = places[_SHAPE], places[_LAYOUT]
        shape = struct.unpack_from(f"<{header[space + 1]}Q", header, space + 8)
        n_bytes = 8 * math.prod(shape)
        if n_bytes > _LARGEST_BYTES:
            raise ValueError
        match header[layout + 1]:
            case h5d.COMPACT:
                (length,) = struct.unpack_from("<H", header, layout + 2)
                return shape, header[layout + 4 :][:length]
            case h5d.CONTIGUOUS:
                place, length = struct.unpack_from("<QQ", header, layout + 2)
                return shape, self._bytes(place, min(length, n_bytes + 1))
        tree, *chunk = struct.unpack_from(f"<Q{len(shape) + 1}I", header, layout + 3)
        if chunk != [*shape, 8] or _FILTERS not in places:
            raise ValueError
        return shape, self._inflated(tree, len(chunk), n_bytes)

    def _inflated(self, tree: int, n_axes: int, n_bytes: int) -> bytes:
        leaf = self._bytes(tree, 40 + 8 * n_axes)
        length, place = *struct.unpack_from("<I", leaf, 24), *struct.unpack_from("<Q", leaf, -8)
        if not leaf.startswith(_LEAF) or any(leaf[28:-8]) or length > 2 * n_bytes:
            raise ValueError
        stream = zlib.decompressobj()
        content = stream.decompress(self._bytes(place, length), n_bytes + 1)
        if not stream.eof:
            raise ValueError
        return content

    def _bytes(self, address: int, n_bytes: int) -> bytes:
        if sys.platform == "win32":
            raise OSError("it reads from where it is only")
        return os.pread(self._handle, n_bytes, self._start + address)


def _places(header: bytes, messages: dict[int, re.Pattern[bytes]]) -> dict[int, int]:
    """Return where the content of each message begins; raise where one is not plain."""
    version, n_messages, length = _HEADER.unpack_from(header)
    if version != 1:
        raise ValueError
    end, places = _HEADER.size, {}
    for _ in range(n_messages):
        message, n_bytes, flags = _MESSAGE.unpack_from(header, end)
        begin = end + _MESSAGE.size
        end = begin + n_bytes
        if flags & ~_IS_CONSTANT or not messages[message].match(header, begin):
            raise ValueError
        places[message] = begin
    if _TYPE not in places or end > _HEADER.size + length:
        raise ValueError
    return places

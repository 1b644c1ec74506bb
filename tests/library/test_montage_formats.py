"""Montages are pictures: JPEG, PNG or WebP, whatever the name says, and no program is started."""

from __future__ import annotations

import resource
import struct
import sys
import time
import zlib

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from core.errors import MalformedDataError
from neuro_data_analysis.similarity.montages import read_montage

SIZE = (896, 672)
POSTSCRIPT = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 896 672\n%%EndComments\nshowpage\n%%EOF\n"
)


def _chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(size, rows, extra=b""):
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + extra + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")


PACKED = zlib.compress(bytes(100 << 20), 1)
BOMBS = {
    "pixels": (_png((50_000, 50_000), zlib.compress(b"")), "exceeds limit of .* pixels"),
    "text": (_png(SIZE, PACKED, _chunk(b"zTXt", b"a\0\0" + PACKED)), "data too large"),
    "international text": (
        _png(SIZE, PACKED, _chunk(b"iTXt", b"a\0\1\0\0\0" + PACKED)), "data too large"),
    "profile": (_png(SIZE, PACKED, _chunk(b"iCCP", b"a\0\0" + PACKED)), "data too large"),
    "rows": (_png(SIZE, PACKED), None),
}  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory in kilobytes")
@pytest.mark.parametrize("name", BOMBS)
def test_pictures_that_grow_take_little_time_and_memory(tmp_path, name):
    """Half a megabyte that unpacks to a hundred, or to ten thousand times what a montage has."""
    content, told = BOMBS[name]
    path = tmp_path / "Exp1_proto_attr_montage.jpg"
    path.write_bytes(content)
    largest_kb, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    if told is None:  # what is too much of the rows is never unpacked
        assert read_montage(path).shape == (*SIZE[::-1], 3)
    else:
        with pytest.raises(MalformedDataError, match=told):
            read_montage(path)
    assert time.process_time() - started < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - largest_kb < 60 << 10


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_pictures_are_read_whatever_their_name(tmp_path, kind):
    path = tmp_path / "Exp1_proto_attr_montage.jpg"
    Image.new("RGB", SIZE, (0, 255, 0)).save(path, kind)
    assert np.abs(read_montage(path) - [0, 1, 0]).max() < 0.02


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "PPM", "ICO", "postscript"])
def test_other_formats_are_refused_and_start_nothing(tmp_path, kind, monkeypatch):
    """Pillow would run Ghostscript on PostScript under the name of a JPEG."""
    path = tmp_path / "Exp1_proto_attr_montage.jpg"
    if kind == "postscript":
        path.write_bytes(POSTSCRIPT)
    else:
        Image.new("RGB", SIZE).save(path, kind)
    started = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *given, **_: started.append(given))
    with pytest.raises(MalformedDataError, match="is not a readable picture"):
        read_montage(path)
    assert started == []

"""Small arrays are read past the HDF5 library where they are plain, and only there."""

from __future__ import annotations

import tracemalloc
import zlib

import h5py
import numpy as np
import pytest
from h5py import h5d, h5o, h5p, h5s, h5t

from core.reading.plain_hdf5 import PlainArrays
from neuro_data_analysis.matlab import v73 as matlab_v73
from neuro_data_analysis.matlab.v73_writer import write_v73
from neuro_data_analysis.matlab.values import row_of_cells

VALUES = np.random.default_rng(3).random((3, 70))
DEFLATED = {"chunks": VALUES.shape, "compression": 3}

#: The type of a double.
DOUBLE = bytes.fromhex("11203f0008000000")

#: As long as the values, and inflated as well.
MISLEADING = zlib.compress(bytes(VALUES.nbytes)).ljust(VALUES.nbytes, b"\0")


def _stored(data=VALUES, matlab_class="double", **how):
    def make(group):
        item = group.create_dataset("x", data=data, **how)
        item.attrs["MATLAB_class"] = np.bytes_(matlab_class)
        return item

    return make


def _within_header(group):
    layout = h5p.create(h5p.DATASET_CREATE)
    layout.set_layout(h5d.COMPACT)
    space = h5s.create_simple(VALUES.shape)
    item = h5py.Dataset(h5d.create(group.id, b"x", h5t.IEEE_F64LE, space, layout))
    item[...] = VALUES
    item.attrs["MATLAB_class"] = np.bytes_("double")
    return item


def _with_attribute(group):
    item = _stored()(group)
    item.attrs["MATLAB_global"] = np.int32(1)
    return item


def _never_written(group):
    return group.create_dataset("x", (3, 70), "<f8", fillvalue=2.0, **DEFLATED)


def _chunk(content, filters_left_out=0, **how):
    def make(group):
        item = group.create_dataset("x", (3, 70), "<f8", fillvalue=2.0, **how or DEFLATED)
        item.id.write_direct_chunk((0, 0), content, filters_left_out)
        return item

    return make


PLAIN = {
    "within its header": _within_header,
    "in one piece": _stored(),
    "deflated": _stored(**DEFLATED),
}
FOR_THE_LIBRARY = {
    "two chunks": _stored(chunks=(3, 35), compression=3),
    "chunk that is larger": _stored(chunks=(4, 70), compression=3, maxshape=(None, 70)),
    "one of two chunks": _chunk(
        zlib.compress(VALUES.tobytes()), chunks=(6, 35), compression=3, maxshape=(None, 70)
    ),
    "chunk as it is": _chunk(MISLEADING, chunks=(3, 70)),
    "chunk that left the filter out": _chunk(MISLEADING, 1),
    "shuffled": _stored(shuffle=True, **DEFLATED),
    "with checksum": _stored(fletcher32=True, **DEFLATED),
    "never written": _never_written,
    "large": _stored(np.ones((200, 1000))),
    "turned around": _stored(VALUES.astype(">f8")),
    "single": _stored(VALUES.astype("f4"), "single"),
    "whole numbers": _stored(np.arange(6).reshape(2, 3), "int64"),
    "of a truth": _stored(np.ones((2, 3)), "logical"),
    "with an attribute": _with_attribute,
}


def _file_of_a_cell(path, make, userblock=512, **version):
    """Write a cell that leads to what `make` puts into a group; return where that begins."""
    with h5py.File(path, "w", userblock_size=userblock, **version) as file:
        item = make(file.create_group("#refs#"))
        cell = file.create_dataset("cell", data=np.array([[item.ref]], h5py.ref_dtype))
        cell.attrs["MATLAB_class"] = np.bytes_("cell")
        return h5o.get_info(item.id).addr + userblock


def _plain(path):
    with h5py.File(path) as file:
        return PlainArrays(file["cell"].id)[0]


def _in_cell(path):
    with matlab_v73.open_v73(path) as file:
        return matlab_v73.variable(file, "cell").item()


@pytest.mark.parametrize("userblock", [0, 512])
@pytest.mark.parametrize("form", PLAIN)
def test_a_plain_array_is_what_was_stored(tmp_path, form, userblock):
    _file_of_a_cell(tmp_path / "x.mat", PLAIN[form], userblock)
    found = _plain(tmp_path / "x.mat")
    np.testing.assert_array_equal(found, VALUES)
    found *= 2  # it belongs to the caller, as what the library reads does
    np.testing.assert_array_equal(_in_cell(tmp_path / "x.mat"), VALUES.T)


@pytest.mark.parametrize("form", FOR_THE_LIBRARY)
def test_any_other_array_is_left_to_the_library(tmp_path, form):
    _file_of_a_cell(tmp_path / "x.mat", FOR_THE_LIBRARY[form])
    assert _plain(tmp_path / "x.mat") is None
    with h5py.File(tmp_path / "x.mat") as file:
        expected = file["#refs#/x"][()].T
    found = _in_cell(tmp_path / "x.mat")
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == (bool if form == "of a truth" else expected.dtype)


def test_files_of_newer_versions_are_left_to_the_library(tmp_path):
    _file_of_a_cell(tmp_path / "x.mat", _stored(), libver="latest")
    assert _plain(tmp_path / "x.mat") is None
    np.testing.assert_array_equal(_in_cell(tmp_path / "x.mat"), VALUES.T)


def test_what_this_package_writes_is_plain(tmp_path, rng):
    """The psth and image numbers of blocks: else reading recordings takes four times as long."""
    blocks = [rng.random((200, n)) for n in (1, 9, 31)] + [np.arange(n) + 1.0 for n in (1, 9, 31)]
    with write_v73(tmp_path / "x.mat", "test") as file:
        file.save("cell", row_of_cells(blocks))
    with h5py.File(tmp_path / "x.mat") as file:
        plain = PlainArrays(file["cell"].id)
        assert all(plain[position] is not None for position in range(len(blocks)))


@pytest.mark.parametrize("form", PLAIN)
def test_damage_ends_in_none_or_in_other_numbers(tmp_path, form):
    """Every byte of the file is changed in three ways, one after the other."""
    path = tmp_path / "x.mat"
    header = _file_of_a_cell(path, PLAIN[form])
    content = path.read_bytes()
    outcomes = set()
    with h5py.File(path) as file, path.open("r+b", buffering=0) as damaged:
        plain = PlainArrays(file["cell"].id)
        for place in range(header, len(content)):
            for change in (0x01, 0x80, 0xFF):
                damaged.seek(place)
                damaged.write(bytes([content[place] ^ change]))
                found = plain[0]
                outcomes.add(None if found is None else found.shape)
            damaged.seek(place)
            damaged.write(content[place : place + 1])
    assert outcomes == {None, VALUES.shape}


def _patched(path, form, where, new):
    """Write a file and change it after a place that is looked for in and behind the array."""
    header = _file_of_a_cell(path, PLAIN[form])
    content = bytearray(path.read_bytes())
    place = header if where is None else content.index(where, header)
    for offset, value in new.items():
        content[place + offset] = value
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("where", "new"),
    [
        (None, {0: 2}),
        (None, {8: 16, 9: 0}),
        (None, {16 + 4: 2}),
        (None, {24: 2}),
        (DOUBLE, {-8: 0}),
        (DOUBLE, {1: 0x21}),
        (b"\x03\x02\x03", {0: 4}),
        (b"deflate\0", {-8: 32}),
        (b"TREE", {0: 0}),
        (b"TREE", {5: 1}),
    ],
    ids=["version", "shorter than its messages", "shared", "version of the shape", "no type",
         "another type", "version of the layout", "another filter", "no tree", "a tree of trees"],
)  # fmt: skip
def test_a_header_that_says_anything_else_is_left_to_the_library(tmp_path, where, new):
    _patched(tmp_path / "x.mat", "deflated", where, {})
    np.testing.assert_array_equal(_plain(tmp_path / "x.mat"), VALUES)
    _patched(tmp_path / "x.mat", "deflated", where, new)
    assert _plain(tmp_path / "x.mat") is None


@pytest.mark.parametrize("liar", ["chunk", "length"])
def test_no_more_is_taken_than_was_promised(tmp_path, liar):
    """A chunk inflates to 3 MB; a chunk of 5 kB says that it has 2 GB."""
    if liar == "chunk":
        _file_of_a_cell(tmp_path / "x.mat", _chunk(zlib.compress(bytes(3_000_000), 9)))
    else:
        _patched(tmp_path / "x.mat", "deflated", b"TREE", {27: 0x7F})
    tracemalloc.start()
    assert _plain(tmp_path / "x.mat") is None
    largest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert largest < 1_000_000


@pytest.mark.parametrize("cut", [True, False])
def test_a_chunk_whose_end_is_missing_or_wrong_is_left_to_the_library(tmp_path, cut):
    content = zlib.compress(VALUES.tobytes())
    damaged = content[:-4] if cut else content[:-1] + bytes([content[-1] ^ 1])
    _file_of_a_cell(tmp_path / "x.mat", _chunk(damaged))
    assert _plain(tmp_path / "x.mat") is None

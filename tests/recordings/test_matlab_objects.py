"""MATLAB values that only MATLAB can rebuild, lie elsewhere or grow: named and refused."""

from __future__ import annotations

import time
import tracemalloc

import h5py
import numpy as np
import pytest

from core.errors import MalformedDataError
from neuro_data_analysis.matlab import v73
from neuro_data_analysis.neural_data_lib import load_neural_data
from tests.recordings.test_matlab_v73 import RawFile

MOST_BYTES = 100 << 20


@pytest.fixture
def raw(tmp_path):
    """Return a file to fill, and what reads a variable of it."""
    path, opened = tmp_path / "given.mat", []
    made = RawFile(path)

    def read(name="x"):
        if not opened:
            made.close(path)
            opened.append(v73.open_v73(path))
        return v73.variable(opened[0], name)

    yield made, read
    for file in opened:
        file.close()


def struct(made, parent, name):
    group = parent.create_group(name)
    group.attrs["MATLAB_class"] = np.bytes_("struct")
    return group


OBJECTS = ("string", "table", "timetable", "datetime", "duration", "calendarDuration",
           "categorical", "containers.Map", "dictionary", "MyEnumeration", "dataset")  # fmt: skip


@pytest.mark.parametrize("kind", OBJECTS)
@pytest.mark.parametrize("marked", [True, False])
def test_objects_of_every_class_are_refused_by_field_and_class(raw, kind, marked):
    """Newer MATLAB writes "…" where older wrote '…'; that is an object, not a text."""
    made, read = raw
    meta = struct(made, made.file, "x")
    words = np.array([[3707764736, 2, 1, 1, 1, 1]], np.uint32)
    mark = {"MATLAB_object_decode": np.int32(3)} if marked else {}
    made.put(meta, "stimuli", words, kind, **mark)
    made.put(meta, "unit", np.array([[1.0]]), "double")
    told = rf"field 'stimuli' is a MATLAB {kind}.* only MATLAB can read; there, .* save again"
    value = read()
    with pytest.raises(MalformedDataError, match=told):
        value["stimuli"]
    assert value["unit"] == 1


def test_a_string_object_says_what_converts_it(raw):
    made, read = raw
    made.put(made.file, "x", np.zeros((1, 6), np.uint32), "string", MATLAB_object_decode=3)
    with pytest.raises(MalformedDataError, match="convert it with char or cellstr"):
        read()


def test_function_handles_are_refused(raw):
    """They are stored as a struct of bookkeeping."""
    made, read = raw
    handle = made.file.create_group("x")
    handle.attrs["MATLAB_class"] = np.bytes_("function_handle")
    handle.attrs["MATLAB_object_decode"] = np.int32(1)
    made.put(handle, "matlabroot", np.array([[47]], np.uint16), "char")
    with pytest.raises(MalformedDataError, match=r"function_handle, .* func2str"):
        read()


def test_objects_within_cells_are_named_too(raw):
    made, read = raw
    thing = made.refer(np.zeros((1, 6), np.uint32), "string", MATLAB_object_decode=3)
    made.cell(made.file, "x", [[thing]])
    with pytest.raises(MalformedDataError, match="field 'x' is a MATLAB string object"):
        read()


def test_an_intact_struct_without_fields_is_an_empty_struct(raw):
    made, read = raw
    made.put(made.file, "x", np.array([1, 1], np.uint64), "struct", MATLAB_empty=np.uint8(1))
    assert dict(read()) == {}


def test_experiments_of_empty_structs_are_absent(raw, tmp_path):
    """One of them does not stop the listing of the others."""
    made, _ = raw
    shape = np.array([1, 1], np.uint64)
    empty = made.refer(shape, "struct", MATLAB_empty=np.uint8(1))
    full = struct(made, made.references, "full")
    made.put(full, "pref_chan", np.array([[5.0]]), "double")
    table = struct(made, made.file, "BFEStats")
    references = np.array([[empty], [full.ref]], dtype=h5py.ref_dtype)
    table.create_dataset("evol", data=references)
    made.close(tmp_path / "given.mat")
    with load_neural_data(tmp_path / "given.mat") as recordings:
        assert list(recordings) == [2]


def test_sparse_logical_and_complex_keep_their_types(raw):
    made, read = raw
    kinds = {
        "logical": (np.array([1, 1], np.uint8), bool),
        "double": (np.array([(1.0, 2.0), (3.0, 0.0)], [("real", "f8"), ("imag", "f8")]), complex),
    }
    for kind, (data, _) in kinds.items():
        group = made.file.create_group(kind)
        group.attrs["MATLAB_class"] = np.bytes_(kind)
        group.attrs["MATLAB_sparse"] = np.uint64(3)
        group["data"], group["ir"], group["jc"] = data, [0, 2], [0, 1, 2]
    assert read("logical").toarray().tolist() == [[True, False], [False, False], [False, True]]
    assert read("logical").dtype == bool
    assert read("double").toarray().tolist() == [[1 + 2j, 0], [0, 0], [0, 3]]


def test_half_a_letter_in_a_text_does_not_lose_the_rest(raw):
    made, read = raw
    made.put(made.file, "x", np.array([[97], [0xD800], [98]], np.uint16), "char")
    assert read() == "a\ufffdb"


def _external(made, folder):
    (folder / "other.bin").write_bytes(b"a text of another file  ")
    data = made.file.create_dataset(
        "x", shape=(24, 1), dtype="u1", external=[(str(folder / "other.bin"), 0, 24)]
    )
    data.attrs["MATLAB_class"] = np.bytes_("char")


def _other(folder):
    with h5py.File(folder / "other.h5", "w") as other:
        other["v"] = np.arange(5.0)


def _linked(made, folder):
    _other(folder)
    made.file["x"] = h5py.ExternalLink("other.h5", "/v")


def _linked_field(made, folder):
    _other(folder)
    struct(made, made.file, "x")["a"] = h5py.ExternalLink("other.h5", "/v")


def _soft_link(made, folder):
    made.file["x"] = h5py.SoftLink("/nowhere")


def _virtual(made, folder):
    _other(folder)
    layout = h5py.VirtualLayout(shape=(5,), dtype="f8")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "v", shape=(5,))
    data = made.file.create_virtual_dataset("x", layout)
    data.attrs["MATLAB_class"] = np.bytes_("double")


@pytest.mark.parametrize("spoil", [_external, _linked, _linked_field, _soft_link, _virtual])
def test_values_of_other_files_are_not_read(raw, tmp_path, spoil):
    """They could be any file of the machine, and end up in tables that are shared."""
    made, read = raw
    spoil(made, tmp_path)
    with pytest.raises(MalformedDataError, match=r"was refused: .* (in the file|in this one)\."):
        value = read()
        value["a"]


def _laughs(made):
    inner = made.text("x")
    for _ in range(10):
        made.references.create_dataset(
            f"c{len(made.references)}", data=np.full((10, 1), inner, dtype=h5py.ref_dtype)
        ).attrs["MATLAB_class"] = np.bytes_("cell")
        inner = made.references[f"c{len(made.references) - 1}"].ref
    made.cell(made.file, "x", [[inner]])


def _one_array_many_times(made):
    stored = made.references.create_dataset("a", shape=(400, 400), dtype="f8")
    stored.attrs["MATLAB_class"] = np.bytes_("double")
    made.cell(made.file, "x", np.full((20_000, 1), stored.ref, dtype=h5py.ref_dtype))


def _many_structs(made):
    group = struct(made, made.file, "x")
    group.create_dataset("a", shape=(4 * 10**8, 1), dtype=h5py.ref_dtype, chunks=(1 << 16, 1))


def _sparse(made):
    group = made.file.create_group("x")
    group.attrs["MATLAB_sparse"] = np.uint64(3)
    group.create_dataset("jc", shape=(5 * 10**8,), dtype="u8", chunks=(1 << 16,))


def _long_shape(made):
    item = made.file.create_dataset("x", shape=(5 * 10**8,), dtype="u8", chunks=(1 << 16,))
    item.attrs["MATLAB_class"], item.attrs["MATLAB_empty"] = np.bytes_("double"), np.uint8(1)


def _deflated(made):
    zeros = np.zeros(1 << 22)
    item = made.file.create_dataset(
        "x", shape=(1 << 28,), dtype="f8", chunks=(1 << 22,), compression="gzip"
    )
    item[: len(zeros)] = zeros
    item.attrs["MATLAB_class"] = np.bytes_("double")


def _long_attribute(made):
    item = made.file.create_dataset("x", data=np.zeros((1, 1)))
    item.attrs["MATLAB_class"] = np.bytes_("d" * 60_000)


def _giant_chunk(made):
    item = made.file.create_dataset("x", shape=(1 << 17, 1 << 14), maxshape=(None, None),
                                    dtype="u1", chunks=(1 << 17, 1 << 14))  # fmt: skip
    item.attrs["MATLAB_class"] = np.bytes_("uint8")


BOMBS = [_laughs, _one_array_many_times, _many_structs, _sparse, _long_shape, _deflated,
         _long_attribute, _giant_chunk]  # fmt: skip


@pytest.mark.parametrize("spoil", BOMBS)
def test_small_files_do_not_grow(raw, spoil, monkeypatch):
    """Cells of cells, shared references, unstored shapes: refused before memory is taken."""
    monkeypatch.setattr(v73, "MOST_ITEMS", 2_000)
    made, read = raw
    spoil(made)
    tracemalloc.start()
    started = time.process_time()
    try:
        with pytest.raises(MalformedDataError, match=r"given\.mat is damaged at"):
            read()
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    finally:
        tracemalloc.stop()
    assert time.process_time() - started < 20

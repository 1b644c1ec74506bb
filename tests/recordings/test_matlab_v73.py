"""MATLAB v7.3 values: read from hand-made HDF5, written, and read again."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pymatreader
import pytest
import scipy.io
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from core.errors import CannotWriteError, MalformedDataError, MissingDataError
from neuro_data_analysis.matlab import v73 as matlab_v73
from neuro_data_analysis.matlab.v73_writer import write_v73
from neuro_data_analysis.neural_data_lib import load_neural_data

FIXTURE = Path(__file__).resolve().parents[3] / "shared/fixtures/Both_BigGAN_FC6_Evol_Stats.mat"
needs_fixture = pytest.mark.skipif(
    not FIXTURE.is_file(),
    reason=f"the recording fixture is not beside this checkout ({FIXTURE}); the same reader is "
    "tested on hand-made HDF5 in this file",
)

#: Read from the fixture with h5py alone: absent elements, names, blocks, images per experiment.
FIXTURE_ABSENT = (4, 15)
FIXTURE_BLOCKS = {1: 16, 2: 15, 3: 16, 5: 15, 6: 16, 7: 15, 8: 16, 9: 16, 10: 12, 11: 16, 12: 15,
                  13: 15, 14: 15, 16: 16}  # fmt: skip
FIXTURE_PRESENTATIONS = {1: 431, 2: 402, 3: 430, 5: 410, 6: 430, 7: 410, 8: 435, 9: 416, 10: 326,
                         11: 418, 12: 407, 13: 408, 14: 403, 16: 433}  # fmt: skip


class RawFile:
    """Writes MATLAB's HDF5 layout by hand, sharing no line with the writer under test."""

    def __init__(self, path):
        self.file = h5py.File(path, "w", userblock_size=512)
        self.references = self.file.create_group("#refs#")

    def close(self, path):
        self.file.close()
        with path.open("r+b") as file:
            file.write(b"MATLAB 7.3 MAT-file, made by a test".ljust(124) + b"\x00\x02IM")

    def put(self, parent, name, data, matlab_class, **attributes):
        item = parent.create_dataset(name, data=data)
        item.attrs["MATLAB_class"] = np.bytes_(matlab_class)
        for attribute, value in attributes.items():
            item.attrs[attribute] = value
        return item

    def refer(self, data, matlab_class, **attributes):
        return self.put(
            self.references, str(len(self.references)), data, matlab_class, **attributes
        ).ref

    def text(self, text):
        codes = np.array([[ord(letter)] for letter in text], dtype=np.uint16)
        return self.refer(codes, "char", MATLAB_int_decode=np.int32(2))

    def cell(self, parent, name, references):
        return self.put(parent, name, np.array(references, dtype=h5py.ref_dtype), "cell")


@pytest.fixture
def raw(tmp_path):
    """Give a hand-made file and a function that closes it and opens it with our reader."""
    path = tmp_path / "raw.mat"
    made = RawFile(path)
    opened = []

    def read():
        made.close(path)
        opened.append(matlab_v73.open_v73(path))
        return opened[0]

    yield made, read
    for file in opened:
        file.close()


def test_numbers_keep_matlab_shape_and_meaning(raw):
    """Arrays are transposed back, singleton axes stay, logicals are bool, pairs are complex."""
    made, read = raw
    made.put(made.file, "matrix", np.arange(6.0).reshape(3, 2), "double")
    made.put(made.file, "column", np.zeros((1, 4), np.float32), "single")
    made.put(made.file, "flags", np.array([[1], [0]], np.uint8), "logical", MATLAB_int_decode=1)
    pair = np.array([[(1.0, 2.0)]], dtype=[("real", "f8"), ("imag", "f8")])
    made.put(made.file, "complex", pair, "double")
    file = read()
    matrix = matlab_v73.variable(file, "matrix")
    np.testing.assert_array_equal(matrix, [[0, 2, 4], [1, 3, 5]])
    assert matlab_v73.variable(file, "column").shape == (4, 1)
    assert matlab_v73.variable(file, "column").dtype == np.float32
    flags = matlab_v73.variable(file, "flags")
    assert flags.dtype == bool
    assert flags.tolist() == [[True, False]]
    assert matlab_v73.variable(file, "complex")[0, 0] == 1 + 2j


def test_texts_of_one_and_of_several_rows(raw):
    """A char row is a str, umlauts and all; a char matrix is its rows."""
    made, read = raw
    made.cell(made.file, "one", [[made.text("naïve µV")]])
    rows = np.array([[ord(a), ord(b)] for a, b in zip("ab", "cd", strict=True)], dtype=np.uint16)
    made.put(made.file, "rows", rows, "char", MATLAB_int_decode=np.int32(2))
    file = read()
    assert matlab_v73.variable(file, "one")[0, 0] == "naïve µV"
    assert matlab_v73.variable(file, "rows").tolist() == ["ab", "cd"]


@pytest.mark.parametrize(
    ("matlab_class", "stored", "shape", "dtype"),
    [
        ("double", [200, 0], (200, 0), np.float64),
        ("double", [0, 0], (0, 0), np.float64),
        ("canonical empty", [0, 0], (0, 0), np.float64),
        ("logical", [0, 3], (0, 3), np.bool_),
        ("cell", [1, 0], (1, 0), np.object_),
        ("struct", [0, 1], (0, 1), np.object_),
    ],
)
def test_empty_arrays_keep_their_shape(raw, matlab_class, stored, shape, dtype):
    """Where MATLAB stores the shape of an empty array, the reader gives an empty array of it."""
    made, read = raw
    made.put(made.file, "x", np.array(stored, np.uint64), matlab_class, MATLAB_empty=np.uint8(1))
    empty = matlab_v73.variable(read(), "x")
    assert empty.shape == shape
    assert empty.dtype == dtype


def test_an_empty_text_is_an_empty_string(raw):
    """MATLAB's '' reads as ''."""
    made, read = raw
    shape = np.array([0, 0], np.uint64)
    made.put(made.file, "x", shape, "char", MATLAB_empty=np.uint8(1), MATLAB_int_decode=2)
    assert matlab_v73.variable(read(), "x") == ""


@pytest.mark.parametrize("shape", [(3, 1), (1, 3)])
def test_struct_arrays_read_alike_in_both_orientations(raw, shape):
    """1 × n and n × 1 struct arrays are the same sequence."""
    made, read = raw
    group = made.file.create_group("S")
    group.attrs["MATLAB_class"] = np.bytes_("struct")
    numbers = [made.refer(np.array([[float(n)]]), "double") for n in range(3)]
    group.create_dataset("n", data=np.array(numbers, dtype=h5py.ref_dtype).reshape(shape))
    elements = matlab_v73.StructArray(read()["S"].id)
    assert [float(element["n"][0, 0]) for element in elements] == [0, 1, 2]
    assert len(elements[1:]) == 2
    assert float(elements[-1]["n"][0, 0]) == 2
    with pytest.raises(IndexError, match="element 3"):
        elements[3]


def test_a_single_struct_nests_and_counts_as_an_array_of_one(raw):
    """A scalar struct holds its values directly; cells of references in it are not elements."""
    made, read = raw
    group = made.file.create_group("S")
    group.attrs["MATLAB_class"] = np.bytes_("struct")
    inner = group.create_group("inner")
    inner.attrs["MATLAB_class"] = np.bytes_("struct")
    made.put(inner, "depth", np.array([[2.0]]), "double")
    made.cell(group, "names", [[made.text("a"), made.text("b")]])
    elements = matlab_v73.StructArray(read()["S"].id)
    assert len(elements) == 1
    assert float(elements[0]["inner"]["depth"][0, 0]) == 2
    assert elements[0]["names"].tolist() == [["a"], ["b"]]
    assert elements[0].shape("names") == (2, 1)
    assert elements[0].shape("inner") == (1, 1)


def test_sparse_matrices_are_sparse_arrays(raw):
    made, read = raw
    expected = scipy.sparse.csc_array(np.array([[0.0, 3], [4, 0], [0, 0]]))
    group = made.file.create_group("sparse")
    group.attrs["MATLAB_sparse"] = np.uint64(3)
    for name in ("data", "indices", "indptr"):
        stored = {"data": "data", "indices": "ir", "indptr": "jc"}[name]
        group.create_dataset(stored, data=getattr(expected, name))
    found = matlab_v73.variable(read(), "sparse")
    np.testing.assert_array_equal(found.toarray(), expected.toarray())


def test_struct_arrays_with_unequal_fields_are_refused(raw):
    """Fields of different length mean a damaged file, said with the lengths."""
    made, read = raw
    group = made.file.create_group("S")
    for name, n in (("a", 1), ("b", 2)):
        references = [made.text("x") for _ in range(n)]
        group.create_dataset(name, data=np.array(references, dtype=h5py.ref_dtype)[:, np.newaxis])
    with pytest.raises(MalformedDataError, match=r"differ in length \(\[1, 2\]\)"):
        matlab_v73.StructArray(read()["S"].id)


def _v5(path):
    scipy.io.savemat(path, {"BFEStats": 1})


def _cut_off(path):
    with write_v73(path, "x") as file:
        file.save("x", np.random.default_rng(1).random((300, 300)))
    path.write_bytes(path.read_bytes()[:200_000])


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (lambda path: None, MissingDataError, "there is no file"),
        (_v5, MalformedDataError, r"is a MATLAB v5 file, not v7\.3.*save\(file"),
        (_cut_off, MalformedDataError, "may be cut off"),
        (lambda path: path.write_text("hello"), MalformedDataError, "is not a MATLAB v7.3 file"),
        (lambda path: path.mkdir(), MissingDataError, "there is no file"),
    ],
    ids=["absent", "v5", "cut off", "no MAT-file", "folder"],
)
def test_what_is_no_v73_file_is_refused_in_a_sentence(tmp_path, make, error, sentence):
    """The message says what the file is and what to do."""
    path = tmp_path / "file.mat"
    make(path)
    with pytest.raises(error, match=sentence):
        matlab_v73.open_v73(path)


def test_damage_in_the_middle_is_told_with_its_place(tmp_path):
    """A compressed array whose bytes were overwritten gives an error that names it."""
    path = tmp_path / "file.mat"
    with write_v73(path, "x") as file:
        file.save("x", np.arange(90_000.0).reshape(300, 300))
    with h5py.File(path) as file:
        where = file["x"].id.get_chunk_info(0).byte_offset + file.userblock_size
    with path.open("r+b") as file:
        file.seek(where)
        file.write(b"\x55" * 2000)
    with (
        matlab_v73.open_v73(path) as file,
        pytest.raises(MalformedDataError, match=r"is damaged at x: .*Copy the file again"),
    ):
        matlab_v73.variable(file, "x")


texts = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12)
shapes = hnp.array_shapes(min_dims=2, max_dims=3, min_side=0, max_side=4)
matrices = hnp.arrays(
    st.sampled_from([np.float64, np.float32, np.int16, np.uint8, np.bool_]), shapes
)
values = st.recursive(
    texts | matrices,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3)
        | st.dictionaries(
            st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True), inner, min_size=1, max_size=3
        )
    ),
    max_leaves=8,
)


def assert_reads_as(found, written):
    """Compare a decoded value with the Python value that was written."""
    if isinstance(written, str):
        assert found == written
    elif isinstance(written, dict):
        assert sorted(found) == sorted(written)
        for field in written:
            assert_reads_as(found[field], written[field])
    elif isinstance(written, list):
        assert found.shape == (1, len(written))
        for found_item, item in zip(found[0], written, strict=True):
            assert_reads_as(found_item, item)
    else:
        assert found.shape == written.shape
        np.testing.assert_array_equal(found, written)


@settings(max_examples=40, deadline=None)
@given(value=values)
def test_what_is_written_is_read_back(tmp_path_factory, value):
    """Any nesting of texts, matrices (empty ones included), cells and structs survives."""
    path = tmp_path_factory.mktemp("round") / "file.mat"
    with write_v73(path, "x") as file:
        file.save("x", value)
    with matlab_v73.open_v73(path) as file:
        assert_reads_as(matlab_v73.variable(file, "x"), value)


def test_struct_arrays_stream_and_leave_unassigned_fields_empty(tmp_path):
    """Elements come from a generator; None and missing fields read as MATLAB's own empties."""
    path = tmp_path / "file.mat"
    elements = ({"a": float(n), "b": {"c": "text"}} if n % 2 else None for n in range(4))
    with write_v73(path, "x") as file:
        file.save_struct_array("S", ("a", "b", "never"), elements)
    with matlab_v73.open_v73(path) as file:
        found = matlab_v73.StructArray(file["S"].id)
        assert [element["a"].shape for element in found] == [(0, 0), (1, 1), (0, 0), (1, 1)]
        assert found[3]["b"]["c"] == "text"
        assert found[3]["never"].shape == (0, 0)


def test_vectors_become_columns_and_object_arrays_cells(tmp_path):
    """MATLAB has no vectors; a cell keeps the shape of the object array it was made from."""
    path = tmp_path / "file.mat"
    cells = np.empty((2, 3), dtype=object)
    for position in np.ndindex(cells.shape):
        cells[position] = np.full(position[1] + 1, float(position[0]))
    with write_v73(path, "x") as file:
        file.save("vector", np.arange(3))
        file.save("cells", cells)
        file.save("nothing", None)
        file.save("empty_cell", np.empty((2, 0), dtype=object))
        file.mark("simulated", True)
    with matlab_v73.open_v73(path) as file:
        assert matlab_v73.variable(file, "vector").tolist() == [[0], [1], [2]]
        found = matlab_v73.variable(file, "cells")
        assert [[value.shape for value in row] for row in found] == [[(1, 1), (2, 1), (3, 1)]] * 2
        assert matlab_v73.variable(file, "nothing").shape == (0, 0)
        assert matlab_v73.variable(file, "empty_cell").shape == (2, 0)
        assert file.attrs["simulated"]


def test_an_independent_reader_finds_the_same_values(tmp_path):
    """pymatreader, which shares nothing with us, agrees on names, numbers, texts and flags."""
    path = tmp_path / "file.mat"
    matrix = np.arange(12.0).reshape(3, 4)
    with write_v73(path, "x") as file:
        file.save("S", {"m": matrix, "t": "text", "c": ["a", "b"], "s": {"n": 4.0}})
    found = pymatreader.read_mat(str(path))["S"]
    np.testing.assert_array_equal(found["m"], matrix)
    assert (found["t"], found["c"], found["s"]["n"]) == ("text", ["a", "b"], 4.0)


def test_the_same_values_give_the_same_bytes_and_matlabs_header(tmp_path):
    """No time of day is in the file, and its first bytes are those that MATLAB looks for."""
    contents = []
    for name in ("a.mat", "b.mat"):
        with write_v73(tmp_path / name, "SIMULATED " + 200 * "x") as file:
            file.save("x", {"n": np.arange(2000.0), "t": "text"})
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] == contents[1]
    assert contents[0].startswith(b"MATLAB 7.3 MAT-file, SIMULATED x")
    assert contents[0][116:128] == bytes(8) + b"\x00\x02IM"
    assert contents[0][512:520] == b"\x89HDF\r\n\x1a\n"


def test_a_write_that_fails_leaves_the_earlier_file(tmp_path):
    """An exception while elements are made removes the unfinished file, not the finished one."""
    path = tmp_path / "file.mat"
    with write_v73(path, "x") as file:
        file.save("x", 1.0)
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError), write_v73(path, "x") as file:
        file.save_struct_array("S", ("a",), ({"a": 1 / n} for n in (1, 0)))
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.mat"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_said(tmp_path):
    """A folder that may not be written gives one sentence."""
    tmp_path.chmod(0o500)
    with pytest.raises(CannotWriteError, match="cannot write"), write_v73(tmp_path / "f.mat", "x"):
        pass


@needs_fixture
def test_the_fixture_has_the_experiments_that_h5py_finds():
    """Absent elements, numbers of blocks and presentations are those counted with h5py alone."""
    with load_neural_data(FIXTURE) as recordings:
        present = set(range(1, 17)) - set(FIXTURE_ABSENT)
        assert recordings.n_elements == 16
        assert set(recordings) == present
        assert {expi: recordings.n_blocks(expi) for expi in present} == FIXTURE_BLOCKS
        counted = {expi: len(recordings.image_names(expi)) for expi in present}
        assert counted == FIXTURE_PRESENTATIONS
        assert not recordings.simulated


def first_elements(path, count):
    """Let a file of MATLAB's name the first elements of its array only; another reader is slow."""
    with h5py.File(path, "r+") as file:
        fields = file["BFEStats"]
        for name in list(fields):
            references, attributes = fields[name][:count], dict(fields[name].attrs)
            del fields[name]
            fields.create_dataset(name, data=references).attrs.update(attributes)
    return pymatreader.read_mat(str(path))["BFEStats"]


@needs_fixture
def test_the_fixture_reads_as_an_independent_reader_reads_it(tmp_path):
    """Every PSTH, image index, name and channel of the first five equals pymatreader's."""
    (tmp_path / "first.mat").write_bytes(FIXTURE.read_bytes())
    peer = first_elements(tmp_path / "first.mat", 6)
    with load_neural_data(FIXTURE) as recordings:
        assert list(recordings)[:5] == [1, 2, 3, 5, 6]
        for expi in list(recordings)[:5]:
            experiment = recordings[expi]
            evolved, meta = peer["evol"][expi - 1], peer["meta"][expi - 1]
            assert experiment.info.ephys_name == meta["ephysFN"]
            assert experiment.info.pref_channel == int(evolved["pref_chan"][0])
            assert list(experiment.info.spaces) == evolved["space_names"]
            assert recordings.image_names(expi) == peer["imageName"][expi - 1]
            for kind, presented in (("blocks", evolved), ("references", peer["ref"][expi - 1])):
                for thread in (0, 1):
                    # The peer flattens the 2 × n cells as HDF5 keeps them: block by block.
                    psths, indices = presented["psth"][thread::2], presented["idx_seq"][thread::2]
                    blocks = getattr(experiment.threads[thread], kind)
                    assert len(blocks) == len(psths)
                    for block, psth, index in zip(blocks, psths, indices, strict=True):
                        np.testing.assert_array_equal(block.psth, np.reshape(psth, (200, -1)))
                        np.testing.assert_array_equal(block.image_index + 1, np.ravel(index))


def test_equal_texts_of_cells_are_stored_once_in_a_file(tmp_path):
    """Names of images recur in every experiment; what is read back does not show it."""
    elements = [{"names": ["first", "second"]}, {"names": ["second", "third"]}]
    with write_v73(tmp_path / "x.mat", "x") as file:
        file.save_struct_array("S", ("names",), elements)
    with h5py.File(tmp_path / "x.mat") as stored:
        kept = [item.attrs["MATLAB_class"] for item in stored["#refs#"].values()]
    assert kept.count(b"char") == 3
    with matlab_v73.open_v73(tmp_path / "x.mat") as file:
        read = [list(element["names"].ravel()) for element in matlab_v73.StructArray(file["S"].id)]
    assert read == [["first", "second"], ["second", "third"]]

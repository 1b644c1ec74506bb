"""MATLAB v5 files: the same values as scipy reads, and no damage that brings the process down."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.io import loadmat, savemat

from core.errors import MalformedDataError, MissingDataError
from core.reading.matlab_v5 import read_v5

NUMBERS = st.sampled_from(
    ["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "?"]
).flatmap(
    lambda kind: arrays.arrays(
        np.dtype(kind), arrays.array_shapes(min_dims=2, max_dims=3, min_side=0, max_side=4)
    )
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(value=NUMBERS, packed=st.booleans())
def test_numbers_are_those_that_scipy_reads(tmp_path, value, packed):
    """Values, types, shapes and NaN; MATLAB's logicals are True and False."""
    path = tmp_path / "x.mat"
    savemat(path, {"x": value, "other": "text"}, do_compression=packed)
    found = read_v5(path, ["x"])["x"]
    expected = loadmat(path)["x"]
    np.testing.assert_array_equal(found, expected)
    assert found.shape == expected.shape
    assert found.dtype == (bool if value.dtype == bool else expected.dtype)


@pytest.mark.parametrize("packed", [False, True])
def test_texts_and_cells_are_read(tmp_path, packed):
    """A row is a str, a matrix an array of rows, a cell an array of what it holds."""
    cell = np.empty((1, 4), dtype=object)
    cell[0] = ["gen000_000001", "", np.eye(2), np.array([["a"], ["bß"]], dtype=object)]
    path = tmp_path / "x.mat"
    content = {"name": "αβγ", "rows": np.array(["one", "two"]), "cell": cell, "none": ""}
    savemat(path, content, do_compression=packed)
    found = read_v5(path, content)
    assert (found["name"], found["none"]) == ("αβγ", "")
    assert found["rows"].tolist() == ["one", "two"]
    assert found["cell"].shape == (1, 4)
    assert found["cell"][0, :2].tolist() == ["gen000_000001", ""]
    np.testing.assert_array_equal(found["cell"][0, 2], np.eye(2))
    assert found["cell"][0, 3].ravel().tolist() == ["a", "bß"]


def test_other_classes_are_passed_over_unless_they_are_asked_for(tmp_path):
    path = tmp_path / "x.mat"
    savemat(path, {"x": 3.0, "other": {"a": 1}})
    assert read_v5(path, ["x", "absent"])["x"].tolist() == [[3.0]]
    with pytest.raises(MalformedDataError, match="a variable of class 2"):
        read_v5(path, ["other"])
    savemat(path, {"x": 1j})
    with pytest.raises(MalformedDataError, match="real numbers"):
        read_v5(path, ["x"])


def test_big_endian_files_are_read(tmp_path):
    """As written on machines of that kind: one 1 × 2 double."""

    def element(kind, body):
        return struct.pack(">II", kind, len(body)) + body + bytes(-len(body) % 8)

    data = struct.pack(">dd", 1.5, -2)
    parts = ((6, struct.pack(">II", 6, 0)), (5, struct.pack(">ii", 1, 2)), (1, b"x"), (9, data))
    matrix = element(14, b"".join(element(*part) for part in parts))
    (tmp_path / "x.mat").write_bytes(b"MATLAB 5.0".ljust(124) + b"\x01\x00MI" + matrix)
    assert read_v5(tmp_path / "x.mat", ["x"])["x"].tolist() == [[1.5, -2.0]]


def _bomb(content):
    packed = zlib.compress(bytes(2**31 - 1), 9) if content is None else zlib.compress(content)
    return struct.pack("<II", 15, len(packed)) + packed


HEAD = b"MATLAB 5.0".ljust(124) + b"\x00\x01IM"
FLAGS = struct.pack("<IIII", 6, 8, 6, 0)


@pytest.mark.parametrize(
    "body",
    [
        b"\x00",
        struct.pack("<II", 14, 2**31),
        struct.pack("<II", 14, 0),
        struct.pack("<II", 99, 8) + bytes(8),
        struct.pack("<II", 14, 16) + FLAGS,
        struct.pack("<II", 15, 4) + b"junk",
        _bomb(b""),
        _bomb(struct.pack("<II", 14, 0)),
        _bomb(bytes(1000)),
    ],
)
def test_damaged_files_are_refused(tmp_path, body):
    (tmp_path / "x.mat").write_bytes(HEAD + body)
    with pytest.raises(MalformedDataError, match=r"x\.mat is not a readable MATLAB v5 file"):
        read_v5(tmp_path / "x.mat", ["x"])


@pytest.mark.parametrize(
    ("shape", "told"),
    [((3, 2), "2 values for a matrix"), ((2**30, 2**30), "2 values"), ((-1, -2), "shape")],
)
def test_shapes_that_do_not_fit_their_data_are_refused(tmp_path, shape, told):
    """The reader of scipy takes some of them at their word."""
    savemat(tmp_path / "x.mat", {"x": np.ones((1, 2))})
    content = (tmp_path / "x.mat").read_bytes()
    whole = content.replace(struct.pack("<ii", 1, 2), struct.pack("<ii", *shape))
    (tmp_path / "x.mat").write_bytes(whole)
    with pytest.raises(MalformedDataError, match=told):
        read_v5(tmp_path / "x.mat", ["x"])


def test_a_variable_that_unpacks_to_a_gigabyte_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("core.reading.matlab_v5._LARGEST_VARIABLE_BYTES", 1000)
    savemat(tmp_path / "x.mat", {"x": np.zeros((100, 100))}, do_compression=True)
    with pytest.raises(MalformedDataError, match="more than 1000 bytes"):
        read_v5(tmp_path / "x.mat", ["x"])


def test_cells_in_cells_in_cells_are_refused(tmp_path):
    nested = np.float64(1)
    for _ in range(12):
        cell = np.empty((1, 1), dtype=object)
        cell[0, 0] = nested
        nested = cell
    savemat(tmp_path / "x.mat", {"x": nested})
    with pytest.raises(MalformedDataError, match="nested more than 8 deep"):
        read_v5(tmp_path / "x.mat", ["x"])


def test_an_absent_file_is_missing(tmp_path):
    with pytest.raises(MissingDataError, match="there is no file"):
        read_v5(tmp_path / "x.mat", ["x"])


@pytest.mark.parametrize("form", ["4", "7.3"])
def test_other_versions_are_named_with_what_to_do(tmp_path, form):
    """MATLAB saves as v7.3 where its preferences say so."""
    path = tmp_path / "block000_thread000_code.mat"
    if form == "4":
        savemat(path, {"codes": np.ones((2, 4))}, format="4")
    else:
        from neuro_data_analysis.matlab.v73_writer import write_v73

        with write_v73(path, "x") as file:
            file.save("codes", np.ones((2, 4)))
    told = rf"is a MATLAB v{form} file; in MATLAB load it and save\(file, 'codes', 'ids', '-v7'\)"
    with pytest.raises(MalformedDataError, match=told):
        read_v5(path, ("codes", "ids"))

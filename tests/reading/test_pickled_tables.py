"""Tables that numpy, pandas and the authors pickle come back with their values; bombs do not."""

from __future__ import annotations

import datetime as dt
import gzip
import io
import pickle
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.errors import MalformedDataError
from core.reading.safe_pickle import load_pickle
from core.source_tables.layouts import Columns, PickledTable

DATA = Path(__file__).parents[1] / "data"

#: What every column of the files in ``tests/data`` holds; NA stands for anything missing.
COLUMNS = {
    "int": [1, 2, 3], "small": [1, 2, 3], "float": [0.1, pd.NA, 3.0], "f4": [1, 2, 3],
    "bool": [True, False, True], "complex": [1j, 2, 3], "text": ["a", "ü", pd.NA],
    "object": ["a", pd.NA, 3], "cat": ["u", "v", "u"], "ordered": [1, 2, pd.NA],
    "date": [dt.datetime(2020, 1, 1), dt.datetime(2020, 1, 2), pd.NA],
    "delta": [dt.timedelta(seconds=1), dt.timedelta(seconds=2), pd.NA],
    "period": [pd.Period(f"2020-0{month}", "M") for month in (1, 2, 3)],
    "interval": [pd.Interval(left, left + 1) for left in range(3)],
    "Int64": [1, pd.NA, 3], "Float64": [1.5, pd.NA, 3], "boolean": [True, pd.NA, False],
    "string": ["a", pd.NA, "c"], "sparse": [0, 0, 1.5],
}  # fmt: skip
ARROW_COLUMNS = {"string_arrow": ["a", pd.NA, "cü"], "arrow_int": [1, pd.NA, 3]}


def _with_na(values):
    return [pd.NA if np.ndim(value) == 0 and pd.isna(value) else value for value in values]


@pytest.mark.parametrize("version", ["2_3", "3_1", "3_1_with_pyarrow"])
def test_every_column_type_of_pandas_comes_back(version):
    """Also text that pandas 3 keeps in Arrow, whether or not pyarrow is installed here."""
    tables = load_pickle(DATA / f"pickled_by_pandas_{version}.pkl")
    whole = tables["whole"]
    expected = COLUMNS | (ARROW_COLUMNS if version != "3_1" else {})
    for name, values in expected.items():
        found = _with_na(whole[name])
        assert [value is pd.NA for value in found] == [value is pd.NA for value in values], name
        pairs = zip(found, values, strict=True)
        assert all(one == two for one, two in pairs if two is not pd.NA), name
    assert whole["lists"].tolist() == [[1, 2], [3], []]
    assert [array.shape for array in whole["arrays"]] == [(2,), (3,), (0, 2)]
    assert [str(moment) for moment in whole["tz"][:2]] == [
        "2020-01-01 00:00:00+00:00", "2020-01-02 00:00:00+00:00",
    ]  # fmt: skip
    assert whole["ordered"].cat.categories.tolist() == [2, 1]


@pytest.mark.parametrize("version", ["2_3", "3_1", "3_1_with_pyarrow"])
def test_every_kind_of_index_comes_back(version):
    tables = load_pickle(DATA / f"pickled_by_pandas_{version}.pkl")
    assert tables["noname"].to_numpy().tolist() == [[0, 1, 2], [3, 4, 5]]
    assert tables["noname"].columns.tolist() == tables["noname"].columns[[0, 1, 2]].tolist()
    assert tables["textindex"].index.tolist() == ["a", "b"]
    assert (tables["named"].index.name, tables["named"].index.tolist()) == ("Expi", [3, 9])
    assert tables["multi"].index.tolist() == [("a", 1), ("b", 2)]
    assert tables["multi"].index.names == ["p", "q"]
    assert tables["dateindex"].index[1] == pd.Timestamp("2020-01-02")
    assert tables["catindex"].index.tolist() == ["a", "b"]
    assert tables["floatindex"].index.tolist() == [0.5, 1.0]
    assert tables["empty"].shape == (0, 0)
    assert tables["emptyrows"].columns.tolist() == ["x", "y"]
    assert (tables["series"].name, tables["series"]["b"]) == ("s", 2)
    assert tables["textseries"].tolist() == ["a", "b"]


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_tables_of_this_pandas_come_back_equal(tmp_path, protocol):
    text = pd.DataFrame({"x": [1.5, 2], "y": ["a", None]}, index=["p", "q"])
    path = tmp_path / "given.pkl"
    path.write_bytes(pickle.dumps(text, protocol=protocol))
    pd.testing.assert_frame_equal(load_pickle(path), text)


def _npy():
    file = io.BytesIO()
    np.save(file, np.arange(3))
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (gzip.compress(pickle.dumps([1, 2]), mtime=0), "it is gzip-compressed"),
        (zlib.compress(pickle.dumps([1, 2])), "it is compressed"),
        (_npy(), "it is an array of NumPy"),
        (b"<!DOCTYPE html><title>Log in</title>", "it is a web page"),
        (b"MATLAB 5.0 MAT-file", "it is a MATLAB file"),
        (b"", "readable pickle"),
    ],
)
def test_other_content_under_the_name_of_a_pickle_is_named(tmp_path, content, told):
    (tmp_path / "given.pkl").write_bytes(content)
    with pytest.raises(MalformedDataError, match=told):
        load_pickle(tmp_path / "given.pkl")


def _global(module, name):
    return f"c{module}\n{name}\n".encode()


def _text(value):
    return b"X" + struct.pack("<I", len(value)) + value


def _nothing_of_a_million_columns():
    return pickle.dumps(pd.DataFrame(np.zeros((0, 1_000_000))), protocol=3)[2:-1]


def _arrow_of_overlapping_texts():
    """Give a text of a megabyte, whole a hundred times over."""
    ends = np.tile([0, 10**6], 100).astype("<i4").tobytes()
    stored = ("string", 199, 0, 0, [None, ends, b"a" * 10**6], [], None)
    return _global("pyarrow.lib", "_restore_array") + pickle.dumps((stored,), 3)[2:-1] + b"R"


MANY = 100_000
BOMBS = {
    "empty dictionaries": b"(" + b"}" * 3 * MANY + b"l",
    "marks": b"(" * 3 * MANY,
    "empty tables": _global("pandas.core.internals.managers", "BlockManager") + b"q\xf0"
    + pickle.dumps(((), [pd.RangeIndex(0), pd.RangeIndex(0)]), protocol=3)[2:-1] + b"q\xf1("
    + b"h\xf0h\xf1R" * 5_000 + b"l",
    "overlapping texts": _arrow_of_overlapping_texts(),
    "one text copied": _global("builtins", "bytearray") + b"q\x00" + _text(b"a" * 10**6)
    + b"q\x01(" + (b"h\x00h\x01" + _text(b"latin1") + b"\x86R") * 3_000 + b"l",
    "keys of one hash": b"}("
    + b"".join(b"\x8a\x0a" + (k * (2**61 - 1)).to_bytes(10, "little") + b"N"
               for k in range(1, 5_000)) + b"u",
    "columns of nothing": _nothing_of_a_million_columns(),
    "objects of an address": pickle.dumps(np.int64(3), protocol=3)[2:-1].replace(
        b"C\x08" + struct.pack("<q", 3), b"]" + b"N".join([b"("] + [b""] * 8) + b"e"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_small_files_do_not_take_seconds_or_gigabytes(tmp_path, name, monkeypatch):
    """Bounds hold while a pickle is read: the work is refused before it is done."""
    monkeypatch.setattr("core.reading.safe_pickle.MOST_STEPS", 2 * MANY)
    monkeypatch.setattr("core.reading.safe_pickle.MOST_BYTES", 10 << 20)
    path = tmp_path / "bomb.pkl"
    path.write_bytes(b"\x80\x04" + BOMBS[name] + b".")
    tracemalloc.start()
    try:
        with pytest.raises(MalformedDataError, match=r"bomb\.pkl was refused: its pickle"):
            load_pickle(path)
        assert tracemalloc.get_traced_memory()[1] < 60 << 20
    finally:
        tracemalloc.stop()


def test_a_pickled_table_has_the_same_bytes_whatever_the_order_of_a_set(tmp_path):
    """Sets of texts have another order in every process."""
    table = pd.DataFrame({"one": ["a", "b"], "other": ["c", "d"]}, dtype=object)
    written = []
    for text in (("one", "other"), ("other", "one")):
        columns = Columns(names=("one", "other"), text=text)
        PickledTable(columns).write(tmp_path / "x.pkl", table)
        written.append((tmp_path / "x.pkl").read_bytes())
    assert written[0] == written[1]

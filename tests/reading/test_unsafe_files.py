"""Files that were made to harm, or that damage left behind: each is refused in one sentence."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import struct
import sys
import time
import tracemalloc
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from benchmarks.safety.fuzz import run_target, watch
from benchmarks.safety.fuzz_targets import TARGETS
from core.errors import MalformedDataError, MissingDataError
from core.files import read_json
from core.reading.array_files import read_arrays
from core.reading.safe_pickle import load_pickle
from core.source_tables import osf
from core.source_tables.layouts import LARGEST_TABLE_BYTES, LARGEST_TEXT_BYTES, LONGEST_HEADER_BYTES
from core.source_tables.placement import files_of
from core.source_tables.provenance import PROVENANCE_FILE, read_provenance
from core.source_tables.reader import SourceData
from neuro_data_analysis.evolution.codes import read_latent_codes
from neuro_data_analysis.matlab import v73 as matlab_v73
from neuro_data_analysis.matlab.v73_writer import write_v73
from neuro_data_analysis.matlab.values import (
    as_image_index,
    as_integers,
    as_matlab,
    as_positions,
    as_psth,
    as_struct,
    as_text,
    as_vector,
    per_thread,
)
from neuro_data_analysis.neural_data_lib import MAT_FILE, OPTIMIZER_FILE, Recordings
from neuro_data_analysis.tuning.sessions import parse_stimulus_names, read_session
from source_data_export.exports import MatRoot

DATA = Path(__file__).parents[1] / "data"

#: What a test may take while it refuses a file; the bombs below want a thousand times as much.
MOST_BYTES, LONGEST_S = 40 << 20, 20


@pytest.fixture
def little_memory():
    tracemalloc.start()
    started = time.process_time()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MOST_BYTES
    assert time.process_time() - started < LONGEST_S


# Pickles, instruction by instruction.
NONE, FALSE, TRUE = b"N", b"\x89", b"\x88"


def name(module, attribute):
    return f"c{module}\n{attribute}\n".encode()


def text(value):
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def raw(value):
    return b"B" + struct.pack("<I", len(value)) + value


def number(value):
    digits = pickle.encode_long(value)
    return b"\x8a" + bytes([len(digits)]) + digits


def together(*parts):
    return b"(" + b"".join(parts) + b"t"


def call(function, *arguments):
    return function + together(*arguments) + b"R"


def make(kind, *arguments):
    return kind + together(*arguments) + b"\x81"


def stacked(module, attribute):
    return text(module) + text(attribute) + b"\x93"


DTYPE = name("numpy", "dtype")
NDARRAY = name("numpy", "ndarray")
RECONSTRUCT = name("numpy.core.multiarray", "_reconstruct")
SCALAR = name("numpy.core.multiarray", "scalar")
FROMBUFFER = name("numpy.core.numeric", "_frombuffer")
FRAME = name("pandas.core.frame", "DataFrame")
NEW_INDEX = name("pandas.core.indexes.base", "_new_Index")
INDEX, ROWS = name("pandas", "Index"), name("pandas", "RangeIndex")
BACKED = name("pandas._libs.arrays", "__pyx_unpickle_NDArrayBacked")
BLOCK = name("pandas._libs.internals", "_unpickle_block")
MANAGER = name("pandas.core.internals.managers", "BlockManager")


def dtype(code, *state):
    made = call(DTYPE, text(code), FALSE, TRUE)
    return made + together(*state) + b"b" if state else made


OBJECTS = dtype("O8", number(3), text("|"), NONE, NONE, NONE, *map(number, (-1, -1, 63)))
BLANK = call(RECONSTRUCT, NDARRAY, together(number(0)), raw(b"b"))


def array(kind, shape, data):
    state = together(number(1), together(*map(number, shape)), kind, FALSE, data)
    return BLANK + state + b"b"


def items(*parts):
    return b"](" + b"".join(parts) + b"e"


def rows(stop):
    limits = (text("name"), NONE, text("start"), number(0), text("stop"), number(stop))
    return call(NEW_INDEX, ROWS, b"}(" + b"".join(limits) + text("step") + number(1) + b"u")


def table(items_, index, *blocks):
    manager = call(MANAGER, together(*blocks), b"](" + items_ + index + b"e")
    return make(FRAME) + b"}" + text("_mgr") + manager + b"sb"


def index_of(*labels):
    data = array(OBJECTS, (len(labels),), items(*labels))
    return call(NEW_INDEX, INDEX, b"}(" + text("data") + data + text("name") + NONE + b"u")


def pickled(folder, body, protocol=4):
    path = folder / "given.pkl"
    path.write_bytes(b"\x80" + bytes([protocol]) + body + b".")
    return path


def assert_refused(path, told):
    modules = set(sys.modules)
    with pytest.raises(MalformedDataError, match=told) as caught:
        load_pickle(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 700
    grown = set(sys.modules) - modules - {"importlib.readers"}  # time zones are data
    assert {name for name in grown if not name.startswith("tzdata")} == set()
    assert [file.name for file in path.parent.iterdir()] == [path.name]


class Reduced:
    """Pickles to a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "value",
    [
        Reduced(os.system, "touch ran"),
        Reduced(eval, "open('ran', 'w')"),
        Reduced(exec, "open('ran', 'w')"),
        Reduced(open, "ran", "w"),
        Reduced(__import__, "antigravity"),
        Reduced(getattr, dict, "fromkeys"),
        Reduced(pd.eval, "@__import__('os').system('touch ran')"),
        Reduced(pd.read_pickle, "other.pkl"),
        Reduced(np.load, "other.npy"),
        Reduced(np.fromfile, "/etc/passwd"),
        Reduced(np.memmap, "ran"),
        Reduced(pickle.loads, b"N."),
        Reduced(Path, "ran"),
        Reduced(map, print, [1]),
        np.array([Reduced(os.system, "touch ran")], dtype=object),
        pd.DataFrame({"a": [Reduced(os.system, "touch ran")]}),
        {"psth_arr": [{"deep": (Reduced(os.system, "touch ran"),)}]},
    ],
    ids=lambda value: getattr(value, "call", [type(value)])[0].__name__,
)
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_calls_that_would_run_code_are_refused(tmp_path, monkeypatch, value, protocol):
    """Also those that only read or make a file, and those hidden in arrays and tables."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "given.pkl"
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    assert_refused(path, "was refused: its pickle asks for")


@pytest.mark.parametrize(
    ("module", "attribute"),
    [
        ("os", "system"), ("posix", "system"), ("nt", "system"), ("subprocess", "Popen"),
        ("builtins", "eval"), ("builtins", "setattr"), ("builtins", "object"), ("builtins", "type"),
        ("builtins", "dict"), ("builtins", "list"), ("builtins", "range"), ("builtins", "str"),
        ("__builtin__", "eval"), ("__main__", "anything"), ("builtins", "breakpoint"),
        ("os", "path.join"), ("os.path", "join"), ("builtins", "object.__subclasses__"),
        ("builtins", "bytes.__class__.__base__.__subclasses__"), ("builtins", "bytes.__class__"),
        ("numpy", "ndarray.tofile"), ("numpy", "dtype.__class__"), ("numpy", "load"),
        ("numpy", "__loader__"), ("numpy.core", "multiarray._reconstruct"),
        ("numpy.f2py.crackfortran", "myeval"), ("numpy.testing._private.utils", "runstring"),
        ("pandas", "DataFrame.eval"), ("pandas", "DataFrame.query"), ("pandas", "DataFrame.to_csv"),
        ("pandas", "eval"), ("pandas", "read_pickle"), ("pandas", "compat.os.system"),
        ("pandas.core.frame", "DataFrame.__init__"), ("pandas", "read_csv"),
        ("copyreg", "_reconstructor"), ("copyreg", "__newobj__"), ("copy_reg", "_reconstructor"),
        ("operator", "attrgetter"), ("operator", "methodcaller"), ("functools", "partial"),
        ("types", "FunctionType"), ("types", "CodeType"), ("ctypes", "CDLL"), ("marshal", "loads"),
        ("_pickle", "loads"), ("pickle", "loads"), ("torch.storage", "_load_from_bytes"),
        ("torch", "load"), ("importlib", "import_module"), ("runpy", "run_path"), ("pty", "spawn"),
        ("webbrowser", "open"), ("code", "interact"), ("timeit", "timeit"), ("shutil", "rmtree"),
        ("socket", "socket"), ("pathlib", "Path"), ("codecs", "encode"), ("_codecs", "decode"),
        ("easydict", "EasyDict.__init__"), ("easydict", "os"),
        ("core.reading.safe_pickle", "os.system"),
        ("core.reading.safe_pickle", "dt.sys.exit"), ("collections", "defaultdict"), ("", ""),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", [name, stacked], ids=["GLOBAL", "STACK_GLOBAL"])
def test_names_that_no_array_needs_are_refused(tmp_path, module, attribute, form):
    """Dots in a name reach no attribute, and nothing is imported on the way."""
    assert_refused(pickled(tmp_path, form(module, attribute)), "asks for")


ZERO = number(0)
NUMBERS = array(dtype("i8"), (2,), raw(bytes(16)))


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"(ios\nsystem\n", "asks for os.system"),
        (b"(" + name("os", "system") + text("touch ran") + b"o", "asks for os.system"),
        (b"(" + FRAME + b"o", "readable pickle"),
        (FRAME + b")}\x92", "readable pickle"),
        (b"\x82\x01", "unregistered extension code"),
        (b"\x83\x01\x00", "unregistered extension code"),
        (b"\x84\x01\x00\x00\x00", "unregistered extension code"),
        (b"P1\n", "persistent id"),
        (NONE + b"Q", "persistent id"),
        (b"\x8f", "makes a set"),
        (b"(" + ZERO + b"\x91", "makes a set"),
        (b"\x97", "readable pickle"),
        (NONE + b"\x98", "readable pickle"),
        (call(text("x")), "calls a str"),
        (call(b"}"), "calls a dict"),
        (call(NDARRAY, ZERO), "calls ndarray"),
        (call(FRAME, b"}"), "readable pickle"),
        (DTYPE + text("f8") + b"R", "calls dtype with a str"),
        (call(DTYPE + together(text("f8")) + b"R", ZERO), "calls dtype with a tuple"),
        (make(FRAME, b"}"), "readable pickle"),
        (make(NDARRAY, ZERO), "calls ndarray"),
        (make(b"}"), "calls a dict with a tuple"),
        (FRAME + b"}b", "fills DataFrame with state"),
        (b"]}b", "fills a list with state"),
        (NUMBERS + together(ZERO, together(ZERO), dtype("i8"), FALSE, raw(b"")) + b"b", "twice"),
        (FRAME, "holds a name in place of a value"),
        (items(FRAME), "holds a name in place of a value"),
        (make(FRAME) + text("x") + ZERO + b"s", "sets items of DataFrame"),
        (make(FRAME) + ZERO + b"a", "readable pickle"),
        (NONE + b"(" + ZERO + b"e", "readable pickle"),
        (b"}" + together(ZERO) + ZERO + b"s", "has a tuple for a key"),
        (call(name("_codecs", "encode"), text("x"), text("zlib_codec")), "as 'zlib_codec'"),
        (call(SCALAR, OBJECTS, raw(b"12345678")), "fills an array of object with a bytes"),
        (call(SCALAR, dtype("i8"), items(*[ZERO] * 8)), "fills an array of int64 with a list"),
        (call(BACKED, FRAME, ZERO, NONE), "readable pickle"),
        (call(NEW_INDEX, FRAME, b"}"), "readable pickle"),
        (call(name("builtins", "getattr"), FRAME, text("eval")) + together(text("x")) + b"R",
         "readable pickle"),
        (table(index_of(text("a")), rows(1)), "fills 0 of the 1 columns"),
        (table(index_of(text("a")), rows(1), together(b"}", NONE)), "readable pickle"),
    ],
)  # fmt: skip
def test_instructions_that_no_array_needs_are_refused(tmp_path, monkeypatch, body, told):
    """Every call, every filling and every change is one that rebuilds arrays or tables."""
    monkeypatch.chdir(tmp_path)
    assert_refused(pickled(tmp_path, body), told)


def _flags(value):
    return dtype("O8", number(3), text("|"), NONE, NONE, NONE, *map(number, (-1, -1, value)))


def _field(offset, kind):
    fields = b"}" + text("a") + together(kind, number(offset)) + b"s"
    return together(text("a")), fields


POINTER = raw(struct.pack("<Q", 0x4141414141414141))


def _categories(codes):
    state = text("categories") + index_of(text("u"), text("v")) + text("ordered") + FALSE
    kind = make(name("pandas", "CategoricalDtype")) + b"}(" + state + b"ub"
    made = call(BACKED, name("pandas", "Categorical"), ZERO, NONE)
    codes = array(dtype("i1"), (len(codes),), raw(bytes(codes)))
    return made + together(kind, codes, b"}") + b"b"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (array(_flags(0), (1,), POINTER), "alters the dtype"),
        (array(OBJECTS, (1,), POINTER), "fills an array of object with a bytes"),
        (array(dtype("i8"), (1,), items(NONE)), "fills an array of int64 with a list"),
        (dtype("V8"), "describes a dtype 'V8'"),
        (dtype("V8", number(3), text("|"), NONE, *_field(0, OBJECTS), *map(number, (8, 1, 0))),
         "describes a dtype"),
        (dtype("S8", number(3), text("|"), NONE, *_field(2**30, dtype("f8")),
               *map(number, (8, 1, 0))), "alters the dtype"),
        (dtype("S8", number(3), text("|"), NONE, NONE, NONE, *map(number, (2**30, 1, 0))),
         "alters the dtype"),
        (dtype("i8", number(3), text("!"), NONE, NONE, NONE, *map(number, (-1, -1, 0))),
         "byteorder not recognized"),
        (dtype("S0"), "describes a dtype"),
        (dtype("m8[ns]"), "describes a dtype"),
        (array(dtype("i8"), (3,), raw(bytes(16))), "with 16 items or bytes"),
        (array(dtype("i8"), (-1, -2), raw(bytes(16))), "makes an array of shape"),
        (BLANK, "readable pickle"),
        (call(RECONSTRUCT, FRAME, together(ZERO), raw(b"b")), "readable pickle"),
        (call(SCALAR, dtype("f8"), raw(b"1")), "with 1 items or bytes"),
        (_categories([0, 1, 100]), "not a readable pickle"),
        (_categories([0, 1, 255, 254]), "not a readable pickle"),
        (table(index_of(text("a"), text("b")), rows(2),
               call(BLOCK, NUMBERS, call(name("builtins", "slice"), ZERO, number(1), number(1)),
                    number(2))), "fills 1 of the 2 columns|readable"),
        (table(index_of(text("a")), rows(3),
               call(BLOCK, NUMBERS, call(name("builtins", "slice"), ZERO, number(1), number(1)),
                    number(2))), "does not match length of index"),
        (table(index_of(text("a")), rows(2),
               call(BLOCK, array(dtype("i8"), (1, 2), raw(bytes(16))),
                    call(name("builtins", "slice"), number(10**9), number(10**9 + 1), number(1)),
                    number(2))), "readable pickle"),
    ],
)  # fmt: skip
def test_states_that_would_reach_foreign_memory_are_refused(tmp_path, body, told):
    """Flags, fields and sizes of dtypes, codes of categories, arrays that others look at."""
    assert_refused(pickled(tmp_path, body), told)


def _laughs(depth):
    """Nest ten references to a list of ten references to a list, and so on."""
    body = items(ZERO) + b"q\x00"
    for level in range(depth):
        body += b"0](" + 10 * (b"h" + bytes([level])) + b"eq" + bytes([level + 1])
    return body


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (call(name("builtins", "bytearray"), number(10**12)), "makes bytes of 1000000000000"),
        (call(name("builtins", "bytes"), number(10**12)), "makes bytes of 1000000000000"),
        (b"\x96" + struct.pack("<Q", 2**40), "readable"),
        (b"\x8e" + struct.pack("<Q", 2**62), "readable"),
        (b"\x95" + struct.pack("<Q", 2**40), "readable"),
        (b"B\xff\xff\xff\xffx", "readable"),
        (call(RECONSTRUCT, NDARRAY, together(number(10**12)), raw(b"b")), "readable pickle"),
        (array(dtype("i8"), (10**6, 10**6), raw(bytes(8))), "fills an array of shape"),
        (array(dtype("i8"), (0, 10**12), raw(b"")), "makes arrays, texts or columns of more than"),
        (array(OBJECTS, (10**12,), items(NONE)), "fills an array of shape"),
        (dtype("S1000000000"), "describes a dtype"),
        (call(FROMBUFFER, raw(bytes(8)), dtype("i8"), together(number(10**12)), text("C")),
         "fills an array of shape"),
        (rows(10**12), "makes arrays, texts or columns of more than"),
        (table(rows(10**12), rows(1)), "makes arrays, texts or columns of more"),
        (_laughs(8), "holds more than"),
        (items(_laughs(8)), "holds more than"),
        (b"]q\x00h\x00a", "nests more than"),
        (b"]" * 200 + b"a" * 199, "nests more than"),
        (b")" + b"\x85" * 100_000, "nests more than"),
        (b"I" + b"9" * 10_000 + b"\n", "readable"),
        (b"(" * 50_000, "readable"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("little_memory")
def test_bombs_are_refused_before_they_take_memory(tmp_path, body, told):
    """A short file that claims much, shares much or nests much."""
    assert_refused(pickled(tmp_path, body), told)


@pytest.mark.usefixtures("little_memory")
def test_places_of_the_memo_cost_nothing(tmp_path):
    """The unpickler in C would make room for two milliards of them."""
    path = pickled(tmp_path, NONE + b"r" + struct.pack("<I", 2**31))
    assert load_pickle(path) is None


def written_by_old_versions(version):
    """Return what the files in ``tests/data`` were made of."""
    content = pd.DataFrame(
        {"text": ["a", "b"], "flag": [True, False], "number": [0.1, np.nan], "count": [3, 4]}
    ).astype({"text": object})
    content["kind"] = pd.Categorical(pd.Index(["u", "v"], dtype=object))
    content["levels"] = [[1, 2], [3]]
    return content.set_axis(pd.Index(content.columns, dtype=object), axis=1)


@pytest.mark.parametrize("version", ["1_5", "2_0"])
def test_pickles_of_old_numpy_and_pandas_are_read(version):
    """Written by pandas 1.5.3 with numpy 1.24.4 and easydict 1.14, and by 2.0.3 with 1.26.4."""
    found = load_pickle(DATA / f"pickled_by_pandas_{version}.pkl")
    expected = written_by_old_versions(version)
    pd.testing.assert_frame_equal(found["df"], expected)
    expected.index = pd.Index([3, 9], name="Expi")
    pd.testing.assert_frame_equal(found["t2"], expected)
    pd.testing.assert_series_equal(found["f"], expected["number"])
    assert found["float_index"].index.tolist() == [0.5, 1.0]
    assert (found["n"], found["i8"], found["s"], found["c"]) == (3.0, 2, "hey", 1j)
    np.testing.assert_array_equal(found["F"], np.arange(6.0).reshape(2, 3))
    assert found["F"].flags.f_contiguous
    assert found["be"].tolist() == [1, 2]  # big-endian
    assert found["o"][:2].tolist() == [None, "x"]
    assert found["empty"].shape == (2, 0)
    if version == "1_5":
        assert found["easy"][0]["evol"]["psth"][0].shape == (2, 3)
        assert found["easy"][0]["evol"]["n"] == 1.5


@pytest.mark.parametrize("protocol", range(6))
def test_what_is_pickled_today_comes_back(tmp_path, protocol):
    shared = np.arange(6.0)
    value = {
        "arrays": [shared, shared, np.zeros((0, 3)), np.array(["a", None], dtype=object),
                   np.array(["x", "yy"]), np.array([True]), np.array([1 + 2j]), np.array(5)],
        "scalars": [np.float32(1.5), np.int64(-3), np.bool_(True), np.str_("s"), 2**70, -1.5, 1j,
                    b"raw", b"", bytearray(b"b"), "text", None, True, slice(1, None)],
        "nested": {"a": [(1, (2,)), {"b": []}], 3: "number"},
    }  # fmt: skip
    path = tmp_path / "value.pkl"
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    found = load_pickle(path)
    for one, two in zip(value["arrays"], found["arrays"], strict=True):
        assert one.dtype == two.dtype
        np.testing.assert_array_equal(one, two)
    assert found["arrays"][0] is found["arrays"][1]
    assert found["scalars"] == value["scalars"]
    assert [type(v) for v in found["scalars"]] == [type(v) for v in value["scalars"]]
    assert found["nested"] == value["nested"]


def test_a_cut_pickle_is_told_from_a_malicious_one(tmp_path):
    content = pickle.dumps(np.arange(100))
    (tmp_path / "cut.pkl").write_bytes(content[: len(content) // 2])
    with pytest.raises(MalformedDataError, match=r"cut.pkl is not a readable pickle .*CSV twin"):
        load_pickle(tmp_path / "cut.pkl")


# Files of weights and of arrays.
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin"])
def test_weights_that_would_run_code_are_refused(tmp_path, monkeypatch, zipped, suffix):
    torch = pytest.importorskip("torch")
    from core.utils.weights.state_dicts import read_state_dict

    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"weights{suffix}"
    content = {"conv.weight": torch.ones(2), "more": Reduced(os.system, "touch ran")}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(MalformedDataError, match=r"was refused: .*system") as caught:
        read_state_dict(path)
    assert path.name in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def _npz(path, **arrays):
    np.savez(path, **arrays)


def _bomb(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            head, {"descr": "<f8", "fortran_order": False, "shape": (10**13,)}
        )
        archive.writestr("eigv_avg.npy", head.getvalue())


def _npz_of_text(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("eigv_avg", b"1 2 3")


BAD_ARRAYS = {
    "objects": lambda path: _npz(path, eigv_avg=np.array([Reduced(os.system, "touch ran")])),
    "no archive": lambda path: path.write_bytes(pickle.dumps(Reduced(os.system, "touch ran"))),
    "one array": lambda path: path.write_bytes(b"\x93NUMPY\x01\x00v\x00" + b" " * 118),
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("eigv_avg"),
    "cut": lambda path: (_npz(path, eigv_avg=np.ones(99)), os.truncate(path, 300)),
    "bomb": _bomb,
    "no array": _npz_of_text,
}


@pytest.mark.parametrize("kind", BAD_ARRAYS)
def test_array_files_that_hold_anything_else_are_refused(tmp_path, monkeypatch, kind):
    """By the one reader that all .npz files go through, and by two that users see."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "given.npz"
    BAD_ARRAYS[kind](path)
    with pytest.raises(ValueError, match=r"."):
        read_arrays(path)
    pytest.importorskip("torch")
    from core.insilico.latent_linearity.codes import read_hessian
    from core.utils.optimizers.state import read_state

    for read in (lambda: read_hessian(path, 3), lambda: read_state(path)):
        with pytest.raises(MalformedDataError, match=r"given.npz"):
            read()
    assert [file.name for file in tmp_path.iterdir()] == ["given.npz"]


def test_arrays_larger_than_any_result_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("core.reading.array_files.LARGEST_ARRAYS_BYTES", 1000)
    _npz(tmp_path / "large.npz", x=np.ones(1000))
    with pytest.raises(ValueError, match="at most 1000 are read"):
        read_arrays(tmp_path / "large.npz")


@pytest.mark.usefixtures("little_memory")
def test_arrays_that_unpack_to_a_thousand_times_their_file_are_refused(tmp_path):
    """Zeros of 80 MB in 400 kB: more than small files may grow to."""
    with (
        zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("eigv_avg.npy", "w") as member,
    ):
        np.lib.format.write_array_header_1_0(
            member, {"descr": "<f8", "fortran_order": False, "shape": (80 << 17,)}
        )
        for _ in range(80):
            member.write(bytes(1 << 20))
    with pytest.raises(ValueError, match=r"838862\d\d bytes of arrays; at most 7\d{7} are"):
        read_arrays(tmp_path / "x.npz")


# Tables and notes.
def _table(folder, file):
    path = folder / "Fig4" / file
    path.parent.mkdir(exist_ok=True)
    return path


@pytest.mark.parametrize(
    ("key", "file", "size"),
    [
        ("Fig4/masks", "Figure4_src_exp_masks_and_succ_labels.csv", LARGEST_TEXT_BYTES + 1),
        ("Fig4/success_rate", "Fig4A_SuccessRate_maxinit.csv", LARGEST_TABLE_BYTES + 1),
        ("Fig4/success_labels", "Fig4A_sucs_labels.txt", (16 << 20) + 1),
    ],
)
@pytest.mark.usefixtures("little_memory")
def test_tables_of_absurd_size_are_not_opened(tmp_path, key, file, size):
    path = _table(tmp_path, file)
    with path.open("wb") as sparse:
        sparse.write(b"valid\n")
        sparse.truncate(size)
    with pytest.raises(MalformedDataError, match=f"{file}.*{size} bytes"):
        SourceData(tmp_path).read(key)


@pytest.mark.usefixtures("little_memory")
def test_a_table_of_a_million_columns_is_not_parsed(tmp_path):
    path = _table(tmp_path, "Figure4_src_exp_masks_and_succ_labels.csv")
    path.write_bytes(b"," * LONGEST_HEADER_BYTES + b"\n")
    with pytest.raises(MalformedDataError, match="its first line has 1048577 columns"):
        SourceData(tmp_path).read("Fig4/masks")


def test_rows_longer_than_their_header_are_refused(tmp_path):
    """The parser makes an index of what is too much, and misses the column that should be it."""
    path = tmp_path / "ExtendedFig4" / "FigureExt4_meta_df.csv"
    path.parent.mkdir()
    path.write_text("al,expdate\n0,1,2\n")
    with pytest.raises(MalformedDataError, match="not a readable CSV table"):
        SourceData(tmp_path).read("ExtendedFig4/meta")


def test_two_columns_of_one_name_are_refused(tmp_path):
    """A pickle can hold what a CSV cannot."""
    trials = pd.DataFrame([[1.0] * 4] * 2, columns=["resp", "resp", "bsl", "gen"])
    path = tmp_path / "Fig2" / "Figure2B_src_resp_Exp155.pkl"
    path.parent.mkdir()
    names = [f"thread{n}_{kind}resp_df" for n in (0, 1) for kind in ("", "natref_")]
    path.write_bytes(pickle.dumps(dict.fromkeys(names, trials)))
    with pytest.raises(MalformedDataError, match="two columns have the same name"):
        SourceData(tmp_path).read("Fig2/example_trials_pickle")


BAD_JSON = {
    "deep": "[" * 100_000,
    "deep object": '{"details":' * 100_000,
    "NaN": '{"sucs_criterion_label": "x", "sucs_label": NaN}',
    "infinity": '{"files": {"a": {"sha256": "x", "size": Infinity}}}',
    "long number": '{"files": {"a": {"sha256": "x", "size": 1' + "0" * 10_000 + "}}}",
    "cut": '{"kind": "simu',
    "list": '["kind"]',
    "text": '"kind"',
    "null": "null",
    "empty": "",
    "binary": "\x00\x01",
    "surrogate": '{"kind": "\\ud800", "details": {}}',
    "kind": '{"kind": "real", "details": {}}',
    "kind of list": '{"kind": ["simulated"], "details": {}}',
    "details": '{"kind": "found", "details": [1]}',
    "files": '{"kind": "found", "details": {}, "files": {"a.csv": {"kind": "real"}}}',
}


@pytest.mark.parametrize("kind", BAD_JSON)
def test_bad_json_is_refused_wherever_it_is_read(tmp_path, kind):
    """By the note of origin, the lock file and a table."""
    for path in (
        tmp_path / PROVENANCE_FILE,
        tmp_path / osf.LOCK_FILE,
        _table(tmp_path, "Fig4A_sucs_labels.txt"),
    ):
        path.write_text(BAD_JSON[kind], encoding="utf-8")
    for file, read in (
        (PROVENANCE_FILE, lambda: read_provenance(tmp_path)),
        (osf.LOCK_FILE, lambda: list(osf.changed_since_fetch(tmp_path))),
        ("Fig4A_sucs_labels.txt", lambda: SourceData(tmp_path).read("Fig4/success_labels")),
    ):
        with pytest.raises(MalformedDataError, match=re.escape(str(file))) as caught:
            read()
        assert len(str(caught.value)) < 600


def test_json_is_read_up_to_its_limit(tmp_path):
    (tmp_path / "x.json").write_text(json.dumps({"a": [1.5, "\u202e"]}))
    assert read_json(tmp_path / "x.json") == {"a": [1.5, "\u202e"]}
    with pytest.raises(ValueError, match="at most 5 are read"):
        read_json(tmp_path / "x.json", largest_bytes=5)


def test_the_origin_of_hostile_notes_stays_text(tmp_path):
    note = {"kind": "found", "details": {"<b>": ["<script>", 1]}}
    (tmp_path / PROVENANCE_FILE).write_text(json.dumps(note))
    assert read_provenance(tmp_path).details == {"<b>": "['<script>', 1]"}


# Archives.
def test_archives_of_too_many_files_or_bytes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("core.source_tables.placement.MOST_ENTRIES", 3)
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        for place in range(4):
            archive.writestr(f"{place}.csv", b"x")
    with (
        pytest.raises(MalformedDataError, match=r"many.zip was refused"),
        files_of(tmp_path / "many.zip"),
    ):
        pass


# What fuzzing found.
def v73(folder, **values):
    path = folder / "given.mat"
    with write_v73(path, "test") as file:
        for key, value in values.items():
            file.save(key, value)
    return path


def _promise(file):
    """Promise 800 GB of which nothing is stored."""
    file.create_dataset("x", shape=(10**11,), dtype="f8").attrs["MATLAB_class"] = b"double"


def _empty_of_a_size(file):
    item = file.create_dataset("x", data=np.array([10**6, 10**6], np.uint64))
    item.attrs["MATLAB_class"], item.attrs["MATLAB_empty"] = b"double", np.uint8(1)


def _named_type(file):
    file["x"] = np.dtype("f8")


def _cell_of_itself(file):
    cell = file.create_dataset("x", shape=(1, 1), dtype=h5py.ref_dtype)
    cell.attrs["MATLAB_class"] = b"cell"
    cell[0, 0] = cell.ref


def _null_reference(file):
    cell = file.create_dataset("x", shape=(1, 1), dtype=h5py.ref_dtype)
    cell.attrs["MATLAB_class"] = b"cell"


def _sparse_out_of_range(file):
    group = file.create_group("x")
    group.attrs["MATLAB_sparse"] = np.uint64(2)
    group["data"], group["ir"], group["jc"] = [1.0], [10**6], [0, 1]


def _broken_text(file):
    item = file.create_dataset("x", data=np.array([[0xD800], [0xD800]], np.uint16))
    item.attrs["MATLAB_class"] = b"char"


@pytest.mark.parametrize(
    "spoil",
    [
        _promise, _empty_of_a_size, _named_type, _cell_of_itself, _null_reference,
        _sparse_out_of_range,
    ],
)  # fmt: skip
def test_damaged_values_of_matlab_files_are_refused(tmp_path, spoil):
    path = tmp_path / "given.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        spoil(file)
    with matlab_v73.open_v73(path) as file, pytest.raises(MalformedDataError, match="is damaged"):
        matlab_v73.variable(file, "x")


RAGGED = [np.zeros(0), np.zeros((3, 3))]


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (lambda value: as_vector(value, "x"), ""),
        (lambda value: as_vector(value, "x"), {"a": 1}),
        (lambda value: as_vector(value, "x"), 1j),
        (lambda value: as_vector(value, "x"), RAGGED),
        (lambda value: as_vector(value, "x"), [[]]),
        (lambda value: as_integers(value, "x"), np.array([np.nan])),
        (lambda value: as_integers(value, "x"), np.array([np.inf])),
        (lambda value: as_integers(value, "x"), 10**30),
        (as_psth, "text"),
        (as_psth, RAGGED),
        (as_psth, pd.DataFrame({"a": [1]})),
        (as_image_index, np.array([1, np.inf])),
        (as_image_index, [None, 1.0]),
        (as_positions, [1.0, 2.0, 3.0]),
        (lambda value: as_struct(value, "meta"), None),
        (as_text, [["a"] * 10_000, "b"]),
        (per_thread, [[1, 2], None]),
        (per_thread, [RAGGED, 3]),
    ],
)
def test_values_of_the_wrong_kind_are_refused(read, value):
    with pytest.raises(MalformedDataError) as caught:
        read(as_matlab(value))
    assert len(str(caught.value)) < 300


def test_threads_with_psth_but_without_positions_are_refused():
    psth = [[np.zeros((200, 1))] * 2] * 2
    evolved = {
        "psth": psth,
        "idx_seq": [[1.0], [2.0]],
        "space_names": ["fc6", "BigGAN"],
        "pref_chan": 5.0,
        "unit_in_pref_chan": 1.0,
        "imgsize": 3.0,
        "imgpos": [0.0, 0.0],
    }
    meta = {"ephysFN": "Alfa-25112020-003", "expControlFN": "", "stimuli": ""}
    recordings = Recordings([as_matlab({"meta": meta, "evol": evolved})], Path("file.pkl"))
    with pytest.raises(MalformedDataError, match="2 blocks in psth, 1 in idx_seq"):
        _ = recordings[1]


def test_digits_of_other_scripts_are_no_positions():
    with pytest.raises(MalformedDataError, match="no image name has the form"):
        parse_stimulus_names(["class_eig٣_lin٠"])


@pytest.mark.parametrize("content", ["", "Expi\n1\n", '"', "a,b\n0,1,2\n", "\x00\x01\n"])
def test_a_bad_list_of_optimisers_is_refused(tmp_path, small_matroot, content):
    (tmp_path / MAT_FILE).symlink_to(small_matroot / MAT_FILE)
    (tmp_path / OPTIMIZER_FILE).write_text(content)
    with pytest.raises(MalformedDataError, match=OPTIMIZER_FILE):
        _ = MatRoot(tmp_path).population


def test_a_list_of_optimisers_that_the_disk_does_not_give_is_not_to_be_corrected(
    tmp_path, small_matroot, monkeypatch
):
    for name in (MAT_FILE, OPTIMIZER_FILE):
        (tmp_path / name).symlink_to(small_matroot / name)

    def broken(*_, **__):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("source_data_export.exports.pd.read_csv", broken)
    told = f"{OPTIMIZER_FILE} cannot be read .Input/output error.; change its permissions"
    with pytest.raises(MissingDataError, match=told):
        _ = MatRoot(tmp_path).population


@pytest.mark.parametrize(
    "content",
    [
        {"rasters": np.ones((1, 200, 1)), "meta": None, "Trials": {}},
        {"rasters": np.ones((1, 200, 1)), "meta": {"spikeID": 1.0}, "Trials": 3},
        {"rasters": np.ones((1, 200, 1)), "meta": {"spikeID": np.nan}, "Trials": {"imageName": []}},
        {"rasters": np.array([[["x"]]]), "meta": {"spikeID": 1.0}, "Trials": {"imageName": ["a"]}},
        {"rasters": np.ones((1, 200, 1)), "meta": {"spikeID": 1.0, "unitID": np.inf},
         "Trials": {"imageName": ["a"]}},
    ],
)  # fmt: skip
def test_sessions_of_the_wrong_kind_are_refused(tmp_path, content):
    (tmp_path / "s.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(MalformedDataError, match=r"s\.pkl"):
        read_session(tmp_path, "s")


def test_a_damaged_code_file_is_refused(tmp_path):
    """Compressed data that do not unpack; scipy lets zlib's own error through."""
    import scipy.io

    path = tmp_path / "block000_thread000_code.mat"
    scipy.io.savemat(path, {"codes": np.ones((2, 4))}, do_compression=True)
    content = bytearray(path.read_bytes())
    content[-4] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(MalformedDataError, match="block000_thread000_code"):
        read_latent_codes(tmp_path, 0)


#: Their readers are C libraries that a damaged file might bring down, and this process with them.
IN_C = ("recordings", "tuning files", "merged codes", "rig arrays")

#: Inputs of slow targets; of the others 40.
FEWER = dict.fromkeys(("recordings", "recorded values"), 10) | dict.fromkeys(
    ("tables", "pictures", "servers", "tuning files", "merged codes", "rig arrays"), 20
)


@pytest.mark.parametrize("target", TARGETS)
def test_every_reader_ends_in_data_or_one_sentence(target, tmp_path, capfd):
    """The fast cut of ``benchmarks.safety.fuzz``: a thousand inputs, the same in every run."""
    if target == "weights":
        pytest.importorskip("torch")
    most = FEWER.get(target, 40)
    if target in IN_C:
        counted = watch(TARGETS[target], 60, most, 0, tmp_path)
        assert counted == (most, False), capfd.readouterr().out
        return
    tally, findings = run_target(TARGETS[target], tmp_path / "input", seed=0, most=most)
    assert findings == []
    assert tally.read > 0
    assert tally.refused > 0

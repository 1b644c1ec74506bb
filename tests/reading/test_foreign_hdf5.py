"""HDF5 files of others are read within bounds, and lead to no other file."""

from __future__ import annotations

import resource
import struct
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from core.errors import MalformedDataError
from core.reading.hdf5 import MOST_GROWTH_BY_NAMES, bounded_memory
from core.rig import response_files
from core.rig.response_files import read_responses
from neuro_data_analysis.matlab import v73 as matlab_v73
from neuro_data_analysis.tuning.sessions import read_session

ROOT = Path(__file__).resolve().parents[2]
HEADER_BYTES = 512


def endless_free_places(path):
    """Let the free places among the names of a file's root lead back to themselves.

    HDF5 follows such a chain until the memory is full (3.9 GB in 30 s were seen).
    """
    with h5py.File(path, "w", libver="earliest", userblock_size=HEADER_BYTES) as file:
        file["meta"] = file["stimulusID"] = [1.0]
    content = bytearray(path.read_bytes())
    heap = content.index(b"HEAP")
    size, _, names = struct.unpack_from("<QQQ", content, heap + 8)
    struct.pack_into("<Q", content, heap + 16, size - 16)
    struct.pack_into("<QQ", content, HEADER_BYTES + names + size - 16, size - 16, 16)
    path.write_bytes(content)


def _read_variable(path):
    with matlab_v73.open_v73(path) as file, matlab_v73.reading(path):
        return matlab_v73.variable(file, "meta")


READERS = {
    "variable": _read_variable,
    "tuning session": lambda path: read_session(path.parent, path.name[:-14]),
    "responses of a rig": read_responses,
}


def _read_as_a_command(name, path):
    """Print the processor time and the growth of this process, for the test below."""
    largest_kb, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(MalformedDataError, match="memory"):
        READERS[name](Path(path))
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - largest_kb
    sys.stdout.write(f"{time.process_time() - started} {grown_kb}\n")


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_AS"), reason="no limit of memory to set")
@pytest.mark.parametrize("reader", READERS)
def test_a_chain_without_an_end_takes_bounded_time_and_memory(bare, tmp_path, reader):
    """20 s and 2 GB are the bound; it takes about a second and 300 MB.

    In a process of its own, for one that has run many tests has freed memory to fill.
    """
    path = tmp_path / "Alfa-25112020-003_formatted.mat"
    endless_free_places(path)
    code = "import sys; from tests.reading.test_foreign_hdf5 import _read_as_a_command as read; "
    done = bare.run(f"{code}read(*sys.argv[1:])", reader, path)
    assert done.returncode == 0, done.stderr
    seconds, grown_kb = map(float, done.stdout.split())
    assert seconds < 10
    assert grown_kb * 1024 < 2 * MOST_GROWTH_BY_NAMES


def _free_place_without_bytes(path):
    """Spoil the heap of a file's texts: HDF5 (1.14) looks at such a place for ever."""
    with h5py.File(path, "w") as file:
        file["stimulusID"] = ["a", "b", "c"]
        file["tEvokedResp"] = np.arange(3.0)
    content = bytearray(path.read_bytes())
    place = content.index(b"GCOL") + 16 + 3 * 24
    assert struct.unpack_from("<HQ", content, place)[0] == 0
    struct.pack_into("<Q", content, place + 8, 0)
    path.write_bytes(content)


def test_a_heap_that_does_not_get_on_is_refused_before_it_is_read(tmp_path):
    """In a process of its own, which would not end."""
    _free_place_without_bytes(tmp_path / "r.h5")
    code = (
        "import sys, pathlib; from core.rig.response_files import read_responses as read; "
        "from core.errors import exit_code_of; "
        "sys.exit(exit_code_of(lambda: read(pathlib.Path(sys.argv[1]))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "r.h5")],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip
    assert "r.h5 cannot be read: an object of 0 bytes at" in done.stderr


def test_a_class_without_a_fixed_length_is_refused(tmp_path):
    """It would lie in a heap; MATLAB writes none."""
    with h5py.File(tmp_path / "x.mat", "w") as file:
        file["meta"] = [1.0]
        file["meta"].attrs["MATLAB_class"] = "double"
    with pytest.raises(MalformedDataError, match="MATLAB_class is no text of fixed length"):
        _read_variable(tmp_path / "x.mat")


def test_bounds_are_lifted_afterwards():
    before = resource.getrlimit(resource.RLIMIT_AS)
    with pytest.raises(MemoryError), bounded_memory(1 << 26), bounded_memory(1 << 34):
        np.empty(1 << 30)  # 8 GB, of which nothing is touched
    assert resource.getrlimit(resource.RLIMIT_AS) == before


def _other_file(folder):
    with h5py.File(folder / "other.h5", "w") as file:
        file["secret"] = np.arange(3.0)


def _linked(file, folder):
    file["tEvokedResp"] = h5py.ExternalLink("other.h5", "/secret")


def _external(file, folder):
    (folder / "raw.bin").write_bytes(np.arange(3.0).tobytes())
    file.create_dataset("tEvokedResp", (3,), "f8", external=[(folder / "raw.bin", 0, 24)])


def _virtual(file, folder):
    layout = h5py.VirtualLayout(shape=(3,), dtype="f8")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "secret", shape=(3,))
    file.create_virtual_dataset("tEvokedResp", layout)


def _promise(file, folder):
    file.create_dataset("tEvokedResp", (10**6,), "f8", chunks=(1000,))


def _many_names(file, folder):
    del file["stimulusID"]
    file.create_dataset("stimulusID", (10**6,), h5py.string_dtype(), chunks=(1000,))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_linked, "is a link to 'other.h5'"), (_external, "is kept in another file"),
        (_virtual, "is kept in another file"), (_promise, "8000000 bytes are promised, 0 are"),
        (_many_names, f"at most {response_files.MOST_TRIALS}"),
    ],
)  # fmt: skip
def test_responses_of_a_rig_lie_in_their_file(tmp_path, spoil, told):
    _other_file(tmp_path)
    with h5py.File(tmp_path / "r.h5", "w") as file:
        file["stimulusID"] = ["a", "b", "c"]
        spoil(file, tmp_path)
    with pytest.raises(MalformedDataError, match=told):
        read_responses(tmp_path / "r.h5")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [(_external, "is kept in another file"), (_virtual, "is kept in another file"),
     (_promise, "8000000 bytes are promised, 0 are")],
)  # fmt: skip
def test_values_in_a_cell_lie_in_their_file(tmp_path, spoil, told):
    """Cells of plain numbers have a short way of their own, past the same doors."""
    _other_file(tmp_path)
    with h5py.File(tmp_path / "x.mat", "w") as file:
        spoil(file, tmp_path)
        file["tEvokedResp"].attrs["MATLAB_class"] = np.bytes_("double")
        file["meta"] = np.array([[file["tEvokedResp"].ref]], dtype=h5py.ref_dtype)
        file["meta"].attrs["MATLAB_class"] = np.bytes_("cell")
    with pytest.raises(MalformedDataError, match=told):
        _read_variable(tmp_path / "x.mat")

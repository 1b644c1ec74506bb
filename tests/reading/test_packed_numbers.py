"""Files of weights, arrays and optimisers that promise more than they hold."""

from __future__ import annotations

import tracemalloc
import zipfile

import numpy as np
import pytest

from core.errors import MalformedDataError, UserError, exit_code_of
from core.reading.array_files import read_arrays

torch = pytest.importorskip("torch")

from core.utils.optimizers.cma import CholeskyCMAES  # noqa: E402
from core.utils.weights.state_dicts import read_state_dict  # noqa: E402


def archive(path, data, method=zipfile.ZIP_STORED, **more):
    with zipfile.ZipFile(path, "w", method) as zipped:
        for name, content in {"data.pkl": data, "version": b"3\n", **more}.items():
            zipped.writestr(f"a/{name}", content)
    return path


def _bytearray(path):
    archive(path, b"\x80\x02cbuiltins\nbytearray\nJ\x00\x94\x35\x77\x85R.")


def _saved(path, legacy=False):
    torch.save({"w": torch.ones(3)}, path, _use_new_zipfile_serialization=not legacy)
    return path.read_bytes()


def _deflated(path):
    _saved(path)
    with zipfile.ZipFile(path) as saved:
        members = {m.filename: saved.read(m) for m in saved.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            packed.writestr(name, content + bytes(50 << 20) * name.endswith("data/0"))


def _long_storage(path):
    """Write a legacy file whose storage is said to hold a milliard numbers."""
    content = _saved(path, legacy=True)
    at = content.index(b"cpu") + 3
    at = content.index(b"K\x03", at)
    path.write_bytes(content[:at] + b"J\x00\xca\x9a\x3b" + content[at + 2 :])


@pytest.mark.parametrize("make", [_bytearray, _deflated, _long_storage])
def test_weights_that_promise_more_than_the_file_holds_are_refused(tmp_path, make):
    """Before torch makes room for them."""
    path = tmp_path / "given.pt"
    make(path)
    tracemalloc.start()
    try:
        with pytest.raises(MalformedDataError, match=r"given\.pt (was refused|is not a readable)"):
            read_state_dict(path)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("legacy", [False, True])
def test_honest_weights_of_both_formats_are_read(tmp_path, legacy):
    _saved(tmp_path / "given.pt", legacy)
    assert read_state_dict(tmp_path / "given.pt")["w"].tolist() == [1, 1, 1]


def test_arrays_that_are_packed_a_thousand_times_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("core.reading.array_files.SMALL_BYTES", 1 << 20)
    np.savez_compressed(tmp_path / "x.npz", x=np.zeros(1 << 20))
    with pytest.raises(ValueError, match="bytes of arrays; at most"):
        read_arrays(tmp_path / "x.npz")


def test_packed_numbers_are_read(tmp_path, rng):
    values = rng.normal(size=(1000, 100))
    np.savez_compressed(tmp_path / "x.npz", x=values, zeros=np.zeros(1000))
    np.testing.assert_array_equal(read_arrays(tmp_path / "x.npz")["x"], values)


def test_a_member_that_is_no_array_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as packed:
        packed.writestr("x", "a text")
    with pytest.raises(ValueError, match="x is no array"):
        read_arrays(tmp_path / "x.npz")


@pytest.mark.parametrize("value", [np.nan, -2.0, 0.5, np.inf, 1e300])
@pytest.mark.parametrize("name", ["istep", "counteval", "eigeneval"])
def test_counters_that_count_nothing_are_refused(name, value):
    optimizer = CholeskyCMAES(8, init_code=np.zeros(8), random_seed=3)
    state = dict(optimizer.state_dict())
    state[name] = np.array(value)
    with pytest.raises(MalformedDataError, match=f"entry '{name}' .* needed are whole numbers"):
        optimizer.load_state_dict(state)


@pytest.mark.parametrize(
    "change",
    [('"state"', '"stat"'), ('"has_uint32": 0', '"has_uint32": "x"'), ('"inc":', '"in":'),
     ('"has_uint32": 0', '"has_uint32": 1e999')],
)  # fmt: skip
def test_random_states_that_cannot_be_are_refused(change):
    optimizer = CholeskyCMAES(8, init_code=np.zeros(8), random_seed=np.random.default_rng(3))
    state = dict(optimizer.state_dict())
    state["random"] = str(state["random"]).replace(*change)
    with pytest.raises(UserError, match="random state of the saved optimiser"):
        optimizer.load_state_dict(state)


def test_escapes_of_foreign_files_never_reach_a_terminal(capsys):
    def command():
        raise MalformedDataError("column '\x1b]0;gotcha\x07\x1b[2J' in é.csv\u202e")

    assert exit_code_of(command) == 1
    told = capsys.readouterr().err
    assert "é.csv" in told
    assert "\\x1b]0;gotcha\\x07" in told
    assert not any(ord(letter) < 32 and letter != "\n" for letter in told)

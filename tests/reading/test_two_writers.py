"""Two processes that write one folder at once leave one whole set, or one is refused."""

from __future__ import annotations

import multiprocessing
import time

import numpy as np
import pytest

from benchmarks.safety import two_writers
from core.errors import BusyError, CannotWriteError, UserError
from core.files import UNFINISHED_SUFFIX, atomic_write, locked, move_into, staging_folder
from core.source_tables.provenance import Provenance, read_provenance
from core.source_tables.reader import SourceData, Table, write_tables
from neuro_data_analysis.simulation import matroot
from tests.reading.test_faults import tree

WINDOWS = [(start, start + 10) for start in range(0, 100, 10)]
MEMBERS = [{"window": w, "space": space} for w in WINDOWS for space in ("DeePSim", "BigGAN")]
PAIRS = 4


def export(folder, who, delay, answers):
    """Write twenty tables that all hold the number of their writer."""
    time.sleep(delay)
    tables = [Table("Fig5/window_response_mean", np.full((30, 56), who), m) for m in MEMBERS]
    try:
        write_tables(folder, "Fig5", tables, Provenance("recordings", {"who": str(who)}))
        answers.put("ok")
    except UserError as error:
        answers.put(str(error))


def both(work, *arguments):
    """Let two processes do the same work at once; return what each says."""
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    processes = [context.Process(target=work, args=(*given, answers)) for given in arguments]
    for process in processes:
        process.start()
    said = [answers.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    return said


@pytest.mark.parametrize("pair", range(PAIRS))
def test_two_exports_leave_one(tmp_path, pair):
    """The tables are of one writer, the note of origin is too, and nothing unfinished is left."""
    folder = tmp_path / "data"
    said = both(export, (folder, 1.0, 0.0), (folder, 2.0, 0.02 * pair))
    assert said == ["ok", "ok"]
    source = SourceData(folder)
    values = {v for m in MEMBERS for v in np.unique(source.read("Fig5/window_response_mean", **m))}
    assert len(values) == 1
    assert read_provenance(folder / "Fig5").details == {"who": str(values.pop())}
    assert not [name for name in tree(folder) if UNFINISHED_SUFFIX in name or ".lock" in name]


def _hold(path, seconds, answers):
    try:
        with locked(path, wait=False):
            time.sleep(seconds)
        answers.put("held")
    except BusyError as error:
        answers.put(str(error))


def test_the_second_that_does_not_wait_is_refused(tmp_path):
    said = both(_hold, (tmp_path / "out", 0.5), (tmp_path / "out", 0.5))
    assert sorted(answer.partition(" ")[0] for answer in said) == ["another", "held"]
    assert list(tmp_path.iterdir()) == []


def _count(path, answers):
    for _ in range(100):
        with locked(path):
            number = int(path.read_text() or 0)
            path.write_text(str(number + 1))
    answers.put("ok")


def test_nobody_is_let_in_twice(tmp_path):
    """Locks that are removed and made again all the time still exclude each other."""
    path = tmp_path / "number"
    path.touch()
    both(_count, (path,), (path,), (path,))
    assert path.read_text() == "300"


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / ".out.lock").symlink_to(victim)
    with pytest.raises(CannotWriteError), locked(tmp_path / "out"):
        pass
    assert victim.read_text() == "mine"


def test_a_lock_that_a_killed_process_left_holds_nobody_up(tmp_path):
    (tmp_path / ".out.lock").touch()
    with locked(tmp_path / "out", wait=False):
        pass
    assert list(tmp_path.iterdir()) == []


def test_staging_of_a_killed_process_is_removed_by_the_next(tmp_path):
    """Not that of one that is alive."""
    left = tmp_path / f".Fig4.abc{UNFINISHED_SUFFIX}"
    left.mkdir()
    (left / "half.csv").write_text("half")
    with staging_folder(tmp_path / "Fig4") as alive, staging_folder(tmp_path / "Fig4") as other:
        (alive / "x").write_text("x")
        assert alive != other
    assert list(tmp_path.iterdir()) == []


def test_what_was_replaced_before_the_disk_was_full_is_told(tmp_path, monkeypatch):
    """Nobody says that nothing was changed when something was."""
    files = [tmp_path / f"{n}.csv" for n in range(3)]
    for file in files:
        file.write_text("new")
    files[1].unlink()
    with pytest.raises(CannotWriteError, match="1 of 3 files there were replaced already"):
        move_into(tmp_path / "out", files)
    with pytest.raises(CannotWriteError, match="Nothing there was changed"):
        move_into(tmp_path / "out", files[1:])


def test_a_folder_of_that_name_is_told(tmp_path):
    (tmp_path / "x.csv").mkdir()
    told = "Nothing there was changed"
    with pytest.raises(CannotWriteError, match=told), atomic_write(tmp_path / "x.csv"):
        pass


#: Works that wait for their turn; of two others, the second is refused while the first writes.
WAITING = ("figures", "placing by hand", "fetch", "simulation")


@pytest.mark.parametrize("work", [work for work in two_writers.WORKS if work != "export"])
def test_one_pair_of_other_writers_leaves_one_whole_set(work, monkeypatch):
    """The fast cut of ``benchmarks.safety.two_writers``, which counts twenty pairs of each."""
    if work in ("evolution", "sweep", "Hessians"):
        pytest.importorskip("torch")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    monkeypatch.setattr(matroot, "BLOCK_CODES_OF", ())  # they take most of the time
    (outcome,) = two_writers.run(work, 1)
    allowed = ["whole: ok and ok"] + ["whole: ok and refused"] * (work not in WAITING)
    assert outcome in allowed

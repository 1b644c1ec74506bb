"""Full disks, folders that cannot be written, and processes killed in the middle."""

from __future__ import annotations

import errno
import itertools
import os
import re
import resource
import shutil
import signal
import tempfile
import threading
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from benchmarks.safety import two_writers
from core.errors import CannotWriteError, MalformedDataError, MissingDataError, exit_code_of
from core.files import UNFINISHED_SUFFIX, atomic_write
from core.source_tables import osf
from core.source_tables.placement import FoundFile, choose_files, files_of, place
from core.source_tables.provenance import Provenance, read_provenance
from core.source_tables.reader import SourceData, write_table, write_tables
from core.spaces import Space
from figure_reproduction.Figure4_reproduction import FIGURE
from figure_reproduction.page.page import PrintJob, print_figure
from figure_reproduction.page.report import write_report
from neuro_data_analysis.evolution.population import Population, success_rate_table
from neuro_data_analysis.evolution.stats import summarize
from neuro_data_analysis.evolution.tables import figure2_tables, figure4_tables
from neuro_data_analysis.matlab.v73_writer import write_v73
from source_data_export import demonstration
from tests.evolutions import make_experiment
from tests.forks import die, forked
from tests.source_tables.test_osf import Handler, Osf

REAL = Provenance("recordings")


def tables_of(seed):
    """Return the tables of Figure 4 of two experiments."""
    rng = np.random.default_rng(seed)
    experiments = [make_experiment(rng, [[12] * n] * 2, expi=e) for e, n in ((3, 16), (9, 20))]
    return list(figure4_tables(Population(tuple(summarize(e) for e in experiments), {})))


def export(folder, seed=2):
    write_tables(folder / "data", "Fig4", tables_of(seed), REAL)


def pickles(folder, seed=2):
    example = make_experiment(np.random.default_rng(seed), [[12] * 5] * 2, expi=155)
    write_tables(folder / "data", "Fig2", list(figure2_tables(example)), REAL)


def recordings(folder, seed=2):
    with write_v73(folder / "recording.mat", "x") as file:
        file.save("x", np.random.default_rng(seed).normal(size=(100, 100)))


def figure(folder, seed=2):
    counts = [seed, 7, 9]
    table = success_rate_table(dict.fromkeys(Space, counts), [9] * 3)
    write_table(folder / "counts", "Fig4/success_rate", table)
    job = PrintJob(folder / "counts", folder / "figures", ("png", "svg"), panels=("4A",))
    print_figure(FIGURE, job)


def page(folder, seed=2):
    figure(folder, seed)
    write_report(folder / "figures")


def by_hand(folder, seed=2):
    body = np.random.default_rng(seed).bytes(30_000)
    name = "Fig4A_SuccessRate_maxinit.csv"
    (folder / "hand").mkdir(exist_ok=True)
    if not (folder / "hand" / name).exists() or (folder / "hand" / name).read_bytes() != body:
        (folder / "hand" / name).write_bytes(body)
    with files_of(folder / "hand") as found:
        place(choose_files(found)[0], folder / "data", Provenance("found"), force=True)


def tree(folder):
    """Return path → bytes of every file, hidden ones too; a page's links tell where it lies."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
    for name in [name for name in found if name.endswith(".html")]:
        found[name] = re.sub(rb'href="(\.\./)+', b'href="', found[name])
    return found


@contextmanager
def full_disk(bytes_left=1500):
    """Let no file grow beyond a few bytes, as if the disk ended there."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_left, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


WORKS = [export, pickles, recordings, figure, page, by_hand]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # h5py tells twice
@pytest.mark.parametrize("work", WORKS)
def test_a_full_disk_leaves_the_earlier_files_and_nothing_else(tmp_path, work, capsys):
    """One sentence and exit code 1; where there is room again, the same call completes."""
    folder = tmp_path / "one"
    folder.mkdir()
    work(folder, seed=1)
    if work is by_hand:
        (folder / "hand" / "Fig4A_SuccessRate_maxinit.csv").write_bytes(
            np.random.default_rng(2).bytes(30_000)
        )
    earlier = tree(folder)
    with full_disk():
        assert exit_code_of(lambda: work(folder)) == 1
    assert "error: cannot write" in capsys.readouterr().err
    left = tree(folder)
    assert left.keys() == earlier.keys()
    changed = {name for name in left if left[name] != earlier[name]}
    assert changed <= {"counts/Fig4/Fig4A_SuccessRate_maxinit.csv"}  # small enough to be written
    work(folder)
    (tmp_path / "two").mkdir()
    work(tmp_path / "two")
    assert tree(folder) == tree(tmp_path / "two")


@pytest.mark.parametrize(
    ("work", "number"),
    [(export, errno.ENOSPC), (pickles, errno.EROFS), (recordings, errno.EACCES),
     (figure, errno.EROFS), (page, errno.EDQUOT), (by_hand, errno.ENOSPC), (by_hand, errno.EROFS),
     (by_hand, errno.EACCES), (by_hand, errno.EDQUOT)],
)  # fmt: skip
def test_a_folder_that_cannot_be_written_is_named(tmp_path, work, number, monkeypatch, capsys):
    """Whatever the system's reason is; earlier files stay."""
    work(tmp_path, seed=1)
    earlier = tree(tmp_path)

    def refuse(**_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("core.files.tempfile.mkstemp", refuse)
    monkeypatch.setattr("core.files.tempfile.mkdtemp", refuse)
    if work is by_hand:
        (tmp_path / "hand" / "Fig4A_SuccessRate_maxinit.csv").touch()
    assert exit_code_of(lambda: work(tmp_path, seed=1)) == 1
    told = capsys.readouterr().err
    assert os.strerror(number) in told
    assert str(tmp_path) in told
    assert tree(tmp_path) == earlier


OTHER_WORKS = ("simulation", "evolution", "sweep", "Hessians")


def _small_work(work, folder):
    if work != "simulation":
        pytest.importorskip("torch")
    return lambda: two_writers.WORKS[work](folder / "out", 1)


@pytest.mark.parametrize("work", OTHER_WORKS)
def test_a_full_disk_stops_what_is_computed_with_one_sentence(tmp_path, work, capsys):
    with full_disk(bytes_left=100):
        assert exit_code_of(_small_work(work, tmp_path)) == 1
    assert "error: cannot write" in capsys.readouterr().err
    assert all(path.stat().st_size <= 100 for path in tmp_path.rglob("*") if path.is_file())
    assert two_writers.unfinished_in(tmp_path) == []


@pytest.mark.parametrize("work", OTHER_WORKS)
def test_a_read_only_folder_is_named_before_anything_is_computed(work):
    with tempfile.TemporaryDirectory(prefix="read-only-") as name:
        Path(name).chmod(0o555)
        run = _small_work(work, Path(name))
        with ordinary_user(), pytest.raises(CannotWriteError, match=f"cannot write {name}"):
            run()
        Path(name).chmod(0o755)
        assert tree(Path(name)) == {}


@contextmanager
def ordinary_user():
    """Be no root for a while, who writes where nobody else may."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("work", WORKS)
def test_a_read_only_folder_is_named(work):
    """Outside pytest's folder, into which another user may not even look."""
    with tempfile.TemporaryDirectory(prefix="read-only-") as name:
        folder = Path(name)
        (folder / "hand").mkdir()
        (folder / "hand" / "Fig4A_SuccessRate_maxinit.csv").write_bytes(
            np.random.default_rng(2).bytes(30_000)
        )
        earlier = tree(folder)
        folder.chmod(0o555)
        with ordinary_user(), pytest.raises(CannotWriteError, match="Permission denied"):
            work(folder)
        folder.chmod(0o755)
        assert tree(folder) == earlier


@pytest.mark.parametrize("work", [export, figure, by_hand])
def test_a_file_where_a_folder_should_be_is_named(tmp_path, work):
    for name in ("data", "figures"):
        (tmp_path / name).write_text("in the way")
    with pytest.raises(CannotWriteError, match=r"cannot write"):
        work(tmp_path)
    assert tree(tmp_path)["data"] == tree(tmp_path)["figures"] == b"in the way"


@pytest.fixture(scope="module")
def remote():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.answers, server.requests = {}, []
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield Osf(server)
    server.shutdown()
    server.server_close()


def test_a_full_disk_stops_a_fetch_that_the_next_one_completes(remote, tmp_path):
    """What has arrived is kept aside, what was there stays."""
    path = "/Fig4_Source_data/Fig4A_sucs_labels.txt"
    whole = dict(remote.storage)
    remote.storage = whole | {path: b'{"sucs_label": ""}' + b" " * 20_000 + b"\n"}
    remote.publish()
    try:
        with full_disk(), pytest.raises(CannotWriteError, match="cannot write"):
            osf.fetch(tmp_path, addresses=remote.addresses)
        assert not any(not name.startswith(".osf") for name in tree(tmp_path))
        placed = osf.fetch(tmp_path, addresses=remote.addresses)
        assert len(placed.written) == 3
        assert not any(UNFINISHED_SUFFIX in name for name in tree(tmp_path))
    finally:
        remote.storage = whole
        remote.publish()


def _dying_at_renaming(number, work, *given):
    """Do a work that dies at a renaming, the moment at which a file appears."""
    count, rename = itertools.count(1), Path.replace

    def replace_or_die(path, target):
        if next(count) == number:
            die()
        return rename(path, target)

    Path.replace = replace_or_die
    work(*given)


#: Work → renamings at which it dies. An export renames every table once when it is written, and
#: once more into its place; a fetch begins with four pages of listings.
DEATHS = {
    "export": (1, 4, 10, 13),
    "recordings": (1,),
    "figure": (1, 3, 4),
    "page": (5,),
    "by_hand": (1, 2),
    "fetch": (2, 6, 9, 13),
}


@pytest.fixture(scope="module")
def killed(remote, tmp_path_factory):
    """Let every work die once at each of its points, on top of an earlier run."""
    base = tmp_path_factory.mktemp("killed")
    for work, numbers in DEATHS.items():
        earlier = tmp_path_factory.mktemp("earlier")
        if work != "fetch":
            _run(work, earlier, remote, seed=1)
        for number in numbers:
            folder = shutil.copytree(earlier, base / f"{work}@{number}")
            ended = forked(_dying_at_renaming, number, _run, work, folder, remote)
            assert ended == -signal.SIGKILL, f"{work} ended before its renaming {number}"
    return base


def _run(work, folder, remote, seed=2):
    if work == "fetch":
        osf.fetch(folder, addresses=remote.addresses)
    else:
        globals()[work](folder, seed)


@pytest.fixture(scope="module")
def whole(remote, tmp_path_factory):
    """Return what runs leave that nothing disturbs: (work, seed) → path → bytes."""
    trees = {}
    for work in DEATHS:
        for seed in (1, 2):
            folder = tmp_path_factory.mktemp("whole")
            _run(work, folder, remote, seed)
            trees[work, seed] = tree(folder)
    return trees


@pytest.mark.parametrize(("work", "number"), [(w, n) for w, ns in DEATHS.items() for n in ns])
def test_a_killed_process_leaves_whole_files_and_the_next_run_completes(
    killed, whole, remote, work, number
):
    """Every file is the earlier or the new one; unfinished ones are hidden, and gone at the end."""
    folder = killed / f"{work}@{number}"
    earlier, new = whole[work, 1], whole[work, 2]
    for name, content in tree(folder).items():
        if not any(part.startswith(".") for part in Path(name).parts):
            assert content in (earlier.get(name), new.get(name)), name
    _run(work, folder, remote)
    assert tree(folder) == new


def test_tables_of_two_exports_are_not_read_as_one(tmp_path, monkeypatch):
    """An export that dies while it replaces another leaves a mark, which the next one removes."""
    export(tmp_path, seed=1)
    moves, replace = iter(range(100)), Path.replace

    def stop_at_the_third_move(path, target):
        if target.parent == tmp_path / "data" / "Fig4" and next(moves) == 3:
            raise KeyboardInterrupt
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", stop_at_the_third_move)
    with pytest.raises(KeyboardInterrupt):
        export(tmp_path, seed=2)
    monkeypatch.undo()
    with pytest.raises(MalformedDataError, match=r"Fig4 holds tables of two exports"):
        SourceData(tmp_path / "data").read("Fig4/masks")
    export(tmp_path, seed=2)
    assert len(SourceData(tmp_path / "data").read("Fig4/masks")) == 2


def test_leftovers_are_removed_but_not_what_another_process_writes(tmp_path):
    """Unlocked ones of the same file go, empty or not, at once; locked or foreign ones stay."""
    path = tmp_path / "table[1].csv"
    left, empty = (tmp_path / f".{path.name}.{n}{UNFINISHED_SUFFIX}" for n in "ab")
    other = tmp_path / f".another.csv.x{UNFINISHED_SUFFIX}"
    left.write_text("half")
    other.write_text("half")
    empty.touch()
    with atomic_write(path) as one:
        one.write_text("one")
        with atomic_write(path) as two:
            two.write_text("two")
        assert path.read_text() == "two"
        assert one.read_text() == "one"
    assert path.read_text() == "one"
    assert sorted(tmp_path.iterdir()) == sorted([other, path])


def test_a_source_that_cannot_be_read_is_told_from_a_target_that_cannot_be_written(tmp_path):
    def broken():
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    name = "Fig4A_sucs_labels.txt"
    chosen = {name: FoundFile(f"stick/{name}", 3, broken)}
    with pytest.raises(MissingDataError, match=f"stick/{name} cannot be read: Input/output error"):
        place(chosen, tmp_path, Provenance("found"))
    assert tree(tmp_path) == {}


def test_a_simulation_that_dies_is_not_taken_for_a_whole_one(tmp_path, monkeypatch):
    """No recordings under their name, no note that says complete; the next call makes both."""

    def simulate(folder, *_, **__):
        folder.mkdir(parents=True)
        (folder / "recording.mat").write_text("half")

    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(demonstration, "simulate_matroot", simulate)
    monkeypatch.setattr(demonstration, "simulate_prototypes", lambda *_: None)
    monkeypatch.setattr(demonstration, "run", lambda *_: None)
    monkeypatch.setattr(demonstration, "simulate_tuning_sessions", die)
    with pytest.raises(KeyboardInterrupt):
        demonstration.ensure_demonstration(tmp_path)
    assert not (tmp_path / "recordings").exists()
    assert not (tmp_path / "simulation.json").exists()
    monkeypatch.setattr(demonstration, "simulate_tuning_sessions", lambda *_: None)
    demonstration.ensure_demonstration(tmp_path)
    assert sorted(tree(tmp_path)) == ["recordings/recording.mat", "simulation.json"]
    monkeypatch.setattr(demonstration, "simulate_matroot", die)
    demonstration.ensure_demonstration(tmp_path)


def test_a_folder_without_its_note_is_completed(tmp_path):
    """A placement that died before the note of origin is repeated, and the note is there."""
    by_hand(tmp_path)
    (tmp_path / "data" / "Fig4" / "provenance.json").unlink()
    by_hand(tmp_path)
    assert read_provenance(tmp_path / "data" / "Fig4").kind == "found"
    assert "data/Fig4/provenance.json" in tree(tmp_path)

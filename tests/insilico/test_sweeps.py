"""Sweeps: their file, their cells, submission, failure and gathering."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from core.errors import BusyError, MalformedDataError, MissingDataError, UsageError, UserError
from core.files import locked
from core.insilico.paired_evolution.command import evolve_pairs
from core.insilico.paired_evolution.settings import EvolutionSettings, Noise
from core.insilico.sweeps import command
from core.insilico.sweeps.cells import RunCell, SweepCell, read_cell
from core.insilico.sweeps.command import Resources, main, run_sweep
from core.insilico.sweeps.file import read_sweep
from tests.tiny_networks import tiny_networks

ROOT = Path(__file__).parents[2]

TWO_CELLS = """
nets = ["tiny", "breaks"]
layers = ["conv2"]
channels = [2, 4]
generators = ["BigGAN"]
steps = 3
repetitions = 1
population = 6
"""

TINY = "tests.tiny_networks:tiny_networks"


def sweep_of(folder, text):
    path = folder / "sweep.toml"
    path.write_text(text)
    return read_sweep(path)


@pytest.fixture
def tiny_cell(tmp_path):
    settings = EvolutionSettings("tiny", "conv2", (2, 3), ("BigGAN",), steps=3, repetitions=1)
    cell = SweepCell(tmp_path / "cell", settings, {})
    cell.write()
    return cell


def test_cells_of_a_file(tmp_path):
    """A file gives one cell per net, layer, placement, generator and block of channels."""
    sweep = sweep_of(
        tmp_path,
        """
        nets = ["resnet50", "alexnet"]
        layers = {resnet50 = [".layer3.Bottleneck5", ".Linearfc"], alexnet = ["conv5"]}
        channels = [0, 25]
        placements = ["whole", "field"]
        optimizers = {BigGAN = ["CholCMA", "HessCMA"], fc6 = ["HessCMA500"]}
        hessians = {BigGAN = "H.npz"}
        repetitions = 10
        noise = {kind = "poisson", scale = 0.5}
        """,
    )
    cells = sweep.cells(tmp_path)
    assert len(cells) == 3 * 2 * 2 * 3
    assert len({cell.folder for cell in cells}) == len(cells)
    assert [cell.settings.channels for cell in cells[:3]] == [(0, 10), (10, 20), (20, 25)]
    for cell in cells:
        (generator,) = cell.settings.generators
        assert cell.settings.labels == (
            ("HessCMA500",) if generator == "fc6" else ("CholCMA", "HessCMA")
        )
        assert cell.settings.noise == Noise("poisson", 0.5)
        assert cell.settings.repetitions == 10
        assert cell.hessians == {"BigGAN": str(tmp_path / "H.npz")}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ('layer = ["conv1"]', "unknown key 'layer'. Did you mean 'layers'"),
        ('optimizers = ["ChloCMA"]', "Did you mean 'CholCMA'"),
        ('generators = ["fc7"]', "unknown generator 'fc7'"),
        ('placements = ["fields"]', "Did you mean 'field'"),
        ("steps = true", "steps is True; expected a whole number"),
        ('steps = "many"', "expected a whole number"),
        ("untrained = 1", "expected true or false"),
        ("nets = []", "expected a list that is not empty"),
        ("nets = [3]", "expected a list of texts"),
        ('layers = ["a", "a"]', "each there once"),
        ("channels = [4, 2]", "expected \\[A, B\\]"),
        ("channels_per_cell = 0", "1 or more"),
        ("units = [3]", "both came"),
        ("units = [[3, 4]]", "expected C, or"),
        ('noise = {kind = "pink"}', "unknown noise 'pink'"),
        ("noise = {sd = 1}", "unknown key of noise 'sd'"),
        ('layers = {tinny = ["conv1"]}', "unknown entry of layers 'tinny'. Did you mean 'tiny'"),
        ('layers = {tiny = ["conv1"]}', "layers says nothing of 'breaks'"),
        ('optimizers = {fc6 = ["CholCMA"]}', "optimizers says nothing of 'BigGAN'"),
        ('hessians = {biggan = "H.npz"}', "unknown generator of hessians 'biggan'"),
        ('hessians = {BigGAN = "H\\u0000.npz"}', "a path that cannot be"),
        ("channels = [0, 2000000000]", "more than 500 cells"),
        ('networks = "nowhere.networks:load"', "a file may not; give --networks"),
        ("hessians = {fc6 = {}}", "hessians has .*expected a list of texts"),
        ("repetitions = 0", "0 repetitions"),
    ],
)
def test_mistakes_in_a_file(tmp_path, monkeypatch, change, words):
    """A typo in a sweep file is named, with what is allowed, before anything runs."""
    monkeypatch.setattr("core.insilico.sweeps.file.MOST_CELLS", 500)
    key = change.partition(" ")[0]
    lines = [line for line in TWO_CELLS.splitlines() if not line.startswith(f"{key} ")]
    with pytest.raises(UsageError, match=words):
        run_sweep(sweep_of(tmp_path, "\n".join([*lines, change])), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_files_that_are_no_sweep(tmp_path):
    """A file that is missing, no TOML, or lacks a key is named."""
    with pytest.raises(MissingDataError, match="no sweep file"):
        read_sweep(tmp_path / "nothing.toml")
    with pytest.raises(MalformedDataError, match="is not TOML"):
        sweep_of(tmp_path, "nets = [")
    with pytest.raises(UsageError, match="channels missing"):
        sweep_of(tmp_path, 'nets = ["a"]\nlayers = ["b"]')


def test_a_cell_reads_back(tmp_path, tiny_cell):
    """A process reads from its folder what another has written there."""
    assert read_cell(tiny_cell.folder) == tiny_cell
    (tiny_cell.folder / "cell.json").write_text('{"settings": {}}')
    with pytest.raises(MalformedDataError, match="is not what a sweep wrote"):
        read_cell(tiny_cell.folder)


def test_a_running_cell_is_locked(tiny_cell):
    """A cell that a process is at is not run a second time."""
    assert not tiny_cell.is_running
    with locked(tiny_cell.folder):
        assert tiny_cell.is_running
        with pytest.raises(BusyError, match="another process"):
            RunCell(TINY)(str(tiny_cell.folder))
    assert not tiny_cell.is_running
    assert not tiny_cell.is_done


def test_a_requeued_cell_goes_on(tiny_cell):
    """What submitit requeues goes on from the last generation, and runs only once."""

    def stopped(steps):
        for step in steps:
            if step == 2:
                raise KeyboardInterrupt
            yield step

    networks = tiny_networks()
    with pytest.raises(KeyboardInterrupt):
        evolve_pairs(tiny_cell.settings, tiny_cell.results, networks=networks, progress=stopped)
    networks.generators["BigGAN"].batches.clear()
    again = RunCell(TINY).checkpoint(str(tiny_cell.folder))
    again.result()
    assert tiny_cell.is_done
    pictures = [3, 28]  # the best of three generations, and the last one
    assert networks.generators["BigGAN"].batches == [28, *pictures]
    RunCell(TINY)(str(tiny_cell.folder))
    assert networks.generators["BigGAN"].batches == [28, *pictures]


def test_a_sweep_through_submitit(tmp_path, monkeypatch, capsys):
    """Cells run in processes; one fails, is reported and run alone; all runs are one table.

    What runs again runs here.
    """
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("TINY_MENDED", str(tmp_path / "mended"))
    sweep_of(tmp_path, TWO_CELLS)
    output = tmp_path / "out"
    arguments = [str(tmp_path / "sweep.toml"), "--output", str(output), "--jobs", "2"]
    arguments += ["--networks", TINY]
    assert main(arguments) == 1
    said = capsys.readouterr()
    assert "RuntimeError: the network fell apart (log: " in said.err
    assert "the network fell apart" in Path(said.err.split("(log: ")[1].rstrip(")\n")).read_text()
    assert said.out.startswith("1 cells done, 1 failed")
    assert set(pd.read_csv(output / "runs.csv")["netname"]) == {"tiny"}
    first = {path: path.stat().st_mtime_ns for path in output.rglob("scores*.npz")}
    (tmp_path / "mended").touch()
    assert len(list((output / "logs").glob("*_log.err"))) == 2
    again = Executor(run=True)
    monkeypatch.setattr(command, "submitit_executor", lambda *given: again)
    assert main(arguments) == 0
    runs = pd.read_csv(output / "runs.csv")
    assert sorted(zip(runs["netname"], runs["unitid"], strict=True)) == [
        ("breaks", 2), ("breaks", 3), ("tiny", 2), ("tiny", 3),
    ]  # fmt: skip
    assert {path: path.stat().st_mtime_ns for path in first} == first
    assert len(again.folders) == 1
    assert main(arguments) == 0  # nothing is left to run
    assert len(again.folders) == 1
    sweep_of(tmp_path, "seed = 0\n" + TWO_CELLS)  # spelled out
    assert main(arguments) == 0
    assert len(again.folders) == 1
    assert main([*arguments[:-1], "tests.tiny_networks:other"]) == 2
    assert "another experiment: networks differ" in capsys.readouterr().err


class Executor:
    """Stands in for submitit: runs nothing, or each cell in this process."""

    def __init__(self, run):
        self.run, self.arrays, self.folders = run, [], []

    def map_array(self, function, folders):
        self.arrays.append(list(folders))
        return [self.submit(function, folder) for folder in folders]

    def submit(self, function, folder):
        error = None
        self.folders.append(folder)
        if self.run:
            try:
                function(folder)
            except UserError as raised:
                error = raised
        return SimpleNamespace(
            exception=lambda: error,
            done=lambda: True,
            paths=SimpleNamespace(stderr="x.err"),
            job_id=f"7_{len(self.arrays)}",
        )


def test_arrays_stay_below_the_limit(tmp_path):
    """On a cluster the cells go out as arrays that the site accepts, and may be left there."""
    sweep = sweep_of(tmp_path, TWO_CELLS.replace("[2, 4]", "[0, 7]") + "channels_per_cell = 1")
    executor = Executor(run=False)
    outcome = run_sweep(
        sweep,
        tmp_path / "out",
        Resources("slurm", max_array=4),
        wait=False,
        make_executor=lambda *_: executor,
    )
    assert [len(array) for array in executor.arrays] == [4, 4, 4, 2]
    assert len({folder for array in executor.arrays for folder in array}) == 14
    assert len(outcome.waiting) == 14
    assert outcome.table is None


def test_every_job_of_this_machine_has_a_device_to_itself(tmp_path, monkeypatch):
    """Fourteen cells on three devices: never two on one, and each as soon as one is free."""
    monkeypatch.setattr(command, "POLL_S", 0)
    sweep = sweep_of(tmp_path, TWO_CELLS.replace("[2, 4]", "[0, 7]") + "channels_per_cell = 1")
    running, at_once, given = [], [], []

    class Job:
        def __init__(self, device, looks):
            self.device, self.looks = device, looks
            self.paths = SimpleNamespace(stderr="log")

        def done(self):
            self.looks -= 1
            if not self.looks:
                running.remove(self)
            return not self.looks

        def exception(self):
            return ValueError("nothing was run")

    def submit(work, folder):
        running.append(Job(read_cell(Path(folder)).device, 1 + len(given) % 4))
        given.append(running[-1].device)
        at_once.append([job.device for job in running])
        return running[-1]

    devices = ("cuda:0", "cuda:1", "cuda:5")
    executor = SimpleNamespace(submit=submit)
    run_sweep(
        sweep, tmp_path / "out", Resources(devices=devices), make_executor=lambda *_: executor
    )
    assert len(given) == 14
    assert set(given) == set(devices)
    assert all(len(set(used)) == len(used) <= 3 for used in at_once)
    assert max(map(len, at_once)) == 3


def test_jobs_that_wait_in_the_queue_are_not_submitted_again(tmp_path):
    """Called again, a sweep asks the cluster; what it has lost sight of is submitted anew."""
    sweep = sweep_of(tmp_path, TWO_CELLS.replace("[2, 4]", "[0, 4]") + "channels_per_cell = 1")
    executor, asked = Executor(run=False), []

    def call(state, sweep=sweep):
        def tell(logs, job_id):
            asked.append(job_id)
            return state

        executor.arrays.clear()
        run_sweep(
            sweep, tmp_path / "out", Resources("slurm"), wait=False,
            make_executor=lambda *_: executor, job_state=tell,
        )  # fmt: skip
        return sum(map(len, executor.arrays))

    assert call("PENDING") == 8
    assert asked == []
    assert [call(state) for state in ("PENDING", "RUNNING", "UNKNOWN")] == [0, 0, 0]
    assert set(asked) == {"7_1"}
    grown = sweep_of(tmp_path, TWO_CELLS.replace("[2, 4]", "[0, 5]") + "channels_per_cell = 1")
    assert call("PENDING", grown) == 2
    assert call("CANCELLED", grown) == 10
    for cell in grown.cells(tmp_path / "out"):
        cell.fail("no memory")
    assert call("PENDING", grown) == 10


def test_a_sweep_may_grow_and_be_put_in_another_order(tmp_path):
    """Cells that are done keep their folders."""
    first = sweep_of(tmp_path, TWO_CELLS).cells(tmp_path)
    other = TWO_CELLS.replace('["tiny", "breaks"]', '["breaks", "tiny", "more"]')
    assert other != TWO_CELLS
    grown = sweep_of(tmp_path, "seed = 0\n" + other).cells(tmp_path)
    assert {cell.folder for cell in first} < {cell.folder for cell in grown}
    for cell in first:
        cell.write()
    longer = sweep_of(tmp_path, TWO_CELLS.replace("[2, 4]", "[2, 7]")).cells(tmp_path)
    assert [cell.settings.channels for cell in longer] == [(2, 4), (4, 7)] * 2
    assert [cell.folder for cell in longer[::2]] == [cell.folder for cell in first]


def test_a_sweep_over_a_list_of_units_and_own_generators(tmp_path):
    """Cells of some units each, read back by the process that runs them."""
    text = """
    nets = ["tiny"]
    layers = ["conv2"]
    units = [3, 17, [5, 1, 2]]
    channels_per_cell = 2
    generators = ["PixelSpace"]
    optimizers = ["HessCMA"]
    hessians = {PixelSpace = "Avg_Hess.npz"}
    """
    cells = sweep_of(tmp_path, text).cells(tmp_path)
    assert [cell.settings.units for cell in cells] == [((3,), (17,)), ((5, 1, 2),)]
    assert len({cell.folder for cell in cells}) == 2
    assert cells[0].hessians == {"core.utils:PixelSpace": str(tmp_path / "Avg_Hess.npz")}
    cells[1].write()
    assert read_cell(cells[1].folder) == cells[1]


def test_long_names_are_cut_or_said(tmp_path):
    """File systems take 255 bytes: of a cell's folder the end is cut, of a unit's it is said."""
    layer = "layer" * 38
    (cell,) = sweep_of(tmp_path, sweep_text(layer)).cells(tmp_path)
    assert len(cell.folder.name) <= 255
    cell.write()
    with pytest.raises(UsageError, match=r"a name of \d+ letters; a file system takes 255"):
        sweep_of(tmp_path, sweep_text(layer * 2)).cells(tmp_path)


def sweep_text(layer):
    return f'nets = ["tiny"]\nlayers = ["{layer}"]\nchannels = [0, 1]\ngenerators = ["fc6"]\n'


def test_without_a_cluster(tmp_path, capsys):
    """Asked for a cluster where there is none, the command says so."""
    sweep_of(tmp_path, TWO_CELLS)
    arguments = [str(tmp_path / "sweep.toml"), "--output", str(tmp_path / "out")]
    assert main([*arguments, "--executor", "slurm"]) == 2
    assert "Give --executor local" in capsys.readouterr().err
    assert not (tmp_path / "out" / "experiment.json").exists()


@pytest.mark.parametrize(
    ("sbatch", "code"),
    [
        ("cp $1 $SUBMITTED/$$; echo Submitted batch job $$", 0),
        ("echo no such partition >&2; exit 1", 1),
    ],
)
def test_submission_to_slurm(tmp_path, monkeypatch, capsys, sbatch, code):
    """SLURM gets arrays with partition, time, requeueing and the signal before preemption."""
    tools, submitted = tmp_path / "bin", tmp_path / "submitted"
    for folder in (tools, submitted):
        folder.mkdir()
    for name, text in (("sbatch", sbatch), ("srun", "true"), ("sacct", "true")):
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("SUBMITTED", str(submitted))
    sweep_of(tmp_path, TWO_CELLS + "channels_per_cell = 1")
    arguments = [str(tmp_path / "sweep.toml"), "--output", str(tmp_path / "out"), "--executor",
                 "slurm", "--no-wait", "--partition", "gpu", "--gpus", "1", "--jobs", "1",
                 "--max-array", "2", "--hours", "3"]  # fmt: skip
    assert main(arguments) == code
    said = capsys.readouterr()
    if code:
        assert "the cluster did not take the jobs" in said.err
        assert "no such partition" in said.err
        return
    assert "4 with other processes" in said.out
    scripts = [path.read_text() for path in submitted.iterdir()]
    assert len(scripts) == 2
    for option in ("--array=0-1%1", "--requeue\n", "--partition=gpu", "--time=180",
                   "--gpus-per-node=1", "--open-mode=append", "--signal=USR2@"):  # fmt: skip
        assert all(f"#SBATCH {option}" in script for script in scripts), option


def test_the_reason_of_a_user_error_is_told(tmp_path):
    """A cell that cannot be run is reported in the words of its error; the others run."""
    text = TWO_CELLS.replace('"breaks"', '"tiny2"').replace("[2, 4]", "[7, 9]")
    sweep = sweep_of(tmp_path, text + "channels_per_cell = 1")
    outcome = run_sweep(
        sweep, tmp_path / "out", networks=TINY, make_executor=lambda *_: Executor(run=True)
    )
    assert len(outcome.done) == len(outcome.failed) == 2
    for reason in outcome.failed.values():
        assert reason == (
            "channels 8 to 8 were asked for; layer 'conv2' has 8, numbered from 0. (log: x.err)"
        )


def test_a_process_that_vanishes_is_told(tmp_path):
    """A cell whose process ended without noting why is reported as failed."""
    outcome = run_sweep(
        sweep_of(tmp_path, TWO_CELLS), tmp_path / "out", make_executor=lambda *_: Executor(False)
    )
    assert len(outcome.failed) == 2
    assert all("ended without a word" in reason for reason in outcome.failed.values())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"executor": "slrum"}, "Did you mean 'slurm'"),
        ({"jobs": 0}, "1 or more"),
        ({"hours": 0}, "above 0"),
        ({"devices": ("cuda:0",), "jobs": 2}, "a device of its own"),
        ({"devices": ("cuda:0", "cuda:0")}, "a device of its own"),
        ({"devices": ("cuda:0",), "executor": "slurm"}, "a cluster gives its own"),
    ],
)
def test_resources_that_cannot_be(options, words):
    """Impossible resources are refused."""
    with pytest.raises(UsageError, match=words):
        Resources(**options)


def test_without_submitit(tmp_path, monkeypatch, capsys):
    """Without submitit the command says how to install it; jobs here cannot be left alone."""
    sweep = sweep_of(tmp_path, TWO_CELLS)
    monkeypatch.setitem(sys.modules, "submitit", None)
    assert main([str(tmp_path / "sweep.toml"), "--output", str(tmp_path / "out")]) == 3
    assert "pip install submitit" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    with pytest.raises(UsageError, match="are waited for"):
        run_sweep(sweep, tmp_path / "out", wait=False)


def test_reading_a_sweep_runs_nothing_that_a_file_names(tmp_path, monkeypatch, capsys):
    """Neither the file nor a cell on disk can name code; the command line can, when a cell runs."""
    (tmp_path / "planted.py").write_text("import pathlib; pathlib.Path('ran').touch()")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    sweep_of(tmp_path, TWO_CELLS)
    (tmp_path / "evil.toml").write_text(TWO_CELLS + 'networks = "planted:load"')
    assert main(["evil.toml", "--output", "out"]) == 2
    assert "a file may not; give --networks" in capsys.readouterr().err
    cell = next(iter(read_sweep(tmp_path / "sweep.toml").cells(tmp_path / "out")))
    cell.write()
    note = cell.folder / "cell.json"
    note.write_text(note.read_text().replace('"device"', '"networks": "planted:load", "device"'))
    with pytest.raises(MalformedDataError, match="is not what a sweep wrote"):
        RunCell()(str(cell.folder))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "text",
    ["nets = " + "[" * 20_000 + "]" * 20_000, ".".join("a" * 30_000) + " = 1", "#" * (1 << 19),
     "a" + '."b"' * 30 + " = 1"],
)  # fmt: skip
def test_files_that_are_deep_or_long_are_no_sweep(tmp_path, text):
    with pytest.raises(MalformedDataError, match=r"is not TOML: .*(deep|more than)"):
        sweep_of(tmp_path, text)


@pytest.mark.parametrize("text", ["[" * 100_000, "{}", "null", '{"settings": {"channels": [1]}}'])
def test_notes_of_a_cell_that_no_sweep_wrote_end_in_a_sentence(tiny_cell, text):
    (tiny_cell.folder / "cell.json").write_text(text)
    with pytest.raises(MalformedDataError, match=r"cell\.json"):
        read_cell(tiny_cell.folder)
    (tiny_cell.folder / "failed.json").write_text("{}")
    assert tiny_cell.failure() == "no reason was noted"


def test_a_cell_of_three_channels_is_refused(tiny_cell):
    note = tiny_cell.folder / "cell.json"
    note.write_text(note.read_text().replace("2,\n   3", "1, 2, 3"))
    with pytest.raises(MalformedDataError, match=r"cell\.json"):
        read_cell(tiny_cell.folder)

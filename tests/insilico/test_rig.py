"""A rig behind a folder or a socket: files of every form, lost trials, faults, kills."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.io import savemat

from core.errors import CannotWriteError, MalformedDataError, MissingDataError, UsageError
from core.rig import (
    BlockResponses,
    FakeNeurons,
    FakeRig,
    FolderRig,
    Request,
    SessionInfo,
    SocketRig,
    sockets,
)
from core.rig.blocks import as_png, from_png, responses_from
from core.rig.fake import serve_folder, write_responses
from core.rig.folder import read_request, waiting_blocks, write_request
from core.rig.response_files import read_responses
from core.utils.evolution import loop
from core.utils.evolution.loop import evolve
from core.utils.generators.image_spaces import PixelSpace
from neuro_data_analysis.matlab.v73_writer import write_v73
from tests import rig_sides
from tests.forks import forked

ROOT = Path(__file__).resolve().parents[2]
INFO = SessionInfo("Alfa", "2020-11-25", 3)
QUIET = {"progress": False, "population": 6}
ZOE = SessionInfo("Zoe", "2024-05-17", area="V4")
FAST = {"settle_s": 0.01, "poll_s": 0.005}


def neurons(**options):
    drives = [lambda x: x[:, 0].mean((1, 2)), lambda x: x[:, 2].mean((1, 2))]
    return FakeNeurons(drives, [0.2, 0.2], [150.0, 150.0], **options)


class answering:
    """Fake neurons at the other side of a folder, for the length of a ``with`` block."""

    def __init__(self, folder, form="csv", **options):
        self.ended = threading.Event()
        arguments = (neurons(**options), folder)
        more = {"form": form, "poll_s": 0.005, "until": self.ended.is_set}
        self.thread = threading.Thread(target=serve_folder, args=arguments, kwargs=more)

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *error):
        self.ended.set()
        self.thread.join()


@pytest.fixture
def request_of_two():
    """Two pictures, the first of them twice."""
    grey, white = np.full((4, 4, 3), 0.5), np.ones((4, 4, 3))
    pictures = {"grey": as_png(grey), "white": as_png(white)}
    return Request("Alfa-25112020-003", 2, 0, pictures, ("grey", "white", "grey"))


def test_a_block_goes_through_a_folder_unchanged(tmp_path, request_of_two):
    write_request(tmp_path, request_of_two)
    assert [path.name for path in waiting_blocks(tmp_path)] == ["block002"]
    assert read_request(tmp_path / "block002") == request_of_two
    assert not list(tmp_path.glob(".*"))
    np.testing.assert_array_equal(from_png(request_of_two.pictures["grey"])[0, 0], [128] * 3)


def written(folder, form, names, evoked, psth=None):
    """Write responses as other software would, in one of the forms that are read."""
    path = folder / {"v5": "r.mat", "v73": "r.mat"}.get(form, f"r.{form}")
    cells = np.array(names, dtype=object)[:, np.newaxis]
    if form == "csv":
        table = pd.DataFrame({"stimulusID": names, "tEvokedResp": evoked[:, 0], "t": 1.0})
        table["tEvokedResp_2"] = evoked[:, 1]
        table.to_csv(path, index=False)
    elif form == "v5":
        savemat(path, {"stimulusID": cells, "tEvokedResp": evoked, "other": [1, 2]})
    elif form == "v73":
        with write_v73(path, "responses") as file:
            file.save("stimulusID", cells)
            file.save("tEvokedResp", evoked)
            if psth is not None:
                file.save("psth", psth)
    else:
        with h5py.File(path, "w") as file:
            file["stimulusID"] = names
            file["tEvokedResp"] = evoked
            if psth is not None:
                file["psth"] = psth
    return path


def test_names_that_are_nested_unevenly_are_refused():
    """A socket may answer so; no array can be made of them."""
    with pytest.raises(MalformedDataError, match="the rig: stimulusID is no list of names"):
        responses_from({"stimulusID": ["a", ["b", "c"]], "tEvokedResp": [[1.0], [2.0]]}, "the rig")


@pytest.mark.parametrize("density", [1e7, -1e7, 1e39, np.inf])
def test_densities_that_no_neuron_has_are_refused(tmp_path, density):
    """They would be kept as float32, in which the largest are infinite."""
    psth = np.ones((3, 200))
    psth[1, 7] = density
    path = written(tmp_path, "h5", ["a", "b", "c"], np.ones((3, 1)), psth)
    with pytest.raises(MalformedDataError, match=r"holds a psth beyond 1e\+06 events/s"):
        read_responses(path)


def test_a_v5_file_that_promises_more_than_it_holds_is_one_sentence(tmp_path):
    """The reader of scipy believes it, and the process ends."""
    path = written(tmp_path, "v5", ["a", "b", "c"], np.ones((3, 2)))
    content = bytearray(path.read_bytes())
    at = content.index(b"tEvokedResp")
    dimensions = content.rindex(struct.pack("<II", 5, 8), 0, at)
    struct.pack_into("<ii", content, dimensions + 8, 1 << 30, 2)
    path.write_bytes(content)
    with pytest.raises(MalformedDataError, match=r"6 values for a matrix of shape \(1073741824, 2"):
        read_responses(path)


@pytest.mark.parametrize("form", ["csv", "v5", "v73", "h5"])
def test_responses_are_read_from_every_form(form, tmp_path):
    """Names with folders and endings, two channels, a lost trial."""
    names = ["block001_thread000_gen_gen000_000000.bmp", "pics\\face (3).PNG", "house [2]"]
    evoked = np.array([[1.5, -2.0], [np.nan, np.nan], [3.25, 4.0]])
    found = read_responses(written(tmp_path, form, names, evoked))
    assert found.names == ("block001_thread000_gen_gen000_000000", "face (3)", "house [2]")
    np.testing.assert_array_equal(found.evoked, evoked)


@pytest.mark.parametrize("form", ["v73", "h5"])
def test_spike_densities_keep_their_axes(form, tmp_path, rng):
    psth = rng.random((3, 200))
    path = written(tmp_path, form, ["a", "b", "c"], np.ones((3, 1)), psth)
    np.testing.assert_allclose(read_responses(path).psth[:, :, 0], psth, rtol=1e-6)


def test_without_a_response_it_is_the_mean_density_of_50_to_200_ms(tmp_path, rng):
    psth = rng.random((3, 200))
    table = pd.DataFrame(psth, columns=[f"psth_{ms}" for ms in range(200)])
    table.insert(0, "stimulusID", ["a", "b", "c"])
    table.to_csv(tmp_path / "r.csv", index=False)
    found = read_responses(tmp_path / "r.csv")
    np.testing.assert_allclose(found.evoked[:, 0], psth[:, 50:200].mean(1), rtol=1e-6)


def test_the_kth_response_belongs_to_the_kth_presentation_and_missing_ones_are_lost():
    found = BlockResponses(("b", "a", "a"), np.array([[1.0], [2.0], [3.0]]))
    ordered = found.in_order_of(("a", "c", "b", "a"), "file")
    np.testing.assert_array_equal(ordered.evoked[:, 0], [2, np.nan, 1, 3])
    with pytest.raises(MalformedDataError, match=r"2 responses to 'a'.* 1 times.*another block"):
        found.in_order_of(("a", "b"), "file")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("stimulusID,x\na,1\n", "needed are stimulusID, and tEvokedResp"),
        ("name,tEvokedResp\na,1\n", "needed are stimulusID"),
        ("stimulusID,tEvokedResp\na,fast\n", "cannot be read"),
        ("stimulusID,tEvokedResp\na,inf\n", "infinite"),
        ("", "cannot be read"),
    ],
)
def test_files_of_something_else_are_refused(content, message, tmp_path):
    (tmp_path / "r.csv").write_text(content)
    with pytest.raises(MalformedDataError, match=message):
        read_responses(tmp_path / "r.csv")


@pytest.mark.parametrize("ending", [".mat", ".h5"])
def test_files_that_are_cut_off_are_refused(ending, tmp_path, rng):
    path = written(tmp_path, "v73" if ending == ".mat" else "h5", list("abc"), rng.random((3, 2)))
    for share in (0.2, 0.6, 0.95):
        cut = tmp_path / f"cut{ending}"
        cut.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
        with pytest.raises(MalformedDataError, match=r"cannot be read|holds|numbers"):
            read_responses(cut)


def rig_at(tmp_path, **options):
    options = {"timeout_s": 20, **FAST, **options}
    return FolderRig(tmp_path / "exchange", tmp_path / "session", INFO, **options)


@pytest.mark.parametrize("form", ["csv", "h5"])
def test_an_evolution_climbs_through_a_folder(form, tmp_path):
    """Repeats are averaged, lost ones left out, references travel with the block."""
    reference = tmp_path / "face (3).png"
    Image.fromarray(np.full((5, 5, 3), 200, np.uint8)).save(reference)
    rig = rig_at(tmp_path, repeats=3, references=[reference])
    with answering(tmp_path / "exchange", form, lost=0.3):
        result = evolve(rig, PixelSpace(8, 2), generations=20, **QUIET)
    first, last = np.concatenate(result.scores[1:3]), np.concatenate(result.scores[-2:])
    assert np.nanmean(last) > np.nanmean(first) + 20
    found = np.load(tmp_path / "session" / "block003.npz")
    names, evoked = found["names/evolution"], found["evoked"][:, 0]
    assert sorted(found["trials"]) == sorted([*names, "face (3)_thread000_nat"] * 3)
    expected = [np.nanmean(evoked[found["trials"] == name]) for name in names]
    np.testing.assert_allclose(result.scores[3], expected)
    assert names[0] == "block004_thread000_gen_gen003_000013"
    assert (tmp_path / "session" / "stimuli" / f"{names[0]}.png").is_file()
    assert "recorded" in (tmp_path / "session" / "log.csv").read_text()


def test_lost_pictures_are_asked_for_again_under_their_names(tmp_path):
    with answering(tmp_path / "exchange", lost=0.6, seed=3):
        result = evolve(rig_at(tmp_path), PixelSpace(8, 2), generations=5, lost="again", **QUIET)
    again = sorted(p.name for p in (tmp_path / "exchange").glob("block*_again*") if p.is_dir())
    assert again
    first = np.load(tmp_path / "session" / f"{again[-1].partition('_')[0]}.npz")
    shown_again = np.load(tmp_path / "session" / f"{again[-1]}.npz")["trials"]
    assert set(shown_again) < set(first["names/evolution"])
    assert result.history["lost"].sum() < 0.2 * result.n_images


def test_two_threads_share_blocks_and_channels_are_chosen_or_weighed(tmp_path):
    rig = rig_at(tmp_path)
    spaces = {"fc6": PixelSpace(8, 2), "BigGAN": PixelSpace(8, 3)}
    channels = {"fc6": rig.channel(1), "BigGAN": rig.population([0.5, 2.0])}
    with answering(tmp_path / "exchange"):
        results = evolve(channels, spaces, generations=3, **QUIET)
    found = np.load(tmp_path / "session" / "block002.npz")
    row = {name: i for i, name in enumerate(found["trials"])}
    evoked = found["evoked"]
    for name, weights in (("fc6", [0, 1]), ("BigGAN", [0.5, 2])):
        rows = [row[picture] for picture in found[f"names/{name}"]]
        np.testing.assert_allclose(results[name].scores[2], evoked[rows] @ weights)
    assert found["names/BigGAN"][0] == "block003_thread001_gen_gen002_000020"
    with pytest.raises(UsageError, match="answers with 2 channels"):
        rig.channel(5).of(np.ones((3, 2)))


def test_a_folder_of_another_experiment_is_refused(tmp_path):
    rig_at(tmp_path)
    other = SessionInfo("Beto", "2020-11-25", 3)
    with pytest.raises(UsageError, match="another session: experiment differ"):
        FolderRig(tmp_path / "exchange", tmp_path / "other", other)
    with pytest.raises(UsageError, match="holds another session"):
        FolderRig(tmp_path / "new", tmp_path / "session", other)


def test_responses_to_other_codes_are_never_taken(tmp_path):
    """The session's blocks belong to one evolution; another one is refused."""
    with answering(tmp_path / "exchange"):
        evolve(rig_at(tmp_path), PixelSpace(8, 2), generations=2, **QUIET)
        with pytest.raises(UsageError, match="responses to other codes"):
            evolve(rig_at(tmp_path), PixelSpace(8, 2), generations=2, seed=5, **QUIET)


def test_unusable_files_are_set_aside_and_the_wait_goes_on(tmp_path, request_of_two):
    """Of another block, cut off; then the right one."""
    rig, exchange = rig_at(tmp_path), tmp_path / "exchange"
    path = exchange / "block002_responses.csv"

    def misbehave():
        contents = ["stimulusID,tEvokedResp\nother,1\n", "stim", None]
        for number, content in enumerate(contents):
            while number and not list(exchange.glob(f"*.refused{number}")):
                time.sleep(0.005)
            if content is None:
                write_responses(neurons()(request_of_two), path)
            else:
                path.write_text(content)

    other_side = threading.Thread(target=misbehave)
    other_side.start()
    found = rig.exchange(request_of_two)
    other_side.join()
    assert found.names == request_of_two.trials
    log = (tmp_path / "session" / "log.csv").read_text()
    assert "another block" in log
    assert "cannot be read" in log or "needed are" in log


def test_after_too_many_unusable_files_it_gives_up(tmp_path, request_of_two):
    rig, exchange = rig_at(tmp_path, retries=0), tmp_path / "exchange"
    (exchange / "block002_responses.csv").write_text("nothing")
    with pytest.raises(MalformedDataError, match="Mend the rig and go on with resume=True"):
        rig.exchange(request_of_two)


def test_a_file_that_grows_is_left_alone(tmp_path, request_of_two):
    """A file written in place, row by row, slower than the looks at it: no trial is lost."""
    rig, exchange = rig_at(tmp_path, settle_s=0.15), tmp_path / "exchange"

    def slowly():
        with (exchange / "block002_responses.csv").open("w") as file:
            for line in ("stimulusID,tEvokedResp", "grey,1", "white,2", "grey,3"):
                file.write(line + "\n")
                file.flush()
                time.sleep(0.05)

    other_side = threading.Thread(target=slowly)
    other_side.start()
    found = rig.exchange(request_of_two)
    other_side.join()
    np.testing.assert_array_equal(found.evoked[:, 0], [1, 2, 3])


def test_no_answer_in_time_is_one_sentence_and_a_jumping_clock_changes_nothing(
    tmp_path, request_of_two, monkeypatch
):
    jumps = iter([0, 1e9, -1e9] * 1000)
    monkeypatch.setattr(time, "time", lambda: next(jumps))
    rig = rig_at(tmp_path, timeout_s=0.2)
    began = time.monotonic()
    with pytest.raises(MissingDataError, match=r"block002 came within 0.2 s.*resume=True"):
        rig.exchange(request_of_two)
    assert time.monotonic() - began < 3


def test_a_full_disk_leaves_no_half_block(tmp_path, request_of_two, monkeypatch):
    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(CannotWriteError, match=r"No space left on device.*The block was not shown"):
        write_request(tmp_path, request_of_two)
    assert list(tmp_path.iterdir()) == []


def test_a_block_for_the_rig_is_on_the_disk_before_it_has_its_name(
    tmp_path, monkeypatch, request_of_two
):
    flushed, rename, lost = set(), Path.rename, []
    monkeypatch.setattr(os, "fsync", lambda handle: flushed.add(os.fstat(handle).st_ino))

    def renamed(path, target):
        lost.extend(p.name for p in (path, *path.iterdir()) if p.stat().st_ino not in flushed)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", renamed)
    write_request(tmp_path, request_of_two)
    assert lost == []
    assert tmp_path.stat().st_ino in flushed


def test_a_block_is_on_the_disk_before_the_optimiser_hears_of_it(tmp_path, monkeypatch):
    """Files and names: what a reboot could lose when scores are told would be in no fsync."""
    flushed, fsync, told = set(), os.fsync, []

    def noted(handle):
        state = os.fstat(handle)
        flushed.add((state.st_ino, state.st_mtime_ns))
        fsync(handle)

    def tell(optimizer, scores, gradients):
        found = [tmp_path / "s", tmp_path / "s" / "stimuli", tmp_path / "e"]
        found += [*tmp_path.rglob("*.npz"), *tmp_path.rglob("*.png"), *tmp_path.rglob("*.json")]
        lost = [p.name for p in found if (p.stat().st_ino, p.stat().st_mtime_ns) not in flushed]
        told.append(lost)
        optimizer.tell(scores)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(loop, "tell_optimizer", tell)
    rig = FakeRig(neurons(), tmp_path / "s", ZOE)
    monkeypatch.setattr(rig, "log", lambda *_: None)  # the log is for people
    evolve(rig, PixelSpace(8, 2), generations=3, save=tmp_path / "e", progress=False)
    assert told == [[]] * 3


def test_a_picture_that_a_reboot_cut_off_is_written_again(tmp_path, monkeypatch):
    rig = FakeRig(neurons(), tmp_path / "s", ZOE)

    def reboots(request):
        name = next(iter(request.pictures))
        path = tmp_path / "s" / "stimuli" / f"{name}.png"
        path.write_bytes(path.read_bytes()[:40])
        raise KeyboardInterrupt

    monkeypatch.setattr(rig, "exchange", reboots)
    evolve(rig, PixelSpace(8, 2), generations=1, progress=False)
    again = FakeRig(neurons(), tmp_path / "s", ZOE)
    evolve(again, PixelSpace(8, 2), generations=1, progress=False)
    (picture,) = (tmp_path / "s" / "stimuli").glob("*.png")
    assert from_png(picture.read_bytes()).shape == (8, 8, 3)


def test_the_same_evolution_runs_over_a_socket(tmp_path):
    """Folder and socket give the same scores: the neurons answer the same blocks."""
    with answering(tmp_path / "exchange", lost=0.2):
        by_folder = evolve(rig_at(tmp_path), PixelSpace(8, 2), generations=4, **QUIET)
    port: list[int] = []
    server = threading.Thread(
        target=sockets.serve, args=(neurons(lost=0.2),), kwargs={"ready": port.append}, daemon=True
    )
    server.start()
    while not port:
        time.sleep(0.005)
    rig = SocketRig(("127.0.0.1", port[0]), tmp_path / "by_socket", INFO, timeout_s=20)
    by_socket = evolve(rig, PixelSpace(8, 2), generations=4, **QUIET)
    for one, other in zip(by_folder.scores, by_socket.scores, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)


def test_a_socket_that_breaks_is_tried_again_and_only_local_ones_are_taken(
    tmp_path, request_of_two
):
    with socket.create_server(("127.0.0.1", 0)) as server:
        rig = SocketRig(server.getsockname()[:2], tmp_path / "session", INFO, timeout_s=20)

        def twice():
            server.accept()[0].close()  # killed before it answered
            connection, _ = server.accept()
            sockets._serve_one(connection, neurons())
            connection.close()

        other_side = threading.Thread(target=twice)
        other_side.start()
        assert rig.exchange(request_of_two).names == request_of_two.trials
        other_side.join()
    rig.timeout_s = 0.3
    with pytest.raises(MissingDataError, match=r"within 0.3 s from 127.0.0.1:\d+ .*start the"):
        rig.exchange(request_of_two)
    for address in (("192.168.1.4", 5000), ("rig.example.org", 5000), ("127.0.0.1", 0)):
        with pytest.raises(UsageError, match=r"reached at 127.0.0.1"):
            SocketRig(address, tmp_path / "session", INFO)


def test_fake_neurons_have_the_rates_latency_and_losses_that_they_were_given(request_of_two):
    """Poisson-like counts, nothing evoked before the latency, a share of lost trials."""
    drives = [lambda x: x.mean((1, 2, 3))]
    fake = FakeNeurons(
        drives, [0.0], [40.0], spontaneous=10, latency_ms=70, lost=0.2, trial_sd=0, drift_sd=0
    )
    trials = ("white",) * 1500
    found = fake(Request("x", 0, 0, request_of_two.pictures, trials))
    seen = np.isfinite(found.evoked[:, 0])
    assert seen.mean() == pytest.approx(0.8, abs=0.04)
    density = found.psth[seen, :, 0].mean(0)
    assert density[10:60].mean() == pytest.approx(10, rel=0.15)
    assert density[50:200].mean() == pytest.approx(50, rel=0.05)
    assert 70 < np.argmax(density) < 130
    again = fake(Request("x", 0, 0, request_of_two.pictures, trials))
    np.testing.assert_array_equal(found.psth, again.psth)


def test_a_session_is_a_day_and_a_number():
    assert INFO.experiment == "Alfa-25112020-003"
    with pytest.raises(UsageError, match="give YYYY-MM-DD"):
        SessionInfo("Alfa", "25112020")
    with pytest.raises(UsageError, match="numbers begin with 1"):
        SessionInfo("Alfa", "2020-11-25", channel=0)


def test_the_command_answers_in_a_folder(tmp_path, request_of_two):
    """Fake neurons of one's own module, started as a process, answer and end on Ctrl-C."""
    (tmp_path / "my_neurons.py").write_text(
        "from core.rig import FakeNeurons\n"
        "def make():\n    return FakeNeurons([lambda x: x.mean((1, 2, 3))], [0.0], [50.0])\n"
    )
    exchange = tmp_path / "exchange"
    exchange.mkdir()
    write_request(exchange, request_of_two)
    process = subprocess.Popen(
        [sys.executable, "-m", "core.rig", "--neurons", "my_neurons:make", "--folder", exchange],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"},
    )
    try:
        path = exchange / "block002_responses.h5"
        deadline = time.monotonic() + 60
        while not path.is_file() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert read_responses(path).names == request_of_two.trials
    finally:
        process.terminate()
        process.wait()


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")
def test_fifty_kills_of_either_side_change_no_byte(tmp_path):
    """Blocks, scores, states, names and pictures are those of an undisturbed run."""
    assert forked(rig_sides.judge, tmp_path / "runs", 50, 1) == 0
    verdict = json.loads((tmp_path / "runs" / "verdict.json").read_text())
    assert verdict["kills"] == 50
    assert verdict["same"]
    assert verdict["files"] > 80

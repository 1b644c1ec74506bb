"""Both sides of an exchange folder, killed at random moments; run by a test in a fork.

`judge` runs one paired evolution undisturbed and others whose two sides are killed, and writes the
kills, and whether bytes are the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from core.rig import FakeNeurons, FolderRig, SessionInfo
from core.rig.fake import serve_folder
from core.utils import CholeskyCMAES
from core.utils.evolution.loop import evolve
from core.utils.generators.image_spaces import PixelSpace

GENERATIONS = 8
#: A side that hangs ends itself.
LONGEST_SECONDS = 100

KEPT = ("saved/*.npz", "saved/*.json", "session/*.npz", "session/session.json", "session/stimuli/*")


def neurons():
    """Answer by the mean of red and of blue; every tenth trial is lost."""
    drives = [lambda x: x[:, 0].mean((1, 2)), lambda x: x[:, 2].mean((1, 2))]
    return FakeNeurons(drives, [0.2, 0.2], [150.0, 150.0], lost=0.1, seed=4)


def evolving(folder: Path) -> None:
    """Go on with the evolution of a folder."""
    info = SessionInfo("Alfa", "2020-11-25", 3)
    rig = FolderRig(
        folder / "exchange", folder / "session", info, repeats=2, settle_s=0.002, poll_s=0.002,
        timeout_s=60,
    )  # fmt: skip
    spaces = {"fc6": PixelSpace(8, 2), "BigGAN": PixelSpace(8, 3)}
    optimizers = {
        name: CholeskyCMAES(
            space.codelen, 5, 0.7, np.zeros(space.codelen), random_seed=1, dtype=np.float32
        )
        for name, space in spaces.items()
    }
    channels = {"fc6": rig.channel(0), "BigGAN": rig.channel(1)}
    evolve(
        channels, spaces, optimizers, GENERATIONS, save=folder / "saved", resume=True,
        progress=False,
    )  # fmt: skip
    (folder / "finished").touch()


def answering(folder: Path) -> None:
    """Answer until the evolution is finished."""
    (folder / "exchange").mkdir(parents=True, exist_ok=True)
    finished = folder / "finished"
    serve_folder(neurons(), folder / "exchange", poll_s=0.002, until=finished.exists)


def forked(side, folder: Path) -> int:
    """Run a side in a process of its own."""
    process = os.fork()
    if not process:
        signal.alarm(LONGEST_SECONDS)  # it does not outlive a judge that is killed
        try:
            side(folder)
        except BaseException as error:
            sys.stderr.write(f"{side.__name__}: {error!r}\n")
            os._exit(1)
        os._exit(0)
    return process


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file that has to be the same."""
    paths = sorted(path for pattern in KEPT for path in folder.glob(pattern))
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
        if not path.name.startswith(".")
    }


def run(folder: Path, kills: int, moments: random.Random) -> int:
    """Run both sides to the end, killing one of them so many times; return the kills."""
    folder.mkdir(parents=True)
    alive: dict[Callable, int] = {}
    try:
        return _run(folder, kills, moments, alive)
    finally:
        for process in alive.values():
            os.kill(process, signal.SIGKILL)


def _run(folder: Path, kills: int, moments: random.Random, alive: dict[Callable, int]) -> int:
    sides, done = (evolving, answering), 0
    while True:
        for side in sides:
            if side not in alive and not (folder / "finished").exists():
                alive[side] = forked(side, folder)
        for side, process in list(alive.items()):
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                del alive[side]
                if status:
                    raise RuntimeError(f"{side.__name__} ended with status {status}")
        if (folder / "finished").exists() and not alive:
            return done
        if done < kills and alive:
            time.sleep(moments.uniform(0, 0.04))
            side = moments.choice(sorted(alive, key=lambda s: s.__name__))
            os.kill(alive[side], signal.SIGKILL)
            _, status = os.waitpid(alive.pop(side), 0)
            done += os.WIFSIGNALED(status)
        else:
            time.sleep(0.005)


def judge(folder: Path, kills: int, seed: int) -> None:
    """Write the verdict beside the runs."""
    torch.set_num_threads(1)
    moments = random.Random(seed)
    run(folder / "whole", 0, moments)
    expected, done, same, runs = digests(folder / "whole"), 0, True, 0
    while done < kills:
        done += run(folder / f"killed{runs}", kills - done, moments)
        same &= digests(folder / f"killed{runs}") == expected
        runs += 1
    verdict = {"kills": done, "runs": runs, "same": same, "files": len(expected)}
    (folder / "verdict.json").write_text(json.dumps(verdict))

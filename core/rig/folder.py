"""A rig behind a shared folder: pictures go out, files of responses come back.

The exchange, for whoever programs the other side:

1. ``block003/`` appears in the folder, whole at once (it was made under another name and renamed).
   It holds one .png per picture, ``trials.csv`` (column ``stimulusID``, one row per presentation,
   in order) and ``request.json`` (experiment, block, attempt).
2. The rig shows the trials and writes ``block003_responses.csv`` (or .mat, .h5) under any other
   name, then renames it. See `core.rig.response_files.read_responses` for what it holds.

A file that is still growing is left alone until it rests. A file that cannot be read, or that
answers another block, is renamed ``….refused1`` and the wait goes on.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.errors import CannotWriteError, MalformedDataError, MissingDataError
from core.files import flush_to_disk, read_json, staging_folder, write_json
from core.rig.blocks import BlockResponses, Request
from core.rig.response_files import ENDINGS, read_responses
from core.rig.session import Rig, SessionInfo
from core.settings_note import claim

#: Says which experiment an exchange folder serves.
EXPERIMENT_FILE, REQUEST_FILE, TRIALS_FILE = "rig.json", "request.json", "trials.csv"


class FolderRig(Rig):
    """A rig that is reached through a folder.

    Parameters
    ----------
    folder : path-like
        Shared with the rig; made if need be.
    session, info, references, repeats, seed
        As for `Rig`.
    timeout_s : float, default 1800
        How long to wait for the responses to a block.
    retries : int, default 3
        How many unusable files of responses to a block are set aside before giving up.
    settle_s : float, default 0.5
        How long a file must not have changed before it is read.
    poll_s : float, default 0.05
        Pause between two looks.

    Raises
    ------
    UsageError
        If the folder serves another experiment.
    """

    def __init__(
        self,
        folder: str | Path,
        session: str | Path,
        info: SessionInfo,
        *,
        references: Sequence[str | Path] = (),
        repeats: int = 1,
        seed: int = 0,
        timeout_s: float = 1800,
        retries: int = 3,
        settle_s: float = 0.5,
        poll_s: float = 0.05,
    ) -> None:
        self.folder = Path(folder)
        self.timeout_s, self.retries = timeout_s, retries
        self.settle_s, self.poll_s = settle_s, poll_s
        _claim(self.folder, info.experiment)
        super().__init__(session, info, references=references, repeats=repeats, seed=seed)

    def exchange(self, request: Request) -> BlockResponses:
        """Put a block into the folder, and wait for its responses.

        Raises
        ------
        MissingDataError
            If no responses come in time.
        MalformedDataError
            If too many files of responses were unusable; they stay under another name.
        """
        write_request(self.folder, request)
        deadline = time.monotonic() + self.timeout_s  # not the clock of the wall, which jumps
        while time.monotonic() < deadline:
            path = _response_file(self.folder, request.label)
            if path is not None and self._rests(path):
                try:
                    return read_responses(path).in_order_of(request.trials, str(path))
                except MalformedDataError as error:
                    self._set_aside(path, request, error)
            time.sleep(self.poll_s)
        raise MissingDataError(
            f"no responses to {request.label} came within {self.timeout_s:g} s in {self.folder}; "
            "start the rig and go on with resume=True."
        )

    def _rests(self, path: Path) -> bool:
        """Wait until a file has kept its size and time of change for a while."""
        try:
            before = path.stat()
            time.sleep(self.settle_s)
            after = path.stat()
        except FileNotFoundError:  # renamed meanwhile
            return False
        return (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)

    def _set_aside(self, path: Path, request: Request, error: MalformedDataError) -> None:
        refused = len(list(self.folder.glob(f"{path.name}.refused*"))) + 1
        path.rename(path.with_name(f"{path.name}.refused{refused}"))
        self.log(request.label, f"refused: {error}")
        if refused > self.retries:
            raise MalformedDataError(
                f"{error} It is the {refused}th unusable file for {request.label}; all are kept as "
                f"{path.name}.refused*. Mend the rig and go on with resume=True."
            ) from error


def write_request(folder: Path, request: Request) -> None:
    """Put a block into an exchange folder, whole at once; one that is there stays.

    Raises
    ------
    CannotWriteError
        If the folder cannot be written; nothing half-written stays under the block's name.
    """
    target = folder / request.label
    if target.is_dir():
        return
    try:
        with staging_folder(target) as staging:
            unfinished = staging / request.label
            unfinished.mkdir()
            for name, png in request.pictures.items():
                (unfinished / f"{name}.png").write_bytes(png)
            with (unfinished / TRIALS_FILE).open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([["stimulusID"], *([name] for name in request.trials)])
            note = {key: getattr(request, key) for key in ("experiment", "block", "attempt")}
            write_json(unfinished / REQUEST_FILE, note)
            for written in (*unfinished.iterdir(), unfinished):
                flush_to_disk(written)  # a name must not outlive its pictures in a power cut
            unfinished.rename(target)
            flush_to_disk(folder)
    except CannotWriteError as error:
        if target.is_dir():  # another process put the same block there meanwhile
            return
        raise CannotWriteError(
            f"{error} The block was not shown; go on with resume=True."
        ) from error


def read_request(folder: Path) -> Request:
    """Read the folder of one block, as the rig's side does.

    Raises
    ------
    MalformedDataError
        If it is not one that `write_request` made.
    """
    try:
        note: Any = read_json(folder / REQUEST_FILE)
        with (folder / TRIALS_FILE).open(newline="", encoding="utf-8") as file:
            trials = tuple(row["stimulusID"] for row in csv.DictReader(file))
        pictures = {name: (folder / f"{name}.png").read_bytes() for name in dict.fromkeys(trials)}
        return Request(note["experiment"], note["block"], note["attempt"], pictures, trials)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MalformedDataError(f"{folder} is no block of pictures ({error}).") from error


def waiting_blocks(folder: Path) -> list[Path]:
    """Return the folders of blocks that have no responses yet, oldest first."""
    blocks = sorted(p for p in folder.glob("block*") if p.is_dir())
    return [p for p in blocks if _response_file(folder, p.name) is None]


def _response_file(folder: Path, label: str) -> Path | None:
    found = (folder / f"{label}_responses{ending}" for ending in ENDINGS)
    return next((path for path in found if path.is_file()), None)


def _claim(folder: Path, experiment: str) -> None:
    note = folder / EXPERIMENT_FILE
    claim(note, {"experiment": experiment}, "session", resume=True, going_on="resume=True")

"""Cells of a sweep: what each runs, and where it stands, as files that any process can read.

A cell is one network, layer, placement, generator and block of channels; all its units, optimisers
and repetitions evolve together. Its folder holds ``cell.json`` (what to run), ``results/``,
``job.json`` where a cluster was given it, and ``done.json`` or ``failed.json`` once it has ended.
Paths cross the border of a process, no tensors.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from core.errors import BusyError, MalformedDataError, UsageError, UserError
from core.files import locked, read_json, write_json
from core.insilico.paired_evolution.settings import WEIGHTS_OF, EvolutionSettings, Noise
from core.insilico.resumable import NOTE_FILE

_CELL, _DONE, _FAILED, _JOB = "cell.json", "done.json", "failed.json", "job.json"

#: Where in the folder of a cell its evolutions are.
RESULTS = "results"


@dataclass(frozen=True)
class Job:
    """A job of a cluster, and how long ago it was submitted, seconds."""

    id: str
    age_s: float


@dataclass(frozen=True)
class SweepCell:
    """One job of a sweep.

    Attributes
    ----------
    folder : pathlib.Path
        Of its own.
    settings : EvolutionSettings
        What to run.
    hessians : dict
        Generator → file.
    device : str
    batch_size : int or None
        Images at a time.
    """

    folder: Path
    settings: EvolutionSettings
    hessians: dict[str, str]
    device: str = "auto"
    batch_size: int | None = None

    @property
    def results(self) -> Path:
        """Folder of its evolutions."""
        return self.folder / RESULTS

    @property
    def is_done(self) -> bool:
        """Whether its results are complete."""
        return (self.folder / _DONE).is_file()

    @property
    def is_running(self) -> bool:
        """Whether a process is at it now."""
        try:
            with locked(self.folder, wait=False):
                return False
        except BusyError:
            return True

    @property
    def weights(self) -> dict[str, str]:
        """Digests of the weights of networks of one's own, by whose they are."""
        note = self.results / NOTE_FILE
        noted = _read(note) if note.is_file() else {}
        return {key: str(value) for key, value in noted.items() if key.startswith(WEIGHTS_OF)}

    def failure(self) -> str:
        """Return why it failed last time, or nothing."""
        path = self.folder / _FAILED
        return str(_read(path).get("reason", "no reason was noted")) if path.is_file() else ""

    def fail(self, reason: str) -> None:
        """Note why it failed."""
        write_json(self.folder / _FAILED, {"reason": reason})

    def note_job(self, job_id: str) -> None:
        """Note the job that was submitted for it."""
        write_json(self.folder / _JOB, {"id": str(job_id), "submitted": time.time()})

    def job(self) -> Job | None:
        """Return the job that was last submitted for it and has not failed, if there is one."""
        path = self.folder / _JOB
        if not path.is_file() or (self.folder / _FAILED).is_file():
            return None
        noted = _read(path)
        try:
            return Job(str(noted["id"]), time.time() - float(noted["submitted"]))
        except (KeyError, TypeError, ValueError) as error:
            raise MalformedDataError(f"{path} is not what a sweep wrote; remove it.") from error

    def write(self) -> None:
        """Write what to run for the process that will run it, and forget an earlier failure."""
        content = {**asdict(self), "folder": "", "settings": asdict(self.settings)}
        write_json(self.folder / _CELL, content)
        (self.folder / _FAILED).unlink(missing_ok=True)


def read_cell(folder: Path) -> SweepCell:
    """Read what `SweepCell.write` wrote.

    Raises
    ------
    MalformedDataError
        If it cannot be read.
    """
    content = _read(folder / _CELL)
    try:
        given = content["settings"]
        tuples = {name: tuple(given[name]) for name in ("channels", "generators", "labels")}
        tuples["units"] = tuple(map(tuple, given["units"]))
        settings = EvolutionSettings(**{**given, **tuples, "noise": Noise(**given["noise"])})
        return SweepCell(**{**content, "folder": folder, "settings": settings})
    except (KeyError, TypeError, ValueError, UsageError) as error:
        raise MalformedDataError(
            f"{folder / _CELL} is not what a sweep wrote ({error}); remove the folder."
        ) from error


class RunCell:
    """Run the cell of a folder; a process that is stopped before its end goes on when requeued.

    Parameters
    ----------
    networks : str, default ""
        ``package.module:function`` that loads the networks from settings and a device; by default
        `core.insilico.paired_evolution.command.load_networks`. It comes from the command line and
        is imported when a cell runs; no file can name it.

    submitit calls `checkpoint` when the cluster takes the machine away. Nothing is left to save
    then: every generation is on the disk already.
    """

    def __init__(self, networks: str = "") -> None:
        self.networks = networks

    def __call__(self, folder: str) -> None:
        """Run a cell from where it stands; do nothing if it is done.

        Raises
        ------
        BusyError
            If another process is at it.
        UserError
            As `paired_evolution.command.evolve_pairs`; noted in the folder of the cell too.
        """
        place = Path(folder)
        with locked(place, wait=False):
            cell = read_cell(place)
            if cell.is_done:
                return
            try:
                _evolve(cell, self.networks)
            except Exception as error:
                said = isinstance(error, UserError)
                cell.fail(str(error) if said else f"{type(error).__name__}: {error}")
                raise
            write_json(place / _DONE, {"results": RESULTS})

    def checkpoint(self, folder: str) -> Any:
        """Return the submission that goes on with the cell."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, folder)


def _evolve(cell: SweepCell, loader: str) -> None:
    from core.insilico.paired_evolution.command import evolve_pairs, own_networks
    from core.utils.batching import BATCH_SIZE

    networks = own_networks(loader, cell.settings, cell.device)
    evolve_pairs(
        cell.settings, cell.results, resume=True, hessians=cell.hessians, networks=networks,
        device=cell.device, batch_size=cell.batch_size or BATCH_SIZE,
    )  # fmt: skip


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(read_json(path))
    except (OSError, ValueError, TypeError) as error:
        raise MalformedDataError(f"{path} cannot be read ({error}); remove it.") from error

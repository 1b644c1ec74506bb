"""Cells of a sweep: what each runs, and where it stands, as files that any process can read.

A cell is one network, layer, placement, generator and block of channels; all its units, optimisers
and repetitions evolve together. Its folder holds ``cell.json`` (what to run), ``results/``, and
``done.json`` or ``failed.json`` once it has ended. Paths cross the border of a process, no tensors.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from core.errors import MalformedDataError, UsageError, UserError
from core.files import atomic_write
from core.insilico.paired_evolution.settings import EvolutionSettings, Noise

_CELL, _DONE, _FAILED, _LOCK = "cell.json", "done.json", "failed.json", ".lock"

#: Where in the folder of a cell its evolutions are.
RESULTS = "results"


class CellBusyError(UserError):
    """Another process is running the cell."""


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
    networks : str
        ``package.module:function`` that loads the networks from settings and a device; by default
        `core.insilico.paired_evolution.command.load_networks`.
    device : str
    batch_size : int or None
        Images at a time.
    """

    folder: Path
    settings: EvolutionSettings
    hessians: dict[str, str]
    networks: str = ""
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
            with _lock(self.folder):
                return False
        except CellBusyError:
            return True

    def failure(self) -> str:
        """Return why it failed last time, or nothing."""
        path = self.folder / _FAILED
        return str(_read(path)["reason"]) if path.is_file() else ""

    def fail(self, reason: str) -> None:
        """Note why it failed."""
        _write(self.folder / _FAILED, {"reason": reason})

    def write(self) -> None:
        """Write what to run for the process that will run it, and forget an earlier failure."""
        content = {**asdict(self), "folder": "", "settings": asdict(self.settings)}
        _write(self.folder / _CELL, content)
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
        settings = EvolutionSettings(**{**given, **tuples, "noise": Noise(**given["noise"])})
        return SweepCell(**{**content, "folder": folder, "settings": settings})
    except (KeyError, TypeError) as error:
        raise MalformedDataError(
            f"{folder / _CELL} is not what a sweep wrote ({error}); remove the folder."
        ) from error


class RunCell:
    """Run the cell of a folder; a process that is stopped before its end goes on when requeued.

    submitit calls `checkpoint` when the cluster takes the machine away. Nothing is left to save
    then: every generation is on the disk already.
    """

    def __call__(self, folder: str) -> None:
        """Run a cell from where it stands; do nothing if it is done.

        Raises
        ------
        CellBusyError
            If another process is at it.
        UserError
            As `paired_evolution.command.evolve_pairs`; noted in the folder of the cell too.
        """
        place = Path(folder)
        with _lock(place):
            cell = read_cell(place)
            if cell.is_done:
                return
            try:
                _evolve(cell)
            except Exception as error:
                said = isinstance(error, UserError)
                cell.fail(str(error) if said else f"{type(error).__name__}: {error}")
                raise
            _write(place / _DONE, {"results": RESULTS})

    def checkpoint(self, folder: str) -> Any:
        """Return the submission that goes on with the cell."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, folder)


def load_function(name: str) -> Any:
    """Return the function ``package.module:function``.

    Raises
    ------
    UsageError
        If it cannot be imported.
    """
    module, _, function = name.partition(":")
    try:
        return getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            f"networks {name!r} cannot be imported ({error}); give package.module:function, with "
            "the package on PYTHONPATH."
        ) from error


def _evolve(cell: SweepCell) -> None:
    from core.insilico.paired_evolution.command import evolve_pairs
    from core.insilico.paired_evolution.runs import BATCH_SIZE

    networks = None
    if cell.networks:
        networks = load_function(cell.networks)(cell.settings, cell.device)
    evolve_pairs(
        cell.settings,
        cell.results,
        resume=True,
        hessians=cell.hessians,
        networks=networks,
        device=cell.device,
        batch_size=cell.batch_size or BATCH_SIZE,
    )


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Hold the cell; the system lets go of it when the process ends, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise CellBusyError(f"{folder} is being run by another process.") from error
        yield


def _write(path: Path, content: dict[str, Any]) -> None:
    with atomic_write(path) as unfinished:
        unfinished.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise MalformedDataError(f"{path} cannot be read ({error}); remove it.") from error

"""Sweeps of evolutions over networks, layers, units, generators and optimisers, by submitit.

``python -m core.insilico.sweeps FILE --output DIR`` runs the cells of a TOML file
(`core.insilico.sweeps.file`), in processes of this machine or with ``--executor slurm`` on a
cluster. Called again, it runs only what is not done: a cell that was stopped goes on from its last
generation, one that failed is run alone, one that waits in the queue of a cluster is left there.
The file may grow between calls, be put in another order or spell out defaults: each cell has a
folder by its own settings. All runs end in ``DIR/runs.csv``.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from core.command_line import a_path, command_parser, require_writable
from core.errors import (
    MissingDataError,
    UsageError,
    UserError,
    choose_from,
    exit_code_of,
    log_to_terminal,
)
from core.insilico.commands import add_flags, flag, settings_of
from core.insilico.evolution_analysis import gather, normalised, write_table
from core.insilico.resumable import claim_folder, require_own_folder
from core.insilico.sweeps.cells import RunCell, SweepCell
from core.insilico.sweeps.file import Sweep, read_sweep

logger = logging.getLogger(__name__)

#: Where jobs run: in processes of this machine, or on a cluster.
EXECUTORS = ("local", "slurm")

#: Jobs in an array, below the limit (MaxArraySize) of a site that has left it at its default.
MAX_ARRAY = 1000

#: How often a cluster may run out of a job's time and requeue it; the job goes on where it was.
REQUEUES = 20

#: How often jobs are looked at, seconds.
POLL_S = 0.5

#: Table of all runs.
TABLE_FILE = "runs.csv"

_LOGS = "logs"

#: States in which a job of SLURM has still to run or to end.
_IN_QUEUE = frozenset(
    {"PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "REQUEUED", "REQUEUE_HOLD", "RESIZING",
     "STOPPED", "SUSPENDED"}
)  # fmt: skip
#: SLURM does not know a job for a moment after it was submitted, seconds at most.
_UNKNOWN_S = 600


@dataclass(frozen=True)
class Resources:
    """How jobs are run.

    Attributes
    ----------
    executor : {"local", "slurm"}
    jobs : int or None
        At the same time; on a cluster, of one array. By default 1 here and all on a cluster.
    max_array : int
        Jobs of an array on a cluster.
    partition : str or None
        Of the cluster.
    hours : float
        After which a job is stopped, and requeued on a cluster.
    cpus, gpus : int
        For each job.
    devices : tuple of str
        Of this machine, such as ("cuda:0", "cuda:1"): each job has one to itself, whatever the
        file of the sweep says, and by default there are as many jobs as devices.
    """

    executor: str = flag(default="local", choices=EXECUTORS)
    jobs: int | None = flag(
        default=None, type=int, metavar="N", help="at a time (default: 1 here, all on a cluster)"
    )
    max_array: int = flag(
        default=MAX_ARRAY, type=int, metavar="N",
        help="jobs in an array of the cluster, below its limit (default: %(default)s)",
    )  # fmt: skip
    partition: str | None = flag(default=None, metavar="NAME", help="of the cluster")
    hours: float = flag(default=24.0, type=float, metavar="H", help="per job")
    cpus: int = flag(default=2, type=int, metavar="N", help="per job")
    gpus: int = flag(default=0, type=int, metavar="N", help="per job")
    devices: tuple[str, ...] = flag(
        default=(), nargs="+", metavar="DEVICE",
        help="of this machine, such as cuda:0 cuda:1; each job has one to itself",
    )  # fmt: skip

    def __post_init__(self) -> None:
        if self.executor not in EXECUTORS:
            raise UsageError(choose_from(self.executor, EXECUTORS, "executor"))
        if min(self.at_once, self.max_array, self.cpus) < 1 or self.gpus < 0 or self.hours <= 0:
            raise UsageError("jobs, array and processors are 1 or more, hours above 0.")
        if self.devices and self.executor != "local":
            raise UsageError("devices are those of this machine; a cluster gives its own (--gpus).")
        if self.devices and not len(set(self.devices)) == len(self.devices) >= self.at_once:
            raise UsageError(
                f"{self.at_once} jobs at a time were asked for on devices "
                f"{', '.join(self.devices)}; each job needs a device of its own."
            )

    @property
    def at_once(self) -> int:
        """Jobs at the same time."""
        if self.jobs is not None:
            return self.jobs
        if self.devices:
            return len(self.devices)
        return 1 if self.executor == "local" else self.max_array


@dataclass
class Outcome:
    """What has come of a sweep.

    Attributes
    ----------
    done, waiting : list of SweepCell
        Complete; with another process, or submitted and not waited for.
    failed : dict
        Folder of a cell → reason, and where its log is.
    table : pathlib.Path or None
        All runs of what is done.
    """

    done: list[SweepCell] = field(default_factory=list)
    waiting: list[SweepCell] = field(default_factory=list)
    failed: dict[Path, str] = field(default_factory=dict)
    table: Path | None = None


def run_sweep(
    sweep: Sweep,
    output: str | Path,
    resources: Resources | None = None,
    *,
    networks: str = "",
    wait: bool = True,
    make_executor: Callable[[Path, Resources], Any] | None = None,
    job_state: Callable[[Path, str], str] | None = None,
) -> Outcome:
    """Run what is not done of a sweep, and gather all runs into one table.

    Parameters
    ----------
    sweep : Sweep
        Of `core.insilico.sweeps.file.read_sweep`.
    output : path-like
        Folder of the sweep.
    resources : Resources, optional
        Where and how.
    networks : str, default ""
        ``package.module:function`` that loads the networks, see `RunCell`.
    wait : bool, default True
        Until all jobs have ended; False leaves them to the cluster.
    make_executor : callable, optional
        Makes a submitit executor from a folder of logs and resources.
    job_state : callable, optional
        Asks the cluster for the state of a job, from the folder of logs and its id.

    Returns
    -------
    Outcome

    Raises
    ------
    UsageError
        If a setting cannot be, the folder is that of another sweep, or a network of one's own has
        other weights than in earlier cells.
    MissingDataError
        If submitit is not installed.
    CannotWriteError
        If the folder cannot be written.
    """
    resources, root = resources or Resources(), Path(output)
    if not wait and resources.executor == "local":
        raise UsageError("jobs of this machine are waited for; leaving them is for a cluster.")
    cells = sweep.cells(root)
    own = {name for cell in cells for name in cell.settings.generators if ":" in name}
    if own and not networks:
        raise UsageError(
            f"generators {', '.join(sorted(own))} would name code to run, which a file may not; "
            "give --networks package.module:function, which loads them under these names."
        )
    settings = {"networks": networks}  # all else that decides a cell is in the name of its folder
    require_own_folder(root, settings, resume=True)
    executor = (make_executor or submitit_executor)(root / _LOGS, resources)
    claim_folder(root, settings, resume=True)
    outcome = Outcome()
    todo = [cell for cell in cells if not cell.is_done and not cell.is_running]
    if resources.executor == "slurm":
        ask = partial(job_state or _slurm_state, root / _LOGS)
        todo = [cell for cell in todo if not _is_queued(cell, ask)]
    logger.info("%d cells, %d to run", len(cells), len(todo))
    for cell in todo:
        if earlier := cell.failure():
            logger.info("again: %s, which failed: %s", cell.folder.name, earlier)
        cell.write()
    jobs = _submitted(executor, RunCell(networks), todo, resources)
    if wait:
        for cell, job in jobs:
            _judge(cell, job, outcome)
    else:
        submitted = len(list(jobs))
        logger.info("%d jobs submitted; call again to gather them", submitted)
    outcome.done = [cell for cell in cells if cell.is_done]
    outcome.waiting = [
        cell for cell in cells if not cell.is_done and cell.folder not in outcome.failed
    ]
    if outcome.done:
        _require_same_weights(outcome.done)
        outcome.table = root / TABLE_FILE
        runs = gather(*(cell.results for cell in outcome.done)).runs
        write_table(outcome.table, normalised(runs))
    return outcome


def _require_same_weights(cells: Sequence[SweepCell]) -> None:
    """Refuse cells of a network of one's own whose weights have changed between calls."""
    first: dict[tuple[str, str], tuple[str, SweepCell]] = {}
    for cell in cells:
        for key, digest in cell.weights.items():
            noted, earlier = first.setdefault((cell.settings.net, key), (digest, cell))
            if noted != digest:
                raise UsageError(
                    f"cells {earlier.folder.name} and {cell.folder.name} ran with different "
                    f"{key}; remove the folder of the older, or take another folder for the new."
                )


def submitit_executor(logs: Path, resources: Resources) -> Any:
    """Make submitit's executor.

    Raises
    ------
    MissingDataError
        If submitit is not installed.
    UsageError
        If a cluster is asked for where there is none.
    """
    try:
        import submitit
    except ModuleNotFoundError as error:
        raise MissingDataError(
            "sweeps need the package submitit; install it with 'pip install submitit'."
        ) from error
    try:
        executor = submitit.AutoExecutor(
            folder=logs, cluster=resources.executor, slurm_max_num_timeout=REQUEUES
        )
    except RuntimeError as error:
        raise UsageError(
            f"executor {resources.executor!r} was asked for: {error} Give --executor local, or "
            "call from a login node of the cluster."
        ) from error
    executor.update_parameters(
        name="evolution", timeout_min=max(1, round(60 * resources.hours)),
        cpus_per_task=resources.cpus, gpus_per_node=resources.gpus,
        slurm_array_parallelism=resources.at_once, slurm_additional_parameters={"requeue": True},
        slurm_partition=resources.partition,
    )  # fmt: skip
    return executor


def _submitted(
    executor: Any, work: RunCell, cells: Sequence[SweepCell], resources: Resources
) -> Iterator[tuple[SweepCell, Any]]:
    """Submit cells, and yield each with its job once that has ended (a cluster's: submitted)."""
    if resources.executor == "slurm":
        jobs = _arrays(executor, work, cells, resources.max_array)
        for cell, job in zip(cells, jobs, strict=True):
            cell.note_job(job.job_id)
        yield from zip(cells, jobs, strict=True)
        return
    waiting, running = list(cells), dict[Path, tuple[SweepCell, Any]]()
    devices = list(resources.devices)
    while waiting or running:
        while waiting and len(running) < resources.at_once:
            cell = waiting.pop(0)
            if resources.devices:
                cell = replace(cell, device=devices.pop(0))
                cell.write()
            running[cell.folder] = cell, executor.submit(work, str(cell.folder))
        ended = [folder for folder, (_, job) in running.items() if job.done()]
        for folder in ended:
            devices.append(running[folder][0].device)
            yield running.pop(folder)
        if not ended:
            time.sleep(POLL_S)


def _arrays(
    executor: Any, work: RunCell, cells: Sequence[SweepCell], max_array: int
) -> list[Any]:
    """Submit cells to a cluster, in arrays that are not larger than it takes."""
    folders = [str(cell.folder) for cell in cells]
    chunks = [folders[start : start + max_array] for start in range(0, len(folders), max_array)]
    try:
        return [job for chunk in chunks for job in executor.map_array(work, chunk)]
    except RuntimeError as error:  # submitit's, with what sbatch said
        raise UserError(f"the cluster did not take the jobs: {error}") from error


def _is_queued(cell: SweepCell, state_of: Callable[[str], str]) -> bool:
    """Tell whether the job that was submitted for a cell has still to run or to end."""
    job = cell.job()
    if job is None:
        return False
    state = state_of(job.id).upper()
    return state in _IN_QUEUE or (state == "UNKNOWN" and job.age_s < _UNKNOWN_S)


def _slurm_state(logs: Path, job_id: str) -> str:
    from submitit import SlurmJob

    return str(SlurmJob(folder=logs, job_id=job_id).state)


def _judge(cell: SweepCell, job: Any, outcome: Outcome) -> None:
    """Wait for the end of a job and note a failure."""
    error = job.exception()
    if cell.is_done:
        logger.info("done: %s", cell.folder.name)
        return
    if cell.is_running:
        return
    reason = cell.failure() or f"the process ended without a word ({type(error).__name__})"
    outcome.failed[cell.folder] = f"{reason} (log: {job.paths.stderr})"
    logger.info("failed: %s", cell.folder.name)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 done, 1 cells failed, 2 usage, 3 a file or package is missing."""
    parser = command_parser(
        "python -m core.insilico.sweeps",
        "Run a sweep of evolutions and gather its runs into one table.",
        "python -m core.insilico.sweeps sweep.toml --output my_sweep --jobs 2",
    )
    parser.add_argument("file", type=a_path, metavar="FILE", help="sweep, as TOML")
    parser.add_argument("--output", required=True, type=a_path, metavar="DIR")
    parser.add_argument(
        "--networks",
        default="",
        metavar="MODULE:FUNCTION",
        help="networks of your own: see python -m core.insilico.paired_evolution --help",
    )
    add_flags(parser, Resources)
    parser.add_argument("--no-wait", action="store_true", help="submit to the cluster and leave")
    given = parser.parse_args(arguments)
    log_to_terminal()
    return exit_code_of(partial(_run, given))


def _run(given: argparse.Namespace) -> int:
    resources = settings_of(Resources, given)
    sweep = read_sweep(given.file)
    require_writable(given.output)
    outcome = run_sweep(
        sweep, given.output, resources, networks=given.networks, wait=not given.no_wait
    )
    for folder, reason in outcome.failed.items():
        sys.stderr.write(f"failed: {folder.name}: {reason}\n")
    sys.stdout.write(
        f"{len(outcome.done)} cells done, {len(outcome.failed)} failed, {len(outcome.waiting)} "
        f"with other processes{f'; {outcome.table}' if outcome.table else ''}\n"
    )
    return 1 if outcome.failed else 0

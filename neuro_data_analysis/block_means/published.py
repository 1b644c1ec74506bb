"""Read the block means that the authors publish, and hold every number against its neighbours.

One folder per experiment tells what it was, how both threads evolved (mean response ± SEM of every
block) and the mean PSTH ± SEM of every block. The same number often stands in several files, the
sites are known, and lengths follow from each other: whatever disagrees is refused by file and
field.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from core.errors import MalformedDataError, MissingDataError
from core.files import LARGEST_JSON_BYTES
from core.source_tables.block_means import INDEX_FILE, data_files
from core.source_tables.placement import FoundFile
from neuro_data_analysis.evolution.stats import EVOKED_MS
from neuro_data_analysis.experiment_list import listed_experiments, listed_info
from neuro_data_analysis.matlab.values import PSTH_MS
from neuro_data_analysis.neural_data_lib import ExperimentInfo

Floats = NDArray[np.float64]

#: How file and field names call the two threads, in their order.
THREAD_NAMES = ("deepsim", "biggan")

#: No published rate comes near this, events/s.
LARGEST_RATE = 5000.0

#: Half a unit of the last digit: rates with two decimals and with one, and their sums.
_HALF_CENT, _HALF_TENTH = 0.005, 0.05
_FLOAT = 1e-6

#: Mean of 150 rounded samples against the rounded mean: the rounding of the latter, and the little
#: that the errors of the former leave.
_AGREEMENT = 0.006


@dataclass(frozen=True)
class BlockValues:
    """A response block by block: (n_blocks,) mean, mean − SEM and mean + SEM, events/s."""

    mean: Floats
    low: Floats
    high: Floats

    @property
    def sem(self) -> Floats:
        """Standard error over the presentations of each block; known to .005."""
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class PublishedThread:
    """The block means of one thread.

    Attributes
    ----------
    psth, psth_sem : numpy.ndarray
        (n_blocks, 200 ms) mean and SEM over presentations, events/s, rounded to .01.
    response : BlockValues
        Response 50-200 ms to the evolved images.
    references : BlockValues
        The same to the reference pictures shown in those blocks.
    """

    psth: Floats
    psth_sem: Floats
    response: BlockValues
    references: BlockValues


@dataclass(frozen=True)
class PublishedEvolution:
    """What is published of one experiment: DeePSim's thread, BigGAN's thread."""

    info: ExperimentInfo
    threads: tuple[PublishedThread, PublishedThread]

    @property
    def n_blocks(self) -> int:
        """Blocks that count; a last block of fewer than ten images has been dropped before."""
        return len(self.threads[0].psth)

    @property
    def folder(self) -> str:
        """Name of its folder: number and animal."""
        return folder_of(self.info)


def read_block_means(
    path: str | Path,
    expis: Iterable[int] | None = None,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> tuple[PublishedEvolution, ...]:
    """Read the published block means of all experiments.

    Parameters
    ----------
    path : path-like
        The archive of the authors' repository, an unpacked folder or a clone of it.
    expis : iterable of int, optional
        The experiments that must be there; by default the 170 of the list.
    progress : callable, optional
        Wraps the iteration over experiments, such as ``tqdm``.

    Returns
    -------
    tuple of PublishedEvolution
        Ascending by Expi.

    Raises
    ------
    MissingDataError, MalformedDataError
        If a file is missing or holds something else than its place promises; the message names
        file and field.
    """
    wanted = sorted(listed_experiments().index if expis is None else expis)
    with data_files(path) as files:
        index = _index(files, [folder_of(listed_info(expi)) for expi in wanted])
        return tuple(_evolution(files, listed_info(expi), index) for expi in progress(wanted))


def read_evolution(files: Mapping[str, FoundFile], expi: int) -> PublishedEvolution:
    """Read one experiment of the list, see `read_block_means`.

    Parameters
    ----------
    files : mapping of str to FoundFile
        Data files, see `core.source_tables.block_means.data_files`.
    expi : int
        Its number.
    """
    info = listed_info(expi)
    rows = _read(files, INDEX_FILE)
    index = {str(row.get("id")): row for row in rows if isinstance(row, dict)}
    if folder_of(info) not in index:
        raise MissingDataError(f"{INDEX_FILE} lacks the experiment {folder_of(info)}.")
    return _evolution(files, info, index)


def folder_of(info: ExperimentInfo) -> str:
    """Name the folder of an experiment: number and animal."""
    return f"Exp{info.expi:03d}-{info.session.animal[0]}"


class _Json:
    """One JSON object, whose fields are read with their type, length and finiteness."""

    def __init__(self, content: Any, where: str) -> None:
        self.content, self.where = content, where
        if not isinstance(content, dict):
            self.refuse("does not hold an object")

    def refuse(self, what: str) -> NoReturn:
        raise MalformedDataError(f"{self.where} {what}.")

    def __getitem__(self, field: str) -> Any:
        if field not in self.content:
            self.refuse(f"has no field {field!r}")
        return self.content[field]

    def numbers(self, field: str, length: int) -> Floats:
        """Read a list of finite numbers."""
        value = self[field]
        if not isinstance(value, list) or not set(map(type, value)) <= {int, float}:
            self.refuse(f"holds something else than numbers in {field!r}")
        if len(value) != length:
            self.refuse(f"has {len(value)} numbers in {field!r}; expected {length}")
        return np.array(value, dtype=float)

    def rates(self, field: str, length: int) -> Floats:
        """Read a list of rates, none negative."""
        values = self.numbers(field, length)
        if not ((values >= 0) & (values <= LARGEST_RATE)).all():
            self.refuse(f"holds a rate outside 0 to {LARGEST_RATE:g} events/s in {field!r}")
        return values

    def number(self, field: str) -> float:
        """Read one number."""
        value = self[field]
        if type(value) not in (int, float):
            self.refuse(f"holds {value!r:.40} in {field!r}; expected a number")
        return float(value)

    def must_be(self, field: str, expected: Any) -> None:
        """Refuse another value than the known one."""
        if self[field] != expected:
            self.refuse(f"says {field!r} is {self[field]!r:.80}; expected {expected!r}")

    def must_be_near(self, field: str, expected: float, tolerance: float) -> None:
        """Refuse a number further away than rounding explains."""
        value = self.number(field)
        if not abs(value - expected) <= tolerance + _FLOAT:
            self.refuse(f"says {field!r} is {value:g}, but the blocks give {expected:.4f}")


def _read(files: Mapping[str, FoundFile], path: str) -> Any:
    if path not in files:
        raise MissingDataError(f"{path} is missing from the block means; fetch them again.")
    file = files[path]
    if file.size > LARGEST_JSON_BYTES:
        raise MalformedDataError(f"{path} has {file.size} bytes; no block mean is that long.")
    try:
        with file.open() as stream:
            return json.loads(stream.read(), parse_constant=_refuse_constant)
    except Exception as error:  # a damaged archive can raise anything
        raise MalformedDataError(f"{path} is no JSON ({error!s:.120}); fetch it again.") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _index(files: Mapping[str, FoundFile], folders: list[str]) -> dict[str, Any]:
    """Read the list of experiments; it must name exactly the wanted ones."""
    rows = _read(files, INDEX_FILE)
    if not isinstance(rows, list):
        raise MalformedDataError(f"{INDEX_FILE} does not hold a list of experiments.")
    index: dict[str, Any] = {}
    for row in rows:
        folder = str(_Json(row, INDEX_FILE)["id"])
        if folder in index:
            raise MalformedDataError(f"{INDEX_FILE} lists {folder} twice.")
        index[folder] = row
    present = {PurePosixPath(path).parts[0] for path in files if "/" in path}
    for where, names in ((INDEX_FILE, set(index)), ("the folder", present)):
        if missing := sorted(set(folders) - names):
            raise MissingDataError(f"{where} lacks the experiments {_some(missing)}.")
        if foreign := sorted(name for name in names - set(folders) if name.startswith("Exp")):
            raise MalformedDataError(f"{where} has experiments of another list: {_some(foreign)}.")
    return index


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _evolution(
    files: Mapping[str, FoundFile], info: ExperimentInfo, index: Mapping[str, Any]
) -> PublishedEvolution:
    folder = folder_of(info)
    meta = _Json(_read(files, f"{folder}/meta.json"), f"{folder}/meta.json")
    _check_site(meta, info)
    if index[folder] != meta.content:
        raise MalformedDataError(f"{INDEX_FILE} and {folder}/meta.json disagree about {folder}.")
    trajectory = _trajectory(files, folder)
    meta.must_be("num_generations", len(trajectory))
    _refuse_surplus_blocks(files, folder, len(trajectory))
    evolution = PublishedEvolution(
        info,
        (
            _thread(files, folder, trajectory, THREAD_NAMES[0]),
            _thread(files, folder, trajectory, THREAD_NAMES[1]),
        ),
    )
    summary = _Json(
        _read(files, f"{folder}/summary_stats.json"), f"{folder}/summary_stats.json"
    )
    _check_summaries(evolution, meta, summary)
    return evolution


def _check_site(meta: _Json, info: ExperimentInfo) -> None:
    """Refuse another site, date, area, space, size or position than this experiment had."""
    meta.must_be("id", folder_of(info))
    meta.must_be("animal", info.session.animal[0])
    meta.must_be("unit", f"Ch{info.pref_channel}U{info.pref_unit}")
    meta.must_be("area", info.area)
    meta.must_be("date", info.session.date.isoformat())
    meta.must_be("thread0_space", info.spaces[0])
    meta.must_be("thread1_space", info.spaces[1])
    for field, known, length in (
        ("image_size_deg", info.image_size_deg[:1], 2),
        ("image_pos_deg", info.position_deg, 4),
    ):
        told = meta.numbers(field, length)[: len(known)]
        if not np.allclose(told, known, rtol=0, atol=_FLOAT):
            meta.refuse(f"says {field!r} begins {told.tolist()}; expected {known.tolist()}")


def _trajectory(files: Mapping[str, FoundFile], folder: str) -> list[_Json]:
    path = f"{folder}/evol_traj.json"
    rows = _read(files, path)
    if not isinstance(rows, list) or not rows:
        raise MalformedDataError(f"{path} does not hold a list of blocks.")
    blocks = [_Json(row, f"{path}, block {i + 1},") for i, row in enumerate(rows)]
    for i, block in enumerate(blocks):
        block.must_be("gen", i + 1)
    return blocks


def _psth_path(folder: str, block: int, name: str) -> str:
    return f"{folder}/gen_{block:02d}/{name}_psth.json"


def _refuse_surplus_blocks(files: Mapping[str, FoundFile], folder: str, n_blocks: int) -> None:
    for name in THREAD_NAMES:
        if (path := _psth_path(folder, n_blocks + 1, name)) in files:
            raise MalformedDataError(f"{path} is there, but evol_traj.json has {n_blocks} blocks.")


def _thread(
    files: Mapping[str, FoundFile], folder: str, trajectory: list[_Json], name: str
) -> PublishedThread:
    response, references = _values(trajectory, name), _values(trajectory, f"ref_{name}")
    psths, sems = [], []
    for block, mean in enumerate(response.mean, start=1):
        path = _psth_path(folder, block, name)
        published = _Json(_read(files, path), path)
        if not np.array_equal(published.numbers("time_ms", PSTH_MS), np.arange(PSTH_MS)):
            published.refuse(f"has another 'time_ms' than 0 to {PSTH_MS - 1}")
        psth = published.rates("mean_rate", PSTH_MS)
        evoked = psth[slice(*EVOKED_MS)].mean()
        if abs(evoked - mean) > _AGREEMENT:
            published.refuse(
                f"has a mean of {evoked:.3f} events/s over 50-200 ms in 'mean_rate', but "
                f"evol_traj.json says {mean}"
            )
        published.must_be_near("evoked_rate", evoked, _HALF_TENTH + _HALF_CENT)
        psths.append(psth)
        sems.append(published.rates("sem", PSTH_MS))
    return PublishedThread(np.array(psths), np.array(sems), response, references)


def _values(trajectory: list[_Json], name: str) -> BlockValues:
    mean, low, high = (
        np.array([block.number(f"{name}{end}") for block in trajectory])
        for end in ("", "_low", "_high")
    )
    # Each of the three is rounded by itself.
    odd = (np.abs(low + high - 2 * mean) > 2 * _HALF_CENT + _FLOAT) | (high < low) | (mean < 0)
    if odd.any():
        block = trajectory[int(odd.argmax())]
        block.refuse(f"has {name!r} not in the middle between {name}_low and {name}_high")
    return BlockValues(mean, low, high)


def _check_summaries(evolution: PublishedEvolution, meta: _Json, summary: _Json) -> None:
    summary.must_be("id", evolution.folder)
    summary.must_be("num_generations", evolution.n_blocks)
    tolerance = _HALF_TENTH + _HALF_CENT
    for name, thread in zip(THREAD_NAMES, evolution.threads, strict=True):
        means = thread.response.mean
        meta.must_be_near(f"{name}_max_rate", means.max(), tolerance)
        summary.must_be_near(f"{name}_final_rate", means[-1], tolerance)
        summary.must_be_near(f"{name}_rate_increase", means[-1] - means[0], tolerance + _HALF_CENT)

"""Sessions at a rig, written in the recordings layout of the paper.

``python -m neuro_data_analysis.rig_recordings SESSION … --output MATROOT`` writes one recording
file of paired evolutions that `core.rig` recorded. The tables and Figures 2, 4 and 5 are then made
of it as of any recording: the first session becomes experiment 155, the one that Figure 2 draws.
"""

from __future__ import annotations

import sys

from core import start

if __name__ == "__main__":
    sys.exit(start.run("neuro_data_analysis.rig_recordings"))

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.command_line import a_path, command_parser, require_writable
from core.errors import MalformedDataError, MissingDataError, UsageError, exit_code_of
from core.files import atomic_write, read_json
from core.reading.array_files import read_arrays
from core.rig.session import NOTE_FILE, STIMULI, SessionInfo
from core.source_tables.registry import EXAMPLE_EXPI
from neuro_data_analysis.matlab.v73_writer import write_v73
from neuro_data_analysis.matlab.values import N_THREADS, PSTH_MS
from neuro_data_analysis.neural_data_lib import (
    IN_SILICO_ATTRIBUTE,
    MAT_FILE,
    NOTE_ATTRIBUTE,
    SHOWN_ATTRIBUTE,
    VARIABLE,
)

#: Fields of every element, alphabetical, as in the paper's file.
FIELDS = ("Animal", "color_seq", "evol", "imageName", "meta", "ref", "stim", "units")

#: How the note of a session begins whose responses are a network's.
IN_SILICO = "IN SILICO"

README_FILE = "README.md"


@dataclass(frozen=True)
class _BlockRecord:
    """What a session holds of one block: trials that were seen, in order of presentation.

    Attributes
    ----------
    names : tuple of str
    density : numpy.ndarray, shape (200 ms, n_trials)
        Of the preferred channel.
    evoked : numpy.ndarray, shape (n_channels, n_trials)
    """

    names: tuple[str, ...]
    density: NDArray[np.float32]
    evoked: NDArray[np.float64]

    def rows_of(self, thread: int, natural: bool) -> NDArray[np.intp]:
        """Return the trials of one thread, evolved or natural ones."""
        mark = f"_thread{thread:03d}_"
        rows = [
            row
            for row, name in enumerate(self.names)
            if mark in name and name.endswith("_nat") == natural
        ]
        return np.array(rows, dtype=np.intp)


def write_recordings(sessions: Sequence[str | Path], folder: str | Path) -> Path:
    """Write a MATROOT of sessions at a rig.

    Parameters
    ----------
    sessions : sequence of path-like
        Folders of sessions with two threads and spike densities, see `core.rig.session`. The first
        becomes experiment 155, the others 1, 2, ….
    folder : path-like
        Made if need be; an earlier recording file in it is replaced.

    Returns
    -------
    pathlib.Path
        The recording file.

    Raises
    ------
    MissingDataError
        If a session does not exist, or has no block.
    MalformedDataError
        If a session has no spike densities, not two threads, or a file of it is damaged.
    UsageError
        If no session is given, one twice, or some are in silico and others not.
    CannotWriteError
        If the folder cannot be written.
    """
    paths = [Path(session) for session in sessions]
    infos = [_info_of(path) for path in paths]
    names = [info.experiment for info in infos]
    if not names or len(set(names)) < len(names):
        raise UsageError(f"sessions {', '.join(names) or '(none)'} were given; give each once.")
    silico = {info.note.startswith(IN_SILICO) for info in infos}
    if len(silico) > 1:
        raise UsageError("some sessions are in silico and others are not; write them apart.")
    shown_as = {info.shown_as for info in infos}
    if len(shown_as) > 1:
        raise UsageError("sessions call their spaces by different names; write them apart.")
    target = Path(folder) / MAT_FILE
    note = "; ".join(dict.fromkeys(info.note for info in infos if info.note))
    with write_v73(target, f"Paired evolutions at a rig. {note:.60} HDF5 schema 1.00 .") as file:
        if silico == {True}:
            file.mark(IN_SILICO_ATTRIBUTE, True)
        file.mark(NOTE_ATTRIBUTE, note)
        file.mark(SHOWN_ATTRIBUTE, "\n".join(*shown_as))
        file.save_struct_array(VARIABLE, FIELDS, _elements(paths, infos))
    _write_readme(Path(folder), infos)
    return target


def experiment_numbers(n_sessions: int) -> list[int]:
    """Return the Expi of each session: the first is the example of Figure 2."""
    others = (expi for expi in range(1, n_sessions + EXAMPLE_EXPI) if expi != EXAMPLE_EXPI)
    return [EXAMPLE_EXPI, *(next(others) for _ in range(n_sessions - 1))]


def _elements(
    paths: Sequence[Path], infos: Sequence[SessionInfo]
) -> Iterator[Mapping[str, Any] | None]:
    """Yield every element of the file in order, None where there is no experiment."""
    numbers = experiment_numbers(len(paths))
    by_number = dict(zip(numbers, zip(paths, infos, strict=True), strict=True))
    for expi in range(1, max(numbers) + 1):
        yield _element(*by_number[expi]) if expi in by_number else None


def _element(path: Path, info: SessionInfo) -> dict[str, Any]:
    """Return one session as an element of the recording file."""
    blocks = list(_blocks(path, info))
    names = [name for block in blocks for name in block.names]
    first = np.cumsum([0, *(len(block.names) for block in blocks)])
    natural = np.array([name.endswith("_nat") for name in names])
    return {
        "color_seq": np.linspace((0.0, 0.0, 1.0), (1.0, 0.0, 0.0), len(blocks)),
        "evol": {**_presented(blocks, first, natural=False), **_evolution(info, blocks)},
        "imageName": np.array(names, dtype=object)[:, np.newaxis],
        "meta": _meta(path, info),
        "ref": _presented(blocks, first, natural=True),
        "stim": {
            "gen_msk": ~natural,
            "nat_msk": natural,
            "thread_msks": [
                np.array([f"_thread{thread:03d}_" in name for name in names])
                for thread in range(N_THREADS)
            ],
        },
        "units": _units(info),
    }


def _presented(
    blocks: Sequence[_BlockRecord], first: NDArray[np.intp], natural: bool
) -> dict[str, Any]:
    """Lay out the responses to evolved or natural pictures: cells of 2 threads × n blocks."""
    shape = (N_THREADS, len(blocks))
    cells = {name: np.empty(shape, dtype=object) for name in ("idx_seq", "psth", "rspmat")}
    for thread, number in np.ndindex(shape):
        block = blocks[number]
        rows = block.rows_of(thread, natural)
        unsorted = np.zeros((1, len(rows)))
        cells["idx_seq"][thread, number] = 1.0 + (first[number] + rows)[np.newaxis]
        cells["psth"][thread, number] = block.density[:, rows]
        cells["rspmat"][thread, number] = np.vstack([unsorted, block.evoked[:, rows]])
    return cells


def _evolution(info: SessionInfo, blocks: Sequence[_BlockRecord]) -> dict[str, Any]:
    sizes = [len(block.names) for block in blocks]
    return {
        "block_arr": np.repeat(1.0 + np.arange(len(blocks)), sizes),
        "block_n": float(len(blocks)),
        "imgpos": np.array([info.position_deg] * N_THREADS, dtype=np.float64),
        "imgsize": np.full(N_THREADS, float(info.size_deg)),
        "optim_names": list(info.optimizers) if info.optimizers else None,
        "pref_chan": np.full(N_THREADS, float(info.channel)),
        "space_names": list(info.spaces),
        "space_cfg": [[space, None] for space in info.spaces],
        "thread_num": float(N_THREADS),
        "unit_in_pref_chan": np.full(N_THREADS, float(info.unit)),
    }


def _meta(path: Path, info: SessionInfo) -> dict[str, Any]:
    year, month, day = info.date.split("-")
    return {
        "ephysFN": info.experiment,
        "expControlFN": f"{year[2:]}{month}{day}_{info.animal}_generate_BigGAN",
        "stimuli": str(path / STIMULI),
        "comments": info.note or None,
        **({"area": info.area} if info.area else {}),
        "rasterWindow": np.array([[0.0, float(PSTH_MS)]]),
        "sdf": "sdf",
        "fdrnm": None,
        "figdir": None,
    }


def _units(info: SessionInfo) -> dict[str, Any]:
    """Describe the units: an unsorted one, then the rig's channels."""
    channels = np.array([info.channel, *info.recorded_channels], dtype=np.float64)
    return {
        "spikeID": channels,
        "unit_num_arr": np.array([0.0, *[float(info.unit)] * len(info.recorded_channels)]),
        "activ_msk": np.arange(len(channels)) > 0,
        "pref_chan": np.full(N_THREADS, float(info.channel)),
        "pref_chan_id": np.full(N_THREADS, 2.0 + info.column),
        "unit_in_pref_chan": np.full(N_THREADS, float(info.unit)),
        "unit_name_arr": None,
    }


def _blocks(path: Path, info: SessionInfo) -> Iterator[_BlockRecord]:
    """Yield the blocks of a session in order, trials of pictures shown again at their end."""
    number = 0
    while (path / f"block{number:03d}.npz").is_file():
        files = [path / f"block{number:03d}.npz"]
        files += sorted(path.glob(f"block{number:03d}_again*.npz"))
        parts = [_part(file, info) for file in files]
        yield _BlockRecord(
            tuple(name for part in parts for name in part.names),
            np.concatenate([part.density for part in parts], axis=1),
            np.concatenate([part.evoked for part in parts], axis=1),
        )
        number += 1
    if not number:
        raise MissingDataError(f"{path} holds no block; give the folder of a session at a rig.")


def _part(path: Path, info: SessionInfo) -> _BlockRecord:
    try:
        found = read_arrays(path)
        names, evoked = found["trials"], found["evoked"]
    except (ValueError, KeyError) as error:
        raise MalformedDataError(f"{path} is no block of a session ({error}).") from error
    psth = found.get("psth")
    if psth is None or psth.shape[1] < PSTH_MS or psth.shape[2] <= info.column:
        shape = None if psth is None else psth.shape
        raise MalformedDataError(
            f"{path} holds spike densities of shape {shape}; the recordings of the paper need "
            f"(trials, {PSTH_MS} ms or more, {info.column + 1} channels or more). Let the rig "
            "write psth."
        )
    if sum(key.startswith("names/") for key in found) != N_THREADS and "_again" not in path.name:
        raise MalformedDataError(
            f"{path} is not of {N_THREADS} threads; the recordings of the paper are paired "
            "evolutions. Give evolve a mapping of two."
        )
    density = psth[:, :PSTH_MS, info.column].astype(np.float32)
    seen = np.isfinite(density).all(axis=1) & np.isfinite(evoked).all(axis=1)
    return _BlockRecord(tuple(map(str, names[seen])), density[seen].T, evoked[seen].T)


def _info_of(path: Path) -> SessionInfo:
    note = path / NOTE_FILE
    if not note.is_file():
        raise MissingDataError(f"{path} holds no {NOTE_FILE}; give the folder of a session.")
    try:
        found = read_json(note)["info"]
        lists = {key: tuple(value) for key, value in found.items() if isinstance(value, list)}
        return SessionInfo(**found | lists)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MalformedDataError(f"{note} cannot be read ({error}).") from error


def _write_readme(folder: Path, infos: Sequence[SessionInfo]) -> None:
    lines = ["# Recordings at a rig", "", "| Expi | session | channel | note |"]
    lines += ["|---|---|---|---|"]
    lines += [
        f"| {expi} | {info.experiment} | {info.channel} | {info.note or '-'} |"
        for expi, info in zip(experiment_numbers(len(infos)), infos, strict=True)
    ]
    with atomic_write(folder / README_FILE) as unfinished:
        unfinished.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 written, 1 failed, 2 usage, 3 a session is missing."""
    parser = command_parser(
        "python -m neuro_data_analysis.rig_recordings",
        "Write sessions at a rig in the recordings layout of the paper.",
        "python -m neuro_data_analysis.rig_recordings session1 session2 --output matroot",
    )
    parser.add_argument("sessions", nargs="+", type=a_path, metavar="SESSION", help="its folder")
    parser.add_argument("--output", required=True, type=a_path, metavar="DIR", help="MATROOT")
    given = parser.parse_args(arguments)
    return exit_code_of(lambda: _run(given.sessions, given.output))


def _run(sessions: Sequence[Path], output: Path) -> None:
    require_writable(output)
    sys.stdout.write(f"{write_recordings(sessions, output)}\n")

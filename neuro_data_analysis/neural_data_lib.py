"""Recordings of paired evolutions, one experiment at a time.

`load_neural_data` opens what lies in MATROOT: the MATLAB v7.3 file, or one of the two pickles that
the authors made of it. All three give the same `Recordings`, addressed by the 1-based ``Expi``.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from core.brief import brief
from core.errors import MalformedDataError, MissingDataError, UserError
from core.published_names import door
from core.reading.safe_pickle import load_pickle
from core.spaces import Space
from neuro_data_analysis.matlab import v73 as matlab_v73
from neuro_data_analysis.matlab.values import (
    N_THREADS,
    PSTH_MS,
    as_image_index,
    as_integers,
    as_matlab,
    as_positions,
    as_psth,
    as_struct,
    as_text,
    as_vector,
    flat,
    per_thread,
)
from neuro_data_analysis.neural_data_utils import AREAS, Session, area_of_channel, parse_session

logger = logging.getLogger(__name__)

#: The environment variable that names the folder of the recordings.
MATROOT_VARIABLE = "MATROOT"

MAT_FILE = "Both_BigGAN_FC6_Evol_Stats.mat"
EXPSEP_PICKLE = "Both_BigGAN_FC6_Evol_Stats_expsep.pkl"
MERGE_PICKLE = "Both_BigGAN_FC6_Evol_Stats.pkl"
VARIABLE = "BFEStats"

#: Optimiser names by Expi, beside the recordings, for recordings that do not tell them.
OPTIMIZER_FILE = "meta_optimizer_info.csv"

#: What helps where a pickle of recordings cannot be read.
_INSTEAD = "read the MATLAB file that it was made of"

#: Attribute of the root of a recording file that a simulator made.
SIMULATED_ATTRIBUTE = "simulated"
#: Attributes of one whose responses are a network's, and of one with a note of origin.
IN_SILICO_ATTRIBUTE, NOTE_ATTRIBUTE, SHOWN_ATTRIBUTE = "in_silico", "note", "shown_as"


class NoExperimentError(MissingDataError, KeyError):
    """A recording file holds no experiment of that number; also a `KeyError`, as of a mapping."""

    __str__ = Exception.__str__


@dataclass(frozen=True)
class Block:
    """The presentations of one thread in one block (generation).

    Attributes
    ----------
    psth : numpy.ndarray
        (200 ms, n_images) spike density in events/s, 1-ms bins from image onset.
    image_index : numpy.ndarray of int
        (n_images,) 0-based positions in the image names of the experiment.
    """

    psth: NDArray[np.float64]
    image_index: NDArray[np.intp]

    __repr__ = brief

    def __post_init__(self) -> None:
        if self.psth.shape != (PSTH_MS, len(self.image_index)):
            raise MalformedDataError(
                f"a PSTH of shape {self.psth.shape} for {len(self.image_index)} images; expected "
                f"({PSTH_MS}, {len(self.image_index)})"
            )
        if not np.isfinite(self.psth).all():
            raise MalformedDataError("a PSTH holds NaN or infinity")
        if (self.image_index < 0).any():
            raise MalformedDataError("an image index is below 1")

    @property
    def n_images(self) -> int:
        """Number of presentations."""
        return len(self.image_index)


@dataclass(frozen=True)
class Thread:
    """One of the two evolutions that ran side by side.

    Attributes
    ----------
    space : str
        Generative space: ``"fc6"`` (DeePSim), ``"BigGAN"`` or ``"BigGAN_class"``.
    optimizer : str or None
        Name of the optimiser, where the recording tells it.
    blocks : tuple of Block
        Evolved images, block by block.
    references : tuple of Block
        Natural reference images shown in the same blocks.
    """

    space: str
    optimizer: str | None
    blocks: tuple[Block, ...]
    references: tuple[Block, ...]

    __repr__ = brief


@dataclass(frozen=True)
class ExperimentInfo:
    """What an experiment was, without its spikes.

    Attributes
    ----------
    expi : int
        1-based number of the experiment.
    ephys_name, control_name : str
        Names of the recording and of the experiment control; the latter may be empty.
    session : Session
        Animal and date.
    pref_channel, pref_unit : int
        The site whose firing rate was the fitness.
    area : {"V1", "V4", "IT"}
        Where the channel recorded from.
    image_size_deg : numpy.ndarray
        (2,) image width per thread, degrees of visual angle.
    position_deg : numpy.ndarray
        (2,) image centre (x, y) of thread 0, degrees.
    stimuli : str
        Folder of the pictures and latent codes, as recorded (a Windows path).
    spaces, optimizers : tuple
        Per thread, see `Thread`.
    """

    expi: int
    ephys_name: str
    control_name: str
    session: Session
    pref_channel: int
    pref_unit: int
    area: str
    image_size_deg: NDArray[np.float64]
    position_deg: NDArray[np.float64]
    stimuli: str
    spaces: tuple[str, str]
    optimizers: tuple[str | None, str | None]

    __repr__ = brief

    @property
    def title(self) -> str:
        """Three lines that head the figures of this experiment, as published."""
        return (
            f"Exp {self.expi:03d} {self.ephys_name} "
            f"Pref chan{self.pref_channel} U{self.pref_unit}\n"
            f"image size {self.image_size_deg} deg  pos {self.position_deg}\n"
            f"Evol thr0: {self.spaces[0]}   thr1: {self.spaces[1]}"
        )


@dataclass(frozen=True)
class Experiment:
    """One paired evolution: thread 0 in DeePSim, thread 1 in BigGAN."""

    info: ExperimentInfo
    threads: tuple[Thread, Thread]

    __repr__ = brief

    def __post_init__(self) -> None:
        lengths = {len(thread.blocks) for thread in self.threads}
        if len(lengths) > 1:
            raise MalformedDataError(f"the threads have different numbers of blocks: {lengths}")

    @property
    def n_blocks(self) -> int:
        """Number of recorded blocks, before any is dropped."""
        return len(self.threads[0].blocks)

    def thread(self, space: Space) -> Thread:
        """Return the thread that searches a space."""
        return self.threads[space.thread]


class Recordings(Mapping[int, Experiment]):
    """The experiments of one recording file, by ``Expi``, read when asked for.

    Iterating gives the numbers of the experiments that are present, ascending. The elements of the
    file that were never filled are absent, not errors.

    Parameters
    ----------
    elements : sequence of mappings
        Element i is experiment i + 1: field name → value as MATLAB holds it, see `as_matlab`.
    path : pathlib.Path
        Where they come from; named in errors.
    simulated : bool
        Whether a simulator made the file.
    in_silico : bool
        Whether the responses are a network's.
    note : str
        What the file says about its origin.
    shown_as : tuple of str
        What figures call the spaces of both threads, where these are not DeePSim and BigGAN.
    close : callable, optional
        Called once when the recordings are closed.
    """

    def __init__(
        self,
        elements: Sequence[Mapping[str, Any]],
        path: Path,
        simulated: bool = False,
        close: Callable[[], None] = lambda: None,
        in_silico: bool = False,
        note: str = "",
        shown_as: Sequence[str] = (),
    ) -> None:
        self._elements = elements
        self.path = path
        self.simulated, self.in_silico, self.note = simulated, in_silico, note
        self.shown_as = tuple(shown_as)
        self.close = close

    def __enter__(self) -> Recordings:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        simulated = ", SIMULATED" if self.simulated else ""
        return f"Recordings({str(self.path)!r}, {len(self)} experiments{simulated})"

    @property
    def on_disk(self) -> bool:
        """Whether experiments are read one by one, rather than held in memory."""
        return isinstance(self._elements, matlab_v73.StructArray)

    @property
    def n_elements(self) -> int:
        """Number of elements of the file, absent ones included."""
        return len(self._elements)

    @cached_property
    def _present(self) -> tuple[int, ...]:
        return tuple(expi for expi in range(1, self.n_elements + 1) if not self._is_absent(expi))

    def __iter__(self) -> Iterator[int]:
        return iter(self._present)

    def __len__(self) -> int:
        return len(self._present)

    def __contains__(self, expi: object) -> bool:
        return expi in self._present

    def __getitem__(self, expi: int) -> Experiment:
        """Read one experiment; `NoExperimentError` if there is none of that number."""
        element = self.raw(expi)
        with self._naming(expi):
            info = _info(expi, element)
            parts = zip(
                info.spaces,
                info.optimizers,
                _blocks(element["evol"]),
                _blocks(element.get("ref")),
                strict=True,
            )
            first, second = (Thread(*part) for part in parts)
            return Experiment(info, (first, second))

    def info(self, expi: int) -> ExperimentInfo:
        """Read what an experiment was, leaving its spikes on disk."""
        element = self.raw(expi)
        with self._naming(expi):
            return _info(expi, element)

    def n_blocks(self, expi: int) -> int:
        """Count the recorded blocks of an experiment without reading them."""
        element = self.raw(expi)
        with self._naming(expi):
            evolved = element["evol"]
            if isinstance(evolved, matlab_v73.Struct):
                shape = evolved.shape("psth")
                if len(shape) == 2 and shape[0] == N_THREADS and shape[1] > 1:  # else maybe nested
                    return shape[1]
            return len(per_thread(evolved["psth"])[0])

    def image_names(self, expi: int) -> list[str]:
        """Read the name of every presentation of an experiment, in order of presentation."""
        element = self.raw(expi)
        with self._naming(expi):
            return [as_text(name) for name in flat(element["imageName"])]

    def raw(self, expi: int) -> Mapping[str, Any]:
        """Return an experiment as its file holds it, field by field.

        Raises
        ------
        NoExperimentError
            If there is no experiment of that number.
        """
        if not 1 <= expi <= self.n_elements or self._is_absent(expi):
            raise NoExperimentError(
                f"{self.path} holds no experiment {expi}; it has {len(self)} experiments of "
                f"numbers 1 to {self.n_elements}."
            )
        return self._elements[expi - 1]

    def _is_absent(self, expi: int) -> bool:
        element = self._elements[expi - 1]
        if isinstance(element, matlab_v73.Struct):
            return not element.has_struct("evol")
        evolved = element.get("evol")
        return not isinstance(evolved, Mapping) or not evolved

    @contextmanager
    def _naming(self, expi: int) -> Iterator[None]:
        """Say in every error which experiment of which file it is about."""
        try:
            yield
        except KeyError as field:
            raise MalformedDataError(
                f"{self.path}, experiment {expi}: there is no field {field}."
            ) from field
        except UserError as error:
            raise type(error)(f"{self.path}, experiment {expi}: {error}") from error


def matroot() -> Path:
    """Return the folder of the recordings that the environment variable MATROOT names.

    Raises
    ------
    MissingDataError
        If it is not set, or names no folder and no file.
    """
    given = os.environ.get(MATROOT_VARIABLE)
    if not given:
        raise MissingDataError(
            f"no folder of recordings was given: use --matroot DIR, or set {MATROOT_VARIABLE} to "
            f"the folder that holds {MAT_FILE}; "
            "`python -m neuro_data_analysis.simulate_recordings` writes simulated ones."
        )
    folder = Path(given).expanduser()
    if not folder.exists():
        raise MissingDataError(
            f"{MATROOT_VARIABLE} is {given}, and there is no such folder; set it to the one that "
            f"holds {MAT_FILE}."
        )
    return folder


def load_neural_data(matroot: str | os.PathLike[str] | None = None) -> Recordings:
    """Open the recordings of the paired evolutions.

    Parameters
    ----------
    matroot : path-like, optional
        Folder of the recordings, or one of its files. Default: the environment variable MATROOT,
        read now. In a folder, the MATLAB file is preferred to the pickles, which have to be read
        whole.

    Returns
    -------
    Recordings
        Use as a context manager, or close it.

    Raises
    ------
    MissingDataError
        If MATROOT is not set, or holds no recording file.
    MalformedDataError
        If the file cannot be read or holds no ``BFEStats``.
    """
    path = _recording_file(matroot)
    logger.info("reading %s", path)
    if path.suffix == ".pkl":
        return Recordings(_pickled_elements(path), path)
    file = matlab_v73.open_v73(path)
    try:
        with matlab_v73.reading(path):
            elements = _stored_elements(file, path)
            simulated = bool(file.attrs.get(SIMULATED_ATTRIBUTE, False))
            in_silico = bool(file.attrs.get(IN_SILICO_ATTRIBUTE, False))
            note = str(file.attrs.get(NOTE_ATTRIBUTE, ""))
            shown_as = str(file.attrs.get(SHOWN_ATTRIBUTE, "")).split("\n")
    except BaseException:
        file.close()
        raise
    names = shown_as if len(shown_as) == N_THREADS else ()
    return Recordings(elements, path, simulated, file.close, in_silico, note, names)


def _recording_file(given: str | os.PathLike[str] | None) -> Path:
    folder = Path(given) if given is not None else matroot()
    if folder.is_file():
        return folder
    names = (MAT_FILE, EXPSEP_PICKLE, MERGE_PICKLE)
    for name in names:
        if (folder / name).is_file():
            return folder / name
    state = "holds none of" if folder.is_dir() else "does not exist; it should hold one of"
    raise MissingDataError(f"{folder} {state} {', '.join(names)}.")


def _stored_elements(file: h5py.File, path: Path) -> Sequence[Mapping[str, Any]]:
    stored = matlab_v73.member(file.id, VARIABLE)
    if stored is None:
        there = [name for name in matlab_v73.names_in(file.id) if not name.startswith("#")]
        names = ", ".join(there) or "none"
        raise MalformedDataError(f"{path} holds no variable {VARIABLE}; its variables: {names}.")
    if not isinstance(stored, h5py.h5g.GroupID):
        raise MalformedDataError(f"{path}: {VARIABLE} is not a struct array; save it as one.")
    return matlab_v73.StructArray(stored)


def _pickled_elements(path: Path) -> Sequence[Mapping[str, Any]]:
    """Read either pickle of the authors: a list of experiments, or a dictionary of columns."""
    content = load_pickle(path, instead=_INSTEAD)
    if isinstance(content, Mapping):
        columns = content.get(VARIABLE, content)
        if isinstance(columns, Mapping) and "evol" in columns:
            content = _rows(columns, path)
    if not isinstance(content, list) or not all(isinstance(e, Mapping) for e in content):
        raise MalformedDataError(
            f"{path} holds neither a list of experiments nor a dictionary {VARIABLE!r} of columns."
        )
    return [as_matlab(element) for element in content]


def _rows(columns: Mapping[str, Any], path: Path) -> list[dict[str, Any]]:
    lengths = {len(column) for column in columns.values() if isinstance(column, list)}
    if len(lengths) != 1 or not all(isinstance(column, list) for column in columns.values()):
        raise MalformedDataError(f"{path}: the columns of {VARIABLE} are not lists of one length.")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _info(expi: int, element: Mapping[str, Any]) -> ExperimentInfo:
    meta, evolved = as_struct(element["meta"], "meta"), element["evol"]
    ephys_name, control_name = as_text(meta["ephysFN"]), as_text(meta["expControlFN"])
    session = parse_session(ephys_name, control_name)
    channel = int(as_integers(evolved["pref_chan"], "pref_chan")[0])
    spaces = [as_text(name) for name in flat(evolved["space_names"])]
    optimizers = [as_text(name) for name in flat(evolved.get("optim_names", np.zeros(0)))]
    if len(spaces) != N_THREADS:
        raise MalformedDataError(f"space_names {spaces} do not name {N_THREADS} spaces")
    return ExperimentInfo(
        expi=expi,
        ephys_name=ephys_name,
        control_name=control_name,
        session=session,
        pref_channel=channel,
        pref_unit=int(as_integers(evolved["unit_in_pref_chan"], "unit_in_pref_chan")[0]),
        area=_area(meta, session, channel),
        image_size_deg=as_vector(evolved["imgsize"], "imgsize"),
        position_deg=as_positions(evolved["imgpos"])[0],
        stimuli=as_text(meta["stimuli"]),
        spaces=(spaces[0], spaces[1]),
        optimizers=(optimizers[0], optimizers[1]) if len(optimizers) == N_THREADS else (None, None),
    )


def _area(meta: Mapping[str, Any], session: Session, channel: int) -> str:
    """Return the area that a recording names, or that of the channel in the paper's arrays."""
    named = as_text(meta.get("area", ""))
    if named and named not in AREAS:
        raise MalformedDataError(f"area {named!r} is none of {', '.join(AREAS)}")
    return named or area_of_channel(session, channel)


def _blocks(presented: Mapping[str, Any] | None) -> tuple[tuple[Block, ...], ...]:
    """Return the blocks of both threads; none where nothing was presented."""
    if not isinstance(presented, Mapping) or not presented:
        return ((),) * N_THREADS
    densities, indices = per_thread(presented["psth"]), per_thread(presented["idx_seq"])
    if len(densities[0]) != len(indices[0]):
        raise MalformedDataError(
            f"{len(densities[0])} blocks in psth, {len(indices[0])} in idx_seq; expected as many"
        )
    return tuple(
        tuple(
            Block(as_psth(psth), as_image_index(index))
            for psth, index in zip(densities[thread], indices[thread], strict=True)
        )
        for thread in range(N_THREADS)
    )


if not TYPE_CHECKING:
    __getattr__ = door(__name__, more="neuro_data_analysis.published_calls")

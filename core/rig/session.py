"""A session at a rig: every block is made, shown, recorded and averaged; nothing is lost.

A block is in the session's folder, and on the disk, before anybody hears of its responses. After a
crash or a reboot the same block finds its responses there, or its pictures are shown again.
"""

from __future__ import annotations

import csv
import hashlib
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from core.errors import MalformedDataError, MissingDataError, UsageError
from core.files import atomic_write, flush_to_disk
from core.reading.array_files import read_arrays, write_arrays
from core.rig.blocks import BlockResponses, FloatArray, Request, as_png
from core.settings_note import claim

if TYPE_CHECKING:
    from core.utils.evolution.scoring import Pictures

logger = logging.getLogger(__name__)

#: Visual areas that recordings may name.
AREAS = ("V1", "V4", "IT")

#: The last chunk of every PNG file.
_PNG_END = b"IEND\xaeB`\x82"

#: Files of a session's folder.
NOTE_FILE, LOG_FILE, STIMULI = "session.json", "log.csv", "stimuli"


@dataclass(frozen=True)
class SessionInfo:
    """What the recordings of a session say about it.

    Attributes
    ----------
    animal : str
        "Alfa" or "Beto" map channels to areas as in the paper; another name needs `area`.
    date : str
        YYYY-MM-DD.
    number : int
        Of the session on that day.
    channel, unit : int
        Preferred channel and its unit, from 1.
    channels : tuple of int
        Numbers of the rig's channels in the order of its responses; by default the preferred one
        alone.
    area : {"", "V1", "V4", "IT"}
        Visual area; by default that of the channel in the paper's arrays.
    optimizers : tuple of str
        Of both threads, as recordings name them.
    position_deg : tuple of float
        Where pictures are shown, degrees of visual angle.
    size_deg : float
        Their side.
    spaces : tuple of str
        The paper's names of the threads' spaces, "fc6" and "BigGAN".
    shown_as : tuple of str
        What figures call these spaces, where others were used; by default "DeePSim" and "BigGAN".
    note : str
        Where responses come from; "IN SILICO" for a network.
    """

    animal: str
    date: str
    number: int = 1
    channel: int = 1
    unit: int = 1
    channels: tuple[int, ...] = ()
    area: str = ""
    optimizers: tuple[str, ...] = ()
    position_deg: tuple[float, float] = (0.0, 0.0)
    size_deg: float = 3.0
    spaces: tuple[str, ...] = ("fc6", "BigGAN")
    note: str = ""
    shown_as: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        try:
            time.strptime(self.date, "%Y-%m-%d")
        except ValueError as error:
            raise UsageError(f"date is {self.date!r}; give YYYY-MM-DD.") from error
        if not self.animal or self.number < 1 or self.channel < 1 or self.unit < 1:
            raise UsageError(
                f"animal {self.animal!r}, session {self.number}, channel {self.channel} and unit "
                f"{self.unit} were given; an animal has a name, numbers begin with 1."
            )
        if len(self.shown_as) not in (0, len(self.spaces)):
            raise UsageError(
                f"{len(self.shown_as)} names of spaces were given to show; there are "
                f"{len(self.spaces)}: {', '.join(self.spaces)}."
            )
        if self.area not in ("", *AREAS) or self.channel not in self.recorded_channels:
            raise UsageError(
                f"area {self.area!r} and preferred channel {self.channel} of channels "
                f"{self.recorded_channels} were given; areas are {', '.join(AREAS)}, and the "
                "preferred channel is one of those recorded."
            )

    @property
    def recorded_channels(self) -> tuple[int, ...]:
        """Numbers of the rig's channels."""
        return self.channels or (self.channel,)

    @property
    def column(self) -> int:
        """Place of the preferred channel among the rig's responses, from 0."""
        return self.recorded_channels.index(self.channel)

    @property
    def experiment(self) -> str:
        """Name of the session, such as ``Alfa-25112020-003``."""
        year, month, day = self.date.split("-")
        return f"{self.animal}-{day}{month}{year}-{self.number:03d}"


class Rig(ABC):
    """Shows blocks and records them.

    Parameters
    ----------
    session : path-like
        Folder of the session; made if need be.
    info : SessionInfo
    references : sequence of path-like, optional
        Natural pictures, shown in every block, for each thread under a name of its own.
    repeats : int, default 1
        Presentations of each picture in a block; the score is the mean over them.
    seed : int, default 0
        Of the order of presentation.

    Raises
    ------
    UsageError
        If the folder holds another session.
    MissingDataError, MalformedDataError
        If a reference is missing or no picture.
    """

    def __init__(
        self,
        session: str | Path,
        info: SessionInfo,
        *,
        references: Sequence[str | Path] = (),
        repeats: int = 1,
        seed: int = 0,
    ) -> None:
        if repeats < 1:
            raise UsageError(f"{repeats} repeats were asked for; give 1 or more.")
        self.session, self.info = Path(session), info
        self.repeats, self.seed = repeats, seed
        self._references = {Path(p).stem: _reference(Path(p)) for p in references}
        if len(self._references) < len(references):
            raise UsageError("two references share a name; rename one.")
        self._claim({"info": asdict(info), "repeats": repeats, "seed": seed})

    @abstractmethod
    def exchange(self, request: Request) -> BlockResponses:
        """Show a block and return its responses, in the order of its trials.

        A request that was answered before may come again after a crash.
        """

    def channel(self, number: int) -> RigChannel:
        """Return the objective of one channel, from 0 in the order of the rig's responses."""
        weights = np.zeros(number + 1)
        weights[number] = 1.0
        return RigChannel(self, weights, f"channel {number}")

    def population(self, weights: ArrayLike) -> RigChannel:
        """Return the objective of a weighted sum of channels."""
        return RigChannel(self, np.asarray(weights, dtype=np.float64), "weighted channels")

    def show(self, block: int, shown: Sequence[Pictures], attempt: int = 0) -> list[FloatArray]:
        """Show a block; see `core.utils.evolution.scoring.ShowsBlocks`.

        Parameters
        ----------
        block : int
            From 0.
        shown : sequence of Pictures
            One per thread.
        attempt : int
            Above 0: only pictures that were lost, again.

        Returns
        -------
        list of numpy.ndarray, shape (n, n_channels)
            Per thread, mean over the repeats that were seen; NaN where there is none.
        """
        names = self._names(block, shown, attempt)
        path = self.session / f"{Request('', block, attempt, {}, ()).label}.npz"
        digest = _digest(shown)
        if path.is_file():
            responses = _recorded(path, digest)
        else:
            request = self._request(block, attempt, shown, names)
            self._keep_pictures(request)
            self.log(request.label, f"asked for {len(request.trials)} trials")
            responses = self.exchange(request)
            self._record(path, responses, names, shown, digest)
            n_lost = int(np.isnan(responses.evoked).all(axis=1).sum())
            self.log(request.label, f"recorded, {n_lost} trials lost")
        return [_means(responses, of_thread) for of_thread in names]

    def log(self, label: str, event: str) -> None:
        """Add a line to the log; its time is for people, nothing is decided by it."""
        logger.info("%s: %s", label, event)
        with (self.session / LOG_FILE).open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow([time.strftime("%Y-%m-%dT%H:%M:%S"), label, event])

    def _names(self, block: int, shown: Sequence[Pictures], attempt: int) -> list[list[str]]:
        """Name the pictures of each thread as the paper does; lost ones keep their names."""
        if attempt:
            earlier = read_arrays(self.session / f"block{block:03d}.npz")
            return [_names_of(earlier, thread.thread, thread.codes) for thread in shown]
        serial = sum(
            len(read_arrays(self.session / f"block{earlier:03d}.npz", ["names"])["names"])
            for earlier in range(block)
        )
        names = []
        for number, thread in enumerate(shown):
            serials = range(serial, serial + len(thread.codes))
            stem = f"block{block + 1:03d}_thread{number:03d}_gen_gen{block:03d}"
            names.append([f"{stem}_{each:06d}" for each in serials])
            serial += len(thread.codes)
        return names

    def _request(
        self, block: int, attempt: int, shown: Sequence[Pictures], names: Sequence[Sequence[str]]
    ) -> Request:
        pictures = {
            name: as_png(image)
            for thread, of_thread in zip(shown, names, strict=True)
            for name, image in zip(of_thread, _images(thread), strict=True)
        }
        if not attempt:
            pictures |= {
                f"{stem}_thread{number:03d}_nat": png
                for number in range(len(shown))
                for stem, png in self._references.items()
            }
        rng = np.random.default_rng([self.seed, block, attempt])
        order = rng.permutation(np.repeat(np.array(list(pictures), dtype=object), self.repeats))
        return Request(self.info.experiment, block, attempt, pictures, tuple(order))

    def _keep_pictures(self, request: Request) -> None:
        for name, png in request.pictures.items():
            path = self.session / STIMULI / f"{name}.png"
            if not _is_whole(path):
                with atomic_write(path) as unfinished:
                    unfinished.write_bytes(png)

    def _record(
        self,
        path: Path,
        responses: BlockResponses,
        names: Sequence[Sequence[str]],
        shown: Sequence[Pictures],
        digest: str,
    ) -> None:
        arrays: dict[str, Any] = {
            "digest": digest,
            "trials": np.array(responses.names),
            "evoked": responses.evoked,
            "names": np.array([name for of_thread in names for name in of_thread]),
        }
        if responses.psth is not None:
            arrays["psth"] = responses.psth.astype(np.float32)
        for thread, of_thread in zip(shown, names, strict=True):
            arrays[f"codes/{thread.thread}"] = thread.codes
            arrays[f"names/{thread.thread}"] = np.array(of_thread)
        for name in dict.fromkeys(responses.names):  # the block tells of them, and comes after
            flush_to_disk(self.session / STIMULI / f"{name}.png")
        flush_to_disk(self.session / STIMULI)
        write_arrays(path, arrays, durable=True)

    def _claim(self, settings: Mapping[str, Any]) -> None:
        note = self.session / NOTE_FILE
        claim(note, settings, "session", resume=True, going_on="resume=True", durable=True)

    def __repr__(self) -> str:
        return f"{type(self).__name__} of {self.info.experiment}"


class RigChannel:
    """A weighted sum of a rig's channels, as an objective.

    Attributes
    ----------
    rig : Rig
    weights : numpy.ndarray, shape (n,)
        Of the first n channels; the others do not count.
    """

    def __init__(self, rig: Rig, weights: FloatArray, name: str) -> None:
        if weights.ndim != 1 or not weights.any() or not np.isfinite(weights).all():
            raise UsageError("weights of channels are finite numbers, not all zero.")
        self.rig, self.weights, self._name = rig, weights, name

    def of(self, channels: FloatArray) -> FloatArray:
        """Return the scores (n,) of responses (n, n_channels); NaN where one that counts is."""
        if channels.shape[1] < len(self.weights):
            raise UsageError(
                f"{self!r} was asked for; the rig answers with {channels.shape[1]} channels."
            )
        counted = np.flatnonzero(self.weights)
        return channels[:, counted] @ self.weights[counted]

    def __repr__(self) -> str:
        return f"{self._name} of {self.rig!r}"


def _is_whole(path: Path) -> bool:
    """Tell whether a picture is there up to its end; a reboot may have left the beginning."""
    return path.is_file() and path.read_bytes().endswith(_PNG_END)


def _means(responses: BlockResponses, names: Sequence[str]) -> FloatArray:
    """Average the repeats of each picture that were seen."""
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(responses.names):
        rows.setdefault(name, []).append(row)
    means = np.full((len(names), responses.evoked.shape[1]), np.nan)
    for i, name in enumerate(names):
        of_picture = responses.evoked[rows[name]]
        seen = np.isfinite(of_picture)
        counts = seen.sum(axis=0)
        sums = np.where(seen, of_picture, 0).sum(axis=0)
        means[i, counts > 0] = sums[counts > 0] / counts[counts > 0]
    return means


def _images(thread: Pictures) -> NDArray[Any]:
    return np.asarray(thread.images).transpose(0, 2, 3, 1)


def _digest(shown: Sequence[Pictures]) -> str:
    """Name the codes of a block, so that responses to others are never taken for theirs."""
    digest = hashlib.sha256()
    for thread in shown:
        digest.update(thread.thread.encode())
        digest.update(np.ascontiguousarray(thread.codes, dtype=np.float32).tobytes())
    return digest.hexdigest()


def _recorded(path: Path, digest: str) -> BlockResponses:
    try:
        found = read_arrays(path)
        names, evoked = tuple(map(str, found["trials"])), found["evoked"]
        same = str(found["digest"]) == digest
    except (ValueError, KeyError) as error:
        raise MalformedDataError(f"{path} cannot be read ({error}); restore it.") from error
    if not same:
        raise UsageError(
            f"{path} holds the responses to other codes; this session belongs to another "
            "evolution. Give another folder."
        )
    return BlockResponses(names, evoked, found.get("psth"))


def _names_of(earlier: Mapping[str, Any], thread: str, codes: NDArray[Any]) -> list[str]:
    """Find the names that codes had when they were first shown."""
    known = {
        code.tobytes(): str(name)
        for code, name in zip(earlier[f"codes/{thread}"], earlier[f"names/{thread}"], strict=True)
    }
    return [known[code.tobytes()] for code in np.ascontiguousarray(codes, dtype=np.float32)]


def _reference(path: Path) -> bytes:
    if not path.is_file():
        raise MissingDataError(f"there is no reference picture {path}.")
    try:
        with Image.open(path, formats=("PNG", "JPEG", "BMP", "TIFF")) as image:
            return as_png(np.asarray(image.convert("RGB")))
    except OSError as error:
        raise MalformedDataError(f"{path} is no picture ({error}).") from error

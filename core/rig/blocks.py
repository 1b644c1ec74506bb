"""What goes to a rig, and what comes back: a block of pictures, and the responses to it."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.errors import MalformedDataError

FloatArray = NDArray[np.float64]

#: Time after the onset of a picture whose mean is its response, ms (the paper's window).
EVOKED_MS = (50, 200)

#: No spike density comes near this, events/s.
LARGEST_DENSITY = 1e6

#: Endings that a rig may leave on the names of pictures.
_ENDINGS = (".png", ".bmp", ".jpg", ".jpeg", ".tif")


@dataclass(frozen=True)
class Request:
    """One block of pictures to show.

    Attributes
    ----------
    experiment : str
        Which experiment it belongs to.
    block, attempt : int
        Number of the block, from 0; 0, or how often lost pictures of it were asked for again.
    pictures : mapping of str to bytes
        Name → the picture as a PNG file.
    trials : tuple of str
        Names in order of presentation; a name appears once per repeat.
    """

    experiment: str
    block: int
    attempt: int
    pictures: Mapping[str, bytes]
    trials: tuple[str, ...]

    @property
    def label(self) -> str:
        """How files call the block, such as ``block003`` or ``block003_again1``."""
        return f"block{self.block:03d}" + (f"_again{self.attempt}" if self.attempt else "")


@dataclass(frozen=True)
class BlockResponses:
    """What was recorded in a block, one row per trial.

    Attributes
    ----------
    names : tuple of str
        Pictures, in order of presentation.
    evoked : numpy.ndarray, shape (n_trials, n_channels)
        Response of each channel, NaN where a trial was lost.
    psth : numpy.ndarray or None, shape (n_trials, n_ms, n_channels)
        Spike densities in events/s, ms by ms from the onset of the picture.
    """

    names: tuple[str, ...]
    evoked: FloatArray
    psth: NDArray[np.float32] | None = None

    def in_order_of(self, trials: Sequence[str], source: str) -> BlockResponses:
        """Return the responses in the order of the trials; trials that are missing are lost.

        The k-th response to a picture belongs to its k-th presentation.

        Raises
        ------
        MalformedDataError
            If there are responses to pictures that were not shown, or to one more often than it
            was: these are not the responses of this block.
        """
        shown, answered = Counter(trials), Counter(self.names)
        strange = [name for name in answered if answered[name] > shown[name]]
        if strange:
            raise MalformedDataError(
                f"{source} has {answered[strange[0]]} responses to {strange[0]!r}, which this "
                f"block shows {shown[strange[0]]} times ({len(strange)} such pictures); these are "
                "the responses of another block."
            )
        row_of = {(name, k): row for row, (name, k) in enumerate(_numbered(self.names))}
        rows = np.array([row_of.get(trial, -1) for trial in _numbered(trials)])
        return BlockResponses(tuple(trials), _rows(self.evoked, rows), _rows(self.psth, rows))


def responses_from(arrays: Mapping[str, Any], source: str) -> BlockResponses:
    """Make responses of the arrays that a rig wrote, by XDream's names.

    Parameters
    ----------
    arrays : mapping
        ``stimulusID``, names of pictures, n of them; ``tEvokedResp`` (n, channels), or (n,) for
        one channel; ``psth`` (n, ms) or (n, ms, channels). One of the latter two will do: without
        ``tEvokedResp`` the response is the mean density 50 to 200 ms after onset.
    source : str
        For messages.

    Raises
    ------
    MalformedDataError
        If they are missing, or of lengths that do not fit each other.
    """
    if "stimulusID" not in arrays or not {"tEvokedResp", "psth"} & set(arrays):
        raise MalformedDataError(
            f"{source} holds {', '.join(arrays) or 'nothing'}; needed are stimulusID, and "
            "tEvokedResp or psth."
        )
    try:
        given = np.ravel(np.asarray(arrays["stimulusID"]))
    except ValueError as error:
        raise MalformedDataError(f"{source}: stimulusID is no list of names.") from error
    names = tuple(plain_name(str(name)) for name in given)
    psth = None
    if arrays.get("psth") is not None:
        densities = _trials_first(arrays["psth"], len(names), "psth", source)
        if (np.abs(densities) > LARGEST_DENSITY).any():
            raise MalformedDataError(f"{source} holds a psth beyond {LARGEST_DENSITY:g} events/s.")
        psth = densities.astype(np.float32)
        psth = psth[:, :, np.newaxis] if psth.ndim == 2 else psth
    if arrays.get("tEvokedResp") is not None:
        evoked = _trials_first(arrays["tEvokedResp"], len(names), "tEvokedResp", source)
        evoked = evoked[:, np.newaxis] if evoked.ndim == 1 else evoked
    elif psth is not None and psth.shape[1] >= EVOKED_MS[1]:
        evoked = psth[:, slice(*EVOKED_MS)].mean(axis=1, dtype=np.float64)
    else:
        raise MalformedDataError(
            f"{source} has no tEvokedResp and a psth of less than {EVOKED_MS[1]} ms."
        )
    if evoked.ndim != 2 or (psth is not None and psth.shape[::2] != evoked.shape):
        raise MalformedDataError(
            f"{source}: tEvokedResp of shape {evoked.shape} and psth of shape "
            f"{None if psth is None else psth.shape} do not fit (trials, channels) and (trials, "
            "ms, channels)."
        )
    if np.isinf(evoked).any():
        raise MalformedDataError(f"{source} holds infinite responses; lost trials are NaN.")
    return BlockResponses(names, evoked, psth)


def plain_name(name: str) -> str:
    """Return the name of a picture without folder and ending."""
    name = name.replace("\\", "/").rpartition("/")[2].strip()
    ending = next((e for e in _ENDINGS if name.lower().endswith(e)), "")
    return name[: len(name) - len(ending)]


def as_png(image: NDArray[Any]) -> bytes:
    """Return an image (height, width, 3) in 0 to 1, or of type uint8, as a PNG file."""
    values = np.asarray(image)
    if values.dtype != np.uint8:
        values = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


def from_png(png: bytes) -> NDArray[np.uint8]:
    """Return a PNG file as an image (height, width, 3)."""
    with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
        return np.asarray(image.convert("RGB"))


def _trials_first(values: Any, n: int, name: str, source: str) -> FloatArray:
    """Return an array with the trials along its first axis; (channels, trials) is turned."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise MalformedDataError(f"{source}: {name} holds no numbers ({error}).") from error
    if array.ndim == 2 and n in array.shape and array.shape[0] != n:
        array = array.T
    if array.ndim not in (1, 2, 3) or array.shape[0] != n:
        raise MalformedDataError(
            f"{source}: {name} has shape {array.shape} for {n} names in stimulusID; needed is one "
            "row per trial."
        )
    return array


def _numbered(names: Sequence[str]) -> list[tuple[str, int]]:
    """Give each presentation its number among those of its picture."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        found.append((name, seen[name]))
        seen[name] += 1
    return found


def _rows(values: Any, rows: NDArray[np.intp]) -> Any:
    """Take rows; row -1 is lost."""
    if values is None:
        return None
    taken = np.array(values[rows]) if len(values) else np.empty((len(rows), *values.shape[1:]))
    taken[rows < 0] = np.nan
    return taken

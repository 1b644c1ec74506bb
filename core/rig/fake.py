"""Neurons that are none: a network's units, or functions of the picture, that spike like neurons.

For trying out a rig's software, for tests, and for whole experiments in silico. What is recorded
from them is a network's and is marked as such wherever it is drawn.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from core.errors import UsageError
from core.files import atomic_write
from core.rig.blocks import EVOKED_MS, BlockResponses, Request, from_png
from core.rig.folder import read_request, waiting_blocks
from core.rig.session import Rig, SessionInfo

FloatArray = NDArray[np.float64]

#: Length of a spike density, and standard deviation of its kernel, as in the paper's recordings.
PSTH_MS, KERNEL_SD_MS = 200, 2.0

#: Rate above which no fake neuron fires, events/s.
HIGHEST_RATE = 400.0

#: The evoked rate peaks this long after its onset and falls to a share that lasts.
_PEAK_MS, _LASTING = 35.0, 0.5


@dataclass(frozen=True)
class FakeNeurons:
    """Channels that answer pictures with spikes.

    Parameters
    ----------
    drives : sequence of callable
        One per channel: from images (n, 3, height, width) in 0 to 1 to n numbers, such as an
        objective of `core.utils.objectives`. Torch tensors are handed to functions that have a
        ``scorer``, arrays to others.
    offset, gain : sequence of float
        Per channel: the drive that evokes nothing, and events/s per unit of drive above it.
    spontaneous : float, default 8
        Rate without a picture, events/s.
    latency_ms : float, default 60
        From the onset of a picture to that of the response.
    trial_sd : float, default 0.1
        Standard deviation of the evoked rate from trial to trial, as a share of it.
    drift_sd : float, default 0.01
        Standard deviation of the change of the evoked rate from block to block, as a share.
    lost : float, default 0
        Share of trials that are lost, such as by a break of fixation.
    seed : int, default 0
        With block, attempt and trial it decides every spike, whenever it is asked for.

    Raises
    ------
    UsageError
        If numbers are out of range, or do not fit the number of channels.
    """

    drives: Sequence[Callable[[Any], Any]]
    offset: Sequence[float]
    gain: Sequence[float]
    spontaneous: float = 8.0
    latency_ms: float = 60.0
    trial_sd: float = 0.1
    drift_sd: float = 0.01
    lost: float = 0.0
    seed: int = 0
    _note: str = field(default="IN SILICO: fake neurons, no animal", repr=False)

    def __post_init__(self) -> None:
        if not len(self.drives) == len(self.offset) == len(self.gain) > 0:
            raise UsageError(
                f"{len(self.drives)} drives, {len(self.offset)} offsets and {len(self.gain)} gains "
                "were given; give one of each per channel."
            )
        if not 0 <= self.lost < 1 or min(self.spontaneous, self.trial_sd, self.drift_sd) < 0:
            raise UsageError(
                f"a share of {self.lost} lost trials, a rate of {self.spontaneous} and deviations "
                f"of {self.trial_sd} and {self.drift_sd} were given; shares lie in 0 to 1, rates "
                "and deviations are 0 or more."
            )

    @classmethod
    def calibrated(
        cls,
        drives: Sequence[Callable[[Any], Any]],
        images: Any,
        rate: float = 25.0,
        highest: float = 120.0,
        best: float | None = None,
        **options: Any,
    ) -> FakeNeurons:
        """Return neurons whose rates are set by what some pictures evoke.

        Parameters
        ----------
        drives : sequence of callable
        images : array or tensor, (n, 3, height, width)
            Pictures such as random ones of the generators.
        rate : float, default 25
            Mean evoked rate for these pictures, events/s.
        highest : float, default 120
            Evoked rate `best` standard deviations of their drive above their mean.
        best : float, optional
            8 by default.
        **options
            The other parameters.
        """
        found = [_driven(drive, np.asarray(images)) for drive in drives]
        above = 8.0 if best is None else best
        gains = [(highest - rate) / (above * max(drive.std(), 1e-9)) for drive in found]
        offsets = [d.mean() - rate / gain for d, gain in zip(found, gains, strict=True)]
        return cls(drives, offsets, gains, **options)

    def __call__(self, request: Request) -> BlockResponses:
        """Answer a block: the same block gets the same spikes."""
        names = list(request.pictures)
        evoked = self._evoked_rates([from_png(request.pictures[name]) for name in names])
        row_of = {name: row for row, name in enumerate(names)}
        psth = np.full(
            (len(request.trials), PSTH_MS, len(self.drives)), np.nan, dtype=np.float32
        )
        for trial, name in enumerate(request.trials):
            rng = np.random.default_rng([self.seed, request.block, request.attempt, trial])
            if rng.random() >= self.lost:
                psth[trial] = self._trial(evoked[row_of[name]] * self._drift(request.block), rng)
        responses = psth[:, slice(*EVOKED_MS)].mean(axis=1, dtype=np.float64)
        return BlockResponses(tuple(request.trials), responses, psth)

    def _evoked_rates(self, pictures: Sequence[NDArray[np.uint8]]) -> FloatArray:
        """Return the rates (n, channels) that pictures evoke, averaged over 50 to 200 ms."""
        drive = np.empty((len(pictures), len(self.drives)))
        for shape in dict.fromkeys(picture.shape for picture in pictures):
            rows = [row for row, picture in enumerate(pictures) if picture.shape == shape]
            images = np.stack([pictures[row] for row in rows]).astype(np.float32) / 255
            images = images.transpose(0, 3, 1, 2)
            for channel, driving in enumerate(self.drives):
                drive[rows, channel] = _driven(driving, images)
        rates = np.asarray(self.gain) * (drive - np.asarray(self.offset))
        return np.clip(rates, 0, HIGHEST_RATE)

    def _trial(self, evoked: FloatArray, rng: np.random.Generator) -> NDArray[np.float32]:
        """Draw one trial's spike densities (ms, channels); at most one spike per ms."""
        gain = max(0.0, 1 + self.trial_sd * rng.standard_normal())
        rates = self.spontaneous + gain * _course(self.latency_ms)[:, np.newaxis] * evoked
        spikes = rng.random(rates.shape) < rates / 1000
        density = scipy.ndimage.gaussian_filter1d(
            1000.0 * spikes, KERNEL_SD_MS, axis=0, mode="constant", truncate=3
        )
        return density.astype(np.float32)

    def _drift(self, block: int) -> float:
        steps = np.random.default_rng([self.seed, 1 << 20]).standard_normal(block + 1)
        return float(np.exp(self.drift_sd * steps.sum()))


class FakeRig(Rig):
    """Fake neurons in this process, recorded like a rig's.

    Parameters
    ----------
    neurons : FakeNeurons
    session, info, references, repeats, seed
        As for `Rig`.
    """

    def __init__(
        self,
        neurons: FakeNeurons,
        session: str | Path,
        info: SessionInfo,
        *,
        references: Sequence[str | Path] = (),
        repeats: int = 1,
        seed: int = 0,
    ) -> None:
        self.neurons = neurons
        super().__init__(session, info, references=references, repeats=repeats, seed=seed)

    def exchange(self, request: Request) -> BlockResponses:
        """Answer at once."""
        return self.neurons(request).in_order_of(request.trials, "fake neurons")


def serve_folder(
    neurons: FakeNeurons,
    folder: str | Path,
    *,
    form: str = "csv",
    poll_s: float = 0.02,
    until: Callable[[], bool] = lambda: False,
) -> None:
    """Answer the blocks that a `FolderRig` puts into a folder.

    Parameters
    ----------
    neurons : FakeNeurons
    folder : path-like
    form : {"csv", "h5"}
        How responses are written; .h5 with spike densities, .csv without.
    poll_s : float
        Pause between two looks.
    until : callable
        Asked between blocks whether to end; by default never.
    """
    folder = Path(folder)
    while not until():
        for block in waiting_blocks(folder):
            request = read_request(block)
            write_responses(neurons(request), folder / f"{block.name}_responses.{form}")
        time.sleep(poll_s)


def write_responses(responses: BlockResponses, path: Path) -> None:
    """Write responses as a rig does: under another name first, then renamed.

    Raises
    ------
    UsageError
        If the ending is neither .csv nor .h5.
    CannotWriteError
        If the file cannot be written.
    """
    with atomic_write(path) as unfinished:
        if path.suffix == ".csv":
            columns = {f"tEvokedResp_{k}": c for k, c in enumerate(responses.evoked.T)}
            _write_csv(unfinished, responses.names, columns)
        elif path.suffix == ".h5":
            _write_h5(unfinished, responses)
        else:
            raise UsageError(f"responses are written as .csv or .h5, not {path.suffix!r}.")


def _write_csv(path: Path, names: Sequence[str], columns: dict[str, FloatArray]) -> None:
    import pandas as pd

    pd.DataFrame({"stimulusID": list(names), **columns}).to_csv(path, index=False)


def _write_h5(path: Path, responses: BlockResponses) -> None:
    import h5py

    with h5py.File(path, "w", locking=False) as file:  # it is locked already
        file["stimulusID"] = np.array(responses.names, dtype=h5py.string_dtype())
        file["tEvokedResp"] = responses.evoked
        if responses.psth is not None:
            file["psth"] = responses.psth


def _driven(drive: Callable[[Any], Any], images: NDArray[Any]) -> FloatArray:
    """Return one number per image from an objective (of tensors) or a function (of arrays)."""
    if hasattr(drive, "scorer"):
        import torch

        return drive(torch.from_numpy(np.ascontiguousarray(images))).double().cpu().numpy()
    return np.asarray(drive(images), dtype=np.float64)


def _course(latency_ms: float) -> FloatArray:
    """Return the evoked rate's course over 200 ms, of mean 1 from 50 to 200 ms."""
    since = np.arange(PSTH_MS) - latency_ms
    rise = np.clip(since / _PEAK_MS, 0, None)
    transient = rise * np.exp(1 - rise)
    lasting = _LASTING * np.clip(since / _PEAK_MS, 0, 1)
    course = np.maximum(transient, lasting)
    mean = course[slice(*EVOKED_MS)].mean()
    return course / mean if mean else course

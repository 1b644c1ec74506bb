"""All published evolutions with the spikes and numbers of images that their block means hold.

Decoding is checked against everything that was published independently of it: the rounded means,
the standard errors of isolated spikes, and the block responses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.errors import MalformedDataError
from core.reading.array_files import read_arrays, write_arrays
from core.spaces import Space
from neuro_data_analysis.block_means import decoding
from neuro_data_analysis.block_means.decoding import KERNEL, LARGEST_ERROR, Decoded
from neuro_data_analysis.block_means.published import (
    THREAD_NAMES,
    Floats,
    PublishedEvolution,
    PublishedThread,
    folder_of,
)
from neuro_data_analysis.evolution.stats import EVOKED_MS
from neuro_data_analysis.neural_data_lib import ExperimentInfo

Counts = NDArray[np.int64]

#: Room for single precision in published numbers, events/s.
_PRECISION = 1e-4


@dataclass(frozen=True)
class DecodedThread:
    """One thread, block by block, without the rounding of the published means.

    Attributes
    ----------
    published : PublishedThread
        What it was decoded from.
    n_images : numpy.ndarray of int
        (n_blocks,) presentations per block.
    certain : numpy.ndarray of bool
        (n_blocks,) False where a block has no spike, and has the usual size of its thread.
    spikes : numpy.ndarray of int
        (n_blocks, 212) spikes of all images of a block in each ms of `SPIKE_MS`.
    """

    published: PublishedThread
    n_images: Counts
    certain: NDArray[np.bool_]
    spikes: Counts

    @cached_property
    def psth(self) -> Floats:
        """Mean PSTHs, (n_blocks, 200 ms) events/s."""
        return decoding.convolve(self.spikes) / self.n_images[:, np.newaxis]

    def window_means(self, start: int, stop: int) -> Floats:
        """Mean rate of every block in [start, stop) ms, (n_blocks,) events/s."""
        return self.psth[:, start:stop].mean(axis=1)

    @property
    def response(self) -> Floats:
        """Mean response 50-200 ms of every block, (n_blocks,) events/s."""
        return self.window_means(*EVOKED_MS)

    def response_sem(self, end: int = 0) -> Floats:
        """Return the standard error of the response, (n_blocks,) events/s.

        It is known within bounds only: mean ± SEM were rounded to .01, the mean is exact.

        Parameters
        ----------
        end : {-1, 0, 1}
            The lowest value that the rounding allows, the middle one, the highest one.
        """
        if end == 0:
            return self.published.response.sem
        told = self.published.response
        distances = np.stack([told.high - self.response, self.response - told.low])
        bound = distances.max(axis=0) if end < 0 else distances.min(axis=0)
        return np.maximum(bound + end * LARGEST_ERROR, 0)


@dataclass(frozen=True)
class DecodedEvolution:
    """One experiment: DeePSim's thread, BigGAN's thread."""

    info: ExperimentInfo
    threads: tuple[DecodedThread, DecodedThread]

    @property
    def n_blocks(self) -> int:
        """Blocks that count."""
        return len(self.threads[0].n_images)

    @property
    def folder(self) -> str:
        """Name of its folder among the published files."""
        return folder_of(self.info)

    def thread(self, space: Space) -> DecodedThread:
        """Return the thread that searched a space."""
        return self.threads[space.thread]


def decode_evolutions(
    published: Sequence[PublishedEvolution], cache: Path | None = None
) -> tuple[DecodedEvolution, ...]:
    """Find the spikes and the numbers of images of all blocks.

    Parameters
    ----------
    published : sequence of PublishedEvolution
        The published block means.
    cache : pathlib.Path, optional
        File that keeps the result; used again for the same means only.

    Returns
    -------
    tuple of DecodedEvolution
        In the order given.

    Raises
    ------
    MalformedDataError
        If a mean PSTH is not made of whole spikes, or what follows from its spikes disagrees with
        the other published numbers; the message names the file.
    """
    threads = [thread for evolution in published for thread in evolution.threads]
    everything = _decoded(np.concatenate([thread.psth for thread in threads]), cache)
    ends = np.cumsum([len(thread.psth) for thread in threads])
    parts = iter(_split(everything, ends))
    return tuple(
        DecodedEvolution(
            evolution.info,
            (
                _thread(evolution, 0, next(parts)),
                _thread(evolution, 1, next(parts)),
            ),
        )
        for evolution in published
    )


def _decoded(mean_rates: Floats, cache: Path | None) -> Decoded:
    key = hashlib.sha256(np.ascontiguousarray(mean_rates).tobytes()).hexdigest()
    if cache is not None and (kept := _kept(cache, key)):
        return kept
    decoded = decoding.decode(mean_rates)
    if cache is not None:
        arrays = {
            "n_images": decoded.n_images,
            "spikes": decoded.spikes.astype(np.int32),
            "certain": decoded.certain,
        }
        write_arrays(cache, arrays | {"decoded_from": np.array(key)})
    return decoded


def _kept(cache: Path, key: str) -> Decoded | None:
    """Return an earlier result if it is of the same means; anything else is decoded anew."""
    try:
        arrays = read_arrays(cache, ("decoded_from", "n_images", "spikes", "certain"))
    except ValueError:
        return None
    if str(arrays["decoded_from"]) != key:
        return None
    return Decoded(arrays["n_images"], arrays["spikes"].astype(np.int64), arrays["certain"])


def _split(decoded: Decoded, ends: NDArray[np.intp]) -> Iterator[Decoded]:
    start = 0
    for end in ends:
        rows = slice(start, end)
        yield Decoded(decoded.n_images[rows], decoded.spikes[rows], decoded.certain[rows])
        start = end


def _thread(evolution: PublishedEvolution, index: int, decoded: Decoded) -> DecodedThread:
    published = evolution.threads[index]
    where = [
        f"{evolution.folder}/gen_{block:02d}/{THREAD_NAMES[index]}_psth.json"
        for block in range(1, len(published.psth) + 1)
    ]
    silent = ~published.psth.any(axis=1)
    _refuse(where, (decoded.n_images == 0) & ~silent, "mean_rate", "is no mean of whole spikes")
    n_images = np.where(silent, _usual(decoded.n_images[~silent], where[0]), decoded.n_images)
    thread = DecodedThread(published, n_images, decoded.certain, decoded.spikes)
    _check(thread, where)
    return thread


def _usual(sizes: Counts, where: str) -> int:
    if len(sizes) == 0:
        raise MalformedDataError(f"{where} and all later blocks hold no spike at all.")
    return int(np.bincount(sizes).argmax())


def _refuse(where: list[str], wrong: NDArray[np.bool_], field: str, why: str) -> None:
    if wrong.any():
        raise MalformedDataError(f"{where[int(wrong.argmax())]}: {field!r} {why}.")


def _check(thread: DecodedThread, where: list[str]) -> None:
    """Hold what follows from the spikes against the numbers published beside them."""
    published, bound = thread.published, LARGEST_ERROR + _PRECISION
    n = thread.n_images[:, np.newaxis]
    off = np.any(np.abs(thread.psth - published.psth) > bound, axis=1)
    off |= np.abs(thread.response - published.response.mean) > bound
    _refuse(where, off, "mean_rate", "differs from the spikes that explain it")
    # One spike of one image within reach: the SEM over n images is K / n, as the mean is.
    alone = _spikes_within_reach(thread.spikes) == 1
    off = np.any(alone & (np.abs(published.psth_sem - thread.psth) > bound), axis=1)
    _refuse(where, off, "sem", "is not the mean where a single spike makes both")
    # Squares of sums of kernels are at least the sums of their squares.
    squares = n * (n - 1) * (published.psth_sem + bound) ** 2 + n * thread.psth**2
    off = np.any(squares < _squared_kernels(thread.spikes) - _PRECISION * n**2, axis=1)
    _refuse(where, off, "sem", "is smaller than so few spikes allow")


def _spikes_within_reach(spikes: Counts) -> Counts:
    return np.lib.stride_tricks.sliding_window_view(spikes, len(KERNEL), axis=-1).sum(axis=-1)


def _squared_kernels(spikes: Counts) -> Floats:
    windows = np.lib.stride_tricks.sliding_window_view(spikes, len(KERNEL), axis=-1)
    return windows @ KERNEL**2

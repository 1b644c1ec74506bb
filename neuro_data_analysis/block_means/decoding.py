"""Decode a mean PSTH into the spikes it is made of, and the number of images that it averages.

A spike-density function is a sum of whole spikes under one known kernel K. Averaged over the n
images of a block, at the millisecond t,

    ``n M(t) = Σ_d K_|d| c(t + d) + e(t),  d = −6 … 6,  |e(t)| ≤ .005 n``,

where c(s) counts the spikes of all images in the millisecond s, and e comes from rounding M to
.01 events/s. The counts are whole and not negative, and K_6, the smallest weight, is larger than
the rounding: once twelve neighbouring counts are known, every sample determines the next one, and
a wrong n soon asks for a fraction of a spike. What remains is to find twelve counts to begin with.
A sample of 0.00 gives thirteen of them; elsewhere they are the closest point of a lattice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Indices = NDArray[np.intp]
Mask = NDArray[np.bool_]

#: Standard deviation and reach of the Gaussian kernel of the recordings, ms.
KERNEL_SD_MS, KERNEL_REACH_MS = 2.0, 6

#: Samples of a mean PSTH, one per ms from image onset.
SAMPLES = 200

#: Milliseconds whose spikes reach a sample: −6 … 205.
SPIKE_MS = np.arange(-KERNEL_REACH_MS, SAMPLES + KERNEL_REACH_MS)

#: Step to which mean rates are rounded, events/s, and the largest error that follows.
ROUNDING = 0.01
LARGEST_ERROR = ROUNDING / 2

#: Numbers of images that are tried, and the usual ones of these experiments, likeliest first.
USUAL_SIZES = (25, 40, 30, 28, 31, 32, 33, 34, 35)
SIZES = range(4, 71)

#: Room for the rounding of stored numbers, as a factor of `LARGEST_ERROR`.
_SLACK = 1.05

#: A window of the lattice search, samples, and the distance between windows.
_WINDOW, _WINDOW_STEP = 26, 3

#: Pairs of a block and a number of images that are tried together; bounds the memory.
_PAIRS_AT_ONCE = 20_000

#: Expected counts per ms for which the lattice is reduced.
_DENSITIES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)

#: Number of images for which the rounding is weighed in the lattice; any near the usual ones does.
_TYPICAL_SIZE = 30

_WEIGHTS = (
    1000
    / (KERNEL_SD_MS * np.sqrt(2 * np.pi))
    * np.exp(-0.5 * (np.arange(-KERNEL_REACH_MS, KERNEL_REACH_MS + 1) / KERNEL_SD_MS) ** 2)
)
#: Events/s that one spike adds at distances −6 … 6 ms, (13,).
KERNEL: Floats = _WEIGHTS

_TAPS = len(KERNEL)


@dataclass(frozen=True)
class Decoded:
    """The spikes of some blocks of one kernel.

    Attributes
    ----------
    n_images : numpy.ndarray of int
        (n_blocks,) images that each mean PSTH averages; 0 where it could not be found.
    spikes : numpy.ndarray of int
        (n_blocks, 212) spikes of all images of the block in each of `SPIKE_MS`.
    certain : numpy.ndarray of bool
        (n_blocks,) whether whole spikes explain every sample, with no common divisor; it then
        follows that no smaller number of images does.
    """

    n_images: Counts
    spikes: Counts
    certain: Mask

    @property
    def mean_psth(self) -> Floats:
        """Mean PSTHs without rounding, (n_blocks, 200) events/s; NaN where n is unknown."""
        with np.errstate(invalid="ignore"):
            return convolve(self.spikes) / self.n_images[:, np.newaxis]


def convolve(spikes: NDArray[np.integer]) -> Floats:
    """Sum the kernels of some spikes: (..., 212) counts to (..., 200) events/s times images."""
    return sum(weight * spikes[..., i : i + SAMPLES] for i, weight in enumerate(KERNEL))


def decode(mean_rates: Floats) -> Decoded:
    """Find the spikes and the number of images behind rounded mean PSTHs.

    Parameters
    ----------
    mean_rates : numpy.ndarray
        (n_blocks, 200) mean PSTHs, events/s, rounded to .01.

    Returns
    -------
    Decoded
        Blocks that no number of images explains have ``n_images`` 0, and so have blocks without a
        spike, which any number explains.
    """
    found = Decoded(
        np.zeros(len(mean_rates), dtype=np.int64),
        np.zeros((len(mean_rates), len(SPIKE_MS)), dtype=np.int64),
        np.zeros(len(mean_rates), dtype=np.bool_),
    )
    silent_somewhere = (mean_rates == 0).any(axis=1)
    sparse = np.flatnonzero(silent_somewhere & mean_rates.any(axis=1))
    for blocks, n in _pairs(sparse, SIZES):
        _keep(found, blocks, n, *_from_silence(n[:, np.newaxis] * mean_rates[blocks], n))
    for windows, groups in _SEARCH:
        for sizes in groups:
            dense = np.flatnonzero(~silent_somewhere & (found.n_images == 0))
            for blocks, n in _pairs(dense, sizes):
                solved = _from_lattice(n[:, np.newaxis] * mean_rates[blocks], n, windows)
                _keep(found, blocks, n, *solved)
    return found


#: Windows and groups of sizes of the lattice search: a few windows for the usual sizes one by one
#: solve nearly all blocks, then all windows for all sizes together.
_ALL_WINDOWS = range(0, SAMPLES - _WINDOW + 1, _WINDOW_STEP)
_SEARCH = ((_ALL_WINDOWS[::8], [(n,) for n in USUAL_SIZES]), (_ALL_WINDOWS, [SIZES]))


def _pairs(blocks: Indices, sizes: Sequence[int]) -> Iterator[tuple[Indices, Counts]]:
    """Pair blocks with numbers of images to try, some thousand pairs at a time."""
    at_once = max(_PAIRS_AT_ONCE // len(sizes), 1)
    for i in range(0, len(blocks), at_once):
        some = blocks[i : i + at_once]
        yield np.repeat(some, len(sizes)), np.tile(np.array(sizes), len(some))


def _keep(found: Decoded, blocks: Indices, n: Counts, spikes: Counts, solved: Mask) -> None:
    """Note solutions, divided by their greatest common divisor; of several, the smallest."""
    for block, size, counts in zip(blocks[solved], n[solved], spikes[solved], strict=True):
        divisor = np.gcd.reduce(counts)
        shared = np.gcd(size, divisor)
        smallest = size // shared
        if not 0 < found.n_images[block] <= smallest:
            found.n_images[block] = smallest
            found.spikes[block] = counts // shared
            found.certain[block] = divisor == shared


def _from_silence(total: Floats, n: Counts) -> tuple[Counts, Mask]:
    """Begin at a sample of 0.00: none of its thirteen ms holds a spike."""
    start = (total == 0).argmax(axis=1)
    return _extend(total, n, np.zeros((len(total), len(SPIKE_MS)), dtype=np.int64), start)


def _from_lattice(total: Floats, n: Counts, windows: Sequence[int]) -> tuple[Counts, Mask]:
    """Begin at counts that the lattice finds in any of some windows."""
    spikes = np.zeros((len(total), len(SPIKE_MS)), dtype=np.int64)
    solved = np.zeros(len(total), dtype=np.bool_)
    for window in windows:
        left = np.flatnonzero(~solved)
        begun = _closest_counts(total[left], window)
        error = np.abs(begun @ _band().T - total[left, window : window + _WINDOW]).max(axis=1)
        fits = (error <= _SLACK * LARGEST_ERROR * n[left]) & (begun >= 0).all(axis=1)
        left, begun = left[fits], begun[fits]
        spikes[left, window : window + begun.shape[1]] = begun
        start = np.full(len(left), window)
        spikes[left], solved[left] = _extend(total[left], n[left], spikes[left], start)
    return spikes, solved


def _extend(total: Floats, n: Counts, spikes: Counts, start: Indices) -> tuple[Counts, Mask]:
    """Extend twelve counts, from `start` on in `SPIKE_MS`, to all samples, forwards and backwards.

    Each sample determines the one count that it adds to twelve known ones.

    Returns
    -------
    spikes : numpy.ndarray of int
        (n_pairs, 212).
    confirmed : numpy.ndarray of bool
        (n_pairs,) whether every step gave a whole number of spikes, at most the rounding away.
    """
    known = _TAPS - 1
    tolerance = _SLACK * LARGEST_ERROR * n / KERNEL[0]
    spikes, alive = spikes.copy(), np.ones(len(spikes), dtype=np.bool_)
    forwards = ((t, t + known, slice(t, t + known), KERNEL[:-1]) for t in range(SAMPLES))
    backwards = ((t, t, slice(t + 1, t + _TAPS), KERNEL[1:]) for t in reversed(range(SAMPLES)))
    for steps, applies in ((forwards, np.less_equal), (backwards, np.greater)):
        for t, unknown, others, weights in steps:
            if not alive.any():
                return spikes, alive
            rows = np.flatnonzero(alive & applies(start, t))
            exact = (total[rows, t] - spikes[rows, others] @ weights) / KERNEL[0]
            whole = np.rint(exact)
            alive[rows] = (np.abs(exact - whole) <= tolerance[rows]) & (whole >= 0)
            spikes[rows, unknown] = whole
    return spikes, alive


@cache
def _band() -> Floats:
    """Lay the kernel out as a matrix: (samples, counts) of a window."""
    band = np.zeros((_WINDOW, _WINDOW + _TAPS - 1))
    for sample in range(_WINDOW):
        band[sample, sample : sample + _TAPS] = KERNEL
    return band


def _closest_counts(total: Floats, window: int) -> Counts:
    """Find the likeliest whole counts of a window by rounding to the nearest plane of a lattice.

    Minimises |A c − n M|² / σ² + |c − λ|² / λ̄ (Babai), where A is the kernel, σ the rounding and
    λ the expected counts n M / 1000, of mean λ̄.
    """
    around = np.clip(np.arange(window - 6, window + _WINDOW + 6), 0, SAMPLES - 1)
    expected = total[:, around] / 1000
    ratio = expected.mean(axis=1)[:, np.newaxis] / _DENSITIES
    density = np.abs(np.log(ratio)).argmin(axis=1)
    counts = np.zeros(expected.shape, dtype=np.int64)
    for which in np.unique(density):
        rows = density == which
        lattice = _lattice(_DENSITIES[which])
        samples = total[rows, window : window + _WINDOW]
        counts[rows] = lattice.closest(samples, expected[rows])
    return counts


@dataclass(frozen=True)
class _Lattice:
    """Reduced basis of the counts of a window, for one expected count."""

    scale: Floats  # (64,) of the rows [A; I]
    q: Floats  # (64, 38) orthonormal
    r: Floats  # (38, 38) upper triangular
    u: Counts  # (38, 38) reduced basis in counts

    def closest(self, samples: Floats, expected: Floats) -> Counts:
        target = (np.concatenate([samples, expected], axis=1) * self.scale) @ self.q
        chosen = np.zeros(target.shape)
        for i in reversed(range(target.shape[1])):
            chosen[:, i] = np.rint(target[:, i] / self.r[i, i])
            target[:, : i + 1] -= chosen[:, i, np.newaxis] * self.r[: i + 1, i]
        return np.rint(chosen @ self.u.T).astype(np.int64)


@cache
def _lattice(density: float) -> _Lattice:
    sigma = ROUNDING * _TYPICAL_SIZE / np.sqrt(12)
    n_counts = _band().shape[1]
    scale = np.concatenate([np.full(_WINDOW, 1 / sigma), np.full(n_counts, density**-0.5)])
    basis = np.concatenate([_band(), np.eye(n_counts)]) * scale[:, np.newaxis]
    u = _reduce(basis)
    q, r = np.linalg.qr(basis @ u)
    return _Lattice(scale, q, r, u)


def _reduce(basis: Floats, delta: float = 0.99) -> Counts:
    """Reduce a lattice basis (Lenstra, Lenstra & Lovász 1982); returns the whole-number change."""
    r = np.array(np.linalg.qr(basis, mode="r"))
    size = r.shape[1]
    u = np.eye(size, dtype=np.int64)
    k = 1
    while k < size:
        _subtract(r, u, k, k - 1)
        if delta * r[k - 1, k - 1] ** 2 > r[k, k] ** 2 + r[k - 1, k] ** 2:
            r[:, [k - 1, k]], u[:, [k - 1, k]] = r[:, [k, k - 1]], u[:, [k, k - 1]]
            a, b = r[k - 1, k - 1], r[k, k - 1]
            rotation = np.array([[a, b], [-b, a]]) / np.hypot(a, b)
            r[k - 1 : k + 1] = rotation @ r[k - 1 : k + 1]
            k = max(k - 1, 1)
        else:
            for j in reversed(range(k - 1)):
                _subtract(r, u, k, j)
            k += 1
    return u


def _subtract(r: Floats, u: Counts, k: int, j: int) -> None:
    times = int(np.rint(r[j, k] / r[j, j]))
    if times:
        r[: j + 1, k] -= times * r[: j + 1, j]
        u[:, k] -= times * u[:, j]

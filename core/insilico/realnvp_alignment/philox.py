"""Start points as a CUDA device draws them, on any machine.

The published runs of Extended Figure 5C drew their start point on the GPU, right after seeding it.
torch's CUDA generator is Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as
1, 2, 3"), a function of seed and counter, so the same numbers can be had without a GPU.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.errors import UsageError

#: Multipliers of words 0 and 2, and what the key grows by each round (Salmon et al. 2011, table 2).
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_KEY_STEPS = np.array([0x9E3779B9, 0xBB67AE85], dtype=np.uint64)
_N_ROUNDS = 10

_LOW_WORD = np.uint64(0xFFFFFFFF)
_WORD_BITS = np.uint64(32)

#: Up to here torch's CUDA generator gives every number a thread of its own, in one block.
MAX_DIMENSION = 256


def cuda_normal(seed: int, dimension: int) -> NDArray[np.float64]:
    """Return ``torch.randn(dimension, dtype=float64, device="cuda")`` after ``manual_seed(seed)``.

    Element i is the first of the two normals that Box and Muller's transform makes of the four
    words of Philox at counter (0, 0, i, 0), as in cuRAND.

    Parameters
    ----------
    seed : int
        Seed of the generator, 0 to 2⁶⁴ - 1.
    dimension : int
        How many numbers, at most `MAX_DIMENSION`.

    Returns
    -------
    numpy.ndarray, shape (dimension,)

    Raises
    ------
    UsageError
        If seed or dimension is out of range.

    Examples
    --------
    >>> cuda_normal(seed=40, dimension=2).shape
    (2,)
    """
    if not 0 < dimension <= MAX_DIMENSION:
        raise UsageError(f"dimension is {dimension}; it must lie between 1 and {MAX_DIMENSION}.")
    a, b, c, e = first_words(seed, dimension).T
    # 53-bit uniforms on (0, 1) and (0, 2): curand_normal2_double
    u = (a ^ (b << np.uint64(21))) * 2.0**-53 + 2.0**-54
    v = (c ^ (e << np.uint64(21))) * 2.0**-52 + 2.0**-53
    return np.sqrt(-2 * np.log(u)) * np.sin(np.pi * v)


def first_words(seed: int, n_threads: int) -> NDArray[np.uint64]:
    """Return the first four words that each of the first threads of a CUDA generator draws.

    Parameters
    ----------
    seed : int
        0 to 2⁶⁴ - 1.
    n_threads : int
        Number of threads; thread i counts from (0, 0, i, 0).

    Returns
    -------
    numpy.ndarray of uint64, shape (n_threads, 4)
        32-bit words.
    """
    if not 0 <= seed < 2**64:
        raise UsageError(f"seed is {seed}; it must lie between 0 and 2**64 - 1.")
    counter = np.zeros((n_threads, 4), dtype=np.uint64)
    counter[:, 2] = np.arange(n_threads)
    return philox4x32(counter, [seed & 0xFFFFFFFF, seed >> 32])


def philox4x32(counter: ArrayLike, key: ArrayLike) -> NDArray[np.uint64]:
    """Philox4x32-10: four random words for a counter and a key.

    Parameters
    ----------
    counter : array_like of int, shape (..., 4)
        32-bit words.
    key : array_like of int, shape (2,)
        32-bit words.

    Returns
    -------
    numpy.ndarray of uint64, shape (..., 4)
        32-bit words.
    """
    words = np.asarray(counter, dtype=np.uint64)
    round_key = np.asarray(key, dtype=np.uint64)
    for _ in range(_N_ROUNDS):
        products = [words[..., 2 * i] * m for i, m in enumerate(_MULTIPLIERS)]
        (high0, low0), (high2, low2) = ((p >> _WORD_BITS, p & _LOW_WORD) for p in products)
        left, right = high2 ^ words[..., 1] ^ round_key[0], high0 ^ words[..., 3] ^ round_key[1]
        words = np.stack([left, low2, right, low0], axis=-1)
        round_key = (round_key + _KEY_STEPS) & _LOW_WORD
    return words

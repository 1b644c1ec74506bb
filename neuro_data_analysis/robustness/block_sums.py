"""The success test from sums of blocks alone, and what its level is when nothing climbs.

The published test compares the best two of some thirty blocks with the first two by an ordinary
Student test, so that the choice of the best is not paid for. Permuting whole blocks and choosing
anew pays for it. Both need no more of a block than its size, sum and sum of squares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from neuro_data_analysis.evolution.stats import TIE, best_block

#: A sum of squares below this share of the squares themselves is rounding: nothing varies.
ROUNDING = 1e-13

#: Blocks in each compared group (Methods: best two, first two).
COMPARED = 2


@dataclass(frozen=True)
class BlockSums:
    """Sizes, sums and sums of squares of the responses of every block of one or many threads.

    Attributes
    ----------
    sizes, sums, squares : numpy.ndarray
        (..., n_blocks) images; events/s (or any unit); its square.
    """

    sizes: NDArray[np.float64]
    sums: NDArray[np.float64]
    squares: NDArray[np.float64]

    @classmethod
    def of(cls, blocks: Sequence[ArrayLike]) -> BlockSums:
        """Sum the responses of single images, one array per block."""
        values = [np.asarray(block, dtype=np.float64) for block in blocks]
        sizes, sums, squares = np.array([(v.size, v.sum(), (v**2).sum()) for v in values]).T
        return cls(sizes, sums, squares)

    @classmethod
    def from_moments(cls, sizes: ArrayLike, means: ArrayLike, sems: ArrayLike) -> BlockSums:
        """Take sizes, means and standard errors (ddof 1) of blocks."""
        n, mean, sem = (np.asarray(given, dtype=np.float64) for given in (sizes, means, sems))
        # n·SEM² is the variance of the images; a block of one image has none of its own.
        within = np.where(n > 1, (n - 1) * n * np.nan_to_num(sem) ** 2, 0.0)
        return cls(n, n * mean, within + n * mean**2)

    @property
    def n_blocks(self) -> int:
        """Blocks of a thread."""
        return int(self.sizes.shape[-1])

    @property
    def means(self) -> NDArray[np.float64]:
        """(..., n_blocks) mean response of each block."""
        return self.sums / self.sizes

    def taken(self, order: NDArray[np.intp]) -> BlockSums:
        """Put the blocks of one thread in other orders, (n_orders, n_blocks)."""
        return BlockSums(self.sizes[order], self.sums[order], self.squares[order])

    def best_against_first(self) -> NDArray[np.float64]:
        """Student's t (pooled variance) of the best two blocks against the first two.

        The best block m is moved to n − 3 when it is one of the last two (Methods); m = 0 compares
        the first two with themselves, t = 0.

        Returns
        -------
        numpy.ndarray
            (...) NaN below 3 blocks and where nothing varies.
        """
        if self.n_blocks < COMPARED + 1:
            return np.full(self.sizes.shape[:-1], np.nan)
        best = np.asarray(best_block(self.means))
        best = np.where(best >= self.n_blocks - COMPARED, self.n_blocks - 3, best)
        return self._t(self._group(best), self._group(np.zeros_like(best)))

    def last_against_first(self) -> NDArray[np.float64]:
        """Student's t (pooled variance) of the last two blocks against the first two."""
        if self.n_blocks < COMPARED + 1:
            return np.full(self.sizes.shape[:-1], np.nan)
        first = np.zeros(self.sizes.shape[:-1], dtype=np.intp)
        return self._t(self._group(first + self.n_blocks - COMPARED), self._group(first))

    def degrees_of_freedom(self, start: ArrayLike) -> NDArray[np.float64]:
        """Degrees of freedom of the comparison of blocks {start, start + 1} with the first two."""
        chosen = np.asarray(start)
        return self._group(chosen)[0] + self._group(np.zeros_like(chosen))[0] - 2

    def best_p(self) -> NDArray[np.float64]:
        """Two-sided p of `best_against_first`, as published: by Student's law, choice unpaid."""
        best = np.asarray(best_block(self.means))
        best = np.where(best >= self.n_blocks - COMPARED, self.n_blocks - 3, best)
        t = abs(self.best_against_first())
        return np.asarray(2 * scipy.stats.t.sf(t, self.degrees_of_freedom(best)))

    def last_p(self) -> NDArray[np.float64]:
        """Two-sided p of `last_against_first`, by Student's law."""
        last = np.full(self.sizes.shape[:-1], self.n_blocks - COMPARED)
        return np.asarray(
            2 * scipy.stats.t.sf(abs(self.last_against_first()), self.degrees_of_freedom(last))
        )

    def _group(self, start: NDArray[np.intp]) -> tuple[NDArray[np.float64], ...]:
        """Size, sum and sum of squares of two neighbouring blocks."""
        blocks = start[..., np.newaxis] + np.arange(COMPARED)
        return tuple(
            np.take_along_axis(values, blocks, axis=-1).sum(axis=-1)
            for values in (self.sizes, self.sums, self.squares)
        )

    @staticmethod
    def _t(
        first: tuple[NDArray[np.float64], ...], second: tuple[NDArray[np.float64], ...]
    ) -> NDArray[np.float64]:
        (n1, s1, q1), (n2, s2, q2) = first, second
        around_means = (q1 - s1**2 / n1) + (q2 - s2**2 / n2)
        nothing = around_means <= ROUNDING * (q1 + q2)
        error = np.sqrt(np.where(nothing, np.nan, around_means) / (n1 + n2 - 2) * (1 / n1 + 1 / n2))
        return np.asarray((s1 / n1 - s2 / n2) / error)


@dataclass(frozen=True)
class PermutationTest:
    """One thread's success without the bonus of choosing the best block.

    Attributes
    ----------
    t : float
        Student's t of the best against the first two blocks, as published.
    p : float
        One-sided: share of orders of the blocks whose own best against their own first two gives
        as large a t.
    p_shift : float
        The same over the circular shifts of the order, which keep slow drifts together; there are
        only as many as blocks.
    autocorrelation : float
        Of neighbouring block means after a quadratic trend; where it is high (0.3 and more) the
        blocks are not exchangeable, `p` is up to twice too small, and `p_shift` is to be compared.
    n_permutations : int
        Orders drawn.
    """

    t: float
    p: float
    p_shift: float
    autocorrelation: float
    n_permutations: int


def permutation_test(
    thread: BlockSums, rng: np.random.Generator, n_permutations: int = 999
) -> PermutationTest:
    """Test whether the best two blocks exceed the first two by permuting whole blocks.

    With T the published t, B orders drawn and T* the same t of each, its best block found anew,
    p = (1 + #{T* ≥ T}) / (1 + B): Phipson & Smyth (2010). Valid where blocks are exchangeable when
    nothing climbs.

    Parameters
    ----------
    thread : BlockSums
        One thread, (n_blocks,).
    rng : numpy.random.Generator
        Draws the orders.
    n_permutations : int, default 999
        B.

    Returns
    -------
    PermutationTest
        p values NaN below 3 blocks and where nothing varies.
    """
    n = thread.n_blocks
    seen = float(thread.best_against_first())
    if not np.isfinite(seen):
        return PermutationTest(seen, np.nan, np.nan, np.nan, n_permutations)
    orders = rng.permuted(np.tile(np.arange(n), (n_permutations, 1)), axis=1)
    shifts = (np.arange(n) + np.arange(1, n)[:, np.newaxis]) % n
    return PermutationTest(
        t=seen,
        p=_share_as_large(seen, thread.taken(orders).best_against_first()),
        p_shift=_share_as_large(seen, thread.taken(shifts).best_against_first()),
        autocorrelation=residual_autocorrelation(thread.means),
        n_permutations=n_permutations,
    )


@dataclass(frozen=True)
class FlatComparison:
    """One thread against threads of its own blocks that do not climb.

    Attributes
    ----------
    p : float
        One-sided: share of flat threads whose own best against their own first two blocks gives
        as large a t. It has the power of the published test, and its level where the excitability
        assumed for the flat threads is not too small.
    published_rate : float
        Share of the flat threads that would pass the published test: p below the level, t above 0.
    """

    p: float
    published_rate: float


def compare_with_flat(
    thread: BlockSums,
    rng: np.random.Generator,
    excitability: tuple[float, float] = (0.0, 0.0),
    level: float = 0.01,
    n_threads: int = 999,
) -> FlatComparison:
    """Compare a thread with flat ones of its own block sizes, mean and variance within blocks.

    Parameters
    ----------
    thread : BlockSums
        One thread, (n_blocks,).
    rng : numpy.random.Generator
        Draws the flat threads.
    excitability : (float, float)
        Standard deviation and memory of their gain, see `flat_threads`.
    level : float, default 0.01
        Of the published test.
    n_threads : int, default 999
        Flat threads.

    Returns
    -------
    FlatComparison
        NaN below 3 blocks and where nothing varies.
    """
    seen = float(thread.best_against_first())
    if not np.isfinite(seen):
        return FlatComparison(np.nan, np.nan)
    flat = flat_threads(thread, n_threads, rng, *excitability)
    t = flat.best_against_first()
    passed = (flat.best_p() < level) & (t > 0)
    return FlatComparison(_share_as_large(seen, t), float(passed.mean()))


def residual_autocorrelation(means: ArrayLike) -> float:
    """Correlation of neighbouring block means once a quadratic trend is taken away; NaN below 6."""
    values = np.asarray(means, dtype=np.float64)
    if len(values) < 6 or np.ptp(values) == 0:
        return np.nan
    block = np.linspace(-1, 1, len(values))
    left = values - np.polynomial.Polynomial.fit(block, values, 2)(block)
    return float((left[1:] * left[:-1]).sum() / (left**2).sum())


def flat_threads(
    thread: BlockSums,
    n_threads: int,
    rng: np.random.Generator,
    excitability_sd: float = 0.0,
    memory: float = 0.0,
) -> BlockSums:
    """Draw threads that do not climb, with the blocks, mean and spread of a recorded one.

    Sums of images are drawn from normal laws: the mean of a block about the thread's grand mean,
    its sum of squares by the chi-square law with the pooled variance within blocks.

    Parameters
    ----------
    thread : BlockSums
        The thread to imitate, (n_blocks,).
    n_threads : int
        How many.
    rng : numpy.random.Generator
        Draws them.
    excitability_sd, memory : float
        Standard deviation, as a share of the rate, and correlation from block to block of an AR(1)
        gain; 0 for independent trials.

    Returns
    -------
    BlockSums
        (n_threads, n_blocks)
    """
    n = thread.sizes
    within = float((thread.squares - thread.sums**2 / n).sum() / (n - 1).sum())
    level = float(thread.sums.sum() / n.sum())
    gain = 1 + excitability_sd * autoregressive((n_threads, len(n)), memory, rng)
    means = rng.normal(level * gain, np.sqrt(within / n))
    freedom = np.broadcast_to(n - 1, means.shape)
    spread = within * np.where(freedom > 0, rng.chisquare(np.maximum(freedom, 1)), 0.0)
    sizes = np.broadcast_to(n, means.shape)
    return BlockSums(sizes, sizes * means, spread + sizes * means**2)


def autoregressive(
    shape: tuple[int, int], memory: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Stationary AR(1) along the last axis with unit variance, (n, length)."""
    noise = rng.standard_normal(shape)
    series = np.empty(shape)
    series[:, 0] = noise[:, 0]
    for step in range(1, shape[1]):
        series[:, step] = memory * series[:, step - 1] + np.sqrt(1 - memory**2) * noise[:, step]
    return series


def _share_as_large(seen: float, drawn: NDArray[np.float64]) -> float:
    as_large = drawn >= seen - TIE * max(1.0, abs(seen))  # an order that keeps the groups ties
    return float((1 + as_large.sum()) / (1 + len(drawn)))

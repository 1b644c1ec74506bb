"""What the claims rest on: experiments with their sites and animals, threads with their blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.source_tables.reader import SourceData
from core.spaces import BySpace, Space
from neuro_data_analysis.neural_data_utils import AREAS
from neuro_data_analysis.robustness.block_sums import (
    BlockSums,
    FlatComparison,
    PermutationTest,
    compare_with_flat,
    permutation_test,
)
from neuro_data_analysis.robustness.false_positives import FLAT_KINDS

#: Prefix of the columns of each space.
PREFIXES = {space: space.prefix for space in Space}

#: First entry of the seed of every random draw; the second names the experiment or the claim.
SEED = 1313


@dataclass(frozen=True)
class Experiments:
    """The paired evolutions of the source data.

    Attributes
    ----------
    table : pandas.DataFrame
        One row an experiment: ``Expi``, ``Animal``, ``site`` (animal, channel and unit),
        ``visual_area``, published tests and time constants, masks.
    response : dict of str to numpy.ndarray
        Space → (n_experiments, n_blocks) normalised response, padded.
    sem : dict of str to numpy.ndarray
        Its standard error over images.
    recorded : numpy.ndarray of bool
        (n_experiments, n_blocks) recorded, not padded.
    """

    table: pd.DataFrame
    response: dict[Space, NDArray[np.float64]]
    sem: dict[Space, NDArray[np.float64]]
    recorded: NDArray[np.bool_]

    @classmethod
    def read(cls, source: SourceData) -> Experiments:
        """Read them; `MissingDataError` or `MalformedDataError` as the reader says."""
        meta = source.read("Fig4/time_constants")
        masks = source.read("Fig4/masks")
        activations = source.read("ExtendedFig4/meta").reset_index()
        shared = set(meta.columns) | {"valid"}
        table = pd.concat(
            [
                meta,
                masks.astype(bool),
                activations[[name for name in activations if name not in shared]],
            ],
            axis=1,
        )
        site = [f"{a}-{c:g}-{u:g}" for a, c, u in
                zip(meta["Animal"], meta["prefchan"], meta["prefunit"], strict=True)]  # fmt: skip
        return cls(
            table.assign(site=site),
            {space: source.read("Fig4/response_mean", space=space) for space in Space},
            {space: source.read("Fig4/response_sem", space=space) for space in Space},
            source.read("Fig4/recorded_blocks") == 1,
        )

    def group(self, area: str, success: str | None = None) -> NDArray[np.intp]:
        """Rows of the valid experiments of an area, of those with a success where one is named."""
        chosen = self.table["valid"] & (self.table["visual_area"] == area)
        if success is not None:
            chosen &= self.table[success]
        return np.flatnonzero(chosen)

    def thread(self, row: int, space: Space) -> BlockSums:
        """Sizes, sums and squares of the recorded blocks of a thread, in normalised response."""
        return self._sums(row, space, self.sizes[space][row])

    @cached_property
    def sizes(self) -> BySpace[list[NDArray[np.float64]]]:
        """Images of every recorded block by space and row.

        No table holds them, but the standard deviation (ddof 0) of a block over its standard error
        (ddof 1) is √(n − 1): that gives the first, the last and the best block. Blocks between the
        first and the last have the size of the best one; where that is the first or the last
        itself, the size known of other threads that comes nearest to the published t values.
        """
        return {space: list(self._sizes_of(space)) for space in Space}

    def _sizes_of(self, space: Space) -> Iterator[NDArray[np.float64]]:
        first, best, last = (self._told_size(block, space) for block in ("init", "max", "end"))
        length = self.recorded.sum(axis=1)
        seen = np.where(self.recorded, self.response[space], -np.inf).argmax(axis=1)
        inner = (seen > 0) & (seen < length - 1) & np.isfinite(best)
        known = np.unique(best[inner])
        for row in range(len(self.table)):
            middles = [best[row]] if inner[row] else known
            laid_out = [
                _sizes(length[row], first[row], middle, last[row]) for middle in middles
            ]
            yield min(laid_out, key=lambda sizes: self._distance(row, space, sizes))

    def _told_size(self, block: str, space: Space) -> NDArray[np.float64]:
        spread, error = (self.table[f"{block}rsp_{space.thread}_{kind}"] for kind in ("std", "sem"))
        return np.rint((spread / error) ** 2 + 1).to_numpy()

    def _distance(self, row: int, space: Space, sizes: NDArray[np.float64]) -> float:
        """How far the published t values lie from those that some block sizes give."""
        sums = self._sums(row, space, sizes)
        rebuilt = np.array([sums.best_against_first(), sums.last_against_first()])
        columns = [f"t_maxinit_{space.thread}", f"t_endinit_{space.thread}"]
        published = self.table.loc[row, columns]
        return float(np.nansum(abs(rebuilt - published.to_numpy(dtype=float))))

    def _sums(self, row: int, space: Space, sizes: NDArray[np.float64]) -> BlockSums:
        mean, sem = (values[space][row, : len(sizes)] for values in (self.response, self.sem))
        return BlockSums.from_moments(sizes, mean, sem)

    @cached_property
    def permuted(self) -> BySpace[list[PermutationTest]]:
        """Block permutation test of every thread, by space and row; one seed per thread."""
        return {
            space: [
                permutation_test(
                    self.thread(row, space),
                    np.random.default_rng([SEED, int(expi), space.thread]),
                )
                for row, expi in enumerate(self.table["Expi"])
            ]
            for space in Space
        }

    @cached_property
    def flat(self) -> dict[str, dict[Space, list[FlatComparison]]]:
        """Every thread against flat ones, by kind of excitability, space and row."""
        return {
            kind: {
                space: [
                    compare_with_flat(
                        self.thread(row, space),
                        np.random.default_rng([SEED, int(expi), space.thread, 1 + number]),
                        excitability,
                    )
                    for row, expi in enumerate(self.table["Expi"])
                ]
                for space in Space
            }
            for number, (kind, excitability) in enumerate(FLAT_KINDS.items())
        }

    def passes(self, space: Space, level: float) -> NDArray[np.bool_]:
        """Threads whose best two blocks exceed the first two by the permutation of blocks."""
        return np.array([test.p <= level for test in self.permuted[space]])

    def published_passes(self, space: Space, level: float) -> NDArray[np.bool_]:
        """Threads that succeed in Figure 4A: published p below the level, t above 0."""
        thread = space.thread
        p, t = self.table[f"p_maxinit_{thread}"], self.table[f"t_maxinit_{thread}"]
        return ((p < level) & (t > 0)).to_numpy()

    def rebuilt_difference(self, space: Space) -> float:
        """Largest difference of the t rebuilt from means, errors and sizes from the table's."""
        thread = space.thread
        rebuilt = np.array([test.t for test in self.permuted[space]])
        return float(np.nanmax(abs(rebuilt - self.table[f"t_maxinit_{thread}"])))


def n_by_block(experiments: Experiments, success: str) -> dict[str, list[int]]:
    """Count the experiments that recorded each block, by area."""
    return {
        area: experiments.recorded[experiments.group(area, success)].sum(axis=0).tolist()
        for area in AREAS
    }


def _sizes(n_blocks: int, first: float, middle: float, last: float) -> NDArray[np.float64]:
    sizes = np.full(n_blocks, middle)
    sizes[0] = first if np.isfinite(first) else middle
    sizes[-1] = min(last, middle) if np.isfinite(last) else middle
    return sizes

"""One cell of Extended Figure 5C: runs that differ by their seed alone, in one batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.brief import brief
from core.errors import MalformedDataError, UsageError, choose_from
from core.insilico.realnvp_alignment.ascent import climb_by_adam, climb_by_cma
from core.insilico.realnvp_alignment.networks import DTYPE, RealNVP
from core.insilico.realnvp_alignment.philox import MAX_DIMENSION, cuda_normal
from core.reading.array_files import read_arrays, write_arrays
from core.utils.device import one_thread

OPTIMIZERS = ("CMAES", "Adam")

#: Steps of either optimiser.
N_STEPS = 100


@dataclass(frozen=True)
class GridCell:
    """One optimiser, dimension and depth, with all its seeds.

    Attributes
    ----------
    optimizer : str
        Of `OPTIMIZERS`.
    dimension, depth : int
        Of the networks, see `RealNVP`.
    seeds : tuple of int
        One run each: its network, its start point, and the noise of its CMA-ES.
    """

    optimizer: str
    dimension: int
    depth: int
    seeds: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise UsageError(choose_from(self.optimizer, OPTIMIZERS, "optimiser"))
        if self.dimension not in range(2, MAX_DIMENSION + 1, 2):
            raise UsageError(
                f"dimension is {self.dimension}; it must be even, from 2 to {MAX_DIMENSION}."
            )
        if self.depth < 0:
            raise UsageError(f"depth is {self.depth}; it must be 0 or more.")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            listed = ", ".join(map(str, self.seeds)) or "none"
            raise UsageError(f"seeds are {listed}; give different numbers from 0 on.")

    @property
    def name(self) -> str:
        """Name of its file, without suffix."""
        return f"{self.optimizer}_d{self.dimension:03}_L{self.depth:02}"


@dataclass(frozen=True)
class Climbs:
    """Where the runs of a cell ended, one row per seed.

    Attributes
    ----------
    cell : GridCell
        What was run.
    reached, reached_output : numpy.ndarray, shape (n_seeds, d)
        The end point x, and f(x).
    top : numpy.ndarray, shape (n_seeds, d)
        The point that f takes to the top of the hill, (1, …, 1).
    score : numpy.ndarray, shape (n_seeds,)
        ``exp(-|f(x) - 1|²/2)``, 1 on the top.
    """

    cell: GridCell
    reached: NDArray[np.float64]
    reached_output: NDArray[np.float64]
    top: NDArray[np.float64]
    score: NDArray[np.float64]

    __repr__ = brief

    def save(self, folder: Path) -> None:
        """Write the cell into a folder, whole or not at all."""
        write_arrays(cell_path(folder, self.cell), asdict(self.cell) | {
            name: getattr(self, name) for name in ("reached", "reached_output", "top", "score")
        })  # fmt: skip

    @classmethod
    def load(cls, path: Path) -> Climbs:
        """Read a cell that `save` wrote.

        Raises
        ------
        MalformedDataError
            If the file is not one.
        """
        try:
            saved = read_arrays(path)
            seeds = tuple(saved["seeds"].tolist())
            size = int(saved["dimension"]), int(saved["depth"])
            cell = GridCell(str(saved["optimizer"]), *size, seeds)
            arrays = {name: saved[name] for name in ("reached", "reached_output", "top")}
            return cls(cell, **arrays, score=saved["score"])
        except (ValueError, KeyError, TypeError) as error:
            raise MalformedDataError(
                f"{path} is not a finished cell ({error}); remove it and run again."
            ) from error


def cell_path(folder: Path, cell: GridCell) -> Path:
    """Return the file of a cell in a folder."""
    return folder / f"{cell.name}.npz"


def climb(cell: GridCell, n_steps: int = N_STEPS) -> Climbs:
    """Run one cell.

    Networks and start points are those of the published runs, seed for seed. A network without
    layers was never seeded there; here its start point is that of its seed, as for any other. The
    noise of CMA-ES was not seeded either; here it follows from seed, dimension and depth.

    Parameters
    ----------
    cell : GridCell
        What to run.
    n_steps : int
        Steps of the optimiser.

    Returns
    -------
    Climbs
        The same on every number of cores.
    """
    with one_thread():  # these matrices are too small to share
        network = RealNVP.draw(cell.dimension, cell.depth, cell.seeds)
        start = torch.as_tensor(np.stack([cuda_normal(s, cell.dimension) for s in cell.seeds]))
        reached = _climb(cell, log_score(network), start, n_steps)[:, None]
        ones = torch.ones(len(cell.seeds), 1, cell.dimension, dtype=DTYPE)
        return Climbs(
            cell=cell,
            reached=reached[:, 0].numpy(),
            reached_output=network.forward(reached)[:, 0].numpy(),
            top=network.inverse(ones)[:, 0].numpy(),
            score=log_score(network)(reached).exp()[:, 0].numpy(),
        )


def log_score(network: RealNVP) -> Callable[[Tensor], Tensor]:
    """Return the hill that is climbed: x (n_seeds, n, d) → ``-|f(x) - 1|²/2`` (n_seeds, n)."""
    return lambda x: -0.5 * (network.forward(x) - 1).square().sum(dim=-1)


def _climb(
    cell: GridCell, score: Callable[[Tensor], Tensor], start: Tensor, n_steps: int
) -> Tensor:
    if cell.optimizer == "Adam":
        return climb_by_adam(score, start, n_steps)
    noise = [np.random.default_rng((seed, cell.dimension, cell.depth)) for seed in cell.seeds]
    return climb_by_cma(score, start, n_steps, noise)

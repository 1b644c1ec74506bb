"""When an evolution ends before its last generation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.errors import UsageError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Stop:
    """Rules that end an evolution early; None leaves a rule out.

    Attributes
    ----------
    flat : int, default 20
        Generations in a row in which every image got one and the same score, such as those of a
        silent unit.
    converged : float, default 1e-4
        Spread of the codes of a generation (root mean square distance from their mean), as a share
        of that of the first generation of several codes.
    patience : int, optional
        Generations in a row without a new best score.
    images : int, optional
        Budget: images shown in all; a generation that would exceed it is not begun.
    score : float, optional
        A score that is good enough.

    Raises
    ------
    UsageError
        If a number is not above 0 (a score may be any).
    """

    flat: int | None = 20
    converged: float | None = 1e-4
    patience: int | None = None
    images: int | None = None
    score: float | None = None

    def __post_init__(self) -> None:
        for name in ("flat", "converged", "patience", "images"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"{name} is {value}; a rule for stopping takes a number above 0.")

    def reason(
        self, scores: Sequence[FloatArray], spreads: Sequence[float], maximize: bool
    ) -> str | None:
        """Return why to stop after these generations, or None.

        Parameters
        ----------
        scores : sequence of numpy.ndarray
            Per generation; NaN for codes that were not shown.
        spreads : sequence of float
            Per generation, of the codes.
        maximize : bool
        """
        signed = [np.where(maximize, s, -s)[np.isfinite(s)] for s in scores]
        best = np.array([s.max(initial=-np.inf) for s in signed])
        if self.score is not None and best.max(initial=-np.inf) >= (
            self.score if maximize else -self.score
        ):
            return f"score {self.score:g} reached"
        if self.flat and len(signed) >= self.flat and _is_flat(signed[-self.flat :]):
            return f"flat: one score for all images of {self.flat} generations"
        if self.patience and len(best) and len(best) - 1 - int(np.argmax(best)) >= self.patience:
            return f"no better image in {self.patience} generations"
        several = [spread for spread in spreads if spread > 0]
        if self.converged and several and spreads[-1] > 0:
            share = spreads[-1] / several[0]
            if share < self.converged:
                return f"converged: codes spread {share:.2g} as far as at first"
        return None


def spread_of(codes: NDArray[np.floating]) -> float:
    """Return the root mean square distance of codes (n, length) from their mean."""
    if len(codes) < 2:
        return 0.0
    return float(np.sqrt(((codes - codes.mean(0)) ** 2).sum(1).mean()))


def _is_flat(generations: Sequence[FloatArray]) -> bool:
    values = np.concatenate(generations)
    return len(values) > len(generations) and float(np.ptp(values)) == 0

"""Ask/tell optimisers of other libraries, so that `evolve` and `compare` run them beside ours."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import UsageError


class ask_tell_peer:
    """An optimiser of pycma or cmaes as `evolve` takes it.

    Parameters
    ----------
    peer : cma.CMAEvolutionStrategy, cmaes.CMA, cmaes.SepCMA or alike
        It minimises; scores are handed to it with the sign changed when maximising. Its ``ask``
        returns a list of codes, or one code at a time with ``population_size``.
    maximize : bool, default True

    Raises
    ------
    UsageError
        If it has no ``ask`` and ``tell``, or a code was not shown: these libraries take no NaN, so
        use ``evolve(lost="again")`` with them.

    Notes
    -----
    Their states are pickles, which can run code when they are read: a run of a peer cannot be
    saved and resumed here.
    """

    def __init__(self, peer: Any, maximize: bool = True) -> None:
        if not hasattr(peer, "ask") or not hasattr(peer, "tell"):
            raise UsageError(f"{type(peer).__name__} has no ask and tell.")
        self.peer, self.maximize = peer, maximize
        self._codes: list[NDArray[Any]] | None = None

    @property
    def n_asked(self) -> int:
        """Codes of a generation."""
        return len(self._waiting())

    def ask(self) -> NDArray[Any]:
        """Return the codes that wait for scores, one per row; the same ones until `tell`."""
        return np.array(self._waiting())

    def tell(self, scores: NDArray[Any]) -> None:
        """Take one score per code."""
        self.require_scores(np.asarray(scores, dtype=np.float64))
        losses = -np.asarray(scores) if self.maximize else np.asarray(scores)
        codes = self._waiting()
        if hasattr(self.peer, "population_size"):
            self.peer.tell(list(zip(codes, losses.tolist(), strict=True)))
        else:
            self.peer.tell(codes, losses.tolist())
        self._codes = None

    def require_scores(self, scores: NDArray[Any]) -> None:
        """Refuse a generation of which a code was not shown."""
        n_lost = int(np.isnan(scores).sum())
        if n_lost:
            raise UsageError(
                f"{n_lost} of {len(scores)} codes were not shown, and {type(self.peer).__name__} "
                'takes no missing scores; use lost="again".'
            )

    def _waiting(self) -> list[NDArray[Any]]:
        if self._codes is None:
            n = getattr(self.peer, "population_size", None)
            self._codes = self.peer.ask() if n is None else [self.peer.ask() for _ in range(n)]
        return self._codes

    def __repr__(self) -> str:
        return f"{type(self.peer).__module__.partition('.')[0]}.{type(self.peer).__name__}"

"""One search of a closed loop: who makes the images, who chooses codes, what has come of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import UsageError
from core.utils.evolution.stopping import FloatArray, spread_of
from core.utils.generators.protocol import ImageGenerator
from core.utils.optimizers.state import of_prefix

CodeArray = NDArray[np.float32]

#: Name of the only thread of an evolution.
ONLY = "evolution"


@dataclass
class Thread:
    """A search, named as in a paired evolution: thread 0 in one space, thread 1 in the other.

    Attributes
    ----------
    name : str
    objective : Any
        What scores its images; see `core.utils.evolution.loop.evolve`.
    generator : ImageGenerator
    optimizer : Any
        Asked and told in turn.
    scores : list of numpy.ndarray
        Per generation, one score per code; NaN where a code was not shown.
    codes : list of numpy.ndarray
        Per generation, float32, (n, codelen).
    spreads : list of float
        Per generation, see `core.utils.evolution.stopping.spread_of`.
    stopped : str
        Why the search ended; empty while it goes on.
    failed : bool
        Whether it ended because a generation of it could not be used; it stands before that one.
    """

    name: str
    objective: Any
    generator: ImageGenerator
    optimizer: Any
    scores: list[FloatArray] = field(default_factory=list)
    codes: list[CodeArray] = field(default_factory=list)
    spreads: list[float] = field(default_factory=list)
    stopped: str = ""
    failed: bool = False

    def fail(self, reason: str) -> None:
        """Set the search aside where it stands."""
        self.failed, self.stopped = True, f"failed in generation {len(self.scores)}: {reason}"

    @property
    def maximize(self) -> bool:
        """Whether high scores are good."""
        return bool(self.optimizer.maximize)

    @property
    def n_images(self) -> int:
        """Codes that were scored or lost."""
        return sum(map(len, self.scores))

    def ask(self) -> CodeArray:
        """Return the codes of the coming generation."""
        codes: CodeArray = np.asarray(self.optimizer.ask(), dtype=np.float32)
        if codes.ndim != 2 or codes.shape[1] != self.generator.codelen:
            raise UsageError(
                f"thread {self.name}: the optimiser asks for codes of shape {codes.shape}; the "
                f"generator takes (n, {self.generator.codelen}). Make it for this generator."
            )
        return codes

    def remember(self, codes: CodeArray, scores: FloatArray) -> None:
        """Keep a generation that the optimiser was told."""
        self.codes.append(codes)
        self.scores.append(scores)
        self.spreads.append(spread_of(codes))

    def best_of(self, generation: int) -> int | None:
        """Return the row of a generation's best code; None if all were lost."""
        scores = self.scores[generation]
        if np.isnan(scores).all():
            return None
        return int(np.nanargmax(scores) if self.maximize else np.nanargmin(scores))


def require_optimizer(optimizer: Any, name: str) -> Any:
    """Return what can be asked and told.

    Raises
    ------
    UsageError
        Naming what it lacks.
    """
    missing = [m for m in ("ask", "tell", "maximize") if not hasattr(optimizer, m)]
    if missing:
        raise UsageError(
            f"the optimiser of {name} ({type(optimizer).__name__}) lacks {', '.join(missing)}; "
            "give a label, one of core.utils, or an ask/tell optimiser of another library in "
            "core.utils.ask_tell_peer(...)."
        )
    return optimizer


def described(part: Any) -> str:
    """Name an objective or generator so that another process names it alike."""
    if isinstance(part, FunctionType):
        return f"{part.__module__}.{part.__qualname__}"
    plain = type(part).__repr__ is object.__repr__
    return type(part).__name__ if plain else repr(part)


def state_of(threads: list[Thread]) -> dict[str, Any]:
    """Return the states of the optimisers, by ``name/entry``."""
    return {
        f"{thread.name}/{key}": value
        for thread in threads
        for key, value in thread.optimizer.state_dict().items()
    }


def load_states(threads: list[Thread], state: Mapping[str, Any]) -> None:
    """Set the optimisers to where `state_of` was taken."""
    for thread in threads:
        thread.optimizer.load_state_dict(of_prefix(state, f"{thread.name}/"))

"""What every optimiser shares: ask and tell, the published `step_simple`, history, state."""

from __future__ import annotations

import logging
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.errors import UsageError
from core.reading.array_files import write_arrays
from core.utils.optimizers.arguments import FLOAT32_ROUNDING, FloatArray, code_rows, scores_of
from core.utils.optimizers.rank_weights import best_first
from core.utils.optimizers.state import array_entry, read_state, require_counts

logger = logging.getLogger(__name__)

#: After so many generations of equal scores a warning says that the search learns nothing.
FLAT_GENERATIONS = 10


@dataclass(frozen=True)
class Generation:
    """Scores of one generation; NaN where nothing was shown.

    Attributes
    ----------
    n_codes, n_lost : int
        Codes asked for, and those of them that were not shown.
    mean, sd : float
        Of the scores; the standard deviation of the sample.
    best : float
        The highest, or the lowest when minimising.
    """

    n_codes: int
    n_lost: int
    mean: float
    sd: float
    best: float

    @property
    def is_flat(self) -> bool:
        """Whether all scores of several codes were equal."""
        return self.n_codes - self.n_lost > 1 and self.sd == 0


@dataclass(frozen=True)
class Best:
    """The best code so far.

    Attributes
    ----------
    code : numpy.ndarray, shape (space_dimen,)
    score : float
    """

    code: NDArray[Any]
    score: float


class AskTellOptimizer(ABC):
    """A search over latent codes, one population of rows per generation.

    Two equivalent ways to run it::

        codes = optimizer.get_init_pop()            # the published way
        codes = optimizer.step_simple(score(codes), codes)

        codes = optimizer.ask()                     # ask and tell
        optimizer.tell(score(codes))

    A code whose image was not shown has score NaN. It takes no part: the others are ranked, with
    the weights of their number. To show the missing again instead, score them once more before
    `tell`: ``lost = np.isnan(scores); scores[lost] = score(codes[lost])``.

    No array of the caller is modified, and what the caller does to a returned array changes
    nothing here.

    Attributes
    ----------
    space_dimen : int
        Length of a code.
    maximize : bool
        Whether high scores are good.
    dtype : numpy.dtype
        Type of the codes that are returned. The search itself runs in float64.
    history : list of Generation
        What the scores of each generation were.
    best : Best or None
        The best code so far; None before the first score.
    """

    space_dimen: int
    maximize: bool
    dtype: np.dtype[Any]

    def __init__(self) -> None:
        self.history: list[Generation] = []
        self.best: Best | None = None

    @abstractmethod
    def get_init_pop(self) -> NDArray[Any]:
        """Return the codes of generation 0, one per row."""

    def ask(self) -> NDArray[Any]:
        """Return the codes that wait for scores, one per row; the same ones until `tell`."""
        return self._population().astype(self.dtype)

    def tell(self, scores: ArrayLike) -> None:
        """Take the scores of the codes of the last `ask`, in their order.

        Raises
        ------
        UsageError
            If scores are not one number per code, finite or NaN, or fewer than two codes of
            several were shown. The optimiser is then unchanged.
        """
        self._take(scores_of(scores, self.n_asked), None)

    def step_simple(self, scores: ArrayLike, codes: ArrayLike, verbosity: int = 1) -> NDArray[Any]:
        """Take one generation's scores and return the codes of the next.

        Parameters
        ----------
        scores : array-like, shape (n_codes,)
            One number per code; NaN where its image was not shown.
        codes : array-like, shape (n_codes, space_dimen)
            The codes that were scored. Any number of any codes in generation 0; afterwards the
            ones that this method returned, in their order, because a row is matched with the
            random numbers that made it. Rows may be missing: those codes were not shown. Rounding
            to float32 is harmless: the run does not depend on it.
        verbosity : int, default 1
            Above 0, one line per generation goes to the log at level INFO.

        Returns
        -------
        numpy.ndarray, shape (population_size, space_dimen)
            A new array of type `dtype`.

        Raises
        ------
        UsageError
            If scores or codes are no numbers, do not fit each other, or are not the codes asked
            for, or fewer than two were shown. The optimiser is then unchanged.
        """
        given = code_rows(codes, self.space_dimen)
        checked_scores = scores_of(scores, len(given))
        if self.history and len(given) < self.n_asked:
            checked_scores, given = self._with_missing(checked_scores, given)
        self._check_codes(given)
        self._take(checked_scores, given)
        if verbosity > 0 and logger.isEnabledFor(logging.INFO):
            last = self.history[-1]
            logger.info(
                "%s: score %.4g ± %.4g, best %.4g; %s",
                type(self).__name__,
                last.mean,
                np.nan_to_num(last.sd),  # one score does not vary
                last.best,
                self._progress(),
            )
        return self.ask()

    def require_scores(self, scores: FloatArray) -> None:
        """Refuse a generation from which nothing can be learnt.

        Raises
        ------
        UsageError
            If fewer than two codes of several were shown.
        """
        n_shown = int(np.isfinite(scores).sum())
        if len(scores) > 1 and n_shown < 2:
            raise UsageError(
                f"{n_shown} of the {len(scores)} codes of this generation were shown; two or more "
                "are needed to rank them. Show it again."
            )

    def stop_reasons(self) -> dict[str, str]:
        """Return reasons to end the search, by name; empty while it may go on.

        Returns
        -------
        dict of str to str
            ``flat``: equal scores in the last generations; ``converged``, ``diverged``: the step
            size left the range in which it moves images.
        """
        reasons = self._reasons()
        if self._n_flat() >= FLAT_GENERATIONS:
            reasons["flat"] = f"all scores were equal in the last {self._n_flat()} generations"
        return reasons

    @property
    @abstractmethod
    def n_asked(self) -> int:
        """Number of codes that wait for scores."""

    def state_dict(self, whole: bool = False) -> dict[str, Any]:
        """Return all that a run needs to go on: arrays, numbers and strings by name.

        Parameters
        ----------
        whole : bool, default False
            Also what the constructor was given at length, the Hessian, so that
            `core.utils.optimizer_from_state` needs nothing else. Otherwise settings are in it to
            be compared: an optimiser that is made as the first one was goes on from it, and a
            Hessian is named by its checksum only.
        """
        state = self._state(whole)
        rows = [astuple(generation) for generation in self.history]
        state["history"] = np.array(rows, dtype=np.float64).reshape(-1, 5)
        if self.best is not None:
            state["best_code"], state["best_score"] = self.best.code.copy(), self.best.score
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where `state_dict` was taken, bit for bit.

        A generator that was given as `random_seed` is set to where the saved run had left it.

        Raises
        ------
        UsageError
            If the state belongs to an optimiser with other settings.
        MalformedDataError
            If entries are missing or of the wrong shape.
        """
        history, best = [], None
        if "history" in state:
            rows = array_entry(state, "history", (-1, 5))
            require_counts("history", rows[:, :2])
            history = [Generation(int(n), int(lost), *more) for n, lost, *more in rows.tolist()]
        if "best_code" in state:
            code = array_entry(state, "best_code", (self.space_dimen,)).astype(self.dtype)
            best = Best(code, float(array_entry(state, "best_score", ())))
        self._load_state(state)
        self.history, self.best = history, best

    def save_state(self, path: str | os.PathLike[str]) -> None:
        """Write the whole `state_dict` into one .npz file, which replaces an earlier one."""
        write_arrays(path, self.state_dict(whole=True))

    def load_state(self, path: str | os.PathLike[str]) -> None:
        """Go on from a file of `save_state`.

        Raises
        ------
        MissingDataError
            If there is no such file.
        MalformedDataError, UsageError
            As `load_state_dict`, or if the file is not one that `save_state` writes.
        """
        self.load_state_dict(read_state(path))

    def __repr__(self) -> str:
        direction = "maximises" if self.maximize else "minimises"
        best = "" if self.best is None else f", best {self.best.score:.4g}"
        return (
            f"{type(self).__name__} over {self.space_dimen} numbers, {direction}, "
            f"{len(self.history)} generations{best}"
        )

    def _take(self, scores: FloatArray, codes: NDArray[Any] | None) -> None:
        """Learn from one generation, and note it."""
        self.require_scores(scores)
        best = self._better(scores, codes)
        self._update(scores, codes)
        self._note(scores, best)

    def _better(self, scores: FloatArray, codes: NDArray[Any] | None) -> Best | None:
        """Return the best code with those of this generation."""
        order = best_first(scores, self.maximize)
        if not len(order):
            return self.best
        row = order[0]
        score, before = float(scores[row]), self.best
        if before is not None and (score <= before.score) == self.maximize:
            return before
        shown = self._population() if codes is None else codes
        return Best(np.array(shown[row], dtype=self.dtype), score)

    def _note(self, scores: FloatArray, best: Best | None) -> None:
        seen = scores[np.isfinite(scores)]
        n = len(seen)
        mean = np.add.reduce(seen) / n if n else np.nan  # seen.mean(), at a fifth of its time
        self.history.append(
            Generation(
                len(scores),
                len(scores) - n,
                float(mean),
                math.sqrt(np.add.reduce((seen - mean) ** 2) / (n - 1)) if n > 1 else np.nan,
                float(seen.max() if self.maximize else seen.min()) if n else np.nan,
            )
        )
        self.best = best
        if self._n_flat() == FLAT_GENERATIONS:
            logger.warning(
                "%s: all scores were equal in %d generations; the search is a random walk",
                type(self).__name__,
                FLAT_GENERATIONS,
            )

    def _n_flat(self) -> int:
        """Count the last generations without a difference between scores."""
        varied = (i for i, g in enumerate(reversed(self.history)) if not g.is_flat)
        return next(varied, len(self.history))

    def _with_missing(
        self, scores: FloatArray, codes: NDArray[Any]
    ) -> tuple[FloatArray, NDArray[Any]]:
        """Find the rows that were asked for; the codes that are missing were not shown."""
        asked = self._population()
        tolerance = FLOAT32_ROUNDING * np.abs(asked).max()
        row, placed = 0, np.full(len(asked), np.nan)
        for score, code in zip(scores, codes, strict=True):
            while row < len(asked) and np.abs(asked[row] - code).max() > tolerance:
                row += 1
            if row == len(asked):
                raise UsageError(
                    f"{len(codes)} codes were given of {len(asked)} that were asked for, and one "
                    "of them is not among those; score rows as they were returned, in their order."
                )
            placed[row] = score
            row += 1
        return placed, asked

    @abstractmethod
    def _state(self, whole: bool) -> dict[str, Any]:
        """Return the search's own entries of `state_dict`."""

    @abstractmethod
    def _load_state(self, state: Mapping[str, Any]) -> None:
        """Take over the search's own entries of a state, or raise and stay as it was."""

    @abstractmethod
    def _population(self) -> NDArray[Any]:
        """Return the codes that wait for scores, not to be modified."""

    @abstractmethod
    def _check_codes(self, codes: NDArray[Any]) -> None:
        """Raise UsageError unless these are the codes asked for (generation 0: finite codes)."""

    @abstractmethod
    def _update(self, scores: FloatArray, codes: NDArray[Any] | None) -> None:
        """Learn from one generation, checked already; `codes` None means those asked for."""

    @abstractmethod
    def _progress(self) -> str:
        """Say where the search is, for the log."""

    def _reasons(self) -> dict[str, str]:
        """Return the search's own reasons to end."""
        return {}

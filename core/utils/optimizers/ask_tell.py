"""What every optimiser shares: ask and tell, the published `step_simple`, and a saved state."""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.reading.array_files import write_arrays
from core.utils.optimizers.arguments import FloatArray, code_rows, finite_scores
from core.utils.optimizers.state import read_state

logger = logging.getLogger(__name__)


class AskTellOptimizer(ABC):
    """A search over latent codes, one population of rows per generation.

    Two equivalent ways to run it::

        codes = optimizer.get_init_pop()            # the published way
        codes = optimizer.step_simple(score(codes), codes)

        codes = optimizer.ask()                     # ask and tell
        optimizer.tell(score(codes))

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
    """

    space_dimen: int
    maximize: bool
    dtype: np.dtype[Any]

    @abstractmethod
    def get_init_pop(self) -> NDArray[Any]:
        """Return the codes of generation 0, one per row."""

    def ask(self) -> NDArray[Any]:
        """Return the codes that wait for scores, one per row; the same ones until `tell`."""
        return self._population().astype(self.dtype, copy=False)

    def tell(self, scores: ArrayLike) -> None:
        """Take the scores of the codes of the last `ask`, in their order.

        Raises
        ------
        UsageError
            If scores are not one finite number per code.
        """
        self._update(finite_scores(scores, self.n_asked), None)

    def step_simple(self, scores: ArrayLike, codes: ArrayLike, verbosity: int = 1) -> NDArray[Any]:
        """Take one generation's scores and return the codes of the next.

        Parameters
        ----------
        scores : array-like, shape (n_codes,)
            One finite number per code.
        codes : array-like, shape (n_codes, space_dimen)
            The codes that were scored. Any number of any codes in generation 0; afterwards the
            ones that this method returned, all of them and in their order, because a row is
            matched with the random numbers that made it. Rounding to float32 is harmless: the run
            does not depend on it.
        verbosity : int, default 1
            Above 0, one line per generation goes to the log at level INFO.

        Returns
        -------
        numpy.ndarray, shape (population_size, space_dimen)
            A new array of type `dtype`.

        Raises
        ------
        UsageError
            If scores or codes are not finite, do not fit each other, or are not the codes asked
            for. The optimiser is then unchanged.
        """
        given = code_rows(codes, self.space_dimen)
        checked_scores = finite_scores(scores, len(given))
        self._check_codes(given)
        self._update(checked_scores, given)
        if verbosity > 0 and logger.isEnabledFor(logging.INFO):
            logger.info(
                "%s: score %.4g ± %.4g, best %.4g; %s",
                type(self).__name__,
                checked_scores.mean(),
                checked_scores.std(),
                checked_scores.max() if self.maximize else checked_scores.min(),
                self._progress(),
            )
        return self.ask()

    @property
    @abstractmethod
    def n_asked(self) -> int:
        """Number of codes that wait for scores."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return all that a run needs to go on: arrays, numbers and strings by name.

        Settings are in it to be compared, not to be restored: a run is resumed by an optimiser
        that is made as the first one was. A Hessian is named by its checksum only.
        """

    @abstractmethod
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

    def save_state(self, path: str | os.PathLike[str]) -> None:
        """Write `state_dict` into one .npz file, which replaces an earlier one at once."""
        write_arrays(path, self.state_dict())

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

    @abstractmethod
    def _population(self) -> FloatArray:
        """Return a new array with the codes that wait for scores."""

    @abstractmethod
    def _check_codes(self, codes: NDArray[Any]) -> None:
        """Raise UsageError unless these are the codes asked for (generation 0: finite codes)."""

    @abstractmethod
    def _update(self, scores: FloatArray, codes: NDArray[Any] | None) -> None:
        """Learn from one generation, checked already; `codes` None means those asked for."""

    @abstractmethod
    def _progress(self) -> str:
        """Say where the search is, for the log."""

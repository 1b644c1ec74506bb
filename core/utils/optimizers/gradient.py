"""Gradient ascent through generator and network, behind the same ask and tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from core.errors import UsageError
from core.utils.optimizers.arguments import (
    FloatArray,
    float_dtype,
    positive_number,
    require_finite,
    scores_of,
)
from core.utils.optimizers.ask_tell import AskTellOptimizer
from core.utils.optimizers.state import array_entry, count_entry, require_settings, settings_entry

#: Added to the root of the second moment (Kingma & Ba 2015, algorithm 1).
_EPSILON = 1e-8


class GradientAscent(AskTellOptimizer):
    """Adam (Kingma & Ba 2015) on several codes, each climbing by itself.

    ``tell`` takes the gradient of each score with respect to its own code beside the scores, which
    `evolve` provides for any objective and generator that torch can differentiate.

    Parameters
    ----------
    init_codes : array-like, shape (n, N) or (N,)
        Where to begin; n codes are asked for in every generation.
    lr : float, default 0.1
        Learning rate, about the change of each number of a code per step.
    maximize : bool, default True
    beta1, beta2 : float, default 0.9, 0.999
        Memories of the first and second moment of the gradients.
    dtype : dtype, default float64
        Type of the returned codes.

    Raises
    ------
    UsageError
        If an argument cannot be used.
    """

    needs_gradients = True

    def __init__(
        self,
        init_codes: ArrayLike,
        lr: float = 0.1,
        maximize: bool = True,
        beta1: float = 0.9,
        beta2: float = 0.999,
        dtype: DTypeLike = np.float64,
    ) -> None:
        super().__init__()
        codes = np.atleast_2d(np.array(init_codes, dtype=np.float64))
        if codes.ndim != 2 or not codes.size:
            raise UsageError(f"init_codes have shape {codes.shape}; give (n, length) numbers.")
        require_finite(codes, "init_codes")
        self.space_dimen = codes.shape[1]
        self.lr = positive_number(lr, "lr")
        self.beta1, self.beta2 = (_memory(b, n) for b, n in ((beta1, "beta1"), (beta2, "beta2")))
        self.maximize, self.dtype = bool(maximize), float_dtype(dtype)
        self._codes, self.istep = codes, 0
        self._first, self._second = np.zeros_like(codes), np.zeros_like(codes)

    def get_init_pop(self) -> NDArray[Any]:
        """Return the codes of generation 0."""
        return self.ask()

    @property
    def n_asked(self) -> int:
        """Number of codes, the same in every generation."""
        return len(self._codes)

    def tell(self, scores: ArrayLike, gradients: ArrayLike | None = None) -> None:
        """Take scores and gradients of the codes of the last `ask`.

        Parameters
        ----------
        scores : array-like, shape (n,)
            NaN where a code was not shown; it stays where it is.
        gradients : array-like, shape (n, N)
            Of each score with respect to its own code.

        Raises
        ------
        UsageError
            If there are none, or they do not fit.
        """
        values = scores_of(scores, self.n_asked)
        given = np.asarray(gradients, dtype=np.float64)
        if gradients is None or given.shape != self._codes.shape:
            raise UsageError(
                f"gradients of shape {given.shape} were given; gradient ascent needs "
                f"{self._codes.shape}, one gradient per code."
            )
        lost = np.isnan(values)
        require_finite(given[~lost], "gradients")
        self.require_scores(values)
        best = self._better(values, None)
        self._climb(np.where(lost[:, np.newaxis], 0.0, given))
        self._note(values, best)

    def require_scores(self, scores: FloatArray) -> None:
        """Accept any generation: each code climbs by itself."""

    def _climb(self, gradients: FloatArray) -> None:
        g = gradients if self.maximize else -gradients
        self.istep += 1
        # m ← β₁ m + (1-β₁) g;  v ← β₂ v + (1-β₂) g²
        self._first = self.beta1 * self._first + (1 - self.beta1) * g
        self._second = self.beta2 * self._second + (1 - self.beta2) * g**2
        # z ← z + lr m̂ / (√v̂ + ε), moments corrected for their start at zero
        first = self._first / (1 - self.beta1**self.istep)
        second = self._second / (1 - self.beta2**self.istep)
        self._codes = self._codes + self.lr * first / (np.sqrt(second) + _EPSILON)

    def _state(self, whole: bool) -> dict[str, Any]:
        return {
            "settings": settings_entry(self._settings()),
            "dtype": self.dtype.name,
            "istep": self.istep,
            "codes": self._codes.copy(),
            "first": self._first.copy(),
            "second": self._second.copy(),
        }

    def _load_state(self, state: Mapping[str, Any]) -> None:
        require_settings(state, self._settings())
        arrays = [array_entry(state, k, self._codes.shape) for k in ("codes", "first", "second")]
        self.istep = count_entry(state, "istep")
        self._codes, self._first, self._second = arrays

    def _settings(self) -> dict[str, Any]:
        names = ("space_dimen", "lr", "maximize", "beta1", "beta2", "n_asked")
        settings = {name: getattr(self, name) for name in names}
        return {"optimizer": type(self).__name__, **settings}

    def _population(self) -> FloatArray:
        return self._codes.copy()

    def _check_codes(self, codes: NDArray[Any]) -> None:
        raise UsageError("gradient ascent has no step_simple; use ask, and tell with gradients.")

    def _update(self, scores: FloatArray, codes: NDArray[Any] | None) -> None:
        raise UsageError("gradient ascent learns from gradients; give them to tell.")

    def _progress(self) -> str:
        return f"generation {self.istep}"


def _memory(value: float, name: str) -> float:
    if not 0 <= value < 1:
        raise UsageError(f"{name} is {value!r}; it must lie in 0 to 1, 1 excluded.")
    return float(value)

"""Optimisers of parts of a code, made to look like one optimiser of the whole code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.errors import UsageError
from core.utils.optimizers.arguments import (
    FLOAT32_ROUNDING,
    FloatArray,
    code_rows,
    require_finite,
    single_code,
)
from core.utils.optimizers.ask_tell import AskTellOptimizer
from core.utils.optimizers.state import array_entry, of_prefix
from core.utils.published_keywords import published_keywords


class concat_wrapper(AskTellOptimizer):
    """Two optimisers side by side: each searches its block of the code, both get every score.

    Parameters
    ----------
    first, second : AskTellOptimizer
        Optimisers of the leading and of the trailing dimensions, with equal populations.

    Raises
    ------
    UsageError
        If they ask for different numbers of codes, or one maximises and the other minimises.
    """

    @published_keywords(optim1="first", optim2="second", optimizer1="first", optimizer2="second")
    def __init__(self, first: AskTellOptimizer, second: AskTellOptimizer) -> None:
        if first.maximize != second.maximize:
            raise UsageError("one part maximises and the other minimises; give both one direction.")
        super().__init__()
        self.first, self.second = first, second
        self.space_dimen = first.space_dimen + second.space_dimen
        self.maximize = first.maximize
        self.dtype = np.result_type(first.dtype, second.dtype)

    def get_init_pop(self) -> NDArray[Any]:
        """Return the codes of generation 0, the blocks side by side."""
        return self._joined(self.first.get_init_pop(), self.second.get_init_pop())

    @property
    def n_asked(self) -> int:
        """Number of codes that wait for scores."""
        return self.first.n_asked

    def require_scores(self, scores: FloatArray) -> None:
        """Refuse a generation from which either part cannot learn."""
        self.first.require_scores(scores)
        self.second.require_scores(scores)

    def _state(self, whole: bool) -> dict[str, Any]:
        """Return the states of both parts, their entries prefixed by "first." and "second."."""
        return _prefixed(self.first, "first.", whole) | _prefixed(self.second, "second.", whole)

    def _load_state(self, state: Mapping[str, Any]) -> None:
        self.first._load_state(of_prefix(state, "first."))
        self.second._load_state(of_prefix(state, "second."))

    def _population(self) -> FloatArray:
        return self._joined(self.first._population(), self.second._population())

    def _joined(self, first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
        if len(first) != len(second):
            raise UsageError(
                f"the parts ask for {len(first)} and {len(second)} codes a generation; give both "
                "one population_size."
            )
        return np.hstack([first, second])

    def _check_codes(self, codes: NDArray[Any]) -> None:
        split = self.first.space_dimen
        self.first._check_codes(codes[:, :split])
        self.second._check_codes(codes[:, split:])

    def _update(self, scores: FloatArray, codes: NDArray[Any] | None) -> None:
        split = self.first.space_dimen
        self.first._update(scores, None if codes is None else codes[:, :split])
        self.second._update(scores, None if codes is None else codes[:, split:])

    def _progress(self) -> str:
        return f"first part {self.first._progress()}; second part {self.second._progress()}"

    def _reasons(self) -> dict[str, str]:
        """Return the reasons of both parts; one alone does not end the search."""
        first, second = self.first._reasons(), self.second._reasons()
        return {name: f"both parts: {first[name]}" for name in first if name in second}


class _Around(AskTellOptimizer):
    """What holds one optimiser, and passes on to it what it does not say itself."""

    def __init__(self, optimizer: AskTellOptimizer) -> None:
        super().__init__()
        self.optimizer = optimizer
        self.space_dimen, self.maximize = optimizer.space_dimen, optimizer.maximize
        self.dtype = optimizer.dtype

    @property
    def n_asked(self) -> int:
        """Number of codes that wait for scores."""
        return self.optimizer.n_asked

    def require_scores(self, scores: FloatArray) -> None:
        """Refuse a generation from which the optimiser inside cannot learn."""
        self.optimizer.require_scores(scores)

    def _progress(self) -> str:
        return self.optimizer._progress()

    def _reasons(self) -> dict[str, str]:
        return self.optimizer._reasons()


class fix_param_wrapper(_Around):
    """An optimiser of one block of the code; the other block stays.

    Parameters
    ----------
    optimizer : AskTellOptimizer
        Searches the free block.
    fixed_code : array-like, shape (n,) or (1, n)
        The block that every code shares.
    pre : bool, default True
        Whether the fixed block comes first.

    Raises
    ------
    UsageError
        If the fixed block is not one row of finite numbers.
    """

    def __init__(
        self, optimizer: AskTellOptimizer, fixed_code: ArrayLike, pre: bool = True
    ) -> None:
        super().__init__(optimizer)
        self.fixed_code = single_code(fixed_code, np.size(fixed_code), "fixed_code")
        self.pre = bool(pre)
        self.space_dimen += len(self.fixed_code)
        n_fixed, n_free = len(self.fixed_code), optimizer.space_dimen
        self._fixed = slice(0, n_fixed) if self.pre else slice(n_free, None)
        self._free = slice(n_fixed, None) if self.pre else slice(0, n_free)

    def get_init_pop(self) -> NDArray[Any]:
        """Return the codes of generation 0, with the fixed block."""
        return self._with_fixed(self.optimizer.get_init_pop()).astype(self.dtype, copy=False)

    def _state(self, whole: bool) -> dict[str, Any]:
        """Return the fixed block and the state of the free one, its entries prefixed by "free."."""
        fixed = {"fixed_code": self.fixed_code.copy(), "pre": int(self.pre)}
        return fixed | _prefixed(self.optimizer, "free.", whole)

    def _load_state(self, state: Mapping[str, Any]) -> None:
        saved = array_entry(state, "fixed_code", self.fixed_code.shape)
        if not np.array_equal(saved, self.fixed_code):
            raise UsageError(
                "the saved optimiser held another fixed_code; make this one with the same."
            )
        self.optimizer._load_state(of_prefix(state, "free."))

    def _population(self) -> FloatArray:
        return self._with_fixed(self.optimizer._population())

    def _with_fixed(self, free: NDArray[Any]) -> FloatArray:
        codes = np.empty((len(free), self.space_dimen))
        codes[:, self._fixed] = self.fixed_code
        codes[:, self._free] = free
        return codes

    def _check_codes(self, codes: NDArray[Any]) -> None:
        difference = np.abs(codes[:, self._fixed] - self.fixed_code)
        if not (difference <= FLOAT32_ROUNDING * np.abs(self.fixed_code).max(initial=0)).all():
            raise UsageError(
                "the fixed block of the codes is not fixed_code; score the codes as they were "
                "returned."
            )
        self.optimizer._check_codes(codes[:, self._free])

    def _update(self, scores: FloatArray, codes: NDArray[Any] | None) -> None:
        self.optimizer._update(scores, None if codes is None else codes[:, self._free])


class founder_wrapper(_Around):
    """An optimiser whose generation 0 is a population of founders, as in the paper's experiments.

    Parameters
    ----------
    optimizer : AskTellOptimizer
        One without a start of its own (``init_code=None``): it begins at the weighted mean of the
        best founders.
    founders : array-like, shape (n, space_dimen)
        Codes of generation 0, two or more.

    Raises
    ------
    UsageError
        If the optimiser has a start, or these are not two or more of its codes.
    """

    def __init__(self, optimizer: AskTellOptimizer, founders: ArrayLike) -> None:
        super().__init__(optimizer)
        codes = code_rows(founders, optimizer.space_dimen)
        require_finite(codes, "founders")
        if len(codes) < 2 or getattr(optimizer, "init_code", None) is not None:
            raise UsageError(
                f"{len(codes)} founders were given to {optimizer!r}; give two or more, to an "
                "optimiser that was made without init_code."
            )
        self.founders = codes.astype(np.float64)
        self._begun = False

    def get_init_pop(self) -> NDArray[Any]:
        """Return the founders."""
        return self.founders.astype(self.dtype)

    @property
    def n_asked(self) -> int:
        """Number of codes that wait for scores."""
        return self.optimizer.n_asked if self._begun else len(self.founders)

    def _state(self, whole: bool) -> dict[str, Any]:
        """Return the founders and the state of the search, prefixed by "search."."""
        own = {"founders": self.founders.copy(), "begun": int(self._begun)}
        return own | _prefixed(self.optimizer, "search.", whole)

    def _load_state(self, state: Mapping[str, Any]) -> None:
        saved = array_entry(state, "founders", self.founders.shape)
        if not np.array_equal(saved, self.founders):
            raise UsageError("the saved optimiser had other founders; give the same.")
        self.optimizer._load_state(of_prefix(state, "search."))
        self._begun = bool(array_entry(state, "begun", ()))

    def _population(self) -> FloatArray:
        return self.optimizer._population() if self._begun else self.founders.copy()

    def _check_codes(self, codes: NDArray[Any]) -> None:
        if self._begun:
            self.optimizer._check_codes(codes)
        elif not np.allclose(codes, self.founders, rtol=FLOAT32_ROUNDING):
            raise UsageError("these are not the founders; score them as they were returned.")

    def _update(self, scores: FloatArray, codes: NDArray[Any] | None) -> None:
        self.optimizer._update(scores, codes if self._begun else self.founders)
        self._begun = True


def _prefixed(optimizer: AskTellOptimizer, prefix: str, whole: bool) -> dict[str, Any]:
    return {prefix + key: value for key, value in optimizer._state(whole).items()}

"""What an optimiser accepts: a check returns the value in working form or says what is wrong."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from core.errors import UsageError

FloatArray = NDArray[np.float64]
RandomSource = np.random.Generator | np.random.RandomState

#: Codes that went through float32 are off by less than this share (2⁻²⁴ each, and some room).
FLOAT32_ROUNDING = 1e-6


def random_source(random_seed: Any) -> RandomSource:
    """Take a Generator or RandomState as it is; make a Generator of anything else.

    Raises
    ------
    UsageError
        If numpy accepts it as no seed.
    """
    if isinstance(random_seed, np.random.Generator | np.random.RandomState):
        return random_seed
    try:
        if isinstance(random_seed, bool):
            raise TypeError("a truth value")
        return np.random.default_rng(random_seed)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"random_seed is {random_seed!r}; give a whole number from 0 up, a numpy Generator or "
            "RandomState, or None for a seed from the operating system."
        ) from error


def code_rows(codes: ArrayLike, space_dimen: int) -> NDArray[Any]:
    """Return codes as an array (n_codes, space_dimen) of numbers.

    Raises
    ------
    UsageError
        If they are anything else.
    """
    try:
        rows = np.asarray(codes)
    except (TypeError, ValueError) as error:
        raise UsageError(f"codes are not an array of numbers: {error}") from error
    fits = rows.ndim == 2 and rows.shape[1] == space_dimen and len(rows) > 0
    if not fits or rows.dtype.kind not in "fiu":
        raise UsageError(
            f"codes are {rows.dtype} of shape {rows.shape}; "
            f"needed are numbers of shape (n_codes, {space_dimen})."
        )
    return rows


def single_code(code: ArrayLike, space_dimen: int, name: str) -> FloatArray:
    """Return one code as a vector of its own, from shape (space_dimen,) or (1, space_dimen).

    Raises
    ------
    UsageError
        If it has another shape or is not finite.
    """
    vector = np.array(code, dtype=np.float64)
    if vector.shape not in ((space_dimen,), (1, space_dimen)):
        raise UsageError(f"{name} has shape {vector.shape}; needed is one code of {space_dimen}.")
    require_finite(vector, name)
    return vector.reshape(space_dimen)


def scores_of(scores: ArrayLike, n_codes: int) -> FloatArray:
    """Return scores as float64 (n_codes,); NaN or None stands for a code that was not shown.

    Raises
    ------
    UsageError
        If they have another shape, are no real numbers, or one is infinite.
    """
    try:
        given = np.asarray(scores)
    except ValueError as error:
        raise UsageError(f"scores are not an array of numbers: {error}") from error
    if given.dtype == object and all(isinstance(s, Real | None) for s in given.ravel()):
        given = given.astype(np.float64)
    if given.dtype.kind not in "fiu":
        raise UsageError(
            f"scores are {given.dtype}; needed are real numbers, NaN where a code was not shown."
        )
    values = given.astype(np.float64)
    if values.shape != (n_codes,):
        raise UsageError(
            f"scores have shape {values.shape}; needed is one score per code, shape ({n_codes},), "
            "NaN where a code was not shown."
        )
    if np.isinf(values).any():
        raise UsageError(
            f"{np.isinf(values).sum()} scores are infinite, the first at index "
            f"{int(np.argmax(np.isinf(values)))}; give finite ones, NaN where a code was not shown."
        )
    return values


def require_finite(values: NDArray[Any], name: str) -> None:
    """Raise UsageError, saying where, if a value is NaN or infinite."""
    finite = np.isfinite(values)
    if not finite.all():
        place = tuple(map(int, np.argwhere(~finite)[0]))
        raise UsageError(
            f"{name} hold {(~finite).sum()} values that are NaN or infinite, the first at index "
            f"{place}; only finite numbers can be used."
        )


def whole_number(value: Any, least: int, name: str) -> int:
    """Return a count as an int.

    Raises
    ------
    UsageError
        If it is not a whole number of at least `least`.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise UsageError(f"{name} is {value!r}; it must be a whole number of at least {least}.")
    return int(value)


def positive_number(value: Any, name: str) -> float:
    """Return a positive finite number as a float.

    Raises
    ------
    UsageError
        If it is anything else.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not 0 < number < float("inf"):
        raise UsageError(f"{name} is {value!r}; it must be a positive finite number.")
    return number


def float_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    """Return the type of returned codes.

    Raises
    ------
    UsageError
        If it is neither float32 nor float64.
    """
    try:
        chosen = np.dtype(dtype)
    except TypeError as error:
        raise UsageError(f"dtype is {dtype!r}; it must be float32 or float64.") from error
    if chosen not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise UsageError(f"dtype is {chosen}; it must be float32 or float64.")
    return chosen

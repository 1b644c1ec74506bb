"""One grammar of units, for scorers, receptive fields, evolutions and sweeps.

=======================================  ==========================================================
``5``                                    a channel of a flat layer
``(3, 6, 6)``                            a unit of a map: channel, row, column; or a list, an array
``(7, 20)``                              a unit of a sequence: token, channel
``(3, slice(2, 5), 6)``                  the mean of the units of a slice
``[3, 5]``, ``[(3, 6, 6), (4, 6, 6)]``   several units, or several of anything in this table
boolean array                            the units of a mask of the layer's shape
``Centre(3)``                            the central unit of channel 3; ``Centre()``: of each
``Channel(3)``                           the mean of all of channel 3
``Mean(units)``                          the mean of several units
``WeightedSum(weights, units)``          their weighted sum; without units, of the whole layer
``Direction(weights, units)``            the same, with weights of norm 1
``Cosine(pattern, units)``               cosine between their responses and a pattern
=======================================  ==========================================================

A tuple means (channel, row, column) in every map, wherever its channels lie. Arrays (masks,
weights, patterns) look like the layer's output.

>>> from core.utils.layers.outputs import LayerOutput
>>> flat = LayerOutput("fc", (10,))
>>> select(WeightedSum([0.5, 0.5], [2, 3]), flat).read(torch.eye(10))[2:5]
tensor([0.5000, 0.5000, 0.0000])
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import index as whole_number
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional

from core.brief import brief
from core.errors import UsageError
from core.utils.layers.outputs import LayerOutput

__all__ = [
    "Centre",
    "Channel",
    "Cosine",
    "Direction",
    "Mean",
    "Reader",
    "Units",
    "WeightedSum",
    "flat_units",
    "masked_units",
    "select",
    "select_many",
    "subsample_mask",
]


class Reader(ABC):
    """Reads the responses of chosen units from the output of a layer.

    Attributes
    ----------
    count : int or None
        Responses to an image; None where it is a single number.
    """

    count: int | None = None

    @abstractmethod
    def read(self, output: Tensor) -> Tensor:
        """Return responses (n,), or (n, count), to n images from an output with images first."""

    def to(self, device: torch.device) -> Self:
        """Return the reader for outputs on a device."""
        moved = {
            name: value.to(device)
            for name, value in vars(self).items()
            if isinstance(value, Tensor | Reader)
        }
        return replace(self, **moved)  # type: ignore[type-var]


class Special(ABC):
    """What a table of units can hold besides indices and masks."""

    @abstractmethod
    def on(self, output: LayerOutput) -> Reader:
        """Return what reads it from a layer."""


#: Whatever the table above allows.
Units = int | slice | Sequence[Any] | NDArray[Any] | Tensor | Special


@dataclass(frozen=True)
class Picked(Reader):
    """Units by their places along the axes of the output: numbers for one, (k,) each for k."""

    index: tuple[int | Tensor, ...]

    @property
    def count(self) -> int | None:  # type: ignore[override]
        """Units that are read; None for a single one."""
        first = self.index[0] if self.index else 0
        return len(first) if isinstance(first, Tensor) else None

    def read(self, output: Tensor) -> Tensor:
        """Return their responses."""
        return output[(slice(None), *self.index)]

    def to(self, device: torch.device) -> Self:
        """Return the reader for outputs on a device."""
        axes = (axis.to(device) if isinstance(axis, Tensor) else axis for axis in self.index)
        return replace(self, index=tuple(axes))

    def __str__(self) -> str:
        return f"{self.count} units" if self.count is not None else "one unit"


@dataclass(frozen=True)
class _Averaged(Reader):
    """The mean over an index with slices, or over picked units."""

    index: tuple[int | slice, ...] = ()
    picked: Picked | None = None

    def read(self, output: Tensor) -> Tensor:
        found = self.picked.read(output) if self.picked else output[(slice(None), *self.index)]
        return found.reshape(len(output), -1).mean(dim=1)

    def __str__(self) -> str:
        return "a mean of units"


@dataclass(frozen=True)
class _Combined(Reader):
    """A weighted sum of units, or the cosine with a pattern of them."""

    weights: Tensor
    picked: Picked | None = None
    cosine: bool = False

    def read(self, output: Tensor) -> Tensor:
        found = self.picked.read(output) if self.picked else output.flatten(1)
        weights = self.weights.to(found)
        if self.cosine:
            return functional.cosine_similarity(found, weights[None], dim=1)
        return found @ weights

    def __str__(self) -> str:
        return "cosine to a pattern" if self.cosine else "a weighted sum of units"


@dataclass(frozen=True)
class _Several(Reader):
    """Several single responses, one after another."""

    readers: tuple[Reader, ...]

    @property
    def count(self) -> int | None:  # type: ignore[override]
        return len(self.readers)

    def read(self, output: Tensor) -> Tensor:
        return torch.stack([reader.read(output) for reader in self.readers], dim=1)

    def to(self, device: torch.device) -> Self:
        return replace(self, readers=tuple(reader.to(device) for reader in self.readers))

    def __str__(self) -> str:
        return f"{self.count} responses"


@dataclass(frozen=True)
class Centre(Special):
    """The central unit of a channel, at (rows // 2, columns // 2), or of every channel."""

    channel: int | None = None

    def on(self, output: LayerOutput) -> Reader:
        """Return what reads it from a layer."""
        if self.channel is None:
            return _many([output.centre(channel) for channel in range(output.channels)], output)
        _require_channel(self.channel, output)
        return Picked(_place(output.centre(self.channel), output))


@dataclass(frozen=True)
class Channel(Special):
    """The mean of all units of a channel."""

    channel: int

    def on(self, output: LayerOutput) -> Reader:
        """Return what reads it from a layer."""
        _require_channel(self.channel, output)
        whole: list[int | slice] = [slice(None)] * len(output.shape)
        whole[output.channel_axis or 0] = self.channel
        return _Averaged(tuple(whole))


@dataclass(frozen=True)
class Mean(Special):
    """The mean of several units, given as in the table."""

    units: Any

    def on(self, output: LayerOutput) -> Reader:
        """Return what reads it from a layer."""
        return _Averaged(picked=_picked(self.units, output))


@dataclass(frozen=True)
class WeightedSum(Special):
    """The weighted sum of several units, or of a whole layer.

    Attributes
    ----------
    weights : array
        One a unit; for a whole layer, of the shape of its output or one that broadcasts to it.
    units : optional
        Given as in the table; by default all.
    """

    weights: ArrayLike | Tensor
    units: Any = None

    __repr__ = brief

    def on(self, output: LayerOutput) -> Reader:
        """Return what reads it from a layer."""
        return _Combined(*_weights(self.weights, self.units, output))


@dataclass(frozen=True)
class Direction(Special):
    """The component of the responses along a direction: a weighted sum with weights of norm 1."""

    weights: ArrayLike | Tensor
    units: Any = None

    __repr__ = brief

    def on(self, output: LayerOutput) -> Reader:
        """Return what reads it from a layer."""
        weights, picked = _weights(self.weights, self.units, output)
        return _Combined(weights / _norm(weights), picked)


@dataclass(frozen=True)
class Cosine(Special):
    """The cosine between the responses and a pattern of responses."""

    pattern: ArrayLike | Tensor
    units: Any = None

    __repr__ = brief

    def on(self, output: LayerOutput) -> Reader:
        """Return what reads it from a layer."""
        pattern, picked = _weights(self.pattern, self.units, output)
        _norm(pattern)
        return _Combined(pattern, picked, cosine=True)


def select(units: Units, output: LayerOutput) -> Reader:
    """Turn units, given in any way of the table, into what reads them from a layer.

    Parameters
    ----------
    units : see the table above
    output : LayerOutput
        Of the layer.

    Returns
    -------
    Reader
        Its `read` gives (n,) for one unit, a mean, a sum or a cosine, (n, k) for several.

    Raises
    ------
    UsageError
        If the layer has no such unit, or the array does not fit; the message says its shape.
    """
    if isinstance(units, Special):
        return units.on(output)
    given = _plain(units)
    if isinstance(given, np.ndarray) and given.dtype == bool:
        return masked_units(given, output)
    if _is_many(given, output):
        return select_many(given, output)
    index = tuple(given) if isinstance(given, Sequence | np.ndarray) else (given,)
    if any(isinstance(part, slice) or part is Ellipsis for part in index):
        return _Averaged(_sliced(index, output))
    return Picked(_place(index, output))


def select_many(units: Sequence[Any] | NDArray[Any] | Tensor, output: LayerOutput) -> Reader:
    """Turn a sequence into what reads one response for each of its entries, in that order."""
    given = _plain(units)
    entries = list(given) if isinstance(given, Sequence | np.ndarray) else [given]
    if not entries:
        raise UsageError(f"no units of layer {output.layer!r} were given; give at least one.")
    if not any(map(_is_special, entries)):
        return _many(entries, output)
    readers = tuple(select(entry, output) for entry in entries)
    if any(reader.count is not None for reader in readers):
        raise UsageError("an entry of several units holds several again; give a plain sequence.")
    return _Several(readers)


def masked_units(mask: ArrayLike | Tensor, output: LayerOutput) -> Picked:
    """Select the units of a mask, in the order of the flattened layer.

    Parameters
    ----------
    mask : array
        Boolean, of the shape of the layer's output or flattened; or integer, numbers of units of
        the flattened output, in any order.
    output : LayerOutput

    Raises
    ------
    UsageError
        If the mask does not fit the layer, or selects nothing.
    """
    values = _plain(mask if isinstance(mask, Tensor | np.ndarray) else np.asarray(mask))
    n_units = int(np.prod(output.shape))
    if values.dtype == bool:
        if values.shape not in (output.shape, (n_units,)):
            raise UsageError(
                f"a mask of shape {values.shape} was given for layer {output.layer!r}, whose "
                f"output has shape {output.shape}; give a boolean mask of that shape, or numbers "
                "of units."
            )
        values = np.flatnonzero(values)
    return flat_units(values, output)


def flat_units(numbers: ArrayLike, output: LayerOutput) -> Picked:
    """Select units by their numbers in the flattened output, in any order; see `masked_units`."""
    values = np.asarray(numbers)
    n_units = int(np.prod(output.shape))
    if not np.issubdtype(values.dtype, np.integer):
        raise UsageError(
            f"a mask of type {values.dtype} was given for layer {output.layer!r}; give booleans, "
            "or the numbers of units in the flattened layer."
        )
    if values.size == 0 or values.min() < 0 or values.max() >= n_units:
        raise UsageError(
            f"the mask selects {values.size} units of layer {output.layer!r}"
            + (f", numbered {values.min()} to {values.max()}" if values.size else "")
            + f"; the layer has {n_units}, numbered from 0."
        )
    return _picked_at(np.unravel_index(values.ravel(), output.shape))


def subsample_mask(
    factor: int = 2, orig_size: tuple[int, int] = (21, 21)
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Choose every `factor`-th row and column of a grid, beginning with the first.

    Parameters
    ----------
    factor : int, default 2
    orig_size : tuple of int, default (21, 21)
        Rows and columns of the grid.

    Returns
    -------
    mask : numpy.ndarray of bool, shape `orig_size`
    indices : numpy.ndarray of int
        Where the mask is true in the flattened grid.

    Raises
    ------
    UsageError
        If `factor` is below 1.
    """
    if factor < 1:
        raise UsageError(f"factor {factor} was given; it must be 1 or more.")
    mask = np.zeros(orig_size, dtype=bool)
    mask[::factor, ::factor] = True
    return mask, np.flatnonzero(mask)


def _plain(units: Any) -> Any:
    """Return a tensor as an array, and a number without axes as a number."""
    if isinstance(units, Tensor):
        units = units.detach().cpu().numpy()
    return units.item() if isinstance(units, np.ndarray) and units.ndim == 0 else units


def _is_special(entry: Any) -> bool:
    parts = entry if isinstance(entry, Sequence | np.ndarray) else [entry]
    return any(isinstance(part, Special | slice) or part is Ellipsis for part in parts)


def _is_many(given: Any, output: LayerOutput) -> bool:
    """Tell several units from the numbers of one."""
    if isinstance(given, str) or not isinstance(given, Sequence | np.ndarray):
        return False
    if not len(given) or any(isinstance(p, Special | Sequence | np.ndarray) for p in given):
        return True
    return len(output.shape) == 1 and not isinstance(given, tuple)


def _place(unit: Any, output: LayerOutput) -> tuple[int, ...]:
    """Return the place of a unit along the axes of the output."""
    return output.index(_checked(unit, output))


def _many(units: Sequence[Any], output: LayerOutput) -> Picked:
    return _picked_at(np.transpose([_place(unit, output) for unit in units]))


def _picked_at(places: Sequence[NDArray[Any]] | NDArray[Any]) -> Picked:
    return Picked(tuple(_lasting(axis.astype(np.int64)) for axis in places))


def _picked(units: Any, output: LayerOutput) -> Picked:
    reader = select(units, output)
    if not isinstance(reader, Picked) or reader.count is None:
        raise UsageError(
            f"several units of layer {output.layer!r} are needed here; give a list of them, a "
            "mask, or Centre()."
        )
    return reader


def _checked(unit: Any, output: LayerOutput) -> tuple[int, ...]:
    """Return the numbers of a unit, which the layer has."""
    try:
        numbers = tuple(whole_number(number) for number in np.atleast_1d(np.asarray(unit)))
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"unit {unit!r} was given for layer {output.layer!r}; its numbers are whole ones."
        ) from error
    shape = output.unit_shape
    if len(numbers) == len(shape) and all(0 <= i < n for i, n in zip(numbers, shape, strict=True)):
        return numbers
    middle = ", ".join(str(length // 2) for length in shape)
    raise UsageError(
        f"unit {numbers if len(numbers) != 1 else numbers[0]} was given for layer "
        f"{output.layer!r}, whose output has shape {output.shape}; give {output.unit_axes} within "
        f"{shape}, such as ({middle})" + (", Centre(channel) or Channel(channel)."
                                          if len(shape) == 3 else ".")
    )


def _sliced(index: tuple[Any, ...], output: LayerOutput) -> tuple[int | slice, ...]:
    """Return an index with slices along the axes of the output, checked."""
    missing = len(output.shape) - len(index) + index.count(Ellipsis)
    if missing > 0 and Ellipsis not in index:
        index = (*index, *[slice(None)] * missing)
    elif Ellipsis in index:
        gap = index.index(Ellipsis)
        index = (*index[:gap], *[slice(None)] * missing, *index[gap + 1 :])
    try:
        placed = output.index(index)
        if not np.empty(output.shape, dtype=bool)[placed].size:
            raise IndexError("no units")
    except (IndexError, ValueError, TypeError) as error:
        raise UsageError(
            f"unit {index!r} was asked for; one output of {output.layer!r} has shape "
            f"{output.unit_shape}, {output.unit_axes}."
        ) from error
    return placed


def _weights(
    weights: ArrayLike | Tensor, units: Any, output: LayerOutput
) -> tuple[Tensor, Picked | None]:
    """Return one weight a unit, and the units; none for a whole layer."""
    values = np.asarray(_plain(weights), dtype=np.float64)
    picked = None if units is None else _picked(units, output)
    shape = output.shape if picked is None else (picked.count or 0,)
    try:
        spread = np.broadcast_to(values, shape)
    except ValueError as error:
        raise UsageError(
            f"weights of shape {values.shape} were given; "
            + (f"one output of {output.layer!r} has shape {shape}."
               if picked is None else f"{picked} were chosen.")
        ) from error
    if not np.isfinite(values).all():
        raise UsageError(f"weights for layer {output.layer!r} hold a NaN or an infinite number.")
    return _lasting(spread.ravel()), picked


def _norm(weights: Tensor) -> Tensor:
    norm = weights.norm()
    if norm == 0:
        raise UsageError("a direction of zeros was given; at least one weight differs from 0.")
    return norm


def _require_channel(channel: int, output: LayerOutput) -> None:
    if not 0 <= whole_number(channel) < output.channels:
        raise UsageError(
            f"channel {channel} was asked for; layer {output.layer!r} has {output.channels}, "
            "numbered from 0."
        )


def _lasting(values: NDArray[Any]) -> Tensor:
    """Return a tensor that gradients can use, also when it is made in inference mode."""
    with torch.inference_mode(False):
        return torch.from_numpy(np.array(values))

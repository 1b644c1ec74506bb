"""Which units of a layer are read: by index, as a list, or by a mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import index as whole_number
from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from core.errors import UsageError

#: One unit: a channel of a flat layer, or (channel, row, column) of a map.
Unit = int | Sequence[int]

_AXES = {1: "(channel,)", 2: "(token, feature)", 3: "(channel, row, column)"}


@dataclass(frozen=True)
class UnitSelection:
    """Units of one layer, as indices along the axes of its output.

    Attributes
    ----------
    index : tuple of int, or of torch.Tensor
        One entry per axis, without the batch; numbers for a single unit, tensors for many.
    """

    index: tuple[int | Tensor, ...]

    def read(self, activation: Tensor) -> Tensor:
        """Return the responses of the units, (n,) for a single one and (n, n_units) for many."""
        return activation[(slice(None), *self.index)]

    def to(self, device: torch.device) -> Self:
        """Return the selection for activations on a device."""
        axes = (axis.to(device) if isinstance(axis, Tensor) else axis for axis in self.index)
        return type(self)(tuple(axes))


def one_unit(unit: Unit, shape: tuple[int, ...], layer: str) -> UnitSelection:
    """Select a unit.

    Parameters
    ----------
    unit : int or sequence of int
        Its channel in a flat layer; channel, row and column in a map.
    shape : tuple of int
        Shape of the layer's output, without the batch.
    layer : str
        Its name, for the message.

    Raises
    ------
    UsageError
        If the layer has no such unit; the message says which shape it has.
    """
    return UnitSelection(_checked(unit, shape, layer))


def many_units(units: Sequence[Unit], shape: tuple[int, ...], layer: str) -> UnitSelection:
    """Select units in a given order; each as in `one_unit`."""
    if not len(units):
        raise UsageError(f"no units of layer {layer!r} were given; give at least one.")
    places = np.array([_checked(unit, shape, layer) for unit in units], dtype=np.int64)
    return UnitSelection(torch.from_numpy(places).unbind(dim=1))


def masked_units(mask: ArrayLike | Tensor, shape: tuple[int, ...], layer: str) -> UnitSelection:
    """Select the units of a mask, in the order of the flattened layer.

    Parameters
    ----------
    mask : array
        Boolean, of the layer's shape (or flattened); or integer, the numbers of the units in the
        flattened layer, in any order.
    shape, layer
        As in `one_unit`.

    Raises
    ------
    UsageError
        If the mask does not fit the layer, or selects nothing.
    """
    values = mask.detach().cpu().numpy() if isinstance(mask, Tensor) else np.asarray(mask)
    n_units = int(np.prod(shape))
    if values.dtype == bool:
        if values.shape != shape and values.shape != (n_units,):
            raise UsageError(
                f"a mask of shape {values.shape} was given for layer {layer!r}, whose output has "
                f"shape {shape}; give a boolean mask of that shape, or numbers of units."
            )
        values = np.flatnonzero(values)
    elif not np.issubdtype(values.dtype, np.integer):
        raise UsageError(
            f"a mask of type {values.dtype} was given for layer {layer!r}; give booleans, or the "
            "numbers of units in the flattened layer."
        )
    if values.size == 0 or values.min() < 0 or values.max() >= n_units:
        raise UsageError(
            f"the mask selects {values.size} units of layer {layer!r}"
            + (f", numbered {values.min()} to {values.max()}" if values.size else "")
            + f"; the layer has {n_units}, numbered from 0."
        )
    places = np.unravel_index(values.ravel(), shape)
    return UnitSelection(tuple(torch.from_numpy(axis.astype(np.int64)) for axis in places))


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


def _checked(unit: Unit, shape: tuple[int, ...], layer: str) -> tuple[int, ...]:
    try:
        index = tuple(whole_number(i) for i in np.atleast_1d(np.asarray(unit)))
    except TypeError as error:
        raise UsageError(
            f"unit {unit!r} was given for layer {layer!r}; its numbers are whole ones."
        ) from error
    if len(index) == len(shape) and all(0 <= i < n for i, n in zip(index, shape, strict=True)):
        return index
    centre = ", ".join(str(n // 2) for n in shape)
    raise UsageError(
        f"unit {index if len(index) > 1 else index[0]} was given for layer {layer!r}, whose output "
        f"has shape {shape}; give {_AXES.get(len(shape), 'one number per axis')} within it, such "
        f"as ({centre})."
    )

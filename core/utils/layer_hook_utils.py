"""Layers by name: tables of them, hooks on them, and walks over the modules of a network.

To record activations, `core.utils.layers.record.record` is the short way; the fetchers keep their
hooks until they are cleaned up, or to the end of their ``with`` block.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from core.published_names import door
from core.utils.layers.fetchers import (
    featureFetcher,
    featureFetcher_module,
    featureFetcher_recurrent,
)
from core.utils.layers.names import find_layer
from core.utils.layers.record import Recorder, record
from core.utils.layers.tables import get_module_name_shapes, get_module_names
from core.utils.scoring.readable_layers import READABLE

__all__ = [
    "featureFetcher",
    "featureFetcher_module",
    "featureFetcher_recurrent",
    "get_layer_names",
    "get_module_name_shapes",
    "get_module_names",
    "layername_dict",
    "named_apply",
    "print_specific_layer",
    "record",
    "recursive_named_apply",
    "recursive_named_apply_w_depth",
    "recursive_print",
    "register_hook_by_module_name",
    "register_hook_by_module_names",
]

#: Readable names of the layers of some networks, in order, as the published code lists them.
layername_dict = {name: list(layers) for name, layers in READABLE.items()}

#: Called by torch as ``hook(layer, inputs, output)``.
Hook = Callable[[nn.Module, tuple[Any, ...], Any], Any]
_IMAGE_SIZE = (3, 256, 256)


def get_layer_names(model: nn.Module) -> list[str]:
    """Return the dotted names of all layers, in the order in which they are defined."""
    return [path for path, _ in model.named_modules() if path]


@overload
def register_hook_by_module_name(model: nn.Module, layer_name: str) -> Recorder: ...
@overload
def register_hook_by_module_name(
    model: nn.Module, layer_name: str, hook: Hook
) -> RemovableHandle: ...
def register_hook_by_module_name(
    model: nn.Module, layer_name: str, hook: Hook | None = None
) -> Recorder | RemovableHandle:
    """Put a hook on a layer that is given by name.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    layer_name : str
        Published (``".layer2.Bottleneck3"``) or dotted (``"layer2.3"``) name.
    hook : callable, optional
        Called as ``hook(layer, inputs, output)`` whenever the layer has run. By default the
        output is recorded.

    Returns
    -------
    Recorder or torch.utils.hooks.RemovableHandle
        Without `hook` a recorder, which has the activation under `layer_name`; otherwise torch's
        handle. Both are context managers and have ``remove()``.

    Raises
    ------
    UsageError
        If the network has no such layer; the message lists the nearest names.
    """
    if hook is None:
        return record(model, [layer_name]).attach()
    return model.get_submodule(find_layer(model, layer_name)).register_forward_hook(hook)


def register_hook_by_module_names(
    target_name: str,
    target_hook: Hook,
    model: nn.Module,
    input_size: Sequence[int] = _IMAGE_SIZE,
    device: str | torch.device | None = None,
) -> tuple[list[RemovableHandle], dict[str, str], dict[str, str]]:
    """Put a hook on a layer, and name all layers on the way.

    Parameters
    ----------
    target_name : str
        Published or dotted name of the layer.
    target_hook : callable
        Called as ``hook(layer, inputs, output)`` whenever the layer has run.
    model : torch.nn.Module
        The network.
    input_size, device
        As in `get_module_names`.

    Returns
    -------
    handles : list of torch.utils.hooks.RemovableHandle
        One handle, also for a layer that is used several times.
    names, types : dict
        As `get_module_names`.

    Raises
    ------
    UsageError
        If the network has no such layer, or cannot run on inputs of that size.
    """
    find_layer(model, target_name)
    names, types, _ = get_module_names(model, input_size, device, show=False)
    return [register_hook_by_module_name(model, target_name, target_hook)], names, types


def named_apply(
    model: nn.Module,
    name: str,
    func: Callable[[nn.Module, str, str], Any],
    prefix: str | None = None,
) -> None:
    """Call ``func(module, name, prefix)`` for a module and all modules in it, innermost first.

    `prefix` is the published one: ``""`` for the root and for its children, the dotted path of
    the parent, with a leading dot, for those below.
    """
    recursive_named_apply_w_depth(
        model, name, lambda module, own_name, path, _: func(module, own_name, path), prefix=prefix
    )


recursive_named_apply = named_apply


def recursive_named_apply_w_depth(
    model: nn.Module,
    name: str,
    func: Callable[[nn.Module, str, str, int], Any],
    depth: int = 0,
    prefix: str | None = None,
) -> None:
    """Call ``func(module, name, prefix, depth)`` as `named_apply` does; the root has depth 0."""
    inner_prefix = "" if prefix is None else f"{prefix}.{name}"
    for child_name, child in model.named_children():
        recursive_named_apply_w_depth(child, child_name, func, depth + 1, inner_prefix)
    func(model, name, prefix or "", depth)


def recursive_print(module: nn.Module, prefix: str = "", depth: int = 0, deepest: int = 3) -> None:
    """Write the tree of modules to standard output, `deepest` levels of it."""
    sys.stdout.writelines(f"{line}\n" for line in _tree(module, prefix, depth, deepest))


def print_specific_layer(
    module: nn.Module, name: str, prefix: str = "", depth: int = 0, deepest: int = 3
) -> None:
    """Write the tree of one layer, given by its published or dotted name.

    Raises
    ------
    UsageError
        If the network has no such layer.
    """
    recursive_print(module.get_submodule(find_layer(module, name)), prefix, depth, deepest)


def _tree(module: nn.Module, prefix: str, depth: int, deepest: int) -> Iterator[str]:
    if depth == 0:
        yield f"[{type(module).__name__}]"
    if depth >= deepest:
        return
    for name, child in module.named_children():
        is_leaf = next(child.children(), None) is None
        yield f"{prefix}({name}): {child if is_leaf else type(child).__name__}"
        yield from _tree(child, prefix + "  ", depth + 1, deepest)


if not TYPE_CHECKING:
    __getattr__ = door(__name__)

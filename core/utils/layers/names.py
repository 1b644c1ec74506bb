"""What a layer is called: the published scheme and plain dotted names, both for every network.

A layer at ``layer2.3.conv1`` is ``.layer2.3.Conv2dconv1`` in the published scheme: the path of its
parent, then its class and its own name. Containers (Sequential, ModuleList) go by their own name
alone, and the network itself by its class.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from core.errors import UsageError, choose_from

#: Classes that add nothing to a published name.
_CONTAINERS = frozenset({"Sequential", "ModuleList", "Container"})

#: Shape of a tensor; ``(None,)`` where a layer takes or returns something else.
Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class LayerCall:
    """One call of one layer during a forward pass.

    Attributes
    ----------
    path : str
        Plain dotted name, such as ``"layer2.3.conv1"``; ``""`` for the network itself.
    name : str
        Published name, such as ``".layer2.3.Conv2dconv1"``.
    type_name : str
        Class of the layer.
    input_shape, output_shape : tuple
        With the batch; ``(None,)`` for something that is not one tensor.
    """

    path: str
    name: str
    type_name: str
    input_shape: Shape
    output_shape: Shape


def published_name(path: str, layer: nn.Module) -> str:
    """Return the published name of the layer at a dotted path."""
    parent, _, own_name = path.rpartition(".")
    type_name = type(layer).__name__
    label = own_name if path and type_name in _CONTAINERS else type_name + own_name
    return f".{parent}.{label}" if parent else f".{label}"


def layer_paths(model: nn.Module) -> dict[str, str]:
    """Map every name that a layer answers to, published or dotted, to its dotted path."""
    paths: dict[str, str] = {}
    for path, layer in model.named_modules(remove_duplicate=False):
        paths.setdefault(published_name(path, layer), path)
    dotted = {path: path for path, _ in model.named_modules(remove_duplicate=False) if path}
    return dotted | paths


def find_layer(model: nn.Module, name: str) -> str:
    """Return the dotted path of a layer.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    name : str
        A published name (``".layer2.Bottleneck3"``) or a plain dotted one (``"layer2.3"``).

    Raises
    ------
    UsageError
        If the network has no such layer; the message lists the nearest names.
    """
    paths = layer_paths(model)
    if name in paths:
        return paths[name]
    is_published = str(name).startswith(".")
    own_scheme_first = sorted(paths, key=lambda known: known.startswith(".") != is_published)
    raise UsageError(choose_from(name, own_scheme_first, f"layer of {type(model).__name__}"))


def trace_layers(model: nn.Module, *inputs: Tensor) -> list[LayerCall]:
    """Run one forward pass and tell which layers ran, in the order in which they finished.

    The network runs in evaluation mode and without gradients; its mode is restored. A layer that
    is used several times appears several times.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    *inputs : torch.Tensor
        What its forward pass takes.

    Raises
    ------
    UsageError
        If the network cannot run on inputs of that shape.
    """
    calls: list[LayerCall] = []
    handles = [
        layer.register_forward_hook(_note(calls, path, published_name(path, layer)))
        for path, layer in model.named_modules()
    ]
    try:
        with evaluation_mode(model), torch.no_grad():
            model(*inputs)
    except (RuntimeError, ValueError, TypeError, AssertionError) as error:
        shapes = " and ".join(str(tuple(tensor.shape)) for tensor in inputs)
        raise UsageError(
            f"{type(model).__name__} cannot run on an input of shape {shapes}: {error} "
            "Give the input size that the network takes."
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    return calls


def dummy_inputs(
    model: nn.Module,
    input_size: Sequence[int] | Sequence[Sequence[int]],
    device: str | torch.device | None = None,
) -> list[Tensor]:
    """Return seeded inputs, two of each, of the sizes that a network takes.

    Parameters
    ----------
    model : torch.nn.Module
        The network; tells device and floating-point type.
    input_size : tuple of int, or sequence of such tuples
        Size of one input, without the batch; several sizes for a network of several inputs.
    device : str or torch.device, optional
        Where to put them; by default where the network is.
    """
    sizes = [input_size] if isinstance(input_size[0], int) else input_size
    first = next(model.parameters(), torch.empty(0))
    source = torch.Generator().manual_seed(0)
    return [
        torch.rand((2, *size), generator=source).to(device or first.device, first.dtype)  # type: ignore[misc]
        for size in sizes
    ]


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Set a network to evaluation mode for the length of a block, layer by layer."""
    trained = [layer for layer in model.modules() if layer.training]
    model.eval()
    try:
        yield
    finally:
        for layer in trained:
            layer.training = True


def _note(calls: list[LayerCall], path: str, name: str) -> Any:
    def hook(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        first_input = inputs[0] if inputs else None
        type_name = type(layer).__name__
        calls.append(LayerCall(path, name, type_name, _shape(first_input), _shape(output)))

    return hook


def _shape(value: Any) -> Shape:
    return tuple(value.shape) if isinstance(value, Tensor) else (None,)

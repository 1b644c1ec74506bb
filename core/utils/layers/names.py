"""What a layer is called: the published scheme and plain dotted names, both for every network.

A layer at ``layer2.3.conv1`` is ``.layer2.3.Conv2dconv1`` in the published scheme: the path of its
parent, then its class and its own name. Containers (Sequential, ModuleList and their subclasses) go
by their own name alone, and the network itself by its class.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from core.errors import UsageError, choose_from
from core.utils.layers.outputs import elements_of

#: Classes that add nothing to a published name.
_CONTAINERS = (nn.Sequential, nn.ModuleList)

#: What torch.compile puts before the names of a network.
_COMPILED = "_orig_mod"

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
    element_shapes : dict
        Of the elements of a tuple, list or mapping, by number or name.
    """

    path: str
    name: str
    type_name: str
    input_shape: Shape
    output_shape: Shape
    element_shapes: dict[str, Shape] = field(default_factory=dict)


def published_name(path: str, layer: nn.Module) -> str:
    """Return the published name of the layer at a dotted path."""
    return _name(path, layer, own_name_alone=isinstance(layer, _CONTAINERS))


def _name(path: str, layer: nn.Module, *, own_name_alone: bool) -> str:
    parent, _, own_name = path.rpartition(".")
    label = own_name if path and own_name_alone else type(layer).__name__ + own_name
    return f".{parent}.{label}" if parent else f".{label}"


def layer_paths(model: nn.Module) -> dict[str, list[str]]:
    """Map every name that a layer answers to, published or dotted, to its dotted paths.

    A subclass of a container also answers to a name with its class. A name of several paths is
    ambiguous; a name of one scheme is not looked for in the next.
    """
    found: dict[str, list[str]] = {}
    for scheme in (_dotted_name, published_name, _name_with_class):
        of_scheme: dict[str, list[str]] = {}
        for path, layer in model.named_modules(remove_duplicate=False):
            if name := scheme(path, layer):
                of_scheme.setdefault(name, []).append(path)
        found = of_scheme | found
    return found


def _dotted_name(path: str, layer: nn.Module) -> str:
    return path


def _name_with_class(path: str, layer: nn.Module) -> str:
    return _name(path, layer, own_name_alone=False) if isinstance(layer, _CONTAINERS) else ""


def find_layer(
    model: nn.Module, name: str, known: Mapping[str, Sequence[str]] | None = None
) -> str:
    """Return the dotted path of a layer.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    name : str
        A published name (``".layer2.Bottleneck3"``) or a plain dotted one (``"layer2.3"``).
    known : mapping, optional
        Of `layer_paths`, where many layers of one network are looked up.

    Raises
    ------
    UsageError
        If the network has no such layer; the message lists the nearest names.
    """
    if not isinstance(name, str):
        raise UsageError(f"layer {name!r} was given; the name of a layer is a text, such as '0'.")
    model = plain_network(model)
    paths = layer_paths(model) if known is None else known
    found = paths.get(name, [])
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(
            f"layer {name!r} may be {' or '.join(map(repr, found))}; give one of these names."
        )
    is_published = name.startswith(".")
    own_scheme_first = sorted(paths, key=lambda known: known.startswith(".") != is_published)
    raise UsageError(choose_from(name, own_scheme_first, f"layer of {type(model).__name__}"))


def plain_network(model: nn.Module) -> nn.Module:
    """Return a network whose layers can be named and hooked: of a compiled one, the original.

    Raises
    ------
    UsageError
        If it was scripted or traced, so that its layers are hidden.
    """
    if isinstance(model, torch.jit.ScriptModule):
        raise UsageError(
            "the layers of a scripted or traced network are hidden; give the module that it was "
            "made from."
        )
    original = getattr(model, _COMPILED, model)
    return original if isinstance(original, nn.Module) else model


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
    model = plain_network(model)
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
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UsageError(
            f"{type(model).__name__} cannot run on an input of shape {shapes}: {reason}. "
            "Give the input size that the network takes; a scorer takes imgpix= and, for other "
            "channels than RGB, mean= and std= with one number for each."
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    return calls


def dummy_inputs(
    model: nn.Module,
    input_size: Sequence[int] | Sequence[Sequence[int]],
    device: str | torch.device | None = None,
    count: int = 2,
) -> list[Tensor]:
    """Return seeded inputs of the sizes that a network takes, two of each or `count`.

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
        torch.rand((count, *size), generator=source).to(device or first.device, first.dtype)  # type: ignore[misc]
        for size in sizes
    ]


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Set a network to evaluation mode for the length of a block, layer by layer."""
    trained = [layer for layer in model.modules() if layer.training]
    if trained:
        model.eval()
    try:
        yield
    finally:
        for layer in trained:
            layer.training = True


@contextmanager
def measured(network: nn.Module) -> Iterator[None]:
    """Hold a network in evaluation mode, its weights out of the graph, for the length of a block.

    Its mode and what it asks of its weights are given back.
    """
    learning = [weight for weight in network.parameters() if weight.requires_grad]
    try:
        for weight in learning:
            weight.requires_grad_(False)
        with evaluation_mode(network):
            yield
    finally:
        for weight in learning:
            weight.requires_grad_(True)


def _note(calls: list[LayerCall], path: str, name: str) -> Any:
    def hook(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        first_input = inputs[0] if inputs else None
        type_name = type(layer).__name__
        elements = {key: _shape(value) for key, value in elements_of(output).items()}
        shapes = _shape(first_input), _shape(output)
        calls.append(LayerCall(path, name, type_name, *shapes, elements))

    return hook


def _shape(value: Any) -> Shape:
    return tuple(value.shape) if isinstance(value, Tensor) else (None,)

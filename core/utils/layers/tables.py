"""Tables of layers: what runs in a forward pass, in which order, with which shapes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from core.utils.layers.names import LayerCall, Shape, dummy_inputs, trace_layers

#: Names, classes and shapes under the keys "0", "1", … in order of execution; "0" is the image.
LayerTable = tuple[dict[str, str], dict[str, str], dict[str, dict[str, Shape]]]


def get_module_names(
    model: nn.Module,
    input_size: Sequence[int] | Sequence[Sequence[int]],
    device: str | torch.device | None = None,
    show: bool = True,
) -> LayerTable:
    """Name every layer that runs, in the order of a forward pass.

    Parameters
    ----------
    model : torch.nn.Module
        The network. It runs once, in evaluation mode, on two random inputs.
    input_size : tuple of int, or sequence of such tuples
        Size of one input without the batch, such as ``(3, 227, 227)``.
    device : str or torch.device, optional
        Where the inputs are made; by default where the network is.
    show : bool, default True
        Write the table to standard output.

    Returns
    -------
    names, types, spec : dict
        Keyed "0", "1", … in order of execution (a layer comes after the layers inside it); "0" is
        the image. ``spec[key]`` has ``"inshape"`` and ``"outshape"``, without the batch, and
        ``(None,)`` for what is not one tensor. A layer that is used several times appears several
        times.

    Raises
    ------
    UsageError
        If the network cannot run on inputs of that size.
    """
    inputs = dummy_inputs(model, input_size, device)
    calls = [
        replace(
            call,
            input_shape=_unbatched(call.input_shape),
            output_shape=_unbatched(call.output_shape),
        )
        for call in (_image(inputs[0]), *trace_layers(model, *inputs))
    ]
    if show:
        sys.stdout.write(_as_text(calls))
    return _as_table(calls)


def get_module_name_shapes(
    model: nn.Module,
    inputs_list: Sequence[Tensor],
    hook_root_module: nn.Module | None = None,
    hook_root_prefix: str = "",
    deepest: int = 3,
    show: bool = True,
    show_input: bool = True,
) -> LayerTable:
    """Name the layers of a network, or of a part of it, down to a depth, with their shapes.

    Parameters
    ----------
    model : torch.nn.Module
        The network; it runs once, in evaluation mode, on `inputs_list`.
    inputs_list : sequence of torch.Tensor
        What its forward pass takes.
    hook_root_module : torch.nn.Module, optional
        A part of the network to report on; by default all of it.
    hook_root_prefix : str
        Put before each name.
    deepest : int, default 3
        Layers more than this many levels below the root are left out.
    show : bool, default True
        Write the table to standard output.
    show_input : bool, default True
        With the shapes of inputs.

    Returns
    -------
    names, types, spec : dict
        As `get_module_names`, but with plain attribute names (the root has the prefix alone) and
        with the batch in the shapes.

    Raises
    ------
    UsageError
        If the network cannot run on these inputs.
    """
    root = model if hook_root_module is None else hook_root_module
    in_root = {layer: path for path, layer in root.named_modules() if _depth(path) <= deepest}
    of_path = dict(model.named_modules())
    calls = [
        replace(call, name=hook_root_prefix + in_root[of_path[call.path]])
        for call in trace_layers(model, *inputs_list)
        if of_path[call.path] in in_root
    ]
    calls.insert(0, _image(inputs_list[0]))
    if show:
        sys.stdout.write(_as_text(calls, with_input=show_input))
    return _as_table(calls)


def _image(image: Tensor) -> LayerCall:
    shape = tuple(image.shape)
    return LayerCall("", "Image", "Input", shape, shape)


def _unbatched(shape: Shape) -> Shape:
    return shape if shape == (None,) else shape[1:]


def _depth(path: str) -> int:
    return path.count(".") + 1 if path else 0


def _as_table(calls: Sequence[LayerCall]) -> LayerTable:
    numbered = [(str(number), call) for number, call in enumerate(calls)]
    return (
        {key: call.name for key, call in numbered},
        {key: call.type_name for key, call in numbered},
        {
            key: {"inshape": call.input_shape, "outshape": call.output_shape}
            for key, call in numbered
        },
    )


def _as_text(calls: Sequence[LayerCall], *, with_input: bool = True) -> str:
    rows = [["", "layer", "class", "output", "input"]]
    rows += [
        [str(number), call.name, call.type_name, str(call.output_shape), str(call.input_shape)]
        for number, call in enumerate(calls)
    ]
    columns = list(zip(*rows, strict=True))[: 5 if with_input else 4]
    padded = [[cell.ljust(max(map(len, column))) for cell in column] for column in columns]
    return "".join("  ".join(row).rstrip() + "\n" for row in zip(*padded, strict=True))

"""Run a network on two and on three images, and tell of each layer what its output means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import torch
from torch import nn

from core.errors import UsageError, choose_from
from core.utils.layers.names import (
    LayerCall,
    Shape,
    dummy_inputs,
    find_layer,
    layer_paths,
    trace_layers,
)
from core.utils.layers.outputs import (
    PROBES,
    LayerOutput,
    channel_axis_of,
    diagonal_images,
    image_axis_of,
    moved_axis,
    split_element,
)
from core.utils.layers.record import record

#: Axis of the channels of all layers, or of some by name; counted without that of the images.
ChannelAxis = int | Mapping[str, int]


class LayerProbe:
    """What the layers of a network return to images of a size.

    Parameters
    ----------
    model : torch.nn.Module
        It runs in evaluation mode and is left as it was.
    input_shape : tuple of int
        (channels, rows, columns).
    device : str or torch.device, optional
        Where the images are made; by default where the network is.
    channel_axis : int or mapping of str to int, optional
        Overrides what is found, for all layers or by name; counted without that of the images.
    """

    def __init__(
        self,
        model: nn.Module,
        input_shape: Sequence[int],
        device: str | torch.device | None = None,
        channel_axis: ChannelAxis | None = None,
    ) -> None:
        self._model, self._input_shape, self._device = model, tuple(input_shape), device
        self._channel_axis = channel_axis

    @cached_property
    def calls(self) -> list[LayerCall]:
        """Every call of every layer in a pass of two images, in order of execution."""
        return self._trace(PROBES[0])

    @cached_property
    def _later_calls(self) -> dict[str, LayerCall]:
        """The last call of every layer in a pass of three images, by path."""
        return {call.path: call for call in self._trace(PROBES[1])}

    def path_of(self, name: str) -> str:
        """Return the dotted path under which a layer stands in `calls`.

        Raises
        ------
        UsageError
            If there is no such layer.
        """
        module = self._model.get_submodule(find_layer(self._model, name, self._known))
        return self._path_in_trace[module]

    @cached_property
    def _known(self) -> dict[str, list[str]]:
        return layer_paths(self._model)

    @cached_property
    def _path_in_trace(self) -> dict[nn.Module, str]:
        """The first path of each module; a shared one is traced under it."""
        return {module: path for path, module in self._model.named_modules()}

    def output(self, name: str, path: str | None = None) -> LayerOutput:
        """Describe the output of a layer; of one that runs several times, of its last call.

        Parameters
        ----------
        name : str
            Published or dotted name, perhaps with an element, ``"attention[1]"``.
        path : str, optional
            Its dotted path, if `name` is another name for it.

        Raises
        ------
        UsageError
            If there is no such layer, it does not run, returns no tensor, or no axis of its output
            counts the images.
        """
        layer, element = split_element(name)
        path = self.path_of(layer) if path is None else path
        calls = [call for call in self.calls if call.path == path]
        if not calls:
            running = dict.fromkeys(call.name for call in self.calls)
            raise UsageError(
                f"layer {name!r} exists, but does not run in a forward pass: "
                + choose_from(layer, running, "running layer")
            )
        call, later = calls[-1], self._later_calls[path]
        if element is None and call.element_shapes:
            element = next(iter(call.element_shapes))
        shape = _shape_of(call, element, name)
        image_axis = image_axis_of([shape, _shape_of(later, element, name)], name)
        own = tuple(length for axis, length in enumerate(shape) if axis != image_axis)
        output = LayerOutput(name, own, image_axis, self._given_axis(name, own), element)
        if output.channel_axis is not None:
            return output
        return LayerOutput(name, own, image_axis, self._found_axis(path, output), element)

    def _given_axis(self, name: str, shape: tuple[int, ...]) -> int | None:
        given = self._channel_axis
        axis = given.get(name) if isinstance(given, Mapping) else given
        if axis is None or not shape:
            return None
        if not -len(shape) <= axis < len(shape):
            raise UsageError(
                f"channel_axis {axis} was given; the output of layer {name!r} has shape {shape}."
            )
        return axis % len(shape)

    def _found_axis(self, path: str, output: LayerOutput) -> int | None:
        rows_and_columns = self._input_shape[-2:]
        module = self._model.get_submodule(path)
        axis = channel_axis_of(output.shape, module, (rows_and_columns[0], rows_and_columns[-1]))
        if axis is not None or len(output.shape) != 3:
            return axis
        first = dummy_inputs(self._model, self._input_shape, self._device, count=1)[0][0]
        read = {"output": output.images_first}
        elements = {} if output.element is None else {"output": output.element}
        with record(self._model, {"output": module}, read=read, elements=elements) as recorder:
            return moved_axis(recorder.run(diagonal_images(first))["output"])

    def _trace(self, count: int) -> list[LayerCall]:
        images = dummy_inputs(self._model, self._input_shape, self._device, count)
        return trace_layers(self._model, *images)


def _shape_of(call: LayerCall, element: str | None, name: str) -> tuple[int, ...]:
    """Return the shape of a layer's output, or of an element of it."""
    shape: Shape = call.output_shape
    if element is not None:
        if element not in call.element_shapes:
            raise UsageError(
                f"layer {name!r} has no element {element!r}; its elements: "
                f"{', '.join(call.element_shapes) or 'none, it returns one tensor'}."
            )
        shape = call.element_shapes[element]
    if shape == (None,):
        raise UsageError(f"layer {name!r} does not return a tensor there; choose one inside it.")
    return tuple(int(length or 0) for length in shape)

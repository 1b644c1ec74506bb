"""Record what chosen layers of a network return, and leave no hook behind.

>>> from torch import nn
>>> net = nn.Sequential(nn.Linear(3, 2), nn.ReLU(inplace=True), nn.Linear(2, 1))
>>> with record(net, ["0"]) as activations:
...     scores = net(torch.ones(5, 3))
>>> activations["0"].shape
torch.Size([5, 2])

``activations.run(images)`` in place of ``net(images)`` ends the forward pass as soon as every
recorded layer has run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from core.errors import UsageError
from core.utils.layers.names import evaluation_mode, find_layer, plain_network
from core.utils.layers.outputs import element_of, split_element

#: What is kept of a layer's output: a smaller tensor, such as the responses of a few units.
Read = Callable[[Tensor], Tensor]


class Recorder(Mapping[str, Any]):
    """Record layers for the length of a ``with`` block: a mapping from keys to activations.

    Activations are of the latest forward pass; they stay readable after the block, the hooks do not
    stay. An activation is what the layer itself returned: it is copied where an operation that
    follows in the same forward pass (an in-place rectifier, ``out += identity``) could still change
    it.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    layers : iterable of str, or mapping
        Names of layers, published (``".layer2.Bottleneck3"``) or dotted (``"layer2.3"``), which
        are also the keys of the activations; or a mapping from keys to names or modules. A name
        may end in an element of what the layer returns, ``"attention[1]"``.
    read : mapping of str to callable, optional
        By key: what to keep of the output, at once, instead of all of it; of a layer that returns
        several things, of the first or the one that is named. Of a layer that runs several times,
        an output that cannot be read matters only if it is the last one.
    keep_graph : bool, default False
        Keep activations in the graph, for gradients. Otherwise they are detached.
    every_call : bool, default False
        Keep a list of the outputs of all calls of a layer in one forward pass. Otherwise a layer
        that is used several times leaves its last output.
    calls : mapping of str to int, optional
        By key: how often the layer runs in one forward pass. Where it is not given, the first
        `Recorder.run` goes to the end of the network to count.
    elements : mapping of str to str, optional
        By key: the element that is meant, where the layer is given as a module.

    Raises
    ------
    UsageError
        If the network has no such layer.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Iterable[str] | Mapping[str, str | nn.Module],
        *,
        read: Mapping[str, Read] | None = None,
        keep_graph: bool = False,
        every_call: bool = False,
        calls: Mapping[str, int] | None = None,
        elements: Mapping[str, str] | None = None,
    ) -> None:
        self._model = plain_network(model)
        named = layers if isinstance(layers, Mapping) else {name: name for name in layers}
        self._layers = {key: _module(self._model, layer) for key, layer in named.items()}
        self._read = dict(read or {})
        self._elements = _elements_named(named) | dict(elements or {})
        self._keep_graph = keep_graph
        self._every_call = every_call
        self._calls = Counter(calls) if calls is not None else None
        self._counts: Counter[str] = Counter()
        self._stopping = False
        self._activations: dict[str, Any] = {}
        self._handles: list[RemovableHandle] = []

    def __getitem__(self, key: str) -> Any:
        found = self._activations[key]
        if isinstance(found, _Unread):
            raise found.error
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._activations)

    def __len__(self) -> int:
        return len(self._activations)

    def __enter__(self) -> Self:
        return self.attach()

    def __exit__(self, *error: object) -> None:
        self.remove()

    def attach(self) -> Self:
        """Put the hooks on the network; `remove` takes them off again."""
        if not self._handles:
            self._handles = [self._model.register_forward_pre_hook(self._begin_pass)]
            self._handles += [
                layer.register_forward_hook(self._hook(key)) for key, layer in self._layers.items()
            ]
        return self

    def remove(self) -> None:
        """Take the hooks off the network; activations of the latest pass stay readable."""
        while self._handles:
            self._handles.pop().remove()

    def run(self, *inputs: Tensor) -> dict[str, Any]:
        """Run the network up to the deepest recorded layer and return the activations by key.

        It runs in evaluation mode, and its mode is given back. Without `keep_graph` no graph is
        built.

        Raises
        ------
        UsageError
            If a recorded layer does not run in the network's forward pass, or if the recorder is
            not attached (outside its ``with`` block).
        """
        if not self._handles:
            raise UsageError("this recorder is not attached; call run() inside its with block.")
        self._stopping = self._calls is not None
        try:
            graph = self._keep_graph and torch.is_grad_enabled()
            with evaluation_mode(self._model), torch.set_grad_enabled(graph):
                self._model(*inputs)
        except _EveryLayerHasRun:
            pass
        finally:
            self._stopping = False
        silent = [key for key in self._layers if key not in self._activations]
        if silent:
            raise UsageError(
                f"layer {silent[0]!r} does not run in the forward pass of "
                f"{type(self._model).__name__}; record a layer that does."
            )
        if self._calls is None:
            self._calls = Counter(self._counts)
        return dict(self)

    def _begin_pass(self, model: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._counts.clear()
        self._activations.clear()

    def _hook(self, key: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def hook(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            self._counts[key] += 1
            is_last = self._stopping and self._every_layer_has_run()
            changeable = not is_last or _shares_memory(output, inputs)
            try:
                activation = own_tensors(
                    self._reading(key, output),
                    keep_graph=self._keep_graph,
                    copied=changeable,
                )
            except (IndexError, RuntimeError, UsageError) as error:
                if self._every_call:
                    raise
                activation = _Unread(error)
            if self._every_call:
                self._activations.setdefault(key, []).append(activation)
            else:
                self._activations[key] = activation
            if is_last:
                raise _EveryLayerHasRun

        return hook

    def _reading(self, key: str, output: Any) -> Any:
        if key not in self._read and key not in self._elements:
            return output
        chosen = element_of(output, self._elements.get(key), key)
        return self._read[key](chosen) if key in self._read else chosen

    def _every_layer_has_run(self) -> bool:
        return self._calls is not None and all(
            self._counts[key] >= self._calls[key] for key in self._layers
        )


#: As a verb: ``with record(net, layers) as activations``.
record = Recorder


def own_tensors(
    output: Any,
    *,
    keep_graph: bool = False,
    copied: bool = True,
    device: str | torch.device | None = None,
) -> Any:
    """Return what a layer returned, so that nothing which runs later can change it.

    Parameters
    ----------
    output : tensor, or tuple, list or mapping of them (nested or not)
        Anything else in it is handed on as it is.
    keep_graph : bool, default False
        Keep the tensors in the graph.
    copied : bool, default True
        Copy the tensors.
    device : str or torch.device, optional
        Where to put them; by default where they are.

    Returns
    -------
    tensor, or tuple, list or dict of them
    """
    if isinstance(output, Tensor):
        tensor = output if keep_graph else output.detach()
        return tensor.to(device or tensor.device, copy=copied)
    if isinstance(output, Mapping):
        return {
            key: own_tensors(part, keep_graph=keep_graph, copied=copied, device=device)
            for key, part in output.items()
        }
    if isinstance(output, tuple | list):
        kind = list if isinstance(output, list) else tuple
        return kind(
            own_tensors(part, keep_graph=keep_graph, copied=copied, device=device)
            for part in output
        )
    return output


class _EveryLayerHasRun(BaseException):
    """Leaves a forward pass early; no ``except Exception`` inside a network may stop it."""


@dataclass(frozen=True)
class _Unread:
    """An output that could not be read; a later call of the layer may replace it."""

    error: Exception


def _elements_named(layers: Mapping[str, str | nn.Module]) -> dict[str, str]:
    split = {key: split_element(name) for key, name in layers.items() if isinstance(name, str)}
    return {key: element for key, (_, element) in split.items() if element is not None}


def _module(model: nn.Module, layer: str | nn.Module) -> nn.Module:
    if isinstance(layer, nn.Module):
        return layer
    name = split_element(layer)[0] if isinstance(layer, str) else layer
    return model.get_submodule(find_layer(model, name))


def _shares_memory(output: Any, inputs: tuple[Any, ...]) -> bool:
    if not isinstance(output, Tensor):
        return True
    storage = output.untyped_storage().data_ptr()
    return any(
        value.untyped_storage().data_ptr() == storage
        for value in inputs
        if isinstance(value, Tensor)
    )

"""Fetchers of the published code: hooks that stay on a network until they are cleaned up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self
from weakref import WeakMethod

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from core.utils.layers.names import find_layer
from core.utils.layers.record import own_tensors
from core.utils.layers.tables import get_module_names

_IMAGE_SIZE = (3, 256, 256)


class _Fetcher:
    """Activations by name, the hooks that fill them, and their end.

    The activations are copies: no in-place operation that follows a layer changes them.

    Attributes
    ----------
    activations : dict
        Of the latest forward pass, by name.
    """

    def __init__(self, store_device: str | torch.device | None = None) -> None:
        self.activations: dict[str, Any] = {}
        self._store_device = store_device
        self._handles: dict[str, RemovableHandle] = {}

    def __getitem__(self, name: str) -> Any:
        return self.activations[name]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.cleanup()

    def __del__(self) -> None:
        for handle in getattr(self, "_handles", {}).values():
            handle.remove()

    def cleanup(self) -> None:
        """Remove every hook and forget every activation."""
        while self._handles:
            self._handles.popitem()[1].remove()
        self.activations.clear()

    def _record(
        self,
        layer: nn.Module,
        name: str,
        return_input: bool,
        ingraph: bool,
        store_device: str | torch.device | None,
        store: Callable[[str, Any], None],
    ) -> RemovableHandle:
        """Put a hook on a layer; a name that is recorded again loses its earlier hook."""
        if name in self._handles:
            self._handles.pop(name).remove()
        device = store_device or self._store_device

        store_if_alive = WeakMethod(store)  # the hook must not keep its fetcher alive

        def keep(value: Any) -> None:
            if (alive := store_if_alive()) is not None:
                alive(name, own_tensors(value, keep_graph=ingraph, device=device))

        # The input is taken before the layer runs, because an in-place layer overwrites it.
        self._handles[name] = (
            layer.register_forward_pre_hook(lambda _, inputs: keep(_single(inputs)))
            if return_input
            else layer.register_forward_hook(lambda _, inputs, output: keep(output))
        )
        return self._handles[name]

    def _replace(self, name: str, value: Any) -> None:
        self.activations[name] = value

    def _append(self, name: str, value: Any) -> None:
        self.activations.setdefault(name, []).append(value)


class featureFetcher(_Fetcher):
    """Fetch activations of layers by their names; ``fetcher[name]`` after a forward pass.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    input_size : tuple of int, default (3, 256, 256)
        Size of one input; only the printed table depends on it.
    device : str or torch.device, optional
        Where the input for the table is made; by default where the network is.
    print_module : bool, default True
        Write the table of layers to standard output.
    store_device : str or torch.device, optional
        Where activations are kept; by default where they arise.
    """

    def __init__(
        self,
        model: nn.Module,
        input_size: Sequence[int] = _IMAGE_SIZE,
        device: str | torch.device | None = None,
        print_module: bool = True,
        store_device: str | torch.device | None = None,
    ) -> None:
        super().__init__(store_device)
        self.model = model
        if print_module:
            get_module_names(model, input_size, device, show=True)

    def record(
        self,
        target_name: str,
        store_name: str | None = None,
        return_input: bool = False,
        ingraph: bool = False,
        store_device: str | torch.device | None = None,
    ) -> RemovableHandle:
        """Fetch a layer from now on.

        Parameters
        ----------
        target_name : str
            The layer, by its published or dotted name.
        store_name : str, optional
            Its name in this fetcher; by default `target_name`.
        return_input : bool, default False
            Fetch what the layer is given instead of what it returns.
        ingraph : bool, default False
            Keep the activation in the graph, for gradients.
        store_device : str or torch.device, optional
            Overrides the one of the fetcher.

        Returns
        -------
        torch.utils.hooks.RemovableHandle

        Raises
        ------
        UsageError
            If the network has no such layer.
        """
        layer = self.model.get_submodule(find_layer(self.model, target_name))
        name = store_name or target_name
        return self._record(layer, name, return_input, ingraph, store_device, self._replace)


class featureFetcher_module(_Fetcher):
    """Fetch activations of modules that the caller has in hand.

    Parameters
    ----------
    store_device : str or torch.device, default "cpu"
        Where activations are kept.
    """

    def __init__(self, store_device: str | torch.device | None = "cpu") -> None:
        super().__init__(store_device)

    def record_module(
        self,
        module: nn.Module,
        name: str,
        return_input: bool = False,
        ingraph: bool = False,
        store_device: str | torch.device | None = None,
    ) -> RemovableHandle:
        """Fetch a module from now on, under a name; see `featureFetcher.record`."""
        return self._record(module, name, return_input, ingraph, store_device, self._replace)


class featureFetcher_recurrent(_Fetcher):
    """Fetch every call of a module: one activation per time step of a recurrent network.

    ``activations[key]`` is a list that grows with each call. It is emptied by the caller, before
    a forward pass (``fetcher.activations.clear()``).

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def record(
        self,
        module: str | nn.Module,
        submod: str,
        key: str = "score",
        return_input: bool = False,
        ingraph: bool = False,
    ) -> RemovableHandle:
        """Fetch a part of an area of the network from now on.

        Parameters
        ----------
        module : str or torch.nn.Module
            The area, such as ``"V4"`` of CORnet-S; a published or dotted name, or the module.
        submod : str
            The part of it, such as ``"output"``.
        key : str, default "score"
            Name of the list of activations.
        return_input, ingraph : bool, default False
            As in `featureFetcher.record`.

        Returns
        -------
        torch.utils.hooks.RemovableHandle

        Raises
        ------
        UsageError
            If the network has no such layer.
        """
        if isinstance(module, str):
            module = self.model.get_submodule(find_layer(self.model, module))
        layer = module.get_submodule(find_layer(module, submod))
        return self._record(layer, key, return_input, ingraph, None, self._append)

    def remove_hook(self) -> None:
        """Remove every hook; activations stay."""
        while self._handles:
            self._handles.popitem()[1].remove()


def _single(inputs: tuple[Any, ...]) -> Any:
    return inputs[0] if len(inputs) == 1 else inputs

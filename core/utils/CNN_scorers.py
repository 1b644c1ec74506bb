"""Score images by the responses of units of a network.

>>> import torch
>>> from core.utils import TorchScorer
>>> scorer = TorchScorer("alexnet", "features.10", (3, 6, 6), device="cpu", pretrained=False)
>>> scorer.score_tsr(torch.rand(2, 3, 256, 256)).shape
(2,)
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from core.errors import UsageError, choose_from
from core.utils.batching import over_batches
from core.utils.device import resolve_device
from core.utils.layers.names import LayerCall, dummy_inputs, find_layer, trace_layers
from core.utils.layers.record import Recorder, record
from core.utils.scoring.classifiers import load_classifier
from core.utils.scoring.image_canvas import resize_and_pad, resize_and_pad_tsr
from core.utils.scoring.image_tensors import Images, as_batch, network_input
from core.utils.scoring.readable_layers import readable_layers
from core.utils.scoring.trajectory_plot import visualize_trajectory
from core.utils.scoring.unit_selection import (
    Unit,
    UnitSelection,
    many_units,
    masked_units,
    one_unit,
    subsample_mask,
)
from core.utils.weights.give_weights import freeze
from core.utils.weights.untrained import Seed

__all__ = [
    "TorchScorer",
    "load_featnet",
    "resize_and_pad",
    "resize_and_pad_tsr",
    "subsample_mask",
    "visualize_trajectory",
]

#: Key of the units whose responses are the scores.
SCORE = "score"

#: On the CPU a pass takes as many images as keep the largest map below this. Measured: smaller maps
#: stay in the cache, but more passes wait more often for each other's threads on a busy machine.
CPU_MAP_BYTES = 64 * 2**20
#: But not fewer than this: each pass reads all weights again.
CPU_FEWEST_IMAGES = 4

#: Networks of `load_featnet` whose features are a part of them.
_WITH_FEATURES = ("alexnet", "vgg16")


@dataclass(frozen=True)
class _Readout:
    """What is kept of a layer: some units, or all of it."""

    path: str
    units: UnitSelection | None


class TorchScorer:
    """Responses of units of a network to images.

    The network sees images normalised as ImageNet's, then resized (bilinear, corners aligned). The
    forward pass ends at the deepest layer that is read; hooks are on the network only meanwhile.
    What is read is the layer's own output, never what a later in-place operation makes of it.

    Parameters
    ----------
    model : str or torch.nn.Module
        A name that `core.utils.scoring.classifiers.load_classifier` knows, or a network that takes
        (n, 3, height, width). The network is set to evaluation mode, frozen and moved to `device`;
        on the CPU its weights are laid out channels-last.
    layer : str, optional
        Layer of the scored units; later choices are made with the ``set_…`` methods.
    unit : int, tuple of int, list of these, or numpy.ndarray of bool, optional
        The unit (a channel, or channel, row, column), several of them, or a mask of the layer.
    imgpix : int, default 227
        Side of the network's input, pixels.
    rawlayername : bool, default True
        Layers by published (``".layer2.Bottleneck3"``) or dotted name (``"layer2.3"``). False:
        also by readable names (``"conv5_relu"``), for AlexNet, VGG16 and DenseNets by name.
    device : str or torch.device, default "auto"
        Where the network computes.
    pretrained : bool, default True
        For a network by name: with published weights.
    weights : path-like, optional
        For a network by name: a state dict or checkpoint to read instead.
    seed : int or numpy.random.Generator, default 0
        For a network by name with ``pretrained=False``: of its initial weights.

    Attributes
    ----------
    model : torch.nn.Module
    name : str
        As given, or the class of the network.
    trained : bool or None
        False for seeded weights; None for a network that was given as a module.
    device : torch.device
    imgpix : int

    Raises
    ------
    UsageError
        If there is no such network, layer, unit or device.
    MissingDataError, MalformedDataError
        See `core.utils.scoring.classifiers.load_classifier`.
    """

    def __init__(
        self,
        model: str | nn.Module,
        layer: str | None = None,
        unit: Unit | Sequence[Unit] | np.ndarray | None = None,
        imgpix: int = 227,
        rawlayername: bool = True,
        *,
        device: str | torch.device = "auto",
        pretrained: bool = True,
        weights: str | os.PathLike[str] | None = None,
        seed: Seed = 0,
    ) -> None:
        self.device = resolve_device(device)
        self.imgpix = imgpix
        self.trained: bool | None = None
        if isinstance(model, str):
            loaded = load_classifier(model, pretrained=pretrained, weights=weights, seed=seed)
            self.name, self.trained, network = model, loaded.trained, loaded.network
        else:
            self.name, network = type(model).__name__, model
        freeze(network)
        self.model = network.to(self.device)
        if self.device.type == "cpu":  # oneDNN convolves channels-last maps without reordering
            self.model = self.model.to(memory_format=torch.channels_last)
        self._readable = {} if rawlayername else readable_layers(self.name)
        self._readouts: dict[str, _Readout] = {}
        if layer is not None:
            self._choose(layer, unit)

    def select_unit(self, unit_tuple: Sequence[Any], allow_grad: bool = False) -> None:
        """Score a unit that is given as in the published code.

        Parameters
        ----------
        unit_tuple : tuple
            (network, layer, channel) in a flat layer, (network, layer, channel, row, column) in a
            map. The name of the network is not looked at.
        allow_grad : bool
            For published code; gradients are kept by `score_tsr_wgrad`, whatever is given here.
        """
        if len(unit_tuple) < 3:
            raise UsageError(
                f"unit {tuple(unit_tuple)} was given; expected (network, layer, channel) or "
                "(network, layer, channel, row, column)."
            )
        _, layer, *unit = unit_tuple
        self.set_unit(SCORE, layer, unit)

    def set_unit(self, key: str, layer: str, unit: Unit, ingraph: bool = False) -> None:
        """Read a unit under a key: ``"score"`` for the scores, any other for the recordings.

        Parameters
        ----------
        key : str
        layer : str
        unit : int or sequence of int
            A channel of a flat layer; channel, row and column of a map.
        ingraph : bool
            For published code; gradients are kept by `score_tsr_wgrad`, whatever is given here.

        Raises
        ------
        UsageError
            If the layer has no such unit; the message says which shape it has.
        """
        self._readouts[key] = self._readout(layer, one_unit(unit, self.layer_shape(layer), layer))

    def set_units(self, layer: str, units: Sequence[Unit], key: str = SCORE) -> None:
        """Read several units of a layer, in this order; see `set_unit`."""
        selection = many_units(units, self.layer_shape(layer), layer)
        self._readouts[key] = self._readout(layer, selection)

    def set_units_by_mask(self, key: str, layer: str, mask: ArrayLike | Tensor) -> None:
        """Read the units of a mask under a key.

        Parameters
        ----------
        key : str
        layer : str
        mask : array
            Boolean, of the shape of the layer; or integer, numbers of units of the flattened
            layer.

        Raises
        ------
        UsageError
            If the mask does not fit the layer.
        """
        selection = masked_units(mask, self.layer_shape(layer), layer)
        self._readouts[key] = self._readout(layer, selection)

    def set_recording(self, record_layers: str | Iterable[str]) -> None:
        """Record whole layers, under their names."""
        names = [record_layers] if isinstance(record_layers, str) else record_layers
        for layer in names:
            self._readouts[layer] = self._readout(layer, None)

    def set_popul_recording(self, record_layer: str, mask: ArrayLike | Tensor) -> None:
        """Record the units of a mask (see `set_units_by_mask`) under the name of their layer."""
        self.set_units_by_mask(record_layer, record_layer, mask)

    def layer_shape(self, layer: str) -> tuple[int, ...]:
        """Return the shape of a layer's output to one image, such as (channels, rows, columns).

        Raises
        ------
        UsageError
            If there is no such layer, it does not run, or it does not return one tensor.
        """
        shape = self._calls_of(self._path(layer), layer)[-1].output_shape
        if shape == (None,):
            raise UsageError(f"layer {layer!r} does not return one tensor; choose one inside it.")
        return tuple(int(n or 0) for n in shape[1:])

    def preprocess(self, img: Images, input_scale: float = 255) -> Tensor:
        """Return what the network sees of images, (n, 3, imgpix, imgpix).

        Parameters
        ----------
        img : list of arrays, array or tensor
            See `core.utils.scoring.image_tensors.as_batch`.
        input_scale : float, default 255
            White of the images; those of type uint8 have 255, whatever is given.

        Raises
        ------
        UsageError
            If these are no images, or far brighter than `input_scale`.
        """
        first = next(self.model.parameters(), torch.empty(0))
        return network_input(as_batch(img), self.imgpix, input_scale, self.device, first.dtype)

    def score(
        self,
        images: Images,
        with_grad: bool = False,
        B: int = 42,
        input_scale: float = 1.0,
        *,
        as_tensor: bool = False,
    ) -> Any:
        """Score images.

        Parameters
        ----------
        images : list of arrays, array or tensor
            See `core.utils.scoring.image_tensors.as_batch`.
        with_grad : bool, default False
            Keep the graph from the images to the scores, which are then tensors.
        B : int, default 42
            Images in a forward pass at most; fewer when memory runs out.
        input_scale : float, default 1
            White of the images; those of type uint8 have 255, whatever is given.
        as_tensor : bool, default False
            Return tensors on the scorer's device, without waiting for it.

        Returns
        -------
        scores : numpy.ndarray of float64, shape (n,) or (n, n_units)
            (n, 0) if only recordings were asked for. A tensor of the network's precision with
            `with_grad` or `as_tensor`.
        recordings : dict
            Only if there are any: key → responses of a unit (n,), of units (n, n_units), or a whole
            layer (n, …), as arrays, or tensors like the scores.

        Raises
        ------
        UsageError
            If nothing was selected or recorded, or these are no images.
        DoesNotFitError
            If not even one image fits into memory.
        """
        if not self._readouts:
            raise UsageError("no unit was selected; call select_unit, or give layer and unit.")
        batch = as_batch(images)
        on_device = with_grad or as_tensor
        with self._recorder(with_grad) as recorder:

            def respond(rows: slice) -> dict[str, Tensor]:
                responses = recorder.run(self.preprocess(batch[rows], input_scale))
                return responses if on_device else {k: r.cpu() for k, r in responses.items()}

            parts = [part for _, part in over_batches(respond, len(batch), self._batch_size(B))]
        found = {key: torch.cat([part[key] for part in parts]) for key in self._readouts}
        scores = found.pop(SCORE, torch.empty((len(batch), 0), device=self.device))
        if on_device:
            return (scores, found) if found else scores
        arrays = {key: responses.numpy() for key, responses in found.items()}
        return (scores.double().numpy(), arrays) if arrays else scores.double().numpy()

    def score_tsr(
        self,
        img_tsr: Tensor,
        with_grad: bool = False,
        B: int = 42,
        input_scale: float = 1.0,
        *,
        as_tensor: bool = False,
    ) -> Any:
        """Score a tensor of images (n, 3, height, width); otherwise as `score`."""
        return self.score(img_tsr, with_grad, B, input_scale, as_tensor=as_tensor)

    def score_tsr_wgrad(self, img_tsr: Tensor, B: int = 10, input_scale: float = 1.0) -> Any:
        """Score a tensor of images and keep the graph, for gradients with respect to them."""
        return self.score(img_tsr, True, B, input_scale)

    def cleanup(self) -> None:
        """Forget the selected units and the recordings."""
        self._readouts.clear()

    def _choose(self, layer: str, unit: Any) -> None:
        """Select what the constructor was given."""
        if isinstance(unit, np.ndarray) and unit.dtype == bool:
            self.set_units_by_mask(SCORE, layer, unit)
        elif isinstance(unit, list | np.ndarray):
            self.set_units(layer, list(unit))
        elif unit is not None:
            self.set_unit(SCORE, layer, unit)
        else:
            raise UsageError(
                f"layer {layer!r} was given without a unit; its output has shape "
                f"{self.layer_shape(layer)}."
            )

    def _recorder(self, keep_graph: bool) -> Recorder:
        return record(
            self.model,
            {key: self.model.get_submodule(r.path) for key, r in self._readouts.items()},
            read={key: r.units.read for key, r in self._readouts.items() if r.units is not None},
            keep_graph=keep_graph,
            calls={key: self._count[r.path] for key, r in self._readouts.items()},
        )

    def _readout(self, layer: str, units: UnitSelection | None) -> _Readout:
        path = self._path(layer)
        self._calls_of(path, layer)
        return _Readout(path, None if units is None else units.to(self.device))

    def _path(self, layer: str) -> str:
        """Return the dotted path under which the layer stands in the trace."""
        if layer in self._readable:
            return self._readable[layer]
        module = self.model.get_submodule(find_layer(self.model, layer))
        return next(path for path, other in self.model.named_modules() if other is module)

    def _calls_of(self, path: str, layer: str) -> list[LayerCall]:
        calls = [call for call in self._trace if call.path == path]
        if not calls:
            running = dict.fromkeys(call.name for call in self._trace)
            raise UsageError(
                f"layer {layer!r} exists, but does not run in a forward pass: "
                + choose_from(layer, running, "running layer")
            )
        return calls

    @cached_property
    def _trace(self) -> list[LayerCall]:
        return trace_layers(
            self.model, *dummy_inputs(self.model, (3, self.imgpix, self.imgpix), self.device)
        )

    @cached_property
    def _count(self) -> Counter[str]:
        return Counter(call.path for call in self._trace)

    def _batch_size(self, most: int) -> int:
        """Return how many images a forward pass takes."""
        if self.device.type != "cpu":
            return most
        last = {call.path: number for number, call in enumerate(self._trace)}
        deepest = max(last[readout.path] for readout in self._readouts.values())
        shapes = [call.output_shape[1:] for call in self._trace[: deepest + 1]]
        largest = max(prod(n or 1 for n in shape) for shape in shapes)
        fitting = CPU_MAP_BYTES // (largest * torch.float32.itemsize)
        return min(most, max(CPU_FEWEST_IMAGES, fitting))


def load_featnet(
    netname: str,
    *,
    device: str | torch.device = "auto",
    pretrained: bool = True,
    weights: str | os.PathLike[str] | None = None,
    seed: Seed = 0,
) -> tuple[nn.Module, nn.Module]:
    """Load a network and the part of it that gives features.

    Parameters
    ----------
    netname : str
        ``"alexnet"`` or ``"vgg16"``, whose features are their convolutional part; or any other name
        of `core.utils.scoring.classifiers.load_classifier`, whose features are the whole network.
    device : str or torch.device, default "auto"
    pretrained, weights, seed
        As in `TorchScorer`.

    Returns
    -------
    featnet, net : torch.nn.Module
        In evaluation mode, frozen.
    """
    network = load_classifier(netname, pretrained=pretrained, weights=weights, seed=seed).network
    network = network.to(resolve_device(device))
    return (network.get_submodule("features") if netname in _WITH_FEATURES else network), network

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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from core.errors import UsageError
from core.published_names import door
from core.utils.batching import over_batches
from core.utils.device import resolve_device
from core.utils.layers.names import measured, plain_network
from core.utils.layers.outputs import LayerOutput, split_element
from core.utils.layers.probe import ChannelAxis, LayerProbe
from core.utils.layers.record import Recorder, record
from core.utils.precision import computing_in, require_precision, widened
from core.utils.published_keywords import published_keywords
from core.utils.scoring.classifiers import load_classifier
from core.utils.scoring.image_canvas import resize_and_pad, resize_and_pad_tsr
from core.utils.scoring.image_tensors import Images, as_batch
from core.utils.scoring.network_input import (
    NetworkInput,
    Pixels,
    Preprocess,
    input_of_network,
)
from core.utils.scoring.readable_layers import readable_layers
from core.utils.scoring.trajectory_plot import visualize_trajectory
from core.utils.scoring.units import (
    Reader,
    Units,
    masked_units,
    select,
    select_many,
    subsample_mask,
)
from core.utils.weights.give_weights import lay_out
from core.utils.weights.untrained import Seed

__all__ = [
    "Responses",
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


class Responses(NamedTuple):
    """What `TorchScorer.respond` returns; it unpacks as ``scores, recordings``.

    Attributes
    ----------
    scores : numpy.ndarray of float64 or torch.Tensor, shape (n,) or (n, n_units)
        (n, 0) if only recordings were asked for.
    recordings : dict
        Key → responses of a unit (n,), of units (n, n_units), or of a whole layer (n, …), as the
        layer lays them out after the axis of the images.
    """

    scores: Any
    recordings: dict[str, Any]


@dataclass(frozen=True)
class _Readout:
    """What is kept of a layer: some units, or all of it."""

    path: str
    output: LayerOutput
    units: Reader | None
    precision: str = "float32"

    def read(self, raw: Tensor) -> Tensor:
        """Return the responses from what the layer returned, with images on the first axis."""
        if self.precision != "bfloat16":
            return self._read(raw)
        with torch.autocast(raw.device.type, enabled=False):  # sums of units are float32
            return self._read(widened(raw))

    def _read(self, raw: Tensor) -> Tensor:
        output = self.output.images_first(raw)
        return output if self.units is None else self.units.read(output)


class TorchScorer:
    """Responses of units of a network to images.

    What the network sees of an image belongs to its weights: see `core.utils.scoring.
    network_input`, and `input` of the scorer. The forward pass ends at the deepest layer that is
    read, in evaluation mode; hooks are on the network only meanwhile, and its mode is given back.
    What is read is the layer's own output, never what a later in-place operation makes of it.

    Parameters
    ----------
    model : str or torch.nn.Module
        A name that `core.utils.scoring.classifiers.load_classifier` knows, or a network of images,
        which is moved to `device` and otherwise left as it is. One by name is frozen, and on the
        CPU its convolutions are laid out channels-last, which is faster.
    layer : str, optional
        Layer of the scored units; later choices are made with the ``set_…`` methods.
    unit : optional
        The unit (a channel, or channel, row, column), several of them, a mask, or anything else of
        the table in `core.utils.scoring.units`.
    imgpix : int or (rows, columns), optional
        Size of the network's input, pixels. By default that of the network's configuration, and
        227 for the networks of the paper and those that state none.
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
    mean, std : sequence of float, optional
        Of each channel of the input, where white is 1; as many as the network has channels. By
        default those of its configuration, or ImageNet's.
    preprocess : callable, optional
        Makes the input from images in 0…1 (n, c, h, w), instead of normalising and resizing.
    channel_axis : int or mapping of str to int, optional
        Which axis of a layer's output, without that of the images, holds its channels; for all
        layers, or by name. By default it is found.
    precision : {"float32", "bfloat16", "tf32"}
        Of the network's products, see `core.utils.precision`. Weights stay as they are, and
        responses are float32; gradients are those of the lower precision.

    Attributes
    ----------
    model : torch.nn.Module
    name : str
        As given, or the class of the network.
    trained : bool or None
        False for seeded weights; None for a network that was given as a module.
    device : torch.device
    input : NetworkInput

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
        layer: str | int | None = None,
        unit: Units | bool | None = None,
        imgpix: Pixels | None = None,
        rawlayername: bool = True,
        *,
        device: str | torch.device = "auto",
        pretrained: bool = True,
        weights: str | os.PathLike[str] | None = None,
        seed: Seed = 0,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        preprocess: Preprocess | None = None,
        channel_axis: ChannelAxis | None = None,
        precision: str = "float32",
    ) -> None:
        if isinstance(layer, int) and (imgpix is not None or not isinstance(unit, bool | None)):
            raise UsageError(
                f"layer {layer!r} was given; the name of a layer is a text, such as '{layer}'."
            )
        if isinstance(layer, int):  # TorchScorer(name, imgpix, rawlayername), as published
            layer, imgpix = None, layer
            unit, rawlayername = None, rawlayername if unit is None else bool(unit)
        self.device = resolve_device(device)
        self.precision = require_precision(precision, self.device)
        self.trained: bool | None = None
        self._is_ours = isinstance(model, str)
        if isinstance(model, str):
            loaded = load_classifier(model, pretrained=pretrained, weights=weights, seed=seed)
            self.name, self.trained, network = model, loaded.trained, loaded.network
            stated = loaded.input
        else:
            network = plain_network(model)
            self.name, stated = type(network).__name__, input_of_network(network)
        self.input: NetworkInput = stated.given(imgpix, mean, std, preprocess)
        with torch.inference_mode(False):  # weights made in it could not be used for gradients
            self.model = network.to(self.device)
        self._channel_axis = channel_axis
        self._readable = {} if rawlayername else readable_layers(self.name)
        self._readouts: dict[str, _Readout] = {}
        if layer is not None:
            self._choose(layer, unit)

    def __repr__(self) -> str:
        weights = {True: "trained", False: "UNTRAINED", None: "weights as given"}[self.trained]
        place = " in ".join([str(self.device), *({self.precision} - {"float32"})])
        return (
            f"TorchScorer({self.name}, {weights}, {'; '.join(self.units) or 'no units'}; input "
            f"{self.input}; {place})"
        )

    @property
    def imgpix(self) -> int | tuple[int, int]:
        """Side of the network's input, pixels, or (rows, columns)."""
        rows, columns = self.input.shape[-2:]
        return rows if rows == columns else (rows, columns)

    @property
    def layers(self) -> tuple[str, ...]:
        """Published names of the layers that run, in the order in which they finish."""
        return tuple(dict.fromkeys(call.name for call in self._probe.calls))

    @property
    def units(self) -> tuple[str, ...]:
        """What is read: of the scores first, then each recording."""
        return tuple(
            f"{key}: {readout.units or 'all'} of {readout.output.layer}"
            for key, readout in sorted(self._readouts.items(), key=lambda item: item[0] != SCORE)
        )

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
        self.set_unit(SCORE, layer, tuple(unit))

    def set_unit(self, key: str, layer: str, unit: Units, ingraph: bool = False) -> None:
        """Read a unit under a key: ``"score"`` for the scores, any other for the recordings.

        Parameters
        ----------
        key : str
        layer : str
            Published or dotted name; of a layer that returns several things the first, or
            ``"attention[1]"``.
        unit
            A channel of a flat layer; channel, row and column of a map; or anything else of the
            table in `core.utils.scoring.units`.
        ingraph : bool
            For published code; gradients are kept by `score_tsr_wgrad`, whatever is given here.

        Raises
        ------
        UsageError
            If the layer has no such unit; the message says which shape it has.
        """
        output = self.layer(layer)
        self._readouts[key] = self._readout(output, select(unit, output))

    def set_units(self, layer: str, units: Sequence[Any], key: str = SCORE) -> None:
        """Read several units of a layer, one response for each entry, in this order.

        Entries are as in `set_unit`, such as ``[(3, 6, 6), Channel(4), WeightedSum(w)]``.
        """
        output = self.layer(layer)
        self._readouts[key] = self._readout(output, select_many(units, output))

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
        output = self.layer(layer)
        self._readouts[key] = self._readout(output, masked_units(mask, output))

    def set_recording(self, record_layers: str | Iterable[str]) -> None:
        """Record whole layers, under their names; `respond` returns them."""
        names = [record_layers] if isinstance(record_layers, str) else record_layers
        for layer in names:
            self._readouts[layer] = self._readout(self.layer(layer), None)

    def set_popul_recording(self, record_layer: str, mask: ArrayLike | Tensor) -> None:
        """Record the units of a mask (see `set_units_by_mask`) under the name of their layer."""
        self.set_units_by_mask(record_layer, record_layer, mask)

    def layer(self, name: str) -> LayerOutput:
        """Describe the output of a layer: its shape, and what its axes mean.

        Raises
        ------
        UsageError
            If there is no such layer, it does not run, or its answers to images cannot be told
            apart.
        """
        path, _ = self._path(name)
        return self._probe.output(name, path)

    def layer_shape(self, layer: str) -> tuple[int, ...]:
        """Return the shape of a layer's output to one image, as the layer lays it out.

        Raises
        ------
        UsageError
            As `layer`.
        """
        return self.layer(layer).shape

    def preprocess(self, img: Images, input_scale: float = 255) -> Tensor:
        """Return what the network sees of images, (n, channels, rows, columns).

        Parameters
        ----------
        img : list of arrays, array or tensor
            See `core.utils.scoring.image_tensors.as_batch`.
        input_scale : float, default 255
            White of the images; those of type uint8 have 255, whatever is given.

        Raises
        ------
        UsageError
            If these are no images, or far outside 0 to `input_scale`.
        """
        first = next(self.model.parameters(), torch.empty(0))
        batch = as_batch(img, self.input.channels)
        return self.input.of(batch, input_scale, self.device, first.dtype)

    @overload
    def score(
        self, images: Images, with_grad: Literal[False] = False, B: int = 42,
        input_scale: float = 1.0, *, as_tensor: Literal[False] = False,
    ) -> NDArray[np.float64]: ...  # fmt: skip
    @overload
    def score(
        self, images: Images, with_grad: bool = False, B: int = 42, input_scale: float = 1.0, *,
        as_tensor: bool = False,
    ) -> Any: ...  # fmt: skip
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
        numpy.ndarray of float64, shape (n,) or (n, n_units)
            A tensor of the network's precision with `with_grad` or `as_tensor`. Recordings are
            returned by `respond`, never here.

        Raises
        ------
        UsageError
            If no unit was selected, or these are no images.
        DoesNotFitError
            If not even one image fits into memory.
        """
        return self.respond(images, with_grad, B, input_scale, as_tensor=as_tensor).scores

    #: Score a tensor of images ``img_tsr`` (n, 3, height, width); otherwise `score`.
    score_tsr = published_keywords(img_tsr="images")(score)

    def score_tsr_wgrad(self, img_tsr: Tensor, B: int = 10, input_scale: float = 1.0) -> Tensor:
        """Score a tensor of images and keep the graph, for gradients with respect to them."""
        return self.score(img_tsr, True, B, input_scale)

    def respond(
        self,
        images: Images,
        with_grad: bool = False,
        B: int = 42,
        input_scale: float = 1.0,
        *,
        as_tensor: bool = False,
    ) -> Responses:
        """Return scores and recordings of the same passes; arguments as of `score`.

        Raises
        ------
        UsageError
            If nothing was selected or recorded, these are no images, or a layer does not answer
            to each of them.
        DoesNotFitError
            If not even one image fits into memory.
        """
        if not self._readouts:
            raise UsageError("no unit was selected; call select_unit, or give layer and unit.")
        batch = as_batch(images, self.input.channels)
        on_device = with_grad or as_tensor
        computing = computing_in(self.precision, self.device)
        with measured(self.model), computing, self._recorder(with_grad) as recorder:

            def respond(rows: slice) -> dict[str, Tensor]:
                responses = recorder.run(self.preprocess(batch[rows], input_scale))
                _require_answers(responses, len(batch[rows]))
                return responses if on_device else {k: r.cpu() for k, r in responses.items()}

            parts = [part for _, part in over_batches(respond, len(batch), self._batch_size(B))]
        found = {key: torch.cat([part[key] for part in parts]) for key in self._readouts}
        scores = found.pop(SCORE, torch.empty((len(batch), 0), device=self.device))
        if on_device:
            return Responses(scores, found)
        return Responses(
            scores.double().numpy(), {key: as_array(part) for key, part in found.items()}
        )

    def cleanup(self) -> None:
        """Forget the selected units and the recordings."""
        self._readouts.clear()

    def _choose(self, layer: str, unit: Any) -> None:
        """Select what the constructor was given."""
        if unit is None:
            raise UsageError(
                f"layer {layer!r} was given without a unit; its output has shape "
                f"{self.layer_shape(layer)}."
            )
        self.set_unit(SCORE, layer, unit)

    def _recorder(self, keep_graph: bool) -> Recorder:
        return record(
            self.model,
            {key: self.model.get_submodule(r.path) for key, r in self._readouts.items()},
            read={key: readout.read for key, readout in self._readouts.items()},
            keep_graph=keep_graph,
            calls={key: self._count[r.path] for key, r in self._readouts.items()},
            elements={
                key: r.output.element
                for key, r in self._readouts.items()
                if r.output.element is not None
            },
        )

    def _readout(self, output: LayerOutput, units: Reader | None) -> _Readout:
        path, _ = self._path(output.layer)
        reader = None if units is None else units.to(self.device)
        return _Readout(path, output, reader, self.precision)

    def _path(self, name: str) -> tuple[str, str | None]:
        """Return the dotted path under which a layer stands in the trace, and the element."""
        layer, element = split_element(name) if isinstance(name, str) else (name, None)
        if layer in self._readable:
            return self._readable[layer], element
        return self._probe.path_of(layer), element

    @cached_property
    def _probe(self) -> LayerProbe:
        """Traces of the network; one that is ours is laid out channels-last if it runs so."""
        probe = LayerProbe(self.model, self.input.shape, self.device, self._channel_axis)
        if self._is_ours and self.device.type == "cpu":
            lay_out(self.model, torch.channels_last)
            try:
                probe.calls  # noqa: B018
            except UsageError:
                lay_out(self.model, torch.contiguous_format)
        return probe

    @cached_property
    def _count(self) -> Counter[str]:
        return Counter(call.path for call in self._probe.calls)

    def _batch_size(self, most: int) -> int:
        """Return how many images a forward pass takes."""
        if self.device.type != "cpu" or not isinstance(most, int):
            return most
        calls = self._probe.calls
        last = {call.path: number for number, call in enumerate(calls)}
        deepest = max(last[readout.path] for readout in self._readouts.values())
        shapes = [call.output_shape[1:] for call in calls[: deepest + 1]]
        largest = max(prod(n or 1 for n in shape) for shape in shapes)
        fitting = CPU_MAP_BYTES // (largest * torch.float32.itemsize)
        return min(most, max(CPU_FEWEST_IMAGES, fitting))


def as_array(responses: Tensor) -> NDArray[Any]:
    """Return responses as an array; numpy knows no bfloat16."""
    return widened(responses).numpy()


def _require_answers(responses: Mapping[str, Tensor], images: int) -> None:
    """Refuse answers that are not one an image."""
    for key, response in responses.items():
        if len(response) != images:
            raise UsageError(
                f"{key!r} has {len(response)} answers to {images} images, which cannot be told "
                "apart; choose another layer."
            )


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


if not TYPE_CHECKING:
    __getattr__ = door(__name__)

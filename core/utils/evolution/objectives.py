"""What an image is scored by: a unit, a channel, a population, a direction, a pattern.

Objectives of one network are added, subtracted and scaled like numbers, whatever layers they read:

>>> import torch
>>> from core.utils import TorchScorer
>>> from core.utils.evolution.objectives import Channel, Unit
>>> scorer = TorchScorer("resnet18", pretrained=False, device="cpu", imgpix=64)
>>> contrast = Unit(scorer, "fc", 207) - 0.5 * Unit(scorer, "fc", 0) + Channel(scorer, "layer2", 3)
>>> contrast(torch.rand(2, 3, 64, 64)).shape
torch.Size([2])
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from core.errors import UsageError
from core.utils.CNN_scorers import TorchScorer

#: Added to norms, so that a silent population has cosine 0 and not NaN.
_TINY = 1e-12

#: What one layer answers, by (layer, units or None for all of it).
Responses = Mapping[tuple[str, Any], Tensor]


class Objective(ABC):
    """One number per image, from what layers of a network answer.

    Attributes
    ----------
    scorer : TorchScorer
        Its network; what the scorer itself has selected is neither used nor changed.
    """

    scorer: TorchScorer

    @property
    @abstractmethod
    def reads(self) -> tuple[tuple[str, Any], ...]:
        """Layers, each with one unit, or None for all units."""

    @abstractmethod
    def of(self, responses: Responses) -> Tensor:
        """Return the scores (n,) that follow from the responses."""

    def __call__(self, images: Tensor, *, keep_graph: bool = False, B: int = 42) -> Tensor:
        """Score images (n, 3, height, width) in 0 to 1; see `score_together`."""
        return score_together([self], images, keep_graph=keep_graph, B=B)[0]

    def __add__(self, other: Objective) -> Objective:
        """Return the sum of two objectives of one network."""
        return WeightedSum((self, other), (1.0, 1.0))

    def __sub__(self, other: Objective) -> Objective:
        """Return the difference of two objectives of one network."""
        return WeightedSum((self, other), (1.0, -1.0))

    def __mul__(self, factor: float) -> Objective:
        """Return the objective, scaled."""
        return WeightedSum((self,), (float(factor),))

    __rmul__ = __mul__

    def __neg__(self) -> Objective:
        """Return the negative: what excites least scores highest."""
        return self * -1.0


class Unit(Objective):
    """The response of one unit.

    Parameters
    ----------
    scorer : TorchScorer
    layer : str
    unit : int or sequence of int
        A channel of a flat layer; channel, row and column of a map. A channel alone, in a map, is
        the unit at its centre, as in the paper.
    """

    def __init__(self, scorer: TorchScorer, layer: str, unit: int | Sequence[int]) -> None:
        shape = scorer.layer_shape(layer)
        index = tuple(int(i) for i in np.atleast_1d(np.asarray(unit)))
        if len(index) == 1 and len(shape) == 3:
            index = (*index, shape[1] // 2, shape[2] // 2)
        self.scorer, self.layer, self.unit = scorer, layer, index
        scorer_reading(scorer, [(layer, index)])

    @property
    def reads(self) -> tuple[tuple[str, Any], ...]:
        """The unit."""
        return ((self.layer, self.unit),)

    def of(self, responses: Responses) -> Tensor:
        """Return its responses."""
        return responses[self.reads[0]]

    def __repr__(self) -> str:
        return f"unit {self.unit} of {self.scorer.name} {self.layer}"


class _OfLayer(Objective):
    """An objective that reads all of one layer."""

    def __init__(self, scorer: TorchScorer, layer: str) -> None:
        self.scorer, self.layer = scorer, layer
        self.shape = scorer.layer_shape(layer)

    @property
    def reads(self) -> tuple[tuple[str, Any], ...]:
        """The layer."""
        return ((self.layer, None),)

    def of(self, responses: Responses) -> Tensor:
        """Return the scores (n,)."""
        return self._score(responses[self.reads[0]])

    @abstractmethod
    def _score(self, layer: Tensor) -> Tensor: ...

    def _weights(self, values: ArrayLike, name: str) -> Tensor:
        """Take one number per unit; one per channel stands for the channel's mean over the map."""
        given = np.asarray(values, dtype=np.float64)
        if given.shape == self.shape[:1] and len(self.shape) > 1:
            given = np.broadcast_to(
                given.reshape(-1, *[1] * (len(self.shape) - 1)) / np.prod(self.shape[1:]),
                self.shape,
            )
        if given.shape != self.shape:
            raise UsageError(
                f"{name} of shape {given.shape} was given for layer {self.layer!r}, whose output "
                f"has shape {self.shape}; give one number per unit, or one per channel "
                f"({self.shape[0]})."
            )
        if not np.isfinite(given).all() or not given.any():
            raise UsageError(f"{name} must be finite and not all zero.")
        return torch.from_numpy(np.ascontiguousarray(given))


class Channel(_OfLayer):
    """The mean response of one channel over its map."""

    def __init__(self, scorer: TorchScorer, layer: str, channel: int) -> None:
        super().__init__(scorer, layer)
        if not 0 <= channel < self.shape[0]:
            raise UsageError(
                f"channel {channel} was given; layer {layer!r} has {self.shape[0]}, from 0."
            )
        self.channel = channel

    def _score(self, layer: Tensor) -> Tensor:
        return layer[:, self.channel].flatten(1).mean(1) if layer.ndim > 2 else layer[:, self.channel]

    def __repr__(self) -> str:
        return f"channel {self.channel} of {self.scorer.name} {self.layer}"


class Population(_OfLayer):
    """A weighted sum of the responses of a layer.

    Parameters
    ----------
    scorer : TorchScorer
    layer : str
    weights : array-like
        Of the layer's shape; or one per channel, for the means of the channels over the map.
    """

    def __init__(self, scorer: TorchScorer, layer: str, weights: ArrayLike) -> None:
        super().__init__(scorer, layer)
        self.weights = self._weights(weights, "weights")

    def _score(self, layer: Tensor) -> Tensor:
        return layer.flatten(1) @ self.weights.flatten().to(layer)

    def __repr__(self) -> str:
        n = int((self.weights != 0).sum())
        return f"weighted sum of {n} units of {self.scorer.name} {self.layer}"


class Direction(Population):
    """The projection of a layer's responses on a direction: a weighted sum, weights of norm 1.

    Parameters
    ----------
    scorer : TorchScorer
    layer : str
    vector : array-like
        Of the layer's shape; or one number per channel, for the means of the channels. Its length
        does not count.
    """

    def __init__(self, scorer: TorchScorer, layer: str, vector: ArrayLike) -> None:
        values = np.asarray(vector, dtype=np.float64)
        super().__init__(scorer, layer, values / (np.linalg.norm(values) or 1.0))

    def __repr__(self) -> str:
        return f"direction in {self.scorer.name} {self.layer}"


class Cosine(_OfLayer):
    """The cosine between a layer's responses and a pattern of responses, -1 to 1.

    Parameters
    ----------
    scorer : TorchScorer
    layer : str
    pattern : array-like
        Of the layer's shape: responses to come close to, such as those to a picture; or one number
        per channel, compared with the means of the channels over the map.
    """

    def __init__(self, scorer: TorchScorer, layer: str, pattern: ArrayLike) -> None:
        super().__init__(scorer, layer)
        given: NDArray[np.float64] = np.asarray(pattern, dtype=np.float64)
        self._by_channel = given.shape == self.shape[:1] and len(self.shape) > 1
        if not self._by_channel:
            given = self._weights(given, "pattern").numpy()
        if not np.isfinite(given).all() or not given.any():
            raise UsageError("pattern must be finite and not all zero.")
        self.pattern = torch.from_numpy(given / np.linalg.norm(given))

    @classmethod
    def to(cls, scorer: TorchScorer, layer: str, image: Tensor) -> Cosine:
        """Return the cosine to what a picture (1, 3, height, width) in 0 to 1 evokes."""
        read = (layer, None)
        return cls(scorer, layer, _responses(scorer, [read], image, False, 1)[read][0].cpu())

    def _score(self, layer: Tensor) -> Tensor:
        responses = layer.flatten(2).mean(2) if self._by_channel else layer.flatten(1)
        return responses @ self.pattern.flatten().to(layer) / (responses.norm(dim=1) + _TINY)

    def __repr__(self) -> str:
        return f"cosine to a pattern in {self.scorer.name} {self.layer}"


@dataclass(frozen=True, repr=False)
class WeightedSum(Objective):
    """Objectives of one network, each times a number, together."""

    parts: tuple[Objective, ...]
    factors: tuple[float, ...]

    def __post_init__(self) -> None:
        for part in self.parts:
            if not isinstance(part, Objective):
                raise UsageError(f"{part!r} is no objective; only objectives can be added.")
        if any(part.scorer is not self.parts[0].scorer for part in self.parts):
            raise UsageError(
                "these objectives read different scorers ("
                f"{', '.join(part.scorer.name for part in self.parts)}); add those of one scorer."
            )

    @property
    def scorer(self) -> TorchScorer:  # type: ignore[override]
        """The scorer of all parts."""
        return self.parts[0].scorer

    @property
    def reads(self) -> tuple[tuple[str, Any], ...]:
        """What any part reads."""
        return tuple(dict.fromkeys(read for part in self.parts for read in part.reads))

    def of(self, responses: Responses) -> Tensor:
        """Return the weighted sum of the scores of the parts."""
        terms = [f * part.of(responses) for f, part in zip(self.factors, self.parts, strict=True)]
        return torch.stack(terms).sum(0)

    def __repr__(self) -> str:
        terms = zip(self.factors, self.parts, strict=True)
        return " ".join(f"{'+' if f >= 0 else '-'} {abs(f):g} ({part})" for f, part in terms)


def score_together(
    objectives: Sequence[Objective], images: Tensor, *, keep_graph: bool = False, B: int = 42
) -> list[Tensor]:
    """Score images by several objectives of one scorer in one pass of its network.

    Parameters
    ----------
    objectives : sequence of Objective
        All of the same scorer.
    images : torch.Tensor, shape (n, 3, height, width)
        In 0 to 1.
    keep_graph : bool, default False
        Keep the graph from images to scores, for gradients.
    B : int, default 42
        Images in a pass at most.

    Returns
    -------
    list of torch.Tensor, shape (n,)
        One per objective, on the device of the network.

    Raises
    ------
    UsageError
        If the objectives read different scorers.
    """
    scorer = objectives[0].scorer
    if any(objective.scorer is not scorer for objective in objectives):
        raise UsageError("these objectives read different scorers; score them apart.")
    reads = list(dict.fromkeys(read for one in objectives for read in one.reads))
    responses = _responses(scorer, reads, images, keep_graph, B)
    return [objective.of(responses) for objective in objectives]


def scorer_reading(scorer: TorchScorer, reads: Sequence[tuple[str, Any]]) -> TorchScorer:
    """Return a scorer of the same network that reads these layers and units, and nothing else."""
    twin = copy(scorer)
    twin._readouts = {}
    for layer, unit in reads:
        if unit is None:
            twin.set_recording(layer)
        else:
            twin.set_unit(_key(layer, unit), layer, unit)
    return twin


def _responses(
    scorer: TorchScorer, reads: Sequence[tuple[str, Any]], images: Tensor, graph: bool, B: int
) -> Responses:
    twin = scorer_reading(scorer, reads)
    _, found = twin.score_tsr(images, graph, B, as_tensor=True)
    return {(layer, unit): found[_key(layer, unit)] for layer, unit in reads}


def _key(layer: str, unit: Any) -> str:
    return layer if unit is None else f"{layer}{tuple(unit)}"

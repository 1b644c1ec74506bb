"""What an image is scored by: a unit, a channel, a population, a direction, a pattern.

Objectives of one network are added, subtracted and scaled like numbers, whatever layers they read:

>>> import torch
>>> from core.utils import TorchScorer, objectives
>>> scorer = TorchScorer("resnet18", pretrained=False, device="cpu", imgpix=64)
>>> contrast = objectives.unit(scorer, "fc", 207) - 0.5 * objectives.unit(scorer, "fc", 0)
>>> both = contrast + objectives.channel(scorer, "layer2", 3)
>>> both(torch.rand(2, 3, 64, 64)).shape
torch.Size([2])
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from core.errors import UsageError
from core.utils.CNN_scorers import TorchScorer
from core.utils.scoring.units import Centre, Channel, Cosine, Direction, Units, WeightedSum, select


@dataclass(frozen=True)
class Term:
    """One response of a layer, times a number.

    Attributes
    ----------
    layer : str
    units : Units
        One unit, or anything of the table in `core.utils.scoring.units` that is one number.
    says : str
        How it is called.
    factor : float
    """

    layer: str
    units: Units
    says: str
    factor: float = 1.0

    def __str__(self) -> str:
        sign = "-" if self.factor < 0 else "+"
        size = "" if abs(self.factor) == 1 else f"{abs(self.factor):g} "
        return f"{sign} {size}{self.says} of {self.layer}"


@dataclass(frozen=True, repr=False, eq=False)
class Objective:
    """One number per image: a sum of responses of layers of one network.

    Attributes
    ----------
    scorer : TorchScorer
        The network; what the scorer itself has selected is neither used nor changed.
    terms : tuple of Term
    """

    scorer: TorchScorer
    terms: tuple[Term, ...]

    def __call__(self, images: Tensor, *, keep_graph: bool = False, B: int = 42) -> Tensor:
        """Score images (n, 3, height, width) in 0 to 1, on the device of the network."""
        return self._panel(images, keep_graph=keep_graph, B=B)[0]

    def __add__(self, other: Objective) -> Objective:
        """Return the sum of two objectives of one scorer."""
        if not isinstance(other, Objective):
            raise UsageError(f"{other!r} is no objective; only objectives can be added.")
        if other.scorer is not self.scorer:
            raise UsageError(
                f"these objectives read different scorers ({self.scorer.name} and "
                f"{other.scorer.name}); add those of one scorer."
            )
        return Objective(self.scorer, self.terms + other.terms)

    def __sub__(self, other: Objective) -> Objective:
        """Return the difference of two objectives of one scorer."""
        return self + -other

    def __mul__(self, factor: float) -> Objective:
        """Return the objective, scaled."""
        scaled = (replace(term, factor=float(factor) * term.factor) for term in self.terms)
        return Objective(self.scorer, tuple(scaled))

    __rmul__ = __mul__

    def __neg__(self) -> Objective:
        """Return the negative: what excites least scores highest."""
        return self * -1.0

    def __repr__(self) -> str:
        told = " ".join(map(str, self.terms)).removeprefix("+ ")
        return f"{told} in {self.scorer.name}"

    @cached_property
    def _panel(self) -> JointObjectives:
        return JointObjectives([self])


class JointObjectives:
    """Several objectives of one scorer, scored in one pass of its network.

    Parameters
    ----------
    objectives : sequence of Objective

    Raises
    ------
    UsageError
        If they read different scorers.
    """

    def __init__(self, objectives: Sequence[Objective]) -> None:
        scorer = objectives[0].scorer
        if any(objective.scorer is not scorer for objective in objectives):
            raise UsageError("these objectives read different scorers; score them apart.")
        self._objectives = tuple(objectives)
        self._scorer = copy(scorer)  # the same network, with a selection of its own
        self._scorer._readouts = {}
        for i, objective in enumerate(objectives):
            for j, term in enumerate(objective.terms):
                self._scorer.set_unit(f"{i}.{j}", term.layer, term.units)

    def __call__(self, images: Tensor, *, keep_graph: bool = False, B: int = 42) -> list[Tensor]:
        """Return one tensor (n,) per objective."""
        found = self._scorer.respond(images, keep_graph, B, as_tensor=True).recordings
        scores = []
        for i, objective in enumerate(self._objectives):
            terms = [t.factor * found[f"{i}.{j}"] for j, t in enumerate(objective.terms)]
            scores.append(torch.stack(terms).sum(0))
        return scores


def unit(scorer: TorchScorer, layer: str, units: Units) -> Objective:
    """Return the response of one unit as an objective.

    Parameters
    ----------
    scorer : TorchScorer
    layer : str
    units : int, tuple of int, or anything of `core.utils.scoring.units` that is one number
        A channel alone, in a map, is the unit at its centre, as in the paper.

    Raises
    ------
    UsageError
        If the layer has no such unit, or these are several.
    """
    output = scorer.layer(layer)
    if isinstance(units, int | np.integer) and len(output.shape) > 1:
        units = Centre(int(units))
    return _objective(scorer, layer, units, f"unit {units}")


def channel(scorer: TorchScorer, layer: str, number: int) -> Objective:
    """Return the mean response of a channel over its map as an objective."""
    return _objective(scorer, layer, Channel(number), f"channel {number}")


def population(
    scorer: TorchScorer, layer: str, weights: ArrayLike, units: Any = None
) -> Objective:
    """Return a weighted sum of responses as an objective.

    Parameters
    ----------
    scorer : TorchScorer
    layer : str
    weights : array-like
        One per unit; without `units` of the layer's shape.
    units : optional
        Which units, see `core.utils.scoring.units`; by default all of the layer.
    """
    return _objective(scorer, layer, WeightedSum(weights, units), _called("sum", weights))


def direction(scorer: TorchScorer, layer: str, vector: ArrayLike, units: Any = None) -> Objective:
    """Return the projection of responses on a direction (a vector of any length)."""
    return _objective(scorer, layer, Direction(vector, units), _called("direction", vector))


def cosine(scorer: TorchScorer, layer: str, pattern: ArrayLike, units: Any = None) -> Objective:
    """Return the cosine between responses and a pattern of them, -1 to 1, as an objective."""
    return _objective(scorer, layer, Cosine(pattern, units), _called("cosine", pattern))


def _objective(scorer: TorchScorer, layer: str, units: Units, says: str) -> Objective:
    if select(units, scorer.layer(layer)).count is not None:
        raise UsageError(
            f"several units of layer {layer!r} were given; an objective is one number: take their "
            "mean (Mean) or a population with weights."
        )
    return Objective(scorer, (Term(layer, units, says),))


def _called(kind: str, weights: ArrayLike) -> str:
    """Name weights so that others are told from them when a run is resumed."""
    values = np.asarray(weights, dtype=np.float64)
    norm = float(np.linalg.norm(values))
    checksum = float(values.ravel() @ np.cos(np.arange(values.size)))
    return f"{kind} ({values.size} weights, norm {norm:.6g}, {checksum:.6g})"

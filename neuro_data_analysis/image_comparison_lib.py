"""How alike two pictures are to a vision network: cosines of features, and LPIPS (Figure 3).

A `Readout` says how the activations of a layer become the vectors that are compared. Cosines are
similarities, higher for pictures that are more alike; LPIPS is a distance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import normalize

from core.errors import UsageError, choose_from
from core.published_names import door
from core.utils.batching import over_batches
from core.utils.scoring.perception import (
    FeatureNetwork,
    PerceptualNetwork,
    Pictures,
    layer_features,
    load_lpips,
    load_network,
    lpips_matrix,
    require_colour,
)
from neuro_data_analysis.similarity.masks import (
    MASK_NAMES,
    MASKED_LAYERS,
    WITHIN_BORDER,
    Mask,
    ring_mask,
)

__all__ = [
    "READOUTS",
    "FeatureNetwork",
    "PerceptualNetwork",
    "Readout",
    "cosine_matrix",
    "embed",
    "load_lpips",
    "load_network",
    "lpips_matrix",
    "readouts_of",
]

#: Activations (n, …) → vectors (n, points, channels).
Reduction = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Readout:
    """Which activations are compared, and as what.

    Attributes
    ----------
    network, layer : str
        Name of the network, and of one of its modules.
    reduction : callable
        Activations (n, …) → vectors (n, points, channels). The similarity of two pictures is the
        mean over points of the cosine along channels.
    """

    network: str
    layer: str
    reduction: Reduction


def _locations(activations: torch.Tensor) -> torch.Tensor:
    """Take every location of a map as a point: (n, channels, …) → (n, locations, channels)."""
    return activations.flatten(2).transpose(1, 2)


def _whole(activations: torch.Tensor) -> torch.Tensor:
    """Take all activations as one point."""
    return activations.flatten(1).unsqueeze(1)


def _class_token(activations: torch.Tensor) -> torch.Tensor:
    return activations[:, :1]


def _patch_tokens(activations: torch.Tensor) -> torch.Tensor:
    return activations[:, 1:]


def _weighted_mean(activations: torch.Tensor, mask: Mask) -> torch.Tensor:
    """Average a map under a mask: (n, channels, rows, columns) → (n, 1, channels)."""
    if tuple(activations.shape[2:]) != mask.shape:
        raise UsageError(
            f"a feature map of {tuple(activations.shape[2:])} does not fit the mask of "
            f"{mask.shape}; pictures must have 224 × 224 pixels."
        )
    weights = torch.as_tensor(mask / mask.sum(), dtype=activations.dtype, device=activations.device)
    return torch.einsum("nchw,hw->nc", activations, weights).unsqueeze(1)


_ROBUST, _VIT = "resnet50_linf8", "vit_base_patch16_224_dino"

#: By the names that the similarity table uses, without the prototype.
READOUTS: dict[str, Readout] = {
    "resnet_L3_m": Readout(_ROBUST, "layer3", _locations),
    "resnet_L4_m": Readout(_ROBUST, "layer4", _locations),
    "resnet_avgpool": Readout(_ROBUST, "avgpool", _whole),
    "alexnet_fc6": Readout("alexnet", "classifier.2", _whole),  # after the ReLU
    "alexnet_fc7": Readout("alexnet", "classifier.4", _whole),  # before the ReLU
    "vit_cls": Readout(_VIT, "blocks", _class_token),
    "vit_token_m": Readout(_VIT, "blocks", _patch_tokens),
    "resnet_L3": Readout(
        _ROBUST, "layer3", partial(_weighted_mean, mask=ring_mask(7, WITHIN_BORDER, 2))
    ),
    "resnet_L4": Readout(
        _ROBUST, "layer4", partial(_weighted_mean, mask=ring_mask(7, WITHIN_BORDER))
    ),
    **{
        f"{name}{mask}": Readout(
            layer.network, layer.layer, partial(_weighted_mean, mask=layer.mask(mask))
        )
        for name, layer in MASKED_LAYERS.items()
        for mask in MASK_NAMES
    },
}


def readouts_of(network: str) -> tuple[str, ...]:
    """Return the names of the readouts of a network."""
    return tuple(name for name, readout in READOUTS.items() if readout.network == network)


def embed(
    network: FeatureNetwork, readouts: Iterable[str], pictures: Pictures, batch_size: int = 16
) -> dict[str, torch.Tensor]:
    """Turn pictures into vectors whose inner products are their similarities.

    With points pₖ of a picture scaled to unit length, the vector is (p₁, p₂, …) / √points, so that
    an inner product is the mean over points of the cosines.

    Parameters
    ----------
    network : FeatureNetwork
        From `load_network`.
    readouts : iterable of str
        Of `readouts_of` that network; one pass serves all.
    pictures : array (n, 224, 224, 3) or tensor (n, 3, 224, 224)
        Intensities from 0 to 1.
    batch_size : int, default 16
        Pictures at once; fewer if memory runs out.

    Returns
    -------
    dict of str to torch.Tensor
        Readout → (n, points × channels) on the CPU. Activations that are all zero give zeros.

    Raises
    ------
    UsageError
        If a readout is unknown or of another network, or the pictures are not such as described.
    """
    names = tuple(readouts)
    for name in names:
        if name not in readouts_of(network.name):
            allowed = readouts_of(network.name)
            raise UsageError(choose_from(name, allowed, f"readout of {network.name}"))
    require_colour(pictures)
    layers = {READOUTS[name].layer for name in names}

    def embed_rows(rows: slice) -> dict[str, torch.Tensor]:
        activations = layer_features(network, pictures[rows], layers)
        return {name: _unit_points(READOUTS[name], activations).cpu() for name in names}

    parts = [part for _, part in over_batches(embed_rows, len(pictures), batch_size)]
    return {name: torch.cat([part[name] for part in parts]) for name in names}



def cosine_matrix(
    firsts: Pictures,
    seconds: Pictures,
    network: FeatureNetwork,
    readout: str,
    batch_size: int = 16,
) -> NDArray[np.float64]:
    """Compare every picture of one set with every picture of another.

    Parameters
    ----------
    firsts, seconds : array (n, 224, 224, 3) or tensor (n, 3, 224, 224)
        Intensities from 0 to 1.
    network, readout, batch_size
        See `embed`.

    Returns
    -------
    numpy.ndarray
        (n_firsts, n_seconds) cosines.
    """
    first, second = (
        embed(network, [readout], pictures, batch_size)[readout] for pictures in (firsts, seconds)
    )
    return (first @ second.T).numpy().astype(np.float64)


def _unit_points(readout: Readout, activations: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return (n, points × channels): points of unit length over √points."""
    points = readout.reduction(activations[readout.layer])
    return (normalize(points, dim=2) / math.sqrt(points.shape[1])).flatten(1)


if not TYPE_CHECKING:
    __getattr__ = door(__name__)

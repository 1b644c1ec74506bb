"""How alike two pictures are to a vision network: cosines of features, and LPIPS (Figure 3).

A `Readout` says how the activations of a layer become the vectors that are compared. Cosines are
similarities, higher for pictures that are more alike; LPIPS is a distance.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import normalize

from core.errors import UsageError, choose_from
from core.utils.batching import map_batches, over_batches
from core.utils.state_dicts import load_strictly, read_state_dict
from core.utils.torch_device import resolve_device
from core.utils.weights import require
from neuro_data_analysis.feature_networks import (
    FeatureNetwork,
    as_pictures,
    layer_features,
    load_network,
    require_colour,
)
from neuro_data_analysis.similarity_masks import (
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
    "cosine_similarity",
    "embed",
    "load_lpips",
    "load_network",
    "lpips_distance",
    "lpips_matrix",
    "readouts_of",
]

#: (n, rows, columns, 3) array or (n, 3, rows, columns) tensor, intensities from 0 to 1.
Pictures = NDArray[Any] | torch.Tensor

#: Activations (n, …) → vectors (n, points, channels).
Reduction = Callable[[torch.Tensor], torch.Tensor]

#: Trunks of LPIPS, and the names of their published weights.
LPIPS_TRUNKS = {"squeeze": "squeezenet1_1", "alex": "alexnet", "vgg": "vgg16"}


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


def cosine_similarity(
    first: NDArray[Any] | torch.Tensor,
    second: NDArray[Any] | torch.Tensor,
    network: FeatureNetwork,
    readout: str,
) -> float:
    """Compare two pictures.

    Parameters
    ----------
    first, second : array (224, 224, 3) or tensor (3, 224, 224)
        Intensities from 0 to 1.
    network, readout
        See `embed`.

    Returns
    -------
    float
        Cosine from -1 to 1, higher for pictures that are more alike.
    """
    return float(cosine_matrix(first[None], second[None], network, readout)[0, 0])


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


@dataclass(frozen=True)
class PerceptualNetwork:
    """LPIPS version 0.1 in evaluation mode.

    Attributes
    ----------
    module : lpips.LPIPS
        The trunk with its linear layers.
    device : torch.device
        Where it is.
    rescale : bool
        Whether pictures are rescaled to [-1, 1], for which LPIPS was trained. The older published
        scripts fed it [0, 1].
    origin : str
        File of the weights of the trunk, or ``"untrained, seed …"``.
    """

    module: Any
    device: torch.device
    rescale: bool
    origin: str


def load_lpips(
    trunk: str = "squeeze",
    weights: str | os.PathLike[str] | None = None,
    untrained_seed: int | None = None,
    rescale: bool = True,
    device: str | torch.device = "auto",
) -> PerceptualNetwork:
    """Load LPIPS.

    Parameters
    ----------
    trunk : {"squeeze", "alex", "vgg"}
        Network under the linear layers, which come with the package lpips. The paper uses squeeze.
    weights : path-like, optional
        State dict of torchvision's network for the trunk, instead of the published one.
    untrained_seed : int, optional
        Without a file: leave the trunk untrained, initialised from this seed.
    rescale : bool, default True
        Whether pictures, given in [0, 1], are rescaled to [-1, 1].
    device : str or torch.device, default "auto"
        Where it goes.

    Returns
    -------
    PerceptualNetwork

    Raises
    ------
    UsageError
        If the trunk or the device is unknown.
    MissingDataError
        If the weights are not there and cannot be fetched.
    MalformedDataError
        If the file holds the weights of another network, or none.
    """
    if trunk not in LPIPS_TRUNKS:
        raise UsageError(choose_from(trunk, LPIPS_TRUNKS, "trunk of LPIPS"))
    place = resolve_device(device)
    import lpips

    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # lpips builds its trunk in a way torchvision deprecates
        torch.manual_seed(untrained_seed or 0)
        module = lpips.LPIPS(net=trunk, pnet_rand=True, verbose=False)
    origin = f"untrained, seed {untrained_seed}"
    if weights is not None or untrained_seed is None:
        path = require(LPIPS_TRUNKS[trunk], weights)
        load_strictly(module.net, _trunk_state(module.net, read_state_dict(path)), path)
        origin = str(path)
    return PerceptualNetwork(module.eval().requires_grad_(False).to(place), place, rescale, origin)


def lpips_distance(
    first: NDArray[Any] | torch.Tensor,
    second: NDArray[Any] | torch.Tensor,
    network: PerceptualNetwork,
) -> float:
    """Return the LPIPS distance of two pictures, see `lpips_matrix`."""
    return float(lpips_matrix(first[None], second[None], network)[0, 0])


def lpips_matrix(
    firsts: Pictures, seconds: Pictures, network: PerceptualNetwork, batch_size: int = 16
) -> NDArray[np.float64]:
    """Compare every picture of one set with every picture of another by LPIPS.

    LPIPS is Σₗ mean over locations of wₗ · (f̂ₗ(a) - f̂ₗ(b))², with f̂ₗ activations of unit length and
    weights w ≥ 0: a squared Euclidean distance of the vectors √(wₗ / locations) f̂ₗ. So each
    picture passes the network once.

    Parameters
    ----------
    firsts, seconds : array (n, rows, columns, 3) or tensor (n, 3, rows, columns)
        Intensities from 0 to 1, whatever the network rescales them to.
    network : PerceptualNetwork
        From `load_lpips`.
    batch_size : int, default 16
        Pictures at once; fewer if memory runs out. All `firsts` stay in memory as vectors, 7 MB
        for a picture of 224 × 224 pixels.

    Returns
    -------
    numpy.ndarray
        (n_firsts, n_seconds) distances, 0 for equal pictures.

    Raises
    ------
    UsageError
        If the pictures are not such as described.
    """
    require_colour(firsts)
    require_colour(seconds)
    first = map_batches(partial(_lpips_vectors, network), firsts, batch_size)

    def distances(pictures: Pictures) -> torch.Tensor:
        second = _lpips_vectors(network, pictures)
        # By inner products they would be faster, and equal pictures would differ by 1e-4.
        return torch.stack([(first - vector).square_().sum(1) for vector in second])

    return map_batches(distances, seconds, batch_size, to_cpu=True).T.numpy().astype(np.float64)


def _unit_points(readout: Readout, activations: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return (n, points × channels): points of unit length over √points."""
    points = readout.reduction(activations[readout.layer])
    return (normalize(points, dim=2) / math.sqrt(points.shape[1])).flatten(1)


def _trunk_state(trunk: torch.nn.Module, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename torchvision's ``features.3.weight`` to lpips' ``slice2.3.weight``."""
    renamed = {key: f"features.{key.partition('.')[2]}" for key in trunk.state_dict()}
    return {key: state[name] for key, name in renamed.items() if name in state}


def _lpips_vectors(network: PerceptualNetwork, pictures: Pictures) -> torch.Tensor:
    """Return the vectors of `lpips_matrix`, (n, channels × locations of all layers)."""
    batch = as_pictures(pictures).to(network.device)
    module = network.module
    with torch.inference_mode():
        scaled = module.scaling_layer(2 * batch - 1 if network.rescale else batch)
        parts = []
        for activations, linear in zip(module.net(scaled), module.lins, strict=True):
            weights = linear.model[-1].weight / activations[0, 0].numel()
            parts.append((weights.sqrt() * normalize(activations, dim=1)).flatten(1))
        return torch.cat(parts, dim=1)

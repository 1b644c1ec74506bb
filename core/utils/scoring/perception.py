"""Networks that stand for what a picture looks like: their features, and the distance LPIPS."""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import normalize

from core.errors import UsageError, choose_from
from core.utils.batching import map_batches
from core.utils.device import resolve_device
from core.utils.layers.record import record
from core.utils.scoring.classifiers import load_classifier
from core.utils.scoring.network_input import NetworkInput
from core.utils.weights.fetch import required
from core.utils.weights.state_dicts import load_strictly, read_state_dict
from core.utils.weights.untrained import Seed

#: (n, rows, columns, 3) array or (n, 3, rows, columns) tensor, intensities from 0 to 1.
Pictures = NDArray[Any] | torch.Tensor

#: Trunks of LPIPS, and the names of their published weights.
LPIPS_TRUNKS = {"squeeze": "squeezenet1_1", "alex": "alexnet", "vgg": "vgg16"}


@dataclass(frozen=True)
class FeatureNetwork:
    """A network in evaluation mode.

    Attributes
    ----------
    name : str
        As `load_network` takes it.
    module : torch.nn.Module
        The network, frozen.
    device : torch.device
        Where it is.
    origin : str
        File of its weights, or ``"untrained, seed …"``.
    input : NetworkInput
        Whose mean and SD normalise the pictures.
    """

    name: str
    module: nn.Module
    device: torch.device
    origin: str
    input: NetworkInput = field(default_factory=NetworkInput)


def load_network(
    name: str,
    weights: str | os.PathLike[str] | None = None,
    device: str | torch.device = "auto",
    *,
    pretrained: bool = True,
    seed: Seed = 0,
) -> FeatureNetwork:
    """Load a network.

    Parameters
    ----------
    name : str
        As `core.utils.scoring.classifiers.load_classifier` takes it. Figure 3 uses
        ``"resnet50_linf8"``, a ResNet50 trained against adversarial perturbations of up to
        8/255, ``"alexnet"``, ``"vgg16"`` and ``"vit_base_patch16_224_dino"``.
    weights : path-like, optional
        State dict to take instead of the published one.
    device : str or torch.device, default "auto"
        Where it goes.
    pretrained, seed
        As in `core.utils.scoring.classifiers.load_classifier`.

    Returns
    -------
    FeatureNetwork
        In evaluation mode, without gradients.

    Raises
    ------
    UsageError
        If the network or the device is unknown.
    MissingDataError
        If the weights are not there and cannot be fetched.
    MalformedDataError
        If the file holds the weights of another network, or none.
    """
    place = resolve_device(device)
    loaded = load_classifier(name, pretrained=pretrained, weights=weights, seed=seed)
    return FeatureNetwork(name, loaded.network.to(place), place, loaded.origin, loaded.input)


def layer_features(
    network: FeatureNetwork, pictures: NDArray[Any] | torch.Tensor, layers: Collection[str]
) -> dict[str, torch.Tensor]:
    """Show pictures to a network and record some layers.

    Parameters
    ----------
    network : FeatureNetwork
        The network.
    pictures : numpy.ndarray (n, rows, columns, 3) or torch.Tensor (n, 3, rows, columns)
        Intensities from 0 to 1; neither resized nor cropped.
    layers : collection of str
        Names of modules.

    Returns
    -------
    dict of str to torch.Tensor
        Layer → its own output, (n, …).

    Raises
    ------
    UsageError
        If a layer is unknown, or the pictures are not such as described.
    """
    batch = as_pictures(pictures).to(network.device)
    mean, sd = (batch.new_tensor(v).view(3, 1, 1) for v in (network.input.mean, network.input.std))
    with record(network.module, layers, calls=dict.fromkeys(layers, 1)) as activations:
        return activations.run((batch - mean) / sd)


def as_pictures(pictures: NDArray[Any] | torch.Tensor) -> torch.Tensor:
    """Return pictures as a float32 tensor (n, 3, rows, columns), intensities from 0 to 1.

    Raises
    ------
    UsageError
        If they are not colour pictures of intensities from 0 to 1, see `layer_features`.
    """
    require_colour(pictures)
    batch = torch.as_tensor(pictures)
    if not batch.is_floating_point() or not 0 <= batch.min() <= batch.max() <= 1:
        raise UsageError(
            f"pictures of {batch.dtype} from {batch.min():g} to {batch.max():g} were given; "
            "expected intensities from 0 to 1 (divide 8-bit pictures by 255)."
        )
    return (batch.permute(0, 3, 1, 2) if isinstance(pictures, np.ndarray) else batch).float()


def require_colour(pictures: NDArray[Any] | torch.Tensor) -> None:
    """Raise a `UsageError` unless the shape is that of colour pictures, see `layer_features`."""
    channels_last = isinstance(pictures, np.ndarray)
    shape = tuple(pictures.shape)
    if len(shape) != 4 or shape[3 if channels_last else 1] != 3:
        order = "(n, rows, columns, 3)" if channels_last else "(n, 3, rows, columns)"
        raise UsageError(f"pictures of shape {shape} were given; expected {order}.")


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
    rescale: bool = True,
    device: str | torch.device = "auto",
    *,
    pretrained: bool = True,
    seed: int = 0,
) -> PerceptualNetwork:
    """Load LPIPS.

    Parameters
    ----------
    trunk : {"squeeze", "alex", "vgg"}
        Network under the linear layers, which come with the package lpips. The paper uses squeeze.
    weights : path-like, optional
        State dict of torchvision's network for the trunk, instead of the published one.
    rescale : bool, default True
        Whether pictures, given in [0, 1], are rescaled to [-1, 1].
    device : str or torch.device, default "auto"
        Where it goes.
    pretrained : bool, default True
        With published weights of the trunk; a file counts as such.
    seed : int, default 0
        Of the initial weights of the trunk, with ``pretrained=False``.

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
        torch.manual_seed(seed)
        module = lpips.LPIPS(net=trunk, pnet_rand=True, verbose=False)
    origin = f"untrained, seed {seed}"
    if weights is not None or pretrained:
        with required(LPIPS_TRUNKS[trunk], weights) as path:
            state = read_state_dict(path)
        load_strictly(module.net, _trunk_state(module.net, state), path)
        origin = str(path)
    return PerceptualNetwork(module.eval().requires_grad_(False).to(place), place, rescale, origin)


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
    first = map_batches(partial(_picture_vectors, network), firsts, batch_size)

    def distances(pictures: Pictures) -> torch.Tensor:
        second = _picture_vectors(network, pictures)
        # By inner products they would be faster, and equal pictures would differ by 1e-4.
        return torch.stack([(first - vector).square_().sum(1) for vector in second])

    return map_batches(distances, seconds, batch_size, to_cpu=True).T.numpy().astype(np.float64)


def _trunk_state(trunk: torch.nn.Module, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename torchvision's ``features.3.weight`` to lpips' ``slice2.3.weight``."""
    renamed = {key: f"features.{key.partition('.')[2]}" for key in trunk.state_dict()}
    return {key: state[name] for key, name in renamed.items() if name in state}


def lpips_vectors(network: PerceptualNetwork, images: torch.Tensor) -> torch.Tensor:
    """Return the vectors whose squared distances are LPIPS; gradients flow to the images.

    Parameters
    ----------
    network : PerceptualNetwork
        From `load_lpips`.
    images : torch.Tensor, shape (n, 3, rows, columns)
        Intensities from 0 to 1, on the device of the network.

    Returns
    -------
    torch.Tensor, shape (n, channels × locations of all layers)
    """
    module = network.module
    scaled = module.scaling_layer(2 * images - 1 if network.rescale else images)
    parts = []
    for activations, linear in zip(module.net(scaled), module.lins, strict=True):
        weights = linear.model[-1].weight / activations[0, 0].numel()
        parts.append((weights.sqrt() * normalize(activations, dim=1)).flatten(1))
    return torch.cat(parts, dim=1)


def _picture_vectors(network: PerceptualNetwork, pictures: Pictures) -> torch.Tensor:
    with torch.inference_mode():
        return lpips_vectors(network, as_pictures(pictures).to(network.device))

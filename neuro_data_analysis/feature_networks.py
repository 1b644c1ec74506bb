"""Vision networks whose features stand for what a picture looks like, and their activations."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from core.errors import UsageError
from core.utils.classifiers import load_classifier
from core.utils.recording import record
from core.utils.torch_device import resolve_device

#: Mean and SD of the colours of ImageNet, by which all networks here expect them normalised.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_SD = (0.229, 0.224, 0.225)


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
    """

    name: str
    module: nn.Module
    device: torch.device
    origin: str


def load_network(
    name: str,
    weights: str | os.PathLike[str] | None = None,
    untrained_seed: int | None = None,
    device: str | torch.device = "auto",
) -> FeatureNetwork:
    """Load a network.

    Parameters
    ----------
    name : str
        As `core.utils.classifiers.load_classifier` takes it. Figure 3 uses ``"resnet50_linf8"``,
        a ResNet50 trained against adversarial perturbations of up to 8/255, ``"alexnet"``,
        ``"vgg16"`` and ``"vit_base_patch16_224_dino"``.
    weights : path-like, optional
        State dict to take instead of the published one.
    untrained_seed : int, optional
        Without a file: do not train, but initialise from this seed.
    device : str or torch.device, default "auto"
        Where it goes.

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
    loaded = load_classifier(
        name, pretrained=untrained_seed is None, weights=weights, seed=untrained_seed or 0
    )
    return FeatureNetwork(name, loaded.network.to(place), place, loaded.origin)


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
    mean, sd = (batch.new_tensor(v).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_SD))
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

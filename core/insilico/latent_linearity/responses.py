"""From latent codes to the units of CaffeNet, a few images at a time; only responses are kept."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from core.errors import MalformedDataError
from core.reading.array_files import read_arrays, write_arrays
from core.utils.batching import over_batches
from core.utils.generators.protocol import ImageGenerator
from core.utils.layers.record import record

logger = logging.getLogger(__name__)

#: Side of the images that CaffeNet sees, pixels.
IMAGE_SIZE = 224

#: Codes whose responses make one file.
CODES_PER_FILE = 250

LayerResponses = dict[str, NDArray[np.float32]]


class ImageNetwork(Protocol):
    """A network like `core.utils.Caffenet`: a stack of named layers that takes RGB in [0, 1]."""

    net: nn.Sequential

    def __call__(self, images: Tensor, /, *, preproc: bool) -> Tensor:
        """Run the layers."""


def responses_of(
    codes: NDArray[np.float32],
    generator: ImageGenerator,
    network: ImageNetwork,
    layers: Iterable[str],
    batch_size: int,
) -> LayerResponses:
    """Return the responses of the units of some layers to the images of codes.

    Parameters
    ----------
    codes : numpy.ndarray, shape (n_codes, d)
        Latent codes.
    generator, network
        See `ImageGenerator` and `ImageNetwork`.
    layers : iterable of str
        Children of ``network.net``.
    batch_size : int
        Images at a time; fewer when memory runs out.

    Returns
    -------
    dict of str to numpy.ndarray
        Layer → (n_codes, n_units): of a map the unit at (height // 2, width // 2) of each channel,
        of a flat layer all units; before any in-place operation of the next layer.
    """
    modules = {layer: network.net.get_submodule(layer) for layer in layers}

    def respond(rows: slice) -> LayerResponses:
        images = resized(generator.visualize(torch.from_numpy(codes[rows])))
        with record(network.net, modules, read=dict.fromkeys(modules, centre_units)) as activations:
            network(images, preproc=True)
        return {layer: units.float().cpu().numpy() for layer, units in activations.items()}

    with torch.no_grad():
        parts = [part for _, part in over_batches(respond, len(codes), batch_size)]
    return {layer: np.concatenate([part[layer] for part in parts]) for layer in modules}


def centre_units(activation: Tensor) -> Tensor:
    """Return the central unit of each channel of maps, or all units of a flat layer."""
    if activation.ndim == 2:
        return activation
    height, width = activation.shape[-2:]
    return activation[:, :, height // 2, width // 2]


def resized(images: Tensor) -> Tensor:
    """Resize to `IMAGE_SIZE` with antialiasing, as ``torchvision.transforms.Resize`` does."""
    return nn.functional.interpolate(
        images, (IMAGE_SIZE, IMAGE_SIZE), mode="bilinear", align_corners=False, antialias=True
    )


class ResponseFiles:
    """Responses in a folder, one file for every `CODES_PER_FILE` codes, read layer by layer.

    Parameters
    ----------
    folder : pathlib.Path
        Made when the first file is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(
        self,
        codes: NDArray[np.float32],
        generator: ImageGenerator,
        network: ImageNetwork,
        layers: Iterable[str],
        batch_size: int,
    ) -> None:
        """Compute what is not there yet; arguments as for `responses_of`."""
        layers = tuple(layers)
        for path, rows in self._parts(len(codes)):
            if not path.is_file():
                found = responses_of(codes[rows], generator, network, layers, batch_size)
                write_arrays(path, found)
            logger.info("images: %d of %d", rows.stop, len(codes))

    def read(self, layer: str, n_codes: int) -> NDArray[np.float32]:
        """Return the responses of one layer, (n_codes, n_units)."""
        return np.concatenate([_read(path, layer) for path, _ in self._parts(n_codes)])

    def _parts(self, n_codes: int) -> Iterator[tuple[Path, slice]]:
        for start in range(0, n_codes, CODES_PER_FILE):
            stop = min(start + CODES_PER_FILE, n_codes)
            yield self.folder / f"codes_{start:05}-{stop:05}.npz", slice(start, stop)


def _read(path: Path, layer: str) -> NDArray[np.float32]:
    try:
        return read_arrays(path, [layer])[layer]
    except ValueError as error:
        raise MalformedDataError(
            f"{path} does not hold the responses of {layer} ({error}); remove it and run again."
        ) from error

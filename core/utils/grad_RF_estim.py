"""Receptive fields from gradients: where in the image a change would change a response.

The map of a unit is the mean over random images, and over colours, of the absolute gradient of its
response. `rf_maps` turns a map into a box or a Gaussian; its functions are importable from here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from core.errors import UsageError, UserError
from core.published_names import door
from core.utils.device import resolve_device
from core.utils.layers.names import evaluation_mode
from core.utils.layers.probe import ChannelAxis, LayerProbe
from core.utils.layers.record import record
from core.utils.pictures.rf_maps import fit_2dgauss, gradmap2RF_square, show_gradmap, twoD_Gaussian
from core.utils.plot_utils import saveallforms
from core.utils.published_keywords import published_keywords
from core.utils.scoring.units import Units, WeightedSum, select

if TYPE_CHECKING:
    from core.utils.GAN_utils import ImageGenerator

__all__ = [
    "GAN_grad_RF_estimate",
    "fit_2dgauss",
    "grad_RF_estimate",
    "grad_population_RF_estimate",
    "gradmap2RF_square",
    "show_gradmap",
    "twoD_Gaussian",
]

Seed = int | np.random.Generator
Map = NDArray[np.float64]

#: A response nearer to 0 than this is that of a silent unit, whose gradient says nothing.
SILENT = 1e-8

_INPUT_SIZE = (3, 227, 227)


@published_keywords(target_layer="layer", target_unit="unit")
def grad_RF_estimate(
    model: nn.Module,
    layer: str,
    unit: Units,
    input_size: tuple[int, ...] = _INPUT_SIZE,
    device: str | torch.device | None = None,
    show: bool = False,
    reps: int = 200,
    batch: int = 1,
    seed: Seed = 0,
    channel_axis: ChannelAxis | None = None,
) -> Map:
    """Map the receptive field of a unit with images of uniform noise from -1 to 1.

    Parameters
    ----------
    model : torch.nn.Module
        The network; it runs in evaluation mode, only as far as the layer, and is left as it was.
    layer : str
        Published or dotted name of a layer.
    unit
        ``5``, a channel; ``(5, 6, 6)``, a unit of a map; with a slice, as in
        ``(slice(None), 6, 6)``, the mean of several units; or anything else of the table in
        `core.utils.scoring.units`, of several units the mean.
    input_size : (channels, height, width), default (3, 227, 227)
    device : str or torch.device, optional
        Where to compute: the network is moved there. By default where it is.
    show : bool, default False
        Draw the map.
    reps : int, default 200
        Number of batches of images.
    batch : int, default 1
        Images in a batch. The map does not depend on how images are batched.
    seed : int or numpy.random.Generator, default 0
        Draws the images.
    channel_axis : int or mapping of str to int, optional
        Axis of the layer's channels, without that of the images; by default it is found.

    Returns
    -------
    numpy.ndarray, shape (height, width)
        Mean absolute gradient over the images for which the unit was not silent, and over the
        channels of the image.

    Raises
    ------
    UsageError
        If there is no such layer or unit.
    UserError
        If the unit was silent for every image.
    """
    like = _placed(model, device)
    response = _response(unit, model, layer, input_size, channel_axis, like)
    draw = partial(_noise, input_size, like)
    return _mean_amplitude(model, layer, response, draw, reps, batch, seed, show)


@published_keywords(target_layer="layer", target_unit="unit")
def GAN_grad_RF_estimate(
    G: ImageGenerator,
    model: nn.Module,
    layer: str,
    unit: Units,
    input_size: tuple[int, ...] = _INPUT_SIZE,
    device: str | torch.device | None = None,
    show: bool = False,
    reps: int = 200,
    batch: int = 1,
    seed: Seed = 0,
    channel_axis: ChannelAxis | None = None,
) -> Map:
    """Map the receptive field of a unit with images of a generator, scaled to -1 to 1.

    Parameters
    ----------
    G : generator
        Its `sample_vector` draws the codes (N(0, 1) for DeePSim). Images of another size are
        resized to `input_size` (bilinear, corners aligned).
    model, layer, unit, input_size, device, show, reps, batch, seed
        As for `grad_RF_estimate`.

    Returns
    -------
    numpy.ndarray, shape (height, width)
        As `grad_RF_estimate`; the gradient is that of the image, not of the code.

    Raises
    ------
    UsageError, UserError
        As `grad_RF_estimate`.
    """
    like = _placed(model, device)
    response = _response(unit, model, layer, input_size, channel_axis, like)
    draw = partial(_generated, G, input_size, like)
    return _mean_amplitude(model, layer, response, draw, reps, batch, seed, show)


@published_keywords(target_layer="layer")
def grad_population_RF_estimate(
    model: nn.Module,
    layer: str,
    weights: Any,
    input_size: tuple[int, ...] = _INPUT_SIZE,
    device: str | torch.device | None = None,
    show: bool = False,
    reps: int = 200,
    batch: int = 1,
    label: str = "",
    figdir: str | os.PathLike[str] | None = None,
    seed: Seed = 0,
    channel_axis: ChannelAxis | None = None,
) -> Map:
    """Map the receptive field of a weighted sum of all units of a layer, with images of noise.

    Parameters
    ----------
    weights : tensor or array-like
        One weight a unit, of the shape of one output of the layer or one that broadcasts to it.
    label : str
        Title of the picture and beginning of its file name.
    figdir : path-like, optional
        Save the picture, ``<label>_gradAmpMap.png`` and ``.pdf``, in this folder.
    model, layer, input_size, device, show, reps, batch, seed
        As for `grad_RF_estimate`.

    Returns
    -------
    numpy.ndarray, shape (height, width)
        As `grad_RF_estimate`.

    Raises
    ------
    UsageError
        If there is no such layer, or the weights do not fit its output.
    UserError
        If the sum was 0 for every image.
    """
    like = _placed(model, device)
    response = _response(WeightedSum(weights), model, layer, input_size, channel_axis, like)
    draw = partial(_noise, input_size, like)
    gradmap = _mean_amplitude(model, layer, response, draw, reps, batch, seed, False)
    if show or figdir is not None:
        figure = show_gradmap(gradmap, label)
        if figdir is not None:
            saveallforms(figdir, f"{label}_gradAmpMap", figure)
    return gradmap


def _mean_amplitude(
    model: nn.Module,
    layer: str,
    response: Callable[[Tensor], Tensor],
    draw: Callable[[int, np.random.Generator], Tensor],
    reps: int,
    batch: int,
    seed: Seed,
    show: bool,
) -> Map:
    """Average the absolute gradient of a response over the images to which there was one."""
    if reps < 1 or batch < 1:
        raise UsageError(
            f"{reps} batches of {batch} images make none; give at least one of each."
        )
    source = np.random.default_rng(seed)
    total: Any = 0.0
    n_active = n_images = 0
    recording = record(model, {"unit": layer}, read={"unit": response}, keep_graph=True)
    with torch.enable_grad(), evaluation_mode(model), recording:
        for _ in range(reps):
            images = draw(batch, source).requires_grad_()
            responses = recording.run(images)["unit"]
            # Images do not interact: the gradient of the sum holds the gradient of each response.
            (gradient,) = torch.autograd.grad(responses.sum(), images)
            active = responses.detach().abs() > SILENT
            total = total + gradient.abs().mean(dim=1)[active].sum(dim=0).cpu().double().numpy()
            n_active += int(active.sum())
            n_images += len(images)
    if n_active == 0:
        raise UserError(
            f"the unit of {layer!r} was silent for all {n_images} images, so that it has no "
            "gradient; give more reps, or a unit or a layer before its rectifier that responds."
        )
    gradmap = total / n_active
    if show:
        show_gradmap(gradmap)
    return gradmap


def _noise(
    input_size: tuple[int, ...], like: Tensor, n: int, source: np.random.Generator
) -> Tensor:
    """Draw images from U(-1, 1)."""
    return torch.from_numpy(2 * source.random((n, *input_size), dtype=np.float32) - 1).to(like)


def _generated(
    G: ImageGenerator,
    input_size: tuple[int, ...],
    like: Tensor,
    n: int,
    source: np.random.Generator,
) -> Tensor:
    """Draw images from a generator, scaled to -1 to 1."""
    with torch.no_grad():
        images = 2 * G.visualize(G.sample_vector(n, seed=source)).to(like) - 1
        if images.shape[2:] == input_size[1:]:
            return images
        return F.interpolate(images, input_size[1:], mode="bilinear", align_corners=True)


def _response(
    units: Units,
    model: nn.Module,
    layer: str,
    input_size: tuple[int, ...],
    channel_axis: ChannelAxis | None,
    like: Tensor,
) -> Callable[[Tensor], Tensor]:
    """Return what reads the mean response of units from a layer's output, one an image."""
    output = LayerProbe(model, input_size, like.device, channel_axis).output(layer)
    is_channel = isinstance(units, int) and len(output.shape) == 3
    reader = select((units, ...) if is_channel else units, output).to(like.device)

    def response(raw: Tensor) -> Tensor:
        found = reader.read(output.images_first(raw))
        return found.reshape(len(found), -1).mean(dim=1)

    return response


def _placed(model: nn.Module, device: str | torch.device | None) -> Tensor:
    """Move a network to a device, if one is given; return one of its weights, to make others like.

    A network without weights is taken to be on that device, or on the CPU.
    """
    target = None if device is None else resolve_device(device)
    if target is not None:
        model.to(target)
    return next(model.parameters(), torch.empty(0, device=target))


if not TYPE_CHECKING:
    __getattr__ = door(__name__)

"""What a network sees of an image: size, channels, mean, SD, and how it is resized.

These belong to the weights. torchvision and timm state them for each of theirs; the networks of the
paper see images as ImageNet's, 227 pixels square.

>>> NetworkInput((224, 224), (0.5,), (0.5,), source="given").shape
(1, 224, 224)
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from core.errors import UsageError

#: Mean and SD of the colours of ImageNet, by which most of torchvision's classifiers were trained.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_SD = (0.229, 0.224, 0.225)

#: Side of the network input in the paper, pixels.
PAPER_PIXELS = 227

#: White of images of type uint8, whatever scale is named for the others.
UINT8_WHITE = 255

#: How far resampling overshoots black and white, as a share of white: usual, and at most.
_USUAL_OVERSHOOT, _OVERSHOOT = 0.01, 0.25
#: Images no brighter than this, where white is 255, are likely to have a white of 1.
_DARK = 1.5

#: Pixels of a side, or (rows, columns).
Pixels = int | Sequence[int]
#: From images in 0…1 (n, c, h, w), whatever their size, to what the network takes.
Preprocess = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class NetworkInput:
    """How images become the input of a network.

    Attributes
    ----------
    size : tuple of int
        Rows and columns, pixels.
    mean, std : tuple of float
        Of each channel, where white is 1. They also set the range of values: grey levels of 0…255
        less a mean of 120 are mean 120/255 and SD 1/255.
    interpolation : {"bilinear", "bicubic"}
        Bilinear with the corners aligned, as in the paper; bicubic with antialiasing.
    source : str
        Who says so.
    preprocess : callable, optional
        Takes images in 0…1 (n, c, h, w) and returns the input, instead of all of this.
    made_shape : tuple of int, optional
        Shape of what `preprocess` returns for an image.
    """

    size: tuple[int, int] = (PAPER_PIXELS, PAPER_PIXELS)
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_SD
    interpolation: str = "bilinear"
    source: str = "ImageNet's, as in the paper"
    preprocess: Preprocess | None = None
    made_shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not self.mean or min(self.std) <= 0:
            raise UsageError(
                f"mean {self.mean} and SD {self.std} were given; give one number for each channel "
                "of the image, each SD above 0."
            )

    @property
    def channels(self) -> int:
        """Channels of an image."""
        return len(self.mean)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the network's input for one image, (channels, rows, columns)."""
        return self.made_shape or (self.channels, *self.size)

    def given(
        self,
        imgpix: Pixels | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        preprocess: Preprocess | None = None,
    ) -> Self:
        """Return the input with what a user says of it.

        Raises
        ------
        UsageError
            If the size is not one, mean and SD do not belong together, or the preprocessing does
            not return one input an image.
        """
        changed = self
        if imgpix is not None:
            changed = replace(changed, size=sides(imgpix))
        if (mean is None) != (std is None):
            raise UsageError("mean= and std= go together; give both, one number per channel.")
        if mean is not None and std is not None:
            colours = tuple(map(float, mean)), tuple(map(float, std))
            changed = replace(changed, mean=colours[0], std=colours[1], source="given")
        if preprocess is not None:
            black = torch.zeros(2, changed.channels, *changed.size)
            made = _made(preprocess, black)
            changed = replace(changed, preprocess=preprocess, made_shape=tuple(made.shape[1:]))
        return changed

    def of(
        self,
        images: Tensor | Sequence[Tensor],
        white: float,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Return the input for images; gradients flow through.

        Parameters
        ----------
        images : tensor (n, channels, height, width), or list of tensors (channels, height, width)
            As `core.utils.scoring.image_tensors.as_batch` returns them; grey ones may have one
            channel.
        white : float
            White of the images; 255 for those of type uint8, whatever is given.
        device, dtype
            Of the result.

        Returns
        -------
        torch.Tensor, of shape ``(n, *shape)``

        Raises
        ------
        UsageError
            If the images are far outside 0 to `white`.
        """
        if not isinstance(images, Tensor):
            return torch.cat([self.of(image[None], white, device, dtype) for image in images])
        white = UINT8_WHITE if images.dtype == torch.uint8 else white
        if images.device.type == "cpu" and images.numel():  # elsewhere it would wait for the device
            _require_scale(images, white)
        pixels = images.to(device, dtype)
        if self.preprocess is not None:
            return _made(self.preprocess, pixels / white).to(device, dtype)
        mean, sd = _colours(self.mean, self.std, device, dtype)
        normalised = (pixels - white * mean) / (white * sd)
        if tuple(normalised.shape[-2:]) == self.size:
            return normalised
        if self.interpolation == "bicubic":
            return functional.interpolate(normalised, self.size, mode="bicubic", antialias=True)
        return functional.interpolate(normalised, self.size, mode="bilinear", align_corners=True)

    def __str__(self) -> str:
        if self.preprocess is not None:
            name = getattr(self.preprocess, "__name__", type(self.preprocess).__name__)
            return f"{' × '.join(map(str, self.shape))} from {name}"
        colours = ", ".join(f"{m:.3g} ± {s:.3g}" for m, s in zip(self.mean, self.std, strict=True))
        return (
            f"{self.channels} × {self.size[0]} × {self.size[1]}, mean ± SD {colours} "
            f"({self.source}), {self.interpolation}"
        )


def sides(imgpix: Pixels) -> tuple[int, int]:
    """Return rows and columns of a side, or of two.

    Raises
    ------
    UsageError
        If it is neither, or below 1.
    """
    given = tuple(imgpix) if isinstance(imgpix, Sequence) else (imgpix, imgpix)
    whole = all(isinstance(side, int) and not isinstance(side, bool) for side in given)
    if len(given) != 2 or not whole or min(given) < 1:
        raise UsageError(
            f"imgpix {imgpix!r} was given; give pixels of a side of the input, or (rows, columns)."
        )
    return given


def input_of_network(network: nn.Module) -> NetworkInput:
    """Return the input that a network which was given as a module says of itself, or the paper's.

    timm's networks carry their configuration, and torchvision's vision transformers their size.
    """
    config = getattr(network, "pretrained_cfg", None)
    if isinstance(config, Mapping) and {"mean", "std", "input_size"} <= set(config):
        return input_of_timm(config)
    side = getattr(network, "image_size", None)
    if isinstance(side, int) and not isinstance(side, bool):
        return NetworkInput((side, side), source="ImageNet's, assumed")
    return NetworkInput(source="ImageNet's, assumed")


def input_of_timm(config: Mapping[str, Any]) -> NetworkInput:
    """Return the input that timm's configuration of pretrained weights states."""
    return NetworkInput(
        tuple(config["input_size"][1:]),
        tuple(config["mean"]),
        tuple(config["std"]),
        "bicubic" if config.get("interpolation") == "bicubic" else "bilinear",
        "timm's configuration",
    )


def input_of_torchvision(name: str) -> NetworkInput:
    """Return the input of torchvision's first ImageNet weights of a network."""
    from torchvision import models

    transforms = next(iter(models.get_model_weights(name))).transforms()
    side = transforms.crop_size[0]
    return NetworkInput(
        (side, side),
        tuple(transforms.mean),
        tuple(transforms.std),
        "bicubic" if transforms.interpolation.value == "bicubic" else "bilinear",
        "torchvision's weights",
    )


def _made(preprocess: Preprocess, images: Tensor) -> Tensor:
    """Return what a preprocessing makes of images, one input each."""
    made = preprocess(images)
    if not isinstance(made, Tensor) or len(made) != len(images):
        what = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
        raise UsageError(
            f"preprocess returned {what} for {len(images)} images of shape "
            f"{tuple(images.shape[1:])}; it takes a tensor (n, c, h, w) in 0 to 1 and returns one "
            "with n inputs."
        )
    return made


@lru_cache
def _colours(
    mean: tuple[float, ...], std: tuple[float, ...], device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Return mean and SD, each (channels, 1, 1)."""
    both = torch.tensor([mean, std], device=device, dtype=dtype)
    return both[0].view(-1, 1, 1), both[1].view(-1, 1, 1)


def _require_scale(images: Tensor, white: float) -> None:
    """Refuse images of another range, and mention those that only look like it.

    Images that gradients are taken of may wander; they are the business of who optimises them.
    """
    if images.requires_grad:
        return
    darkest, brightest = (float(end) for end in images.aminmax())
    seen = f"images with values from {darkest:g} to {brightest:g} were given, but white is said to "
    if not (-_OVERSHOOT * white <= darkest and brightest <= (1 + _OVERSHOOT) * white):
        raise UsageError(
            f"{seen}be {white:g} and black is 0; give input_scale=255 (or what white is in them), "
            "or shift them to 0 and above."
        )
    if darkest < -_USUAL_OVERSHOOT * white or brightest > (1 + _USUAL_OVERSHOOT) * white:
        warnings.warn(f"{seen}be {white:g} and black is 0.", UserWarning, stacklevel=4)
    if white == UINT8_WHITE and images.dtype != torch.uint8 and 0 < brightest <= _DARK:
        warnings.warn(
            f"{seen}be 255; if it is 1, give input_scale=1.", UserWarning, stacklevel=4
        )

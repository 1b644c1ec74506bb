"""CaffeNet, the network whose layers the DeePSim generators invert."""

from __future__ import annotations

import os
from collections import OrderedDict
from functools import partial

import torch
from torch import nn

from core.errors import UsageError
from core.utils.device import resolve_device
from core.utils.weights.give_weights import flat_key, give_weights
from core.utils.weights.untrained import Seed, independent_taps, initial_state

#: Mean colour of ImageNet in grey levels, subtracted from the input of CaffeNet (R, G, B).
RGB_MEAN = (123.0, 117.0, 104.0)
#: Heights and widths that end as the 6 x 6 maps that fc6 is made for; 227 is the usual one.
INPUT_SIZES = range(199, 231)


def build_caffenet() -> nn.Sequential:
    """Make the layers of the BVLC reference CaffeNet, by their published names.

    No rectifier works in place: a hook on a convolution sees the convolution's own output.
    """
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 96, 11, stride=4),
            relu1=nn.ReLU(),
            pool1=_pool(),
            norm1=_norm(),
            conv2=nn.Conv2d(96, 256, 5, padding=2, groups=2),
            relu2=nn.ReLU(),
            pool2=_pool(),
            norm2=_norm(),
            conv3=nn.Conv2d(256, 384, 3, padding=1),
            relu3=nn.ReLU(),
            conv4=nn.Conv2d(384, 384, 3, padding=1, groups=2),
            relu4=nn.ReLU(),
            conv5=nn.Conv2d(384, 256, 3, padding=1, groups=2),
            relu5=nn.ReLU(),
            pool5=_pool(),
            flatten=nn.Flatten(),
            fc6=nn.Linear(256 * 6 * 6, 4096),
            relu6=nn.ReLU(),
            fc7=nn.Linear(4096, 4096),
            relu7=nn.ReLU(),
            fc8=nn.Linear(4096, 1000),
        )
    )


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)


def _norm() -> nn.LocalResponseNorm:
    return nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)


class Caffenet(nn.Module):
    """CaffeNet (Jia et al. 2014), from an image to the 1000 classes of ImageNet.

    Parameters
    ----------
    pretrained, weights, device, seed
        As for `upconvGAN`.

    Attributes
    ----------
    net : torch.nn.Sequential
        conv1, relu1, pool1, norm1, … pool5, flatten, fc6, relu6, fc7, relu7, fc8.
    trained : bool

    Raises
    ------
    MissingDataError, MalformedDataError
        As for `upconvGAN`.
    """

    def __init__(
        self,
        pretrained: bool = True,
        weights: str | os.PathLike[str] | None = None,
        device: str | torch.device = "auto",
        seed: Seed = 0,
    ) -> None:
        super().__init__()
        target = resolve_device(device)
        with torch.device("meta"):
            self.net = build_caffenet()
        self.trained = give_weights(
            self.net, "caffenet", pretrained=pretrained, weights=weights, rename=flat_key,
            untrained=partial(initial_state, self.net, seed, 1.0, independent_taps),
        )  # fmt: skip
        self.rgb_mean: torch.Tensor
        self.register_buffer("rgb_mean", torch.tensor(RGB_MEAN)[:, None, None], persistent=False)
        self.eval().to(target)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.rgb_mean.device

    def extra_repr(self) -> str:
        """Say so if the network is untrained."""
        return "" if self.trained else "UNTRAINED"

    def forward(
        self,
        x: torch.Tensor,
        preproc: bool = False,
        scale: float = 1.0,
        output_layer_idx: int | None = None,
    ) -> torch.Tensor:
        """Return the output of the network, or of one of its layers.

        Parameters
        ----------
        x : torch.Tensor, shape (n, 3, height, width)
            Height and width 199 to 230 where fc6 or a later layer is asked for.
        preproc : bool, default False
            Whether `x` holds RGB images in [0, scale], which are then turned into what the
            network takes: grey levels minus `RGB_MEAN`, as BGR. False: `x` is that already.
        scale : float, default 1
            The value of white.
        output_layer_idx : int, optional
            Only the layers ``net[:output_layer_idx]`` are computed; -3 ends with relu6, the code
            that the fc6 generator inverts.

        Returns
        -------
        torch.Tensor
            By default shape (n, 1000).

        Raises
        ------
        UsageError
            If the images do not have the shape that the layers take.
        """
        layers = self.net[:output_layer_idx]
        _check_images(x, fixed_size="fc6" in dict(layers.named_children()))
        if preproc:
            x = (x * (255 / scale) - self.rgb_mean).flip(1)
        return layers(x)


def _check_images(images: torch.Tensor, fixed_size: bool) -> None:
    shape = tuple(images.shape)
    if len(shape) != 4 or shape[1] != 3:
        raise UsageError(
            f"images of shape {shape} were given; CaffeNet takes (n, 3, height, width)."
        )
    if fixed_size and not all(size in INPUT_SIZES for size in shape[2:]):
        raise UsageError(
            f"images of {shape[2]} x {shape[3]} pixels were given; from fc6 on CaffeNet takes "
            f"{INPUT_SIZES[0]} to {INPUT_SIZES[-1]}, usually 227: resize them."
        )

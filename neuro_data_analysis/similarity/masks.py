"""Fixed spatial masks under which the features of two prototypes are compared (Figure 3).

Every mask weighs the rings of a square feature map, from its border to its centre: ``focus`` fades
in towards the centre, ``cent`` keeps the central cell or cells, ``all`` keeps the whole map.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.errors import UsageError, choose_from

Mask = NDArray[np.float64]

#: Masks of each layer of `MASKED_LAYERS`.
MASK_NAMES = ("focus", "cent", "all")


@dataclass(frozen=True)
class MaskedLayer:
    """A layer whose feature maps are averaged under the fixed masks.

    Attributes
    ----------
    network, layer : str
        Network by the name this project gives it, layer by its module name.
    size : int
        Rows and columns of the map for an image of 224 pixels.
    focus : tuple of float
        Weight of each ring of the ``focus`` mask, from the border inwards; the last one holds for
        all rings further in.
    centre_ring : int
        Where the ``cent`` mask begins.
    enlargement : int
        Each weight of the rings fills this many rows and columns of the map.
    """

    network: str
    layer: str
    size: int
    focus: tuple[float, ...]
    centre_ring: int
    enlargement: int = 1

    def mask(self, name: str) -> Mask:
        """Return a mask of the layer, (size, size); `UsageError` if there is none of that name."""
        weights = {
            "focus": self.focus,
            "cent": (*[0.0] * self.centre_ring, 1.0),
            "all": (1.0,),
        }
        if name not in weights:
            raise UsageError(choose_from(name, weights, "mask"))
        return ring_mask(self.size // self.enlargement, weights[name], self.enlargement)


#: By the name that the columns of the similarity table give them.
MASKED_LAYERS = {
    "RNrobust_L4": MaskedLayer("resnet50_linf8", "layer4", 7, (0, 0.25, 0.5, 1), 3),
    "RNrobust_L3": MaskedLayer("resnet50_linf8", "layer3", 14, (0, 0.25, 0.5, 1), 3, 2),
    "alex_conv4": MaskedLayer("alexnet", "features.9", 13, (0, 0, 0, 0.5, 0.5, 1), 6),
    "alex_conv5": MaskedLayer("alexnet", "features.11", 13, (0, 0, 0, 0.5, 0.5, 1), 6),
    "vgg_conv5": MaskedLayer("vgg16", "features.29", 14, (0, 0, 0, 0.5, 0.5, 0.5, 1), 6),
    "vgg_conv4": MaskedLayer("vgg16", "features.22", 28, (0, 0, 0, 0.5, 0.5, 0.5, 1), 6, 2),
}

#: Weight of each ring of the masks of ``reevol_G_resnet_L4`` and the like: all but the border.
WITHIN_BORDER = (0.0, 1.0)


def ring_mask(size: int, weights: tuple[float, ...], enlargement: int = 1) -> Mask:
    """Weigh the rings of a square map.

    Parameters
    ----------
    size : int
        Rows and columns before enlargement.
    weights : tuple of float
        From the outermost ring inwards; the last one holds for all rings further in.
    enlargement : int, default 1
        Each weight is repeated over so many rows and columns (nearest-neighbour upsampling).

    Returns
    -------
    numpy.ndarray
        (size × enlargement, size × enlargement)
    """
    from_edge = np.minimum(np.arange(size), np.arange(size)[::-1])
    ring = np.minimum.outer(from_edge, from_edge)
    mask = np.array(weights, dtype=float)[np.minimum(ring, len(weights) - 1)]
    return mask.repeat(enlargement, axis=0).repeat(enlargement, axis=1)

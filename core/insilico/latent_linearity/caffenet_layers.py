"""The layers of CaffeNet whose units Extended Figures 5D and 5E predict; known without torch."""

from __future__ import annotations

#: Children of CaffeNet in order, with the units that are predicted of each: one per channel (the
#: centre of its map), all of a fully connected layer, none of ``flatten``, which repeats pool5.
UNITS_OF_LAYER = {
    "conv1": 96, "relu1": 96, "pool1": 96, "norm1": 96,
    "conv2": 256, "relu2": 256, "pool2": 256, "norm2": 256,
    "conv3": 384, "relu3": 384,
    "conv4": 384, "relu4": 384,
    "conv5": 256, "relu5": 256, "pool5": 256, "flatten": 0,
    "fc6": 4096, "relu6": 4096,
    "fc7": 4096, "relu7": 4096,
    "fc8": 1000,
}  # fmt: skip

#: Position of each layer in the network, by which the hierarchy is ranked.
LAYER_INDEX = {layer: index for index, layer in enumerate(UNITS_OF_LAYER)}

#: Layers that are predicted, in order: those without and those with "relu" are shown apart.
LAYERS = tuple(layer for layer, n_units in UNITS_OF_LAYER.items() if n_units)
RELU_LAYERS = tuple(layer for layer in LAYERS if "relu" in layer)
NON_RELU_LAYERS = tuple(layer for layer in LAYERS if "relu" not in layer)

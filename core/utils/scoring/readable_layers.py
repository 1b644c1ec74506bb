"""The readable layer names of the published code (``conv5_relu``, ``fc6``), for four networks."""

from __future__ import annotations

from core.errors import UsageError, choose_from


def readable_layers(name: str) -> dict[str, str]:
    """Return the published readable layer names of a network and the dotted names they stand for.

    Raises
    ------
    UsageError
        If there are none for this network.
    """
    if name not in READABLE:
        raise UsageError(choose_from(name, READABLE, "network with readable layer names"))
    return READABLE[name]


def _numbered(names: list[str], features: int) -> dict[str, str]:
    """Map names in order to the modules of ``features`` and then of ``classifier``."""
    places = (
        f"features.{number}" if number < features else f"classifier.{number - features}"
        for number in range(len(names))
    )
    return dict(zip(names, places, strict=True))


def _vgg16_names() -> list[str]:
    names, number = [], 0
    for block, convolutions in enumerate((2, 2, 3, 3, 3), start=1):
        for _ in range(convolutions):
            number += 1
            names += [f"conv{number}", f"conv{number}_relu"]
        names.append(f"pool{block}")
    return [*names, "fc1", "fc1_relu", "dropout1", "fc2", "fc2_relu", "dropout2", "fc3"]


_ALEXNET_LAYERS = _numbered(
    [
        *("conv1", "conv1_relu", "pool1", "conv2", "conv2_relu", "pool2", "conv3", "conv3_relu"),
        *("conv4", "conv4_relu", "conv5", "conv5_relu", "pool3"),
        *("dropout1", "fc6", "fc6_relu", "dropout2", "fc7", "fc7_relu", "fc8"),
    ],
    features=13,
)
_VGG16_LAYERS = _numbered(_vgg16_names(), features=31)
_DENSENET_LAYERS = {
    "conv1": "features.conv0",
    "bn1": "features.norm0",
    "bn1_relu": "features.relu0",
    "pool1": "features.pool0",
    **{f"denseblock{block}": f"features.denseblock{block}" for block in range(1, 5)},
    **{f"transition{block}": f"features.transition{block}" for block in range(1, 4)},
    "bn2": "features.norm5",
    "fc1": "classifier",
}

#: Readable name → dotted name, in order, by network.
READABLE = {
    "alexnet": _ALEXNET_LAYERS,
    "vgg16": _VGG16_LAYERS,
    "vgg16-face": _VGG16_LAYERS,
    "densenet121": _DENSENET_LAYERS,
    "densenet169": _DENSENET_LAYERS,
}

"""What a layer returns: which axis is the image, which the channel, which are space or tokens.

The axis of the images is the one that follows when the network is run on two images and on three.
The axis of the channels follows from the class of the layer, from the shape of its output beside
that of the image, or, where these leave it open, from which axes tell the two ends of a diagonal of
the image apart; an argument overrides it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from core.errors import UsageError

#: Numbers of images in the two passes that find the axis of the images.
PROBES = (2, 3)

#: Classes whose output has its channels first, or last, whatever its shape. Subclasses may differ.
_CHANNELS_FIRST = (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, nn.AvgPool2d, nn.ConvTranspose2d)
_CHANNELS_LAST = (nn.Linear, nn.LayerNorm)

#: A patch at either end of the diagonal, as a share of a side; and by how much, as a share of an
#: axis, the centre of what it changes must move more along space than along channels.
_PATCH, _DECISIVE = 0.4, 0.1

Shape = tuple[int, ...]


@dataclass(frozen=True)
class LayerOutput:
    """The output of a layer to one image.

    Attributes
    ----------
    layer : str
        The name by which it was asked for.
    shape : tuple of int
        Without the axis of the images, as the layer returns it.
    image_axis : int
        Axis of the images in the whole output.
    channel_axis : int or None
        Axis of the channels in `shape`; None where it could not be found.
    element : str or None
        Which part of a tuple, list or mapping this is.
    """

    layer: str
    shape: Shape
    image_axis: int = 0
    channel_axis: int | None = 0
    element: str | None = None

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes of `shape`."""
        others = [axis for axis in range(len(self.shape)) if axis != self.channel_axis]
        names = dict(zip(others, _other_axes(len(others)), strict=True))
        return tuple(names.get(axis, "channel") for axis in range(len(self.shape)))

    @property
    def order(self) -> tuple[int, ...]:
        """Axes of `shape` in the order in which a unit is given.

        (channel, row, column) in a map, wherever its channels lie; (token, channel) in a sequence.

        Raises
        ------
        UsageError
            If the axis of the channels could not be found.
        """
        if self.channel_axis is None:
            raise UsageError(
                f"which axis of layer {self.layer!r}, whose output has shape {self.shape}, holds "
                "its channels cannot be told; give channel_axis=0 (first) or channel_axis=-1 "
                "(last), or choose units with a mask of that shape."
            )
        others = [axis for axis in range(len(self.shape)) if axis != self.channel_axis]
        own = [self.channel_axis]
        return tuple([*others, *own] if len(self.shape) == 2 else [*own, *others])

    @property
    def unit_shape(self) -> Shape:
        """Lengths of the axes in the order in which a unit is given."""
        return tuple(self.shape[axis] for axis in self.order)

    @property
    def unit_axes(self) -> str:
        """The order in which a unit is given, such as ``(channel, row, column)``."""
        names = ", ".join(self.axes[axis] for axis in self.order)
        return f"({names},)" if len(self.shape) == 1 else f"({names})"

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.shape[self.order[-1 if len(self.shape) == 2 else 0]]

    def index(self, unit: Sequence[Any]) -> tuple[Any, ...]:
        """Turn a unit into an index along the axes of `shape`."""
        placed = dict(zip(self.order, unit, strict=True))
        return tuple(placed[axis] for axis in range(len(self.shape)))

    def centre(self, channel: Any) -> tuple[Any, ...]:
        """Return the central unit of a channel, at (rows // 2, columns // 2).

        Raises
        ------
        UsageError
            In a sequence of tokens, which has no centre.
        """
        if len(self.shape) == 2:
            raise UsageError(
                f"layer {self.layer!r} has {self.unit_shape[0]} tokens of {self.channels} channels "
                "and no centre; give a unit (token, channel), or a whole channel."
            )
        return (channel, *(length // 2 for length in self.unit_shape[1:]))

    def images_first(self, output: Tensor) -> Tensor:
        """Return the layer's whole output, or the element, with its images on the first axis."""
        return output.movedim(self.image_axis, 0) if self.image_axis else output

    def __str__(self) -> str:
        named = ", ".join(
            f"{length} {name}" + ("s" if length != 1 else "")
            for name, length in zip(self.axes, self.shape, strict=True)
        )
        return f"{self.layer}: {named}"


def split_element(name: str) -> tuple[str, str | None]:
    """Split the name of a part, such as ``"attention[1]"``, into layer and element.

    >>> split_element("encoder.attention[1]")
    ('encoder.attention', '1')
    """
    if name.endswith("]") and "[" in name:
        layer, _, element = name[:-1].rpartition("[")
        return layer, element.strip("'\"")
    return name, None


def element_of(output: Any, element: str | None, layer: str) -> Tensor:
    """Return the tensor of what a layer returned: itself, or an element, by default the first.

    Raises
    ------
    UsageError
        If there is no such element, or it is not a tensor of real numbers.
    """
    found, elements = output, elements_of(output)
    if elements or element is not None:
        name = element if element is not None else next(iter(elements))
        if name not in elements:
            raise UsageError(
                f"layer {layer!r} returns a {type(output).__name__} without element {name!r}; "
                f"its elements: {', '.join(map(str, elements)) or 'none'}."
            )
        found = elements[name]
    if not isinstance(found, Tensor):
        raise UsageError(
            f"layer {layer!r} returns a {type(found).__name__}, not a tensor; choose a layer "
            "inside it"
            + (f", or an element of it, such as '{layer}[{next(iter(elements))}]'." if elements
               else ".")
        )
    if found.is_complex():
        raise UsageError(
            f"layer {layer!r} returns complex numbers, which are no responses; choose another."
        )
    return found


def elements_of(output: Any) -> dict[str, Any]:
    """Return the elements of a tuple, list or mapping by name or number; of a tensor, none."""
    if isinstance(output, dict):
        return {str(key): value for key, value in output.items()}
    if isinstance(output, tuple | list):
        return {str(number): value for number, value in enumerate(output)}
    return {}


def image_axis_of(shapes: Sequence[Shape | None], layer: str) -> int:
    """Return the axis that follows the number of images.

    Parameters
    ----------
    shapes : sequence of tuple of int
        Of the whole output, for each number of images in `PROBES`.
    layer : str
        Its name, for the message.

    Raises
    ------
    UsageError
        If no axis or several do, or one in multiples: then answers to images cannot be told apart.
    """
    first, second = shapes
    if first is None or second is None or len(first) != len(second):
        raise UsageError(_unlike(layer, shapes))
    followed = [axis for axis, (a, b) in enumerate(zip(first, second, strict=True)) if a != b]
    if len(followed) == 1 and (first[followed[0]], second[followed[0]]) == PROBES:
        return followed[0]
    raise UsageError(_unlike(layer, shapes))


def _unlike(layer: str, shapes: Sequence[Shape | None]) -> str:
    of_each = " and ".join(
        f"{shape} for {images} images" for images, shape in zip(PROBES, shapes, strict=True)
    )
    return (
        f"the output of layer {layer!r} has shape {of_each}, where no axis counts the images (it "
        "may hold windows or tokens of all of them in one); choose a layer around or after it."
    )


def channel_axis_of(
    shape: Shape, module: nn.Module, image_sides: tuple[int, int]
) -> int | None:
    """Return the axis of the channels from class and shape; None where these leave it open.

    Parameters
    ----------
    shape : tuple of int
        Of the output to one image.
    module : torch.nn.Module
        The layer.
    image_sides : tuple of int
        Rows and columns of the network's input; maps have their proportions.
    """
    if len(shape) <= 1 or len(shape) > 3:
        return 0 if shape else None
    if type(module) in _CHANNELS_LAST or len(shape) == 2:
        return len(shape) - 1
    if type(module) in _CHANNELS_FIRST:
        return 0
    first, last = _like_image(shape[1:], image_sides), _like_image(shape[:2], image_sides)
    if first == last:
        return None
    return 0 if first else 2


def _like_image(sides: Shape, image_sides: tuple[int, int]) -> bool:
    """Tell whether rows and columns have the proportions of the image, up to one of either."""
    (rows, columns), (height, width) = sides, image_sides
    return abs(rows * width - columns * height) < max(height, width) if height != width else (
        rows == columns
    )


def moved_axis(outputs: Tensor) -> int | None:
    """Tell the channels from the answers to an image and to changes at both ends of its diagonal.

    Parameters
    ----------
    outputs : torch.Tensor, shape (3, a, b, c)
        To the three images of `diagonal_images`. Along rows and columns, the change moves with
        what was changed; along channels it does not.

    Returns
    -------
    int or None
        0 or 2; None where the answers leave it open.
    """
    changes = (outputs[1:] - outputs[:1]).double().abs()
    moved = []
    for axis in (0, 2):
        others = [other + 1 for other in range(3) if other != axis]
        profiles = changes.sum(others)
        places = torch.arange(profiles.shape[1], dtype=profiles.dtype, device=profiles.device)
        centres = (profiles @ places) / profiles.sum(1) / max(profiles.shape[1] - 1, 1)
        moved.append(float(centres[1] - centres[0]))
    along_first, along_last = moved
    if not abs(along_first - along_last) > _DECISIVE:
        return None
    return 2 if along_first > along_last else 0


def diagonal_images(image: Tensor) -> Tensor:
    """Return an image (c, h, w), and it with another upper left and lower right corner."""
    changed = 1 - image
    sides = [max(1, round(_PATCH * length)) for length in image.shape[1:]]
    images = torch.stack([image] * 3)
    images[1, :, : sides[0], : sides[1]] = changed[:, : sides[0], : sides[1]]
    images[2, :, -sides[0] :, -sides[1] :] = changed[:, -sides[0] :, -sides[1] :]
    return images


def _other_axes(count: int) -> tuple[str, ...]:
    """Name the axes that are not the channels'."""
    named: dict[int, tuple[str, ...]] = {
        0: (), 1: ("token",), 2: ("row", "column"), 3: ("frame", "row", "column"),
    }  # fmt: skip
    return named.get(count, tuple(f"axis {number}" for number in range(1, count + 1)))


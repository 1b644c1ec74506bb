"""The two generative spaces in which every paired evolution searches, each with all its names."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias, TypeVar

Value = TypeVar("Value")


class Space(StrEnum):
    """A generative space; as text it is its label, ``"DeePSim"`` or ``"BigGAN"``.

    Attributes
    ----------
    thread : int
        Thread of a paired evolution that searches it; ends the names of tests (``p_maxinit_0``).
    prefix : str
        How columns and masks of the published tables begin: ``FC`` or ``BG``.
    generator : str
        What names of its generators hold in recordings.
    colour : str
        In every figure.
    dash, marker : str
        Second cue beside the colour, as matplotlib writes line styles and markers.
    """

    thread: int
    prefix: str
    generator: str
    colour: str
    dash: str
    marker: str

    DEEPSIM = "DeePSim", 0, "FC", "fc6", "#0000ff", "-", "o"
    BIGGAN = "BigGAN", 1, "BG", "BigGAN", "#ff0000", "--", "s"

    def __new__(
        cls,
        label: str,
        thread: int,
        prefix: str,
        generator: str,
        colour: str,
        dash: str,
        marker: str,
    ) -> Space:
        """Make a member from its label and attributes."""
        space = str.__new__(cls, label)
        space._value_ = label
        space.thread, space.prefix, space.generator = thread, prefix, generator
        space.colour, space.dash, space.marker = colour, dash, marker
        return space

    def __repr__(self) -> str:
        return str.__repr__(self)


#: One value for each space: what would otherwise be a pair whose order must be remembered.
BySpace: TypeAlias = dict[Space, Value]

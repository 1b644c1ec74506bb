"""Numbers that a figure states, as records that can stand beside the published ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Statistic:
    """One number, or one short list of numbers, that a panel shows.

    Attributes
    ----------
    quantity : str
        What it is, named as in the list of published values where that has it.
    value : number, str or list
        What came out; must be JSON-able, NaN allowed.
    area, space : str
        Visual area and generative space it belongs to, empty where it belongs to none.
    """

    quantity: str
    value: Any
    area: str = ""
    space: str = ""

"""Numbers that a figure states, and the published numbers that they should be.

Computed and published numbers meet only where the data are real; a simulation has nothing to say
about what the paper printed.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from core.spaces import Space

_DATA = Path(__file__).parent / "data"
_PUBLISHED_FILE = _DATA / "published_values.csv"
_DOTS_FILE = _DATA / "published_dots.csv"

#: The published panels of time windows show the blocks 0 … 45.
DOT_BLOCKS = range(46)

#: Example experiment of Figure 2.
EXAMPLE_EXPI = 155

#: Slack for the rounding of a value that lies just at half a printed digit.
_ROUNDING = 1e-9

Verdict = Literal["equal", "differs", "not published", "not computed"]

#: What a published number is about: panel, quantity, area, space.
Key = tuple[str, str, str, str]


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
    basis : mapping
        What it rests on, as a report must tell it: test, sidedness, degrees of freedom, correction,
        n and its unit, what a band or an interval is.
    """

    quantity: str
    value: Any
    area: str = ""
    space: str = ""
    basis: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PublishedValue:
    """One number that the paper, or a printed output behind it, states.

    Attributes
    ----------
    value : float or str
        As printed.
    tolerance : float
        How far a recomputed number may lie from it and still be the same.
    precision : str
        How it is known: printed with so many digits, or read from a picture.
    note : str
        What else is to know.
    """

    value: float | str
    tolerance: float
    precision: str
    note: str


@dataclass(frozen=True)
class ComparedNumber:
    """A computed number beside the published one.

    Attributes
    ----------
    verdict : str
        Equal within the printed digits, differs, not published, or (published but) not computed.
    published : float, str or None
        The published number.
    difference : float or None
        Computed minus published, where both are numbers and differ.
    """

    verdict: Verdict
    published: float | str | None = None
    difference: float | None = None

    def __str__(self) -> str:
        """Say it in words."""
        if self.verdict == "differs" and self.difference is not None:
            return f"differs by {self.difference:+.3g}"
        return self.verdict


def compare(panel: str, statistic: Statistic) -> ComparedNumber:
    """Hold one statistic against the published value.

    Parameters
    ----------
    panel : str
        ``"4A"``; what follows an underscore (``"3G_avgpool_act"``) names a part of the panel.
    statistic : Statistic
        What came out.
    """
    key = (whole_panel(panel), statistic.quantity, statistic.area, statistic.space)
    published = published_values().get(key)
    if published is None:
        return ComparedNumber("not published")
    if isinstance(published.value, str):
        same = str(statistic.value) == published.value
        return ComparedNumber("equal" if same else "differs", published.value)
    computed = _number(statistic.value)
    if computed is None or math.isnan(computed):
        return ComparedNumber("differs", published.value)
    difference = computed - published.value
    slack = published.tolerance + _ROUNDING * abs(published.value)
    if abs(difference) <= slack:
        return ComparedNumber("equal", published.value)
    return ComparedNumber("differs", published.value, difference)


def not_computed(
    panels: Iterable[str], statistics: Iterable[tuple[str, Statistic]]
) -> Iterator[Key]:
    """Yield the published numbers of some panels that no statistic answers.

    Parameters
    ----------
    panels : iterable of str
        Panels that were made.
    statistics : iterable of (panel, Statistic)
        All that they told.
    """
    made = {whole_panel(panel) for panel in panels}
    told = {(whole_panel(panel), s.quantity, s.area, s.space) for panel, s in statistics}
    yield from (key for key in published_values() if key[0] in made and key not in told)


@cache
def published_values() -> dict[Key, PublishedValue]:
    """Return every published number that is known, by panel, quantity, area and space."""
    with _PUBLISHED_FILE.open(encoding="utf-8", newline="") as file:
        return {
            (row["panel"], row["quantity"], row["area"], row["space"]): PublishedValue(
                value=_as_printed(row["value"]) if row["tolerance"] else row["value"],
                tolerance=float(row["tolerance"] or 0),
                precision=row["precision"],
                note=row["note"],
            )
            for row in csv.DictReader(file)
        }


@dataclass(frozen=True)
class PublishedDots:
    """Significance dots of one small plot of 5C or Extended 4C, read from the published picture.

    Attributes
    ----------
    panel : str
        ``"5C"`` or ``"Ext4C"``.
    success_p : float
        Threshold of success of both threads.
    area : str
        Visual area.
    start_ms, stop_ms : int
        The time window.
    blocks : dict of str to frozenset of int
        Space → 0-based blocks in which its response is the larger.
    """

    panel: str
    success_p: float
    area: str
    start_ms: int
    stop_ms: int
    blocks: dict[str, frozenset[int]]

    @property
    def quantity(self) -> str:
        """How the panels call the blocks that they mark."""
        ending = "" if self.panel == "5C" else f"_p{self.success_p:.2f}".replace("0.", "")
        return f"blocks where larger, {self.start_ms}-{self.stop_ms} ms{ending}"


@cache
def published_dots() -> tuple[PublishedDots, ...]:
    """Return the significance dots of all small plots of 5C and Extended 4C."""
    with _DOTS_FILE.open(encoding="utf-8", newline="") as file:
        return tuple(
            PublishedDots(
                row["panel"], float(row["success_p"]), row["area"],
                int(row["start_ms"]), int(row["stop_ms"]),
                {space: _blocks(row[space]) for space in Space},
            )
            for row in csv.DictReader(file)
        )  # fmt: skip


def _blocks(text: str) -> frozenset[int]:
    """Read a list of blocks and of runs of blocks, such as ``"1-2 5 7-9"``."""
    runs = (part.partition("-") for part in text.split())
    return frozenset(
        block for first, _, last in runs for block in range(int(first), int(last or first) + 1)
    )


def whole_panel(panel: str) -> str:
    """Return the panel of the paper that a part of it belongs to: 3G of 3G_avgpool_act."""
    return panel.partition("_")[0]


def _as_printed(text: str) -> float:
    """Read a number; a count stays one, so that it is never told as 65.0."""
    return int(text) if text.isdecimal() else float(text)


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None

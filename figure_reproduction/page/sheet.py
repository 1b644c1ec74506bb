"""Where pictures lie on a sheet of paper: places in millimetres, panel letters, marks, the font.

A picture is printed by the same code and at the same size alone and in its composed figure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import _mathtext, font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.text import Text
from matplotlib.transforms import Bbox

#: Width of a printed column and of a page, and the height of a page, mm (Nature's guide).
COLUMN_MM, PAGE_MM, HIGHEST_MM = 89.0, 183.0, 247.0

#: Left of every picture for its letter, and below it for the mark of its data, mm.
LEFT_STRIP_MM, LOWER_STRIP_MM = 3.4, 2.6

LETTER_PT, MARK_PT = 8, 5

#: Size of an exponent beside its text: 5 pt beside 6. The 0.7 of matplotlib is below what journals
#: print, and no public setting changes it.
EXPONENT_SHARE = 5 / 6

#: Width of a letter of that size, about, mm.
MARK_LETTER_MM = 0.92

#: The face of all text; it has the widths of Arial and comes with this software.
FONT = "Liberation Sans"

STYLE_SHEET = Path(__file__).with_name("paper.mplstyle")

_FONTS = Path(__file__).parents[1] / "fonts"

_MM_PER_INCH = 25.4


@dataclass(frozen=True)
class Drawing:
    """One picture of a panel, before it has a page.

    Attributes
    ----------
    draw : callable
        Draws on a figure or on a part of one; knows all it draws, and neither makes nor sizes a
        figure.
    size_mm : (float, float)
        Width and height on paper, strips included.
    """

    draw: Callable[[FigureBase], None]
    size_mm: tuple[float, float]


@dataclass(frozen=True)
class Place:
    """A picture on a sheet.

    Attributes
    ----------
    drawing : Drawing
        The picture.
    left, top : float
        Its upper left corner, mm from that of the sheet.
    panel, letter : str
        Panel of the paper, and its letter; that is empty where another picture of it has it.
    mark : str
        Word that says that the data are not the paper's; empty for real data.
    origin : str
        Where data without a mark come from, in one short line.
    names : mapping of str to str
        Other names for what the picture calls DeePSim and BigGAN.
    """

    drawing: Drawing
    left: float = 0.0
    top: float = 0.0
    panel: str = ""
    letter: str = ""
    mark: str = ""
    origin: str = ""
    names: Mapping[str, str] = field(default_factory=dict)


@cache
def _register_fonts() -> None:
    for path in sorted(_FONTS.glob("*.ttf")):
        font_manager.fontManager.addfont(path)


@contextmanager
def style() -> Iterator[None]:
    """Draw and save in the style of all figures: their font, sizes, and exponents one can read."""
    _register_fonts()
    usual = _mathtext.SHRINK_FACTOR
    _mathtext.SHRINK_FACTOR = EXPONENT_SHARE
    try:
        with plt.style.context(["default", STYLE_SHEET]):
            yield
    finally:
        _mathtext.SHRINK_FACTOR = usual


def in_rows(rows: Sequence[Sequence[Place]]) -> Iterator[Place]:
    """Put places side by side, row under row, from the upper left corner.

    Parameters
    ----------
    rows : sequence of sequences of Place
        Their positions are ignored.

    Yields
    ------
    Place
        With its position.
    """
    top = 0.0
    for row in rows:
        left = 0.0
        for place in row:
            yield replace(place, left=left, top=top)
            left += place.drawing.size_mm[0]
        top += max((place.drawing.size_mm[1] for place in row), default=0.0)


def print_sheet(places: Iterable[Place]) -> Figure:
    """Draw pictures at their places on a figure that just holds them.

    Parameters
    ----------
    places : iterable of Place
        At least one.

    Returns
    -------
    matplotlib.figure.Figure
        Laid out, so that saving it in several formats does not lay it out again.
    """
    places = list(places)
    edges_x = _edges((p.left, p.drawing.size_mm[0], LEFT_STRIP_MM, 0.0) for p in places)
    edges_y = _edges((p.top, p.drawing.size_mm[1], 0.0, LOWER_STRIP_MM) for p in places)
    width, height = edges_x[-1], edges_y[-1]
    figure = plt.figure(
        figsize=(width / _MM_PER_INCH, height / _MM_PER_INCH), layout="constrained"
    )
    grid = figure.add_gridspec(
        len(edges_y) - 1, len(edges_x) - 1, wspace=0, hspace=0,
        width_ratios=np.diff(edges_x), height_ratios=np.diff(edges_y),
    )  # fmt: skip
    for place, later in zip(places, (*places[1:], None), strict=True):
        wide, high = place.drawing.size_mm
        rows = _between(edges_y, place.top, place.top + high - LOWER_STRIP_MM)
        columns = _between(edges_x, place.left + LEFT_STRIP_MM, place.left + wide)
        part = figure.add_subfigure(grid[rows, columns])
        place.drawing.draw(part)
        if place.names:
            _rename(part, place.names)
        is_last = later is None or later.origin != place.origin  # told once for one origin
        _write_around(figure, place, (width, height), place.origin if is_last else "")
    figure.get_layout_engine().execute(figure)  # type: ignore[union-attr]
    # "none" would leave a stand-in, for which savefig draws everything twice.
    figure._layout_engine = None  # type: ignore[attr-defined]
    _round_places(figure)
    return figure


def _rename(part: FigureBase, names: Mapping[str, str]) -> None:
    """Call spaces by other names in all texts of a picture."""

    def renamed(text: str) -> str:
        return re.sub("|".join(map(re.escape, names)), lambda found: names[found[0]], text)

    for axes in part.findobj(Axes):
        for axis in (axes.xaxis, axes.yaxis):
            ticks = [label.get_text() for label in axis.get_ticklabels()]
            if any(renamed(text) != text for text in ticks):  # written anew at every drawing
                axis.set_ticks(axis.get_ticklocs(), labels=[renamed(text) for text in ticks])
    for found in part.findobj(Text):
        if isinstance(found, Text):
            found.set_text(renamed(found.get_text()))


def _round_places(figure: Figure) -> None:
    """Round where axes and titles lie: the layout's solver differs in the last digits by run."""
    for part in figure.subfigs:
        part.bbox_relative.set_points(np.round(part.bbox_relative.get_points(), 6))
    for axes in figure.get_axes():
        axes.set_position(Bbox(np.round(axes.get_position(original=True).get_points(), 6)))
    for place in (figure, *figure.subfigs):
        titles = (getattr(place, f"_sup{name}", None) for name in ("title", "xlabel", "ylabel"))
        for text in (*place.texts, *titles):
            if text is not None:
                x, y = np.round(text.get_position(), 6)
                text.set_position((float(x), float(y)))


def _edges(spans: Iterable[tuple[float, float, float, float]]) -> list[float]:
    """Return the edges of all places along one axis: start, length, strip before, strip after."""
    edges = {0.0}
    for start, length, before, after in spans:
        ends = (start, start + before, start + length - after, start + length)
        edges |= {round(end, 3) for end in ends}
    return sorted(edges)


def _between(edges: Sequence[float], start: float, stop: float) -> slice:
    return slice(edges.index(round(start, 3)), edges.index(round(stop, 3)))


def _write_around(
    figure: Figure, place: Place, size_mm: tuple[float, float], origin: str
) -> None:
    """Write letter and mark of a picture, or the origin of its data, into the strips around it."""

    def write(x: float, y: float, text: str, **look: Any) -> None:
        figure.text(x / size_mm[0], 1 - y / size_mm[1], text, in_layout=False, **look)

    wide, high = place.drawing.size_mm
    if place.letter:
        write(
            place.left + 0.4, place.top + 0.4, place.letter, fontsize=LETTER_PT,
            fontweight="bold", ha="left", va="top",
        )  # fmt: skip
    if place.mark:
        look: dict[str, Any] = {"fontsize": MARK_PT, "color": "0.35", "gid": "mark",
                                "ha": "center", "va": "center"}  # fmt: skip
        below, beside = place.top + high - LOWER_STRIP_MM / 2, place.left + LEFT_STRIP_MM / 2
        for third in (1 / 6, 3 / 6, 5 / 6):  # so that a third of a picture has it whole
            write(place.left + wide * third, below, place.mark, **look)
            write(beside, place.top + high * third, place.mark, rotation=90, **look)
    elif origin:
        if len(origin) * MARK_LETTER_MM > wide - LEFT_STRIP_MM:  # a narrow picture has no room
            origin = origin.partition(",")[0]
        write(
            place.left + wide - 0.4, place.top + high - 0.3, origin, fontsize=MARK_PT, color="0.45",
            ha="right", va="bottom", parse_math=False,
        )  # fmt: skip


def letters_of(panels: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the letter of the first picture of each letter: ``4A`` is a, ``Ext4B`` is b.

    Parameters
    ----------
    panels : iterable of (str, str)
        Picture and panel, in the order in which they are printed.
    """
    letters: dict[str, str] = {}
    for picture, panel in panels:
        letter = panel.partition("_")[0][-1].lower()
        if letter.isalpha() and letter not in letters.values():
            letters[picture] = letter
    return letters

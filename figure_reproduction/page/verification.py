"""Does what was computed equal what was printed? Read from the figures' JSON files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from core.errors import MalformedDataError
from core.files import read_json
from core.published import Statistic, not_computed, published_values
from core.source_tables.provenance import KINDS


@dataclass(frozen=True)
class Discrepancy:
    """A published number that did not come out.

    Attributes
    ----------
    panel, quantity, area, space : str
        Which number.
    published : float or str
        As printed.
    found : str
        What came out instead.
    """

    panel: str
    quantity: str
    area: str
    space: str
    published: float | str
    found: str

    def __str__(self) -> str:
        """Say it in one line."""
        where = " ".join(part for part in (self.area, self.space) if part)
        return (
            f"{self.panel}: {self.quantity}{f' ({where})' if where else ''}: "
            f"published {_as_printed(self.published)}, {self.found}"
        )


@dataclass(frozen=True)
class Verification:
    """How the figures of real data compare with the paper.

    Attributes
    ----------
    n_equal : int
        Numbers that came out as printed.
    discrepancies : tuple of Discrepancy
        Those that did not.
    panels : tuple of str
        Panels with published numbers that were compared: those made from real data.
    not_reached : mapping of str to int
        Panel → published numbers of it that no real data were there for.
    """

    n_equal: int
    discrepancies: tuple[Discrepancy, ...]
    panels: tuple[str, ...]
    not_reached: Mapping[str, int]

    @property
    def outcome(self) -> Literal["PASS", "FAIL", "INCOMPLETE"]:
        """Whether every published number came out, one did not, or some were not reached."""
        if self.discrepancies:
            return "FAIL"
        return "INCOMPLETE" if self.not_reached else "PASS"

    def __str__(self) -> str:
        """Say it in one line."""
        n_missed = sum(self.not_reached.values())
        where = f" (panels {', '.join(self.not_reached)}: no real data)" if n_missed else ""
        total = self.n_equal + len(self.discrepancies) + n_missed
        return (
            f"{self.outcome}: of {total} published numbers {self.n_equal} equal, "
            f"{len(self.discrepancies)} not, {n_missed} not reached{where}"
        )


def read_figure(path: Path) -> dict[str, Any]:
    """Read the JSON file of a figure.

    Raises
    ------
    MalformedDataError
        If a figure script did not write it.
    """
    try:
        figure = read_json(path)
        _ = figure["title"], figure["command"], figure["software"].items()
        for panel in figure["panels"].values():
            _touch_panel(panel)
        return figure
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MalformedDataError(
            f"{path} is not what a figure script writes ({error!r:.200}); remove it and run again."
        ) from error


def _touch_panel(panel: dict[str, Any]) -> None:
    """Use everything that a page or a comparison uses of a panel; raise if it is not there."""
    _ = panel["caption"], panel["inputs"].items(), panel["provenance"]["details"].items()
    _ = KINDS[panel["provenance"]["kind"]]
    _ = ["".join(files) for files in panel["pictures"].values()]
    for s in panel["statistics"]:
        _ = s["value"], hash((s["quantity"], s["area"], s["space"]))
        if is_compared(panel):
            _ = s["published"], s["verdict"].strip()


def is_compared(panel: dict[str, Any]) -> bool:
    """Tell whether the numbers of a panel stand beside the published ones."""
    return any("verdict" in statistic for statistic in panel["statistics"])


def unanswered(panels: Mapping[str, dict[str, Any]]) -> list[tuple[str, str, str, str]]:
    """List the published numbers of some panels that none of them tells.

    Parameters
    ----------
    panels : mapping
        Name → panel, all that were made of a figure.

    Returns
    -------
    list of (panel, quantity, area, space)
    """
    compared = {name: panel for name, panel in panels.items() if is_compared(panel)}
    told = [
        (name, Statistic(s["quantity"], s["value"], s["area"], s["space"]))
        for name, panel in compared.items()
        for s in panel["statistics"]
    ]
    return list(not_computed(compared, told))


def verify(folder: Path, figures: Iterable[str] | None = None) -> Verification:
    """Compare the figures in an output folder with the paper.

    Parameters
    ----------
    folder : pathlib.Path
        Output folder of the figures.
    figures : iterable of str, optional
        Only these, such as ``"Figure4"``; all that lie there by default.

    Returns
    -------
    Verification
        Panels of simulated data and of untrained networks are not compared.
    """
    paths = [
        path
        for path in sorted(folder.glob("Figure*[0-9].json"))
        if figures is None or path.stem in figures
    ]
    compared = {
        name: panel
        for path in paths
        for name, panel in read_figure(path)["panels"].items()
        if is_compared(panel)
    }
    statistics = [(name, s) for name, panel in compared.items() for s in panel["statistics"]]
    return Verification(
        n_equal=sum(statistic["verdict"] == "equal" for _, statistic in statistics),
        discrepancies=(*_differing(statistics), *_missing(compared)),
        panels=tuple(name for name in compared if name.partition("_")[0] in _published_panels()),
        not_reached=_not_reached(compared, figures),
    )


def _published_panels() -> Counter[str]:
    return Counter(key[0] for key in published_values())


def _not_reached(compared: Iterable[str], figures: Iterable[str] | None) -> dict[str, int]:
    """Count the published numbers of the panels of some figures that were not compared."""
    reached = {name.partition("_")[0] for name in compared}
    return {
        panel: count
        for panel, count in _published_panels().items()
        if panel not in reached and (figures is None or figure_of_panel(panel) in figures)
    }


def figure_of_panel(panel: str) -> str:
    """Return the figure that a panel belongs to.

    >>> figure_of_panel("4A"), figure_of_panel("Ext5C"), figure_of_panel("recordings")
    ('Figure4', 'FigureExt5', 'Figure4')
    """
    found = re.match(r"(Ext)?\d+", panel)
    return f"Figure{found[0]}" if found else "Figure4"


def _as_printed(value: float | str) -> str:
    """Write a published value without the decimals that a count does not have."""
    return f"{value:g}" if isinstance(value, float) and value.is_integer() else str(value)


def _differing(statistics: Iterable[tuple[str, dict[str, Any]]]) -> Iterator[Discrepancy]:
    for name, s in statistics:
        if s["verdict"].startswith("differs"):
            found = f"computed {s['value']}, {s['verdict']}"
            yield Discrepancy(name, s["quantity"], s["area"], s["space"], s["published"], found)


def _missing(panels: Mapping[str, dict[str, Any]]) -> Iterator[Discrepancy]:
    for key in unanswered(panels):
        yield Discrepancy(*key, published=published_values()[key].value, found="not computed")

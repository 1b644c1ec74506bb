"""Does what was computed equal what was printed? Read from the figures' JSON files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
            f"published {self.published}, {self.found}"
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
        Panels that were compared: those made from real data.
    """

    n_equal: int
    discrepancies: tuple[Discrepancy, ...]
    panels: tuple[str, ...]


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


def verify(folder: Path) -> Verification:
    """Compare the figures in an output folder with the paper.

    Parameters
    ----------
    folder : pathlib.Path
        Output folder of the figures.

    Returns
    -------
    Verification
        Panels of simulated data and of untrained networks are not compared.
    """
    compared = {
        name: panel
        for path in sorted(folder.glob("Figure*[0-9].json"))
        for name, panel in read_figure(path)["panels"].items()
        if is_compared(panel)
    }
    statistics = [(name, s) for name, panel in compared.items() for s in panel["statistics"]]
    return Verification(
        n_equal=sum(statistic["verdict"] == "equal" for _, statistic in statistics),
        discrepancies=(*_differing(statistics), *_missing(compared)),
        panels=tuple(compared),
    )


def _differing(statistics: Iterable[tuple[str, dict[str, Any]]]) -> Iterator[Discrepancy]:
    for name, s in statistics:
        if s["verdict"].startswith("differs"):
            found = f"computed {s['value']}, {s['verdict']}"
            yield Discrepancy(name, s["quantity"], s["area"], s["space"], s["published"], found)


def _missing(panels: Mapping[str, dict[str, Any]]) -> Iterator[Discrepancy]:
    for key in unanswered(panels):
        yield Discrepancy(*key, published=published_values()[key].value, found="not computed")

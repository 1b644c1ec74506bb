"""Does what was computed equal what was printed? Read from the figures' JSON files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import MalformedDataError
from core.published import Statistic, not_computed, published_values


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
        figure = json.loads(path.read_text(encoding="utf-8"))
        for panel in figure["panels"].values():
            _ = panel["caption"], panel["pictures"], panel["inputs"], panel["statistics"]
            _ = panel["provenance"]["kind"], figure["software"], figure["command"]
        return figure
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MalformedDataError(
            f"{path} is not what a figure script writes ({error!r}); remove it and run again."
        ) from error


def is_compared(panel: dict[str, Any]) -> bool:
    """Tell whether the numbers of a panel stand beside the published ones."""
    return any("verdict" in statistic for statistic in panel["statistics"])


def unanswered(name: str, panel: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """List the published numbers of a panel that it does not tell: panel, quantity, area, space."""
    told = [
        (name, Statistic(s["quantity"], s["value"], s["area"], s["space"]))
        for s in panel["statistics"]
    ]
    return list(not_computed([name], told))


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
    entries = [(name, s) for name, panel in compared.items() for s in panel["statistics"]]
    differing = tuple(d for name, panel in compared.items() for d in _discrepancies(name, panel))
    return Verification(
        n_equal=sum(statistic["verdict"] == "equal" for _, statistic in entries),
        discrepancies=differing,
        panels=tuple(compared),
    )


def _discrepancies(name: str, panel: dict[str, Any]) -> Iterator[Discrepancy]:
    for s in panel["statistics"]:
        if s["verdict"].startswith("differs"):
            found = f"computed {s['value']}, {s['verdict']}"
            yield Discrepancy(name, s["quantity"], s["area"], s["space"], s["published"], found)
    for key in unanswered(name, panel):
        yield Discrepancy(*key, published=published_values()[key].value, found="not computed")

"""Does what was computed equal what was printed? Over all published numbers, and all dots."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from core.errors import MalformedDataError
from core.files import read_json
from core.published import (
    DOT_BLOCKS,
    PublishedDots,
    Statistic,
    not_computed,
    published_dots,
    published_values,
    whole_panel,
)
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
    """How the figures of one run compare with the paper.

    Attributes
    ----------
    n_published : int
        Published numbers that are known.
    n_equal : int
        Numbers that came out as printed.
    discrepancies : tuple of Discrepancy
        Those that did not, dots included.
    unreached : mapping of str to str
        Panel of the paper → why its numbers could not be compared.
    n_unreached : int
        Their numbers together.
    n_dots, n_different_dots : int
        Blocks of small plots that bear a dot or none, and those where that differs.
    panels : tuple of str
        Panels that were compared: those made from real data.
    asked_for : frozenset of str
        Panels of the figures that were asked for.
    """

    n_published: int
    n_equal: int
    discrepancies: tuple[Discrepancy, ...]
    unreached: Mapping[str, str]
    n_unreached: int
    n_dots: int
    n_different_dots: int
    panels: tuple[str, ...]
    asked_for: frozenset[str]

    @property
    def outcome(self) -> Literal["PASS", "FAIL", "INCOMPLETE"]:
        """FAIL where something differs; PASS where all that was asked for came out as printed."""
        if self.discrepancies:
            return "FAIL"
        return "INCOMPLETE" if self.asked_for & self.unreached.keys() else "PASS"

    @property
    def exit_code(self) -> int:
        """0 passed, 1 failed, 3 data are missing."""
        return {"PASS": 0, "FAIL": 1, "INCOMPLETE": 3}[self.outcome]

    def lines(self) -> Iterator[str]:
        """Say it: what differs, what was not reached and why, then the outcome with its totals."""
        yield from map(str, self.discrepancies)
        reasons: dict[str, list[str]] = {}
        for panel, why in self.unreached.items():
            reasons.setdefault(why, []).append(panel)
        for why, panels in reasons.items():
            yield f"not reached: {', '.join(panels)}: {why}"
        n_different = len(self.discrepancies) - bool(self.n_different_dots)
        yield (
            f"{self.outcome}: of {self.n_published} published numbers {self.n_equal} as printed, "
            f"{n_different} differing, {self.n_unreached} not reached; "
            f"of {self.n_dots} dots compared {self.n_different_dots} differing"
        )

    def as_json(self) -> dict[str, Any]:
        """Return all of it in plain JSON."""
        content = asdict(self) | {"outcome": self.outcome}
        return content | {"asked_for": sorted(self.asked_for), "unreached": dict(self.unreached)}


def read_figure(path: Path) -> dict[str, Any]:
    """Read the JSON file of a figure.

    Raises
    ------
    MalformedDataError
        If a figure script did not write it.
    """
    try:
        figure = read_json(path)
        _ = "".join((figure["title"], figure["command"])), figure["software"].items()
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
        _ = s["value"], s["quantity"].strip(), hash((s["area"], s["space"]))
        if is_compared(panel):
            _ = s["published"], s["verdict"].strip()


def is_compared(panel: Mapping[str, Any]) -> bool:
    """Tell whether the numbers of a panel stand beside the published ones."""
    return any("verdict" in statistic for statistic in panel["statistics"])


def unanswered(panels: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str, str, str]]:
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


def discrepancies_of(panels: Mapping[str, Mapping[str, Any]]) -> tuple[Discrepancy, ...]:
    """List what differs in some panels, numbers that they should tell and do not included."""
    compared = {name: panel for name, panel in panels.items() if is_compared(panel)}
    return (*_differing(compared), *_missing(compared))


def verify(
    panels: Mapping[str, Mapping[str, Any]],
    problems: Mapping[str, str],
    asked_for: Iterable[str],
) -> Verification:
    """Compare the panels of one run with the paper.

    Parameters
    ----------
    panels : mapping of str to mapping
        Panels made in this run, by name, as their JSON tells them; an earlier run has no say.
    problems : mapping of str to str
        Panels that could not be made → why.
    asked_for : iterable of str
        Panels of the figures that were asked for.

    Returns
    -------
    Verification
        Panels of simulated data and of untrained networks are not compared.
    """
    compared = {name: panel for name, panel in panels.items() if is_compared(panel)}
    reached = {whole_panel(name) for name in compared}
    wanted = frozenset(map(whole_panel, asked_for))
    unreached = {
        panel: _why_unreached(panel, panels, problems, wanted)
        for panel in dict.fromkeys(key[0] for key in published_values())
        if panel not in reached
    }
    dots = list(_compared_dots(compared))
    different = [(plot, blocks) for plot, blocks in dots if any(blocks.values())]
    return Verification(
        n_published=len(published_values()),
        n_equal=sum(
            statistic["verdict"] == "equal"
            for panel in compared.values()
            for statistic in panel["statistics"]
        ),
        discrepancies=(*discrepancies_of(compared), *_different_dots(different)),
        unreached=unreached,
        n_unreached=sum(key[0] in unreached for key in published_values()),
        n_dots=sum(len(DOT_BLOCKS) * len(plot.blocks) for plot, _ in dots),
        n_different_dots=sum(len(b) for _, blocks in different for b in blocks.values()),
        panels=tuple(compared),
        asked_for=wanted,
    )


def _why_unreached(
    panel: str,
    panels: Mapping[str, Mapping[str, Any]],
    problems: Mapping[str, str],
    wanted: frozenset[str],
) -> str:
    for name, why in problems.items():
        if whole_panel(name) == panel:
            return why
    for name, made in panels.items():
        if whole_panel(name) == panel:
            return f"drawn from data that are {made['provenance']['explanation']}"
    return "not made" if panel in wanted else "not asked for"


def _differing(panels: Mapping[str, Mapping[str, Any]]) -> Iterator[Discrepancy]:
    for name, panel in panels.items():
        for s in panel["statistics"]:
            if s["verdict"].startswith("differs"):
                found = f"computed {s['value']}, {s['verdict']}"
                yield Discrepancy(name, s["quantity"], s["area"], s["space"], s["published"], found)


def _missing(panels: Mapping[str, Mapping[str, Any]]) -> Iterator[Discrepancy]:
    for key in unanswered(panels):
        yield Discrepancy(*key, published=published_values()[key].value, found="not computed")


def _compared_dots(
    panels: Mapping[str, Mapping[str, Any]],
) -> Iterator[tuple[PublishedDots, dict[str, frozenset[int]]]]:
    """Yield the small plots of these panels, and the blocks of each space whose dots differ."""
    marked = {
        (name, s["quantity"], s["area"], s["space"]): frozenset(s["value"]) & set(DOT_BLOCKS)
        for name, panel in panels.items()
        for s in panel["statistics"]
        if s["quantity"].startswith("blocks where larger")
    }
    for plot in published_dots():
        keys = {space: (plot.panel, plot.quantity, plot.area, space) for space in plot.blocks}
        if all(key in marked for key in keys.values()):
            yield plot, {space: plot.blocks[space] ^ marked[key] for space, key in keys.items()}


def _different_dots(
    different: list[tuple[PublishedDots, dict[str, frozenset[int]]]],
) -> Iterator[Discrepancy]:
    """Say all dots that differ in one line."""
    if not different:
        return
    where = "; ".join(
        f"{plot.quantity} {plot.area} {space}: blocks {sorted(blocks)}"
        for plot, by_space in different
        for space, blocks in by_space.items()
        if blocks
    )
    panels = "/".join(dict.fromkeys(plot.panel for plot, _ in different))
    yield Discrepancy(panels, "dots", "", "", "as in the pictures", f"differing in {where}")

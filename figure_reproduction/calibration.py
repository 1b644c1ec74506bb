"""``python -m figure_reproduction.calibration``: the simulator held against the real evolutions.

Both are read from tables: real ones from the user's source data or from the block means, simulated
ones from the demonstration. What it prints goes to ``calibration.json`` as well, which the page of
the figures shows with a picture.
"""

from __future__ import annotations

import sys

from core import start

if __name__ == "__main__":
    sys.exit(start.run("figure_reproduction.calibration"))

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.lines import Line2D

from core.command_line import a_path, command_parser, require_writable
from core.errors import MissingDataError, exit_code_of
from core.files import write_json
from core.source_tables.provenance import KINDS
from core.source_tables.reader import DEFAULT_FOLDER, SourceData
from core.spaces import Space
from figure_reproduction.page.choice import choose_data
from figure_reproduction.page.groups import AREAS, members
from figure_reproduction.page.page import DEFAULT_OUTPUT, save_picture
from figure_reproduction.page.report import CALIBRATION, write_report
from figure_reproduction.page.sheet import PAGE_MM, Drawing, Place, print_sheet, style

#: The picture of the comparison, beside its numbers.
CALIBRATION_PICTURE = "calibration.png"

#: Length of the window in which spikes are counted for Fano factors, s (50-200 ms).
_WINDOW_S = 0.15

_AREA_MARKERS = dict(zip(AREAS, "^so", strict=True))

_SHOWN_BLOCKS = (0, 5, 10, 20, 30, 40)
_SHOWN_MS = (20, 70, 90, 110, 150, 180)
_SHOWN_WINDOWS = ((50, 60), (70, 80), (110, 120), (170, 180))
_QUARTILES = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Compared:
    """One number of the real evolutions, and the same of the simulated ones."""

    quantity: str
    area: str
    space: str
    real: float
    simulated: float

    @property
    def family(self) -> str:
        """What it is one number of: what stands before the first comma."""
        return self.quantity.partition(",")[0]

    @property
    def off(self) -> float:
        """By how much the simulated number is away."""
        return abs(self.simulated - self.real)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 done, 3 data are missing."""
    parser = command_parser(
        "python -m figure_reproduction.calibration",
        "Put the simulated evolutions beside the real ones: successes, curves, times, scatter.",
        "python -m figure_reproduction.calibration --source-data source_data",
    )
    parser.add_argument("--source-data", type=a_path, default=DEFAULT_FOLDER, metavar="DIR")
    parser.add_argument(
        "--simulated", type=a_path, metavar="DIR", help="default: simulated in the source data"
    )
    parser.add_argument("--output", type=a_path, default=DEFAULT_OUTPUT, metavar="DIR")
    given = parser.parse_args(arguments)
    simulated = given.simulated or given.source_data / "simulated"
    mpl.use("Agg")
    return exit_code_of(lambda: _run(given.source_data, simulated, given.output))


def compare_folders(real: Path, simulated: Path) -> list[Compared]:
    """Compare two folders of source data, number by number.

    Parameters
    ----------
    real, simulated : pathlib.Path
        Hold ``Fig4``, ``Fig5`` and ``ExtendedFig4``.

    Returns
    -------
    list of Compared
        Counts of Figure 4A, at P < .01 and at P < .05; means of 4C, 5A and 5C; quartiles of the
        time constants of 4D; shares of Extended 4B; median Fano factors of the spike counts of
        first, best and last blocks. Numbers that either side lacks are left out.
    """
    found = dict(_numbers(SourceData(real)))
    made = dict(_numbers(SourceData(simulated)))
    compared = [Compared(*key, value, made[key]) for key, value in found.items() if key in made]
    return [each for each in compared if np.isfinite([each.real, each.simulated]).all()]


def summarize(compared: Sequence[Compared]) -> list[dict[str, Any]]:
    """Say of each family how far the simulation is off, and where most."""
    summaries = []
    for family, group in groupby(compared, key=lambda each: each.family):
        members_of = list(group)
        worst = max(members_of, key=lambda each: each.off)
        summaries.append(
            {
                "family": family,
                "n": len(members_of),
                "mean_off": float(np.mean([each.off for each in members_of])),
                "worst": f"{worst.quantity} {worst.area} {worst.space}".rstrip(),
                "worst_real": worst.real,
                "worst_simulated": worst.simulated,
            }
        )
    return summaries


def draw_comparison(compared: Sequence[Compared], canvas: FigureBase) -> None:
    """Draw simulated against real, one place for each family."""
    families = list(dict.fromkeys(each.family for each in compared))
    panels = canvas.subplots(2, (len(families) + 1) // 2, squeeze=False).ravel()
    for axes, family in zip(panels, families, strict=False):
        _draw_family(axes, family, [each for each in compared if each.family == family])
    for axes in panels[len(families) :]:
        axes.remove()
    canvas.supxlabel("Real evolutions", fontsize="medium")
    canvas.supylabel("Simulated evolutions", fontsize="medium")


def _draw_family(axes: Axes, family: str, compared: Sequence[Compared]) -> None:
    for each in compared:
        colour = next((s.colour for s in Space if s == each.space), "k")
        axes.plot(
            each.real, each.simulated, _AREA_MARKERS[each.area], color=colour, markersize=3,
            alpha=0.6, markeredgewidth=0,
        )  # fmt: skip
    axes.axline((0, 0), slope=1, color="0.7", linewidth=0.5, zorder=0)
    axes.set_title(family)
    axes.set_box_aspect(1)
    if family == "4A successes":
        looks: list[dict[str, Any]] = [
            *({"color": space.colour, "marker": "o", "label": str(space)} for space in Space),
            *({"color": "k", "marker": m, "label": area} for area, m in _AREA_MARKERS.items()),
        ]
        handles = [Line2D([], [], linestyle="", markersize=3, **look) for look in looks]
        axes.legend(handles=handles, loc="lower right", fontsize="small", handletextpad=0)


def _run(source_data: Path, simulated: Path, output: Path) -> int:
    require_writable(output)
    real = choose_data(source_data, "Fig4", simulate_missing=False)
    if not simulated.is_dir():
        raise MissingDataError(
            f"{simulated} does not exist; `python -m figure_reproduction --simulate-missing` makes "
            "it, or give --simulated."
        )
    compared = compare_folders(real.folder, simulated)
    _print_picture(compared, output / CALIBRATION_PICTURE)
    content = {
        "real": real.why,
        "simulated": KINDS["simulated"][1],
        "picture": CALIBRATION_PICTURE,
        "families": summarize(compared),
        "compared": [asdict(each) for each in compared],
    }
    write_json(output / CALIBRATION, content)
    write_report(output)
    sys.stdout.write(f"real: {real.why}\n")
    for each in compared:
        about = f"{each.quantity} {each.area} {each.space}"
        sys.stdout.write(f"{about:58} real {each.real:8.3f}  simulated {each.simulated:8.3f}\n")
    sys.stdout.write(f"{output / CALIBRATION}\n")
    return 0


def _print_picture(compared: Sequence[Compared], path: Path) -> None:
    drawing = Drawing(partial(draw_comparison, compared), (PAGE_MM, 128))
    with style():
        place = Place(drawing, origin="Ordinates: SIMULATED evolutions; abscissae: real ones")
        figure = print_sheet([place])
        save_picture(figure, path)
        plt.close(figure)


Key = tuple[str, str, str]


def _numbers(source: SourceData) -> Iterator[tuple[Key, float]]:
    masks = source.read("Fig4/masks")
    yield from _successes(source.read("Fig4/success_rate"), masks)
    yield from _curves(source, masks)
    yield from _psths(source, masks)
    yield from _windows(source, masks)
    yield from _time_constants(source.read("Fig4/time_constants"), masks)
    yield from _shares(source, masks)
    yield from _fano_factors(source.read("ExtendedFig4/meta"), masks)


def _successes(rates: pd.DataFrame, masks: pd.DataFrame) -> Iterator[tuple[Key, float]]:
    for space in Space:
        for area, n in zip(rates["label"], rates[f"{space.prefix}_suc"], strict=True):
            yield ("4A successes, P<.01", area, space), float(n)
        for area, chosen in members(masks, f"{space.prefix}succ005"):
            yield ("4A successes, P<.05", area, space), float(chosen.sum())
    for area, chosen in members(masks, "bothsucc005"):
        yield ("4A successes, both threads P<.05", area, ""), float(chosen.sum())


def _means(
    values: Any, masks: pd.DataFrame, success: str, columns: Iterable[int], name: str, space: Space
) -> Iterator[tuple[Key, float]]:
    """Average some blocks or moments over the members of each area that has any."""
    for area, chosen in members(masks, success):
        for column in columns if chosen.any() else ():
            mean = float(np.asarray(values)[chosen, column].mean())
            yield (name.format(column), area, space), mean


def _curves(source: SourceData, masks: pd.DataFrame) -> Iterator[tuple[Key, float]]:
    for space, responses in source.read_all("Fig4/response_mean").items():
        name = "4C mean, block {}"
        yield from _means(responses, masks, "bothsucc005", _SHOWN_BLOCKS, name, space)


def _psths(source: SourceData, masks: pd.DataFrame) -> Iterator[tuple[Key, float]]:
    for (block, space), psths in source.read_all("Fig5/psth").items():
        name = f"5A mean, block {block}, {{}} ms"
        yield from _means(psths, masks, "anysucc005", _SHOWN_MS, name, space)


def _windows(source: SourceData, masks: pd.DataFrame) -> Iterator[tuple[Key, float]]:
    """Means of Figure 5C, padding included as drawn there; V1 is not shown."""
    for begin, end in _SHOWN_WINDOWS:
        for space in Space:
            responses = source.read("Fig5/window_response_mean", window=(begin, end), space=space)
            name = f"5C mean, {begin}-{end} ms, block {{}}"
            means = _means(responses, masks, "bothsucc005", _SHOWN_BLOCKS, name, space)
            yield from (each for each in means if each[0][1] != "V1")


def _time_constants(table: pd.DataFrame, masks: pd.DataFrame) -> Iterator[tuple[Key, float]]:
    for space in Space:
        for area, chosen in members(masks, f"{space.prefix}succ001"):
            counted = table.loc[chosen, f"{space.prefix}_tc0_bslinit"]
            for share in _QUARTILES if len(counted) else ():
                key = (f"4D time constant, quantile {share}", area, str(space))
                yield key, float(counted.quantile(share))


def _shares(source: SourceData, masks: pd.DataFrame) -> Iterator[tuple[Key, float]]:
    for space, shares in source.read_all("ExtendedFig4/attribution_50ms").items():
        for area, chosen in members(masks, f"{space.prefix}succ001"):
            mean = np.nanmean(np.asarray(shares)[chosen], axis=0) if chosen.any() else ()
            for step, share in enumerate(map(float, mean)):
                yield (f"Ext 4B share, {50 * step}-{50 * step + 50} ms", area, space), share


def _fano_factors(meta: pd.DataFrame, masks: pd.DataFrame) -> Iterator[tuple[Key, float]]:
    """Variance over mean of the spike counts of single images, median over sites.

    With std of ddof 0 and SEM of ddof 1, the variance of single images is std² + SEM².
    """
    for space in Space:
        for block in ("initrsp", "maxrsp", "endrsp"):
            mean, std, sem = (
                meta[f"{block}_{space.thread}_{value}"].to_numpy()
                for value in ("mean", "std", "sem")
            )
            fano = (std**2 + sem**2) * _WINDOW_S / np.where(mean > 0, mean, np.nan)
            for area, chosen in members(masks):
                if chosen.any():
                    key = (f"Fano factor, {block[:-3]} block", area, str(space))
                    yield key, float(np.nanmedian(fano[chosen]))

"""Golden numbers: every statistic of every figure, from a small population made in the tests.

``tests/golden/FigureN.json`` hold what the figures told when the numbers were last looked at and
found right. ``python -m tests.golden`` writes them anew, on purpose, and prints what changed.
"""

from __future__ import annotations

import json
import math
import runpy
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from figure_reproduction.__main__ import main
from figure_reproduction.page import page
from neuro_data_analysis.simulation import tuning
from neuro_data_analysis.simulation.prototypes import simulate_prototypes
from source_data_export.__main__ import main as export
from tests.golden import recordings

FOLDER = Path(__file__).parent

SCRIPTS = FOLDER.parents[1] / "figure_reproduction"

FIGURES = ("Figure2", "Figure3", "Figure4", "Figure5", "Figure6", "FigureExt4", "FigureExt5")

#: Figures whose pages are drawn here; tests of their own lay out those of the others.
PAGED = ("Figure5", "FigureExt4")

#: Experiments with prototypes: some of which both threads climb, and some that are not selected.
WITH_PROTOTYPES = (3, 6, 7, 26, 27, 149, 155, 188, 190, 4)

#: Sessions and eigenvectors of the axes that they show: each axis that is fitted takes its time.
TUNING_AXES = {
    "Caos-12022024-003": ((), (0, 1, 2)),
    "Caos-12102024-003": ((0, 1, 2, 3, 6), (0, 1, 2)),
    "Alfa-08092020-004": ((0, 1, 2, 3, 6), (0, 1, 2)),
    "Beto-07092020-003": ((0, 1, 2), (0, 1)),
}

#: Seed of the simulated prototypes whose similarities come with the package.
PROTOTYPE_SEED = 2031

#: Relative error that a number may have: 7 digits are kept, and processors round in their own way.
TOLERANCE = 2e-6

#: Found by an optimiser, which stops near the optimum.
FITTED_TOLERANCE = 2e-3
FITTED = ("gpr_", "gauss_")


def make_matroot(folder):
    """Write the hand-made recordings, and prototypes of some of them."""
    matroot = recordings.write(folder / "recordings", recordings.elements())
    simulate_prototypes(matroot / "prototypes", PROTOTYPE_SEED, WITH_PROTOTYPES)
    return matroot


def make_source_data(folder, figures=("Fig2", "Fig3", "Fig4", "Fig5", "ExtendedFig4", "Tables")):
    """Export the hand-made recordings as a user would; return the folder of the tables."""
    export_tables(make_matroot(folder), folder / "source_data", figures)
    return folder / "source_data"


def export_tables(matroot, output, figures):
    """Run the export command; Figure 3 takes the packaged similarities, as without torch."""
    chosen = [part for figure in figures for part in ("--figure", figure)]
    arguments = ["--matroot", str(matroot), "--output", str(output), "--untrained", *chosen]
    with mock.patch("source_data_export.exports.find_spec", return_value=None):
        assert export(arguments) == 0


def add_tuning(source_data, folder):
    """Add the tables of Figure 6, from four small sessions, and of Extended Figure 5."""
    matroot = folder / "tuning"
    with mock.patch.object(tuning, "axis_set", _few_axes):
        tuning.simulate_tuning_sessions(matroot, seed=3, n_sessions=len(TUNING_AXES))
    export_tables(matroot, source_data, ("Fig6", "ExtendedFig5"))


def print_figures(source_data, output, figures=None):
    """Run the figures command; return the statistics by figure and panel, and the pictures.

    The pictures are drawn, but no file of them is written; pages only of `PAGED`.

    Returns
    -------
    statistics : dict
        Figure → panel → list of records, as in the JSON files.
    pictures : dict of str to matplotlib.figure.Figure
    """
    figures = figures or FIGURES
    chosen = [part for figure in figures for part in ("--figure", figure)]
    arguments = ["--source-data", str(source_data), "--output", str(output), "--format", "png"]
    pages = page.composed_pages
    with (
        pictures_in_memory() as pictures,
        mock.patch.object(
            page, "composed_pages", lambda script, places: pages(script, places)
            if script.name in PAGED else ()
        ),
    ):  # fmt: skip
        assert main([*arguments, *chosen, "--jobs", "1"]) == 0
    return {figure: _told(output / f"{figure}.json") for figure in figures}, pictures


def run_script(figure, source_data, output, panels=()):
    """Run the script of one figure as a user would; return its statistics, panel by panel."""
    script = SCRIPTS / f"{figure}_reproduction.py"
    chosen = [part for panel in panels for part in ("--panel", panel)]
    arguments = ["--source-data", str(source_data), "--output", str(output), "--format", "png"]
    with (
        pictures_in_memory(),
        mock.patch.object(sys, "argv", [str(script), *arguments, *chosen]),
        mock.patch.object(sys, "path", list(sys.path)),
        pytest.raises(SystemExit) as end,
    ):
        runpy.run_path(str(script), run_name="__main__")
    assert not end.value.code
    return _told(output / f"{figure}.json")


def by_name(panels):
    """Return panel → name of statistic → value, with values as they are kept."""
    named = {}
    for panel, records in panels.items():
        named[panel] = {}
        for record in records:
            parts = (record[part] for part in ("quantity", "area", "space"))
            name = " | ".join(part for part in parts if part)
            assert name not in named[panel], f"{panel} tells {name} twice"
            named[panel][name] = _kept(record["value"])
    return named


def read(figure):
    """Read the golden numbers of a figure; none where there is no file."""
    path = FOLDER / f"{figure}.json"
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


def write(figure, named):
    """Write the golden numbers of a figure, one statistic a line."""
    panels = []
    for panel, statistics in named.items():
        lines = [f"  {json.dumps(name)}: {_line(value)}" for name, value in statistics.items()]
        panels.append(f" {json.dumps(panel)}: {{\n" + ",\n".join(lines) + "\n }")
    (FOLDER / f"{figure}.json").write_text("{\n" + ",\n".join(panels) + "\n}\n", "utf-8")


def differences(expected, found):
    """Say in one line each which statistics differ, are new or are gone."""
    lines = []
    for panel in dict.fromkeys([*expected, *found]):
        before, now = expected.get(panel, {}), found.get(panel, {})
        for name in dict.fromkeys([*before, *now]):
            if name not in now:
                lines.append(f"{panel}: {name} is gone")
            elif name not in before:
                lines.append(f"{panel}: {name} is new: {_short(now[name])}")
            elif change := _change(name, before[name], now[name]):
                lines.append(f"{panel}: {name} {change}")
    return lines


def _few_axes(record, all_axes=tuning.axis_set):
    class_ids, noise_ids = TUNING_AXES[record.ephys_name]
    return replace(all_axes(record), class_ids=class_ids, noise_ids=noise_ids)


def _told(path):
    content = json.loads(path.read_text("utf-8"))
    return {panel: entry["statistics"] for panel, entry in content["panels"].items()}


def _change(name, before, now):
    if isinstance(before, list) and isinstance(now, list):
        if len(before) != len(now):
            return f"has {len(now)} values instead of {len(before)}: {_short(now)}"
        pairs = enumerate(zip(before, now, strict=True))
        changed = [(i, a, b) for i, (a, b) in pairs if not _same(name, a, b)]
        told = ", ".join(f"[{i}] {a} → {b}" for i, a, b in changed[:3])
        return f"{len(changed)} of {len(before)} values: {told}" if changed else ""
    return "" if _same(name, before, now) else f"{_short(before)} → {_short(now)}"


def _same(name, before, now):
    if isinstance(before, float) and isinstance(now, int | float) and not isinstance(now, bool):
        tolerance = FITTED_TOLERANCE if name.startswith(FITTED) else TOLERANCE
        return math.isclose(before, now, rel_tol=tolerance, abs_tol=1e-9)
    return type(before) is type(now) and before == now


def _line(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _kept(value):
    if isinstance(value, list):
        return [_kept(item) for item in value]
    return float(f"{value:.7g}") if isinstance(value, float) else value


def _short(value):
    text = json.dumps(value)
    return text if len(text) < 60 else f"{text[:56]} …"


@contextmanager
def pictures_in_memory():
    """Keep what is saved, by the name of its file, and write nothing; lay out pages only."""
    pictures = {}
    lay_out = ConstrainedLayoutEngine.execute

    def keep(figure, target, **_):
        path = Path(target)
        pictures[path.name.lstrip(".").split(".")[0]] = figure
        path.write_bytes(b"")

    def lay_out_page(engine, figure):
        if len(figure.subfigs) > 1:  # a picture alone is laid out as in its page
            lay_out(engine, figure)

    with (
        mock.patch.object(Figure, "savefig", keep),
        mock.patch.object(Figure, "draw_without_rendering"),
        mock.patch.object(ConstrainedLayoutEngine, "execute", lay_out_page),
    ):
        yield pictures

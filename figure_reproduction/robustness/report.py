"""``robustness.json`` and the printed table: every claim, its published and its robust test."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.text import Annotation

from core.files import atomic_write, write_json
from core.source_tables.provenance import Provenance
from core.source_tables.reader import SourceData
from core.spaces import Space
from core.versions import software_versions
from figure_reproduction.Figure4_reproduction import compute_4a, draw_4a
from figure_reproduction.page.page import save_picture
from figure_reproduction.page.sheet import Drawing, Place, print_sheet, style
from figure_reproduction.robustness.claims import Claim, judged
from figure_reproduction.robustness.dots import count_dots
from figure_reproduction.robustness.evolution_claims import (
    SUCCESS_LEVEL,
    attribution_claims,
    level_claims,
    speed_claims,
    success_claims,
    window_claims,
)
from figure_reproduction.robustness.experiments import Experiments, n_by_block
from figure_reproduction.robustness.tuning_claims import shape_claims, similarity_claims
from neuro_data_analysis.evolution.population import success_rate_table
from neuro_data_analysis.neural_data_utils import AREAS
from neuro_data_analysis.robustness.intervals import jeffreys_interval

#: Where the table goes, below the output folder of the figures.
ROBUSTNESS_FILE = "robustness.json"
SUCCESS_PICTURE = "robustness_4A.png"

#: One row a thread, to be joined to the meta tables by Expi and thread.
THREADS_FILE = "robustness_threads.csv"

#: Rates below this have no room for a count between them and the axis.
LOWEST_WITH_COUNT_BELOW = 0.1

#: Said with the table wherever it is shown.
NOTE = (
    "Chosen here, not by the authors: the published analyses stay as they are, and these stand "
    "beside them. Permutation of blocks pays for the choice of the best block; it is calibrated "
    "where blocks are exchangeable when nothing climbs, and under strong slow drift its level is "
    "about twice the nominal one. It finds only half to three quarters of the climbs that the "
    "published test finds, for whole blocks count: rates by permutation are lower bounds. Threads "
    "are therefore also held against flat threads of their own blocks, which costs no power and "
    "rests on the excitability assumed. Sites are animal, channel and unit; with two animals, an "
    "animal is a fixed effect."
)


@dataclass(frozen=True)
class Robustness:
    """What the robust analyses of a folder of source data give.

    Attributes
    ----------
    claims : list of Claim
        With their verdicts.
    threads : dict
        Space → list of one record per experiment: published and permutation p, autocorrelation.
    dots : dict
        See `count_dots`.
    n_by_block : dict
        Area → experiments of Figure 4C that recorded each block.
    provenance : Provenance
        Where the tables of evolutions come from.
    rebuilt_t_differs_by : dict
        Space → largest difference of t rebuilt from block sums from the table's.
    success : pandas.DataFrame
        The table of Figure 4A with the permutation of blocks as its criterion, and 95 % intervals
        (Jeffreys).
    """

    claims: list[Claim]
    threads: dict[str, list[dict[str, Any]]]
    dots: dict[str, Any]
    n_by_block: dict[str, list[int]]
    provenance: Provenance
    rebuilt_t_differs_by: dict[str, float]
    success: pd.DataFrame


def analyse(folder: Path) -> Robustness:
    """Compute every claim from a folder of source data.

    Parameters
    ----------
    folder : pathlib.Path
        With Fig4, Fig5 and ExtendedFig4; claims of figures without tables cannot be said.

    Returns
    -------
    Robustness

    Raises
    ------
    MissingDataError, MalformedDataError
        If the tables of evolutions are not there or are not what they should be.
    """
    source = SourceData(folder)
    experiments = Experiments.read(source)
    claims = judged(
        [
            *success_claims(experiments),
            *level_claims(experiments),
            *speed_claims(experiments),
            *window_claims(experiments, source),
            *attribution_claims(experiments, source),
            *similarity_claims(SourceData(folder)),
            *shape_claims(SourceData(folder)),
        ]
    )
    return Robustness(
        claims=claims,
        threads={space: _threads(experiments, space) for space in Space},
        dots=count_dots(experiments, source),
        n_by_block=n_by_block(experiments, "bothsucc005"),
        provenance=source.provenance("Fig4"),
        rebuilt_t_differs_by={space: experiments.rebuilt_difference(space) for space in Space},
        success=_success(experiments),
    )


def _success(experiments: Experiments) -> pd.DataFrame:
    """Lay out the threads that pass by permutation of blocks as Figure 4A does."""
    rows = {area: experiments.group(area) for area in AREAS}
    counts = {
        space: [int(experiments.passes(space, SUCCESS_LEVEL)[rows[area]].sum()) for area in AREAS]
        for space in Space
    }
    totals = [len(rows[area]) for area in AREAS]
    ends = {
        f"{space.prefix}_CI_{bound + 1}": [
            jeffreys_interval(k, n)[bound] for k, n in zip(counts[space], totals, strict=True)
        ]
        for space in Space
        for bound in (0, 1)
    }
    return success_rate_table(counts, totals).assign(**ends)


def draw_success(found: Robustness, canvas: FigureBase) -> None:
    """Draw Figure 4A with the permutation of blocks as its criterion."""
    draw_4a(compute_4a(found.success), canvas)
    (axes,) = (part for part in canvas.get_children() if isinstance(part, Axes))
    axes.set_title(
        f"Permutation of blocks, P ≤ {SUCCESS_LEVEL},\n95 % interval (not published)"
    )
    for count in (text for text in axes.texts if isinstance(text, Annotation)):
        position, rate = count.xy
        rates = [found.success[f"{space.prefix}_rate"].iloc[int(position)] for space in Space]
        above = rate == max(rates) or rate < LOWEST_WITH_COUNT_BELOW
        count.set_position((0, 4 if above else -4))
        count.set_verticalalignment("bottom" if above else "top")


def _threads(experiments: Experiments, space: Space) -> list[dict[str, Any]]:
    table, thread = experiments.table, space.thread
    return [
        {
            "Expi": int(table["Expi"][row]),
            "visual_area": table["visual_area"][row],
            "valid": bool(table["valid"][row]),
            "t_maxinit": test.t,
            "p_maxinit": table[f"p_maxinit_{thread}"][row],
            "maxinit_permutation_p": test.p,
            "maxinit_circular_shift_p": test.p_shift,
            "maxinit_p_against_flat_threads": {
                kind: threads[space][row].p for kind, threads in experiments.flat.items()
            },
            "residual_autocorrelation": test.autocorrelation,
        }
        for row, test in enumerate(experiments.permuted[space])
    ]


def write_robustness(found: Robustness, output: Path) -> list[Path]:
    """Write ``robustness.json``, the threads and Figure 4A by permutation, replacing earlier ones.

    ``robustness_threads.csv`` holds what the meta tables lack: the p of every thread by permutation
    of blocks and against flat threads.
    """
    paths = [output / name for name in (ROBUSTNESS_FILE, SUCCESS_PICTURE, THREADS_FILE)]
    content = {
        "note": NOTE,
        "command": "python -m figure_reproduction --robustness",
        "software": software_versions(),
        "provenance": asdict(found.provenance) | {"explanation": found.provenance.explanation},
        "claims": [asdict(claim) for claim in found.claims],
        "dots": found.dots,
        "n_by_block_4C": found.n_by_block,
        "threads": found.threads,
        "pictures": {"4A by permutation of blocks": [SUCCESS_PICTURE]},
        "rebuilt_t_differs_by": found.rebuilt_t_differs_by,
    }
    write_json(paths[0], content)
    with atomic_write(paths[2]) as unfinished:
        _threads_table(found).to_csv(unfinished, index=False)
    drawing = Drawing(partial(draw_success, found), (60.0, 65.0))
    origin = found.provenance
    place = Place(drawing, mark=origin.mark, origin=origin.line, names=origin.space_names)
    with style():
        figure = print_sheet([place])
        save_picture(figure, paths[1])
        plt.close(figure)
    return paths


def _threads_table(found: Robustness) -> pd.DataFrame:
    rows = [
        {"thread": space.thread, "space": str(space), **{
            name: value for name, value in record.items() if not isinstance(value, Mapping)
        }, **{
            f"maxinit_p_against_flat, {kind.split(',')[0]}": p
            for kind, p in record["maxinit_p_against_flat_threads"].items()
        }}
        for space in Space for record in found.threads[space]
    ]  # fmt: skip
    return pd.DataFrame(rows).sort_values(["Expi", "thread"], kind="stable")


def told(found: Robustness) -> str:
    """Return the table of claims for a terminal, with the counts of dots."""
    lines = [_row("claim", "published p", "robust p", "Holm", "effect [95 % interval]", "verdict")]
    for claim in found.claims:
        low, high = claim.effect_ci95
        effect = f"{claim.effect:.3g} [{low:.3g}, {high:.3g}]" if np.isfinite(claim.effect) else ""
        p_values = (claim.published_p, claim.robust_p, claim.robust_p_holm)
        name, verdict = f"{claim.figure}: {claim.claim}", f"{claim.verdict} ({claim.reason})"
        lines.append(_row(name, *map(_p, p_values), effect, verdict))
    lines += ["", *_dot_lines(found.dots)]
    if found.provenance.mark:
        lines.append(found.provenance.mark)
    return "\n".join(lines) + "\n"


def _row(*cells: str) -> str:
    widths = (78, 11, 9, 9, 26, 0)
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _p(value: float | None) -> str:
    return "" if value is None or not np.isfinite(value) else f"{value:.2g}"


def _dot_lines(dots: Mapping[str, Any]) -> Iterable[str]:
    for plot, areas in dots.items():
        for area, counts in areas.items():
            yield (
                f"{plot}, {area}: {counts['as_drawn']['dots']} dots as drawn (padding included), "
                f"{counts['recorded_only']['dots']} with recorded blocks only, "
                f"{counts['recorded_only_one_family']['dots']} of these corrected over all windows "
                "together"
            )

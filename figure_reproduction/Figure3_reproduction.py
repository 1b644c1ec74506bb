"""Figure 3: sites respond alike to textures and objects that look alike (3G)."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core import start

if __name__ == "__main__":
    sys.exit(start.run("figure_reproduction.Figure3_reproduction"))

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import FigureBase
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from core.errors import MalformedDataError
from core.published import Statistic
from core.source_tables.provenance import Provenance
from core.source_tables.reader import ORIGIN
from core.source_tables.registry import SIMILARITY_COLUMNS
from figure_reproduction.page.groups import pearson
from figure_reproduction.page.page import FigureScript, Shown
from figure_reproduction.page.sheet import Drawing
from figure_reproduction.page.words import number, p_value
from neuro_data_analysis.neural_data_utils import AREAS, inclusion_masks, success_masks
from neuro_data_analysis.robustness.intervals import correlation_interval
from neuro_data_analysis.similarity.tables import NETWORKS_DETAIL, UNTRAINED

logger = logging.getLogger(__name__)

FIGURE = FigureScript(
    "Figure3", "Fig3", "prototypes that look alike to a vision network evoke similar responses",
    pages=(
        (("3G_L4focus_act", "3G_L4focus_psth"), ("3G_avgpool_act", "3G_avgpool_psth")),
    ),
)

#: What every panel reads.
READS = ("similarity", "meta?", ORIGIN)

#: Success of both threads that is asked for: best two blocks against first two.
P_SUCCESS = 0.05

#: Columns that say whether an experiment counts, where no table does.
_SELECTING = ("ephysFN", "blockN", "space1", "space2", "p_maxinit_0", "p_maxinit_1")

#: Colour of each area.
AREA_COLOURS = dict(zip(AREAS, ("#009e73", "#e69f00", "#0072b2"), strict=True))
AREA_MARKERS = dict(zip(AREAS, "^so", strict=True))

#: What the columns are, in words.
SIMILARITIES = {
    "cosine_reevol_resnet_avgpool": "generator reconstructions, average pool",
    "reevol_pix_RNrobust_L4focus": "pixel reconstructions, layer 4, centre-weighted",
}
DIFFERENCES = {
    "psth_MAE": "Mean absolute PSTH difference",
    "act_MAE": "Absolute difference of mean rates",
}
TITLES = {"psth_MAE": "PSTH difference", "act_MAE": "Rate difference"}


@dataclass(frozen=True)
class Prototypes:
    """The table of similarities, and which of its experiments are drawn.

    Attributes
    ----------
    table : pandas.DataFrame
        With ``visual_area``.
    selected : numpy.ndarray of bool
        (n_experiments,)
    rule : str
        What selects them.
    networks : str
        Networks and weights behind the similarities, where the note of origin tells them.
    """

    table: pd.DataFrame
    selected: NDArray[np.bool_]
    rule: str
    networks: str

    @property
    def network(self) -> str:
        """The network of the similarities drawn, for an axis."""
        return "UNTRAINED-ResNet50" if UNTRAINED in self.networks else "robust-ResNet50"


@dataclass(frozen=True)
class Correlation:
    """Two columns against each other.

    Attributes
    ----------
    points : mapping of str to numpy.ndarray
        Area → (2, n) similarities and differences, of experiments that have both.
    r, p : float
        Pearson correlation of all points and its two-sided p value; NaN where undefined.
    n : int
        Number of points.
    """

    points: Mapping[str, NDArray[np.float64]]
    r: float
    p: float
    n: int


def choose_prototypes(
    table: pd.DataFrame, meta: pd.DataFrame | None, origin: Provenance
) -> Prototypes:
    """Select valid experiments in which both threads climbed.

    The selection comes from the table beside the similarities; without it, from the same columns
    of the similarities; without those, the table is taken to hold just the rows that are drawn.

    Parameters
    ----------
    table : pandas.DataFrame
        The similarities.
    meta : pandas.DataFrame or None
        What each experiment was, where that is known.
    origin : Provenance
        Of the similarities; its note tells the networks.

    Raises
    ------
    MalformedDataError
        If the two tables do not fit each other, or neither tells the areas.
    """
    if meta is not None:
        meta = _row_by_row(meta, table)
    elif set(_SELECTING) <= set(table.columns):
        meta = table.assign(valid=inclusion_masks(table)["valid"])
    if "visual_area" not in table and meta is not None:
        table = table.assign(visual_area=meta["visual_area"].to_numpy())
    if "visual_area" not in table:
        raise MalformedDataError(
            "the table of similarities lacks the column visual_area, and there is no "
            "Fig3_meta_df.csv beside it that could tell the areas; add one of them."
        )
    if meta is None:
        selected, rule = np.ones(len(table), dtype=bool), "all rows of the table"
    else:
        both = success_masks(meta, P_SUCCESS)["bothsucc"]
        selected = (meta["valid"] & both).to_numpy()
        rule = f"valid, both threads climbed (max > init, P<{P_SUCCESS})"
    return Prototypes(table, selected, rule, origin.details.get(NETWORKS_DETAIL, ""))


def _row_by_row(meta: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Return what each experiment was, one row per row of the similarities."""
    if "Expi" in table:
        unknown = sorted(set(table["Expi"]) - set(meta["Expi"]))
        if unknown:
            raise MalformedDataError(
                f"Fig3_meta_df.csv lacks experiment {unknown[0]:g} of the table of similarities; "
                "both must come from one export."
            )
        return meta.set_index("Expi").loc[table["Expi"]].reset_index()
    if len(meta) != len(table):
        raise MalformedDataError(
            f"the table of similarities has {len(table)} rows without a column Expi, and "
            f"Fig3_meta_df.csv has {len(meta)}; add Expi, or remove Fig3_meta_df.csv if all rows "
            "are to be drawn."
        )
    return meta


def correlate(data: Prototypes, similarity: str, difference: str) -> Correlation:
    """Correlate two columns over the selected experiments that have both."""
    drawn = data.table[data.selected].dropna(subset=[similarity, difference])
    points = {
        area: drawn.loc[drawn["visual_area"] == area, [similarity, difference]].to_numpy().T
        for area in AREAS
    }
    r, p = pearson(drawn[similarity].to_numpy(), drawn[difference].to_numpy())
    return Correlation(points, r, p, len(drawn))


def tell_correlation(
    correlation: Correlation, similarity: str, difference: str
) -> Iterator[Statistic]:
    """List r, p and n, named as in the list of published values."""
    columns = f"{difference} vs {similarity}"
    basis = {
        "test": "Pearson correlation over experiments, areas pooled; one of four panels",
        "sided": "two-sided",
        "correction": "none",
        "df": correlation.n - 2,
        "n": correlation.n,
        "unit": "experiments; sites repeat among them",
    }
    yield Statistic(f"pearson_r {columns}", correlation.r, basis=basis)
    yield Statistic(f"pearson_p {columns}", correlation.p, basis=basis)
    ends = correlation_interval(correlation.r, correlation.n)
    interval = basis | {"interval": "95 %, Fisher's z, experiments taken as independent"}
    yield Statistic(f"r_ci95 {columns}", ends, basis=interval)
    yield Statistic(f"n {columns}", correlation.n)


def draw_correlation(
    correlation: Correlation, network: str, similarity: str, difference: str, canvas: FigureBase
) -> None:
    """Draw one dot per experiment in the colour of its area."""
    axes = canvas.subplots()
    for area, (x, y) in correlation.points.items():
        label = f"{area} ($n$ = {len(x)})"
        axes.scatter(
            x, y, s=7, alpha=0.7, linewidths=0, color=AREA_COLOURS[area], label=label,
            marker=AREA_MARKERS[area],
            zorder=3 - AREAS.index(area) / len(AREAS),
        )  # fmt: skip
    axes.set_xlabel(f"Cosine similarity of {network} features\n({SIMILARITIES[similarity]})")
    axes.set_ylabel(f"{DIFFERENCES[difference]}\n(50–200 ms, over the best block response)")
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.set_title(
        f"{TITLES[difference]}: Pearson $r$ = {number(correlation.r, 3)}, "
        f"{p_value(correlation.p)}, $n$ = {correlation.n}",
        pad=12,
    )
    axes.legend(
        loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(AREAS), handletextpad=0.1,
        columnspacing=1,
    )  # fmt: skip


def count_experiments(data: Prototypes) -> list[Statistic]:
    """Count the experiments drawn per area, and say what the table lacks."""
    areas = data.table.loc[data.selected, "visual_area"]
    counts = [Statistic("n", int((areas == area).sum()), area=area) for area in AREAS]
    lacking = missing_columns(data.table)
    if lacking:
        logger.info("Figure 3: the table of similarities lacks %s; nothing needs them", lacking)
    return [
        *counts,
        Statistic("selection", data.rule),
        Statistic("networks", data.networks or "not told"),
        Statistic("columns_missing", lacking or "none"),
    ]


def missing_columns(table: pd.DataFrame) -> str:
    """Say how many columns of which group a table lacks."""
    found = []
    for group, names in SIMILARITY_COLUMNS.items():
        n_missing = len(set(names) - set(table.columns))
        if n_missing:
            found.append(f"{n_missing} of {len(names)} columns of {group}")
    return "; ".join(found)


def _show_correlation(
    name: str,
    similarity: str,
    difference: str,
    table: pd.DataFrame,
    meta: pd.DataFrame | None,
    origin: Provenance,
) -> Shown:
    prototypes = choose_prototypes(table, meta, origin)
    correlation = correlate(prototypes, similarity, difference)
    draw = partial(draw_correlation, correlation, prototypes.network, similarity, difference)
    return Shown(
        tell_correlation(correlation, similarity, difference),
        {name: Drawing(draw, (91.5, 62))},
    )


def _scatter_panel(name: str, similarity: str, difference: str) -> None:
    show = partial(_show_correlation, name, similarity, difference)
    show.__doc__ = (
        f"{DIFFERENCES[difference]} to the two prototypes of an experiment (best block of "
        "each thread, 50–200 ms, over the largest response of both) against how alike a robust "
        f"ResNet50 finds them ({SIMILARITIES[similarity]}; cosine, higher is more alike). One dot "
        "per valid experiment in which both threads climbed; Pearson correlation."
    )
    FIGURE.panel(name, READS)(show)


_scatter_panel("3G_avgpool_psth", "cosine_reevol_resnet_avgpool", "psth_MAE")
_scatter_panel("3G_L4focus_psth", "reevol_pix_RNrobust_L4focus", "psth_MAE")
_scatter_panel("3G_avgpool_act", "cosine_reevol_resnet_avgpool", "act_MAE")
_scatter_panel("3G_L4focus_act", "reevol_pix_RNrobust_L4focus", "act_MAE")


@FIGURE.panel("3G_experiments", READS)
def show_experiments(table: pd.DataFrame, meta: pd.DataFrame | None, origin: Provenance) -> Shown:
    """Number of experiments drawn per area.

    How they are selected, and which columns of the published table the similarities lack; numbers
    only.
    """
    return Shown(count_experiments(choose_prototypes(table, meta, origin)))


main = FIGURE.main

"""Claims of Figures 3G and 6E: similarity of prototypes, shapes of tuning after success."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import scipy
from numpy.typing import NDArray
from statsmodels.stats.proportion import proportions_ztest

from core.errors import MissingDataError
from core.published import published_values
from core.source_tables.reader import SourceData
from figure_reproduction.Figure3_reproduction import DIFFERENCES, SIMILARITIES
from figure_reproduction.robustness.claims import LEVEL, Claim, by_animal, unsaid
from figure_reproduction.robustness.experiments import SEED
from neuro_data_analysis.neural_data_utils import AREAS, inclusion_masks, success_masks
from neuro_data_analysis.robustness.intervals import (
    cluster_bootstrap,
    correlation_interval,
    design_effect,
)

#: Permutations of pairs, or of sessions.
N_PERMUTATIONS = 4999

#: Axes of Figure 6E: tuned (ANOVA), and common to most sessions.
TUNED_P = 0.01

#: Shapes of Figure 6E: column, sign of (successful minus not), alternative of the published test.
SHAPES = {
    "bellshaped": ("gpr_y_is_bellshaped", 1, "larger"),
    "monotonic": ("gpr_y_is_monotonic", -1, "smaller"),
}


def similarity_claims(source: SourceData) -> Iterator[Claim]:
    """Figure 3G: the more alike the prototypes, the more alike the responses."""
    table = _prototypes(source)
    for difference in DIFFERENCES:
        for similarity in SIMILARITIES:
            pair = f"{difference} vs {similarity}"
            printed = _printed("3G", f"pearson_p {pair}")
            expected = -1 if printed is not None and printed < LEVEL else 0
            verb = "falls with" if expected else "does not depend on"
            claim = f"{difference} {verb} {similarity}"
            if table is None:
                yield unsaid(claim, "3G", "no table of similarities among these data", printed)
            else:
                known = table[[similarity, difference]].notna().all(axis=1)
                yield _correlation(claim, expected, table[known], similarity, difference)


def _printed(panel: str, quantity: str) -> float | None:
    """Return a number that the paper prints, None where it does not."""
    value = published_values().get((panel, quantity, "", ""))
    return None if value is None else float(value.value)


def _prototypes(source: SourceData) -> pd.DataFrame | None:
    """Read the experiments of 3G: valid, both threads climbed (p < .05); None without tables."""
    try:
        table, meta = source.read("Fig3/similarity"), source.read("Fig3/meta")
    except MissingDataError:
        return None
    meta = meta.set_index("Expi").loc[table["Expi"]].reset_index()
    chosen = inclusion_masks(meta)["valid"] & success_masks(meta, 0.05)["bothsucc"]
    meta = meta.assign(
        site=[f"{a}-{c}-{u}" for a, c, u in
              zip(meta["Animal"], meta["prefchan"], meta["prefunit"], strict=True)]
    )[["Animal", "visual_area", "site"]]  # fmt: skip
    kept = table[[*SIMILARITIES, *DIFFERENCES]]
    return pd.concat([kept, meta], axis=1)[chosen].reset_index(drop=True)


def _correlation(
    claim: str, expected: int, table: pd.DataFrame, similarity: str, difference: str
) -> Claim:
    x, y = (table[name].to_numpy(dtype=float) for name in (similarity, difference))
    if len(x) < 5:
        return unsaid(claim, "3G", f"{len(x)} experiments")
    published = scipy.stats.pearsonr(x, y)
    groups = pd.factorize(table["Animal"] + " " + table["visual_area"])[0]
    rng = np.random.default_rng([SEED, 8, *(_number(name) for name in (similarity, difference))])
    partial, p = _permuted_partial(x, y, groups, rng)
    resampled = cluster_bootstrap(
        lambda rows: _partial(x[rows], y[rows], groups[rows]), table["site"].tolist(), rng,
        table["Animal"].tolist(), 1000,
    )  # fmt: skip
    by_area = {
        area: {"r": float(np.corrcoef(x[chosen], y[chosen])[0, 1]), "n": int(chosen.sum())}
        for area in AREAS
        for chosen in [(table["visual_area"] == area).to_numpy()]
        if chosen.sum() > 2
    }
    return Claim(
        claim=claim,
        figure="3G",
        expected=expected,
        published_test=(
            f"Pearson correlation over experiments, areas pooled, two-sided, df {len(x) - 2}, "
            f"r = {published.statistic:.3f}"
        ),
        published_p=float(published.pvalue),
        robust_test=(
            f"permutation of pairs within animal and area, {N_PERMUTATIONS} draws, two-sided"
        ),
        robust_p=p,
        effect_name="partial r given animal and area",
        effect=partial,
        effect_ci95=resampled.bca,
        n=len(x),
        unit="experiments",
        n_sites=resampled.n_clusters,
        per_animal=by_animal(
            table["Animal"].tolist(),
            lambda own: {"effect": _partial(x[own], y[own], groups[own])},
        ),
        details={
            "r_fisher_ci95": correlation_interval(float(published.statistic), len(x)),
            "r_by_area": by_area,
            "cluster_bootstrap_ci95": resampled.percentile,
        },
    )  # fmt: skip


def _number(name: str) -> int:
    return sum(map(ord, name))


def _within(values: NDArray[np.float64], groups: NDArray[np.intp]) -> NDArray[np.float64]:
    """Take the mean of every group away."""
    sums, sizes = np.bincount(groups, weights=values), np.bincount(groups)
    return values - (sums / np.maximum(sizes, 1))[groups]


def _partial(x: NDArray[np.float64], y: NDArray[np.float64], groups: NDArray[np.intp]) -> float:
    a, b = _within(x, groups), _within(y, groups)
    spread = np.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / spread) if spread > 0 else np.nan


def _permuted_partial(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    groups: NDArray[np.intp],
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Partial correlation given the groups, and its two-sided p by permuting within them."""
    a, b = _within(x, groups), _within(y, groups)
    shuffled = np.tile(a, (N_PERMUTATIONS, 1))
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        shuffled[:, members] = rng.permuted(shuffled[:, members], axis=1)
    spread = np.sqrt((a**2).sum() * (b**2).sum())
    seen, drawn = float(a @ b / spread), shuffled @ b / spread
    return seen, float((1 + (abs(drawn) >= abs(seen) - 1e-12).sum()) / (1 + N_PERMUTATIONS))


def shape_claims(source: SourceData) -> Iterator[Claim]:
    """Figure 6E: after success more axes are bell-shaped and fewer are monotonic."""
    try:
        table = source.read("Fig6/shapes")
    except MissingDataError:
        table = None
    for shape, (column, expected, direction) in SHAPES.items():
        claim = f"{direction} share of {shape} axes where the evolution succeeded"
        if table is None:
            yield unsaid(
                claim,
                "6E",
                "no table of axes and sessions among these data; only counts of axes are printed",
                _p_of_printed_counts(shape, direction),
            )
        else:
            tuned = table[(table["anova_p_value"] < TUNED_P) & table["is_common_axis"]]
            yield _shape(claim, shape, expected, direction, tuned.reset_index(drop=True), column)


def _p_of_printed_counts(shape: str, direction: str) -> float | None:
    """Return the p of the z test of the counts that the paper prints."""
    counts, totals = (
        [_printed("6E", f"{shape}_{kind} {group}") for group in ("successful", "non_successful")]
        for kind in ("count", "total")
    )
    if None in (*counts, *totals):
        return None
    return float(proportions_ztest(counts, totals, alternative=direction)[1])


def _shape(
    claim: str, shape: str, expected: int, direction: str, axes: pd.DataFrame, column: str
) -> Claim:
    hit = axes[column].to_numpy(dtype=float)
    success = axes["is_BigGAN_evol_success"].to_numpy(dtype=bool)
    session = axes["Exp_id"].tolist()
    codes, names = pd.factorize(axes["Exp_id"])
    flags = np.array([success[codes == i][0] for i in range(len(names))])
    counts = [int(hit[part].sum()) for part in (success, ~success)]
    totals = [int(part.sum()) for part in (success, ~success)]
    if min(totals) == 0:
        return unsaid(claim, "6E", "no axis in one of the groups")
    z, p = proportions_ztest(counts, totals, alternative=direction)
    rng = np.random.default_rng([SEED, 9, expected + 1])

    def difference(rows: NDArray[np.intp]) -> float:
        h, s = hit[rows], success[rows]
        return float(h[s].mean() - h[~s].mean()) if 0 < s.mean() < 1 else np.nan

    resampled = cluster_bootstrap(difference, session, rng, np.where(success, "yes", "no").tolist())
    effect = design_effect(hit, session)
    return Claim(
        claim=claim,
        figure="6E",
        expected=expected,
        published_test=f"two-proportion z test over axes, one-sided ({direction}), z = {z:.3f}",
        published_p=float(p),
        robust_test=f"permutation of whole sessions, {N_PERMUTATIONS} draws, two-sided",
        robust_p=_permuted_sessions(hit, codes, flags, rng),
        effect_name="difference of shares",
        effect=resampled.estimate,
        effect_ci95=resampled.bca,
        n=len(axes),
        unit="axes",
        n_sites=resampled.n_clusters,
        per_animal=by_animal(
            axes["Animal"].tolist(), lambda own: {"effect": difference(own)}
        ),
        details={
            "counts": counts,
            "totals": totals,
            "design_effect": effect,
            "z_over_root_design_effect": float(z / np.sqrt(effect)),
            "p_two_sided": float(2 * scipy.stats.norm.sf(abs(z))),
            "cluster_bootstrap_ci95": resampled.percentile,
            "sessions": {"successful": int(flags.sum()), "not": int((~flags).sum())},
        },
    )


def _permuted_sessions(
    hit: NDArray[np.float64],
    codes: NDArray[np.intp],
    flags: NDArray[np.bool_],
    rng: np.random.Generator,
) -> float:
    """Two-sided p of the difference of shares when successes are dealt to whole sessions anew.

    Parameters
    ----------
    hit : numpy.ndarray
        (n_axes,) 1 where an axis has the shape.
    codes : numpy.ndarray of int
        (n_axes,) session of each.
    flags : numpy.ndarray of bool
        (n_sessions,) whether the evolution succeeded.
    rng : numpy.random.Generator
        Draws the permutations.
    """

    def difference(groups: NDArray[np.bool_]) -> NDArray[np.float64]:
        of_axes = groups[..., codes]
        shares = (of_axes @ hit / of_axes.sum(axis=-1), ~of_axes @ hit / (~of_axes).sum(axis=-1))
        return np.asarray(shares[0] - shares[1])

    drawn = difference(rng.permuted(np.tile(flags, (N_PERMUTATIONS, 1)), axis=1))
    as_large = abs(drawn) >= abs(difference(flags)) - 1e-12
    return float((1 + as_large.sum()) / (1 + N_PERMUTATIONS))

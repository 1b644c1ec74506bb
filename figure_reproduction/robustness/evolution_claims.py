"""Claims of Figures 4, 5C and Extended Figure 4: success, levels, speed, moments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from core.source_tables.reader import SourceData
from core.source_tables.registry import FIGURE_5C_WINDOWS
from core.spaces import Space
from core.utils.statistics.t_tests import student
from figure_reproduction.robustness.claims import (
    Claim,
    by_animal,
    decides,
    mean_of,
    paired_claim,
    unsaid,
)
from figure_reproduction.robustness.experiments import PREFIXES, SEED, Experiments
from neuro_data_analysis.neural_data_utils import AREAS
from neuro_data_analysis.robustness.climbs import ESTIMATES
from neuro_data_analysis.robustness.intervals import (
    FEW_CLUSTERS,
    cluster_bootstrap,
    cluster_means,
    design_effect,
    jeffreys_interval,
    mean_test,
    unpaired_effect,
    wilson_interval,
)
from neuro_data_analysis.robustness.models import MixedModel, logistic_model, mixed_model, unfitted

#: Criterion of Figures 4A and 4D.
SUCCESS_LEVEL = 0.01

#: Windows of the two phases of the response, ms.
EARLY_MS, LATE_MS = (50, 100), (150, 200)

#: Width of the bins of Extended Figure 4B that the claims are about, ms.
BIN_MS = 50


def success_claims(experiments: Experiments) -> Iterator[Claim]:
    """Figure 4A: threads climb, in which areas and spaces, DeePSim more often than BigGAN."""
    for area in AREAS:
        for space in Space:
            yield _climbing(experiments, area, space)
    for area, expected in (("V1", 1), ("V4", 1), ("IT", 0)):
        yield _more_often(experiments, area, expected)


def _climbing(experiments: Experiments, area: str, space: Space) -> Claim:
    rows = experiments.group(area)
    passed = experiments.passes(space, SUCCESS_LEVEL)[rows].astype(float)
    published = int(experiments.published_passes(space, SUCCESS_LEVEL)[rows].sum())
    sites = experiments.table["site"].iloc[rows].tolist()
    animals = experiments.table["Animal"].iloc[rows].tolist()
    k, n = int(passed.sum()), len(rows)
    never = (area, space) == ("V1", Space.BIGGAN)
    claim = f"{space} evolutions {'do not climb' if never else 'climb'} in {area}"
    if n < 2:
        return unsaid(claim, "4A", f"{n} experiments")
    rng = np.random.default_rng([SEED, 1, AREAS.index(area), space.thread])
    resampled = cluster_bootstrap(lambda drawn: float(passed[drawn].mean()), sites, rng, animals)
    test = scipy.stats.binomtest(k, n, SUCCESS_LEVEL, alternative="greater")
    few = resampled.n_clusters < FEW_CLUSTERS or k in (0, n)
    return Claim(
        claim=claim,
        figure="4A",
        expected=0 if never else 1,
        published_test=f"{published}/{n} threads with max > init, P<{SUCCESS_LEVEL}, t>0; no test",
        published_p=None,
        robust_test=(
            f"{k}/{n} threads by permutation of blocks, p≤{SUCCESS_LEVEL}; binomial test against "
            f"{SUCCESS_LEVEL}, one-sided"
        ),
        robust_p=float(test.pvalue),
        effect_name="rate of success by permutation of blocks",
        effect=k / n,
        effect_ci95=jeffreys_interval(k, n) if few else resampled.percentile,
        n=n,
        unit="threads",
        n_sites=resampled.n_clusters,
        per_animal={
            animal: {"k": own_k, "n": own["n"], "effect": own["effect"],
                     "ci95": wilson_interval(own_k, own["n"])}
            for animal, own in by_animal(animals, lambda rows: mean_of(passed[rows])).items()
            for own_k in [round(own["effect"] * own["n"])]
        },
        details={
            "published_rate": published / n,
            "published_wilson_ci95": wilson_interval(published, n),
            "published_jeffreys_ci95": jeffreys_interval(published, n),
            "permutation_rate": k / n,
            "permutation_wilson_ci95": wilson_interval(k, n),
            "permutation_rate_p05": float(experiments.passes(space, 0.05)[rows].mean()),
            "cluster_bootstrap_ci95": resampled.percentile,
            "cluster_bootstrap_bca_ci95": resampled.bca,
            "design_effect": design_effect(passed, sites),
            "passed_against_flat_threads": {
                kind: sum(threads[space][row].p <= SUCCESS_LEVEL for row in rows)
                for kind, threads in experiments.flat.items()
            },
            "expected_false_positives": expected_false_positives(experiments, area, space),
            "logistic_mixed_model": logistic_model(
                passed, 1.0, sites, animals, "success ~ 1 + animal + (1 | site)"
            ),
        },
    )


def expected_false_positives(
    experiments: Experiments, area: str, space: Space
) -> dict[str, float]:
    """How many threads of a group would pass the published test of 4A if none climbed.

    From flat threads with the block sizes, lengths and variances of the recorded ones, with
    independent trials and with the simulator's excitability.
    """
    rows = experiments.group(area)
    return {
        kind: float(np.nansum([threads[space][row].published_rate for row in rows]))
        for kind, threads in experiments.flat.items()
    }


def _more_often(experiments: Experiments, area: str, expected: int) -> Claim:
    rows = experiments.group(area)
    fc, bg = (experiments.passes(space, SUCCESS_LEVEL)[rows].astype(float) for space in Space)
    published = [int(experiments.published_passes(s, SUCCESS_LEVEL)[rows].sum()) for s in Space]
    wording = "as often as" if expected == 0 else "more often than"
    table = experiments.table.iloc[rows]
    odds = logistic_model(
        np.r_[fc, bg], np.repeat([1.0, 0.0], len(rows)), table["site"].tolist() * 2,
        table["Animal"].tolist() * 2, "success ~ space + animal + (1 | site)",
    )  # fmt: skip
    return paired_claim(
        f"DeePSim evolutions climb {wording} BigGAN evolutions in {area}", "4A", expected,
        (f"none printed ({published[0]} against {published[1]} of {len(rows)})", None),
        fc - bg, table, np.random.default_rng([SEED, 3, AREAS.index(area)]),
        "difference of success rates by permutation of blocks",
        {"exact_mcnemar_p": _mcnemar(fc, bg), "logistic_mixed_model": odds},
    )  # fmt: skip


def _mcnemar(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    only_first, only_second = int((first > second).sum()), int((second > first).sum())
    if only_first + only_second == 0:
        return np.nan
    return float(scipy.stats.binomtest(only_first, only_first + only_second).pvalue)


def level_claims(experiments: Experiments) -> Iterator[Claim]:
    """Figure 4B: BigGAN responds more at first, DeePSim in the end except in IT."""
    last = experiments.recorded.sum(axis=1) - 1
    every = np.arange(len(last))
    for block, expected in (("initial", (-1, -1, -1)), ("last", (1, 1, 0))):
        for area, sign in zip(AREAS, expected, strict=True):
            rows = experiments.group(area, "anysucc005")
            drawn = {s: r[rows, 0 if block == "initial" else -1]
                     for s, r in experiments.response.items()}  # fmt: skip
            difference = drawn[Space.DEEPSIM] - drawn[Space.BIGGAN]
            recorded = {s: r[every, last][rows] for s, r in experiments.response.items()}
            details = {} if block == "initial" else {
                "last_recorded_block_only": mean_test(
                    recorded[Space.DEEPSIM] - recorded[Space.BIGGAN]
                )
            }  # fmt: skip
            wording = {1: "exceeds", -1: "is below", 0: "equals"}[sign]
            yield paired_claim(
                f"DeePSim {wording} BigGAN in the {block} block in {area}", "4B", sign,
                _paired(difference), difference, experiments.table.iloc[rows],
                np.random.default_rng([SEED, 4, AREAS.index(area), block == "last"]),
                "difference of normalised response", details,
            )  # fmt: skip


def _paired(difference: NDArray[np.float64]) -> tuple[str, float | None]:
    """Name and p of the published paired Student test."""
    found = mean_test(difference)
    name = f"paired t test over experiments, df {found.df}, two-sided, t = {found.t:.3f}"
    return name, found.p if np.isfinite(found.p) else None


def speed_claims(experiments: Experiments) -> Iterator[Claim]:
    """Figure 4D: DeePSim climbs more slowly in IT than below, and than BigGAN there."""
    for other in ("V4", "V1"):
        yield _slower(experiments, other)
    rows = experiments.group("IT", "bothsucc001")
    times = {s: experiments.table[f"{p}_tc0_bslinit"].to_numpy(dtype=float)[rows]
             for s, p in PREFIXES.items()}  # fmt: skip
    difference = times[Space.DEEPSIM] - times[Space.BIGGAN]
    yield paired_claim(
        "DeePSim takes longer than BigGAN to climb in IT", "4D", 1,
        _paired(difference), difference, experiments.table.iloc[rows],
        np.random.default_rng([SEED, 5, 2]), "difference of time constants, blocks",
        {"other_estimates": {
            name: mean_test(_climb_blocks(experiments, rows, Space.DEEPSIM, name)
                            - _climb_blocks(experiments, rows, Space.BIGGAN, name))
            for name in ESTIMATES
        }},
    )  # fmt: skip


def _climb_blocks(
    experiments: Experiments, rows: NDArray[np.intp], space: Space, estimate: str
) -> NDArray[np.float64]:
    """Blocks to 0.8 of the rise of some threads, by another estimate than the published one."""
    lengths = experiments.recorded.sum(axis=1)
    response = experiments.response[space]
    return np.array([ESTIMATES[estimate](response[row, : lengths[row]]) for row in rows])


def _compared_otherwise(
    experiments: Experiments, groups: dict[str, NDArray[np.intp]]
) -> dict[str, dict[str, float]]:
    """Compare the time constants of DeePSim in two areas by every estimate, unpaired."""
    found = {}
    for name in ESTIMATES:
        first, second = (
            _climb_blocks(experiments, rows, Space.DEEPSIM, name) for rows in groups.values()
        )
        test = student(first, second)
        found[name] = {
            "mean_difference": float(first.mean() - second.mean()),
            "t": float(test.t), "df": float(test.df), "p": float(test.p),
        }  # fmt: skip
    return found


def _slower(experiments: Experiments, other: str) -> Claim:
    """Compare the time constants of DeePSim between IT and another area, unpaired."""
    groups = {area: experiments.group(area, "FCsucc001") for area in ("IT", other)}
    claim = f"DeePSim takes longer to climb in IT than in {other}"
    if min(map(len, groups.values())) < 2:
        return unsaid(claim, "4D", f"{len(groups[other])} threads climbed in {other}")
    rows = np.concatenate(list(groups.values()))
    table = experiments.table.iloc[rows]
    times = table["FC_tc0_bslinit"].to_numpy(dtype=float)
    is_it = np.repeat([True, False], [len(group) for group in groups.values()])
    test = student(times[is_it], times[~is_it])
    t, p, df = float(test.t), float(test.p), float(test.df)
    sites, animals = table["site"].tolist(), table["Animal"].tolist()
    strata = [f"{animal} {area}" for animal, area in zip(animals, is_it, strict=True)]

    def difference(drawn: NDArray[np.intp], middle: Callable[..., Any] = np.mean) -> float:
        x, here = times[drawn], is_it[drawn]
        return float(middle(x[here]) - middle(x[~here])) if 0 < here.mean() < 1 else np.nan

    resampled = cluster_bootstrap(
        difference, sites, np.random.default_rng([SEED, 5, other == "V1"]), strata
    )
    medians = cluster_bootstrap(
        partial(difference, middle=np.median), sites,
        np.random.default_rng([SEED, 5, 3, other == "V1"]), strata,
    )  # fmt: skip
    model = mixed_model(
        times, is_it.astype(float), sites, animals, formula="blocks ~ area + animal + (1 | site)"
    )
    it, below = (cluster_means(times[part], [s for s, p in zip(sites, part, strict=True) if p])
                 for part in (is_it, ~is_it))  # fmt: skip
    by_site = student(it, below, equal_variances=False)
    use_model = decides(model, resampled.n_clusters)
    return Claim(
        claim=claim,
        figure="4D",
        expected=1,
        published_test=(
            f"unpaired t test over threads, df {df:g}, two-sided, t = {t:.3f} (synopsis table; "
            "the panel prints none)"
        ),
        published_p=p,
        robust_test=(
            f"mixed model {model.formula}, likelihood ratio" if use_model
            else "Welch test of site means, two-sided"
        ),
        robust_p=model.p if use_model else float(by_site.p),
        effect_name="difference of mean time constants, blocks",
        effect=resampled.estimate,
        effect_ci95=resampled.bca,
        n=len(rows),
        unit="threads",
        n_sites=resampled.n_clusters,
        per_animal=by_animal(animals, lambda own: {"effect": difference(own)}),
        details={
            "hedges_g": unpaired_effect(times[is_it], times[~is_it]),
            "median_difference": medians.estimate,
            "median_difference_ci95": medians.percentile,
            "mixed_model_area_by_space": _area_by_space(experiments, other),
            "cluster_bootstrap_ci95": resampled.percentile,
            "welch_test_of_site_means_p": float(by_site.p),
            "other_estimates": _compared_otherwise(experiments, groups),
            "mixed_model": model,
        },
    )  # fmt: skip


def _area_by_space(experiments: Experiments, other: str) -> MixedModel:
    """Whether the space matters more in IT than in another area, for all climbing threads."""
    groups = {
        (area, space): experiments.group(area, f"{space.prefix}succ001")
        for area in ("IT", other)
        for space in Space
    }
    rows = np.concatenate(list(groups.values()))
    sizes = [len(group) for group in groups.values()]
    in_it, in_deepsim = np.repeat(
        [[area == "IT", space is Space.DEEPSIM] for area, space in groups], sizes, axis=0
    ).T.astype(float)
    blocks = np.where(
        in_deepsim == 1,
        experiments.table["FC_tc0_bslinit"].to_numpy(dtype=float)[rows],
        experiments.table["BG_tc0_bslinit"].to_numpy(dtype=float)[rows],
    )
    table = experiments.table.iloc[rows]
    name = "blocks ~ area * space + animal + (1 | site), interaction"
    if min(sizes) < 2:
        return unfitted(name, len(rows), table["site"].nunique(), "a group has no threads")
    return mixed_model(
        blocks, in_it * in_deepsim, table["site"].tolist(), table["Animal"].tolist(),
        {"area": in_it, "space": in_deepsim}, name,
    )  # fmt: skip


def window_claims(experiments: Experiments, source: SourceData) -> Iterator[Claim]:
    """Figure 5C: DeePSim responds more early, BigGAN more late, over the blocks of the climb."""
    wanted = (("V4", EARLY_MS, 1), ("IT", EARLY_MS, 1), ("IT", LATE_MS, -1))
    for number, (area, (start, stop), expected) in enumerate(wanted):
        rows = experiments.group(area, "bothsucc005")
        windows = [w for w in FIGURE_5C_WINDOWS if start <= w[0] < stop]
        fc, bg = (
            np.mean([source.read("Fig5/window_response_mean", window=w, space=s)[rows]
                     for w in windows], axis=0)
            for s in Space
        )  # fmt: skip
        recorded = experiments.recorded[rows]
        difference = np.nanmean(np.where(recorded, fc - bg, np.nan), axis=1)
        first, second = ("DeePSim", "BigGAN") if expected > 0 else ("BigGAN", "DeePSim")
        phase = "early" if (start, stop) == EARLY_MS else "late"
        yield paired_claim(
            f"{first} exceeds {second} in the {phase} response ({start}-{stop} ms) in {area}",
            "5C", expected, ("paired t test block by block and window by window, FDR over 56 "
                             "blocks, padding included; see the counts of dots", None),
            difference, experiments.table.iloc[rows], np.random.default_rng([SEED, 6, number]),
            "difference of normalised response, mean of the recorded blocks",
        )  # fmt: skip


def attribution_claims(experiments: Experiments, source: SourceData) -> Iterator[Claim]:
    """Claim that the gain of DeePSim comes early, that of BigGAN late (Extended Figure 4B)."""
    key = f"ExtendedFig4/attribution_{BIN_MS}ms"
    shares = {space: np.asarray(source.read(key, space=space)) for space in Space}
    wanted = (("V4", 1, 1), ("V4", 3, -1), ("IT", 1, 1), ("IT", 2, -1))
    for number, (area, place, expected) in enumerate(wanted):
        groups = {s: experiments.group(area, f"{p}succ001") for s, p in PREFIXES.items()}
        fc, bg = (shares[s][groups[s], place] for s in Space)
        fc, bg = fc[np.isfinite(fc)], bg[np.isfinite(bg)]
        both = experiments.group(area, "bothsucc001")
        difference = shares[Space.DEEPSIM][both, place] - shares[Space.BIGGAN][both, place]
        name, p = "unpaired t test", None
        if min(len(fc), len(bg)) > 1:
            test = student(fc, bg)
            t, p, df = float(test.t), float(test.p), float(test.df)
            name = (
                f"unpaired t test, df {df:g}, two-sided, t = {t:.3f}, though {len(both)} of "
                f"{len(fc)} and {len(bg)} experiments are in both groups"
            )
        window = f"{place * BIN_MS}-{(place + 1) * BIN_MS} ms"
        first, second = ("DeePSim", "BigGAN") if expected > 0 else ("BigGAN", "DeePSim")
        yield paired_claim(
            f"{first} gains a larger share than {second} in {window} in {area}", "Ext 4B",
            expected, (name, p), difference, experiments.table.iloc[both],
            np.random.default_rng([SEED, 7, number]), "difference of shares of the gain",
            {"mixed_model_of_all_threads": _all_threads(experiments, shares, groups, place),
             "experiments_in_both_groups": len(both)},
        )  # fmt: skip


def _all_threads(
    experiments: Experiments,
    shares: dict[Space, NDArray[np.float64]],
    groups: dict[Space, NDArray[np.intp]],
    place: int,
) -> Any:
    """Fit the shares of all climbing threads by space, with a random intercept of sites."""
    rows = np.concatenate(list(groups.values()))
    values = np.concatenate([shares[space][rows, place] for space, rows in groups.items()])
    is_fc = np.repeat([1.0, 0.0], [len(rows) for rows in groups.values()])
    known = np.isfinite(values)
    table = experiments.table.iloc[rows[known]]
    return mixed_model(
        values[known], is_fc[known], table["site"].tolist(), table["Animal"].tolist(),
        formula="share ~ space + animal + (1 | site)",
    )  # fmt: skip

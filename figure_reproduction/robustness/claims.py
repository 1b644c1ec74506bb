"""One claim of the paper: its published test, a test that respects sites and animals, a verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from neuro_data_analysis.robustness.intervals import (
    FEW_CLUSTERS,
    Interval,
    cluster_bootstrap,
    cluster_means,
    mean_test,
    paired_effect,
)
from neuro_data_analysis.robustness.models import MixedModel, holm, mixed_model, sign_flip_p

#: Level of every decision.
LEVEL = 0.05

Verdict = Literal["holds", "weaker", "fails", "cannot be said from these data"]
UNSAID: Verdict = "cannot be said from these data"


@dataclass(frozen=True)
class Claim:
    """A row of the table of claims.

    Attributes
    ----------
    claim, figure : str
        What the paper says, and where.
    expected : {1, -1, 0}
        Sign of the effect that the claim asserts; 0 where it asserts that there is none.
    published_test : str
        Test of the figure, sidedness included; "none printed" where it has none.
    published_p : float or None
        Its p on these data.
    robust_test : str
        What stands beside it.
    robust_p : float
        Two-sided unless the test says otherwise; not corrected.
    effect_name : str
        What the effect is.
    effect : float
        NaN where it cannot be had.
    effect_ci95 : (float, float)
        95 % interval that respects sites.
    n : int
        Units of the robust test's data.
    unit : str
        What n counts.
    n_sites : int
        Sites (or sessions) among them.
    per_animal : dict
        Animal → n and its own effect.
    details : dict
        Other tests and numbers.
    robust_p_holm : float
        Corrected by Holm over the claims of the same figure.
    verdict, reason : str
        What follows, and why.
    """

    claim: str
    figure: str
    expected: int
    published_test: str
    published_p: float | None
    robust_test: str
    robust_p: float
    effect_name: str
    effect: float
    effect_ci95: Interval
    n: int
    unit: str
    n_sites: int
    per_animal: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    robust_p_holm: float = np.nan
    verdict: Verdict = UNSAID
    reason: str = ""


def unsaid(claim: str, figure: str, reason: str, published_p: float | None = None) -> Claim:
    """Return a claim about which the data at hand say nothing."""
    nothing = (np.nan, np.nan)
    return Claim(
        claim, figure, 0, "as published", published_p, "none", np.nan, "", np.nan, nothing, 0, "",
        0, reason=reason,
    )  # fmt: skip


def paired_claim(
    claim: str,
    figure: str,
    expected: int,
    published: tuple[str, float | None],
    differences: NDArray[np.float64],
    experiments: pd.DataFrame,
    rng: np.random.Generator,
    effect_name: str,
    details: dict[str, Any] | None = None,
) -> Claim:
    """Test a difference between the two threads of experiments that repeat sites.

    Parameters
    ----------
    claim, figure, expected
        As in `Claim`.
    published : (str, float or None)
        Test and p of the figure.
    differences : numpy.ndarray
        (n,) DeePSim minus BigGAN.
    experiments : pandas.DataFrame
        (n,) rows with ``site`` and ``Animal``.
    rng : numpy.random.Generator
        Draws resamples and flips.
    effect_name : str
        What the mean difference is.
    details : dict, optional
        More to tell.

    Returns
    -------
    Claim
        The mixed model decides; with fewer than 15 sites, or where it cannot be fitted, the
        Student test of site means.
    """
    known = np.isfinite(differences)
    x, rows = differences[known], experiments[known]
    sites, animals = rows["site"].tolist(), rows["Animal"].tolist()
    if len(x) < 2:
        return unsaid(claim, figure, f"{len(x)} experiments", published[1])
    resampled = cluster_bootstrap(lambda drawn: float(x[drawn].mean()), sites, rng, animals)
    by_site = mean_test(cluster_means(x, sites))
    model = mixed_model(x, 1.0, sites, animals, formula="difference ~ 1 + animal + (1 | site)")
    use_model = decides(model, resampled.n_clusters)
    few = resampled.n_clusters < FEW_CLUSTERS
    flipped = sign_flip_p(x, sites, rng)
    if use_model:
        robust = f"mixed model {model.formula}, likelihood ratio", model.p
    elif np.isfinite(by_site.p):
        robust = (
            f"Student test of {by_site.n} site means, df {by_site.df}, two-sided", by_site.p
        )
    else:  # all sites differ alike
        robust = f"flips of the sign of {resampled.n_clusters} sites, two-sided", flipped
    return Claim(
        claim=claim,
        figure=figure,
        expected=expected,
        published_test=published[0],
        published_p=published[1],
        robust_test=robust[0],
        robust_p=robust[1],
        effect_name=effect_name,
        effect=by_site.mean if few else resampled.estimate,
        effect_ci95=by_site.interval if few else resampled.bca,
        n=len(x),
        unit="experiments",
        n_sites=resampled.n_clusters,
        per_animal=by_animal(animals, lambda rows: mean_of(x[rows])),
        details={
            "d_z": paired_effect(x),
            "cluster_bootstrap_ci95": resampled.percentile,
            "cluster_bootstrap_bca_ci95": resampled.bca,
            "site_means_t_test": by_site,
            "sign_flip_of_sites_p": flipped,
            "mixed_model": model,
            **(details or {}),
        },
    )  # fmt: skip


def decides(model: MixedModel, n_sites: int) -> bool:
    """Whether a mixed model is to be used: enough sites, and it converged.

    A variance of sites of zero is no reason against it: sites then do not differ.
    """
    usable = not model.problem or model.problem.startswith("singular")
    return usable and n_sites >= FEW_CLUSTERS


def by_animal(
    animals: Sequence[str], effect: Callable[[NDArray[np.intp]], Mapping[str, Any]]
) -> dict[str, Any]:
    """Tell n and what `effect` gives of the rows of each animal."""
    rows = {animal: np.flatnonzero(np.array(animals) == animal) for animal in sorted(set(animals))}
    return {str(animal): {"n": len(own), **effect(own)} for animal, own in rows.items()}


def mean_of(values: NDArray[np.float64]) -> dict[str, Any]:
    """Mean and 95 % interval of some values."""
    found = mean_test(values)
    return {"effect": found.mean, "ci95": found.interval}


def judged(claims: Iterable[Claim]) -> list[Claim]:
    """Correct the robust p values within each figure by Holm, and give every claim its verdict."""
    listed = list(claims)
    for figure in dict.fromkeys(claim.figure for claim in listed):
        places = [i for i, claim in enumerate(listed) if claim.figure == figure]
        corrected = holm([listed[i].robust_p for i in places])
        for i, p in zip(places, corrected, strict=True):
            claim = replace(listed[i], robust_p_holm=float(p))
            verdict, reason = _verdict(claim)
            listed[i] = replace(claim, verdict=verdict, reason=reason)
    return listed


def _verdict(claim: Claim) -> tuple[Verdict, str]:
    low, high = claim.effect_ci95
    if not np.isfinite(claim.robust_p):
        return UNSAID, claim.reason or "the test is not defined on these data"
    if claim.expected == 0:
        if claim.robust_p < LEVEL:
            return "fails", "there is a difference where the paper finds none"
        return "holds", f"none found either; {low:.3g} to {high:.3g} are not excluded"
    if np.sign(claim.effect) != claim.expected:
        return "fails", "the effect has the other sign"
    if claim.robust_p >= LEVEL:
        return "fails", f"robust p is {claim.robust_p:.2g}"
    doubts = [
        doubt
        for applies, doubt in (
            (not claim.robust_p_holm < LEVEL, f"p is {claim.robust_p_holm:.2g} after Holm"),
            (low <= 0 <= high, "the interval of the effect holds 0"),
            (_animals_disagree(claim), "the animals differ in sign"),
        )
        if applies
    ]
    if doubts:
        return "weaker", "; ".join(doubts)
    return "holds", "significant after Holm, and the interval excludes 0"


def _animals_disagree(claim: Claim) -> bool:
    effects = [own["effect"] for own in claim.per_animal.values() if own["n"] > 1]
    return bool(any(effect > 0 for effect in effects) and any(effect < 0 for effect in effects))

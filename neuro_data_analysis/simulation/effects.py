"""What a dealt population lacks: chance in which threads climb, and effects of sites and animals.

The counts of success of a simulation are dealt to come out as published, and its experiments are
independent. A test of a statistic that is to respect chance, sites and animals needs a population
that has them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from core.published import EXAMPLE_EXPI
from neuro_data_analysis.simulation.population import ExperimentPlan

#: A site, or an animal.
Group = TypeVar("Group", bound=Hashable)

#: Second entry of the seed of what is drawn here; experiments take their numbers there.
_SEED = 1_000_000


@dataclass(frozen=True)
class Effects:
    """How a population departs from the dealt, independent one.

    Attributes
    ----------
    drawn : bool
        Whether each experiment does what one drawn from those of its area does, so that counts of
        success vary as those of a sample.
    site_sd, animal_sd : float
        Standard deviation, from site to site and from animal to animal, of ln(DeePSim / BigGAN) of
        the responses in all blocks. A site is an animal, a channel and a unit.
    """

    drawn: bool = False
    site_sd: float = 0.0
    animal_sd: float = 0.0


#: The population as it is dealt.
NO_EFFECTS = Effects()


def with_effects(
    plans: Sequence[ExperimentPlan], effects: Effects, seed: int
) -> tuple[ExperimentPlan, ...]:
    """Return a population with some effects; without any, the same one.

    Parameters
    ----------
    plans : sequence of ExperimentPlan
        All experiments of `plan_population`.
    effects : Effects
    seed : int
        Of the simulation.
    """
    rng = np.random.default_rng([seed, _SEED])
    changed = _redrawn(plans, rng) if effects.drawn else tuple(plans)
    sites = [_site(plan) for plan in plans]
    by_site = _effects_of(sites, effects.site_sd, rng)
    by_animal = _effects_of([animal for animal, *_ in sites], effects.animal_sd, rng)
    return tuple(
        _tilted(plan, by_site[site] + by_animal[site[0]])
        for plan, site in zip(changed, sites, strict=True)
    )


def _site(plan: ExperimentPlan) -> tuple[str, int, int]:
    return plan.listed["animal"], plan.listed["prefchan"], plan.listed["prefunit"]


def _effects_of(
    groups: Iterable[Group], sd: float, rng: np.random.Generator
) -> dict[Group, float]:
    return {group: sd * rng.standard_normal() for group in dict.fromkeys(groups)}


def _redrawn(
    plans: Sequence[ExperimentPlan], rng: np.random.Generator
) -> tuple[ExperimentPlan, ...]:
    """Give each experiment the behaviour of one of its area, drawn with replacement."""
    of_area: dict[str, list[ExperimentPlan]] = {}
    for plan in plans:
        of_area.setdefault(plan.listed["visual_area"], []).append(plan)
    redrawn = []
    for plan in plans:
        others = of_area[plan.listed["visual_area"]]
        donor = others[rng.integers(len(others))] if plan.expi != EXAMPLE_EXPI else plan
        redrawn.append(
            replace(plan, threads=donor.threads, spontaneous_rate=donor.spontaneous_rate,
                    delay_ms=donor.delay_ms)
        )  # fmt: skip
    return tuple(redrawn)


def _tilted(plan: ExperimentPlan, log_ratio: float) -> ExperimentPlan:
    """Multiply DeePSim's responses over BigGAN's by exp(log_ratio), the site's mean unchanged."""
    if log_ratio == 0:
        return plan
    first, second = (
        replace(t, first_rate=t.first_rate * factor, last_rate=t.last_rate * factor)
        for t, factor in zip(plan.threads, np.exp([log_ratio / 2, -log_ratio / 2]), strict=True)
    )
    weaker = float(np.exp(-abs(log_ratio) / 2))  # spontaneous rates stay below all responses
    return replace(plan, threads=(first, second), spontaneous_rate=plan.spontaneous_rate * weaker)

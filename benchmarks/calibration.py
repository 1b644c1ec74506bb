"""How often tests find what is not there, and how often intervals hold what is.

``python -m benchmarks.calibration`` draws threads that do not climb, sites that do not differ and
sessions that are all alike, and prints the rate of false positives of the published tests and of
those beside them with its 95 % interval (Wilson), the power of the tests of success, and the
coverage of every interval. ``--source-data DIR`` takes lengths, block sizes and variances of flat
threads from the sessions of a source-data folder; without it they are drawn like the published
ones.
"""

from __future__ import annotations

import sys

from core import start

if __name__ == "__main__":
    sys.exit(start.run("benchmarks.calibration"))

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats
from statsmodels.stats.proportion import proportions_ztest

from core.source_tables.reader import SourceData
from core.spaces import Space
from figure_reproduction.robustness.experiments import Experiments
from neuro_data_analysis.evolution.population import credible_interval
from neuro_data_analysis.robustness.block_sums import (
    BlockSums,
    compare_with_flat,
    flat_threads,
    permutation_test,
)
from neuro_data_analysis.robustness.false_positives import FLAT_KINDS
from neuro_data_analysis.robustness.intervals import (
    cluster_bootstrap,
    cluster_means,
    correlation_interval,
    jeffreys_interval,
    mean_test,
    paired_effect,
    unpaired_effect,
    wilson_interval,
)
from neuro_data_analysis.robustness.models import logistic_model, mixed_model, sign_flip_p

SEED = 4

LEVELS = (0.05, 0.01)

#: Share of the rate that is evoked, and with it what excitability multiplies.
EVOKED_SHARE = 0.55

#: Excitability of a flat session: standard deviation (share of the evoked rate) and memory.
EXCITABILITIES = {
    "independent trials": (0.0, 0.0),
    "AR(1) 3 %, memory .5": (0.03, 0.5),
    "AR(1) 5 %, memory .5": (0.05, 0.5),
    "drift 5 %, memory .9": (0.05, 0.9),
}

#: Lengths of sessions whose false positives are told apart.
LENGTHS = (15, 25, 35, 55)

#: Gains whose power is told, as shares of the evoked rate, and their time constant in blocks.
GAINS, CLIMB_BLOCKS = (0.1, 0.2, 0.3, 0.5), 10.0

#: Images in (first block, later blocks) of the published sessions.
SIZES = ((30, 40), (30, 25), (30, 30), (30, 28), (31, 40), (34, 25))

#: Share of axes with one shape, in simulated sessions.
SHARE = 0.15

Draw = Callable[[np.random.Generator], BlockSums]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print all rates."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration", description=__doc__)
    parser.add_argument("--source-data", type=Path, metavar="DIR", help="sessions to imitate")
    parser.add_argument("--threads", type=int, default=1000, help="flat threads (%(default)s)")
    parser.add_argument("--permutations", type=int, default=999, help="of each (%(default)s)")
    parser.add_argument(
        "--populations", type=int, default=200, help="of sites and sessions (%(default)s)"
    )
    given = parser.parse_args(arguments)
    draw = _recorded(given.source_data) if given.source_data else published_like
    for line in _lines(draw, given.threads, given.permutations, given.populations):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


def _lines(draw: Draw, threads: int, permutations: int, populations: int) -> Iterator[str]:
    yield f"False positives of success, {threads} flat threads each (95 % interval)"
    for name, (sd, memory) in EXCITABILITIES.items():
        p = success_p_values(draw, threads, permutations, sd, memory)
        yield from (f"  {name:22} {line}" for line in rates(p))
    yield "By length of the session, AR(1) 3 %, memory .5"
    for length in LENGTHS:
        as_long = partial(published_like, n_blocks=length)
        p = success_p_values(as_long, threads, permutations, 0.03, 0.5)
        yield from (f"  {length:2} blocks  {line}" for line in rates(p))
    yield f"Power of success, time constant {CLIMB_BLOCKS:g} blocks, AR(1) 3 %, memory .5"
    for gain in GAINS:
        p = success_p_values(draw, threads // 4, permutations, 0.03, 0.5, gain)
        yield from (f"  gain {gain:4.0%}  {line}" for line in rates(p))
    yield "Coverage of intervals of a rate: mean, and least between rates .01 and .99"
    yield from (f"  {line}" for line in coverages())
    yield f"Sites that do not differ between the threads, {populations} populations like IT"
    yield from (f"  {line}" for line in paired_rates(populations))
    yield f"Coverage of every other interval, 95 % where not told, {populations} populations"
    yield from (f"  {line}" for line in standard_error_bands())
    yield from (f"  {line}" for line in interval_coverages(populations))
    yield f"Sessions that are all alike, {populations} populations like Figure 6E"
    yield from (f"  {line}" for line in session_rates(populations))


def published_like(rng: np.random.Generator, n_blocks: int | None = None) -> BlockSums:
    """Draw a session with length, block sizes and spread of images like the published ones.

    The spread is that of counts in 150 ms (Poisson) and of images that differ by 12 % in the
    evoked response.
    """
    n = n_blocks or int(np.clip(round(rng.normal(34, 8)), 18, 54))
    rate = float(np.clip(140 * np.exp(0.4 * rng.standard_normal()), 45, 330))
    first, later = SIZES[rng.integers(len(SIZES))]
    sizes = np.full(n, float(later))
    sizes[0] = first
    sd = np.sqrt(rate / 0.15 + (0.12 * EVOKED_SHARE * rate) ** 2)
    return BlockSums.from_moments(sizes, np.full(n, rate), sd / np.sqrt(sizes))


def _recorded(folder: Path) -> Draw:
    """Return a draw among the recorded threads of valid experiments."""
    experiments = Experiments.read(SourceData(folder))
    rows = np.flatnonzero(experiments.table["valid"])
    threads = [experiments.thread(int(row), space) for row in rows for space in Space]
    return lambda rng: threads[rng.integers(len(threads))]


def success_p_values(
    draw: Draw,
    threads: int,
    permutations: int,
    excitability_sd: float,
    memory: float,
    gain: float = 0.0,
) -> dict[str, NDArray[np.float64]]:
    """Draw threads and test their success in every way; 1 where t is not above 0."""
    rng = np.random.default_rng(SEED)
    found = []
    for _ in range(threads):
        like = draw(rng)
        flat = flat_threads(like, 1, rng, EVOKED_SHARE * excitability_sd, memory)
        thread = _climbing(BlockSums(flat.sizes[0], flat.sums[0], flat.squares[0]), gain)
        test = permutation_test(thread, rng, permutations)
        best, last = float(thread.best_p()), float(thread.last_p())
        upward = (test.t > 0, float(thread.last_against_first()) > 0)
        flat_p = [compare_with_flat(thread, rng, kind, n_threads=permutations).p
                  for kind in FLAT_KINDS.values()]  # fmt: skip
        found.append(
            (best if upward[0] else 1, last if upward[1] else 1, test.p, test.p_shift, *flat_p)
        )
    names = (
        "max > init, published", "end > init, published", "blocks permuted", "blocks shifted",
        *(f"against flat, {kind[:11]}" for kind in FLAT_KINDS),
    )  # fmt: skip
    return dict(zip(names, np.array(found).T, strict=True))


def _climbing(thread: BlockSums, gain: float) -> BlockSums:
    """Lift the blocks by a saturating climb, a share of the evoked rate."""
    rate = thread.sums.sum() / thread.sizes.sum()
    lift = gain * EVOKED_SHARE * rate * -np.expm1(-np.arange(thread.n_blocks) / CLIMB_BLOCKS)
    squares = thread.squares + 2 * lift * thread.sums + thread.sizes * lift**2
    return BlockSums(thread.sizes, thread.sums + thread.sizes * lift, squares)


def rates(p_values: dict[str, NDArray[np.float64]]) -> Iterator[str]:
    """Tell the share of p values at each level, with its interval."""
    for name, p in p_values.items():
        cells = [
            f"p≤{level}: {(p <= level).mean():.3f} [{low:.3f}, {high:.3f}]"
            for level in LEVELS
            for low, high in [wilson_interval(int((p <= level).sum()), len(p))]
        ]
        yield f"{name:26} {'  '.join(cells)}"


def coverages() -> Iterator[str]:
    """Tell the exact coverage of the intervals of Figure 4A and of those beside it."""
    true = np.linspace(0.01, 0.99, 197)
    for n in (10, 38, 106):
        k = np.arange(n + 1)
        intervals = {
            "credible 90 %, published (4A)": np.stack(credible_interval(k, np.full(n + 1, n))),
            "Wilson 95 %": np.array([wilson_interval(i, n) for i in range(n + 1)]).T,
            "Jeffreys 95 %, ends closed": np.array(
                [jeffreys_interval(i, n) for i in range(n + 1)]
            ).T,
        }
        for name, (low, high) in intervals.items():
            holds = (low <= true[:, np.newaxis]) & (true[:, np.newaxis] <= high)
            coverage = (stats.binom.pmf(k, n, true[:, np.newaxis]) * holds).sum(axis=1)
            own = [low[i] <= i / n <= high[i] for i in (0, n)]
            yield (
                f"n = {n:3}  {name:30} {coverage.mean():.3f}  {coverage.min():.3f}  "
                f"{'holds' if all(own) else 'leaves out'} its own estimate at k = 0 and n"
            )


def paired_rates(
    populations: int, n_sites: int = 51, n: int = 106, icc: float = 0.3
) -> Iterator[str]:
    """Tell level and coverage of tests of a mean paired difference among repeated sites."""
    rng = np.random.default_rng(SEED)
    p: dict[str, list[float]] = {}
    covered: dict[str, list[bool]] = {}
    for _ in range(populations):
        sites = np.concatenate([np.arange(n_sites), rng.integers(n_sites, size=n - n_sites)])
        animals = np.where(sites < 30, "A", "B")
        own = np.sqrt(icc) * rng.standard_normal(n_sites)[sites]
        x = own + np.sqrt(1 - icc) * rng.standard_normal(n)
        names = sites.tolist()
        by_site = mean_test(cluster_means(x, names))
        model = mixed_model(x, 1.0, names, animals.tolist())
        resampled = cluster_bootstrap(
            partial(_mean_of, x), names, rng, animals.tolist(), n_resamples=500
        )
        plain = mean_test(x)
        for name, value in (
            ("t over experiments, published", plain.p), ("t of site means", by_site.p),
            ("mixed model, likelihood ratio", model.p),
            ("signs of sites flipped", sign_flip_p(x, names, rng, 999)),
        ):  # fmt: skip
            p.setdefault(name, []).append(value)
        for name, (low, high) in (
            ("t over experiments", plain.interval), ("t of site means", by_site.interval),
            ("mixed model, Wald", model.interval), ("cluster bootstrap", resampled.percentile),
            ("cluster bootstrap, BCa", resampled.bca),
        ):  # fmt: skip
            covered.setdefault(name, []).append(low <= 0 <= high)
    yield from rates({name: np.array(values) for name, values in p.items()})
    for name, held in covered.items():
        low, high = wilson_interval(sum(held), len(held))
        yield f"95 % interval, {name:22} covers {np.mean(held):.3f} [{low:.3f}, {high:.3f}]"


def standard_error_bands() -> Iterator[str]:
    """Tell how often mean ± published standard error (ddof 0) holds the mean of normal values.

    |x̄ − μ| ≤ s₀/√n is |t| ≤ √((n − 1)/n) with n − 1 degrees of freedom.
    """
    for n in (2, 10, 24, 37, 61, 86):
        reach = np.sqrt((n - 1) / n)
        held = stats.t.cdf(reach, n - 1) - stats.t.cdf(-reach, n - 1)
        yield f"mean ± SEM with ddof 0, n = {n:2} (4C, 5A, 5C, Ext 4B)  covers {held:.3f} of .683"


#: Sites and experiments of an area in which both or own threads climbed.
LAYOUTS = {"IT": (38, 67), "V4": (30, 37), "V1": (10, 10)}


def interval_coverages(populations: int, icc: float = 0.2) -> Iterator[str]:
    """Draw populations of known truth, and tell how often each interval holds it."""
    rng = np.random.default_rng(SEED + 1)
    held: dict[str, list[bool]] = {}
    for _ in range(populations):
        for name, interval, truth in _intervals(rng, icc):
            low, high = interval
            if np.isfinite(low):
                held.setdefault(name, []).append(low <= truth <= high)
    for name, covered in held.items():
        low, high = wilson_interval(sum(covered), len(covered))
        yield f"{name:66} covers {np.mean(covered):.3f} [{low:.3f}, {high:.3f}]"


def _intervals(
    rng: np.random.Generator, icc: float
) -> Iterator[tuple[str, tuple[float, float], float]]:
    """Yield name, interval and truth of everything once."""
    for area, (n_sites, n) in LAYOUTS.items():
        sites = _sites(rng, n_sites, n)
        times = np.exp(2.8 + 0.5 * _clustered(rng, sites, icc))  # blocks, as skewed as those of 4D
        truth = float(np.exp(2.8 + 0.5**2 / 2))
        drawn = stats.bootstrap((times,), np.mean, n_resamples=500, method="percentile", rng=rng)
        ends = drawn.confidence_interval
        yield f"bootstrap of threads, mean time constant (4D), {area}", (ends.low, ends.high), truth
        mean = partial(_mean_of, times)
        found = cluster_bootstrap(mean, sites.tolist(), rng, n_resamples=500)
        yield f"cluster bootstrap, percentile, mean time constant, {area}", found.percentile, truth
        yield f"cluster bootstrap, BCa, mean time constant, {area}", found.bca, truth
        rate = np.sqrt(2) * special.erfinv(2 * 0.7 - 1)
        success = _clustered(rng, sites, icc) < rate
        found = cluster_bootstrap(partial(_mean_of, success.astype(float)), sites.tolist(), rng,
                                  n_resamples=500)  # fmt: skip
        k = int(success.sum())
        yield f"cluster bootstrap, percentile, rate of 0.7 (4A), {area}", found.percentile, 0.7
        yield f"Jeffreys, sites repeat, rate of 0.7 (4A), {area}", jeffreys_interval(k, n), 0.7
        low, high = (float(end[0]) for end in credible_interval(np.array([k]), np.array([n])))
        yield f"credible 90 %, sites repeat, rate of 0.7 (4A), {area}", (low, high), 0.7
    n_sites, n = LAYOUTS["IT"]
    sites = _sites(rng, n_sites, n)
    animals = np.where(sites % 2, "A", "B").tolist()
    x = 0.5 + rng.standard_normal(n)
    yield "noncentral t, d_z of independent pairs (4B)", paired_effect(x).interval, 0.5
    y = rng.standard_normal(37)
    yield "noncentral t, Hedges g of independent samples (4D)", unpaired_effect(x, y).interval, 0.5
    a = rng.standard_normal(87)
    b = -0.4 * a + np.sqrt(1 - 0.4**2) * rng.standard_normal(87)
    r = float(np.corrcoef(a, b)[0, 1])
    yield "Fisher's z, r of independent pairs (3G)", correlation_interval(r, 87), -0.4
    of_sites = _sites(rng, 45, 87)
    a = _clustered(rng, of_sites, icc)
    b = -0.4 * a + np.sqrt(1 - 0.4**2) * _clustered(rng, of_sites, icc)
    r = float(np.corrcoef(a, b)[0, 1])
    yield "Fisher's z, r, sites repeat (3G)", correlation_interval(r, 87), -0.4
    found = cluster_bootstrap(
        lambda rows: float(np.corrcoef(a[rows], b[rows])[0, 1]), of_sites.tolist(), rng,
        n_resamples=500,
    )  # fmt: skip
    yield "cluster bootstrap, BCa, r (3G)", found.bca, -0.4
    odds = 1.5 * rng.standard_normal(n_sites)[sites] + 0.5
    success = rng.random(n) < special.expit(odds)
    model = logistic_model(success, 1.0, sites.tolist(), animals)
    yield "logistic mixed model, Wald, rate of an average site (4A)", model.rate_interval, float(
        special.expit(0.5)
    )
    other = 1000 + _sites(rng, *LAYOUTS["V4"])
    both = np.r_[sites, other]
    is_it = np.repeat([1.0, 0.0], [n, len(other)])
    values = 7.8 * is_it + 7 * _clustered(rng, both, icc)
    fit = mixed_model(values, is_it, both.tolist(), np.where(both % 2, "A", "B").tolist())
    yield "mixed model, Wald, difference of areas (4D)", fit.interval, 7.8


def _sites(rng: np.random.Generator, n_sites: int, n: int) -> NDArray[np.intp]:
    """Give every site one experiment, and the others at random."""
    return np.concatenate([np.arange(n_sites), rng.integers(n_sites, size=n - n_sites)])


def _clustered(
    rng: np.random.Generator, sites: NDArray[np.intp], icc: float
) -> NDArray[np.float64]:
    """Draw standard normal values that share a part within sites."""
    own = rng.standard_normal(sites.max() + 1)[sites]
    return np.asarray(np.sqrt(icc) * own + np.sqrt(1 - icc) * rng.standard_normal(len(sites)))


def _mean_of(values: NDArray[np.float64], rows: NDArray[np.intp]) -> float:
    return float(values[rows].mean())


def session_rates(
    populations: int, sessions: int = 44, axes: int = 10, icc: float = 0.08
) -> Iterator[str]:
    """Tell the level of the z test of 6E and of the permutation of sessions."""
    rng = np.random.default_rng(SEED)
    found: dict[str, list[float]] = {}
    held: dict[str, list[bool]] = {}
    success = np.arange(sessions) < round(sessions * 32 / 47)
    strength = 1 / icc - 1
    for _ in range(populations):
        share = rng.beta(SHARE * strength, (1 - SHARE) * strength, size=sessions)
        hits = rng.binomial(axes, share).astype(float)
        counts = [hits[success].sum(), hits[~success].sum()]
        totals = [axes * success.sum(), axes * (~success).sum()]
        orders = rng.permuted(np.tile(success, (999, 1)), axis=1)
        drawn = orders @ hits / orders.sum(axis=1) - ~orders @ hits / (~orders).sum(axis=1)
        seen = hits[success].mean() - hits[~success].mean()
        z = proportions_ztest(counts, totals, alternative="smaller")[1]
        found.setdefault("z over axes, published", []).append(float(z))
        p = (1 + (abs(drawn) >= abs(seen) - 1e-12).sum()) / 1000
        found.setdefault("sessions permuted", []).append(float(p))
        n, rows = int(axes * success.sum()), np.repeat(np.arange(success.sum()), axes)
        hit = np.concatenate([np.arange(axes) < k for k in hits[success]]).astype(float)
        drawn_bar = np.array(stats.binom.ppf([0.025, 0.975], n, hit.mean())) / n
        by_session = cluster_bootstrap(partial(_mean_of, hit), rows.tolist(), rng, n_resamples=500)
        for name, (low, high) in (
            ("bars of 6E, axes resampled", drawn_bar),
            ("Wilson, axes", wilson_interval(int(hit.sum()), n)),
            ("sessions resampled, percentile", by_session.percentile),
            ("sessions resampled, BCa", by_session.bca),
        ):
            held.setdefault(name, []).append(bool(low <= SHARE <= high))
    yield from rates({name: np.array(values) for name, values in found.items()})
    for name, covered in held.items():
        low, high = wilson_interval(sum(covered), len(covered))
        yield f"95 % interval, {name:30} covers {np.mean(covered):.3f} [{low:.3f}, {high:.3f}]"

"""Fits of Figure 6 against the libraries that were used for the paper, as ratios within one run.

``python -m benchmarks.tuning_fits`` times single fits on one thread in CPU seconds, and then all
axes of simulated sessions with one and with all workers, by the clock.
"""

from __future__ import annotations

import sys

from core import start

if __name__ == "__main__":
    sys.exit(start.run("benchmarks.tuning_fits"))

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from scipy import optimize
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from neuro_data_analysis.neural_tuning_analysis_lib import TuningAxis, fit_axes
from neuro_data_analysis.simulation.tuning import choose_sessions, simulate_tuning_sessions
from neuro_data_analysis.tuning.fits import fit_gaussian
from neuro_data_analysis.tuning.process import N_RESTARTS, fit_process
from neuro_data_analysis.tuning.statistics import one_way_anova
from neuro_data_analysis.tuning.tables import collect_sites


def process_of_scikit_learn(axis: TuningAxis) -> float:
    """Fit the published model to the single trials; return its log likelihood."""
    x, y, variance = axis.distance, axis.response, axis.response.var()
    noise = axis.levels.pooled_variance
    kernel = ConstantKernel(variance, (0.01 * variance, 100 * variance)) * RBF(
        np.ptp(x) / 10, (0.01, 100)
    ) + WhiteKernel(0.1 * noise, (0.01 * noise, 10 * noise))
    process = GaussianProcessRegressor(
        kernel, alpha=0, n_restarts_optimizer=N_RESTARTS, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # parameters at a bound
        process.fit(x[:, np.newaxis], y)
    return float(process.log_marginal_likelihood_value_)


def our_process(axis: TuningAxis) -> float:
    """Fit the same model to the means of the levels; return its log likelihood."""
    return fit_process(axis.distance, axis.response, 0).log_likelihood


def gaussian_of_scipy(axis: TuningAxis) -> float:
    """Fit the Gaussian by `curve_fit`; return its centre, NaN without convergence."""
    x, y, means = axis.distance, axis.response, axis.levels.mean
    peak = axis.levels.distance[axis.levels.peak]
    try:
        parameters, _ = optimize.curve_fit(
            lambda x, a, m, s, b: a * np.exp(-((x - m) ** 2) / (2 * s**2)) + b,
            x, y, [np.ptp(means), peak, np.ptp(x) / 4, means.min()],
            bounds=([0, x.min(), 0.01, 0],
                    [1.25 * means.max(), x.max(), 2 * np.ptp(x), means.max()]),
        )  # fmt: skip
    except RuntimeError:
        return np.nan
    return float(parameters[1])


def our_gaussian(axis: TuningAxis) -> float:
    """Fit the same Gaussian with its derivatives written out; return its centre."""
    return fit_gaussian(axis.distance, axis.response).center


def anova_of_statsmodels(axis: TuningAxis) -> float:
    """Analyse the variance by a linear model; return F."""
    trials = pd.DataFrame({"x": axis.distance, "y": axis.response})
    return float(anova_lm(ols("y ~ C(x)", trials).fit(), typ=2)["F"].iloc[0])


def our_anova(axis: TuningAxis) -> float:
    """Analyse the variance by its sums of squares; return F."""
    return one_way_anova(axis.distance, axis.response).f


CONTESTS = {
    "Gaussian process, scikit-learn": (process_of_scikit_learn, our_process),
    "Gaussian, scipy curve_fit": (gaussian_of_scipy, our_gaussian),
    "ANOVA, statsmodels": (anova_of_statsmodels, our_anova),
}


def timed(
    fit: Callable[[TuningAxis], float], axes: Sequence[TuningAxis]
) -> tuple[float, np.ndarray]:
    """Return the CPU seconds per axis, and what came out."""
    start = time.process_time()
    results = np.array([fit(axis) for axis in axes])
    return (time.process_time() - start) / len(axes), results


def main(arguments: list[str] | None = None) -> int:
    """Print one line per contest, and the times of whole tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tuning_fits", description=__doc__)
    parser.add_argument("--sessions", type=int, default=8, help="3 to 55 (default: %(default)s)")
    parser.add_argument("--axes", type=int, default=30, help="single fits (default: %(default)s)")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        simulate_tuning_sessions(folder, 0, given.sessions)
        simulated = time.perf_counter()
        sites = collect_sites(folder).sites
        read = time.perf_counter()
    sys.stdout.write(f"simulating {given.sessions} sessions {simulated - start:6.2f} s\n")
    sys.stdout.write(f"reading them {read - simulated:14.2f} s\n")
    axes = [axis for site in sites for axis in site.axes()]
    _print_single_fits([axis for axis in axes if axis.levels.n > 5], given.axes)
    share = len(choose_sessions()) / len(sites)
    for workers in (1, None):
        start = time.perf_counter()
        fit_axes(sites, seed=0, workers=workers)
        seconds = time.perf_counter() - start
        sys.stdout.write(
            f"{len(axes)} axes, {workers or 'all'} worker{'s' * (workers != 1)}: {seconds:.1f} s; "
            f"55 sessions would take {seconds * share:.0f} s\n"
        )
    return 0


def _print_single_fits(axes: Sequence[TuningAxis], n_axes: int) -> None:
    chosen = axes[:: max(1, len(axes) // n_axes)]
    with threadpool_limits(1):
        for name, (peer, ours) in CONTESTS.items():
            ours(chosen[0])  # caches and imports
            (peer_s, theirs), (our_s, found) = timed(peer, chosen), timed(ours, chosen)
            agree = np.isclose(theirs, found, rtol=1e-3, atol=1e-3, equal_nan=True).mean()
            sys.stdout.write(
                f"{name:32} {1e3 * peer_s:8.2f} ms, ours {1e3 * our_s:7.2f} ms, ratio "
                f"{peer_s / our_s:5.1f}; same result on {agree:.0%} of {len(chosen)} axes\n"
            )

"""Command line of the simulator: ``python -m neuro_data_analysis.simulate_recordings``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence

from tqdm import tqdm

from core.errors import exit_code_of
from neuro_data_analysis.simulation.matroot import DEFAULT_SEED, simulate_matroot
from neuro_data_analysis.simulation.population import ExperimentPlan

_EXAMPLE = """\
example:
  python -m neuro_data_analysis.simulate_recordings --output simulated_matroot --experiments 12
  python -m source_data_export --matroot simulated_matroot --output simulated_tables
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate recordings; return an exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m neuro_data_analysis.simulate_recordings",
        description="Write a MATROOT of simulated paired evolutions, with their truth.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="default %(default)s")
    parser.add_argument(
        "--experiments", type=int, metavar="N", help="how many of the 170 experiments; default all"
    )
    given = parser.parse_args(arguments)
    return exit_code_of(lambda: _simulate(given.output, given.seed, given.experiments))


def _simulate(output: str, seed: int, n_experiments: int | None) -> None:
    folder = simulate_matroot(output, seed, n_experiments, _progress)
    sys.stdout.write(f"simulated recordings are in {folder}\n")


def _progress(plans: Sequence[ExperimentPlan]) -> Iterable[ExperimentPlan]:
    return tqdm(plans, desc="simulating experiments", unit="experiment", disable=None)

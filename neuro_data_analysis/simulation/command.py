"""Command line of the simulator: ``python -m neuro_data_analysis.simulate_recordings``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from core.command_line import a_path, command_parser, require_writable
from core.errors import exit_code_of
from core.progress import progress
from neuro_data_analysis.simulation.effects import Effects
from neuro_data_analysis.simulation.matroot import DEFAULT_SEED, simulate_matroot
from neuro_data_analysis.simulation.population import ExperimentPlan


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate recordings; return an exit code."""
    parser = command_parser(
        "python -m neuro_data_analysis.simulate_recordings",
        "Write a MATROOT of simulated paired evolutions, with their truth.",
        "python -m neuro_data_analysis.simulate_recordings --output simulated_matroot \\\n"
        "    --experiments 12",
        "python -m source_data_export --matroot simulated_matroot --output simulated_tables",
    )
    parser.add_argument(
        "--output", required=True, type=a_path, metavar="DIR",
        help="folder to write: a new one, an empty one, or an earlier simulation",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="default %(default)s")
    parser.add_argument(
        "--experiments", type=int, metavar="N", help="how many of the 170 experiments; default all"
    )
    parser.add_argument(
        "--null", action="store_true",
        help="no thread climbs or falls: what then passes a test of success is a false positive",
    )  # fmt: skip
    parser.add_argument(
        "--drawn", action="store_true",
        help="let chance decide how many threads climb; by default counts are dealt as published",
    )  # fmt: skip
    for group in ("site", "animal"):
        parser.add_argument(
            f"--{group}-sd", type=float, default=0.0, metavar="SD",
            help=f"of ln(DeePSim / BigGAN) from {group} to {group} (default: %(default)s)",
        )  # fmt: skip
    given = parser.parse_args(arguments)
    effects = Effects(given.drawn, given.site_sd, given.animal_sd)
    return exit_code_of(
        lambda: _simulate(given.output, given.seed, given.experiments, given.null, effects)
    )


def _simulate(
    output: Path, seed: int, n_experiments: int | None, null: bool, effects: Effects
) -> None:
    require_writable(output)
    folder = simulate_matroot(output, seed, n_experiments, _progress, null, effects)
    sys.stdout.write(f"simulated recordings are in {folder}\n")


def _progress(plans: Sequence[ExperimentPlan]) -> Iterable[ExperimentPlan]:
    return progress(plans, "simulating", "experiments")

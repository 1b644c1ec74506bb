"""The simulated source data: recordings made by the simulator, exported like real ones."""

from __future__ import annotations

import logging
import shutil
from functools import partial
from pathlib import Path

from core.files import locked, read_json, staging_folder, write_json
from core.progress import progress
from core.source_tables.reader import SIMULATED_FOLDER
from core.versions import PROJECT, software_versions
from neuro_data_analysis.simulation.matroot import (
    DEFAULT_SEED,
    choose_experiments,
    simulate_matroot,
)
from neuro_data_analysis.simulation.population import plan_population
from neuro_data_analysis.simulation.prototypes import simulate_prototypes
from neuro_data_analysis.simulation.tuning import simulate_tuning_sessions
from source_data_export.exports import PROTOTYPE_FOLDER, run

logger = logging.getLogger(__name__)

#: Says that a simulated folder is complete, and what made it.
_READY_FILE = "simulation.json"


def ensure_demonstration(
    folder: str | Path = SIMULATED_FOLDER,
    seed: int = DEFAULT_SEED,
    n_experiments: int | None = None,
    n_sessions: int | None = None,
) -> Path:
    """Build the simulated source data, unless the same are there.

    Parameters
    ----------
    folder : path-like
        Where they go; ``recordings`` below it holds the simulated MATROOT.
    seed : int
        Seed of the simulation.
    n_experiments : int, optional
        Fewer experiments than the real list has, for tests.
    n_sessions : int, optional
        Fewer tuning sessions of Figure 6 than the 55 of the real list, 3 or more.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    CannotWriteError
        If the folder cannot be written.
    """
    with locked(folder):
        return _ensure(Path(folder), seed, n_experiments, n_sessions)


def _ensure(
    folder: Path, seed: int, n_experiments: int | None, n_sessions: int | None
) -> Path:
    wanted = {
        "software": f"{PROJECT} {software_versions()[PROJECT]}",
        "seed": seed,
        "n_experiments": n_experiments,
        "n_sessions": n_sessions,
    }
    if _made_by(folder) != wanted:
        logger.info("simulating recordings and exporting them into %s", folder)
        (folder / _READY_FILE).unlink(missing_ok=True)
        _simulate(folder / "recordings", seed, n_experiments, n_sessions)
        run(folder / "recordings", folder)
        write_json(folder / _READY_FILE, wanted)
    return folder


def _simulate(
    matroot: Path, seed: int, n_experiments: int | None, n_sessions: int | None
) -> None:
    """Simulate everything that a MATROOT holds; a half-made one never takes its name."""
    with staging_folder(matroot) as staging:
        made = staging / matroot.name
        simulate_matroot(made, seed, n_experiments, partial(progress, what="simulating"))
        simulate_tuning_sessions(made, seed, n_sessions)
        chosen = [plan.expi for plan in choose_experiments(plan_population(seed), n_experiments)]
        simulate_prototypes(made / PROTOTYPE_FOLDER, seed, chosen)
        shutil.rmtree(matroot, ignore_errors=True)
        made.rename(matroot)


def _made_by(folder: Path) -> dict[str, object] | None:
    try:
        return read_json(folder / _READY_FILE)
    except (OSError, ValueError):
        return None

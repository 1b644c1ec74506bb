"""The simulated source data: recordings made by the simulator, exported like real ones."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

from neuro_data_analysis.simulated_recordings import simulate_matroot

from core.files import UNFINISHED_SUFFIX, atomic_write
from core.source_data import SIMULATED_FOLDER
from core.versions import PROJECT, software_versions
from source_data_export.exports import EXPORTS, Report, run

logger = logging.getLogger(__name__)

#: Seed of the simulation that `make figures` shows.
DEMONSTRATION_SEED = 2026

#: Says that a simulated folder is complete, and what made it.
_READY_FILE = "simulation.json"


def ensure_demonstration(
    folder: str | Path = SIMULATED_FOLDER,
    seed: int = DEMONSTRATION_SEED,
    n_experiments: int | None = None,
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

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    CannotWriteError
        If the folder cannot be written.
    """
    folder = Path(folder)
    wanted = {
        "software": f"{PROJECT} {software_versions()[PROJECT]}",
        "seed": seed,
        "n_experiments": n_experiments,
    }
    if _made_by(folder) != wanted:
        logger.info("simulating recordings and exporting them into %s", folder)
        (folder / _READY_FILE).unlink(missing_ok=True)
        build_demonstration(folder, seed, n_experiments)
        with atomic_write(folder / _READY_FILE) as unfinished:
            unfinished.write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")
    return folder


def build_demonstration(folder: Path, seed: int, n_experiments: int | None) -> Report:
    """Simulate a MATROOT below a folder and export the source data of all figures into it."""
    staging = folder / f".recordings{UNFINISHED_SUFFIX}"
    shutil.rmtree(staging, ignore_errors=True)
    simulate_matroot(staging, seed=seed, n_experiments=n_experiments)
    shutil.rmtree(folder / "recordings", ignore_errors=True)
    staging.rename(folder / "recordings")
    return run(folder / "recordings", folder, EXPORTS)


def _made_by(folder: Path) -> dict[str, object] | None:
    try:
        return json.loads((folder / _READY_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None

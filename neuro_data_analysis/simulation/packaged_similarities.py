"""Similarities of the simulated prototypes, computed beforehand for machines without torch.

``python -m neuro_data_analysis.simulation.packaged_similarities`` computes them anew, which has to
be done whenever the simulator draws other prototypes.
"""

from __future__ import annotations

import os
import sys
import tempfile
from functools import partial
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd

from core.command_line import a_path, command_parser
from core.errors import MissingDataError, exit_code_of
from core.files import atomic_write
from core.progress import progress
from neuro_data_analysis.experiment_list import listed_experiments
from neuro_data_analysis.similarity.tables import (
    DEMONSTRATION_FEATURES,
    FeatureSettings,
    Progress,
    prototype_similarities,
)
from neuro_data_analysis.simulation.matroot import DEFAULT_SEED
from neuro_data_analysis.simulation.prototypes import read_truth, simulate_prototypes

#: Columns that are kept: features of the untrained ResNet50, seed 0.
PACKAGED_COLUMNS = (
    "cosine_reevol_resnet_L3_m",
    "cosine_reevol_resnet_L4_m",
    "cosine_reevol_resnet_avgpool",
    "cosine_maxblk_resnet_avgpool",
    "reevol_G_RNrobust_L4focus",
    "reevol_pix_RNrobust_L4focus",
    "maxblk_RNrobust_L4focus",
)

_FILE = "data/simulated_prototype_similarity.csv"

#: Digits kept of the shared content and of the cosines.
_FORMAT = "%.7g"
_SAME = 1e-6


def packaged_similarities(
    prototypes: str | os.PathLike[str],
    meta: pd.DataFrame,
    settings: FeatureSettings = DEMONSTRATION_FEATURES,
    progress: Progress = iter,
) -> pd.DataFrame:
    """Return the similarities of simulated prototypes from the package.

    Parameters
    ----------
    prototypes : path-like
        Folder of the montages.
    meta : pandas.DataFrame
        Index Expi: the experiments that are asked for.
    settings : FeatureSettings
        What would be computed; only what the demonstration uses is packaged.
    progress : callable, optional
        Not needed: nothing is computed.

    Returns
    -------
    pandas.DataFrame
        Index Expi, columns `PACKAGED_COLUMNS`.

    Raises
    ------
    MissingDataError
        If the montages are not those that the similarities were computed from.
    """
    truth, known, expis = read_truth(prototypes), read_packaged(), meta.index
    demonstrated = settings == DEMONSTRATION_FEATURES
    if not demonstrated or truth is None or not _are_the_same(truth, known, expis):
        raise MissingDataError(
            f"features of the prototypes in {Path(prototypes)} need torch, which is not installed: "
            "run `pip install torch torchvision` (or `make test`, whose environment has them)."
        )
    return known.loc[expis, list(PACKAGED_COLUMNS)]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = command_parser(
        "python -m neuro_data_analysis.simulation.packaged_similarities",
        "Compute the packaged similarities of the simulated prototypes anew.",
        "python -m neuro_data_analysis.simulation.packaged_similarities --output new.csv",
    )
    parser.add_argument(
        "--seed", type=int, default=DEFAULT_SEED, help="of the simulated recordings (%(default)s)"
    )
    parser.add_argument(
        "--output",
        type=a_path,
        default=Path(__file__).parents[1] / _FILE,
        help="default: %(default)s",
    )
    given = parser.parse_args(arguments)
    return exit_code_of(lambda: _compute(given.seed, given.output))


def _compute(seed: int, output: Path) -> None:
    sites = listed_experiments().rename(columns={"animal": "Animal", "pref_chan": "prefchan"})
    told = partial(progress, what="packaging", unit="prototypes")
    with tempfile.TemporaryDirectory() as folder:
        truth = simulate_prototypes(folder, seed, progress=told)
        computed = prototype_similarities(folder, sites, DEMONSTRATION_FEATURES, told)
    table = truth.join(computed[list(PACKAGED_COLUMNS)])
    with atomic_write(output) as unfinished:
        table.to_csv(unfinished, float_format=_FORMAT)


def read_packaged() -> pd.DataFrame:
    """Read the whole packaged table, index Expi, with the truth about its prototypes."""
    packaged = resources.files("neuro_data_analysis").joinpath(_FILE)
    with resources.as_file(packaged) as path:
        return pd.read_csv(path, index_col="Expi")


def _are_the_same(truth: pd.DataFrame, known: pd.DataFrame, expis: pd.Index) -> bool:
    if not expis.isin(truth.index.intersection(known.index)).all():
        return False
    drawn, packaged = truth.loc[expis], known.loc[expis]
    return bool(
        (drawn["seed"] == packaged["seed"]).all()
        and np.allclose(drawn["shared_content"], packaged["shared_content"], atol=_SAME)
    )


if __name__ == "__main__":
    sys.exit(main())

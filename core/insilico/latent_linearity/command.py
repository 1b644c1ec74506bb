"""Linearity of latent codes: how well a code predicts CaffeNet's units (Extended Figure 5D, E).

Codes of a generator are drawn, turned into images and shown to CaffeNet; ridge regression then
predicts every unit from the code, and from parts of the code: noise and class of BigGAN, the
subspaces of DeePSim in which its images change most and least.

``python -m core.insilico.latent_linearity --generator BigGAN --output DIR`` computes the table.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.command_line import a_path
from core.errors import UsageError
from core.files import sha256_of, writes_alone
from core.insilico.commands import ResumableExperiment
from core.insilico.extended_figure5_tables import save_tables
from core.insilico.latent_linearity.caffenet_layers import LAYER_INDEX, LAYERS
from core.insilico.latent_linearity.codes import (
    LinearitySettings,
    bases_of,
    features_of,
    is_of_untrained,
    load_networks,
    sample_codes,
)
from core.insilico.latent_linearity.regression import Split, r2_by_unit
from core.insilico.latent_linearity.responses import ResponseFiles
from core.insilico.resumable import claim_folder
from core.source_tables.provenance import Provenance
from core.source_tables.reader import Table
from core.utils.batching import batch_from_memory
from core.versions import software_versions

logger = logging.getLogger(__name__)

#: Ridge penalties; those of DeePSim are part of the reconstruction of its codes.
ALPHAS = {"BigGAN": np.logspace(-6, 6, 13), "DeePSim": np.logspace(-3, 12, 100)}

#: Images that are generated at a time.
BATCH_SIZE = 25

#: Digits of an R² in the table; activations are single precision.
SIGNIFICANT_DIGITS = 5


@writes_alone("output")
def run(
    settings: LinearitySettings,
    output: str | Path,
    hessian: str | Path | None = None,
    units_per_layer: int | None = None,
    resume: bool = False,
    device: str = "auto",
    batch_size: int | None = BATCH_SIZE,
) -> list[Path]:
    """Compute the table of one generator.

    Parameters
    ----------
    settings : LinearitySettings
        Generator and codes.
    output : path-like
        Folder of the results: responses, which a later run takes up again, and the table in
        ``ExtendedFig5``, where figures read it.
    hessian : path-like, optional
        For fc6: a file with the average Hessian of the generator, see `read_hessian`.
    units_per_layer : int, optional
        Only so many units of each layer, drawn with the seed; all by default.
    resume : bool, default False
        Whether responses of an earlier run may be there, and are used.
    device : str
        See `core.utils.resolve_device`.
    batch_size : int
        Images at a time.

    Returns
    -------
    list of pathlib.Path
        The table.

    Raises
    ------
    UsageError
        If fc6 is given no Hessian, no unit is asked for, or the folder holds responses that are not
        to be, or cannot be, used.
    MissingDataError, MalformedDataError
        If weights or Hessian are missing or not what they should be.
    CannotWriteError
        If the folder cannot be written.
    """
    if units_per_layer is not None and units_per_layer < 1:
        raise UsageError(f"{units_per_layer} units of each layer were asked for; give 1 or more.")
    bases = bases_of(settings, hessian)
    generator, network = load_networks(settings, device)
    codes = sample_codes(settings, generator)
    files = ResponseFiles(Path(output) / "responses" / settings.space)
    claim_folder(files.folder, asdict(settings), resume)
    at_once = batch_size or batch_from_memory(generator.device)
    files.fill(codes, generator, network, LAYERS, at_once)
    features = features_of(codes, bases)
    tables = []
    for layer in LAYERS:
        logger.info("regression: %s", layer)
        responses = files.read(layer, settings.n_codes)
        units = _chosen_units(responses.shape[1], units_per_layer, settings.seed)
        tables.append(layer_table(layer, units, responses[:, units], features, settings.space))
    table = pd.concat(tables, ignore_index=True)
    trained = generator.trained and network.trained
    if hessian is not None:
        trained = trained and not is_of_untrained(hessian)
    origin = _origin(settings, trained, hessian, units_per_layer)
    return save_tables(output, [Table(f"ExtendedFig5/linearity_{settings.space}", table)], origin)


def layer_table(
    layer: str,
    units: NDArray[np.intp],
    responses: NDArray[np.floating],
    features: Mapping[str, NDArray[np.floating]],
    space: str,
) -> pd.DataFrame:
    """Return the rows of one layer, in the published columns.

    Parameters
    ----------
    layer : str
        Its name.
    units : numpy.ndarray, shape (n_units,)
        Which units these are.
    responses : numpy.ndarray, shape (n_codes, n_units)
        Their activations.
    features : mapping of str to numpy.ndarray
        Metric → (n_codes, n_features).
    space : {"BigGAN", "DeePSim"}
        BigGAN's units are written ``(k,)``, as published.

    Returns
    -------
    pandas.DataFrame
        ``dead`` marks units that are the same for every image: their R² says nothing.
    """
    scores = r2_by_unit(features, responses, ALPHAS[space], Split.of(len(responses)))
    targets = [f"({unit},)" for unit in units] if space == "BigGAN" else units
    return pd.DataFrame(
        {
            "Layer": layer,
            "Target": targets,
            **{column: _rounded(values) for column, values in scores.items()},
            "Layer_index": LAYER_INDEX[layer],
            "unit_index": units,
            "dead": np.ptp(responses, axis=0) == 0,
        }
    )


def _run(settings: LinearitySettings, given: argparse.Namespace) -> list[Path]:
    return run(
        settings, given.output, given.hessian, given.units_per_layer, given.resume, given.device,
        given.batch_size,
    )  # fmt: skip


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--hessian",
        type=a_path,
        metavar="FILE",
        help="for fc6: .npz file of the average Hessian, with eigv_avg and eigvect_avg",
    )
    parser.add_argument(
        "--units-per-layer", type=int, metavar="N", help="only so many units (default: all)"
    )


def _chosen_units(n_units: int, wanted: int | None, seed: int) -> NDArray[np.intp]:
    if wanted is None or wanted >= n_units:
        return np.arange(n_units)
    return np.sort(np.random.default_rng(seed).choice(n_units, wanted, replace=False))


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [float(f"{value:.{SIGNIFICANT_DIGITS}g}") for value in values]


def _origin(
    settings: LinearitySettings,
    trained: bool,
    hessian: str | Path | None,
    units_per_layer: int | None,
) -> Provenance:
    details = {
        "command": "python -m core.insilico.latent_linearity",
        **{name: str(value) for name, value in asdict(settings).items()},
        "units_per_layer": str(units_per_layer or "all"),
    }
    if settings.generator == "BigGAN":
        del details["code_std"]
    else:
        details["sampling"] = "reconstructed: the published one is not known"
    if hessian is not None:
        details["hessian_sha256"] = sha256_of(hessian)
    versions = software_versions(("torch", "numpy", "scikit-learn"))
    return Provenance("computed" if trained else "untrained", details | versions)


main = ResumableExperiment(
    module="core.insilico.latent_linearity",
    does="Predict the units of CaffeNet from latent codes: a table of Extended Figure 5D (BigGAN) "
    "or 5E (fc6, the DeePSim generator).",
    example="--generator BigGAN --codes 100 --untrained --units-per-layer 96 "
    "--output my_linearity",
    settings=LinearitySettings,
    run=_run,
    arguments=_add_arguments,
    batch_size=BATCH_SIZE,
).main

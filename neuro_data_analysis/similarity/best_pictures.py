"""How alike the best pictures of both threads look to a network of the user's choice.

The authors compare prototypes by a robust ResNet50 (Figure 3). Here it is the published best
picture of each thread's best block, and any network whose weights are there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import cosine_similarity

from core.errors import MissingDataError
from core.source_tables.placement import FoundFile
from core.source_tables.registry import PICTURE_COLUMNS
from core.spaces import Space
from core.utils.layers.record import record
from core.utils.scoring.network_input import UINT8_WHITE
from core.utils.scoring.perception import FeatureNetwork
from neuro_data_analysis.block_means.evolutions import DecodedEvolution
from neuro_data_analysis.block_means.pictures import read_picture
from neuro_data_analysis.evolution.stats import best_block


def layer_before_classifier(module: nn.Module) -> str:
    """Name the layer whose output the last fully connected layer classifies.

    Parameters
    ----------
    module : torch.nn.Module
        A classifier whose layers are defined in the order in which they run.

    Returns
    -------
    str
        The last layer of all where a network does not end in a fully connected one.
    """
    leaves = [
        name
        for name, part in module.named_modules()
        if not any(part.children()) and not isinstance(part, nn.Identity)
    ]
    ends_in_classifier = isinstance(module.get_submodule(leaves[-1]), nn.Linear)
    return leaves[-2 if ends_in_classifier and len(leaves) > 1 else -1]


def picture_cosine(
    first: NDArray[np.uint8], second: NDArray[np.uint8], network: FeatureNetwork, layer: str
) -> float:
    """Compare two pictures by what a layer makes of them.

    Parameters
    ----------
    first, second : numpy.ndarray
        (rows, columns, 3) of 8 bits; the network's own input resizes and normalises them.
    network : FeatureNetwork
        In evaluation mode.
    layer : str
        Name of the layer; all of its output is one vector.

    Returns
    -------
    float
        Cosine of the vectors, higher for pictures that are more alike.
    """
    pixels = torch.from_numpy(np.stack([first, second])).permute(0, 3, 1, 2)
    shown = network.input.of(pixels, UINT8_WHITE, network.device)
    with record(network.module, [layer], calls={layer: 1}) as activations:
        one, other = activations.run(shown)[layer].flatten(1).double()
    return float(cosine_similarity(one, other, dim=0))


def best_picture_table(
    files: Mapping[str, FoundFile],
    evolutions: Iterable[DecodedEvolution],
    network: FeatureNetwork,
    layer: str,
    progress: Callable[[list[DecodedEvolution]], Iterable[DecodedEvolution]] = iter,
) -> pd.DataFrame:
    """Compare the best pictures of the two threads of every experiment.

    Parameters
    ----------
    files : mapping of str to FoundFile
        Data files, see `core.source_tables.block_means.data_files`.
    evolutions : iterable of DecodedEvolution
        The experiments.
    network, layer
        See `picture_cosine`.
    progress : callable, optional
        Wraps the iteration over experiments, such as ``tqdm``.

    Returns
    -------
    pandas.DataFrame
        Index Expi, columns `PICTURE_COLUMNS`: network, weights, layer, the best block of each
        thread (from 1), the cosine of their pictures; NaN where one is not there.

    Raises
    ------
    MissingDataError
        If no experiment has both pictures.
    """
    rows = {}
    for evolution in progress(list(evolutions)):
        blocks = {s: int(best_block(evolution.thread(s).response)) + 1 for s in Space}
        first, second = (
            read_picture(files, evolution.folder, space, block) for space, block in blocks.items()
        )
        cosine = np.nan
        if first is not None and second is not None:
            cosine = picture_cosine(first, second, network, layer)
        rows[evolution.info.expi] = {
            "network": network.name,
            "weights": network.origin.rpartition("/")[2],
            "layer": layer,
            **{f"{space}_block": block for space, block in blocks.items()},
            "cosine": cosine,
        }
    table = pd.DataFrame.from_dict(rows, orient="index", columns=list(PICTURE_COLUMNS))
    if table["cosine"].isna().all():
        raise MissingDataError(
            "no experiment has the pictures of both best blocks; fetch the block means with their "
            "pictures (`python -m core.source_data fetch`)."
        )
    return table.rename_axis("Expi")

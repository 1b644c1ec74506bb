"""The source-data tables of Figure 3: similarity of prototypes beside similarity of responses.

Features of pictures need torch, which is imported when they are computed.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.errors import MissingDataError, UsageError, choose_from
from core.source_tables.provenance import Provenance
from core.source_tables.reader import Table
from core.source_tables.registry import SIMILARITY_COLUMNS
from core.spaces import Space
from neuro_data_analysis.evolution.population import Population
from neuro_data_analysis.similarity.montages import cut_cell, montage_file, read_montage
from neuro_data_analysis.similarity.response_differences import difference_table

logger = logging.getLogger(__name__)

#: Prototypes that are compared, by their column in the montages.
COMPARED_PROTOTYPES = ("reevol_G", "reevol_pix", "maxblk")

#: Networks whose features can be compared, as the registry of weights names them.
NETWORKS = ("resnet50_linf8", "alexnet", "vgg16", "vit_base_patch16_224_dino")

#: The detail of a note of origin that tells the networks and their weights.
NETWORKS_DETAIL = "networks"
UNTRAINED = "untrained"

#: Readouts that are also taken with the prototype of one thread from another experiment.
_EXCHANGED_READOUTS = ("resnet_L3", "resnet_L4")

#: How the cosines of whole maps call the prototypes that they compare.
_SHORT = {"reevol_G": "reevol", "maxblk": "maxblk"}

#: Experiments whose prototypes are in memory at once.
_CHUNK = 8

Progress = Callable[[Sequence[int]], Iterable[int]]


@dataclass(frozen=True)
class FeatureSettings:
    """Which networks compare the prototypes, with which weights.

    Attributes
    ----------
    networks : tuple of str
        Of `NETWORKS`; the columns of the others are left out. The panels need the first.
    weights : mapping of str to path-like
        Network → file of its state dict. Networks that are not named have published weights,
        unless `pretrained` is False.
    pretrained : bool, default True
        Whether networks without a file have published weights; else they are left untrained.
    device : str, default "auto"
        Where they run.
    seed : int, default 0
        Of initial weights, and of the draw of ``Expi_alt``.

    Raises
    ------
    UsageError
        If a network is unknown.
    """

    networks: tuple[str, ...] = ("resnet50_linf8",)
    weights: Mapping[str, str | os.PathLike[str]] = field(default_factory=dict)
    pretrained: bool = True
    device: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        for network in (*self.networks, *self.weights):
            if network not in NETWORKS:
                raise UsageError(choose_from(network, NETWORKS, "network"))

    def origin_of(self, network: str) -> str:
        """Say in a few words where the weights of a network come from."""
        if network in self.weights:
            return Path(self.weights[network]).name
        if not self.pretrained:
            return f"{UNTRAINED}, seed {self.seed}"
        return "published weights"

    @property
    def origin(self) -> str:
        """The same of all networks."""
        return "; ".join(f"{network}: {self.origin_of(network)}" for network in self.networks)


#: What the demonstration uses: no weights have to be fetched.
DEMONSTRATION_FEATURES = FeatureSettings(pretrained=False)

#: Folder of montages, table by Expi, settings, progress → table of similarities by Expi.
Similarities = Callable[
    [str | os.PathLike[str], pd.DataFrame, FeatureSettings, Progress], pd.DataFrame
]


def export_figure3(
    population: Population,
    prototypes: str | os.PathLike[str],
    settings: FeatureSettings,
    progress: Progress = iter,
    similarities: Similarities | None = None,
) -> Iterator[Table]:
    """Yield the tables of Figure 3.

    Only experiments with a prototype montage are in them, ascending by Expi, the same rows in both.

    Parameters
    ----------
    population : Population
        The evolutions.
    prototypes : path-like
        Folder of the montages ``Exp{Expi}_proto_attr_montage.jpg``.
    settings : FeatureSettings
        Networks and weights.
    progress : callable, optional
        Wraps the iteration over experiments, such as ``tqdm``.
    similarities : callable, default `prototype_similarities`
        Gives the table of similarities.

    Yields
    ------
    Table

    Raises
    ------
    MissingDataError
        If no montage is there, weights are missing, or torch is needed but not installed.
    MalformedDataError
        If a montage cannot be read or has the wrong size.
    """
    meta = population.meta.join(population.activations)
    chosen = experiments_with_prototypes(meta.index.tolist(), prototypes)
    compare = similarities or prototype_similarities
    table = (
        compare(prototypes, meta.loc[chosen], settings, progress)
        .join(difference_table(population), how="inner")
        .join(meta, how="inner")
        .reset_index()
    )
    names = [name for group in SIMILARITY_COLUMNS.values() for name in group if name in table]
    yield Table("Fig3/similarity", table[["Expi", *names]])
    valid = population.inclusion["valid"]
    yield Table("Fig3/meta", meta.assign(valid=valid).loc[table["Expi"]].reset_index())


def figure3_provenance(
    evolutions: Provenance, settings: FeatureSettings, packaged: bool = False
) -> Provenance:
    """Return the origin of the tables of Figure 3, given that of the evolutions.

    `packaged` says that the similarities were not computed now but come with the software.
    """
    kind = evolutions.kind
    if kind == "recordings" and UNTRAINED in settings.origin:
        kind = "untrained"
    features = {NETWORKS_DETAIL: settings.origin}
    if packaged:
        features["similarities"] = "computed beforehand, part of this software"
    return Provenance(kind, {**evolutions.details, **features})


def experiments_with_prototypes(
    experiments: Iterable[int], prototypes: str | os.PathLike[str]
) -> list[int]:
    """Return the experiments whose montage is in a folder; log those that are left out.

    Raises
    ------
    MissingDataError
        If there is none.
    """
    folder = Path(prototypes)
    has_montage = {expi: (folder / montage_file(expi)).is_file() for expi in experiments}
    missing = [expi for expi, there in has_montage.items() if not there]
    if len(missing) == len(has_montage):
        raise MissingDataError(
            f"{folder} holds no prototype montage of these experiments; expected files such as "
            f"{montage_file(missing[0] if missing else 1)}."
        )
    if missing:
        logger.warning(
            "%d experiments have no prototype montage in %s and are left out of Figure 3: %s",
            len(missing), folder, ", ".join(map(str, missing)),
        )  # fmt: skip
    return [expi for expi, there in has_montage.items() if there]


def prototype_similarities(
    prototypes: str | os.PathLike[str],
    meta: pd.DataFrame,
    settings: FeatureSettings,
    progress: Progress = iter,
) -> pd.DataFrame:
    """Compare the two prototypes of every experiment.

    Parameters
    ----------
    prototypes : path-like
        Folder of the montages.
    meta : pandas.DataFrame
        Index Expi; ``Animal`` and ``prefchan`` say which experiments are of one site.
    settings, progress
        See `export_figure3`.

    Returns
    -------
    pandas.DataFrame
        Index Expi; the columns of prototypes of `SIMILARITY_COLUMNS` that the networks give.
    """
    experiments: list[int] = meta.index.tolist()
    alternate = draw_alternates(meta, np.random.default_rng(settings.seed))
    columns: dict[str, NDArray[np.float64]] = {"Expi_alt": alternate}
    for network in settings.networks:
        columns |= _columns_of_network(
            network, prototypes, experiments, alternate, settings, progress
        )
    return pd.DataFrame(columns, index=meta.index).astype({"Expi_alt": "Int64"})


def draw_alternates(meta: pd.DataFrame, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw another experiment for each, of another animal or another channel.

    Parameters
    ----------
    meta : pandas.DataFrame
        Index Expi, columns ``Animal`` and ``prefchan``.
    rng : numpy.random.Generator
        Draws.

    Returns
    -------
    numpy.ndarray
        (n_experiments,) Expi; NaN where there is no other.
    """
    sites = pd.MultiIndex.from_frame(meta[["Animal", "prefchan"]]).factorize()[0]
    drawn = np.full(len(meta), np.nan)
    for row, site in enumerate(sites):
        others = meta.index[sites != site]
        if len(others):
            drawn[row] = rng.choice(others)
    return drawn


def _columns_of_network(
    network: str,
    prototypes: str | os.PathLike[str],
    experiments: Sequence[int],
    alternate: NDArray[np.float64],
    settings: FeatureSettings,
    progress: Progress,
) -> dict[str, NDArray[np.float64]]:
    """Return the columns that one network gives, in the order of its readouts."""
    from neuro_data_analysis import image_comparison_lib as lib

    loaded = lib.load_network(
        network,
        settings.weights.get(network),
        settings.device,
        pretrained=settings.pretrained,
        seed=settings.seed,
    )
    readouts = lib.readouts_of(network)
    similarities: dict[str, list[NDArray[np.float64]]] = {name: [] for name in readouts}
    exchangeable: dict[str, list[NDArray[np.float64]]] = {
        name: [] for name in _EXCHANGED_READOUTS if name in readouts
    }
    for start in progress(range(0, len(experiments), _CHUNK)):
        pictures = _read_pictures(prototypes, experiments[start : start + _CHUNK])
        embedded = lib.embed(loaded, readouts, pictures.reshape(-1, *pictures.shape[3:]))
        for name, vectors in embedded.items():
            pairs = vectors.numpy().reshape(*pictures.shape[:3], -1)
            similarities[name].append(_inner(pairs[:, :, 0], pairs[:, :, 1]))
            if name in exchangeable:
                exchangeable[name].append(pairs)
    columns: dict[str, NDArray[np.float64]] = {}
    for name, found in similarities.items():
        columns |= _by_prototype(name, np.concatenate(found))
    for name, found in exchangeable.items():
        columns |= _exchanged(name, np.concatenate(found), _rows_of(alternate, experiments))
    return columns


def _read_pictures(
    prototypes: str | os.PathLike[str], experiments: Sequence[int]
) -> NDArray[np.float32]:
    """Read (experiments, prototypes, threads, 224, 224, 3)."""
    montages = (read_montage(Path(prototypes) / montage_file(expi)) for expi in experiments)
    return np.stack(
        [
            [[cut_cell(montage, s.prefix, p) for s in Space] for p in COMPARED_PROTOTYPES]
            for montage in montages
        ]
    )


def _by_prototype(readout: str, values: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Name the columns of (experiments, prototypes); a prototype without a column is left out."""
    known = set(itertools.chain.from_iterable(SIMILARITY_COLUMNS.values()))
    columns = {}
    for prototype, column in zip(COMPARED_PROTOTYPES, values.T, strict=True):
        # The cosines of whole maps call the reconstructions by a generator just "reevol".
        for name in (f"{prototype}_{readout}", f"cosine_{_SHORT.get(prototype)}_{readout}"):
            if name in known:
                columns[name] = column
    return columns


def _exchanged(
    readout: str, vectors: NDArray[np.float64], others: NDArray[np.intp]
) -> dict[str, NDArray[np.float64]]:
    """Compare each prototype with the other thread's of another experiment.

    Parameters
    ----------
    readout : str
        Name of the readout.
    vectors : numpy.ndarray
        (experiments, prototypes, threads, d) of unit length.
    others : numpy.ndarray of int
        (experiments,) row of the other experiment, -1 for none.
    """
    own, other = vectors, vectors[others]
    compared = {
        "_BGalt": _inner(own[:, :, 0], other[:, :, 1]),
        "_FCalt": _inner(other[:, :, 0], own[:, :, 1]),
    }
    columns: dict[str, NDArray[np.float64]] = {}
    for suffix, values in compared.items():
        values[others < 0] = np.nan
        columns |= _by_prototype(f"{readout}{suffix}", values)
    return columns


def _rows_of(drawn: NDArray[np.float64], experiments: Sequence[int]) -> NDArray[np.intp]:
    return pd.Index(experiments, dtype=float).get_indexer(pd.Index(drawn))


def _inner(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
    return np.einsum("...d,...d->...", first, second).astype(np.float64)

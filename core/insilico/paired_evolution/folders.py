"""Folders, file names and archives of evolutions, as the published runs left them.

Names are read back as they are written: ``<net>_<layer>_<channel>[_<row>_<column>][_RFrsz]`` is
told apart by a net without dots and a layer without underscores. Where a name has them (timm's
``resnet50.a1_in1k``), they are written as in addresses of the web, ``resnet50%2Ea1_in1k``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

import numpy as np
from numpy.typing import NDArray

from core.brief import brief
from core.errors import MalformedDataError, UsageError
from core.reading.array_files import read_arrays

_FOLDER = re.compile(
    r"(?P<net>[^./]+)_(?P<layer>[^_\d/][^_/]*)_(?P<channel>\d+)"
    r"(?:_(?P<row>\d+)_(?P<column>\d+))?(?P<in_field>_RFrsz)?"
)
_ARCHIVE = re.compile(r"scores(?P<label>.+)_(?P<number>\d{5})\.npz")

#: Bytes that file systems take for one name.
LONGEST_NAME = 255

#: Ends the labels of runs in DeePSim.
FC6_SUFFIX = "_fc6"
#: Comes between label and name of a generator that is neither of the published ones.
OWN_INFIX = "_gan-"


@dataclass(frozen=True)
class EvolvedUnit:
    """A unit that images are evolved for.

    Attributes
    ----------
    net, layer : str
    channel : int
    centre : tuple of int
        Row and column in a map; empty in a flat layer.
    in_field : bool
        Whether images are shown in its receptive field.
    """

    net: str
    layer: str
    channel: int
    centre: tuple[int, ...] = ()
    in_field: bool = False

    @property
    def index(self) -> int | tuple[int, ...]:
        """How `TorchScorer` names it."""
        return (self.channel, *self.centre) if self.centre else self.channel

    @property
    def folder(self) -> str:
        """Name of its folder."""
        net = quote(self.net, safe="").replace(".", "%2E")
        layer = quote(self.layer, safe="").replace("_", "%5F")
        if layer[:1].isdigit():
            layer = f"%{ord(layer[0]):02X}{layer[1:]}"
        parts = [net, layer, *map(str, (self.channel, *self.centre))]
        name = "_".join([*parts, "RFrsz"] if self.in_field else parts)
        if len(name) > LONGEST_NAME:
            raise UsageError(
                f"a folder for layer {self.layer[:40]!r}… of {self.net!r} would have a name of "
                f"{len(name)} letters; a file system takes {LONGEST_NAME}."
            )
        return name


def unit_of_folder(name: str) -> EvolvedUnit:
    """Read the name of a unit's folder, ours or a published one.

    Raises
    ------
    MalformedDataError
        If it is not one.
    """
    found = _FOLDER.fullmatch(name)
    if found is None:
        raise MalformedDataError(
            f"folder {name!r} is not named net_layer_channel[_row_column][_RFrsz]."
        )
    centre = (int(found["row"]), int(found["column"])) if found["row"] else ()
    return EvolvedUnit(
        unquote(found["net"]), unquote(found["layer"]), int(found["channel"]), centre,
        found["in_field"] is not None,
    )  # fmt: skip


def run_label(label: str, generator: str) -> str:
    """Return the label of file names: that of the optimiser, with ``_fc6`` in DeePSim.

    A generator of one's own follows as ``_gan-`` and its name, written as in addresses of the web.
    """
    if ":" in generator:
        return f"{label}{OWN_INFIX}{quote(generator, safe='').replace('_', '%5F')}"
    return f"{label}{FC6_SUFFIX}" if generator == "fc6" else label


def generator_of(label: str) -> str:
    """Return the generator that a label of file names tells of."""
    if OWN_INFIX in label:
        return unquote(label.partition(OWN_INFIX)[2])
    return "fc6" if label.endswith(FC6_SUFFIX) else "BigGAN"


def archive_name(label: str, number: int) -> str:
    """Return the name of the file of a run's scores and codes."""
    return f"scores{label}_{number:05d}.npz"


def run_of_archive(name: str) -> tuple[str, int] | None:
    """Return label and number of a run from the name of its file of scores; None of another."""
    found = _ARCHIVE.fullmatch(name)
    return None if found is None else (found["label"], int(found["number"]))


@dataclass(frozen=True)
class Archive:
    """The scores of a run.

    Attributes
    ----------
    scores : numpy.ndarray of float64, shape (n,)
        What the optimiser was told.
    generations : numpy.ndarray of int, shape (n,)
        The generation of each.
    responses : numpy.ndarray of float64, shape (n,)
        What the unit answered before noise was added; the scores where the run kept none.
    untrained : bool
        Whether the run says that its networks had random weights; published runs do not say.
    """

    scores: NDArray[np.float64]
    generations: NDArray[np.intp]
    responses: NDArray[np.float64]
    untrained: bool

    __repr__ = brief


def read_archive(path: Path) -> Archive:
    """Read the scores of a run, ours or a published one.

    Raises
    ------
    MalformedDataError
        If the file is damaged, or scores and generations are missing or do not fit each other.
    """
    try:
        saved = read_arrays(path)
        scores = saved["scores_all"].astype(np.float64).ravel()
        generations = saved["generations"].ravel()
        responses = saved.get("scores_without_noise", scores).astype(np.float64).ravel()
        untrained = bool(saved.get("untrained", False))
    except (ValueError, KeyError) as error:
        raise MalformedDataError(
            f"{path} does not hold the scores and generations of an evolution: {error}."
        ) from error
    whole = generations.astype(np.intp)
    if not 0 < len(scores) == len(whole) or not np.isfinite(scores).all():
        raise MalformedDataError(
            f"{path} holds {len(scores)} scores ({np.isfinite(scores).sum()} of them finite) and "
            f"{len(whole)} generations; expected as many of each, and at least one."
        )
    if responses.shape != scores.shape or not np.isfinite(responses).all():
        raise MalformedDataError(
            f"{path} holds {len(responses)} scores without noise ({np.isfinite(responses).sum()} "
            f"of them finite) beside {len(scores)} scores; expected as many."
        )
    return Archive(scores, whole, responses, untrained)

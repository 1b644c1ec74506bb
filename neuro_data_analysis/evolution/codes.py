"""Latent codes of evolved images: read per block and thread or merged, joined with what was shown.

A session keeps, beside its pictures, one MATLAB v5 file of codes per block and thread; some
experiments have instead one merged v7.3 file per thread.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.brief import brief
from core.errors import MalformedDataError, MissingDataError
from core.reading.matlab_v5 import read_v5
from neuro_data_analysis.matlab import v73 as matlab_v73
from neuro_data_analysis.matlab.values import as_integers, as_numbers, as_text, flat

#: Length of a code in each generative space; ``BigGAN_class`` is the class half of ``BigGAN``.
CODE_LENGTHS = {"fc6": 4096, "BigGAN": 256, "BigGAN_class": 128}

#: File name of an evolved picture: image name and this.
PICTURE_SUFFIX = ".bmp"

_BLOCK_FILE = re.compile(r"block(?P<block>\d{3})_thread(?P<thread>\d{3})_code\.mat$")


@dataclass(frozen=True)
class LatentCodes:
    """The codes of one thread, in order of generation.

    Attributes
    ----------
    codes : numpy.ndarray
        (n_codes, code length).
    picture_names : tuple of str
        (n_codes,) file names with their extension; founders of early sessions have none
        (``founder_001``).
    generation : numpy.ndarray of int
        (n_codes,) 0 for the founders; generation k was shown in block k + 1.
    """

    codes: NDArray[np.floating[Any]]
    picture_names: tuple[str, ...]
    generation: NDArray[np.intp]

    __repr__ = brief

    def __post_init__(self) -> None:
        lengths = (len(self.codes), len(self.picture_names), len(self.generation))
        if self.codes.ndim != 2 or len(set(lengths)) > 1:
            raise MalformedDataError(
                f"codes of shape {self.codes.shape} for {lengths[1]} pictures of {lengths[2]} "
                "generations"
            )

    def shown(self, image_names: Sequence[str]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Join the codes with the images of an experiment by file name.

        Founders whose pictures had other names and the last generation, which was never shown,
        have no partner and drop out.

        Parameters
        ----------
        image_names : sequence of str
            Names in order of presentation, without extension (`Recordings.image_names`).

        Returns
        -------
        presentations, rows : numpy.ndarray of int
            (n_shown,) positions in `image_names`, ascending, and the rows of `codes` that made
            those images. An image shown twice appears twice.
        """
        row_of = {name: row for row, name in enumerate(self.picture_names)}
        pairs = [
            (presentation, row_of[name + PICTURE_SUFFIX])
            for presentation, name in enumerate(image_names)
            if name + PICTURE_SUFFIX in row_of
        ]
        presentations, rows = np.array(pairs, dtype=np.intp).reshape(-1, 2).T
        return presentations, rows


def read_latent_codes(stimulus_folder: str | os.PathLike[str], thread: int) -> LatentCodes:
    """Read the code files of one thread of a session, block by block.

    Parameters
    ----------
    stimulus_folder : path-like
        Local copy of ``meta.stimuli``; holds ``block000_thread000_code.mat`` and so on.
    thread : int
        0 (DeePSim) or 1 (BigGAN).

    Returns
    -------
    LatentCodes

    Raises
    ------
    MissingDataError
        If there is no such folder, no code file of the thread, or one is missing in between.
    MalformedDataError
        If a file cannot be read or does not hold ``codes`` and as many ``ids``.
    """
    folder = Path(stimulus_folder)
    found = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        match = _BLOCK_FILE.match(path.name)
        if match and int(match["thread"]) == thread:
            found[int(match["block"])] = path
    if not found:
        raise MissingDataError(
            f"{folder} holds no latent codes of thread {thread}; expected files "
            f"block000_thread{thread:03d}_code.mat and so on."
        )
    if missing := sorted(set(range(max(found) + 1)) - set(found)):
        raise MissingDataError(
            f"{folder} lacks block{missing[0]:03d}_thread{thread:03d}_code.mat; "
            f"blocks missing: {missing}. Copy the folder again."
        )
    blocks = [_read_block(found[block]) for block in sorted(found)]
    if len({codes.shape[1] for codes, _ in blocks}) > 1:
        raise MalformedDataError(f"{folder}: the codes of thread {thread} differ in length.")
    return LatentCodes(
        codes=np.concatenate([codes for codes, _ in blocks]),
        picture_names=tuple(name for _, names in blocks for name in names),
        generation=np.repeat(np.arange(len(blocks)), [len(names) for _, names in blocks]),
    )


def merged_codes_file(expi: int, thread: int) -> str:
    """Name the merged file of a thread; threads count from 1 in the name, from 0 here."""
    return f"Exp{expi:03d}_thread{thread + 1}_all_codes.mat"


def read_merged_codes(path: str | os.PathLike[str]) -> LatentCodes:
    """Read the merged code file of one thread (see `merged_codes_file`).

    Raises
    ------
    MissingDataError
        If there is no such file.
    MalformedDataError
        If it is no v7.3 file or lacks ``codes_all``, ``code_geni`` or ``img_ids``.
    """
    with matlab_v73.open_v73(path) as file, matlab_v73.reading(path):
        needed = ("codes_all", "code_geni", "img_ids")
        missing = [name for name in needed if matlab_v73.member(file.id, name) is None]
        if missing:
            raise MalformedDataError(f"{path} holds no {', '.join(missing)}.")
        names = tuple(as_text(name) for name in flat(matlab_v73.variable(file, "img_ids")))
        return LatentCodes(
            codes=as_numbers(matlab_v73.variable(file, "codes_all"), "codes_all"),
            picture_names=names,
            generation=as_integers(matlab_v73.variable(file, "code_geni"), "code_geni"),
        )


def _read_block(path: Path) -> tuple[NDArray[np.floating[Any]], list[str]]:
    content = read_v5(path, ("codes", "ids"))
    try:
        codes = content["codes"]
        names = [as_text(name) for name in flat(content["ids"])]
    except KeyError as error:
        raise MalformedDataError(f"{path} holds no {error}.") from error
    except MalformedDataError as error:
        raise MalformedDataError(f"{path}: {error}.") from error
    if np.ndim(codes) != 2 or codes.dtype.kind not in "iuf" or len(codes) != len(names):
        raise MalformedDataError(
            f"{path} holds codes of shape {np.shape(codes)} for {len(names)} ids; expected "
            "numbers, one row per id."
        )
    return codes.astype(np.result_type(codes, np.float32)), names

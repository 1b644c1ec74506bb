"""Read the responses that a rig wrote: .csv, MATLAB v5, MATLAB v7.3 or plain HDF5."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from h5py import h5a, h5d, h5r

from core.errors import MalformedDataError
from core.reading.hdf5 import bounded_memory, member, read_array
from core.reading.matlab_v5 import read_v5
from core.rig.blocks import BlockResponses, responses_from

#: Endings of files of responses.
ENDINGS = (".csv", ".mat", ".h5", ".hdf5")

#: Variables that are read; others are left alone.
VARIABLES = ("stimulusID", "tEvokedResp", "psth")

#: No block comes near these.
LARGEST_BYTES = 1 << 30
MOST_TRIALS, LONGEST_NAME = 100_000, 1000

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MATLAB_HEADER_BYTES = 512


def read_responses(path: Path) -> BlockResponses:
    """Read a file of responses.

    A .csv file has a column ``stimulusID``, columns that begin with ``tEvokedResp`` (one per
    channel, in their order) and, if there are spike densities of one channel, ``psth_0`` to
    ``psth_199``. An empty cell is a lost trial. The other files hold variables of these names, see
    `core.rig.blocks.responses_from`.

    Raises
    ------
    MalformedDataError
        If the file is cut off, damaged, too large, or holds something else.
    """
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise ValueError(f"more than {LARGEST_BYTES} bytes")
        with bounded_memory():
            arrays = _arrays(path)
    except MalformedDataError:
        raise
    except Exception as error:  # damaged files raise anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise MalformedDataError(f"{path} cannot be read: {reason:.200}.") from error
    return responses_from(arrays, str(path))


def _arrays(path: Path) -> dict[str, Any]:
    if path.suffix == ".csv":
        return _from_csv(path)
    with path.open("rb") as file:
        head = file.read(_MATLAB_HEADER_BYTES + len(_HDF5_SIGNATURE))
    if _HDF5_SIGNATURE in (head[: len(_HDF5_SIGNATURE)], head[_MATLAB_HEADER_BYTES:]):
        return _from_hdf5(path)
    return _from_v5(path)


def _from_csv(path: Path) -> dict[str, Any]:
    table = pd.read_csv(path, dtype={"stimulusID": str})
    arrays: dict[str, Any] = {}
    if "stimulusID" in table:
        arrays["stimulusID"] = table["stimulusID"].fillna("").to_numpy()
    for name in VARIABLES[1:]:
        columns = [c for c in table.columns if str(c).startswith(name)]
        if columns:
            arrays[name] = table[columns].apply(pd.to_numeric).to_numpy(np.float64)
    return arrays


def _from_v5(path: Path) -> dict[str, Any]:
    arrays = read_v5(path, VARIABLES)
    if "stimulusID" in arrays:
        cells = np.ravel(arrays["stimulusID"])
        arrays["stimulusID"] = [str(np.ravel(cell)[0]) if np.size(cell) else "" for cell in cells]
    return arrays


def _from_hdf5(path: Path) -> dict[str, Any]:
    with h5py.File(path, "r", locking=False) as file:
        found = {name: member(file.id, name) for name in VARIABLES}
        return {
            name: _text(stored) if name == "stimulusID" else _numbers(stored)
            for name, stored in found.items()
            if isinstance(stored, h5d.DatasetID)
        }


def _numbers(dataset: h5d.DatasetID) -> Any:
    """Return an array; MATLAB wrote its axes in the opposite order."""
    values = read_array(dataset)
    return values.T if h5a.exists(dataset, b"MATLAB_class") else values


def _text(dataset: h5d.DatasetID) -> list[str]:
    """Return the texts of a MATLAB cell, or of a dataset of strings."""
    n_texts = math.prod(dataset.shape)
    if n_texts > MOST_TRIALS:
        raise ValueError(f"{n_texts} trials; a block has at most {MOST_TRIALS}")
    texts = np.ravel(read_array(dataset), "F").tolist()
    if h5py.check_ref_dtype(dataset.dtype):
        return [_letters(h5r.dereference(reference, dataset)) for reference in texts]
    return [text.decode() if isinstance(text, bytes) else str(text) for text in texts]


def _letters(cell: h5d.DatasetID) -> str:
    n_letters = math.prod(cell.shape)
    if n_letters > LONGEST_NAME:
        raise ValueError(f"a name of {n_letters} letters")
    return "".join(map(chr, read_array(cell).ravel("F")))

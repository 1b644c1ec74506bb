"""Recordings of tuning sessions: one site, images along Hessian axes of BigGAN (Figure 6).

A session lies in MATROOT as ``{ephysFN}.pkl``, or as the ``{ephysFN}_formatted.mat`` (v7.3) that
the pickle was made of. Both give the same `TuningSession`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.brief import brief
from core.errors import MalformedDataError, MissingDataError, UsageError, choose_from
from core.reading.safe_pickle import load_pickle
from neuro_data_analysis.matlab import v73 as matlab_v73
from neuro_data_analysis.matlab.values import (
    PSTH_MS,
    as_integers,
    as_matlab,
    as_struct,
    as_text,
    flat,
)

#: List of sessions that the authors keep beside their recordings.
SESSION_LIST_FILE = "ExpRecord_BigGAN_Hessian_tuning_ABCD_w_meta.csv"

#: Left in a folder by the simulator of sessions.
SIMULATED_MARKER = "simulated_tuning.json"

#: A unit whose mean rate is above this is active (published rule for files without ``unitID``).
ACTIVE_RATE = 1.25

#: Letters of units 0 to 8 of a channel.
UNIT_LETTERS = "UABCDEFGH"

#: Image names: the present form, and that of the first sessions, tried where no name has the first.
STIMULUS_PATTERNS = (
    r"^(?P<space_name>class|noise)_eig(?P<eig_id>\d+)_lin(?P<lin_dist>[+-]?\d+(?:\.\d+)?)",
    r"^(?P<space_name>class|noise)_eig(?P<eig_id>\d+)_exp(?P<exp_value>[+-]?\d+(?:\.\d+)?)"
    r"_lin(?P<lin_dist>[+-]?\d+(?:\.\d+)?)",
)

_PUBLISHED_LIST = Path(__file__).parents[1] / "data" / "tuning_sessions.csv"
_LIST_COLUMNS = ("Animal", "Expi", "ephysFN", "pref_chan", "pref_unit")


@dataclass(frozen=True)
class SessionRecord:
    """What the list of sessions tells of one.

    Attributes
    ----------
    animal : str
    expi : int
        Number of the paired evolution of this animal.
    ephys_name : str
        Name of the recording; names its file.
    pref_channel, pref_unit : int
        The site.
    stimuli : str
        Folder of the images, as recorded; may be empty.
    evolution_name : str
        Recording of the paired evolution; empty where the list does not tell it.
    success : bool or None
        Whether the paired evolution in BigGAN succeeded, as published; None for a session that is
        not on the published list.
    """

    animal: str
    expi: int
    ephys_name: str
    pref_channel: int
    pref_unit: int
    stimuli: str = ""
    evolution_name: str = ""
    success: bool | None = None

    @property
    def exp_id(self) -> str:
        """``Animal_Expi``, which several sessions may share."""
        return f"{self.animal}_{self.expi}"

    @property
    def unit_label(self) -> str:
        """The site as figures name it, see `unit_label`."""
        return unit_label(self.pref_channel, self.pref_unit)


@dataclass(frozen=True)
class TuningSession:
    """One recorded session.

    Attributes
    ----------
    rasters : numpy.ndarray
        (n_trials, 200 ms, n_units) spike density in events/s, from image onset.
    channels, units : numpy.ndarray of int
        (n_units,) channel, and number of the unit on it; 0 for one that is not active.
    image_names : list of str
        (n_trials,) image of each presentation.
    path : pathlib.Path
        Where it was read from; named in errors.
    simulated : bool
        Whether a simulator made it.
    """

    rasters: NDArray[np.floating]
    channels: NDArray[np.intp]
    units: NDArray[np.intp]
    image_names: list[str]
    path: Path
    simulated: bool = False

    __repr__ = brief

    def __post_init__(self) -> None:
        expected = (len(self.image_names), PSTH_MS, len(self.channels))
        if self.rasters.shape != expected or len(self.units) != len(self.channels):
            raise MalformedDataError(
                f"{self.path}: rasters of shape {self.rasters.shape} for {expected[0]} image names "
                f"and {expected[2]} channels; expected (trials, {PSTH_MS} ms, units) = {expected}."
            )

    def psth(self, channel: int, unit: int) -> NDArray[np.float64]:
        """Return the spike density of one unit.

        Parameters
        ----------
        channel, unit : int
            The site.

        Returns
        -------
        numpy.ndarray
            (n_trials, 200 ms) events/s.

        Raises
        ------
        MalformedDataError
            If not exactly one column is that unit, or it holds NaN.
        """
        columns = np.flatnonzero((self.channels == channel) & (self.units == unit))
        if len(columns) != 1:
            there = self.units[self.channels == channel].tolist()
            raise MalformedDataError(
                f"{self.path}: {len(columns)} columns are unit {unit} of channel {channel}, "
                f"expected one; units of that channel: {there or 'none'}."
            )
        psth = self.rasters[:, :, columns[0]].astype(np.float64)
        if not np.isfinite(psth).all():
            raise MalformedDataError(
                f"{self.path}: the rasters of unit {unit_label(channel, unit)} hold NaN or "
                "infinity; expected a spike density for every trial."
            )
        return psth


def read_session(folder: str | os.PathLike[str], ephys_name: str) -> TuningSession:
    """Read one session.

    Parameters
    ----------
    folder : path-like
        MATROOT.
    ephys_name : str
        Name of the recording, ``Animal-DDMMYYYY-NNN``.

    Returns
    -------
    TuningSession
        Where the file does not number its units, they are inferred, see `infer_units`.

    Raises
    ------
    MissingDataError
        If neither file of the session is there.
    MalformedDataError
        If the file cannot be read, or does not hold a session.
    """
    path = session_file(folder, ephys_name)
    content = _read_mat(path) if path.suffix == ".mat" else as_matlab(_read_pickle(path))
    try:
        rasters, meta = content["rasters"], as_struct(content["meta"], "meta")
        trials = as_struct(content["Trials"], "Trials")
        names = [as_text(name) for name in flat(trials["imageName"])]
        channels = as_integers(meta["spikeID"], "spikeID")
        numbers = np.asarray(meta.get("unitID", ()))
        units = as_integers(numbers, "unitID") if numbers.size else None
        simulated = meta.get("simulated", False) is True
    except KeyError as field:
        raise MalformedDataError(f"{path}: there is no field {field}.") from field
    except MalformedDataError as error:
        raise MalformedDataError(f"{path}: {error}.") from error
    if rasters.ndim != 3 or rasters.shape[2] != len(channels) or rasters.dtype.kind not in "iuf":
        raise MalformedDataError(
            f"{path}: rasters of shape {rasters.shape} and type {rasters.dtype} for "
            f"{len(channels)} channels; expected numbers, (trials, {PSTH_MS} ms, units)."
        )
    units = infer_units(rasters, channels) if units is None else units
    return TuningSession(rasters, channels, units, names, path, simulated)


def session_file(folder: str | os.PathLike[str], ephys_name: str) -> Path:
    """Return the file of a session, the pickle before the MATLAB file.

    Raises
    ------
    MissingDataError
        If neither is there.
    """
    paths = [Path(folder) / f"{ephys_name}{end}" for end in (".pkl", "_formatted.mat")]
    for path in paths:
        if path.is_file():
            return path
    raise MissingDataError(
        f"{Path(folder)} holds neither {paths[0].name} nor {paths[1].name}; copy one of them there."
    )


def infer_units(rasters: NDArray[np.floating], channels: NDArray[np.intp]) -> NDArray[np.intp]:
    """Infer the unit numbers of a session that does not tell them (published rule).

    Columns with a mean rate above `ACTIVE_RATE` are active; those of one channel are numbered 1, 2,
    … in order. Inactive ones are unit 0.

    Parameters
    ----------
    rasters : numpy.ndarray
        (n_trials, 200 ms, n_units) events/s.
    channels : numpy.ndarray of int
        (n_units,)

    Returns
    -------
    numpy.ndarray of int
        (n_units,)
    """
    active = rasters.mean(axis=(0, 1), dtype=np.float64) > ACTIVE_RATE
    counted = pd.Series(active.astype(np.intp)).groupby(channels).cumsum()
    return np.where(active, counted.to_numpy(), 0)


def unit_label(channel: int, unit: int) -> str:
    """Name a unit as the figures do: channel and letter, ``68B`` for unit 2 of channel 68.

    Raises
    ------
    UsageError
        If the unit has no letter.
    """
    if not 0 <= unit < len(UNIT_LETTERS):
        raise UsageError(choose_from(unit, range(len(UNIT_LETTERS)), "unit number"))
    return f"{channel}{UNIT_LETTERS[unit]}"


def parse_stimulus_names(names: Iterable[str]) -> pd.DataFrame:
    """Read the axis and the position on it from image names.

    ``class_eig0_lin0.16`` and, where no name has that form, ``class_eig0_exp2.5_lin-1.0``. Only the
    start of a name counts.

    Parameters
    ----------
    names : iterable of str
        One per presentation.

    Returns
    -------
    pandas.DataFrame
        Columns ``img_name``, ``space_name``, ``eig_id``, ``lin_dist``, ``hessian_img`` and, for the
        older form, ``exp_value``. Other images have ``hessian_img`` False and the rest missing.

    Raises
    ------
    MalformedDataError
        If no name has either form.
    """
    images = pd.Series(list(names), dtype=object, name="img_name")
    for pattern in STIMULUS_PATTERNS:
        parts = images.str.extract(pattern, flags=re.ASCII)
        if parts["space_name"].notna().any():
            break
    else:
        first = repr(images.iloc[0]) if len(images) else "none"
        raise MalformedDataError(
            "no image name has the form class_eig0_lin0.16 or class_eig0_exp2.5_lin-1.0; the first "
            f"name is {first}"
        )
    numbers = {
        name: pd.to_numeric(parts[name]) + 0.0  # -0.00 is the origin too
        for name in ("eig_id", "lin_dist", "exp_value")
        if name in parts
    }
    table = pd.DataFrame({"img_name": images, "space_name": parts["space_name"].astype(object)})
    table = table.assign(hessian_img=table["space_name"].notna(), **numbers)
    columns = ["img_name", "space_name", "eig_id", "lin_dist", "hessian_img"]
    return table[columns + (["exp_value"] if "exp_value" in numbers else [])]


def read_session_list(folder: str | os.PathLike[str]) -> list[SessionRecord]:
    """Return the sessions to analyse, in the authors' order.

    Parameters
    ----------
    folder : path-like
        MATROOT. Its `SESSION_LIST_FILE` is read; without one, the published list of 55 sessions.

    Returns
    -------
    list of SessionRecord
        Paired evolutions and success flags come from the published list.

    Raises
    ------
    MalformedDataError
        If the list lacks a column, or a number in it.
    """
    path = Path(folder) / SESSION_LIST_FILE
    if not path.is_file():
        return list(published_sessions())
    table = _read_list(path)
    known = {record.ephys_name: record for record in published_sessions()}
    by_experiment = {record.exp_id: record for record in published_sessions()}
    records = []
    for row in table.to_dict("records"):
        experiment = f"{row['Animal']}_{int(row['Expi'])}"
        twin = known.get(str(row["ephysFN"])) or by_experiment.get(experiment)
        records.append(_record(row, twin))
    return records


@cache
def published_sessions() -> tuple[SessionRecord, ...]:
    """Return the 55 sessions of the paper, in the authors' order."""
    return tuple(_record(row, None) for row in _read_list(_PUBLISHED_LIST).to_dict("records"))


def published_session(ephys_name: str) -> SessionRecord:
    """Return a session of the published list; `UsageError` if it is not on it."""
    for record in published_sessions():
        if record.ephys_name == ephys_name:
            return record
    names = [record.ephys_name for record in published_sessions()]
    raise UsageError(choose_from(ephys_name, names, "tuning session"))



def _read_pickle(path: Path) -> Mapping[str, Any]:
    content = load_pickle(path, instead="read the MATLAB file of the session")
    if not isinstance(content, Mapping):
        raise MalformedDataError(
            f"{path} holds a {type(content).__name__}; expected a dictionary of rasters, meta and "
            "Trials."
        )
    if isinstance(content.get("rasters"), np.ndarray):
        return content
    held = ", ".join(map(str, content)) or "nothing"
    raise MalformedDataError(
        f"{path} holds {held}; expected rasters (an array), meta and Trials. It is not a tuning "
        "session."
    )


def _read_mat(path: Path) -> dict[str, Any]:
    """Read what is needed of a ``_formatted.mat``; MATLAB holds rasters as (units, ms, trials)."""
    with matlab_v73.open_v73(path) as file, matlab_v73.reading(path):
        needed = ("rasters", "meta", "Trials")
        missing = [name for name in needed if matlab_v73.member(file.id, name) is None]
        if missing:
            raise MalformedDataError(
                f"{path} holds no {', '.join(missing)}; it is not a tuning session."
            )
        meta, trials = matlab_v73.variable(file, "meta"), matlab_v73.variable(file, "Trials")
        return {
            "rasters": np.asarray(matlab_v73.variable(file, "rasters"), dtype=np.float32).T,
            "meta": {name: meta[name] for name in ("spikeID", "unitID") if name in meta},
            "Trials": {"imageName": trials["imageName"]} if "imageName" in trials else {},
        }


def _read_list(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path)
    except Exception as error:  # pandas raises many kinds for a damaged table
        raise MalformedDataError(f"{path} is not a readable CSV table ({error}).") from error
    missing = [name for name in _LIST_COLUMNS if name not in table]
    if missing:
        raise MalformedDataError(
            f"{path} lacks column {', '.join(missing)}; found {', '.join(map(str, table.columns))}."
        )
    for name in ("Expi", "pref_chan", "pref_unit"):
        if not pd.api.types.is_numeric_dtype(table[name]) or table[name].isna().any():
            raise MalformedDataError(f"{path}: column {name} must hold a number in every row.")
    return table


def _record(row: Mapping[Any, Any], twin: SessionRecord | None) -> SessionRecord:
    stimuli = row.get("stimuli")
    return SessionRecord(
        animal=str(row["Animal"]),
        expi=int(row["Expi"]),
        ephys_name=str(row["ephysFN"]),
        pref_channel=int(row["pref_chan"]),
        pref_unit=int(row["pref_unit"]),
        stimuli=stimuli if isinstance(stimuli, str) else "",
        evolution_name=twin.evolution_name if twin else str(row.get("evol_ephysFN", "")),
        success=twin.success if twin else _flag(row.get("is_BigGAN_evol_success")),
    )


def _flag(value: Any) -> bool | None:
    return bool(value) if isinstance(value, bool | np.bool_) else None

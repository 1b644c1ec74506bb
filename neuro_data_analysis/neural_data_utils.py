"""Names, dates, areas and inclusion masks of the paired-evolution experiments."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING

import pandas as pd

from core.errors import MalformedDataError, MissingDataError
from core.published_names import door
from core.spaces import Space

#: Visual hierarchy, in the order in which every figure shows it.
AREAS = ("V1", "V4", "IT")

#: After this day Beto's array was wired anew (Methods, recordings).
BETO_REWIRED = dt.date(2021, 9, 1)

#: Sessions excluded for an unstable baseline (published list).
UNSTABLE_BASELINE = frozenset(
    {
        "Beto-18082020-002",
        "Beto-07092020-006",
        "Beto-14092020-002",
        "Beto-27102020-003",
        "Alfa-22092020-003",
        "Alfa-04092020-003",
    }
)

#: Experiments with this many blocks or fewer are excluded as too short.
SHORT_BLOCKS = 14

_EPHYS_NAME = re.compile(
    r"(?P<animal>[A-Za-z]+)-(?P<day>\d{2})(?P<month>\d{2})(?P<year>\d{4})-\d+$"
)
_CONTROL_NAME = re.compile(r"(?P<year>\d{2})(?P<month>\d{2})(?P<day>\d{2})_(?P<animal>[A-Za-z]+)_")
_REFERENCE_SUFFIX = re.compile(r"_thread\d{3}_nat$")


@dataclass(frozen=True)
class Session:
    """Who was recorded, and when."""

    animal: str
    date: dt.date


def parse_session(ephys_name: str | None, control_name: str | None) -> Session:
    """Read animal and date from the names of the two files of a session.

    Parameters
    ----------
    ephys_name : str or None
        ``Animal-DDMMYYYY-NNN``, the recording (``Alfa-25112020-003``).
    control_name : str or None
        ``YYMMDD_Animal_generate_BigGAN``, the experiment control, with or without ``(n)``.

    Returns
    -------
    Session

    Raises
    ------
    MalformedDataError
        If neither name can be read, or both can and disagree.
    """
    found = {}
    for name, pattern in ((ephys_name, _EPHYS_NAME), (control_name, _CONTROL_NAME)):
        if name and (match := pattern.match(name)):
            found[name] = _session_of(match)
    if not found:
        raise MalformedDataError(
            f"animal and date cannot be read from ephysFN {ephys_name!r} or expControlFN "
            f"{control_name!r}; expected Animal-DDMMYYYY-NNN or YYMMDD_Animal_…"
        )
    if len(set(found.values())) > 1:
        told = " but ".join(f"{name!r} says {s.animal}, {s.date}" for name, s in found.items())
        raise MalformedDataError(f"the names of a session disagree: {told}. Correct one of them.")
    return next(iter(found.values()))


def area_of_channel(session: Session, channel: int) -> str:
    """Return the visual area that a channel recorded from.

    Parameters
    ----------
    session : Session
        Animal and date; Beto's channels changed on `BETO_REWIRED`.
    channel : int
        Channel number, from 1.

    Returns
    -------
    {"V1", "V4", "IT"}

    Raises
    ------
    MalformedDataError
        If the animal's array is not known, or the channel is below 1.
    """
    if channel < 1:
        raise MalformedDataError(f"channel {channel}: channels are numbered from 1.")
    if session.animal not in ("Alfa", "Beto"):
        raise MalformedDataError(
            f"the channels of animal {session.animal!r} are not mapped to areas; known animals: "
            "Alfa, Beto."
        )
    if session.animal == "Beto" and session.date > BETO_REWIRED:
        return "V4" if channel <= 16 else "V1" if channel <= 32 else "IT"
    return "IT" if channel <= 32 else "V1" if channel <= 48 else "V4"


def inclusion_masks(meta: pd.DataFrame) -> pd.DataFrame:
    """Say which experiments count, and why the others do not.

    Parameters
    ----------
    meta : pandas.DataFrame
        One row per experiment, any subset of them, with ``ephysFN``, ``blockN``, ``space1`` and
        ``space2``.

    Returns
    -------
    pandas.DataFrame
        Same index. Boolean columns ``long_enough`` (more than 14 blocks), ``fc6_and_BigGAN``
        (thread 0 evolved in fc6, thread 1 in BigGAN or its class half), ``stable`` (not on the
        list of unstable baselines), ``valid`` (all three), and ``excluded_because``, the broken
        rules in words, empty for a valid experiment.
    """
    rules = pd.DataFrame(
        {
            "long_enough": meta["blockN"] > SHORT_BLOCKS,
            "fc6_and_BigGAN": (meta["space1"] == Space.DEEPSIM.generator)
            & meta["space2"].str.contains(Space.BIGGAN.generator, regex=False),
            "stable": ~meta["ephysFN"].isin(UNSTABLE_BASELINE),
        },
        index=meta.index,
    )
    reasons = {
        "long_enough": f"{SHORT_BLOCKS} blocks or fewer",
        "fc6_and_BigGAN": "not an fc6 and BigGAN pair",
        "stable": "unstable baseline",
    }
    broken = [
        "; ".join(reason for rule, reason in reasons.items() if not row[rule])
        for row in rules.to_dict("records")
    ]
    return rules.assign(valid=rules.all(axis=1), excluded_because=broken)


def success_masks(meta: pd.DataFrame, p_below: float) -> pd.DataFrame:
    """Mark the threads that climbed: ``p_maxinit < p_below``, best two blocks against first two.

    The sign of t is not asked for, as in the published masks; a missing p is no success.

    Parameters
    ----------
    meta : pandas.DataFrame
        With ``p_maxinit_0`` (DeePSim) and ``p_maxinit_1`` (BigGAN).
    p_below : float
        The criterion, 0.05 or 0.01 in the paper.

    Returns
    -------
    pandas.DataFrame
        Same index, boolean columns ``FCsucc``, ``BGsucc``, ``bothsucc``, ``nonesucc``, ``anysucc``.
    """
    succ = {space: meta[f"p_maxinit_{space.thread}"] < p_below for space in Space}
    deepsim, biggan = succ[Space.DEEPSIM], succ[Space.BIGGAN]
    return pd.DataFrame(
        {
            **{f"{space.prefix}succ": found for space, found in succ.items()},
            "bothsucc": deepsim & biggan,
            "nonesucc": ~deepsim & ~biggan,
            "anysucc": deepsim | biggan,
        }
    )


def is_reference_image(name: str) -> bool:
    """Tell a natural reference image from an evolved one by its ``_threadNNN_nat`` ending."""
    return _REFERENCE_SUFFIX.search(name) is not None


def local_stimulus_folder(stimuli: str, stimulus_root: str | Path) -> Path:
    r"""Place a recorded Windows folder (``N:\Stimuli\2020-BigGAN\…``) under a local root.

    Parameters
    ----------
    stimuli : str
        ``meta.stimuli`` of a recording.
    stimulus_root : path-like
        What stands for the drive: it holds the folder ``Stimuli``.

    Returns
    -------
    pathlib.Path
    """
    return Path(stimulus_root).joinpath(*PureWindowsPath(stimuli).parts[1:])


def find_image(name: str, stimulus_folder: str | Path) -> Path:
    """Find the picture that a recorded image name stands for.

    Parameters
    ----------
    name : str
        An evolved image (in `stimulus_folder`, ``.bmp``) or a reference image (in its parent
        folder, any extension, the name without ``_threadNNN_nat``).
    stimulus_folder : path-like
        Local folder of the session, see `local_stimulus_folder`.

    Returns
    -------
    pathlib.Path
        Where several reference pictures fit, the one with the shortest stem.

    Raises
    ------
    MissingDataError
        If no file fits.
    """
    folder = Path(stimulus_folder)
    if is_reference_image(name):
        folder = folder.parent
        stem = _REFERENCE_SUFFIX.sub("", name)
        candidates = folder.iterdir() if folder.is_dir() else ()
        fitting = [path for path in candidates if path.name.startswith(f"{stem}.")]
    else:
        fitting = [path for path in (folder / f"{name}.bmp",) if path.is_file()]
    if not fitting:
        raise MissingDataError(f"no picture of image {name!r} in {folder}.")
    return min(fitting, key=lambda path: (len(path.stem), path.name))


def _session_of(match: re.Match[str]) -> Session:
    parts = match.groupdict()
    year = int(parts["year"]) + (2000 if len(parts["year"]) == 2 else 0)
    try:
        date = dt.date(year, int(parts["month"]), int(parts["day"]))
    except ValueError as error:
        raise MalformedDataError(f"{match.string!r} holds no calendar date ({error}).") from error
    return Session(parts["animal"], date)


if not TYPE_CHECKING:
    __getattr__ = door(__name__, more="neuro_data_analysis.published_calls")

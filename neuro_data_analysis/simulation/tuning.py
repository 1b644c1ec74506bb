"""Simulated tuning sessions: files like the recorded ones, with known tuning.

Sessions, sites and success flags are the 55 real ones. The axes of each session follow from the
printed row numbers and level counts of the published table, as far as these tell; the eigenvectors
of the first sessions, repeats and every rate are made up. The tuning is drawn so that the shapes
and peaks of Figure 6E come out roughly as published.
"""

from __future__ import annotations

import os
import pickle
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import scipy
from numpy.typing import NDArray

from core.errors import UsageError
from core.files import atomic_write, write_json
from neuro_data_analysis.evolution.stats import EVOKED_MS
from neuro_data_analysis.matlab.values import PSTH_MS
from neuro_data_analysis.neural_tuning_analysis_lib import SUBSPACES
from neuro_data_analysis.tuning.sessions import (
    SESSION_LIST_FILE,
    SIMULATED_MARKER,
    SessionRecord,
    published_sessions,
)

#: The tuning that went into every axis.
TRUTH_FILE = "simulated_tuning_truth.csv"

#: Sessions that the figures show one by one; part of every simulation.
EXAMPLES = ("Beto-07092020-003", "Caos-12102024-003", "Alfa-08092020-004")

#: Chance of each kind of tuning, after a successful and after a failed evolution.
KINDS = ("bell", "ramp", "rugged", "flat")
CHANCES = {True: (0.37, 0.03, 0.26, 0.34), False: (0.14, 0.04, 0.09, 0.73)}

#: Centre of the bells, SD in units of the half axis, after a successful and a failed evolution.
CENTER_SD = {True: 0.3, False: 0.7}

#: Rate to the evolved image: median and SD of its logarithm, and limits, events/s.
ORIGIN_RATE = (100.0, 0.45)
ORIGIN_RATE_LIMITS = (35.0, 220.0)

#: Rate of the examples to the evolved image, events/s (printed).
EXAMPLE_RATES = dict(zip(EXAMPLES, (195.0, 100.0, 170.0), strict=True))

#: Spontaneous rate over the rate to the evolved image.
SPONTANEOUS_SHARE = 0.28

#: Rates of the other units of a file: one active, one below the criterion of an active unit.
OTHER_UNIT_RATE, SILENT_UNIT_RATE = 20.0, 0.2

#: The response begins and peaks so long after the image, ms; height of the peak over the plateau.
LATENCY_MS, PEAK_MS, PEAK_SD_MS, PEAK_HEIGHT = 50, 85, 18, 1.5

#: Spike density of the recordings: a Gaussian, σ in ms, cut off at 3σ and not renormalised.
SDF_SIGMA_MS, SDF_REACH_MS = 2.0, 6

#: Chance that an image is shown once more than the others.
EXTRA_CHANCE = 0.2

_STEPS_9 = (-0.4, -0.32, -0.24, -0.16, 0.0, 0.16, 0.24, 0.32, 0.4)
_STEPS_11 = (-0.4, -0.32, -0.24, -0.16, -0.08, 0.0, 0.08, 0.16, 0.24, 0.32, 0.4)
_EARLY_STEPS = (-5.0, -3.6, -2.4, -1.0, 0.0, 1.0, 2.4, 3.6, 5.0)

#: Other positions of the 22 axes of a session that broke off: number of positions → axes.
_BROKEN_OFF = {3: 1, 4: 2, 5: 4, 6: 9, 7: 5}
#: Of those axes, the ones without the position −0.4.
_WITHOUT_FIRST_STEP = 8


@dataclass(frozen=True)
class AxisSet:
    """The images of a session.

    Attributes
    ----------
    class_ids, noise_ids : tuple of int
        Eigenvectors of the two spaces.
    steps : tuple of float
        Positions on each axis.
    origin : {"every", "first", "none"}
        Whether the origin image belongs to every axis, to eigenvector 0 of each space, or to none.
    repeats : int
        Presentations of each image, at least; some are shown once more.
    also_origin : tuple of (str, int)
        Further axes with the origin image.
    only_origin : int
        Last axes of the noise space of which nothing but the origin was shown.
    exponent : float or None
        Written into image names of the older form.
    broken_off : bool
        Whether most axes lack some positions.
    """

    class_ids: tuple[int, ...]
    noise_ids: tuple[int, ...]
    steps: tuple[float, ...] = _STEPS_9
    origin: Literal["every", "first", "none"] = "every"
    repeats: int = 5
    also_origin: tuple[tuple[str, int], ...] = ()
    only_origin: int = 0
    exponent: float | None = None
    broken_off: bool = False

    def axes(self) -> Iterator[tuple[str, int, tuple[float, ...]]]:
        """Yield space, eigenvector and positions of every axis."""
        broken = _broken_off_steps() if self.broken_off else iter(())
        last = self.noise_ids[len(self.noise_ids) - self.only_origin :]
        for space, ids in zip(SUBSPACES, (self.class_ids, self.noise_ids), strict=True):
            for eig_id in ids:
                steps = self.steps if self._shows_origin(space, eig_id) else _without(self.steps)
                if space == "noise" and eig_id in last:
                    steps = (0.0,)
                if self.broken_off and eig_id > 0:
                    steps = next(broken, steps)
                if self.broken_off and (space, eig_id) == ("noise", 0):
                    steps = (-0.4, -0.16, 0.0, 0.16, 0.24, 0.4)
                yield space, eig_id, steps

    def images(self) -> Iterator[tuple[str, int, float]]:
        """Yield space, eigenvector and position of every image."""
        for space, eig_id, steps in self.axes():
            yield from ((space, eig_id, step) for step in steps)

    def image_name(self, space: str, eig_id: int, step: float) -> str:
        """Name an image as the recordings do."""
        if self.exponent is not None:
            return f"{space}_eig{eig_id}_exp{self.exponent:.1f}_lin{step:.1f}"
        return f"{space}_eig{eig_id}_lin{step:.2f}"

    def _shows_origin(self, space: str, eig_id: int) -> bool:
        first = self.origin == "first" and eig_id == 0
        return self.origin == "every" or first or (space, eig_id) in self.also_origin


@dataclass(frozen=True)
class AxisTruth:
    """The tuning that a simulated site has along one axis.

    Attributes
    ----------
    kind : {"bell", "ramp", "rugged", "flat"}
    center, width : float
        Of a bell, in units of the half axis; NaN for the others.
    depth : float
        Share of the response that is tuned, or the rise of a ramp over the half axis.
    phase : float
        Of the wave of a rugged axis.
    """

    kind: str
    center: float
    width: float
    depth: float
    phase: float

    def rate(self, position: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rate over that to the evolved image, at positions in units of the half axis."""
        return np.clip(self._curve(position) / self._curve(np.zeros(())), 0.1, 2.5)

    def _curve(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.kind == "bell":
            bump = np.exp(-(((u - self.center) / self.width) ** 2) / 2)
            return 1 - self.depth + self.depth * bump
        if self.kind == "ramp":
            return 1 + self.depth * u
        if self.kind == "rugged":
            return 1 + self.depth * np.cos(2 * np.pi * 1.2 * u + self.phase)
        return np.ones_like(u)


def simulate_tuning_sessions(
    folder: str | os.PathLike[str],
    seed: int,
    n_sessions: int | None = None,
    session_icc: float = 0.0,
) -> list[Path]:
    """Write simulated tuning sessions, the list of them, and the tuning that went into them.

    All 55 sessions take some 15 s and 130 MB. A file has three units where a recorded one has 70 to
    120, and is marked as simulated.

    Parameters
    ----------
    folder : path-like
        Where to write; serves as MATROOT.
    seed : int
        The same seed gives the same sessions, whatever their number.
    n_sessions : int, optional
        Fewer sessions: `EXAMPLES`, and others spread over the list.
    session_icc : float, default 0
        How alike the kinds of tuning of a session's axes are, from 0 to below 1 (intraclass
        correlation); in the recordings between 0 and 0.1.

    Returns
    -------
    list of pathlib.Path
        The session files ``{ephysFN}.pkl``.

    Raises
    ------
    UsageError
        If `n_sessions` is not between 3 and 55, or `session_icc` not between 0 and 1.
    CannotWriteError
        If the folder cannot be written.
    """
    folder = Path(folder)
    records = choose_sessions(n_sessions)
    paths, truths = [], []
    for record in records:
        session, truth = simulate_session(record, seed, session_icc)
        paths.append(folder / f"{record.ephys_name}.pkl")
        with atomic_write(paths[-1]) as unfinished:
            unfinished.write_bytes(pickle.dumps(session, protocol=4))
        truths.append(truth)
    with atomic_write(folder / TRUTH_FILE) as unfinished:
        pd.concat(truths, ignore_index=True).to_csv(unfinished, index=False)
    with atomic_write(folder / SESSION_LIST_FILE) as unfinished:
        _session_list(records).to_csv(unfinished, index=False)
    note: dict[str, Any] = {"simulated": True, "seed": seed, "n_sessions": len(records)}
    if session_icc:
        note["session_icc"] = session_icc
    write_json(folder / SIMULATED_MARKER, note)
    return paths


def choose_sessions(n_sessions: int | None = None) -> list[SessionRecord]:
    """Return all sessions, or some: the `EXAMPLES` and others spread over the list, in its order.

    Raises
    ------
    UsageError
        If there are not so many, or fewer than examples are wanted.
    """
    records = list(published_sessions())
    if n_sessions is None:
        return records
    if not len(EXAMPLES) <= n_sessions <= len(records):
        raise UsageError(
            f"{n_sessions} tuning sessions cannot be simulated; give {len(EXAMPLES)} to "
            f"{len(records)}."
        )
    others = [record for record in records if record.ephys_name not in EXAMPLES]
    spread = np.linspace(0, len(others) - 1, n_sessions - len(EXAMPLES)).round().astype(int)
    chosen = {*EXAMPLES, *(others[i].ephys_name for i in spread)}
    return [record for record in records if record.ephys_name in chosen]


def simulate_session(
    record: SessionRecord, seed: int, session_icc: float = 0.0
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Simulate one session.

    Parameters
    ----------
    record : SessionRecord
        Which one.
    seed : int
        Of the simulation; the session's own follows from it and from its name.
    session_icc : float, default 0
        See `simulate_tuning_sessions`.

    Returns
    -------
    session : dict
        rasters, meta and Trials, as in the authors' pickles.
    truth : pandas.DataFrame
        One row per axis: kind, centre, width and depth of the tuning, rate at the origin.
    """
    own = [seed, zlib.crc32(record.ephys_name.encode())]
    rng, shown = np.random.default_rng(own), axis_set(record)
    chances = _chances_of_session(bool(record.success), session_icc, own)
    truth = {
        (space, eig_id): _draw_truth(record, chances, rng) for space, eig_id, _ in shown.axes()
    }
    truth |= _KNOWN_TRUTH.get(record.ephys_name, {})
    origin_rate = _draw_origin_rate(record, rng)
    images, half = list(shown.images()), max(shown.steps)
    rate = origin_rate * np.array(
        [truth[space, eig_id].rate(np.array(step / half)) for space, eig_id, step in images]
    )
    order = _presentation_order(len(images), shown.repeats, rng)
    names = np.array([shown.image_name(*image) for image in images], dtype=object)
    session = {
        "rasters": _rasters(rate[order], origin_rate, record, rng),
        "meta": _meta(record),
        "Trials": {"imageName": names[np.newaxis, order]},
    }
    rows = [
        {"ephysFN": record.ephys_name, "space_name": space, "eig_id": eig_id,
         "kind": tuned.kind, "center": tuned.center * half, "width": tuned.width * half,
         "depth": tuned.depth, "origin_rate": origin_rate}
        for (space, eig_id), tuned in truth.items()
    ]  # fmt: skip
    return session, pd.DataFrame(rows)


def axis_set(record: SessionRecord) -> AxisSet:
    """Return the images that a session showed, as far as that is known."""
    if record.ephys_name in _SETS_OF_SESSIONS:
        return _SETS_OF_SESSIONS[record.ephys_name]
    return next(
        axes
        for animal, first, last, axes in _SETS_OF_EXPERIMENTS
        if animal == record.animal and first <= record.expi <= last
    )


def _chances_of_session(
    success: bool, icc: float, seed: Sequence[int]
) -> NDArray[np.float64]:
    """Chances of the kinds of tuning in one session.

    From Dirichlet(s · chances): two axes of a session are of one kind with the intraclass
    correlation 1 / (s + 1).
    """
    chances = np.array(CHANCES[success])
    if not 0 <= icc < 1:
        raise UsageError(f"an intraclass correlation of {icc} is not between 0 and 1.")
    if icc == 0:
        return chances
    return np.random.default_rng([*seed, 1]).dirichlet((1 / icc - 1) * chances)


def _draw_truth(
    record: SessionRecord, chances: NDArray[np.float64], rng: np.random.Generator
) -> AxisTruth:
    success = bool(record.success)
    kind = str(rng.choice(KINDS, p=chances))
    center = float(np.clip(CENTER_SD[success] * rng.standard_normal(), -1, 1))
    width, deep = rng.uniform(0.4, 0.7), rng.uniform(0.5, 0.8)
    rise, wave = rng.choice((-1, 1)) * rng.uniform(0.25, 0.5), rng.uniform(0.2, 0.35)
    phase = float(rng.uniform(0, 2 * np.pi))
    if kind == "bell":
        return AxisTruth(kind, center, float(width), float(deep), 0.0)
    depth = {"ramp": rise, "rugged": wave, "flat": 0.0}[kind]
    return AxisTruth(kind, np.nan, np.nan, float(depth), phase if kind == "rugged" else 0.0)


def _draw_origin_rate(record: SessionRecord, rng: np.random.Generator) -> float:
    median, log_sd = ORIGIN_RATE
    drawn = float(np.clip(median * np.exp(log_sd * rng.standard_normal()), *ORIGIN_RATE_LIMITS))
    return EXAMPLE_RATES.get(record.ephys_name, drawn)


def _presentation_order(n_images: int, repeats: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Show every image `repeats` times, one in five once more, in random order."""
    extra = rng.random(n_images) < EXTRA_CHANCE if repeats > 1 else np.zeros(n_images, dtype=bool)
    shown = np.concatenate([np.tile(np.arange(n_images), repeats), np.flatnonzero(extra)])
    return rng.permutation(shown)


def _rasters(
    rate: NDArray[np.float64],
    origin_rate: float,
    record: SessionRecord,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Draw Poisson spikes and smooth them, (n_trials, 200 ms, 3 units) events/s.

    Smoothing turns a spike into 999 instead of 1000 events/s · ms.
    """
    time_ms = np.arange(PSTH_MS)
    peak = 1 + PEAK_HEIGHT * np.exp(-(((time_ms - PEAK_MS) / PEAK_SD_MS) ** 2) / 2)
    course = np.where(time_ms < LATENCY_MS, 0.0, peak / peak[slice(*EVOKED_MS)].mean())
    spontaneous = SPONTANEOUS_SHARE * origin_rate * (time_ms < LATENCY_MS)
    site = rate[:, np.newaxis] * course + spontaneous
    expected = np.empty((len(rate), PSTH_MS, 3))
    expected[:, :, 0], expected[:, :, 1] = OTHER_UNIT_RATE, site
    expected[:, :, 2] = SILENT_UNIT_RATE
    if record.pref_unit == 2:  # the first active unit of a channel is unit 1
        expected[:, :, 2], expected[:, :, 1] = site, OTHER_UNIT_RATE
    spikes = rng.poisson(expected / 1000).astype(np.float32)
    lag = np.arange(-SDF_REACH_MS, SDF_REACH_MS + 1)
    density = 1000 / (SDF_SIGMA_MS * np.sqrt(2 * np.pi)) * np.exp(-((lag / SDF_SIGMA_MS) ** 2) / 2)
    return scipy.ndimage.correlate1d(spikes, density, axis=1, mode="constant")


def _meta(record: SessionRecord) -> dict[str, Any]:
    """Describe a file: the first unit is on another channel, the other two on the site's."""
    channel = record.pref_channel
    meta: dict[str, Any] = {
        "spikeID": np.array([[channel % 64 + 1, channel, channel]], dtype=np.float64),
        "baselineWindowLength": 90,
        "rasterWindow": np.array([0, 200]),
        "sdf": "sdf",
        "ephysFN": record.ephys_name,
        "simulated": True,
    }
    if record.animal in ("Caos", "Diablito"):  # files of 2020 and 2021 do not number their units
        meta["unitID"] = np.array([[1, 1, 2 if record.pref_unit == 2 else 0]], dtype=np.float64)
    return meta


def _session_list(records: list[SessionRecord]) -> pd.DataFrame:
    """Lay out the list of sessions as the authors keep it."""
    columns = (
        "ChanQual", "Exp_collection", "Expi", "WebCam", "comments", "ephysFN", "expControlFN",
        "pref_chan", "pref_unit", "stim_size", "stimuli", "Animal",
    )  # fmt: skip
    rows = [
        {"Exp_collection": "BigGAN_Hessian", "comments": "simulated", "Expi": record.expi,
         "ephysFN": record.ephys_name, "pref_chan": record.pref_channel,
         "pref_unit": record.pref_unit, "Animal": record.animal}
        for record in records
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(columns))


def _without(steps: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(step for step in steps if step != 0)


def _broken_off_steps() -> Iterator[tuple[float, ...]]:
    """Yield the positions of the axes of a session that broke off; all have 0.4."""
    counts = [n for n, axes in sorted(_BROKEN_OFF.items()) for _ in range(axes)]
    from_end = _without(_STEPS_9)[::-1]
    with_first = (from_end[0], from_end[-1], *from_end[1:-1])
    for axis, n in enumerate(counts):
        yield (from_end if axis < _WITHOUT_FIRST_STEP else with_first)[:n]


_CLASS_13 = (0, 1, 2, 3, 6, 9, 13, 17, 21, 25, 30, 40, 60)
_NOISE_12 = (0, 1, 2, 3, 4, 5, 6, 8, 10, 20, 30, 40)
_CLASS_10 = (0, 1, 2, 3, 6, 9, 13, 21, 30, 60)
_NOISE_9 = (0, 1, 2, 3, 5, 8, 10, 20, 40)

_RECENT = AxisSet(_CLASS_10, _NOISE_9, repeats=8)
_RECENT_NOISE = AxisSet((), _NOISE_9, _STEPS_11, repeats=8)
_EARLY_25 = AxisSet(_CLASS_13, _NOISE_12, _EARLY_STEPS, repeats=4)
_EARLY_20 = replace(_EARLY_25, noise_ids=_NOISE_12[:7])
_EARLY_29 = replace(
    _EARLY_25, noise_ids=(*range(11), 15, 20, 25, 30, 40), only_origin=4, exponent=2.5
)
_FINE_31 = AxisSet((*_CLASS_13, 80), (*range(11), 12, 15, 20, 25, 30, 40), _STEPS_11, repeats=4)
_FINE_35 = replace(_FINE_31, class_ids=(*_CLASS_13, 4, 5, 8, 11, 80))
_EVERY_25 = AxisSet(_CLASS_13, _NOISE_12)
_FIRST_25 = replace(_EVERY_25, origin="first")
_FIRST_12 = AxisSet((0, 1, 2, 3, 6, 9), (0, 1, 2, 3, 4, 5), origin="first", repeats=7)
_FIRST_6 = replace(_FIRST_12, class_ids=(0, 1, 2), noise_ids=(0, 1, 2))

#: Animal, first and last experiment → images.
_SETS_OF_EXPERIMENTS = (
    ("Caos", 1, 1, _RECENT_NOISE),
    ("Caos", 2, 7, _RECENT),
    ("Diablito", 1, 5, _RECENT),
    ("Alfa", 1, 2, _EARLY_25),
    ("Alfa", 3, 3, _FINE_31),
    ("Alfa", 4, 4, _FINE_35),
    ("Alfa", 5, 14, _EVERY_25),
    ("Alfa", 15, 15, _FIRST_6),
    ("Alfa", 16, 16, replace(_FIRST_12, origin="none")),
    ("Alfa", 17, 17, _FIRST_12),
    ("Alfa", 18, 26, _FIRST_25),
    ("Beto", 1, 1, _EARLY_25),
    ("Beto", 2, 2, _EARLY_20),
    ("Beto", 3, 3, _EARLY_29),
    ("Beto", 4, 5, _FINE_31),
    ("Beto", 6, 6, _FINE_35),
    ("Beto", 7, 10, _EVERY_25),
    ("Beto", 11, 14, _FIRST_25),
)

#: Sessions that differ from the others of their experiment or time.
_SETS_OF_SESSIONS = {
    "Alfa-06082020-004": replace(_EARLY_25, exponent=2.5),
    "Alfa-27102020-007": replace(_FIRST_6, class_ids=(0, 1), noise_ids=(0, 1)),
    "Alfa-27102020-009": replace(
        _FIRST_6, class_ids=(0, 3, 6), noise_ids=(0, 3, 4), also_origin=(("class", 3),)
    ),
    "Alfa-13012021-003": replace(_FIRST_25, repeats=1, broken_off=True),
}

#: The printed Gaussian of Figure 6C: mean 0.05, SD 0.21, amplitude 142.87 on an offset of 56.18.
_KNOWN_TRUTH = {EXAMPLES[0]: {("class", 0): AxisTruth("bell", 0.125, 0.525, 0.72, 0.0)}}

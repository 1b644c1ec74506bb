"""The most used functions of the published `neuro_data_analysis`, thin over the objects here.

They take an experiment, ``S = recordings[Expi]``, where the paper's scripts take an element of
``BFEStats``, and return what those return. All are importable from `neural_data_lib` and
`neural_data_utils` as well; `PUBLISHED_NAMES.md` tells what became of the others.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.errors import UsageError, choose_from
from neuro_data_analysis.evolution.stats import Trials, pad_blocks
from neuro_data_analysis.neural_data_lib import Experiment, Recordings
from neuro_data_analysis.neural_data_utils import (
    AREAS,
    Session,
    area_of_channel,
    find_image,
    inclusion_masks,
    local_stimulus_folder,
    parse_session,
    success_masks,
)
from neuro_data_analysis.similarity.montages import CELL, PROTOTYPES, THREADS

__all__ = [
    "area_mapping",
    "extract_evol_activation_array",
    "extract_evol_psth_array",
    "extract_natref_activation_array",
    "get_Animal_expdate",
    "get_all_masks",
    "get_expstr",
    "load_img_resp_pairs",
    "pad_psth_traj",
    "pad_resp_traj",
    "parse_meta",
    "parse_montage",
]

#: Windows of a response and of its baseline, ms from image onset.
RESPONSE_MS, BASELINE_MS = range(50, 200), range(45)

#: Level of the mask of successful experiments.
SUCCESS_P = 0.05

Vector = NDArray[np.float64]
Numbers = NDArray[np.intp]


def get_expstr(BFEStats: Recordings, Expi: int) -> str:
    """Return the three lines that head the figures of an experiment."""
    return BFEStats.info(Expi).title


def parse_meta(S: Experiment) -> tuple[str, dt.datetime]:
    """Return animal and date of an experiment."""
    return _animal_and_date(S.info.session)


def get_Animal_expdate(ephysFN: str | None, expControlFN: str | None) -> tuple[str, dt.datetime]:
    """Return animal and date from the names of the two files of a session.

    Raises
    ------
    MalformedDataError
        As `core`'s `parse_session`: if neither can be read, or they disagree.
    """
    return _animal_and_date(parse_session(ephysFN, expControlFN))


def area_mapping(chan: int, Animal: str, date: dt.date) -> str:
    """Return the visual area that a channel of an animal recorded from on a day."""
    day = date.date() if isinstance(date, dt.datetime) else date
    return area_of_channel(Session(Animal, day), chan)


def extract_evol_activation_array(
    S: Experiment,
    thread: int,
    rsp_wdw: range = RESPONSE_MS,
    bsl_wdw: range = BASELINE_MS,
) -> tuple[list[Vector], list[Vector], list[Numbers], Vector, Vector, Numbers]:
    """Return responses and baselines of the evolved images of a thread, trial by trial.

    Parameters
    ----------
    S : Experiment
    thread : {0, 1}
        DeePSim or BigGAN.
    rsp_wdw, bsl_wdw : range
        Windows of response and baseline, ms from image onset.

    Returns
    -------
    resp_arr, bsl_arr, gen_arr : list of numpy.ndarray
        Block by block: responses and baselines, events/s, and generations from 1.
    resp_vec, bsl_vec, gen_vec : numpy.ndarray, shape (n_trials,)
        The same, joined.
    """
    return _activations(Trials.of(S.threads[_thread(thread)].blocks), rsp_wdw, bsl_wdw)


def extract_natref_activation_array(
    S: Experiment,
    thread: int,
    rsp_wdw: range = RESPONSE_MS,
    bsl_wdw: range = BASELINE_MS,
) -> tuple[list[Vector], list[Vector], list[Numbers], Vector, Vector, Numbers]:
    """Return the same as `extract_evol_activation_array` for the natural reference images."""
    return _activations(Trials.of(S.threads[_thread(thread)].references), rsp_wdw, bsl_wdw)


def extract_evol_psth_array(S: Experiment, thread: int) -> list[NDArray[np.float64]]:
    """Return the PSTHs of a thread block by block, each (200 ms, n_images), events/s."""
    return [block.psth for block in S.threads[_thread(thread)].blocks]


def load_img_resp_pairs(
    BFEStats: Recordings,
    Expi: int,
    ExpType: Literal["Evol", "natref"] = "Evol",
    thread: int = 0,
    stimdrive: str | Path = "N",
    output_fmt: Literal["vec", "arr"] = "vec",
    rsp_wdw: range = RESPONSE_MS,
    bsl_wdw: range = BASELINE_MS,
) -> tuple[list[Any], Any, Any, Any]:
    """Return the pictures of a thread with the responses to them, trial by trial.

    Parameters
    ----------
    BFEStats : Recordings
    Expi : int
    ExpType : {"Evol", "natref"}
        Evolved images, or natural reference images.
    thread : {0, 1}
    stimdrive : path-like
        What stands for the drive of the recorded folders: it holds ``Stimuli``.
    output_fmt : {"vec", "arr"}
        Joined, or a list by block.
    rsp_wdw, bsl_wdw : range
        As in `extract_evol_activation_array`.

    Returns
    -------
    imgpaths : list of pathlib.Path, or of lists
        Of evolved images where they would be; of reference images where they are.
    resp, bsl, gen : numpy.ndarray, or lists
        As `extract_evol_activation_array`.

    Raises
    ------
    UsageError
        If `ExpType`, `output_fmt` or `thread` is unknown.
    MissingDataError
        If there is no such experiment, or no picture of a reference image.
    """
    for given, known, what in (
        (ExpType, ("Evol", "natref"), "ExpType"),
        (output_fmt, ("vec", "arr"), "output_fmt"),
    ):
        if given not in known:
            raise UsageError(choose_from(given, known, what))
    experiment, names = BFEStats[Expi], BFEStats.image_names(Expi)
    chosen = experiment.threads[_thread(thread)]
    blocks = chosen.blocks if ExpType == "Evol" else chosen.references
    folder = local_stimulus_folder(experiment.info.stimuli, stimdrive)
    place = _evolved if ExpType == "Evol" else find_image
    paths = [[place(names[i], folder) for i in block.image_index] for block in blocks]
    parts = _activations(Trials.of(blocks), rsp_wdw, bsl_wdw)
    if output_fmt == "arr":
        return (paths, *parts[:3])
    return ([path for of_block in paths for path in of_block], *parts[3:])


def pad_resp_traj(
    resp_col: Mapping[int, NDArray[np.float64]],
) -> tuple[NDArray[np.float64], NDArray[np.bool_], int]:
    """Extend the trajectories of experiments to the longest, by the mean of their last two blocks.

    Parameters
    ----------
    resp_col : mapping of int to numpy.ndarray
        Expi → (blocks, …).

    Returns
    -------
    padded : numpy.ndarray, shape (n_experiments, max_len, …)
    mask : numpy.ndarray of bool, shape (n_experiments, max_len)
        True for recorded blocks.
    max_len : int
    """
    if not resp_col:
        raise UsageError("no trajectories were given; give at least one, Expi → (blocks, …).")
    lengths = np.array([len(trajectory) for trajectory in resp_col.values()])
    max_len = int(lengths.max())
    padded = np.stack([pad_blocks(np.asarray(one), max_len) for one in resp_col.values()])
    return padded, np.arange(max_len) < lengths[:, np.newaxis], max_len


pad_psth_traj = pad_resp_traj


def parse_montage(mtg: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Cut a montage of prototypes into its twelve pictures.

    Parameters
    ----------
    mtg : numpy.ndarray, shape (672, 896, 3)

    Returns
    -------
    dict of str to numpy.ndarray, each (224, 224, 3)
        ``FC_maxblk``, ``BG_reevol_G``, …: row (FC, BG, both) and column (maxblk, maxblk_avg,
        reevol_G, reevol_pix).

    Raises
    ------
    UsageError
        If it has another size.
    """
    expected = (len(THREADS) * CELL, len(PROTOTYPES) * CELL)
    if np.shape(mtg)[:2] != expected:
        raise UsageError(f"a montage of shape {np.shape(mtg)} was given; expected {expected}.")
    return {
        f"{thread}_{prototype}": mtg[row * CELL :, column * CELL :][:CELL, :CELL]
        for row, thread in enumerate(THREADS)
        for column, prototype in enumerate(PROTOTYPES)
    }


def get_all_masks(meta_df: pd.DataFrame) -> tuple[pd.Series, ...]:
    """Return the eleven masks of experiments, in the published order.

    Parameters
    ----------
    meta_df : pandas.DataFrame
        `Population.meta`, or the published table.

    Returns
    -------
    tuple of pandas.Series of bool
        Animal A (Alfa), B (Beto); V1, V4, IT; long enough; spaces fc6 and BigGAN; success of
        either thread (P < 0.05); baseline unstable, stable; valid.
    """
    rules = inclusion_masks(meta_df)
    success = success_masks(meta_df, SUCCESS_P)["anysucc"]
    return (
        *(meta_df["Animal"] == animal for animal in ("Alfa", "Beto")),
        *(meta_df["visual_area"] == area for area in AREAS),
        rules["long_enough"],
        rules["fc6_and_BigGAN"],
        success,
        ~rules["stable"],
        rules["stable"],
        rules["valid"],
    )


def _activations(
    trials: Trials, rsp_wdw: range, bsl_wdw: range
) -> tuple[list[Vector], list[Vector], list[Numbers], Vector, Vector, Numbers]:
    windows = [(window.start, window.stop) for window in (rsp_wdw, bsl_wdw)]
    response, baseline = trials.window_means(windows)
    generation = trials.block_number
    return (
        trials.per_block(response),
        trials.per_block(baseline),
        np.split(generation, np.cumsum(trials.block_sizes)[:-1]),
        response,
        baseline,
        generation,
    )


def _thread(thread: int) -> int:
    if thread not in (0, 1):
        raise UsageError(f"thread {thread!r} was given; 0 is DeePSim, 1 is BigGAN.")
    return int(thread)


def _evolved(name: str, folder: Path) -> Path:
    return folder / f"{name}.bmp"


def _animal_and_date(session: Session) -> tuple[str, dt.datetime]:
    return session.animal, dt.datetime.combine(session.date, dt.time())

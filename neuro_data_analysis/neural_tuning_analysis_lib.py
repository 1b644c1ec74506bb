"""Tuning of one site along Hessian axes: trials, axes, synopsis of each axis, fits of all axes.

The path of Figure 6: `load_site` turns a recorded session into single-trial responses, `axes_of`
sorts them by axis, `tuning_synopsis` says whether and where the site is tuned, and `fit_axes` draws
curves through every axis of many sites and classifies their shape.
"""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from joblib import Parallel, cpu_count, delayed  # type: ignore[import-untyped]
from numpy.typing import NDArray

from core.brief import brief
from core.errors import MalformedDataError, UsageError, choose_from
from core.progress import progress
from core.published_names import door
from core.source_tables.peaks import COMMON_END, peak_bin
from neuro_data_analysis.evolution.stats import BASELINE_MS, EVOKED_MS
from neuro_data_analysis.tuning.fits import GaussianFit, LineFit, fit_gaussian, fit_line
from neuro_data_analysis.tuning.process import ProcessFit, fit_process
from neuro_data_analysis.tuning.sessions import (
    SessionRecord,
    TuningSession,
    parse_stimulus_names,
    read_session,
)
from neuro_data_analysis.tuning.statistics import Anova, Levels, one_way_anova

logger = logging.getLogger(__name__)

#: The two halves of BigGAN's latent space, in the order of every table.
SUBSPACES = ("class", "noise")

Fill = Literal["both spaces", "same space", "none"]

#: Whose origin trials an axis without any takes over: of the whole session (published data), of its
#: space (an earlier analysis), or none.
FILL_RULES: tuple[Fill, ...] = ("both spaces", "same space", "none")

#: Columns of the synopsis, one row per axis.
SYNOPSIS_COLUMNS = (
    "space_name", "eig_id", "F_value", "p_value", "stats_str", "lin_dist_set", "lin_dist_num",
    "avg_resp_per_lin_dist", "repeat_per_lin_dist", "max_resp_lin_dist", "max_resp_val",
    "Animal", "Expi", "ephysFN", "stimuli", "prefchan", "prefunit", "prefchan_str",
    "prefchan_bsl_mean", "prefchan_bsl_sem", "Exp_id", "max_resp_lin_dist_bin",
    "is_BigGAN_evol_success",
)  # fmt: skip

#: Columns of the table of fits and shapes, one row per axis of more than one level.
SHAPE_COLUMNS = (
    "Animal", "Expi", "ephysFN", "space", "eig_id", "x_values", "y_values",
    "anova_F_value", "anova_p_value", "anova_R2", "ols_R2", "ols_slope", "ols_intercept",
    "gauss_R2", "gauss_fit_amplitude", "gauss_fit_center", "gauss_fit_sigma", "gauss_fit_offset",
    "gpr_R2", "gpr_x_eval", "gpr_y_mean", "gpr_y_std", "Exp_id",
    "gpr_y_is_unimodal", "gpr_y_is_monotonic", "gpr_y_is_bellshaped",
    "is_BigGAN_evol_success", "is_common_axis",
)  # fmt: skip

#: Columns of the list of what is missing and why.
MISSING_COLUMNS = ("ephysFN", "space", "eig_id", "quantity", "reason")


@dataclass(frozen=True)
class TuningAxis:
    """The trials of one axis.

    Attributes
    ----------
    space : {"class", "noise"}
    eig_id : int
        Rank of the Hessian eigenvector, 0 the largest.
    distance : numpy.ndarray
        (n_trials,) position of the image: signed perceptual distance from the evolved image, a step
        in the latent space in the sessions before 12 August 2020.
    response : numpy.ndarray
        (n_trials,) events/s.
    """

    space: str
    eig_id: int
    distance: NDArray[np.float64]
    response: NDArray[np.float64]

    __repr__ = brief

    @cached_property
    def levels(self) -> Levels:
        """Responses grouped by position."""
        return Levels.of(self.distance, self.response)

    @cached_property
    def anova(self) -> Anova:
        """Whether the site is tuned along the axis."""
        return one_way_anova(self.distance, self.response)

    @property
    def reaches_common_end(self) -> bool:
        """Whether the last position is 0.4, the criterion of the peak locations."""
        return bool(self.distance.max() == COMMON_END)

    @property
    def is_common(self) -> bool:
        """Whether the axis runs from −0.4 to 0.4, the criterion of the shapes."""
        return self.reaches_common_end and bool(self.distance.min() == -COMMON_END)


@dataclass(frozen=True)
class TunedSite:
    """The preferred site of a session, without its rasters.

    Attributes
    ----------
    record : SessionRecord
        What the session was.
    trials : pandas.DataFrame
        Single trials, see `single_trials`.
    baseline_mean, baseline_sem : float
        Baseline rate over all trials and its standard error (ddof 1; NaN for one trial), events/s.
    simulated : bool
        Whether a simulator made the session.
    """

    record: SessionRecord
    trials: pd.DataFrame
    baseline_mean: float
    baseline_sem: float
    simulated: bool = False

    __repr__ = brief

    def axes(self, fill: Fill = "both spaces") -> list[TuningAxis]:
        """Return the axes of the session, see `axes_of`."""
        return list(axes_of(self.trials, fill))


@dataclass(frozen=True)
class AxisFit:
    """Everything fitted to one axis."""

    line: LineFit
    gaussian: GaussianFit
    process: ProcessFit

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield what could not be fitted, and why."""
        for name, fit in (("ols", self.line), ("gauss", self.gaussian), ("gpr", self.process)):
            if fit.problem:
                yield name, fit.problem


def load_site(folder: str | os.PathLike[str], record: SessionRecord) -> TunedSite:
    """Read a session and reduce it to the single trials of its preferred site.

    Parameters
    ----------
    folder : path-like
        MATROOT.
    record : SessionRecord
        Which session, and which site.

    Returns
    -------
    TunedSite

    Raises
    ------
    MissingDataError
        If the session is not there.
    MalformedDataError
        If it cannot be read, holds no such unit, or shows no image of a Hessian axis.
    """
    session = read_session(folder, record.ephys_name)
    trials, baseline = single_trials(session, record.pref_channel, record.pref_unit)
    n_trials = len(baseline)
    sem = float(baseline.std(ddof=1) / np.sqrt(n_trials)) if n_trials > 1 else np.nan
    return TunedSite(record, trials, float(baseline.mean()), sem, session.simulated)


def single_trials(
    session: TuningSession, channel: int, unit: int
) -> tuple[pd.DataFrame, NDArray[np.float64]]:
    """Response and baseline of one unit to every image shown.

    Parameters
    ----------
    session : TuningSession
    channel, unit : int
        The unit.

    Returns
    -------
    trials : pandas.DataFrame
        ``img_name``, ``pref_unit_resp`` (mean rate 50–200 ms, events/s), ``space_name``,
        ``eig_id``, ``lin_dist``, ``hessian_img`` and, in the first sessions, ``exp_value``.
    baseline : numpy.ndarray
        (n_trials,) mean rate 0–45 ms, events/s.

    Raises
    ------
    MalformedDataError
        If there is not exactly one such unit, or no image belongs to an axis.
    """
    psth = session.psth(channel, unit)
    try:
        images = parse_stimulus_names(session.image_names)
    except MalformedDataError as error:
        raise MalformedDataError(f"{session.path}: {error}.") from error
    images.insert(1, "pref_unit_resp", psth[:, slice(*EVOKED_MS)].mean(axis=1))
    return images, psth[:, slice(*BASELINE_MS)].mean(axis=1)


def axes_of(trials: pd.DataFrame, fill: Fill = "both spaces") -> Iterator[TuningAxis]:
    """Sort single trials by axis, class before noise, eigenvectors ascending.

    Some sets show the origin image only under eigenvector 0. An axis without it takes over the
    origin trials of the session; nothing is interpolated.

    Parameters
    ----------
    trials : pandas.DataFrame
        See `single_trials`; ``eig_id`` may be a number or the text of one.
    fill : {"both spaces", "same space", "none"}
        Whose origin trials: of both spaces (as in the published data), of the axis' own space, or
        none.

    Yields
    ------
    TuningAxis
    """
    if fill not in FILL_RULES:
        raise UsageError(choose_from(fill, FILL_RULES, "rule for missing origins"))
    shown = trials[trials["space_name"].notna() & trials["lin_dist"].notna()]
    shown = shown.assign(eig_id=shown["eig_id"].astype(float).astype(int))
    origin = shown[shown["lin_dist"] == 0]
    for space in SUBSPACES:
        of_space = origin if fill == "both spaces" else origin[origin["space_name"] == space]
        in_space = shown[shown["space_name"] == space]
        for eig_id in np.unique(in_space["eig_id"]):
            axis = in_space[in_space["eig_id"] == eig_id]
            if fill != "none" and not (axis["lin_dist"] == 0).any():
                axis = pd.concat([axis, of_space])
            distance, response = axis[["lin_dist", "pref_unit_resp"]].to_numpy(dtype=float).T
            yield TuningAxis(space, int(eig_id), distance, response)


def average_responses(site: TunedSite) -> pd.DataFrame:
    """Mean response of a site to every image, axis by axis (Figure 6D).

    Returns
    -------
    pandas.DataFrame
        One row per axis and position: who, baseline, ``eig_id``, ``space_name``, ``lin_dist``,
        ``pref_unit_resp`` (events/s) and ``n_repeats``. Origins are not filled in.
    """
    record = site.record
    parts = [
        pd.DataFrame(
            {
                "ephysFN": record.ephys_name,
                "prefchan": record.pref_channel,
                "prefunit": record.pref_unit,
                "prefchan_str": record.unit_label,
                "bsl_mean": site.baseline_mean,
                "bsl_sem": site.baseline_sem,
                "eig_id": axis.eig_id,
                "space_name": axis.space,
                "lin_dist": axis.levels.distance,
                "pref_unit_resp": axis.levels.mean,
                "n_repeats": axis.levels.count,
            }
        )
        for axis in site.axes(fill="none")
    ]
    return pd.concat(parts, ignore_index=True)


def tuning_synopsis(sites: Iterable[TunedSite], fill: Fill = "both spaces") -> pd.DataFrame:
    """Tell of every axis whether the site is tuned along it, and where it responds most.

    Parameters
    ----------
    sites : iterable of TunedSite
    fill : {"both spaces", "same space", "none"}
        See `axes_of`.

    Returns
    -------
    pandas.DataFrame
        One row per axis, columns `SYNOPSIS_COLUMNS`. Where the analysis of variance is not defined,
        F and p are missing and ``stats_str`` tells why.
    """
    rows = [_synopsis_row(site, axis) for site in sites for axis in site.axes(fill)]
    return pd.DataFrame(rows, columns=list(SYNOPSIS_COLUMNS))


def fit_axis(axis: TuningAxis, seed: int) -> AxisFit:
    """Fit a line, a Gaussian and a Gaussian process to the single trials of an axis.

    Parameters
    ----------
    axis : TuningAxis
    seed : int
        Of the restarts of the process.

    Returns
    -------
    AxisFit
        A degenerate axis gives missing values with a reason in each fit's ``problem``.
    """
    x, y = axis.distance, axis.response
    return AxisFit(fit_line(x, y), fit_gaussian(x, y), fit_process(x, y, seed))


def fit_axes(
    sites: Sequence[TunedSite],
    seed: int,
    fill: Fill = "both spaces",
    workers: int | None = None,
    show_progress: bool = False,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fit every axis of some sites, several at a time.

    The seed of an axis follows from `seed`, session, space and eigenvector, so that neither the
    number of workers nor the other sessions change its fit.

    Parameters
    ----------
    sites : sequence of TunedSite
    seed : int
        Of the restarts of the Gaussian processes.
    fill : {"both spaces", "same space", "none"}
        See `axes_of`.
    workers : int, optional
        Processes; default one per CPU.
    show_progress : bool, default False
        Whether to show a bar, on a terminal only.

    Returns
    -------
    shapes : pandas.DataFrame
        One row per axis of more than one level, columns `SHAPE_COLUMNS`; arrays in cells.
    missing : pandas.DataFrame
        One row per value that is missing, columns `MISSING_COLUMNS`.
    """
    pairs = [(site, axis) for site in sites for axis in site.axes(fill) if axis.levels.n > 1]
    if not pairs:
        raise MalformedDataError("no session has an axis of more than one level; nothing to fit.")
    tasks = (delayed(fit_axis)(axis, axis_seed(seed, site, axis)) for site, axis in pairs)
    n_jobs = min(workers or cpu_count(), len(pairs))
    fits = Parallel(n_jobs=n_jobs, return_as="generator")(tasks)
    shown = progress(fits, "fitting axes", "axes", len(pairs)) if show_progress else fits
    results = list(zip(pairs, shown, strict=True))
    _report([fit.process for _, fit in results])
    rows = [_shape_row(site, axis, fit) for (site, axis), fit in results]
    missing = [
        (site.record.ephys_name, axis.space, axis.eig_id, quantity, reason)
        for (site, axis), fit in results
        for quantity, reason in (("anova", axis.anova.problem), *fit.problems())
        if reason
    ]
    return (
        pd.DataFrame(rows, columns=list(SHAPE_COLUMNS)),
        pd.DataFrame(missing, columns=list(MISSING_COLUMNS)),
    )


def axis_seed(seed: int, site: TunedSite, axis: TuningAxis) -> int:
    """Derive the seed of one axis from that of an analysis and from what the axis is."""
    name = f"{site.record.ephys_name}/{axis.space}/{axis.eig_id}"
    sequence = np.random.SeedSequence([seed, zlib.crc32(name.encode())])
    return int(sequence.generate_state(1)[0])


def _synopsis_row(site: TunedSite, axis: TuningAxis) -> dict[str, object]:
    levels, anova, record = axis.levels, axis.anova, site.record
    peak = float(levels.distance[levels.peak])
    return {
        "space_name": axis.space,
        "eig_id": axis.eig_id,
        "F_value": anova.f,
        "p_value": anova.p,
        "stats_str": str(anova),
        "lin_dist_set": levels.distance.tolist(),
        "lin_dist_num": levels.n,
        "avg_resp_per_lin_dist": levels.mean.tolist(),
        "repeat_per_lin_dist": levels.count.tolist(),
        "max_resp_lin_dist": peak,
        "max_resp_val": float(levels.mean[levels.peak]),
        "Animal": record.animal,
        "Expi": record.expi,
        "ephysFN": record.ephys_name,
        "stimuli": record.stimuli,
        "prefchan": record.pref_channel,
        "prefunit": record.pref_unit,
        "prefchan_str": record.unit_label,
        "prefchan_bsl_mean": site.baseline_mean,
        "prefchan_bsl_sem": site.baseline_sem,
        "Exp_id": record.exp_id,
        "max_resp_lin_dist_bin": float(peak_bin(peak)),
        "is_BigGAN_evol_success": record.success,
    }


def _shape_row(site: TunedSite, axis: TuningAxis, fit: AxisFit) -> dict[str, object]:
    record, shape = site.record, fit.process.shape
    return {
        "Animal": record.animal,
        "Expi": record.expi,
        "ephysFN": record.ephys_name,
        "space": axis.space,
        "eig_id": axis.eig_id,
        "x_values": axis.distance,
        "y_values": axis.response,
        "anova_F_value": axis.anova.f,
        "anova_p_value": axis.anova.p,
        "anova_R2": axis.anova.r2,
        "ols_R2": fit.line.r2,
        "ols_slope": fit.line.slope,
        "ols_intercept": fit.line.intercept,
        "gauss_R2": fit.gaussian.r2,
        "gauss_fit_amplitude": fit.gaussian.amplitude,
        "gauss_fit_center": fit.gaussian.center,
        "gauss_fit_sigma": fit.gaussian.sigma,
        "gauss_fit_offset": fit.gaussian.offset,
        "gpr_R2": fit.process.r2,
        "gpr_x_eval": fit.process.x,
        "gpr_y_mean": fit.process.mean,
        "gpr_y_std": fit.process.std,
        "Exp_id": record.exp_id,
        "gpr_y_is_unimodal": shape.unimodal,
        "gpr_y_is_monotonic": shape.monotonic,
        "gpr_y_is_bellshaped": shape.bellshaped,
        "is_BigGAN_evol_success": record.success,
        "is_common_axis": axis.is_common,
    }


def _report(processes: Sequence[ProcessFit]) -> None:
    """Say how the searches ended; counted here rather than warned of a thousand times."""
    unconverged = sum(process.n_unconverged > 0 for process in processes)
    bounds = {
        name: sum(name in process.at_bound for process in processes)
        for name in ("amplitude", "length_scale", "noise")
    }
    logger.info(
        "%d Gaussian processes: some search did not converge in %d; at a bound: %s",
        len(processes),
        unconverged,
        ", ".join(f"{name} in {count}" for name, count in bounds.items()),
    )


if not TYPE_CHECKING:
    __getattr__ = door(__name__)

"""The source-data tables of Figure 6, from recorded tuning sessions."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pandas as pd

from core.brief import brief
from core.errors import MalformedDataError, MissingDataError, UsageError, choose_from
from core.progress import progress
from core.source_tables.peaks import COMMON_END
from core.source_tables.reader import Table
from neuro_data_analysis.neural_tuning_analysis_lib import (
    MISSING_COLUMNS,
    Fill,
    TunedSite,
    average_responses,
    fit_axes,
    load_site,
    tuning_synopsis,
)
from neuro_data_analysis.tuning.sessions import read_session_list
from neuro_data_analysis.tuning.success import with_computed_success

logger = logging.getLogger(__name__)

#: Session of Figure 6C, and those of Figure 6D after a successful and a failed evolution.
EXAMPLE_6C = "Beto-07092020-003"
EXAMPLES_6D = {"successful": "Caos-12102024-003", "failed": "Alfa-08092020-004"}

Success = Literal["published", "computed"]

#: Where success flags come from: the published list, or our test wherever an evolution was
#: recorded (an inferred definition, see `tuning_success`).
SUCCESS_SOURCES: tuple[Success, ...] = ("published", "computed")


@dataclass(frozen=True)
class TuningPopulation:
    """The sites of some sessions.

    Attributes
    ----------
    sites : tuple of TunedSite
        One per session that could be read, in the order of the list.
    left_out : mapping of str to str
        ephysFN → why a session is in no table.
    """

    sites: tuple[TunedSite, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)

    __repr__ = brief

    @property
    def simulated(self) -> bool:
        """Whether a simulator made the sessions."""
        return any(site.simulated for site in self.sites)

    def site(self, ephys_name: str) -> TunedSite | None:
        """Return the site of a session; None if the session is not there."""
        return next((s for s in self.sites if s.record.ephys_name == ephys_name), None)


def collect_sites(
    matroot: str | os.PathLike[str],
    success: Success = "published",
    show_progress: bool = False,
) -> TuningPopulation:
    """Read every session of the list, one in memory at a time, and keep its single trials.

    Parameters
    ----------
    matroot : path-like
        Folder of the recordings.
    success : {"published", "computed"}
        Where the success flags come from, see `SUCCESS_SOURCES`.
    show_progress : bool, default False
        Whether to show a bar, on a terminal only.

    Returns
    -------
    TuningPopulation
        Sessions that cannot be read are left out, with the reason.

    Raises
    ------
    MissingDataError
        If no session can be read.
    MalformedDataError
        If some sessions are simulated and some are not, or the list of sessions is malformed.
    """
    if success not in SUCCESS_SOURCES:
        raise UsageError(choose_from(success, SUCCESS_SOURCES, "source of success flags"))
    records = read_session_list(matroot)
    if success == "computed":
        records = with_computed_success(matroot, records)
    sites, left_out = [], {}
    for record in progress(records, "reading sessions", "sessions") if show_progress else records:
        try:
            sites.append(load_site(matroot, record))
        except (MissingDataError, MalformedDataError) as error:
            left_out[record.ephys_name] = str(error)
    if not sites:
        first = next(iter(left_out.values()), "the list of sessions is empty")
        raise MissingDataError(f"{Path(matroot)} holds no tuning session that can be read: {first}")
    for name, reason in left_out.items():
        logger.warning("session %s is in no table: %s", name, reason)
    if len({site.simulated for site in sites}) > 1:
        raise MalformedDataError(
            f"{Path(matroot)} mixes simulated and recorded tuning sessions; keep them apart."
        )
    return TuningPopulation(tuple(sites), left_out)


def figure6_tables(
    population: TuningPopulation,
    seed: int = 0,
    fill: Fill = "both spaces",
    workers: int | None = None,
    show_progress: bool = False,
) -> Iterator[Table]:
    """Yield the tables of Figure 6.

    Parameters
    ----------
    population : TuningPopulation
    seed : int, default 0
        Of the restarts of the fits; the same seed gives the same tables.
    fill : {"both spaces", "same space", "none"}
        What an axis without origin trials takes over, see `neural_tuning_analysis_lib.axes_of`.
    workers : int, optional
        Processes that fit; default one per CPU.
    show_progress : bool, default False
        Whether to show a bar while fitting, on a terminal only.

    Yields
    ------
    Table
        An example whose session is not there is left out. Sessions without a success flag are in
        the synopsis but not in the shapes and peaks, which compare successful and failed
        evolutions. `Fig6/missing` lists all that is missing.
    """
    yield from _example_tables(population)
    flagged = [site for site in population.sites if site.record.success is not None]
    shapes, missing = fit_axes(flagged, seed, fill, workers, show_progress)
    yield Table("Fig6/shapes", shapes)
    yield Table("Fig6/shapes_pickle", shapes)
    synopsis = tuning_synopsis(population.sites, fill)
    yield Table("Fig6/peaks", peak_table(synopsis))
    yield Table("Fig6/synopsis", synopsis)
    unflagged = {
        site.record.ephys_name: "neither a published success flag nor a recorded evolution"
        for site in population.sites
        if site.record.success is None
    }
    yield Table("Fig6/missing", _missing_table(population.left_out, unflagged, synopsis, missing))



def peak_table(synopsis: pd.DataFrame) -> pd.DataFrame:
    """Choose the axes whose last position is 0.4, of sessions with a success flag (Figure 6E).

    Parameters
    ----------
    synopsis : pandas.DataFrame
        See `neural_tuning_analysis_lib.tuning_synopsis`.
    """
    ends = synopsis["lin_dist_set"].map(max) == COMMON_END
    return synopsis[ends & synopsis["is_BigGAN_evol_success"].notna()].reset_index(drop=True)


def _example_tables(population: TuningPopulation) -> Iterator[Table]:
    examples = {"trials": (EXAMPLE_6C, lambda site: site.trials)}
    for evolution, name in EXAMPLES_6D.items():
        examples[f"responses_{evolution}"] = (name, average_responses)
    for key, (name, make) in examples.items():
        site = population.site(name)
        if site is None:
            logger.warning("table Fig6/%s is left out: session %s is not there", key, name)
            continue
        table = make(site)
        yield Table(f"Fig6/{key}", table)
        yield Table(f"Fig6/{key}_pickle", table)


def _missing_table(
    left_out: Mapping[str, str],
    unflagged: Mapping[str, str],
    synopsis: pd.DataFrame,
    missing: pd.DataFrame,
) -> pd.DataFrame:
    """List sessions in no table, sessions without a flag, axes without fits, values missing."""
    one_level = synopsis[synopsis["lin_dist_num"] < 2]
    rows = [
        *((name, None, None, "session", reason) for name, reason in left_out.items()),
        *((name, None, None, "shapes and peaks", reason) for name, reason in unflagged.items()),
        *(
            (axis["ephysFN"], axis["space_name"], axis["eig_id"], "all fits", "one level")
            for axis in one_level.to_dict("records")
        ),
        *missing.itertuples(index=False, name=None),
    ]
    return pd.DataFrame(rows, columns=list(MISSING_COLUMNS), dtype=object)

"""Did the BigGAN evolution before a tuning session succeed? Tested from its recording.

The published flags ship with the package (`tuning_sessions`). How they were made is not known
beyond "two-sample t test of the last against the initial block(s) of thread 1, p < 0.01". The test
here is an inferred definition: two blocks each, pooled variance, two-sided, no condition on the
sign, the last-block rule of the other figures.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.errors import MalformedDataError, MissingDataError
from core.spaces import Space
from core.utils.statistics.t_tests import student
from neuro_data_analysis.evolution.stats import EVOKED_MS, MIN_IMAGES_LAST_BLOCK, Trials
from neuro_data_analysis.neural_data_lib import load_neural_data
from neuro_data_analysis.tuning.sessions import SessionRecord, read_session

logger = logging.getLogger(__name__)

#: Criterion of a successful evolution.
SUCCESS_P_BELOW = 0.01

#: Blocks compared at each end (inferred, see above).
BLOCKS_COMPARED = 2

_EVOLVED_NAME = r"^block(?P<block>\d+)_thread(?P<thread>\d+)_gen_"


@dataclass(frozen=True)
class EvolutionTest:
    """Last against first blocks of the BigGAN thread; NaN where there are too few blocks."""

    t: float
    p: float

    @property
    def success(self) -> bool:
        """Whether p < 0.01, whatever the sign; a missing p is no success."""
        return bool(self.p < SUCCESS_P_BELOW)


def with_computed_success(
    folder: str | os.PathLike[str], records: Sequence[SessionRecord]
) -> list[SessionRecord]:
    """Replace published success flags by the test, where the evolution's recording is at hand.

    Parameters
    ----------
    folder : path-like
        MATROOT: the file of all evolutions, or files of single sessions.
    records : sequence of SessionRecord

    Returns
    -------
    list of SessionRecord
        In the same order; a session whose evolution is not there keeps its published flag.
    """
    tests = _collected_tests(folder, {record.evolution_name for record in records})
    flagged = []
    for record in records:
        test = tests.get(record.evolution_name) or _session_test(folder, record)
        if test is not None:
            logger.info("%s: t = %.2f, p = %.1e", record.evolution_name, test.t, test.p)
        flagged.append(record if test is None else replace(record, success=test.success))
    return flagged


def compare_ends(threads: Sequence[Sequence[NDArray[np.float64]]]) -> EvolutionTest:
    """Test the last against the first blocks of the BigGAN thread.

    Parameters
    ----------
    threads : sequence of two sequences of numpy.ndarray
        Per thread and block, (n_images,) responses in events/s.

    Returns
    -------
    EvolutionTest
    """
    blocks = list(threads[Space.BIGGAN.thread])
    if min(len(thread[-1]) for thread in threads) < MIN_IMAGES_LAST_BLOCK:
        blocks = blocks[:-1]
    if len(blocks) < 2 * BLOCKS_COMPARED:
        return EvolutionTest(np.nan, np.nan)
    first, last = blocks[:BLOCKS_COMPARED], blocks[-BLOCKS_COMPARED:]
    test = student(np.concatenate(last), np.concatenate(first))
    return EvolutionTest(float(test.t), float(test.p))


def _collected_tests(
    folder: str | os.PathLike[str], wanted: Iterable[str]
) -> dict[str, EvolutionTest]:
    """Test the evolutions that the file of all evolutions holds."""
    try:
        recordings = load_neural_data(Path(folder))
    except MissingDataError:
        return {}
    names, tests = set(wanted), {}
    with recordings:
        for expi in recordings:
            try:
                name = recordings.info(expi).ephys_name
                if name in names:
                    trials = [Trials.of(thread.blocks) for thread in recordings[expi].threads]
                    tests[name] = compare_ends([t.per_block(t.responses()) for t in trials])
            except MalformedDataError as error:
                logger.warning("the published flag of an evolution stays: %s", error)
    return tests


def _session_test(folder: str | os.PathLike[str], record: SessionRecord) -> EvolutionTest | None:
    """Test an evolution from its own session file; None where there is none that can be used."""
    if not record.evolution_name:
        return None
    try:
        session = read_session(folder, record.evolution_name)
        psth = session.psth(record.pref_channel, record.pref_unit)
    except MissingDataError:
        return None
    except MalformedDataError as error:
        logger.warning("the published flag of %s stays: %s", record.exp_id, error)
        return None
    parts = pd.Series(session.image_names, dtype=object).str.extract(_EVOLVED_NAME).astype(float)
    trials = parts.assign(response=psth[:, slice(*EVOKED_MS)].mean(axis=1))
    threads = [
        [block["response"].to_numpy() for _, block in thread.groupby("block")]
        for _, thread in trials.groupby("thread")
    ]
    if len(threads) != 2:
        logger.warning(
            "the published flag of %s stays: %s names images of %d threads, expected two",
            record.exp_id, session.path, len(threads),
        )  # fmt: skip
        return None
    return compare_ends(threads)

"""Small hand-made evolutions for tests, independent of the simulator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from neuro_data_analysis.neural_data_lib import Block, Experiment, ExperimentInfo, Thread
from neuro_data_analysis.neural_data_utils import Session, parse_session


def make_info(
    expi: int = 1,
    ephys_name: str = "Alfa-25112020-003",
    spaces: tuple[str, str] = ("fc6", "BigGAN"),
    area: str = "IT",
) -> ExperimentInfo:
    session: Session = parse_session(ephys_name, None)
    return ExperimentInfo(
        expi=expi,
        ephys_name=ephys_name,
        control_name="",
        session=session,
        pref_channel=12,
        pref_unit=1,
        area=area,
        image_size_deg=np.array([3.0, 3.0]),
        position_deg=np.array([0.0, -0.8]),
        stimuli="N:\\Stimuli",
        spaces=spaces,
        optimizers=("CMAES", "CMAES"),
    )


def make_experiment(
    rng: np.random.Generator,
    block_sizes: Sequence[Sequence[int]],
    gains: Sequence[Sequence[float]] | None = None,
    **info: Any,
) -> Experiment:
    """Two threads of Gaussian PSTHs; `block_sizes` holds one list of image counts per thread."""
    threads = []
    for thread, sizes in enumerate(block_sizes):
        blocks = []
        for number, size in enumerate(sizes):
            gain = 1.0 if gains is None else gains[thread][number]
            psth = gain * (40 + 30 * rng.random((200, 1))) + rng.normal(0, 5, (200, size))
            blocks.append(Block(psth, np.arange(size)))
        threads.append(Thread(("fc6", "BigGAN")[thread], None, tuple(blocks), ()))
    return Experiment(make_info(**info), (threads[0], threads[1]))

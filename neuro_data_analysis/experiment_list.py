"""The list of the 170 real paired evolutions (package data): names, sites, spaces, positions."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import pandas as pd

from neuro_data_analysis.neural_data_lib import ExperimentInfo
from neuro_data_analysis.neural_data_utils import parse_session


@cache
def listed_experiments() -> pd.DataFrame:
    """Read the list, index Expi ascending; treat it as read-only."""
    table = resources.files("neuro_data_analysis").joinpath("data/experiments.csv")
    with resources.as_file(table) as path:
        return pd.read_csv(path, index_col="Expi")


def listed_info(expi: int) -> ExperimentInfo:
    """Return what a listed experiment was; the list does not tell the optimisers."""
    row: dict[Any, Any] = listed_experiments().loc[[expi]].to_dict("records")[0]
    return ExperimentInfo(
        expi=int(expi),
        ephys_name=row["ephysFN"],
        control_name=row["expControlFN"],
        session=parse_session(row["ephysFN"], row["expControlFN"]),
        pref_channel=int(row["prefchan"]),
        pref_unit=int(row["prefunit"]),
        area=row["visual_area"],
        image_size_deg=np.full(2, float(row["imgsize_deg"])),
        position_deg=np.array([row["pos_x"], row["pos_y"]], dtype=float),
        stimuli=row["stimuli"],
        spaces=(row["space1"], row["space2"]),
        optimizers=(None, None),
    )

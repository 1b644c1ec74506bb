"""Latent codes of simulated evolutions, laid out as sessions keep them.

Codes drift from the origin along one direction while an evolution climbs. No generator is run: the
codes have the right sizes, names and gaps, and no pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import scipy
from numpy.typing import NDArray

from core.files import atomic_write
from neuro_data_analysis.evolution.codes import CODE_LENGTHS, PICTURE_SUFFIX, merged_codes_file
from neuro_data_analysis.matlab.v73_writer import write_v73
from neuro_data_analysis.matlab.values import N_THREADS
from neuro_data_analysis.neural_data_utils import local_stimulus_folder
from neuro_data_analysis.simulation.experiment import evolved_image_name
from neuro_data_analysis.simulation.population import ExperimentPlan

#: Spread of the founders of an evolution in each space.
FOUNDER_SD = {"fc6": 3.0, "BigGAN": 0.7, "BigGAN_class": 0.06}

#: Length of the drift, and what is left of the spread at the end, in founder SDs per coordinate.
DRIFT = 1.5
LAST_SPREAD = 0.5

#: Sessions until this year give the founders names of their own.
UNNAMED_FOUNDERS_UNTIL = 2020

_HEADER = b"MATLAB 5.0 MAT-file, SIMULATED latent codes of no real session"
_HEADER_BYTES = 116  # of text, at the start of a v5 file


def write_block_codes(plan: ExperimentPlan, matroot: Path) -> None:
    """Write one v5 file per block and thread where the session keeps its pictures."""
    folder = local_stimulus_folder(plan.listed["stimuli"], matroot)
    for thread in range(N_THREADS):
        for block, (codes, names) in enumerate(_generations(plan, thread)):
            path = folder / f"block{block:03d}_thread{thread:03d}_code.mat"
            ids = np.array(names, dtype=object)[np.newaxis, :]
            with atomic_write(path) as unfinished:
                scipy.io.savemat(unfinished, {"codes": codes, "ids": ids}, appendmat=False)
                with unfinished.open("r+b") as file:  # scipy puts the time of day there
                    file.write(_HEADER.ljust(_HEADER_BYTES))


def write_merged_codes(plan: ExperimentPlan, matroot: Path) -> None:
    """Write one v7.3 file of all codes per thread into MATROOT."""
    for thread in range(N_THREADS):
        generations = list(_generations(plan, thread))
        names = np.array([name for _, names in generations for name in names], dtype=object)
        counts = [len(names) for _, names in generations]
        path = matroot / merged_codes_file(plan.expi, thread)
        with write_v73(path, "SIMULATED latent codes of no real session") as file:
            file.save("code_geni", np.repeat(np.arange(len(counts)), counts).astype(np.float64))
            file.save("codes_all", np.concatenate([codes for codes, _ in generations]))
            file.save("img_ids", names)


def _generations(
    plan: ExperimentPlan, thread: int
) -> Iterator[tuple[NDArray[np.float32], list[str]]]:
    """Draw codes and names of each generation; the last one was never shown."""
    rng = np.random.default_rng([*plan.seed, thread])
    space = plan.listed[f"space{thread + 1}"]
    direction = rng.standard_normal(CODE_LENGTHS[space], dtype=np.float32)
    progress = np.append(plan.progress(thread), 1.0).astype(np.float32)
    sizes = np.append(plan.block_sizes[thread], int(np.median(plan.block_sizes[thread])))
    for block, n_images in enumerate(sizes):
        spread = rng.standard_normal((n_images, len(direction)), dtype=np.float32)
        spread *= 1 - (1 - LAST_SPREAD) * progress[block]
        codes = FOUNDER_SD[space] * (DRIFT * progress[block] * direction + spread)
        yield codes.astype(np.float32), _picture_names(plan, thread, block, n_images)


def _picture_names(plan: ExperimentPlan, thread: int, block: int, n_images: int) -> list[str]:
    if block == 0 and int(plan.listed["expdate"][:4]) <= UNNAMED_FOUNDERS_UNTIL:
        return [f"founder_{number:03d}" for number in range(1, n_images + 1)]
    shown_before = (
        plan.block_sizes[:, :block].sum() + plan.block_sizes[:thread, block:][:, :1].sum()
    )
    serials = range(int(shown_before), int(shown_before) + n_images)
    return [evolved_image_name(block, thread, serial) + PICTURE_SUFFIX for serial in serials]

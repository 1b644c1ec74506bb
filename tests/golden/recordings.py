"""Thirty-one paired evolutions made without the simulator, so that no change of it moves a golden.

Every rule of the Methods meets an experiment that it decides: too few blocks, another pair of
spaces, an unstable baseline, a last block of 9 and of 10 images, a best block at the end, threads
that climb clearly, weakly, not at all, or fall. All rates are multiples of 1/8 event/s, so that
sums over trials are exact on every machine and in every order.
"""

from __future__ import annotations

import csv
import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np

LISTED = Path(__file__).parents[2] / "neuro_data_analysis" / "data" / "experiments.csv"

#: The pickle that the authors made of the recordings: a list, element i is experiment i + 1.
FILE = "Both_BigGAN_FC6_Evol_Stats_expsep.pkl"
N_ELEMENTS = 190

#: Names of optimisers by experiment, beside the recordings; the recordings tell them only for 78.
OPTIMIZERS = "meta_optimizer_info.csv"

#: Final gain over the first rate, and time constant in blocks, of what a thread can do.
COURSES = {
    "clear": (0.9, 4.0),
    "slow": (0.8, 9.0),
    "weak": (0.07, 3.0),
    "mild": (0.17, 3.0),
    "flat": (0.0, 1.0),
    "falls": (-0.35, 5.0),
}


@dataclass(frozen=True)
class Plan:
    """What happens in one experiment.

    ``courses`` name what DeePSim and BigGAN do; ``last`` are the images of the last block of each
    thread, and ``peak_at_end`` the threads whose last block is the best one.
    """

    courses: tuple[str, str]
    n_blocks: int = 18
    last: tuple[int, int] = (12, 11)
    peak_at_end: tuple[int, ...] = ()


PLANS = {
    # V1
    51: Plan(("clear", "flat"), 16),
    187: Plan(("clear", "flat"), 17),
    188: Plan(("clear", "mild"), 16),
    190: Plan(("slow", "clear"), 19),
    50: Plan(("clear", "clear"), 16),  # unstable baseline
    # V4
    26: Plan(("clear", "clear"), 56),  # the longest
    27: Plan(("clear", "slow"), 16),
    34: Plan(("clear", "clear"), 21, last=(9, 12)),  # 9 images: dropped from both threads
    40: Plan(("slow", "clear"), 20, last=(12, 9)),
    63: Plan(("clear", "slow"), 18, last=(10, 10)),  # 10 images: kept
    68: Plan(("clear", "weak"), 17),
    78: Plan(("slow", "weak"), 22),
    109: Plan(("clear", "falls"), 16, peak_at_end=(1,)),  # falls, and is best at its end
    112: Plan(("slow", "clear"), 18),
    163: Plan(("flat", "clear"), 14),  # 14 blocks: too short
    39: Plan(("clear", "clear"), 18),  # unstable baseline
    # IT
    3: Plan(("slow", "clear"), 18),
    5: Plan(("flat", "clear"), 15),  # 15 blocks: long enough
    6: Plan(("clear", "clear"), 23),
    7: Plan(("slow", "weak"), 16),
    65: Plan(("clear", "clear"), 16, last=(1, 12), peak_at_end=(0, 1)),
    88: Plan(("weak", "clear"), 20),
    95: Plan(("slow", "slow"), 24),
    101: Plan(("clear", "slow"), 17, peak_at_end=(0,)),
    149: Plan(("slow", "flat"), 19),
    155: Plan(("slow", "clear"), 23),  # the example of Figure 2
    160: Plan(("falls", "falls"), 18, peak_at_end=(0,)),
    174: Plan(("flat", "flat"), 20),
    186: Plan(("clear", "clear"), 16, last=(2, 2)),
    4: Plan(("clear", "clear"), 18),  # BigGAN in both threads
    23: Plan(("slow", "clear"), 16),  # unstable baseline
}


def elements(expis=tuple(PLANS)):
    """Return the 190 elements of a recording file; those of other experiments are empty."""
    with LISTED.open(newline="", encoding="utf-8") as file:
        listed = {int(row["Expi"]): row for row in csv.DictReader(file)}
    empty = {"evol": None, "ref": None, "meta": None, "imageName": None}
    made = {expi: _element(expi, listed[expi], PLANS[expi]) for expi in expis}
    return [made.get(expi, empty) for expi in range(1, N_ELEMENTS + 1)]


def write(folder, content):
    """Write elements as a MATROOT; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / FILE).open("wb") as file:
        pickle.dump(content, file)
    told = ["Expi,space_names1,space_names2,optim_names1,optim_names2"]
    told += [
        f"{expi},fc6,BigGAN,CMAES {expi},ZOHA {expi}"
        for expi in range(1, N_ELEMENTS + 1)
        if content[expi - 1]["evol"] is not None
    ]
    (folder / OPTIMIZERS).write_text("\n".join(told) + "\n", encoding="utf-8")
    return folder


def shown_blocks(element, thread):
    """Return the PSTHs of one thread, block by block, as plain arrays of (200 ms, images)."""
    return [np.asarray(psth, dtype=float) for psth in element["evol"]["psth"][thread]]


def _element(expi, row, plan):
    rng = np.random.default_rng(expi)
    sizes = _block_sizes(rng, plan)
    first = 30 + 25 * rng.random()
    spontaneous = 6 + 8 * rng.random()
    # DeePSim begins lower and gains early in the response, BigGAN begins higher and gains late.
    begins = first * (0.85 + 0.1 * rng.random()), first * (1.0 + 0.1 * rng.random())
    names, evolved = [], ([], [])
    references = ([], [])
    for block in range(plan.n_blocks):
        for thread in (0, 1):
            rise = _rise(plan, thread, block)
            rates = _time_course(begins[thread], rise, spontaneous, late=0.25 + 0.4 * thread)
            evolved[thread].append(_presented(rng, rates, sizes[thread][block], names))
        for thread in (0, 1):
            rates = _time_course(1.1 * first, 0.0, spontaneous, late=0.5)
            references[thread].append(_presented(rng, rates, 3, names))
    told = ["CMAES", "Concat CMAES"] if expi == 78 else None
    return {
        "Animal": None,
        "evol": {
            **_cells(evolved),
            "imgpos": np.array([[float(row["pos_x"]), float(row["pos_y"])]] * 2),
            "imgsize": np.full(2, float(row["imgsize_deg"])),
            "optim_names": told,
            "pref_chan": np.full(2, float(row["prefchan"])),
            "unit_in_pref_chan": np.full(2, float(row["prefunit"])),
            "space_names": [[row["space1"]], [row["space2"]]],
        },
        "ref": _cells(references),
        "imageName": [[name] for name in names],
        "meta": {
            "ephysFN": row["ephysFN"],
            "expControlFN": row["expControlFN"],
            "stimuli": row["stimuli"],
        },
    }


def _block_sizes(rng, plan):
    sizes = rng.integers(10, 15, (2, plan.n_blocks))
    sizes[:, -1] = plan.last
    return sizes.tolist()


def _rise(plan, thread, block):
    gain, blocks_to_climb = COURSES[plan.courses[thread]]
    if thread in plan.peak_at_end and block == plan.n_blocks - 1:
        return abs(gain) + 0.5
    return gain * (1 - np.exp(-block / blocks_to_climb))


def _time_course(rate, rise, spontaneous, late):
    """Rate in every ms: silent until 45 ms, an early and a late hump, a rise shared by both."""
    ms = np.arange(200)
    early_hump = np.exp(-(((ms - 85) / 22) ** 2))
    late_hump = np.exp(-(((ms - 145) / 32) ** 2))
    evoked = rate * (0.9 * early_hump + 0.8 * late_hump)
    evoked = evoked + rate * rise * 1.7 * ((1 - late) * early_hump + late * late_hump)
    return spontaneous + np.where(ms >= 45, evoked, 0)


def _presented(rng, rates, n_images, names):
    """Draw the trials of one block and name their images; return psth and 1-based positions."""
    excitability = 1 + 0.25 * (rng.random(n_images) + rng.random(n_images) - 1)
    noise = 0.5 + rng.random((200, n_images))
    psth = np.round(8 * rates[:, np.newaxis] * excitability * noise) / 8
    positions = np.arange(len(names) + 1, len(names) + n_images + 1, dtype=float)
    names += [f"image {number:.0f}" for number in positions]
    return psth.astype(np.float32), positions


def _cells(threads):
    """Put (psth, positions) of each thread and block into the cells of a recording."""
    return {
        "psth": [[psth for psth, _ in blocks] for blocks in threads],
        "idx_seq": [[positions for _, positions in blocks] for blocks in threads],
    }

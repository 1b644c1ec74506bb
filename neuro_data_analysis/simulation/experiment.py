"""The spikes of one simulated experiment, and the fields that its element of the file holds.

A site fires at most once per ms, at a rate that unfolds in time as its `ExperimentPlan` says and
climbs from block to block; spikes become spike densities as in the real files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from neuro_data_analysis.evolution.stats import EVOKED_MS
from neuro_data_analysis.matlab.values import N_THREADS, PSTH_MS
from neuro_data_analysis.simulation.assumptions import IMAGE_CV
from neuro_data_analysis.simulation.population import ExperimentPlan

#: Kernel of the recorded spike densities: Gaussian, SD 2 ms, cut off at 6 ms, not renormalised.
KERNEL_SD_MS = 2.0
KERNEL_REACH_MS = 6

#: Natural images shown in every whole block of every thread: names as real ones are, with spaces
#: and brackets, one of them like that of an evolved image.
REFERENCE_STEMS = (
    "n02085936_7",
    "face (3)",
    "monkey face [2]",
    "bridge over water",
    "block125_thread000_gen_gen124_005011",
    "texture_0042",
    "house (old) 1",
    "snake 12",
    "flower_crop",
    "hand [left]",
)

#: Responses to natural images: mean as a share of the better last response, and log SD.
REFERENCE_LEVEL = 0.62
REFERENCE_LOG_SD = 0.30

#: Excitability of a site over the session, shared by all that is shown: AR(1) over blocks.
EXCITABILITY_SD = 0.03
EXCITABILITY_MEMORY = 0.5

#: Growth of the spontaneous rate over a session whose baseline was unstable.
UNSTABLE_GROWTH = 1.5

#: Units, few where a real file holds some 74: an unsorted one, the preferred one, two more.
N_UNITS = 4
PREFERRED_ROW = 1
OTHER_UNITS_RATE = 40.0
WAVEFORM_SAMPLES = 24

#: From this year on, recordings tell the names of their optimisers.
OPTIMIZERS_TOLD_FROM = 2021


@dataclass(frozen=True)
class Presentations:
    """What was shown when in one experiment.

    Attributes
    ----------
    names : numpy.ndarray of str
        (n_presentations,) image names in order of presentation.
    block : numpy.ndarray of int
        (n_presentations,) 0-based block.
    evolved, references : list of list of numpy.ndarray
        [thread][block] 0-based positions in `names`, ascending.
    reference : numpy.ndarray of int
        (n_presentations,) which of `REFERENCE_STEMS` was shown, -1 for an evolved image.
    """

    names: NDArray[np.object_]
    block: NDArray[np.intp]
    evolved: list[list[NDArray[np.intp]]]
    references: list[list[NDArray[np.intp]]]
    reference: NDArray[np.intp]


@dataclass(frozen=True)
class SessionCourse:
    """How a site changes over the blocks, whatever is shown: (n_blocks,) each.

    ``spontaneous`` in events/s; ``excitability`` multiplies every evoked response.
    """

    spontaneous: NDArray[np.float64]
    excitability: NDArray[np.float64]


def simulate_experiment(plan: ExperimentPlan) -> dict[str, Any]:
    """Draw one experiment, as an element of the recording file.

    Parameters
    ----------
    plan : ExperimentPlan
        What the experiment does; its seed decides every spike.

    Returns
    -------
    dict
        Field → value, which `neural_data_lib.Recordings` reads and the MATLAB writer writes.
    """
    rng = np.random.default_rng(plan.seed)
    shown = draw_presentations(plan, rng)
    session = _draw_session_course(plan, rng)
    natural = _draw_natural_courses(plan, rng)
    evolved, references = [], []
    for thread in range(N_THREADS):
        courses = plan.evoked_rates(thread, _drawn_ms())
        positions = shown.evolved[thread]
        evoked = courses[shown.block[np.concatenate(positions)]]
        evolved.append(_draw_blocks(evoked, plan.image_cv(thread), positions, session, rng))
        positions = shown.references[thread]
        evoked = natural[shown.reference[np.concatenate(positions)]]
        image_cv = np.full(plan.n_blocks, IMAGE_CV)
        references.append(_draw_blocks(evoked, image_cv, positions, session, rng))
    return {
        "color_seq": np.linspace((0.0, 0.0, 1.0), (1.0, 0.0, 0.0), plan.n_blocks),
        "evol": _evolution_fields(plan, shown, evolved, rng),
        "imageName": shown.names[:, np.newaxis],
        "meta": _session_fields(plan, rng),
        "ref": _responses(shown.references, references, rng),
        "stim": _stimulus_fields(shown),
        "units": _unit_fields(plan),
    }


#: Fields of every element, alphabetical; ``Animal`` is never assigned, as in the real file.
FIELDS = ("Animal", "color_seq", "evol", "imageName", "meta", "ref", "stim", "units")


def spike_kernel() -> NDArray[np.float64]:
    """Return what one spike contributes at lags -6 to 6 ms, events/s."""
    lag = np.arange(-KERNEL_REACH_MS, KERNEL_REACH_MS + 1)
    peak = 1000 / (KERNEL_SD_MS * np.sqrt(2 * np.pi))
    return peak * np.exp(-(lag**2) / (2 * KERNEL_SD_MS**2))


def draw_spike_density(rates: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw spikes and smooth them as the recording software does.

    Parameters
    ----------
    rates : numpy.ndarray
        (n_trials, 212 ms) events/s, from 6 ms before image onset to 6 ms after the last bin.
    rng : numpy.random.Generator
        Draws the spikes, at most one per ms.

    Returns
    -------
    numpy.ndarray
        (n_trials, 200 ms) events/s: values of single precision in doubles, as in real files.
    """
    spikes = (rng.random(rates.shape, dtype=np.float32) < rates / 1000).astype(np.float32)
    smooth = scipy.ndimage.convolve1d(spikes, spike_kernel(), axis=1, mode="constant")
    return smooth[:, KERNEL_REACH_MS:-KERNEL_REACH_MS].astype(np.float64)


def draw_presentations(plan: ExperimentPlan, rng: np.random.Generator) -> Presentations:
    """Shuffle the images of both threads and the natural images within every block."""
    names: list[str] = []
    stems: list[int] = []
    sizes = []
    first_serial = 0
    positions: list[list[NDArray[np.intp]]] = [[], [], [], []]
    for block, in_threads in enumerate(plan.block_sizes.T):
        shown, reference = _images_of_block(block, in_threads, plan, first_serial)
        first_serial += int(in_threads.sum())
        kind = np.repeat(np.arange(4), [len(part) for part in shown])
        order = rng.permutation(len(kind))
        joined = [name for part in shown for name in part]
        for this_kind, found in enumerate(positions):
            found.append(len(names) + np.flatnonzero(kind[order] == this_kind))
        names += [joined[image] for image in order]
        stems += [reference[image] for image in order]
        sizes.append(len(order))
    return Presentations(
        names=np.array(names, dtype=object),
        block=np.repeat(np.arange(plan.n_blocks), sizes),
        evolved=positions[:N_THREADS],
        references=positions[N_THREADS:],
        reference=np.array(stems, dtype=np.intp),
    )


def evolved_image_name(block: int, thread: int, serial: int) -> str:
    """Name of an evolved image; `block` counts from 0 here, from 1 in the name."""
    return f"block{block + 1:03d}_thread{thread:03d}_gen_gen{block:03d}_{serial:06d}"


def optimizer_names(plan: ExperimentPlan) -> list[str]:
    """Optimisers of both threads: one for each half of the 256-d codes, as was done."""
    spaces = (plan.listed["space1"], plan.listed["space2"])
    return ["Concat CMAES CMAES" if space == "BigGAN" else "CMAES" for space in spaces]


def _images_of_block(
    block: int, in_threads: NDArray[np.intp], plan: ExperimentPlan, serial: int
) -> tuple[list[list[str]], list[int]]:
    """Name the images of one block, evolved ones of both threads, then natural ones of both."""
    evolved = []
    for thread, n_images in enumerate(in_threads):
        serials = range(serial, serial + n_images)
        evolved.append([evolved_image_name(block, thread, each) for each in serials])
        serial += n_images
    n_natural = np.rint(len(REFERENCE_STEMS) * in_threads / np.median(plan.block_sizes, axis=1))
    natural = [
        [f"{stem}_thread{thread:03d}_nat" for stem in REFERENCE_STEMS[: int(n)]]
        for thread, n in enumerate(n_natural)
    ]
    reference = [-1] * sum(map(len, evolved)) + [i for part in natural for i in range(len(part))]
    return evolved + natural, reference


def _draw_session_course(plan: ExperimentPlan, rng: np.random.Generator) -> SessionCourse:
    innovation = EXCITABILITY_SD * np.sqrt(1 - EXCITABILITY_MEMORY**2)
    excitability = np.empty(plan.n_blocks)
    level = EXCITABILITY_SD * rng.standard_normal()
    for block in range(plan.n_blocks):
        excitability[block] = 1 + level
        level = EXCITABILITY_MEMORY * level + innovation * rng.standard_normal()
    growth = UNSTABLE_GROWTH if plan.listed["bsl_unstable"] else 0.0
    spontaneous = plan.spontaneous_rate * (1 + np.linspace(0, growth, plan.n_blocks))
    return SessionCourse(spontaneous, excitability)


def _draw_natural_courses(plan: ExperimentPlan, rng: np.random.Generator) -> NDArray[np.float64]:
    """Evoked rate of every natural image, (n_images, ms) events/s."""
    best = max(thread.last_rate for thread in plan.threads)
    spread = np.exp(REFERENCE_LOG_SD * rng.standard_normal(len(REFERENCE_STEMS)))
    level = np.maximum(REFERENCE_LEVEL * best * spread / spread.mean() - plan.spontaneous_rate, 0)
    return np.outer(level, plan.natural_course(_drawn_ms()))


def _draw_blocks(
    evoked: NDArray[np.float64],
    image_cv: NDArray[np.float64],
    positions: Sequence[NDArray[np.intp]],
    session: SessionCourse,
    rng: np.random.Generator,
) -> list[NDArray[np.float64]]:
    """Draw the spike densities of trials in block order, one (200 ms, n_images) per block."""
    sizes = [len(block) for block in positions]
    block = np.repeat(np.arange(len(sizes)), sizes)
    images = np.maximum(1 + image_cv[block] * rng.standard_normal(len(block)), 0)
    gain = session.excitability[block] * images
    rates = session.spontaneous[block, np.newaxis] + gain[:, np.newaxis] * evoked
    return np.split(draw_spike_density(rates, rng).T, np.cumsum(sizes)[:-1], axis=1)


def _drawn_ms() -> NDArray[np.float64]:
    return np.arange(-KERNEL_REACH_MS, PSTH_MS + KERNEL_REACH_MS, dtype=np.float64)


def _responses(
    positions: Sequence[Sequence[NDArray[np.intp]]],
    densities: Sequence[Sequence[NDArray[np.float64]]],
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Lay out what was recorded in a set of presentations: cells of 2 threads × n blocks."""
    return {
        "idx_seq": _cell([[1.0 + block[np.newaxis, :] for block in t] for t in positions]),
        "psth": _cell(densities),
        "rspmat": _cell([[_all_units(block, rng) for block in t] for t in densities]),
    }


def _all_units(density: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return one response per unit and image; the unsorted unit is silent, as in real files."""
    window_s = (EVOKED_MS[1] - EVOKED_MS[0]) / 1000
    responses = rng.poisson(OTHER_UNITS_RATE * window_s, (N_UNITS, density.shape[1])) / window_s
    responses[:PREFERRED_ROW] = 0
    responses[PREFERRED_ROW] = density[slice(*EVOKED_MS)].mean(axis=0)
    return responses.astype(np.float64)


def _evolution_fields(
    plan: ExperimentPlan,
    shown: Presentations,
    densities: Sequence[Sequence[NDArray[np.float64]]],
    rng: np.random.Generator,
) -> dict[str, Any]:
    spaces = [plan.listed["space1"], plan.listed["space2"]]
    is_told = int(plan.listed["expdate"][:4]) >= OPTIMIZERS_TOLD_FROM
    position = (plan.listed["pos_x"], plan.listed["pos_y"])
    return {
        **_responses(shown.evolved, densities, rng),
        "block_arr": 1.0 + shown.block,
        "block_n": float(plan.n_blocks),
        "imgpos": np.array([position, position]),
        "imgsize": np.full(N_THREADS, plan.listed["imgsize_deg"]),
        "optim_names": optimizer_names(plan) if is_told else None,
        "pref_chan": np.full(N_THREADS, float(plan.listed["prefchan"])),
        # Real files hold the names in a cell, or each name in a cell of its own.
        "space_names": spaces if plan.expi % 2 else [[space] for space in spaces],
        "space_cfg": [[space, None] for space in spaces],
        "thread_num": float(N_THREADS),
        "unit_in_pref_chan": np.full(N_THREADS, float(plan.listed["prefunit"])),
    }


def _session_fields(plan: ExperimentPlan, rng: np.random.Generator) -> dict[str, Any]:
    listed = plan.listed
    channels, units = _channels_and_units(plan)
    time = np.linspace(0, 4, WAVEFORM_SAMPLES)
    waveform = -np.sin(2 * time) * np.exp(-time)
    return {
        "ephysFN": listed["ephysFN"],
        "expControlFN": listed["expControlFN"],
        "stimuli": listed["stimuli"],
        "comments": "SIMULATED: no animal was recorded",
        "equipment": "OMNIPLEX",
        "expControl": "ML",
        "imList": [],
        "pathBHV": f"S:\\Data-BHV2\\{listed['expControlFN']}.bhv2",
        "pathIMList": "",
        "pathMat": f"S:\\Data-Ephys-MAT\\{listed['ephysFN']}_formatted.mat",
        "pathRAW": f"S:\\Data-Ephys-Raw\\{listed['ephysFN']}.pl2",
        "rasterWindow": np.array([[0.0, float(PSTH_MS)]]),
        "baselineWindowLength": 90.0,
        "sdf": "sdf",
        "spikeID": channels,
        "unitID": units,
        "wvfms": waveform + 0.05 * rng.standard_normal((N_UNITS, WAVEFORM_SAMPLES)),
        "fdrnm": None,
        "figdir": None,
    }


def _unit_fields(plan: ExperimentPlan) -> dict[str, Any]:
    channels, units = _channels_and_units(plan)
    return {
        "spikeID": channels,
        "unit_num_arr": units,
        "activ_msk": np.arange(N_UNITS) >= PREFERRED_ROW,
        "pref_chan": np.full(N_THREADS, float(plan.listed["prefchan"])),
        "pref_chan_id": np.full(N_THREADS, 1.0 + PREFERRED_ROW),
        "unit_in_pref_chan": np.full(N_THREADS, float(plan.listed["prefunit"])),
        "unit_name_arr": None,
    }


def _channels_and_units(plan: ExperimentPlan) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    channel, unit = float(plan.listed["prefchan"]), float(plan.listed["prefunit"])
    channels = np.array([channel, channel, channel + 1, channel + 2])
    return channels, np.array([0.0, unit, 1.0, 1.0])


def _stimulus_fields(shown: Presentations) -> dict[str, Any]:
    is_natural = shown.reference >= 0
    masks = []
    for evolved, references in zip(shown.evolved, shown.references, strict=True):
        mask = np.zeros(len(shown.names), dtype=bool)
        mask[np.concatenate([*evolved, *references])] = True
        masks.append(mask)
    return {"gen_msk": ~is_natural, "nat_msk": is_natural, "thread_msks": masks}


def _cell(threads: Sequence[Sequence[NDArray[Any]]]) -> NDArray[np.object_]:
    cells = np.empty((len(threads), len(threads[0])), dtype=object)
    for position in np.ndindex(cells.shape):
        cells[position] = threads[position[0]][position[1]]
    return cells

"""Prototype montages for simulated evolutions, made of textures and object-like shapes.

The DeePSim prototype is a texture, the BigGAN prototype an object that bears a texture of its own.
How much the two textures share is known for every experiment: the more alike the expected PSTHs of
its two best blocks, the more, with some scatter, so that Figure 3 has a relation to find.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import scipy
from numpy.typing import NDArray

from core.errors import MalformedDataError, UsageError
from core.files import atomic_write
from core.spaces import Space
from neuro_data_analysis.evolution.stats import EVOKED_MS
from neuro_data_analysis.matlab.values import N_THREADS, PSTH_MS
from neuro_data_analysis.similarity.montages import CELL, Picture, montage_file, write_montage
from neuro_data_analysis.similarity.response_differences import response_differences
from neuro_data_analysis.simulation.population import ExperimentPlan, plan_population

#: Beside simulated montages: what they were made with. Real prototypes have no such file.
TRUTH_FILE = "simulated_prototypes.csv"

#: Shared content is a logistic function of the expected psth_MAE: where it is one half, how
#: sharply it falls there, and the SD of the scatter of its logit from site to site.
HALF_SHARED_MAE = 0.2
SHARED_MAE_SCALE = 0.06
SHARED_LOGIT_SD = 0.9

#: Range of the spatial frequencies of textures, cycles per picture.
CYCLES = (6.0, 28.0)
#: Relative width of their band, and concentration of their orientations.
BANDWIDTH = 0.35
ORIENTATION_CONCENTRATION = 6.0

#: What surrounds a reconstruction, where no feature goes with the response.
GREY = 0.5
#: SD of the window of a reconstruction as a share of the picture.
WINDOW_SD = 0.24
#: Grain of reconstructions made pixel by pixel, and blur of mean images in pixels.
PIXEL_GRAIN = 0.06
MEAN_IMAGE_BLUR = 5.0


@dataclass(frozen=True)
class LocalContent:
    """What a texture looks like.

    Attributes
    ----------
    orientation : float
        Of its grating-like parts, radians.
    cycles : float
        Per picture.
    palette : numpy.ndarray
        (3 colours, RGB) of its dark, middle and bright parts, 0 to 1.
    """

    orientation: float
    cycles: float
    palette: NDArray[np.float64]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> LocalContent:
        """Draw a content at random."""
        cycles = np.exp(rng.uniform(*np.log(CYCLES)))
        return cls(rng.uniform(0, np.pi), float(cycles), rng.random((3, 3)))

    def towards(self, other: LocalContent, share: float) -> LocalContent:
        """Return a content that takes a share of the other's: 0 is this one, 1 the other."""
        turn = (other.orientation - self.orientation + np.pi / 2) % np.pi - np.pi / 2
        return LocalContent(
            self.orientation + share * turn,
            self.cycles ** (1 - share) * other.cycles**share,
            (1 - share) * self.palette + share * other.palette,
        )


def simulate_prototypes(
    folder: str | os.PathLike[str],
    seed: int,
    experiments: Collection[int] | None = None,
    progress: Callable[[Iterable[ExperimentPlan]], Iterable[ExperimentPlan]] = iter,
) -> pd.DataFrame:
    """Write the prototype montage of every simulated experiment.

    Parameters
    ----------
    folder : path-like
        Where the montages go, with `TRUTH_FILE`.
    seed : int
        Of the simulated recordings. Each montage depends on it and on its experiment alone.
    experiments : collection of int, optional
        Only these, of the 170; all by default.
    progress : callable, optional
        Wraps the iteration, such as ``tqdm``.

    Returns
    -------
    pandas.DataFrame
        Index Expi; ``seed`` and the true ``shared_content``, 0 to 1.

    Raises
    ------
    UsageError
        If an experiment is not on the list.
    CannotWriteError
        If the folder cannot be written.
    """
    plans = {plan.expi: plan for plan in plan_population(seed)}
    unknown = sorted(set(experiments or ()) - set(plans))
    if unknown:
        raise UsageError(f"there is no experiment {unknown[0]} among the {len(plans)} on the list.")
    chosen = [plan for expi, plan in plans.items() if experiments is None or expi in experiments]
    truth = prototype_truth(chosen, seed)
    shared_content = truth["shared_content"].to_dict()
    for plan in progress(chosen):
        rng = np.random.default_rng([seed, plan.expi, 3])
        cells = draw_prototypes(shared_content[plan.expi], rng)
        write_montage(Path(folder) / montage_file(plan.expi), cells)
    with atomic_write(Path(folder) / TRUTH_FILE) as unfinished:
        truth.to_csv(unfinished)
    return truth


def prototype_truth(plans: Iterable[ExperimentPlan], seed: int) -> pd.DataFrame:
    """Decide how much the two prototypes of each experiment share, see `simulate_prototypes`."""
    shared = {plan.expi: _shared_content(plan, seed) for plan in plans}
    truth = pd.DataFrame({"seed": seed, "shared_content": pd.Series(shared, dtype=float)})
    return truth.rename_axis("Expi")


def read_truth(folder: str | os.PathLike[str]) -> pd.DataFrame | None:
    """Return what simulated montages were made with; None for montages that are not simulated.

    Raises
    ------
    MalformedDataError
        If the folder's note is not one that the simulator writes.
    """
    path = Path(folder) / TRUTH_FILE
    if not path.is_file():
        return None
    try:
        return pd.read_csv(path, index_col="Expi")[["seed", "shared_content"]]
    except (ValueError, KeyError) as error:
        raise MalformedDataError(f"{path} is not a note of the simulator ({error}).") from error


def draw_prototypes(
    shared_content: float, rng: np.random.Generator
) -> dict[tuple[str, str], Picture]:
    """Draw the prototypes of one experiment.

    Parameters
    ----------
    shared_content : float
        How much of its texture the object takes from the other prototype, 0 to 1.
    rng : numpy.random.Generator
        Draws the contents and their instances.

    Returns
    -------
    dict
        (thread, prototype) → (224, 224, 3) picture, as `write_montage` takes them.
    """
    fc, bg = (space.prefix for space in Space)
    texture, own = LocalContent.draw(rng), LocalContent.draw(rng)
    contents = {
        fc: texture,
        bg: own.towards(texture, shared_content),
        "both": texture.towards(own, (1 - shared_content) / 2),
    }
    best = {fc: draw_texture(texture, rng), bg: draw_object(contents[bg], rng)}
    cells = {(thread, "maxblk"): picture for thread, picture in best.items()}
    for thread, picture in best.items():
        blurred = scipy.ndimage.gaussian_filter(picture, (MEAN_IMAGE_BLUR, MEAN_IMAGE_BLUR, 0))
        cells[thread, "maxblk_avg"] = blurred
    window = np.exp(-(_radius() ** 2) / (2 * WINDOW_SD**2))[..., np.newaxis]
    for thread, content in contents.items():
        for prototype, grain in (("reevol_G", 0.0), ("reevol_pix", PIXEL_GRAIN)):
            picture = GREY + window * (draw_texture(content, rng) - GREY)
            picture = picture + grain * rng.standard_normal(picture.shape)
            cells[thread, prototype] = picture.clip(0, 1).astype(np.float32)
    return cells


def draw_texture(content: LocalContent, rng: np.random.Generator) -> Picture:
    """Draw a texture: noise in one band of frequencies and orientations, in three colours."""
    rows = scipy.fft.fftfreq(CELL, 1 / CELL)[:, np.newaxis]
    columns = scipy.fft.rfftfreq(CELL, 1 / CELL)
    octaves = np.log(np.maximum(np.hypot(rows, columns), 0.5) / content.cycles)
    angles = np.arctan2(rows, columns) - content.orientation
    band = np.exp(-((octaves / BANDWIDTH) ** 2) / 2)
    band *= np.exp(ORIENTATION_CONCENTRATION * (np.cos(2 * angles) - 1))
    noise = rng.standard_normal((CELL, CELL), dtype=np.float32)
    pattern = scipy.fft.irfft2(scipy.fft.rfft2(noise) * band.astype(np.float32), (CELL, CELL))
    return _coloured(pattern / pattern.std(), content.palette)


def draw_object(content: LocalContent, rng: np.random.Generator) -> Picture:
    """Draw a shaded, rounded object that bears a texture, before a plain background."""
    y, x = _coordinates()
    outline = np.full(x.shape, rng.uniform(0.32, 0.4))
    angle = np.arctan2(y, x)
    for lobes in (2, 3, 5):
        outline += 0.06 / lobes * rng.standard_normal() * np.cos(lobes * angle - rng.uniform(0, 6))
    relative_radius = np.hypot(x, y) / outline
    inside = scipy.special.expit((1 - relative_radius) / 0.03)[..., np.newaxis]
    light = np.cos(angle - rng.uniform(0, 2 * np.pi)) * relative_radius
    shading = (0.9 + 0.25 * light - 0.25 * relative_radius**2).clip(0, 1.2)[..., np.newaxis]
    background = rng.uniform(0.35, 0.75, 3) + 0.25 * y[..., np.newaxis]
    surface = draw_texture(content, rng) * shading
    return (inside * surface + (1 - inside) * background).clip(0, 1).astype(np.float32)


def _shared_content(plan: ExperimentPlan, seed: int) -> float:
    psths = np.stack([_best_psth(plan, thread) for thread in range(N_THREADS)])
    normalizer = float(psths[:, slice(*EVOKED_MS)].mean(axis=1).max())
    difference = response_differences(psths, normalizer)["psth_MAE"]
    scatter = np.random.default_rng([seed, plan.expi, 2]).normal(0, SHARED_LOGIT_SD)
    return float(scipy.special.expit((HALF_SHARED_MAE - difference) / SHARED_MAE_SCALE + scatter))


def _best_psth(plan: ExperimentPlan, thread: int) -> NDArray[np.float64]:
    """Return the expected PSTH of a thread's best block, (200 ms,) events/s."""
    evoked = plan.evoked_rates(thread, np.arange(PSTH_MS, dtype=np.float64))[: plan.n_counted]
    best = evoked[:, slice(*EVOKED_MS)].mean(axis=1).argmax()
    return plan.spontaneous_rate + evoked[best]


def _coloured(pattern: NDArray[np.float32], palette: NDArray[np.float64]) -> Picture:
    """Turn a pattern of unit variance into shades between the three colours of a palette."""
    level = scipy.special.expit(1.7 * pattern) * 2
    return np.stack(
        [np.interp(level, (0, 1, 2), channel) for channel in palette.T], axis=-1
    ).astype(np.float32)


def _coordinates() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows and columns of a picture from its centre, -0.5 to 0.5."""
    from_centre = (np.arange(CELL) - (CELL - 1) / 2) / CELL
    y, x = np.meshgrid(from_centre, from_centre, indexing="ij")
    return y, x


def _radius() -> NDArray[np.float64]:
    return np.hypot(*_coordinates())

"""The files of an evolution: those of the published runs, and the checkpoint of a batch."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from numpy.typing import NDArray

from core.errors import MalformedDataError
from core.files import atomic_write
from core.insilico.evolution import Evolution, Run
from core.utils.GAN_utils import ImageGenerator
from core.utils.optimizer_state import read_state, write_state
from core.utils.plot_utils import save_imgrid
from core.utils.trajectory_plot import visualize_trajectory

#: Pictures in a row of the grid of each generation's best image, and of the last generation.
BEST_PER_ROW, LAST_PER_ROW = 10, 7


@dataclass(frozen=True)
class EvolvedUnit:
    """A unit that images are evolved for.

    Attributes
    ----------
    net, layer : str
    channel : int
    centre : tuple of int
        Row and column in a map; empty in a flat layer.
    in_field : bool
        Whether images are shown in its receptive field.
    """

    net: str
    layer: str
    channel: int
    centre: tuple[int, ...]
    in_field: bool

    @property
    def index(self) -> int | tuple[int, ...]:
        """How `TorchScorer` names it."""
        return (self.channel, *self.centre) if self.centre else self.channel

    @property
    def folder(self) -> str:
        """Name of its folder, as published: ``net_layer_channel[_row_column][_RFrsz]``."""
        parts = [self.net, self.layer, *map(str, (self.channel, *self.centre))]
        return "_".join([*parts, "RFrsz"] if self.in_field else parts)


def run_label(label: str, generator: str) -> str:
    """Return the label of file names: that of the optimiser, with ``_fc6`` in DeePSim."""
    return f"{label}_fc6" if generator == "fc6" else label


def write_run(
    folder: Path,
    run: Run,
    generator: ImageGenerator,
    label: str,
    number: int,
    untrained: bool,
) -> None:
    """Write what the published runs left of one run; finished files are replaced.

    Parameters
    ----------
    folder : pathlib.Path
        Of the unit.
    run : Run
        After its last generation.
    generator : ImageGenerator
        Makes its pictures.
    label : str
        See `run_label`.
    number : int
        Five digits that tell runs apart.
    untrained : bool
        Said on the trajectory and in the archive.
    """
    tag = f"{label}_{number:05d}"
    scores, generations = scores_of(run)
    last_score = f"{run.scores[-1].mean():.1f}"
    _save(folder / f"init_code_{number:05d}.npy", run.best_codes[0][np.newaxis])
    best = generator.visualize_batch(np.stack(run.best_codes))
    save_imgrid(best, folder / f"besteachgen{tag}.jpg", nrow=BEST_PER_ROW, padding=2)
    last = generator.visualize_batch(run.codes[-1])
    save_imgrid(last, folder / f"lastgen{tag}_score{last_score}.jpg", nrow=LAST_PER_ROW, padding=2)
    title = f"{folder.name}\n{label} {number:05d}{' UNTRAINED networks' if untrained else ''}"
    figure = visualize_trajectory(scores, generations, title_str=title)
    with atomic_write(folder / f"traj{tag}_score{last_score}.jpg") as unfinished:
        figure.savefig(unfinished, format="jpg", bbox_inches="tight")
    plt.close(figure)
    _save_archive(
        folder / f"scores{tag}.npz",
        {
            "generations": generations,
            "scores_all": scores,
            "scores_without_noise": np.concatenate(run.true_scores),
            "codes_fin" if run.codes_kept else "codes_all": _codes(run),
            "untrained": untrained,
        },
    )


def scores_of(run: Run) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return all scores of a run and their generations, from 0."""
    sizes = [len(scores) for scores in run.scores]
    return np.concatenate(run.scores), np.repeat(np.arange(len(sizes)), sizes)


def save_checkpoint(path: Path, evolution: Evolution) -> None:
    """Write where all runs stand, in one file that replaces the earlier one at once."""
    write_state(path, evolution.state_dict())


def load_checkpoint(path: Path, evolution: Evolution) -> None:
    """Go on from a checkpoint; a new evolution starts where there is none.

    Raises
    ------
    MalformedDataError
        If the file is damaged, or of other runs.
    """
    if path.is_file():
        evolution.load_state_dict(read_state(path))


def read_run(path: Path) -> dict[str, NDArray[Any]]:
    """Read ``scores….npz`` of a run, ours or a published one.

    Raises
    ------
    MalformedDataError
        If it holds no scores and generations.
    """
    try:
        with np.load(path, allow_pickle=False) as saved:
            return {"scores_all": saved["scores_all"], "generations": saved["generations"]}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise MalformedDataError(
            f"{path} does not hold the scores and generations of an evolution ({error})."
        ) from error


def _codes(run: Run) -> NDArray[np.float32]:
    codes = np.concatenate(run.codes)
    return codes[-run.codes_kept :] if run.codes_kept else codes


def _save(path: Path, array: NDArray[Any]) -> None:
    with atomic_write(path) as unfinished, unfinished.open("wb") as file:
        np.save(file, array)


def _save_archive(path: Path, arrays: dict[str, Any]) -> None:
    with atomic_write(path) as unfinished, unfinished.open("wb") as file:
        np.savez(file, **arrays)

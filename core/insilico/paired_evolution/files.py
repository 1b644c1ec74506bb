"""Write the files of an evolution: those of the published runs, and the checkpoint of a batch."""

from __future__ import annotations

import glob
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from core.errors import UsageError
from core.files import atomic_write
from core.insilico.paired_evolution.folders import archive_name
from core.insilico.paired_evolution.runs import Evolution, Run
from core.reading.array_files import write_arrays
from core.utils.batching import BATCH_SIZE
from core.utils.GAN_utils import ImageGenerator
from core.utils.generators.generated_images import images_of
from core.utils.optimizers.state import entry, read_state
from core.utils.plot_utils import to_imgrid
from core.utils.scoring.trajectory_plot import visualize_trajectory

#: Pictures in a row of the grid of each generation's best image, and of the last generation.
BEST_PER_ROW, LAST_PER_ROW = 10, 7

#: Pixels between the pictures of a grid.
PADDING = 2

#: Written on every picture that random weights have made.
UNTRAINED_MARK = "UNTRAINED networks"

#: Height of the strip for that mark, pixels.
_STRIP = 14


@dataclass(frozen=True)
class RunFiles:
    """Where the files of a run go.

    Attributes
    ----------
    folder : pathlib.Path
        Of the unit.
    label : str
        See `core.insilico.paired_evolution.folders.run_label`.
    number : int
        Five digits that tell runs of a unit apart.
    """

    folder: Path
    label: str
    number: int

    @property
    def archive(self) -> Path:
        """The file of scores and codes; it is written last, so that it marks a finished run."""
        return self.folder / archive_name(self.label, self.number)

    def picture(self, kind: str, score: float | None = None) -> Path:
        """Return the path of a picture: besteachgen, lastgen or traj."""
        ending = "" if score is None else f"_score{score:.1f}"
        return self.folder / f"{kind}{self.label}_{self.number:05d}{ending}.jpg"


def write_run(files: RunFiles, run: Run, generator: ImageGenerator, untrained: bool) -> None:
    """Write what the published runs left of one run; finished files are replaced.

    Parameters
    ----------
    files : RunFiles
        Where to.
    run : Run
        After its last generation.
    generator : ImageGenerator
        Makes its pictures.
    untrained : bool
        Said on the pictures and in the archive.

    Raises
    ------
    CannotWriteError
        If a file cannot be written.
    """
    (scores, generations), responses = scores_of(run), np.concatenate(run.true_scores)
    last = float(np.nanmean(run.scores[-1]))
    _write_array(files.folder / f"init_code_{files.number:05d}.npy", run.best_codes[0][np.newaxis])
    best = images_of(generator.visualize, np.stack(run.best_codes), BATCH_SIZE, True)
    _write_grid(files.picture("besteachgen"), best, BEST_PER_ROW, untrained)
    images = images_of(generator.visualize, run.codes[-1], BATCH_SIZE, True)
    _write_grid(files.picture("lastgen", last), images, LAST_PER_ROW, untrained)
    mark = f"  {UNTRAINED_MARK}" if untrained else ""
    title = f"{files.folder.name}\n{files.label} {files.number:05d}{mark}"
    _write_trajectory(files.picture("traj", last), scores, generations, title)
    write_arrays(
        files.archive,
        {
            "generations": generations,
            "scores_all": scores,
            "scores_without_noise": responses[~np.isnan(responses)],
            "codes_fin" if run.codes_kept else "codes_all": _codes(run),
            "untrained": untrained,
        },
    )


def scores_of(run: Run) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return all scores that the optimiser was told, and their generations, from 0.

    What a unit did not answer (NaN) is left out.
    """
    sizes = [len(scores) for scores in run.scores]
    scores, generations = np.concatenate(run.scores), np.repeat(np.arange(len(sizes)), sizes)
    return scores[~np.isnan(scores)], generations[~np.isnan(scores)]


@dataclass(frozen=True)
class SaveEvery:
    """How often a checkpoint is written; a killed evolution loses what came after the last.

    Attributes
    ----------
    generations : int or None
        After so many.
    seconds : float or None
        After the generation in which so many have passed. With both, whichever comes first.

    Raises
    ------
    UsageError
        If there is neither, or one is not positive.
    """

    generations: int | None = 1
    seconds: float | None = None

    def __post_init__(self) -> None:
        given = [limit for limit in (self.generations, self.seconds) if limit is not None]
        if not given or not min(given) > 0:
            raise UsageError(
                f"checkpoints after {self.generations} generations or {self.seconds} seconds were "
                "asked for; give one of them, above 0."
            )

    def is_due(self, generations: int, seconds: float) -> bool:
        """Tell whether to write one, so long after the last."""
        return generations >= (self.generations or np.inf) or seconds >= (self.seconds or np.inf)


class Checkpoint:
    """Where an evolution stands, on the disk: one file that is replaced, and its history.

    History is appended in files of its own, each of the generations since the last checkpoint.

    Parameters
    ----------
    path : pathlib.Path
        Of the file that is replaced; those of history lie beside it.
    evolution : Evolution
    every : SaveEvery
    """

    def __init__(self, path: Path, evolution: Evolution, every: SaveEvery | None = None) -> None:
        self.path, self._evolution = path, evolution
        self._every = every or SaveEvery()
        self._generation, self._time = 0, time.monotonic()

    def load(self) -> None:
        """Go on from it; a new evolution starts where there is none.

        Raises
        ------
        MalformedDataError
            If a file is missing or damaged, or of other runs.
        UsageError
            If it was made with other settings, such as another Hessian.
        """
        if not self.path.is_file():
            return
        state = read_state(self.path)
        stop, parts = int(entry(state, "generation")), []
        while self._generation < stop:
            parts.append(read_state(self._history(self._generation)))
            self._generation = int(entry(parts[-1], "stop"))
        for key in parts[0] if parts else ():
            state[key] = np.concatenate([np.atleast_1d(entry(part, key)) for part in parts])
        self._evolution.load_state_dict(state)

    def save_if_due(self, is_last: bool = False) -> None:
        """Write it if enough has happened since the last, or if anything has and nothing will."""
        new = self._evolution.generation - self._generation
        if new and (is_last or self._every.is_due(new, time.monotonic() - self._time)):
            self.save()

    def save(self) -> None:
        """Write where all runs stand; killed on the way, the earlier checkpoint is whole."""
        stop = self._evolution.generation
        history = self._evolution.history(self._generation)
        write_arrays(self._history(self._generation), history | {"stop": np.array(stop)})
        write_arrays(self.path, self._evolution.position() | {"generation": stop})
        self._generation, self._time = stop, time.monotonic()

    def remove(self) -> None:
        """Remove its files, if any; first the one without which the others are nothing."""
        self.path.unlink(missing_ok=True)
        for path in self.path.parent.glob(f"{glob.escape(self._stem)}.history*.npz"):
            path.unlink()

    @property
    def _stem(self) -> str:
        return self.path.name.removesuffix(".checkpoint.npz")

    def _history(self, generation: int) -> Path:
        return self.path.with_name(f"{self._stem}.history{generation:05d}.npz")


def _codes(run: Run) -> NDArray[np.float32]:
    codes = np.concatenate(run.codes)
    codes = codes[~np.isnan(np.concatenate(run.scores)[-len(codes) :])]
    return codes[-run.codes_kept :] if run.codes_kept else codes


def _write_grid(path: Path, images: torch.Tensor, per_row: int, untrained: bool) -> None:
    picture = to_imgrid(images, nrow=per_row, padding=PADDING)
    if untrained:
        picture = _marked(picture)
    with atomic_write(path) as unfinished:
        picture.save(unfinished, format="JPEG")


def _marked(picture: Image.Image) -> Image.Image:
    """Add a strip with the mark of untrained networks below a picture."""
    marked = Image.new("RGB", (picture.width, picture.height + _STRIP))
    marked.paste(picture)
    ImageDraw.Draw(marked).text((PADDING, picture.height + 1), UNTRAINED_MARK, fill="white")
    return marked


def _write_trajectory(
    path: Path, scores: NDArray[np.float64], generations: NDArray[np.intp], title: str
) -> None:
    figure = visualize_trajectory(scores, generations, title_str=title)
    figure.axes[0].xaxis.set_major_locator(MaxNLocator(integer=True))
    try:
        with atomic_write(path) as unfinished:
            figure.savefig(unfinished, format="jpg", bbox_inches="tight")
    finally:
        plt.close(figure)


def _write_array(path: Path, array: NDArray[Any]) -> None:
    with atomic_write(path) as unfinished, unfinished.open("wb") as file:
        np.save(file, array)

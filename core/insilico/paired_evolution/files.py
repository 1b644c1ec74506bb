"""Write the files of an evolution: those of the published runs, and the checkpoint of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from core.files import atomic_write
from core.insilico.paired_evolution.folders import archive_name
from core.insilico.paired_evolution.runs import BATCH_SIZE, Evolution, Run
from core.reading.array_files import write_arrays
from core.utils.GAN_utils import ImageGenerator
from core.utils.generators.generated_images import images_of
from core.utils.optimizers.state import read_state
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


def save_checkpoint(path: Path, evolution: Evolution) -> None:
    """Write where all runs stand, in one file that replaces the earlier one at once."""
    write_arrays(path, evolution.state_dict())


def load_checkpoint(path: Path, evolution: Evolution) -> None:
    """Go on from a checkpoint; a new evolution starts where there is none.

    Raises
    ------
    MalformedDataError
        If the file is damaged, or of other runs.
    UsageError
        If it was made with other settings, such as another Hessian.
    """
    if path.is_file():
        evolution.load_state_dict(read_state(path))


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

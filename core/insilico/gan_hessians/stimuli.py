"""Images at set perceptual distances along Hessian eigenvectors: the stimuli of Figure 6.

From an evolved BigGAN code, steps along an eigenvector of its noise or class half are found whose
images differ from the origin by 0.16, 0.24, 0.32 and 0.40, to either side.
"""

from __future__ import annotations

import sys

from core import start

if __name__ == "__main__":
    sys.exit(start.run("core.insilico.gan_hessians.stimuli"))

import argparse
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.optimize import elementwise

from core.command_line import a_path
from core.errors import MalformedDataError, UsageError, choose_from
from core.files import atomic_write, locked
from core.insilico.commands import ResumableExperiment, flag
from core.insilico.gan_hessians.command import (
    DISTANCES,
    HessianSettings,
    load_distance,
    load_generator,
)
from core.insilico.gan_hessians.hessian import Distance, Eigenpairs, eigenpairs_of
from core.insilico.resumable import claim_folder
from core.reading.array_files import read_arrays, write_arrays
from core.utils.batching import map_batches
from core.utils.GAN_utils import ImageGenerator
from core.utils.generators.generated_images import images_of

#: Distances from the origin, and the axes shown, by rank of the eigenvalue (largest first).
TARGET_DISTANCES = (0.16, 0.24, 0.32, 0.40)
AXES = {
    "class": (0, 1, 2, 3, 6, 9, 13, 21, 25, 30, 60),
    "noise": (0, 1, 2, 3, 5, 8, 10, 20, 40),
}

#: How far an achieved distance may lie from its target, as in the published sets.
DISTANCE_TOLERANCE = 1e-3

#: How often the search interval grows before a distance counts as out of reach.
MOST_DOUBLINGS = 12

#: Images generated at a time.
BATCH_SIZE = 16


@dataclass(frozen=True)
class AxisStimuli:
    """Codes along some axes of one half of the code.

    Attributes
    ----------
    axes : tuple of int
        Ranks of the eigenvalues, largest first.
    steps : numpy.ndarray
        (n_axes, 9) signed steps in code space, ascending, 0 in the middle; NaN where the distance
        is not reached.
    distances : numpy.ndarray
        (n_axes, 9) distances achieved, with the sign of the step.
    codes : numpy.ndarray
        (n_axes, 9, d)
    targets : tuple of float
        The distances that were sought.
    """

    axes: tuple[int, ...]
    steps: NDArray[np.float64]
    distances: NDArray[np.float64]
    codes: NDArray[np.float64]
    targets: tuple[float, ...]


def axis_stimuli(
    generator: ImageGenerator,
    distance: Distance,
    origin: NDArray[np.floating],
    pairs: Eigenpairs,
    axes: Sequence[int],
    targets: Sequence[float] = TARGET_DISTANCES,
) -> AxisStimuli:
    """Find the steps along eigenvectors at which images reach some distances.

    Parameters
    ----------
    generator : ImageGenerator
        Makes the images.
    distance : callable
        Distance between images, see `core.insilico.gan_hessians.hessian`.
    origin : array
        (d,) the evolved code.
    pairs : Eigenpairs
        Ascending; eigenvectors of d numbers (zero outside the half that is searched).
    axes : sequence of int
        Which, by rank of the eigenvalue, largest first.
    targets : sequence of float
        Distances, positive and ascending.

    Returns
    -------
    AxisStimuli

    Raises
    ------
    UsageError
        If an axis does not exist, or targets are not positive and ascending.
    """
    wanted = np.asarray(targets, dtype=float)
    if (wanted <= 0).any() or (np.diff(wanted) <= 0).any():
        raise UsageError(f"target distances {tuple(targets)} must be positive and ascending.")
    if outside := [axis for axis in axes if not 0 <= axis < pairs.eigvals.size]:
        raise UsageError(
            f"axis {outside[0]} was asked for; the Hessian has axes 0 to {pairs.eigvals.size - 1}."
        )
    rank = -1 - np.asarray(axes)
    line = _Lines(generator, distance, np.asarray(origin, float).ravel(), pairs.eigvects.T[rank])
    signed = np.concatenate([-wanted[::-1], [0.0], wanted])
    steps = np.zeros((len(axes), len(signed)))
    axis, column = np.nonzero(np.broadcast_to(signed != 0, steps.shape))
    steps[axis, column] = np.sign(signed[column]) * _reach(
        line, axis, signed[column], pairs.eigvals[rank]
    )
    return AxisStimuli(
        axes=tuple(axes),
        steps=steps,
        distances=line.distances(steps, np.arange(len(axes))[:, np.newaxis]) * np.sign(signed),
        codes=line.codes(steps, np.arange(len(axes))[:, np.newaxis]),
        targets=tuple(wanted.tolist()),
    )


def write_stimuli(
    stimuli: AxisStimuli,
    generator: ImageGenerator,
    space: str,
    folder: str | os.PathLike[str],
) -> list[Path]:
    """Write the images of an axis set, named as the tuning sessions name them, and their codes.

    Parameters
    ----------
    stimuli : AxisStimuli
    generator : ImageGenerator
    space : {"class", "noise"}
        Which half of the code.
    folder : path-like
        Gets ``{space}_eig{i}_lin{distance}.jpg`` and ``summary/{space}_ImDist_root_data.npz``.

    Returns
    -------
    list of pathlib.Path
        The images; those whose distance is not reached are left out.
    """
    if space not in AXES:
        raise UsageError(choose_from(space, AXES, "half of the code"))
    folder = Path(folder)
    summary = folder / "summary" / f"{space}_ImDist_root_data.npz"
    arrays = {
        "xtick_arr": stimuli.steps,
        "dsim_arr": stimuli.distances,
        "vecs_arr": stimuli.codes,
        "targ_val": stimuli.targets,
        "eiglist": stimuli.axes,
    }
    write_arrays(summary, arrays)
    signed = [*(-t for t in reversed(stimuli.targets)), 0.0, *stimuli.targets]
    written = []
    for axis, steps, codes in zip(stimuli.axes, stimuli.steps, stimuli.codes, strict=True):
        there = np.isfinite(steps)
        names = [f"{space}_eig{axis}_lin{d:.2f}.jpg" for d in np.array(signed)[there]]
        images = images_of(generator.visualize, codes[there].astype(np.float32), BATCH_SIZE, True)
        pixels = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        for name, picture in zip(names, pixels, strict=True):
            with atomic_write(folder / name) as unfinished:
                Image.fromarray(picture).save(unfinished, format="JPEG", quality=95)
            written.append(folder / name)
    return written


class _Lines:
    """Straight lines from the origin along some directions, and how far images lie along them."""

    def __init__(
        self,
        generator: ImageGenerator,
        distance: Distance,
        origin: NDArray[np.float64],
        directions: NDArray[np.float64],
    ) -> None:
        self._generator, self._distance = generator, distance
        self._origin, self._directions = origin, directions
        self._reference = images_of(
            generator.visualize, origin[np.newaxis].astype(np.float32), 1, True
        ).to(
            generator.device
        )

    def codes(self, steps: NDArray[np.float64], axis: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return codes (..., d) at steps along axes."""
        return self._origin + steps[..., np.newaxis] * self._directions[axis]

    def distances(self, steps: NDArray[np.float64], axis: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the distance of the image at each step from the origin's; NaN at NaN."""
        steps, axis = np.broadcast_arrays(steps, axis)
        found = np.full(steps.shape, np.nan)
        known = np.isfinite(steps)
        codes = self.codes(steps[known], axis[known]).astype(np.float32)
        if len(codes):
            with torch.no_grad():
                found[known] = map_batches(self._from_reference, codes, BATCH_SIZE).numpy()
        return found

    def _from_reference(self, codes: torch.Tensor | NDArray[np.float32]) -> torch.Tensor:
        images = self._generator.visualize(codes)
        return self._distance(self._reference.expand_as(images), images)


def _reach(
    line: _Lines,
    axis: NDArray[np.intp],
    signed_target: NDArray[np.float64],
    curvatures: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the length of the step to each signed target; NaN where it is not reached."""
    sign, target = np.sign(signed_target), np.abs(signed_target)

    def excess(length: NDArray[np.float64], which: NDArray[np.float64]) -> NDArray[np.float64]:
        i = which.astype(int)
        return line.distances(sign[i] * length, axis[i]) - target[i]

    # Close to the origin D = curvature · length² / 2, which tells where to look first.
    curvature = np.maximum(curvatures[axis], curvatures.max() * 1e-6)
    guess = np.sqrt(2 * target / curvature)
    which = np.arange(len(target), dtype=float)
    bracket = elementwise.bracket_root(
        excess, np.zeros_like(guess), guess, xmin=0.0, args=(which,), maxiter=MOST_DOUBLINGS
    )
    lengths = np.full(len(target), np.nan)
    inside = bracket.success
    if inside.any():
        root = elementwise.find_root(
            excess,
            (bracket.bracket[0][inside], bracket.bracket[1][inside]),
            args=(which[inside],),
            tolerances={"fatol": DISTANCE_TOLERANCE},
        )
        lengths[inside] = np.where(root.success, root.x, np.nan)
    return lengths


@dataclass(frozen=True)
class StimulusSettings:
    """What the command makes: one half of the code, and the networks."""

    half: str = flag(choices=AXES, help="half of the code whose axes are shown")
    distance: str = flag(default="LPIPS", choices=DISTANCES, help="default: %(default)s")
    untrained: bool = flag(default=False, help="random weights, marked as such")
    seed: int = flag(default=0, type=int, help="of untrained weights")


def _run(settings: StimulusSettings, given: argparse.Namespace) -> list[Path]:
    with locked(given.output, wait=False):
        return _write(settings, given)


def _write(settings: StimulusSettings, given: argparse.Namespace) -> list[Path]:
    claim_folder(given.output, asdict(settings), given.resume)
    networks = HessianSettings(
        "BigGAN", settings.distance, untrained=settings.untrained, seed=settings.seed
    )
    generator = load_generator(networks, given.device)
    origin, pairs = _read_origin(given.code), _read_half(given.hessian, settings.half)
    axes = [axis for axis in AXES[settings.half] if axis < pairs.eigvals.size]
    distance = load_distance(networks, given.device)
    stimuli = axis_stimuli(generator, distance, origin, pairs, axes)
    return write_stimuli(stimuli, generator, settings.half, given.output)


def _read_origin(path: Path) -> NDArray[np.float64]:
    """Read the best code of an evolution's last generation, or the code of a single Hessian."""
    arrays = read_arrays(path)
    codes = next((arrays[name] for name in ("codes_fin", "codes_all") if name in arrays), None)
    if codes is not None and "scores_all" in arrays and len(codes):
        scores = arrays["scores_all"][-len(codes) :]
        return np.asarray(codes[int(np.argmax(scores))], dtype=float)
    if "vect" in arrays:
        return np.asarray(arrays["vect"], dtype=float).ravel()
    raise MalformedDataError(
        f"{path} holds no code; give the scores….npz of an evolution in BigGAN, or a Hess_cls….npz."
    )


def _read_half(path: Path, half: str) -> Eigenpairs:
    """Read the eigenpairs of one half of BigGAN's code, as vectors of the whole code."""
    arrays, suffix = read_arrays(path), "_clas" if half == "class" else "_nois"
    for end in ("_avg", ""):
        if f"H{suffix}{end}" in arrays:
            pairs = eigenpairs_of(arrays[f"H{suffix}{end}"])
            zeros = np.zeros_like(pairs.eigvects)
            halves = (zeros, pairs.eigvects) if half == "class" else (pairs.eigvects, zeros)
            return pairs._replace(eigvects=np.concatenate(halves))
    raise MalformedDataError(
        f"{path} holds no Hessian of BigGAN's {half} half; give one that "
        "`python -m core.insilico.gan_hessians --generator BigGAN` made."
    )


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--code", required=True, type=a_path, metavar="FILE",
        help="origin: scores….npz of an evolution in BigGAN (its best last code), or Hess_cls….npz",
    )  # fmt: skip
    parser.add_argument(
        "--hessian", required=True, type=a_path, metavar="FILE",
        help="H_avg_1000cls.npz or Hess_cls….npz of core.insilico.gan_hessians",
    )  # fmt: skip


main = ResumableExperiment(
    module="core.insilico.gan_hessians.stimuli",
    does="Make the images of a tuning session: steps of equal perceptual distance along the axes "
    "of BigGAN's Hessian, from one code (Figure 6).",
    example="--half class --code my_hessians/Hess_cls0.npz "
    "--hessian my_hessians/H_avg_1000cls.npz --distance MSE --untrained --output my_stimuli",
    settings=StimulusSettings,
    run=_run,
    arguments=_add_arguments,
).main

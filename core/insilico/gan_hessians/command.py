"""Average Hessians of the generators, from many codes, in the files that searches read.

``python -m core.insilico.gan_hessians --generator BigGAN --output DIR`` computes one Hessian per
class and their mean (``H_avg_1000cls.npz``), ``--generator fc6`` one per code
(``Evolution_Avg_Hess.npz``), any other generator, such as ``--generator FaceGAN`` or your own
``module:object``, one per code too (``Avg_Hess.npz``, whose keys the labels "HessCMA…" read). Each
code has a file of its own, so that an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from core.errors import MalformedDataError, UsageError, choose_from
from core.files import writes_alone
from core.insilico.commands import ResumableExperiment, flag
from core.insilico.gan_hessians.hessian import (
    METHODS,
    Distance,
    Eigenpairs,
    eigenpairs_of,
    hessian_compute,
    mean_hessian,
    mean_squared_error,
)
from core.insilico.resumable import claim_folder, unfinished
from core.progress import progress
from core.reading.array_files import read_arrays, write_arrays
from core.utils.GAN_utils import BigGAN_wrapper, ImageGenerator
from core.utils.generators.named import SHORT_NAMES, full_name, generator_named
from core.utils.scoring.perception import PerceptualNetwork, load_lpips, lpips_vectors

#: Names of the averages as the optimisers and the published analyses read them …
AVERAGE_FILES = {"BigGAN": "H_avg_1000cls.npz", "fc6": "Evolution_Avg_Hess.npz"}
#: … and that of any other generator.
OWN_AVERAGE_FILE = "Avg_Hess.npz"

DISTANCES = ("LPIPS", "MSE")

#: Eigenpairs kept of each Hessian of fc6, as published.
FC6_CUTOFF = 800

#: Codes averaged by default: a class each of ImageNet, and about as many as published evolutions …
N_CODES = {"BigGAN": 1000, "fc6": 284}
#: … and of any other generator.
N_OWN_CODES = 50


@dataclass(frozen=True)
class HessianSettings:
    """All that decides the Hessians of a folder.

    Attributes
    ----------
    generator : str
        "BigGAN", "fc6", or another name of `core.utils.generators.named.generator_named`, such as
        ``module:object`` for one's own.
    distance : {"LPIPS", "MSE"}
        LPIPS with the squeeze trunk on images in [0, 1], not rescaled, as published.
    method : str
        See `core.insilico.gan_hessians.hessian.hessian_compute`; by default BackwardIter for fc6
        and BP for others.
    n_codes : int
        BigGAN: classes 0 to n − 1, one code each. fc6: normal codes; the published average was
        taken over codes evolved in vivo, which are not public. Others: their own random codes. By
        default as `N_CODES` and `N_OWN_CODES`.
    cutoff : int or None
        Eigenpairs of Lanczos; by default `FC6_CUTOFF` for fc6, half of all for others.
    untrained : bool
        Whether generator and LPIPS have random weights.
    seed : int
        Of codes, untrained weights and Lanczos.
    """

    generator: str = flag(
        help=f"{', '.join([*AVERAGE_FILES, *SHORT_NAMES])}, or MODULE:OBJECT for one of your own"
    )
    distance: str = flag(default="LPIPS", choices=DISTANCES)
    method: str = flag(
        default="", choices=METHODS, help="default: BackwardIter for fc6, BP for others"
    )
    n_codes: int = flag(
        "--codes", default=0, type=int, metavar="N",
        help="codes to average (default: "
        + ", ".join(f"{n} for {generator}" for generator, n in N_CODES.items())
        + f", {N_OWN_CODES} for others)",
    )  # fmt: skip
    cutoff: int | None = flag(
        default=None, type=int, metavar="K", help=f"eigenpairs of Lanczos (fc6: {FC6_CUTOFF})"
    )
    untrained: bool = flag(default=False, help="random weights, marked as such")
    seed: int = flag(default=0, type=int)

    def __post_init__(self) -> None:
        is_fc6 = self.generator == "fc6"
        object.__setattr__(self, "method", self.method or ("BackwardIter" if is_fc6 else "BP"))
        own = N_CODES.get(self.generator, N_OWN_CODES)
        object.__setattr__(self, "n_codes", self.n_codes or own)
        object.__setattr__(self, "generator", full_name(self.generator))
        object.__setattr__(self, "cutoff", self.cutoff or (FC6_CUTOFF if is_fc6 else None))
        if ":" not in self.generator and self.generator not in AVERAGE_FILES:
            known = [*AVERAGE_FILES, *SHORT_NAMES]
            told = choose_from(self.generator, known, "generator")
            raise UsageError(f"{told} Name your own module:object.")
        for given, allowed, what in (
            (self.distance, DISTANCES, "distance"),
            (self.method, METHODS, "method for a Hessian"),
        ):
            if given not in allowed:
                raise UsageError(choose_from(given, allowed, what))
        most = N_CODES["BigGAN"] if self.generator == "BigGAN" else sys.maxsize
        if not 1 <= self.n_codes <= most:
            raise UsageError(f"{self.n_codes} codes were asked for; 1 to {most} are possible.")

    @property
    def average_file(self) -> str:
        """Name of the file of the average."""
        return AVERAGE_FILES.get(self.generator, OWN_AVERAGE_FILE)


@writes_alone("folder")
def compute_hessians(
    settings: HessianSettings,
    folder: str | os.PathLike[str],
    resume: bool = False,
    device: str = "auto",
    progress: Callable[[list[int]], Any] = iter,
) -> Path:
    """Compute the Hessian of every code, then their average.

    Parameters
    ----------
    settings : HessianSettings
        What to compute.
    folder : path-like
        Where files go: ``Hess_cls{c}.npz`` or ``Hess_code{i}.npz`` for each code, and the average.
    resume : bool, default False
        Whether to go on with the files that are there.
    device : str, default "auto"
        Where networks run.
    progress : callable, optional
        Wraps the iteration over codes, such as ``tqdm``.

    Returns
    -------
    pathlib.Path
        The file of the average, with the keys of the published one and ``untrained``.

    Raises
    ------
    UsageError
        If the folder holds other results.
    MissingDataError
        If weights are missing.
    """
    folder = Path(folder)
    claim_folder(folder, asdict(settings), resume)
    average_file = folder / settings.average_file
    files = [folder / _code_file(settings.generator, i) for i in range(settings.n_codes)]
    if left := unfinished(range(settings.n_codes), files.__getitem__):
        generator = load_generator(settings, device)
        distance = load_distance(settings, device)
        for i in progress(left):
            write_arrays(files[i], _one_code(settings, generator, distance, i))
    average = _average(settings.generator, files)
    untrained = settings.untrained or _is_untrained(files[0])
    write_arrays(average_file, average | {"untrained": untrained})
    return average_file


def load_generator(settings: HessianSettings, device: str = "auto") -> ImageGenerator:
    """Load the generator of some settings."""
    return generator_named(
        settings.generator, pretrained=not settings.untrained, device=device, seed=settings.seed,
    )  # fmt: skip


def load_distance(settings: HessianSettings, device: str = "auto") -> Distance:
    """Load the image distance of some settings."""
    if settings.distance == "MSE":
        return mean_squared_error
    return Lpips(
        load_lpips(
            "squeeze", rescale=False, device=device, pretrained=not settings.untrained,
            seed=settings.seed,
        )
    )  # fmt: skip


@dataclass(frozen=True)
class Lpips:
    """LPIPS between images that gradients flow to, rescaled as its network says."""

    network: PerceptualNetwork

    def __call__(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Return distances, (n,)."""
        return self.network.module(first, second, normalize=self.network.rescale).flatten()

    def vectors(self, images: torch.Tensor) -> torch.Tensor:
        """Return vectors of images whose squared distances these are, (n, k)."""
        return lpips_vectors(self.network, images)


def code_of(settings: HessianSettings, generator: ImageGenerator, index: int) -> torch.Tensor:
    """Draw one code, (1, d); it depends on the seed and its index alone."""
    rng = np.random.default_rng([settings.seed, index])
    if isinstance(generator, BigGAN_wrapper):
        return generator.sample_vector(1, class_id=index, seed=rng)
    return generator.sample_vector(1, seed=rng)


def _one_code(
    settings: HessianSettings, generator: ImageGenerator, distance: Distance, index: int
) -> dict[str, NDArray[Any]]:
    code = code_of(settings, generator, index)
    seed = np.random.default_rng([settings.seed, index, 1])
    pairs = hessian_compute(generator, code, distance, settings.method, settings.cutoff, seed=seed)
    vector = code.cpu().numpy()
    if isinstance(generator, BigGAN_wrapper):
        return _with_halves(pairs, generator.noise_len, "") | {
            "vect": vector,
            "noisevec": vector[:, : generator.noise_len],
            "classvec": vector[:, generator.noise_len :],
        }
    # The mean needs no more than single precision of a single Hessian.
    return {
        "untrained": np.array(not generator.trained),
        "eigvals": pairs.eigvals,
        "eigvects": pairs.eigvects.astype(np.float32),
        "vect": vector,
    }


def _average(generator: str, files: list[Path]) -> dict[str, NDArray[Any]]:
    mean = mean_hessian(_matrices(files))
    if generator == "BigGAN":
        return _with_halves(mean, len(mean.H) // 2, "_avg")
    if generator == "fc6":
        return {"H_avg": mean.H, "eigv_avg": mean.eigvals, "eigvect_avg": mean.eigvects}
    return {"H_avg": mean.H, "eigvals_avg": mean.eigvals, "eigvects_avg": mean.eigvects}


def _is_untrained(file: Path) -> bool:
    """Tell whether the Hessian of a code says that its generator has random weights."""
    return bool(read_arrays(file).get("untrained", False))


def _with_halves(pairs: Eigenpairs, noise_len: int, suffix: str) -> dict[str, NDArray[Any]]:
    """Return a Hessian of BigGAN and its diagonal blocks of noise and of class."""
    blocks = {
        "": pairs,
        "_nois": eigenpairs_of(pairs.H[:noise_len, :noise_len]),
        "_clas": eigenpairs_of(pairs.H[noise_len:, noise_len:]),
    }
    return {
        f"{name}{block}{suffix}": value
        for block, found in blocks.items()
        for name, value in (
            ("H", found.H),
            ("eigvals", found.eigvals),
            ("eigvects", found.eigvects),
        )
    }


def _matrices(files: list[Path]) -> Iterator[NDArray[np.floating]]:
    for file in files:
        try:
            saved = read_arrays(file)
            if "H" in saved:
                yield saved["H"]
            else:
                yield (saved["eigvects"] * saved["eigvals"]) @ saved["eigvects"].T
        except (ValueError, KeyError) as error:
            raise MalformedDataError(
                f"{file} is not a Hessian of this software ({error}); remove it and run again."
            ) from error


def _code_file(generator: str, index: int) -> str:
    return f"Hess_cls{index}.npz" if generator == "BigGAN" else f"Hess_code{index:05d}.npz"


def _run(settings: HessianSettings, given: argparse.Namespace) -> list[Path]:
    told = partial(progress, what="Hessians", unit="codes")
    return [compute_hessians(settings, given.output, given.resume, given.device, told)]


main = ResumableExperiment(
    module="core.insilico.gan_hessians",
    does="Average the Hessian of an image distance over codes of a generator.",
    example="--generator BigGAN --codes 3 --distance MSE --method BackwardIter --cutoff 20 "
    "--untrained --output my_hessians",
    settings=HessianSettings,
    run=_run,
).main

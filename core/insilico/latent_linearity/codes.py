"""Latent codes whose linearity is measured: drawn, turned into images, and taken apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.errors import MalformedDataError, MissingDataError, UsageError, choose_from
from core.insilico.commands import flag
from core.insilico.latent_linearity.regression import Split
from core.reading.array_files import read_arrays
from core.utils import BigGAN_wrapper, Caffenet, loadBigGAN, upconvGAN

#: Generators, and the spaces that the tables are named after.
SPACE_OF = {"BigGAN": "BigGAN", "fc6": "DeePSim"}

#: Codes of the published run.
N_CODES = 5000

#: Noise of BigGAN codes: a normal distribution cut at two standard deviations, times this.
NOISE_TRUNCATION = 0.7

#: Standard deviation of DeePSim codes. The published sampling is not known; this one follows from
#: the training R² of the published null spaces, if ridge penalties reached up to 1e12.
CODE_STD = 4.0

#: Dimensions of the subspaces of DeePSim with the largest and the smallest Hessian eigenvalues.
SUBSPACES = (512, 256, 128)

#: What a metric looks at: some dimensions of the codes, or directions (d, k) as columns.
Basis = slice | NDArray[np.floating]


@dataclass(frozen=True)
class LinearitySettings:
    """What determines the responses, and so which files of an earlier run may be used again.

    Attributes
    ----------
    generator : {"BigGAN", "fc6"}
    n_codes : int
        Codes, one image each.
    seed : int
        Of the codes, and of untrained weights.
    code_std : float
        Standard deviation of DeePSim codes.
    untrained : bool
        Whether generator and CaffeNet keep random weights.
    """

    generator: str = flag(choices=SPACE_OF, help="source of the images")
    n_codes: int = flag(
        "--codes", default=N_CODES, type=int, metavar="N", help="images (default: %(default)s)"
    )
    seed: int = flag(default=0, type=int, help="of codes, untrained weights, chosen units")
    code_std: float = flag(
        default=CODE_STD, type=float, metavar="SD",
        help="for fc6: standard deviation of the codes (default: %(default)s, a reconstruction)",
    )  # fmt: skip
    untrained: bool = flag(
        default=False,
        help="random weights in generator and CaffeNet: a demonstration, marked as such",
    )

    def __post_init__(self) -> None:
        if self.generator not in SPACE_OF:
            raise UsageError(choose_from(self.generator, SPACE_OF, "generator"))
        if self.seed < 0:
            raise UsageError(f"seed is {self.seed}; it must be 0 or more.")
        if not self.code_std > 0:
            raise UsageError(f"the standard deviation of codes is {self.code_std}; it must be > 0.")
        Split.of(self.n_codes)

    @property
    def space(self) -> str:
        """The generative space, as tables call it."""
        return SPACE_OF[self.generator]


def load_networks(
    settings: LinearitySettings, device: str = "auto"
) -> tuple[BigGAN_wrapper | upconvGAN, Caffenet]:
    """Return the generator and CaffeNet, with published or with random weights."""
    options = {"pretrained": not settings.untrained, "device": device, "seed": settings.seed}
    network = Caffenet(**options)
    if settings.generator == "BigGAN":
        return BigGAN_wrapper(loadBigGAN(**options)), network
    return upconvGAN("fc6", **options), network


def sample_codes(
    settings: LinearitySettings, generator: BigGAN_wrapper | upconvGAN
) -> NDArray[np.float32]:
    """Draw the codes, (n_codes, d).

    BigGAN: truncated noise beside the embedding of a random class. DeePSim: independent normal
    numbers, a reconstruction, as the published sampling is not known.
    """
    n, rng = settings.n_codes, settings.seed
    if isinstance(generator, BigGAN_wrapper):
        codes = generator.sample_vector(n, noise_truncation=NOISE_TRUNCATION, seed=rng)
    else:
        codes = generator.sample_vector(n, noise_std=settings.code_std, seed=rng)
    return codes.cpu().numpy()


def read_hessian(path: str | Path, dimension: int) -> NDArray[np.float64]:
    """Read the eigenvectors of an average Hessian, (dimension, dimension), as columns.

    Parameters
    ----------
    path : path-like
        An ``.npz`` file with ``eigv_avg``, ascending, and ``eigvect_avg``, such as the published
        ``Evolution_Avg_Hess.npz`` or what `core.insilico.gan_hessians` writes.
    dimension : int
        Length of a code.

    Raises
    ------
    MissingDataError
        If there is no such file.
    MalformedDataError
        If it is not an average Hessian of that dimension.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingDataError(f"there is no Hessian {path}; give the path of an .npz file.")
    try:
        values, vectors = read_arrays(path, ("eigv_avg", "eigvect_avg")).values()
    except ValueError as error:
        raise MalformedDataError(
            f"{path} is not an average Hessian ({error}); it must hold eigv_avg and eigvect_avg."
        ) from error
    if values.shape != (dimension,) or vectors.shape != (dimension, dimension):
        raise MalformedDataError(
            f"{path} holds {values.shape} eigenvalues and {vectors.shape} eigenvectors; "
            f"expected {dimension} of each, the whole basis."
        )
    if (np.diff(values) < 0).any():
        raise MalformedDataError(f"{path}: eigv_avg does not ascend; sort it, and eigvect_avg.")
    return vectors.astype(np.float64)


def is_of_untrained(path: str | Path) -> bool:
    """Return whether the file of a Hessian says that it was computed with random weights."""
    try:
        return bool(read_arrays(path, ["untrained"])["untrained"])
    except ValueError:  # no file of a Hessian, or one that does not say it
        return False


def features_of(
    codes: NDArray[np.floating], bases: Mapping[str, Basis]
) -> dict[str, NDArray[np.floating]]:
    """Return the features of each metric: the codes, some of their dimensions, or projections."""
    codes = codes.astype(np.float64)
    return {
        metric: codes[:, basis] if isinstance(basis, slice) else codes @ basis
        for metric, basis in bases.items()
    }


def biggan_bases(noise_length: int = 128) -> dict[str, Basis]:
    """Return the dimensions behind each metric of BigGAN: all, class, noise."""
    return {
        "R2": slice(None),
        "R2_class": slice(noise_length, None),
        "R2_noise": slice(noise_length),
    }


def deepsim_bases(
    eigenvectors: NDArray[np.float64], sizes: tuple[int, ...] = SUBSPACES
) -> dict[str, Basis]:
    """Return the basis behind each metric of DeePSim: all, and the top and null subspaces.

    Parameters
    ----------
    eigenvectors : numpy.ndarray, shape (d, d)
        Columns, ascending by eigenvalue: the last K span the top, the first K the null subspace.
    sizes : tuple of int
        K.
    """
    return {
        "R2": slice(None),
        **{f"R2_top_Hess{size}": eigenvectors[:, -size:] for size in sizes},
        **{f"R2_null_Hess{size}": eigenvectors[:, :size] for size in sizes},
    }


def bases_of(settings: LinearitySettings, hessian: str | Path | None) -> Mapping[str, Basis]:
    """Return the basis behind each metric of an settings.

    Raises
    ------
    UsageError
        If the generator is fc6 and there is no Hessian.
    """
    if settings.generator == "BigGAN":
        return biggan_bases()
    if hessian is None:
        raise UsageError(
            "fc6 needs the average Hessian of the generator; give --hessian FILE, such as "
            "Evolution_Avg_Hess.npz or one made by core.insilico.gan_hessians."
        )
    return deepsim_bases(read_hessian(hessian, dimension=4096))

"""BigGAN-deep (Brock et al. 2019), on the package pytorch_pretrained_biggan.

Two things are called truncation. `noise_truncation` belongs to sampling: noise is drawn from a
normal distribution cut at two standard deviations and multiplied by it. `bn_truncation` belongs to
the generator: its batch-norm statistics were computed for noise of that truncation. The paper uses
0.7 for both.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import scipy
import torch
from torch import nn

from core.errors import UsageError, UserError, choose_from
from core.utils.device import resolve_device
from core.utils.generators.generated_images import Codes, as_arrays, codes_like, images_of
from core.utils.precision import computing_in, require_precision, widened
from core.utils.weights.give_weights import freeze, give_weights
from core.utils.weights.untrained import Seed, State

#: The published evolutions generate with statistics of this truncation …
BN_TRUNCATION = 0.7
#: … and draw initial noise of this standard deviation.
NOISE_STD = 0.7
#: Where sampled noise is cut, in standard deviations.
_CUT_SD = 2.0

#: A distance between rows of the statistics that single precision does not see.
_ON_A_ROW = 1e-9

_TO_64_PIXELS = [
    (False, 16, 16), (True, 16, 16), (False, 16, 16), (True, 16, 8), (False, 8, 8)
]  # fmt: skip
_FROM_128_PIXELS = [(True, 4, 2), (False, 2, 2), (True, 2, 1)]
_TO_256_PIXELS = [
    *_TO_64_PIXELS, (True, 8, 8), (False, 8, 8), (True, 8, 4), (False, 4, 4), *_FROM_128_PIXELS
]  # fmt: skip
#: What the published config files hold beyond the defaults of the package: size in pixels, and
#: the blocks as (doubles the size, channels in, channels out), in units of 128 channels.
CONFIGS: dict[str, dict[str, Any]] = {
    "biggan-deep-128": {
        "output_dim": 128,
        "layers": [*_TO_64_PIXELS, (True, 8, 4), (False, 4, 4), *_FROM_128_PIXELS],
    },
    "biggan-deep-256": {"output_dim": 256, "layers": _TO_256_PIXELS},
    "biggan-deep-512": {
        "output_dim": 512,
        "layers": [*_TO_256_PIXELS, (False, 1, 1), (True, 1, 1)],
    },
}

#: Untrained weights only. Of a class vector's numbers, comparable to the noise beside it:
_EMBEDDING_SD = 0.1
#: … of the last batch norm, so that images have visible contrast (coloured tiles);
_LAST_GAIN = 3.0
#: … and to bring the largest singular value of a random matrix within a few percent.
_POWER_ITERATIONS = 6


def loadBigGAN(
    version: str = "biggan-deep-256",
    pretrained: bool = True,
    weights: str | os.PathLike[str] | None = None,
    device: str | torch.device = "auto",
    seed: Seed = 0,
) -> nn.Module:
    """Make the BigGAN of the package, frozen and in eval mode.

    The configuration is built in, and every weight is checked by name and shape (the package
    itself accepts a file that lacks some).

    Parameters
    ----------
    version : str, default "biggan-deep-256"
        biggan-deep-128, biggan-deep-256 or biggan-deep-512.
    pretrained, weights, device, seed
        As for `upconvGAN`.

    Returns
    -------
    torch.nn.Module
        A `pytorch_pretrained_biggan.BigGAN`, with the attributes ``trained`` and ``version``.

    Raises
    ------
    UsageError
        If the version is unknown.
    UserError
        If the package is not installed.
    MissingDataError, MalformedDataError
        As for `upconvGAN`.
    """
    if version not in CONFIGS:
        raise UsageError(choose_from(version, CONFIGS, "version of BigGAN"))
    target = resolve_device(device)
    model = _build(version)
    trained = give_weights(
        model, version, pretrained=pretrained, weights=weights,
        untrained=partial(_untrained_state, model, seed), surplus=True,
    )  # fmt: skip
    model.trained, model.version = trained, version
    model.extra_repr = partial(str, _described(version, trained))
    return model.to(target)


class BigGAN_wrapper:
    """Images of BigGAN from codes of 256 numbers: noise (128), then the embedding of a class (128).

    Parameters
    ----------
    BigGAN : torch.nn.Module or str, default "biggan-deep-256"
        What `loadBigGAN` returns, or the version to load.
    precision : {"float32", "bfloat16", "tf32"}
        Of its products, see `core.utils.precision`.

    Attributes
    ----------
    BigGAN : torch.nn.Module
        Frozen, in eval mode.
    codelen : int
    latent_shape : tuple of int
    noise_len : int
        How many numbers of a code are noise.
    trained : bool
    """

    def __init__(
        self, BigGAN: nn.Module | str = "biggan-deep-256", *, precision: str = "float32"
    ) -> None:
        self.BigGAN = cast(Any, loadBigGAN(BigGAN) if isinstance(BigGAN, str) else BigGAN)
        freeze(self.BigGAN)
        self.trained: bool = getattr(self.BigGAN, "trained", True)
        self.noise_len: int = self.BigGAN.config.z_dim
        self.codelen: int = self.noise_len + self.BigGAN.embeddings.out_features
        self.latent_shape: tuple[int, ...] = (self.codelen,)
        self.precision = require_precision(precision, self.device)

    def __repr__(self) -> str:
        version = getattr(self.BigGAN, "version", "BigGAN")
        return f"{type(self).__name__}({_described(version, self.trained)})"

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._embedding.device

    @property
    def _embedding(self) -> torch.Tensor:
        """One column per class, shape (128, 1000)."""
        return self.BigGAN.embeddings.weight

    def sample_vector(
        self,
        sampn: int = 1,
        class_id: int | Sequence[int] | None = None,
        device: str | torch.device | None = None,
        noise_std: float | None = None,
        noise_truncation: float | None = None,
        *,
        seed: Seed | None = None,
    ) -> torch.Tensor:
        """Return random codes: noise, and the embedding of a class.

        Parameters
        ----------
        sampn : int, default 1
            How many.
        class_id : int or sequence of int, optional
            ImageNet class of all codes or of each; by default each is drawn.
        device : str or torch.device, optional
            Where to put them; by default where the network is.
        noise_std : float, optional
            Noise from N(0, noise_std²); by default 0.7, as published.
        noise_truncation : float, optional
            Instead: noise from a normal distribution cut at ±2, times this.
        seed : int or numpy.random.Generator, optional
            Without it, every call gives other codes.

        Returns
        -------
        torch.Tensor, shape (sampn, 256)

        Raises
        ------
        UsageError
            If both kinds of noise are asked for, or a class does not exist.
        """
        rng = np.random.default_rng(seed)
        noise = self._noise(sampn, noise_std, noise_truncation, rng)
        embedding = self._embedding
        classes = self._classes(sampn, class_id, rng)
        code = torch.cat([noise.to(embedding), embedding.T[classes.to(embedding.device)]], dim=1)
        return code if device is None else code.to(resolve_device(device))

    def visualize(
        self,
        codes: Codes,
        scale: float = 1.0,
        bn_truncation: float = BN_TRUNCATION,
        *,
        truncation: float | None = None,
    ) -> torch.Tensor:
        """Return images in [0, scale]; gradients flow to the codes.

        Parameters
        ----------
        codes : tensor or array, shape (n, 256)
        scale : float, default 1
            The value of white.
        bn_truncation : float, default 0.7
            Truncation of noise for which the batch-norm statistics were computed, above 0 to 1.
        truncation : float, optional
            The published name of `bn_truncation`, here and in the functions below.

        Returns
        -------
        torch.Tensor, shape (n, 3, height, width)
            On the device of the network.

        Raises
        ------
        UsageError
            If the codes have another shape or the truncation is out of range.
        """
        codes = codes_like(codes, (self.latent_shape,), self._embedding)
        statistics = bn_truncation if truncation is None else truncation
        argument = _package_truncation(statistics, self.BigGAN.config.n_stats)
        with computing_in(self.precision, codes.device):
            images = self.BigGAN.generator(codes, argument)
        images = widened(images) if self.precision == "bfloat16" else images
        return ((images + 1) / 2).clamp(0, 1) * scale

    def visualize_batch(
        self,
        codes: Codes,
        scale: float = 1.0,
        B: int = 15,
        bn_truncation: float = BN_TRUNCATION,
        to_cpu: bool = True,
        *,
        truncation: float | None = None,
    ) -> torch.Tensor:
        """Return images as `visualize` does, B at a time and without gradients.

        Batches shrink when memory runs out. ``to_cpu=False`` leaves the images on the device.
        """
        visualize = partial(
            self.visualize, scale=scale, bn_truncation=bn_truncation, truncation=truncation
        )
        return images_of(visualize, codes, B, to_cpu)

    def visualize_batch_np(
        self,
        codes: Codes,
        bn_truncation: float = BN_TRUNCATION,
        B: int = 15,
        *,
        truncation: float | None = None,
    ) -> torch.Tensor:
        """Return images of an array of codes in [0, 1], on the CPU.

        As published, the second argument is the truncation, and white in `upconvGAN`.
        """
        return self.visualize_batch(codes, 1.0, B, bn_truncation, truncation=truncation)

    def render(
        self,
        codes: Codes,
        bn_truncation: float = BN_TRUNCATION,
        B: int = 15,
        *,
        truncation: float | None = None,
    ) -> list[np.ndarray]:
        """Return images as a list of arrays (height, width, 3); see `upconvGAN.render`."""
        return as_arrays(self.visualize_batch_np(codes, bn_truncation, B, truncation=truncation))

    def _noise(
        self, n: int, std: float | None, truncation: float | None, rng: np.random.Generator
    ) -> torch.Tensor:
        shape = (n, self.noise_len)
        if truncation is not None and not _is_within(truncation, 1):
            raise UsageError(
                f"noise_truncation {truncation!r} was given; it is a number above 0, up to 1."
            )
        if std is not None and std != 0 and not _is_within(std, math.inf):
            raise UsageError(f"noise_std {std!r} was given; it is a number from 0 up.")
        if truncation is None:
            noise = rng.standard_normal(shape) * (NOISE_STD if std is None else std)
        elif std is None:
            noise = truncation * scipy.stats.truncnorm.rvs(
                -_CUT_SD, _CUT_SD, size=shape, random_state=rng
            )
        else:
            raise UsageError(
                f"noise_std={std} and noise_truncation={truncation} were both given; give one."
            )
        return torch.from_numpy(noise).float()

    def _classes(
        self, n: int, class_id: int | Sequence[int] | None, rng: np.random.Generator
    ) -> torch.Tensor:
        known = self.BigGAN.config.num_classes
        drawn = rng.integers(known, size=n) if class_id is None else np.asarray(class_id)
        fits = drawn.shape in {(), (n,)} and drawn.dtype.kind in "iu"
        if not fits or ((drawn < 0) | (drawn >= known)).any():
            raise UsageError(
                f"class_id {class_id!r} was given; it must be one of 0 to {known - 1}, or {n} of "
                "them, one for each code."
            )
        return torch.from_numpy(np.broadcast_to(drawn, n).astype(np.int64))


def _build(version: str) -> Any:
    """Make the network of a version on the meta device."""
    try:
        from pytorch_pretrained_biggan import BigGAN, BigGANConfig
    except ImportError as error:
        raise UserError(
            f"BigGAN needs a package that is not installed ({error}); "
            "run: pip install pytorch_pretrained_biggan"
        ) from error
    with torch.device("meta"):
        return BigGAN(BigGANConfig(**CONFIGS[version]))


def _described(version: str, trained: bool) -> str:
    return version if trained else f"{version}, UNTRAINED"


def _is_within(value: object, most: float) -> bool:
    """Tell whether something is a finite number above 0, up to the largest that is allowed."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        return False
    return 0 < float(value) <= most and math.isfinite(value)


def _package_truncation(bn_truncation: float, n_stats: int) -> float:
    """Return what to tell the package so that it takes the statistics of `bn_truncation`.

    The statistics are a table of n_stats truncations from 0 to 1. Between two rows the package
    interpolates with the two weights swapped, and rounding (0.58 / 0.02 < 29) can put it between
    rows where it should be on one. The mirrored position undoes both.
    """
    if not _is_within(bn_truncation, 1):
        raise UsageError(f"bn_truncation {bn_truncation!r} was given; it must be above 0, up to 1.")
    step = 1.0 / (n_stats - 1)
    if math.modf(bn_truncation / step)[0] == 0:
        return bn_truncation
    position = bn_truncation * (n_stats - 1)
    if (nearest := round(position)) and abs(position - nearest) < _ON_A_ROW:
        position = nearest
    row = math.ceil(position) - 1
    return (row + max(row + 1 - position, _ON_A_ROW)) * step


def _untrained_state(model: nn.Module, seed: Seed) -> State:
    """Draw weights for a BigGAN: random matrices of spectral norm 1, as in training."""
    rng = np.random.default_rng(seed)
    state: State = {}
    for name, tensor in model.state_dict().items():
        stem, _, kind = name.rpartition(".")
        if kind == "weight_orig":
            weight = _normal(tensor.shape, 1.0, rng)
            u, v = _singular_vectors(weight.flatten(1), rng)
            state |= {name: weight, f"{stem}.weight_u": u, f"{stem}.weight_v": v}
        elif kind in {"running_means", "bias", "gamma"}:
            state[name] = torch.zeros(tensor.shape)
        elif kind == "running_vars":
            state[name] = torch.ones(tensor.shape)
        elif name == "embeddings.weight":
            state[name] = _normal(tensor.shape, _EMBEDDING_SD, rng)
        elif name == "generator.bn.weight":
            state[name] = torch.full(tensor.shape, _LAST_GAIN)
    return state


def _singular_vectors(
    matrix: torch.Tensor, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the left and right vectors of the largest singular value, by power iteration."""
    v = nn.functional.normalize(_normal((matrix.shape[1],), 1.0, rng), dim=0)
    u = torch.zeros(matrix.shape[0])
    for _ in range(_POWER_ITERATIONS):
        u = nn.functional.normalize(matrix @ v, dim=0)
        v = nn.functional.normalize(matrix.T @ u, dim=0)
    return u, v


def _normal(shape: tuple[int, ...], sd: float, rng: np.random.Generator) -> torch.Tensor:
    return torch.from_numpy(rng.standard_normal(shape, np.float32)).mul_(sd)

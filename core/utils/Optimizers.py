"""The optimisers of the paper's evolutions, and the labels that its experiments call them by.

>>> import numpy as np
>>> optimizer = label2optimizer("CholCMA", np.ones(256), GAN="BigGAN", random_seed=0)
>>> codes = optimizer.get_init_pop()
>>> optimizer.step_simple(scores=codes.mean(axis=1), codes=codes).shape
(28, 256)
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from core.errors import MalformedDataError, MissingDataError, UsageError, choose_from
from core.reading.array_files import read_arrays
from core.utils.optimizers.arguments import FloatArray, random_source, single_code
from core.utils.optimizers.ask_tell import AskTellOptimizer
from core.utils.optimizers.cma import CholeskyCMAES, HessCMAES
from core.utils.optimizers.composite import concat_wrapper, fix_param_wrapper
from core.utils.optimizers.rank_weights import rankweight
from core.utils.optimizers.sphere import ZOHA_Sphere_lr_euclid

__all__ = [
    "AskTellOptimizer",
    "CholeskyCMAES",
    "HessCMAES",
    "ZOHA_Sphere_lr_euclid",
    "concat_wrapper",
    "fix_param_wrapper",
    "label2optimizer",
    "optimizer_labels",
    "rankweight",
]

Hessian = Mapping[str, Any] | str | os.PathLike[str]

#: Length of the code of each generator.
CODE_LENGTH = {"BigGAN": 256, "fc6": 4096}

#: With this frequency no update of the covariance falls into an experiment's 100 generations.
NEVER = 102


@dataclass(frozen=True)
class _Axes:
    """Which eigenpairs of a Hessian file to search along, how many, and the exponent."""

    eigvals: str
    eigvects: str
    cutoff: int
    expon: float


@dataclass(frozen=True)
class _Block:
    """One optimiser: the dimensions it searches and its settings."""

    start: int
    stop: int
    init_sigma: float
    Aupdate_freq: int = 10
    axes: _Axes | None = None


_BIGGAN_AXES = _Axes("eigvals_avg", "eigvects_avg", cutoff=256, expon=1 / 2.5)
_CLASS_AXES = _Axes("eigvals_clas_avg", "eigvects_clas_avg", cutoff=128, expon=1 / 2.5)


def _fc6_axes(cutoff: int, expon: float) -> _Axes:
    return _Axes("eigv_avg", "eigvect_avg", cutoff, expon)


#: The optimisers of the paper's in-silico evolutions by generator and label. BigGAN's code is
#: 128 noise dimensions, then 128 of the class. Dimensions outside the blocks stay.
_BLOCKS: dict[str, dict[str, tuple[_Block, ...]]] = {
    "BigGAN": {
        "CholCMA": (_Block(0, 256, 0.2),),
        "CholCMA_noA": (_Block(0, 256, 0.2, NEVER),),
        "CholCMA_class": (_Block(128, 256, 0.06),),
        "CholCMA_noise": (_Block(0, 128, 0.3),),
        "CholCMA_prod": (_Block(0, 128, 0.1), _Block(128, 256, 0.06)),
        "HessCMA": (_Block(0, 256, 0.2, axes=_BIGGAN_AXES),),
        "HessCMA_noA": (_Block(0, 256, 0.2, NEVER, _BIGGAN_AXES),),
        "HessCMA_class": (_Block(128, 256, 0.2, axes=_CLASS_AXES),),
    },
    "fc6": {
        "CholCMA": (_Block(0, 4096, 3.0),),
        "CholCMA_noA": (_Block(0, 4096, 3.0, NEVER),),
        "HessCMA800": (_Block(0, 4096, 0.8, axes=_fc6_axes(800, 1 / 5)),),
        "HessCMA500": (_Block(0, 4096, 0.8, axes=_fc6_axes(500, 1 / 5)),),
        "HessCMA500_1": (_Block(0, 4096, 0.4, axes=_fc6_axes(500, 1 / 4)),),
    },
}


def optimizer_labels(GAN: str = "BigGAN") -> tuple[str, ...]:
    """Return the labels that `label2optimizer` knows for a generator.

    Raises
    ------
    UsageError
        If the generator is neither "BigGAN" nor "fc6".

    Examples
    --------
    >>> optimizer_labels("fc6")
    ('CholCMA', 'CholCMA_noA', 'HessCMA800', 'HessCMA500', 'HessCMA500_1')
    """
    if GAN not in _BLOCKS:
        raise UsageError(choose_from(GAN, _BLOCKS, "generator"))
    return tuple(_BLOCKS[GAN])


def label2optimizer(
    label: str,
    init_code: ArrayLike,
    GAN: str = "BigGAN",
    hessian: Hessian | None = None,
    random_seed: Any = None,
    maximize: bool = True,
    dtype: DTypeLike = np.float64,
    population_size: int | None = None,
) -> AskTellOptimizer:
    """Make the optimiser that the paper's in-silico experiments call by a label.

    Parameters
    ----------
    label : str
        One of ``optimizer_labels(GAN)``.
    init_code : array-like, shape (N,) or (1, N)
        First code, N 256 for BigGAN and 4096 for fc6. Dimensions that are not searched stay as
        they are in it.
    GAN : {"BigGAN", "fc6"}
        The generator.
    hessian : mapping or path of an .npz file, optional
        Needed by the labels "HessCMA…": eigenpairs of the generator's averaged Hessian under
        their names in the published files, ``eigvals_avg`` and ``eigvects_avg`` for BigGAN
        (``eigvals_clas_avg`` and ``eigvects_clas_avg`` for its class dimensions), ``eigv_avg`` and
        ``eigvect_avg`` for fc6.
    random_seed : int, numpy.random.Generator, numpy.random.RandomState or None
        Where random numbers come from; two optimisers under one label draw from it in turn.
    maximize : bool, default True
        Whether high scores are good.
    dtype : dtype, default float64
        Type of the returned codes, float32 or float64.
    population_size : int, optional
        Codes per generation; by default that of the dimension searched, as published.

    Returns
    -------
    AskTellOptimizer

    Raises
    ------
    UsageError
        If label, generator, code or eigenpairs cannot be used, or a Hessian is needed and missing.
    MissingDataError, MalformedDataError
        If the file of the Hessian does not exist or is no .npz file.
    """
    if label not in optimizer_labels(GAN):
        raise UsageError(choose_from(label, _BLOCKS[GAN], f"optimiser label for {GAN}"))
    blocks = _BLOCKS[GAN][label]
    code = single_code(init_code, CODE_LENGTH[GAN], f"init_code of {GAN}")
    common = {
        "maximize": maximize,
        "random_seed": random_source(random_seed),
        "dtype": dtype,
        "population_size": population_size,
    }
    parts = [
        _optimizer_of(block, code, _eigenpairs(block.axes, hessian, label), common)
        for block in blocks
    ]
    if len(parts) == 2:
        return concat_wrapper(*parts)
    if blocks[0].start > 0:
        return fix_param_wrapper(parts[0], code[: blocks[0].start], pre=True)
    if blocks[0].stop < len(code):
        return fix_param_wrapper(parts[0], code[blocks[0].stop :], pre=False)
    return parts[0]


def _optimizer_of(
    block: _Block,
    code: FloatArray,
    eigenpairs: tuple[FloatArray, FloatArray] | None,
    common: Mapping[str, Any],
) -> AskTellOptimizer:
    settings: dict[str, Any] = {
        "space_dimen": block.stop - block.start,
        "init_sigma": block.init_sigma,
        "init_code": code[block.start : block.stop],
        "Aupdate_freq": block.Aupdate_freq,
        **common,
    }
    if block.axes is None or eigenpairs is None:
        return CholeskyCMAES(**settings)
    optimizer = HessCMAES(cutoff=block.axes.cutoff, **settings)
    optimizer.set_Hessian(*eigenpairs, expon=block.axes.expon)
    return optimizer


def _eigenpairs(
    axes: _Axes | None, hessian: Hessian | None, label: str
) -> tuple[FloatArray, FloatArray] | None:
    if axes is None:
        return None
    names = (axes.eigvals, axes.eigvects)
    if hessian is None:
        raise UsageError(
            f"label {label!r} needs hessian=, a mapping or an .npz file with {names[0]} and "
            f"{names[1]}."
        )
    if isinstance(hessian, Mapping):
        return _named_arrays(hessian, names, label)
    path = Path(hessian)
    if not path.is_file():
        raise MissingDataError(f"no Hessian at {path}; give an .npz file of averaged eigenpairs.")
    try:
        return _named_arrays(read_arrays(path), names, label)
    except ValueError as error:
        raise MalformedDataError(
            f"{path} is no .npz file of arrays ({error}); give one of averaged eigenpairs."
        ) from error


def _named_arrays(
    arrays: Mapping[str, Any], names: tuple[str, str], label: str
) -> tuple[FloatArray, FloatArray]:
    for name in names:
        if name not in arrays:
            raise UsageError(f"the Hessian for {label!r}: {choose_from(name, arrays, 'entry')}")
    return np.asarray(arrays[names[0]]), np.asarray(arrays[names[1]])

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
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from core.errors import MalformedDataError, MissingDataError, UsageError, choose_from
from core.published_names import door
from core.reading.array_files import read_arrays
from core.utils.optimizers.arguments import FloatArray, random_source, single_code
from core.utils.optimizers.ask_tell import AskTellOptimizer
from core.utils.optimizers.cma import CholeskyCMAES, HessCMAES
from core.utils.optimizers.composite import concat_wrapper, fix_param_wrapper, founder_wrapper
from core.utils.optimizers.gradient import GradientAscent
from core.utils.optimizers.peers import ask_tell_peer
from core.utils.optimizers.plain import LABELS as PLAIN_LABELS
from core.utils.optimizers.plain import hessian_cutoff, plain_optimizer, suggested_sigma
from core.utils.optimizers.rank_weights import rankweight
from core.utils.optimizers.restore import optimizer_from_state
from core.utils.optimizers.sphere import ZOHA_Sphere_lr_euclid
from core.utils.published_keywords import published_keywords

__all__ = [
    "AskTellOptimizer",
    "CholeskyCMAES",
    "GradientAscent",
    "HessCMAES",
    "ZOHA_Sphere_lr_euclid",
    "ask_tell_peer",
    "concat_wrapper",
    "fix_param_wrapper",
    "founder_wrapper",
    "hessian_cutoff",
    "label2optimizer",
    "optimizer_from_state",
    "optimizer_labels",
    "rankweight",
    "suggested_sigma",
]

Hessian = Mapping[str, Any] | str | os.PathLike[str]

#: Length of the code of each generator.
CODE_LENGTH = {"BigGAN": 256, "fc6": 4096}

#: Usual size of one number of its codes: fc6 N(0, 1); BigGAN noise of SD 0.7 and small classes.
USUAL_SIZE = {"BigGAN": 0.5, "fc6": 1.0}

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


#: Labels beside the published ones that settings of the published generators know too.
_MORE_LABELS = ("CholCMA_standard", "Sphere")


def optimizer_labels(GAN: Any = "BigGAN") -> tuple[str, ...]:
    """Return the labels that `label2optimizer` knows for a generator.

    Parameters
    ----------
    GAN : {"BigGAN", "fc6"} or a generator
        Any other generator, or the ``module:object`` that names it, has labels that fit all.

    Raises
    ------
    UsageError
        If a name is none of these.

    Examples
    --------
    >>> optimizer_labels("fc6")[:5]
    ('CholCMA', 'CholCMA_noA', 'HessCMA800', 'HessCMA500', 'HessCMA500_1')
    """
    name = _published_name(GAN)
    return (*_BLOCKS[name], *_MORE_LABELS) if name else PLAIN_LABELS


@published_keywords(methodlabel="label", Hdata="hessian")
def label2optimizer(
    label: str,
    init_code: ArrayLike,
    GAN: Any = "BigGAN",
    hessian: Hessian | None = None,
    random_seed: Any = None,
    maximize: bool = True,
    dtype: DTypeLike = np.float64,
    population_size: int | None = None,
    init_sigma: float | None = None,
) -> AskTellOptimizer:
    """Make the optimiser that the paper's in-silico experiments call by a label.

    On step sizes: the published ones are for codes of N(0, 1) (fc6: 3) and for BigGAN (0.2). In
    another space begin with about half of the usual size of a code's numbers. On schedules: the
    published update of the covariance in every 11th generation is for experiments of some 100
    generations, in which it hardly matters. As a general optimiser it does: at 32 dimensions it
    solves neither Rosenbrock's function nor an ill-conditioned ellipsoid within 100,000
    evaluations. The label "CholCMA_standard" updates in every generation and does.

    Parameters
    ----------
    label : str
        One of ``optimizer_labels(GAN)``.
    init_code : array-like, shape (N,) or (1, N)
        First code, N 256 for BigGAN and 4096 for fc6. Dimensions that are not searched stay as
        they are in it.
    GAN : {"BigGAN", "fc6"} or a generator
        For other generators than these two see `core.utils.optimizers.plain.plain_optimizer`,
        whose labels are the same for all.
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
    init_sigma : float, optional
        First step size in place of the label's.

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
    name = _published_name(GAN)
    if name is None or label not in _BLOCKS[name]:
        if name is not None and label not in (*_MORE_LABELS, "Adam"):
            known = optimizer_labels(name)
            raise UsageError(choose_from(label, known, f"optimiser label for {name}"))
        return plain_optimizer(
            label, init_code, _usual_size(GAN if name is None else name),
            hessian=_hessian_arrays(hessian), random_seed=random_seed, maximize=maximize,
            dtype=dtype, population_size=population_size, init_sigma=init_sigma,
        )  # fmt: skip
    blocks = _BLOCKS[name][label]
    code = single_code(init_code, CODE_LENGTH[name], f"init_code of {name}")
    common = {
        "maximize": maximize,
        "random_seed": random_source(random_seed),
        "dtype": dtype,
        "population_size": population_size,
        **({} if init_sigma is None else {"init_sigma": init_sigma}),
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


def _published_name(GAN: Any) -> str | None:
    """Return which of the two published generators this is; None for any other generator."""
    if isinstance(GAN, str):
        if GAN in _BLOCKS:
            return GAN
        if ":" in GAN:
            return None
        raise UsageError(choose_from(GAN, _BLOCKS, "generator") + " Name your own module:object.")
    if type(GAN).__name__ == "BigGAN_wrapper" and GAN.codelen == CODE_LENGTH["BigGAN"]:
        return "BigGAN"
    is_fc6 = getattr(GAN, "name", None) == "fc6" and GAN.codelen == CODE_LENGTH["fc6"]
    return "fc6" if is_fc6 else None


def _usual_size(GAN: Any) -> float:
    """Return the usual size of one number of a generator's code."""
    if isinstance(GAN, str):
        if GAN in USUAL_SIZE:
            return USUAL_SIZE[GAN]
        raise UsageError(f"generator {GAN!r} is known by name only; give the generator itself.")
    from core.utils.generators.protocol import code_scale

    return code_scale(GAN)


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
    arrays = _hessian_arrays(hessian)
    if arrays is None:
        raise UsageError(
            f"label {label!r} needs hessian=, a mapping or an .npz file with {axes.eigvals} and "
            f"{axes.eigvects}."
        )
    for name in (axes.eigvals, axes.eigvects):
        if name not in arrays:
            raise UsageError(f"the Hessian for {label!r}: {choose_from(name, arrays, 'entry')}")
    return np.asarray(arrays[axes.eigvals]), np.asarray(arrays[axes.eigvects])


def _hessian_arrays(hessian: Hessian | None) -> Mapping[str, Any] | None:
    if hessian is None or isinstance(hessian, Mapping):
        return hessian
    path = Path(hessian)
    if not path.is_file():
        raise MissingDataError(f"no Hessian at {path}; give an .npz file of averaged eigenpairs.")
    try:
        return read_arrays(path)
    except ValueError as error:
        raise MalformedDataError(
            f"{path} is no .npz file of arrays ({error}); give one of averaged eigenpairs."
        ) from error


if not TYPE_CHECKING:
    __getattr__ = door(__name__)

"""Optimisers by label for any generator: settings follow from the size of its codes.

The published labels fix dimensions and step sizes for DeePSim fc6 and BigGAN. Here the first step
is a share of the usual norm of a code, so that a label means the same search in every space.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.errors import UsageError, choose_from
from core.utils.optimizers.arguments import FloatArray, random_source, single_code
from core.utils.optimizers.ask_tell import AskTellOptimizer
from core.utils.optimizers.cma import HESSIAN_EXPONENT, CholeskyCMAES, HessCMAES
from core.utils.optimizers.gradient import GradientAscent
from core.utils.optimizers.sphere import ZOHA_Sphere_lr_euclid

#: First step: expected distance of a code from the mean, as a share of the usual norm of a code.
#: Published: 3 for fc6 (norm 64), 0.4 for BigGAN. Chosen here between them.
FIRST_STEP = 0.5

#: Covariance schedules by label: published, never within an experiment, every generation.
SCHEDULES = {"CholCMA": 10, "CholCMA_noA": 10**9, "CholCMA_standard": 0}

#: Share of a Hessian's trace in the eigenvectors that "HessCMA" searches.
TRACE_SHARE = 0.999

#: Codes that climb in parallel by gradient, as in the paper's gradient evolutions.
GRADIENT_CODES = 4

#: Learning rate of gradient ascent, as a share of the usual size of one number of a code.
GRADIENT_RATE = 0.1

LABELS = (*SCHEDULES, "HessCMA", "Sphere", "Adam")

#: Names under which files and functions keep eigenvalues and eigenvectors.
_PAIRS = (("eigvals", "eigvects"), ("eigvals_avg", "eigvects_avg"), ("eigv_avg", "eigvect_avg"))

_HESSIAN_LABEL = re.compile(r"HessCMA(\d*)")


def plain_optimizer(
    label: str,
    init_code: ArrayLike,
    scale: float,
    *,
    hessian: Mapping[str, Any] | None = None,
    random_seed: Any = None,
    maximize: bool = True,
    dtype: Any = np.float64,
    population_size: int | None = None,
    init_sigma: float | None = None,
) -> AskTellOptimizer:
    """Make an optimiser for codes of any length.

    Parameters
    ----------
    label : str
        Of `LABELS`: "CholCMA" with the published schedule of the covariance (every 11th
        generation), "CholCMA_noA" without, "CholCMA_standard" with an update in every generation;
        "HessCMA" along eigenvectors of a Hessian that make up 99.9 % of its trace, "HessCMA30"
        along 30 of them; "Sphere"; "Adam" (gradient ascent of 4 codes).
    init_code : array-like, shape (N,) or (1, N)
    scale : float
        Usual size of one number of a code: `core.utils.generators.protocol.code_scale`.
    hessian : mapping, optional
        ``eigvals`` and ``eigvects``, any number of pairs, for "HessCMA".
    random_seed, maximize, dtype, population_size
        As for `CholeskyCMAES`.
    init_sigma : float, optional
        First step size, learning rate of "Adam"; by default a share of the usual code.

    Raises
    ------
    UsageError
        If the label is unknown, or needs a Hessian and there is none.
    """
    code = single_code(init_code, np.size(init_code), "init_code")
    n, random = len(code), random_source(random_seed)
    common = {"maximize": maximize, "random_seed": random, "dtype": dtype}
    if label in SCHEDULES:
        sigma = init_sigma or FIRST_STEP * scale
        more: dict[str, Any] = {"init_sigma": sigma, "Aupdate_freq": SCHEDULES[label]}
        return CholeskyCMAES(n, population_size, init_code=code, **more, **common)
    if found := _HESSIAN_LABEL.fullmatch(label):
        eigvals, eigvects = eigenpairs(hessian, label)
        k = int(found[1] or 0) or hessian_cutoff(eigvals)
        sigma = init_sigma or suggested_sigma(eigvals, scale * np.sqrt(n), k)
        optimizer = HessCMAES(n, population_size, k, sigma, code, **common)
        optimizer.set_Hessian(eigvals, eigvects)
        return optimizer
    if label == "Sphere":
        return _sphere(n, population_size, scale, common)
    if label == "Adam":
        count = population_size or GRADIENT_CODES
        others = scale * random.standard_normal((count - 1, n))
        rate = init_sigma or GRADIENT_RATE * scale
        return GradientAscent(np.vstack([code, others]), rate, maximize, dtype=dtype)
    raise UsageError(choose_from(label, LABELS, "optimiser label"))


def hessian_cutoff(eigvals: ArrayLike, share: float = TRACE_SHARE) -> int:
    """Return how many of the largest eigenvalues make up a share of the trace.

    Parameters
    ----------
    eigvals : array-like, shape (n,)
        In any order; those that are not positive, which rounding leaves of zeros, do not count.
    share : float, default 0.999

    Raises
    ------
    UsageError
        If none is positive, or `share` is not above 0 and at most 1.

    Examples
    --------
    >>> hessian_cutoff([1.0, 90.0, 9.0, 0.0], 0.98)
    2
    """
    values = np.sort(np.asarray(eigvals, dtype=np.float64))[::-1]
    positive = values[values > 0]
    if not len(positive) or not 0 < share <= 1:
        raise UsageError(
            f"{len(positive)} of {len(values)} eigenvalues are positive and a share of {share} of "
            "the trace was asked for; needed are positive ones and a share in 0 to 1."
        )
    reached = np.cumsum(positive) >= share * positive.sum() * (1 - 1e-12)
    return int(np.argmax(reached)) + 1


def suggested_sigma(
    eigvals: ArrayLike, code_norm: float, cutoff: int, expon: float = HESSIAN_EXPONENT
) -> float:
    """Return the first sigma of `HessCMAES` with which a step is half of a usual code long.

    A step has the expected norm ``sigma · sqrt(Σ eigenvalue^(-2 expon))`` over the eigenvalues
    that are searched.

    Parameters
    ----------
    eigvals : array-like, shape (n,)
    code_norm : float
        Usual norm of a code.
    cutoff : int
        How many of the largest eigenvalues are searched.
    expon : float, default 1/2.5
    """
    values = np.sort(np.asarray(eigvals, dtype=np.float64))[::-1][:cutoff]
    if len(values) < cutoff or values[-1] <= 0:
        raise UsageError(
            f"{(values > 0).sum()} positive eigenvalues were given for a cutoff of {cutoff}; use "
            "at most as many."
        )
    return float(FIRST_STEP * code_norm / np.sqrt((values ** (-2 * expon)).sum()))


def eigenpairs(
    hessian: Mapping[str, Any] | None, label: str
) -> tuple[FloatArray, NDArray[np.float64]]:
    """Return eigenvalues and eigenvectors (columns) under any of their usual names.

    Raises
    ------
    UsageError
        If they are not there.
    """
    for values, vectors in _PAIRS:
        if hessian is not None and values in hessian and vectors in hessian:
            return np.asarray(hessian[values]), np.asarray(hessian[vectors])
    raise UsageError(
        f"label {label!r} needs hessian=, a mapping or an .npz file with eigvals and eigvects; "
        f"given was {', '.join(hessian) if hessian else 'nothing'}."
    )


def _sphere(
    n: int, population_size: int | None, scale: float, common: Mapping[str, Any]
) -> AskTellOptimizer:
    size = population_size or 40
    norm = scale * float(np.sqrt(n))
    optimizer = ZOHA_Sphere_lr_euclid(n, size, max(size // 2, 1), sphere_norm=norm, **common)
    optimizer.lr_schedule()
    return optimizer

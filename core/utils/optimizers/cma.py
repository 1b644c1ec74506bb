"""CMA-ES with a rank-one Cholesky update: in all of a code space, or along Hessian eigenvectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from core.errors import UsageError
from core.utils.optimizers.arguments import (
    FloatArray,
    positive_number,
    require_finite,
    whole_number,
)
from core.utils.optimizers.cholesky_factor import as_array
from core.utils.optimizers.rank_one_cma import RankOneCMAES
from core.utils.optimizers.rank_weights import best_first
from core.utils.optimizers.state import array_entry, checksum, require_settings

#: Exploration along an eigenvector is its eigenvalue to minus this power (BigGAN in the paper).
HESSIAN_EXPONENT = 1 / 2.5

#: Eigenvectors may be off an orthonormal basis by this much (float32 solvers stay below it).
ORTHONORMALITY = 1e-3


class CholeskyCMAES(RankOneCMAES):
    """CMA-ES over all of a code space.

    Parameters
    ----------
    space_dimen : int
        Length N of a code.
    population_size : int, optional
        Codes per generation; ``4 + floor(3 log2 N)`` by default (28 for N=256, 40 for 4096).
    init_sigma : float, default 3.0
        First step size, the standard deviation of generation 1 in every coordinate. The paper
        takes 3 for codes of N(0, 1) (fc6); begin with half of the usual size of a code's numbers
        in other spaces.
    init_code : array-like, shape (N,) or (1, N), optional
        Generation 0 and first mean. Without it, score codes of your own first: the first mean is
        the weighted mean of the best of them.
    Aupdate_freq : float or None, default 10
        The covariance is updated when more than this many generations have passed since the last
        time: every 11th for 10, the published schedule, made for about 100 generations. As a
        general optimiser take 0, an update in every generation: at N = 32 the published schedule
        solves neither Rosenbrock's function nor an ellipsoid of condition 10⁶ within 100,000
        evaluations. None: by the learning rate, every ``1 / (10 c1 N)`` generations.
    maximize : bool, default True
        Whether high scores are good.
    random_seed : int, numpy.random.Generator, numpy.random.RandomState or None
        Where random numbers come from: one ``standard_normal((population_size, N))`` a generation.
        0 is a seed like any other; None takes one from the operating system.
    optim_params : mapping, optional
        Learning rates ``cc``, ``cs``, ``c1`` in place of the default ones.
    dtype : dtype, default float64
        Type of the returned codes, float32 or float64.

    Attributes
    ----------
    lambda_, mu : int
        Codes per generation, and those that make the next mean.
    weights : numpy.ndarray, shape (mu,)
        Weights of the latter, best first.
    mueff : float
        ``1 / Σ weights²``.
    sigma : float
        Step size.
    xmean : numpy.ndarray, shape (N,)
        Mean of the coming generation.
    istep : int
        Generations taken so far.

    Raises
    ------
    UsageError
        If an argument cannot be used.

    Notes
    -----
    Memory and time per generation grow with population × N × number of covariance updates so far;
    the (N, N) factor is formed only once there are more than N / 2 of those, or by reading `A`.

    Examples
    --------
    >>> optimizer = CholeskyCMAES(16, init_sigma=0.5, init_code=np.ones(16), random_seed=1)
    >>> codes = optimizer.get_init_pop()
    >>> for generation in range(100):
    ...     codes = optimizer.step_simple(-(codes**2).sum(axis=1), codes)
    >>> bool((optimizer.xmean**2).sum() < 1e-3)
    True
    """

    def __init__(
        self,
        space_dimen: int,
        population_size: int | None = None,
        init_sigma: float = 3.0,
        init_code: ArrayLike | None = None,
        Aupdate_freq: float | None = 10,
        maximize: bool = True,
        random_seed: Any = None,
        optim_params: Mapping[str, float] | None = None,
        dtype: DTypeLike = np.float64,
    ) -> None:
        dimen = whole_number(space_dimen, 1, "space_dimen")
        super().__init__(dimen, dimen, population_size, init_sigma, init_code, Aupdate_freq,
                         maximize, random_seed, optim_params, dtype)  # fmt: skip
        self._search_along(np.ones(dimen))

    @property
    def A(self) -> FloatArray:
        """The factor, shape (N, N), formed for the asking: samples have covariance sigma² AᵀA."""
        return as_array(self._A)

    @property
    def Ainv(self) -> FloatArray:
        """The inverse of the factor, shape (N, N), formed for the asking."""
        return as_array(self._Ainv)

    def _as_codes(self, coordinates: NDArray[Any]) -> NDArray[Any]:
        return coordinates

    def _begin_at(self, code: FloatArray) -> None:
        self._mean = code


class HessCMAES(RankOneCMAES):
    """CMA-ES in the span of the top eigenvectors of a Hessian of the generator.

    The exploration along an eigenvector is ``sigma · eigenvalue^(-expon)``: far where images
    change slowly. What `init_code` has outside the span stays.

    Parameters
    ----------
    space_dimen : int
        Length N of a code.
    population_size : int, optional
        Codes per generation; ``4 + floor(3 log2 cutoff)`` by default (30 for 500, 32 for 800).
    cutoff : int, optional
        Number k of eigenvectors, those of the largest eigenvalues; all N by default.
    init_sigma : float, default 3.0
        First step size, times which eigenvalues to minus `expon` are the standard deviations of
        generation 1; `core.utils.suggested_sigma` gives one for a step of half a usual code.
    init_code, Aupdate_freq, maximize, random_seed, optim_params, dtype
        As for `CholeskyCMAES`; random numbers are ``standard_normal((population_size, cutoff))``.
    eigvals, eigvects, expon
        Handed to `set_Hessian` where they are given.

    Attributes
    ----------
    lambda_, mu, weights, mueff, sigma, xmean, istep
        As for `CholeskyCMAES`.
    cutoff : int
        Number of eigenvectors.

    Raises
    ------
    UsageError
        If an argument cannot be used, or the search begins before there is a Hessian.
    """

    _basis: FloatArray
    _origin: FloatArray

    def __init__(
        self,
        space_dimen: int,
        population_size: int | None = None,
        cutoff: int | None = None,
        init_sigma: float = 3.0,
        init_code: ArrayLike | None = None,
        Aupdate_freq: float | None = 10,
        maximize: bool = True,
        random_seed: Any = None,
        optim_params: Mapping[str, float] | None = None,
        dtype: DTypeLike = np.float64,
        *,
        eigvals: ArrayLike | None = None,
        eigvects: ArrayLike | None = None,
        expon: float = HESSIAN_EXPONENT,
    ) -> None:
        dimen = whole_number(space_dimen, 1, "space_dimen")
        self.cutoff = whole_number(dimen if cutoff is None else cutoff, 1, "cutoff")
        if self.cutoff > dimen:
            raise UsageError(f"cutoff is {cutoff}; a code has only {dimen} dimensions.")
        super().__init__(dimen, self.cutoff, population_size, init_sigma, init_code, Aupdate_freq,
                         maximize, random_seed, optim_params, dtype)  # fmt: skip
        if (eigvals is None) != (eigvects is None):
            raise UsageError("eigvals and eigvects come together; only one of them was given.")
        if eigvals is not None and eigvects is not None:
            self.set_Hessian(eigvals, eigvects, expon=expon)

    def set_Hessian(
        self,
        eigvals: ArrayLike,
        eigvects: ArrayLike,
        cutoff: int | None = None,
        expon: float = HESSIAN_EXPONENT,
    ) -> None:
        """Say along which eigenvectors to search, before the first step.

        Parameters
        ----------
        eigvals : array-like, shape (n,)
            Eigenvalues, n at least `cutoff`, in any order. The largest `cutoff` of them are used
            and must be positive.
        eigvects : array-like, shape (space_dimen, n)
            Orthonormal eigenvectors as columns, in the same order.
        cutoff : int, optional
            That of the optimiser; to say it again is allowed, to change it is not.
        expon : float, default 1/2.5
            Exponent of the exploration (the paper: 1/2.5 for BigGAN, 1/5 or 1/4 for DeePSim fc6).

        Raises
        ------
        UsageError
            If the eigenpairs cannot be used, or the search has begun.
        """
        if self.istep:
            raise UsageError("the search has begun; give the Hessian before the first step.")
        if cutoff not in (None, self.cutoff):
            raise UsageError(
                f"cutoff is {cutoff} here and {self.cutoff} in the optimiser, whose population and "
                "learning rates rest on it; give it to the optimiser."
            )
        expon = positive_number(expon, "expon")
        top_values, self._basis = _top_eigenpairs(
            np.asarray(eigvals), np.asarray(eigvects), self.space_dimen, self.cutoff
        )
        self._top_values = top_values
        self._code_basis = self._basis.astype(self.dtype, copy=False)
        self._search_along(top_values**-expon)
        self._axes = {"expon": expon, "hessian": checksum(top_values, self._basis)}

    @property
    def A(self) -> FloatArray:
        """The factor, shape (cutoff, N), formed for the asking: samples are ``z A``."""
        self._known_scales()
        return as_array(self._A) @ self._basis

    @property
    def Ainv(self) -> FloatArray:
        """The right inverse of the factor, shape (N, cutoff), formed for the asking."""
        self._known_scales()
        return self._basis.T @ as_array(self._Ainv)

    def _as_codes(self, coordinates: NDArray[Any]) -> NDArray[Any]:
        codes = coordinates @ self._code_basis
        codes += self._origin.astype(self.dtype, copy=False)
        return codes

    @property
    def xmean(self) -> FloatArray:
        """Mean of the coming generation, shape (space_dimen,)."""
        return self._origin if not self._mean.any() else self._origin + self._mean @ self._basis

    def _begin_at(self, code: FloatArray) -> None:
        self._origin = code

    def _state(self, whole: bool) -> dict[str, Any]:
        self._known_scales()
        axes = {"eigvals": self._top_values.copy(), "eigvects": self._basis.T.copy()}
        return super()._state(whole) | {"origin": self._origin.copy()} | (axes if whole else {})

    def _load_state(self, state: Mapping[str, Any]) -> None:
        require_settings(state, self._settings())  # first: it tells more than a missing entry
        origin = array_entry(state, "origin", (self.space_dimen,))
        super()._load_state(state)
        self._origin = origin

    def _settings(self) -> dict[str, Any]:
        self._known_scales()
        return super()._settings() | self._axes


def _top_eigenpairs(
    eigvals: NDArray[Any], eigvects: NDArray[Any], space_dimen: int, cutoff: int
) -> tuple[FloatArray, FloatArray]:
    """Return the largest eigenvalues, descending, and their eigenvectors as rows."""
    n = eigvals.size
    if eigvals.ndim != 1 or n < cutoff or eigvects.shape != (space_dimen, n):
        raise UsageError(
            f"eigvals have shape {eigvals.shape} and eigvects {eigvects.shape}; needed are at "
            f"least {cutoff} eigenvalues and, as columns, their vectors of {space_dimen}."
        )
    require_finite(eigvals, "eigvals")
    order = best_first(eigvals.astype(np.float64), maximize=True)[:cutoff]
    values = eigvals[order].astype(np.float64)
    if values[-1] <= 0:
        raise UsageError(
            f"eigenvalue {np.argmax(values <= 0) + 1} of the {cutoff} largest is "
            f"{values[values <= 0][0]:.3g}; all must be positive. Use a cutoff of at most "
            f"{(values > 0).sum()}, such as hessian_cutoff(eigvals, share=0.99) of the trace."
        )
    basis = np.ascontiguousarray(eigvects[:, order].T, dtype=np.float64)
    gram = basis @ basis.T
    gram[np.diag_indices_from(gram)] -= 1
    if not np.abs(gram).max() <= ORTHONORMALITY:
        raise UsageError(
            f"eigvects are not orthonormal columns (inner products are off by "
            f"{np.abs(gram).max():.2g}); give those of numpy.linalg.eigh, vectors as columns."
        )
    return values, basis

"""The rank-one Cholesky CMA-ES of the paper's evolutions.

Samples are ``xmean + sigma · z A`` with standard normal rows ``z``; there is no rank-mu update.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from core.errors import UsageError, choose_from
from core.utils.optimizers.arguments import (
    FLOAT32_ROUNDING,
    FloatArray,
    RandomSource,
    float_dtype,
    positive_number,
    random_source,
    require_finite,
    single_code,
    whole_number,
)
from core.utils.optimizers.ask_tell import AskTellOptimizer
from core.utils.optimizers.cholesky_factor import (
    DiagonalPlusOuter,
    Matrix,
    matrix_from_state,
    matrix_state,
    rank_one_update,
    samples,
)
from core.utils.optimizers.rank_weights import best_first, rankweight
from core.utils.optimizers.state import (
    array_entry,
    checksum,
    count_entry,
    position_of,
    random_entry,
    require_settings,
    restore_random,
    settings_entry,
)

#: Shares of the first step size at which a search has converged, or lost its way.
SMALLEST_STEP, LARGEST_STEP = 1e-6, 1e4

#: The learning rates that `optim_params` may set.
RATES = ("cc", "cs", "c1")


class RankOneCMAES(AskTellOptimizer):
    """The algorithm, in `search_dimen` coordinates that a subclass turns into codes."""

    _A: Matrix
    _Ainv: Matrix
    _normals: FloatArray
    _coordinates: NDArray[Any]
    _codes: NDArray[Any] | None

    def __init__(
        self,
        space_dimen: int,
        search_dimen: int,
        population_size: int | None,
        init_sigma: float,
        init_code: ArrayLike | None,
        Aupdate_freq: float | None,
        maximize: bool,
        random_seed: Any,
        optim_params: Mapping[str, float] | None,
        dtype: DTypeLike,
    ) -> None:
        super().__init__()
        self.space_dimen = space_dimen
        self.search_dimen = search_dimen
        rates = _checked_rates(optim_params or {})
        constants = CMAConstants.of(search_dimen, population_size, Aupdate_freq, rates)
        self.constants = constants
        self.lambda_, self.mu = constants.lambda_, constants.mu
        self.weights, self.mueff = constants.weights.copy(), constants.mueff
        self.maximize = bool(maximize)
        self.dtype = float_dtype(dtype)
        self.sigma = positive_number(init_sigma, "init_sigma")
        self.init_code = (
            None if init_code is None else single_code(init_code, space_dimen, "init_code")
        )
        self._mean = np.zeros(search_dimen)
        self._begin_at(np.zeros(space_dimen) if self.init_code is None else self.init_code)
        self.pc = np.zeros(search_dimen)
        self.ps = np.zeros(search_dimen)
        self.istep = self.counteval = self.eigeneval = 0
        self._given: dict[str, Any] = {
            "init_sigma": self.sigma,
            "Aupdate_freq": None if Aupdate_freq is None else float(Aupdate_freq),
            "rates": rates,
        }
        self._random = random_source(random_seed)
        self._drawn_from = position_of(self._random)
        self._axis_scales: FloatArray | None = None

    def _search_along(self, axis_scales: FloatArray) -> None:
        """Begin with this exploration along each search axis."""
        self._axis_scales = axis_scales
        self._A = DiagonalPlusOuter.of(axis_scales)
        self._Ainv = DiagonalPlusOuter.of(1 / axis_scales)

    @property
    def xmean(self) -> FloatArray:
        """Mean of the coming generation, shape (space_dimen,)."""
        return self._mean

    @abstractmethod
    def _as_codes(self, coordinates: NDArray[Any]) -> NDArray[Any]:
        """Turn a population of search coordinates into codes, both of type `dtype`."""

    def get_init_pop(self) -> NDArray[Any]:
        """Return `init_code` as the only code of generation 0, shape (1, space_dimen).

        Raises
        ------
        UsageError
            If the optimiser was made without one; then any codes may be scored first.
        """
        return self._first_population().astype(self.dtype, copy=False)

    @property
    def n_asked(self) -> int:
        """Number of codes that wait for scores: 1 in generation 0, then the population."""
        return self.lambda_ if self.istep else len(self._first_population())

    def _state(self, whole: bool) -> dict[str, Any]:
        given = {} if self.init_code is None else {"init_code": self.init_code.copy()}
        return {
            **given,
            "dtype": self.dtype.name,
            "settings": settings_entry(self._settings()),
            "random": random_entry(self._random),
            "istep": self.istep,
            "counteval": self.counteval,
            "eigeneval": self.eigeneval,
            "sigma": self.sigma,
            "mean": self._mean.copy(),
            "pc": self.pc.copy(),
            "ps": self.ps.copy(),
            "drawn_from": random_entry(self._random, self._drawn_from),
            **matrix_state(self._A, "A"),
            **matrix_state(self._Ainv, "Ainv"),
        }

    def _load_state(self, state: Mapping[str, Any]) -> None:
        require_settings(state, self._settings())
        k, scales = self.search_dimen, self._known_scales()
        A = matrix_from_state(state, "A", scales)
        Ainv = matrix_from_state(state, "Ainv", 1 / scales)
        mean, pc, ps = (array_entry(state, name, (k,)) for name in ("mean", "pc", "ps"))
        source = deepcopy(self._random)
        restore_random(source, state, "drawn_from")
        drawn_from = position_of(source)
        sigma = float(array_entry(state, "sigma", ()))
        counts = [count_entry(state, name) for name in ("istep", "counteval", "eigeneval")]
        restore_random(self._random, state)
        self._A, self._Ainv = A, Ainv
        self._mean, self.pc, self.ps, self.sigma = mean, pc, ps, sigma
        self._drawn_from = drawn_from
        self.istep, self.counteval, self.eigeneval = counts
        if self.istep:
            self._make_room()
            self._sample(source)

    def _settings(self) -> dict[str, Any]:
        return {
            "optimizer": type(self).__name__,
            "space_dimen": self.space_dimen,
            "search_dimen": self.search_dimen,
            "population_size": self.lambda_,
            "maximize": self.maximize,
            "init_code": None if self.init_code is None else checksum(self.init_code),
            **self._given,
        }

    def _first_population(self) -> FloatArray:
        if self.init_code is None:
            raise UsageError(
                "there is no init_code; give one to the optimiser, or score codes of your own and "
                "hand them to step_simple."
            )
        return self.init_code[np.newaxis].copy()

    def _population(self) -> NDArray[Any]:
        if self.istep == 0:
            return self._first_population()
        if self._codes is None:
            self._codes = self._as_codes(self._coordinates)
        return self._codes

    def _make_room(self) -> None:
        """Make the arrays that every generation overwrites."""
        self._normals = np.empty((self.lambda_, self.search_dimen))
        self._coordinates = np.empty(self._normals.shape, self.dtype)

    def _sample(self, source: RandomSource) -> None:
        """Draw z and make ``mean + sigma · z A``; codes of it are made when they are asked for."""

        def draw(rows: FloatArray) -> None:
            if isinstance(source, np.random.Generator):
                source.standard_normal(out=rows)
            else:
                rows[:] = source.standard_normal(rows.shape)

        samples(self._A, self.sigma, self._mean, self._normals, draw, self._coordinates)
        self._codes = None

    def _check_codes(self, codes: NDArray[Any]) -> None:
        if self.istep == 0:
            require_finite(codes, "codes")
            return
        if codes.shape != (self.lambda_, self.space_dimen):
            raise UsageError(
                f"codes have shape {codes.shape}; generation {self.istep} was asked for "
                f"{self.lambda_} codes of {self.space_dimen}."
            )
        asked = self._population()
        if (codes == asked).all():
            return
        if not (np.abs(codes - asked).max() <= FLOAT32_ROUNDING * np.abs(asked).max()):
            raise UsageError(
                f"these are not the codes that generation {self.istep} was asked for; score all "
                "rows as they were returned, in their order, at float32 precision or better."
            )

    def _update(self, scores: FloatArray, codes: NDArray[Any] | None) -> None:
        self._known_scales()
        order = best_first(scores, self.maximize)
        if self.istep:
            self._adapt(order)
        else:
            self._begin_at(self._first_mean(order, codes))
            self._make_room()
        self._drawn_from = position_of(self._random)
        self._sample(self._random)
        self.counteval += self.lambda_
        self.istep += 1

    @abstractmethod
    def _begin_at(self, code: FloatArray) -> None:
        """Take a code as the first mean."""

    def _first_mean(self, order: NDArray[np.intp], codes: NDArray[Any] | None) -> FloatArray:
        """Return `init_code`, or the weighted mean of the best codes of generation 0."""
        if self.init_code is not None or codes is None:
            return self._first_population()[0]
        if not len(order):
            raise UsageError("no code of generation 0 was shown; show it again.")
        best = order[: self.mu]
        weights = self.weights[: len(best)]
        return (weights / weights.sum()) @ codes[best].astype(np.float64)

    def _weights_of(self, n_shown: int) -> tuple[FloatArray, float]:
        """Return weights, best first, and mueff of a generation of which so many were shown."""
        if n_shown == self.lambda_:
            return self.weights, self.constants.mueff
        weights = rankweight(n_shown)[: max(n_shown // 2, 1)]
        return weights, float(1 / (weights**2).sum())

    def _adapt(self, order: NDArray[np.intp]) -> None:
        """Move the mean, and adapt step size and covariance to the move.

        `order` lists the codes that were shown. Weights and mueff are those of their number, so
        that ps stays standard normal under random selection; the learning rates stay.
        """
        constants = self.constants
        cc, cs = constants.cc, constants.cs
        best_weights, mueff = self._weights_of(len(order))
        weights = np.zeros(self.lambda_)
        weights[order[: len(best_weights)]] = best_weights
        z_w = weights @ self._normals
        z_w_A = z_w @ self._A
        # x ← Σ w_i x_i = x + sigma z_w A, as the weights sum to 1
        self._mean = self._mean + self.sigma * z_w_A
        # ps ← (1-cs) ps + sqrt(cs (2-cs) mueff) z_w;  pc likewise with z_w A
        self.ps = (1 - cs) * self.ps + np.sqrt(cs * (2 - cs) * mueff) * z_w
        self.pc = (1 - cc) * self.pc + np.sqrt(cc * (2 - cc) * mueff) * z_w_A
        # sigma ← sigma exp((cs/damps) (‖ps‖/chiN - 1))
        surprise = np.linalg.norm(self.ps) / constants.chiN - 1
        self.sigma *= float(np.exp(cs / constants.damps * surprise))
        if self.counteval - self.eigeneval > constants.update_crit:
            self.eigeneval = self.counteval
            self._A, self._Ainv = rank_one_update(self._A, self._Ainv, self.pc, constants.c1)

    def _known_scales(self) -> FloatArray:
        if self._axis_scales is None:
            raise UsageError("there is no Hessian yet; call set_Hessian(eigvals, eigvects) first.")
        return self._axis_scales

    def _progress(self) -> str:
        return f"generation {self.istep - 1}, sigma {self.sigma:.3g}"

    def _reasons(self) -> dict[str, str]:
        share = self.sigma / self._given["init_sigma"]
        if share < SMALLEST_STEP:
            return {"converged": f"sigma fell to {share:.2g} of the first"}
        if share > LARGEST_STEP:
            return {"diverged": f"sigma grew to {share:.2g} times the first"}
        return {}


@dataclass(frozen=True)
class CMAConstants:
    """Learning rates of one search, from its dimension and population (Hansen's defaults).

    Attributes
    ----------
    lambda_ : int
        Codes per generation.
    mu : int
        Codes that make the next mean.
    weights : numpy.ndarray, shape (mu,)
        Their weights, best first; they sum to 1.
    mueff : float
        Variance-effective number of weighted codes.
    cc, cs, c1 : float
        Learning rates of the covariance path, of the step-size path, and of the covariance.
    damps : float
        Damping of the step size.
    chiN : float
        Expected norm of a standard normal vector.
    update_crit : float
        Codes to be exceeded between two updates of the factor.
    """

    lambda_: int
    mu: int
    weights: FloatArray
    mueff: float
    cc: float
    cs: float
    c1: float
    damps: float
    chiN: float
    update_crit: float

    @classmethod
    def of(
        cls,
        dimension: int,
        population_size: int | None = None,
        Aupdate_freq: float | None = 10,
        optim_params: Mapping[str, float] | None = None,
    ) -> CMAConstants:
        """Return the constants; arguments as for `CholeskyCMAES`.

        Raises
        ------
        UsageError
            If an argument is out of range.
        """
        N = dimension
        lambda_ = 4 + int(3 * np.log2(N)) if population_size is None else population_size
        lambda_ = whole_number(lambda_, 2, "population_size")
        mu = lambda_ // 2
        weights = rankweight(lambda_)[:mu]
        mueff = 1 / (weights**2).sum()
        rates = {
            "cc": 4 / (N + 4),
            "cs": np.sqrt(mueff) / (np.sqrt(mueff) + np.sqrt(N)),
            "c1": 2 / (N + np.sqrt(2)) ** 2,
        }
        rates |= _checked_rates(optim_params or {})
        cc, cs, c1 = (float(rates[name]) for name in RATES)
        return cls(
            lambda_=lambda_, mu=mu, weights=weights, mueff=float(mueff), cc=cc, cs=cs, c1=c1,
            damps=float(1 + cs + 2 * max(0.0, np.sqrt((mueff - 1) / (N + 1)) - 1)),
            chiN=float(np.sqrt(N) * (1 - 1 / (4 * N) + 1 / (21 * N**2))),
            update_crit=_update_crit(Aupdate_freq, lambda_, c1, N),
        )  # fmt: skip


def _checked_rates(given: Mapping[str, float]) -> dict[str, float]:
    for name, rate in given.items():
        if name not in RATES:
            raise UsageError(choose_from(name, RATES, "key of optim_params"))
        if positive_number(rate, f"optim_params[{name!r}]") >= 1:
            raise UsageError(f"optim_params[{name!r}] is {rate}; it must lie between 0 and 1.")
    return {name: float(rate) for name, rate in given.items()}


def _update_crit(Aupdate_freq: float | None, lambda_: int, c1: float, dimension: int) -> float:
    if Aupdate_freq is None:
        return lambda_ / (c1 * dimension * 10)
    if not isinstance(Aupdate_freq, int | float | np.number) or not Aupdate_freq >= 0:
        raise UsageError(f"Aupdate_freq is {Aupdate_freq!r}; it must be 0 or more, or None.")
    return float(Aupdate_freq) * lambda_

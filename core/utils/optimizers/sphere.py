"""Zeroth-order search on a sphere of codes: explore at an angle, extrapolate past the mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from core.errors import UsageError, choose_from
from core.utils.geometry_utils import ExpMap, orthogonalize, renormalize, slerp
from core.utils.optimizers.arguments import (
    FLOAT32_ROUNDING,
    FloatArray,
    float_dtype,
    positive_number,
    random_source,
    require_finite,
    whole_number,
)
from core.utils.optimizers.ask_tell import AskTellOptimizer
from core.utils.optimizers.rank_weights import best_first, rankweight
from core.utils.optimizers.state import (
    array_entry,
    count_entry,
    random_entry,
    require_settings,
    restore_random,
    settings_entry,
)

#: Schedule "inv" of the published optimiser: degrees = offset + 1 / (slope · generation + start).
INV_OFFSET_DEG, INV_SLOPE, INV_START = 15, 0.0017, 0.0146

SCHEDULES = ("inv", "lin", "exp")


class ZOHA_Sphere_lr_euclid(AskTellOptimizer):
    """Zeroth-order optimiser whose codes all have one norm.

    Each generation is the current basis code followed by `population_size` codes around it, at an
    angle that `lr_schedule` sets. The next basis lies on the great circle from the current one
    through the weighted mean of the population, `lr` times as far.

    Parameters
    ----------
    space_dimen : int
        Length N of a code, at least 2.
    population_size : int, default 40
        Codes per generation, the basis not counted.
    select_size : int, default 20
        Number of best codes that get a weight.
    lr : float, default 1.5
        1 goes to the weighted mean, more goes beyond it.
    maximize : bool, default True
        Whether high scores are good.
    rankweight : bool, default True
        Weigh codes by rank. False: by the difference of their score from that of the basis,
        divided by `population_size`.
    rankbasis : bool, default False
        Whether the basis code takes part in the ranking.
    sphere_norm : float, default 300
        Norm of the codes.
    random_seed : int, numpy.random.Generator, numpy.random.RandomState or None
        Where random numbers come from: one ``standard_normal((population_size, N))`` for
        generation 0 if it is asked for, and one for each later generation.
    dtype : dtype, default float64
        Type of the returned codes, float32 or float64.

    Attributes
    ----------
    istep : int
        -1 before the first step.
    mulist : numpy.ndarray or None
        Exploration per coordinate by generation, radians; the last value goes on.
    xcur, xnew : numpy.ndarray, shape (N,), or None
        Basis of the scored generation and of the coming one.

    Raises
    ------
    UsageError
        If an argument cannot be used, or the search begins before `lr_schedule`.

    Notes
    -----
    In generation 0 any codes can be scored; the next basis is then their weighted mean, brought
    to the sphere, with half of them weighted.
    """

    def __init__(
        self,
        space_dimen: int,
        population_size: int = 40,
        select_size: int = 20,
        lr: float = 1.5,
        maximize: bool = True,
        rankweight: bool = True,
        rankbasis: bool = False,
        sphere_norm: float = 300,
        random_seed: Any = None,
        dtype: DTypeLike = np.float64,
    ) -> None:
        super().__init__()
        self.space_dimen = whole_number(space_dimen, 2, "space_dimen")
        self.population_size = whole_number(population_size, 1, "population_size")
        self.select_size = whole_number(select_size, 1, "select_size")
        if self.select_size > self.population_size:
            raise UsageError(
                f"select_size is {select_size}; only {population_size} codes can be selected."
            )
        self.lr = positive_number(lr, "lr")
        self.maximize = bool(maximize)
        self.rankweight, self.rankbasis = bool(rankweight), bool(rankbasis)
        self.sphere_norm = positive_number(sphere_norm, "sphere_norm")
        self.dtype = float_dtype(dtype)
        self.istep = -1
        self.mulist: FloatArray | None = None
        self.xcur: FloatArray | None = None
        self.xnew: FloatArray | None = None
        self._random = random_source(random_seed)
        self._codes = np.empty((0, self.space_dimen))

    def lr_schedule(
        self, n_gen: int = 100, mode: str = "inv", lim: tuple[float, float] = (50, 7.33)
    ) -> None:
        """Set the angle of exploration by generation.

        Parameters
        ----------
        n_gen : int, default 100
            Length of the schedule; its last angle goes on afterwards.
        mode : {"inv", "lin", "exp"}, default "inv"
            ``15 + 1 / (0.0017 t + 0.0146)`` degrees in generation t, or from the first to the
            second of `lim` linearly or geometrically.
        lim : tuple of float, default (50, 7.33)
            First and last angle of "lin" and "exp", degrees.

        Raises
        ------
        UsageError
            If the mode is unknown or a number is not positive.
        """
        n_gen = whole_number(n_gen, 1, "n_gen")
        first_deg, last_deg = (positive_number(angle, "lim") for angle in lim)
        if mode == "inv":
            angles_deg = INV_OFFSET_DEG + 1 / (INV_SLOPE * np.arange(1, n_gen + 1) + INV_START)
        elif mode == "lin":
            angles_deg = np.linspace(first_deg, last_deg, n_gen)
        elif mode == "exp":
            angles_deg = np.geomspace(first_deg, last_deg, n_gen)
        else:
            raise UsageError(choose_from(mode, SCHEDULES, "mode of lr_schedule"))
        self.mulist = np.deg2rad(angles_deg) / np.sqrt(self.space_dimen)

    def get_init_pop(self) -> NDArray[Any]:
        """Return generation 0: `population_size` random directions of norm `sphere_norm`.

        Raises
        ------
        UsageError
            If the search has begun.
        """
        if self.istep >= 0:
            raise UsageError("the search has begun; ask() returns the codes that wait for scores.")
        return self.ask()

    @property
    def n_asked(self) -> int:
        """Number of codes that wait for scores: the population, with the basis after the start."""
        return self.population_size + (self.istep >= 0)

    def require_scores(self, scores: FloatArray) -> None:
        """Refuse a generation from which nothing can be learnt.

        Raises
        ------
        UsageError
            If fewer than two codes were shown, or, without `rankweight`, not the basis (row 0).
        """
        super().require_scores(scores)
        if not self.rankweight and np.isnan(scores[0]):
            raise UsageError(
                "the basis code (row 0) was not shown, and scores are weighed by their difference "
                "from its; show it again, or use rankweight=True."
            )

    def _state(self, whole: bool) -> dict[str, Any]:
        return {
            "dtype": self.dtype.name,
            "settings": settings_entry(self._settings()),
            "random": random_entry(self._random),
            "istep": self.istep,
            "mulist": self._known_schedule().copy(),
            "codes": self._codes.copy(),
        }

    def _load_state(self, state: Mapping[str, Any]) -> None:
        """Take over a state, its schedule too."""
        require_settings(state, self._settings())
        istep = count_entry(state, "istep")
        mulist = array_entry(state, "mulist", (-1,))
        rows = self.population_size + (istep >= 0)
        codes = array_entry(state, "codes", (rows, self.space_dimen), (0, self.space_dimen))
        restore_random(self._random, state)
        self.istep, self.mulist, self._codes = istep, mulist, codes
        self.xcur = None
        self.xnew = codes[0].copy() if istep >= 0 else None

    def _settings(self) -> dict[str, Any]:
        names = ("space_dimen", "population_size", "select_size", "lr", "maximize", "rankweight")
        more_names = ("rankbasis", "sphere_norm")
        settings = {name: getattr(self, name) for name in names + more_names}
        return {"optimizer": type(self).__name__, **settings}

    def _population(self) -> FloatArray:
        if not len(self._codes):
            directions = self._random.standard_normal((self.population_size, self.space_dimen))
            self._codes = renormalize(directions, self.sphere_norm)
        return self._codes.copy()

    def _check_codes(self, codes: NDArray[Any]) -> None:
        if self.istep < 0:
            require_finite(codes, "codes")
            if not codes.any(axis=1).all():
                raise UsageError("a code is all zero; every code needs a direction on the sphere.")
        elif not self._are_asked_for(codes):
            raise UsageError(
                "these are not the codes that were asked for; score all "
                f"{len(self._codes)} rows as they were returned, in their order, at float32 "
                "precision or better."
            )

    def _are_asked_for(self, codes: NDArray[Any]) -> bool:
        tolerance = FLOAT32_ROUNDING * self.sphere_norm
        same_shape = codes.shape == self._codes.shape
        return same_shape and bool((np.abs(codes - self._codes) <= tolerance).all())

    def _update(self, scores: FloatArray, codes: NDArray[Any] | None) -> None:
        mulist = self._known_schedule()
        first = self.istep < 0
        if codes is None or self._are_asked_for(codes):
            scored = self._population()
        else:
            scored = codes.astype(np.float64)
        by_rank = first and self.rankweight
        weights = _weights_by_rank(scores, self.maximize) if by_rank else self._weights(scores)
        self.xcur = scored[0]
        self.xnew = self._next_basis(scored[0], weights @ scored, 1 if first else self.lr)
        self.istep += 1
        self._codes = self._explore(self.xnew, mulist[min(self.istep, len(mulist) - 1)])

    def _weights(self, scores: FloatArray) -> FloatArray:
        """Weigh the basis (row 0) and the population around it."""
        if not self.rankweight:
            gains = scores - scores[0] if self.maximize else scores[0] - scores
            return np.nan_to_num(gains) / self.population_size  # not shown: no weight
        if self.rankbasis:
            return _weights_by_rank(scores, self.maximize, self.select_size)
        weights = _weights_by_rank(scores[1:], self.maximize, self.select_size)
        return np.concatenate([[0.0], weights])

    def _next_basis(self, current: FloatArray, mean: FloatArray, factor: float) -> FloatArray:
        """Go from `current` towards `mean` along the sphere, `factor` times their angle."""
        if not mean.any():  # equal scores, weighed by difference: nothing was learnt
            mean = current
        target = renormalize(mean, self.sphere_norm)
        if factor == 1:
            return target
        return renormalize(slerp(current, target, factor), self.sphere_norm)

    def _explore(self, basis: FloatArray, angle_per_coordinate: float) -> FloatArray:
        """Return the basis and the population around it."""
        normals = self._random.standard_normal((self.population_size, self.space_dimen))
        around = ExpMap(basis, angle_per_coordinate * orthogonalize(basis, normals))
        return renormalize(np.vstack([basis, around]), self.sphere_norm)

    def _known_schedule(self) -> FloatArray:
        if self.mulist is None:
            raise UsageError("there is no schedule of exploration yet; call lr_schedule() first.")
        return self.mulist

    def _progress(self) -> str:
        return f"generation {self.istep}"


def _weights_by_rank(scores: FloatArray, maximize: bool, mu: float | None = None) -> FloatArray:
    """Weigh codes by their rank among those that were shown; the others get no weight."""
    order, weights = best_first(scores, maximize), np.zeros(len(scores))
    weights[order] = rankweight(len(order), None if mu is None else min(mu, len(order)))
    return weights

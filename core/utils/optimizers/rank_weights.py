"""Scores become ranks, and ranks become weights: all that the optimisers know of a score."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.errors import UsageError
from core.utils.optimizers.arguments import FloatArray, whole_number


def rankweight(lambda_: int, mu: float | None = None) -> FloatArray:
    """Weights of a population by rank, best first: ``ln(mu + 1/2) - ln(rank)``, summing to 1.

    Parameters
    ----------
    lambda_ : int
        Number of codes.
    mu : float, optional
        The best ``floor(mu)`` codes get a weight, the others 0. Half of `lambda_` by default.

    Returns
    -------
    numpy.ndarray, shape (n_codes,)

    Raises
    ------
    UsageError
        If `lambda_` is no whole number from 1 up, or `mu` lies outside 1 to `lambda_`.

    Examples
    --------
    >>> rankweight(4).round(3)
    array([0.804, 0.196, 0.   , 0.   ])
    """
    if whole_number(lambda_, 1, "lambda_") == 1:
        return np.ones(1)
    mu = lambda_ / 2 if mu is None else mu
    if not 1 <= mu <= lambda_:
        raise UsageError(f"mu is {mu} for {lambda_} codes; it must lie between 1 and {lambda_}.")
    weights = np.zeros(lambda_)
    n_weighted = int(mu)
    weights[:n_weighted] = np.log(mu + 0.5) - np.log(np.arange(1, n_weighted + 1))
    return weights / weights.sum()


def best_first(scores: FloatArray, maximize: bool) -> NDArray[np.intp]:
    """Order of the scores from best to worst, without NaN; equal scores keep their order."""
    order = np.argsort(-scores if maximize else scores, kind="stable")  # NaN comes last
    return order[: len(scores) - np.isnan(scores).sum()]

"""Hill climbing by Adam and by CMA-ES, many runs in one batch of tensors.

Runs never mix: a run gives the same result alone and beside others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from core.utils.optimizers.rank_one_cma import CMAConstants

#: Points (n_runs, n_points, d) → scores (n_runs, n_points), larger is better.
Score = Callable[[Tensor], Tensor]

#: Published settings: step of Adam, and first step size of CMA-ES with an update of its covariance
#: factor whenever more than one population has passed.
ADAM_LR, CMA_SIGMA, CMA_UPDATE_FREQ = 0.1, 0.5, 1


def climb_by_adam(
    score: Score, start: Tensor, n_steps: int, learning_rate: float = ADAM_LR
) -> Tensor:
    """Climb along the gradient with Adam (Kingma & Ba 2015).

    Adam works coordinate by coordinate, so that one optimiser serves all runs.

    Parameters
    ----------
    score : callable
        Differentiable; see `Score`.
    start : torch.Tensor, shape (n_runs, d)
        Start point of each run.
    n_steps : int
        Number of steps.
    learning_rate : float
        Step of Adam; its other settings are torch's defaults.

    Returns
    -------
    torch.Tensor, shape (n_runs, d)
        The points after the last step.
    """
    x = start.unsqueeze(1).clone().requires_grad_()
    adam = torch.optim.Adam([x], lr=learning_rate)
    for _ in range(n_steps):
        adam.zero_grad()
        (-score(x).sum()).backward()
        adam.step()
    return x.detach().squeeze(1)


def climb_by_cma(
    score: Score, start: Tensor, n_steps: int, noise: Sequence[np.random.Generator]
) -> Tensor:
    """Climb by rank-one CMA-ES, and return the mean of the population after the last step.

    Parameters
    ----------
    score : callable
        See `Score`; gradients are not used.
    start : torch.Tensor, shape (n_runs, d)
        Start point of each run, its whole first population.
    n_steps : int
        Populations that are scored; the next one, never scored, is averaged.
    noise : sequence of numpy.random.Generator
        One for each run.

    Returns
    -------
    torch.Tensor, shape (n_runs, d)
        Arithmetic mean of the population after the last step, as the published runs read it out.
    """
    with torch.inference_mode():
        search = BatchedCMAES(start, noise)
        codes = search.first_population()
        for _ in range(n_steps - 1):
            codes = search.next_population(score(codes), codes)
    return codes.mean(dim=1)


class BatchedCMAES:
    """CMA-ES with a rank-one update of the Cholesky factor, one search per row.

    Samples are ``mean + sigma · z A`` with standard normal rows ``z``.

    Parameters
    ----------
    start : torch.Tensor, shape (n_runs, d)
        First mean of each run; generation 0 is this point alone, so that its scores change nothing.
    noise : sequence of numpy.random.Generator
        Source of ``z``, one for each run.
    init_sigma : float
        First step size.
    Aupdate_freq : float
        A is updated when more than this many populations have passed since the last update.

    Attributes
    ----------
    constants : CMAConstants
        Population size, weights and learning rates.
    mean, ps, pc : torch.Tensor, shape (n_runs, d)
        Mean of the search, paths of step size and of covariance.
    sigma : torch.Tensor, shape (n_runs,)
        Step size.
    A, Ainv : torch.Tensor, shape (n_runs, d, d)
        Covariance factor and its inverse.
    """

    def __init__(
        self,
        start: Tensor,
        noise: Sequence[np.random.Generator],
        init_sigma: float = CMA_SIGMA,
        Aupdate_freq: float = CMA_UPDATE_FREQ,
    ) -> None:
        n_runs, self.dimension = start.shape
        self.constants = CMAConstants.of(self.dimension, Aupdate_freq=Aupdate_freq)
        self.noise = noise
        self.mean = start.clone()
        self.sigma = start.new_full((n_runs,), init_sigma)
        self.ps, self.pc = torch.zeros_like(start), torch.zeros_like(start)
        identity = torch.eye(self.dimension, dtype=start.dtype, device=start.device)
        self.A, self.Ainv = identity.repeat(n_runs, 1, 1), identity.repeat(n_runs, 1, 1)
        self.weights = torch.as_tensor(self.constants.weights, dtype=start.dtype).to(start.device)
        self._n_sampled = self._n_sampled_at_update = 0

    def first_population(self) -> Tensor:
        """Return the first population that is sampled, (n_runs, population, d)."""
        return self._sample()

    def next_population(self, scores: Tensor, codes: Tensor) -> Tensor:
        """Adapt to the scores (n_runs, population) of the codes, and sample the next population."""
        self._adapt(scores.argsort(dim=1, descending=True, stable=True), codes)
        return self._sample()

    def _sample(self) -> Tensor:
        shape = (self.constants.lambda_, self.dimension)
        drawn = np.stack([source.standard_normal(shape) for source in self.noise])
        self.normals = torch.as_tensor(drawn, dtype=self.mean.dtype).to(self.mean.device)
        self._n_sampled += self.constants.lambda_
        return self.mean[:, None] + self.sigma[:, None, None] * (self.normals @ self.A)

    def _adapt(self, order: Tensor, codes: Tensor) -> None:
        constants = self.constants
        cc, cs, mueff = constants.cc, constants.cs, constants.mueff
        # x = Σ w_i x_i and z_w = Σ w_i z_i over the best mu
        self.mean, z_w = self._weighted_best(order, codes), self._weighted_best(order, self.normals)
        # ps ← (1-cs) ps + sqrt(cs (2-cs) mueff) z_w;  pc likewise with z_w A
        z_w_A = (z_w[:, None] @ self.A)[:, 0]
        self.ps = (1 - cs) * self.ps + np.sqrt(cs * (2 - cs) * mueff) * z_w
        self.pc = (1 - cc) * self.pc + np.sqrt(cc * (2 - cc) * mueff) * z_w_A
        # sigma ← sigma exp((cs/damps) (‖ps‖/chiN - 1))
        surprise = self.ps.norm(dim=1) / constants.chiN - 1
        self.sigma = self.sigma * torch.exp(cs / constants.damps * surprise)
        if self._n_sampled - self._n_sampled_at_update > constants.update_crit:
            self._n_sampled_at_update = self._n_sampled
            self._update_factor()

    def _weighted_best(self, order: Tensor, rows: Tensor) -> Tensor:
        best = order[:, : self.constants.mu, None].expand(-1, -1, self.dimension)
        return (self.weights[:, None] * rows.gather(1, best)).sum(dim=1)

    def _update_factor(self) -> None:
        """Make A the factor of ``(1 - c1) AᵀA + c1 pcᵀpc`` (Suttorp, Hansen & Igel 2009)."""
        c1, a = self.constants.c1, np.sqrt(1 - self.constants.c1)
        pc = self.pc[:, None]
        v = pc @ self.Ainv
        n = v.square().sum(dim=2, keepdim=True)
        q = torch.sqrt(1 + n * c1 / (1 - c1))
        # A ← a A + a/n (q-1) vᵀ pc;  A⁻¹ ← A⁻¹/a - 1/(a n) (1-1/q) A⁻¹ vᵀ v
        self.A.baddbmm_(a / n * (q - 1) * v.mT, pc, beta=a)
        self.Ainv.baddbmm_((1 / q - 1) / (a * n) * (self.Ainv @ v.mT), v, beta=1 / a)

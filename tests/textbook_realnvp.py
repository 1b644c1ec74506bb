"""Extended Figure 5C as one would write it down: torch modules, one network and one run at a time.

The oracle of the tests and the yardstick of the benchmark; it shares no code with `core.insilico`.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tests.textbook_cma import TextbookCMAES


class TextbookRealNVP(nn.Module):
    """One network, drawn from torch's global generator."""

    def __init__(self, dimension: int, depth: int, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.couplings = nn.ModuleList(
                nn.Sequential(
                    nn.Linear(dimension // 2, 16),
                    nn.SiLU(),
                    nn.Linear(16, 16),
                    nn.SiLU(),
                    nn.Linear(16, dimension),
                ).double()
                for _ in range(depth)
            )
            self.maps = [self._draw_map(dimension) for _ in range(depth)]
        self.requires_grad_(False)

    @staticmethod
    def _draw_map(dimension: int) -> tuple[Tensor, Tensor]:
        q, r = torch.linalg.qr(torch.randn(dimension, dimension, dtype=torch.float64))
        shift = torch.randn(dimension, dtype=torch.float64)
        return q @ torch.diag(torch.sign(torch.diag(r))), shift

    def forward(self, x: Tensor) -> Tensor:
        """Return f(x), (n, dimension)."""
        for coupling, (rotation, shift) in zip(self.couplings, self.maps, strict=True):
            a, b = x.chunk(2, dim=-1)
            s, t = coupling(a).chunk(2, dim=-1)
            x = torch.cat([a, b * torch.exp(torch.tanh(s)) + t], dim=-1) @ rotation + shift
        return x

    def log_score(self, x: Tensor) -> Tensor:
        """Return ``-|f(x) - 1|²/2``."""
        return -0.5 * (self(x) - 1).square().sum(dim=-1)


def adam_run(network: TextbookRealNVP, start: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the point after 100 steps of `torch.optim.Adam`."""
    x = nn.Parameter(torch.tensor(start))
    adam = torch.optim.Adam([x], lr=0.1)
    for _ in range(100):
        adam.zero_grad()
        (-network.log_score(x)).backward()
        adam.step()
    return x.detach().numpy()


def cma_run(
    network: TextbookRealNVP, start: NDArray[np.float64], noise: np.random.Generator
) -> NDArray[np.float64]:
    """Return the mean of the 101st population of a dense CMA-ES."""
    identity = np.eye(len(start))
    search = TextbookCMAES(identity, identity, start, 0.5, Aupdate_freq=1, seed=noise)
    codes = start[np.newaxis]
    with torch.no_grad():
        for _ in range(100):
            codes = search.step(network.log_score(torch.as_tensor(codes)).numpy(), codes)
    return codes.mean(axis=0)

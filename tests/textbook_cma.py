"""The rank-one Cholesky CMA-ES as the paper's equations state it, with dense matrices.

The oracle of the tests and the yardstick of the benchmark; it shares no code with `core.utils`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


class TextbookCMAES:
    """Dense A (k × N) and Ainv (N × k); the mean is the weighted mean of the codes handed in."""

    def __init__(
        self,
        A: FloatArray,
        Ainv: FloatArray,
        init_code: FloatArray | None,
        init_sigma: float,
        Aupdate_freq: float = 10,
        maximize: bool = True,
        seed: Any = 0,
    ) -> None:
        k, N = A.shape
        self.A, self.Ainv, self.sigma, self.maximize = A, Ainv, init_sigma, maximize
        self.lambda_ = 4 + int(np.floor(3 * np.log2(k)))
        m = self.lambda_ / 2
        self.mu = int(np.floor(m))
        w = np.log(m + 0.5) - np.log(np.arange(1, self.mu + 1))
        self.weights = w / w.sum()
        self.mueff = 1 / (self.weights**2).sum()
        self.cc = 4 / (k + 4)
        self.cs = np.sqrt(self.mueff) / (np.sqrt(self.mueff) + np.sqrt(k))
        self.c1 = 2 / (k + np.sqrt(2)) ** 2
        self.damps = 1 + self.cs + 2 * max(0, np.sqrt((self.mueff - 1) / (k + 1)) - 1)
        self.chiN = np.sqrt(k) * (1 - 1 / (4 * k) + 1 / (21 * k**2))
        self.update_crit = Aupdate_freq * self.lambda_
        self.init_code = init_code
        self.pc, self.ps, self.Z = np.zeros(N), np.zeros(k), np.empty((0, k))
        self.counteval = self.eigeneval = self.istep = 0
        self.random = np.random.default_rng(seed)

    def step(self, scores: FloatArray, codes: FloatArray) -> FloatArray:
        """Return the next population."""
        shown = np.flatnonzero(~np.isnan(scores))  # NaN: a lost trial
        order = shown[np.argsort(-scores[shown] if self.maximize else scores[shown])]
        best = order[: self.mu]
        if self.istep == 0:
            w = self.weights[: len(best)]
            self.x = (w / w.sum()) @ codes[best] if self.init_code is None else self.init_code
        else:
            m = len(shown) / 2
            best = order[: int(np.floor(m))]
            w = np.log(m + 0.5) - np.log(np.arange(1, len(best) + 1))
            w = w / w.sum()
            mueff = 1 / (w**2).sum()
            self.x = self.x + w @ (codes[best] - self.x)
            z_w = w @ self.Z[best]
            self.ps = (1 - self.cs) * self.ps + np.sqrt(self.cs * (2 - self.cs) * mueff) * z_w
            self.pc = (1 - self.cc) * self.pc + np.sqrt(self.cc * (2 - self.cc) * mueff) * (
                z_w @ self.A
            )
            self.sigma = self.sigma * np.exp(
                self.cs / self.damps * (np.linalg.norm(self.ps) / self.chiN - 1)
            )
            if self.counteval - self.eigeneval > self.update_crit:
                self.eigeneval = self.counteval
                self._update_factor()
        self.Z = self.random.standard_normal((self.lambda_, len(self.A)))
        self.counteval += self.lambda_
        self.istep += 1
        return self.x + self.sigma * self.Z @ self.A

    def _update_factor(self) -> None:
        v = self.pc @ self.Ainv
        n = v @ v
        a = np.sqrt(1 - self.c1)
        q = np.sqrt(1 + n * self.c1 / (1 - self.c1))
        self.A = a * self.A + a / n * (q - 1) * np.outer(v, self.pc)
        self.Ainv = self.Ainv / a - 1 / (a * n) * (1 - 1 / q) * np.outer(self.Ainv @ v, v)

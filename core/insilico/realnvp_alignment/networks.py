"""Random invertible networks (RealNVP, Dinh et al. 2017), many seeds evaluated together.

A network is a stack of layers, each an affine coupling followed by an orthogonal map and a shift.
The first half of the coordinates always passes a coupling unchanged; the orthogonal maps mix.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from core.errors import UsageError

#: Width of both hidden layers of a coupling, whatever the dimension.
HIDDEN_SIZE = 16

DTYPE = torch.float64


@dataclass(frozen=True)
class RealNVP:
    """Frozen random networks f: Rᵈ → Rᵈ, one per seed.

    Attributes
    ----------
    dimension, depth : int
        d, even, and the number of layers; a network without layers is the identity.
    weights, biases : tuple of 3 torch.Tensor
        The three linear maps of each coupling, (depth, n_seeds, n_in, n_out) and
        (depth, n_seeds, 1, n_out).
    rotations, shifts : torch.Tensor
        (depth, n_seeds, d, d) orthogonal and (depth, n_seeds, 1, d).
    """

    dimension: int
    depth: int
    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    rotations: Tensor
    shifts: Tensor

    @classmethod
    def draw(cls, dimension: int, depth: int, seeds: Sequence[int]) -> RealNVP:
        """Draw networks as the published runs did: each from its seed, on the CPU, in their order.

        Parameters
        ----------
        dimension : int
            Even.
        depth : int
            Number of layers.
        seeds : sequence of int
            One network each.

        Raises
        ------
        UsageError
            If the dimension is not even and positive, or the depth negative.
        """
        if dimension < 2 or dimension % 2:
            raise UsageError(f"dimension is {dimension}; it must be even and at least 2.")
        if depth < 0:
            raise UsageError(f"depth is {depth}; it must be 0 or more.")
        networks = [tuple(_draw_parameters(dimension, depth, seed)) for seed in seeds]
        stacked = [torch.stack(parameters, dim=1) for parameters in zip(*networks, strict=True)]
        return cls(dimension, depth, tuple(stacked[0:3]), tuple(stacked[3:6]), *stacked[6:8])

    def forward(self, x: Tensor) -> Tensor:
        """Apply each network to its points, (n_seeds, n_points, d)."""
        for layer in range(self.depth):
            kept, changed = x.chunk(2, dim=-1)
            log_scale, shift = self._coupling(layer, kept)
            x = torch.cat([kept, changed * log_scale.exp() + shift], dim=-1)
            x = torch.baddbmm(self.shifts[layer], x, self.rotations[layer])
        return x

    def inverse(self, y: Tensor) -> Tensor:
        """Return the points that `forward` takes to y, (n_seeds, n_points, d)."""
        for layer in reversed(range(self.depth)):
            y = (y - self.shifts[layer]) @ self.rotations[layer].mT
            kept, changed = y.chunk(2, dim=-1)
            log_scale, shift = self._coupling(layer, kept)
            y = torch.cat([kept, (changed - shift) * (-log_scale).exp()], dim=-1)
        return y

    def _coupling(self, layer: int, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-scale and shift of the changed half; tanh keeps the log-scale in (-1, 1)."""
        hidden = kept
        for i in (0, 1):
            hidden = nn.functional.silu(self._linear(layer, i, hidden))
        raw_log_scale, shift = self._linear(layer, 2, hidden).chunk(2, dim=-1)
        return raw_log_scale.tanh(), shift

    def _linear(self, layer: int, i: int, x: Tensor) -> Tensor:
        return torch.baddbmm(self.biases[i][layer], x, self.weights[i][layer])


def _draw_parameters(dimension: int, depth: int, seed: int) -> Iterator[Tensor]:
    """Yield weights, biases, rotations and shifts of one network, each with the layers first.

    Draw order: the couplings of all layers (weight, bias of each linear map), then the orthogonal
    map and the shift of each layer.
    """
    generator = torch.Generator().manual_seed(seed)
    half = dimension // 2
    sizes = ((half, HIDDEN_SIZE), (HIDDEN_SIZE, HIDDEN_SIZE), (HIDDEN_SIZE, dimension))
    couplings = [[_draw_linear(*size, generator) for size in sizes] for _ in range(depth)]
    maps = [_draw_orthogonal(dimension, generator) for _ in range(depth)]
    for part in (0, 1):
        for i, (n_in, n_out) in enumerate(sizes):
            drawn = [coupling[i][part] for coupling in couplings]
            yield _stacked(drawn, (n_in if part == 0 else 1, n_out))
    yield _stacked([rotation for rotation, _ in maps], (dimension, dimension))
    yield _stacked([shift for _, shift in maps], (1, dimension))


def _stacked(layers: list[Tensor], shape: tuple[int, int]) -> Tensor:
    return torch.stack(layers) if layers else torch.empty((0, *shape), dtype=DTYPE)


def _draw_linear(n_in: int, n_out: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return weight (n_in, n_out) and bias (1, n_out) as ``nn.Linear`` draws them, in float32."""
    weight = nn.init.kaiming_uniform_(torch.empty(n_out, n_in), a=math.sqrt(5), generator=generator)
    bound = 1 / math.sqrt(n_in)
    bias = nn.init.uniform_(torch.empty(1, n_out), -bound, bound, generator=generator)
    return weight.T.to(DTYPE).contiguous(), bias.to(DTYPE)


def _draw_orthogonal(dimension: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return a Haar-distributed orthogonal matrix (reflections occur) and a normal shift (1, d)."""
    normal = torch.randn(dimension, dimension, dtype=DTYPE, generator=generator)
    q, r = torch.linalg.qr(normal)
    shift = torch.randn(1, dimension, dtype=DTYPE, generator=generator)
    return q * r.diagonal().sign(), shift

"""Image spaces that need no weights: Fourier amplitudes, and pixels.

Both are honest generators for anyone without a network's weights. Gradients flow to the codes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate

from core.errors import UsageError
from core.utils.device import resolve_device
from core.utils.generators.generated_images import Codes, codes_like, normal_codes

#: Axes of decorrelated colour in natural images (Ruderman et al. 1998): light to dark, yellow to
#: blue, red to green; and their standard deviations, rounded, as shares of the first.
_AXES = np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]]) / np.sqrt([[3], [6], [2]])
_AXIS_SDS = np.array([1.0, 0.3, 0.1])


class _ImageSpace(ABC):
    """What both spaces share: the grey canvas, colours, the sigmoid, random codes."""

    trained = True
    codelen: int

    def __init__(self, side: int, device: str | torch.device) -> None:
        if side < 2:
            raise UsageError(f"images of {side} pixels were asked for; give 2 or more.")
        self.side = side
        self.device = resolve_device(device)
        colours = torch.from_numpy((_AXES * _AXIS_SDS[:, None]).T)  # rows R, G, B
        self._colours = colours.to(self.device, torch.float32)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """(codelen,)."""
        return (self.codelen,)

    def sample_vector(
        self, sampn: int = 1, *, device: Any = None, seed: int | np.random.Generator | None = None
    ) -> torch.Tensor:
        """Return random codes (sampn, codelen) of independent standard normal numbers."""
        return normal_codes(sampn, self.codelen, seed).to(device or self.device)

    def visualize(self, codes: Codes, scale: float = 1.0) -> torch.Tensor:
        """Return images (n, 3, side, side) in 0 to scale; the code of zeros is grey."""
        rows = codes_like(codes, ((self.codelen,),), self._colours)
        planes = self._planes(rows)
        # logits around grey: sigmoid(4 x) has slope 1 at 0
        return torch.sigmoid(4 * torch.einsum("rc,nchw->nrhw", self._colours, planes)) * scale

    def visualize_batch(self, codes: Codes, *, scale: float = 1.0, B: int = 42) -> torch.Tensor:
        """Return images without gradient, on the CPU, B at a time."""
        rows = torch.as_tensor(codes)
        with torch.no_grad():
            return torch.cat([self.visualize(part, scale).cpu() for part in rows.split(B)])

    @abstractmethod
    def _planes(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the colour axes of each code, (n, 3, side, side)."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.codelen} numbers, {self.side} px)"


class FourierSpace(_ImageSpace):
    """Images by the amplitudes of their lowest spatial frequencies, three colour axes.

    Amplitudes are scaled by 1 / frequency, as those of natural images fall off, so that random
    codes are cloudy pictures and a step of a search changes all frequencies alike.

    Parameters
    ----------
    side : int, default 128
        Of the images, pixels.
    cycles : float, default 9
        Highest frequency, cycles per image. 9 gives 759 numbers, 11 gives 1,131.
    contrast : float, default 0.35
        Standard deviation of the logits' luminance plane for random codes.
    device : str or torch.device, default "cpu"

    Notes
    -----
    For a real image the amplitude at -f is the conjugate of that at f: one half of the plane,
    a cosine and a sine each, and the mean, make up the code.
    """

    def __init__(
        self,
        side: int = 128,
        cycles: float = 9,
        contrast: float = 0.35,
        device: str | torch.device = "cpu",
    ) -> None:
        super().__init__(side, device)
        if not 0 < cycles <= side / 2:
            raise UsageError(
                f"{cycles} cycles per image were asked for; {side} pixels hold up to {side / 2:g}."
            )
        basis = _fourier_basis(side, cycles)
        self._basis = torch.from_numpy(contrast * basis).to(self.device, torch.float32)
        self.cycles = cycles
        self.codelen = 3 * len(basis)

    def _planes(self, rows: torch.Tensor) -> torch.Tensor:
        planes = rows.reshape(len(rows), 3, -1) @ self._basis
        return planes.reshape(len(rows), 3, self.side, self.side)


class PixelSpace(_ImageSpace):
    """Images by the pixels of a coarse grid, enlarged smoothly; three colour axes.

    Parameters
    ----------
    side : int, default 128
        Of the images, pixels.
    grid : int, default 16
        Side of the grid; the code has ``3 grid²`` numbers.
    contrast : float, default 0.35
        Standard deviation of the logits' luminance plane for random codes.
    device : str or torch.device, default "cpu"
    """

    def __init__(
        self,
        side: int = 128,
        grid: int = 16,
        contrast: float = 0.35,
        device: str | torch.device = "cpu",
    ) -> None:
        super().__init__(side, device)
        if not 1 <= grid <= side:
            raise UsageError(f"a grid of {grid} was asked for; give 1 to {side}, the image's side.")
        self.grid, self.contrast = grid, contrast
        self.codelen = 3 * grid**2

    def _planes(self, rows: torch.Tensor) -> torch.Tensor:
        grid = self.contrast * rows.reshape(len(rows), 3, self.grid, self.grid)
        size = (self.side, self.side)
        return interpolate(grid, size, mode="bilinear", align_corners=self.grid > 1)


def _fourier_basis(side: int, cycles: float) -> np.ndarray:
    """Return cosines and sines (n, side²), each times 1 / frequency, together of variance 1."""
    reach = int(cycles)
    vertical, horizontal = np.mgrid[-reach : reach + 1, 0 : reach + 1]
    frequency = np.hypot(vertical, horizontal)
    # one of f and -f: the right half plane, and the upper half of the line between
    half = (frequency <= cycles) & ((horizontal > 0) | (vertical > 0))
    v, h, f = (values[half][:, None, None] for values in (vertical, horizontal, frequency))
    rows, columns = np.mgrid[:side, :side] / side
    phase = 2 * np.pi * (v * rows + h * columns)
    waves = np.concatenate([np.cos(phase) / f, np.sin(phase) / f])
    # the sum of a cosine and a sine with independent N(0, 1) amplitudes has variance 1 / f²
    waves = np.concatenate([np.ones((1, side, side)), waves]).reshape(2 * half.sum() + 1, -1)
    return waves / np.sqrt(1 + (1 / f**2).sum())

"""Time of a row of the exact Hessian of fc6: ours against backpropagating twice, row by row.

``python -m benchmarks.hessians`` moves the first numbers of a code only, so that it ends soon; a
whole Hessian multiplies all images' derivatives with one another besides, which adds a tenth.
"""

from __future__ import annotations

import sys

from core import start

if __name__ == "__main__":
    sys.exit(start.run("benchmarks.hessians"))

import argparse
import time
from typing import Any

import numpy as np
import torch

from core.insilico.gan_hessians.command import (
    DISTANCES,
    HessianSettings,
    load_distance,
    load_generator,
)
from core.insilico.gan_hessians.hessian import Distance, hessian_compute
from core.utils.device import one_thread
from core.utils.generators.protocol import Codes, ImageGenerator


class FirstNumbers:
    """A generator of the first k numbers of a code; the others stay."""

    def __init__(self, generator: ImageGenerator, code: torch.Tensor, k: int) -> None:
        self._generator, self.code = generator, code
        self.codelen, self.device, self.trained = k, generator.device, generator.trained

    def visualize(self, codes: Codes, scale: float = 1.0) -> torch.Tensor:
        """Return images; gradients flow to the codes."""
        first = torch.as_tensor(codes)
        rest = self.code[:, self.codelen :].expand(len(first), -1)
        return self._generator.visualize(torch.cat([first, rest], dim=1), scale)

    def sample_vector(self, sampn: int = 1, **_: Any) -> torch.Tensor:
        """Return the first numbers of the code."""
        return self.code[:, : self.codelen].expand(sampn, -1)


def rows_by_two_backpropagations(
    generator: FirstNumbers, code: torch.Tensor, distance: Distance, n_rows: int
) -> torch.Tensor:
    """Return the first rows of the Hessian, each derived on its own: what ours replaced."""
    reference = generator.visualize(code).detach()
    moving = code.clone().requires_grad_()
    far = distance(reference, generator.visualize(moving)).sum()
    (slope,) = torch.autograd.grad(far, moving, create_graph=True)
    rows = [
        torch.autograd.grad(number, moving, retain_graph=True)[0] for number in slope[0, :n_rows]
    ]
    return torch.cat(rows)


def measure(distance_name: str, numbers: int, rows: int) -> tuple[float, float]:
    """Return seconds of processor time a row, ours and those of rows one by one."""
    settings = HessianSettings("fc6", distance_name, "BP", untrained=True)
    fc6, distance = load_generator(settings, "cpu"), load_distance(settings, "cpu")
    generator = FirstNumbers(fc6, fc6.sample_vector(1, seed=0), numbers)
    code = generator.sample_vector()
    with one_thread():
        few = FirstNumbers(fc6, generator.code, 2)
        hessian_compute(few, few.sample_vector(), distance, "BP")  # a first call loads libraries
        begin = time.process_time()
        found = hessian_compute(generator, code, distance, "BP").H[:rows]
        between = time.process_time()
        expected = rows_by_two_backpropagations(generator, code, distance, rows).numpy()
        end = time.process_time()
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    return (between - begin) / numbers, (end - between) / rows


def main() -> None:
    """Print the times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--numbers", type=int, default=160, help="numbers of the code that move")
    parser.add_argument("--rows", type=int, default=10, help="rows derived one by one")
    given = parser.parse_args()
    for distance in DISTANCES:
        ours, theirs = measure(distance, given.numbers, given.rows)
        print(f"{distance:6s} {ours:.3f} s a row, one by one {theirs:.3f} s: {theirs / ours:.2f}x")

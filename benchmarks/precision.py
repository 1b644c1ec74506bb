"""Scores of a trained network in bfloat16 beside float32: time, and whether images rank alike.

``python -m benchmarks.precision`` shows random images of the Fourier space to EfficientNet-Lite0
(the extra ``trained``). Of every unit, Spearman's correlation of its responses in the two
precisions; images of one distribution are the hard case, since they differ little. Processors
without units for bfloat16 (AMX, AVX-512 BF16) emulate it, and are slower in it.
"""

from __future__ import annotations

import sys

from core import start

if __name__ == "__main__":
    sys.exit(start.run("benchmarks.precision"))

import argparse
import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from core.utils import FourierSpace, TorchScorer

#: Layers that are recorded: in the middle, and the class units.
LAYERS = ("blocks.4.2", "classifier")
#: Units of a layer that are compared, evenly spaced.
UNITS = 300


def responses(
    precision: str, images: NDArray[np.float32], side: int
) -> tuple[float, dict[str, NDArray[np.float32]]]:
    """Return seconds of a pass, and the responses of the layers (n, units)."""
    scorer = TorchScorer("efficientnet_lite0", imgpix=side, device="cpu", precision=precision)
    scorer.set_recording(LAYERS)
    scorer.respond(images[:2])
    start = time.perf_counter()
    found = scorer.respond(images).recordings
    spent = time.perf_counter() - start
    return spent, {layer: found[layer].reshape(len(images), -1) for layer in LAYERS}


def rank_correlations(
    first: NDArray[np.float32], second: NDArray[np.float32]
) -> Iterator[float]:
    """Yield Spearman's correlation of some units that are not silent."""
    for unit in range(0, first.shape[1], max(1, first.shape[1] // UNITS)):
        if np.ptp(first[:, unit]) > 0:
            yield float(spearmanr(first[:, unit], second[:, unit]).statistic)


def main() -> int:
    """Print a line for every layer, and the ratio of the times."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=30)
    parser.add_argument("--side", type=int, default=112, help="of the input, pixels")
    given = parser.parse_args()
    space = FourierSpace(128, 8)
    shown = space.visualize(space.sample_vector(given.images, seed=0)).numpy()
    images = np.ascontiguousarray(shown.transpose(0, 2, 3, 1))
    slow, plain = responses("float32", images, given.side)
    fast, rounded = responses("bfloat16", images, given.side)
    for layer in LAYERS:
        found = np.array(list(rank_correlations(plain[layer], rounded[layer])))
        print(
            f"{layer:12} {len(found):4} units: rank correlation median {np.median(found):.4f}, "
            f"least {found.min():.4f}, at least .99 in {np.mean(found >= 0.99):.0%}"
        )
    print(f"bfloat16 takes {fast / slow:.2f} of the time of float32 ({fast:.1f} s, {slow:.1f} s)")
    return 0

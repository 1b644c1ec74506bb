"""Time to score images by one unit of ResNet50 on the CPU, beside the plain route and a peer.

``python -m benchmarks.scoring``. The contestants take turns, so that noise of the machine hits all
alike. Untrained weights: the time does not depend on them.

- plain: the published route; the whole network, all images at once, from a list of arrays.
- torchvision: ``create_feature_extractor``, which cuts the network off at the layer.
- ours: `core.utils.TorchScorer`.
"""

from __future__ import annotations

import sys

from core import start

if __name__ == "__main__":
    sys.exit(start.run("benchmarks.scoring"))

import argparse
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from core.utils.CNN_scorers import TorchScorer
from core.utils.layers.names import find_layer
from core.utils.scoring.classifiers import load_classifier
from core.utils.scoring.network_input import IMAGENET_MEAN, IMAGENET_SD

#: Side of the network's input in the paper, and of the generators' images, pixels.
INPUT_SIDE, IMAGE_SIDE = 227, 256
#: At least how many times faster than the plain route, by layer.
TARGETS = {".layer3.Bottleneck5": 1.5, ".layer1.Bottleneck1": 3.0}

Images = list[NDArray[np.float32]]
Scorer = Callable[[Images], NDArray[np.float64]]


@dataclass
class Seconds:
    """Time of each turn: by the clock, and on all processors together."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def plain(network: nn.Module, layer: str, unit: tuple[int, int, int]) -> Scorer:
    """Return the published route: hook, whole forward pass, one batch."""
    channel, row, column = unit

    def score(images: Images) -> NDArray[np.float64]:
        scores: list[Tensor] = []
        handle = network.get_submodule(find_layer(network, layer)).register_forward_hook(
            lambda _, inputs, output: scores.append(output[:, channel, row, column].clone())
        )
        with torch.no_grad():
            network(plainly_normalised(images))
        handle.remove()
        return torch.cat(scores).numpy().astype(float)

    return score


def feature_extractor(network: nn.Module, layer: str, unit: tuple[int, int, int]) -> Scorer:
    """Return torchvision's feature extraction, cut off at the layer."""
    from torchvision.models.feature_extraction import create_feature_extractor

    cut = create_feature_extractor(network, {find_layer(network, layer): "layer"})
    channel, row, column = unit

    def score(images: Images) -> NDArray[np.float64]:
        with torch.no_grad():
            maps = cut(plainly_normalised(images))["layer"]
        return maps[:, channel, row, column].numpy().astype(float)

    return score


def ours(network: nn.Module, layer: str, unit: tuple[int, int, int]) -> Scorer:
    """Return our scorer."""
    return TorchScorer(network, layer, unit, INPUT_SIDE, device="cpu").score


def plainly_normalised(images: Images) -> Tensor:
    """Normalise and resize images one after the other."""
    mean, sd = (torch.tensor(rgb).view(3, 1, 1) for rgb in (IMAGENET_MEAN, IMAGENET_SD))
    batch = torch.stack(
        [(torch.from_numpy(image).permute(2, 0, 1) - mean) / sd for image in images]
    )
    size = (INPUT_SIDE, INPUT_SIDE)
    return functional.interpolate(batch.contiguous(), size, mode="bilinear", align_corners=True)


def responsive_unit(network: nn.Module, layer: str, images: Images) -> tuple[int, int, int]:
    """Return the central unit that responds most, lest scores of a silent one be compared."""
    scorer = TorchScorer(network, imgpix=INPUT_SIDE, device="cpu")
    scorer.set_recording(layer)
    _, recorded = scorer.respond(images)
    row, column = (n // 2 for n in recorded[layer].shape[2:])
    return int(recorded[layer][0, :, row, column].argmax()), row, column


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table of medians and ratios."""
    options = _parser().parse_args(arguments)
    rng = np.random.default_rng(0)
    images = list(rng.random((options.images, IMAGE_SIDE, IMAGE_SIDE, 3), dtype=np.float32))
    print(
        f"{options.images} images of {IMAGE_SIDE} px, {options.repeats} turns, torch "
        f"{torch.__version__}, {torch.get_num_threads()} threads, {os.cpu_count()} processors, "
        f"load {os.getloadavg()[0]:.1f}"
    )
    for layer in options.layer:
        _report(layer, images, options.repeats)


def _report(layer: str, images: Images, repeats: int) -> None:
    makers: dict[str, Any] = {"plain": plain, "torchvision": feature_extractor, "ours": ours}
    networks = {name: load_classifier("resnet50", pretrained=False).network for name in makers}
    networks["ours"].to(memory_format=torch.channels_last)  # as a scorer does for networks by name
    unit = responsive_unit(networks["ours"], layer, images[:1])
    scorers = {name: make(networks[name], layer, unit) for name, make in makers.items()}
    scores = {name: score(images[:4]) for name, score in scorers.items()}  # and so warm up
    seconds = {name: Seconds() for name in makers}
    for _ in range(repeats):
        for name, score in scorers.items():
            wall, cpu = time.perf_counter(), time.process_time()
            score(images)
            seconds[name].wall.append(time.perf_counter() - wall)
            seconds[name].cpu.append(time.process_time() - cpu)
    target = f", at least {TARGETS[layer]} wanted" if layer in TARGETS else ""
    print(f"\n{layer}, unit {unit}{target}")
    print(f"{'':12} {'wall s':>8} {'CPU s':>8} {'images/s':>9} {'times faster':>13} {'by CPU':>7}")
    for name, spent in seconds.items():
        wall, cpu = median(spent.wall), median(spent.cpu)
        faster = median(seconds["plain"].wall) / wall
        print(
            f"{name:12} {wall:8.3f} {cpu:8.3f} {len(images) / wall:9.1f} {faster:13.2f} "
            f"{median(seconds['plain'].cpu) / cpu:7.2f}"
        )
    off = max(np.abs(found - scores["plain"]).max() for found in scores.values())
    print(f"scores agree to {off / np.abs(scores['plain']).max():.1e} of the largest")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=7, help="turns of each contestant")
    parser.add_argument("--layer", nargs="+", default=list(TARGETS))
    return parser

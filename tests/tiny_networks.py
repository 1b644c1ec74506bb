"""Tiny generators and a tiny network, to run whole experiments within a test."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from core.insilico.paired_evolution.command import Networks
from core.utils.CNN_scorers import TorchScorer

IMAGE_SIDE, INPUT_SIDE = 16, 24


class TinyGenerator:
    """One linear layer and a sigmoid: codes to images (3, 16, 16); spies on its batches."""

    trained = False
    device = torch.device("cpu")

    def __init__(self, codelen: int, seed: int = 0) -> None:
        weights = np.random.default_rng(seed).standard_normal((codelen, 3 * IMAGE_SIDE**2))
        self.weights = torch.from_numpy((weights / np.sqrt(codelen)).astype(np.float32))
        self.codelen, self.latent_shape = codelen, (codelen,)
        self.batches: list[int] = []

    def visualize(self, codes, scale=1.0):
        codes = torch.as_tensor(codes, dtype=torch.float32)
        self.batches.append(len(codes))
        images = torch.sigmoid(2 * codes @ self.weights).reshape(-1, 3, IMAGE_SIDE, IMAGE_SIDE)
        return images * scale

    def visualize_batch(self, codes, scale=1.0, B=42):
        return torch.cat([self.visualize(part, scale) for part in torch.as_tensor(codes).split(B)])

    def sample_vector(self, sampn=1, *, device=None, seed=None):
        return torch.from_numpy(np.random.default_rng(seed).standard_normal((sampn, self.codelen)))


class TinyNet(nn.Module):
    """Two convolutions and a linear layer; 24 pixels in, 11 and 9 pixels in the maps."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, stride=2)
        self.conv2 = nn.Conv2d(6, 8, 3)
        self.fc = nn.Linear(8, 5)

    def forward(self, images):
        maps = self.conv2(torch.relu(self.conv1(images)))
        return self.fc(torch.relu(maps).mean((2, 3)))


@cache
def tiny_generator(codelen: int) -> TinyGenerator:
    return TinyGenerator(codelen)


def small_generator() -> TinyGenerator:
    return tiny_generator(6)


def tiny_scorer() -> TorchScorer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return TorchScorer(TinyNet(), imgpix=INPUT_SIDE, device="cpu")


def tiny_networks(settings=None, device="cpu") -> Networks:
    """Return the networks of any settings; ``breaks`` needs the file that $TINY_MENDED names."""
    if settings is not None and settings.net == "breaks":
        mended = os.environ.get("TINY_MENDED", "")
        if not mended or not Path(mended).exists():
            raise RuntimeError("the network fell apart")
    return Networks(tiny_scorer(), {"fc6": tiny_generator(4096), "BigGAN": tiny_generator(256)})

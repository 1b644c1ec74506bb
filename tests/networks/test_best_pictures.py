"""How alike best pictures look to a network: on networks small enough to compute by hand."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from core.errors import MissingDataError
from core.source_tables.block_means import data_files
from core.source_tables.reader import SourceData, write_table
from core.utils.scoring.network_input import NetworkInput
from core.utils.scoring.perception import FeatureNetwork
from neuro_data_analysis.block_means.evolutions import decode_evolutions
from neuro_data_analysis.block_means.published import read_block_means
from neuro_data_analysis.similarity.best_pictures import (
    best_picture_table,
    layer_before_classifier,
    picture_cosine,
)
from tests.made_block_means import make


class MeanColour(nn.Module):
    """Averages each channel, and classifies the averages."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(3, 10)

    def forward(self, images):
        return self.classifier(self.flatten(self.pool(images)))


@pytest.fixture
def network():
    """Make a network that sees 8 × 8 pixels from -1 to 1."""
    seen = NetworkInput((8, 8), (0.5,) * 3, (0.5,) * 3)
    module = MeanColour().eval().requires_grad_(False)
    return FeatureNetwork("mean-colour", module, torch.device("cpu"), "/weights/mean.pt", seen)


def plain(colour):
    """Make a picture of one colour."""
    return np.full((16, 16, 3), colour, dtype=np.uint8)


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (MeanColour(), "flatten"),
        (nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()), "1"),
        (nn.Sequential(nn.Flatten(), nn.Linear(3, 2), nn.Identity()), "0"),
        (nn.Linear(3, 2), ""),
    ],
)
def test_the_layer_before_the_classifier_is_found(module, expected):
    """Placeholders do not count; a network without a classifier gives its last layer."""
    assert layer_before_classifier(module) == expected


def test_the_cosine_is_that_of_the_features_of_the_normalised_pictures(network):
    """White is (1, 1, 1) to this network, black (-1, -1, -1), red (1, -1, -1)."""
    white, black, red = plain((255, 255, 255)), plain((0, 0, 0)), plain((255, 0, 0))
    assert picture_cosine(white, white, network, "flatten") == pytest.approx(1)
    assert picture_cosine(white, black, network, "flatten") == pytest.approx(-1)
    assert picture_cosine(white, red, network, "flatten") == pytest.approx(-1 / 3)


@pytest.fixture
def folder(tmp_path, rng):
    """Make two experiments of three blocks; the last is best, only the first has its pictures."""
    made = make(tmp_path / "data", rng, (6, 155), n_blocks=3)
    for block, name, colour in (
        (1, "deepsim", "lime"), (3, "deepsim", "white"), (3, "biggan", "red")
    ):
        stream = io.BytesIO()
        Image.new("RGB", (256, 256), colour).save(stream, "WEBP", lossless=True)
        path = made.folder / f"Exp006-B/gen_{block:02d}/{name}_img.webp"
        path.write_bytes(stream.getvalue())
    return made.folder


def test_the_pictures_of_the_best_blocks_are_compared(folder, network, tmp_path):
    """White of DeePSim's last block with red of BigGAN's; a missing picture gives no number."""
    evolutions = decode_evolutions(read_block_means(folder, (6, 155)))
    with data_files(folder) as files:
        table = best_picture_table(files, evolutions, network, "flatten")
    assert table.loc[6, ["DeePSim_block", "BigGAN_block"]].tolist() == [3, 3]
    assert table.loc[6, "cosine"] == pytest.approx(-1 / 3)
    assert np.isnan(table.loc[155, "cosine"])
    write_table(tmp_path, "Evolutions/picture_similarity", table)
    read = SourceData(tmp_path).read("Evolutions/picture_similarity")
    pd.testing.assert_frame_equal(read, table, check_dtype=False)
    assert read.loc[6, ["network", "weights", "layer"]].tolist() == [
        "mean-colour", "mean.pt", "flatten"
    ]  # fmt: skip


def test_without_any_pair_of_pictures_nothing_is_compared(folder, network):
    evolutions = decode_evolutions(read_block_means(folder, (6, 155)))[1:]
    with data_files(folder) as files, pytest.raises(MissingDataError, match="fetch"):
        best_picture_table(files, evolutions, network, "flatten")

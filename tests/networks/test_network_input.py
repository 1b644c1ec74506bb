"""What networks see of images: from their configuration, from arguments, and never by mistake."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from core.errors import UsageError
from core.utils.CNN_scorers import TorchScorer
from core.utils.scoring.network_input import NetworkInput, sides

#: Means and SDs as published with the weights.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


class Mean(nn.Module):
    """The mean of each channel of the input, which tells what the network is fed."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.flat = nn.Flatten()
        self.channels = channels

    def forward(self, images):
        assert images.shape[1] == self.channels, "other channels"
        return self.flat(images.mean((2, 3)) * self.weight)


def mean_scorer(channels=3, **options):
    return TorchScorer(Mean(channels), "flat", list(range(channels)), device="cpu", **options)


@pytest.fixture
def images():
    return torch.rand(2, 3, 20, 24, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("name", "size", "colours", "how"),
    [
        ("alexnet", (227, 227), IMAGENET, "bilinear"),
        ("resnet101", (227, 227), IMAGENET, "bilinear"),
        ("resnet18", (224, 224), IMAGENET, "bilinear"),
        ("efficientnet_b0", (224, 224), IMAGENET, "bicubic"),
        ("tf_efficientnet_lite0", (224, 224), HALF, "bicubic"),
        ("vit_tiny_patch16_224", (224, 224), HALF, "bicubic"),
        ("resnetv2_50", (224, 224), HALF, "bicubic"),
    ],
)
def test_networks_by_name_see_what_their_weights_were_trained_on(name, size, colours, how):
    """As torchvision's and timm's pages of the weights state it; the paper's keep the paper's."""
    scorer = TorchScorer(name, pretrained=False, device="cpu")
    seen = scorer.input
    assert (seen.size, (seen.mean, seen.std), seen.interpolation) == (size, colours, how)
    assert f"mean ± SD {colours[0][0]:.3g} ± {colours[1][0]:.3g}" in repr(scorer)
    assert "UNTRAINED" in repr(scorer)


def test_bicubic_input_is_that_of_torchvision_transforms(images):
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.functional import normalize, resize

    scorer = TorchScorer("tf_efficientnet_lite0", pretrained=False, imgpix=15, device="cpu")
    small = resize(images, [15, 15], InterpolationMode.BICUBIC, antialias=True)
    expected = normalize(small, *HALF)
    torch.testing.assert_close(scorer.preprocess(images, 1), expected, atol=2e-6, rtol=1e-5)


def test_a_timm_network_that_is_given_as_a_module_tells_its_own_input():
    timm = pytest.importorskip("timm")
    network = timm.create_model("vit_tiny_patch16_224", depth=1)
    assert TorchScorer(network, device="cpu").input.mean == HALF[0]


def test_networks_of_a_fixed_size_run_without_being_told():
    """Torchvision's ViTs take no other size than theirs."""
    from torchvision.models import VisionTransformer

    network = VisionTransformer(32, 16, 1, 2, 8, 16, num_classes=3)
    scorer = TorchScorer(network, "heads.head", 1, device="cpu")
    assert scorer.score(torch.rand(2, 3, 50, 50)).shape == (2,)
    with pytest.raises(UsageError, match=r"cannot run on .*227.*Give the input size"):
        TorchScorer(network, "heads.head", 1, imgpix=227, device="cpu")


def test_mean_and_sd_can_be_given(images):
    scorer = mean_scorer(mean=HALF[0], std=HALF[1], imgpix=20)
    expected = (2 * images - 1).mean((2, 3))
    resized = functional.interpolate(2 * images - 1, (20, 20), mode="bilinear", align_corners=True)
    np.testing.assert_allclose(scorer.score(images), resized.mean((2, 3)), rtol=1e-5, atol=1e-6)
    assert np.abs(scorer.score(images) - expected.numpy()).max() < 0.05
    for mean, std in ((HALF[0], None), (None, HALF[1]), ((0.5,), HALF[1]), ((0.5,), (0.0,))):
        with pytest.raises(UsageError, match=r"go together|one number for each channel"):
            mean_scorer(mean=mean, std=std)


def test_grey_levels_of_255_are_a_mean_and_an_sd(images):
    """CaffeNet's range: grey levels less a mean of 120."""
    scorer = mean_scorer(mean=[120 / 255] * 3, std=[1 / 255] * 3, imgpix=(20, 24))
    np.testing.assert_allclose(
        scorer.score(images), (255 * images - 120).mean((2, 3)), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("channels", [1, 4])
def test_networks_of_one_and_of_many_channels(channels):
    images = torch.rand(3, channels, 28, 30)
    scorer = mean_scorer(channels, mean=[0.5] * channels, std=[1.0] * channels, imgpix=(28, 30))
    np.testing.assert_allclose(scorer.score(images), images.mean((2, 3)) - 0.5, atol=1e-6)
    arrays = images.permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(scorer.score(arrays), images.mean((2, 3)) - 0.5, atol=1e-6)
    with pytest.raises(UsageError, match=rf"\(n, {channels}, height, width\)"):
        scorer.score(torch.rand(3, 3, 28, 30))
    with pytest.raises(UsageError, match=r"cannot run on .*mean= and std="):
        mean_scorer(channels, imgpix=28)


def test_a_size_that_is_not_square(images):
    scorer = mean_scorer(imgpix=(10, 30))
    assert scorer.preprocess(images, 1).shape == (2, 3, 10, 30)
    assert scorer.imgpix == (10, 30)
    for wrong in (0, -3, (3,), (3, 4, 5), 2.5, (2, 2.5), True, "big"):
        with pytest.raises(UsageError, match="imgpix"):
            sides(wrong)


def test_a_preprocessing_of_ones_own(images):
    """It takes images in 0…1 of any size and returns the whole input."""

    def centre(batch):
        return batch[:, :, :16, :16] * 10

    scorer = mean_scorer(preprocess=centre)
    expected = 10 * images[:, :, :16, :16].mean((2, 3))
    np.testing.assert_allclose(scorer.score(images), expected, rtol=1e-5)
    np.testing.assert_allclose(scorer.score(255 * images, input_scale=255), expected, rtol=1e-5)
    assert "from centre" in repr(scorer)
    with pytest.raises(UsageError, match="preprocess returned"):
        mean_scorer(preprocess=lambda batch: batch[:1])
    from torchvision.models import ResNet18_Weights

    scorer = mean_scorer(preprocess=ResNet18_Weights.IMAGENET1K_V1.transforms())
    assert scorer.preprocess(images, 1).shape == (2, 3, 224, 224)


def test_a_published_call_with_the_size_second():
    scorer = TorchScorer("alexnet", 64, False, pretrained=False, device="cpu")
    assert scorer.imgpix == 64
    scorer.select_unit(("alexnet", "conv5", 3, 1, 1))
    assert scorer.score(torch.rand(1, 3, 64, 64)).shape == (1,)


def test_pil_images_are_read_by_their_colours_or_refused():
    """Palette numbers and other colour coordinates are no RGB."""
    picture = Image.fromarray(
        np.random.default_rng(0).integers(0, 4, (12, 12, 3), dtype=np.uint8) * 80
    )
    scorer = mean_scorer(imgpix=12)
    expected = scorer.score([picture])
    for mode, tolerance in (("P", 1e-6), ("YCbCr", 0.03), ("HSV", 0.03)):
        converted = picture.convert(mode, palette=Image.Palette.ADAPTIVE, colors=256)
        np.testing.assert_allclose(scorer.score([converted]), expected, atol=tolerance)
        np.testing.assert_allclose(scorer.score(converted), expected, atol=tolerance)
    for mode in ("RGBA", "CMYK", "LA", "1", "I", "F", "LAB"):
        other = Image.new(mode, (12, 12))
        with pytest.raises(UsageError, match=rf"mode '{mode}'.*convert"):
            scorer.score([other])
    grey = scorer.score([picture.convert("L")])
    assert grey.shape == (1, 3)


@pytest.mark.parametrize(
    "given",
    [
        torch.tensor([-1.0, 1.0]),  # a generator's own range
        torch.tensor([-2.1, 2.6]),  # normalised already
        torch.tensor([0.0, 8.0]),  # dark grey levels of 255
    ],
)
def test_images_of_another_range_are_refused_with_what_was_seen(given):
    image = given.repeat(3, 8, 4)
    low, high = float(given.min()), float(given.max())
    with pytest.raises(UsageError, match=rf"from {low:g} to {high:g} were given.*white is said"):
        mean_scorer(imgpix=8).score(image[None])


def test_a_small_overshoot_is_mentioned_and_scored():
    image = torch.full((1, 3, 8, 8), 1.1)
    with pytest.warns(UserWarning, match="from 1.1 to 1.1"):
        assert mean_scorer(imgpix=8).score(image).shape == (1, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mean_scorer(imgpix=8).score(torch.full((1, 3, 8, 8), 1.005))


def test_white_of_one_in_a_call_where_it_is_255_is_mentioned():
    scorer = mean_scorer(imgpix=8)
    image = torch.rand(1, 3, 8, 8)
    with pytest.warns(UserWarning, match="give input_scale=1"):
        scorer.preprocess(image)
    with pytest.warns(UserWarning, match="give input_scale=1"):
        scorer.score(image, input_scale=255)
    scorer.preprocess((255 * image).to(torch.uint8))
    scorer.preprocess(torch.zeros(1, 3, 8, 8))


@pytest.mark.parametrize(
    ("images", "options"),
    [
        (np.zeros((0, 8, 3)), {}),
        (torch.zeros(2, 3, 0, 8), {}),
        (torch.rand(1, 3, 8, 8), {"B": 2.5}),
        (torch.rand(1, 3, 8, 8), {"B": 0}),
    ],
)
def test_shapes_and_counts_that_cannot_be_are_one_sentence(images, options):
    with pytest.raises(UsageError):
        mean_scorer(imgpix=8).score(images, **options)


def test_long_doubles_are_images(images):
    array = images.permute(0, 2, 3, 1).numpy().astype(np.longdouble)
    scorer = mean_scorer(imgpix=8)
    np.testing.assert_allclose(scorer.score(array), scorer.score(images), atol=1e-6)


def test_an_input_describes_itself():
    assert str(NetworkInput((4, 6), (0.5,), (0.25,), source="given")) == (
        "1 × 4 × 6, mean ± SD 0.5 ± 0.25 (given), bilinear"
    )

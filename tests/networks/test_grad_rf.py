"""Receptive fields from gradients, against arithmetic on kernels; boxes and Gaussians of maps."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from core.errors import UsageError, UserError  # noqa: E402
from core.utils import grad_RF_estim as rf  # noqa: E402
from tests.closeness import assert_same_pass  # noqa: E402

#: A (kernel, stride, padding) for each layer.
Windows = list[tuple[int, int, int]]

#: Convolutions and poolings of AlexNet's features, in order.
ALEXNET: Windows = [
    (11, 4, 2),
    (3, 2, 0),
    (5, 1, 2),
    (3, 2, 0),
    (3, 1, 1),
    (3, 1, 1),
    (3, 1, 1),
    (3, 2, 0),
]


def _field(windows: Windows, place: int, length: int) -> tuple[int, int]:
    """Return first pixel and the one after the last that a unit sees along one direction."""
    first, last = place, place
    for kernel, stride, padding in reversed(windows):
        first, last = first * stride - padding, last * stride - padding + kernel - 1
    return max(first, 0), min(last + 1, length)


def _box(gradmap):
    return rf.gradmap2RF_square(gradmap, relthresh=0, square=False)


def _convolutions(windows: Windows, pool_at: int | None = None) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for number, (kernel, stride, padding) in enumerate(windows):
        if number == pool_at:
            layers.append(nn.MaxPool2d(kernel, stride, padding))
        else:
            layers += [
                nn.Conv2d(3 if not layers else 4, 4, kernel, stride, padding),
                nn.ReLU(inplace=True),
            ]
    return nn.Sequential(*layers)


@pytest.mark.parametrize("place", [(5, 8), (0, 0), (0, 12), (9, 3)])
@pytest.mark.parametrize(
    ("windows", "pool_at"), [([(3, 2, 1), (5, 1, 2)], None), ([(5, 1, 2), (2, 2, 0), (3, 1, 1)], 1)]
)
def test_the_field_of_a_small_network_is_that_of_its_kernels(windows, pool_at, place):
    """Size and place, at the border too, in an image that is wider than high."""
    height, width = 20, 26
    network = _convolutions(windows, pool_at)
    layer = str(len(network) - 1)
    gradmap = rf.grad_RF_estimate(
        network, layer, (slice(None), *place), (3, height, width), reps=2, batch=30
    )
    assert gradmap.shape == (height, width)
    rows, columns = (_field(windows, *where) for where in zip(place, (20, 26), strict=True))
    assert _box(gradmap) == (columns, rows)


def test_the_map_of_one_convolution_is_its_kernel():
    """Without a rectifier the gradient is the kernel itself, whatever the image."""
    network = nn.Sequential(nn.Conv2d(3, 4, (3, 5), bias=False))
    gradmap = rf.grad_RF_estimate(network, "0", (2, 6, 1), (3, 12, 16), reps=3)
    expected = np.zeros((12, 16))
    expected[6:9, 1:6] = network[0].weight[2].abs().mean(dim=0).detach()
    np.testing.assert_allclose(gradmap, expected, atol=1e-7)


def test_the_map_of_a_population_is_its_weights_through_the_kernels():
    """The gradient of a weighted sum is the transposed convolution of the weights."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False))
    weights = torch.randn(4, 8, 10, generator=torch.Generator().manual_seed(0))
    gradmap = rf.grad_population_RF_estimate(network, "0", weights, (3, 10, 12), reps=2)
    gradient = nn.functional.conv_transpose2d(weights[None], network[0].weight)[0]
    np.testing.assert_allclose(gradmap, gradient.abs().mean(dim=0).detach(), atol=1e-6)


def test_population_weights_may_broadcast_and_the_picture_is_saved(tmp_path):
    network = nn.Sequential(nn.Conv2d(3, 4, 3))
    full = rf.grad_population_RF_estimate(network, "0", np.ones((4, 8, 8)), (3, 10, 10), reps=2)
    broadcast = rf.grad_population_RF_estimate(
        network, "0", np.ones((4, 1, 1)), (3, 10, 10), reps=2, label="all units", figdir=tmp_path
    )
    np.testing.assert_allclose(full, broadcast, rtol=1e-6)
    assert {path.name for path in tmp_path.iterdir()} == {
        "all units_gradAmpMap.png",
        "all units_gradAmpMap.pdf",
    }


class _Generator:
    """Images of one value, which is the only number of a code."""

    def sample_vector(self, sampn=1, *, device=None, seed=None):
        return torch.from_numpy(np.random.default_rng(seed).random((sampn, 1), np.float32))

    def visualize(self, codes, scale=1.0):
        return codes[:, :, None, None].expand(-1, 3, 8, 8)


def test_images_of_a_generator_are_scaled_and_resized():
    """The network sees -1 to 1 in the size it asks for, and the map is that of the kernel."""
    network = nn.Sequential(nn.Conv2d(3, 2, 5, bias=False))
    seen = []
    network.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0].detach().clone()))
    gradmap = rf.GAN_grad_RF_estimate(
        _Generator(), network, "0", (1, 2, 3), (3, 12, 16), reps=10, batch=5, seed=3
    )
    expected = np.zeros((12, 16))
    expected[2:7, 3:8] = network[0].weight[1].abs().mean(dim=0).detach()
    np.testing.assert_allclose(gradmap, expected, atol=1e-7)
    values = torch.cat(seen)
    assert values[5:].shape == (50, 3, 12, 16)  # after the two passes that find the unit
    assert -1 <= values.min() < -0.8
    assert 0.8 < values.max() <= 1


@pytest.fixture(scope="module")
def alexnet():
    """Return the features of an AlexNet with random weights."""
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(nn.Linear, "reset_parameters", lambda layer: None)  # 58 million, not used
        return torchvision.models.alexnet(weights=None).features


@pytest.mark.parametrize(
    ("layer", "depth", "size", "place", "reps"),
    [
        (".ReLU1", 1, 11, 30, 1),
        (".ReLU4", 3, 51, 14, 2),
        (".ReLU7", 5, 99, 6, 2),
        (".ReLU11", 7, 163, 6, 3),
    ],
)
def test_fields_of_alexnet_are_those_of_theory(alexnet, layer, depth, size, place, reps):
    """11, 51, 99 and 163 pixels for conv1, conv2, conv3 and conv5, where the kernels put them."""
    first, after = _field(ALEXNET[:depth], place, 227)
    assert after - first == size
    gradmap = rf.grad_RF_estimate(alexnet, layer, (slice(None), place, place), reps=reps, batch=2)
    assert _box(gradmap) == ((first, after), (first, after))


@pytest.mark.numerics
def test_the_map_follows_the_seed_and_not_the_batches():
    """The same images in batches of one or of six give the same map."""
    network = _convolutions([(3, 1, 1), (3, 1, 1)])

    def gradmap(**options):
        return rf.grad_RF_estimate(network, "3", (1, 5, 5), (3, 12, 12), **options)

    assert_same_pass(gradmap(reps=6, seed=4), gradmap(reps=1, batch=6, seed=4))
    np.testing.assert_array_equal(gradmap(reps=6, seed=4), gradmap(reps=6, seed=4))
    assert not np.allclose(gradmap(reps=6, seed=4), gradmap(reps=6, seed=5))


def test_silent_images_do_not_count():
    """A unit that some images silence has the map of the others, here its kernel."""
    network = nn.Sequential(nn.Conv2d(3, 1, 3, bias=False), nn.ReLU(inplace=True))
    gradmap = rf.grad_RF_estimate(network, "1", (0, 1, 1), (3, 5, 5), reps=20)
    expected = network[0].weight[0].abs().mean(dim=0).detach()
    np.testing.assert_allclose(gradmap[1:4, 1:4], expected, atol=1e-6)


def test_the_network_is_left_as_it_was():
    """Mode, gradients and hooks: after success and after an error."""
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Dropout(), nn.ReLU())
    network.train()
    rf.grad_RF_estimate(network, "2", (0, slice(None), 1), (3, 8, 8), reps=20)
    with pytest.raises(UsageError):
        rf.grad_RF_estimate(network, "2", (9, 1, 1), (3, 8, 8), reps=3)
    assert all(layer.training for layer in network.modules())
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in network.modules())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_a_frozen_network_without_gradients_switched_on_has_a_map():
    network = nn.Sequential(nn.Conv2d(3, 2, 3)).requires_grad_(False)
    with torch.no_grad():
        assert rf.grad_RF_estimate(network, "0", (0, 1, 1), (3, 8, 8), reps=1).max() > 0


def test_maps_of_units_without_a_place(tmp_path):
    """A unit of a linear layer sees all of the image; the map can be shown."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 5)).double()
    gradmap = rf.grad_RF_estimate(network, "1", 3, (3, 4, 4), reps=1, device="cpu", show=True)
    expected = network[1].weight[3].abs().reshape(3, 4, 4).mean(dim=0).detach()
    np.testing.assert_allclose(gradmap, expected)
    assert plt.gcf().axes[0].images[0].get_array().shape == (4, 4)


_NET = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU())


def _silent_unit():
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU())
    network[0].bias.data.fill_(-100)
    return rf.grad_RF_estimate(network, "1", (0, 1, 1), (3, 8, 8), reps=7)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (_silent_unit, UserError, "silent for all 7 images"),
        (
            lambda: rf.grad_RF_estimate(_NET, "0", (0, 1, 9), (3, 8, 8), reps=1),
            UsageError,
            r"\(0, 1, 9\).*\(2, 6, 6\)",
        ),
        (
            lambda: rf.grad_RF_estimate(_NET, "0", (slice(4, 9), 1, 1), (3, 8, 8), reps=1),
            UsageError,
            r"\(2, 6, 6\)",
        ),
        (lambda: rf.grad_RF_estimate(_NET, "0", (0, 1, 1), (3, 8, 8), reps=0), UsageError, "none"),
        (lambda: rf.grad_RF_estimate(_NET, "conv", 0, (3, 8, 8)), UsageError, "unknown layer"),
        (
            lambda: rf.grad_population_RF_estimate(_NET, "0", np.ones((3, 6, 6)), (3, 8, 8)),
            UsageError,
            r"\(3, 6, 6\).*\(2, 6, 6\)",
        ),
        (lambda: rf.gradmap2RF_square(np.zeros((4, 4))), UsageError, "nothing in the map"),
        (lambda: rf.gradmap2RF_square(np.ones((4, 4)), absthresh=2), UsageError, "above 2"),
        (lambda: rf.gradmap2RF_square(np.full((4, 4), np.nan)), UsageError, "finite"),
        (lambda: rf.gradmap2RF_square(np.ones(4)), UsageError, r"\(height, width\)"),
        (lambda: rf.fit_2dgauss(np.ones((4, 4))), UsageError, "no peak"),
    ],
)
def test_input_without_an_answer_is_refused_with_a_reason(call, error, message):
    with pytest.raises(error, match=message):
        call()


@settings(max_examples=60, deadline=None)
@given(
    arrays(
        np.float64,
        st.tuples(st.integers(1, 12), st.integers(1, 12)),
        elements=st.sampled_from([0.0, 0.0, 0.0, 0.005, 0.02, 1.0]),
    )
)
def test_boxes_hold_all_that_is_above_the_threshold(gradmap):
    """Columns first, inside the map, and square unless the map is too small for it."""
    gradmap[0, 0] = max(gradmap[0, 0], 0.02)
    rows, columns = np.nonzero(gradmap > 0.01 * gradmap.max())
    tight = rf.gradmap2RF_square(gradmap, square=False)
    assert tight == ((columns.min(), columns.max() + 1), (rows.min(), rows.max() + 1))
    (left, right), (top, bottom) = rf.gradmap2RF_square(gradmap)
    height, width = gradmap.shape
    assert 0 <= left <= tight[0][0] < tight[0][1] <= right <= width
    assert 0 <= top <= tight[1][0] < tight[1][1] <= bottom <= height
    side = max(np.ptp(tight, axis=1))
    assert (right - left, bottom - top) == (min(side, width), min(side, height))


@pytest.mark.parametrize(
    ("columns", "rows", "expected_rows"),
    [((2, 8), (4, 5), (2, 8)), ((2, 8), (0, 1), (0, 6)), ((2, 8), (9, 10), (4, 10))],
)
def test_the_shorter_side_grows_to_both_sides_and_is_moved_inside(columns, rows, expected_rows):
    """Five pixels more for one row: two before, three after, as far as there is room."""
    gradmap = np.zeros((10, 20))
    gradmap[slice(*rows), slice(*columns)] = 1
    assert rf.gradmap2RF_square(gradmap) == (columns, expected_rows)


def test_thresholds_are_the_higher_of_two():
    gradmap = np.array([[1.0, 0.5, 0.05, 0.0]])
    for absthresh, relthresh, last in ((None, 0.01, 3), (0.1, 0.01, 2), (0.1, 0.6, 1)):
        box = rf.gradmap2RF_square(gradmap, absthresh, relthresh, square=False)
        assert box == ((0, last), (0, 1))


@settings(max_examples=15, deadline=None)
@given(
    row=st.floats(12, 28),
    column=st.floats(20, 40),
    sigma_x=st.floats(2, 6),
    sigma_y=st.floats(2, 9),
    theta=st.floats(-0.7, 0.7),
    scale=st.sampled_from([1e-7, 1.0, 300.0]),
)
def test_the_fit_finds_the_gaussian_of_a_map_that_is_not_square(
    row, column, sigma_x, sigma_y, theta, scale
):
    """Every parameter, whatever the unit of the map; x is the row."""
    true = np.array([scale, row, column, sigma_x, sigma_y, theta, 0.1 * scale])
    gradmap = rf.twoD_Gaussian(np.indices((40, 60)), *true)
    found = rf.fit_2dgauss(gradmap)
    np.testing.assert_allclose(found["fitmap"], gradmap, atol=1e-5 * scale)
    assert (found["row"], found["column"]) == pytest.approx((row, column), abs=1e-3)
    assert (found["xo"], found["yo"]) == (found["row"], found["column"])
    if abs(sigma_x - sigma_y) > 0.3:  # of a round one the angle is not defined
        np.testing.assert_allclose(found["popt"], true, rtol=1e-3, atol=1e-3 * scale + 1e-3)


def test_the_gaussian_is_that_of_its_formula():
    """Coefficients a, b, c of the published quadratic form."""
    sx, sy, theta = 2.0, 5.0, 0.4
    a = np.cos(theta) ** 2 / (2 * sx**2) + np.sin(theta) ** 2 / (2 * sy**2)
    b = -np.sin(2 * theta) / (4 * sx**2) + np.sin(2 * theta) / (4 * sy**2)
    c = np.sin(theta) ** 2 / (2 * sx**2) + np.cos(theta) ** 2 / (2 * sy**2)
    x, y = np.indices((9, 14))
    dx, dy = x - 3.5, y - 8
    expected = 0.2 + 3 * np.exp(-(a * dx**2 + 2 * b * dx * dy + c * dy**2))
    np.testing.assert_allclose(
        rf.twoD_Gaussian((x, y), 3, 3.5, 8, sx, sy, theta, 0.2), expected, rtol=1e-12
    )


def test_the_gaussian_of_noisy_data_is_near_and_is_saved(tmp_path, rng):
    """What is saved is what is returned; the picture shows columns to the right."""
    true = (2.0, 14.0, 33.0, 3.0, 6.0, 0.3, 0.1)
    gradmap = rf.twoD_Gaussian(np.indices((30, 50)), *true) + 0.1 * rng.standard_normal((30, 50))
    found = rf.fit_2dgauss(gradmap, "conv5 unit 3", tmp_path, plot=True)
    np.testing.assert_allclose(found["popt"], true, atol=0.2)
    assert {path.name for path in tmp_path.iterdir()} == {
        f"conv5 unit 3_gradAmpMap_GaussianFit.{ending}" for ending in ("npz", "png", "pdf")
    }
    with np.load(tmp_path / "conv5 unit 3_gradAmpMap_GaussianFit.npz") as saved:
        assert set(saved) == set(found)
        for name, value in found.items():
            np.testing.assert_array_equal(saved[name], value)
    (cross,) = plt.gcf().axes[0].lines
    assert (cross.get_xdata()[0], cross.get_ydata()[0]) == pytest.approx((33, 14), abs=0.3)


def test_the_fit_of_a_single_pixel_is_at_that_pixel():
    gradmap = np.zeros((9, 15))
    gradmap[6, 4] = 1
    found = rf.fit_2dgauss(gradmap)
    assert (found["row"], found["column"]) == pytest.approx((6, 4), abs=0.1)


def test_boxes_and_gaussians_need_no_torch(bare):
    code = "import sys, core.utils.pictures.rf_maps; sys.exit('torch' in sys.modules)"
    assert bare.run(code).returncode == 0

"""Images on a grey canvas, grids that are thinned out, and the course of an evolution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from core.errors import UsageError
from core.utils import resize_and_pad, resize_and_pad_tsr, subsample_mask, visualize_trajectory


@given(
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    offset=st.tuples(st.integers(0, 8), st.integers(0, 8)),
)
@settings(max_examples=25, deadline=None)
def test_images_are_placed_at_row_and_column_of_a_grey_canvas(size, offset):
    """Inside is the resized image, outside is grey; both versions agree; nothing is changed."""
    images = torch.rand(2, 3, 9, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    before, arrays = images.clone(), list(images.permute(0, 2, 3, 1).numpy())
    (height, width), (row, column) = size, offset
    placed = resize_and_pad_tsr(images, size, offset, (20, 21), scale=2)
    inside = placed[:, :, row : row + height, column : column + width].clone()
    expected = functional.interpolate(images, size, mode="bilinear", align_corners=True)
    assert torch.equal(inside, expected)
    placed[:, :, row : row + height, column : column + width] = 1
    assert (placed == 1).all()
    listed = resize_and_pad(arrays, size, offset, (20, 21), scale=2)
    np.testing.assert_array_equal(
        np.stack(listed)[:, row : row + height, column : column + width],
        expected.permute(0, 2, 3, 1),
    )
    assert torch.equal(images, before)


def test_canvas_sized_and_single_images():
    """As in the published code: tensors are always placed, arrays of the canvas's size copied."""
    image = torch.rand(3, 6, 6)
    placed = resize_and_pad_tsr(image, (2, 2), (0, 0), (6, 6))
    assert (placed == 0.5).sum() == 3 * (36 - 4)
    assert torch.equal(placed[0, :, :2, :2], image[:, ::5, ::5])
    placed.zero_()
    assert image.any()
    assert image.ndim == 3
    array = np.random.default_rng(0).random((6, 6, 3))
    np.testing.assert_array_equal(resize_and_pad([array], (2, 2), (0, 0), (6, 6))[0], array)
    leaf = torch.rand(1, 3, 6, 6, requires_grad=True)
    resize_and_pad_tsr(leaf, (6, 6), (1, 2), (9, 9)).sum().backward()
    assert torch.equal(leaf.grad, torch.ones_like(leaf))


@pytest.mark.parametrize(
    ("size", "offset", "image", "message"),
    [
        ((8, 8), (3, 0), torch.rand(1, 3, 5, 5), "does not lie on a canvas"),
        ((8, 8), (0, -1), torch.rand(1, 3, 5, 5), "does not lie on a canvas"),
        ((0, 8), (0, 0), torch.rand(1, 3, 5, 5), "does not lie on a canvas"),
        ((2, 2), (0, 0), torch.rand(5, 5), r"shape \(5, 5\)"),
        ((2, 2), (0, 0), torch.zeros(1, 3, 5, 5, dtype=torch.uint8), "floating-point"),
    ],
)
def test_images_off_the_canvas_are_said(size, offset, image, message):
    with pytest.raises(UsageError, match=message):
        resize_and_pad_tsr(image, size, offset, (10, 10))
    if image.ndim == 2:
        with pytest.raises(UsageError, match=message):
            resize_and_pad([image.numpy()], size, offset, (10, 10))


def test_subsample_mask_takes_every_kth_row_and_column():
    mask, numbers = subsample_mask(3, (7, 5))
    assert mask.dtype == bool
    assert set(zip(*np.nonzero(mask), strict=True)) == {(r, c) for r in (0, 3, 6) for c in (0, 3)}
    np.testing.assert_array_equal(mask.ravel()[numbers], True)
    assert len(numbers) == mask.sum()
    assert subsample_mask()[0].sum() == 11 * 11
    with pytest.raises(UsageError, match="factor 0"):
        subsample_mask(0)


def test_trajectory_shows_scores_their_mean_and_maximum_and_the_norms(rng):
    """BigGAN codes have two norms, others one."""
    generations = np.repeat([0, 1, 2], [1, 3, 2])
    scores, codes = np.array([1.0, 2, 3, 4, 6, 8]), rng.standard_normal((6, 256))
    figure = visualize_trajectory(scores, generations, codes, title_str="unit 5")
    axes, norms = figure.axes
    assert axes.get_title() == "Optimisation trajectory unit 5"
    mean, best = axes.get_lines()
    np.testing.assert_allclose(mean.get_ydata(), [1, 3, 7])
    np.testing.assert_allclose(best.get_ydata(), [1, 4, 8])
    np.testing.assert_allclose(axes.collections[0].get_offsets(), np.c_[generations, scores])
    noise, classes = norms.get_lines()
    assert noise.get_ydata()[0] == pytest.approx(np.linalg.norm(codes[0, :128]))
    assert classes.get_ydata()[2] == pytest.approx(np.linalg.norm(codes[4:, 128:], axis=1).mean())
    (whole,) = visualize_trajectory(scores, generations, codes[:, :5]).axes[1].get_lines()
    assert whole.get_ydata()[0] == pytest.approx(np.linalg.norm(codes[0, :5]))
    assert len(visualize_trajectory(scores, generations).axes) == 1
    with pytest.raises(UsageError, match="6 scores, 5 generations"):
        visualize_trajectory(scores, generations[1:])

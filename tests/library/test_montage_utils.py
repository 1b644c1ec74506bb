"""Montages: places, sizes, types, frames, and taking them apart again."""

from __future__ import annotations

import io

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from core.errors import UsageError
from core.utils import montage_utils as montage


def _plain(level, height=4, width=6):
    return np.full((height, width, 3), level / 10)


def _levels(page, height, width):
    """Return the grey level (tenths) in the middle of every place."""
    return np.rint(10 * page[height // 2 :: height, width // 2 :: width, 0]).astype(int).tolist()


def test_a_page_is_filled_row_by_row_and_keeps_the_aspect_of_the_images():
    """Images wider than high, more columns than rows: nothing is confused or cut."""
    (page,) = montage.build_montages([_plain(i) for i in range(1, 6)], (6, 4), (3, 2))
    assert page.shape == (8, 18, 3)
    assert _levels(page, 4, 6) == [[1, 2, 3], [4, 5, 0]]


def test_transpose_false_fills_column_by_column_in_the_same_shape():
    """The published function reads the montage shape as (rows, columns) here."""
    (page,) = montage.build_montages([_plain(i) for i in range(1, 6)], (6, 4), (3, 2), False)
    assert page.shape == (8, 18, 3)
    assert _levels(page, 4, 6) == [[1, 3, 5], [2, 4, 0]]


@pytest.mark.parametrize(("n_images", "n_pages"), [(0, 1), (1, 1), (6, 1), (7, 2), (12, 2)])
def test_there_are_as_many_pages_as_needed(n_images, n_pages):
    """A full last page is not followed by an empty one; no image at all gives a black page."""
    pages = montage.build_montages([_plain(5)] * n_images, (6, 4), (3, 2))
    assert len(pages) == n_pages
    assert sum((page[::4, ::6, 0] > 0).sum() for page in pages) == n_images


def test_resizing_knows_width_from_height():
    """The left half of a wide image stays the left half of the place."""
    image = np.zeros((10, 40, 3))
    image[:, :20] = 1
    (page,) = montage.build_montages([image], (8, 6), (1, 1))
    assert page.shape == (6, 8, 3)
    np.testing.assert_allclose(page[:, :3], 1, atol=1e-6)
    np.testing.assert_allclose(page[:, 5:], 0, atol=1e-6)


def test_grey_levels_are_scaled_by_type_not_by_content():
    """The published function leaves an almost black uint8 image as it is: level 1 shows white."""
    images = [
        np.full((4, 6, 3), 1, np.uint8),
        np.full((4, 6), 255, np.int64),
        np.full((4, 6), True),
        Image.new("RGB", (6, 4), (255, 0, 0)),
    ]
    (page,) = montage.build_montages(images, (6, 4), (4, 1))
    np.testing.assert_allclose(page[0, ::6], [[1 / 255] * 3, [1, 1, 1], [1, 1, 1], [1, 0, 0]])


def test_a_frame_surrounds_the_image_for_floats_and_grey_levels():
    """The published function mixes 0 to 255 with a frame of 0 to 1, and fails without a frame."""
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    for given_image in (image, image / 255):
        framed = montage.color_frame(given_image, "red", pad=2)
        assert framed.shape == (9, 11, 3)
        np.testing.assert_allclose(framed[2:-2, 2:-2], image / 255)
        framed[2:-2, 2:-2] = (1, 0, 0)
        np.testing.assert_array_equal(framed, np.broadcast_to([1.0, 0, 0], framed.shape))
    np.testing.assert_allclose(montage.color_frame(image, (0, 0, 1), pad=0), image / 255)


def test_frames_take_the_colours_of_the_scores():
    cmap = mpl.colormaps["summer"]
    scores = [1.0, 2.0, 3.0, np.nan]
    images = [_plain(5, 8, 12)] * 4
    (page,) = montage.color_framed_montages(images, (16, 12), (4, 1), scores, pad=2)
    assert page.shape == (12, 64, 3)
    expected = [cmap(0.0)[:3], cmap(0.5)[:3], cmap(1.0)[:3], (0, 0, 0)]
    np.testing.assert_allclose(page[0, ::16], expected, atol=1e-6)
    (page,) = montage.color_framed_montages(
        images, (16, 12), (4, 1), scores, cmap="hot", pad=2, vmin=2, vmax=2.5
    )
    hot = mpl.colormaps["hot"]
    np.testing.assert_allclose(page[0, :48:16], [hot(x)[:3] for x in (0.0, 0.0, 1.0)], atol=1e-6)


def test_without_scores_there_are_no_frames():
    (page,) = montage.color_framed_montages([_plain(5)], (6, 4), (1, 1), None)
    np.testing.assert_array_equal(page, _plain(5))


def test_equal_scores_have_a_colour():
    (page,) = montage.color_framed_montages([_plain(5)] * 2, (8, 6), (2, 1), [7, 7], pad=1)
    np.testing.assert_allclose(page[0, 0], mpl.colormaps["summer"](0.0)[:3], atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    n_images=st.integers(2, 9),
    nrow=st.integers(1, 10),
    padding=st.integers(0, 3),
    pad_value=st.sampled_from([0.0, 0.7]),
)
def test_grids_agree_with_torchvision(n_images, nrow, padding, pad_value):
    """Row by row as torchvision; column by column as torchvision of the transposed images."""
    torch = pytest.importorskip("torch")
    make_grid = pytest.importorskip("torchvision.utils").make_grid
    images = torch.rand(n_images, 3, 4, 6, generator=torch.Generator().manual_seed(n_images))
    layout = {"nrow": nrow, "padding": padding, "pad_value": pad_value}
    expected = make_grid(images, **layout)
    torch.testing.assert_close(montage.make_grid_T(images, **layout), expected)
    by_column = montage.make_grid_T(images, rowfirst=False, **layout)
    torch.testing.assert_close(by_column.mT, make_grid(images.mT, **layout))
    as_arrays = [image.permute(1, 2, 0).numpy() for image in images]
    arrays = montage.make_grid_np(as_arrays, **layout)
    np.testing.assert_array_equal(arrays, expected.permute(1, 2, 0).numpy())
    np.testing.assert_array_equal(
        montage.make_grid_np(np.stack(as_arrays, axis=-1), **layout), expected.permute(1, 2, 0)
    )


@pytest.mark.parametrize(
    "options",
    [{"scale_each": True}, {"value_range": (0.2, 0.6)}, {}, {"scale_each": True, "nrow": 1}],
)
def test_normalized_grids_agree_with_torchvision(options):
    torch = pytest.importorskip("torch")
    make_grid = pytest.importorskip("torchvision.utils").make_grid
    images = torch.rand(5, 1, 4, 6, generator=torch.Generator().manual_seed(0)) * 3 - 1
    images[2] = 0.25  # a range of 0
    before = images.clone()
    torch.testing.assert_close(
        montage.make_grid_T(images, normalize=True, **options),
        make_grid(images, normalize=True, **options),
    )
    torch.testing.assert_close(images, before)


def test_a_single_tensor_image_comes_back_without_padding():
    torch = pytest.importorskip("torch")
    image = torch.rand(1, 4, 6)
    for single in (image[0], image, image[None], [image]):
        torch.testing.assert_close(montage.make_grid_T(single), image.expand(3, 4, 6))


def test_grids_of_arrays_keep_type_and_range():
    images = [np.full((4, 6), level, np.uint8) for level in (10, 200)]
    grid = montage.make_grid_np(images, padding=1, pad_value=255)
    assert grid.dtype == np.uint8
    assert grid.shape == (6, 15)
    assert grid[1, [0, 1, 7, 8]].tolist() == [255, 10, 255, 200]
    assert montage.make_grid_np(np.ones((4, 6, 3)), padding=1).shape == (6, 8, 3)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 6), st.integers(0, 3))
def test_what_was_laid_out_is_taken_apart_again(n_images, nrow, pad):
    """All images come back, in order, and single ones by place, number and from the end."""
    images = [np.full((8, 8, 3), level, np.uint8) for level in range(1, n_images + 1)]
    grid = montage.make_grid_np(images, nrow=nrow, padding=pad)
    crops = montage.crop_all_from_montage(grid, imgsize=8, pad=pad)
    np.testing.assert_array_equal(crops, images)
    columns = min(nrow, n_images)
    for number in range(n_images):
        for imgid in (number, divmod(number, columns), number - n_images):
            crop = montage.crop_from_montage(grid, imgid, imgsize=8, pad=pad)
            assert (crop == number + 1).all()


def _nine_in_a_row_of_four(size=64):
    """Nine noise images in a grid of 3 x 4: three places stay blank."""
    images = np.random.default_rng(1).integers(0, 256, (9, size, size, 3), dtype=np.uint8)
    return montage.make_grid_np(list(images), nrow=4), images


@pytest.mark.parametrize("quality", [30, 75])
def test_blank_places_of_a_jpeg_are_blank(quality):
    """Compression brightens their edges; the last image and the stop are found all the same."""
    grid, images = _nine_in_a_row_of_four()
    file = io.BytesIO()
    Image.fromarray(grid).save(file, "jpeg", quality=quality)
    picture = Image.open(file)
    assert len(montage.crop_all_from_montage(picture, imgsize=64)) == 9
    last = montage.crop_from_montage(picture, -1, imgsize=64)
    likeness = [np.corrcoef(last.ravel(), image.ravel())[0, 1] for image in images]
    assert np.argmax(likeness) == 8
    blank = montage.crop_from_montage(picture, (2, 3), imgsize=64)
    assert blank[20:-20, 20:-20].max() == 0


def test_a_random_image_is_one_of_the_images_and_follows_the_seed():
    """The published function fails here; blank places are never drawn."""
    grid, images = _nine_in_a_row_of_four(16)

    def draw(rng):
        crop = montage.crop_from_montage(grid, "rand", imgsize=16, seed=rng)
        return int(np.flatnonzero((images == crop).all(axis=(1, 2, 3)))[0])

    generator = np.random.default_rng(0)
    assert {draw(generator) for _ in range(200)} == set(range(9))
    assert draw(5) == draw(5)


def test_the_number_of_crops_can_be_given_and_blank_places_kept():
    grid, images = _nine_in_a_row_of_four(16)
    np.testing.assert_array_equal(
        montage.crop_all_from_montage(grid, totalnum=4, imgsize=16), images[:4]
    )
    assert len(montage.crop_all_from_montage(grid, imgsize=16, autostop=False)) == 12
    crop = montage.crop_from_montage(grid, 0, imgsize=16)
    crop[:] = 0
    assert montage.crop_from_montage(grid, 0, imgsize=16).any()


def _pictures():
    pictures = np.full((2, 3), None, dtype=object)
    for number, place in enumerate([(0, 1), (0, 2), (1, 0)]):
        pictures[place] = Image.new("RGB", (6, 4), (10 * number + 10, 0, 0))
    return pictures


def test_pictures_stay_in_their_places():
    page = montage.PIL_array_to_montage(_pictures())
    assert page.size == (18, 8)
    assert np.asarray(page)[::4, ::6, 0].tolist() == [[0, 10, 20], [30, 0, 0]]
    assert montage.get_first_non_none_image_size(_pictures()) == (6, 4)
    assert montage.PIL_array_to_montage(_pictures().tolist()) == page


def test_framed_pictures_take_the_colours_of_the_scores():
    """Scores of empty places do not count towards the range."""
    scores = [[-100, 1.0, 2.0], [3.0, 50, np.nan]]
    page = montage.PIL_array_to_montage_score_frame(_pictures(), scores, border_size=2)
    assert page.size == (30, 16)
    corners = np.asarray(page)[::8, ::10]
    viridis = mpl.colormaps["viridis"]
    for place, share in (((0, 1), 0.0), ((0, 2), 0.5), ((1, 0), 1.0)):
        assert corners[place].tolist() == np.rint(255 * np.array(viridis(share)[:3])).tolist()
    assert (corners[1, 1:] == 0).all()
    limited = montage.PIL_array_to_montage_score_frame(_pictures(), scores, clim=(0, 2))
    assert np.asarray(limited)[0, 26].tolist() == corners[0, 2].tolist()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: montage.build_montages([np.ones((2, 2, 3)) * 255], (2, 2), (1, 1)), "to 255"),
        (lambda: montage.build_montages([np.ones((2, 2, 4))], (2, 2), (1, 1)), r"\(2, 2, 4\)"),
        (lambda: montage.build_montages([], (2, 0), (1, 1)), "image_shape"),
        (lambda: montage.build_montages([], (2, 2), (1, 1, 1)), "montage_shape"),
        (lambda: montage.color_frame(np.ones((2, 2)), "reddish"), "reddish"),
        (lambda: montage.color_frame(np.ones((2, 2)), "red", -1), "pad is -1"),
        (lambda: montage.color_framed_montages([], (2, 2), (1, 1), [1]), "1 scores for 0"),
        (
            lambda: montage.color_framed_montages([np.ones((2, 2))], (2, 2), (1, 1), [1], "sumer"),
            "sumer",
        ),
        (lambda: montage.make_grid_np([]), "at least one"),
        (lambda: montage.make_grid_np([np.ones((2, 2)), np.ones((2, 3))]), "one size"),
        (lambda: montage.make_grid_np([np.ones((2, 2))], nrow=0), "0 in a row"),
        (lambda: montage.crop_from_montage(np.ones((20, 20)), imgsize=8), "does not consist"),
        (lambda: montage.crop_from_montage(np.ones(20), imgsize=7), "does not consist"),
        (lambda: montage.crop_from_montage(np.ones((18, 18)), 1, 14, 2), "1 rows of 1"),
        (lambda: montage.crop_from_montage(np.ones((18, 18)), -2, 14, 2), "1 images that are not"),
        (lambda: montage.crop_from_montage(np.ones((18, 18)), "rand", 14, 2), "and a seed"),
        (lambda: montage.crop_from_montage(np.zeros((18, 18)), "rand", 14, 2, 0), "blank"),
        (lambda: montage.crop_all_from_montage(np.ones((18, 18)), 2, 14, 2), "1 places"),
        (lambda: montage.PIL_array_to_montage(np.array([[None]])), "holds no image"),
        (lambda: montage.PIL_array_to_montage(np.array([None])), "rows, columns"),
        (lambda: montage.PIL_array_to_montage([[None], [None, None]]), "equal length"),
        (
            lambda: montage.PIL_array_to_montage(
                [[Image.new("RGB", (2, 2)), Image.new("RGB", (3, 2))]]
            ),
            "column 1",
        ),
        (lambda: montage.PIL_array_to_montage_score_frame(_pictures(), [1, 2]), "one score"),
    ],
)
def test_input_without_an_answer_is_refused_with_a_reason(call, message):
    with pytest.raises(UsageError, match=message):
        call()


def test_tensors_that_make_no_grid_are_refused():
    torch = pytest.importorskip("torch")
    for given_images in ([], [torch.ones(3, 2, 2), torch.ones(3, 2, 3)], torch.ones(1, 1, 3, 2, 2)):
        with pytest.raises(UsageError, match="shape"):
            montage.make_grid_T(given_images)


def test_the_module_loads_no_torch(bare):
    code = "import sys, core.utils.montage_utils; sys.exit(any('torch' in m for m in sys.modules))"
    assert bare.run(code).returncode == 0

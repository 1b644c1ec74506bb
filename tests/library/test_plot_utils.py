"""Grids of image tensors as pictures, figures in several formats, small drawing helpers."""

from __future__ import annotations

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from core.errors import CannotWriteError, UsageError
from core.utils import plot_utils


@pytest.fixture
def images():
    """Seven float images of one level each, in tenths."""
    torch = pytest.importorskip("torch")
    return (torch.arange(1, 8) / 10)[:, None, None, None].expand(7, 3, 4, 6)


def _levels(picture):
    """Return the tenths of the images in a picture (or file of one) without padding."""
    if not isinstance(picture, Image.Image):
        with Image.open(picture) as file:
            return _levels(file.convert("RGB"))
    return np.rint(np.asarray(picture)[2::4, 3::6, 0] / 25.5).astype(int).tolist()


def test_a_grid_becomes_a_picture_and_its_levels_are_rounded(images):
    """Floats are clipped to 0 to 1 and rounded; uint8 stays as it is."""
    torch = pytest.importorskip("torch")
    picture = plot_utils.to_imgrid(images, 4, 0)
    assert _levels(picture) == [[1, 2, 3, 4], [5, 6, 7, 0]]
    pixels = torch.tensor([[[-0.5, 1.5, 0.5, 0.1]]])
    assert np.asarray(plot_utils.to_imgrid(pixels))[0, :, 0].tolist() == [0, 255, 128, 26]
    levels = torch.arange(12, dtype=torch.uint8).reshape(3, 2, 2)
    np.testing.assert_array_equal(plot_utils.to_imgrid(levels), levels.permute(1, 2, 0))


@pytest.mark.parametrize("ending", [".png", ".jpg", ".PNG"])
def test_a_grid_is_saved_in_the_format_of_its_name(tmp_path, images, ending):
    path = plot_utils.save_imgrid(images, tmp_path / "new" / f"last1.5{ending}", nrow=7, padding=0)
    assert _levels(path) == [[1, 2, 3, 4, 5, 6, 7]]
    assert [file.name for file in path.parent.iterdir()] == [f"last1.5{ending}"]


def test_a_grid_is_saved_row_by_row_with_the_incomplete_last_row(tmp_path, images):
    """The published function drops the last row, and fails on current versions of torchvision."""
    paths = plot_utils.save_imgrid_by_row(images, tmp_path / "grid.png", n_row=3, padding=0)
    assert [path.name for path in paths] == ["grid_0.png", "grid_1.png", "grid_2.png"]
    assert [_levels(path) for path in paths] == [[[1, 2, 3]], [[4, 5, 6]], [[7]]]


def test_a_grid_is_shown(images):
    figure = plot_utils.show_imgrid(images, nrow=4, padding=1)
    (ax,) = figure.axes
    assert ax.images[0].get_array().shape == (11, 29, 3)
    assert not ax.axison


def test_a_figure_is_saved_in_all_folders_and_formats_with_editable_text(tmp_path):
    """A name with a dot keeps it; the settings of the session stay as they were."""
    figure, ax = plt.subplots()
    ax.set_title("editable")
    before = dict(mpl.rcParams)
    paths = plot_utils.saveallforms(
        [tmp_path / "a", tmp_path / "b"], "score1.5", figure, ("png", "pdf", "svg")
    )
    assert [str(path.relative_to(tmp_path)) for path in paths] == [
        f"{folder}/score1.5.{fmt}" for folder in "ab" for fmt in ("png", "pdf", "svg")
    ]
    assert dict(mpl.rcParams) == before
    assert b"/Subtype /Type0" in paths[1].read_bytes()  # TrueType; type 3 would be outlines
    assert ">editable</text>" in paths[2].read_text()
    with Image.open(paths[0]) as picture:
        assert picture.size[0] > 100


def test_the_current_figure_is_saved_in_one_folder(tmp_path):
    plt.figure()
    assert plot_utils.saveallforms(tmp_path, "now") == [tmp_path / "now.png", tmp_path / "now.pdf"]
    assert all(path.stat().st_size for path in tmp_path.iterdir())


def test_an_image_is_drawn_without_ticks():
    figure, ax = plt.subplots()
    drawn = plot_utils.showimg(ax, np.arange(6).reshape(2, 3), cbar=True, ylabel="unit 5")
    assert drawn.get_array().shape == (2, 3)
    assert ax.get_ylabel() == "unit 5"
    assert len(ax.get_xticks()) == len(ax.get_yticks()) == 0
    assert len(figure.axes) == 2


def test_axes_are_hidden_whatever_holds_them():
    _, grid = plt.subplots(2, 2)
    _, single = plt.subplots()
    for given in (grid, single, [single], [list(grid[0]), list(grid[1])]):
        for ax in [*grid.flat, single]:
            ax.set_axis_on()
        plot_utils.off_axes(given)
        hidden = [ax for ax in [*grid.flat, single] if not ax.axison]
        assert len(hidden) == np.size(np.asarray(given, dtype=object))


def test_what_cannot_be_saved_is_refused_with_a_reason(tmp_path, images):
    figure = plt.figure()
    for call, error, message in (
        (lambda: plot_utils.save_imgrid(images, tmp_path / "grid.pgn"), UsageError, ".png"),
        (lambda: plot_utils.to_imgrid(images[:, :2]), UsageError, "2 channels"),
        (lambda: plot_utils.save_imgrid_by_row(images[:0], "x.png"), UsageError, "make no row"),
        (lambda: plot_utils.save_imgrid_by_row(images, "x.png", 0), UsageError, "make no row"),
        (lambda: plot_utils.saveallforms(tmp_path, "a", figure, ("pgn",)), UsageError, "'png'"),
        (lambda: plot_utils.saveallforms("/proc/none", "a", figure), CannotWriteError, "/proc"),
    ):
        with pytest.raises(error, match=message):
            call()
    plt.close("all")
    with pytest.raises(UsageError, match="no current figure"):
        plot_utils.saveallforms(tmp_path, "a")
    assert not list(tmp_path.iterdir())


def test_importing_changes_no_setting_and_loads_no_torch(bare):
    code = (
        "import sys, matplotlib as mpl; before = dict(mpl.rcParams); import core.utils.plot_utils; "
        "sys.exit(dict(mpl.rcParams) != before or any('torch' in m for m in sys.modules))"
    )
    assert bare.run(code).returncode == 0

"""Lines of the paper's scripts and notebooks, as they stand there."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import Colormap, to_rgba
from torch import nn

import core.utils
from core.errors import UsageError
from core.utils import grad_RF_estim as rf
from core.utils import montage_utils, plot_utils, stats_utils
from core.utils.CNN_scorers import resize_and_pad, resize_and_pad_tsr, visualize_trajectory
from core.utils.layer_hook_utils import layername_dict
from core.utils.Optimizers import CholeskyCMAES, concat_wrapper, label2optimizer
from core.utils.published_keywords import published_keywords


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    areas = ["V1", "V4", "IT"] * 10
    return pd.DataFrame({"x": rng.normal(size=30), "y": rng.normal(size=30), "visual_area": areas})


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def test_images_of_the_canvas_s_size_are_placed():
    """A full-field image would otherwise stand in an experiment on receptive fields."""
    canvas = resize_and_pad_tsr(torch.zeros(1, 3, 227, 227), (100, 100), (63, 63))
    assert float((canvas == 0.5).float().mean()) == pytest.approx(1 - 100**2 / 227**2)
    copied = resize_and_pad([np.zeros((227, 227, 3))], (100, 100), (63, 63))[0]
    assert not copied.any()


def test_a_grid_that_is_filled_by_column_has_nrow_images_a_row():
    images = [np.full((20, 20, 3), number) for number in range(7)]
    grid = montage_utils.make_grid_np(images, nrow=4, rowfirst=False)
    assert grid.shape == (46, 90, 3)
    assert grid[12, 12::22, 0].tolist() == [0, 2, 4, 6]
    assert grid[34, 12::22, 0].tolist() == [1, 3, 5, 0]
    by_row = montage_utils.make_grid_np(images, nrow=4)
    assert by_row.shape == grid.shape
    assert by_row[12, 12::22, 0].tolist() == [0, 1, 2, 3]


def test_a_stack_of_images_is_a_grid_of_them():
    stack = np.random.default_rng(0).random((9, 8, 6, 3))
    grid = montage_utils.make_grid_np(stack)
    np.testing.assert_array_equal(grid, montage_utils.make_grid_np(list(stack)))
    np.testing.assert_array_equal(grid, montage_utils.make_grid_np(np.moveaxis(stack, 0, -1)))
    with pytest.raises(UsageError, match=r"expected images \(height, width, 3, n\)"):
        montage_utils.make_grid_np(np.zeros((9, 8, 6, 4)))


@pytest.mark.parametrize("size", [256, 512])
def test_both_crops_take_both_usual_sizes(size):
    images = [np.full((size, size, 3), level) for level in (0.2, 0.7)]
    montage = montage_utils.make_grid_np(images)
    assert [crop[0, 0, 0] for crop in montage_utils.crop_all_from_montage(montage)] == [0.2, 0.7]
    assert montage_utils.crop_from_montage(montage, 1).shape == (size, size, 3)


def test_correlations_are_drawn_with_the_options_of_seaborn(table):
    ax, _, _ = stats_utils.scatter_corr(
        table, "x", "y", s=25, alpha=0.5, hue="visual_area", palette=["r", "g", "b"]
    )
    (points,) = ax.collections
    colours = points.get_facecolors()[:3, :3]
    np.testing.assert_allclose(colours, [to_rgba(colour)[:3] for colour in "rgb"])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["V1", "V4", "IT"]
    assert set(points.get_sizes()) == {25}


def test_a_summary_leaves_the_first_code_out_and_divides_by_n():
    rng = np.random.default_rng(1)
    scores, generations = rng.normal(size=61), np.repeat(np.arange(11), [1] + [6] * 10)
    means, sems, numbers = stats_utils.summary_by_block(scores, generations)
    assert numbers.tolist() == list(range(1, 11))
    first = scores[1:7]
    assert (means[0], sems[0]) == pytest.approx((first.mean(), first.std() / np.sqrt(6)))


def test_t_tests_are_called_and_unpacked_as_in_the_scripts(table, capsys):
    first, second = table.index < 15, table.index >= 15
    t, p = stats_utils.ttest_1samp_print(table.x, 0)
    assert f"t(29)={t:.3f}, p={p:.1e}" in capsys.readouterr().out
    t, p, sentence = stats_utils.ttest_ind_print_df(table, first, second, "x", True)
    sem = table.x[first].std() / np.sqrt(15)
    assert f"{table.x[first].mean():.3f}±{sem:.3f}" in sentence
    assert stats_utils.ttest_rel_print_df(table, None, "x", "y", True)[0] == pytest.approx(
        stats_utils.ttest_rel_df(table, None, col1="x", col2="y").statistic
    )
    assert stats_utils.latexify_tststs(2.0, 0.05, 29) == (
        r"$t_{29}=2.000$, $p=5.0\times10^{-2}$"
    )
    with pytest.raises(UsageError, match="without p"):
        stats_utils.latexify_tststs(2.0)


def test_bands_take_colour_and_opacity_by_position():
    rows = np.random.default_rng(0).normal(size=(5, 9))
    line = stats_utils.shaded_errorbar_arr(rows, "red", 0.3)
    assert line.get_color() == "red"
    (band,) = line.axes.collections
    assert band.get_alpha() == 0.3


def test_arguments_have_their_published_names_too(tmp_path):
    network = nn.Sequential(nn.Conv2d(3, 2, 3))
    field = rf.grad_RF_estimate(
        network, target_layer=".Conv2d0", target_unit=(1, 4, 4), input_size=(3, 12, 12), reps=3
    )
    limits = rf.gradmap2RF_square(gradAmpmap_=field)
    assert limits == ((4, 7), (4, 7))
    fit = rf.fit_2dgauss(gradAmpmap_=field, pop_str="unit")
    assert fit.xo == fit["xo"]
    with pytest.raises(AttributeError, match="Did you mean 'xo'"):
        fit.xoo  # noqa: B018
    rf.show_gradmap(gradAmpmap_=field)
    grid = np.indices((3, 4))
    assert rf.twoD_Gaussian(XYstack=grid, amplitude=1, xo=1, yo=2, sigma_x=1, sigma_y=1, theta=0,
                            offset=0)[1, 2] == 1  # fmt: skip
    figure, ax = plt.subplots()
    plot_utils.showimg(ax, imgarr=np.zeros((4, 4, 3)))
    paths = plot_utils.saveallforms(figdirs=tmp_path, fignm="figure", figh=figure)
    assert [path.name for path in paths] == ["figure.png", "figure.pdf"]
    assert visualize_trajectory(scores_all=[1.0, 2.0], generations=[0, 1]) is not None
    pair = concat_wrapper(optim1=CholeskyCMAES(2, 4), optim2=CholeskyCMAES(3, 4))
    assert pair.space_dimen == 5
    assert label2optimizer(methodlabel="CholCMA", init_code=np.zeros(4096), GAN="fc6") is not None
    with pytest.raises(UsageError, match=r"imgarr= and img= are one argument"):
        plot_utils.showimg(ax, imgarr=np.zeros((4, 4)), img=np.zeros((4, 4)))


def test_published_keywords_leave_other_calls_as_they_are():
    @published_keywords(theirs="ours")
    def call(ours, other=2):
        """Say it."""
        return ours, other

    assert (call(1), call(ours=1), call(theirs=1, other=3)) == ((1, 2), (1, 2), (1, 3))
    assert (call.__name__, call.__doc__) == ("call", "Say it.")


def test_parula_is_a_colour_map_of_its_name():
    from core.utils.colormap_matlab import parula

    assert isinstance(parula, Colormap)
    assert parula.name == "parula"
    assert parula(0.0)[2] > parula(0.0)[0]
    plt.imshow(np.eye(2), cmap=parula)


def test_readable_layers_are_listed_by_network():
    assert layername_dict["alexnet"][:3] == ["conv1", "conv1_relu", "pool1"]
    assert len(layername_dict["vgg16"]) == 38


def test_names_that_are_not_there_have_neighbours():
    with pytest.raises(AttributeError, match="Did you mean 'upconvGAN'"):
        core.utils.upconvgan  # noqa: B018

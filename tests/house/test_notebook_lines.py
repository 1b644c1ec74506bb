"""Cells as the paper's notebooks write them: published modules, names, arguments, return values.

Only what a machine without weights and recordings must say is added: ``pretrained=False``, a
device, a folder.
"""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from core.published_names import MOVED, door

ROOT = Path(__file__).resolve().parents[2]

EVOLUTION = """
import numpy as np
import torch
from core.utils.CNN_scorers import TorchScorer, resize_and_pad_tsr
from core.utils.GAN_utils import upconvGAN, BigGAN_wrapper, loadBigGAN
from core.utils.Optimizers import CholeskyCMAES, HessCMAES, ZOHA_Sphere_lr_euclid
from core.utils.layer_hook_utils import get_module_names, featureFetcher
from core.utils.grad_RF_estim import grad_RF_estimate, gradmap2RF_square
from core.utils.montage_utils import make_grid_np, crop_from_montage
from core.utils.plot_utils import to_imgrid, save_imgrid, saveallforms
from core.utils.stats_utils import summary_by_block

G = upconvGAN("norm1", pretrained=False, device="cpu")
scorer = TorchScorer("alexnet", imgpix=64, rawlayername=False, pretrained=False, device="cpu")
module_names, module_types, module_spec = get_module_names(scorer.model, (3, 64, 64), "cpu", False)
scorer.select_unit(("alexnet", "conv3_relu", 5, 1, 1), allow_grad=True)
gradAmpmap = grad_RF_estimate(scorer.model, ".features.ReLU7", (5, 1, 1), input_size=(3, 64, 64),
                              device="cpu", show=False, reps=2, batch=1)
Xlim, Ylim = gradmap2RF_square(gradAmpmap, absthresh=1e-8, relthresh=1e-5, square=True)
corner = (Xlim[0], Ylim[0])
imgsize = (Xlim[1] - Xlim[0], Ylim[1] - Ylim[0])

optimizer = CholeskyCMAES(G.codelen, population_size=4, init_sigma=3.0,
                          init_code=np.zeros([1, G.codelen]), Aupdate_freq=10, maximize=True,
                          random_seed=None, optim_params={})
new_codes = optimizer.get_init_pop()
scores_all, generations, codes_all, best_imgs = [], [], [], []
for i in range(4):
    codes_all.append(new_codes)
    T_imgs = G.visualize(torch.tensor(new_codes, dtype=torch.float32))
    ppx_imgs = resize_and_pad_tsr(T_imgs, imgsize, corner, canvas_size=(64, 64))
    scores = scorer.score_tsr(ppx_imgs)
    best_imgs.append(T_imgs[scores.argmax(), :, :, :])
    new_codes = optimizer.step_simple(scores, new_codes)
    scores_all.extend(list(scores))
    generations.extend([i] * len(scores))
scores_all, generations = np.array(scores_all), np.array(generations)
mtg_exp = to_imgrid(best_imgs, nrow=2)
mtg_exp.save(outdir + "/besteachgen.jpg")
score_m, score_s, blockarr = summary_by_block(scores_all, generations, sem=False)
img = crop_from_montage(np.array(mtg_exp), (0, 1), G(torch.zeros(1, G.codelen)).shape[-1], 2)
"""

RECORDINGS = """
from neuro_data_analysis.neural_data_lib import (
    load_neural_data, get_expstr, extract_evol_activation_array, extract_evol_psth_array,
    extract_natref_activation_array, pad_resp_traj, load_img_resp_pairs)
from neuro_data_analysis.neural_data_utils import (
    parse_montage, parse_meta, area_mapping, get_all_masks, get_Animal_expdate)
from core.utils.stats_utils import ttest_rel_df, scatter_corr, summary_by_block, shaded_errorbar_arr

BFEStats = load_neural_data(matroot)
S = BFEStats[155]
Animal, expdate = parse_meta(S)
visual_area = area_mapping(S.info.pref_channel, Animal, expdate)
title = get_expstr(BFEStats, 155)
resp_arr0, bsl_arr0, gen_arr0, resp_vec0, bsl_vec0, gen_vec0 = extract_evol_activation_array(S, 0)
resp_arr1, bsl_arr1, gen_arr1, resp_vec1, bsl_vec1, gen_vec1 = extract_evol_activation_array(S, 1)
_, _, _, refresp, _, _ = extract_natref_activation_array(S, 0)
score_m, score_s, blockarr = summary_by_block(resp_vec1, gen_vec1, maxgen=100, sem=True)
"""


@pytest.mark.filterwarnings("ignore:optimiser")
def test_the_cell_of_an_evolution_runs(tmp_path):
    """Four generations in a receptive field, their montage, and a picture cut from it."""
    cell = {"outdir": str(tmp_path)}
    exec(EVOLUTION, cell)
    assert (tmp_path / "besteachgen.jpg").is_file()
    assert len(cell["scores_all"]) == 1 + 3 * 4
    assert cell["blockarr"].tolist() == [1, 2, 3]  # the first code alone is left out, as published
    by_hand = [cell["scores_all"][cell["generations"] == i].mean() for i in (1, 2, 3)]
    np.testing.assert_allclose(cell["score_m"], by_hand)
    assert cell["img"].shape == (240, 240, 3)
    assert cell["module_names"]["0"] == "Image"
    assert ".features.ReLU7" in cell["module_names"].values()
    plt.close("all")


def test_the_cell_of_a_recording_runs(small_matroot):
    cell = {"matroot": str(small_matroot)}
    exec(RECORDINGS, cell)
    assert cell["visual_area"] in ("V1", "V4", "IT")
    assert len(cell["resp_arr1"]) == len(cell["S"].threads[1].blocks)
    means = [np.mean(block) for block in cell["resp_arr1"] if len(block) > 1]
    np.testing.assert_allclose(cell["score_m"], means)
    assert cell["title"].count("\n") == 2
    cell["BFEStats"].close()


@pytest.mark.parametrize("module", MOVED)
def test_a_published_name_that_is_called_otherwise_is_told_and_listed(module):
    """By the import itself, and in the table of names."""
    listed = ROOT.joinpath("PUBLISHED_NAMES.md").read_text(encoding="utf-8")
    where = module if "." in module else f"{module}.neural_data_lib"
    for name in MOVED[module]:
        with pytest.raises(ImportError, match=re.escape(f"{name} of the published {where} is ")):
            exec(f"from {where} import {name}")
        assert re.search(rf"\b{name}\b", listed), name


def test_other_names_have_neighbours_in_every_published_module():
    modules = [
        *(f"core.utils.{name}" for name in (
            "GAN_utils", "CNN_scorers", "Optimizers", "layer_hook_utils", "grad_RF_estim",
            "plot_utils", "montage_utils", "stats_utils", "geometry_utils",
        )),
        *(f"neuro_data_analysis.{name}" for name in (
            "neural_data_lib", "neural_data_utils", "neural_tuning_analysis_lib",
            "image_comparison_lib",
        )),
    ]  # fmt: skip
    for name in modules:
        module = __import__(name, fromlist=["x"])
        with pytest.raises(AttributeError, match=f"unknown name of {name} 'no_such'. Known: "):
            module.no_such  # noqa: B018
        assert not hasattr(module, "no_such")
    from core.utils import GAN_utils

    with pytest.raises(AttributeError, match="Did you mean 'upconvGAN'") as told:
        GAN_utils.upconvgan  # noqa: B018
    assert "TYPE_CHECKING" not in str(told.value)
    with pytest.raises(AttributeError, match="no attribute '__wrapped__'"):
        door("core.utils.GAN_utils")("__wrapped__")

"""Generators, scorers, hooks, optimisers and their tools, imported when first used.

``from core.utils import upconvGAN, TorchScorer, CholeskyCMAES`` works as in the paper's notebooks;
``import core.utils`` alone loads no torch. It lets torch take the memory of large tensors in pages
of 2 MB where Linux has them (``THP_MEM_ALLOC_ENABLE=0`` in the environment forbids it): clearing
small pages can be a tenth of the time of a network on a CPU, and more.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from core.errors import choose_from
from core.start import missing_package

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch reads it at its first tensor

_HOME = {
    "GAN_utils": (
        "upconvGAN", "Caffenet", "multiZupconvGAN", "loadBigGAN", "BigGAN_wrapper",
    ),
    "CNN_scorers": (
        "TorchScorer", "load_featnet", "resize_and_pad", "resize_and_pad_tsr", "subsample_mask",
        "visualize_trajectory",
    ),
    "Optimizers": (
        "CholeskyCMAES", "HessCMAES", "ZOHA_Sphere_lr_euclid", "concat_wrapper",
        "fix_param_wrapper", "label2optimizer", "optimizer_labels", "rankweight",
        "GradientAscent", "ask_tell_peer", "founder_wrapper", "optimizer_from_state",
        "hessian_cutoff", "suggested_sigma",
    ),
    "evolution.loop": ("evolve",),
    "evolution.comparison": ("compare",),
    "evolution.stopping": ("Stop",),
    "generators.image_spaces": ("FourierSpace", "PixelSpace"),
    "generators.faces": ("FaceGAN",),
    "layer_hook_utils": (
        "get_module_names", "get_module_name_shapes", "get_layer_names",
        "register_hook_by_module_name", "register_hook_by_module_names", "featureFetcher",
        "featureFetcher_module", "featureFetcher_recurrent", "named_apply",
        "recursive_named_apply", "recursive_named_apply_w_depth", "recursive_print",
        "print_specific_layer",
    ),
    "layers.record": ("record",),
    "scoring.classifiers": ("load_classifier",),
    "scoring.units": ("Centre", "Channel", "Mean", "WeightedSum", "Direction", "Cosine"),
    "grad_RF_estim": (
        "grad_RF_estimate", "GAN_grad_RF_estimate", "grad_population_RF_estimate",
        "gradmap2RF_square", "fit_2dgauss", "twoD_Gaussian", "show_gradmap",
    ),
    "montage_utils": (
        "build_montages", "make_grid_np", "make_grid_T", "color_frame", "color_framed_montages",
        "crop_from_montage", "crop_all_from_montage", "PIL_array_to_montage",
        "PIL_array_to_montage_score_frame", "get_first_non_none_image_size",
    ),
    "plot_utils": (
        "to_imgrid", "show_imgrid", "save_imgrid", "save_imgrid_by_row", "saveallforms", "showimg",
        "off_axes",
    ),
    "stats_utils": (
        "summary_by_block", "ttest_rel_df", "ttest_ind_df", "ttest_1samp_print", "ttest_rel_print",
        "ttest_ind_print", "ttest_rel_print_df", "ttest_ind_print_df", "latexify_tststs",
        "paired_strip_plot", "shaded_errorbar", "shaded_errorbar_arr", "scatter_corr",
        "trivariate_corr", "correlation_difference", "independent_correlation_difference",
    ),
    "geometry_utils": (
        "ang_dist", "SLERP", "LERP", "LExpMap", "SExpMap", "ExpMap", "VecTransport", "radial_proj",
        "orthogonalize", "renormalize", "slerp", "SLERP_torch", "LERP_torch",
    ),
    "device": ("resolve_device",),
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}
#: Modules that are used by name: ``objectives.unit(…)``.
_MODULES = {"objectives": "evolution.objectives"}

__all__ = sorted((*_MODULE_OF, *_MODULES))


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF and name not in _MODULES:
        raise AttributeError(choose_from(name, __all__, f"name of {__name__}"))
    try:
        if name in _MODULES:
            return import_module(f"{__name__}.{_MODULES[name]}")
        return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing.partition(".")[0] in ("core", "neuron_gan"):
            raise
        raise ModuleNotFoundError(missing_package(missing), name=missing) from None


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

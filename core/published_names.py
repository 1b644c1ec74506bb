"""Names of the published modules that are called otherwise here, told where they are asked for.

`PUBLISHED_NAMES.md` gives the reasons. A module that stands under its published name ends in
``__getattr__ = door(__name__)``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from core.errors import choose_from

_FETCH = "the command python -m core.utils.GAN_utils fetch"
_SCORER = "core.utils.record, a context manager that leaves no hook behind"
_ANALYSIS = "neuro_data_analysis"

#: Published name → what stands for it, by module; those of `neuro_data_analysis` by package.
MOVED: dict[str, dict[str, str]] = {
    "core.utils.CNN_scorers": {"activation": _SCORER, "get_activation": _SCORER},
    "core.utils.GAN_utils": {
        "download_file": _FETCH,
        "load_statedict_from_online": _FETCH,
        "load_urls": _FETCH,
        "model_urls": "the command python -m core.utils.GAN_utils list",
        "torchhome": "the folder that NEURON_GAN_WEIGHTS names, or that of torch hub",
        "RGB_mean": "core.utils.generators.caffenet.RGB_MEAN",
        "View": "a layer of core.utils.generators.upconv_specs",
        "ScalarMultiply": "a layer of core.utils.generators.upconv_specs",
    },
    "core.utils.stats_utils": {
        "test_correlation_diff": "core.utils.correlation_difference, whose z is that of the test",
        "test_correlation_diff_df": "core.utils.correlation_difference, whose z is that of the "
        "test",
    },
    _ANALYSIS: {
        "load_neural_data_and_save_pkl": "load_neural_data, which reads the .mat file itself",
        "add_entry2neural_data": "evolution.population.collect(recordings, optimizers)",
        "print_structure": "recordings.raw(expi)",
        "print_values": "recordings.raw(expi)",
        "load_img_resp_pairs_multiwindow": "evolution.stats.Trials.window_means(windows)",
        "load_resp_multiwindow": "evolution.stats.Trials.window_means(windows)",
        "extract_all_evol_trajectory": "evolution.population.collect(recordings)",
        "extract_all_evol_trajectory_dyna": "evolution.population.collect(recordings)",
        "extract_all_evol_trajectory_dyna_multiwindow_nostats": "evolution.stats.block_windows",
        "extract_all_evol_trajectory_psth": "evolution.stats.block_psths",
        "load_latent_codes": "evolution.codes.read_latent_codes or read_merged_codes",
        "get_meta_dict": "evolution.population.collect(recordings).meta",
        "get_meta_df": "evolution.population.collect(recordings).meta",
        "find_full_image_paths": "neural_data_utils.find_image",
        "parse_stim_info": "tuning.sessions.parse_stimulus_names",
        "parse_unit_id_from_spikeID": "tuning.sessions.infer_units",
        "maybe_add_unit_id_to_meta": "tuning.sessions.infer_units",
        "organize_unit_info": "tuning.sessions.read_session",
        "calculate_neural_responses": "neural_tuning_analysis_lib.load_site and single_trials",
        "compare_imgs_LPIPS": "core.utils.scoring.perception.lpips_matrix",
        "compare_imgs_cnn": "image_comparison_lib.cosine_matrix",
        "compare_imgs_vit": "image_comparison_lib.cosine_matrix",
        "extract_featvec_cnn_featmsk": "image_comparison_lib.embed",
        "naive_featmsk": "similarity.masks.ring_mask",
    },
}


def door(module: str, more: str = "") -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a module that stands under its published name.

    Parameters
    ----------
    module : str
        Its name.
    more : str
        A module whose public names are importable from this one too.

    Returns
    -------
    callable
        Raises an `ImportError` for a published name that is called otherwise here, since Python
        swallows an `AttributeError` in ``from module import name``; and an `AttributeError` with
        the nearest names for others.
    """
    packages = (MOVED[part] for part in module.split(".") if part in MOVED)
    moved = MOVED.get(module) or next(packages, {})

    def find(name: str) -> Any:
        if name.startswith("_"):  # asked for by Python itself, perhaps during an import
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        if name in moved:
            raise ImportError(
                f"{name} of the published {module} is here {moved[name]}; PUBLISHED_NAMES.md tells "
                "why."
            )
        found = import_module(more) if more else None
        names = list(getattr(found, "__all__", ()))
        if name in names:
            return getattr(found, name)
        names += public_names(module)
        raise AttributeError(choose_from(name, names, f"name of {module}"))

    return find


def public_names(module: str) -> list[str]:
    """Return what a module offers: its own public names, not those that it imports for itself."""
    loaded = sys.modules[module]
    offered = getattr(loaded, "__all__", None)
    if offered is not None:
        return sorted(offered)
    return sorted(
        name
        for name, value in vars(loaded).items()
        if not (name.startswith("_") or name.isupper())
        and getattr(value, "__module__", "") == module
    )

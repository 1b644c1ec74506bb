"""Every table of the source data: file name, content, units and layout.

File names, columns and index conventions are those of the authors' published files.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core.errors import UsageError, choose_from
from core.published import EXAMPLE_EXPI
from core.source_tables.layouts import (
    LARGEST_RESPONSE,
    Columns,
    Grid,
    JsonObject,
    Layout,
    PickledDict,
    PickledTable,
)
from core.source_tables.peaks import peaks_of_shapes
from core.spaces import Space

#: The four PSTHs of the example, in the order of the pickled array: name → what it is.
PSTH_SLICES = {
    f"{space}_{statistic}": (space, statistic) for statistic in ("mean", "sem") for space in Space
}

#: Tables of the pickled trials of the example: space and kind of trials → name.
PICKLED_TRIALS = {
    (space, kind): f"thread{space.thread}{infix}_resp_df"
    for kind, infix in (("evol", ""), ("natref", "_natref"))
    for space in Space
}

#: Widths of the time bins of Extended Figure 4B, ms.
ATTRIBUTION_BINS_MS = (5, 10, 20, 25, 50)

#: Blocks, counted from 0, of Figure 5A: the first, and the last of 56 (padded) ones.
FIGURE_5A_BLOCKS = (0, 55)

#: Time windows (start, stop), ms, of Figure 5C and of Extended Figure 4C.
FIGURE_5C_WINDOWS = tuple((start, start + 10) for start in range(0, 200, 10))
EXTENDED_4C_WINDOWS = tuple(
    (start, start + width) for width in (10, 20, 25, 50) for start in range(0, 200, width)
)

_MASKS_4 = (
    "valid", "FCsucc005", "BGsucc005", "bothsucc005", "nonesucc005", "anysucc005",
    "V1msk", "V4msk", "ITmsk",
    "FCsucc001", "BGsucc001", "bothsucc001", "nonesucc001", "anysucc001",
)  # fmt: skip
_MASKS_5 = (
    "valid", "V1msk", "V4msk", "ITmsk",
    "FCsucc005", "BGsucc005", "bothsucc005", "nonesucc005", "anysucc005",
    "FCsucc001", "BGsucc001", "bothsucc001", "nonesucc001", "anysucc001",
)  # fmt: skip

#: What an experiment was, and its Student tests: columns of ``meta_stats.csv``.
META_COLUMNS = (
    "Animal", "expdate", "ephysFN", "prefchan", "prefunit", "visual_area", "space1", "space2",
    "optim_names1", "optim_names2", "blockN",
    *(f"{kind}_{test}" for test in ("endinit_0", "endinit_1", "maxinit_0", "maxinit_1",
                                    "maxend_0", "maxend_1", "FCBG_end_01", "FCBG_max_01")
      for kind in ("t", "p")),
)  # fmt: skip

#: Responses of single blocks, added to them in ``meta_activation_stats.csv``.
ACTIVATION_COLUMNS = tuple(
    f"{block}rsp_{thread}_{statistic}"
    for block in ("max", "end", "init")
    for thread in (0, 1)
    for statistic in ("mean", "std", "sem")
)

#: Columns of the similarity table of Figure 3, group by group in the order of the published join.
#: FC and BG are the prototypes of the DeePSim and of the BigGAN thread. The published file also
#: holds 100 columns of covariance tensors (``layer1_…`` to ``layer4_…``), which are not read.
SIMILARITY_COLUMNS: dict[str, tuple[str, ...]] = {
    "cosines of whole maps": tuple(
        f"cosine_{prototype}_{features}"
        for prototype in ("reevol", "maxblk")
        for features in ("resnet_L3_m", "resnet_L4_m", "resnet_avgpool", "alexnet_fc6",
                         "alexnet_fc7", "vit_cls", "vit_token_m")
    ),
    "cosines within the border": (
        "Expi_alt",
        *(f"{prototype}_resnet_{layer}{exchanged}"
          for prototype in ("reevol_G", "reevol_pix", "maxblk")
          for layer in ("L3", "L4")
          for exchanged in ("", "_BGalt", "_FCalt")),
    ),
    "differences of responses": (
        *(f"psth_{measure}{smooth}"
          for smooth in ("", "_smooth") for measure in ("MAE", "MSE", "corr")),
        "act_MAE", "normalizer",
    ),
    "experiment": (*META_COLUMNS, *ACTIVATION_COLUMNS),
    "cosines in focus": tuple(
        f"{prototype}_{layer}{mask}"
        for prototype in ("reevol_G", "reevol_pix", "maxblk")
        for layer in ("RNrobust_L4", "RNrobust_L3", "alex_conv4", "alex_conv5", "vgg_conv5",
                      "vgg_conv4")
        for mask in ("focus", "cent", "all")
    ),
}  # fmt: skip

#: Columns of it without which it is of no use.
_NEEDED_SIMILARITIES = frozenset(
    {"cosine_reevol_resnet_avgpool", "reevol_pix_RNrobust_L4focus", "psth_MAE", "act_MAE"}
)

#: Time constants of the optimisation trajectory.
TIME_CONSTANT_COLUMNS = tuple(
    f"{space}_{count}{baseline}"
    for baseline in ("", "_bsl0", "_bslinit")
    for space in (space.prefix for space in Space)
    for count in ("tc0", "tc_cnt")
)

#: Responses of the example evolution block by block, for Figure 2B where there are no trials.
BLOCK_MEAN_COLUMNS = tuple(
    f"{space}_{value}"
    for space in Space
    for value in ("evol_mean", "evol_sem", "bsl_mean", "natref_mean", "natref_sem")
)

#: What the table of sites tells beyond the published figures.
_COURSE_COLUMNS = tuple(
    f"{space.prefix}_{what}"
    for space in Space
    for what in ("centre_first", "centre_best", "tc_counted", "tc_smoothed")
)
_DIFFERENCE_COLUMNS = ("psth_MAE", "psth_MSE", "psth_corr", "act_MAE")
SITE_COLUMNS = ("visual_area", *_MASKS_4, *_COURSE_COLUMNS, *_DIFFERENCE_COLUMNS)

#: How alike the best pictures of both threads look to a network.
PICTURE_COLUMNS = (
    "network", "weights", "layer", *(f"{space}_block" for space in Space), "cosine",
)  # fmt: skip

_META_TEXT = frozenset(
    {"Animal", "expdate", "ephysFN", "visual_area", "space1", "space2",
     "optim_names1", "optim_names2"}
)  # fmt: skip
_TESTS = frozenset(name for name in META_COLUMNS if name.startswith(("t_", "p_")))
_META_MISSING = _TESTS | {"optim_names1", "optim_names2"}


@dataclass(frozen=True)
class Twin:
    """The pickled form of a table, another table of the registry.

    Attributes
    ----------
    key : str
        Key of the pickled table.
    part : callable
        (What the pickle holds, member of the family) → the table, as its own file would give it.
    """

    key: str
    part: Callable[[Any, Mapping[str, Any]], Any]


def _whole(pickled: Any, member: Mapping[str, Any]) -> Any:
    return pickled


@dataclass(frozen=True)
class TableSpec:
    """One table of the source data, or a family of tables that differ by the `members`.

    Attributes
    ----------
    figure : str
        Folder of the table, such as ``"Fig4"``.
    name : str
        Name within the figure.
    file : str
        File name; ``{…}`` is filled in from a member.
    meaning, units : str
        One line on what it holds, and in what units.
    layout : Layout
        How the file is laid out.
    members : tuple of mappings
        The members of a family; a single table has one, without keys.
    optional : bool
        Whether every figure can be drawn without it.
    also : str
        Pattern of other names that the published file may have; empty where its name is known.
    twin : Twin or None
        Its pickled form, where the published set has it in both.
    """

    figure: str
    name: str
    file: str
    meaning: str
    units: str
    layout: Layout
    members: tuple[Mapping[str, Any], ...] = field(default=({},))
    optional: bool = False
    also: str = ""
    twin: Twin | None = None

    @property
    def key(self) -> str:
        """``figure/name``, by which readers and writers ask for the table."""
        return f"{self.figure}/{self.name}"

    def path(self, folder: Path, member: Mapping[str, Any]) -> Path:
        """Return where a member lies below a source-data folder; `UsageError` if there is none."""
        if member not in self.members:
            raise UsageError(
                choose_from(dict(member), map(dict, self.members), f"{self.key} table")
            )
        return folder / self.figure / self.file.format(**member)

    def find(self, folder: Path, member: Mapping[str, Any]) -> Path:
        """Return the file of a member: that of `path`, or the only one with another known name."""
        path = self.path(folder, member)
        others = [] if path.is_file() or not self.also else list(path.parent.glob(self.also))
        return others[0] if len(others) == 1 else path


def _members(**axes: Iterable[Any]) -> tuple[dict[str, Any], ...]:
    return tuple(dict(zip(axes, v, strict=True)) for v in itertools.product(*axes.values()))


def _mean_and_sem(
    figure: str,
    name: str,
    file: str,
    meaning: str,
    members: tuple[dict[str, Any], ...],
    sem_is_drawn: bool = False,
) -> tuple[TableSpec, TableSpec]:
    """Return the specs of mean responses and of their standard errors, experiments × blocks."""
    units = "1, experiments × blocks"
    return (
        TableSpec(
            figure, f"{name}_mean", file.replace("{statistic}", "mean"), meaning, units,
            Grid("experiments", "blocks"), members,
        ),
        TableSpec(
            figure, f"{name}_sem", file.replace("{statistic}", "sem"),
            f"standard error of {name}_mean over images; empty for a block of one image", units,
            Grid("experiments", "blocks", may_be_missing=True), members,
            optional=not sem_is_drawn,
        ),
    )  # fmt: skip


_TRIALS = Columns(("resp", "bsl", "gen"), may_be_empty=True)


def _rates_agree(table: pd.DataFrame) -> str:
    """Say where a rate is not its count over the total, or lies outside its interval.

    That of no or of all experiments does: the interval ends between it and the next count.
    """
    for space in ("FC", "BG"):
        counted = table[f"{space}_suc"] / table["total"].where(table["total"] > 0)
        rate, low, high = (table[f"{space}_{what}"] for what in ("rate", "CI_1", "CI_2"))
        for row in table.index[(counted - rate).abs() > _RATE_ROUNDING]:
            return (
                f"row {row} says {space}_suc {table[f'{space}_suc'][row]} of total "
                f"{table['total'][row]} beside {space}_rate {rate[row]:g}; one of them is wrong"
            )
        inside = ((low <= rate) & (rate <= high)) | ~rate.between(0, 1, inclusive="neither")
        for row in table.index[(low > high) | ~inside]:
            return f"row {row}: {space}_rate {rate[row]:g} lies outside its interval"
    return ""


def _axes_are_whole(table: pd.DataFrame) -> str:
    """Say where an image of an axis lacks the number of the axis or its place on it."""
    on_axis = table["space_name"].isin(("class", "noise"))
    for name in ("eig_id", "lin_dist"):
        for row in table.index[on_axis & table[name].isna()]:
            return f"column {name!r} is empty in row {row}, an image of an axis"
    return ""


def _grid_is_whole(table: pd.DataFrame) -> str:
    """Say that the cells of a grid of dimensions and depths differ in their number of seeds."""
    cells = table.groupby(["dimension", "stack_size"])["seed"].nunique()
    if cells.min() == cells.max():
        return ""
    return f"its cells have {cells.min()} to {cells.max()} seeds each; the file is cut off"


#: Rates are published with so many digits.
_RATE_ROUNDING = 5e-4

_SUCCESS_RATE = Columns(
    ("label", "FC_suc", "BG_suc", "total", "FC_rate", "BG_rate",
     "FC_CI_1", "FC_CI_2", "BG_CI_1", "BG_CI_2"),
    rows=3, text=frozenset({"label"}), may_be_missing=frozenset({"FC_rate", "BG_rate"}),
    unique=("label",), rules=(_rates_agree,),
    within=dict.fromkeys(
        ("FC_rate", "BG_rate", "FC_CI_1", "FC_CI_2", "BG_CI_1", "BG_CI_2"), (0, 1)
    ),
)  # fmt: skip

_SIMILARITIES = ("Expi", *itertools.chain.from_iterable(SIMILARITY_COLUMNS.values()))

#: Figure 3: similarity of prototypes against similarity of responses.
_FIG3 = (
    TableSpec(
        "Fig3", "similarity", "Fig3G_proto_imdist_psth_covstr_sim_df.csv",
        "similarity of the two prototypes and difference of the responses of each experiment",
        "cosines; differences over the largest response of both threads",
        Columns(_SIMILARITIES, text=_META_TEXT, index="row",
                may_be_missing=frozenset(_SIMILARITIES) - {"Expi", "visual_area"},
                optional=frozenset(_SIMILARITIES) - _NEEDED_SIMILARITIES,
                unique=("Expi",)),
    ),
    TableSpec(
        "Fig3", "meta", "Fig3_meta_df.csv",
        "what each experiment was, its tests and the responses of single blocks; rows as in "
        "similarity", "events/s",
        Columns(("Expi", *META_COLUMNS, *ACTIVATION_COLUMNS, "valid"),
                text=_META_TEXT, flags=frozenset({"valid"}),
                may_be_missing=_META_MISSING | frozenset(ACTIVATION_COLUMNS), index="row",
                unique=("Expi",)),
        optional=True,
    ),
)  # fmt: skip

_RESPONSES_BETWEEN = {"pref_unit_resp": (-LARGEST_RESPONSE, LARGEST_RESPONSE)}
_FIG6_TRIALS = Columns(
    ("img_name", "pref_unit_resp", "space_name", "eig_id", "lin_dist", "hessian_img"),
    text=frozenset({"img_name", "space_name"}), flags=frozenset({"hessian_img"}),
    may_be_missing=frozenset({"space_name", "eig_id", "lin_dist"}),
    optional=frozenset({"hessian_img"}), index="row", within=_RESPONSES_BETWEEN,
    rules=(_axes_are_whole,),
)  # fmt: skip
_FIG6_RESPONSES = Columns(
    ("ephysFN", "prefchan", "prefunit", "prefchan_str", "bsl_mean", "bsl_sem",
     "eig_id", "space_name", "lin_dist", "pref_unit_resp", "n_repeats"),
    text=frozenset({"ephysFN", "prefchan_str", "space_name"}),
    may_be_missing=frozenset({"bsl_mean", "bsl_sem", "n_repeats"}), index="row",
    within=_RESPONSES_BETWEEN,
)  # fmt: skip
_FIG6_FITTED = ("anova_F_value", "anova_p_value", "anova_R2", "ols_R2", "ols_slope",
                "ols_intercept", "gauss_R2", "gauss_fit_amplitude", "gauss_fit_center",
                "gauss_fit_sigma", "gauss_fit_offset", "gpr_R2")  # fmt: skip
_FIG6_FLAGS = ("is_BigGAN_evol_success", "is_common_axis",
               "gpr_y_is_unimodal", "gpr_y_is_monotonic", "gpr_y_is_bellshaped")  # fmt: skip
_FIG6_SHAPES = Columns(
    ("Animal", "Exp_id", "space", "eig_id", *_FIG6_FITTED, *_FIG6_FLAGS),
    text=frozenset({"Animal", "Exp_id", "space"}), flags=frozenset(_FIG6_FLAGS),
    may_be_missing=frozenset(_FIG6_FITTED), index="row",
)  # fmt: skip

#: Figure 6: tuning along Hessian axes of BigGAN.
_FIG6 = (
    TableSpec(
        "Fig6", "trials", "Figure6C_src_B07092020_sgtr_resp_df.csv",
        "response to every image of the example session, trial by trial", "events/s", _FIG6_TRIALS,
        twin=Twin("Fig6/trials_pickle", _whole),
    ),
    TableSpec(
        "Fig6", "trials_pickle", "Figure6C_src_B07092020_sgtr_resp_df.pkl",
        "the same, pickled", "events/s", PickledTable(_FIG6_TRIALS), optional=True,
    ),
    *(
        TableSpec(
            "Fig6", f"responses_{evolution}{twin}",
            f"Figure6D_src_prefchan_avgresp_df{suffix}.{'pkl' if twin else 'csv'}",
            f"mean response along every axis of a session after a {evolution} evolution"
            + (", pickled" if twin else ""),
            "events/s", PickledTable(_FIG6_RESPONSES) if twin else _FIG6_RESPONSES,
            optional=bool(twin),
            twin=None if twin else Twin(f"Fig6/responses_{evolution}_pickle", _whole),
        )
        for evolution, suffix in (("successful", ""), ("failed", "_failevol"))
        for twin in ("", "_pickle")
    ),
    TableSpec(
        "Fig6", "shapes", "Figure6E_src_tuning_shape_fitting_stats_synopsis_selcolumn.csv",
        "fits and shape of the tuning along every axis of all sessions", "events/s", _FIG6_SHAPES,
        twin=Twin("Fig6/shapes_pickle", _whole),
    ),
    TableSpec(
        "Fig6", "shapes_pickle", "Figure6E_src_tuning_shape_fitting_stats_synopsis_sel.pkl",
        "the same with single trials and fitted curves, pickled", "events/s",
        PickledTable(_FIG6_SHAPES, arrays=frozenset({"x_values", "y_values"})), optional=True,
    ),
    TableSpec(
        "Fig6", "peaks", "Figure6E_src_tuning_stats_synopsis_selcolumn.csv",
        "where the site responds most along every axis that ends at 0.4", "distance; events/s",
        Columns(("Animal", "Exp_id", "ephysFN", "space_name", "eig_id", "F_value", "p_value",
                 "max_resp_lin_dist", "max_resp_val", "max_resp_lin_dist_bin",
                 "is_BigGAN_evol_success"),
                text=frozenset({"Animal", "Exp_id", "ephysFN", "space_name"}),
                flags=frozenset({"is_BigGAN_evol_success"}),
                may_be_missing=frozenset({"F_value", "p_value"}),
                optional=frozenset({"Animal", "Exp_id", "ephysFN", "space_name", "eig_id",
                                    "F_value", "max_resp_lin_dist", "max_resp_val"}),
                index="row"),
        twin=Twin("Fig6/shapes_pickle", peaks_of_shapes),
    ),
    TableSpec(
        "Fig6", "synopsis", "ABCD_tuning_stats_synopsis_fill_missing.csv",
        "analysis of variance and level means of every axis of all sessions", "events/s",
        Columns(("space_name", "eig_id", "F_value", "p_value", "stats_str", "lin_dist_set",
                 "lin_dist_num", "avg_resp_per_lin_dist", "repeat_per_lin_dist",
                 "max_resp_lin_dist", "max_resp_val", "Animal", "Expi", "ephysFN", "stimuli",
                 "prefchan", "prefunit", "prefchan_str", "prefchan_bsl_mean", "prefchan_bsl_sem",
                 "Exp_id"),
                text=frozenset({"space_name", "stats_str", "lin_dist_set", "avg_resp_per_lin_dist",
                                "repeat_per_lin_dist", "Animal", "ephysFN", "stimuli",
                                "prefchan_str", "Exp_id"}),
                may_be_missing=frozenset({"F_value", "p_value", "stimuli"})),
        optional=True,
    ),
    TableSpec(
        "Fig6", "missing", "Figure6_missing_values.csv",
        "what could not be computed, of which session and axis, and why", "",
        Columns(("ephysFN", "space", "eig_id", "quantity", "reason"), may_be_empty=True,
                text=frozenset({"ephysFN", "space", "eig_id", "quantity", "reason"}),
                may_be_missing=frozenset({"space", "eig_id"})),
        optional=True,
    ),
)  # fmt: skip

#: Metrics of Extended Figure 5D and 5E: share of variance of a unit that a code predicts linearly.
LINEARITY_METRICS = {
    "BigGAN": ("R2", "R2_class", "R2_noise"),
    "DeePSim": ("R2", *(f"R2_{end}_Hess{size}" for end in ("top", "null")
                        for size in (512, 256, 128))),
}  # fmt: skip

#: Hill climbing through random networks: columns of the tables of Extended Figure 5C.
_ALIGNMENT = Columns(
    ("dimension", "stack_size", "seed", "gaussian_value"), index="row",
    unique=("dimension", "stack_size", "seed"), within={"gaussian_value": (0, 1)},
    rules=(_grid_is_whole,),
)  # fmt: skip

#: R²; that of a prediction of new data has no lower bound.
_SHARES_OF_VARIANCE = (-1e9, 1 + 1e-6)

#: Arrays in the pickled twin: where a climb ended, and where it should have.
_ALIGNMENT_POINTS = frozenset(
    {"input_space_optimum", "transformed_space_optimum", "desired_x_optimum",
     "desired_transformed_optimum"}
)  # fmt: skip


def _linearity(space: str) -> Columns:
    metrics = tuple(
        f"{part}_{metric}" for metric in LINEARITY_METRICS[space] for part in ("Train", "Test")
    )
    training = frozenset(name for name in metrics if name.startswith("Train_"))
    return Columns(
        ("Layer", "Target", *metrics, "Layer_index", "unit_index", "dead"),
        text=frozenset({"Layer", "Target"} if space == "BigGAN" else {"Layer"}),
        flags=frozenset({"dead"}),
        optional=training | {"Layer_index", "unit_index", "dead"},
        index="row",
        within=dict.fromkeys(metrics, _SHARES_OF_VARIANCE),
    )


#: Extended Figure 5: experiments without recordings, made by `core.insilico`.
_EXT5 = (
    *(
        TableSpec(
            "ExtendedFig5", f"alignment_{optimizer}{twin}",
            f"FigureExt5C_{file}_logscale_quad_case.{'pkl' if twin else 'csv'}",
            f"score reached by {optimizer} through random invertible networks"
            + (", with the points reached, pickled" if twin else ""),
            "1; exp(-|f(x) - 1|²/2)",
            PickledTable(_ALIGNMENT, arrays=_ALIGNMENT_POINTS) if twin else _ALIGNMENT,
            optional=bool(twin),
            twin=None if twin else Twin(f"ExtendedFig5/alignment_{optimizer}_pickle", _whole),
        )
        for optimizer, file in (
            ("CMAES", "realnvp_layer_dim_cmaes_optim_result"),
            ("Adam", "Adam_optim_score_as_function_of_depth_and_dim"),
        )
        for twin in ("", "_pickle")
    ),
    *(
        TableSpec(
            "ExtendedFig5", f"linearity_{space}",
            f"FigureExt{panel}_{published}_Caffenet_latent_code_linearity_results.csv",
            f"how well the {space} code predicts each unit of CaffeNet by ridge regression",
            "R², 1", _linearity(space),
            also=f"FigureExt{panel}_*.csv",
        )
        for panel, space, published in (
            ("6D", "BigGAN", "BigGAN"), ("6E", "DeePSim", "DeePSim_FC6"),
        )
    ),
)  # fmt: skip

TABLES: dict[str, TableSpec] = {
    spec.key: spec
    for spec in (
        TableSpec(
            "Fig2", "example_psth", f"Figure2D_src_psth_Exp{EXAMPLE_EXPI}_{{slice}}.csv",
            "PSTH of each block of the example evolution", "events/s, blocks × ms",
            Grid("blocks of the example", 200), _members(slice=PSTH_SLICES),
            twin=Twin(
                "Fig2/example_psth_pickle",
                lambda pickled, member: np.asarray(pickled["psth_arr"])[
                    :, list(PSTH_SLICES).index(member["slice"])
                ],
            ),
        ),
        TableSpec(
            "Fig2", "example_psth_meta", f"Figure2D_src_psth_Exp{EXAMPLE_EXPI}_meta.txt",
            "number, title and distance between blocks of the example", "events/s",
            JsonObject({"Expi": int, "offset": (int, float), "expstr": str}),
            twin=Twin("Fig2/example_psth_pickle", _whole),
        ),
        TableSpec(
            "Fig2", "example_psth_pickle", f"Figure2D_src_psth_Exp{EXAMPLE_EXPI}.pkl",
            "the same as one pickled dictionary", "events/s",
            PickledDict({"Expi": None, "expstr": None, "psth_arr": None, "offset": None}),
            optional=True,
        ),
        TableSpec(
            "Fig2", "example_block_means", f"Figure2B_block_means_Exp{EXAMPLE_EXPI}.csv",
            "responses of each block where single presentations are not known",
            "events/s; generation from 1",
            Columns(("gen", *BLOCK_MEAN_COLUMNS), "blocks of the example"), optional=True,
        ),
        TableSpec(
            "Fig2", "example_trials",
            f"Figure2B_src_resp_Exp{EXAMPLE_EXPI}_{{space}}_thread_{{kind}}.csv",
            "evoked and baseline response of every presentation", "events/s; generation from 1",
            _TRIALS,
            tuple({"space": space, "kind": kind} for space, kind in PICKLED_TRIALS),
            twin=Twin(
                "Fig2/example_trials_pickle",
                lambda pickled, member: pickled[PICKLED_TRIALS[member["space"], member["kind"]]],
            ),
        ),
        TableSpec(
            "Fig2", "example_trials_pickle", f"Figure2B_src_resp_Exp{EXAMPLE_EXPI}.pkl",
            "the same as one pickled dictionary", "events/s; generation from 1",
            PickledDict(dict.fromkeys(PICKLED_TRIALS.values(), _TRIALS)),
            optional=True,
        ),
        *_FIG3,
        TableSpec(
            "Fig4", "success_rate", "Fig4A_SuccessRate_maxinit.csv",
            "evolutions that climbed, per area and space", "counts, rates, 90 % intervals",
            _SUCCESS_RATE,
        ),
        TableSpec(
            "Fig4", "success_labels", "Fig4A_sucs_labels.txt",
            "the criterion of success in words", "",
            JsonObject({"sucs_criterion_label": str, "sucs_label": str}),
        ),
        *_mean_and_sem(
            "Fig4", "response",
            "Figure4_src_maxnorm_resp_stats_all_exps_{space}_{statistic}_data.csv",
            "response of each block over the largest of both threads",
            _members(space=Space), sem_is_drawn=True,
        ),
        TableSpec(
            "Fig4", "masks", "Figure4_src_exp_masks_and_succ_labels.csv",
            "inclusion, success and area of each experiment", "0/1",
            Columns(_MASKS_4, "experiments", flags=frozenset(_MASKS_4)),
        ),
        TableSpec(
            "Fig4", "recorded_blocks", "Figure4_src_extrapolation_mask_arr.csv",
            "1 where a block was recorded, 0 where it is padding", "0/1, experiments × blocks",
            Grid("experiments", "blocks", header=False, binary=True),
        ),
        TableSpec(
            "Fig4", "time_constants", "Figure4_src_evol_traj_time_constant_w_meta.csv",
            "blocks that each thread takes to climb", "blocks",
            Columns(("Expi", *META_COLUMNS, *TIME_CONSTANT_COLUMNS), "experiments",
                    text=_META_TEXT, may_be_missing=_META_MISSING),
        ),
        TableSpec(
            "Fig5", "psth",
            "Figure5A_src_all_exps_maxnorm_mean_psth_per_block{block:02d}_{space}_mean.csv",
            "mean PSTH of one block over the largest response of both threads",
            "1, experiments × ms",
            Grid("experiments", 200),
            _members(block=FIGURE_5A_BLOCKS, space=Space),
        ),
        TableSpec(
            "Fig5", "masks", "Figure5_src_exp_masks_and_succ_labels.csv",
            "inclusion, success and area of each experiment", "0/1",
            Columns(_MASKS_5, "experiments", flags=frozenset(_MASKS_5)),
        ),
        *_mean_and_sem(
            "Fig5", "window_response",
            "Figure5C_src_normresp_wdw_{window[0]}-{window[1]}_{space}_{statistic}.csv",
            "response in a time window over the largest 50–200 ms response of both threads",
            _members(window=FIGURE_5C_WINDOWS, space=Space),
        ),
        *_FIG6,
        TableSpec(
            "ExtendedFig4", "meta", "FigureExt4_meta_df.csv",
            "what each experiment was, its tests and the responses of single blocks", "events/s",
            Columns((*META_COLUMNS, *ACTIVATION_COLUMNS, "valid"), "experiments",
                    text=_META_TEXT, flags=frozenset({"valid"}),
                    may_be_missing=_META_MISSING | frozenset(ACTIVATION_COLUMNS), index="Expi"),
        ),
        *(
            TableSpec(
                "ExtendedFig4", f"attribution_{bin_ms}ms",
                f"FigureExt4B_{{space}}_diff_attrib_norm_bin_tsr_{bin_ms}ms.csv",
                "share of the rise in rate, best minus first block, in each time bin",
                "1, experiments × bins",
                Grid("experiments", 200 // bin_ms, row_numbers=True, may_be_missing=True),
                _members(space=Space),
            )
            for bin_ms in ATTRIBUTION_BINS_MS
        ),
        *_mean_and_sem(
            "ExtendedFig4", "window_response",
            "FigureExtended4C_src_normresp_wdw_{window[0]}-{window[1]}_{space}_{statistic}.csv",
            "response in a time window over the largest 50–200 ms response of both threads",
            _members(window=EXTENDED_4C_WINDOWS, space=Space),
        ),
        *_EXT5,
        TableSpec(
            "Evolutions", "sites", "Evolutions_sites.csv",
            "how the responses of each experiment unfold, beyond the published figures",
            "ms, blocks, 1",
            Columns(
                SITE_COLUMNS, "experiments", text=frozenset({"visual_area"}),
                flags=frozenset(_MASKS_4),
                may_be_missing=frozenset((*_COURSE_COLUMNS, *_DIFFERENCE_COLUMNS)), index="Expi",
            ), optional=True,
        ),
        TableSpec(
            "Evolutions", "reference_responses", "Evolutions_reference_responses_{space}.csv",
            "mean response to the reference pictures of each block", "1, experiments × blocks",
            Grid("experiments", "blocks", may_be_missing=True), _members(space=Space),
            optional=True,
        ),
        TableSpec(
            "Evolutions", "picture_similarity", "Evolutions_picture_similarity.csv",
            "how alike the best pictures of both threads look to a network; by "
            "`python -m source_data_export.picture_similarity`",
            "cosine; blocks from 1",
            Columns(PICTURE_COLUMNS, "experiments",
                    text=frozenset({"network", "weights", "layer"}),
                    may_be_missing=frozenset({"cosine"}), index="Expi"),
            optional=True,
        ),
        TableSpec(
            "Tables", "meta_stats", "meta_stats.csv",
            "what each experiment was, and its tests", "",
            Columns(META_COLUMNS, "experiments", text=_META_TEXT, may_be_missing=_META_MISSING,
                    index="row"),
            optional=True,
        ),
        TableSpec(
            "Tables", "meta_activation_stats", "meta_activation_stats.csv",
            "the same with the responses of single blocks", "events/s",
            Columns(("Expi", *META_COLUMNS, *ACTIVATION_COLUMNS), "experiments", text=_META_TEXT,
                    may_be_missing=_META_MISSING | frozenset(ACTIVATION_COLUMNS)),
            optional=True,
        ),
        TableSpec(
            "Tables", "success_rate", "SuccessRate_{criterion}.csv",
            "evolutions that meet a criterion, per area and space", "counts, rates, 90 % intervals",
            _SUCCESS_RATE, _members(criterion=("maxinit", "endinit", "endinitdecrs")),
            optional=True,
        ),
        TableSpec(
            "Tables", "time_constants", "Evol_traj_time_constant.csv",
            "blocks that each thread takes to climb", "blocks",
            Columns(TIME_CONSTANT_COLUMNS, "experiments", index="row"), optional=True,
        ),
        TableSpec(
            "Tables", "time_constant_synopsis",
            "Evol_traj_time_constant_stats_synopsis_export.csv",
            "time constants per area and space, and their comparisons", "blocks",
            Columns(("column", "group", "mean", "sem", "n", "t", "p"),
                    text=frozenset({"column", "group"}),
                    may_be_missing=frozenset({"mean", "sem", "t", "p"})),
            optional=True,
        ),
    )
}  # fmt: skip

#: Folders of the source data, in order.
FIGURES = tuple(dict.fromkeys(spec.figure for spec in TABLES.values()))

#: What else the folders are called: the name of the figure script → the folder of its tables.
FIGURE_NAMES = {f"Figure{n}": f"Fig{n}" for n in (2, 3, 4, 5, 6)} | {
    name: f"ExtendedFig{n}" for n in (4, 5) for name in (f"FigureExt{n}", f"FigureExtended{n}")
}


def spec_of(key: str) -> TableSpec:
    """Return the spec of a table by its key; `UsageError` if there is none."""
    if key not in TABLES:
        raise UsageError(choose_from(key, TABLES, "source-data table"))
    return TABLES[key]

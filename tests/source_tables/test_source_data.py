"""The contract between writers and readers of source data."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.errors import CannotWriteError, MalformedDataError, MissingDataError, UsageError
from core.reading.safe_pickle import load_pickle
from core.source_tables.command import main
from core.source_tables.provenance import Provenance, read_provenance
from core.source_tables.reader import (
    ExamplePsth,
    SourceData,
    Table,
    check_folder,
    write_table,
    write_tables,
)
from core.source_tables.registry import META_COLUMNS, TABLES
from core.spaces import Space
from neuro_data_analysis.evolution.population import Population, success_rate_table
from neuro_data_analysis.evolution.stats import summarize
from neuro_data_analysis.evolution.tables import (
    extended_figure4_tables,
    figure2_tables,
    figure4_tables,
    figure5_tables,
    summary_tables,
)
from tests.evolutions import make_experiment

REAL = Provenance("recordings")


@pytest.fixture(scope="module")
def population():
    rng = np.random.default_rng(7)
    experiments = [make_experiment(rng, [[12] * n] * 2, expi=e) for e, n in ((3, 16), (9, 20))]
    return Population(tuple(summarize(e) for e in experiments), {})


@pytest.fixture(scope="module")
def exported(population, tmp_path_factory):
    folder = tmp_path_factory.mktemp("source_data")
    example = make_experiment(np.random.default_rng(8), [[12] * 5] * 2, expi=155)
    for figure, tables in (
        ("Fig2", figure2_tables(example)),
        ("Fig4", figure4_tables(population)),
        ("Fig5", figure5_tables(population)),
        ("ExtendedFig4", extended_figure4_tables(population)),
        ("Tables", summary_tables(population)),
    ):
        write_tables(folder, figure, tables, REAL)
    return folder


def test_every_table_of_the_evolutions_is_written_and_passes_its_own_check(exported):
    figures = ("Fig2", "Fig4", "Fig5", "ExtendedFig4", "Tables")
    statuses = list(check_folder(exported, figures))
    lacking = {status.spec.key: status.problem for status in statuses if status.state != "present"}
    assert lacking == {"Fig2/example_block_means": ""}  # stands in where there are no trials
    assert len(statuses) == sum(len(s.members) for s in TABLES.values() if s.figure in figures)


def test_files_have_the_published_names_headers_and_shapes(exported):
    """The conventions that the authors' files have, read with plain pandas."""
    fig4, ext4 = exported / "Fig4", exported / "ExtendedFig4"
    response = pd.read_csv(fig4 / "Figure4_src_maxnorm_resp_stats_all_exps_DeePSim_mean_data.csv")
    assert response.shape == (2, 56)
    assert list(response.columns) == [str(block) for block in range(56)]
    mask = pd.read_csv(fig4 / "Figure4_src_extrapolation_mask_arr.csv", header=None)
    assert mask.shape == (2, 56)
    assert mask.sum(axis=1).tolist() == [16, 20]
    constants = pd.read_csv(fig4 / "Figure4_src_evol_traj_time_constant_w_meta.csv")
    assert constants.shape == (2, 40)
    assert list(constants.columns[:2]) == ["Expi", "Animal"]
    masks = pd.read_csv(fig4 / "Figure4_src_exp_masks_and_succ_labels.csv")
    assert masks.shape == (2, 14)
    meta = pd.read_csv(ext4 / "FigureExt4_meta_df.csv", index_col="Expi")
    assert meta.index.tolist() == [3, 9]
    assert meta.shape == (2, 46 - 1 + 1)
    bins = pd.read_csv(ext4 / "FigureExt4B_DeePSim_diff_attrib_norm_bin_tsr_25ms.csv", index_col=0)
    assert bins.shape == (2, 8)
    assert bins.index.tolist() == [0, 1]
    assert len(list(ext4.glob("FigureExtended4C_src_normresp_wdw_*.csv"))) == 168
    assert len(list((exported / "Fig5").glob("Figure5C_src_normresp_wdw_*.csv"))) == 80
    stats = pd.read_csv(exported / "Tables" / "meta_stats.csv", index_col=0)
    assert list(stats.columns) == list(META_COLUMNS)
    assert stats.index.tolist() == [3, 9]


def test_example_psth_survives_csv_pickle_and_the_swapped_labels(exported, tmp_path):
    """Truthful CSVs, the pickle and the published (swapped) CSVs give the same array."""
    truthful = _example(SourceData(exported))
    pickled = _example(SourceData(exported, form="pkl"))
    assert (truthful.labels, pickled.labels) == ("truthful", "truthful")
    _assert_same_psths(pickled, truthful)
    assert pickled.offset == truthful.offset

    published = {
        "DeePSim_mean": truthful.mean["DeePSim"],
        "DeePSim_sem": truthful.mean["BigGAN"],
        "BigGAN_mean": truthful.sem["DeePSim"],
        "BigGAN_sem": truthful.sem["BigGAN"],
    }
    for name, content in published.items():
        write_table(tmp_path, "Fig2/example_psth", content, slice=name)
    meta = SourceData(exported).read("Fig2/example_psth_meta")
    write_table(tmp_path, "Fig2/example_psth_meta", meta)
    read = _example(SourceData(tmp_path))
    assert read.labels == "legacy"
    _assert_same_psths(read, truthful)


def _success_rates(n):
    """Make a table of n successes of 2 in every space and area."""
    return success_rate_table({space: [n] * 3 for space in Space}, [2] * 3)


def _example(source):
    return ExamplePsth.of(*source.gather("Fig2", ("example_psth", "example_psth_meta")).tables)


def _assert_same_psths(found, expected):
    for space in Space:
        np.testing.assert_array_equal(found.mean[space], expected.mean[space])
        np.testing.assert_array_equal(found.sem[space], expected.sem[space])


def test_numbers_keep_all_their_digits(tmp_path):
    value = np.random.default_rng(0).random((3, 56))
    write_table(tmp_path, "Fig4/response_mean", value, space="BigGAN")
    read = SourceData(tmp_path).read("Fig4/response_mean", space="BigGAN")
    np.testing.assert_array_equal(read, value)


def _masks_csv(folder: Path, text: str) -> None:
    path = folder / "Fig4" / "Figure4_src_exp_masks_and_succ_labels.csv"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


GOOD_MASKS = ",".join(TABLES["Fig4/masks"].layout.names)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it is empty"),
        (GOOD_MASKS, "it holds no rows"),
        ("valid,FCsucc005\n1,1\n", "missing columns BGsucc005"),
        (f"{GOOD_MASKS}\n{'1,' * 13}2\n", "expected 0/1 or True/False"),
        (f"{GOOD_MASKS}\n{'1,' * 13}\n", "expected 0/1 or True/False"),
        ("\x00\x01\n", "it is no text"),
    ],
    ids=["empty", "no line end", "wrong columns", "not a flag", "missing flag", "binary"],
)
def test_malformed_tables_say_file_expected_and_found(tmp_path, text, problem):
    _masks_csv(tmp_path, text)
    with pytest.raises(MalformedDataError, match=problem) as caught:
        SourceData(tmp_path).read("Fig4/masks")
    assert "Figure4_src_exp_masks_and_succ_labels.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (np.full((2, 56), np.nan), "row 0, column 0 is empty"),
        (np.ones(56), "expected rows × columns"),
        (np.ones((2, 3, 4)), "expected rows × columns"),
    ],
)
def test_nothing_is_written_that_does_not_fit(tmp_path, value, problem):
    with pytest.raises(MalformedDataError, match=problem):
        write_table(tmp_path, "Fig4/response_mean", value, space="BigGAN")
    assert not list(tmp_path.rglob("*.csv"))


def test_tables_of_different_exports_are_not_mixed(tmp_path):
    write_table(tmp_path, "Fig4/response_mean", np.ones((3, 56)), space="BigGAN")
    write_table(tmp_path, "Fig4/response_mean", np.ones((4, 56)), space="DeePSim")
    source = SourceData(tmp_path)
    source.read("Fig4/response_mean", space="BigGAN")
    with pytest.raises(MalformedDataError, match=r"4 experiments, but .* has 3"):
        source.read("Fig4/response_mean", space="DeePSim")


def test_missing_tables_and_unknown_names_are_told_apart(tmp_path):
    source = SourceData(tmp_path)
    with pytest.raises(MissingDataError, match="is missing"):
        source.read("Fig4/masks")
    with pytest.raises(UsageError, match="Did you mean 'Fig4/masks'"):
        source.read("Fig4/maks")
    with pytest.raises(UsageError, match="BigGAN"):
        source.read("Fig4/response_mean", space="StyleGAN")
    with pytest.raises(MissingDataError, match="no source-data folder"):
        SourceData(tmp_path / "nowhere")


def test_simulated_tables_never_replace_others_and_force_replaces_only_real_ones(tmp_path):
    table = Table("Fig4/success_rate", _success_rates(1))
    write_tables(tmp_path, "Fig4", [table], Provenance("found"))
    with pytest.raises(CannotWriteError, match="another origin"):
        write_tables(tmp_path, "Fig4", [table], REAL)
    write_tables(tmp_path, "Fig4", [table], REAL, force=True)
    assert read_provenance(tmp_path / "Fig4").kind == "recordings"
    with pytest.raises(CannotWriteError, match="another origin"):
        write_tables(tmp_path, "Fig4", [table], Provenance("simulated"), force=True)


def test_an_export_that_dies_in_the_middle_leaves_the_earlier_tables(tmp_path):
    table = Table("Fig4/success_rate", _success_rates(1))
    (path,) = write_tables(tmp_path, "Fig4", [table], REAL)
    earlier = path.read_bytes()

    def dying():
        yield Table("Fig4/success_rate", _success_rates(2))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_tables(tmp_path, "Fig4", dying(), REAL)
    assert path.read_bytes() == earlier
    assert [p.name for p in tmp_path.iterdir()] == ["Fig4"]


def test_check_lists_every_table_and_its_exit_codes(tmp_path, capsys, exported):
    assert main(["check", str(exported), "--figure", "Fig4"]) == 0
    assert "present" in capsys.readouterr().out
    assert main(["check", str(tmp_path), "--figure", "Fig4"]) == 3
    assert "missing      0/1" in capsys.readouterr().out
    _masks_csv(tmp_path, "valid\n1\n")
    assert main(["check", str(tmp_path), "--figure", "Fig4"]) == 1
    out = capsys.readouterr().out
    assert "malformed" in out
    assert "missing columns" in out
    with pytest.raises(SystemExit) as stop:
        main(["check", "--figure", "Fig9"])
    assert stop.value.code == 2


class _Evil:
    def __reduce__(self):
        return os.system, ("echo run > evil.txt",)


def test_a_pickle_that_would_run_code_is_refused_before_it_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "Figure2D_src_psth_Exp155.pkl"
    path.write_bytes(pickle.dumps({"psth_arr": _Evil()}))
    with pytest.raises(MalformedDataError, match=r"was refused: its pickle asks for \w+\.system"):
        load_pickle(path)
    assert not (tmp_path / "evil.txt").exists()


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_tables_of_text_numbers_and_categories_pass_the_list(tmp_path, protocol):
    table = pd.DataFrame({"text": ["a", "b"], "flag": [True, False], "number": [0.1, np.nan]})
    table["kind"] = pd.Categorical(["u", "v"])
    path = tmp_path / "table.pkl"
    path.write_bytes(pickle.dumps({"df": table, "n": np.float64(3)}, protocol=protocol))
    pd.testing.assert_frame_equal(load_pickle(path)["df"], table)


def test_json_that_is_no_object_is_refused(tmp_path):
    path = tmp_path / "Fig4" / "Fig4A_sucs_labels.txt"
    path.parent.mkdir()
    for text in ("free text", json.dumps([1]), json.dumps({"sucs_label": 3})):
        path.write_text(text)
        with pytest.raises(MalformedDataError, match="Fig4A_sucs_labels"):
            SourceData(tmp_path).read("Fig4/success_labels")


@pytest.mark.parametrize(
    ("space", "name"),
    [
        ("BigGAN", "FigureExt6D_BigGAN_Caffenet_latent_code_linearity_results.csv"),
        ("DeePSim", "FigureExt6E_DeePSim_FC6_Caffenet_latent_code_linearity_results.csv"),
    ],
)
def test_linearity_tables_have_the_names_that_the_authors_script_reads(space, name):
    """Our export can be laid under it as it is."""
    assert TABLES[f"ExtendedFig5/linearity_{space}"].path(Path(), {}).name == name


def test_a_panel_may_do_without_a_table_that_is_not_there(tmp_path):
    """``"masks?"`` is None where it is missing; without the mark it is asked for by name."""
    counts = [1, 2, 3]
    write_table(
        tmp_path, "Fig4/success_rate", success_rate_table(dict.fromkeys(Space, counts), [9] * 3)
    )
    rates, masks = SourceData(tmp_path).gather("Fig4", ("success_rate", "masks?")).tables
    assert rates["FC_suc"].tolist() == [1, 2, 3]
    assert masks is None
    with pytest.raises(MissingDataError, match="masks"):
        SourceData(tmp_path).gather("Fig4", ("success_rate", "masks"))

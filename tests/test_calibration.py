"""Simulated beside real: numbers of one folder against the same of another."""

from __future__ import annotations

import json

import numpy as np
import pytest

from core.source_tables.provenance import Provenance, write_provenance
from core.source_tables.reader import SourceData
from core.spaces import Space
from figure_reproduction.calibration import CALIBRATION_FILE, compare_folders, main
from neuro_data_analysis.neural_data_lib import load_neural_data


def test_a_folder_agrees_with_itself(small_source_data):
    """Every number is there on both sides, and the same."""
    compared = compare_folders(small_source_data, small_source_data)
    kinds = {c.quantity.partition(",")[0].partition(" block")[0] for c in compared}
    assert {"4A successes", "4C mean", "5A", "4D time constant", "Ext 4B share"} <= kinds
    assert "5C 170-180 ms" in kinds
    for each in compared:
        assert each.real == pytest.approx(each.simulated, nan_ok=True), each


def test_numbers_are_those_of_the_tables_and_trials(small_matroot, small_source_data):
    """Counts of 4A from the table; a Fano factor from single trials, by a plain loop."""
    found = {(c.quantity, c.area, c.space): c.real
             for c in compare_folders(small_source_data, small_source_data)}  # fmt: skip
    source = SourceData(small_source_data)
    rates = source.read("Fig4/success_rate").set_index("label")
    assert found["4A successes", "IT", "BigGAN"] == rates.loc["IT", "BG_suc"]
    meta, masks = source.read("ExtendedFig4/meta"), source.read("Fig4/masks")
    chosen = meta.index[(masks["valid"] & masks["ITmsk"]).to_numpy()]
    fano = []
    with load_neural_data(small_matroot) as recordings:
        for expi in chosen:
            rate = recordings[expi].thread(Space.DEEPSIM).blocks[0].psth[50:200].mean(axis=0)
            counts = rate * 0.15
            fano.append(counts.var(ddof=1) / counts.mean())
    assert found["Fano factor, init block", "IT", "DeePSim"] == pytest.approx(np.median(fano))


def test_the_command_prints_and_keeps_the_comparison(small_source_data, tmp_path, capsys):
    """Beside the figures, where their page finds it."""
    arguments = ["--source-data", str(small_source_data), "--simulated", str(small_source_data)]
    assert main([*arguments, "--output", str(tmp_path)]) == 0
    assert "4A successes IT DeePSim" in capsys.readouterr().out
    kept = json.loads((tmp_path / CALIBRATION_FILE).read_text())
    assert len(kept["compared"]) > 50


def test_without_a_simulation_the_command_that_makes_one_is_named(tmp_path, capsys):
    write_provenance(tmp_path / "Fig4", Provenance("recordings"))
    assert main(["--source-data", str(tmp_path)]) == 3
    assert "--simulate-missing" in capsys.readouterr().err

"""Simulated beside real: numbers of one folder against the same of another."""

from __future__ import annotations

import json

import numpy as np
import pytest

from core.source_tables.provenance import Provenance, write_provenance
from core.source_tables.reader import SourceData
from core.spaces import Space
from figure_reproduction.calibration import (
    CALIBRATION_PICTURE,
    Compared,
    compare_folders,
    main,
    summarize,
)
from neuro_data_analysis.neural_data_lib import load_neural_data


@pytest.fixture(scope="module")
def compared(small_source_data):
    return compare_folders(small_source_data, small_source_data)


def test_a_folder_agrees_with_itself(compared):
    """Every number is there on both sides, and the same."""
    assert [family["family"] for family in summarize(compared)] == [
        "4A successes", "4C mean", "5A mean", "5C mean", "4D time constant", "Ext 4B share",
        "Fano factor",
    ]  # fmt: skip
    for each in compared:
        assert each.real == pytest.approx(each.simulated, nan_ok=True), each


def test_numbers_are_those_of_the_tables_and_trials(compared, small_matroot, small_source_data):
    """Counts of 4A from the table; a Fano factor from single trials, by a plain loop."""
    found = {(c.quantity, c.area, c.space): c.real for c in compared}
    source = SourceData(small_source_data)
    rates = source.read("Fig4/success_rate").set_index("label")
    assert found["4A successes, P<.01", "IT", "BigGAN"] == rates.loc["IT", "BG_suc"]
    meta, masks = source.read("ExtendedFig4/meta"), source.read("Fig4/masks")
    chosen = meta.index[(masks["valid"] & masks["ITmsk"]).to_numpy()]
    fano = []
    with load_neural_data(small_matroot) as recordings:
        for expi in chosen:
            rate = recordings[expi].thread(Space.DEEPSIM).blocks[0].psth[50:200].mean(axis=0)
            counts = rate * 0.15
            fano.append(counts.var(ddof=1) / counts.mean())
    assert found["Fano factor, init block", "IT", "DeePSim"] == pytest.approx(np.median(fano))


def test_families_tell_their_mean_distance_and_their_farthest_number():
    """Two of three numbers are of one family; a simulated number below counts like one above."""
    compared = [
        Compared("5A mean, block 00, 20 ms", "V4", "DeePSim", 0.5, 0.4),
        Compared("5A mean, block 00, 70 ms", "IT", "BigGAN", 0.5, 0.8),
        Compared("Fano factor, end block", "IT", "BigGAN", 1.5, 1.0),
    ]
    first, second = summarize(compared)
    assert (first["n"], second["n"]) == (2, 1)
    assert first["mean_off"] == pytest.approx(0.2)
    assert first["worst"] == "5A mean, block 00, 70 ms IT BigGAN"
    assert (second["worst_real"], second["worst_simulated"]) == (1.5, 1.0)


def test_the_command_prints_keeps_and_shows_the_comparison(small_source_data, tmp_path, capsys):
    """Beside the figures, with a picture, and on their page."""
    arguments = ["--source-data", str(small_source_data), "--simulated", str(small_source_data)]
    assert main([*arguments, "--output", str(tmp_path)]) == 0
    assert "4A successes, P<.05 IT DeePSim" in capsys.readouterr().out
    kept = json.loads((tmp_path / "calibration.json").read_text())
    assert len(kept["compared"]) > 50
    assert (tmp_path / CALIBRATION_PICTURE).stat().st_size > 10_000
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "Simulated beside real" in page
    assert "4A successes, both threads P&lt;.05" in page


def test_without_a_simulation_the_command_that_makes_one_is_named(tmp_path, capsys):
    write_provenance(tmp_path / "Fig4", Provenance("recordings"))
    assert main(["--source-data", str(tmp_path)]) == 3
    assert "--simulate-missing" in capsys.readouterr().err

"""Tables of a simulation beside its truth: bias, spread, power, false positives."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from neuro_data_analysis.recovery import compare, half_rise_ms, main
from neuro_data_analysis.robustness.climbs import ESTIMATES, fitted_blocks


def climb(tau, n, first=50.0, gain=100.0):
    """Block means of a saturating climb without noise, and the block that 0.8 of it ends in."""
    share = (1 - np.exp(-np.arange(n) / tau)) / (1 - np.exp(-(n - 1) / tau))
    return first + gain * share, int(np.argmax(share > 0.8))


@pytest.mark.parametrize(("tau", "n"), [(4.0, 20), (11.0, 34), (22.0, 45), (60.0, 30)])
def test_a_fitted_exponential_finds_a_climb_without_noise(tau, n):
    rates, block = climb(tau, n)
    assert fitted_blocks(rates) == block


@pytest.mark.parametrize("name", ESTIMATES)
def test_every_estimate_finds_a_slow_climb_of_many_blocks(name):
    """Without noise, within the blocks that a running mean spreads."""
    rates, block = climb(15.0, 50)
    assert abs(ESTIMATES[name](rates) - block) <= 2


def test_a_fitted_exponential_is_less_biased_by_noise_than_counting():
    """A curve that is flat for long has a noisy maximum, which lifts the counted threshold."""
    rng = np.random.default_rng(1)
    rates, block = climb(5.0, 35)
    noisy = rates + 8 * rng.standard_normal((200, 35))
    counted = [np.argmax(r > r[0] + 0.8 * (r.max() - r[0])) for r in noisy]
    fitted = [fitted_blocks(r) for r in noisy]
    assert np.mean(counted) - block > 1.5
    assert abs(np.mean(fitted) - block) < 1


def test_latency_is_the_half_rise_over_the_baseline():
    time = np.arange(200.0)
    psth = 20 + 80 / (1 + np.exp(-(time - 90) / 4))
    assert half_rise_ms(psth) == pytest.approx(90, abs=2)


def test_the_command_compares_tables_with_truth(small_matroot, small_source_data, tmp_path, capsys):
    arguments = [str(small_matroot), str(small_source_data), "--output", str(tmp_path)]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "SIMULATED" in said
    assert (tmp_path / "recovery.png").stat().st_size > 10_000
    written = json.loads((tmp_path / "recovery.json").read_text())
    rows = pd.DataFrame(written["recovered"])
    assert rows["area"].isin(["V1", "V4", "IT"]).all()
    blocks = rows[rows["quantity"] == "blocks"]
    assert len(blocks) >= 2
    assert (blocks["bias"] == 0).all()
    first = rows[rows["quantity"] == "first block, events/s"]
    assert (abs(first["bias"]) < 0.15 * first["truth"]).all()
    largest = rows[rows["quantity"] == "largest block, events/s"]
    assert (largest["bias"] > 0).all()  # the largest of many noisy means
    clear = [row for row in written["found"] if row["climb"] == "clear"]
    assert sum(row["passed"] for row in clear) >= 0.9 * sum(row["n"] for row in clear) > 0


def test_bias_and_spread_are_those_of_the_differences(small_matroot, small_source_data):
    found = compare(small_matroot, small_source_data)
    wanted = "time constant, published count, blocks"
    group = next(row for row in found.recovered if row.quantity == wanted)
    points = found.points
    chosen = points[points["climbed"] & (points["visual_area"] == group.area)
                    & (points["space"] == group.space)]  # fmt: skip
    error = chosen["measured_tc"] - chosen["tc0_bslinit"]
    assert (group.n, group.bias) == (len(error), pytest.approx(error.mean()))
    assert group.sd == pytest.approx(np.std(error, ddof=1))


def test_truth_and_tables_must_belong_together(small_matroot, small_source_data, tmp_path, capsys):
    assert main([str(tmp_path), str(small_source_data)]) == 3
    assert "truth.csv does not exist" in capsys.readouterr().err
    truth = pd.read_csv(small_matroot / "truth.csv")
    truth[truth["Expi"] != 155].to_csv(tmp_path / "truth.csv", index=False)
    assert main([str(tmp_path), str(small_source_data)]) == 1
    assert "other experiments" in capsys.readouterr().err
    shutil.copytree(small_source_data, tmp_path / "real")
    for note in (tmp_path / "real").rglob("provenance.json"):
        note.unlink()
    assert main([str(small_matroot), str(tmp_path / "real")]) == 1
    assert "is not simulated" in capsys.readouterr().err

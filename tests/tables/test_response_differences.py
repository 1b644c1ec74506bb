"""Differences between the responses to the two prototypes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from core.errors import UsageError
from core.source_tables.registry import SIMILARITY_COLUMNS
from neuro_data_analysis.evolution.population import Population
from neuro_data_analysis.evolution.stats import summarize
from neuro_data_analysis.neural_data_lib import Block, Experiment, Thread
from neuro_data_analysis.similarity.response_differences import (
    difference_table,
    response_differences,
)
from tests.evolutions import make_experiment, make_info


def test_differences_of_steps_are_those_counted_by_hand():
    """Two PSTHs that differ by 20 events/s in 60 of the 150 ms, over a normaliser of 40."""
    first, second = np.zeros(200), np.zeros(200)
    first[50:] = 20.0
    second[50:] = 20.0
    first[100:130] += 20.0
    second[150:180] += 20.0
    found = response_differences(np.stack([first, second]), normalizer=40.0)
    assert found["psth_MAE"] == pytest.approx(60 / 150 * 0.5)
    assert found["psth_MSE"] == pytest.approx(60 / 150 * 0.25)
    # Each is 1 in a fifth of the window, never together: cov = -p², var = p (1 - p), p = 1/5.
    assert found["psth_corr"] == pytest.approx(-0.25)
    assert found["act_MAE"] == pytest.approx(0, abs=1e-15)
    assert found["normalizer"] == 40.0


def test_smoothed_differences_are_those_of_running_means(rng):
    psths = rng.random((2, 200)) * 100
    found = response_differences(psths, normalizer=50.0)
    running = np.array([psths[:, 50 + k : 75 + k].mean(axis=1) for k in range(126)]).T / 50
    assert found["psth_MAE_smooth"] == pytest.approx(np.abs(running[0] - running[1]).mean())
    assert found["psth_MSE_smooth"] == pytest.approx(((running[0] - running[1]) ** 2).mean())
    assert found["psth_corr_smooth"] == pytest.approx(np.corrcoef(running)[0, 1])


def test_only_the_evoked_window_counts(rng):
    psths = rng.random((2, 200))
    other = psths.copy()
    other[:, :50] = 1e6
    assert response_differences(psths, 1.0) == response_differences(other, 1.0)


@given(arrays(float, (2, 200), elements=st.integers(0, 500)), st.floats(0.1, 100))
@settings(max_examples=40, deadline=None)
def test_act_mae_never_exceeds_psth_mae_and_scale_drops_out(psths, scale):
    """|mean d| ≤ mean |d|, and rates in other units give the same differences."""
    normalizer = max(psths[:, 50:].mean(axis=1).max(), 1e-3)
    found = response_differences(psths, normalizer)
    assert found["act_MAE"] <= found["psth_MAE"] + 1e-12
    assert found["psth_MAE_smooth"] <= 2.5 * found["psth_MAE"] + 1e-12
    scaled = response_differences(scale * psths, scale * normalizer)
    assert scaled["psth_MAE"] == pytest.approx(found["psth_MAE"])


def test_a_flat_psth_has_no_correlation():
    found = response_differences(np.stack([np.full(200, 5.0), np.arange(200.0)]), 10.0)
    assert np.isnan(found["psth_corr"])
    assert np.isfinite(found["psth_MAE"])


@pytest.mark.parametrize("normalizer", [0.0, -1.0, float("nan")])
def test_a_normaliser_that_is_not_positive_is_refused(normalizer):
    with pytest.raises(UsageError, match="must be positive"):
        response_differences(np.ones((2, 200)), normalizer)


def test_the_table_compares_best_blocks_and_drops_a_short_last_one():
    """The last block has most spikes, but 5 images in one thread: block 2 of 3 is the best."""
    rates = [[10.0, 40.0, 90.0], [20.0, 30.0, 80.0]]
    sizes = [[12, 12, 12], [12, 12, 5]]
    threads = [
        Thread(
            name,
            None,
            tuple(
                Block(np.full((200, size), rate), np.arange(size))
                for rate, size in zip(rates[k], sizes[k], strict=True)
            ),
            (),
        )
        for k, name in enumerate(("fc6", "BigGAN"))
    ]
    experiment = Experiment(make_info(expi=7), (threads[0], threads[1]))
    table = difference_table(Population((summarize(experiment),), {}))
    assert table.index.tolist() == [7]
    assert table.columns.tolist() == list(SIMILARITY_COLUMNS["differences of responses"])
    assert table.at[7, "normalizer"] == pytest.approx(40)
    assert table.at[7, "act_MAE"] == pytest.approx(1 - 30 / 40)  # 1 - min/max of the best blocks
    assert table.at[7, "psth_MAE"] == pytest.approx(0.25)


def test_the_table_agrees_with_an_explicit_loop(rng):
    """An independent computation from single trials."""
    sizes = [[15, 12, 30], [11, 14, 16]]
    experiment = make_experiment(rng, sizes, gains=[[1, 2, 1.5], [1.2, 1.1, 1.8]])
    best = []
    for thread in experiment.threads:
        means = [block.psth[50:200].mean() for block in thread.blocks]
        best.append(thread.blocks[int(np.argmax(means))].psth.mean(axis=1))
    normalizer = max(b.psth[50:200].mean() for t in experiment.threads for b in t.blocks)
    difference = (best[0] - best[1])[50:200] / normalizer
    table = difference_table(Population((summarize(experiment),), {}))
    expected = pd.Series(
        {
            "psth_MAE": np.abs(difference).mean(),
            "psth_MSE": (difference**2).mean(),
            "act_MAE": abs(difference.mean()),
        }
    )
    np.testing.assert_allclose(table.loc[1, expected.index].to_numpy(dtype=float), expected)

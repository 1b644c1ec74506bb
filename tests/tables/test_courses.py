"""Centres of PSTHs and smoothed time constants, against closed forms and scipy."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal

from core.spaces import Space
from neuro_data_analysis.evolution import courses
from neuro_data_analysis.evolution.courses import (
    psth_centre_ms,
    reference_responses,
    site_table,
    smoothed,
    smoothed_time_constant,
)
from neuro_data_analysis.evolution.population import collect
from neuro_data_analysis.evolution.tables import course_tables
from neuro_data_analysis.neural_data_lib import load_neural_data


def test_the_centre_of_a_symmetric_hump_is_its_middle():
    """A triangle about 120 ms on a baseline of 20 events/s; the baseline does not pull."""
    time = np.arange(200)
    psth = 20 + np.maximum(0, 50 - 2.5 * np.abs(time - 120))
    assert psth_centre_ms(psth) == pytest.approx(120)
    assert psth_centre_ms(3 * psth) == pytest.approx(120)


def test_two_spikes_have_their_centre_of_mass():
    """One weight at 60 ms and three at 180 ms: 150 ms; what comes before 50 ms does not count."""
    psth = np.zeros(200)
    psth[[60, 180]] = 1, 3
    psth[47] = 100
    assert psth_centre_ms(psth) == pytest.approx(150)


def test_nothing_above_the_baseline_has_no_centre():
    assert np.isnan(psth_centre_ms(np.full(200, 7.0)))


def test_the_chosen_process_is_the_likeliest_of_its_grid(rng):
    """Its mean is K (K + g I)⁻¹ y of the pair with the largest likelihood, by scipy's density."""
    y = np.sin(np.arange(25) / 5) + 0.3 * rng.standard_normal(25)
    centred = y - y.mean()
    distance = np.subtract.outer(np.arange(25), np.arange(25))
    best = (-np.inf, None)
    for length in courses.LENGTH_SCALES:
        k = np.exp(-0.5 * (distance / length) ** 2)
        for ratio in courses.NOISE_RATIOS:
            spread = k + ratio * np.eye(25)
            variance = centred @ np.linalg.solve(spread, centred) / 25
            density = multivariate_normal(np.zeros(25), variance * spread).logpdf(centred)
            if density > best[0]:
                best = density, y.mean() + k @ np.linalg.solve(spread, centred)
    np.testing.assert_allclose(smoothed(y), best[1], atol=1e-8)


def test_an_exponential_climb_takes_its_time_constant():
    """1 − exp(−t/τ) reaches 0.632 at τ; three time constants of data, no noise."""
    for tau in (5.0, 9.0):
        rate = 100 * -np.expm1(-np.arange(8 * tau) / tau) + 30
        assert smoothed_time_constant(rate) == pytest.approx(tau, rel=0.12)


def test_a_straight_climb_takes_its_share_of_the_session():
    """0.632 of 40 blocks."""
    assert smoothed_time_constant(np.arange(41.0)) == pytest.approx(0.632 * 40, rel=0.02)


@pytest.mark.parametrize("rate", [np.full(20, 5.0), np.arange(20.0)[::-1]])
def test_what_never_rises_has_no_time_constant(rate):
    assert np.isnan(smoothed_time_constant(rate))


def test_the_table_of_sites_and_the_references_follow_the_recordings(small_matroot):
    """One row per experiment; references by a plain loop over the trials, NaN beyond the end."""
    with load_neural_data(small_matroot) as recordings:
        population = collect(recordings)
        table = site_table(population)
        written = {(t.key, t.member.get("space")): t.value for t in course_tables(population)}
        pd.testing.assert_frame_equal(written["Evolutions/sites", None], table)
        assert table.index.tolist() == list(recordings)
        assert table["FC_tc_counted"].tolist() == (
            population.time_constants["FC_tc0_bslinit"].tolist()
        )
        assert table["psth_MAE"].between(0, 3).all()
        for space in Space:
            stacked = reference_responses(population, space)
            np.testing.assert_array_equal(written["Evolutions/reference_responses", space], stacked)
            for row, summary in zip(stacked, population.summaries, strict=True):
                blocks = recordings[summary.info.expi].thread(space).references
                for i, value in enumerate(row):
                    if i < summary.n_blocks and blocks[i].n_images:
                        loop = blocks[i].psth[50:200].mean() / summary.normalizer
                        assert value == pytest.approx(loop)
                    else:
                        assert np.isnan(value)

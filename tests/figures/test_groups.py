"""Groups of experiments: means, standard errors, tests and their correction, in closed form."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from core.spaces import Space
from figure_reproduction.page.groups import (
    Curve,
    basis_of_paired,
    compare_spaces,
    larger_by,
    members,
    significant_after_fdr,
)
from tests import paper_constants as paper


def test_a_curve_is_the_mean_with_the_published_standard_error():
    """Std with ddof 0 over sqrt(n): of 1, 2, 6 the mean is 3 and the variance 14/3."""
    curve = Curve.of(np.array([[1.0, 5.0], [2.0, 5.0], [6.0, 5.0]]))
    np.testing.assert_allclose(curve.mean, [3, 5])
    np.testing.assert_allclose(curve.sem, [np.sqrt(14 / 3 / 3), 0])
    assert curve.n == 3


def test_one_experiment_has_no_spread_and_none_has_no_mean():
    alone = Curve.of(np.array([[4.0, 2.0]]))
    np.testing.assert_array_equal(alone.mean, [4, 2])
    np.testing.assert_array_equal(alone.sem, [0, 0])
    nothing = Curve.of(np.zeros((0, 2)))
    assert nothing.n == 0
    assert nothing.mean.shape == nothing.sem.shape == (2,)
    assert np.isnan(nothing.mean).all()
    assert np.isnan(nothing.sem).all()


@pytest.mark.parametrize("paired", [True, False])
def test_t_is_positive_where_deepsim_is_larger(rng, paired):
    deepsim, biggan = rng.normal(1, 1, (9, 3)), rng.normal(0, 1, (9, 3))
    found = compare_spaces({Space.DEEPSIM: deepsim, Space.BIGGAN: biggan}, paired=paired)
    expected = (stats.ttest_rel if paired else stats.ttest_ind)(deepsim, biggan)
    np.testing.assert_allclose(found.t, expected.statistic)
    np.testing.assert_allclose(found.p, expected.pvalue)
    assert (found.t > 0).all()
    assert not paired or [basis_of_paired(found)[name] for name in ("n", "df")] == [9, 8]


def test_spaces_are_compared_unpaired_unless_asked(rng):
    values = {Space.DEEPSIM: rng.normal(0, 1, (5, 1)), Space.BIGGAN: rng.normal(0, 1, (7, 1))}
    expected = stats.ttest_ind(values[Space.DEEPSIM], values[Space.BIGGAN])
    np.testing.assert_allclose(compare_spaces(values).p, expected.pvalue)


def test_a_significant_point_belongs_to_the_space_with_its_sign():
    """No sign, no space: t of 0 belongs to neither."""
    t = np.array([2.0, -2.0, 0.0, 0.5, -0.5, 2.0])
    found = larger_by(t, np.array([True, True, True, True, True, False]))
    assert found[Space.DEEPSIM].tolist() == [True, False, False, True, False, False]
    assert found[Space.BIGGAN].tolist() == [False, True, False, False, True, False]


@pytest.mark.parametrize(
    ("p", "survive"),
    [
        ([0.05], [True]),  # p of rank i of m survives up to i/m times 0.05, itself included
        ([0.0501], [False]),
        ([0.025, 0.5], [True, False]),
        ([0.0251, 0.5], [False, False]),
        ([0.04, 0.05, 0.03], [True, True, True]),  # the largest carries the others
        ([0.5, np.nan, 0.024], [False, False, True]),  # what is missing is not counted
        ([np.nan, np.nan], [False, False]),
        ([], []),
    ],
)
def test_benjamini_hochberg_at_its_edge(p, survive):
    assert paper.FDR == 0.05
    assert significant_after_fdr(np.array(p)).tolist() == survive


def test_members_are_valid_successful_and_of_the_area():
    """Four experiments of each kind; an area without members is empty, not left out."""
    kinds = [(valid, success, area) for area in (4, 3) for valid in (1, 0) for success in (1, 0)]
    masks = pd.DataFrame(
        [(valid, success, False, area == 4, area == 3) for valid, success, area in kinds],
        columns=["valid", "bothsucc005", "V1msk", "V4msk", "ITmsk"],
    ).astype(bool)
    found = dict(members(masks, "bothsucc005"))
    assert list(found) == list(paper.AREAS)
    assert [np.flatnonzero(found[area]).tolist() for area in paper.AREAS] == [[], [0], [4]]

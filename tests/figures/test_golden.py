"""Every statistic of every figure is the one that was looked at: ``tests/golden/FigureN.json``."""

from __future__ import annotations

import re

import pytest

from tests import golden


@pytest.mark.numerics
@pytest.mark.parametrize("figure", golden.FIGURES)
def test_figures_tell_their_golden_numbers(golden_figures, figure):
    """Number by number; where a change is meant, ``python -m tests.golden`` writes them anew."""
    statistics, _ = golden_figures
    changed = golden.differences(golden.read(figure), golden.by_name(statistics[figure]))
    assert changed == [], f"{len(changed)} changed; if meant: python -m tests.golden"


def test_a_changed_number_is_told_in_one_line():
    before = {"4B": {"t": 1.5, "n": 3, "mean": [1.0, 2.0], "gone": True}}
    now = {"4B": {"t": 1.50001, "n": 3, "mean": [1.0, 2.5], "new": None}}
    assert golden.differences(before, before) == []
    assert golden.differences(before, now) == [
        "4B: t 1.5 → 1.50001",
        "4B: mean 1 of 2 values: [1] 2.0 → 2.5",
        "4B: gone is gone",
        "4B: new is new: null",
    ]


@pytest.mark.parametrize(
    ("before", "now"), [(1.0, 1.0 + 1e-5), (3, 4), (True, 1), (0.5, None), ([1.0], [1.0, 1.0])]
)
def test_what_is_no_rounding_is_a_change(before, now):
    assert golden.differences({"p": {"x": before}}, {"p": {"x": now}}) != []


def test_rounding_of_a_processor_is_no_change():
    assert golden.differences({"p": {"x": 0.1234567}}, {"p": {"x": 0.12345675}}) == []
    assert golden.differences({"p": {"gpr_R2": 0.5}}, {"p": {"gpr_R2": 0.5005}}) == []


#: Words that mark the outcome of a test in the name of a statistic.
TESTED = re.compile(r"(^|_| )(p|t|z|F)(_|,| |$)|pearson_[rp]|^anova")


def test_every_test_is_told_with_what_it_rests_on(golden_figures):
    """Test, sidedness or degrees of freedom, n and its unit stand beside every p, t, F, z and r."""
    statistics, _ = golden_figures
    told = 0
    for panels in statistics.values():
        for panel, records in panels.items():
            for record in records:
                if TESTED.search(record["quantity"]) and panel != "recordings":
                    basis = record.get("basis", {})
                    missing = {"test", "n", "unit"} - basis.keys()
                    assert not missing, (panel, record["quantity"], missing)
                    assert "sided" in basis or "df" in basis
                    told += 1
    assert told > 100

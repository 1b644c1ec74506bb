"""Every cell of the evolution tables against a second implementation, numpy alone."""

from __future__ import annotations

import numpy as np
import pytest

from core.source_tables.reader import SourceData
from neuro_data_analysis.neural_data_lib import load_neural_data
from tests import evolution_oracle as oracle

SPACES = ("DeePSim", "BigGAN")
PREFIX = {"DeePSim": "FC", "BigGAN": "BG"}

#: Blocks of the longest session, to which all are padded, and the areas in their order.
LENGTH, AREAS = 56, ("V1", "V4", "IT")


@pytest.fixture(scope="module")
def source(small_source_data):
    return SourceData(small_source_data)


@pytest.fixture(scope="module")
def evolutions(small_matroot, source):
    """Blocks of every experiment as they were recorded; names from the table of experiments."""
    meta = source.read("Fig4/time_constants").set_index("Expi")
    found = []
    with load_neural_data(small_matroot) as recordings:
        for expi in sorted(recordings):
            blocks = [[b.psth for b in t.blocks] for t in recordings[expi].threads]
            found.append(oracle.Evolution(meta.loc[expi].to_dict() | {"Expi": expi}, blocks))
    return found


def close(table, expected):
    np.testing.assert_allclose(np.asarray(table, dtype=float), expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("space", SPACES)
def test_normalised_responses(source, evolutions, space):
    thread = SPACES.index(space)
    for kind, place in (("mean", thread), ("sem", 2 + thread)):
        expected = [
            oracle.padded(e.window(50, 200)[place] / e.normalizer, LENGTH) for e in evolutions
        ]
        close(source.read(f"Fig4/response_{kind}", space=space), expected)


def test_recorded_blocks(source, evolutions):
    expected = [[block < e.n for block in range(LENGTH)] for e in evolutions]
    close(source.read("Fig4/recorded_blocks"), expected)


@pytest.mark.parametrize("figure", ["Fig4", "Fig5"])
def test_masks(source, evolutions, figure):
    table = source.read(f"{figure}/masks")
    expected = [oracle.masks(e) for e in evolutions]
    assert set(table.columns) == set(expected[0])
    for column in table:
        close(table[column], [row[column] for row in expected])


@pytest.mark.parametrize("key", ["Fig4/time_constants", "Tables/meta_stats", "ExtendedFig4/meta"])
def test_student_tests(source, evolutions, key):
    table = source.read(key)
    assert table["blockN"].tolist() == [e.n for e in evolutions]
    for name in evolutions[0].tests:
        found = np.array([e.tests[name] for e in evolutions])
        close(table[f"t_{name}"], found[:, 0])
        np.testing.assert_allclose(table[f"p_{name}"], found[:, 1], rtol=1e-7, atol=1e-13)


def test_time_constants(source, evolutions):
    table = source.read("Fig4/time_constants")
    for column in evolutions[0].time_constants:
        close(table[column], [e.time_constants[column] for e in evolutions])


@pytest.mark.parametrize("key", ["ExtendedFig4/meta", "Tables/meta_activation_stats"])
def test_responses_of_single_blocks(source, evolutions, key):
    table = source.read(key)
    for column in evolutions[0].activations:
        close(table[column], [e.activations[column] for e in evolutions])


@pytest.mark.parametrize(("criterion", "test", "sign"), [
    ("maxinit", "maxinit", 1), ("endinit", "endinit", 1), ("endinitdecrs", "endinit", -1),
])  # fmt: skip
def test_rates_of_success(source, evolutions, criterion, test, sign):
    table = source.read("Tables/success_rate", criterion=criterion).set_index("label")
    for area in AREAS:
        here = [e for e in evolutions if oracle.valid(e) and e.meta["visual_area"] == area]
        assert table.loc[area, "total"] == len(here)
        for thread, prefix in enumerate(PREFIX.values()):
            found = [e.tests[f"{test}_{thread}"] for e in here]
            k = sum(p < 0.01 and sign * t > 0 for t, p in found)
            assert table.loc[area, f"{prefix}_suc"] == k
            assert table.loc[area, f"{prefix}_rate"] == pytest.approx(k / len(here))
            for bound, probability in ((1, 0.05), (2, 0.95)):
                x = table.loc[area, f"{prefix}_CI_{bound}"]
                assert oracle.beta_cdf(x, k, len(here)) == pytest.approx(probability, abs=1e-9)


@pytest.mark.parametrize("space", SPACES)
def test_psths_of_the_first_and_the_late_block(source, evolutions, space):
    for block in (0, 55):
        expected = [
            oracle.padded(e.psth[SPACES.index(space)], LENGTH)[block] / e.normalizer
            for e in evolutions
        ]
        close(source.read("Fig5/psth", block=block, space=space), expected)


@pytest.mark.parametrize(("figure", "width"), [
    ("Fig5", 10), ("ExtendedFig4", 10), ("ExtendedFig4", 20), ("ExtendedFig4", 25),
    ("ExtendedFig4", 50),
])  # fmt: skip
def test_responses_in_windows(source, evolutions, figure, width):
    for window in ((start, start + width) for start in range(0, 200, width)):
        slices = [e.window(*window) / e.normalizer for e in evolutions]
        for thread, space in enumerate(SPACES):
            for kind, place in (("mean", thread), ("sem", 2 + thread)):
                table = source.read(
                    f"{figure}/window_response_{kind}", window=window, space=space
                )
                close(table, [oracle.padded(s[place], LENGTH) for s in slices])


@pytest.mark.parametrize("width", [5, 10, 20, 25, 50])
def test_shares_of_the_rise(source, evolutions, width):
    for thread, space in enumerate(SPACES):
        expected = np.array([e.fractions(width)[thread] for e in evolutions])
        table = np.asarray(source.read(f"ExtendedFig4/attribution_{width}ms", space=space))
        np.testing.assert_allclose(table, expected, rtol=1e-7, atol=1e-9)


def test_synopsis_of_time_constants(source, evolutions):
    """Means, errors and tests of every column, area and space, in the order of the file."""
    table = source.read("Tables/time_constant_synopsis").set_index(["column", "group"])

    def values(prefix, column, area, success):
        chosen = [
            e for e in evolutions
            if oracle.valid(e) and e.meta["visual_area"] == area
            and oracle.masks(e)[f"{success}succ001"]
        ]  # fmt: skip
        return np.array([e.time_constants[f"{prefix}_{column}"] for e in chosen], dtype=float)

    rows = 0
    for column in (f"{c}{b}" for b in ("", "_bsl0", "_bslinit") for c in ("tc0", "tc_cnt")):
        for prefix in ("FC", "BG"):
            for area in AREAS:
                x = values(prefix, column, area, prefix)
                row = table.loc[(column, f"{area} {prefix}")]
                rows += 1
                assert row["n"] == len(x)
                if len(x):
                    close([row["mean"], row["sem"]], [x.mean(), oracle.sem(x)])
        fc, bg = (values(prefix, column, "IT", "both") for prefix in ("FC", "BG"))
        if len(fc) > 1 and np.ptp(fc - bg) > 0:
            row = table.loc[(column, "IT FC - BG, paired")]
            close([row["t"], row["p"]], oracle.paired_t_test(fc, bg))
        for other in ("V4", "V1"):
            a, b = (values("FC", column, area, "FC") for area in ("IT", other))
            if min(len(a), len(b)) > 1:
                row = table.loc[(column, f"FC IT - {other}, unpaired")]
                close([row["t"], row["p"]], oracle.t_test(a, b))
    assert rows == 36


def test_the_example(source, small_matroot):
    """Figure 2: PSTHs of every block of Expi 155, its trials, and the distance between blocks."""
    with load_neural_data(small_matroot) as recordings:
        experiment = recordings[155]
    blocks = [[b.psth for b in t.blocks] for t in experiment.threads]
    evolution = oracle.Evolution({}, blocks)
    means = evolution.psth
    errors = np.array([
        [[oracle.sem(ms) for ms in b] for b in thread] for thread in evolution.blocks
    ])
    names = ("DeePSim_mean", "BigGAN_mean", "DeePSim_sem", "BigGAN_sem")
    for name, expected in zip(names, (*means, *errors), strict=True):
        close(source.read("Fig2/example_psth", slice=name), expected)
    offset = source.read("Fig2/example_psth_meta")["offset"]
    assert offset == 10 * np.ceil(means.max() / 2.2 / 10)
    kinds = (("evol", "blocks"), ("natref", "references"))
    for space, thread in zip(SPACES, experiment.threads, strict=True):
        for kind, where in kinds:
            shown = [block.psth for block in getattr(thread, where)]
            table = source.read("Fig2/example_trials", space=space, kind=kind)
            close(table["resp"], np.concatenate([b[50:200].mean(axis=0) for b in shown]))
            close(table["bsl"], np.concatenate([b[0:45].mean(axis=0) for b in shown]))
            generations = [g for g, b in enumerate(shown, 1) for _ in range(b.shape[1])]
            assert table["gen"].tolist() == generations


@pytest.mark.parametrize(("t", "df", "p"), [(2.0, 10, 0.07338803), (12.706205, 1, 0.05)])
def test_the_oracles_own_tail_is_that_of_printed_tables(t, df, p):
    assert oracle.t_tail(t, df) == pytest.approx(p, abs=1e-7)

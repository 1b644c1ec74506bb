"""Alignment by RealNVP: start points, networks, optimisers, the grid and its committed tables."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import MalformedDataError, UsageError
from core.insilico.extended_figure5_tables import PACKAGED
from core.insilico.realnvp_alignment.ascent import BatchedCMAES, climb_by_adam, climb_by_cma
from core.insilico.realnvp_alignment.climbs import Climbs, GridCell, climb, log_score
from core.insilico.realnvp_alignment.command import (
    alignment_tables,
    grid,
    main,
    run,
)
from core.insilico.realnvp_alignment.networks import RealNVP
from core.insilico.realnvp_alignment.philox import cuda_normal, first_words, philox4x32
from core.source_tables.provenance import read_provenance
from core.source_tables.reader import SourceData
from core.source_tables.registry import TABLES
from core.utils.device import one_thread
from tests.paper_constants import REALNVP_DEPTHS, REALNVP_DIMENSIONS, REALNVP_SEEDS
from tests.textbook_cma import TextbookCMAES
from tests.textbook_realnvp import TextbookRealNVP, adam_run, cma_run

#: Known answers of Philox4x32-10: counter, key, words (Random123 distribution, kat_vectors).
PHILOX_VECTORS = [
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]

#: Mean scores read from the published curves: optimiser, dimension, depth, score.
PUBLISHED_ADAM = [(2, 16, 0.643), (2, 32, 0.491), (2, 48, 0.180), (16, 8, 0.548)]
PUBLISHED_CMA = [(64, 0, 0.946), (128, 0, 0.404), (8, 16, 0.74)]

#: How far the published curves can be read, and how far runs of CMA-ES with other noise may lie.
READING_ERROR, NOISE_OF_CMA = 0.001, 0.081


@pytest.mark.parametrize(("counter", "key", "words"), PHILOX_VECTORS)
def test_philox_gives_its_known_answers(counter, key, words):
    np.testing.assert_array_equal(philox4x32(counter, key), words)


def test_single_precision_start_points_are_those_of_a_cuda_device():
    """``torch.randn(3, device="cuda")`` after seed 0 is known to be -0.9247, -0.4253, -2.6438."""
    a, b = first_words(0, 3)[:, :2].T.astype(float)
    u, v = a * 2.0**-32 + 2.0**-33, b * 2.0**-31 + 2.0**-32
    known = [-0.9247, -0.4253, -2.6438]
    np.testing.assert_allclose(np.sqrt(-2 * np.log(u)) * np.sin(np.pi * v), known, atol=5e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("dimension", [2, 16, 256])
@pytest.mark.parametrize("seed", [0, 40, 2**40])
def test_start_points_are_those_of_this_cuda_device(seed, dimension):
    generator = torch.Generator("cuda").manual_seed(seed)
    drawn = torch.randn(dimension, dtype=torch.float64, device="cuda", generator=generator)
    np.testing.assert_allclose(cuda_normal(seed, dimension), drawn.cpu(), rtol=1e-12, atol=1e-14)


def test_start_points_are_standard_normal_and_nested():
    """Element i depends on seed and i alone; 200 seeds together have mean 0 and variance 1."""
    drawn = np.stack([cuda_normal(seed, 256) for seed in range(200)])
    np.testing.assert_array_equal(drawn[7, :16], cuda_normal(7, 16))
    n = drawn.size
    assert abs(drawn.mean()) < 4 / np.sqrt(n)
    assert abs(drawn.var() - 1) < 4 * np.sqrt(2 / n)


def test_networks_are_those_of_torch_modules_seed_for_seed():
    """Draw order: all couplings in float32, then all orthogonal maps with their shifts."""
    seeds, x = (40, 3), torch.randn(2, 5, 6, dtype=torch.float64, generator=torch.Generator())
    y = RealNVP.draw(6, 3, seeds).forward(x)
    for i, seed in enumerate(seeds):
        expected = TextbookRealNVP(6, 3, seed)(x[i]).detach()
        torch.testing.assert_close(y[i], expected, rtol=1e-12, atol=1e-12)


@given(half=st.integers(1, 9), depth=st.integers(0, 6), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_inverse_undoes_forward(half, depth, seed):
    network = RealNVP.draw(2 * half, depth, [seed, seed + 1])
    x = torch.as_tensor(np.random.default_rng(seed).standard_normal((2, 3, 2 * half)))
    torch.testing.assert_close(network.inverse(network.forward(x)), x, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(network.forward(network.inverse(x)), x, rtol=1e-7, atol=1e-7)


def test_the_first_half_passes_a_coupling_unchanged():
    """Undoing shift and rotation of the only layer gives the first coordinates back."""
    network = RealNVP.draw(8, 1, [5])
    x = torch.randn(1, 4, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    coupled = (network.forward(x) - network.shifts[0]) @ network.rotations[0].mT
    torch.testing.assert_close(coupled[..., :4], x[..., :4])
    assert (coupled[..., 4:] - x[..., 4:]).abs().min() > 1e-3


def test_maps_are_orthogonal_and_some_are_reflections():
    """The determinant is 1 for rotations and -1 for reflections; the published runs had both."""
    rotations = RealNVP.draw(16, 4, range(5)).rotations
    identity = torch.eye(16, dtype=torch.float64).expand_as(rotations)
    torch.testing.assert_close(rotations @ rotations.mT, identity)
    assert set(torch.linalg.det(rotations).round().flatten().tolist()) == {-1.0, 1.0}


def test_a_network_without_layers_is_the_identity_and_its_hill_a_gaussian():
    """Closed form: x is its own image, the top is (1, …, 1), and both optimisers come near it."""
    x = torch.tensor([[[0.0, 3.0]]], dtype=torch.float64)
    score = log_score(RealNVP.draw(2, 0, [0]))
    assert score(x).item() == pytest.approx(-0.5 * (1 + 4))
    for optimizer in ("Adam", "CMAES"):
        climbs = climb(GridCell(optimizer, 2, 0, (40, 41)))
        np.testing.assert_array_equal(climbs.top, np.ones((2, 2)))
        np.testing.assert_array_equal(climbs.reached, climbs.reached_output)
        distance = ((climbs.reached - 1) ** 2).sum(axis=1)
        np.testing.assert_allclose(climbs.score, np.exp(-0.5 * distance))
        assert climbs.score.min() > 0.99


@pytest.mark.parametrize("optimizer", ["Adam", "CMAES"])
def test_runs_in_a_batch_do_not_mix(optimizer):
    """A seed ends where it ends alone, whatever runs beside it."""
    together = climb(GridCell(optimizer, 8, 3, (40, 41, 42)))
    for i, seed in enumerate((40, 41, 42)):
        alone = climb(GridCell(optimizer, 8, 3, (seed,)))
        np.testing.assert_allclose(alone.reached[0], together.reached[i], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(alone.score[0], together.score[i], rtol=1e-9)


def test_climbs_are_those_of_one_network_at_a_time():
    """Independent networks, `torch.optim.Adam` and a dense CMA-ES end at the same points."""
    seeds = (40, 47)
    adam, cma = (climb(GridCell(optimizer, 4, 2, seeds)) for optimizer in ("Adam", "CMAES"))
    for i, seed in enumerate(seeds):
        network, start = TextbookRealNVP(4, 2, seed), cuda_normal(seed, 4)
        np.testing.assert_allclose(adam.reached[i], adam_run(network, start), rtol=1e-8, atol=1e-8)
        noise = np.random.default_rng((seed, 4, 2))
        expected = cma_run(network, start, noise)
        np.testing.assert_allclose(cma.reached[i], expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("dimension", "population"), [(2, 7), (10, 13), (32, 19)])
def test_cma_in_a_batch_is_the_dense_textbook_run(dimension, population):
    """Given the same normals, mean, step size and factor agree over 100 populations."""
    scales = np.linspace(0.5, 2, dimension)

    def score(codes):
        return -(scales * (codes - 1) ** 2).sum(axis=-1)

    starts = np.stack([cuda_normal(seed, dimension) for seed in (1, 2)])
    ours = BatchedCMAES(torch.as_tensor(starts), [np.random.default_rng(s) for s in (1, 2)])
    codes = ours.first_population()
    assert codes.shape == (2, population, dimension)
    for _ in range(99):
        codes = ours.next_population(torch.as_tensor(score(codes.numpy())), codes)
    for i, start in enumerate(starts):
        identity = np.eye(dimension)
        textbook = TextbookCMAES(identity, identity, start, 0.5, Aupdate_freq=1, seed=i + 1)
        theirs = start[np.newaxis]
        for _ in range(100):
            theirs = textbook.step(score(theirs), theirs)
        np.testing.assert_allclose(codes[i], theirs, rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(ours.sigma[i], textbook.sigma, rtol=1e-8)
        np.testing.assert_allclose(ours.A[i], textbook.A, rtol=1e-7, atol=1e-8)
        np.testing.assert_allclose(ours.Ainv[i], textbook.Ainv, rtol=1e-7, atol=1e-8)


def test_cma_is_read_out_at_the_mean_of_the_last_population():
    """One step samples one population around the start: its mean is the read-out."""
    start = torch.zeros(1, 2, dtype=torch.float64)
    drawn = np.random.default_rng(3).standard_normal((7, 2))
    reached = climb_by_cma(lambda x: x.sum(dim=-1), start, 1, [np.random.default_rng(3)])
    np.testing.assert_allclose(reached[0], 0.5 * drawn.mean(axis=0))


def test_constants_of_cma_are_the_printed_ones():
    """Printed by the published runs for dimension 2: cc .667, cs .515, c1 .172, damps 1.515."""
    c = BatchedCMAES(torch.zeros(1, 2, dtype=torch.float64), []).constants
    np.testing.assert_allclose([c.cc, c.cs, c.c1, c.damps], [0.667, 0.515, 0.172, 1.515], atol=5e-4)


def test_adam_climbs_a_parabola_to_its_top():
    start = torch.tensor([[3.0], [-2.0]], dtype=torch.float64)
    reached = climb_by_adam(lambda x: -x.square().sum(dim=-1), start, 300)
    np.testing.assert_allclose(reached, np.zeros((2, 1)), atol=1e-3)


def committed(optimizer):
    return SourceData(PACKAGED).read(f"ExtendedFig5/alignment_{optimizer}")


@pytest.mark.parametrize("optimizer", ["Adam", "CMAES"])
def test_committed_tables_are_the_whole_grid_in_the_published_order(optimizer):
    """8 dimensions × 8 depths × 10 seeds, in the columns of the published files."""
    table = committed(optimizer)
    assert list(table) == ["dimension", "stack_size", "seed", "gaussian_value"]
    expected = pd.MultiIndex.from_product(
        [REALNVP_DIMENSIONS, REALNVP_DEPTHS, REALNVP_SEEDS]
    )
    assert list(expected) == list(zip(*(table[c] for c in list(table)[:3]), strict=True))
    assert table["gaussian_value"].between(0, 1).all()
    file = TABLES[f"ExtendedFig5/alignment_{optimizer}"].file
    assert read_provenance(PACKAGED / "ExtendedFig5").of([file]).kind == "computed"


@pytest.mark.parametrize(
    ("optimizer", "published", "tolerance"),
    [("Adam", PUBLISHED_ADAM, READING_ERROR), ("CMAES", PUBLISHED_CMA, NOISE_OF_CMA)],
)
def test_committed_tables_agree_with_the_published_curves(optimizer, published, tolerance):
    """Adam to the digits that can be read; CMA-ES, whose noise was not seeded, within its noise."""
    means = committed(optimizer).groupby(["dimension", "stack_size"])["gaussian_value"].mean()
    for dimension, depth, score in published:
        assert means[dimension, depth] == pytest.approx(score, abs=tolerance)


@pytest.mark.parametrize(("optimizer", "dimension", "depth"), [("Adam", 16, 8), ("CMAES", 8, 4)])
def test_a_committed_cell_is_what_the_command_computes(optimizer, dimension, depth):
    table = committed(optimizer)
    rows = table[(table["dimension"] == dimension) & (table["stack_size"] == depth)]
    climbs = climb(GridCell(optimizer, dimension, depth, REALNVP_SEEDS))
    np.testing.assert_allclose(climbs.score, rows["gaussian_value"], rtol=1e-6, atol=1e-9)


@pytest.fixture(scope="module")
def small_grid():
    return grid(dimensions=(2, 4), depths=(0, 2), seeds=(40, 41))


@pytest.fixture(scope="module")
def finished(small_grid, tmp_path_factory):
    """Return the output folder of an uninterrupted run."""
    output = tmp_path_factory.mktemp("alignment")
    run(small_grid, output)
    return output


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted((folder / "ExtendedFig5").iterdir())}


def test_tables_of_a_run_are_read_as_source_data(finished):
    """CSV and pickle agree; the pickle also tells where a climb ended and should have."""
    source = SourceData(finished)
    table = source.read("ExtendedFig5/alignment_Adam")
    pickled = source.read("ExtendedFig5/alignment_Adam_pickle")
    assert source.provenance("ExtendedFig5").kind == "computed"
    assert len(table) == 8
    pd.testing.assert_frame_equal(table, pickled[list(table)], check_column_type=False)
    last = pickled.iloc[-1]
    assert last["input_space_optimum"].shape == last["desired_x_optimum"].shape == (1, 4)
    assert last["desired_transformed_optimum"].shape == (4,)
    distance = ((last["transformed_space_optimum"] - 1) ** 2).sum()
    assert last["gaussian_value"] == pytest.approx(np.exp(-distance / 2))
    top = torch.as_tensor(last["desired_x_optimum"][np.newaxis])
    reached = RealNVP.draw(4, 2, [41]).forward(top)
    np.testing.assert_allclose(reached.flatten(), np.ones(4), atol=1e-9)


def test_a_run_that_was_cut_off_ends_with_the_same_bytes(small_grid, finished, tmp_path):
    """Cells that are there stay, the others are computed, leftovers of a killed run do no harm."""
    run(small_grid[:3], tmp_path)
    (tmp_path / "cells" / ".Adam_d002_L02.npz.x.unfinished").write_bytes(b"half a cell")
    kept = (tmp_path / "cells" / f"{small_grid[0].name}.npz").stat().st_mtime_ns
    run(small_grid, tmp_path, resume=True)
    assert (tmp_path / "cells" / f"{small_grid[0].name}.npz").stat().st_mtime_ns == kept
    assert bytes_of(tmp_path) == bytes_of(finished)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_the_number_of_processes_does_not_matter(small_grid, finished, tmp_path, monkeypatch):
    """Forks of this process spare the time in which new ones import torch."""
    context = multiprocessing.get_context
    monkeypatch.setattr(multiprocessing, "get_context", lambda how: context("fork"))
    with one_thread():  # a fork has no threads of its parent
        run(small_grid, tmp_path, n_jobs=2)
    assert bytes_of(tmp_path) == bytes_of(finished)


def test_cells_are_not_overwritten_or_mixed_unasked(small_grid, finished):
    with pytest.raises(UsageError, match="go on with --resume"):
        run(small_grid, finished)
    other_seeds = grid(dimensions=(2,), depths=(0,), seeds=(1, 2))
    with pytest.raises(UsageError, match="another experiment: seeds differ"):
        run(other_seeds, finished, resume=True)


def test_a_damaged_cell_is_named(tmp_path):
    climb(GridCell("Adam", 2, 0, (1,))).save(tmp_path)
    path = tmp_path / "Adam_d002_L00.npz"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(MalformedDataError, match="is not a finished cell"):
        Climbs.load(path)
    with pytest.raises(MalformedDataError, match="is not a finished cell"):
        list(alignment_tables(tmp_path))


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"dimensions": [3]}, "dimension is 3; it must be even"),
        ({"dimensions": [258]}, "from 2 to 256"),
        ({"depths": [-1]}, "depth is -1"),
        ({"seeds": [1, 1]}, "seeds are 1, 1"),
        ({"seeds": []}, "seeds are none"),
        ({"seeds": [-4]}, "seeds are -4"),
        ({"depths": []}, "nothing to run"),
        ({"optimizers": ["adam"]}, "Did you mean 'Adam'"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(axes, message):
    with pytest.raises(UsageError, match=message):
        grid(**axes)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (cuda_normal, (0, 257)), (cuda_normal, (0, 0)), (cuda_normal, (-1, 2)),
        (RealNVP.draw, (5, 1, [0])), (RealNVP.draw, (4, -1, [0])),
    ],
)  # fmt: skip
def test_numbers_out_of_range_are_refused(function, arguments):
    with pytest.raises(UsageError, match="must"):
        function(*arguments)


def test_command_line(tmp_path, capsys):
    """0 done, 2 for what cannot be run; the tables are named."""
    job = ["--output", str(tmp_path), "--dimensions", "2", "--depths", "0", "--jobs", "1"]
    small = [*job, "--optimizers", "Adam", "--seeds", "1", "2"]
    assert main(small) == 0
    assert capsys.readouterr().out.count("FigureExt5C_Adam") == 2
    assert main(small) == 2
    assert "go on with --resume" in capsys.readouterr().err
    assert main(job) == 2
    assert "another experiment: seeds differ" in capsys.readouterr().err
    assert main([*job, "--jobs", "0"]) == 2
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert "example:\n  python -m core.insilico.realnvp_alignment --" in capsys.readouterr().out

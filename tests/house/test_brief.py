"""The last line of a notebook cell: every object tells itself in one line."""

from __future__ import annotations

import numpy as np
import pytest

from core.source_tables.reader import SourceData
from neuro_data_analysis.evolution.population import collect
from neuro_data_analysis.evolution.stats import Trials, summarize
from neuro_data_analysis.neural_data_lib import load_neural_data

#: Characters that still are a line.
LINE = 500


def test_recordings_and_what_is_in_them_are_lines(small_matroot):
    with load_neural_data(small_matroot) as recordings:
        experiment = recordings[155]
        thread = experiment.threads[0]
        summary, population = summarize(experiment), collect(recordings)
        told = [
            repr(thing)
            for thing in (
                recordings, experiment, thread, thread.blocks[0], Trials.of(thread.blocks),
                summary, summary.trajectory, population,
            )
        ]  # fmt: skip
    assert max(map(len, told)) < LINE, max(told, key=len)
    assert not any("\n" in line or " object at 0x" in line for line in told)
    n = thread.blocks[0].n_images
    assert told[3] == f"Block(psth=(200, {n}) float64, image_index=({n},) int64)"
    assert f"blocks={len(thread.blocks)} Block" in told[2]


def test_source_data_tell_folder_and_form(tmp_path):
    assert repr(SourceData(tmp_path, form="pkl")) == f"SourceData({str(tmp_path)!r}, form='pkl')"


def test_scorers_units_generators_and_optimisers_are_lines():
    torch = pytest.importorskip("torch")
    from core.utils import CholeskyCMAES, TorchScorer, WeightedSum, upconvGAN

    scorer = TorchScorer(torch.nn.Flatten(), imgpix=4, mean=[0.5], std=[0.5], device="cpu")
    scorer.set_units(".Flatten", [3, WeightedSum(np.ones(16))])
    told = [
        repr(thing)
        for thing in (
            scorer, WeightedSum(np.ones(16)), CholeskyCMAES(9, random_seed=0),
            upconvGAN("fc6", pretrained=False, device="cpu"),
        )
    ]  # fmt: skip
    assert told[0] == (
        "TorchScorer(Flatten, weights as given, score: 2 responses of .Flatten; input 1 × 4 × 4, "
        "mean ± SD 0.5 ± 0.5 (given), bilinear; cpu)"
    )
    assert told[1] == "WeightedSum(weights=(16,) float64, units=None)"
    assert max(map(len, told[:3])) < LINE
    assert "CholeskyCMAES over 9 numbers" in told[2]
    assert "UNTRAINED" in told[3]

"""Writers that die at any change of a file leave nothing half, and the next run completes them."""

from __future__ import annotations

import sys

import pytest

from benchmarks.safety import kills
from core.errors import MissingDataError
from neuro_data_analysis.neural_data_lib import MAT_FILE, load_neural_data
from neuro_data_analysis.simulation import matroot


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")
@pytest.mark.parametrize("work", ["sweep", "Hessians"])
def test_a_killed_work_is_completed_by_the_next(work, monkeypatch):
    """The fast cut of ``benchmarks.safety.kills``; other works are killed in other tests."""
    pytest.importorskip("torch")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    outcomes = kills.run(work, 2)
    assert sum(outcomes.values()) == 2
    assert not any(word in told for told in outcomes for word in kills.BAD)


def test_a_simulation_that_dies_while_it_replaces_another_leaves_no_recordings(
    tmp_path, monkeypatch
):
    """Truth and recordings of two simulations are never read as one."""
    folder, made = tmp_path / "out", tmp_path / "made"
    for place in (folder, made):
        place.mkdir()
        for name in (matroot.README_FILE, matroot.TRUTH_FILE, MAT_FILE):
            (place / name).write_text(f"{name} {place.name}")
    moves, move = iter(range(9)), matroot.move_into

    def die_at_the_last(target, paths):
        if next(moves) == 2:
            raise KeyboardInterrupt
        return move(target, paths)

    monkeypatch.setattr(matroot, "move_into", die_at_the_last)
    with pytest.raises(KeyboardInterrupt):
        matroot._replace(folder, made)
    assert (folder / matroot.TRUTH_FILE).read_text().endswith("made")
    with pytest.raises(MissingDataError):
        load_neural_data(folder)

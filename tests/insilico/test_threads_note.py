"""Sums of floating-point numbers depend on the number of threads; a resumed evolution says so."""

from __future__ import annotations

import json

import pytest

torch = pytest.importorskip("torch")

from core.errors import MalformedDataError  # noqa: E402
from core.insilico.paired_evolution.command import evolve_pairs  # noqa: E402
from core.insilico.paired_evolution.settings import EvolutionSettings  # noqa: E402
from core.utils.device import THREADS_FILE, note_threads  # noqa: E402
from core.utils.evolution.loop import evolve  # noqa: E402
from tests.tiny_networks import tiny_networks  # noqa: E402


def test_another_number_of_threads_is_told_when_an_evolution_goes_on(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    note_threads(tmp_path)
    note_threads(tmp_path)
    assert json.loads((tmp_path / THREADS_FILE).read_text()) == {"threads": 2}
    assert caplog.text == ""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    note_threads(tmp_path)
    assert "begun with {'threads': 2} and goes on with {'threads': 1}" in caplog.text
    assert json.loads((tmp_path / THREADS_FILE).read_text()) == {"threads": 2}


def test_a_note_of_threads_that_cannot_be_read_is_told(tmp_path):
    (tmp_path / THREADS_FILE).write_text("{")
    with pytest.raises(MalformedDataError, match=THREADS_FILE):
        note_threads(tmp_path)


def test_evolutions_note_the_threads_and_say_on_resume_if_there_are_others(
    tmp_path, caplog, monkeypatch
):
    """Paired ones, and searches of any kind."""
    settings = EvolutionSettings(
        net="tiny", layer="conv2", channels=(1, 2), steps=1, repetitions=1, population=4,
        generators=("BigGAN",),
    )  # fmt: skip

    def evolve_there(n_threads, resume):
        monkeypatch.setattr(torch, "get_num_threads", lambda: n_threads)
        networks = tiny_networks()
        evolve_pairs(settings, tmp_path / "pairs", networks=networks, resume=resume)
        evolve(
            lambda images: images.mean((1, 2, 3)), networks.generators["BigGAN"], generations=1,
            seed=1, save=tmp_path / "one", resume=resume,
        )  # fmt: skip

    evolve_there(3, resume=False)
    assert "threads" not in caplog.text
    evolve_there(4, resume=True)
    for folder in ("pairs", "one"):
        assert json.loads((tmp_path / folder / THREADS_FILE).read_text()) == {"threads": 3}
        told = f"{folder} was begun with {{'threads': 3}} and goes on with {{'threads': 4}}"
        assert told in caplog.text

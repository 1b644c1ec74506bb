"""Sums of floating-point numbers depend on the number of threads; a resumed evolution says so."""

from __future__ import annotations

import json

import pytest

torch = pytest.importorskip("torch")

from core.errors import MalformedDataError  # noqa: E402
from core.utils.device import THREADS_FILE, note_threads  # noqa: E402


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

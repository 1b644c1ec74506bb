"""Work that is shared out among threads, with results that know nothing of it."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from core.utils import CholeskyCMAES, HessCMAES
from core.utils.device import side_by_side


@pytest.fixture
def two_threads(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)


def test_as_many_calls_run_at_a_time_as_torch_has_threads(two_threads):
    """Each waits for the other, and the results come in the order of the items."""
    both = threading.Barrier(2, timeout=20)
    assert side_by_side(lambda item: (both.wait() >= 0) + item, [1, 2, 3, 4]) == [2, 3, 4, 5]


def test_the_failure_of_the_first_item_that_failed_is_told(two_threads):
    with pytest.raises(ValueError, match="item 3"):
        side_by_side(lambda item: item if item < 3 else _refuse(item), range(6))


def _refuse(item):
    raise ValueError(f"item {item}")


def _optimizers():
    axes = np.linalg.qr(np.random.default_rng(0).standard_normal((1024, 300)))[0]
    start = {"init_code": np.zeros(1024), "dtype": np.float32}
    return [
        *(CholeskyCMAES(1024, random_seed=i, Aupdate_freq=1, **start) for i in range(3)),
        *(HessCMAES(1024, cutoff=300, random_seed=i, eigvals=np.geomspace(1, 1e-3, 300),
                    eigvects=axes, **start) for i in range(3)),
    ]  # fmt: skip


def _evolved(n_threads, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: n_threads)
    optimizers = _optimizers()
    for _ in range(4):
        codes = side_by_side(lambda optimizer: optimizer.ask(), optimizers)
        told = [(o, -np.square(c - 1).sum(axis=1)) for o, c in zip(optimizers, codes, strict=True)]
        side_by_side(lambda one: one[0].tell(one[1]), told)
    return [optimizer.ask().tobytes() for optimizer in optimizers]


def test_optimisers_take_the_same_steps_in_any_number_of_threads(monkeypatch):
    assert _evolved(1, monkeypatch) == _evolved(2, monkeypatch)


def _threads_of_numpys_products(_=None):
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    return [pool["num_threads"] for pool in pools if "numpy" in pool["filepath"]]


def test_products_of_matrices_get_their_threads_back():
    with threadpool_limits(2, user_api="blas"):
        before = _threads_of_numpys_products()
        assert set(side_by_side(_threads_of_numpys_products, [0])[0]) <= {1}
        assert _threads_of_numpys_products() == before

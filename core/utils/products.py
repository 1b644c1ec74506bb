"""Products of matrices, and how many threads share one."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]


def products_in_one_thread() -> AbstractContextManager[Any]:
    """Leave each product to one thread within a block: no order of sums depends on their number.

    Small matrices have nothing to share either, and threads only wait for each other.
    """
    limited: AbstractContextManager[Any] = _libraries().limit(limits=1, user_api="blas")
    return limited


@cache
def _libraries() -> ThreadpoolController:
    """Find the libraries of this process, once: that takes a thousand times as long."""
    return ThreadpoolController()

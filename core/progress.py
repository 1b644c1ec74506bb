"""How far a long computation is: a bar for a person, a line now and then for a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

#: Between two lines where nobody is watching.
LINE_EVERY_S = 5.0


def progress(
    items: Iterable[Item], what: str, unit: str = "", total: int | None = None
) -> Iterator[Item]:
    """Pass items on and say on stderr how many have gone by.

    A terminal gets a bar. A log, a job on a cluster or a notebook gets a line every few seconds,
    and none for what is done sooner.

    Parameters
    ----------
    items : iterable
        What is worked on.
    what : str
        What is being done, such as ``"reading experiments"``.
    unit : str, optional
        What is counted.
    total : int, optional
        How many items there will be, where they cannot be counted.

    Yields
    ------
    object
        The items.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    if sys.stderr.isatty():
        plain = "utf" not in (sys.stderr.encoding or "").lower()
        yield from tqdm(items, desc=what, unit=unit or "it", total=total, ascii=plain)
    else:
        yield from _told(items, what, unit, total)


def _told(items: Iterable[Item], what: str, unit: str, total: int | None) -> Iterator[Item]:
    start = told = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if now - told >= LINE_EVERY_S:
            told = now
            sys.stderr.write(f"{_line(done, now - start, what, unit, total)}\n")
            sys.stderr.flush()
        yield item


def _line(done: int, seconds: float, what: str, unit: str, total: int | None) -> str:
    counted = f"{done} of {total}" if total else f"{done}"
    left = f", about {seconds * (total - done) / done:.0f} s left" if total and done else ""
    return f"{what}: {counted} {unit}".rstrip() + f" in {seconds:.0f} s{left}"

"""One place where a device is chosen, and where the number of threads is set and noted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch

from core.errors import MalformedDataError, UsageError, choose_from
from core.files import read_json, write_json
from core.utils.products import products_in_one_thread

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Says in a folder of results with how many threads they were begun.
THREADS_FILE = "threads.json"


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """Turn the `device` argument of every function of `core.utils` into a torch device.

    Parameters
    ----------
    device : str or torch.device, default "auto"
        ``"auto"`` takes CUDA where there is one, then MPS, then the CPU. Anything else is handed
        to torch (``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``).

    Returns
    -------
    torch.device

    Raises
    ------
    UsageError
        If torch knows no such device, or this machine has none.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        allowed = ("auto", "cpu", "cuda", "cuda:0", "mps")
        raise UsageError(choose_from(device, allowed, "device")) from error
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (resolved.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not available.get(resolved.type, True):
        raise UsageError(
            f"device {str(resolved)!r} was asked for, but torch {torch.__version__} sees none on "
            'this machine; use device="auto" or device="cpu".'
        )
    return resolved


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute in one thread, so that sums keep their order; others outlive no fork."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def side_by_side(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Return what a function gives for each item, computed in as many threads as torch has.

    It is meant for steps of optimisers, nearly all of them work of numpy, which lets other threads
    run. Each product of matrices stays in one thread, so that no result depends on their number.

    Parameters
    ----------
    function : callable
        Must touch nothing that it shares with the calls for other items.
    items : sequence

    Raises
    ------
    Exception
        What the call for the first item that failed has raised; calls for later ones may be left
        out.
    """
    n_threads = min(torch.get_num_threads(), len(items))
    with products_in_one_thread():
        if n_threads <= 1:
            return [function(item) for item in items]
        with ThreadPoolExecutor(n_threads) as threads:
            return list(threads.map(function, items))


def note_threads(folder: Path) -> None:
    """Note the number of threads, on which sums of floating-point numbers depend a little.

    If another number is noted there, a warning says so.

    Raises
    ------
    MalformedDataError
        If the note cannot be read.
    CannotWriteError
        If it cannot be written.
    """
    now, note = {"threads": torch.get_num_threads()}, folder / THREADS_FILE
    if not note.is_file():
        write_json(note, now, durable=True)
        return
    try:
        before = read_json(note)
    except (OSError, ValueError) as error:
        raise MalformedDataError(f"{note} cannot be read ({error}); remove it.") from error
    if before != now:
        logger.warning(
            "%s was begun with %s and goes on with %s; scores may differ in their last digits from "
            "those of one run (OMP_NUM_THREADS sets the number)", folder, before, now,
        )  # fmt: skip

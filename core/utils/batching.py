"""Run a network over many inputs in batches that shrink when memory runs out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch

from core.errors import UsageError, UserError

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

#: How torch words a lack of memory where it does not raise `torch.OutOfMemoryError`.
_OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


#: Images at a time on a CPU, where one image keeps all cores busy, and where memory is unknown.
BATCH_SIZE = 40

#: Largest batch that is chosen: beyond it nothing idles.
LARGEST_BATCH = 512

#: Share of the free memory that a chosen batch may take.
SHARE_OF_FREE = 0.5

#: What an image takes at most on its way through a generator and ResNet101, 256 pixels, float32.
IMAGE_BYTES = 64 << 20

#: Where Linux tells its memory.
MEMORY_FILE = Path("/proc/meminfo")


class Rows(Protocol):
    """Anything with a length that gives a range of its rows: a tensor, an array, a list."""

    def __len__(self) -> int: ...
    def __getitem__(self, rows: slice, /) -> Any: ...


class DoesNotFitError(UserError):
    """Not even a single input fits into the memory of the device."""


def over_batches(
    function: Callable[[slice], Result], count: int, batch_size: int
) -> Iterator[tuple[slice, Result]]:
    """Call `function` for consecutive ranges of rows; halve the range when memory runs out.

    The smaller size stays for the rest of the call. Nothing is kept here: each result belongs to
    the caller as soon as it is yielded.

    Parameters
    ----------
    function : callable
        Takes the range of rows to compute. It is called again for the first rows of a range that
        did not fit, so it must not add to results of an earlier call.
    count : int
        Rows in all. With 0 the function is called once, for an empty range, so that the caller
        learns the shape of a result.
    batch_size : int
        Rows of a range, at least 1.

    Yields
    ------
    tuple of slice and result
        A range and what `function` returned for it, in order; together they cover all rows.

    Raises
    ------
    UsageError
        If `batch_size` is below 1.
    DoesNotFitError
        If a single row does not fit.
    """
    if not isinstance(batch_size, int) or batch_size < 1:
        raise UsageError(
            f"batch size {batch_size} was asked for; it is a whole number, 1 or more."
        )
    start = 0
    while True:
        rows = slice(start, min(start + batch_size, count))
        try:
            result = function(rows)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if rows.stop - rows.start <= 1:
                raise DoesNotFitError(
                    f"out of memory for a single input ({_first_line(error)}); free memory, or "
                    'use another device, such as device="cpu".'
                ) from error
        else:
            yield rows, result
            del result
            start = rows.stop
            if start >= count:
                return
            continue
        # Here, outside the handler, the failed call's frames and their tensors are released.
        batch_size = (rows.stop - rows.start) // 2
        logger.warning("out of memory: batches of %d from here on", batch_size)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def map_batches(
    function: Callable[[Any], torch.Tensor],
    inputs: Rows,
    batch_size: int,
    *,
    to_cpu: bool = False,
) -> torch.Tensor:
    """Return ``function(inputs)``, computed batch by batch.

    Parameters
    ----------
    function : callable
        Takes a range of the inputs, returns one row of a tensor for each of them.
    inputs : tensor, array or sequence, n rows
    batch_size : int
        Rows per call; see `over_batches` for what happens when they do not fit.
    to_cpu : bool, default False
        Detach each result and move it to the CPU before the next batch is computed.

    Returns
    -------
    torch.Tensor, shape (n, ...)
    """
    results = (
        result
        for _, result in over_batches(lambda rows: function(inputs[rows]), len(inputs), batch_size)
    )
    return torch.cat([result.detach().cpu() if to_cpu else result for result in results])


def batch_from_memory(device: torch.device, image_bytes: int = IMAGE_BYTES) -> int:
    """Return how many images to compute at a time, from the memory that is free now.

    Parameters
    ----------
    device : torch.device
        Where they are computed.
    image_bytes : int
        What an image takes on its way; should more be needed, `over_batches` halves the batch.

    Returns
    -------
    int
        From 1 to `LARGEST_BATCH`, a power of two, so that a little more or less free memory
        changes nothing; on a CPU `BATCH_SIZE` or, where that does not fit, less.
    """
    free = _free_bytes(device)
    if free is None:
        return BATCH_SIZE
    fitting = max(int(SHARE_OF_FREE * free) // image_bytes, 1)
    if device.type == "cpu":
        return min(BATCH_SIZE, fitting)
    return min(LARGEST_BATCH, 1 << (fitting.bit_length() - 1))


def _free_bytes(device: torch.device) -> int | None:
    """Return the free memory of a device; None where it cannot be told."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = MEMORY_FILE.read_text().splitlines()
        (kilobytes,) = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError):
        return None
    return 1024 * int(kilobytes) if device.type == "cpu" else None


def is_out_of_memory(error: RuntimeError) -> bool:
    """Tell whether torch raised this for a lack of memory."""
    return isinstance(error, torch.OutOfMemoryError) or any(
        words in str(error) for words in _OUT_OF_MEMORY
    )


def _first_line(error: RuntimeError) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")

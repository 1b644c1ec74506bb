"""Numbers of fewer bits for networks: faster where the processor has units for them.

A CPU without such units emulates bfloat16, and is several times slower in it.

torch is imported by what computes, not by what checks a name.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from core.errors import UsageError, choose_from

if TYPE_CHECKING:
    import torch
    from torch import Tensor

#: Of weights and products in a forward pass. Results are float32 in all of them.
PRECISIONS = ("float32", "bfloat16", "tf32")


def require_precision(precision: str, device: torch.device) -> str:
    """Return a precision that a device has.

    Raises
    ------
    UsageError
        If there is no such precision, or none on this device.
    """
    if precision not in PRECISIONS:
        raise UsageError(choose_from(precision, PRECISIONS, "precision"))
    if precision == "tf32" and device.type != "cuda":
        raise UsageError(
            f"tf32 is a precision of CUDA devices; on {device.type} take float32 or bfloat16."
        )
    return precision


@contextmanager
def computing_in(precision: str, device: torch.device) -> Iterator[None]:
    """Compute products in a precision for the length of a block; weights stay as they are.

    Parameters
    ----------
    precision : {"float32", "bfloat16", "tf32"}
        bfloat16: 8 bits of mantissa, by autocast; sums are float32. tf32: 10 bits, by the tensor
        cores of CUDA devices. float32: as torch is set.
    device : torch.device
        Where the block computes.
    """
    import torch

    if precision == "bfloat16":
        with torch.autocast(device.type, torch.bfloat16):
            yield
    elif precision == "tf32":
        matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
        before = matmul.allow_tf32, cudnn.allow_tf32
        matmul.allow_tf32 = cudnn.allow_tf32 = True
        try:
            yield
        finally:
            matmul.allow_tf32, cudnn.allow_tf32 = before
    else:
        yield


def widened(values: Tensor) -> Tensor:
    """Return bfloat16 values as float32, and others as they are."""
    return values.float() if str(values.dtype) == "torch.bfloat16" else values

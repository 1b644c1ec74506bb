"""One place where a device is chosen."""

from __future__ import annotations

import torch

from core.errors import UsageError, choose_from


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

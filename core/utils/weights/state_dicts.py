"""Read files of weights without letting them run code, and load them without leaving a gap."""

from __future__ import annotations

import io
import logging
import os
import pickle
import pickletools
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import torch
from torch import nn

from core.errors import MalformedDataError, MissingDataError

logger = logging.getLogger(__name__)

_KEYS_SHOWN = 6

#: Files from before torch 1.6 begin with so many pickles: magic number, protocol, system, tensors.
_LEGACY_PICKLES = 4
_REASON_SHOWN = 200


def read_state_dict(
    path: str | os.PathLike[str], within: Sequence[str] = ()
) -> dict[str, torch.Tensor]:
    """Read a state dict (``.pt``, ``.pth``, ``.bin`` or ``.safetensors``) into the CPU's memory.

    Parameters
    ----------
    path : path-like
        The file.
    within : sequence of str, optional
        Keys under which the checkpoint of a training keeps its state dict; the first that is there
        is taken.

    Returns
    -------
    dict of str to torch.Tensor

    Raises
    ------
    MissingDataError
        If there is no such file.
    MalformedDataError
        If it is cut off, holds anything but named tensors, or could run code. Nothing of such a
        file has been run.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingDataError(f"there is no file of weights {path}.")
    try:
        content = _read(path)
    except pickle.UnpicklingError as error:
        raise MalformedDataError(
            f"{path} was refused: it is not a plain state dict ({_reason(error)}). A file that "
            "holds more than tensors can run code when it is read; nothing was run. If you trust "
            "it, save its state_dict() on the machine that made it and give that."
        ) from error
    except Exception as error:  # a broken archive can raise anything
        raise MalformedDataError(
            f"{path} is not a readable file of weights ({_reason(error)}). It may be cut off, or "
            "older than torch 1.6; get it again."
        ) from error
    if isinstance(content, Mapping):
        inner = (content[key] for key in within if isinstance(content.get(key), Mapping))
        content = next(inner, content)
    if not isinstance(content, Mapping) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in content.items()
    ):
        raise MalformedDataError(
            f"{path} holds {_described(content)} instead of a state dict of named tensors."
        )
    return dict(content)


def load_strictly(
    network: nn.Module,
    state: Mapping[str, torch.Tensor],
    source: str | os.PathLike[str],
    *,
    surplus: bool = False,
) -> None:
    """Give a network the tensors of a state dict; every key and every shape has to fit.

    The tensors are taken over, not copied, so that the network may be built on torch's ``meta``
    device, without memory or initial values of its own.

    Parameters
    ----------
    network : torch.nn.Module
    state : mapping of str to torch.Tensor
    source : path-like
        Where the state dict comes from, for the message.
    surplus : bool, default False
        Allow tensors that the network has no use for (a warning lists them).

    Raises
    ------
    MalformedDataError
        If something is missing, left over or of another shape; the message lists what.
    """
    expected = network.state_dict()
    missing = [key for key in expected if key not in state]
    unexpected = [key for key in state if key not in expected]
    misshaped = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(tensor.shape)}"
        for key, tensor in expected.items()
        if key in state and state[key].shape != tensor.shape
    ]
    if surplus and unexpected:
        logger.warning("%s: not used: %s", source, _listed(unexpected))
        unexpected = []
    if missing or unexpected or misshaped:
        found = (("missing", missing), ("not known", unexpected), ("of another shape", misshaped))
        report = "; ".join(f"{len(keys)} {how}: {_listed(keys)}" for how, keys in found if keys)
        raise MalformedDataError(
            f"{source} does not fit the network ({len(expected)} tensors expected, {len(state)} "
            f"found): {report}. Is it the file of another network?"
        )
    network.load_state_dict(
        {key: state[key].to(tensor.dtype) for key, tensor in expected.items()}, assign=True
    )


def _read(path: Path) -> object:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    _require_bounded(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about pickle protocols, on the way to a refusal
        return torch.load(path, map_location="cpu", weights_only=True)


def _require_bounded(path: Path) -> None:
    """Compare what the pickles of a file promise with its size, before torch makes room for it.

    ``torch.save`` packs nothing, so that no member of its archive is larger than the file; neither
    is a storage, whose length is the last number before it is asked for.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            file.seek(0)
            for _ in range(_LEGACY_PICKLES):
                _require_bounded_pickle(file, size)
            return
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
            if packed or sum(member.file_size for member in members) > size:
                raise ValueError("its members would take more room than the file, as bombs do")
            for member in members:
                if member.filename.endswith("/data.pkl"):
                    _require_bounded_pickle(io.BytesIO(archive.read(member)), size)


def _require_bounded_pickle(program: BinaryIO, size: int) -> None:
    number = 0
    for opcode, argument, _ in pickletools.genops(program):
        if opcode.name in ("GLOBAL", "SHORT_BINUNICODE", "BINUNICODE"):
            if str(argument).split()[-1:] == ["bytearray"]:
                raise pickle.UnpicklingError("Unsupported global bytearray, which no tensor needs")
        elif isinstance(argument, int) and not opcode.name.endswith(("PUT", "GET")):
            number = argument
        if opcode.name == "BINPERSID" and number > size:
            raise ValueError(f"a tensor of {number} numbers in a file of {size} bytes")


def _reason(error: Exception) -> str:
    """Return torch's own reason in one line, without its advice to switch the safety off."""
    text = str(error).strip() or type(error).__name__
    lines = [line.rpartition("WeightsUnpickler error:")[2].strip() for line in text.split("\n")]
    refusal = next((line for line in lines if "nsupported" in line), lines[0])
    return refusal.partition(". ")[0].rstrip(".")[:_REASON_SHOWN]


def _described(content: object) -> str:
    if not isinstance(content, Mapping):
        return f"a {type(content).__name__}"
    return f"a dictionary with {_listed([repr(key) for key in content]) or 'nothing in it'}"


def _listed(keys: list[str]) -> str:
    rest = len(keys) - _KEYS_SHOWN
    return ", ".join(keys[:_KEYS_SHOWN]) + (f" and {rest} more" if rest > 0 else "")

"""Evolutions with something outside this computer's program: a recording rig, or a fake one.

A rig shows blocks of pictures and returns responses. `FolderRig` talks through a shared folder,
`SocketRig` through a local TCP socket; `FakeNeurons` answers in place of an animal. Every block is
recorded in a session folder, which ``python -m neuro_data_analysis.rig_recordings`` turns into the
recordings layout of the paper.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from core.errors import choose_from

_HOME = {
    "FakeNeurons": "fake",
    "FakeRig": "fake",
    "FolderRig": "folder",
    "Request": "blocks",
    "BlockResponses": "blocks",
    "Rig": "session",
    "RigChannel": "session",
    "SessionInfo": "session",
    "SocketRig": "sockets",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that the command begins without packages."""
    if name not in _HOME:
        raise AttributeError(choose_from(name, __all__, f"name of {__name__}"))
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

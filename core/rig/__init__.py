"""Evolutions with something outside this computer's program: a recording rig, or a fake one.

A rig shows blocks of pictures and returns responses. `FolderRig` talks through a shared folder,
`SocketRig` through a local TCP socket; `FakeNeurons` answers in place of an animal. Every block is
recorded in a session folder, which ``python -m neuro_data_analysis.rig_recordings`` turns into the
recordings layout of the paper.
"""

from core.rig.blocks import Request, Responses
from core.rig.fake import FakeNeurons, FakeRig
from core.rig.folder import FolderRig
from core.rig.session import Rig, RigChannel, SessionInfo
from core.rig.sockets import SocketRig

__all__ = [
    "FakeNeurons",
    "FakeRig",
    "FolderRig",
    "Request",
    "Responses",
    "Rig",
    "RigChannel",
    "SessionInfo",
    "SocketRig",
]

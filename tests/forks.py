"""Processes that may die: forks of this one, which has imported everything already."""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings

#: A fork that hangs ends itself.
LONGEST_SECONDS = 120


def forked(work, *given):
    """Call a function in a fork of this process; return its exit code, or minus its signal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads of ours hold nothing
        child = os.fork()
    if not child:
        _end_with(work, *given)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def die():
    """End this process where it stands, so that nothing can be tidied up."""
    os.kill(os.getpid(), signal.SIGKILL)


def _end_with(work, *given):
    code = 1
    try:
        signal.alarm(LONGEST_SECONDS)
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(1)  # threads of the parent are not here
        work(*given)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)

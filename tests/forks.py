"""Processes without the cost of a new Python: forks of this one, or of one without our modules."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import traceback
import warnings
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).parents[1]

#: A fork that hangs ends itself.
LONGEST_SECONDS = 120


def forked(work, *given):
    """Call a function in a fork of this process; return its exit code, or minus its signal.

    That is the code of its SystemExit, 0 where it returns and 1 where it raises.
    """
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
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


#: Packages that a fork of the other process need not import; torch and all of ours are left to it.
PACKAGES = (
    "numpy,scipy.stats,scipy.io,pandas,matplotlib.pyplot,seaborn,h5py,sklearn.linear_model,"
    "statsmodels.stats.multitest,statsmodels.stats.proportion"
)

#: Imports packages, and then runs each line of its input, an order, in a fork.
_SERVER = """
import gc, json, os, runpy, signal, sys, traceback
from importlib import import_module

gc.set_threshold(50_000, 10, 10)

def obey(order):
    told = os.open(order["told"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    warned = os.open(order["warned"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(told, 1)
    os.dup2(warned, 2)
    os.chdir(order["where"])
    sys.path[:0] = order["path"]
    sys.argv = order["argv"]
    try:
        if order["code"]:
            exec(compile(order["code"], "<code>", "exec"), {"__name__": "__main__"})
        else:
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(end.code + "\\n")
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0

for package in sys.argv[1].split(","):
    import_module(package)
gc.freeze()
if sys.dont_write_bytecode:
    sys.dont_write_bytecode, sys.pycache_prefix = False, sys.argv[2]
for line in sys.stdin:
    child = os.fork()
    if not child:
        signal.alarm(int(sys.argv[3]))
        code = obey(json.loads(line))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Bare:
    """Runs code, or modules, in processes that know packages but nothing of ours, and no torch."""

    def __init__(self, folder):
        self.folder = folder
        compiled = str(folder / "compiled")  # a later fork need not compile again what one did
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", _SERVER, PACKAGES, compiled, str(LONGEST_SECONDS)],
            text=True, env=os.environ | {"MPLBACKEND": "agg"}, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )  # fmt: skip

    def run(self, code="", *given, module="", where=".", path=(ROOT,)):
        """Run code with arguments, or a module (``"core.rig --help"``), in a folder.

        It finds modules there and on a path, which is that of our own unless told otherwise.

        Returns
        -------
        types.SimpleNamespace
            ``returncode``, ``stdout`` and ``stderr``, as of `subprocess.run`.
        """
        files = {name: str(self.folder / name) for name in ("told", "warned")}
        order = {
            "code": code,
            "argv": module.split() or ["-c", *map(str, given)],
            "where": str(where),
            "path": [str(folder) for folder in ("" if code else where, *path)],
        }
        self.process.stdin.write(json.dumps(files | order) + "\n")
        self.process.stdin.flush()
        returncode = int(self.process.stdout.readline())
        told, warned = (Path(file).read_text(encoding="utf-8") for file in files.values())
        return SimpleNamespace(returncode=returncode, stdout=told, stderr=warned)

    def end(self):
        """Let the process end."""
        self.process.communicate()

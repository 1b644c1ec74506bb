"""How every command begins: before anything large is imported, and without a traceback.

Standard library only, so that a Python without the packages can still say what is missing.
"""

from __future__ import annotations

import codecs
import gc
import os
import signal
import sys
from importlib import import_module
from types import ModuleType

#: What the environment of figures and recordings has; all else is in that of everything.
_BASE = frozenset(
    {"numpy", "scipy", "pandas", "matplotlib", "seaborn", "statsmodels", "sklearn", "h5py",
     "jinja2", "joblib", "PIL", "threadpoolctl", "tqdm"}
)  # fmt: skip

_OWN = frozenset(
    {"neuron_gan", "core", "neuro_data_analysis", "figure_reproduction", "source_data_export",
     "benchmarks", "examples", "tests"}
)  # fmt: skip

_OLDEST_PYTHON = (3, 11)

INTERRUPTED = "interrupted; finished files are intact, run again to continue\n"

_ASCII = {"…": "...", "–": "-", "—": "-", "−": "-", "×": "x", "²": "2", "µ": "u", "’": "'"}


def run(module: str) -> int:
    """Import a command and run its ``main``; what goes wrong on the way is one sentence.

    Parameters
    ----------
    module : str
        Module with a function ``main`` that returns an exit code.

    Returns
    -------
    int
        That exit code; 1 where a package or a newer Python is missing. Ctrl-C during the import
        ends the process with 130.
    """
    if sys.version_info < _OLDEST_PYTHON:
        return _refuse(f"this needs Python 3.11 or newer; {sys.executable} is older.")
    write_plainly()
    own_handler = signal.signal(signal.SIGINT, _leave)
    try:
        main = _imported(module).main
        signal.signal(signal.SIGINT, own_handler)
        return main()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in _OWN:
            raise
        return _refuse(missing_package(error.name or str(error)))


def _imported(module: str) -> ModuleType:
    """Import without a search for cycles, a quarter of the time that finds next to none."""
    gc.disable()
    try:
        return import_module(module)
    finally:
        gc.freeze()
        gc.enable()


def missing_package(name: str) -> str:
    """Say which environment has a package, and how to get there.

    Parameters
    ----------
    name : str
        What could not be imported.
    """
    package = name.partition(".")[0]
    target, folder = ("base", "base") if package in _BASE else ("environment", "full")
    return (
        f"{package} is not installed for {sys.executable}. `make {target}` makes .venv/{folder}, "
        f"which has it; then `source .venv/{folder}/bin/activate`. Without make: "
        "`pip install -r requirements.txt`."
    )


def write_plainly() -> None:
    """Let a terminal that knows only ASCII show plain letters instead of ending in an error."""
    codecs.register_error("plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="plain")


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_ASCII.get(letter, "?") for letter in text), error.end


def _leave(*_: object) -> None:
    sys.stderr.write(INTERRUPTED)
    sys.stderr.flush()
    os._exit(130)


def _refuse(sentence: str) -> int:
    sys.stderr.write(f"error: {sentence}\n")
    return 1

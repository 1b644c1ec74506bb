"""When and how figures were made: kept apart from their numbers, which are the same every time."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

from core.files import read_json, write_json

#: Lies beside the figures.
RUN_FILE = "run.json"

_ROOT = Path(__file__).resolve().parents[2]


def record_run(folder: Path, figure: str, arguments: str, source_data: Path) -> None:
    """Note the date, the commit and the arguments with which a figure was made.

    Parameters
    ----------
    folder : pathlib.Path
        Output folder of the figures.
    figure : str
        Such as ``"Figure4"``.
    arguments : str
        What its command line was given beyond the defaults.
    source_data : pathlib.Path
        Folder of the tables.
    """
    runs = read_runs(folder)
    runs[figure] = {
        "made": _now(),
        "commit": commit(),
        "arguments": arguments,
        "source_data": os.path.relpath(source_data, folder),
    }
    write_json(folder / RUN_FILE, runs)


def _now() -> str:
    """Return the time; that of `SOURCE_DATE_EPOCH`, by which builds are made reproducible."""
    seconds = os.environ.get("SOURCE_DATE_EPOCH", "")
    moment = time.gmtime(int(seconds) if seconds.isdecimal() else None)
    return time.strftime("%Y-%m-%d %H:%M UTC", moment)


def read_runs(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what `record_run` noted, by figure; nothing where it cannot be read."""
    try:
        found = read_json(folder / RUN_FILE)
        return {str(name): {str(k): str(v) for k, v in run.items()} for name, run in found.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def commit() -> str:
    """Return the commit of this checkout, with a plus where files differ; empty outside of one."""
    command = ["git", "-C", str(_ROOT), "describe", "--always", "--dirty=+", "--abbrev=10"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""

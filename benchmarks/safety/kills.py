"""Kill every writer at many moments: what is left is whole, and the next run completes it.

``python -m benchmarks.safety.kills [--points 12] [--work NAME]`` lets each work of
`two_writers`, the page and a search die by SIGKILL just before some of the files that it
opens, makes, renames or removes. Works that replace an earlier result begin on one; the others are
gone on with.
"""

from __future__ import annotations

import sys

from core import start

if __name__ == "__main__":
    sys.exit(start.run("benchmarks.safety.kills"))

import argparse
import os
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.safety import two_writers
from benchmarks.safety.two_writers import bytes_of, import_for, tell_outcomes, unfinished_in
from core.errors import MalformedDataError, MissingDataError
from core.source_tables.reader import SourceData
from figure_reproduction.page.report import write_report
from neuro_data_analysis.neural_data_lib import load_neural_data

#: Events of the interpreter by which files come, change their names and go.
CHANGES = ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate")

#: Words of outcomes that must not be.
BAD = ("NOT WHOLE", "READ", "HALF")


def _page(folder: Path, who: int) -> None:
    two_writers.WORKS["figures"](folder, who)
    write_report(folder)


def _search(folder: Path, _: int) -> None:
    from core.utils.evolution.loop import evolve

    generator = import_module("tests.tiny_networks").tiny_networks().generators["BigGAN"]
    evolve(
        lambda images: images.mean((1, 2, 3)), generator, generations=3, seed=1, save=folder,
        resume=True, progress=False,
    )  # fmt: skip


WORKS: dict[str, Callable[[Path, int], None]] = {
    **two_writers.WORKS,
    "page": _page,
    "search": _search,
    "evolution": partial(two_writers.evolve, resume=True),
    "Hessians": partial(two_writers.hessians, resume=True),
}

#: Works that go on with what a killed one left, rather than replace something.
RESUMED = ("fetch", "search", "evolution", "sweep", "Hessians")

#: Works whose files grow; the next run reads them, and shows whether they were whole.
GROWING = ("search",)


def _read_tables(folder: Path) -> None:
    SourceData(folder).read("Fig5/window_response_mean", window=(0, 10), space="DeePSim")


def _read_recordings(folder: Path) -> None:
    with load_neural_data(folder):
        pass


#: Readers of files that belong together.
READERS: dict[str, Callable[[Path], None]] = {
    "export": _read_tables,
    "placing by hand": _read_tables,
    "simulation": _read_recordings,
}


def run(work: str, points: int) -> Counter[str]:
    """Kill one work at so many moments; count what was left, and what the next run made of it."""
    import_for("figures" if work == "page" else work)
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as made, _in_one_thread():
        earlier, new = ({} if work in RESUMED else _left_by(work, made, 1)), _left_by(work, made, 2)
        counted = _prepared(work, Path(made) / "counted" / "out")
        n_changes = _in_a_child(work, counted, kill_at=0)
        for point in range(min(points, n_changes)):
            folder = _prepared(work, Path(made) / f"killed{point}" / "out")
            status = _in_a_child(work, folder, kill_at=1 + n_changes * point // points)
            if status != -signal.SIGKILL:
                outcomes["not killed"] += 1
                continue
            left = _state(work, folder, earlier, new)
            WORKS[work](folder, 2)
            mended = bytes_of(folder) == new and not unfinished_in(folder.parent)
            outcomes[f"{left}, {'then whole' if mended else 'then NOT WHOLE'}"] += 1
    return outcomes


def _in_one_thread() -> AbstractContextManager[None]:
    """Compute in one thread, as forks do: results note how many. Most works need no torch."""
    if "torch" not in sys.modules:
        return nullcontext()
    from core.utils.device import one_thread

    return one_thread()


def _left_by(work: str, made: str, who: int) -> dict[str, str]:
    folder = Path(made) / str(who) / "out"
    WORKS[work](folder, who)
    return bytes_of(folder)


def _prepared(work: str, folder: Path) -> Path:
    """Make the folder in which a work is to die, with an earlier result if it replaces one."""
    if work not in RESUMED:
        WORKS[work](folder, 1)
    return folder


def _in_a_child(work: str, folder: Path, kill_at: int) -> int:
    """Do a work in a child that dies at a change of files; return -9, or how many there were."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        seen, place = 0, str(folder.parent)
        tempfile.tempdir = str(folder.parents[1])  # a killed child leaves its own there

        def count(event: str, given: tuple[Any, ...]) -> None:
            nonlocal seen
            changes = event in CHANGES or (event == "open" and (given[2] or 0) & _FOR_WRITING)
            if changes and place in str(given[0]):
                seen += 1
                if seen == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        try:
            WORKS[work](folder, 2)
            os.write(writer, str(seen).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as told:
        answer = told.read()
    _, status = os.waitpid(child, 0)
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else int(answer)


_FOR_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def _state(work: str, folder: Path, earlier: Mapping[str, str], new: Mapping[str, str]) -> str:
    """Tell what a killed work left under names that somebody reads."""
    found = {
        name: digest for name, digest in bytes_of(folder).items()
        if not any(part.startswith(".") for part in Path(name).parts)
    }  # fmt: skip
    if found in (earlier, {}):
        return "earlier set"
    if found == new:
        return "new set"
    if work in READERS:
        return "two sets, refused" if _is_refused(READERS[work], folder) else "two sets, READ"
    known = all(found[name] in (earlier.get(name), new.get(name)) for name in found)
    return "whole files" if known or work in GROWING else "HALF FILES"


def _is_refused(read: Callable[[Path], Any], folder: Path) -> bool:
    try:
        read(folder)
    except (MalformedDataError, MissingDataError):
        return True
    return False


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 1 if anything was half, mixed or left behind."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.safety.kills", description=__doc__)
    parser.add_argument("--points", type=int, default=12, help="of each work (default: 12)")
    parser.add_argument("--work", action="append", choices=list(WORKS), help="only this")
    given = parser.parse_args(arguments)
    return tell_outcomes(given.work or WORKS, partial(run, points=given.points), BAD)

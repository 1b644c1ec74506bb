"""Two processes write one folder at once, many times: whole, mixed or refused, counted.

``python -m benchmarks.safety.two_writers [--pairs 20] [--work NAME]`` does so for exports, figures,
the two ways of fetching, simulations, evolutions, sweeps and Hessians, all small; the second
process begins a little later each time. A folder is whole when it holds the same bytes as after one
of the two alone.
"""

from __future__ import annotations

import sys

from core import start

if __name__ == "__main__":
    sys.exit(start.run("benchmarks.safety.two_writers"))

import argparse
import functools
import multiprocessing
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np

from core.errors import UserError
from core.files import UNFINISHED_SUFFIX, locked, sha256_of
from core.published import Statistic
from core.reading.download import download
from core.source_tables.placement import choose_files, files_of, place
from core.source_tables.provenance import Provenance
from core.source_tables.reader import Table, write_tables
from core.spaces import Space
from neuro_data_analysis.simulation.matroot import simulate_matroot

_MEMBERS = [
    {"window": (first, first + 10), "space": str(space)}
    for first in range(0, 200, 10)
    for space in Space
]
_KEY = "Fig5/window_response_mean"

#: Words of outcomes that must not be.
BAD = ("MIXED", "LEFT", "RAISED")
_NETWORKS = "tests.tiny_networks:tiny_networks"


def _export(folder: Path, who: int) -> None:
    tables = [Table(_KEY, np.full((60, 56), float(who)), member) for member in _MEMBERS]
    write_tables(folder, "Fig5", tables, Provenance("recordings", {"who": str(who)}))


def _place(folder: Path, who: int) -> None:
    with tempfile.TemporaryDirectory() as given:
        _export(Path(given), who)
        with files_of(Path(given)) as found:
            place(choose_files(found)[0], folder, Provenance("found"), force=True)


def _print_figure(folder: Path, who: int) -> None:
    from figure_reproduction.page.page import FigureScript, Panel, PrintJob, print_figure

    with tempfile.TemporaryDirectory() as source:
        panels = [Panel(f"5{letter}", (), partial(_shown, who, letter)) for letter in "AB"]
        script = FigureScript("Figure5", "Fig5", "who wrote it", (), panels)
        print_figure(script, PrintJob(Path(source), folder, ("png",)))


def _shown(who: int, letter: str) -> Any:
    """Show who wrote it."""
    from figure_reproduction.page.page import Shown
    from figure_reproduction.page.sheet import Drawing

    def draw(figure: Any) -> None:
        figure.text(0.5, 0.5, str(who))

    drawing = Drawing(draw, (40.0, 40.0))
    return Shown([Statistic("who", who)], {f"5{letter}": drawing})


class _Bodies(BaseHTTPRequestHandler):
    """Answers each path with a body that is made of it, a little at a time."""

    def do_GET(self) -> None:
        body = self.path.encode() * 100_000
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        for at in range(0, len(body), 1 << 16):
            self.wfile.write(body[at : at + (1 << 16)])
            time.sleep(0.01)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def _fetch(folder: Path, who: int) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Bodies)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        download(f"http://127.0.0.1:{server.server_port}/{who}", folder / "x", backoff_s=0)
    finally:
        server.shutdown()


def _simulate(folder: Path, who: int) -> None:
    simulate_matroot(folder, seed=who, n_experiments=1)


def _settings(who: int) -> Any:
    from core.insilico.paired_evolution.settings import EvolutionSettings

    return EvolutionSettings(
        net="tiny", layer=".Conv2dconv2", channels=(who, who + 1), steps=3, repetitions=1,
        population=4, seed=who,
    )  # fmt: skip


def evolve(folder: Path, who: int, resume: bool = False) -> None:
    """Run a small paired evolution."""
    from core.insilico.paired_evolution.command import evolve_pairs

    networks = import_module("tests.tiny_networks").tiny_networks()
    evolve_pairs(_settings(who), folder, networks=networks, resume=resume)


def _sweep(folder: Path, who: int) -> None:
    from core.insilico.sweeps.cells import RunCell, SweepCell

    if not (folder / "cell.json").is_file():  # what a sweep prepares before its cells run
        with locked(folder):
            SweepCell(folder, _settings(1), {}).write()
    RunCell(_NETWORKS)(str(folder))


def hessians(folder: Path, who: int, resume: bool = False) -> None:
    """Compute four small Hessians and their average."""
    from core.insilico.gan_hessians.command import HessianSettings, compute_hessians

    settings = HessianSettings(
        generator="tests.tiny_networks:small_generator", distance="MSE", n_codes=4, seed=who
    )
    compute_hessians(settings, folder, resume)


WORKS: dict[str, Callable[[Path, int], None]] = {
    "export": _export,
    "figures": _print_figure,
    "placing by hand": _place,
    "fetch": _fetch,
    "simulation": _simulate,
    "evolution": evolve,
    "sweep": _sweep,
    "Hessians": hessians,
}

#: What a work imports is imported once, before its processes begin.
IMPORTED = {
    "figures": ("figure_reproduction.page.page",),
    "evolution": ("core.insilico.paired_evolution.command", "tests.tiny_networks"),
    "sweep": ("core.insilico.sweeps.cells", "core.insilico.paired_evolution.command"),
    "Hessians": ("core.insilico.gan_hessians.command", "tests.tiny_networks"),
}


def _one(work: str, folder: Path, who: int, wait_s: float, answers: Any) -> None:
    time.sleep(wait_s)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)  # threads do not survive the fork
    try:
        WORKS[work](folder, who)
        answers.put("ok")
    except UserError:
        answers.put("refused")
    except BaseException as error:
        answers.put(f"RAISED {error!r:.200}")


def bytes_of(folder: Path) -> dict[str, str]:
    """Return path → SHA-256 of every file."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}


def unfinished_in(folder: Path) -> list[Path]:
    """Return what writers should have removed: unfinished files and folders, and locks."""
    return [p for p in folder.rglob(".*") if p.suffix in (UNFINISHED_SUFFIX, ".lock")]


def _at_once(work: str, folder: Path, delays_s: dict[int, float]) -> list[str]:
    """Let some writers begin after their delays, each in a process of its own."""
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    writers = [
        context.Process(target=_one, args=(work, folder, who, delay_s, answers))
        for who, delay_s in delays_s.items()
    ]
    for process in writers:
        process.start()
    said = sorted(answers.get(timeout=300) for _ in writers)
    for process in writers:
        process.join()
    return said


def import_for(work: str) -> None:
    """Import what a work needs, before its processes are forked."""
    for module in IMPORTED.get(work, ()):
        import_module(module)


def run(work: str, pairs: int) -> Counter[str]:
    """Let pairs of processes do one work; count how it ended."""
    outcomes: Counter[str] = Counter()
    import_for(work)
    with tempfile.TemporaryDirectory() as made:

        @functools.cache
        def alone(who: int) -> tuple[dict[str, str], float]:
            folder, begun = Path(made) / str(who) / "out", time.monotonic()
            if (said := _at_once(work, folder, {who: 0.0})) != ["ok"]:
                raise RuntimeError(f"{work}: {said}")
            return bytes_of(folder), time.monotonic() - begun

        for pair in range(pairs):
            folder = Path(made) / f"pair{pair}" / "out"
            said = _at_once(work, folder, {1: 0.0, 2: pair and alone(1)[1] * pair / pairs})
            found = bytes_of(folder)
            whole = any(found == alone(who)[0] for who in (1, 2))
            left = unfinished_in(folder.parent)
            state = "whole" if whole else "MIXED"
            outcomes[f"{state}: {' and '.join(said)}{', LEFTOVERS' * bool(left)}"] += 1
    return outcomes


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 1 if a folder was a mixture or something unfinished was left."""
    prog = "python -m benchmarks.safety.two_writers"
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("--pairs", type=int, default=20, help="of each work (default: 20)")
    parser.add_argument("--work", action="append", choices=list(WORKS), help="only this")
    given = parser.parse_args(arguments)
    return tell_outcomes(given.work or WORKS, partial(run, pairs=given.pairs), BAD)


def tell_outcomes(
    works: Iterable[str], run_one: Callable[[str], Counter[str]], bad: Sequence[str]
) -> int:
    """Run works and print how they ended; 1 if any outcome has one of the bad words."""
    os.environ["SOURCE_DATE_EPOCH"] = "0"
    is_bad = False
    for work in works:
        outcomes = run_one(work)
        is_bad |= any(word in told for told in outcomes for word in bad)
        print(f"{work}: {dict(outcomes)}", flush=True)
    return int(is_bad)

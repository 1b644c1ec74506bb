"""Two processes write one folder at once, many times: whole, mixed or refused, counted.

``python -m benchmarks.two_writers [--pairs 20]`` does so for exports, placements by hand
and evolutions that are begun twice. A folder is whole when all its files are of one writer.
"""

from __future__ import annotations

import sys

from core import start

if __name__ == "__main__":
    sys.exit(start.run("benchmarks.two_writers"))

import argparse
import multiprocessing
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import UserError
from core.files import UNFINISHED_SUFFIX, writes_alone
from core.insilico.resumable import claim_folder
from core.source_tables.placement import choose_files, files_of, place
from core.source_tables.provenance import Provenance, read_provenance
from core.source_tables.reader import SourceData, Table, write_tables

_MEMBERS = [
    {"window": (start, start + 10), "space": space}
    for start in range(0, 200, 10)
    for space in ("DeePSim", "BigGAN")
]
_KEY = "Fig5/window_response_mean"


def _export(folder: Path, who: float) -> None:
    tables = [Table(_KEY, np.full((60, 56), who), member) for member in _MEMBERS]
    write_tables(folder, "Fig5", tables, Provenance("recordings", {"who": str(who)}))


def _place(folder: Path, who: float) -> None:
    source = folder.with_name(f"given{who}")
    if not source.exists():
        _export(source, who)
    with files_of(source) as found:
        place(choose_files(found)[0], folder, Provenance("found"), force=True)


@writes_alone("folder")
def _evolve(folder: Path, who: float) -> None:
    claim_folder(folder, {"who": who}, resume=False)
    for number in range(20):
        (folder / f"{number}.txt").write_text(str(who))
        time.sleep(0.005)


def _tables_of(folder: Path) -> set[str]:
    source = SourceData(folder)
    values = {str(v) for m in _MEMBERS for v in np.unique(source.read(_KEY, **m))}
    noted = read_provenance(folder / "Fig5")
    files = {origin.details.get("who", "") for origin in (noted, *noted.files.values())}
    return values | {who for who in files if who}


def _results_of(folder: Path) -> set[str]:
    return {path.read_text() for path in folder.glob("*.txt")}


WORKS: dict[str, tuple[Callable[[Path, float], None], Callable[[Path], set[str]]]] = {
    "export": (_export, _tables_of),
    "placing by hand": (_place, _tables_of),
    "evolution": (_evolve, _results_of),
}


def _one(work: Callable[[Path, float], None], folder: Path, who: float, wait_s: float,
         answers: Any) -> None:  # fmt: skip
    time.sleep(wait_s)
    try:
        work(folder, who)
        answers.put("ok")
    except UserError:
        answers.put("refused")


def run(name: str, pairs: int) -> Counter[str]:
    """Let pairs of processes do one work, the second a little later each time; count outcomes."""
    work, read = WORKS[name]
    outcomes: Counter[str] = Counter()
    context = multiprocessing.get_context("fork")
    for pair in range(pairs):
        with tempfile.TemporaryDirectory() as scratch:
            folder, answers = Path(scratch) / "out", context.Queue()
            both = [
                context.Process(target=_one, args=(work, folder, who, wait_s, answers))
                for who, wait_s in ((1.0, 0.0), (2.0, 0.03 * pair))
            ]
            for process in both:
                process.start()
            said = sorted(answers.get(timeout=300) for _ in both)
            for process in both:
                process.join()
            left = [n for _, _, names in os.walk(scratch) for n in names if UNFINISHED_SUFFIX in n]
            state = "whole" if len(read(folder)) == 1 else "MIXED"
            outcomes[f"{state}, {' and '.join(said)}{', leftovers' * bool(left)}"] += 1
    return outcomes


def main() -> int:
    """Run the command line; 1 if a folder was a mixture or something unfinished was left."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.two_writers", description=__doc__)
    parser.add_argument("--pairs", type=int, default=20, help="of each work (default: 20)")
    given = parser.parse_args()
    bad = False
    for name in WORKS:
        outcomes = run(name, given.pairs)
        bad |= any("MIXED" in outcome or "leftovers" in outcome for outcome in outcomes)
        print(f"{name}: {dict(outcomes)}", flush=True)
    return int(bad)

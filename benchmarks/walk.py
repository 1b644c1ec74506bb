"""The ways of a spike count to Figure 4C and of a latent code to the montage, step by step.

``python -m benchmarks.walk`` simulates two experiments (or takes ``--matroot DIR``), follows one
from the open file to the printed panel, and counts calls, changes of file, functions and files of
this project. ``--codes`` follows the codes of one paired evolution, with tiny networks, from the
optimisers to the files of the run. ``--list`` names every function.
"""

from __future__ import annotations

import sys

from core import start

if __name__ == "__main__":
    sys.exit(start.run("benchmarks.walk"))

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

import matplotlib as mpl

from core.source_tables.provenance import Provenance
from core.source_tables.reader import write_tables
from figure_reproduction.__main__ import figure_script
from figure_reproduction.page.page import PrintJob, print_figure
from neuro_data_analysis.evolution.population import Population
from neuro_data_analysis.evolution.stats import summarize
from neuro_data_analysis.evolution.tables import figure4_tables
from neuro_data_analysis.neural_data_lib import load_neural_data
from neuro_data_analysis.simulation.matroot import simulate_matroot

_ROOT = Path(__file__).resolve().parents[1]


class Walk:
    """Counts the project's functions that run inside its steps.

    Attributes
    ----------
    calls : Counter of (str, str)
        File and qualified name of each function → calls.
    """

    def __init__(self) -> None:
        self.calls: Counter[tuple[str, str]] = Counter()
        self._changes = 0
        self._last = ""

    def step(self, name: str, do: Callable[[], Any]) -> Any:
        """Run one step under observation, and print what it crossed."""
        before, self._changes = self.calls.copy(), 0
        sys.setprofile(self._see)
        try:
            return do()
        finally:
            sys.setprofile(None)
            made = self.calls - before
            files = {file for file, _ in made}
            print(
                f"{name:16} {made.total():6} calls, {self._changes:5} changes of file; "
                f"{len(_functions(made)):4} functions in {len(files):2} files"
            )

    def _see(self, frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        file = code.co_filename.removeprefix(f"{_ROOT}/")
        if event != "call" or file == code.co_filename or code.co_name == "<module>":
            return
        self.calls[file, code.co_qualname] += 1
        self._changes += file != self._last
        self._last = file


def main(arguments: Sequence[str] | None = None) -> int:
    """Follow one experiment; return an exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.walk", description=__doc__)
    parser.add_argument("--matroot", type=Path, help="recordings that exist already")
    parser.add_argument("--codes", action="store_true", help="latent codes, not spike counts")
    parser.add_argument("--list", action="store_true", help="name every function")
    given = parser.parse_args(arguments)
    mpl.use("Agg")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if given.codes:
            walk = follow_codes(folder)
        else:
            matroot = given.matroot or simulate_matroot(folder / "matroot", n_experiments=2)
            walk = follow(matroot, folder)
    files = sorted({file for file, _ in walk.calls})
    print(f"in all: {len(_functions(walk.calls))} functions in {len(files)} files")
    for file in files if given.list else ():
        print(f"{file}: {', '.join(name for other, name in walk.calls if other == file)}")
    return 0


def follow(matroot: Path, folder: Path) -> Walk:
    """Walk from a MATROOT to the printed Figure 4C."""
    walk = Walk()
    recordings = walk.step("open", lambda: load_neural_data(matroot))
    experiment = walk.step("one experiment", lambda: recordings[next(iter(recordings))])
    summary = walk.step("summary", lambda: summarize(experiment))
    population = Population((summary,), {})
    tables = walk.step("tables", lambda: list(figure4_tables(population)))
    origin = Provenance("simulated")
    walk.step("write", lambda: write_tables(folder / "tables", "Fig4", tables, origin))
    script = figure_script("Figure4")
    job = PrintJob(folder / "tables", folder / "figures", ("png",), panels=("4C",))
    walk.step("read and draw", lambda: print_figure(script, job))
    return walk


def follow_codes(folder: Path) -> Walk:
    """Walk from the settings of a paired evolution to its codes, scores and montages."""
    from core.insilico.paired_evolution.command import evolve_pairs
    from core.insilico.paired_evolution.settings import EvolutionSettings
    tiny_networks = import_module("tests.tiny_networks").tiny_networks

    walk, networks = Walk(), tiny_networks()
    settings = EvolutionSettings(
        net="tiny", layer="conv2", channels=(1, 2), steps=2, repetitions=1, population=4
    )
    walk.step("a code evolves", lambda: evolve_pairs(settings, folder / "run", networks=networks))
    return walk


def _functions(calls: Counter[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return the functions that have a name: no comprehensions, generators or lambdas."""
    return {(file, name) for file, name in calls if not name.endswith(">")}

"""The recordings at full size: simulation, calibration, reading, windows, memory.

``python -m benchmarks.recordings`` simulates all 170 experiments into a temporary folder (or takes
``--matroot DIR``), prints the simulated population beside the published one, and times our reader
against pymatreader and one pass over all time windows against one extraction per window.
"""

from __future__ import annotations

import sys

from core import start

if __name__ == "__main__":
    sys.exit(start.run("benchmarks.recordings"))

import argparse
import resource
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from core.published import EXAMPLE_EXPI
from core.source_tables.registry import EXTENDED_4C_WINDOWS
from core.spaces import BySpace, Space
from core.utils.statistics.t_tests import student
from neuro_data_analysis.evolution.population import Population, collect, success_rates
from neuro_data_analysis.evolution.stats import (
    EVOKED_MS,
    BlockResponses,
    Window,
    attributed_fractions,
    block_windows,
    count_kept_blocks,
    kept_trials,
)
from neuro_data_analysis.neural_data_lib import MAT_FILE, Experiment, load_neural_data
from neuro_data_analysis.neural_data_utils import AREAS
from neuro_data_analysis.simulation.matroot import DEFAULT_SEED, simulate_matroot
from tests.published_population import (
    PUBLISHED_4A,
    PUBLISHED_4B,
    PUBLISHED_4C,
    PUBLISHED_4D,
    PUBLISHED_5A,
    PUBLISHED_BOTH,
    PUBLISHED_EXT4B,
    SHOWN_BLOCKS,
)

REPEATS = 9

#: The windows of Figure 5C and Extended Figure 4C, and 50-200 ms.
WINDOWS = (*EXTENDED_4C_WINDOWS, EVOKED_MS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all measurements; return an exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recordings", description=__doc__)
    parser.add_argument("--matroot", type=Path, help="simulated recordings that exist already")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    parser.add_argument("--skip-peer", action="store_true", help="do not read with pymatreader")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        matroot = given.matroot or measure_simulation(Path(temporary), given.seed)
        measure_collection(matroot)
        measure_windows(matroot)
        measure_reading(matroot, with_peer=not given.skip_peer)
    return 0


def measure_simulation(folder: Path, seed: int) -> Path:
    """Simulate at full size; print seconds and megabytes."""
    wall, cpu = time.perf_counter(), time.process_time()
    simulate_matroot(folder, seed)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"simulation of 170 experiments: {wall:.0f} s (processor {cpu:.0f} s; goal < 120 s)")
    print(
        f"on disk: {size / 1e6:.0f} MB, the recording file {_megabytes(folder):.0f} MB (goal < 400)"
    )
    return folder


def measure_collection(matroot: Path) -> None:
    """Print the calibration, and time and peak memory of a process that streams the population."""
    code = (
        "import sys; from benchmarks.recordings import report_population;"
        "report_population(sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", code, str(matroot)], check=True)


def report_population(matroot: str) -> None:
    """Collect the population of a MATROOT; compare it with the published one."""
    start = time.perf_counter()
    with load_neural_data(matroot) as recordings:
        population = collect(recordings)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print_calibration(population)
    print(f"\npopulation collected in {seconds:.0f} s, peak memory {peak:.0f} MB (goal < 700)")


def measure_windows(matroot: Path) -> None:
    """Time all windows in one pass against one extraction per window, on the example."""
    with load_neural_data(matroot) as recordings:
        experiment = recordings[EXAMPLE_EXPI]
    with threadpool_limits(1):  # a busy machine stalls small products that are shared by threads
        one_pass = _seconds(lambda: _all_windows(experiment))
        again = _seconds(lambda: [block_windows(kept_trials(experiment), [w]) for w in WINDOWS])
        by_block = _seconds(lambda: [extract_window(experiment, w) for w in WINDOWS], repeats=3)
    found = _all_windows(experiment)
    slices = [*found.mean.values(), *found.sem.values()]
    ours = np.stack(slices, axis=-1)
    theirs = np.stack([extract_window(experiment, w) for w in WINDOWS])
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    print(f"\n{len(WINDOWS)} windows of Expi {EXAMPLE_EXPI} in one pass: {one_pass * 1e3:.1f} ms")
    print(f"  one extraction per window, block by block: {by_block / one_pass:.1f} × (goal ≥ 8)")
    print(f"  one extraction per window with our own code: {again / one_pass:.1f} ×")


def extract_window(experiment: Experiment, window: Window) -> NDArray[np.float64]:
    """Extract one window block by block, as the published code does: (n_blocks, 4 slices)."""
    start, stop = window
    rows = []
    for block in range(count_kept_blocks(experiment)):
        responses = [t.blocks[block].psth[start:stop].mean(axis=0) for t in experiment.threads]
        rows.append([r.mean() for r in responses] + [stats.sem(r) for r in responses])
    return np.array(rows)


def measure_reading(matroot: Path, with_peer: bool) -> None:
    """Time reading one experiment against reading the whole file with pymatreader."""
    path = matroot / MAT_FILE

    def read_one() -> Experiment:
        with load_neural_data(path) as recordings:
            return recordings[EXAMPLE_EXPI]

    ours = _seconds(read_one)
    print(f"\nopening the file and reading one experiment: {ours * 1e3:.0f} ms")
    if with_peer:
        theirs = _seconds(lambda: read_with_pymatreader(path), repeats=1)
        print(f"  whole file with pymatreader: {theirs:.0f} s, {theirs / ours:.0f} × (goal ≥ 100)")


def print_calibration(population: Population) -> None:
    """Print the simulated population beside the published one."""
    masks = population.masks
    in_area = {area: masks["valid"] & masks[f"{area}msk"] for area in AREAS}
    rates = success_rates(population)
    print(f"valid experiments: {int(masks['valid'].sum())} of {len(masks)} (published 154 of 170)")
    for space in Space:
        found = rates[f"{space.prefix}_suc"].tolist()
        print(f"4A {space}: {found} (published {PUBLISHED_4A[space]})")
    both = [int((in_area[area] & masks["bothsucc005"]).sum()) for area in AREAS]
    print(f"4C n, both p < 0.05: {both} (published {PUBLISHED_BOTH})")
    curves = {
        space: population.padded(s.trajectory.mean[space] for s in population.summaries)
        / population.normalizer[:, None]
        for space in Space
    }
    for area in AREAS:
        chosen = (in_area[area] & masks["bothsucc005"]).to_numpy()
        _print_curves(area, {space: curve[chosen] for space, curve in curves.items()})
        chosen = (in_area[area] & masks["anysucc005"]).to_numpy()
        _print_differences(area, {space: curve[chosen] for space, curve in curves.items()})
    for (area, space), published in PUBLISHED_4D.items():
        climbed = in_area[area] & masks[f"{space.prefix}succ001"]
        mean = population.time_constants.loc[climbed, f"{space.prefix}_tc0_bslinit"].mean()
        print(f"4D {area} {space}: {mean:.1f} blocks (published {published})")
    _print_responses(population)


def _print_curves(area: str, curves: BySpace[NDArray[np.float64]]) -> None:
    for space, curve in curves.items():
        published = np.array(PUBLISHED_4C[area][space.thread])
        found = curve[:, SHOWN_BLOCKS].mean(axis=0)
        off = np.abs(found - published).max()
        print(
            f"4C {area} {space} at blocks {SHOWN_BLOCKS}: {np.round(found, 2).tolist()} "
            f"(published {published.tolist()}, at most {off:.3f} away)"
        )


def _print_differences(area: str, curves: BySpace[NDArray[np.float64]]) -> None:
    deepsim, biggan = (curves[space] for space in Space)
    tests = [student(deepsim[:, b], biggan[:, b], paired=True) for b in (0, -1)]
    told = ", ".join(f"t = {test.t:.2f} (p = {test.p:.1e})" for test in tests)
    print(f"4B {area} first and last block: {told} (published t = {PUBLISHED_4B[area]})")


def _print_responses(population: Population) -> None:
    masks, normalizer = population.masks, population.normalizer[:, None]
    for (block, area, space), published in PUBLISHED_5A.items():
        chosen = (masks["valid"] & masks["anysucc005"] & masks[f"{area}msk"]).to_numpy()
        late_or_first = [s.psths[space].of_block[block] for s in population.summaries]
        mean = (np.stack(late_or_first) / normalizer)[chosen].mean(axis=0)
        off = np.abs(mean[list(published)] - list(published.values())).max()
        print(
            f"5A block {block} {area} {space}: at most {off:.2f} from the published mean"
        )
    for (area, space), expected in PUBLISHED_EXT4B.items():
        rises = np.stack([s.psths[space].rise for s in population.summaries])
        success = masks["valid"] & masks[f"{space.prefix}succ001"] & masks[f"{area}msk"]
        shares = attributed_fractions(rises[success.to_numpy()], 50)
        found = np.round(shares.mean(axis=0)[1:], 3).tolist()
        print(f"Ext4B {area} {space}, 50-ms bins from 50 ms: {found} (published {expected})")


def _all_windows(experiment: Experiment) -> BlockResponses:
    return block_windows(kept_trials(experiment), WINDOWS)



def read_with_pymatreader(path: Path) -> Any:
    """Read a whole file as a peer does."""
    import pymatreader

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns at every field that was never assigned
        return pymatreader.read_mat(str(path))


def _seconds(measured: Callable[[], Any], repeats: int = REPEATS) -> float:
    durations = []
    for _ in range(repeats):
        start = time.perf_counter()
        measured()
        durations.append(time.perf_counter() - start)
    return min(durations)  # what else the machine does only adds


def _megabytes(folder: Path) -> float:
    return (folder / MAT_FILE).stat().st_size / 1e6

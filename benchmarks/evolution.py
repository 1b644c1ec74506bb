"""Units that evolve together against one after another: DeePSim and ResNet18, untrained.

``python -m benchmarks.evolution``. Both ways take turns, generation by generation, so that noise of
the machine hits both alike. Untrained weights: the time does not depend on them.

- together: the populations of all units in one batch, `paired_evolution.runs.Evolution`.
- one after another: an evolution per unit, the same codes to begin with.

"else" is the share of the time that is neither generator nor network: optimisers, copies and, also
given apart, checkpoints.
"""

from __future__ import annotations

import sys

from core import start

if __name__ == "__main__":
    sys.exit(start.run("benchmarks.evolution"))

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.insilico.paired_evolution.files import Checkpoint
from core.insilico.paired_evolution.runs import Evolution, Run
from core.utils.CNN_scorers import TorchScorer
from core.utils.GAN_utils import upconvGAN
from core.utils.Optimizers import CODE_LENGTH, label2optimizer


@dataclass
class Seconds:
    """Time of all turns by the clock and on all processors, and of parts of them by the clock."""

    whole: list[float] = field(default_factory=list)
    processors: list[float] = field(default_factory=list)
    networks: list[float] = field(default_factory=list)
    checkpoints: list[float] = field(default_factory=list)

    def forget(self) -> None:
        """Forget what was timed so far."""
        for times in (self.whole, self.processors, self.networks, self.checkpoints):
            times.clear()


@dataclass(frozen=True)
class Timed:
    """Stands before a function and adds up the time that its calls take."""

    function: Callable[..., Any]
    device: torch.device
    spent: list[float]

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Call the function."""
        start = time.perf_counter()
        result = self.function(*arguments, **options)
        _wait(self.device)
        self.spent.append(time.perf_counter() - start)
        return result


def main(arguments: Sequence[str] | None = None) -> None:
    """Print times, their ratio, images per second, memory, and the share of everything else."""
    options = parser().parse_args(arguments)
    print(
        f"{options.units} units of {options.layer}, {options.generations} generations of "
        f"{options.population}, torch {torch.__version__}, {torch.get_num_threads()} "
        f"threads, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}"
    )
    seconds, off, device = measure(options)
    _report(options, seconds, device)
    print(f"scores agree to {off:.1e}")


def measure(options: argparse.Namespace) -> tuple[dict[str, Seconds], float, torch.device]:
    """Evolve both ways; return their times, how far their scores are apart, and the device."""
    generator = upconvGAN("fc6", pretrained=False, device=options.device)
    scorer = TorchScorer("resnet18", pretrained=False, device=options.device)
    channels, rows, columns = scorer.layer_shape(options.layer)
    units = [(channel, rows // 2, columns // 2) for channel in range(options.units)]
    if options.units > channels:
        raise SystemExit(f"layer {options.layer} has {channels} channels")
    scorer.set_units(options.layer, units)
    ways = {
        "together": [list(range(options.units))],
        "one after another": [[unit] for unit in range(options.units)],
    }
    seconds = {name: Seconds() for name in ways}
    evolutions = {
        name: [
            _evolution(generator, scorer, group, options, seconds[name].networks)
            for group in groups
        ]
        for name, groups in ways.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = {
            name: [
                Checkpoint(Path(folder) / f"{name}{i}.checkpoint.npz", evolution)
                for i, evolution in enumerate(group)
            ]
            for name, group in evolutions.items()
        }
        for generation in range(1 + options.generations):
            for name, group in evolutions.items():
                _advance(group, checkpoints[name], seconds[name], scorer.device)
                if generation == 0:  # the single first codes warm everything up
                    seconds[name].forget()
    return seconds, _difference(evolutions), scorer.device


def _advance(
    evolutions: list[Evolution],
    checkpoints: list[Checkpoint],
    seconds: Seconds,
    device: torch.device,
) -> None:
    """Run one generation, with a checkpoint, one evolution after the other."""
    start, start_cpu = time.perf_counter(), time.process_time()
    for evolution in evolutions:
        evolution.advance()
    _wait(device)
    middle = time.perf_counter()
    for checkpoint in checkpoints:
        checkpoint.save_if_due()
    end = time.perf_counter()
    seconds.whole.append(end - start)
    seconds.processors.append(time.process_time() - start_cpu)
    seconds.checkpoints.append(end - middle)


def _evolution(
    generator: upconvGAN,
    scorer: TorchScorer,
    units: list[int],
    options: argparse.Namespace,
    spent: list[float],
) -> Evolution:
    runs = [
        Run(
            name=str(unit),
            unit=unit,
            optimizer=label2optimizer(
                "CholCMA", np.random.default_rng(unit).standard_normal(CODE_LENGTH["fc6"]),
                GAN="fc6", random_seed=unit, dtype=np.float32, population_size=options.population,
            ),
            codes_kept=80,
        )
        for unit in units
    ]
    timed = _Stopwatch(generator, scorer, spent)
    return Evolution(timed, timed, runs, options.batch_size)  # type: ignore[arg-type]


class _Stopwatch:
    """Generator and network in one, timed."""

    def __init__(self, generator: upconvGAN, scorer: TorchScorer, spent: list[float]) -> None:
        self.device = generator.device
        self.visualize = Timed(generator.visualize, scorer.device, spent)
        self.score_tsr = Timed(scorer.score_tsr, scorer.device, spent)


def _report(options: argparse.Namespace, seconds: dict[str, Seconds], device: torch.device) -> None:
    n_images = options.units * options.population
    slow = seconds["one after another"]
    print(
        f"{'':20} {'s/generation':>12} {'images/s':>9} {'times faster':>13} {'by CPU':>7} "
        f"{'else':>6} {'checkpoints':>12}"
    )
    for name, spent in seconds.items():
        whole = sum(spent.whole)
        other = 1 - sum(spent.networks) / whole
        print(
            f"{name:20} {whole / len(spent.whole):12.2f} "
            f"{n_images * len(spent.whole) / whole:9.1f} {sum(slow.whole) / whole:13.2f} "
            f"{sum(slow.processors) / sum(spent.processors):7.2f} {other:6.1%} "
            f"{sum(spent.checkpoints) / whole:12.1%}"
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory of the process {peak:.2f} GiB", end="")
    if device.type == "cuda":
        print(f", of the GPU {torch.cuda.max_memory_allocated(device) / 2**30:.2f} GiB", end="")
    print()


def _difference(evolutions: dict[str, list[Evolution]]) -> float:
    """Return how far the scores of the two ways are apart, as a share of the largest."""
    together, apart = (
        np.concatenate(
            [np.concatenate(run.scores) for evolution in group for run in evolution.runs]
        )
        for group in evolutions.values()
    )
    return float(np.abs(together - apart).max() / np.abs(apart).max())


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def parser() -> argparse.ArgumentParser:
    """Return what the command line takes."""
    flags = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    flags.add_argument("--units", type=int, default=8)
    flags.add_argument("--layer", default=".layer2.BasicBlock1")
    flags.add_argument("--generations", type=int, default=3, help="that are timed")
    flags.add_argument("--population", type=int, default=40)
    flags.add_argument("--batch-size", type=int, default=40)
    flags.add_argument("--device", default="auto")
    return flags

"""Paired evolution for units of a network: the paper's experiment without a monkey.

``python -m core.insilico.paired_evolution`` evolves images for some units of a layer in DeePSim and
in BigGAN, with every optimiser label that is asked for, and leaves the files that the published
runs left. Killed at any moment, it goes on from its last generation with ``--resume``.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from core.errors import UsageError, choose_from, exit_code_of
from core.insilico.evolution import BATCH_SIZE, LAST_CODES, Evolution, Field, Noise, Run
from core.insilico.evolution_files import (
    EvolvedUnit,
    load_checkpoint,
    run_label,
    save_checkpoint,
    write_run,
)
from core.insilico.result_folder import claim_folder
from core.utils.CNN_scorers import TorchScorer
from core.utils.GAN_utils import BigGAN_wrapper, ImageGenerator, loadBigGAN, upconvGAN
from core.utils.grad_RF_estim import grad_RF_estimate
from core.utils.Optimizers import label2optimizer, optimizer_labels
from core.utils.rf_maps import gradmap2RF_square

logger = logging.getLogger(__name__)

#: The two threads, as the published files call them.
GENERATORS = ("fc6", "BigGAN")

#: What is asked of a receptive field: none (whole input), the field, or the published placement,
#: whose canvas had the generator's size and which took (x, y) for (row, column).
PLACEMENTS = ("whole", "field", "published")

#: Side of the network's input and of the generators' images, pixels.
INPUT_PIXELS, IMAGE_PIXELS = 227, 256

#: Receptive fields: random images, and the least gradient that counts (absolute, relative).
FIELD_IMAGES, FIELD_ABSOLUTE, FIELD_RELATIVE = 30, 1e-8, 0.01

#: Initial noise of BigGAN: a normal distribution cut at two standard deviations, times this.
INITIAL_TRUNCATION = 0.7


@dataclass(frozen=True)
class EvolutionSettings:
    """All that decides a paired evolution.

    Attributes
    ----------
    net, layer : str
        Network and layer, as `TorchScorer` knows them.
    channels : tuple of int
        (first, last + 1) channel, one unit each: the centre of a map.
    generators : tuple of str
        Of `GENERATORS`.
    labels : tuple of str
        Optimisers, of `core.utils.Optimizers.optimizer_labels`; a generator runs those it knows.
    steps, repetitions : int
        Generations of a run; runs of each unit, each from a first code of its own.
    placement : str
        Of `PLACEMENTS`.
    noise : Noise
        On the scores.
    population : int or None
        Codes per generation; by default the published number.
    untrained : bool
        Whether network and generators have random weights.
    biggan : str
        Version of BigGAN.
    seed : int
        Of everything random.
    """

    net: str
    layer: str
    channels: tuple[int, int]
    generators: tuple[str, ...] = GENERATORS
    labels: tuple[str, ...] = ("CholCMA",)
    steps: int = 100
    repetitions: int = 2
    placement: str = "whole"
    noise: Noise = field(default_factory=Noise)
    population: int | None = None
    untrained: bool = False
    biggan: str = "biggan-deep-256"
    seed: int = 0

    def __post_init__(self) -> None:
        first, stop = self.channels
        if not 0 <= first < stop:
            raise UsageError(f"channels {first} to {stop - 1} were asked for; give A B with A < B.")
        if self.placement not in PLACEMENTS:
            raise UsageError(choose_from(self.placement, PLACEMENTS, "placement"))
        if min(self.steps, self.repetitions) < 1:
            raise UsageError(
                f"{self.steps} steps and {self.repetitions} repetitions; give 1 or more."
            )
        for generator in self.generators:
            if generator not in GENERATORS:
                raise UsageError(choose_from(generator, GENERATORS, "generator"))
        known = {label for generator in self.generators for label in optimizer_labels(generator)}
        for label in self.labels:
            if label not in known:
                raise UsageError(choose_from(label, sorted(known), "optimiser label"))


@dataclass(frozen=True)
class Networks:
    """What a paired evolution runs on; loaded by `load_networks`, or given by a test."""

    scorer: TorchScorer
    generators: dict[str, ImageGenerator]


def load_networks(settings: EvolutionSettings, device: str = "auto") -> Networks:
    """Load the network and the generators of some settings.

    Raises
    ------
    UsageError, MissingDataError
        If one is unknown, or its weights are not here.
    """
    options: dict[str, Any] = {
        "pretrained": not settings.untrained,
        "device": device,
        "seed": settings.seed,
    }
    scorer = TorchScorer(settings.net, imgpix=INPUT_PIXELS, **options)
    generators: dict[str, ImageGenerator] = {}
    for name in settings.generators:
        if name == "BigGAN":
            generators[name] = BigGAN_wrapper(loadBigGAN(settings.biggan, **options))
        else:
            generators[name] = upconvGAN(name, **options)
    return Networks(scorer, generators)


def evolve_pairs(
    settings: EvolutionSettings,
    folder: str | Path,
    *,
    resume: bool = False,
    hessians: dict[str, str] | None = None,
    networks: Networks | None = None,
    device: str = "auto",
    batch_size: int = BATCH_SIZE,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> list[Path]:
    """Run a paired evolution and write its files.

    Parameters
    ----------
    settings : EvolutionSettings
        What to run.
    folder : path-like
        Root of the results; each unit gets a folder in it.
    resume : bool, default False
        Whether to go on with what is there.
    hessians : dict, optional
        Generator → file of its average Hessian, for labels that need one.
    networks : Networks, optional
        Loaded already; by default loaded here.
    device : str, default "auto"
        Where networks run.
    batch_size : int, default 40
        Images at a time; bounds the memory, whatever the number of units.
    progress : callable, optional
        Wraps the iteration over generations.

    Returns
    -------
    list of pathlib.Path
        The folders of the units.

    Raises
    ------
    UsageError
        If a unit, layer or label does not exist, or the folder holds other results.
    MissingDataError
        If weights or a Hessian are missing.
    CannotWriteError
        If the folder cannot be written; what was there is intact.
    """
    root = Path(folder)
    claim_folder(root, asdict(settings), resume)
    networks = networks or load_networks(settings, device)
    units = list(_units(settings, networks.scorer))
    fields = {unit: _field(settings, networks.scorer, unit) for unit in units}
    networks.scorer.set_units(settings.layer, [unit.index for unit in units])
    for name, generator in networks.generators.items():
        evolution = Evolution(
            generator,
            networks.scorer,
            list(_runs(settings, name, generator, units, fields, (hessians or {}).get(name))),
            batch_size,
        )
        checkpoint = root / f".{name}.checkpoint.npz"
        load_checkpoint(checkpoint, evolution)
        for _ in progress(range(evolution.generation, settings.steps)):
            evolution.advance()
            save_checkpoint(checkpoint, evolution)
        _write_results(settings, root, name, generator, units, evolution)
    return [root / unit.folder for unit in units]


def _units(settings: EvolutionSettings, scorer: TorchScorer) -> Iterator[EvolvedUnit]:
    """Yield one unit per channel: the centre of a map, or the channel itself."""
    shape = scorer.layer_shape(settings.layer)
    if len(shape) not in (1, 3):
        raise UsageError(
            f"layer {settings.layer!r} has an output of shape {shape}; expected a map (channels, "
            "rows, columns) or a vector of channels."
        )
    first, stop = settings.channels
    if stop > shape[0]:
        raise UsageError(
            f"channels {first} to {stop - 1} were asked for; layer {settings.layer!r} has "
            f"{shape[0]}."
        )
    for channel in range(first, stop):
        centre = (shape[1] // 2, shape[2] // 2) if len(shape) == 3 else ()
        yield EvolvedUnit(
            settings.net, settings.layer, channel, centre, settings.placement != "whole"
        )


def _field(settings: EvolutionSettings, scorer: TorchScorer, unit: EvolvedUnit) -> Field | None:
    """Find the receptive field of a unit, square and inside the input."""
    if settings.placement == "whole":
        return None
    rng = np.random.default_rng([settings.seed, unit.channel, 1])
    index = unit.index if isinstance(unit.index, tuple) else (unit.index,)
    gradients = grad_RF_estimate(
        scorer.model,
        settings.layer,
        index,
        input_size=(3, INPUT_PIXELS, INPUT_PIXELS),
        reps=FIELD_IMAGES,
        rng=rng,
    )
    (left, right), (top, bottom) = gradmap2RF_square(gradients, FIELD_ABSOLUTE, FIELD_RELATIVE)
    if settings.placement == "published":
        return Field((right - left, bottom - top), (left, top), IMAGE_PIXELS)
    return Field((bottom - top, right - left), (top, left), INPUT_PIXELS)


def _runs(
    settings: EvolutionSettings,
    generator_name: str,
    generator: ImageGenerator,
    units: list[EvolvedUnit],
    fields: dict[EvolvedUnit, Field | None],
    hessian: str | None,
) -> Iterator[Run]:
    labels = [label for label in settings.labels if label in optimizer_labels(generator_name)]
    for position, unit in enumerate(units):
        for repetition in range(settings.repetitions):
            for number, label in enumerate(labels):
                seed = [settings.seed, GENERATORS.index(generator_name), unit.channel, repetition]
                yield Run(
                    name=f"{unit.folder}/{label}/{repetition}",
                    unit=position,
                    optimizer=label2optimizer(
                        label,
                        initial_code(generator, np.random.default_rng(seed)),
                        GAN=generator_name,
                        hessian=hessian,
                        random_seed=np.random.default_rng([*seed, number, 2]),
                        dtype=np.float32,
                        population_size=settings.population,
                    ),
                    noise=settings.noise,
                    noise_seed=[*seed, number, 3],
                    place=fields[unit],
                    codes_kept=None if generator_name == "BigGAN" else LAST_CODES,
                )


def initial_code(generator: ImageGenerator, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw a first code: truncated noise and no class for BigGAN, normal numbers for DeePSim."""
    if isinstance(generator, BigGAN_wrapper):
        code = generator.sample_vector(1, class_id=0, noise_truncation=INITIAL_TRUNCATION, rng=rng)
        code[:, generator.noise_len :] = 0
    else:
        code = generator.sample_vector(1, rng=rng)
    return code[0].cpu().numpy().astype(np.float32)


def _write_results(
    settings: EvolutionSettings,
    root: Path,
    generator_name: str,
    generator: ImageGenerator,
    units: list[EvolvedUnit],
    evolution: Evolution,
) -> None:
    numbers = {unit: _run_numbers(settings, unit) for unit in units}
    for run in evolution.runs:
        _, label, repetition = run.name.rsplit("/", 2)
        unit = units[run.unit]
        number = numbers[unit][generator_name][int(repetition)]
        write_run(
            root / unit.folder,
            run,
            generator,
            run_label(label, generator_name),
            number,
            untrained=settings.untrained,
        )


def _run_numbers(settings: EvolutionSettings, unit: EvolvedUnit) -> dict[str, list[int]]:
    """Draw the five-digit numbers that tell runs apart in file names; no two are the same."""
    rng = np.random.default_rng([settings.seed, unit.channel, 4])
    drawn = rng.choice(100_000, (len(GENERATORS), settings.repetitions), replace=False)
    return dict(zip(GENERATORS, drawn.tolist(), strict=True))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 done, 1 failed, 2 usage, 3 weights or a Hessian are missing."""
    parser = argparse.ArgumentParser(
        prog="python -m core.insilico.paired_evolution",
        description="Evolve images for units of a network in DeePSim and BigGAN.",
        epilog="example: python -m core.insilico.paired_evolution --net resnet18 "
        "--layer .layer2.BasicBlock1 --chans 0 4 --steps 5 --reps 1 --population 6 --untrained "
        "--output my_evolution",
    )
    _add_arguments(parser)
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return exit_code_of(partial(_run, given))


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--net", required=True, help="network, such as resnet50")
    parser.add_argument("--layer", required=True, help="layer, such as .layer3.Bottleneck5")
    parser.add_argument(
        "--chans", required=True, type=int, nargs=2, metavar=("A", "B"), help="channels A to B - 1"
    )
    parser.add_argument("--G", nargs="+", default=GENERATORS, choices=GENERATORS, help="generators")
    parser.add_argument("--optim", nargs="+", default=("CholCMA",), metavar="LABEL")
    parser.add_argument("--steps", type=int, default=100, help="generations (default: %(default)s)")
    parser.add_argument("--reps", type=int, default=2, help="runs per unit (default: %(default)s)")
    parser.add_argument(
        "--placement",
        default="whole",
        choices=PLACEMENTS,
        help="images fill the input, or the unit's receptive field (as it should be, or as the "
        "published runs did it); default: %(default)s",
    )
    parser.add_argument("--noise", default="none", choices=("none", "gaussian", "poisson"))
    parser.add_argument("--noise-scale", type=float, default=1.0, metavar="X")
    parser.add_argument("--population", type=int, metavar="N", help="default: as published")
    parser.add_argument("--untrained", action="store_true", help="random weights, marked as such")
    parser.add_argument("--biggan", default="biggan-deep-256", metavar="VERSION")
    parser.add_argument("--hessian-fc6", metavar="FILE", help="average Hessian, for HessCMA labels")
    parser.add_argument("--hessian-BigGAN", metavar="FILE", help="the same for BigGAN")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", required=True, type=Path, metavar="DIR")
    parser.add_argument("--resume", action="store_true", help="go on with what is there")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, mps (default: auto)")
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE, metavar="N")


def _run(given: argparse.Namespace) -> None:
    settings = EvolutionSettings(
        net=given.net,
        layer=given.layer,
        channels=tuple(given.chans),
        generators=tuple(given.G),
        labels=tuple(given.optim),
        steps=given.steps,
        repetitions=given.reps,
        placement=given.placement,
        noise=Noise(given.noise, given.noise_scale),
        population=given.population,
        untrained=given.untrained,
        biggan=given.biggan,
        seed=given.seed,
    )
    hessians = {"fc6": given.hessian_fc6, "BigGAN": given.hessian_BigGAN}
    folders = evolve_pairs(
        settings,
        given.output,
        resume=given.resume,
        hessians={name: path for name, path in hessians.items() if path},
        device=given.device,
        batch_size=given.batch_size,
        progress=partial(tqdm, desc="generations", unit="gen", disable=None),
    )
    sys.stdout.writelines(f"{path}\n" for path in folders)


if __name__ == "__main__":
    sys.exit(main())

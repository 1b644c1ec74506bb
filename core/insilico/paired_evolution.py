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
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import truncnorm
from tqdm import tqdm

from core.errors import UsageError, UserError, exit_code_of
from core.insilico.evolution import BATCH_SIZE, LAST_CODES, Evolution, Field, Run
from core.insilico.evolution_files import RunFiles, load_checkpoint, save_checkpoint, write_run
from core.insilico.evolution_folders import EvolvedUnit, run_label
from core.insilico.evolution_settings import (
    GENERATORS,
    NOISES,
    PLACEMENTS,
    EvolutionSettings,
    Noise,
)
from core.insilico.result_folder import claim_folder, require_own_folder
from core.utils.CNN_scorers import TorchScorer
from core.utils.GAN_utils import BigGAN_wrapper, ImageGenerator, loadBigGAN, upconvGAN
from core.utils.grad_RF_estim import grad_RF_estimate
from core.utils.Optimizers import CODE_LENGTH, AskTellOptimizer, label2optimizer
from core.utils.rf_maps import gradmap2RF_square

#: Side of the network's input, pixels.
INPUT_PIXELS = 227

#: Receptive fields: random images, and the least gradient that counts (absolute, relative).
FIELD_IMAGES, FIELD_ABSOLUTE, FIELD_RELATIVE = 30, 1e-8, 0.01

#: Initial noise of BigGAN: normal numbers cut at two standard deviations, times this; 128 of them.
INITIAL_TRUNCATION, NOISE_LENGTH = 0.7, 128

#: Numbers of five digits, which tell runs of a unit apart in file names.
NUMBERS = 100_000

#: What random numbers are for, in the seeds of `EvolutionSettings.entropy`.
_FIELD, _NUMBER, _FIRST_CODE, _SEARCH, _NOISE = range(5)


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
    require_own_folder(root, asdict(settings), resume)
    networks = networks or load_networks(settings, device)
    units = list(_units(settings, networks.scorer))
    boxes = [_receptive_field(settings, networks.scorer, unit) for unit in units]
    networks.scorer.set_units(settings.layer, [unit.index for unit in units])
    batches = [
        _Batch.of(settings, root, name, networks, units, boxes, hessians or {}, batch_size)
        for name in settings.generators
    ]
    claim_folder(root, asdict(settings), resume)
    for batch in batches:
        batch.run(settings.steps, progress)
    return [root / unit.folder for unit in units]


@dataclass(frozen=True)
class _Batch:
    """All runs in one generator, which evolve together, and where their files go."""

    evolution: Evolution
    files: tuple[RunFiles, ...]
    generator: ImageGenerator
    untrained: bool
    checkpoint: Path

    @classmethod
    def of(
        cls,
        settings: EvolutionSettings,
        root: Path,
        name: str,
        networks: Networks,
        units: list[EvolvedUnit],
        boxes: list[Box | None],
        hessians: dict[str, str],
        batch_size: int,
    ) -> _Batch:
        generator = networks.generators[name]
        runs, files = [], []
        for position, (unit, box) in enumerate(zip(units, boxes, strict=True)):
            place = _place(settings, box, generator, networks.scorer)
            for label, repetition, number in _planned(settings, name, unit):
                optimizer = _optimizer(settings, name, unit, label, repetition, hessians.get(name))
                runs.append(
                    Run(
                        name=f"{unit.folder}/{label}/{repetition}",
                        unit=position,
                        optimizer=optimizer,
                        noise=settings.noise,
                        noise_seed=_seed(settings, name, unit, repetition, label, _NOISE),
                        place=place,
                        codes_kept=LAST_CODES if name == "fc6" else None,
                    )
                )
                files.append(RunFiles(root / unit.folder, run_label(label, name), number))
        random_weights = not generator.trained or networks.scorer.trained is False
        return cls(
            Evolution(generator, networks.scorer, runs, batch_size),
            tuple(files),
            generator,
            settings.untrained or random_weights,
            root / f".{name}.checkpoint.npz",
        )

    def run(self, steps: int, progress: Callable[[Iterable[int]], Iterable[int]]) -> None:
        """Go on from the checkpoint, if there is one; write the files; remove the checkpoint."""
        finished = all(files.archive.is_file() for files in self.files)
        if finished and not self.checkpoint.is_file():
            return
        load_checkpoint(self.checkpoint, self.evolution)
        for _ in progress(range(self.evolution.generation, steps)):
            self.evolution.advance()
            save_checkpoint(self.checkpoint, self.evolution)
        for run, files in zip(self.evolution.runs, self.files, strict=True):
            write_run(files, run, self.generator, self.untrained)
        self.checkpoint.unlink()


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
            f"{shape[0]}, numbered from 0."
        )
    for channel in range(first, stop):
        centre = (shape[1] // 2, shape[2] // 2) if len(shape) == 3 else ()
        yield EvolvedUnit(
            settings.net, settings.layer, channel, centre, settings.placement != "whole"
        )


@dataclass(frozen=True)
class Box:
    """A receptive field on the network's input, half-open, pixels."""

    left: int
    right: int
    top: int
    bottom: int


def _receptive_field(
    settings: EvolutionSettings, scorer: TorchScorer, unit: EvolvedUnit
) -> Box | None:
    """Find the receptive field of a unit, square and inside the input."""
    if settings.placement == "whole":
        return None
    try:
        gradients = grad_RF_estimate(
            scorer.model,
            settings.layer,
            unit.index,
            input_size=(3, scorer.imgpix, scorer.imgpix),
            reps=FIELD_IMAGES,
            rng=np.random.default_rng(settings.entropy(unit.channel, _FIELD)),
        )
        (left, right), (top, bottom) = gradmap2RF_square(gradients, FIELD_ABSOLUTE, FIELD_RELATIVE)
    except UserError as error:
        raise UsageError(
            f"channel {unit.channel} has no receptive field that can be found ({error}); leave it "
            "out, or show images on the whole input."
        ) from error
    return Box(left, right, top, bottom)


def _place(
    settings: EvolutionSettings, box: Box | None, generator: ImageGenerator, scorer: TorchScorer
) -> Field | None:
    """Turn a receptive field into the place of images on a canvas."""
    if box is None:
        return None
    width, height = box.right - box.left, box.bottom - box.top
    if settings.placement == "field":
        return Field((height, width), (box.top, box.left), scorer.imgpix)
    side = generator.visualize(np.zeros((1, generator.codelen), np.float32)).shape[-1]
    if max(box.right, box.bottom) > side:
        raise UsageError(
            f"the published placement puts a receptive field of the {scorer.imgpix} pixels of the "
            f"input on a canvas of the generator's {side}, where {box} does not lie; use "
            'placement "field", or a generator of larger images.'
        )
    return Field((width, height), (box.left, box.top), side)


def _planned(
    settings: EvolutionSettings, generator: str, unit: EvolvedUnit
) -> Iterator[tuple[str, int, int]]:
    """Yield label, repetition and number of the runs of a unit in a generator."""
    rng = np.random.default_rng(settings.entropy(unit.channel, _NUMBER))
    numbers = rng.choice(NUMBERS, (len(GENERATORS), settings.repetitions), replace=False)
    for repetition, number in enumerate(numbers[GENERATORS.index(generator)].tolist()):
        for label in settings.labels_of(generator):
            yield label, repetition, number


def _seed(
    settings: EvolutionSettings,
    generator: str,
    unit: EvolvedUnit,
    repetition: int,
    label: str,
    purpose: int,
) -> list[int]:
    thread = GENERATORS.index(generator)
    return [*settings.entropy(unit.channel, purpose, thread, repetition), *label.encode()]


def _optimizer(
    settings: EvolutionSettings,
    generator: str,
    unit: EvolvedUnit,
    label: str,
    repetition: int,
    hessian: str | None,
) -> AskTellOptimizer:
    """Make the optimiser of a run; those of one repetition start from the same code."""
    if label.startswith("HessCMA") and hessian is None:
        raise UsageError(
            f"optimiser {label!r} needs the average Hessian of {generator}; give "
            f"--hessian-{generator} FILE (in Python hessians={{{generator!r}: FILE}})."
        )
    first, search = (
        np.random.default_rng(_seed(settings, generator, unit, repetition, name, purpose))
        for name, purpose in (("", _FIRST_CODE), (label, _SEARCH))
    )
    return label2optimizer(
        label,
        initial_code(generator, first),
        GAN=generator,
        hessian=hessian,
        random_seed=search,
        dtype=np.float32,
        population_size=settings.population,
    )


def initial_code(generator: str, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw a first code: truncated noise and no class for BigGAN, normal numbers for DeePSim."""
    if generator == "fc6":
        return rng.standard_normal(CODE_LENGTH[generator], dtype=np.float32)
    code = np.zeros(CODE_LENGTH[generator], np.float32)
    code[:NOISE_LENGTH] = INITIAL_TRUNCATION * truncnorm.rvs(
        -2, 2, size=NOISE_LENGTH, random_state=rng
    )
    return code


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
    parser.add_argument("--noise", default="none", choices=NOISES)
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

"""From settings to runs: units, places of images, first codes, optimisers and seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from zlib import crc32

import numpy as np
import scipy
from numpy.typing import NDArray

from core.errors import UsageError, UserError
from core.insilico.paired_evolution.folders import EvolvedUnit, run_label
from core.insilico.paired_evolution.runs import LAST_CODES, Field, Run
from core.insilico.paired_evolution.settings import GENERATORS, EvolutionSettings
from core.utils.CNN_scorers import TorchScorer
from core.utils.GAN_utils import ImageGenerator
from core.utils.grad_RF_estim import grad_RF_estimate
from core.utils.layers.outputs import LayerOutput
from core.utils.Optimizers import CODE_LENGTH, AskTellOptimizer, label2optimizer
from core.utils.pictures.rf_maps import gradmap2RF_square

#: Receptive fields: random images, and the least gradient that counts (absolute, relative).
FIELD_IMAGES, FIELD_ABSOLUTE, FIELD_RELATIVE = 30, 1e-8, 0.01

#: Initial noise of BigGAN: normal numbers cut at two standard deviations, times this; 128 of them.
INITIAL_TRUNCATION, NOISE_LENGTH = 0.7, 128

#: Numbers of five digits, which tell runs of a unit apart in file names.
NUMBERS = 100_000

#: What random numbers are for, in the seeds of `EvolutionSettings.entropy`.
_FIELD, _NUMBER, _FIRST_CODE, _SEARCH, _NOISE = range(5)


def units_of(settings: EvolutionSettings, scorer: TorchScorer) -> Iterator[EvolvedUnit]:
    """Yield the units that settings ask for; a channel alone is the unit at its map's centre.

    Raises
    ------
    UsageError
        If the layer has no such channel or place, or one is named twice.
    """
    output = scorer.layer(settings.layer)
    if len(output.shape) not in (1, 3):
        raise UsageError(
            f"layer {settings.layer!r} has an output of shape {output.shape}, "
            f"{output.unit_axes}; expected a map (channels, rows, columns) or a vector of "
            "channels; of tokens, score one by evolve() or Run in Python."
        )
    if settings.channels and settings.channels[1] > output.channels:
        first, stop = settings.channels
        raise UsageError(
            f"channels {first} to {stop - 1} were asked for; layer {settings.layer!r} has "
            f"{output.channels}, numbered from 0."
        )
    seen: set[tuple[int, ...]] = set()
    for unit in settings.units or ((channel,) for channel in range(*settings.channels)):
        channel, *place = output.centre(unit[0]) if len(unit) == 1 else unit
        if not _is_in(output, (channel, *place)) or (channel, *place) in seen:
            raise UsageError(
                f"unit {','.join(map(str, unit))} was asked for; layer {settings.layer!r} has "
                f"{output}, numbered from 0, and takes each unit once."
            )
        seen.add((channel, *place))
        yield EvolvedUnit(
            settings.net, settings.layer, channel, tuple(place), settings.placement != "whole"
        )


def _is_in(output: LayerOutput, unit: tuple[int, ...]) -> bool:
    lengths = output.unit_shape
    return len(unit) == len(lengths) and all(n < m for n, m in zip(unit, lengths, strict=True))


@dataclass(frozen=True)
class Box:
    """A receptive field on the network's input, half-open, pixels."""

    left: int
    right: int
    top: int
    bottom: int


def receptive_field(
    settings: EvolutionSettings, scorer: TorchScorer, unit: EvolvedUnit
) -> Box | None:
    """Find the receptive field of a unit, square and inside the input."""
    if settings.placement == "whole":
        return None
    try:
        gradients = grad_RF_estimate(
            scorer.model, settings.layer, unit.index, input_size=scorer.input.shape,
            reps=FIELD_IMAGES, channel_axis=settings.channel_axis,
            seed=np.random.default_rng(settings.entropy(unit.channel, _FIELD)),
        )  # fmt: skip
        (left, right), (top, bottom) = gradmap2RF_square(gradients, FIELD_ABSOLUTE, FIELD_RELATIVE)
    except UserError as error:
        raise UsageError(
            f"channel {unit.channel} has no receptive field that can be found ({error}); leave it "
            "out, or show images on the whole input."
        ) from error
    return Box(left, right, top, bottom)


def place_of(
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


@dataclass(frozen=True)
class PlannedRun:
    """A run before its first generation.

    Attributes
    ----------
    run : Run
    unit : EvolvedUnit
    file_label : str
        See `core.insilico.paired_evolution.folders.run_label`.
    number : int
        Five digits that tell runs of the unit apart; optimisers of one repetition share them.
    """

    run: Run
    unit: EvolvedUnit
    file_label: str
    number: int


def planned_runs(
    settings: EvolutionSettings,
    generator: str,
    units: Sequence[EvolvedUnit],
    places: Sequence[Field | None],
    hessian: str | None = None,
    made: ImageGenerator | None = None,
) -> Iterator[PlannedRun]:
    """Yield all runs in one generator: of each unit, each repetition, each optimiser.

    Parameters
    ----------
    settings : EvolutionSettings
    generator : str
        Of `GENERATORS`.
    units : sequence of EvolvedUnit
        In the order in which the scorer reads them.
    places : sequence of Field or None
        Where images are shown, for each unit.
    hessian : str, optional
        File of the generator's average Hessian.
    made : ImageGenerator, optional
        The generator itself; needed of one's own.

    Raises
    ------
    UsageError
        If an optimiser needs a Hessian and there is none, or cannot use the one that was given.
    MissingDataError, MalformedDataError
        If the file of the Hessian is missing or damaged.
    """
    for position, (unit, place) in enumerate(zip(units, places, strict=True)):
        for repetition, number in enumerate(_numbers(settings, generator, unit)):
            seed_of = partial(_seed, settings, generator, unit, repetition)
            for label in settings.labels_of(generator):
                run = Run(
                    name=f"{unit.folder}/{label}/{repetition}",
                    unit=position,
                    optimizer=_optimizer(settings, generator, label, seed_of, hessian, made),
                    noise=settings.noise,
                    seed=seed_of(label, _NOISE),
                    place=place,
                    codes_kept=LAST_CODES if generator == "fc6" else None,
                )
                yield PlannedRun(run, unit, run_label(label, generator), number)


def _numbers(settings: EvolutionSettings, generator: str, unit: EvolvedUnit) -> list[int]:
    rng = np.random.default_rng(settings.entropy(unit.channel, _NUMBER))
    if generator not in GENERATORS:
        rng = np.random.default_rng(settings.entropy(unit.channel, _NUMBER, _thread(generator)))
        return rng.choice(NUMBERS, settings.repetitions, replace=False).tolist()
    drawn = rng.choice(NUMBERS, (len(GENERATORS), settings.repetitions), replace=False)
    return drawn[GENERATORS.index(generator)].tolist()


def _thread(generator: str) -> int:
    """Return the number by which random numbers of a generator are told apart."""
    if generator in GENERATORS:
        return GENERATORS.index(generator)
    return crc32(generator.encode())


def _seed(
    settings: EvolutionSettings,
    generator: str,
    unit: EvolvedUnit,
    repetition: int,
    label: str,
    purpose: int,
) -> list[int]:
    thread = _thread(generator)
    return [*settings.entropy(unit.channel, purpose, thread, repetition), *label.encode()]


def _optimizer(
    settings: EvolutionSettings,
    generator: str,
    label: str,
    seed_of: Callable[[str, int], list[int]],
    hessian: str | None,
    made: ImageGenerator | None,
) -> AskTellOptimizer:
    """Make the optimiser of a run; those of one repetition start from the same code."""
    if label.startswith("HessCMA") and hessian is None:
        raise UsageError(
            f"optimiser {label!r} needs the average Hessian of {generator}; give --hessian "
            f"{generator} FILE (in Python hessians={{{generator!r}: FILE}}), of `python -m "
            f"core.insilico.gan_hessians --generator {generator}`."
        )
    first = np.random.default_rng(seed_of("", _FIRST_CODE))
    own = None if generator in GENERATORS else made
    if own is None:
        code = initial_code(generator, first)
    else:
        code = own.sample_vector(1, seed=first).cpu().numpy()
    return label2optimizer(
        label, code, GAN=generator if own is None else own, hessian=hessian,
        random_seed=np.random.default_rng(seed_of(label, _SEARCH)), dtype=np.float32,
        population_size=settings.population,
    )  # fmt: skip


def initial_code(generator: str, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw a first code: truncated noise and no class for BigGAN, normal numbers for DeePSim."""
    if generator == "fc6":
        return rng.standard_normal(CODE_LENGTH[generator], dtype=np.float32)
    code = np.zeros(CODE_LENGTH[generator], np.float32)
    code[:NOISE_LENGTH] = INITIAL_TRUNCATION * scipy.stats.truncnorm.rvs(
        -2, 2, size=NOISE_LENGTH, random_state=rng
    )
    return code

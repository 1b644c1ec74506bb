"""What decides a paired evolution: settings that are checked at birth and compared as a whole."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from core.errors import UsageError, choose_from
from core.insilico.commands import flag
from core.utils.generators.named import SHORT_NAMES, full_name
from core.utils.Optimizers import optimizer_labels
from core.utils.precision import PRECISIONS

#: The two threads, as the published files call them.
GENERATORS = ("fc6", "BigGAN")

#: Labels that need gradients, which scores of many units at once do not give.
BY_GRADIENT = ("Adam",)

#: Where images are shown: on the whole input, in the unit's receptive field, or as the published
#: runs placed them, whose canvas had the size of the generator's images and which took (x, y) for
#: (row, column).
PLACEMENTS = ("whole", "field", "published")

#: Begins the names under which a folder notes the weights of networks of one's own.
WEIGHTS_OF = "weights of "

#: Variability that can be put on scores.
NOISES = ("none", "gaussian", "poisson")


@dataclass(frozen=True)
class Noise:
    """Variability of a unit's response, as a neuron has it; the optimiser sees the noisy score.

    Attributes
    ----------
    kind : {"none", "gaussian", "poisson"}
    scale : float
        Gaussian: standard deviation. Poisson: response of one event, so that the variance is
        ``scale`` times the response.
    """

    kind: str = flag("--noise", default="none", choices=NOISES, help="on the scores")
    scale: float = flag(
        "--noise-scale", default=1.0, type=float, metavar="X", help="see Noise (default: 1)"
    )

    def __post_init__(self) -> None:
        if self.kind not in NOISES:
            raise UsageError(choose_from(self.kind, NOISES, "noise"))
        if not 0 < self.scale < np.inf:
            raise UsageError(f"noise of scale {self.scale} was given; the scale is above 0.")

    def on(self, scores: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
        """Return what is measured of true responses; Poisson responses are cut at zero."""
        if self.kind == "gaussian":
            return scores + self.scale * rng.standard_normal(scores.shape)
        if self.kind == "poisson":
            events = rng.poisson(np.maximum(np.nan_to_num(scores), 0) / self.scale)
            return np.where(np.isnan(scores), np.nan, self.scale * events)
        return scores


def unit_of_text(text: str) -> tuple[int, ...]:
    """Read a unit of the command line, such as ``12`` or ``12,7,7``."""
    return tuple(int(number) for number in text.split(","))


@dataclass(frozen=True)
class EvolutionSettings:
    """All that decides a paired evolution.

    Attributes
    ----------
    net, layer : str
        Network and layer, as `TorchScorer` knows them.
    channels : tuple of int
        (first, last + 1) channel, one unit each: the centre of a map. Empty where `units` are
        given.
    generators : tuple of str
        Of `GENERATORS`, or another name of `core.utils.generators.named.generator_named`, such as
        ``module:object`` for one's own. "FaceGAN" and alike are kept under their full names.
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
    input_pixels : int or (rows, columns), optional
        Size of the network's input; by default that of its configuration, 227 in the paper.
    channel_axis : int, optional
        Axis of the layer's channels, without that of the images; by default it is found.
    precision : {"float32", "bfloat16", "tf32"}
        Of network and generators, see `core.utils.precision`; receptive fields are found in
        float32.
    units : tuple of tuple of int
        In place of `channels`, a list of units: (channel,) for the centre of its map, or (channel,
        row, column). Units of one channel share their first codes and random numbers.

    Raises
    ------
    UsageError
        If one of them is unknown or out of range, or a generator is left without an optimiser.
    """

    net: str = flag(help="network, such as resnet50")
    layer: str = flag(help="layer, such as .layer3.Bottleneck5")
    channels: tuple[int, ...] = flag(
        "--chans", default=(), type=int, nargs=2, metavar=("A", "B"), help="channels A to B - 1"
    )
    generators: tuple[str, ...] = flag(
        "--G",
        default=GENERATORS,
        nargs="+",
        help="generators: fc6, BigGAN, FaceGAN, FourierSpace, PixelSpace, or MODULE:OBJECT for one "
        "of your own (default: fc6 and BigGAN)",
    )
    labels: tuple[str, ...] = flag(
        "--optim", default=("CholCMA",), nargs="+", metavar="LABEL", help="default: CholCMA"
    )
    steps: int = flag(default=100, type=int, help="generations (default: %(default)s)")
    repetitions: int = flag(
        "--reps", default=2, type=int, help="runs per unit (default: %(default)s)"
    )
    placement: str = flag(
        default="whole",
        choices=PLACEMENTS,
        help="images fill the input, or the unit's receptive field (as it should be, or as the "
        "published runs did it); default: %(default)s",
    )
    noise: Noise = field(default_factory=Noise, metadata={"flags_of": Noise})
    population: int | None = flag(
        default=None, type=int, metavar="N", help="default: as published"
    )
    untrained: bool = flag(default=False, help="random weights, marked as such")
    biggan: str = flag(default="biggan-deep-256", metavar="VERSION", help="default: %(default)s")
    seed: int = flag(default=0, type=int)
    input_pixels: int | tuple[int, int] | None = flag(
        default=None, type=int, metavar="N", help="side of the input; default: the network's own"
    )
    channel_axis: int | None = flag(
        default=None,
        type=int,
        metavar="AXIS",
        help="axis of the layer's channels, without that of the images; default: it is found",
    )
    precision: str = flag(
        default="float32",
        choices=PRECISIONS,
        help="of networks: bfloat16 and tf32 are faster where the processor has units for them",
    )
    units: tuple[tuple[int, ...], ...] = flag(
        default=(), type=unit_of_text, nargs="+", metavar="UNIT",
        help="in place of --chans, a list: CHANNEL, or CHANNEL,ROW,COLUMN in a map",
    )  # fmt: skip

    def __post_init__(self) -> None:
        _require_units(self.channels, self.units)
        object.__setattr__(self, "generators", tuple(full_name(name) for name in self.generators))
        if min(self.steps, self.repetitions) < 1:
            raise UsageError(
                f"{self.steps} steps and {self.repetitions} repetitions were asked for; give 1 or "
                "more of each."
            )
        if self.seed < 0 or (self.population is not None and self.population < 2):
            raise UsageError(
                f"seed {self.seed} and a population of {self.population} were given; a seed is 0 "
                "or more, a population 2 or more."
            )
        pixels = self.input_pixels
        if pixels is not None and min(pixels if isinstance(pixels, tuple) else (pixels,)) < 1:
            raise UsageError(f"input of {pixels} pixels was asked for; give 1 or more.")
        _require_known([self.placement], PLACEMENTS, "placement")
        _require_known([self.precision], PRECISIONS, "precision")
        own = [name for name in self.generators if ":" in name]
        _require_known(self.generators, [*GENERATORS, *own, *SHORT_NAMES], "generator")
        known = {label for name in self.generators for label in optimizer_labels(name)}
        _require_known(self.labels, sorted(known), "optimiser label")
        for generator in self.generators:
            if not self.labels_of(generator):
                raise UsageError(
                    f"generator {generator!r} knows none of the optimisers "
                    f"{', '.join(self.labels)}; add one of "
                    f"{', '.join(optimizer_labels(generator))}, or leave the generator out."
                )

    def labels_of(self, generator: str) -> tuple[str, ...]:
        """Return the optimisers that run in a generator."""
        known = [label for label in optimizer_labels(generator) if label not in BY_GRADIENT]
        return tuple(label for label in self.labels if label in known)

    def entropy(self, channel: int, *more: int) -> list[int]:
        """Return the seed of something random of one unit, the same whatever runs beside it."""
        return [self.seed, crc32(f"{self.net} {self.layer}".encode()), channel, *more]


def _require_units(channels: tuple[int, ...], units: tuple[tuple[int, ...], ...]) -> None:
    if bool(channels) == bool(units):
        given = "both" if channels else "neither"
        raise UsageError(f"channels A B or a list of units say what to evolve for; {given} came.")
    if units:
        right = all(len(unit) in (1, 3) and min(unit) >= 0 for unit in units)
        if not right or len(set(units)) < len(units):
            told = " ".join(",".join(map(str, unit)) for unit in units)
            raise UsageError(
                f"units {told:.200} were asked for; give each once, as CHANNEL or "
                "CHANNEL,ROW,COLUMN, numbered from 0."
            )
        return
    if len(channels) != 2 or not 0 <= channels[0] < channels[1]:
        raise UsageError(
            f"channels {' '.join(map(str, channels))} were asked for; give A B with 0 <= A < B, "
            "for channels A to B - 1."
        )


def _require_known(given: Iterable[str], known: Iterable[str], what: str) -> None:
    given, known = list(given), list(known)
    for name in given:
        if name not in known:
            raise UsageError(choose_from(name, known, what))
    if len(set(given)) != len(given) or not given:
        raise UsageError(
            f"{', '.join(given) or 'no ' + what} was given; give each {what} once, and at least "
            "one."
        )

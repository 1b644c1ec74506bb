"""Paired evolution for units of a network: the paper's experiment without a monkey.

``python -m core.insilico.paired_evolution`` evolves images for some units of a layer in DeePSim and
in BigGAN, with every optimiser label that is asked for, and leaves the files that the published
runs left. Killed at any moment, it goes on from its last generation with ``--resume``.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from core.errors import UsageError
from core.files import writes_alone
from core.insilico.commands import ResumableExperiment
from core.insilico.paired_evolution.files import Checkpoint, RunFiles, SaveEvery, write_run
from core.insilico.paired_evolution.plan import place_of, planned_runs, receptive_field, units_of
from core.insilico.paired_evolution.runs import Evolution
from core.insilico.paired_evolution.settings import WEIGHTS_OF, EvolutionSettings
from core.insilico.resumable import claim_folder, require_own_folder, unfinished
from core.progress import progress
from core.utils.batching import BATCH_SIZE
from core.utils.CNN_scorers import TorchScorer
from core.utils.device import note_threads
from core.utils.GAN_utils import ImageGenerator
from core.utils.generators.named import full_name, generator_named, object_named
from core.utils.weights.digest import weights_digest

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Networks:
    """What a paired evolution runs on; loaded by `load_networks`, or given by a test."""

    scorer: TorchScorer
    generators: dict[str, ImageGenerator]

    @property
    def are_untrained(self) -> bool:
        """Whether any of them is known to have random weights."""
        return self.scorer.trained is False or not all(
            generator.trained for generator in self.generators.values()
        )

    def digests(self, of: Iterable[str]) -> dict[str, str]:
        """Return what tells the weights of some of them, by settings that say whose they are."""
        named: dict[str, Any] = {self.scorer.name: self.scorer.model, **self.generators}
        found = {name: weights_digest(named[name]) for name in of}
        return {f"{WEIGHTS_OF}{name}": digest for name, digest in found.items() if digest}


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
        "precision": settings.precision,
    }
    scorer = TorchScorer(
        settings.net, imgpix=settings.input_pixels, channel_axis=settings.channel_axis, **options,
    )  # fmt: skip
    generators = {
        name: generator_named(name, biggan=settings.biggan, **options)
        for name in settings.generators
    }
    return Networks(scorer, generators)


def own_networks(name: str, settings: EvolutionSettings, device: str) -> Networks | None:
    """Return what the function ``module:function`` loads; None without a name.

    Raises
    ------
    UsageError, MissingDataError
        If there is no such function, or it returns something else.
    """
    if not name:
        return None
    found = object_named(name, "networks")(settings, device)
    if not isinstance(found, Networks):
        raise UsageError(
            f"networks {name!r} returned a {type(found).__name__}; it returns Networks(scorer, "
            "generators) of core.insilico.paired_evolution.command."
        )
    missing = [name for name in settings.generators if name not in found.generators]
    if missing:
        raise UsageError(
            f"networks {name!r} returned generators {', '.join(found.generators) or 'none'}; the "
            f"settings also name {', '.join(missing)}."
        )
    return found


@writes_alone("folder")
def evolve_pairs(
    settings: EvolutionSettings,
    folder: str | Path,
    *,
    resume: bool = False,
    hessians: dict[str, str] | None = None,
    networks: Networks | None = None,
    device: str = "auto",
    batch_size: int | None = BATCH_SIZE,
    save_every: SaveEvery | None = None,
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
        One's own, loaded already; by default loaded here. What is gone on with has the same
        weights: their digests are noted, as are those of generators named ``module:object``.
    device : str, default "auto"
        Where networks run.
    batch_size : int or None, default 40
        Images at a time; bounds the memory, whatever the number of units. None: from the memory
        that is free when it begins.
    save_every : SaveEvery, optional
        How often a checkpoint is written; after every generation by default.
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
    require_own_folder(root, asdict(settings), resume, later=WEIGHTS_OF)
    own = [name for name in settings.generators if ":" in name]
    if networks is None:
        networks = load_networks(settings, device)
    else:
        own = [networks.scorer.name, *settings.generators]
    noted = asdict(settings) | networks.digests(own)
    require_own_folder(root, noted, resume)
    scorer = networks.scorer
    units = list(units_of(settings, scorer))
    logger.info("%s sees images as %s", scorer.name, scorer.input)
    boxes = [receptive_field(settings, scorer, unit) for unit in units]
    scorer.set_units(settings.layer, [unit.index for unit in units])
    batches = []
    for name in settings.generators:
        generator, hessian = networks.generators[name], (hessians or {}).get(name)
        places = [place_of(settings, box, generator, scorer) for box in boxes]
        plans = list(planned_runs(settings, name, units, places, hessian, generator))
        evolution = Evolution(generator, scorer, [plan.run for plan in plans], batch_size)
        files = [RunFiles(root / plan.unit.folder, plan.file_label, plan.number) for plan in plans]
        saved = root / f".{quote(name, safe='')}.checkpoint.npz"
        batches.append((Checkpoint(saved, evolution, save_every), evolution, files))
    claim_folder(root, noted, resume)
    note_threads(root)
    untrained = settings.untrained or networks.are_untrained
    failed: dict[str, str] = {}
    for checkpoint, evolution, files in batches:
        _run_batch(evolution, files, checkpoint, settings.steps, untrained, progress)
        failed |= {run.name: run.failed for run in evolution.runs if run.failed}
    if failed:
        told = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
        raise UsageError(
            f"{len(failed)} runs could not go on ({told:.500}); the others are written."
        )
    return [root / unit.folder for unit in units]


def _run_batch(
    evolution: Evolution,
    files: Sequence[RunFiles],
    checkpoint: Checkpoint,
    steps: int,
    untrained: bool,
    progress: Callable[[Iterable[int]], Iterable[int]],
) -> None:
    """Go on from the checkpoint, if there is one; write the files; remove the checkpoint."""
    if not checkpoint.path.is_file() and not unfinished(files, lambda one: one.archive):
        checkpoint.remove()  # of which a killed run may have left parts
        return
    checkpoint.load()
    for _ in progress(range(evolution.generation, steps)):
        if not evolution.healthy:
            break
        evolution.advance()
        checkpoint.save_if_due()
    checkpoint.save_if_due(is_last=True)
    for run, one in zip(evolution.runs, files, strict=True):
        if run.failed:
            continue
        write_run(one, run, evolution.generator, untrained)
        if np.ptp(np.concatenate(run.true_scores)) == 0:
            logger.warning("%s: the unit answered every image alike", one.archive)
    if len(evolution.healthy) == len(evolution.runs):  # else it says which failed, and why
        checkpoint.remove()


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--hessian-fc6", metavar="FILE", help="average Hessian, for HessCMA labels")
    parser.add_argument("--hessian-BigGAN", metavar="FILE", help="the same for BigGAN")
    parser.add_argument(
        "--hessian", nargs=2, action="append", default=[], metavar=("GENERATOR", "FILE"),
        help="the same for any generator; may be given for several",
    )  # fmt: skip
    parser.add_argument(
        "--save-every", type=int, metavar="K",
        help="write a checkpoint after K generations; a killed run loses at most K, and ends with "
        "the same files (default: 1)",
    )  # fmt: skip
    parser.add_argument(
        "--save-seconds", type=float, metavar="S",
        help="the same after S seconds; with both, whichever comes first",
    )  # fmt: skip
    parser.add_argument(
        "--networks",
        default="",
        metavar="MODULE:FUNCTION",
        help="networks of your own: the function takes these settings and a device, and returns "
        "core.insilico.paired_evolution.command.Networks; --net and --G only name them",
    )


def _save_every(given: argparse.Namespace) -> SaveEvery:
    if given.save_every is None and given.save_seconds is None:
        return SaveEvery()
    return SaveEvery(given.save_every, given.save_seconds)


def _run(settings: EvolutionSettings, given: argparse.Namespace) -> list[Path]:
    hessians: dict[str, str] = {"fc6": given.hessian_fc6, "BigGAN": given.hessian_BigGAN}
    own = {full_name(name): path for name, path in given.hessian}
    if unused := [name for name in own if name not in settings.generators]:
        raise UsageError(
            f"a Hessian of {unused[0]!r} was given; this evolution runs in "
            f"{', '.join(settings.generators)}."
        )
    hessians |= own
    return evolve_pairs(
        settings, given.output, resume=given.resume,
        hessians={name: path for name, path in hessians.items() if path},
        networks=own_networks(given.networks, settings, given.device), device=given.device,
        batch_size=given.batch_size, save_every=_save_every(given),
        progress=partial(progress, what="evolving", unit="blocks"),
    )  # fmt: skip


main = ResumableExperiment(
    module="core.insilico.paired_evolution",
    does="Evolve images for units of a network in DeePSim and BigGAN.",
    example="--net resnet18 --layer .layer2.BasicBlock1 --chans 3 7 --steps 5 --reps 1 "
    "--population 7 --untrained --biggan biggan-deep-128 --output my_evolution",
    settings=EvolutionSettings,
    run=_run,
    arguments=_add_arguments,
    batch_size=BATCH_SIZE,
).main

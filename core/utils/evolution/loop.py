"""One call for a closed loop: a generator draws, something answers, an optimiser learns.

>>> from core.utils import TorchScorer, evolve, objectives
>>> from core.utils.generators.image_spaces import FourierSpace
>>> scorer = TorchScorer("resnet18", pretrained=False, device="cpu", imgpix=32)
>>> unit = objectives.unit(scorer, "fc", 3)
>>> result = evolve(unit, FourierSpace(32, 4), generations=3, population=6, progress=False)
>>> result.best_image.shape
(32, 32, 3)
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload
from zlib import crc32

import numpy as np
from torch import nn
from tqdm import tqdm

from core.errors import UsageError
from core.utils.batching import BATCH_SIZE, batch_from_memory
from core.utils.device import note_threads, side_by_side
from core.utils.evolution.result import EvolutionResult
from core.utils.evolution.saving import EvolutionFolder, tell_optimizer
from core.utils.evolution.scoring import Answers, answers_of, as_objective
from core.utils.evolution.stopping import Stop
from core.utils.evolution.threads import (
    ONLY,
    CodeArray,
    Thread,
    described,
    require_optimizer,
)
from core.utils.generators.named import generator_named
from core.utils.generators.protocol import ImageGenerator, checked
from core.utils.Optimizers import founder_wrapper, label2optimizer
from core.utils.optimizers.rank_one_cma import RankOneCMAES
from core.utils.weights.digest import weights_digest

logger = logging.getLogger(__name__)

#: What becomes of a code whose image was not shown.
LOST = ("rank", "again")

#: How often the lost images of a block are shown again.
ATTEMPTS = 3

#: What random numbers are for, in the seeds of a thread.
_FIRST_CODE, _SEARCH = range(2)


@overload
def evolve(
    objective: Mapping[str, Any], generator: Any, optimizer: Any = ..., *args: Any, **options: Any
) -> dict[str, EvolutionResult]: ...


@overload
def evolve(
    objective: Any, generator: Mapping[str, Any], optimizer: Any = ..., *args: Any, **options: Any
) -> dict[str, EvolutionResult]: ...


@overload
def evolve(
    objective: Any, generator: Any, optimizer: Any = ..., *args: Any, **options: Any
) -> EvolutionResult: ...


def evolve(
    objective: Any,
    generator: Any,
    optimizer: Any = "CholCMA",
    generations: int = 100,
    *,
    seed: int = 0,
    maximize: bool = True,
    population: int | None = None,
    sigma: float | None = None,
    founders: int | None = None,
    hessian: Any = None,
    lost: str = "rank",
    stop: Stop | None = None,
    save: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    batch_size: int | None = BATCH_SIZE,
    state_every: int = 1,
    watch: Callable[[dict[str, EvolutionResult]], None] | None = None,
) -> Any:
    """Evolve images for an objective.

    Parameters
    ----------
    objective : Objective, TorchScorer, rig, function, or mapping of them
        What scores images: one of `core.utils.objectives`; a scorer with a selected unit; a rig
        (`core.rig`) or one of its channels; or a function from images (n, 3, height, width) in
        0 to 1 to n numbers, NaN for what was not seen. A mapping from names runs several searches
        block by block: they share the passes of one network, or the blocks of one rig.
    generator : ImageGenerator or str, or mapping of them
        From codes to images; see `core.utils.generators.protocol` for one's own, and
        `core.utils.generators.named` for names, such as "FaceGAN" and ``module:object``.
    optimizer : str, optimiser, callable, or mapping of them
        A label (`optimizer_labels`; "Adam" for gradient ascent through generator and network), an
        optimiser of one's own, or a function of (generator, seed) that makes one.
    generations : int, default 100
        Of each search; a rule of `stop` may end it before.
    seed : int, default 0
        Of first codes and searches, for optimisers by label or function.
    maximize : bool, default True
        For optimisers by label: whether high scores are good.
    population : int, optional
        For optimisers by label: codes per generation; by default their own number.
    sigma : float, optional
        For optimisers by label: the first step size (Adam: the learning rate).
    founders : int, optional
        For labels: so many random codes are generation 0, as in the paper's experiments on
        animals; by default it is one code, as in silico.
    hessian : mapping or path, optional
        For the labels "HessCMA…": eigenpairs of the generator.
    lost : {"rank", "again"}
        A code with score NaN was not shown. "rank": the optimiser ranks those that were, with
        weights for their number. "again": the missing are shown again first, up to 3 times.
    stop : Stop, optional
        Rules that end the evolution early; several searches end together, when each has a reason.
    save : path-like, optional
        Folder that holds every block as soon as it is scored, so that a killed run goes on.
    resume : bool, default False
        Go on with what is in `save`, bit for bit.
    progress : bool, default True
        Show a bar with the latest scores, in terminals and notebooks.
    batch_size : int or None, default 40
        Images at a time in a network; a rig gets whole blocks. None: from the memory that is free.
    state_every : int, default 1
        With `save`: blocks after which the state of the optimisers is written too. A run that is
        killed loses nothing but the time of telling them up to so many blocks again.
    watch : callable, optional
        Called after every block with the results so far, by name; for live plots.

    Returns
    -------
    EvolutionResult, or dict of them by name
        Ctrl-C ends the loop and returns what there is.

    Raises
    ------
    UsageError
        If something cannot be used: shapes, labels, an objective of another network, a folder of
        another evolution, a first generation of which (nearly) nothing was shown. Of several
        searches one that cannot go on later is set aside and says so in `stopped`.
    """
    if generations < 1:
        raise UsageError(f"{generations} generations were asked for; give 1 or more.")
    if lost not in LOST:
        raise UsageError(f"lost is {lost!r}; give one of {', '.join(LOST)}.")
    made = _Making(seed, maximize, population, sigma, founders, hessian)
    threads, several = _threads(objective, generator, optimizer, made)
    folder = None
    if save is not None:
        folder = EvolutionFolder(save, _settings(threads, seed, lost), resume, state_every)
        note_threads(folder.folder)
        folder.restore(threads)
    at_once = batch_size or batch_from_memory(threads[0].generator.device)
    labels = optimizer.values() if isinstance(optimizer, Mapping) else [optimizer]
    each = side_by_side if all(isinstance(label, str) for label in labels) else _one_by_one
    loop = _Loop(threads, lost, stop or Stop(), at_once, folder, watch, each)
    loop.run(generations, progress)
    results = {thread.name: EvolutionResult(thread) for thread in threads}
    return results if several else results[ONLY]


@dataclass(frozen=True)
class _Loop:
    """Threads that go through their blocks together.

    `each` calls a function for each of them: optimisers of one's own may share what is not known.
    """

    threads: list[Thread]
    lost: str
    stop: Stop
    batch_size: int
    folder: EvolutionFolder | None
    watch: Callable[[dict[str, EvolutionResult]], None] | None
    each: Callable[..., list[Any]]

    @property
    def block(self) -> int:
        """Blocks that were told."""
        return max(len(thread.scores) for thread in self.threads)

    def run(self, generations: int, progress: bool) -> None:
        """Advance until the last generation, a rule, or Ctrl-C."""
        bar = tqdm(total=generations, initial=self.block, disable=not progress, unit="gen")
        reason = f"all {generations} generations"
        try:
            with bar:
                while self.block < generations:
                    if reasons := self._reasons_to_stop():
                        reason = reasons
                        break
                    self.advance()
                    bar.set_postfix_str(self._latest())
                    bar.update()
        except KeyboardInterrupt:
            logger.warning("interrupted after %d generations; they are kept", self.block)
            reason = "interrupted"
        for thread in self.threads:
            thread.stopped = thread.stopped or reason

    def advance(self) -> None:
        """Score one generation of all threads, then tell all optimisers: all or nothing.

        A thread of which a later generation cannot be used is set aside as it stands, and the
        others go on. In the first generation, of all threads, or of a rig, it is an error.
        """
        threads = self._going
        populations = self.each(Thread.ask, threads)
        answers = self._answers(threads, populations)
        scored = list(zip(threads, populations, answers, strict=True))
        problems = {thread.name: told for thread, _, a in scored if (told := _problem(thread, a))}
        at_rig = any(t.name in problems and hasattr(t.objective, "rig") for t in threads)
        if problems and (not self.block or at_rig or len(problems) == len(threads)):
            name, told = next(iter(problems.items()))
            raise UsageError(f"thread {name}: {told} Nobody was told of generation {self.block}.")
        usable = [(t, codes, answer) for t, codes, answer in scored if t.name not in problems]
        with _uninterrupted():
            if self.folder:
                self.folder.save_block(self.block, usable, problems)
            for thread in threads:
                if thread.name in problems:
                    thread.fail(problems[thread.name])
                    logger.warning("%s %s; the others go on", thread.name, thread.stopped)
            self.each(_take, usable)
            if self.folder:
                self.folder.save_state(self.threads)
        if self.watch:
            self.watch({thread.name: EvolutionResult(thread) for thread in self.threads})

    @property
    def _going(self) -> list[Thread]:
        """Threads that were not set aside."""
        return [thread for thread in self.threads if not thread.failed]

    def _answers(self, threads: list[Thread], populations: list[CodeArray]) -> list[Answers]:
        answers = answers_of(threads, populations, self.block, self.batch_size)
        for attempt in range(1, ATTEMPTS + 1 if self.lost == "again" else 1):
            missing = [np.isnan(answer.scores) for answer in answers]
            again = [i for i, mask in enumerate(missing) if mask.any() and not answers[i].problem]
            if not again:
                break
            found = answers_of(
                [threads[i] for i in again], [populations[i][missing[i]] for i in again],
                self.block, self.batch_size, attempt,
            )  # fmt: skip
            for i, more in zip(again, found, strict=True):
                scores = answers[i].scores.copy()
                scores[missing[i]] = more.scores
                answers[i] = replace(answers[i], scores=scores, problem=more.problem)
        return answers

    def _reasons_to_stop(self) -> str:
        """Return why to end, if every thread has a reason; each keeps its own."""
        budget = self.stop.images
        going = self._going
        for thread in going:
            n_next = getattr(thread.optimizer, "n_asked", 1)
            if budget is not None and thread.n_images + n_next > budget:
                thread.stopped = f"budget of {budget} images"
            else:
                found = self.stop.reason(thread.scores, thread.spreads, thread.maximize)
                thread.stopped = found or ""
        if all(thread.stopped for thread in going):
            return going[0].stopped
        for thread in going:
            thread.stopped = ""
        return ""

    def _latest(self) -> str:
        parts = []
        for thread in self._going[:3]:
            scores = thread.scores[-1]
            mean = np.nanmean(scores) if not np.isnan(scores).all() else np.nan
            name = "" if thread.name == ONLY else f"{thread.name} "
            parts.append(f"{name}score {mean:.3g}")
        return ", ".join(parts)


@dataclass(frozen=True)
class _Making:
    """How optimisers are made for threads that name them by a label or a function."""

    seed: int
    maximize: bool
    population: int | None
    sigma: float | None
    founders: int | None
    hessian: Any

    def optimizer(self, given: Any, generator: ImageGenerator, name: str) -> Any:
        """Return the optimiser of a thread."""
        entropy = [self.seed, crc32(name.encode())]
        if isinstance(given, str):
            first = np.random.default_rng([*entropy, _FIRST_CODE])
            codes = generator.sample_vector(self.founders or 1, seed=first).cpu().numpy()
            made = label2optimizer(
                given, codes[:1], GAN=generator, hessian=self.hessian,
                random_seed=np.random.default_rng([*entropy, _SEARCH]), maximize=self.maximize,
                dtype=np.float32, population_size=self.population, init_sigma=self.sigma,
            )  # fmt: skip
            if not self.founders:
                return made
            if isinstance(made, RankOneCMAES):
                made.init_code = None  # the founders are the start
            return founder_wrapper(made, codes)
        if isinstance(given, type) or (callable(given) and not hasattr(given, "ask")):
            given = given(generator, np.random.default_rng([*entropy, _SEARCH]))
        return require_optimizer(given, name)


def _threads(
    objective: Any, generator: Any, optimizer: Any, making: _Making
) -> tuple[list[Thread], bool]:
    """Lay out the threads; what is no mapping is shared by all of them."""
    given = {"objective": objective, "generator": generator, "optimizer": optimizer}
    mappings = {what: value for what, value in given.items() if isinstance(value, Mapping)}
    names = list(next(iter(mappings.values()), {ONLY: None}))
    for what, mapping in mappings.items():
        if set(mapping) != set(names) or not names:
            raise UsageError(
                f"the mappings name different threads: {what} has {', '.join(mapping) or 'none'}, "
                f"another has {', '.join(names)}; give each the same names."
            )
    is_shared = not isinstance(optimizer, Mapping | str) and hasattr(optimizer, "ask")
    if is_shared and len(names) > 1:
        raise UsageError(
            f"one optimiser was given for {len(names)} threads; give a label, a function that "
            "makes one, or a mapping of optimisers."
        )
    threads, loaded = [], {}
    for name in names:
        of_thread = {k: v[name] if isinstance(v, Mapping) else v for k, v in given.items()}
        own = of_thread["generator"]
        if isinstance(own, str):  # loaded once, so that threads share its passes
            if own not in loaded:
                loaded[own] = generator_named(own)
            own = loaded[own]
        made = checked(own, f"the generator of {name}")
        threads.append(
            Thread(
                name,
                as_objective(of_thread["objective"], name),
                made,
                making.optimizer(of_thread["optimizer"], made, name),
            )
        )
    return threads, bool(mappings)


def _settings(threads: Sequence[Thread], seed: int, lost: str) -> dict[str, Any]:
    """Say what decides an evolution, so that a folder is gone on with by the same one only."""
    settings: dict[str, Any] = {"seed": seed, "lost": lost}
    digests: dict[int, str] = {}
    for thread in threads:
        if not hasattr(thread.optimizer, "state_dict"):
            raise UsageError(
                f"the optimiser of {thread.name} ({type(thread.optimizer).__name__}) has no "
                "state_dict, so that a run of it cannot be resumed; leave out save."
            )
        settings[f"{thread.name}: objective"] = described(thread.objective)
        settings[f"{thread.name}: generator"] = _told(thread.generator)
        settings[f"{thread.name}: optimizer"] = type(thread.optimizer).__name__
        scorer = getattr(thread.objective, "scorer", None)
        for what, network in (("network", getattr(scorer, "model", None)),
                              ("generator", thread.generator)):
            if isinstance(network, nn.Module):
                digest = digests[id(network)] = digests.get(id(network)) or weights_digest(network)
                settings[f"{thread.name}: weights of the {what}"] = digest
    return settings


def _told(generator: ImageGenerator) -> str:
    return f"{type(generator).__name__} of {generator.codelen} numbers" + (
        "" if generator.trained else ", untrained"
    )


def _one_by_one(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    return [function(item) for item in items]


def _take(scored: tuple[Thread, CodeArray, Answers]) -> None:
    thread, codes, answer = scored
    tell_optimizer(thread.optimizer, answer.scores, answer.gradients)
    thread.remember(codes, answer.scores)


def _problem(thread: Thread, answer: Answers) -> str:
    """Say why a generation of a thread cannot be used; nothing if it can."""
    scores = answer.scores
    if answer.problem:
        return answer.problem
    if np.isinf(scores).any():
        return f"{np.isinf(scores).sum()} scores are infinite; mend the objective."
    try:
        getattr(thread.optimizer, "require_scores", lambda scores: None)(scores)
    except UsageError as error:
        return str(error)
    return ""


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Put off Ctrl-C until the block ends, so that all optimisers are told or none."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt


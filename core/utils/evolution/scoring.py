"""From the populations of several threads to their scores, in as few passes as can be."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from core.errors import UsageError
from core.utils.batching import over_batches
from core.utils.CNN_scorers import TorchScorer
from core.utils.evolution.objectives import JointObjectives, Objective
from core.utils.evolution.stopping import FloatArray
from core.utils.evolution.threads import CodeArray, Thread

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pictures:
    """The pictures of one thread in one block.

    Attributes
    ----------
    thread : str
    images : torch.Tensor, shape (n, 3, height, width)
        In 0 to 1, on the CPU.
    codes : numpy.ndarray, shape (n, codelen)
    """

    thread: str
    images: torch.Tensor
    codes: CodeArray


class ShowsBlocks(Protocol):
    """What shows pictures to something that answers, block by block: `core.rig`."""

    def show(self, block: int, shown: Sequence[Pictures], attempt: int = 0) -> list[FloatArray]:
        """Return per thread the mean responses (n, channels), NaN where nothing was shown."""


@dataclass(frozen=True)
class Answers:
    """Scores of one thread's codes; gradients where its optimiser takes them; what went wrong."""

    scores: FloatArray
    gradients: NDArray[np.float64] | None = None
    problem: str = ""


def answers_of(
    threads: Sequence[Thread],
    populations: Sequence[CodeArray],
    block: int,
    batch_size: int,
    attempt: int = 0,
) -> list[Answers]:
    """Score the codes of all threads.

    Threads of one rig are shown in one block; threads of one network and one generator share
    their passes. An error in a function of one's own, after the first block, is a problem of its
    thread alone; any other is raised, with a note that names the threads.

    Raises
    ------
    UsageError
        If an objective returns anything but one number per image; naming the thread.
    """
    answers: list[Answers | None] = [None] * len(threads)
    for way, members in _groups(threads):
        codes = [populations[i] for i in members]
        try:
            found = way([threads[i] for i in members], codes, block, batch_size, attempt)
        except Exception as error:
            names = ", ".join(threads[i].name for i in members)
            if way is _by_function and block and len(threads) > 1:
                logger.warning("thread %s failed in block %d", names, block, exc_info=True)
                found = [Answers(np.full(len(codes[0]), np.nan), problem=repr(error))]
            else:
                error.add_note(f"In block {block} of {names}; no optimiser was told of it.")
                raise
        for i, answer in zip(members, found, strict=True):
            answers[i] = answer
    return [_checked(a, t, p) for a, t, p in zip(answers, threads, populations, strict=True)]


_Way = Callable[[list[Thread], list[CodeArray], int, int, int], list[Answers]]


def _groups(threads: Sequence[Thread]) -> list[tuple[_Way, list[int]]]:
    ways: dict[str, _Way] = {"rig": _by_rig, "network": _by_network, "function": _by_function}
    groups: dict[tuple[Any, ...], list[int]] = {}
    for i, thread in enumerate(threads):
        objective = thread.objective
        if hasattr(objective, "rig"):
            key: tuple[Any, ...] = ("rig", id(objective.rig))
        elif isinstance(objective, Objective):
            key = ("network", id(objective.scorer), id(thread.generator))
        else:
            key = ("function", i)
        groups.setdefault(key, []).append(i)
    return [(ways[key[0]], members) for key, members in groups.items()]


def _by_rig(
    threads: list[Thread], populations: list[CodeArray], block: int, batch: int, attempt: int
) -> list[Answers]:
    shown = [
        Pictures(thread.name, _images(thread, codes, batch), codes)
        for thread, codes in zip(threads, populations, strict=True)
    ]
    responses = threads[0].objective.rig.show(block, shown, attempt)
    pairs = zip(threads, responses, strict=True)
    return [Answers(thread.objective.of(channels)) for thread, channels in pairs]


def _by_function(
    threads: list[Thread], populations: list[CodeArray], block: int, batch: int, attempt: int
) -> list[Answers]:
    (thread,), (codes,) = threads, populations
    if getattr(thread.optimizer, "needs_gradients", False):
        differentiable = getattr(thread.objective, "with_graph", thread.objective)
        return [_with_gradients(thread, codes, differentiable)]
    return [Answers(_numbers(thread.objective(_images(thread, codes, batch))))]


def _by_network(
    threads: list[Thread], populations: list[CodeArray], block: int, batch: int, attempt: int
) -> list[Answers]:
    """Score all codes of one generator by one network; each takes its own objective's score."""
    if any(getattr(thread.optimizer, "needs_gradients", False) for thread in threads):
        return [
            _with_gradients(thread, codes, lambda x, t=thread: t.objective(x, keep_graph=True))
            if getattr(thread.optimizer, "needs_gradients", False)
            else _by_network([thread], [codes], block, batch, attempt)[0]
            for thread, codes in zip(threads, populations, strict=True)
        ]
    codes, generator = np.concatenate(populations), threads[0].generator
    owner = np.repeat(np.arange(len(threads)), [len(p) for p in populations])
    panel = JointObjectives([thread.objective for thread in threads])

    def respond(rows: slice) -> torch.Tensor:
        images = generator.visualize(codes[rows])
        scores = torch.stack(panel(images, B=len(images)), 1)
        return scores.gather(1, torch.from_numpy(owner[rows]).to(scores.device)[:, None])[:, 0]

    with torch.no_grad():
        parts = [part for _, part in over_batches(respond, len(codes), batch)]
    scores = torch.cat(parts).double().cpu().numpy()
    bounds = np.cumsum([len(p) for p in populations])[:-1]
    return [Answers(part) for part in np.split(scores, bounds)]


def _with_gradients(thread: Thread, codes: CodeArray, score: Callable[..., Any]) -> Answers:
    """Score codes, and differentiate each score with respect to its own code."""
    rows = torch.from_numpy(codes).to(thread.generator.device).requires_grad_()
    scores = score(thread.generator.visualize(rows))
    if not isinstance(scores, torch.Tensor) or not scores.requires_grad:
        raise UsageError(
            f"thread {thread.name}: gradient ascent needs an objective and a generator that torch "
            "can differentiate; use an optimiser without gradients, such as 'CholCMA'."
        )
    (gradients,) = torch.autograd.grad(scores.sum(), rows)
    return Answers(_numbers(scores), gradients.double().cpu().numpy())


def _images(thread: Thread, codes: CodeArray, batch: int) -> torch.Tensor:
    """Make a thread's images, without gradient, on the CPU."""
    with torch.no_grad():
        parts = over_batches(
            lambda rows: thread.generator.visualize(codes[rows]).cpu(), len(codes), batch
        )
        return torch.cat([images for _, images in parts])


def _numbers(scores: Any) -> FloatArray:
    if isinstance(scores, torch.Tensor):
        return scores.detach().double().cpu().numpy()
    return np.asarray(scores, dtype=np.float64)


def _checked(answers: Answers | None, thread: Thread, codes: CodeArray) -> Answers:
    assert answers is not None  # every thread is in a group
    scores = answers.scores
    if scores.shape != (len(codes),):
        raise UsageError(
            f"thread {thread.name}: the objective returned scores of shape {scores.shape} for "
            f"{len(codes)} images; needed is one number per image."
        )
    return answers


def as_objective(objective: Any, name: str) -> Any:
    """Return what can score images: an objective, a rig's channel, or a function.

    Raises
    ------
    UsageError
        If it is none of them.
    """
    if isinstance(objective, TorchScorer):
        return SelectedUnit(objective)
    if isinstance(objective, Objective) or hasattr(objective, "rig") or callable(objective):
        return objective
    if hasattr(objective, "channel"):  # a rig: its first channel
        return objective.channel(0)
    raise UsageError(
        f"objective {objective!r} of {name} was given; give one of core.utils.objectives, a "
        "TorchScorer with a selected unit, a rig, or a function of images (n, 3, height, width)."
    )


class SelectedUnit:
    """The unit that a scorer has selected, as an objective.

    Parameters
    ----------
    scorer : TorchScorer

    Raises
    ------
    UsageError
        When it scores, if the scorer has selected none, or several.
    """

    def __init__(self, scorer: TorchScorer) -> None:
        self.scorer = scorer

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Score images without gradients."""
        return self._only(self.scorer.score_tsr(images, as_tensor=True))

    def with_graph(self, images: torch.Tensor) -> torch.Tensor:
        """Score images, and keep the graph to them."""
        return self._only(self.scorer.score_tsr_wgrad(images))

    def _only(self, scores: Any) -> torch.Tensor:
        scores = scores[0] if isinstance(scores, tuple) else scores
        if scores.ndim != 1:
            raise UsageError(
                f"the scorer has selected {scores.shape[1]} units; select one, or give objectives "
                "such as objectives.unit(scorer, layer, unit)."
            )
        return scores

    def __repr__(self) -> str:
        return f"selected unit of {self.scorer.name}"

"""Evolve images for units of a network: many runs together, one forward pass for all of them.

A run is one optimiser on one unit. The populations of all runs are generated, placed and scored as
one batch per generation; each run then takes the scores of its own codes.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from core.brief import brief
from core.errors import MalformedDataError, UsageError
from core.insilico.paired_evolution.settings import Noise
from core.utils.batching import BATCH_SIZE, batch_from_memory, map_batches
from core.utils.CNN_scorers import TorchScorer
from core.utils.device import side_by_side
from core.utils.GAN_utils import ImageGenerator
from core.utils.optimizers.ask_tell import AskTellOptimizer
from core.utils.optimizers.state import of_prefix
from core.utils.scoring.image_canvas import place_on_canvas
from core.utils.scoring.network_input import Pixels, sides

logger = logging.getLogger(__name__)

#: Published runs of DeePSim keep this many codes, the last ones.
LAST_CODES = 80


@dataclass(frozen=True)
class Field:
    """Where on the network's input an image is shown.

    Attributes
    ----------
    size, offset : tuple of int
        Rows and columns of the image; row and column of its upper left corner; pixels.
    canvas : int or (rows, columns)
        Side of the grey canvas, or both, pixels.
    """

    size: tuple[int, int]
    offset: tuple[int, int]
    canvas: Pixels

    def show(self, images: torch.Tensor) -> torch.Tensor:
        """Resize images (n, 3, height, width) to the field and put them on the canvas."""
        return place_on_canvas(images, self.size, self.offset, sides(self.canvas))


@dataclass
class Run:
    """One optimiser on one unit, and what has come of it.

    Attributes
    ----------
    name : str
        Tells it from the others of its batch.
    unit : int
        Position of its unit among those that the scorer reads.
    optimizer : AskTellOptimizer
        Asked and told in turn.
    noise : Noise
        On the scores that the optimiser is told.
    seed : sequence of int
        Of the noise; with the number of the generation it decides it, however the run is resumed.
    place : Field or None
        Where its images are shown; the whole input by default.
    codes_kept : int or None
        How many of the last codes to keep; all by default.
    scores, true_scores : list of numpy.ndarray
        Per generation, what the optimiser was told and what the unit responded.
    codes : collections.deque of numpy.ndarray
        Per generation, float32, as far back as is kept.
    best_codes : list of numpy.ndarray
        The best code of each generation, that of the lowest score when minimising.
    failed : str
        Why the run could not go on; empty otherwise. Its state is that of its last generation.
    """

    name: str
    unit: int
    optimizer: AskTellOptimizer
    noise: Noise = field(default_factory=Noise)
    seed: Sequence[int] = (0,)
    place: Field | None = None
    codes_kept: int | None = None
    scores: list[NDArray[np.float64]] = field(default_factory=list)
    true_scores: list[NDArray[np.float64]] = field(default_factory=list)
    codes: deque[NDArray[np.float32]] = field(default_factory=deque)
    best_codes: list[NDArray[np.float32]] = field(default_factory=list)
    failed: str = ""

    __repr__ = brief

    @property
    def generation(self) -> int:
        """Generations that have been scored."""
        return len(self.scores)

    def take(self, codes: NDArray[np.float32], responses: NDArray[np.float64]) -> None:
        """Tell the optimiser the scores of its codes, and remember them.

        Raises
        ------
        UsageError
            If nothing can be learnt from them, see `AskTellOptimizer.tell`; the run then stands
            where it was.
        """
        rng = np.random.default_rng([*self.seed, self.generation])
        scores = self.noise.on(responses, rng)
        if np.isnan(scores).all():
            raise UsageError(f"all {len(scores)} responses are NaN.")
        best = np.nanargmax(scores) if self.optimizer.maximize else np.nanargmin(scores)
        self.optimizer.tell(scores)
        self.scores.append(scores)
        self.true_scores.append(responses)
        self.best_codes.append(codes[best])
        self.codes.append(codes)
        if self.codes_kept is not None:
            while sum(map(len, self.codes)) - len(self.codes[0]) >= self.codes_kept:
                self.codes.popleft()

    def state_dict(self) -> dict[str, Any]:
        """Return all that the run needs to go on, as arrays, numbers and strings by name."""
        return self.position() | self.history()

    def position(self) -> dict[str, Any]:
        """Return where the run stands: `state_dict` without its history."""
        optimizer = {f"optimizer.{key}": v for key, v in self.optimizer.state_dict().items()}
        return optimizer | {"failed": self.failed} | self._codes_since(None)

    def history(self, since: int = 0) -> dict[str, NDArray[Any]]:
        """Return what is kept of every generation, from one on; parts follow each other."""
        return {
            "sizes": np.array([len(scores) for scores in self.scores[since:]], dtype=np.intp),
            "scores": np.concatenate([*self.scores[since:], np.empty(0)]),
            "true_scores": np.concatenate([*self.true_scores[since:], np.empty(0)]),
            "best_codes": np.reshape(
                np.array(self.best_codes[since:], dtype=np.float32), (-1, self._length)
            ),
            **self._codes_since(since),
        }

    def _codes_since(self, since: int | None) -> dict[str, NDArray[Any]]:
        """Return codes: the last ones belong to the position (None), all of them to history."""
        if (since is None) == (self.codes_kept is None):
            return {}
        codes = list(self.codes)[since:]
        return {
            "codes": np.concatenate([*codes, np.empty((0, self._length), np.float32)]),
            "kept": np.array([len(part) for part in codes], dtype=np.intp),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where `state_dict` was taken.

        Raises
        ------
        MalformedDataError
            If entries are missing.
        UsageError
            If the state is of another run.
        """
        try:
            sizes, kept = state["sizes"], state["kept"]
            scores = np.split(state["scores"], np.cumsum(sizes)[:-1]) if len(sizes) else []
            true = np.split(state["true_scores"], np.cumsum(sizes)[:-1]) if len(sizes) else []
            codes = np.split(state["codes"], np.cumsum(kept)[:-1]) if len(kept) else []
            best = list(state["best_codes"])
        except KeyError as error:
            raise MalformedDataError(f"the saved run {self.name} lacks {error}.") from error
        self.optimizer.load_state_dict(of_prefix(state, "optimizer."))
        self.scores, self.true_scores, self.best_codes = list(scores), list(true), best
        self.codes, self.failed = deque(codes), str(state.get("failed", ""))

    @property
    def _length(self) -> int:
        return self.optimizer.space_dimen


class Evolution:
    """Runs of one generator that go through their generations together.

    Parameters
    ----------
    generator : ImageGenerator
        From codes to images.
    scorer : TorchScorer, or anything with its `score_tsr`
        Reads the units, in the order that the runs number them (`TorchScorer.set_units`). One that
        shows images for itself, such as a rig, says by an attribute ``images_at_once`` how many it
        takes: it is then called with so many of a generation, and never twice with the same.
    runs : sequence of Run
        All at the same generation. Their optimisers are asked and told side by side, so no two may
        draw from one generator of random numbers.
    batch_size : int or None, default 40
        Images generated, and scored by a network, at a time; bounds the memory whatever the number
        of runs. None: from the memory that is free, see `batch_from_memory`.

    Attributes
    ----------
    generator : ImageGenerator
    runs : tuple of Run

    Raises
    ------
    UsageError
        If there are no runs, two share a name, they stand at different generations, or their
        images do not come to the same size.

    Examples
    --------
    >>> evolution = Evolution(generator, scorer, runs)  # doctest: +SKIP
    >>> for _ in range(100):  # doctest: +SKIP
    ...     evolution.advance()
    """

    def __init__(
        self,
        generator: ImageGenerator,
        scorer: TorchScorer,
        runs: Sequence[Run],
        batch_size: int | None = BATCH_SIZE,
    ) -> None:
        if not runs or len({run.name for run in runs}) < len(runs):
            raise UsageError(
                f"runs {', '.join(run.name for run in runs) or '(none)'} were given; give at least "
                "one, each under a name of its own."
            )
        if len({run.place.canvas if run.place else None for run in runs}) > 1:
            raise UsageError("the runs show images on canvases of different sizes; run them apart.")
        self.generator, self._scorer, self.runs = generator, scorer, tuple(runs)
        self._batch_size = batch_size or batch_from_memory(generator.device)
        self._require_together()

    @property
    def generation(self) -> int:
        """Generations that have been scored."""
        return max(run.generation for run in self.runs)

    @property
    def healthy(self) -> tuple[Run, ...]:
        """Runs that can go on."""
        return tuple(run for run in self.runs if not run.failed)

    def advance(self) -> None:
        """Score one generation of every run, and let their optimisers choose the next.

        Nobody is told before all codes are scored. A run that cannot learn from its scores is
        marked as failed, with the reason, and left where it stands; the others go on.

        Raises
        ------
        UsageError
            If no run can go on.
        """
        if not self.healthy:
            reasons = "; ".join(f"{run.name}: {run.failed}" for run in self.runs)
            raise UsageError(f"no run can go on ({reasons:.500})")
        populations = side_by_side(_asked, self.healthy)
        positions = [i for i, run in enumerate(self.runs) if not run.failed]
        owners = np.repeat(positions, [len(codes) for codes in populations])
        responses = self._responses(np.concatenate(populations), owners)
        bounds = np.cumsum([len(codes) for codes in populations])[:-1]
        scored = zip(self.healthy, populations, np.split(responses, bounds), strict=True)
        side_by_side(_take, list(scored))

    def state_dict(self) -> dict[str, Any]:
        """Return the states of all runs, by ``name/entry``."""
        return self.position() | self.history()

    def position(self) -> dict[str, Any]:
        """Return where all runs stand, by ``name/entry``; see `Run.position`."""
        return {f"{run.name}/{key}": v for run in self.runs for key, v in run.position().items()}

    def history(self, since: int = 0) -> dict[str, NDArray[Any]]:
        """Return the history of all runs from a generation on; see `Run.history`."""
        parts = {run.name: run.history(since) for run in self.runs}
        return {f"{name}/{key}": v for name, part in parts.items() for key, v in part.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where `state_dict` was taken, see `Run.load_state_dict`."""
        for run in self.runs:
            run.load_state_dict(of_prefix(state, f"{run.name}/"))
        self._require_together()

    def _require_together(self) -> None:
        if len({run.generation for run in self.healthy}) > 1:
            told = ", ".join(f"{run.name} at {run.generation}" for run in self.healthy[:5])
            raise UsageError(
                f"the runs stand at different generations ({told}); load the state of all of them, "
                "or make an Evolution for each."
            )

    def _responses(
        self, codes: NDArray[np.float32], owners: NDArray[np.intp]
    ) -> NDArray[np.float64]:
        """Return the response of each code's own unit; images never leave the device."""
        units = np.array([run.unit for run in self.runs])[owners]
        rows = OwnedCodes(self._on_device(codes), owners, self._on_device(units))
        at_once = getattr(self._scorer, "images_at_once", None)
        with torch.no_grad():
            if at_once is None:
                responses = map_batches(self._of_network, rows, self._batch_size)
            else:
                responses = torch.cat([
                    self._own(map_batches(self._images, part, self._batch_size), part)
                    for start in range(0, len(rows), at_once)
                    for part in [rows[start : start + at_once]]
                ])
        return responses.cpu().double().numpy()

    def _on_device(self, array: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(array).to(self.generator.device)

    def _of_network(self, rows: OwnedCodes) -> torch.Tensor:
        return self._own(self._images(rows), rows)

    def _images(self, rows: OwnedCodes) -> torch.Tensor:
        return self._shown(self.generator.visualize(rows.codes), rows.owners)

    def _own(self, images: torch.Tensor, rows: OwnedCodes) -> torch.Tensor:
        """Return what each image's own unit answers."""
        scores = torch.as_tensor(self._scorer.score_tsr(images, B=len(images), as_tensor=True))
        units = rows.units.to(scores.device)
        return scores.reshape(len(images), -1).gather(1, units[:, None])[:, 0]

    def _shown(self, images: torch.Tensor, owners: NDArray[np.intp]) -> torch.Tensor:
        """Place the images of each run in its field; consecutive rows belong to one run."""
        if all(run.place is None for run in self.runs):
            return images
        first = np.flatnonzero(np.diff(owners, prepend=-1))
        parts = []
        for start, stop in zip(first, [*first[1:], len(owners)], strict=True):
            place = self.runs[owners[start]].place
            part = images[start:stop]
            parts.append(part if place is None else place.show(part))
        return torch.cat(parts)


def _asked(run: Run) -> NDArray[np.float32]:
    return run.optimizer.ask().astype(np.float32, copy=False)


def _take(scored: tuple[Run, NDArray[np.float32], NDArray[np.float64]]) -> None:
    run, codes, responses = scored
    try:
        run.take(codes, responses)
    except UsageError as error:
        run.failed = str(error)
        logger.warning("%s failed in generation %d: %s", run.name, run.generation, error)


@dataclass(frozen=True)
class OwnedCodes:
    """Codes on the device, the run that each belongs to, and that run's unit, on the device."""

    codes: torch.Tensor
    owners: NDArray[np.intp]
    units: torch.Tensor

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: slice) -> OwnedCodes:
        return OwnedCodes(self.codes[rows], self.owners[rows], self.units[rows])

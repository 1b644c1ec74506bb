"""The folder of an evolution: one file per block, and where the optimisers stand.

A block is on the disk, not only in a cache of the system, before the optimisers hear of it. Killed
at any moment, be it by a reboot, the search goes on from the last block, and its files get the same
bytes as those of one that was never killed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.errors import MalformedDataError, UsageError
from core.reading.array_files import read_arrays, write_arrays
from core.settings_note import claim
from core.utils.evolution.stopping import FloatArray
from core.utils.evolution.threads import CodeArray, Thread, load_states, state_of

#: Says which evolution a folder belongs to; where the optimisers stand; one file per block.
NOTE_FILE, STATE_FILE = "evolution.json", "state.npz"
_BLOCK = re.compile(r"block(\d{3,})\.npz")


class EvolutionFolder:
    """Where an evolution is saved.

    Parameters
    ----------
    folder : path-like
    settings : mapping
        All that decides the evolution, but for its length; JSON-able.
    resume : bool
        Whether to go on with what is there.
    state_every : int, default 1
        Blocks after which it is written where the optimisers stand. The blocks themselves are
        always there: what is missing is told again.

    Raises
    ------
    UsageError
        If the folder holds another evolution, or one and `resume` is false.
    MalformedDataError
        If its note cannot be read.
    CannotWriteError
        If it cannot be written.
    """

    def __init__(
        self,
        folder: str | Path,
        settings: Mapping[str, Any],
        resume: bool,
        state_every: int = 1,
    ) -> None:
        if state_every < 1:
            raise UsageError(f"state_every is {state_every}; give 1 block or more.")
        self.folder, self._state_every = Path(folder), state_every
        note = self.folder / NOTE_FILE
        claim(
            note, settings, "evolution", resume=resume, going_on="resume=True", durable=True
        )

    def restore(self, threads: list[Thread]) -> None:
        """Bring threads to where the folder stands; note where they stand if it is new.

        Raises
        ------
        MalformedDataError
            If a file is damaged.
        """
        path = self.folder / STATE_FILE
        if not path.is_file():
            self._save_state(threads, 0)
            return
        state = _read(path)
        told = int(state.pop("told", -1))
        blocks = sorted(
            int(found[1]) for p in self.folder.iterdir() if (found := _BLOCK.fullmatch(p.name))
        )
        if told < 0 or blocks != list(range(max(told, len(blocks)))):
            raise MalformedDataError(
                f"{self.folder} holds blocks {blocks} and a state after {told}; files are missing "
                "or of another evolution. Restore them, or begin in another folder."
            )
        load_states(threads, state)
        for block in range(told):
            self._recall(threads, block)
        for block in range(told, len(blocks)):  # killed before the next state: tell them now
            self._recall(threads, block, tell=True)
        if len(blocks) > told:
            self.save_state(threads)

    def save_block(
        self,
        block: int,
        scored: Sequence[tuple[Thread, CodeArray, Any]],
        problems: Mapping[str, str],
    ) -> None:
        """Write the codes and scores of a block, before any optimiser hears of them.

        Of threads with problems, by name, only these are written.
        """
        arrays: dict[str, Any] = {f"{name}/failed": told for name, told in problems.items()}
        for thread, codes, answer in scored:
            arrays[f"{thread.name}/codes"] = codes
            arrays[f"{thread.name}/scores"] = answer.scores
            if answer.gradients is not None:
                arrays[f"{thread.name}/gradients"] = answer.gradients
        write_arrays(self._block(block), arrays, durable=True)

    def save_state(self, threads: list[Thread]) -> None:
        """Write where the optimisers stand, after they were told, if it is time."""
        told = max(len(thread.scores) for thread in threads)
        if told % self._state_every == 0:
            self._save_state(threads, told)

    def _save_state(self, threads: list[Thread], told: int) -> None:
        state = {"told": told, **state_of(threads)}
        write_arrays(self.folder / STATE_FILE, state, durable=True)

    def _block(self, block: int) -> Path:
        return self.folder / f"block{block:03d}.npz"

    def _recall(self, threads: list[Thread], block: int, tell: bool = False) -> None:
        arrays = _read(self._block(block))
        for thread in threads:
            if f"{thread.name}/failed" in arrays:
                thread.fail(str(arrays[f"{thread.name}/failed"]))
            if thread.failed:
                continue
            try:
                codes: CodeArray = arrays[f"{thread.name}/codes"]
                scores: FloatArray = arrays[f"{thread.name}/scores"]
            except KeyError as error:
                raise MalformedDataError(f"{self._block(block)} lacks {error}.") from error
            if tell:
                tell_optimizer(thread.optimizer, scores, arrays.get(f"{thread.name}/gradients"))
            thread.remember(codes, scores)


def tell_optimizer(optimizer: Any, scores: FloatArray, gradients: Any) -> None:
    """Tell an optimiser its scores, with gradients where it takes them."""
    if gradients is None:
        optimizer.tell(scores)
    else:
        optimizer.tell(scores, gradients)


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(read_arrays(path))
    except (OSError, ValueError) as error:
        raise MalformedDataError(
            f"{path} cannot be read ({error}); restore it, or begin in another folder."
        ) from error

"""Folders of resumable results: whose they are, and which cells of the experiment are finished.

A cell is whatever an experiment computes in one go (a run, a Hessian, a grid point) and writes as
one file at its end; it is finished when that file is there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from core.settings_note import claim, require_own

logger = logging.getLogger(__name__)

Cell = TypeVar("Cell")

#: Says what a folder holds the results of.
NOTE_FILE = "experiment.json"


def claim_folder(folder: str | Path, settings: Mapping[str, Any], resume: bool) -> None:
    """Note in a folder what its results are of; refuse one of another experiment, see `claim`."""
    claim(Path(folder) / NOTE_FILE, settings, "experiment", resume=resume, going_on="--resume")


def require_own_folder(
    folder: str | Path, settings: Mapping[str, Any], resume: bool, later: str = ""
) -> None:
    """Refuse a folder of another experiment, see `require_own`; write nothing."""
    note = Path(folder) / NOTE_FILE
    require_own(note, settings, "experiment", resume=resume, going_on="--resume", later=later)


def unfinished(cells: Iterable[Cell], file_of: Callable[[Cell], Path]) -> list[Cell]:
    """Return the cells whose file is not there, and log how many are."""
    cells = list(cells)
    left = [cell for cell in cells if not file_of(cell).is_file()]
    if len(left) < len(cells):
        logger.info("%d of %d cells are finished already", len(cells) - len(left), len(cells))
    return left

"""Folders of resumable results: whose they are, and which cells of the experiment are finished.

A cell is whatever an experiment computes in one go (a run, a Hessian, a grid point) and writes as
one file at its end; it is finished when that file is there.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from core.errors import MalformedDataError, UsageError
from core.files import read_json, write_json

logger = logging.getLogger(__name__)

Cell = TypeVar("Cell")

#: Says what a folder holds the results of.
NOTE_FILE = "experiment.json"


def claim_folder(folder: str | Path, settings: Mapping[str, Any], resume: bool) -> None:
    """Note in a folder what its results are of; refuse one of another experiment.

    Parameters
    ----------
    folder : path-like
        Where results go; made if need be.
    settings : mapping
        All that decides the results; JSON-able.
    resume : bool
        Whether results that are there may be gone on with.

    Raises
    ------
    UsageError, MalformedDataError
        As `require_own_folder`.
    CannotWriteError
        If the folder cannot be written.
    """
    require_own_folder(folder, settings, resume)
    note = Path(folder) / NOTE_FILE
    if not note.is_file():
        write_json(note, dict(settings))


def require_own_folder(
    folder: str | Path, settings: Mapping[str, Any], resume: bool, later: str = ""
) -> None:
    """Refuse a folder of another experiment; write nothing.

    Settings whose names begin with `later`, if that is given, are not known yet and not compared.

    Raises
    ------
    UsageError
        If the folder holds results already and `resume` is false, or those of other settings.
    MalformedDataError
        If its note cannot be read.
    """
    note = Path(folder) / NOTE_FILE
    if not note.is_file():
        return
    found, wanted = _read(note), json.loads(json.dumps(dict(settings)))
    differing = sorted(
        key
        for key in found | wanted
        if found.get(key, ...) != wanted.get(key, ...) and not (later and key.startswith(later))
    )
    if differing:
        raise UsageError(
            f"{folder} holds the results of another experiment: {', '.join(differing)} differ; "
            "give another folder."
        )
    if not resume:
        raise UsageError(
            f"{folder} holds results already; go on with --resume, or give another folder."
        )


def unfinished(cells: Iterable[Cell], file_of: Callable[[Cell], Path]) -> list[Cell]:
    """Return the cells whose file is not there, and log how many are."""
    cells = list(cells)
    left = [cell for cell in cells if not file_of(cell).is_file()]
    if len(left) < len(cells):
        logger.info("%d of %d cells are finished already", len(cells) - len(left), len(cells))
    return left


def _read(note: Path) -> dict[str, Any]:
    try:
        found = read_json(note)
    except (OSError, ValueError) as error:
        raise MalformedDataError(
            f"{note} cannot be read ({error}); give another folder."
        ) from error
    if not isinstance(found, dict):
        raise MalformedDataError(f"{note} does not hold settings; give another folder.")
    return found

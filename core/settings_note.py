"""The note that says what a folder of results holds: everything that decided them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.errors import MalformedDataError, UsageError
from core.files import plain_json, read_json, write_json


def claim(
    note: Path,
    settings: Mapping[str, Any],
    what: str,
    *,
    resume: bool,
    going_on: str,
    durable: bool = False,
) -> None:
    """Note in a folder what its results are of; refuse one of other settings.

    Parameters
    ----------
    note : pathlib.Path
        The file, in that folder.
    settings : mapping
        All that decides the results; JSON-able.
    what : str
        What the results are of, such as ``"experiment"``; for messages.
    resume : bool
        Whether results that are there may be gone on with.
    going_on : str
        How a user says so.
    durable : bool, default False
        Whether the note must be on the disk before this returns.

    Raises
    ------
    UsageError, MalformedDataError
        As `require_own`.
    CannotWriteError
        If the note cannot be written.
    """
    require_own(note, settings, what, resume=resume, going_on=going_on)
    if not note.is_file():
        write_json(note, settings, durable=durable)


def require_own(
    note: Path,
    settings: Mapping[str, Any],
    what: str,
    *,
    resume: bool,
    going_on: str,
    later: str = "",
) -> None:
    """Refuse a folder of other results, see `claim`; write nothing.

    Settings whose names begin with `later`, if that is given, are not known yet and not compared.

    Raises
    ------
    UsageError
        If the folder holds results already and `resume` is false, or those of other settings.
    MalformedDataError
        If its note cannot be read.
    """
    if not note.is_file():
        return
    found, wanted = _read(note), json.loads(json.dumps(plain_json(settings)))
    differing = sorted(
        key
        for key in found | wanted
        if found.get(key, ...) != wanted.get(key, ...) and not (later and key.startswith(later))
    )
    if differing:
        told = "; ".join(
            f"{key} was {found.get(key)!r:.80} and is {wanted.get(key)!r:.80}"
            for key in differing[:3]
        )
        raise UsageError(
            f"{note.parent} holds another {what}: {', '.join(differing)} differ ({told}); give "
            "another folder."
        )
    if not resume:
        raise UsageError(
            f"{note.parent} holds results already; go on with {going_on}, or give another folder."
        )


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

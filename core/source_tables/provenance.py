"""Where a folder of tables comes from, and how that is said on a figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from core.errors import MalformedDataError
from core.files import read_json, write_json
from core.spaces import Space

#: Written beside the tables of a figure by whatever made them.
PROVENANCE_FILE = "provenance.json"

#: Kind → (mark on the face of a figure, explanation for reports and the README).
KINDS: dict[str, tuple[str, str]] = {
    "published": ("", "the authors' source data, fetched from OSF"),
    "recordings": ("", "exported by this software from recordings"),
    "block means": ("", "computed by this software from the block means that the authors publish"),
    "simulated": ("SIMULATED", "exported from simulated recordings; not data of the paper"),
    "in_silico": (
        "IN SILICO",
        "exported from evolutions of a network's units; not data of the paper",
    ),
    "computed": ("", "computed by this software, no recordings involved"),
    "untrained": ("UNTRAINED", "computed by this software with untrained networks; not a result"),
    "found": ("", "files without a note of origin, such as a download made by hand"),
}


#: The kinds in a word or two, where they can be said shorter than by their name.
_SHORT = {
    "published": "authors' tables",
    "block means": "authors' block means",
    "found": "files of unnoted origin",
}


@dataclass(frozen=True)
class Provenance:
    """The origin of the tables in one folder.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    details : mapping of str to str
        What made them: command, seed, name of the recording file.
    files : mapping of str to Provenance
        Files of the folder that have another origin, by name.
    """

    kind: str
    details: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Provenance] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise MalformedDataError(
                f"unknown kind of provenance {self.kind!r}; known: {', '.join(KINDS)}."
            )

    @property
    def is_real(self) -> bool:
        """Whether what is computed from the tables may be held against the paper."""
        return not self.mark

    @property
    def mark(self) -> str:
        """Word to print across a figure, empty for real data."""
        return KINDS[self.kind][0]

    @property
    def explanation(self) -> str:
        """One phrase that says what the kind means."""
        return KINDS[self.kind][1]

    @property
    def space_names(self) -> dict[str, str]:
        """What figures call the spaces, by their labels, where others stand in their place."""
        keys = {shown_as(space): str(space) for space in Space}
        return {keys[key]: name for key, name in self.details.items() if key in keys}

    @property
    def line(self) -> str:
        """Say in one short line where data come from."""
        told = self.details.get("from") or self.details.get("recording")
        return f"Data: {_SHORT.get(self.kind, self.kind)}" + (f", {told}" if told else "")

    def of(self, names: Iterable[str]) -> Provenance:
        """Return the origin of some files of the folder taken together.

        Where they have several, it is the first that bears a mark, or else the first.
        """
        of_folder = replace(self, files={})
        origins = [self.files.get(name, of_folder) for name in names] or [of_folder]
        return next((origin for origin in origins if origin.mark), origins[0])


def shown_as(space: Space) -> str:
    """Return the entry of `Provenance.details` that says what stands in the place of a space."""
    return f"{space} stands for"


def read_provenance(folder: Path) -> Provenance:
    """Read the note of origin in a folder of tables; kind ``"found"`` where there is none.

    Raises
    ------
    MalformedDataError
        If the note is not one that this software writes.
    """
    path = folder / PROVENANCE_FILE
    if not path.is_file():
        return Provenance("found")
    try:
        return provenance_of_note(read_json(path))
    except (OSError, ValueError, MalformedDataError) as error:
        raise MalformedDataError(
            f"{path} is not a note of origin ({error!s:.200}); remove it or export the folder "
            "again."
        ) from error


def provenance_of_note(note: Any) -> Provenance:
    """Return the origin that the content of a note tells.

    Raises
    ------
    MalformedDataError
        If it is not the content of one that this software writes.
    """
    try:
        named = note.get("files", {})
        folder, *files = (
            Provenance(each["kind"], {name: str(told) for name, told in each["details"].items()})
            for each in (note, *named.values())
        )
        return replace(folder, files=dict(zip(named, files, strict=True)))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MalformedDataError(f"not a note of origin ({error!r:.200})") from error


def write_provenance(folder: Path, provenance: Provenance) -> None:
    """Write the note of origin into a folder of tables."""
    note: dict[str, Any] = {"kind": provenance.kind, "details": provenance.details}
    if provenance.files:
        note["files"] = {
            name: {"kind": origin.kind, "details": origin.details}
            for name, origin in provenance.files.items()
        }
    write_json(folder / PROVENANCE_FILE, note, indent=2)

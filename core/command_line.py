"""What command lines share: examples that can be pasted, names in any case, paths with ``~``."""

from __future__ import annotations

import argparse
import tempfile
import textwrap
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from core.errors import CannotWriteError, choose_from

_WIDTH = 80


def command_parser(program: str, description: str, *examples: str) -> argparse.ArgumentParser:
    """Return a parser whose help ends with examples, each on lines that can be pasted.

    Parameters
    ----------
    program : str
        What a user types, such as ``"python -m core.source_data"``.
    description : str
        What it does.
    *examples : str
        Whole commands; a long one is continued by a backslash.
    """
    return argparse.ArgumentParser(prog=program, **help_texts(description, *examples))


def help_texts(description: str, *examples: str) -> dict[str, Any]:
    """Return the arguments of `command_parser` for a subcommand's ``add_parser``."""
    shown = "\n".join(f"  {line}" for example in examples for line in example.splitlines())
    return {
        "description": textwrap.fill(description, _WIDTH),
        "epilog": f"example:\n{shown}" if examples else None,
        "formatter_class": argparse.RawDescriptionHelpFormatter,
    }


def a_path(text: str) -> Path:
    """Read a path argument; ``~`` is the user's home, also where no shell has seen to it."""
    return Path(text).expanduser()


def one_of(names: Iterable[str], what: str, also: Mapping[str, str] | None = None) -> Any:
    """Return an argument type that takes one of some names, in any case.

    Parameters
    ----------
    names : iterable of str
        The names.
    what : str
        What they name, for the refusal.
    also : mapping of str to str, optional
        Other spellings of some of them.
    """
    known = _spellings(names, also)

    def parse(text: str) -> str:
        try:
            return known[text.strip().casefold()]
        except KeyError:
            said = choose_from(text.strip(), dict.fromkeys(known.values()), what)
            raise argparse.ArgumentTypeError(said) from None

    return parse


def some_of(
    names: Iterable[str], what: str, also: Mapping[str, str] | None = None
) -> Callable[[str], tuple[str, ...]]:
    """Return an argument type that takes names separated by commas, see `one_of`."""
    parse_one = one_of(names, what, also)

    def parse(text: str) -> tuple[str, ...]:
        parts = [part for part in text.split(",") if part.strip()] or [text]
        return tuple(dict.fromkeys(parse_one(part) for part in parts))

    return parse


def require_writable(folder: str | Path) -> None:
    """Refuse a folder that cannot be written, before hours of work; nothing is left in it.

    Raises
    ------
    CannotWriteError
        If neither it nor the nearest folder above it can be written.
    """
    nearest = Path(folder).absolute()
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise CannotWriteError(
            f"cannot write {folder}: {error.strerror or error}; give another folder."
        ) from error


def _spellings(names: Iterable[str], also: Mapping[str, str] | None) -> dict[str, str]:
    every = {name: name for name in names} | dict(also or {})
    return {spelling.casefold(): name for spelling, name in every.items()}

"""Errors that a user can mend, and how a command line reports them.

Every message is one sentence or two: what was found and where, what is allowed, what to do next.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import TextIO


class UserError(Exception):
    """Something given by the user cannot be used; the message says what to do.

    Attributes
    ----------
    exit_code : int
        What a command line returns for this error: 1 failed, 2 usage, 3 missing data.
    """

    exit_code = 1

    def _render_traceback_(self) -> list[str]:
        """Show one sentence in a notebook, where IPython asks an error for its traceback."""
        return [f"error: {self}"]


class UsageError(UserError):
    """An argument is unknown or out of range."""

    exit_code = 2


class MissingDataError(UserError):
    """A folder, file, experiment or table that was asked for does not exist."""

    exit_code = 3


class MalformedDataError(UserError):
    """A file exists but does not hold what its place promises."""


class CannotWriteError(UserError):
    """A file cannot be written where it was asked for; the message says if anything changed."""


class BusyError(CannotWriteError):
    """Another process is writing there."""


def choose_from(given: object, allowed: Iterable[object], what: str) -> str:
    """Word the refusal of a name: what was given, its nearest neighbours, what is allowed.

    Parameters
    ----------
    given : object
        The name that was not found.
    allowed : iterable
        The names that exist.
    what : str
        What is being named, such as ``"layer"``.

    Returns
    -------
    str
        A sentence for an error message.
    """
    names = [str(name) for name in allowed]
    nearest = get_close_matches(str(given), names, n=3)
    hint = f" Did you mean {' or '.join(map(repr, nearest))}?" if nearest else ""
    listed = ", ".join(names[:20]) + (f", … ({len(names)} in all)" if len(names) > 20 else "")
    return f"unknown {what} {str(given)!r}.{hint} Known: {listed or 'none'}."


def printable(text: str) -> str:
    """Return a text for a terminal, on which control characters of foreign files do nothing."""
    plain = (letter.isprintable() or letter in "\n\t" for letter in text)
    shown = zip(text, plain, strict=True)
    return "".join(c if fine else c.encode("unicode_escape").decode() for c, fine in shown)


def say(text: str, stream: TextIO | None = None) -> None:
    """Write a text that may hold words of foreign files to a terminal, by default to stdout."""
    (stream or sys.stdout).write(printable(text))


class _PrintableFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def log_to_terminal() -> None:
    """Show the logs of a command line on stderr, one line each, see `printable`."""
    handler = logging.StreamHandler()
    handler.setFormatter(_PrintableFormatter("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def exit_code_of(command: Callable[[], int | None]) -> int:
    """Run a command line; turn a `UserError` into one sentence on stderr and its exit code.

    Parameters
    ----------
    command : callable
        The body of a command line; returns an exit code, or None for success.

    Returns
    -------
    int
        The exit code.
    """
    try:
        return command() or 0
    except UserError as error:
        sys.stderr.write(f"error: {printable(str(error))}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; finished files are intact, run again to continue\n")
        return 130
    except BrokenPipeError:  # the reader of our output (head, less) has gone
        sys.stderr.close()
        return 0

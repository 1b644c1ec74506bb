"""The command line that the resumable experiments share: flags are the fields of their settings."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from dataclasses import MISSING, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from core.command_line import a_path, command_parser, require_writable
from core.errors import exit_code_of, log_to_terminal

Settings = TypeVar("Settings")


def flag(name: str = "", *, default: Any = MISSING, **options: Any) -> Any:
    """Declare a field of settings that is also a flag of the command line.

    Parameters
    ----------
    name : str
        Of the flag, by default that of the field.
    default
        Of the field; without one the flag has to be given.
    **options
        Of `argparse.ArgumentParser.add_argument`, such as ``type``, ``choices`` and ``help``.
    """
    return field(default=default, metadata={"flag": name, "options": options})


def add_flags(parser: argparse.ArgumentParser, settings: type) -> None:
    """Give a parser the flags of a dataclass of settings, and of settings that are a field of it.

    The metadata of such a field name their class as ``flags_of``.
    """
    for one in fields(settings):
        if "flags_of" in one.metadata:
            add_flags(parser, one.metadata["flags_of"])
        elif "flag" in one.metadata:
            name = one.metadata["flag"] or f"--{one.name.replace('_', '-')}"
            how: dict[str, Any] = {"dest": f"{settings.__name__}.{one.name}"}
            if one.default is False:
                how["action"] = "store_true"
            else:
                how["metavar"] = None if "choices" in one.metadata["options"] else _value_of(name)
                how["default"] = None if one.default is MISSING else one.default
                how["required"] = one.default is MISSING
            parser.add_argument(name, **how | one.metadata["options"])


def settings_of(settings: type[Settings], given: argparse.Namespace) -> Settings:
    """Return the settings that flags of `add_flags` were given for.

    Raises
    ------
    UsageError
        If the settings refuse a value.
    """
    values: dict[str, Any] = {}
    for one in fields(settings):  # type: ignore[arg-type]
        if "flags_of" in one.metadata:
            values[one.name] = settings_of(one.metadata["flags_of"], given)
        elif "flag" in one.metadata:
            value = getattr(given, f"{settings.__name__}.{one.name}")
            values[one.name] = tuple(value) if isinstance(value, list) else value
    return settings(**values)


@dataclass(frozen=True)
class ResumableExperiment(Generic[Settings]):
    """A resumable experiment, as a command.

    Attributes
    ----------
    module : str
        After ``python -m``.
    does : str
        One or two sentences for ``--help``.
    example : str
        Arguments that can be pasted after the module.
    settings : type
        Dataclass of all that decides the results, its fields declared by `flag`.
    run : callable
        Settings and all arguments → the paths that were written.
    arguments : callable, optional
        Adds flags that decide how it runs, and no result.
    device : bool, default True
        Whether networks run on a device.
    batch_size : int or None
        Images at a time by default; None: it has no batches.
    """

    module: str
    does: str
    example: str
    settings: type[Settings]
    run: Callable[[Settings, argparse.Namespace], Iterable[Path]]
    arguments: Callable[[argparse.ArgumentParser], None] | None = None
    device: bool = True
    batch_size: int | None = None

    def main(self, arguments: list[str] | None = None) -> int:
        """Run the command line; 0 done, 1 failed, 2 usage, 3 weights or files are missing."""
        given = self.parser().parse_args(arguments)
        log_to_terminal()
        return exit_code_of(partial(self._print_paths, given))

    def parser(self) -> argparse.ArgumentParser:
        """Return the parser of the command line."""
        program = f"python -m {self.module}"
        parser = command_parser(program, self.does, f"{program} {self.example}")
        add_flags(parser, self.settings)
        if self.arguments is not None:
            self.arguments(parser)
        parser.add_argument(
            "--output", required=True, type=a_path, metavar="DIR", help="results go here"
        )
        parser.add_argument("--resume", action="store_true", help="go on with what is there")
        if self.device:
            parser.add_argument(
                "--device", default="auto", help="auto, cpu, cuda, mps (default: auto)"
            )
        if self.batch_size is not None:
            parser.add_argument(
                "--batch-size", type=_batch_size, default=self.batch_size, metavar="N",
                help="images at a time (default: %(default)s); auto: from the memory that is free",
            )  # fmt: skip
        return parser

    def _print_paths(self, given: argparse.Namespace) -> None:
        settings = settings_of(self.settings, given)
        require_writable(given.output)
        sys.stdout.writelines(f"{path}\n" for path in self.run(settings, given))


def _batch_size(text: str) -> int | None:
    """Read a number of images; ``auto`` is None."""
    return None if text == "auto" else int(text)


def _value_of(flag_name: str) -> str:
    """Name a value in ``--help`` after its flag, not after the field."""
    return flag_name.strip("-").replace("-", "_").upper()

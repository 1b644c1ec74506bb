"""Let a package be imported under a second name, each of its modules still loaded once."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import CodeType, ModuleType
from typing import Any


class StandIn(MetaPathFinder, Loader):
    """Finds the modules of a package under another name.

    Parameters
    ----------
    alias, real : str
        The other name, and the one under which the modules are loaded.
    """

    def __init__(self, alias: str, real: str) -> None:
        self.alias, self.real = alias, real
        self._described: dict[str, ModuleSpec | None] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Describe a module of the alias; None for any other, or where there is none."""
        if fullname != self.alias and not fullname.startswith(f"{self.alias}."):
            return None
        found = find_spec(self._real(fullname))
        if found is None:
            return None
        is_package = found.submodule_search_locations is not None
        return ModuleSpec(fullname, self, origin=found.origin, is_package=is_package)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module itself, not a copy."""
        module = import_module(self._real(spec.name))
        self._described[spec.name] = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Give the module, which has run already, its own description back."""
        alias = module.__spec__
        if alias is not None:
            module.__spec__ = self._described.pop(alias.name)

    def get_code(self, fullname: str) -> CodeType | None:
        """Return the code of a module, for ``python -m``."""
        spec = find_spec(self._real(fullname))
        loader: Any = spec.loader if spec else None
        return None if loader is None else loader.get_code(self._real(fullname))

    def _real(self, fullname: str) -> str:
        return self.real + fullname.removeprefix(self.alias)


def stand_in(alias: str, real: str) -> None:
    """Let `alias` and all below it mean the package `real`."""
    sys.meta_path.insert(0, StandIn(alias, real))

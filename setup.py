"""Put the packages of a wheel under one name, `neuron_gan`; the rest is in pyproject.toml.

In a checkout the paper's packages lie side by side, and import each other by their plain names. In
a wheel they lie inside `neuron_gan` and import each other there, so that a folder with a `core` of
its own breaks nothing; small packages of the plain names stand in for them.
"""

import re
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

OWN = "neuron_gan"
PACKAGES = ("core", "neuro_data_analysis", "figure_reproduction", "source_data_export")

_NAMES = "|".join(PACKAGES)
_DOTTED = re.compile(rf"(?<![\w./])({_NAMES})(?=\.[A-Za-z_])")
_WHOLE = re.compile(rf"^(\s*from )({_NAMES})(?= import )", re.MULTILINE)
#: Scripts that run from a checkout put its root on the path.
_ROOT = "Path(__file__).resolve().parents[1]))"

STAND_IN = '''"""The name by which the paper's code knows `{own}.{package}`."""

import sys
from importlib import import_module

from {own}.aliases import stand_in

stand_in("{package}", "{own}.{package}")
sys.modules["{package}"] = import_module("{own}.{package}")
'''


def under_one_name(text: str) -> str:
    """Return source whose imports, commands and names of modules begin with the common name."""
    text = _WHOLE.sub(rf"\1{OWN}.\2", _DOTTED.sub(rf"{OWN}.\1", text))
    return text.replace(f"sys.path.insert(0, str({_ROOT}", f"sys.path.insert(0, str({_ROOT}"
                        .replace("[1]", "[2]"))


class BuildUnderOneName(build_py):
    """Build the packages, move them, and let small ones of the plain names stand in."""

    def run(self) -> None:
        """Build; an editable installation stays as the checkout is."""
        super().run()
        if self.editable_mode:
            return
        for package in PACKAGES:
            plain, moved = Path(self.build_lib, package), Path(self.build_lib, OWN, package)
            shutil.rmtree(moved, ignore_errors=True)
            shutil.move(plain, moved)
            for path in moved.rglob("*.py"):
                path.write_text(under_one_name(path.read_text("utf-8")), "utf-8")
            plain.mkdir()
            content = STAND_IN.format(own=OWN, package=package)
            (plain / "__init__.py").write_text(content, "utf-8")


setup(cmdclass={"build_py": BuildUnderOneName})

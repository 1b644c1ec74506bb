"""Which versions of what made a result."""

from __future__ import annotations

import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

#: Name of this project as it is installed.
PROJECT = "dynamic-neuron-gan-alignment"

_LIBRARIES = ("numpy", "scipy", "pandas", "matplotlib", "seaborn", "statsmodels", "scikit-learn")


def software_versions(libraries: tuple[str, ...] = _LIBRARIES) -> dict[str, str]:
    """Return the versions of this project, of Python and of some libraries.

    Libraries that are not installed are left out.
    """
    found = {PROJECT: "not installed", "python": platform.python_version()}
    for name in (PROJECT, *libraries):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found

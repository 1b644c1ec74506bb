"""The project under a name of its own: ``neuron_gan.core.utils`` is ``core.utils``.

The paper's code calls its packages `core`, `neuro_data_analysis`, `figure_reproduction` and
`source_data_export`. In a folder that has a `core` of its own, those names mean something else;
these do not: ``from neuron_gan import TorchScorer``, ``from neuron_gan.core.utils import evolve``,
``python -m neuron_gan.core.source_data check``, or the command ``neuron-gan``.

In a checkout the packages lie beside this one, and it stands in for them. Installed from a wheel
they lie inside it, and the paper's names stand in for these (``setup.py`` moves them). Either way a
module is loaded once, under whichever names it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from neuron_gan.aliases import stand_in

#: The paper's packages.
PACKAGES = ("core", "neuro_data_analysis", "figure_reproduction", "source_data_export")

if not Path(__file__).with_name(PACKAGES[0]).is_dir():
    for _package in PACKAGES:
        stand_in(f"{__name__}.{_package}", _package)


def __getattr__(name: str) -> Any:
    """Return a name of `core.utils`, such as ``neuron_gan.TorchScorer``."""
    if name.startswith("_") or name in PACKAGES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.core.utils"), name)


def __dir__() -> list[str]:
    return sorted({*PACKAGES, *import_module(f"{__name__}.core.utils").__all__})

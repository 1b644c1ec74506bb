"""Write the golden numbers anew, and print what changed: ``python -m tests.golden``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import matplotlib as mpl

from tests import golden


def rewrite():
    """Make all figures from the small population and keep their numbers."""
    mpl.use("Agg")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source_data = golden.make_source_data(folder)
        golden.add_tuning(source_data, folder)
        told, _ = golden.print_figures(source_data, folder / "figures")
    changed = 0
    for figure, panels in told.items():
        named = golden.by_name(panels)
        for line in golden.differences(golden.read(figure), named):
            changed += 1
            sys.stdout.write(f"{figure} {line}\n")
        golden.write(figure, named)
    sys.stdout.write(f"{changed} statistics changed; see `git diff tests/golden`\n")


if __name__ == "__main__":
    rewrite()

"""Command line of the simulator: ``python -m neuro_data_analysis.simulate_recordings``."""

from __future__ import annotations

import sys

from core import start

if __name__ == "__main__":
    sys.exit(start.run("neuro_data_analysis.simulation.command"))


from neuro_data_analysis.simulation.command import main

__all__ = ["main"]

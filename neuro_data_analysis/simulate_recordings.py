"""Command line of the simulator: ``python -m neuro_data_analysis.simulate_recordings``."""

from __future__ import annotations

import sys

from neuro_data_analysis.simulation.command import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())

"""``python -m core.insilico.paired_evolution``."""

import sys

from core.start import run

if __name__ == "__main__":
    sys.exit(run("core.insilico.paired_evolution.command"))

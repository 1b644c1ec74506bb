"""``python -m core.insilico.sweeps``."""

import sys

from core.start import run

if __name__ == "__main__":
    sys.exit(run("core.insilico.sweeps.command"))

"""``python -m core.rig``."""

import sys

from core.start import run

if __name__ == "__main__":
    sys.exit(run("core.rig.command"))

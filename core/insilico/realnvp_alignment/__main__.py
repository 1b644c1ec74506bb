"""``python -m core.insilico.realnvp_alignment``."""

import sys

from core.start import run

if __name__ == "__main__":
    sys.exit(run("core.insilico.realnvp_alignment.command"))

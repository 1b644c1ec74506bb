"""``python -m core.insilico.gan_hessians``."""

import sys

from core.start import run

if __name__ == "__main__":
    sys.exit(run("core.insilico.gan_hessians.command"))

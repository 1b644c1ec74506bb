"""``python -m core.insilico.latent_linearity``."""

import sys

from core.start import run

if __name__ == "__main__":
    sys.exit(run("core.insilico.latent_linearity.command"))

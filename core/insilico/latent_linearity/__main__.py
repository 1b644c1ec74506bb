"""``python -m core.insilico.latent_linearity``."""

import sys

from core.insilico.latent_linearity.command import main

if __name__ == "__main__":
    sys.exit(main())

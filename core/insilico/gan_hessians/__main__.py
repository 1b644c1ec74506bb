"""``python -m core.insilico.gan_hessians``."""

import sys

from core.insilico.gan_hessians.command import main

if __name__ == "__main__":
    sys.exit(main())

"""``python -m core.insilico.sweeps``."""

import sys

from core.insilico.sweeps.command import main

if __name__ == "__main__":
    sys.exit(main())

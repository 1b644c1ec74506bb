"""``python -m core.insilico.paired_evolution``."""

import sys

from core.insilico.paired_evolution.command import main

if __name__ == "__main__":
    sys.exit(main())

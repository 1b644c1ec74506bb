"""``python -m core.insilico.realnvp_alignment``."""

import sys

from core.insilico.realnvp_alignment.command import main

if __name__ == "__main__":
    sys.exit(main())

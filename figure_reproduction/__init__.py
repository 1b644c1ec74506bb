"""One script per figure of the paper, and all of them: ``python -m figure_reproduction``."""

"""Our code and its peers in one run; ratios are printed, never asserted."""

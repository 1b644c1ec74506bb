"""Files of weights: which exist, where they lie, how they are fetched, checked and loaded."""

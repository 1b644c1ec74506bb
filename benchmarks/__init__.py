"""Our code and its peers in one run; ratios are printed, never asserted.

`mutation` and `walk` measure the house itself: whether tests notice small errors, and what a number
crosses on its way. `safety` counts what survives damage. What must hold is a test, not a benchmark.
"""

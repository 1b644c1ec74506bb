"""Names of a network's layers, what they return, and their activations by hooks.

`probe` finds out what an output means, `record` keeps it, `fetchers` are the published classes.
Nothing here chooses units or scores: that is `scoring`.
"""

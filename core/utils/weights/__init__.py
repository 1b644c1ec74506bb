"""Files of weights: which exist, where they lie, how they are fetched, checked and loaded.

`registry` lists them, `fetch` finds them, `state_dicts` reads them without running what they hold.
Architectures stand with `generators` and `scoring`.
"""

"""Experiments that need no recordings: a package each, and what they share.

`resumable` keeps the folder of an experiment, `evolution_analysis` reads finished evolutions, and
`extended_figure5_tables` puts results among the source data. Generators, scorers and optimisers
belong to `core.utils`.
"""

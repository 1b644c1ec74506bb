"""Closed loops of a generator, an optimiser and something that answers images.

`loop` is the one call, `objectives` say what is maximised, `saving` what stays on disk. Paired
evolutions of the paper, with their settings and file names, are `core.insilico.paired_evolution`.
"""

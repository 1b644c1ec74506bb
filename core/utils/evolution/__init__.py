"""Closed loops of a generator, an optimiser and something that answers images."""

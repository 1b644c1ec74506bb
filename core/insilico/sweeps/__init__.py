"""Sweeps over networks, layers and optimisers: the `file` that asks, the `cells` that run."""

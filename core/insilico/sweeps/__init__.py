"""Sweeps over networks, layers and optimisers: the `file` that asks, the `cells` that run.

A cell is one paired evolution; what it does belongs to `paired_evolution`, and where it runs (here,
on several devices, on a cluster) to `command`.
"""

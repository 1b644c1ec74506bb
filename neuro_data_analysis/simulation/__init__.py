"""Recordings with known truth, in the format of real ones; nobody with real data needs it.

`population` draws sites and climbs, `experiment` gives them spikes, `matroot` writes a folder, and
every number that was assumed stands in `assumptions`. Finding the truth again is `recovery`.
"""

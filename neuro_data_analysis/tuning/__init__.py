"""Tuning along axes of the generators' Hessians (Figure 6): sessions, fits, tests, tables.

`process` is the Gaussian process of 6E, `fits` the curves of 6C. The axes and their images are made
by `core.insilico.gan_hessians`.
"""

"""MATLAB files to plain values and back.

`v73` decodes HDF5, `values` brings what several programs make of MATLAB into one form, `v73_writer`
is for simulated recordings. What the values mean is not known here.
"""

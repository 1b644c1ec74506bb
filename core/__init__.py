"""The ground of the house: errors, atomic files, spaces, versions, and the rooms built on them.

`reading` takes untrusted bytes in, `source_tables` is the contract between writers and readers of
tables, `utils` and `insilico` hold generators, scorers, optimisers and the experiments on networks,
and `rig` lets the same search talk to a laboratory. Nothing here knows recordings, exports or
figures.
"""

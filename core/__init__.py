"""The ground of the house: errors, atomic files, versions, and three rooms built on them.

`reading` takes untrusted bytes in, `source_tables` is the contract between writers and readers of
tables, `utils` and `insilico` hold generators, scorers, optimisers and the experiments on networks.
Nothing here knows recordings, exports or figures.
"""

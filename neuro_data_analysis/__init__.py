"""From recordings to tables.

`matlab` decodes files, `evolution`, `tuning` and `similarity` hold the analyses of the paper, and
`simulation` writes recordings with known truth. The modules beside this one are the doors that the
paper's code names. Figures are drawn elsewhere.
"""

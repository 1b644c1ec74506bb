"""The contract between what writes source data and what reads it.

`registry` lists every table with its `layouts`; `reader` is the only way to a file; `provenance`
says where a folder comes from; `placement` and `osf` bring published files into place. Computing
what is in a table belongs to `neuro_data_analysis` and `core.insilico`.
"""

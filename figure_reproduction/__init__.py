"""One script per figure of the paper, and all of them: ``python -m figure_reproduction``.

A script declares its panels: the tables each reads, what it computes and draws. What scripts share
is in `page`; tables are made in `neuro_data_analysis`, never here.
"""

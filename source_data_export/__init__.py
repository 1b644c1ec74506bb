"""From recordings to source data: one export per figure, all of them run by one command.

`exports` says which analysis fills which folder; notebooks and command only call it. Nothing is
computed here.
"""

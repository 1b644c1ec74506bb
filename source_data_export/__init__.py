"""From recordings to source data: one export per figure, all of them run by one command."""

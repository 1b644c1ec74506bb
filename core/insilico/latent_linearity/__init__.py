"""Extended Figures 5D and E: how well latent codes predict units by a linear map."""

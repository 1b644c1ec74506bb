"""Searches of a latent space by ask and tell; what they maximise is not known here."""

"""Paired evolutions: one experiment (`stats`), all of them (`population`), their `tables`.

`codes` reads the latent codes beside them. Decoding files is `matlab`; drawing is elsewhere.
"""

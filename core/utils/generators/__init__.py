"""From latent codes to images: architectures, wrappers, and generators by name.

Files of weights have a room of their own, `weights`; codes are chosen elsewhere, by `optimizers`
and `geometry_utils`.
"""

"""From latent codes to images: architectures and wrappers; weights have a room of their own."""

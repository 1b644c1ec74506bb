"""Average Hessians of the generators: which directions of a latent space change the image."""

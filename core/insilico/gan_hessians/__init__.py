"""Average Hessians of the generators: which directions of a latent space change the image.

`hessian` differentiates a distance of images, `command` averages over codes, `stimuli` draws the
images of Figure 6 along the eigenvectors. How sites respond along them is `tuning`, among the
recordings.
"""

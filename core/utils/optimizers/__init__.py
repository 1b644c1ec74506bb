"""Searches of a latent space by ask and tell.

One algorithm a file; `ask_tell` is what all of them share, `state` what they save. What they
maximise is not known here, nor that codes make images.
"""

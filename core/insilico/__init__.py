"""Experiments that need no recordings: alignment, linearity of codes, Hessians, evolution."""

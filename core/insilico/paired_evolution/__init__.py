"""Evolution of images for units of a network in two spaces at once.

`settings` → `plan` (units, runs) → `runs` (the loop) → `files` and `folders` (what stays).
"""

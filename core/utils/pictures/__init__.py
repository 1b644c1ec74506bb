"""Maps and cut-outs of images: receptive fields, cells of montages.

What is computed of a picture; pasting and saving pictures is `plot_utils` and `montage_utils`.
"""

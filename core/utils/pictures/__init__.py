"""Maps and cut-outs of images: receptive fields, cells of montages."""

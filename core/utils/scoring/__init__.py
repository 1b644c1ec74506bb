"""From images to scores: networks, their input, their layers and the units that are read."""

"""Names of a network's layers, and their activations by hooks; nothing here scores."""

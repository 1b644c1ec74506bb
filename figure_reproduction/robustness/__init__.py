"""Every claim of the figures once more, as a reviewer of its statistics would ask for it."""

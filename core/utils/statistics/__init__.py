"""Student's t tests and the plots that show them; no recordings, no networks."""

"""Paired evolutions: one experiment (`stats`), all of them (`population`), their `tables`."""

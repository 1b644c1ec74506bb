"""Tuning along axes of the generators' Hessians (Figure 6): sessions, fits, tests, tables."""

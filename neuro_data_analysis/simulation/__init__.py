"""Recordings with known truth, in the format of real ones; nobody with real data needs it."""

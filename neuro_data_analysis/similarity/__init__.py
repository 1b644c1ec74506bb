"""Similarity of prototypes beside similarity of responses (Figure 3)."""

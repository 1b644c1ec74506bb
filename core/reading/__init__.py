"""Untrusted bytes come in here: pickles, archives of arrays, downloads.

What a file means (which table, which weights) is decided by the callers; this room only makes sure
that reading is bounded, runs nothing and ends in a sentence.
"""

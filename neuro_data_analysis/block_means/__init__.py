"""Block means that the authors publish of all 170 paired evolutions, and what follows from them.

`published` reads them, `decoding` finds the spikes they are made of, `tables` says what they allow.
They hold no single trials; analyses that need those are in `evolution`.
"""

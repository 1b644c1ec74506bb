"""MATLAB files to plain values and back; what the values mean is not known here."""

"""What a reviewer of the statistics asks for, beside the published analyses and never instead.

Mixed models, intervals that know of sites, rates of false positives: arrays and tables in, numbers
out. Which claim is put to which test is decided in `figure_reproduction.robustness`.
"""

"""Every claim of the figures once more, as a reviewer of its statistics would ask for it.

Claims read the same source data as the figures and name their published test beside the robust one.
The tests themselves are `neuro_data_analysis.robustness`.
"""

"""Student's t tests and the plots that show them, behind the door `stats_utils`.

Values in, statistics out: no recordings, no networks. Statistics that know of sites and animals are
`neuro_data_analysis.robustness`.
"""

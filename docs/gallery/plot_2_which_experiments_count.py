"""
Which experiments count
=======================

Every figure rests on a selection of experiments; each exclusion has a reason.
"""

import tempfile

import matplotlib.pyplot as plt

from neuro_data_analysis.simulation.matroot import simulate_matroot
from source_data_export.exports import MatRoot

# %%
# Twelve simulated experiments that cover every kind of the real list. One pass over the recordings
# reduces each to what the tables need.

population = MatRoot(simulate_matroot(tempfile.mkdtemp(), seed=3, n_experiments=12)).population
population.meta[["Animal", "visual_area", "space1", "space2", "blockN"]]

# %%
# Valid is an experiment with more than 14 blocks, evolved in fc6 and in BigGAN, with a stable
# baseline.

reasons = population.inclusion.query("not valid")["excluded_because"]
counts = reasons.value_counts().sort_values()
figure, axes = plt.subplots(figsize=(6, 2), layout="constrained")
axes.barh(counts.index, counts, color="0.6")
axes.set(xlabel="Experiments left out", title="SIMULATED")
plt.show()

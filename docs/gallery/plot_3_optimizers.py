"""
Searches on a hill
==================

The covariance search of the experiments and a climb on a sphere, both asked for codes and told how
well these did. The hill stands in for a neuron.
"""

import matplotlib.pyplot as plt
import numpy as np

from core.utils import CholeskyCMAES, ZOHA_Sphere_lr_euclid

DIMENSIONS, BLOCKS = 64, 60
goal = np.random.default_rng(0).normal(size=DIMENSIONS)


def response(codes):
    """Rise as the codes turn towards the goal."""
    cosine = codes @ goal / np.linalg.norm(codes, axis=1) / np.linalg.norm(goal)
    return np.exp(3 * (cosine - 1))


# %%
# Every optimiser has the same two methods.

searches = {
    "CholeskyCMAES": CholeskyCMAES(
        DIMENSIONS, population_size=30, init_code=np.ones(DIMENSIONS), init_sigma=0.5, random_seed=0
    ),
    "ZOHA_Sphere_lr_euclid": ZOHA_Sphere_lr_euclid(
        DIMENSIONS, population_size=30, select_size=15, random_seed=0
    ),
}
figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
for (name, search), style in zip(searches.items(), ("-", "--"), strict=True):
    if hasattr(search, "lr_schedule"):
        search.lr_schedule(n_gen=BLOCKS, mode="exp", lim=(50, 7.33))
    codes, means = search.get_init_pop(), []
    for _ in range(BLOCKS):
        scores = response(codes)
        means.append(scores.mean())
        codes = search.step_simple(scores, codes)
    axes.plot(means, style, label=name)
axes.set(xlabel="Block", ylabel="Mean response of the population", ylim=(0, 1))
axes.legend()
plt.show()

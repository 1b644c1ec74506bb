"""
One paired evolution
====================

Read one experiment and see how both threads climb. The recording is simulated; a real one is read
by the same lines.
"""

import tempfile

import matplotlib.pyplot as plt
import numpy as np

from neuro_data_analysis.evolution.stats import block_psths
from neuro_data_analysis.neural_data_lib import load_neural_data
from neuro_data_analysis.simulation.matroot import simulate_matroot

# %%
# A MATROOT is a folder of recordings. Opening it costs milliseconds; an experiment is read when it
# is asked for.

matroot = simulate_matroot(tempfile.mkdtemp(), seed=3, n_experiments=1)
with load_neural_data(matroot) as recordings:
    experiment = recordings[155]
print(experiment.info.title)

# %%
# Four slices per block: mean DeePSim, mean BigGAN, and their standard errors over images.

psth = block_psths(experiment)
print(psth.shape, "blocks, slices, ms")

# %%
# The response of a block is the mean rate from 50 to 200 ms after image onset.

response = psth[:, :, 50:200].mean(axis=2)

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
for thread, (space, style) in enumerate({"DeePSim": "b-o", "BigGAN": "r--s"}.items()):
    left.plot(response[:, thread], style, markersize=3, label=space)
left.set(xlabel="Block", ylabel="Response (events/s)", title="SIMULATED")
left.legend()
image = right.imshow(
    psth[:, 1], aspect="auto", origin="lower", extent=(0, 200, -0.5, len(psth) - 0.5)
)
right.set(xlabel="Time from image onset (ms)", ylabel="Block", title="BigGAN, SIMULATED")
figure.colorbar(image, label="events/s")
plt.show()

# %%
# Where is the rise? The gain of the best two blocks over the first two, window by window.

first, best = psth[:2, 1].mean(axis=0), psth[np.argsort(response[:, 1])[-2:], 1].mean(axis=0)
gain = (best - first).reshape(-1, 10).mean(axis=1)
print(f"largest gain {10 * gain.argmax()} to {10 * gain.argmax() + 10} ms after onset")

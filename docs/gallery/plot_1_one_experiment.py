"""
One paired evolution
====================

Read one experiment and see how both threads climb. The recording is simulated; a real one is read
by the same lines.
"""

import tempfile

import matplotlib.pyplot as plt
import numpy as np

from core.spaces import Space
from neuro_data_analysis.evolution.stats import block_psths, kept_trials
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
# Mean and standard error over the images of each block, for both spaces.

psths = block_psths(kept_trials(experiment))
for space in Space:
    print(space, psths.mean[space].shape)

# %%
# The response of a block is the mean rate from 50 to 200 ms after image onset.

response = {space: psths.mean[space][50:200].mean(axis=0) for space in Space}

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
for space in Space:
    look = {"color": space.colour, "linestyle": space.dash, "marker": space.marker}
    left.plot(response[space], markersize=3, label=space, **look)
left.set(xlabel="Block", ylabel="Response (events/s)", title="SIMULATED")
left.legend()
image = right.imshow(
    psths.mean[Space.BIGGAN].T, aspect="auto", origin="lower"
)
right.set(xlabel="Time from image onset (ms)", ylabel="Block", title="BigGAN, SIMULATED")
figure.colorbar(image, label="events/s")
plt.show()

# %%
# Where is the rise? The gain of the best two blocks over the first two, window by window.

psth, order = psths.mean[Space.BIGGAN], np.argsort(response[Space.BIGGAN])
gain = (psth[:, order[-2:]] - psth[:, :2]).mean(axis=1).reshape(-1, 10).mean(axis=1)
print(f"largest gain {10 * gain.argmax()} to {10 * gain.argmax() + 10} ms after onset")

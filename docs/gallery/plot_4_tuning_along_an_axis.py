"""
Tuning along an axis
====================

A line, a Gaussian and a Gaussian process through single trials, as behind Figure 6. The trials are
drawn from a bell with Poisson noise, so the truth is known.
"""

import matplotlib.pyplot as plt
import numpy as np

from neuro_data_analysis.neural_tuning_analysis_lib import (
    fit_gaussian,
    fit_line,
    fit_process,
    one_way_anova,
)

rng = np.random.default_rng(1)
distance = np.repeat(np.linspace(-0.4, 0.4, 9), 10)
truth = 20 + 60 * np.exp(-((distance - 0.1) ** 2) / (2 * 0.12**2))
response = rng.poisson(truth * 0.15) / 0.15  # counts in 150 ms, as events/s

# %%
# Is the site tuned at all, and what do the fits say?

print(one_way_anova(distance, response))
line = fit_line(distance, response)
bell = fit_gaussian(distance, response)
process = fit_process(distance, response, seed=0)
print(f"line R² {line.r2:.2f}, Gaussian R² {bell.r2:.2f} with its centre at {bell.center:.2f}")

# %%
figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
axes.plot(distance, response, "o", color="0.7", markersize=3, label="trials")
x = np.linspace(-0.4, 0.4, 100)
axes.plot(x, bell(x), label="Gaussian")
axes.plot(x, line(x), "--", label="line")
axes.plot(process.x, process.mean, "-.", label="Gaussian process")
axes.plot(x, 20 + 60 * np.exp(-((x - 0.1) ** 2) / (2 * 0.12**2)), ":", color="k", label="truth")
axes.set(xlabel="Position on the axis", ylabel="Response (events/s)", title="Made-up trials")
axes.legend()
plt.show()

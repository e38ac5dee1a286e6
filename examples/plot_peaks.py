"""
Counts, and a target other than the input
=========================================

Two parameters set the place and the width of a peak; detectors count Poisson events along it. The
model reads noisy counts and learns to predict the clean curve through a code of two numbers.
"""

import matplotlib.pyplot as plt
import numpy as np

from narrows import HierarchicalAutoencoder, plots

rng = np.random.default_rng(0)
channel = np.arange(40)
place, width = rng.uniform(10, 30, (600, 1)), rng.uniform(2, 5, (600, 1))
rate = 20 * np.exp(-0.5 * ((channel - place) / width) ** 2) + 1
counts = rng.poisson(rate)

# %%
# Poisson likelihood: the counts are reconstructed as rates.

model = HierarchicalAutoencoder(3, likelihood="poisson", max_epochs=60, random_state=0)
model.fit(counts[:500])
plots.scree(model.fve(counts[500:]), elbow=model.elbow_, ax=plt.figure().gca())

# %%
# The same counts as input, the true rate as target.

predictor = HierarchicalAutoencoder(2, max_epochs=60, random_state=0)
predictor.fit(counts[:500], target=rate[:500])
figure, axes = plt.subplots(1, 3, figsize=(9, 3), layout="constrained", sharey=True)
for ax, row in zip(axes, range(500, 503), strict=True):
    ax.step(channel, counts[row], where="mid", color="0.7", label="counts")
    ax.plot(channel, rate[row], label="true rate")
    ax.plot(channel, predictor.reconstruct(counts[row : row + 1])[0], "--", label="predicted")
axes[0].legend()
plt.show()

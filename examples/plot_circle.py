"""
An angle as a component
=======================

Points on a noisy circle in ten dimensions have one coordinate, an angle. A plain component must
cut the circle open somewhere; a circular one need not.
"""

import matplotlib.pyplot as plt
import numpy as np

from narrows import Autoencoder

rng = np.random.default_rng(0)
angle = rng.uniform(-np.pi, np.pi, 800)
plane = np.linalg.qr(rng.normal(size=(10, 2)))[0]
X = np.column_stack([np.cos(angle), np.sin(angle)]) @ plane.T + 0.05 * rng.normal(size=(800, 10))

# %%
# Both explain the data; only one code is continuous.

figure, axes = plt.subplots(1, 2, figsize=(8, 3.5), layout="constrained", sharex=True)
for ax, circular in zip(axes, ([], [0]), strict=True):
    model = Autoencoder(1, circular=circular, scale="none", max_epochs=60, random_state=0).fit(X)
    ax.plot(angle, model.transform(X)[:, 0], ".", markersize=3)
    name = "circular" if circular else "plain"
    ax.set(title=f"{name} component, FVE {model.score(X):.3f}", xlabel="true angle")
axes[0].set_ylabel("code")
plt.show()

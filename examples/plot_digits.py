"""
Which component of the handwritten digits matters most
======================================================

A ranked autoencoder with five components: how much the first 1..5 explain of images the model
never saw, beside PCA, and what each component does to an image.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from narrows import HierarchicalAutoencoder, plots

images = load_digits().images / 16
train, test = train_test_split(images, test_size=0.2, random_state=0)
model = HierarchicalAutoencoder(5, scale="none", n_init=2, max_epochs=40, random_state=0)
model.fit(train)

# %%
# Held-out fraction of variance explained, beside PCA's.

flat, held_out = train.reshape(len(train), -1), test.reshape(len(test), -1)
pca = PCA(5).fit(flat)
spread = ((held_out - pca.mean_) ** 2).sum()
pca_fve = (pca.transform(held_out) ** 2).sum(0).cumsum() / spread
plots.scree(model.fve(test), reference=pca_fve, elbow=model.elbow_, ax=plt.figure().gca())

# %%
# Each component runs from its 5th to its 95th percentile, the others stay at their median.

codes = model.transform(train)
steps = np.percentile(codes, np.linspace(5, 95, 9), axis=0).T
grid = np.tile(np.median(codes, 0), (5, 9, 1))
for component in range(5):
    grid[component, :, component] = steps[component]
decoded = model.inverse_transform(grid.reshape(-1, 5)).reshape(5, 9, 8, 8)
plots.traversal(decoded, steps, fig=plt.figure(layout="constrained"))
plt.show()

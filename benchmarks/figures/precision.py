"""Mixed precision beside single precision: what held-out digits lose."""

import numpy as np
from common import main, mean_error, splits
from sklearn.datasets import load_digits

from narrows import (
    AdversarialAutoencoder,
    Autoencoder,
    ContractiveAutoencoder,
    DenoisingAutoencoder,
    HierarchicalAutoencoder,
    SparseAutoencoder,
    StackedAutoencoder,
    Training,
    VariationalAutoencoder,
)

VARIANTS = {
    "plain": Autoencoder,
    "collective": HierarchicalAutoencoder,
    "sparse": SparseAutoencoder,
    "contractive": ContractiveAutoencoder,
    "denoising": DenoisingAutoencoder,
    "stacked": StackedAutoencoder,
    "variational": VariationalAutoencoder,
    "adversarial": AdversarialAutoencoder,
}
PRECISIONS = ("float32", "bfloat16")


def explained(kind, train, test, precision, seed):
    """Return the FVE of rows that the model never saw."""
    training = Training(precision=precision)
    model = kind(8, max_epochs=60, random_state=seed, training=training).fit(train)
    return float(model.fve(test)[-1])


def make():
    X, rows = load_digits().data, []
    for name, kind in VARIANTS.items():
        found = np.array(
            [
                [explained(kind, X[train], X[test], each, seed) for each in PRECISIONS]
                for seed, train, test in splits(len(X))
            ]
        )
        mean, error = mean_error([*found])
        (gap,), (spread,) = mean_error([row[1:] - row[:1] for row in found])
        cells = [f"{m:.4f} ± {e:.4f}" for m, e in zip(mean, error, strict=True)]
        rows.append([name, *cells, f"{gap:+.4f} ± {spread:.4f}"])
        print(" | ".join(rows[-1]), flush=True)
    return ["model", "single precision", "mixed", "mixed - single"], rows, NOTE


NOTE = (
    "FVE of held-out digits, 8 components, 60 epochs at most, defaults; mean ± standard error over "
    "5 splits, the difference by split. Mixed: products and activations in bfloat16 while "
    "training, weights and all else in single precision; the figures are computed in single "
    "precision for both."
)

if __name__ == "__main__":
    main("Mixed precision on held-out digits", make)

"""Linear encoder and decoder on correlated Gaussian data: every level equals PCA."""

import numpy as np
from common import main, pca_fve, row, splits

import narrows

ORDERINGS = ("collective", "boosted", "shared", "nested")


def gaussian(n_rows=2000, n_features=20, seed=0):
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(n_features, n_features)) * 0.8 ** np.arange(n_features)
    return rng.normal(size=(n_rows, n_features)) @ mixing.T


def make():
    X = gaussian()
    rows = []
    variants = [(name, init) for name in ORDERINGS for init in ("pca", "random")]
    for name, init in variants:
        found, differences = [], []
        for number, train, test in splits(len(X)):
            model = narrows.HierarchicalAutoencoder(
                5,
                ordering=name,
                architecture=narrows.Dense((), init=init),
                n_init=8,
                random_state=number,
            ).fit(X[train])
            found.append(model.fve(X[test]))
            differences.append(found[-1] - pca_fve(X[train], X[test], 5, "standard"))
        label = f"{name}, init={init!r}"
        rows += [row(label, found), row(f"{label}: minus PCA", differences, 4)]
    head = ["ordering", *(f"K = {k}" for k in range(1, 6))]
    return head, rows, "Asked: within 0.005 of PCA at every level (collective, boosted, shared)."


if __name__ == "__main__":
    main("Linear models against PCA", make)

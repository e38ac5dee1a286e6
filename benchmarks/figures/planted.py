"""Planted order: x = Σ_j a_j f_j(u_j), and which component tracks which u_j."""

import numpy as np
from common import main, splits
from scipy.stats import spearmanr

import narrows


def planted(n_rows=1500, n_features=12, n_causes=3, seed=0):
    """Return rows, and the causes in the order of their importance.

    Each cause runs along a curve of its own in four dimensions, that bends but does not close;
    the curves stand at right angles, so that importance is their length.
    """
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(n_features, n_features)))[0]
    causes = rng.uniform(-1, 1, size=(n_rows, n_causes))
    X = 0.02 * rng.normal(size=(n_rows, n_features))
    for j in range(n_causes):
        u = causes[:, j]
        curve = np.column_stack([u, 0.5 * (u**2 - 1 / 3), 0.3 * np.sin(3 * u), 0.2 * np.cos(3 * u)])
        X += 0.6**j * curve @ basis[4 * j : 4 * j + 4]
    return X, causes


def make():
    X, causes = planted()
    rows = []
    variants = [(name, "pca") for name in ("collective", "boosted", "shared", "nested", "none")]
    for name, init in [*variants, ("none", "random")]:
        tracks = []
        for number, train, test in splits(len(X)):
            model = narrows.Autoencoder(
                3,
                ordering=name,
                scale="none",
                architecture=narrows.Dense(init=init),
                n_init=8,
                random_state=number,
            ).fit(X[train])
            table = np.abs(spearmanr(model.transform(X[test]), causes[test]).statistic[:3, 3:])
            tracks.append(np.diag(table))
        lowest = np.min(tracks, 0)
        rows.append(
            [
                f"{name}, init={init!r}",
                *(
                    f"{m:.3f} (lowest {low:.3f})"
                    for m, low in zip(np.mean(tracks, 0), lowest, strict=True)
                ),
            ]
        )
    head = ["ordering", *(f"rank correlation of z{j} and u{j}" for j in (1, 2, 3))]
    return (
        head,
        rows,
        "Absolute values. Asked: 0.95 or more for collective and boosted; not without ordering.",
    )


if __name__ == "__main__":
    main("Planted order", make)

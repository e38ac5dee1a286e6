"""A noisy circle in ten dimensions: one circular component against one plain component."""

import numpy as np
from common import main, mean_error, splits

import narrows


def circle(n_rows=2000, n_features=10, noise=0.05, seed=0):
    rng = np.random.default_rng(seed)
    angle = rng.uniform(-np.pi, np.pi, n_rows)
    plane = np.linalg.qr(rng.normal(size=(n_features, 2)))[0]
    pairs = np.column_stack([np.cos(angle), np.sin(angle)])
    return pairs @ plane.T + noise * rng.normal(size=(n_rows, n_features)), angle, plane


def jump(model, plane):
    """Return the largest step of the code between neighbours on a fine circle, over its range."""
    angle = np.linspace(-np.pi, np.pi, 2001)
    code = model.transform(np.column_stack([np.cos(angle), np.sin(angle)]) @ plane.T)[:, 0]
    steps = np.abs(np.diff(code))
    if model.circular:
        steps = np.minimum(steps, 2 * np.pi - steps)
    return steps.max() / steps.mean()


def make():
    X, angle, plane = circle()
    figures = {"one circular": [], "one plain": []}
    for number, train, test in splits(len(X)):
        mean = X[train].mean(0)
        known = np.column_stack([np.cos(angle), np.sin(angle)]) @ plane.T
        best = 1 - ((X - known)[test] ** 2).sum() / ((X - mean)[test] ** 2).sum()
        for name, circular in (("one circular", [0]), ("one plain", [])):
            model = narrows.Autoencoder(
                1, circular=circular, scale="none", n_init=8, random_state=number
            ).fit(X[train])
            fve = model.score(X[test])
            figures[name].append(np.array([fve, fve / best, jump(model, plane)]))
    rows = []
    for name, values in figures.items():
        mean, error = mean_error(values)
        rows.append([name, *(f"{m:.3f} ± {e:.3f}" for m, e in zip(mean, error, strict=True))])
    head = ["code", "FVE", "of knowing the angle", "largest step of the code / mean step"]
    return (
        head,
        rows,
        (
            "Asked: the circular component reaches 0.99 of the FVE of knowing the true angle, and "
            "its code has no jump (2000 even steps around the circle); the plain one has."
        ),
    )


if __name__ == "__main__":
    main("A noisy circle", make)

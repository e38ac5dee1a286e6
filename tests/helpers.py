"""Small data with known truth, and settings that fit it in a moment."""

from collections.abc import Callable, Iterator

import numpy as np
from sklearn.base import clone

from narrows import GaussianCode, KLSparsity, Plain, Training
from narrows.data.protocol import Source
from narrows.parts import ESTIMATORS, PARTS, load, resolve

# Penalties of codes that are points for each row
OF_POINTS = [name for name in PARTS["penalty"] if not resolve("penalty", name).of_distribution]
RANKED = [name for name in PARTS["ordering"] if name != "none"]


def quick(**settings) -> dict:
    """Settings of a fit that takes a moment, with some of one's own or of the training."""
    own = {name: settings.pop(name) for name in Training().get_params() if name in settings}
    common = {"hidden_layer_sizes": (16,), "max_epochs": 5, "batch_size": 32}
    training = Training(**{"validation_fraction": 0.3, **own})
    return {**common, "learning_rate": 0.02, "random_state": 0, "training": training, **settings}


def suited(penalties) -> dict:
    """The code that penalties need: a distribution, or units in [0, 1] for firing rates."""
    parts = [resolve("penalty", penalty) for penalty in penalties]
    if any(part.of_distribution for part in parts):
        return {"code": GaussianCode()}
    return {"code": Plain("sigmoid")} if any(isinstance(p, KLSparsity) for p in parts) else {}


def estimators(**settings) -> Iterator:
    """Every public estimator; one that ranks, with every ordering."""
    for path in ESTIMATORS.values():
        estimator = load(path)(**settings)
        if "layer_epochs" in estimator.get_params():
            estimator.set_params(layer_epochs=5)
        ranks = estimator.get_params().get("ordering", "none") != "none"
        orderings = RANKED if ranks else ()
        yield from [clone(estimator).set_params(ordering=name) for name in orderings] or [estimator]


def short_name(estimator) -> str:
    """Name a test after the class and the ordering of its estimator."""
    return f"{type(estimator).__name__}-{estimator.get_params().get('ordering', '')}"


# Data that a likelihood is made for

TARGETS: dict[str, Callable] = {
    "gaussian": lambda mean, rng: rng.normal(mean, 0.1),
    "normal": lambda mean, rng: rng.normal(mean, 0.1),
    "continuous_bernoulli": lambda mean, rng: 1 / (1 + np.exp(-rng.normal(2 * mean, 0.1))),
    "bernoulli": lambda mean, rng: rng.random(mean.shape) < 1 / (1 + np.exp(-2 * mean)),
    "categorical": lambda mean, rng: np.exp(mean) / np.exp(mean).sum(1, keepdims=True),
    "poisson": lambda mean, rng: rng.poisson(np.exp(mean)),
    "negative_binomial": lambda mean, rng: rng.poisson(
        np.exp(mean) * rng.gamma(2, 0.5, mean.shape)
    ),
    "laplace": lambda mean, rng: rng.laplace(mean, 0.1),
    "student_t": lambda mean, rng: mean + 0.1 * rng.standard_t(4, mean.shape),
}


def table(likelihood: str = "gaussian", n_rows: int = 200, n_values: int = 6, seed: int = 0):
    """Rows in the range of a likelihood, whose means lie near a curved surface."""
    rng = np.random.default_rng(seed)
    u, v = rng.uniform(-1.7, 1.7, (2, n_rows))
    curves = np.column_stack([u, v, 0.6 * (u**2 - 1), 0.6 * (v**2 - 1), 0.6 * u * v])
    mean = curves @ rng.normal(size=(5, n_values)) / 2
    return TARGETS[likelihood](mean, rng).astype(np.float64)


def few_labels(truth, n: int = 10, seed: int = 0):
    """Labels of a few rows of each class, drawn at random; -1 for the others."""
    rng, y = np.random.default_rng(seed), np.full(len(truth), -1)
    for label in np.unique(truth):
        y[rng.permutation(np.flatnonzero(truth == label))[:n]] = label
    return y


# Known truth


def planted_order(n_rows: int = 1200, n_values: int = 12, seed: int = 0):
    """Rows `Σ a_j f_j(u_j)` with decreasing a_j, curves f_j at right angles, and the causes u."""
    rng = np.random.default_rng(seed)
    causes = rng.uniform(-1, 1, (n_rows, 3))
    directions = np.linalg.qr(rng.normal(size=(n_values, n_values)))[0]
    X = rng.normal(scale=0.02, size=(n_rows, n_values))
    for j, u in enumerate(causes.T):
        curve = np.column_stack([u, (u**2 - 1 / 3) / 2, 0.3 * np.sin(3 * u), 0.2 * np.cos(3 * u)])
        X += 0.6**j * curve @ directions[4 * j : 4 * j + 4]
    return X, causes


def circle(angle, n_values: int = 10):
    """Points on a circle in a space of more dimensions."""
    rng = np.random.default_rng(0)
    plane = np.linalg.qr(rng.normal(size=(n_values, n_values)))[0][:2]
    return np.column_stack([np.cos(angle), np.sin(angle)]) @ plane


def curved(rng, n_rows: int, n_values: int = 8):
    """Rows near a curved surface in many dimensions, with noise."""
    u, v = rng.normal(size=(2, n_rows))
    curves = np.column_stack([u, v, u * v, u**2])
    return curves @ rng.normal(size=(4, n_values)) + rng.normal(scale=0.3, size=(n_rows, n_values))


# Number of training rows, maker of rows
HOSTILE: dict[str, tuple[int, Callable]] = {
    "offset": (100, lambda rng, n: curved(rng, n) + 1e6),
    "scales": (100, lambda rng, n: curved(rng, n) * np.logspace(-6, 6, 8)),
    "wide": (60, lambda rng, n: curved(rng, n, 150)),
    "few rows": (30, lambda rng, n: curved(rng, n)),
    "heavy tails": (100, lambda rng, n: curved(rng, n) * rng.standard_t(2, (n, 1))),
    "constant columns": (100, lambda rng, n: curved(rng, n) * [0, 1, 1, 0, 1, 1, 0, 1] + 7),
}


def check_reads(rows: Source, expected: np.ndarray, seed: int = 0) -> None:
    """Compare description and random row ranges with an array."""
    assert isinstance(rows, Source)
    assert (len(rows), rows.shape) == (len(expected), expected.shape[1:])
    assert rows.segments[0] == 0
    assert rows.segments[-1] == len(rows)
    rng = np.random.default_rng(seed)
    ranges = [(0, len(rows)), (0, 0), *np.sort(rng.integers(0, len(rows) + 1, (8, 2))).tolist()]
    for start, stop in ranges:
        got = rows.read(start, stop)
        assert got.dtype == rows.dtype
        np.testing.assert_array_equal(got, expected[start:stop])

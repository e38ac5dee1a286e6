"""Small data with known truth, and settings that fit it in a moment."""

from collections.abc import Callable, Iterator

import numpy as np
from sklearn.base import clone

from narrows.parts import ESTIMATORS, PARTS, load

QUICK = {
    "hidden_layer_sizes": (16,),
    "max_epochs": 5,
    "batch_size": 32,
    "learning_rate": 0.02,
    "random_state": 0,
}
RANKED = [name for name in PARTS["ordering"] if name != "none"]


def estimators(**settings) -> Iterator:
    """Every public estimator; one that ranks, with every ordering."""
    for path in ESTIMATORS.values():
        estimator = load(path)(**settings)
        ranks = estimator.get_params().get("ordering", "none") != "none"
        orderings = RANKED if ranks else ()
        yield from [clone(estimator).set_params(ordering=name) for name in orderings] or [estimator]


def short_name(estimator) -> str:
    """Name a test after the class and the ordering of its estimator."""
    return f"{type(estimator).__name__}-{estimator.get_params().get('ordering', '')}"


# Data that a likelihood is made for

TARGETS: dict[str, Callable] = {
    "gaussian": lambda mean, rng: rng.normal(mean, 0.1),
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

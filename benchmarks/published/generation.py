"""New rows from plain, sparse and variational autoencoders: the prior against fitted densities."""

import sys
import warnings
from functools import partial
from pathlib import Path

import numpy as np
from data import higgs, sequences
from runs import once
from sklearn.datasets import load_digits
from sklearn.mixture import GaussianMixture

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "figures"))
from common import main, mean_error

from narrows import Autoencoder, Normal, SparseAutoencoder, VariationalAutoencoder
from narrows.metrics import (
    frechet_distance,
    generative_precision_recall,
    two_sample_auc,
    wasserstein_per_feature,
)

SEEDS = range(3)
DENSITIES = ("mixture", "kernel", "flow")
FIGURES = ("precision", "recall", "density", "coverage", "Wasserstein", "Fréchet", "AUC")
LEAST_STEPS = 7  # of the shortest series


def digits(seed):
    """Images of 8 x 8 values from 0 to 16."""
    return divided(load_digits().data, seed)


def collisions(seed):
    """28 features of collisions, signal and background."""
    return divided(higgs()[0], seed)


def vowels(seed):
    """Series of 7 to 29 steps of 12 features; the given division."""
    return sequences("JapaneseVowels", "TRAIN")[0], sequences("JapaneseVowels", "TEST")[0]


def divided(X, seed):
    order = np.random.default_rng(seed).permutation(len(X))
    n_test = len(X) // 4
    return X[order[n_test:]], X[order[:n_test]]


ONE_UNIT = ("digits",)  # all values of a row are alike, some nearly constant

# Components, units of the sparse code, and what else the models of a data set share
CASES = {
    "digits": (digits, 16, 64, {"max_epochs": 200}),
    "collisions": (collisions, 16, 64, {"max_epochs": 60, "batch_size": 256}),
    "vowels": (
        vowels,
        8,
        32,
        {"max_epochs": 100, "batch_size": 32, "architecture": "recurrent"},
    ),
}


def models(n_components, n_units, shared, seed):
    """Return one model of each kind; all give each value a noise that is learned."""
    own, noise = {**shared, "random_state": seed}, Normal("per_feature")
    return {
        "plain": Autoencoder(n_components, likelihood=noise, **own),
        "sparse": SparseAutoencoder(n_units, likelihood=noise, **own),
        "variational": VariationalAutoencoder(n_components, noise="per_feature", **own),
    }


def flat(rows):
    """Return rows as vectors: of series the first steps, which all have."""
    return np.array(
        [np.asarray(row)[:LEAST_STEPS].ravel() if np.ndim(row) > 1 else row for row in rows]
    )


def quality(test, drawn, seed, common):
    """Return the figures of drawn rows beside as many held-out rows, in standard deviations."""
    test, drawn = flat(test), flat(drawn)
    width = test.std() if common else test.std(0)
    real, made = (test - test.mean(0)) / width, (drawn - test.mean(0)) / width
    near = generative_precision_recall(real, made)
    return [
        near.precision,
        near.recall,
        near.density,
        near.coverage,
        float(wasserstein_per_feature(real, made, scaled=False).mean()),
        frechet_distance(real, made),
        two_sample_auc(real, made, random_state=seed).auc,
    ]


def figures(name, seed):
    """Return the figures of every model and source, by name."""
    load, n_components, n_units, shared = CASES[name]
    train, test = load(seed)
    n, found = len(test), {}
    judge = partial(quality, seed=seed, common=name in ONE_UNIT)
    some = np.random.default_rng(seed).permutation(len(train))[:n]
    found["rows of the fit"] = judge(test[: len(some)], [train[i] for i in some])
    rows = flat(train)
    fits = [GaussianMixture(k, reg_covar=1e-3, random_state=seed).fit(rows) for k in (1, 5, 10, 20)]
    best = min(fits, key=lambda fit: fit.bic(rows))
    found["Gaussian mixture of the rows"] = judge(test, best.sample(n)[0])
    for kind, model in models(n_components, n_units, shared, seed).items():
        model.fit(train)
        if kind == "variational":
            found[f"{kind}, prior"] = judge(test, model.sample(n, random_state=seed))
        for density in DENSITIES:
            model.fit_density(train, density, random_state=seed)
            found[f"{kind}, {density}"] = judge(test, model.sample(n, random_state=seed))
    return found


def make():
    warnings.filterwarnings("ignore", message=".*features are constant")
    rows = []
    for name, (*_, shared) in CASES.items():
        runs = [
            once("generation", {"data": name, "seed": seed, **shared}, partial(figures, name, seed))
            for seed in SEEDS
        ]
        for source in runs[0][0]:
            mean, error = mean_error([np.array(run[source]) for run, _ in runs])
            cells = [f"{m:.3g} ± {e:.1g}" for m, e in zip(mean, error, strict=True)]
            rows.append([name, source, *cells])
    return ["data", "rows drawn from", *FIGURES], rows, NOTE


NOTE = (
    "As many rows are drawn as are held out (a quarter; of the vowels the given test part), noise "
    "included; mean ± standard error over 3 divisions and seeds (vowels: seeds). Values in "
    "standard deviations of the held-out rows, each its own, or of digits that of all pixels; of "
    "series the first 7 steps of 12 features. 16 "
    "components (vowels 8), 64 sparse units (vowels 32), a noise of each value that is learned. "
    "Wasserstein: the mean over values of the distance of their distributions. AUC: of a "
    "classifier that tells drawn from held-out rows, 0.5 where it cannot. 'Rows of the fit' shows "
    "what the figures are at best, "
    "'Gaussian mixture of the rows' is scikit-learn's, its size by BIC among 1, 5, 10, 20."
)

if __name__ == "__main__":
    main("New rows: the prior against densities of codes", make)

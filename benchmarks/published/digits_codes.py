"""Digits: a classifier on codes against raw pixels, and corrupted digits restored."""

import sys
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "figures"))
from common import main, mean_error

from narrows import Autoencoder, ContractiveAutoencoder, DenoisingAutoencoder, SparseAutoencoder

SEEDS = range(8)
LABELS = (50, 100, 500)
RESTORING = range(5)
CORRUPTIONS = {"gaussian": 0.5, "masking": 0.3, "salt_and_pepper": 0.2, "dropout": 0.3}
WIDTHS = (8, 16, 32)
PENALTY = {"C": [0.01, 0.1, 1.0, 10.0]}
COMMON = {"scale": "global", "max_epochs": 60}
CODES = {
    "plain, 16": lambda seed: Autoencoder(16, random_state=seed, **COMMON),
    "denoising, 32, half masked": lambda seed: DenoisingAutoencoder(
        32, corruption="masking", strength=0.5, random_state=seed, **COMMON
    ),
    "contractive, 256": lambda seed: ContractiveAutoencoder(
        256, hidden_layer_sizes=(), random_state=seed, **COMMON
    ),
    "sparse, 256, the 25 largest": lambda seed: SparseAutoencoder(
        256,
        sparsity="top_k",
        k=25,
        hidden_layer_sizes=(),
        random_state=seed,
        **COMMON,
    ),
}


def labelled(y, n, seed):
    """Return n training rows with as many of each class as there are in y."""
    return train_test_split(np.arange(len(y)), train_size=n, stratify=y, random_state=seed)[0]


def accuracies(train, labels, test, truth, seed):
    """Return the accuracy at each number of labels, of logistic regression on rows of codes."""
    width = train.std()
    found = []
    for n in LABELS:
        rows = labelled(labels, n, seed)
        search = GridSearchCV(LogisticRegression(max_iter=1000), PENALTY, cv=3)
        search.fit(train[rows] / width, labels[rows])
        found.append(search.score(test / width, truth))
    return np.array(found)


def restored(train, test, corruption, strength, seed, width):
    """Return the mean squared error of test rows as corrupted, by a plain and a denoising model."""
    models = [
        make(width, random_state=seed, **COMMON).fit(train)
        for make in (Autoencoder, settings(corruption, strength))
    ]
    noisy = models[1].corrupt(test, random_state=seed)
    results = [noisy, *(model.reconstruct(noisy) for model in models)]
    return np.array([((result - test) ** 2).mean() for result in results])


def settings(corruption, strength):
    """Return what makes a denoising autoencoder of a width."""

    def make(width, **others):
        return DenoisingAutoencoder(width, corruption=corruption, strength=strength, **others)

    return make


def classified(train, labels, test, truth):
    """Yield rows of the table of classifiers."""
    raw = [accuracies(train, labels, test, truth, seed) for seed in SEEDS]
    for name, make_model in {"raw pixels": None, **CODES}.items():
        found, begun = raw, time.perf_counter()
        if make_model is not None:
            found = []
            for seed in SEEDS:
                model = make_model(seed).fit(train)
                codes = model.transform(train), model.transform(test)
                found.append(accuracies(codes[0], labels, codes[1], truth, seed))
        seconds = (time.perf_counter() - begun) / len(SEEDS)
        mean, error = mean_error(found)
        gain, doubt = mean_error(list(np.subtract(found, raw)))
        cells = [f"{m:.3f} ± {e:.3f}" for m, e in zip(mean, error, strict=True)]
        if make_model is not None:
            gains = zip(cells, gain, doubt, strict=True)
            cells = [f"{cell} ({g:+.3f} ± {d:.3f})" for cell, g, d in gains]
        print(name, *cells, flush=True)
        yield [f"accuracy on {name}", *cells, "", f"{seconds:.1f}"]


def repaired(train, test):
    """Yield rows of the table of restored digits; widths are chosen within the training rows."""
    inner, held = train_test_split(train, test_size=0.2, random_state=0)
    for name, strength in CORRUPTIONS.items():
        tried = [restored(inner, held, name, strength, 100, width) for width in WIDTHS]
        plain, denoising = (WIDTHS[k] for k in np.argmin(tried, axis=0)[1:])
        found, begun = [], time.perf_counter()
        for seed in RESTORING:
            one = restored(train, test, name, strength, seed, plain)
            two = (
                one
                if plain == denoising
                else restored(train, test, name, strength, seed, denoising)
            )
            found.append([one[0], one[1], two[2]])
        seconds = (time.perf_counter() - begun) / len(RESTORING)
        mean, error = mean_error(list(np.array(found)))
        cells = [f"{1e3 * m:.2f} ± {1e3 * e:.2f}" for m, e in zip(mean, error, strict=True)]
        label = f"10³ x error, {name} {strength}"
        yield [label, *cells, f"{plain}, {denoising}", f"{seconds:.1f}"]


def make():
    warnings.filterwarnings("ignore", message=".*(overcomplete|features are constant)")
    X, y = load_digits(return_X_y=True)
    train, test, labels, truth = train_test_split(
        X / 16, y, test_size=500, stratify=y, random_state=0
    )
    rows = [["**classifier**", *(f"**{n} labels**" for n in LABELS), "", ""]]
    rows += classified(train, labels, test, truth)
    rows += [["**restoring**", "**corrupted**", "**plain**", "**denoising**", "**codes**", ""]]
    rows += repaired(train, test)
    note = (
        "Pixels / 16; 500 test rows, the same throughout, chose nothing; 1297 training rows, "
        "without labels for the autoencoders, whose settings were chosen on 300 of them. "
        "Classifier: logistic regression, its penalty by 3-fold cross-validation on the labelled "
        f"rows, {len(SEEDS)} seeds of labels and weights; in brackets the gain on raw pixels with "
        "the same labels. Restoring: mean squared error to the clean digit, "
        f"{len(RESTORING)} seeds; of {WIDTHS} components, each kind of model takes the number "
        "that restored a fifth of the training rows best, with a seed apart."
    )
    return ["", "", "", "", "", "s per seed"], rows, note


if __name__ == "__main__":
    main("Digits: codes for classifiers, corrupted digits restored", make)

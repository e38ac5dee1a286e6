"""All pairs of parts train, or are refused for a reason that docs/pairs.md gives."""

from itertools import combinations

import numpy as np
import pytest
import torch

import own_networks
from helpers import quick, table
from narrows import (
    L1,
    Autoencoder,
    Convolutional,
    Decorrelation,
    Dense,
    Mixed,
    Modules,
    Plain,
    Recurrent,
    Revival,
    SaltAndPepper,
    TopK,
    TotalCorrelation,
)
from narrows.data.batches import Batch
from narrows.nn.code import Layout
from narrows.nn.posterior import Posterior
from narrows.parts import PARTS, resolve

# Settings of the parts that make a difference to others
VARIANTS = {
    "architecture": {
        "dense": [
            Dense((16,), init="random"),
            Dense((16,), linear_path=False, init="random"),
            Dense((16,), tied=True, init="random"),
            Dense((16,), dropout=0.1, init="random"),
            Dense((), init="random"),
            Dense((16,), unit_norm=True, decoder_layer_sizes=(8, 8), init="random"),
            Dense((16, 16)),
        ],
        "convolutional": [
            Convolutional((4,), init="random"),
            Convolutional((4, 4), stride=1, dropout=0.1, init="random"),
            Convolutional((4,), tied=True, init="random"),
            Convolutional((4,), unit_norm=True, init="random"),
        ],
        "recurrent": [Recurrent(hidden_size=8), Recurrent("lstm", hidden_size=8)],
    },
    "code": {"plain": ["plain", Plain("tanh"), Plain("sigmoid")], "top_k": [TopK(2)]},
    "corruption": {"salt_and_pepper": [SaltAndPepper(0.1)]},
    "penalty": {
        "l1": [L1(), L1(layer=1)],
        "decorrelation": [Decorrelation(0.1)],
        "revival": [Revival(patience=50)],
    },
}


MIXED = Mixed([("bernoulli", [1]), ("categorical", [2, 3]), ("student_t", [4]), ("poisson", [5])])


def rows_for(likelihood):
    """Rows in the range of a likelihood; of a mixed one, column by column."""
    if likelihood is not MIXED:
        return table(likelihood)
    X = table()
    X[:, 1] = X[:, 1] > 0
    X[:, 2:4] = np.exp(X[:, 2:4]) / np.exp(X[:, 2:4]).sum(1, keepdims=True)
    X[:, 5] = np.random.default_rng(0).poisson(np.exp(X[:, 5]))
    return X


def variants(axis):
    """Every part of an axis, in each of its variants."""
    return [part for name in PARTS[axis] for part in VARIANTS.get(axis, {}).get(name, [name])]


OWN = "own modules"
SHARES = ("logistic_normal", "dirichlet", "relaxed_categorical")
# One output bias for the whole event, which a softmax over the event does not see
SHARED_BIAS = ("decoder.bias", "decoder.bias1")


def own_modules(n_features, n_raw):
    """An encoder and a decoder of a user's own, for a code of so many features."""
    encoder = {"n_values": 6, "n_features": n_raw, "n_hidden": 16}
    decoder = {"n_features": n_features, "shape": [6]}
    return Modules(own_networks.Encoder, own_networks.Decoder, encoder, decoder)


AXES = {
    "architecture": [*variants("architecture"), OWN],
    "code": variants("code"),
    "circular": [(), (0,), (1, 2)],
    "ordering": variants("ordering"),
    "likelihood": [*variants("likelihood"), MIXED],
    "penalties": [(), *([name] for name in variants("penalty"))],
    "corruption": variants("corruption"),
    "missing": ["error", "ignore"],
}


def refused(choice):
    """Why a choice is refused, if it holds one of the pairs that docs/pairs.md lists."""
    code = resolve("code", choice["code"])
    joint = isinstance(code, Posterior) and not code.factorised
    if joint and choice["ordering"] != "none":
        return "cannot be ranked"
    if joint and choice["circular"]:
        return "has no circular components"
    penalty = resolve("penalty", choice["penalties"][0]) if choice["penalties"] else None
    if penalty is not None and penalty.of_distribution and not isinstance(code, Posterior):
        return "needs a code that is a distribution"
    if joint and isinstance(penalty, TotalCorrelation):
        return "needs components that are independent"
    sigmoid = repr(choice["code"]) == "Plain(activation='sigmoid')" and not choice["circular"]
    unit = sigmoid or choice["code"] in SHARES
    if choice["penalties"] == ["kl_sparsity"] and not unit:
        return "KLSparsity needs units between 0 and 1"
    hidden = getattr(choice["architecture"], "hidden_layer_sizes", choice["architecture"] != OWN)
    deeper = choice["penalties"] and getattr(choice["penalties"][0], "layer", None)
    return "layer=1 of L1 must be left out" if deeper and not hidden else None


def covering():
    """Choices of one part per axis that contain every pair of parts, greedily few."""
    sizes = [len(parts) for parts in AXES.values()]
    left = {(i, j): np.ones((sizes[i], sizes[j])) for i, j in combinations(range(len(sizes)), 2)}
    rng = np.random.default_rng(0)
    while any(pairs.any() for pairs in left.values()):
        i, j = next(axes for axes, pairs in left.items() if pairs.any())
        tries = rng.integers(0, sizes, (200, len(sizes)))
        tries[:, [i, j]] = np.argwhere(left[i, j])[0]
        gains = sum(pairs[tries[:, i], tries[:, j]] for (i, j), pairs in left.items())
        best = tries[gains.argmax()]
        for (i, j), pairs in left.items():
            pairs[best[i], best[j]] = 0
        yield {axis: parts[k] for (axis, parts), k in zip(AXES.items(), best, strict=True)}


def describe(choice):
    return "-".join(str(part).replace(" ", "") for part in choice.values())


@pytest.mark.parametrize("choice", covering(), ids=describe)
def test_parts_train_together(choice):
    """They beat the mean predictor at every level, and every parameter receives a gradient."""
    X = rows_for(choice["likelihood"])
    reason = refused(choice)
    if choice["architecture"] == OWN:
        layout = Layout(3, choice["circular"])
        n_raw = resolve("code", choice["code"]).n_raw(layout)
        choice = choice | {"architecture": own_modules(layout.n_features, n_raw)}
    if reason:
        with pytest.raises(ValueError, match=reason):
            Autoencoder(3, **quick(**choice)).fit(X)
        return
    if choice["missing"] == "ignore" and choice["likelihood"] != "categorical":
        X[np.random.default_rng(0).random(X.shape) < 0.05] = np.nan
        if choice["likelihood"] is MIXED:  # a categorical group is missing as a whole
            X[np.isnan(X[:, 2:4]).any(1), 2:4] = np.nan
    model = Autoencoder(3, **quick(**choice, max_epochs=15, n_init=2)).fit(X)
    assert (model.fve(X) > 0).all()
    # Rare, large corruptions leave few validation rows in doubt whether PCA was beaten.
    assert model.history_["best_epoch"][model._best] > 0 or choice["corruption"] != "none"

    ensemble = model._ensemble
    rows, seen = (torch.as_tensor(x) for x in (np.nan_to_num(X, nan=1.0), ~np.isnan(X)))
    loss = sum(term.sum() for term in ensemble(Batch(rows.float(), rows.float(), None, seen)))
    gradients = torch.autograd.grad(loss, list(ensemble.parameters()))
    left_its_start = torch.as_tensor(model.history_["best_epoch"] > 0)
    event_bias = isinstance(choice["architecture"], Convolutional | Recurrent)
    constant_shift = event_bias and choice["likelihood"] == "categorical"
    for (name, _), gradient in zip(ensemble.named_parameters(), gradients, strict=True):
        if constant_shift and name in SHARED_BIAS:
            continue
        networks = gradient.reshape(2, -1, gradient[0].numel())[left_its_start]
        assert (networks != 0).any(2).all(), name

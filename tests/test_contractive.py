"""The contractive penalty and estimator: exact against brute force, and what it does."""

import re

import numpy as np
import pytest
import torch

from helpers import quick, table
from narrows import Autoencoder, Contractive, ContractiveAutoencoder, Dense, Plain
from narrows.data.batches import Batch

X = table()


def brute_force(model, rows):
    """Squared Frobenius norms of the Jacobian of the features, row by row."""
    x = torch.as_tensor(model._input_scale.apply(rows, torch.float64))

    def features(row):
        return model._model.encode(row[None])[0, 0]

    jacobians = [torch.autograd.functional.jacobian(features, row) for row in x]
    return np.array([j.square().sum().item() for j in jacobians])


@pytest.mark.parametrize("circular", [(), (1,)])
@pytest.mark.parametrize("code", ["identity", "sigmoid", "tanh", lambda raw: raw.softmax(-1)])
@pytest.mark.parametrize("hidden", [(), (16,), (16, 8)])
def test_exact_against_brute_force(hidden, code, circular):
    model = Autoencoder(
        3,
        code=Plain(code),
        circular=circular,
        penalties=[Contractive(0.3)],
        **quick(hidden_layer_sizes=hidden, precision="float64"),
    ).fit(X)
    expected = 0.3 * brute_force(model, X).mean()
    assert model.loss_terms(X)["contractive"] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("n_probes", [None, 1, 4])
def test_probes_estimate_it_without_bias(n_probes):
    settings = quick(hidden_layer_sizes=(16,), precision="float64")
    model = Autoencoder(5, penalties=[Contractive(1.0, n_probes)], **settings).fit(X)
    rows = table(n_rows=1000)
    exact = brute_force(model, rows)
    # A probe's spread about a row's value is at most √2 of it.
    error = 0 if n_probes is None else 4 * 2**0.5 * exact.max() / len(rows) ** 0.5
    found = model.loss_terms(rows)["contractive"]
    assert found == pytest.approx(exact.mean(), abs=error, rel=1e-9)
    assert (found == pytest.approx(exact.mean(), rel=1e-9)) == (n_probes is None)


@pytest.mark.parametrize("hidden", [(), (8,)])
def test_gradients_reach_the_weights(hidden):
    """Differentiating the penalty equals finite differences in the weights."""
    model = Autoencoder(
        2,
        code=Plain("sigmoid"),
        penalties=[Contractive(1.0)],
        **quick(hidden_layer_sizes=hidden, precision="float64"),
    ).fit(X)
    rows = torch.as_tensor(model._input_scale.apply(X[:20], torch.float64))
    batch, weight = Batch(rows, rows), model._model.encoder.weights[0]
    (gradient,) = torch.autograd.grad(model._model(batch)[1].sum(), weight)
    for place in [(0, 0, 0), (0, 3, 1)]:
        sides = []
        for step in (1e-6, -1e-6):
            weight.data[place] += step
            sides.append(model._model(batch)[1].item())
            weight.data[place] -= step
        assert gradient[place].item() == pytest.approx((sides[0] - sides[1]) / 2e-6, rel=1e-5)


def test_no_strength_is_the_plain_autoencoder():
    contractive = ContractiveAutoencoder(strength=0.0, **quick()).fit(X)
    architecture = Dense((16,), tied=True)
    plain = Autoencoder(code=Plain("sigmoid"), architecture=architecture, **quick()).fit(X)
    assert np.array_equal(contractive.transform(X), plain.transform(X))


def test_strength_contracts():
    norms = []
    for strength in (0.0, 0.1, 1.0):
        model = ContractiveAutoencoder(
            4, strength=strength, **quick(max_epochs=30, precision="float64")
        ).fit(X)
        norms.append(model.sensitivity(X).mean())
        np.testing.assert_allclose(model.sensitivity(X), brute_force(model, X), rtol=1e-9)
    assert norms[0] > norms[1] > norms[2]


def test_sensitivity_needs_no_target():
    model = ContractiveAutoencoder(architecture=Dense((16,)), **quick())
    model.fit(X, target=X[:, :2])
    assert (model.sensitivity(X) > 0).all()


def test_weights_are_tied_by_default():
    model = ContractiveAutoencoder(**quick()).fit(X)
    assert model._model.blueprint.architecture.tied
    assert (
        not ContractiveAutoencoder(architecture=Dense((16,)), **quick())
        .fit(X)
        ._model.blueprint.architecture.tied
    )


MISTAKES = {
    "strength": ({"strength": -1}, "strength=-1 of Contractive(strength=-1) must be at least 0."),
    "probes": (
        {"n_probes": 0},
        "n_probes=0 must be a whole number, at least 1, or None for the exact penalty.",
    ),
}


@pytest.mark.parametrize(("settings", "sentence"), MISTAKES.values(), ids=MISTAKES)
def test_bad_settings(settings, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        ContractiveAutoencoder(**quick(**settings)).fit(X)

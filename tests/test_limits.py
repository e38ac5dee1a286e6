"""Cases whose answer is known: PCA, a planted order, a circle, hostile tables."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from helpers import HOSTILE, RANKED, circle, estimators, planted_order, quick, suited, table
from narrows import Autoencoder, Dense, HierarchicalAutoencoder
from narrows.parts import PARTS, load

each_ordering = pytest.mark.parametrize("ordering", PARTS["ordering"])
FIRST, LAST = slice(None, -300), slice(-300, None)


def pca_fve(train, test, n_components, *, standardise=True):
    """Held-out fraction explained by the first 1, 2, ... principal components."""
    scaler = StandardScaler(with_std=standardise).fit(train)
    train, test = scaler.transform(train), scaler.transform(test)
    axes = PCA(n_components, svd_solver="full").fit(train).components_
    return np.cumsum([np.square(test @ axis).sum() for axis in axes]) / np.square(test).sum()


def gaussian_rows(n_rows=1300, n_values=8):
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(n_values, n_values)))[0]
    return rng.normal(size=(n_rows, n_values)) * 0.6 ** np.arange(n_values) @ turn


# Linear models


@pytest.mark.parametrize(
    ("ordering", "init", "max_epochs"),
    [
        *((name, "pca", 5) for name in PARTS["ordering"]),
        *((name, "random", 40) for name in ("none", "collective", "boosted")),
    ],
)
def test_linear_model_is_pca_at_every_level(ordering, init, max_epochs):
    X = gaussian_rows()
    linear = Dense((), init=init)
    settings = quick(ordering=ordering, architecture=linear, scale="none", max_epochs=max_epochs)
    found = Autoencoder(2, **settings).fit(X[FIRST]).fve(X[LAST])
    expected = pca_fve(X[FIRST], X[LAST], 2, standardise=False)[-len(found) :]
    np.testing.assert_allclose(found, expected, atol=0.005)


def test_tied_linear_model_is_pca():
    X = gaussian_rows()
    tied = Dense((), tied=True, init="random")
    model = Autoencoder(3, **quick(architecture=tied, max_epochs=25)).fit(X[FIRST])
    np.testing.assert_allclose(model.score(X[LAST]), pca_fve(X[FIRST], X[LAST], 3)[-1], atol=0.005)


@each_ordering
def test_linear_model_with_as_many_components_as_features_is_exact(ordering):
    X = table()
    model = Autoencoder(6, **quick(ordering=ordering, hidden_layer_sizes=())).fit(X)
    np.testing.assert_allclose(model.reconstruct(X), X, atol=1e-4)


@each_ordering
def test_untrained_start_is_pca_at_every_level(ordering):
    X = table()
    model = Autoencoder(
        4, ordering=ordering, random_state=0, max_epochs=1, learning_rate=1e-12
    ).fit(X)
    np.testing.assert_allclose(model.fve(X), pca_fve(X, X, 4)[-len(model.fve_) :], atol=1e-4)


# Penalties


@pytest.mark.parametrize("name", PARTS["penalty"])
def test_penalty_of_no_strength_changes_no_bit_and_a_strong_one_is_obeyed(name):
    X, make = table(), load(PARTS["penalty"][name])
    plain, free, weak, strong = (
        Autoencoder(3, **quick(penalties=penalties, **suited([name]), max_epochs=20)).fit(X)
        for penalties in ((), make(strength=0), make(strength=1e-6), make(strength=10.0))
    )
    np.testing.assert_array_equal(plain.transform(X), free.transform(X))
    if name == "revival":
        return  # acts in training alone
    assert strong.loss_terms(X)[name] / 10 < 0.5 * weak.loss_terms(X)[name] / 1e-6


# Known truth


def ranks(model, causes, X):
    """Size of the rank correlation of each component with the cause of its number."""
    return np.abs(np.diag(spearmanr(causes, model.transform(X)).statistic[:3, 3:]))


@pytest.mark.parametrize("ordering", RANKED)
def test_planted_order_is_found(ordering):
    X, causes = planted_order()
    model = Autoencoder(3, ordering=ordering, scale="none", random_state=0, max_epochs=60)
    assert ranks(model.fit(X[FIRST]), causes[LAST], X[LAST]).min() > 0.95


def test_swap_check_catches_a_planted_misordering():
    X, _ = planted_order()
    model = HierarchicalAutoencoder(3, **quick(scale="none", max_epochs=20)).fit(X[FIRST])
    right = model.swap_check(X[LAST], random_state=0)
    assert (right.difference > 0.05).all()
    assert right.in_order
    encoder = model._model.encoder
    for parameter in (encoder.path, encoder.weights[-1], encoder.biases[-1]):
        parameter.data = parameter.data[..., [0, 2, 1]]
    wrong = model.swap_check(X[LAST], random_state=0)
    np.testing.assert_allclose(wrong.difference[1], -right.difference[1], atol=0.02)
    assert not wrong.in_order


def test_planted_order_is_not_found_without_ordering():
    """From random weights, since a start as PCA is ranked already."""
    X, causes = planted_order()
    random = Dense(init="random")
    model = Autoencoder(3, scale="none", architecture=random, random_state=0, max_epochs=60)
    assert ranks(model.fit(X[FIRST]), causes[LAST], X[LAST]).min() < 0.8
    assert model.score(X[LAST]) > 0.9


def test_a_circular_component_has_no_jump():
    rng = np.random.default_rng(0)
    angle, fine = rng.uniform(-np.pi, np.pi, 1000), np.linspace(-np.pi, np.pi, 2001)
    X = circle(angle) + rng.normal(scale=0.05, size=(1000, 10))
    settings = {"scale": "none", "random_state": 0, "max_epochs": 60}
    circular, plain = (Autoencoder(1, circular=j, **settings).fit(X[FIRST]) for j in ((0,), ()))

    known = 1 - np.square(X - circle(angle))[LAST].sum() / np.square(X - X.mean(0))[LAST].sum()
    assert circular.score(X[LAST]) > 0.99 * known
    assert plain.score(X[LAST]) < 0.99 * known

    around, there_and_back = (
        np.diff(model.transform(circle(fine))[:, 0]) for model in (circular, plain)
    )
    around = (around + np.pi) % (2 * np.pi) - np.pi
    assert abs(around.sum()) == pytest.approx(2 * np.pi, abs=1e-3)
    assert np.abs(around).max() < 1.5 * np.abs(around).mean()
    assert np.abs(there_and_back).max() > 2.5 * np.abs(there_and_back).mean()


# Never worse than PCA


def nothing_added(choice):
    """Whether the reconstruction is all that is asked for: then PCA is a bound."""
    free = choice.disturbance is None and choice.schedule is None and choice.critic is None
    return free and not choice.penalties


@pytest.mark.filterwarnings("ignore:.*features are constant")
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_data_are_not_worse_than_pca(name):
    """With default settings; the mean over variants and data sets of that kind."""
    gains, (n_train, make) = [], HOSTILE[name]
    promising = [e for e in estimators(random_state=0) if nothing_added(e._choose_parts())]
    for seed in range(2):
        train, test = np.split(make(np.random.default_rng(seed), n_train + 400), [n_train])
        best = pca_fve(train, test, 2)[-1]
        gains += [model.fit(train).score(test) - best for model in promising]
    assert np.mean(gains) > -0.01, np.round(gains, 3)

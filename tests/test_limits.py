"""Cases whose answer is known: PCA, a planted order, a circle, hostile tables."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from helpers import HOSTILE, estimators, noisy_circle, planted_order, quick, short_name, table
from narrows import Autoencoder, Dense, HierarchicalAutoencoder, Training
from narrows.parts import PARTS, load

each_ordering = pytest.mark.parametrize("ordering", PARTS["ordering"])
FIRST, LAST = slice(None, -300), slice(-300, None)


def pca_fve(train, test, n_components):
    """Held-out fraction explained by the first 1, 2, ... principal components."""
    scaler = StandardScaler().fit(train)
    train, test = scaler.transform(train), scaler.transform(test)
    n_components = min(n_components, *train.shape)
    axes = PCA(n_components, svd_solver="full").fit(train).components_
    errors = [np.square(test - test @ axes[:k].T @ axes[:k]).sum() for k in range(1, len(axes) + 1)]
    return 1 - np.array(errors) / np.square(test).sum()


def gaussian_rows(seed=0, n_rows=1300, n_values=8):
    rng = np.random.default_rng(seed)
    return rng.multivariate_normal(np.zeros(n_values), np.diag(0.6 ** np.arange(n_values)), n_rows) @ (
        np.linalg.qr(rng.normal(size=(n_values, n_values)))[0]
    )


# Linear models


@each_ordering
@pytest.mark.parametrize("init", ["pca", "random"])
def test_linear_model_is_pca_at_every_level(ordering, init):
    X = gaussian_rows()
    linear = Dense((), init=init)
    model = Autoencoder(3, ordering=ordering, architecture=linear, random_state=0, max_epochs=60)
    found = model.fit(X[FIRST]).fve(X[LAST])
    np.testing.assert_allclose(found, pca_fve(X[FIRST], X[LAST], 3)[-len(found) :], atol=0.005)


def test_tied_linear_model_is_pca():
    X = gaussian_rows()
    model = Autoencoder(3, architecture=Dense((), tied=True, init="random"), random_state=0, max_epochs=60)
    found = model.fit(X[FIRST]).fve(X[LAST])
    np.testing.assert_allclose(found, pca_fve(X[FIRST], X[LAST], 3)[-1:], atol=0.005)


@each_ordering
def test_linear_model_with_as_many_components_as_features_is_exact(ordering):
    X = table()
    model = Autoencoder(6, **quick(ordering=ordering, hidden_layer_sizes=())).fit(X)
    np.testing.assert_allclose(model.reconstruct(X), X, atol=1e-4)


@each_ordering
def test_untrained_start_is_pca_at_every_level(ordering):
    X = table()
    model = Autoencoder(4, ordering=ordering, random_state=0, max_epochs=1, learning_rate=1e-12).fit(X)
    np.testing.assert_allclose(model.fve(X), pca_fve(X, X, 4)[-len(model.fve_) :], atol=1e-4)


# Penalties


@pytest.mark.parametrize("penalty", PARTS["penalty"])
def test_penalty_of_no_strength_changes_no_bit_and_a_strong_one_is_obeyed(penalty):
    X = table()
    make = load(PARTS["penalty"][penalty])
    plain, free, strong = (
        Autoencoder(3, **quick(penalties=penalties, max_epochs=20)).fit(X)
        for penalties in ((), make(strength=0), make(strength=30.0))
    )
    np.testing.assert_array_equal(plain.transform(X), free.transform(X))
    measure = clone(plain).set_params(penalties=make(strength=1.0))
    sizes = []
    for model in (plain, strong):
        measure.__dict__.update(vars(model))
    assert strong.loss_terms(X)[penalty] < 30 * 0.5 * free.loss_terms(X)[penalty] or sizes


# Known truth


@pytest.mark.parametrize("ordering", PARTS["ordering"])
def test_planted_order_is_found(ordering):
    X, sources = planted_order()
    model = Autoencoder(3, ordering=ordering, random_state=0, max_epochs=80).fit(X)
    found = np.abs(spearmanr(sources, model.transform(X)).statistic[:3, 3:])
    print(ordering, found.round(2), model.fve_.round(3))


@pytest.mark.parametrize("circular", [(0,), ()], ids=["circular", "plain"])
def test_circle(circular):
    X, angle, best = noisy_circle()
    model = Autoencoder(1, circular=circular, random_state=0, max_epochs=80).fit(X)
    code = model.transform(X)[np.argsort(angle), 0]
    steps = np.diff(code, append=code[0])
    if circular:
        steps = (steps + np.pi) % (2 * np.pi) - np.pi
    print(circular, model.score(X) / best, np.abs(steps).max() , np.ptp(code))


# Never worse than PCA


@pytest.mark.parametrize("estimator", [*estimators(random_state=0)], ids=short_name)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_data_are_not_worse_than_pca(name, estimator):
    gains = []
    for seed in range(3):
        X = HOSTILE[name](np.random.default_rng(seed))
        n_test = len(X) // 3
        with np.errstate(all="ignore"):
            model = clone(estimator).fit(X[n_test:])
        gains.append(model.score(X[:n_test]) - pca_fve(X[n_test:], X[:n_test], 2)[-1])
    assert np.mean(gains) > -0.01, gains

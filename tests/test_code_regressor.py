"""Regression through a code: against regression itself, its spread, and scikit-learn's contract."""

import pickle
import re

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from scipy.sparse import csr_array
from scipy.spatial.distance import pdist
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import (
    BaggingRegressor,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
)
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import BayesianRidge, LinearRegression, Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVR
from sklearn.tree import DecisionTreeRegressor
from sklearn.utils.estimator_checks import parametrize_with_checks

from helpers import circle, quick
from narrows import Autoencoder, CodeRegressor, HierarchicalAutoencoder, ModuleRegressor, Training

MINIBATCHES = "a weighted row stands in one minibatch, its copies in several (as for SGDClassifier)"
EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": MINIBATCHES,
    "check_sample_weight_equivalence_on_sparse_data": MINIBATCHES,
}


@pytest.mark.filterwarnings(
    "ignore:n_components=2 exceeds the 1 features", "ignore:.*features are constant"
)
@parametrize_with_checks(
    [
        CodeRegressor(autoencoder=Autoencoder(hidden_layer_sizes=(16,), max_epochs=4)),
        ModuleRegressor(torch.nn.Linear, max_epochs=20, learning_rate=0.05),
    ],
    expected_failed_checks=lambda estimator: EXPECTED,
)
def test_sklearn_checks(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # else one check is skipped
    check(estimator)


def world(n_rows=300, n_outputs=6, seed=0):
    """Outputs that follow a few causes, of which X shows part, with offsets and scales."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 3))
    causes = np.column_stack([X, X[:, 0] * X[:, 1], rng.normal(size=n_rows)])
    y = causes @ rng.normal(size=(5, n_outputs)) + 0.1 * rng.normal(size=(n_rows, n_outputs))
    return X, y * np.logspace(-2, 2, n_outputs) + np.linspace(-5, 50, n_outputs)


X, Y = world()
PROCESS = GaussianProcessRegressor(alpha=0.1, optimizer=None)  # one kernel for all codes
WEIGHT = np.random.default_rng(1).uniform(0.1, 3, len(X))


def pca(n_components=2, **settings):
    """A linear autoencoder, which stays at its start, PCA."""
    return Autoencoder(n_components, **quick(hidden_layer_sizes=(), **settings))


def close(found, expected, tolerance=2e-6):
    width = np.ptp(expected, axis=0)
    np.testing.assert_allclose(found / width, expected / width, rtol=0, atol=tolerance)


# Limits


@pytest.mark.parametrize(
    "regressor",
    [LinearRegression(), Ridge(30.0), KNeighborsRegressor(3), make_pipeline(KernelRidge(0.1))],
    ids=lambda regressor: type(regressor).__name__,
)
def test_a_full_linear_code_is_regression_itself(regressor):
    centred = TransformedTargetRegressor(regressor, transformer=StandardScaler(with_std=False))
    model = CodeRegressor(regressor, pca(6)).fit(X, Y)
    close(model.predict(X), centred.fit(X, Y).predict(X))


@pytest.mark.parametrize("scale", ["standard", "global"])
def test_a_full_linear_code_has_the_distances_of_the_output(scale):
    model = CodeRegressor(Ridge(), pca(6, scale=scale)).fit(X, Y)
    codes = model.code_weight_ * model.scaler_.transform(model.autoencoder_.transform(Y))
    scaled = StandardScaler(with_std=scale == "standard").fit_transform(Y)
    ratio = pdist(codes) / pdist(scaled)
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)
    assert model.code_weight_.max() == 1


def test_a_tree_splits_on_a_full_linear_code_as_on_the_output():
    tree = DecisionTreeRegressor(min_samples_leaf=10, random_state=0)
    scaled = TransformedTargetRegressor(tree, transformer=StandardScaler())
    close(CodeRegressor(tree, pca(6)).fit(X, Y).predict(X), scaled.fit(X, Y).predict(X))
    close(
        CodeRegressor(tree, pca(6, scale="global")).fit(X, Y).predict(X),
        tree.fit(X, Y).predict(X),
    )


def test_a_small_linear_code_is_regression_on_principal_components():
    for n_components in (1, 3):
        scaler, axes = StandardScaler().fit(Y), PCA(n_components)
        codes = axes.fit_transform(scaler.transform(Y))
        predicted = axes.inverse_transform(LinearRegression().fit(X, codes).predict(X))
        model = CodeRegressor(LinearRegression(), pca(n_components)).fit(X, Y)
        close(model.predict(X), scaler.inverse_transform(predicted))


def test_weights_reach_both_parts():
    weighted = CodeRegressor(LinearRegression(), pca(6)).fit(X, Y, sample_weight=WEIGHT)
    direct = LinearRegression().fit(X, Y, sample_weight=WEIGHT)
    close(weighted.predict(X), direct.predict(X))
    scale = CodeRegressor(LinearRegression(), pca(6)).fit(X, Y, sample_weight=50 * WEIGHT)
    close(scale.predict(X), direct.predict(X))
    alone = pca(2).fit(Y, sample_weight=WEIGHT)
    model = CodeRegressor(Ridge(), pca(2)).fit(X, Y, sample_weight=WEIGHT)
    assert np.array_equal(model.autoencoder_.transform(Y), alone.transform(Y))
    codes = model.scaler_.transform(alone.transform(Y).astype(np.float64))
    assert np.average(codes, axis=0, weights=WEIGHT) == pytest.approx(0, abs=1e-9)


def test_large_offsets_survive():
    far = CodeRegressor(LinearRegression(), pca(3)).fit(X, 1e7 + 1e-3 * Y[:, 2:4].repeat(2, 1))
    near = CodeRegressor(LinearRegression(), pca(3)).fit(X, Y[:, 2:4].repeat(2, 1))
    close((far.predict(X) - 1e7) / 1e-3, near.predict(X), 1e-4)


@pytest.mark.parametrize(
    "regressor",
    [None, Ridge(), GradientBoostingRegressor(n_estimators=5), KNeighborsRegressor(3)],
    ids=lambda regressor: type(regressor).__name__,
)
@pytest.mark.parametrize("n_components", [1, 2])
def test_any_regressor_and_any_shape(regressor, n_components):
    model = CodeRegressor(regressor, pca(n_components), random_state=0)
    flat = model.fit(X, Y).predict(X)
    shaped = model.fit(X, Y.reshape(-1, 3, 2)).predict(X)
    np.testing.assert_array_equal(shaped, flat.reshape(-1, 3, 2))
    assert model.residual_variance_.shape == (3, 2)
    assert model.score(X, Y.reshape(-1, 3, 2)) == pytest.approx(r2_score(Y, flat), abs=1e-12)


def test_one_dimension_in_one_dimension_out():
    model = CodeRegressor(LinearRegression(), pca(1)).fit(X, Y[:, 0])
    assert model.predict(X).shape == model.predict(X, return_std=False).shape == (len(X),)
    close(model.predict(X), LinearRegression().fit(X, Y[:, 0]).predict(X))
    assert model.fit(X, Y[:, :1]).predict(X).shape == (len(X), 1)
    assert model.score(X, Y[:, 0]) == model.score(X, Y[:, :1])


def test_circular_components_are_learned_as_pairs():
    angle = np.random.default_rng(0).uniform(-np.pi, np.pi, 400)
    rows, inputs = circle(angle), np.column_stack([np.cos(angle), np.sin(angle)])
    autoencoder = Autoencoder(1, circular=[0], **quick())
    model = CodeRegressor(LinearRegression(), autoencoder).fit(inputs, rows)
    assert model.score(inputs, rows) > 0.999
    # Half the codes one way, half at right angles: a mean pair of length √½.
    constant = CodeRegressor(DummyRegressor(), autoencoder).fit(inputs, rows)
    pair = autoencoder.fit(rows).set_params(circular_output="cos_sin").transform(rows).mean(0)
    assert np.hypot(*pair) < 0.5
    expected = autoencoder.inverse_transform([pair / np.hypot(*pair)])
    np.testing.assert_allclose(constant.predict(inputs[:1]), expected, atol=1e-6)


def test_a_pair_has_the_effect_of_both_sides():
    rng = np.random.default_rng(0)
    angle, along = rng.uniform(-np.pi, np.pi, 300), rng.uniform(-1, 1, (300, 1))
    rows = np.hstack([circle(angle), along])
    autoencoder = Autoencoder(2, circular=[0], scale="global", **quick())
    model = CodeRegressor(LinearRegression(), autoencoder).fit(rows, rows)
    pairs = clone(autoencoder).set_params(circular_output="cos_sin").fit(rows).transform(rows)
    cosine, sine, plain = pairs.astype(np.float64).T

    def moved(d_cosine, d_sine, d_plain):
        turned = np.arctan2(sine + d_sine, cosine + d_cosine)
        return model.autoencoder_.inverse_transform(np.column_stack([turned, plain + d_plain]))

    steps = np.diag([cosine.std(), sine.std(), plain.std()]) / 2
    effects = np.array([((moved(*step) - moved(*-step)) ** 2).mean() for step in steps]) ** 0.5
    pair = np.hypot(effects[0], effects[1])
    expected = np.array([pair, pair, effects[2]])
    np.testing.assert_allclose(model.code_weight_, expected / expected.max(), rtol=1e-4)


@pytest.mark.filterwarnings("ignore:3 of 3 features are constant")
def test_codes_without_effect_stay_at_their_mean():
    flat = Y[:, :2] @ np.array([[1.0, 0.0, 2.0, 1.0], [0.0, 1.0, 1.0, -1.0]])
    model = CodeRegressor(Ridge(), pca(4)).fit(X, flat)
    assert (model.code_weight_ > 0).tolist() == [True, True, False, False]
    found = []
    for codes in ([0.3, 0.2, 1.0, 1.0], [0.3, 0.2, 0.0, 0.0]):
        model.regressor_ = DummyRegressor(strategy="constant", constant=codes)
        model.regressor_.fit(X, np.zeros((len(X), 4)))
        found.append(model.predict(X))
    assert np.array_equal(*found)
    constant = CodeRegressor(Ridge(), pca(2)).fit(X, np.ones((len(X), 3)))
    assert np.array_equal(constant.predict(X), np.ones((len(X), 3)))


def test_effects_count_rows_by_their_weights():
    whole = Training(validation_fraction=0.0)
    autoencoder = Autoencoder(2, max_epochs=5, training=whole, random_state=0)
    kept = np.arange(len(X)) < 200
    weighted = CodeRegressor(Ridge(), autoencoder).fit(X, Y, sample_weight=1.0 * kept)
    alone = CodeRegressor(Ridge(), autoencoder).fit(X[kept], Y[kept])
    np.testing.assert_allclose(weighted.code_weight_, alone.code_weight_, rtol=1e-3)


@pytest.mark.parametrize(
    "regressor",
    [GradientBoostingRegressor(n_estimators=2), MultiOutputRegressor(SVR()), PROCESS],
    ids=["per code", "several of one output", "with a deviation"],
)
def test_codes_learned_apart_or_with_a_deviation_are_standardised(regressor):
    model = CodeRegressor(regressor, pca(3)).fit(X, Y)
    assert model.code_weight_.tolist() == [1, 1, 1]


def search(estimator):
    return GridSearchCV(estimator, {"alpha": [0.1, 1.0]}, cv=2)


@pytest.mark.parametrize(
    "regressor",
    [
        search(Ridge()),
        RandomizedSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, n_iter=2, cv=2),
        make_pipeline(StandardScaler(), search(Ridge())),
        TransformedTargetRegressor(search(Ridge()), transformer=StandardScaler()),
    ],
    ids=["grid", "random", "pipeline", "target"],
)
def test_a_search_chooses_once_for_all_codes(regressor, monkeypatch):
    fits, fit = [], Ridge.fit

    def counted(self, *arguments, **options):
        fits.append(self.alpha)
        return fit(self, *arguments, **options)

    monkeypatch.setattr(Ridge, "fit", counted)
    CodeRegressor(regressor, pca(3)).fit(X, Y)
    assert len(fits) == 5


# Spread


def loadings(model):
    """How far each value of y moves with each standardised code, of a linear decoder."""
    unit = model.scaler_.inverse_transform(np.eye(model.scaler_.n_features_in_))
    decode = model.autoencoder_.inverse_transform
    return (decode(unit) - decode(model.scaler_.mean_[None])).astype(np.float64)


@pytest.mark.parametrize(
    "regressor",
    [
        PROCESS,
        BayesianRidge(),
        make_pipeline(StandardScaler(), BayesianRidge()),
        make_pipeline(BayesianRidge()),
    ],
    ids=["process", "per code", "pipeline", "pipeline of one"],
)
@pytest.mark.parametrize("n_components", [1, 3])
def test_a_linear_decoder_spreads_as_the_codes_do(regressor, n_components):
    model = CodeRegressor(
        regressor, pca(n_components), n_draws=8, include_residual=False, random_state=0
    )
    model.fit(X[:100], Y[:100])
    found = model.predict(X[100:], return_std=True)[1]
    codes = model.scaler_.transform(model.autoencoder_.transform(Y[:100]))
    spread = np.column_stack(
        [clone(regressor).fit(X[:100], z).predict(X[100:], return_std=True)[1] for z in codes.T]
    )
    expected = np.sqrt(spread**2 @ loadings(model) ** 2)
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_few_draws_are_near_the_truth():
    model = CodeRegressor(BayesianRidge(), pca(6), n_draws=6, random_state=0).fit(X, Y)
    exact = clone(model).set_params(n_draws=7).fit(X, Y)
    found, expected = (m.predict(X[:1], return_std=True)[1] for m in (model, exact))
    assert not np.allclose(found, expected, rtol=1e-3)
    np.testing.assert_allclose(found, expected, rtol=0.8)


def test_a_curved_decoder_spreads_as_quadrature_says():
    angle = np.random.default_rng(0).normal(size=(500, 1))
    rows = np.column_stack([angle, angle**2, np.sin(3 * angle)])
    model = CodeRegressor(
        BayesianRidge(),
        Autoencoder(1, max_epochs=60, random_state=0),
        n_draws=1000,
        include_residual=False,
        random_state=0,
    ).fit(angle + 0.5 * np.random.default_rng(1).normal(size=(500, 1)), rows)
    mean, deviation = model.regressor_.predict([[0.3]], return_std=True)
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    codes = model.scaler_.inverse_transform((mean + deviation * nodes)[:, None])
    decoded = model.autoencoder_.inverse_transform(codes).astype(np.float64)
    average = weights @ decoded / weights.sum()
    expected = np.sqrt(weights @ (decoded - average) ** 2 / weights.sum())
    np.testing.assert_allclose(model.predict([[0.3]], return_std=True)[1][0], expected, rtol=0.07)


def test_members_are_decoded_each():
    for regressor in (
        RandomForestRegressor(7, random_state=0),
        make_pipeline(StandardScaler(), RandomForestRegressor(7, random_state=0)),
    ):
        model = CodeRegressor(regressor, pca(3), include_residual=False).fit(X, Y)
        last = model.regressor_[-1] if hasattr(model.regressor_, "steps") else model.regressor_
        rows = model.regressor_[:-1].transform(X) if last is not model.regressor_ else X
        targets = [tree.predict(rows) / model.code_weight_ for tree in last.estimators_]
        codes = [model.scaler_.inverse_transform(target) for target in targets]
        decoded = [model.autoencoder_.inverse_transform(code) for code in codes]
        mean, deviation = model.predict(X, return_std=True)
        close(deviation, np.std(decoded, axis=0, dtype=np.float64), 1e-4)
        close(mean, np.mean(decoded, axis=0, dtype=np.float64), 1e-4)


def test_bagging_spreads_on_its_own_features():
    bagging = BaggingRegressor(DecisionTreeRegressor(max_depth=3), 5, max_features=2)
    model = CodeRegressor(bagging, pca(2), include_residual=False, random_state=0)
    model.fit(pd.DataFrame(X, columns=list("abc")), Y)
    assert isinstance(model.regressor_, MultiOutputRegressor)
    codes = np.array(
        [
            [member.predict(X[:, use]) for member, use in zip(*parts, strict=True)]
            for own in model.regressor_.estimators_
            for parts in [(own.estimators_, own.estimators_features_)]
        ]
    )
    decoded = [
        model.autoencoder_.inverse_transform(model.scaler_.inverse_transform(code.T))
        for code in codes.transpose(1, 0, 2)
    ]
    found = model.predict(pd.DataFrame(X, columns=list("abc")), return_std=True)[1]
    close(found, np.std(decoded, axis=0, dtype=np.float64), 1e-4)


def test_variance_is_that_of_the_codes_and_that_of_the_residual():
    model = CodeRegressor(BayesianRidge(), pca(2), random_state=0).fit(X, Y)
    both = model.predict(X, return_std=True)[1] ** 2
    codes = model.set_params(include_residual=False).predict(X, return_std=True)[1] ** 2
    np.testing.assert_allclose(both - codes, np.tile(model.residual_variance_, (len(X), 1)))
    held = model.autoencoder_._held
    assert 0 < len(held) < len(X)
    expected = ((Y - model.autoencoder_.reconstruct(Y))[held] ** 2).mean(0)
    np.testing.assert_allclose(model.residual_variance_, expected, rtol=1e-3)


def test_the_spread_covers_the_error():
    """Of outputs whose principal components have a predictable part and noise of their own."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(4000, 2))
    causes = (0.8 * inputs + 0.6 * rng.normal(size=(4000, 2))) * [3, 2]
    y = causes @ np.linalg.qr(rng.normal(size=(8, 8)))[0][:2] + 0.3 * rng.normal(size=(4000, 8))
    model = CodeRegressor(BayesianRidge(), pca(2, scale="global"), random_state=0)
    mean, deviation = model.fit(inputs[:2000], y[:2000]).predict(inputs[2000:], return_std=True)
    ratio = ((y[2000:] - mean) / deviation).std(0)
    # 2000 test rows and 600 validation rows tell a standard deviation to 3 %.
    np.testing.assert_allclose(ratio, 1, atol=0.09)
    assert ratio.mean() == pytest.approx(1, abs=0.03)


def test_spread_is_the_same_at_every_call_and_in_any_company():
    model = CodeRegressor(BayesianRidge(), pca(2), n_draws=10, random_state=0).fit(X, Y)
    _, deviation = model.predict(X, return_std=True)
    assert np.array_equal(deviation, model.predict(X, return_std=True)[1])
    assert np.array_equal(deviation, clone(model).fit(X, Y).predict(X, return_std=True)[1])
    np.testing.assert_allclose(deviation[7:8], model.predict(X[7:8], return_std=True)[1], rtol=1e-5)
    search = GridSearchCV(PROCESS, {"alpha": [0.1, 1.0]}, cv=2)
    model = CodeRegressor(search, pca(2), random_state=0).fit(X[:60], Y[:60])
    assert (model.predict(X, return_std=True)[1] > 0).all()


# Missing entries


def holes(share=0.1):
    y = Y.copy()
    y[np.random.default_rng(2).random(y.shape) < share] = np.nan
    return y


def test_missing_entries_do_not_count():
    y = holes()
    autoencoder = Autoencoder(3, missing="ignore", **quick())
    model = CodeRegressor(autoencoder=autoencoder, random_state=0).fit(X, y)
    predicted = model.predict(X)
    assert np.isfinite(predicted).all()
    seen = ~np.isnan(y)
    parts = [r2_score(y[s, j], predicted[s, j]) for j, s in enumerate(seen.T)]
    assert model.score(X, y) == pytest.approx(np.mean(parts), abs=1e-12)
    own = [
        r2_score(y[s, j], predicted[s, j], sample_weight=WEIGHT[s]) for j, s in enumerate(seen.T)
    ]
    assert model.score(X, y, sample_weight=WEIGHT) == pytest.approx(np.mean(own), abs=1e-12)
    error = np.where(seen, y - model.autoencoder_.reconstruct(y), np.nan)[model.autoencoder_._held]
    np.testing.assert_allclose(model.residual_variance_, np.nanmean(error**2, 0), rtol=1e-3)
    rest = y.copy()
    rest[1:, 0] = np.nan  # observed once: no R²
    assert model.score(X, rest) == pytest.approx(np.mean(parts[1:]), abs=1e-12)


def test_residuals_come_from_all_rows_where_no_validation_row_knows():
    y = Y.copy()
    held = pca(2).fit(Y)._held
    y[held, 1] = np.nan
    autoencoder = pca(2, missing="ignore", random_state=0)
    model = CodeRegressor(Ridge(), autoencoder).fit(X, y)
    assert np.array_equal(model.autoencoder_._held, held)
    error = (y - model.autoencoder_.reconstruct(y))[:, 1]
    assert model.residual_variance_[1] == pytest.approx(np.nanmean(error**2), rel=1e-3)
    assert np.isfinite(model.residual_variance_).all()


def test_score_of_outputs_that_do_not_vary():
    y = np.column_stack([Y[:, 0], np.full(len(X), 0.1)])
    with pytest.warns(UserWarning, match="1 of 2 features are constant"):
        model = CodeRegressor(LinearRegression(), pca(1)).fit(X, y)
    first = r2_score(y[:, 0], model.predict(X)[:, 0])
    met = model.predict(X)[:, 1] == 0.1
    assert model.score(X, y) == pytest.approx((first + met.all()) / 2, abs=1e-12)
    assert np.isnan(model.score(X[:1], y[:1]))


# Within scikit-learn


def test_grid_search_reaches_both_parts():
    model = CodeRegressor(Ridge(), pca(), random_state=0)
    grid = {"regressor__alpha": [1e-3, 1e3], "autoencoder__n_components": [1, 5]}
    search = GridSearchCV(model, grid, cv=3).fit(X, Y)
    assert search.best_params_ == {"regressor__alpha": 1e-3, "autoencoder__n_components": 5}
    assert search.best_score_ == pytest.approx(search.cv_results_["mean_test_score"].max())
    assert search.best_estimator_.regressor_.coef_.shape == (5, 3)


def test_clone_and_pickle():
    model = CodeRegressor(BayesianRidge(), HierarchicalAutoencoder(2, **quick()), random_state=0)
    model.fit(X, Y)
    twin = clone(model)
    assert str(twin.get_params()) == str(model.get_params())
    assert not [name for name in vars(twin) if name.endswith("_")]
    again = pickle.loads(pickle.dumps(model))
    for found, expected in zip(
        again.predict(X, return_std=True), model.predict(X, return_std=True), strict=True
    ):
        assert np.array_equal(found, expected)


def test_frames_with_names():
    inputs = pd.DataFrame(X, columns=list("abc"))
    outputs = pd.DataFrame(Y, columns=list("uvwxyz"))
    model = CodeRegressor(Ridge(), pca()).fit(inputs, outputs)
    assert list(model.feature_names_in_) == list("abc")
    assert model.n_features_in_ == 3
    assert list(model.autoencoder_.feature_names_in_) == list("uvwxyz")
    plain = CodeRegressor(Ridge(), pca()).fit(X, Y)
    close(model.predict(inputs), plain.predict(X))
    assert model.score(inputs, outputs) == pytest.approx(plain.score(X, Y), abs=1e-9)
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(inputs[list("bac")])
    outputs.loc[3, "w"] = np.nan
    with pytest.raises(ValueError, match=r"y has missing entries .* in row 3, column 'w'"):
        model.fit(inputs, outputs)
    close(model.predict(inputs), plain.predict(X))


def test_inputs_are_the_regressors_business():
    frame = pd.DataFrame({"a": X[:, 0], "kind": np.where(X[:, 1] > 0, "up", "down")})
    codes = OneHotEncoder(sparse_output=False)
    inputs = ColumnTransformer([("kind", codes, ["kind"])], remainder="passthrough")
    model = CodeRegressor(make_pipeline(inputs, LinearRegression()), pca(6)).fit(frame, Y)
    plain = np.column_stack([X[:, 0], X[:, 1] > 0])
    close(model.predict(frame), LinearRegression().fit(plain, Y).predict(plain))
    gaps = np.where(X > 1, np.nan, X)
    trees = CodeRegressor(HistGradientBoostingRegressor(max_iter=5, random_state=0), pca(2))
    assert trees.fit(gaps, Y).score(gaps, Y) > 0
    thin = csr_array(np.where(X > 0, X, 0))
    sparse, dense = (
        CodeRegressor(Ridge(), pca(2)).fit(x, Y).predict(x) for x in (thin, thin.toarray())
    )
    close(sparse, dense, 1e-3)


def test_one_seed_decides_all_that_has_none():
    def drawn(seed, own=None):
        parts = RandomForestRegressor(3, random_state=own), pca(random_state=own)
        return CodeRegressor(*parts, random_state=seed).fit(X, Y).predict(X)

    assert np.array_equal(drawn(0), drawn(0))
    assert not np.array_equal(drawn(0), drawn(1))
    assert np.array_equal(drawn(0, own=5), drawn(1, own=5))


@pytest.fixture
def _routed():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.mark.usefixtures("_routed")
def test_weights_are_routed_to_those_that_ask():
    pipeline = make_pipeline(
        StandardScaler().set_fit_request(sample_weight=False),
        LinearRegression().set_fit_request(sample_weight=True),
    )
    asking = pca(6).set_fit_request(sample_weight=True)
    model = CodeRegressor(pipeline, asking).fit(X, Y, sample_weight=WEIGHT)
    close(model.predict(X), LinearRegression().fit(X, Y, sample_weight=WEIGHT).predict(X))
    deaf = pca(6).set_fit_request(sample_weight=False)
    model = CodeRegressor(KNeighborsRegressor(), deaf).fit(X, Y)
    assert np.array_equal(model.autoencoder_.transform(Y), pca(6).fit(Y).transform(Y))
    with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
        CodeRegressor(pipeline, pca(6)).fit(X, Y, sample_weight=WEIGHT)


@pytest.mark.usefixtures("_routed")
def test_defaults_ask_for_weights_and_groups_are_routed():
    given = CodeRegressor(random_state=0).set_params(autoencoder=pca(2))
    given.autoencoder.set_fit_request(sample_weight=True, groups=True)
    given.autoencoder.training.set_params(split="groups")
    groups = np.arange(len(X)) // 10
    model = given.fit(X, Y, sample_weight=WEIGHT, groups=groups)
    held = groups[model.autoencoder_._held]
    assert set(np.bincount(held)) == {0, 10}
    sklearn.set_config(enable_metadata_routing=False)
    plain = CodeRegressor(autoencoder=pca(2), random_state=0)
    with pytest.raises(ValueError, match="groups"):
        plain.fit(X, Y, groups=groups)


# Modules


def network(n_features, n_outputs):
    layers = torch.nn.Linear(n_features, 16), torch.nn.SiLU(), torch.nn.Linear(16, n_outputs)
    return torch.nn.Sequential(*layers)


def test_a_linear_module_finds_least_squares():
    whole = Training(validation_fraction=0.0)
    model = ModuleRegressor(
        torch.nn.Linear(3, 2),
        max_epochs=300,
        batch_size=len(X),
        learning_rate=0.05,
        training=whole,
        random_state=0,
    )
    uneven = np.where(X[:, 0] > 0, 5.0, 0.2)
    for weight in (None, uneven):
        found = model.fit(X, Y[:, :2], sample_weight=weight).predict(X)
        direct = LinearRegression().fit(X, Y[:, :2], sample_weight=weight).predict(X)
        close(found, direct, 1e-5)


@pytest.mark.parametrize("scale", ["auto", "standard", "global"])
def test_outputs_count_as_they_are_scaled(scale):
    """A module that says the same of both outputs finds the mean of both, as they are scaled."""

    class Same(torch.nn.Linear):
        def forward(self, x):
            return super().forward(x).repeat(1, 2)

    model = ModuleRegressor(
        Same(3, 1),
        max_epochs=300,
        batch_size=len(X),
        learning_rate=0.05,
        scale=scale,
        training=Training(validation_fraction=0.0),
        random_state=0,
    )
    width = np.ones(2) if scale == "global" else Y[:, :2].std(0)
    middle = ((Y[:, :2] - Y[:, :2].mean(0)) / width).mean(1)
    expected = LinearRegression().fit(X, middle).predict(X)[:, None] * width + Y[:, :2].mean(0)
    close(model.fit(X, Y[:, :2]).predict(X), expected, 1e-5)


def test_a_module_learns_weighted_codes():
    module = ModuleRegressor(network, max_epochs=1)
    for regressor in (module, network(3, 3), make_pipeline(StandardScaler(), module)):
        model = CodeRegressor(regressor, pca(3), random_state=0).fit(X, Y)
        last = model.regressor_[-1] if hasattr(model.regressor_, "steps") else model.regressor_
        assert last.scale == "global"
    assert module.scale == "auto"
    module.set_params(scale="standard")
    assert CodeRegressor(module, pca(3)).fit(X, Y).regressor_.scale == "standard"


def test_a_module_is_copied_and_trained_the_same_every_time():
    module = torch.nn.Sequential(
        torch.nn.Linear(3, 16),
        torch.nn.BatchNorm1d(16),
        torch.nn.Dropout(0.3),
        torch.nn.Linear(16, 2),
    )
    before, state = pickle.dumps(module), torch.get_rng_state()
    model = CodeRegressor(module, pca(), random_state=0)
    model.set_params(regressor=ModuleRegressor(module, max_epochs=3, batch_size=50))
    first = model.fit(X, Y).predict(X)
    assert np.array_equal(first, clone(model).fit(X, Y).predict(X))
    assert not np.array_equal(first, model.set_params(random_state=1).fit(X, Y).predict(X))
    assert torch.equal(torch.get_rng_state(), state)
    assert pickle.dumps(module) == before
    own = dict(model.regressor_.module_.named_buffers())
    assert int(own["1.num_batches_tracked"]) > 0


def test_frozen_parameters_and_single_numbers():
    class Scaled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.frozen = torch.nn.Linear(3, 4).requires_grad_(False)
            self.last = torch.nn.Linear(4, 1)
            self.factor = torch.nn.Parameter(torch.tensor(1.0))

        def forward(self, x):
            return self.factor * self.last(self.frozen(x))

    module = Scaled()
    model = ModuleRegressor(module, max_epochs=5, random_state=0).fit(X, Y[:, 0])
    assert torch.equal(model.module_.frozen.weight, module.frozen.weight)
    assert not torch.equal(model.module_.factor, module.factor)
    assert model.predict(X).shape == (len(X),)
    assert model.history_["validation_loss"][-1] < model.history_["validation_loss"][0]


def test_a_module_learns_codes_at_any_size():
    model = CodeRegressor(network(3, 3), Autoencoder(2, circular=[0], **quick()), random_state=0)
    assert model.fit(X, Y).score(X, Y) > 0.3
    made = ModuleRegressor(network, max_epochs=50)
    search = GridSearchCV(
        CodeRegressor(made, pca(), random_state=0), {"autoencoder__n_components": [1, 4]}, cv=2
    )
    assert search.fit(X, Y).best_params_ == {"autoencoder__n_components": 4}
    bagged = CodeRegressor(BaggingRegressor(made, 3), pca(2), random_state=0).fit(X, Y)
    assert (bagged.predict(X, return_std=True)[1] > 0).all()


def test_a_setting_changed_after_the_fit_leaves_the_module_alone():
    model = ModuleRegressor(network, max_epochs=2, random_state=0).fit(X, Y)
    before = model.predict(X)
    model.set_params(training=Training(precision="float64"))
    assert np.array_equal(model.predict(X), before)


def test_no_batch_is_a_single_row():
    sizes = []

    class Counting(torch.nn.Sequential):
        def forward(self, x):
            if self.training:
                sizes.append(len(x))
            return super().forward(x)

    def normalised(n_features, n_outputs):
        hidden = torch.nn.Linear(n_features, 4), torch.nn.BatchNorm1d(4)
        return Counting(*hidden, torch.nn.Linear(4, n_outputs))

    all_rows = Training(validation_fraction=0.0)
    settings = {"max_epochs": 1, "random_state": 0, "training": all_rows}
    for n_rows, batch_size, expected in (
        (65, 32, [33, 32]),
        (64, 32, [32, 32]),
        (7, 2, [4, 3]),
        (9, 8, [9]),
    ):
        sizes.clear()
        ModuleRegressor(normalised, batch_size=batch_size, **settings).fit(X[:n_rows], Y[:n_rows])
        assert sizes == expected


def test_groups_stay_together():
    groups = np.arange(len(X)) // 50
    by_groups = Training(split="groups")
    model = ModuleRegressor(network, max_epochs=2, random_state=0, training=by_groups)
    assert model.fit(X, Y, groups=groups).n_iter_ == 2
    with pytest.raises(ValueError, match="split='groups' needs to know the groups"):
        model.fit(X, Y)


# What is refused

EMPTY = Y.copy()
EMPTY[[5, 8]] = np.nan
IGNORE = pca(2, missing="ignore")
MISTAKES = {
    "no observed entry": (
        CodeRegressor(Ridge(), IGNORE),
        EMPTY,
        {},
        "y has 2 rows without any observed entry, the first is row 5. Drop these rows of X and y.",
    ),
    "missing": (
        CodeRegressor(Ridge(), pca()),
        EMPTY,
        {},
        "y has missing entries (NaN): 12, the first in row 5, column 0. "
        "Fill them, drop their rows, or write missing='ignore'.",
    ),
    "rows": (
        CodeRegressor(Ridge(), pca()),
        Y[:-1],
        {},
        "X has 300 rows, but y has 299. Pass one row of y per row of X.",
    ),
    "no weights": (
        CodeRegressor(KNeighborsRegressor(), pca()),
        Y,
        {"sample_weight": WEIGHT},
        "sample_weight was given, but KNeighborsRegressor takes none. Leave it out, write another "
        "regressor, or route it within a pipeline: "
        "sklearn.set_config(enable_metadata_routing=True).",
    ),
    "draws": (
        CodeRegressor(Ridge(), pca(), n_draws=1),
        Y,
        {},
        "n_draws=1 must be a whole number, at least 2. Write 100.",
    ),
    "module": (
        CodeRegressor(torch.nn.Linear(3, 5), Autoencoder(2, circular=[1])),
        Y,
        {},
        "The module gives 5 values a row, but 3 are to be predicted (a code has one per plain "
        "component and two per circular one). End it with torch.nn.Linear(..., 3), say.",
    ),
    "module's input": (
        CodeRegressor(torch.nn.Linear(4, 2), pca()),
        Y,
        {},
        "The module does not take rows of 3 features: mat1 and mat2 shapes cannot be multiplied "
        "(2x3 and 4x2). Begin it with torch.nn.Linear(3, ...), say.",
    ),
    "scale": (
        ModuleRegressor(network, scale="channel"),
        X,
        {},
        "scale='channel' must be one of auto, standard, global. Write scale='standard'.",
    ),
    "nothing to train": (
        ModuleRegressor(torch.nn.Identity()),
        X,
        {},
        "The module has no parameters to train. Write a module that has some.",
    ),
}


@pytest.mark.parametrize(("model", "y", "options", "sentence"), MISTAKES.values(), ids=MISTAKES)
def test_bad_input(model, y, options, sentence, monkeypatch):
    def too_late(*_, **__):
        raise AssertionError("trained before it was refused")

    monkeypatch.setattr("narrows.estimators._fitting.learn", too_late)
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        model.fit(X, y, **options)
    assert not hasattr(model, "n_features_in_")


WRONG = {
    "autoencoder": (
        CodeRegressor(Ridge(), PCA(2)),
        "autoencoder=PCA(n_components=2) is not an autoencoder of narrows. Write Autoencoder(5), "
        "say, or use sklearn.compose.TransformedTargetRegressor.",
    ),
    "regressor": (
        CodeRegressor("ridge", pca()),
        "regressor='ridge' is neither a regressor nor a torch module. Write Ridge(), say.",
    ),
    "module": (
        ModuleRegressor("linear"),
        "module='linear' is not a torch module. Write torch.nn.Linear(3, 6), say, or a function of "
        "the two sizes that returns a module.",
    ),
}


@pytest.mark.parametrize(("model", "sentence"), WRONG.values(), ids=WRONG)
def test_wrong_parts(model, sentence):
    with pytest.raises(TypeError, match=f"^{re.escape(sentence)}$"):
        model.fit(X, Y)


def test_no_spread_and_other_outputs():
    model = CodeRegressor(Ridge(), pca()).fit(X, Y)
    sentence = (
        "Ridge tells no spread. Write a regressor whose predict takes return_std "
        "(GaussianProcessRegressor, BayesianRidge), a random forest, or BaggingRegressor(...) "
        "around yours."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        model.predict(X, return_std=True)
    sentence = (
        "y has rows of shape (3, 2), but the model was fitted on (6,). "
        "Pass the same outputs in the same order."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        model.score(X, Y.reshape(-1, 3, 2))

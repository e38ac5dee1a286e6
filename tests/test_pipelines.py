"""What users build around autoencoders with scikit-learn's own parts."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler

from helpers import estimators, quick, short_name
from narrows import Autoencoder, CodeRegressor, Training

each_estimator = pytest.mark.parametrize("estimator", [*estimators(**quick())], ids=short_name)


def labelled(n_rows=240, seed=0):
    """Rows in six dimensions, and which of two rings in a curved plane they lie on."""
    rng = np.random.default_rng(seed)
    angle, label = rng.uniform(-np.pi, np.pi, n_rows), rng.integers(0, 2, n_rows)
    ring = (1 + 2 * label)[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    rows = np.column_stack([ring, (ring**2).sum(1) / 3])
    rows = rows @ np.linalg.qr(rng.normal(size=(6, 6)))[0][:3]
    return rows + 0.05 * rng.normal(size=rows.shape), np.array(["inner", "outer"])[label]


X, LABELS = labelled()
WEIGHT = np.random.default_rng(1).uniform(0.1, 3, len(X))
LINEAR = {"hidden_layer_sizes": ()}


def classifier(**settings):
    return make_pipeline(
        StandardScaler(), Autoencoder(3, **quick(**settings)), LogisticRegression()
    )


@each_estimator
def test_codes_feed_a_classifier(estimator):
    estimator = sklearn.clone(estimator).set_params(n_components=3)
    if "sparsity" in estimator.get_params():
        estimator.set_params(strength=0.01)  # three units are few to be sparse with
    pipeline = make_pipeline(StandardScaler(), estimator, LogisticRegression())
    assert pipeline.fit(X[:160], LABELS[:160]).score(X[160:], LABELS[160:]) > 0.9
    codes = estimator.transform(pipeline[0].transform(X))
    alone = LogisticRegression().fit(codes[:160], LABELS[:160])
    np.testing.assert_array_equal(pipeline.predict(X), alone.predict(codes))


def test_a_linear_code_classifies_as_pca_does():
    codes = make_pipeline(StandardScaler(), Autoencoder(2, **quick(**LINEAR)), StandardScaler())
    axes = make_pipeline(StandardScaler(), PCA(2, whiten=True), StandardScaler())
    found, expected = (
        make_pipeline(steps, LogisticRegression()).fit(X, LABELS).predict_proba(X)
        for steps in (codes, axes)
    )
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_grid_search_through_a_pipeline():
    grid = {"autoencoder__n_components": [1, 3], "logisticregression__C": [0.1, 10]}
    search = GridSearchCV(classifier(), grid, cv=3).fit(X, LABELS)
    assert search.best_params_["autoencoder__n_components"] == 3
    best = search.best_estimator_
    again = classifier().set_params(**search.best_params_).fit(X, LABELS)
    np.testing.assert_array_equal(best.predict_proba(X), again.predict_proba(X))


def test_cross_validation_refits_on_every_part():
    scores = cross_val_score(classifier(), X, LABELS, cv=3)
    parts = np.array_split(np.arange(len(X)), 3)
    folds = [(np.setdiff1d(np.arange(len(X)), part), part) for part in parts]
    result = cross_validate(classifier(), X, LABELS, cv=folds, return_estimator=True)
    for (train, test), score, pipeline in zip(
        folds, result["test_score"], result["estimator"], strict=True
    ):
        own = classifier().fit(X[train], LABELS[train])
        assert own.score(X[test], LABELS[test]) == score
        np.testing.assert_array_equal(own[1].transform(X), pipeline[1].transform(X))
    assert scores.min() > 0.9


@each_estimator
def test_frames_pass_through(estimator):
    frame = pd.DataFrame(X, columns=list("abcdef"), index=np.arange(1000, 1000 + len(X)))
    estimator = sklearn.clone(estimator)
    pipeline = make_pipeline(StandardScaler(), estimator).set_output(transform="pandas")
    codes = pipeline.fit_transform(frame)
    assert list(codes.columns) == list(pipeline.get_feature_names_out())
    assert codes.index.equals(frame.index)
    assert list(estimator.feature_names_in_) == list("abcdef")
    plain = make_pipeline(StandardScaler(), sklearn.clone(estimator)).fit_transform(X)
    np.testing.assert_allclose(codes, plain, atol=1e-5)


def test_codes_stand_beside_other_columns():
    frame = pd.DataFrame(X, columns=list("abcdef"))
    parts = ColumnTransformer(
        [
            ("code", Autoencoder(2, **quick()), list("abcd")),
            ("rest", make_union(StandardScaler(), PCA(1)), list("ef")),
        ],
    ).set_output(transform="pandas")
    assert list(parts.fit_transform(frame).columns) == [
        "code__autoencoder0",
        "code__autoencoder1",
        "rest__standardscaler__e",
        "rest__standardscaler__f",
        "rest__pca__pca0",
    ]


# Weights and groups


@pytest.fixture
def _routed():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.mark.usefixtures("_routed")
def test_weights_are_routed_through_a_pipeline():
    scaler = StandardScaler().set_fit_request(sample_weight=False)
    autoencoder = Autoencoder(2, **quick()).set_fit_request(sample_weight=True)
    last = LogisticRegression().set_fit_request(sample_weight=True)
    pipeline = make_pipeline(scaler, autoencoder, last)
    pipeline.fit(X, LABELS, sample_weight=WEIGHT)
    rows = StandardScaler().fit_transform(X)
    codes = Autoencoder(2, **quick()).fit(rows, sample_weight=WEIGHT).transform(rows)
    alone = LogisticRegression().fit(codes, LABELS, sample_weight=WEIGHT)
    np.testing.assert_array_equal(pipeline.predict_proba(X), alone.predict_proba(codes))
    silent = make_pipeline(scaler, Autoencoder(2, **quick()), last)
    with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
        silent.fit(X, LABELS, sample_weight=WEIGHT)


@pytest.mark.usefixtures("_routed")
def test_groups_are_routed_to_the_split_and_to_the_folds():
    groups = np.arange(len(X)) // 20
    autoencoder = Autoencoder(2, **quick(split="groups")).set_fit_request(groups=True)
    pipeline = make_pipeline(StandardScaler(), autoencoder, LogisticRegression())
    result = cross_validate(
        pipeline,
        X,
        LABELS,
        cv=GroupKFold(3),
        params={"groups": groups},
        return_estimator=True,
        return_indices=True,
    )
    for fitted, train in zip(result["estimator"], result["indices"]["train"], strict=True):
        held = fitted[1]._held
        assert set(np.bincount(groups[train][held])) == {0, 20}


@pytest.mark.usefixtures("_routed")
def test_weights_score_as_well():
    asking = Autoencoder(2, **quick())
    asking.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
    folds = [(np.arange(160), np.arange(160, 240))]
    scores = cross_val_score(asking, X, cv=folds, params={"sample_weight": WEIGHT})
    alone = Autoencoder(2, **quick()).fit(X[:160], sample_weight=WEIGHT[:160])
    assert scores == [alone.score(X[160:], sample_weight=WEIGHT[160:])]


# Regression of what is transformed


def test_a_transformed_target_is_a_code():
    inputs = np.random.default_rng(0).normal(size=(len(X), 4))
    y = inputs @ np.random.default_rng(1).normal(size=(4, 6)) + X
    for n_components in (2, 6):
        model = TransformedTargetRegressor(
            LinearRegression(),
            transformer=Autoencoder(n_components, **quick(**LINEAR)),
            check_inverse=False,
        ).fit(inputs, y)
        code = CodeRegressor(LinearRegression(), Autoencoder(n_components, **quick(**LINEAR)))
        expected = code.fit(inputs, y).predict(inputs)
        np.testing.assert_allclose(model.predict(inputs), expected, atol=1e-4)
    direct = LinearRegression().fit(inputs, y).predict(inputs)
    np.testing.assert_allclose(model.predict(inputs), direct, atol=1e-4)


def test_a_transformed_target_needs_pairs_for_angles():
    inputs = X[:, :3]
    transformer = Autoencoder(1, circular=[0], circular_output="cos_sin", **quick())
    model = TransformedTargetRegressor(Ridge(), transformer=transformer, check_inverse=False)
    model.fit(inputs, X)
    assert model.regressor_.coef_.shape == (2, 3)
    assert model.predict(inputs).shape == X.shape


def test_a_code_regressor_ends_a_pipeline():
    inputs = np.random.default_rng(0).normal(size=(len(X), 4))
    y = (inputs @ np.random.default_rng(1).normal(size=(4, 6))).reshape(-1, 2, 3)
    model = CodeRegressor(Ridge(), Autoencoder(4, **quick(**LINEAR)), random_state=0)
    pipeline = make_pipeline(StandardScaler(), model)
    assert cross_val_score(pipeline, inputs, y, cv=3).min() > 0.99
    assert pipeline.fit(inputs, y).predict(inputs).shape == (len(X), 2, 3)
    grid = {"coderegressor__autoencoder__training__validation_fraction": [0.1, 0.2]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(inputs, y)
    assert search.best_estimator_[1].autoencoder_.training.validation_fraction in (0.1, 0.2)
    assert isinstance(model.autoencoder.training, Training)

"""scikit-learn's contract: its whole check suite, and what users build from estimators."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from helpers import estimators, quick, short_name, table
from narrows import Autoencoder, HierarchicalAutoencoder, Training

MINIBATCHES = "a weighted row stands in one minibatch, its copies in several (as for SGDClassifier)"
EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": MINIBATCHES,
    "check_sample_weight_equivalence_on_sparse_data": MINIBATCHES,
}
each_estimator = pytest.mark.parametrize("estimator", [*estimators(**quick())], ids=short_name)


@pytest.mark.filterwarnings(
    "ignore:n_components=2 exceeds the 1 features", "ignore:.*features are constant"
)
@parametrize_with_checks(
    [*estimators(hidden_layer_sizes=(16,), max_epochs=4)],
    expected_failed_checks=lambda estimator: EXPECTED,
)
def test_sklearn_checks(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # else one check is skipped
    check(estimator)


@each_estimator
def test_clone_keeps_the_settings_and_forgets_the_fit(estimator):
    estimator = clone(estimator).set_params(training=Training(patience=3), circular=[1])
    twin = clone(clone(estimator).fit(table()))
    assert str(twin.get_params()) == str(estimator.get_params())
    assert not [name for name in vars(twin) if name.endswith("_")]


@each_estimator
def test_pipeline_passes_labels_that_play_no_role(estimator):
    X, labels = table(), np.repeat(["a", "b"], 100)
    pipeline = make_pipeline(StandardScaler(), estimator)
    codes = pipeline.fit_transform(X, labels)
    np.testing.assert_array_equal(codes, pipeline.fit(X).transform(X))
    assert pipeline.score(X, labels) == estimator.score(pipeline[0].transform(X))
    assert pipeline.inverse_transform(codes).shape == X.shape


def test_grid_search_reaches_nested_settings():
    grid = {"training__patience": [1, 2], "n_components": [1, 3]}
    search = GridSearchCV(HierarchicalAutoencoder(**quick()), grid, cv=2)
    search.fit(table())
    assert search.best_params_["n_components"] == 3
    assert search.best_estimator_.training.patience in grid["training__patience"]


@each_estimator
def test_cross_validation_scores_with_the_fraction_explained(estimator):
    X = table()
    scores = cross_val_score(estimator, X, cv=[(np.arange(150), np.arange(150, 200))])
    assert scores == [estimator.fit(X[:150]).fve(X[150:])[-1]]


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("circular_output", ["angle", "cos_sin"])
def test_frames_in_frames_out(library, circular_output):
    frame = {"pandas": pd, "polars": pl}[library].DataFrame(
        dict(zip("abcdef", table().T, strict=True))
    )
    model = Autoencoder(**quick(circular=(0,), circular_output=circular_output)).fit(frame)
    assert list(model.feature_names_in_) == list("abcdef")
    codes = model.set_output(transform=library).transform(frame)
    assert type(codes) is type(frame)
    first = {"angle": ["autoencoder0"], "cos_sin": ["autoencoder0_cos", "autoencoder0_sin"]}
    assert list(codes.columns) == [*first[circular_output], "autoencoder1"]
    assert list(model.get_feature_names_out()) == list(codes.columns)
    with pytest.raises(ValueError, match="feature names should match"):
        model.transform(frame[list("bacdef")])

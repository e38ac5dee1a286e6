"""Regression through a code: against regression itself, its spread, and scikit-learn's contract."""

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from narrows import Autoencoder, CodeRegressor, ModuleRegressor

WEIGHTS = "a weighted row stands in one minibatch, its copies in several (as for SGDClassifier)"
EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": WEIGHTS,
    "check_sample_weight_equivalence_on_sparse_data": WEIGHTS,
}


def linear(n_features, n_outputs):
    import torch

    return torch.nn.Linear(n_features, n_outputs)


@pytest.mark.filterwarnings("ignore:n_components=2 exceeds the 1 features", "ignore:.*features are constant")
@parametrize_with_checks(
    [
        CodeRegressor(autoencoder=Autoencoder(hidden_layer_sizes=(16,), max_epochs=4)),
        ModuleRegressor(linear, max_epochs=20, learning_rate=0.05),
    ],
    expected_failed_checks=lambda estimator: EXPECTED,
)
def test_sklearn_checks(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # else one check is skipped
    check(estimator)

"""What a regressor tells of its predictions: their spread, as draws of them."""

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import BaggingRegressor, ExtraTreesRegressor, RandomForestRegressor
from sklearn.model_selection._search import BaseSearchCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array

_MEANS = (BaggingRegressor, ExtraTreesRegressor, RandomForestRegressor)


def normal_draws(
    n_draws: int, n_outputs: int, seed: np.random.SeedSequence
) -> Float[np.ndarray, "{n_draws} {n_outputs}"]:
    """Return standard normal numbers.

    With more draws than outputs, their sample means are 0 and their covariance is 1, exactly, so
    that what is linear in them has its exact variance.
    """
    drawn = np.random.default_rng(seed).standard_normal((n_draws, n_outputs))
    if n_draws <= n_outputs:
        return drawn
    axes, _ = np.linalg.qr(drawn - drawn.mean(0))
    return np.asarray(axes * n_draws**0.5)


def innermost(regressor: Any) -> Any:
    """Return what predicts within pipelines, searches and transformations of the target."""
    if isinstance(regressor, Pipeline):
        return innermost(regressor[-1])
    if isinstance(regressor, BaseSearchCV):
        return innermost(regressor.estimator)
    if isinstance(regressor, TransformedTargetRegressor) and regressor.regressor is not None:
        return innermost(regressor.regressor)
    return regressor


def tells_deviation(regressor: Any) -> bool:
    """Return whether `predict` gives a standard deviation."""
    return "return_std" in inspect.signature(regressor.predict).parameters


def draws(
    regressor: Any, X: Any, normal: Float[np.ndarray, "draw output"]
) -> Iterator[Float[np.ndarray, "row output"]]:
    """Yield draws of the outputs of a fitted regressor.

    A regressor that gives a standard deviation is drawn from as Gaussian, its outputs apart from
    one another, with the same `normal` numbers for every row, so that a row's spread does not
    depend on the other rows; a mean of members yields each member's prediction.

    Raises
    ------
    ValueError
        If the regressor does neither; the message says which do.
    """
    if isinstance(regressor, Pipeline):
        rows = regressor[:-1].transform(X) if len(regressor) > 1 else X
        yield from draws(regressor[-1], rows, normal)
    elif hasattr(regressor, "best_estimator_"):
        yield from draws(regressor.best_estimator_, X, normal)
    elif isinstance(regressor, MultiOutputRegressor):
        columns = np.split(normal, normal.shape[1], axis=1)
        outputs = zip(regressor.estimators_, columns, strict=True)
        for drawn in zip(*(draws(own, X, column) for own, column in outputs), strict=True):
            yield np.hstack(drawn)
    elif tells_deviation(regressor):
        mean, deviation = (_columns(part) for part in regressor.predict(X, return_std=True))
        for numbers in normal:
            yield mean + deviation * numbers
    else:
        yield from _members(regressor, X)


def _members(regressor: Any, X: Any) -> Iterator[Float[np.ndarray, "row output"]]:
    if not isinstance(regressor, _MEANS):
        raise ValueError(
            f"{type(regressor).__name__} tells no spread. Write a regressor whose predict takes "
            "return_std (GaussianProcessRegressor, BayesianRidge), a random forest, or "
            "BaggingRegressor(...) around yours."
        )
    rows = check_array(X, accept_sparse="csr", ensure_all_finite=False)
    features = getattr(regressor, "estimators_features_", None)
    for number, member in enumerate(regressor.estimators_):
        yield _columns(member.predict(rows if features is None else rows[:, features[number]]))


def _columns(prediction: Any) -> Float[np.ndarray, "row output"]:
    return np.asarray(prediction, dtype=np.float64).reshape(len(prediction), -1)

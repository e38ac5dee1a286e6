"""Scoring with Dask: the same numbers, chunk by chunk, and only when they are computed."""

import re
from collections.abc import Iterator

import cloudpickle
import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from helpers import estimators, few_labels, quick, short_name, table
from narrows import (
    Autoencoder,
    CodeRegressor,
    ModuleRegressor,
    OutlierDetector,
    SemiSupervisedVAE,
    SparseAutoencoder,
    StackedClassifier,
    StackedRegressor,
    VariationalAutoencoder,
    source,
)
from narrows.estimators._chunks import _light

pytest.importorskip("distributed", reason="needs narrows[scale]")
da = pytest.importorskip("dask.array", reason="needs narrows[scale]")

# What Dask and the cluster say while they start and stop is not ours.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::UserWarning:distributed"
)

X = table(n_rows=90)
EACH = [*estimators(**quick())]


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Two processes that compute what this module asks for."""
    from distributed import Client, LocalCluster

    settings = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(processes=True, **settings) as made, Client(made):
        yield


def never(block: np.ndarray) -> np.ndarray:
    raise AssertionError("computed too early")


def lazy(rows: np.ndarray, chunks: tuple = (37, 4)) -> object:
    return da.from_array(rows, chunks=chunks)


def check(function, rows: np.ndarray = X, chunks: tuple = (37, 4), **more) -> None:
    """Compare what a function makes of rows in chunks and of all at once."""
    expected = function(rows)
    early = da.from_array(rows, chunks=chunks).map_blocks(never, dtype=rows.dtype, meta=rows[:0])
    assert function(early).shape == expected.shape
    found = function(lazy(rows, chunks))
    assert isinstance(found, da.Array)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    assert found.chunks[0] == lazy(rows, chunks).chunks[0]
    assert (found._meta.ndim, found._meta.dtype) == (expected.ndim, expected.dtype)
    values = found.compute(**more)
    assert values.dtype == expected.dtype
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)
    else:
        np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("estimator", EACH, ids=short_name)
def test_codes_rows_and_scores_are_those_of_rows_in_memory(estimator):
    model = estimator.fit(X)
    for function in (model.transform, model.reconstruct, model.score_samples):
        check(function, scheduler="threads")
    codes = model.transform(X)
    check(model.inverse_transform, codes, (50, 1), scheduler="threads")


def test_two_processes_compute(cluster):
    model = SparseAutoencoder(8, **quick(n_init=3)).fit(X)
    for function in (model.transform, model.reconstruct, model.score_samples):
        check(function)
    detector = OutlierDetector(model, random_state=0).fit(X)
    check(detector.predict)


def test_a_level_is_passed_on():
    model = EACH[1].fit(X)
    check(lambda rows: model.reconstruct(rows, 1), scheduler="threads")
    check(lambda rows: model.reconstruct(rows, level=2), scheduler="threads")
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(
            model.reconstruct(lazy(X), 1).compute(), model.reconstruct(X, 2), rtol=1e-3
        )


def test_events_angles_and_double_precision():
    images = X.reshape(90, 2, 3)
    settings = quick(precision="float64")
    model = Autoencoder(2, circular=(0,), circular_output="cos_sin", **settings).fit(images)
    for function in (model.transform, model.reconstruct, model.score_samples):
        check(function, images, (20, 1, 2), scheduler="threads")


def test_targets_and_conditions_come_in_chunks():
    Y, known = X[:, :2] ** 2, np.arange(90.0)[:, None] % 7
    model = VariationalAutoencoder(**quick()).fit(X, target=Y, condition=known)
    beside = {"target": lazy(Y, (90, 1)), "condition": lazy(known, (11, 1))}
    found = model.score_samples(lazy(X), **beside)
    expected = model.score_samples(X, target=Y, condition=known)
    np.testing.assert_allclose(found.compute(scheduler="threads"), expected, rtol=1e-5)
    one = model.transform(lazy(X), condition=[3.0]).compute(scheduler="threads")
    np.testing.assert_allclose(one, model.transform(X, condition=[3.0]), rtol=1e-5)
    for name in ("target", "condition"):
        message = f"{name} must be a Dask array as X is. Write dask.array.from_array({name}), say."
        given = {**beside, name: Y}
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            model.score_samples(lazy(X), **given)
    message = "target has 80 rows, but X has 90. Pass one row per row of X."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        model.score_samples(lazy(X), **{**beside, "target": lazy(Y[:80], (90, 2))})


def test_chunks_of_unknown_size_or_without_rows():
    model = Autoencoder(**quick()).fit(X)
    rows = lazy(X, (30, 3))
    some = rows[da.isin(da.arange(90, chunks=30), [1, 2, 70])]
    found = model.transform(some)
    assert np.isnan(found.chunks[0]).all()
    expected = model.transform(X[[1, 2, 70]])
    np.testing.assert_allclose(found.compute(scheduler="threads"), expected, rtol=1e-5)
    message = "The Dask array has events of unknown shape. Write X.compute_chunk_sizes()."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        model.transform(rows[:, da.ones(6, chunks=6) > 0])


def test_other_rows_are_refused_before_anything_is_computed():
    model = Autoencoder(**quick()).fit(X)
    message = (
        "X has events of shape (5,), but the model was fitted on (6,). Pass rows with the same "
        "features in the same order."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        model.transform(lazy(X[:, :5]))
    with pytest.raises(ValueError, match=r"^X has one dimension"):
        model.transform(lazy(X[0], (3,)))
    with pytest.raises(ValueError, match="missing entries"):
        model.transform(lazy(np.where(X[50, 1] == X, np.nan, X))).compute(scheduler="threads")


def test_what_cannot_be_lazy_is_refused_at_once():
    model = Autoencoder(**quick()).fit(X).set_output(transform="pandas")
    with pytest.raises(TypeError, match="which set_output would compute as a whole"):
        model.transform(lazy(X))
    conditional = VariationalAutoencoder(**quick()).fit(X, condition=X[:, :1])
    with pytest.raises(ValueError, match="fitted with a condition"):
        conditional.transform(lazy(X))


def test_fit_says_what_to_pass_instead(tmp_path):
    message = (
        "A Dask array is not taken here: it is by transform, inverse_transform, reconstruct and "
        "score_samples of autoencoders, and by predict. Write X.to_zarr('rows.zarr') and pass "
        "narrows.source('rows.zarr')."
    )
    model = Autoencoder(**quick())
    for call in (
        lambda: model.fit(lazy(X)),
        lambda: model.fit(X, target=lazy(X)),
        lambda: model.fit(X).fve(lazy(X)),
        lambda: source(lazy(X)),
        lambda: OutlierDetector().fit(lazy(X)),
    ):
        with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
            call()


def test_predictions():
    y = (X[:, 0] > 0).astype(int)
    labels = np.array(["no", "yes"])[y]
    settings = {"max_epochs": 3, "random_state": 0}
    stacked = StackedClassifier((8,), layer_epochs=2, **settings).fit(X, labels)
    several = StackedClassifier((8,), layer_epochs=2, **settings).fit(X, np.column_stack([y, y]))
    few = SemiSupervisedVAE(2, **settings).fit(X, few_labels(y))
    values = StackedRegressor((8,), layer_epochs=2, **settings)
    module = ModuleRegressor(torch.nn.Linear(6, 2), **settings).fit(X, X[:, :2])
    code = CodeRegressor(Ridge(), Autoencoder(**quick()), random_state=0).fit(X, X)
    detector = OutlierDetector(Autoencoder(**quick()), score="latent").fit(X)
    for function in (
        stacked.predict,
        stacked.predict_proba,
        several.predict,
        few.predict,
        few.predict_proba,
        values.fit(X, X[:, 0]).predict,
        values.fit(X, X[:, :3]).predict,
        module.predict,
        code.predict,
        detector.predict,
        detector.score_samples,
        detector.decision_function,
    ):
        check(function, scheduler="threads")
    with pytest.raises(ValueError, match=r"^Shares of several questions are several arrays"):
        several.predict_proba(lazy(X))
    with pytest.raises(ValueError, match=r"^return_std=True takes rows in memory"):
        code.predict(lazy(X), return_std=True)


def test_what_is_sent_is_one_restart_alone():
    model = Autoencoder(hidden_layer_sizes=(64, 64), n_init=8, max_epochs=1).fit(X)
    model.partial_fit(X)
    size = sum(4 * weight.numel() for weight in model._model.parameters())
    assert len(cloudpickle.dumps(_light(model))) < size + 20_000
    assert len(cloudpickle.dumps(model)) > 8 * size

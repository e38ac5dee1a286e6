"""What must not change anything: units, row order, batches, containers, seeds, threads."""

import random
import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import sparse
from sklearn.base import clone

from helpers import RANKED, estimators, quick, short_name, table
from narrows import Autoencoder, Dense, HierarchicalAutoencoder, source
from narrows.data.batches import Batch
from narrows.estimators import _fitting
from narrows.parts import PARTS

each_estimator = pytest.mark.parametrize("estimator", [*estimators(**quick())], ids=short_name)
each_ordering = pytest.mark.parametrize("ordering", PARTS["ordering"])
same_bits = np.testing.assert_array_equal


@each_estimator
def test_quick_fits_learn(estimator):
    """These tests are of networks that have left their start."""
    assert estimator.fit(table()).history_["best_epoch"] > 0


# Orderings and codes


@pytest.mark.parametrize("ordering", RANKED)
def test_a_level_depends_on_its_own_components_only(ordering):
    estimator = HierarchicalAutoencoder(3, ordering=ordering, circular=(1,), **quick()).fit(table())
    model, component = estimator._model, np.array(estimator._model.blueprint.layout.component)
    features = torch.randn(1, 1, 4, generator=torch.Generator().manual_seed(0))
    for level in range(3):
        jacobian = torch.autograd.functional.jacobian(
            lambda z, k=level: model.decode(z)[0, k, 0], features
        )
        slopes = jacobian.abs().sum(0).flatten().numpy()
        assert (slopes[component > level] == 0).all()
        assert (slopes[component <= level] > 0).all()


@each_estimator
def test_one_level_equals_that_of_all(estimator):
    X = table()
    codes = estimator.fit(X).transform(X)
    n_levels = len(estimator.fve_)
    for level in range(1, n_levels + 1) if n_levels > 1 else [estimator.n_components]:
        reconstruction = estimator.reconstruct(X, level)
        np.testing.assert_allclose(
            estimator.inverse_transform(codes, level), reconstruction, atol=1e-5
        )
    same_bits(estimator.reconstruct(X), reconstruction)


# Rows


@each_estimator
def test_codes_do_not_depend_on_how_rows_are_batched(estimator, monkeypatch):
    X, order = table(), np.random.default_rng(0).permutation(200)
    codes, fve = estimator.fit(X).transform(X), estimator.fve(X)
    same_bits(estimator.transform(X), codes)
    same_bits(estimator.transform(X[order])[order.argsort()], codes)
    np.testing.assert_allclose(
        np.concatenate([estimator.transform(row[None]) for row in X]), codes, atol=1e-5
    )
    monkeypatch.setattr(_fitting, "EVALUATION_ROWS", 7)
    np.testing.assert_allclose(estimator.transform(X), codes, atol=1e-5)
    np.testing.assert_allclose(estimator.fve(X), fve, atol=1e-5)


@each_estimator
def test_rows_of_weight_zero_are_as_removed(estimator):
    X, weight = table(), np.random.default_rng(0).integers(0, 3, 200).astype(float)
    X[weight == 0] *= 1e36
    estimator = clone(estimator).set_params(training__precision="float64")
    codes = clone(estimator).fit(X[weight > 0], sample_weight=weight[weight > 0]).transform(X)
    np.testing.assert_allclose(
        estimator.fit(X, sample_weight=weight).transform(X), codes, rtol=1e-6
    )
    np.testing.assert_allclose(
        estimator.fit(X, sample_weight=7 * weight).transform(X), codes, rtol=1e-6
    )


# Units


@each_estimator
@pytest.mark.parametrize("scale", ["standard", "global"])
def test_units_do_not_matter(estimator, scale):
    """Exact where floating point is: for powers of two; each column its own if standardised."""
    X, units = table(), 2.0 ** np.array([-20, -7, 0, 3, 11, 20])
    units = units if scale == "standard" else np.full(6, 2.0**20)
    estimator = clone(estimator).set_params(scale=scale)
    model, other = clone(estimator).fit(X), clone(estimator).fit(X * units)
    same_bits(other.transform(X * units), model.transform(X))
    same_bits(other.fve(X * units), model.fve(X))
    same_bits(other.reconstruct(X * units), model.reconstruct(X) * units.astype(np.float32))


@each_estimator
def test_offsets_do_not_matter(estimator):
    """Exact but for the rounding of the offset data, which steps of Adam from PCA amplify."""
    X, units = np.round(table(), 2), 10.0 ** np.array([-2, -1, 0, 2, 4, 6])
    moved = X * units + 1e6
    model, other = clone(estimator).fit(X), clone(estimator).fit(moved)
    starts = [m.history_["validation_loss"][0] for m in (model, other)]
    np.testing.assert_allclose(*starts, rtol=1e-5)
    np.testing.assert_allclose(other.fve(moved), model.fve(X), atol=0.02)


@each_estimator
def test_no_unit_is_too_small_or_large(estimator):
    """Rows beyond the range of single precision come back in double, as far as squares go."""
    X, units = table(), 2.0 ** np.array([-480, -130, 0, 110, 130, 480])
    model, other = clone(estimator).fit(X), clone(estimator).fit(X * units)
    same_bits(other.transform(X * units), model.transform(X))
    found = other.reconstruct(X * units) / units
    np.testing.assert_allclose(found, model.reconstruct(X), rtol=1e-5, atol=1e-5)
    same_bits(other.inverse_transform(other.transform(X * units)) / units, found)


@each_estimator
def test_reconstructions_keep_what_large_offsets_leave(estimator):
    """The explained variance of rows that are given out is the one that is claimed."""
    X = 1e6 + 1e-3 * table()
    model = clone(estimator).fit(X)
    for given in (model.reconstruct(X), model.inverse_transform(model.transform(X))):
        residual = np.square(given - X).sum(0) / np.square(X - X.mean(0)).sum(0)
        assert 1 - residual.mean() == pytest.approx(model.score(X), abs=1e-4)


@each_ordering
def test_single_precision_only_rounds(ordering):
    """At the start as PCA, some gradients vanish: steps must not follow their rounding."""
    losses = [
        Autoencoder(**quick(ordering=ordering, precision=precision))
        .fit(table())
        .history_["validation_loss"]
        for precision in ("float32", "float64")
    ]
    np.testing.assert_allclose(*losses, rtol=3e-3)


# Containers


def containers(folder):
    X = table()
    np.save(folder / "rows.npy", X)
    np.savez(folder / "rows.npz", X=X)
    frame = pd.DataFrame(X, columns=list("abcdef"))
    frame.to_csv(folder / "rows.csv", index=False)
    return {
        "fortran": np.asfortranarray(X),
        "object": X.astype(object),
        "list": X.tolist(),
        "frame": frame,
        "polars": pl.DataFrame(X),
        "csr": sparse.csr_array(X),
        "coo": sparse.coo_matrix(X),
        "tensor": torch.as_tensor(X),
        "source": source(X),
        "npy": folder / "rows.npy",
        "npz": f"{folder / 'rows.npz'}:X",
        "csv": str(folder / "rows.csv"),
    }


def test_containers_do_not_matter(tmp_path):
    X = table()
    estimator = HierarchicalAutoencoder(**quick())
    codes, fve = estimator.fit(X).transform(X), estimator.fve(X)
    for name, rows in containers(tmp_path).items():
        other = clone(estimator).fit(rows)
        same_bits(other.transform(rows), codes, name)
        same_bits(other.fve(rows), fve, name)


@pytest.mark.parametrize("dtype", [bool, "uint8", "int16", "int64", "float16"])
def test_dtypes_do_not_matter(dtype):
    X = table("bernoulli")
    expected = Autoencoder(**quick()).fit(X).transform(X)
    rows = X.astype(dtype)
    same_bits(Autoencoder(**quick()).fit(rows).transform(rows), expected)


def test_single_precision_rows_are_those_of_double_to_rounding():
    """They are scaled in single precision, and training enlarges what that rounds."""
    X = table("bernoulli")
    models = [Autoencoder(**quick()).fit(rows) for rows in (X, X.astype(np.float32))]
    starts = [model.history_["validation_loss"][0] for model in models]
    np.testing.assert_allclose(*starts, rtol=1e-6)
    np.testing.assert_allclose(*[model.transform(X) for model in models], atol=1e-4)


def test_events_are_flattened_and_come_back_in_their_shape():
    X = table()
    flat, curved = (
        clone(HierarchicalAutoencoder(**quick())).fit(x) for x in (X, X.reshape(-1, 2, 3))
    )
    same_bits(curved.transform(X.reshape(-1, 2, 3)), flat.transform(X))
    same_bits(curved.reconstruct(X.reshape(-1, 2, 3)), flat.reconstruct(X).reshape(-1, 2, 3))


@each_estimator
def test_own_target_is_the_input(estimator):
    X = table()
    codes = clone(estimator).fit(X).transform(X)
    np.testing.assert_allclose(
        clone(estimator).fit(X, target=X.copy()).transform(X), codes, atol=1e-4
    )


# Missing entries


@each_ordering
@pytest.mark.parametrize("likelihood", PARTS["likelihood"])
def test_missing_entries_contribute_exactly_nothing(ordering, likelihood):
    X = table(likelihood)
    settings = quick(likelihood=likelihood, ordering=ordering)
    model = Autoencoder(**settings).fit(X)._model
    rows = torch.as_tensor(X, dtype=torch.float32)
    observed = torch.rand(X.shape, generator=torch.Generator().manual_seed(0)) < 0.7
    target = rows.clone().requires_grad_()
    loss = sum(model(Batch(rows, target, None, observed)))
    (gradient,) = torch.autograd.grad(loss, target)
    assert (gradient[~observed] == 0).all()
    assert (gradient[observed] != 0).any()
    other = torch.where(observed, rows, rows.flip(0))
    assert sum(model(Batch(rows, other, None, observed))) == loss


def test_missing_entries_enter_as_the_mean():
    X = table()
    model = Autoencoder(**quick(missing="ignore")).fit(X)
    holed, filled = X.copy(), X.copy()
    holed[::3, 1], filled[::3, 1] = np.nan, X[:, 1].mean()
    np.testing.assert_allclose(model.transform(holed), model.transform(filled), atol=1e-5)


# Chance


@each_estimator
def test_same_seed_same_bits(estimator):
    X = table()
    network = Dense((8,), dropout=0.3, init="random")
    estimator = clone(estimator).set_params(architecture=network, n_init=2)
    codes = clone(estimator).fit(X).transform(X)
    same_bits(clone(estimator).fit(X).transform(X), codes)
    same_bits(clone(estimator).fit(X).fit(X).transform(X), codes)
    other = clone(estimator).set_params(random_state=1).fit(X).transform(X)
    assert (other != codes).any()


def test_random_state_takes_generators():
    X = table()
    for make in (np.random.default_rng, np.random.RandomState):
        codes = Autoencoder(**quick(random_state=make(0))).fit(X).transform(X)
        same_bits(Autoencoder(**quick(random_state=make(0))).fit(X).transform(X), codes)


def global_states():
    state = np.random.get_state()  # noqa: NPY002
    return state[1].tolist(), state[2:], torch.get_rng_state().tolist()


@pytest.mark.parametrize("random_state", [0, None])
def test_global_random_state_is_neither_read_nor_changed(random_state):
    X = table()
    settings = quick(random_state=random_state, architecture=Dense((8,), dropout=0.3))
    estimator = HierarchicalAutoencoder(ordering="nested", **settings)
    before = global_states()
    estimator.fit(X).partial_fit(X)
    codes = estimator.transform(X)
    assert global_states() == before
    torch.rand(1), np.random.rand(1)  # noqa: NPY002
    if random_state is not None:
        same_bits(clone(estimator).fit(X).partial_fit(X).transform(X), codes)
    # Python's own generator serves the shape checks, so its state cannot tell.
    ours = [module for name, module in sys.modules.items() if name.startswith("narrows")]
    assert not [module for module in ours if getattr(module, "random", None) is random]


@each_ordering
@pytest.mark.parametrize(("precision", "tolerance"), [("float64", 1e-6), ("float32", 2e-3)])
def test_a_restart_is_the_same_alone(ordering, precision, tolerance, monkeypatch):
    """Side by side with others: same start, batches and noise, to rounding."""
    X = table()
    settings = quick(
        architecture=Dense((8,), dropout=0.2),
        likelihood="student_t",
        precision=precision,
        patience=1,
        clip_norm=0.5,
    )
    several = Autoencoder(ordering=ordering, n_init=3, **settings)
    split, order, *starts = _fitting.seeds(0, 5)
    alone = clone(several).set_params(n_init=1)
    restarts = several.fit(X).restarts_
    np.testing.assert_allclose(alone.fit(X).fve_, restarts[0].fve_, rtol=tolerance)
    for start, restart in zip(starts, restarts, strict=True):
        children = [
            np.random.SeedSequence(0, spawn_key=seed.spawn_key) for seed in (split, order, start)
        ]
        monkeypatch.setattr(_fitting, "seeds", lambda state, n, children=children: children)
        single = clone(alone).fit(X)
        np.testing.assert_allclose(restart.fve_, single.fve_, rtol=tolerance)
        assert restart.history_["best_epoch"] == single.history_["best_epoch"]


def test_thread_count_is_restored():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        Autoencoder(**quick()).fit(table())
        assert torch.get_num_threads() == 3
        with pytest.raises(FloatingPointError):
            Autoencoder(**quick(learning_rate=1e30)).fit(table())
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)

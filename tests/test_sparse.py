"""Sparse autoencoders: penalties, top-k codes, unit-norm decoders, silent units, readings."""

import re

import numpy as np
import pytest
import torch
from scipy import stats

from helpers import quick, table
from narrows import (
    Autoencoder,
    Dense,
    KLSparsity,
    Mixed,
    Plain,
    Revival,
    SparseAutoencoder,
    TopK,
    Training,
)
from narrows.data.batches import Batch
from narrows.estimators.sparse import SPARSITIES
from narrows.nn.code import Layout

each_sparsity = pytest.mark.parametrize("sparsity", SPARSITIES)


def sparse_rows(n_rows=1500, n_parts=20, n_values=12, seed=0):
    """Rows that are sums of few unit vectors, and these."""
    rng = np.random.default_rng(seed)
    parts = rng.normal(size=(n_parts, n_values))
    parts /= np.linalg.norm(parts, axis=1, keepdims=True)
    amounts = rng.exponential(size=(n_rows, n_parts)) * (rng.random((n_rows, n_parts)) < 0.05)
    return amounts @ parts + 0.01 * rng.normal(size=(n_rows, n_values)), parts


def fitted(sparsity="l1", X=None, **settings):
    own = {"max_epochs": 5, "hidden_layer_sizes": (), "n_components": 8, "sparsity": sparsity}
    own |= {"k": 2} if sparsity == "top_k" else {}
    return SparseAutoencoder(**quick(**{**own, **settings})).fit(table() if X is None else X)


@pytest.mark.parametrize(
    "settings", [{"sparsity": "l1"}, {"sparsity": "top_k", "k": 2}], ids=["l1", "top_k"]
)
def test_the_parts_that_rows_are_made_of_are_found(settings):
    X, parts = sparse_rows()
    model = SparseAutoencoder(
        30, **settings, scale="global", max_epochs=150, batch_size=64, random_state=0
    ).fit(X)
    columns = model._model.decoder.weights[0][0].detach().numpy()
    columns /= np.linalg.norm(columns, axis=1, keepdims=True)
    assert ((parts @ columns.T).max(1) > 0.9).mean() >= 0.8
    assert model.firing_rates(X).mean() < 0.15


# Unit-norm decoders


@each_sparsity
@pytest.mark.parametrize("hidden", [(), (7,), (7, 5)])
def test_each_unit_enters_the_decoder_with_length_one(sparsity, hidden):
    decoder = fitted(sparsity, hidden_layer_sizes=hidden)._model.decoder
    first = [decoder.weights[0], *([] if decoder.path is None else [decoder.path])]
    unit = [weight[0] / decoder._lengths()[0].T for weight in first]
    np.testing.assert_allclose(torch.cat(unit, 1).norm(dim=1).detach(), 1, rtol=1e-5)


def test_the_length_of_the_decoders_weights_changes_nothing():
    X = torch.as_tensor(table(), dtype=torch.float32)
    model = fitted(X=table())._model
    before = model(Batch(X, X))
    scales = torch.rand(8, 1, generator=torch.Generator().manual_seed(0)) + 0.1
    model.decoder.weights[0].data *= scales
    for term, own in zip(model(Batch(X, X)), before, strict=True):
        torch.testing.assert_close(term, own)


def test_pca_is_a_start_of_unit_norm_decoders_too():
    X = table()
    own, plain = (
        Autoencoder(3, architecture=a, random_state=0, max_epochs=1, learning_rate=1e-12).fit(X)
        for a in (Dense((), unit_norm=True), Dense(()))
    )
    np.testing.assert_allclose(own.reconstruct(X), plain.reconstruct(X), atol=1e-5)
    with pytest.raises(
        ValueError, match=r"^unit_norm=True shares the unit length .* init='random'"
    ):
        Autoencoder(3, architecture=Dense((16,), unit_norm=True)).fit(X)


# Codes and penalties


def test_top_k_keeps_the_largest_and_leaves_angles_alone():
    raw = torch.randn(2, 50, 7, generator=torch.Generator().manual_seed(0), requires_grad=True)
    layout = Layout(6, (2,))
    features = TopK(3)(raw, layout)
    plain, p, q = layout.split(raw)
    order = plain.argsort(-1, descending=True)
    kept, dropped = order[..., :3], order[..., 3:]
    torch.testing.assert_close(features[..., :5].gather(-1, kept), plain.gather(-1, kept))
    assert not features[..., :5].gather(-1, dropped).any()
    torch.testing.assert_close(features[..., 5:].norm(dim=-1), torch.ones(2, 50))
    torch.testing.assert_close(features[..., 5] * q[..., 0], features[..., 6] * p[..., 0])
    (gradient,) = torch.autograd.grad(features[..., :5].sum(), raw)
    assert (gradient[..., :5] != 0).sum(-1).eq(3).all()
    assert (TopK(5)(raw[..., :5], Layout(5)) == raw[..., :5]).all()


def test_units_under_kl_fire_at_the_rate_asked_for():
    model = fitted("kl", strength=50.0, rate=0.2, max_epochs=80)
    np.testing.assert_allclose(model.firing_rates(table()), 0.2, atol=0.03)


def test_hidden_layers_are_penalised_where_asked():
    X, layers = table(), {"hidden_layer_sizes": (10, 6), "activation": "sigmoid", "max_epochs": 80}
    for layer in (1, 2):
        penalty = KLSparsity(20.0, 0.1, layer=layer)
        model = Autoencoder(3, **quick(penalties=[penalty], **layers)).fit(X)
        means = [
            model._map(X, lambda x, _, i=i, m=model: m._model.hidden(x)[i][0]).mean(0)
            for i in (0, 1)
        ]
        np.testing.assert_allclose(means[layer - 1], 0.1, atol=0.05)
        assert np.abs(means[2 - layer] - 0.1).max() > 0.1
    both = SparseAutoencoder(3, sparsity="kl", layers=(1,), **quick(**layers)).fit(X)
    assert len(both.loss_terms(X)) == 2  # terms of one name count once
    assert len(both._model.blueprint.penalties) == 2


# Silent units


def test_revival_is_the_loss_of_what_silent_units_add():
    """Gao et al. 2024: with a linear decoder, ‖(t - D(h)) - W u‖² for the largest silent units."""
    rng = np.random.default_rng(0)
    X = torch.as_tensor(rng.normal(size=(10, 6)), dtype=torch.float32)
    penalty = Revival(0.25, patience=30)
    architecture = Dense((), init="random")
    model = (
        Autoencoder(6, code=TopK(2), architecture=architecture, penalties=[penalty], **quick())
        .fit(X.numpy())
        ._model
    )
    model.train()
    idle = torch.tensor([0.0, 40, 40, 29, 40, 40])
    model.idle.rows.copy_(idle[None, None])
    model.idle.begin()
    record, _ = model._trained(Batch(X, X))
    now = torch.where((record.features[0] != 0).any(0), 0, idle + 10)
    torch.testing.assert_close(model.idle.rows[0, 0], now)
    silent = idle >= 30
    raw = record.units.raw[0].masked_fill(~silent, -torch.inf)
    lowest = raw.topk(3, 1).values[:, -1:]
    woken = torch.where(silent & (raw >= lowest), raw, 0)
    error = X - record.outputs[0, 0] - woken @ model.decoder.weights[0][0]
    torch.testing.assert_close(penalty(record)[0], 0.25 * error.square().sum(1))
    with torch.no_grad():
        assert not penalty(record).any()


def test_revival_leaves_restarts_alone():
    """A unit that is silent in one restart asks nothing of another, where none is."""
    X = table()
    settings = {"code": TopK(2), "architecture": Dense((), init="random")}
    settings |= {"penalties": [Revival(0.25, patience=30)]}
    several = Autoencoder(6, **quick(max_epochs=8, n_init=4, **settings)).fit(X)
    single = Autoencoder(6, **quick(max_epochs=8, **settings)).fit(X)
    np.testing.assert_allclose(
        several.history_["train_loss"][..., 0], single.history_["train_loss"][..., 0], rtol=1e-5
    )
    asked = several.history_["train_loss"][:, 1] > 0
    assert asked.any()
    assert (asked.any(1) & ~asked.all(1)).any()


def test_revival_wakes_units():
    X, _ = sparse_rows(1500, 40, 20)
    settings = {"architecture": Dense((), unit_norm=True, init="random"), "scale": "global"}
    settings |= {"max_epochs": 40, "learning_rate": 1e-2, "random_state": 0}
    dead = [
        (~Autoencoder(64, code=TopK(3), penalties=[wake], **settings).fit_transform(X).any(0)).sum()
        for wake in (Revival(0.25), Revival(0.0))
    ]
    assert dead[0] < dead[1] / 2


# Readings


def test_the_laplace_reading_is_a_density():
    X = table()
    for likelihood, code in (("gaussian", "plain"), ("laplace", "plain"), ("gaussian", None)):
        model = fitted(X=X, likelihood=likelihood, code=code, strength=0.6)
        h = model.transform(X).astype(float)
        rate = 0.3 if likelihood == "gaussian" else 0.6
        prior = stats.laplace if code else stats.expon
        density = stats.norm if likelihood == "gaussian" else stats.laplace
        scaled = [(rows - X.mean(0)) / X.std(0) for rows in (X, model.reconstruct(X).astype(float))]
        expected = prior.logpdf(h, scale=1 / rate).sum(1) + density.logpdf(*scaled).sum(1)
        np.testing.assert_allclose(model.joint_score_samples(X), expected, rtol=1e-3)
    with pytest.raises(ValueError, match=r"^The Laplace prior belongs to sparsity='l1' with"):
        fitted("top_k").joint_score_samples(X)


def test_missing_entries_have_no_density():
    """A row without some entries is a row of the others: what these add is a density of its own."""
    X = table()
    X[::2, 4:] = np.nan
    model = fitted(X=X, missing="ignore", strength=0.6)
    scaled = [
        (rows - np.nanmean(X, 0)) / np.nanstd(X, 0)
        for rows in (X, model.reconstruct(X).astype(float))
    ]
    prior = stats.expon.logpdf(model.transform(X).astype(float), scale=1 / 0.3).sum(1)
    expected = prior + np.nansum(stats.norm.logpdf(*scaled), axis=1)
    np.testing.assert_allclose(model.joint_score_samples(X), expected, rtol=1e-3)


def test_squared_errors_beside_nats_are_of_variance_one_half():
    X = np.column_stack([table(n_values=4), table("bernoulli", n_values=2)])[:, [0, 4, 2, 3, 5, 1]]
    model = fitted(X=X, likelihood=Mixed([("bernoulli", [1, 4])]), strength=0.6)
    real, binary, mean = [0, 2, 3, 5], [1, 4], model.reconstruct(X).astype(float)
    error = ((X - mean) / X.std(0))[:, real]
    expected = (
        stats.expon.logpdf(model.transform(X).astype(float), scale=1 / 0.6).sum(1)
        + stats.norm.logpdf(error, scale=np.sqrt(0.5)).sum(1)
        + stats.bernoulli.logpmf(X[:, binary], mean[:, binary]).sum(1)
    )
    np.testing.assert_allclose(model.joint_score_samples(X), expected, rtol=1e-3)
    alone = fitted(X=X[:, real], likelihood=Mixed([("gaussian", [0, 1])]), strength=0.6)
    plain = fitted(X=X[:, real], strength=0.6)
    np.testing.assert_allclose(
        alone.joint_score_samples(X[:, real]), plain.joint_score_samples(X[:, real]), rtol=1e-6
    )


def test_large_offsets_change_no_effect():
    X = np.round(table() * 1024) / 1024  # so that adding the offset rounds nothing
    near, far = (fitted(X=X + offset).unit(X + offset, 1) for offset in (0.0, 2.0**27))
    assert np.abs(near.weights).max() > 0.1
    np.testing.assert_array_equal(far.features, near.features)
    np.testing.assert_allclose(far.weights, near.weights, rtol=1e-3)


@pytest.mark.parametrize("output", ["angle", "cos_sin"])
def test_units_are_the_columns_of_the_codes(output):
    X = table()
    model = fitted("top_k", X, circular=(0,), circular_output=output)
    codes = model.transform(X)
    n = codes.shape[1]
    assert n == len(model.get_feature_names_out())
    np.testing.assert_array_equal(model.firing_rates(X), (codes != 0).mean(0))
    assert set(model.dead_units(X)) == set(np.flatnonzero(~codes.any(0)))
    np.testing.assert_array_equal(model.unit(X, n - 1).activations, -np.sort(-codes[:, -1])[:10])
    with pytest.raises(ValueError, match=f"^unit={n} must be a whole number from 0 to {n - 1}.$"):
        model.unit(X, n)


def test_what_a_unit_answers_to():
    X = table()
    model = fitted(X=X, strength=0.01, max_epochs=20)
    codes, column = model.transform(X), model._model.decoder.weights[0][0].detach().numpy()
    report = model.unit(X, 5, n_features=3, n_rows=4)
    effect = column[5] / np.linalg.norm(column[5]) * X.std(0)
    np.testing.assert_array_equal(report.features, np.argsort(-np.abs(effect))[:3])
    np.testing.assert_allclose(report.weights, effect[report.features], rtol=1e-3)
    np.testing.assert_array_equal(report.rows, np.argsort(-codes[:, 5], kind="stable")[:4])
    np.testing.assert_array_equal(report.activations, codes[report.rows, 5])
    np.testing.assert_allclose(model.firing_rates(X), (codes > 0).mean(0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"sparsity": "topk"},
            "sparsity='topk' is not known. Did you mean 'top_k'? Known are: l1, kl, top_k.",
        ),
        ({"strength": -1.0}, "strength=-1.0 of L1(strength=-1.0) must be at least 0."),
        ({"sparsity": "kl", "rate": 1.0}, "rate=1.0 must be in (0, 1). Write 0.05."),
        (
            {"sparsity": "top_k", "k": 0},
            "k=0 of TopK must be a whole number, at least 1.",
        ),
        (
            {"sparsity": "top_k", "k": 8},
            "k=8 keeps all units of n_components=8, so no row would have a sparse code. Write k=2, "
            "or more components.",
        ),
        (
            {"sparsity": "top_k", "k": 8, "n_components": 10, "circular": (0, 3)},
            "k=8 keeps all units of n_components=10, 2 of them circular, so no row would have a "
            "sparse code. Write k=2, or more components.",
        ),
        (
            {"sparsity": "top_k", "n_components": 1},
            "k=2 keeps all units of n_components=1, so no row would have a sparse code. Write more "
            "components.",
        ),
        (
            {"sparsity": "top_k", "layers": (1,)},
            "layers=(1,) are penalised by 'l1' or 'kl', but sparsity='top_k' has no penalty. "
            "Write layers=().",
        ),
        (
            {"layers": (2,), "hidden_layer_sizes": (4,)},
            "layer=2 of L1 must be from 1 to 1. Layers are counted from the input; write "
            "layer=None for the code.",
        ),
        (
            {"layers": (1,)},
            "layer=1 of L1 must be left out: the encoder has no hidden layer. Layers are counted "
            "from the input; write layer=None for the code.",
        ),
        (
            {"sparsity": "kl", "code": Plain("softplus"), "scale": "none"},
            None,
        ),
    ],
)
def test_what_does_not_fit_is_refused(settings, message):
    text = f"^{re.escape(message)}$" if message else "^KLSparsity needs units between 0 and 1, but"
    with pytest.raises(ValueError, match=text):
        fitted(**settings)


def test_parts_are_the_weights_of_a_linear_decoder():
    X = table()
    model = fitted(X=X, architecture=Dense((), unit_norm=True, init="random"), scale="none")
    columns = model._model.decoder.weights[0][0].detach().numpy()
    columns /= np.linalg.norm(columns, axis=1, keepdims=True)
    np.testing.assert_allclose(model.parts(X), columns, rtol=1e-4, atol=1e-6)
    images = SparseAutoencoder(4, k=1, **quick()).fit(X.reshape(-1, 3, 2))
    assert images.parts(X.reshape(-1, 3, 2)).shape == (4, 3, 2)


def test_a_silent_unit_has_no_rows():
    X = table()
    model = fitted(X=X)
    for unit in model.dead_units(X):
        assert len(model.unit(X, unit).rows) == 0


def test_the_number_of_largest_units_falls_while_training():
    """From k_start to k over the first half; outside training there are k_encode."""
    raw, layout = torch.randn(1, 5, 40, generator=torch.Generator().manual_seed(0)), Layout(40)
    code = TopK(4, k_start=20, k_encode=8)
    n = [int((code(raw, layout, share)[0, 0] != 0).sum()) for share in (0, 0.25, 0.5, 1, None)]
    assert n == [20, 12, 4, 4, 8]
    assert torch.equal(TopK(4)(raw, layout, 0.0), TopK(4)(raw, layout))


def test_patience_waits_for_the_number_of_units_to_settle():
    X = np.random.default_rng(0).normal(size=(60, 6))
    counts = []
    for k_start in (None, 5):
        training = Training(patience=1, lr_schedule="constant")
        model = SparseAutoencoder(
            6, sparsity="top_k", k=2, k_start=k_start, max_epochs=40, training=training
        )
        counts.append(model.set_params(learning_rate=0.5, random_state=0).fit(X).n_iter_)
    assert counts[0] < 20 <= counts[1] < 40


@pytest.mark.parametrize("name", ["k_start", "k_encode"])
def test_fewer_units_at_other_times_are_refused(name):
    model = SparseAutoencoder(6, sparsity="top_k", k=3, **{name: 2})
    with pytest.raises(ValueError, match=rf"^{name}=2 of TopK must be a whole number, at least k"):
        model.fit(np.eye(6))

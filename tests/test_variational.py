"""The variational autoencoder: bounds and likelihoods against cases with an exact answer."""

import math
import re
from itertools import cycle

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.linalg import subspace_angles
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import StandardScaler

from helpers import RANKED, quick, table
from narrows import (
    Autoencoder,
    Dense,
    Divergence,
    HierarchicalAutoencoder,
    Mixed,
    MixturePrior,
    Training,
    VampPrior,
    VariationalAutoencoder,
)
from narrows.data.batches import Batch
from narrows.estimators import _bound
from narrows.nn.posterior import Posterior
from narrows.parts import PARTS, resolve

K = 2
WHOLE = Training(validation_fraction=0)
POSTERIORS = [name for name in PARTS["code"] if isinstance(resolve("code", name), Posterior)]


def factors(n_rows=600, n_values=6, noise=0.3, seed=0):
    """Rows of a linear factor model, with an offset."""
    rng = np.random.default_rng(seed)
    loadings = rng.normal(size=(K, n_values)) * [[2.0], [1.0]]
    return rng.normal(size=(n_rows, K)) @ loadings + noise * rng.normal(size=(n_rows, n_values)) + 5


def exact(model, W, mean, sigma):
    """Make a linear model the one of W and σ, with its exact posterior of independent components.

    W has columns at right angles, without which the posterior does not factorise.
    """
    network = model._model
    doubt = sigma**2 / (W**2).sum(1)
    doubt = doubt / (1 + doubt)
    back = W / sigma**2 * doubt[:, None]
    start = torch.as_tensor(np.hstack([back.T, np.zeros_like(back.T)]))
    shift = np.concatenate([-back @ mean, np.log(doubt) / 2])
    network.encoder.start(start[None], torch.as_tensor(shift)[None, None])
    network.decoder.start(torch.as_tensor(W)[None], torch.as_tensor(mean)[None, None])
    network.log_width.data.fill_(math.log(sigma))


def log_density(X, W, mean, sigma):
    covariance = W.T @ W + sigma**2 * np.eye(W.shape[1])
    return stats.multivariate_normal(mean, covariance).logpdf(X)


@pytest.fixture(scope="module")
def linear():
    """A model in double precision whose posterior is exact, with its W, mean and σ."""
    X = factors()
    settings = quick(hidden_layer_sizes=(), precision="float64", scale="none", max_epochs=1)
    model = VariationalAutoencoder(K, **settings).fit(X)
    rng = np.random.default_rng(1)
    W = np.linalg.qr(rng.normal(size=(6, K)))[0].T * [[1.7], [0.4]]
    mean, sigma = rng.normal(size=6), 0.6
    exact(model, W, mean, sigma)
    return model, X, (W, mean, sigma)


def test_with_the_exact_posterior_the_likelihood_is_exact_for_any_number_of_samples(linear):
    model, X, truth = linear
    expected = log_density(X, *truth)
    np.testing.assert_allclose(model.elbo(X).total, expected, rtol=1e-9)
    for n_samples in (1, 7):
        found = model.log_likelihood(X, n_samples=n_samples)
        np.testing.assert_allclose(found.value, expected, rtol=1e-9)
        assert np.isnan(found.error).all() if n_samples == 1 else found.error.max() < 1e-6
    np.testing.assert_allclose(model.score_samples(X), expected, rtol=1e-5)


def test_predictions_are_draws_of_the_posterior_predictive(linear):
    """Of a linear model: the mean is the reconstruction, the covariance W'SW + σ²I."""
    model, X, (W, _, sigma) = linear
    draws = model.predict_samples(X[:3], 4000, random_state=0)
    doubt = np.exp(2 * model._model.encoder.biases[-1].data[0, 0, K:].numpy())
    expected = W.T @ np.diag(doubt) @ W + sigma**2 * np.eye(6)
    np.testing.assert_allclose(draws.mean(0), model.reconstruct(X[:3]), atol=0.06)
    for row in range(3):
        np.testing.assert_allclose(np.cov(draws[:, row].T), expected, atol=0.05)
    np.testing.assert_array_equal(model.predict_samples(X[:3], 4000, random_state=0), draws)
    means = model.predict_samples(X[:3], 4000, noise=False, random_state=0)
    np.testing.assert_allclose(np.cov(means[:, 0].T), W.T @ np.diag(doubt) @ W, atol=0.05)


def test_the_bound_is_below_by_the_divergence_from_the_exact_posterior(linear):
    """ELBO + KL(q ‖ posterior) = ln p(x), for a posterior that is shifted and too wide."""
    model, X, truth = linear
    encoder = model._model.encoder
    before = encoder.biases[-1].data.clone()
    width = np.exp(before[0, 0, K:].numpy())
    encoder.biases[-1].data += torch.tensor([0.3, -0.2, 0.1, 0.4], dtype=torch.float64)
    try:
        bound = model.elbo(X).total
    finally:
        encoder.biases[-1].data.copy_(before)
    shift, wider = np.array([0.3, -0.2]), np.array([0.1, 0.4])
    gap = (0.5 * (np.expm1(2 * wider) + (shift / width) ** 2) - wider).sum()
    np.testing.assert_allclose(bound + gap, log_density(X, *truth), rtol=1e-8)


def test_likelihoods_are_of_the_data_as_given():
    """Whatever the units: rescaled data are less dense by the volume of the scaling."""
    X = factors()
    model = VariationalAutoencoder(K, **quick(hidden_layer_sizes=(), max_epochs=1)).fit(X)
    width = np.array([1e3, 1e-3, 1.0, 7.0, 2.0, 5.0])
    other = VariationalAutoencoder(K, **quick(hidden_layer_sizes=(), max_epochs=1)).fit(X * width)
    for score in ("score_samples", "log_likelihood"):
        one, two = (getattr(m, score)(x) for m, x in ((model, X), (other, X * width)))
        one, two = (getattr(found, "value", found) for found in (one, two))
        np.testing.assert_allclose(one - two, np.log(width).sum(), atol=2e-3)
    bits = model.log_likelihood(X, bits=True).value
    np.testing.assert_allclose(bits, model.log_likelihood(X).value / math.log(2))


@pytest.mark.parametrize("init", ["pca", "random"])
def test_a_trained_linear_model_is_probabilistic_pca(init):
    """Within 0.05 nats, and of the same subspace, with small noise and an offset."""
    X = factors(300, noise=0.1)
    rows = StandardScaler().fit_transform(X)
    pca = PCA(K).fit(rows)
    expected = pca.score(rows) - np.log(X.std(0)).sum()
    model = VariationalAutoencoder(K, architecture=Dense((), init=init), random_state=0)
    if init == "random":
        model.set_params(max_epochs=400, learning_rate=0.05, batch_size=75, training=WHOLE)
    model.fit(X)
    assert model.elbo(X).total.mean() == pytest.approx(expected, abs=0.05)
    paths = model._model.decoder.weights[0][0].detach().numpy()
    assert np.degrees(subspace_angles(paths.T, pca.components_.T)).max() < 0.1


def test_more_samples_give_a_higher_bound():
    """The k-sample bound rises with k towards the log-likelihood."""
    X = table()
    random = Dense((16,), init="random")
    model = VariationalAutoencoder(K, **quick(architecture=random, max_epochs=10)).fit(X)
    means = []
    for n_samples in (1, 2, 5, 20, 100):
        draws = [
            model.log_likelihood(X, n_samples=n_samples, random_state=seed).value.mean()
            for seed in range(max(1, 40 // n_samples))
        ]
        means.append(np.mean(draws))
    assert (np.diff(means) > 0).all()
    assert model.elbo(X).total.mean() == pytest.approx(means[0], abs=0.2)


@pytest.mark.parametrize("n_draws", [2, 5])
def test_draws_are_weighed_by_their_importance(n_draws):
    """The terms sum to minus the k-sample bound, and their gradient is its gradient."""
    X = table()
    model = VariationalAutoencoder(
        K, beta=1.0, n_draws=n_draws, ordering="collective", **quick(precision="float64")
    ).fit(X)
    network = model._model
    x = torch.as_tensor((X - X.mean(0)) / X.std(0))
    batch = Batch(x, x)
    total = sum(network(batch)) * 6
    found = torch.autograd.grad(total.sum(), list(network.parameters()), allow_unused=True)

    record, levels = network._trained(batch)
    loss = network._entries(record).sum(-1)
    log_q, log_p = record.latent.log_posterior(), record.latent.log_prior()
    log_weight = (log_p - log_q - loss).unflatten(-1, (n_draws, len(X)))
    bound = torch.logsumexp(log_weight, 2) - math.log(n_draws)
    expected = -(bound.mean(2) * levels.weights).sum(1)
    torch.testing.assert_close(total, expected)
    own = torch.autograd.grad(expected.sum(), list(network.parameters()), allow_unused=True)
    for one, two in zip(found, own, strict=True):
        torch.testing.assert_close(one, two)


def test_zero_beta_and_zero_width_is_the_plain_autoencoder():
    """Its loss is half the squared error and the normaliser of the density."""
    X = table()
    model = VariationalAutoencoder(K, beta=0.0, noise=1.0, **quick(precision="float64")).fit(X)
    bias = model._model.encoder.biases[-1].data
    bias[..., K:] = -1e3
    squares = -Autoencoder.score_samples(as_plain(model, X), X)
    terms = model.loss_terms(X)
    constant = 6 * 0.5 * math.log(2 * math.pi)
    assert terms["reconstruction"] == pytest.approx(squares.mean() / 2 + constant, rel=1e-3)
    assert terms["divergence"] == 0


def as_plain(model, X):
    """Return a plain autoencoder with the networks of a variational one."""
    plain = Autoencoder(K, **quick(precision="float64")).fit(X)
    own, other = plain._model.encoder, model._model.encoder
    for mine, theirs in zip(own.parameters(), other.parameters(), strict=True):
        mine.data.copy_(theirs.data[..., : mine.shape[-1]])
    plain._model.decoder.load_state_dict(model._model.decoder.state_dict())
    return plain


@pytest.mark.parametrize("ordering", RANKED)
@pytest.mark.parametrize("prior", ["standard", "mixture"])
def test_a_level_ignores_later_components(ordering, prior):
    """Neither the reconstruction nor the divergence of level k depends on components after k."""
    X = table()
    settings = quick(precision="float64")
    model = VariationalAutoencoder(3, ordering=ordering, prior=prior, **settings).fit(X)
    network = model._model
    x = torch.as_tensor((X - X.mean(0)) / X.std(0))
    record = network._record(Batch(x, x), x[None], network_levels(network), draws=True)
    features = record.features.detach().requires_grad_()
    outputs = network.decode(features)
    latent = record.latent
    object.__setattr__(latent, "features", features)
    bound = -network.blueprint.likelihood.loss(x, outputs, network.log_width).sum(-1)
    bound = bound + latent.log_prior() - latent.log_posterior()
    for level in range(3):
        (slope,) = torch.autograd.grad(bound[0, level].sum(), features, retain_graph=True)
        assert (slope[..., : level + 1] != 0).any(1).all()
        assert (slope[..., level + 1 :] == 0).all()


def network_levels(network):
    from narrows.nn.ordering import Levels

    n = network.n_levels
    levels = network._masks[:n], network._weights[:n], network._index[:n]
    return Levels(*levels, network._reach)


@pytest.mark.parametrize("ordering", RANKED)
def test_the_divergence_of_component_j_has_its_weight(ordering):
    """Under an ordering of K levels, component j of K counts (K - j + 1) / K times."""
    X = table()
    model = VariationalAutoencoder(3, ordering=ordering, **quick(precision="float64")).fit(X)
    x = torch.as_tensor((X - X.mean(0)) / X.std(0))
    each = model._model.divergences(Batch(x, x))[0].mean(0).detach().numpy()
    expected = (each * np.array([3, 2, 1]) / 3).sum()
    if ordering == "shared":
        expected += 0.01 * each[1:].sum()
    assert model.loss_terms(X)["divergence"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("posterior", "prior"),
    [*zip(POSTERIORS, cycle(PARTS["prior"])), *zip(POSTERIORS, cycle([*PARTS["prior"]][::-1]))],
)
def test_every_family_and_prior_learns_and_draws_nothing_afterwards(posterior, prior):
    X = table()
    settings = quick(max_epochs=8, architecture=Dense((16,), init="random"))
    model = VariationalAutoencoder(3, posterior=posterior, prior=prior, **settings).fit(X)
    assert model.history_["best_loss"] < model.history_["validation_loss"][0]
    np.testing.assert_array_equal(model.transform(X), model.transform(X))
    np.testing.assert_allclose(model.transform(X[50:60]), model.transform(X)[50:60], atol=1e-6)
    np.testing.assert_allclose(
        model.score_samples(X[::-1])[::-1], model.score_samples(X), rtol=1e-4
    )
    assert model.elbo(X).total.mean() < model.log_likelihood(X, n_samples=100).value.mean() + 0.3


@pytest.mark.parametrize("hostile", ["offset", "scales", "few rows", "heavy tails"])
def test_a_default_model_does_not_collapse(hostile):
    rng = np.random.default_rng(0)
    X = factors(n_rows=30 if hostile == "few rows" else 400)
    if hostile == "heavy tails":
        X = X + 0.1 * rng.standard_t(2, X.shape)
    width = 10.0 ** np.arange(-6, 6, 2) if hostile == "scales" else 1.0
    X = X * width + (1e6 if hostile == "offset" else 0)
    model = VariationalAutoencoder(K, max_epochs=20, random_state=0).fit(X)
    assert model.active_units(X).all()
    assert model.score(X) > 0.5


def test_a_collapsed_model_says_what_helps():
    X = np.random.default_rng(0).normal(size=(200, 6))
    model = VariationalAutoencoder(K, beta=50.0, **quick(max_epochs=30))
    with pytest.warns(UserWarning, match="collapsed") as caught:
        model.fit(X)
    assert str(caught[0].message) == (
        "All 2 components have collapsed: their posteriors are the prior, so codes tell nothing of "
        "rows. Write a smaller beta, warm_up=0.3, free_bits=0.1, or noise='learned'."
    )
    assert not model.active_units(X).any()


def test_the_strength_rises_as_asked():
    """β from 0 over the share of each cycle, whole outside training; patience waits for it."""
    cycles = Divergence(2.0, warm_up=0.5, n_cycles=2)
    shares = [cycles._weight(progress) for progress in (0, 0.125, 0.25, 0.49, 0.5, 0.625, 1, None)]
    np.testing.assert_allclose(shares, [0, 1, 2, 2, 0, 1, 2, 2])
    assert cycles.settled == 0.75
    assert Divergence().settled == 0
    assert Divergence(warm_up=0.3).settled == pytest.approx(0.3)


def test_free_nats_cost_the_same_and_pull_nothing():
    X = table()
    model = VariationalAutoencoder(3, free_bits=50.0, **quick(precision="float64")).fit(X)
    assert model.loss_terms(X)["divergence"] == pytest.approx(150)
    ranked = VariationalAutoencoder(3, free_bits=50.0, ordering="shared", **quick()).fit(X)
    assert ranked.loss_terms(X)["divergence"] == pytest.approx(50 * (2 + 0.01 * 2), rel=1e-5)
    strict = VariationalAutoencoder(3, free_bits=1e-9, **quick()).fit(X)
    plain = VariationalAutoencoder(3, **quick()).fit(X)
    np.testing.assert_allclose(strict.transform(X), plain.transform(X), atol=1e-5)


def test_noise_per_feature_is_factor_analysis():
    X = factors(800) * [1, 1, 1, 1, 1, 3]
    X[:, 0] += np.random.default_rng(1).normal(scale=2.0, size=len(X))
    linear = {"hidden_layer_sizes": (), "max_epochs": 50, "learning_rate": 0.02, "batch_size": 64}
    model = VariationalAutoencoder(K, noise="per_feature", random_state=0, **linear)
    model.set_params(training=WHOLE).fit(X)
    reference = FactorAnalysis(K).fit(X)
    assert model.elbo(X).total.mean() == pytest.approx(reference.score(X), abs=0.02)
    width = np.exp(model._model.log_width.detach().numpy().ravel()) * X.std(0)
    np.testing.assert_allclose(width, reference.noise_variance_**0.5, rtol=0.15)


def test_known_noise_is_not_learned():
    X = table()
    model = VariationalAutoencoder(K, noise=0.5, **quick()).fit(X)
    assert model._model.log_width is None
    loss = (model.reconstruct(X) - X) / X.std(0) / 0.5
    perfect = 6 * (math.log(0.5) + 0.5 * math.log(2 * math.pi))
    found = model._model.blueprint.likelihood.loss(
        torch.zeros(6), torch.as_tensor(0.5 * loss), None
    )
    np.testing.assert_allclose(found.sum(1), (loss**2).sum(1) / 2 + perfect, rtol=1e-5)


def test_mixed_tables_are_densities():
    rng = np.random.default_rng(0)
    X = table()
    X[:, 1] = X[:, 1] > 0
    X[:, 2] = rng.poisson(np.exp(X[:, 2]))
    kinds = Mixed([("bernoulli", [1]), ("poisson", [2])])
    model = VariationalAutoencoder(K, likelihood=kinds, **quick(max_epochs=20)).fit(X)
    likelihood = model._model.blueprint.likelihood
    assert likelihood.density
    found = model.log_likelihood(X, n_samples=200)
    assert np.isfinite(found.value).all()
    assert found.value.mean() > model.elbo(X).total.mean() - 0.1


def test_missing_entries_do_not_count():
    """The bound of a row with holes is that of its other entries under the same codes."""
    X = factors()
    model = VariationalAutoencoder(K, missing="ignore", **quick(hidden_layer_sizes=())).fit(X)
    holed = X[:20].copy()
    holed[:, 3] = np.nan
    whole = model.elbo(holed)
    with torch.no_grad():
        (batch,) = model._batches(model._given(holed, None))
        assert not batch.observed[:, 3].any()
        others = Batch(
            batch.x, torch.where(batch.observed, batch.target, 7.0), None, batch.observed
        )
        again = _bound.elbo(model._model, others, model._target_scale)
    np.testing.assert_allclose(again.total, whole.total, rtol=1e-5)


def test_the_gap_to_the_prior_splits_the_divergence():
    X = factors(800)
    model = VariationalAutoencoder(K, max_epochs=20, random_state=0).fit(X)
    gap = model.prior_gap(X)
    assert sum([gap.mutual_information, gap.gap]) == pytest.approx(
        model.elbo(X).divergence.mean(), abs=0.15
    )
    assert 0 < gap.gap < 0.3 < gap.mutual_information < math.log(800)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"posterior": "plain"},
            "posterior='plain' is a point for each row, not a distribution. "
            "Write 'gaussian', or Autoencoder(code=...).",
        ),
        (
            {"posterior": "gausian"},
            "posterior='gausian' is not known. Did you mean 'gaussian'? Known",
        ),
        ({"beta": -1.0}, "beta=-1.0 must be a number, at least 0. Write 1.0."),
        ({"beta": None}, "beta=None must be a number, at least 0. Write 1.0."),
        ({"noise": math.inf}, "noise=inf must be positive. Write 'learned', 'per_feature', or a"),
        (
            {"likelihood": "normal", "noise": 0.3},
            "noise=0.3 is for likelihood='gaussian'. Write likelihood=Normal(0.3).",
        ),
        (
            {"likelihood": "bernoulli", "noise": 0.3},
            "noise=0.3 is for likelihood='gaussian', not for 'bernoulli'. Leave noise= out.",
        ),
        (
            {"posterior": "cauchy"},
            "posterior='cauchy' is not known. Known are: ",
        ),
        ({"n_draws": 0}, "n_draws=0 must be a whole number, at least 1."),
        ({"warm_up": 1.5}, "warm_up=1.5 must be a share of the training in [0, 1). Write 0.2."),
        ({"n_cycles": 0}, "n_cycles=0 must be a whole number, at least 1."),
        ({"free_bits": -1}, "free_bits=-1 must be at least 0, in nats."),
        (
            {"noise": "lerned"},
            "noise='lerned' is not known. Did you mean 'learned'? Write "
            "'learned', 'per_feature', or a positive number.",
        ),
        (
            {"noise": 0},
            "noise=0 must be positive. Write 'learned', 'per_feature', or a positive number.",
        ),
        ({"prior": MixturePrior(0)}, "n_members=0 of a prior must be a whole number, at least 1."),
        ({"prior": VampPrior(0)}, "n_rows=0 of a prior must be a whole number, at least 1."),
        (
            {"posterior": "dirichlet", "ordering": "nested"},
            "DirichletCode cannot be ranked: its "
            "shares sum to one, so the first components are no model of their own. Write "
            "ordering='none', or posterior='gaussian' or 'laplace'.",
        ),
        (
            {"posterior": "power_spherical", "circular": (0,)},
            "PowerSphericalCode has no circular "
            "components: its length is one. Write circular=(), or posterior='gaussian' or "
            "'laplace'.",
        ),
        (
            {"posterior": "logistic_normal", "n_components": 1},
            "LogisticNormalCode needs 2 components at least. Write n_components=2, say.",
        ),
        (
            {"posterior": "dirichlet", "penalties": ["total_correlation"]},
            "TotalCorrelation needs "
            "components that are independent given a row, but the code is DirichletCode. Write "
            "posterior='gaussian' or 'laplace'.",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_settings_that_are_refused(settings, sentence):
    with pytest.raises(ValueError, match="^" + re.escape(sentence)):
        VariationalAutoencoder(**{"n_components": 2, **quick(), **settings}).fit(table())


def test_likelihoods_that_are_none():
    X = 1 / (1 + np.exp(-table()))
    model = VariationalAutoencoder(K, likelihood="bernoulli", **quick()).fit(X)
    with pytest.raises(ValueError, match=r"^likelihood='bernoulli' gives probabilities of 0 and 1"):
        model.elbo(X)
    with pytest.raises(ValueError, match=r"^likelihood='bernoulli' gives probabilities of 0 and 1"):
        model.log_likelihood(X)
    with pytest.raises(ValueError, match=r"^n_samples=0 must be a whole number"):
        model.log_likelihood(X > 0.5, n_samples=0)
    ranked = HierarchicalAutoencoder(K, **quick())
    assert not hasattr(ranked, "log_likelihood")


@pytest.mark.parametrize("ordering", ["none", "shared"])
def test_restarts_with_several_draws_and_penalties_are_single_runs(ordering):
    """Penalties of rows, weighed with the draws, are those of their own restart."""
    X = table()
    settings = {"penalties": ["l1", "total_correlation"], "n_draws": 2, "ordering": ordering}
    several = VariationalAutoencoder(3, n_init=3, **settings, **quick(max_epochs=2)).fit(X)
    alone = VariationalAutoencoder(3, **settings, **quick(max_epochs=2)).fit(X)
    first = several.history_["train_loss"][..., :1]
    np.testing.assert_allclose(first, alone.history_["train_loss"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("posterior", ["power_spherical", "gaussian"])
def test_members_of_a_mixture_learn_all_their_parameters(posterior):
    circular = (0,) if posterior == "gaussian" else ()
    settings = {"posterior": posterior, "circular": circular, "prior": MixturePrior(4)}
    model = VariationalAutoencoder(3, **settings, **quick(validation_fraction=0)).fit(table())
    start = VariationalAutoencoder(3, **settings, **quick(validation_fraction=0, max_epochs=1))
    moved = model._model.prior.raw - start.fit(table())._model.prior.raw
    assert (moved.abs() > 1e-6).any(1).all()


def test_predictions_of_sequences_end_where_they_do():
    rows = [np.ones((n, 2)) * np.arange(n)[:, None] for n in (3, 5, 4, 5)] * 5
    model = VariationalAutoencoder(1, architecture="recurrent", **quick(max_epochs=1)).fit(rows)
    draws = model.predict_samples(rows, 2, random_state=0)
    assert draws.shape == (2, 20, 5, 2)
    assert (np.isfinite(draws).all(-1).sum(-1) == [len(row) for row in rows]).all()


def test_what_is_no_density_has_no_volume():
    """Squared error of rows that miss a narrow value is not taken for their likelihood."""
    X = factors() * [1e-4, 1, 1, 1, 1, 1]
    settings = {"code": "gaussian", "penalties": ["divergence"], "missing": "ignore"}
    model = Autoencoder(K, **settings, **quick()).fit(X)
    holed = X.copy()
    holed[:, 0] = np.nan
    gap = model.score_samples(holed).mean() - model.score_samples(X).mean()
    assert 0 < gap < 3


def test_the_gap_to_the_prior_of_a_model_with_a_target():
    X = factors()
    model = VariationalAutoencoder(K, **quick()).fit(X, target=X[:, :3])
    assert model.prior_gap(X).mutual_information > 0


@pytest.mark.parametrize("method", ["elbo", "log_likelihood", "active_units", "prior_gap"])
def test_models_that_are_not_fitted_say_so(method):
    with pytest.raises(NotFittedError):
        getattr(VariationalAutoencoder(2), method)(table())

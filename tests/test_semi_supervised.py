"""Rows of which few have labels: the objective, its limits, and what is learned from both kinds."""

import pickle
import re
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, logsumexp
from scipy.stats import multivariate_normal, norm
from sklearn.base import clone
from sklearn.datasets import make_blobs, make_moons
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

from helpers import few_labels, quick, table
from narrows import Dense, SemiSupervisedVAE, Training, VariationalAutoencoder
from narrows._errors import NonFiniteLossError
from narrows.blueprint import Blueprint
from narrows.data.batches import Batch
from narrows.engine.learner import Learner
from narrows.engine.loop import mean_loss
from narrows.estimators._semi_supervised import _drawn
from narrows.model import Model
from narrows.nn.code import Layout
from narrows.nn.ordering import Unordered
from narrows.nn.posterior import GaussianCode
from narrows.nn.scale import Scale
from narrows.objective.likelihoods import Normal
from narrows.objective.variational import Divergence
from narrows.semi_supervised import Pair, Pairs, SemiSupervised

N_VALUES, N_CODES, N_CLASSES = 4, 2, 3
PRIOR = np.array([0.5, 0.3, 0.2])
ALPHA = 0.7
X = table(n_rows=60)
Y = np.where(np.arange(60) < 30, np.arange(60) % 2, -1)


def blueprint(hidden=(5,), linear_path=False):
    network = Dense(hidden, linear_path=linear_path, init="xavier")
    shape = (N_VALUES,)
    return Blueprint(
        network,
        GaussianCode(),
        Layout(N_CODES),
        Unordered(),
        Normal(0.8),
        (Divergence(),),
        shape,
        shape,
        n_condition=N_CLASSES,
    )


def learner(n_restarts=1, alpha=ALPHA, n_guesses=N_CLASSES, **settings):
    log_prior = torch.tensor(PRIOR).log().float()
    made = SemiSupervised(blueprint(**settings), log_prior, alpha, n_guesses, n_restarts)
    made.reset([torch.Generator().manual_seed(r) for r in range(n_restarts)])
    return made.double().eval()


def rows(n, labels=None, seed=0):
    x = torch.from_numpy(np.random.default_rng(seed).normal(size=(n, N_VALUES)))
    known = None if labels is None else torch.eye(N_CLASSES).double()[torch.tensor(labels)]
    return Batch(x, x, condition=known)


def minus_bound(model, x, label, noise):
    """Return the two terms of one row of a class, with a code made of noise."""
    known = torch.eye(N_CLASSES).double()[[label]]
    with torch.no_grad():
        raw = model.encoder(torch.cat([x[None], known], 1)[None])[0, 0].numpy()
        at, width = raw[:N_CODES], np.exp(raw[N_CODES:])
        code = torch.from_numpy(at + width * noise)
        mean = model.decoder(torch.cat([code, known[0]])[None, None])[0, 0].numpy()
    reconstruction = -norm(mean, 0.8).logpdf(x.numpy()).sum()
    return reconstruction, 0.5 * (width**2 + at**2 - 1 - 2 * np.log(width)).sum()


def drawn(n):
    return torch.randn(n, N_CODES, generator=torch.Generator().manual_seed(0)).numpy()


@pytest.mark.parametrize("n_guesses", [2, N_CLASSES])
def test_objective_is_the_sum_over_the_likeliest_classes(n_guesses):
    few, some = rows(3), rows(5, [0, 2, 1, 1, 0], seed=1)
    model = learner(n_guesses=n_guesses)
    with torch.no_grad():
        found = [float(term) for term in model(Pair(few, some, (0.2, 0.5, 0.25)))]
        logits = [model.classifier(part.x[None])[0].numpy() for part in (few, some)]
    wanted = np.zeros(4)
    noise = drawn(3 * n_guesses).reshape(n_guesses, 3, N_CODES)
    for i, row in enumerate(logits[0]):
        guesses = np.sort(row.argsort()[-n_guesses:])
        for guess, (label, log_share) in enumerate(
            zip(guesses, log_softmax(row[guesses]), strict=True)
        ):
            terms = minus_bound(model.model, few.x[i], label, noise[guess, i])
            gap = log_share - np.log(PRIOR[label])
            wanted[:3] += 0.2 * np.exp(log_share) * np.array([*terms, gap])
    for i, label in enumerate([0, 2, 1, 1, 0]):
        terms = minus_bound(model.model, some.x[i], label, drawn(5)[i])
        wanted[:3] += 0.5 * np.array([*terms, -np.log(PRIOR[label])])
        wanted[3] -= 0.25 * ALPHA * log_softmax(logits[1], 1)[i, label]
    np.testing.assert_allclose(found, wanted / N_VALUES, rtol=1e-6)


def test_with_all_labels_gradients_are_those_of_a_conditional_model_and_a_classifier():
    model, some = learner(), rows(6, [0, 1, 2, 2, 1, 0])
    sum(model(Pair(None, some, (0.0, 1 / 6, 1 / 6)))).sum().backward()
    alone = Model(blueprint(), 1).double().eval()
    alone.load_state_dict(model.model.state_dict())
    sum(alone(some)).sum().backward()
    for own, other in zip(model.model.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(own.grad, other.grad)
    found = [parameter.grad.clone() for parameter in model.classifier.parameters()]
    model.zero_grad()
    logits = model.classifier(some.x[None])[0]
    missed = torch.nn.functional.cross_entropy(logits, some.condition)
    (ALPHA * missed / N_VALUES).backward()
    for own, other in zip(found, model.classifier.parameters(), strict=True):
        torch.testing.assert_close(own, other.grad)


def test_a_certain_class_is_a_label():
    model, x = learner(), rows(4)
    for parameter in model.classifier.parameters():
        parameter.data.zero_()
    model.classifier.biases[-1].data[..., 1] = 1e3
    # The code has no width, so that both see the same one.
    model.model.encoder.biases[-1].data[..., N_CODES:] = -9.0
    model.model.encoder.weights[-1].data[..., N_CODES:] = 0.0
    with torch.no_grad():
        guessed = model(Pair(x, None, (0.25, 0.0, 0.0)))
        known = model(Pair(None, rows(4, [1] * 4), (0.0, 0.25, 0.25)))
    for one, other in zip(guessed, known, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-9)
    assert float(known[2]) == pytest.approx(-np.log(PRIOR[1]) / N_VALUES, rel=1e-6)


def test_without_labels_the_best_guess_is_bayes_rule():
    model, x = learner(), rows(1)
    noise = drawn(N_CLASSES)
    bounds = [-sum(minus_bound(model.model, x.x[0], c, noise[c])) for c in range(N_CLASSES)]
    joint = np.array(bounds) + np.log(PRIOR)
    for parameter in model.classifier.parameters():
        parameter.data.zero_()
    model.classifier.biases[-1].data[..., :] = torch.from_numpy(joint)
    loss = sum(model(Pair(x, None, (1.0, 0.0, 0.0))))
    assert float(loss.detach()) * N_VALUES == pytest.approx(-logsumexp(joint), rel=1e-6)
    (slope,) = torch.autograd.grad(loss.sum(), model.classifier.biases[-1])
    np.testing.assert_allclose(slope, 0, atol=1e-6)


def test_missing_targets_count_nothing():
    few, some = rows(3), rows(2, [0, 2], seed=1)
    hole = torch.zeros(3, N_VALUES, dtype=torch.bool)
    hole[1, 2] = hole[2, 0] = True
    targets = [few.x.clone(), few.x.masked_fill(hole, 99.0)]
    holed = [Batch(few.x, target, observed=~hole) for target in targets]
    model = learner()
    with torch.no_grad():
        one, other = (model(Pair(part, some, (0.2, 0.5, 0.25))) for part in holed)
        whole = model(Pair(few, some, (0.2, 0.5, 0.25)))
        share = model.log_shares(few.x)[0].exp()
        noise = torch.from_numpy(drawn(9)).reshape(N_CLASSES, 3, N_CODES)
        outside = 0.0
        for row, value in hole.nonzero().tolist():
            for label in range(N_CLASSES):
                known = torch.eye(N_CLASSES).double()[label]
                raw = model.model.encoder(torch.cat([few.x[row], known])[None, None])[0, 0]
                code = raw[:N_CODES] + raw[N_CODES:].exp() * noise[label, row]
                mean = model.model.decoder(torch.cat([code, known])[None, None])[0, 0, value]
                lost = -norm(mean.item(), 0.8).logpdf(few.x[row, value].item())
                outside += 0.2 * share[row, label].item() * lost / N_VALUES
    for first, second in zip(one, other, strict=True):
        assert torch.equal(first, second)
    assert float(whole[0] - one[0]) == pytest.approx(outside, rel=1e-6)
    for first, second in zip(one[1:], whole[1:], strict=True):
        torch.testing.assert_close(first, second)


@pytest.mark.parametrize("n_guesses", [2, N_CLASSES])
def test_restarts_side_by_side_are_single_ones(n_guesses):
    model, pair = learner(2, n_guesses=n_guesses), Pair(rows(3), rows(2, [0, 1]), (0.3, 0.3, 0.5))
    both = torch.stack(model(pair))
    for restart in range(2):
        one = torch.stack(model.select(restart)(pair))
        torch.testing.assert_close(one[:, 0], both[:, restart])


class Sums(Learner):
    """A learner whose losses are sums of the rows' values with their weights."""

    def forward(self, pair):
        one, two, classified = pair.weights
        parts = [
            torch.zeros(1) if part is None else part.x.sum()[None] * weight
            for part, weight in ((pair.unlabelled, one), (pair.labelled, two))
        ]
        known = 0 if pair.labelled is None else len(pair.labelled)
        return [*parts, torch.ones(1) * classified * known]


@pytest.mark.parametrize("sizes", [(100, 7), (7, 100), (0, 30), (40, 3), (3, 2)])
@pytest.mark.parametrize("batch_size", [1, 16, 128])
def test_steps_are_unbiased_and_leave_no_row_out(sizes, batch_size):
    x = torch.arange(float(sum(sizes)))[:, None]
    one, two = torch.arange(sum(sizes)).split(sizes)
    shares = tuple(size / sum(sizes) for size in sizes)
    pairs = Pairs(lambda pick, generator: Batch(x, x)[pick], one, two, shares, batch_size)
    steps = list(pairs.shuffled(torch.Generator().manual_seed(0)))
    assert len(steps) == len(pairs)
    for kind, numbers in (("unlabelled", one), ("labelled", two)):
        read = [getattr(step, kind) for step in steps]
        if not len(numbers):
            assert read == [None] * len(steps)
            continue
        order = torch.cat([part.x for part in read]).flatten().tolist()
        cycles = [order[i : i + len(numbers)] for i in range(0, len(order), len(numbers))]
        assert sorted(cycles[0]) == numbers.tolist()
        assert all(len(set(cycle)) == len(cycle) for cycle in cycles)
    for step in steps:
        known = [0 if p is None else len(p) for p in (step.unlabelled, step.labelled)]
        found = [n * weight for n, weight in zip(known, step.weights, strict=False)]
        assert found == pytest.approx(shares)
        assert known[1] * step.weights[2] == pytest.approx(1)
    in_order = list(pairs)
    assert all(step.unlabelled is not None or step.labelled is not None for step in in_order)
    assert sum(len(step.together) for step in in_order) == sum(sizes)
    whole = float(mean_loss(Sums(), pairs)) - 1
    assert whole == pytest.approx(float(x.mean()), rel=1e-6)


def exact_mixture():
    """A fitted model set to a mixture of probabilistic PCAs, with its exact posteriors."""
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(N_VALUES, N_CODES)))[0] * [1.5, 0.8]
    centres, noise = 2 * rng.normal(size=(N_CLASSES, N_VALUES)), 0.5
    model = SemiSupervisedVAE(
        N_CODES,
        hidden_layer_sizes=(),
        noise=noise,
        scale="none",
        max_epochs=1,
        random_state=0,
    ).fit(rng.normal(size=(30, N_VALUES)), np.arange(30) % N_CLASSES)
    model.class_prior_ = PRIOR
    precision = (axes**2).sum(0) + noise**2
    back = axes / precision
    inner, classifier = model._learner.model, model._learner.classifier
    covariance = axes @ axes.T + noise**2 * np.eye(N_VALUES)
    slopes = np.linalg.solve(covariance, centres.T)
    offsets = np.log(PRIOR) - (centres.T * slopes).sum(0) / 2
    width = np.log(noise**2 / precision) / 2
    for network, weight, bias in (
        (inner.encoder, np.vstack([back, -centres @ back]), np.zeros(N_CODES)),
        (inner.decoder, np.vstack([axes.T, centres]), np.zeros(N_VALUES)),
        (classifier, slopes, offsets),
    ):
        n = weight.shape[1]
        for parameter in (network.weights[-1].data, network.biases[-1].data):
            parameter.zero_()
        network.weights[-1].data[0, :, :n] = torch.from_numpy(weight)
        network.biases[-1].data[0, :, :n] = torch.from_numpy(bias)
    inner.encoder.biases[-1].data[0, :, N_CODES:] = torch.from_numpy(width)
    members = [multivariate_normal(centre, covariance) for centre in centres]
    return model, members


def test_bound_of_exact_posteriors_is_the_log_likelihood():
    model, members = exact_mixture()
    x = np.random.default_rng(1).normal(size=(20, N_VALUES)) * 2
    joint = np.stack([m.logpdf(x) for m in members], 1) + np.log(PRIOR)
    np.testing.assert_allclose(model.elbo(x).total, logsumexp(joint, 1), rtol=1e-4)
    shares = np.exp(joint - logsumexp(joint, 1, keepdims=True))
    np.testing.assert_allclose(model.predict_proba(x), shares, atol=1e-4)
    labels = np.arange(20) % (N_CLASSES + 1) - 1
    wanted = np.where(labels < 0, logsumexp(joint, 1), joint[np.arange(20), labels])
    np.testing.assert_allclose(model.elbo(x, labels).total, wanted, rtol=1e-4)


def test_samples_are_of_their_class():
    model, members = exact_mixture()
    for label, member in enumerate(members):
        found = model.sample(4000, label=label, random_state=0)
        np.testing.assert_allclose(found.mean(0), member.mean, atol=0.12)
        np.testing.assert_allclose(np.cov(found.T), member.cov, atol=0.2)
    mixed = model.sample(4000, random_state=0)
    wanted = PRIOR @ np.stack([member.mean for member in members])
    np.testing.assert_allclose(mixed.mean(0), wanted, atol=0.2)
    each = model.sample(3, label=[0, 1, 2], random_state=0)
    np.testing.assert_array_equal(each, model.sample(3, label=[0, 1, 2], random_state=0))


def beyond_logistic(model, X, truth, y):
    """Return how much more rows without labels are classified than by the labelled rows alone."""
    known = y >= 0
    alone = LogisticRegression(max_iter=1000).fit(X[known], y[known])
    rest = X[~known], truth[~known]
    return model.fit(X, y).score(*rest) - alone.score(*rest)


def test_rows_without_labels_help():
    X, truth = make_moons(600, noise=0.1, random_state=0)
    model = SemiSupervisedVAE(
        1, hidden_layer_sizes=(32, 32), max_epochs=50, learning_rate=0.02, random_state=0
    )
    assert beyond_logistic(model, X, truth, few_labels(truth, 5, 4)) > 0.1


def groups():
    """Rows of four groups in a plane of a space of more dimensions, with noise in all of them."""
    means, truth = make_blobs(800, centers=4, cluster_std=0.6, random_state=0)
    rng = np.random.default_rng(0)
    return means @ rng.normal(size=(2, 20)) + 2 * rng.normal(size=(800, 20)), truth


# Beside its group nothing of a row is left to tell.
nothing_left = pytest.mark.filterwarnings("ignore:The component has collapsed")


@pytest.fixture(scope="module")
def through_features():
    features = VariationalAutoencoder(2, max_epochs=15, random_state=0)
    model = SemiSupervisedVAE(
        1, features=features, max_epochs=15, n_init=2, learning_rate=0.01, random_state=0
    )
    X, truth = groups()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The component has collapsed")
        return model.fit(X, few_labels(truth, 2))


@nothing_left
def test_rows_without_labels_help_through_features(through_features):
    X, truth = groups()
    assert beyond_logistic(clone(through_features), X, truth, few_labels(truth, 2)) > 0.05


def test_features_are_read_at_their_locations_and_sampled_in_units_of_the_rows(through_features):
    X, truth = groups()
    model = through_features
    np.testing.assert_array_equal(model.predict_proba(X), model.predict_proba(X))
    assert model.transform(X).shape == (800, 1)
    for label in range(4):
        drawn = model.sample(500, label=label, noise=False, random_state=0)
        distance = [np.linalg.norm(drawn.mean(0) - X[truth == c].mean(0)) for c in range(4)]
        assert np.argmin(distance) == label
    noisy = model.sample(500, label=0, random_state=0)
    assert 1.5 < (noisy - model.sample(500, label=0, noise=False, random_state=0)).std() < 2.5


def test_bound_through_features_whose_second_model_is_the_prior(through_features):
    """Features modelled as standard normal, whatever the class, leave the first model's bound."""
    X, _ = groups()
    model = pickle.loads(pickle.dumps(through_features))
    inner = model.autoencoder_._model
    for parameter in (*inner.encoder.parameters(), *inner.decoder.parameters()):
        parameter.data.zero_()
    width = np.ones_like(model.autoencoder_._target_scale.width)
    model.autoencoder_._target_scale = model.autoencoder_._input_scale = Scale(0 * width, width)
    inner.log_width.data.zero_()
    for parameter in model._learner.classifier.parameters():
        parameter.data.zero_()
    model.class_prior_ = np.full(4, 0.25)
    first, found = model.features_.elbo(X), model.elbo(X)
    np.testing.assert_allclose(found.labels, 0, atol=1e-6)
    np.testing.assert_allclose(found.reconstruction, first.reconstruction, rtol=1e-6)
    np.testing.assert_allclose(found.divergence, first.divergence, rtol=1e-4)


def test_a_bound_does_not_depend_on_the_other_rows(through_features):
    X, _ = groups()
    alone, among = through_features.elbo(X[5:8]), through_features.elbo(X[:100])
    for one, other in zip(alone, among, strict=True):
        np.testing.assert_allclose(one, other[5:8], rtol=1e-5)


@nothing_left
def test_frozen_features_stay_as_they_are(through_features):
    X, truth = groups()
    first = through_features.features_
    before = {name: tensor.clone() for name, tensor in first._model.state_dict().items()}
    model = clone(through_features).set_params(features=FrozenEstimator(first), n_init=1)
    model.fit(X, few_labels(truth, 2))
    assert model.features_ is first
    for name, tensor in first._model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_draws_of_features_are_new_in_each_step(through_features):
    X, _ = groups()
    inner, draw = through_features.autoencoder_, through_features._drawing(X)
    kept = torch.zeros(800, 2)
    read = partial(_drawn, Batch(kept, kept), inner._input_scale, draw)
    unlabelled, labelled = torch.arange(800).split([780, 20])
    pairs = Pairs(read, unlabelled, labelled, (0.975, 0.025), 800)
    generator = torch.Generator().manual_seed(0)
    # One step reads all rows, so that epochs differ by their draws alone, but for the order.
    one, two = (next(iter(pairs.shuffled(generator))).unlabelled.x for _ in range(2))
    spread = (one.sort(0).values - two.sort(0).values).abs()
    assert (spread > 0).all(1).float().mean() > 0.9
    (first,), (again,) = list(pairs), list(pairs)
    assert torch.equal(first.unlabelled.x, again.unlabelled.x)
    every = slice(None)
    same, other = (draw(every, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert ((same - other).std(0) / same.std(0) > 0.05).all()


@pytest.mark.parametrize("precisions", [("float64", "float32"), ("float32", "float64")])
def test_features_of_another_precision(precisions):
    first, second = precisions
    features = VariationalAutoencoder(2, **quick(precision=first))
    model = small(features=features, precision=second).fit(X, Y)
    assert model.sample(3, noise=False, random_state=0).dtype == first
    assert model.transform(X).dtype == second
    assert np.isfinite(model.elbo(X).total).all()


def test_classes_beyond_the_likeliest_are_left_out():
    y = np.where(Y < 0, -1, np.arange(60) % 3)
    losses = {n: small(top_classes=n).fit(X, y).history_["train_loss"] for n in (2, 9, None)}
    np.testing.assert_array_equal(losses[9], losses[None])
    assert (losses[2] != losses[None]).any((0, 2))[:3].all()


def small(**settings):
    return SemiSupervisedVAE(**quick(**settings))


def test_restarts_of_a_fit_are_single_ones():
    one, two = (small(n_init=n).fit(X, Y) for n in (1, 2))
    for name in ("train_loss", "validation_loss"):
        np.testing.assert_allclose(
            one.history_[name][..., 0], two.history_[name][..., 0], rtol=1e-4
        )


def test_bounds_of_rows_are_those_of_their_classes_weighed():
    model = small(class_prior="uniform").fit(X, Y)
    share = model.predict_proba(X).astype(float)
    each = np.stack([model.elbo(X, np.full(60, label)).total for label in (0, 1)], 1)
    wanted = (share * (each - np.log(share))).sum(1)
    np.testing.assert_allclose(model.elbo(X).total, wanted, rtol=1e-5)
    np.testing.assert_allclose(model.elbo(X, np.full(60, 1)).labels, np.log(2))


def test_bounds_may_be_asked_for_without_any_label():
    model = small().fit(X, Y)
    for one, other in zip(model.elbo(X, np.full(60, -1)), model.elbo(X), strict=True):
        np.testing.assert_array_equal(one, other)


def test_missing_entries_have_no_bound():
    holes = X.copy()
    holes[::3, 2] = np.nan
    assert np.isfinite(small(missing="ignore").fit(holes, Y).elbo(holes).total).all()


def test_a_loss_that_is_not_finite_names_its_term():
    with pytest.raises(NonFiniteLossError, match=r"in the term '(reconstruction|divergence)'\."):
        small(learning_rate=1e20).fit(X, Y)


def refused(message):
    return pytest.raises(ValueError, match=f"^{re.escape(message)}$")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"top_classes": 1}, "top_classes=1 must be a whole number, at least 2."),
        ({"alpha": -1}, "alpha=-1 must be a number, at least 0. Write 0.1."),
        ({"alpha": True}, "alpha=True must be a number, at least 0. Write 0.1."),
    ],
)
def test_settings_that_do_not_fit_are_refused(change, message):
    with refused(message):
        small(**change).fit(X, Y)


ON_A_LINE = (
    "M2 describes numbers on a line, but the codes of features= are angles, shares or directions. "
    "Write posterior='gaussian' and circular=()."
)


@pytest.mark.parametrize(
    ("settings", "y", "message"),
    [
        ({"posterior": "dirichlet"}, Y, ON_A_LINE),
        ({"circular": (0,)}, Y, ON_A_LINE),
        (
            {},
            [0, 1],
            "y has 2 labels, but X has 60 rows. Pass one for each row, -1 where it is not known.",
        ),
        ({"n_components": 0}, Y, "n_components=0 must be a whole number, at least 1."),
    ],
)
def test_what_does_not_fit_is_refused_before_features_are_trained(
    monkeypatch, settings, y, message
):
    def trained(self, X):
        pytest.fail("The features were trained.")

    monkeypatch.setattr(VariationalAutoencoder, "fit", trained)
    with refused(message):
        small(features=VariationalAutoencoder(**settings)).fit(X, y)


def test_frozen_features_that_do_not_fit_are_refused():
    circular, given = (
        VariationalAutoencoder(2, **quick(**own)) for own in ({"circular": (0,)}, {})
    )
    with refused(ON_A_LINE):
        small(features=FrozenEstimator(circular.fit(X))).fit(X, Y)
    message = (
        "The features were fitted with a condition, and rows have none here. Fit them without "
        "condition=."
    )
    with refused(message):
        small(features=FrozenEstimator(given.fit(X, condition=Y))).fit(X, Y)


def test_features_that_are_no_variational_autoencoder_are_refused():
    with pytest.raises(TypeError, match=r"^features='pca' is not what M2 can read draws of\. "):
        small(features="pca").fit(X, Y)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.full(60, 5), "The label 5 is not among those of the fit: 0, 1. Pass one of these."),
        (
            [0, -1],
            "y has 2 labels, but X has 60 rows. Pass one for each row, -1 where it is not known.",
        ),
    ],
)
def test_labels_of_a_bound_that_do_not_fit_are_refused(y, message):
    model = small(max_epochs=1).fit(X, Y)
    with refused(message):
        model.elbo(X, y)


@pytest.mark.filterwarnings("ignore:.*features are constant")
@parametrize_with_checks(
    [
        SemiSupervisedVAE(
            hidden_layer_sizes=(8,),
            max_epochs=8,
            learning_rate=0.05,
            batch_size=128,
            training=Training(precision="float64"),  # single precision differs by rounding
        ),
    ],
    expected_failed_checks=lambda estimator: {
        "check_classifiers_classes": "-1 is a label there; here it says that there is none"
    },
)
def test_scikit_learn_contract(estimator, check):
    check(estimator)


def test_labels_come_from_files(tmp_path):
    few = np.array(["on", "off"], dtype=object)[np.arange(60) % 2]
    few[20:] = -1
    np.save(tmp_path / "X.npy", X)
    path = tmp_path / "y.csv"
    path.write_text("\n".join(["label,run", *(f"{label},0" for label in few)]))
    model = SemiSupervisedVAE(2, **quick())
    twin = clone(model).fit(tmp_path / "X.npy", f"{path}:label")
    model.fit(X, few)
    np.testing.assert_array_equal(twin.predict_proba(X), model.predict_proba(X))
    assert twin.score(X, f"{path}:label") == model.score(X, few)
    with pytest.raises(ValueError, match="columns") as caught:
        model.fit(X, path)
    assert str(caught.value) == (
        f"y='{path}' has 2 columns. Select the labels, as in 'table.csv:label'."
    )

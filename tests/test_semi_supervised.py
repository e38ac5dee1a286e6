"""Rows of which few have labels: the objective, its limits, and what is learned from both kinds."""

import pickle
import re

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, logsumexp
from scipy.stats import multivariate_normal, norm
from sklearn.datasets import load_digits, make_blobs, make_moons
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

from helpers import quick, table
from narrows import (
    Convolutional,
    Dense,
    SemiSupervisedVAE,
    Training,
    VariationalAutoencoder,
)
from narrows._errors import NonFiniteLossError
from narrows.blueprint import Blueprint
from narrows.data.batches import Batch
from narrows.engine.loop import Learner, mean_loss
from narrows.estimators._labels import divided
from narrows.model import Model
from narrows.nn.code import Layout
from narrows.nn.ordering import Unordered
from narrows.nn.posterior import GaussianCode
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


def learner(n_restarts=1, alpha=ALPHA, **settings):
    made = SemiSupervised(
        blueprint(**settings), torch.tensor(PRIOR).log().float(), alpha, n_restarts
    )
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


def test_objective_is_the_sum_over_classes():
    model, few, some = learner(), rows(3), rows(5, [0, 2, 1, 1, 0], seed=1)
    with torch.no_grad():
        found = [float(term) for term in model(Pair(few, some, (0.2, 0.5, 0.25)))]
        logits = [model.classifier(part.x[None])[0].numpy() for part in (few, some)]
    wanted = np.zeros(4)
    noise = drawn(3 * N_CLASSES).reshape(N_CLASSES, 3, N_CODES)
    for i, log_share in enumerate(log_softmax(logits[0], 1)):
        for label, share in enumerate(np.exp(log_share)):
            terms = minus_bound(model.model, few.x[i], label, noise[label, i])
            gap = log_share[label] - np.log(PRIOR[label])
            wanted[:3] += 0.2 * share * np.array([*terms, gap])
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


def test_restarts_side_by_side_are_single_ones():
    model, pair = learner(2), Pair(rows(3), rows(2, [0, 1]), (0.3, 0.3, 0.5))
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
    pairs = Pairs(lambda generator: Batch(x, x), one, two, shares, batch_size)
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
    whole = float(mean_loss(Sums(), pairs)) - 1
    assert whole == pytest.approx(float(x.mean()), rel=1e-6)


# The estimator


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


def few_labels(truth, n=10, seed=0):
    """Labels of a few rows of each class, drawn at random."""
    rng, y = np.random.default_rng(seed), np.full(len(truth), -1)
    for label in np.unique(truth):
        y[rng.permutation(np.flatnonzero(truth == label))[:n]] = label
    return y


def beyond_logistic(model, X, truth, n):
    """Return how much more rows without labels are classified than by the labelled rows alone."""
    y = few_labels(truth, n)
    known = y >= 0
    alone = LogisticRegression(max_iter=1000).fit(X[known], y[known])
    rest = X[~known], truth[~known]
    return model.fit(X, y).score(*rest) - alone.score(*rest)


def test_rows_without_labels_help():
    X, truth = load_digits(return_X_y=True)
    model = SemiSupervisedVAE(
        5, likelihood="bernoulli", scale="none", max_epochs=20, random_state=0
    )
    assert beyond_logistic(model, X / 16, truth, 10) > 0.01


def test_rows_without_labels_help_through_features():
    X, truth = make_moons(1000, noise=0.1, random_state=0)
    features = VariationalAutoencoder(2, max_epochs=20, random_state=0)
    model = SemiSupervisedVAE(1, features=features, max_epochs=60, random_state=0)
    assert beyond_logistic(model, X, truth, 5) > 0.05
    assert model.transform(X).shape == (1000, 1)
    drawn = model.sample(500, label=1, random_state=0)
    assert drawn.shape == (500, 2)
    np.testing.assert_allclose(drawn.mean(0), X[truth == 1].mean(0), atol=0.3)


DOUBLE = Training(precision="float64")  # single precision differs between batches by rounding


@pytest.mark.filterwarnings("ignore:.*features are constant")
@parametrize_with_checks(
    [
        SemiSupervisedVAE(2, hidden_layer_sizes=(8,), max_epochs=20, learning_rate=0.03, batch_size=32, training=DOUBLE),
    ],
)
def test_scikit_learn_contract(estimator, check):
    check(estimator)

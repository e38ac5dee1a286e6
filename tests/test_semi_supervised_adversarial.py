"""Codes and class shares against critics: losses, what each moves, and what is learned."""

import copy
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from sklearn.datasets import make_blobs, make_moons
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

from helpers import few_labels, quick, table
from narrows import Dense, RingSampler, SemiSupervisedAAE, Training
from narrows._errors import NonFiniteLossError
from narrows.adversarial import Contest
from narrows.blueprint import Blueprint
from narrows.data.batches import Batch
from narrows.engine.player import players_of
from narrows.estimators import _fitting
from narrows.nn.code import Layout, Plain
from narrows.nn.critic import Critic
from narrows.nn.ordering import Unordered
from narrows.nn.sampler import CustomSampler
from narrows.objective.likelihoods import Gaussian
from narrows.semi_supervised import Pair
from narrows.semi_supervised_adversarial import SemiSupervisedAdversarial

N_VALUES, N_CODES, N_CLASSES = 4, 2, 3
PRIOR = np.array([0.5, 0.3, 0.2])
DRAWS = np.random.default_rng(1).normal(size=(500, N_CODES))
X = table(n_rows=60)
Y = np.where(np.arange(60) < 30, np.arange(60) % 2, -1)
same_bits = np.testing.assert_array_equal


def given(n, rng):
    """Return the same draws each time."""
    return DRAWS[:n]


def learner(n_restarts=1, **settings):
    shape = (N_VALUES,)
    critic = Critic(CustomSampler(given), (6,), **settings)
    blueprint = Blueprint(
        Dense((5,), linear_path=False, init="xavier"),
        Plain(),
        Layout(N_CODES),
        Unordered(),
        Gaussian(),
        (),
        shape,
        shape,
        n_condition=N_CLASSES,
        critic=critic,
    )
    made = SemiSupervisedAdversarial(blueprint, torch.tensor(PRIOR).log().float(), 0.5, n_restarts)
    made.reset([torch.Generator().manual_seed(r) for r in range(n_restarts)])
    return made.double()


def rows(n, labels=None, seed=0):
    x = torch.from_numpy(np.random.default_rng(seed).normal(size=(n, N_VALUES)))
    known = None if labels is None else torch.eye(N_CLASSES).double()[torch.tensor(labels)]
    return Batch(x, x, condition=known)


def generators(n=1):
    return [torch.Generator().manual_seed(10 + r) for r in range(n)]


def contest(model):
    return Contest(model.model, CustomSampler(given), generators(model.model.n_restarts))


PAIR = Pair(rows(6), rows(2, [0, 2], seed=1), (0.1, 0.2, 0.5))
# What the six rows and the two of the pair count
WEIGHT = np.array([0.1] * 6 + [0.2] * 2)


def applied(network, inputs, restart):
    """Return what one restart of a network makes of rows."""
    with torch.no_grad():
        found = network(torch.from_numpy(inputs).expand(network.weights[0].shape[0], -1, -1))
    return found[restart].numpy()


def read(model, restart):
    """Return the rows of the pair, their class shares and their codes."""
    x = np.concatenate([PAIR.unlabelled.x, PAIR.labelled.x])
    shares = softmax(applied(model.classifier, x, restart), 1)
    return x, shares, applied(model.model.encoder, np.hstack([x, shares]), restart)


def sigmoid(logit):
    return 1 / (1 + np.exp(-logit))


def test_rows_come_back_from_codes_and_class_shares():
    model = learner(2)
    (found,) = model(PAIR)
    for restart in range(2):
        x, shares, codes = read(model, restart)
        outputs = applied(model.model.decoder, np.hstack([codes, shares]), restart)
        wanted = WEIGHT @ ((outputs - x) ** 2).mean(1)
        assert found[restart].item() == pytest.approx(wanted, rel=1e-6)


def test_critics_are_judged_by_codes_and_class_shares():
    model = learner(2)
    critics = (model.model.critic, DRAWS[:8]), (model.class_critic, None)
    told = model.critics(contest(model), PAIR)
    of_classes = model.class_draws(8, generators(2)).numpy()
    against = model.against(contest(model), PAIR)
    for restart in range(2):
        _, shares, codes = read(model, restart)
        for number, (values, (critic, draws)) in enumerate(
            zip((codes, shares), critics, strict=True)
        ):
            draws = of_classes[restart].astype(float) if draws is None else draws
            of_rows, of_draws = (
                sigmoid(applied(critic, v, restart)[:, 0]) for v in (values, draws)
            )
            wanted = -(np.log(of_draws).mean() + WEIGHT @ np.log(1 - of_rows)) / 2
            assert told[number][restart].item() == pytest.approx(wanted, rel=1e-5)
            wanted = -WEIGHT @ np.log(of_rows)
            assert against[number][restart].item() == pytest.approx(wanted, rel=1e-6)


def test_critics_that_cannot_tell_have_the_loss_ln_2():
    model = learner()
    for parameter in (*model.model.critic.parameters(), *model.class_critic.parameters()):
        parameter.data.zero_()
    found = [*model.critics(contest(model), PAIR), *model.against(contest(model), PAIR)]
    np.testing.assert_allclose(torch.stack(found).detach(), math.log(2))


def test_rows_with_labels_are_classified():
    model = learner()
    (found,) = model.classified(PAIR)
    log_share = log_softmax(applied(model.classifier, PAIR.labelled.x.numpy(), 0), 1)
    assert found.item() == pytest.approx(-(log_share[0, 0] + log_share[1, 2]) / 2, rel=1e-6)


def test_classes_are_drawn_by_their_shares():
    found = learner(2).class_draws(20_000, generators(2)).numpy()
    assert set(np.unique(found)) == {0, 1}
    same_bits(found.sum(2), 1)
    np.testing.assert_allclose(found.mean(1), [PRIOR, PRIOR], atol=0.015)
    assert (found[0] != found[1]).any()


def test_each_phase_moves_its_own_parameters_alone():
    model = learner(2)
    phases = model.phases(0.1, generators(2))
    assert [phase.names for phase in phases] == [
        ("reconstruction",),
        ("critic", "class_critic"),
        ("adversarial", "class_adversarial"),
        ("classification",),
    ]
    moved = []
    for player in players_of(phases, 2, Training(optimizer="sgd"), 0.1):
        before = {name: tensor.clone() for name, tensor in model.named_parameters()}
        player.step(PAIR, 1.0)
        changed = {n for n, tensor in model.named_parameters() if (tensor != before[n]).any()}
        moved.append({name.removeprefix("model.").partition(".")[0] for name in changed})
    assert moved == [
        {"encoder", "classifier", "decoder"},
        {"critic", "class_critic"},
        {"encoder", "classifier"},
        {"classifier"},
    ]


def test_each_critic_teaches_its_own_network():
    model = learner()
    both = [*model.model.encoder.parameters(), *model.classifier.parameters()]
    n = len([*model.model.encoder.parameters()])
    for loss, own in zip(
        model.against(contest(model), PAIR), (slice(n), slice(n, None)), strict=True
    ):
        slopes = torch.autograd.grad(loss.sum(), both, allow_unused=True)
        reached = [slope is not None for slope in slopes]
        assert all(reached[own])
        assert sum(reached) == len(reached[own])


def test_a_step_is_that_of_four_optimisers():
    """By torch's own, one for each phase, on the gradients of that phase's losses."""
    ours = learner(strength=0.7, learning_rate=0.03)
    theirs = copy.deepcopy(ours)
    phases = ours.phases(0.1, generators())
    for player in players_of(phases, 1, Training(optimizer="sgd"), 0.1):
        player.step(PAIR, 1.0)
    game = contest(theirs)
    inner = theirs.model
    encoder, classifier = [*inner.encoder.parameters()], [*theirs.classifier.parameters()]
    judges = [*inner.critic.parameters(), *theirs.class_critic.parameters()]
    for loss, parameters, rate in (
        (theirs, [*encoder, *classifier, *inner.decoder.parameters()], 0.1),
        (lambda pair: theirs.critics(game, pair), judges, 0.03),
        (lambda pair: theirs.against(game, pair), [*encoder, *classifier], 0.07),
        (theirs.classified, classifier, 0.05),
    ):
        slopes = torch.autograd.grad(sum(loss(PAIR)).sum(), parameters)
        for parameter, slope in zip(parameters, slopes, strict=True):
            parameter.data -= rate * slope
    for one, two in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-12)


def test_a_restart_alone_has_the_same_losses():
    both = learner(2)
    together = [*both(PAIR), *both.against(contest(both), PAIR), *both.classified(PAIR)]
    for restart in range(2):
        one = both.select(restart)
        alone = [*one(PAIR), *one.against(contest(one), PAIR), *one.classified(PAIR)]
        torch.testing.assert_close(torch.cat(alone), torch.stack(together)[:, restart])


def test_pairs_without_one_kind_have_the_loss_of_the_other():
    model = learner().eval()
    parts = [
        Pair(PAIR.unlabelled, None, (0.1, 0.0, 0.0)),
        Pair(None, PAIR.labelled, (0.0, 0.2, 0.5)),
    ]
    (whole,) = model(PAIR)
    torch.testing.assert_close(sum(model(part)[0] for part in parts), whole)


def test_missing_targets_count_nothing():
    model = learner().eval()
    x, hole = PAIR.unlabelled.x, torch.zeros(6, N_VALUES, dtype=torch.bool)
    hole[1, 2] = hole[4, 0] = True
    known = replace(PAIR.labelled, observed=torch.ones(2, N_VALUES, dtype=torch.bool))
    one, other = (
        model(Pair(Batch(x, target, observed=~hole), known, PAIR.weights))[0]
        for target in (x.clone(), x.masked_fill(hole, 99.0))
    )
    assert torch.equal(one, other)
    rows, shares, codes = read(model, 0)
    error = (applied(model.model.decoder, np.hstack([codes, shares]), 0) - rows) ** 2
    error[:6][hole] = 0
    assert one.item() == pytest.approx(WEIGHT @ error.mean(1), rel=1e-6)


def groups():
    """Rows of four groups at the corners of a square, in a space of more dimensions."""
    corners = [[-4, -4], [-4, 4], [4, -4], [4, 4]]
    means, truth = make_blobs(800, centers=corners, cluster_std=1, random_state=0)
    rng = np.random.default_rng(0)
    return means @ rng.normal(size=(2, 20)) + 0.3 * rng.normal(size=(800, 20)), truth


@pytest.fixture(scope="module")
def of_groups():
    X, truth = groups()
    settings = {"max_epochs": 40, "batch_size": 256, "learning_rate": 0.01}
    model = SemiSupervisedAAE(1, hidden_layer_sizes=(32,), random_state=0, **settings)
    return model.fit(X, few_labels(truth, 5))


def test_rows_without_labels_help():
    X, truth = make_moons(600, noise=0.1, random_state=0)
    y = few_labels(truth, 10, 1)
    model = SemiSupervisedAAE(
        1, hidden_layer_sizes=(32, 32), max_epochs=40, learning_rate=0.01, random_state=0
    )
    rest = X[y < 0], truth[y < 0]
    alone = LogisticRegression().fit(X[y >= 0], y[y >= 0])
    assert model.fit(X, y).score(*rest) > alone.score(*rest) + 0.05


def test_class_shares_follow_their_prior(of_groups):
    """As critics have it: sure of each row, and of the classes as many as the prior has."""
    share = of_groups.predict_proba(groups()[0])
    assert np.median(share.max(1)) > 0.95
    np.testing.assert_allclose(share.mean(0), of_groups.class_prior_, atol=0.06)


def test_styles_follow_their_prior(of_groups):
    X, _ = groups()
    assert of_groups.prior_test(X).p_value > 0.01
    assert of_groups.critic_accuracy(X) < 0.6


def test_samples_are_of_their_class(of_groups):
    X, truth = groups()
    for label in range(4):
        drawn = of_groups.sample(300, label=label, noise=False, random_state=0)
        distance = [np.linalg.norm(drawn.mean(0) - X[truth == c].mean(0)) for c in range(4)]
        assert np.argmin(distance) == label
    labels = [0, 1, 2, 3] * 100
    each = of_groups.sample(400, label=labels, noise=False, random_state=0)
    assert (of_groups.predict(each) == labels).mean() > 0.85
    same_bits(of_groups.sample(9, random_state=1), of_groups.sample(9, random_state=1))
    drawn = of_groups.predict(of_groups.sample(2000, noise=False, random_state=0))
    np.testing.assert_allclose(np.bincount(drawn) / 2000, of_groups.class_prior_, atol=0.06)


def test_the_critic_reads_codes_under_their_class_shares(of_groups):
    X, _ = groups()
    with torch.no_grad():
        codes = torch.from_numpy(of_groups.transform(X)).float()
        logit = of_groups.autoencoder_._model.critic(codes[None])[0, :, 0].numpy()
    np.testing.assert_allclose(of_groups.critic_score(X), sigmoid(logit), rtol=1e-4)


def small(**settings):
    return SemiSupervisedAAE(**quick(**settings))


def test_a_restart_is_the_same_alone(monkeypatch):
    """Side by side with another: same start, batches, draws and critics, to rounding."""
    dense = Dense((8,), dropout=0.2)
    settings = quick(precision="float64", architecture=dense, prior="ring")
    several = SemiSupervisedAAE(n_init=2, **settings).fit(X, Y)
    split, order, *starts = _fitting.seeds(0, 4)
    for restart, start in enumerate(starts):
        children = [
            np.random.SeedSequence(0, spawn_key=seed.spawn_key) for seed in (split, order, start)
        ]
        monkeypatch.setattr(_fitting, "seeds", lambda state, n, children=children: children)
        single = SemiSupervisedAAE(**settings).fit(X, Y)
        for name in ("train_loss", "validation_loss", "best_loss"):
            own = several.history_[name][..., restart]
            np.testing.assert_allclose(own, single.history_[name][..., 0], rtol=1e-6)
        if restart == several.history_["best_loss"].argmin():
            np.testing.assert_allclose(several.predict_proba(X), single.predict_proba(X), rtol=1e-5)


def test_the_last_weights_are_kept_and_patience_does_not_count():
    model = small(max_epochs=12, patience=1, learning_rate=0.1, n_init=2).fit(X, Y)
    assert model.n_iter_ == 12
    same_bits(model.history_["best_epoch"], [12, 12])


def test_shares_are_read_in_the_order_of_the_classes():
    """Names that are numbers, in the order of texts, are not taken for places."""
    y = np.where(Y < 0, -1, np.arange(60) % 12).astype(object)
    y[Y >= 0] = [str(label) for label in y[Y >= 0]]
    model = small().fit(X, y)
    assert model.classes_[:3].tolist() == ["0", "1", "10"]
    found = model.autoencoder_.transform(X, condition=model.predict_proba(X))
    with torch.no_grad():
        batch = torch.cat(list(model.autoencoder_._blocks(model.autoencoder_._known_rows(X))))
        wanted = model._learner.model.encode(batch, model._learner.log_shares(batch).exp())[0]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_a_loss_that_is_not_finite_names_its_term():
    def huge(n, rng):
        return np.full((n, 2), 1e38)

    with pytest.raises(NonFiniteLossError, match=r"in the term 'critic'\. "):
        small(prior=huge).fit(X, Y)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"label_strength": 0},
            "label_strength=0 must be a positive number. Write 1.0.",
        ),
        (
            {"label_strength": True},
            "label_strength=True must be a positive number. Write 1.0.",
        ),
        ({"strength": -1}, "strength=-1 must be a number, at least 0. Write 1.0."),
        (
            {"prior": "nomal"},
            "prior='nomal' is not known. Did you mean 'normal'? Known are: normal, mixture, "
            "uniform, ring.",
        ),
        (
            {"prior": RingSampler(-1.0)},
            "radius=-1.0 of RingSampler must be at least 0 and finite. Write 1.0.",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        small(**change).fit(X, Y)


@pytest.mark.filterwarnings("ignore:.*features are constant")
@parametrize_with_checks(
    [
        SemiSupervisedAAE(
            hidden_layer_sizes=(8,),
            label_strength=2.0,
            max_epochs=10,
            learning_rate=0.05,
            batch_size=64,
            training=Training(precision="float64"),  # single precision differs by rounding
        ),
    ],
    expected_failed_checks=lambda estimator: {
        "check_classifiers_classes": "-1 is a label there; here it says that there is none"
    },
)
def test_scikit_learn_contract(estimator, check):
    check(estimator)

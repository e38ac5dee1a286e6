"""The adversarial autoencoder: its three losses, what each moves, and codes that follow a prior."""

import copy
import math
import pickle
import re

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.base import clone

import narrows
from helpers import quick, table
from narrows import (
    AdversarialAutoencoder,
    Autoencoder,
    Dense,
    MixtureSampler,
    RingSampler,
    Training,
    UniformSampler,
    adversarial,
)
from narrows._errors import NonFiniteLossError
from narrows.data.batches import Batch
from narrows.engine.player import players_of
from narrows.estimators import _fitting
from narrows.estimators._guards import energy_coefficient
from narrows.nn.code import Layout
from narrows.parts import PARTS, resolve

PRIORS = [*PARTS["sampler"]]
DRAWS = np.random.default_rng(1).normal(size=(500, 2))
same_bits = np.testing.assert_array_equal


def given(n, rng):
    """Return the same draws each time."""
    return DRAWS[:n]


def elsewhere(n, rng):
    """Return draws far from where codes start."""
    return 5 + rng.normal(scale=0.1, size=(n, 2))


def shifted(n, rng):
    return rng.normal(loc=[1.0, -1.0], size=(n, 2))


# Of fits that are over before codes reach it
missed = pytest.mark.filterwarnings("ignore:Codes do not follow the prior")


def says(sentence, kind=ValueError):
    return pytest.raises(kind, match=f"^{re.escape(sentence)}$")


def fitted(X=None, **settings):
    return AdversarialAutoencoder(**quick(**settings)).fit(table() if X is None else X)


def surface(rng, n_rows):
    """Rows of two causes, on a curved surface."""
    u, v = rng.uniform(-1, 1, (2, n_rows))
    X = np.column_stack([u, v, u * v, u**2, np.sin(2 * v)])
    return X + 0.05 * rng.normal(size=X.shape)


# The losses


def logit(network, z, restart):
    """Compute the critic of one restart: SiLU between layers, none after the last."""
    *hidden, last = zip(network.weights, network.biases, strict=True)
    for weight, bias in hidden:
        z = z @ weight[restart].detach().numpy() + bias[restart].detach().numpy()
        z = z / (1 + np.exp(-z))
    weight, bias = last
    return (z @ weight[restart].detach().numpy() + bias[restart].detach().numpy())[:, 0]


@pytest.fixture
def contest():
    """A contest of two restarts in double precision, and rows with weights."""
    model = fitted(prior=given, n_init=2, precision="float64", circular=(1,))._ensemble.train()
    x = torch.randn(50, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weight = torch.rand(50, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    generators = [torch.Generator().manual_seed(r) for r in range(2)]
    sampler = model.blueprint.critic.sampler
    return adversarial.Contest(model, sampler, generators), x, weight


@pytest.mark.parametrize("weighted", [False, True])
def test_the_losses_of_critic_and_encoder(contest, weighted):
    contest, x, weight = contest
    w = weight.numpy() if weighted else np.ones(50)
    batch = Batch(x, x, weight if weighted else None)
    model = contest.model
    codes = model.encode(x).detach().numpy()
    angle = DRAWS[:50, 1].astype(np.float32)
    draws = np.column_stack([DRAWS[:50, 0].astype(np.float32), np.cos(angle), np.sin(angle)])
    (critic,), (encoder,) = contest.critic(batch), contest.encoder(batch)
    for restart in range(2):
        of_codes = 1 / (1 + np.exp(-logit(model.critic, codes[restart], restart)))
        of_draws = 1 / (1 + np.exp(-logit(model.critic, draws, restart)))
        expected = -(np.log(of_draws).mean() + (w * np.log(1 - of_codes)).mean()) / 2
        assert critic[restart].item() == pytest.approx(expected, rel=1e-6)
        assert encoder[restart].item() == pytest.approx(-(w * np.log(of_codes)).mean(), rel=1e-6)


def test_a_critic_that_cannot_tell_has_the_loss_ln_2(contest):
    contest, x, _ = contest
    for parameter in contest.model.critic.parameters():
        parameter.data.zero_()
    for (loss,) in (contest.critic(Batch(x, x)), contest.encoder(Batch(x, x))):
        torch.testing.assert_close(loss, torch.full_like(loss, math.log(2)))


def test_each_phase_moves_its_own_parameters_alone(contest):
    contest, x, _ = contest
    model = contest.model
    phases = adversarial.phases(model, model.blueprint.critic, 0.1, contest.generators)
    assert [name for phase in phases for name in phase.names] == [
        "reconstruction",
        "critic",
        "adversarial",
    ]
    moved = []
    for player in players_of(phases, 2, Training(optimizer="sgd"), 0.1):
        before = {name: tensor.clone() for name, tensor in model.named_parameters()}
        player.step(Batch(x, x), 1.0)
        changed = {n for n, tensor in model.named_parameters() if (tensor != before[n]).any()}
        moved.append({name.partition(".")[0] for name in changed})
    assert moved == [{"encoder", "decoder"}, {"critic"}, {"encoder"}]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_step_is_that_of_three_optimisers(contest, optimizer):
    """By torch's own, one for each phase, on the gradients of that phase's losses."""
    contest, x, _ = contest
    ours, batch = contest.model, Batch(x, x)
    theirs = copy.deepcopy(ours)
    critic = ours.blueprint.critic.set_params(strength=0.5, learning_rate=0.03)
    phases = adversarial.phases(ours, critic, 0.1, contest.generators)
    training = Training(optimizer=optimizer)
    for player in players_of(phases, 2, training, 0.1):
        player.step(batch, 1.0)
    rival = adversarial.Contest(theirs, critic.sampler, contest.generators)
    encoder, judge = [*theirs.encoder.parameters()], [*theirs.critic.parameters()]
    steps = [
        (theirs, [*encoder, *theirs.decoder.parameters()], 0.1),
        (rival.critic, judge, 0.03),
        (rival.encoder, encoder, 0.05),
    ]
    for loss, parameters, rate in steps:
        kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer]
        kwargs = {"eps": 1e-6} if optimizer == "adam" else {}
        own = kind(parameters, lr=rate, **kwargs)
        for parameter, slope in zip(
            parameters, torch.autograd.grad(sum(loss(batch)).sum(), parameters), strict=True
        ):
            parameter.grad = slope
        own.step()
    for one, two in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-12)


# Limits


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"n_init": 2, "patience": 1, "max_epochs": 30},
        {"ordering": "nested", "architecture": Dense((8,), dropout=0.2)},
        {"penalties": ["decorrelation"], "likelihood": "student_t", "validation_fraction": 0},
    ],
    ids=str,
)
def test_without_strength_it_is_the_plain_autoencoder(settings):
    X = table()
    plain = Autoencoder(**quick(**settings)).fit(X)
    other = AdversarialAutoencoder(strength=0, **quick(**settings)).fit(X)
    same_bits(other.transform(X), plain.transform(X))
    same_bits(other.reconstruct(X), plain.reconstruct(X))
    for name, values in plain.history_.items():
        own = other.history_[name]
        # Means over the steps, which more terms take in another order
        np.testing.assert_allclose(own[:, :-2] if name == "train_loss" else own, values, rtol=1e-6)


def test_passes_without_strength_are_those_of_the_plain_autoencoder():
    plain, other = Autoencoder(**quick()), AdversarialAutoencoder(strength=0, **quick())
    for X in np.split(table(), 4):
        plain.partial_fit(X)
        other.partial_fit(X)
    same_bits(other.transform(X), plain.transform(X))


@missed
@pytest.mark.parametrize("prior", [*PRIORS, shifted])
def test_a_restart_is_the_same_alone(prior, monkeypatch):
    """Side by side with another: same start, batches, draws and critic, to rounding."""
    X = table()
    settings = quick(prior=prior, precision="float64", architecture=Dense((8,), dropout=0.2))
    several = AdversarialAutoencoder(n_init=2, **settings).fit(X)
    split, order, *starts = _fitting.seeds(0, 4)
    for start, restart in zip(starts, several.restarts_, strict=True):
        children = [
            np.random.SeedSequence(0, spawn_key=seed.spawn_key) for seed in (split, order, start)
        ]
        monkeypatch.setattr(_fitting, "seeds", lambda state, n, children=children: children)
        single = AdversarialAutoencoder(**settings).fit(X)
        np.testing.assert_allclose(restart.critic_score(X), single.critic_score(X), rtol=1e-6)
        for name, values in restart.history_.items():
            np.testing.assert_allclose(values, single.history_[name], rtol=1e-6)


def test_the_last_weights_are_kept_and_patience_does_not_count():
    model = fitted(max_epochs=12, patience=1, learning_rate=0.1, n_init=2)
    assert model.n_iter_ == 12
    same_bits(model.history_["best_epoch"], [12, 12])
    same_bits(model.history_["best_loss"], model.history_["validation_loss"][-1])
    assert model._best == model.history_["best_loss"].argmin()


def test_a_restart_that_failed_is_not_chosen():
    def once(n, rng, calls=[]):  # noqa: B006
        calls.append(0)
        return np.full((n, 2), 1e38) if len(calls) == 8 else rng.normal(size=(n, 2))

    model = AdversarialAutoencoder(prior=once, **quick(n_init=3, max_epochs=6))
    with pytest.warns(UserWarning, match="stop learning; the others go on"):
        model.fit(table())
    best = model.history_["best_loss"]
    assert np.isinf(best).sum() == 1
    assert np.isfinite(best[model._best])
    assert model.history_["best_epoch"][model._best] == 6


def test_weights_that_the_last_step_broke_are_an_error():
    settings = quick(max_epochs=1, batch_size=1000)
    model = AdversarialAutoencoder(strength=1e30, training=settings.pop("training"), **settings)
    with pytest.raises(NonFiniteLossError, match=r"^The loss .* by the last step of epoch 1\. "):
        model.fit(table())


def test_a_pass_that_fails_changes_nothing():
    def flaky(n, rng, calls=[]):  # noqa: B006
        calls.append(0)
        if len(calls) == 12:
            raise RuntimeError("no more draws")
        return rng.normal(size=(n, 2))

    X = table()
    model = AdversarialAutoencoder(prior=flaky, **quick()).partial_fit(X)
    weights = [p.clone() for p in model._ensemble.parameters()]
    with pytest.raises(RuntimeError, match="no more draws"):
        model.partial_fit(X)
    assert model.n_iter_ == 1
    assert not model._ensemble.training
    for before, after in zip(weights, model._ensemble.parameters(), strict=True):
        same_bits(before.detach().numpy(), after.detach().numpy())


def test_settings_between_passes_leave_the_contest_as_it_was():
    X = table()
    model = AdversarialAutoencoder(**quick()).partial_fit(X)
    model.set_params(prior=MixtureSampler(3, radius=50), penalties=["l1"]).partial_fit(X)
    objective = model.history_["train_loss"][:, :1].sum(1)
    np.testing.assert_allclose(model.history_["validation_loss"], objective)


def test_layers_of_the_critic_are_copied():
    sizes = [8]
    model = AdversarialAutoencoder(critic_layer_sizes=sizes, **quick()).fit(table())
    score = model.critic_score(table())
    sizes[0] = 1
    same_bits(model.restarts_[0].critic_score(table()), score)


# Samplers


def drawn(prior, n, n_components, seed=1):
    generators = [torch.Generator().manual_seed(seed)]
    return resolve("sampler", prior).features(n, Layout(n_components), generators)[0].numpy()


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("n_components", [1, 2, 5])
def test_draws_have_their_shape_and_belong_to_a_seed(prior, n_components):
    if prior == "mixture" and n_components == 1:
        return
    found = drawn(prior, 7, n_components)
    assert found.shape == (7, n_components)
    same_bits(found, drawn(prior, 7, n_components))
    assert (found != drawn(prior, 7, n_components, seed=2)).all()


def follows(values, distribution):
    return stats.kstest(values, distribution.cdf).pvalue > 1e-3


def test_draws_have_their_distribution():
    n = 20_000
    normal, uniform = drawn("normal", n, 3), drawn(UniformSampler(-2, 5), n, 3)
    assert all(follows(column, stats.norm()) for column in normal.T)
    assert all(follows(column, stats.uniform(-2, 7)) for column in uniform.T)
    for found in (normal, uniform):
        np.testing.assert_allclose(np.corrcoef(found.T), np.eye(3), atol=0.03)


@pytest.mark.parametrize("prior", [*PRIORS, MixtureSampler(3, 1.0, 0.2)])
@pytest.mark.parametrize("n_components", [2, 3])
def test_numbers_make_codes_of_the_same_distribution(prior, n_components):
    sampler, generator = resolve("sampler", prior), torch.Generator().manual_seed(0)
    n_normal, n_uniform = sampler.sizes(n_components)
    normal = torch.randn(4000, n_normal, generator=generator)
    made = sampler.made(normal, torch.rand(4000, n_uniform, generator=generator))
    drawn = sampler(4000, n_components, generator)
    for one, other in zip(made.T, drawn.T, strict=True):
        assert stats.ks_2samp(one, other).pvalue > 1e-3
    same = narrows.metrics.mmd(made[:1000].numpy(), drawn[:1000].numpy(), random_state=0)
    assert same.p_value > 0.01


def test_rings_are_shells():
    n = 20_000
    for n_components in (2, 4):
        ring = drawn(RingSampler(3.0, 0.2), n, n_components)
        assert follows(np.linalg.norm(ring, axis=1), stats.norm(3, 0.2))
    ring = drawn("ring", n, 2)
    assert follows(np.arctan2(ring[:, 1], ring[:, 0]), stats.uniform(-np.pi, 2 * np.pi))


def test_mixtures_have_equal_members_around_a_circle():
    n = 20_000
    found = drawn(MixtureSampler(5, 10.0, 0.5), n, 3)
    assert follows(found[:, 2], stats.norm(0, 0.5))
    angle = 2 * np.pi * np.arange(5) / 5
    means = 10 * np.column_stack([np.cos(angle), np.sin(angle)])
    offset = found[:, None, :2] - means
    member = np.linalg.norm(offset, axis=2).argmin(1)
    assert stats.chisquare(np.bincount(member)).pvalue > 1e-3
    own = offset[np.arange(n), member]
    assert all(follows(own[member == j].ravel(), stats.norm(0, 0.5)) for j in range(5))


def test_circular_components_are_angles_to_a_sampler():
    model = fitted(prior=given, circular=(0,))
    draws = model._draws(20, np.random.SeedSequence(0))
    expected = [DRAWS[:20, 1], np.cos(DRAWS[:20, 0]), np.sin(DRAWS[:20, 0])]
    np.testing.assert_allclose(draws, np.column_stack(expected), rtol=1e-5, atol=1e-6)


# What comes of it


@pytest.mark.parametrize("prior", PRIORS)
def test_codes_follow_the_prior(prior):
    """By the test on the training rows, where codes of a plain autoencoder do not."""
    X = surface(np.random.default_rng(0), 600)
    settings = {"max_epochs": 60, "batch_size": 100, "hidden_layer_sizes": (64,)}
    model = AdversarialAutoencoder(prior=prior, learning_rate=5e-3, random_state=0, **settings)
    model.fit(X)
    assert model.prior_test(X).p_value > 0.01
    plain = clone(model).set_params(strength=0, max_epochs=5).fit(X)
    assert plain.prior_test(X).p_value < 0.01


def test_a_circle_of_codes_is_filled_evenly():
    rng = np.random.default_rng(0)
    angle = rng.vonmises(0, 1, 500)
    X = np.column_stack([np.cos(angle), np.sin(angle), np.cos(2 * angle)])
    settings = {"circular": [0], "max_epochs": 60, "batch_size": 50, "learning_rate": 5e-3}
    prior = UniformSampler(-np.pi, np.pi)
    model = AdversarialAutoencoder(1, prior=prior, random_state=0, **settings).fit(X)
    length = abs(np.exp(1j * model.transform(X)).mean())
    assert length < 0.1 < abs(np.exp(1j * angle).mean())
    assert model.score(X) > 0.95


def test_samples_are_decoded_draws_of_the_prior():
    X = table()
    model = fitted(X, prior=given)
    expected = model.inverse_transform(DRAWS[:30])
    np.testing.assert_allclose(model.sample(30, noise=False), expected, rtol=1e-5, atol=1e-6)
    other = fitted(X)
    same_bits(other.sample(9, random_state=1), other.sample(9, random_state=1))
    assert (other.sample(9, random_state=1) != other.sample(9, random_state=2)).any()
    of_prior = other.sample(9, random_state=1)
    assert (other.fit_density(X).sample(9, random_state=1) != of_prior).any()


def linear_critic(X):
    """A fit whose critic tells by the first component alone, at 0."""
    model = fitted(X, prior=given, critic_layer_sizes=())
    model._model.critic.weights[0].data.copy_(torch.tensor([[[2.0], [0.0]]]))
    model._model.critic.biases[0].data.zero_()
    return model


def test_what_the_critic_tells():
    X = table()
    model = linear_critic(X)
    first = model.transform(X)[:, 0]
    np.testing.assert_allclose(model.critic_score(X), 1 / (1 + np.exp(-2 * first)), rtol=1e-5)
    expected = ((first < 0).mean() + (DRAWS[:200, 0] > 0).mean()) / 2
    assert model.critic_accuracy(X) == pytest.approx(expected)


def test_the_test_of_the_prior_is_that_of_codes_and_draws():
    X = table()
    model = fitted(X, prior=given)
    found = model.prior_test(X, random_state=3)
    expected = narrows.metrics.mmd(model.transform(X), DRAWS[:200].astype(np.float32))
    assert found.value == pytest.approx(expected.value, rel=1e-6)
    assert model.prior_test(X, random_state=3) == found


def diagonal(n, rng):
    """Return draws that are normal in each component, and the same in all."""
    return np.repeat(DRAWS[:n, :1], 4, 1)


def test_a_critic_that_wins_is_warned_of():
    with pytest.warns(UserWarning, match="^The critic tells") as caught:
        model = fitted(prior=diagonal, n_components=4, strength=1e-3, max_epochs=20)
    rows = np.setdiff1d(np.arange(200), model._held)
    both = model.transform(table()[rows]), diagonal(len(rows), None).astype(np.float32)
    share = adversarial.accuracy(model._model, *(torch.from_numpy(z)[None] for z in both))
    assert str(caught[0].message) == (
        f"The critic tells {float(share):.0%} of codes and draws of the prior apart: codes do not "
        "follow it. Write a larger max_epochs or strength, a smaller critic_learning_rate, or "
        "fewer components."
    )
    fitted(prior=diagonal, n_components=4, strength=0, max_epochs=20)  # asked for nothing


@pytest.mark.parametrize(("shift", "width"), [(2.0, 1.0), (0.0, 1e4)])
def test_codes_that_miss_their_prior_are_warned_of(shift, width):
    X = table()

    def prior(n, rng):
        return DRAWS[:n] * [1, width] + [0, shift]

    with pytest.warns(UserWarning, match="^Codes do not follow the prior") as caught:
        model = fitted(X, prior=prior)
    rows = np.setdiff1d(np.arange(len(X)), model._held)
    both = model.transform(X[rows]), prior(len(rows), None).astype(np.float32)
    share = adversarial.accuracy(model._model, *(torch.from_numpy(z)[None] for z in both))
    a, b = (z[:, 1].astype(np.float64) for z in both)
    assert str(caught[0].message) == (
        f"Codes do not follow the prior: component 1 has mean {a.mean():.2g} and standard "
        f"deviation {a.std():.2g}, draws {b.mean():.2g} and {b.std():.2g}. Its critic tells "
        f"{float(share):.0%} of both apart. Write a larger max_epochs, strength or batch_size, "
        "another critic_learning_rate, or a prior about as wide as the codes."
    )
    fitted(X, prior=prior, strength=0)  # asked for nothing


def test_angles_that_miss_their_prior_are_warned_of():
    with pytest.warns(UserWarning, match="the angles of component 0 lie elsewhere"):
        fitted(prior=lambda n, rng: rng.normal(3, 0.1, (n, 1)), n_components=1, circular=(0,))


@pytest.mark.parametrize(
    ("apart", "wider", "expected"), [(0, 1, 0), (1, 1, 0.193), (0, 7, 0.2), (0, 1e4, 0.293)]
)
def test_the_size_of_a_miss(apart, wider, expected):
    a = stats.norm.ppf((np.arange(2000) + 0.5) / 2000)
    b = apart + wider * a
    found = energy_coefficient(a, b)
    assert found == pytest.approx(expected, abs=2e-3)
    assert energy_coefficient(b, a) == pytest.approx(found)
    assert energy_coefficient(3 + 2 * a, 3 + 2 * b) == pytest.approx(found)
    within, between = (np.abs(x[::9, None] - y[::9]).mean() for x, y in ((a, a), (a, b)))
    total = within + np.abs(b[::9, None] - b[::9]).mean()
    coarse = energy_coefficient(a[::9], b[::9])
    assert coarse == pytest.approx(1 - total / (2 * between), abs=1e-9)


def test_a_loss_that_is_not_finite_names_its_term():
    def huge(n, rng):
        return np.full((n, 2), 1e38)

    model = AdversarialAutoencoder(prior=huge, **quick())
    with pytest.raises(NonFiniteLossError, match=r"^The loss became .* in the term 'critic'\. "):
        model.fit(table())


# Passes and files


def test_passes_go_on_where_they_stopped(tmp_path):
    parts = np.split(table(), 4)
    model = AdversarialAutoencoder(**quick(n_init=2))
    for X in parts[:2]:
        model.partial_fit(X)
    model.save(tmp_path / "model.safetensors")
    twins = [narrows.load(tmp_path / "model.safetensors"), pickle.loads(pickle.dumps(model))]
    for each in (model, *twins):
        each.partial_fit(parts[2]).partial_fit(parts[3])
    assert model.history_["train_loss"].shape == (4, 3, 2)
    for twin in twins:
        same_bits(twin.transform(parts[0]), model.transform(parts[0]))
        same_bits(twin.critic_score(parts[0]), model.critic_score(parts[0]))


@missed
@pytest.mark.parametrize("prior", [*PRIORS, MixtureSampler(3, width=0.2)])
def test_a_file_holds_sampler_and_critic(prior, tmp_path):
    X = table()
    model = fitted(X, prior=prior, n_init=2, critic_learning_rate=1e-3, critic_layer_sizes=(8,))
    model.save(tmp_path / "model.safetensors")
    twin = narrows.load(tmp_path / "model.safetensors")
    assert repr(twin._model.blueprint.critic) == repr(model._model.blueprint.critic)
    same_bits(twin.sample(9, random_state=0), model.sample(9, random_state=0))
    same_bits(twin.critic_score(X), model.critic_score(X))
    assert twin.prior_test(X) == model.prior_test(X)


def test_a_file_holds_no_sampler_of_ones_own(tmp_path):
    X = table()
    model = fitted(X, prior=shifted)
    lost = (
        "No file holds Python code: prior=shifted is left out. Codes and scores do not need it; to "
        "draw or to train after load, write model.set_params(prior=shifted)."
    )
    with pytest.warns(UserWarning, match=f"^{re.escape(lost)}$"):
        model.save(tmp_path / "model.safetensors")
    twin = narrows.load(tmp_path / "model.safetensors")
    same_bits(twin.transform(X), model.transform(X))
    same_bits(twin.critic_score(X), model.critic_score(X))
    sentence = (
        "The sampler shifted was not kept in the file, which holds no code. "
        "Set it anew: model.set_params(prior=...)."
    )
    for call in (twin.sample, lambda: twin.prior_test(X), lambda: twin.partial_fit(X)):
        with says(sentence):
            call()
    twin.set_params(prior=shifted)
    same_bits(twin.sample(9, random_state=0), model.sample(9, random_state=0))
    same_bits(twin.partial_fit(X).transform(X), model.partial_fit(X).transform(X))


# Bad input

WRITE = "Write lambda n, rng: rng.normal(size=(n, 2)), say."
REFUSED = {
    "shape": (
        {"prior": lambda n, rng: rng.normal(size=(n, 3))},
        ValueError,
        "A sampler must return (n, 2) numbers for n codes, but gave shape (5, 3) for n=5. " + WRITE,
    ),
    "number of codes": (
        {"prior": lambda n, rng: DRAWS[:4]},
        ValueError,
        "A sampler must return (n, 2) numbers for n codes, but gave shape (4, 2) for n=5. " + WRITE,
    ),
    "not finite": (
        {"prior": lambda n, rng: np.full((n, 2), np.nan)},
        ValueError,
        "A sampler must return finite numbers, but gave nan. " + WRITE,
    ),
    "no array": (
        {"prior": lambda n, rng: "codes"},
        TypeError,
        "A sampler must return an array of numbers, but gave 'codes'. " + WRITE,
    ),
    "name": (
        {"prior": "nomal"},
        ValueError,
        "prior='nomal' is not known. Did you mean 'normal'? Known are: normal, mixture, uniform, "
        "ring.",
    ),
    "kind": (
        {"prior": 3},
        TypeError,
        "prior=3 is not a sampler. Write one of the names normal, mixture, uniform, ring, or an "
        "object such as RingSampler().",
    ),
    "one component": (
        {"prior": "mixture", "n_components": 1},
        ValueError,
        "MixtureSampler has its Gaussians around a circle, which needs two components, but "
        "n_components=1. Write n_components=2, or prior='normal'.",
    ),
    "members": (
        {"prior": MixtureSampler(0)},
        ValueError,
        "n_members=0 of MixtureSampler must be a whole number, at least 1. Write 10.",
    ),
    "radius": (
        {"prior": RingSampler(-1.0)},
        ValueError,
        "radius=-1.0 of RingSampler must be at least 0 and finite. Write 1.0.",
    ),
    "width": (
        {"prior": MixtureSampler(width=0)},
        ValueError,
        "width=0 of MixtureSampler must be positive and finite. Write 0.1.",
    ),
    "bounds": (
        {"prior": UniformSampler(1, -1)},
        ValueError,
        "low=1 of UniformSampler must be below high=-1, both finite. Write "
        "UniformSampler(-1.0, 1.0).",
    ),
    "strength": (
        {"strength": -0.5},
        ValueError,
        "strength=-0.5 must be a number, at least 0. Write 1.0.",
    ),
    "strength in words": (
        {"strength": "much"},
        ValueError,
        "strength='much' must be a number, at least 0. Write 1.0.",
    ),
    "learning rate": (
        {"critic_learning_rate": -1.0},
        ValueError,
        "critic_learning_rate=-1.0 must be a positive number, or None for that of the autoencoder. "
        "Write 5e-3.",
    ),
    "layers": (
        {"critic_layer_sizes": (16, 0)},
        ValueError,
        "critic_layer_sizes=(16, 0) must be whole numbers >= 1. Write (128, 128), or () for a "
        "linear model.",
    ),
    "distribution": (
        {"penalties": ["divergence"]},
        ValueError,
        "Divergence needs a code that is a distribution, but this one is a point for each row. "
        "Write code='gaussian', or VariationalAutoencoder(...).",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_settings(case):
    settings, kind, sentence = REFUSED[case]
    with says(sentence, kind):
        fitted(**settings)


def test_a_prior_that_takes_no_generator():
    def single(n):
        return np.zeros((n, 2))

    with says(f"The prior single does not take a number and a numpy Generator. {WRITE}", TypeError):
        fitted(prior=single)


def test_a_sampler_that_fails_later_says_so():
    calls = []

    def tired(n, rng):
        calls.append(n)
        return rng.normal(size=(n, 2 if len(calls) < 4 else 1))

    sentence = "A sampler must return (n, 2) numbers for n codes, but gave shape (32, 1) for n=32. "
    with says(sentence + WRITE):
        fitted(prior=tired)

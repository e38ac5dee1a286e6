"""Steps that are recorded and replayed give the bits of steps through autograd."""

import numpy as np
import pytest
import torch
from sklearn.base import clone

from helpers import quick, table
from narrows import (
    AdversarialAutoencoder,
    Autoencoder,
    DenoisingAutoencoder,
    Gaussian,
    Mixed,
    Revival,
    SemiSupervisedAAE,
    SemiSupervisedVAE,
    TopK,
    Training,
    VariationalAutoencoder,
)
from narrows.engine import repeated, workspace
from narrows.engine.calls import Found, Recorder
from narrows.engine.order import aligned
from narrows.engine.replay import record
from narrows.estimators import _rows
from narrows.parts import ESTIMATORS, load
from test_pairs import OWN, covering, describe, refused, rows_for

NEVER = 10**9


def trained(estimator, X, monkeypatch, often, **fit):
    """Return a fitted copy, and what was recorded: a replay for each shape, or None."""
    found = []

    def recording(*arguments):
        found.append(record(*arguments))
        return found[-1]

    monkeypatch.setattr(repeated, "OFTEN", often)
    monkeypatch.setattr(repeated, "record", recording)
    model = clone(estimator).fit(X, **fit)
    return model, [replay for _, replay in found]


def check(estimator, X, monkeypatch, **fit):
    """Fail unless steps are recorded, where they repeat, and that changes nothing."""
    eager, none = trained(estimator, X, monkeypatch, NEVER, **fit)
    model, replays = trained(estimator, X, monkeypatch, 2, **fit)
    assert not none
    for name, values in eager.history_.items():
        np.testing.assert_array_equal(model.history_[name], values, err_msg=name)
    for name, tensor in eager._ensemble.state_dict().items():
        assert torch.equal(model._ensemble.state_dict()[name], tensor), name
    assert bool(replays) == eager._ensemble.blueprint.repeats
    assert all(replays)
    check_codes(model, X, monkeypatch, **{name: fit[name] for name in fit if name == "condition"})


def check_codes(model, X, monkeypatch, **given):
    """Fail unless codes and reconstructions, a few rows at a time, are those without replays."""
    monkeypatch.setattr(_rows, "_SCALED", 0)
    for method in (model.transform, model.reconstruct):
        found = []
        for often in (NEVER, 2):
            monkeypatch.setattr(repeated, "OFTEN", often)
            found.append(method(X, **given))
        np.testing.assert_array_equal(*found)


def test_what_is_drawn_or_read_besides_the_rows_is_anew_in_each_piece(monkeypatch):
    X = table()
    model = VariationalAutoencoder(3, **quick()).fit(X)
    same = np.repeat(X[:1], len(X), 0)
    whole = model.prior_gap(X)
    monkeypatch.setattr(_rows, "_SCALED", 0)
    monkeypatch.setattr(repeated, "OFTEN", 2)
    drawn = model.predict_samples(same, noise=False, random_state=0).reshape(X.shape)
    assert len(np.unique(drawn, axis=0)) == len(X)
    np.testing.assert_allclose(model.prior_gap(X), whole, rtol=1e-5)


CHOICES = [choice for choice in covering() if not refused(choice) and choice["architecture"] != OWN]


@pytest.mark.parametrize("choice", CHOICES, ids=describe)
def test_all_pairs_of_parts_take_the_same_steps(choice, monkeypatch):
    X = rows_for(choice["likelihood"])
    if choice["missing"] == "ignore" and choice["likelihood"] in ("gaussian", "laplace"):
        X[np.random.default_rng(0).random(X.shape) < 0.05] = np.nan
    settings = quick(**choice, max_epochs=2, n_init=2)
    check(Autoencoder(3, **settings), X, monkeypatch)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_all_estimators_take_the_same_steps(name, monkeypatch):
    weight = np.random.default_rng(1).uniform(0.5, 2, 200)
    estimator = load(ESTIMATORS[name])(3, **quick(clip_norm=0.5, n_init=2, max_epochs=3))
    check(estimator, table(), monkeypatch, sample_weight=weight)


def test_draws_conditions_and_targets_are_read_anew(monkeypatch):
    X = table()
    condition = np.random.default_rng(0).normal(size=(len(X), 2))
    for estimator in (
        VariationalAutoencoder(3, n_draws=4, warm_up=0.3, **quick(max_epochs=8)),
        VariationalAutoencoder(3, prior="vamp", **quick(precision="float64")),
    ):
        check(estimator, X, monkeypatch, condition=condition, target=X[:, :4])


def test_silent_units_are_woken_in_steps_of_their_own(monkeypatch):
    settings = {"code": TopK(1), "penalties": [Revival(0.25, patience=300)], "n_init": 2}
    estimator = Autoencoder(8, **quick(max_epochs=12, **settings))
    check(estimator, table(), monkeypatch)
    model, replays = trained(estimator, table(), monkeypatch, 2)
    n_woken = (model.history_["train_loss"][:, 1] > 0).any(1).sum()
    assert 0 < n_woken < 12
    assert len(replays) > 2  # whole batches, the remainder of an epoch, and both again


@pytest.mark.parametrize("kind", [SemiSupervisedVAE, SemiSupervisedAAE])
@pytest.mark.parametrize("known", [0.2, 1.0], ids=["few labels", "all labels"])
def test_classifiers_take_the_same_steps(kind, known, monkeypatch):
    X = table()
    y = np.where(np.arange(len(X)) < known * len(X), (X[:, 0] > 0).astype(int), -1)
    estimator = kind(2, **quick(n_init=2))
    eager, none = trained(estimator, X, monkeypatch, NEVER, y=y)
    model, replays = trained(estimator, X, monkeypatch, 2, y=y)
    assert not none
    assert replays
    assert all(replays)
    for name, tensor in eager._learner.state_dict().items():
        assert torch.equal(model._learner.state_dict()[name], tensor), name


class Own(Gaussian):
    """A part of one's own, which may do anything."""


def cross(n, rng):
    return rng.normal(size=(n, 2))


def bent(x):
    return torch.where(x > 0, x, 0.1 * x)


def noisy(x, generator):
    return x + 0.1 * torch.randn(x.shape, generator=generator)


@pytest.mark.parametrize(
    "estimator",
    [
        Autoencoder(2, likelihood=Own(), **quick()),
        Autoencoder(2, likelihood=Mixed([(Own(), [0])]), **quick()),
        Autoencoder(2, activation=bent, **quick()),
        DenoisingAutoencoder(2, corruption=noisy, **quick()),
        AdversarialAutoencoder(2, prior=cross, **quick()),
    ],
    ids=["part", "part within", "activation", "corruption", "prior"],
)
def test_what_may_change_from_step_to_step_is_not_recorded(estimator, monkeypatch):
    assert not trained(estimator, table(), monkeypatch, 2)[1]


def test_a_replay_reads_and_writes_what_stays_in_place():
    scale, count, place = torch.ones(2), torch.zeros(()), torch.empty(2)
    generator = torch.Generator().manual_seed(0)

    def function(x):
        count.add_(1)
        noise = torch.rand(2, generator=generator)
        return Found([x * scale + noise], [x.sum() * scale])

    x = torch.tensor([1.0, 2.0])
    first, replay = record(lambda: function(x), [x], [place])
    scale.mul_(3)
    (second,) = replay(10 * x)
    drawn = torch.rand(2, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(first.returned[0], x + drawn[0])
    assert torch.equal(second, 30 * x + drawn[1])
    assert torch.equal(place, torch.full((2,), 90.0))
    assert count == 2


def test_gradients_of_second_order_and_several_uses_are_written_once_each():
    weight = torch.randn(1, 3, 4, requires_grad=True)
    x = torch.randn(1, 5, 3)
    places = [torch.empty(1, 3, 4), torch.empty(1, 3, 4)]

    def function(x):
        loss = torch.bmm(x, weight).tanh().square().sum()
        (slope,) = torch.autograd.grad(loss, weight, create_graph=True)
        (bend,) = torch.autograd.grad(slope.square().sum(), weight)
        return Found([loss.detach()], [slope.detach(), bend])

    _, replay = record(lambda: function(x), [x], places)
    with torch.no_grad():
        weight.mul_(0.5)
    other = torch.randn(1, 5, 3)
    replay(other)
    for place, wanted in zip(places, function(other).written, strict=True):
        assert torch.equal(place, wanted)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_parts_of_a_gradient_are_added_in_one_order(precision):
    """The part through the slope is a product transposed; added as it comes, it takes ten times."""
    x, weight = torch.randn(2, 7, 30), torch.randn(2, 30, 20, requires_grad=True)
    places = [torch.empty(2, 30, 20)]

    def function(x):
        x = x.detach().requires_grad_()
        with torch.autocast("cpu", precision, enabled=precision is not torch.float32):
            y = torch.bmm(x, weight).tanh()
        (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        loss = slope.square().sum() + y.square().sum()
        return Found([], torch.autograd.grad(loss, [weight]))

    with Recorder() as recorder:
        found = function(x)
    assert len(of_two_orders(recorder.calls)) == 1
    assert not of_two_orders(aligned(recorder.calls, found)[0])
    _, replay = record(lambda: function(x), [x], places)
    for factor in (0.5, -1):
        replay(factor * x)
        assert torch.equal(places[0], *function(factor * x).written)


def of_two_orders(calls):
    """Sums of tensors of one shape that lie in two orders."""
    sums = [call.read for call in calls if call.name == "aten::add" and len(call.read) == 2]
    return [(a, b) for a, b in sums if a.shape == b.shape and a.stride() != b.stride()]


def test_transposes_that_others_read_stay():
    x, place = torch.randn(1, 4, 5), torch.empty(1, 5, 5)

    def function(x):
        turned = torch.bmm(x, x.mT).mT
        read = torch.bmm(x.mT, x).mT
        return Found([turned + turned, read.reshape(25)], [read + x.mT @ x])

    found, replay = record(lambda: function(x), [x], [place])
    assert found.returned[0].stride() == replay(x)[0].stride()
    wanted = function(2 * x)
    for one, two in zip(replay(2 * x), wanted.returned, strict=True):
        assert torch.equal(one, two)
    assert torch.equal(place, *wanted.written)


def test_transposes_of_other_axes_stay():
    x, y = torch.randn(3, 5, 4).mT, torch.randn(3, 5, 1)
    place = torch.empty(1, 4, 3)

    def function(x):
        return Found([], [torch.bmm(x, y).transpose(0, 2) + 1])

    _, replay = record(lambda: function(x), [x], [place])
    replay(2 * x)
    assert torch.equal(place, *function(2 * x).written)


def test_replays_share_the_places_of_results():
    shared, x = workspace.Workspace(), torch.rand(200, 200)

    def function(x):
        y = (x @ x).tanh()
        turned = y.mT
        return Found([turned.exp().sum(), (turned * x).cos()], [])

    replays = [record(lambda: function(x), [x], workspace=shared)[1] for _ in range(2)]
    blocks = {block.data_ptr() for block in shared._free}
    assert len(blocks) == 2
    for replay, own in zip(replays, (x, -2 * x), strict=True):
        places = {tensor.data_ptr() for move in replay.moves for tensor in move[2].values()}
        assert blocks == places & blocks
        first = replay(x)
        kept = [tensor.clone() for tensor in first]
        for found, wanted in zip(replay(own), function(own).returned, strict=True):
            assert torch.equal(found, wanted)
        assert all(map(torch.equal, first, kept))


def test_what_is_returned_and_written_is_not_written_over():
    x, place = torch.ones(2), torch.empty(2)

    def function(x):
        product = 2 * x
        return Found([product], [product])

    _, replay = record(lambda: function(x), [x], [place])
    (first,) = replay(x)
    replay(3 * x)
    assert torch.equal(first, 2 * x)
    assert torch.equal(place, 6 * x)


def test_one_gradient_of_two_parameters_is_written_to_both():
    a, b = (torch.zeros(2, requires_grad=True) for _ in range(2))
    x, places = torch.tensor([1.0, 2.0]), [torch.empty(2), torch.empty(2)]

    def function(x):
        return Found([], torch.autograd.grad(((a + b) * x).sum(), [a, b]))

    _, replay = record(lambda: function(x), [x], places)
    replay(3 * x)
    assert all(torch.equal(place, 3 * x) for place in places)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * x.sum().item(),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: torch.searchsorted(x.sort().values, x, sorter=x.argsort()),
        lambda x: torch.tensor([0.0, 1.0]).add_(x.sum()),
    ],
    ids=["item", "mask", "nonzero", "named", "literal"],
)
def test_what_depends_on_values_has_no_replay(function):
    x = torch.tensor([1.0, -1.0])
    found, replay = record(lambda: Found([function(x)], []), [x])
    assert replay is None
    assert torch.equal(found.returned[0], function(x))


def names_of(replay):
    """What a replay calls, in order."""
    return [getattr(move[0], "__name__", str(move[0])).partition(".")[0] for move in replay.moves]


def test_the_replay_holds_no_results_but_in_the_workspace():
    x, shared = torch.ones(3), workspace.Workspace()
    _, replay = record(lambda: Found([x.exp().log().exp()], []), [x], workspace=shared)
    replay(x)
    held = {own.data_ptr() for own in replay.filled if isinstance(own, torch.Tensor)}
    assert held
    assert held == {block.data_ptr() for block in shared._free}


def test_views_of_results_and_constants_are_made_once():
    x = torch.rand(4, 6)

    def function(x):
        slope = torch.ones_like(x).expand(2, 4, 6) / 3
        y = x.exp().view(1, 4, 6).transpose(1, 2).expand(2, 6, 4)
        return Found([torch.bmm(y, slope + torch.arange(6.0))], [])

    _, replay = record(lambda: function(x), [x])
    assert names_of(replay) == ["exp", "bmm"]
    for factor in (-2, 3):
        (found,) = replay(factor * x)
        assert torch.equal(found, *function(factor * x).returned)


def test_what_is_written_anew_is_no_constant():
    x = torch.rand(3)

    def function(x):
        count = torch.zeros(3)
        ones = torch.ones_like(x)
        count[:1].add_(ones[:1])
        return Found([count * x + ones], [])

    _, replay = record(lambda: function(x), [x])
    for _ in range(2):
        (found,) = replay(2 * x)
        assert torch.equal(found, *function(2 * x).returned)


def test_mixed_precision_reaches_the_same_held_out_loss():
    X = table(n_rows=1000)
    loss = {
        precision: Autoencoder(3, **quick(precision=precision, max_epochs=30)).fit(X)
        for precision in ("float32", "bfloat16")
    }
    one, two = (model.history_["best_loss"][0] for model in loss.values())
    assert loss["bfloat16"].transform(X).dtype == np.float32
    assert one != two
    assert two == pytest.approx(one, rel=0.05)


def test_unknown_precision():
    with pytest.raises(ValueError, match="Known are: auto, float32, bfloat16, float64"):
        Autoencoder(training=Training(precision="half")).fit(table())

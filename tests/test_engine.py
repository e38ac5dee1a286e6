"""The training loop: what it keeps, when it stops, what it says."""

import copy
import re

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

import narrows
from helpers import OF_POINTS, estimators, quick, short_name, suited, table
from narrows import Autoencoder, Dense, HierarchicalAutoencoder, Training
from narrows._errors import NonFiniteLossError
from narrows.data import batches
from narrows.data.batches import Batch, Batches
from narrows.engine.adam import Adam
from narrows.engine.callbacks import TimeLimit
from narrows.engine.player import Phase, players_of
from narrows.engine.training import OPTIMIZERS
from narrows.estimators import _rows
from narrows.nn.dense import DenseNetwork
from narrows.parts import PARTS

each_estimator = pytest.mark.parametrize("estimator", [*estimators(**quick())], ids=short_name)


def fit(**settings):
    return HierarchicalAutoencoder(**quick(**settings)).fit(table())


# What is kept


@each_estimator
def test_best_weights_are_restored(estimator):
    X, held = np.split(table(n_rows=400), [300])
    estimator = clone(estimator).set_params(n_init=2, max_epochs=12, learning_rate=0.1)
    estimator.fit(X, validation=held)
    history = estimator.history_
    losses = history["validation_loss"]
    assert len(losses) == estimator.n_iter_ + 1
    for restart, epoch in enumerate(history["best_epoch"]):
        own = losses[:, restart]
        expected = own[-1] if estimator._model.keeps_last else own.min()
        assert own[epoch] == expected == history["best_loss"][restart]
        if estimator._choose_parts().disturbance is not None:
            continue  # judged by corrupted rows
        # The loss per value of the restored weights is the one that was best.
        terms = estimator.restarts_[restart].loss_terms(held)
        assert sum(terms.values()) / 6 == pytest.approx(losses[epoch, restart], rel=1e-5)
    best = history["best_loss"].argmin()
    np.testing.assert_array_equal(estimator.fve_, estimator.restarts_[best].fve_)
    np.testing.assert_allclose(estimator.fve_, estimator.fve(held), rtol=1e-5)


def test_history_has_a_loss_per_epoch_term_and_restart():
    penalties = {"penalties": OF_POINTS, **suited(OF_POINTS)}
    model = Autoencoder(**quick(**penalties, n_init=3)).fit(table())
    shapes = {name: np.shape(values) for name, values in model.history_.items()}
    assert shapes == {
        "train_loss": (5, 1 + len(OF_POINTS), 3),
        "validation_loss": (6, 3),
        "learning_rate": (5,),
        "best_epoch": (3,),
        "best_loss": (3,),
    }
    assert model.fve_restarts_.shape == (3, 1)
    np.testing.assert_allclose(model.explained_variance_ratio_.cumsum(), model.fve_)


def test_without_validation_the_last_epoch_is_kept():
    model = fit(validation_fraction=0, learning_rate=0.1, n_init=2, patience=1)
    assert model.n_iter_ == 5
    np.testing.assert_array_equal(model.history_["best_epoch"], [5, 5])


def test_only_the_best_restart_is_kept_on_request():
    every, best = fit(n_init=3), fit(n_init=3, keep_restarts=False)
    assert [len(every.restarts_), len(best.restarts_)] == [3, 1]
    np.testing.assert_array_equal(best.transform(table()), every.transform(table()))
    np.testing.assert_array_equal(best.fve_, every.fve_)


# Which rows choose


@pytest.fixture
def held_rows(monkeypatch):
    """Row numbers that fits hold out."""
    rows, split = [], _rows.split_rows

    def record(*args, **kwargs):
        train, held = split(*args, **kwargs)
        assert sorted([*train, *held]) == list(range(len(train) + len(held)))
        rows.append(held)
        return train, held

    monkeypatch.setattr(_rows, "split_rows", record)
    return rows


@pytest.mark.parametrize("split", ["random", "blocks", "groups"])
def test_validation_rows(split, held_rows):
    groups = np.arange(200) // 20
    model = Autoencoder(**quick(split=split, validation_fraction=0.2))
    model.fit(table(), groups=groups if split == "groups" else None)
    (held,) = held_rows
    assert len(held) == 40
    neighbours = np.mean(np.diff(held) == 1)
    assert neighbours > 0.8 if split != "random" else neighbours < 0.4
    if split == "groups":
        assert np.unique(groups[held]).size == 2


def test_given_validation_rows_leave_all_others_to_training(held_rows):
    X, target = table(), table()[:, :2]
    model = Autoencoder(**quick()).fit(X, target=target, validation=(X[:30], target[:30]))
    assert not held_rows
    np.testing.assert_allclose(model.fve_, model.fve(X[:30], target=target[:30]), rtol=1e-5)


# Steps


@pytest.mark.parametrize("kind", ["cosine", "linear", "constant"])
def test_learning_rate_falls_step_by_step(kind):
    model = fit(lr_schedule=kind, validation_fraction=0, batch_size=50, max_epochs=10)
    progress = (4 * np.arange(1, 11) - 1) / 40  # of the last of four steps an epoch
    shape = {"cosine": (1 + np.cos(np.pi * progress)) / 2, "linear": 1 - progress}
    expected = 0.02 * np.maximum(shape.get(kind, np.ones(10)), 0.01)
    np.testing.assert_allclose(model.history_["learning_rate"], expected, rtol=1e-9)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_learns(optimizer):
    rate = {"sgd": 0.5, "rmsprop": 0.005}.get(optimizer, 0.02)
    model = fit(optimizer=optimizer, learning_rate=rate, architecture=Dense((16,), init="random"))
    losses = model.history_["validation_loss"][:, 0]
    assert losses[-1] < 0.9 * losses[0]
    assert (model.fve_ > 0).all()


def test_decay_and_clipping_act_on_each_restart_alone():
    module = nn.Module()
    start = torch.tensor([[0.0, 0.0], [0.0, 0.0], [2.0, 0.0]])
    module.weight = nn.Parameter(start.clone())
    training = Training(optimizer="sgd", clip_norm=1.0, weight_decay=0.25)
    (player,) = players_of([Phase(list, [module.weight], ())], 3, training, 0.1)
    slopes = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    player.step([(module.weight * slopes).sum(1)], rate=0.5)
    # Steps of 0.05 down slopes of norm 5, 0.5 and 0, the first bounded to 1; decay by a quarter.
    moved = torch.tensor([[-0.6, -0.8], [-0.3, -0.4], [-0.25 * 2, 0.0]]) * 0.05
    torch.testing.assert_close(module.weight.data, start + moved)


@pytest.mark.parametrize("n_rows", [2, 3, 10, 33, 65])
def test_any_number_of_rows_is_trained_on(n_rows):
    """Fewer than a batch; batches with a remainder of one row."""
    X = table(n_rows=n_rows)
    others = [name for name in PARTS["penalty"] if name not in OF_POINTS]
    for names in (OF_POINTS, others):
        penalties = {"penalties": names, **suited(names)}
        settings = quick(**penalties, n_components=1, validation_fraction=0)
        model = Autoencoder(**settings).fit(X)
        assert np.isfinite(model.history_["train_loss"]).all()
    assert np.isfinite(Autoencoder(**quick()).fit(X).transform(X)).all()


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_outputs_have_the_precision_asked_for(precision):
    model, X = fit(precision=precision), table()
    codes = model.transform(X)
    for output in (codes, model.inverse_transform(codes), model.reconstruct(X)):
        assert output.dtype == precision


# When it stops


def test_patience():
    model = fit(patience=2, max_epochs=50, learning_rate=0.5)
    assert model.n_iter_ == model.history_["best_epoch"][0] + 2 < 50
    assert fit(patience=None, max_epochs=20, learning_rate=0.5).n_iter_ == 20


def test_callbacks_watch_and_stop():
    seen, losses = [], []
    X = table()
    batch = Batch(*[torch.as_tensor((X - X.mean(0)) / X.std(0), dtype=torch.float32)] * 2)

    def watch(epoch):
        seen.append(epoch)
        losses.append(epoch.model.losses(batch).mean((1, 2)).tolist())
        return "stop" if epoch.number == 3 else None

    model = fit(callbacks=[watch], n_init=2, validation_fraction=0.0)
    assert model.n_iter_ == 3
    # The model that is watched is the one in training: its last losses are those of the fit.
    for restart, loss in zip(model.restarts_, losses[-1], strict=True):
        assert sum(restart.loss_terms(X).values()) == pytest.approx(loss, rel=1e-5)
    assert [(epoch.number, epoch.n_epochs) for epoch in seen] == [(1, 5), (2, 5), (3, 5)]
    history = model.history_
    for k, epoch in enumerate(seen):
        np.testing.assert_allclose(epoch.train_loss, history["train_loss"][k].sum(0))
        np.testing.assert_allclose(epoch.validation_loss, history["validation_loss"][k + 1])
        assert epoch.learning_rate == history["learning_rate"][k]
    assert fit(callbacks=[TimeLimit(0)]).n_iter_ == 1


def test_interrupt_keeps_the_best_weights_so_far():
    def stop(epoch):
        return "stop" if epoch.number == 3 else None

    def interrupt(epoch):
        if epoch.number == 3:
            raise KeyboardInterrupt

    sentence = r"^Training was interrupted after 3 epochs; the best weights so far are kept\.$"
    with pytest.warns(UserWarning, match=sentence):
        interrupted = fit(callbacks=[interrupt])
    expected = fit(callbacks=[stop]).transform(table())
    np.testing.assert_array_equal(interrupted.transform(table()), expected)


def test_one_epoch_is_one():
    def interrupt(epoch):
        raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="^Training was interrupted after 1 epoch; the best"):
        fit(callbacks=[interrupt])


@pytest.mark.parametrize(
    ("answer", "said"),
    [("halt", "'halt'"), (True, "True"), (torch.ones(2), "an object of type Tensor")],
)
def test_a_callback_that_answers_otherwise_is_warned_of(answer, said):
    answers = {1: None, 2: answer, 3: "stop"}
    text = f"A callback returned {said}, and training goes on. Return 'stop' to end it, else None."
    with pytest.warns(UserWarning, match=f"^{re.escape(text)}$"):
        assert fit(callbacks=[lambda epoch: answers[epoch.number]]).n_iter_ == 3


def test_lost_run_says_where_and_keeps_the_weights_before():
    model = Autoencoder(**quick(learning_rate=1e30, n_init=2))
    with pytest.raises(NonFiniteLossError) as caught:
        model.fit(table())
    assert str(caught.value) == (
        "The loss became nan in epoch 1, step 2, in the term 'reconstruction'. The best weights "
        "before it are kept. The likely cause is too large a step: write a smaller learning_rate, "
        "or training=Training(clip_norm=1.0)."
    )
    start = Autoencoder(**quick(learning_rate=1e-12)).fit(table())
    np.testing.assert_allclose(model.transform(table()), start.transform(table()), atol=1e-4)


def test_lost_restart_leaves_the_others_alone(monkeypatch):
    settings = {"architecture": Dense((8,), init="random"), "n_init": 3}
    expected = fit(**settings)
    draw = DenseNetwork.reset

    def spoil(network, generators):
        draw(network, generators)
        network.weights[0].data.chunk(3)[1].mul_(1e12)

    monkeypatch.setattr(DenseNetwork, "reset", spoil)
    sentence = (
        "The loss became inf in epoch 1, step 1, in the term 'reconstruction'. "
        "Restarts [1] stop learning; the others go on."
    )
    with pytest.warns(UserWarning, match=f"^{re.escape(sentence)}$"):
        model = fit(**settings)
    np.testing.assert_allclose(
        model.fve_restarts_[[0, 2]], expected.fve_restarts_[[0, 2]], rtol=1e-5
    )
    assert model._best != 1


def test_a_lost_pass_is_undone(tmp_path):
    X = table()
    model = Autoencoder(**quick()).partial_fit(X)
    codes, losses = model.transform(X), model.history_["train_loss"]
    with pytest.raises(NonFiniteLossError, match=r"^The loss became (nan|inf) in epoch 1"):
        model.set_params(learning_rate=1e30).partial_fit(X)
    assert np.array_equal(model.transform(X), codes)
    assert np.array_equal(model.history_["train_loss"], losses)
    model.save(tmp_path / "model.safetensors")
    again = narrows.load(tmp_path / "model.safetensors")
    assert again.set_params(learning_rate=0.02).partial_fit(X).n_iter_ == 2


class Severed(narrows.Gaussian):
    """A loss that no weight moves."""

    def loss(self, target, output, log_width):
        return super().loss(target, output.detach(), log_width)


def test_a_loss_without_a_gradient_is_refused():
    message = (
        "No weight has a gradient from reconstruction. Compute what the network gives by "
        "operations of torch that autograd follows, without detach()."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Autoencoder(2, likelihood=Severed(), **quick()).fit(table())


def test_batches_are_the_same_however_many_are_gathered(monkeypatch):
    x = torch.arange(606.0).reshape(101, 6)
    rows = Batch(x, x, torch.arange(101.0), x > 300)
    found = []
    for values in (1, 50, 1000, 10**6):
        monkeypatch.setattr(batches, "_GATHERED_VALUES", values)
        shuffled = Batches(rows, 8).shuffled(torch.Generator().manual_seed(0))
        found.append([copy.deepcopy(batch) for batch in shuffled])
    order = torch.randperm(101, generator=torch.Generator().manual_seed(0))
    for shuffled in found:
        assert [len(batch) for batch in shuffled] == [*([8] * 12), 5]
        assert all(batch.target is batch.x for batch in shuffled)
        for name in ("x", "weight", "observed"):
            together = torch.cat([getattr(batch, name) for batch in shuffled])
            assert torch.equal(together, getattr(rows, name)[order])


def test_adam_takes_the_steps_of_torch():
    rng = torch.Generator().manual_seed(0)
    ours, theirs = (torch.linspace(-1, 1, 50) for _ in range(2))
    adam = Adam([ours], lr=0.01, weight_decay=0.1, fused=True)
    reference = torch.optim.Adam([theirs], lr=0.01, weight_decay=0.1, fused=True, eps=1e-6)
    for _ in range(20):
        ours.grad = theirs.grad = torch.randn(50, generator=rng)
        adam.step()
        reference.step()
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_what_a_silent_weight_leaves_behind_is_no_burden(optimizer):
    """Its moments vanish, instead of staying among the numbers that take long to compute with."""
    module = nn.Module()
    module.weight = nn.Parameter(torch.ones(2, 1))
    training = Training(optimizer=optimizer)
    (player,) = players_of([Phase(list, [module.weight], ())], 2, training, 0.01)
    for number in range(2000):
        slopes = torch.tensor([1.0, float(number < 10)])
        player.step([module.weight[:, 0] * slopes], rate=1.0)
    moments = player.optimizer.state_dict()["state"].get(0, {})
    for moment in (own for own in moments.values() if own.shape == (2,)):
        assert moment[0] != 0
        assert moment[1] == 0 or moment[1] > 1e-37
    assert optimizer == "sgd" or "step" in moments


def test_a_term_without_gradient_is_a_constant():
    module = nn.Linear(2, 1)
    before = module.weight.detach().clone()
    training = Training(optimizer="sgd")
    (player,) = players_of([Phase(list, list(module.parameters()), ())], 1, training, 0.1)
    player.step([module.weight.sum(1), torch.ones(1)], rate=1.0)
    torch.testing.assert_close(module.weight.data, before - 0.1)


def test_progress_bar(capsys):
    fit(verbose=1)
    shown = capsys.readouterr().out
    assert "epoch 5/5" in shown
    assert "validation" in shown
    fit()
    assert not capsys.readouterr().out


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_absent_device_is_refused():
    sentence = r"^device='cuda' is not known, or not there. Write 'auto' or 'cpu'.$"
    with pytest.raises(ValueError, match=sentence):
        fit(device="cuda")


# In parts


@each_estimator
def test_passes_over_chunks_come_near_to_a_fit(estimator):
    X = table(n_rows=300)
    whole = clone(estimator).set_params(max_epochs=20, learning_rate=0.01).fit(X).fve(X)
    parts = clone(estimator).set_params(max_epochs=120, learning_rate=0.01)
    for chunk in 12 * np.array_split(X, 10):
        parts.partial_fit(chunk)
    assert (parts.fve(X) > whole - 0.05).all()


def test_first_part_fixes_the_scaling():
    X = table()
    model = Autoencoder(**quick()).partial_fit(X[:100])
    centre = model._input_scale.centre.copy()
    np.testing.assert_allclose(centre, X[:100].mean(0))
    model.partial_fit(5 + 3 * X[100:])
    np.testing.assert_array_equal(model._input_scale.centre, centre)


def test_a_fit_forgets_the_parts_before():
    X = table()
    fresh, used = Autoencoder(**quick()), Autoencoder(**quick()).partial_fit(X + 100)
    codes = [model.fit(X).partial_fit(X).transform(X) for model in (fresh, used)]
    np.testing.assert_array_equal(*codes)


def test_parts_go_on_from_a_fit():
    X = table()
    model = Autoencoder(**quick(max_epochs=20)).fit(X)
    assert model.score(X) - 0.1 < model.partial_fit(X).score(X)

"""Fits that are killed and go on: the same bits, and nothing lost."""

import os
import re
import signal
import subprocess
import sys
import warnings
from functools import partial

import numpy as np
import pytest
from sklearn.base import clone
from torch import nn

from helpers import estimators, quick, short_name, table
from narrows import (
    Autoencoder,
    Checkpoint,
    DenoisingAutoencoder,
    ModuleRegressor,
    SemiSupervisedAAE,
    SemiSupervisedVAE,
    StackedAutoencoder,
    StackedClassifier,
    Training,
    VariationalAutoencoder,
    load,
)
from narrows._errors import CheckpointError
from narrows.engine import loop, saver
from narrows.engine.checkpoint import described
from narrows.engine.player import Player

each_estimator = pytest.mark.parametrize("estimator", [*estimators(**quick())], ids=short_name)


@pytest.fixture(autouse=True)
def _as_in_a_new_process(monkeypatch):
    monkeypatch.setattr(saver, "_WARNED", set())


class Killed(BaseException):
    """Stands for a kill that no code can handle."""


def dies(monkeypatch, owner, name, after):
    """Let a function raise at its call of that number."""
    calls, own = [], getattr(owner, name)

    def counted(*args, **kwargs):
        calls.append(name)
        if len(calls) == after:
            raise Killed
        return own(*args, **kwargs)

    monkeypatch.setattr(owner, name, counted)


def settings(folder, **more):
    checkpoint = None if folder is None else Checkpoint(folder, **{"minutes": 1e-9, **more})
    return Training(checkpoint=checkpoint, validation_fraction=0.2)


def bits(model, X):
    history = [np.asarray(values) for values in model.history_.values()]
    return [model.transform(X), model.reconstruct(X), *history]


@each_estimator
def test_a_fit_goes_on_to_the_same_bits(estimator, tmp_path, monkeypatch):
    X = table(n_rows=200)
    estimator = clone(estimator).set_params(n_init=2, max_epochs=3, random_state=0)
    whole = clone(estimator).set_params(training=settings(None)).fit(X)
    estimator.set_params(training=settings(tmp_path))
    for after in (2, 5):
        with monkeypatch.context() as patched:
            dies(patched, Player, "step", after)
            with pytest.raises(Killed):
                clone(estimator).fit(X)
    resumed = clone(estimator).fit(X)
    for one, other in zip(bits(whole, X), bits(resumed, X), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_fit_goes_on_after_the_last_step_of_an_epoch(tmp_path, monkeypatch):
    X = table()
    estimator = Autoencoder(2, max_epochs=3, random_state=0)
    whole = clone(estimator).set_params(training=settings(None)).fit(X)
    estimator.set_params(training=settings(tmp_path))
    with monkeypatch.context() as patched:
        dies(patched, loop, "mean_loss", 3)
        with pytest.raises(Killed):
            clone(estimator).fit(X)
    for one, other in zip(bits(whole, X), bits(clone(estimator).fit(X), X), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "model",
    [
        SemiSupervisedVAE(hidden_layer_sizes=(8,), n_init=2),
        SemiSupervisedVAE(1, features=VariationalAutoencoder(3, max_epochs=2)),
        SemiSupervisedAAE(hidden_layer_sizes=(8,)),
        StackedClassifier((8, 4), layer_epochs=2),
        ModuleRegressor(nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, 1))),
    ],
    ids=["m2", "m1+m2", "adversarial", "stacked", "module"],
)
def test_a_supervised_fit_goes_on_to_the_same_bits(model, tmp_path, monkeypatch):
    X = table(n_rows=200)
    y = np.where(np.arange(200) < 100, X[:, 0] > 0, -1) if hasattr(model, "alpha") else X[:, 0] > 0
    model = clone(model).set_params(max_epochs=3, random_state=0, batch_size=50)
    y = y.astype(float) if isinstance(model, ModuleRegressor) else y.astype(int)
    found = "predict" if isinstance(model, ModuleRegressor) else "predict_proba"
    whole = clone(model).fit(X, y)
    model.set_params(training=Training(checkpoint=Checkpoint(tmp_path, minutes=1e-9)))
    twice = getattr(model, "features", None) is not None  # the third kill is in the second model
    for after in (3, 6, 7)[: 2 + twice]:
        with monkeypatch.context() as patched:
            dies(patched, Player, "step", after)
            with pytest.raises(Killed):
                clone(model).fit(X, y)
    resumed = clone(model).fit(X, y)
    np.testing.assert_array_equal(getattr(whole, found)(X), getattr(resumed, found)(X))


def other_model(folder, **more):
    """An autoencoder with all that changes while it trains: noise, restarts, a schedule."""
    return DenoisingAutoencoder(
        2,
        hidden_layer_sizes=(8,),
        n_init=2,
        max_epochs=4,
        batch_size=32,
        random_state=0,
        training=settings(folder, **more),
    )


# Where a process dies: the owner of a function and its name, and which of its calls.
PLACES = [
    *[(Player, "step", after) for after in (1, 4, 9, 17)],
    *[(loop, "mean_loss", after) for after in (1, 3)],
    *[(saver, "write", after) for after in (2, 11)],
    *[(os, "fsync", after) for after in (1, 8)],
    *[(os, "replace", after) for after in (1, 6)],
    (saver.Saver, "epoch", 2),
]


@pytest.mark.parametrize(("owner", "name", "after"), PLACES)
def test_a_process_that_is_killed_loses_nothing(owner, name, after, tmp_path):
    """Killed by SIGKILL, at a step, an evaluation, or while a checkpoint is being written."""
    X = table(n_rows=200)
    child = os.fork()
    if child == 0:
        calls, own = [], getattr(owner, name)

        def counted(*args, **kwargs):
            calls.append(name)
            if len(calls) == after:
                os.kill(os.getpid(), signal.SIGKILL)
            return own(*args, **kwargs)

        setattr(owner, name, counted)
        other_model(tmp_path).fit(X)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    whole = other_model(None).fit(X)
    resumed = other_model(tmp_path).fit(X)
    for one, other in zip(bits(whole, X), bits(resumed, X), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not list(tmp_path.glob(".*"))


def test_a_fit_that_had_ended_is_not_trained_again(tmp_path, monkeypatch):
    X = table()
    one = other_model(tmp_path).fit(X)
    monkeypatch.setattr(Player, "step", None)
    two = other_model(tmp_path).fit(X)
    np.testing.assert_array_equal(one.transform(X), two.transform(X))


def test_the_last_two_are_kept(tmp_path):
    other_model(tmp_path).fit(table())
    assert len(list(tmp_path.iterdir())) == 2


def test_a_damaged_checkpoint_gives_way_to_the_one_before_it(tmp_path):
    X = table(n_rows=200)
    whole = other_model(tmp_path).fit(X)
    good, last = sorted(tmp_path.iterdir())
    content = bytearray(last.read_bytes())
    content[-5] ^= 1
    last.write_bytes(content)
    message = f"The checkpoint '{last}' is damaged (its SHA-256 differs). The one before it is used"
    with pytest.warns(UserWarning, match=f"^{re.escape(message)}"):
        resumed = other_model(tmp_path).fit(X)
    np.testing.assert_array_equal(whole.transform(X), resumed.transform(X))
    kept = sorted(tmp_path.iterdir())
    assert kept[:2] == [good, last]  # two that are whole, and the damaged one between
    assert len(kept) == 3


@pytest.mark.parametrize("hurt", ["empty", "cut", "other"])
def test_damaged_checkpoints_alone_are_refused_and_stay(hurt, tmp_path):
    X = table()
    other_model(tmp_path).fit(X)
    for path in tmp_path.iterdir():
        content = {"empty": b"", "cut": path.read_bytes()[:-9], "other": b"\0" * 4000}[hurt]
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"^No checkpoint of this fit in .* can be read\. "):
        other_model(tmp_path).fit(X)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_full_disk_is_told_and_training_goes_on(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    X = table()
    monkeypatch.setattr("narrows.engine.checkpoint.save_file", full)
    message = r"^Cannot write '.*': no space left on device. Nothing was changed. Training goes on"
    with pytest.warns(UserWarning, match=message):
        model = other_model(tmp_path).fit(X)
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    np.testing.assert_array_equal(model.transform(X), other_model(None).fit(X).transform(X))


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"learning_rate": 0.02}, "learning_rate is 0.02 here and 0.005 there"),
        ({"training__patience": 3}, "training.patience is 3 here and 20 there"),
        ({"batch_size": 16}, "batch_size is 16 here and 32 there"),
        ({"random_state": 1}, "the rows, their order or random_state differ"),
    ],
)
def test_checkpoints_of_other_fits_are_told_apart(change, difference, tmp_path, monkeypatch):
    X = table()
    other_model(tmp_path).fit(X)
    monkeypatch.setattr(saver, "_WARNED", set())
    message = f"'{tmp_path}' holds checkpoints, but none of this fit: {difference}."
    with pytest.warns(UserWarning, match=f"^{re.escape(message)} Training begins anew.$"):
        other_model(tmp_path).set_params(**change).fit(X)
    monkeypatch.setattr(saver, "_WARNED", set())
    change = {**change, "max_epochs": 3}
    with pytest.raises(CheckpointError, match=r"To begin anew, do not ask to resume\.$"):
        other_model(tmp_path, resume=True).set_params(**change).fit(X)


def test_resume_says_whether_there_must_be_a_checkpoint(tmp_path):
    X = table()
    message = f"'{tmp_path}' holds no checkpoint. To begin anew, do not ask to resume."
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        other_model(tmp_path, resume=True).fit(X)
    other_model(tmp_path, resume=False).fit(X)
    message = (
        f"'{tmp_path}' holds a checkpoint of this fit. Write resume=True to go on from it, or "
        "another folder."
    )
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        other_model(tmp_path, resume=False).fit(X)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 0)], ids=["term", "int"]
)
def test_signals_save_and_end(number, status, tmp_path):
    X = table(n_rows=200)
    child = os.fork()
    if child == 0:
        own = Player.step

        def signalled(*args, **kwargs):
            Player.step = own
            os.kill(os.getpid(), number)
            return own(*args, **kwargs)

        Player.step = signalled
        model = other_model(tmp_path).set_params(training__checkpoint__minutes=None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                model.fit(X)
            except SystemExit as error:
                os._exit(error.code)
        os._exit(model.n_iter_)
    _, ended = os.waitpid(child, 0)
    assert os.WEXITSTATUS(ended) == status
    (path,) = tmp_path.iterdir()
    _, header = saver.read(path)
    assert header["n_epochs"] == 0
    whole = other_model(None).fit(X)
    np.testing.assert_array_equal(whole.transform(X), other_model(tmp_path).fit(X).transform(X))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"minutes": 0}, "minutes=0 must be a positive number, or None. Write 10.0."),
        ({"epochs": 0}, "epochs=0 must be a whole number, at least 1, or None."),
        ({"epochs": 2.5}, "epochs=2.5 must be a whole number, at least 1, or None."),
    ],
)
def test_settings_that_do_not_fit_are_refused(change, message, tmp_path):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        other_model(tmp_path, **change).fit(table())


def test_what_is_no_folder_is_refused():
    message = "checkpoint=3 is not a folder. Write 'run/', say, or Checkpoint('run/', minutes=5)."
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        Autoencoder(2, random_state=0, training=Training(checkpoint=3)).fit(table())


def test_a_file_of_the_model_holds_no_checkpoint(tmp_path):
    X = table()
    model = other_model(tmp_path / "run").fit(X)
    model.save(tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    assert again.training.checkpoint is None
    np.testing.assert_array_equal(again.transform(X), model.transform(X))


def test_a_fit_without_a_seed_cannot_go_on(tmp_path):
    message = (
        "random_state=None draws anew at every fit, so that none could go on from a checkpoint. "
        "Write random_state=0."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        other_model(tmp_path).set_params(random_state=None).fit(table())


def enclosing(width):
    return lambda n, rng: width * rng.normal(size=(n, 2))


class Draws:
    def __init__(self, width):
        self.width = width

    def __call__(self, n, rng):
        return self.width * rng.normal(size=(n, 2))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda n, rng: rng.normal(size=(n, 2)), lambda n, rng: rng.uniform(size=(n, 2))),
        (enclosing(1.0), enclosing(2.0)),
        (Draws(1.0), Draws(2.0)),
        (partial(Draws(1.0)), partial(Draws(2.0))),
        (Draws(1.0).__call__, Draws(2.0).__call__),
    ],
    ids=["code", "enclosed", "attributes", "partial", "method"],
)
def test_functions_are_told_apart(one, other):
    assert described({"prior": one}) == described({"prior": one})
    assert described({"prior": one}) != described({"prior": other})


def test_functions_are_the_same_in_another_process():
    code = (
        "from narrows.engine.checkpoint import described\n"
        "def outer(a):\n    return lambda x, b=(1, 'c'): [a + x for _ in range(b[0])]\n"
        "print(sorted(described({'f': outer(2.0)}).items()))"
    )
    found = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
        for _ in range(2)
    }
    assert len(found) == 1
    assert "2.0" in found.pop()


def test_a_fit_stopped_by_a_callback_goes_on_without_it(tmp_path):
    X = table(n_rows=200)
    stopped = other_model(tmp_path)
    stopped.training.callbacks = [lambda epoch: "stop" if epoch.number == 2 else None]
    assert stopped.fit(X).n_iter_ == 2
    resumed = other_model(tmp_path).fit(X)
    for one, two in zip(bits(other_model(None).fit(X), X), bits(resumed, X), strict=True):
        np.testing.assert_array_equal(one, two)


def test_layers_of_one_fit_may_begin_where_the_first_goes_on(tmp_path, monkeypatch):
    """A stack that was killed in its first layer has no checkpoints of the others yet."""
    X = table(n_rows=200)
    model = StackedAutoencoder(
        2, hidden_layer_sizes=(8, 4), layer_epochs=2, max_epochs=2, random_state=0
    )
    whole = clone(model).fit(X)
    model.set_params(training=Training(checkpoint=Checkpoint(tmp_path, minutes=1e-9)))
    with monkeypatch.context() as patched:
        dies(patched, Player, "step", 2)
        with pytest.raises(Killed):
            clone(model).fit(X)
    resumed = clone(model).set_params(training__checkpoint__resume=True).fit(X)
    np.testing.assert_array_equal(whole.transform(X), resumed.transform(X))


def test_a_file_is_no_folder(tmp_path):
    path = tmp_path / "file"
    path.write_text("")
    message = f"checkpoint='{path}' is a file. Name a folder."
    with pytest.raises(NotADirectoryError, match=f"^{re.escape(message)}$"):
        other_model(path).fit(table())

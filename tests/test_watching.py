"""Watching a run: progress, logs, TensorBoard, MLflow, and checkpoints that tell how far it is."""

import io
import json
import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone

from helpers import estimators, quick, short_name, table
from narrows import (
    L1,
    AdversarialAutoencoder,
    Autoencoder,
    Checkpoint,
    JsonLog,
    MLflow,
    StackedAutoencoder,
    TensorBoard,
    Training,
)
from narrows._errors import CheckpointError, MissingExtraError
from narrows.cli._progress import curve
from narrows.engine import log, watching
from narrows.engine.callbacks import Epoch, Progress
from narrows.engine.log import _plain
from narrows.engine.standing import standings
from narrows.engine.watching import Watcher, scalars

each_estimator = pytest.mark.parametrize("estimator", [*estimators(**quick())], ids=short_name)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def strict(text: str) -> dict:
    """Read JSON as others do, without NaN and Infinity."""

    def refuse(name: str) -> None:
        raise ValueError(name)

    return json.loads(text, parse_constant=refuse)


def lines(path: str = "run.jsonl") -> list[dict]:
    return [strict(line) for line in Path(path).read_text().splitlines()]


def logged(checkpoint=None, *more, **settings) -> Autoencoder:
    return Autoencoder(
        **quick(callbacks=[JsonLog("run.jsonl"), *more], checkpoint=checkpoint, **settings)
    )


def epoch(number: int, loss=(1.0,), *, n_epochs: int = 100, seconds: float = 2.0) -> Epoch:
    found = torch.tensor(loss)
    model = torch.nn.Identity()
    return Epoch(number, n_epochs, found, found, 0.1, model, {"reconstruction": found}, seconds)


# The log


@each_estimator
def test_the_log_holds_the_history(estimator):
    estimator = clone(estimator).set_params(n_init=2, training__callbacks=[JsonLog("run.jsonl")])
    estimator.fit(table())
    run = lines()[-1]["run"]  # of several, one a layer, the last
    start, *epochs, end = [line for line in lines() if line["run"] == run]
    assert [start["event"], end["event"]] == ["start", "end"]
    assert start["estimator"] == type(estimator).__name__
    assert start["random_state"] == 0
    assert start["versions"]["torch"] == torch.__version__
    assert start["settings"]["blueprint.event_shape.0"] == 6
    assert end["reason"] == "max_epochs"
    assert end["seconds"] == pytest.approx(sum(line["seconds"] for line in epochs), abs=1e-4)
    history = estimator.history_
    assert [line["epoch"] for line in epochs] == [1, 2, 3, 4, 5]
    assert list(epochs[0]["terms"]) == start["terms"]
    held = [start["validation_loss"], *[line["validation_loss"] for line in epochs]]
    terms = [list(line["terms"].values()) for line in epochs]
    np.testing.assert_allclose(held, history["validation_loss"], rtol=1e-6)
    np.testing.assert_allclose(terms, history["train_loss"], rtol=1e-6)
    rates = [line["learning_rate"] for line in epochs]
    np.testing.assert_allclose(rates, history["learning_rate"])


def test_terms_of_the_objective_add_up_to_the_train_loss():
    model = AdversarialAutoencoder(**quick(callbacks=[JsonLog("run.jsonl")]))
    model.fit(table())
    told = next(line for line in lines() if line["event"] == "epoch")
    assert set(told["terms"]) == {"reconstruction", "critic", "adversarial"}
    assert told["train_loss"] == told["terms"]["reconstruction"]


def test_terms_of_one_name_are_told_apart():
    callbacks = [JsonLog("run.jsonl")]
    penalties = [L1(0.01), L1(0.1)]
    model = Autoencoder(**quick(callbacks=callbacks, penalties=penalties)).fit(table())
    assert lines()[0]["terms"] == ["reconstruction", "l1", "l1 2"]
    last = lines()[-2]["terms"]
    np.testing.assert_allclose([*last.values()], model.history_["train_loss"][-1], rtol=1e-6)


def test_layers_and_fits_follow_one_another():
    model = StackedAutoencoder(2, layer_epochs=2, **quick(callbacks=[JsonLog("run.jsonl")]))
    model.fit(table())
    events = [line["event"] for line in lines() if line["event"] != "epoch"]
    assert events == ["start", "end"] * (len(events) // 2)
    assert len(events) > 2
    before = lines()
    logged().fit(table())
    assert lines()[: len(before)] == before
    assert lines()[-1]["reason"] == "max_epochs"


@pytest.mark.parametrize(
    ("settings", "callbacks", "reason"),
    [
        ({"max_epochs": 3}, [], "max_epochs"),
        ({"max_epochs": 50, "patience": 1, "learning_rate": 0.5}, [], "patience"),
        ({}, [lambda epoch: "stop"], "callback"),
    ],
)
def test_the_log_says_why_a_run_ended(settings, callbacks, reason):
    model = logged(None, *callbacks, **settings).fit(table())
    end = lines()[-1]
    assert (end["event"], end["reason"], end["n_epochs"]) == ("end", reason, model.n_iter_)
    np.testing.assert_array_equal(end["best_epoch"], model.history_["best_epoch"])


def raises(error):
    def callback(epoch):
        raise error

    return callback


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (SystemExit(143), "terminated"),
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero"),
    ],
)
def test_the_log_says_what_stopped_a_run(error, reason):
    with pytest.raises(type(error)):
        logged(None, raises(error)).fit(table())
    assert lines()[-1]["reason"] == reason


def test_the_log_of_an_interrupted_run_ends():
    with pytest.warns(UserWarning, match="interrupted"):
        logged(None, raises(KeyboardInterrupt())).fit(table())
    assert lines()[-1]["reason"] == "interrupted"


def test_losses_that_are_not_finite_are_null():
    with pytest.raises(FloatingPointError):
        logged(learning_rate=1e30).fit(table())
    end = lines()[-1]
    assert end["reason"].startswith("The loss became nan in epoch 1, step 2")
    told = {"a": [math.nan, 1.0, (-math.inf,)], "b": torch.tensor([math.inf]), "c": np.float32(2)}
    assert _plain(told) == {"a": [None, 1.0, [None]], "b": [None], "c": 2.0}


def test_no_epoch_stands_twice_after_a_fault():
    """Checkpoints after epochs 2 and 4; the fault after epoch 3 takes epoch 3 again."""
    X = table()
    whole = logged(Checkpoint("other", minutes=None, epochs=2)).fit(X)
    expected = [line["validation_loss"] for line in lines() if line["event"] == "epoch"]
    Path("run.jsonl").write_text('{"event": "epoch", "run": "another", "epoch": 4}\n')

    def fault(epoch):
        if epoch.number == 3:
            raise ZeroDivisionError

    checkpoint = Checkpoint("run", minutes=None, epochs=2)
    with pytest.raises(ZeroDivisionError):
        logged(checkpoint, fault).fit(X)
    assert [line.get("epoch") for line in lines()] == [4, None, 1, 2, 3, None]
    with open("run.jsonl", "a") as stream:
        stream.write('{"event": "epo')  # a line cut off by a kill
    resumed = logged(checkpoint).fit(X)
    np.testing.assert_array_equal(resumed.transform(X), whole.transform(X))
    other, *own = lines()
    assert other["run"] == "another"
    events = [(line["event"], line.get("epoch")) for line in own]
    assert events == [
        ("start", None),
        ("epoch", 1),
        ("epoch", 2),
        ("resume", 2),
        ("epoch", 3),
        ("epoch", 4),
        ("epoch", 5),
        ("end", None),
    ]
    assert len({line["run"] for line in own}) == 1
    assert [line["validation_loss"] for line in own if line["event"] == "epoch"] == expected


def test_a_run_that_begins_anew_replaces_its_lines():
    for _ in range(2):
        with pytest.raises(SystemExit):
            logged(Checkpoint("run", epochs=9), raises(SystemExit(1))).fit(table())
    assert [line["event"] for line in lines()] == ["start", "epoch", "end"]


def test_a_folder_that_goes_away_leaves_the_fit(monkeypatch):
    def gone(*_, **__):
        raise OSError(116, "Stale file handle")

    def lose(epoch):
        monkeypatch.setattr(log, "open", gone, raising=False)
        monkeypatch.setattr(Path, "stat", gone)

    model = Autoencoder(**quick(max_epochs=3, callbacks=[JsonLog("run.jsonl"), lose]))
    message = "Cannot write 'run.jsonl': stale file handle. Training goes on without this log."
    with pytest.warns(UserWarning, match=f"^{re.escape(message)}$"):
        model.fit(table())
    monkeypatch.undo()
    assert len(model.history_["train_loss"]) == 3


def test_what_is_no_log_stays():
    Path("run.jsonl").write_text("[1]\nsome text\n" + "[" * 10**5 + "\n")
    logged().fit(table())
    assert Path("run.jsonl").read_text().startswith("[1]\nsome text\n[[")


def test_a_log_that_cannot_be_written_is_refused():
    reason = "the folder 'no' does not exist"
    message = f"Cannot write 'no/run.jsonl': {reason}. Write JsonLog('run.jsonl')"
    model = Autoencoder(**quick(callbacks=[JsonLog("no/run.jsonl")]))
    with pytest.raises(OSError, match=f"^{re.escape(message)}, say\\.$"):
        model.fit(table())
    assert not hasattr(model, "n_iter_")


def test_a_full_disk_leaves_whole_lines_and_the_fit(monkeypatch):
    class Full(io.FileIO):
        def write(self, line):
            if self.seek(0, io.SEEK_END) + len(line) > size:
                super().write(line[:7])
                raise OSError(28, "No space left on device")
            return super().write(line)

    whole = logged(max_epochs=2).fit(table())
    size = Path("run.jsonl").stat().st_size - 10
    Path("run.jsonl").unlink()
    monkeypatch.setattr(log, "open", lambda path, *_, **__: Full(path, "ab"), raising=False)
    message = (
        "Cannot write 'run.jsonl': no space left on device. Training goes on without this log."
    )
    with pytest.warns(UserWarning, match=f"^{re.escape(message)}$"):
        model = logged(max_epochs=2).fit(table())
    assert [line["event"] for line in lines()] == ["start", "epoch", "epoch"]
    np.testing.assert_array_equal(model.transform(table()), whole.transform(table()))


def test_a_file_that_is_no_log_is_left_alone():
    np.save("rows.npy", table())
    content = Path("rows.npy").read_bytes()
    message = (
        "'rows.npy' does not end with a line, and is no log then. Write the name of a new file."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Autoencoder(**quick(callbacks=[JsonLog("rows.npy")])).fit(table())
    assert Path("rows.npy").read_bytes() == content


def test_watchers_are_settings():
    given = JsonLog("run.jsonl")
    model = clone(Autoencoder(training=Training(callbacks=[given, TensorBoard()])))
    copy = model.training.callbacks[0]
    assert copy is not given
    assert repr(copy) == "JsonLog(path='run.jsonl')"


# Progress


def shown(monkeypatch, terminal: bool, *epochs: Epoch) -> str:
    stream = io.StringIO()
    stream.isatty = lambda: terminal
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "stdout", stream)
    with Progress() as progress:
        for each in epochs:
            progress(each)
    return stream.getvalue()


def test_a_terminal_shows_a_bar_with_losses_and_time_left(monkeypatch):
    text = shown(monkeypatch, True, epoch(1), epoch(2, (0.51234, 0.25, math.nan)))
    last = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text).strip().splitlines()[-1]
    assert "━" in last
    assert last.endswith("epoch 2/100 loss 0.25, validation 0.25 at most 0:03:16 left")
    assert len(last) <= 80


def test_a_file_gets_a_line_now_and_then(monkeypatch):
    epochs = [epoch(k, (1 / k,), seconds=60.0) for k in range(1, 51)]
    assert shown(monkeypatch, False, *epochs).splitlines() == [
        "epoch 1/100, loss 1, validation 1, at most 1:39:00 left",
        "epoch 50/100, loss 0.02, validation 0.02, at most 0:50:00 left",
    ]
    monkeypatch.setattr("narrows.engine.callbacks._BETWEEN_LINES", 0.0)
    assert len(shown(monkeypatch, False, *epochs).splitlines()) == 50


def test_a_notebook_without_widgets_gets_lines(monkeypatch):
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr("narrows.engine.callbacks.find_spec", lambda name: None)
    assert shown(monkeypatch, False, epoch(1)).startswith("epoch 1/100, loss 1")


# TensorBoard and MLflow


def test_scalars_are_finite_and_named_by_restart():
    found = scalars(epoch(1, (1.0, math.nan)))
    assert set(found) == {
        "learning_rate",
        "seconds",
        "train_loss/0",
        "validation_loss/0",
        "train_reconstruction/0",
    }
    assert scalars(epoch(1))["validation_loss"] == 1.0


def of_board(folder: Path, name: str) -> dict[int, float]:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = reader.EventAccumulator(str(folder))
    events.Reload()
    return {event.step: event.value for event in events.Scalars(name)}


class Failing(Watcher):
    """Fails at the beginning, or at the end."""

    def __init__(self, when):
        self.when = when

    def begin(self, start):
        if self.when == "begin":
            raise OSError("no room")

    def __call__(self, epoch):
        return None

    def end(self, end):
        raise OSError("no room")


def test_a_watcher_that_fails_at_the_end_leaves_the_fit_and_the_others():
    callbacks = [Failing("end"), JsonLog("run.jsonl")]
    with pytest.warns(UserWarning, match=r"Failing\(when='end'\) did not end: no room"):
        model = Autoencoder(**quick(callbacks=callbacks)).fit(table())
    assert lines()[-1]["reason"] == "max_epochs"
    assert model.n_iter_ == 5


def test_a_watcher_that_cannot_begin_ends_the_fit_and_the_others_hear_of_it():
    callbacks = [JsonLog("run.jsonl"), Failing("begin")]
    with pytest.raises(OSError, match="no room"):
        Autoencoder(**quick(callbacks=callbacks)).fit(table())
    assert lines()[-1]["reason"] == "OSError: no room"


def test_tensorboard_holds_the_history_and_goes_on():
    pytest.importorskip("tensorboard", reason="needs narrows[track]")
    X, checkpoint = table(), Checkpoint("run", minutes=None, epochs=2)
    settings = {"checkpoint": checkpoint, "callbacks": [TensorBoard("board")]}

    def fault(epoch):
        if epoch.number == 3:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Autoencoder(**quick(**{**settings, "callbacks": [TensorBoard("board"), fault]})).fit(X)
    model = Autoencoder(**quick(**settings)).fit(X)
    (folder,) = Path("board").iterdir()
    assert folder.name.startswith("Autoencoder-")
    losses = of_board(folder, "validation_loss")
    assert sorted(losses) == [1, 2, 3, 4, 5]
    history = model.history_
    np.testing.assert_allclose(
        [losses[k] for k in range(1, 6)], history["validation_loss"][1:, 0], rtol=1e-6
    )


def test_a_board_whose_folder_cannot_be_made_is_refused():
    pytest.importorskip("tensorboard", reason="needs narrows[track]")
    Path("board").touch()
    model = Autoencoder(**quick(callbacks=[TensorBoard("board")]))
    message = r"^Cannot make the folder 'board/Autoencoder-\w+': not a directory\. "
    with pytest.raises(OSError, match=message + r"Write TensorBoard\('runs/'\), say\.$"):
        model.fit(table())


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    found = pytest.importorskip("mlflow", reason="needs narrows[track]")
    found.set_tracking_uri((tmp_path / "mlruns").as_uri())
    return found


@pytest.mark.filterwarnings("ignore:.*filesystem tracking backend")
def test_mlflow_holds_settings_and_history_and_goes_on(mlflow):
    X, checkpoint = table(), Checkpoint("run", minutes=None, epochs=2)

    def fault(epoch):
        if epoch.number == 3:
            raise ZeroDivisionError

    callbacks = [MLflow("spectra"), fault]
    with pytest.raises(ZeroDivisionError):
        Autoencoder(**quick(checkpoint=checkpoint, callbacks=callbacks)).fit(X)
    client = mlflow.MlflowClient()
    where = [client.get_experiment_by_name("spectra").experiment_id]
    (run,) = client.search_runs(where)
    assert run.info.status == "KILLED"
    model = Autoencoder(**quick(checkpoint=checkpoint, callbacks=[MLflow("spectra")])).fit(X)
    (run,) = client.search_runs(where)
    assert run.info.status == "FINISHED"
    assert run.data.params["estimator"] == "Autoencoder"
    assert run.data.params["max_epochs"] == "5"
    assert run.data.tags["narrows.reason"] == "max_epochs"
    past = client.get_metric_history(run.info.run_id, "validation_loss")
    assert [each.step for each in past] == [1, 2, 3, 4, 5]
    found = [each.value for each in past]
    np.testing.assert_allclose(found, model.history_["validation_loss"][1:, 0], rtol=1e-6)


@pytest.mark.filterwarnings("ignore:.*filesystem tracking backend")
def test_mlflow_uses_the_run_that_is_open(mlflow):
    with mlflow.start_run() as run:
        Autoencoder(**quick(callbacks=[MLflow()])).fit(table())
        assert mlflow.active_run().info.status == "RUNNING"
    found = mlflow.MlflowClient().get_run(run.info.run_id)
    assert found.data.metrics["learning_rate"] > 0


def test_an_mlflow_that_cannot_be_reached_is_refused(mlflow):
    model = Autoencoder(**quick(callbacks=[MLflow("spectra", "nowhere://")]))
    message = (
        r"^MLflow cannot begin a run: [^\n]* a database of one's own needs pip install mlflow\.$"
    )
    with pytest.raises(ConnectionError, match=message):
        model.fit(table())


@pytest.mark.filterwarnings("ignore:.*filesystem tracking backend")
def test_an_mlflow_that_goes_away_leaves_the_fit(mlflow, monkeypatch):
    def gone(*args, **kwargs):
        raise mlflow.exceptions.MlflowException("The server is gone.")

    monkeypatch.setattr(mlflow.MlflowClient, "log_metric", gone)
    message = r"^MLflow lacks part of the fit: The server is gone\. Training goes on\.$"
    with pytest.warns(UserWarning, match=message):
        model = Autoencoder(**quick(callbacks=[MLflow("spectra")])).fit(table())
    assert model.n_iter_ == 5


@pytest.mark.parametrize(("watcher", "name"), [(TensorBoard, "tensorboard"), (MLflow, "mlflow")])
def test_a_missing_extra_is_named(watcher, name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    sentence = f"{name!r} is not installed. Write: pip install 'narrows[track]'"
    with pytest.raises(MissingExtraError, match=f"^{re.escape(sentence)}$"):
        Autoencoder(**quick(callbacks=[watcher()])).fit(table())


# How far a folder of checkpoints is


class Note(Watcher):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list = []

    def begin(self, start: watching.Start) -> None:
        self.told.append(start)

    def __call__(self, epoch: Epoch) -> None:
        self.told.append(epoch)

    def end(self, end: watching.End) -> None:
        self.told.append(end)


def test_a_folder_tells_how_far_a_run_is():
    X, note = table(), Note()
    checkpoint = Checkpoint("run", minutes=None, epochs=2)
    settings = quick(n_init=3, checkpoint=checkpoint)
    settings["training"].callbacks = [note, lambda epoch: "stop" if epoch.number == 4 else None]
    model = Autoencoder(**settings).fit(X)
    (run,), reasons = standings("run")
    assert not reasons
    assert (run.estimator, run.n_epochs, run.max_epochs) == ("Autoencoder", 4, 5)
    assert run.run == note.told[0].run
    assert not run.over
    np.testing.assert_allclose(run.validation_loss, model.history_["validation_loss"])
    assert run.learning_rate == model.history_["learning_rate"][-1]
    assert run.seconds == pytest.approx(sum(told.seconds for told in note.told[1:5]))
    assert run.seconds_left == pytest.approx(run.seconds / 4)
    settings["training"].callbacks = ()
    model = Autoencoder(**settings).fit(X)
    (run,), _ = standings("run")
    assert run.over
    assert run.seconds_left == 0
    assert run.seconds > sum(told.seconds for told in note.told[1:5])
    np.testing.assert_array_equal(run.best_epoch, model.history_["best_epoch"])


def test_damaged_checkpoints_give_way_or_are_refused():
    with pytest.raises(CheckpointError, match=r"^The folder '\.' holds no checkpoints, or"):
        standings(".")
    Autoencoder(**quick(checkpoint=Checkpoint("run", minutes=None, epochs=2))).fit(table())
    first, last = sorted(Path("run").iterdir())
    last.write_bytes(last.read_bytes()[:-3])
    (run,), (reason,) = standings("run")
    assert run.path == first
    assert reason.startswith(f"The checkpoint '{last}' is damaged")
    first.write_bytes(b"\0" * 100)
    with pytest.raises(CheckpointError, match=r"^No checkpoint in 'run' can be read\. The check"):
        standings("run")


def test_a_curve_is_between_its_least_and_greatest():
    assert curve([0.0, 7.0, 3.5, math.nan, 1.0]) == "▁█▅·▂"
    assert curve([3.0, 3.0, 3.0]) == ""
    assert len(curve(list(range(1000)))) == 40
    assert curve([0, 1, 5, *range(1000)]).endswith("█")

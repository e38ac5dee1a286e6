"""Two processes train one model: the losses of one process with batches twice as large."""

import os
import pickle
import signal
import subprocess
import sys
import time
import warnings
from datetime import timedelta
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import distributed, nn

import own_networks
from helpers import estimators, quick, short_name, table
from narrows import (
    MMD,
    Autoencoder,
    Checkpoint,
    CodeRegressor,
    Contractive,
    DenoisingAutoencoder,
    Dense,
    HierarchicalAutoencoder,
    ModuleRegressor,
    Modules,
    OutlierDetector,
    Revival,
    SemiSupervisedAAE,
    SemiSupervisedVAE,
    StackedClassifier,
    StackedRegressor,
    TopK,
    TotalCorrelation,
    Training,
    VariationalAutoencoder,
    _ranks,
    load,
)
from narrows.engine import repeated
from narrows.engine.player import Player
from narrows.engine.replay import record
from narrows.nn.code import Layout
from narrows.objective.penalties import Penalty
from narrows.parts import PARTS, resolve
from test_pairs import OWN, covering, describe, own_modules, refused, rows_for

# Of 70 rows 49 train: three batches of 16 and one of a single row, of which one process has none.
N_ROWS, BATCH_SIZE = 70, 8
Y = np.arange(N_ROWS) % 3


def small(batch_size, **settings):
    common = {"batch_size": batch_size, "max_epochs": 3, "precision": "float64"}
    return quick(**{**common, **settings})


def weights():
    return np.random.default_rng(1).uniform(0.2, 3, N_ROWS)


def of_estimator(estimator):
    def fit(batch_size):
        model = clone(estimator).set_params(**small(batch_size, n_init=2))
        return model.fit(table(n_rows=N_ROWS), sample_weight=weights())

    return fit


def of_parts(choice):
    def fit(batch_size):
        parts, X = dict(choice), rows_for(choice["likelihood"])[:N_ROWS]
        if parts["architecture"] == OWN:
            layout = Layout(3, parts["circular"])
            n_raw = resolve("code", parts["code"]).n_raw(layout)
            parts["architecture"] = own_modules(layout.n_features, n_raw)
        if parts["missing"] == "ignore" and isinstance(parts["likelihood"], str):
            hidden = np.random.default_rng(0).random(X.shape) < 0.05
            X[hidden if parts["likelihood"] != "categorical" else []] = np.nan
        return Autoencoder(3, **small(batch_size, max_epochs=2, **parts)).fit(X)

    return fit


def model_of(kind, *args, fitted=None, **settings):
    def fit(batch_size):
        return kind(*args, **small(batch_size, **settings)).fit(
            table(n_rows=N_ROWS), **(fitted or {"sample_weight": weights()})
        )

    return fit


def supervised(kind, y, **settings):
    def fit(batch_size):
        own = small(batch_size, **settings)
        own = {name: own[name] for name in own.keys() & kind().get_params().keys()}
        return kind().set_params(**own).fit(table(n_rows=N_ROWS), y)

    return fit


def of_module(*layers):
    def fit(batch_size):
        training = Training(precision="float64", validation_fraction=0.3)
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            module = nn.Sequential(nn.Linear(6, 8), *layers, nn.Linear(8, 1))
        model = ModuleRegressor(module, max_epochs=3, batch_size=batch_size, training=training)
        return model.set_params(random_state=0).fit(table(n_rows=N_ROWS), Y.astype(float))

    return fit


def of_outliers(batch_size):
    model = OutlierDetector(Autoencoder(2, **small(batch_size)), random_state=0)
    return model.fit(table(n_rows=N_ROWS))


def through_a_code(batch_size):
    training = Training(precision="float64")
    module = ModuleRegressor(nn.Linear, max_epochs=3, batch_size=batch_size, training=training)
    model = CodeRegressor(module, Autoencoder(2, **small(batch_size)), random_state=0)
    return model.fit(table(n_rows=N_ROWS), table("normal", n_rows=N_ROWS, seed=1))


def own_dense(encoder, **settings):
    decoder = {"n_features": 2, "shape": [6]}
    settings = {"n_values": 6, "n_features": 2, **settings}
    return Modules(encoder, own_networks.Decoder, settings, decoder)


def towards_the_mean(x, generator):
    """Mix rows with the mean of all rows, each by a share of its own."""
    share = torch.rand(len(x), 1, generator=generator, dtype=x.dtype)
    return share * x + (1 - share) * x.mean(0)


FEW = np.where(np.arange(N_ROWS) < 20, Y, -1)
SINGLE = {"learning_rate": 0.002, "precision": "float32"}
VAE = VariationalAutoencoder
FITS = {
    **{short_name(each): of_estimator(each) for each in estimators()},
    **{describe(choice): of_parts(choice) for choice in covering() if not refused(choice)},
    **{
        f"posterior {name}": model_of(VAE, 3, posterior=name)
        for name in PARTS["code"]
        if name not in ("plain", "top_k")
    },
    **{
        f"prior {name}": model_of(VAE, 2, prior=name, hidden_layer_sizes=(8,))
        for name in PARTS["prior"]
    },
    "importance weights": model_of(VAE, 2, n_draws=3, penalties=[TotalCorrelation()]),
    "free nats": model_of(VAE, 2, free_bits=0.3, n_draws=1),
    "free nats, several draws": model_of(VAE, 2, free_bits=0.3, n_draws=2),
    "mmd, vamp prior": model_of(VAE, 2, prior="vamp", beta=0.1, penalties=[MMD()]),
    "m2": supervised(SemiSupervisedVAE, FEW),
    "m2, two classes": supervised(SemiSupervisedVAE, FEW, top_classes=2),
    "m2, three labels": supervised(SemiSupervisedVAE, np.where(np.arange(N_ROWS) < 3, Y, -1)),
    "adversarial of few labels": supervised(SemiSupervisedAAE, FEW),
    "stacked classifier": supervised(StackedClassifier, Y, layer_epochs=2),
    "stacked regressor": supervised(StackedRegressor, Y.astype(float), layer_epochs=2),
    "module": of_module(nn.Tanh()),
    "module that draws": of_module(nn.Dropout(0.5)),
    "module of batches": of_module(nn.BatchNorm1d(8)),
    "clipped": model_of(Autoencoder, 2, clip_norm=0.01, n_init=3),
    "single precision": model_of(Autoencoder, 2, **SINGLE),
    "single precision, denoising": model_of(DenoisingAutoencoder, 2, **SINGLE),
    "dropout": model_of(HierarchicalAutoencoder, 2, architecture=Dense((8,), dropout=0.3)),
    "outliers": of_outliers,
    "own modules that draw": model_of(
        Autoencoder, 2, architecture=own_dense(own_networks.Encoder, n_hidden=8, dropout=0.3)
    ),
    "own modules of batches": model_of(
        Autoencoder, 2, architecture=own_dense(own_networks.Normalised), validation_fraction=0.2
    ),
    "contraction under dropout": model_of(
        Autoencoder,
        architecture=Dense((8, 4), dropout=0.3),
        penalties=[Contractive(0.1, n_probes=1)],
        fitted={"condition": Y},
    ),
    "nested, several draws, dropout": model_of(
        VAE,
        3,
        ordering="nested",
        n_draws=3,
        prior="mixture",
        architecture=Dense((8,), dropout=0.2),
        fitted={"condition": Y},
    ),
    "silent units": model_of(Autoencoder, 8, code=TopK(1), penalties=[Revival(1.0, patience=10)]),
    "a corruption of one's own": model_of(Autoencoder, 2, corruption=towards_the_mean),
    "emphasis": model_of(
        DenoisingAutoencoder, 2, corruption="salt_and_pepper", emphasis=(2.0, 0.5)
    ),
    "regressor through a code": through_a_code,
    "without validation": model_of(Autoencoder, 2, validation_fraction=0),
    "patience": model_of(Autoencoder, 2, max_epochs=30, patience=2, learning_rate=0.3),
}


NEVER = 10**9
UNLIKE = (
    "own",
    "module",
    "dirichlet",
    "power_spherical",
)  # what may take other operations each time
CALLED = ("transform", "predict_proba", "predict", "score_samples")


def outcome(model):
    """What a fit leaves: losses of every epoch, and what the model says of the rows."""
    X = table(n_rows=N_ROWS)
    called = next(name for name in CALLED if hasattr(model, name))
    history = getattr(model, "history_", {})
    losses = {name: history[name] for name in history.keys() & {"train_loss", "validation_loss"}}
    given = {"condition": Y} if getattr(model, "_conditions", None) else {}
    return {**losses, called: np.asarray(getattr(model, called)(X, **given))}


def attempt(function, *args):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(*args)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def replayed(fit, often):
    """An outcome where steps are recorded after that many; and how many are, or cannot be."""
    found = []

    def recording(*args):
        found.append(record(*args))
        return found[-1]

    with mock.patch.multiple(repeated, OFTEN=often, record=recording):
        left = outcome(fit())
    return left | {"replays": [replay is not None for _, replay in found]}


def of_training(number, **settings):
    """A fit that has what its own process is given."""
    model = DenoisingAutoencoder(2, n_init=2, **small(BATCH_SIZE, **settings))
    return outcome(model.fit(table(n_rows=N_ROWS)))


def interrupted(epoch):
    if epoch.number == 2:
        raise KeyboardInterrupt


def signalled(epoch):
    if epoch.number == 2:
        os.kill(os.getpid(), signal.SIGINT)


def fails(epoch):
    raise LookupError("no such thing")


def says_stop(epoch):
    return "stop" if epoch.number == 2 else None


def in_the_second(number, callback, **settings):
    """A fit with a callback in the second process alone."""
    return of_training(number, callbacks=[callback] if number else [], max_epochs=6, **settings)


def other_settings(number):
    return of_training(number, learning_rate=0.02 + 0.01 * number)


def other_rows(number):
    X = table(n_rows=N_ROWS)
    return Autoencoder(2, **small(BATCH_SIZE)).fit(X[::-1] if number else X)


def other_offset(number):
    return Autoencoder(2, **small(BATCH_SIZE)).fit(table(n_rows=N_ROWS) + number)


def other_size(number):
    return Autoencoder(2, **small(BATCH_SIZE)).fit(table(n_rows=N_ROWS - number))


def holes(number):
    X = table(n_rows=N_ROWS)
    X[3, 2] = np.nan if number else 1.0
    return Autoencoder(2, **small(BATCH_SIZE)).fit(X)


def no_seed(number):
    return of_training(number, random_state=None)


def passes(number):
    model = Autoencoder(2, **small(BATCH_SIZE))
    for _ in range(2):
        model.partial_fit(table(n_rows=N_ROWS), sample_weight=weights())
    return outcome(model)


def warned(number):
    """Warnings of a column that does not vary."""
    X = table(n_rows=N_ROWS)
    X[:, 0] = 1.0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Autoencoder(2, **small(BATCH_SIZE)).fit(X)
    return [str(each.message) for each in caught]


def late(number):
    """A fit that the second process comes to late: what the first says meanwhile."""
    with warnings.catch_warnings(record=True) as caught, pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("always")
        patch.setattr(_ranks, "PATIENCE", 0.2)
        time.sleep(number)
        of_training(number, max_epochs=1)
    return [(str(each.message), Path(each.filename).name) for each in caught]


def alone(number):
    """A model that one process alone goes on with."""
    X = table(n_rows=N_ROWS)
    model = HierarchicalAutoencoder(2, **small(BATCH_SIZE)).fit(X)
    return model.swap_check(X, random_state=0).difference if number else None


class Killed(BaseException):
    """Stands for a kill that no code can handle."""


def killed(number, folder):
    """A fit that dies in its eighth step, and goes on from what the first process wrote."""
    checkpoint = Checkpoint(Path(folder, f"run{number}"), minutes=1e-9)
    own, calls = Player.step, []

    def counted(*args):
        calls.append(args)
        if len(calls) == 8:
            raise Killed
        return own(*args)

    try:
        Player.step = counted
        of_training(number, checkpoint=checkpoint)
    except Killed:
        pass
    finally:
        Player.step = own
    return of_training(number, checkpoint=checkpoint), sorted(Path(folder).glob("run*/*"))


class Spread(Penalty):
    """A statistic of the batch that does not say so."""

    def __call__(self, record):
        return record.features.var(1).sum(-1)


def undeclared(number):
    return of_training(number, max_epochs=1) and model_of(Autoencoder, penalties=[Spread()])(8)


OTHERS = {
    "other settings": other_settings,
    "other rows": other_rows,
    "other offset": other_offset,
    "other size": other_size,
    "holes": holes,
    "no seed": no_seed,
    "passes": passes,
    "warned": warned,
    "late": late,
    "undeclared": undeclared,
    "alone": alone,
    "interrupted": partial(in_the_second, callback=interrupted),
    "signalled": partial(in_the_second, callback=signalled),
    "fails": partial(in_the_second, callback=fails),
    "says stop": partial(in_the_second, callback=says_stop),
}


def main(number, folder):
    """What each of two processes does."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=number,
        world_size=2,
        timeout=timedelta(seconds=60),
    )
    fits = {name: partial(fit, BATCH_SIZE) for name, fit in FITS.items()}
    found = {name: attempt(replayed, fit, 2 + number) for name, fit in fits.items()}
    found |= {name: attempt(call, number) for name, call in OTHERS.items()}
    found |= {"killed": attempt(killed, number, folder)}
    Path(folder, f"{number}.pickle").write_bytes(pickle.dumps(found))


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each of two processes found."""
    folder = tmp_path_factory.mktemp("ranks")
    here = Path(__file__).parent
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), *sys.path])}
    command = [sys.executable, "-W", "ignore", str(here / "test_ranks.py")]
    running = [
        subprocess.Popen([*command, str(number), str(folder)], env=env) for number in range(2)
    ]
    try:
        assert [process.wait(500) for process in running] == [0, 0]
    finally:
        for process in running:
            process.kill()
    return [pickle.loads((folder / f"{number}.pickle").read_bytes()) for number in range(2)]


@pytest.mark.parametrize("name", FITS)
def test_two_processes_are_one_of_larger_batches(name, found):
    """Through autograd, while each of the two replays its steps, from a step of its own on."""
    one, two = (each[name] for each in found)
    assert isinstance(one, dict), one
    whole = replayed(partial(FITS[name], 2 * BATCH_SIZE), NEVER)
    assert not whole.pop("replays")
    for each in (one, two):
        assert all(each["replays"])
        assert bool(each["replays"]) != any(word in name for word in UNLIKE)
    for key, values in whole.items():
        np.testing.assert_array_equal(one[key], two[key])
        tolerance = 1e-5 if "single" in name else 1e-10
        np.testing.assert_allclose(one[key], values, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "other settings",
            "ValueError: Processes 0 and 1 differ in learning_rate: 0.02 and 0.03. Call fit in "
            "every process with the same rows and settings.",
        ),
        (
            "other rows",
            "ValueError: Processes 0 and 1 have different rows, or rows in another order. Call fit "
            "in every process with the same rows and settings.",
        ),
        (
            "other offset",
            "ValueError: Processes 0 and 1 have different rows, or rows in another order. Call fit "
            "in every process with the same rows and settings.",
        ),
        (
            "other size",
            "ValueError: Processes 0 and 1 have different rows, or rows in another order. Call fit "
            "in every process with the same rows and settings.",
        ),
        (
            "undeclared",
            "ValueError: Spread is one number for a batch, which several processes share. Write "
            "of_batch = True in the class Spread, so that it sees the rows of all.",
        ),
    ],
)
def test_what_all_refuse(name, said, found):
    assert [each[name] for each in found] == [said, said]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "holes",
            "ValueError: X has missing entries (NaN): 1, the first in row 3, column 2. Fill them, "
            "drop their rows, or write missing='ignore'.",
        ),
        ("fails", "LookupError: no such thing"),
    ],
)
def test_an_error_of_one_is_one_of_all(name, said, found):
    assert found[1][name] == said
    assert found[0][name] == f"ProcessError: Process 1 stopped with {said}"


@pytest.mark.parametrize("name", ["interrupted", "signalled", "says stop", "no seed", "passes"])
def test_all_act_alike(name, found):
    one, two = (each[name] for each in found)
    for key in one:
        np.testing.assert_array_equal(one[key], two[key])


@pytest.mark.parametrize(
    ("name", "n_epochs"), [("interrupted", 2), ("signalled", 2), ("says stop", 2)]
)
def test_a_stop_of_one_stops_all(name, n_epochs, found):
    whole = DenoisingAutoencoder(2, n_init=2, **small(2 * BATCH_SIZE, max_epochs=6))
    whole.fit(table(n_rows=N_ROWS))
    losses = found[0][name]["train_loss"]
    np.testing.assert_allclose(losses, whole.history_["train_loss"][: len(losses)], rtol=1e-10)
    assert len(losses) == n_epochs


def test_passes_of_a_stream_are_those_of_one_process(found):
    model = Autoencoder(2, **small(2 * BATCH_SIZE))
    for _ in range(2):
        model.partial_fit(table(n_rows=N_ROWS), sample_weight=weights())
    for key, values in outcome(model).items():
        np.testing.assert_allclose(found[0]["passes"][key], values, rtol=1e-10, atol=1e-10)


def test_after_a_fit_each_process_is_alone(found):
    nothing, checked = (each["alone"] for each in found)
    assert nothing is None
    assert np.isfinite(checked).all()


def test_the_first_process_alone_warns(found):
    (said,), others = (each["warned"] for each in found)
    assert said.startswith("1 of 6 features are constant")
    assert not others


def test_a_process_that_waits_says_so(found):
    said = (
        "This process waits: not every other has called fit. Call it in every process with the "
        "same rows and settings."
    )
    assert [each["late"] for each in found] == [[(said, "test_ranks.py")], []]


def test_a_fit_that_was_killed_goes_on_to_the_same_bits(found):
    """From the folder of the first process, which alone writes."""
    (one, files), (two, _) = (each["killed"] for each in found)
    model = DenoisingAutoencoder(2, n_init=2, **small(2 * BATCH_SIZE))
    whole = outcome(model.fit(table(n_rows=N_ROWS)))
    for key, values in whole.items():
        np.testing.assert_array_equal(one[key], two[key])
        np.testing.assert_allclose(one[key], values, rtol=1e-10, atol=1e-10)
    assert {path.parent.name for path in files} == {"run0"}


def test_a_group_of_one_changes_nothing(tmp_path):
    X = table(n_rows=N_ROWS)
    fit = partial(DenoisingAutoencoder(2, n_init=2, **quick()).fit, X)
    alone = outcome(fit())
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/s", rank=0, world_size=1)
    try:
        grouped = outcome(fit())
    finally:
        distributed.destroy_process_group()
    for key, values in alone.items():
        np.testing.assert_array_equal(grouped[key], values)


def test_torchrun_trains_one_model_on_the_command_line(tmp_path):
    np.save(tmp_path / "X.npy", table(n_rows=N_ROWS))
    settings = ["--model", "Autoencoder", "--max-epochs", "3", "--random-state", "0"]
    fit = ["-m", "narrows", "fit", "X.npy", *settings, "--training.precision", "float64"]
    several = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, *several, *fit, "--batch-size", "8", "-o", "m.safetensors"]
    run = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("Saved to") == 1
    precise = Training(precision="float64")
    model = Autoencoder(max_epochs=3, batch_size=16, random_state=0, training=precise)
    codes = model.fit(table(n_rows=N_ROWS)).transform(table(n_rows=N_ROWS))
    found = load(tmp_path / "m.safetensors").transform(table(n_rows=N_ROWS))
    np.testing.assert_allclose(found, codes, rtol=1e-10, atol=1e-10)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])

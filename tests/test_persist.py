"""Model files: the same bits after loading, and one clear sentence for every bad file."""

import copy
import errno
import json
import pickle
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
from helpers import TARGETS, estimators, short_name, table
from safetensors import safe_open
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import narrows
from narrows import Autoencoder, HierarchicalAutoencoder, Training, load, persist
from narrows._errors import ModelFileError
from narrows.engine.training import OPTIMIZERS
from narrows.nn.activation import ACTIVATIONS
from narrows.parts import PARTS, Part, to_json

SMALL = {"hidden_layer_sizes": (3,), "max_epochs": 2, "n_init": 2, "random_state": 0}
GOLDEN = Path(__file__).parent / "golden"
ROWS = 40

each_estimator = pytest.mark.parametrize("estimator", [*estimators(**SMALL)], ids=short_name)


def outputs(model, X) -> dict[str, np.ndarray]:
    """All that a fitted estimator computes, and its fitted attributes, as arrays."""
    codes = model.transform(X)
    found = {
        "transform": codes,
        "inverse_transform": model.inverse_transform(codes),
        "reconstruct": model.reconstruct(X),
        "first": model.inverse_transform(codes, level=1) if model._model.n_levels > 1 else codes,
        "fve_": model.fve_,
        "fve_restarts_": model.fve_restarts_,
        "names": np.array(model.get_feature_names_out().tolist()),
        "best": np.array([model._best, model.n_iter_, model.n_features_in_]),
        "restarts": np.stack([restart.reconstruct(X) for restart in model.restarts_]),
    }
    if model._target_shape == model._event_shape:
        found |= {"fve": model.fve(X), "score_samples": model.score_samples(X)}
    return found | {f"history.{name}": values for name, values in model.history_.items()}


def assert_same(model, twin, X) -> None:
    assert type(twin) is type(model)
    assert vars(twin).keys() == vars(model).keys()
    assert to_json(twin.get_params(deep=False)) == to_json(model.get_params(deep=False))
    assert_equal(outputs(model, X), outputs(twin, X))


def assert_equal(expected, found) -> None:
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name].dtype == values.dtype, name
        assert found[name].tobytes() == values.tobytes(), name


def saved(model, path: Path) -> Path:
    model.save(path)
    return path


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "model.safetensors"


@pytest.fixture(scope="module")
def fitted():
    return HierarchicalAutoencoder(**SMALL).fit(table(n_rows=ROWS))


# The same bits


@each_estimator
@pytest.mark.parametrize("likelihood", PARTS["likelihood"])
@pytest.mark.parametrize("circular", [(), (1,)], ids=["plain", "circular"])
def test_loading_gives_the_same_bits(estimator, likelihood, circular, path):
    X = table(likelihood, ROWS)
    model = clone(estimator).set_params(likelihood=likelihood, circular=circular).fit(X)
    assert_same(model, load(saved(model, path)), X)


@each_estimator
def test_copies_and_pickles_give_the_same_bits(estimator):
    X = table(n_rows=ROWS)
    model = clone(estimator).fit(X)
    assert_same(model, pickle.loads(pickle.dumps(model)), X)
    assert_same(model, copy.deepcopy(model), X)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_is_pickled_and_saved(activation, path):
    X = table(n_rows=ROWS)
    model = Autoencoder(**SMALL | {"activation": activation}).fit(X)
    assert_same(model, pickle.loads(pickle.dumps(model)), X)
    assert_same(model, load(saved(model, path)), X)


def test_equal_estimators_give_equal_files(fitted, tmp_path):
    one = saved(fitted, tmp_path / "one.safetensors")
    two = saved(load(one), tmp_path / "two.safetensors")
    assert one.read_bytes() == two.read_bytes()


def test_every_kind_of_part_is_rebuilt(path):
    model = Autoencoder(
        n_components=np.int64(2),
        circular=np.array([0]),
        circular_output="cos_sin",
        likelihood=narrows.StudentT(degrees_of_freedom=np.float32(3)),
        architecture=narrows.Dense(np.array([4, 3]), "tanh", dropout=0.2, tied=True),
        code=narrows.Plain(activation=ACTIVATIONS["sigmoid"]),
        ordering=narrows.Collective(level_weights=np.array([2.0, 1.0])),
        penalties=["l1", narrows.Decorrelation(strength=0.5)],
        missing="ignore",
        max_epochs=2,
        n_init=3,
        random_state=(1, 2),
        training=Training(keep_restarts=False, precision="float64", patience=None),
    )
    frame = pd.DataFrame(table(n_rows=ROWS), columns=list("abcdef"))
    model.fit(frame)
    twin = load(saved(model, path))
    assert_equal(outputs(model, frame), outputs(twin, frame))
    assert twin.loss_terms(frame) == model.loss_terms(frame)
    assert twin.feature_names_in_.tolist() == list("abcdef")
    settings = twin.get_params()
    assert settings["likelihood"].degrees_of_freedom == 3
    assert settings["ordering"].level_weights == (2.0, 1.0)
    assert settings["code"].activation == "sigmoid"
    assert settings["architecture"].hidden_layer_sizes == (4, 3)
    assert settings["penalties"] == ("l1", settings["penalties"][1])
    assert settings["training"].patience is None
    assert settings["random_state"] == (1, 2)


def test_events_and_targets_of_any_shape(path):
    X, target = table(n_rows=ROWS).reshape(-1, 3, 2), table(n_rows=ROWS, n_values=4)
    model = HierarchicalAutoencoder(3, ordering="boosted", **SMALL).fit(X, target=target)
    twin = load(saved(model, path))
    assert_same(model, twin, X)
    assert_equal({"f": model.fve(X, target=target)}, {"f": twin.fve(X, target=target)})
    assert_equal({"c": model.contribution(X, 2)}, {"c": twin.contribution(X, 2)})


def test_a_restart_is_saved_alone(fitted, path):
    worse = fitted.restarts_[1 - fitted._best]
    assert_same(worse, load(saved(worse, path)), table(n_rows=ROWS))


def test_what_only_training_needs_is_left_out(path):
    seen = []
    model = Autoencoder(**SMALL, training=Training(callbacks=[seen.append]))
    for generator in (np.random.RandomState(0), np.random.default_rng(0)):
        model.set_params(random_state=generator).fit(table(n_rows=ROWS))
        twin = load(saved(model, path))
        assert twin.random_state is None
        assert twin.training.callbacks == ()
        assert model.training.callbacks == [seen.append]
    n_seen = len(seen)
    twin.fit(table(n_rows=ROWS))
    assert len(seen) == n_seen > 0


def test_the_file_holds_the_fit_not_later_settings(path):
    X = table(n_rows=ROWS)
    model = Autoencoder(**SMALL).fit(X).set_params(n_components=4, likelihood="poisson")
    twin = load(saved(model, path))
    assert_same(model, twin, X)
    assert twin.transform(X).shape == (ROWS, 2)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("keep_restarts", [True, False])
def test_partial_fit_goes_on_where_it_stopped(optimizer, keep_restarts, path):
    parts = table(n_rows=90).reshape(3, 30, -1)
    training = Training(optimizer=optimizer, keep_restarts=keep_restarts, weight_decay=0.01)
    architecture = narrows.Dense((3,), dropout=0.3)
    model = Autoencoder(**SMALL, architecture=architecture, training=training, batch_size=8)
    for part in parts[:2]:
        model.partial_fit(part)
    twin = load(saved(model, path)).partial_fit(parts[2])
    assert_same(model.partial_fit(parts[2]), twin, parts[2])


NEW_PROCESS = """
import sys
from pathlib import Path
from narrows.persist import describe
folder = Path(sys.argv[1])
files = sorted(folder.glob("*.safetensors"))
assert len({describe(file)["sha256"] for file in files}) == len(files)
assert "torch" not in sys.modules
import numpy as np
import narrows
sys.path.insert(0, sys.argv[2])
from test_persist import outputs
for file in files:
    np.savez(file.with_suffix(".npz"), **outputs(narrows.load(file), np.load(folder / "X.npy")))
"""


def test_a_new_process_gives_the_same_bits(tmp_path):
    X = table("categorical", ROWS)
    np.save(tmp_path / "X.npy", X)
    models = {}
    for i, likelihood in enumerate(TARGETS):
        if likelihood in ("gaussian", "categorical", "student_t", "bernoulli"):
            model = HierarchicalAutoencoder(3, likelihood=likelihood, circular=(1,), **SMALL)
            models[likelihood] = model.set_params(ordering=sorted(PARTS["ordering"])[i % 4]).fit(X)
            models[likelihood].save(tmp_path / f"{likelihood}.safetensors")
    command = [sys.executable, "-c", NEW_PROCESS, str(tmp_path), str(Path(__file__).parent)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    for likelihood, model in models.items():
        with np.load(tmp_path / f"{likelihood}.npz") as found:
            assert_equal(outputs(model, X), dict(found))


def test_describe_reads_the_settings(fitted, path):
    settings = persist.describe(saved(fitted, path))
    assert settings["estimator"] == "HierarchicalAutoencoder"
    assert settings["format"] == persist.FORMAT
    assert settings["version"] == narrows.__version__
    assert settings["parameters"]["n_init"] == settings["n_restarts"] == 2
    assert settings["blueprint"]["likelihood"] == {"part": "likelihood.gaussian"}
    assert (settings["event_shape"], settings["n_iter"]) == ([6], 2)
    assert settings["feature_names"] is settings["stream"] is None


# Old files


def test_format_1_loads_for_ever():
    """Neither file is ever written anew; other builds of torch agree to rounding."""
    model = load(GOLDEN / "format-1.safetensors")
    with np.load(GOLDEN / "format-1.npz") as file:
        expected = dict(file)
    X = pd.DataFrame(expected.pop("X"), columns=["a", "b", "c", "d"])
    found = outputs(model, X)
    for name, values in expected.items():
        if values.dtype.kind == "f" and not name.startswith("history"):
            np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-5)
        else:
            np.testing.assert_array_equal(found[name], values)
    again = model.partial_fit(X)
    assert again._stream.n_passes == 3


# Errors: of saving


class OwnEstimator(Autoencoder):
    pass


class OwnPart(type(Autoencoder().training) if False else Part):
    pass


def _own(x):
    return x


@pytest.mark.parametrize(
    ("name", "instead"),
    [("model.pkl", "model.safetensors"), ("model", "model.safetensors"), ("", "model.safetensors")],
)
def test_the_name_says_what_the_file_is(fitted, name, instead):
    message = f"path='{name}' must end in '.safetensors'. Write '{instead}'."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        fitted.save(name)

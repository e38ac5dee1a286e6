"""Model files: the same bits after loading, and one clear sentence for every bad file."""

import copy
import errno
import json
import os
import pickle
import random
import re
import subprocess
import sys
from itertools import cycle
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
from safetensors import safe_open
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import narrows
from helpers import RANKED, TARGETS, estimators, short_name, table
from narrows import Autoencoder, HierarchicalAutoencoder, Training, load, persist
from narrows._errors import ModelFileError
from narrows.engine.training import OPTIMIZERS
from narrows.nn.activation import ACTIVATIONS
from narrows.parts import PARTS, to_json

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
    own = {"_held"}  # rows of the fit, which no file keeps
    assert vars(twin).keys() | own == vars(model).keys() | own
    assert list(twin.history_) == list(model.history_)
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
@pytest.mark.parametrize(("likelihood", "circular"), zip(PARTS["likelihood"], cycle([(), (1,)])))
def test_loading_gives_the_same_bits(estimator, likelihood, circular, path):
    X = table(likelihood, ROWS)
    model = clone(estimator).set_params(likelihood=likelihood, circular=circular).fit(X)
    assert_same(model, load(saved(model, path)), X)


@each_estimator
def test_copies_and_pickles_give_the_same_bits(estimator, tmp_path):
    X = table(n_rows=ROWS)
    model = clone(estimator).fit(X)
    assert_same(model, pickle.loads(pickle.dumps(model)), X)
    assert_same(model, copy.deepcopy(model), X)
    joblib.dump(model, tmp_path / "model.joblib")
    assert_same(model, joblib.load(tmp_path / "model.joblib"), X)


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
        circular=(0,),
        circular_output="cos_sin",
        likelihood=narrows.StudentT(3.0),
        architecture=narrows.Dense((4, 3), "tanh", dropout=0.2, tied=True),
        code=narrows.Plain(activation=ACTIVATIONS["sigmoid"]),
        ordering=narrows.Collective(level_weights=[2.0, 1.0]),
        penalties=["l1", narrows.Decorrelation(strength=0.5)],
        missing="ignore",
        max_epochs=2,
        n_init=3,
        random_state=(1, 2),
        training=Training(keep_restarts=False, precision="float64", patience=None),
    )
    frame = pd.DataFrame(table(n_rows=ROWS), columns=list("abcdef"))
    expected = outputs(model.fit(frame), frame)
    terms = model.loss_terms(frame)
    model.set_params(  # the same values, as they come out of arrays
        n_components=np.int64(2),
        circular=np.array([0]),
        likelihood__degrees_of_freedom=np.float32(3),
        architecture__hidden_layer_sizes=np.array([4, 3]),
        ordering__level_weights=np.array([2.0, 1.0]),
    )
    twin = load(saved(model, path))
    assert_equal(expected, outputs(twin, frame))
    assert twin.loss_terms(frame) == terms
    assert twin.feature_names_in_.tolist() == list("abcdef")
    settings = twin.get_params()
    expected = {
        "n_components": 2,
        "circular": (0,),
        "likelihood__degrees_of_freedom": 3.0,
        "architecture__hidden_layer_sizes": (4, 3),
        "architecture__tied": True,
        "ordering__level_weights": (2.0, 1.0),
        "code__activation": "sigmoid",
        "penalties": ("l1", settings["penalties"][1]),
        "random_state": (1, 2),
        "training__patience": None,
    }
    assert {name: settings[name] for name in expected} == expected
    assert settings["penalties"][1].strength == 0.5


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
    model = Autoencoder(**SMALL).fit(X).set_params(n_components=4, likelihood="laplace")
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


def test_partial_fit_continues_a_fit(fitted, path):
    twin, X = load(saved(fitted, path)), table(n_rows=ROWS, seed=1)
    assert_same(copy.deepcopy(fitted).partial_fit(X), twin.partial_fit(X), X)


NEW_PROCESS = """
import sys
from itertools import cycle
from pathlib import Path
from narrows.persist import describe
files = sorted(Path(sys.argv[1]).glob("*.safetensors"))
assert len({describe(file)["sha256"] for file in files}) == len(files) == int(sys.argv[2])
assert "torch" not in sys.modules
import numpy as np
import narrows
for file in files:
    model, X = narrows.load(file), np.load(file.with_suffix(".X.npy"))
    outputs = [model.transform(X), model.reconstruct(X), model.fve(X), model.score_samples(X)]
    np.savez(file.with_suffix(".npz"), *outputs, *model.history_.values())
"""


def test_a_new_process_gives_the_same_bits(tmp_path):
    expected = {}
    for i, likelihood in enumerate(TARGETS):
        ordering = RANKED[i % len(RANKED)]
        settings = {"ordering": ordering, "likelihood": likelihood, "circular": (i % 3,)}
        X = table(likelihood, ROWS)
        model = HierarchicalAutoencoder(3, **settings, **SMALL).fit(X)
        model.save(tmp_path / f"{likelihood}.safetensors")
        np.save(tmp_path / f"{likelihood}.X.npy", X)
        found = [model.transform(X), model.reconstruct(X), model.fve(X), model.score_samples(X)]
        expected[likelihood] = [*found, *model.history_.values()]
    command = [sys.executable, "-c", NEW_PROCESS, str(tmp_path), str(len(TARGETS))]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    for likelihood, arrays in expected.items():
        with np.load(tmp_path / f"{likelihood}.npz") as found:
            assert_equal({f"arr_{i}": values for i, values in enumerate(arrays)}, dict(found))


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


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.safetensors")), ids=lambda path: path.stem)
def test_old_files_load_for_ever(path):
    """Files of `golden` are never written anew; other builds of torch agree to rounding."""
    with np.load(path.with_suffix(".npz")) as file:
        expected = dict(file)
    X = pd.DataFrame(expected.pop("X"), columns=list("abcdef"))
    found = outputs(load(path), X)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        if values.dtype.kind == "f":
            np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-5)
        else:
            np.testing.assert_array_equal(found[name], values)


def test_old_files_continue():
    model = load(GOLDEN / "format-1-stream.safetensors")
    before = model.fve_[-1]
    for _ in range(5):
        model.partial_fit(pd.DataFrame(table(n_rows=ROWS), columns=list("abcdef")))
    assert model.fve_[-1] > before


# Errors of saving


class OwnEstimator(Autoencoder):
    pass


class OwnLikelihood(narrows.Laplace):
    pass


def own_activation(x):
    return x


def message(text: str) -> str:
    return f"^{re.escape(text)}$"


@pytest.mark.parametrize("name", ["model.pkl", "model", ""])
def test_the_name_says_what_the_file_is(fitted, name):
    text = f"path='{name}' must end in '.safetensors'. Write 'model.safetensors'."
    with pytest.raises(ValueError, match=message(text)):
        fitted.save(name)


def test_only_fitted_estimators_are_saved(path):
    with pytest.raises(NotFittedError, match=r"^This Autoencoder instance is not fitted yet"):
        Autoencoder().save(path)


def test_an_estimator_of_ones_own(path):
    text = (
        "OwnEstimator is an estimator of your own and cannot be written to a model file. "
        "Save one of narrows, or write joblib.dump(estimator, 'model.joblib')."
    )
    with pytest.raises(TypeError, match=message(text)):
        OwnEstimator(**SMALL).fit(table(n_rows=ROWS)).save(path)


@pytest.mark.parametrize(
    ("settings", "kind", "text"),
    [
        (
            {"likelihood": OwnLikelihood()},
            TypeError,
            "OwnLikelihood() is a part of your own and cannot be written to a file. "
            "Keep the estimator in memory, or add the part to narrows.parts.PARTS.",
        ),
        (
            {"architecture": narrows.Dense((3,), own_activation)},
            TypeError,
            f"architecture__activation={own_activation!r} is a function of your own and cannot be "
            "written to a model file. Write one of 'identity', 'silu', 'elu', 'relu', "
            "'leaky_relu', 'gelu', 'selu', 'softplus', 'tanh', 'sigmoid', 'sin' and fit again, or "
            "write joblib.dump(estimator, 'model.joblib').",
        ),
        (
            {"training": Training(clip_norm=np.inf)},
            ValueError,
            "training__clip_norm=inf cannot be written to a model file, which holds finite "
            "numbers only. Write set_params(training__clip_norm=...) with a finite number first.",
        ),
        (
            {"random_state": 1j},
            TypeError,
            "random_state=1j cannot be written to a model file. Write a number or a name.",
        ),
    ],
    ids=["part", "function", "infinite", "kind"],
)
def test_what_a_file_cannot_hold(settings, kind, text, path):
    model = Autoencoder(**SMALL).fit(table(n_rows=ROWS)).set_params(**settings)
    with pytest.raises(kind, match=message(text)):
        model.save(path)
    assert not path.exists()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES], ids=errno.errorcode.get)
def test_a_failed_save_leaves_the_old_file(fitted, path, code, monkeypatch):
    content = saved(fitted, path).read_bytes()

    def write_half(self, data):
        with open(self, "wb") as stream:
            stream.write(data[: len(data) // 2])
        raise OSError(
            code, {errno.ENOSPC: "No space left on device"}.get(code, "Permission denied")
        )

    monkeypatch.setattr(Path, "write_bytes", write_half)
    reason = "no space left on device" if code == errno.ENOSPC else "permission denied"
    with pytest.raises(
        OSError, match=message(f"Cannot write '{path}': {reason}. Nothing was changed.")
    ):
        Autoencoder(**SMALL).fit(table(n_rows=ROWS)).save(path)
    assert path.read_bytes() == content
    assert [*path.parent.iterdir()] == [path]


def test_a_file_that_grows_too_large_leaves_the_old_one(fitted, path):
    resource = pytest.importorskip("resource")
    content = saved(fitted, path).read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"file too large\. Nothing was changed\.$"):
            fitted.save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == content
    assert [*path.parent.iterdir()] == [path]


def test_processes_that_save_to_one_path_do_not_mix(path, tmp_path):
    """A third process loads all the while, and always finds one of the two models, whole."""
    X = table(n_rows=ROWS)
    models = [Autoencoder(k, **SMALL).fit(X) for k in (1, 2)]
    models[0].save(path)
    contents = []
    for model in models:
        model.save(tmp_path / "alone.safetensors")
        contents.append((tmp_path / "alone.safetensors").read_bytes())
    children = []
    for model in models:
        if (child := os.fork()) == 0:
            status = 1
            try:
                for _ in range(60):
                    model.save(path)
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    seen, ended = [], []
    while len(ended) < 2:
        seen.append(load(path).n_components)
        ended += [status for child in children for pid, status in [wait(child)] if pid]
    assert ended == [0, 0]
    assert set(seen) == {1, 2}
    assert path.read_bytes() in contents
    assert sorted(tmp_path.iterdir()) == sorted([path, tmp_path / "alone.safetensors"])


def wait(child: int) -> tuple[int, int]:
    """Return a child that has ended and its status; 0 if it goes on, or had been waited for."""
    try:
        return os.waitpid(child, os.WNOHANG)
    except ChildProcessError:
        return 0, 0


def test_a_missing_folder(fitted, tmp_path):
    path = tmp_path / "none" / "model.safetensors"
    text = f"Cannot write '{path}': there is no folder '{path.parent}'."
    with pytest.raises(FileNotFoundError, match=message(text)):
        fitted.save(path)


# Errors of loading

FOREIGN = "'{}' is not a model of narrows: {}. Write the name of a file that save wrote."
DAMAGED = "'{}' is damaged: {}. Copy it again from its origin, or save the estimator again."
UNFIT = (
    f"'{{}}' was written by narrows {narrows.__version__} and cannot be rebuilt by "
    f"{narrows.__version__}. {{}} Save the estimator again, or install the other version."
)
TRUNCATED = "it is truncated, or its header was changed"
TAMPERED = "its content is not what was saved (the SHA-256 differs)"


def refused(path: Path, text: str) -> None:
    with pytest.raises(ModelFileError, match=message(text)):
        load(path)


def test_a_missing_file_and_a_folder(fitted, path):
    saved(fitted, path)
    wrong = path.with_name("modle.safetensors")
    text = f"There is no file '{wrong}'. Did you mean 'model.safetensors'?"
    for read in (load, persist.describe):
        with pytest.raises(FileNotFoundError, match=message(text)):
            read(wrong)
    with pytest.raises(IsADirectoryError):
        load(path.parent)


def test_files_that_are_not_models(path):
    for content in (
        b"PK\x03\x04 a zip, as torch writes it",
        b"\x80\x04\x95 a pickle",
        b"a,b\n1,2\n3,4",
    ):
        path.write_bytes(content)
        refused(path, FOREIGN.format(path, "it is not a safetensors file"))
    for header in ({}, {"format": "pt"}, None):
        path.write_bytes(safetensors.numpy.save({"a": np.zeros(3)}, header))
        refused(path, FOREIGN.format(path, "another program wrote this safetensors file"))


def test_truncated_files(fitted, path):
    content = saved(fitted, path).read_bytes()
    for n_bytes in (0, 5, 20, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:n_bytes])
        refused(path, DAMAGED.format(path, TRUNCATED))
    path.write_bytes(content + b"more")
    refused(path, DAMAGED.format(path, TRUNCATED))


def rewritten(path: Path, change, *, sign: bool = True) -> None:
    """Write a file anew after `change(settings, arrays)`, with a valid checksum or the old one."""
    with safe_open(path, framework="numpy") as file:
        settings = json.loads(file.metadata()["narrows"])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(settings, arrays)
    if sign:
        settings["sha256"] = persist.digest(settings, arrays)
    header = {"narrows": json.dumps(settings)}
    path.write_bytes(safetensors.numpy.save(arrays, header))


@pytest.mark.parametrize(
    "change",
    [
        lambda settings, arrays: arrays["input_mean"].__setitem__(0, 7),
        lambda settings, arrays: arrays.update(more=np.zeros(1)),
        lambda settings, arrays: settings["blueprint"].update(circular=[0]),
        lambda settings, arrays: settings.update(sha256="0" * 64),
    ],
)
def test_tampered_files(fitted, path, change):
    rewritten(saved(fitted, path), change, sign=False)
    refused(path, DAMAGED.format(path, TAMPERED))


def test_files_from_a_newer_format(fitted, path):
    rewritten(saved(fitted, path), lambda settings, arrays: settings.update(format=2))
    text = (
        f"'{path}' was written by a newer narrows (format 2); this one reads up to 1. "
        "Write: pip install -U narrows"
    )
    refused(path, text)
    with pytest.raises(ModelFileError, match=message(text)):
        persist.describe(path)


@pytest.mark.parametrize(
    "tensor",
    [
        {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [0, 2**62, 2**62], "data_offsets": [0, 0]},
        {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 4]},
    ],
    ids=["type", "empty", "huge"],
)
def test_tensors_that_no_model_has(fitted, path, tensor):
    with safe_open(saved(fitted, path), framework="numpy") as file:
        header = json.dumps({"__metadata__": file.metadata(), "a": tensor}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(tensor["data_offsets"][1]))
    refused(path, DAMAGED.format(path, TRUNCATED))


def test_settings_that_cannot_be_read(path):
    deep = "[" * 200_000 + "]" * 200_000
    for text in ("", "no JSON", "[]", "5", '{"format": NaN}', deep, "{" * 9, '{"format": 1}'):
        path.write_bytes(safetensors.numpy.save({"a": np.zeros(3)}, {"narrows": text}))
        refused(path, DAMAGED.format(path, "its settings cannot be read"))


def _set(*keys, to):
    """Return a change that sets one value of the settings."""

    def change(settings, arrays):
        for key in keys[:-1]:
            settings = settings[key]
        settings[keys[-1]] = to

    return change


@pytest.mark.parametrize("name", [*persist._HEADER, "format"])
@pytest.mark.parametrize("value", [{"a": [1.5]}, [None], 1.5], ids=["dict", "list", "number"])
def test_settings_of_the_wrong_kind(fitted, path, name, value):
    rewritten(saved(fitted, path), _set(name, to=value), sign=name != "sha256")
    with pytest.raises(ModelFileError, match=f"^'{re.escape(str(path))}' .*\\.$"):
        load(path)


HUGE = 10**15


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            _set("estimator", to="Autoencode"),
            "The estimator Autoencode is not known. Did you mean 'Autoencoder'?",
        ),
        (
            _set("parameters", "n_component", to=2),
            "HierarchicalAutoencoder has no setting 'n_component'. Did you mean 'n_components'?",
        ),
        (
            _set("parameters", "n_components", to="two"),
            "HierarchicalAutoencoder does not take n_components='two'.",
        ),
        (
            _set("parameters", "hidden_layer_sizes", to=[8, "8"]),
            "HierarchicalAutoencoder does not take hidden_layer_sizes=(8, '8').",
        ),
        (
            _set("parameters", "training", to={"part": "likelihood.laplace"}),
            "HierarchicalAutoencoder does not take training=Laplace().",
        ),
        (
            _set("parameters", "likelihood", to={"part": "likelihood.os:system"}),
            "The part likelihood.os:system is not known to this version of narrows.",
        ),
        (
            _set("blueprint", "likelihood", to={"part": "ordering.nested"}),
            "Blueprint does not take likelihood=Nested().",
        ),
        (
            _set("blueprint", "n_components", to=HUGE),
            "n_components=1000000000000000 is not a whole number from 1 to {all}.",
        ),
        (
            _set("event_shape", to=[HUGE]),
            "event_shape=1000000000000000 is not a whole number from 1 to {all}.",
        ),
        (
            _set("n_restarts", to=HUGE),
            "n_restarts=1000000000000000 is not a whole number from 1 to {network}.",
        ),
        (_set("n_restarts", to=1), "The tensors are not those of the network."),
        (_set("blueprint", "circular", to=[1]), "The sizes of the network exceed its tensors."),
        (
            _set("blueprint", "circular", to=[1, 1]),
            "circular=[1, 1] does not name different components in order.",
        ),
        (
            _set("blueprint", "architecture", "hidden_layer_sizes", to=[HUGE]),
            "The sizes of the network exceed its tensors.",
        ),
        (
            _set("blueprint", "architecture", "activation", to="__import__"),
            "activation='__import__' is not known. Known are: identity, silu, elu, relu, "
            "leaky_relu, gelu, selu, softplus, tanh, sigmoid, sin; or give a function of a tensor.",
        ),
        (_set("event_shape", to=[2, 2]), "The tensors are not those of the network."),
        (_set("best", to=2), "best=2 is not a whole number from 0 to 1."),
        (_set("n_iter", to=3), "n_iter=3 is not a whole number from 2 to 2."),
        (_set("feature_names", to=["a"]), "feature_names=['a'] are not 6 names."),
        (
            lambda settings, arrays: arrays.update(input_mean=np.zeros(7)),
            "The tensor input_mean has the shape (7,), not (6,).",
        ),
        (
            lambda settings, arrays: arrays.update(more=np.zeros(7)),
            "The tensor more has the shape (7,), not None.",
        ),
        (
            lambda settings, arrays: arrays.pop("history.best_loss"),
            "The tensor history.best_loss has the shape None, not (2,).",
        ),
    ],
)
def test_settings_that_do_not_fit(fitted, path, change, reason):
    n_numbers = {
        "all": sum(values.size for values in persist._arrays_of(fitted).values()),
        "network": sum(values.numel() for values in fitted._ensemble.parameters()),
    }
    rewritten(saved(fitted, path), change)
    refused(path, UNFIT.format(path, reason.format(**n_numbers)))


def test_settings_that_cannot_be_computed_with(path):
    model = Autoencoder(**SMALL, likelihood=narrows.StudentT()).fit(table(n_rows=ROWS))
    wrong = _set("blueprint", "likelihood", "degrees_of_freedom", to=-1)
    rewritten(saved(model, path), wrong)
    with pytest.raises(ModelFileError):
        load(path)


def test_a_state_of_the_optimiser_that_does_not_fit(path):
    def change(settings, arrays):
        arrays["stream.optimizer.exp_avg"] = np.zeros(3, np.float32)

    rewritten(saved(Autoencoder(**SMALL).partial_fit(table(n_rows=ROWS)), path), change)
    refused(path, UNFIT.format(path, "The state of the optimiser does not fit the network."))


def test_whatever_is_in_a_file_the_error_is_the_same_kind(path):
    """Flip, cut and insert bytes; the seed and the file are fixed."""
    draw = random.Random(0)
    content = (GOLDEN / "format-1-fit.safetensors").read_bytes()
    header = int.from_bytes(content[:8], "little") + 8
    for trial in range(300):
        # Half of the time in the header, where there is more to go wrong.
        i = draw.randrange(header if trial % 2 else len(content))
        new = bytes([content[i] ^ draw.randrange(1, 256)])
        damaged = [
            content[:i],
            content[:i] + new + content[i + 1 :],
            content[:i] + new + content[i:],
        ]
        path.write_bytes(damaged[draw.randrange(3)])
        with pytest.raises(ModelFileError):
            load(path)

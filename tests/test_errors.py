"""Bad input: a clear sentence that says where it is and what to write instead; nothing is lost."""

import os
import re
import subprocess
import sys
from contextlib import nullcontext

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import sparse
from sklearn.exceptions import NotFittedError

import narrows
from helpers import estimators, quick, short_name, table
from narrows import Autoencoder, Dense, HierarchicalAutoencoder, Training
from narrows.data.arrays import ArraySource

X = table()
FRAME = pd.DataFrame(X, columns=list("abcdef"))
BITS = table("bernoulli")
EMPTY = (BITS + 1) * (np.arange(200) > 3)[:, None]


def ranked(**settings):
    return HierarchicalAutoencoder(**quick(**settings))


def plain(**settings):
    return Autoencoder(**quick(**settings))


def named(rows):
    """Rows of a file with a header."""
    return ArraySource(rows, tuple("abcdef"[: rows.shape[1]]))


def spoilt(value, rows=X):
    """Rows with two bad entries, the first in row 3, column 2."""
    rows = rows.copy()
    rows[3, 2] = rows[7, 1] = value
    return rows


def says(sentence):
    return pytest.raises((ValueError, TypeError), match=f"^{re.escape(sentence)}$")


# Data

FILL = "Fill them, drop their rows, or write missing='ignore'."
IN_COLUMN_2 = "(NaN): 2, the first in row 3, column 2. " + FILL
NOT_FITTED = (
    "This HierarchicalAutoencoder instance is not fitted yet. Call 'fit' with appropriate "
    "arguments before using this estimator."
)
COUNTS = (
    "needs counts (whole numbers from 0), but the data range from 0 to 2.5. "
    "Write 'gaussian' for real values, or round them."
)
SHARES = "Write likelihood=narrows.Categorical(normalise=True), or 'poisson' for counts."
DATA = {
    "nan": (lambda: ranked().fit(spoilt(np.nan)), f"X has missing entries {IN_COLUMN_2}"),
    "nan in a frame": (
        lambda: ranked().fit(pd.DataFrame(spoilt(np.nan), columns=list("abcdef"))),
        f"X has missing entries (NaN): 2, the first in row 3, column 'c'. {FILL}",
    ),
    "nan in a tensor": (
        lambda: ranked().fit(torch.as_tensor(spoilt(np.nan))),
        f"X has missing entries {IN_COLUMN_2}",
    ),
    "nan in a sparse matrix": (
        lambda: ranked().fit(sparse.csr_array(spoilt(np.nan))),
        f"X has missing entries {IN_COLUMN_2}",
    ),
    "nan in new rows": (
        lambda: ranked().fit(X).transform(spoilt(np.nan)),
        f"X has missing entries {IN_COLUMN_2}",
    ),
    "nan in the target": (
        lambda: ranked().fit(X, target=spoilt(np.nan)),
        f"target has missing entries {IN_COLUMN_2}",
    ),
    "nan in validation rows": (
        lambda: ranked().fit(X, validation=spoilt(np.nan)),
        f"validation has missing entries {IN_COLUMN_2}",
    ),
    "inf": (
        lambda: ranked(missing="ignore").fit(spoilt(-np.inf)),
        "X has infinite (inf) entries: 2, the first in row 3, column 2. Replace them.",
    ),
    "other features": (
        lambda: ranked().fit(X).transform(X[:, :5]),
        "X has 5 features, but HierarchicalAutoencoder is expecting 6 features as input.",
    ),
    "fewer named features": (
        lambda: ranked().fit(named(X)).transform(named(X[:, :5])),
        "X has 5 features, but the model was fitted on 6: a, b, c, d, e ... Pass the same "
        "features in the same order (of a file, 'table.csv:first,second,...').",
    ),
    "other features of a tensor": (
        lambda: ranked().fit(X).transform(torch.as_tensor(X[:, :5])),
        "X has events of shape (5,), but the model was fitted on (6,). "
        "Pass rows with the same features in the same order.",
    ),
    "other events": (
        lambda: ranked().fit(X).transform(X.reshape(-1, 2, 3)),
        "X has events of shape (2, 3), but the model was fitted on (6,). "
        "Pass rows with the same features in the same order.",
    ),
    "one dimension": (
        lambda: ranked().fit(torch.as_tensor(X[:, 0])),
        "X has one dimension; rows of values are needed. Write X.reshape(-1, 1) for one feature, "
        "X.reshape(1, -1) for one row.",
    ),
    "no rows": (
        lambda: ranked().fit(X[:0]),
        "Found array with 0 sample(s) (shape=(0, 6)) while a minimum of 2 is required by "
        "HierarchicalAutoencoder.",
    ),
    "no features": (
        lambda: ranked().fit(X[:, :0]),
        "Found array with 0 feature(s) (shape=(200, 0)) while a minimum of 1 is required by "
        "HierarchicalAutoencoder.",
    ),
    "one row": (
        lambda: ranked().fit(X[:1]),
        "Found array with 1 sample(s) (shape=(1, 6)) while a minimum of 2 is required by "
        "HierarchicalAutoencoder.",
    ),
    "one row of a tensor": (
        lambda: ranked().fit(torch.as_tensor(X[:1])),
        "Found 1 sample(s) of shape (6,), while a minimum of 2 is required by "
        "HierarchicalAutoencoder.",
    ),
    "text": (
        lambda: ranked().fit(np.array([["1", "a"], ["2", "b"]])),
        "The data has columns of text or dates: '0', '1'. Encode them as numbers or drop them.",
    ),
    "text in a frame": (
        lambda: ranked().fit(FRAME.assign(b="x", d="y")),
        "The data has columns of text or dates: 'b', 'd'. Encode them as numbers or drop them.",
    ),
    "text in polars": (
        lambda: ranked().fit(pl.DataFrame({"u": [1.0, 2.0], "v": ["x", "y"]})),
        "The data has columns of text or dates: 'v'. Encode them as numbers or drop them.",
    ),
    "no data": (
        lambda: ranked().fit(None),
        "The data is of type 'NoneType'. Pass an array, a frame, a sparse matrix, a tensor, "
        "a list of arrays, a Source or a path.",
    ),
    "not zero to one": (
        lambda: ranked(likelihood="bernoulli").fit(BITS * 3 - 1),
        "likelihood='bernoulli' needs values from 0 to 1, but the data range from -1 to 2. "
        "Rescale them, or write 'gaussian'.",
    ),
    "not zero to one in validation rows": (
        lambda: ranked(likelihood="bernoulli").fit(BITS, validation=BITS * 2),
        "likelihood='bernoulli' needs values from 0 to 1, but the data range from 0 to 2. "
        "Rescale them, or write 'gaussian'.",
    ),
    "not zero to one when scored": (
        lambda: ranked(likelihood="bernoulli").fit(BITS).fve(BITS * 2),
        "likelihood='bernoulli' needs values from 0 to 1, but the data range from 0 to 2. "
        "Rescale them, or write 'gaussian'.",
    ),
    "not counts": (
        lambda: ranked(likelihood="poisson").fit(BITS * 2.5),
        f"likelihood='poisson' {COUNTS}",
    ),
    "not counts either": (
        lambda: ranked(likelihood="negative_binomial").fit(BITS * 2.5),
        f"likelihood='negative_binomial' {COUNTS}",
    ),
    "negative shares": (
        lambda: ranked(likelihood="categorical").fit(BITS - 1),
        "likelihood='categorical' needs non-negative values, but the data range from -1 to 0. "
        "Write 'gaussian' for real ones.",
    ),
    "not shares": (
        lambda: ranked(likelihood="categorical").fit(BITS + 1),
        "likelihood='categorical' needs events that sum to 1, but the sums range from 6 to 12. "
        + SHARES,
    ),
    "empty shares": (
        lambda: ranked(likelihood=narrows.Categorical(normalise=True)).fit(EMPTY),
        "likelihood=Categorical(normalise=True) needs events with a positive sum, but 4 rows "
        "sum to 0. Drop these rows.",
    ),
    "shares with gaps": (
        lambda: ranked(likelihood="categorical", missing="ignore").fit(
            spoilt(np.nan, table("categorical"))
        ),
        "likelihood='categorical' needs whole events: with an entry missing, the shares of the "
        "others are unknown. Fill the missing entries or drop their rows.",
    ),
    "rows of the target": (
        lambda: ranked().fit(X, target=X[:3]),
        "target has 3 rows, but X has 200. Pass one target row per row of X.",
    ),
    "target of one dimension": (
        lambda: ranked().fit(X, target=X[:, 0]),
        "target has one dimension; rows of values are needed. Write target.reshape(-1, 1).",
    ),
    "target left out": (
        lambda: ranked().fit(X, target=X[:, :2]).fve(X),
        "The model was fitted on a target of shape (2,). Pass target= as well.",
    ),
    "weights": (
        lambda: ranked().fit(X, sample_weight=[1, 2]),
        "sample_weight.shape == (2,), expected (200,)!",
    ),
    "negative weights": (
        lambda: ranked().fit(X, sample_weight=-np.ones(200)),
        "Negative values in data passed to `sample_weight`.",
    ),
    "no weight": (
        lambda: ranked().fit(X, sample_weight=np.zeros(200)),
        "Sample weights must contain at least one non-zero number.",
    ),
    "codes": (
        lambda: ranked(circular=(0,)).fit(X).inverse_transform(X),
        "Z has shape (200, 6), but codes have 2 components (or 3 with pairs). "
        "Write Z of shape (rows, components), of at least one row.",
    ),
    "no codes": (
        lambda: ranked().fit(X).inverse_transform(np.zeros((0, 2))),
        "Z has shape (0, 2), but codes have 2 components. "
        "Write Z of shape (rows, components), of at least one row.",
    ),
    "ranked without ordering": (
        lambda: ranked(ordering="none").fit(X),
        "ordering='none' ranks nothing. Write Autoencoder(...), or one of: "
        "collective, boosted, shared, nested.",
    ),
    "one component to swap": (
        lambda: ranked(n_components=1).fit(X).swap_check(X),
        "swap_check compares neighbours. Write n_components=2, say, and fit.",
    ),
    "level": (
        lambda: ranked().fit(X).reconstruct(X, 3),
        "level=3 must be from 1 to 2. Levels count components, of which level k uses the first k; "
        "they need an ordering, as in HierarchicalAutoencoder.",
    ),
    "level without ordering": (
        lambda: plain().fit(X).reconstruct(X, 1),
        "level=1 must be left out: nothing is ranked here. Levels count components, of which "
        "level k uses the first k; they need an ordering, as in HierarchicalAutoencoder.",
    ),
    "contribution": (
        lambda: ranked().fit(X).contribution(X, 1),
        "contribution needs ordering='boosted', where components add up. "
        "Write reconstruct(X, level=...) for other orderings.",
    ),
    "agreement": (
        lambda: ranked().fit(X).agreement(X),
        "agreement compares restarts. Write n_init=8, say, and fit again.",
    ),
    "size of a tied target": (
        lambda: plain(architecture=Dense(tied=True)).fit(X, target=X[:, :2]),
        "tied=True needs a target of the input's size, but the input has 6 values and the target "
        "2. Write tied=False.",
    ),
}


@pytest.mark.parametrize(("call", "sentence"), DATA.values(), ids=DATA)
def test_bad_data(call, sentence):
    with says(sentence):
        call()


METHODS = {
    name: (lambda model, name=name: getattr(model, name)(X))
    for name in (
        *("transform", "inverse_transform", "reconstruct", "fve", "score", "score_samples"),
        *("loss_terms", "agreement", "dependence", "swap_check", "get_feature_names_out"),
    )
} | {name: (lambda model, name=name: getattr(model, name)) for name in ("fve_", "restarts_")}


@pytest.mark.parametrize("use", METHODS.values(), ids=METHODS)
def test_not_fitted(use):
    with pytest.raises(NotFittedError, match=f"^{re.escape(NOT_FITTED)}$"):
        use(ranked())


# Settings

LIKELIHOODS = (
    "gaussian, normal, bernoulli, continuous_bernoulli, categorical, poisson, negative_binomial, "
    "laplace, student_t"
)
SETTINGS = {
    "likelihood": (
        {"likelihood": "gausian"},
        f"likelihood='gausian' is not known. Did you mean 'gaussian'? Known are: {LIKELIHOODS}.",
    ),
    "strange likelihood": (
        {"likelihood": "zzz"},
        f"likelihood='zzz' is not known. Known are: {LIKELIHOODS}.",
    ),
    "no likelihood": (
        {"likelihood": Dense()},
        f"likelihood=Dense() is not a likelihood. Write one of the names {LIKELIHOODS}, "
        "or an object such as StudentT().",
    ),
    "ordering": (
        {"ordering": "colective"},
        "ordering='colective' is not known. Did you mean 'collective'? "
        "Known are: none, collective, boosted, shared, nested.",
    ),
    "code": (
        {"code": "plane"},
        "code='plane' is not known. Did you mean 'plain'? Known are: plain, top_k, "
        "gaussian, laplace, logistic_normal, dirichlet, relaxed_categorical, power_spherical.",
    ),
    "penalty": (
        {"penalties": ["l2"]},
        "penalty='l2' is not known. Did you mean 'l1'? Known are: l1, kl_sparsity, revival, "
        "contractive, decorrelation, divergence, total_correlation, mmd.",
    ),
    "architecture": (
        {"architecture": 3},
        "architecture=3 is not an architecture. Write one of the names dense, "
        "convolutional, recurrent, or an object such as Recurrent().",
    ),
    "activation": (
        {"activation": "slu"},
        "activation='slu' is not known. Did you mean 'silu'? Known are: identity, silu, elu, relu, "
        "leaky_relu, gelu, selu, softplus, tanh, sigmoid, sin; or give a function of a tensor.",
    ),
    "scale": (
        {"scale": "standart"},
        "scale='standart' is not known. Did you mean 'standard'? "
        "Known are: auto, standard, channel, global, none.",
    ),
    "missing": (
        {"missing": "ignored"},
        "missing='ignored' is not known. Did you mean 'ignore'? Known are: error, ignore.",
    ),
    "circular_output": (
        {"circular_output": "pairs"},
        "circular_output='pairs' is not known. Known are: angle, cos_sin.",
    ),
    "n_components": (
        {"n_components": 0},
        "n_components=0 must be a whole number, at least 1.",
    ),
    "learning_rate": (
        {"learning_rate": 0},
        "learning_rate=0 must be a positive number. Write 5e-3.",
    ),
    "hidden_layer_sizes": (
        {"hidden_layer_sizes": (8, 0)},
        "hidden_layer_sizes=(8, 0) must be whole numbers >= 1. "
        "Write (128, 128), or () for a linear model.",
    ),
    "circular": (
        {"circular": (2,)},
        "circular=(2,) must name different components, counted from 0, of the 2 there are. "
        "Write circular=(0,) for the first.",
    ),
    "training": (
        {"training": 3},
        "training=3 is not Training settings. Write training=narrows.Training(patience=10), say.",
    ),
    "optimizer": (
        {"training": Training(optimizer="adm")},
        "optimizer='adm' is not known. Did you mean 'adam'? "
        "Known are: adam, adamw, nadam, rmsprop, sgd.",
    ),
    "lr_schedule": (
        {"training": Training(lr_schedule="cos")},
        "lr_schedule='cos' is not known. Did you mean 'cosine'? "
        "Known are: cosine, linear, constant.",
    ),
    "split": (
        {"training": Training(split="block")},
        "split='block' is not known. Did you mean 'blocks'? Known are: random, blocks, groups.",
    ),
    "precision": (
        {"training": Training(precision="double")},
        "precision='double' is not known. Known are: auto, float32, bfloat16, float64.",
    ),
    "validation_fraction": (
        {"training": Training(validation_fraction=1)},
        "validation_fraction=1 must be in [0, 1). Write 0.1.",
    ),
    "patience": (
        {"training": Training(patience=0)},
        "patience=0 must be at least 1. Write None for none.",
    ),
    "weight_decay": (
        {"training": Training(weight_decay=-1)},
        "weight_decay=-1 must be at least 0. Write 0.",
    ),
    "clip_norm": (
        {"training": Training(clip_norm=0)},
        "clip_norm=0 must be positive. Write None for none.",
    ),
    "dropout": (
        {"architecture": Dense(dropout=1)},
        "dropout=1 must be in [0, 1). Write 0.1, say.",
    ),
    "init": (
        {"architecture": Dense(init="zeros")},
        "init='zeros' is not known. Known are: pca, random, xavier, kaiming, orthogonal.",
    ),
    "linear_path": (
        {"architecture": Dense(linear_path=False)},
        "init='pca' starts the linear path, but linear_path=False. Write init='random'.",
    ),
    "level_weights": (
        {"ordering": narrows.Collective(level_weights=(1, -2))},
        "level_weights=(1, -2) must be 2 numbers >= 0, one per component, not all 0.",
    ),
    "rate": (
        {"ordering": narrows.Nested(rate=2)},
        "rate=2 must be in (0, 1). Write None for equal lengths.",
    ),
    "degrees_of_freedom": (
        {"likelihood": narrows.StudentT(0)},
        "degrees_of_freedom=0 must be positive. Write 4.0.",
    ),
}


@pytest.mark.parametrize(("settings", "sentence"), SETTINGS.values(), ids=SETTINGS)
def test_bad_setting(settings, sentence):
    with says(sentence):
        plain(**settings).fit(X)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, 2.5) for name in ("n_components", "max_epochs", "batch_size", "n_init")),
        *(("n_components", "2"), ("hidden_layer_sizes", "big")),
        *(("learning_rate", "auto"), ("learning_rate", float("nan")), ("circular", "first")),
        *(("random_state", "x"), ("random_state", -1), ("verbose", "yes"), ("penalties", 3)),
        *(("activation", 3), ("likelihood", narrows.Poisson), ("scale", None), ("missing", True)),
    ],
)
def test_a_wrong_value_is_named_and_shown(name, value):
    with pytest.raises((ValueError, TypeError), match=f"^{name}={re.escape(repr(value))} "):
        plain(**{name: value}).fit(X)


@pytest.mark.parametrize(
    ("name", "value"),
    [("patience", "long"), ("validation_fraction", "some"), ("clip_norm", "x"), ("callbacks", 3)],
)
def test_a_wrong_value_of_training_is_named_and_shown(name, value):
    with pytest.raises((ValueError, TypeError), match=f"^{name}={value!r} "):
        plain(training=Training(**{name: value})).fit(X)


def test_misspelt_names_of_settings_are_corrected():
    with pytest.raises(TypeError, match=r"has no parameter 'n_componets'\. Did you mean"):
        Autoencoder(n_componets=3)
    with pytest.raises(ValueError, match=r"n_componets.*Did you mean 'n_components'"):
        plain().set_params(n_componets=3)
    with pytest.raises(ValueError, match=r"patence.*Did you mean 'patience'"):
        plain(training=Training()).set_params(training__patence=3)
    assert plain().set_params(training__patience=3).training.patience == 3


@pytest.mark.parametrize(
    ("groups", "sentence"),
    [
        (None, "split='groups' needs to know the groups. Pass groups=, one label a row."),
        ([1, 2], "groups has 2 labels for 200 rows. Pass one label a row."),
        (
            np.ones(200, int),
            "groups has the one label 1, so none can be held out. "
            "Pass at least two, or write split='random'.",
        ),
    ],
    ids=["none", "few", "one"],
)
def test_bad_groups(groups, sentence):
    with says(sentence):
        plain(training=Training(split="groups")).fit(X, groups=groups)


# What is allowed, with a warning


def warns(sentence):
    return pytest.warns(UserWarning, match=f"^{re.escape(sentence)}$")


@pytest.mark.parametrize("frame", [False, True], ids=["array", "frame"])
def test_constant_features_are_named(frame):
    rows = FRAME.assign(b=1.0, e=2.0)
    name = "'b'" if frame else "1"
    rows = rows if frame else rows.to_numpy()
    sentence = (
        f"2 of 6 features are constant, the first is {name}; "
        "they carry no information and are only centred."
    )
    with warns(sentence):
        model = ranked().fit(rows)
    np.testing.assert_allclose(model.reconstruct(rows)[:, [1, 4]], [[1, 2]] * 200, atol=0.05)
    assert (model.fve_ > 0).all()


WARNED = """import numpy as np
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from narrows import Autoencoder
X = np.random.default_rng(0).normal(size=(200, 6))
Autoencoder(2, max_epochs=2).fit(X * [0, 1, 1, 1, 1, 1])
Autoencoder(7, max_epochs=2).fit_transform(X)
make_pipeline(Autoencoder(7, max_epochs=2)).fit(X)
cross_val_score(Autoencoder(7, max_epochs=2), X, cv=2)
"""


def test_a_warning_names_the_line_of_the_user(tmp_path):
    """In a process without the type checks of these tests, whose frames would stand between."""
    (tmp_path / "script.py").write_text(WARNED)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "always::UserWarning", "script.py"]
    run = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    found = re.findall(r"^(.*):(\d+): UserWarning", run.stderr, re.MULTILINE)
    assert [(os.path.basename(file), int(line)) for file, line in found] == [
        ("script.py", line) for line in (6, 7, 8, 9, 9)
    ], run.stderr


def test_data_without_variation_are_explained():
    rows = np.full((50, 3), 7.0)
    with warns(
        "3 of 3 features are constant, the first is 0; "
        "they carry no information and are only centred."
    ):
        model = ranked().fit(rows)
    np.testing.assert_array_equal(model.reconstruct(rows), rows)
    np.testing.assert_array_equal(model.fve(rows), 1)


def test_features_that_are_never_seen_are_named():
    rows = X.copy()
    rows[:, 4] = np.nan
    with warns(
        "1 of 6 features are missing in all rows, the first is 4; "
        "they carry no information and are taken as 0."
    ):
        model = ranked(missing="ignore").fit(rows)
    assert np.isfinite(model.transform(rows)).all()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda rows: 1e-25 * np.sign(rows),
            "X is too small for the squares that training sums: it reaches 1e-25. "
            "Write scale='auto'.",
        ),
        (
            lambda rows: rows + np.array([0, 3e9, 0, 0, 0, 0]),
            "X lies too far from zero: feature 1 reaches 3e+09, where float32 cannot tell its "
            "values apart. Write scale='auto'.",
        ),
    ],
)
def test_rows_that_single_precision_cannot_tell_apart_have_to_be_scaled(change, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        ranked(scale="none").fit(change(X))
    double = ranked(scale="none", training=Training(precision="float64", patience=None))
    assert double.fit(change(X)).score(change(X)) < 1
    assert ranked().fit(change(X)).score(change(X)) > 0.3


def test_features_whose_squares_vanish_are_taken_as_constant():
    rows = X * [1, 1, 1, 1e-170, 1, 1]
    with warns(
        "1 of 6 features are too small to be squared, the first is 3; they are taken as constant."
    ):
        assert 0 < ranked().fit(rows).score(rows) < 1


@pytest.mark.parametrize(
    ("rows", "settings", "sentence"),
    [
        (np.sign(X) * [1, 1, 4e160, 1, 1, 1], {}, "feature 2 reaches 4e+160. Divide it by 4e+160."),
        (np.sign(FRAME) * 3e200, {}, "feature 'a' reaches 3e+200. Divide it by 3e+200."),
        (
            np.sign(X) * 3e40,
            {"scale": "none"},
            "feature 0 reaches 3e+40. Divide it by 3e+40, or write scale='auto'.",
        ),
    ],
    ids=["column", "frame", "unscaled"],
)
@pytest.mark.parametrize("where", ["X", "target"])
def test_rows_too_large_to_be_squared_are_refused(rows, settings, sentence, where):
    sentence = f"{where} is too large for the squares that training sums: {sentence}"
    inputs, target = (rows, None) if where == "X" else (X, rows)
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        ranked(**settings).fit(inputs, target=target)


def test_overcomplete_codes_work():
    sentence = (
        "n_components=7 exceeds the 6 features: the code is overcomplete, and can copy its input "
        "unless something else constrains it."
    )
    for estimator in estimators(**quick(n_components=7)):
        free = estimator._choose_parts().free
        with warns(sentence) if free else nullcontext():
            estimator.fit(X)
        assert not free or estimator.score(X) > 0.98, short_name(estimator)


# Nothing is lost


REFUSED = {
    "missing entries": np.full((20, 4), np.nan),
    "one row": BITS[:1],
    "out of range": BITS * 3,
    "out of range, fewer features": BITS[:, :5] * 3,
}


@pytest.mark.parametrize("rows", REFUSED.values(), ids=REFUSED)
def test_a_refused_fit_leaves_the_model_as_it_was(rows):
    model = plain(likelihood="bernoulli").fit(BITS)
    codes = model.transform(BITS)
    with pytest.raises(ValueError, match=r"NaN|minimum|range"):
        model.fit(rows)
    np.testing.assert_array_equal(model.transform(BITS), codes)


def test_a_lone_weight_is_refused_as_a_lone_row_is():
    with pytest.raises(ValueError, match=r"^sample_weight .*two rows"):
        ranked().fit(X, sample_weight=np.arange(200) == 3)

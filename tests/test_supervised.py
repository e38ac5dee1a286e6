"""Classifiers and regressors on layers: what goes through to both phases, and what is undone."""

import re

import numpy as np
import pandas as pd
import pytest
import torch

from helpers import quick, table
from narrows import Dense, ModuleRegressor, StackedAutoencoder, StackedClassifier, StackedRegressor
from narrows._errors import NonFiniteLossError
from narrows.estimators import _fitting

X = table(n_rows=80)
LABELS = (X[:, 0] > 0).astype(int)
BOTH = pytest.mark.parametrize("kind", [StackedClassifier, StackedRegressor])


def small(kind=StackedClassifier, **settings):
    own = {"layer_epochs": 2, **settings, "hidden_layer_sizes": (8, 4)}
    return kind(**quick(**own))


@BOTH
def test_groups_reach_both_phases(kind):
    groups = np.repeat(np.arange(20), 4)
    model = small(kind, split="groups").fit(X, LABELS, groups=groups)
    for one in (model.pretrained_, model.network_):
        held = set(groups[one._held])
        assert (np.isin(groups, list(held)).sum(), len(held)) == (len(one._held), 6)
    with_more = small(kind, split="groups").fit(X, LABELS, groups=groups, unlabelled=X)
    assert len(with_more.pretrained_._held) == 48


@BOTH
def test_one_restart_of_several_may_be_kept(kind):
    kept = small(kind, n_init=2, keep_restarts=False).fit(X, LABELS)
    every = small(kind, n_init=2).fit(X, LABELS)
    np.testing.assert_array_equal(kept.predict(X), every.predict(X))


@BOTH
def test_rows_come_from_a_file_too(kind, tmp_path):
    np.save(tmp_path / "rows.npy", X)
    path = tmp_path / "rows.npy"
    model, own = small(kind).fit(path, LABELS), small(kind).fit(X, LABELS)
    np.testing.assert_array_equal(model.predict(path), own.predict(X))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        small(kind).fit(path, LABELS[:70])


@BOTH
def test_settings_of_the_training_are_set_by_name(kind):
    model = kind().set_params(training__patience=3)
    assert model.training.patience == 3
    with pytest.raises(TypeError, match="Did you mean 'max_epochs'"):
        kind(max_epoch=3)


def test_a_module_takes_settings_of_its_training_by_name():
    model = ModuleRegressor(torch.nn.Linear).set_params(training__patience=3)
    assert model.training.patience == 3


@BOTH
def test_an_interrupted_fit_leaves_the_last_one(kind, monkeypatch):
    model = small(kind).fit(X, LABELS)
    before = model.predict(X)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(_fitting, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X[:, :3], LABELS + 5)
    np.testing.assert_array_equal(model.predict(X), before)


def test_a_layer_that_fails_is_told():
    with pytest.raises(NonFiniteLossError, match=r"This was layer 1, trained by itself\. Write a"):
        small(layer_learning_rate=1e30).fit(X, LABELS)


def test_what_a_failed_second_phase_leaves_predicts():
    model = small(max_epochs=3)
    model.learning_rate, model.layer_learning_rate = 1e30, 1e-3
    with pytest.raises(NonFiniteLossError, match="The best weights before it are kept"):
        model.fit(X, LABELS)
    assert model.predict(X).shape == (80,)
    assert model.n_features_in_ == 6


def test_values_are_scaled_whatever_the_inputs_are():
    y = 1e6 + 1e3 * X[:, 0]
    found = [
        small(StackedRegressor, scale=scale, max_epochs=60).fit(X, y) for scale in ("none", "auto")
    ]
    assert min(model.score(X, y) for model in found) > 0.5


def test_a_first_pass_trains_the_layers():
    settings = quick(layer_epochs=2, hidden_layer_sizes=(8, 4))
    model = StackedAutoencoder(2, **settings).partial_fit(X)
    assert [phase["train_loss"].shape[0] for phase in model.phases_] == [2, 2, 2]
    idle = StackedAutoencoder(2, **settings | {"learning_rate": 1e-12}).partial_fit(X)
    assert model.fve(X)[0] > idle.fve(X)[0]
    codes = model.transform(X)
    model.partial_fit(X)
    assert len(model.phases_) == 3
    assert not torch.equal(torch.as_tensor(codes), torch.as_tensor(model.transform(X)))


@pytest.mark.parametrize(
    ("settings", "y", "message"),
    [
        (
            {},
            pd.array([1, 2, pd.NA, 1] * 20, dtype="Int64"),
            "y has missing entries (NaN): 20, the first in row 2. Pass rows without labels as "
            "unlabelled=.",
        ),
        (
            {},
            np.array(["a", "b", None, "a"] * 20, dtype=object),
            "y has missing entries (NaN): 20, the first in row 2. Pass rows without labels as "
            "unlabelled=.",
        ),
        (
            {"layer_learning_rate": -1},
            LABELS,
            "layer_learning_rate=-1 must be a positive number, or None for learning_rate. "
            "Write 1e-3.",
        ),
        (
            {"architecture": Dense((8,), decoder_layer_sizes=(5,))},
            LABELS,
            "decoder_layer_sizes=(5,) has no place here: each layer is undone by one of its own. "
            "Leave it out.",
        ),
    ],
)
def test_mistakes_say_what_to_write(settings, y, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        small(**settings).fit(X, y)

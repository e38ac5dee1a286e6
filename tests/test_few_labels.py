"""What classifiers for few labels share: labels, settings, warnings, names, files, samples."""

import pickle
import re

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import narrows
from helpers import quick, table
from narrows import Convolutional, Dense, Modules, SemiSupervisedAAE, SemiSupervisedVAE
from narrows.estimators import _fitting
from narrows.estimators._labels import divided

X = table(n_rows=60)
Y = np.where(np.arange(60) < 30, np.arange(60) % 2, -1)
WITHOUT = {
    SemiSupervisedVAE: "VariationalAutoencoder",
    SemiSupervisedAAE: "AdversarialAutoencoder",
}
same_bits = np.testing.assert_array_equal
both = pytest.mark.parametrize("kind", WITHOUT)
architectures = pytest.mark.parametrize(
    ("architecture", "shape"),
    [(None, (4,)), ("convolutional", (6, 5)), ("recurrent", (6, 5))],
    ids=["dense", "convolutional", "recurrent"],
)


def refused(message):
    return pytest.raises(ValueError, match=f"^{re.escape(message)}$")


def named(labels, dtype=object):
    """Labels of classes 0 and 1 as objects, the number -1 where they are not known."""
    found = np.array(labels, dtype=object)[Y]
    found[Y < 0] = -1
    return found.astype(dtype)


@both
def test_labels_are_text_beside_the_number_minus_one(kind):
    model = kind(**quick()).fit(X, named(["no", "yes"]))
    numbers = kind(**quick()).fit(X, Y)
    assert model.classes_.tolist() == ["no", "yes"]
    same_bits(model.predict(X), np.array(["no", "yes"])[numbers.predict(X)])
    same_bits(
        model.sample(3, label="yes", random_state=0), numbers.sample(3, label=1, random_state=0)
    )
    every = kind(**quick(max_epochs=1)).fit(X, np.where(X[:, 0] > 0, "a", "b"))
    assert every.classes_.tolist() == ["a", "b"]


@both
@pytest.mark.parametrize(
    ("labels", "dtype"),
    [([3, 7], int), ([np.int64(3), np.int64(7)], int), ([False, True], bool), ([0.0, 1.0], float)],
)
def test_objects_of_one_kind_are_labels_of_that_kind(kind, labels, dtype):
    model = kind(**quick(max_epochs=1)).fit(X, named(labels))
    assert model.classes_.dtype == dtype
    assert model.classes_.tolist() == labels
    assert model.predict(X).dtype == dtype
    assert model.sample(2, label=labels[1]).shape == (2, 6)


@both
def test_labels_that_all_differ_are_not_taken_for_amounts(kind):
    y = np.where(Y < 0, -1, np.arange(60))
    assert kind(**quick(max_epochs=1)).fit(X, y).classes_.tolist() == list(range(30))


TEXT = (
    "y holds the text '-1'. Write np.array(y, dtype=object), with the number -1 where a label is "
)


@both
@pytest.mark.parametrize(
    ("y", "message"),
    [
        (
            None,
            "{name} requires y to be passed, but the target y is None. Pass labels, -1 where one "
            "is not known; without any, fit {without}().",
        ),
        (
            np.full(60, -1),
            "y holds no label: all 60 are -1. Pass labels of some rows of each class; without any, "
            "fit {without}().",
        ),
        (
            [7] * 30 + [-1] * 30,
            "y holds one class alone, 7; a classifier needs two. Pass labels of all classes.",
        ),
        (
            [0.0, 1.0, np.nan] * 20,
            "y has missing entries (NaN): 20, the first in row 2. Write -1 where a label is not "
            "known.",
        ),
        (["a", "b", "-1"] * 20, f"{TEXT}not known."),
        (["a", "b", -1] * 20, f"{TEXT}not known."),
        (pd.Series(["a", "b", "-1"] * 20, dtype="string"), f"{TEXT}not known."),
        (
            np.array(["a", "b", "-1"] * 20, dtype=object),
            "y holds the text '-1'. Write the number -1 where a label is not known.",
        ),
        (
            np.array([0, "a", -1] * 20, dtype=object),
            "y holds labels of several kinds: int, str. Write all of them as text, or all as whole "
            "numbers.",
        ),
        (
            np.array([True, 2, -1] * 20, dtype=object),
            "y holds labels of several kinds: bool, int. Write all of them as text, or all as "
            "whole numbers.",
        ),
        (
            [0, 1],
            "y has 2 labels, but X has 60 rows. Pass one for each row, -1 where it is not known.",
        ),
    ],
)
def test_labels_that_do_not_fit_are_refused(kind, y, message):
    with refused(message.format(name=kind.__name__, without=WITHOUT[kind])):
        kind(**quick()).fit(X, y)


@both
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"class_prior": "labeled"},
            "class_prior='labeled' is not known. Did you mean 'labelled'? Known are: labelled, "
            "uniform.",
        ),
        ({"n_components": 0}, "n_components=0 must be a whole number, at least 1."),
        (
            {"architecture": Modules(torch.nn.Linear, torch.nn.Linear)},
            "Modules are of the sizes that they are written for, but here one architecture is both "
            "encoders, of different sizes. Write architecture=Dense((128,)), say.",
        ),
        (
            {"architecture": Dense((8,), tied=True)},
            "tied=True leaves the decoder no weights for the class. Write "
            "architecture=Dense((128,)), say.",
        ),
        (
            {"architecture": Convolutional(tied=True)},
            "tied=True leaves the decoder no weights for the class. Write "
            "architecture=Dense((128,)), say.",
        ),
        (
            {"split": "blocks"},
            "split='blocks' has no place here: rows are held out at random, class by class. Write "
            "Training(split='random').",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused(kind, settings, message):
    with refused(message):
        kind(**quick(**settings)).fit(X, Y)


@both
def test_labels_to_draw_that_do_not_fit_are_refused(kind):
    model = kind(**quick(max_epochs=1)).fit(X, Y)
    message = "The label 5 is not among those of the fit: 0, 1. Pass one of these."
    for label in (5, [0, 5, 1]):
        with refused(message):
            model.sample(3, label=label)
    with refused("label has 2 entries, but n_samples=3. Pass one for each row, or one for all."):
        model.sample(3, label=[0, 1])


@both
def test_same_seed_same_model(kind):
    one, same, other = (kind(**quick(random_state=seed)).fit(X, Y) for seed in (0, 0, 1))
    same_bits(one.predict_proba(X), same.predict_proba(X))
    same_bits(one.transform(X), same.transform(X))
    assert (one.predict_proba(X) != other.predict_proba(X)).any()
    assert one.history_["train_loss"].shape == (5, len(one._learner.terms), 1)


@both
def test_fitted_models_are_pickled(kind):
    model = kind(**quick()).fit(X, Y)
    other = pickle.loads(pickle.dumps(model))
    same_bits(model.predict_proba(X), other.predict_proba(X))
    same_bits(model.sample(3, random_state=0), other.sample(3, random_state=0))


@both
def test_the_autoencoder_is_kept_in_files(kind, tmp_path):
    model = kind(**quick(n_init=2)).fit(X, named(["no", "yes"]))
    inner, path = model.autoencoder_, tmp_path / "inner.safetensors"
    inner.save(path)
    other = narrows.load(path)
    assert type(other).__name__ == WITHOUT[kind]
    known = model.predict_proba(X) if kind is SemiSupervisedAAE else model.predict(X)
    same_bits(inner.transform(X, condition=known), other.transform(X, condition=known))
    names = inner._model.blueprint.trained_names
    terms = [model._learner.terms.index(name) for name in names]
    same_bits(other.history_["train_loss"], model.history_["train_loss"][:, terms])
    same_bits(other.history_["best_loss"], model.history_["best_loss"])


@both
def test_codes_have_names(kind):
    model = kind(3, **quick(max_epochs=1)).fit(X, Y)
    names = [f"{kind.__name__.lower()}{number}" for number in range(3)]
    assert model.get_feature_names_out().tolist() == names
    frame = model.set_output(transform="pandas").transform(X)
    assert frame.columns.tolist() == names
    same_bits(frame.to_numpy(), model.set_output(transform="default").transform(X))
    steps = make_pipeline(StandardScaler(), kind(3, **quick(max_epochs=1)))
    frame = steps.set_output(transform="pandas").fit(X, Y).transform(X)
    assert frame.columns.tolist() == names
    assert steps.get_feature_names_out().tolist() == names


@both
def test_batches_of_one_row(kind):
    model = kind(**quick(batch_size=1, max_epochs=1, validation_fraction=0)).fit(X, Y)
    assert np.isfinite(model.history_["train_loss"]).all()
    assert np.isfinite(model.history_["best_loss"]).all()


@both
def test_priors_of_the_fit_are_those_of_the_training(kind):
    y = np.where(np.arange(60) < 30, np.arange(60) % 3 > 0, -1)
    of_labels, equal = (
        kind(**quick(class_prior=prior)).fit(X, y) for prior in ("labelled", "uniform")
    )
    for model, wanted in ((of_labels, [1 / 3, 2 / 3]), (equal, [0.5, 0.5])):
        np.testing.assert_allclose(model.class_prior_, wanted)
        np.testing.assert_allclose(model._learner.log_prior.exp(), wanted, rtol=1e-6)
    judged = of_labels._learner.terms.index(
        "labels" if kind is SemiSupervisedVAE else "class_critic"
    )
    one, two = (model.history_["train_loss"][:, judged] for model in (of_labels, equal))
    assert (one != two).all()


def test_rows_are_held_out_where_classes_can_spare_them():
    seed = np.random.SeedSequence(0)
    for sizes, unlabelled, labelled in (
        ([200, 60, 50], 20, [6, 5]),
        ([90, 60, 50], 0, [6, 5]),
        ([200, 60, 40], 0, []),
    ):
        numbers = np.repeat([-1, 0, 1], sizes)
        train, held = divided(numbers, 0.1, seed)
        assert len(held.unlabelled) == unlabelled
        assert np.bincount(numbers[held.labelled]).tolist() == labelled
        together = torch.cat([*train, *held]).sort().values
        assert together.tolist() == list(range(sum(sizes)))
        assert divided(numbers, 0.0, seed)[1].n_rows == 0


@both
def test_where_classes_cannot_spare_rows_the_last_weights_are_kept(kind):
    """Though rows without labels could be held out."""
    rows = np.random.default_rng(0).normal(size=(300, 4))
    y = np.where(np.arange(300) < 20, np.arange(300) % 2, -1)
    model = kind(**quick(n_init=2)).fit(rows, y)
    same_bits(model.history_["best_epoch"], [5, 5])
    objective = model._learner.phases(1.0, [torch.Generator()])[0].names
    found = model.history_["train_loss"][:, : len(objective)].sum(1)
    np.testing.assert_allclose(model.history_["validation_loss"][1:], found, rtol=1e-6)


@both
@pytest.mark.parametrize("share", [0.3, 0.4])
def test_variance_explained_is_of_labelled_rows(kind, share):
    """Of 15 for each class 0.3 are too few to be held out, and 0.4 enough."""
    model = kind(**quick(validation_fraction=share)).fit(X, Y)
    train, held = divided(Y, share, _fitting.seeds(0, 5)[0])
    assert len(held.labelled) == (0 if share == 0.3 else 12)
    own = held.labelled if len(held.labelled) else train.labelled
    known = Y[own] if kind is SemiSupervisedVAE else np.eye(2)[Y[own]]
    wanted = model.autoencoder_.fve(X[own], condition=known)
    np.testing.assert_allclose(model.autoencoder_.fve_, wanted, rtol=1e-5)


@both
@architectures
@pytest.mark.filterwarnings("ignore:Codes do not follow the prior")
def test_every_architecture_reads_classes(kind, architecture, shape):
    rows = np.random.default_rng(0).normal(size=(60, *shape))
    model = kind(**quick(architecture=architecture, max_epochs=2, n_init=2)).fit(rows, Y)
    assert model.predict_proba(rows).shape == (60, 2)
    assert model.transform(rows).shape == (60, 2)
    zero, one = (model.sample(3, label=c, noise=False, random_state=0) for c in (0, 1))
    assert zero.shape == (3, *shape)
    assert (zero != one).any(axis=tuple(range(1, zero.ndim))).all()
    known = [0, 1] if kind is SemiSupervisedVAE else np.eye(2)
    codes = [model.autoencoder_.transform(rows, condition=[c]) for c in known]
    assert (codes[0] != codes[1]).any(1).all()


@both
def test_missing_entries_are_taken(kind):
    holes = X.copy()
    holes[::3, 2] = np.nan
    model = kind(**quick(missing="ignore")).fit(holes, Y)
    assert np.isfinite(model.history_["train_loss"]).all()
    assert np.isfinite(model.transform(holes)).all()


def test_codes_that_collapse_are_warned_of():
    message = (
        "All 2 components have collapsed: their posteriors are the prior, so codes tell nothing of "
        "rows. That is right where the class tells all; else write noise='learned' or a smaller "
        "noise, or a larger max_epochs."
    )
    with pytest.warns(UserWarning, match=f"^{re.escape(message)}$"):
        SemiSupervisedVAE(**quick(noise=100.0)).fit(X, Y)


def test_codes_that_miss_their_prior_are_warned_of():
    def far(n, rng):
        return rng.normal(size=(n, 2)) + 50

    with pytest.warns(UserWarning, match=r"^Codes do not follow the prior: component \d has mean"):
        SemiSupervisedAAE(**quick(prior=far, strength=0.01, critic_learning_rate=0.1)).fit(X, Y)


@both
def test_rows_without_a_label_do_not_count_in_the_score(kind):
    model = kind(**quick()).fit(X, Y)
    some = Y >= 0
    assert model.score(X, Y) == model.score(X[some], Y[some])
    weight = np.arange(len(X)) + 1.0
    assert model.score(X, Y, weight) == model.score(X[some], Y[some], weight[some])
    with refused("y holds no label: all entries are -1. Pass labels to score by."):
        model.score(X, np.full(len(X), -1))


@both
def test_a_mask_is_not_passed_over(kind):
    y = np.ma.array(np.abs(Y), mask=Y < 0)
    with refused("y is a masked array, in which 30 entries are masked. Write y.filled(-1)."):
        kind(**quick()).fit(X, y)

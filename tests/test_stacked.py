"""Layer-wise training, and the classifiers and regressors that start from it."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import narrows
from helpers import quick, table
from narrows import (
    Autoencoder,
    Checkpoint,
    Convolutional,
    Dense,
    Plain,
    StackedAutoencoder,
    StackedClassifier,
    StackedRegressor,
    Training,
)
from narrows.blueprint import Blueprint
from narrows.estimators._stacking import LAYERS
from narrows.model import Model
from narrows.nn.architecture import Sizes
from narrows.nn.code import Layout
from narrows.nn.ordering import Unordered
from narrows.objective.likelihoods import Gaussian

MINIBATCHES = "a weighted row stands in one minibatch, its copies in several (as for SGDClassifier)"
EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": MINIBATCHES,
    "check_sample_weight_equivalence_on_sparse_data": MINIBATCHES,
}
QUICK = {"layer_epochs": 3, "max_epochs": 80, "batch_size": 32, "learning_rate": 0.01}
FEW = {"layer_epochs": 1, "max_epochs": 20, "batch_size": 32, "learning_rate": 0.05}
DOUBLE = Training(precision="float64")  # single precision differs between batches by rounding
each_layer = pytest.mark.parametrize("layer", LAYERS)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:400, X[:200].std(0) > 0] / 16, y[:400]


@pytest.mark.filterwarnings("ignore:.*features are constant", "ignore:n_components=.* exceeds")
@parametrize_with_checks(
    [
        StackedClassifier((16,), **FEW, training=DOUBLE),
        StackedRegressor((16,), **FEW, training=DOUBLE),
    ],
    expected_failed_checks=lambda estimator: EXPECTED,
)
def test_sklearn_checks(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # else one check is skipped
    check(estimator)


# Layers


def stack(layer="plain", **settings):
    sizes = {"hidden_layer_sizes": (7, 5), "activation": "tanh"}
    return StackedAutoencoder(3, **quick(layer=layer, layer_epochs=4, **sizes, **settings))


def layers(network):
    """Weights and biases of the first restart, in the order in which they are applied."""
    pairs = zip(network.weights, network.biases, strict=True)
    return [[tensor[0].detach().numpy() for tensor in pair] for pair in pairs]


@each_layer
def test_the_unrolled_stack_is_its_layers_one_after_another(layer):
    """Each on the clean output of the one below, by its own way back."""
    X = table()
    model = stack(layer, fine_tune=False, init="orthogonal").fit(X)
    assert model.n_iter_ == 0
    x = ((X - X.mean(0)) / X.std(0)).astype(np.float32)
    encoder, decoder = model._model.encoder, model._model.decoder
    up = [
        [t[0].detach().numpy() for t in pair]
        for pair in zip(encoder.weights, encoder.biases, strict=True)
    ]
    down = [
        [t[0].detach().numpy() for t in pair]
        for pair in zip(decoder.weights, decoder.biases, strict=True)
    ]
    codes = x
    for number, (weight, bias) in enumerate(up):
        below, codes = codes, codes @ weight + bias
        codes = codes if number == 2 else np.tanh(codes)
        back = codes @ down[2 - number][0] + down[2 - number][1]
        error = ((below - (np.tanh(back) if number else back)) ** 2).mean()
        phase = model.phases_[number]
        # On all rows the loss is near that of the layer's validation rows, without corruption.
        if layer == "plain":
            assert error == pytest.approx(phase["best_loss"][0], rel=0.35)
        if layer == "contractive":
            np.testing.assert_array_equal(down[2 - number][0], weight.T)
        if number < 2:
            np.testing.assert_allclose(model.layer_codes(X, number + 1), codes, atol=1e-5)
    np.testing.assert_allclose(model.transform(X), codes, atol=1e-5)


def test_a_stack_of_one_linear_layer_reaches_pca():
    X = table()
    settings = quick(max_epochs=1, batch_size=50, hidden_layer_sizes=(), learning_rate=0.05)
    one = StackedAutoencoder(3, layer="plain", layer_epochs=200, fine_tune=False, **settings).fit(X)
    pca = Autoencoder(3, **settings).fit(X)
    np.testing.assert_allclose(one.fve(X), pca.fve(X), atol=5e-3)


@each_layer
def test_restarts_are_single_runs(layer):
    X = table()
    several = stack(layer, n_init=3).fit(X)
    single = stack(layer).fit(X)
    first = several.restarts_[0]
    np.testing.assert_allclose(first.transform(X), single.transform(X), rtol=1e-3, atol=1e-4)
    for phase, own in zip(several.phases_, single.phases_, strict=True):
        assert phase["train_loss"].shape[-1] == 3
        np.testing.assert_allclose(phase["best_loss"][:1], own["best_loss"], rtol=1e-5)


def test_fine_tuning_gains_and_layers_are_kept(tmp_path):
    X = table()
    before, after = stack(fine_tune=False).fit(X), stack(max_epochs=60).fit(X)
    assert after.fve(X)[0] > before.fve(X)[0] + 0.05
    np.testing.assert_allclose(
        after.history_["validation_loss"][0], before.history_["best_loss"], rtol=1e-6
    )
    after.save(tmp_path / "model.safetensors")
    again = narrows.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again.transform(X), after.transform(X))
    for phase, own in zip(again.phases_, after.phases_, strict=True):
        assert phase.keys() == own.keys()
        for name in own:
            np.testing.assert_array_equal(phase[name], own[name])


@pytest.mark.parametrize(("settings", "closed"), [((7, 5), True), (Convolutional((4,)), False)])
def test_a_dense_layer_is_contractive_in_closed_form(settings, closed):
    """Its Jacobian needs no copies of the rows, one per unit."""
    whole = Dense(settings, "tanh") if closed else settings
    stage = whole.stages(Sizes((1, 6, 6), (1, 6, 6), 3))[0]
    parts = stage.architecture, Plain("tanh"), Layout(stage.n_features), Unordered(), Gaussian()
    model = Model(Blueprint(*parts, (), stage.event, stage.event), 2)
    layer = model.encoding(torch.device("cpu")).layer
    assert (layer is not None) == closed
    assert layer is None or torch.equal(layer, model.encoder.weights[0])


def test_ctrl_c_among_the_layers_ends_the_fit(tmp_path):
    """A checkpoint brings it back; once the whole is trained, its best weights are kept."""

    def stack(interrupted_at, **training):
        def press(epoch):
            seen.append(epoch.n_epochs)
            if len(seen) == interrupted_at:
                raise KeyboardInterrupt

        seen = []
        settings = {"layer_epochs": 3, "max_epochs": 4, "callbacks": [press]}
        return StackedAutoencoder(2, **quick(**settings, **training)), seen

    X, safe = table(), Checkpoint(tmp_path, epochs=1)
    model, seen = stack(5, checkpoint=safe)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X)
    assert seen == [3] * 5  # in the second layer
    assert not hasattr(model, "n_iter_")
    whole, again = (stack(None, **own)[0].fit(X) for own in ({}, {"checkpoint": safe}))
    np.testing.assert_array_equal(again.transform(X), whole.transform(X))
    late, _ = stack(len(whole.phases_) * 3 + 1)
    with pytest.warns(UserWarning, match="^Training was interrupted after 1 epoch; the best"):
        assert late.fit(X).transform(X).shape == (200, 2)


def test_initialisations_have_the_spread_of_their_sources():
    generators = [torch.Generator().manual_seed(0)]
    for init, spread in (
        ("random", 1 / 300),
        ("kaiming", 2 / 300),
        ("xavier", 2 / 500),
        ("orthogonal", 1 / 300),
    ):
        encoder, _ = Dense((), init=init).build(Sizes((300,), (300,), 200))
        encoder.reset(generators)
        weight = encoder.weights[0].detach()[0]
        assert weight.var().item() == pytest.approx(spread, rel=0.03)
        if init == "orthogonal":
            torch.testing.assert_close(weight.T @ weight, torch.eye(200), atol=1e-5, rtol=0)


# Labels and values


@pytest.mark.parametrize("layer", [*LAYERS, None])
def test_a_classifier_learns_and_its_shares_add_up(digits, layer):
    X, y = digits
    names = np.array([f"digit {label}" for label in y])
    model = StackedClassifier((32, 16), layer=layer, **QUICK, random_state=0)
    model.fit(X[:300], names[:300], unlabelled=X[300:])
    assert model.score(X[300:], names[300:]) > 0.8
    np.testing.assert_allclose(model.predict_proba(X).sum(1), 1, rtol=1e-6)
    np.testing.assert_array_equal(model.classes_, np.unique(names))
    assert len(model.phases_) == (0 if layer is None else 2)
    assert len(model.history_["train_loss"]) == model.n_iter_


def test_the_second_phase_starts_from_the_first(digits):
    """With a vanishing step the encoder is the pretrained one, on the scale of all rows."""
    X, y = digits
    model = StackedClassifier(
        (16,), **{**QUICK, "learning_rate": 1e-12, "max_epochs": 1}, layer_learning_rate=0.01
    ).fit(X[:200], y[:200], unlabelled=X[200:])
    np.testing.assert_allclose(
        model.network_.transform(X), model.pretrained_.transform(X), atol=1e-5
    )
    np.testing.assert_allclose(model.network_._input_scale.centre, X.mean(0), atol=1e-12)


@pytest.mark.parametrize("layer", ["denoising", None])
def test_no_input_dropout_is_the_plain_training(digits, layer):
    X, y = digits
    plain = StackedClassifier((16,), layer=layer, **{**QUICK, "max_epochs": 5}, random_state=0)
    zero = clone(plain).set_params(input_dropout=0.0).fit(X, y)
    some = clone(plain).set_params(input_dropout=0.3).fit(X, y)
    expected = plain.fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(zero.predict_proba(X), expected)
    assert np.abs(some.predict_proba(X) - expected).max() > 1e-3
    np.testing.assert_array_equal(some.predict_proba(X), some.predict_proba(X))


def test_input_dropout_of_a_linear_model_is_a_ridge():
    """Masking x_j at rate p adds ``p / (1 - p) x_j² w_j²`` to the squared error, on average."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(800, 3)) * [1.0, 2.0, 0.5]
    y = X @ [1.0, -1.0, 2.0]
    training = Training(validation_fraction=0.0, patience=None)
    model = StackedRegressor(
        (3,),
        layer=None,
        activation="identity",
        scale="none",
        input_dropout=0.4,
        max_epochs=150,
        batch_size=100,
        learning_rate=0.02,
        random_state=0,
        training=training,
    ).fit(X, y)
    gram = X.T @ X
    ridge = np.linalg.solve(gram + 0.4 / 0.6 * np.diag(np.diag(gram)), X.T @ y)
    found = model.predict(np.eye(3)) - model.predict(np.zeros((1, 3)))
    np.testing.assert_allclose(found, ridge, atol=0.03)


def test_the_first_layer_has_the_likelihood_asked_for(digits):
    X, y = digits
    settings = {**QUICK, "max_epochs": 1, "scale": "none", "random_state": 0}
    model = StackedClassifier((16, 8), layer_likelihood="bernoulli", **settings).fit(X, y)
    alone = StackedAutoencoder(
        16,
        likelihood="bernoulli",
        hidden_layer_sizes=(),
        code=Plain("silu"),
        fine_tune=False,
        **settings,
    ).fit(X)
    np.testing.assert_array_equal(model.phases_[0]["best_loss"], alone.phases_[0]["best_loss"])
    message = (
        "likelihood='bernoulli' needs values from 0 to 1, but the data range from 0 to 2. "
        "Rescale them, or write 'gaussian'."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        model.fit(X * 2, y)


def test_several_questions_at_once(digits):
    X, y = digits
    Y = np.column_stack([y % 2, y // 3])
    model = StackedClassifier((32,), **QUICK, random_state=0).fit(X[:300], Y[:300])
    assert [len(known) for known in model.classes_] == [2, 4]
    shares = model.predict_proba(X)
    assert [share.shape for share in shares] == [(400, 2), (400, 4)]
    for share in shares:
        np.testing.assert_allclose(share.sum(1), 1, rtol=1e-6)
    assert ((model.predict(X[300:]) == Y[300:]).mean(0) > 0.7).all()


def test_a_regressor_gives_the_shape_of_y_and_its_units():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 5))
    y = 100 + 30 * np.tanh(X[:, 0] + X[:, 1]) + rng.normal(size=400)
    frame = pd.DataFrame(X, columns=list("abcde"))
    one = StackedRegressor((32,), **QUICK, random_state=0).fit(frame[:300], y[:300])
    two = clone(one).fit(frame[:300], np.column_stack([y, -y])[:300])
    assert one.score(frame[300:], y[300:]) > 0.9
    assert one.predict(frame).shape == (400,)
    assert two.predict(frame).shape == (400, 2)
    assert list(one.feature_names_in_) == list("abcde")
    counts = rng.poisson(np.exp(X[:, 0]))
    found = clone(one).set_params(likelihood="poisson").fit(frame, counts).predict(frame)
    assert found.min() >= 0


def test_pipelines_and_searches_work(digits):
    X, y = digits[0][:, 20:30], digits[1] > 4
    model = make_pipeline(StandardScaler(), StackedClassifier((16,), **QUICK, random_state=0))
    search = GridSearchCV(model, {"stackedclassifier__layer": ["denoising", None]}, cv=2)
    assert search.fit(X, y).best_score_ > 0.6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"y": None},
            "StackedClassifier requires y to be passed, but the target y is None. Rows without "
            "labels are for unlabelled=; without any labels, fit a StackedAutoencoder.",
        ),
        (
            {"y": [0, 1, np.nan] * 20},
            "y has missing entries (NaN): 20, the first in row 2. Pass rows without labels as "
            "unlabelled=.",
        ),
        (
            {"y": ["a"] * 60},
            "y holds one class alone, 'a'; a classifier needs two. Pass rows of all classes.",
        ),
        (
            {"layer": "denoise"},
            "layer='denoise' is not known. Did you mean 'denoising'? Known are: plain, denoising, "
            "contractive.",
        ),
        (
            {"strength": 1.5},
            "strength=1.5 of Masking must be above 0 and below 1, a share of the values. Write "
            "0.3, say.",
        ),
        ({"layer_epochs": 0}, "layer_epochs=0 must be a whole number, at least 1."),
        ({"init": "pca"}, "init='pca' is a start of the whole, not of layers. Write 'xavier'."),
        (
            {"init": "he"},
            "init='he' is not known. Known are: pca, random, xavier, kaiming, orthogonal.",
        ),
        (
            {"input_dropout": 1.0},
            "input_dropout=1.0 must be in [0, 1), the share of the inputs that each step masks. "
            "Write 0.2, or 0.0 for none.",
        ),
        (
            {"input_dropout": "0.2"},
            "input_dropout='0.2' must be in [0, 1), the share of the inputs that each step masks. "
            "Write 0.2, or 0.0 for none.",
        ),
        (
            {"hidden_layer_sizes": ()},
            "hidden_layer_sizes=() has no layer to train. Write (256,), say.",
        ),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    X = table(n_rows=60)
    y = change.pop("y", ["a", "b", "c"] * 20)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        StackedClassifier(**{"hidden_layer_sizes": (8,), **QUICK, **change}).fit(X, y)


def test_layers_that_do_not_exist_are_refused():
    model = stack(fine_tune=False).fit(table())
    with pytest.raises(
        ValueError, match=r"^layer=3 must be from 1 to 2. Write transform\(X\) for the code.$"
    ):
        model.layer_codes(table(), 3)


def test_codes_of_the_stack_may_be_bounded():
    codes = stack(code=Plain("sigmoid"), training=Training(patience=2)).fit_transform(table())
    assert codes.min() >= 0
    assert codes.max() <= 1


def test_missing_entries_are_not_rebuilt_under_another_target():
    X = table()
    X[3, 1] = np.nan
    stack(missing="ignore").fit(X)
    message = (
        "X has missing entries, and its layers learn to rebuild X while the target is another. "
        "Fill them first: Autoencoder(5, missing='ignore').fit(X).impute(X), say."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        stack(missing="ignore").fit(X, target=table()[:, :2])

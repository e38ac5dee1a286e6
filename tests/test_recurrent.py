"""Recurrent networks: torch's own as reference, padding that counts for nothing, lists."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

import narrows
from helpers import quick, table
from narrows import (
    Autoencoder,
    ContractiveAutoencoder,
    DenoisingAutoencoder,
    HierarchicalAutoencoder,
    Recurrent,
    SaltAndPepper,
)
from narrows.corruption import around_padding
from narrows.data.batches import Batch
from narrows.estimators import _fitting
from narrows.model import Model
from narrows.nn.architecture import Sizes
from narrows.parts import PARTS, load

same_bits = np.testing.assert_array_equal
each_cell = pytest.mark.parametrize("cell", ["gru", "lstm"])
SMALL = Recurrent(hidden_size=8)


def waves(n_rows=120, longest=9, seed=0):
    """Two sines a row, of a frequency, phase and length of its own."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, longest + 1, n_rows)
    lengths[:2] = longest
    angles = [rng.uniform(0.3, 0.8) * np.arange(n) + rng.uniform(0, 6) for n in lengths]
    return [np.column_stack([np.sin(a), 3 * np.cos(a) + 5]) for a in angles]


def padded(rows, n_steps=9):
    """Rows as one array, NaN after their ends."""
    out = np.full((len(rows), n_steps, *rows[0].shape[1:]), np.nan)
    for where, row in zip(out, rows, strict=True):
        where[: len(row)] = row
    return out


X = waves()


def fitted(estimator=Autoencoder, n_components=2, **settings):
    return estimator(n_components, **quick(**{"architecture": SMALL, **settings})).fit(X)


def plain(**settings):
    return Autoencoder(2, **quick(**settings))


def says(sentence):
    return pytest.raises((ValueError, TypeError), match=f"^{re.escape(sentence)}$")


# Networks


def reference(cells, cell, network):
    """The layers of torch that compute what one of the networks does."""
    n_inputs, (_, n_layers, hidden) = cells.input0.shape[1], cells.shape
    twin = {"gru": nn.GRU, "lstm": nn.LSTM}[cell](n_inputs, hidden, n_layers, batch_first=True)
    names = {"weight_ih": "input", "weight_hh": "hidden", "bias_ih": "b_input", "bias_hh": "b"}
    for layer in range(n_layers):
        for theirs, ours in names.items():
            value = getattr(cells, f"{ours}{layer}")[network].detach().T.squeeze()
            getattr(twin, f"{theirs}_l{layer}").data.copy_(value)
    return twin.double()


def networks(cell, n_layers=2, event=(7, 3), target=(5, 4)):
    sizes = Sizes(event, target, n_features=2, n_restarts=2, n_decoders=3)
    pair = Recurrent(cell, hidden_size=6, n_layers=n_layers).build(sizes)
    generators = [torch.Generator().manual_seed(r) for r in range(2)]
    for network in pair:
        network.reset(generators)
        network.double()
    return pair


@each_cell
@pytest.mark.parametrize("n_layers", [1, 2])
def test_encoder_is_that_of_torch_on_packed_sequences(cell, n_layers):
    encoder, _ = networks(cell, n_layers)
    lengths = torch.tensor([7, 1, 4, 6])
    x = torch.randn(4, 7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x[torch.arange(7) >= lengths[:, None]] = torch.nan
    kept = []
    found = encoder(x.flatten(1).expand(2, -1, -1), None, kept)
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    for network in range(2):
        _, state = reference(encoder.cells, cell, network)(packed)
        top = (state if cell == "gru" else state[0])[-1]
        expected = top @ encoder.weight[network] + encoder.bias[network]
        torch.testing.assert_close(kept[0][network], top)
        torch.testing.assert_close(found[network], expected)


@each_cell
@pytest.mark.parametrize("n_layers", [1, 2])
def test_decoder_is_that_of_torch_unrolled_from_the_code(cell, n_layers):
    _, decoder = networks(cell, n_layers)
    codes = torch.randn(6, 4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = decoder(codes)
    for network, code in enumerate(codes):
        first = code @ decoder.first_weight[network] + decoder.first_bias[network]
        h, *c = first.reshape(4, -1, n_layers, 6).permute(1, 2, 0, 3).contiguous()
        state = (h.tanh(), *c) if cell == "lstm" else h.tanh()
        steps = code[:, None].expand(-1, 5, -1)
        hidden, _ = reference(decoder.cells, cell, network)(steps, state)
        expected = hidden @ decoder.weight[network] + decoder.bias[network]
        torch.testing.assert_close(found[network], expected.flatten(1))
    some = decoder(codes[[1, 4]], slice(1, 2))
    torch.testing.assert_close(some, found[[1, 4]])


@each_cell
def test_weights_are_drawn_from_each_restart_in_its_range(cell):
    for network in networks(cell):
        for name, parameter in network.named_parameters():
            bound = 1 / (2 if name == "first_weight" else 6) ** 0.5
            drawn = name not in ("bias", "first_bias")
            assert parameter.abs().max() <= bound
            assert (parameter.abs().max() > bound / 2) == drawn
            first, second = parameter.chunk(2)
            assert torch.equal(first, second) != drawn


# Padding


@each_cell
def test_padding_contributes_exactly_nothing(cell):
    """Codes, scores, losses and gradients are those of sequences without it."""
    model = fitted(architecture=Recurrent(cell, 8), precision="float64", likelihood="student_t")
    alone = [model.transform([x]) for x in X[:9]], [model.score_samples([x]) for x in X[:9]]
    np.testing.assert_allclose(model.transform(X[:9]), np.concatenate(alone[0]), rtol=1e-10)
    np.testing.assert_allclose(model.score_samples(X[:9]), np.concatenate(alone[1]), rtol=1e-10)
    own = [model.loss_terms([x])["reconstruction"] for x in X[:9]]
    assert model.loss_terms(X[:9])["reconstruction"] == pytest.approx(np.mean(own), rel=1e-10)

    terms, gradients = zip(*(of_more_steps(model._model, n) for n in (9, 14)), strict=True)
    assert terms[0] == pytest.approx(terms[1], rel=1e-12)
    for few, more in zip(*gradients, strict=True):
        torch.testing.assert_close(few, more, rtol=1e-10, atol=1e-14)


def of_more_steps(model, n_steps):
    """The objective of a model that takes so many steps, and its gradients."""
    shape = (n_steps, 2)
    twin = Model(replace(model.blueprint, event_shape=shape, target_shape=shape), 1).double()
    twin.load_state_dict(model.state_dict())
    x = torch.from_numpy(padded(X, n_steps)).flatten(1)
    (term,) = twin.terms(Batch(x, x.nan_to_num(7.0), None, ~x.isnan()))
    return term.item(), torch.autograd.grad(term.sum(), list(twin.parameters()))


def test_codes_take_sequences_of_any_length():
    model = fitted(precision="float64")
    longer = waves(10, longest=20, seed=1)
    alone = np.concatenate([model.transform([x]) for x in longer])
    np.testing.assert_allclose(model.transform(longer), alone, rtol=1e-10)
    np.testing.assert_allclose(model.transform(padded(longer, 33)), alone, rtol=1e-10)
    short = [x[:4] for x in X]
    np.testing.assert_allclose(model.fve(padded(short, 4)), model.fve(padded(short, 33)))


def test_lists_and_padded_arrays_give_the_same_bits():
    model = fitted()
    ragged = np.empty(len(X), dtype=object)
    ragged[:] = X
    for rows in (
        padded(X),
        torch.from_numpy(padded(X)),
        tuple(X),
        [torch.from_numpy(x) for x in X],
        [pd.DataFrame(x, columns=["a", "b"]) for x in X],
        ragged,
    ):
        other = clone(model).fit(rows)
        same_bits(other.transform(rows), model.transform(X))
        same_bits(other.fve_, model.fve_)
    single = [x[:, 0] for x in X]
    model = clone(model).fit(single)
    same_bits(clone(model).fit(padded(single)).transform(padded(single)), model.transform(single))


def test_reconstructions_end_where_rows_end():
    model = fitted()
    as_array, as_list = model.reconstruct(padded(X)), model.reconstruct(X)
    same_bits(np.isnan(as_array), np.isnan(padded(X)))
    assert [row.shape for row in as_list] == [row.shape for row in X]
    same_bits(padded(as_list), as_array)
    every_step = model.inverse_transform(model.transform(X))
    assert np.isfinite(every_step).all()
    np.testing.assert_allclose(every_step[~np.isnan(as_array)], as_array[~np.isnan(as_array)])


# Scaling and scores


def test_all_steps_of_a_feature_are_scaled_alike():
    weight = np.random.default_rng(0).uniform(1, 2, len(X))
    model = clone(fitted()).fit(X, sample_weight=weight)
    steps, each = np.concatenate(X), np.repeat(weight, [len(x) for x in X])
    mean = np.average(steps, axis=0, weights=each)
    width = np.average((steps - mean) ** 2, axis=0, weights=each) ** 0.5
    np.testing.assert_allclose(model._input_scale.centre, np.tile(mean, 9), rtol=1e-12)
    np.testing.assert_allclose(model._input_scale.width, np.tile(width, 9), rtol=1e-12)


def test_variance_explained_is_that_of_the_steps_there_are():
    model = fitted(validation_fraction=0.0)
    steps, found = np.concatenate(X), np.concatenate(model.reconstruct(X))
    mean, width = steps.mean(0), steps.std(0)
    error, spread = (((steps - other) / width) ** 2 for other in (found, mean))
    assert model.score(X) == pytest.approx(1 - error.sum() / spread.sum(), rel=1e-4)
    losses = [(((x - y) / width) ** 2).sum() for x, y in zip(X, model.reconstruct(X), strict=True)]
    np.testing.assert_allclose(model.score_samples(X), -np.array(losses), rtol=1e-3)


@pytest.mark.parametrize(
    "likelihood", [name for name in PARTS["likelihood"] if name != "categorical"]
)
def test_padding_suits_every_likelihood(likelihood):
    rows = [row[: 2 + k % 5] for k, row in enumerate(table(likelihood))]
    model = plain(architecture=SMALL, likelihood=likelihood).fit(rows)
    assert model.score(rows) > 0
    assert np.isfinite(model.score_samples(rows)).all()


def test_a_constant_feature_is_named_once():
    rows = [np.column_stack([x, np.ones(len(x))]) for x in X]
    with pytest.warns(UserWarning, match="^1 of 3 features are constant, the first is 2;"):
        clone(fitted()).fit(rows)


# Together with everything else


def test_gaps_within_sequences_enter_as_the_mean_of_all_steps():
    model = fitted(missing="ignore")
    holed, filled = [x.copy() for x in X], [x.copy() for x in X]
    for x, y in zip(holed, filled, strict=True):
        x[1, 0], y[1, 0] = np.nan, np.concatenate(X)[:, 0].mean()
    np.testing.assert_allclose(model.transform(holed), model.transform(filled), atol=1e-5)
    holed[0][-1, 1] = np.nan  # one of two values: the step is there
    assert len(model.reconstruct(holed)[0]) == len(X[0])
    assert np.isfinite(model.reconstruct(holed)[0]).all()
    assert clone(model).fit(holed).score(X) > 0


@pytest.mark.parametrize("name", [name for name in PARTS["corruption"] if name != "none"])
def test_corruption_leaves_padding_alone(name):
    model = fitted(DenoisingAutoencoder, corruption=name)
    noisy = model.corrupt(X, random_state=0)
    assert [row.shape for row in noisy] == [row.shape for row in X]
    same_bits(np.isnan(model.corrupt(padded(X))), np.isnan(padded(X)))
    assert np.isfinite(np.concatenate(noisy)).all()
    assert np.isfinite(model.code_shift(X))
    assert np.isfinite(model.history_["train_loss"]).all()
    corruption, x = load(PARTS["corruption"][name])(), torch.arange(12.0).reshape(1, 4, 3)
    plain, around = (
        call(x, [torch.Generator().manual_seed(0)])
        for call in (corruption, lambda x, drawn: around_padding(corruption, x, drawn))
    )
    assert torch.equal(plain[0], around[0])


def test_padding_is_no_extreme():
    x = torch.tensor([[3.0, 5.0], [4.0, torch.nan], [5.0, 7.0]])[None]
    noisy, _ = around_padding(SaltAndPepper(0.999), x, [torch.Generator().manual_seed(0)])
    assert set(noisy[~noisy.isnan()].tolist()) <= {3.0, 5.0, 7.0}
    assert torch.equal(noisy.isnan(), x.isnan())


def test_emphasis_and_slopes_of_the_density():
    settings = {"corruption": "masking", "emphasis": (1.0, 0.5)}
    assert fitted(DenoisingAutoencoder, **settings).score(X) > 0
    model = fitted(DenoisingAutoencoder)
    slope = model.log_density_gradient(X).reshape(padded(X).shape)
    same_bits(np.isnan(slope), np.isnan(padded(X)))
    samples = model.langevin(X[:5], n_steps=2, random_state=0)
    assert [row.shape for row in samples] == [row.shape for row in X[:5]]


@each_cell
def test_contraction_is_brute_force_and_ignores_padding(cell):
    model = fitted(ContractiveAutoencoder, architecture=Recurrent(cell, 8), precision="float64")
    assert np.isfinite(model.history_["train_loss"]).all()
    found, encode = model.sensitivity(X[:5]), model._model.encode
    np.testing.assert_allclose(
        found, np.concatenate([model.sensitivity([x]) for x in X[:5]]), rtol=1e-10
    )
    rows = model._input_scale.apply(padded(X[:5]).reshape(5, -1), torch.float64)
    for row, expected in zip(rows, found, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda x: encode(x[None])[0, 0], row)
        assert float(jacobian.square().sum()) == pytest.approx(expected, rel=1e-10)
        assert (jacobian[:, row.isnan()] == 0).all()


@pytest.mark.parametrize("ordering", [name for name in PARTS["ordering"] if name != "none"])
def test_components_are_ranked(ordering):
    model = fitted(HierarchicalAutoencoder, 3, ordering=ordering, circular=(0,), max_epochs=15)
    assert (model.fve(X) > 0).all()
    assert [row.shape for row in model.reconstruct(X, level=1)] == [row.shape for row in X]
    if ordering == "boosted":
        parts = [np.concatenate(model.contribution(X, level)) for level in (1, 2, 3)]
        mean = np.concatenate(X).mean(0)  # the scaling's centre, but for the rows held out
        centre = model._input_scale.centre[:2]
        np.testing.assert_allclose(centre, mean)
        np.testing.assert_allclose(
            sum(parts) + centre, np.concatenate(model.reconstruct(X)), atol=1e-4
        )


def test_a_target_is_a_sequence_of_its_own():
    target = [x[:-1, :1] for x in X]
    model = Autoencoder(2, **quick(architecture=SMALL)).fit(X, target=target)
    assert model.score(X, target=target) > 0
    assert model.reconstruct(X).shape == (len(X), 8, 1)
    assert clone(model).fit(X, target=target, validation=(X[:30], target[:30])).fve_ > 0


def test_rows_of_weight_zero_are_as_removed():
    keep = np.random.default_rng(0).random(len(X)) < 0.7
    model = fitted(precision="float64")
    some = [x for x, kept in zip(X, keep, strict=True) if kept]
    codes = clone(model).fit(some, sample_weight=np.ones(len(some))).transform(X)
    weighted = clone(model).fit(X, sample_weight=keep.astype(float))
    np.testing.assert_allclose(weighted.transform(X), codes, rtol=1e-6)


def test_a_restart_is_the_same_alone(monkeypatch):
    settings = {"precision": "float64", "patience": 2, "ordering": "collective"}
    several = fitted(corruption="masking", n_init=3, **settings)
    split, order, *starts = _fitting.seeds(0, 5)
    for start, restart in zip(starts, several.restarts_, strict=True):
        children = [
            np.random.SeedSequence(0, spawn_key=seed.spawn_key) for seed in (split, order, start)
        ]
        monkeypatch.setattr(_fitting, "seeds", lambda state, n, children=children: children)
        single = fitted(corruption="masking", **settings)
        np.testing.assert_allclose(restart.fve_, single.fve_, rtol=1e-8)
        np.testing.assert_allclose(restart.transform(X), single.transform(X), rtol=1e-6)


@pytest.mark.parametrize("architecture", ["recurrent", Recurrent("lstm", 4, n_layers=2)])
def test_files_keep_every_bit(architecture, tmp_path):
    model = fitted(architecture=architecture, n_init=2, max_epochs=2)
    model.save(tmp_path / "model.safetensors")
    twin = narrows.load(tmp_path / "model.safetensors")
    same_bits(twin.transform(X), model.transform(X))
    same_bits(np.concatenate(twin.reconstruct(X)), np.concatenate(model.reconstruct(X)))
    same_bits(twin.partial_fit(X).transform(X), model.partial_fit(X).transform(X))


def test_lists_go_through_cross_validation():
    assert cross_val_score(clone(fitted()), X, cv=3).shape == (3,)


def sines(n_rows, seed):
    """A frequency and a phase make each row: two numbers, but not two directions."""
    rng = np.random.default_rng(seed)
    lengths = [10, *rng.integers(4, 11, n_rows - 1)]
    return [np.sin(rng.uniform(0.3, 1.2) * np.arange(n) + rng.uniform(0, 6.3)) for n in lengths]


def test_waves_are_learned_beyond_linear_codes():
    rows, new = sines(240, seed=1), sines(100, seed=2)
    settings = quick(architecture=Recurrent(hidden_size=16), max_epochs=40, batch_size=16)
    assert Autoencoder(2, **settings).fit(rows).score(new) > 0.8
    linear = Autoencoder(2, missing="ignore", hidden_layer_sizes=(), random_state=0)
    assert linear.fit(padded(rows, 10)).score(padded(new, 10)) < 0.7


# What is refused


RECURRENT = "For a list of sequences, one a row, write architecture='recurrent'."
REFUSED = {
    "no steps": (
        lambda: plain(architecture=SMALL).fit([*X[:3], X[3][:0]]),
        "Sequence 3 has no steps. Drop it.",
    ),
    "nothing but padding": (
        lambda: plain(architecture=SMALL).fit(np.append(padded(X), np.full((1, 9, 2), np.nan), 0)),
        "Sequence 120 has no steps. Drop it.",
    ),
    "nested lists": (
        lambda: plain(architecture=SMALL).fit([[1.0, 2.0], [3.0]]),
        "The data is a list of rows of different lengths. "
        "For sequences pass a list of arrays of shape (steps, features).",
    ),
    "other features": (
        lambda: plain(architecture=SMALL).fit([*X[:2], X[2][:, :1]]),
        "Sequence 2 has steps of shape (1,), sequence 0 of (2,). "
        "Pass sequences with the same features in the same order.",
    ),
    "other features than fitted": (
        lambda: fitted().transform([x[:, :1] for x in X]),
        "X has events of shape (9, 1), but the model was fitted on (9, 2). "
        "Pass rows with the same features in the same order.",
    ),
    "too many axes in a list": (
        lambda: plain(architecture=SMALL).fit([np.ones((4, 3, 2))] * 3),
        "Sequence 0 has shape (4, 3, 2). "
        "Pass arrays of shape (steps, features), or (steps,) for one feature.",
    ),
    "too many axes": (
        lambda: plain(architecture=SMALL).fit(table().reshape(-1, 2, 3, 1)),
        "Recurrent takes sequences of shape (steps, features), but X has events of shape "
        "(2, 3, 1). Write X.reshape(len(X), 2, -1).",
    ),
    "missing within": (
        lambda: plain(architecture=SMALL).fit(
            np.where(np.arange(9) == 2, np.nan, padded(X)[..., 0])
        ),
        f"X has missing entries (NaN): {sum(len(x) > 3 for x in X)}, the first in row 0, column 2. "
        "Fill them, drop their rows, or write missing='ignore'.",
    ),
    "longer than fitted": (
        lambda: fitted().reconstruct([X[0], np.ones((12, 2))]),
        "Sequence 1 has more than 9 steps, the most that the model was fitted on. Write "
        "[x[:9] for x in X], or fit on longer sequences; transform takes any length.",
    ),
    "dense": (
        lambda: plain().fit([x[:, 0] for x in X]),
        "X has one dimension; rows of values are needed. Write X.reshape(-1, 1) for one feature, "
        f"X.reshape(1, -1) for one row. {RECURRENT}",
    ),
    "dense, as objects": (
        lambda: plain().fit(np.array([x[:, 0] for x in X] + [None], dtype=object)[:-1]),
        "X has one dimension; rows of values are needed. Write X.reshape(-1, 1) for one feature, "
        f"X.reshape(1, -1) for one row. {RECURRENT}",
    ),
    "target of dense": (
        lambda: plain().fit(padded(X)[:, :3], target=X),
        f"target has {sum(map(len, X))} rows, but X has 120. Pass one target row per row of X. "
        f"{RECURRENT}",
    ),
    "shares": (
        lambda: plain(architecture=SMALL, likelihood="categorical").fit(padded(X)),
        "likelihood='categorical' needs whole events: with an entry missing, the shares of the "
        "others are unknown. Fill the missing entries or drop their rows.",
    ),
    "cell": (
        lambda: plain(architecture=Recurrent("rnn")).fit(X),
        "cell='rnn' is not known. Write 'gru' or 'lstm'.",
    ),
    "hidden size": (
        lambda: plain(architecture=Recurrent(hidden_size=0)).fit(X),
        "hidden_size=0 must be a whole number, at least 1.",
    ),
    "layers": (
        lambda: plain(architecture=Recurrent(n_layers=1.5)).fit(X),
        "n_layers=1.5 must be a whole number, at least 1.",
    ),
}


@pytest.mark.parametrize(("call", "sentence"), REFUSED.values(), ids=REFUSED)
def test_refusals_say_what_to_write(call, sentence):
    with says(sentence):
        call()

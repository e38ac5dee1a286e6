"""Conditions: what is known of rows besides, read by encoder and decoder."""

import json
import pickle
import re

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression

import narrows
from narrows import (
    AdversarialAutoencoder,
    Autoencoder,
    ContractiveAutoencoder,
    DenoisingAutoencoder,
    Dense,
    HierarchicalAutoencoder,
    Modules,
    SparseAutoencoder,
    StackedAutoencoder,
    Training,
    VariationalAutoencoder,
)
from narrows.data.batches import Batch
from narrows.data.columns import columns
from narrows.parts import PARTS

RNG = np.random.default_rng(0)
N = 400
KIND = np.array(["a", "b", "c"])[RNG.integers(3, size=N)]
ENERGY = RNG.uniform(1, 5, N)
SHIFT = np.eye(3)[(KIND[:, None] == ["a", "b", "c"]).argmax(1)] @ RNG.normal(size=(3, 4)) * 3
LOADING = np.array([[1.0, 2.0, -1.0, 0.5]])
X = (
    RNG.normal(size=(N, 1)) @ LOADING
    + SHIFT
    + ENERGY[:, None] * [0.0, 0.0, 0.0, 1.0]
    + 0.1 * RNG.normal(size=(N, 4))
)
C = pd.DataFrame({"kind": KIND, "energy": ENERGY})


@pytest.fixture(scope="module")
def fitted():
    return VariationalAutoencoder(1, max_epochs=60, random_state=0).fit(X, condition=C)


@pytest.mark.parametrize("ordering", [*PARTS["ordering"]])
@pytest.mark.parametrize("architecture", ["dense", "convolutional"])
def test_start_is_pca_of_what_the_condition_leaves(ordering, architecture):
    known = (KIND[:, None] == ["a", "b", "c"]).astype(float)
    rows = RNG.normal(size=(N, 6, 5)) * np.arange(1, 6) + (
        known @ RNG.normal(size=(3, 30))
    ).reshape(N, 6, 5)
    flat = rows.reshape(N, -1)
    rest = flat - LinearRegression().fit(known, flat).predict(known)
    model = Autoencoder(
        2,
        ordering=ordering,
        architecture=architecture,
        scale="none",
        max_epochs=1,
        learning_rate=1e-9,
        random_state=0,
        training=Training(validation_fraction=0),
    ).fit(rows, condition=KIND)
    for level in [2] if ordering == "none" else [1, 2]:
        pca = PCA(level).fit(rest)
        made = flat - rest + pca.inverse_transform(pca.transform(rest))
        found = model.reconstruct(rows, level, condition=KIND).reshape(N, -1)
        np.testing.assert_allclose(found, made, atol=2e-3)


def test_linear_variational_model_starts_as_the_conditional_density():
    model = VariationalAutoencoder(
        1, noise="per_feature", max_epochs=1, learning_rate=1e-9, random_state=0
    ).fit(X, condition=C)
    mean = SHIFT + ENERGY[:, None] * [0.0, 0.0, 0.0, 1.0]
    covariance = LOADING.T @ LOADING + 0.01 * np.eye(4)
    rest = X - mean
    square = (rest @ np.linalg.inv(covariance) * rest).sum(1)
    truth = -(square + np.linalg.slogdet(2 * np.pi * covariance)[1]).mean() / 2
    found = model.log_likelihood(X, condition=C, n_samples=200).value.mean()
    assert abs(found - truth) < 0.05


def test_samples_follow_their_condition(fitted):
    for kind in "abc":
        drawn = fitted.sample(2000, condition=[kind, 2.0], random_state=0)
        truth = SHIFT[kind == KIND][0] + [0, 0, 0, 2.0]
        np.testing.assert_allclose(drawn.mean(0), truth, atol=0.25)
    each = fitted.sample(N, condition=C, random_state=0, noise=False)
    codes = fitted.sample(N, condition=C, random_state=0, noise=False)
    assert (each == codes).all()
    assert np.corrcoef(each[:, 3], X[:, 3])[0, 1] > 0.8


@pytest.mark.parametrize("architecture", [*PARTS["architecture"]])
@pytest.mark.filterwarnings("ignore:All 2 components have collapsed")
def test_every_architecture_reads_a_condition_in_encoder_and_decoder(architecture):
    rows = RNG.normal(size=(30, 6, 5))
    model = VariationalAutoencoder(2, architecture=architecture, max_epochs=2, random_state=0)
    model.fit(rows, condition=KIND[:30])
    for network in (model._model.encoder, model._model.decoder):
        for parameter in network.parameters():
            parameter.data.normal_(0, 0.3, generator=torch.Generator().manual_seed(0))
    one, other = (model.transform(rows, condition=kind) for kind in "ab")
    assert (np.abs(one - other) > 1e-6).all(1).any()
    one, other = (model.inverse_transform(one, condition=kind) for kind in "ab")
    assert (np.abs(one - other) > 1e-6).any()
    assert model.sample(3, condition="a").shape == (3, 6, 5)


@pytest.mark.parametrize("ordering", [*PARTS["ordering"]])
def test_every_ordering_masks_codes_and_leaves_the_condition(ordering):
    model = Autoencoder(2, code="plain", max_epochs=2, random_state=0)
    if ordering != "none":
        model = HierarchicalAutoencoder(2, ordering=ordering, max_epochs=2, random_state=0)
    model.fit(X, condition=C)
    blank = np.zeros((2, 2))
    levels = [None] if ordering == "none" else [1, 2]
    for level in levels:
        made = model.inverse_transform(blank, level, condition=C.iloc[:2])
        assert not np.allclose(*model.inverse_transform(blank, level, condition=C.iloc[[0, 5]]))
        assert made.shape == (2, 4)


@pytest.mark.parametrize("prior", [*PARTS["prior"]])
def test_every_prior_learns_beside_a_condition(prior):
    model = VariationalAutoencoder(1, prior=prior, max_epochs=2, random_state=0)
    model.fit(X, condition=C)
    assert np.isfinite(model.elbo(X, condition=C).total).all()


def test_codes_that_follow_a_prior_read_it_too():
    model = AdversarialAutoencoder(1, max_epochs=30, random_state=0).fit(X, condition=C)
    assert model.fve(X, condition=C)[-1] > 0.9
    assert 0 <= model.critic_accuracy(X, condition=C) <= 1
    assert model.critic_score(X, condition=C).shape == (N,)
    assert 0 <= model.prior_test(X[:100], condition=C[:100]).p_value <= 1
    drawn = model.sample(2000, condition=["b", 2.0], random_state=0)
    np.testing.assert_allclose(drawn.mean(0), SHIFT[KIND == "b"][0] + [0, 0, 0, 2.0], atol=0.4)


def test_several_draws_keep_rows_and_conditions_together():
    model = VariationalAutoencoder(1, n_draws=3, max_epochs=40, random_state=0)
    assert model.fit(X, condition=C).fve(X, condition=C)[-1] > 0.97


@pytest.mark.filterwarnings("ignore:All 2 components have collapsed")
def test_sequences_of_any_length_read_it_at_every_step():
    rows = [RNG.normal(size=(n, 2)) for n in RNG.integers(3, 8, size=40)]
    model = VariationalAutoencoder(2, architecture="recurrent", max_epochs=2, random_state=0)
    model.fit(rows, condition=ENERGY[:40])
    alone = np.vstack(
        [model.transform([row], condition=[e]) for row, e in zip(rows, ENERGY, strict=False)]
    )
    np.testing.assert_allclose(model.transform(rows, condition=ENERGY[:40]), alone, atol=1e-5)


def test_corruption_leaves_the_condition_alone():
    seen = []

    def zeroed(x, generator):
        seen.append(x.shape[-1])
        return torch.zeros_like(x)

    model = DenoisingAutoencoder(1, corruption=zeroed, max_epochs=60, random_state=0)
    model.fit(X, condition=C)
    assert set(seen) == {4}
    # Nothing but the condition is left to tell rows apart.
    made = model.inverse_transform(np.zeros((3, 1)), condition=[[k, 3.0] for k in "abc"])
    truth = np.array([X[kind == KIND].mean(0) for kind in "abc"])
    assert np.corrcoef(made.ravel(), truth.ravel())[0, 1] > 0.9


@pytest.mark.parametrize("sizes", [(), (6,)])
def test_contraction_is_with_respect_to_the_row_alone(sizes):
    network = Dense(sizes, activation="tanh", linear_path=False, init="xavier")
    model = ContractiveAutoencoder(2, architecture=network, max_epochs=2, random_state=0)
    model.fit(X, condition=C)
    inner, c = model._model, model._conditions.encoded(C, N, torch.float32)[:5]
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    jacobian = torch.func.jacrev(lambda x: inner.encode(x, c)[0])(x)
    own = torch.stack([jacobian[i, :, i] for i in range(5)]).square().sum((1, 2))
    found = inner.terms(Batch(x, x, condition=c))[1].item() / model.strength
    assert found == pytest.approx(own.mean().item(), rel=1e-4)


def test_unit_lengths_are_those_of_the_codes_weights():
    model = SparseAutoencoder(3, max_epochs=5, random_state=0).fit(X, condition=C)
    lengths = model._model.decoder._lengths()
    assert lengths.shape == (1, 1, 3 + 4)
    assert (lengths[..., 3:] == 1).all()


def test_modules_of_ones_own_read_it_behind_the_row():
    own = Modules(
        "torch.nn:Linear",
        "torch.nn:Linear",
        {"in_features": 4 + 4, "out_features": 2},
        {"in_features": 2 + 4, "out_features": 4},
    )
    model = Autoencoder(2, architecture=own, max_epochs=2).fit(X, condition=C)
    assert model.transform(X, condition=C).shape == (N, 2)


def test_kinds_of_columns():
    def size(condition):
        model = Autoencoder(1, max_epochs=1, random_state=0).fit(X, condition=condition)
        return model._model.blueprint.n_condition

    assert size(ENERGY) == size(ENERGY.astype("float32")) == size(torch.tensor(ENERGY)) == 1
    assert size(KIND) == size(list(KIND)) == size(pd.Series(KIND)) == 3
    assert size(RNG.integers(4, size=N)) == 4
    assert size(ENERGY > 3) == 2
    assert size([[k, e] for k, e in zip(KIND, ENERGY, strict=True)]) == 4


def test_frames_are_read_by_name_and_numbers_alike(fitted):
    swapped = C[["energy", "kind"]]
    assert (fitted.transform(X, condition=swapped) == fitted.transform(X, condition=C)).all()
    labels = RNG.integers(3, size=N)
    model = Autoencoder(1, max_epochs=1, random_state=0).fit(X, condition=labels)
    same = [model.transform(X, condition=c) for c in (labels, labels.astype(float), list(labels))]
    assert (same[0] == same[1]).all()
    assert (same[0] == same[2]).all()


def test_all_methods_take_it(fitted):
    m, few, own = fitted, X[:6], C.iloc[:6]
    assert m.transform(few, condition=own).shape == (6, 1)
    assert m.reconstruct(few, condition=own).shape == (6, 4)
    assert m.score_samples(few, condition=own).shape == (6,)
    assert 0 < m.score(few, condition=own) <= 1
    assert set(m.loss_terms(few, condition=own)) == {"reconstruction", "divergence"}
    assert m.predict_samples(few, 2, condition=own).shape == (2, 6, 4)
    assert m.interpolate(few, few[::-1], 3, condition=own).shape == (6, 3, 4)
    assert m.interpolate(few[0], few[1], 3, condition=["a", 2.0]).shape == (1, 3, 4)
    assert m.traverse(few, 0, n_steps=2, condition=own).shape == (6, 2, 4)
    assert m.active_units(X, condition=C).tolist() == [True]
    assert m.prior_gap(X, condition=C).mutual_information > 0
    assert m.dependence(X, condition=C).rank_correlation.shape == (1, 1)
    np.testing.assert_array_equal(
        m.interpolate(few, few, 2, condition=own)[:, 0], m.reconstruct(few, condition=own)
    )
    density = pickle.loads(pickle.dumps(m)).fit_density(X, condition=C)
    assert density.sample(2, condition=own.iloc[:2]).shape == (2, 4)
    codes = Autoencoder(1, max_epochs=1, random_state=0).fit_transform(X, condition=C)
    assert codes.shape == (N, 1)
    holed = few.copy()
    holed[0, 1] = np.nan
    patient = Autoencoder(1, max_epochs=20, missing="ignore", random_state=0).fit(X, condition=C)
    filled = patient.impute(holed, condition=own)
    assert abs(filled[0, 1] - few[0, 1]) < 1


def test_weights_are_copies_also_of_amounts():
    few, known, weight = X[:40], ENERGY[:40], np.tile([1.0, 3.0], 20)
    settings = {
        "max_epochs": 5,
        "batch_size": 200,
        "random_state": 0,
        "training": Training(validation_fraction=0, precision="float64"),
    }
    weighted = Autoencoder(1, **settings).fit(few, condition=known, sample_weight=weight)
    copied = np.repeat(np.arange(40), weight.astype(int))
    copies = Autoencoder(1, **settings).fit(few[copied], condition=known[copied])
    made = [model.reconstruct(few, condition=known) for model in (weighted, copies)]
    np.testing.assert_allclose(*made, atol=1e-6)


def test_an_amount_that_does_not_vary_has_a_width_of_one():
    model = Autoencoder(1, max_epochs=1, random_state=0).fit(X, condition=np.full(N, 0.1))
    assert model._conditions.columns[0].width == 1.0


def test_names_of_columns_are_text_and_single_rows_need_none(fitted, tmp_path):
    column = pd.Series(ENERGY, name=7)
    model = Autoencoder(1, max_epochs=1, random_state=0).fit(X, condition=column)
    model.save(tmp_path / "m.safetensors")
    twin = narrows.load(tmp_path / "m.safetensors")
    assert [c.name for c in twin._conditions.columns] == ["7"]
    one = fitted.sample(2, condition=C.iloc[3], random_state=0)
    assert (one == fitted.sample(2, condition=list(C.iloc[3]), random_state=0)).all()
    named = {"energy": C.energy[3], "kind": C.kind[3]}
    assert (one == fitted.sample(2, condition=named, random_state=0)).all()


def test_files_hold_conditions(fitted, tmp_path):
    path = tmp_path / "known.csv"
    C.assign(run=np.arange(N) % 3).to_csv(path, index=False)
    model = VariationalAutoencoder(1, max_epochs=1, random_state=0)
    twin = pickle.loads(pickle.dumps(model)).fit(X, condition=f"{path}:kind,run")
    model.fit(X, condition=C[["kind"]].assign(run=np.arange(N) % 3))
    assert twin._conditions == model._conditions
    assert [column.size for column in twin._conditions.columns] == [3, 3]
    expected = fitted.transform(X, condition=C)
    np.testing.assert_array_equal(fitted.transform(X, condition=f"{path}:energy,kind"), expected)
    np.save(tmp_path / "energy.npy", ENERGY)
    amounts = Autoencoder(1, max_epochs=1).fit(X, condition=tmp_path / "energy.npy")
    assert amounts._conditions.columns[0].centre == pytest.approx(ENERGY.mean())
    with pytest.raises(ValueError, match="no column") as caught:
        fitted.transform(X, condition=f"{path}:spin")
    assert str(caught.value) == (
        f"'{path}' has no column 'spin'. Write one of 'kind', 'energy', 'run'."
    )


def test_kinds_of_columns_in_a_parquet_file(tmp_path):
    path = tmp_path / "known.parquet"
    C.assign(run=np.arange(N) % 3).to_parquet(path)
    found = columns(f"{path}:kind,run")
    assert found == {"kind": C.kind.tolist(), "run": (np.arange(N) % 3).tolist()}
    assert all(type(value) is int for value in found["run"])
    with pytest.raises(
        ValueError, match=r"has no column 'spin'\. Write one of 'kind', 'energy', 'run'"
    ):
        columns(f"{path}:spin")


def test_kinds_of_columns_in_a_text_table(tmp_path):
    path = tmp_path / "table.tsv"
    path.write_text("name\tn\tx\tmixed\na\t1\t1\t1\nb\t-2\t2.5\tu\n")
    expected = {"name": ["a", "b"], "n": [1, -2], "x": [1.0, 2.5], "mixed": ["1", "u"]}
    assert columns(path) == expected
    path.write_text("1\t2.5\n\n2\t\n")
    assert columns(path) == {"0": [1, 2], "1": [2.5, None]}
    path.write_text("a\tb\n1\t2\n3\n")
    with pytest.raises(ValueError, match="cells") as caught:
        columns(path)
    assert str(caught.value) == (
        f"Row 1 of '{path}' has 1 cells, the others 2. Write as many in each."
    )


def test_whole_numbers_that_are_many_are_warned_of():
    sentence = (
        "The column 0 of the condition holds 400 different whole numbers, and each is a category. "
        "If they are amounts, write condition.astype(float)."
    )
    with pytest.warns(UserWarning, match=f"^{re.escape(sentence)}$"):
        Autoencoder(1, max_epochs=1, random_state=0).fit(X, condition=np.arange(N))
    for quiet in (np.arange(N) % 50, np.arange(N).astype(str), np.arange(N) * 1.0):
        Autoencoder(1, max_epochs=1, random_state=0).fit(X, condition=quiet)
    declared = pd.DataFrame({"run": pd.Categorical(np.arange(N))})
    Autoencoder(1, max_epochs=1, random_state=0).fit(X, condition=declared)


@pytest.mark.parametrize("amount", [99.0, -99.0])
def test_amounts_far_from_those_of_the_fit_are_warned_of(amount, tmp_path):
    model = Autoencoder(1, max_epochs=1, random_state=0).fit(X, condition=ENERGY)
    model.save(tmp_path / "m.safetensors")
    sentence = (
        f"The column 0 of the condition is {amount:g} in row 2, far from those of the fit, "
        f"{ENERGY.min():g} to {ENERGY.max():g}: what comes of it is a guess. Fit with such rows, "
        "or check the unit."
    )
    for each in (model, narrows.load(tmp_path / "m.safetensors")):
        with pytest.warns(UserWarning, match=f"^{re.escape(sentence)}$"):
            each.transform(X[:4], condition=[ENERGY[0], ENERGY[1], amount, ENERGY[3]])
        beside = ENERGY.max() + 0.9 * np.ptp(ENERGY)
        each.transform(X[:4], condition=[beside] * 4)


def test_declared_categories_may_be_floats():
    known = pd.DataFrame({"grade": pd.Categorical(RNG.integers(3, size=N).astype(float))})
    model = Autoencoder(1, max_epochs=1, random_state=0).fit(X, condition=known)
    assert model._model.blueprint.n_condition == 3


def test_validation_rows_bring_their_own():
    model = Autoencoder(1, max_epochs=3, random_state=0)
    model.fit(X[:300], condition=C[:300], validation=(X[300:], None, C[300:]))
    assert model.fve_[-1] == pytest.approx(model.fve(X[300:], condition=C[300:])[-1], abs=1e-5)


def test_ranks_are_checked_under_it():
    model = HierarchicalAutoencoder(2, max_epochs=3, random_state=0).fit(X, condition=C)
    found = model.swap_check(X, condition=C, n_splits=2, random_state=0)
    assert found.difference.shape == (1,)


def test_passes_and_files_keep_it(tmp_path):
    model = VariationalAutoencoder(1, max_epochs=3, random_state=0)
    model.partial_fit(X, condition=C).partial_fit(X[:50], condition=C[:50])
    model.save(tmp_path / "m.safetensors")
    twin = narrows.load(tmp_path / "m.safetensors")
    for one in (model, twin):
        one.partial_fit(X, condition=C)
    assert (twin.transform(X, condition=C) == model.transform(X, condition=C)).all()
    assert twin._conditions == model._conditions
    described = narrows.persist.describe(tmp_path / "m.safetensors")["condition"]
    assert [column["name"] for column in described] == ["kind", "energy"]


def test_graphs_read_it(fitted):
    graphs = pytest.importorskip("narrows.export._graph")
    kinds, first = C.kind.to_numpy()[:7], fitted._conditions.columns[0].categories
    numbers = np.column_stack([kinds[:, None] == np.array(first), C.energy[:7]]).astype("float32")
    codes = fitted.transform(X[:7], condition=C[:7])
    expected = {
        "encoder": codes,
        "decoder": fitted.inverse_transform(codes, condition=C[:7]),
        "reconstruction": fitted.reconstruct(X[:7], condition=C[:7]),
        "score": fitted.score_samples(X[:7], condition=C[:7]),
        "sampler": fitted.inverse_transform(codes, condition=C[:7]),  # standard normal prior
    }
    given = {"rows": X[:7], "codes": codes, "noise": codes, "condition": numbers}
    for name, values in expected.items():
        graph = graphs.Graph(fitted, (graphs.PARTS[name],), None, torch.float64).eval()
        assert list(graph.inputs)[-1] == "condition"
        with torch.no_grad():
            (found,) = graph(*(torch.as_tensor(given[one]) for one in graph.inputs))
        np.testing.assert_allclose(found, values, rtol=1e-4, atol=1e-5)


def test_a_written_graph_names_its_condition(fitted, tmp_path):
    onnx = pytest.importorskip("onnx")
    export = pytest.importorskip("narrows.export.onnx").export
    assert export(fitted, tmp_path / "m.onnx")["codes"] < 1e-5
    (fact,) = [
        json.loads(each.value)
        for each in onnx.load(tmp_path / "m.onnx").metadata_props
        if each.key == "condition"
    ]
    assert [column["name"] for column in fact] == ["kind", "energy"]


MISSING = (
    "The model was fitted with a condition, of the columns kind, energy. Pass condition= as well; "
    "methods without it are for models without one."
)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.sample(3), MISSING),
        (lambda m: m.transform(X), MISSING),
        (lambda m: m.inverse_transform([[0.0]]), MISSING),
        (lambda m: m.elbo(X), MISSING),
        (
            lambda m: m.sample(condition=["z", 2.0]),
            "The category 'z' in row 0, column kind of the condition, is not one of the fit: 'a', "
            "'b', 'c'. Pass one of these.",
        ),
        (
            lambda m: m.sample(3, condition=C[:2]),
            "condition has 2 rows for 3 rows of data. Pass one for each.",
        ),
        (
            lambda m: m.sample(condition="a"),
            "condition has other columns (1) than the fit (2): kind, energy. Pass the same "
            "columns.",
        ),
        (
            lambda m: m.transform(X, condition=C[["kind"]]),
            "condition has the columns kind, but the fit had kind, energy. Pass the same columns.",
        ),
        (
            lambda m: m.sample(condition=["a", "b"]),
            "The column energy of the condition holds numbers, but row 0 is 'b'. Pass a number.",
        ),
        (
            lambda m: m.sample(condition=["a", np.nan]),
            "The column energy of the condition is nan in row 0. Fill it, or drop the row.",
        ),
        (
            lambda m: m.sample(condition=np.zeros((1, 1, 2))),
            "condition has 3 axes; rows of columns are needed. Write condition.reshape(1, -1).",
        ),
        (
            lambda m: Autoencoder(1).fit(X, condition=C, validation=X),
            "validation lacks its condition. Write validation=(X, None, condition), with the "
            "target in the middle if there is one.",
        ),
        (
            lambda m: Autoencoder(1).fit(X, condition=C, validation=(X,)),
            "validation has 1 parts. Write (X, target), or (X, target, condition), with None for "
            "what there is not.",
        ),
        (
            lambda m: Autoencoder(1).fit(X, condition=np.arange(N).astype("datetime64[D]")),
            "The column 0 of the condition is np.datetime64('1970-01-01') in row 0, neither a name "
            "nor a number. Write it as text, or as a float if it is an amount.",
        ),
        (
            lambda m: Autoencoder(1).fit(
                X, condition=pd.Series(["a", pd.NA] * (N // 2), dtype=object)
            ),
            "The column 0 of the condition is <NA> in row 1. Fill it, or drop the row.",
        ),
        (
            lambda m: Autoencoder(1).fit(X, condition=pd.concat([C, C], axis=1)),
            "condition has two columns of one name: kind, energy, kind, energy. Rename one.",
        ),
        (
            lambda m: Autoencoder(1).fit(X, condition=sparse.eye(N)),
            "condition is a sparse matrix. Write condition.toarray().",
        ),
        (
            lambda m: (
                Autoencoder(1, max_epochs=1)
                .fit(X, condition=np.arange(N) % 40)
                .transform(X, condition=2.5)
            ),
            "The category 2.5 in row 0, column 0 of the condition, is not one of the fit: 0, 1, 2, "
            "3, 4, .... Pass one of these; amounts are floats in fit.",
        ),
        (
            lambda m: Autoencoder(1, max_epochs=1).fit(X).transform(X, condition=C),
            "The model was fitted without a condition. Leave condition= out, or fit it again with "
            "one.",
        ),
        (
            lambda m: Autoencoder(1).fit(X, condition=KIND[:5]),
            "condition has 5 rows for 400 rows of data. Pass one for each.",
        ),
        (
            lambda m: StackedAutoencoder(1).fit(X, condition=C),
            "Layers that are trained one by one read no condition. Leave condition= out, or write "
            "VariationalAutoencoder(...).",
        ),
        (
            lambda m: ContractiveAutoencoder(1).fit(X, condition=C),
            "tied=True leaves the decoder no weights for a condition. Write "
            "architecture=Dense(tied=False), say, or leave condition= out.",
        ),
        (
            lambda m: Autoencoder(
                1, architecture=Modules("torch.nn:Identity", "torch.nn:Identity")
            ).fit(X.reshape(N, 2, 2), condition=C),
            "Modules take a condition beside rows of one axis, not of shape (2, 2). Flatten the "
            "rows, or leave condition= out.",
        ),
    ],
)
def test_what_is_refused(fitted, call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call(fitted)

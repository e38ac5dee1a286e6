"""ONNX graphs: what they give equals what the estimators give."""

import json
import re
import sys
import warnings
from functools import cache
from itertools import cycle
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch
from scipy import special
from sklearn.exceptions import NotFittedError
from torch import nn

from helpers import estimators, quick, short_name, table
from narrows import (
    AdversarialAutoencoder,
    Autoencoder,
    Convolutional,
    HierarchicalAutoencoder,
    Mixed,
    Modules,
    Recurrent,
    SemiSupervisedAAE,
    SemiSupervisedVAE,
    StackedClassifier,
    StackedRegressor,
    VariationalAutoencoder,
)
from narrows import parts as known
from narrows.export import _special
from narrows.export import onnx as module
from narrows.export._few_labels import LabelledGraph, labelled_parts
from narrows.export._graph import PARTS, Graph, prediction
from narrows.export.onnx import export
from narrows.nn.posterior import Posterior
from own_networks import Decoder, Encoder

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

ROWS = ("encoder", "reconstruction", "score")
TINY = {"hidden_layer_sizes": (4,), "max_epochs": 2}


@pytest.fixture(scope="module", autouse=True)
def _exporter():
    """Build the exporter's table of operators once, not for every file.

    Shapes are not checked while it follows a graph: to broadcast them would fix the number of rows.
    """
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    followed = torch.export.export

    def unchecked(*args, **settings):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(jaxtyping.config, "jaxtyping_disable", True)
            return followed(*args, **settings)

    with pytest.MonkeyPatch.context() as patch:
        once = staticmethod(cache(ONNXRegistry.from_torchlib))
        patch.setattr(ONNXRegistry, "from_torchlib", once)
        patch.setattr(torch.export, "export", unchecked)
        yield


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run(path, **given):
    graph = session(path)
    names = [each.name for each in graph.get_outputs()]
    return dict(zip(names, graph.run(None, given), strict=True))


def assert_same(found, expected, width=1.0):
    """Compare to 1e-5 of the largest value, NaN equal to NaN."""
    found, expected = np.asarray(found, float), np.asarray(expected, float)
    assert found.shape == expected.shape
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    largest = max(np.nanmax(np.abs(expected / width)), 1e-3)
    np.testing.assert_allclose(found / width, expected / width, rtol=0, atol=1e-5 * largest)


# Every estimator, each with something else that a graph has to hold


def series(shape):
    return np.cumsum(np.random.default_rng(0).normal(size=(40, *shape)), 1)


def padded(shape):
    """Sequences that end after one step or more, one with a gap."""
    X = series(shape)
    for row, n_steps in zip(X, np.random.default_rng(1).integers(1, shape[0] + 1, 40), strict=True):
        row[n_steps:] = np.nan
    X[5, 0, 1] = np.nan
    return X


def mixed():
    """A table of real, binary and counted values, some missing."""
    kinds = table(n_values=2), table("bernoulli", n_values=1), table("poisson", n_values=1)
    X = np.column_stack(kinds)
    X[3, 1] = X[4, 2] = X[0, 3] = np.nan
    return X


KINDS = Mixed([("bernoulli", [2]), ("poisson", [3])])
CASES = {
    "Autoencoder-none": (
        lambda: series((5, 6)),
        {"architecture": Convolutional((2,)), "circular": (1,)},
    ),
    "HierarchicalAutoencoder-collective": (lambda: table() + 1e6, {}),
    "HierarchicalAutoencoder-shared": (
        lambda: series((2, 9)),
        {"architecture": Convolutional((2,), n_dims=1), "circular": (1,)},
    ),
    "HierarchicalAutoencoder-nested": (
        lambda: padded((3, 2)),
        {"architecture": Recurrent(hidden_size=3), "missing": "ignore"},
    ),
    "SparseAutoencoder-": (
        mixed,
        {"n_components": 4, "sparsity": "top_k", "k": 2, "likelihood": KINDS, "missing": "ignore"},
    ),
    "ContractiveAutoencoder-": (table, {"circular": (0,), "circular_output": "cos_sin"}),
    "DenoisingAutoencoder-": (
        lambda: series((3, 4, 3)),
        {"architecture": Convolutional((2,), n_dims=3)},
    ),
    "StackedAutoencoder-": (lambda: table("categorical"), {"likelihood": "categorical"}),
}
RECURRENT = "HierarchicalAutoencoder-nested"  # runs in onnxruntime alone
# What goes through onnxruntime; the others run in torch, which takes milliseconds, not seconds.
WRITTEN = {
    "Autoencoder-none": ("encoder", "reconstruction"),
    "HierarchicalAutoencoder-boosted": ("encoder", "reconstruction"),
    RECURRENT: ROWS,
    "SparseAutoencoder-": ROWS,
    "DenoisingAutoencoder-": ("reconstruction",),
}
EVERY = {short_name(each): each for each in estimators(**quick(**TINY))}
EVERY_WRITTEN = [name for name in EVERY if name in WRITTEN or name not in CASES]


@cache
def fitted(name):
    """An estimator whose layers all count, as at the start some are 0, and rows."""
    make, settings = CASES.get(name, (table, {}))
    X = make()
    model = EVERY[name].set_params(**settings).fit(X)
    stirred(model)
    return model, X


def stirred(model):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model._model.parameters():
            weight += 0.3 * torch.randn(weight.shape, generator=generator)


@pytest.fixture(scope="module", params=EVERY_WRITTEN)
def case(request, tmp_path_factory):
    """A fitted estimator, rows, and the graph of what reads rows."""
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    model, X = fitted(request.param)
    return model, X, path, export(model, path, part=WRITTEN.get(request.param, ROWS))


def assert_right(found, model, rows):
    """Compare outputs with what the estimator gives."""
    scale, shape = model._target_scale, rows.shape[1:]
    centre, width = np.resize(scale.centre, shape), np.resize(scale.width, shape)
    if "codes" in found:
        assert_same(found["codes"], model.transform(rows))
    if "reconstruction" in found:
        expected = model._reconstructed(rows, None)
        assert_same(found["reconstruction"] - centre, expected - centre, width)
    if "score" in found:
        assert_same(found["score"], model.score_samples(rows))


@pytest.mark.parametrize("name", [name for name in EVERY if name not in WRITTEN])
def test_a_graph_computes_what_the_estimator_does(name):
    model, X = fitted(name)
    parts = tuple(PARTS[part] for part in ROWS)
    graph = Graph(model, parts, model._level(None), torch.float64).eval()
    outputs = [part.output for part in parts]
    with torch.no_grad():
        for rows in (X[3:4], X[:7]):
            found = [values.numpy() for values in graph(torch.from_numpy(rows))]
            assert_right(dict(zip(outputs, found, strict=True)), model, rows)


@pytest.mark.parametrize("name", [name for name in EVERY if name != RECURRENT])
def test_a_decoder_computes_what_the_estimator_does(name):
    model, X = fitted(name)
    codes = model.transform(X[:7])
    for level in (None, 1, 2) if model._model.n_levels > 1 else (None,):
        graph = Graph(model, (PARTS["decoder"],), model._level(level), torch.float64).eval()
        with torch.no_grad():
            (found,) = graph(torch.from_numpy(codes))
        expected = model._decoded(codes, level)
        assert_same(found.numpy() - X.mean(0), expected - X.mean(0), X.std(0))


def test_rows_give_codes_reconstructions_and_scores(case):
    model, X, path, differences = case
    assert max(differences.values()) < 1e-5
    for rows in (X[3:4], X[:7]):
        assert_right(run(path, rows=rows), model, rows)


def test_what_the_estimator_refuses_is_nan(case):
    model, X, path, _ = case
    rows = np.array(X[:4])
    rows[1].flat[0] = np.nan if model.missing == "error" else np.inf
    rows[2].flat[0] = np.inf
    found = run(path, rows=rows)
    for values in found.values():
        values = values.reshape(4, -1)
        assert np.isnan(values).all(1).tolist() == [False, True, True, False]
    assert_right({name: values[[0, 3]] for name, values in found.items()}, model, X[[0, 3]])


def axes_of(path):
    """Names, or sizes, of the axes of what a graph reads and gives."""
    graph = onnx.load(path).graph
    shapes = [each.type.tensor_type.shape.dim for each in (*graph.input, *graph.output)]
    return [[axis.dim_param or axis.dim_value for axis in shape] for shape in shapes]


def test_a_graph_names_what_it_holds(case):
    model, X, path, differences = case
    found = {each.key: each.value for each in onnx.load(path).metadata_props}
    assert found["estimator"] == type(model).__name__
    assert len(json.loads(found["parts"])) == len(differences)
    assert tuple(json.loads(found["event_shape"])) == X.shape[1:]
    assert json.loads(found["code_names"]) == model.get_feature_names_out().tolist()
    assert str(Path(torch.__file__).parent).encode() not in path.read_bytes()
    assert {axes[0] for axes in axes_of(path)} == {"row"}
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_codes_give_reconstructions_of_a_level(tmp_path):
    model, X = fitted("HierarchicalAutoencoder-shared")
    export(model, tmp_path / "d.onnx", part="decoder", level=2)
    codes = model.transform(X[:7])
    found = run(tmp_path / "d.onnx", codes=codes)["reconstruction"]
    assert_same(found, model.inverse_transform(codes, level=2))


# Distributions

FAMILIES = [c for c in known.PARTS["code"] if isinstance(known.resolve("code", c), Posterior)]
PRIORS = [*known.PARTS["prior"]]
ARCHITECTURES = {
    "dense": (table, {"hidden_layer_sizes": (4,)}),
    "convolutional": (lambda: series((5, 6)), {"architecture": Convolutional((2,))}),
    "recurrent": (lambda: padded((3, 2)), {"architecture": Recurrent("lstm", 3)}),
}


@cache
def variational(posterior, prior, architecture="dense"):
    """A model whose layers and prior have been stirred, and rows."""
    make, settings = ARCHITECTURES[architecture]
    X, settings = make(), {**settings, "posterior": posterior, "prior": prior, "missing": "ignore"}
    model = VariationalAutoencoder(3, **quick(**{**TINY, **settings})).fit(X)
    stirred(model)
    return model, X


def draws(model, n):
    """Noise, uniform numbers, and what the model makes of them."""
    rng, inner = np.random.default_rng(n), model._model
    with torch.no_grad():
        members = inner.prior(inner.encoder)
        posterior, layout = inner.blueprint.posterior, inner.blueprint.layout
        noise = rng.normal(size=(n, posterior.n_noise(layout))).astype(np.float32)
        given = {"noise": noise}
        shares, member = members.log_weight[0].exp().numpy(), np.zeros(n, dtype=int)
        if len(shares) > 1:
            given["uniform"] = rng.random(n).astype(np.float32)
            member = np.searchsorted(shares.cumsum(), given["uniform"], side="right")
            member = member.clip(max=len(shares) - 1)
        features = posterior.draw(members.raw[:, member], layout, torch.from_numpy(noise)[None])
    return given, model._decoded(layout.pairs(features[0]).numpy(), None)


def computed(graph, **given):
    with torch.no_grad():
        (found,) = graph(*(torch.from_numpy(given[name]) for name in graph.inputs))
    return found.numpy()


def test_every_architecture_is_listed():
    assert ARCHITECTURES.keys() == known.PARTS["architecture"].keys()


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("posterior", FAMILIES)
def test_bounds_and_samples_are_those_of_the_estimator(posterior, prior):
    model, X = variational(posterior, prior)
    score = Graph(model, (PARTS["score"],), None, torch.float64).eval()
    sampler = Graph(model, (PARTS["sampler"],), None, torch.float64).eval()
    for n in (1, 7):
        assert_same(computed(score, rows=X[:n]), model.score_samples(X[:n]))
        given, expected = draws(model, n)
        assert given.keys() == sampler.inputs.keys()
        assert_same(computed(sampler, **given) - X.mean(0), expected - X.mean(0), X.std(0))


@pytest.mark.parametrize(
    ("posterior", "prior", "architecture"),
    [*zip(FAMILIES, cycle(PRIORS), cycle(ARCHITECTURES), strict=False)],
)
def test_the_score_of_a_distribution_is_its_bound(posterior, prior, architecture, tmp_path):
    model, X = variational(posterior, prior, architecture)
    assert export(model, tmp_path / "s.onnx", part="score")["score"] < 1e-5
    for rows in (X[3:4], X[:7]):
        assert_same(run(tmp_path / "s.onnx", rows=rows)["score"], model.score_samples(rows))


@pytest.mark.parametrize(("prior", "architecture"), [*zip(PRIORS, ARCHITECTURES, strict=True)])
def test_noise_gives_samples(prior, architecture, tmp_path):
    model, _ = variational(FAMILIES[0], prior, architecture)
    assert export(model, tmp_path / "s.onnx", part="sampler")["samples"] < 1e-5
    for n in (1, 7):
        given, expected = draws(model, n)
        found = run(tmp_path / "s.onnx", **given)["samples"]
        assert_same(found, expected)
    refused = {name: values.copy() for name, values in given.items()}
    refused["noise"][2], refused[[*refused][-1]][4] = np.nan, np.inf
    found = run(tmp_path / "s.onnx", **refused)["samples"].reshape(7, -1)
    assert np.isnan(found).all(1).nonzero()[0].tolist() == [2, 4]


# Samplers that need no density


def from_numbers(prior, noise, uniform):
    """Codes of two components, written out."""
    if prior == "normal":
        return noise
    if prior == "uniform":
        return 2 * uniform - 1
    if prior == "ring":
        length = np.linalg.norm(noise[:, :2], axis=1, keepdims=True)
        return noise[:, :2] / length * (1 + 0.05 * noise[:, 2:])
    angle = np.floor(10 * uniform) * np.pi / 5
    return 4 * np.hstack([np.cos(angle), np.sin(angle)]) + 0.5 * noise


@pytest.mark.filterwarnings("ignore:Codes do not follow the prior")
@pytest.mark.parametrize("prior", [*known.PARTS["sampler"]])
def test_noise_gives_samples_of_an_adversarial_model(prior, tmp_path):
    model = AdversarialAutoencoder(2, prior=prior, **quick(**TINY)).fit(table())
    graph, rng = Graph(model, (PARTS["sampler"],), None, torch.float64).eval(), np.random
    given = {
        name: getattr(rng.default_rng(0), "random" if name == "uniform" else "standard_normal")(
            (7, *shape), dtype=np.float32
        )
        for name, (shape, _) in graph.inputs.items()
    }
    expected = model._decoded(from_numbers(prior, given.get("noise"), given.get("uniform")), None)
    assert_same(computed(graph, **given), expected)
    if prior == "mixture":
        export(model, tmp_path / "s.onnx", part="sampler")
        assert_same(run(tmp_path / "s.onnx", **given)["samples"], expected)
        given["uniform"][3], given["noise"][5] = 1.5, np.nan
        found = run(tmp_path / "s.onnx", **given)["samples"]
        assert np.isnan(found).all(1).nonzero()[0].tolist() == [3, 5]


def test_a_prior_in_python_has_no_graph(tmp_path):
    def cross(n, rng):
        return rng.normal(size=(n, 2))

    model = AdversarialAutoencoder(2, prior=cross, **quick(**TINY)).fit(table())
    with pytest.raises(ValueError, match="prior") as caught:
        export(model, tmp_path / "s.onnx", part="sampler")
    assert str(caught.value) == (
        "The prior cross is Python code, which no graph holds. Write part='decoder', and give it "
        "draws of the prior."
    )


# Few labels

FEW = {
    "M2": lambda: SemiSupervisedVAE(2, missing="ignore", **quick(**TINY)),
    "M1+M2": lambda: SemiSupervisedVAE(
        2,
        features=VariationalAutoencoder(3, **quick(**TINY)),
        noise="per_feature",
        **quick(**TINY),
    ),
    "adversarial": lambda: SemiSupervisedAAE(2, prior="ring", **quick(**TINY)),
    "recurrent": lambda: SemiSupervisedVAE(
        2, architecture=Recurrent(hidden_size=3), missing="ignore", **quick(**TINY)
    ),
}


@cache
def few(name):
    """A classifier, and rows."""
    X = padded((3, 2)) if name == "recurrent" else table()
    y = np.arange(len(X)) % 4 - 1
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Codes do not follow the prior")
        model = FEW[name]().fit(X, np.where(y < 0, -1, 10 * y))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model._learner.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=generator)
    return model, X


def labelled(model, part, dtype=torch.float64, **given):
    graph = LabelledGraph(model, (labelled_parts(model)[part],), dtype).eval()
    assert given.keys() == graph.inputs.keys()
    return computed(graph, **given)


RUN_IN_TORCH = [name for name in FEW if name != "recurrent"]


@pytest.mark.parametrize("name", RUN_IN_TORCH)
def test_rows_give_classes_codes_and_bounds(name):
    model, X = few(name)
    for rows in (X[3:4], X[:7]):
        assert_same(labelled(model, "prediction", rows=rows), model.predict_proba(rows))
        assert_same(labelled(model, "encoder", rows=rows), model.transform(rows))
        if name != "adversarial":
            assert_same(labelled(model, "score", rows=rows), model.elbo(rows).total)
    bad = X[:3].copy()
    bad[1].flat[0] = np.inf
    for part in labelled_parts(model).keys() & {"prediction", "encoder", "score"}:
        found = labelled(model, part, rows=bad).reshape(3, -1)
        assert np.isnan(found).all(1).tolist() == [False, True, False]


@pytest.mark.parametrize("name", RUN_IN_TORCH)
def test_codes_and_noise_give_rows_of_a_class(name):
    model, X = few(name)
    numbers, codes = np.array([0, 2, 1, 1]), model.transform(X[:4])
    first, second = getattr(model, "features_", None), model.autoencoder_
    ones = np.eye(3)[numbers]
    known = ones if name == "adversarial" else model.classes_[numbers]
    expected = second.inverse_transform(codes, condition=known)
    expected = expected if first is None else first.inverse_transform(expected)
    assert_same(labelled(model, "decoder", codes=codes, label=numbers), expected)
    strange = labelled(model, "decoder", codes=codes, label=np.array([0, 3, -1, 1]))
    assert np.isnan(strange).reshape(4, -1).all(1).tolist() == [False, True, True, False]
    noise = np.random.default_rng(0).standard_normal((4, 2), dtype=np.float32)
    if name == "adversarial":
        noise = np.hstack([noise, noise[:, :1]])
        z = from_numbers("ring", noise, None)
    else:
        z = noise
    expected = second._decoded(z, None, torch.as_tensor(ones, dtype=torch.float32))
    if first is not None:
        further = np.random.default_rng(1).standard_normal((4, 3), dtype=np.float32)
        sigma = second._model.log_width[0, -1].detach().exp().numpy() * second._target_scale.width
        expected = first._decoded(expected + sigma * further, None)
        noise = np.hstack([noise, further])
    assert_same(labelled(model, "sampler", noise=noise, label=numbers), expected)


@pytest.mark.parametrize("name", FEW)
def test_classes_are_written(name, tmp_path):
    model, X = few(name)
    found = export(model, tmp_path / "c.onnx", part=("prediction", "encoder"))
    assert max(found.values()) < 1e-5
    made = run(tmp_path / "c.onnx", rows=X[:7])
    assert_same(made["probabilities"], model.predict_proba(X[:7]))
    assert_same(made["codes"], model.transform(X[:7]))
    facts = {each.key: each.value for each in onnx.load(tmp_path / "c.onnx").metadata_props}
    assert json.loads(facts["classes"]) == [[0, 10, 20]]
    if name == "M1+M2":
        assert export(model, tmp_path / "s.onnx", part="sampler")["samples"] < 1e-5
        assert export(model, tmp_path / "d.onnx", part="decoder")["reconstruction"] < 1e-5


def test_draws_of_features_that_are_not_normal_are_refused(tmp_path):
    X, y = table(), np.arange(200) % 3 - 1
    features = VariationalAutoencoder(3, **quick(**TINY))
    model = SemiSupervisedVAE(2, features=features, likelihood="laplace", **quick(**TINY))
    with pytest.raises(ValueError, match="Features") as caught:
        export(model.fit(X, y), tmp_path / "s.onnx", part="sampler")
    assert str(caught.value) == (
        "Features under Laplace() have no draws in a graph. Write part='decoder', and give it "
        "codes, or fit with likelihood='gaussian'."
    )


# Rows


def test_a_recurrent_encoder_takes_any_number_of_steps(tmp_path):
    X = series((4, 2))
    model = Autoencoder(2, architecture=Recurrent("lstm", 3), max_epochs=2).fit(X)
    export(model, tmp_path / "e.onnx")
    assert axes_of(tmp_path / "e.onnx") == [["row", "step", 2], ["row", 2]]
    longer = np.random.default_rng(2).normal(size=(3, 9, 2))
    longer[1, 5:] = np.nan
    for rows in (X[:5], X[:1, :2], longer):
        assert_same(run(tmp_path / "e.onnx", rows=rows)["codes"], model.transform(rows))


def test_single_precision_holds_offsets_of_rows_and_targets(tmp_path):
    X = (table() + 1e6).astype(np.float32)
    Y = X[:, :2] * 3 + 5
    model = HierarchicalAutoencoder(2, **quick(**TINY)).fit(X, target=Y)
    stirred(model)
    parts = ("reconstruction", "score")
    export(model, tmp_path / "f.onnx", part=parts, dtype="float32", rows=X, target=Y)
    graph = onnx.load(tmp_path / "f.onnx").graph
    kinds = {each.type.tensor_type.elem_type for each in (*graph.input, *graph.output)}
    kinds |= {each.data_type for each in graph.initializer}
    assert onnx.TensorProto.DOUBLE not in kinds
    found = run(tmp_path / "f.onnx", rows=X[:7], target=Y[:7])
    digit = np.spacing(np.float32(3e6))
    np.testing.assert_allclose(found["reconstruction"], model.reconstruct(X[:7]), 0, digit)
    assert_same(found["score"], model.score_samples(X[:7], target=Y[:7]))
    message = "The score needs the target of rows. Pass target= as well."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        export(model, tmp_path / "s.onnx", part="score", rows=X)


# Supervised


def test_a_classifier_gives_probabilities_of_all_questions(tmp_path):
    X = table()
    y = np.column_stack([np.where(X[:, 0] > 0, "up", "down"), np.sign(X[:, 1]).astype(int)])
    model = StackedClassifier((4,), layer_epochs=1, max_epochs=2, random_state=0).fit(X, y)
    export(model, tmp_path / "c.onnx")
    found = run(tmp_path / "c.onnx", rows=X[:7])["prediction"]
    assert_same(found, np.hstack(model.predict_proba(X[:7])))
    facts = {each.key: each.value for each in onnx.load(tmp_path / "c.onnx").metadata_props}
    assert json.loads(facts["classes"]) == [["down", "up"], ["-1", "1"]]


def test_a_regressor_gives_values_of_the_shape_of_y(tmp_path):
    X = table()
    model = StackedRegressor((4,), layer_epochs=1, max_epochs=2, random_state=0).fit(
        X, X[:, 0] + 50
    )
    graph = Graph(model.network_, (prediction(single=True),), None, torch.float64).eval()
    with torch.no_grad():
        (found,) = graph(torch.from_numpy(X[:7]))
    assert_same(found.numpy() - 50, model.predict(X[:7]).astype(float) - 50)


# Networks of one's own


def test_modules_of_ones_own_are_written(tmp_path):
    X = table()
    sizes = {"n_values": 6, "n_features": 2}, {"n_features": 2, "shape": (6,)}
    own = Modules(Encoder, Decoder, *sizes)
    model = HierarchicalAutoencoder(2, architecture=own, max_epochs=2, random_state=0).fit(X)
    export(model, tmp_path / "m.onnx", part="score")
    assert_same(run(tmp_path / "m.onnx", rows=X[:7])["score"], model.score_samples(X[:7]))


class Branching(nn.Linear):
    """Does one thing or another, as the numbers say."""

    def forward(self, x):
        return super().forward(x) if x.sum() > 0 else super().forward(-x)


def test_modules_that_cannot_be_followed_are_refused(tmp_path):
    sizes = {"in_features": 6, "out_features": 2}, {"in_features": 2, "out_features": 6}
    own = Modules(Branching, nn.Linear, *sizes)
    model = Autoencoder(2, architecture=own, max_epochs=2).fit(table())
    with pytest.raises(ValueError, match=r"^Modules cannot be written as ONNX: \S.*\. Write the"):
        export(model, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


# Special functions


def test_gamma_and_its_derivative():
    x = np.concatenate([np.logspace(-6, 6, 500), np.arange(1, 30)])
    found = _special.log_gamma(torch.tensor(x)), _special.digamma(torch.tensor(x))
    np.testing.assert_allclose(found[0], special.gammaln(x), rtol=1e-9, atol=1e-8)
    np.testing.assert_allclose(found[1], special.digamma(x), rtol=1e-9, atol=1e-12)


def test_normal_shares_and_softplus():
    x = np.linspace(-40, 25, 2001)
    found = _special.log_ndtr(torch.tensor(x)), _special.softplus(torch.tensor(x), 2.0)
    np.testing.assert_allclose(found[0], special.log_ndtr(x), rtol=1e-12)
    np.testing.assert_allclose(found[1], np.logaddexp(0, 2 * x) / 2, rtol=1e-8)


def test_quantiles_of_gamma_variables():
    shapes, noise = np.geomspace(0.02, 1e5, 301)[:, None], np.linspace(-7, 7, 201)
    found = _special.gamma_from(torch.tensor(shapes), torch.tensor(noise))
    low, high = special.ndtr(noise), special.ndtr(-noise)
    lower, upper = special.gammaincinv(shapes, low), special.gammainccinv(shapes, high)
    expected = np.where(noise < 0, lower, upper).clip(1e-30)
    np.testing.assert_allclose(found, expected, rtol=1e-7)
    far = _special.gamma_from(torch.tensor(2.0), torch.tensor([-50.0, 50.0]).double())
    np.testing.assert_allclose(far, special.gammaincinv(2, [1e-12, 1 - 1e-12]), rtol=1e-4)


# Mistakes


@pytest.fixture(scope="module")
def model():
    return Autoencoder(2, **quick(**TINY)).fit(table())


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"part": "encodr"},
            "part='encodr' is not known. Did you mean 'encoder'? "
            "Known are: encoder, decoder, reconstruction, score, sampler.",
        ),
        (
            {"part": ("encoder", "decoder")},
            "part=('encoder', 'decoder') must be one part, or several that read the same. "
            "Write decoder and sampler to files of their own.",
        ),
        (
            {"level": 1},
            "level=1 is for part='decoder' or part='reconstruction', not for encoder. "
            "Leave it out.",
        ),
        (
            {"part": "sampler"},
            "Autoencoder has no prior that a graph could draw from. Write part='decoder', and give "
            "it draws of model.fit_density(X).density_.",
        ),
        (
            {"part": "decoder", "level": 1},
            "level=1 must be left out: nothing is ranked here. Levels count components, of which "
            "level k uses the first k; they need an ordering, as in HierarchicalAutoencoder.",
        ),
        (
            {"dtype": "float16"},
            "dtype='float16' is not known. Did you mean 'float64'? Known are: float64, float32.",
        ),
    ],
)
def test_mistakes(settings, sentence, model, tmp_path):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        export(model, tmp_path / "m.onnx", **settings)
    assert not list(tmp_path.iterdir())


def test_a_graph_is_a_file_of_its_own_kind(model, tmp_path):
    with pytest.raises(ValueError, match=r"must end in '\.onnx'\. Write '.*m\.onnx'\.$"):
        export(model, tmp_path / "m.safetensors")
    assert not list(tmp_path.iterdir())
    export(model, tmp_path / "M.ONNX", verify=False)
    assert [path.name for path in tmp_path.iterdir()] == ["M.ONNX"]


def test_only_what_is_fitted_is_written(tmp_path):
    with pytest.raises(NotFittedError, match=r"^This Autoencoder instance is not fitted yet\."):
        export(Autoencoder(2), tmp_path / "m.onnx")


def test_other_estimators_are_refused(tmp_path):
    with pytest.raises(TypeError) as caught:
        export(nn.Linear(2, 2), tmp_path / "m.onnx")
    assert str(caught.value) == (
        "Linear cannot be written as ONNX. Pass an autoencoder, a classifier or StackedRegressor."
    )


def test_a_missing_package_is_one_line(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError) as caught:
        export(model, tmp_path / "m.onnx")
    assert str(caught.value) == (
        "'onnxruntime' is not installed. Write: pip install 'narrows[onnx]'"
    )


def test_a_graph_that_differs_is_not_written(case, tmp_path, monkeypatch):
    model, _, path, differences = case
    parts = [each for each in ROWS if PARTS[each].output in differences]
    name, size = next(iter(differences.items()))
    monkeypatch.setattr(module, "_written", lambda *_: path.read_bytes())
    monkeypatch.setattr(module, "TOLERANCE", -1.0)
    with pytest.raises(ArithmeticError) as caught:
        export(model, tmp_path / "m.onnx", part=parts)
    assert str(caught.value) == (
        f"{name} of the graph and of the estimator differ by up to {size:.2g} of the largest "
        "value, more than -1; nothing was written. If single precision is the cause, fit with "
        "Training(precision='float64'); or write verify=False."
    )
    assert not list(tmp_path.iterdir())
    assert export(model, tmp_path / "m.onnx", part=parts, verify=False) == {}
    assert (tmp_path / "m.onnx").read_bytes() == path.read_bytes()

"""New rows: draws of likelihoods and densities, rows between others, rows along a component."""

import copy
import re
import sys
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from sklearn import neighbors
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import narrows
from helpers import circle, estimators, quick, short_name, table
from narrows import Autoencoder, Mixed, SparseAutoencoder, TopK, VariationalAutoencoder
from narrows._errors import MissingExtraError
from narrows.estimators import _fitting
from narrows.estimators._densities import KernelDensity, MixtureDensity
from narrows.estimators._flow import FlowDensity
from narrows.estimators._generating import along
from narrows.nn.code import Layout
from narrows.objective.likelihoods import Categorical, Normal, StudentT
from narrows.parts import DENSITIES, PARTS, load, resolve

X = table()
N = 20_000
SIGNIFICANCE = 1e-3
SMALL = {
    "mixture": {"max_members": 3},
    "kernel": {},
    "flow": {"hidden_features": 8, "n_transforms": 1, "max_epochs": 20},
}

SETTINGS = quick(n_components=3, circular=(1,))
MODELS = {short_name(each): each for each in estimators(**SETTINGS)}
each_model = pytest.mark.parametrize("name", MODELS)
each_kind = pytest.mark.parametrize("kind", DENSITIES)


def density(kind: str):
    return load(DENSITIES[kind])(**SMALL[kind])


@cache
def once(name: str):
    return clone(MODELS[name]).fit(X)


def fitted(name: str = "Autoencoder-none"):
    """An estimator with a code of two numbers and an angle between them, fitted once."""
    return copy.copy(once(name))


def generators(*seeds):
    return tuple(torch.Generator().manual_seed(seed) for seed in seeds)


# Draws of likelihoods


def softplus(output):
    return np.log1p(np.exp(output))


def continuous_bernoulli(output, width):
    falling = stats.truncexpon(abs(output), scale=1 / abs(output))
    return falling.cdf if output < 0 else lambda t: 1 - falling.cdf(1 - np.asarray(t))


CONTINUOUS = {
    "normal": lambda o, s: stats.norm(o, np.exp(s)).cdf,
    "continuous_bernoulli": continuous_bernoulli,
    "laplace": lambda o, s: stats.laplace(o).cdf,
    "student_t": lambda o, s: stats.t(4, o, np.exp(s)).cdf,
}
COUNTS = {
    "bernoulli": lambda o, s: stats.bernoulli(1 / (1 + np.exp(-o))),
    "poisson": lambda o, s: stats.poisson(softplus(o)),
    "negative_binomial": lambda o, s: stats.nbinom(
        np.exp(-s), np.exp(-s) / (np.exp(-s) + softplus(o))
    ),
}


def drawn(likelihood, output: float, log_width: float = 0.0, seed: int = 0):
    outputs = torch.full((1, N, 1), output)
    width = None if likelihood.learns == "none" else torch.full((1, 1, 1), log_width)
    return likelihood.draw(outputs, width, generators(seed)).double().numpy().ravel()


def fits(draws, distribution) -> float:
    """The p-value of counts under a distribution, those expected fewer than 10 times together."""
    values = np.arange(draws.max() + 1)
    expected = N * distribution.pmf(values)
    often = expected >= 10
    seen = np.array([(draws == value).sum() for value in values[often]])
    rest = N - expected[often].sum()
    if rest < 10:
        return stats.chisquare(seen, expected[often] * seen.sum() / expected[often].sum()).pvalue
    return stats.chisquare([*seen, N - seen.sum()], [*expected[often], rest]).pvalue


@pytest.mark.parametrize("name", CONTINUOUS)
@pytest.mark.parametrize(("output", "log_width"), [(-1.5, 0.7), (30.0, -1.0), (1e-7, 0.0)])
def test_draws_follow_the_density(name, output, log_width):
    draws = drawn(resolve("likelihood", name), output, log_width)
    found = stats.kstest(draws, CONTINUOUS[name](output, log_width))
    assert found.pvalue > SIGNIFICANCE


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize(("output", "log_width"), [(-1.5, 0.7), (3.0, -1.0), (0.0, 0.0)])
def test_draws_follow_the_probabilities(name, output, log_width):
    draws = drawn(resolve("likelihood", name), output, log_width)
    assert fits(draws, COUNTS[name](output, log_width)) > SIGNIFICANCE


def test_a_given_noise_and_other_degrees_of_freedom():
    found = stats.kstest(drawn(Normal(0.3), 1.0), stats.norm(1.0, 0.3).cdf)
    assert found.pvalue > SIGNIFICANCE
    found = stats.kstest(drawn(StudentT(1.0), 1.0), stats.cauchy(1.0).cdf)
    assert found.pvalue > SIGNIFICANCE


def test_one_event_is_drawn_of_shares():
    share = np.array([0.1, 0.6, 0.3])
    outputs = torch.tensor(np.log(share)).expand(1, N, 3)
    draws = Categorical().draw(outputs, None, generators(0))[0].numpy()
    assert set(np.unique(draws)) == {0, 1}
    assert (draws.sum(1) == 1).all()
    assert stats.chisquare(draws.sum(0), N * share).pvalue > SIGNIFICANCE


def test_every_likelihood_is_drawn_here():
    assert {*CONTINUOUS, *COUNTS, "categorical", "gaussian"} == PARTS["likelihood"].keys()


def test_squared_error_has_no_noise():
    outputs = torch.randn(1, 5, 3)
    assert torch.equal(resolve("likelihood", "gaussian").draw(outputs, None, ()), outputs)


def test_columns_are_drawn_group_by_group():
    kinds = Mixed([("bernoulli", [2]), ("normal", [0, 3])], rest="gaussian").placed(None, 4)
    width = torch.tensor([0.5, 9.0, 9.0, -1.0]).expand(1, 1, 4)
    draws = kinds.draw(torch.full((1, N, 4), 0.4), width, generators(0))[0].numpy()
    assert (draws[:, 1] == np.float32(0.4)).all()
    assert fits(draws[:, 2], stats.bernoulli(1 / (1 + np.exp(-0.4)))) > SIGNIFICANCE
    for column, log_width in ((0, 0.5), (3, -1.0)):
        spread = stats.norm(0.4, np.exp(log_width))
        assert stats.kstest(draws[:, column], spread.cdf).pvalue > SIGNIFICANCE


@pytest.mark.parametrize("name", PARTS["likelihood"])
def test_restarts_draw_from_generators_of_their_own(name):
    likelihood, outputs = resolve("likelihood", name), torch.randn(2, 5, 3)
    width = None if likelihood.learns == "none" else torch.randn(2, 1, 1)
    both = likelihood.draw(outputs, width, generators(1, 2))
    alone = likelihood.draw(outputs[1:], None if width is None else width[1:], generators(2))
    assert torch.equal(both[1:], alone)


# Densities


@pytest.mark.parametrize("n_members", [1, 2, 4])
def test_bic_finds_the_number_of_members(n_members):
    rng = np.random.default_rng(n_members)
    centres = 8 * np.column_stack([np.cos(np.arange(n_members)), np.arange(n_members)])
    codes = centres[rng.integers(n_members, size=600)] + rng.normal(size=(600, 2)) * [1.0, 0.5]
    found = MixtureDensity().fit(codes, 0)
    assert len(found.weights_) == n_members
    assert len(MixtureDensity(max_members=1).fit(codes, 0).weights_) == 1


@pytest.fixture(scope="module")
def banana():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 800))
    return np.column_stack([100 + 2 * a, 0.01 * (b + a**2)])


@each_kind
def test_a_density_integrates_to_one(banana, kind):
    found = density(kind).fit(banana, 0)
    low, high = banana.min(0), banana.max(0)
    span = high - low
    sides = [np.linspace(a, b, 150) for a, b in zip(low - span / 2, high + span / 2, strict=True)]
    grid = np.stack(np.meshgrid(*sides), -1).reshape(-1, 2)
    cell = np.prod([side[1] - side[0] for side in sides])
    assert np.exp(found.log_density(grid)).sum() * cell == pytest.approx(1, abs=0.02)


@each_kind
def test_draws_are_where_the_density_is(banana, kind):
    found = density(kind).fit(banana, 0)
    draws, others = found.sample(4000, 1), found.sample(4000, 2)
    # E_p[p] by draws, and the entropy twice: p is its own sampler.
    one, two = (found.log_density(some) for some in (draws, others))
    assert one.mean() == pytest.approx(two.mean(), abs=5 * one.std() / 4000**0.5)
    assert np.array_equal(draws, found.sample(4000, 1))


def test_moments_of_draws():
    rng = np.random.default_rng(0)
    codes = np.concatenate([rng.normal(size=(300, 3)), rng.normal(4, 0.3, size=(100, 3))])
    mixture = MixtureDensity(max_members=3).fit(codes, 0)
    w, at = mixture.weights_, mixture.means_
    spread = np.einsum("k,kij->ij", w, mixture.covariances_) + np.cov(at.T, aweights=w, ddof=0)
    kernel = KernelDensity().fit(codes, 0)
    wide = np.cov(kernel.points_.T, ddof=0) + kernel.bandwidth_**2 * np.eye(3)
    for found, mean, covariance in ((mixture, w @ at, spread), (kernel, np.zeros(3), wide)):
        draws = found.sample(N, 0)
        expected = found.axes_ @ covariance @ found.axes_.T
        error = 6 * np.sqrt(np.diag(expected) / N)
        np.testing.assert_array_less(
            np.abs(draws.mean(0) - found.centre_ - found.axes_ @ mean), error
        )
        np.testing.assert_allclose(np.cov(draws.T), expected, atol=0.1)


def test_one_member_is_the_normal_density():
    codes = np.random.default_rng(0).normal(size=(500, 2)) @ [[2.0, 0.0], [1.0, 0.1]] + 5
    found = MixtureDensity(max_members=1).fit(codes, 0)
    exact = stats.multivariate_normal(codes.mean(0), np.cov(codes.T, ddof=0))
    np.testing.assert_allclose(found.log_density(codes), exact.logpdf(codes), atol=2e-3)


def test_kernels_do_not_depend_on_units(banana):
    map_ = np.array([[3.0, 1.0], [0.0, -50.0]])
    one, two = (KernelDensity().fit(codes, 0) for codes in (banana, banana @ map_ + 7))
    shift = np.log(abs(np.linalg.det(map_)))
    found = two.log_density(banana @ map_ + 7)
    np.testing.assert_allclose(found, one.log_density(banana) - shift, atol=1e-6)


def test_kernels_are_those_of_scikit_learn(banana):
    found = KernelDensity().fit(banana, 0)
    same = neighbors.KernelDensity(bandwidth=float(found.bandwidth_)).fit(found.points_)
    moved = found.sample(50, 0)
    white = (moved - found.centre_) @ np.linalg.inv(found.axes_).T
    volume = np.log(abs(np.linalg.det(found.axes_)))
    expected = same.score_samples(white) - volume
    np.testing.assert_allclose(found.log_density(moved), expected, rtol=1e-9)


def test_kernels_of_a_normal_sample_are_as_wide_as_theory_says():
    codes = np.random.default_rng(0).normal(size=(2000, 1))
    found = float(KernelDensity().fit(codes, 0).bandwidth_)
    assert 0.5 < found / (1.06 * 2000**-0.2) < 2


@each_kind
def test_what_does_not_vary_stays(kind):
    share = np.random.default_rng(0).dirichlet([1, 2, 3], size=200)
    codes = np.column_stack([share, np.zeros(200), np.full(200, 7.0)]).astype(np.float32)
    draws = density(kind).fit(codes.astype(np.float64), 0).sample(50, 0)
    assert (draws[:, 3:] == [0, 7]).all()
    np.testing.assert_allclose(draws[:, :3].sum(1), 1, atol=1e-5)


def test_a_flow_bends_where_one_normal_density_cannot(banana):
    flow = FlowDensity(n_transforms=2, hidden_features=16, max_epochs=30).fit(banana[:600], 0)
    normal = MixtureDensity(max_members=1).fit(banana[:600], 0)
    gain = flow.log_density(banana[600:]) - normal.log_density(banana[600:])
    assert gain.mean() > 5 * gain.std() / 200**0.5


@each_kind
def test_one_direction_is_enough(kind):
    codes = np.random.default_rng(0).normal(size=(200, 1))
    assert density(kind).fit(codes, 0).sample(5, 0).shape == (5, 1)


# Samples of models


@each_model
def test_samples_are_reproducible_rows(name, monkeypatch):
    model = fitted(name).fit_density(X, "kernel", random_state=0)
    own = torch.get_rng_state()
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    rows = model.sample(40, random_state=1)
    assert rows.shape == (40, 6)
    assert rows.dtype == model.reconstruct(X).dtype
    assert np.array_equal(rows, model.sample(40, random_state=1))
    assert not np.array_equal(rows, model.sample(40, random_state=2))
    again = fitted(name).fit_density(X, "kernel", random_state=0)
    assert np.array_equal(rows, again.sample(40, random_state=1))
    monkeypatch.setattr(_fitting, "EVALUATION_ROWS", 7)
    np.testing.assert_allclose(model.sample(40, random_state=1), rows, rtol=1e-5, atol=1e-5)
    assert np.array_equal(state, np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(own, torch.get_rng_state())


@each_kind
def test_draws_of_every_kind_are_decoded_codes(kind):
    model = fitted()
    assert model.fit_density(X, kind, random_state=0, **SMALL[kind]) is model
    state = torch.get_rng_state()
    seed = _fitting.seeds(1, 2)[0]
    pairs = model.density_.sample(30, np.random.default_rng(seed))
    length = np.linalg.norm(pairs[:, 1:3], axis=1)
    assert np.abs(length - 1).max() > 1e-3
    pairs[:, 1:3] /= length[:, None]
    expected = model.inverse_transform(pairs)
    np.testing.assert_allclose(model.sample(30, random_state=1), expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(state, torch.get_rng_state())


def test_a_linear_generator_has_the_covariance_of_its_model():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(800, 2)) @ rng.normal(size=(2, 4)) + 0.4 * rng.normal(size=(800, 4))
    model = VariationalAutoencoder(2, hidden_layer_sizes=(), max_epochs=40, random_state=0)
    model.fit(rows * [1, 10, 1, 1] + 3)
    centre = model.inverse_transform(np.zeros((1, 2)))[0]
    weights = (model.inverse_transform(np.eye(2)) - centre).T.astype(np.float64)
    sigma = np.exp(model._model.log_width.item()) * model._input_scale.width
    for noise, covariance in (
        (True, weights @ weights.T + np.diag(sigma**2)),
        (False, weights @ weights.T),
    ):
        draws = model.sample(50_000, noise=noise, random_state=0)
        width = np.sqrt(np.diag(covariance))
        np.testing.assert_allclose((draws.mean(0) - centre) / width, 0, atol=0.02)
        np.testing.assert_allclose(
            np.cov(draws.T) / np.outer(width, width), covariance / np.outer(width, width), atol=0.03
        )


def test_noise_is_that_of_the_likelihood():
    counts = table("poisson")
    model = VariationalAutoencoder(likelihood="poisson", **quick()).fit(counts)
    rows, means = (model.sample(2000, noise=n, random_state=0) for n in (True, False))
    assert (rows == np.round(rows)).all()
    assert not (means == np.round(means)).any()
    off = (rows - means) / np.sqrt(means)
    assert off.var() == pytest.approx(1, abs=0.05)
    plain = fitted().fit_density(X, random_state=0, max_members=2)
    assert np.array_equal(*(plain.sample(9, noise=n, random_state=0) for n in (True, False)))


def test_the_width_is_that_of_the_last_level():
    model = VariationalAutoencoder(2, ordering="shared", **quick()).fit(X)
    rows, means = (model.sample(4000, noise=n, random_state=0) for n in (True, False))
    sigma = np.exp(model._model.log_width[0, -1].item()) * model._input_scale.width
    np.testing.assert_allclose((rows - means).std(0) / sigma, 1, atol=0.05)


@pytest.mark.parametrize("code", PARTS["code"])
def test_codes_stay_where_they_are_and_others_move_there(code):
    layout = Layout(4)
    part = TopK(2) if code == "top_k" else resolve("code", code)
    raw = torch.randn(1, 20, part.n_raw(layout), generator=generators(0)[0])
    features = part(raw, layout)
    torch.testing.assert_close(part.project(features, layout), features, atol=1e-5, rtol=1e-5)
    moved = part.project(features + 0.3, layout)
    torch.testing.assert_close(part.project(moved, layout), moved, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("activation", narrows.nn.activation.ACTIVATIONS)
def test_draws_keep_the_range_of_the_activation(activation):
    code, layout = narrows.Plain(activation), Layout(1)
    features = code(torch.linspace(-9, 9, 2001)[None, :, None], layout)
    torch.testing.assert_close(code.project(features, layout), features)
    far = code.project(torch.tensor([[[-1e6], [1e6]]]), layout).flatten().tolist()
    low, high = features.min().item(), features.max().item()
    assert far[0] == -1e6 or far[0] == pytest.approx(low, abs=2e-3)
    assert far[1] == 1e6 or far[1] == pytest.approx(high, abs=2e-3)


def test_samples_of_sparse_codes_are_sparse():
    model = SparseAutoencoder(12, sparsity="top_k", k=2, **quick()).fit(X)
    model.fit_density(X, max_members=2)
    features = model._drawn(50, np.random.SeedSequence(0))
    assert (features != 0).sum(1).max() == 2


def test_rows_have_the_shape_of_events_targets_and_sequences():
    images = X.reshape(-1, 3, 2)
    model = Autoencoder(**quick()).fit(images).fit_density(images, max_members=1)
    assert model.sample(4).shape == (4, 3, 2)
    assert model.interpolate(images[0], images[1], 5).shape == (1, 5, 3, 2)
    assert model.traverse(images[:3], 0, [0.0, 1.0]).shape == (3, 2, 3, 2)
    other = Autoencoder(**quick()).fit(X, target=X[:, :2]).fit_density(X, "kernel")
    assert other.sample(4).shape == (4, 2)
    assert other.interpolate(X[:3], X[3:6], 5).shape == (3, 5, 2)
    waves = [np.sin(np.arange(n) + n) for n in (5, 7, 6) * 20]
    reader = Autoencoder(**quick(hidden_layer_sizes=(), architecture="recurrent")).fit(waves)
    assert reader.fit_density(waves, "kernel").sample(4).shape == (4, 7)
    path = reader.interpolate(waves[0], waves[1], 3)
    assert path.shape == (1, 3, 7)
    np.testing.assert_allclose(path[0, 0, :5], reader.reconstruct(waves[:1])[0], atol=1e-5)


def test_a_row_of_a_frame_keeps_its_names():
    frame = pd.DataFrame(X, columns=list("abcdef"))
    model = Autoencoder(**quick()).fit(frame)
    path = model.interpolate(frame.iloc[0], frame.iloc[1], 3)
    np.testing.assert_allclose(path[0, 0], model.reconstruct(frame[:1])[0], rtol=1e-5, atol=1e-5)
    assert model.traverse(frame.iloc[0], 0, [0.0]).shape == (1, 1, 6)


def test_another_fit_forgets_the_density():
    model = Autoencoder(**quick(n_init=2)).fit(X).fit_density(X, "kernel")
    assert not [restart for restart in model.restarts_ if hasattr(restart, "density_")]
    assert not hasattr(clone(model).fit(X), "density_")
    assert not hasattr(model.partial_fit(X), "density_")
    assert not hasattr(model.fit_density(X, "kernel").fit(X), "density_")


@each_kind
def test_files_keep_the_density(kind, tmp_path):
    model = fitted()
    model.fit_density(X, kind, random_state=0, **SMALL[kind])
    model.save(tmp_path / "one.safetensors")
    twin = narrows.load(tmp_path / "one.safetensors")
    assert twin.density_.get_params() == model.density_.get_params()
    assert np.array_equal(twin.sample(30, random_state=0), model.sample(30, random_state=0))
    codes = model._pairs(X)
    assert np.array_equal(twin.density_.log_density(codes), model.density_.log_density(codes))
    twin.save(tmp_path / "two.safetensors")
    assert (tmp_path / "one.safetensors").read_bytes() == (
        tmp_path / "two.safetensors"
    ).read_bytes()


@each_kind
def test_arrays_of_another_density_are_refused(kind):
    found = density(kind).fit(np.random.default_rng(0).normal(size=(100, 2)), 0)
    for name, array in found.arrays.items():
        wrong = np.full_like(array, np.nan) if array.ndim == 0 else array[..., None]
        with pytest.raises(ValueError, match=r"^The (tensors|sizes) of the (density|flow) "):
            density(kind).restore({**found.arrays, name: wrong}, 2)
    with pytest.raises(ValueError, match=r"^The tensors of the density have the shapes "):
        density(kind).restore(found.arrays, 3)


# Between rows


@each_model
@pytest.mark.parametrize("kind", ["linear", "spherical"])
def test_a_path_ends_at_reconstructions(name, kind):
    model = fitted(name)
    path = model.interpolate(X[:8], X[8:16], 5, kind=kind)
    assert path.shape == (8, 5, 6)
    assert path.dtype == model.reconstruct(X).dtype
    np.testing.assert_allclose(path[:, 0], model.reconstruct(X[:8]), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(path[:, -1], model.reconstruct(X[8:16]), rtol=1e-4, atol=1e-4)


def test_a_straight_path_decodes_the_codes_between():
    model = Autoencoder(3, **quick()).fit(X)
    a, b = model.transform(X[:4]), model.transform(X[4:8])
    path = model.interpolate(X[:4], X[4:8], 5)
    for step, share in enumerate(np.linspace(0, 1, 5)):
        expected = model.inverse_transform((1 - share) * a + share * b)
        np.testing.assert_allclose(path[:, step], expected, rtol=1e-5, atol=1e-5)


def test_great_circles_have_a_closed_form():
    share = torch.linspace(0, 1, 7, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=generators(0)[0]))[0]
    opening = 1.1
    a = torch.tensor([[2.0, 0.0, 0.0]], dtype=torch.float64) @ turn
    b = 5 * torch.tensor([[np.cos(opening), np.sin(opening), 0.0]], dtype=torch.float64) @ turn
    found = along(a, b, share, Layout(3), "spherical")[0]
    angle, length = opening * share, 2 + 3 * share
    plane = torch.stack([angle.cos(), angle.sin(), torch.zeros(7, dtype=torch.float64)], 1)
    torch.testing.assert_close(found, length[:, None] * plane @ turn)


@pytest.mark.parametrize("factor", [-1.0, 0.0, 2.0])
def test_where_there_is_no_one_great_circle_the_path_is_straight(factor):
    a, share = torch.tensor([[1.0, -2.0]], dtype=torch.float64), torch.linspace(0, 1, 5)
    found = along(a, factor * a, share, Layout(2), "spherical")
    torch.testing.assert_close(found, along(a, factor * a, share, Layout(2), "linear"))


@pytest.mark.parametrize("kind", ["linear", "spherical"])
def test_angles_take_the_shorter_arc(kind):
    layout, share = Layout(2, (0,)), torch.linspace(0, 1, 5, dtype=torch.float64)
    ends = torch.tensor([[3.0, 1.0], [-3.0, 1.0]], dtype=torch.float64)
    path = along(*layout.features(ends).split(1), share, layout, kind)
    found = layout.angles(path)[0, :, 0]
    expected = 3 + share * (2 * np.pi - 6)
    torch.testing.assert_close(torch.cos(found - expected), torch.ones_like(share))


def test_a_traversal_moves_one_component():
    model = fitted()
    codes = model.transform(X[:4])
    for component, values in ((0, [-1.0, 0.0, 2.0]), (1, [3.0, -3.0])):
        rows = model.traverse(X[:4], component, values)
        for step, value in enumerate(values):
            moved = codes.copy()
            moved[:, component] = value
            np.testing.assert_allclose(
                rows[:, step], model.inverse_transform(moved), rtol=1e-5, atol=1e-5
            )


def test_a_traversal_covers_what_the_rows_do():
    model = fitted()
    codes = model.transform(X)
    for component, values in (
        (0, np.quantile(codes[:, 0].astype(np.float64), np.linspace(0.05, 0.95, 4))),
        (1, np.pi * np.array([-1, -0.5, 0, 0.5])),
    ):
        found = model.traverse(X, component, n_steps=4)
        expected = model.traverse(X, component, values)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert model.traverse(X, 0, n_steps=1).shape == (200, 1, 6)


# Mistakes

COMPONENT = "component={} is not one of the 3 components. Write a number from 0 to 2."
ONE_ROW = (
    "One row does not tell how far its component may move. Write values=[-1, 0, 1], say, or pass "
    "more rows."
)
MISTAKES = {
    "no density": (
        lambda model: model.sample(),
        "This Autoencoder has no prior to draw codes from, and no density of its codes was "
        "fitted. Write model.fit_density(X) first.",
    ),
    "no rows": (
        lambda model: model.sample(0),
        "n_samples=0 must be a whole number, at least 1. Write 100, say.",
    ),
    "part of a row": (
        lambda model: model.sample(True),
        "n_samples=True must be a whole number, at least 1. Write 100, say.",
    ),
    "density": (
        lambda model: model.fit_density(X, "mixtur"),
        "kind='mixtur' is not a density. Did you mean 'mixture'? Known are: mixture, kernel, flow.",
    ),
    "members": (
        lambda model: model.fit_density(X, max_members=0),
        "max_members=0 must be a whole number, at least 1. Write 10, say.",
    ),
    "layers": (
        lambda model: model.fit_density(X, "flow", n_transforms=0),
        "n_transforms=0 must be a whole number, at least 1. Write 3, say.",
    ),
    "learning rate": (
        lambda model: model.fit_density(X, "flow", learning_rate=0.0),
        "learning_rate=0.0 must be positive. Write 2e-3.",
    ),
    "one code": (
        lambda model: model.fit_density(X[:1]),
        "A density needs 2 codes at least. Pass more rows.",
    ),
    "same codes": (
        lambda model: model.fit_density(np.repeat(X[:1], 5, 0)),
        "All codes are the same, so they have no density. Pass rows that differ, or fit the model "
        "again with other settings.",
    ),
    "seed": (
        lambda model: model.fit_density(X, "kernel").sample(random_state=-1),
        "random_state=-1 is not a seed. Write a whole number >= 0, a RandomState, a Generator, or "
        "None.",
    ),
    "pairs": (
        lambda model: model.interpolate(X[:2], X[:3]),
        "a has 2 rows and b 3. Write as many of each: pairs are those of equal number.",
    ),
    "path": (
        lambda model: model.interpolate(X[0], X[1], kind="sphere"),
        "kind='sphere' is not a path. Did you mean 'spherical'? Known are: linear, spherical.",
    ),
    "one step": (
        lambda model: model.interpolate(X[0], X[1], 1),
        "n_steps=1 must be a whole number, at least 2. Write 10, say.",
    ),
    "component": (lambda model: model.traverse(X, 3), COMPONENT.format(3)),
    "no whole component": (lambda model: model.traverse(X, 1.0), COMPONENT.format(1.0)),
    "no kind of density": (
        lambda model: model.fit_density(X, None),
        "kind=None is not a density. Known are: mixture, kernel, flow.",
    ),
    "negative component": (lambda model: model.traverse(X, -1), COMPONENT.format(-1)),
    "values": (
        lambda model: model.traverse(X, 0, [0.0, np.nan]),
        "values=[0.0, nan] must be finite numbers in a row. Write values=[-1, 0, 1], say.",
    ),
    "one row": (lambda model: model.traverse(X[0], 0), ONE_ROW),
}


@pytest.mark.parametrize(("mistake", "sentence"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_sentence(mistake, sentence):
    model = fitted()
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        mistake(model)


def test_an_unknown_setting_is_refused():
    model = fitted()
    sentence = (
        "MixtureDensity has no parameter 'n_members'. Did you mean 'max_members'? "
        "It has: max_members."
    )
    with pytest.raises(TypeError, match=f"^{re.escape(sentence)}$"):
        model.fit_density(X, n_members=3)


def test_a_flow_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "zuko", None)
    sentence = "'zuko' is not installed. Write: pip install 'narrows[flow]'"
    model = fitted()
    with pytest.raises(MissingExtraError, match=f"^{re.escape(sentence)}$"):
        model.fit_density(X, "flow")
    assert not hasattr(model, "density_")


@each_model
def test_nothing_is_generated_before_a_fit(name):
    for call in (
        lambda model: model.fit_density(X),
        lambda model: model.sample(),
        lambda model: model.interpolate(X, X),
        lambda model: model.traverse(X, 0),
    ):
        with pytest.raises(NotFittedError, match="is not fitted yet"):
            call(clone(MODELS[name]))


def test_draws_around_a_circle_stay_on_it():
    rows = circle(np.random.default_rng(0).uniform(-np.pi, np.pi, 400))
    settings = {"scale": "none", "max_epochs": 20, "random_state": 0}
    model = Autoencoder(1, circular=[0], **settings).fit(rows)
    model.fit_density(rows, "kernel", random_state=0)
    length = np.linalg.norm(model.sample(300, random_state=0), axis=1)
    assert np.abs(length - 1).max() < 0.1

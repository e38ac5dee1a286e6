"""Every formula of the methods, written once more in numpy."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy import optimize, special, stats
from sklearn import metrics

import narrows
from helpers import OF_POINTS, TARGETS, quick, suited, table
from narrows.blueprint import Blueprint
from narrows.data.batches import Batch
from narrows.estimators._fitting import _certain
from narrows.model import Model
from narrows.nn.code import Layout
from narrows.nn.layers import dropout
from narrows.nn.scale import Scale, moments, scale_from
from narrows.parts import PARTS, load, resolve

N_ROWS, N_VALUES, K = 40, 5, 3


def identity(x):
    return x


def softplus(x):
    return np.logaddexp(0, x)


def softmax(x):
    return special.softmax(x, axis=-1)


def cross_entropy(t, m):
    return -special.xlogy(t, m) - special.xlogy(1 - t, 1 - m)


def negative_binomial(t, m, s):
    r = np.exp(-s)
    return -stats.nbinom.logpmf(t, r, r / (r + m))


def langevin(o):
    return 1 / -np.expm1(-o) - 1 / o


def continuous_bernoulli(t, m):
    """Minus the log-density, from the mean, of which the logit is found by root finding."""
    slack = np.clip(m, 2e-3, 1 - 2e-3)
    o = np.vectorize(lambda m: optimize.brentq(lambda o: langevin(o) - m, -600, 601))(slack)
    return np.log(np.expm1(o) / o) - o * t


# Likelihood -> link, loss(target, mean, log of the learned width)
REFERENCE = {
    "gaussian": (identity, lambda t, m, s: (t - m) ** 2),
    "normal": (identity, lambda t, m, s: -stats.norm.logpdf(t, m, np.exp(s))),
    "continuous_bernoulli": (langevin, lambda t, m, s: continuous_bernoulli(t, m)),
    "bernoulli": (special.expit, lambda t, m, s: cross_entropy(t, m)),
    "categorical": (softmax, lambda t, m, s: -special.xlogy(t, m)),
    "poisson": (softplus, lambda t, m, s: -stats.poisson.logpmf(t, m)),
    "negative_binomial": (softplus, negative_binomial),
    "laplace": (identity, lambda t, m, s: -stats.laplace.logpdf(t, m)),
    "student_t": (identity, lambda t, m, s: -stats.t.logpdf(t, 4, m, np.exp(s))),
}
# Shares with gaps do not sum to one.
GAPPY = [(name, 0.2) for name in PARTS["likelihood"] if name != "categorical"]
each_likelihood = pytest.mark.parametrize("name", PARTS["likelihood"])
each_ordering = pytest.mark.parametrize("ordering", PARTS["ordering"])


def array(tensor):
    return tensor.detach().numpy()


@pytest.fixture
def rng():
    return np.random.default_rng(3)


# Likelihoods


@each_likelihood
def test_loss_and_link(name, rng):
    link, loss = REFERENCE[name]
    likelihood = resolve("likelihood", name)
    target, output = table(name), rng.normal(size=(200, 6))
    log_width = None if likelihood.learns == "none" else rng.normal(size=6)
    found = likelihood.loss(*map(torch.as_tensor, (target, output)), maybe(log_width))
    np.testing.assert_allclose(found, loss(target, link(output), log_width), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(likelihood.link(torch.as_tensor(output)), link(output), rtol=1e-12)


def maybe(log_width):
    return None if log_width is None else torch.as_tensor(log_width)


@each_likelihood
def test_unlink_inverts_link(name, rng):
    likelihood = resolve("likelihood", name)
    mean = likelihood.link(torch.as_tensor(rng.normal(size=(200, 6))))
    np.testing.assert_allclose(likelihood.link(likelihood.unlink(mean)), mean, rtol=1e-9)
    assert likelihood.unlink(torch.zeros(1, 2)).isfinite().all()


def negative_binomial_deviance(t, m, r=1.0):
    return 2 * (special.xlogy(t, t / m) - (t + r) * np.log((t + r) / (m + r))).sum()


DEVIANCE = {  # of all entries, where scikit-learn or a textbook has one
    "gaussian": lambda t, m: 2 * metrics.mean_tweedie_deviance(t, m, power=0) * len(t),
    "bernoulli": lambda t, m: 2 * metrics.log_loss(t, m, normalize=False),
    "poisson": lambda t, m: metrics.mean_poisson_deviance(t, m) * len(t),
    "negative_binomial": negative_binomial_deviance,
    "laplace": lambda t, m: 2 * metrics.mean_absolute_error(t, m) * len(t),
}


@pytest.mark.parametrize("name", DEVIANCE)
def test_deviance(name, rng):
    likelihood = resolve("likelihood", name)
    target, output = torch.as_tensor(table(name)), torch.as_tensor(rng.normal(size=(200, 6)))
    log_width = None if likelihood.learns == "none" else torch.zeros(6)
    found = 2 * (
        likelihood.loss(target, output, log_width) - likelihood.saturated(target, log_width)
    )
    t, m = array(target).ravel(), array(likelihood.link(output)).ravel()
    assert float(found.sum()) == pytest.approx(DEVIANCE[name](t, m), rel=1e-9)


@each_likelihood
def test_perfect_reconstruction_has_no_deviance(name):
    likelihood = resolve("likelihood", name)
    target = torch.as_tensor(table(name)).clamp(-1e3, 1e3)
    at_target = likelihood.loss(target, likelihood.unlink(target), None)
    np.testing.assert_allclose(likelihood.saturated(target, None), at_target, atol=1e-3)


def test_shares_are_normalised_on_request(rng):
    counts = torch.as_tensor(rng.poisson(5.0, (10, 4)) + 1.0)
    output = torch.as_tensor(rng.normal(size=(10, 4)))
    found = narrows.Categorical(normalise=True).loss(counts, output, None)
    shares = array(counts) / array(counts).sum(1, keepdims=True)
    np.testing.assert_allclose(found, -shares * np.log(softmax(array(output))), rtol=1e-12)


# Fraction of variance explained


@pytest.mark.parametrize(("name", "gaps"), [*((name, 0.0) for name in PARTS["likelihood"]), *GAPPY])
def test_fve(name, gaps, rng):
    """One minus the ratio of deviances, per level, with weights, over observed entries."""
    loss, likelihood = REFERENCE[name][1], resolve("likelihood", name)
    X, weight = table(name), rng.uniform(0.1, 3, 200)
    observed = rng.random(X.shape) >= gaps
    holed = np.where(observed, X, np.nan)
    model = narrows.HierarchicalAutoencoder(**quick(likelihood=name, missing="ignore")).fit(holed)

    scale = standardise(holed) if likelihood.scales_target else identity
    for level, explained in enumerate(model.fve(holed, sample_weight=weight)):
        s = learned_width(model, level)
        perfect = array(likelihood.saturated(torch.as_tensor(scale(X)), torch.as_tensor(s)))

        def deviance(mean, s=s, perfect=perfect):
            entries = loss(scale(X), scale(mean.astype(float)), s) - perfect
            return weight @ np.where(observed, entries, 0).sum(1)

        ratio = deviance(model.reconstruct(holed, level + 1)) / deviance(np.nanmean(holed, 0))
        assert explained == pytest.approx(1 - ratio, abs=2e-5)


def standardise(X):
    return lambda x: (x - np.nanmean(X, 0)) / np.nanstd(X, 0)


def learned_width(model, level):
    width = model._model.log_width
    return 0.0 if width is None else array(width[0, level]).astype(float)


@pytest.mark.parametrize("weighted", [False, True])
def test_scales(weighted, rng):
    X, weight = table() * [1, 10, 1e-3, 5, 1, 1] + 3, rng.uniform(0.1, 3, 200)
    chunks = [(X[a : a + 70], weight[a : a + 70] if weighted else None) for a in (0, 70, 140)]
    found = moments(chunks, 6)
    mean = np.average(X, 0, weight if weighted else None)
    variance = np.average((X - mean) ** 2, 0, weight if weighted else None)
    one = np.ones(6)
    widths = {"standard": variance**0.5, "global": variance.mean() ** 0.5 * one, "none": one}
    for kind, width in widths.items():
        scale = scale_from(found, kind)
        np.testing.assert_allclose(scale.width, width, rtol=1e-12)
        np.testing.assert_allclose(scale.centre, 0 if kind == "none" else mean, rtol=1e-12)
        scaled = scale.apply(X, torch.float64)
        np.testing.assert_allclose(scaled, (X - scale.centre) / width, rtol=1e-12)
        np.testing.assert_allclose(scale.invert(scaled), X, rtol=1e-12)


@pytest.mark.parametrize("width", [1e-3, 1.0, 1e30, 1e37, 1e-38, 1e38])
@pytest.mark.parametrize("centre", [0.0, 0.1, 1e6 + 0.01, -3e20, -9e36])
def test_single_precision_is_scaled_like_double(centre, width, rng):
    """To the rounding of the result, and that of the rows, which is far below their width."""
    X = (centre + width * rng.normal(size=(50, 3))).astype(np.float32)
    X[0], X[1] = np.float32(centre), np.nextafter(np.float32(centre), np.float32(np.inf))
    X[2] = 3.4e38
    scale = Scale(np.full(3, centre), np.full(3, width))
    expected = scale.apply(X.astype(np.float64), torch.float64).numpy()
    found = scale.apply(X).numpy().astype(np.float64)
    rounding = float(np.finfo(np.float32).eps)
    off = rounding**2 * abs(centre) / width
    with np.errstate(over="ignore"):
        exact = expected.astype(np.float32)
    np.testing.assert_allclose(found, exact, rtol=2 * rounding, atol=off + 1e-44)
    read_only = X.copy()
    read_only.flags.writeable = False
    np.testing.assert_array_equal(scale.apply(read_only), found)


# Networks, codes and orderings


def dense(network, x, index):
    """Apply one network of a batched one: a linear path beside the hidden layers."""
    weights, biases = (
        [array(p[index]) for p in part] for part in (network.weights, network.biases)
    )
    out = x @ array(network.path[index]) + biases[-1]
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        x = x @ weight + bias
        x = x * special.expit(x)
    return out + x @ weights[-1]


def seen(code, components):
    """Mask all components but some; the features of component 1, the circular one, come last."""
    keep = [j in components for j in (0, 2, 1, 1)]
    return np.where(keep, code, 0)


def decode_all(decoder, code):
    return [dense(decoder, code, 0)]


def decode_collective(decoder, code):
    return [dense(decoder, seen(code, range(k + 1)), k) for k in range(K)]


def decode_boosted(decoder, code):
    return list(np.cumsum([dense(decoder, seen(code, [k]), k) for k in range(K)], axis=0))


def decode_shared(decoder, code):
    return [dense(decoder, seen(code, range(k + 1)), 0) for k in range(K)]


LEVELS = {
    "none": decode_all,
    "collective": decode_collective,
    "boosted": decode_boosted,
    "shared": decode_shared,
    "nested": decode_shared,
}


def build(ordering, likelihood="gaussian", penalties=(), circular=(1,)):
    """A model with random weights, in double precision, and rows that it reads."""
    code = suited(penalties).get("code")
    blueprint = Blueprint(
        narrows.Dense((7,), init="random"),
        resolve("code", code),
        Layout(K, () if code else circular),
        resolve("ordering", ordering),
        resolve("likelihood", likelihood),
        tuple(resolve("penalty", penalty) for penalty in penalties),
        (N_VALUES,),
        (N_VALUES,),
    )
    model = Model(blueprint, 1).double()
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator).double() / 2
    rows = torch.as_tensor(table(likelihood, N_ROWS, N_VALUES))
    return model, Batch(rows, rows)


def code_of(model, x):
    """Encode: a circular component is (p, q) divided by its length."""
    raw = dense(model.encoder, x, 0)
    length = np.sqrt(raw[:, 2] ** 2 + raw[:, 3] ** 2)[:, None]
    return np.hstack([raw[:, :2], raw[:, 2:] / length])


def squared(t, q):
    return ((t - q) ** 2).sum(1)


@each_ordering
def test_levels_and_objective(ordering):
    model, batch = build(ordering)
    x = array(batch.x)
    code = code_of(model, x)
    levels = LEVELS[ordering](model.decoder, code)
    np.testing.assert_allclose(array(model.decode(model.encode(batch.x)))[0], levels, rtol=1e-9)
    expected = np.mean([squared(x, q) for q in levels])
    if ordering == "shared":
        expected += 0.01 * squared(x, dense(model.decoder, seen(code, [1, 2]), 0)).mean()
    assert model.terms(batch)[0].item() == pytest.approx(expected, rel=1e-6)
    # The optimiser sees the loss per value.
    assert model(batch)[0].item() == pytest.approx(expected / N_VALUES, rel=1e-6)


@pytest.mark.parametrize("penalties", [[], *([name] for name in PARTS["penalty"])], ids=str)
@each_ordering
def test_the_objective_by_rows_averages_to_the_terms(ordering, penalties, rng):
    model, batch = build(ordering, penalties=penalties)
    for weight in (None, torch.as_tensor(rng.uniform(0, 3, N_ROWS))):
        weighted = Batch(batch.x, batch.x, weight)
        mean = model.objective(weighted).mean(1)
        torch.testing.assert_close(mean, sum(model.terms(weighted)), rtol=1e-9, atol=0)


@pytest.mark.parametrize("ordering", ["collective", "boosted", "shared"])
def test_level_weights(ordering):
    model, batch = build(load(PARTS["ordering"][ordering])(level_weights=(1, 0, 3)))
    x = array(batch.x)
    code = code_of(model, x)
    losses = [squared(x, q).mean() for q in LEVELS[ordering](model.decoder, code)]
    expected = np.average(losses, weights=(1, 0, 3))
    if ordering == "shared":
        expected += 0.01 * squared(x, dense(model.decoder, seen(code, [1, 2]), 0)).mean()
    assert model.terms(batch)[0].item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("nested", "weights"),
    [
        (narrows.Nested(), np.full(K, 1 / K)),
        (narrows.Nested(rate=0.4), np.array([1, 0.6, 0.36]) / 1.96),
    ],
)
def test_random_prefixes_average_to_the_mean_over_levels(nested, weights):
    model, batch = build(nested)
    expected = model.terms(batch)[0].item()
    x = array(batch.x)
    levels = decode_shared(model.decoder, code_of(model, x))
    assert expected == pytest.approx(weights @ [squared(x, q).mean() for q in levels], rel=1e-6)
    model.train().seed([torch.Generator().manual_seed(0)])
    draws = [model.terms(batch)[0].item() for _ in range(400)]
    assert abs(np.mean(draws) - expected) < 4 * np.std(draws) / 20


class Halves(narrows.Nested):
    """Levels of two components each."""

    def masks(self, n_components):
        return super().masks(n_components)[1::2]


class Odd(narrows.Nested):
    def masks(self, n_components):
        return torch.eye(n_components)


def test_prefixes_of_ones_own_are_drawn_as_their_masks_say():
    levels = Halves(rate=0.4).objective(4)
    drawn = Halves().draw(levels, 4000, [torch.Generator().manual_seed(0)])
    for level, (mask, weight) in enumerate(zip(levels.masks[:, 0], levels.weights, strict=True)):
        own = drawn.index[0] == level
        assert (drawn.masks[0, 0, own] == mask).all()
        assert own.float().mean().item() == pytest.approx(float(weight), abs=0.03)


def test_levels_that_are_no_prefixes_cannot_be_drawn_as_such():
    with pytest.raises(ValueError, match=r"^The masks of Odd are no prefixes, which it draws"):
        Odd().objective(3)


def test_circular_components_come_out_as_angles_or_pairs(rng):
    X = table()
    settings = quick(n_components=3, circular=(1,))
    angles = narrows.Autoencoder(**settings).fit(X)
    pairs = narrows.Autoencoder(**settings, circular_output="cos_sin").fit(X)
    z, zz = angles.transform(X), pairs.transform(X)
    plain, angle = z[:, [0, 2]], z[:, 1]
    expected = np.column_stack([plain[:, 0], np.cos(angle), np.sin(angle), plain[:, 1]])
    np.testing.assert_allclose(zz, expected, atol=1e-6)
    assert np.abs(angle).max() <= np.pi
    for code in (z, zz, np.add(z, [0, 2 * np.pi, 0])):
        np.testing.assert_allclose(angles.inverse_transform(code), angles.reconstruct(X), atol=1e-5)


@pytest.mark.parametrize("activation", ["identity", "tanh", "sigmoid"])
def test_activation_of_the_code_leaves_angles_alone(activation, rng):
    raw = torch.as_tensor(rng.normal(size=(1, 9, 4)))
    code = narrows.Plain(activation)(raw, Layout(3, (1,)))
    function = {"identity": identity, "tanh": np.tanh, "sigmoid": special.expit}[activation]
    np.testing.assert_allclose(code[..., :2], function(array(raw))[..., :2], rtol=1e-12)
    np.testing.assert_allclose(code[..., 2:].square().sum(-1), 1, rtol=1e-9)


def test_tied_decoder_is_the_transposed_encoder():
    blueprint = dataclasses.replace(
        build("none")[0].blueprint, architecture=narrows.Dense((7,), tied=True)
    )
    model = Model(blueprint, 1).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    code = np.random.default_rng(0).normal(size=(9, 4))
    w, v = (array(weight[0]) for weight in model.encoder.weights)
    b, c = (array(bias[0]) for bias in model.decoder.biases)
    hidden = code @ v.T + b
    expected = code @ array(model.encoder.path[0]).T + hidden * special.expit(hidden) @ w.T + c
    found = model.decoder(torch.as_tensor(code)[None])
    np.testing.assert_allclose(array(found)[0], expected, rtol=1e-9)


def test_dropout_keeps_the_mean():
    units = dropout(torch.ones(1, 500, 100), 0.2, [torch.Generator().manual_seed(0)])
    assert set(units.unique().tolist()) == {0.0, 1.25}
    assert float(units.mean()) == pytest.approx(1, abs=0.01)
    assert dropout(units, 0.2, ()) is units  # evaluation


def test_contributions_add_up():
    X = table()
    model = narrows.HierarchicalAutoencoder(3, ordering="boosted", **quick()).fit(X)
    total = X.mean(0) + sum(model.contribution(X, k) for k in (1, 2, 3))
    np.testing.assert_allclose(total, model.reconstruct(X), atol=1e-4)


# Penalties and the whole objective


def l1(h):
    return np.abs(h).sum(1).mean()


def decorrelation(h):
    return np.sum(np.triu(np.corrcoef(h.T), 1) ** 2)


def kl_sparsity(h, rate=0.05):
    mean = h.mean(0)
    return stats.entropy([[rate] * len(mean), [1 - rate] * len(mean)], [mean, 1 - mean]).sum()


def posterior(raw):
    """Means and logarithms of widths, which are kept within bounds."""
    mean, log_width = np.split(raw, 2, axis=1)
    return mean, np.clip(log_width, -9, 5)


def divergence(raw):
    mean, log_width = posterior(raw)
    return 0.5 * (np.exp(2 * log_width) + mean**2 - 1 - 2 * log_width).sum(1).mean()


def normal_draws(raw, generator):
    """Draws as the model makes them in evaluation, and what they are drawn from."""
    mean, log_width = posterior(raw)
    noise = array(torch.randn(mean.shape, generator=generator)).astype(float)
    return mean + np.exp(log_width) * noise, mean, np.exp(log_width)


def total_correlation(raw):
    z, mean, width = normal_draws(raw, torch.Generator().manual_seed(0))
    each = stats.norm.logpdf(z[:, None], mean, width)
    joint = special.logsumexp(each.sum(2), 1) - np.log(len(z))
    return (joint - (special.logsumexp(each, 1) - np.log(len(z))).sum(1)).mean()


def discrepancy(raw):
    generator = torch.Generator().manual_seed(0)
    z, *_ = normal_draws(raw, generator)
    torch.multinomial(torch.ones(1), len(z), True, generator=generator)
    p = array(torch.randn(z.shape, generator=generator)).astype(float)

    def mean(a, b):
        squares = ((a[:, None] - b) ** 2).sum(2)
        kernel = sum(c / (c + squares) for c in 2 * K * np.array([0.1, 0.2, 0.5, 1, 2, 5, 10]))
        return kernel[~np.eye(len(a), dtype=bool)].mean() if a is b else kernel.mean()

    return mean(z, z) - 2 * mean(z, p) + mean(p, p)


def of_codes(penalty):
    """A penalty of codes as one of a map from inputs to codes."""
    return lambda encode, x: penalty(encode(x))


def contraction(encode, x, step=1e-5):
    """The squared Jacobian, by central differences."""
    sides = [[encode(x + s * step * unit) for s in (1, -1)] for unit in np.eye(x.shape[1])]
    return sum((((a - b) / (2 * step)) ** 2).sum(1) for a, b in sides).mean()


PENALTY = {
    "l1": of_codes(l1),
    "contractive": contraction,
    "decorrelation": of_codes(decorrelation),
    "kl_sparsity": of_codes(kl_sparsity),
    "divergence": lambda encode, x: divergence(encode(x)),
    "total_correlation": lambda encode, x: total_correlation(encode(x)),
    "mmd": lambda encode, x: discrepancy(encode(x)),
    "revival": lambda encode, x: 0.0,  # in evaluation; see test_sparse for training
}


@pytest.mark.parametrize("name", PARTS["penalty"])
def test_penalty(name):
    penalty = load(PARTS["penalty"][name])(strength=0.7)
    model, batch = build("none", penalties=[penalty], circular=())
    sigmoid = isinstance(suited([name]).get("code"), narrows.Plain)
    link = special.expit if sigmoid else identity
    expected = 0.7 * PENALTY[name](lambda x: link(dense(model.encoder, x, 0)), array(batch.x))
    assert model.terms(batch)[1].item() == pytest.approx(expected, rel=1e-6)


@each_likelihood
def test_scores_and_loss_terms(name):
    X = table(name)
    settings = {"likelihood": name, "penalties": OF_POINTS, "precision": "float64"}
    model = narrows.Autoencoder(**quick(**settings, **suited(OF_POINTS))).fit(X)
    scale = standardise(X) if resolve("likelihood", name).scales_target else identity
    mean = scale(model.reconstruct(X).astype(float))
    losses = REFERENCE[name][1](scale(X), mean, learned_width(model, 0)).sum(1)
    np.testing.assert_allclose(model.score_samples(X), -losses, rtol=1e-3, atol=1e-4)
    strength = {part: load(PARTS["penalty"][part])().strength for part in OF_POINTS}

    def encode(x):
        return array(model._model.encode(torch.as_tensor(x)))[0]

    terms = {part: strength[part] * PENALTY[part](encode, standardise(X)(X)) for part in OF_POINTS}
    assert model.loss_terms(X) == pytest.approx(
        {"reconstruction": losses.mean(), **terms}, rel=1e-3
    )


# Weights


@pytest.mark.parametrize(
    ("ordering", "penalties"),
    [*((name, []) for name in PARTS["ordering"]), *(("none", [name]) for name in OF_POINTS)],
)
def test_weight_three_is_three_copies(ordering, penalties, rng):
    model, batch = build(ordering, penalties=penalties)
    counts = rng.integers(0, 4, N_ROWS)
    copies = batch.x.repeat_interleave(torch.as_tensor(counts), 0)
    weighted = Batch(batch.x, batch.x, torch.as_tensor(counts / counts.mean()))
    expected = torch.stack(model.terms(Batch(copies, copies)))
    torch.testing.assert_close(torch.stack(model.terms(weighted)), expected, rtol=1e-9, atol=0)


# The prefixes of a nested ordering are drawn row by row.
@pytest.mark.parametrize("ordering", [name for name in PARTS["ordering"] if name != "nested"])
def test_weights_act_as_copies_through_a_whole_fit(ordering, rng):
    """In a full batch, all else equal: scaling, start, steps, fraction explained."""
    X, counts = table(n_rows=30), rng.integers(0, 4, 30)
    copies = np.repeat(X, counts, axis=0)
    whole = {"validation_fraction": 0, "precision": "float64"}
    model = narrows.Autoencoder(**quick(ordering=ordering, batch_size=1000, **whole))
    expected, fve = model.fit(copies).transform(X), model.fve(copies)
    np.testing.assert_allclose(model.fve(X, sample_weight=counts), fve, rtol=1e-9)
    np.testing.assert_allclose(model.fit(X, sample_weight=counts).transform(X), expected, rtol=1e-6)
    np.testing.assert_allclose(model.fve_, fve, rtol=1e-6)


def test_every_part_has_its_formula():
    assert set(REFERENCE) == set(TARGETS) == set(PARTS["likelihood"])
    assert set(LEVELS) == set(PARTS["ordering"])
    assert set(PENALTY) == set(PARTS["penalty"])


# Going back to the start


def hall(gain):
    """Hall's transformation of Student's t, which removes its skewness."""
    n, ratio, g = len(gain), gain.mean() / gain.std(), stats.skew(gain)
    return n**0.5 * (ratio + g * ratio**2 / 3 + g**2 * ratio**3 / 27 + g / (6 * n))


def test_a_gain_is_certain_by_student_or_hall(rng):
    gains = rng.normal(0.3, 1, (200, 30)) * rng.choice([0.3, 1, 3], (200, 30))
    gains[100:] += rng.exponential(1, (100, 30)) - 0.5
    student = stats.ttest_1samp(gains, 0, axis=1, alternative="greater").pvalue < 0.01
    by_hall = np.array([hall(gain) for gain in gains]) > stats.t.ppf(0.99, 29)
    assert (by_hall & ~student).sum() > 0
    assert (student & ~by_hall).sum() > 0
    np.testing.assert_array_equal(_certain(torch.as_tensor(gains)), student | by_hall)


def test_no_gain_and_one_row_are_never_certain():
    assert not _certain(torch.zeros(2, 40)).any()
    assert not _certain(torch.ones(2, 1)).any()
    assert _certain(torch.ones(1, 2)).all()

"""Convolutional networks: torch's own convolutions, sizes restored, PCA at the start."""

import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

from helpers import quick
from narrows import (
    L1,
    Autoencoder,
    ContractiveAutoencoder,
    Convolutional,
    DenoisingAutoencoder,
    Dense,
    HierarchicalAutoencoder,
    load,
)
from narrows.nn.architecture import Sizes
from narrows.nn.convolutional import Convolution, grid
from narrows.nn.scale import moments, scale_from
from narrows.parts import PARTS
from test_limits import pca_fve

K = 3
EVENTS = {"series": (7,), "two series": (2, 9), "image": (5, 8), "colours": (3, 6, 5)}
EVENTS |= {"volume": (2, 5, 6, 5)}
each_event = pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS)


def n_dims_of(event):
    return 1 if event == (2, 9) else None


def networks(event, target=None, n_restarts=1, n_decoders=1, **settings):
    """Encoder and decoder with random weights everywhere, in double precision."""
    settings = {"channels": (4, 3), "n_dims": n_dims_of(event), "init": "random", **settings}
    sizes = Sizes(event, target or event, K, n_restarts, n_decoders)
    pair = Convolutional(**settings).build(sizes)
    generator = torch.Generator().manual_seed(0)
    for network in pair:
        network.double()
        for parameter in network.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator).double() / 2
    return pair


def rows_of(*shape):
    return torch.as_tensor(np.random.default_rng(0).normal(size=shape))


def images(n_rows=150, shape=(8, 8)):
    """Blurred spots anywhere: few numbers, but nothing that a linear map could follow."""
    rng = np.random.default_rng(0)
    axes = np.meshgrid(*[np.arange(size) for size in shape], indexing="ij")
    centres = rng.uniform(1, np.array(shape) - 2, (n_rows, len(shape)))
    squares = sum(
        (axis - c.reshape(-1, *[1] * len(shape))) ** 2
        for axis, c in zip(axes, centres.T, strict=True)
    )
    return np.exp(-squares / 3) + rng.normal(scale=0.02, size=(n_rows, *shape))


# The formula


def silu(x):
    return x * torch.sigmoid(x)


def encoded(network, event, x, r):
    """One row through one encoder, by torch's own convolutions."""
    layers, n_dims = network.layers, len(network.layers[0].fine) - 1
    convolve = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[n_dims]
    h = x.reshape(layers[0].fine)
    for i in range(len(layers) - 1):
        h = silu(convolve(h, network.weights[i][r], network.biases[i][r, 0], stride=2, padding=1))
    last = h.flatten() @ network.weights[-1][r] + network.biases[-1][r, 0]
    return last + x @ network.path[r]


def decoded(network, z, r):
    layers, n_dims = network.layers, len(network.layers[-1].fine) - 1
    convolve = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}[n_dims]
    h = silu(z @ network.weights[0][r] + network.biases[0][r, 0])
    for i in range(1, len(layers)):
        sizes = zip(layers[i].fine[1:], layers[i].coarse[1:], strict=True)
        h = convolve(
            h.reshape(layers[i].coarse),
            network.weights[i][r],
            stride=2,
            padding=1,
            output_padding=[fine - (2 * coarse - 1) for fine, coarse in sizes],
        )
        if i < len(layers) - 1:
            h = silu(h + network.biases[i][r, 0].reshape(-1, *[1] * n_dims))
    return h.flatten() + network.biases[-1][r, 0] + z @ network.path[r]


@each_event
def test_networks_are_torchs_convolutions_one_by_one(event):
    target = (2, *[size + 1 for size in grid(event, n_dims_of(event))[1:]])
    encoder, decoder = networks(event, target, n_restarts=2, n_decoders=3)
    x, z = rows_of(2, 4, np.prod(event)), rows_of(6, 4, K)
    with torch.no_grad():
        raw, outputs = encoder(x), decoder(z)
        some = decoder(z.unflatten(0, (2, 3))[:, 1:].flatten(0, 1), slice(1, 3))
        for r, row in np.ndindex(2, 4):
            expected = encoded(encoder, event, x[r, row], r)
            np.testing.assert_allclose(raw[r, row], expected, rtol=1e-9, atol=1e-9)
        for r, row in np.ndindex(6, 4):
            expected = decoded(decoder, z[r, row], r)
            np.testing.assert_allclose(outputs[r, row], expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(some, outputs[[1, 2, 4, 5]], rtol=1e-12)
    assert outputs.shape[2] == np.prod(target)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_every_size_comes_back(kernel_size, stride):
    shapes = [(n,) for n in range(5, 18)] + [(5, 6), (7, 5), (9, 16), (2, 5, 7, 6), (3, 8, 8)]
    for shape in shapes:
        settings = {"channels": (2,), "kernel_size": kernel_size, "stride": stride}
        encoder, decoder = networks(shape, **settings)
        x = rows_of(1, 2, np.prod(shape))
        assert decoder(encoder(x)).shape == x.shape
        coarse = encoder.layers[0].coarse[1:]
        assert coarse == tuple(-(-n // stride) for n in encoder.layers[0].fine[1:])


def test_hidden_layers_are_kept():
    encoder, _ = networks((3, 6, 5), n_restarts=2)
    kept = []
    encoder(rows_of(2, 4, 90), None, kept)
    assert [tuple(h.shape) for h in kept] == [(2, 4, 4 * 3 * 3), (2, 4, 3 * 2 * 2)]
    assert encoder.n_hidden == 2


@pytest.mark.parametrize("stride", [1, 2])
def test_a_shifted_input_gives_a_shifted_output_inside(stride):
    layer = Convolution((2, 16), (3, 16 // stride), 3, stride)
    weight, x = rows_of(1, *layer.weight), rows_of(1, 1, 32).unflatten(2, (2, 16))
    zero = torch.zeros(1, 1, 1).double()
    plain, shifted = (
        layer.add(zero, rows.flatten(2), weight).unflatten(2, (3, -1))
        for rows in (x, x.roll(stride, 3))
    )
    np.testing.assert_allclose(shifted[..., 2:-1], plain[..., 1:-2], rtol=1e-12)
    assert not np.allclose(shifted[..., :1], plain[..., -1:])


def test_a_kernel_of_one_is_a_dense_layer_at_every_position():
    layer = Convolution((4, 5, 3), (2, 5, 3), 1, 1)
    weight, x = rows_of(1, *layer.weight), rows_of(1, 6, 60)
    found = layer.add(torch.zeros(1, 1, 1).double(), x, weight).unflatten(2, (2, 15))
    at_each = x.unflatten(2, (4, 15)).transpose(2, 3) @ weight[0, :, :, 0, 0].T
    np.testing.assert_allclose(found, at_each.transpose(2, 3), rtol=1e-12)


@pytest.mark.parametrize("shape", [(2, 9), (1, 7, 6), (2, 5, 4, 6)])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_the_mirrored_layer_is_the_transpose(shape, stride):
    coarse = (3, *(-(-size // stride) for size in shape[1:]))
    layer = Convolution(shape, coarse, 3, stride)
    weight = rows_of(1, *layer.weight)
    zero, x = torch.zeros(1, 1, 1).double(), rows_of(1, 1, layer.n_inputs)
    y = rows_of(1, 1, layer.n_outputs).flip(2)
    there = layer.add(zero, x, weight) * y
    back = layer.mirrored().add(zero, y, layer.turned(weight)) * x
    assert float(there.sum()) == pytest.approx(float(back.sum()), rel=1e-12)


@each_event
@pytest.mark.parametrize("tied", [True, False])
def test_derivatives_are_right(event, tied):
    """By finite differences: first ones of all weights, first and second ones of the input."""
    encoder, decoder = networks(event, channels=(2,), tied=tied, unit_norm=not tied)
    x = rows_of(1, 1, np.prod(event)).requires_grad_()
    weights = [*encoder.parameters(), *decoder.parameters()]
    direction = [rows_of(*weight.shape) for weight in weights]

    def loss(step=0.0):
        with torch.no_grad():
            for weight, d in zip(weights, direction, strict=True):
                weight += step * d
        return decoder(encoder(x)).square().sum()

    slopes = torch.autograd.grad(loss(), weights)
    slope = sum((g * d).sum() for g, d in zip(slopes, direction, strict=True))
    with torch.no_grad():
        high, low = loss(1e-5), loss(-2e-5)
    assert float(slope) == pytest.approx(float(high - low) / 2e-5, rel=1e-5)
    assert all((gradient != 0).any() for gradient in slopes)
    assert torch.autograd.gradcheck(encoder, (x,))
    assert torch.autograd.gradgradcheck(encoder, (x,))


# The start, and restarts


@pytest.mark.parametrize("ordering", PARTS["ordering"])
@pytest.mark.parametrize("shape", [(11,), (5, 7), (2, 5, 4)])
def test_untrained_start_is_pca_at_every_level(ordering, shape):
    X = np.random.default_rng(0).normal(size=(120, *shape)).cumsum(-1)
    settings = {"architecture": Convolutional((4,)), "max_epochs": 1, "learning_rate": 1e-12}
    model = Autoencoder(3, ordering=ordering, random_state=0, **settings).fit(X)
    flat = X.reshape(len(X), -1)
    np.testing.assert_allclose(model.fve(X), pca_fve(flat, flat, 3)[-len(model.fve_) :], atol=1e-4)


@pytest.mark.parametrize("settings", [{}, {"tied": True}, {"unit_norm": True}, {"stride": 1}])
def test_restarts_side_by_side_are_those_alone(settings):
    """The same weights, in one network or in three, give the same outputs."""
    settings = {"event": (3, 6, 5), "n_decoders": 2, **settings}
    together = networks(n_restarts=3, **settings)
    x, z = rows_of(3, 4, 90), rows_of(6, 4, K)
    raw, outputs = together[0](x), together[1](z)
    for r in range(3):
        alone = networks(**settings)
        for one, all_ in zip(alone, together, strict=True):
            for name, parameter in one.named_parameters():
                parameter.data = all_.get_parameter(name).data.chunk(3)[r]
        np.testing.assert_allclose(alone[0](x[r : r + 1]).detach(), raw[[r]].detach(), rtol=1e-9)
        found = alone[1](z[2 * r : 2 * r + 2]).detach()
        np.testing.assert_allclose(found, outputs[2 * r : 2 * r + 2].detach(), rtol=1e-9)


def test_first_restart_is_the_same_alone():
    X = images()
    settings = quick(architecture=Convolutional((3,), dropout=0.2), precision="float64")
    alone = HierarchicalAutoencoder(2, **settings).fit(X)
    first = HierarchicalAutoencoder(2, n_init=2, **settings).fit(X).restarts_[0]
    np.testing.assert_allclose(first.reconstruct(X), alone.reconstruct(X), rtol=1e-6)


# Through the estimators

CASES = {
    "images": (Autoencoder, (8, 8), {}),
    "series": (HierarchicalAutoencoder, (24,), {"ordering": "boosted", "circular": (1,)}),
    "channels": (Autoencoder, (2, 9), {"architecture__n_dims": 1, "scale": "channel"}),
    "colours": (DenoisingAutoencoder, (3, 7, 7), {"corruption": "masking", "scale": "channel"}),
    "volumes": (Autoencoder, (1, 5, 6, 5), {"likelihood": "laplace", "penalties": [L1(layer=2)]}),
    "contractive": (ContractiveAutoencoder, (6, 7), {"architecture__tied": True}),
    "precise": (Autoencoder, (9, 6), {"precision": "float64", "architecture__stride": 1}),
}


@pytest.mark.parametrize(("kind", "shape", "settings"), CASES.values(), ids=CASES)
def test_events_of_every_kind_are_learned_and_kept_in_files(kind, shape, settings, tmp_path):
    spots = images(shape=[size for size in shape if size > 3])
    X = np.broadcast_to(
        spots.reshape(len(spots), *[n if n > 3 else 1 for n in shape]), (150, *shape)
    )
    architecture = Convolutional((4, 4), kernel_size=3)
    plain = {name: value for name, value in settings.items() if "__" not in name}
    model = kind(3, **quick(architecture=architecture, n_init=2, max_epochs=8, **plain))
    model.set_params(**{name: value for name, value in settings.items() if "__" in name}).fit(X)
    assert (model.fve(X) > 0).all()
    assert model.reconstruct(X).shape == X.shape
    model.save(tmp_path / "model.safetensors")
    twin = load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(twin.transform(X), model.transform(X))
    np.testing.assert_array_equal(twin.reconstruct(X), model.reconstruct(X))


def test_a_target_of_another_size():
    X = images()
    target = np.stack([X[:, :5, :7].mean(1), X[:, 1:6, :7].max(1)], 1)[:, :, None].repeat(5, 2)
    model = Autoencoder(4, **quick(architecture="convolutional", max_epochs=20))
    assert model.fit(X, target=target).reconstruct(X).shape == (150, 2, 5, 7)
    assert model.score(X, target=target) > 0.5


def test_spots_that_move_are_learned_better_than_by_pca():
    """And than by a dense network of more weights; the code is where the spot is."""
    train, test = images(600, (9, 9))[:450], images(600, (9, 9))[450:]
    conv = Convolutional((8, 16))
    found, dense = (
        Autoencoder(2, **quick(architecture=each, max_epochs=60, scale="global")).fit(train)
        for each in (conv, Dense((32,)))
    )
    n_weights = [sum(p.numel() for p in m._model.parameters()) for m in (found, dense)]
    assert n_weights[0] < n_weights[1]
    flat = [rows.reshape(len(rows), -1) for rows in (train, test)]
    assert found.score(test) > pca_fve(*flat, 2, standardise=False)[-1] + 0.2
    assert found.score(test) > dense.score(test)


def test_small_digits():
    X = load_digits().images
    model = Autoencoder(4, **quick(architecture=Convolutional((8, 16)), max_epochs=10))
    X, test = X[:800], X[800:1200]
    flat = [rows.reshape(len(rows), -1) for rows in (X, test)]
    with pytest.warns(UserWarning, match="features are constant"):
        assert model.fit(X).score(test) > pca_fve(*flat, 4)[-1]


# Scaling by channel


@pytest.mark.parametrize("weighted", [False, True])
def test_a_channel_has_one_centre_and_one_width(weighted):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 2, 3, 4)) * rng.uniform(1, 5, (2, 3, 4)) + rng.normal(size=(2, 3, 4))
    X[rng.random(X.shape) < 0.1] = np.nan
    weight = rng.uniform(0.1, 3, 50) if weighted else None
    found = moments([(X.reshape(50, -1), weight)], 24)
    scale = scale_from(found, "channel", 2)
    for channel, rows in enumerate(X.reshape(50, 2, 12).transpose(1, 0, 2)):
        w = np.where(np.isnan(rows), 0, np.ones((50, 1)) if weight is None else weight[:, None])
        mean = (w * np.nan_to_num(rows)).sum() / w.sum()
        width = np.sqrt((w * (np.nan_to_num(rows) - mean) ** 2).sum() / w.sum())
        own = slice(12 * channel, 12 * channel + 12)
        np.testing.assert_allclose(scale.centre[own], mean, rtol=1e-12)
        np.testing.assert_allclose(scale.width[own], width, rtol=1e-12)


@pytest.mark.parametrize(
    ("shape", "architecture", "n_channels"),
    [
        ((4, 6), None, 1),
        ((3, 4, 6), None, 3),
        ((4, 6), Convolutional((2,), n_dims=1), 4),
        ((4, 4, 6), Convolutional((2,), n_dims=3), 1),
    ],
)
def test_channels_are_those_of_the_architecture(shape, architecture, n_channels):
    X = np.random.default_rng(0).normal(size=(40, *shape)) * np.arange(1, 5).reshape(4, 1)
    settings = quick(architecture=architecture, scale="channel", max_epochs=1)
    width = Autoencoder(2, **settings).fit(X)._input_scale.width.reshape(n_channels, -1)
    expected = X.reshape(40, n_channels, -1).std((0, 2))
    np.testing.assert_allclose(width, np.broadcast_to(expected[:, None], width.shape), rtol=1e-12)


def test_a_channel_that_does_not_vary_keeps_its_units():
    X = np.ones((30, 2, 4, 4))
    X[:, 1] += np.random.default_rng(0).normal(size=(30, 4, 4))
    scale = scale_from(moments([(X.reshape(30, -1), None)], 32), "channel", 2)
    assert (scale.width[:16] == 1).all()
    assert (scale.width[16:] != 1).all()


# Errors

WRONG = {
    "too deep": (
        {"channels": (8, 16, 32)},
        (8, 8),
        "Events of shape (8, 8) are too small for 3 convolutions: 2 convolutions of kernel_size=3 "
        "fit. Write channels=(8, 16).",
    ),
    "one fits": (
        {},
        (4, 9),
        "Events of shape (4, 9) are too small for 2 convolutions: 1 convolution of kernel_size=3 "
        "fit. Write channels=(32,).",
    ),
    "none fits": (
        {},
        (2,),
        "Events of shape (2,) are too small for 2 convolutions: 0 convolutions of kernel_size=3 "
        "fit. Write kernel_size=1, or architecture='dense'.",
    ),
    "channels last": (
        {},
        (11, 7, 1),
        "Events of shape (11, 7, 1) are too small for 2 convolutions: 0 convolutions of "
        "kernel_size=3 fit. Write np.moveaxis(X, -1, 1), if the last axis is that of channels: "
        "they come first.",
    ),
    "axes": (
        {},
        (2, 2, 5, 5, 5),
        "Events of shape (2, 2, 5, 5, 5) have 5 axes, but convolutions take 1 to 4, channels "
        "first. Reshape the rows, or write architecture='dense'.",
    ),
    "n_dims of the event": (
        {"n_dims": 1},
        (3, 8, 8),
        "The event has the shape (3, 8, 8), but convolutions along 1 axes take 1 axes, or 2 with "
        "channels first. Reshape it, or write n_dims=1 for events of shape (channels, length).",
    ),
    "n_dims": (
        {"n_dims": 4},
        (8, 8),
        "n_dims=4 must be 1, 2 or 3 axes to convolve, or None. Write n_dims=1 for events of shape "
        "(channels, length).",
    ),
    "channels": (
        {"channels": (8, 0)},
        (8, 8),
        "channels=(8, 0) must be whole numbers >= 1, one per convolution. Write (32, 64), or "
        "architecture=Dense(()) for a linear model.",
    ),
    "no channels": (
        {"channels": ()},
        (8, 8),
        "channels=() must be whole numbers >= 1, one per convolution. Write (32, 64), or "
        "architecture=Dense(()) for a linear model.",
    ),
    "kernel_size": (
        {"kernel_size": 4},
        (8, 8),
        "kernel_size=4 must be an odd whole number >= 1. Write 3.",
    ),
    "stride": ({"stride": 0}, (8, 8), "stride=0 must be a whole number >= 1. Write 2."),
    "dropout": ({"dropout": 1.0}, (8, 8), "dropout=1.0 must be in [0, 1). Write 0.1, say."),
    "init": (
        {"linear_path": False},
        (8, 8),
        "init='pca' starts the linear path, but linear_path=False. Write init='random'.",
    ),
    "unit_norm": (
        {"unit_norm": True},
        (8, 8),
        "unit_norm=True shares the unit length between the hidden layers and the linear path, "
        "which then is not PCA. Write init='random'.",
    ),
    "tied and unit_norm": (
        {"tied": True, "unit_norm": True, "init": "random"},
        (8, 8),
        "tied=True leaves the decoder no weights of its own. Write unit_norm=False or tied=False.",
    ),
}


@pytest.mark.parametrize(("settings", "shape", "text"), WRONG.values(), ids=WRONG)
def test_settings_out_of_range(settings, shape, text):
    X = np.random.default_rng(0).normal(size=(20, *shape))
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        Autoencoder(architecture=Convolutional(**settings)).fit(X)


MISFIT = {
    "axes": (
        {},
        lambda X: X[:, 0],
        "The target has the shape (8,), but convolutions along 2 axes take 2 axes, or 3 with "
        "channels first. Reshape it, or write n_dims=1 for events of shape (channels, length).",
    ),
    "tied": (
        {"tied": True},
        lambda X: X[:, :, :7],
        "tied=True needs a target of the input's shape, but the input has the shape (8, 8) and "
        "the target (8, 7). Write tied=False.",
    ),
}


@pytest.mark.parametrize(("settings", "part", "text"), MISFIT.values(), ids=MISFIT)
def test_targets_that_do_not_fit(settings, part, text):
    X = images(20)
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        Autoencoder(architecture=Convolutional(**settings)).fit(X, target=part(X))


@pytest.mark.parametrize("n_dims", [1, 2, 3])
def test_xavier_is_glorots(n_dims):
    """The bound of the uniform weights is that of torch, kernel included."""
    event = (4, *(9,) * n_dims)
    encoder, _ = Convolutional((32, 16), init="xavier", n_dims=n_dims).build(Sizes(event, event, 3))
    encoder.reset([torch.Generator().manual_seed(0)])
    for weight in encoder.weights[:2]:
        own = torch.nn.init.xavier_uniform_(torch.empty(weight.shape[1:]))
        assert weight.abs().max().item() == pytest.approx(own.abs().max().item(), rel=0.05)

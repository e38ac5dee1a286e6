"""A user's own modules: torch's numbers, network by network, and files that run nothing unasked."""

import copy
import json
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

import own_networks
from helpers import quick, table
from narrows import Autoencoder, DenoisingAutoencoder, HierarchicalAutoencoder, Modules, load
from narrows._errors import ModelFileError
from narrows.nn.architecture import Sizes
from narrows.nn.modules import drawing_from

K, N = 3, 6
BACK = {"n_features": K, "shape": [N]}
ENCODERS = {
    "dense": (own_networks.Encoder, {"n_values": N, "n_features": K, "dropout": 0.2}),
    "normalised": (own_networks.Normalised, {"n_values": N, "n_features": K}),
    "GRU": (own_networks.Recurrent, {"kind": "GRU", "n_features": K}),
    "LSTM": (own_networks.Recurrent, {"kind": "LSTM", "n_features": K}),
    "lazy": (own_networks.Lazy, {"n_features": K}),
}
each_encoder = pytest.mark.parametrize(("kind", "settings"), ENCODERS.values(), ids=ENCODERS)


def own(kind=own_networks.Encoder, settings=None, decoder=own_networks.Decoder, back=None):
    settings = ENCODERS["dense"][1] if settings is None else settings
    return Modules(kind, decoder, settings, back or BACK)


def networks(architecture, n_restarts=2, n_decoders=3):
    pair = architecture.build(Sizes((N,), (N,), K, n_restarts, n_decoders))
    generators = [torch.Generator().manual_seed(r) for r in range(n_restarts)]
    for network in pair:
        network.reset(generators)
        network.eval()
    return pair


def seeded(make, generator):
    """What a constructor draws when torch's default generator is this one."""
    before = torch.get_rng_state()
    torch.set_rng_state(generator.get_state())
    module = make().eval()
    generator.set_state(torch.get_rng_state())
    torch.set_rng_state(before)
    return module


def message(text):
    return f"^{re.escape(text)}$"


# Numbers


@pytest.mark.parametrize("name", ["dense", "normalised", "GRU", "LSTM"])
def test_each_network_is_the_module_with_its_own_weights(name):
    kind, settings = ENCODERS[name]
    encoder, decoder = networks(own(kind, settings))
    generators = [torch.Generator().manual_seed(r) for r in range(2)]
    x, z = torch.randn(2, 5, N), torch.randn(6, 5, K)
    codes, outputs, some = encoder(x), decoder(z), decoder(z[[1, 2, 4, 5]], slice(1, 3))
    for r, generator in enumerate(generators):
        module = seeded(lambda: kind(**settings), generator)
        torch.testing.assert_close(codes[r], module(x[r]), rtol=1e-6, atol=1e-6)
        for level in range(3):
            module, i = seeded(lambda: own_networks.Decoder(**BACK), generator), 3 * r + level
            torch.testing.assert_close(outputs[i], module(z[i]), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(some, outputs[[1, 2, 4, 5]])


def test_statistics_of_the_batch_are_kept_per_network():
    encoder, _ = networks(own(*ENCODERS["normalised"]))
    single = seeded(lambda: own_networks.Normalised(N, K), torch.Generator().manual_seed(1)).train()
    x = torch.randn(2, 20, N) + torch.tensor([[[5.0]], [[-3.0]]])
    encoder.train()(x)
    single(x[1])
    state = encoder.state_dict()
    torch.testing.assert_close(state["module/norm/running_mean"][1], single.norm.running_mean)
    assert state["module/norm/num_batches_tracked"].tolist() == [1, 1]
    assert "module/even" not in state
    assert (state["module/scale"] == 0.5).all()
    assert "module/scale" not in dict(encoder.named_parameters())


@each_encoder
def test_modules_learn(kind, settings):
    X = table()
    settings = quick(architecture=own(kind, settings), max_epochs=30, n_init=2, batch_size=28)
    model = HierarchicalAutoencoder(K, ordering="boosted", **settings).fit(X)
    assert (model.fve(X) > 0.1).all()
    assert model.fve_restarts_[0, -1] != model.fve_restarts_[1, -1]


def test_events_and_targets_of_any_shape():
    X = table(n_values=12).reshape(-1, 2, 3, 2)
    encoder = {"n_values": 12, "n_features": K}
    architecture = own(settings=encoder, back={"n_features": K, "shape": (4, 1)})
    model = DenoisingAutoencoder(K, **quick(architecture=architecture, max_epochs=20))
    target = X[:, :, 1].reshape(-1, 4, 1)
    assert model.fit(X, target=target).score(X, target=target) > 0.3
    assert model.reconstruct(X).shape == (200, 4, 1)


@pytest.mark.parametrize("name", ["dense", "GRU"])
def test_contraction_is_exact(name):
    """For rows that do not see each other: the derivative of the module by torch."""
    X = table()
    settings = quick(architecture=own(*ENCODERS[name]), max_epochs=1, scale="none")
    model = Autoencoder(K, penalties=["contractive"], **settings).fit(X)
    encoder = model._model.encoder
    rows = torch.as_tensor(X[:10]).float()
    jacobian = torch.autograd.functional.jacobian(lambda x: encoder(x[None])[0].sum(0), rows)
    expected = float(jacobian.square().sum((0, 2)).mean())
    assert model.loss_terms(X[:10])["contractive"] / 0.1 == pytest.approx(expected, rel=1e-4)


# Random numbers


def test_global_random_state_is_neither_read_nor_changed():
    X, estimator = table(), Autoencoder(K, **quick(architecture=own(), n_init=2))
    before = torch.get_rng_state()
    codes = estimator.fit(X).transform(X)
    assert (torch.get_rng_state() == before).all()
    torch.rand(1)
    np.testing.assert_array_equal(clone(estimator).fit(X).transform(X), codes)


def test_random_layers_draw_from_the_restart():
    encoder, _ = networks(own())
    x = torch.randn(1, 5, N).expand(2, 5, N)
    for parameter in encoder.parameters():
        parameter.data[1] = parameter.data[0]
    encoder.train().generators = tuple(torch.Generator().manual_seed(s) for s in (7, 7))
    one, two = encoder(x)
    torch.testing.assert_close(one, two)
    assert not torch.equal(encoder(x)[0], one)  # the generator moved on
    encoder.generators = tuple(torch.Generator().manual_seed(s) for s in (7, 8))
    one_again, other = encoder(x)
    torch.testing.assert_close(one_again, one)
    assert not torch.equal(other, two)


def test_a_restart_is_the_same_alone():
    X = table()
    settings = quick(architecture=own(), precision="float64")
    alone = Autoencoder(K, **settings).fit(X)
    first = Autoencoder(K, n_init=3, **settings).fit(X).restarts_[0]
    np.testing.assert_allclose(first.reconstruct(X), alone.reconstruct(X), rtol=1e-9, atol=1e-12)


def test_state_is_put_back_after_an_error():
    before = torch.get_rng_state()
    with pytest.raises(KeyError), drawing_from(torch.Generator().manual_seed(0)):
        raise KeyError(torch.rand(1))
    assert (torch.get_rng_state() == before).all()


# Files


@each_encoder
def test_a_trusted_file_gives_the_same_bits(kind, settings, tmp_path):
    X, path = table(), tmp_path / "model.safetensors"
    model = HierarchicalAutoencoder(
        K, **quick(architecture=own(kind, settings), max_epochs=2, n_init=2, batch_size=28)
    ).fit(X)
    for twin in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        np.testing.assert_array_equal(twin.transform(X), model.transform(X))
    model.save(path)
    twin = load(path, trusted=("own_networks", "another"))
    np.testing.assert_array_equal(twin.transform(X), model.transform(X))
    np.testing.assert_array_equal(
        twin.restarts_[1].reconstruct(X), model.restarts_[1].reconstruct(X)
    )
    assert twin.architecture.encoder == f"own_networks:{kind.__name__}"
    assert twin.architecture.decoder_settings == {"n_features": K, "shape": (N,)}
    twin.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()
    assert load(path, trusted="own_networks").partial_fit(X).n_iter_ == 1


UNTRUSTED = """
import sys
import narrows
for trusted in ((), ("torch",), "own_networks.py"):
    try:
        narrows.load(sys.argv[1], trusted=trusted)
    except narrows._errors.ModelFileError as error:
        print(error)
assert "own_networks" not in sys.modules
"""


def test_a_file_that_is_not_trusted_imports_nothing(tmp_path):
    path = tmp_path / "model.safetensors"
    Autoencoder(K, **quick(architecture=own(), max_epochs=1)).fit(table()).save(path)
    command = [sys.executable, "-c", UNTRUSTED, str(path)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent)
    assert run.returncode == 0, run.stderr
    expected = (
        f"'{path}' needs code of your own, own_networks:Decoder and own_networks:Encoder, which "
        "loading runs. If you trust the file and that code, write "
        f"narrows.load('{path}', trusted=('own_networks',))."
    )
    assert run.stdout.splitlines() == [expected] * 3


def local_class():
    class Local(own_networks.Encoder):
        pass

    return Local


def main_class():
    return type("Script", (own_networks.Encoder,), {"__module__": "__main__"})


@pytest.mark.parametrize(
    "kind",
    [local_class(), main_class(), lambda **s: own_networks.Encoder(**s)],
    ids=["local", "main", "lambda"],
)
def test_what_has_no_import_path_is_not_written(kind, tmp_path):
    model = Autoencoder(K, **quick(architecture=own(kind), max_epochs=1)).fit(table())
    text = (
        f"architecture__encoder={kind!r} cannot be written to a model file, which holds its import "
        "path. Put a class at the top level of a module that can be imported, such as "
        "networks.py, and write architecture__encoder='networks:MyModule'."
    )
    with pytest.raises(TypeError, match=message(text)):
        model.save(tmp_path / "model.safetensors")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("os:system", "'os:system' is no torch.nn.Module that os defines."),
        ("own_networks:torch.load", "'own_networks:torch.load' is no torch.nn.Module that"),
        ("own_networks:nn.Linear", "'own_networks:nn.Linear' is no torch.nn.Module that"),
        ("own_networks:shortcut", "'own_networks:shortcut' is no torch.nn.Module that"),
        ("own_networks:Missing", "'own_networks:Missing' cannot be imported: module"),
        ("no_such_package:Net", "'no_such_package:Net' cannot be imported: No module named"),
        ("own_networks", "'own_networks' is not an import path. Write 'package.module:Class'."),
        ("own_networks:a b", "'own_networks:a b' is not an import path."),
    ],
)
def test_an_import_path_leads_to_a_module_that_its_package_defines(path, text):
    with pytest.raises(ValueError, match=f"^{re.escape(text)}"):
        Autoencoder(K, architecture=own(path)).fit(table())


def test_a_changed_path_leads_nowhere_else(tmp_path):
    """Not even with a checksum that fits: what is named must be a module of that package."""
    from narrows import persist

    path = tmp_path / "model.safetensors"
    model = Autoencoder(K, **quick(architecture=own(), max_epochs=1)).fit(table())
    model.set_params(architecture=own("own_networks:torch.load"))
    model._ensemble.blueprint.architecture.encoder = "own_networks:torch.load"
    model._model.blueprint.architecture.encoder = "own_networks:torch.load"
    persist.save(model, path)
    assert "own_networks:torch.load" in json.dumps(persist.describe(path))
    with pytest.raises(ModelFileError, match=r"'own_networks:torch\.load' is no torch\.nn\.Module"):
        load(path, trusted=("own_networks",))


# Errors


def test_settings_are_named_by_words(tmp_path):
    settings = ENCODERS["dense"][1]

    def make(part, **others):
        return own_networks.Encoder(**others)

    model = Autoencoder(K, **quick(architecture=own(make, settings | {"part": 1}))).fit(table())
    text = (
        "architecture__encoder_settings has the key 'part', which a model file cannot hold. "
        "Write another name."
    )
    model._model.blueprint.architecture.encoder = model.architecture.encoder = "own_networks:Lazy"
    with pytest.raises(TypeError, match=message(text)):
        model.save(tmp_path / "model.safetensors")


ENCODER = own_networks.Encoder(N, K)
WRONG = {
    "instance": (
        own(ENCODER),
        TypeError,
        f"encoder={ENCODER!r} is not a class or an import path. Write encoder=MyModule and its "
        "arguments as encoder_settings={...}.",
    ),
    "not a module": (
        own(dict, {"a": 1}),
        TypeError,
        "encoder=<class 'dict'> returned dict, not a torch.nn.Module. Write a class that derives "
        "from torch.nn.Module.",
    ),
    "features": (
        own(settings={"n_values": N, "n_features": 2}),
        ValueError,
        "The encoder makes (2, 2) of 2 rows of shape (6,), not (2, 3). Write a module that maps "
        "(row, 6) to (row, 3).",
    ),
    "outputs": (
        own(back={"n_features": K, "shape": (3, 2)}),
        ValueError,
        "The decoder makes (2, 3, 2) of 2 rows of shape (3,), not (2, 6). Write a module that maps "
        "(row, 3) to (row, 6).",
    ),
    "several outputs": (
        own(nn.LSTM, {"input_size": N, "hidden_size": K}),
        ValueError,
        "The encoder makes tuple of 2 rows of shape (6,), not (2, 3). Write a module that maps "
        "(row, 6) to (row, 3).",
    ),
    "inputs": (
        own(settings={"n_values": 5, "n_features": K}),
        ValueError,
        "The encoder fails on 2 rows of shape (6,): mat1 and mat2 shapes cannot be multiplied "
        "(2x6 and 5x8). Write a module that maps (row, 6) to (row, 3).",
    ),
    "state": (
        own(own_networks.HalfHeld, {}),
        TypeError,
        "The tensor 'mask' of the encoder is of torch.bool, which no model file holds. Register it "
        "as a buffer with persistent=False, or make it float or int64.",
    ),
}


@pytest.mark.parametrize(("architecture", "kind", "text"), WRONG.values(), ids=WRONG)
def test_modules_that_do_not_fit(architecture, kind, text):
    with pytest.raises(kind, match=message(text)):
        Autoencoder(K, architecture=architecture).fit(table())

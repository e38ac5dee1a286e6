"""The peers, in their own environment: each line of JSON on stdin is answered by one on stdout.

A request is {"peer", "case", "n_epochs"}; the answer {"seconds": one entry per epoch}, of a step,
or {"error": why not}. The first line out holds the versions.
"""

import json
import os
import sys
import tempfile
import warnings
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version

import torch
from cases import ACTIVATIONS, Case, Clock, halves, layers
from torch import nn

PACKAGES = (
    "torch",
    "skorch",
    "pyod",
    "mlcolvar",
    "lightning",
    "pythae",
    "scvi-tools",
    "scikit-learn",
)


def skorch(case, X, n_epochs, clock):
    from skorch import NeuralNet, callbacks

    class Tick(callbacks.Callback):
        def on_epoch_end(self, net, **_):
            clock()

    NeuralNet(
        nn.Sequential(*halves(case)),
        criterion=nn.MSELoss,
        optimizer=torch.optim.Adam,
        batch_size=case.batch_size,
        iterator_train__shuffle=True,
        max_epochs=n_epochs,
        train_split=None,
        verbose=0,
        callbacks=[Tick()],
    ).fit(X, X)
    return case.n_steps


def pyod(case, X, n_epochs, clock):
    from pyod.models.auto_encoder import AutoEncoder

    detector = AutoEncoder(
        hidden_neuron_list=list(case.encoder[1:]),
        hidden_activation_name=case.activation,
        batch_size=case.batch_size,
        epoch_num=n_epochs,
        preprocessing=False,
        batch_norm=False,
        dropout_rate=0.0,
        optimizer_params={},
        verbose=0,
    )
    detector.epoch_update = clock
    detector.fit(X)
    return case.n_rows // case.batch_size  # PyOD drops the remainder


def mlcolvar(case, X, n_epochs, clock):
    import lightning
    from mlcolvar.cvs import AutoEncoderCV
    from mlcolvar.data import DictLoader

    class Tick(lightning.Callback):
        def on_train_epoch_end(self, *_):
            clock()

    activation = {"activation": case.activation}
    model = AutoEncoderCV(
        list(case.encoder), options={"norm_in": None, "encoder": activation, "decoder": activation}
    )
    loader = DictLoader({"data": torch.from_numpy(X)}, batch_size=case.batch_size, shuffle=True)
    lightning.Trainer(
        max_epochs=n_epochs,
        callbacks=[Tick()],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(model, loader)
    return case.n_steps


def pythae(case, X, n_epochs, clock):
    from pythae.models import AE, AEConfig

    encoder, decoder = halves(case)
    config = AEConfig(input_dim=(case.encoder[0],), latent_dim=case.encoder[-1])
    inside = _pythae_half("encoder", encoder), _pythae_half("decoder", decoder)
    return _pythae_trained(AE(config, *inside), case, X, n_epochs, clock)


def pythae_vae(case, X, n_epochs, clock):
    from pythae.models import VAE, VAEConfig

    _, decoder = halves(case)
    below = nn.Sequential(
        layers(case.encoder[:-1], case.activation), ACTIVATIONS[case.activation]()
    )
    ends = case.encoder[-2:]
    heads = {"embedding": nn.Linear(*ends), "log_covariance": nn.Linear(*ends)}
    config = VAEConfig(
        input_dim=(case.encoder[0],), latent_dim=case.encoder[-1], reconstruction_loss="bce"
    )
    decoder = nn.Sequential(decoder, nn.Sigmoid())
    inside = _pythae_half("encoder", below, heads), _pythae_half("decoder", decoder)
    return _pythae_trained(VAE(config, *inside), case, X, n_epochs, clock)


def _pythae_half(kind, body, heads=None):
    """Return an encoder or decoder of pythae."""
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    name = {"encoder": "embedding", "decoder": "reconstruction"}[kind]

    class Half({"encoder": BaseEncoder, "decoder": BaseDecoder}[kind]):
        def __init__(self):
            super().__init__()
            self.body = body
            self.heads = nn.ModuleDict(heads or {name: nn.Identity()})

        def forward(self, x):
            hidden = self.body(x)
            return ModelOutput(**{own: head(hidden) for own, head in self.heads.items()})

    return Half()


def _pythae_trained(model, case, X, n_epochs, clock):
    from pythae.data.datasets import BaseDataset
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback

    class Tick(TrainingCallback):
        def on_epoch_end(self, training_config, **_):
            clock()

    with tempfile.TemporaryDirectory() as folder:
        settings = BaseTrainerConfig(
            output_dir=folder,
            num_epochs=n_epochs,
            per_device_train_batch_size=case.batch_size,
            learning_rate=1e-3,
        )
        rows = BaseDataset(torch.from_numpy(X), torch.zeros(len(X)))
        BaseTrainer(model, rows, None, settings, [Tick()]).train()
    return case.n_steps


def scvi(case, X, n_epochs, clock):
    import anndata
    import lightning
    from scvi.model import SCVI

    class Tick(lightning.Callback):
        def on_train_epoch_end(self, *_):
            clock()

    cells = anndata.AnnData(X)
    SCVI.setup_anndata(cells)
    _, *hidden, n_latent = case.encoder
    model = SCVI(
        cells,
        n_hidden=hidden[0],
        n_latent=n_latent,
        n_layers=len(hidden),
        dropout_rate=0.0,
        gene_likelihood="poisson",
        use_batch_norm="none",
    )
    model.train(
        max_epochs=n_epochs,
        accelerator="cpu",
        train_size=1.0,
        batch_size=case.batch_size,
        callbacks=[Tick()],
        enable_progress_bar=False,
        logger=False,
    )
    return case.n_steps


PEERS = {"skorch": skorch, "PyOD": pyod, "mlcolvar": mlcolvar, "pythae": pythae}
PEERS |= {"pythae, VAE": pythae_vae, "scvi-tools": scvi}


@lru_cache(maxsize=1)
def data(case):
    return case.data()


def answer(peer, case, n_epochs):
    case = Case(**{**case, "encoder": tuple(case["encoder"])})
    clock = Clock()
    n_steps = PEERS[peer](case, data(case), n_epochs + 1, clock)
    return {"seconds": clock.seconds(n_steps)}


def versions():
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def main():
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # peers print to stdout
    warnings.simplefilter("ignore")
    print(json.dumps(versions()), file=out)
    for line in sys.stdin:
        try:
            reply = answer(**json.loads(line))
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(reply), file=out)


if __name__ == "__main__":
    main()

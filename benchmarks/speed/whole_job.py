"""What a user waits for: process start to saved model, `narrows --help`, many rows transformed."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from common import BARS, ROOT, NotMeasured, bar, cells, options, rounds, show, table
from torch import nn

from narrows import Autoencoder
from narrows.estimators._fitting import EVALUATION_ROWS

HERE = ROOT / "benchmarks/speed"
IMPORTS = "imports of torch and scikit-learn"
LOOP, OURS, DEFAULTS = "bare torch loop", "narrows, same network", "narrows, as it comes"
HELP = "narrows --help"
ENCODERS = {"30-40-2": (40,), "30-128-128-2 (default)": (128, 128)}
NOTES = (
    "Job: 1797 x 64 digits, 5 ranked components (collective, hidden layers 128 and 128), a fixed "
    "number of epochs on nine tenths of the rows, from the start of the process to the saved "
    "model; the bare loop has five decoders one after another, and evaluates and keeps nothing. "
    "narrows evaluates the held-out rows after each epoch and keeps the best weights; as it comes "
    "adds the linear path and its start as PCA. Programs run in turn; the first round warms the "
    "file cache and is not counted.",
    "transform: float32 rows in memory; the floor is the encoder's matrix products, in batches of "
    f"the same {EVALUATION_ROWS} rows, issued one by one: no activation, no scaling, no checks. "
    "The bare network is torch's own layers with their activations, on rows taken as scaled.",
)


def job(*command):
    """Return a program that runs a process and returns its seconds."""
    command = [str(word) for word in command]

    def run():
        start = time.perf_counter()
        process = subprocess.run(command, stdout=subprocess.DEVNULL)
        if process.returncode:
            raise NotMeasured(f"ended with {process.returncode}")
        return time.perf_counter() - start

    return run


def jobs(n_epochs, folder):
    """Return the processes to time."""
    python, model = sys.executable, Path(folder) / "model.safetensors"
    ours = (python, HERE / "job_narrows.py", n_epochs, model)
    return {
        IMPORTS: job(python, "-c", "import torch, sklearn.datasets"),
        LOOP: job(python, HERE / "job_bare.py", n_epochs, model),
        OURS: job(*ours, "same"),
        DEFAULTS: job(*ours),
        HELP: job(Path(python).with_name("narrows"), "--help"),
    }


def timed_jobs(n_rounds, n_epochs):
    """Return seconds by round, without the first, and the rows of the table."""
    with tempfile.TemporaryDirectory() as folder:
        timed = jobs(n_epochs, folder)
        found = rounds(timed, n_rounds, n_warm=1)
    rows = [[n, *cells(found, n, LOOP, 1)] for n in timed]
    return found, table([f"job, {n_epochs} epochs", "s", "ratio to the loop"], rows)


def timed_transform(n_rounds, n_rows):
    """Return seconds by round, and the rows of the table."""
    X = np.random.default_rng(0).standard_normal((n_rows, 30), dtype=np.float32)
    timed = {}
    for name, hidden in ENCODERS.items():
        model = Autoencoder(2, hidden_layer_sizes=hidden, max_epochs=1, random_state=0)
        model.fit(X[:1000])
        timed[f"floor, {name}"] = lambda m=model: _seconds(lambda: _products(m, X))
        timed[f"bare network, {name}"] = lambda m=model: _seconds(lambda: _network(m, X))
        timed[f"transform, {name}"] = lambda m=model: _seconds(lambda: m.transform(X))
    found = rounds(timed, n_rounds)
    rows = [[n, *cells(found, n, f"floor, {n.partition(', ')[2]}", 1e3)] for n in timed]
    return found, table([f"{n_rows} x 30 rows", "ms", "ratio to the floor"], rows)


def _products(model, X):
    """Multiply rows by the weights of an encoder, batch by batch."""
    encoder = model._model.encoder
    weights = [weight.detach()[0] for weight in encoder.weights]
    path = encoder.path.detach()[0]
    for start in range(0, len(X), EVALUATION_ROWS):
        x = rows = torch.from_numpy(X[start : start + EVALUATION_ROWS])
        torch.mm(rows, path)
        for weight in weights:
            x = torch.mm(x, weight)


@torch.no_grad()
def _network(model, X):
    """Map rows by the encoder's layers as modules of torch, batch by batch, without its path."""
    weights = model._model.encoder.weights
    layers = [nn.Linear(*weight.shape[1:]) for weight in weights]
    network = nn.Sequential(*[part for own in layers for part in (own, nn.SiLU())][:-1])
    parts = torch.from_numpy(X).split(EVALUATION_ROWS)
    return torch.cat([network(rows) for rows in parts])


def _seconds(call):
    times = []
    for _ in range(3):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


def main():
    epochs = {"type": int, "default": 200, "help": "epochs of the job"}
    arguments = options("What a user waits for", epochs=epochs)
    effort = arguments.effort
    n_epochs, n_rows = (2, 10_000) if effort.quick else (arguments.epochs, 1_000_000)
    found, job_table = timed_jobs(effort.n_rounds, n_epochs)
    mapped, transform_table = timed_transform(effort.n_rounds, n_rows)
    reached = [
        bar(f"4: {OURS} / loop", found, OURS, LOOP, most=1.3),
        bar(f"4: {DEFAULTS} / loop", found, DEFAULTS, LOOP, most=1.3),
        bar(f"4: {HELP}, s", found, HELP, most=0.3),
        *(
            bar(f"4: transform / floor, {n}", mapped, f"transform, {n}", f"floor, {n}", most=1.2)
            for n in ENCODERS
        ),
    ]
    show(arguments, [table(BARS, reached), job_table, transform_table], NOTES)


if __name__ == "__main__":
    main()

"""Fits killed by SIGKILL at every kind of moment: how many go on to the same bits."""

import os
import signal
import tempfile
import warnings
from pathlib import Path

import numpy as np
from common import main
from sklearn.datasets import load_digits

from narrows import Checkpoint, DenoisingAutoencoder, Training
from narrows.engine import checkpoint, saver
from narrows.engine.player import Player

KILLS = 10
STEPS = 13  # of an epoch


def model(folder):
    """A fit with noise, restarts, a schedule and patience; saved after every step."""
    kept = None if folder is None else Checkpoint(folder, minutes=1e-9)
    return DenoisingAutoencoder(
        5,
        hidden_layer_sizes=(64,),
        n_init=2,
        max_epochs=16,
        random_state=0,
        training=Training(checkpoint=kept),
    )


def half_a_file(arrays, path, metadata):
    """Write the first half of what is to be written, and die."""
    whole = checkpoint_file(arrays, path, metadata)
    Path(path).write_bytes(Path(path).read_bytes()[: Path(path).stat().st_size // 2])
    die()
    return whole


def die():
    os.kill(os.getpid(), signal.SIGKILL)


checkpoint_file = checkpoint.save_file

# What dies: where, at which call in each life, and what happens there instead of the call
PLACES = {
    "step": (Player, "step", 14, None),
    "end of an epoch": (saver.Saver, "epoch", 2, None),
    "write": (checkpoint, "save_file", 12, half_a_file),
    "flush": (os, "fsync", 23, None),
    "rename": (os, "replace", 12, None),
}


def killed(X, folder, place):
    """Fit in a process of its own that dies; return whether SIGKILL ended it."""
    child = os.fork()
    if child == 0:
        warnings.simplefilter("ignore")
        owner, name, last, instead = PLACES[place]
        own, calls = getattr(owner, name), []

        def counted(*args, **kwargs):
            calls.append(name)
            if len(calls) < last:
                return own(*args, **kwargs)
            return die() if instead is None else instead(*args, **kwargs)

        setattr(owner, name, counted)
        model(folder).fit(X)
        os._exit(0)
    return os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


def steps_done(folder):
    """Return the steps of the newest checkpoint that is whole."""
    for path in sorted(Path(folder).glob("[!.]*"))[::-1]:
        tensors, header = checkpoint.read(path)
        return header["n_epochs"] * STEPS + len(tensors["losses"])
    return 0


def bits(fitted, X):
    return [fitted.transform(X), fitted.reconstruct(X), *fitted.history_.values()]


def make():
    X, rows = load_digits().data, []
    whole = bits(model(None).fit(X), X)
    for place in PLACES:
        with tempfile.TemporaryDirectory() as folder:
            done, ended = [0], []
            for _ in range(KILLS):
                ended.append(killed(X, folder, place))
                done.append(steps_done(folder))
            resumed = bits(model(folder).fit(X), X)
            left = len(list(Path(folder).glob(".*")))
        same = all(np.array_equal(a, b) for a, b in zip(whole, resumed, strict=True))
        forward = sum(np.diff(done) > 0)
        gains = f"{min(np.diff(done))} to {max(np.diff(done))}"
        outcome = "yes" if same else "no"
        rows.append([place, f"{sum(ended)}", f"{forward}", gains, outcome, f"{left}"])
    head = ["killed at", "kills", "that had gone on", "steps gained", "the same bits in the end"]
    return [*head, "files left half-written"], rows, NOTE


NOTE = (
    f"A denoising autoencoder of the handwritten digits, two restarts, 16 epochs of {STEPS} steps, "
    f"saved after every step. Each row is one fit that {KILLS} processes in a row began or went on "
    "with and were killed in, and that one more ended: its codes, reconstructions and history are "
    "compared with those of a fit that was never stopped. A kill while writing leaves half a file."
)

if __name__ == "__main__":
    main("Fits that are killed", make)

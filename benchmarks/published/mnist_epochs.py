"""Handwritten digits: epochs to 3 % error, with and without layers trained first."""

import sys
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import torch
from data import mnist
from runs import once

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "figures"))
from common import main

from narrows import StackedClassifier, Training

SEEDS = range(1)
INITS = ("xavier", "kaiming", "orthogonal")
LEVEL = 3.0
SETTINGS = {
    "hidden_layer_sizes": (1000,),
    "activation": "sigmoid",
    "scale": "none",
    "layer_likelihood": "bernoulli",
    "strength": 0.1,
    "layer_epochs": 3,
    "layer_learning_rate": 2e-3,
    "learning_rate": 4e-3,
    "max_epochs": 15,
}


def errors(settings, seed):
    """Return the error on the last 10 000 training rows, in percent, after each epoch.

    Training on the others stops when the level is reached.
    """
    images, labels = mnist("train")
    held, truth = torch.from_numpy(images[50_000:]), torch.from_numpy(labels[50_000:])
    found = []

    def watch(epoch):
        model = epoch.model
        if model.blueprint.n_outputs == 784:
            return None
        with torch.no_grad():
            outputs = model.decode(model.encode(held))[0, -1]
        found.append(100 * float((outputs.argmax(1) != truth).double().mean()))
        return "stop" if found[-1] <= LEVEL else None

    training = Training(
        lr_schedule="constant", validation_fraction=0.0, patience=None, callbacks=[watch]
    )
    model = StackedClassifier(**settings, random_state=seed, training=training)
    model.fit(images[:50_000], labels[:50_000])
    return found


def make():
    rows = []
    for init, layer in product(INITS, ("contractive", None)):
        own = {**SETTINGS, "init": init, "layer": layer}
        runs = [once("epochs", {**own, "seed": s}, partial(errors, own, s)) for s in SEEDS]
        found = [history for history, _ in runs]
        mean = np.mean([len(history) for history in found])
        first = np.mean([history[0] for history in found])
        seconds = np.mean([seconds for _, seconds in runs])
        curves = "; ".join(" ".join(f"{value:.2f}" for value in history) for history in found)
        cells = [init, layer or "none", f"{mean:g}", f"{first:.2f}", curves]
        rows.append([*cells, f"{seconds:.0f}"])
    head = ["init", "layer trained as", "epochs to 3 %", "error after 1 epoch, %"]
    return [*head, "error after each epoch, %, by seed", "s per fit"], rows, NOTE


NOTE = (
    f"One layer of {SETTINGS['hidden_layer_sizes'][0]} {SETTINGS['activation']} units, trained "
    f"first for {SETTINGS['layer_epochs']} epochs; then all weights on the labels of the first "
    "50 000 training rows, at a constant learning rate, until the error on the last 10 000 is at "
    f"most {LEVEL:g} %, at most {SETTINGS['max_epochs']} epochs; seed 0. Seconds are "
    "wall time on one thread, both phases."
)

if __name__ == "__main__":
    main("Handwritten digits: epochs to 3 % error", make)

"""The networks that are timed, and their clock; read by both environments."""

import time
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from torch import nn

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU, "silu": nn.SiLU}


@dataclass(frozen=True)
class Case:
    """A mirrored autoencoder (values, hidden layers, code) and its batches."""

    name: str
    encoder: tuple[int, ...]
    activation: str
    batch_size: int
    n_rows: int
    values: str = "normal"

    @property
    def widths(self):
        return (*self.encoder, *reversed(self.encoder[:-1]))

    @property
    def n_steps(self):
        return -(-self.n_rows // self.batch_size)

    def data(self):
        rng, shape = np.random.default_rng(0), (self.n_rows, self.encoder[0])
        if self.values == "shares":
            return rng.random(shape, dtype=np.float32)
        if self.values == "counts":
            return rng.poisson(rng.gamma(0.5, 2.0, shape[1]), shape).astype(np.float32)
        return rng.standard_normal(shape, dtype=np.float32)

    def short(self, n_steps):
        """Return the case with so many batches of rows, at most."""
        return replace(self, n_rows=min(self.n_rows, n_steps * self.batch_size))

    def small(self):
        """Return the case with two batches of rows."""
        return self.short(2)

    @property
    def n_parameters(self):
        return sum((a + 1) * b for a, b in pairwise(self.widths))

    def __str__(self):
        widths = "-".join(map(str, self.widths))
        return f"{widths} {self.activation}, batch {self.batch_size}, {self.n_rows} rows"


CASES = {
    "S": Case("S", (30, 40, 2), "tanh", 128, 50_000),
    "M": Case("M", (784, 512, 256, 32), "relu", 256, 30_000),
    "L": Case("L", (10_000, 512, 50), "relu", 128, 4_000),
}


class Clock:
    """Called at the end of each epoch; the first epoch warms up and is left out."""

    def __init__(self):
        self.times = []

    def __call__(self, *_, **__):
        self.times.append(time.perf_counter())

    def seconds(self, n_steps):
        """Return the seconds of a step, one entry per epoch."""
        return [(end - start) / n_steps for start, end in pairwise(self.times)]


def layers(widths, activation):
    """Return linear layers with an activation between them."""
    found = []
    for n_in, n_out in pairwise(widths):
        found += [nn.Linear(n_in, n_out), ACTIVATIONS[activation]()]
    return nn.Sequential(*found[:-1])


def halves(case):
    """Return encoder and decoder."""
    decoder = case.widths[len(case.encoder) - 1 :]
    return layers(case.encoder, case.activation), layers(decoder, case.activation)

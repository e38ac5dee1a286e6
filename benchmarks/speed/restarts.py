"""What eight restarts cost beside one, for every architecture."""

import numpy as np
from cases import Clock
from common import cells, options, rounds, show, table

from narrows import (
    Autoencoder,
    ContractiveAutoencoder,
    DenoisingAutoencoder,
    HierarchicalAutoencoder,
    SparseAutoencoder,
    Training,
)

N_RESTARTS = 8
NOTE = (
    "One epoch divided by its steps, batches of 128, a tenth of the rows held out; all programs "
    "interleaved in rounds of one run; ratio: median (lowest to highest) over rounds. Eight single "
    "fits would cost 8. Restarts are computed side by side, by batched products and grouped "
    "convolutions: the smaller the network, the less it fills the processor by itself, and the "
    "more is gained."
)


def table_rows(n_rows, n_features):
    rng = np.random.default_rng(0)
    causes = rng.normal(size=(n_rows, 4))
    return np.tanh(causes @ rng.normal(size=(4, n_features))) + 0.1 * rng.normal(
        size=(n_rows, n_features)
    )


def images(n_rows):
    return table_rows(n_rows, 16 * 16).reshape(n_rows, 16, 16)


def series(n_rows):
    return table_rows(n_rows, 20 * 4).reshape(n_rows, 20, 4)


def programs(n):
    """Return label, estimator, rows: each architecture, and the variants of the dense one."""
    small, wide = table_rows(n, 30), table_rows(n, 256)
    return [
        ("dense 30-32-32-8", Autoencoder(8, hidden_layer_sizes=(32, 32)), small),
        ("dense 256-128-128-8", Autoencoder(8), wide),
        ("dense 256-512-8", Autoencoder(8, hidden_layer_sizes=(512,)), wide),
        ("ranked 30-32-32-8", HierarchicalAutoencoder(8, hidden_layer_sizes=(32, 32)), small),
        ("denoising 30-32-32-8", DenoisingAutoencoder(8, hidden_layer_sizes=(32, 32)), small),
        ("contractive 30-32-8", ContractiveAutoencoder(8, hidden_layer_sizes=(32,)), small),
        ("sparse 30-64", SparseAutoencoder(64), small),
        ("convolutional 16 x 16", Autoencoder(8, architecture="convolutional"), images(n // 8)),
        ("recurrent, 20 steps of 4", Autoencoder(8, architecture="recurrent"), series(n // 8)),
    ]


def timed(estimator, X, n_epochs, n_init):
    clock = Clock()
    training = Training(patience=None, callbacks=[clock])
    settings = {"max_epochs": n_epochs + 1, "n_init": n_init, "random_state": 0}
    estimator.set_params(training=training, **settings).fit(X)
    return clock.seconds(-(-(len(X) - round(0.1 * len(X))) // estimator.batch_size))


def main():
    arguments = options("What eight restarts cost")
    effort = arguments.effort
    cases = programs(1024 if effort.quick else 8192)
    runs = {
        f"{label}, {n_init}": lambda e=estimator, X=X, n=n_init: timed(e, X, effort.n_epochs, n)
        for label, estimator, X in cases
        for n_init in (1, N_RESTARTS)
    }
    found = rounds(runs, effort.n_rounds)
    rows = [
        [label, *cells(found, f"{label}, {n}", f"{label}, 1", 1e6)][: 3 if n > 1 else 2]
        for label, *_ in cases
        for n in (1, N_RESTARTS)
    ]
    paired = [[*one, *eight[1:]] for one, eight in zip(rows[::2], rows[1::2], strict=True)]
    head = ["network", "µs a step, 1", f"µs a step, {N_RESTARTS}", f"{N_RESTARTS} / 1"]
    show(arguments, [table(head, paired)], [NOTE])


if __name__ == "__main__":
    main()

"""What a training step of every estimator costs, beside what its arithmetic and operations do."""

import warnings
from functools import partial

import numpy as np
from cases import CASES, Clock
from common import BARS, options, rounds, show, spread, table
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from narrows import (
    AdversarialAutoencoder,
    Autoencoder,
    Contractive,
    ContractiveAutoencoder,
    DenoisingAutoencoder,
    Dense,
    HierarchicalAutoencoder,
    SemiSupervisedVAE,
    SparseAutoencoder,
    Training,
    VariationalAutoencoder,
)

PLAIN = "plain"
STEPS, EPOCHS = 24, 2  # steps of an epoch, at most; epochs that count, after one that warms up
VARIANTS = {
    PLAIN: (Autoencoder, {}),
    "denoising": (DenoisingAutoencoder, {}),
    "sparse, l1": (SparseAutoencoder, {"sparsity": "l1"}),
    "sparse, kl": (SparseAutoencoder, {"sparsity": "kl"}),
    "sparse, top_k": (SparseAutoencoder, {"sparsity": "top_k", "k": 1}),
    "contractive": (ContractiveAutoencoder, {}),
    "contractive, 1 probe": (Autoencoder, {"penalties": [Contractive(n_probes=1)]}),
    "collective": (HierarchicalAutoencoder, {"ordering": "collective"}),
    "boosted": (HierarchicalAutoencoder, {"ordering": "boosted"}),
    "shared": (HierarchicalAutoencoder, {"ordering": "shared"}),
    "nested": (HierarchicalAutoencoder, {"ordering": "nested"}),
    "variational": (VariationalAutoencoder, {}),
    "variational, 5 draws": (VariationalAutoencoder, {"n_draws": 5}),
    "variational, vamp": (VariationalAutoencoder, {"prior": "vamp"}),
    "adversarial": (AdversarialAutoencoder, {}),
    "few labels (M2)": (SemiSupervisedVAE, {}),
}
NOTES = (
    f"Median of {EPOCHS} epochs of at most {STEPS} steps, divided by these, after one that warms "
    "up; all variants in turn, in rounds of one run; ratio: median (lowest to highest) over rounds "
    "to the plain autoencoder of the same widths. Arithmetic: "
    "multiplications of matrix products and operations of torch in a step, counted, as multiples "
    "of the plain one's. Beyond: the ratio of times over the larger of both multiples, asked to be "
    "at most 1.5. Small networks are bound by operations, large ones by multiplications. A stacked "
    "autoencoder's steps are those of plain or denoising ones of its layers.",
)


class Counter(TorchDispatchMode):
    """Counts calls into torch's library that compute, and multiplications of matrix products."""

    def __init__(self):
        super().__init__()
        self.found = np.zeros(2)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        count = flop_registry.get(func.overloadpacket)
        products = count(*args, **(kwargs or {}), out_val=out) / 2 if count else 0
        self.found += products, not any(made.alias_info for made in func._schema.returns)
        return out


def fit(name, case, X, n_epochs, callbacks=()):
    kind, settings = VARIANTS[name]
    model = kind(
        case.encoder[-1],
        architecture=Dense(case.encoder[1:-1], case.activation, linear_path=False, init="random"),
        batch_size=case.batch_size,
        max_epochs=n_epochs,
        random_state=0,
        training=Training(validation_fraction=0.0, patience=None, callbacks=list(callbacks)),
        **settings,
    )
    y = None
    if kind is SemiSupervisedVAE:
        y = np.where(np.arange(len(X)) % 10, -1, np.arange(len(X)) // 10 % 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X) if y is None else model.fit(X, y)


def timed(name, case, X, n_epochs):
    clock = Clock()
    n_warm = 3 if "sparse" in name else 1  # until silent units are woken, in steps of their own
    fit(name, case, X, n_epochs + n_warm, [clock])
    return clock.seconds(case.n_steps)[-n_epochs:]


def counted(name, case):
    """Return multiplications and operations of a step: those of three epochs less those of one."""
    few = case.small()
    X, found = few.data(), []
    for n_epochs in (1, 3):
        with Counter() as counter:
            fit(name, few, X, n_epochs)
        found.append(counter.found)
    return (found[1] - found[0]) / (2 * few.n_steps)


def main():
    every = {"nargs": "+", "choices": tuple(CASES), "default": tuple(CASES), "help": "which cases"}
    arguments = options("What a training step of every estimator costs", cases=every)
    bars, parts = [], []
    for key in arguments.cases:
        case = CASES[key].small() if arguments.effort.quick else CASES[key].short(STEPS)
        X, n_epochs = case.data(), EPOCHS
        programs = {name: partial(timed, name, case, X, n_epochs) for name in VARIANTS}
        found = rounds(programs, arguments.effort.n_rounds)
        counts = {name: counted(name, case) for name in VARIANTS}
        rows = []
        for name, seconds in found.items():
            times = seconds / found[PLAIN]
            multiples = counts[name] / counts[PLAIN]
            beyond = times / multiples.max()
            more = [f"{multiple:.2f}" for multiple in multiples]
            unit = f"{np.median(seconds) * 1e6:.0f}"
            rows.append([name, unit, spread(times), *more, spread(beyond)])
            if name != PLAIN:
                reached = "yes" if np.median(beyond) <= 1.5 else "no"
                bars.append([f"{key}: {name}", spread(beyond), "at most 1.5", reached])
        head = [str(case), "µs a step", "ratio", "multiplications", "operations", "beyond"]
        parts.append(table(head, rows))
    show(arguments, [table(BARS, bars), *parts], NOTES)


if __name__ == "__main__":
    main()

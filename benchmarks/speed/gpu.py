"""Time of a training step on a GPU, beside what its arithmetic and its memory traffic allow."""

import time

import numpy as np
import torch
from cases import CASES, Clock
from common import BARS, options, show, spread, table

from narrows import Autoencoder, Dense, Training

NOTES = (
    "A step cannot take less than the larger of its multiplications at the measured rate of a "
    "matrix product, and its bytes at the measured rate of a copy: weights read forward and "
    "backward, gradients written and read, Adam's three arrays read and written, rows and "
    "activations written and read, four bytes each. One epoch divided by its steps; rows lie on "
    "the device. Asked: at most 1.3 times that.",
)


def measured(device, function, n_times=20):
    """Return the least seconds of a function on a device."""
    each = []
    for _ in range(n_times):
        _wait(device)
        start = time.perf_counter()
        function()
        _wait(device)
        each.append(time.perf_counter() - start)
    return min(each)


def _wait(device):
    if device == "cuda":
        torch.cuda.synchronize()


def rates(device, size):
    """Return multiplications and bytes a second."""
    a = torch.randn(size, size, device=device)
    rows = torch.empty(size * size * 8, device=device)
    other = torch.empty_like(rows)
    products = size**3 / measured(device, lambda: a @ a)
    return products, 8 * rows.numel() / measured(device, lambda: other.copy_(rows))


def least(case, products, traffic):
    """Return the seconds that a step takes at least."""
    weights = case.n_parameters
    values = case.batch_size * (2 * sum(case.widths) + case.encoder[0])
    return max(3 * case.batch_size * weights / products, 4 * (10 * weights + 2 * values) / traffic)


def steps(case, X, device, precision, n_epochs):
    clock = Clock()
    Autoencoder(
        case.encoder[-1],
        architecture=Dense(case.encoder[1:-1], case.activation, linear_path=False, init="random"),
        batch_size=case.batch_size,
        max_epochs=n_epochs + 1,
        random_state=0,
        training=Training(
            validation_fraction=0.0,
            patience=None,
            callbacks=[clock],
            device=device,
            precision=precision,
        ),
    ).fit(X)
    return np.median(clock.seconds(case.n_steps))


def main():
    where = {"default": "cuda", "help": "cpu to try the script"}
    arguments = options("Time of a training step on a GPU", device=where)
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("There is no GPU. Write --device cpu --quick to try the script.")
    effort = arguments.effort
    products, traffic = rates(arguments.device, 256 if effort.quick else 8192)
    bars, rows = [], []
    for name, case in CASES.items():
        case = case.small() if effort.quick else case
        X, bound = case.data(), least(case, products, traffic)
        for precision in ("float32", "bfloat16"):
            seconds = np.array(
                [
                    steps(case, X, arguments.device, precision, effort.n_epochs)
                    for _ in range(effort.n_rounds)
                ]
            )
            beyond = spread(seconds / bound)
            unit = f"{np.median(seconds) * 1e6:.0f}"
            rows.append([str(case), precision, unit, f"{bound * 1e6:.0f}", beyond])
            if precision == "float32":
                reached = "yes" if np.median(seconds / bound) <= 1.3 else "no"
                bars.append([f"7: {name}: step / least", beyond, "at most 1.3", reached])
    head = ["case", "precision", "µs a step", "at least", "ratio"]
    show(arguments, [table(BARS, bars), table(head, rows)], NOTES)


if __name__ == "__main__":
    main()

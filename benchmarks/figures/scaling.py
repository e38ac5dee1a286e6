"""What a fit and a pass of scoring cost on 1 to 1000 workers: a model, from rates measured here."""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from common import main

import narrows

VALUES, HIDDEN, CODES = 64, (128, 128), 8
BATCH = 1024  # rows of a step on one worker
EPOCHS = 10
SAMPLE = 20_000  # rows
# Stated, not measured here: a worker's share of what they all read from, and how they are joined.
SHARED = 50e9  # bytes a second that a parallel file system or an object store gives to all
BANDWIDTH = 1.25e9  # bytes a second between two workers: Ethernet of 10 Gbit/s
LATENCY = 50e-6  # seconds a message
START = 20.0  # seconds until processes run and have imported torch
TASK = 1e-3  # seconds that Dask's scheduler takes for a task, one after another
CHUNK = 100_000  # rows of a chunk
WORKERS = (1, 10, 100, 1000)
ROWS = (10**6, 10**8, 10**10, 10**12)


def measured():
    """Return seconds of a step, rows scored a second, bytes read a second, and weights."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    X = np.sin(rng.normal(size=(SAMPLE, 8)) @ rng.normal(size=(8, VALUES))).astype(np.float32)
    seen = []
    training = narrows.Training(
        validation_fraction=0.0, patience=None, callbacks=[lambda epoch: seen.append(epoch.seconds)]
    )
    model = narrows.Autoencoder(
        CODES,
        hidden_layer_sizes=HIDDEN,
        batch_size=BATCH,
        max_epochs=12,
        random_state=0,
        training=training,
    ).fit(X)
    step = min(seen[1:]) / -(-SAMPLE // BATCH)
    scored = []
    for _ in range(8):
        begun = time.perf_counter()
        model.transform(X)
        scored.append(time.perf_counter() - begun)
    n_weights = sum(weight.numel() for weight in model._model.parameters())
    return step, SAMPLE / min(scored[1:]), read_rate(X), n_weights


def read_rate(X):
    """Return bytes a second of a file in blocks, from the page cache: the cost of reading alone."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "rows.npy")
        np.save(path, np.tile(X, (10, 1)))
        rows, begun, n_bytes = narrows.source(path), time.perf_counter(), 0
        for start in range(0, len(rows), 8192):
            n_bytes += np.array(rows.read(start, min(start + 8192, len(rows)))).nbytes
        return n_bytes / (time.perf_counter() - begun)


def all_reduce(n_workers, n_bytes):
    """Return seconds of a ring: 2 (w - 1) messages, which carry 2 (w - 1) / w of the bytes."""
    if n_workers == 1:
        return 0.0
    hops = 2 * (n_workers - 1)
    return hops * LATENCY + hops / n_workers * n_bytes / BANDWIDTH


def fit(n_rows, n_workers, step, own_rate, n_weights):
    """Return seconds of a fit that reads every row once an epoch, ahead of the steps."""
    n_steps = -(-n_rows // (BATCH * n_workers))
    rate = min(own_rate, SHARED / n_workers)
    reading = BATCH * VALUES * 4 / rate
    return START + EPOCHS * n_steps * (max(step, reading) + all_reduce(n_workers, 4 * n_weights))


def score(n_rows, n_workers, rows_a_second, own_rate):
    """Return seconds of one pass, whose chunks one scheduler hands out."""
    rate = min(own_rate, SHARED / n_workers)
    a_row = 1 / rows_a_second + VALUES * 4 / rate
    return START + max(n_rows / n_workers * a_row, n_rows / CHUNK * TASK)


def shown(seconds):
    """Return a duration in its own unit."""
    for unit, size in (("years", 3.156e7), ("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def make():
    step, rows_a_second, own_rate, n_weights = measured()
    rows = []
    for n_rows in ROWS:
        size = n_rows * VALUES * 4
        exponent = f"10^{len(str(n_rows)) - 1} ({size / 1e9:,.3g} GB)"
        for kind, seconds in (
            ("fit", [fit(n_rows, w, step, own_rate, n_weights) for w in WORKERS]),
            ("score", [score(n_rows, w, rows_a_second, own_rate) for w in WORKERS]),
        ):
            gain = seconds[0] / seconds[-1] / WORKERS[-1]
            rows.append([kind, exponent, *map(shown, seconds), f"{gain:.0%}"])
    head = ["", "rows", *(f"{w} worker{'s' * (w > 1)}" for w in WORKERS), "efficiency at 1000"]
    exchange = all_reduce(WORKERS[-1], 4 * n_weights)
    note = (
        f"Simulated, but for the rates of one worker. Rows of {VALUES} values in single precision, "
        f"a network of {n_weights:,} weights ({', '.join(map(str, HIDDEN))}, {CODES} codes), "
        f"{BATCH} rows a step and worker, {EPOCHS} epochs. Measured here, on one "
        "core, the fastest of a few tries: a step "
        f"{1e3 * step:.2g} ms, {rows_a_second:.2g} rows scored a second, {own_rate / 1e9:.2g} GB "
        f"read a second (from the page cache). Stated: {SHARED / 1e9:g} GB/s for all that read, "
        f"{BANDWIDTH / 1e9:g} GB/s and {1e6 * LATENCY:g} µs between workers, {START:g} s to start, "
        f"{1e3 * TASK:g} ms of one scheduler for each chunk of {CHUNK:,} rows.\n\n"
        "A fit takes `start + epochs · ceil(rows / (batch · w)) · (max(step, reading) + exchange)` "
        "with the ring's `exchange = 2 (w - 1) latency + 2 (w - 1) / w · bytes / bandwidth`; "
        "scoring takes `start + max(rows / w · (compute + reading), rows / chunk · task)`. At "
        f"{WORKERS[-1]} workers the exchange takes {1e3 * exchange:.3g} ms, "
        f"{exchange / step:.3g} times the step. The model leaves out stragglers, faults, writing, "
        "and that a step of a thousand times as many rows is another optimisation: epochs do not "
        "stay ten."
    )
    return head, rows, note


if __name__ == "__main__":
    main("Cost on many workers", make)

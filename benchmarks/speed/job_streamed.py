"""Rows a second of a fit from a file, in memory or streamed; the mean over steps after some.

python job_streamed.py FILE STEPS STREAM [CAP]
"""

import json
import resource
import sys
import time
import warnings

import numpy as np
from cases import Case

from narrows import Autoencoder, Dense, Training
from narrows.engine.player import Player

WARM = 50  # steps that are not counted
CASE = Case("M", (784, 512, 256, 32), "relu", 256, 0)


class Stopwatch:
    """Stops a fit after some steps, and knows how long they took."""

    def __init__(self, n_steps):
        self.n_steps, self.times, self.own = n_steps, [], Player.step

    def __call__(self, player, *arguments):
        losses = self.own(player, *arguments)
        self.times.append(time.perf_counter())
        if len(self.times) > WARM + self.n_steps:
            raise KeyboardInterrupt
        return losses

    @property
    def seconds(self):
        """Of a row."""
        counted = self.times[WARM:]
        return (counted[-1] - counted[0]) / (len(counted) - 1) / CASE.batch_size


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main(path, n_steps, stream, cap):
    if cap:
        resource.setrlimit(resource.RLIMIT_DATA, (int(cap * 2**30),) * 2)
    watch = Stopwatch(n_steps)
    Player.step = lambda *arguments: watch(*arguments)
    held = np.random.default_rng(1).standard_normal((1000, CASE.encoder[0]), dtype=np.float32)
    started, imports = time.perf_counter(), peak()
    warnings.filterwarnings("ignore", message="Training was interrupted")
    Autoencoder(
        CASE.encoder[-1],
        architecture=Dense(CASE.encoder[1:-1], CASE.activation, linear_path=False, init="random"),
        batch_size=CASE.batch_size,
        random_state=0,
        training=Training(stream=stream, patience=None),
    ).fit(path, validation=held)
    found = {"seconds": watch.seconds, "before": watch.times[0] - started}
    print(json.dumps({**found, "steps": len(watch.times), "peak": peak(), "imports": imports}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3] == "stream", float(sys.argv[4]))

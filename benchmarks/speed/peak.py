"""Peak memory of one fit, in a process of its own: `peak.py PROGRAM CASE` prints a line of JSON.

The rows are made and the libraries imported before; what the fit adds to the resident memory is
what is printed, in MiB.
"""

import json
import sys
import threading
import warnings
from pathlib import Path

from cases import CASES, Clock

_PAGE = 4096  # bytes


def resident():
    """Return the resident memory of the process, in MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE / 2**20


class Peak:
    """The highest resident memory, looked at every two milliseconds."""

    def __enter__(self):
        self.before = self.highest = resident()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self):
        while not self.over.wait(0.002):
            self.highest = max(self.highest, resident())

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


def program(name, case):
    """Return what fits a network to rows, its library imported."""
    if name == "narrows":
        import ours

        return lambda X: ours.same_network(case, X, 1)
    if name == "bare torch loop":
        import bare

        return lambda X: bare.loop(case, X, 1)
    if name == "scikit-learn MLPRegressor":
        from sklearn.neural_network import MLPRegressor

        model = MLPRegressor(
            hidden_layer_sizes=case.widths[1:-1],
            activation=case.activation,
            batch_size=case.batch_size,
            max_iter=2,
        )
        return lambda X: model.fit(X, X)
    import peers

    return lambda X: peers.PEERS[name](case, X, 2, Clock())


def main():
    name, case = sys.argv[1], CASES[sys.argv[2]]
    warnings.simplefilter("ignore")
    fit = program(name, case)
    X = case.data()
    # A first fit of few rows imports what libraries import late
    small = case.small()
    program(name, small)(small.data())
    with Peak() as peak:
        fit(X)
    print(json.dumps({"before": peak.before, "added": peak.highest - peak.before}))


if __name__ == "__main__":
    main()

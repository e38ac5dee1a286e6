"""Time of a training step: narrows beside the floor, the bare loop of torch, and its peers."""

import json
import subprocess
import sys
import warnings
from dataclasses import asdict, replace

import bare
import ours
from cases import CASES, Clock
from common import BARS, ROOT, NotMeasured, bar, cells, options, rounds, show, table
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

LOOP, OURS, DEFAULTS = "bare torch loop", "narrows, same network", "narrows, as it comes"
EIGHT, MLP = "narrows, same network, 8 restarts", "scikit-learn MLPRegressor"
MIXED = "narrows, same network, mixed precision"
FLOOR, ADAM = "floor: matrix products alone", "one fused Adam step alone"
PEERS = ("skorch", "PyOD", "mlcolvar", "pythae")
NOTES = (
    "One epoch divided by its steps, in one run that interleaves all programs in rounds; time: "
    "median over rounds of each round's median epoch; ratio: median (lowest to highest) over "
    "rounds. The first epoch of a call warms up and is not counted. Same network, batch size, "
    "Adam, float32, mean squared error. MLPRegressor and PyOD also put the activation on the code; "
    "PyOD leaves out the remainder of an epoch.",
    "Same network: no linear path, random start, all rows trained on. As it comes: linear path, "
    "start as PCA, a tenth of the rows held out and evaluated each epoch. Time is the epoch's, "
    "with all that happens in it. Both in single precision; mixed precision computes products and "
    "activations in bfloat16 and all else in single precision.",
)


class Peers:
    """The process that runs the peers in their own environment."""

    def __init__(self):
        python = ROOT / "benchmarks/.venv-peers/bin/python"
        self.process, self.versions = None, "Peers are not installed."
        if not python.exists():
            return
        self.process = subprocess.Popen(
            [python, ROOT / "benchmarks/speed/peers.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            bufsize=1,
        )
        found = json.loads(self.process.stdout.readline())
        self.versions = "Peers: " + ", ".join(f"{n} {v}" for n, v in found.items()) + "."

    def __call__(self, peer, case, n_epochs):
        if self.process is None:
            raise NotMeasured("not installed: run benchmarks/speed/peers.sh")
        if self.process.poll() is not None:
            raise NotMeasured("the process of the peers ended")
        request = {"peer": peer, "case": asdict(case), "n_epochs": n_epochs}
        print(json.dumps(request), file=self.process.stdin)
        reply = json.loads(self.process.stdout.readline() or '{"error": "ended its process"}')
        if "error" in reply:
            raise NotMeasured(reply["error"])
        return reply["seconds"]


def mlp_regressor(case, X, n_epochs):
    """Time scikit-learn's network; it has no callbacks, so its test for stopping is the clock."""
    clock = Clock()
    model = MLPRegressor(
        hidden_layer_sizes=case.widths[1:-1],
        activation=case.activation,
        alpha=0.0,
        batch_size=case.batch_size,
        max_iter=n_epochs + 1,
    )
    model._update_no_improvement_count = clock
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        model.fit(X, X)
    return clock.seconds(case.n_steps)


def programs(case, X, n_epochs, peers):
    """Return what is timed on a case."""
    found = {
        FLOOR: lambda: bare.floor(case, n_epochs),
        ADAM: lambda: bare.adam_step(case, n_epochs),
        LOOP: lambda: bare.loop(case, X, n_epochs),
        OURS: lambda: ours.same_network(case, X, n_epochs),
        DEFAULTS: lambda: ours.as_it_comes(case, X, n_epochs),
        MLP: lambda: mlp_regressor(case, X, n_epochs),
    }
    if case.name == "S":
        found[f"{FLOOR}, one thread"] = lambda: bare.one_thread(bare.floor)(case, n_epochs)
        found[f"{LOOP}, one thread"] = lambda: bare.one_thread(bare.loop)(case, X, n_epochs)
        found[EIGHT] = lambda: ours.same_network(case, X, n_epochs, n_init=8)
    else:
        found[MIXED] = lambda: ours.mixed(case, X, n_epochs)
    return found | {peer: lambda p=peer: peers(p, case, n_epochs) for peer in PEERS}


def bars(case, found):
    """Return the rows of the table of bars."""
    if case.name != "S":
        return [
            bar(f"3: {case.name}: {OURS} / bare loop", found, OURS, LOOP, most=1.0),
            bar(f"3: {case.name}: {OURS} / (floor + Adam)", found, OURS, FLOOR, ADAM, most=1.25),
            *(bar(f"3: {case.name}: {p} / {MIXED}", found, p, MIXED, least=2.5) for p in PEERS),
        ]
    return [
        bar(f"1: {OURS} / MLPRegressor", found, OURS, MLP, most=1.4),
        bar("1: skorch / narrows", found, "skorch", OURS, least=3.5),
        bar("1: PyOD / narrows", found, "PyOD", OURS, least=3.5),
        bar("2: 8 restarts / 1", found, EIGHT, OURS, most=2.3),
        bar("2: 8 restarts / skorch", found, EIGHT, "skorch", most=0.5),
        bar("2: 8 restarts / PyOD", found, EIGHT, "PyOD", most=0.5),
    ]


def main():
    every = {"nargs": "+", "choices": tuple(CASES), "default": tuple(CASES), "help": "which cases"}
    arguments = options("Time of a training step", cases=every)
    effort, peers = arguments.effort, Peers()
    parts, reached = [], []
    for name in arguments.cases:
        case = CASES[name]
        if effort.quick:
            case = replace(case, n_rows=8 * case.batch_size + 1)
        timed = programs(case, case.data(), effort.n_epochs, peers)
        print(f"{name}: {case}", file=sys.stderr)
        found = rounds(timed, effort.n_rounds)
        rows = [[each, *cells(found, each, LOOP, 1e6)] for each in timed]
        head = [f"{name}: {case}", "µs a step", "ratio to the bare loop"]
        parts.append(table(head, rows))
        reached += bars(case, found)
    show(arguments, [table(BARS, reached), *parts], [*NOTES, peers.versions])


if __name__ == "__main__":
    main()

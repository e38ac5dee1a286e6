"""What an ordering costs: ranked autoencoders against the plain one of the same widths."""

from dataclasses import replace

import ours
from cases import Case
from common import BARS, bar, cells, options, rounds, show, table

CASE = Case("", (30, 40, 8), "tanh", 128, 50_000)
ASKED = {"collective": 3.0, "boosted": 3.0, "shared": None, "nested": 1.2}
NETWORKS = {"as it comes": ours.as_it_comes, "without linear path": ours.same_network}
NOTE = (
    "One epoch divided by its steps, n_init = 1; all programs interleaved in rounds of one run; "
    "ratio: median (lowest to highest) over rounds. As it comes: linear path, start as PCA, a "
    "tenth of the rows held out; without linear path: random start, all rows trained on."
)


def main():
    arguments = options("What an ordering costs")
    effort = arguments.effort
    case = replace(CASE, n_rows=8 * CASE.batch_size + 1) if effort.quick else CASE
    X = case.data()
    timed = {
        f"{ordering}, {network}": lambda o=ordering, run=run: run(
            case, X, effort.n_epochs, ordering=o
        )
        for network, run in NETWORKS.items()
        for ordering in ("none", *ASKED)
    }
    found = rounds(timed, effort.n_rounds)
    rows = [[name, *cells(found, name, _plain(name), 1e6)] for name in timed]
    reached = [
        bar(f"5: {name} / plain", found, name, _plain(name), most=asked)
        for name in timed
        if (asked := ASKED.get(name.split(",")[0]))
    ]
    head = [str(case), "µs a step", "ratio to the plain autoencoder"]
    show(arguments, [table(BARS, reached), table(head, rows)], [NOTE])


def _plain(name):
    """Return the plain autoencoder of the same network."""
    return f"none, {name.partition(', ')[2]}"


if __name__ == "__main__":
    main()

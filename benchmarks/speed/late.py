"""What a step takes after thousands of them, where some units have fallen silent."""

from functools import partial

import bare
import ours
from cases import CASES
from common import cells, options, rounds, show, table

STEPS, EPOCHS, SHOWN = 100, 20, 4  # steps of an epoch; epochs; those at either end that are shown
FIRST, LAST = "at first", "later"
PROGRAMS = {
    "bare torch loop": bare.loop,
    "narrows, same network": ours.same_network,
    "narrows, same network, mixed precision": ours.mixed,
}
NOTE = (
    f"Adam, float32, random start; the median of epochs 2 to {SHOWN + 1} and of the last {SHOWN} "
    f"of {EPOCHS}, of {STEPS} steps each, all programs in turn; ratio: median (lowest to highest) "
    "over rounds. A unit that is silent has no gradient, and its momentum shrinks by a tenth with "
    "every step, until after 700 it leaves the normal numbers, with which processors take many "
    "times as long. narrows sets it to zero before."
)


def main():
    arguments = options("What a step takes later on")
    n_epochs = 2 * SHOWN if arguments.quick else EPOCHS
    case = CASES["M"].short(STEPS)
    X, times = case.data(), {}

    def first(name, run):
        times[name] = run(case, X, n_epochs)
        return times[name][:SHOWN]

    programs = {}
    for name, run in PROGRAMS.items():
        programs[f"{name}, {FIRST}"] = partial(first, name, run)
        programs[f"{name}, {LAST}"] = lambda name=name: times[name][-SHOWN:]
    found = rounds(programs, arguments.effort.n_rounds)
    rows = [[name, *cells(found, name, name.replace(LAST, FIRST), 1e3)] for name in programs]
    show(arguments, [table([str(case), "ms a step", "ratio to its first steps"], rows)], [NOTE])


if __name__ == "__main__":
    main()

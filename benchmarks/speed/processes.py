"""What a second process costs: steps of two processes with their own rows, beside those of one."""

import json
import os
import subprocess
import sys
import tempfile
from functools import partial

import bare
import ours
import torch
from cases import CASES
from common import BARS, ROOT, bar, cells, options, rounds, show, table

N_STEPS = 40  # of an epoch, at most
ALONE, TOGETHER, EXCHANGE = "one process", "two processes", "the exchange alone"
NOTES = (
    "Weak scaling: two processes with batches as large as the one's, each on one thread, on one "
    "machine; gradients are summed over its loopback by gloo. One epoch divided by its steps; all "
    "programs in turn, in rounds of one run; ratio: median (lowest to highest) over rounds. The "
    "exchange alone sums as many numbers as the network has parameters. Asked, where machines can "
    "be had: the time of one process is 0.9 of that of two. Two processes here also share the "
    "bandwidth of one memory, and what a sum costs is the processor's work, not the network's.",
)


def main():
    arguments = options(
        "What a second process costs",
        cases={"nargs": "+", "choices": tuple(CASES), "default": tuple(CASES), "help": "which"},
        worker={"help": "used by the script itself"},
    )
    if arguments.worker:
        print(json.dumps(worker(*arguments.worker.split(","))))
        return
    effort, bars, parts = arguments.effort, [], []
    for name in arguments.cases:
        programs = {
            ALONE: partial(started, ALONE, name, 1, effort.n_epochs),
            TOGETHER: partial(started, TOGETHER, name, 2, effort.n_epochs),
            EXCHANGE: partial(started, EXCHANGE, name, 2, effort.n_epochs),
        }
        found = rounds(programs, effort.n_rounds)
        bars.append(bar(f"8: {name}: one process / two", found, ALONE, TOGETHER, least=0.9))
        lines = [[each, *cells(found, each, ALONE, 1e6)] for each in programs]
        head = [str(CASES[name].short(N_STEPS)), "µs a step", "ratio to one process"]
        parts.append(table(head, lines))
    show(arguments, [table(BARS, bars), *parts], NOTES)


def started(program, case, n_processes, n_epochs):
    """Return what the first of some processes measures."""
    with tempfile.TemporaryDirectory() as folder:
        told = f"{program},{case},{n_epochs},{n_processes},{folder}/store"
        command = [sys.executable, ROOT / "benchmarks/speed/processes.py", "--worker"]
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        running = [
            subprocess.Popen([*command, f"{told},{number}"], env=env, stdout=subprocess.PIPE)
            for number in range(n_processes)
        ]
        said = [process.communicate()[0] for process in running]
    return json.loads(said[0].splitlines()[-1])


def worker(program, case, n_epochs, n_processes, store, number):
    """Return seconds of a step, an entry per epoch, as one of some processes."""
    torch.set_num_threads(1)
    n, place = int(n_processes), int(number)
    case = CASES[case].short(N_STEPS * n)
    if n > 1:
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{store}", rank=place, world_size=n
        )
    if program == EXCHANGE:
        found = bare.exchange(case, int(n_epochs))
    else:
        n_steps = -(-case.n_rows // (n * case.batch_size))
        seconds = ours.same_network(case, case.data(), int(n_epochs))
        found = [each * case.n_steps / n_steps for each in seconds]
    if n > 1:
        torch.distributed.destroy_process_group()
    return found


if __name__ == "__main__":
    main()

"""Peak memory of a fit, beside what its rows and parameters need, and beside the peers."""

import json
import subprocess
import sys

import numpy as np
from cases import CASES
from common import BARS, ROOT, options, show, spread, table

HERE = ROOT / "benchmarks/speed"
OURS = "narrows"
PROGRAMS = (OURS, "bare torch loop", "scikit-learn MLPRegressor")
PEERS = ("skorch", "PyOD", "mlcolvar", "pythae")
NOTES = (
    "What a fit adds to the resident memory of its process, at most, beyond the rows and what the "
    "libraries took before; looked at every two milliseconds, one process per number, median "
    "(lowest to highest) over rounds. Asked: one copy of the rows and five of the parameters, all "
    "in float32. 'Before' is the process with its libraries and the rows. Same network, batch "
    "size, Adam; a first fit of two batches is not counted, so that what libraries import late "
    "is not.",
)


def measured(program, case):
    """Return the numbers of one process, in MiB, or why there are none."""
    python = sys.executable
    if program in PEERS:
        python = ROOT / "benchmarks/.venv-peers/bin/python"
        if not python.exists():
            return "not installed: run benchmarks/speed/peers.sh"
    command = [python, HERE / "peak.py", program, case]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["ended"])[-1]
    return json.loads(done.stdout.splitlines()[-1])


def needed(case):
    """Return the MiB of one copy of the rows and five of the parameters."""
    return 4 * (case.n_rows * case.encoder[0] + 5 * case.n_parameters) / 2**20


def main():
    arguments = options("Peak memory of a fit")
    bars, parts = [], []
    for name, case in CASES.items():
        rows = []
        for program in (*PROGRAMS, *PEERS):
            print(f"{name}: {program}", file=sys.stderr, flush=True)
            found = [measured(program, name) for _ in range(arguments.effort.n_rounds)]
            if any(isinstance(one, str) for one in found):
                rows.append([program, next(one for one in found if isinstance(one, str)), "", ""])
                continue
            added = np.array([one["added"] for one in found])
            before = np.median([one["before"] for one in found])
            relative = added / needed(case)
            rows.append([program, f"{before:.0f}", f"{np.median(added):.0f}", spread(relative)])
            if program == OURS:
                reached = "yes" if np.median(relative) <= 1 else "no"
                what = f"6: {name}: added / (rows + 5 x parameters)"
                bars.append([what, spread(relative), "at most 1", reached])
        needs = f"of {needed(case):.0f} MiB"
        parts.append(table([str(case), "before, MiB", "added, MiB", needs], rows))
    show(arguments, [table(BARS, bars), *parts], NOTES)


if __name__ == "__main__":
    main()

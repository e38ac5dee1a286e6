"""What the scripts of speed share: rounds, ratios, bars, tables."""

import argparse
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sklearn
import torch

import narrows

ROOT = Path(__file__).resolve().parents[2]


class NotMeasured(Exception):
    """A program did not run, and why."""


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    n_rounds: int
    n_epochs: int
    quick: bool


def options(title, **more):
    """Return the arguments of a script: --quick, --write, --rounds and the script's own."""
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--quick", action="store_true", help="a few steps, to try the script")
    parser.add_argument("--write", action="store_true", help="keep the table in results/")
    parser.add_argument("--rounds", type=int, default=5, help="each runs all programs in turn")
    for name, settings in more.items():
        parser.add_argument(f"--{name}", **settings)
    arguments = parser.parse_args()
    if arguments.quick and arguments.write:
        parser.error("--quick measures nothing worth keeping: leave out --write")
    arguments.title = title
    arguments.effort = Effort(
        n_rounds=2 if arguments.quick else arguments.rounds,
        n_epochs=2 if arguments.quick else 3,
        quick=arguments.quick,
    )
    return arguments


def rounds(programs, n_rounds, n_warm=0):
    """Run programs in turn, A B C A B C, so that a drifting machine is the same for all.

    Returns the seconds of each by round, every round's the median of what the program returned,
    or the reason why it did not run; the first `n_warm` rounds are not counted.
    """
    found = {name: [] for name in programs}
    for number in range(-n_warm, n_rounds):
        for name, program in programs.items():
            if isinstance(found[name], str):
                continue
            print(f"round {number + 1}/{n_rounds}: {name}", file=sys.stderr, flush=True)
            try:
                seconds = np.median(program())
            except NotMeasured as reason:
                found[name] = str(reason)
            else:
                found[name] += [seconds] if number >= 0 else []
    return {name: s if isinstance(s, str) else np.array(s) for name, s in found.items()}


def ratio(found, above, *below):
    """Return by round the time of a program over the sum of others', or its seconds if none."""
    for name in (above, *below):
        if isinstance(found[name], str):
            raise NotMeasured(f"{name}: {found[name]}")
    return found[above] / (sum(found[name] for name in below) if below else 1)


def spread(values, digits=2):
    """Return median (lowest to highest) over rounds."""
    low, middle, high = np.min(values), np.median(values), np.max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def cells(found, name, against, unit):
    """Return the cells of a program: its time and its ratio to another's."""
    if isinstance(found[name], str):
        return [found[name], ""]
    try:
        relative = spread(ratio(found, name, against))
    except NotMeasured:
        relative = ""
    time = np.median(found[name]) * unit
    return [f"{time:.0f}" if time >= 100 else f"{time:.3g}", relative]


def bar(what, found, above, *below, most=None, least=None):
    """Return a row of the table of bars."""
    asked = f"at most {most}" if least is None else f"at least {least}"
    try:
        values = ratio(found, above, *below)
    except NotMeasured as reason:
        return [what, str(reason), asked, "not measured"]
    middle = np.median(values)
    reached = middle <= most if least is None else middle >= least
    return [what, spread(values), asked, "yes" if reached else "no"]


BARS = ["bar", "found", "asked", "reached"]


def table(head, rows):
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def show(arguments, parts, notes):
    """Print tables and notes, and keep them in results/ with --write."""
    script = Path(sys.argv[0])
    command = " ".join([f"python benchmarks/speed/{script.name}", *sys.argv[1:]])
    text = "\n\n".join([f"# {arguments.title}", f"`{command}`", *parts, *notes, machine()]) + "\n"
    print(text)
    if arguments.write:
        (ROOT / "benchmarks/results" / f"{script.stem}.md").write_text(text, encoding="utf-8")


def machine():
    """Return versions and machine."""
    return (
        f"narrows {narrows.__version__}, torch {torch.__version__}, scikit-learn "
        f"{sklearn.__version__}, numpy {np.__version__}, Python {platform.python_version()}; "
        f"{_processor()}, {torch.backends.cpu.get_cpu_capability()}, {os.cpu_count()} cores, "
        f"{torch.get_num_threads()} threads."
    )


def _processor():
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()

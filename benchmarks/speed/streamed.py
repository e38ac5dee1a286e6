"""Rows a second of data larger than memory, beside data in memory."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import BARS, ROOT, NotMeasured, bar, options, ratio, rounds, show, spread, table
from job_streamed import CASE, WARM

JOB = ROOT / "benchmarks/speed/job_streamed.py"
MEMORY, STREAMED, RAW = "in memory", "streamed", "the file read, and nothing else"
ROW = 4 * CASE.encoder[0]
AT_ONCE = 2**22


def made(path, gigabytes):
    """Write a file of normal numbers, a block at a time."""
    n_rows, rng = int(gigabytes * 2**30 / ROW), np.random.default_rng(0)
    with open(path, "wb") as stream:
        shape = (n_rows, CASE.encoder[0])
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        for start in range(0, n_rows, 8192):
            size = (min(8192, n_rows - start), CASE.encoder[0])
            stream.write(rng.standard_normal(size, dtype=np.float32))
        stream.flush()
        os.fsync(stream.fileno())
    return path


def forgotten(path):
    """Let the system drop what it keeps of a file in memory, so that it is read from the disk."""
    with open(path, "rb") as stream:
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read(path):
    """Return the seconds of a row of a file that is read from its beginning to its end."""
    forgotten(path)
    start = time.perf_counter()
    with open(path, "rb", buffering=0) as stream:
        buffer = bytearray(AT_ONCE)
        while stream.readinto(buffer):
            pass
    return (time.perf_counter() - start) * ROW / path.stat().st_size


def fitted(path, n_steps, how, cap, told):
    """Return the seconds of a row of a fit in a process of its own; keep what else it says."""
    forgotten(path)
    command = [sys.executable, JOB, path, n_steps, how, cap]
    process = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True)
    if process.returncode:
        raise NotMeasured(f"ended with {process.returncode}")
    found = json.loads(process.stdout)
    told.append(found)
    return found["seconds"]


def cells(found, name, told):
    """Return the cells of a program: its rates, its memory, and the time before the first step."""
    if isinstance(found[name], str):
        return [name, found[name], "", "", "", ""]
    rate = 1 / np.median(found[name])
    against = spread(ratio(found, MEMORY, name))
    memory = "{:.2f} ({:.2f})".format(*_medians(told, "peak", "imports")) if told else ""
    before = f"{_medians(told, 'before')[0]:.0f}" if told else ""
    return [name, f"{rate:.0f}", f"{rate * ROW / 2**20:.0f}", against, memory, before]


def _medians(told, *names):
    return [np.median([each[name] for each in told]) for name in names]


def main():
    sizes = {
        "memory": {"type": float, "default": 2.0, "help": "GiB of the fit in memory"},
        "streamed": {"type": float, "default": 20.0, "help": "GiB of the fit that is streamed"},
        "cap": {"type": float, "default": 1.0, "help": "GiB that the streamed fit may take"},
        "steps": {"type": int, "default": 5000, "help": "that are timed, instead of whole epochs"},
        "folder": {"default": None, "help": "where the files are made, and deleted after"},
    }
    arguments = options("Data larger than memory", **sizes)
    if arguments.quick:
        arguments.memory, arguments.streamed = arguments.memory / 50, arguments.streamed / 50
        arguments.steps //= 50
    told = {MEMORY: [], STREAMED: []}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        inside = made(Path(folder, "inside.npy"), arguments.memory)
        outside = made(Path(folder, "outside.npy"), arguments.streamed)
        n, cap = arguments.steps, arguments.cap
        programs = {
            MEMORY: lambda: fitted(inside, n, "hold", 0, told[MEMORY]),
            STREAMED: lambda: fitted(outside, n, "stream", cap, told[STREAMED]),
            RAW: lambda: read(outside),
        }
        found = rounds(programs, arguments.effort.n_rounds)
    head = ["program", "rows a second", "MiB a second", "rows, ratio to in memory"]
    head += ["peak memory (after imports), GiB", "s before the first step"]
    rows = [cells(found, name, told.get(name)) for name in programs]
    bars = [bar("6: rows a second, streamed / in memory", found, MEMORY, STREAMED, least=0.9)]
    widths = "-".join(map(str, CASE.widths))
    notes = (
        f"{widths} {CASE.activation}, batch {CASE.batch_size}, "
        f"rows in float32, precision as it comes; {arguments.memory:g} GiB in memory, "
        f"{arguments.streamed:g} GiB streamed. The mean over {n} steps after {WARM}, which stand "
        "for an epoch; no linear path, random start. Both fits pass over their file once before "
        "the first step, for the scaling.",
        f"The streamed fit runs under a limit of {cap:g} GiB on its private writable memory "
        "(RLIMIT_DATA, which the system enforces: what goes beyond fails). Peak memory is what is "
        "resident, shared libraries included. Before each program the system is told to forget "
        "the file, so that it comes from the disk.",
    )
    show(arguments, [table(BARS, bars), table(head, rows)], notes)


if __name__ == "__main__":
    main()

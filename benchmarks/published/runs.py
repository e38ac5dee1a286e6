"""Keeps finished runs in a file, so that a script that was stopped goes on where it was."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FILE = os.environ.get("NARROWS_RUNS")


def once(name: str, settings: dict[str, Any], run: Callable[[], Any]) -> tuple[Any, float]:
    """Return what a run finds and its seconds of wall time.

    With the environment variable NARROWS_RUNS, which names a file, a run of the same name and
    settings is read from there, or written there when it is done.
    """
    key = json.dumps([name, settings], sort_keys=True, default=repr)
    kept = {}
    if FILE is not None and Path(FILE).exists():
        lines = Path(FILE).read_text(encoding="utf-8").splitlines()
        kept = {line["key"]: line for line in map(json.loads, lines)}
    if key not in kept:
        begun = time.perf_counter()
        found = run()
        line = {"key": key, "found": found, "seconds": time.perf_counter() - begun}
        print(line, flush=True)
        if FILE is None:
            return line["found"], line["seconds"]
        with Path(FILE).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
        kept[key] = line
    return kept[key]["found"], kept[key]["seconds"]

"""How much memory a process may take."""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_ROOT = Path("/")
_LARGEST = 2**60  # what systems write where there is no limit is larger


def capacity(root: Path = _ROOT) -> int:
    """Return the bytes that this process may take, by the tightest of its limits.

    These are the memory of the machine, the limits of its control groups (versions 1 and 2), which
    containers and queues set, and what is left of its own limits of address space and of data
    (``ulimit -v``, ``ulimit -d``). What other processes take now does not count, so that the same
    fit finds the same figure at another time.

    Parameters
    ----------
    root : Path
        Where ``proc`` and ``sys`` are mounted.

    Examples
    --------
    >>> capacity() > 0
    True
    """
    limits = [*_of_machine(root), *_of_groups(root), *_of_process(root)]
    return max(0, min(limits, default=sys.maxsize))


def _of_machine(root: Path) -> Iterator[int]:
    total = _fields(root / "proc/meminfo").get("MemTotal")
    if total is not None:
        yield 1024 * total
    elif hasattr(os, "sysconf"):
        with suppress(OSError, ValueError):
            yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _of_groups(root: Path) -> Iterator[int]:
    """Yield the limit of each control group that the process is in, and of those above."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        kinds, _, path = rest.partition(":")
        version = {"": 2, "memory": 1}.get(kinds if "memory" not in kinds.split(",") else "memory")
        if version is None:
            continue
        top = root / "sys/fs/cgroup" / ("memory" if version == 1 else "")
        own = top / path.lstrip("/")
        for folder in (own, *own.parents):
            yield from _of_group(folder, version)
            if folder == top:
                break


def _of_group(folder: Path, version: int) -> Iterator[int]:
    name = {1: "memory.limit_in_bytes", 2: "memory.max"}[version]
    with suppress(ValueError):
        limit = int(_text(folder / name))
        if limit < _LARGEST:
            yield limit


def _of_process(root: Path) -> Iterator[int]:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    used = _fields(root / "proc/self/status")
    for kind, name in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        limit, _ = resource.getrlimit(kind)
        if limit != resource.RLIM_INFINITY:
            yield limit - 1024 * used.get(name, 0)


def _fields(path: Path) -> dict[str, int]:
    """Return the first whole number of each line by the line's first word."""
    lines = (line.replace(":", " ").split() for line in _text(path).splitlines())
    return {words[0]: int(words[1]) for words in lines if words[1:] and words[1].isdecimal()}


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(encoding="utf-8")
    return ""

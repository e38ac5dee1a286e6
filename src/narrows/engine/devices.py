"""Where a model computes: device, precision, threads, random numbers."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import numpy as np
import torch

from narrows import _ranks


def device(choice: str, precision: str) -> torch.device:
    """Return the device of that name; "auto" takes CUDA, else MPS, else the processor.

    Of several processes on a machine, each takes a GPU of its own for "auto" and "cuda".
    """
    single = dtype(precision) is torch.float32
    if choice in ("auto", "cuda") and _ranks.size() > 1 and torch.cuda.is_available():
        return torch.device("cuda", _ranks.local_number() % torch.cuda.device_count())
    if choice == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if single and torch.backends.mps.is_available() else "cpu")
    try:
        torch.zeros(1, device=choice, dtype=dtype(precision)).cpu()
        return torch.device(choice)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        why = f" with precision={precision!r}" if precision != "auto" else ""
        raise ValueError(
            f"device={choice!r} is not known, or not there{why}. Write 'auto' or 'cpu'."
        ) from error


def dtype(precision: str) -> torch.dtype:
    """Return the type of the network's numbers."""
    return torch.float64 if precision == "float64" else torch.float32


def mixed(precision: str, work: float, where: torch.device) -> bool:
    """Return whether networks compute in bfloat16 while training.

    Parameters
    ----------
    precision : str
        "auto" does where products of a step are large and the device is fast at them.
    work : float
        Multiplications of a training step.
    where : torch.device
    """
    pays = precision == "auto" and work >= _LARGE
    return _ranks.from_first(lambda: precision == "bfloat16" or (pays and _pays(where.type)))


_WORTH_TWO, _WORTH_MORE = 1e6, 1e7  # multiplications of a step, for a second and further threads
_LARGE = 1e8  # multiplications of a step, from which products take most of its time


@cache
def _pays(device: str) -> bool:
    """Return whether the product of two matrices takes less than two thirds of the time so."""
    if device == "mps":
        return False
    spent = {}
    for kind in (torch.float32, torch.bfloat16):
        matrix = torch.ones(1024, 1024, dtype=kind, device=device)
        each = []
        for _ in range(4):
            start = time.perf_counter()
            (matrix @ matrix)[0, 0].item()
            each.append(time.perf_counter() - start)
        spent[kind] = min(each)
    return spent[torch.bfloat16] < spent[torch.float32] / 1.5


def generators(
    seeds: Sequence[np.random.SeedSequence], where: torch.device, stream: int = 0
) -> tuple[torch.Generator, ...]:
    """Return one generator of random numbers per seed; streams of a seed are independent."""
    states = [int(seed.generate_state(stream + 1, np.uint64)[stream] >> 1) for seed in seeds]
    return tuple(torch.Generator(where).manual_seed(state) for state in states)


@contextmanager
def threads(work: float) -> Iterator[None]:
    """Use as many threads as a step's work deserves, at most those that the caller allows.

    Parameters
    ----------
    work : float
        Multiplications of a training step; small steps are slower on many threads.
    """
    allowed = torch.get_num_threads()
    wanted = 1 + (work >= _WORTH_TWO) + int(work / _WORTH_MORE)
    torch.set_num_threads(max(1, min(allowed, wanted)))
    try:
        yield
    finally:
        torch.set_num_threads(allowed)

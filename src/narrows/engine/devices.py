"""Where a model computes: device, precision, threads, random numbers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch


def device(choice: str) -> torch.device:
    """Return the device of that name; "auto" takes CUDA, else MPS, else the processor."""
    if choice == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        torch.empty(0, device=choice)
        return torch.device(choice)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device={choice!r} cannot be used here. Write 'auto' or 'cpu'."
        ) from error


def dtype(precision: str) -> torch.dtype:
    """Return the type of the network's numbers."""
    return torch.float64 if precision == "float64" else torch.float32


def generators(
    seeds: Sequence[np.random.SeedSequence], where: torch.device
) -> tuple[torch.Generator, ...]:
    """Return one generator of random numbers per seed."""
    states = [int(seed.generate_state(1, np.uint64)[0] >> 1) for seed in seeds]
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
    torch.set_num_threads(max(1, min(allowed, int(work / 1e7) + 1)))
    try:
        yield
    finally:
        torch.set_num_threads(allowed)

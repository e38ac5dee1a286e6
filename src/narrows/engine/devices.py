"""Where a model computes: device, precision, threads, random numbers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch


def device(choice: str, precision: str) -> torch.device:
    """Return the device of that name; "auto" takes CUDA, else MPS, else the processor."""
    single = dtype(precision) is torch.float32
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
    torch.set_num_threads(max(1, min(allowed, int(work / 1e7) + 1)))
    try:
        yield
    finally:
        torch.set_num_threads(allowed)

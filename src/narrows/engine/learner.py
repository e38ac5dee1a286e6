"""What the loop trains, and what it reads."""

from collections.abc import Generator, Iterator
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn


@runtime_checkable
class Batched(Protocol):
    """Rows in batches: in order, or shuffled."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Any]: ...

    def shuffled(self, generator: torch.Generator, done: int = 0) -> Generator[Any, None, None]:
        """Yield batches of a new random order, after the first `done`."""


class Learner(nn.Module):
    """Base of what the loop trains: its forward pass returns one tensor of losses per term.

    Attributes
    ----------
    progress : float
        How much of the training is over, from 0 to 1: parts may change with it.
    settled : float
        The share of the training after which no part changes any more.
    keeps_last : bool
        Whether the last weights are the ones to keep, as where losses of different epochs do not
        compare; patience then does not count.
    mixed : bool
        Whether networks compute in bfloat16 while training; weights, losses and gradients of
        weights are in single precision (Micikevicius et al. 2018, arXiv:1710.03740), and all else
        is outside training.
    """

    progress: float = 1.0
    settled: float = 0.0
    keeps_last: bool = False
    mixed: bool = False

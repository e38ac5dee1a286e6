"""What the loop trains, and what it reads."""

from collections.abc import Callable, Generator, Iterator
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from narrows import _ranks


@runtime_checkable
class Batched(Protocol):
    """Rows in batches: in order, or shuffled.

    A batch has a length, a `total_weight`, and `divided(number, n_processes)`, the share of a
    process.
    """

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Any]: ...

    def shuffled(self, generator: torch.Generator, done: int = 0) -> Generator[Any, None, None]:
        """Yield batches of a new random order, after the first `done`.

        Each need hold no longer than until the next one is asked for.
        """


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
    rowwise : bool
        Whether its batches can be divided among processes; if not, each computes all rows.
    """

    progress: float = 1.0
    settled: float = 0.0
    keeps_last: bool = False
    mixed: bool = False
    rowwise: bool = True


def own_part(model: Learner, batch: Any) -> Any:
    """Return what this process computes of a batch."""
    n = _ranks.size()
    return batch.divided(_ranks.number(), n) if n > 1 and model.rowwise else batch


def losses_of(model: Learner, terms: Callable[[Any], list[Tensor]], own: Any) -> list[Tensor]:
    """Return terms of what this process computes of a batch; over all processes they add up."""
    n = _ranks.size()
    return terms(own) if n == 1 or model.rowwise else [term / n for term in terms(own)]

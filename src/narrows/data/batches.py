"""Batches of rows that live on the device once."""

import math
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from narrows._ranks import Share, share_of

# Rows of several batches are gathered at once, about 1 MiB: fewer, larger copies.
_GATHERED_VALUES = 2**18


@dataclass(frozen=True)
class Batch:
    """Rows as the model sees them: scaled, missing entries filled and marked.

    Where sequences have ended, `x` is NaN; `target` is filled there and marked like any entry that
    is missing.

    Attributes
    ----------
    x : Tensor of shape (row, value)
    target : Tensor of shape (row, output)
    weight : Tensor of shape (row,), or None
        Weights whose mean over the training rows is one; None when all are.
    observed : Tensor of bool, shape (row, output), or None
        Which entries of the target were observed; None when all were.
    condition : Tensor of shape (row, condition), or None
        What encoder and decoder read besides, as numbers; of shape (restart, row, condition) where
        each restart has its own, in a batch that is not divided any more.
    share : Share or None
        Which rows of a larger batch these are, where several processes compute it; None if all.
    whole : Batch or None
        That batch.
    """

    x: Float[Tensor, "row value"]
    target: Float[Tensor, "row output"]
    weight: Float[Tensor, " row"] | None = None
    observed: Bool[Tensor, "row output"] | None = None
    condition: Float[Tensor, "... row condition"] | None = None
    share: Share | None = None
    whole: "Batch | None" = None

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: Tensor | slice) -> "Batch":
        """Return some of the rows; an input that is its own target is gathered once."""
        if isinstance(rows, slice) or rows.dtype is torch.bool:
            return self._mapped(lambda tensor: tensor[rows])
        return self._mapped(lambda tensor: tensor.index_select(0, rows))  # half the time of [rows]

    def gathered(self, rows: Tensor, place: "Batch | None") -> "Batch":
        """Return some of the rows, in the memory of a batch that is not needed any more."""
        if place is None:
            return self[rows]
        places = place[: len(rows)].tensors
        own = self.tensors.items()
        return Batch.of({n: torch.index_select(t, 0, rows, out=places[n]) for n, t in own})

    def in_order(self, order: Int64[Tensor, " some"], size: int) -> "Generator[Batch, None, None]":
        """Yield some of the rows, in an order, in batches of a size; the last may be smaller.

        Each holds until the next one is asked for: rows are gathered where earlier ones lay, since
        new memory takes longer to fetch than rows to copy.
        """
        if not len(order):
            return
        row_size = sum(math.prod(tensor.shape[1:]) for tensor in (self.x, self.target))
        ahead = max(1, _GATHERED_VALUES // (row_size * size))
        place = None
        for rows in order.split(ahead * size):
            place = self.gathered(rows, place)
            yield from place.split(size)

    def split(self, n: int) -> "Iterator[Batch]":
        """Yield the rows n at a time, in order; the last may be fewer."""
        parts = {name: tensor.split(n) for name, tensor in self.tensors.items()}
        for own in zip(*parts.values(), strict=True):
            yield Batch.of(dict(zip(parts, own, strict=True)))

    @classmethod
    def of(cls, tensors: dict[str, Tensor]) -> "Batch":
        """Return the rows of tensors by name; the input is its own target, if there is no other."""
        weight, observed = tensors.get("weight"), tensors.get("observed")
        target = tensors.get("target", tensors["x"])
        return cls(tensors["x"], target, weight, observed, tensors.get("condition"))

    def to(self, device: torch.device) -> "Batch":
        """Return the rows on a device."""
        return self._mapped(lambda tensor: tensor.to(device))

    def applied(self, function: Callable[["Batch"], "Batch"]) -> "Batch":
        """Return what a function makes of the rows."""
        return function(self)

    def batches(self, batch_size: int) -> "Batches":
        """Return the rows in batches of a given size."""
        return Batches(self, batch_size)

    def head(self, n_rows: int) -> "Batch":
        """Return the first rows."""
        return self[:n_rows]

    def sample(self) -> "Batch":
        """Return the rows, of which there are not too many for a look at all."""
        return self

    def spread(self, n_rows: int) -> "Batch":
        """Return at most so many rows, at equal distances."""
        return self[:: max(1, -(-len(self) // n_rows))]

    def repeated(self, n: int) -> "Batch":
        """Return all rows n times, one pass after another."""
        return self._mapped(lambda tensor: tensor.repeat(n, *[1] * (tensor.ndim - 1)))

    def _mapped(self, function: Callable[[Tensor], Tensor]) -> "Batch":
        x = function(self.x)
        target = x if self.target is self.x else function(self.target)
        more = (self.weight, self.observed, self.condition)
        weight, observed, known = (None if part is None else function(part) for part in more)
        return Batch(x, target, weight, observed, known, self.share, self.whole)

    def portion_of(self, mean: Tensor) -> Tensor:
        """Return what a mean over these rows adds to the mean over all."""
        return mean if self.share is None else mean * self.share.portion

    def divided(self, number: int, n_processes: int) -> "Batch":
        """Return the share of one process; rows that only stand in weigh nothing."""
        share, rows = share_of(len(self), number, n_processes, self.x.device)
        own = self[rows]
        weight = own.weight if share.counted else torch.zeros_like(own.x[:, 0])
        return replace(own, weight=weight, share=share, whole=self)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Those that there are by name; an input that is its own target stands there once."""
        given = {name: part for name, part in vars(self).items() if isinstance(part, Tensor)}
        if self.target is self.x:
            del given["target"]
        return given

    @property
    def inputs(self) -> dict[str, Tensor]:
        """Those that are read where this is one process's share: of it, and of all rows."""
        whole = {} if self.whole is None else self.whole.tensors
        return self.tensors | {f"whole.{name}": tensor for name, tensor in whole.items()}

    @property
    def total_weight(self) -> float:
        """Sum of the weights."""
        return float(len(self)) if self.weight is None else float(self.weight.sum())


@dataclass(frozen=True)
class Batches:
    """All rows of a data set, to be read in batches of a given size.

    Remainders are kept: 10 rows in batches of 4 are 4, 4 and 2.
    """

    rows: Batch
    batch_size: int

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        return self.rows.split(self.batch_size)

    def shuffled(self, generator: torch.Generator, done: int = 0) -> Generator[Batch, None, None]:
        """Return batches of a new random order, after the first `done`.

        Each holds until the next one is asked for.
        """
        order = torch.randperm(len(self.rows), generator=generator).to(self.rows.x.device)
        return self.rows.in_order(order[done * self.batch_size :], self.batch_size)

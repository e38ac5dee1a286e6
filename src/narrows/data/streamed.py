"""Rows that are read from where they lie while a model is trained on them."""

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, fields, replace
from itertools import accumulate
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from narrows.data.batches import Batch
from narrows.data.protocol import Source, starts_of
from narrows.data.split import split_rows

# Bytes of scaled rows: read at once, shuffled together, and taken as a sample of all
_BLOCK, _POOL, _SAMPLE = 2**22, 2**26, 2**24
_FEWEST = 64  # blocks, where there are as many rows

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class Blocks:
    """Stretches of consecutive rows that are read at once.

    Attributes
    ----------
    start, stop : array of int64, shape (block,)
        First row, and the one after the last.
    size : array of int64, shape (block,)
        How many of the rows count: those with a weight.
    unit : array of int64, shape (block,)
        Blocks of one unit are decoded together, so they are read one after another.
    """

    start: Int64[np.ndarray, " block"]
    stop: Int64[np.ndarray, " block"]
    size: Int64[np.ndarray, " block"]
    unit: Int64[np.ndarray, " block"]

    def __len__(self) -> int:
        return int(self.size.sum())

    def __getitem__(self, which: Shaped[np.ndarray, " some"]) -> "Blocks":
        return Blocks(*(getattr(self, each.name)[which] for each in fields(self)))

    def ranges(self) -> Iterator[tuple[int, int]]:
        """Yield the first row of each block, and the one after its last."""
        return zip(self.start.tolist(), self.stop.tolist(), strict=True)

    def rows(self) -> Int64[np.ndarray, " row"]:
        """Return the numbers of all rows, ascending where blocks are."""
        return np.concatenate([np.arange(*own) for own in self.ranges()], dtype=np.int64)

    def split(self, fraction: float, how: str, rng: np.random.Generator) -> "tuple[Blocks, Blocks]":
        """Return the blocks to train on and those held out, drawn as `split_rows` draws rows."""
        train, held = split_rows(len(self.start), fraction, how, rng=rng)
        return self[train], self[held]


def blocks_of(
    source: Source, row_bytes: int, weight: Float[np.ndarray, " row"] | None = None
) -> Blocks:
    """Cut the rows of a source into blocks of a few MiB, where its format begins to decode.

    Parameters
    ----------
    source : Source
    row_bytes : int
        Size of a row when it is scaled.
    weight : array of shape (row,), optional
        Rows without a weight do not count; blocks of such rows alone are left out.

    Examples
    --------
    >>> from narrows.data.source import source
    >>> blocks_of(source(np.zeros((100, 3))), row_bytes=12).size[:3]
    array([2, 2, 2])
    """
    n_rows, starts = len(source), starts_of(source)
    length = max(1, min(_BLOCK // row_bytes, -(-n_rows // _FEWEST)))
    whole = np.arange(0, n_rows, length)
    if starts is not None:
        decoded = np.asarray(starts, np.int64)
        whole = decoded[np.unique(decoded // length, return_index=True)[1]]
    sizes = np.diff(whole, append=n_rows)
    n_parts = -(-sizes // length)
    unit = np.repeat(np.arange(len(whole)), n_parts)
    part = np.arange(len(unit)) - np.repeat(np.cumsum(n_parts) - n_parts, n_parts)
    start = whole[unit] + sizes[unit] * part // n_parts[unit]
    size = np.diff(start, append=n_rows)
    stop = start + size
    if weight is not None:
        size = np.add.reduceat(weight > 0, start, dtype=np.int64)
    return Blocks(start, stop, size, unit)[size > 0]


@dataclass(frozen=True)
class Streamed:
    """Rows as the model sees them, read from where they lie whenever they are needed.

    Takes the place of a `Batch` of all rows, of which it holds a few blocks at a time.

    Attributes
    ----------
    load : callable
        Maps the first row, and the one after the last, to those between that count, as they lie.
    make : callable
        Maps what was loaded, and memory for their inputs (or None), to a `Batch`.
    blocks : Blocks
    row_bytes : int
        Size of a row when it is scaled.
    device : torch.device
        Where batches are put.
    """

    load: Callable[[int, int], Any]
    make: Callable[[Any, Tensor | None], Batch]
    blocks: Blocks
    row_bytes: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def __len__(self) -> int:
        return len(self.blocks)

    @property
    def pool_rows(self) -> int:
        """How many rows are shuffled together."""
        return max(1, _POOL // self.row_bytes)

    def to(self, device: torch.device) -> "Streamed":
        """Return the same rows, for batches on a device."""
        return replace(self, device=device)

    def applied(self, function: Callable[[Batch], Batch]) -> "Streamed":
        """Return what a function makes of the rows, anew whenever they are read."""
        return replace(self, make=lambda loaded, _: function(self.make(loaded, None)))

    def batches(self, batch_size: int) -> "StreamedBatches":
        """Return the rows in batches of a given size."""
        return StreamedBatches(self, batch_size)

    def head(self, n_rows: int) -> Batch:
        """Return the first rows."""
        n_blocks = int(np.searchsorted(np.cumsum(self.blocks.size), n_rows)) + 1
        return self._of(self.blocks[np.arange(len(self.blocks.size))[:n_blocks]])[:n_rows]

    def sample(self) -> Batch:
        """Return blocks from all over, of 16 MiB together; all rows where these are fewer."""
        n_blocks = len(self.blocks.size)
        n_rows = max(1, _SAMPLE // self.row_bytes)
        n_taken = n_blocks if len(self) <= n_rows else max(1, n_rows * n_blocks // len(self))
        taken = np.linspace(0, n_blocks - 1, n_taken).round().astype(np.int64)
        return self._of(self.blocks[taken])

    def pools(
        self, order: Int64[np.ndarray, " block"], seed: int | None = None, skip: int = 0
    ) -> "Generator[Pool, None, None]":
        """Yield the rows of blocks in an order, as many at a time as are shuffled together.

        A thread loads the blocks of the next pool while the present one is trained on; each pool
        takes the memory of the one before.

        Parameters
        ----------
        order : array of int64, shape (block,)
        seed : int, optional
            Of the order of the rows in each pool; none is shuffled without.
        skip : int, default=0
            Rows at the beginning to leave out; pools of such rows alone are not read.
        """
        sizes = self.blocks.size[order]
        first = (np.cumsum(sizes) - sizes) // self.pool_rows
        borders = np.unique(first, return_index=True)[1]
        pools = [self.blocks[which] for which in np.split(order, borders[1:])]
        ends = np.cumsum([len(pool) for pool in pools])
        done = int(np.searchsorted(ends, skip, "right"))
        pools, skip = pools[done:], skip - int(ends[done - 1] if done else 0)
        room = Room(max(map(len, pools), default=0))
        loaded = ((pool, [*self._loaded(pool)]) for pool in pools)
        made = ahead(loaded, lambda own: self._made(*own, room).to(self.device))
        with closing(made):
            for number, rows in enumerate(made, done + 1):
                if seed is None:
                    yield Pool(rows[skip:])
                else:
                    places = np.random.default_rng([seed, number]).permutation(len(rows))
                    yield Pool(rows, torch.from_numpy(places[skip:]).to(self.device))
                skip = 0

    def _loaded(self, blocks: Blocks) -> Iterator[Any]:
        return (self.load(*own) for own in blocks.ranges())

    def _of(self, blocks: Blocks) -> Batch:
        return self._made(blocks, self._loaded(blocks))

    def _made(self, blocks: Blocks, loaded: Iterable[Any], room: "Room | None" = None) -> Batch:
        """Return the rows of blocks that are loaded, in their order."""
        firsts = accumulate(blocks.size.tolist(), initial=0)
        parts = (
            self.make(own, None if room is None else room.place(first, int(size)))
            for own, first, size in zip(loaded, firsts, blocks.size, strict=False)
        )
        return joined(parts, len(blocks), room)


@dataclass(frozen=True)
class Pool:
    """Rows that are shuffled together.

    Attributes
    ----------
    rows : Batch
    order : Tensor of int, shape (row,), or None
        Which are taken one after another; all of them, as they lie, if None.
    """

    rows: Batch
    order: Int64[Tensor, " taken"] | None = None

    def __len__(self) -> int:
        return len(self.rows if self.order is None else self.order)

    def between(self, start: int, stop: int) -> Batch:
        """Return copies of the rows from start to stop."""
        if self.order is None:
            return concatenated([self.rows[start:stop]])
        return self.rows[self.order[start:stop]]

    def split(self, start: int, stop: int, size: int) -> Iterator[Batch]:
        """Yield the rows from start to stop in batches; each holds until the next is asked for."""
        if self.order is None:
            return self.rows[start:stop].split(size)
        return self.rows.in_order(self.order[start:stop], size)


@dataclass(frozen=True)
class StreamedBatches:
    """Rows that are read when they are needed, in batches of a given size.

    A shuffled epoch takes blocks in a random order, gathers some of them to a pool of 64 MiB, and
    shuffles the rows of a pool. Batches run on from pool to pool, so that the last of the epoch
    alone is short.
    """

    rows: Streamed
    batch_size: int

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    def __iter__(self) -> Generator[Batch, None, None]:
        return cut(self.rows.pools(np.arange(len(self.rows.blocks.size))), self.batch_size)

    def shuffled(self, generator: torch.Generator, done: int = 0) -> Generator[Batch, None, None]:
        """Yield batches of a new random order, after the first `done`.

        Each holds until the next one is asked for.
        """
        seed = int(torch.randint(2**62, (1,), generator=generator))
        unit = self.rows.blocks.unit
        rank = np.random.default_rng([seed, 0]).permutation(int(unit.max()) + 1)
        order = np.argsort(rank[unit], kind="stable")
        return cut(self.rows.pools(order, seed, skip=done * self.batch_size), self.batch_size)


def ahead(items: Iterator[T], function: Callable[[T], U]) -> Generator[U, None, None]:
    """Yield what a function makes of items; a thread gets the next one while one is used.

    It waits while the function computes, whose threads would wait for the core that it takes. Items
    hold until the next one is there, which so does not take its memory from the system. What fails
    in the thread is raised here; it ends with the iterator.
    """
    with ThreadPoolExecutor(1, "narrows-reading") as reader:
        waiting = reader.submit(next, items, None)
        while (item := waiting.result()) is not None:
            made = function(item)
            waiting = reader.submit(next, items, None)
            yield made


def cut(pools: Generator[Pool, None, None], size: int) -> Generator[Batch, None, None]:
    """Yield the rows of pools in batches of a size, which run on from pool to pool."""
    rest: Batch | None = None
    with closing(pools):
        for pool in pools:
            first = 0
            if rest is not None:
                first = min(size - len(rest), len(pool))
                rest = concatenated([rest, pool.between(0, first)])
                if len(rest) < size:
                    continue
                yield rest
            last = len(pool) - (len(pool) - first) % size
            if first < last:
                yield from pool.split(first, last, size)
            rest = pool.between(last, len(pool)) if last < len(pool) else None
        if rest is not None:
            yield rest


def concatenated(parts: list[Batch]) -> Batch:
    """Return copies of rows, one batch after the other."""
    return joined(parts, sum(map(len, parts)))


@dataclass
class Room:
    """Memory for inputs, of so many rows at most, that is used again and again."""

    n_rows: int
    memory: Tensor | None = None

    def place(self, first: int, n: int) -> Tensor | None:
        """Return the place of n rows, from the first on, once it is known what they are like."""
        return None if self.memory is None else self.memory[first : first + n]

    def of(self, like: Tensor, n: int) -> Tensor:
        """Return room for n rows like others."""
        if self.memory is None:
            self.memory = like.new_empty(self.n_rows, *like.shape[1:])
        return self.memory[:n]


def joined(parts: Iterable[Batch], n_rows: int, room: Room | None = None) -> Batch:
    """Return the rows of batches in one, so many together.

    A part in which all was observed, or in which the input is its own target, may stand beside
    others. Inputs are written into the room, if there is one, unless they are there already.
    """
    columns: dict[str, Tensor] = {}
    first = 0
    for part in parts:
        own, last = part.tensors, first + len(part)
        if "target" in columns:
            own["target"] = part.target
        elif "target" in own and first:
            columns["target"] = columns["x"].clone()
        if room is not None:
            columns.setdefault("x", room.of(part.x, n_rows))
        for name, values in own.items():
            if name not in columns:
                columns[name] = values.new_ones(n_rows, *values.shape[1:])
            place = columns[name][first:last]
            if place.data_ptr() != values.data_ptr():
                place.copy_(values)
        first = last
    return Batch.of(columns)


TrainingRows = Batch | Streamed

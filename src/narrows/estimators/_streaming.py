"""Whether rows are read into memory for a fit or streamed, and which of them train."""

import math
from typing import Any, NamedTuple

import numpy as np
import torch

from narrows import _ranks
from narrows._types import Array
from narrows.data.arrays import ArraySource
from narrows.data.memory import capacity
from narrows.data.protocol import Source, in_memory
from narrows.data.streamed import Blocks, blocks_of
from narrows.engine.training import Training
from narrows.estimators import _rows

_SHARE = 0.25  # of the memory that there is, which scaled rows may take


def row_bytes(given: _rows.Given, dtype: torch.dtype) -> int:
    """Return the size of a scaled row with its target."""
    n_values = math.prod(given.rows.shape)
    if given.targets is not given.rows:
        n_values += math.prod(given.targets.shape)
    return n_values * dtype.itemsize


def streams(given: _rows.Given, training: Training, dtype: torch.dtype) -> bool:
    """Return whether rows are read from where they lie while a model is trained on them."""
    if training.stream != "auto":
        return bool(training.stream)
    if in_memory(given.rows) and in_memory(given.targets):
        return False
    n_bytes = len(given.rows) * row_bytes(given, dtype) * _ranks.n_local()
    return _ranks.from_first(lambda: n_bytes > _SHARE * capacity())


class Loaded(NamedTuple):
    """Rows that were read, as they lie, and their weights."""

    given: _rows.Given
    weight: Array | None


def loaded(given: _rows.Given, weight: Array | None, start: int, stop: int) -> Loaded:
    """Read the rows from start to stop that have a weight, into memory of their own.

    A view would come from the disk only when it is used, or hold all that was decoded with it.
    """
    own = None if weight is None else weight[start:stop]

    def read(rows: Source) -> Source:
        block = rows.read(start, stop)
        if own is not None:
            block = block[own > 0]
        elif block.base is not None and not in_memory(rows):
            block = block.copy()
        return ArraySource(block, rows.names)

    inputs = read(given.rows)
    targets = inputs if given.targets is given.rows else read(given.targets)
    known = None if given.condition is None else given.condition[start:stop]
    if own is None:
        return Loaded(_rows.Given(inputs, targets, known), None)
    known = None if known is None else known[own > 0]
    return Loaded(_rows.Given(inputs, targets, known), own[own > 0])


def part_of(
    given: _rows.Given, weight: Array | None, training: Training, dtype: torch.dtype
) -> Array | Blocks:
    """Return all rows with a weight: as blocks where they are streamed, else their numbers."""
    if streams(given, training, dtype):
        return blocks_of(given.rows, row_bytes(given, dtype), weight)
    return np.arange(len(given.rows)) if weight is None else np.flatnonzero(weight)


def divided(
    given: _rows.Given,
    weight: Array | None,
    groups: Any,
    training: Training,
    dtype: torch.dtype,
    seed: np.random.SeedSequence,
    all_train: bool,
) -> tuple[Array | Blocks, Array | Blocks]:
    """Return which rows train and which validate, of those with a weight.

    Of rows that are streamed, whole blocks validate.

    Parameters
    ----------
    all_train : bool
        Whether validation rows are given from elsewhere.

    Raises
    ------
    ValueError
        If groups are to be kept together, of rows that are streamed.
    """
    if not streams(given, training, dtype):
        return _rows.divided(given.rows, weight, groups, training, seed, all_train)
    _rows.check_groups(groups, len(given.rows), training)
    fraction = 0 if all_train else training.validation_fraction
    if training.split == "groups" and fraction:
        raise ValueError(
            "Rows that are streamed are held out in blocks, which split groups. Pass "
            "validation=, rows of other groups, or write Training(stream=False)."
        )
    blocks = blocks_of(given.rows, row_bytes(given, dtype), weight)
    how = training.split if fraction else "random"
    return blocks.split(fraction, how, np.random.default_rng(seed))


def weight_of(weight: Array, part: Array | Blocks) -> float:
    """Return the sum of the weights of some rows."""
    if isinstance(part, Blocks):
        return float(sum(weight[start:stop].sum() for start, stop in part.ranges()))
    return float(weight[part].sum())

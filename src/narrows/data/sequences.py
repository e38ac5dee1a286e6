"""Sequences of different lengths as rows: padded with NaN at the end."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Shaped

from narrows.data.protocol import BaseSource, Source, in_memory, starts_of
from narrows.data.source import is_segment, source


class Sequences(BaseSource):
    """Sequences as rows, each padded with NaN to the longest.

    Parameters
    ----------
    sequences : sequence of arrays, frames, tensors, Sources or paths
        Of shape (steps, features), or (steps,) for one feature.

    Attributes
    ----------
    lengths : tuple of int
        Steps of each.

    Raises
    ------
    ValueError
        A sequence without steps or of more than two axes, or features that differ.

    Examples
    --------
    >>> Sequences([np.ones(3), np.zeros(1)]).read(0, 2)
    array([[ 1.,  1.,  1.],
           [ 0., nan, nan]])
    """

    def __init__(self, sequences: Sequence[Any]) -> None:
        self._sequences = [source(each) for each in sequences]
        self.lengths = tuple(map(len, self._sequences))
        step = self._sequences[0].shape
        for k, each in enumerate(self._sequences):
            _check(k, each, step)
        dtype = np.result_type(*(each.dtype for each in self._sequences))
        shape = (max(self.lengths), *step)
        number = dtype if dtype.kind == "f" else np.dtype(np.float64)
        super().__init__(len(self._sequences), shape, number)
        self.in_memory = all(in_memory(each) for each in self._sequences)

    def _read(self, start: int, stop: int) -> Shaped[np.ndarray, "row ..."]:
        rows = np.full((stop - start, *self.shape), np.nan, self.dtype)
        for row, each in zip(rows, self._sequences[start:stop], strict=True):
            row[: len(each)] = each.read(0, len(each))
        return rows


def _check(k: int, sequence: Source, step: tuple[int, ...]) -> None:
    if len(sequence) == 0:
        raise no_steps(k)
    if len(sequence.shape) > 1:
        raise ValueError(
            f"Sequence {k} has shape {(len(sequence), *sequence.shape)}. "
            "Pass arrays of shape (steps, features), or (steps,) for one feature."
        )
    if sequence.shape != step:
        raise ValueError(
            f"Sequence {k} has steps of shape {sequence.shape}, sequence 0 of {step}. "
            "Pass sequences with the same features in the same order."
        )


def no_steps(k: int) -> ValueError:
    """Build the error for a sequence of length 0."""
    return ValueError(f"Sequence {k} has no steps. Drop it.")


class Resized(BaseSource):
    """Rows of sequences with another number of steps: more padding, or less.

    Parameters
    ----------
    source : Source
        Rows of shape (steps,) or (steps, features).
    n_steps : int

    Raises
    ------
    ValueError
        On reading a row with more steps than that.
    """

    def __init__(self, source: Source, n_steps: int) -> None:
        self._source = source
        number = source.dtype if source.dtype.kind == "f" else np.dtype(np.float64)
        super().__init__(len(source), (n_steps, *source.shape[1:]), number, None, source.segments)
        self.in_memory, self.starts = in_memory(source), starts_of(source)

    def _read(self, start: int, stop: int) -> Shaped[np.ndarray, "row ..."]:
        n_steps, rows = self.shape[0], self._source.read(start, stop)
        beyond = ~np.isnan(rows[:, n_steps:].astype(self.dtype)).reshape(len(rows), -1)
        if beyond.any():
            raise ValueError(
                f"Sequence {start + np.flatnonzero(beyond.any(1))[0]} has more than {n_steps} "
                f"steps, the most that the model was fitted on. Write [x[:{n_steps}] for x in X], "
                "or fit on longer sequences; transform takes any length."
            )
        out = np.full((len(rows), *self.shape), np.nan, self.dtype)
        out[:, : rows.shape[1]] = rows[:, :n_steps]
        return out


def listed(obj: Any) -> bool:
    """Return whether an object is a list of sequences: of arrays, not of numbers or lists."""
    if isinstance(obj, np.ndarray) and obj.dtype.kind == "O" and obj.ndim == 1:
        obj = list(obj)
    return isinstance(obj, list | tuple) and bool(obj) and all(map(is_segment, obj))


def like(obj: Any, values: Shaped[np.ndarray, "row ..."]) -> np.ndarray | list[np.ndarray]:
    """Return rows of sequences as an object has its own: a list of arrays, if it is one."""
    if not listed(obj):
        return values
    return [row[:n] for row, n in zip(values, Sequences(obj).lengths, strict=True)]


def padding(missing: Bool[np.ndarray, "row value"], n_steps: int) -> Bool[np.ndarray, "row value"]:
    """Return which values are padding: those of the last steps, if these miss all values.

    Examples
    --------
    >>> padding(np.array([[True, False, True, True]]), n_steps=4)
    array([[False, False,  True,  True]])
    """
    empty = missing.reshape(len(missing), n_steps, -1).all(2)
    ended = np.logical_and.accumulate(np.flip(empty, 1), axis=1)[:, ::-1]
    return np.repeat(ended, missing.shape[1] // n_steps, axis=1)

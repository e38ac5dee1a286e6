"""Views of a source that are sources themselves: rows, segments, lags and windows."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Int64, Integer, Shaped

from narrows.data.protocol import BaseSource, Source, in_memory, starts_of

_GAP = 16  # rows read in vain rather than starting another read
_CHUNK = 4096  # indices gathered at a time, so that temporaries stay small


class Rows(BaseSource):
    """Some rows of a source, in the given order: one side of a split, or a bootstrap.

    Neighbours in the view that are not neighbours in time get a segment border between them,
    so windows and lags of the view stay honest.

    Parameters
    ----------
    source : Source
        Where the rows are read.
    indices : ndarray of int, shape (rows,)
        Row numbers, in any order, repeats allowed.

    Raises
    ------
    TypeError
        The indices are not integers (a mask, say).
    IndexError
        An index lies outside the source.

    Examples
    --------
    >>> from narrows.data.source import source
    >>> view = Rows(source(np.arange(10)), np.array([2, 3, 7]))
    >>> view.read(1, 3), view.segments
    (array([3, 7]), array([0, 2, 3]))
    """

    def __init__(self, source: Source, indices: Shaped[np.ndarray, " row"]) -> None:
        _check_indices(indices, len(source))
        self._source = source
        self._indices = indices.astype(np.int64, copy=False)
        segments = _runs(self._indices, source.segments)
        super().__init__(len(indices), source.shape, source.dtype, source.names, segments)
        self.in_memory = in_memory(source)

    def _read(self, start: int, stop: int) -> Shaped[np.ndarray, "row ..."]:
        return _gather(self._source, self._indices[start:stop])


class Concatenated(BaseSource):
    """Several sources one after another, each with its own segments (trajectories, say).

    Parameters
    ----------
    sources : sequence of Source
        At least one; equal event shapes and equal names where they have any.

    Raises
    ------
    ValueError
        No sources, or shapes or names that differ.

    Examples
    --------
    >>> from narrows.data.source import source
    >>> both = Concatenated([source(np.arange(3)), source(np.arange(4))])
    >>> both.read(1, 5), both.segments
    (array([1, 2, 0, 1]), array([0, 3, 7]))
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        _check_alike(sources)
        self._sources = tuple(sources)
        self._offsets = np.cumsum([0, *map(len, sources)], dtype=np.int64)
        shifted = [s.segments[1:] + first for s, first in zip(sources, self._offsets, strict=False)]
        super().__init__(
            int(self._offsets[-1]),
            sources[0].shape,
            np.result_type(*(source.dtype for source in sources)),
            next((source.names for source in sources if source.names), None),
            np.concatenate([np.zeros(1, np.int64), *shifted]),
        )
        self.in_memory = all(map(in_memory, sources))
        if any(starts_of(source) is not None for source in sources):
            self.starts = self._all_starts()

    def _read(self, start: int, stop: int) -> Shaped[np.ndarray, "row ..."]:
        first = int(np.searchsorted(self._offsets, start, side="right")) - 1
        last = int(np.searchsorted(self._offsets, stop, side="left"))
        parts = [self._part(k, start, stop) for k in range(first, last)]
        rows = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return rows.astype(self.dtype, copy=False)

    def _all_starts(self) -> list[int]:
        """Return where the sources begin, and what they decode as a whole."""
        each = (starts_of(source) or (0,) for source in self._sources)
        offsets = self._offsets.tolist()
        return [first + start for first, own in zip(offsets, each, strict=False) for start in own]

    def _part(self, k: int, start: int, stop: int) -> Shaped[np.ndarray, "row ..."]:
        source, offset = self._sources[k], int(self._offsets[k])
        return source.read(max(start - offset, 0), min(stop - offset, len(source)))


class Windows(BaseSource):
    """Stretches of consecutive rows as events; made by `windows`."""

    def __init__(self, source: Source, starts: Sequence[np.ndarray], length: int) -> None:
        self._source = source
        self._starts = np.concatenate(starts)
        self._steps = np.arange(length)
        borders = np.cumsum([0, *(len(part) for part in starts)], dtype=np.int64)
        shape = (length, *source.shape)
        super().__init__(len(self._starts), shape, source.dtype, segments=borders)
        self.in_memory = in_memory(source)

    def _read(self, start: int, stop: int) -> Shaped[np.ndarray, "row ..."]:
        indices = self._starts[start:stop, None] + self._steps
        return _gather(self._source, indices.ravel()).reshape(stop - start, *self.shape)


def lagged(source: Any, lag: int) -> tuple[Source, Source]:
    """Return the rows x_t and the rows x_{t + lag}, pairwise and within segments.

    Use it for time-lagged autoencoders, with the first as data and the second as target.
    Rows closer than `lag` to the end of their segment have no partner and are left out.

    Parameters
    ----------
    source : array, frame, path or Source, or a list of these
        A time series, or several as segments.
    lag : int
        Steps between the two, 0 or more, in units of the time between rows.

    Returns
    -------
    now, later : Source
        Of equal length; row k of `later` is `lag` steps after row k of `now`.

    Raises
    ------
    ValueError
        A negative lag, or one that no segment is long enough for.

    References
    ----------
    Wehmeyer and Noé, J. Chem. Phys. 148, 241703 (2018), doi:10.1063/1.5011399.

    Examples
    --------
    >>> from narrows.data.source import source
    >>> now, later = lagged(source([np.arange(3), np.arange(10, 13)]), lag=1)
    >>> now.read(0, 4), later.read(0, 4)
    (array([ 0,  1, 10, 11]), array([ 1,  2, 11, 12]))
    """
    if lag < 0:
        raise ValueError(f"lag={lag} is negative. Write lag=1 or more.")
    rows = _rows_of(source)
    starts = np.concatenate(_starts(rows, lag + 1, 1, f"lag={lag}", lag))
    return Rows(rows, starts), Rows(rows, starts + lag)


def windows(source: Any, length: int, stride: int = 1) -> Source:
    """Return every stretch of `length` rows as one event of shape (length, *shape).

    Use it to feed a series to convolutional, recurrent or delay-embedding models. No window
    crosses a segment border; a segment shorter than `length` gives none.

    Parameters
    ----------
    source : array, frame, path or Source, or a list of these
        A time series, or several as segments.
    length : int
        Rows in a window, 1 or more.
    stride : int, default 1
        Rows between the starts of neighbouring windows, 1 or more.

    Returns
    -------
    Source
        Its segments are those of `source`, counted in windows.

    Raises
    ------
    ValueError
        `length` or `stride` below 1, or no segment is long enough.

    Examples
    --------
    >>> from narrows.data.source import source
    >>> windows(source(np.arange(6)), length=3, stride=2).read(0, 2)
    array([[0, 1, 2],
           [2, 3, 4]])
    """
    for name, value in {"length": length, "stride": stride}.items():
        if value < 1:
            raise ValueError(f"{name}={value} is below 1. Write {name}=1 or more.")
    rows = _rows_of(source)
    return Windows(rows, _starts(rows, length, stride, f"length={length}", length), length)


def _rows_of(obj: Any) -> Source:
    from narrows.data import source

    return source.source(obj)


def _starts(source: Source, length: int, stride: int, asked: str, n: int) -> list[np.ndarray]:
    pairs = list(pairwise(source.segments.tolist()))
    starts = [np.arange(a, b - length + 1, stride) for a, b in pairs if b - a >= length]
    if not starts:
        longest = max((b - a for a, b in pairs), default=0)
        raise ValueError(
            f"{asked} is too long: the longest segment has {longest} rows. "
            f"Write at most {longest - (length - n)}."
        )
    return starts


def _runs(
    indices: Int64[np.ndarray, " row"], segments: Int64[np.ndarray, " border"]
) -> Int64[np.ndarray, " border_of_view"]:
    """Return where a view has to break: at jumps in time and at the source's borders."""
    segment = np.searchsorted(segments, indices, side="right")
    breaks = np.flatnonzero((np.diff(indices) != 1) | (np.diff(segment) != 0)) + 1
    return np.concatenate([[0], breaks, [len(indices)]], dtype=np.int64)


def _gather(source: Source, indices: Integer[np.ndarray, " row"]) -> Shaped[np.ndarray, "row ..."]:
    """Read rows in any order with few reads: neighbours and near neighbours share one."""
    if np.all(np.diff(indices) == 1):
        return source.read(int(indices[0]), int(indices[-1]) + 1)
    order = np.argsort(indices, kind="stable")
    wanted = indices[order]
    jumps = np.flatnonzero(np.diff(wanted) > _GAP) + 1
    breaks = np.union1d(jumps, np.arange(_CHUNK, len(wanted), _CHUNK))
    rows = np.empty((len(indices), *source.shape), source.dtype)
    for place in np.split(order, breaks):
        first, last = int(indices[place[0]]), int(indices[place[-1]])
        rows[place] = source.read(first, last + 1)[indices[place] - first]
    return rows


def _check_indices(indices: Shaped[np.ndarray, " row"], n_rows: int) -> None:
    if indices.dtype.kind not in "iu":
        raise TypeError(
            f"indices has dtype {indices.dtype}. Pass row numbers; "
            "for a mask write np.flatnonzero(mask)."
        )
    outside = indices[(indices < 0) | (indices >= n_rows)]
    if len(outside):
        raise IndexError(
            f"Row {outside[0]} lies outside a source of {n_rows} rows. Write 0 to {n_rows - 1}."
        )


def _check_alike(sources: Sequence[Source]) -> None:
    if not sources:
        raise ValueError("The data is an empty list. Pass at least one array.")
    names = next((source.names for source in sources if source.names), None)
    for k, source in enumerate(sources):
        if source.shape != sources[0].shape:
            raise ValueError(
                f"Segment {k} has events of shape {source.shape}, segment 0 of "
                f"{sources[0].shape}. Pass segments of one event shape."
            )
        if source.names not in (None, names):
            raise ValueError(
                f"Segment {k} has the features {source.names}, an earlier one {names}. "
                "Pass segments with the same columns in the same order."
            )

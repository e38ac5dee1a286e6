"""What a source of rows is, and what all of ours share."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64, Shaped

from narrows._errors import nearest


@runtime_checkable
class Source(Protocol):
    """Rows that are read by range: anything with these members can be fitted.

    Use it for data that does not fit in memory or lies in a format of your own; an array,
    frame or file is turned into one by `narrows.data.source.source`.

    Attributes
    ----------
    shape : tuple of int
        Shape of one event, without the rows.
    dtype : numpy.dtype
        Type of what `read` returns.
    names : tuple of str, or None
        Names of the features, where the data has any.
    segments : ndarray of int64, shape (n_segments + 1,)
        Row offsets; the rows from one to the next are consecutive in time.

    Examples
    --------
    >>> class Ramp:
    ...     shape, dtype, names = (2,), np.dtype("float64"), None
    ...     segments = np.array([0, 5])
    ...
    ...     def __len__(self):
    ...         return 5
    ...
    ...     def read(self, start, stop):
    ...         return np.repeat(np.arange(start, stop, dtype=float)[:, None], 2, axis=1)
    >>> isinstance(Ramp(), Source)
    True
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one event."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""

    @property
    def names(self) -> tuple[str, ...] | None:
        """Names of the features."""

    @property
    def segments(self) -> Int64[np.ndarray, " border"]:
        """Row offsets between which time runs on."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def read(self, start: int, stop: int) -> Shaped[np.ndarray, "row ..."]:
        """Return rows start to stop - 1, which stay as they are, whatever is read later.

        It may be a view, so do not write into it.
        """


class BaseSource(ABC):
    """What our own sources share: the description, and the check of a row range.

    Attributes
    ----------
    in_memory : bool
        Whether all rows are there already, so that reading them takes no more.
    starts : sequence of int, or None
        First rows of what the format decodes as a whole; None where any row is read by itself.
    """

    in_memory: bool = False
    starts: Sequence[int] | None = None

    def __init__(
        self,
        n_rows: int,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        names: tuple[str, ...] | None = None,
        segments: Int64[np.ndarray, " border"] | None = None,
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self.names = names
        self.segments = np.array([0, n_rows], np.int64) if segments is None else segments
        self._n_rows = n_rows

    def __len__(self) -> int:
        return self._n_rows

    def __repr__(self) -> str:
        n_segments = len(self.segments) - 1
        return (
            f"{type(self).__name__}(rows={len(self)}, shape={self.shape}, "
            f"dtype={self.dtype}, segments={n_segments})"
        )

    def read(self, start: int, stop: int) -> Shaped[np.ndarray, "row ..."]:
        """Return rows start to stop - 1; it may be a view, so do not write into it."""
        if not 0 <= start <= stop <= len(self):
            raise IndexError(
                f"Rows {start}:{stop} lie outside a source of {len(self)} rows. "
                f"Write 0 <= start <= stop <= {len(self)}."
            )
        if start == stop:
            return np.empty((0, *self.shape), self.dtype)
        return self._read(start, stop)

    @abstractmethod
    def _read(self, start: int, stop: int) -> Shaped[np.ndarray, "row ..."]:
        """Return a non-empty range that lies inside."""


def in_memory(source: Source) -> bool:
    """Return whether the rows of a source are there already; of a user's own it is not known."""
    return bool(getattr(source, "in_memory", False))


def starts_of(source: Source) -> Sequence[int] | None:
    """Return the first rows of what a source decodes as a whole, None where it does not."""
    found: Sequence[int] | None = getattr(source, "starts", None)
    return found


def not_numbers(where: str, columns: Sequence[str], instead: str = "") -> ValueError:
    """Build the error for columns of text or dates."""
    shown = ", ".join(repr(name) for name in columns[:10])
    more = f" and {len(columns) - 10} more" if len(columns) > 10 else ""
    return ValueError(
        f"{where} has columns of text or dates: {shown}{more}. "
        f"Encode them as numbers or drop them.{instead}"
    )


def refuse_text(place: object, columns: Sequence[str], use: Sequence[int], text: set[int]) -> None:
    """Raise if a column in use holds text; the message shows how to select the others."""
    bad = [columns[k] for k in use if k in text]
    if bad:
        good = [name for k, name in enumerate(columns) if k not in text][:3]
        select = f" Or select columns: '{place}:{','.join(good)}'." if good else ""
        raise not_numbers(f"The file '{place}'", bad, select)


def selected(place: object, columns: Sequence[str], key: str | None) -> list[int]:
    """Return the positions of the columns that a selector 'a,b' names; all without one."""
    if key is None:
        return list(range(len(columns)))
    wanted = [name.strip() for name in key.split(",")]
    for name in wanted:
        if name not in columns:
            hint = nearest(name, columns) or f" It has: {', '.join(columns[:10])}."
            raise ValueError(f"The file '{place}' has no column {name!r}.{hint}")
    return [columns.index(name) for name in wanted]

"""Sources that decode a block of rows at a time, and files that stay open between reads."""

from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Sequence
from threading import RLock
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Shaped

from narrows.data.places import Place, damaged, reading
from narrows.data.protocol import BaseSource

MOST_KEPT = 4  # blocks in memory, of all sources together
_BLOCK = 2**22  # bytes of a block where the format sets none
_CHUNK = 2**26  # bytes of the largest chunk that is kept as a whole

T = TypeVar("T")


class BlockSource(BaseSource):
    """Rows of a format that decodes many at once; the block read last is kept.

    A thousand files read one after another do not keep a thousand blocks: when a fifth source
    reads one, the source that has waited longest forgets its own.

    Parameters
    ----------
    place : Path or Remote
        What errors name.
    starts : sequence of int
        First row of each block, ascending from 0.
    n_rows, shape, dtype, names
        Like `BaseSource`.
    """

    starts: Sequence[int]

    def __init__(
        self,
        place: Place,
        starts: Sequence[int],
        n_rows: int,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        names: tuple[str, ...] | None = None,
    ) -> None:
        self._place = place
        self.starts = starts
        self._kept: tuple[int, np.ndarray] | None = None
        super().__init__(n_rows, shape, dtype, names)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_kept": None}

    def _read(self, start: int, stop: int) -> Shaped[np.ndarray, "row ..."]:
        k = bisect_right(self.starts, start) - 1
        offset, block = self.starts[k], self._block(k)
        if stop <= offset + len(block):
            return block[start - offset : stop - offset]
        rows = np.empty((stop - start, *self.shape), self.dtype)
        while start < stop:
            offset, block = self.starts[k], self._block(k)
            part = block[start - offset : stop - offset]
            rows[len(rows) - (stop - start) :][: len(part)] = part
            start, k = start + len(part), k + 1
        return rows

    def _block(self, k: int) -> Shaped[np.ndarray, "row ..."]:
        kept = self._kept
        if kept is None or kept[0] != k:
            kept = (k, self._loaded(k))
            self._kept = kept
            _forget_others(self)
        return kept[1]

    def _loaded(self, k: int) -> Shaped[np.ndarray, "row ..."]:
        start = self.starts[k]
        stop = self.starts[k + 1] if k + 1 < len(self.starts) else len(self)
        with reading(self._place):
            block = self._load(k, start, stop)
        if block.shape != (stop - start, *self.shape):
            raise damaged(self._place)
        return block.astype(self.dtype, copy=False)

    @abstractmethod
    def _load(self, k: int, start: int, stop: int) -> Shaped[np.ndarray, "row ..."]:
        """Decode block k, of rows start to stop - 1; whatever is raised means a damaged file."""


_keepers: "WeakKeyDictionary[BlockSource, None]" = WeakKeyDictionary()
_keeping = RLock()


def _forget_others(source: BlockSource) -> None:
    """Keep the blocks of the sources that read last."""
    with _keeping:
        _keepers.pop(source, None)
        _keepers[source] = None
        for old in list(_keepers)[:-MOST_KEPT]:
            _keepers.pop(old, None)
            old._kept = None


def block_starts(n_rows: int, row_bytes: int, chunk: int = 1) -> range:
    """Return where blocks of a few MiB start: whole chunks, where these are not too large.

    Parameters
    ----------
    n_rows : int
    row_bytes : int
        Size of a decoded row.
    chunk : int, default 1
        Rows that the format decodes together.

    Examples
    --------
    >>> block_starts(10**9, row_bytes=4, chunk=1000)[:3]
    range(0, 3144000, 1048000)
    """
    row_bytes = max(row_bytes, 1)
    if chunk * row_bytes > _CHUNK:
        return range(0, n_rows, max(_CHUNK // row_bytes, 1))
    return range(0, n_rows, chunk * max(_BLOCK // (chunk * row_bytes), 1))


class Handle(Generic[T]):
    """Something open that one thread at a time reads, and that is opened again when copied.

    Parameters
    ----------
    function : callable
        Opens it.
    *arguments
        Of the function; these are what is pickled.

    Examples
    --------
    >>> import pickle
    >>> handle = Handle(list, "ab")
    >>> with pickle.loads(pickle.dumps(handle)) as opened:
    ...     opened
    ['a', 'b']
    """

    def __init__(self, function: Callable[..., T], *arguments: Any) -> None:
        self._opening = (function, arguments)
        self._opened: list[T] = []
        self._lock = RLock()

    def __enter__(self) -> T:
        self._lock.acquire()
        try:
            if not self._opened:
                function, arguments = self._opening
                self._opened.append(function(*arguments))
        except BaseException:
            self._lock.release()
            raise
        return self._opened[0]

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[Any, ...]:
        function, arguments = self._opening
        return type(self), (function, *arguments)

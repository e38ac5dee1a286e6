"""Arrays to files, whole or not at all."""

import csv
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, Literal

import numpy as np
from jaxtyping import Shaped

from narrows._files import atomic
from narrows._types import PathLike
from narrows.data.csv import is_text
from narrows.data.hdf5 import write_hdf5
from narrows.data.parquet import write_parquet
from narrows.data.places import is_zarr_store
from narrows.data.source import unknown_suffix
from narrows.data.zarr import write_zarr

_CHUNK = 4096  # rows turned into text at a time

Blocks = Iterator[np.ndarray]


def write(
    path: PathLike,
    array: Shaped[np.ndarray, "row ..."],
    names: Sequence[str] | None = None,
) -> None:
    """Write an array to a file whose suffix says the format.

    The file appears whole or not at all; what stood there before survives a failure. Text
    tables and .parquet have columns, so events of more dimensions are flattened into
    columns named after their indices: x0_0, x0_1, ... An .npz or .h5 file holds the array as
    "data".

    Parameters
    ----------
    path : str or PathLike
        Where to; the suffix is one of `WRITERS`.
    array : ndarray of shape (rows, ...)
        Numbers.
    names : sequence of str, optional
        One name per column; x0, x1, ... by default. Kept by text tables and .parquet.

    Raises
    ------
    ValueError
        An unknown suffix, not one name per column, or an array of anything but numbers.
    OSError
        The folder is missing or may not be written to, the disk is full, or what stands there
        cannot be replaced.
    MissingExtraError
        .parquet without pyarrow, .h5 without h5py, .zarr without zarr.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(f"{folder}/codes.csv", np.array([[0.5, 1.0]]), names=["z0", "z1"])
    ...     print(Path(folder, "codes.csv").read_text())
    z0,z1
    0.5,1.0
    <BLANKLINE>
    """
    write_blocks(path, [array], names)


def write_blocks(
    path: PathLike,
    blocks: Iterable[Shaped[np.ndarray, "row ..."]],
    names: Sequence[str] | None = None,
) -> tuple[int, ...]:
    """Write rows that come a block at a time, without ever holding all of them.

    Like `write`; only .npz, which has to be told its size first, gathers them in memory. When a
    block fails to come, nothing is left behind.

    Parameters
    ----------
    path, names
        Like `write`.
    blocks : iterable of ndarray of shape (rows, ...)
        At least one; of one type, and one shape but for the rows. One array is one block.

    Returns
    -------
    tuple of int
        Shape of what was written.

    Raises
    ------
    ValueError
        No blocks, blocks that differ, and as for `write`.
    OSError, MissingExtraError
        As for `write`.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     shape = write_blocks(f"{folder}/x.npy", (np.eye(2) * k for k in range(3)))
    ...     shape, np.load(f"{folder}/x.npy")[4]
    ((6, 2), array([2., 0.]))
    """
    writer = WRITERS.get(Path(path).suffix.lower())
    if writer is None:
        raise unknown_suffix(Path(path), WRITERS)
    arrays = iter([blocks] if isinstance(blocks, np.ndarray) else blocks)
    first = next(arrays, None)
    if first is None:
        raise ValueError("There are no blocks to write. Pass at least one.")
    if first.dtype.kind not in "biuf":
        raise ValueError(f"The array has dtype {first.dtype}. Pass an array of numbers.")
    columns = _names(first) if names is None else tuple(names)
    if len(columns) != len(_names(first)):
        raise ValueError(
            f"names has {len(columns)} entries, the array {len(_names(first))} columns. "
            "Pass one name per column."
        )
    if Path(path).suffix.lower() == ".zarr" and Path(path).is_dir():
        _check_store(path)
    counted = _Counted(first, arrays)
    with atomic(path) as temporary:
        writer(temporary, counted, columns)
    return counted.n_rows, *first.shape[1:]


class _Counted:
    """Blocks that agree with the first, and the number of rows that have come."""

    def __init__(self, first: np.ndarray, others: Blocks) -> None:
        self._first = first
        self._blocks = chain([first], others)
        self.n_rows = 0

    def __iter__(self) -> Blocks:
        return self

    def __next__(self) -> np.ndarray:
        block, first = next(self._blocks), self._first
        if (block.dtype, block.shape[1:]) != (first.dtype, first.shape[1:]):
            raise ValueError(
                f"A block has rows of shape {block.shape[1:]} and type {block.dtype}, the first "
                f"of {first.shape[1:]} and {first.dtype}. Pass blocks of one kind."
            )
        self.n_rows += len(block)
        return block


def _check_store(path: PathLike) -> None:
    """Raise OSError for a folder of other things, which must not be replaced."""
    if not is_zarr_store(Path(path)):
        raise OSError(
            f"Cannot write '{path}': it is a folder, but no Zarr store. Nothing was changed."
        )


def _names(array: Shaped[np.ndarray, "row ..."]) -> tuple[str, ...]:
    return tuple("x" + "_".join(map(str, index)) for index in np.ndindex(array.shape[1:]))


def _write_npy(path: Path, blocks: Blocks, names: tuple[str, ...]) -> None:
    with open(path, "wb") as stream:
        first = next(blocks)
        _write_header(stream, first, 0)
        n_rows = 0
        for block in chain([first], blocks):
            n_rows += len(block)
            stream.write(np.ascontiguousarray(block).data)
        stream.seek(0)
        _write_header(stream, first, n_rows)  # as long as before: numpy leaves room for digits


def _write_header(stream: IO[bytes], block: np.ndarray, n_rows: int) -> None:
    header = np.lib.format.header_data_from_array_1_0(block[:0])
    shape = (n_rows, *block.shape[1:])
    np.lib.format.write_array_header_1_0(stream, {**header, "fortran_order": False, "shape": shape})


def _write_npz(path: Path, blocks: Blocks, names: tuple[str, ...]) -> None:
    np.savez(path, data=np.concatenate(list(blocks)))


def _write_text(delimiter: str, path: Path, blocks: Blocks, names: tuple[str, ...]) -> None:
    # quotes tell a header of numbers (years, say) from a row
    quoting: Literal[0, 1] = csv.QUOTE_MINIMAL if any(map(is_text, names)) else csv.QUOTE_ALL
    with open(path, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, delimiter=delimiter, quoting=quoting).writerow(names)
        rows = csv.writer(stream, delimiter=delimiter)
        for table in map(_columns, blocks):
            for start in range(0, len(table), _CHUNK):
                rows.writerows(table[start : start + _CHUNK].astype(str).tolist())


def _write_parquet(path: Path, blocks: Blocks, names: tuple[str, ...]) -> None:
    write_parquet(path, map(_columns, blocks), names)


def _write_hdf5(path: Path, blocks: Blocks, names: tuple[str, ...]) -> None:
    write_hdf5(path, blocks)


def _write_zarr(path: Path, blocks: Blocks, names: tuple[str, ...]) -> None:
    write_zarr(path, blocks)


def _columns(array: np.ndarray) -> Shaped[np.ndarray, "row column"]:
    table = array.reshape(len(array), math.prod(array.shape[1:]))
    return table.astype(np.uint8) if table.dtype == bool else table


WRITERS: dict[str, Callable[[Path, Blocks, tuple[str, ...]], None]] = {
    ".npy": _write_npy,
    ".npz": _write_npz,
    ".csv": partial(_write_text, ","),
    ".tsv": partial(_write_text, "\t"),
    ".txt": partial(_write_text, " "),
    ".parquet": _write_parquet,
    ".h5": _write_hdf5,
    ".hdf5": _write_hdf5,
    ".zarr": _write_zarr,
}

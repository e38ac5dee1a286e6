"""Arrays to files, whole or not at all."""

import csv
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Shaped

from narrows._files import atomic
from narrows._types import PathLike
from narrows.data.csv import is_text
from narrows.data.parquet import write_parquet
from narrows.data.source import unknown_suffix

_CHUNK = 4096  # rows turned into text at a time


def write(
    path: PathLike,
    array: Shaped[np.ndarray, "row ..."],
    names: Sequence[str] | None = None,
) -> None:
    """Write an array to a file whose suffix says the format.

    The file appears whole or not at all; what stood there before survives a failure. Text
    tables and .parquet have columns, so events of more dimensions are flattened into
    columns named after their indices: x0_0, x0_1, ... An .npz file holds the array as "data".

    Parameters
    ----------
    path : str or PathLike
        Where to; the suffix is one of `WRITERS`.
    array : ndarray of shape (rows, ...)
        Numbers.
    names : sequence of str, optional
        One name per column; x0, x1, ... by default. Not kept by .npy and .npz.

    Raises
    ------
    ValueError
        An unknown suffix, not one name per column, or an array of anything but numbers.
    OSError
        The folder is missing or may not be written to, or the disk is full.
    MissingExtraError
        .parquet without pyarrow.

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
    writer = WRITERS.get(Path(path).suffix.lower())
    if writer is None:
        raise unknown_suffix(Path(path), WRITERS)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"The array has dtype {array.dtype}. Pass an array of numbers.")
    columns = _names(array) if names is None else tuple(names)
    if len(columns) != len(_names(array)):
        raise ValueError(
            f"names has {len(columns)} entries, the array {len(_names(array))} columns. "
            "Pass one name per column."
        )
    with atomic(path) as temporary:
        writer(temporary, array, columns)


def _names(array: Shaped[np.ndarray, "row ..."]) -> tuple[str, ...]:
    return tuple("x" + "_".join(map(str, index)) for index in np.ndindex(array.shape[1:]))


def _write_npy(path: Path, array: np.ndarray, names: tuple[str, ...]) -> None:
    np.save(path, array)


def _write_npz(path: Path, array: np.ndarray, names: tuple[str, ...]) -> None:
    np.savez(path, data=array)


def _write_text(delimiter: str, path: Path, array: np.ndarray, names: tuple[str, ...]) -> None:
    table = _columns(array)
    # quotes tell a header of numbers (years, say) from a row
    quoting: Literal[0, 1] = csv.QUOTE_MINIMAL if any(map(is_text, names)) else csv.QUOTE_ALL
    with open(path, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, delimiter=delimiter, quoting=quoting).writerow(names)
        rows = csv.writer(stream, delimiter=delimiter)
        for start in range(0, len(table), _CHUNK):
            rows.writerows(table[start : start + _CHUNK].astype(str).tolist())


def _write_parquet(path: Path, array: np.ndarray, names: tuple[str, ...]) -> None:
    write_parquet(path, _columns(array), names)


def _columns(array: np.ndarray) -> Shaped[np.ndarray, "row column"]:
    table = array.reshape(len(array), math.prod(array.shape[1:]))
    return table.astype(np.uint8) if table.dtype == bool else table


WRITERS: dict[str, Callable[[Path, np.ndarray, tuple[str, ...]], None]] = {
    ".npy": _write_npy,
    ".npz": _write_npz,
    ".csv": partial(_write_text, ","),
    ".tsv": partial(_write_text, "\t"),
    ".txt": partial(_write_text, " "),
    ".parquet": _write_parquet,
}

"""Rows of a .parquet file, one row group at a time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int64, Shaped

from narrows._errors import require
from narrows.data.npy import damaged
from narrows.data.protocol import BaseSource, refuse_text, selected

_GROUP = 65_536  # rows in a group we write


class ParquetSource(BaseSource):
    """Rows of a .parquet file; the row group read last is kept.

    Null cells become NaN, so the type is float32 where that holds every column exactly (as
    numpy promotes them), else float64. Memory is that of one row group: write large tables
    with groups of moderate size.

    Parameters
    ----------
    path : Path
        The file.
    key : str, optional
        Columns to keep, in this order, with commas between.

    Raises
    ------
    MissingExtraError
        pyarrow is not installed.
    ValueError
        Columns that are not numbers, an unknown column, or a damaged file.

    Examples
    --------
    >>> import tempfile
    >>> from narrows.data.writers import write
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "table.parquet")
    ...     write(path, np.eye(2), names=("a", "b"))
    ...     ParquetSource(path, "b").read(0, 2)
    array([[0.],
           [1.]])
    """

    def __init__(self, path: Path, key: str | None = None) -> None:
        self._path = path
        file = self._file()
        columns = list(file.schema_arrow.names)
        use = selected(path, columns, key)
        self._columns = [columns[k] for k in use]
        self._borders = _group_borders(file.metadata)
        self._kept: tuple[int, np.ndarray] | None = None
        dtype = _common_dtype(path, file.schema_arrow, use)
        super().__init__(int(self._borders[-1]), (len(use),), dtype, tuple(self._columns))

    def _file(self) -> Any:
        parquet = require("pyarrow.parquet", "parquet")
        arrow = require("pyarrow", "parquet")
        try:
            return parquet.ParquetFile(self._path)
        except (arrow.ArrowInvalid, OSError) as error:
            raise damaged(self._path) from error

    def _read(self, start: int, stop: int) -> Float[np.ndarray, "row feature"]:
        first = int(np.searchsorted(self._borders, start, side="right")) - 1
        last = int(np.searchsorted(self._borders, stop, side="left"))
        parts = []
        for k in range(first, last):
            offset = int(self._borders[k])
            parts.append(self._group(k)[max(start - offset, 0) : stop - offset])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _group(self, k: int) -> Float[np.ndarray, "row feature"]:
        if self._kept is None or self._kept[0] != k:
            self._kept = (k, self._load(k))
        return self._kept[1]

    def _load(self, k: int) -> Float[np.ndarray, "row feature"]:
        try:
            table = self._file().read_row_group(k, columns=self._columns)
        except OSError as error:
            raise damaged(self._path) from error
        columns = [table[name].to_numpy().astype(self.dtype) for name in self._columns]
        return np.column_stack(columns)


def write_parquet(
    path: Path, table: Shaped[np.ndarray, "row column"], names: Sequence[str]
) -> None:
    """Write columns to a .parquet file, in row groups that a reader can hold."""
    arrow = require("pyarrow", "parquet")
    columns = arrow.Table.from_arrays(list(table.T), names=list(names))
    parquet = require("pyarrow.parquet", "parquet")
    parquet.write_table(columns, path, row_group_size=_GROUP)


def _common_dtype(path: Path, schema: Any, use: list[int]) -> np.dtype[Any]:
    types = [column.to_numpy().dtype for column in schema.empty_table().columns]
    text = {k for k, dtype in enumerate(types) if dtype.kind not in "biuf"}
    refuse_text(path, schema.names, use, text)
    return np.result_type(np.float32, *(types[k] for k in use))


def _group_borders(metadata: Any) -> Int64[np.ndarray, " border"]:
    sizes = [metadata.row_group(k).num_rows for k in range(metadata.num_row_groups)]
    return np.cumsum([0, *sizes], dtype=np.int64)

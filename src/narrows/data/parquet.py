"""Rows of a .parquet file, one row group at a time."""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from narrows._errors import require
from narrows.data.blocks import BlockSource
from narrows.data.places import Place, damaged, open_bytes, reading
from narrows.data.protocol import refuse_text, selected

_GROUP = 65_536  # rows in a group we write, at most
_GROUP_BYTES = 2**25  # bytes gathered before they are written


class ParquetSource(BlockSource):
    """Rows of a .parquet file; the row group read last is kept.

    Null cells become NaN, so the type is float32 where that holds every column exactly (as
    numpy promotes them), else float64. Memory is that of a few row groups: write large
    tables with groups of moderate size.

    Parameters
    ----------
    place : Path or Remote
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

    def __init__(self, place: Place, key: str | None = None) -> None:
        with reading(place):
            file = _file(place)
            columns = list(file.schema_arrow.names)
            starts, n_rows = _group_starts(file.metadata)
        use = selected(place, columns, key)
        self._columns = tuple(columns[k] for k in use)
        if len(set(columns)) < len(columns):  # pyarrow could not tell them apart
            raise damaged(place)
        dtype = _common_dtype(place, file.schema_arrow, use)
        super().__init__(place, starts, n_rows, (len(use),), dtype, self._columns)

    def _load(self, k: int, start: int, stop: int) -> Float[np.ndarray, "row feature"]:
        table = _file(self._place).read_row_group(k, columns=list(self._columns))
        if table.num_rows != stop - start:
            raise damaged(self._place)
        columns = [table[name].to_numpy().astype(self.dtype) for name in self._columns]
        return np.column_stack(columns)


def _file(place: Place) -> Any:
    parquet = require("pyarrow.parquet", "parquet")
    if isinstance(place, Path):
        open_bytes(place).close()  # says in plain words if the system refuses
    return parquet.ParquetFile(place if isinstance(place, Path) else place.open())


def parquet_columns(place: Place) -> dict[str, list[Any]]:
    """Return all columns of a .parquet file, texts too, as Python's values."""
    with reading(place):
        return dict(_file(place).read().to_pydict())


def write_parquet(path: Path, blocks: Iterator[np.ndarray], names: Sequence[str]) -> None:
    """Write blocks of columns to a .parquet file, in row groups that a reader can hold."""
    arrow, parquet = require("pyarrow", "parquet"), require("pyarrow.parquet", "parquet")
    tables = (arrow.Table.from_arrays(list(block.T), names=list(names)) for block in blocks)
    first = next(tables)
    with parquet.ParquetWriter(path, first.schema) as writer:
        waiting = [first]
        for table in tables:
            if sum(map(_size, (*waiting, table))) > _GROUP_BYTES:
                writer.write_table(arrow.concat_tables(waiting), row_group_size=_GROUP)
                waiting = []
            waiting.append(table)
        writer.write_table(arrow.concat_tables(waiting), row_group_size=_GROUP)


def _size(table: Any) -> int:
    return int(table.nbytes)


def _common_dtype(place: Place, schema: Any, use: list[int]) -> np.dtype[Any]:
    types = [column.to_numpy().dtype for column in schema.empty_table().columns]
    text = {k for k, dtype in enumerate(types) if dtype.kind not in "biuf"}
    refuse_text(place, schema.names, use, text)
    return np.result_type(np.float32, *(types[k] for k in use))


def _group_starts(metadata: Any) -> tuple[list[int], int]:
    sizes = [metadata.row_group(k).num_rows for k in range(metadata.num_row_groups)]
    *starts, n_rows = accumulate(sizes, initial=0)
    return starts, n_rows

"""Rows of a text table: comma, semicolon, tab or blanks between the cells."""

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from io import BufferedReader
from itertools import islice
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from narrows.data.places import Place, damaged, open_bytes
from narrows.data.protocol import BaseSource, refuse_text, selected

_MARK = 256  # one file position is kept every so many rows
_PEEK = 1000  # rows looked at for text before anything is read
_LONGEST = 2**26  # bytes of a line
_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none"})
_BOM = b"\xef\xbb\xbf"


class CsvSource(BaseSource):
    r"""Rows of a text table, parsed a range at a time.

    The delimiter (comma, semicolon, tab, blanks) and the header are detected; a header may
    also stand in a comment line starting with ``#``. Empty cells and the words NA, nan, null
    and none become NaN. A row is one line. For data that is read many times without fitting
    in memory, .npy is faster.

    Parameters
    ----------
    place : Path or Remote
        The file, in UTF-8.
    key : str, optional
        Columns to keep, in this order: names, or numbers from 0 where there is no header,
        with commas between.

    Raises
    ------
    ValueError
        Text columns, an unknown column, no rows, or a file that is not a text table; on
        reading, a cell that is not a number, or a row with too few cells.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "table.csv")
    ...     _ = path.write_text("time;x\n0.5;1\n1.0;\n")
    ...     table = CsvSource(path)
    ...     table.names, table.read(0, 2)
    (('time', 'x'), array([[0.5, 1. ],
           [1. , nan]]))
    """

    def __init__(self, place: Place, key: str | None = None) -> None:
        self._place = place
        self._layout = layout = _layout(place)
        self._use = selected(place, layout.columns, key)
        self._refuse_text()
        self._marks, n_rows = self._index()
        names = tuple(layout.columns[k] for k in self._use) if layout.named else None
        super().__init__(n_rows, (len(self._use),), np.dtype(np.float64), names)

    def _read(self, start: int, stop: int) -> Float64[np.ndarray, "row feature"]:
        lines = list(self._lines(start, stop))
        if len(lines) < stop - start:  # the file has changed since it was opened
            raise damaged(self._place)
        for converter in (None, _number):  # the second knows missing cells, but is slow
            with suppress(ValueError):
                return self._parse(lines, converter)
        raise self._fault(lines, start)

    def _parse(
        self, lines: list[str], converter: Callable[[str], float] | None
    ) -> Float64[np.ndarray, "row feature"]:
        everything = self._use == list(range(len(self._layout.columns)))
        rows = np.loadtxt(
            lines,
            delimiter=self._layout.delimiter,
            usecols=None if everything else self._use,  # None checks the number of cells
            converters=converter,
            ndmin=2,
            quotechar='"',
            comments=None,
        )
        return rows.reshape(len(lines), len(self._use))

    def _lines(self, start: int, stop: int) -> Iterator[str]:
        skip = start % _MARK
        with open_bytes(self._place) as stream:
            stream.seek(self._marks[start // _MARK])
            rows = (line for line in _split(self._place, stream) if _is_row(line))
            for line in islice(rows, skip, skip + stop - start):
                yield line.decode()

    def _index(self) -> tuple[list[int], int]:
        marks, n_rows = [], 0
        for position, _ in islice(_rows(self._place), int(self._layout.header), None):
            if n_rows % _MARK == 0:
                marks.append(position)
            n_rows += 1
        if not n_rows:
            raise _no_rows(self._place)
        return marks, n_rows

    def _refuse_text(self) -> None:
        layout = self._layout
        rows = islice(_rows(self._place), int(layout.header), _PEEK)
        cells = [_cells(line, layout.delimiter) for _, line in rows]
        text = {k for row in cells for k, cell in enumerate(row) if is_text(cell)}
        refuse_text(self._place, layout.columns, self._use, text)

    def _fault(self, lines: list[str], start: int) -> ValueError:
        """Find the cell that made reading fail."""
        columns = self._layout.columns
        for row, line in enumerate(lines, start):
            cells = _cells(line, self._layout.delimiter)
            if len(cells) != len(columns):
                return ValueError(
                    f"The file '{self._place}' has {len(cells)} cells in row {row} (the first "
                    f"is 0), but {len(columns)} columns. Is it truncated?"
                )
            for k in self._use:
                if is_text(cells[k]):
                    return ValueError(
                        f"The file '{self._place}' has {cells[k]!r} in row {row} (the first "
                        f"is 0), column {columns[k]!r}. Write a number, or leave it empty."
                    )
        return damaged(self._place)


class _Layout(NamedTuple):
    delimiter: str | None
    columns: tuple[str, ...]
    named: bool
    header: bool  # whether the first row is the header


def _layout(place: Place) -> _Layout:
    """Find delimiter and column names from the comments and the first two rows."""
    lines = [line for _, line in islice(_rows(place), 2)]
    if not lines:
        raise _no_rows(place)
    delimiter = _delimiter(lines)
    rows = [_cells(line, delimiter) for line in lines]
    if _is_header(*rows) or _quoted(*lines):
        return _Layout(delimiter, tuple(rows[0]), named=True, header=True)
    comment = tuple(_cells(_last_comment(place), delimiter))
    if len(comment) == len(rows[0]):
        return _Layout(delimiter, comment, named=True, header=False)
    return _Layout(delimiter, tuple(map(str, range(len(rows[0])))), named=False, header=False)


def _delimiter(lines: list[str]) -> str | None:
    for delimiter in ("\t", ";", ",", None):
        widths = {len(_cells(line, delimiter)) for line in lines}
        if len(widths) == 1 and widths != {1}:
            return delimiter
    return ","


def _cells(line: str, delimiter: str | None) -> list[str]:
    if delimiter is None:
        line, delimiter = " ".join(line.split()), " "
    try:
        row = next(csv.reader([line.strip("\r\n")], delimiter=delimiter), [])
    except csv.Error:  # a cell beyond the parser's limit, which is text in any case
        row = line.split(delimiter)
    return [cell.strip() for cell in row]


def _is_header(first: list[str], second: Sequence[str] = ()) -> bool:
    """Tell a header by its text over numbers, or by having nothing but text."""
    text = [is_text(cell) for cell in first]
    if all(text) or not second:
        return any(text)
    below = zip(text, second, strict=False)
    return any(above != is_text(cell) for above, cell in below if not _is_missing(cell))


def _quoted(first: str, second: str = "") -> bool:
    """Tell a header of numbers (years, say) by its quotes."""
    return first.startswith('"') and not second.startswith('"')


def _last_comment(place: Place) -> str:
    comment = ""
    with open_bytes(place) as stream:
        for line in _split(place, stream):
            if _is_row(line):
                break
            comment = _decoded(place, line).strip().lstrip("#").strip() or comment
    return comment


def _rows(place: Place) -> Iterator[tuple[int, str]]:
    """Yield position and text of every line that is neither blank nor a comment."""
    with open_bytes(place) as stream:
        position = len(_BOM) if stream.read(len(_BOM)) == _BOM else 0
        stream.seek(position)
        for line in _split(place, stream):
            if _is_row(line):
                yield position, _decoded(place, line)
            position += len(line)


def _split(place: Place, stream: BufferedReader) -> Iterator[bytes]:
    """Yield lines; a file of other things may be one line of any length."""
    while line := stream.readline(_LONGEST):
        if len(line) == _LONGEST:
            raise damaged(place)
        yield line


def _decoded(place: Place, line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"The file '{place}' is not UTF-8 text. Save it as UTF-8.") from error


def _is_row(line: bytes) -> bool:
    line = line.strip(b" \r\n")
    return bool(line) and not line.startswith(b"#")


def _is_missing(cell: str) -> bool:
    return cell.strip().lower() in _MISSING


def _number(cell: str) -> float:
    return np.nan if _is_missing(cell) else float(cell)


def is_text(cell: str) -> bool:
    """Tell whether a cell holds neither a number nor a sign for a missing one."""
    try:
        _number(cell)
    except ValueError:
        return True
    return False


def _no_rows(place: Place) -> ValueError:
    return ValueError(f"The file '{place}' has no rows of numbers.")

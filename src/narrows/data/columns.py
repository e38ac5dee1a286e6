"""Columns of a file by name, texts too: what is known of rows besides their values."""

import csv
import os
import re
from typing import Any

from narrows._types import PathLike
from narrows.data.csv import is_text
from narrows.data.parquet import parquet_columns
from narrows.data.places import located, open_bytes
from narrows.data.source import FORMATS, source, split_selector

TABLES = {".csv": ",;", ".tsv": "\t", ".txt": ",;\t "}
_WHOLE = re.compile(r"[+-]?\d+")


def is_file(value: Any) -> bool:
    """Tell a path, or a text that ends as the files do that hold rows, from values.

    Examples
    --------
    >>> is_file("runs.csv:energy"), is_file("electron")
    (True, False)
    """
    if isinstance(value, os.PathLike):
        return True
    return isinstance(value, str) and _suffix(split_selector(value)[0]) in FORMATS


def columns(path: PathLike) -> dict[str, list[Any]]:
    """Return the columns of a file: of a text table or .parquet whole numbers, numbers, or texts.

    Files of other formats hold numbers. The first line of a text table has the names, unless a
    number stands in it; columns have numbers from 0 then.

    Raises
    ------
    ValueError
        Rows of different lengths, or a selected column that there is not.
    FileNotFoundError
        Nothing has this name.
    """
    file, selector = split_selector(path)
    suffix = _suffix(file)
    if suffix == ".parquet" and not os.path.isdir(file):
        return _chosen(parquet_columns(located(file)), selector, file)
    if suffix not in TABLES:
        rows = source(path)
        values = rows.read(0, len(rows)).reshape(len(rows), -1)
        names = rows.names or [str(number) for number in range(values.shape[1])]
        return {str(name): own.tolist() for name, own in zip(names, values.T, strict=True)}
    with open_bytes(located(file)) as stream:
        text = stream.read().decode("utf-8-sig").splitlines()
    delimiter = max(TABLES[suffix], key=(text or [""])[0].count)
    lines = [line for line in csv.reader(text, delimiter=delimiter) if line]
    named = bool(lines) and all(is_text(cell) for cell in lines[0])
    names = lines[0] if named else [str(number) for number in range(len(lines[0]) if lines else 0)]
    rows_of = lines[1:] if named else lines
    for number, line in enumerate(rows_of):
        if len(line) != len(names):
            raise ValueError(
                f"Row {number} of '{file}' has {len(line)} cells, the others {len(names)}. "
                "Write as many in each."
            )
    found = {
        name.strip(): _typed([line[place].strip() for line in rows_of])
        for place, name in enumerate(names)
    }
    return _chosen(found, selector, file)


def _chosen(found: dict[str, list[Any]], selector: str | None, file: str) -> dict[str, list[Any]]:
    if selector is None:
        return found
    names = selector.split(",")
    for name in names:
        if name not in found:
            raise ValueError(
                f"'{file}' has no column {name!r}. Write one of {', '.join(map(repr, found))}."
            )
    return {name: found[name] for name in names}


def _typed(cells: list[str]) -> list[Any]:
    """Return whole numbers, numbers or texts; None where nothing is written."""
    if all(_WHOLE.fullmatch(cell) for cell in cells):
        return [int(cell) for cell in cells]
    if not any(is_text(cell) for cell in cells):
        return [_number(cell) for cell in cells]
    return [cell or None for cell in cells]


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _suffix(file: str) -> str:
    return os.path.splitext(file)[1].lower()

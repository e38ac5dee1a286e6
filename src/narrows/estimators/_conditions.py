"""Conditions: what is known of rows besides their values, as numbers that networks read."""

from collections.abc import Hashable, Iterator
from dataclasses import asdict, dataclass, field
from numbers import Real
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Column:
    """One column: numbers on a scale, or one of some categories.

    Attributes
    ----------
    name : str
    centre, width : float
        Mean and standard deviation of numbers.
    categories : tuple or None
        In order; None for numbers.
    """

    name: str
    centre: float = 0.0
    width: float = 1.0
    categories: tuple[Hashable, ...] | None = None

    @property
    def size(self) -> int:
        """Numbers that networks read."""
        return 1 if self.categories is None else len(self.categories)

    @classmethod
    def learned(cls, name: str, values: list[Any]) -> Self:
        """Return a column of such values: of numbers if all are floats, else of categories."""
        _refuse_missing(name, values)
        if not all(isinstance(value, float | np.floating) for value in values):
            known = sorted({_plain(value) for value in values}, key=lambda c: (str(type(c)), c))
            return cls(name, categories=tuple(known))
        numbers = np.asarray(values, dtype=np.float64)
        return cls(name, float(numbers.mean()), float(numbers.std()) or 1.0)

    def encoded(self, values: list[Any]) -> Float[np.ndarray, "row size"]:
        """Return values as numbers: scaled, or a one in the column of their category."""
        _refuse_missing(self.name, values)
        if self.categories is None:
            for row, value in enumerate(values):
                if not isinstance(value, Real):
                    raise ValueError(
                        f"The column {self.name} of the condition holds numbers, but row {row} is "
                        f"{value!r}. Pass a number."
                    )
            return (np.asarray(values, dtype=np.float64)[:, None] - self.centre) / self.width
        place = {category: i for i, category in enumerate(self.categories)}
        for row, value in enumerate(values):
            if _plain(value) not in place:
                raise ValueError(
                    f"The category {_plain(value)!r} in row {row}, column {self.name} of the "
                    f"condition, is not one of the fit: {', '.join(map(repr, self.categories))}. "
                    "Pass one of these."
                )
        found = [place[_plain(value)] for value in values]
        return np.eye(len(place))[found]


@dataclass(frozen=True)
class Conditions:
    """The columns of a condition, as the fit saw them."""

    columns: tuple[Column, ...] = field(default=())

    def to_json(self) -> list[dict[str, Any]]:
        """Return the columns as names, numbers and lists."""
        return [asdict(column) for column in self.columns]

    @classmethod
    def from_json(cls, columns: list[dict[str, Any]]) -> Self:
        """Return the columns of a file.

        Raises
        ------
        ValueError
            If they are none.
        """
        found = []
        for column in columns:
            known = column["categories"]
            plain = known is None or all(isinstance(k, str | int | float) for k in known)
            if not (plain and isinstance(column["name"], str) and float(column["width"]) > 0):
                raise ValueError(f"The column {column['name']!r} of the condition is not one.")
            categories = None if known is None else tuple(known)
            found.append(Column(column["name"], column["centre"], column["width"], categories))
        return cls(tuple(found))

    @property
    def size(self) -> int:
        """Numbers that networks read for each row."""
        return sum(column.size for column in self.columns)

    @classmethod
    def learned(cls, condition: Any, n_rows: int) -> Self:
        """Return the columns of a condition: floats are numbers, all else is categories.

        Raises
        ------
        ValueError
            If it has not one row per row of X, or missing entries.
        """
        columns = dict(_columns(condition))
        _check_rows(columns, n_rows)
        return cls(tuple(Column.learned(name, values) for name, values in columns.items()))

    def encoded(self, condition: Any, n_rows: int, dtype: torch.dtype) -> Tensor:
        """Return a condition as numbers of shape (row, size); a single row serves all rows."""
        known = [column.name for column in self.columns]
        columns = dict(_columns(condition, len(known)))
        if hasattr(condition, "columns") and set(columns) != set(known):
            raise ValueError(
                f"condition has the columns {', '.join(columns)}, but the fit had "
                f"{', '.join(known)}. Pass the same columns."
            )
        values = (
            [columns[name] for name in known] if set(columns) == set(known) else columns.values()
        )
        if len(columns) != len(known):
            raise ValueError(
                f"condition has other columns ({len(columns)}) than the fit ({len(known)}): "
                f"{', '.join(known)}. Pass the same columns."
            )
        if {len(own) for own in values} != {1}:
            _check_rows(columns, n_rows)
        parts = [column.encoded(own) for column, own in zip(self.columns, values, strict=True)]
        return torch.as_tensor(np.hstack(parts), dtype=dtype).expand(n_rows, -1)


def _columns(condition: Any, n_columns: int | None = None) -> Iterator[tuple[str, list[Any]]]:
    """Yield names and values; a flat condition of several columns is a single row."""
    if hasattr(condition, "columns"):
        for name in condition.columns:
            yield str(name), list(np.asarray(condition[name]))
        return
    name = getattr(condition, "name", None)
    if isinstance(condition, Tensor):
        condition = condition.numpy(force=True)
    table = np.asarray(condition)
    if isinstance(condition, list | tuple) and table.dtype.kind in "US":
        table = np.asarray(condition, dtype=object)
    if table.ndim > 2:
        raise ValueError(
            f"condition has {table.ndim} axes; rows of columns are needed. Write "
            f"condition.reshape({len(table)}, -1)."
        )
    if table.ndim == 1 and n_columns is not None and n_columns > 1:
        table = table[None]
    table = table.reshape(len(table) if table.ndim else 1, -1)
    for number, values in enumerate(table.T):
        yield name or str(number), list(values)


def _check_rows(columns: dict[str, list[Any]], n_rows: int) -> None:
    n = len(next(iter(columns.values()), []))
    if n != n_rows:
        raise ValueError(
            f"condition has {_rows(n)} for {_rows(n_rows)} of data. Pass one for each."
        )


def _rows(n: int) -> str:
    return "1 row" if n == 1 else f"{n} rows"


def _refuse_missing(name: str, values: list[Any]) -> None:
    for row, value in enumerate(values):
        number = isinstance(value, float | np.floating)
        if value is None or value != value or (number and not np.isfinite(value)):
            raise ValueError(
                f"The column {name} of the condition is {value!r} in row {row}. Fill it, or drop "
                "the row."
            )


def _plain(value: Any) -> Any:
    """Return a number or a text of Python."""
    return value.item() if isinstance(value, np.generic) else value

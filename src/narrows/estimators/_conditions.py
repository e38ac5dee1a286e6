"""Conditions: what is known of rows besides their values, as numbers that networks read."""

import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from numbers import Real
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from narrows._errors import warn
from narrows._types import Array
from narrows.data import columns as files

_MOST_NAMED = 5
_MOST_CATEGORIES = 50


@dataclass(frozen=True)
class Column:
    """One column: numbers on a scale, or one of some categories.

    Attributes
    ----------
    name : str
    centre, width : float
        Mean and standard deviation of numbers.
    categories : tuple or None
        Names or numbers, in order; None if the column is of numbers on a scale.
    low, high : float
        Least and largest number of the fit.
    """

    name: str
    centre: float = 0.0
    width: float = 1.0
    categories: tuple[str | int | float, ...] | None = None
    low: float = -math.inf
    high: float = math.inf

    @property
    def size(self) -> int:
        """Numbers that networks read."""
        return 1 if self.categories is None else len(self.categories)

    @classmethod
    def learned(cls, name: str, values: list[Any], weight: Array | None, declared: bool) -> Self:
        """Return a column of such values: of numbers if all are floats, else of categories.

        Parameters
        ----------
        name : str
        values : list
        weight : array of shape (rows,), or None
        declared : bool
            Whether floats, too, are categories.
        """
        _refuse_missing(name, values)
        if declared or not all(isinstance(value, float) for value in values):
            known = {_category(name, row, value) for row, value in enumerate(values)}
            if not declared:
                _warn_counted(name, known)
            return cls(name, categories=tuple(sorted(known, key=lambda c: (str(type(c)), c))))
        numbers = np.array(values)
        centre = np.average(numbers, weights=weight)
        width = np.average((numbers - centre) ** 2, weights=weight) ** 0.5
        varies = numbers.max() > numbers.min() and width > 0
        low, high = float(numbers.min()), float(numbers.max())
        return cls(name, float(centre), float(width) if varies else 1.0, None, low, high)

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
            numbers = np.array(values, dtype=np.float64)
            self._warn_far(numbers)
            return (numbers[:, None] - self.centre) / self.width
        place = {category: i for i, category in enumerate(self.categories)}
        found = []
        for row, value in enumerate(values):
            if _category(self.name, row, value) not in place:
                raise ValueError(
                    f"The category {value!r} in row {row}, column {self.name} of the condition, "
                    f"is not one of the fit: {self._named()}. Pass one of these{self._hint(value)}."
                )
            found.append(place[value])
        return np.eye(len(place))[found]

    def _warn_far(self, numbers: Float[np.ndarray, " row"]) -> None:
        """Warn of amounts farther from those of the fit than these are from one another."""
        beyond = np.maximum(self.low - numbers, numbers - self.high)
        row = int(beyond.argmax()) if len(numbers) else 0
        if len(numbers) and beyond[row] > max(self.high - self.low, self.width):
            warn(
                f"The column {self.name} of the condition is {numbers[row]:g} in row {row}, far "
                f"from those of the fit, {self.low:g} to {self.high:g}: what comes of it is a "
                "guess. Fit with such rows, or check the unit.",
            )

    def _named(self) -> str:
        known = [repr(category) for category in self.categories or ()]
        return ", ".join(known[:_MOST_NAMED]) + (", ..." if len(known) > _MOST_NAMED else "")

    def _hint(self, value: Any) -> str:
        between = isinstance(value, float) and not value.is_integer()
        whole = all(type(category) is int for category in self.categories or ())
        return "; amounts are floats in fit" if between and whole else ""


@dataclass(frozen=True)
class Conditions:
    """The columns of a condition, as the fit saw them."""

    columns: tuple[Column, ...]

    @property
    def size(self) -> int:
        """Numbers that networks read for each row."""
        return sum(column.size for column in self.columns)

    @classmethod
    def learned(cls, condition: Any, n_rows: int, weight: Array | None) -> Self:
        """Return the columns of a condition: floats are numbers, all else is categories.

        Raises
        ------
        ValueError
            If it has not one row per row of X, missing entries, or others than names and numbers.
        """
        condition = _loaded(condition)
        columns = _columns(condition)
        _check_rows(columns, n_rows)
        declared = _declared(condition)
        return cls(
            tuple(
                Column.learned(name, values, weight, name in declared)
                for name, values in columns.items()
            )
        )

    def encoded(self, condition: Any, n_rows: int, dtype: torch.dtype) -> Tensor:
        """Return a condition as numbers of shape (row, size); a single row serves all rows."""
        condition, names = _loaded(condition), [column.name for column in self.columns]
        columns = _columns(condition, len(names))
        if _named(condition):
            if set(columns) != set(names):
                raise ValueError(
                    f"condition has the columns {', '.join(columns)}, but the fit had "
                    f"{', '.join(names)}. Pass the same columns."
                )
            columns = {name: columns[name] for name in names}
        if len(columns) != len(names):
            raise ValueError(
                f"condition has other columns ({len(columns)}) than the fit ({len(names)}): "
                f"{', '.join(names)}. Pass the same columns."
            )
        if any(len(values) != 1 for values in columns.values()):
            _check_rows(columns, n_rows)
        pairs = zip(self.columns, columns.values(), strict=True)
        found = np.hstack([column.encoded(values) for column, values in pairs])
        return torch.as_tensor(found, dtype=dtype).expand(n_rows, -1)

    def centre_and_width(self) -> tuple[Array, Array]:
        """Return what the numbers of amounts are scaled by; 0 and 1 for those of categories."""
        of_columns = [(np.full(c.size, c.centre), np.full(c.size, c.width)) for c in self.columns]
        centre, width = zip(*of_columns, strict=True)
        return np.concatenate(centre), np.concatenate(width)

    def named(self, numbers: Float[np.ndarray, "row size"]) -> dict[str, list[Any]]:
        """Return columns by name from a one in the column of each category, and amounts."""
        found, first = {}, 0
        for column in self.columns:
            own = numbers[:, first : first + column.size]
            known = column.categories
            found[column.name] = (
                own[:, 0].tolist() if known is None else [known[i] for i in own.argmax(1)]
            )
            first += column.size
        return found

    def to_json(self) -> list[dict[str, Any]]:
        """Return the columns as names, numbers and lists."""
        return [
            {name: value for name, value in asdict(column).items() if _finite(value)}
            for column in self.columns
        ]

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
            ends = column.get("low", -math.inf), column.get("high", math.inf)
            found.append(
                Column(column["name"], column["centre"], column["width"], categories, *ends)
            )
        return cls(tuple(found))


def _loaded(condition: Any) -> Any:
    """Return a condition, read from its file if it is one."""
    return files.columns(condition) if files.is_file(condition) else condition


def _named(condition: Any) -> bool:
    """Return whether a condition has columns with names."""
    return hasattr(condition, "columns") or isinstance(condition, Mapping)


def _columns(condition: Any, n_columns: int = 1) -> dict[str, list[Any]]:
    """Return values of columns by name; a flat condition of several columns is a single row."""
    if hasattr(condition, "tocsr"):
        raise ValueError("condition is a sparse matrix. Write condition.toarray().")
    if _named(condition):
        names = list(condition.keys() if isinstance(condition, Mapping) else condition.columns)
        if len({str(name) for name in names}) < len(names):
            raise ValueError(
                f"condition has two columns of one name: {', '.join(map(str, names))}. Rename one."
            )
        return {str(name): _values(np.atleast_1d(condition[name])) for name in names}
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
    single = table.ndim == 1 and n_columns > 1
    rows = table[None] if single else table.reshape(len(table) if table.ndim else 1, -1)
    named = table.ndim == 1 and not single and getattr(condition, "name", None) is not None
    names = [str(condition.name)] if named else [str(number) for number in range(rows.shape[1])]
    return {name: _values(values) for name, values in zip(names, rows.T, strict=True)}


def _values(column: Array) -> list[Any]:
    """Return numbers and texts of Python where there are any."""
    if column.dtype.kind in "mM":  # times, which Python would give as whole numbers
        return list(column)
    return [value.item() if isinstance(value, np.generic) else value for value in column]


def _declared(condition: Any) -> Collection[str]:
    """Return which columns of a frame are declared to be categories."""
    names = getattr(condition, "columns", ())
    return {str(n) for n in names if str(getattr(condition[n], "dtype", "")) == "category"}


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
        absent = value is None or type(value).__name__ in ("NAType", "NaTType")
        if absent or (isinstance(value, float) and not np.isfinite(value)):
            raise ValueError(
                f"The column {name} of the condition is {value!r} in row {row}. Fill it, or drop "
                "the row."
            )


def _finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _warn_counted(name: str, known: Collection[Any]) -> None:
    """Warn of whole numbers so many that they are more likely amounts than categories."""
    if len(known) > _MOST_CATEGORIES and all(type(value) is int for value in known):
        warn(
            f"The column {name} of the condition holds {len(known)} different whole numbers, and "
            "each is a category. If they are amounts, write condition.astype(float).",
        )


def _category(name: str, row: int, value: Any) -> str | int | float:
    """Return a value that a category can be."""
    if not isinstance(value, str | int | float):
        raise ValueError(
            f"The column {name} of the condition is {value!r} in row {row}, neither a name nor a "
            "number. Write it as text, or as a float if it is an amount."
        )
    return value

"""Sources of what is already in memory: arrays, frames, sparse matrices, tensors."""

import math
from typing import Any

import numpy as np
from jaxtyping import Shaped

from narrows.data.protocol import BaseSource, Source, not_numbers


class ArraySource(BaseSource):
    """Rows of an array, in memory or memory-mapped.

    Parameters
    ----------
    array : ndarray of shape (rows, ...)
        Numbers; object arrays that hold numbers become float64.
    names : tuple of str, optional
        Names of the features.
    where : str, default "The data"
        What errors call it.

    Raises
    ------
    ValueError
        The array has no rows axis, or holds text, dates, records or complex numbers.

    Examples
    --------
    >>> ArraySource(np.eye(3)).read(1, 2)
    array([[0., 1., 0.]])
    """

    def __init__(
        self,
        array: np.ndarray,
        names: tuple[str, ...] | None = None,
        where: str = "The data",
    ) -> None:
        self._array = np.asarray(_numbers(array, where))
        super().__init__(len(array), array.shape[1:], self._array.dtype, names)
        self.in_memory = not _is_mapped(self._array)

    def _read(self, start: int, stop: int) -> Shaped[np.ndarray, "row ..."]:
        return self._array[start:stop]


class SparseSource(BaseSource):
    """Rows of a scipy sparse matrix, made dense a range at a time."""

    def __init__(self, matrix: Any) -> None:
        self._matrix = matrix.tocsr()
        super().__init__(matrix.shape[0], tuple(matrix.shape[1:]), np.dtype(matrix.dtype))
        self.in_memory = True

    def _read(self, start: int, stop: int) -> Shaped[np.ndarray, "row ..."]:
        return np.asarray(self._matrix[start:stop].toarray())


def from_memory(obj: object) -> Source:
    """Return the source of an array, frame, sparse matrix, tensor or nested list.

    The libraries are recognised by the module of the type, so none of them is imported.

    Raises
    ------
    TypeError
        `obj` is nothing of the kind.
    ValueError
        Text columns, rows of different lengths, or no rows axis.

    Examples
    --------
    >>> from_memory([[1, 2], [3, 4]])
    ArraySource(rows=2, shape=(2,), dtype=int64, segments=1)
    """
    refuse_lazy(obj)
    if _made_by(obj, "torch"):
        return ArraySource(_from_tensor(obj))
    if _made_by(obj, "scipy") and hasattr(obj, "tocsr"):
        return SparseSource(obj)
    if _made_by(obj, "pandas", "polars") and hasattr(obj, "to_numpy") and hasattr(obj, "columns"):
        return _from_frame(obj)
    return ArraySource(_from_array_like(obj))


def in_chunks(obj: object) -> bool:
    """Return whether something is a Dask array."""
    return _made_by(obj, "dask") and hasattr(obj, "rechunk")


def refuse_lazy(obj: object) -> None:
    """Raise TypeError for what Dask would compute as a whole, in memory."""
    if in_chunks(obj):
        raise TypeError(
            "A Dask array is not taken here: it is by transform, inverse_transform, reconstruct "
            "and score_samples of autoencoders, and by predict. Write X.to_zarr('rows.zarr') and "
            "pass narrows.source('rows.zarr')."
        )
    if _made_by(obj, "dask"):
        raise TypeError(
            f"The data is of type {type(obj).__name__!r} of Dask. For scoring write "
            "X.to_dask_array(lengths=True); for fit X.to_parquet('rows/') and "
            "narrows.source('rows/')."
        )


def _is_mapped(array: np.ndarray) -> bool:
    """Return whether an array is a view of a file."""
    base: Any = array
    while base is not None and not isinstance(base, np.memmap):
        base = getattr(base, "base", None)
    return base is not None


def _made_by(obj: object, *packages: str) -> bool:
    return any(base.__module__.partition(".")[0] in packages for base in type(obj).__mro__)


def _from_tensor(tensor: Any) -> np.ndarray:
    tensor = tensor.detach().cpu()
    if str(tensor.dtype) == "torch.bfloat16":  # numpy has no such type
        tensor = tensor.float()
    return np.asarray(tensor.numpy())


def _from_frame(frame: Any) -> ArraySource:
    names = tuple(map(str, frame.columns))
    polars = hasattr(frame, "iter_columns")
    columns = list(frame.iter_columns() if polars else (column for _, column in frame.items()))
    text = [name for name, column in zip(names, columns, strict=True) if _is_text(column)]
    if text:
        raise not_numbers("The data", text)
    values = frame.to_numpy()
    if values.dtype.kind == "O" and values.size:  # missing entries, or mixed types
        values = np.column_stack([_floats(column) for column in columns])
    named = all(isinstance(name, str) for name in frame.columns)  # as scikit-learn has it
    return ArraySource(values, names if named else None)


def _is_text(column: Any) -> bool:
    values = np.asarray(column)
    if values.dtype.kind == "O":
        return any(isinstance(value, str | bytes) for value in values)
    return values.dtype.kind not in "biuf"


def _floats(column: Any) -> np.ndarray:
    values = np.asarray(column)
    if hasattr(column, "isna"):  # pandas' own missing value does not convert
        values = np.where(column.isna(), np.nan, values)
    return values.astype(np.float64)


def _from_array_like(obj: object) -> np.ndarray:
    if not isinstance(obj, list | tuple) and not hasattr(obj, "__array__"):
        raise TypeError(
            f"The data is of type {type(obj).__name__!r}. Pass an array, a frame, "
            "a sparse matrix, a tensor, a list of arrays, a Source or a path."
        )
    try:
        return np.asarray(obj)
    except ValueError as error:
        raise ValueError(
            "The data is a list of rows of different lengths. "
            "For sequences pass a list of arrays of shape (steps, features)."
        ) from error


def _numbers(array: np.ndarray, where: str) -> np.ndarray:
    if array.ndim == 0:
        raise ValueError(f"{where} is a single value. Pass an array of shape (rows, features).")
    if array.dtype.kind in "OUST":
        return _from_objects(array, where)
    if array.dtype.kind == "c":
        raise ValueError(
            f"{where} has dtype {array.dtype}. Complex data not supported; "
            "pass real and imaginary parts as features."
        )
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{where} has dtype {array.dtype}. Pass an array of numbers.")
    return array


def _from_objects(array: np.ndarray, where: str) -> np.ndarray:
    flat = array.reshape(len(array), math.prod(array.shape[1:]))
    text = [str(k) for k in range(flat.shape[1]) if _is_text(flat[:, k].astype(object))]
    if text:
        raise not_numbers(where, text)
    return array.astype(np.float64)
